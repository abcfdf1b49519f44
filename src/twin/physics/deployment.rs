//! Deployments: they roll by ReplicaSets, one for each template they ever had.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::pod::{self, share};
use super::selection::{list, text};
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::store::key_of;
use crate::twin::world::World;

const DEPLOYMENTS: &str = "deployments.apps";
const REPLICA_SETS: &str = "replicasets.apps";
const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
const WHO: &str = "deployment-controller";

/// Annotations that a Deployment does not hand on to its ReplicaSets.
const OWN_ANNOTATIONS: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MAX];

/// Lets every Deployment that something concerns come one step nearer to what it says.
pub fn roll(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let concerned = world.changes().of(&cluster).concerned(store.index(), DEPLOYMENTS);
        for key in concerned {
            if let Some(one) = Rollout::of(world, &cluster, &key) {
                one.step(world);
            }
        }
    }
}

/// A Deployment and its ReplicaSets, the oldest first.
struct Rollout {
    cluster: String,
    key: String,
    deployment: Value,
    current: Option<Value>,
    others: Vec<Value>,
}

fn number(object: &Value, of: &str, key: &str) -> i64 {
    object[of][key].as_i64().unwrap_or(0)
}

fn size(set: &Value) -> i64 {
    number(set, "spec", "replicas")
}

fn annotated(object: &Value, key: &str) -> Option<i64> {
    object["metadata"]["annotations"][key].as_str().and_then(|text| text.parse().ok())
}

