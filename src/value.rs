//! Values: JSON to and from the script's own, the only conversion; durations, quantities and times; secrets.

use std::fmt;
use std::time::Duration;

use aws_dynamic::{Struct, Type};
use jiff::Timestamp;
use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::{Number, Value};

use crate::error::{Error, Result};

/// Text that must not leave memory but for the API it is for: it prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: explicit, so that one can search for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What stands for a secret wherever something is printed or recorded.
pub const HIDDEN: &str = "***";

/// Which parts of an answer are secret.
#[derive(Clone, Copy, Default)]
pub enum Secrets {
    /// None.
    #[default]
    None,
    /// The fields that the schema of an AWS output marks.
    Schema(&'static Struct),
    /// `data` and `stringData` of every Kubernetes object of kind `Secret`.
    Kubernetes,
    /// The annotations in the metadata of such an object: `kubectl apply` keeps the whole object in one of them.
    KubernetesMetadata,
    /// Every text.
    All,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secrets::None => "None",
            Secrets::Schema(_) => "Schema",
            Secrets::Kubernetes => "Kubernetes",
            Secrets::KubernetesMetadata => "KubernetesMetadata",
            Secrets::All => "All",
        })
    }
}

impl Secrets {
    /// What holds for the value under this key of `parent`.
    pub(crate) fn under(self, parent: &serde_json::Map<String, Value>, key: &str) -> Secrets {
        match self {
            Secrets::Kubernetes if is_kubernetes_secret(parent) => match key {
                "data" | "stringData" => Secrets::All,
                "metadata" => Secrets::KubernetesMetadata,
                _ => Secrets::Kubernetes,
            },
            Secrets::KubernetesMetadata if key == "annotations" => Secrets::All,
            Secrets::KubernetesMetadata => Secrets::None,
            Secrets::Schema(shape) => match shape.fields.iter().find(|field| field.name == key) {
                Some(field) if field.sensitive => Secrets::All,
                Some(field) => Secrets::of_type(&field.ty),
                None => Secrets::None,
            },
            other => other,
        }
    }

    fn of_type(ty: &Type) -> Secrets {
        match ty {
            Type::Struct(shape) => Secrets::Schema(shape),
            Type::List(item) | Type::Map(item) => Secrets::of_type(item),
            _ => Secrets::None,
        }
    }
}

fn is_kubernetes_secret(object: &serde_json::Map<String, Value>) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

/// The script's value for this JSON, with its secrets wrapped.
pub fn to_dynamic(value: Value, secrets: Secrets) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        // A number that is secret is no number any more: it could be printed in parts.
        Value::Bool(_) | Value::Number(_) if matches!(secrets, Secrets::All) => {
            Dynamic::from(Secret(value.to_string()))
        }
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            // Above i64 there is nothing in AWS or Kubernetes; JSON from a file may hold it.
            (None, Some(float)) => float.into(),
            (None, None) => Dynamic::UNIT,
        },
        Value::String(text) if matches!(secrets, Secrets::All) => Dynamic::from(Secret(text)),
        Value::String(text) => text.into(),
        Value::Array(items) => items.into_iter().map(|item| to_dynamic(item, secrets)).collect::<Array>().into(),
        Value::Object(object) => {
            let rules: Vec<Secrets> = object.keys().map(|key| secrets.under(&object, key)).collect();
            let map: Map =
                object.into_iter().zip(rules).map(|((key, item), rule)| (key.into(), to_dynamic(item, rule))).collect();
            map.into()
        }
    }
}

/// What becomes of secrets on the way to JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Hidden: for everything that is printed or recorded.
    Hidden,
    /// Revealed: for the API that a value is sent to.
    Revealed,
}

/// JSON of a script's value. Fails for what is not data, and names where it stands.
pub fn to_json(value: &Dynamic, show: Show) -> Result<Value> {
    convert(value, show, &mut String::new())
}

