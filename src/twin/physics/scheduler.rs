//! The scheduler: gives pods to nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::selection::{list, made_for, text, thousandths, untolerated, wants_node};
use super::{Controller, event, pod, volume};
use crate::twin::Arrival;
use crate::twin::kube::store::Store;
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[Controller { name: "pods are scheduled", watches: WATCHED, run: schedule }];

const WATCHED: &[&str] = &["kube/nodes", "kube/persistentvolumeclaims", "kube/persistentvolumes", "kube/pods"];

fn schedule(world: &mut World) {
    for cluster in world.clusters() {
        schedule_in(world, &cluster);
    }
}

/// What a node has left.
struct Room {
    pods: i128,
    cpu: i128,
    memory: i128,
}

fn schedule_in(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let unplaced = store.index().unplaced();
    if unplaced.is_empty() {
        return;
    }
    let changes = world.changes();
    let changed = changes.of(cluster);
    // A pod that found no room looks again only when there may be some.
    let has_new_volumes = !changed.keys("persistentvolumeclaims").is_empty();
    let is_open = changed.has_new_room() || has_new_volumes;
    let may_fit = |key: &&String| is_open || changed.keys("pods").contains(*key);
    let waiting: Vec<String> = unplaced.iter().filter(may_fit).cloned().collect();
    let respects_taints = !world.is_off("scheduler respects taints");
    let now = world.now_text();
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    for key in waiting {
        let Some(store) = world.store(cluster) else { return };
        let Some(found) = store.get("pods", &key).filter(|pod| is_waiting(pod)) else { continue };
        // In one round room only shrinks: what did not fit for one does not fit for its like.
        let like = likeness(found);
        let known = like.as_ref().and_then(|like| refused.get(like)).cloned();
        let verdict = known.map_or_else(|| place(found, store, respects_taints), Err);
        if let (Some(like), Err(why)) = (like, &verdict) {
            refused.insert(like, why.clone());
        }
        if let Ok(node) = &verdict
            && must_wait_for_volumes(world, cluster, &key, node)
        {
            continue;
        }
        settle_one(world, cluster, &key, verdict, &now);
    }
}

/// Writes down what became of a pod, and tells it.
fn settle_one(world: &mut World, cluster: &str, key: &str, verdict: Result<String, String>, now: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    let before = store.revision();
    store.change("pods", key, |pod| note(pod, verdict.clone(), now));
    let is_news = store.revision() != before;
    let Some(pod) = store.get("pods", key).cloned().filter(|_| is_news) else { return };
    match verdict {
        Ok(node) => {
            let message = format!("Successfully assigned {key} to {node}");
            event::normal(world, cluster, &pod, "Scheduled", &message, "default-scheduler");
        }
        Err(why) => event::warning(world, cluster, &pod, "FailedScheduling", &why, "default-scheduler"),
    }
}

/// Whether a pod waits for volumes that are only now made, for this node.
fn must_wait_for_volumes(world: &mut World, cluster: &str, key: &str, node: &str) -> bool {
    let Some(store) = world.store_mut(cluster) else { return false };
    let claims = store.get("pods", key).map(volume::claims_of).unwrap_or_default();
    let open = |claim: &&String| store.get(CLAIMS, claim).is_some_and(|claim| !volume::is_bound(claim));
    let open: Vec<String> = claims.iter().filter(open).cloned().collect();
    for claim in &open {
        store.change(CLAIMS, claim, |claim| {
            let annotations = &mut claim["metadata"]["annotations"];
            if annotations[volume::SELECTED_NODE].is_null() {
                annotations[volume::SELECTED_NODE] = json!(node);
            }
        });
    }
    !open.is_empty()
}

const CLAIMS: &str = "persistentvolumeclaims";

/// What is wrong with the claims of a pod, before any node is looked at.
fn claim_problem(store: &Store, pod: &Value) -> Option<String> {
    let claims = volume::claims_of(pod);
    let named = |key: &String| key.rsplit('/').next().unwrap_or(key).to_owned();
    if let Some(missing) = claims.iter().find(|key| store.get(CLAIMS, key).is_none()) {
        return Some(format!("persistentvolumeclaim \"{}\" not found", named(missing)));
    }
    let found = || claims.iter().filter_map(|key| Some((key, store.get(CLAIMS, key)?)));
    if let Some((key, _)) = found().find(|(_, claim)| pod::is_ending(claim)) {
        return Some(format!("persistentvolumeclaim \"{}\" is being deleted", named(key)));
    }
    let is_stuck = |claim: &Value| !volume::is_bound(claim) && !volume::waits_for_consumer(store, claim);
    let is_stuck = found().any(|(_, claim)| is_stuck(claim));
    is_stuck.then(|| "pod has unbound immediate PersistentVolumeClaims".to_owned())
}

