//! Waiting for objects: get and sleep until they are as wanted or the time is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Aim, KIND, NAME, NAMESPACE, TIMEOUT, shown};
use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Ty};
use crate::cloud::Clock;
use crate::cloud::kube::{Selection, absent};
use crate::cloud::retry::Watch;
use crate::error::{Error, Kind, Result, list_or};
use crate::value::format_duration;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Looks again after pauses that grow from half a second to five: most waits are short, and a long one need not be
/// noticed within the second.
struct Pace<'a> {
    watch: &'a dyn Watch,
    /// What was told last: the same again would bury the rest.
    told: String,
    clock: Arc<dyn Clock>,
    start: Timestamp,
    timeout: Duration,
    pause: Duration,
}

impl<'a> Pace<'a> {
    fn of(call: &Call<'a>) -> Pace<'a> {
        let timeout = call.args.duration("timeout").unwrap_or(TIMEOUT_DEFAULT);
        let clock = call.cloud.clock.clone();
        let (watch, told) = (call.watch, String::new());
        Pace { watch, told, start: clock.now(), clock, timeout, pause: Duration::from_millis(500) }
    }

    /// Tells what was seen and sleeps until the next look; `false` when the time is over.
    async fn rest(&mut self, subject: &str, seen: &str) -> bool {
        if self.told != seen {
            self.told = seen.to_owned();
            self.watch.waiting(subject, seen);
        }
        let left = self.timeout.saturating_sub(self.clock.since(self.start));
        if left.is_zero() {
            return false;
        }
        self.clock.sleep(self.pause.min(left)).await;
        self.pause = self.pause.mul_f64(1.5).min(Duration::from_secs(5));
        true
    }
}

/// What a look at an object says.
enum Look {
    Done,
    NotYet(String),
}

pub static WAIT_FOR: Binding = Binding {
    name: "kube::wait_for",
    effect: Effect::Read,
    doc: r#"
Waits until an object has a condition, and returns the object; with `absent` until it is gone, and returns `()`.

`condition: "Ready"` means `Ready=True`. Without condition and `absent` it waits until the object exists. An object that
does not exist yet is waited for. Raises `timeout`, whose `last` is the object as it was seen last, and `failed` when a
Job failed that was to be complete.

```rhai
kube::wait_for("nodes", "n1", #{ condition: "Ready", timeout: "5m" }).kind        //=> "Node"
kube::wait_for("pods", "web-0", #{ absent: true })                                 //=> ()
kube::wait_for("nodes", "n1", #{ condition: "Ready=Unknown", timeout: "1s" })      //=> error: timeout
```
"#,
    params: &[KIND, NAME],
    options: &[
        NAMESPACE,
        Param::option("condition", Ty::Text, "`\"Ready\"`, or with its status `\"Available=False\"`"),
        Param::option("absent", Ty::Bool, "wait until it is gone"),
        TIMEOUT,
    ],
    returns: "the object, or `()` when it was to be gone",
    raises: &[Kind::Timeout, Kind::Failed, Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(wait_for(call))),
};

async fn wait_for(call: Call<'_>) -> Result<Answer> {
    let condition = call.args.opt_text("condition").map(str::to_owned);
    if condition.is_some() && call.args.flag("absent") {
        return Err(Error::invalid("`kube::wait_for` waits for a condition or for absence, not for both")
            .hint("leave out `condition` or `absent`"));
    }
    let aim = Aim::of(&call, "kube::wait_for").await?;
    if call.args.flag("absent") {
        until_gone(&call, &aim, None).await?;
        return Ok(Answer::read(Value::Null));
    }
    let wanted = condition.as_deref().map_or("there".to_owned(), |condition| format!("`{condition}`"));
    let mut pace = Pace::of(&call);
    let mut last = Value::Null;
    loop {
        let seen = match absent(aim.server.get(&aim.resource, aim.namespace(), &aim.name).await) {
            Ok(Some(object)) => {
                let look = condition.as_deref().map_or(Ok(Look::Done), |condition| has(&object, condition))?;
                last = object;
                match look {
                    Look::Done => return Ok(shown(Answer::read(last))),
                    Look::NotYet(seen) => seen,
                }
            }
            Ok(None) => {
                last = Value::Null;
                "it does not exist".to_owned()
            }
            // A control plane that is updated goes away for a moment.
            Err(error) if error.facts().retryable => error.to_string(),
            Err(error) => return Err(error),
        };
        if !pace.rest(&aim.words(), &seen).await {
            let message = format!("{} is not {wanted} after {}", aim.words(), format_duration(pace.timeout));
            return Err(late(message, &seen, last));
        }
    }
}

fn late(message: String, seen: &str, last: Value) -> Error {
    let mut error = Error::timeout(message).note(format!("last seen: {seen}"));
    if let Some(note) = containers(&last) {
        error = error.note(note);
    }
    error.with("last", without_secrets(last))
}

/// An error is printed: what it carries must hold no secret.
fn without_secrets(mut object: Value) -> Value {
    if object["kind"] == "Secret"
        && let Some(object) = object.as_object_mut()
    {
        object.remove("data");
        object.remove("stringData");
    }
    object
}

/// Whether an object has a condition, by the rules of `kubectl wait`: types are compared without case, and a condition
/// that is about an older generation of the object does not count.
fn has(object: &Value, condition: &str) -> Result<Look> {
    let (wanted, status) = condition.split_once('=').unwrap_or((condition, "True"));
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let of_type = |name: &str| {
        conditions.iter().find(|found| found["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)))
    };
    if object["kind"] == "Job"
        && wanted.eq_ignore_ascii_case("Complete")
        && let Some(failed) = of_type("Failed").filter(|failed| failed["status"] == "True")
    {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Error::failed(format!("Job `{name}` failed")).note(says(failed)));
    }
    let Some(found) = of_type(wanted) else {
        return Ok(Look::NotYet(format!("it has no condition `{wanted}`")));
    };
    let observed = found["observedGeneration"].as_i64().or(object["status"]["observedGeneration"].as_i64());
    let current = object["metadata"]["generation"].as_i64();
    if observed.zip(current).is_some_and(|(observed, current)| observed < current) {
        return Ok(not_seen());
    }
    if found["status"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(status)) {
        return Ok(Look::Done);
    }
    Ok(Look::NotYet(says(found)))
}

/// `` `Ready` is False, KubeletNotReady: network plugin not ready ``.
fn says(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default().trim().to_owned();
    let mut words = format!("`{}` is {}", text("type"), text("status"));
    for (separator, part) in [(", ", text("reason")), (": ", text("message"))] {
        if !part.is_empty() {
            words.push_str(separator);
            words.push_str(&part);
        }
    }
    words
}

/// What keeps the containers of a pod, in words.
fn containers(pod: &Value) -> Option<String> {
    let statuses =
        ["initContainerStatuses", "containerStatuses"].iter().filter_map(|list| pod["status"][list].as_array());
    let kept: Vec<String> = statuses
        .flatten()
        .filter_map(|status| {
            let state = ["waiting", "terminated"].iter().map(|state| &status["state"][state]).find(|state| {
                state["reason"].as_str().is_some_and(|reason| !matches!(reason, "Completed" | "PodInitializing"))
            })?;
            let name = status["name"].as_str().unwrap_or_default();
            let message = state["message"].as_str().map(|message| format!(": {message}")).unwrap_or_default();
            Some(format!("container `{name}`: {}{message}", state["reason"].as_str().unwrap_or_default()))
        })
        .take(3)
        .collect();
    (!kept.is_empty()).then(|| kept.join("; "))
}

/// Waits until an object is gone, or another of the same name has taken its place.
pub(super) async fn until_gone(call: &Call<'_>, aim: &Aim, uid: Option<&str>) -> Result<()> {
    let mut pace = Pace::of(call);
    let mut last = Value::Null;
    loop {
        let seen = match absent(aim.server.get(&aim.resource, aim.namespace(), &aim.name).await) {
            Ok(None) => return Ok(()),
            Ok(Some(object)) if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) => return Ok(()),
            Ok(Some(object)) => {
                last = object;
                leaving(&last)
            }
            Err(error) if error.facts().retryable => error.to_string(),
            Err(error) => return Err(error),
        };
        if !pace.rest(&aim.words(), &seen).await {
            let message = format!("{} is still there after {}", aim.words(), format_duration(pace.timeout));
            return Err(Error::timeout(message).note(seen).with("last", without_secrets(last)));
        }
    }
}

fn leaving(object: &Value) -> String {
    let metadata = &object["metadata"];
    let finalizers: Vec<&str> =
        metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (metadata["deletionTimestamp"].as_str(), finalizers.is_empty()) {
        (None, _) => "nobody asked to delete it".to_owned(),
        (Some(since), true) => format!("it is being deleted since {since}"),
        (Some(since), false) => {
            format!("it is being deleted since {since}, and waits for its finalizers {}", finalizers.join(", "))
        }
    }
}

pub static WAIT_ROLLOUT: Binding = Binding {
    name: "kube::wait_rollout",
    effect: Effect::Read,
    doc: r#"
Waits until a Deployment, DaemonSet or StatefulSet runs what it says everywhere, and returns it.

By the rules of `kubectl rollout status`. Raises `failed` when a Deployment exceeded its progress deadline, and
`timeout` with what the rollout waits for and what keeps its pods.

```rhai
kube::wait_rollout("daemonsets", "aws-node", #{ namespace: "kube-system" }).kind  //=> "DaemonSet"
kube::wait_rollout("services", "web")                                             //=> error: invalid
```
"#,
    params: &[KIND, NAME],
    options: &[NAMESPACE, TIMEOUT],
    returns: "the object",
    raises: &[Kind::Timeout, Kind::Failed, Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(wait_rollout(call))),
};

/// Looks at an object of one kind.
type Rule = fn(&Value) -> Result<Look>;

/// What `kubectl rollout status` knows.
const ROLLED_OUT: &[(&str, Rule)] =
    &[("Deployment", deployment), ("DaemonSet", daemon_set), ("StatefulSet", stateful_set)];

async fn wait_rollout(call: Call<'_>) -> Result<Answer> {
    let aim = Aim::of(&call, "kube::wait_rollout").await?;
    let rule = ROLLED_OUT.iter().find(|(kind, _)| aim.resource.group == "apps" && *kind == aim.resource.kind);
    let Some((_, look)) = rule else {
        let kinds: Vec<&str> = ROLLED_OUT.iter().map(|(kind, _)| *kind).collect();
        return Err(Error::invalid(format!("a {} has no rollout", aim.resource.kind))
            .note(format!("`kube::wait_rollout` waits for a {}", list_or(&kinds)))
            .hint("wait for a condition: `kube::wait_for(kind, name, #{ condition: \"Ready\" })`"));
    };
    let mut pace = Pace::of(&call);
    let mut last = Value::Null;
    loop {
        let seen = match aim.server.get(&aim.resource, aim.namespace(), &aim.name).await {
            Ok(object) => {
                last = object;
                match look(&last)? {
                    Look::Done => return Ok(shown(Answer::read(last))),
                    Look::NotYet(seen) => seen,
                }
            }
            Err(error) if error.facts().retryable => error.to_string(),
            Err(error) => return Err(error),
        };
        if !pace.rest(&aim.words(), &seen).await {
            let message = format!("{} is not rolled out after {}", aim.words(), format_duration(pace.timeout));
            let mut error = Error::timeout(message).note(seen);
            if let Some(note) = stuck_pods(&aim, &last).await {
                error = error.note(note);
            }
            return Err(error.with("last", last));
        }
    }
}

fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path).and_then(Value::as_i64)
}

