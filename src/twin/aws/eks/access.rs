//! Access entries and the policies associated with them.

use serde_json::{Value, json};

use super::{cluster_of, in_use, invalid, not_found, refused, tags_of};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, text, texts};
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("eks::associate_access_policy", associate_access_policy),
    ("eks::create_access_entry", create_access_entry),
    ("eks::delete_access_entry", delete_access_entry),
    ("eks::describe_access_entry", describe_access_entry),
    ("eks::disassociate_access_policy", disassociate_access_policy),
    ("eks::list_access_entries", list_access_entries),
    ("eks::list_access_policies", list_access_policies),
    ("eks::list_associated_access_policies", list_associated_access_policies),
    ("eks::update_access_entry", update_access_entry),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const TABLE: &str = "eks/access_entries";

/// Prefixes of user names and groups that Kubernetes and EKS keep to themselves.
const RESERVED: &[&str] = &["system:", "eks:", "aws:", "amazon:", "iam:"];

/// Types of entries of nodes, with the user name that EKS gives them.
const NODE_TYPES: &[(&str, &str)] = &[
    ("EC2", "system:node:{{SessionName}}"),
    ("EC2_LINUX", "system:node:{{EC2PrivateDNSName}}"),
    ("EC2_WINDOWS", "system:node:{{EC2PrivateDNSName}}"),
    ("FARGATE_LINUX", "system:node:{{SessionName}}"),
    ("HYBRID_LINUX", "system:node:{{SessionName}}"),
    ("HYPERPOD_LINUX", "system:node:{{SessionName}}"),
];

/// The key of an entry in its table.
pub(super) fn key(cluster: &str, principal_arn: &str) -> String {
    format!("{cluster}/{principal_arn}")
}

/// The cluster that an input names, if it takes access entries.
fn cluster_with_entries<'w>(world: &'w World, input: &Value) -> Result<&'w Value, Refusal> {
    let cluster = cluster_of(world, text(input, "cluster_name"))?;
    if cluster["access_config"]["authentication_mode"] == "CONFIG_MAP" {
        return refused(
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
        );
    }
    Ok(cluster)
}

/// The key of the entry that an input names.
fn entry_key(world: &World, input: &Value) -> Result<String, Refusal> {
    let cluster = text(cluster_with_entries(world, input)?, "name");
    let principal = text(input, "principal_arn");
    let key = key(cluster, principal);
    if world.find(TABLE, &key).is_some() {
        return Ok(key);
    }
    not_found(format!(
        "The specified principalArn could not be found. You can view your available access entries with \
         'list-access-entries': {principal}"
    ))
}

fn entry_of(world: &World, input: &Value) -> Answer {
    let key = entry_key(world, input)?;
    Ok(world.find(TABLE, &key).cloned().unwrap_or_default())
}

fn create_access_entry(world: &mut World, input: &Value) -> Answer {
    let cluster = text(cluster_with_entries(world, input)?, "name").to_owned();
    let principal = text(input, "principal_arn");
    let kind = input["type"].as_str().unwrap_or("STANDARD");
    check_principal(world, principal)?;
    if world.find(TABLE, &key(&cluster, principal)).is_some() {
        return in_use("The specified access entry resource is already in use on this cluster.");
    }
    if kind == "STANDARD" {
        check_names(input)?;
    } else {
        check_node_entry(world, kind, input)?;
    }
    Ok(json!({ "access_entry": put(world, &cluster, principal, kind, input) }))
}

/// Puts a new entry in place, with the user name that EKS gives where none is asked for.
pub(super) fn put(world: &mut World, cluster: &str, principal: &str, kind: &str, asked: &Value) -> Value {
    let of_nodes = NODE_TYPES.iter().find(|(name, _)| *name == kind);
    let (username, groups) = match of_nodes {
        Some((_, username)) => ((*username).to_owned(), json!(["system:nodes"])),
        None => {
            let given = asked["username"].as_str().map(str::to_owned);
            let groups = asked["kubernetes_groups"].as_array().cloned().unwrap_or_default();
            (given.unwrap_or_else(|| usual_name(principal)), json!(groups))
        }
    };
    let (account, name) = (principal.split(':').nth(4).unwrap_or_default(), last_part(principal));
    let what = if principal.contains(":user/") { "user" } else { "role" };
    let id = world.uuid("access entry");
    let entry = json!({
        "cluster_name": cluster, "principal_arn": principal, "type": kind, "username": username,
        "kubernetes_groups": groups, "tags": tags_of(asked), "created_at": world.now_text(),
        "modified_at": world.now_text(), "_policies": [],
        "access_entry_arn": world.arn("eks", &format!("access-entry/{cluster}/{what}/{account}/{name}/{id}")),
    });
    world.put(TABLE, &key(cluster, principal), entry.clone());
    entry
}

fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Of a user its ARN; of a role the ARN of its sessions.
fn usual_name(principal: &str) -> String {
    let account = principal.split(':').nth(4).unwrap_or_default();
    if principal.contains(":role/") {
        format!("arn:aws:sts::{account}:assumed-role/{}/{{{{SessionName}}}}", last_part(principal))
    } else {
        principal.to_owned()
    }
}

/// Refuses what is no role or user, service-linked roles, and principals that this account does not have.
fn check_principal(world: &World, principal: &str) -> Result<(), Refusal> {
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    let can_enter =
        |resource: &str| resource.starts_with("role/") || resource.starts_with("user/") || resource == "root";
    let (account, resource) = match parts.as_slice() {
        ["arn", _, "iam", _, account, resource] if can_enter(resource) => (*account, *resource),
        _ => return invalid(format!("The principalArn parameter format is not valid: {principal}")),
    };
    if resource.starts_with("role/aws-service-role/") {
        return invalid(
            "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role.",
        );
    }
    let is_local_role = account == world.account && resource.starts_with("role/");
    if is_local_role && !world.table("iam/roles").values().any(|role| role["arn"] == principal) {
        return invalid("The specified principalArn is invalid: invalid principal.");
    }
    Ok(())
}

/// Refuses user names and groups with reserved prefixes.
fn check_names(asked: &Value) -> Result<(), Refusal> {
    let reserved = |name: &str| RESERVED.iter().copied().find(|prefix| name.starts_with(prefix));
    if let Some(username) = asked["username"].as_str() {
        if let Some(prefix) = reserved(username) {
            return invalid(format!("The username {username} is invalid, it cannot start with {prefix}"));
        }
        if username.split_once("{{SessionName}}").is_some_and(|(before, _)| !before.contains(':')) {
            return invalid(format!("The username {username} is invalid, {{{{SessionName}}}} must come after a colon"));
        }
    }
    for group in texts(&asked["kubernetes_groups"]) {
        if let Some(prefix) = reserved(group) {
            return invalid(format!("The kubernetes group name {group} is invalid, it cannot start with {prefix}"));
        }
    }
    Ok(())
}

/// Entries of nodes are of roles of this account, and EKS names them itself.
fn check_node_entry(world: &World, kind: &str, asked: &Value) -> Result<(), Refusal> {
    if !NODE_TYPES.iter().any(|(name, _)| *name == kind) {
        return invalid(format!("The type {kind} of an access entry is not valid"));
    }
    if !texts(&asked["kubernetes_groups"]).is_empty() || asked["username"].is_string() {
        return invalid(format!("The kubernetesGroups and username parameters can not be set for type {kind}"));
    }
    let principal = text(asked, "principal_arn");
    if !principal.starts_with(&world.iam_arn("role/")) {
        return invalid(format!("An access entry of type {kind} needs an IAM role of the account of the cluster"));
    }
    Ok(())
}

fn describe_access_entry(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "access_entry": entry_of(world, input)? }))
}

fn list_access_entries(world: &mut World, input: &Value) -> Answer {
    let cluster = text(cluster_with_entries(world, input)?, "name");
    let policy = input["associated_policy_arn"].as_str();
    let entries = world.table(TABLE).values().filter(|entry| entry["cluster_name"] == cluster);
    let fitting = entries.filter(|entry| match policy {
        Some(policy) => policies(entry).iter().any(|one| one["policy_arn"] == policy),
        None => true,
    });
    let principals: Vec<&str> = fitting.map(|entry| text(entry, "principal_arn")).collect();
    Ok(json!({ "access_entries": principals }))
}

fn policies(entry: &Value) -> Vec<Value> {
    entry["_policies"].as_array().cloned().unwrap_or_default()
}

fn update_access_entry(world: &mut World, input: &Value) -> Answer {
    let key = entry_key(world, input)?;
    let kind = world.find(TABLE, &key).map(|entry| text(entry, "type").to_owned()).unwrap_or_default();
    if kind != "STANDARD" {
        return refused(format!(
            "The kubernetesGroups and username of an access entry of type {kind} can not be updated."
        ));
    }
    check_names(input)?;
    let now = world.now_text();
    if let Some(entry) = world.find_mut(TABLE, &key) {
        for field in ["kubernetes_groups", "username"] {
            if !input[field].is_null() {
                entry[field] = input[field].clone();
            }
        }
        entry["modified_at"] = json!(now);
    }
    describe_access_entry(world, input)
}

