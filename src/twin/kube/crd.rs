//! Definitions of custom kinds: what the server fills in, when they are served, and what their schemas refuse.

use serde_json::{Value, json};

use super::kinds::{DEFINITIONS, Served};
use super::status::{Wrong, duplicate, invalid, mistyped, required, too_long, too_many, unsupported};
use super::store::Store;
use crate::value::schema_type;

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
    if !versions.iter().any(|version| version["storage"] == true) {
        wrong.push(invalid("status.storedVersions", &Value::Null, "must have at least one stored version"));
    }
    for (index, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            wrong.push(required(format!("spec.versions[{index}].schema.openAPIV3Schema"), ""));
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
    let either = schema["x-kubernetes-int-or-string"] == true;
    let is_null = value.is_null() && schema["nullable"] == true;
    let fits = |wanted: &str| is_of(wanted, value);
    let told = json!(schema_type(value));
    if either && !fits("integer") && !fits("string") && !is_null {
        wrong.push(mistyped(path, &told, &format!("{path} in body must be of type integer,string: {told}")));
        return;
    }
    if let Some(wanted) = schema["type"].as_str().filter(|wanted| !either && !fits(wanted) && !is_null) {
        wrong.push(mistyped(path, &told, &format!("{path} in body must be of type {wanted}: {told}")));
        return;
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
        && !is_null
    {
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        wrong.push(unsupported(path, value, &known));
    }
    numbers(schema, value, path, wrong);
    texts(schema, value, path, wrong);
    sizes(schema, value, path, wrong);
    inner(schema, value, path, wrong);
}

fn numbers(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let Some(number) = value.as_f64() else { return };
    let of = |bound: &str| schema[bound].as_f64();
    let mut refuse = |why: String| wrong.push(invalid(path, value, &format!("{path} in body should be {why}")));
    if let Some(limit) = of("minimum") {
        match schema["exclusiveMinimum"] == true {
            true if number <= limit => refuse(format!("greater than {}", schema["minimum"])),
            false if number < limit => refuse(format!("greater than or equal to {}", schema["minimum"])),
            _ => {}
        }
    }
    if let Some(limit) = of("maximum") {
        match schema["exclusiveMaximum"] == true {
            true if number >= limit => refuse(format!("less than {}", schema["maximum"])),
            false if number > limit => refuse(format!("less than or equal to {}", schema["maximum"])),
            _ => {}
        }
    }
    if of("multipleOf").is_some_and(|step| step > 0.0 && (number / step).fract() != 0.0) {
        refuse(format!("a multiple of {}", schema["multipleOf"]));
    }
}

fn texts(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let Some(text) = value.as_str() else { return };
    let length = text.chars().count() as u64;
    if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
        wrong.push(too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
    }
    if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
        wrong.push(invalid(path, value, &format!("{path} in body should be at least {min} chars long")));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && regex::Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        wrong.push(invalid(path, value, &format!("{path} in body should match '{pattern}'")));
    }
    if let Some(format) = schema["format"].as_str().filter(|format| !is_in_format(text, format)) {
        wrong.push(mistyped(path, value, &format!("{path} in body must be of type {format}: {value}")));
    }
}

fn is_in_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    }
}

fn sizes(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let (count, max, min, what) = match value {
        Value::Array(items) => (items.len(), "maxItems", "minItems", "items"),
        Value::Object(map) => (map.len(), "maxProperties", "minProperties", "properties"),
        _ => return,
    };
    if let Some(max) = schema[max].as_u64().filter(|max| count as u64 > *max) {
        wrong.push(too_many(path, count, max));
    }
    if let Some(min) = schema[min].as_u64().filter(|min| (count as u64) < *min) {
        wrong.push(invalid(path, &json!(count), &format!("{path} in body should have at least {min} {what}")));
    }
}

/// Items of sets and keyed lists that stand there twice: the server looks at them after everything else.
pub fn check_lists(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let each = schema.get("additionalProperties");
                if let Some(inner) = schema["properties"].get(key).or(each) {
                    check_lists(inner, value, &under(key), wrong);
                }
            }
        }
        Value::Array(items) => {
            let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let by_keys = |item: &Value| -> Value {
                keys.iter()
                    .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            let kind = schema["x-kubernetes-list-type"].as_str().unwrap_or("atomic");
            let mut seen: Vec<Value> = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let at = format!("{path}[{index}]");
                let unique = if kind == "map" { by_keys(item) } else { item.clone() };
                if kind != "atomic" && seen.contains(&unique) {
                    wrong.push(duplicate(&at, &unique));
                }
                seen.push(unique);
                check_lists(&schema["items"], item, &at, wrong);
            }
        }
        _ => {}
    }
}

/// What a scale of a custom kind can not be read from.
pub fn check_scale(store: &Store, served: &Served, object: &Value, wrong: &mut Vec<Wrong>) {
    let Some(paths) = scale_paths(store, served) else { return };
    for (path, what) in [("specReplicasPath", "spec"), ("statusReplicasPath", "status")] {
        let Some(path) = paths[path].as_str() else { continue };
        let pointer = path.replace('.', "/");
        let Some(found) = object.pointer(&pointer).filter(|found| !found.is_null()) else { continue };
        match found.as_i64() {
            Some(number) if number < 0 => wrong.push(invalid(path, found, "should be a non-negative integer")),
            Some(_) => {}
            None if what == "spec" => {
                let shown = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
                let told = schema_type(found);
                let why = format!("{path} accessor error: {shown} is of the type {told}, expected int64");
                wrong.push(invalid(path, &json!(0), &why));
            }
            None => {}
        }
    }
}

/// Where the numbers of a custom kind's scale stand.
pub fn scale_paths<'a>(store: &'a Store, served: &Served) -> Option<&'a Value> {
    let definition = store.get(DEFINITIONS, &served.table)?;
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["name"] == served.version.as_str())?;
    version["subresources"].get("scale")
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
                let each = schema.get("additionalProperties").filter(|each| each.is_object());
                if let Some(inner) = schema["properties"].get(key).or(each) {
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

/// Fills in the defaults of a schema.
pub fn fill_schema(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
                // A null where none may stand is nothing: it goes, or gives way to the default.
                if inner["nullable"] != true && map.get(key).is_some_and(Value::is_null) {
                    map.remove(key);
                }
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
