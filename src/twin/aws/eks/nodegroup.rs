//! Managed node groups: made, watched until their nodes are Ready, changed, deleted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::update::{self, Of};
use super::{check_role, cluster_of, in_use, invalid, merge, network, node_access, not_found, roll, running_cluster};
use super::{tags_of, template};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, text, texts, within};
use crate::twin::physics::Controller;
use crate::twin::physics::join::{self, Reason};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("eks::create_nodegroup", create_nodegroup),
    ("eks::delete_nodegroup", delete_nodegroup),
    ("eks::describe_nodegroup", describe_nodegroup),
    ("eks::list_nodegroups", list_nodegroups),
    ("eks::update_nodegroup_config", update_nodegroup_config),
    ("eks::update_nodegroup_version", roll::update_nodegroup_version),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(TABLE, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller {
        name: "node groups",
        watches: &[TABLE, "kube/nodes", "autoscaling/groups", "ec2/instances"],
        run: watch,
    },
    Controller {
        name: "node group updates",
        watches: &[
            TABLE,
            "kube/nodes",
            "kube/pods",
            "kube/poddisruptionbudgets.policy",
            "autoscaling/groups",
            "ec2/instances",
        ],
        run: roll::watch,
    },
];

/// Node groups by `cluster/name`.
pub(super) const TABLE: &str = "eks/nodegroups";

/// The label by which a node belongs to its group.
const LABEL: &str = "eks.amazonaws.com/nodegroup";

fn key(cluster: &str, name: &str) -> String {
    format!("{cluster}/{name}")
}

/// The key of the node group that an input names, and the group.
pub(super) fn group_of(world: &World, input: &Value) -> Result<(String, Value), Refusal> {
    let (cluster, name) = (text(input, "cluster_name"), text(input, "nodegroup_name"));
    cluster_of(world, cluster)?;
    let key = key(cluster, name);
    match world.find(TABLE, &key) {
        Some(group) => Ok((key, group.clone())),
        None => not_found(format!("No node group found for name: {name}.")),
    }
}

// ---- made

fn create_nodegroup(world: &mut World, input: &Value) -> Answer {
    let cluster = running_cluster(world, input)?;
    let (cluster_name, name) = (text(input, "cluster_name"), text(input, "nodegroup_name"));
    let key = key(cluster_name, name);
    if world.find(TABLE, &key).is_some() {
        return in_use(format!("NodeGroup already exists with name {name} and cluster name {cluster_name}"));
    }
    check_role(world, text(input, "node_role"), "ec2.amazonaws.com")?;
    check_subnets(world, &cluster, input)?;
    let scaling = scaling(&json!({ "min_size": 1, "max_size": 2, "desired_size": 2 }), &input["scaling_config"])?;
    let template = match input["launch_template"].is_object() {
        true => Some(template::customers(world, &input["launch_template"])?),
        false => None,
    };
    let is_custom = template.as_ref().is_some_and(|(_, data)| data["image_id"].is_string());
    check_template(input, template.as_ref().map(|(_, data)| data), is_custom)?;
    let version = text(&cluster, "version");
    check_version(input, version)?;
    let ami_type = if is_custom { "CUSTOM" } else { input["ami_type"].as_str().unwrap_or("AL2023_x86_64_STANDARD") };
    check_instance_types(world, ami_type, &texts(&input["instance_types"]))?;
    let id = world.uuid("node group");
    let mut group = json!({
        "nodegroup_name": name, "cluster_name": cluster_name, "status": "CREATING", "version": version,
        "nodegroup_arn": world.arn("eks", &format!("nodegroup/{cluster_name}/{name}/{id}")),
        "created_at": world.now_text(), "modified_at": world.now_text(), "node_role": input["node_role"],
        "capacity_type": input["capacity_type"].as_str().unwrap_or("ON_DEMAND"), "scaling_config": scaling,
        "subnets": input["subnets"], "ami_type": ami_type, "health": { "issues": [] }, "tags": tags_of(input),
        "labels": if input["labels"].is_object() { input["labels"].clone() } else { json!({}) },
        "update_config": if input["update_config"].is_object() { input["update_config"].clone() } else { json!({ "max_unavailable": 1 }) },
        "release_version": input["release_version"].as_str().map_or_else(|| template::release(world, ami_type, version), str::to_owned),
    });
    if is_custom {
        group["release_version"] = template.as_ref().map(|(_, data)| data["image_id"].clone()).unwrap_or_default();
    }
    match template {
        Some((shown, _)) => group["launch_template"] = shown,
        None => group["disk_size"] = json!(input["disk_size"].as_i64().unwrap_or(20)),
    }
    let template_names_type = group["launch_template"].is_object() && input["instance_types"].is_null();
    if !template_names_type {
        group["instance_types"] =
            if input["instance_types"].is_array() { input["instance_types"].clone() } else { json!(["t3.medium"]) };
    }
    for optional in ["taints", "remote_access", "node_repair_config", "warm_pool_config"] {
        if !input[optional].is_null() {
            group[optional] = input[optional].clone();
        }
    }
    // EKS maps the role before it launches the first instance.
    node_access::admit_node_role(world, &cluster, text(input, "node_role"));
    world.put(TABLE, &key, group.clone());
    world.begin(TABLE, &key, "SCALED");
    Ok(json!({ "nodegroup": group }))
}

