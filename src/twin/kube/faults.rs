//! Faults on the way to an API server and back.

use aws_dynamic::Effect;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use super::{Answer, Caller};
use crate::twin::faults::Fault;
use crate::twin::world::World;

/// Answers a request with what goes wrong with it.
pub fn answer(
    world: &mut World,
    cluster: &str,
    caller: Caller<'_>,
    parts: &Parts,
    body: &[u8],
) -> Result<Response<Answer>, kube::Error> {
    let (name, effect) = call_of(parts);
    let fault = world.faults.judge(name, effect);
    if let Some(fault) = fault {
        world.faults.count(name, fault);
    }
    match fault {
        Some(Fault::Throttled) => Ok(throttled()),
        Some(Fault::Unavailable) => Ok(status(503, "ServiceUnavailable", "apiserver is shutting down")),
        Some(Fault::UnavailableApplied) => {
            let _ = super::answer(world, cluster, caller, parts, body);
            Ok(status(500, "InternalError", "Internal error occurred: etcdserver: request timed out"))
        }
        Some(Fault::Timeout) => Err(broken()),
        Some(Fault::TimeoutApplied) => {
            let _ = super::answer(world, cluster, caller, parts, body);
            Err(broken())
        }
        // The others meet AWS only.
        _ => Ok(super::answer(world, cluster, caller, parts, body)),
    }
}

/// The names under which faults files know requests.
pub const CALLS: &[&str] = &["kube::apply", "kube::create", "kube::delete", "kube::get", "kube::patch", "kube::update"];

/// What faults files call a request.
fn call_of(parts: &Parts) -> (&'static str, Effect) {
    let type_of_body = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    // Reviews are questions although they are posted.
    let review = parts.uri.path().ends_with("reviews");
    match parts.method {
        Method::POST if !review => ("kube::create", Effect::Mutate),
        Method::PUT => ("kube::update", Effect::Mutate),
        Method::PATCH if type_of_body.starts_with("application/apply-patch") => ("kube::apply", Effect::Mutate),
        Method::PATCH => ("kube::patch", Effect::Mutate),
        Method::DELETE => ("kube::delete", Effect::Mutate),
        _ => ("kube::get", Effect::Read),
    }
}

/// What a server says that has no place in its queues: it is no Status.
fn throttled() -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(b"Too many requests, please try again later.\n".to_vec()));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    response
}

fn broken() -> kube::Error {
    let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer");
    kube::Error::Service(Box::new(broken))
}

fn status(code: u16, reason: &str, message: &str) -> Response<Answer> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let mut response = Response::new(Answer::Whole(body.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
