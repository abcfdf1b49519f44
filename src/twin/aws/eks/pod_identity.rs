//! Pod Identity: which role the pods of a service account get.

use serde_json::{Value, json};

use super::{check_role, in_use, not_found, running_cluster, tags_of};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, text};
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("eks::create_pod_identity_association", create_pod_identity_association),
    ("eks::delete_pod_identity_association", delete_pod_identity_association),
    ("eks::describe_pod_identity_association", describe_pod_identity_association),
    ("eks::list_pod_identity_associations", list_pod_identity_associations),
    ("eks::update_pod_identity_association", update_pod_identity_association),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const TABLE: &str = "eks/pod_identity_associations";

/// The service that takes these roles.
const SERVICE: &str = "pods.eks.amazonaws.com";

fn key_of(world: &World, input: &Value) -> Result<String, Refusal> {
    let (cluster, id) = (text(input, "cluster_name"), text(input, "association_id"));
    super::cluster_of(world, cluster)?;
    let key = format!("{cluster}/{id}");
    match world.find(TABLE, &key) {
        Some(_) => Ok(key),
        None => not_found(format!("Association not found for association ID: {id}")),
    }
}

fn create_pod_identity_association(world: &mut World, input: &Value) -> Answer {
    running_cluster(world, input)?;
    check_role(world, text(input, "role_arn"), SERVICE)?;
    Ok(json!({ "association": associate(world, input, None)? }))
}

/// Makes an association, of an add-on where `owner` is its ARN.
pub(super) fn associate(world: &mut World, asked: &Value, owner: Option<&str>) -> Answer {
    let same =
        |one: &&Value| ["cluster_name", "namespace", "service_account"].iter().all(|key| one[*key] == asked[*key]);
    if let Some(present) = world.table(TABLE).values().find(same) {
        return in_use(format!("Association already exists: {}", text(present, "association_id")));
    }
    let id = format!("a-{}", world.digits("pod identity association", 17));
    let cluster = text(asked, "cluster_name");
    let mut association = json!({
        "cluster_name": cluster, "namespace": asked["namespace"], "service_account": asked["service_account"],
        "role_arn": asked["role_arn"], "association_id": id, "tags": tags_of(asked),
        "association_arn": world.arn("eks", &format!("podidentityassociation/{cluster}/{id}")),
        "created_at": world.now_text(), "modified_at": world.now_text(),
        "disable_session_tags": asked["disable_session_tags"] == true,
    });
    if let Some(owner) = owner {
        association["owner_arn"] = json!(owner);
    }
    for optional in ["target_role_arn", "policy"] {
        if !asked[optional].is_null() {
            association[optional] = asked[optional].clone();
        }
    }
    world.put(TABLE, &format!("{cluster}/{id}"), association.clone());
    Ok(association)
}

/// Removes what belongs to an add-on.
pub(super) fn remove_owned(world: &mut World, owner: &str) {
    let owned = world.table(TABLE).iter().filter(|(_, one)| one["owner_arn"] == owner);
    let keys: Vec<String> = owned.map(|(key, _)| key.clone()).collect();
    for key in keys {
        world.remove(TABLE, &key);
    }
}

fn describe_pod_identity_association(world: &mut World, input: &Value) -> Answer {
    let key = key_of(world, input)?;
    Ok(json!({ "association": world.find(TABLE, &key) }))
}

fn list_pod_identity_associations(world: &mut World, input: &Value) -> Answer {
    let cluster = text(input, "cluster_name");
    super::cluster_of(world, cluster)?;
    let fits = |one: &&Value| {
        one["cluster_name"] == cluster
            && ["namespace", "service_account"].iter().all(|key| input[*key].is_null() || input[*key] == one[*key])
    };
    let shown = ["cluster_name", "namespace", "service_account", "association_arn", "association_id", "owner_arn"];
    let summary = |one: &Value| -> Value {
        let fields = shown.iter().filter_map(|key| Some(((*key).to_owned(), one.get(*key)?.clone())));
        Value::Object(fields.collect())
    };
    let associations: Vec<Value> = world.table(TABLE).values().filter(fits).map(summary).collect();
    Ok(json!({ "associations": associations }))
}

fn update_pod_identity_association(world: &mut World, input: &Value) -> Answer {
    let key = key_of(world, input)?;
    if let Some(role) = input["role_arn"].as_str() {
        check_role(world, role, SERVICE)?;
    }
    let now = world.now_text();
    if let Some(association) = world.find_mut(TABLE, &key) {
        for field in ["role_arn", "target_role_arn", "disable_session_tags", "policy"] {
            if !input[field].is_null() {
                association[field] = input[field].clone();
            }
        }
        association["modified_at"] = json!(now);
    }
    describe_pod_identity_association(world, input)
}

fn delete_pod_identity_association(world: &mut World, input: &Value) -> Answer {
    let key = key_of(world, input)?;
    Ok(json!({ "association": world.remove(TABLE, &key) }))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{NODE_ROLE, POD_ROLE, Stage};
    use super::*;

    #[test]
    fn one_association_for_a_service_account() {
        let mut stage = Stage::with_cluster(json!({}));
        let input = |role: &str| json!({ "cluster_name": "prod", "namespace": "web", "service_account": "shop", "role_arn": role });
        let made = stage.ok("create_pod_identity_association", input(POD_ROLE))["association"].clone();
        assert!(text(&made, "association_id").starts_with("a-"));
        let mut again = input(POD_ROLE);
        again["disable_session_tags"] = json!(true);
        let error = stage.no("create_pod_identity_association", again);
        assert!(error.starts_with("ResourceInUseException: Association already exists: a-"), "{error}");
        let mut other = input(NODE_ROLE);
        other["service_account"] = json!("other");
        assert!(stage.no("create_pod_identity_association", other).contains("could not be assumed"));
        let listed = stage.ok("list_pod_identity_associations", json!({ "cluster_name": "prod", "namespace": "web" }));
        assert_eq!(listed["associations"][0]["association_id"], made["association_id"]);
        let id = json!({ "cluster_name": "prod", "association_id": made["association_id"] });
        stage.ok("delete_pod_identity_association", id.clone());
        assert!(stage.no("describe_pod_identity_association", id).starts_with("ResourceNotFoundException"));
    }
}