fn check_subnets(world: &World, cluster: &Value, input: &Value) -> Result<(), Refusal> {
    let vpc = text(&cluster["resources_vpc_config"], "vpc_id");
    for subnet in network::subnets(world, &texts(&input["subnets"]))? {
        if subnet["vpc_id"] != vpc {
            let id = text(subnet, "subnet_id");
            return invalid(format!("Subnet {id} is not in the VPC {vpc} of the cluster"));
        }
    }
    Ok(())
}

/// The scaling of a group with what is asked laid over what is.
fn scaling(now: &Value, asked: &Value) -> Result<Value, Refusal> {
    let mut scaling = now.clone();
    merge(&mut scaling, asked);
    let size = |key: &str| scaling[key].as_i64().unwrap_or(0);
    let (min, desired, max) = (size("min_size"), size("desired_size"), size("max_size"));
    if max < 1 {
        return invalid(format!("Maximum size {max} must be at least 1"));
    }
    if min > desired {
        return invalid(format!("Minimum capacity {min} can't be greater than desired size {desired}"));
    }
    if desired > max {
        return invalid(format!("desired capacity {desired} can't be greater than max size {max}"));
    }
    Ok(scaling)
}

/// What a node group and its launch template may not both say.
fn check_template(input: &Value, data: Option<&Value>, is_custom: bool) -> Result<(), Refusal> {
    let Some(data) = data else { return Ok(()) };
    if !input["disk_size"].is_null() {
        return invalid("Disk size must be specified within the launch template.");
    }
    if !input["remote_access"].is_null() {
        return invalid("Remote access configuration cannot be specified with a launch template.");
    }
    if data["instance_type"].is_string() && input["instance_types"].is_array() {
        return invalid("You cannot specify instance types both in the launch template and in the API request.");
    }
    if data["iam_instance_profile"].is_object() {
        return invalid("The IAM instance profile must not be specified in the launch template: EKS makes its own.");
    }
    for field in ["ami_type", "version", "release_version"] {
        if is_custom && !input[field].is_null() && input[field] != "CUSTOM" {
            return invalid(format!("You cannot specify the field {field} when using custom AMIs."));
        }
    }
    Ok(())
}

fn check_version(input: &Value, cluster_version: &str) -> Result<(), Refusal> {
    match input["version"].as_str() {
        Some(version) if version != cluster_version => {
            invalid(format!("Nodegroup version {version} must match the cluster version {cluster_version}"))
        }
        _ => Ok(()),
    }
}

fn check_instance_types(world: &World, ami_type: &str, types: &[&str]) -> Result<(), Refusal> {
    let facts = world.table("ec2/instance_types");
    for name in types {
        let Some(fact) = facts.get(*name) else {
            if facts.is_empty() {
                continue;
            }
            return invalid(format!("The following supplied instance types do not exist: [{name}]"));
        };
        let architectures = texts(&fact["processor_info"]["supported_architectures"]);
        let fits = architectures.is_empty() || architectures.contains(&template::architecture(ami_type));
        if ami_type != "CUSTOM" && !fits {
            return invalid(format!("[{name}] is not a valid instance type for requested amiType {ami_type}"));
        }
    }
    Ok(())
}

