//! `Scale`: how many replicas of something there should be, and are, whatever its kind.

use serde_json::{Value, json};

use super::kinds::Served;
use super::request::{Ask, no_object};
use super::store::Store;
use super::typed::json_type;
use super::write::Write;
use super::{Problem, patch, status};
use crate::twin::world::World;

/// Where a kind keeps what a `Scale` shows, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Paths {
    wanted: String,
    there: String,
    /// The text of a selector; none: the selector of a built-in kind.
    selector: Option<String>,
}

impl Paths {
    fn of(store: &Store, table: &str, version: Option<&str>) -> Option<Paths> {
        let built_in =
            matches!(table, "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "replicationcontrollers");
        if built_in {
            return Some(Paths {
                wanted: "/spec/replicas".to_owned(),
                there: "/status/replicas".to_owned(),
                selector: Some(String::new()),
            });
        }
        let definition = store.get(super::kinds::DEFINITIONS, table)?;
        let mut versions = definition["spec"]["versions"].as_array()?.iter();
        let found = versions.find(|one| match version {
            Some(version) => one["name"] == version,
            None => one["storage"] == true,
        })?;
        let scale = &found["subresources"]["scale"];
        let pointer = |key: &str| scale[key].as_str().map(|path| path.replace('.', "/"));
        Some(Paths {
            wanted: pointer("specReplicasPath")?,
            there: pointer("statusReplicasPath")?,
            selector: pointer("labelSelectorPath"),
        })
    }

    fn number(object: &Value, pointer: &str) -> i64 {
        object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }

    fn show(&self, object: &Value) -> Value {
        let metadata = &object["metadata"];
        let mut shown = json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "creationTimestamp": metadata["creationTimestamp"],
            },
            "spec": {},
            "status": { "replicas": Paths::number(object, &self.there) },
        });
        // None at all is what goes without saying.
        let wanted = Paths::number(object, &self.wanted);
        if wanted != 0 {
            shown["spec"]["replicas"] = json!(wanted);
        }
        let selector = match self.selector.as_deref() {
            Some("") => selector_text(&object["spec"]["selector"]),
            Some(pointer) => object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned(),
            None => String::new(),
        };
        if !selector.is_empty() {
            shown["status"]["selector"] = json!(selector);
        }
        shown
    }
}

/// How many replicas an object wants; none where its kind has no scale.
pub fn replicas_of(store: &Store, table: &str, object: &Value) -> Option<i64> {
    Some(Paths::number(object, &Paths::of(store, table, None)?.wanted))
}

/// Sets how many replicas an object wants; false where its kind has no scale.
pub fn resize(world: &mut World, cluster: &str, table: &str, key: &str, replicas: i64) -> bool {
    let Some(paths) = world.store(cluster).and_then(|store| Paths::of(store, table, None)) else { return false };
    let Some(store) = world.store_mut(cluster) else { return false };
    store.change(table, key, |object| set(object, &paths.wanted, json!(replicas)))
}

