//! Jobs: pods that end, as often as it takes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod;
use super::selection::{list, text};
use super::timer::time;
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::remove::Options;
use crate::twin::kube::store::key_of;
use crate::twin::world::{World, moment};

const JOBS: &str = "jobs.batch";
const WHO: &str = "job-controller";

/// A pod that has it has not been counted yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What a failed pod costs first, in seconds; twice as much every time, up to ten minutes. Kubernetes: the Job
/// controller's `DefaultJobPodFailureBackOff`.
const BACKOFF_SECONDS: i64 = 10;
const BACKOFF_SECONDS_MAX: i64 = 600;

/// Labels and selector by which a new Job knows its pods, unless it brings its own.
pub fn select(job: &mut Value) {
    if job["spec"]["manualSelector"] == true || !job["spec"]["template"].is_object() {
        return;
    }
    let (name, uid) = (job["metadata"]["name"].clone(), job["metadata"]["uid"].clone());
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        if labels[key].is_null() {
            labels[key] = value.clone();
        }
    }
    // A Job without labels gets those of its pods.
    if job["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
        job["metadata"]["labels"] = job["spec"]["template"]["metadata"]["labels"].clone();
    }
    let selected = &mut job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"];
    if selected.is_null() {
        *selected = uid;
    }
}

/// Lets every Job that something concerns come one step nearer to its end.
pub fn run(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let concerned = world.changes().of(&cluster).concerned(store.index(), JOBS);
        for key in concerned {
            if let Some(job) = world.store(&cluster).and_then(|store| store.get(JOBS, &key)).cloned() {
                Run::of(world, &cluster, job).step(world);
            }
        }
        let_go(world, &cluster);
    }
}

/// Pods whose Job is gone are counted by nobody any more.
fn let_go(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let changes = world.changes();
    let changed = changes.of(cluster);
    let left = changed.gone().iter().flat_map(|uid| store.index().owned_of(uid, "pods")).map(str::to_owned);
    let own = changed.keys("pods").iter().cloned();
    let keys: BTreeSet<String> = left.chain(own).collect();
    let orphans = keys.into_iter().filter(|key| {
        store
            .get("pods", key)
            .is_some_and(|pod| is_tracked(pod) && pod::controller_of(pod).and_then(|uid| store.by_uid(uid)).is_none())
    });
    let orphans: Vec<String> = orphans.collect();
    for key in orphans {
        untrack(world, cluster, &key);
    }
}

fn is_tracked(pod: &Value) -> bool {
    list(&pod["metadata"]["finalizers"]).iter().any(|one| one == TRACKING)
}

fn untrack(world: &mut World, cluster: &str, key: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    store.change("pods", key, |pod| {
        let mut left = list(&pod["metadata"]["finalizers"]).to_vec();
        left.retain(|one| one != TRACKING);
        match pod["metadata"].as_object_mut() {
            Some(metadata) if left.is_empty() => drop(metadata.remove("finalizers")),
            _ => pod["metadata"]["finalizers"] = json!(left),
        }
    });
}

/// A Job as it stands.
struct Run {
    cluster: String,
    key: String,
    job: Value,
    status: Value,
    pods: Vec<(String, Value)>,
    now: Timestamp,
}

fn index_of(pod: &Value) -> Option<i64> {
    text(&pod["metadata"]["annotations"], INDEX).parse().ok()
}

fn has_failed(pod: &Value) -> bool {
    text(&pod["status"], "phase") == "Failed"
}

fn is_active(pod: &Value) -> bool {
    !pod::is_over(pod) && !pod::is_ending(pod)
}

