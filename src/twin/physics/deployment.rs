//! Deployments and the ReplicaSets by which they roll.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::pod::{self, share};
use super::selection::{list, text};
use crate::twin::kube;
use crate::twin::kube::store::key_of;
use crate::twin::world::World;

const DEPLOYMENTS: &str = "deployments.apps";
const REPLICA_SETS: &str = "replicasets.apps";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

/// Lets every Deployment come one step nearer to what it says.
pub fn roll(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let deployments: Vec<Value> = store.list(DEPLOYMENTS).values().cloned().collect();
        for deployment in deployments.into_iter().filter(|one| !pod::is_ending(one)) {
            roll_one(world, &cluster, &deployment);
        }
    }
}

fn roll_one(world: &mut World, cluster: &str, deployment: &Value) {
    let sets = sets_of(world, cluster, deployment);
    let Some(current) = ensure_current(world, cluster, deployment, &sets) else { return };
    number_revision(world, cluster, deployment, &current, &sets);
    let rollout = Rollout::of(deployment, &current, sets_of(world, cluster, deployment));
    for (key, replicas) in rollout.scales() {
        if let Some(store) = world.store_mut(cluster) {
            store.change(REPLICA_SETS, &key, |set| set["spec"]["replicas"] = json!(replicas));
        }
    }
    drop_history(world, cluster, deployment, &current);
    write_status(world, cluster, deployment, &current);
}

fn sets_of(world: &World, cluster: &str, deployment: &Value) -> Vec<Value> {
    let uid = deployment["metadata"]["uid"].as_str();
    let Some(store) = world.store(cluster) else { return Vec::new() };
    let own = store.list(REPLICA_SETS).values().filter(|set| pod::controller_of(set) == uid && uid.is_some());
    own.filter(|set| !pod::is_ending(set)).cloned().collect()
}

/// The key of the ReplicaSet with the template of now; made where there is none and the Deployment is not paused.
fn ensure_current(world: &mut World, cluster: &str, deployment: &Value, sets: &[Value]) -> Option<String> {
    let template = &deployment["spec"]["template"];
    if let Some(found) = sets.iter().find(|set| without_hash(&set["spec"]["template"]) == *template) {
        return Some(key_of(found));
    }
    if deployment["spec"]["paused"] == true {
        return None;
    }
    let hash = pod::hash(template);
    let name = format!("{}-{hash}", text(&deployment["metadata"], "name"));
    let namespace = text(&deployment["metadata"], "namespace");
    let mut template = template.clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"],
            "annotations": { REVISION: "0" },
            "ownerReferences": pod::owned_by(deployment),
        },
        "spec": { "replicas": 0, "selector": selector, "template": template },
        "status": { "replicas": 0 },
    });
    kube::create(world, cluster, REPLICA_SETS, set);
    Some(kube::store::key(Some(namespace), &name))
}

/// A template as its Deployment has it. Where the Deployment's template has no labels, nor has this.
fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

