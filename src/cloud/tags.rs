//! Default tags on every create whose schema has tags, launch template specifications included.

use std::collections::BTreeMap;

use aws_dynamic::{Effect, Operation, Struct, Type};
use serde_json::{Map, Value, json};

/// Operations whose `tags` are what they are about, not a property of what they make.
const ABOUT_TAGS: [&str; 4] = ["create_tags", "tag_resource", "create_or_update_tags", "add_tags_to_resource"];

/// Verbs that make a thing.
const MAKES: [&str; 6] = ["create_", "run_", "allocate_", "import_", "copy_", "request_"];

/// Whether the operation makes something that can carry tags.
pub fn makes_tagged(operation: &Operation) -> bool {
    operation.effect == Effect::Mutate
        && MAKES.iter().any(|verb| operation.name.starts_with(verb))
        && !ABOUT_TAGS.contains(&operation.name)
}

/// Adds tags to a checked input of a create. Tags that the caller gave win.
pub fn add(operation: &Operation, input: &mut Value, tags: &BTreeMap<String, String>) {
    if tags.is_empty() || !makes_tagged(operation) {
        return;
    }
    if let Some(object) = input.as_object_mut() {
        if operation.input.field("tag_specifications").is_some() {
            add_specification(operation, object, tags);
        } else if let Some(field) = operation.input.field("tags") {
            add_plain(&field.ty, object, tags);
        }
        if operation.input.field("launch_template_data").is_some() {
            add_launch_template(object, tags);
        }
    }
}

/// `tags` as a map (EKS, CloudWatch Logs) or as a list of `{ key, value }` (IAM and most others).
fn add_plain(ty: &Type, object: &mut Map<String, Value>, tags: &BTreeMap<String, String>) {
    match ty {
        Type::Map(_) => {
            let slot = object.entry("tags").or_insert_with(|| json!({}));
            for (key, value) in tags {
                if let Some(slot) = slot.as_object_mut() {
                    slot.entry(key).or_insert_with(|| json!(value));
                }
            }
        }
        Type::List(Type::Struct(shape)) => {
            let slot = object.entry("tags").or_insert_with(|| json!([]));
            merge_list(slot, tags, shape);
        }
        _ => {}
    }
}

fn merge_list(list: &mut Value, tags: &BTreeMap<String, String>, shape: &Struct) {
    let Some(list) = list.as_array_mut() else { return };
    // KMS alone calls them `tag_key` and `tag_value`.
    let (key_field, value_field) =
        if shape.field("tag_key").is_some() { ("tag_key", "tag_value") } else { ("key", "value") };
    for (key, value) in tags {
        if list.iter().all(|tag| tag[key_field] != *key) {
            let mut tag = json!({ key_field: key, value_field: value });
            // An Auto Scaling group hands its tags on only when told so.
            if shape.field("propagate_at_launch").is_some() {
                tag["propagate_at_launch"] = json!(true);
            }
            list.push(tag);
        }
    }
}

/// `tag_specifications` of EC2: each names the type of thing it tags.
fn add_specification(operation: &Operation, object: &mut Map<String, Value>, tags: &BTreeMap<String, String>) {
    let Some(field) = operation.input.field("tag_specifications") else { return };
    let Type::List(Type::Struct(shape)) = field.ty else { return };
    for kind in resource_types(operation, shape) {
        specify(object, &kind, tags);
    }
}

fn specify(object: &mut Map<String, Value>, kind: &str, tags: &BTreeMap<String, String>) {
    let slot = object.entry("tag_specifications").or_insert_with(|| json!([]));
    let Some(list) = slot.as_array_mut() else { return };
    let index = list.iter().position(|specification| specification["resource_type"] == kind).unwrap_or_else(|| {
        list.push(json!({ "resource_type": kind, "tags": [] }));
        list.len() - 1
    });
    let Some(specification) = list[index].as_object_mut() else { return };
    let slot = specification.entry("tags").or_insert_with(|| json!([]));
    let Some(slot) = slot.as_array_mut() else { return };
    for (key, value) in tags {
        if slot.iter().all(|tag| tag["key"] != *key) {
            slot.push(json!({ "key": key, "value": value }));
        }
    }
}

/// The types of what the operation makes: the rest of its name, as EC2's own list writes it.
fn resource_types(operation: &Operation, specification: &Struct) -> Vec<String> {
    match operation.name {
        "allocate_address" => return vec!["elastic-ip".to_owned()],
        "run_instances" => return vec!["instance".to_owned(), "volume".to_owned()],
        _ => {}
    }
    let Some(Type::Enum(values)) = specification.field("resource_type").map(|field| field.ty) else {
        return Vec::new();
    };
    let rest = operation.name.split_once('_').map_or("", |(_, rest)| rest);
    let plain = |text: &str| text.replace(['-', '_'], "");
    values.values.iter().filter(|value| plain(value) == plain(rest)).map(|value| (*value).to_owned()).collect()
}

fn add_launch_template(object: &mut Map<String, Value>, tags: &BTreeMap<String, String>) {
    if let Some(data) = object.get_mut("launch_template_data").and_then(Value::as_object_mut) {
        for kind in ["instance", "volume"] {
            specify(data, kind, tags);
        }
    }
}
