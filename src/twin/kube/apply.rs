//! Server-side apply.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::Problem;
use super::fields::{self, Difference, Fields, Manner, Owner};
use super::path::{self, Element};
use super::schema::{self, Form, List, Scalar, Shape};

/// Merges what a manager applies into what is there, with the new `managedFields`. A field that another manager owns with
/// another value is a 409 `Conflict` that names fields and managers in its causes, unless `force`. Fields that the manager
/// applied before and does not name any more, and that nobody else owns, go.
pub fn merge(
    shape: Shape<'_>,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    subresource: &str,
    time: &str,
) -> Result<Value, Problem> {
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(problem(400, "BadRequest", "metadata.managedFields must be nil".to_owned()));
    }
    let applied = &relevant(applied, subresource);
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    if live.is_some() {
        fields::note_before_first_apply(shape, &mut before, subresource, time);
    }
    let mut owners = fields::owners(&before);
    fields::set_owners(&mut before, Vec::new());

    let applier = Owner::new(manager, Manner::Apply, applied, subresource);
    let last = owners.iter().position(|owner| owner.is(&applier)).map(|index| owners.remove(index));
    // The identity is nobody's in the end, but stays like what is owned.
    let named = Fields::of(applied, shape);
    let mut merged = merge_value(Some(&before), Some(applied), shape).unwrap_or_else(|| json!({}));
    if let Some(last) = &last {
        let others = owners.iter().fold(named.clone(), |all, owner| all.union(&owner.fields));
        merged = prune(merged, &last.fields, &named, &others, shape);
    }

    let difference = Difference::between(&before, &merged, shape);
    take_over(&mut owners, &difference, force)?;
    // Who applies what was so already leaves no time.
    let changed = merged != before;
    let time = if changed { Some(time.to_owned()) } else { last.and_then(|last| last.time) };
    owners.push(Owner { fields: named.ownable(), time, ..applier });
    fields::set_owners(&mut merged, owners);
    Ok(merged)
}

/// Refuses what is not of its type, before anything is filled in.
pub fn fits(shape: Shape<'_>, applied: &Value) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    check(applied, shape, &mut Vec::new(), &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(untyped(applied, &wrong)) }
}

/// Where kubectl notes what it applied, when it does so from its own side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether kubectl may take what it conflicts with: it applied all of that before from its own side, and so it still is.
pub fn may_take(shape: Shape<'_>, live: &Value, manager: &str, problem: &Problem) -> bool {
    let noted = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let Some(noted) = noted.filter(|_| manager == "kubectl" && problem.code == 409) else { return false };
    let Ok(noted) = serde_json::from_str::<Value>(noted) else { return false };
    let mut own = Fields::of(&noted, shape);
    let changed = Difference::between(live, &noted, shape).modified;
    own = own.difference(&changed);
    let own: Vec<String> = own.paths().iter().map(|path| path::text(path)).collect();
    let causes = problem.details["causes"].as_array();
    causes.into_iter().flatten().all(|cause| own.iter().any(|path| cause["field"] == path.as_str()))
}

/// Keeps kubectl's note of what it applied up to date, where there is one.
pub fn note_last_applied(merged: &mut Value, manager: &str, applied: &Value) {
    let note = merged.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED));
    if let Some(note) = note.filter(|_| manager == "kubectl") {
        *note = json!(format!("{applied}\n"));
    }
}

/// What counts of an applied object: the status only where it is applied through its subresource, and then only it.
fn relevant(applied: &Value, subresource: &str) -> Value {
    let mut relevant = applied.clone();
    if let Some(map) = relevant.as_object_mut().filter(|_| schema::is_built_in(applied)) {
        match subresource {
            "" => drop(map.remove("status")),
            "status" => map.retain(|key, _| ["apiVersion", "kind", "metadata", "status"].contains(&key.as_str())),
            _ => {}
        }
    }
    relevant
}

