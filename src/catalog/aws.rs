//! AWS operations and waiters as catalog entries, from the generated schema.

use aws_dynamic::{Field, Operation, Service, Struct, Type, Waiter};
use serde_json::{Value, json};

use super::Effect;
use super::doc::{Entry, FieldDoc};

/// Every operation and waiter of every service compiled in.
pub fn entries() -> impl Iterator<Item = Entry> {
    aws_dynamic::services().iter().copied().flat_map(of_service)
}

/// Every operation and waiter of one service.
pub fn of_service(service: &'static Service) -> impl Iterator<Item = Entry> {
    service.operations.iter().map(operation).chain(service.waiters.iter().map(waiter))
}

/// The entry of an operation.
pub fn operation(operation: &'static Operation) -> Entry {
    let effect = match operation.effect {
        aws_dynamic::Effect::Read => Effect::Read,
        aws_dynamic::Effect::Mutate => Effect::Mutate,
    };
    Entry {
        summary: operation.summary.to_owned(),
        signatures: vec![signature(&operation.to_string(), operation, false)],
        fields: fields(operation),
        returns: returns(operation.output),
        iam_actions: iam_actions(operation),
        token: operation.token.map(str::to_owned),
        paginator: operation.paginator.map(|paginator| {
            json!({
                "input_token": paginator.input_token,
                "output_token": paginator.output_token.join("."),
                "items": paginator.items.map(|items| items.join(".")),
                "limit": paginator.limit,
            })
        }),
        waiters: waiters_of(operation),
        operation: Some(operation),
        ..Entry::new(operation.to_string(), "operation", effect)
    }
}

/// Calls that need permission to do something else as well, or none at all. Everything else needs the action that has
/// the operation's own name.
///
/// From AWS's documentation: "Granting permissions to pass a role to an AWS service" (IAM user guide), "Amazon EC2
/// Auto Scaling API permissions" (its user guide), and the page of `GetCallerIdentity` in the STS API reference.
const OTHER_ACTIONS: [(&str, &[&str]); 12] = [
    ("sts::get_caller_identity", &[]),
    ("eks::create_cluster", &["eks:CreateCluster", "iam:PassRole"]),
    ("eks::create_nodegroup", &["eks:CreateNodegroup", "iam:PassRole"]),
    ("eks::create_fargate_profile", &["eks:CreateFargateProfile", "iam:PassRole"]),
    ("eks::create_pod_identity_association", &["eks:CreatePodIdentityAssociation", "iam:PassRole"]),
    ("eks::update_pod_identity_association", &["eks:UpdatePodIdentityAssociation", "iam:PassRole"]),
    ("ec2::run_instances", &["ec2:RunInstances", "iam:PassRole"]),
    ("ec2::associate_iam_instance_profile", &["ec2:AssociateIamInstanceProfile", "iam:PassRole"]),
    (
        "autoscaling::create_auto_scaling_group",
        &["autoscaling:CreateAutoScalingGroup", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"],
    ),
    ("autoscaling::put_lifecycle_hook", &["autoscaling:PutLifecycleHook", "iam:PassRole"]),
    ("iam::add_role_to_instance_profile", &["iam:AddRoleToInstanceProfile", "iam:PassRole"]),
    ("ec2::replace_iam_instance_profile_association", &["ec2:ReplaceIamInstanceProfileAssociation", "iam:PassRole"]),
];

/// The actions that a policy must allow: `eks:CreateCluster`. The prefix is what requests are signed for, which for
/// the services compiled in is what policies use.
fn iam_actions(operation: &Operation) -> Vec<String> {
    let name = operation.to_string();
    if let Some((_, actions)) = OTHER_ACTIONS.iter().find(|(other, _)| *other == name) {
        return actions.iter().map(|action| (*action).to_owned()).collect();
    }
    let prefix = aws_dynamic::service(operation.service).map_or(operation.service, |service| service.signing_name);
    vec![format!("{prefix}:{}", operation.wire_name)]
}

fn signature(name: &str, operation: &Operation, has_options: bool) -> String {
    let required: Vec<String> = operation.required().map(|field| format!("{}: …", field.name)).collect();
    let options = if has_options { ", #{ timeout: … }" } else { "" };
    match required.as_slice() {
        [] if has_options => format!("{name}(#{{}}{options})"),
        [] => format!("{name}()"),
        required => format!("{name}(#{{ {} }}{options})", required.join(", ")),
    }
}

fn waiters_of(operation: &Operation) -> Vec<String> {
    let waiters = aws_dynamic::service(operation.service).map_or(&[][..], |service| service.waiters);
    let own = waiters.iter().filter(|waiter| std::ptr::eq(waiter.operation, operation));
    own.map(waiter_name).collect()
}

fn waiter_name(waiter: &Waiter) -> String {
    format!("{}::wait_until_{}", waiter.operation.service, waiter.name)
}

fn fields(operation: &Operation) -> Vec<FieldDoc> {
    let required: Vec<&str> = operation.required().map(|field| field.name).collect();
    let docs = operation.input.fields.iter();
    docs.map(|field| FieldDoc { required: required.contains(&field.name), ..self::field(field) }).collect()
}

/// A field of an operation's input or output as documentation.
pub fn field(field: &Field) -> FieldDoc {
    FieldDoc {
        ty: field.ty.to_string(),
        phrase: phrase(&field.ty),
        required: field.required,
        values: values(&field.ty),
        doc: field.doc.to_owned(),
        is_key: true,
        keys: shape(&field.ty).map_or_else(Vec::new, |shape| shape.fields.iter().map(|field| field.name).collect()),
        ..FieldDoc::parameter(field.name)
    }
}

/// The map with known keys that a type is, or is a list or map of.
pub fn shape(ty: &Type) -> Option<&'static Struct> {
    match ty {
        Type::Struct(shape) | Type::Events(shape) => Some(shape),
        Type::List(item) | Type::Map(item) => shape(item),
        _ => None,
    }
}

