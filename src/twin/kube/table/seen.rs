//! An object as somebody looks at it at some time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;

/// An object, and now.
pub struct Seen<'a> {
    /// The object.
    pub object: &'a Value,
    /// When it is looked at.
    pub now: Timestamp,
}

impl<'a> Seen<'a> {
    /// What stands at a pointer, or null.
    pub fn at(&self, pointer: &str) -> &'a Value {
        self.object.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a pointer, or none.
    pub fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The same, as a cell; what is no text is shown as it is written.
    pub fn shown(&self, pointer: &str) -> Value {
        json!(as_text(self.at(pointer)))
    }

    /// The same, or what to show instead.
    pub fn or(&self, pointer: &str, instead: &str) -> Value {
        match self.at(pointer) {
            Value::Null => json!(instead),
            Value::String(text) if text.is_empty() => json!(instead),
            _ => self.shown(pointer),
        }
    }

    /// A whole number, 0 where there is none.
    pub fn number(&self, pointer: &str) -> i64 {
        self.at(pointer).as_i64().unwrap_or(0)
    }

    /// A yes or no.
    pub fn flag(&self, pointer: &str, unset: bool) -> Value {
        json!(self.at(pointer).as_bool().unwrap_or(unset))
    }

    /// The items of a list.
    pub fn items(&self, pointer: &str) -> &'a [Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// How many entries a map or list has.
    pub fn count(&self, pointer: &str) -> i64 {
        let count = match self.at(pointer) {
            Value::Object(map) => map.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// The time since a time.
    pub fn since(&self, pointer: &str) -> String {
        age::since(self.at(pointer), self.now)
    }

    /// Whether somebody deleted it.
    pub fn is_going(&self) -> bool {
        !self.at("/metadata/deletionTimestamp").is_null()
    }

    /// The status of a condition.
    pub fn condition(&self, of: &str) -> Option<&'a Value> {
        self.items("/status/conditions").iter().find(|one| one["type"] == of)
    }
}

/// A value as text: texts without quotes, nothing for null.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field of every item, joined.
pub fn joined(items: &[Value], field: &str) -> String {
    items.iter().map(|item| as_text(&item[field])).collect::<Vec<_>>().join(",")
}

/// The first of a list, and how many more there are: `a,b,c + 2 more...`.
pub fn some(list: &[String], shown: usize, separator: &str) -> String {
    let text = list.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(separator);
    match list.len().checked_sub(shown) {
        Some(more) if more > 0 => format!("{text} + {more} more..."),
        _ => text,
    }
}
