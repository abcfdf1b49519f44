//! All pages of an answer as one.

use aws_dynamic::{Operation, Paginator};
use serde_json::Value;

use super::retry::{Watch, send};
use super::{Cloud, Target};
use crate::error::{Error, Result};

/// More pages than any account has; a service that repeats its token would otherwise never end.
const PAGES_MAX: usize = 10_000;

/// Calls an operation and merges its pages. A caller who gives the page token or limits the page gets that page, with
/// its token.
pub async fn call(
    cloud: &Cloud,
    target: &Target,
    operation: &'static Operation,
    input: &Value,
    watch: &dyn Watch,
) -> Result<Value> {
    let paginator = match operation.paginator {
        Some(paginator) if !asks_for_one_page(paginator, input) => paginator,
        _ => return send(cloud, target, operation, input, watch).await,
    };
    let mut whole = send(cloud, target, operation, input, watch).await?;
    let mut token = take_token(paginator, &mut whole);
    for _ in 0..PAGES_MAX {
        let Some(current) = token else { return Ok(whole) };
        let mut next = input.clone();
        next[paginator.input_token] = current.clone();
        let mut page = send(cloud, target, operation, &next, watch).await?;
        token = take_token(paginator, &mut page);
        if token.as_ref() == Some(&current) {
            return Err(Error::unavailable(format!("`{operation}` answers the same page again and again")));
        }
        merge(&mut whole, page);
    }
    Err(Error::unavailable(format!("`{operation}` answers more than {PAGES_MAX} pages")))
}

fn asks_for_one_page(paginator: &Paginator, input: &Value) -> bool {
    !input[paginator.input_token].is_null() || paginator.limit.is_some_and(|limit| !input[limit].is_null())
}

/// The next page's token, taken out of the answer: a whole has none.
fn take_token(paginator: &Paginator, answer: &mut Value) -> Option<Value> {
    let slot = paginator.output_token.iter().try_fold(answer, |value, key| value.get_mut(*key))?;
    let token = slot.take();
    (token.as_str().is_some_and(|text| !text.is_empty())).then_some(token)
}

/// Appends the lists of a page, wherever they stand; what is no list is the first page's.
fn merge(whole: &mut Value, page: Value) {
    match (whole, page) {
        (Value::Object(whole), Value::Object(page)) => {
            for (key, value) in page {
                match whole.get_mut(&key) {
                    Some(slot) if !slot.is_null() => merge(slot, value),
                    _ => {
                        whole.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(whole), Value::Array(page)) => whole.extend(page),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_appended_wherever_they_stand() {
        let mut whole = json!({ "a": [1], "b": { "c": ["x"] }, "d": null, "e": "first" });
        merge(&mut whole, json!({ "a": [2], "b": { "c": ["y"] }, "d": [3], "e": "second" }));
        assert_eq!(whole, json!({ "a": [1, 2], "b": { "c": ["x", "y"] }, "d": [3], "e": "first" }));
    }
}
