//! Whether an object is applied already, read off what the server says of it.
//!
//! A server-side apply that changes nothing is still a mutating request, in audit logs too. `metadata.managedFields`
//! tells which fields a manager applied: when these are exactly the fields that are to be applied, and all values are
//! equal, then applying would change nothing and is left out. Every doubt (values that the server normalised, fields
//! that cannot be matched) ends in applying, so that a wrong guess costs a request and never a change.

use serde_json::{Map, Value};

/// Fields that identify an object or belong to the server: nobody owns them.
const NOBODYS: &[&str] =
    &["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "managedFields"];

/// Whether `manager` applied just this object, and nothing of it was changed since.
pub(super) fn is_applied(current: &Value, wanted: &Value, manager: &str) -> bool {
    let owned = current["metadata"]["managedFields"].as_array().and_then(|entries| {
        entries.iter().find(|entry| {
            entry["manager"] == manager
                && entry["operation"] == "Apply"
                && entry["apiVersion"] == wanted["apiVersion"]
                && entry["subresource"].as_str().unwrap_or_default().is_empty()
        })
    });
    // Who applied no field but the name is not listed at all; applying it again would only make the server note down
    // the fields that were there before.
    let nothing = Map::new();
    let owned = owned.map_or(Some(&nothing), |entry| entry["fieldsV1"].as_object());
    let (Some(owned), Some(wanted), Some(current)) = (owned, wanted.as_object(), current.as_object()) else {
        return false;
    };
    // A version or identity that is named is a condition, which only the server can refuse.
    let kept = |field: &str| {
        let named = wanted.get("metadata").map_or(&Value::Null, |metadata| &metadata[field]);
        named.is_null() || *named == current["metadata"][field]
    };
    kept("resourceVersion") && kept("uid") && is_map(owned, &without_identity(wanted), current)
}

fn without_identity(wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut wanted = wanted.clone();
    wanted.remove("apiVersion");
    wanted.remove("kind");
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !NOBODYS.contains(&field.as_str()));
        if metadata.is_empty() {
            wanted.remove("metadata");
        }
    }
    wanted
}

/// Whether the owned fields are exactly those of `wanted`, with the values of `current`.
fn is_map(owned: &Map<String, Value>, wanted: &Map<String, Value>, current: &Map<String, Value>) -> bool {
    let fields = owned.iter().filter(|(key, _)| *key != ".");
    fields.clone().count() == wanted.len()
        && fields.into_iter().all(|(key, inner)| {
            let Some(name) = key.strip_prefix("f:") else { return false };
            let both = wanted.get(name).zip(current.get(name));
            both.is_some_and(|(wanted, current)| is_value(inner, wanted, current))
        })
}

fn is_value(owned: &Value, wanted: &Value, current: &Value) -> bool {
    let Some(owned) = owned.as_object() else { return false };
    if owned.is_empty() {
        // A leaf, or a map or list that is owned as a whole.
        return wanted == current && !wanted.is_null();
    }
    match (wanted, current) {
        (Value::Object(wanted), Value::Object(current)) => is_map(owned, wanted, current),
        (Value::Array(wanted), Value::Array(current)) => is_list(owned, wanted, current),
        _ => false,
    }
}

/// Items of a list are owned by their keys (`k:{"name":"app"}`) or, in a set, by their value (`v:"x"`).
fn is_list(owned: &Map<String, Value>, wanted: &[Value], current: &[Value]) -> bool {
    let items = owned.iter().filter(|(key, _)| *key != ".");
    items.clone().count() == wanted.len()
        && items.into_iter().all(|(key, inner)| {
            if let Some(value) = key.strip_prefix("v:").and_then(|value| serde_json::from_str::<Value>(value).ok()) {
                return wanted.contains(&value) && current.contains(&value);
            }
            let Some(keys) =
                key.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok())
            else {
                return false;
            };
            // A key that the server fills in, such as the protocol of a port, need not be given.
            let wanted =
                only(wanted, |item| keys.iter().all(|(key, value)| item[key].is_null() || item[key] == *value));
            let current = only(current, |item| keys.iter().all(|(key, value)| item[key] == *value));
            wanted.zip(current).is_some_and(|(wanted, current)| is_value(inner, wanted, current))
        })
}