fn convert(value: &Dynamic, show: Show, path: &mut String) -> Result<Value> {
    if value.is_shared() {
        return convert(&value.flatten_clone(), show, path);
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(integer) = value.as_int() {
        return Ok(Value::Number(integer.into()));
    }
    if let Ok(float) = value.as_float() {
        return Number::from_f64(float).map(Value::Number).ok_or_else(|| not_data(path, &float.to_string()));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.to_string()));
    }
    if let Some(secret) = value.read_lock::<Secret>() {
        return Ok(Value::String(if show == Show::Revealed { secret.0.clone() } else { HIDDEN.to_owned() }));
    }
    if let Some(items) = value.read_lock::<Array>() {
        let length = path.len();
        let mut array = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push_str(&format!("[{index}]"));
            array.push(convert(item, show, path)?);
            path.truncate(length);
        }
        return Ok(Value::Array(array));
    }
    if let Some(map) = value.read_lock::<Map>() {
        let length = path.len();
        let mut object = serde_json::Map::new();
        for (key, item) in map.iter() {
            path.push_str(if length == 0 { "" } else { "." });
            path.push_str(key);
            object.insert(key.to_string(), convert(item, show, path)?);
            path.truncate(length);
        }
        return Ok(Value::Object(object));
    }
    if value.is::<std::ops::Range<i64>>() || value.is::<std::ops::RangeInclusive<i64>>() {
        return Err(not_data(path, "a range"));
    }
    Err(not_data(path, &describe_type(value.type_name())))
}

/// The secret texts anywhere in a value.
pub fn secret_texts(value: &Dynamic, found: &mut Vec<String>) {
    if value.is_shared() {
        return secret_texts(&value.flatten_clone(), found);
    }
    if let Some(secret) = value.read_lock::<Secret>() {
        found.push(secret.0.clone());
    } else if let Some(items) = value.read_lock::<Array>() {
        items.iter().for_each(|item| secret_texts(item, found));
    } else if let Some(map) = value.read_lock::<Map>() {
        map.values().for_each(|item| secret_texts(item, found));
    }
}

/// A text with every secret in it hidden.
pub fn masked(text: &str, secrets: &[String]) -> String {
    let shown = secrets.iter().filter(|secret| !secret.is_empty());
    shown.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
}

/// A value with every secret in its texts hidden.
pub fn masked_value(value: Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) => Value::String(masked(&text, secrets)),
        Value::Array(items) => items.into_iter().map(|item| masked_value(item, secrets)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, item)| (masked(&key, secrets), masked_value(item, secrets))).collect()
        }
        other => other,
    }
}

fn not_data(path: &str, what: &str) -> Error {
    let place = if path.is_empty() { String::new() } else { format!(" at `{path}`") };
    Error::invalid(format!("only plain data can be handed on, found {what}{place}"))
        .hint("hand on texts, numbers, `true`, `false`, `()`, lists and maps")
}

/// A script type in words.
pub fn describe_type(name: &str) -> String {
    match name {
        "Fn" => "a closure".to_owned(),
        "timestamp" => "a stop-watch".to_owned(),
        "i64" | "int" => "an integer".to_owned(),
        "f64" | "float" => "a float".to_owned(),
        "bool" => "a boolean".to_owned(),
        "string" | "&str | ImmutableString | String" => "a text".to_owned(),
        "array" => "a list".to_owned(),
        "map" => "a map".to_owned(),
        "()" => "nothing `()`".to_owned(),
        other => format!("a value of type `{}`", other.rsplit("::").next().unwrap_or(other)),
    }
}