fn delete_access_entry(world: &mut World, input: &Value) -> Answer {
    let key = entry_key(world, input)?;
    world.remove(TABLE, &key);
    Ok(json!({}))
}

fn associate_access_policy(world: &mut World, input: &Value) -> Answer {
    let key = entry_key(world, input)?;
    let arn = text(input, "policy_arn");
    if !world.table("eks/access_policies").values().any(|policy| policy["arn"] == arn) {
        return invalid(format!("The policyArn parameter format is not valid: {arn}"));
    }
    let kind = text(&entry_of(world, input)?, "type").to_owned();
    let is_fitting = kind == "STANDARD" || (kind == "EC2" && arn.ends_with("/AmazonEKSAutoNodePolicy"));
    if !is_fitting {
        return refused(format!("Access policies cannot be associated with an access entry of type {kind}."));
    }
    let namespaces = texts(&input["access_scope"]["namespaces"]);
    let scope = input["access_scope"]["type"].as_str().unwrap_or("cluster");
    if (scope == "namespace") == namespaces.is_empty() {
        return invalid("The access scope of type namespace needs namespaces, one of type cluster takes none.");
    }
    let now = world.now_text();
    let association = associate(world, &key, arn, json!({ "type": scope, "namespaces": namespaces }), &now);
    Ok(json!({
        "cluster_name": input["cluster_name"], "principal_arn": input["principal_arn"],
        "associated_access_policy": association,
    }))
}

/// Associates a policy with the entry of this key; a second time changes the scope.
pub(super) fn associate(world: &mut World, key: &str, policy_arn: &str, scope: Value, now: &str) -> Value {
    let Some(entry) = world.find_mut(TABLE, key) else { return Value::Null };
    let mut associated = policies(entry);
    let since = associated.iter().find(|one| one["policy_arn"] == policy_arn).map(|one| one["associated_at"].clone());
    let association = json!({
        "policy_arn": policy_arn, "access_scope": scope, "associated_at": since.unwrap_or_else(|| json!(now)),
        "modified_at": now,
    });
    associated.retain(|one| one["policy_arn"] != policy_arn);
    associated.push(association.clone());
    entry["_policies"] = Value::Array(associated);
    association
}

fn disassociate_access_policy(world: &mut World, input: &Value) -> Answer {
    let key = entry_key(world, input)?;
    let arn = text(input, "policy_arn");
    let mut associated = policies(&entry_of(world, input)?);
    let before = associated.len();
    associated.retain(|one| one["policy_arn"] != arn);
    if associated.len() == before {
        return not_found("The specified policyArn is not associated with this access entry.");
    }
    if let Some(entry) = world.find_mut(TABLE, &key) {
        entry["_policies"] = Value::Array(associated);
    }
    Ok(json!({}))
}

fn list_associated_access_policies(world: &mut World, input: &Value) -> Answer {
    let associated = policies(&entry_of(world, input)?);
    Ok(json!({
        "cluster_name": input["cluster_name"], "principal_arn": input["principal_arn"],
        "associated_access_policies": associated,
    }))
}

