//! aws-node: takes interfaces and addresses of the subnet by the formulas of ipamd, and gives them to pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::selection::{list, text};
use super::{Controller, join, node, pod};
use crate::twin::aws::ec2::interface;
use crate::twin::kube;
use crate::twin::world::World;
use crate::twin::{Arrival, aws};

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[Controller {
    name: "aws-node takes addresses",
    watches: &["kube/pods", "kube/nodes", "kube/eniconfigs.crd.k8s.amazonaws.com", "ec2/network_interfaces"],
    run: manage,
}];

const INTERFACES: &str = "ec2/network_interfaces";

/// Addresses of a /28, the only size of a prefix.
const PREFIX: usize = 16;

fn manage(world: &mut World) {
    for cluster in world.clusters() {
        let nodes = nodes(world, &cluster, &looked_at(world, &cluster));
        if nodes.is_empty() {
            continue;
        }
        let mut interfaces = interfaces_by_instance(world);
        for node in nodes {
            let held = interfaces.remove(&node.instance).unwrap_or_default();
            let mut pool = Pool::of(node, held);
            pool.serve(world, &cluster);
        }
    }
}

/// What the operator has set on aws-node.
#[derive(Clone, Debug, Default)]
struct Knobs {
    warm_ip: usize,
    minimum_ip: usize,
    warm_eni: usize,
    warm_prefix: usize,
    prefix: bool,
    max_eni: usize,
    custom: bool,
    pod_eni: bool,
}

impl Knobs {
    /// From the environment of the pod that runs on the node.
    fn of(pod: &Value) -> Knobs {
        let container = list(&pod["spec"]["containers"]).iter().find(|one| one["name"] == "aws-node");
        let env = container.map_or(&[][..], |container| list(&container["env"]));
        let value = |name: &str| env.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_str());
        // What is no number, or none above zero, counts as not set.
        let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.trim().parse().unwrap_or(0));
        let flag = |name: &str| value(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Knobs {
            warm_ip: number("WARM_IP_TARGET", 0),
            minimum_ip: number("MINIMUM_IP_TARGET", 0),
            warm_eni: number("WARM_ENI_TARGET", 1),
            warm_prefix: number("WARM_PREFIX_TARGET", 0),
            prefix: flag("ENABLE_PREFIX_DELEGATION"),
            max_eni: number("MAX_ENI", 0),
            custom: flag("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
            pod_eni: flag("ENABLE_POD_ENI"),
        }
    }

    fn by_targets(&self) -> bool {
        self.warm_ip > 0 || self.minimum_ip > 0
    }
}

/// A node on which aws-node runs.
struct Node {
    instance: String,
    knobs: Knobs,
    /// Interfaces that the type allows.
    interfaces: usize,
    /// Secondary addresses (or prefixes) of each.
    per: usize,
    pods_max: usize,
    /// Where further interfaces go, and their security groups; `None`: custom networking without its ENIConfig.
    place: Option<(String, Vec<String>)>,
    /// Addresses that pods have.
    given: BTreeSet<String>,
    /// Pods that wait for one.
    waiting: Vec<String>,
}

/// Nodes that changed or whose pods did; all of them where interfaces changed, or where they go.
fn looked_at(world: &World, cluster: &str) -> BTreeSet<String> {
    let changes = world.changes();
    let elsewhere = [INTERFACES, "kube/eniconfigs.crd.k8s.amazonaws.com"];
    match world.store(cluster) {
        Some(store) if changes.has_any(&elsewhere) => store.list("nodes").keys().cloned().collect(),
        _ => changes.of(cluster).nodes(),
    }
}

