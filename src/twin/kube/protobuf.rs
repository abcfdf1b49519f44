//! Objects in protobuf, which typed clients send (kubectl, too: `create`, `auth can-i`, evictions). Answers are JSON, which
//! they all accept.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::json::lettered;
use crate::twin::world::moment;

/// The media type.
pub const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// What the server says of bytes that are over too early.
const CUT: &str = "unexpected EOF";

/// What every such object starts with.
const MAGIC: &[u8] = b"k8s\0";

static TYPES: LazyLock<Types> = LazyLock::new(|| Types::parse(include_str!("protobuf.txt")));

/// Of which type a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    Bool,
    Real,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Json,
    Items,
    Message(String),
    List(Box<Type>),
    Map(Box<Type>),
}

#[derive(Clone, Debug)]
struct Field {
    /// None for a struct whose fields stand beside the others.
    name: Option<String>,
    of: Type,
    /// Whether it is left out when it is zero or empty.
    sparse: bool,
}

#[derive(Debug, Default)]
struct Types {
    /// By name and number.
    fields: BTreeMap<String, BTreeMap<u64, Field>>,
    /// By `apps/v1/Deployment`.
    kinds: BTreeMap<String, String>,
}

impl Types {
    fn parse(text: &str) -> Types {
        let mut types = Types::default();
        let mut owner = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (line.starts_with(' '), words.as_slice()) {
                (true, [number, name, of, rest @ ..]) => {
                    let field = Field {
                        name: (*name != "-").then(|| (*name).to_owned()),
                        of: Type::parse(of),
                        sparse: rest.contains(&"?"),
                    };
                    let number = number.parse().unwrap_or_default();
                    types.fields.entry(owner.clone()).or_default().insert(number, field);
                }
                (false, [name, rest @ ..]) => {
                    (*name).clone_into(&mut owner);
                    types.fields.entry(owner.clone()).or_default();
                    if let ["is", kind] = rest {
                        types.kinds.insert((*kind).to_owned(), owner.clone());
                    }
                }
                _ => {}
            }
        }
        types
    }
}

impl Type {
    fn parse(text: &str) -> Type {
        if let Some(item) = text.strip_prefix("[]") {
            return Type::List(Box::new(Type::parse(item)));
        }
        if let Some(value) = text.strip_prefix("{}") {
            return Type::Map(Box::new(Type::parse(value)));
        }
        match text {
            "text" => Type::Text,
            "int" => Type::Int,
            "bool" => Type::Bool,
            "real" => Type::Real,
            "bytes" => Type::Bytes,
            "Time" => Type::Time,
            "MicroTime" => Type::MicroTime,
            "Quantity" => Type::Quantity,
            "IntOrString" => Type::IntOrString,
            "Json" => Type::Json,
            "Items" => Type::Items,
            name => Type::Message(name.to_owned()),
        }
    }
}

/// A value on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Wire::Bytes(bytes) => Some(bytes),
            Wire::Number(_) => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Wire::Number(number) => Some(number),
            Wire::Bytes(_) => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// The fields of a message, each with its number; `None` where the bytes are no message.
fn split(mut rest: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let wire = match key & 7 {
            0 => Wire::Number(varint(&mut rest)?),
            1 => Wire::Number(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Wire::Bytes(take(&mut rest, length)?)
            }
            5 => Wire::Number(u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?).into()),
            _ => return None,
        };
        fields.push((key >> 3, wire));
    }
    Some(fields)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn field<'a>(fields: &[(u64, Wire<'a>)], number: u64) -> Option<&'a [u8]> {
    // As everywhere in protobuf, the last one counts.
    fields.iter().rev().find(|(found, _)| *found == number).and_then(|(_, wire)| wire.bytes())
}

/// What can not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// Of it nothing is known; why.
    Envelope(String),
    /// What it says that it is, and why it can not be that.
    Object {
        /// `ConfigMap`.
        kind: String,
        /// `v1`, without the group.
        version: String,
        /// Why.
        why: String,
    },
}

impl Garbled {
    /// Why.
    pub fn why(self) -> String {
        match self {
            Garbled::Envelope(why) | Garbled::Object { why, .. } => why,
        }
    }
}