impl Run {
    fn of(world: &World, cluster: &str, job: Value) -> Run {
        let pods = world.store(cluster).map(|store| {
            let own = store.owned(text(&job["metadata"], "uid"), "pods");
            own.map(|(key, pod)| (key.to_owned(), pod.clone())).collect()
        });
        let mut status = job["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        let (cluster, key, now) = (cluster.to_owned(), key_of(&job), world.now);
        Run { cluster, key, job, status, pods: pods.unwrap_or_default(), now }
    }

    fn spec(&self) -> &Value {
        &self.job["spec"]
    }

    fn completions(&self) -> Option<i64> {
        self.spec()["completions"].as_i64()
    }

    fn is_indexed(&self) -> bool {
        self.spec()["completionMode"] == "Indexed"
    }

    fn count(&self, name: &str) -> i64 {
        self.status[name].as_i64().unwrap_or(0)
    }

    fn active(&self) -> impl Iterator<Item = &(String, Value)> {
        self.pods.iter().filter(|(_, pod)| is_active(pod))
    }

    fn step(mut self, world: &mut World) {
        if self.is_over() {
            self.expire(world);
            return;
        }
        if pod::is_ending(&self.job) {
            return;
        }
        let is_suspended = self.spec()["suspend"] == true;
        if self.status["startTime"].is_null() && !is_suspended {
            self.status["startTime"] = json!(moment::text(self.now));
        }
        self.count_pods(world);
        self.suspend(world, is_suspended);
        self.judge();
        let verdict = self.verdict();
        if verdict.is_some() || is_suspended {
            self.end_active(world);
        } else {
            self.keep_active(world);
        }
        self.tell_counts();
        if let Some((name, reason, message)) = verdict {
            self.finish(world, name, &reason, &message);
        }
        let status = self.status.clone();
        if let Some(store) = world.store_mut(&self.cluster) {
            store.change(JOBS, &self.key, |job| job["status"] = status);
        }
        self.await_deadline(world);
    }

    fn is_over(&self) -> bool {
        pod::has_condition(&self.job, "Complete") || pod::has_condition(&self.job, "Failed")
    }

    /// Counts pods that have ended, each once.
    fn count_pods(&mut self, world: &mut World) {
        let mut indexes = read_indexes(text(&self.status, "completedIndexes"));
        let mut was_counted = false;
        for (key, pod) in self.pods.clone() {
            let is_done = text(&pod["status"], "phase") == "Succeeded";
            if !is_tracked(&pod) || is_active(&pod) {
                continue;
            }
            let index = index_of(&pod);
            if !is_done {
                self.status["failed"] = json!(self.count("failed") + 1);
            } else if !self.is_indexed() || index.is_some_and(|index| indexes.insert(index)) {
                self.status["succeeded"] = json!(self.count("succeeded") + 1);
            }
            untrack(world, &self.cluster, &key);
            was_counted = true;
        }
        if self.is_indexed() && was_counted && !indexes.is_empty() {
            self.status["completedIndexes"] = json!(write_indexes(&indexes));
        }
    }

    fn note(&mut self, name: &str, status: &str, reason: &str, message: &str) -> bool {
        let now = moment::text(self.now);
        let mut object = json!({ "status": self.status });
        let has_it = list(&object["status"]["conditions"]).iter().any(|one| one["type"] == name);
        if status == "False" && !has_it {
            return false;
        }
        let condition = json!({ "type": name, "status": status, "reason": reason, "message": message,
            "lastProbeTime": now });
        let is_new = pod::set_condition(&mut object, &now, condition);
        self.status = object["status"].take();
        is_new
    }

    fn suspend(&mut self, world: &mut World, is_suspended: bool) {
        if is_suspended && self.note("Suspended", "True", "JobSuspended", "Job suspended") {
            event::normal(world, &self.cluster, &self.job, "Suspended", "Job suspended", WHO);
            if let Some(status) = self.status.as_object_mut() {
                status.remove("startTime");
            }
        }
        if !is_suspended && self.note("Suspended", "False", "JobResumed", "Job resumed") {
            event::normal(world, &self.cluster, &self.job, "Resumed", "Job resumed", WHO);
            self.status["startTime"] = json!(moment::text(self.now));
        }
    }

    /// Notes how the Job will end once it is clear.
    fn judge(&mut self) {
        if self.verdict().is_some() {
            return;
        }
        let limit = self.spec()["backoffLimit"].as_i64().unwrap_or(6);
        let late = self.deadline().is_some_and(|deadline| deadline <= self.now);
        let failed = if self.count("failed") > limit {
            Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
        } else if late && self.spec()["suspend"] != true {
            Some(("DeadlineExceeded", "Job was active longer than specified deadline"))
        } else {
            None
        };
        if let Some((reason, message)) = failed {
            self.note("FailureTarget", "True", reason, message);
            return;
        }
        let is_complete = match self.completions() {
            Some(wanted) => self.count("succeeded") >= wanted,
            None => self.count("succeeded") > 0 && self.active().next().is_none(),
        };
        if is_complete {
            let message = "Reached expected number of succeeded pods";
            self.note("SuccessCriteriaMet", "True", "CompletionsReached", message);
        }
    }

    /// The condition that the Job ends with, and why, once it is clear.
    fn verdict(&self) -> Option<(&'static str, String, String)> {
        list(&self.status["conditions"]).iter().find_map(|one| {
            let ends = match text(one, "type") {
                "FailureTarget" => "Failed",
                "SuccessCriteriaMet" => "Complete",
                _ => return None,
            };
            Some((ends, text(one, "reason").to_owned(), text(one, "message").to_owned()))
        })
    }

    fn end_active(&mut self, world: &mut World) {
        let keys: Vec<String> = self.active().map(|(key, _)| key.clone()).collect();
        for key in keys {
            kube::delete(world, &self.cluster, "pods", &key);
            let name = key.rsplit('/').next().unwrap_or(&key);
            let message = format!("Deleted pod: {name}");
            event::normal(world, &self.cluster, &self.job, "SuccessfulDelete", &message, WHO);
        }
        self.look_again(world);
    }

    fn look_again(&mut self, world: &World) {
        *self = Run { status: self.status.take(), ..Run::of(world, &self.cluster, self.job.clone()) };
    }

    /// Makes the pods that are missing, after a pause where one has failed.
    fn keep_active(&mut self, world: &mut World) {
        let there = i64::try_from(self.active().count()).unwrap_or(0);
        let parallelism = self.spec()["parallelism"].as_i64().unwrap_or(1);
        let wanted = match self.completions() {
            Some(completions) => parallelism.min(completions - self.count("succeeded")),
            None if self.count("succeeded") > 0 => there,
            None => parallelism,
        };
        if there > wanted {
            let over: Vec<String> =
                self.active().map(|(key, _)| key.clone()).take(usize::try_from(there - wanted).unwrap_or(0)).collect();
            for key in over {
                kube::delete(world, &self.cluster, "pods", &key);
            }
        } else if there < wanted {
            match self.pause().filter(|until| *until > self.now) {
                Some(until) => timer::look_at(world, &self.cluster, JOBS, &self.key, until),
                None => self.make(world, wanted - there),
            }
        }
        self.look_again(world);
    }

    /// Until when it waits after failures.
    fn pause(&self) -> Option<Timestamp> {
        let failed = self.pods.iter().filter(|(_, pod)| has_failed(pod));
        let last = failed.filter_map(|(_, pod)| ended_at(pod)).max()?;
        // Failures before the last success are forgiven.
        let success = self.pods.iter().filter(|(_, pod)| text(&pod["status"], "phase") == "Succeeded");
        let success = success.filter_map(|(_, pod)| ended_at(pod)).max();
        let since = self.pods.iter().filter(|(_, pod)| has_failed(pod) && ended_at(pod) > success).count();
        let doubled = u32::try_from(since).unwrap_or(u32::MAX).saturating_sub(1).min(10);
        let seconds = if since == 0 { 0 } else { (BACKOFF_SECONDS << doubled).min(BACKOFF_SECONDS_MAX) };
        Some(timer::after(last, seconds))
    }

    fn make(&mut self, world: &mut World, count: i64) {
        let mut free = self.free_indexes().into_iter();
        for _ in 0..count {
            let index = free.next();
            if self.is_indexed() && index.is_none() {
                return;
            }
            let mut owner = self.job.clone();
            let template = &mut owner["spec"]["template"];
            template["metadata"]["finalizers"] = json!([TRACKING]);
            let name = text(&self.job["metadata"], "name").to_owned();
            let mut prefix = format!("{name}-");
            let number = index.map(|index| index.to_string()).unwrap_or_default();
            let mut labels: Vec<(&str, &str)> = Vec::new();
            if let Some(index) = index {
                prefix = format!("{name}-{index}-");
                template["metadata"]["annotations"][INDEX] = json!(number);
                template["spec"]["hostname"] = json!(format!("{name}-{index}"));
                labels.push((INDEX, &number));
                let field = json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": {
                    "apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']") } } });
                for container in template["spec"]["containers"].as_array_mut().into_iter().flatten() {
                    let mut env = list(&container["env"]).to_vec();
                    env.push(field.clone());
                    container["env"] = json!(env);
                }
            }
            if let Some(made) = pod::make_as(world, &self.cluster, &owner, &labels, &prefix, None) {
                let message = format!("Created pod: {made}");
                event::normal(world, &self.cluster, &self.job, "SuccessfulCreate", &message, WHO);
            }
        }
    }

    /// Indexes that are neither done nor under way.
    fn free_indexes(&self) -> Vec<i64> {
        if !self.is_indexed() {
            return Vec::new();
        }
        let done = read_indexes(text(&self.status, "completedIndexes"));
        let busy: BTreeSet<i64> = self.active().filter_map(|(_, pod)| index_of(pod)).collect();
        let all = 0..self.completions().unwrap_or(0);
        all.filter(|index| !done.contains(index) && !busy.contains(index)).collect()
    }

    fn tell_counts(&mut self) {
        let counts = [
            ("active", self.active().count()),
            ("ready", self.active().filter(|(_, pod)| pod::is_ready(pod)).count()),
            ("terminating", self.terminating()),
        ];
        for (name, count) in counts {
            // None that is active goes without saying, the others do not.
            if count > 0 || name != "active" {
                self.status[name] = json!(count);
            } else if let Some(status) = self.status.as_object_mut() {
                status.remove(name);
            }
        }
        self.status["uncountedTerminatedPods"] = json!({});
    }

    fn terminating(&self) -> usize {
        self.pods.iter().filter(|(_, pod)| pod::is_ending(pod) && !pod::is_over(pod)).count()
    }

    /// It is over once its last pod has ended.
    fn finish(&mut self, world: &mut World, name: &'static str, reason: &str, message: &str) {
        if self.terminating() > 0 || !self.note(name, "True", reason, message) {
            return;
        }
        if name == "Complete" {
            self.status["completionTime"] = json!(moment::text(self.now));
            event::normal(world, &self.cluster, &self.job, "Completed", "Job completed", WHO);
        } else {
            event::warning(world, &self.cluster, &self.job, reason, message, WHO);
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec()["activeDeadlineSeconds"].as_i64()?;
        Some(timer::after(time(&self.status, "startTime")?, seconds))
    }

    fn await_deadline(&self, world: &mut World) {
        if let Some(deadline) = self.deadline().filter(|_| self.verdict().is_none() && self.spec()["suspend"] != true) {
            timer::look_at(world, &self.cluster, JOBS, &self.key, deadline);
        }
    }

    /// A Job that is over goes after a while, where it says so.
    fn expire(&self, world: &mut World) {
        let ended = list(&self.job["status"]["conditions"])
            .iter()
            .find(|one| matches!(text(one, "type"), "Complete" | "Failed") && one["status"] == "True")
            .and_then(|one| time(one, "lastTransitionTime"));
        let Some((seconds, ended)) = self.spec()["ttlSecondsAfterFinished"].as_i64().zip(ended) else { return };
        let until = timer::after(ended, seconds);
        if pod::is_ending(&self.job) {
            return;
        }
        if until <= self.now {
            let Some(served) = world.store(&self.cluster).and_then(|store| kube::kinds::of_table(store, JOBS)) else {
                return;
            };
            let options = Options::default().with_params("", "Foreground", "").unwrap_or_default();
            // What is gone already needs nothing more.
            let _ = kube::remove::delete(world, &self.cluster, &served, &self.key, &options);
        } else {
            timer::look_at(world, &self.cluster, JOBS, &self.key, until);
        }
    }
}

