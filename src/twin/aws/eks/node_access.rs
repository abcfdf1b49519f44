//! Ways in that EKS makes itself: for the creator of a cluster, and for the roles of managed node groups.

use serde_json::{Value, json};
use serde_yaml::Value as Yaml;

use super::access;
use crate::twin::aws::text;
use crate::twin::kube;
use crate::twin::world::World;

const ADMIN_POLICY: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
const AWS_AUTH: &str = "kube-system/aws-auth";

/// The role or user behind an ARN: of a session its role, with the role's path.
pub(super) fn principal_of(world: &World, arn: &str) -> String {
    let Some((head, session)) = arn.split_once(":assumed-role/") else { return arn.to_owned() };
    let name = session.split('/').next().unwrap_or(session);
    if let Some(role) = world.find("iam/roles", name) {
        return text(role, "arn").to_owned();
    }
    let account = head.split(':').nth(4).unwrap_or(&world.account);
    format!("arn:aws:iam::{account}:role/{name}")
}

/// Gives the creator of a cluster an entry with the rights of an administrator.
pub(super) fn admit_creator(world: &mut World, cluster: &Value) {
    let (name, creator) = (text(cluster, "name"), text(cluster, "_creator"));
    let key = access::key(name, creator);
    if creator.is_empty() || world.find("eks/access_entries", &key).is_some() {
        return;
    }
    let now = world.now_text();
    access::put(world, name, creator, "STANDARD", &json!({}));
    access::associate(world, &key, ADMIN_POLICY, json!({ "type": "cluster", "namespaces": [] }), &now);
}

/// What EKS does when a cluster begins to take access entries: its creator and its node groups get theirs.
pub(super) fn settle(world: &mut World, cluster: &Value) {
    let (name, mode) = (text(cluster, "name"), text(&cluster["access_config"], "authentication_mode"));
    if mode != "API_AND_CONFIG_MAP" {
        return;
    }
    if cluster["_bootstrap_creator"] == true {
        admit_creator(world, cluster);
    }
    let groups = world.table("eks/nodegroups").values().filter(|group| group["cluster_name"] == name);
    let roles: Vec<String> = groups.map(|group| text(group, "node_role").to_owned()).collect();
    for role in roles {
        admit_node_role(world, cluster, &role);
    }
}

/// Lets the role of a managed node group in, by every way that the cluster takes.
pub(super) fn admit_node_role(world: &mut World, cluster: &Value, role_arn: &str) {
    if world.is_off("node roles of managed groups") {
        return;
    }
    let (name, mode) = (text(cluster, "name"), text(&cluster["access_config"], "authentication_mode"));
    let key = access::key(name, role_arn);
    if mode != "CONFIG_MAP" && world.find("eks/access_entries", &key).is_none() {
        access::put(world, name, role_arn, "EC2_LINUX", &json!({}));
        if let Some(entry) = world.find_mut("eks/access_entries", &key) {
            entry["_made_by_eks"] = json!(true);
        }
    }
    if mode != "API" {
        map_role(world, name, role_arn);
    }
}

/// Takes back what EKS itself made for a role that no managed node group uses any more.
pub(super) fn dismiss_node_role(world: &mut World, cluster: &str, role_arn: &str) {
    let mut groups = world.table("eks/nodegroups").values();
    if groups.any(|group| group["cluster_name"] == cluster && group["node_role"] == role_arn) {
        return;
    }
    let key = access::key(cluster, role_arn);
    if world.find("eks/access_entries", &key).is_some_and(|entry| entry["_made_by_eks"] == true) {
        world.remove("eks/access_entries", &key);
    }
}

/// aws-auth knows no paths.
fn without_path(role_arn: &str) -> String {
    match role_arn.split_once(":role/") {
        Some((head, path)) => format!("{head}:role/{}", path.rsplit('/').next().unwrap_or(path)),
        None => role_arn.to_owned(),
    }
}

/// Adds a role of nodes to aws-auth, which is made where there is none. A map that is no YAML is left as it is.
fn map_role(world: &mut World, cluster: &str, role_arn: &str) {
    let arn = without_path(role_arn);
    let present = world.store(cluster).and_then(|store| store.get("configmaps", AWS_AUTH)).cloned();
    let roles = present.as_ref().and_then(|map| map["data"]["mapRoles"].as_str()).unwrap_or_default();
    let mut roles: Vec<Yaml> = match serde_yaml::from_str(roles) {
        Ok(Yaml::Sequence(roles)) => roles,
        Ok(Yaml::Null) => Vec::new(),
        _ => return,
    };
    let is_this = |role: &Yaml| role["rolearn"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(&arn));
    if roles.iter().any(is_this) {
        return;
    }
    let node = json!({
        "groups": ["system:bootstrappers", "system:nodes"], "rolearn": arn,
        "username": "system:node:{{EC2PrivateDNSName}}",
    });
    roles.extend(serde_yaml::to_value(node));
    let Ok(text) = serde_yaml::to_string(&roles) else { return };
    match (present, world.store_mut(cluster)) {
        (Some(_), Some(store)) => {
            store.change("configmaps", AWS_AUTH, |map| map["data"]["mapRoles"] = json!(text));
        }
        _ => {
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "aws-auth", "namespace": "kube-system" }, "data": { "mapRoles": text },
            });
            kube::create(world, cluster, "configmaps", map);
        }
    }
}
