//! Elements of the paths of fields, as `fieldsV1` and messages about conflicts write them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// A value that tells items of lists apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// Anything else, as JSON.
    Other(String),
}

/// One step from a value to a part of it. The order is that of the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// Of a struct or map: `f:name`.
    Field(String),
    /// An item of a list by its keys: `k:{"name":"app"}`.
    Key(BTreeMap<String, Scalar>),
    /// An item of a set: `v:"x"`.
    Value(Scalar),
    /// An item of an atomic list: `i:0`.
    Index(usize),
}

impl Element {
    /// A field.
    pub fn field(name: &str) -> Element {
        Element::Field(name.to_owned())
    }

    /// An item with these keys; none where there are no keys.
    pub fn key<'a>(keys: impl Iterator<Item = (&'a str, &'a Value)>) -> Option<Element> {
        let keys: BTreeMap<String, Scalar> = keys.map(|(key, value)| (key.to_owned(), Scalar::from(value))).collect();
        (!keys.is_empty()).then_some(Element::Key(keys))
    }

    /// An item of a set.
    pub fn value(value: &Value) -> Element {
        Element::Value(Scalar::from(value))
    }

    /// Reads an element of `fieldsV1`; `.` is none.
    pub fn parse(text: &str) -> Option<Element> {
        let (form, rest) = text.split_once(':')?;
        match form {
            "f" => Some(Element::field(rest)),
            "k" => match serde_json::from_str(rest).ok()? {
                Value::Object(keys) => Element::key(keys.iter().map(|(key, value)| (&**key, value))),
                _ => None,
            },
            "v" => Some(Element::value(&serde_json::from_str(rest).ok()?)),
            "i" => Some(Element::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    /// As `fieldsV1` has it.
    pub fn print(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{}:{value}", quoted(key))).collect();
                format!("k:{{{}}}", keys.join(","))
            }
            Element::Value(value) => format!("v:{value}"),
            Element::Index(index) => format!("i:{index}"),
        }
    }
}

/// As messages have it: `.spec`, `[name="app"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Element::Value(value) => write!(f, "[={value}]"),
            Element::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path in messages: `.spec.template.spec.containers[name="app"].image`.
pub fn text(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

impl From<&Value> for Scalar {
    fn from(value: &Value) -> Scalar {
        match value {
            Value::String(text) => Scalar::Text(text.clone()),
            Value::Number(number) => number.as_i64().map_or_else(|| Scalar::Other(number.to_string()), Scalar::Number),
            other => Scalar::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Number(number) => write!(f, "{number}"),
            Scalar::Text(text) => f.write_str(&quoted(text)),
            Scalar::Other(json) => f.write_str(json),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_are_printed() {
        for (printed, shown) in [
            ("f:a.b/c", ".a.b/c"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"v:"x.io/a""#, r#"[="x.io/a"]"#),
            ("v:7", "[=7]"),
            ("v:true", "[=true]"),
            ("i:3", "[3]"),
        ] {
            let element = Element::parse(printed).unwrap();
            assert_eq!(element.print(), printed);
            assert_eq!(element.to_string(), shown);
        }
        assert_eq!(Element::parse("."), None);
    }
}