/// Reads an object; says why where it can not. Of a kind that is unknown it has its kind and version only.
pub fn read(body: &[u8]) -> Result<Value, Garbled> {
    let garbled = |why: &str| Garbled::Envelope(why.to_owned());
    let envelope = match body {
        [] => return Err(garbled("empty data")),
        body => body.strip_prefix(MAGIC),
    };
    let envelope = match envelope {
        None => {
            let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            return Err(garbled(why));
        }
        Some([]) => return Err(garbled("empty body")),
        Some(envelope) => split(envelope).ok_or_else(|| garbled(CUT))?,
    };
    let meta = split(field(&envelope, 1).unwrap_or_default()).ok_or_else(|| garbled(CUT))?;
    let text = |number| field(&meta, number).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let (api_version, kind) = (text(1), text(2));
    // Options belong to the group of what they are for.
    let known = match kind {
        "DeleteOptions" => TYPES.kinds.get("v1/DeleteOptions"),
        _ => TYPES.kinds.get(&format!("{api_version}/{kind}")),
    };
    let mut object = match known {
        Some(name) => message(name, field(&envelope, 2).unwrap_or_default(), 0).ok_or_else(|| Garbled::Object {
            kind: kind.to_owned(),
            version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
            why: CUT.to_owned(),
        })?,
        None => Map::new(),
    };
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

/// No object of the API is nested as deep.
const DEPTH_MAX: usize = 64;

fn message(name: &str, bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let known = TYPES.fields.get(name).filter(|_| depth < DEPTH_MAX)?;
    let mut object = Map::new();
    for (number, wire) in split(bytes)? {
        // A field that a later version added.
        let Some(field) = known.get(&number) else { continue };
        let Some(name) = &field.name else {
            let Type::Message(inner) = &field.of else { continue };
            object.extend(message(inner, wire.bytes()?, depth + 1)?);
            continue;
        };
        match &field.of {
            Type::List(item) => {
                let value = value(item, wire, depth)?;
                match object.entry(name.as_str()).or_insert_with(|| json!([])) {
                    Value::Array(items) => items.push(value),
                    other => *other = json!([value]),
                }
            }
            Type::Map(of) => {
                let (key, value) = entry(of, wire, depth)?;
                object.entry(name.as_str()).or_insert_with(|| json!({}))[key] = value;
            }
            of => {
                let value = value(of, wire, depth)?;
                let is_zero = value.is_null() || (field.sparse && is_zero(&value));
                if !is_zero {
                    object.insert(name.clone(), value);
                }
            }
        }
    }
    Some(object)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(yes) => !yes,
        _ => false,
    }
}

/// Key and value of a map.
fn entry(of: &Type, wire: Wire<'_>, depth: usize) -> Option<(String, Value)> {
    let (mut key, mut found) = (String::new(), None);
    for (number, part) in split(wire.bytes()?)? {
        match number {
            1 => key = lettered(part.bytes()?),
            2 => found = Some(value(of, part, depth)?),
            _ => {}
        }
    }
    // An empty value may be left out.
    let found = match found {
        Some(found) => found,
        None => value(of, Wire::Bytes(b""), depth).unwrap_or_default(),
    };
    Some((key, found))
}

fn value(of: &Type, wire: Wire<'_>, depth: usize) -> Option<Value> {
    Some(match of {
        Type::Text => json!(lettered(wire.bytes()?)),
        Type::Int => json!(wire.number()?.cast_signed()),
        Type::Bool => json!(wire.number()? != 0),
        Type::Real => json!(f64::from_bits(wire.number()?)),
        Type::Bytes => json!(STANDARD.encode(wire.bytes()?)),
        Type::Time => time(wire)?.map_or(Value::Null, |time| json!(moment::text(time))),
        Type::MicroTime => {
            time(wire)?.map_or(Value::Null, |time| json!(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()))
        }
        Type::Quantity => {
            let parts = split(wire.bytes()?)?;
            json!(std::str::from_utf8(field(&parts, 1).unwrap_or_default()).ok()?)
        }
        Type::IntOrString => int_or_string(wire)?,
        Type::Json => {
            let parts = split(wire.bytes()?)?;
            field(&parts, 1).map_or(Some(Value::Null), |raw| serde_json::from_slice(raw).ok())?
        }
        Type::Items => {
            split(wire.bytes()?)?.into_iter().map(|(_, item)| item.text().map(Value::from)).collect::<Option<_>>()?
        }
        Type::Message(name) => Value::Object(message(name, wire.bytes()?, depth + 1)?),
        // Lists and maps are not nested.
        Type::List(_) | Type::Map(_) => return None,
    })
}

