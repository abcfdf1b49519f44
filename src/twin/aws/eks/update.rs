//! Updates: of one cluster, node group or add-on one at a time, each told of by its id.

use serde_json::{Value, json};

use super::{cluster_of, in_use, not_found};
use crate::twin::aws::{Answer, Refusal, text};
use crate::twin::world::World;

/// What is updated.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// The cluster itself.
    Cluster,
    /// A node group of it.
    Nodegroup(&'a str),
    /// An add-on of it.
    Addon(&'a str),
}

impl Of<'_> {
    fn is(&self, update: &Value) -> bool {
        let (nodegroup, addon) = (update["_nodegroup"].as_str(), update["_addon"].as_str());
        match self {
            Of::Cluster => nodegroup.is_none() && addon.is_none(),
            Of::Nodegroup(name) => nodegroup == Some(*name),
            Of::Addon(name) => addon == Some(*name),
        }
    }
}

/// Writes down that an update began, and answers it. `params`: names as EKS writes them, and values.
pub(super) fn begin(world: &mut World, cluster: &str, of: Of<'_>, kind: &str, params: &[(&str, String)]) -> Value {
    let id = world.uuid("update");
    let params: Vec<Value> = params.iter().map(|(name, value)| json!({ "type": name, "value": value })).collect();
    let mut update = json!({
        "id": id, "status": "InProgress", "type": kind, "params": params, "created_at": world.now_text(), "errors": [],
        "_cluster": cluster,
    });
    match of {
        Of::Cluster => {}
        Of::Nodegroup(name) => update["_nodegroup"] = json!(name),
        Of::Addon(name) => update["_addon"] = json!(name),
    }
    world.put("eks/updates", &id, update.clone());
    update
}

/// Ends what is under way: well where there are no errors.
pub(super) fn end(world: &mut World, cluster: &str, of: Of<'_>, errors: &[Value]) {
    let Some(id) = under_way(world, cluster, of) else { return };
    if let Some(update) = world.find_mut("eks/updates", &id) {
        update["status"] = json!(if errors.is_empty() { "Successful" } else { "Failed" });
        update["errors"] = json!(errors);
    }
}

/// The id of the update that is under way.
pub(super) fn under_way(world: &World, cluster: &str, of: Of<'_>) -> Option<String> {
    let mut updates = world.table("eks/updates").iter();
    let found = updates.find(|(_, one)| one["_cluster"] == cluster && one["status"] == "InProgress" && of.is(one));
    found.map(|(id, _)| id.clone())
}

/// Refuses an operation while an update is under way.
pub(super) fn check_idle(world: &World, cluster: &str, of: Of<'_>, operation: &str) -> Result<(), Refusal> {
    if under_way(world, cluster, of).is_none() {
        return Ok(());
    }
    let what = match of {
        Of::Cluster => format!("cluster {cluster}"),
        Of::Nodegroup(name) => format!("nodegroup {name}"),
        Of::Addon(name) => format!("addon {name}"),
    };
    in_use(format!("Cannot {operation} because {what} currently has an update in progress"))
}

fn of_input(input: &Value) -> Of<'_> {
    match (input["nodegroup_name"].as_str(), input["addon_name"].as_str()) {
        (Some(name), _) => Of::Nodegroup(name),
        (None, Some(name)) => Of::Addon(name),
        (None, None) => Of::Cluster,
    }
}

/// `eks::describe_update`.
pub(super) fn describe_update(world: &mut World, input: &Value) -> Answer {
    let (cluster, id) = (text(input, "name"), text(input, "update_id"));
    cluster_of(world, cluster)?;
    match world.find("eks/updates", id) {
        Some(update) if update["_cluster"] == cluster && of_input(input).is(update) => Ok(json!({ "update": update })),
        _ => not_found(format!("No update found for ID: {id}")),
    }
}

/// `eks::list_updates`.
pub(super) fn list_updates(world: &mut World, input: &Value) -> Answer {
    let cluster = text(input, "name");
    cluster_of(world, cluster)?;
    let of = of_input(input);
    let fitting = world.table("eks/updates").values().filter(|update| update["_cluster"] == cluster && of.is(update));
    let mut fitting: Vec<&Value> = fitting.collect();
    fitting.sort_by_key(|update| std::cmp::Reverse(text(update, "created_at").to_owned()));
    let ids: Vec<&str> = fitting.into_iter().map(|update| text(update, "id")).collect();
    Ok(json!({ "update_ids": ids }))
}

/// Drops the updates of a cluster that is gone.
pub(super) fn forget(world: &mut World, cluster: &str) {
    let updates = world.table("eks/updates").iter().filter(|(_, update)| update["_cluster"] == cluster);
    let ids: Vec<String> = updates.map(|(id, _)| id.clone()).collect();
    for id in ids {
        world.remove("eks/updates", &id);
    }
}
