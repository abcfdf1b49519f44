//! Checks an input against an operation's schema, and rewrites the shorthands that scripts may use.
//!
//! Everything wrong is found in one pass; the report leads with the most telling mistake. Values of sensitive fields
//! never appear in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::schema::{EnumShape, Field, Operation, Struct, Type};
use crate::{suggest, time};

/// Whether values that an enum of the SDK does not list are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enums {
    /// Refused: nearly always a typing mistake.
    Strict,
    /// Passed on: AWS adds values faster than the SDK.
    Lenient,
}

/// An input that does not fit its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where the first mistake is: `scaling_config.min_size`, `filters[0].name`.
    pub path: String,
    /// One lower-case sentence with names in backticks.
    pub message: String,
    /// Facts that help, at most two.
    pub notes: Vec<String>,
    /// One thing to do.
    pub hint: Option<String>,
    /// Nothing is wrong but values that the SDK's enums do not list: [`Enums::Lenient`] would accept it.
    pub only_enums: bool,
}

/// Checks the input and returns it in the form the operation takes: absent fields dropped, shorthands written out.
///
/// A list of `{name, values}` or `{key, value}` may be given as a map; a filter's single value needs no list.
pub fn normalise(operation: &Operation, input: Value, enums: Enums) -> Result<Value, Invalid> {
    let mut walk = Walk::new(operation, enums, true);
    let input = if input.is_null() { Value::Object(Map::new()) } else { input };
    let value = walk.structure(operation.input, input);
    walk.finish(value)
}

/// One mistake of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where: `scaling_config.min_size`, `filters[0].name`; of a missing field, where it would stand.
    pub path: String,
    /// What is wrong.
    pub kind: FlawKind,
    /// One lower-case sentence with names in backticks.
    pub message: String,
    /// One thing to do.
    pub hint: Option<String>,
    /// A fact that helps.
    pub note: Option<String>,
}

/// What is wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// A field that the operation does not have.
    Field,
    /// A required field is absent.
    Missing,
    /// A value of another type.
    Type,
    /// A text that is not one of those that there are.
    Value,
}

/// Every mistake of an input of which not all is known: at the `opaque` paths (as [`below`] and [`item`] write them)
/// stands something that only a run can tell, and nothing is said about it.
pub fn inspect(operation: &Operation, input: Value, opaque: &BTreeSet<String>) -> Vec<Flaw> {
    let mut walk = Walk::new(operation, Enums::Strict, true);
    walk.opaque = Some(opaque);
    walk.structure(operation.input, input);
    let Walk { mut mistakes, missing, .. } = walk;
    mistakes.extend(missing.into_iter().map(|path| Flaw {
        message: format!("missing `{path}` for `{operation}`"),
        path,
        kind: FlawKind::Missing,
        hint: None,
        note: None,
    }));
    mistakes
}

/// The path of a key of the map at a path.
pub fn below(path: &str, key: &str) -> String {
    let step = bracketed(key);
    if path.is_empty() || step.starts_with('[') { format!("{path}{step}") } else { format!("{path}.{step}") }
}

/// The path of an item of the list at a path.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Checks a simulated answer against the schema, and completes it: every modelled field present, absent ones null.
/// `Enums::Lenient` where AWS is known to send values that its model does not name.
pub fn complete(operation: &Operation, output: Value, enums: Enums) -> Result<Value, Invalid> {
    let mut walk = Walk::new(operation, enums, false);
    let value = walk.structure(operation.output, output);
    walk.finish(value)
}