/// The type that JSON Schema gives a value: `integer` where a number has no fraction.
pub fn schema_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A JSON value in words, for messages: "the number 10", "a list".
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing `()`".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// A duration with its unit, or the error that tells how to write one.
pub fn duration(name: &str, value: &Value) -> Result<Duration> {
    match value {
        Value::String(text) => parse_duration(text).map_err(|error| {
            Error::invalid(format!("`{name}` is not a duration: found the text \"{text}\"")).hint(error.to_string())
        }),
        Value::Number(number) => Err(Error::invalid(format!("`{name}` needs a unit"))
            .note(format!("found the number {number}"))
            .hint(format!("write `\"{number}s\"` or `\"{number}m\"`"))),
        other => Err(Error::invalid(format!("`{name}` is a duration such as `\"10m\"`, found {}", describe(other)))),
    }
}

/// `"90s"`, `"10m"`, `"1h30m"`, `"250ms"`, `"7d"`: whole numbers, each with its unit.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || Error::invalid("write a number with its unit, such as `\"90s\"`, `\"10m\"` or `\"1h30m\"`");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let milliseconds: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    Ok(total)
}

/// `1h30m`, `90s`, `250ms`: what [`parse_duration`] reads.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return if duration.as_millis() == 0 { "0s".to_owned() } else { format!("{}ms", duration.as_millis()) };
    }
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect()
}

/// An RFC 3339 time.
pub fn parse_time(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|_| {
        Error::invalid(format!("\"{text}\" is not a time"))
            .hint("write RFC 3339 with a zone, such as `\"2026-01-31T08:00:00Z\"`")
    })
}

/// RFC 3339 in UTC, to the second.
pub fn format_time(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A Kubernetes quantity (`500m`, `2Gi`, `1e3`) as a number of its base unit.
pub fn parse_quantity(text: &str) -> Result<f64> {
    let wrong = || {
        Error::invalid(format!("\"{text}\" is not a quantity"))
            .hint("write a number with a suffix, such as `\"500m\"` or `\"2Gi\"`")
    };
    let split = text
        .char_indices()
        .find(|(index, c)| {
            c.is_ascii_alphabetic()
                && !(matches!(c, 'e' | 'E')
                    && text[index + 1..].starts_with(|d: char| d.is_ascii_digit() || d == '-' || d == '+'))
        })
        .map_or(text.len(), |(index, _)| index);
    let number: f64 = text[..split].parse().map_err(|_| wrong())?;
    let factor = match &text[split..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return Err(wrong()),
    };
    Ok(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_read_back_what_they_print() {
        for text in ["90s", "10m", "1h30m", "250ms", "7d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration, "{text}");
        }
        for text in ["", "10", "m", "10x", "1.5h", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let error = duration("timeout", &json!(10)).unwrap_err();
        assert_eq!(error.to_string(), "`timeout` needs a unit");
        assert_eq!(error.facts().hint.as_deref(), Some("write `\"10s\"` or `\"10m\"`"));
    }

    #[test]
    fn quantities() {
        assert_eq!(parse_quantity("500m").unwrap(), 0.5);
        assert_eq!(parse_quantity("2Gi").unwrap(), 2147483648.0);
        assert_eq!(parse_quantity("1e3").unwrap(), 1000.0);
        assert!(parse_quantity("2gb").is_err());
    }

    #[test]
    fn secrets_are_hidden_in_what_is_shown_and_whole_in_what_is_sent() {
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": "aHVudGVyMg==" } });
        let value = to_dynamic(object.clone(), Secrets::Kubernetes);
        assert_eq!(to_json(&value, Show::Hidden).unwrap()["data"]["password"], "***");
        assert_eq!(to_json(&value, Show::Revealed).unwrap(), object);
        assert!(!format!("{value:?}").contains("aHVudGVyMg"));
    }

    #[test]
    fn what_is_not_data_is_named_with_its_place() {
        let mut map = Map::new();
        map.insert("nodes".into(), Dynamic::from_array(vec![Dynamic::from(rhai::FnPtr::new("f").unwrap())]));
        let error = to_json(&map.into(), Show::Hidden).unwrap_err();
        assert_eq!(error.to_string(), "only plain data can be handed on, found a closure at `nodes[0]`");
    }
}
