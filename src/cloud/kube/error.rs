//! What a Kubernetes API server, or the way to it, answers with when it fails: mapped to our errors by table, here
//! only.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use kube::client::AuthError;
use kube::core::Status;
use kube::core::response::StatusCause;

use super::Server;
use crate::error::{Error, Kind, list_and};

/// What is done to an object, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Look at one.
    Get,
    /// Look at many.
    List,
    /// Server-side apply.
    Apply,
    /// Make a new one.
    Create,
    /// Replace it as a whole.
    Update,
    /// Change parts.
    Patch,
    /// Remove it.
    Delete,
    /// Ask a pod to go.
    Evict,
    /// Read what a pod wrote.
    Log,
    /// Ask which kinds there are, or which version.
    Discover,
}

impl Verb {
    /// The word in messages.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Apply => "apply",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::Evict => "evict",
            Verb::Log => "logs",
            Verb::Discover => "discover",
        }
    }

    /// Whether a request of this kind may change something.
    pub fn mutates(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Log | Verb::Discover)
    }
}

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was to be done.
    pub verb: Verb,
    /// `ConfigMap`.
    pub kind: &'a str,
    /// Absent for lists.
    pub name: Option<&'a str>,
    /// Absent for what lives in no namespace, and for lists over all of them.
    pub namespace: Option<&'a str>,
}

impl Subject<'_> {
    /// ``ConfigMap `aws-auth` ``.
    fn thing(&self) -> String {
        match self.name {
            Some(name) => format!("{} `{name}`", self.kind),
            None => format!("{} objects", self.kind),
        }
    }

    /// ``apply ConfigMap `aws-auth` in namespace `kube-system` of cluster `prod` ``.
    fn action(&self, server: &Server) -> String {
        match self.verb {
            Verb::Discover => format!("ask {server} for {}", self.kind),
            Verb::Log => format!("read the logs of {} {}", self.thing(), self.place(server)),
            verb => format!("{} {} {}", verb.name(), self.thing(), self.place(server)),
        }
    }

    /// `` in namespace `kube-system` of cluster `prod` ``.
    fn place(&self, server: &Server) -> String {
        match self.namespace {
            Some(namespace) => format!("in namespace `{namespace}` of {server}"),
            None => format!("in {server}"),
        }
    }
}

/// Whether a request that was answered in this way may have been applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    No,
    Maybe,
}

/// A reason of the API server and what it means here.
struct Row {
    reason: &'static str,
    status: u16,
    kind: Kind,
    applied: Applied,
}

const fn row(reason: &'static str, status: u16, kind: Kind, applied: Applied) -> Row {
    Row { reason, status, kind, applied }
}

/// `metav1.StatusReason`, each with the status that stands for it where a proxy ate the reason.
const ROWS: &[Row] = &[
    row("Unauthorized", 401, Kind::Expired, Applied::No),
    row("Forbidden", 403, Kind::Denied, Applied::No),
    row("NotFound", 404, Kind::NotFound, Applied::No),
    row("AlreadyExists", 409, Kind::Conflict, Applied::No),
    row("Conflict", 409, Kind::Conflict, Applied::No),
    row("Expired", 410, Kind::Conflict, Applied::No),
    row("Gone", 410, Kind::Conflict, Applied::No),
    row("Invalid", 422, Kind::Invalid, Applied::No),
    row("BadRequest", 400, Kind::Invalid, Applied::No),
    row("MethodNotAllowed", 405, Kind::Invalid, Applied::No),
    row("NotAcceptable", 406, Kind::Invalid, Applied::No),
    row("RequestEntityTooLarge", 413, Kind::Invalid, Applied::No),
    row("UnsupportedMediaType", 415, Kind::Invalid, Applied::No),
    row("TooManyRequests", 429, Kind::Throttled, Applied::No),
    row("ServiceUnavailable", 503, Kind::Unavailable, Applied::No),
    row("ServerTimeout", 500, Kind::Unavailable, Applied::Maybe),
    row("StorageReadError", 500, Kind::Unavailable, Applied::Maybe),
    row("InternalError", 500, Kind::Unavailable, Applied::Maybe),
    row("Timeout", 504, Kind::Unavailable, Applied::Maybe),
];

/// What server-side apply answers with status 500 although the object is what is wrong (kubernetes 1.36, before
/// `fieldValidation` is looked at).
const NOT_OF_ITS_TYPE: &str = "failed to create typed patch object";

fn row_of(status: &Status) -> (Kind, Applied) {
    if status.message.starts_with(NOT_OF_ITS_TYPE) {
        return (Kind::Invalid, Applied::No);
    }
    let by_reason = ROWS.iter().find(|row| row.reason == status.reason);
    match by_reason.or_else(|| ROWS.iter().find(|row| row.status == status.code)) {
        Some(row) => (row.kind, row.applied),
        None if status.code < 500 => (Kind::Failed, Applied::No),
        None => (Kind::Unavailable, Applied::Maybe),
    }
}

