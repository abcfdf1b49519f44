//! What is shown of a pod: how many of its containers are ready, in which state it is, how often it was restarted.

use jiff::Timestamp;
use serde_json::Value;

use super::age;
use super::seen::{Seen, as_text};

/// The state of a pod in a few words.
pub struct Summary {
    /// Containers that are ready.
    ready: usize,
    /// Containers that run while the pod does.
    containers: usize,
    /// `Running`, `CrashLoopBackOff`, `Init:0/2`, ….
    pub reason: String,
    restarts: i64,
    restarted: Option<Timestamp>,
}

impl Summary {
    /// `1/2`.
    pub fn ready(&self) -> String {
        format!("{}/{}", self.ready, self.containers)
    }

    /// `3 (5m ago)`.
    pub fn restarts(&self, now: Timestamp) -> String {
        match self.restarted.filter(|_| self.restarts != 0) {
            Some(last) => format!("{} ({} ago)", self.restarts, age::text(now.duration_since(last))),
            None => self.restarts.to_string(),
        }
    }

    /// Counts the restarts of a container.
    fn count(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        self.restarted = self.restarted.max(age::moment(&status["lastState"]["terminated"]["finishedAt"]));
    }
}

/// Looks at a pod.
pub fn summary(seen: &Seen<'_>) -> Summary {
    let phase = seen.text("/status/phase");
    let gated = seen.condition("PodScheduled").is_some_and(|one| one["reason"] == "SchedulingGated");
    let reason = match seen.text("/status/reason") {
        _ if gated => "SchedulingGated",
        "" => phase,
        given => given,
    };
    let init = seen.items("/spec/initContainers");
    let mut summary = Summary {
        ready: 0,
        containers: seen.items("/spec/containers").len() + init.iter().filter(|one| is_sidecar(one)).count(),
        reason: reason.to_owned(),
        restarts: 0,
        restarted: None,
    };
    let sidecars = initialize(seen, init, &mut summary);
    let is_initializing = sidecars.is_none();
    if !is_initializing || seen.condition("Initialized").is_some_and(|one| one["status"] == "True") {
        // What was restarted before the pod was initialized counts no longer, but for those that run on.
        (summary.restarts, summary.restarted) = (0, None);
        for status in seen.items("/status/initContainerStatuses").iter().filter(|one| of_sidecar(init, one)) {
            summary.count(status);
        }
        run(seen, &mut summary);
    }
    let has_ended = matches!(phase, "Succeeded" | "Failed");
    if seen.is_going() && seen.text("/status/reason") == "NodeLost" {
        summary.reason = "Unknown".to_owned();
    } else if seen.is_going() && !has_ended {
        summary.reason = "Terminating".to_owned();
    }
    summary
}

/// An init container that runs on.
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn of_sidecar(init: &[Value], status: &Value) -> bool {
    init.iter().any(|one| one["name"] == status["name"] && is_sidecar(one))
}

/// Goes through the init containers up to the one that is not done; `None` where there is such a one.
fn initialize(seen: &Seen<'_>, init: &[Value], summary: &mut Summary) -> Option<()> {
    for (at, status) in seen.items("/status/initContainerStatuses").iter().enumerate() {
        summary.count(status);
        let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if ended.is_object() && ended["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if of_sidecar(init, status) && status["started"] == true {
            summary.ready += usize::from(status["ready"] == true);
            continue;
        }
        let why = as_text(&waiting["reason"]);
        summary.reason = if ended.is_object() {
            format!("Init:{}", end(ended))
        } else if !why.is_empty() && why != "PodInitializing" {
            format!("Init:{why}")
        } else {
            format!("Init:{at}/{}", init.len())
        };
        return None;
    }
    Some(())
}

