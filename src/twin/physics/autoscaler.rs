//! HorizontalPodAutoscalers. Nothing runs in a twin, so nothing uses anything: the annotation `ekskit.dev/load` of an
//! autoscaler says how much all pods of its target use together, `cpu=2500m,memory=4Gi,requests=300`, and each pod has
//! its share of that. Without it the autoscaler says what it says on a cluster without metrics.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::selection::{list, matches, text, thousandths};
use super::timer::time;
use super::{Controller, event, pod, timer};
use crate::twin::kube::quantity::Quantity;
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

/// Kubernetes docs: `--horizontal-pod-autoscaler-sync-period`; a new autoscaler waits for its turn, too.
const PERIOD_SECONDS: i64 = 15;
/// Kubernetes docs: `--horizontal-pod-autoscaler-downscale-stabilization`.
const DOWN_SECONDS: i64 = 300;
/// Kubernetes docs: `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// Without rules it may double, and always reach four.
const LEAST_UP: i64 = 4;
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
            let mut memory = world.find(MEMORY, &id).cloned().unwrap_or_default();
            let looked = time(&memory, "looked");
            if looked.is_some_and(|at| timer::after(at, PERIOD_SECONDS) > world.now) {
                continue;
            }
            memory["looked"] = json!(world.now_text());
            if looked.is_some() {
                Scaler { cluster: cluster.clone(), key: key.clone(), object, memory, now: world.now }.step(world);
            } else {
                world.put(MEMORY, &id, memory);
            }
            timer::look_at(world, &cluster, AUTOSCALERS, key, timer::after(world.now, PERIOD_SECONDS));
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
    /// Those that count: what ends or has failed does not.
    pods: Vec<Value>,
    /// How much less and more than wanted may be used.
    tolerance: [f64; 2],
}

impl Target {
    fn is_near(&self, usage: f64) -> bool {
        let [less, more] = self.tolerance;
        usage >= 1.0 - less && usage <= 1.0 + more
    }

    /// How many pods are ready, or all that will be.
    fn count(&self, all: bool) -> i64 {
        let counted = self.pods.iter().filter(|pod| all || pod::is_ready(pod)).count();
        i64::try_from(counted).unwrap_or(i64::MAX)
    }

    /// What these pods request together, in thousandths.
    fn requests(&self, name: &str, container: &str, all: bool) -> Result<i128, String> {
        let mut sum = 0;
        for pod in &self.pods {
            let containers = list(&pod["spec"]["containers"]).iter();
            for one in containers.filter(|one| container.is_empty() || one["name"] == container) {
                let request = &one["resources"]["requests"][name];
                if request.is_null() {
                    let (of, pod) = (text(one, "name"), text(&pod["metadata"], "name"));
                    return Err(format!("missing request for {name} in container {of} of Pod {pod}"));
                }
                if all || pod::is_ready(pod) {
                    sum += thousandths(request);
                }
            }
        }
        Ok(sum)
    }

    /// How many it takes, by how much they use of what they should; `ratio` is told whether it is of all pods. What is
    /// not ready yet uses nothing, which only counts where it would grow.
    fn wanted(&self, ratio: impl Fn(bool) -> f64) -> i64 {
        let usage = ratio(false);
        let (ready, all) = (self.count(false), self.count(true));
        if usage <= 1.0 || ready == all {
            return if self.is_near(usage) { self.replicas } else { times(usage, ready) };
        }
        let usage = ratio(true);
        if self.is_near(usage) || usage < 1.0 { self.replicas } else { times(usage, all).max(self.replicas) }
    }
}

/// Rounded up, with what floating point makes of it: the real one reckons so.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers of pods; `as` saturates")]
fn times(usage: f64, pods: i64) -> i64 {
    (usage * pods as f64).ceil() as i64
}

#[expect(clippy::cast_precision_loss, reason = "the real one reckons so")]
fn ratio(part: i128, whole: i128) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn ceiling(number: i128, by: i128) -> i128 {
    (number + by - 1).div_euclid(by.max(1))
}