/// A selector as text, in the order of a real server.
pub fn selector_text(selector: &Value) -> String {
    // Replication controllers have a plain map.
    let is_plain = selector.as_object().is_some_and(|map| map.values().all(Value::is_string));
    let pairs = if is_plain { selector } else { &selector["matchLabels"] };
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs.as_object().into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for one in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = one["key"].as_str().unwrap_or_default();
        let mut values: Vec<&str> = one["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match one["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort();
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// Writes below a pointer, with what is missing on the way.
fn set(object: &mut Value, pointer: &str, to: Value) {
    let mut place = object;
    for step in pointer.split('/').filter(|step| !step.is_empty()) {
        // What is no map on the way gives way to one.
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[step];
    }
    *place = to;
}

/// Answers a request for the scale of an object.
pub fn answer(world: &mut World, write: Write<'_>, verb: &str, name: &str, ask: &Ask<'_>) -> Result<Value, Problem> {
    let (cluster, served) = (write.cluster, write.served);
    let given = match verb {
        "update" => Some(ask.object("Scale")?),
        "patch" => write.takes(ask).map(|()| None)?,
        _ => None,
    };
    let store = world.store(cluster).ok_or_else(|| status::internal("the API server has stopped"))?;
    let version = Some(served.version.as_str()).filter(|_| served.custom);
    let Some(paths) = Paths::of(store, &served.table, version) else { return Err(status::no_such_path()) };
    let key = super::store::key(Some(write.namespace), name);
    let Some(old) = store.get(&served.table, &key).cloned() else { return Err(status::not_found(served, name)) };
    let before = paths.show(&old);
    let after = match verb {
        "get" => return Ok(before),
        _ => match given {
            Some(given) => updated(name, given)?,
            None => patched(&write, &before, ask)?,
        },
    };
    check(served, name, &old, &after)?;
    let mut new = old.clone();
    set(&mut new, &paths.wanted, json!(after["spec"]["replicas"].as_i64().unwrap_or(0)));
    new["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"].clone();
    let stored = write.replace(world, old, new, false)?;
    Ok(paths.show(&stored))
}

fn updated(name: &str, given: Value) -> Result<Value, Problem> {
    if given["kind"] != "Scale" {
        let text = |field: &str| given[field].as_str().unwrap_or_default();
        return Err(status::unconvertible(text("apiVersion"), text("kind"), "autoscaling", "Scale"));
    }
    super::write::is_named(&given, name)?;
    Ok(given)
}

fn patched(write: &Write<'_>, before: &Value, ask: &Ask<'_>) -> Result<Value, Problem> {
    let patched = match ask.media() {
        "application/apply-patch+yaml" => patch::merge(before, &ask.applied()?),
        _ => write.patched(ask, before)?,
    };
    if patched.is_object()
        && patched["metadata"].is_object()
        && (patched["spec"].is_object() || patched["spec"].is_null())
    {
        return Ok(patched);
    }
    Err(status::bad_request(no_object(&patched)))
}

fn check(served: &Served, name: &str, old: &Value, after: &Value) -> Result<(), Problem> {
    let wanted = &after["spec"]["replicas"];
    if !wanted.is_null() && wanted.as_i64().and_then(|wanted| i32::try_from(wanted).ok()).is_none() {
        let found = if wanted.is_number() { format!("number {wanted}") } else { json_type(wanted).to_owned() };
        return Err(status::bad_request(format!(
            "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {found} into Go struct field \
             ScaleSpec.spec.replicas of type int32"
        )));
    }
    if wanted.as_i64().is_some_and(|wanted| wanted < 0) {
        let wrong = status::invalid("spec.replicas", wanted, "must be greater than or equal to 0");
        let about = json!({ "group": "autoscaling", "kind": "Scale" });
        return Err(status::invalid_as("Scale.autoscaling", name, about, &[wrong]));
    }
    let found = old["metadata"]["uid"].as_str().unwrap_or_default();
    match after["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty() && *uid != found) {
        Some(uid) => {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            Err(status::conflict(served, name, &why))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Wire, deployment};
    use super::*;

    #[test]
    fn a_selector_is_told_in_the_order_of_its_keys() {
        let selector = json!({ "matchLabels": { "b": "1" }, "matchExpressions": [
            { "key": "a", "operator": "In", "values": ["y", "x"] }, { "key": "c", "operator": "DoesNotExist" }] });
        assert_eq!(selector_text(&selector), "a in (x,y),b=1,!c");
    }

    #[test]
    fn a_negative_scale_is_refused_and_a_patch_sets_another() {
        let mut wire = Wire::new();
        wire.post("/apis/apps/v1/namespaces/default/deployments", deployment("web", 2));
        let path = "/apis/apps/v1/namespaces/default/deployments/web/scale";
        let media = "application/merge-patch+json";
        let (code, problem) = wire.patch(path, media, json!({ "spec": { "replicas": -1 } }));
        let message = "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
        assert_eq!((code, problem["message"].as_str()), (422, Some(message)));
        let (code, scale) = wire.patch(path, media, json!({ "spec": { "replicas": 4 } }));
        assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(4)));
        let (_, scale) = wire.patch(path, media, json!({ "spec": { "replicas": 0 } }));
        assert_eq!(scale["spec"], json!({}));
    }

    #[test]
    fn a_custom_kind_says_where_its_scale_is() {
        let mut wire = Wire::new();
        let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "farms.x.io" }, "spec": { "group": "x.io", "scope": "Namespaced",
                "names": { "plural": "farms", "kind": "Farm" },
                "versions": [{ "name": "v1", "served": true, "storage": true,
                    "subresources": { "status": {}, "scale": { "specReplicasPath": ".spec.size",
                        "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector" } },
                    "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                        "spec": { "type": "object", "properties": { "size": { "type": "integer" } } },
                        "status": { "type": "object", "properties": { "size": { "type": "integer" },
                            "selector": { "type": "string" } } } } } } }] } });
        let (code, told) = wire.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
        assert_eq!(code, 201, "{told}");
        let farms = "/apis/x.io/v1/namespaces/default/farms";
        let farm =
            json!({ "apiVersion": "x.io/v1", "kind": "Farm", "metadata": { "name": "a" }, "spec": { "size": 2 } });
        assert_eq!(wire.post(farms, farm).0, 201);
        let (code, mut scale) = wire.get(&format!("{farms}/a/scale"));
        assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(2)), "{scale}");
        scale["spec"]["replicas"] = json!(7);
        assert_eq!(wire.put(&format!("{farms}/a/scale"), scale).0, 200);
        assert_eq!(wire.get(&format!("{farms}/a")).1["spec"]["size"], 7);
    }
}
