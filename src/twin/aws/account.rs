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
/// Seconds of a session where nothing is said of them, and at least.
const SESSION_USUAL: i64 = 3600;
const SESSION_MIN: i64 = 900;

const QUOTAS: &str = "servicequotas/quotas";

/// The id that a role of this name has, also where the account does not show it.
fn role_id(world: &World, name: &str) -> String {
    let known = world.find("iam/roles", name).map(|role| text(role, "role_id").to_owned());
    known.unwrap_or_else(|| "AROA0UNKNOWN000000001".to_owned())
}

/// The ARN of who calls.
fn caller_arn(world: &World) -> &str {
    if world.acting.is_empty() { &world.caller } else { &world.acting }
}

/// The id of who calls: of a role's session with its name.
pub fn caller_id(world: &World) -> String {
    let arn = caller_arn(world);
    let mut parts = arn.rsplit('/');
    let (session, role) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if arn.contains(":assumed-role/") {
        format!("{}:{session}", role_id(world, role))
    } else {
        format!("AIDA0{}", session.to_uppercase())
    }
}

fn get_caller_identity(world: &mut World, _: &Value) -> Answer {
    let arn = caller_arn(world);
    let account = arn.split(':').nth(4).unwrap_or(&world.account);
    Ok(json!({ "user_id": caller_id(world), "account": account, "arn": arn }))
}

fn assume_role(world: &mut World, input: &Value) -> Answer {
    let (arn, session) = (text(input, "role_arn"), text(input, "role_session_name"));
    if !arn.starts_with("arn:") {
        return refuse("ValidationError", 400, format!("{arn} is invalid"));
    }
    let seconds = input["duration_seconds"].as_i64().unwrap_or(SESSION_USUAL);
    if seconds < SESSION_MIN {
        let message = format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member \
             must have value greater than or equal to {SESSION_MIN}"
        );
        return refuse("ValidationError", 400, message);
    }
    let name = arn.rsplit('/').next().unwrap_or_default();
    let known = world.find("iam/roles", name).is_some_and(|role| role["arn"] == arn);
    if !known {
        let message =
            format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}", caller_arn(world));
        return refuse("AccessDenied", 403, message);
    }
    let most = world.find("iam/roles", name).and_then(|role| role["max_session_duration"].as_i64());
    if seconds > most.unwrap_or(SESSION_USUAL) {
        let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return refuse("ValidationError", 400, message);
    }
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
    fn a_session_lasts_from_a_quarter_of_an_hour_to_what_its_role_allows() {
        let mut world = World::new(1).unwrap();
        let mut asked = |arn: &str, seconds: i64| {
            let input = json!({ "role_arn": arn, "role_session_name": "x", "duration_seconds": seconds });
            within(&mut world, "sts::assume_role", input).map(|_| ()).map_err(|refusal| refusal.message)
        };
        let platform = "arn:aws:iam::123456789012:role/platform";
        assert_eq!(asked(platform, 900), Ok(()));
        assert!(asked(platform, 899).unwrap_err().ends_with("Member must have value greater than or equal to 900"));
        let says = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        assert_eq!(asked(platform, 3601).unwrap_err(), says);
        assert_eq!(asked("platform", 900).unwrap_err(), "platform is invalid");
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
