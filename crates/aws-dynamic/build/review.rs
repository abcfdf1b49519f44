//! What the SDK's source does not tell. Every row was looked at; a row that no longer applies fails the build.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::shapes::Shape;
use crate::source::Operation;

/// Verbs of operations that only look. Every other verb may change something.
const READ_VERBS: &[&str] =
    &["decode", "describe", "filter", "get", "list", "search", "simulate", "test", "validate", "verify"];

struct Row {
    service: &'static str,
    operation: &'static str,
    mutates: bool,
}

const fn mutate(service: &'static str, operation: &'static str) -> Row {
    Row { service, operation, mutates: true }
}

const fn read(service: &'static str, operation: &'static str) -> Row {
    Row { service, operation, mutates: false }
}

/// Where the verb misleads.
const EFFECTS: &[Row] = &[
    // They hand out credentials that outlive the session.
    mutate("sts", "get_delegated_access_token"),
    mutate("sts", "get_federation_token"),
    mutate("sts", "get_session_token"),
    mutate("sts", "get_web_identity_token"),
    mutate("ssm", "get_access_token"),
    // Writes a template into a bucket.
    mutate("ec2", "get_flow_logs_integration_template"),
    // The answer is the exported text itself; the other exports write into a bucket.
    read("ec2", "export_client_vpn_client_certificate_revocation_list"),
    read("ec2", "export_client_vpn_client_configuration"),
    read("ec2", "export_verified_access_instance_client_configuration"),
    // Looks something up; the verb sounds like more.
    read("ec2", "confirm_product_instance"),
    // Opens a stream of log lines.
    read("cloudwatchlogs", "start_live_tail"),
];

/// Whether an operation may change the cloud.
pub(crate) fn mutates(service: &str, operation: &str) -> bool {
    let row = EFFECTS.iter().find(|row| row.service == service && row.operation == operation);
    let verb = operation.split('_').next().unwrap_or_default();
    row.map_or(!READ_VERBS.contains(&verb), |row| row.mutates)
}

/// Output fields of IAM that carry percent-encoded JSON.
const ENCODED: &[&str] = &["assume_role_policy_document", "document", "policy_document"];

/// Whether an output field must be decoded.
pub(crate) fn is_encoded(service: &str, field: &str) -> bool {
    service == "iam" && ENCODED.contains(&field)
}

/// Refuses rows that name nothing, or say what the verb says already.
pub(crate) fn check(service: &str, operations: &[Operation], types: &BTreeMap<String, Shape>) -> Result<()> {
    for row in EFFECTS.iter().filter(|row| row.service == service) {
        let verb = row.operation.split('_').next().unwrap_or_default();
        let known = operations.iter().any(|operation| operation.name == row.operation);
        ensure!(known, "the effect table names {service}::{}, which does not exist", row.operation);
        ensure!(READ_VERBS.contains(&verb) == row.mutates, "the effect table repeats the verb of {}", row.operation);
    }
    let outputs = operations.iter().map(|operation| &operation.output);
    let fields: Vec<&str> =
        types.values().chain(outputs).flat_map(|shape| &shape.members).map(|member| member.name.as_str()).collect();
    for field in ENCODED.iter().filter(|_| service == "iam") {
        ensure!(fields.contains(field), "iam has no output field {field}");
    }
    Ok(())
}