/// What one metric says.
struct Proposal {
    replicas: i64,
    name: String,
    shown: Value,
}

/// Why a metric says nothing: of itself, and as part of the whole.
struct Failure {
    reason: &'static str,
    why: String,
    whole: String,
}

impl Scaler {
    fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    fn step(mut self, world: &mut World) {
        match self.target(world) {
            Ok(target) => self.scale(world, &target),
            Err(why) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                self.note("AbleToScale", "False", "FailedGetScale", &message);
                self.warn(world, "FailedGetScale", &why);
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

    fn warn(&self, world: &mut World, reason: &str, why: &str) {
        event::warning(world, &self.cluster, &self.object, reason, why, WHO);
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
        let pods = store.pods_with(self.namespace(), &selector["matchLabels"]);
        let own = pods.map(|(_, pod)| pod).filter(|pod| matches(selector, &pod["metadata"]["labels"]));
        let counting = own.filter(|pod| !pod::is_ending(pod) && pod["status"]["phase"] != "Failed");
        let tolerance = ["scaleDown", "scaleUp"].map(|way| match &self.spec()["behavior"][way]["tolerance"] {
            Value::Null => TOLERANCE,
            given => ratio(thousandths(given), 1000),
        });
        Ok(Target { table: served.table.clone(), key, replicas, pods: counting.cloned().collect(), tolerance })
    }

    fn namespace(&self) -> &str {
        text(&self.object["metadata"], "namespace")
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
        if list(&self.memory["recommendations"]).is_empty() {
            self.remember("recommendations", current);
        }
        let mut shown = Value::Null;
        let (wanted, why) = if current == 0 && self.least() != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.note("ScalingActive", "False", "ScalingDisabled", message);
            (0, String::new())
        } else if current > self.most() {
            (self.most(), "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < self.least() {
            (self.least(), "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            let (wish, statuses) = self.by_metrics(world, target);
            shown = statuses;
            match wish {
                Some(best) => {
                    let why = match best.replicas.cmp(&current) {
                        std::cmp::Ordering::Greater => format!("{} above target", best.name),
                        _ => "All metrics below target".to_owned(),
                    };
                    (self.settled(best.replicas, current), why)
                }
                None => {
                    let before = self.object["status"]["desiredReplicas"].as_i64().unwrap_or(0);
                    self.show(current, before, shown);
                    return;
                }
            }
        };
        self.show(current, wanted, shown);
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

    fn show(&mut self, current: i64, desired: i64, metrics: Value) {
        let Some(status) = self.object["status"].as_object_mut() else { return };
        status.remove("currentReplicas");
        if current != 0 {
            status.insert("currentReplicas".to_owned(), json!(current));
        }
        status.insert("desiredReplicas".to_owned(), json!(desired));
        status.insert("currentMetrics".to_owned(), metrics);
    }

    /// The most that a metric asks for, and what each says. Where not all say something it does not go down: none.
    fn by_metrics(&mut self, world: &mut World, target: &Target) -> (Option<Proposal>, Value) {
        let (mut best, mut shown): (Option<Proposal>, Vec<Value>) = (None, Vec::new());
        let mut failures = Vec::new();
        for metric in self.metrics() {
            match self.propose(&metric, target) {
                Ok(proposal) => {
                    shown.push(proposal.shown.clone());
                    if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                        best = Some(proposal);
                    }
                }
                Err(failure) => {
                    shown.push(json!({ "type": "" }));
                    self.warn(world, failure.reason, &failure.why);
                    failures.push(failure);
                }
            }
        }
        let shown = Value::Array(shown);
        let best = best.filter(|best| failures.is_empty() || best.replicas >= target.replicas);
        let Some(best) = best else {
            if let Some(Failure { reason, why, whole }) = failures.first() {
                let message = format!("the HPA was unable to compute the replica count: {why}");
                self.note("ScalingActive", "False", reason, &message);
                let (wrong, all) = (failures.len(), self.metrics().len());
                let message = format!("invalid metrics ({wrong} invalid out of {all}), first error is: {whole}");
                self.warn(world, "FailedComputeMetricsReplicas", &message);
            }
            return (None, shown);
        };
        let message = format!("the HPA was able to successfully calculate a replica count from {}", best.name);
        self.note("ScalingActive", "True", "ValidMetricFound", &message);
        (Some(best), shown)
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

    fn propose(&self, metric: &Value, target: &Target) -> Result<Proposal, Failure> {
        match text(metric, "type") {
            "Pods" => self.of_pods(&metric["pods"], target),
            "Object" => self.of_object(&metric["object"], target),
            "External" => self.of_outside(&metric["external"], target),
            kind => self.of_resource(kind, target, metric),
        }
    }

    fn of_resource(&self, kind: &str, target: &Target, metric: &Value) -> Result<Proposal, Failure> {
        let (field, of, reason) = match kind {
            "ContainerResource" => ("containerResource", "container", "FailedGetContainerResourceMetric"),
            _ => ("resource", "resource", "FailedGetResourceMetric"),
        };
        let (name, container) = (text(&metric[field], "name"), text(&metric[field], "container"));
        let aim = &metric[field]["target"];
        let is_raw = !aim["averageValue"].is_null();
        let failure = |why: String| {
            let why = format!("failed to get {name} {}: {why}", if is_raw { "usage" } else { "utilization" });
            // Of a container the whole tells the name, of a pod the resource.
            let what = if container.is_empty() { name } else { container };
            Failure { reason, whole: format!("failed to get {what} {of} metric value: {why}"), why }
        };
        let load = self.load(name).ok_or_else(|| {
            failure(format!(
                "unable to get metrics for resource {name}: unable to fetch metrics from resource metrics API: the server \
                 could not find the requested resource (get pods.metrics.k8s.io)"
            ))
        })?;
        if target.pods.is_empty() {
            return Err(failure("no pods returned by selector while calculating replica count".to_owned()));
        }
        let has = |pod: &&Value| list(&pod["spec"]["containers"]).iter().any(|one| one["name"] == container);
        let is_measured = container.is_empty() || target.pods.iter().any(|pod| has(&pod));
        let ready = i128::from(target.count(false));
        if ready == 0 || !is_measured {
            return Err(failure("did not receive metrics for targeted pods (pods might be unready)".to_owned()));
        }
        let mut current = json!({ "averageValue": quantity(name, load / ready) });
        let (replicas, told) = if is_raw {
            (self.by_average(target, load, aim), format!("{name} {of}"))
        } else {
            let of_ready = target.requests(name, container, false).map_err(failure)?;
            let of_all = target.requests(name, container, true).map_err(failure)?;
            let wanted = i128::from(aim["averageUtilization"].as_i64().unwrap_or(80));
            let percent = |requests: i128| load * 100 / requests.max(1);
            current["averageUtilization"] = json!(i64::try_from(percent(of_ready)).unwrap_or(i64::MAX));
            let of = if of == "container" { "container resource" } else { of };
            (
                target.wanted(|all| ratio(percent(if all { of_all } else { of_ready }), wanted)),
                format!("{name} {of} utilization (percentage of request)"),
            )
        };
        let mut shown = json!({ "type": kind, field: { "name": name, "current": current } });
        if !container.is_empty() {
            shown[field]["container"] = json!(container);
        }
        Ok(Proposal { replicas, name: told, shown })
    }

    /// By what each pod uses.
    fn by_average(&self, target: &Target, load: i128, aim: &Value) -> i64 {
        let wanted = thousandths(&aim["averageValue"]);
        target.wanted(|all| ratio(load / i128::from(target.count(all).max(1)), wanted))
    }

    fn of_pods(&self, of: &Value, target: &Target) -> Result<Proposal, Failure> {
        let name = text(&of["metric"], "name");
        let load = self.load(name).ok_or_else(|| {
            let why = format!("unable to get metric {name}: {NO_CUSTOM}");
            Failure { reason: "FailedGetPodsMetric", whole: format!("failed to get pods metric value: {why}"), why }
        })?;
        let average = load / i128::from(target.count(false).max(1));
        let current = json!({ "averageValue": quantity(name, average) });
        Ok(Proposal {
            replicas: self.by_average(target, load, &of["target"]),
            name: format!("pods metric {name}"),
            shown: json!({ "type": "Pods", "pods": { "metric": of["metric"], "current": current } }),
        })
    }

    fn of_object(&self, of: &Value, target: &Target) -> Result<Proposal, Failure> {
        let (name, about) = (text(&of["metric"], "name"), &of["describedObject"]);
        let load = self.load(name).ok_or_else(|| {
            let (kind, namespace) = (text(about, "kind"), self.namespace());
            let why = format!("unable to get metric {name}: {kind} on {namespace} {}/{NO_CUSTOM}", text(about, "name"));
            Failure { reason: "FailedGetObjectMetric", whole: format!("failed to get object metric value: {why}"), why }
        })?;
        let (replicas, current) = by_value(target, load, name, &of["target"]);
        let metric = &of["metric"];
        let shown = json!({ "metric": metric, "describedObject": about, "current": current });
        let told = format!("{} metric {name}", text(about, "kind"));
        Ok(Proposal { replicas, name: told, shown: json!({ "type": "Object", "object": shown }) })
    }

    fn of_outside(&self, of: &Value, target: &Target) -> Result<Proposal, Failure> {
        let name = text(&of["metric"], "name");
        let selector = match &of["metric"]["selector"] {
            Value::Null => "nil".to_owned(),
            selector => in_go(selector),
        };
        let load = self.load(name).ok_or_else(|| {
            let why = format!(
                "unable to get external metric {}/{name}/{selector}: unable to fetch metrics from external metrics API: \
                 the server could not find the requested resource (get {name}.external.metrics.k8s.io)",
                self.namespace()
            );
            let whole = match of["target"]["averageValue"].is_null() {
                true => format!("failed to get external metric {name}: {why}"),
                false => format!("failed to get {name} external metric: {why}"),
            };
            let whole = format!("failed to get {name} external metric value: {whole}");
            Failure { reason: "FailedGetExternalMetric", whole, why }
        })?;
        let (replicas, current) = by_value(target, load, name, &of["target"]);
        Ok(Proposal {
            replicas,
            name: format!("external metric {name}({selector})"),
            shown: json!({ "type": "External", "external": { "metric": of["metric"], "current": current } }),
        })
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

    /// How many it becomes of what is proposed: what those of a while ago bear out, within its bounds, and no faster
    /// than it may.
    fn settled(&mut self, proposed: i64, current: i64) -> i64 {
        let steady = self.steady(proposed, current);
        match self.spec()["behavior"].is_object() {
            true => self.limited(steady, current),
            false => self.limited_without_rules(steady, current),
        }
    }

    fn steady(&mut self, proposed: i64, current: i64) -> i64 {
        let behavior = &self.spec()["behavior"];
        let window = |way: &str, usual: i64| behavior[way]["stabilizationWindowSeconds"].as_i64().unwrap_or(usual);
        let (up, down) = (window("scaleUp", 0), window("scaleDown", DOWN_SECONDS));
        let high = self.remembered("recommendations", down).into_iter().fold(proposed, i64::max);
        let low = self.remembered("recommendations", up).into_iter().fold(proposed, i64::min);
        let steady = if behavior.is_object() { current.max(low).min(high) } else { high };
        let is_up = behavior.is_object() && proposed >= current;
        self.remember("recommendations", proposed);
        let (reason, message) = match (steady == proposed, is_up) {
            (true, _) => ("ReadyForNewScale", "recommended size matches current size"),
            (_, true) => (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation",
            ),
            _ => (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation",
            ),
        };
        self.note("AbleToScale", "True", reason, message);
        steady
    }

    fn limited(&mut self, wanted: i64, current: i64) -> i64 {
        let (least, most) = (self.least(), self.most());
        if wanted > current {
            let up = self.limit("scaleUp", current).max(current);
            let bound = if up < most { (up, FAST_UP) } else { (most, TOO_MANY) };
            if wanted > bound.0 {
                return self.bounded(bound);
            }
        } else if wanted < current {
            let down = self.limit("scaleDown", current).min(current);
            let bound = if down > least { (down, FAST_DOWN) } else { (least, TOO_FEW) };
            if wanted < bound.0 {
                return self.bounded(bound);
            }
        }
        self.unbounded(wanted)
    }

    fn limited_without_rules(&mut self, wanted: i64, current: i64) -> i64 {
        let (least, most, up) = (self.least(), self.most(), (2 * current).max(LEAST_UP));
        let bound = if up < most { (up, FAST_UP) } else { (most, TOO_MANY) };
        if wanted < least {
            self.bounded((least, TOO_FEW))
        } else if wanted > bound.0 {
            self.bounded(bound)
        } else {
            self.unbounded(wanted)
        }
    }

    fn bounded(&mut self, (allowed, (reason, message)): (i64, (&str, &str))) -> i64 {
        self.note("ScalingLimited", "True", reason, message);
        allowed
    }

    fn unbounded(&mut self, wanted: i64) -> i64 {
        let message = "the desired count is within the acceptable range";
        self.note("ScalingLimited", "False", "DesiredWithinRange", message);
        wanted
    }

    /// How far its rules let it go one way now.
    fn limit(&self, way: &str, current: i64) -> i64 {
        let (rules, is_up) = (&self.spec()["behavior"][way], way == "scaleUp");
        if rules["selectPolicy"] == "Disabled" {
            return current;
        }
        let reach = list(&rules["policies"]).iter().map(|policy| {
            let period = policy["periodSeconds"].as_i64().unwrap_or(60);
            let start = current - self.remembered("steps", period).into_iter().sum::<i64>();
            let value = policy["value"].as_i64().unwrap_or(0);
            match (text(policy, "type"), is_up) {
                ("Percent", true) => {
                    i64::try_from(ceiling(i128::from(start) * i128::from(100 + value), 100)).unwrap_or(i64::MAX)
                }
                ("Percent", false) => start * (100 - value) / 100,
                (_, true) => start + value,
                (_, false) => start - value,
            }
        });
        // "Max" is the policy that changes most.
        let takes_largest = (rules["selectPolicy"] == "Min") != is_up;
        let reached = if takes_largest { reach.max() } else { reach.min() };
        reached.unwrap_or(current)
    }
}

const NO_CUSTOM: &str =
    "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";

const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const FAST_UP: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

/// By what is used outside of the pods, as a whole or for each of them.
fn by_value(target: &Target, load: i128, name: &str, aim: &Value) -> (i64, Value) {
    let replicas = i128::from(target.replicas.max(1));
    if aim["averageValue"].is_null() {
        let usage = ratio(load, thousandths(&aim["value"]));
        let wanted = if target.is_near(usage) { target.replicas } else { times(usage, target.count(false)) };
        return (wanted, json!({ "value": quantity(name, load) }));
    }
    let each = thousandths(&aim["averageValue"]);
    let wanted = match target.is_near(ratio(load, each * replicas)) {
        true => target.replicas,
        false => i64::try_from(ceiling(load, each)).unwrap_or(i64::MAX),
    };
    (wanted, json!({ "averageValue": quantity(name, ceiling(load, replicas)) }))
}

/// A selector as Go writes it.
fn in_go(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
    )
}

/// An amount in thousandths as a quantity: `250m`, bytes as `2Gi`.
fn quantity(name: &str, amount: i128) -> String {
    match name {
        "memory" => Quantity::of_bytes(ceiling(amount, 1000)).canonical(),
        _ => Quantity::of_thousandths(amount).canonical(),
    }
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
        pass(&mut world, 15);
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
