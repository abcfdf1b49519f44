//! Nodes: an instance becomes one only when it could join.

use std::time::Duration;

use serde_json::{Value, json};

use super::access::Directory;
use super::node::{self, Registering};
use super::selection::{list, text};
use super::{Controller, pod, reach, user_data};
use crate::twin::Arrival;
use crate::twin::aws::ec2::interface;
use crate::twin::kube::store::Store;
use crate::twin::world::World;
use crate::twin::{kube, lifecycle};

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[("kube/nodes", arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "nodes join", watches: GATES, run: join },
    Controller { name: "played nodes are ready", watches: &["kube/nodes"], run: play },
    Controller { name: "nodes become ready", watches: &["kube/nodes", "kube/pods"], run: make_ready },
    Controller {
        name: "nodes lose contact",
        watches: &["ec2/instances", "eks/access_entries", "eks/clusters", "iam/roles", "kube/configmaps", "kube/nodes"],
        run: lose_contact,
    },
    Controller { name: "nodes leave", watches: &["ec2/instances", "kube/nodes"], run: leave },
];

/// What keeps an instance from joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its role is in neither aws-auth nor an access entry.
    RoleNotMapped(String),
    /// Neither a route to the API server nor the endpoints that nodes need.
    NoRoute,
    /// No free address in its subnet.
    NoAddresses,
    /// The instance itself failed.
    InstanceFailed,
    /// Its image is no EKS image.
    WrongImage(String),
    /// Its user data names no cluster, or another one.
    UserData(String),
}

/// The cluster that an instance belongs to by its tags.
pub fn cluster_of(instance: &Value) -> Option<&str> {
    let keys = || list(&instance["tags"]).iter().map(|tag| (text(tag, "key"), text(tag, "value")));
    let owned = keys().find_map(|(key, _)| key.strip_prefix("kubernetes.io/cluster/"));
    owned.or_else(|| keys().find(|(key, _)| *key == "eks:cluster-name").map(|(_, name)| name))
}

fn nodegroup_of<'a>(world: &'a World, cluster: &str, instance: &Value) -> &'a Value {
    let mut tags = list(&instance["tags"]).iter();
    let name = tags.find(|tag| tag["key"] == "eks:nodegroup-name").map(|tag| text(tag, "value"));
    let found = name.and_then(|name| world.find("eks/nodegroups", &format!("{cluster}/{name}")));
    found.unwrap_or(&Value::Null)
}

fn is_up(instance: &Value) -> bool {
    text(&instance["state"], "name") == "running"
}

/// Why an instance that runs is not a node of its cluster; `None`: it is, or it has not had the time.
pub fn why_not(world: &World, instance_id: &str) -> Option<Reason> {
    let instance = world.find("ec2/instances", instance_id)?;
    let cluster = cluster_of(instance)?;
    if !is_up(instance) {
        return None;
    }
    let name = text(instance, "private_dns_name");
    if world.store(cluster)?.get("nodes", name).is_some() {
        return None;
    }
    reason(world, &Directory::of(world, cluster), cluster, instance)
}

fn reason(world: &World, directory: &Directory, cluster: &str, instance: &Value) -> Option<Reason> {
    if !text(instance, "_failed").is_empty() {
        return Some(Reason::InstanceFailed);
    }
    if instance["_booted"] != true {
        return None;
    }
    let described = world.find("eks/clusters", cluster)?;
    let nodegroup = nodegroup_of(world, cluster, instance);
    let gate = |name: &str| !world.is_off(name);
    if gate("image gates join")
        && let Some(problem) = image_problem(world, described, nodegroup, instance)
    {
        return Some(Reason::WrongImage(problem));
    }
    if gate("user data gates join")
        && let Some(problem) = user_data_problem(described, nodegroup, instance)
    {
        return Some(Reason::UserData(problem));
    }
    if gate("addresses gate join") && interface::free_addresses(world, text(instance, "subnet_id")) < 1 {
        return Some(Reason::NoAddresses);
    }
    if gate("route gates join") && !reach::reaches(world, instance, described) {
        return Some(Reason::NoRoute);
    }
    let role = role_of(world, nodegroup, instance);
    if gate("role gates join") && !is_mapped(world, directory, instance, &role) {
        return Some(Reason::RoleNotMapped(role));
    }
    None
}

