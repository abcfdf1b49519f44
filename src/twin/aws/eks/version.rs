//! Kubernetes versions that EKS offers.

use serde_json::{Value, json};

use super::{invalid, refused};
use crate::twin::aws::{Answer, Refusal, text, texts};
use crate::twin::world::World;

/// The minor number of `1.36`, or of `v1.36.3-eks-1`.
pub(super) fn minor(version: &str) -> u64 {
    let digits = version.split('.').nth(1).unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// `eks::describe_cluster_versions`: newest first.
pub(super) fn describe_cluster_versions(world: &mut World, input: &Value) -> Answer {
    let wanted = texts(&input["cluster_versions"]);
    let mut versions: Vec<Value> = world.table("eks/cluster_versions").values().cloned().collect();
    versions.retain(|one| {
        (wanted.is_empty() || wanted.contains(&text(one, "cluster_version")))
            && (input["default_only"] != true || one["default_version"] == true)
            && (input["version_status"].is_null() || one["version_status"] == input["version_status"])
            && (input["status"].is_null() || one["status"] == input["status"])
            && (input["include_all"] == true || one["version_status"] != "UNSUPPORTED")
    });
    versions.sort_by_key(|one| std::cmp::Reverse(minor(text(one, "cluster_version"))));
    Ok(json!({ "cluster_versions": versions }))
}

/// The version for a new cluster: the asked one if it is offered, EKS's default where none is asked for.
pub(super) fn offered(world: &World, asked: Option<&str>) -> Result<Value, Refusal> {
    let mut versions = world.table("eks/cluster_versions").values();
    let found = match asked {
        Some(asked) => versions.find(|one| one["cluster_version"] == asked && one["version_status"] != "UNSUPPORTED"),
        None => versions.find(|one| one["default_version"] == true),
    };
    match found {
        Some(version) => Ok(version.clone()),
        None => invalid(format!("unsupported Kubernetes version {}", asked.unwrap_or_default())),
    }
}

/// Versions between the control plane and the oldest kubelet that Kubernetes supports.
const SKEW_MAX: u64 = 3;

/// Days after an upgrade in which it can be undone.
const ROLLBACK_DAYS: i64 = 7;

/// What kind of update leads a cluster to this version, or why none does.
pub(super) fn update_kind(world: &World, cluster: &Value, input: &Value) -> Result<&'static str, Refusal> {
    let (now, wanted) = (text(cluster, "version"), text(input, "version"));
    offered(world, Some(wanted))?;
    if minor(wanted) == minor(now) {
        return invalid(format!("Cluster is already at the desired configuration with version: {now}"));
    }
    if minor(wanted) + 1 == minor(now) && may_roll_back(world, cluster) {
        return Ok("VersionRollback");
    }
    if minor(wanted) != minor(now) + 1 {
        return invalid(format!("Unsupported Kubernetes minor version update from {now} to {wanted}"));
    }
    let old = world.store(text(cluster, "name")).into_iter().flat_map(|store| store.list("nodes").values());
    let old = old.filter_map(|node| node["status"]["nodeInfo"]["kubeletVersion"].as_str());
    match old.map(minor).filter(|kubelet| *kubelet > 0).min() {
        Some(oldest) if oldest + SKEW_MAX < minor(wanted) && input["force"] != true => refused(format!(
            "Cluster cannot be updated to {wanted}: kubelets of version 1.{oldest} are more than {SKEW_MAX} minor \
             versions behind it"
        )),
        _ => Ok("VersionUpdate"),
    }
}

fn may_roll_back(world: &World, cluster: &Value) -> bool {
    let upgraded = cluster["_upgraded_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    upgraded.is_some_and(|at| world.now.duration_since(at) < jiff::SignedDuration::from_hours(24 * ROLLBACK_DAYS))
}