/// The error for a status that an API server answered with.
pub(super) fn of_status(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    let (kind, applied) = row_of(status);
    let mut error = match kind {
        Kind::Expired => unauthorized(server),
        Kind::Denied => forbidden(server, subject, status),
        Kind::NotFound => not_found(server, subject, status),
        Kind::Conflict => conflict(server, subject, status),
        Kind::Invalid => invalid(server, subject, status),
        Kind::Throttled => throttled(server, subject, status),
        _ => Error::new(kind, format!("could not {}", subject.action(server))).note(answered(status)),
    };
    let facts = error.facts_mut();
    facts.service = Some("kubernetes".to_owned());
    facts.operation = Some(subject.verb.name().to_owned());
    if facts.code.is_none() && !status.reason.is_empty() {
        facts.code = Some(status.reason.clone());
    }
    facts.status = Some(status.code).filter(|code| *code > 0);
    facts.maybe_applied = subject.verb.mutates() && applied == Applied::Maybe;
    error
}

fn answered(status: &Status) -> String {
    let text: String = status.message.lines().next().unwrap_or_default().chars().take(300).collect();
    if text.is_empty() {
        format!("the server answered with status {}", status.code)
    } else {
        format!("the server says: {text}")
    }
}

fn unauthorized(server: &Server) -> Error {
    match server {
        Server::Cluster(name) => Error::new(Kind::Denied, format!("{server} does not know who is signed in"))
            .note(
                "the token was accepted by nobody: the identity is mapped by no access entry and not in aws-auth, or \
                 the clock of this machine is wrong",
            )
            .hint(format!("ask `auth::why(\"{name}\", arn)` with the ARN that is signed in")),
        Server::Context(_) => {
            Error::new(Kind::Expired, format!("{server} does not accept the credentials of the kubeconfig"))
                .hint("sign in again, or write a fresh entry with `ekskit kubeconfig NAME`")
        }
    }
}

fn forbidden(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    if causes(status).iter().any(|cause| cause.reason == "NamespaceTerminating") {
        let namespace = subject.namespace.unwrap_or_default();
        return Error::conflict(format!("namespace `{namespace}` of {server} is being deleted"))
            .hint("wait until it is gone: `kube::wait_for(\"namespaces\", name, #{ absent: true })`");
    }
    let error = Error::new(Kind::Denied, format!("not allowed to {}", subject.action(server))).note(answered(status));
    match server {
        // "cannot" is what RBAC says; admission (quotas, pod security, policies) has its own words, which need no hint.
        Server::Cluster(name) if status.message.contains(" cannot ") => {
            error.hint(format!("ask `auth::why(\"{name}\", arn)` what the identity may do and what would allow it"))
        }
        _ => error,
    }
}

fn not_found(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    let details = status.details.as_ref();
    // Creating in a namespace that does not exist is answered with the namespace as what is missing.
    let missing = details.map_or("", |details| details.name.as_str());
    if details.is_some_and(|details| details.kind == "namespaces") && subject.kind != "Namespace" {
        return Error::new(Kind::NotFound, format!("namespace `{missing}` does not exist in {server}")).hint(format!(
            "create it first: `kube::create(#{{ apiVersion: \"v1\", kind: \"Namespace\", metadata: #{{ name: \
                 \"{missing}\" }} }})`"
        ));
    }
    if missing.is_empty() && subject.verb != Verb::Discover {
        // No name: the path itself is unknown, so the server does not offer this kind or subresource.
        return Error::new(Kind::NotFound, format!("{server} does not offer this for {}", subject.thing()))
            .note(answered(status))
            .hint("see what it offers: `kube::kinds()`");
    }
    Error::new(Kind::NotFound, format!("{} does not exist {}", subject.thing(), subject.place(server)))
}

fn conflict(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    let (thing, place) = (subject.thing(), subject.place(server));
    let owned: Vec<(&str, &str)> = causes(status)
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| (cause.field.trim_start_matches('.'), manager(&cause.message)))
        .collect();
    if !owned.is_empty() {
        let mut managers: Vec<&str> = owned.iter().map(|(_, manager)| *manager).collect();
        managers.sort_unstable();
        managers.dedup();
        let mut error = Error::conflict(format!("fields of {thing} {place} belong to {}", list_and(&managers)));
        for (fields, manager) in managers.iter().map(|manager| (fields_of(&owned, manager), manager)) {
            error = error.note(format!("`{manager}` owns {fields}"));
        }
        let list =
            owned.iter().map(|(field, manager)| serde_json::json!({ "field": field, "manager": manager })).collect();
        return error
            .with("conflicts", serde_json::Value::Array(list))
            .hint("leave these fields out, or take them over with `#{ force: true }`");
    }
    match status.reason.as_str() {
        "AlreadyExists" => Error::conflict(format!("{thing} already exists {place}"))
            .hint("use `kube::apply` to converge what exists, or choose another name"),
        "Expired" | "Gone" => {
            Error::conflict(format!("the list of {thing} {place} changed too much while it was read"))
                .hint("list again")
        }
        _ => Error::conflict(format!("{thing} {place} changed since it was read"))
            .note(answered(status))
            .hint("get it again and repeat the change"),
    }
}

