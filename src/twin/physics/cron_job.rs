//! CronJobs: a Job whenever the schedule says so.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::job::is_over;
use super::pod;
use super::schedule::{Schedule, zone};
use super::selection::{list, text};
use super::timer::time;
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::store::{key, key_of};
use crate::twin::world::{World, moment};

const CRON_JOBS: &str = "cronjobs.batch";
const JOBS: &str = "jobs.batch";
const WHO: &str = "cronjob-controller";

/// Lets every CronJob that something concerns do what is due.
pub fn run(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let concerned = world.changes().of(&cluster).concerned(store.index(), CRON_JOBS);
        for key in concerned {
            let found = world.store(&cluster).and_then(|store| store.get(CRON_JOBS, &key)).cloned();
            if let Some(cron) = found {
                Cron { cluster: cluster.clone(), key, status: cron["status"].clone(), cron, now: world.now }
                    .step(world);
            }
        }
    }
}

struct Cron {
    cluster: String,
    key: String,
    cron: Value,
    status: Value,
    now: Timestamp,
}

impl Cron {
    fn jobs(&self, world: &World) -> Vec<Value> {
        let Some(store) = world.store(&self.cluster) else { return Vec::new() };
        store.owned(text(&self.cron["metadata"], "uid"), JOBS).map(|(_, job)| job.clone()).collect()
    }

    fn step(mut self, world: &mut World) {
        self.follow(world);
        if !pod::is_ending(&self.cron) {
            self.clean(world);
            self.schedule(world);
        }
        let status = std::mem::take(&mut self.status);
        if let Some(store) = world.store_mut(&self.cluster) {
            store.change(CRON_JOBS, &self.key, |cron| {
                cron["status"] = if status.is_null() { json!({}) } else { status }
            });
        }
    }

    /// Notes which of its Jobs are under way.
    fn follow(&mut self, world: &mut World) {
        let jobs = self.jobs(world);
        let mut active = list(&self.status["active"]).to_vec();
        for job in &jobs {
            let (name, uid) = (text(&job["metadata"], "name"), &job["metadata"]["uid"]);
            let known = active.iter().position(|one| one["uid"] == *uid);
            if !is_over(job) {
                if known.is_none() {
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    event::warning(world, &self.cluster, &self.cron, "UnexpectedJob", &message, WHO);
                }
                continue;
            }
            let is_done = pod::has_condition(job, "Complete");
            if let Some(at) = known {
                active.remove(at);
                let word = if is_done { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {name}, condition: {word}");
                event::normal(world, &self.cluster, &self.cron, "SawCompletedJob", &message, WHO);
            }
            let ended = time(&job["status"], "completionTime").filter(|_| is_done);
            if ended > time(&self.status, "lastSuccessfulTime") {
                self.status["lastSuccessfulTime"] = job["status"]["completionTime"].clone();
            }
        }
        let is_there = |one: &Value| jobs.iter().any(|job| job["metadata"]["uid"] == one["uid"]);
        for missing in active.iter().filter(|one| !is_there(one)) {
            let message = format!("Active job went missing: {}", text(missing, "name"));
            event::normal(world, &self.cluster, &self.cron, "MissingJob", &message, WHO);
        }
        active.retain(is_there);
        self.set_active(active);
    }

    fn set_active(&mut self, active: Vec<Value>) {
        if !active.is_empty() {
            self.status["active"] = json!(active);
        } else if let Some(status) = self.status.as_object_mut() {
            status.remove("active");
        }
    }

    /// Jobs that are over go, but for the latest few.
    fn clean(&self, world: &mut World) {
        let limits = [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)];
        for (condition, limit, usual) in limits {
            let limit = self.cron["spec"][limit].as_u64().unwrap_or(usual);
            let mut over = self.jobs(world);
            over.retain(|job| pod::has_condition(job, condition) && !pod::is_ending(job));
            over.sort_by_key(|job| (text(&job["status"], "startTime").to_owned(), key_of(job)));
            let count = over.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
            for job in over.iter().take(count) {
                kube::delete(world, &self.cluster, JOBS, &key_of(job));
                let message = format!("Deleted job {}", text(&job["metadata"], "name"));
                event::normal(world, &self.cluster, &self.cron, "SuccessfulDelete", &message, WHO);
            }
        }
    }