/// Why a container ended.
fn end(ended: &Value) -> String {
    match (as_text(&ended["reason"]), ended["signal"].as_i64().unwrap_or(0)) {
        (reason, _) if !reason.is_empty() => reason,
        (_, 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
        (_, signal) => format!("Signal:{signal}"),
    }
}

/// Goes through the containers, of which the first one has the last word.
fn run(seen: &Seen<'_>, summary: &mut Summary) {
    let mut is_running = false;
    let mut failure = None;
    for status in seen.items("/status/containerStatuses").iter().rev() {
        summary.count(status);
        let state = &status["state"];
        let why = as_text(&state["waiting"]["reason"]);
        if !why.is_empty() {
            summary.reason = why;
        } else if state["terminated"].is_object() {
            summary.reason = end(&state["terminated"]);
            if state["terminated"]["exitCode"].as_i64().unwrap_or(0) != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if status["ready"] == true && state["running"].is_object() {
            is_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        let is_ready = seen.condition("Ready").is_some_and(|one| one["status"] == "True");
        match failure {
            _ if is_running && is_ready => "Running".clone_into(&mut summary.reason),
            Some(failure) => summary.reason = failure,
            None if is_running => "NotReady".clone_into(&mut summary.reason),
            None => {}
        }
    }
}

/// How many of the readiness gates are open: `1/2`.
pub fn gates(seen: &Seen<'_>) -> String {
    let gates = seen.items("/spec/readinessGates");
    let is_open = |gate: &&Value| {
        let of = gate["conditionType"].as_str().unwrap_or_default();
        seen.condition(of).is_some_and(|one| one["status"] == "True")
    };
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    format!("{}/{}", gates.iter().filter(is_open).count(), gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(pod: &Value) -> (String, String, String) {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let summary = summary(&Seen { object: pod, now });
        (summary.ready(), summary.reason.clone(), summary.restarts(now))
    }

    fn pod(status: Value) -> Value {
        json!({ "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
            "status": status })
    }

    fn says(status: Value, ready: &str, reason: &str, restarts: &str) {
        let told = shown(&pod(status));
        assert_eq!(told, (ready.to_owned(), reason.to_owned(), restarts.to_owned()));
    }

    #[test]
    fn a_pod_that_has_not_started_is_in_its_phase() {
        says(json!({ "phase": "Pending" }), "0/2", "Pending", "0");
        let gated = json!([{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }]);
        says(json!({ "phase": "Pending", "conditions": gated }), "0/2", "SchedulingGated", "0");
    }

    #[test]
    fn containers_of_the_start_come_first() {
        let waiting =
            json!([{ "name": "i", "restartCount": 0, "state": { "waiting": { "reason": "PodInitializing" } } }]);
        says(json!({ "phase": "Pending", "initContainerStatuses": waiting }), "0/2", "Init:0/1", "0");
        let failed = json!([{ "name": "i", "restartCount": 2, "state": { "terminated": { "exitCode": 3 } },
            "lastState": { "terminated": { "exitCode": 3, "finishedAt": "2026-01-01T00:55:00Z" } } }]);
        says(json!({ "phase": "Pending", "initContainerStatuses": failed }), "0/2", "Init:ExitCode:3", "2 (5m ago)");
    }

    #[test]
    fn the_first_container_that_is_in_trouble_gives_the_state() {
        let running = json!({ "name": "b", "ready": true, "restartCount": 0, "state": { "running": {} } });
        let looping = json!({ "name": "a", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } } });
        let statuses = json!([looping, running]);
        says(json!({ "phase": "Running", "containerStatuses": statuses }), "1/2", "CrashLoopBackOff", "4");
        let done = json!({ "name": "a", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
        let statuses = json!([done, running]);
        says(json!({ "phase": "Running", "containerStatuses": statuses }), "1/2", "NotReady", "0");
    }

    #[test]
    fn who_is_deleted_terminates_unless_it_has_ended() {
        let mut going = pod(json!({ "phase": "Running" }));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
        assert_eq!(shown(&going).1, "Terminating");
        going["status"]["phase"] = json!("Succeeded");
        assert_eq!(shown(&going).1, "Succeeded");
    }
}