/// A time; `None` inside where it is not set.
fn time(wire: Wire<'_>) -> Option<Option<Timestamp>> {
    let parts = split(wire.bytes()?)?;
    let part = |number| parts.iter().find(|(found, _)| *found == number).and_then(|(_, wire)| wire.number());
    let Some(seconds) = part(1) else { return Some(None) };
    let nanos = i32::try_from(part(2).unwrap_or(0).cast_signed()).ok()?;
    Timestamp::new(seconds.cast_signed(), nanos).ok().map(Some)
}

fn int_or_string(wire: Wire<'_>) -> Option<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for (field, part) in split(wire.bytes()?)? {
        match field {
            1 => is_text = part.number()? != 0,
            2 => number = part.number()?.cast_signed(),
            3 => text = part.text()?,
            _ => {}
        }
    }
    Some(if is_text { json!(text) } else { json!(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::wire::Wire as Client;

    /// A field with bytes, of a length below 128.
    fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
        field.extend_from_slice(value);
        field
    }

    fn number(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn object(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
    }

    #[test]
    fn an_object_is_read_as_its_json_would_be() {
        let metadata = bytes(1, &[bytes(1, b"a"), bytes(3, b""), bytes(8, b"")].concat());
        let data = bytes(2, &[bytes(1, b"k"), bytes(2, b"v")].concat());
        let read_back = read(&object("v1", "ConfigMap", &[metadata.clone(), data].concat()));
        // Texts that Go leaves out of JSON when they are empty are left out here, and times that are not set.
        let expected =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": "v" } });
        assert_eq!(read_back, Ok(expected));
        // Secrets hold bytes, and a number that is there counts though it is 0.
        let secret = read(&object("v1", "Secret", &bytes(2, &[bytes(1, b"k"), bytes(2, b"v")].concat()))).unwrap();
        assert_eq!(secret["data"]["k"], "dg==");
        let web = read(&object("apps/v1", "Deployment", &bytes(2, &[number(1, 0), number(5, 0)].concat()))).unwrap();
        assert_eq!(web["spec"], json!({ "replicas": 0 }));
        let budget = bytes(2, &bytes(1, &[number(1, 1), bytes(3, b"50%")].concat()));
        assert_eq!(read(&object("policy/v1", "PodDisruptionBudget", &budget)).unwrap()["spec"]["minAvailable"], "50%");
        let volume = bytes(1, &[bytes(1, b"tmp"), bytes(2, &bytes(2, b""))].concat());
        let pod = read(&object("v1", "Pod", &bytes(2, &volume))).unwrap();
        assert_eq!(pod["spec"]["volumes"], json!([{ "name": "tmp", "emptyDir": {} }]));
    }

    #[test]
    fn what_is_none_is_refused() {
        let cut = object("v1", "Namespace", &bytes(1, &bytes(1, b"name")));
        assert!(read(&cut[..cut.len() - 3]).is_err());
        assert!(read(b"{}").is_err());
        assert_eq!(read(&object("v1", "Thing", b"")), Ok(json!({ "apiVersion": "v1", "kind": "Thing" })));
        // Bytes that claim to be longer than they are.
        assert!(read(&[MAGIC, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()).is_err());
    }

    #[test]
    fn every_type_that_a_field_names_is_there() {
        fn inner(of: &Type) -> &Type {
            match of {
                Type::List(of) | Type::Map(of) => inner(of),
                of => of,
            }
        }
        for (owner, fields) in &TYPES.fields {
            for field in fields.values() {
                if let Type::Message(name) = inner(&field.of) {
                    assert!(TYPES.fields.contains_key(name), "{owner}: {name}");
                }
            }
        }
        assert!(TYPES.kinds.len() > 60);
    }

    #[test]
    fn a_client_creates_in_protobuf() {
        let mut client = Client::new();
        let body = object("v1", "Namespace", &bytes(1, &bytes(1, b"story")));
        let (code, made) = client.send("POST /api/v1/namespaces", &[("content-type", MEDIA)], &body);
        assert_eq!((code, &made["metadata"]["name"]), (201, &json!("story")), "{made}");
        let (code, problem) = client.send("POST /api/v1/namespaces", &[("content-type", MEDIA)], b"k8s\0\xff");
        assert_eq!((code, &problem["reason"]), (400, &json!("BadRequest")));
    }
}