fn is_seen(object: &Value) -> bool {
    number(object, "/metadata/generation").unwrap_or(0) <= number(object, "/status/observedGeneration").unwrap_or(0)
}

fn not_seen() -> Look {
    Look::NotYet("its last change is not seen yet".to_owned())
}

fn deployment(object: &Value) -> Result<Look> {
    if !is_seen(object) {
        return Ok(not_seen());
    }
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    if let Some(late) = conditions.clone().find(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Error::failed(format!("Deployment `{name}` exceeded its progress deadline")).note(says(late)));
    }
    let status = |field: &str| number(&object["status"], &format!("/{field}")).unwrap_or(0);
    let (updated, all, available) = (status("updatedReplicas"), status("replicas"), status("availableReplicas"));
    if let Some(wanted) = number(object, "/spec/replicas").filter(|wanted| updated < *wanted) {
        return Ok(Look::NotYet(format!("{updated} of {wanted} new replicas are there")));
    }
    if all > updated {
        return Ok(Look::NotYet(format!("{} old replicas are still there", all - updated)));
    }
    if available < updated {
        return Ok(Look::NotYet(format!("{available} of {updated} new replicas are available")));
    }
    Ok(Look::Done)
}

/// Only a rolling update has an end that can be waited for.
fn must_roll(object: &Value) -> Result<()> {
    match object["spec"]["updateStrategy"]["type"].as_str() {
        None | Some("RollingUpdate") => Ok(()),
        Some(other) => Err(Error::invalid(format!(
            "{} `{}` has the update strategy `{other}`, so its rollout can not be waited for",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        ))
        .hint("set `spec.updateStrategy.type` to `RollingUpdate`")),
    }
}