/// What changes is no longer others'; where that is not forced, it may not change.
fn take_over(owners: &mut [Owner], difference: &Difference, force: bool) -> Result<(), Problem> {
    if difference.is_empty() {
        return Ok(());
    }
    let written = difference.added.union(&difference.modified);
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for owner in owners.iter_mut() {
        let disputed = owner.fields.intersection(&written);
        let paths = disputed.paths();
        conflicts.extend(paths.iter().map(|path| (name_of(owner), path::text(path))));
        owner.fields = owner.fields.difference(&disputed).difference(&difference.removed);
    }
    if force || conflicts.is_empty() { Ok(()) } else { Err(conflict(&mut conflicts)) }
}

/// How messages call a manager.
fn name_of(owner: &Owner) -> String {
    let mut name = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        name += &format!(" with subresource {:?}", owner.subresource);
    }
    if owner.manner == Manner::Update {
        name += &format!(" using {}", owner.version);
    }
    name
}

fn conflict(conflicts: &mut [(String, String)]) -> Problem {
    // By manager; the fields of each stay in their order.
    conflicts.sort_by(|a, b| a.0.cmp(&b.0));
    let message = match &*conflicts {
        [(manager, field)] => format!("Apply failed with 1 conflict: conflict with {manager}: {field}"),
        many => {
            let mut lines: Vec<String> = Vec::new();
            let mut last = None;
            for (manager, field) in many {
                if last != Some(manager) {
                    lines.push(format!("conflicts with {manager}:"));
                    last = Some(manager);
                }
                lines.push(format!("- {field}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |(manager, field): &(String, String)| {
        let message = format!("conflict with {manager}");
        json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
    };
    let causes: Vec<Value> = conflicts.iter().map(cause).collect();
    Problem { details: json!({ "causes": causes }), ..problem(409, "Conflict", message) }
}

fn problem(code: u16, reason: &'static str, message: String) -> Problem {
    Problem { code, reason, message, details: Value::Null }
}

/// Items of lists that cannot be told apart are an error of the server's own, without a reason.
fn untyped(applied: &Value, wrong: &[String]) -> Problem {
    let reason = match wrong {
        [one] => one.clone(),
        more => format!("errors:\n  {}", more.join("\n  ")),
    };
    let metadata = &applied["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = format!("{}, Kind={}", qualified(&text(&applied["apiVersion"])), text(&applied["kind"]));
    let message = format!(
        "failed to create typed patch object ({}/{}; {kind}): {reason}",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    );
    problem(500, "", message)
}

/// The core group has an empty name.
fn qualified(version: &str) -> String {
    if version.contains('/') { version.to_owned() } else { format!("/{version}") }
}

/// Looks whether a value is of its type, and whether the items of associative lists have their keys, each other ones.
fn check(value: &Value, shape: Shape<'_>, path: &mut Vec<Element>, wrong: &mut Vec<String>) {
    let at = |path: &[Element], why: String| {
        let place = path::text(path);
        if place.is_empty() { why } else { format!("{place}: {why}") }
    };
    match (value, shape.form()) {
        (Value::Null, _) | (_, Form::Any) => {}
        (Value::Array(items), _) if shape.is_list() => check_items(items, shape, path, wrong),
        (_, _) if shape.is_list() => wrong.push(at(path, format!("expected list, got &{{{}}}", go_value(value)))),
        (Value::Object(map), Form::Struct | Form::Map) => {
            for (name, value) in map {
                path.push(Element::field(name));
                match shape.known_field(name) {
                    Some(field) => check(value, field, path, wrong),
                    None => wrong.push(at(path, "field not declared in schema".to_owned())),
                }
                path.pop();
            }
        }
        (_, Form::Struct | Form::Map) => wrong.push(at(path, format!("expected map, got &{{{}}}", go_value(value)))),
        (_, Form::Scalar(scalar)) => {
            if let Some(why) = is_no_scalar(value, scalar) {
                wrong.push(at(path, why));
            }
        }
    }
}

fn check_items(items: &[Value], shape: Shape<'_>, path: &mut Vec<Element>, wrong: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = if *shape.list() == List::Atomic { Some(Element::Index(index)) } else { shape.element(item) };
        let Some(element) = element else {
            wrong.push(format!("{}: element {index}: {}", path::text(path), without_key(item, shape)));
            return;
        };
        if !seen.insert(element.clone()) {
            wrong.push(format!("{}: duplicate entries for key {element}", path::text(path)));
        }
        path.push(element);
        check(item, shape.item(), path, wrong);
        path.pop();
    }
}

/// Why a value is not what it should be.
fn is_no_scalar(value: &Value, scalar: Scalar) -> Option<String> {
    let is_single = !value.is_object() && !value.is_array();
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Float if !value.is_number() => {
            Some(format!("expected numeric (int or float), got {}", go_type(value)))
        }
        Scalar::Text | Scalar::Bytes | Scalar::Time | Scalar::MicroTime if !value.is_string() => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_literal(value)))
        }
        Scalar::Bool if !value.is_boolean() => Some(format!("expected boolean, got &{{{}}}", go_value(value))),
        Scalar::Quantity | Scalar::IntOrText if !is_single => {
            Some(format!("expected any scalar, got &{{{}}}", go_value(value)))
        }
        _ => None,
    }
}