fn revision(set: &Value) -> i64 {
    set["metadata"]["annotations"][REVISION].as_str().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The set that is current has the highest revision: rolling back gives an old one a new number.
fn number_revision(world: &mut World, cluster: &str, deployment: &Value, current: &str, sets: &[Value]) {
    let others = sets.iter().filter(|set| key_of(set) != current).map(revision).max().unwrap_or(0);
    let Some(store) = world.store_mut(cluster) else { return };
    let own = store.get(REPLICA_SETS, current).map_or(0, revision);
    let number = if own > others { own } else { others + 1 };
    let annotate = |object: &mut Value| object["metadata"]["annotations"][REVISION] = json!(number.to_string());
    store.change(REPLICA_SETS, current, annotate);
    store.change(DEPLOYMENTS, &key_of(deployment), annotate);
}

/// Where a rollout stands.
struct Rollout {
    wanted: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
    current: Option<Value>,
    others: Vec<Value>,
}

fn number(object: &Value, of: &str, key: &str) -> i64 {
    object[of][key].as_i64().unwrap_or(0)
}

fn wanted(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// How many replicas may be missing while it rolls.
fn missing_allowed(deployment: &Value) -> i64 {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let wanted = wanted(deployment);
    let missing = share(&rolling["maxUnavailable"], wanted, "25%", false);
    let surge = share(&rolling["maxSurge"], wanted, "25%", true);
    // Both zero would never move.
    if missing == 0 && surge == 0 { 1 } else { missing }
}

impl Rollout {
    fn of(deployment: &Value, current: &str, sets: Vec<Value>) -> Rollout {
        let (current, others): (Vec<Value>, Vec<Value>) = sets.into_iter().partition(|set| key_of(set) == current);
        let wanted = wanted(deployment);
        Rollout {
            wanted,
            surge: share(&deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], wanted, "25%", true),
            unavailable: missing_allowed(deployment),
            recreate: deployment["spec"]["strategy"]["type"] == "Recreate",
            current: current.into_iter().next(),
            others,
        }
    }

    /// The sets that change their size, and to what.
    fn scales(&self) -> Vec<(String, i64)> {
        let Some(current) = &self.current else { return Vec::new() };
        let own = number(current, "spec", "replicas");
        let mut scales = BTreeMap::new();
        if self.recreate {
            let busy = self.others.iter().any(|set| number(set, "status", "replicas") > 0);
            scales.extend(self.others.iter().map(|set| (key_of(set), 0)));
            scales.insert(key_of(current), if busy { own } else { self.wanted });
        } else {
            let total: i64 = own + self.others.iter().map(|set| number(set, "spec", "replicas")).sum::<i64>();
            let grown = own + (self.wanted + self.surge - total).clamp(0, (self.wanted - own).max(0));
            scales.insert(key_of(current), grown.min(self.wanted));
            scales.extend(self.shrunk(current, own, total));
        }
        let sizes: BTreeMap<String, i64> =
            self.others.iter().chain([current]).map(|set| (key_of(set), number(set, "spec", "replicas"))).collect();
        scales.into_iter().filter(|(key, size)| sizes.get(key) != Some(size)).collect()
    }

    /// Old sets give way: first what does not run anyway, then as many as are spare.
    fn shrunk(&self, current: &Value, own: i64, total: i64) -> Vec<(String, i64)> {
        let least = self.wanted - self.unavailable;
        let coming = (own - number(current, "status", "availableReplicas")).max(0);
        let mut budget = (total - least - coming).max(0);
        let mut sets: Vec<&Value> = self.others.iter().collect();
        sets.sort_by_key(|set| revision(set));
        let mut sizes: Vec<(String, i64, i64)> = sets
            .iter()
            .map(|set| (key_of(set), number(set, "spec", "replicas"), number(set, "status", "availableReplicas")))
            .collect();
        for (_, size, available) in &mut sizes {
            let cut = (*size - *available).clamp(0, budget);
            *size -= cut;
            budget -= cut;
        }
        let running: i64 = number(current, "status", "availableReplicas")
            + sizes.iter().map(|(_, size, have)| (*size).min(*have)).sum::<i64>();
        let mut spare = (running - least).max(0).min(budget);
        for (_, size, _) in &mut sizes {
            let cut = (*size).min(spare);
            *size -= cut;
            spare -= cut;
        }
        sizes.into_iter().map(|(key, size, _)| (key, size)).collect()
    }
}

/// Old sets beyond `revisionHistoryLimit` go.
fn drop_history(world: &mut World, cluster: &str, deployment: &Value, current: &str) {
    let limit = deployment["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10);
    let mut old = sets_of(world, cluster, deployment);
    old.retain(|set| {
        key_of(set) != current && number(set, "spec", "replicas") == 0 && number(set, "status", "replicas") == 0
    });
    old.sort_by_key(revision);
    let over = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for set in old.iter().take(over) {
        kube::delete(world, cluster, REPLICA_SETS, &key_of(set));
    }
}

fn write_status(world: &mut World, cluster: &str, deployment: &Value, current: &str) {
    let key = key_of(deployment);
    let sets = sets_of(world, cluster, deployment);
    let now = world.now_text();
    let sum = |of: &str, field: &str| sets.iter().map(|set| number(set, of, field)).sum::<i64>();
    let updated = sets.iter().find(|set| key_of(set) == current).map_or(0, |set| number(set, "status", "replicas"));
    let available = sum("status", "availableReplicas");
    let counts = [
        ("replicas", sum("status", "replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("status", "readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (sum("spec", "replicas") - available).max(0)),
    ];
    let is_complete = is_complete(deployment, &counts);
    let Some(store) = world.store_mut(cluster) else { return };
    store.change(DEPLOYMENTS, &key, |object| {
        let before = object["status"].clone();
        object["status"] = status_of(object, &counts);
        note_available(object, available, &now);
        note_progress(object, &before, current, is_complete, &now);
    });
    await_deadline(world, cluster, &key, deployment, is_complete);
}

fn is_complete(deployment: &Value, counts: &[(&str, i64)]) -> bool {
    let wanted = wanted(deployment);
    counts.iter().all(|(name, count)| if *name == "unavailableReplicas" { *count == 0 } else { *count == wanted })
}

fn status_of(object: &Value, counts: &[(&str, i64)]) -> Value {
    let mut status = Map::new();
    status.insert("observedGeneration".to_owned(), object["metadata"]["generation"].clone());
    for (name, count) in counts.iter().filter(|(_, count)| *count != 0) {
        status.insert((*name).to_owned(), json!(count));
    }
    if let Some(conditions) = object["status"].get("conditions") {
        status.insert("conditions".to_owned(), conditions.clone());
    }
    Value::Object(status)
}

fn note_available(object: &mut Value, available: i64, now: &str) {
    let enough = available >= wanted(object) - missing_allowed(object);
    let condition = if enough {
        json!({ "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.", "lastUpdateTime": now })
    } else {
        json!({ "type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability.", "lastUpdateTime": now })
    };
    pod::set_condition(object, now, condition);
}

fn progressing(object: &Value) -> Option<&Value> {
    list(&object["status"]["conditions"]).iter().find(|one| one["type"] == "Progressing")
}

fn note_progress(object: &mut Value, before: &Value, current: &str, is_complete: bool, now: &str) {
    let set = current.rsplit('/').next().unwrap_or(current);
    let count = |status: &Value, name: &str| status[name].as_i64().unwrap_or(0);
    let after = object["status"].clone();
    let more = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    let old = |status: &Value| count(status, "replicas") - count(status, "updatedReplicas");
    let moved = more.iter().any(|name| count(&after, name) > count(before, name)) || old(&after) < old(before);
    let known = progressing(object).map(|one| (text(one, "reason").to_owned(), text(one, "message").to_owned()));
    let of_this_set = known.as_ref().is_some_and(|(_, message)| message.contains(&format!("\"{set}\"")));
    let (reason, message) = match &known {
        _ if is_complete => ("NewReplicaSetAvailable", format!("ReplicaSet \"{set}\" has successfully progressed.")),
        // What was complete once does not progress again because a pod is missing.
        Some((reason, _)) if reason == "NewReplicaSetAvailable" && of_this_set => return,
        Some(_) if of_this_set && moved => ("ReplicaSetUpdated", format!("ReplicaSet \"{set}\" is progressing.")),
        Some(_) if of_this_set => return,
        _ => ("NewReplicaSetCreated", format!("Created new replica set \"{set}\"")),
    };
    let condition = json!({ "type": "Progressing", "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now });
    if !pod::set_condition(object, now, condition) && moved {
        touch_progress(object, now);
    }
}

fn touch_progress(object: &mut Value, now: &str) {
    let conditions = object["status"]["conditions"].as_array_mut().into_iter().flatten();
    for one in conditions.filter(|one| one["type"] == "Progressing") {
        one["lastUpdateTime"] = json!(now);
    }
}

fn deadline(deployment: &Value) -> u64 {
    deployment["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(600)
}

fn await_deadline(world: &mut World, cluster: &str, key: &str, deployment: &Value, is_complete: bool) {
    let id = format!("{cluster}/{key}");
    let object = world.store(cluster).and_then(|store| store.get(DEPLOYMENTS, key));
    let reason = object.and_then(progressing).map_or("", |one| text(one, "reason"));
    let over = matches!(reason, "ProgressDeadlineExceeded" | "NewReplicaSetAvailable");
    if !is_complete && !over && !world.is_planned("kube/deployments.apps", &id, "Late") {
        let pause = Duration::from_secs(deadline(deployment));
        world.begin_after(pause, "kube/deployments.apps", &id, "Late");
    }
}

/// The time that a Deployment has for its next step is over.
pub fn late(world: &mut World, id: &str, _: &str) {
    let Some((cluster, key)) = id.split_once('/') else { return };
    let Some(object) = world.store(cluster).and_then(|store| store.get(DEPLOYMENTS, key)).cloned() else { return };
    let Some(progress) = progressing(&object) else { return };
    if matches!(text(progress, "reason"), "NewReplicaSetAvailable" | "ProgressDeadlineExceeded") {
        return;
    }
    let since: Option<Timestamp> = text(progress, "lastUpdateTime").parse().ok();
    let passed = since.map_or(i64::MAX, |since| world.now.as_second() - since.as_second());
    let left = i64::try_from(deadline(&object)).unwrap_or(i64::MAX).saturating_sub(passed);
    if let Ok(left) = u64::try_from(left)
        && left > 0
    {
        return world.begin_after(Duration::from_secs(left), "kube/deployments.apps", id, "Late");
    }
    let words = text(progress, "message");
    let set = words.split('"').nth(1).unwrap_or_default();
    let now = world.now_text();
    let condition = json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": format!("ReplicaSet \"{set}\" has timed out progressing."), "lastUpdateTime": now });
    if let Some(store) = world.store_mut(cluster) {
        store.change(DEPLOYMENTS, key, |object| {
            pod::set_condition(object, &now, condition);
        });
    }
}

/// What a ReplicaSet needs now.
struct Step {
    key: String,
    create: usize,
    delete: Vec<String>,
    status: Value,
}

/// Keeps as many pods of every ReplicaSet as it says.
pub fn keep_count(world: &mut World) {
    for cluster in world.clusters() {
        for step in steps(world, &cluster) {
            take(world, &cluster, step);
        }
    }
}

fn steps(world: &World, cluster: &str) -> Vec<Step> {
    let Some(store) = world.store(cluster) else { return Vec::new() };
    let sets = store.list(REPLICA_SETS);
    if sets.is_empty() {
        return Vec::new();
    }
    let mut pods: BTreeMap<&str, Vec<(&String, &Value)>> = BTreeMap::new();
    for (key, pod) in store.list("pods").iter().filter(|(_, pod)| !pod::is_ending(pod) && !pod::is_over(pod)) {
        if let Some(owner) = pod::controller_of(pod) {
            pods.entry(owner).or_default().push((key, pod));
        }
    }
    let own =
        |set: &Value| set["metadata"]["uid"].as_str().and_then(|uid| pods.get(uid)).map_or(&[][..], Vec::as_slice);
    let steps = sets.iter().filter(|(_, set)| !pod::is_ending(set));
    let steps = steps.map(|(key, set)| step(key, set, own(set)));
    steps
        .filter(|step| step.create > 0 || !step.delete.is_empty() || sets[&step.key]["status"] != step.status)
        .collect()
}

fn step(key: &str, set: &Value, pods: &[(&String, &Value)]) -> Step {
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let ready = pods.iter().filter(|(_, pod)| pod::is_ready(pod)).count();
    let mut status = json!({ "replicas": pods.len(), "observedGeneration": set["metadata"]["generation"] });
    for (name, count) in [("fullyLabeledReplicas", pods.len()), ("readyReplicas", ready), ("availableReplicas", ready)]
    {
        if count > 0 {
            status[name] = json!(count);
        }
    }
    let mut order: Vec<&(&String, &Value)> = pods.iter().collect();
    // Those go first that serve least: without a node, not ready, the youngest.
    order.sort_by_key(|(key, pod)| {
        let age = text(&pod["metadata"], "creationTimestamp");
        (!pod["spec"]["nodeName"].is_null(), pod::is_ready(pod), std::cmp::Reverse(age), *key)
    });
    let over = pods.len().saturating_sub(wanted);
    let delete = order.iter().take(over).map(|(key, _)| (*key).clone()).collect();
    Step { key: key.to_owned(), create: wanted.saturating_sub(pods.len()), delete, status }
}

fn take(world: &mut World, cluster: &str, step: Step) {
    if step.create > 0 {
        let Some(set) = world.store(cluster).and_then(|store| store.get(REPLICA_SETS, &step.key)).cloned() else {
            return;
        };
        for _ in 0..step.create {
            pod::make(world, cluster, &set, &[], None);
        }
    }
    for pod in &step.delete {
        kube::delete(world, cluster, "pods", pod);
    }
    if let Some(store) = world.store_mut(cluster) {
        store.change(REPLICA_SETS, &step.key, |set| set["status"] = step.status);
    }
}
