//! The Node object, as the kubelet of an instance registers it and the node controllers change it.

use serde_json::{Value, json};

use super::selection::{list, text};
use super::{pod, user_data};
use crate::twin::world::World;

/// What is known of an instance that becomes a node.
pub struct Registering<'a> {
    /// The instance.
    pub instance: &'a Value,
    /// Its managed node group, or null.
    pub nodegroup: &'a Value,
    /// The merged NodeConfig, or null.
    pub config: &'a Value,
    /// Kubernetes of its kubelet: `1.36.2`.
    pub version: &'a str,
}

/// The limits of an instance type.
pub struct Limits {
    /// Network interfaces of the default card.
    pub interfaces: usize,
    /// Addresses of each.
    pub addresses: usize,
    cores: i64,
    memory_mib: i64,
}

/// The limits of an instance type; those of a large instance where the facts do not know it.
pub fn limits(world: &World, instance_type: &str) -> Limits {
    let known = world.find("ec2/instance_types", instance_type).unwrap_or(&Value::Null);
    let network = &known["network_info"];
    let index = network["default_network_card_index"].as_i64().unwrap_or(0);
    let card = list(&network["network_cards"]).iter().find(|card| card["network_card_index"] == index);
    let interfaces = card.unwrap_or(network)["maximum_network_interfaces"].as_u64();
    let size = |value: Option<u64>, usual: usize| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(usual);
    let memory = known["memory_info"].as_object().and_then(|info| info.values().find_map(Value::as_i64));
    Limits {
        interfaces: size(interfaces, 3),
        addresses: size(network["ipv4_addresses_per_interface"].as_u64(), 10),
        cores: known["v_cpu_info"]["default_v_cpus"].as_i64().unwrap_or(2),
        memory_mib: memory.unwrap_or(8192),
    }
}

