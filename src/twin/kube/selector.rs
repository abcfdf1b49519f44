//! Label and field selectors.

use serde_json::Value;

use super::kinds::Served;
use super::status::bad_request;
use super::{Problem, validate};

/// What a list or a selector of pods asks of labels: all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Wish>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Above(String, i64),
    Below(String, i64),
}

impl Labels {
    /// `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    pub fn parse(text: &str) -> Result<Labels, Problem> {
        let refused = |why: String| bad_request(format!("unable to parse requirement: {why}"));
        let mut words = Words { text, at: 0 };
        let mut wishes = Vec::new();
        if words.peek() == Word::End {
            return Ok(Labels(wishes));
        }
        if !matches!(words.peek(), Word::Text(_) | Word::Not) {
            let found = words.peek().shown();
            return Err(bad_request(format!("found '{found}', expected: !, identifier, or 'end of string'")));
        }
        loop {
            wishes.push(words.wish().map_err(refused)?);
            match words.next() {
                Word::End => break,
                Word::Comma if matches!(words.peek(), Word::Text(_) | Word::Not) => {}
                Word::Comma => {
                    let found = words.peek().shown();
                    let why = format!("found '{found}', expected: identifier after ','");
                    return Err(bad_request(why));
                }
                other => {
                    return Err(bad_request(format!("found '{}', expected: ',' or 'end of string'", other.shown())));
                }
            }
        }
        // The server asks for labels in the order of their names.
        wishes.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(Labels(wishes))
    }

    /// The `selector` of a workload, budget or policy: `matchLabels` and `matchExpressions`.
    pub fn of_object(selector: &Value) -> Labels {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = selector["matchLabels"].as_object().into_iter().flatten();
        let mut wishes: Vec<Wish> = pairs.map(|(key, value)| Wish::In(key.clone(), vec![text(value)])).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = text(&expression["key"]);
            let values = expression["values"].as_array().into_iter().flatten().map(text).collect();
            wishes.push(match expression["operator"].as_str() {
                Some("In") => Wish::In(key, values),
                Some("NotIn") => Wish::NotIn(key, values),
                Some("DoesNotExist") => Wish::Absent(key),
                _ => Wish::Exists(key),
            });
        }
        Labels(wishes)
    }

    /// Whether these labels are meant.
    pub fn match_labels(&self, labels: &Value) -> bool {
        self.0.iter().all(|wish| wish.fits(labels))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A word of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word<'a> {
    Text(&'a str),
    Comma,
    Open,
    Close,
    Not,
    /// `=`, `==`, `!=`, `>`, `<`.
    Sign(&'a str),
    End,
}

impl<'a> Word<'a> {
    fn shown(&self) -> &'a str {
        match self {
            Word::Text(text) | Word::Sign(text) => text,
            Word::Comma => ",",
            Word::Open => "(",
            Word::Close => ")",
            Word::Not => "!",
            Word::End => "",
        }
    }
}

/// The words of a selector, one after the other.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Word<'a> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        let is_special = |letter: char| "=!(),><".contains(letter);
        let Some(first) = rest.chars().next() else {
            self.at = self.text.len();
            return Word::End;
        };
        let (word, length) = match first {
            ',' => (Word::Comma, 1),
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            '>' | '<' => (Word::Sign(&rest[..1]), 1),
            '!' if rest.starts_with("!=") => (Word::Sign("!="), 2),
            '!' => (Word::Not, 1),
            '=' if rest.starts_with("==") => (Word::Sign("=="), 2),
            '=' => (Word::Sign("="), 1),
            _ => {
                let end = rest.find(|letter: char| letter.is_whitespace() || is_special(letter)).unwrap_or(rest.len());
                (Word::Text(&rest[..end]), end)
            }
        };
        self.at = start + length;
        word
    }

    fn peek(&self) -> Word<'a> {
        Words { text: self.text, at: self.at }.next()
    }

    fn wish(&mut self) -> Result<Wish, String> {
        let absent = self.peek() == Word::Not;
        if absent {
            self.next();
        }
        let key = match self.next() {
            Word::Text(key) => key.to_owned(),
            other => return Err(format!("found '{}', expected: identifier", other.shown())),
        };
        if let Some(why) = key_is_wrong(&key) {
            return Err(format!("<nil>: Invalid value: {key:?}: {why}"));
        }
        if absent {
            return Ok(Wish::Absent(key));
        }
        match self.peek() {
            Word::End | Word::Comma => return Ok(Wish::Exists(key)),
            _ => {}
        }
        match self.next() {
            Word::Sign("=" | "==") => Ok(Wish::In(key.clone(), vec![self.value(&key)?])),
            Word::Sign("!=") => Ok(Wish::NotIn(key.clone(), vec![self.value(&key)?])),
            Word::Sign(sign) => {
                let value = self.value(&key)?;
                let number = value.parse::<i64>().map_err(|_| {
                    format!(
                        "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    )
                })?;
                Ok(if sign == ">" { Wish::Above(key, number) } else { Wish::Below(key, number) })
            }
            Word::Text("in") => Ok(Wish::In(key.clone(), self.values(&key)?)),
            Word::Text("notin") => Ok(Wish::NotIn(key.clone(), self.values(&key)?)),
            other => Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.shown())),
        }
    }

    /// A value, which may be empty.
    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            Word::End | Word::Comma => Ok(String::new()),
            Word::Text(text) => {
                self.next();
                value_fits(key, 0, text)?;
                Ok(text.to_owned())
            }
            other => Err(format!("found '{}', expected: identifier", other.shown())),
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        match self.next() {
            Word::Open => {}
            other => return Err(format!("found '{}' expected: '('", other.shown())),
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Word::Text(text) => {
                    self.next();
                    values.push(text.to_owned());
                }
                Word::Comma | Word::Close => values.push(String::new()),
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.shown())),
            }
            match self.next() {
                Word::Comma => {}
                Word::Close => break,
                other => return Err(format!("found '{}', expected: ',' or ')'", other.shown())),
            }
        }
        // They are a set.
        values.sort();
        values.dedup();
        values.iter().enumerate().try_for_each(|(index, value)| value_fits(key, index, value))?;
        Ok(values)
    }
}

