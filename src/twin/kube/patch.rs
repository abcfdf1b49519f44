//! Merge, JSON and strategic merge patches.

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value, json};

use super::apply::go_value;
use super::json::{NESTED_MAX, is_nested_at_most, written_len};
use super::schema::{self, Shape, Strategy};
use super::typed::json_type;
use super::{Problem, status};

/// What to do with a map, or an item of a list.
const DIRECTIVE: &str = "$patch";

/// Which fields of a union stay.
const RETAIN_KEYS: &str = "$retainKeys";

/// In which order the items of a list come.
const ORDER: &str = "$setElementOrder/";

/// Which values of a list go.
const DELETE: &str = "$deleteFromPrimitiveList/";

/// RFC 7386.
pub fn merge(object: &Value, patch: &Value) -> Value {
    let mut merged = object.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

/// RFC 6902; a patch that does not fit is a 422 `Invalid`, one that is none a 400 `BadRequest`.
pub fn json(object: &Value, patch: &Value) -> Result<Value, Problem> {
    let none = Vec::new();
    let Some(operations) = patch.as_array().or_else(|| patch.is_null().then_some(&none)) else {
        let form = json_type(patch);
        return Err(malformed(&format!(
            "error decoding patch: json: cannot unmarshal {form} into Go value of type []handlers.jsonPatchOp"
        )));
    };
    for operation in operations {
        check_operation(operation)?;
    }
    if operations.len() > OPERATIONS_MAX {
        let has = operations.len();
        return Err(status::too_large(&format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {has}"
        )));
    }
    let operations: Vec<Value> = operations.iter().map(valued).collect();
    if serde_json::from_value::<Patch>(Value::Array(operations.clone())).is_err() {
        return Err(unfit());
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in operations {
        let operation = &serde_json::from_value(counted(operation, &patched)).map_err(|_| unfit())?;
        if !stays_flat(&patched, operation) {
            return Err(unfit());
        }
        if let PatchOperation::Replace(replace) = operation
            && replace.path.as_str().is_empty()
            && !replace.value.is_object()
            && !replace.value.is_array()
        {
            return Err(unfit());
        }
        // It copies null from where nothing is.
        if let PatchOperation::Copy(copy) = operation
            && patched.pointer(copy.from.as_str()).is_none()
            && let Some((from, _)) = copy.from.as_str().rsplit_once('/')
            && patched.pointer(from).is_some_and(Value::is_object)
            && let Some((parent, name)) = copy.path.as_str().rsplit_once('/')
            && let Some(map) = patched.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.insert(name.replace("~1", "/").replace("~0", "~"), Value::Null);
            continue;
        }
        if let PatchOperation::Copy(copy) = operation {
            copied += patched.pointer(copy.from.as_str()).map_or(0, written_len);
            if copied > COPIED_MAX {
                return Err(unfit());
            }
        }
        // The server takes what is not there for null, which RFC 6902 does not.
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && patched.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        // It replaces an entry of a map that is not there as if it added it.
        if let PatchOperation::Replace(replace) = operation
            && let Some((parent, name)) = replace.path.as_str().rsplit_once('/')
            && let Some(map) = patched.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.insert(name.replace("~1", "/").replace("~0", "~"), replace.value.clone());
            continue;
        }
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation)).map_err(|_| unfit())?;
    }
    Ok(patched)
}

/// Operations of a JSON patch, and bytes that they may copy.
const OPERATIONS_MAX: usize = 10_000;
const COPIED_MAX: usize = 3 << 20;

/// Refuses what is no operation at all; null is one that does nothing known.
fn check_operation(operation: &Value) -> Result<(), Problem> {
    let decoding = |form: &str, wanted: &str| {
        malformed(&format!("error decoding patch: json: cannot unmarshal {form} into Go {wanted}"))
    };
    let Some(fields) = operation.as_object() else {
        let wanted = "value of type handlers.jsonPatchOp";
        return if operation.is_null() { Ok(()) } else { Err(decoding(json_type(operation), wanted)) };
    };
    for field in ["op", "path", "from"] {
        if let Some(value) = fields.get(field).filter(|value| !value.is_string() && !value.is_null()) {
            let wanted = format!("struct field jsonPatchOp.{field} of type string");
            return Err(decoding(json_type(value), &wanted));
        }
    }
    Ok(())
}

