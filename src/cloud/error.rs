//! What AWS's answers mean: one row a code, one sentence a kind.

use aws_dynamic::{CallError, Credentials, Operation, Phase};

use crate::error::{Error, Kind};

/// How a code is recognised.
enum Code {
    /// The whole code.
    Is(&'static str),
    /// A part of it: EC2 alone has hundreds of `Invalid…ID.NotFound`.
    Has(&'static str),
}

use Code::{Has, Is};

/// Looked at in order; the first row that fits decides. Codes are AWS's own, without a trailing `Exception`.
const KINDS: &[(Code, Kind)] = &[
    (Is("ExpiredToken"), Kind::Expired),
    (Is("RequestExpired"), Kind::Expired),
    (Is("InvalidClientTokenId"), Kind::Expired),
    (Is("UnrecognizedClient"), Kind::Expired),
    (Is("InvalidAccessKeyId"), Kind::Expired),
    (Is("SignatureDoesNotMatch"), Kind::Expired),
    (Is("AuthFailure"), Kind::Expired),
    (Is("MissingAuthenticationToken"), Kind::Expired),
    (Is("OptInRequired"), Kind::Denied),
    (Is("NotAuthorized"), Kind::Denied),
    (Is("UnauthorizedOperation"), Kind::Denied),
    (Is("Blocked"), Kind::Denied),
    (Has("AccessDenied"), Kind::Denied),
    (Is("RequestLimitExceeded"), Kind::Throttled),
    (Is("TooManyRequests"), Kind::Throttled),
    (Is("RequestThrottled"), Kind::Throttled),
    (Is("SlowDown"), Kind::Throttled),
    (Is("PriorRequestNotComplete"), Kind::Throttled),
    (Is("BandwidthLimitExceeded"), Kind::Throttled),
    (Has("Throttl"), Kind::Throttled),
    (Has("NotFound"), Kind::NotFound),
    (Is("NoSuchEntity"), Kind::NotFound),
    (Is("ParameterVersionNotFound"), Kind::NotFound),
    (Has("AlreadyExist"), Kind::Conflict),
    (Has("Duplicate"), Kind::Conflict),
    (Is("ResourceInUse"), Kind::Conflict),
    (Is("DeleteConflict"), Kind::Conflict),
    (Is("DependencyViolation"), Kind::Conflict),
    (Is("IncorrectState"), Kind::Conflict),
    (Is("IncorrectInstanceState"), Kind::Conflict),
    (Is("IdempotentParameterMismatch"), Kind::Conflict),
    (Is("ConcurrentModification"), Kind::Conflict),
    (Is("OperationAborted"), Kind::Conflict),
    (Is("ScalingActivityInProgress"), Kind::Conflict),
    (Has("Conflict"), Kind::Conflict),
    (Has("InUse"), Kind::Conflict),
    (Has("LimitExceeded"), Kind::Failed),
    (Has("QuotaExceeded"), Kind::Failed),
    (Is("ServiceQuotaExceeded"), Kind::Failed),
    (Has("InsufficientInstanceCapacity"), Kind::Failed),
    (Has("InsufficientHostCapacity"), Kind::Failed),
    (Has("InsufficientFreeAddresses"), Kind::Failed),
    (Has("InsufficientCidrBlocks"), Kind::Failed),
    (Is("UnsupportedAvailabilityZone"), Kind::Invalid),
    (Has("Unsupported"), Kind::Invalid),
    (Has("Validation"), Kind::Invalid),
    (Has("Malformed"), Kind::Invalid),
    (Has("Missing"), Kind::Invalid),
    (Is("InvalidAction"), Kind::Invalid),
    (Has("Invalid"), Kind::Invalid),
    (Is("InternalFailure"), Kind::Unavailable),
    (Is("InternalError"), Kind::Unavailable),
    (Is("ServiceUnavailable"), Kind::Unavailable),
    (Is("Unavailable"), Kind::Unavailable),
    (Is("RequestTimeout"), Kind::Timeout),
    (Is("NotStabilized"), Kind::Unavailable),
    // Of a twin: an operation that it does not play, and an answer of its own that is none.
    (Is("NotSimulated"), Kind::Failed),
    (Is("TwinAnswer"), Kind::Bug),
    (Is("Server"), Kind::Unavailable),
];

/// The error that scripts and operators see for a failed call.
pub fn from_call(operation: &Operation, region: Option<&str>, answer: CallError) -> Error {
    let kind = kind_of(&answer);
    let place = region.map_or_else(String::new, |region| format!(" in {region}"));
    let name = operation.to_string();
    let said = sentence(&answer.message);
    let mut error = match kind {
        Kind::Expired => expired(&name, &place, &said, &answer),
        Kind::Denied => Error::new(kind, format!("not allowed to call `{name}`{place}"))
            .note(said)
            .hint(format!("use a role that allows `{}`", action(operation))),
        Kind::Unavailable if answer.status.is_none() => unreachable(&name, &place, &said, region),
        Kind::Timeout => Error::new(kind, format!("`{name}`{place} did not answer in time")).note(said),
        _ if said.is_empty() => Error::new(kind, format!("`{name}`{place} failed")),
        _ => Error::new(kind, format!("`{name}`{place}: {said}")),
    };
    if kind == Kind::Failed && is_quota(&answer) {
        error = error.hint("ask for a higher quota in Service Quotas, or remove what is no longer used");
    }
    if let (Kind::Unavailable | Kind::Bug | Kind::Throttled, Some(id)) = (kind, &answer.request_id) {
        error = error.note(format!("request id {id}"));
    }
    let facts = error.facts_mut();
    facts.service = Some(operation.service.to_owned());
    facts.operation = Some(operation.name.to_owned());
    facts.code = answer.code;
    facts.status = answer.status;
    facts.request_id = answer.request_id;
    facts.retryable = answer.retryable || matches!(kind, Kind::Throttled);
    facts.maybe_applied = answer.maybe_applied;
    error
}

fn kind_of(answer: &CallError) -> Kind {
    if answer.credentials.is_some() {
        return Kind::Expired;
    }
    if let Some(code) = &answer.code {
        // `ec2` and `query` services prefix some codes (`Client.`), the JSON ones end in `Exception` or `Fault`.
        let code = code.rsplit(['#', ':']).next().unwrap_or(code);
        let code = code.strip_prefix("Client.").unwrap_or(code);
        let code = code.strip_suffix("Exception").or_else(|| code.strip_suffix("Fault")).unwrap_or(code);
        let row = KINDS.iter().find(|(pattern, _)| match pattern {
            Is(whole) => code == *whole,
            Has(part) => code.contains(part),
        });
        if let Some((_, kind)) = row {
            return *kind;
        }
    }
    match (answer.phase, answer.status) {
        (Phase::Timeout, _) => Kind::Timeout,
        (Phase::Input | Phase::Construction, _) => Kind::Invalid,
        (Phase::Dispatch, _) => Kind::Unavailable,
        (_, Some(403)) => Kind::Denied,
        (_, Some(401)) => Kind::Expired,
        (_, Some(404)) => Kind::NotFound,
        (_, Some(409)) => Kind::Conflict,
        (_, Some(429)) => Kind::Throttled,
        (_, Some(400..=499)) => Kind::Invalid,
        (_, Some(500..=599)) | (Phase::Response, _) => Kind::Unavailable,
        _ => Kind::Failed,
    }
}

fn expired(name: &str, place: &str, said: &str, answer: &CallError) -> Error {
    let message = match (&answer.code, answer.credentials) {
        (_, Some(Credentials::Expired)) => format!("the credentials for `{name}`{place} have expired"),
        (Some(code), _) if code.contains("Expired") => format!("the credentials for `{name}`{place} have expired"),
        (_, Some(Credentials::NotFound)) => format!("no credentials for `{name}`{place}"),
        (_, Some(_)) => format!("the credentials for `{name}`{place} can not be had"),
        _ => format!("the credentials for `{name}`{place} are not valid"),
    };
    let profile = std::env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
    let login = match profile {
        Some(profile) => format!("log in again: `aws sso login --profile {profile}`"),
        None => "log in: `aws sso login` or `aws login`, then `--profile NAME`, or set `AWS_ACCESS_KEY_ID` and \
                 `AWS_SECRET_ACCESS_KEY`"
            .to_owned(),
    };
    let mut error = Error::new(Kind::Expired, message).hint(login);
    if !said.is_empty() {
        error = error.note(said);
    }
    error
}

fn unreachable(name: &str, place: &str, said: &str, region: Option<&str>) -> Error {
    let error = Error::new(Kind::Unavailable, format!("`{name}`{place} can not be reached")).note(said);
    match region {
        Some(region) if said.contains("dns error") => error.hint(format!(
            "check that `{region}` is a region, and the network; behind a proxy set `HTTPS_PROXY` and `NO_PROXY`"
        )),
        _ => error.hint("check the network, the proxy (`HTTPS_PROXY`, `NO_PROXY`) and any `AWS_ENDPOINT_URL`"),
    }
}

fn is_quota(answer: &CallError) -> bool {
    answer.code.as_deref().is_some_and(|code| code.contains("LimitExceeded") || code.contains("QuotaExceeded"))
}

/// `eks:CreateCluster`, as policies write it.
fn action(operation: &Operation) -> String {
    let prefix = aws_dynamic::service(operation.service).map_or(operation.service, |service| service.signing_name);
    format!("{prefix}:{}", operation.wire_name)
}

/// AWS's own words in our form: no period at the end; the first letter small where it is a word and not a name.
fn sentence(message: &str) -> String {
    let text = message.trim().trim_end_matches('.');
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && (second.is_lowercase() || second == ' ') => {
            let word = text.split([' ', ':', ',']).next().unwrap_or_default();
            // `VpcLimitExceeded` or `ClusterName` are names, `The` and `No` are words.
            if word.chars().skip(1).any(char::is_uppercase) {
                text.to_owned()
            } else {
                first.to_lowercase().chain(text.chars().skip(1)).collect()
            }
        }
        _ => text.to_owned(),
    }
}