fn wanted(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn is_rolling(deployment: &Value) -> bool {
    deployment["spec"]["strategy"]["type"] != "Recreate"
}

fn surge(deployment: &Value) -> i64 {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    if is_rolling(deployment) { share(&rolling["maxSurge"], wanted(deployment), "25%", true) } else { 0 }
}

/// How many replicas may be missing while it rolls.
fn missing_allowed(deployment: &Value) -> i64 {
    let wanted = wanted(deployment);
    if !is_rolling(deployment) || wanted == 0 {
        return 0;
    }
    let missing = share(&deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, "25%", false);
    // Both zero would never move.
    if missing == 0 && surge(deployment) == 0 { 1 } else { missing.min(wanted) }
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
    annotated(set, REVISION).unwrap_or(0)
}

impl Rollout {
    fn of(world: &mut World, cluster: &str, key: &str) -> Option<Rollout> {
        adopt(world, cluster, key);
        let store = world.store(cluster)?;
        let deployment = store.get(DEPLOYMENTS, key)?.clone();
        let own = store.owned(text(&deployment["metadata"], "uid"), REPLICA_SETS).map(|(_, set)| set);
        let mut sets: Vec<Value> = own.cloned().collect();
        sets.sort_by_key(|set| (text(&set["metadata"], "creationTimestamp").to_owned(), revision(set), key_of(set)));
        let template = &deployment["spec"]["template"];
        // A template that came past the API server lacks defaults that its set has: the name tells it, too.
        let named = format!("{}-{}", text(&deployment["metadata"], "name"), pod::hash(template));
        let is_of =
            |set: &Value| without_hash(&set["spec"]["template"]) == *template || set["metadata"]["name"] == named;
        let at = sets.iter().position(is_of);
        let current = at.map(|at| sets.remove(at));
        Some(Rollout { cluster: cluster.to_owned(), key: key.to_owned(), deployment, current, others: sets })
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        self.others.iter().chain(&self.current)
    }

    fn sum(&self, of: &str, field: &str) -> i64 {
        self.all().map(|set| number(set, of, field)).sum()
    }

    fn step(mut self, world: &mut World) {
        if pod::is_ending(&self.deployment) {
            return self.write_status(world, false);
        }
        self.note_pause(world);
        let is_paused = self.deployment["spec"]["paused"] == true;
        let wants = wanted(&self.deployment);
        let is_scaled = self.all().any(|set| size(set) > 0 && annotated(set, DESIRED).is_some_and(|was| was != wants));
        if is_paused || is_scaled {
            if self.current.is_some() {
                self.ensure_current(world);
            }
            self.scale(world);
            return self.write_status(world, false);
        }
        let has_moved = if is_rolling(&self.deployment) {
            self.ensure_current(world);
            self.grow(world) || self.shrink(world)
        } else {
            self.recreate(world)
        };
        if !has_moved && self.is_complete() {
            self.drop_history(world);
        }
        self.write_status(world, true);
    }

    fn change(&mut self, world: &mut World, change: impl FnOnce(&mut Value)) {
        let Some(store) = world.store_mut(&self.cluster) else { return };
        store.change(DEPLOYMENTS, &self.key, change);
        if let Some(now) = store.get(DEPLOYMENTS, &self.key) {
            self.deployment = now.clone();
        }
    }

    /// Says that it is paused, or goes on: a pause takes no time from its deadline.
    fn note_pause(&mut self, world: &mut World) {
        let is_paused = self.deployment["spec"]["paused"] == true;
        let reason = progressing(&self.deployment).map_or("", |one| text(one, "reason"));
        if self.deployment["spec"]["progressDeadlineSeconds"].is_null() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let condition = match (is_paused, reason == "DeploymentPaused") {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let now = world.now_text();
        self.change(world, |object| note(object, &now, ("Progressing", "Unknown"), condition));
    }

    /// Lets the ReplicaSet with the template of now be there, with the highest revision.
    fn ensure_current(&mut self, world: &mut World) {
        let next = self.others.iter().map(revision).max().unwrap_or(0) + 1;
        let now = world.now_text();
        let Some(set) = self.current.clone() else { return self.make_current(world, next) };
        let (key, deployment) = (key_of(&set), self.deployment.clone());
        let Some(store) = world.store_mut(&self.cluster) else { return };
        store.change(REPLICA_SETS, &key, |set| {
            annotate(set, &deployment, next);
            let seconds = &deployment["spec"]["minReadySeconds"];
            if set["spec"]["minReadySeconds"].as_i64().unwrap_or(0) != seconds.as_i64().unwrap_or(0) {
                set["spec"]["minReadySeconds"] = seconds.clone();
            }
        });
        let set = store.get(REPLICA_SETS, &key).cloned().unwrap_or(set);
        let number = revision(&set);
        let found = format!("Found new replica set \"{}\"", text(&set["metadata"], "name"));
        self.current = Some(set);
        let has_deadline = !self.deployment["spec"]["progressDeadlineSeconds"].is_null();
        self.change(world, |object| {
            number_it(object, number);
            if has_deadline && progressing(object).is_none() {
                note(object, &now, ("Progressing", "True"), ("FoundNewReplicaSet", &found));
            }
        });
    }

    fn make_current(&mut self, world: &mut World, number: i64) {
        let deployment = &self.deployment;
        let hash = pod::hash(&deployment["spec"]["template"]);
        let name = format!("{}-{hash}", text(&deployment["metadata"], "name"));
        let namespace = text(&deployment["metadata"], "namespace").to_owned();
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let replicas = self.room_of_current(0);
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": template["metadata"]["labels"],
                "ownerReferences": pod::owned_by(deployment),
            },
            "spec": { "replicas": replicas, "selector": selector, "template": template },
            "status": { "replicas": 0 },
        });
        if let Some(seconds) = deployment["spec"]["minReadySeconds"].as_i64().filter(|seconds| *seconds > 0) {
            set["spec"]["minReadySeconds"] = json!(seconds);
        }
        annotate(&mut set, deployment, number);
        annotate_sizes(&mut set, deployment);
        kube::create(world, &self.cluster, REPLICA_SETS, set);
        let key = kube::store::key(Some(&namespace), &name);
        self.current = world.store(&self.cluster).and_then(|store| store.get(REPLICA_SETS, &key)).cloned();
        if replicas > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {replicas}");
            event::normal(world, &self.cluster, &self.deployment, "ScalingReplicaSet", &message, WHO);
        }
        let (now, made) = (world.now_text(), format!("Created new replica set \"{name}\""));
        let has_deadline = !self.deployment["spec"]["progressDeadlineSeconds"].is_null();
        self.change(world, |object| {
            number_it(object, number);
            if has_deadline {
                note(object, &now, ("Progressing", "True"), ("NewReplicaSetCreated", &made));
            }
        });
    }

    /// How many the current set, of this size, may have now.
    fn room_of_current(&self, own: i64) -> i64 {
        let wants = wanted(&self.deployment);
        if !is_rolling(&self.deployment) {
            return wants;
        }
        let (there, most) = (self.sum("spec", "replicas"), wants + surge(&self.deployment));
        if there >= most { own } else { own + (most - there).min(wants - own) }
    }

    /// Resizes a set; whether that changed its size.
    fn resize(&mut self, world: &mut World, key: &str, to: i64) -> bool {
        let deployment = self.deployment.clone();
        let Some(store) = world.store_mut(&self.cluster) else { return false };
        let Some(set) = store.get(REPLICA_SETS, key).cloned() else { return false };
        let from = size(&set);
        store.change(REPLICA_SETS, key, |set| {
            set["spec"]["replicas"] = json!(to);
            annotate_sizes(set, &deployment);
        });
        let now = store.get(REPLICA_SETS, key).cloned().unwrap_or_default();
        for known in self.others.iter_mut().chain(&mut self.current).filter(|known| key_of(known) == key) {
            *known = now.clone();
        }
        if from != to {
            let word = if to > from { "up" } else { "down" };
            let name = text(&set["metadata"], "name");
            let message = format!("Scaled {word} replica set {name} from {from} to {to}");
            event::normal(world, &self.cluster, &deployment, "ScalingReplicaSet", &message, WHO);
        }
        from != to
    }

    /// The current set gets as many as there is room for.
    fn grow(&mut self, world: &mut World) -> bool {
        let Some(current) = &self.current else { return false };
        let (key, own, wants) = (key_of(current), size(current), wanted(&self.deployment));
        let to = if own > wants { wants } else { self.room_of_current(own) };
        self.resize(world, &key, to)
    }

    /// Old sets give way: first what does not run anyway, then as many as are spare.
    fn shrink(&mut self, world: &mut World) -> bool {
        if self.others.iter().map(size).sum::<i64>() == 0 {
            return false;
        }
        let least = wanted(&self.deployment) - missing_allowed(&self.deployment);
        let coming =
            self.current.as_ref().map_or(0, |current| size(current) - number(current, "status", "availableReplicas"));
        let most = self.sum("spec", "replicas") - least - coming;
        if most <= 0 {
            return false;
        }
        // Those counts are older than that size: once they are new, this is looked at again.
        let is_behind = |set: &Value| size(set) > 0 && number(set, "status", "availableReplicas") > size(set);
        if self.others.iter().any(is_behind) {
            return true;
        }
        let mut sizes: Vec<(String, i64, i64)> = self
            .others
            .iter()
            .map(|set| (key_of(set), size(set), number(set, "status", "availableReplicas")))
            .collect();
        let mut budget = most;
        for (_, size, available) in &mut sizes {
            let cut = (*size - *available).clamp(0, budget);
            *size -= cut;
            budget -= cut;
        }
        let mut spare = (self.sum("status", "availableReplicas") - least).max(0);
        for (_, size, _) in &mut sizes {
            let cut = (*size).min(spare);
            *size -= cut;
            spare -= cut;
        }
        let mut has_moved = false;
        for (key, size, _) in sizes {
            has_moved |= self.resize(world, &key, size);
        }
        has_moved
    }

    /// All old pods go before the first new one comes.
    fn recreate(&mut self, world: &mut World) -> bool {
        let old: Vec<String> = self.others.iter().filter(|set| size(set) > 0).map(key_of).collect();
        let mut has_moved = false;
        for key in old {
            has_moved |= self.resize(world, &key, 0);
        }
        if has_moved || self.has_old_pods(world) {
            if self.current.is_some() {
                self.ensure_current(world);
            }
            return true;
        }
        self.ensure_current(world);
        self.grow(world)
    }

    fn has_old_pods(&self, world: &World) -> bool {
        let Some(store) = world.store(&self.cluster) else { return false };
        self.others.iter().any(|set| {
            let mut pods = store.owned(text(&set["metadata"], "uid"), "pods");
            pods.any(|(_, pod)| !pod::is_over(pod))
        })
    }

    /// It is to have another size, or is paused: sets share what is more or less in proportion to their sizes.
    fn scale(&mut self, world: &mut World) {
        let wants = wanted(&self.deployment);
        let active: Vec<Value> = self.all().filter(|set| size(set) > 0).cloned().collect();
        let latest = self.current.as_ref().or(self.others.last());
        let only = match &*active {
            [] => latest.map(key_of),
            [only] => Some(key_of(only)),
            _ => None,
        };
        if let Some(key) = only {
            self.resize(world, &key, wants);
            return;
        }
        if active.is_empty() {
            return;
        }
        let is_saturated = self.current.as_ref().is_some_and(|set| {
            size(set) == wants
                && annotated(set, DESIRED) == Some(wants)
                && number(set, "status", "availableReplicas") == wants
        });
        if is_saturated {
            let old: Vec<String> = self.others.iter().filter(|set| size(set) > 0).map(key_of).collect();
            for key in old {
                self.resize(world, &key, 0);
            }
        } else if is_rolling(&self.deployment) {
            self.scale_in_proportion(world, active);
        }
    }

    fn scale_in_proportion(&mut self, world: &mut World, mut active: Vec<Value>) {
        let wants = wanted(&self.deployment);
        let allowed = if wants > 0 { wants + surge(&self.deployment) } else { 0 };
        let more = allowed - active.iter().map(size).sum::<i64>();
        let age = |set: &Value| text(&set["metadata"], "creationTimestamp").to_owned();
        // The largest first; of the same size the newer one where it grows, the older one where it shrinks.
        active.sort_by_key(age);
        if more > 0 {
            active.reverse();
        }
        active.sort_by_key(|set| std::cmp::Reverse(size(set)));
        let mut added = 0;
        let mut sizes: Vec<(String, i64)> = Vec::new();
        for set in &active {
            let part = self.fraction(set, more, added);
            added += part;
            sizes.push((key_of(set), size(set) + part));
        }
        if let Some((_, first)) = sizes.first_mut() {
            *first = (*first + more - added).max(0);
        }
        for (key, size) in sizes {
            self.resize(world, &key, size);
        }
    }

    /// The part of what is more (or less) that falls to one set.
    fn fraction(&self, set: &Value, more: i64, added: i64) -> i64 {
        let (own, wants) = (size(set), wanted(&self.deployment));
        if own == 0 || more == 0 || more == added {
            return 0;
        }
        let before = annotated(set, MAX).filter(|before| *before != 0);
        let before = before.unwrap_or_else(|| number(&self.deployment, "status", "replicas"));
        let fraction = if wants == 0 {
            -own
        } else if before == 0 {
            0
        } else {
            // Rounded to the nearest.
            (2 * own * (wants + surge(&self.deployment)) + before) / (2 * before) - own
        };
        if more > 0 { fraction.min(more - added) } else { fraction.max(more - added) }
    }

    /// Old sets beyond `revisionHistoryLimit` go.
    fn drop_history(&self, world: &mut World) {
        let Some(limit) = self.deployment["spec"]["revisionHistoryLimit"].as_u64() else { return };
        let mut old: Vec<&Value> = self.others.iter().collect();
        old.sort_by_key(|set| revision(set));
        let over = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for set in old.into_iter().take(over) {
            let is_settled = set["status"]["observedGeneration"].as_i64() >= set["metadata"]["generation"].as_i64();
            if size(set) == 0 && number(set, "status", "replicas") == 0 && is_settled {
                kube::delete(world, &self.cluster, REPLICA_SETS, &key_of(set));
            }
        }
    }

    fn updated(&self) -> i64 {
        self.current.as_ref().map_or(0, |set| number(set, "status", "replicas"))
    }

    fn is_complete(&self) -> bool {
        let wants = wanted(&self.deployment);
        self.updated() == wants
            && self.sum("status", "replicas") == wants
            && self.sum("status", "availableReplicas") == wants
    }

    fn status(&self) -> Value {
        let available = self.sum("status", "availableReplicas");
        let mut status = Map::new();
        status.insert("observedGeneration".to_owned(), self.deployment["metadata"]["generation"].clone());
        let counts = [
            ("replicas", self.sum("status", "replicas")),
            ("updatedReplicas", self.updated()),
            ("readyReplicas", self.sum("status", "readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (self.sum("spec", "replicas") - available).max(0)),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
            status.insert(name.to_owned(), json!(count));
        }
        if self.all().any(|set| set["status"]["terminatingReplicas"].is_i64()) {
            let ending = self.sum("status", "terminatingReplicas");
            status.insert("terminatingReplicas".to_owned(), json!(ending));
        }
        for kept in ["conditions", "collisionCount"] {
            if let Some(value) = self.deployment["status"].get(kept) {
                status.insert(kept.to_owned(), value.clone());
            }
        }
        Value::Object(status)
    }

    fn write_status(mut self, world: &mut World, rolls: bool) {
        let now = world.now_text();
        let (status, before) = (self.status(), self.deployment["status"].clone());
        let enough = number(&json!({ "status": status }), "status", "availableReplicas")
            >= wanted(&self.deployment) - missing_allowed(&self.deployment);
        let set = self.current.as_ref().map(|set| text(&set["metadata"], "name").to_owned());
        let of = match &set {
            Some(set) => format!("ReplicaSet \"{set}\""),
            None => format!("Deployment \"{}\"", text(&self.deployment["metadata"], "name")),
        };
        let is_complete = self.is_complete();
        let time = world.now;
        self.change(world, |object| {
            object["status"] = status;
            if enough {
                let is = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
                note(object, &now, ("Available", "True"), is);
            } else {
                let is = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
                note(object, &now, ("Available", "False"), is);
            }
            if rolls {
                note_progress(object, &before, &of, is_complete, (time, &now));
            }
        });
        self.await_deadline(world);
    }

    fn await_deadline(&self, world: &mut World) {
        let Some(progress) = progressing(&self.deployment) else { return };
        let is_over = matches!(
            text(progress, "reason"),
            "ProgressDeadlineExceeded" | "NewReplicaSetAvailable" | "DeploymentPaused"
        );
        if let Some(due) = deadline(&self.deployment).filter(|_| !is_over) {
            timer::look_at(world, &self.cluster, DEPLOYMENTS, &self.key, due);
        }
    }
}

/// A Deployment that has never looked takes ReplicaSets that fit and belong to nobody, as after a deletion that
/// orphaned them.
fn adopt(world: &mut World, cluster: &str, key: &str) {
    let Some(store) = world.store(cluster) else { return };
    let Some(deployment) = store.get(DEPLOYMENTS, key) else { return };
    if !deployment["status"]["observedGeneration"].is_null() {
        return;
    }
    let selector = deployment["spec"]["selector"].clone();
    let namespace = text(&deployment["metadata"], "namespace");
    let free = store.within(REPLICA_SETS, namespace).filter(|(_, set)| pod::may_adopt(&selector, set));
    let free: Vec<String> = free.map(|(key, _)| key.clone()).collect();
    let owner = pod::owned_by(deployment);
    let Some(store) = world.store_mut(cluster) else { return };
    for key in free {
        store.change(REPLICA_SETS, &key, |set| pod::adopt(set, &owner));
    }
}

/// Hands the Deployment's annotations and the next revision on to its current set.
fn annotate(set: &mut Value, deployment: &Value, next: i64) {
    for (key, value) in deployment["metadata"]["annotations"].as_object().into_iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) {
            set["metadata"]["annotations"][key] = value.clone();
        }
    }
    let Some(before) = annotated(set, REVISION) else { return number_it(set, next) };
    if before >= next {
        return;
    }
    // What was rolled back to keeps the numbers that it had.
    let history = text(&set["metadata"]["annotations"], REVISION_HISTORY);
    let history = if history.is_empty() { before.to_string() } else { format!("{history},{before}") };
    set["metadata"]["annotations"][REVISION_HISTORY] = json!(history);
    number_it(set, next);
}

