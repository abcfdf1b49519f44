//! What was made a moment ago: AWS is eventually consistent, so another server of it may not know the new thing yet. A
//! refusal that does not know what we just made is asked again instead of believed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_dynamic::{Effect, Operation};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::{Error, Kind};

/// How long a new thing counts as young. AWS promises no bound: EC2's seconds and the minute that a new role may take to
/// be assumed are what its guides and years of other tools speak of.
const YOUTH: SignedDuration = SignedDuration::from_secs(60);

/// Ids, names and ARNs of new things.
#[derive(Debug, Default)]
pub struct Young {
    /// Since when.
    things: Mutex<BTreeMap<String, Timestamp>>,
}

/// Creations that name the thing they make otherwise than `create_subnet` does with `subnet_id`.
const NAMED_OTHERWISE: &[(&str, &str)] =
    &[("allocate_address", "allocation"), ("create_security_group", "group"), ("run_instances", "instance")];

/// What an operation makes: `subnet`.
fn made_by(operation: &Operation) -> Option<&'static str> {
    let special = NAMED_OTHERWISE.iter().find(|(name, _)| *name == operation.name).map(|(_, thing)| *thing);
    special.or_else(|| operation.name.strip_prefix("create_"))
}

/// How a refusal of what is invalid says that it does not know a thing: Auto Scaling of a launch template, and of the
/// instance profile that one names.
const UNKNOWN: &[&str] = &["does not exist", "Invalid IAM Instance Profile"];

/// Whether an operation ends what it names.
fn ends(operation: &Operation) -> bool {
    ["delete_", "detach_", "disassociate_", "release_", "remove_", "terminate_"]
        .iter()
        .any(|word| operation.name.starts_with(word))
}

impl Young {
    /// Notes what a mutation made, and forgets what it ended.
    pub fn note(&self, operation: &Operation, input: &Value, answer: &Value, now: Timestamp) {
        if operation.effect != Effect::Mutate {
            return;
        }
        let mut things = self.things.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        things.retain(|_, thing| now.duration_since(*thing) < YOUTH);
        if let Some(made) = made_by(operation) {
            let keys = [
                "name".to_owned(),
                "arn".to_owned(),
                format!("{made}_id"),
                format!("{made}_name"),
                format!("{made}_arn"),
            ];
            let mut add = |key: &str, text: &str| {
                if keys.iter().any(|wanted| wanted == key) {
                    things.insert(text.to_owned(), now);
                }
            };
            each_text("", input, &mut add);
            each_text("", answer, &mut add);
        } else if ends(operation) {
            each_text("", input, &mut |_, text| {
                things.retain(|name, _| !mentions(name, text) && !mentions(text, name));
            });
        }
    }

    /// Whether a refusal speaks of something young, so that asking again is worth it.
    pub fn is_meant(&self, operation: &Operation, input: &Value, failure: &Error, now: Timestamp) -> bool {
        let message = failure.to_string();
        let is_invalid = failure.kind() == Kind::Invalid;
        let is_unknown =
            failure.kind() == Kind::NotFound || is_invalid && UNKNOWN.iter().any(|words| message.contains(words));
        // EKS says of a launch template that it can not be found, and not of which one.
        let is_nameless = is_invalid && message.contains("aunch template details can't be found");
        // A question is how we learn what is there, and what is to go may be gone: both are answered.
        if operation.effect != Effect::Mutate || ends(operation) || !(is_unknown || is_nameless) {
            return false;
        }
        let things = self.things.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sent = input.to_string();
        let young = |thing: &Timestamp| now.duration_since(*thing) < YOUTH;
        things
            .iter()
            .filter(|(_, since)| young(since))
            .any(|(name, _)| mentions(&message, name) || is_nameless && mentions(&sent, name))
    }
}

/// Calls `see` with every text of a document and the key it stands behind.
fn each_text(key: &str, value: &Value, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(key, text),
        Value::Array(items) => items.iter().for_each(|item| each_text(key, item, see)),
        Value::Object(map) => map.iter().for_each(|(key, item)| each_text(key, item, see)),
        _ => {}
    }
}

/// Whether a text speaks of a name, and not of a longer one that holds it.
fn mentions(text: &str, name: &str) -> bool {
    let goes_on = |next: Option<char>| next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + name.len()..).unwrap_or_default());
        !goes_on(before.chars().next_back()) && !goes_on(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operation(service: &str, name: &str) -> &'static Operation {
        aws_dynamic::operation(service, name).unwrap()
    }

    fn refusal(kind: Kind, code: &str, message: &str) -> Error {
        let mut error = Error::new(kind, message);
        error.facts_mut().code = Some(code.to_owned());
        error
    }

    #[test]
    fn what_was_just_made_is_asked_for_again_and_nothing_else() {
        let (young, now) = (Young::default(), Timestamp::UNIX_EPOCH);
        let answer = json!({ "vpc": { "vpc_id": "vpc-1", "dhcp_options_id": "dopt-1", "owner_id": "123456789012" } });
        young.note(operation("ec2", "create_vpc"), &json!({}), &answer, now);
        let meant = |kind, code: &str, message: &str, at| {
            young.is_meant(operation("ec2", "create_subnet"), &json!({}), &refusal(kind, code, message), at)
        };
        let unknown = "The vpc ID 'vpc-1' does not exist";
        assert!(meant(Kind::NotFound, "InvalidVpcID.NotFound", unknown, now));
        assert!(!meant(Kind::NotFound, "InvalidVpcID.NotFound", unknown, now + YOUTH));
        assert!(!meant(Kind::NotFound, "InvalidVpcID.NotFound", "The vpc ID 'vpc-12' does not exist", now));
        assert!(!meant(Kind::NotFound, "InvalidDhcpOptionID.NotFound", "'dopt-1' does not exist", now));
        assert!(!meant(Kind::Conflict, "DependencyViolation", "'vpc-1' has dependencies", now));
        assert!(!meant(Kind::Invalid, "InvalidParameterValue", "'vpc-1' is wrong", now), "EC2 knows its own things");
        let unknown = "The specified launch template, with template ID vpc-1, does not exist";
        assert!(meant(Kind::Invalid, "ValidationError", unknown, now));
        let nameless = refusal(Kind::Invalid, "InvalidRequestException", "Launch template details can't be found.");
        let of = |id: &str| json!({ "launch_template": { "id": id } });
        assert!(young.is_meant(operation("eks", "create_nodegroup"), &of("vpc-1"), &nameless, now));
        assert!(!young.is_meant(operation("eks", "create_nodegroup"), &of("lt-1"), &nameless, now));
        young.note(operation("ec2", "delete_vpc"), &json!({ "vpc_id": "vpc-1" }), &json!({}), now);
        assert!(!meant(Kind::Invalid, "ValidationError", unknown, now));
    }
}