fn only(items: &[Value], fits: impl Fn(&Value) -> bool) -> Option<&Value> {
    let mut fitting = items.iter().filter(|item| fits(item));
    fitting.next().filter(|_| fitting.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As kube-apiserver 1.36 stored what `wanted` says.
    fn stored() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": { "app": "web", "a.b/c": "d" },
                "finalizers": ["x.io/a", "other"],
                "managedFields": [
                    { "manager": "controller", "operation": "Update", "subresource": "status", "apiVersion": "apps/v1", "fieldsV1": {} },
                    { "manager": "ekskit", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {
                        "f:metadata": { "f:labels": { "f:a.b/c": {}, "f:app": {} }, "f:finalizers": { "v:\"x.io/a\"": {} } },
                        "f:spec": { "f:replicas": {}, "f:selector": {}, "f:template": { "f:spec": {
                            "f:containers": { "k:{\"name\":\"app\"}": { ".": {}, "f:name": {}, "f:command": {}, "f:resources": { "f:limits": { "f:cpu": {} } },
                                "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } } } },
                            "f:volumes": { "k:{\"name\":\"v\"}": { ".": {}, "f:emptyDir": {}, "f:name": {} } } } } } } }] },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "revisionHistoryLimit": 10, "template": { "spec": {
                "containers": [{ "name": "app", "command": ["a", "b"], "imagePullPolicy": "Always", "resources": { "limits": { "cpu": "1" } },
                    "ports": [{ "containerPort": 80, "protocol": "TCP" }] }, { "name": "sidecar", "image": "x" }],
                "volumes": [{ "name": "v", "emptyDir": {} }] } } },
            "status": { "replicas": 1 },
        })
    }

    fn wanted() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "labels": { "app": "web", "a.b/c": "d" }, "finalizers": ["x.io/a"] },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": { "spec": {
                "containers": [{ "name": "app", "command": ["a", "b"], "resources": { "limits": { "cpu": "1" } }, "ports": [{ "containerPort": 80 }] }],
                "volumes": [{ "name": "v", "emptyDir": {} }] } } },
        })
    }

    #[test]
    fn what_is_applied_is_not_applied_again() {
        assert!(is_applied(&stored(), &wanted(), "ekskit"));
    }

    #[test]
    fn a_name_alone_is_applied_when_it_is_there() {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
        let mut current = namespace.clone();
        current["metadata"]["labels"] = json!({ "kubernetes.io/metadata.name": "team" });
        assert!(is_applied(&current, &namespace, "ekskit"));
        // Labels that were applied once and are not wanted any more have to go.
        current["metadata"]["managedFields"] = json!([{ "manager": "ekskit", "operation": "Apply", "apiVersion": "v1",
            "fieldsV1": { "f:metadata": { "f:labels": { "f:old": {} } } } }]);
        assert!(!is_applied(&current, &namespace, "ekskit"));
    }

    #[test]
    fn every_difference_is_applied() {
        assert!(!is_applied(&stored(), &wanted(), "other"));
        let differs = |pointer: &str, value: Value| {
            let mut changed = wanted();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(!is_applied(&stored(), &changed, "ekskit"), "{pointer}");
        };
        differs("/spec/replicas", json!(2));
        differs("/spec/replicas", Value::Null);
        differs("/spec/selector/matchLabels", json!({ "app": "web", "more": "x" }));
        differs("/metadata/labels", json!({ "app": "web" }));
        differs("/metadata/finalizers", json!([]));
        differs("/metadata/finalizers/0", json!("other"));
        differs("/spec/template/spec/containers/0/command", json!(["a"]));
        differs("/spec/template/spec/containers/0/ports/0", json!({ "containerPort": 81 }));
        differs("/spec/template/spec/containers/0/ports/0", json!({ "containerPort": 80, "name": "http" }));
        differs("/spec/template/spec/containers/0/resources", json!({ "limits": { "cpu": "1000m" } }));
        differs("/spec/template/spec/volumes", json!([]));
        differs("/spec/template/spec/volumes/0", json!({ "name": "v", "hostPath": { "path": "/" } }));
        differs("/apiVersion", json!("apps/v2"));
        differs("/metadata", json!({ "name": "web" }));
    }

    #[test]
    fn a_change_by_somebody_else_is_undone_and_a_named_version_is_a_condition() {
        let mut current = stored();
        current["spec"]["replicas"] = json!(5);
        assert!(!is_applied(&current, &wanted(), "ekskit"));
        let mut named = wanted();
        named["metadata"]["resourceVersion"] = json!("7");
        assert!(is_applied(&stored(), &named, "ekskit"));
        named["metadata"]["resourceVersion"] = json!("6");
        assert!(!is_applied(&stored(), &named, "ekskit"));
    }
}