/// What pods have in common that fit on the same nodes; none: this one is like no other.
fn likeness(pod: &Value) -> Option<String> {
    if made_for(pod).is_some() || !volume::claims_of(pod).is_empty() {
        return None;
    }
    let owner = pod::controller_of(pod)?;
    Some(format!("{owner} {}", pod["metadata"]["labels"]["controller-revision-hash"]))
}

fn is_waiting(pod: &Value) -> bool {
    pod["spec"]["nodeName"].is_null()
        && !pod::is_ending(pod)
        && !pod::is_over(pod)
        && list(&pod["spec"]["schedulingGates"]).is_empty()
        && matches!(text(&pod["spec"], "schedulerName"), "" | "default-scheduler")
}

fn note(pod: &mut Value, verdict: Result<String, String>, now: &str) {
    if pod["status"]["phase"].is_null() {
        pod["status"]["phase"] = json!("Pending");
    }
    match verdict {
        Ok(node) => {
            pod["spec"]["nodeName"] = json!(node);
            pod::set_condition(pod, now, json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null }));
        }
        Err(message) => {
            let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message, "lastProbeTime": null });
            pod::set_condition(pod, now, condition);
        }
    }
}

impl Room {
    fn of(store: &Store, node: &Value) -> Room {
        let has = |what: &str| thousandths(&node["status"]["allocatable"][what]);
        let (pods, cpu, memory) = (has("pods") / 1000, has("cpu"), has("memory"));
        match store.index().load(text(&node["metadata"], "name")) {
            None => Room { pods, cpu, memory },
            Some(load) => {
                let taken = i128::try_from(load.taken).unwrap_or(i128::MAX);
                Room { pods: pods - taken, cpu: cpu - load.cpu, memory: memory - load.memory }
            }
        }
    }

    /// Why a pod does not fit in, and whether it would if others went.
    fn lacks(&self, pod: &Value, node: &Value) -> (Vec<String>, bool) {
        let (mut lacks, mut may_help) = (Vec::new(), true);
        if self.pods < 1 {
            lacks.push("Too many pods".to_owned());
        }
        for (what, left) in [("cpu", self.cpu), ("memory", self.memory)] {
            let asked = requested(pod, what);
            if asked > 0 && asked > left {
                lacks.push(format!("Insufficient {what}"));
                may_help &= asked <= thousandths(&node["status"]["allocatable"][what]);
            }
        }
        (lacks, may_help)
    }
}

/// What a pod requests, in thousandths: all its containers together, or its greatest init container if that is more.
pub fn requested(pod: &Value, what: &str) -> i128 {
    let asked = |container: &Value| {
        let resources = &container["resources"];
        let request = &resources["requests"][what];
        thousandths(if request.is_null() { &resources["limits"][what] } else { request })
    };
    let together: i128 = list(&pod["spec"]["containers"]).iter().map(asked).sum();
    let before = list(&pod["spec"]["initContainers"]).iter().map(asked).max().unwrap_or(0);
    together.max(before)
}

/// The node for a pod, of those that fit the one with the fewest pods; or the scheduler's words about why there is none.
fn place(pod: &Value, store: &Store, taints: bool) -> Result<String, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut count, mut without_help) = (0, 0);
    let problem = claim_problem(store, pod);
    let only = made_for(pod);
    // A pod of a DaemonSet is made for one node: the others matter only for the words of a refusal.
    let its_own = only.and_then(|only| store.get("nodes", only)).filter(|node| !pod::is_ending(node));
    if let Some(node) = its_own.filter(|node| problem.is_none() && against(store, pod, node, taints).0.is_empty()) {
        return Ok(text(&node["metadata"], "name").to_owned());
    }
    let nodes = store.index().nodes_by_load().filter_map(|name| store.get("nodes", name));
    for node in nodes.filter(|node| !pod::is_ending(node)) {
        count += 1;
        if problem.is_some() {
            continue;
        }
        let name = text(&node["metadata"], "name");
        let (against, may_help) = match only.filter(|only| *only != name) {
            Some(_) => (vec![NO_MATCH.to_owned()], false),
            None => against(store, pod, node, taints),
        };
        if against.is_empty() {
            return Ok(name.to_owned());
        }
        without_help += usize::from(!may_help);
        for reason in against {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    match problem.filter(|_| count > 0) {
        Some(problem) => {
            let head = format!("0/{count} nodes are available:");
            // The real one looks for claims of devices that it has not read then, and says so.
            Err(format!("{head} {problem}. not found"))
        }
        None => Err(refusal(count, &reasons, without_help)),
    }
}

const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";

/// What speaks against a node, and whether it would help if other pods left it.
fn against(store: &Store, pod: &Value, node: &Value, taints: bool) -> (Vec<String>, bool) {
    if !wants_node(pod, node) {
        return (vec![NO_MATCH.to_owned()], false);
    }
    if let Some(taint) = untolerated(pod, node).filter(|_| taints) {
        return (vec![taint_words(&taint).to_owned()], false);
    }
    if !volume::reaches(store, pod, node) {
        return (vec!["node(s) had volume node affinity conflict".to_owned()], false);
    }
    Room::of(store, node).lacks(pod, node)
}

fn taint_words(taint: &Value) -> &'static str {
    match text(taint, "key") {
        "node.kubernetes.io/unschedulable" => "node(s) were unschedulable",
        _ => "node(s) had untolerated taint(s)",
    }
}