/// `%T` of Go.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%v` of Go.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// `%#v` of Go.
fn go_literal(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| format!("{key:?}:{}", go_literal(value));
            format!("map[string]interface {{}}{{{}}}", map.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn without_key(item: &Value, shape: Shape<'_>) -> String {
    let List::Map(keys) = shape.list() else {
        let what = match item {
            Value::Object(_) => "associative list without keys has an element that's a map type",
            Value::Array(_) => "not supported: associative list with lists as elements",
            _ => "associative list without keys has an element that's an explicit null",
        };
        return what.to_owned();
    };
    if item.is_null() {
        return "associative list with keys may not have a null element".to_owned();
    }
    if !item.is_object() {
        return "associative list with keys may not have non-map elements".to_owned();
    }
    let keys: Vec<String> = keys.iter().map(|(key, _)| format!("{key:?}")).collect();
    format!(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for \
         any key fields)",
        keys.join(" ")
    )
}

/// The applied value over the live one. A null stays one: what it means is the type's to say.
fn merge_value(live: Option<&Value>, applied: Option<&Value>, shape: Shape<'_>) -> Option<Value> {
    match (live, applied) {
        (live, None) => live.cloned(),
        (Some(Value::Object(live)), Some(Value::Object(applied))) if !shape.is_atomic() => {
            Some(Value::Object(merge_maps(live, applied, shape)))
        }
        (Some(Value::Array(live)), Some(Value::Array(applied))) => match shape.elements(live) {
            Some(live_elements) if !applied.is_empty() || !live.is_empty() => {
                let elements = shape.elements(applied)?;
                Some(Value::Array(merge_lists((live, &live_elements), (applied, &elements), shape)))
            }
            _ => Some(Value::Array(applied.clone())),
        },
        // Null is an empty map or list that is merged, or no value.
        (Some(Value::Object(_) | Value::Array(_)), Some(Value::Null)) => live.cloned(),
        (_, Some(applied)) => Some(applied.clone()),
    }
}

fn merge_maps(live: &Map<String, Value>, applied: &Map<String, Value>, shape: Shape<'_>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in applied {
        match merge_value(live.get(name), Some(value), shape.field(name)) {
            Some(value) => merged.insert(name.clone(), value),
            None => merged.remove(name),
        };
    }
    merged
}