    /// Starts what is due, and waits for the next time.
    fn schedule(&mut self, world: &mut World) {
        let spec = self.cron["spec"].clone();
        let name = text(&spec, "timeZone");
        let Some(zone) = zone(name) else {
            let message = format!("invalid timeZone: \"{name}\": unknown time zone {name}");
            return event::warning(world, &self.cluster, &self.cron, "UnknownTimeZone", &message, WHO);
        };
        if spec["suspend"] == true {
            return;
        }
        let written = text(&spec, "schedule");
        let Some(schedule) = Schedule::parse(written) else {
            let message = format!("unparseable schedule: \"{written}\"");
            return event::warning(world, &self.cluster, &self.cron, "UnparseableSchedule", &message, WHO);
        };
        let due = self.due(&schedule, &zone);
        if let Some(due) = due {
            self.start(world, due, &zone);
        }
        if let Some(next) = schedule.next(self.now, &zone) {
            timer::look_at(world, &self.cluster, CRON_JOBS, &self.key, next);
        }
    }

    /// The latest time that has passed since it last looked.
    fn due(&self, schedule: &Schedule, zone: &TimeZone) -> Option<Timestamp> {
        let since =
            time(&self.status, "lastScheduleTime").or_else(|| time(&self.cron["metadata"], "creationTimestamp"))?;
        let deadline = self.cron["spec"]["startingDeadlineSeconds"].as_i64();
        let since = deadline.map_or(since, |seconds| since.max(timer::after(self.now, -seconds)));
        let mut due = None;
        let mut next = schedule.next(since, zone);
        while let Some(time) = next.filter(|time| *time <= self.now) {
            due = Some(time);
            next = schedule.next(time, zone);
        }
        due
    }

    fn start(&mut self, world: &mut World, due: Timestamp, zone: &TimeZone) {
        let policy = text(&self.cron["spec"], "concurrencyPolicy").to_owned();
        let active = list(&self.status["active"]).to_vec();
        if policy == "Forbid" && !active.is_empty() {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return event::normal(world, &self.cluster, &self.cron, "JobAlreadyActive", message, WHO);
        }
        let namespace = text(&self.cron["metadata"], "namespace").to_owned();
        if policy == "Replace" {
            for job in &active {
                let name = text(job, "name");
                kube::delete(world, &self.cluster, JOBS, &key(Some(&namespace), name));
                let message = format!("Deleted job {name}");
                event::normal(world, &self.cluster, &self.cron, "SuccessfulDelete", &message, WHO);
            }
        }
        let template = &self.cron["spec"]["jobTemplate"];
        // The minute is in the name, so that one time has one Job.
        let name = format!("{}-{}", text(&self.cron["metadata"], "name"), due.as_second() / 60);
        let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.insert("batch.kubernetes.io/cronjob-scheduled-timestamp".to_owned(), json!(shown(due, zone)));
        let job = json!({
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": template["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
                "annotations": annotations,
                "creationTimestamp": moment::text(due),
                "ownerReferences": pod::owned_by(&self.cron),
            },
            "spec": template["spec"],
        });
        kube::create(world, &self.cluster, JOBS, job);
        self.status["lastScheduleTime"] = json!(moment::text(due));
        let made = world.store(&self.cluster).and_then(|store| store.get(JOBS, &key(Some(&namespace), &name)));
        let Some(made) = made else { return };
        let metadata = &made["metadata"];
        let reference = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": namespace,
            "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
        let kept = if policy == "Replace" { Vec::new() } else { active };
        self.set_active(kept.into_iter().chain([reference]).collect());
        let message = format!("Created job {name}");
        event::normal(world, &self.cluster, &self.cron, "SuccessfulCreate", &message, WHO);
    }
}