fn daemon_set(object: &Value) -> Result<Look> {
    must_roll(object)?;
    if !is_seen(object) {
        return Ok(not_seen());
    }
    let status = |field: &str| number(&object["status"], &format!("/{field}")).unwrap_or(0);
    let wanted = status("desiredNumberScheduled");
    let (updated, available) = (status("updatedNumberScheduled"), status("numberAvailable"));
    if updated < wanted {
        return Ok(Look::NotYet(format!("{updated} of {wanted} pods are updated")));
    }
    if available < wanted {
        return Ok(Look::NotYet(format!("{available} of {wanted} updated pods are available")));
    }
    Ok(Look::Done)
}

fn stateful_set(object: &Value) -> Result<Look> {
    must_roll(object)?;
    let status = |field: &str| number(&object["status"], &format!("/{field}")).unwrap_or(0);
    if status("observedGeneration") == 0 || !is_seen(object) {
        return Ok(not_seen());
    }
    let wanted = number(object, "/spec/replicas");
    let (ready, updated) = (status("readyReplicas"), status("updatedReplicas"));
    if let Some(wanted) = wanted.filter(|wanted| ready < *wanted) {
        return Ok(Look::NotYet(format!("{ready} of {wanted} pods are ready")));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").filter(|partition| *partition > 0);
    if let (Some(wanted), Some(partition)) = (wanted, partition) {
        let due = (wanted - partition).max(0);
        return Ok(if updated < due {
            Look::NotYet(format!("{updated} of {due} pods are updated"))
        } else {
            Look::Done
        });
    }
    if object["status"]["updateRevision"] != object["status"]["currentRevision"] {
        return Ok(Look::NotYet(format!("{updated} of {} pods are updated", wanted.unwrap_or(0))));
    }
    Ok(Look::Done)
}

/// What keeps the pods of a rollout, in words. Best effort: the error stands without it.
async fn stuck_pods(aim: &Aim, object: &Value) -> Option<String> {
    let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
    let labels: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let selection = Selection { labels: Some(labels.join(",")), limit: Some(200), ..Selection::default() };
    let pods = aim.server.resolve("v1/Pod").await.ok()?;
    let pods = aim.server.list(&pods, aim.namespace(), &selection).await.ok()?;
    let stuck: Vec<String> = pods.iter().filter_map(why_stuck).take(3).collect();
    (!stuck.is_empty()).then(|| stuck.join("; "))
}

fn why_stuck(pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let wrong =
        |name: &str| conditions.clone().find(|condition| condition["type"] == name && condition["status"] != "True");
    let reason = containers(pod).or_else(|| wrong("PodScheduled").or_else(|| wrong("Ready")).map(says))?;
    Some(format!("Pod `{}`: {reason}", pod["metadata"]["name"].as_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(look: Result<Look>) -> String {
        match look {
            Ok(Look::Done) => "done".to_owned(),
            Ok(Look::NotYet(text)) => text,
            Err(error) => format!("{}: {error}", error.kind()),
        }
    }

    #[test]
    fn deployments_by_the_rules_of_kubectl() {
        let with = |status: Value| {
            let object = json!({ "kind": "Deployment", "metadata": { "name": "web", "generation": 2 }, "spec": { "replicas": 3 }, "status": status });
            seen(deployment(&object))
        };
        assert_eq!(with(json!({ "observedGeneration": 1 })), "its last change is not seen yet");
        assert_eq!(with(json!({ "observedGeneration": 2, "updatedReplicas": 1 })), "1 of 3 new replicas are there");
        assert_eq!(
            with(json!({ "observedGeneration": 2, "updatedReplicas": 3, "replicas": 4 })),
            "1 old replicas are still there"
        );
        assert_eq!(
            with(json!({ "observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2 })),
            "2 of 3 new replicas are available"
        );
        assert_eq!(
            with(json!({ "observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3 })),
            "done"
        );
        let late = json!({ "observedGeneration": 2, "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }] });
        assert_eq!(with(late), "failed: Deployment `web` exceeded its progress deadline");
    }

    #[test]
    fn daemon_sets_and_stateful_sets_by_the_rules_of_kubectl() {
        let daemons = |status: Value| seen(daemon_set(&json!({ "metadata": { "generation": 1 }, "status": status })));
        assert_eq!(
            daemons(json!({ "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1 })),
            "1 of 2 pods are updated"
        );
        assert_eq!(
            daemons(
                json!({ "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1 })
            ),
            "1 of 2 updated pods are available"
        );
        assert_eq!(daemons(json!({ "observedGeneration": 1 })), "done");
        let on_delete = json!({ "kind": "DaemonSet", "metadata": { "name": "a" }, "spec": { "updateStrategy": { "type": "OnDelete" } } });
        assert!(seen(daemon_set(&on_delete)).starts_with("invalid: DaemonSet `a` has the update strategy `OnDelete`"));
        let set = |spec: Value, status: Value| {
            seen(stateful_set(&json!({ "metadata": { "generation": 1 }, "spec": spec, "status": status })))
        };
        assert_eq!(set(json!({ "replicas": 2 }), json!({})), "its last change is not seen yet");
        assert_eq!(
            set(json!({ "replicas": 2 }), json!({ "observedGeneration": 1, "readyReplicas": 1 })),
            "1 of 2 pods are ready"
        );
        let moving = json!({ "observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a" });
        assert_eq!(set(json!({ "replicas": 2 }), moving.clone()), "1 of 2 pods are updated");
        let partition = json!({ "replicas": 2, "updateStrategy": { "rollingUpdate": { "partition": 1 } } });
        assert_eq!(set(partition, moving), "done");
    }

    #[test]
    fn conditions_by_the_rules_of_kubectl() {
        let node = json!({ "kind": "Node", "status": { "conditions": [
            { "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "network plugin not ready" }] } });
        assert_eq!(seen(has(&node, "ready")), "`Ready` is False, KubeletNotReady: network plugin not ready");
        assert_eq!(seen(has(&node, "Ready=false")), "done");
        assert_eq!(seen(has(&node, "Gone")), "it has no condition `Gone`");
        let old = json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": 1, "conditions": [{ "type": "Available", "status": "True" }] } });
        assert_eq!(seen(has(&old, "Available")), "its last change is not seen yet");
        let job = json!({ "kind": "Job", "metadata": { "name": "j" }, "status": { "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded" }] } });
        assert_eq!(seen(has(&job, "Complete")), "failed: Job `j` failed");
    }

    #[test]
    fn what_a_pod_waits_for() {
        let pod = json!({ "metadata": { "name": "web-0" }, "status": { "containerStatuses": [
            { "name": "app", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }] } });
        assert_eq!(why_stuck(&pod).as_deref(), Some("Pod `web-0`: container `app`: ImagePullBackOff: no such image"));
        let pending = json!({ "metadata": { "name": "web-1" }, "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }] } });
        assert_eq!(
            why_stuck(&pending).as_deref(),
            Some("Pod `web-1`: `PodScheduled` is False, Unschedulable: 0/1 nodes")
        );
    }
}
