//! Reads objects as the server's own types do: which fields there are, what values they take, and how they are written
//! again. For kinds that are built in the table of types tells it, for custom ones the schema of their definition.

use serde_json::{Map, Value, json};

use super::kinds::Served;
use super::quantity::{self, Quantity};
use super::schema::{self, Form, Scalar, Shape};

/// What does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    /// Paths of unknown fields: `spec.replica`.
    pub unknown: Vec<String>,
    /// What is no value of its type, as Go tells it.
    pub mistyped: Option<String>,
}

/// Reads an object in place: fields that the type does not have go, and what is empty is written as the server writes it.
/// `schema` is the `openAPIV3Schema` of a custom kind; its fields are only looked at, and pruned later.
pub fn read(served: &Served, schema: Option<&Value>, object: &mut Value) -> Misfits {
    let mut reader = Reader { misfits: Misfits::default(), path: Vec::new(), fields: Vec::new(), stored: false };
    if served.custom {
        if let Some(metadata) = object.get_mut("metadata") {
            let shape = schema::metadata();
            reader.path.push("metadata".to_owned());
            reader.fields.push("metadata".to_owned());
            reader.value(metadata, shape, "ObjectMeta");
        }
        if let Some(schema) = schema {
            pruned(schema, object, "", true, &mut reader.misfits.unknown);
        }
    } else if let Some(shape) = schema::known(&served.api_version(), &served.kind) {
        reader.value(object, shape, "");
    }
    reader.misfits
}

/// Writes an object of a built-in kind as it comes out of the store: an empty list or map is none.
pub fn settle(served: &Served, object: &mut Value) {
    if let Some(shape) = schema::known(&served.api_version(), &served.kind).filter(|_| !served.custom) {
        let mut reader = Reader { misfits: Misfits::default(), path: Vec::new(), fields: Vec::new(), stored: true };
        reader.value(object, shape, "");
    }
}

/// What an object of a kind looks like before anything is said: all fields that are always written, empty.
pub fn empty(api_version: &str, kind: &str) -> Value {
    let mut empty = json!({});
    if let Some(shape) = schema::known(api_version, kind) {
        complete(empty.as_object_mut(), shape, true);
    }
    empty
}

struct Reader {
    misfits: Misfits,
    /// The place in the object.
    path: Vec<String>,
    /// The same without items of lists and keys of maps.
    fields: Vec<String>,
    /// Whether it is what the store holds.
    stored: bool,
}