/// Makes what the group consists of: instance profile, launch template, Auto Scaling group.
fn scale_out(world: &mut World, key: &str) {
    let Some(mut group) = world.find(TABLE, key).cloned() else { return };
    let Some(cluster) = world.find("eks/clusters", text(&group, "cluster_name")).cloned() else { return };
    group["_profile"] = make_profile(world, &group);
    let template = match template::make(world, &cluster, &group) {
        Ok(template) => template,
        Err(refusal) => {
            return fail(world, key, &[issue("Ec2LaunchTemplateInvalidConfiguration", &refusal.message, &[])]);
        }
    };
    group["_template"] = template.clone();
    let id = world.uuid("Auto Scaling group of a node group");
    let name = format!("eks-{}-{id}", text(&group, "nodegroup_name"));
    let scaling = &group["scaling_config"];
    let input = json!({
        "auto_scaling_group_name": name, "min_size": scaling["min_size"], "max_size": scaling["max_size"],
        "desired_capacity": scaling["desired_size"], "vpc_zone_identifier": texts(&group["subnets"]).join(","),
        "launch_template": template, "health_check_type": "EC2", "health_check_grace_period": 15,
        "capacity_rebalance": true, "tags": group_tags(&group, &name),
    });
    let made = within(world, "autoscaling::create_auto_scaling_group", input);
    if made.is_ok() {
        group["_asg"] = json!(name);
        group["resources"] = json!({ "auto_scaling_groups": [{ "name": name }] });
    }
    world.put(TABLE, key, group);
    match made {
        Ok(_) => world.begin(TABLE, key, "CREATE_FAILED"),
        Err(refusal) => fail(world, key, &[issue("AutoScalingGroupInvalidConfiguration", &refusal.message, &[])]),
    }
}

/// EKS puts the node role into an instance profile of its own.
fn make_profile(world: &mut World, group: &Value) -> Value {
    let name = format!("eks-{}", world.uuid("instance profile of a node group"));
    let role = text(group, "node_role").rsplit('/').next().unwrap_or_default().to_owned();
    let made = within(world, "iam::create_instance_profile", json!({ "instance_profile_name": name })).and_then(|_| {
        let input = json!({ "instance_profile_name": name, "role_name": role });
        within(world, "iam::add_role_to_instance_profile", input)
    });
    if made.is_ok() { json!(name) } else { Value::Null }
}

fn group_tags(group: &Value, name: &str) -> Value {
    let cluster = text(group, "cluster_name");
    let mut tags = template::owner_tags(group);
    tags.push((format!("kubernetes.io/cluster/{cluster}"), "owned".to_owned()));
    tags.push(("k8s.io/cluster-autoscaler/enabled".to_owned(), "true".to_owned()));
    tags.push((format!("k8s.io/cluster-autoscaler/{cluster}"), "owned".to_owned()));
    let shown = tags.into_iter().map(|(key, value)| {
        json!({
            "key": key, "value": value, "propagate_at_launch": true, "resource_id": name,
            "resource_type": "auto-scaling-group",
        })
    });
    shown.collect()
}

// ---- read

fn describe_nodegroup(world: &mut World, input: &Value) -> Answer {
    let (_, mut group) = group_of(world, input)?;
    // What an autoscaler did to the Auto Scaling group shows here too.
    if let Some(scaled) = auto_scaling_group(world, &group)
        && group["status"] == "ACTIVE"
    {
        group["scaling_config"]["desired_size"] = scaled["desired_capacity"].clone();
    }
    Ok(json!({ "nodegroup": group }))
}

fn list_nodegroups(world: &mut World, input: &Value) -> Answer {
    let cluster = text(input, "cluster_name");
    cluster_of(world, cluster)?;
    let groups = world.table(TABLE).values().filter(|group| group["cluster_name"] == cluster);
    let names: Vec<&str> = groups.map(|group| text(group, "nodegroup_name")).collect();
    Ok(json!({ "nodegroups": names }))
}

