//! IAM: roles, policies, instance profiles, OpenID Connect providers.

use serde_json::{Map, Value, json};

use super::{Answer, Refusal, Row, refuse, tags, text, texts};
use crate::twin::Arrival;
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("iam::create_role", create_role),
    ("iam::get_role", get_role),
    ("iam::list_roles", list_roles),
    ("iam::update_role", update_role),
    ("iam::delete_role", delete_role),
    ("iam::update_assume_role_policy", update_assume_role_policy),
    ("iam::tag_role", tag_role),
    ("iam::untag_role", untag_role),
    ("iam::list_role_tags", list_role_tags),
    ("iam::put_role_permissions_boundary", put_role_permissions_boundary),
    ("iam::delete_role_permissions_boundary", delete_role_permissions_boundary),
    ("iam::attach_role_policy", attach_role_policy),
    ("iam::detach_role_policy", detach_role_policy),
    ("iam::list_attached_role_policies", list_attached_role_policies),
    ("iam::put_role_policy", put_role_policy),
    ("iam::get_role_policy", get_role_policy),
    ("iam::delete_role_policy", delete_role_policy),
    ("iam::list_role_policies", list_role_policies),
    ("iam::create_service_linked_role", create_service_linked_role),
    ("iam::create_policy", create_policy),
    ("iam::get_policy", get_policy),
    ("iam::delete_policy", delete_policy),
    ("iam::create_instance_profile", create_instance_profile),
    ("iam::get_instance_profile", get_instance_profile),
    ("iam::list_instance_profiles", list_instance_profiles),
    ("iam::list_instance_profiles_for_role", list_instance_profiles_for_role),
    ("iam::delete_instance_profile", delete_instance_profile),
    ("iam::add_role_to_instance_profile", add_role_to_instance_profile),
    ("iam::remove_role_from_instance_profile", remove_role_from_instance_profile),
    ("iam::tag_instance_profile", tag_instance_profile),
    ("iam::untag_instance_profile", untag_instance_profile),
    ("iam::create_open_id_connect_provider", create_open_id_connect_provider),
    ("iam::get_open_id_connect_provider", get_open_id_connect_provider),
    ("iam::list_open_id_connect_providers", list_open_id_connect_providers),
    ("iam::list_open_id_connect_provider_tags", list_open_id_connect_provider_tags),
    ("iam::tag_open_id_connect_provider", tag_open_id_connect_provider),
    ("iam::delete_open_id_connect_provider", delete_open_id_connect_provider),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const ROLES: &str = "iam/roles";
const PROFILES: &str = "iam/instance_profiles";
const PROVIDERS: &str = "iam/oidc_providers";
/// Policies that somebody made in this account, by ARN. Those of AWS are facts.
const OWN_POLICIES: &str = "iam/own_policies";

/// Managed policies that a role may have.
const ATTACHED_MAX: usize = 10;

/// Makes sure that a service of AWS has its role in the account, as AWS does at the first use of a service, and answers
/// the ARN of the role.
pub fn ensure_service_role(world: &mut World, service: &str) -> Option<String> {
    let name = service_role(service)?;
    if let Some(role) = world.find(ROLES, name) {
        return Some(text(role, "arn").to_owned());
    }
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": [service] }, "Action": ["sts:AssumeRole"] }],
    });
    let path = format!("/aws-service-role/{service}/");
    let role = new_role(world, name, &path, &trust.to_string(), "");
    let arn = text(&role, "arn").to_owned();
    world.put(ROLES, name, role);
    Some(arn)
}

/// The name of the role that a service has in every account that uses it.
fn service_role(service: &str) -> Option<&'static str> {
    Some(match service {
        "eks.amazonaws.com" => "AWSServiceRoleForAmazonEKS",
        "eks-nodegroup.amazonaws.com" => "AWSServiceRoleForAmazonEKSNodegroup",
        "autoscaling.amazonaws.com" => "AWSServiceRoleForAutoScaling",
        "elasticloadbalancing.amazonaws.com" => "AWSServiceRoleForElasticLoadBalancing",
        "spot.amazonaws.com" => "AWSServiceRoleForEC2Spot",
        _ => return None,
    })
}

fn no_role<T>(name: &str) -> Result<T, Refusal> {
    refuse("NoSuchEntity", 404, format!("The role with name {name} cannot be found."))
}

