//! PodDisruptionBudgets: how many of their pods are healthy, should be, and may go.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{self, share};
use super::selection::{list, matches, text};
use super::timer::{self, time};
use super::{Controller, event};
use crate::twin::kube::scale;
use crate::twin::kube::store::{Store, key_of};
use crate::twin::world::World;

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[Controller {
    name: "disruption budgets count",
    watches: &[BUDGETS_TABLE, "kube/deployments.apps", "kube/pods", "kube/replicasets.apps", "kube/statefulsets.apps"],
    run: count,
}];

/// The table of budgets.
pub const BUDGETS: &str = "poddisruptionbudgets.policy";
const BUDGETS_TABLE: &str = "kube/poddisruptionbudgets.policy";

/// How long an eviction may take until it counts as not having happened. Kubernetes: the disruption controller's
/// `DeletionTimeout`.
const EVICTION_SECONDS: i64 = 120;

fn count(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let now = world.now;
        let budgets = concerned(world, &cluster, store);
        let unmanaged = unmanaged(store, &budgets);
        let statuses: Vec<(String, Value, Option<Timestamp>, bool)> = budgets
            .into_iter()
            .filter_map(|key| Some((store.get(BUDGETS, &key)?, key)))
            .filter(|(budget, _)| !pod::is_ending(budget))
            .map(|(budget, key)| {
                let (status, next, is_empty) = status(store, budget, now);
                (key, status, next, is_empty)
            })
            .collect();
        for (key, status, next, is_empty) in statuses {
            let Some(store) = world.store_mut(&cluster) else { break };
            let is_news = store.get(BUDGETS, &key).is_some_and(|budget| budget["status"] != status);
            store.change(BUDGETS, &key, |budget| budget["status"] = status);
            let told = store.get(BUDGETS, &key).cloned().filter(|_| is_news);
            if let Some(budget) = told.as_ref().filter(|_| is_empty) {
                event::normal(world, &cluster, budget, "NoPods", "No matching pods found", "controllermanager");
            }
            if let Some(budget) = told.filter(|_| unmanaged.contains(&key)) {
                tell_unmanaged(world, &cluster, &budget);
            }
            if let Some(next) = next {
                timer::look_at(world, &cluster, BUDGETS, &key, next);
            }
        }
    }
}

/// Budgets that would have to know how many pods there should be, and have some that nobody controls.
fn unmanaged(store: &Store, budgets: &BTreeSet<String>) -> BTreeSet<String> {
    let is_lost = |key: &&String| {
        store.get(BUDGETS, key).is_some_and(|budget| {
            let spec = &budget["spec"];
            let counts_owners = !spec["maxUnavailable"].is_null() || spec["minAvailable"].is_string();
            counts_owners && covered(store, budget).any(|pod| pod::controller_of(pod).is_none())
        })
    };
    budgets.iter().filter(is_lost).cloned().collect()
}