/// What an operation leaves out is null.
fn valued(operation: &Value) -> Value {
    let mut operation = operation.clone();
    if let Some(fields) = operation.as_object_mut().filter(|fields| !fields.contains_key("value"))
        && fields.get("op").is_some_and(|op| op == "add" || op == "replace" || op == "test")
    {
        fields.insert("value".to_owned(), Value::Null);
    }
    for field in ["path", "from"] {
        if let Some(Value::String(path)) = operation.get_mut(field) {
            *path = escaped(path);
        }
    }
    operation
}

/// An operation whose places counted from the end of a list, `-1` the last, are counted from its beginning.
fn counted(mut operation: Value, object: &Value) -> Value {
    for field in ["path", "from"] {
        let Some(Value::String(path)) = operation.get_mut(field) else { continue };
        let Some((parent, last)) = path.rsplit_once('/') else { continue };
        let back = last.strip_prefix('-').and_then(|digits| digits.parse::<usize>().ok());
        let length = object.pointer(parent).and_then(Value::as_array).map(Vec::len);
        if let Some(place) = back.zip(length).and_then(|(back, length)| length.checked_sub(back)) {
            *path = format!("{parent}/{place}");
        }
    }
    operation
}

/// A path whose tildes that escape nothing stand for themselves.
fn escaped(path: &str) -> String {
    let mut parts = path.split('~');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |begun, part| begun + if part.starts_with(['0', '1']) { "~" } else { "~0" } + part)
}

/// Where fields stand in a patch that no operation has.
pub fn unknown_fields(patch: &Value) -> impl Iterator<Item = String> + use<'_> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations.flat_map(|(index, operation)| {
        let fields = operation.as_object().into_iter().flat_map(|fields| fields.keys());
        let unknown = fields.filter(|field| !["op", "path", "from", "value"].contains(&field.as_str()));
        unknown.map(move |field| format!("[{index}].{field}"))
    })
}

/// Whether what an operation leads to can be read again: copies of copies lie very deep soon.
fn stays_flat(object: &Value, operation: &PatchOperation) -> bool {
    let fits = |path: &str, value: Option<&Value>| {
        let levels = NESTED_MAX.checked_sub(path.matches('/').count());
        value.is_none_or(|value| levels.is_some_and(|levels| is_nested_at_most(value, levels)))
    };
    match operation {
        PatchOperation::Add(add) => fits(add.path.as_str(), Some(&add.value)),
        PatchOperation::Replace(replace) => fits(replace.path.as_str(), Some(&replace.value)),
        PatchOperation::Copy(copy) => fits(copy.path.as_str(), object.pointer(copy.from.as_str())),
        PatchOperation::Move(moved) => fits(moved.path.as_str(), object.pointer(moved.from.as_str())),
        PatchOperation::Test(_) | PatchOperation::Remove(_) => true,
    }
}

/// Strategic merge of built-in kinds, with its directives (`$patch`, `$setElementOrder`, `$deleteFromPrimitiveList`, `$retainKeys`).
pub fn strategic(object: &Value, patch: &Value) -> Result<Value, Problem> {
    let (Some(map), Some(patch)) = (object.as_object(), patch.as_object()) else {
        return Err(malformed("invalid JSON document"));
    };
    merge_map(map, patch, schema::of(object)).map(Value::Object)
}

