//! Eviction: a deletion that a disruption budget may hold up.

use serde_json::{Value, json};

use super::kinds;
use super::remove::{self, Options};
use super::store::{Store, key};
use super::{Problem, status};
use crate::twin::physics::budget::{BUDGETS, covers};
use crate::twin::physics::pod;
use crate::twin::physics::selection::text;
use crate::twin::world::World;

/// Evicts a pod, where its budget lets it go.
pub fn evict(
    world: &mut World,
    cluster: &str,
    namespace: &str,
    name: &str,
    eviction: &Value,
    dry_run: bool,
) -> Result<Value, Problem> {
    let store = world.store(cluster).ok_or_else(|| status::internal("the API server has stopped"))?;
    let Some(pods) = kinds::of_table(store, "pods") else { return Err(status::no_such_path()) };
    if eviction["metadata"]["name"].as_str().unwrap_or_default() != name {
        return Err(status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = Options::read(&eviction["deleteOptions"])?;
    options.dry_run |= dry_run;
    let key = key(Some(namespace), name);
    let Some(found) = store.get("pods", &key) else { return Err(status::not_found(&pods, name)) };
    let is_exempt =
        matches!(text(&found["status"], "phase"), "Succeeded" | "Failed" | "Pending") || pod::is_ending(found);
    let mut held_by = None;
    if !is_exempt && !world.is_off("disruption budgets") {
        match *budgets_of(store, namespace, found) {
            [] => {}
            [budget] => held_by = permit(budget, found)?,
            // The real server answers this with a failure in the body of a success.
            _ => return Ok(more_than_one()),
        }
    }
    remove::check(world, cluster, &pods, &key, &options)?;
    if !options.dry_run {
        let now = world.now_text();
        if let Some(store) = world.store_mut(cluster) {
            if let Some(budget) = held_by {
                store.change(BUDGETS, &super::store::key(Some(namespace), &budget), |budget| spend(budget, name, &now));
            }
            let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting", "lastProbeTime": null });
            store.change("pods", &key, |pod| {
                pod::set_condition(pod, &now, condition);
            });
        }
        // What was to be deleted in this version only has another one by now, through this.
        options.forget_version();
    }
    remove::delete(world, cluster, &pods, &key, &options)?;
    Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
}

fn more_than_one() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500, "message":
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support." })
}

fn budgets_of<'s>(store: &'s Store, namespace: &str, pod: &Value) -> Vec<&'s Value> {
    let here = store.within(BUDGETS, namespace).map(|(_, budget)| budget);
    here.filter(|budget| covers(budget, &pod["metadata"]["labels"])).collect()
}

/// The name of the budget that pays for an eviction; none: it costs nothing. Refuses one that is not allowed.
fn permit(budget: &Value, found: &Value) -> Result<Option<String>, Problem> {
    let name = text(&budget["metadata"], "name");
    let status = &budget["status"];
    let count = |name: &str| status[name].as_i64().unwrap_or(0);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    // One that is not ready is not counted among the healthy: where those are enough nothing is lost with it.
    if !pod::has_condition(found, "Ready") {
        let is_free = text(&budget["spec"], "unhealthyPodEvictionPolicy") == "AlwaysAllow";
        if is_free || (healthy >= desired && desired > 0) {
            return Ok(None);
        }
    }
    if count("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(status::disruption(&cause, 10));
    }
    if count("disruptionsAllowed") > 0 {
        return Ok(Some(name.to_owned()));
    }
    let condition = &status["conditions"][0];
    let message = text(condition, "message");
    let cause = if text(condition, "reason") == "SyncFailed" && !message.is_empty() {
        format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}")
    } else if healthy <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    };
    Err(status::disruption(&cause, 0))
}