fn role<'a>(world: &'a World, name: &str) -> Result<&'a Value, Refusal> {
    world.find(ROLES, name).map_or_else(|| no_role(name), Ok)
}

/// A role that a caller may change: those of AWS's services are AWS's.
fn role_to_change<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let name = text(input, "role_name");
    if text(role(world, name)?, "path").starts_with("/aws-service-role/") {
        let message = format!(
            "Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
        );
        return refuse("UnmodifiableEntity", 400, message);
    }
    world.find_mut(ROLES, name).map_or_else(|| no_role(name), Ok)
}

fn require_json(document: &str) -> Result<(), Refusal> {
    match serde_json::from_str::<Value>(document) {
        Ok(Value::Object(_)) => Ok(()),
        _ => refuse("MalformedPolicyDocument", 400, "This policy contains invalid Json"),
    }
}

/// Fields of a role or profile that lists leave out.
fn listed(thing: &Value) -> Value {
    let mut thing = thing.clone();
    if let Some(fields) = thing.as_object_mut() {
        fields.retain(|key, _| key != "tags" && key != "permissions_boundary");
    }
    thing
}

fn new_role(world: &mut World, name: &str, path: &str, trust: &str, description: &str) -> Value {
    let id = world.digits("AROA", 17).to_uppercase();
    let mut role = json!({
        "role_name": name,
        "role_id": format!("AROA{id}"),
        "path": path,
        "arn": world.iam_arn(&format!("role{path}{name}")),
        "create_date": world.now_text(),
        "assume_role_policy_document": trust,
        "max_session_duration": 3600,
        "_attached": [],
        "_inline": {},
    });
    if !description.is_empty() {
        role["description"] = json!(description);
    }
    role
}

fn path_of(input: &Value) -> String {
    input["path"].as_str().unwrap_or("/").to_owned()
}

fn create_role(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "role_name");
    if world.find(ROLES, name).is_some() {
        return refuse("EntityAlreadyExists", 409, format!("Role with name {name} already exists."));
    }
    require_json(text(input, "assume_role_policy_document"))?;
    let boundary = match input["permissions_boundary"].as_str() {
        Some(arn) => Some(boundary(world, arn)?),
        None => None,
    };
    let trust = text(input, "assume_role_policy_document");
    let mut role = new_role(world, name, &path_of(input), trust, text(input, "description"));
    if let Some(boundary) = boundary {
        role["permissions_boundary"] = boundary;
    }
    if let Some(seconds) = input["max_session_duration"].as_i64() {
        role["max_session_duration"] = json!(seconds);
    }
    if input["tags"].is_array() {
        role["tags"] = input["tags"].clone();
    }
    world.put(ROLES, name, role.clone());
    Ok(json!({ "role": role }))
}

/// The field that shows a boundary. The account's own policies are believed: a world does not list them all.
fn boundary(world: &World, arn: &str) -> Answer {
    let own = arn.starts_with(&world.iam_arn("policy/"));
    if !own && policy(world, arn).is_none() {
        return refuse("NoSuchEntity", 404, format!("Scope ARN: {arn} does not exist or is not attachable."));
    }
    Ok(json!({ "permissions_boundary_type": "PermissionsBoundaryPolicy", "permissions_boundary_arn": arn }))
}

fn policy<'a>(world: &'a World, arn: &str) -> Option<&'a Value> {
    world.find("iam/policies", arn).or_else(|| world.find(OWN_POLICIES, arn))
}

fn get_role(world: &mut World, input: &Value) -> Answer {
    let mut role = role(world, text(input, "role_name"))?.clone();
    // Nobody is ever seen to have used a role here, and AWS says so with an empty structure.
    if role["role_last_used"].is_null() {
        role["role_last_used"] = json!({});
    }
    Ok(json!({ "role": role }))
}

fn list_roles(world: &mut World, input: &Value) -> Answer {
    let prefix = text(input, "path_prefix");
    let roles = world.table(ROLES).values().filter(|role| text(role, "path").starts_with(prefix)).map(listed);
    Ok(json!({ "roles": roles.collect::<Vec<_>>() }))
}

fn update_role(world: &mut World, input: &Value) -> Answer {
    let role = role_to_change(world, input)?;
    for key in ["description", "max_session_duration"] {
        if !input[key].is_null() {
            role[key] = input[key].clone();
        }
    }
    Ok(json!({}))
}

