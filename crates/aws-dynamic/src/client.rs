//! Live calls: one lazily built SDK client a service, and what a failed call tells.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::request_id::RequestId;
use serde_json::Value;

use crate::convert::{Reading, ToJson};
use crate::generated::Clients;
use crate::schema::Operation;

/// A call under way.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<Value, CallError>> + Send>>;

/// Starts a call; generated, one an operation.
pub(crate) type Dispatch = fn(&Client, &Value) -> Pending;

/// Calls any operation of the services compiled in, under one configuration.
///
/// Cloning is cheap. A service's client is built at its first call.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: SdkConfig,
    pub(crate) clients: Clients,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("region", &self.shared.config.region()).finish_non_exhaustive()
    }
}

impl Client {
    /// Takes the configuration as it is, but for the SDK's own retries, which are turned off.
    pub fn new(config: &SdkConfig) -> Client {
        let version = config.behavior_version().unwrap_or_else(BehaviorVersion::latest);
        let config = config.to_builder().retry_config(RetryConfig::disabled()).behavior_version(version).build();
        Client { shared: Arc::new(Shared { config, clients: Clients::default() }) }
    }

    /// Calls an operation once, with an input in the form that [`normalise`](crate::normalise) returns.
    pub async fn call(&self, operation: &Operation, input: &Value) -> Result<Value, CallError> {
        (operation.dispatch)(self, input).await
    }
}

/// Why a call failed.
#[derive(Clone, Debug)]
pub struct CallError {
    /// AWS's code: `ResourceNotFoundException`, `InvalidVpcID.NotFound`.
    pub code: Option<String>,
    /// AWS's message, or what the SDK said.
    pub message: String,
    /// For AWS support.
    pub request_id: Option<String>,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// How far the call came.
    pub phase: Phase,
    /// Why there were no credentials to sign with, when that is what failed.
    pub credentials: Option<Credentials>,
    /// The same call may succeed later.
    pub retryable: bool,
    /// The request may have taken effect all the same.
    pub maybe_applied: bool,
    /// The body of an answer that named no code.
    pub body: Option<String>,
    /// Every cause, outermost first, joined by `: `.
    pub source: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error for CallError {}

/// How far a failed call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The input did not fit; nothing was sent.
    Input,
    /// The SDK could not build the request; nothing was sent.
    Construction,
    /// No answer arrived; unless `maybe_applied`, nothing was sent.
    Dispatch,
    /// It took too long.
    Timeout,
    /// An answer arrived that could not be read.
    Response,
    /// AWS answered with an error.
    Service,
}

/// Why there were no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// No source had any.
    NotFound,
    /// A source had some that are no longer valid: log in again.
    Expired,
    /// The configuration of a source is wrong.
    Misconfigured,
    /// A source failed.
    Failed,
}

/// Turns a call of the SDK into one in JSON, unless its input had mistakes.
pub(crate) fn finish<T, E>(
    reading: Reading,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'static,
) -> Pending
where
    T: ToJson + 'static,
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Err(mistakes) = reading.finish() {
        return Box::pin(std::future::ready(Err(CallError::input(mistakes))));
    }
    Box::pin(async move {
        match call.await {
            Ok(output) => Ok(output.to_json()),
            Err(error) => Err(call_error(error)),
        }
    })
}

/// The generic part, kept small because it is compiled once an operation.
pub(crate) fn call_error<E>(error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let details = error.as_service_error().map(|error| {
        let meta = error.meta();
        Details {
            code: meta.code().map(str::to_owned),
            message: meta.message().map(str::to_owned),
            request_id: meta.request_id().map(str::to_owned),
        }
    });
    // The service's error is boxed, so that everything after this line is compiled once.
    CallError::new(error.map_service_error(|error| Opaque(Box::new(error))), details)
}

/// An error inside a stream of events, after the call itself succeeded.
pub(crate) fn stream_error<E, R>(error: SdkError<E, R>) -> CallError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
    let code = meta.and_then(|meta| meta.code()).map(str::to_owned);
    let text = meta.and_then(|meta| meta.message()).map(str::to_owned);
    let source = chain(&error);
    let message = text.unwrap_or_else(|| format!("the stream of events broke off: {source}"));
    CallError { code, message, source, ..CallError::empty(Phase::Response) }
}

/// Events of a streamed answer are gathered until the stream ends, or until there are this many.
pub(crate) const EVENTS_MAX: usize = 10_000;