/// At most five fields: a chart that somebody else applied conflicts in hundreds.
fn fields_of(owned: &[(&str, &str)], manager: &str) -> String {
    let fields: Vec<&str> = owned.iter().filter(|(_, owner)| *owner == manager).map(|(field, _)| *field).collect();
    match fields.len() {
        0..=5 => list_and(&fields),
        more => format!("{} and {} more", list_and(&fields[..4]), more - 4),
    }
}

/// `conflict with "kubectl" using apps/v1 at 2026-…` names the manager in its first quotes.
fn manager(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or(message)
}

fn invalid(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    let mut error = Error::invalid(format!("could not {}: the request is not valid", subject.action(server)));
    let causes = invalid_fields(status);
    for (field, reason) in causes.iter().take(2) {
        error = error.note(if field.is_empty() { reason.clone() } else { format!("`{field}`: {reason}") });
    }
    if causes.is_empty() {
        return error.note(answered(status));
    }
    let list = causes.iter().map(|(field, reason)| serde_json::json!({ "field": field, "message": reason })).collect();
    error.with("causes", serde_json::Value::Array(list))
}

/// Which fields are wrong, and why.
fn invalid_fields(status: &Status) -> Vec<(String, String)> {
    if status.message.starts_with(NOT_OF_ITS_TYPE) {
        // `…(/a; /v1, Kind=ConfigMap): .dat: field not declared in schema`; several stand in lines of their own.
        let (_, fields) = status.message.split_once("): ").unwrap_or_default();
        let lines = fields.lines().map(str::trim).filter(|line| line.starts_with('.'));
        return lines
            .filter_map(|line| line.split_once(": "))
            .map(|(field, reason)| (field.trim_start_matches('.').to_owned(), reason.to_owned()))
            .collect();
    }
    causes(status).iter().map(|cause| (cause.field.clone(), without_value(&cause.message).to_owned())).collect()
}

/// A refused patch is told with the whole object as the invalid value, which says nothing to a reader and may hold
/// secrets: only what stands behind it is kept.
fn without_value(message: &str) -> &str {
    match message.rsplit_once("}\": ") {
        Some((_, reason)) => reason,
        None => message,
    }
}

fn throttled(server: &Server, subject: &Subject<'_>, status: &Status) -> Error {
    if let Some(cause) = causes(status).iter().find(|cause| cause.reason == "DisruptionBudget") {
        let mut error =
            Error::conflict(format!("a disruption budget keeps {} {}", subject.thing(), subject.place(server)))
                .note(cause.message.clone());
        error.facts_mut().retryable = true;
        error.facts_mut().code = Some("DisruptionBudget".to_owned());
        return error;
    }
    Error::new(Kind::Throttled, format!("{server} asks to slow down")).note(answered(status))
}

fn causes(status: &Status) -> &[StatusCause] {
    status.details.as_ref().map_or(&[], |details| details.causes.as_slice())
}

/// The error for a request that got no answer, or none that can be read.
pub(super) fn of_transport(server: &Server, subject: &Subject<'_>, error: &kube::Error) -> Error {
    let chain = chain(error);
    let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
    let innermost = chain.iter().filter_map(|error| error.downcast_ref::<kube::Error>()).next_back().unwrap_or(error);
    let mut error = match innermost {
        kube::Error::Api(status) => return of_status(server, subject, status),
        kube::Error::Auth(auth) => no_credentials(&server.to_string(), auth),
        // What our own layer raised (no AWS credentials, for example) is an error of ours already.
        _ => match find::<Error>(&chain) {
            Some(ours) => return ours.clone(),
            None => unreachable_server(server, &chain, &texts),
        },
    };
    let facts = error.facts_mut();
    facts.service = Some("kubernetes".to_owned());
    facts.operation = Some(subject.verb.name().to_owned());
    facts.maybe_applied = subject.verb.mutates() && facts.kind == Kind::Unavailable && !never_sent(&texts);
    error
}