fn delete_role(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "role_name");
    role_to_change(world, input)?;
    let has_profile = world.table(PROFILES).values().any(|profile| holds_role(profile, name));
    let role = role(world, name)?;
    let obstacle = if role["_attached"].as_array().is_some_and(|list| !list.is_empty()) {
        Some("must detach all policies first.")
    } else if role["_inline"].as_object().is_some_and(|map| !map.is_empty()) {
        Some("must delete policies first.")
    } else {
        has_profile.then_some("must remove roles from instance profile first.")
    };
    if let Some(obstacle) = obstacle {
        return refuse("DeleteConflict", 409, format!("Cannot delete entity, {obstacle}"));
    }
    world.remove(ROLES, name);
    Ok(json!({}))
}

fn update_assume_role_policy(world: &mut World, input: &Value) -> Answer {
    let document = text(input, "policy_document");
    require_json(document)?;
    role_to_change(world, input)?["assume_role_policy_document"] = json!(document);
    Ok(json!({}))
}

fn tag_role(world: &mut World, input: &Value) -> Answer {
    tags::put(&mut role_to_change(world, input)?["tags"], &input["tags"], "key");
    Ok(json!({}))
}

fn untag_role(world: &mut World, input: &Value) -> Answer {
    tags::drop(&mut role_to_change(world, input)?["tags"], &texts(&input["tag_keys"]), "key");
    Ok(json!({}))
}

fn list_role_tags(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "tags": list_or_none(&role(world, text(input, "role_name"))?["tags"]) }))
}

fn list_or_none(list: &Value) -> Value {
    if list.is_null() { json!([]) } else { list.clone() }
}

fn put_role_permissions_boundary(world: &mut World, input: &Value) -> Answer {
    let boundary = boundary(world, text(input, "permissions_boundary"))?;
    role_to_change(world, input)?["permissions_boundary"] = boundary;
    Ok(json!({}))
}

fn delete_role_permissions_boundary(world: &mut World, input: &Value) -> Answer {
    if let Some(fields) = role_to_change(world, input)?.as_object_mut() {
        fields.remove("permissions_boundary");
    }
    Ok(json!({}))
}

fn attach_role_policy(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "policy_arn").to_owned();
    if policy(world, &arn).is_none() {
        return refuse("NoSuchEntity", 404, format!("Policy {arn} does not exist or is not attachable."));
    }
    role_to_change(world, input)?;
    let mut attached = list_or_none(&role(world, text(input, "role_name"))?["_attached"]);
    let present = texts(&attached);
    if present.contains(&arn.as_str()) {
        return Ok(json!({}));
    }
    if present.len() >= ATTACHED_MAX {
        return refuse("LimitExceeded", 409, format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}"));
    }
    if let Some(list) = attached.as_array_mut() {
        list.push(json!(arn));
    }
    role_to_change(world, input)?["_attached"] = attached;
    Ok(json!({}))
}

fn detach_role_policy(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "policy_arn");
    let role = role_to_change(world, input)?;
    if !texts(&role["_attached"]).contains(&arn) {
        return refuse("NoSuchEntity", 404, format!("Policy {arn} was not found."));
    }
    if let Some(list) = role["_attached"].as_array_mut() {
        list.retain(|one| one != arn);
    }
    Ok(json!({}))
}

fn list_attached_role_policies(world: &mut World, input: &Value) -> Answer {
    let role = role(world, text(input, "role_name"))?;
    let attached = texts(&role["_attached"]);
    let shown = attached.iter().map(|arn| {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        json!({ "policy_name": name, "policy_arn": arn })
    });
    Ok(json!({ "attached_policies": shown.collect::<Vec<_>>() }))
}

fn put_role_policy(world: &mut World, input: &Value) -> Answer {
    let document = text(input, "policy_document");
    require_json(document)?;
    let role = role_to_change(world, input)?;
    if !role["_inline"].is_object() {
        role["_inline"] = json!({});
    }
    role["_inline"][text(input, "policy_name")] = json!(document);
    Ok(json!({}))
}

fn no_inline<T>(name: &str) -> Result<T, Refusal> {
    refuse("NoSuchEntity", 404, format!("The role policy with name {name} cannot be found."))
}

