//! What the failure of a pod means to its Job, by the rules of `podFailurePolicy`; and how long a Job waits after one.

use jiff::Timestamp;
use serde_json::Value;

use super::selection::{list, text};
use super::timer::{self, time};

/// What a failed pod costs first, in seconds; twice as much every time, up to ten minutes. Kubernetes: the Job
/// controller's `DefaultJobPodFailureBackOff` and `MaxJobPodFailureBackOff`.
const PAUSE_SECONDS: i64 = 10;
const PAUSE_SECONDS_MAX: i64 = 600;

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It counts, as every failure does where no rule says otherwise.
    Counts,
    /// It does not count.
    Ignored,
    /// Its index is not tried again.
    FailsIndex,
    /// The Job fails, for this reason.
    FailsJob(String),
}

/// What the first rule that fits a failed pod makes of it.
pub fn meaning(policy: &Value, pod: &Value) -> Meaning {
    for (at, rule) in list(&policy["rules"]).iter().enumerate() {
        let Some(fact) = fits(rule, pod) else { continue };
        return match text(rule, "action") {
            "Ignore" => Meaning::Ignored,
            "FailIndex" => Meaning::FailsIndex,
            "FailJob" => Meaning::FailsJob(format!("{fact} matching FailJob rule at index {at}")),
            _ => Meaning::Counts,
        };
    }
    Meaning::Counts
}

/// What of a pod a rule is about.
fn fits(rule: &Value, pod: &Value) -> Option<String> {
    let name = format!("{}/{}", text(&pod["metadata"], "namespace"), text(&pod["metadata"], "name"));
    let codes = &rule["onExitCodes"];
    if codes.is_object() {
        let (container, code) = exit(codes, pod)?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let wanted = list(&rule["onPodConditions"]);
    let mut conditions = list(&pod["status"]["conditions"]).iter();
    let same = |one: &Value, wanted: &Value| {
        one["type"] == wanted["type"] && text(one, "status") == wanted["status"].as_str().unwrap_or("True")
    };
    let met = conditions.find(|one| wanted.iter().any(|wanted| same(one, wanted)))?;
    Some(format!("Pod {name} has condition {}", text(met, "type")))
}

/// The container that ended with a code that a rule names, and the code.
fn exit<'p>(rule: &Value, pod: &'p Value) -> Option<(&'p str, i64)> {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut all = statuses.iter().flat_map(|of| list(&pod["status"][*of]));
    all.find_map(|one| {
        let code = one["state"]["terminated"]["exitCode"].as_i64().filter(|code| *code != 0)?;
        let is_named = rule["containerName"].is_null() || rule["containerName"] == one["name"];
        let is_listed = list(&rule["values"]).iter().any(|value| value.as_i64() == Some(code));
        (is_named && is_listed == (rule["operator"] == "In")).then(|| (text(one, "name"), code))
    })
}

/// When a pod ended: its last container, else when it was not ready any more, else when it was deleted.
pub fn ended_at(pod: &Value) -> Option<Timestamp> {
    let statuses = list(&pod["status"]["containerStatuses"]).iter();
    let ends: Vec<Option<Timestamp>> = statuses.map(|one| time(&one["state"]["terminated"], "finishedAt")).collect();
    if ends.iter().all(Option::is_some)
        && let Some(last) = ends.into_iter().flatten().max()
    {
        return Some(last);
    }
    let mut unready = list(&pod["status"]["conditions"]).iter().filter(|one| one["type"] == "Ready");
    let unready = unready.find(|one| one["status"] == "False").and_then(|one| time(one, "lastTransitionTime"));
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let deleted = time(&pod["metadata"], "deletionTimestamp").map(|until| timer::after(until, -grace));
    unready.or(deleted).or_else(|| time(&pod["metadata"], "creationTimestamp"))
}

/// Until when a Job waits after so many failures, of which this was the last.
pub fn pause(failures: i64, last: Timestamp) -> Timestamp {
    let doubled = u32::try_from(failures.saturating_sub(1).clamp(0, 10)).unwrap_or(0);
    let seconds = if failures == 0 { 0 } else { (PAUSE_SECONDS << doubled).min(PAUSE_SECONDS_MAX) };
    timer::after(last, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(code: i64, condition: &str) -> Value {
        json!({ "metadata": { "name": "a", "namespace": "x" }, "status": {
            "conditions": [{ "type": condition, "status": "True" }],
            "containerStatuses": [{ "name": "c", "state": { "terminated": { "exitCode": code } } }] } })
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = json!({ "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget" }] },
            { "action": "FailJob", "onExitCodes": { "operator": "In", "values": [42, 43] } },
            { "action": "FailIndex", "onExitCodes": { "containerName": "c", "operator": "In", "values": [7] } },
            { "action": "Count", "onExitCodes": { "containerName": "other", "operator": "NotIn", "values": [1] } },
        ] });
        let told = "Container c for pod x/a failed with exit code 42 matching FailJob rule at index 1";
        let rows = [
            (pod(42, "Ready"), Meaning::FailsJob(told.to_owned())),
            (pod(42, "DisruptionTarget"), Meaning::Ignored),
            (pod(7, "Ready"), Meaning::FailsIndex),
            (pod(1, "Ready"), Meaning::Counts),
        ];
        for (pod, wanted) in rows {
            assert_eq!(meaning(&policy, &pod), wanted);
        }
        assert_eq!(meaning(&Value::Null, &pod(42, "Ready")), Meaning::Counts);
    }

    #[test]
    fn every_failure_costs_twice_as_much_up_to_ten_minutes() {
        let since: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        let seconds = |failures| pause(failures, since).as_second() - since.as_second();
        assert_eq!([0, 1, 2, 3, 7, 70].map(seconds), [0, 10, 20, 40, 600, 600]);
    }
}
