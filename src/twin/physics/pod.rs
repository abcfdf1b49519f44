//! Pods as every controller sees them: whose they are, how far they are, how they are made from a template.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::selection::{list, matches, text};
use super::timer;
use crate::twin::kube;
use crate::twin::world::World;

/// The letters of generated names: no vowels, so no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// So many pods a controller makes for one owner at most, however many it asks for: as many as Kubernetes is made to
/// hold in a whole cluster.
pub const OWNED_MAX: i64 = 150_000;

/// The uid of the controller that an object belongs to.
pub fn controller_of(object: &Value) -> Option<&str> {
    let owners = list(&object["metadata"]["ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true).and_then(|owner| owner["uid"].as_str())
}

/// Whether somebody asked to delete an object.
pub fn is_ending(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether a pod has done its work or failed: it holds nothing any more.
pub fn is_over(pod: &Value) -> bool {
    matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed")
}

/// Whether a pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    !is_ending(pod) && has_condition(pod, "Ready")
}

/// Whether an object has a condition of this type that is true.
pub fn has_condition(object: &Value, name: &str) -> bool {
    list(&object["status"]["conditions"]).iter().any(|one| one["type"] == name && one["status"] == "True")
}

/// Whether a pod shares the network of its node.
pub fn on_host_network(pod: &Value) -> bool {
    pod["spec"]["hostNetwork"] == true
}

/// Since when a pod has been ready; none: it is not, or ends.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    served_since(pod).filter(|_| !is_ending(pod))
}

/// Since when a pod has been ready, also one that ends; none: it is not.
fn served_since(pod: &Value) -> Option<Timestamp> {
    let mut conditions = list(&pod["status"]["conditions"]).iter();
    let ready = conditions.find(|one| one["type"] == "Ready" && one["status"] == "True");
    ready.map(|one| timer::time(one, "lastTransitionTime").unwrap_or(Timestamp::MIN))
}

/// When a pod counts as available even while it ends; none: it is not ready.
pub fn serves_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    served_since(pod).map(|since| timer::after(since, min_ready_seconds))
}

/// When a pod counts as available: it has been ready for so many seconds; none: it is not ready.
pub fn available_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    ready_since(pod).map(|since| timer::after(since, min_ready_seconds))
}