fn refusal(nodes: usize, reasons: &BTreeMap<String, usize>, without_help: usize) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    let mut preemption = Vec::new();
    if nodes > without_help {
        preemption.push(format!("{} No preemption victims found for incoming pod", nodes - without_help));
    }
    if without_help > 0 {
        preemption.push(format!("{without_help} Preemption is not helpful for scheduling"));
    }
    let head = format!("0/{nodes} nodes are available:");
    let devices = "no new claims to deallocate";
    format!("{head} {}. {devices}, preemption: {head} {}.", parts.join(", "), preemption.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(nodes: Vec<Value>) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        for node in nodes {
            world.store_mut("prod").unwrap().create("nodes", node);
        }
        world
    }

    fn node(name: &str, cpu: &str, taints: Value) -> Value {
        json!({ "metadata": { "name": name, "labels": {} }, "spec": { "taints": taints },
            "status": { "allocatable": { "cpu": cpu, "memory": "4Gi", "pods": "2" } } })
    }

    fn ask(world: &mut World, name: &str, cpu: &str) -> Value {
        let pod = json!({ "metadata": { "name": name, "namespace": "x" }, "status": { "phase": "Pending" },
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] } });
        world.store_mut("prod").unwrap().create("pods", pod);
        schedule(world);
        world.store("prod").unwrap().get("pods", &format!("x/{name}")).unwrap().clone()
    }

    #[test]
    fn pods_go_to_the_node_with_the_fewest_and_stop_where_none_has_room() {
        let mut world = world(vec![node("n1", "2", json!([])), node("n2", "2", json!([]))]);
        let placed: Vec<Value> =
            ["a", "b", "c", "d"].iter().map(|name| ask(&mut world, name, "100m")["spec"]["nodeName"].clone()).collect();
        assert_eq!(placed, ["n1", "n2", "n1", "n2"]);
        let late = ask(&mut world, "e", "100m");
        let condition = &late["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Unschedulable")));
        assert!(text(condition, "message").starts_with("0/2 nodes are available: 2 Too many pods."), "{condition}");
        let before = world.store("prod").unwrap().revision();
        schedule(&mut world);
        assert_eq!(world.store("prod").unwrap().revision(), before, "nothing is written twice");
    }

    #[test]
    fn the_message_counts_every_reason() {
        let taint = json!([{ "key": "gpu", "value": "a100", "effect": "NoSchedule" }]);
        let mut world = world(vec![node("n1", "1", json!([])), node("n2", "4", json!([])), node("n3", "64", taint)]);
        ask(&mut world, "there", "500m");
        ask(&mut world, "there too", "500m");
        let pod = ask(&mut world, "big", "4");
        let wanted = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. \
                      no new claims to deallocate, preemption: 0/3 nodes are available: \
                      1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.";
        assert_eq!(pod["status"]["conditions"][0]["message"], wanted);
        world.switch_off("scheduler respects taints");
        schedule(&mut world);
        assert_eq!(world.store("prod").unwrap().get("pods", "x/big").unwrap()["spec"]["nodeName"], "n3");
    }

    #[test]
    fn without_nodes_the_scheduler_says_so() {
        let mut world = world(Vec::new());
        let pod = ask(&mut world, "a", "1");
        assert_eq!(pod["status"]["conditions"][0]["message"], "no nodes available to schedule pods");
    }
}
