//! What belongs to the account: who calls (STS), public parameters (SSM), quotas.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Answer, Row, refuse, text, texts};
use crate::twin::world::{World, moment};

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("sts::get_caller_identity", get_caller_identity),
    ("sts::assume_role", assume_role),
    ("ssm::get_parameter", get_parameter),
    ("ssm::get_parameters", get_parameters),
    ("ssm::get_parameters_by_path", get_parameters_by_path),
    ("servicequotas::get_service_quota", get_service_quota),
    ("servicequotas::get_aws_default_service_quota", get_service_quota),
    ("servicequotas::list_service_quotas", list_service_quotas),
];

const PARAMETERS: &str = "ssm/parameters";
const QUOTAS: &str = "servicequotas/quotas";

/// The id that a role of this name has, also where the account does not show it.
fn role_id(world: &World, name: &str) -> String {
    let known = world.find("iam/roles", name).map(|role| text(role, "role_id").to_owned());
    known.unwrap_or_else(|| "AROA0UNKNOWN000000001".to_owned())
}

fn get_caller_identity(world: &mut World, _: &Value) -> Answer {
    let arn = if world.acting.is_empty() { world.caller.clone() } else { world.acting.clone() };
    let account = arn.split(':').nth(4).unwrap_or(&world.account).to_owned();
    let mut parts = arn.rsplit('/');
    let (session, role) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let user_id = if arn.contains(":assumed-role/") {
        format!("{}:{session}", role_id(world, role))
    } else {
        format!("AIDA0{}", session.to_uppercase())
    };
    Ok(json!({ "user_id": user_id, "account": account, "arn": arn }))
}

fn assume_role(world: &mut World, input: &Value) -> Answer {
    let (arn, session) = (text(input, "role_arn"), text(input, "role_session_name"));
    let name = arn.rsplit('/').next().unwrap_or_default();
    let known = world.find("iam/roles", name).is_some_and(|role| role["arn"] == arn);
    if !known {
        let caller = if world.acting.is_empty() { &world.caller } else { &world.acting };
        let message = format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}");
        return refuse("AccessDenied", 403, message);
    }
    let seconds = input["duration_seconds"].as_i64().unwrap_or(3600);
    let (key, secret) = (world.digits("ASIA", 16).to_uppercase(), world.digits("secret", 40));
    let account = world.account.clone();
    Ok(json!({
        "credentials": {
            "access_key_id": format!("ASIA{key}"), "secret_access_key": secret,
            "session_token": world.digits("session", 64),
            "expiration": moment::text(world.now + SignedDuration::from_secs(seconds)),
        },
        "assumed_role_user": {
            "assumed_role_id": format!("{}:{session}", role_id(world, name)),
            "arn": format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
        },
    }))
}

fn get_parameter(world: &mut World, input: &Value) -> Answer {
    match world.find(PARAMETERS, text(input, "name")) {
        Some(parameter) => Ok(json!({ "parameter": parameter })),
        // SSM gives no text here.
        None => refuse("ParameterNotFound", 400, ""),
    }
}

fn get_parameters(world: &mut World, input: &Value) -> Answer {
    let names = texts(&input["names"]);
    let (found, absent): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| world.find(PARAMETERS, name).is_some());
    let parameters: Vec<&Value> = found.iter().filter_map(|name| world.find(PARAMETERS, name)).collect();
    Ok(json!({ "parameters": parameters, "invalid_parameters": absent }))
}

fn get_parameters_by_path(world: &mut World, input: &Value) -> Answer {
    let path = text(input, "path").trim_end_matches('/');
    let deep = input["recursive"] == true;
    let below = |name: &str| {
        let rest = name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| deep || !rest.contains('/'))
    };
    let found = world.table(PARAMETERS).iter().filter(|(name, _)| below(name)).map(|(_, parameter)| parameter);
    Ok(json!({ "parameters": found.collect::<Vec<_>>() }))
}

fn get_service_quota(world: &mut World, input: &Value) -> Answer {
    let id = format!("{}/{}", text(input, "service_code"), text(input, "quota_code"));
    match world.find(QUOTAS, &id) {
        Some(quota) => Ok(json!({ "quota": quota })),
        None => refuse(
            "NoSuchResourceException",
            400,
            "The request failed because the specified service or quota does not exist.",
        ),
    }
}

fn list_service_quotas(world: &mut World, input: &Value) -> Answer {
    let service = text(input, "service_code");
    let quotas = world.table(QUOTAS).values().filter(|quota| quota["service_code"] == service);
    Ok(json!({ "quotas": quotas.collect::<Vec<_>>() }))
}

#[cfg(test)]
mod tests {
    use super::super::within;
    use super::*;

    #[test]
    fn a_caller_is_told_who_he_is() {
        let mut world = World::new(1).unwrap();
        let found = within(&mut world, "sts::get_caller_identity", json!({})).unwrap();
        assert_eq!(found["arn"], "arn:aws:sts::123456789012:assumed-role/platform/rehearsal");
        assert_eq!(found["user_id"], "AROA0PLATFORM0000001:rehearsal");
        let ghost = json!({ "role_arn": "arn:aws:iam::123456789012:role/ghost", "role_session_name": "x" });
        assert_eq!(within(&mut world, "sts::assume_role", ghost).unwrap_err().code, "AccessDenied");
    }

    #[test]
    fn every_recommended_image_is_an_image_of_eks() {
        let mut world = World::new(1).unwrap();
        for version in ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36"] {
            for architecture in ["x86_64", "arm64"] {
                let base = format!("/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{architecture}");
                let name = json!({ "name": format!("{base}/standard/recommended/image_id") });
                let found = within(&mut world, "ssm::get_parameter", name).unwrap();
                let image = world.find("ec2/images", found["parameter"]["value"].as_str().unwrap()).unwrap();
                let wanted = format!("amazon-eks-node-al2023-{architecture}-standard-{version}-v");
                assert!(text(image, "name").starts_with(&wanted), "{image}");
                assert_eq!(image["architecture"], architecture);
            }
        }
        let absent = within(&mut world, "ssm::get_parameter", json!({ "name": "/aws/service/ghost" })).unwrap_err();
        assert_eq!(absent.code, "ParameterNotFound");
    }
}