/// What is wrong with the image of an instance: not one of EKS, or of a Kubernetes that does not fit.
fn image_problem(world: &World, cluster: &Value, nodegroup: &Value, instance: &Value) -> Option<String> {
    let id = text(instance, "image_id");
    let name = world.find("ec2/images", id).map_or("", |image| text(image, "name"));
    if !is_chosen_by_eks(nodegroup) && !name.starts_with("amazon-eks-") {
        return Some(format!("AMI {id} (`{name}`) is none of EKS's"));
    }
    let version = kubelet_version(world, cluster, nodegroup, instance);
    let (own, theirs) = (minor(&version)?, minor(text(cluster, "version"))?);
    (own > theirs || own + 3 < theirs).then(|| {
        let control_plane = text(cluster, "version");
        format!("kubelet {version} of AMI {id} does not fit Kubernetes {control_plane} of the control plane")
    })
}

fn minor(version: &str) -> Option<i64> {
    version.split('.').nth(1)?.parse().ok()
}

/// The Kubernetes of an image, as its description or its name tells, else that of its group.
fn kubelet_version(world: &World, cluster: &Value, nodegroup: &Value, instance: &Value) -> String {
    let image = world.find("ec2/images", text(instance, "image_id")).unwrap_or(&Value::Null);
    let described = text(image, "description").split("k8s: ").nth(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    if let Some(version) = described.filter(|version| version.split('.').count() == 3) {
        return version;
    }
    let named = text(image, "name").split(['-', '_']).find(|part| part.starts_with("1.") && minor(part).is_some());
    let grouped = [text(nodegroup, "version"), text(cluster, "version")].into_iter().find(|one| !one.is_empty());
    format!("{}.0", named.or(grouped).unwrap_or("1.0"))
}

fn is_chosen_by_eks(nodegroup: &Value) -> bool {
    nodegroup.is_object() && text(nodegroup, "ami_type") != "CUSTOM"
}

/// AL2023 needs a NodeConfig that names the cluster; for a managed group with EKS's own AMI, EKS writes it.
fn user_data_problem(cluster: &Value, nodegroup: &Value, instance: &Value) -> Option<String> {
    if is_chosen_by_eks(nodegroup) {
        return None;
    }
    let Some(config) = user_data::node_config(text(instance, "_user_data")) else {
        return Some("user data without a NodeConfig".to_owned());
    };
    let wanted = [
        ("name", &cluster["name"]),
        ("apiServerEndpoint", &cluster["endpoint"]),
        ("certificateAuthority", &cluster["certificate_authority"]["data"]),
        ("cidr", &cluster["kubernetes_network_config"]["service_ipv4_cidr"]),
    ];
    wanted.iter().find_map(|(key, wanted)| {
        let told = &config["cluster"][*key];
        if told.is_null() {
            return Some(format!("user data without the cluster's `{key}`"));
        }
        (!wanted.is_null() && told != *wanted).then(|| format!("user data names another `{key}` than the cluster's"))
    })
}

/// The ARN of the role of an instance; empty where it has none.
fn role_of(world: &World, nodegroup: &Value, instance: &Value) -> String {
    let profile = text(&instance["iam_instance_profile"], "arn").rsplit('/').next().unwrap_or_default();
    let of_profile = world.find("iam/instance_profiles", profile).map(|profile| text(&profile["roles"][0], "arn"));
    let role = of_profile.filter(|role| !role.is_empty()).unwrap_or_else(|| text(nodegroup, "node_role"));
    role.to_owned()
}

/// Whether the API server takes calls of this role's session on this instance for those of its node.
fn is_mapped(world: &World, directory: &Directory, instance: &Value, role: &str) -> bool {
    let account = role.split(':').nth(4).unwrap_or_default();
    let name = role.rsplit('/').next().unwrap_or_default();
    let session = format!("arn:aws:sts::{account}:assumed-role/{name}/{}", text(instance, "instance_id"));
    let wanted = format!("system:node:{}", text(instance, "private_dns_name"));
    directory
        .identity(world, &session)
        .is_some_and(|found| found.username == wanted && found.groups.iter().any(|group| group == "system:nodes"))
}

/// Tables on which it depends whether an instance can join. Of the ConfigMaps only aws-auth is one.
const GATES: &[&str] = &[
    "ec2/instances",
    "ec2/nat_gateways",
    "ec2/network_interfaces",
    "ec2/route_tables",
    "ec2/vpc_endpoints",
    "eks/access_entries",
    "eks/clusters",
    "eks/nodegroups",
    "iam/instance_profiles",
    "iam/roles",
    CONFIG_MAPS,
];

const CONFIG_MAPS: &str = "kube/configmaps";

fn join(world: &mut World) {
    let of_aws: Vec<&str> = GATES.iter().copied().filter(|table| *table != CONFIG_MAPS).collect();
    for cluster in world.clusters() {
        if !world.changes().has_any(&of_aws) && !is_auth_changed(world, &cluster) {
            continue;
        }
        let joining = joining(world, &cluster);
        for (object, lease) in joining {
            kube::create(world, &cluster, "nodes", object);
            add_lease(world, &cluster, &lease);
        }
    }
}

/// The Node objects of instances that join now, with their names.
fn joining(world: &World, cluster: &str) -> Vec<(Value, String)> {
    let Some(store) = world.store(cluster) else { return Vec::new() };
    let nodes = store.list("nodes");
    let candidates: Vec<&Value> = world
        .table("ec2/instances")
        .values()
        .filter(|instance| instance["_booted"] == true && is_up(instance) && cluster_of(instance) == Some(cluster))
        .filter(|instance| !nodes.contains_key(text(instance, "private_dns_name")))
        .collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    let directory = Directory::of(world, cluster);
    let fit = candidates.into_iter().filter(|instance| reason(world, &directory, cluster, instance).is_none());
    fit.map(|instance| (registered(world, cluster, instance), text(instance, "private_dns_name").to_owned())).collect()
}

fn registered(world: &World, cluster: &str, instance: &Value) -> Value {
    let nodegroup = nodegroup_of(world, cluster, instance);
    let described = world.find("eks/clusters", cluster).unwrap_or(&Value::Null);
    let config = user_data::node_config(text(instance, "_user_data")).unwrap_or_default();
    let version = kubelet_version(world, described, nodegroup, instance);
    Registering { instance, nodegroup, config: &config, version: &version }.object(world)
}

fn add_lease(world: &mut World, cluster: &str, name: &str) {
    let Some(node) = world.store(cluster).and_then(|store| store.get("nodes", name)) else { return };
    let owner = json!([{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"] }]);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name, "namespace": "kube-node-lease", "ownerReferences": owner },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": world.now_text() },
    });
    kube::create(world, cluster, "leases.coordination.k8s.io", lease);
}

/// Whether aws-node runs on a node.
fn has_network(world: &World, cluster: &str, node: &str) -> bool {
    let Some(store) = world.store(cluster) else { return false };
    let own = store.index().pods_on(node).filter(|key| key.starts_with("kube-system/"));
    let mut pods = own.filter_map(|key| store.get("pods", key));
    pods.any(|pod| pod["metadata"]["labels"]["k8s-app"] == "aws-node" && pod::is_ready(pod))
}

fn make_ready(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let nodes = world.changes().of(&cluster).nodes();
        let waiting: Vec<(String, String)> = nodes
            .iter()
            .filter_map(|name| Some((name, store.get("nodes", name)?)))
            .filter(|(_, node)| node::readiness(node) == "False")
            .map(|(name, node)| (name.clone(), text(&node["metadata"], "creationTimestamp").to_owned()))
            .collect();
        for (name, created) in waiting {
            if !has_network(world, &cluster, &name) {
                continue;
            }
            let id = format!("{cluster}/{name}");
            let planned = ["Ready", "Gone"].iter().any(|to| world.is_planned("kube/nodes", &id, to));
            if !planned && instance_of(world, &cluster, &name).is_some_and(is_up) {
                let left = remaining(world, &created);
                world.begin_after(left, "kube/nodes", &id, "Ready");
            }
        }
    }
}