fn key_is_wrong(key: &str) -> Option<String> {
    let mut wrong = Vec::new();
    validate::key_of("", key, &mut wrong);
    wrong.first().map(|one| one.why().to_owned())
}

fn value_fits(key: &str, index: usize, value: &str) -> Result<(), String> {
    if value.is_empty() || validate::is_qualified(value) {
        return Ok(());
    }
    if value.len() > 63 {
        return Err(format!("values[{index}][{key}]: Invalid value: {value:?}: must be no more than 63 bytes"));
    }
    Err(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", validate::LABEL_VALUE))
}

impl Wish {
    fn key(&self) -> &str {
        match self {
            Wish::Exists(key) | Wish::Absent(key) | Wish::In(key, _) | Wish::NotIn(key, _) => key,
            Wish::Above(key, _) | Wish::Below(key, _) => key,
        }
    }

    fn fits(&self, labels: &Value) -> bool {
        let of = |key: &str| labels.get(key).and_then(Value::as_str);
        let number = |key: &str| of(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Wish::Exists(key) => of(key).is_some(),
            Wish::Absent(key) => of(key).is_none(),
            Wish::In(key, values) => of(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Wish::NotIn(key, values) => of(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Wish::Above(key, than) => number(key).is_some_and(|value| value > *than),
            Wish::Below(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }
}

/// What a list asks of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, bool, String)>);

/// Fields that can be asked for besides `metadata.name` and `metadata.namespace`.
const SELECTABLE: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
    ("replicationcontrollers", &["status.replicas"]),
    ("jobs.batch", &["status.successful"]),
    ("certificatesigningrequests.certificates.k8s.io", &["spec.signerName"]),
];

/// Fields that are numbers: 0 where they are left out.
const NUMBERS: &[&str] = &["status.replicas", "status.successful"];

/// What a field shows of an object; some have other names than what they show.
fn found<'a>(object: &'a Value, field: &str) -> &'a Value {
    match field {
        // Who reports, whichever way it is told.
        "source" => match &object["source"]["component"] {
            Value::String(name) if !name.is_empty() => &object["source"]["component"],
            _ => &object["reportingComponent"],
        },
        "status.successful" => &object["status"]["succeeded"],
        _ => field.split('.').try_fold(object, |value, key| value.get(key)).unwrap_or(&Value::Null),
    }
}

/// What a field of an event in `events.k8s.io` is called in the core.
fn of_events(field: &str) -> String {
    match (field, field.strip_prefix("regarding.")) {
        (_, Some(rest)) => format!("involvedObject.{rest}"),
        ("reportingController", _) => "reportingComponent".to_owned(),
        // What has another name there is not known by this one.
        ("source" | "reportingComponent", _) => String::new(),
        _ if field.starts_with("involvedObject.") => String::new(),
        _ => field.to_owned(),
    }
}

/// The terms of a selector of fields: a comma behind a backslash divides none.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut from, mut is_escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if letter == ',' && !is_escaped {
            terms.push(&text[from..at]);
            from = at + 1;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    terms.push(&text[from..]);
    terms
}

/// A value without the backslashes before commas, equals signs and backslashes.
fn unescaped(text: &str) -> Result<String, Problem> {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
            other => {
                let rest: String = other.into_iter().collect();
                return Err(bad_request(format!("invalid field selector: invalid escape sequence: \\{rest}")));
            }
        }
    }
    Ok(plain)
}

