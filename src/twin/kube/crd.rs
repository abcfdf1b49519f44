//! Definitions of custom kinds: what the server fills in, when they are served, and what their schemas refuse.

use serde_json::{Value, json};

use super::kinds::{DEFINITIONS, Served};
use super::status::{Wrong, invalid, required, unsupported};
use super::store::Store;

/// Defaults of a definition.
pub fn fill(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({ "strategy": "None" });
    }
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if spec["names"].is_object() {
        if spec["names"]["singular"].is_null() {
            spec["names"]["singular"] = json!(kind.to_ascii_lowercase());
        }
        if spec["names"]["listKind"].is_null() {
            spec["names"]["listKind"] = json!(format!("{kind}List"));
        }
    }
}

/// Makes a definition served: its names are accepted and it is established.
pub fn establish(object: &mut Value, time: &str) {
    let names = object["spec"]["names"].clone();
    let versions = object["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> =
        versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).collect();
    if object["status"].is_null() {
        object["status"] = json!({});
    }
    let status = &mut object["status"];
    status["acceptedNames"] = names;
    if status["conditions"].as_array().is_none_or(Vec::is_empty) {
        status["conditions"] = json!([
            { "type": "NamesAccepted", "status": "True", "lastTransitionTime": time, "reason": "NoConflicts", "message": "no conflicts found" },
            { "type": "Established", "status": "True", "lastTransitionTime": time, "reason": "InitialNamesAccepted", "message": "the initial names have been accepted" },
        ]);
    }
    let mut known = status["storedVersions"].as_array().cloned().unwrap_or_default();
    known.extend(
        stored
            .into_iter()
            .filter(|version| !status["storedVersions"].as_array().is_some_and(|known| known.contains(version))),
    );
    status["storedVersions"] = Value::Array(known);
}

/// What is wrong with a definition.
pub fn check(object: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if object["metadata"]["name"] != name.as_str() {
        wrong.push(invalid("metadata.name", &object["metadata"]["name"], "must be spec.names.plural+\".\"+spec.group"));
    }
    if text(&spec["group"]).is_empty() {
        wrong.push(required("spec.group", ""));
    }
    match spec["scope"].as_str() {
        None => wrong.push(required("spec.scope", "")),
        Some("Cluster" | "Namespaced") => {}
        Some(_) => wrong.push(unsupported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"])),
    }
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        wrong.push(invalid("spec.versions", &json!(versions), why));
    }
    for (index, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            wrong.push(required(format!("spec.versions[{index}].schema.openAPIV3Schema"), "schemas are required"));
        }
    }
}

/// The schema of a custom kind.
pub fn schema<'a>(store: &'a Store, served: &Served) -> Option<&'a Value> {
    let definition = store.get(DEFINITIONS, &served.table)?;
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["name"] == served.version.as_str())?;
    version.get("schema")?.get("openAPIV3Schema")
}

/// What a schema refuses of a value.
pub fn check_value(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    if let Some(wanted) = schema["type"].as_str()
        && !is_of(wanted, value)
        && !(value.is_null() && schema["nullable"] == true)
        && schema["x-kubernetes-int-or-string"] != true
    {
        let told = json!(type_of(value));
        let why = format!("{path} in body must be of type {wanted}: {told}");
        wrong.push(invalid(path, &told, &why));
        return;
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        wrong.push(unsupported(path, value, &known));
    }
    for (bound, fits, word) in [
        ("minimum", at_least as fn(&Value, &Value) -> bool, "greater than or equal to"),
        ("maximum", at_most, "less than or equal to"),
    ] {
        if let Some(limit) = schema.get(bound).filter(|limit| limit.is_number())
            && !fits(value, limit)
        {
            wrong.push(invalid(path, value, &format!("{path} in body should be {word} {limit}")));
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && regex::Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        wrong.push(invalid(path, value, &format!("{path} in body should match '{pattern}'")));
    }
    inner(schema, value, path, wrong);
}

fn inner(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(key).is_none() && !is_typed(path, key) {
            wrong.push(required(under(key), ""));
        }
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_typed(path, key) {
                    continue;
                }
                if let Some(inner) = schema["properties"].get(key).or_else(|| schema.get("additionalProperties")) {
                    check_value(inner, value, &under(key), wrong);
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            for (index, item) in items.iter().enumerate() {
                check_value(&schema["items"], item, &format!("{path}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

/// Fields that every object has: the server checks them itself.
fn is_typed(path: &str, key: &str) -> bool {
    path.is_empty() && matches!(key, "apiVersion" | "kind" | "metadata")
}

fn at_least(value: &Value, limit: &Value) -> bool {
    value.as_f64().zip(limit.as_f64()).is_none_or(|(value, limit)| value >= limit)
}

fn at_most(value: &Value, limit: &Value) -> bool {
    value.as_f64().zip(limit.as_f64()).is_none_or(|(value, limit)| value <= limit)
}

fn is_of(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn type_of(value: &Value) -> &'static str {
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

/// Fills in the defaults of a schema.
pub fn fill_schema(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = inner.get("default")
                    && !map.contains_key(key)
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    fill_schema(inner, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_schema(&schema["items"], item)),
        _ => {}
    }
}