/// One disruption less is allowed, and the pod counts as going.
fn spend(budget: &mut Value, pod: &str, now: &str) {
    let left = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) - 1;
    budget["status"]["disruptionsAllowed"] = json!(left.max(0));
    budget["status"]["disruptedPods"][pod] = json!(now);
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Wire, pod};
    use serde_json::{Value, json};

    const PODS: &str = "/api/v1/namespaces/default/pods";
    const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

    /// Pods that run, without anybody who would end or replace them.
    fn wire(budget: Value) -> Wire {
        let mut wire = Wire::new();
        for name in ["a", "b", "c"] {
            wire.post(PODS, pod(name));
            let store = wire.world.store_mut("prod").unwrap();
            store.change("pods", &format!("default/{name}"), |pod| {
                pod["spec"]["nodeName"] = json!("n1");
                pod["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            });
        }
        let mut spec = budget;
        spec["selector"] = json!({ "matchLabels": { "app": "web" } });
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
            "spec": spec });
        let (code, told) = wire.post(BUDGETS, budget);
        assert_eq!(code, 201, "{told}");
        wire
    }

    fn evict(wire: &mut Wire, name: &str) -> (u16, Value) {
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        wire.post(&format!("{PODS}/{name}/eviction"), eviction)
    }

    #[test]
    fn a_budget_lets_so_many_go_and_no_more() {
        let mut wire = wire(json!({ "minAvailable": 2 }));
        assert_eq!(wire.get(&format!("{BUDGETS}/web")).1["status"]["disruptionsAllowed"], 1);
        let (code, told) = evict(&mut wire, "a");
        assert_eq!((code, &told["status"]), (201, &json!("Success")));
        let (_, gone) = wire.get(&format!("{PODS}/a"));
        assert_eq!(gone["status"]["conditions"][1]["reason"], "EvictionByEvictionAPI");
        let (code, told) = evict(&mut wire, "b");
        assert_eq!((code, &told["reason"]), (429, &json!("TooManyRequests")));
        assert_eq!(told["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
        assert_eq!(
            told["details"]["causes"],
            json!([{ "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently" }])
        );
    }

    #[test]
    fn what_is_not_ready_goes_while_the_others_are_enough() {
        let unready = |wire: &mut Wire, name: &str| {
            let store = wire.world.store_mut("prod").unwrap();
            store.change("pods", &format!("default/{name}"), |pod| {
                pod["status"]["conditions"][0]["status"] = json!("False")
            });
        };
        let mut enough = wire(json!({ "minAvailable": 2 }));
        unready(&mut enough, "a");
        enough.get(PODS);
        assert_eq!(evict(&mut enough, "b").0, 429, "a ready one is missed");
        assert_eq!(evict(&mut enough, "a").0, 201);
        let mut few = wire(json!({ "minAvailable": 3 }));
        unready(&mut few, "a");
        few.get(PODS);
        assert_eq!(evict(&mut few, "a").0, 429);
        let mut free = wire(json!({ "minAvailable": 3, "unhealthyPodEvictionPolicy": "AlwaysAllow" }));
        unready(&mut free, "a");
        free.get(PODS);
        assert_eq!(evict(&mut free, "a").0, 201);
    }

    #[test]
    fn two_budgets_are_one_too_many_and_a_dry_run_spends_nothing() {
        let mut wire = wire(json!({ "maxUnavailable": 3, "minAvailable": null }));
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "a" } });
        wire.post(&format!("{PODS}/a/eviction?dryRun=All"), eviction);
        assert_eq!(wire.get(&format!("{PODS}/a")).1["metadata"]["deletionTimestamp"], Value::Null);
        let other = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "other" },
            "spec": { "minAvailable": 0, "selector": {} } });
        assert_eq!(wire.post(BUDGETS, other).0, 201);
        let (_, told) = evict(&mut wire, "a");
        assert_eq!((&told["status"], &told["code"]), (&json!("Failure"), &json!(500)));
        let misnamed = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "b" } });
        assert_eq!(wire.post(&format!("{PODS}/a/eviction"), misnamed).0, 400);
    }
}
