//! AWS of a twin: one function an operation, and around it once for all: idempotency tokens, pages, and the check of
//! every answer against the operation's schema.
//!
//! A function gets an input that [`aws_dynamic::normalise`] has checked, looks before it changes anything, and answers
//! sparse JSON. An operation without a row here is an error that names it: the twin invents no answer.

pub mod account;
pub mod autoscaling;
pub mod balancer;
pub mod ec2;
pub mod eks;
pub mod filter;
pub mod iam;
pub mod kms;
pub mod logs;
#[cfg(test)]
mod stage;
pub mod tags;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aws_dynamic::{CallError, Effect, Enums, Operation};
use serde_json::{Map, Value, json};

use super::world::World;

/// Why AWS says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// AWS's code: `InvalidVpcID.NotFound`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// AWS's message.
    pub message: String,
}

/// What an operation answers.
pub type Answer = Result<Value, Refusal>;

/// Says no with this code, HTTP status and message.
pub fn refuse<T>(code: &str, status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code: code.to_owned(), status, message: message.into() })
}

/// One simulated operation.
pub type Act = fn(&mut World, &Value) -> Answer;

/// Name and function: `("ec2::describe_vpcs", describe_vpcs)`.
pub type Row = (&'static str, Act);

/// Every simulated operation.
const ROWS: &[&[Row]] = &[
    account::OPERATIONS,
    autoscaling::OPERATIONS,
    balancer::OPERATIONS,
    ec2::address::OPERATIONS,
    ec2::compute::OPERATIONS,
    ec2::image::OPERATIONS,
    ec2::endpoint::OPERATIONS,
    ec2::gateway::OPERATIONS,
    ec2::console::OPERATIONS,
    ec2::interface::OPERATIONS,
    ec2::launch_template::OPERATIONS,
    ec2::network::OPERATIONS,
    ec2::route::OPERATIONS,
    ec2::security_group::OPERATIONS,
    ec2::subnet::OPERATIONS,
    ec2::tags::OPERATIONS,
    ec2::volume::OPERATIONS,
    ec2::vpc::OPERATIONS,
    eks::access::OPERATIONS,
    eks::addon::OPERATIONS,
    eks::cluster::OPERATIONS,
    eks::nodegroup::OPERATIONS,
    eks::pod_identity::OPERATIONS,
    iam::OPERATIONS,
    kms::OPERATIONS,
    logs::OPERATIONS,
];

fn acts() -> &'static BTreeMap<&'static str, Act> {
    static ACTS: OnceLock<BTreeMap<&'static str, Act>> = OnceLock::new();
    ACTS.get_or_init(|| ROWS.iter().flat_map(|rows| rows.iter().copied()).collect())
}

/// The names of all simulated operations.
pub fn simulated() -> impl Iterator<Item = &'static str> {
    acts().keys().copied()
}

/// Answers a call as AWS does; the world is settled afterwards.
#[expect(clippy::result_large_err, reason = "the error of the seam; made once a failed call")]
pub fn call(world: &mut World, operation: &'static Operation, input: &Value) -> Result<Value, CallError> {
    let name = operation.to_string();
    let Some(act) = acts().get(name.as_str()) else {
        return Err(not_simulated(operation));
    };
    let token = operation.token.and_then(|token| input[token].as_str()).map(|token| format!("{name} {token}"));
    if let Some(remembered) = token.as_deref().and_then(|token| world.find(TOKENS, token)).cloned() {
        if remembered["input"] == *input {
            return Ok(remembered["answer"].clone());
        }
        let code = if operation.service == "ec2" { "IdempotentParameterMismatch" } else { "InvalidParameterException" };
        return Err(error(world, 400, code, "The client token was used before with other parameters."));
    }
    let answer = tags::check_specifications(&name, input)
        .and_then(|()| act(world, input))
        .and_then(|answer| page(operation, input, answer));
    if operation.effect == Effect::Mutate {
        super::physics::settle(world);
    }
    let answer = match answer {
        Ok(answer) => visible(answer),
        Err(refusal) => return Err(error(world, refusal.status, &refusal.code, &refusal.message)),
    };
    let enums = if BEYOND_THE_MODEL.contains(&name.as_str()) { Enums::Lenient } else { Enums::Strict };
    let whole = aws_dynamic::complete(operation, answer, enums).map_err(|invalid| {
        let message = format!("the twin's answer to `{name}` does not fit its schema: {}", invalid.message);
        error(world, 501, "TwinAnswer", &message)
    })?;
    if let Some(token) = token {
        world.put(TOKENS, &token, json!({ "input": input, "answer": whole }));
    }
    Ok(whole)
}

/// Where AWS sends states that its model does not name: an attached internet gateway and an endpoint are `available`.
const BEYOND_THE_MODEL: &[&str] = &[
    "ec2::create_vpc_endpoint",
    "ec2::delete_vpc_endpoints",
    "ec2::describe_internet_gateways",
    "ec2::describe_vpc_endpoints",
];

/// Answers by idempotency token.
pub const TOKENS: &str = "tokens";

/// Calls another operation from within one: a managed node group makes an Auto Scaling group as anybody would.
pub fn within(world: &mut World, name: &str, input: Value) -> Answer {
    let Some((service, short)) = name.split_once("::") else { return refuse("TwinName", 500, name) };
    let Some(operation) = aws_dynamic::operation(service, short) else { return refuse("TwinName", 500, name) };
    let Some(act) = acts().get(name) else {
        return refuse("NotSimulated", 400, format!("`{name}` is not simulated"));
    };
    match aws_dynamic::normalise(operation, input, aws_dynamic::Enums::Lenient) {
        Ok(input) => act(world, &input),
        Err(invalid) => refuse("TwinInput", 500, format!("{invalid:?}")),
    }
}

