//! DaemonSets: a pod on every node that fits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{self, share};
use super::revision::{self, HASH};
use super::selection::{list, made_for, text, untolerated, wants_node};
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::store::key_of;
use crate::twin::world::World;

const DAEMON_SETS: &str = "daemonsets.apps";
const WHO: &str = "daemonset-controller";

/// Lets every DaemonSet come one step nearer to what it says.
pub fn run(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let changes = world.changes();
        let changed = changes.of(&cluster);
        let concerned = changed.concerned(store.index(), DAEMON_SETS);
        let has_news = |key: &String| !changed.keys("nodes").is_empty() || concerned.contains(key);
        let sets = store.list(DAEMON_SETS).iter().filter(|(key, _)| has_news(key));
        let sets: Vec<Value> = sets.map(|(_, set)| set.clone()).collect();
        let respects_taints = !world.is_off("scheduler respects taints");
        for set in sets.into_iter().filter(|set| !pod::is_ending(set)) {
            let Some(revision) = revision::ensure(world, &cluster, &set) else { continue };
            let plan = Plan::of(world, &cluster, &set, revision.hash, respects_taints);
            plan.act(world, &cluster, &set);
        }
    }
}

/// What is to be done for one DaemonSet, and how it stands.
#[derive(Default)]
struct Plan {
    revision: String,
    create: Vec<String>,
    delete: Vec<String>,
    status: Value,
    /// Revisions that pods have.
    used: BTreeSet<String>,
    /// When a pod that is ready will have been so for long enough.
    next: Option<Timestamp>,
}

/// What a pod of this set would be like, to be held against nodes.
fn sample(set: &Value) -> Value {
    let mut spec = set["spec"]["template"]["spec"].clone();
    tolerate(&mut spec);
    json!({ "spec": spec })
}

impl Plan {
    fn of(world: &World, cluster: &str, set: &Value, revision: String, taints: bool) -> Plan {
        let Some(store) = world.store(cluster) else { return Plan::default() };
        let sample = sample(set);
        let fits = |node: &Value| wants_node(&sample, node) && !(taints && untolerated(&sample, node).is_some());
        let nodes: BTreeMap<&str, bool> = store
            .list("nodes")
            .iter()
            .filter(|(_, node)| !pod::is_ending(node))
            .map(|(name, node)| (name.as_str(), fits(node)))
            .collect();
        let mut on: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (_, pod) in store.owned(text(&set["metadata"], "uid"), "pods") {
            let node = pod["spec"]["nodeName"].as_str().or_else(|| made_for(pod));
            on.entry(node.unwrap_or_default()).or_default().push(pod);
        }
        let pods = on.values().flatten();
        let used = pods.map(|pod| text(&pod["metadata"]["labels"], HASH).to_owned()).collect();
        let mut plan = Plan { revision, used, ..Plan::default() };
        plan.place(&nodes, &on);
        plan.replace(set, &nodes, &on);
        plan.count(set, &nodes, &on, world.now);
        plan
    }

    /// Every fitting node gets a pod once its last one is gone; others lose theirs.
    fn place(&mut self, nodes: &BTreeMap<&str, bool>, on: &BTreeMap<&str, Vec<&Value>>) {
        let lacking = nodes.iter().filter(|(name, fits)| **fits && !on.contains_key(*name));
        self.create.extend(lacking.map(|(name, _)| (*name).to_owned()));
        for (node, pods) in on {
            let fits = nodes.get(node).copied().unwrap_or(false);
            let living = pods.iter().filter(|pod| !pod::is_ending(pod));
            // A second one on the same node goes, too, and one that failed.
            let extra = living.enumerate().filter(|(number, pod)| !fits || *number > 0 || pod::is_over(pod));
            self.delete.extend(extra.map(|(_, pod)| key_of(pod)));
        }
    }

