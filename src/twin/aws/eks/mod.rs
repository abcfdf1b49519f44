//! EKS: file = family of resources.

pub mod access;
pub mod addon;
pub mod bootstrap;
pub mod cluster;
pub mod network;
pub mod node_access;
pub mod nodegroup;
pub mod pod_identity;
pub mod roll;
pub mod settings;
#[cfg(test)]
mod stage;
pub mod tags;
pub mod template;
pub mod update;
pub mod version;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::twin::aws::{Refusal, refuse, text};
use crate::twin::world::World;

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("InvalidParameterException", 400, message)
}

fn refused<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("InvalidRequestException", 400, message)
}

fn not_found<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("ResourceNotFoundException", 404, message)
}

fn in_use<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("ResourceInUseException", 409, message)
}

/// The cluster of this name.
fn cluster_of<'w>(world: &'w World, name: &str) -> Result<&'w Value, Refusal> {
    match world.find("eks/clusters", name) {
        Some(cluster) => Ok(cluster),
        None => not_found(format!("No cluster found for name: {name}.")),
    }
}

/// The cluster that `cluster_name` of an input names, if its API server runs.
fn running_cluster(world: &World, input: &Value) -> Result<Value, Refusal> {
    let name = text(input, "cluster_name");
    let cluster = cluster_of(world, name)?;
    match text(cluster, "status") {
        "CREATING" | "DELETING" | "FAILED" => refused(format!("Cluster '{name}' is not in ACTIVE status")),
        _ => Ok(cluster.clone()),
    }
}

/// Refuses a role that is not there, or that this service may not take.
fn check_role(world: &World, arn: &str, service: &str) -> Result<(), Refusal> {
    let role = world.table("iam/roles").values().find(|role| role["arn"] == arn);
    if role.is_some_and(|role| trusts(role, service)) {
        return Ok(());
    }
    let why = "because it does not exist or the trusted entity is not correct";
    invalid(format!("Role with arn: {arn}, could not be assumed {why}"))
}

/// Whether the trust policy of a role lets a service take it. Policies are JSON, percent-encoded as IAM shows them or plain.
fn trusts(role: &Value, service: &str) -> bool {
    let policy = text(role, "assume_role_policy_document");
    let plain = percent_decode_str(policy).decode_utf8_lossy();
    let policy: Value = serde_json::from_str(policy).or_else(|_| serde_json::from_str(&plain)).unwrap_or_default();
    listed(&policy["Statement"]).iter().any(|statement| {
        statement["Effect"] == "Allow" && listed(&statement["Principal"]["Service"]).iter().any(|one| **one == service)
    })
}

/// The items of a list, or the one that stands for a list of one.
fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

/// The tags of an input, none as an empty map.
fn tags_of(input: &Value) -> Value {
    if input["tags"].is_object() { input["tags"].clone() } else { Value::Object(Map::new()) }
}

/// Lays the fields of one map over another's; nothing changes nothing.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                under.insert(key.clone(), value.clone());
            }
        }
        (_, Value::Null) => {}
        (under, over) => *under = over.clone(),
    }
}
