//! JSON to the SDK's types and back: the only two traits that know how. The SDK is on its way to serialising by
//! schema; when it gets there, this file and the generated implementations are what goes away.

use std::collections::HashMap;
use std::hash::Hash;

use aws_smithy_types::{Blob, DateTime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::time;

/// Reads one value. `None` means that a mistake was noted.
pub(crate) trait FromJson: Sized {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self>;
}

/// Writes one value.
pub(crate) trait ToJson {
    fn to_json(&self) -> Value;
}

/// Collects what is wrong, so that the generated code needs no early returns.
#[derive(Default)]
pub(crate) struct Reading {
    path: Vec<String>,
    mistakes: Vec<String>,
}

impl Reading {
    /// Reads a field of an object; absent and null mean that it is not set.
    pub(crate) fn field<T: FromJson>(&mut self, object: &Value, name: &'static str) -> Option<T> {
        let value = object.get(name).filter(|value| !value.is_null())?;
        self.below(name, |reading| T::from_json(value, reading))
    }

    /// The only field of a union.
    pub(crate) fn member<'a>(&mut self, value: &'a Value) -> Option<(&'a str, &'a Value)> {
        match value.as_object().map(|object| (object.len(), object.iter().next())) {
            Some((1, Some((name, value)))) => Some((name.as_str(), value)),
            _ => self.wrong("a map with exactly one field"),
        }
    }

    /// Takes the result of a builder that insists on some fields.
    pub(crate) fn built<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(error.to_string())).ok()
    }

    pub(crate) fn wrong<T>(&mut self, wanted: &str) -> Option<T> {
        self.note(format!("must be {wanted}"));
        None
    }

    pub(crate) fn finish(self) -> Result<(), String> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes.join("; ")) }
    }

    fn note(&mut self, mistake: String) {
        self.mistakes.push(format!("`{}` {mistake}", self.path.join(".")));
    }

    fn below<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }
}

/// An object with every modelled field.
#[derive(Default)]
pub(crate) struct Writing(Map<String, Value>);

impl Writing {
    pub(crate) fn field(mut self, name: &'static str, value: &dyn ToJson) -> Self {
        self.0.insert(name.to_owned(), value.to_json());
        self
    }

    /// A policy document, which IAM sends percent-encoded.
    pub(crate) fn document(mut self, name: &'static str, value: &dyn ToJson) -> Self {
        let value = match value.to_json() {
            Value::String(text) => Value::String(decode_document(text)),
            other => other,
        };
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn null(mut self, name: &'static str) -> Self {
        self.0.insert(name.to_owned(), Value::Null);
        self
    }

    pub(crate) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// Leaves text alone that already is JSON: servers other than AWS send it so, and a `%` in it is its own.
fn decode_document(text: String) -> String {
    if text.trim_start().starts_with('{') {
        return text;
    }
    match percent_encoding::percent_decode_str(&text).decode_utf8() {
        Ok(decoded) => decoded.into_owned(),
        Err(_) => text,
    }
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

impl FromJson for String {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_str().map(str::to_owned).or_else(|| reading.wrong("text"))
    }
}

impl FromJson for bool {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_bool().or_else(|| reading.wrong("true or false"))
    }
}

impl FromJson for i32 {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_i64().and_then(|n| i32::try_from(n).ok()).or_else(|| reading.wrong("a whole number of 32 bits"))
    }
}

impl FromJson for i64 {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_i64().or_else(|| reading.wrong("a whole number"))
    }
}

impl FromJson for f32 {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_f64().map(|n| n as f32).or_else(|| reading.wrong("a number"))
    }
}

impl FromJson for f64 {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_f64().or_else(|| reading.wrong("a number"))
    }
}

impl FromJson for DateTime {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        time::parse(value).or_else(|| reading.wrong("a time"))
    }
}

impl FromJson for Blob {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        value.as_str().and_then(from_base64).map(Blob::new).or_else(|| reading.wrong("base64 text"))
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        let Some(items) = value.as_array() else { return reading.wrong("a list") };
        let read =
            |(index, item): (usize, &Value)| reading.below(&index.to_string(), |reading| T::from_json(item, reading));
        Some(items.iter().enumerate().filter_map(read).collect())
    }
}

impl<K: for<'a> From<&'a str> + Eq + Hash, T: FromJson> FromJson for HashMap<K, T> {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        let Some(entries) = value.as_object() else { return reading.wrong("a map") };
        let read = |(key, item): (&String, &Value)| {
            reading.below(key, |reading| T::from_json(item, reading)).map(|item| (K::from(key.as_str()), item))
        };
        Some(entries.iter().filter_map(read).collect())
    }
}

impl<T: FromJson> FromJson for Box<T> {
    fn from_json(value: &Value, reading: &mut Reading) -> Option<Self> {
        T::from_json(value, reading).map(Box::new)
    }
}

impl ToJson for Value {
    fn to_json(&self) -> Value {
        self.clone()
    }
}

impl ToJson for String {
    fn to_json(&self) -> Value {
        Value::String(self.clone())
    }
}

macro_rules! plain_to_json {
    ($($plain:ty),*) => {
        $(impl ToJson for $plain {
            fn to_json(&self) -> Value {
                Value::from(*self)
            }
        })*
    };
}
plain_to_json!(bool, i32, i64, f64);

impl ToJson for f32 {
    fn to_json(&self) -> Value {
        // Through its own text, so that 0.1 stays 0.1.
        self.to_string().parse::<f64>().map_or(Value::Null, Value::from)
    }
}

impl ToJson for DateTime {
    fn to_json(&self) -> Value {
        time::write(self)
    }
}

impl ToJson for Blob {
    fn to_json(&self) -> Value {
        Value::String(STANDARD.encode(self))
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Value {
        Value::Array(self.iter().map(T::to_json).collect())
    }
}

impl<K: AsRef<str>, T: ToJson> ToJson for HashMap<K, T> {
    fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(key, item)| (key.as_ref().to_owned(), item.to_json())).collect())
    }
}

impl<T: ToJson> ToJson for Box<T> {
    fn to_json(&self) -> Value {
        T::to_json(self)
    }
}