fn list_access_policies(world: &mut World, _: &Value) -> Answer {
    let policies: Vec<&Value> = world.table("eks/access_policies").values().collect();
    Ok(json!({ "access_policies": policies }))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{NODE_ROLE, PLATFORM, POD_ROLE, Stage};
    use super::*;

    fn of(principal: &str, fields: Value) -> Value {
        let mut input = json!({ "cluster_name": "prod", "principal_arn": principal });
        super::super::merge(&mut input, &fields);
        input
    }

    #[test]
    fn the_creator_is_an_administrator() {
        let mut stage = Stage::with_cluster(json!({}));
        let listed = stage.ok("list_associated_access_policies", of(PLATFORM, json!({})));
        let policy = &listed["associated_access_policies"][0];
        assert!(text(policy, "policy_arn").ends_with("/AmazonEKSClusterAdminPolicy"), "{policy}");
        let none = json!({
            "access_config": { "authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": false },
        });
        let mut stage = Stage::with_cluster(none);
        assert_eq!(stage.ok("list_access_entries", json!({ "cluster_name": "prod" }))["access_entries"], json!([]));
    }

    #[test]
    fn a_cluster_of_aws_auth_has_no_entries() {
        let mut stage = Stage::with_cluster(json!({ "access_config": { "authentication_mode": "CONFIG_MAP" } }));
        let says = "InvalidRequestException: The cluster's authentication mode must be set to one of [API, \
                    API_AND_CONFIG_MAP] to perform this operation.";
        assert_eq!(stage.no("list_access_entries", json!({ "cluster_name": "prod" })), says);
        assert_eq!(stage.no("create_access_entry", of(NODE_ROLE, json!({}))), says);
    }

    #[test]
    fn names_follow_the_type() {
        let mut stage = Stage::with_cluster(json!({}));
        let node =
            stage.ok("create_access_entry", of(NODE_ROLE, json!({ "type": "EC2_LINUX" })))["access_entry"].clone();
        assert_eq!(node["username"], "system:node:{{EC2PrivateDNSName}}");
        assert_eq!(node["kubernetes_groups"], json!(["system:nodes"]));
        let plain = stage.ok("create_access_entry", of(POD_ROLE, json!({})))["access_entry"].clone();
        assert_eq!(plain["username"], "arn:aws:sts::123456789012:assumed-role/prod-pod/{{SessionName}}");
        let error = stage.no("create_access_entry", of(POD_ROLE, json!({ "username": "else" })));
        assert_eq!(
            error,
            "ResourceInUseException: The specified access entry resource is already in use on this cluster."
        );
        let policy = json!({
            "policy_arn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", "access_scope": { "type": "cluster" },
        });
        let error = stage.no("associate_access_policy", of(NODE_ROLE, policy));
        assert!(error.starts_with("InvalidRequestException") && error.contains("EC2_LINUX"), "{error}");
    }

    #[test]
    fn reserved_names_and_strange_principals_are_refused() {
        let mut stage = Stage::with_cluster(json!({}));
        let error = stage.no("create_access_entry", of(POD_ROLE, json!({ "kubernetes_groups": ["system:masters"] })));
        assert!(error.contains("group name system:masters is invalid, it cannot start with system:"), "{error}");
        let error = stage.no("create_access_entry", of(POD_ROLE, json!({ "username": "eks:me" })));
        assert!(error.contains("cannot start with eks:"), "{error}");
        let error = stage.no("create_access_entry", of(NODE_ROLE, json!({ "type": "EC2_LINUX", "username": "me" })));
        assert!(error.contains("can not be set for type EC2_LINUX"), "{error}");
        let error = stage.no("create_access_entry", of("arn:aws:iam::123456789012:role/nobody", json!({})));
        assert_eq!(error, "InvalidParameterException: The specified principalArn is invalid: invalid principal.");
        let session = "arn:aws:sts::123456789012:assumed-role/platform/me";
        let error = stage.no("create_access_entry", of(session, json!({})));
        assert!(error.contains("principalArn parameter format is not valid"), "{error}");
        let foreign = "arn:aws:iam::111122223333:role/node";
        let error = stage.no("create_access_entry", of(foreign, json!({ "type": "EC2_LINUX" })));
        assert!(error.starts_with("InvalidParameterException"), "{error}");
        stage.ok("create_access_entry", of(foreign, json!({})));
    }

    #[test]
    fn policies_change_their_scope_and_go() {
        let mut stage = Stage::with_cluster(json!({}));
        stage.ok("create_access_entry", of(POD_ROLE, json!({})));
        let arn = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";
        let scoped = |scope: Value| of(POD_ROLE, json!({ "policy_arn": arn, "access_scope": scope }));
        stage.ok("associate_access_policy", scoped(json!({ "type": "cluster" })));
        stage.ok("associate_access_policy", scoped(json!({ "type": "namespace", "namespaces": ["dev-*"] })));
        let listed = stage.ok("list_associated_access_policies", of(POD_ROLE, json!({})));
        assert_eq!(listed["associated_access_policies"].as_array().unwrap().len(), 1);
        assert_eq!(listed["associated_access_policies"][0]["access_scope"]["namespaces"], json!(["dev-*"]));
        let with = stage.ok("list_access_entries", json!({ "cluster_name": "prod", "associated_policy_arn": arn }));
        assert_eq!(with["access_entries"], json!([POD_ROLE]));
        stage.ok("disassociate_access_policy", of(POD_ROLE, json!({ "policy_arn": arn })));
        let error = stage.no("disassociate_access_policy", of(POD_ROLE, json!({ "policy_arn": arn })));
        assert!(error.starts_with("ResourceNotFoundException"), "{error}");
        stage.ok("delete_access_entry", of(POD_ROLE, json!({})));
        assert!(stage.no("describe_access_entry", of(POD_ROLE, json!({}))).starts_with("ResourceNotFoundException"));
    }
}
