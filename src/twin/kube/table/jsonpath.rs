//! The paths of `additionalPrinterColumns`: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`. This dialect is
//! that of kubectl, which has no root sign and escapes dots in names.

use serde_json::Value;

/// A path into an object.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.name`, `['name']`.
    Field(String),
    /// `[0]`, `[-1]`.
    Item(i64),
    /// `[*]`, `.*`.
    All,
    /// `[?(@.type=="Ready")]`: where it leads to, how it compares, to what.
    Where(JsonPath, Compare, Value),
    /// `[?(@.type)]`.
    Has(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Same,
    Other,
    Below,
    Above,
    AtMost,
    AtLeast,
}

const COMPARISONS: &[(&str, Compare)] = &[
    ("==", Compare::Same),
    ("!=", Compare::Other),
    ("<=", Compare::AtMost),
    (">=", Compare::AtLeast),
    ("<", Compare::Below),
    (">", Compare::Above),
];

impl JsonPath {
    /// Reads a path; `None` where it is none, or asks for what only kubectl's templates have.
    pub fn parse(text: &str) -> Option<JsonPath> {
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, tail) = if let Some(inner) = rest.strip_prefix('[') {
                let end = closing(inner)?;
                (bracketed(&inner[..end])?, &inner[end + 1..])
            } else {
                named(rest.strip_prefix('.').unwrap_or(rest))?
            };
            steps.push(step);
            rest = tail;
        }
        Some(JsonPath(steps))
    }

    /// The first value that it leads to.
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found.into_iter().next()
    }
}

/// Where a bracket closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, ']') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

/// A name up to the next dot or bracket; a backslash takes the next letter as it is.
fn named(text: &str) -> Option<(Step, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            _ => name.push(letter),
        }
    }
    match name.as_str() {
        "" => None,
        "*" => Some((Step::All, &text[end..])),
        _ => Some((Step::Field(name), &text[end..])),
    }
}

fn bracketed(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition);
    }
    match literal(text)? {
        Value::String(name) => Some(Step::Field(name)),
        number => number.as_i64().map(Step::Item),
    }
}

fn filter(condition: &str) -> Option<Step> {
    let found = COMPARISONS.iter().find_map(|(sign, compare)| Some((condition.split_once(sign)?, *compare)));
    let path = |text: &str| JsonPath::parse(text.trim().strip_prefix('@')?);
    match found {
        Some(((left, right), compare)) => Some(Step::Where(path(left)?, compare, literal(right.trim())?)),
        None => Some(Step::Has(path(condition)?)),
    }
}

/// A text in either quotes, a number, or a truth value.
fn literal(text: &str) -> Option<Value> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Some(Value::from(inner));
        }
    }
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() || value.is_boolean())
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let items = || value.as_array().into_iter().flatten();
        match self {
            Step::Field(name) => value.get(name).into_iter().collect(),
            Step::Item(at) => {
                let count = value.as_array().map_or(0, Vec::len);
                let from_end = || count.checked_sub(usize::try_from(at.unsigned_abs()).ok()?);
                let place = usize::try_from(*at).ok().or_else(from_end);
                place.and_then(|at| value.get(at)).into_iter().collect()
            }
            Step::All => match value {
                Value::Object(map) => map.values().collect(),
                _ => items().collect(),
            },
            Step::Where(path, compare, wanted) => {
                items().filter(|item| path.first(item).is_some_and(|found| compare.holds(found, wanted))).collect()
            }
            Step::Has(path) => items().filter(|item| path.first(item).is_some()).collect(),
        }
    }
}

impl Compare {
    fn holds(self, found: &Value, wanted: &Value) -> bool {
        use std::cmp::Ordering;
        let order = match (found, wanted) {
            (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
            _ => found.as_f64().zip(wanted.as_f64()).and_then(|(found, wanted)| found.partial_cmp(&wanted)),
        };
        match self {
            Compare::Same => found == wanted || order == Some(Ordering::Equal),
            Compare::Other => found != wanted && order != Some(Ordering::Equal),
            Compare::Below => order == Some(Ordering::Less),
            Compare::Above => order == Some(Ordering::Greater),
            Compare::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Compare::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A value as the server prints it into a column of text: lists as `[a b]`, maps as `map[a:b]`.
pub fn as_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(as_go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", as_go(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_their_first_value() {
        let object = json!({
            "metadata": { "labels": { "app.kubernetes.io/name": "web" } },
            "spec": { "size": 3, "hosts": ["a", "b"], "rules": [{ "port": 80 }, { "port": 443 }] },
            "status": { "conditions": [{ "type": "Synced", "status": "False" }, { "type": "Ready", "status": "True" }] },
        });
        let rows = [
            (".spec.size", json!(3)),
            (r".metadata.labels.app\.kubernetes\.io/name", json!("web")),
            (".metadata.labels['app.kubernetes.io/name']", json!("web")),
            (".spec.hosts[1]", json!("b")),
            (".spec.hosts[-1]", json!("b")),
            (".spec.hosts[-3]", Value::Null),
            (".spec.rules[*].port", json!(80)),
            (".spec.rules[?(@.port>80)].port", json!(443)),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type=='Gone')].status", Value::Null),
            (".spec.absent.deep", Value::Null),
        ];
        for (path, value) in rows {
            let found = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(found.first(&object).unwrap_or(&Value::Null), &value, "{path}");
        }
        assert_eq!(JsonPath::parse(".a[?("), None);
        assert_eq!(JsonPath::parse("..a"), None);
    }
}
