//! ReplicaSets: as many pods as they say.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod;
use super::selection::{list, matches, text};
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::store::Store;
use crate::twin::world::World;

const REPLICA_SETS: &str = "replicasets.apps";
const WHO: &str = "replicaset-controller";

/// What a ReplicaSet needs now.
struct Step {
    key: String,
    create: usize,
    delete: Vec<String>,
    status: Value,
    /// When a pod that is ready will have been so for long enough.
    next: Option<Timestamp>,
}

/// Keeps as many pods of every ReplicaSet as it says.
pub fn keep_count(world: &mut World) {
    for cluster in world.clusters() {
        adopt(world, &cluster);
        for step in steps(world, &cluster) {
            take(world, &cluster, step);
        }
    }
}

/// Pods that fit and belong to nobody belong to the set from now on; those that do not fit any more do not.
fn adopt(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let changes = world.changes();
    let changed = changes.of(cluster);
    let mut taken: BTreeMap<String, Value> = BTreeMap::new();
    for key in changed.keys(REPLICA_SETS) {
        // One that has looked already has taken what there was; later pods come by themselves, below.
        let is_new = |set: &&Value| set["status"]["observedGeneration"].is_null() && !pod::is_ending(set);
        let Some(set) = store.get(REPLICA_SETS, key).filter(is_new) else { continue };
        let selector = &set["spec"]["selector"];
        let fitting = store.pods_with(text(&set["metadata"], "namespace"), &selector["matchLabels"]);
        let fitting = fitting.filter(|(_, pod)| !pod::is_over(pod) && pod::may_adopt(selector, pod));
        taken.extend(fitting.map(|(key, _)| (key.to_owned(), pod::owned_by(set))));
    }
    let mut left: Vec<(String, String)> = Vec::new();
    for key in changed.keys("pods") {
        let Some(found) = store.get("pods", key).filter(|found| !pod::is_over(found)) else { continue };
        match pod::controller_of(found).and_then(|uid| store.by_uid(uid)) {
            Some((REPLICA_SETS, _, set)) => {
                if !matches(&set["spec"]["selector"], &found["metadata"]["labels"]) {
                    left.push((key.clone(), text(&set["metadata"], "uid").to_owned()));
                }
            }
            Some(_) => {}
            None => {
                let mut sets = store.within(REPLICA_SETS, text(&found["metadata"], "namespace")).map(|(_, set)| set);
                let fitting = sets.find(|set| !pod::is_ending(set) && pod::may_adopt(&set["spec"]["selector"], found));
                taken.extend(fitting.map(|set| (key.clone(), pod::owned_by(set))));
            }
        }
    }
    let Some(store) = world.store_mut(cluster) else { return };
    for (key, owner) in taken {
        store.change("pods", &key, |pod| pod::adopt(pod, &owner));
    }
    for (key, uid) in left {
        store.change("pods", &key, |pod| release(pod, &uid));
    }
}

/// Takes an owner away.
fn release(pod: &mut Value, uid: &str) {
    if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
        owners.retain(|owner| owner["uid"] != uid);
    }
    if list(&pod["metadata"]["ownerReferences"]).is_empty()
        && let Some(metadata) = pod["metadata"].as_object_mut()
    {
        metadata.remove("ownerReferences");
    }
}

fn steps(world: &World, cluster: &str) -> Vec<Step> {
    let Some(store) = world.store(cluster) else { return Vec::new() };
    let concerned = world.changes().of(cluster).concerned(store.index(), REPLICA_SETS);
    let sets = concerned.iter().filter_map(|key| Some((key, store.get(REPLICA_SETS, key)?)));
    let steps = sets.map(|(key, set)| (step(store, key, set, world.now), set));
    let is_due = |(step, set): &(Step, &Value)| {
        step.create > 0 || !step.delete.is_empty() || step.next.is_some() || set["status"] != step.status
    };
    steps.filter(is_due).map(|(step, _)| step).collect()
}