/// The Auto Scaling group of a node group.
pub(super) fn auto_scaling_group<'w>(world: &'w World, group: &Value) -> Option<&'w Value> {
    world.find("autoscaling/groups", group["_asg"].as_str()?)
}

/// The ids of the instances that a node group has now, without those that are going.
pub(super) fn instances(world: &World, group: &Value) -> Vec<String> {
    let scaled = auto_scaling_group(world, group);
    let instances = scaled.and_then(|scaled| scaled["instances"].as_array()).into_iter().flatten();
    let staying = instances.filter(|one| !text(one, "lifecycle_state").starts_with("Terminat"));
    staying.map(|one| text(one, "instance_id").to_owned()).collect()
}

/// A node of a group: its name, the id of its instance, and whether it is Ready.
pub(super) struct Member {
    /// The name of the node.
    pub node: String,
    /// Its instance.
    pub instance: String,
    /// Whether its kubelet says so.
    pub is_ready: bool,
}

/// The nodes of the instances that a node group has.
pub(super) fn members(world: &World, group: &Value) -> Vec<Member> {
    let ids: BTreeSet<String> = instances(world, group).into_iter().collect();
    let store = world.store(text(group, "cluster_name"));
    let nodes = store.into_iter().flat_map(|store| store.list("nodes").iter());
    let member = |(name, node): (&String, &Value)| {
        let instance = text(&node["spec"], "providerID").rsplit('/').next().unwrap_or_default().to_owned();
        ids.contains(&instance).then(|| Member { node: name.clone(), instance, is_ready: is_ready(node) })
    };
    nodes.filter_map(member).collect()
}