/// How the reader of a strategic patch tells what other readers say of a value of the wrong type.
pub fn as_restored(why: &str) -> Option<String> {
    let (found, wanted) = why.strip_prefix("json: cannot unmarshal ")?.split_once(" into Go ")?;
    let wanted = wanted.rsplit(" of type ").next()?;
    let (found, kind) = match found.split(' ').next()? {
        "number" => ("int64", "int64"),
        "string" => ("string", "string"),
        "bool" => ("bool", "bool"),
        "array" => ("slice", "[]interface {}"),
        _ => ("map", "map[string]interface {}"),
    };
    Some(if wanted.starts_with("[]") {
        format!("cannot restore slice from {found}")
    } else if wanted.starts_with("map[") {
        format!("cannot restore map from {found}")
    } else if wanted.starts_with("v1.") {
        format!("cannot restore struct from: {found}")
    } else {
        format!("cannot convert {kind} to {wanted}")
    })
}

fn malformed(message: &str) -> Problem {
    Problem { code: 400, reason: "BadRequest", message: message.to_owned(), details: Value::Null }
}

/// The server says no more of a patch that does not fit.
fn unfit() -> Problem {
    let message = "the server rejected our request due to an error in our request";
    Problem { code: 422, reason: "Invalid", message: message.to_owned(), details: json!({}) }
}

/// What is wrong with a strategic patch where the server has no status for it.
fn broken(message: String) -> Problem {
    Problem { code: 500, reason: "", message, details: Value::Null }
}

fn merge_map(
    object: &Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Shape<'_>,
) -> Result<Map<String, Value>, Problem> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(directive) if directive == "replace" => {
            let rest = patch.iter().filter(|(key, _)| *key != DIRECTIVE);
            return Ok(rest.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        Some(directive) if directive == "delete" => return Ok(Map::new()),
        Some(directive) => return Err(unknown(directive, patch)),
    }
    let mut merged = retained(object, patch)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE) {
            delete_values(&mut merged, name, value)?;
        } else if !is_directive(key) {
            merge_field(&mut merged, key, value, shape.field(key))?;
        }
    }
    // The order comes last: it is about the merged list.
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ORDER) {
            set_order(object.get(name), &mut merged, patch.get(name), name, order, shape.field(name))?;
        }
    }
    Ok(merged)
}

