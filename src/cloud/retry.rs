//! One call until it is answered: retry with backoff, once for every cloud.
//!
//! Reads, mutations that carry a token and those that are as good twice as once ([`super::repeatable`]) are sent again.
//! Any other mutation is not blindly resent: after a doubtful outcome it is looked up first ([`super::lookup`]). An
//! answer that proves that nothing was applied (throttled, refused for now) is retried where it is `retryable`, and so
//! is one that does not know yet what was made a moment ago ([`super::young`]).

use std::time::Duration;

use aws_dynamic::{Effect, Enums, Operation};
use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::{Value, json};

use super::lookup::{self, Lookup};
use super::repeatable::{self, Repeatable};
use super::{Cloud, Target, error};
use crate::error::{Error, Kind, Result};

/// How often a call is sent at most: with the pauses below about three minutes of throttling.
const ATTEMPTS_MAX: usize = 12;

/// Hears about pauses and waits.
pub trait Watch: Send + Sync {
    /// The call is sent again after this pause.
    fn retrying(&self, error: &Error, pause: Duration);
    /// Something is not there yet.
    fn waiting(&self, subject: &str, last: &str);
    /// Returns when the operator cancels: pauses then end, and nothing more is sent.
    fn cancelled(&self) -> super::Future<'_, ()>;
}

/// Pauses; `false` when the operator cancelled meanwhile.
pub async fn pause(cloud: &Cloud, watch: &dyn Watch, pause: Duration) -> bool {
    tokio::select! {
        biased;
        () = watch.cancelled() => false,
        () = cloud.clock.sleep(pause) => true,
    }
}

struct Quiet;

impl Watch for Quiet {
    fn retrying(&self, _: &Error, _: Duration) {}
    fn waiting(&self, _: &str, _: &str) {}
    fn cancelled(&self) -> super::Future<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// For calls that nobody needs to hear about.
pub fn quietly() -> impl Watch {
    Quiet
}

/// How often where nothing answers at all: a quarter of a minute bridges a blip, and an operator with a wrong endpoint
/// or without a network learns of it soon.
const UNREACHABLE_ATTEMPTS_MAX: usize = 5;

/// The pauses of one call.
struct Patience<P> {
    pauses: P,
    attempts: usize,
}

impl<P: Iterator<Item = Duration>> Patience<P> {
    /// How long to pause after this failure; none: it stands.
    fn after(&mut self, failure: &Error) -> Option<Duration> {
        self.attempts += 1;
        let unreachable = failure.kind() == Kind::Unavailable && failure.facts().status.is_none();
        if !failure.facts().retryable || unreachable && self.attempts >= UNREACHABLE_ATTEMPTS_MAX {
            return None;
        }
        self.pauses.next()
    }
}

fn patience(cloud: &Cloud) -> Patience<impl Iterator<Item = Duration>> {
    Patience { pauses: pauses(seed(cloud)), attempts: 0 }
}

/// Pauses between attempts: half a second, doubled up to twenty, with jitter so that branches do not march in step.
pub fn pauses(seed: u64) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(20))
        .with_max_times(ATTEMPTS_MAX - 1)
        .with_jitter()
        .with_jitter_seed(seed)
        .build()
}

/// Repeats a call that is no AWS operation: a read while it may succeed later, a mutation only while every answer
/// proves that nothing was applied.
pub async fn repeat<T, W>(cloud: &Cloud, watch: &dyn Watch, is_read: bool, mut attempt: impl FnMut() -> W) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let mut patience = patience(cloud);
    loop {
        let failure = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let harmless = is_read || !failure.facts().maybe_applied;
        match patience.after(&failure) {
            Some(length) if harmless => {
                watch.retrying(&failure, length);
                if !pause(cloud, watch, length).await {
                    return Err(failure);
                }
            }
            _ => return Err(failure),
        }
    }
}

/// Virtual time makes the seed the same in every rehearsal; real time makes it different in every process.
fn seed(cloud: &Cloud) -> u64 {
    u64::try_from(cloud.clock.now().as_microsecond()).unwrap_or(0)
}

/// Sends a checked input until it is answered or there is no point.
pub async fn send(
    cloud: &Cloud,
    target: &Target,
    operation: &'static Operation,
    input: &Value,
    watch: &dyn Watch,
) -> Result<Value> {
    let repeatable = repeatable::of(operation);
    let has_token = operation.token.is_some_and(|token| !input[token].is_null());
    let resend = operation.effect == Effect::Read || has_token || repeatable.is_some();
    let mut patience = patience(cloud);
    // Once an attempt may have been applied, no later refusal says that it was not.
    let mut in_doubt = false;
    loop {
        let failure = match cloud.aws.call(target, operation, input).await {
            Ok(answer) => {
                cloud.young.note(operation, input, &answer, cloud.clock.now());
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        let region = cloud.aws.region(target).await.ok();
        let mut failure = error::from_call(operation, region.as_deref(), failure);
        // A read leaves nothing behind that one could be in doubt about.
        let doubtful = failure.facts().maybe_applied && operation.effect == Effect::Mutate;
        if in_doubt && failure.kind() == Kind::NotFound && repeatable == Some(Repeatable::Ends) {
            return Ok(aws_dynamic::complete(operation, json!({}), Enums::Lenient).unwrap_or_default());
        }
        in_doubt |= doubtful;
        if doubtful && !resend {
            match lookup::applied(cloud, target, operation, input, watch).await {
                Lookup::Found(answer) => {
                    cloud.young.note(operation, input, &answer, cloud.clock.now());
                    return Ok(answer);
                }
                Lookup::Absent => in_doubt = false,
                Lookup::Unknown(why) => return Err(doubtful_for_good(failure, why)),
            }
        }
        failure.facts_mut().maybe_applied = in_doubt;
        let length = match cloud.young.is_meant(operation, input, &failure, cloud.clock.now()) {
            true => patience.pauses.next(),
            false => patience.after(&failure),
        };
        match length {
            Some(length) if failure.kind() != Kind::Expired => {
                watch.retrying(&failure, length);
                if !pause(cloud, watch, length).await {
                    return Err(failure);
                }
            }
            _ => return Err(failure),
        }
    }
}

/// Nobody knows whether it happened, so nobody may send it again.
fn doubtful_for_good(mut failure: Error, why: Option<Error>) -> Error {
    failure.facts_mut().maybe_applied = true;
    failure.facts_mut().retryable = false;
    match why {
        Some(why) => failure.note(format!("whether it was applied could not be seen: {why}")),
        None => failure,
    }
}
