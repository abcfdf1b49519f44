//! DaemonSets: a pod on every node that fits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{self, share};
use super::revision::{self, HASH};
use super::selection::{list, made_for, text, tolerates, untolerated, wants_node};
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
            let Some(revision) = revision::ensure(world, &cluster, &set, HASH) else { continue };
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
    /// Pods that have ended, which no pod of a DaemonSet should.
    ended: Vec<Value>,
    status: Value,
    /// Revisions that pods have.
    used: BTreeSet<String>,
    /// When a pod that is ready will have been so for long enough.
    next: Option<Timestamp>,
}

/// A node, as a DaemonSet looks at it.
#[derive(Default)]
struct Host<'a> {
    /// Whether a pod should come.
    wants: bool,
    /// Whether one that is there may stay.
    keeps: bool,
    /// The oldest first.
    pods: Vec<&'a Value>,
}

impl<'a> Host<'a> {
    fn of(node: &Value, sample: &Value, respects_taints: bool) -> Host<'a> {
        let fits = wants_node(sample, node);
        let tolerates_all = !respects_taints || untolerated(sample, node).is_none();
        let drives = |taint: &Value| {
            let mut tolerations = list(&sample["spec"]["tolerations"]).iter();
            taint["effect"] == "NoExecute" && !tolerations.any(|one| tolerates(one, taint))
        };
        let is_driven = respects_taints && list(&node["spec"]["taints"]).iter().any(drives);
        Host { wants: fits && tolerates_all, keeps: fits && !is_driven, pods: Vec::new() }
    }

    /// Pods that nobody has asked to go.
    fn living(&self) -> impl Iterator<Item = &'a Value> {
        self.pods.iter().copied().filter(|pod| !pod::is_ending(pod))
    }

    /// The pod of the template of now and the one of an older template; none where there are two of a kind.
    fn pair(&self, revision: &str) -> Option<(Option<&'a Value>, Option<&'a Value>)> {
        let (new, old): (Vec<_>, Vec<_>) = self.living().partition(|pod| is_new(pod, revision));
        (new.len() < 2 && old.len() < 2).then(|| (new.first().copied(), old.first().copied()))
    }
}

/// Whether a pod has the template of now.
fn is_new(pod: &Value, revision: &str) -> bool {
    pod["metadata"]["labels"][HASH] == revision
}

/// What a pod of this set would be like, to be held against nodes.
fn sample(set: &Value) -> Value {
    let mut spec = set["spec"]["template"]["spec"].clone();
    tolerate(&mut spec);
    json!({ "spec": spec })
}

fn surge(set: &Value, nodes: i64) -> i64 {
    let strategy = &set["spec"]["updateStrategy"];
    if text(strategy, "type") == "OnDelete" {
        0
    } else {
        share(&strategy["rollingUpdate"]["maxSurge"], nodes, "0", true)
    }
}

impl Plan {
    fn of(world: &World, cluster: &str, set: &Value, revision: String, respects_taints: bool) -> Plan {
        let Some(store) = world.store(cluster) else { return Plan::default() };
        let sample = sample(set);
        let nodes = store.list("nodes").iter().filter(|(_, node)| !pod::is_ending(node));
        let mut hosts: BTreeMap<&str, Host> =
            nodes.map(|(name, node)| (name.as_str(), Host::of(node, &sample, respects_taints))).collect();
        for (_, pod) in store.owned(text(&set["metadata"], "uid"), "pods") {
            if pod::is_ending(pod) && pod::is_over(pod) {
                continue;
            }
            let node = pod["spec"]["nodeName"].as_str().or_else(|| made_for(pod));
            hosts.entry(node.unwrap_or_default()).or_default().pods.push(pod);
        }
        for host in hosts.values_mut() {
            host.pods.sort_by_key(|pod| {
                (pod["spec"]["nodeName"].is_null(), text(&pod["metadata"], "creationTimestamp"), key_of(pod))
            });
        }
        let pods = hosts.values().flat_map(|host| &host.pods);
        let used = pods.map(|pod| text(&pod["metadata"]["labels"], HASH).to_owned()).collect();
        let mut plan = Plan { revision, used, ..Plan::default() };
        for (name, host) in &hosts {
            plan.place(set, name, host, world.now);
        }
        // Old pods are looked at once all nodes have what they should.
        if plan.create.is_empty()
            && plan.delete.is_empty()
            && text(&set["spec"]["updateStrategy"], "type") != "OnDelete"
        {
            plan.replace(set, &hosts, world.now);
        }
        plan.count(set, &hosts, world.now);
        plan
    }

    fn remove(&mut self, pod: &Value) {
        self.delete.push(key_of(pod));
    }

    /// A node that should gets a pod once its last one is gone; what is too much goes.
    fn place(&mut self, set: &Value, name: &str, host: &Host, now: Timestamp) {
        if host.wants && host.pods.is_empty() {
            return self.create.push(name.to_owned());
        }
        if !host.keeps {
            host.living().for_each(|pod| self.remove(pod));
            return;
        }
        let (over, running): (Vec<&Value>, Vec<&Value>) = host.living().partition(|pod| pod::is_over(pod));
        for pod in over {
            self.remove(pod);
            self.ended.push(pod.clone());
        }
        if surge(set, 1) == 0 {
            running.into_iter().skip(1).for_each(|pod| self.remove(pod));
            return;
        }
        if running.is_empty() && host.wants {
            return self.create.push(name.to_owned());
        }
        // Two may be there while the new one is not available and the old one serves.
        let (new, old): (Vec<&Value>, Vec<&Value>) = running.into_iter().partition(|pod| is_new(pod, &self.revision));
        new.iter().skip(1).chain(old.iter().skip(1)).for_each(|pod| self.remove(pod));
        if let Some((new, old)) = new.first().zip(old.first())
            && (!pod::is_ready(old) || is_available(set, new, now))
        {
            self.remove(old);
        }
    }