/// Items in the order in which they are applied; those that only the live list has stay where they stand between them.
fn merge_lists(live: (&[Value], &[Element]), applied: (&[Value], &[Element]), shape: Shape<'_>) -> Vec<Value> {
    let ((live, here), (applied, there)) = (live, applied);
    let mut old: BTreeMap<&Element, &Value> = BTreeMap::new();
    for (element, item) in here.iter().zip(live) {
        old.entry(element).or_insert(item);
    }
    let is_applied: BTreeMap<&Element, &Value> = there.iter().zip(applied).collect();
    let mut shared: VecDeque<&Element> = there.iter().filter(|element| old.contains_key(element)).collect();
    let mut merged = Vec::new();
    let (mut left, mut right) = (0, 0);
    while left < here.len() || right < there.len() {
        if let Some(element) = here.get(left) {
            let is_next = there.get(right) == Some(element);
            if !is_applied.contains_key(element) {
                merged.push(live[left].clone());
                left += 1;
                continue;
            }
            if !is_next && (shared.front() != Some(&element) || right >= there.len()) {
                // It comes later, or came already, where it is applied.
                left += 1;
                continue;
            }
            if is_next {
                left += 1;
            }
        }
        if let Some(element) = there.get(right) {
            merged.extend(merge_value(old.get(element).copied(), applied.get(right), shape.item()));
            if shared.front() == Some(&element) {
                shared.pop_front();
            }
            right += 1;
        }
    }
    merged
}

/// Removes what was applied last and is not any more. What anybody owns stays, and what only stands around it.
fn prune(merged: Value, last: &Fields, named: &Fields, owned: &Fields, shape: Shape<'_>) -> Value {
    if last.difference(named).is_empty() {
        return merged;
    }
    let last = last.with_structs(shape);
    let all = Fields::of(&merged, shape).with_structs(shape);
    let without = |fields: &Fields| without(&merged, fields, shape).unwrap_or_else(|| json!({}));
    let left = |value: &Value| Fields::of(value, shape).with_structs(shape);
    let pruned = without(&last);
    let kept = left(&pruned).union(&owned.with_structs(shape));
    let pruned = without(&all.difference(&kept));
    without(&all.difference(&left(&pruned)).intersection(&last))
}