struct Walk<'a> {
    operation: &'a Operation,
    enums: Enums,
    input: bool,
    path: Vec<String>,
    opaque: Option<&'a BTreeSet<String>>,
    mistakes: Vec<Flaw>,
    missing: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(operation: &'a Operation, enums: Enums, input: bool) -> Self {
        Walk { operation, enums, input, path: vec![], opaque: None, mistakes: vec![], missing: vec![] }
    }

    fn finish(mut self, value: Value) -> Result<Value, Invalid> {
        self.missing.sort();
        let Walk { operation, missing, .. } = &self;
        let missing_text = (!missing.is_empty()).then(|| format!("missing {}", join(missing)));
        if self.mistakes.is_empty() {
            let Some(missing_text) = missing_text else { return Ok(value) };
            let message = format!("{missing_text} for `{operation}`");
            let path = missing[0].clone();
            return Err(Invalid { path, message, notes: vec![], hint: None, only_enums: false });
        }
        let only_enums = missing.is_empty() && self.mistakes.iter().all(|mistake| mistake.kind == FlawKind::Value);
        let first = self.mistakes.remove(0);
        let more = match self.mistakes.as_slice() {
            [] => None,
            [second] => Some(format!("also: {}", second.message)),
            [second, rest @ ..] => Some(format!("also: {}, and {} more", second.message, rest.len())),
        };
        let notes = missing_text.into_iter().chain(more).chain(first.note).take(2).collect();
        Err(Invalid { path: first.path, message: first.message, notes, hint: first.hint, only_enums })
    }

    fn here(&self) -> String {
        let mut text = String::new();
        for part in &self.path {
            if !text.is_empty() && !part.starts_with('[') {
                text.push('.');
            }
            text.push_str(part);
        }
        text
    }

    /// Whether only a run can tell what stands at the place the walk is at.
    fn is_opaque(&self) -> bool {
        self.opaque.is_some_and(|opaque| !opaque.is_empty() && opaque.contains(&self.here()))
    }

    fn mistake(&mut self, message: String, hint: Option<String>) {
        self.mistakes.push(Flaw { path: self.here(), kind: FlawKind::Type, message, hint, note: None });
    }

    fn expected(&mut self, wanted: &str, found: &Value, sensitive: bool) {
        let hint = match (wanted, found) {
            ("text", Value::Number(_) | Value::Bool(_)) if !sensitive => Some(format!("quote it: `\"{found}\"`")),
            ("text", Value::Number(_) | Value::Bool(_)) => Some(String::from("quote it")),
            ("true or false", Value::String(text)) if text == "true" || text == "false" => {
                Some(format!("write `{text}` without quotes"))
            }
            ("a whole number", Value::String(text)) if !sensitive && text.parse::<i64>().is_ok() => {
                Some(format!("write `{text}` without quotes"))
            }
            _ => None,
        };
        let found = describe(found, sensitive);
        self.mistake(format!("`{}` of `{}` must be {wanted}, found {found}", self.here(), self.operation), hint);
    }

    fn structure(&mut self, shape: &'static Struct, value: Value) -> Value {
        let Value::Object(given) = value else {
            let wanted = format!("a map with the fields of `{}`", shape.name);
            if self.path.is_empty() {
                let found = describe(&value, true);
                self.mistake(format!("`{}` takes a map of fields, found {found}", self.operation), None);
            } else {
                self.expected(&wanted, &value, true);
            }
            return Value::Null;
        };
        let mut kept = Map::new();
        let mut is_known = true;
        for (name, value) in given {
            let Some(field) = shape.field(&name) else {
                self.unknown(shape, &name);
                continue;
            };
            self.path.push(name.clone());
            let opaque = self.is_opaque();
            is_known &= !opaque;
            if opaque || !value.is_null() {
                let value = if opaque { value } else { self.value(field.ty, value, field.sensitive) };
                kept.insert(name, value);
            }
            self.path.pop();
        }
        if shape.union && is_known {
            self.union(shape, &kept);
        }
        self.absent(shape, &mut kept);
        Value::Object(kept)
    }

    fn union(&mut self, shape: &'static Struct, kept: &Map<String, Value>) {
        if self.input && kept.len() != 1 {
            let names: Vec<&str> = shape.fields.iter().map(|field| field.name).collect();
            let message = format!("`{}` of `{}` takes exactly one field", self.here(), self.operation);
            self.mistake(message, None);
            if let Some(mistake) = self.mistakes.last_mut() {
                mistake.note = Some(format!("fields are {}", list(&names)));
            }
        }
    }

    fn absent(&mut self, shape: &'static Struct, kept: &mut Map<String, Value>) {
        for field in shape.fields {
            let given = kept.contains_key(field.name);
            if !self.input && !given {
                kept.insert(field.name.to_owned(), Value::Null);
            }
            let token = self.path.is_empty() && self.operation.token == Some(field.name);
            if self.input && field.required && !given && !token && !shape.union {
                self.missing.push(below(&self.here(), field.name));
            }
        }
    }

    fn unknown(&mut self, shape: &'static Struct, name: &str) {
        let names: Vec<&str> = shape.fields.iter().map(|field| field.name).collect();
        let hint = match shape.fields.iter().find(|field| suggest::fold(field.name) == suggest::fold(name)) {
            Some(field) => Some(format!("write `{}`", field.name)),
            None => suggest::nearest(name, &names).map(|found| format!("did you mean `{found}`?")),
        };
        let place = self.here();
        let message = match place.as_str() {
            "" => format!("unknown field `{name}` for `{}`", self.operation),
            place => format!("unknown field `{name}` in `{place}` of `{}`", self.operation),
        };
        let note = match names.is_empty() {
            true => format!("`{}` takes no fields", self.operation),
            false => format!("fields are {}", list(&names)),
        };
        let path = below(&self.here(), name);
        self.mistakes.push(Flaw { path, kind: FlawKind::Field, message, hint, note: Some(note) });
    }

    fn value(&mut self, ty: Type, value: Value, sensitive: bool) -> Value {
        match ty {
            Type::Struct(shape) => self.structure(shape, value),
            Type::List(item) => self.list(*item, value, sensitive),
            Type::Map(item) => self.map(*item, value, sensitive),
            Type::Events(shape) => self.list(Type::Struct(shape), value, sensitive),
            Type::Enum(shape) => self.one_of(shape, value, sensitive),
            _ => {
                if let Err(wanted) = scalar(ty, &value) {
                    self.expected(wanted, &value, sensitive);
                }
                value
            }
        }
    }

    fn one_of(&mut self, shape: &'static EnumShape, value: Value, sensitive: bool) -> Value {
        let Value::String(text) = &value else {
            self.expected("text", &value, sensitive);
            return value;
        };
        if self.enums == Enums::Lenient || shape.values.contains(&text.as_str()) || shape.values.is_empty() {
            return value;
        }
        let message = format!("`{}` of `{}` can not be {}", self.here(), self.operation, describe(&value, sensitive));
        let same = shape.values.iter().find(|known| suggest::fold(known) == suggest::fold(text)).copied();
        let hint =
            same.or_else(|| suggest::nearest(text, shape.values)).map(|found| format!("did you mean `{found}`?"));
        let note = Some(format!("values are {}", list(shape.values)));
        self.mistakes.push(Flaw { path: self.here(), kind: FlawKind::Value, message, hint, note });
        value
    }

    fn list(&mut self, item: Type, value: Value, sensitive: bool) -> Value {
        let items = match value {
            Value::Array(items) => items,
            Value::Object(given) if self.input && pair_of(item).is_some() => return self.pairs(item, given),
            other => {
                let hint = match (&other, item) {
                    (Value::Object(_), Type::Struct(_)) => Some(String::from("put `[` and `]` around the map")),
                    (Value::String(_) | Value::Number(_), _) if scalar(item, &other).is_ok() && !sensitive => {
                        Some(format!("write `[{other}]`"))
                    }
                    _ => None,
                };
                let found = describe(&other, sensitive);
                self.mistake(format!("`{}` of `{}` must be a list, found {found}", self.here(), self.operation), hint);
                return Value::Null;
            }
        };
        let checked = items.into_iter().enumerate().map(|(index, entry)| self.item(index, item, entry, sensitive));
        Value::Array(checked.collect())
    }

    fn item(&mut self, index: usize, item: Type, entry: Value, sensitive: bool) -> Value {
        self.path.push(format!("[{index}]"));
        let value = match entry.is_null() && !matches!(item, Type::Struct(_)) {
            _ if self.is_opaque() => entry,
            true => {
                let message = format!("`{}` of `{}` is absent, which a list can not hold", self.here(), self.operation);
                self.mistake(message, Some(String::from("leave the item out")));
                entry
            }
            false => self.value(item, entry, sensitive),
        };
        self.path.pop();
        value
    }

    /// Writes `#{ "vpc-id": id }` out as `[#{ name: "vpc-id", values: [id] }]`.
    fn pairs(&mut self, item: Type, given: Map<String, Value>) -> Value {
        let Some((name, content)) = pair_of(item) else { return Value::Null };
        if given.contains_key(name.name) && given.contains_key(content.name) {
            let message = format!("`{}` of `{}` must be a list of such maps", self.here(), self.operation);
            self.mistake(message, Some(String::from("put `[` and `]` around the map")));
            return Value::Null;
        }
        let mut written = vec![];
        for (key, value) in given {
            if value.is_null() {
                continue;
            }
            let many = matches!(content.ty, Type::List(_));
            let value = if many && !value.is_array() { Value::Array(vec![value]) } else { value };
            self.path.push(bracketed(&key));
            if let Type::Enum(shape) = name.ty {
                self.one_of(shape, Value::String(key.clone()), false);
            }
            let value = self.value(content.ty, value, content.sensitive);
            self.path.pop();
            let pair = [(name.name.to_owned(), Value::String(key)), (content.name.to_owned(), value)];
            written.push(Value::Object(Map::from_iter(pair)));
        }
        Value::Array(written)
    }

    fn map(&mut self, item: Type, value: Value, sensitive: bool) -> Value {
        let Value::Object(given) = value else {
            self.expected("a map", &value, sensitive);
            return value;
        };
        let mut kept = Map::new();
        for (key, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
            self.path.push(bracketed(&key));
            let value = self.value(item, value, sensitive);
            self.path.pop();
            kept.insert(key, value);
        }
        Value::Object(kept)
    }
}