    /// Pods of an older template go, as many at once as may be unavailable.
    fn replace(&mut self, set: &Value, nodes: &BTreeMap<&str, bool>, on: &BTreeMap<&str, Vec<&Value>>) {
        let strategy = &set["spec"]["updateStrategy"];
        if text(strategy, "type") == "OnDelete" {
            return;
        }
        let wanted: Vec<&str> = nodes.iter().filter(|(_, fits)| **fits).map(|(name, _)| *name).collect();
        let total = i64::try_from(wanted.len()).unwrap_or(0);
        let at_once = share(&strategy["rollingUpdate"]["maxUnavailable"], total, "1", true).max(1);
        let pod_on = |name: &&str| on.get(name).and_then(|pods| pods.iter().find(|pod| !pod::is_ending(pod)).copied());
        let unready = wanted.iter().filter(|name| !pod_on(name).is_some_and(pod::is_ready)).count();
        let mut budget = at_once - i64::try_from(unready).unwrap_or(0);
        for old in wanted.iter().filter_map(pod_on).filter(|pod| pod["metadata"]["labels"][HASH] != self.revision) {
            // One that does not serve anyway costs nothing.
            let costs = pod::is_ready(old);
            if costs && budget <= 0 {
                continue;
            }
            budget -= i64::from(costs);
            self.delete.push(key_of(old));
        }
        self.delete.sort();
        self.delete.dedup();
    }

    fn count(&mut self, set: &Value, nodes: &BTreeMap<&str, bool>, on: &BTreeMap<&str, Vec<&Value>>, now: Timestamp) {
        let seconds = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let (mut wanted, mut current, mut ready, mut available, mut updated, mut misplaced) = (0, 0, 0, 0, 0, 0);
        for (name, fits) in nodes {
            let pod = on.get(name).and_then(|pods| pods.iter().find(|pod| !pod::is_ending(pod)));
            if !fits {
                misplaced += i64::from(pod.is_some());
                continue;
            }
            wanted += 1;
            let Some(pod) = pod else { continue };
            current += 1;
            ready += i64::from(pod::is_ready(pod));
            match pod::available_at(pod, seconds) {
                Some(since) if since <= now => available += 1,
                Some(since) => self.next = Some(self.next.map_or(since, |next| next.min(since))),
                None => {}
            }
            updated += i64::from(pod["metadata"]["labels"][HASH] == self.revision);
        }
        self.status = json!({
            "currentNumberScheduled": current,
            "desiredNumberScheduled": wanted,
            "numberMisscheduled": misplaced,
            "numberReady": ready,
            "observedGeneration": set["metadata"]["generation"],
        });
        let others = [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", wanted - available),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            self.status[name] = json!(count);
        }
        if let Some(conditions) = set["status"].get("conditions") {
            self.status["conditions"] = conditions.clone();
        }
    }

    fn act(self, world: &mut World, cluster: &str, set: &Value) {
        for node in &self.create {
            make_for(world, cluster, set, node, &self.revision);
        }
        for key in &self.delete {
            kube::delete(world, cluster, "pods", key);
            let name = key.rsplit('/').next().unwrap_or(key);
            event::normal(world, cluster, set, "SuccessfulDelete", &format!("Deleted pod: {name}"), WHO);
        }
        let mut used: Vec<&str> = self.used.iter().map(String::as_str).collect();
        used.push(&self.revision);
        revision::forget(world, cluster, set, &used);
        if let Some(next) = self.next {
            timer::look_at(world, cluster, DAEMON_SETS, &key_of(set), next);
        }
        if set["status"] != self.status
            && let Some(store) = world.store_mut(cluster)
        {
            store.change(DAEMON_SETS, &key_of(set), |set| set["status"] = self.status);
        }
    }
}

fn make_for(world: &mut World, cluster: &str, set: &Value, node: &str, revision: &str) {
    let mut owner = set.clone();
    let spec = &mut owner["spec"]["template"]["spec"];
    tolerate(spec);
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
    let required = &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    // The node's name takes the place of the terms: which node fits was decided here already.
    *required = json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
    let generation = set["metadata"]["generation"].as_i64().unwrap_or(1).to_string();
    let added = [(HASH, revision), ("pod-template-generation", generation.as_str())];
    if let Some(name) = pod::make(world, cluster, &owner, &added, None) {
        event::normal(world, cluster, set, "SuccessfulCreate", &format!("Created pod: {name}"), WHO);
    }
}

/// What pods of DaemonSets tolerate besides what they say.
fn tolerate(spec: &mut Value) {
    let usual = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    let mut all = list(&spec["tolerations"]).to_vec();
    let mut add = |name: &str, effect: &str| {
        let one = json!({ "key": format!("node.kubernetes.io/{name}"), "operator": "Exists", "effect": effect });
        if !all.contains(&one) {
            all.push(one);
        }
    };
    for (name, effect) in usual {
        add(name, effect);
    }
    if spec["hostNetwork"] == true {
        add("network-unavailable", "NoSchedule");
    }
    spec["tolerations"] = Value::Array(all);
}
