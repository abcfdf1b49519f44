//! Nodes without a machine, as kwok plays them on a real control plane: whoever creates a Node with the annotation
//! `kwok.x-k8s.io/node` gets one that is ready, and on which pods start without aws-node or a subnet.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::selection::text;
use super::{Controller, node, pod};
use crate::twin::kube::{self, store::Store};
use crate::twin::world::World;

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "played nodes are ready", watches: &["kube/nodes"], run: make_ready },
    Controller { name: "played nodes give addresses", watches: &["kube/nodes", "kube/pods"], run: give_addresses },
];

/// The annotation by which kwok knows its nodes.
const PLAYED: &str = "kwok.x-k8s.io/node";

/// The first address of pods, and of nodes.
const PODS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 0);
const NODES: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 0);

/// Whether no machine is behind a node.
pub fn is_played(node: &Value) -> bool {
    node["metadata"]["annotations"][PLAYED].is_string()
}

/// Adds a node of a middling size to a cluster.
pub fn add(world: &mut World, cluster: &str, name: &str) {
    let size = json!({ "cpu": "4", "memory": "16Gi", "ephemeral-storage": "50Gi", "pods": "110" });
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { PLAYED: "fake" },
            "labels": {
                "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            },
        },
        "spec": {},
        "status": { "capacity": size, "allocatable": size },
    });
    kube::create(world, cluster, "nodes", object);
}

fn make_ready(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let waiting: Vec<String> = store
            .list("nodes")
            .iter()
            .filter(|(_, node)| is_played(node) && node::readiness(node) != "True" && !pod::is_ending(node))
            .map(|(name, _)| name.clone())
            .collect();
        let now = world.now_text();
        for name in waiting {
            let address = address(world, "played node", NODES);
            if let Some(store) = world.store_mut(&cluster) {
                store.change("nodes", &name, |node| furnish(node, &name, &address, &now));
            }
        }
    }
}

/// What a kubelet would say of its node, where its maker has not said it.
fn furnish(node: &mut Value, name: &str, address: &str, now: &str) {
    let usual = [
        ("capacity", json!({ "cpu": "1k", "memory": "1Ti", "pods": "1M" })),
        ("allocatable", json!({ "cpu": "1k", "memory": "1Ti", "pods": "1M" })),
        ("addresses", json!([{ "type": "InternalIP", "address": address }, { "type": "Hostname", "address": name }])),
        ("daemonEndpoints", json!({ "kubeletEndpoint": { "Port": 10250 } })),
        ("phase", json!("Running")),
        (
            "nodeInfo",
            json!({
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "fake", "kubeletVersion": "fake", "machineID": "", "operatingSystem": "linux",
                "osImage": "", "systemUUID": "",
            }),
        ),
    ];
    for (field, value) in usual {
        if node["status"][field].is_null() {
            node["status"][field] = value;
        }
    }
    node::set_ready(node, now);
}

fn give_addresses(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let waiting = waiting(store);
        for key in waiting {
            let address = address(world, "played pod", PODS);
            if let Some(store) = world.store_mut(&cluster) {
                store.change("pods", &key, |pod| {
                    pod["status"]["podIP"] = json!(address);
                    pod["status"]["podIPs"] = json!([{ "ip": address }]);
                });
            }
        }
    }
}

/// Pods on played nodes that have no address yet.
fn waiting(store: &Store) -> Vec<String> {
    let nodes = store.list("nodes").iter().filter(|(_, node)| is_played(node));
    let nodes: BTreeSet<&str> = nodes.map(|(name, _)| name.as_str()).collect();
    if nodes.is_empty() {
        return Vec::new();
    }
    let waits = |pod: &Value| {
        pod["status"]["podIP"].is_null()
            && nodes.contains(text(&pod["spec"], "nodeName"))
            && !pod::on_host_network(pod)
            && !pod::is_ending(pod)
            && !pod::is_over(pod)
    };
    store.list("pods").iter().filter(|(_, pod)| waits(pod)).map(|(key, _)| key.clone()).collect()
}

/// The next address of a range.
fn address(world: &mut World, of: &str, first: Ipv4Addr) -> String {
    let number = u32::try_from(world.count(of)).unwrap_or(u32::MAX);
    Ipv4Addr::from(u32::from(first).wrapping_add(number)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use jiff::ToSpan;

    #[test]
    fn pods_run_on_a_played_node_and_nobody_takes_it_away() {
        let mut world = World::new(1).unwrap();
        world.start_server("bare");
        add(&mut world, "bare", "node-1");
        let pod = json!({ "metadata": { "name": "a", "namespace": "default" },
            "spec": { "containers": [{ "name": "a", "image": "a:1" }] }, "status": { "phase": "Pending" } });
        kube::create(&mut world, "bare", "pods", pod);
        settle(&mut world);
        let later = world.now + 10.minutes();
        world.advance(later);
        let store = world.store("bare").unwrap();
        assert_eq!(node::readiness(store.get("nodes", "node-1").unwrap()), "True");
        let pod = store.get("pods", "default/a").unwrap();
        assert_eq!((&pod["status"]["phase"], &pod["status"]["podIP"]), (&json!("Running"), &json!("10.244.0.1")));
        assert_eq!(pod["spec"]["nodeName"], "node-1");
    }
}