fn is_ready(node: &Value) -> bool {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

// ---- changed, deleted

fn update_nodegroup_config(world: &mut World, input: &Value) -> Answer {
    let (key, group) = group_of(world, input)?;
    check_updatable(world, &group, "UpdateNodegroupConfig")?;
    let scaling = scaling(&group["scaling_config"], &input["scaling_config"])?;
    let mut changes = json!({ "scaling_config": scaling, "modified_at": world.now_text(), "status": "UPDATING" });
    changes["labels"] = changed_labels(&group["labels"], &input["labels"]);
    let taints = changed_taints(&group["taints"], &input["taints"]);
    if !taints.is_empty() || group["taints"].is_array() {
        changes["taints"] = Value::Array(taints);
    }
    for field in ["update_config", "node_repair_config", "warm_pool_config"] {
        if !input[field].is_null() {
            changes[field] = input[field].clone();
        }
    }
    if input["scaling_config"].is_object() {
        scale(world, &group, &scaling)?;
    }
    let (cluster, name) = (text(input, "cluster_name"), text(input, "nodegroup_name"));
    let update = update::begin(world, cluster, Of::Nodegroup(name), "ConfigUpdate", &params_of(input));
    if let Some(group) = world.find_mut(TABLE, &key) {
        merge(group, &changes);
        group["_gone_labels"] = input["labels"]["remove_labels"].clone();
    }
    world.begin(TABLE, &key, "UPDATED");
    Ok(json!({ "update": update }))
}

/// Refuses updates of a group that is being made, changed or deleted.
pub(super) fn check_updatable(world: &World, group: &Value, operation: &str) -> Result<(), Refusal> {
    let (cluster, name) = (text(group, "cluster_name"), text(group, "nodegroup_name"));
    update::check_idle(world, cluster, Of::Nodegroup(name), operation)?;
    match text(group, "status") {
        "ACTIVE" | "DEGRADED" => Ok(()),
        status => in_use(format!("Nodegroup {name} cannot be updated as it is currently in {status} state")),
    }
}

fn params_of(input: &Value) -> Vec<(&'static str, String)> {
    let fields = [
        ("scaling_config", "min_size", "MinSize"),
        ("scaling_config", "max_size", "MaxSize"),
        ("scaling_config", "desired_size", "DesiredSize"),
        ("update_config", "max_unavailable", "MaxUnavailable"),
        ("labels", "add_or_update_labels", "LabelsToAdd"),
        ("labels", "remove_labels", "LabelsToRemove"),
        ("taints", "add_or_update_taints", "TaintsToAdd"),
        ("taints", "remove_taints", "TaintsToRemove"),
    ];
    let asked = fields.iter().filter(|(of, field, _)| !input[*of][*field].is_null());
    asked.map(|(of, field, name)| (*name, input[*of][*field].to_string())).collect()
}

fn changed_labels(now: &Value, asked: &Value) -> Value {
    let mut labels = if now.is_object() { now.clone() } else { json!({}) };
    merge(&mut labels, &asked["add_or_update_labels"]);
    if let Some(labels) = labels.as_object_mut() {
        labels.retain(|key, _| !texts(&asked["remove_labels"]).contains(&key.as_str()));
    }
    labels
}

fn changed_taints(now: &Value, asked: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (added, removed) = (list(&asked["add_or_update_taints"]), list(&asked["remove_taints"]));
    let same = |one: &Value, other: &Value| one["key"] == other["key"] && one["effect"] == other["effect"];
    let mut taints = list(now);
    taints.retain(|taint| !added.iter().chain(&removed).any(|other| same(taint, other)));
    taints.extend(added);
    taints
}

/// Gives the Auto Scaling group these sizes.
pub(super) fn scale(world: &mut World, group: &Value, scaling: &Value) -> Answer {
    within(
        world,
        "autoscaling::update_auto_scaling_group",
        json!({
            "auto_scaling_group_name": group["_asg"], "min_size": scaling["min_size"], "max_size": scaling["max_size"],
            "desired_capacity": scaling["desired_size"],
        }),
    )
}

fn delete_nodegroup(world: &mut World, input: &Value) -> Answer {
    let (key, group) = group_of(world, input)?;
    let (cluster, name) = (text(input, "cluster_name"), text(input, "nodegroup_name"));
    update::check_idle(world, cluster, Of::Nodegroup(name), "DeleteNodegroup")?;
    if group["status"] != "DELETING" {
        world.forget(TABLE, &key);
        if let Some(group) = world.find_mut(TABLE, &key) {
            group["status"] = json!("DELETING");
        }
        if auto_scaling_group(world, &group).is_some() {
            scale(world, &group, &json!({ "min_size": 0, "max_size": 0, "desired_size": 0 }))?;
        }
    }
    let (_, group) = group_of(world, input)?;
    Ok(json!({ "nodegroup": group }))
}

// ---- what comes of it

fn arrive(world: &mut World, key: &str, to: &str) {
    match to {
        "SCALED" => scale_out(world, key),
        "ACTIVE" => activate(world, key),
        "CREATE_FAILED" => {
            let Some(group) = world.find(TABLE, key).cloned() else { return };
            let issues = issues(world, &group);
            fail(world, key, &issues);
        }
        "UPDATED" => configured(world, key),
        "EVICTION_TIMEOUT" => roll::eviction_timed_out(world, key),
        "NODES_TIMEOUT" => roll::nodes_timed_out(world, key),
        _ => vanish(world, key),
    }
}

fn activate(world: &mut World, key: &str) {
    let Some(group) = world.find(TABLE, key).cloned() else { return };
    if group["status"] != "CREATING" || !is_complete(world, &group) {
        return;
    }
    world.forget(TABLE, key);
    if let Some(group) = world.find_mut(TABLE, key) {
        merge(group, &json!({ "status": "ACTIVE", "health": { "issues": [] } }));
    }
}

/// Whether all nodes that are wanted are Ready.
fn is_complete(world: &World, group: &Value) -> bool {
    let Some(scaled) = auto_scaling_group(world, group) else { return false };
    let ready = members(world, group).iter().filter(|member| member.is_ready).count();
    scaled["desired_capacity"].as_u64().is_some_and(|wanted| ready as u64 >= wanted)
}

fn fail(world: &mut World, key: &str, issues: &[Value]) {
    world.forget(TABLE, key);
    if let Some(group) = world.find_mut(TABLE, key) {
        merge(group, &json!({ "status": "CREATE_FAILED", "health": { "issues": issues } }));
    }
}

/// One issue of a node group's health.
pub(super) fn issue(code: &str, message: &str, resources: &[String]) -> Value {
    json!({ "code": code, "message": message, "resource_ids": resources })
}

/// Why nodes are missing, in the words of EKS.
fn issues(world: &World, group: &Value) -> Vec<Value> {
    let Some(scaled) = auto_scaling_group(world, group) else { return vec![group_not_found(group)] };
    let present = instances(world, group);
    let wanted = scaled["desired_capacity"].as_u64().unwrap_or(0);
    let mut issues = Vec::new();
    if (present.len() as u64) < wanted
        && let Some(why) = launch_failure(world, text(group, "_asg"))
    {
        let resources = [text(group, "_asg").to_owned()];
        issues.push(issue(
            "AsgInstanceLaunchFailures",
            &format!("Could not launch On-Demand Instances. {why}"),
            &resources,
        ));
    }
    let ready: BTreeSet<String> =
        members(world, group).into_iter().filter(|member| member.is_ready).map(|member| member.instance).collect();
    let missing: Vec<String> = present.into_iter().filter(|id| !ready.contains(id)).collect();
    let unreachable = missing.iter().filter(|id| join::why_not(world, id) == Some(Reason::NoRoute));
    let subnets: BTreeSet<&str> = unreachable
        .filter_map(|id| world.find("ec2/instances", id).map(|instance| text(instance, "subnet_id")))
        .filter(|subnet| is_public_without_addresses(world, subnet))
        .collect();
    if !subnets.is_empty() {
        let list: Vec<&str> = subnets.iter().copied().collect();
        let message = format!(
            "One or more Amazon EC2 Subnets of [{}] for node group {} does not automatically assign public IP addresses \
             to instances launched into it. If you want your instances to be assigned a public IP address, then you \
             need to enable auto-assign public IP address for the subnet.",
            list.join(", "),
            text(group, "nodegroup_name"),
        );
        let resources: Vec<String> = list.into_iter().map(str::to_owned).collect();
        issues.push(issue("Ec2SubnetInvalidConfiguration", &message, &resources));
    } else if !missing.is_empty() || issues.is_empty() {
        issues.push(issue("NodeCreationFailure", "Instances failed to join the kubernetes cluster", &missing));
    }
    issues
}

/// What the last activity of an Auto Scaling group says that failed.
fn launch_failure(world: &World, name: &str) -> Option<String> {
    let activities = world.table("autoscaling/activities").values();
    let of_group = activities.filter(|one| one["auto_scaling_group_name"] == name && one["status_code"] == "Failed");
    of_group.max_by_key(|one| text(one, "start_time").to_owned()).map(|one| text(one, "status_message").to_owned())
}

/// Whether a subnet has a route to an internet gateway and gives its instances no public address.
fn is_public_without_addresses(world: &World, subnet_id: &str) -> bool {
    let Some(subnet) = world.find("ec2/subnets", subnet_id) else { return false };
    let tables = || world.table("ec2/route_tables").values().filter(|table| table["vpc_id"] == subnet["vpc_id"]);
    let has = |table: &&Value, key: &str, value: &Value| {
        let mut associations = table["associations"].as_array().into_iter().flatten();
        associations.any(|association| association[key] == *value)
    };
    let own = tables().find(|table| has(table, "subnet_id", &json!(subnet_id)));
    let table = own.or_else(|| tables().find(|table| has(table, "main", &json!(true))));
    let mut routes = table.into_iter().flat_map(|table| table["routes"].as_array().into_iter().flatten());
    subnet["map_public_ip_on_launch"] != true && routes.any(|route| text(route, "gateway_id").starts_with("igw-"))
}

/// An update of the configuration has come through: nodes have the labels and taints of their group.
fn configured(world: &mut World, key: &str) {
    let Some(group) = world.find_mut(TABLE, key) else { return };
    group["status"] = json!("ACTIVE");
    let gone = group["_gone_labels"].take();
    let group = group.clone();
    let cluster = text(&group, "cluster_name");
    for member in members(world, &group) {
        dress(world, &group, &member.node, &texts(&gone));
    }
    update::end(world, cluster, Of::Nodegroup(text(&group, "nodegroup_name")), &[]);
}

/// Gives a node the labels and taints of its group.
fn dress(world: &mut World, group: &Value, node: &str, gone_labels: &[&str]) {
    let (labels, taints) = (template::labels(group, None), template::taints(group));
    let Some(store) = world.store_mut(text(group, "cluster_name")) else { return };
    store.change("nodes", node, |node| {
        for (key, value) in labels {
            node["metadata"]["labels"][key] = value;
        }
        if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
            labels.retain(|key, _| !gone_labels.contains(&key.as_str()));
        }
        let mut all = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        for taint in taints {
            all.retain(|one| one["key"] != taint["key"] || one["effect"] != taint["effect"]);
            all.push(taint);
        }
        if !all.is_empty() {
            node["spec"]["taints"] = Value::Array(all);
        }
    });
}

