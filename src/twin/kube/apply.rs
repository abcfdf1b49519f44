//! Server-side apply.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::Problem;
use super::fields::{self, Difference, Fields, Manner, Owner};
use super::path::{self, Element};
use super::schema::{self, List, Shape};

/// Merges what a manager applies into what is there, with the new `managedFields`. A field that another manager owns with
/// another value is a 409 `Conflict` that names fields and managers in its causes, unless `force`. Fields that the manager
/// applied before and does not name any more, and that nobody else owns, go.
pub fn merge(
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    subresource: &str,
    time: &str,
) -> Result<Value, Problem> {
    merge_of(schema::of(applied), live, applied, manager, force, subresource, time)
}

/// The same for an object of this shape.
pub fn merge_of(
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
    check(applied, shape, &mut Vec::new()).map_err(|reason| untyped(applied, &reason))?;
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    if live.is_some() {
        fields::note_before_first_apply(shape, &mut before, subresource, time);
    }
    let mut owners = fields::owners(&before);
    fields::set_owners(&mut before, Vec::new());

    let applier = Owner::new(manager, Manner::Apply, applied, subresource);
    let last = owners.iter().position(|owner| owner.is(&applier)).map(|index| owners.remove(index));
    let named = Fields::of(applied, shape).ownable();
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
    owners.push(Owner { fields: named, time, ..applier });
    fields::set_owners(&mut merged, owners);
    Ok(merged)
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
    Problem { code, reason, message, details: json!({}) }
}

/// Items of lists that cannot be told apart are an error of the server's own, without a reason.
fn untyped(applied: &Value, reason: &str) -> Problem {
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

/// Looks whether the items of associative lists have their keys, each other ones.
fn check(value: &Value, shape: Shape<'_>, path: &mut Vec<Element>) -> Result<(), String> {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(name, value)| {
            path.push(Element::field(name));
            check(value, shape.field(name), path)?;
            path.pop();
            Ok(())
        }),
        Value::Array(items) if *shape.list() != List::Atomic => {
            let mut seen = std::collections::BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let Some(element) = shape.element(item) else {
                    return Err(format!("{}: element {index}: {}", path::text(path), without_key(shape)));
                };
                if !seen.insert(element.clone()) {
                    return Err(format!("{}: duplicate entries for key {element}", path::text(path)));
                }
                path.push(element);
                check(item, shape.item(), path)?;
                path.pop();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn without_key(shape: Shape<'_>) -> String {
    let List::Map(keys) = shape.list() else {
        return "associative list without keys has an element that's a map type".to_owned();
    };
    let keys: Vec<String> = keys.iter().map(|(key, _)| format!("{key:?}")).collect();
    format!(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for \
         any key fields)",
        keys.join(" ")
    )
}

/// The applied value over the live one. A null in what is applied leaves nothing.
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
        (_, Some(Value::Null)) => None,
        (_, Some(applied)) => Some(without_nulls(applied)),
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

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let set = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
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
        Some(inside) => without(value, inside, shape),
        None => Some(value.clone()),
    }
}