fn step(store: &Store, key: &str, set: &Value, now: Timestamp) -> Step {
    let own = store.owned(text(&set["metadata"], "uid"), "pods");
    let (ending, pods): (Vec<_>, Vec<_>) =
        own.filter(|(_, pod)| !pod::is_over(pod)).partition(|(_, pod)| pod::is_ending(pod));
    let seconds = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let since: Vec<Timestamp> = pods.iter().filter_map(|(_, pod)| pod::available_at(pod, seconds)).collect();
    let labels = json!({ "matchLabels": set["spec"]["template"]["metadata"]["labels"] });
    let labelled = pods.iter().filter(|(_, pod)| matches(&labels, &pod["metadata"]["labels"])).count();
    let mut status = json!({ "replicas": pods.len(), "observedGeneration": set["metadata"]["generation"],
        "terminatingReplicas": ending.len() });
    let available = since.iter().filter(|since| **since <= now).count();
    let counts = [("fullyLabeledReplicas", labelled), ("readyReplicas", since.len()), ("availableReplicas", available)];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[name] = json!(count);
    }
    let next = since.into_iter().filter(|since| *since > now).min();
    if pod::is_ending(set) {
        return Step { key: key.to_owned(), create: 0, delete: Vec::new(), status, next: None };
    }
    let wanted = set["spec"]["replicas"].as_i64().unwrap_or(1).min(pod::OWNED_MAX);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let over = pods.len().saturating_sub(wanted);
    let delete = if over == 0 { Vec::new() } else { first_to_go(store, set, pods.clone(), over, now) };
    Step { key: key.to_owned(), create: wanted.saturating_sub(pods.len()), delete, status, next }
}

/// Those go first that serve least.
fn first_to_go(store: &Store, set: &Value, pods: Vec<(&str, &Value)>, count: usize, now: Timestamp) -> Vec<String> {
    let neighbours = neighbours(store, set);
    let mut order: Vec<(&str, &Value)> = pods;
    order.sort_by_cached_key(|(key, pod)| {
        let beside = neighbours.get(text(&pod["spec"], "nodeName")).copied().unwrap_or(0);
        (pod::worth(pod, beside, now), Reverse((*key).to_owned()))
    });
    order.into_iter().take(count).map(|(key, _)| key.to_owned()).collect()
}

/// How many pods of all sets of the same owner there are on each node.
fn neighbours<'s>(store: &'s Store, set: &Value) -> BTreeMap<&'s str, usize> {
    let of_owner = pod::controller_of(set).map(|owner| store.owned(owner, REPLICA_SETS).map(|(_, set)| set).collect());
    let sets: Vec<&Value> = of_owner.unwrap_or_default();
    let mut uids: Vec<&str> = sets.into_iter().map(|set| text(&set["metadata"], "uid")).collect();
    if uids.is_empty() {
        uids.push(text(&set["metadata"], "uid"));
    }
    let mut count = BTreeMap::new();
    for uid in uids {
        for (_, pod) in store.owned(uid, "pods").filter(|(_, pod)| !pod::is_ending(pod) && !pod::is_over(pod)) {
            *count.entry(text(&pod["spec"], "nodeName")).or_default() += 1;
        }
    }
    count
}

fn take(world: &mut World, cluster: &str, step: Step) {
    let Some(set) = world.store(cluster).and_then(|store| store.get(REPLICA_SETS, &step.key)).cloned() else { return };
    for _ in 0..step.create {
        if let Some(name) = pod::make(world, cluster, &set, &[], None) {
            event::normal(world, cluster, &set, "SuccessfulCreate", &format!("Created pod: {name}"), WHO);
        }
    }
    for pod in &step.delete {
        kube::delete(world, cluster, "pods", pod);
        let name = pod.rsplit('/').next().unwrap_or(pod);
        event::normal(world, cluster, &set, "SuccessfulDelete", &format!("Deleted pod: {name}"), WHO);
    }
    if let Some(store) = world.store_mut(cluster) {
        store.change(REPLICA_SETS, &step.key, |set| {
            let conditions = set["status"]["conditions"].take();
            set["status"] = step.status;
            if !conditions.is_null() {
                set["status"]["conditions"] = conditions;
            }
        });
    }
    if let Some(next) = step.next {
        timer::look_at(world, cluster, REPLICA_SETS, &step.key, next);
    }
}