/// The two fields of a name-and-value structure, when the list of it may be written as a map.
fn pair_of(item: Type) -> Option<(&'static Field, &'static Field)> {
    let Type::Struct(Struct { union: false, fields: [first, second], .. }) = item else { return None };
    let (name, content) = if is_pair_name(first) { (first, second) } else { (second, first) };
    let plain = matches!(content.ty, Type::String | Type::Enum(_) | Type::List(Type::String | Type::Enum(_)));
    let named = matches!(content.name, "value" | "values" | "tag_value");
    (is_pair_name(name) && plain && named).then_some((name, content))
}

fn is_pair_name(field: &Field) -> bool {
    matches!(field.name, "name" | "key" | "tag_key") && matches!(field.ty, Type::String | Type::Enum(_))
}

/// What a scalar must be when the value is not that.
fn scalar(ty: Type, value: &Value) -> Result<(), &'static str> {
    let (fits, wanted) = match ty {
        Type::String => (value.is_string(), "text"),
        Type::Boolean => (value.is_boolean(), "true or false"),
        Type::Integer if value.is_i64() || value.is_u64() => {
            (value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "a number between -2147483648 and 2147483647")
        }
        Type::Integer | Type::Long => (value.is_i64(), "a whole number"),
        Type::Float | Type::Double => (value.is_number(), "a number"),
        Type::Timestamp => (time::parse(value).is_some(), "a time such as \"2030-01-31T12:00:00Z\""),
        Type::Blob => (value.as_str().is_some_and(|text| crate::convert::from_base64(text).is_some()), "base64 text"),
        Type::Enum(_) => (value.is_string(), "text"),
        Type::List(_) | Type::Events(_) => (value.is_array(), "a list"),
        Type::Map(_) | Type::Struct(_) => (value.is_object(), "a map"),
    };
    if fits { Ok(()) } else { Err(wanted) }
}

const SHOWN_TEXT_MAX: usize = 40;

fn describe(value: &Value, sensitive: bool) -> String {
    match value {
        Value::Null => String::from("nothing"),
        Value::Bool(_) | Value::Number(_) if !sensitive => format!("{} {value}", kind(value)),
        Value::String(text) if !sensitive && text.chars().count() <= SHOWN_TEXT_MAX => format!("{value}"),
        other => String::from(match other {
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
            Value::String(_) => "text",
            Value::Number(_) => "a number",
            _ => "a boolean",
        }),
    }
}

fn kind(value: &Value) -> &'static str {
    if value.is_number() { "the number" } else { "the boolean" }
}

/// A user's own key as a step of a path: bare when it reads like a field.
fn bracketed(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { key.to_owned() } else { format!("[{key:?}]") }
}

fn join(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

const LISTED_MAX: usize = 12;

fn list(names: &[&str]) -> String {
    let mut sorted: Vec<&str> = names.to_vec();
    sorted.sort_unstable();
    let shown: Vec<String> = sorted.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    shown.join(", ") + if sorted.len() > LISTED_MAX { ", …" } else { "" }
}