impl Reader {
    /// Notes the first value of a wrong type; `owner` is the struct that it is in.
    fn mistyped(&mut self, found: &Value, number: bool, owner: &str, wanted: &str) {
        let what = match found {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(given) if number => format!("number {given}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let place = self.fields.join(".");
        self.wrong(format!("json: cannot unmarshal {what} into Go struct field {owner}.{place} of type {wanted}"));
    }

    fn wrong(&mut self, why: String) {
        self.misfits.mistyped.get_or_insert(why);
    }

    /// Reads a value that is not null.
    fn value(&mut self, value: &mut Value, shape: Shape<'_>, owner: &str) {
        if shape.is_list() {
            return self.list(value, shape, owner);
        }
        match shape.form() {
            Form::Any => {}
            Form::Struct => self.named(value, shape, owner),
            Form::Map => self.map(value, shape, owner),
            Form::Scalar(scalar) => self.scalar(value, scalar, shape.go_name(), owner),
        }
    }

    fn list(&mut self, value: &mut Value, shape: Shape<'_>, owner: &str) {
        let Value::Array(items) = value else {
            let of = qualified(shape);
            return self.mistyped(&value.clone(), false, owner, &format!("[]{of}"));
        };
        for (index, item) in items.iter_mut().enumerate() {
            self.at(format!("[{index}]"), |reader| match item {
                Value::Null => *item = zero(shape.item()),
                item => reader.value(item, shape.item(), owner),
            });
        }
    }

    fn map(&mut self, value: &mut Value, shape: Shape<'_>, owner: &str) {
        let Value::Object(map) = value else {
            return self.mistyped(&value.clone(), false, owner, &qualified(shape));
        };
        let Some(each) = shape.each() else { return };
        let is_amounts = each.form() == Form::Scalar(Scalar::Quantity);
        for (key, value) in map {
            self.at(key.clone(), |reader| match value {
                Value::Null => *value = zero(each),
                value => {
                    reader.value(value, each, owner);
                    if let Some(amount) = value.as_str().and_then(Quantity::parse).filter(|_| is_amounts) {
                        *value = json!(amount.at_thousandths().canonical());
                    }
                }
            });
        }
    }

    fn named(&mut self, value: &mut Value, shape: Shape<'_>, owner: &str) {
        let Value::Object(map) = value else {
            // Schemas of definitions may be a yes or no, or a list of schemas.
            if shape.go_name() != "JSONSchemaProps" {
                self.mistyped(&value.clone(), false, owner, &qualified(shape));
            }
            return;
        };
        let mut unknown = Vec::new();
        for (key, value) in map.iter_mut() {
            let Some(field) = shape.known_field(key) else {
                unknown.push(key.clone());
                continue;
            };
            if value.is_null() {
                continue;
            }
            self.fields.push(key.clone());
            self.at(key.clone(), |reader| reader.value(value, field, shape.go_name()));
            self.fields.pop();
        }
        for key in unknown {
            map.remove(&key);
            self.at(key, |reader| reader.misfits.unknown.push(reader.place()));
        }
        map.retain(|key, value| shape.known_field(key).is_some_and(|field| is_written(value, field)));
        complete(Some(map), shape, self.stored);
    }

    fn scalar(&mut self, value: &mut Value, scalar: Scalar, go: &str, owner: &str) {
        let given = value.clone();
        match scalar {
            Scalar::Text if !given.is_string() => self.mistyped(&given, false, owner, go),
            Scalar::Bool if !given.is_boolean() => self.mistyped(&given, false, owner, go),
            Scalar::Float if !given.is_number() => self.mistyped(&given, false, owner, go),
            Scalar::Int32 | Scalar::Int64 => {
                let whole = given.as_i64().filter(|number| scalar == Scalar::Int64 || i32::try_from(*number).is_ok());
                if whole.is_none() {
                    self.mistyped(&given, true, owner, go);
                }
            }
            Scalar::Bytes => match given.as_str() {
                Some(text) => {
                    if let Err(place) = base64_fits(text) {
                        self.wrong(format!("illegal base64 data at input byte {place}"));
                    }
                }
                None => self.mistyped(&given, false, owner, go),
            },
            Scalar::Time | Scalar::MicroTime => self.time(&given, scalar),
            Scalar::Quantity => self.quantity(value),
            Scalar::IntOrText => {
                if !given.is_string() && given.as_i64().is_none_or(|number| i32::try_from(number).is_err()) {
                    self.mistyped(&given, false, owner, "int32");
                }
            }
            Scalar::Text | Scalar::Bool | Scalar::Float => {}
        }
    }

    fn time(&mut self, given: &Value, scalar: Scalar) {
        let form =
            if scalar == Scalar::Time { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
        match given.as_str() {
            Some(text) if text.parse::<jiff::Timestamp>().is_ok() => {}
            Some(text) => {
                self.wrong(format!("parsing time {text:?} as {form:?}: cannot parse {text:?} as \"2006\""));
            }
            None => {
                let found = json_type(given);
                self.wrong(format!("json: cannot unmarshal {found} into Go value of type string"));
            }
        }
    }

    fn quantity(&mut self, value: &mut Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match Quantity::parse(&text) {
            Some(quantity) => *value = json!(quantity.canonical()),
            None => self.wrong(quantity::MALFORMED.to_owned()),
        }
    }

    fn at(&mut self, step: String, inside: impl FnOnce(&mut Reader)) {
        self.path.push(step);
        inside(self);
        self.path.pop();
    }

    /// `spec.containers[0].image`.
    fn place(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            if !text.is_empty() && !step.starts_with('[') {
                text.push('.');
            }
            text.push_str(step);
        }
        text
    }
}

/// What Go calls the form of a JSON value.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go calls a type, with its package.
fn qualified(shape: Shape<'_>) -> String {
    match shape.form() {
        Form::Struct => format!("v1.{}", shape.go_name()),
        Form::Map if shape.each().is_some_and(|each| each.form() == Form::Scalar(Scalar::Quantity)) => {
            "v1.ResourceList".to_owned()
        }
        _ => shape.go_name().to_owned(),
    }
}

/// Whether a value that is there is written again.
fn is_written(value: &Value, shape: Shape<'_>) -> bool {
    if shape.is_always_written() {
        return true;
    }
    let single = !shape.is_pointer();
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty() || shape.form() != Form::Map && !single || shape.form() == Form::Any,
        Value::String(text) => {
            !text.is_empty() || !single || matches!(shape.form(), Form::Scalar(Scalar::IntOrText) | Form::Any)
        }
        Value::Number(number) => number.as_f64() != Some(0.0) || !single || shape.form() == Form::Any,
        Value::Bool(yes) => *yes || !single || shape.form() == Form::Any,
    }
}

/// Adds what is always written; in what is stored an empty list or map is none.
fn complete(map: Option<&mut Map<String, Value>>, shape: Shape<'_>, stored: bool) {
    let Some(map) = map else { return };
    for (name, field) in shape.fields().filter(|(_, field)| field.is_always_written()) {
        let value = map.entry(name.to_owned()).or_insert(Value::Null);
        let is_empty = value.as_array().is_some_and(Vec::is_empty)
            || (field.form() == Form::Map && value.as_object().is_some_and(Map::is_empty));
        if value.is_null() || (stored && is_empty) {
            *value = zero(field);
        }
    }
}

/// What nothing is written as.
fn zero(shape: Shape<'_>) -> Value {
    if shape.is_list() || shape.is_pointer() {
        return Value::Null;
    }
    match shape.form() {
        Form::Struct => {
            let mut zero = json!({});
            complete(zero.as_object_mut(), shape, true);
            zero
        }
        Form::Scalar(Scalar::Text) => json!(""),
        Form::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float | Scalar::IntOrText) => json!(0),
        Form::Scalar(Scalar::Bool) => json!(false),
        Form::Scalar(Scalar::Quantity) => json!("0"),
        Form::Any | Form::Map | Form::Scalar(_) => Value::Null,
    }
}