impl Fields {
    /// `metadata.name=a,status.phase!=Running`.
    pub fn parse(text: &str, served: &Served) -> Result<Fields, Problem> {
        let mut wishes = Vec::new();
        for part in terms(text).into_iter().filter(|part| !part.trim().is_empty()) {
            let (field, wanted, value) = match (part.split_once("!="), part.split_once("==")) {
                (Some((field, value)), _) => (field, false, value),
                (None, Some((field, value))) => (field, true, value),
                (None, None) => match part.split_once('=') {
                    Some((field, value)) => (field, true, value),
                    None => return Err(bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"))),
                },
            };
            let told = field.trim();
            let value = unescaped(value.trim())?;
            if told.is_empty() && value.is_empty() {
                continue;
            }
            let own = if served.group == "events.k8s.io" { of_events(told) } else { told.to_owned() };
            let field = own.as_str();
            let known = SELECTABLE.iter().find(|(table, _)| *table == served.table).map_or(&[][..], |(_, known)| known);
            if !matches!(field, "metadata.name" | "metadata.namespace") && !known.contains(&field) {
                // Kinds without fields of their own are asked by other code.
                let why = if known.is_empty() && !served.custom {
                    format!("{told:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                } else if served.table == "jobs.batch" {
                    format!("field label {told:?} not supported for Job")
                } else {
                    format!("field label not supported: {told}")
                };
                return Err(bad_request(why));
            }
            wishes.push((field.to_owned(), wanted, value));
        }
        Ok(Fields(wishes))
    }

    /// Whether this object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, wanted, value)| {
            let found = found(object, field);
            let is_it = match found {
                Value::String(text) => text == value,
                Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => value == "false",
                Value::Null if NUMBERS.contains(&field.as_str()) => value == "0",
                Value::Null => value.is_empty(),
                other => {
                    let shown = other.to_string();
                    shown == *value
                }
            };
            is_it == *wanted
        })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::kinds;
    use crate::twin::kube::store::Store;
    use serde_json::json;

    #[test]
    fn labels_are_asked_for_as_kubectl_does() {
        let labels = json!({ "app": "web", "tier": "front", "size": "5" });
        let rows = [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),!gone", true),
            ("app notin (web)", false),
            ("other notin (web),tier", true),
            ("gone", false),
            ("size>4,size<6", true),
            ("size>5", false),
            ("", true),
        ];
        for (text, fits) in rows {
            assert_eq!(Labels::parse(text).unwrap().match_labels(&labels), fits, "{text}");
        }
        assert_eq!(Labels::parse("a b=c").unwrap_err().code, 400);
    }

    #[test]
    fn a_field_that_can_not_be_asked_for_is_refused() {
        let pods = kinds::find(&Store::default(), "", "v1", "pods").unwrap();
        let fields = Fields::parse("spec.nodeName=n1,status.phase!=Failed", &pods).unwrap();
        assert!(fields.matches(&json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Running" } })));
        assert!(!fields.matches(&json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Failed" } })));
        let problem = Fields::parse("spec.color=red", &pods).unwrap_err();
        assert!(problem.message.ends_with("field label not supported: spec.color"), "{}", problem.message);
    }
}