/// What `$retainKeys` leaves of a map. It names every field of the patch.
fn retained(object: &Map<String, Value>, patch: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let Some(retain) = patch.get(RETAIN_KEYS) else { return Ok(object.clone()) };
    let wrong = || malformed("invalid patch format of retainKeys");
    let retain = retain.as_array().ok_or_else(wrong)?;
    let is_retained = |key: &String| retain.iter().any(|name| name == key);
    if patch.iter().any(|(key, value)| !key.starts_with('$') && !value.is_null() && !is_retained(key)) {
        return Err(wrong());
    }
    let kept = object.iter().filter(|(key, _)| is_retained(key));
    Ok(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn delete_values(merged: &mut Map<String, Value>, name: &str, values: &Value) -> Result<(), Problem> {
    // What is no list names nothing.
    let Some(gone) = values.as_array() else { return Ok(()) };
    if let Some(list) = merged.get_mut(name).and_then(Value::as_array_mut) {
        are_alike(list, gone)?;
        list.retain(|value| !gone.contains(value));
    }
    Ok(())
}

fn merge_field(merged: &mut Map<String, Value>, key: &str, patch: &Value, shape: Shape<'_>) -> Result<(), Problem> {
    let value = match (merged.get(key), patch) {
        (_, Value::Null) => {
            merged.remove(key);
            return Ok(());
        }
        (Some(Value::Object(object)), Value::Object(patch)) if *shape.strategy() != Strategy::Replace => {
            Value::Object(merge_map(object, patch, shape)?)
        }
        (Some(Value::Array(items)), Value::Array(patch)) => match shape.strategy() {
            Strategy::Merge(key) => Value::Array(merge_list(items, patch, key.as_deref(), shape)?),
            _ => Value::Array(patch.clone()),
        },
        _ => undirected(patch),
    };
    merged.insert(key.to_owned(), value);
    Ok(())
}

/// What a patch leaves where nothing was: without directives and nulls.
fn undirected(patch: &Value) -> Value {
    match patch {
        Value::Object(map) => {
            let fields = map.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
            Value::Object(fields.map(|(key, value)| (key.clone(), undirected(value))).collect())
        }
        Value::Array(items) => {
            let is_item = |item: &&Value| item.get(DIRECTIVE).is_none();
            Value::Array(items.iter().filter(is_item).map(undirected).collect())
        }
        other => other.clone(),
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ORDER) || key.starts_with(DELETE)
}

fn merge_list(items: &[Value], patch: &[Value], key: Option<&str>, shape: Shape<'_>) -> Result<Vec<Value>, Problem> {
    are_alike(items, patch)?;
    let (special, patch): (Vec<&Value>, Vec<&Value>) = patch.iter().partition(|item| item.get(DIRECTIVE).is_some());
    let mut merged = items.to_vec();
    let mut replaces = false;
    for item in special {
        match item[DIRECTIVE].as_str().unwrap_or_default() {
            "replace" => replaces = true,
            "delete" => {
                let Some(key) = key else {
                    return Err(broken("delete patch type with no merge key defined".to_owned()));
                };
                let gone = item.get(key).ok_or_else(|| without_key(item, key))?;
                merged.retain(|item| item.get(key) != Some(gone));
            }
            "merge" => return Err(broken("merging lists cannot yet be specified in the patch".to_owned())),
            _ => return Err(unknown(&item[DIRECTIVE], item.as_object().unwrap_or(&Map::new()))),
        }
    }
    if replaces {
        return Ok(patch.into_iter().map(undirected).collect());
    }
    for item in &patch {
        if let (Some(key), None) = (key, key.and_then(|key| item.get(key))) {
            return Err(without_key(item, key));
        }
        match merged.iter().position(|other| is_same(other, item, key)) {
            Some(found) => merged[found] = merge_item(&merged[found], item, shape)?,
            None => merged.push(undirected(item)),
        }
    }
    Ok(ordered(merged, items, &patch, key))
}

/// Refuses to merge lists of different things.
fn are_alike(items: &[Value], patch: &[Value]) -> Result<(), Problem> {
    let mut forms = items.iter().chain(patch).map(json_type);
    let first = forms.next();
    match forms.all(|form| Some(form) == first) {
        true => Ok(()),
        false => {
            let shown = |list: &[Value]| go_value(&Value::Array(list.to_vec()));
            let lists = format!("[{} {}]", shown(items), shown(patch));
            Err(broken(format!("list element types are not identical: {lists}")))
        }
    }
}

fn merge_item(item: &Value, patch: &Value, shape: Shape<'_>) -> Result<Value, Problem> {
    match (item.as_object(), patch.as_object()) {
        (Some(item), Some(patch)) => merge_map(item, patch, shape.item()).map(Value::Object),
        _ => Ok(patch.clone()),
    }
}

fn without_key(item: &Value, key: &str) -> Problem {
    let item = item.as_object().map_or_else(|| plain(item), shown);
    broken(format!("map: {item} does not contain declared merge key: {key}"))
}

fn unknown(directive: &Value, patch: &Map<String, Value>) -> Problem {
    let directive = if directive.is_i64() { format!("%!s(int64={directive})") } else { plain(directive) };
    broken(format!("unknown patch type: {directive} in map: {}", shown(patch)))
}

/// A map as messages of the server have it.
fn shown(map: &Map<String, Value>) -> String {
    let fields: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
    format!("map[{}]", fields.join(" "))
}

fn plain_of(value: &Value) -> String {
    value.as_object().map_or_else(|| plain(value), shown)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether two items of a list are the same one.
fn is_same(one: &Value, other: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => one.get(key).is_some() && one.get(key) == other.get(key),
        None => one == other,
    }
}

/// The merged items: those of `order` as they come there; the others, which only the server has, before the first one that
/// came after them so far.
fn ordered(merged: Vec<Value>, before: &[Value], order: &[&Value], key: Option<&str>) -> Vec<Value> {
    let place = |item: &Value| order.iter().position(|other| is_same(item, other, key));
    let (mut named, others): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| place(item).is_some());
    named.sort_by_key(|item| place(item));
    let was = |item: &Value| before.iter().position(|other| is_same(item, other, key));
    let comes_first = |one: &Value, other: &Value| was(one).zip(was(other)).is_some_and(|(one, other)| one < other);
    let mut ordered = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) = others.next_if(|other| comes_first(other, &item)) {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(others);
    ordered
}

/// `$setElementOrder`: it names, in their order, all items of the patch and those that the writer knows.
fn set_order(
    before: Option<&Value>,
    merged: &mut Map<String, Value>,
    patch: Option<&Value>,
    name: &str,
    order: &Value,
    shape: Shape<'_>,
) -> Result<(), Problem> {
    if !order.is_array() {
        let form = if order.is_number() { "int64" } else { json_type(order) };
        return Err(broken(format!("expected a []interface {{}}, but received a {form}")));
    }
    let wrong = || malformed("invalid patch format of setElementOrder list");
    let Strategy::Merge(key) = shape.strategy() else { return Ok(()) };
    let key = key.as_deref();
    let order: Vec<&Value> = order.as_array().ok_or_else(wrong)?.iter().collect();
    // Items of the patch stand in the order too, in the same succession.
    let mut rest = order.iter();
    let patched = patch.and_then(Value::as_array).into_iter().flatten();
    for item in patched.filter(|item| item.get(DIRECTIVE).is_none()) {
        if !rest.any(|other| is_same(item, other, key)) {
            let list = |items: &[&Value]| items.iter().map(|item| plain_of(item)).collect::<Vec<_>>().join(" ");
            let patched: Vec<&Value> = patch.and_then(Value::as_array).into_iter().flatten().collect();
            return Err(broken(format!(
                "The order in patch list:\n[{}]\n doesn't match $setElementOrder list:\n[{}]\n",
                list(&patched),
                list(&order)
            )));
        }
    }
    let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if let Some(Value::Array(items)) = merged.get_mut(name) {
        *items = ordered(std::mem::take(items), before, &order, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(spec: Value) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "patch-demo" }, "spec": spec })
    }

    /// The pod of a Deployment with this pod spec, patched.
    fn pod(spec: Value, patch: Value) -> Value {
        let object = deployment(json!({ "template": { "spec": spec } }));
        strategic(&object, &json!({ "spec": { "template": { "spec": patch } } })).unwrap()["spec"]["template"]["spec"]
            .clone()
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_by_null() {
        let object = json!({ "a": { "b": 1, "c": [1, 2] }, "d": "x" });
        let merged = merge(&object, &json!({ "a": { "b": null, "c": [3], "e": { "f": null } } }));
        assert_eq!(merged, json!({ "a": { "c": [3], "e": {} }, "d": "x" }));
    }

    #[test]
    fn copies_of_copies_come_to_an_end() {
        let object = json!({ "data": { "a": "x".repeat(1000) } });
        let copy = |from: &str, path: &str| json!({ "op": "copy", "from": from, "path": path });
        let wide: Vec<Value> = (0..40).map(|round| copy("", &format!("/data/{round}"))).collect();
        let deep: Vec<Value> =
            (0..12).map(|round| copy("/data", &format!("/data{}", "/a".repeat(1 << round)))).collect();
        for patch in [wide, deep] {
            assert_eq!(json(&object, &Value::Array(patch)).unwrap_err().code, 422);
        }
        let many = vec![json!({ "op": "test", "path": "/none" }); OPERATIONS_MAX + 1];
        assert_eq!(json(&object, &Value::Array(many)).unwrap_err().code, 413);
        assert_eq!(json(&object, &Value::Null).unwrap(), object);
        assert_eq!(json(&object, &json!([{ "op": "replace", "path": "", "value": "x" }])).unwrap_err().code, 422);
    }

    #[test]
    fn a_json_patch_is_done_in_order_or_not_at_all() {
        let object = json!({ "metadata": { "labels": { "a/b": "c" } }, "list": [1, 2] });
        let patch = json!([
            { "op": "test", "path": "/metadata/labels/a~1b", "value": "c" },
            { "op": "replace", "path": "/metadata/labels/a~1b", "value": "d" },
            { "op": "add", "path": "/list/-", "value": 3 },
            { "op": "remove", "path": "/list/0" },
            { "op": "copy", "from": "/list/0", "path": "/two" },
            { "op": "move", "from": "/two", "path": "/metadata/two" },
            { "op": "test", "path": "/absent", "value": null },
        ]);
        let patched = json!({ "metadata": { "labels": { "a/b": "d" }, "two": 2 }, "list": [2, 3] });
        assert_eq!(json(&object, &patch).unwrap(), patched);
    }

    #[test]
    fn a_json_patch_that_does_not_fit_is_invalid_and_one_that_is_none_a_bad_request() {
        let refused = |patch: Value| json(&json!({ "a": 1 }), &patch).unwrap_err();
        for patch in [
            json!([{ "op": "test", "path": "/a", "value": 2 }]),
            json!([{ "op": "remove", "path": "/b" }]),
            json!([{ "op": "add", "path": "/b/c", "value": 2 }]),
            json!([{ "op": "explode", "path": "/a" }]),
        ] {
            let problem = refused(patch);
            assert_eq!((problem.code, problem.reason), (422, "Invalid"));
            assert_eq!(problem.message, "the server rejected our request due to an error in our request");
        }
        let problem = refused(json!({ "a": 2 }));
        assert_eq!((problem.code, problem.reason), (400, "BadRequest"));
        assert_eq!(
            problem.message,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        );
    }

    #[test]
    fn containers_merge_by_name_and_tolerations_are_replaced() {
        let before = json!({
            "containers": [{ "name": "patch-demo-ctr", "image": "nginx" }],
            "tolerations": [{ "effect": "NoSchedule", "key": "dedicated", "value": "test-team" }],
        });
        let patch = json!({
            "containers": [{ "name": "patch-demo-ctr-2", "image": "redis" }, { "name": "patch-demo-ctr", "image": "nginx:2" }],
            "tolerations": [{ "effect": "NoSchedule", "key": "disktype", "value": "ssd" }],
        });
        let after = pod(before, patch.clone());
        assert_eq!(after, patch);
    }

    #[test]
    fn items_of_the_server_stay_where_they_stood() {
        let before = json!({ "containers": [{ "name": "mesh" }, { "name": "app", "image": "a" }, { "name": "log" }] });
        let after = pod(before, json!({ "containers": [{ "name": "new" }, { "name": "app", "image": "b" }] }));
        let names: Vec<&str> =
            after["containers"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["new", "mesh", "app", "log"]);
        assert_eq!(after["containers"][2]["image"], "b");
    }

    #[test]
    fn ports_of_containers_merge_by_number_and_nulls_remove() {
        let before = json!({ "containers": [{ "name": "app", "tty": true, "ports": [{ "containerPort": 53, "protocol": "UDP" }],
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }], "args": ["x"] }] });
        let patch = json!({ "containers": [{ "name": "app", "tty": null, "ports": [{ "containerPort": 53, "name": "dns" }],
            "env": [{ "name": "B", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } }, "value": null }], "args": ["y"] }] });
        let after = json!({ "containers": [{ "name": "app", "ports": [{ "containerPort": 53, "protocol": "UDP", "name": "dns" }],
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "args": ["y"] }] });
        assert_eq!(pod(before, patch), after);
    }

    #[test]
    fn retain_keys_drops_what_it_does_not_name() {
        let object =
            deployment(json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "30%" } } }));
        let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
        assert_eq!(strategic(&object, &patch).unwrap()["spec"], json!({ "strategy": { "type": "Recreate" } }));
        let patch = json!({ "spec": { "strategy": { "$retainKeys": ["rollingUpdate"], "type": "Recreate" } } });
        assert_eq!(strategic(&object, &patch).unwrap_err().code, 400);
    }

    #[test]
    fn directives_delete_and_replace() {
        let before = || json!({ "containers": [{ "name": "a" }, { "name": "b" }], "nodeSelector": { "x": "y" } });
        let after = pod(before(), json!({ "containers": [{ "$patch": "delete", "name": "a" }, { "name": "c" }] }));
        // What is new comes first.
        assert_eq!(after["containers"], json!([{ "name": "c" }, { "name": "b" }]));
        let after = pod(before(), json!({ "containers": [{ "$patch": "replace" }, { "name": "c" }] }));
        assert_eq!(after["containers"], json!([{ "name": "c" }]));
        let after = pod(before(), json!({ "nodeSelector": { "$patch": "replace", "z": "1" } }));
        assert_eq!(after["nodeSelector"], json!({ "z": "1" }));
        let after = pod(before(), json!({ "nodeSelector": { "$patch": "delete" } }));
        assert_eq!(after["nodeSelector"], json!({}));
    }

    #[test]
    fn lists_of_values_are_added_to_and_deleted_from() {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n", "finalizers": ["a", "b"] } });
        let patch = json!({ "metadata": { "finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"] } });
        assert_eq!(strategic(&object, &patch).unwrap()["metadata"]["finalizers"], json!(["c", "b"]));
    }

    #[test]
    fn the_order_of_elements_is_set() {
        let before = json!({ "containers": [{ "name": "a" }, { "name": "b" }, { "name": "server" }, { "name": "c" }] });
        let order = json!([{ "name": "c" }, { "name": "b" }, { "name": "a" }]);
        let after = pod(
            before.clone(),
            json!({ "$setElementOrder/containers": order, "containers": [{ "name": "b", "image": "x" }] }),
        );
        assert_eq!(
            after["containers"],
            json!([{ "name": "server" }, { "name": "c" }, { "name": "b", "image": "x" }, { "name": "a" }])
        );
        let object = deployment(json!({ "template": { "spec": before } }));
        let patch = json!({ "$setElementOrder/containers": [{ "name": "a" }], "containers": [{ "name": "z" }] });
        let problem = strategic(&object, &json!({ "spec": { "template": { "spec": patch } } })).unwrap_err();
        assert_eq!(
            problem.message,
            "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused_and_directives_never_stay() {
        let object = deployment(json!({}));
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "tty": null, "env": [{ "$patch": "delete", "name": "X" }] }],
            "$setElementOrder/containers": [{ "name": "a" }] } } } });
        let after = strategic(&object, &patch).unwrap();
        assert_eq!(after["spec"], json!({ "template": { "spec": { "containers": [{ "name": "a", "env": [] }] } } }));
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "image": "x" }] } } } });
        let problem = strategic(&after, &patch).unwrap_err();
        assert_eq!(problem.message, "map: map[image:x] does not contain declared merge key: name");
    }

    #[test]
    fn taints_and_the_selector_of_a_budget_are_replaced() {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "spec": { "podCIDRs": ["a"], "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
        let patch = json!({ "spec": { "podCIDRs": ["b"], "taints": [{ "key": "l", "effect": "NoExecute" }] } });
        let after = strategic(&node, &patch).unwrap();
        assert_eq!(after["spec"]["taints"], json!([{ "key": "l", "effect": "NoExecute" }]));
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": { "selector": { "matchLabels": { "a": "b" } } } });
        let after = strategic(&budget, &json!({ "spec": { "selector": { "matchLabels": { "c": "d" } } } })).unwrap();
        assert_eq!(after["spec"]["selector"], json!({ "matchLabels": { "c": "d" } }));
    }
}