fn values(ty: &Type) -> Vec<String> {
    match ty {
        Type::Enum(shape) => shape.values.iter().map(|value| (*value).to_owned()).collect(),
        Type::List(item) | Type::Map(item) => values(item),
        _ => Vec::new(),
    }
}

/// A type as a script's author thinks of it: `list of maps`, where the schema says `list of Tag`.
fn phrase(ty: &Type) -> String {
    match ty {
        Type::String | Type::Enum(_) => "text".to_owned(),
        Type::Boolean => "boolean".to_owned(),
        Type::Integer | Type::Long => "integer".to_owned(),
        Type::Float | Type::Double => "number".to_owned(),
        Type::Timestamp => "time".to_owned(),
        Type::Blob => "base64 text".to_owned(),
        Type::Struct(shape) if shape.union => "map with one key".to_owned(),
        Type::Struct(_) => "map".to_owned(),
        Type::Events(_) => "list of maps".to_owned(),
        Type::List(item) => format!("list of {}", plural(item)),
        Type::Map(item) => format!("map of names to {}", plural(item)),
    }
}

fn plural(item: &Type) -> String {
    match item {
        Type::String | Type::Enum(_) => "texts".to_owned(),
        Type::Struct(_) => "maps".to_owned(),
        Type::Blob => "base64 texts".to_owned(),
        Type::List(_) | Type::Map(_) | Type::Events(_) => format!("({})", phrase(item)),
        other => format!("{}s", phrase(other)),
    }
}

fn returns(output: &Struct) -> String {
    let names: Vec<&str> = output.fields.iter().map(|field| field.name).collect();
    if names.is_empty() { "nothing".to_owned() } else { format!("#{{ {} }}", names.join(", ")) }
}

fn waiter(waiter: &'static Waiter) -> Entry {
    let called = operation(waiter.operation);
    let name = waiter_name(waiter);
    Entry {
        signatures: vec![signature(&name, waiter.operation, true)],
        name,
        kind: "binding",
        effect: Effect::Read,
        summary: format!("Asks `{}` again until it answers as AWS's waiter `{}` wants.", called.name, waiter.name),
        doc: "The options map, second, takes `timeout`; without it the wait ends after 30 minutes.".to_owned(),
        raises: vec!["timeout".to_owned(), "failed".to_owned()],
        waiter: Some(Value::String(called.name.clone())),
        token: None,
        paginator: None,
        waiters: Vec::new(),
        ..called
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_has_the_prefix_that_policies_use() {
        for (service, name, wanted) in [
            ("eks", "describe_cluster", "eks:DescribeCluster"),
            ("elasticloadbalancingv2", "describe_load_balancers", "elasticloadbalancing:DescribeLoadBalancers"),
            ("cloudwatchlogs", "create_log_group", "logs:CreateLogGroup"),
            ("servicequotas", "get_service_quota", "servicequotas:GetServiceQuota"),
        ] {
            assert_eq!(iam_actions(aws_dynamic::operation(service, name).unwrap()), [wanted]);
        }
        assert!(iam_actions(aws_dynamic::operation("sts", "get_caller_identity").unwrap()).is_empty());
    }

    #[test]
    fn every_exception_is_an_operation_that_exists() {
        for (name, _) in OTHER_ACTIONS {
            let (service, operation) = name.split_once("::").unwrap();
            assert!(aws_dynamic::operation(service, operation).is_some(), "{name}");
        }
    }
}