fn number_it(object: &mut Value, revision: i64) {
    object["metadata"]["annotations"][REVISION] = json!(revision.to_string());
}

fn annotate_sizes(set: &mut Value, deployment: &Value) {
    let wants = wanted(deployment);
    set["metadata"]["annotations"][DESIRED] = json!(wants.to_string());
    set["metadata"]["annotations"][MAX] = json!((wants + surge(deployment)).to_string());
}

/// Writes a condition unless its status and reason are there already.
fn note(object: &mut Value, now: &str, (name, status): (&str, &str), (reason, message): (&str, &str)) {
    let conditions = list(&object["status"]["conditions"]);
    let known = conditions.iter().find(|one| one["type"] == name);
    if known.is_some_and(|one| one["status"] == status && one["reason"] == reason) {
        return;
    }
    let since = known.filter(|one| one["status"] == status).map(|one| one["lastTransitionTime"].clone());
    let condition = json!({ "type": name, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": since.unwrap_or_else(|| json!(now)) });
    set_last(object, condition);
}

/// What a real controller writes last stands last.
fn set_last(object: &mut Value, condition: Value) {
    let mut conditions = list(&object["status"]["conditions"]).to_vec();
    conditions.retain(|one| one["type"] != condition["type"]);
    conditions.push(condition);
    object["status"]["conditions"] = json!(conditions);
}

fn progressing(object: &Value) -> Option<&Value> {
    list(&object["status"]["conditions"]).iter().find(|one| one["type"] == "Progressing")
}

/// When it has had time enough for its next step.
fn deadline(deployment: &Value) -> Option<Timestamp> {
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_i64()?;
    let since = timer::time(progressing(deployment)?, "lastUpdateTime")?;
    Some(timer::after(since, seconds))
}

fn note_progress(object: &mut Value, before: &Value, of: &str, is_complete: bool, (time, now): (Timestamp, &str)) {
    if object["spec"]["progressDeadlineSeconds"].is_null() {
        if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
            conditions.retain(|one| one["type"] != "Progressing");
        }
        return;
    }
    let count = |status: &Value, name: &str| status[name].as_i64().unwrap_or(0);
    let after = object["status"].clone();
    let reason = progressing(object).map(|one| text(one, "reason").to_owned());
    let reason = reason.as_deref();
    if count(&after, "replicas") == count(&after, "updatedReplicas") && reason == Some("NewReplicaSetAvailable") {
        return;
    }
    let old = |status: &Value| count(status, "replicas") - count(status, "updatedReplicas");
    let more = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    let has_moved = more.iter().any(|name| count(&after, name) > count(before, name)) || old(&after) < old(before);
    if is_complete {
        let message = format!("{of} has successfully progressed.");
        note(object, now, ("Progressing", "True"), ("NewReplicaSetAvailable", &message));
    } else if has_moved {
        let message = format!("{of} is progressing.");
        note(object, now, ("Progressing", "True"), ("ReplicaSetUpdated", &message));
        touch_progress(object, now, &message);
    } else if reason.is_some_and(|reason| !matches!(reason, "NewReplicaSetAvailable" | "ProgressDeadlineExceeded"))
        && deadline(object).is_some_and(|due| due <= time)
    {
        let message = format!("{of} has timed out progressing.");
        note(object, now, ("Progressing", "False"), ("ProgressDeadlineExceeded", &message));
    }
}

/// A step further counts from now, also where the reason stays.
fn touch_progress(object: &mut Value, now: &str, message: &str) {
    let Some(mut progress) = progressing(object).cloned() else { return };
    progress["lastUpdateTime"] = json!(now);
    progress["message"] = json!(message);
    set_last(object, progress);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_that_changed_last_stands_last() {
        let mut object = json!({});
        let told = [("Progressing", "Begun"), ("Available", "Yes"), ("Progressing", "Done"), ("Available", "Yes")];
        for (name, reason) in told {
            note(&mut object, "2026-01-01T00:00:00Z", (name, "True"), (reason, ""));
        }
        let order: Vec<&Value> = list(&object["status"]["conditions"]).iter().map(|one| &one["type"]).collect();
        assert_eq!(order, ["Available", "Progressing"]);
    }
}