fn nodes(world: &World, cluster: &str, names: &BTreeSet<String>) -> Vec<Node> {
    let Some(store) = world.store(cluster) else { return Vec::new() };
    let mut managers: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut pods: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
    for name in names {
        let own = store.index().pods_on(name).filter_map(|key| Some((key, store.get("pods", key)?)));
        for (key, pod) in own {
            if pod["metadata"]["labels"]["k8s-app"] == "aws-node" && pod::has_condition(pod, "ContainersReady") {
                managers.insert(name, pod);
            }
            if !pod::on_host_network(pod) && !pod::is_over(pod) {
                pods.entry(name).or_default().push((key, pod));
            }
        }
    }
    let node = |(name, manager): (&str, &Value)| {
        let object = store.get("nodes", name)?;
        let instance = join::instance_of(world, cluster, name)?;
        if text(&instance["state"], "name") != "running" {
            return None;
        }
        let knobs = Knobs::of(manager);
        let limits = node::limits(world, text(instance, "instance_type"));
        let own = pods.get(name).map_or(&[][..], Vec::as_slice);
        let address = |pod: &Value| pod["status"]["podIP"].as_str().map(str::to_owned);
        let waits = |pod: &Value| address(pod).is_none() && !pod::is_ending(pod);
        Some(Node {
            instance: text(instance, "instance_id").to_owned(),
            interfaces: limits.interfaces,
            per: limits.addresses.saturating_sub(1),
            pods_max: text(&object["status"]["capacity"], "pods").parse().unwrap_or(110),
            place: place(world, cluster, &knobs, object, instance, manager),
            given: own.iter().filter_map(|(_, pod)| address(pod)).collect(),
            waiting: own.iter().filter(|(_, pod)| waits(pod)).map(|(key, _)| (*key).to_owned()).collect(),
            knobs,
        })
    };
    managers.into_iter().filter_map(node).collect()
}

/// Subnet and security groups of further interfaces: the node's own, or those of its ENIConfig.
fn place(
    world: &World,
    cluster: &str,
    knobs: &Knobs,
    object: &Value,
    instance: &Value,
    manager: &Value,
) -> Option<(String, Vec<String>)> {
    let own_groups = || list(&instance["security_groups"]).iter().map(|one| text(one, "group_id").to_owned()).collect();
    if !knobs.custom {
        return Some((text(instance, "subnet_id").to_owned(), own_groups()));
    }
    let container = list(&manager["spec"]["containers"]).iter().find(|one| one["name"] == "aws-node")?;
    let key = |variable: &str| {
        let found = list(&container["env"]).iter().find(|one| one["name"] == variable);
        found.and_then(|one| one["value"].as_str()).unwrap_or("k8s.amazonaws.com/eniConfig").to_owned()
    };
    let metadata = &object["metadata"];
    let by_annotation = metadata["annotations"][key("ENI_CONFIG_ANNOTATION_DEF")].as_str();
    let by_label = metadata["labels"][key("ENI_CONFIG_LABEL_DEF")].as_str();
    let name = by_annotation.or(by_label).unwrap_or("default");
    let config = world.store(cluster)?.get("eniconfigs.crd.k8s.amazonaws.com", name)?;
    let asked: Vec<String> = aws::texts(&config["spec"]["securityGroups"]).into_iter().map(str::to_owned).collect();
    let groups = if asked.is_empty() { own_groups() } else { asked };
    Some((config["spec"]["subnet"].as_str()?.to_owned(), groups))
}

/// An interface of a node, and what pods can get from it.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    index: i64,
    singles: Vec<String>,
    prefixes: Vec<String>,
}

impl Held {
    fn of(interface: &Value) -> Held {
        let singles = list(&interface["private_ip_addresses"]).iter().filter(|one| one["primary"] != true);
        let prefixes = list(&interface["ipv4_prefixes"]).iter();
        Held {
            id: text(interface, "network_interface_id").to_owned(),
            index: interface["attachment"]["device_index"].as_i64().unwrap_or(0),
            singles: singles.map(|one| text(one, "private_ip_address").to_owned()).collect(),
            prefixes: prefixes.map(|one| text(one, "ipv4_prefix").to_owned()).collect(),
        }
    }