fn group_not_found(group: &Value) -> Value {
    let message = "We couldn't find the Auto Scaling group associated with the managed node group. You may be able to \
                   recreate an Auto Scaling group with the same settings to recover.";
    issue("AutoScalingGroupNotFound", message, &[text(group, "_asg").to_owned()])
}

/// Adopts nodes that joined, and follows what became of groups.
fn watch(world: &mut World) {
    let groups: Vec<(String, Value)> = world.table(TABLE).iter().map(|(key, one)| (key.clone(), one.clone())).collect();
    for (key, group) in groups {
        if group["_asg"].is_null() {
            if group["status"] == "DELETING" && !world.is_planned(TABLE, &key, "DELETED") {
                world.begin(TABLE, &key, "DELETED");
            }
            continue;
        }
        adopt(world, &group);
        match text(&group, "status") {
            "CREATING" if is_complete(world, &group) && !world.is_planned(TABLE, &key, "ACTIVE") => {
                world.begin(TABLE, &key, "ACTIVE");
            }
            "ACTIVE" if auto_scaling_group(world, &group).is_none() => {
                let issues = json!([group_not_found(&group)]);
                if let Some(group) = world.find_mut(TABLE, &key) {
                    merge(group, &json!({ "status": "DEGRADED", "health": { "issues": issues } }));
                }
            }
            "DELETING" if is_empty(world, &group) && !world.is_planned(TABLE, &key, "DELETED") => {
                world.begin(TABLE, &key, "DELETED");
            }
            _ => {}
        }
    }
}

