//! HorizontalPodAutoscalers. Nothing runs in a twin, so nothing uses anything: the annotation `ekskit.dev/load` of an
//! autoscaler says how much all pods of its target use together, `cpu=2500m,memory=4Gi,requests=300`, and each pod has
//! its share of that. Without it the autoscaler says what it says on a cluster without metrics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::selection::{list, matches, text, thousandths};
use super::timer::time;
use super::{Controller, event, pod, scheduler, timer};
use crate::twin::kube::store::key;
use crate::twin::kube::{kinds, scale};
use crate::twin::world::{World, moment};

/// What happens by itself.
pub const CONTROLLERS: &[Controller] =
    &[Controller { name: "autoscalers scale", watches: &["kube/horizontalpodautoscalers.autoscaling"], run }];

const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";
const LOAD: &str = "ekskit.dev/load";
const WHO: &str = "horizontal-pod-autoscaler";

/// What autoscalers recommended and did a while ago, as a real one keeps it in its memory.
pub const MEMORY: &str = "twin/autoscalers";

/// Kubernetes docs: `--horizontal-pod-autoscaler-sync-period`.
const PERIOD_SECONDS: i64 = 15;
/// Kubernetes docs: `--horizontal-pod-autoscaler-downscale-stabilization`.
const DOWN_SECONDS: i64 = 300;
/// Kubernetes docs: `--horizontal-pod-autoscaler-tolerance`, in thousandths.
const TOLERANCE: i128 = 100;
/// No behaviour looks further back.
const MEMORY_SECONDS: i64 = 3600;

fn run(world: &mut World) {
    for cluster in world.clusters() {
        let changes = world.changes();
        for key in changes.of(&cluster).keys(AUTOSCALERS) {
            let id = format!("{cluster}/{key}");
            let found = world.store(&cluster).and_then(|store| store.get(AUTOSCALERS, key)).cloned();
            let Some(object) = found.filter(|object| !pod::is_ending(object)) else {
                world.remove(MEMORY, &id);
                continue;
            };
            let memory = world.find(MEMORY, &id).cloned().unwrap_or_default();
            let is_early = time(&memory, "looked").is_some_and(|at| timer::after(at, PERIOD_SECONDS) > world.now);
            if !is_early || memory["generation"] != object["metadata"]["generation"] {
                let scaler = Scaler { cluster: cluster.clone(), key: key.clone(), object, memory, now: world.now };
                scaler.step(world);
                timer::look_at(world, &cluster, AUTOSCALERS, key, timer::after(world.now, PERIOD_SECONDS));
            }
        }
    }
}

struct Scaler {
    cluster: String,
    key: String,
    object: Value,
    memory: Value,
    now: Timestamp,
}

/// What is to be scaled.
struct Target {
    table: String,
    key: String,
    replicas: i64,
    /// Requests of all its ready pods, in thousandths, and how many those are.
    requests: BTreeMap<&'static str, i128>,
    ready: i64,
}

/// What one metric says.
struct Proposal {
    replicas: i64,
    name: String,
    shown: Value,
}

fn ceiling(number: i128, by: i128) -> i64 {
    i64::try_from((number + by - 1).div_euclid(by.max(1))).unwrap_or(i64::MAX)
}