    fn slots(&self) -> usize {
        self.singles.len() + self.prefixes.len()
    }

    fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        self.singles.iter().cloned().chain(self.prefixes.iter().flat_map(|prefix| addresses_of(prefix)))
    }

    fn total(&self) -> usize {
        self.singles.len() + PREFIX * self.prefixes.len()
    }

    fn used(&self, given: &BTreeSet<String>) -> usize {
        self.addresses().filter(|address| given.contains(address)).count()
    }
}

/// The addresses of a /28.
fn addresses_of(prefix: &str) -> Vec<String> {
    let first: Option<Ipv4Addr> = prefix.split('/').next().and_then(|first| first.parse().ok());
    let Some(first) = first.map(u32::from) else { return Vec::new() };
    (0..PREFIX as u32).map(|step| Ipv4Addr::from(first + step).to_string()).collect()
}

fn interfaces_by_instance(world: &World) -> BTreeMap<String, Vec<Held>> {
    let mut found: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for interface in world.table(INTERFACES).values() {
        if let Some(instance) = interface["attachment"]["instance_id"].as_str() {
            found.entry(instance.to_owned()).or_default().push(Held::of(interface));
        }
    }
    for held in found.values_mut() {
        held.sort_by_key(|one| one.index);
    }
    found
}

/// More steps than any pool takes to come to rest.
const STEPS_MAX: usize = 5_000;

/// The addresses of one node.
struct Pool {
    node: Node,
    held: Vec<Held>,
}

impl Pool {
    fn of(node: Node, held: Vec<Held>) -> Pool {
        Pool { node, held }
    }

    /// The interfaces whose addresses pods may have.
    fn usable(&self) -> &[Held] {
        let first = usize::from(self.node.knobs.custom).min(self.held.len());
        &self.held[first..]
    }

    fn total(&self) -> usize {
        self.usable().iter().map(Held::total).sum()
    }

    fn free(&self) -> usize {
        let used: usize = self.usable().iter().map(|held| held.used(&self.node.given)).sum();
        self.total() - used
    }

    fn prefixes(&self) -> usize {
        self.usable().iter().map(|held| held.prefixes.len()).sum()
    }

    fn free_prefixes(&self) -> usize {
        let is_free = |prefix: &&String| !addresses_of(prefix).iter().any(|one| self.node.given.contains(one));
        self.usable().iter().flat_map(|held| &held.prefixes).filter(is_free).count()
    }

    /// The pool comes to rest, a pod gets an address, the pool comes to rest again: pods come one after the other.
    fn serve(&mut self, world: &mut World, cluster: &str) {
        let waiting = std::mem::take(&mut self.node.waiting);
        self.rest(world, cluster);
        for key in waiting {
            let free = self.usable().iter().flat_map(Held::addresses).find(|one| !self.node.given.contains(one));
            let Some(address) = free else {
                tell(world, cluster, &key);
                continue;
            };
            self.node.given.insert(address.clone());
            if let Some(store) = world.store_mut(cluster) {
                store.change("pods", &key, |pod| {
                    pod["status"]["podIP"] = json!(address);
                    pod["status"]["podIPs"] = json!([{ "ip": address }]);
                });
            }
            self.rest(world, cluster);
        }
    }

    fn rest(&mut self, world: &mut World, cluster: &str) {
        for _ in 0..STEPS_MAX {
            if !self.grow(world, cluster) && !self.shrink(world) && !self.release(world) {
                return;
            }
        }
        debug_assert!(false, "the pool of {} does not come to rest", self.node.instance);
    }