fn is_empty(world: &World, group: &Value) -> bool {
    let scaled = auto_scaling_group(world, group);
    scaled.and_then(|scaled| scaled["instances"].as_array()).is_none_or(Vec::is_empty)
}

/// Nodes that joined without the labels of their group, as those of custom AMIs do, get them from EKS.
fn adopt(world: &mut World, group: &Value) {
    let store = world.store(text(group, "cluster_name"));
    let is_bare = |node: &String| {
        let found = store.and_then(|store| store.get("nodes", node));
        found.is_some_and(|found| found["metadata"]["labels"][LABEL].is_null())
    };
    let bare: Vec<String> =
        members(world, group).into_iter().map(|member| member.node).filter(|node| is_bare(node)).collect();
    for node in bare {
        dress(world, group, &node, &[]);
    }
}

fn vanish(world: &mut World, key: &str) {
    let Some(group) = world.remove(TABLE, key) else { return };
    if let Some(name) = group["_asg"].as_str() {
        let input = json!({ "auto_scaling_group_name": name, "force_delete": true });
        let _ = within(world, "autoscaling::delete_auto_scaling_group", input);
    }
    if let Some(id) = group["_template"]["launch_template_id"].as_str() {
        let _ = within(world, "ec2::delete_launch_template", json!({ "launch_template_id": id }));
    }
    if let Some(profile) = group["_profile"].as_str() {
        let role = text(&group, "node_role").rsplit('/').next().unwrap_or_default();
        let membership = json!({ "instance_profile_name": profile, "role_name": role });
        let _ = within(world, "iam::remove_role_from_instance_profile", membership);
        let _ = within(world, "iam::delete_instance_profile", json!({ "instance_profile_name": profile }));
    }
    node_access::dismiss_node_role(world, text(&group, "cluster_name"), text(&group, "node_role"));
}