/// A login of the kubeconfig failed: an exec plugin that is missing or refuses, a token file that is not there.
pub fn no_credentials(place: &str, error: &AuthError) -> Error {
    let (note, hint) = match error {
        // Its standard output is where a token would stand, so it is not shown.
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
            (format!("the command of its `exec` entry failed: {line}"), "sign in, or correct the `user` entry")
        }
        AuthError::AuthExecStart(source) => (
            format!("the command of its `exec` entry does not start: {source}"),
            "install it, or correct the `user` entry",
        ),
        AuthError::AuthExecParse(_) => (
            "what the command of its `exec` entry prints is no `ExecCredential`".to_owned(),
            "correct the `user` entry",
        ),
        other => (other.to_string(), "sign in again, or correct the `user` entry"),
    };
    Error::new(Kind::Expired, format!("no credentials for {place}"))
        .note(note)
        .hint(format!("{hint} of the kubeconfig"))
}

/// The errors down to the cause.
fn chain(error: &kube::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut errors: Vec<&(dyn StdError + 'static)> = vec![error];
    // Bounded: a source that leads back to itself must not hang the report of an error.
    while errors.len() < 16 {
        let last = errors[errors.len() - 1];
        // An io::Error hides what it wraps: its `source()` is the source of the wrapped error.
        let wrapped = last.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| last.source()) {
            Some(next) => errors.push(next),
            None => break,
        }
    }
    errors
}

fn find<'a, E: StdError + 'static>(chain: &[&'a (dyn StdError + 'static)]) -> Option<&'a E> {
    chain.iter().find_map(|error| error.downcast_ref::<E>())
}

/// hyper says "client error (Connect)" for all that happens before a request is written.
fn never_sent(texts: &[String]) -> bool {
    texts.iter().any(|text| text.contains("(Connect)"))
}

fn unreachable_server(server: &Server, chain: &[&(dyn StdError + 'static)], texts: &[String]) -> Error {
    let says = |word: &str| texts.iter().any(|text| text.contains(word));
    let io =
        |kind: io::ErrorKind| chain.iter().any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == kind));
    let reason = texts.last().map_or("", String::as_str);
    let way = find::<Unanswered>(chain);
    let unavailable = |what: &str| {
        let error = Error::unavailable(format!("can not reach {server}: {what}"));
        match way.map(|way| (&way.url, &way.proxy)) {
            Some((url, Some(proxy))) => error.note(format!("its endpoint is {url}, asked through the proxy {proxy}")),
            Some((url, None)) => error.note(format!("its endpoint is {url}")),
            None => error,
        }
    };
    if let Some(tls) = find::<rustls::Error>(chain) {
        let mut error = unavailable("the certificate or the handshake was refused").note(tls.to_string()).hint(
            "check that nothing between here and the endpoint opens TLS, and `certificate-authority-data` and \
             `tls-server-name` of a kubeconfig",
        );
        // A wrong certificate does not heal.
        error.facts_mut().retryable = false;
        return error;
    }
    if says("tunnel error") || says("SOCKS") {
        return unavailable("the proxy did not let it through")
            .note(reason.to_owned())
            .hint("check `HTTPS_PROXY`, `NO_PROXY` and `proxy-url` of the kubeconfig");
    }
    if says("dns error") || says("failed to lookup address") {
        return unavailable("its name is not known here").note(reason.to_owned()).hint(match server {
            Server::Cluster(_) => {
                "a private endpoint resolves only inside its VPC: run there, or open the public endpoint to your address"
            }
            Server::Context(_) => "check `server` of the kubeconfig",
        });
    }
    if io(io::ErrorKind::ConnectionRefused) {
        return unavailable("the connection was refused");
    }
    if io(io::ErrorKind::TimedOut) && never_sent(texts) {
        let error = unavailable("no connection in time");
        return match server {
            Server::Cluster(_) => error.hint(
                "see `resources_vpc_config` of `eks::describe_cluster`: the endpoint may be private, or its public \
                 CIDRs may leave out this machine",
            ),
            Server::Context(_) => error,
        };
    }
    if io(io::ErrorKind::TimedOut) {
        return unavailable("it did not answer in time");
    }
    if find::<serde_json::Error>(chain).is_some() {
        return unavailable("what it answered is not JSON").note(reason.to_owned());
    }
    unavailable(if never_sent(texts) { "no connection" } else { "the connection broke" }).note(reason.to_owned())
}

/// A request that got no answer, with the way it went.
#[derive(Debug)]
pub struct Unanswered {
    /// The endpoint.
    pub url: String,
    /// The proxy, without its password.
    pub proxy: Option<String>,
    /// What happened.
    pub source: kube::Error,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}", self.url)
    }
}

impl StdError for Unanswered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Cluster(name) => write!(f, "cluster `{name}`"),
            Server::Context(name) => write!(f, "the cluster of context `{name}`"),
        }
    }
}