impl Scaler {
    fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    fn step(mut self, world: &mut World) {
        self.memory["looked"] = json!(moment::text(self.now));
        self.memory["generation"] = self.object["metadata"]["generation"].clone();
        self.object["status"]["observedGeneration"] = self.object["metadata"]["generation"].clone();
        match self.target(world) {
            Ok(target) => self.scale(world, &target),
            Err(why) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                self.note("AbleToScale", "False", "FailedGetScale", &message);
                event::warning(world, &self.cluster, &self.object, "FailedGetScale", &why, WHO);
            }
        }
        let status = self.object["status"].clone();
        let id = format!("{}/{}", self.cluster, self.key);
        world.put(MEMORY, &id, self.memory);
        if let Some(store) = world.store_mut(&self.cluster) {
            store.change(AUTOSCALERS, &self.key, |object| object["status"] = status);
        }
    }

    fn note(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let condition = json!({ "type": name, "status": status, "reason": reason, "message": message });
        pod::set_condition(&mut self.object, &moment::text(self.now), condition);
    }

    fn target(&self, world: &World) -> Result<Target, String> {
        let reference = &self.spec()["scaleTargetRef"];
        let store = world.store(&self.cluster).ok_or("the API server has stopped")?;
        let (api_version, kind) = (text(reference, "apiVersion"), text(reference, "kind"));
        let served = kinds::of_object(store, api_version, kind).ok_or_else(|| {
            format!("no matches for kind \"{kind}\" in group \"{}\"", api_version.split('/').next().unwrap_or_default())
        })?;
        let name = text(reference, "name");
        let key = key(self.object["metadata"]["namespace"].as_str(), name);
        let found = store.get(&served.table, &key);
        let found = found.ok_or_else(|| format!("{} \"{name}\" not found", served.resource()))?;
        let replicas = scale::replicas_of(store, &served.table, found)
            .ok_or_else(|| "the server could not find the requested resource".to_owned())?;
        let selector = &found["spec"]["selector"];
        let pods = store.pods_with(text(&self.object["metadata"], "namespace"), &selector["matchLabels"]);
        let own = pods.map(|(_, pod)| pod).filter(|pod| matches(selector, &pod["metadata"]["labels"]));
        let own: Vec<&Value> = own.filter(|pod| pod::is_ready(pod)).collect();
        let sum = |what: &'static str| (what, own.iter().map(|pod| scheduler::requested(pod, what)).sum());
        let requests = [sum("cpu"), sum("memory")].into_iter().collect();
        let ready = i64::try_from(own.len()).unwrap_or(i64::MAX);
        Ok(Target { table: served.table.clone(), key, replicas, requests, ready })
    }

    fn least(&self) -> i64 {
        self.spec()["minReplicas"].as_i64().unwrap_or(1)
    }

    fn most(&self) -> i64 {
        self.spec()["maxReplicas"].as_i64().unwrap_or(1)
    }

    fn scale(&mut self, world: &mut World, target: &Target) {
        let message = "the HPA controller was able to get the target's current scale";
        self.note("AbleToScale", "True", "SucceededGetScale", message);
        let current = target.replicas;
        self.object["status"]["currentReplicas"] = json!(current);
        if self.object["status"]["desiredReplicas"].is_null() {
            self.object["status"]["desiredReplicas"] = json!(0);
        }
        let (wanted, why) = if current == 0 && self.least() != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.note("ScalingActive", "False", "ScalingDisabled", message);
            (0, String::new())
        } else if current > self.most() {
            (self.most(), "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < self.least() {
            (self.least(), "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            match self.by_metrics(world, target) {
                Some(found) => found,
                None => return,
            }
        };
        self.object["status"]["desiredReplicas"] = json!(wanted);
        if wanted == current {
            return;
        }
        scale::resize(world, &self.cluster, &target.table, &target.key, wanted);
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.note("AbleToScale", "True", "SucceededRescale", &message);
        let message = format!("New size: {wanted}; reason: {why}");
        event::normal(world, &self.cluster, &self.object, "SuccessfulRescale", &message, WHO);
        self.object["status"]["lastScaleTime"] = json!(moment::text(self.now));
        self.remember("steps", wanted - current);
    }

    /// How many it should be and why; none: the metrics are not to be had.
    fn by_metrics(&mut self, world: &mut World, target: &Target) -> Option<(i64, String)> {
        let (mut best, mut shown, mut failure): (Option<Proposal>, Vec<Value>, Option<(&str, String)>) =
            (None, Vec::new(), None);
        for metric in self.metrics() {
            match self.propose(&metric, target) {
                Ok(proposal) => {
                    shown.push(proposal.shown.clone());
                    if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                        best = Some(proposal);
                    }
                }
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        self.object["status"]["currentMetrics"] = if shown.is_empty() { Value::Null } else { json!(shown) };
        // Without every metric it does not go down.
        let best = best.filter(|best| failure.is_none() || best.replicas > target.replicas);
        let Some(best) = best else {
            let (reason, why) = failure.unwrap_or(("FailedGetResourceMetric", "no metrics".to_owned()));
            let message = format!("the HPA was unable to compute the replica count: {why}");
            self.note("ScalingActive", "False", reason, &message);
            event::warning(world, &self.cluster, &self.object, reason, &why, WHO);
            let message = format!("invalid metrics (1 invalid out of {}), first error is: {why}", self.metrics().len());
            event::warning(world, &self.cluster, &self.object, "FailedComputeMetricsReplicas", &message, WHO);
            return None;
        };
        let message = format!("the HPA was able to successfully calculate a replica count from {}", best.name);
        self.note("ScalingActive", "True", "ValidMetricFound", &message);
        let why = match best.replicas.cmp(&target.replicas) {
            std::cmp::Ordering::Greater => format!("{} above target", best.name),
            _ => "All metrics below target".to_owned(),
        };
        let steady = self.steady(best.replicas, target.replicas);
        Some((self.limited(steady, target.replicas), why))
    }

    fn metrics(&self) -> Vec<Value> {
        let metrics = list(&self.spec()["metrics"]);
        if !metrics.is_empty() {
            return metrics.to_vec();
        }
        // Without any it is the processor, as the first version had it.
        let percent = self.spec()["targetCPUUtilizationPercentage"].as_i64().unwrap_or(80);
        let aim = json!({ "type": "Utilization", "averageUtilization": percent });
        vec![json!({ "type": "Resource", "resource": { "name": "cpu", "target": aim } })]
    }

    /// How much of this is used together, in thousandths.
    fn load(&self, name: &str) -> Option<i128> {
        let parts = text(&self.object["metadata"]["annotations"], LOAD).split(',');
        let mut named = parts.filter_map(|part| part.split_once('='));
        named.find(|(key, _)| key.trim() == name).map(|(_, amount)| thousandths(&json!(amount.trim())))
    }

    fn propose(&self, metric: &Value, target: &Target) -> Result<Proposal, (&'static str, String)> {
        let kind = text(metric, "type");
        let field = match kind {
            "Pods" => "pods",
            "Object" => "object",
            "External" => "external",
            "ContainerResource" => "containerResource",
            _ => "resource",
        };
        let (of, is_resource) = (&metric[field], matches!(field, "resource" | "containerResource"));
        let name = if is_resource { text(of, "name") } else { text(&of["metric"], "name") };
        let aim = &of["target"];
        let what = if text(aim, "type") == "Utilization" { "utilization" } else { "resource metric value" };
        let Some(load) = self.load(name) else {
            return Err(if is_resource {
                let why = format!(
                    "failed to get {name} {what}: unable to get metrics for resource {name}: unable to fetch metrics from \
                     resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
                );
                ("FailedGetResourceMetric", why)
            } else {
                let why =
                    format!("unable to get metric {name}: no custom metrics API (custom.metrics.k8s.io) registered");
                ("FailedGetPodsMetric", why)
            });
        };
        let ready = i128::from(target.ready.max(1));
        let average = load / ready;
        let mut current = json!({ "averageValue": quantity(name, average) });
        let (ratio, told) = match text(aim, "type") {
            "Utilization" => {
                let requests = target.requests.get(name).copied().unwrap_or(0);
                if requests == 0 {
                    let why = format!("failed to get {name} utilization: missing request for {name}");
                    return Err(("FailedGetResourceMetric", why));
                }
                let percent = load * 100 / requests;
                current["averageUtilization"] = json!(i64::try_from(percent).unwrap_or(i64::MAX));
                let aim = i128::from(aim["averageUtilization"].as_i64().unwrap_or(80).max(1));
                (percent * 1000 / aim, format!("{name} resource utilization (percentage of request)"))
            }
            "Value" => {
                current = json!({ "value": quantity(name, load) });
                (load * 1000 / thousandths(&aim["value"]).max(1), format!("{kind} metric {name}").to_lowercase())
            }
            _ => (
                average * 1000 / thousandths(&aim["averageValue"]).max(1),
                match is_resource {
                    true => format!("{name} resource"),
                    false => format!("{} metric {name}", kind.to_lowercase()),
                },
            ),
        };
        let is_near = (ratio - 1000).abs() <= TOLERANCE;
        let replicas = if is_near { target.replicas } else { ceiling(ratio * ready, 1000) };
        let mut shown = json!({ "type": kind.to_owned() });
        shown[field] = if is_resource { json!({ "name": name }) } else { json!({ "metric": of["metric"] }) };
        shown[field]["current"] = current;
        Ok(Proposal { replicas, name: told, shown })
    }

    fn remember(&mut self, of: &str, number: i64) {
        let mut kept = list(&self.memory[of]).to_vec();
        let now = self.now;
        kept.retain(|one| time(one, "at").is_some_and(|at| timer::after(at, MEMORY_SECONDS) > now));
        kept.push(json!({ "at": moment::text(now), "number": number }));
        self.memory[of] = json!(kept);
    }

    fn remembered(&self, of: &str, seconds: i64) -> Vec<i64> {
        let fresh = list(&self.memory[of]).iter();
        let fresh = fresh.filter(|one| time(one, "at").is_some_and(|at| timer::after(at, seconds) > self.now));
        fresh.filter_map(|one| one["number"].as_i64()).collect()
    }

    /// The recommendation that also those of a while ago bear out.
    fn steady(&mut self, proposed: i64, current: i64) -> i64 {
        let window = |way: &str, usual: i64| {
            self.spec()["behavior"][way]["stabilizationWindowSeconds"].as_i64().unwrap_or(usual)
        };
        let (up, down) = (window("scaleUp", 0), window("scaleDown", DOWN_SECONDS));
        let low = self.remembered("recommendations", up).into_iter().min().unwrap_or(proposed).min(proposed);
        let high = self.remembered("recommendations", down).into_iter().max().unwrap_or(proposed).max(proposed);
        let steady = current.max(low).min(high);
        self.remember("recommendations", proposed);
        if steady == proposed {
            self.note("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size");
        } else if proposed >= current {
            let message =
                "recent recommendations were lower than current one, applying the lowest recent recommendation";
            self.note("AbleToScale", "True", "ScaleUpStabilized", message);
        } else {
            let message =
                "recent recommendations were higher than current one, applying the highest recent recommendation";
            self.note("AbleToScale", "True", "ScaleDownStabilized", message);
        }
        steady
    }

    /// Within its bounds, and no faster than it may.
    fn limited(&mut self, wanted: i64, current: i64) -> i64 {
        let (least, most) = (self.least(), self.most());
        let (up, down) = (self.limit("scaleUp", current), self.limit("scaleDown", current));
        let (allowed, reason, message) = if wanted > most.min(up) {
            if up < most {
                (up, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
            } else {
                (most, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
            }
        } else if wanted < least.max(down) {
            if down > least {
                (down, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
            } else {
                (least, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
            }
        } else {
            let message = "the desired count is within the acceptable range";
            self.note("ScalingLimited", "False", "DesiredWithinRange", message);
            return wanted;
        };
        self.note("ScalingLimited", "True", reason, message);
        allowed
    }

    /// How far it may go one way now.
    fn limit(&self, way: &str, current: i64) -> i64 {
        let (rules, is_up) = (&self.spec()["behavior"][way], way == "scaleUp");
        let policies = list(&rules["policies"]);
        if rules["selectPolicy"] == "Disabled" {
            return current;
        }
        if policies.is_empty() {
            return if is_up { (2 * current).max(4).max(current + 4) } else { 0 };
        }
        let reach = policies.iter().map(|policy| {
            let period = policy["periodSeconds"].as_i64().unwrap_or(60);
            let steps = self.remembered("steps", period).into_iter().filter(|step| (*step > 0) == is_up);
            let start = current - steps.sum::<i64>();
            let value = policy["value"].as_i64().unwrap_or(0);
            match (text(policy, "type"), is_up) {
                ("Percent", true) => ceiling(i128::from(start) * i128::from(100 + value), 100),
                ("Percent", false) => start * (100 - value) / 100,
                (_, true) => start + value,
                (_, false) => start - value,
            }
        });
        // "Max" is the policy that changes most.
        let takes_largest = (rules["selectPolicy"] == "Min") != is_up;
        let reached = if takes_largest { reach.max() } else { reach.min() };
        let reached = reached.unwrap_or(current);
        if is_up { reached.max(current) } else { reached.min(current) }
    }
}

/// An amount in thousandths as a quantity: `250m`, bytes as whole numbers.
fn quantity(name: &str, amount: i128) -> String {
    if name == "memory" || amount % 1000 == 0 { (amount / 1000).to_string() } else { format!("{amount}m") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube;
    use crate::twin::physics::settle;
    use jiff::ToSpan;

    fn world(load: Option<&str>, behavior: Value) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        let node = json!({ "metadata": { "name": "n1" }, "spec": {},
            "status": { "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "200" },
                "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] } });
        kube::create(&mut world, "prod", "nodes", node);
        let deployment = json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": { "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } }, "template": { "metadata": { "labels": { "app": "web" } },
                "spec": { "hostNetwork": true, "containers": [{ "name": "c", "image": "a:1",
                    "resources": { "requests": { "cpu": "500m" } } }] } } } });
        kube::create(&mut world, "prod", "deployments.apps", deployment);
        let mut scaler = json!({ "metadata": { "name": "web", "namespace": "default", "annotations": {} }, "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": 2, "maxReplicas": 10, "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": 50 } } }] } });
        if behavior.is_object() {
            scaler["spec"]["behavior"] = behavior;
        }
        if let Some(load) = load {
            scaler["metadata"]["annotations"][LOAD] = json!(load);
        }
        settle(&mut world);
        pass(&mut world, 30);
        kube::create(&mut world, "prod", AUTOSCALERS, scaler);
        settle(&mut world);
        world
    }

    fn pass(world: &mut World, seconds: i64) {
        let to = world.now + seconds.seconds();
        world.advance(to);
    }

    fn replicas(world: &World) -> i64 {
        world.store("prod").unwrap().get("deployments.apps", "default/web").unwrap()["spec"]["replicas"]
            .as_i64()
            .unwrap()
    }

    fn condition(world: &World, name: &str) -> (String, String) {
        let scaler = world.store("prod").unwrap().get(AUTOSCALERS, "default/web").unwrap();
        let found = list(&scaler["status"]["conditions"]).iter().find(|one| one["type"] == name).unwrap();
        (text(found, "status").to_owned(), text(found, "reason").to_owned())
    }

    fn load(world: &mut World, load: &str) {
        let store = world.store_mut("prod").unwrap();
        store.change(AUTOSCALERS, "default/web", |one| one["metadata"]["annotations"][LOAD] = json!(load));
        settle(world);
    }

    #[test]
    fn it_grows_with_the_load_and_shrinks_only_after_five_quiet_minutes() {
        // 1.5 cores at half of 500m each: six pods.
        let mut world = world(Some("cpu=1500m"), Value::Null);
        pass(&mut world, 60);
        assert_eq!(replicas(&world), 6);
        assert_eq!(condition(&world, "ScalingActive"), ("True".to_owned(), "ValidMetricFound".to_owned()));
        load(&mut world, "cpu=250m");
        pass(&mut world, 120);
        assert_eq!(replicas(&world), 6);
        assert_eq!(condition(&world, "AbleToScale").1, "ScaleDownStabilized");
        pass(&mut world, 300);
        assert_eq!(replicas(&world), 2);
        assert_eq!(condition(&world, "ScalingLimited"), ("True".to_owned(), "TooFewReplicas".to_owned()));
        load(&mut world, "cpu=40");
        pass(&mut world, 300);
        assert_eq!(replicas(&world), 10);
        assert_eq!(condition(&world, "ScalingLimited").1, "TooManyReplicas");
    }

    #[test]
    fn a_behaviour_slows_it_down() {
        let slow = json!({ "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
            "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }] } });
        let mut world = world(Some("cpu=4"), slow);
        assert_eq!(replicas(&world), 3);
        assert_eq!(condition(&world, "ScalingLimited").1, "ScaleUpLimit");
        pass(&mut world, 45);
        assert_eq!(replicas(&world), 3);
        pass(&mut world, 30);
        assert_eq!(replicas(&world), 4);
    }

    #[test]
    fn without_metrics_it_says_so_and_keeps_the_size() {
        let mut world = world(None, Value::Null);
        pass(&mut world, 60);
        assert_eq!(replicas(&world), 2);
        assert_eq!(condition(&world, "ScalingActive"), ("False".to_owned(), "FailedGetResourceMetric".to_owned()));
        assert_eq!(condition(&world, "AbleToScale"), ("True".to_owned(), "SucceededGetScale".to_owned()));
    }
}