fn not_simulated(operation: &Operation) -> CallError {
    let message = format!("`{operation}` is not simulated: a rehearsal can not answer it");
    CallError::answered(400, "NotSimulated", &message, "")
}

/// An error as it would arrive.
pub fn error(world: &mut World, status: u16, code: &str, message: &str) -> CallError {
    let id = world.uuid("request");
    CallError::answered(status, code, message, &id)
}

/// Without the keys that are the twin's own.
fn visible(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let shown = map.into_iter().filter(|(key, _)| !key.starts_with('_'));
            Value::Object(shown.map(|(key, value)| (key, visible(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(visible).collect()),
        other => other,
    }
}

/// Things on a page where the caller names no limit.
const PAGE_SIZE: usize = 100;

/// The page that was asked for, with the token of the next.
fn page(operation: &Operation, input: &Value, mut answer: Value) -> Answer {
    for key in ["is_truncated", "truncated"] {
        if operation.output.fields.iter().any(|field| field.name == key) && answer[key].is_null() {
            answer[key] = json!(false);
        }
    }
    let Some(paginator) = operation.paginator else { return Ok(answer) };
    let start = match input[paginator.input_token].as_str() {
        None => 0,
        Some(token) => match token.strip_prefix("page-").and_then(|number| number.parse::<usize>().ok()) {
            Some(start) => start,
            None => return Err(bad_token(operation)),
        },
    };
    let limit = paginator.limit.and_then(|limit| input[limit].as_u64()).and_then(|limit| usize::try_from(limit).ok());
    let size = limit.unwrap_or(PAGE_SIZE).max(1);
    let path: Vec<String> = match paginator.items {
        Some(path) => path.iter().map(|&part| part.to_owned()).collect(),
        None => answer.as_object().and_then(longest_list).into_iter().collect(),
    };
    let list = path.iter().try_fold(&mut answer, |value, key| value.get_mut(key.as_str()));
    let Some(Value::Array(items)) = list else { return Ok(answer) };
    let total = items.len();
    *items = items.drain(..).skip(start).take(size).collect();
    if start + size < total {
        let mut slot = &mut answer;
        for key in paginator.output_token {
            slot = &mut slot[*key];
        }
        *slot = json!(format!("page-{}", start + size));
        for key in ["is_truncated", "truncated"] {
            if answer[key] == false {
                answer[key] = json!(true);
            }
        }
    }
    Ok(answer)
}

/// What each service says of a token that it did not give out.
fn bad_token(operation: &Operation) -> Refusal {
    let (code, message) = match operation.service {
        "ec2" => ("InvalidPaginationToken", "The specified pagination token is not valid or is expired."),
        "autoscaling" => ("InvalidNextToken", "The NextToken value is not valid."),
        "ssm" => ("InvalidNextToken", "The specified token isn't valid."),
        "iam" => ("ValidationError", "Invalid Marker."),
        "kms" => ("InvalidMarkerException", "The marker is not valid."),
        _ => ("InvalidParameterException", "The nextToken is not valid."),
    };
    Refusal { code: code.to_owned(), status: 400, message: message.to_owned() }
}

fn longest_list(answer: &Map<String, Value>) -> Option<String> {
    let lists = answer.iter().filter_map(|(key, value)| Some((value.as_array()?.len(), key)));
    lists.max().map(|(_, key)| key.clone())
}

/// The texts of a list, or none.
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A text, empty where there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The tags that `tag_specifications` gives to a resource type, as EC2 shows them.
pub fn specified_tags(input: &Value, resource_type: &str) -> Value {
    let specifications = input["tag_specifications"].as_array().into_iter().flatten();
    let fitting = specifications.filter(|one| one["resource_type"] == resource_type);
    let tags = fitting.flat_map(|one| one["tags"].as_array().into_iter().flatten().cloned());
    Value::Array(tags.collect())
}

/// The value of a tag in a list of `{ key, value }`.
pub fn tag<'a>(tags: &'a Value, key: &str) -> Option<&'a str> {
    tags.as_array()?.iter().find(|tag| tag["key"] == key)?["value"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(world: &mut World, service: &str, name: &str, input: Value) -> Value {
        let operation = aws_dynamic::operation(service, name).unwrap();
        let input = aws_dynamic::normalise(operation, input, Enums::Lenient).unwrap();
        call(world, operation, &input).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn a_page_says_whether_it_is_the_last() {
        let mut world = World::new(1).unwrap();
        for name in ["a", "b"] {
            let input = json!({ "role_name": name, "assume_role_policy_document": "{}" });
            ask(&mut world, "iam", "create_role", input);
        }
        let first = ask(&mut world, "iam", "list_roles", json!({ "max_items": 2 }));
        assert_eq!(first["is_truncated"], true);
        let rest = ask(&mut world, "iam", "list_roles", json!({ "max_items": 2, "marker": first["marker"] }));
        assert_eq!((&rest["is_truncated"], &rest["marker"]), (&json!(false), &Value::Null));
        let operation = aws_dynamic::operation("kms", "list_keys").unwrap();
        let refusal = call(&mut world, operation, &json!({ "marker": "never-given" })).unwrap_err();
        assert_eq!(refusal.code.as_deref(), Some("InvalidMarkerException"));
    }
}
