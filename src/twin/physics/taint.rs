//! Taints that drive pods away, and taints that nodes get by themselves: cordoned ones, and those that nobody hears of.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::selection::{list, text, tolerates};
use super::timer::{self, time};
use super::{Controller, event, pod};
use crate::twin::kube;
use crate::twin::kube::store::Store;
use crate::twin::world::World;

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "cordoned nodes are tainted", watches: &["kube/nodes"], run: mark },
    Controller { name: "taints drive pods away", watches: &["kube/nodes", "kube/pods"], run: evict },
];

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const WHO: &str = "taint-eviction-controller";

/// A cordon is a taint, too.
fn mark(world: &mut World) {
    let now = world.now_text();
    for cluster in world.clusters() {
        let changes = world.changes();
        let Some(store) = world.store_mut(&cluster) else { continue };
        for name in changes.of(&cluster).keys("nodes") {
            let Some(node) = store.get("nodes", name) else { continue };
            let is_closed = node["spec"]["unschedulable"] == true;
            let is_marked = list(&node["spec"]["taints"]).iter().any(|taint| taint["key"] == UNSCHEDULABLE);
            if is_closed == is_marked {
                continue;
            }
            store.change("nodes", name, |node| {
                let mut taints = list(&node["spec"]["taints"]).to_vec();
                taints.retain(|taint| taint["key"] != UNSCHEDULABLE);
                if is_closed {
                    taints.push(json!({ "key": UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": now }));
                }
                match node["spec"].as_object_mut() {
                    Some(spec) if taints.is_empty() => drop(spec.remove("taints")),
                    _ => node["spec"]["taints"] = json!(taints),
                }
            });
        }
    }
}

/// Pods that do not tolerate a taint of their node go: at once, or when the time that they tolerate it for is over.
fn evict(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let due = due(world, &cluster, store);
        for (key, until) in due {
            if until > world.now {
                timer::look_at(world, &cluster, "pods", &key, until);
                continue;
            }
            let Some(pod) = world.store(&cluster).and_then(|store| store.get("pods", &key)).cloned() else { continue };
            let now = world.now_text();
            let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint", "lastProbeTime": null });
            if let Some(store) = world.store_mut(&cluster) {
                store.change("pods", &key, |pod| {
                    pod::set_condition(pod, &now, condition);
                });
            }
            let message = format!("Marking for deletion Pod {key}");
            event::normal(world, &cluster, &pod, "TaintManagerEviction", &message, WHO);
            kube::delete(world, &cluster, "pods", &key);
        }
    }
}

/// Pods that a taint drives away, and when.
fn due(world: &World, cluster: &str, store: &Store) -> Vec<(String, Timestamp)> {
    let changes = world.changes();
    let changed = changes.of(cluster);
    let mut found = Vec::new();
    let mut look = |key: &str| {
        let Some(pod) = store.get("pods", key).filter(|pod| !pod::is_ending(pod) && !pod::is_over(pod)) else { return };
        let Some(node) = store.get("nodes", text(&pod["spec"], "nodeName")) else { return };
        if let Some(until) = until(pod, node, world.now) {
            found.push((key.to_owned(), until));
        }
    };
    for key in changed.keys("pods") {
        look(key);
    }
    for node in changed.keys("nodes") {
        let is_driving =
            |node: &Value| list(&node["spec"]["taints"]).iter().any(|taint| taint["effect"] == "NoExecute");
        if store.get("nodes", node).is_some_and(is_driving) {
            store.index().pods_on(node).for_each(&mut look);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Until when a pod may stay on a node; none: as long as it likes.
fn until(pod: &Value, node: &Value, now: Timestamp) -> Option<Timestamp> {
    let mut until: Option<Timestamp> = None;
    for taint in list(&node["spec"]["taints"]).iter().filter(|taint| taint["effect"] == "NoExecute") {
        let mut fitting = list(&pod["spec"]["tolerations"]).iter().filter(|one| tolerates(one, taint)).peekable();
        let since = time(taint, "timeAdded").unwrap_or(now);
        let end = match fitting.peek() {
            None => Some(now),
            Some(_) => {
                fitting.filter_map(|one| one["tolerationSeconds"].as_i64()).min().map(|s| timer::after(since, s))
            }
        };
        until = match (until, end) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::pass;

    fn world(tolerations: Value) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        let node = json!({ "metadata": { "name": "n1" }, "spec": {},
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.9" }] } });
        kube::create(&mut world, "prod", "nodes", node);
        let pod = json!({ "metadata": { "name": "a", "namespace": "x" }, "spec": { "nodeName": "n1",
            "hostNetwork": true, "tolerations": tolerations, "containers": [{ "name": "c", "image": "a:1" }] } });
        kube::create(&mut world, "prod", "pods", pod);
        settle(&mut world);
        pass(&mut world, 10);
        let taint = json!([{ "key": "gone", "value": "yes", "effect": "NoExecute",
            "timeAdded": world.now_text() }]);
        world.store_mut("prod").unwrap().change("nodes", "n1", |node| node["spec"]["taints"] = taint);
        settle(&mut world);
        world
    }

    fn is_there(world: &World) -> bool {
        world.store("prod").unwrap().get("pods", "x/a").is_some_and(|pod| !pod::is_ending(pod))
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_the_taint() {
        assert!(!is_there(&world(json!([]))));
        let exists = json!({ "key": "gone", "operator": "Exists", "effect": "NoExecute" });
        let mut for_ever = world(json!([exists]));
        pass(&mut for_ever, 10_000);
        assert!(is_there(&for_ever));
        let mut bounded = exists.clone();
        bounded["tolerationSeconds"] = json!(60);
        let mut for_a_while = world(json!([bounded]));
        pass(&mut for_a_while, 59);
        assert!(is_there(&for_a_while));
        pass(&mut for_a_while, 2);
        assert!(!is_there(&for_a_while));
    }

    #[test]
    fn a_cordon_is_written_down_as_a_taint() {
        let mut world = world(json!([{ "operator": "Exists" }]));
        let cordon = |world: &mut World, is: bool| {
            world.store_mut("prod").unwrap().change("nodes", "n1", |node| node["spec"]["unschedulable"] = json!(is));
            settle(world);
            let taints = world.store("prod").unwrap().get("nodes", "n1").unwrap()["spec"]["taints"].clone();
            list(&taints).iter().any(|taint| taint["key"] == UNSCHEDULABLE)
        };
        assert!(cordon(&mut world, true));
        assert!(!cordon(&mut world, false));
    }
}
