//! How the API server says no, in its own words.

use serde_json::{Value, json};

use super::Problem;
use super::kinds::Served;

/// The detail with which a list that broke off can go on; it stands in the metadata of the Status.
pub const RESUME: &str = "_continue";

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    reason: &'static str,
    field: String,
    message: String,
}

impl Wrong {
    /// A value that is not one, as Go writes its struct.
    pub fn verbatim(field: impl Into<String>, shown: &str, why: &str) -> Wrong {
        Wrong { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {shown}: {why}") }
    }

    /// A value that stands there already, as Go writes its struct.
    pub fn verbatim_duplicate(field: impl Into<String>, shown: &str, why: &str) -> Wrong {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let message = format!("Duplicate value: {shown}{why}");
        Wrong { reason: "FieldValueDuplicate", field: field.into(), message }
    }

    /// A value that is none of those that there are, as Go writes its struct.
    pub fn verbatim_unsupported(field: impl Into<String>, shown: &str, known: &[&str]) -> Wrong {
        let known: Vec<String> = known.iter().map(|one| format!("{one:?}")).collect();
        let message = format!("Unsupported value: {shown}: supported values: {}", known.join(", "));
        Wrong { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    /// Why it is wrong, without the value.
    pub fn why(&self) -> &str {
        self.message.splitn(3, ": ").nth(2).unwrap_or(&self.message)
    }

    /// Whether it is about this field.
    pub fn is_about(&self, field: &str) -> bool {
        self.field == field
    }
}

/// A value that is not one.
pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Wrong {
    Wrong { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
}

/// A value that is not one and is not shown.
pub fn invalid_without_value(field: impl Into<String>, why: &str) -> Wrong {
    Wrong { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {why}") }
}

/// A value that is missing.
pub fn required(field: impl Into<String>, why: &str) -> Wrong {
    let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
    Wrong { reason: "FieldValueRequired", field: field.into(), message }
}

/// A value that is longer than it may be.
pub fn too_long(field: impl Into<String>, max: usize) -> Wrong {
    let message = format!("Too long: may not be more than {max} bytes");
    Wrong { reason: "FieldValueTooLong", field: field.into(), message }
}

/// A list or map with more than it may hold.
pub fn too_many(field: impl Into<String>, has: usize, max: u64) -> Wrong {
    let message = format!("Too many: {has}: must have at most {max} items");
    Wrong { reason: "FieldValueTooMany", field: field.into(), message }
}

/// A value of another type, as schemas tell it.
pub fn mistyped(field: impl Into<String>, value: &Value, why: &str) -> Wrong {
    Wrong { reason: "FieldValueTypeInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
}

/// A value that may not be given.
pub fn forbidden_field(field: impl Into<String>, why: &str) -> Wrong {
    Wrong { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
}

/// A value that stands there already.
pub fn duplicate(field: impl Into<String>, value: &Value) -> Wrong {
    Wrong { reason: "FieldValueDuplicate", field: field.into(), message: format!("Duplicate value: {value}") }
}

/// A value that names what is not there.
pub fn missing(field: impl Into<String>, value: &Value) -> Wrong {
    Wrong { reason: "FieldValueNotFound", field: field.into(), message: format!("Not found: {value}") }
}

/// A value that is none of those that there are.
pub fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Wrong {
    let known: Vec<String> = known.iter().map(|one| format!("{one:?}")).collect();
    let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
    Wrong { reason: "FieldValueNotSupported", field: field.into(), message }
}

fn problem(code: u16, reason: &'static str, message: impl Into<String>, details: Value) -> Problem {
    Problem { code, reason, message: message.into(), details }
}

fn about(served: &Served, name: &str) -> Value {
    let mut details = json!({ "kind": served.plural });
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !served.group.is_empty() {
        details["group"] = json!(served.group);
    }
    details
}

/// 404 for an object.
pub fn not_found(served: &Served, name: &str) -> Problem {
    problem(404, "NotFound", format!("{} \"{name}\" not found", served.resource()), about(served, name))
}

/// 404 for a path.
pub fn no_such_path() -> Problem {
    problem(404, "NotFound", "the server could not find the requested resource", json!({}))
}

/// 404 for the namespace that something is to be created in.
pub fn no_namespace(name: &str) -> Problem {
    let details = json!({ "name": name, "kind": "namespaces" });
    problem(404, "NotFound", format!("namespaces \"{name}\" not found"), details)
}

/// 409 for a name that is taken.
pub fn already_exists(served: &Served, name: &str) -> Problem {
    problem(409, "AlreadyExists", format!("{} \"{name}\" already exists", served.resource()), about(served, name))
}

/// 409 for a write that does not fit what is stored.
pub fn conflict(served: &Served, name: &str, why: &str) -> Problem {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", served.resource());
    problem(409, "Conflict", message, about(served, name))
}

/// 409 for a write from an older version.
pub fn modified(served: &Served, name: &str) -> Problem {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    conflict(served, name, why)
}

/// 422 with the fields that are wrong.
pub fn invalid_object(served: &Served, name: &str, wrong: &[Wrong]) -> Problem {
    let mut details = json!({ "kind": served.kind });
    if !served.group.is_empty() {
        details["group"] = json!(served.group);
    }
    invalid_as(&served.qualified_kind(), name, details, wrong)
}

/// 422 for what is no object: options of a request, a patch.
pub fn invalid_as(kind: &str, name: &str, mut details: Value, wrong: &[Wrong]) -> Problem {
    let mut told: Vec<String> = Vec::new();
    for one in wrong {
        // What is wrong twice for the same reason is told once, but counts as two causes.
        let text = format!("{}: {}", one.field, one.message);
        if !told.contains(&text) {
            told.push(text);
        }
    }
    let told = match &*told {
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    };
    if let Some(options) = kind.strip_suffix(".meta.k8s.io") {
        details = json!({ "group": "meta.k8s.io", "kind": options });
    }
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    let causes = wrong.iter().map(|one| json!({ "reason": one.reason, "message": one.message, "field": one.field }));
    details["causes"] = causes.collect();
    problem(422, "Invalid", format!("{kind} \"{name}\" is invalid: {told}"), details)
}

/// 400 for an object of another kind than the one that is wanted.
pub fn unconvertible(version: &str, kind: &str, package: &str, wanted: &str) -> Problem {
    let short = version.rsplit('/').next().unwrap_or_default();
    bad_request(format!(
        "{kind} in version {short:?} cannot be handled as a {wanted}: converting ({short}.{kind}) to ({package}.{wanted}): \
         unknown conversion"
    ))
}

/// How Go tells of a text that is no number: `reader` is the name of what reads it.
pub fn unparsed(reader: &str, text: &str) -> String {
    let digits = text.strip_prefix(['-', '+']).filter(|_| reader == "ParseInt").unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let why = if is_number { "value out of range" } else { "invalid syntax" };
    format!("strconv.{reader}: parsing {text:?}: {why}")
}

/// 400.
pub fn bad_request(message: impl Into<String>) -> Problem {
    problem(400, "BadRequest", message, Value::Null)
}

/// 401.
pub fn unauthorized() -> Problem {
    problem(401, "Unauthorized", "Unauthorized", Value::Null)
}

/// 403 for an object or, without a name, a kind.
pub fn forbidden(served: &Served, name: &str, why: &str) -> Problem {
    let subject = if name.is_empty() { served.resource() } else { format!("{} \"{name}\"", served.resource()) };
    problem(403, "Forbidden", format!("{subject} is forbidden: {why}"), about(served, name))
}

/// 403 for content of a namespace that ends.
pub fn terminating(served: &Served, name: &str, namespace: &str) -> Problem {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut problem = forbidden(served, name, &why);
    problem.details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    problem
}

/// 405.
pub fn not_allowed() -> Problem {
    problem(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", json!({}))
}

/// 406.
pub fn not_acceptable(produced: &[&str]) -> Problem {
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", produced.join(", "));
    problem(406, "NotAcceptable", message, json!({}))
}

/// 406 for what can not be shown so.
pub fn shown_otherwise(why: impl Into<String>) -> Problem {
    problem(406, "NotAcceptable", why, Value::Null)
}

/// 406 of whoever would write the answer.
pub fn none_accepted(forms: &str) -> Problem {
    problem(406, "NotAcceptable", format!("only the following media types are accepted: {forms}"), Value::Null)
}

/// 410 for what is forgotten.
pub fn expired(message: impl Into<String>) -> Problem {
    problem(410, "Expired", message, Value::Null)
}

/// 413.
pub fn too_large(message: &str) -> Problem {
    problem(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"), Value::Null)
}

/// 415.
pub fn unsupported_type(known: &[&str]) -> Problem {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        known.join(", ")
    );
    problem(415, "UnsupportedMediaType", message, Value::Null)
}

/// 415 of a patch.
pub fn unsupported_patch() -> Problem {
    problem(415, "UnsupportedMediaType", "415: Unsupported Media Type", json!({}))
}

/// 429 of a disruption budget; `retry_after_seconds` 0: nobody knows.
pub fn disruption(cause: &str, retry_after_seconds: i64) -> Problem {
    let mut details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": cause }] });
    if retry_after_seconds > 0 {
        details["retryAfterSeconds"] = json!(retry_after_seconds);
    }
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    problem(429, "TooManyRequests", message, details)
}

/// 500 of what the server had no status for.
pub fn unforeseen(message: impl Into<String>) -> Problem {
    problem(500, "", message, Value::Null)
}

/// 500.
pub fn internal(message: impl Into<String>) -> Problem {
    problem(500, "InternalError", message, json!({}))
}

/// 501: the twin does not do this.
pub fn not_simulated(what: &str) -> Problem {
    problem(501, "NotImplemented", format!("{what} is not simulated: a rehearsal can not answer it"), json!({}))
}

impl Problem {
    /// The `Status` on the wire.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(resume) = self.details[RESUME].as_str() {
            status["metadata"]["continue"] = json!(resume);
        } else if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