fn get_role_policy(world: &mut World, input: &Value) -> Answer {
    let (role_name, name) = (text(input, "role_name"), text(input, "policy_name"));
    match role(world, role_name)?["_inline"].get(name) {
        Some(document) => {
            Ok(json!({ "role_name": role_name, "policy_name": name, "policy_document": document_text(document) }))
        }
        None => no_inline(name),
    }
}

/// A world file may hold a document as a map.
fn document_text(document: &Value) -> String {
    document.as_str().map_or_else(|| document.to_string(), str::to_owned)
}

fn delete_role_policy(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "policy_name");
    let role = role_to_change(world, input)?;
    match role["_inline"].as_object_mut().and_then(|inline| inline.remove(name)) {
        Some(_) => Ok(json!({})),
        None => no_inline(name),
    }
}

fn list_role_policies(world: &mut World, input: &Value) -> Answer {
    let none = Map::new();
    let inline = role(world, text(input, "role_name"))?["_inline"].as_object().unwrap_or(&none);
    Ok(json!({ "policy_names": inline.keys().collect::<Vec<_>>() }))
}

fn create_service_linked_role(world: &mut World, input: &Value) -> Answer {
    let service = text(input, "aws_service_name");
    let Some(name) = service_role(service) else {
        return refuse("InvalidInput", 400, format!("Service Linked Roles are not supported for {service}"));
    };
    if world.find(ROLES, name).is_some() {
        let message =
            format!("Service role name {name} has been taken in this account, please try a different suffix.");
        return refuse("InvalidInput", 400, message);
    }
    ensure_service_role(world, service);
    if let Some(role) = world.find_mut(ROLES, name).filter(|_| input["description"].is_string()) {
        role["description"] = input["description"].clone();
    }
    Ok(json!({ "role": role(world, name)? }))
}

fn create_policy(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "policy_name");
    let path = path_of(input);
    let arn = world.iam_arn(&format!("policy{path}{name}"));
    if policy(world, &arn).is_some() {
        let message = format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return refuse("EntityAlreadyExists", 409, message);
    }
    if require_json(text(input, "policy_document")).is_err() {
        return refuse("MalformedPolicyDocument", 400, "Syntax errors in policy.");
    }
    let id = world.digits("ANPA", 17).to_uppercase();
    let mut made = json!({
        "policy_name": name, "policy_id": format!("ANPA{id}"), "arn": arn, "path": path, "default_version_id": "v1",
        "is_attachable": true, "create_date": world.now_text(), "update_date": world.now_text(),
        "attachment_count": 0, "_document": text(input, "policy_document"), "_description": text(input, "description"),
    });
    if input["tags"].is_array() {
        made["tags"] = input["tags"].clone();
    }
    world.put(OWN_POLICIES, &arn, made.clone());
    Ok(json!({ "policy": made }))
}

fn get_policy(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "policy_arn");
    let Some(mut found) = policy(world, arn).cloned() else {
        return refuse("NoSuchEntity", 404, format!("Policy {arn} was not found."));
    };
    found["attachment_count"] = json!(holders(world, arn));
    // Only this operation shows it.
    if !text(&found, "_description").is_empty() {
        found["description"] = found["_description"].clone();
    }
    Ok(json!({ "policy": found }))
}

/// How many roles have this policy.
fn holders(world: &World, arn: &str) -> usize {
    world.table(ROLES).values().filter(|role| texts(&role["_attached"]).contains(&arn)).count()
}

fn delete_policy(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "policy_arn");
    if world.find(OWN_POLICIES, arn).is_none() {
        return refuse("NoSuchEntity", 404, format!("Policy {arn} was not found."));
    }
    if holders(world, arn) > 0 {
        return refuse("DeleteConflict", 409, "Cannot delete a policy attached to entities.");
    }
    world.remove(OWN_POLICIES, arn);
    Ok(json!({}))
}

fn holds_role(profile: &Value, name: &str) -> bool {
    profile["roles"].as_array().into_iter().flatten().any(|role| role["role_name"] == name)
}

fn profile<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let name = text(input, "instance_profile_name");
    match world.find_mut(PROFILES, name) {
        Some(profile) => Ok(profile),
        None => refuse("NoSuchEntity", 404, format!("Instance Profile {name} cannot be found.")),
    }
}