struct Details {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

/// A service's own error without its type.
#[derive(Debug)]
struct Opaque(Box<dyn Error + Send + Sync>);

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Opaque {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

type Failure = SdkError<Opaque, HttpResponse>;

impl CallError {
    fn empty(phase: Phase) -> Self {
        CallError {
            code: None,
            message: String::new(),
            request_id: None,
            status: None,
            phase,
            credentials: None,
            retryable: false,
            maybe_applied: false,
            body: None,
            source: String::new(),
        }
    }

    /// An error answer as the wire would have brought it: for a simulated service.
    pub fn answered(status: u16, code: &str, message: &str, request_id: &str) -> Self {
        let (retryable, maybe_applied) = verdict(status, Some(code));
        CallError {
            code: Some(code.to_owned()),
            message: message.to_owned(),
            request_id: Some(request_id.to_owned()),
            status: Some(status),
            retryable,
            maybe_applied,
            source: format!("{code}: {message}"),
            ..Self::empty(Phase::Service)
        }
    }

    /// No answer in time, as the wire would have brought it; the request may have taken effect.
    pub fn unanswered() -> Self {
        CallError {
            message: "request has timed out".to_owned(),
            retryable: true,
            maybe_applied: true,
            source: "request has timed out".to_owned(),
            ..Self::empty(Phase::Timeout)
        }
    }

    pub(crate) fn input(mistakes: String) -> Self {
        CallError { message: mistakes, ..Self::empty(Phase::Input) }
    }

    fn new(error: Failure, details: Option<Details>) -> Self {
        match error {
            SdkError::ServiceError(context) => Self::service(context.raw(), details, context.err()),
            SdkError::ConstructionFailure(_) => Self::unsent(&error, Phase::Construction),
            SdkError::TimeoutError(_) => {
                let failed = Self::unsent(&error, Phase::Timeout);
                CallError { retryable: true, maybe_applied: true, ..failed }
            }
            SdkError::DispatchFailure(_) => Self::dispatch(&error),
            SdkError::ResponseError(ref context) => {
                let failed = Self::unsent(&error, Phase::Response);
                let raw = context.raw();
                CallError {
                    status: Some(raw.status().as_u16()),
                    request_id: raw.request_id().map(str::to_owned),
                    body: text_of(raw),
                    retryable: true,
                    maybe_applied: true,
                    ..failed
                }
            }
            _ => Self::unsent(&error, Phase::Dispatch),
        }
    }

    fn service(raw: &HttpResponse, details: Option<Details>, error: &(dyn Error + 'static)) -> Self {
        let Details { code, message, request_id } =
            details.unwrap_or(Details { code: None, message: None, request_id: None });
        let status = raw.status().as_u16();
        let (retryable, maybe_applied) = verdict(status, code.as_deref());
        CallError {
            message: message.unwrap_or_else(|| match &code {
                Some(code) => format!("AWS answered `{code}` with no message"),
                None => format!("AWS answered with HTTP status {status} and no error code"),
            }),
            request_id: request_id.or_else(|| raw.request_id().map(str::to_owned)),
            status: Some(status),
            retryable,
            maybe_applied,
            body: if code.is_none() { text_of(raw) } else { None },
            source: chain(error),
            code,
            ..Self::empty(Phase::Service)
        }
    }

    fn unsent(error: &Failure, phase: Phase) -> Self {
        let (message, source) = (plain(error), chain(error));
        CallError { message, credentials: credentials(error), source, ..Self::empty(phase) }
    }

    fn dispatch(error: &Failure) -> Self {
        let failed = Self::unsent(error, Phase::Dispatch);
        if failed.credentials.is_some() {
            return failed;
        }
        let SdkError::DispatchFailure(failure) = error else { return failed };
        let over_the_wire =
            !failure.is_other() || failure.as_other().is_some() || failed.source.contains("client error (");
        let connected = over_the_wire && !failure.is_user() && !never_connected(error);
        CallError { retryable: over_the_wire && !failure.is_user(), maybe_applied: connected, ..failed }
    }
}

/// AWS took no notice of the request because there are too many.
const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// AWS failed in a way that passes.
const TRANSIENT: &[&str] = &[
    "InternalError",
    "InternalFailure",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
];

/// Whether an error answer may pass by itself, and whether the request may have taken effect all the same.
fn verdict(status: u16, code: Option<&str>) -> (bool, bool) {
    let throttled = code.is_some_and(|code| THROTTLED.contains(&code)) || status == 429;
    let transient = code.is_some_and(|code| TRANSIENT.contains(&code)) || matches!(status, 500 | 502..=504);
    (throttled || transient, status >= 500 && !throttled)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Every cause once: some errors repeat their cause in their own text.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = vec![];
    for cause in causes(error) {
        let text = cause.to_string();
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// The chain without the outer layers that only name the SDK's own stages.
fn plain(error: &(dyn Error + 'static)) -> String {
    const STAGES: &[&str] =
        &["dispatch failure", "failed to construct request", "io error", "other", "response error", "user error"];
    let inner = causes(error).find(|cause| !STAGES.contains(&cause.to_string().as_str()));
    inner.map_or_else(|| chain(error), chain)
}

fn credentials(error: &(dyn Error + 'static)) -> Option<Credentials> {
    let Some(found) = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) else {
        // The configuration has no source of credentials at all, for which the SDK has no public type.
        let unsigned = causes(error).any(|cause| cause.to_string().contains("no identity resolver"));
        return unsigned.then_some(Credentials::NotFound);
    };
    let text = chain(found).to_lowercase();
    Some(match found {
        _ if text.contains("expired") => Credentials::Expired,
        CredentialsError::CredentialsNotLoaded(_) => Credentials::NotFound,
        CredentialsError::InvalidConfiguration(_) => Credentials::Misconfigured,
        _ => Credentials::Failed,
    })
}

/// The failure came before a connection stood, so nothing can have been applied.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<ResolveDnsError>() || cause.to_string() == "client error (Connect)")
}

const BODY_MAX: usize = 2_000;

fn text_of(raw: &HttpResponse) -> Option<String> {
    let text = String::from_utf8_lossy(raw.body().bytes()?).chars().take(BODY_MAX).collect::<String>();
    (!text.trim().is_empty()).then_some(text)
}