/// A value without these fields; none where nothing of it is left. What is atomic goes with its whole.
fn without(value: &Value, fields: &Fields, shape: Shape<'_>) -> Option<Value> {
    match value {
        Value::Object(map) if !shape.is_atomic() => {
            let part = |(name, value): (&String, &Value)| {
                let element = Element::field(name);
                let left = without_part(value, &element, fields, shape.field(name))?;
                Some((name.clone(), left))
            };
            let left: Map<String, Value> = map.iter().filter_map(part).collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(items) => {
            let elements = shape.elements(items)?;
            let part = |(element, item)| without_part(item, element, fields, shape.item());
            let left: Vec<Value> = elements.iter().zip(items).filter_map(part).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        Value::Object(_) => None,
        other => Some(other.clone()),
    }
}

fn without_part(value: &Value, element: &Element, fields: &Fields, shape: Shape<'_>) -> Option<Value> {
    if fields.has(element) {
        return None;
    }
    match fields.inside(element) {
        // What is left of it is nothing, but it stands there.
        Some(inside) => Some(without(value, inside, shape).unwrap_or(Value::Null)),
        None => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: &str = "2026-01-01T00:00:01Z";
    const T2: &str = "2026-01-01T00:00:02Z";

    fn deployment(labels: Value, spec: Value) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "nginx", "namespace": "default", "labels": labels }, "spec": spec })
    }

    fn containers(items: Value) -> Value {
        deployment(json!({ "app": "nginx" }), json!({ "template": { "spec": { "containers": items } } }))
    }

    fn apply(live: Option<&Value>, applied: Value, manager: &str) -> Result<Value, Problem> {
        merge(schema::of(&applied), live, &applied, manager, false, "", T1)
    }

    fn update(live: &Value, manager: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut new = live.clone();
        change(&mut new);
        fields::note_update(schema::of(live), Some(live), &mut new, manager, "", T2);
        new
    }

    fn fields_of(object: &Value, manager: &str) -> Value {
        let owner = fields::owners(object).into_iter().find(|owner| owner.manager == manager);
        owner.map_or(Value::Null, |owner| owner.fields.print())
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_is_applied_is_owned_leaf_by_leaf() {
        let applied = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "test-cm",
            "namespace": "default", "labels": { "test-label": "test" } }, "data": { "key": "some value" } });
        let live = apply(None, applied.clone(), "kubectl").unwrap();
        let entry = json!([{ "manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": T1, "fieldsType": "FieldsV1",
            "fieldsV1": { "f:metadata": { "f:labels": { "f:test-label": {} } }, "f:data": { "f:key": {} } } }]);
        assert_eq!(live["metadata"]["managedFields"], entry);
        assert_eq!(live["data"], applied["data"]);
        // Once more changes nothing, the time included.
        assert_eq!(merge(schema::of(&applied), Some(&live), &applied, "kubectl", false, "", T2).unwrap(), live);
    }

    #[test]
    fn managed_fields_cannot_be_applied() {
        let mut applied = containers(json!([]));
        applied["metadata"]["managedFields"] = json!([]);
        let problem = apply(None, applied, "kubectl").unwrap_err();
        assert_eq!((problem.code, &*problem.message), (400, "metadata.managedFields must be nil"));
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_until_forced() {
        let live = apply(None, deployment(json!({ "app": "nginx" }), json!({ "replicas": 3 })), "kubectl").unwrap();
        let live = update(&live, "kube-controller-manager", |object| object["spec"]["replicas"] = json!(5));
        let wanted = deployment(json!({ "app": "nginx" }), json!({ "replicas": 3 }));
        let problem = apply(Some(&live), wanted.clone(), "kubectl").unwrap_err();
        assert_eq!((problem.code, problem.reason), (409, "Conflict"));
        let message =
            r#"Apply failed with 1 conflict: conflict with "kube-controller-manager" using apps/v1: .spec.replicas"#;
        assert_eq!(problem.message, message);
        let causes = json!([{ "reason": "FieldManagerConflict", "field": ".spec.replicas",
            "message": r#"conflict with "kube-controller-manager" using apps/v1"# }]);
        assert_eq!(problem.details["causes"], causes);
        let live = merge(schema::of(&wanted), Some(&live), &wanted, "kubectl", true, "", T2).unwrap();
        assert_eq!(live["spec"]["replicas"], 3);
        assert_eq!(fields_of(&live, "kube-controller-manager"), Value::Null);
        assert_eq!(fields_of(&live, "kubectl")["f:spec"], json!({ "f:replicas": {} }));
    }

    #[test]
    fn conflicts_are_listed_by_manager() {
        let live = apply(None, containers(json!([{ "name": "app", "image": "a" }])), "one").unwrap();
        let live = update(&live, "two", |object| {
            object["metadata"]["labels"] = json!({ "app": "other", "b": "c" });
        });
        let mut wanted = containers(json!([{ "name": "app", "image": "b" }]));
        wanted["metadata"]["labels"]["b"] = json!("d");
        let problem = apply(Some(&live), wanted, "three").unwrap_err();
        let message = "Apply failed with 3 conflicts: conflicts with \"one\":\n\
            - .spec.template.spec.containers[name=\"app\"].image\n\
            conflicts with \"two\" using apps/v1:\n- .metadata.labels.app\n- .metadata.labels.b";
        assert_eq!(problem.message, message);
        assert_eq!(problem.details["causes"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn equal_values_are_shared_and_stay_until_the_last_owner_gives_them_up() {
        let both = || deployment(json!({ "app": "nginx" }), json!({ "replicas": 3, "paused": true }));
        let less = || deployment(json!({ "app": "nginx" }), json!({ "paused": true }));
        let live = apply(None, both(), "a").unwrap();
        let live = apply(Some(&live), both(), "b").unwrap();
        assert_eq!(fields_of(&live, "a"), fields_of(&live, "b"));
        // A change of what is shared conflicts, for both.
        let mut other = both();
        other["spec"]["replicas"] = json!(4);
        assert_eq!(apply(Some(&live), other, "a").unwrap_err().code, 409);
        let live = apply(Some(&live), less(), "a").unwrap();
        assert_eq!(live["spec"]["replicas"], 3);
        assert_eq!(fields_of(&live, "a")["f:spec"], json!({ "f:paused": {} }));
        let live = apply(Some(&live), less(), "b").unwrap();
        assert_eq!(live["spec"], json!({ "paused": true }));
    }

    #[test]
    fn a_field_is_handed_over_to_a_controller() {
        let spec =
            |replicas: Value| deployment(json!({ "app": "nginx" }), json!({ "replicas": replicas, "paused": true }));
        let live = apply(None, spec(json!(3)), "kubectl").unwrap();
        let mut handover = spec(json!(3));
        handover["spec"].as_object_mut().unwrap().remove("paused");
        let live = apply(Some(&live), handover, "kubectl-handover").unwrap();
        let mut without = spec(Value::Null);
        without["spec"].as_object_mut().unwrap().remove("replicas");
        let live = apply(Some(&live), without, "kubectl").unwrap();
        let live = update(&live, "autoscaler", |object| object["spec"]["replicas"] = json!(10));
        assert_eq!(live["spec"], json!({ "replicas": 10, "paused": true }));
        assert_eq!(fields_of(&live, "autoscaler"), json!({ "f:spec": { "f:replicas": {} } }));
        assert_eq!(fields_of(&live, "kubectl-handover")["f:spec"], Value::Null);
    }

    #[test]
    fn items_that_are_not_applied_any_more_go_and_those_of_others_stay() {
        let live = apply(
            None,
            containers(json!([{ "name": "app", "image": "a" }, { "name": "old", "image": "o" }])),
            "kubectl",
        )
        .unwrap();
        let live = update(&live, "mesh", |object| {
            let list = object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
            list.insert(1, json!({ "name": "proxy", "image": "p" }));
        });
        let live =
            apply(Some(&live), containers(json!([{ "name": "new" }, { "name": "app", "image": "a" }])), "kubectl")
                .unwrap();
        let list = &live["spec"]["template"]["spec"]["containers"];
        assert_eq!(names(list), ["new", "app", "proxy"]);
        // Of an item that another manager has a field in, the item stays, with its key.
        let live =
            update(&live, "setter", |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x"));
        let live = apply(Some(&live), containers(json!([{ "name": "app", "image": "a" }])), "kubectl").unwrap();
        let list = &live["spec"]["template"]["spec"]["containers"];
        assert!(names(list).contains(&"app") && names(list).contains(&"proxy"), "{list}");
    }

    #[test]
    fn defaulted_keys_tell_ports_apart() {
        let ports = |ports: Value| containers(json!([{ "name": "app", "ports": ports }]));
        let live = apply(None, ports(json!([{ "containerPort": 53 }])), "kubectl").unwrap();
        let mut live = live;
        live["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
        let applied =
            ports(json!([{ "containerPort": 53, "name": "dns" }, { "containerPort": 53, "protocol": "UDP" }]));
        let live = apply(Some(&live), applied, "kubectl").unwrap();
        let list = &live["spec"]["template"]["spec"]["containers"][0]["ports"];
        let expected = json!([{ "containerPort": 53, "protocol": "TCP", "name": "dns" }, { "containerPort": 53, "protocol": "UDP" }]);
        assert_eq!(*list, expected);
    }

    #[test]
    fn the_whole_of_what_is_atomic_is_owned() {
        let pod =
            |selector: Value| deployment(json!({}), json!({ "template": { "spec": { "nodeSelector": selector } } }));
        let live = apply(None, pod(json!({ "a": "b" })), "one").unwrap();
        let problem = apply(Some(&live), pod(json!({ "c": "d" })), "two").unwrap_err();
        assert_eq!(problem.details["causes"][0]["field"], ".spec.template.spec.nodeSelector");
        let live = merge(schema::of(&live), Some(&live), &pod(json!({ "c": "d" })), "two", true, "", T2).unwrap();
        assert_eq!(live["spec"]["template"]["spec"]["nodeSelector"], json!({ "c": "d" }));
    }

    #[test]
    fn sets_and_maps_are_shared_entry_by_entry() {
        let object = |labels: Value, finalizers: Value| {
            json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "n", "labels": labels, "finalizers": finalizers } })
        };
        let live = apply(None, object(json!({ "a": "1" }), json!(["x.io/a"])), "one").unwrap();
        let live = apply(Some(&live), object(json!({ "b": "2" }), json!(["x.io/b"])), "two").unwrap();
        assert_eq!(live["metadata"]["labels"], json!({ "a": "1", "b": "2" }));
        assert_eq!(live["metadata"]["finalizers"].as_array().unwrap().len(), 2);
        let nothing = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } });
        let live = apply(Some(&live), nothing.clone(), "one").unwrap();
        assert_eq!(live["metadata"]["labels"], json!({ "b": "2" }));
        assert_eq!(live["metadata"]["finalizers"], json!(["x.io/b"]));
        assert_eq!(fields_of(&live, "one"), Value::Null);
        let live = apply(Some(&live), nothing, "two").unwrap();
        assert_eq!(live, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } }));
    }

    #[test]
    fn what_was_there_before_the_first_apply_is_owned_by_nobody_in_particular() {
        let untracked = deployment(json!({ "app": "nginx" }), json!({ "replicas": 2 }));
        let problem =
            apply(Some(&untracked), deployment(json!({ "app": "nginx" }), json!({ "replicas": 3 })), "kubectl")
                .unwrap_err();
        assert!(
            problem.message.contains(r#"conflict with "before-first-apply" using apps/v1: .spec.replicas"#),
            "{}",
            problem.message
        );
    }

    #[test]
    fn a_subresource_is_applied_apart() {
        let live = apply(None, deployment(json!({ "app": "nginx" }), json!({ "replicas": 2 })), "kubectl").unwrap();
        let status = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "nginx" }, "status": { "replicas": 2 } });
        let live = merge(schema::of(&status), Some(&live), &status, "kubectl", false, "status", T2).unwrap();
        assert_eq!(live["spec"], json!({ "replicas": 2 }));
        assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 2);
        let other = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "nginx" }, "status": { "replicas": 3 } });
        let problem = merge(schema::of(&other), Some(&live), &other, "other", false, "status", T2).unwrap_err();
        assert!(
            problem.message.ends_with(r#"conflict with "kubectl" with subresource "status": .status.replicas"#),
            "{}",
            problem.message
        );
    }

    #[test]
    fn a_status_is_not_applied_with_the_object() {
        let mut applied = deployment(json!({}), json!({ "replicas": 2 }));
        applied["status"] = json!({ "replicas": 2 });
        let live = apply(None, applied, "kubectl").unwrap();
        assert_eq!(live.get("status"), None);
        assert_eq!(
            fields_of(&live, "kubectl"),
            json!({ "f:metadata": { "f:labels": {} }, "f:spec": { "f:replicas": {} } })
        );
    }

    #[test]
    fn items_must_have_keys_and_only_once() {
        let refused = |items: Value| {
            let applied = containers(items);
            fits(schema::of(&applied), &applied).unwrap_err()
        };
        let twice = refused(json!([{ "name": "a" }, { "name": "a" }]));
        let message = "failed to create typed patch object (default/nginx; apps/v1, Kind=Deployment): \
            .spec.template.spec.containers: duplicate entries for key [name=\"a\"]";
        assert_eq!((twice.code, &*twice.message), (500, message));
        let nothing = refused(json!([null]));
        let end = ".spec.template.spec.containers: element 0: associative list with keys may not have a null element";
        assert!(nothing.message.ends_with(end), "{}", nothing.message);
    }

    #[test]
    fn two_hundred_writes_take_no_time() {
        let wanted = containers(
            json!([{ "name": "app", "image": "a", "env": [{ "name": "A", "value": "b" }], "ports": [{ "containerPort": 80 }] }]),
        );
        let mut live = apply(None, wanted.clone(), "kubectl").unwrap();
        let start = std::time::Instant::now();
        for round in 0..100 {
            live = update(&live, "other", |object| object["spec"]["replicas"] = json!(round));
            live = apply(Some(&live), wanted.clone(), "kubectl").unwrap();
        }
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