fn create_instance_profile(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "instance_profile_name");
    if world.find(PROFILES, name).is_some() {
        return refuse("EntityAlreadyExists", 409, format!("Instance Profile {name} already exists."));
    }
    let path = path_of(input);
    let id = world.digits("AIPA", 17).to_uppercase();
    let mut made = json!({
        "instance_profile_name": name, "instance_profile_id": format!("AIPA{id}"), "path": path, "roles": [],
        "arn": world.iam_arn(&format!("instance-profile{path}{name}")), "create_date": world.now_text(),
    });
    if input["tags"].is_array() {
        made["tags"] = input["tags"].clone();
    }
    world.put(PROFILES, name, made.clone());
    Ok(json!({ "instance_profile": made }))
}

fn get_instance_profile(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "instance_profile": profile(world, input)? }))
}

fn list_instance_profiles(world: &mut World, input: &Value) -> Answer {
    let prefix = text(input, "path_prefix");
    let all = world.table(PROFILES).values();
    let fitting = all.filter(|profile| text(profile, "path").starts_with(prefix)).map(listed);
    Ok(json!({ "instance_profiles": fitting.collect::<Vec<_>>() }))
}

fn list_instance_profiles_for_role(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "role_name");
    role(world, name)?;
    let fitting = world.table(PROFILES).values().filter(|profile| holds_role(profile, name));
    Ok(json!({ "instance_profiles": fitting.collect::<Vec<_>>() }))
}

fn delete_instance_profile(world: &mut World, input: &Value) -> Answer {
    if profile(world, input)?["roles"].as_array().is_some_and(|roles| !roles.is_empty()) {
        return refuse("DeleteConflict", 409, "Cannot delete entity, must remove roles from instance profile first.");
    }
    world.remove(PROFILES, text(input, "instance_profile_name"));
    Ok(json!({}))
}

fn add_role_to_instance_profile(world: &mut World, input: &Value) -> Answer {
    profile(world, input)?;
    let mut role = listed(role(world, text(input, "role_name"))?);
    if let Some(fields) = role.as_object_mut() {
        fields.retain(|key, _| !key.starts_with('_'));
    }
    let profile = profile(world, input)?;
    if profile["roles"].as_array().is_some_and(|roles| !roles.is_empty()) {
        return refuse("LimitExceeded", 409, "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1");
    }
    profile["roles"] = json!([role]);
    Ok(json!({}))
}

fn remove_role_from_instance_profile(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "role_name");
    let profile = profile(world, input)?;
    if !holds_role(profile, name) {
        return no_role(name);
    }
    profile["roles"] = json!([]);
    Ok(json!({}))
}

fn tag_instance_profile(world: &mut World, input: &Value) -> Answer {
    tags::put(&mut profile(world, input)?["tags"], &input["tags"], "key");
    Ok(json!({}))
}

fn untag_instance_profile(world: &mut World, input: &Value) -> Answer {
    tags::drop(&mut profile(world, input)?["tags"], &texts(&input["tag_keys"]), "key");
    Ok(json!({}))
}

fn create_open_id_connect_provider(world: &mut World, input: &Value) -> Answer {
    let url = text(input, "url");
    let Some(host) = url.strip_prefix("https://") else {
        return refuse("ValidationError", 400, "Invalid Open ID Connect Provider URL");
    };
    let arn = world.iam_arn(&format!("oidc-provider/{host}"));
    if world.find(PROVIDERS, &arn).is_some() {
        return refuse("EntityAlreadyExists", 409, format!("Provider with url {url} already exists."));
    }
    let provider = json!({
        "url": host, "client_id_list": list_or_none(&input["client_id_list"]),
        "thumbprint_list": list_or_none(&input["thumbprint_list"]), "create_date": world.now_text(),
        "tags": list_or_none(&input["tags"]),
    });
    world.put(PROVIDERS, &arn, provider);
    Ok(json!({ "open_id_connect_provider_arn": arn, "tags": list_or_none(&input["tags"]) }))
}

fn provider<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let arn = text(input, "open_id_connect_provider_arn");
    match world.find_mut(PROVIDERS, arn) {
        Some(provider) => Ok(provider),
        None => refuse("NoSuchEntity", 404, format!("OpenIDConnect Provider not found for arn {arn}")),
    }
}

fn get_open_id_connect_provider(world: &mut World, input: &Value) -> Answer {
    Ok(provider(world, input)?.clone())
}

fn list_open_id_connect_providers(world: &mut World, _: &Value) -> Answer {
    let all = world.table(PROVIDERS).keys().map(|arn| json!({ "arn": arn }));
    Ok(json!({ "open_id_connect_provider_list": all.collect::<Vec<_>>() }))
}

