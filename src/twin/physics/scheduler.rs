//! The scheduler: gives pods to nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::selection::{list, made_for, text, thousandths, untolerated, wants_node};
use super::{Controller, pod};
use crate::twin::Arrival;
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] =
    &[Controller { name: "pods are scheduled", watches: &["kube/pods", "kube/nodes"], run: schedule }];

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
    taken: usize,
}

fn schedule_in(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let pods = store.list("pods");
    let waiting: Vec<String> = pods.iter().filter(|(_, pod)| is_waiting(pod)).map(|(key, _)| key.clone()).collect();
    if waiting.is_empty() {
        return;
    }
    let nodes: Vec<Value> = store.list("nodes").values().filter(|node| !pod::is_ending(node)).cloned().collect();
    let mut rooms = rooms(&nodes, pods.values());
    let respects_taints = !world.is_off("scheduler respects taints");
    let now = world.now_text();
    for key in waiting {
        let Some(found) = world.store(cluster).and_then(|store| store.get("pods", &key)).cloned() else { continue };
        let verdict = place(&found, &nodes, &rooms, respects_taints);
        if let Ok(node) = &verdict
            && let Some(room) = rooms.get_mut(node)
        {
            room.take(&found);
        }
        let Some(store) = world.store_mut(cluster) else { return };
        store.change("pods", &key, |pod| note(pod, verdict, &now));
    }
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

fn rooms<'a>(nodes: &[Value], pods: impl Iterator<Item = &'a Value>) -> BTreeMap<String, Room> {
    let mut rooms = BTreeMap::new();
    for node in nodes {
        let has = |what: &str| thousandths(&node["status"]["allocatable"][what]);
        let room = Room { pods: has("pods") / 1000, cpu: has("cpu"), memory: has("memory"), taken: 0 };
        rooms.insert(text(&node["metadata"], "name").to_owned(), room);
    }
    for pod in pods.filter(|pod| !pod::is_over(pod)) {
        if let Some(room) = pod["spec"]["nodeName"].as_str().and_then(|node| rooms.get_mut(node)) {
            room.take(pod);
        }
    }
    rooms
}

impl Room {
    fn take(&mut self, pod: &Value) {
        self.pods -= 1;
        self.cpu -= requested(pod, "cpu");
        self.memory -= requested(pod, "memory");
        self.taken += 1;
    }

    /// Why a pod does not fit in.
    fn lacks(&self, pod: &Value) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        if self.pods < 1 {
            lacks.push("Too many pods");
        }
        for (what, left) in [("cpu", self.cpu), ("memory", self.memory)] {
            let asked = requested(pod, what);
            if asked > 0 && asked > left {
                lacks.push(if what == "cpu" { "Insufficient cpu" } else { "Insufficient memory" });
            }
        }
        lacks
    }
}

/// What a pod requests: all its containers together, or its greatest init container if that is more.
fn requested(pod: &Value, what: &str) -> i128 {
    let asked = |container: &Value| {
        let resources = &container["resources"];
        let request = &resources["requests"][what];
        thousandths(if request.is_null() { &resources["limits"][what] } else { request })
    };
    let together: i128 = list(&pod["spec"]["containers"]).iter().map(asked).sum();
    let before = list(&pod["spec"]["initContainers"]).iter().map(asked).max().unwrap_or(0);
    together.max(before)
}

/// The node for a pod, or the scheduler's words about why there is none.
fn place(pod: &Value, nodes: &[Value], rooms: &BTreeMap<String, Room>, taints: bool) -> Result<String, String> {
    let mut fitting: Vec<(usize, &str)> = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut without_help = 0;
    let only = made_for(pod);
    for node in nodes {
        let name = text(&node["metadata"], "name");
        let against = if only.is_some_and(|only| only != name) || !wants_node(pod, node) {
            without_help += 1;
            vec!["node(s) didn't match Pod's node affinity/selector".to_owned()]
        } else if let Some(taint) = untolerated(pod, node).filter(|_| taints) {
            without_help += 1;
            vec![taint_words(&taint)]
        } else {
            let lacks = rooms.get(name).map(|room| room.lacks(pod)).unwrap_or_default();
            lacks.into_iter().map(str::to_owned).collect()
        };
        if against.is_empty() {
            fitting.push((rooms.get(name).map_or(0, |room| room.taken), name));
        }
        for reason in against {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    match fitting.into_iter().min() {
        Some((_, name)) => Ok(name.to_owned()),
        None => Err(refusal(nodes.len(), &reasons, without_help)),
    }
}

fn taint_words(taint: &Value) -> String {
    if text(taint, "key") == "node.kubernetes.io/unschedulable" {
        return "node(s) were unschedulable".to_owned();
    }
    format!("node(s) had untolerated taint {{{}: {}}}", text(taint, "key"), text(taint, "value"))
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
    format!("{head} {}. preemption: {head} {}.", parts.join(", "), preemption.join(", "))
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
        let mut world = world(vec![node("n1", "1", json!([])), node("n2", "1", json!([])), node("n3", "64", taint)]);
        let pod = ask(&mut world, "big", "4");
        let wanted = "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: a100}, 2 Insufficient cpu. \
                      preemption: 0/3 nodes are available: 2 No preemption victims found for incoming pod, \
                      1 Preemption is not helpful for scheduling.";
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