    /// Slots that are short; `None`: the pool is not too low.
    fn short(&self) -> Option<usize> {
        let knobs = &self.node.knobs;
        let (total, free) = (self.total(), self.free());
        if total >= self.node.pods_max {
            return None;
        }
        let size = if knobs.prefix { PREFIX } else { 1 };
        if knobs.by_targets() {
            let short = knobs.warm_ip.saturating_sub(free).max(knobs.minimum_ip.saturating_sub(total));
            return (short > 0).then(|| short.div_ceil(size).max(1));
        }
        if knobs.prefix {
            let low = free < PREFIX * knobs.warm_prefix || (knobs.warm_prefix == 0 && free == 0);
            return low.then(|| knobs.warm_prefix.saturating_sub(self.free_prefixes()).max(1));
        }
        let low = free < self.node.per * knobs.warm_eni || (knobs.warm_eni == 0 && free == 0);
        low.then_some(self.node.per)
    }

    fn interfaces_max(&self) -> usize {
        let (knobs, limit) = (&self.node.knobs, self.node.interfaces);
        let most = if knobs.max_eni > 0 { limit.min(knobs.max_eni) } else { limit };
        // One slot is kept for the trunk of pods with security groups of their own.
        most.saturating_sub(usize::from(knobs.pod_eni))
    }

    /// Fills an interface that has room, else attaches one; whether anything changed.
    fn grow(&mut self, world: &mut World, cluster: &str) -> bool {
        let Some(short) = self.short() else { return false };
        let per = self.node.per;
        let first = usize::from(self.node.knobs.custom).min(self.held.len());
        if let Some(at) = (first..self.held.len()).find(|&at| self.held[at].slots() < per) {
            return self.fill(world, at, short.min(per - self.held[at].slots()));
        }
        if self.held.len() >= self.interfaces_max() {
            return false;
        }
        let Some(at) = self.attach(world, cluster) else { return false };
        self.fill(world, at, short.min(per));
        true
    }

    /// Takes so many slots for an interface, or one if there are not so many.
    fn fill(&mut self, world: &mut World, at: usize, count: usize) -> bool {
        let held = &mut self.held[at];
        for count in [count, 1] {
            let (list, taken) = if self.node.knobs.prefix {
                (&mut held.prefixes, interface::assign_prefixes(world, &held.id, count))
            } else {
                (&mut held.singles, interface::assign_addresses(world, &held.id, count))
            };
            if let Ok(taken) = taken {
                let any = !taken.is_empty();
                list.extend(taken);
                return any;
            }
        }
        false
    }

    fn attach(&mut self, world: &mut World, cluster: &str) -> Option<usize> {
        let (subnet, group_ids) = self.node.place.clone()?;
        // An interface without a single address for pods is of no use.
        if interface::free_addresses(world, &subnet) < 2 {
            return None;
        }
        let index = (1..).find(|index| !self.held.iter().any(|held| held.index == *index))?;
        let tags = json!([
            { "key": "cluster.k8s.amazonaws.com/name", "value": cluster },
            { "key": "node.k8s.amazonaws.com/instance_id", "value": self.node.instance },
        ]);
        let description = format!("aws-K8S-{}", self.node.instance);
        let new = interface::New {
            subnet_id: &subnet,
            group_ids,
            description: &description,
            interface_type: "interface",
            requester_managed: false,
            attached_to: Some((&self.node.instance, index)),
            tags,
            address: None,
        };
        let id = interface::create(world, &new).ok()?;
        // aws-node marks what it attaches, so that nothing is left behind when the instance ends.
        if let Some(made) = world.find_mut(INTERFACES, &id) {
            made["attachment"]["delete_on_termination"] = json!(true);
        }
        let held = Held::of(world.find(INTERFACES, &id)?);
        self.held.push(Held { index, ..held });
        Some(self.held.len() - 1)
    }

