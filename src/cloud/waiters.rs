//! AWS's own waiters: the generated rules, our clock.

use std::time::Duration;

use aws_dynamic::{Verdict, Waiter};
use serde_json::Value;

use super::retry::{self, Watch};
use super::{Cloud, Target, paging};
use crate::error::{Error, Kind, Result};
use crate::value::format_duration;

/// Asks again until the waiter is content, gives up, or the time is over. Answers what it saw last.
pub async fn wait(
    cloud: &Cloud,
    target: &Target,
    waiter: &'static Waiter,
    input: &Value,
    timeout: Duration,
    watch: &dyn Watch,
) -> Result<Value> {
    let name = format!("{}::wait_until_{}", waiter.operation.service, waiter.name);
    let start = cloud.clock.now();
    let mut delay = Duration::from_secs(waiter.min_delay.max(1));
    loop {
        let answer = paging::call(cloud, target, waiter.operation, input, watch).await;
        let verdict = match &answer {
            Ok(value) => waiter.judge(Ok(value)),
            Err(error) => waiter.judge(Err(error.facts().code.as_deref())),
        };
        let last = answer.as_ref().map_or_else(|error| Value::String(error.to_string()), Value::clone);
        match (verdict, answer) {
            (Verdict::Success, answer) => return Ok(answer.unwrap_or(Value::Null)),
            (Verdict::Failure(why), _) => {
                return Err(Error::new(Kind::Failed, format!("`{name}` can not come true: {why}")).with("last", last));
            }
            (Verdict::Raise, Err(error)) => return Err(error),
            (Verdict::Raise | Verdict::Retry, _) => {}
        }
        let left = timeout.saturating_sub(cloud.clock.since(start));
        if left.is_zero() {
            return Err(Error::timeout(format!("`{name}` did not come true within {}", format_duration(timeout)))
                .with("last", last)
                .hint("give it longer with `#{ timeout: \"60m\" }`"));
        }
        watch.waiting(&name, "not yet");
        if !retry::pause(cloud, watch, delay.min(left)).await {
            return Err(Error::cancelled());
        }
        delay = (delay * 2).min(Duration::from_secs(waiter.max_delay.max(waiter.min_delay).min(30)));
    }
}