fn list_open_id_connect_provider_tags(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "tags": list_or_none(&provider(world, input)?["tags"]) }))
}

fn tag_open_id_connect_provider(world: &mut World, input: &Value) -> Answer {
    tags::put(&mut provider(world, input)?["tags"], &input["tags"], "key");
    Ok(json!({}))
}

fn delete_open_id_connect_provider(world: &mut World, input: &Value) -> Answer {
    provider(world, input)?;
    world.remove(PROVIDERS, text(input, "open_id_connect_provider_arn"));
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(world: &mut World, name: &str, input: Value) -> Result<Value, String> {
        let (service, short) = name.split_once("::").unwrap();
        let operation = aws_dynamic::operation(service, short).unwrap();
        let input = aws_dynamic::normalise(operation, input, aws_dynamic::Enums::Lenient).unwrap();
        let error = |error: aws_dynamic::CallError| format!("{error:?}");
        super::super::call(world, operation, &input).map_err(error)
    }

    fn with_role() -> World {
        let mut world = World::new(1).unwrap();
        let input = json!({ "role_name": "prod-node", "assume_role_policy_document": "{}", "tags": { "a": "b" } });
        call(&mut world, "iam::create_role", input).unwrap();
        world
    }

    #[test]
    fn a_role_goes_only_after_all_that_hangs_on_it() {
        let mut world = with_role();
        let role = json!({ "role_name": "prod-node" });
        let attached =
            json!({ "role_name": "prod-node", "policy_arn": "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy" });
        let inline = json!({ "role_name": "prod-node", "policy_name": "own", "policy_document": "{}" });
        let profile = json!({ "instance_profile_name": "p", "role_name": "prod-node" });
        call(&mut world, "iam::attach_role_policy", attached.clone()).unwrap();
        call(&mut world, "iam::put_role_policy", inline).unwrap();
        call(&mut world, "iam::create_instance_profile", json!({ "instance_profile_name": "p" })).unwrap();
        call(&mut world, "iam::add_role_to_instance_profile", profile.clone()).unwrap();
        let steps = [
            ("must detach all policies first.", "iam::detach_role_policy", attached),
            (
                "must delete policies first.",
                "iam::delete_role_policy",
                json!({ "role_name": "prod-node", "policy_name": "own" }),
            ),
            ("must remove roles from instance profile first.", "iam::remove_role_from_instance_profile", profile),
        ];
        for (obstacle, operation, input) in steps {
            let error = call(&mut world, "iam::delete_role", role.clone()).unwrap_err();
            assert!(error.contains("DeleteConflict") && error.contains(obstacle), "{error}");
            call(&mut world, operation, input).unwrap();
        }
        call(&mut world, "iam::delete_role", role.clone()).unwrap();
        let error = call(&mut world, "iam::get_role", role).unwrap_err();
        assert!(error.contains("The role with name prod-node cannot be found."), "{error}");
    }

    #[test]
    fn only_policies_that_exist_are_attached() {
        let mut world = with_role();
        let ghost = json!({ "role_name": "prod-node", "policy_arn": "arn:aws:iam::aws:policy/Ghost" });
        assert!(call(&mut world, "iam::attach_role_policy", ghost).unwrap_err().contains("NoSuchEntity"));
    }

    #[test]
    fn lists_show_no_tags_and_a_role_does() {
        let mut world = with_role();
        let role = call(&mut world, "iam::get_role", json!({ "role_name": "prod-node" })).unwrap();
        assert_eq!(role["role"]["tags"][0]["value"], "b");
        let listed = call(&mut world, "iam::list_roles", json!({})).unwrap();
        assert!(listed["roles"].as_array().unwrap().iter().all(|role| role["tags"].is_null()));
    }

    #[test]
    fn roles_of_services_are_made_once_and_belong_to_aws() {
        let mut world = World::new(1).unwrap();
        let arn = ensure_service_role(&mut world, "eks.amazonaws.com").unwrap();
        assert_eq!(ensure_service_role(&mut world, "eks.amazonaws.com"), Some(arn));
        let role = json!({ "role_name": "AWSServiceRoleForAmazonEKS" });
        assert!(call(&mut world, "iam::delete_role", role).unwrap_err().contains("UnmodifiableEntity"));
    }
}