    /// With targets, what is beyond them goes back; whether anything changed.
    fn shrink(&mut self, world: &mut World) -> bool {
        let knobs = self.node.knobs.clone();
        if knobs.prefix {
            return self.shrink_prefixes(world, &knobs);
        }
        if !knobs.by_targets() {
            return false;
        }
        let over = self.free().saturating_sub(knobs.warm_ip).min(self.total().saturating_sub(knobs.minimum_ip));
        if over == 0 {
            return false;
        }
        let given = &self.node.given;
        let first = usize::from(knobs.custom).min(self.held.len());
        for held in self.held[first..].iter_mut().rev() {
            let free: Vec<String> =
                held.singles.iter().rev().filter(|one| !given.contains(*one)).take(over).cloned().collect();
            if !free.is_empty() {
                interface::unassign_addresses(world, &held.id, &free);
                held.singles.retain(|one| !free.contains(one));
                return true;
            }
        }
        false
    }

    fn shrink_prefixes(&mut self, world: &mut World, knobs: &Knobs) -> bool {
        let (free, all) = (self.free_prefixes(), self.prefixes());
        let assigned = self.total() - self.free();
        let over = if knobs.by_targets() {
            let needed = (assigned + knobs.warm_ip).div_ceil(PREFIX);
            free.min(all.saturating_sub(needed)).min(all.saturating_sub(knobs.minimum_ip.div_ceil(PREFIX)))
        } else {
            // Without any warm prefix the pool would be empty and full by turns: the last one stays.
            free.saturating_sub(knobs.warm_prefix.max(1))
        };
        if over == 0 {
            return false;
        }
        let given = &self.node.given;
        for held in self.held.iter_mut().rev() {
            let is_free = |prefix: &&String| !addresses_of(prefix).iter().any(|one| given.contains(one));
            let spare: Vec<String> = held.prefixes.iter().rev().filter(is_free).take(over).cloned().collect();
            if !spare.is_empty() {
                interface::unassign_prefixes(world, &held.id, &spare);
                held.prefixes.retain(|one| !spare.contains(one));
                return true;
            }
        }
        false
    }

    /// Gives an interface back that no pod needs; whether anything changed.
    fn release(&mut self, world: &mut World) -> bool {
        let knobs = &self.node.knobs;
        let warm_slots = if knobs.prefix { PREFIX * (knobs.warm_prefix + 1) } else { knobs.warm_eni + 1 };
        if !knobs.by_targets() && self.free() < warm_slots * self.node.per {
            return false;
        }
        let (free, total) = (self.free(), self.total());
        let is_spare = |held: &Held| {
            let (others_free, others) = (free.saturating_sub(held.total()), total - held.total());
            held.index > 0
                && held.used(&self.node.given) == 0
                && others_free >= knobs.warm_ip
                && others >= knobs.minimum_ip
                && (knobs.by_targets() || !knobs.prefix || others_free >= PREFIX * knobs.warm_prefix)
        };
        let first = usize::from(knobs.custom).min(self.held.len());
        let Some(at) = (first..self.held.len()).rev().find(|&at| is_spare(&self.held[at])) else { return false };
        let held = self.held.remove(at);
        interface::delete(world, &held.id);
        true
    }
}

/// What kubelet writes down about a pod that gets no address.
fn tell(world: &mut World, cluster: &str, key: &str) {
    let Some(store) = world.store(cluster) else { return };
    let Some(pod) = store.get("pods", key) else { return };
    let metadata = &pod["metadata"];
    let digits: String = text(metadata, "uid").chars().filter(|digit| *digit != '-').take(16).collect();
    let name = format!("{}.{digits}", text(metadata, "name"));
    if store.get("events", &kube::store::key(metadata["namespace"].as_str(), &name)).is_some() {
        return;
    }
    let now = world.now_text();
    let message = "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: \
                   plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container";
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": metadata["namespace"] },
        "involvedObject": { "apiVersion": "v1", "kind": "Pod", "name": metadata["name"],
            "namespace": metadata["namespace"], "uid": metadata["uid"] },
        "type": "Warning",
        "reason": "FailedCreatePodSandBox",
        "message": message,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": { "component": "kubelet", "host": pod["spec"]["nodeName"] },
    });
    kube::create(world, cluster, "events", event);
}