impl Registering<'_> {
    /// As it is registered: not ready yet.
    pub fn object(&self, world: &World) -> Value {
        let (instance, name) = (self.instance, text(self.instance, "private_dns_name"));
        let limits = limits(world, text(instance, "instance_type"));
        let capacity = capacity(&limits, self.pods_max(&limits));
        let zone = text(&instance["placement"], "availability_zone");
        let now = world.now_text();
        let mut node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": self.labels(world, zone),
                "annotations": {
                    "alpha.kubernetes.io/provided-node-ip": instance["private_ip_address"],
                    "node.alpha.kubernetes.io/ttl": "0",
                    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                },
            },
            "spec": {
                "providerID": format!("aws:///{zone}/{}", text(instance, "instance_id")),
                "taints": self.taints(),
            },
            "status": {
                "capacity": capacity.0,
                "allocatable": capacity.1,
                "addresses": [
                    { "type": "InternalIP", "address": instance["private_ip_address"] },
                    { "type": "InternalDNS", "address": name },
                    { "type": "Hostname", "address": name },
                ],
                "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
                "nodeInfo": self.info(world),
            },
        });
        let healthy = [
            ("MemoryPressure", "KubeletHasSufficientMemory"),
            ("DiskPressure", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "KubeletHasSufficientPID"),
        ];
        for (name, reason) in healthy {
            pod::set_condition(&mut node, &now, json!({ "type": name, "status": "False", "reason": reason }));
        }
        set_not_ready(&mut node, &now, NO_NETWORK);
        node
    }

    fn is_arm(&self) -> bool {
        text(self.instance, "architecture") == "arm64"
    }

    fn labels(&self, world: &World, zone: &str) -> Value {
        let instance = self.instance;
        let architecture = if self.is_arm() { "arm64" } else { "amd64" };
        let zone_id = world.find("ec2/availability_zones", zone).map_or("", |zone| text(zone, "zone_id"));
        let mut labels = json!({
            "beta.kubernetes.io/arch": architecture,
            "beta.kubernetes.io/instance-type": instance["instance_type"],
            "beta.kubernetes.io/os": "linux",
            "failure-domain.beta.kubernetes.io/region": world.region,
            "failure-domain.beta.kubernetes.io/zone": zone,
            "kubernetes.io/arch": architecture,
            "kubernetes.io/hostname": instance["private_dns_name"],
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": instance["instance_type"],
            "topology.kubernetes.io/region": world.region,
            "topology.kubernetes.io/zone": zone,
        });
        if !zone_id.is_empty() {
            labels["topology.k8s.aws/zone-id"] = json!(zone_id);
        }
        for (key, value) in user_data::labels(self.config) {
            labels[key] = json!(value);
        }
        if self.nodegroup.is_object() {
            let capacity = self.nodegroup["capacity_type"].as_str().unwrap_or("ON_DEMAND");
            labels["eks.amazonaws.com/nodegroup"] = self.nodegroup["nodegroup_name"].clone();
            labels["eks.amazonaws.com/nodegroup-image"] = instance["image_id"].clone();
            labels["eks.amazonaws.com/capacityType"] = json!(capacity);
            for (key, value) in self.nodegroup["labels"].as_object().into_iter().flatten() {
                labels[key.as_str()] = value.clone();
            }
        }
        labels
    }

    fn taints(&self) -> Value {
        let told = user_data::taints(self.config).into_iter();
        let told = told.map(|(key, value, effect)| json!({ "key": key, "value": value, "effect": effect }));
        let managed = list(&self.nodegroup["taints"]).iter().map(|taint| {
            let effect = match text(taint, "effect") {
                "NO_SCHEDULE" => "NoSchedule",
                "NO_EXECUTE" => "NoExecute",
                _ => "PreferNoSchedule",
            };
            json!({ "key": taint["key"], "value": text(taint, "value"), "effect": effect })
        });
        told.chain(managed).collect()
    }

    /// What kubelet is told, else what the addresses allow; EKS caps it where it brings the AMI.
    fn pods_max(&self, limits: &Limits) -> i64 {
        if let Some(told) = self.config["kubelet"]["config"]["maxPods"].as_i64() {
            return told;
        }
        let by_addresses = i64::try_from(limits.interfaces * (limits.addresses.max(1) - 1) + 2).unwrap_or(110);
        let cap = if limits.cores < 30 { 110 } else { 250 };
        let is_capped = self.nodegroup.is_object() && text(self.nodegroup, "ami_type") != "CUSTOM";
        if is_capped { by_addresses.min(cap) } else { by_addresses }
    }

    fn info(&self, world: &World) -> Value {
        let id = text(self.instance, "instance_id").trim_start_matches("i-");
        let image = world.find("ec2/images", text(self.instance, "image_id")).map_or("", |image| text(image, "name"));
        let system = if image.contains("bottlerocket") { "Bottlerocket OS (aws-k8s)" } else { "Amazon Linux 2023" };
        let kubelet = format!("v{}-eks-{}", self.version, build_of(self.version));
        json!({
            "architecture": if self.is_arm() { "arm64" } else { "amd64" },
            "bootID": format!("b{id}"),
            "containerRuntimeVersion": "containerd://2.1.4",
            "kernelVersion": "6.12.46-66.121.amzn2023.x86_64".replace("x86_64", if self.is_arm() { "aarch64" } else { "x86_64" }),
            "kubeProxyVersion": kubelet,
            "kubeletVersion": kubelet,
            "machineID": format!("ec2{id}"),
            "operatingSystem": "linux",
            "osImage": system,
            "systemUUID": format!("ec2{id}"),
        })
    }
}

/// The build of EKS in a kubelet's version: seven digits that follow from the version.
fn build_of(version: &str) -> String {
    let sum = version.bytes().fold(0x0ea5_7ab1_u64, |sum, byte| (sum * 131 + u64::from(byte)) & 0xfff_ffff);
    format!("{sum:07x}")
}

/// Capacity, and what is left of it after what kubelet keeps for the system.
fn capacity(limits: &Limits, pods: i64) -> (Value, Value) {
    let millicores = limits.cores * 1000;
    let reserved_cpu = match limits.cores {
        ..=1 => 60,
        2 => 70,
        3..=4 => 70 + (limits.cores - 2) * 5,
        more => 80 + (more - 4) * 5 / 2,
    };
    // The kernel keeps some of the memory before kubelet counts it.
    let memory = limits.memory_mib * 1024 * 96 / 100;
    let reserved = (11 * pods + 255 + 100) * 1024;
    let both = |cpu: String, memory: i64, disk: &str| {
        json!({ "cpu": cpu, "memory": format!("{memory}Ki"), "ephemeral-storage": disk, "hugepages-1Gi": "0",
            "hugepages-2Mi": "0", "pods": pods.to_string() })
    };
    let all = both(limits.cores.to_string(), memory, "52357100Ki");
    let left = both(format!("{}m", millicores - reserved_cpu), (memory - reserved).max(0), "47182561535");
    (all, left)
}