/// Where a text stops being base64.
fn base64_fits(text: &str) -> Result<(), usize> {
    use base64::Engine;
    let text = text.replace(['\n', '\r'], "");
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    match base64::engine::general_purpose::STANDARD.decode(&text) {
        Ok(_) => Ok(()),
        Err(_) => Err(text.bytes().position(|byte| !is_of_it(byte)).unwrap_or(text.len() / 4 * 4)),
    }
}

/// Takes away the fields that a structural schema does not have.
fn pruned(schema: &Value, value: &mut Value, path: &str, is_root: bool, unknown: &mut Vec<String>) {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let embeds = is_root || schema["x-kubernetes-embedded-resource"] == true;
    match value {
        Value::Object(map) => {
            let mut gone = Vec::new();
            for (key, value) in map.iter_mut() {
                if embeds && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let each = schema.get("additionalProperties").filter(|each| each.is_object() || **each == true);
                match schema["properties"].get(key).or(each) {
                    Some(inner) => pruned(inner, value, &path, false, unknown),
                    None if keeps => {}
                    None => {
                        unknown.push(path);
                        gone.push(key.clone());
                    }
                }
            }
            for key in gone {
                map.remove(&key);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                pruned(&schema["items"], item, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::kinds;
    use crate::twin::kube::store::Store;

    fn of(object: &mut Value) -> Misfits {
        let store = Store::default();
        let api = object["apiVersion"].as_str().unwrap();
        let served = kinds::of_object(&store, api, object["kind"].as_str().unwrap()).unwrap();
        read(&served, None, object)
    }

    #[test]
    fn unknown_fields_are_found_at_any_depth_and_go() {
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "lables": {} },
            "spec": { "containers": [{ "name": "a", "image": "b", "imagee": "c" }], "nodeName": null } });
        assert_eq!(of(&mut pod).unknown, ["metadata.lables", "spec.containers[0].imagee"]);
        assert_eq!(of(&mut pod), Misfits::default());
    }

    #[test]
    fn a_value_of_another_type_is_told_as_go_does() {
        let mut deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
            "spec": { "replicas": "three" } });
        let told = of(&mut deployment).mistyped.unwrap();
        assert_eq!(
            told,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
    }

    #[test]
    fn what_is_empty_is_written_as_the_server_does() {
        let mut deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "labels": {} },
            "spec": { "paused": false, "replicas": 0, "selector": null, "template": { "spec": { "containers": [
                { "name": "a", "args": [], "resources": { "limits": { "cpu": 0.5, "memory": "1024Mi" } } }] } } } });
        assert_eq!(of(&mut deployment), Misfits::default());
        let limits = json!({ "limits": { "cpu": "500m", "memory": "1Gi" } });
        assert_eq!(
            deployment,
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
                "spec": { "replicas": 0, "selector": null, "strategy": {}, "template": { "metadata": {}, "spec": {
                    "containers": [{ "name": "a", "resources": limits }] } } }, "status": {} })
        );
    }

    #[test]
    fn a_schema_without_a_field_prunes_it() {
        let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
            "subnet": { "type": "string" }, "any": { "x-kubernetes-preserve-unknown-fields": true } } } } });
        let mut unknown = Vec::new();
        let mut object =
            json!({ "kind": "A", "metadata": {}, "spec": { "subnet": "a", "sbnet": "b", "any": { "x": 1 } } });
        pruned(&schema, &mut object, "", true, &mut unknown);
        assert_eq!(unknown, ["spec.sbnet"]);
        assert_eq!(object["spec"], json!({ "subnet": "a", "any": { "x": 1 } }));
    }
}
