//! Jobs: pods that end, as often as it takes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::{self, Meaning};
use super::indexes::{self, INDEX, Indexes, index_of};
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

/// How often an index has failed before this pod, and how often that did not count.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The failures since the last success of each Job, as the real controller keeps them in its memory:
/// `{ failures: 2, last: "2026-…" }` by cluster and uid.
pub const MEMORY: &str = "twin/jobs";

/// Whether a new Job has no labels of its own: then it has those of its pods, also those that [`select`] adds.
pub fn is_bare(job: &Value) -> bool {
    job["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty)
}

/// Labels and selector by which a new Job knows its pods, unless it brings its own.
pub fn select(job: &mut Value, was_bare: bool) {
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
    if was_bare {
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

/// Whether a Job has ended, well or not.
pub fn is_over(job: &Value) -> bool {
    pod::has_condition(job, "Complete") || pod::has_condition(job, "Failed")
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

/// What has been done and has failed by now, also by pods that are not counted yet.
struct Tally {
    succeeded: i64,
    failed: i64,
    done: Indexes,
    /// Of Jobs whose indexes have a limit of their own.
    given_up: Indexes,
    /// Keys of failed pods that stay uncounted until another takes their index.
    kept: BTreeSet<String>,
    /// Failures since the last success, and the last one.
    backoff: (i64, Option<Timestamp>),
}

fn size(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn has_succeeded(pod: &Value) -> bool {
    text(&pod["status"], "phase") == "Succeeded"
}

fn is_active(pod: &Value) -> bool {
    !pod::is_over(pod) && !pod::is_ending(pod)
}

fn is_terminating(pod: &Value) -> bool {
    pod::is_ending(pod) && !pod::is_over(pod)
}

fn annotated(pod: &Value, key: &str) -> i64 {
    text(&pod["metadata"]["annotations"], key).parse().unwrap_or(0)
}

/// How often the index of a pod failed before it, by any count.
fn failures_before(pod: &Value) -> i64 {
    annotated(pod, FAILURES) + annotated(pod, IGNORED_FAILURES)
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

    fn is_suspended(&self) -> bool {
        self.spec()["suspend"] == true
    }

    /// How often each index may fail, where indexes have a limit of their own.
    fn index_limit(&self) -> Option<i64> {
        self.spec()["backoffLimitPerIndex"].as_i64().filter(|_| self.is_indexed())
    }

    /// Whether a pod that is on its way out is replaced only when it has gone.
    fn waits_for_ends(&self) -> bool {
        self.spec()["podReplacementPolicy"] == "Failed" || self.spec()["podFailurePolicy"].is_object()
    }

    fn count(&self, name: &str) -> i64 {
        self.status[name].as_i64().unwrap_or(0)
    }

    fn active(&self) -> impl Iterator<Item = &(String, Value)> {
        self.pods.iter().filter(|(_, pod)| is_active(pod))
    }

    fn terminating(&self) -> impl Iterator<Item = &(String, Value)> {
        self.pods.iter().filter(|(_, pod)| is_terminating(pod))
    }

    fn step(mut self, world: &mut World) {
        let manager = self.spec()["managedBy"].as_str();
        if manager.is_some_and(|manager| manager != "kubernetes.io/job-controller") {
            return;
        }
        if is_over(&self.job) {
            world.remove(MEMORY, &self.id());
            self.expire(world);
            return;
        }
        if self.status["startTime"].is_null() && !self.is_suspended() {
            self.status["startTime"] = json!(moment::text(self.now));
        }
        let tally = self.tally(world);
        self.judge(&tally);
        let ended = self.pods.clone();
        if self.verdict().is_some() {
            self.end(world, None);
        } else if !pod::is_ending(&self.job) {
            self.keep_active(world, &tally);
            if !self.note_completion(&tally) {
                self.note_suspension(world);
            }
        }
        self.count_ended(world, &ended, &tally);
        self.look_again(world);
        self.tell_counts();
        if let Some((name, reason, message)) = self.verdict() {
            self.finish(world, name, &reason, &message);
        }
        let status = self.status.clone();
        if let Some(store) = world.store_mut(&self.cluster) {
            store.change(JOBS, &self.key, |job| job["status"] = status);
        }
        self.await_deadline(world);
    }

    fn id(&self) -> String {
        format!("{}/{}", self.cluster, text(&self.job["metadata"], "uid"))
    }

    fn has_failed(&self, pod: &Value) -> bool {
        let is_dying = !self.waits_for_ends() && pod::is_ending(pod) && !has_succeeded(pod);
        text(&pod["status"], "phase") == "Failed" || is_dying
    }

    fn meaning(&self, pod: &Value) -> Meaning {
        failure::meaning(&self.spec()["podFailurePolicy"], pod)
    }

    /// The index of a pod; none: it has none that the Job still asks for.
    fn valid_index(&self, pod: &Value) -> Option<i64> {
        index_of(pod).filter(|index| *index < self.completions().unwrap_or(0))
    }

    fn tally(&self, world: &World) -> Tally {
        let counts = |pod: &Value| is_tracked(pod) && (!self.is_indexed() || self.valid_index(pod).is_some());
        let fresh = || self.pods.iter().filter(|(_, pod)| counts(pod));
        let succeeded: Vec<&Value> = fresh().map(|(_, pod)| pod).filter(|pod| has_succeeded(pod)).collect();
        let failed: Vec<&(String, Value)> = fresh().filter(|(_, pod)| self.has_failed(pod)).collect();
        let counting = failed.iter().filter(|(_, pod)| self.meaning(pod) != Meaning::Ignored).count();
        let read = |name: &str| Indexes::read(text(&self.status, name), self.completions().unwrap_or(0));
        let mut done = read("completedIndexes");
        done.extend(succeeded.iter().filter_map(|pod| index_of(pod)));
        let mut given_up = read("failedIndexes");
        let mut kept = BTreeSet::new();
        if let Some(limit) = self.index_limit() {
            let is_final = |pod: &Value| match self.meaning(pod) {
                Meaning::FailsIndex => true,
                Meaning::Ignored => false,
                _ => annotated(pod, FAILURES) >= limit,
            };
            given_up.extend(failed.iter().filter(|(_, pod)| is_final(pod)).filter_map(|(_, pod)| index_of(pod)));
            let open = |pod: &Value| {
                index_of(pod).is_some_and(|index| {
                    let is_active = self.active().any(|(_, other)| index_of(other) == Some(index));
                    !done.contains(index) && !given_up.contains(index) && !is_active
                })
            };
            for (key, pod) in failed.iter().filter(|(_, pod)| open(pod)) {
                let last = self.last_failure(failed.iter().map(|(_, pod)| pod), index_of(pod));
                if last.is_some_and(|last| key_of(last) == *key) {
                    kept.insert(key.clone());
                }
            }
        }
        let ended = |pods: &[&Value]| pods.iter().filter_map(|pod| failure::ended_at(pod)).collect::<Vec<_>>();
        let failures: Vec<&Value> = failed.iter().map(|(_, pod)| pod).collect();
        let backoff = self.backoff(world, &ended(&succeeded), &ended(&failures));
        let succeeded = if self.is_indexed() { done.count() } else { self.count("succeeded") + size(succeeded.len()) };
        Tally { succeeded, failed: self.count("failed") + size(counting), done, given_up, kept, backoff }
    }

    /// Of failed pods of one index, the one that failed last.
    fn last_failure<'p>(&self, failed: impl Iterator<Item = &'p Value>, index: Option<i64>) -> Option<&'p Value> {
        failed.filter(|pod| index_of(pod) == index).max_by_key(|pod| (failures_before(pod), failure::ended_at(pod)))
    }

    /// The failures since the last success: those that are remembered, and those that are new.
    fn backoff(&self, world: &World, succeeded: &[Timestamp], failed: &[Timestamp]) -> (i64, Option<Timestamp>) {
        let known = world.find(MEMORY, &self.id()).cloned().unwrap_or_default();
        let known = (known["failures"].as_i64().unwrap_or(0), time(&known, "last"));
        match succeeded.iter().max() {
            None if failed.is_empty() => known,
            None => (known.0 + size(failed.len()), failed.iter().max().copied()),
            // Failures before the last success are forgiven.
            Some(success) => {
                let later = failed.iter().filter(|failure| *failure > success);
                (size(later.clone().count()), later.max().copied())
            }
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

    fn note_suspension(&mut self, world: &mut World) {
        if self.is_suspended() && self.note("Suspended", "True", "JobSuspended", "Job suspended") {
            event::normal(world, &self.cluster, &self.job, "Suspended", "Job suspended", WHO);
            if let Some(status) = self.status.as_object_mut() {
                status.remove("startTime");
            }
        }
        if !self.is_suspended() && self.note("Suspended", "False", "JobResumed", "Job resumed") {
            event::normal(world, &self.cluster, &self.job, "Resumed", "Job resumed", WHO);
            self.status["startTime"] = json!(moment::text(self.now));
        }
    }

    /// Notes how the Job will end once it is clear.
    fn judge(&mut self, tally: &Tally) {
        if self.verdict().is_some() {
            return;
        }
        if let Some((reason, message)) = self.failure(tally) {
            self.note("FailureTarget", "True", reason, &message);
            return;
        }
        let completions = self.completions().unwrap_or(0);
        let enough = indexes::enough(&self.spec()["successPolicy"], &tally.done, completions);
        if let Some(message) = enough.filter(|_| self.is_indexed()) {
            self.note("SuccessCriteriaMet", "True", "SuccessPolicy", &message);
        }
    }

    /// Why the Job fails.
    fn failure(&self, tally: &Tally) -> Option<(&'static str, String)> {
        let fatal = self.pods.iter().filter(|(_, pod)| self.has_failed(pod)).find_map(|(_, pod)| {
            let Meaning::FailsJob(message) = self.meaning(pod) else { return None };
            Some(message)
        });
        if let Some(message) = fatal {
            return Some(("PodFailurePolicy", message));
        }
        let limit = self.spec()["backoffLimit"].as_i64().unwrap_or(6);
        if tally.failed > limit || self.restarts_too_often(limit) {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
        }
        if self.deadline().is_some_and(|deadline| deadline <= self.now) && !self.is_suspended() {
            return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
        }
        self.index_limit()?;
        let given_up = tally.given_up.count();
        if self.spec()["maxFailedIndexes"].as_i64().is_some_and(|most| given_up > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", message.to_owned()));
        }
        let is_all = given_up + tally.done.count() >= self.completions().unwrap_or(0);
        (given_up > 0 && is_all).then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
    }

    /// Containers that are started again in their pods count as failures, too.
    fn restarts_too_often(&self, limit: i64) -> bool {
        if self.spec()["template"]["spec"]["restartPolicy"] != "OnFailure" {
            return false;
        }
        let running = self.pods.iter().filter(|(_, pod)| !pod::is_over(pod));
        let statuses = running.flat_map(|(_, pod)| {
            ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|of| list(&pod["status"][of]))
        });
        let restarts: i64 = statuses.filter_map(|one| one["restartCount"].as_i64()).sum();
        if limit == 0 { restarts > 0 } else { restarts >= limit }
    }

    /// Notes that all is done; whether it is.
    fn note_completion(&mut self, tally: &Tally) -> bool {
        let is_idle = self.active().next().is_none();
        let is_complete = is_idle && tally.succeeded >= self.completions().unwrap_or(1);
        if is_complete {
            let message = "Reached expected number of succeeded pods";
            self.note("SuccessCriteriaMet", "True", "CompletionsReached", message);
        }
        is_complete
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

    /// Ends these pods, or all that are active.
    fn end(&mut self, world: &mut World, which: Option<Vec<String>>) {
        let keys = which.unwrap_or_else(|| self.active().map(|(key, _)| key.clone()).collect());
        for key in keys {
            kube::delete(world, &self.cluster, "pods", &key);
            let name = key.rsplit('/').next().unwrap_or(&key);
            let message = format!("Deleted pod: {name}");
            event::normal(world, &self.cluster, &self.job, "SuccessfulDelete", &message, WHO);
        }
        self.look_again(world);
    }

    /// Ends pods that are no longer wanted: that is no failure of theirs.
    fn dismiss(&mut self, world: &mut World, keys: Vec<String>) {
        for key in &keys {
            untrack(world, &self.cluster, key);
        }
        self.end(world, Some(keys));
    }

    fn look_again(&mut self, world: &World) {
        *self = Run { status: self.status.take(), ..Run::of(world, &self.cluster, self.job.clone()) };
    }

    /// Makes the pods that are missing, after a pause where one has failed; ends those that are too many.
    fn keep_active(&mut self, world: &mut World, tally: &Tally) {
        let there = size(self.active().count());
        let parallelism = self.spec()["parallelism"].as_i64().unwrap_or(1);
        let wanted = match self.completions() {
            _ if self.is_suspended() => 0,
            Some(completions) => parallelism.min(completions - tally.succeeded).max(0),
            None if tally.succeeded > 0 => there,
            None => parallelism,
        };
        let wanted = wanted.min(pod::OWNED_MAX);
        let over = self.too_many(usize::try_from(there - wanted).unwrap_or(0));
        if !over.is_empty() {
            return self.dismiss(world, over);
        }
        let ending = if self.waits_for_ends() { size(self.terminating().count()) } else { 0 };
        let missing = wanted - ending - there;
        if missing <= 0 {
            return;
        }
        let until = tally.backoff.1.map(|last| failure::pause(tally.backoff.0, last));
        if let Some(until) = until.filter(|until| self.index_limit().is_none() && *until > self.now) {
            return timer::look_at(world, &self.cluster, JOBS, &self.key, until);
        }
        if !self.is_indexed() {
            (0..missing).for_each(|_| self.make(world, None));
        } else {
            self.make_indexes(world, tally, missing);
        }
        self.look_again(world);
    }

    /// So many active pods that serve least, and in any case those of indexes that nobody asks for or that are taken.
    fn too_many(&self, count: usize) -> Vec<String> {
        let mut taken = BTreeSet::new();
        let mut pods: Vec<&(String, Value)> = self.active().collect();
        // Of two with the same index the one stays that serves more.
        pods.sort_by_cached_key(|(key, pod)| (pod::worth(pod, 0, self.now), key.clone()));
        let is_extra = |pod: &Value| match self.valid_index(pod) {
            None => true,
            Some(index) => !taken.insert(index),
        };
        let mut is_extra = Some(is_extra).filter(|_| self.is_indexed());
        let (mut over, mut rest) = (Vec::new(), Vec::new());
        for (key, pod) in pods.into_iter().rev() {
            let goes = is_extra.as_mut().is_some_and(|is_extra| is_extra(pod));
            if goes { over.push(key.clone()) } else { rest.push(key.clone()) }
        }
        let more = count.saturating_sub(over.len());
        over.extend(rest.into_iter().rev().take(more));
        over
    }

    /// Makes pods for the first indexes that are open, but for those that failed a moment ago.
    fn make_indexes(&mut self, world: &mut World, tally: &Tally, count: i64) {
        let mut taken = tally.done.clone();
        taken.add_all(&tally.given_up);
        taken.extend(self.active().filter_map(|(_, pod)| index_of(pod)));
        if self.waits_for_ends() {
            taken.extend(self.terminating().filter_map(|(_, pod)| index_of(pod)));
        }
        let open = taken.missing(self.completions().unwrap_or(0)).take(usize::try_from(count).unwrap_or(0));
        let mut next: Option<Timestamp> = None;
        let mut due = Vec::new();
        for index in open {
            let before = self.replaced(tally, index);
            let until = before.and_then(|pod| Some(failure::pause(failures_before(pod) + 1, failure::ended_at(pod)?)));
            match until.filter(|until| *until > self.now) {
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => due.push((index, before.cloned())),
            }
        }
        for (index, before) in due {
            self.make(world, Some((index, before)));
        }
        if let Some(next) = next {
            timer::look_at(world, &self.cluster, JOBS, &self.key, next);
        }
    }

    /// The failed pod that a new one of this index replaces.
    fn replaced(&self, tally: &Tally, index: i64) -> Option<&Value> {
        let kept = self.pods.iter().filter(|(key, _)| tally.kept.contains(key)).map(|(_, pod)| pod);
        kept.into_iter().find(|pod| index_of(pod) == Some(index))
    }

    /// Makes a pod; of an Indexed Job with its index and the failed pod that it replaces.
    fn make(&self, world: &mut World, place: Option<(i64, Option<Value>)>) {
        let mut owner = self.job.clone();
        let template = &mut owner["spec"]["template"];
        template["metadata"]["finalizers"] = json!([TRACKING]);
        let name = text(&self.job["metadata"], "name").to_owned();
        let mut prefix = format!("{name}-");
        let number = place.as_ref().map(|(index, _)| index.to_string()).unwrap_or_default();
        let mut labels: Vec<(&str, &str)> = Vec::new();
        if let Some((index, before)) = place {
            prefix = format!("{name}-{index}-");
            template["spec"]["hostname"] = json!(format!("{name}-{index}"));
            indexes::tell_containers(&mut template["spec"]);
            let annotations = &mut template["metadata"]["annotations"];
            annotations[INDEX] = json!(number);
            labels.push((INDEX, &number));
            if self.index_limit().is_some() {
                let counts = before.as_ref().map(|pod| self.meaning(pod) != Meaning::Ignored);
                let known = |key: &str| before.as_ref().map_or(0, |pod| annotated(pod, key));
                let failures = known(FAILURES) + i64::from(counts == Some(true));
                let ignored = known(IGNORED_FAILURES) + i64::from(counts == Some(false));
                annotations[FAILURES] = json!(failures.to_string());
                if ignored > 0 {
                    annotations[IGNORED_FAILURES] = json!(ignored.to_string());
                }
            }
        }
        if let Some(made) = pod::make_as(world, &self.cluster, &owner, &labels, &prefix, None) {
            let message = format!("Created pod: {made}");
            event::normal(world, &self.cluster, &self.job, "SuccessfulCreate", &message, WHO);
        }
    }

    /// Counts pods that have ended, each once, and lets go of them. Of a Job that fails, those that still run have
    /// failed with it.
    fn count_ended(&mut self, world: &mut World, pods: &[(String, Value)], tally: &Tally) {
        let (mut succeeded, mut failed) = (self.count("succeeded"), self.count("failed"));
        let verdict = self.verdict().map(|(name, ..)| name);
        let mut was_counted = false;
        for (key, pod) in pods.iter().filter(|(_, pod)| is_tracked(pod)) {
            let is_final = pod::is_ending(&self.job) || verdict.is_some() || has_succeeded(pod);
            let has_failed = self.has_failed(pod);
            if !is_final && (!has_failed || tally.kept.contains(key)) {
                continue;
            }
            let is_asked_for = !self.is_indexed() || self.valid_index(pod).is_some();
            if has_succeeded(pod) {
                succeeded += 1;
            } else if (has_failed || verdict == Some("Failed")) && is_asked_for && self.meaning(pod) != Meaning::Ignored
            {
                failed += 1;
            }
            untrack(world, &self.cluster, key);
            was_counted = true;
        }
        if self.is_indexed() {
            succeeded = tally.done.count();
            if succeeded > 0 {
                self.status["completedIndexes"] = json!(tally.done.write());
            }
            if self.index_limit().is_some() {
                self.status["failedIndexes"] = json!(tally.given_up.write());
            }
        }
        for (name, count) in [("succeeded", succeeded), ("failed", failed)] {
            self.tell(name, count);
        }
        if was_counted {
            let (failures, last) = tally.backoff;
            world.put(MEMORY, &self.id(), json!({ "failures": failures, "last": last.map(moment::text) }));
        }
    }

    /// Writes a count; none goes without saying.
    fn tell(&mut self, name: &str, count: i64) {
        if count > 0 {
            self.status[name] = json!(count);
        } else if let Some(status) = self.status.as_object_mut() {
            status.remove(name);
        }
    }

    fn tell_counts(&mut self) {
        let ready = self.active().filter(|(_, pod)| pod::is_ready(pod)).count();
        let (active, terminating) = (size(self.active().count()), self.terminating().count());
        self.tell("active", active);
        self.status["ready"] = json!(ready);
        self.status["terminating"] = json!(terminating);
        self.status["uncountedTerminatedPods"] = json!({});
    }

    /// It is over once its last pod has ended.
    fn finish(&mut self, world: &mut World, name: &'static str, reason: &str, message: &str) {
        if self.terminating().next().is_some() || !self.note(name, "True", reason, message) {
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
        if let Some(deadline) = self.deadline().filter(|_| self.verdict().is_none() && !self.is_suspended()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::{self, pass};

    fn world() -> World {
        stage::world(&["n1"])
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
    }

    /// Lets the pods with these indexes end with this code.
    fn finish(world: &mut World, indexes: &[i64], code: i64) {
        let now = world.now_text();
        let store = world.store_mut("prod").unwrap();
        let keys: Vec<String> = store.list("pods").keys().cloned().collect();
        for key in keys {
            store.change("pods", &key, |pod| {
                let is_meant = index_of(pod).is_none_or(|index| indexes.contains(&index));
                if is_meant && text(&pod["status"], "phase") == "Running" {
                    pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
                    pod["status"]["containerStatuses"][0]["state"] =
                        json!({ "terminated": { "exitCode": code, "finishedAt": now } });
                }
            });
        }
        settle(world);
    }

    fn indexed(spec: Value) -> World {
        let mut world = world();
        let mut all = json!({ "completionMode": "Indexed", "completions": 4, "parallelism": 4 });
        for (key, value) in spec.as_object().unwrap() {
            all[key] = value.clone();
        }
        job(&mut world, all, Some("never"));
        pass(&mut world, 9);
        world
    }

    #[test]
    fn a_rule_decides_what_a_failure_means() {
        let rules = json!({ "rules": [
            { "action": "Ignore", "onExitCodes": { "operator": "In", "values": [7] } },
            { "action": "FailJob", "onExitCodes": { "operator": "In", "values": [42] } },
        ] });
        let mut world = world();
        job(&mut world, json!({ "backoffLimit": 0, "completions": 1, "podFailurePolicy": rules }), Some("never"));
        pass(&mut world, 9);
        finish(&mut world, &[], 7);
        assert_eq!((&status(&world)["failed"], condition(&world, "Failed")), (&Value::Null, is("", "")));
        pass(&mut world, 30);
        assert_eq!(status(&world)["ready"], 1, "another one runs");
        finish(&mut world, &[], 42);
        pass(&mut world, 10);
        assert_eq!(
            (&status(&world)["failed"], condition(&world, "Failed")),
            (&json!(1), is("True", "PodFailurePolicy"))
        );
    }

    #[test]
    fn every_index_has_failures_of_its_own() {
        let mut world = indexed(json!({ "backoffLimitPerIndex": 1, "backoffLimit": 99 }));
        finish(&mut world, &[1], 1);
        assert_eq!((&status(&world)["failed"], &status(&world)["active"]), (&Value::Null, &json!(3)), "it waits");
        pass(&mut world, 25);
        assert_eq!((&status(&world)["failed"], &status(&world)["ready"]), (&json!(1), &json!(4)));
        finish(&mut world, &[1], 1);
        assert_eq!(status(&world)["failedIndexes"], "1");
        finish(&mut world, &[0, 2, 3], 0);
        assert_eq!(condition(&world, "Failed"), is("True", "FailedIndexes"));
        assert_eq!(status(&world)["completedIndexes"], "0,2,3");
        let mut strict = indexed(json!({ "backoffLimitPerIndex": 0, "backoffLimit": 99, "maxFailedIndexes": 1 }));
        finish(&mut strict, &[1, 2], 1);
        pass(&mut strict, 10);
        assert_eq!(condition(&strict, "Failed"), is("True", "MaxFailedIndexesExceeded"));
    }

    #[test]
    fn a_job_is_done_when_its_policy_says_so() {
        let mut world = indexed(json!({ "successPolicy": { "rules": [{ "succeededIndexes": "0" }] } }));
        finish(&mut world, &[1], 0);
        assert_eq!(condition(&world, "SuccessCriteriaMet"), is("", ""));
        finish(&mut world, &[0], 0);
        assert_eq!(condition(&world, "SuccessCriteriaMet"), is("True", "SuccessPolicy"));
        assert_eq!(condition(&world, "Complete"), is("", ""), "others still end");
        pass(&mut world, 10);
        assert_eq!(condition(&world, "Complete"), is("True", "SuccessPolicy"));
        assert_eq!((&status(&world)["succeeded"], &status(&world)["failed"]), (&json!(2), &Value::Null));
    }

    #[test]
    fn a_pod_is_replaced_when_it_ends_or_when_it_has_ended() {
        for (policy, at_once) in [("TerminatingOrFailed", true), ("Failed", false)] {
            let mut world = world();
            job(&mut world, json!({ "completions": 1, "podReplacementPolicy": policy }), Some("never"));
            pass(&mut world, 9);
            let key = world.store("prod").unwrap().list("pods").keys().next().cloned().unwrap();
            kube::delete(&mut world, "prod", "pods", &key);
            settle(&mut world);
            assert_eq!(status(&world)["failed"].is_null(), !at_once, "{policy}");
            assert_eq!(status(&world)["terminating"], 1, "{policy}");
            pass(&mut world, 40);
            assert_eq!(status(&world)["ready"], 1, "{policy}");
        }
    }

    #[test]
    fn pods_that_are_no_longer_wanted_have_not_failed() {
        let mut world = world();
        job(&mut world, json!({ "completions": 5, "parallelism": 3 }), Some("never"));
        pass(&mut world, 9);
        world.store_mut("prod").unwrap().change(JOBS, "default/sum", |job| job["spec"]["parallelism"] = json!(1));
        settle(&mut world);
        pass(&mut world, 10);
        assert_eq!((&status(&world)["active"], &status(&world)["failed"]), (&json!(1), &Value::Null));
    }

    #[test]
    fn a_job_of_thousands_of_millions_goes_on_where_it_stands() {
        let mut world = world();
        let spec =
            json!({ "completions": 2_000_000_000, "parallelism": 2, "completionMode": "Indexed", "suspend": true });
        job(&mut world, spec, Some("never"));
        world.store_mut("prod").unwrap().change(JOBS, "default/sum", |job| {
            job["status"]["completedIndexes"] = json!("0-6,8-1999999997");
            job["spec"]["suspend"] = json!(false);
        });
        settle(&mut world);
        let pods = world.store("prod").unwrap().list("pods").clone();
        assert_eq!(pods.values().filter_map(index_of).collect::<Vec<_>>(), [1_999_999_998, 7]);
        assert_eq!(status(&world)["succeeded"], 1_999_999_997);
    }

    #[test]
    fn somebody_elses_job_is_left_alone() {
        let mut world = world();
        job(&mut world, json!({ "completions": 1, "managedBy": "example.com/queue" }), None);
        pass(&mut world, 60);
        assert!(world.store("prod").unwrap().list("pods").is_empty());
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