    /// Pods of an older template give way: before new ones come, as many as may be unavailable, or after, as many as
    /// there may be beyond.
    fn replace(&mut self, set: &Value, hosts: &BTreeMap<&str, Host>, now: Timestamp) {
        let wanted = i64::try_from(hosts.values().filter(|host| host.wants).count()).unwrap_or(0);
        let rolling = &set["spec"]["updateStrategy"]["rollingUpdate"];
        let (beyond, missing) = (surge(set, wanted), share(&rolling["maxUnavailable"], wanted, "1", true));
        if beyond > 0 {
            self.surge(set, hosts, (beyond, wanted), now);
        } else {
            // Both zero would never move.
            self.make_room(set, hosts, missing.max(1), now);
        }
    }

    fn make_room(&mut self, set: &Value, hosts: &BTreeMap<&str, Host>, missing: i64, now: Timestamp) {
        let (mut unavailable, mut candidates) = (0, Vec::new());
        for host in hosts.values().filter(|host| host.wants || !host.pods.is_empty()) {
            match host.pair(&self.revision) {
                Some((None, Some(old))) if is_available(set, old, now) => candidates.push(old),
                Some((None, Some(old))) => {
                    // One that does not serve anyway costs nothing.
                    unavailable += 1;
                    self.remove(old);
                }
                Some((Some(new), None)) => unavailable += i64::from(!is_available(set, new, now)),
                _ => unavailable += 1,
            }
        }
        let room = usize::try_from(missing - unavailable).unwrap_or(0);
        candidates.into_iter().take(room).for_each(|old| self.remove(old));
    }

    fn surge(&mut self, set: &Value, hosts: &BTreeMap<&str, Host>, (beyond, wanted): (i64, i64), now: Timestamp) {
        let (mut surged, mut available) = (0, 0);
        let (mut candidates, mut unwanted) = (Vec::new(), Vec::new());
        for (name, host) in hosts.iter().filter(|(_, host)| host.wants || !host.pods.is_empty()) {
            let Some((new, old)) = host.pair(&self.revision) else {
                surged += 1;
                continue;
            };
            let serves = old.or(new).is_some_and(|pod| is_available(set, pod, now));
            available += i64::from(serves);
            match (new, old) {
                (_, None) => {}
                (None, Some(old)) if !host.wants && serves => unwanted.push(old),
                (None, Some(old)) if !host.wants => self.remove(old),
                (None, Some(_)) if serves => candidates.push((*name).to_owned()),
                (None, Some(_)) => self.create.push((*name).to_owned()),
                (Some(new), Some(_)) if !is_available(set, new, now) => surged += 1,
                (Some(_), Some(old)) => self.remove(old),
            }
        }
        let spare = usize::try_from(available - wanted).unwrap_or(0);
        unwanted.into_iter().take(spare).for_each(|pod| self.remove(pod));
        let room = usize::try_from(beyond - surged).unwrap_or(0);
        self.create.extend(candidates.into_iter().take(room));
    }

    fn count(&mut self, set: &Value, hosts: &BTreeMap<&str, Host>, now: Timestamp) {
        let (mut wanted, mut current, mut ready, mut available, mut updated, mut misplaced) = (0, 0, 0, 0, 0, 0);
        for host in hosts.values() {
            let oldest = host.pods.first();
            if !host.wants {
                misplaced += i64::from(oldest.is_some());
                continue;
            }
            wanted += 1;
            let Some(pod) = oldest else { continue };
            current += 1;
            // One that ends serves until it has ended.
            if pod::has_condition(pod, "Ready") {
                ready += 1;
                let since = pod::serves_at(pod, seconds(set));
                match since.filter(|since| *since > now) {
                    Some(since) => self.next = Some(self.next.map_or(since, |next| next.min(since))),
                    None => available += 1,
                }
            }
            updated += i64::from(is_new(pod, &self.revision));
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
        for kept in ["conditions", "collisionCount"] {
            if let Some(value) = set["status"].get(kept) {
                self.status[kept] = value.clone();
            }
        }
    }

    fn act(self, world: &mut World, cluster: &str, set: &Value) {
        for node in &self.create {
            make_for(world, cluster, set, node, &self.revision);
        }
        for pod in &self.ended {
            let (metadata, node) = (&pod["metadata"], text(&pod["spec"], "nodeName"));
            let name = format!("{}/{}", text(metadata, "namespace"), text(metadata, "name"));
            if text(&pod["status"], "phase") == "Failed" {
                let message = format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                event::warning(world, cluster, set, "FailedDaemonPod", &message, WHO);
            } else {
                let message = format!("Found succeeded daemon pod {name} on node {node}, will try to delete it");
                event::normal(world, cluster, set, "SucceededDaemonPod", &message, WHO);
            }
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

fn seconds(set: &Value) -> i64 {
    set["spec"]["minReadySeconds"].as_i64().unwrap_or(0)
}

fn is_available(set: &Value, pod: &Value, now: Timestamp) -> bool {
    pod::available_at(pod, seconds(set)).is_some_and(|since| since <= now)
}

fn make_for(world: &mut World, cluster: &str, set: &Value, node: &str, revision: &str) {
    let mut owner = set.clone();
    let spec = &mut owner["spec"]["template"]["spec"];
    tolerate(spec);
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
    let required = &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    // The node's name takes the place of the terms: which node fits was decided here already.
    *required = json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
    let counted = set["metadata"]["annotations"]["deprecated.daemonset.template.generation"].as_str();
    let added = [(HASH, revision), ("pod-template-generation", counted.unwrap_or("1"))];
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