/// A time as the clocks of a zone show it, with how far they are from UTC.
fn shown(time: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(time);
    if offset == Offset::UTC { moment::text(time) } else { time.display_with_offset(offset).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::{settle, stage};

    fn world(spec: Value, exit: Option<&str>) -> World {
        let mut world = stage::world(&["n1"]);
        let mut annotations = json!({});
        if let Some(exit) = exit {
            annotations["ekskit.dev/exit-code"] = json!(exit);
        }
        let mut cron = json!({ "metadata": { "name": "tick", "namespace": "default" }, "spec": {
            "schedule": "*/5 * * * *", "jobTemplate": { "spec": { "backoffLimit": 0, "completions": 1, "parallelism": 1,
                "template": { "metadata": { "annotations": annotations },
                    "spec": { "restartPolicy": "Never", "hostNetwork": true,
                        "containers": [{ "name": "c", "image": "a:1" }] } } } } } });
        for (key, value) in spec.as_object().unwrap() {
            cron["spec"][key] = value.clone();
        }
        kube::create(&mut world, "prod", CRON_JOBS, cron);
        settle(&mut world);
        world
    }

    fn pass(world: &mut World, minutes: i64) {
        stage::pass(world, 60 * minutes);
    }

    fn jobs(world: &World) -> usize {
        world.store("prod").unwrap().list(JOBS).len()
    }

    fn status(world: &World) -> Value {
        world.store("prod").unwrap().get(CRON_JOBS, "default/tick").unwrap()["status"].clone()
    }

    #[test]
    fn a_job_starts_every_five_minutes_and_the_latest_are_kept() {
        let mut world = world(json!({}), None);
        assert_eq!(jobs(&world), 0);
        pass(&mut world, 6);
        assert_eq!(jobs(&world), 1);
        pass(&mut world, 60);
        assert_eq!(jobs(&world), 3, "successfulJobsHistoryLimit");
        assert!(status(&world)["lastSuccessfulTime"].is_string());
        assert_eq!(status(&world)["active"], Value::Null);
    }

    #[test]
    fn what_still_runs_is_joined_waited_for_or_replaced() {
        for (policy, wanted) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
            let mut world = world(json!({ "concurrencyPolicy": policy }), Some("never"));
            pass(&mut world, 16);
            assert_eq!(list(&status(&world)["active"]).len(), wanted, "{policy}");
            assert_eq!(jobs(&world), wanted, "{policy}");
        }
    }

    #[test]
    fn the_clocks_of_its_time_zone_count() {
        let mut far = world(json!({ "schedule": "0 9 * * *", "timeZone": "Asia/Kolkata" }), None);
        pass(&mut far, 24 * 60);
        let job = far.store("prod").unwrap().list(JOBS).values().next().cloned().unwrap();
        let told = text(&job["metadata"]["annotations"], "batch.kubernetes.io/cronjob-scheduled-timestamp");
        assert!(told.ends_with("T09:00:00+05:30"), "{told}");
        assert_eq!(time(&status(&far), "lastScheduleTime"), told.parse().ok());
        let mut nowhere = world(json!({ "timeZone": "Atlantis/Poseidonis" }), None);
        pass(&mut nowhere, 30);
        assert_eq!(jobs(&nowhere), 0);
    }

    #[test]
    fn a_job_that_somebody_else_starts_from_it_counts_when_it_is_done() {
        let mut world = world(json!({ "schedule": "0 0 1 1 *" }), None);
        let cron = world.store("prod").unwrap().get(CRON_JOBS, "default/tick").cloned().unwrap();
        let job = json!({ "metadata": { "name": "by-hand", "namespace": "default", "ownerReferences": pod::owned_by(&cron) },
            "spec": cron["spec"]["jobTemplate"]["spec"] });
        kube::create(&mut world, "prod", JOBS, job);
        settle(&mut world);
        assert_eq!(status(&world)["active"], Value::Null, "it is not one of its own");
        pass(&mut world, 5);
        assert!(status(&world)["lastSuccessfulTime"].is_string());
    }

    #[test]
    fn a_suspended_one_starts_nothing_and_failures_are_kept_apart() {
        let mut idle = world(json!({ "suspend": true }), None);
        pass(&mut idle, 30);
        assert_eq!(jobs(&idle), 0);
        let mut failing = world(json!({}), Some("1"));
        pass(&mut failing, 29);
        assert_eq!(jobs(&failing), 1, "failedJobsHistoryLimit");
    }
}