/// What kubelet says until aws-node has set up the network.
pub const NO_NETWORK: &str = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                              message:Network plugin returns error: cni plugin not initialized";

/// Nodes that somebody made by hand and nobody runs: on a real cluster kwok plays them, here the twin does.
pub fn is_played(node: &Value) -> bool {
    node["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
}

/// A played node is ready at once, with room for more than anybody asks unless it says how much it has.
pub fn play(node: &mut Value, now: &str) {
    let conditions = [
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("NetworkUnavailable", "False", "RouteCreated", "RouteController created a route"),
    ];
    for (name, status, reason, message) in conditions {
        let condition = json!({ "type": name, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now });
        pod::set_condition(node, now, condition);
    }
    let name = text(&node["metadata"], "name").to_owned();
    let status = &mut node["status"];
    for room in ["allocatable", "capacity"] {
        if status[room].is_null() {
            status[room] = json!({ "cpu": "1k", "memory": "1Ti", "pods": "1M" });
        }
    }
    if status["addresses"].is_null() {
        status["addresses"] = json!([{ "type": "InternalIP", "address": "10.0.0.1" },
            { "type": "Hostname", "address": name }]);
    }
    status["daemonEndpoints"] = json!({ "kubeletEndpoint": { "Port": 10247 } });
    let info = &mut status["nodeInfo"];
    for (key, usual) in [
        ("architecture", "amd64"),
        ("bootID", ""),
        ("containerRuntimeVersion", "kwok-v0.8.0"),
        ("kernelVersion", "kwok-v0.8.0"),
        ("kubeProxyVersion", "kwok-v0.8.0"),
        ("kubeletVersion", "kwok-v0.8.0"),
        ("machineID", ""),
        ("operatingSystem", "linux"),
        ("osImage", ""),
        ("systemUUID", ""),
    ] {
        if info[key].as_str().unwrap_or_default().is_empty() {
            info[key] = json!(usual);
        }
    }
    status["phase"] = json!("Running");
    taint(node, None, now);
}

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Ready, and open for pods.
pub fn set_ready(node: &mut Value, now: &str) {
    let condition = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady",
        "message": "kubelet is posting ready status" });
    pod::set_condition(node, now, condition);
    taint(node, None, now);
    for (name, reason) in [
        ("MemoryPressure", "KubeletHasSufficientMemory"),
        ("DiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "KubeletHasSufficientPID"),
    ] {
        pod::set_condition(node, now, json!({ "type": name, "status": "False", "reason": reason }));
    }
}

/// Not ready, as its kubelet says itself.
pub fn set_not_ready(node: &mut Value, now: &str, message: &str) {
    let condition = json!({ "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message });
    pod::set_condition(node, now, condition);
    taint(node, Some(NOT_READY), now);
}

/// Nobody has heard of its kubelet for a while.
pub fn set_unknown(node: &mut Value, now: &str) {
    for name in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let condition = json!({ "type": name, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status." });
        pod::set_condition(node, now, condition);
    }
    taint(node, Some(UNREACHABLE), now);
}

/// No pod comes that does not tolerate the state of a node, and those that are there go when they have had enough of it.
fn taint(node: &mut Value, with: Option<&str>, now: &str) {
    let before = list(&node["spec"]["taints"]).to_vec();
    let mut taints = before.clone();
    taints.retain(|one| !matches!(text(one, "key"), NOT_READY | UNREACHABLE));
    for effect in ["NoSchedule", "NoExecute"] {
        let Some(key) = with else { break };
        let known = before.iter().find(|one| one["key"] == key && one["effect"] == effect).cloned();
        taints.push(known.unwrap_or_else(|| json!({ "key": key, "effect": effect, "timeAdded": now })));
    }
    if taints.is_empty() {
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        node["spec"]["taints"] = Value::Array(taints);
    }
}

/// The status of a node's condition `Ready`.
pub fn readiness(node: &Value) -> &str {
    let found = list(&node["status"]["conditions"]).iter().find(|one| one["type"] == "Ready");
    found.map_or("", |one| text(one, "status"))
}