fn play(world: &mut World) {
    let now = world.now_text();
    for cluster in world.clusters() {
        let changes = world.changes();
        let Some(store) = world.store_mut(&cluster) else { continue };
        for name in changes.of(&cluster).keys("nodes") {
            let waits = |node: &Value| node::is_played(node) && node::readiness(node) != "True";
            if store.get("nodes", name).is_some_and(waits) {
                store.change("nodes", name, |node| node::play(node, &now));
            }
        }
    }
}

/// A node takes its time from when it registered, not from when aws-node came.
fn remaining(world: &World, created: &str) -> Duration {
    let since: Option<jiff::Timestamp> = created.parse().ok();
    let passed = since.map_or(0, |since| world.now.as_second() - since.as_second());
    lifecycle::duration("kube/nodes", "Ready").saturating_sub(Duration::from_secs(u64::try_from(passed).unwrap_or(0)))
}

/// The instance behind a node.
pub fn instance_of<'a>(world: &'a World, cluster: &str, name: &str) -> Option<&'a Value> {
    let node = world.store(cluster)?.get("nodes", name)?;
    let id = text(&node["spec"], "providerID").rsplit('/').next()?;
    world.find("ec2/instances", id)
}

/// Tables of AWS on which it depends whether the API server hears of a node; any change may concern any node.
const IDENTITY: &[&str] = &["ec2/instances", "eks/access_entries", "eks/clusters", "iam/roles"];