/// When the last container of a pod ended.
fn ended_at(pod: &Value) -> Option<Timestamp> {
    let ended = list(&pod["status"]["containerStatuses"]).iter();
    ended.filter_map(|one| time(&one["state"]["terminated"], "finishedAt")).max()
}

/// `1,3-5`.
fn read_indexes(written: &str) -> BTreeSet<i64> {
    let parts = written.split(',').filter_map(|part| match part.split_once('-') {
        Some((from, to)) => Some((from.parse::<i64>().ok()?, to.parse::<i64>().ok()?)),
        None => part.parse().ok().map(|one| (one, one)),
    });
    parts.flat_map(|(from, to)| from..=to).collect()
}

fn write_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match runs.last_mut().filter(|(_, last)| last + 1 == *index) {
            Some((_, last)) => *last = *index,
            None => runs.push((*index, *index)),
        }
    }
    let run = |(first, last): (i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use jiff::ToSpan;

    pub fn world() -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        let node = json!({ "metadata": { "name": "n1" }, "spec": {},
            "status": { "allocatable": { "cpu": "8", "memory": "32Gi", "pods": "50" },
                "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] } });
        kube::create(&mut world, "prod", "nodes", node);
        world
    }

    fn job(world: &mut World, spec: Value, exit: Option<&str>) {
        let mut job = json!({ "metadata": { "name": "sum", "namespace": "default" }, "spec": { "backoffLimit": 6,
            "template": { "metadata": { "annotations": {} }, "spec": { "restartPolicy": "Never", "hostNetwork": true,
                "containers": [{ "name": "c", "image": "sum:1" }] } } } });
        for (key, value) in spec.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        if let Some(exit) = exit {
            job["spec"]["template"]["metadata"]["annotations"]["ekskit.dev/exit-code"] = json!(exit);
        }
        kube::create(world, "prod", JOBS, job);
        settle(world);
    }

    fn pass(world: &mut World, seconds: i64) {
        let to = world.now + seconds.seconds();
        world.advance(to);
    }

    fn status(world: &World) -> Value {
        world.store("prod").unwrap().get(JOBS, "default/sum").unwrap()["status"].clone()
    }

    fn condition(world: &World, name: &str) -> (String, String) {
        let status = status(world);
        let found = list(&status["conditions"]).iter().find(|one| one["type"] == name).cloned().unwrap_or_default();
        (text(&found, "status").to_owned(), text(&found, "reason").to_owned())
    }

    fn is(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_job_runs_so_many_at_once_until_so_many_are_done() {
        let mut world = world();
        job(&mut world, json!({ "completions": 5, "parallelism": 2 }), None);
        assert_eq!(status(&world)["active"], 2);
        pass(&mut world, 60);
        let found = status(&world);
        assert_eq!((&found["succeeded"], &found["active"]), (&json!(5), &Value::Null), "{found}");
        assert_eq!(condition(&world, "Complete"), is("True", "CompletionsReached"));
        assert!(found["completionTime"].is_string());
        assert_eq!(world.store("prod").unwrap().list("pods").len(), 5);
        assert!(!world.store("prod").unwrap().list("pods").values().any(is_tracked));
    }

    #[test]
    fn failures_cost_more_time_each_and_end_at_the_limit() {
        let mut world = world();
        job(&mut world, json!({ "completions": 1, "parallelism": 1, "backoffLimit": 2 }), Some("3"));
        pass(&mut world, 9);
        assert_eq!((&status(&world)["failed"], &status(&world)["active"]), (&json!(1), &Value::Null), "it waits");
        pass(&mut world, 300);
        assert_eq!(status(&world)["failed"], 3);
        assert_eq!(condition(&world, "Failed"), is("True", "BackoffLimitExceeded"));
    }

    #[test]
    fn a_job_that_takes_too_long_fails_and_one_that_is_over_goes() {
        let mut world = world();
        let spec = json!({ "completions": 1, "activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 100 });
        job(&mut world, spec, Some("never"));
        pass(&mut world, 29);
        assert_eq!(status(&world)["active"], 1);
        pass(&mut world, 20);
        assert_eq!(condition(&world, "Failed"), is("True", "DeadlineExceeded"));
        pass(&mut world, 120);
        assert!(world.store("prod").unwrap().list(JOBS).is_empty());
        assert!(world.store("prod").unwrap().list("pods").is_empty());
    }

    #[test]
    fn a_suspended_job_has_no_pods_until_it_goes_on() {
        let mut world = world();
        job(&mut world, json!({ "completions": 1, "suspend": true }), None);
        assert_eq!(condition(&world, "Suspended"), is("True", "JobSuspended"));
        assert!(world.store("prod").unwrap().list("pods").is_empty());
        world.store_mut("prod").unwrap().change(JOBS, "default/sum", |job| job["spec"]["suspend"] = json!(false));
        settle(&mut world);
        pass(&mut world, 60);
        assert_eq!(condition(&world, "Suspended"), is("False", "JobResumed"));
        assert_eq!(condition(&world, "Complete").0, "True");
    }

    #[test]
    fn every_index_is_done_once() {
        let mut world = world();
        job(&mut world, json!({ "completions": 4, "parallelism": 3, "completionMode": "Indexed" }), None);
        pass(&mut world, 60);
        assert_eq!(status(&world)["completedIndexes"], "0-3");
        let pods = world.store("prod").unwrap().list("pods").clone();
        let indexes: Vec<i64> = pods.values().filter_map(index_of).collect();
        assert_eq!(indexes, [0, 1, 2, 3]);
        assert!(pods.keys().next().unwrap().starts_with("default/sum-0-"));
        assert_eq!(write_indexes(&read_indexes("1,3-5,7,8")), "1,3-5,7,8");
    }

    #[test]
    fn a_deleted_job_takes_its_pods_along() {
        let mut world = world();
        job(&mut world, json!({ "completions": 2, "parallelism": 2 }), Some("never"));
        pass(&mut world, 20);
        kube::delete(&mut world, "prod", JOBS, "default/sum");
        settle(&mut world);
        pass(&mut world, 20);
        assert!(world.store("prod").unwrap().list("pods").is_empty());
    }
}