/// How much a pod serves, to be compared: least without a node, not started, not ready, cheap by its own word, on a node
/// with many of the same, ready for a short time, often restarted, young.
pub fn worth(pod: &Value, neighbours: usize, now: Timestamp) -> impl Ord + use<> {
    let age = |time: Option<Timestamp>| {
        let seconds = time.map_or(0, |time| now.as_second().saturating_sub(time.as_second()));
        // Ages count by their order of magnitude only, so that zones do not empty one after the other.
        seconds.max(1).ilog2()
    };
    let phase = match text(&pod["status"], "phase") {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = text(&pod["metadata"]["annotations"], "controller.kubernetes.io/pod-deletion-cost");
    let restarts = list(&pod["status"]["containerStatuses"]).iter().filter_map(|one| one["restartCount"].as_i64());
    (
        !text(&pod["spec"], "nodeName").is_empty(),
        phase,
        ready_since(pod).is_some(),
        cost.parse::<i64>().unwrap_or(0),
        Reverse(neighbours),
        age(ready_since(pod)),
        Reverse(restarts.max().unwrap_or(0)),
        age(timer::time(&pod["metadata"], "creationTimestamp")),
        Reverse(text(&pod["metadata"], "creationTimestamp").to_owned()),
    )
}

/// Whether an owner with this selector may take an object that belongs to nobody.
pub fn may_adopt(selector: &Value, object: &Value) -> bool {
    controller_of(object).is_none()
        && !is_ending(object)
        && selector.as_object().is_some_and(|selector| !selector.is_empty())
        && matches(selector, &object["metadata"]["labels"])
}

/// Gives an object to its new controller.
pub fn adopt(object: &mut Value, owner: &Value) {
    let owners = list(&object["metadata"]["ownerReferences"]).iter().chain(list(owner)).cloned().collect();
    object["metadata"]["ownerReferences"] = Value::Array(owners);
}

/// Writes a condition; its time moves only when its status does. Answers whether anything changed.
pub fn set_condition(object: &mut Value, now: &str, mut condition: Value) -> bool {
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else { return false };
    let Some(old) = conditions.iter_mut().find(|one| one["type"] == condition["type"]) else {
        condition["lastTransitionTime"] = json!(now);
        conditions.push(condition);
        return true;
    };
    let is_same = |key: &str| old[key] == condition[key];
    if is_same("status") && is_same("reason") && is_same("message") {
        return false;
    }
    let since = if is_same("status") { old["lastTransitionTime"].clone() } else { json!(now) };
    condition["lastTransitionTime"] = since;
    *old = condition;
    true
}

/// Five letters that no other name has got.
pub fn suffix(world: &mut World) -> String {
    letters(&world.digits("name", 15), 5)
}

/// A hash of a pod template, as Deployments and DaemonSets write it into labels. It follows from the template alone,
/// so that an older template is recognised when it comes back.
pub fn hash(template: &Value) -> String {
    let digest = Sha256::digest(template.to_string().as_bytes());
    let digits: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    letters(&digits, 10)
}

fn letters(hexadecimal: &str, count: usize) -> String {
    let mut number = u128::from_str_radix(hexadecimal, 16).unwrap_or(0);
    let base = LETTERS.len() as u128;
    let mut name = String::new();
    for _ in 0..count {
        let letter = usize::try_from(number % base).unwrap_or(0);
        name.push(char::from(LETTERS[letter]));
        number /= base;
    }
    name
}

/// A reference to the controller of a new object.
pub fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// Makes a pod from the template of its owner, with these labels added; answers its name, none where it could not be.
pub fn make(
    world: &mut World,
    cluster: &str,
    owner: &Value,
    added: &[(&str, &str)],
    name: Option<String>,
) -> Option<String> {
    let prefix = format!("{}-", text(&owner["metadata"], "name"));
    make_as(world, cluster, owner, added, &prefix, name)
}

/// The same, with another beginning of the name where none is given.
pub fn make_as(
    world: &mut World,
    cluster: &str,
    owner: &Value,
    added: &[(&str, &str)],
    prefix: &str,
    name: Option<String>,
) -> Option<String> {
    let template = &owner["spec"]["template"];
    let name = match name {
        Some(name) => name,
        None => format!("{prefix}{}", suffix(world)),
    };
    let mut metadata = json!({
        "name": &name,
        "namespace": owner["metadata"]["namespace"],
        "labels": template["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
        "generateName": prefix,
        "ownerReferences": owned_by(owner),
    });
    if let Some(finalizers) = template["metadata"]["finalizers"].as_array() {
        metadata["finalizers"] = json!(finalizers);
    }
    if let Some(annotations) = template["metadata"]["annotations"].as_object() {
        metadata["annotations"] = json!(annotations);
    }
    for (key, value) in added {
        metadata["labels"][*key] = json!(value);
    }
    let mut spec = template["spec"].clone();
    usual(&mut spec);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
        "status": { "phase": "Pending", "qosClass": quality(&spec) } });
    kube::create(world, cluster, "pods", pod);
    world.store(cluster).map(|_| name)
}

/// What the API server fills in where a template says nothing.
fn usual(spec: &mut Value) {
    let defaults = [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("serviceAccountName", json!("default")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("enableServiceLinks", json!(true)),
        ("securityContext", json!({})),
    ];
    for (key, value) in defaults {
        if spec[key].is_null() {
            spec[key] = value;
        }
    }
}

/// The quality of service that requests and limits of the containers amount to.
fn quality(spec: &Value) -> &'static str {
    let containers = list(&spec["containers"]);
    let asks = |one: &Value, of: &str| one["resources"][of].as_object().is_some_and(|map| !map.is_empty());
    let bounded = |one: &Value| {
        ["cpu", "memory"].iter().all(|what| {
            let (limit, request) = (&one["resources"]["limits"][what], &one["resources"]["requests"][what]);
            !limit.is_null() && (request.is_null() || request == limit)
        })
    };
    if !containers.iter().any(|one| asks(one, "requests") || asks(one, "limits")) {
        "BestEffort"
    } else if containers.iter().all(bounded) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A number or a percentage of a whole, as `maxSurge` and `maxUnavailable` have it.
pub fn share(value: &Value, of: i64, usual: &str, up: bool) -> i64 {
    let usual = Value::String(usual.to_owned());
    let value = if value.is_null() { &usual } else { value };
    if let Some(number) = value.as_i64() {
        return number;
    }
    let written = value.as_str().unwrap_or_default();
    let Some(percent) = written.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()) else {
        return written.parse().unwrap_or(0);
    };
    if up { (of * percent + 99) / 100 } else { of * percent / 100 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_kubernetes_does() {
        assert_eq!(share(&json!("25%"), 3, "0", true), 1);
        assert_eq!(share(&json!("25%"), 3, "0", false), 0);
        assert_eq!(share(&json!(2), 3, "0", false), 2);
        assert_eq!(share(&Value::Null, 8, "25%", true), 2);
    }

    #[test]
    fn a_hash_follows_from_the_template() {
        let one = hash(&json!({ "a": 1 }));
        assert_eq!(one, hash(&json!({ "a": 1 })));
        assert_ne!(one, hash(&json!({ "a": 2 })));
        assert_eq!(one.len(), 10);
    }
}