fn is_auth_changed(world: &World, cluster: &str) -> bool {
    world.changes().of(cluster).keys("configmaps").contains("kube-system/aws-auth")
}

/// Names of the nodes that changed, or of all where something changed that may concern any.
fn looked_at(world: &World, cluster: &str, store: &Store) -> Vec<String> {
    let changes = world.changes();
    if changes.has_any(IDENTITY) || is_auth_changed(world, cluster) {
        return store.list("nodes").keys().cloned().collect();
    }
    let changed = changes.of(cluster).keys("nodes").iter();
    changed.filter(|name| store.get("nodes", name).is_some()).cloned().collect()
}

/// Whether a node says that it is an instance. One that somebody made by hand is not, and stays.
fn is_instance(store: &Store, name: &str) -> bool {
    store.get("nodes", name).is_some_and(|node| !text(&node["spec"], "providerID").is_empty())
}

/// A node whose calls the API server refuses is not heard of, until its role is mapped again.
fn lose_contact(world: &mut World) {
    if world.is_off("role gates join") {
        return;
    }
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let names = looked_at(world, &cluster, store);
        if names.is_empty() {
            continue;
        }
        let directory = Directory::of(world, &cluster);
        let mut news = Vec::new();
        for (name, node) in names.iter().filter_map(|name| Some((name, store.get("nodes", name)?))) {
            let Some(instance) = instance_of(world, &cluster, name).filter(|instance| is_up(instance)) else {
                continue;
            };
            let role = role_of(world, nodegroup_of(world, &cluster, instance), instance);
            let heard = text(instance, "_failed").is_empty() && is_mapped(world, &directory, instance, &role);
            let readiness = node::readiness(node);
            let to = if heard { "Back" } else { "Lost" };
            let other = if heard { "Lost" } else { "Back" };
            let id = format!("{cluster}/{name}");
            let due = if heard { readiness == "Unknown" } else { readiness != "Unknown" };
            news.push((id, to, other, due));
        }
        for (id, to, other, due) in news {
            if world.is_planned("kube/nodes", &id, other) {
                world.forget("kube/nodes", &id);
            }
            if due && !world.is_planned("kube/nodes", &id, to) {
                world.begin("kube/nodes", &id, to);
            }
        }
    }
}

