//! Judges one answer of a waiter's operation. The loop around it belongs to the caller, who owns the clock.

use serde_json::Value;

use crate::schema::{Acceptor, Matcher, State, Step, Waiter};

/// What one answer means for the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The wait is over.
    Success,
    /// It will never come true; the text says what was seen.
    Failure(String),
    /// Ask again later.
    Retry,
    /// No rule speaks about this error: it stands as the call's own.
    Raise,
}

impl Waiter {
    /// Judges an answer, or the error code of a failed call (`None` when AWS named none).
    pub fn judge(&self, answer: Result<&Value, Option<&str>>) -> Verdict {
        let Some(acceptor) = self.acceptors.iter().find(|acceptor| acceptor.matches(answer)) else {
            return if answer.is_ok() { Verdict::Retry } else { Verdict::Raise };
        };
        match acceptor.state {
            State::Success => Verdict::Success,
            State::Retry => Verdict::Retry,
            State::Failure => Verdict::Failure(acceptor.matcher.describe(answer)),
        }
    }
}

impl Acceptor {
    fn matches(&self, answer: Result<&Value, Option<&str>>) -> bool {
        match (&self.matcher, answer) {
            (Matcher::Success(wanted), answer) => answer.is_ok() == *wanted,
            (Matcher::ErrorCode(wanted), Err(code)) => code == Some(wanted),
            (Matcher::Equals(path, wanted), Ok(value)) => one(value, path).and_then(Value::as_str) == Some(wanted),
            (Matcher::All(path, wanted), Ok(value)) => {
                let found = many(value, path);
                !found.is_empty() && found.iter().all(|item| item.as_str() == Some(wanted))
            }
            (Matcher::Any(path, wanted), Ok(value)) => {
                many(value, path).iter().any(|item| item.as_str() == Some(wanted))
            }
            (Matcher::NotEmpty(path, wanted), Ok(value)) => not_empty(value, path) == *wanted,
            (Matcher::Expression(text, wanted), Ok(value)) => expression(value, text) == Some(*wanted),
            _ => false,
        }
    }
}

impl Matcher {
    fn describe(&self, answer: Result<&Value, Option<&str>>) -> String {
        match self {
            Matcher::Success(_) => String::from(if answer.is_ok() { "the call succeeded" } else { "the call failed" }),
            Matcher::ErrorCode(code) => format!("AWS answered `{code}`"),
            Matcher::Equals(path, value) | Matcher::All(path, value) => format!("`{}` is `{value}`", dotted(path)),
            Matcher::Any(path, value) => format!("`{}` holds `{value}`", dotted(path)),
            Matcher::NotEmpty(path, true) => format!("`{}` is not empty", dotted(path)),
            Matcher::NotEmpty(path, false) => format!("`{}` is empty", dotted(path)),
            Matcher::Expression(text, wanted) => format!("`{text}` is {wanted}"),
        }
    }
}

fn dotted(path: &[Step]) -> String {
    let steps: Vec<String> =
        path.iter().map(|step| if step.each { format!("{}[]", step.field) } else { step.field.to_owned() }).collect();
    steps.join(".")
}

fn one<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| value.get(step.field)).filter(|value| !value.is_null())
}

fn many<'a>(value: &'a Value, path: &[Step]) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in path {
        let fields = found.into_iter().filter_map(|value| value.get(step.field)).filter(|value| !value.is_null());
        found = match step.each {
            true => fields.filter_map(Value::as_array).flatten().collect(),
            false => fields.collect(),
        };
    }
    // A path that ends in a list without `[]` still means its elements.
    found
        .into_iter()
        .flat_map(|value| value.as_array().map_or_else(|| vec![value], |list| list.iter().collect()))
        .collect()
}

fn not_empty(value: &Value, path: &[Step]) -> bool {
    match one(value, path) {
        Some(Value::String(text)) if path.iter().all(|step| !step.each) => !text.is_empty(),
        _ => !many(value, path).is_empty(),
    }
}

fn expression(value: &Value, text: &str) -> Option<bool> {
    let compiled = jmespath::compile(text).ok()?;
    let answer = jmespath::Variable::from_json(&value.to_string()).ok()?;
    compiled.search(answer).ok()?.as_boolean()
}