fn tell_unmanaged(world: &mut World, cluster: &str, budget: &Value) {
    let selector = &budget["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
    let rules = list(&selector["matchExpressions"]).iter().map(|one| {
        let values: Vec<&str> = list(&one["values"]).iter().filter_map(Value::as_str).collect();
        let (key, operator) = (text(one, "key"), text(one, "operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
    });
    let rules: String = rules.collect();
    let message = format!(
        "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{rules}}},}}) were found to be unmanaged. As a result, the status \
         of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods \
         please set \".spec.minAvailable\" field of the PDB to an integer value."
    );
    event::warning(world, cluster, budget, "UnmanagedPods", &message, "controllermanager");
}

/// Budgets that changed, and those of pods that did; where owners changed, those of their namespace.
fn concerned(world: &World, cluster: &str, store: &Store) -> BTreeSet<String> {
    let changes = world.changes();
    let changed = changes.of(cluster);
    let mut keys = changed.keys(BUDGETS).clone();
    if store.list(BUDGETS).is_empty() {
        return keys;
    }
    for change in changed.pods() {
        let here = store.within(BUDGETS, &change.namespace);
        let fitting = here.filter(|(_, budget)| change.concerns(|labels| covers(budget, labels)));
        keys.extend(fitting.map(|(key, _)| key.clone()));
    }
    let owners = ["deployments.apps", "replicasets.apps", "statefulsets.apps"].map(|kind| changed.keys(kind));
    let namespaces: BTreeSet<&str> =
        owners.into_iter().flatten().filter_map(|key| key.split_once('/')).map(|(namespace, _)| namespace).collect();
    for namespace in namespaces {
        keys.extend(store.within(BUDGETS, namespace).map(|(key, _)| key.clone()));
    }
    keys
}

/// Whether a budget is for pods with these labels. An empty selector takes all, a missing one none.
pub fn covers(budget: &Value, labels: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.is_object() && matches(selector, labels)
}

/// The pods of a budget.
fn covered<'s>(store: &'s Store, budget: &'s Value) -> impl Iterator<Item = &'s Value> {
    let pods = store.pods_with(text(&budget["metadata"], "namespace"), &budget["spec"]["selector"]["matchLabels"]);
    pods.map(|(_, pod)| pod).filter(|pod| covers(budget, &pod["metadata"]["labels"]))
}

/// The status of a budget, when to look again, and whether it has no pods.
fn status(store: &Store, budget: &Value, now: Timestamp) -> (Value, Option<Timestamp>, bool) {
    let pods: Vec<&Value> = covered(store, budget).collect();
    let before = &budget["status"];
    let mut status = json!({ "observedGeneration": budget["metadata"]["generation"] });
    let (expected, desired) = match expectation(store, &budget["spec"], &pods) {
        Ok(found) => found,
        Err(why) => {
            for count in ["currentHealthy", "desiredHealthy", "expectedPods", "observedGeneration"] {
                status[count] = json!(before[count].as_i64().unwrap_or(0));
            }
            status["disruptionsAllowed"] = json!(0);
            let generation = status["observedGeneration"].clone();
            note(&mut status, before, now, ("False", "SyncFailed", &why), generation);
            return (status, None, pods.is_empty());
        }
    };
    let (evicted, next) = evicted(before, &pods, now);
    let is_healthy = |pod: &&&Value| pod::is_ready(pod) && !evicted.contains_key(text(&pod["metadata"], "name"));
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    for (name, count) in [
        ("currentHealthy", healthy),
        ("desiredHealthy", desired),
        ("disruptionsAllowed", allowed),
        ("expectedPods", expected),
    ] {
        status[name] = json!(count);
    }
    if !evicted.is_empty() {
        status["disruptedPods"] = json!(evicted);
    }
    let generation = status["observedGeneration"].clone();
    let is = if allowed > 0 { ("True", "SufficientPods", "") } else { ("False", "InsufficientPods", "") };
    note(&mut status, before, now, is, generation);
    (status, next, pods.is_empty())
}

/// Writes whether disruption is allowed, as it will stand beside the counts.
fn note(status: &mut Value, before: &Value, now: Timestamp, is: (&str, &str, &str), generation: Value) {
    let (word, reason, message) = is;
    let known = list(&before["conditions"]).iter().find(|one| one["type"] == "DisruptionAllowed");
    let since = known.filter(|one| one["status"] == word).map(|one| one["lastTransitionTime"].clone());
    status["conditions"] = json!([{ "type": "DisruptionAllowed", "status": word, "reason": reason, "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since.unwrap_or_else(|| json!(crate::twin::world::moment::text(now))) }]);
}

/// Pods that were evicted and have not begun to end, and when that will be too late.
fn evicted(before: &Value, pods: &[&Value], now: Timestamp) -> (BTreeMap<String, Value>, Option<Timestamp>) {
    let mut still = BTreeMap::new();
    let mut next: Option<Timestamp> = None;
    for pod in pods.iter().filter(|pod| !pod::is_ending(pod)) {
        let name = text(&pod["metadata"], "name");
        let Some(since) = time(&before["disruptedPods"], name) else { continue };
        let until = timer::after(since, EVICTION_SECONDS);
        if until >= now {
            next = Some(next.map_or(until, |next| next.min(until)));
            still.insert(name.to_owned(), before["disruptedPods"][name].clone());
        }
    }
    (still, next)
}

/// How many pods there should be, and how many of them healthy.
fn expectation(store: &Store, spec: &Value, pods: &[&Value]) -> Result<(i64, i64), String> {
    let (least, most) = (&spec["minAvailable"], &spec["maxUnavailable"]);
    if !most.is_null() {
        let expected = wanted(store, pods)?;
        return Ok((expected, (expected - share(most, expected, "0", true)).max(0)));
    }
    if let Some(least) = least.as_i64() {
        return Ok((i64::try_from(pods.len()).unwrap_or(i64::MAX), least));
    }
    if least.is_string() {
        let expected = wanted(store, pods)?;
        return Ok((expected, share(least, expected, "0", true)));
    }
    Ok((0, 0))
}

/// How many pods the owners of these want together.
fn wanted(store: &Store, pods: &[&Value]) -> Result<i64, String> {
    let mut scales: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods {
        let Some(uid) = pod::controller_of(pod) else { continue };
        let Some((kind, _, owner)) = store.by_uid(uid) else {
            return Err(format!("found no controllers for pod \"{}\"", text(&pod["metadata"], "name")));
        };
        let above = pod::controller_of(owner).and_then(|uid| store.by_uid(uid));
        let (kind, owner) = match above {
            Some(("deployments.apps", _, deployment)) if kind == "replicasets.apps" => ("deployments.apps", deployment),
            _ => (kind, owner),
        };
        let Some(replicas) = scale::replicas_of(store, kind, owner) else {
            return Err(format!("{kind} does not implement the scale subresource"));
        };
        scales.insert(key_of(owner) + " " + kind, replicas);
    }
    Ok(scales.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube;
    use crate::twin::physics::settle;

    fn world(budget: Value, ready: &[bool]) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        for behaviour in ["replica sets keep their count", "pods are scheduled", "pods of gone nodes go"] {
            world.switch_off(behaviour);
        }
        let set = json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": { "replicas": 4,
            "selector": { "matchLabels": { "app": "web" } }, "template": {} } });
        kube::create(&mut world, "prod", "replicasets.apps", set);
        let owner = world.store("prod").unwrap().get("replicasets.apps", "default/web").cloned().unwrap();
        for (number, ready) in ready.iter().enumerate() {
            let status = if *ready { "True" } else { "False" };
            let pod = json!({ "metadata": { "name": format!("web-{number}"), "namespace": "default",
                "labels": { "app": "web" }, "ownerReferences": pod::owned_by(&owner) }, "spec": { "nodeName": "n" },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] } });
            kube::create(&mut world, "prod", "pods", pod);
        }
        let mut spec = json!({ "selector": { "matchLabels": { "app": "web" } } });
        for (key, value) in budget.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let budget = json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": spec });
        kube::create(&mut world, "prod", BUDGETS, budget);
        settle(&mut world);
        world
    }

    fn status_in(world: &World) -> Value {
        world.store("prod").unwrap().get(BUDGETS, "default/web").unwrap()["status"].clone()
    }

    #[test]
    fn numbers_and_shares_are_counted_as_the_controller_does() {
        let all = [true, true, true, true];
        let some = [true, true, false, true];
        let rows = [
            (json!({ "minAvailable": 3 }), &all, (4, 3, 1)),
            (json!({ "minAvailable": "60%" }), &all, (4, 3, 1)),
            (json!({ "maxUnavailable": 1 }), &all, (4, 3, 1)),
            (json!({ "maxUnavailable": "30%" }), &some, (4, 2, 1)),
            (json!({ "minAvailable": "100%" }), &some, (4, 4, 0)),
            (json!({ "minAvailable": 9 }), &all, (4, 9, 0)),
        ];
        for (budget, ready, (expected, desired, allowed)) in rows {
            let status = status_in(&world(budget.clone(), ready));
            let found =
                ["expectedPods", "desiredHealthy", "disruptionsAllowed"].map(|name| status[name].as_i64().unwrap());
            assert_eq!(found, [expected, desired, allowed], "{budget}");
            let word = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
            assert_eq!(status["conditions"][0]["reason"], word);
        }
    }

    #[test]
    fn a_share_counts_pods_that_are_wanted_and_not_there() {
        let status = status_in(&world(json!({ "minAvailable": "50%" }), &[true, true, true]));
        assert_eq!((&status["expectedPods"], &status["disruptionsAllowed"]), (&json!(4), &json!(1)));
    }

    #[test]
    fn pods_without_a_scale_can_not_be_counted() {
        let mut world = world(json!({ "maxUnavailable": 1 }), &[]);
        world.switch_off("jobs run");
        let job = json!({ "metadata": { "name": "job", "namespace": "default" }, "spec": { "suspend": true } });
        kube::create(&mut world, "prod", "jobs.batch", job);
        let job = world.store("prod").unwrap().get("jobs.batch", "default/job").cloned().unwrap();
        let pod = json!({ "metadata": { "name": "a", "namespace": "default", "labels": { "app": "web" },
            "ownerReferences": pod::owned_by(&job) }, "spec": {}, "status": { "phase": "Pending" } });
        kube::create(&mut world, "prod", "pods", pod);
        settle(&mut world);
        let condition = &status_in(&world)["conditions"][0];
        assert_eq!(condition["message"], "jobs.batch does not implement the scale subresource");
        assert_eq!(condition["reason"], "SyncFailed");
    }
}
