//! Filters of EC2 and their kin: `[{ name, values }]`, a thing must fit all, and of each any value, `*` and `?` in it.

use serde_json::Value;

use super::{Refusal, refuse};

/// Where a filter's name does not follow from the field's: name and path, lists on the way looked into.
pub type Names = &'static [(&'static str, &'static str)];

/// Whether a thing fits all filters. A name that is in no row of `names` means the field of that name with `_` for
/// `-`, parts divided by `.`; where the thing has no such field, the filter is unknown to AWS.
pub fn fits(thing: &Value, filters: &Value, names: Names) -> bool {
    filters.as_array().into_iter().flatten().all(|filter| {
        let name = filter["name"].as_str().unwrap_or_default();
        let wanted = super::texts(&filter["values"]);
        let found = values(thing, name, names);
        found.iter().any(|found| wanted.iter().any(|wanted| like(wanted, found)))
    })
}

/// The things that fit.
pub fn select<'a>(things: impl Iterator<Item = &'a Value>, filters: &Value, names: Names) -> Vec<Value> {
    things.filter(|thing| fits(thing, filters, names)).cloned().collect()
}

/// Refuses names that are neither in `names` nor among `plain` nor about tags, as EC2 does.
pub fn check(filters: &Value, names: Names, plain: &[&str]) -> Result<(), Refusal> {
    for filter in filters.as_array().into_iter().flatten() {
        let name = filter["name"].as_str().unwrap_or_default();
        let known = name.starts_with("tag:")
            || name == "tag-key"
            || plain.contains(&name)
            || names.iter().any(|(known, _)| *known == name);
        if !known {
            return refuse("InvalidParameterValue", 400, format!("The filter '{name}' is invalid"));
        }
    }
    Ok(())
}

fn values(thing: &Value, name: &str, names: Names) -> Vec<String> {
    if let Some(key) = name.strip_prefix("tag:") {
        return super::tag(&thing["tags"], key).map(str::to_owned).into_iter().collect();
    }
    let path = match names.iter().find(|(known, _)| *known == name) {
        Some((_, path)) => (*path).to_owned(),
        None if name == "tag-key" => "tags.key".to_owned(),
        None => name.replace('-', "_"),
    };
    let mut found = vec![thing];
    for part in path.split('.') {
        found = found.into_iter().flat_map(each).filter_map(|value| value.get(part)).collect();
    }
    found.into_iter().flat_map(each).filter_map(shown).collect()
}

fn each(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// `*` stands for any text, `?` for one letter.
pub fn like(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut inside) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while inside < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, inside));
                at += 1;
            }
            Some(&letter) if letter == '?' || Some(&letter) == text.get(inside) => {
                at += 1;
                inside += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    inside = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|letter| *letter == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, fits) in
            [("a*c", "abbc", true), ("a?c", "abc", true), ("a?c", "abbc", false), ("*", "", true), ("a*", "b", false)]
        {
            assert_eq!(like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_filter_looks_into_lists() {
        let thing =
            json!({ "vpc_id": "vpc-1", "attachments": [{ "state": "x" }], "tags": [{ "key": "a", "value": "b" }] });
        let one = |name: &str, value: &str| json!([{ "name": name, "values": [value] }]);
        assert!(fits(&thing, &one("vpc-id", "vpc-1"), &[]));
        assert!(fits(&thing, &one("attachment.state", "x"), &[("attachment.state", "attachments.state")]));
        assert!(fits(&thing, &one("tag:a", "b"), &[]));
        assert!(fits(&thing, &one("tag-key", "a"), &[]));
        assert!(!fits(&thing, &one("tag:a", "c"), &[]));
    }
}