/// Nodes of instances that end say that they are not ready, and go a while later.
fn leave(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let ended: Vec<String> = looked_at(world, &cluster, store)
            .into_iter()
            .filter(|name| is_instance(store, name))
            .filter(|name| {
                let state = instance_of(world, &cluster, name).map(|instance| text(&instance["state"], "name"));
                matches!(state, None | Some("shutting-down" | "terminated"))
            })
            .collect();
        let now = world.now_text();
        for name in ended {
            let id = format!("{cluster}/{name}");
            if world.is_planned("kube/nodes", &id, "Gone") {
                continue;
            }
            world.forget("kube/nodes", &id);
            world.begin("kube/nodes", &id, "Gone");
            if let Some(store) = world.store_mut(&cluster) {
                store.change("nodes", &name, |node| node::set_not_ready(node, &now, "node is shutting down"));
            }
        }
    }
}

fn arrive(world: &mut World, id: &str, to: &str) {
    let Some((cluster, name)) = id.split_once('/') else { return };
    let now = world.now_text();
    let networked = to == "Back" && has_network(world, cluster, name);
    let Some(store) = world.store_mut(cluster) else { return };
    match to {
        "Ready" => store.change("nodes", name, |node| node::set_ready(node, &now)),
        "Back" if networked => store.change("nodes", name, |node| node::set_ready(node, &now)),
        "Back" => store.change("nodes", name, |node| node::set_not_ready(node, &now, node::NO_NETWORK)),
        "Lost" => store.change("nodes", name, |node| node::set_unknown(node, &now)),
        _ => store.remove("nodes", name).is_some(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::pass;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const ROLE: &str = "arn:aws:iam::123456789012:role/node";
    const NAME: &str = "ip-10-0-0-4.us-west-2.compute.internal";
    const GOOD: &str =
        "{name: prod, apiServerEndpoint: 'https://api', certificateAuthority: Q0E=, cidr: 172.20.0.0/16}";

    fn user_data(cluster: &str) -> String {
        let kubelet = "{config: {maxPods: 40}, flags: ['--node-labels=team=a']}";
        STANDARD.encode(format!(
            "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster: {cluster}\n  kubelet: {kubelet}\n"
        ))
    }

    /// A cluster, and one booted instance that fits it in everything.
    fn world() -> World {
        let mut world = World::new(1).unwrap();
        world.switch_off("addresses gate join");
        let cluster = json!({
            "name": "prod", "version": "1.36", "endpoint": "https://api", "certificate_authority": { "data": "Q0E=" },
            "kubernetes_network_config": { "service_ipv4_cidr": "172.20.0.0/16" },
            "access_config": { "authentication_mode": "API" },
            "resources_vpc_config": { "endpoint_public_access": true, "public_access_cidrs": ["0.0.0.0/0"] },
        });
        world.put("eks/clusters", "prod", cluster);
        world.start_server("prod");
        world.put("ec2/images", "ami-1", json!({ "name": "amazon-eks-node-al2023-x86_64-standard-1.36-v20260801",
            "description": "EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: 1.36.2, containerd: 2.1.4)" }));
        world.put(
            "ec2/instance_types",
            "m6i.large",
            json!({ "v_cpu_info": { "default_v_cpus": 2 },
            "memory_info": { "size_in_mib": 8192 },
            "network_info": { "maximum_network_interfaces": 3, "ipv4_addresses_per_interface": 10 } }),
        );
        let default = json!({ "destination_cidr_block": "0.0.0.0/0", "nat_gateway_id": "nat-1", "state": "active" });
        let table = json!({ "route_table_id": "rtb-1", "vpc_id": "vpc-1", "associations": [{ "main": true }], "routes": [default] });
        world.put("ec2/route_tables", "rtb-1", table);
        world.put("ec2/subnets", "subnet-1", json!({ "subnet_id": "subnet-1", "vpc_id": "vpc-1" }));
        world.put(
            "ec2/nat_gateways",
            "nat-1",
            json!({ "nat_gateway_id": "nat-1", "vpc_id": "vpc-1", "state": "available" }),
        );
        world.put("iam/instance_profiles", "node", json!({ "roles": [{ "role_name": "node", "arn": ROLE }] }));
        world.put("eks/access_entries", &format!("prod/{ROLE}"), json!({ "principal_arn": ROLE, "type": "EC2_LINUX" }));
        let instance = json!({
            "instance_id": "i-1", "image_id": "ami-1", "instance_type": "m6i.large", "vpc_id": "vpc-1",
            "subnet_id": "subnet-1", "private_ip_address": "10.0.0.4", "private_dns_name": NAME,
            "placement": { "availability_zone": "us-west-2a" }, "state": { "name": "running" }, "_booted": true,
            "iam_instance_profile": { "arn": "arn:aws:iam::123456789012:instance-profile/node" },
            "tags": [{ "key": "kubernetes.io/cluster/prod", "value": "owned" }], "_user_data": user_data(GOOD),
        });
        world.put("ec2/instances", "i-1", instance);
        world
    }

    fn node(world: &World) -> Option<&Value> {
        world.store("prod").unwrap().get("nodes", NAME)
    }

    fn run_aws_node(world: &mut World) {
        let pod = json!({ "metadata": { "name": "aws-node-x", "namespace": "kube-system", "labels": { "k8s-app": "aws-node" } },
            "status": { "phase": "Pending" }, "spec": { "nodeName": NAME, "hostNetwork": true, "containers": [{ "name": "aws-node" }] } });
        kube::create(world, "prod", "pods", pod);
        settle(world);
    }

    #[test]
    fn an_instance_that_fits_becomes_a_node_that_is_ready_once_aws_node_runs() {
        let mut world = world();
        settle(&mut world);
        let found = node(&world).unwrap();
        assert_eq!(found["spec"]["providerID"], "aws:///us-west-2a/i-1");
        assert_eq!(found["metadata"]["labels"]["team"], "a");
        assert_eq!(found["status"]["capacity"]["pods"], "40");
        assert!(text(&found["status"]["nodeInfo"], "kubeletVersion").starts_with("v1.36.2-eks-"));
        assert_eq!(found["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
        pass(&mut world, 100);
        assert_eq!(node::readiness(node(&world).unwrap()), "False", "without aws-node there is no network");
        run_aws_node(&mut world);
        pass(&mut world, 8);
        assert_eq!(node::readiness(node(&world).unwrap()), "True");
        assert!(node(&world).unwrap()["spec"].get("taints").is_none());
        assert!(
            world
                .store("prod")
                .unwrap()
                .get("leases.coordination.k8s.io", &format!("kube-node-lease/{NAME}"))
                .is_some()
        );
    }

    /// What is wrong, how, and what is said about it.
    type Case = (fn(&mut World), fn(&Reason) -> bool);

    #[test]
    fn each_condition_keeps_an_instance_out_by_itself() {
        let set =
            |world: &mut World, key: &str, value: Value| world.find_mut("ec2/instances", "i-1").unwrap()[key] = value;
        assert_eq!(why_not(&world(), "i-1"), None);
        let cases: &[Case] = &[
            (
                |world| {
                    world.remove("eks/access_entries", &format!("prod/{ROLE}"));
                },
                |why| *why == Reason::RoleNotMapped(ROLE.to_owned()),
            ),
            (
                |world| {
                    world.remove("ec2/nat_gateways", "nat-1");
                },
                |why| *why == Reason::NoRoute,
            ),
            (
                |world| world.put("ec2/images", "ami-1", json!({ "name": "mine" })),
                |why| matches!(why, Reason::WrongImage(_)),
            ),
            (
                |world| {
                    world.put(
                        "ec2/images",
                        "ami-1",
                        json!({ "name": "amazon-eks-node-al2023-x86_64-standard-1.37-v1" }),
                    )
                },
                |why| matches!(why, Reason::WrongImage(text) if text.contains("1.37")),
            ),
            (
                |world| {
                    world.put(
                        "ec2/images",
                        "ami-1",
                        json!({ "name": "amazon-eks-node-al2023-x86_64-standard-1.32-v1" }),
                    )
                },
                |why| matches!(why, Reason::WrongImage(_)),
            ),
        ];
        for (number, (spoil, is_it)) in cases.iter().enumerate() {
            let mut world = world();
            spoil(&mut world);
            settle(&mut world);
            let why = why_not(&world, "i-1");
            assert!(why.as_ref().is_some_and(is_it), "{number}: {why:?}");
            assert!(node(&world).is_none(), "{number}");
        }
        let mut world = world();
        set(&mut world, "_failed", json!("kernel panic"));
        assert_eq!(why_not(&world, "i-1"), Some(Reason::InstanceFailed));
        set(&mut world, "_failed", Value::Null);
        let wrong = [("prod", "other"), ("https://api", "https://old"), ("Q0E=", "Q0I="), ("172.20", "10.100")];
        for (from, to) in wrong {
            set(&mut world, "_user_data", json!(user_data(&GOOD.replace(from, to))));
            assert!(matches!(why_not(&world, "i-1"), Some(Reason::UserData(_))), "{to}");
        }
        set(&mut world, "_user_data", json!(""));
        assert!(matches!(why_not(&world, "i-1"), Some(Reason::UserData(_))));
    }

    #[test]
    fn an_image_three_minors_behind_still_joins() {
        let mut world = world();
        world.put("ec2/images", "ami-1", json!({ "name": "amazon-eks-node-al2023-x86_64-standard-1.33-v1" }));
        assert_eq!(why_not(&world, "i-1"), None);
    }

    #[test]
    fn a_mapping_that_comes_late_lets_the_node_in() {
        let mut world = world();
        let entry = world.remove("eks/access_entries", &format!("prod/{ROLE}")).unwrap();
        settle(&mut world);
        assert!(node(&world).is_none());
        world.put("eks/access_entries", &format!("prod/{ROLE}"), entry);
        settle(&mut world);
        assert!(node(&world).is_some());
    }

    #[test]
    fn a_node_whose_role_is_unmapped_is_unknown_after_a_while_and_comes_back() {
        let mut world = world();
        settle(&mut world);
        run_aws_node(&mut world);
        pass(&mut world, 60);
        let entry = world.remove("eks/access_entries", &format!("prod/{ROLE}")).unwrap();
        settle(&mut world);
        pass(&mut world, 39);
        assert_eq!(node::readiness(node(&world).unwrap()), "True");
        pass(&mut world, 1);
        assert_eq!(node::readiness(node(&world).unwrap()), "Unknown");
        let pod = world.store("prod").unwrap().get("pods", "kube-system/aws-node-x").unwrap();
        assert!(!pod::is_ready(pod));
        world.put("eks/access_entries", &format!("prod/{ROLE}"), entry);
        settle(&mut world);
        pass(&mut world, 60);
        assert_eq!(node::readiness(node(&world).unwrap()), "True");
    }

    #[test]
    fn the_node_of_an_instance_that_ends_goes_with_its_pods() {
        let mut world = world();
        settle(&mut world);
        run_aws_node(&mut world);
        pass(&mut world, 60);
        world.find_mut("ec2/instances", "i-1").unwrap()["state"]["name"] = json!("shutting-down");
        settle(&mut world);
        assert_eq!(node::readiness(node(&world).unwrap()), "False");
        pass(&mut world, 60);
        let store = world.store("prod").unwrap();
        assert!(store.list("nodes").is_empty() && store.list("pods").is_empty());
        assert!(store.list("leases.coordination.k8s.io").is_empty());
    }
}
