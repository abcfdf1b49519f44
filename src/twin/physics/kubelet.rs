//! Pods on nodes: they start, become ready, end.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::selection::{list, text};
use super::{Controller, node, pod};
use crate::twin::Arrival;
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[("kube/pods", arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "pods start", watches: &["kube/pods"], run: start },
    Controller { name: "pods end", watches: &["kube/pods"], run: end },
    Controller { name: "pods follow their nodes", watches: &["kube/nodes"], run: follow },
];

/// An image of this name can not be pulled.
const NO_IMAGE: &str = "does-not-exist";

/// A pod that says so ends by itself as soon as it has started, instead of running on.
const COMPLETES: &str = "ekskit.dev/completes";

/// The same, with this code; of a pod of a Job anything that is no number: it runs on.
const EXIT_CODE: &str = "ekskit.dev/exit-code";

/// Of a node: somebody else plays its kubelet.
const KUBELET: &str = "ekskit.dev/kubelet";

/// The code of a container that SIGTERM has ended.
const TERMINATED: i64 = 143;

/// Whether the twin runs the pods of a node.
fn is_run(node: &Value) -> bool {
    node["metadata"]["annotations"][KUBELET] != "elsewhere"
}

/// The code with which a pod ends as soon as it has started.
fn exit_code(pod: &Value) -> Option<i64> {
    let annotations = &pod["metadata"]["annotations"];
    let code = text(annotations, EXIT_CODE).parse().ok();
    code.or((annotations[COMPLETES] == "true").then_some(0))
}

/// Whether a pod of a Job does its work and ends by itself.
fn works(pod: &Value) -> bool {
    let is_of_job = list(&pod["metadata"]["ownerReferences"]).iter().any(|owner| owner["kind"] == "Job");
    is_of_job && pod["metadata"]["annotations"][EXIT_CODE].is_null()
}

fn start(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let nodes = store.list("nodes");
        let (changes, index) = (world.changes(), store.index());
        let changed = changes.of(&cluster);
        let on_changed = changed.keys("nodes").iter().flat_map(|node| index.pods_on(node));
        let looked_at: BTreeSet<&str> = changed.keys("pods").iter().map(String::as_str).chain(on_changed).collect();
        let waiting: Vec<(String, Value)> = looked_at
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), store.get("pods", key)?)))
            .filter(|(_, pod)| text(&pod["status"], "phase") == "Pending" && !pod::is_ending(pod))
            .filter(|(_, pod)| nodes.get(text(&pod["spec"], "nodeName")).is_some_and(is_run))
            .map(|(key, pod)| (key, pod.clone()))
            .collect();
        for (key, pod) in waiting {
            admit(world, &cluster, &key, &pod);
            let has_address = give_address(world, &cluster, &key, &pod);
            let id = format!("{cluster}/{key}");
            let must_wait = !has_address && !world.is_off("pods wait for addresses");
            if !must_wait
                && !world.is_planned("kube/pods", &id, "Running")
                && (!is_backing_off(&pod) || missing_image(&pod).is_none())
            {
                world.begin("kube/pods", &id, "Running");
            }
        }
    }
}

/// Whether a pod has its address. On nodes that are only played nobody else gives it one.
fn give_address(world: &mut World, cluster: &str, key: &str, pod: &Value) -> bool {
    if pod::on_host_network(pod) || pod["status"]["podIP"].is_string() {
        return true;
    }
    let node = world.store(cluster).and_then(|store| store.get("nodes", text(&pod["spec"], "nodeName")));
    if !node.is_some_and(node::is_played) {
        return false;
    }
    let place = world.random("pod address", 1 << 20);
    let address = format!("10.{}.{}.{}", 16 + (place >> 16), (place >> 8) & 255, place & 255);
    if let Some(store) = world.store_mut(cluster) {
        store.change("pods", key, |pod| {
            pod["status"]["podIP"] = json!(address);
            pod["status"]["podIPs"] = json!([{ "ip": address }]);
        });
    }
    true
}

/// The kubelet has seen the pod: its containers are being created.
fn admit(world: &mut World, cluster: &str, key: &str, pod: &Value) {
    if pod["status"]["containerStatuses"].is_array() {
        return;
    }
    let now = world.now_text();
    let node = world.store(cluster).and_then(|store| store.get("nodes", text(&pod["spec"], "nodeName")));
    let host = node.map(host_address).unwrap_or_default();
    let Some(store) = world.store_mut(cluster) else { return };
    store.change("pods", key, |pod| {
        let has_init = !list(&pod["spec"]["initContainers"]).is_empty();
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        pod["status"]["startTime"] = json!(now);
        if !host.is_empty() {
            pod["status"]["hostIP"] = json!(host);
            pod["status"]["hostIPs"] = json!([{ "ip": host }]);
        }
        pod["status"]["containerStatuses"] = waiting(&pod["spec"]["containers"], reason);
        if has_init {
            pod["status"]["initContainerStatuses"] = waiting(&pod["spec"]["initContainers"], "ContainerCreating");
        }
        let unready = "containers with unready status";
        for (name, status) in
            [("PodReadyToStartContainers", "False"), ("Initialized", if has_init { "False" } else { "True" })]
        {
            pod::set_condition(pod, &now, json!({ "type": name, "status": status, "lastProbeTime": null }));
        }
        for name in ["Ready", "ContainersReady"] {
            pod::set_condition(
                pod,
                &now,
                json!({ "type": name, "status": "False", "reason": "ContainersNotReady",
                "message": format!("{unready}: [{}]", names(&pod["spec"]["containers"])), "lastProbeTime": null }),
            );
        }
    });
}

fn names(containers: &Value) -> String {
    list(containers).iter().map(|one| text(one, "name")).collect::<Vec<_>>().join(" ")
}

fn host_address(node: &Value) -> String {
    let addresses = list(&node["status"]["addresses"]).iter();
    let internal = addresses.filter(|one| one["type"] == "InternalIP").map(|one| text(one, "address"));
    internal.take(1).collect()
}

fn waiting(containers: &Value, reason: &str) -> Value {
    let statuses = list(containers).iter().map(|one| {
        json!({ "name": one["name"], "image": one["image"], "imageID": "", "ready": false, "started": false,
            "restartCount": 0, "state": { "waiting": { "reason": reason } }, "lastState": {} })
    });
    statuses.collect()
}

fn missing_image(pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let mut containers = list(&spec["initContainers"]).iter().chain(list(&spec["containers"]));
    containers.find(|one| text(one, "image").contains(NO_IMAGE)).map(|one| text(one, "image").to_owned())
}

fn is_backing_off(pod: &Value) -> bool {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let mut all = statuses.iter().flat_map(|of| list(&pod["status"][*of]));
    all.any(|one| one["state"]["waiting"]["reason"] == "ImagePullBackOff")
}

fn arrive(world: &mut World, id: &str, to: &str) {
    let Some((cluster, key)) = id.split_once('/') else { return };
    match to {
        "Running" => run(world, cluster, key),
        "Succeeded" => {
            let now = world.now_text();
            let Some(store) = world.store_mut(cluster) else { return };
            let runs = |pod: &Value| text(&pod["status"], "phase") == "Running" && !pod::is_ending(pod);
            if store.get("pods", key).is_some_and(runs) {
                store.change("pods", key, |pod| ended(pod, 0, &now));
            }
        }
        _ => {
            let pod = world.store(cluster).and_then(|store| store.get("pods", key));
            let Some(pod) = pod.filter(|pod| pod::is_ending(pod)) else { return };
            if list(&pod["metadata"]["finalizers"]).is_empty() {
                return take_away(world, cluster, key);
            }
            // Whoever holds it still sees how it ended: by a signal.
            let now = world.now_text();
            if let Some(store) = world.store_mut(cluster) {
                store.change("pods", key, |pod| ended(pod, TERMINATED, &now));
            }
        }
    }
}

fn take_away(world: &mut World, cluster: &str, key: &str) {
    world.forget("kube/pods", &format!("{cluster}/{key}"));
    if let Some(store) = world.store_mut(cluster) {
        store.remove("pods", key);
    }
}

fn run(world: &mut World, cluster: &str, key: &str) {
    let now = world.now_text();
    let Some(pod) = world.store(cluster).and_then(|store| store.get("pods", key)) else { return };
    if pod::is_ending(pod) || text(&pod["status"], "phase") != "Pending" {
        return;
    }
    let missing = missing_image(pod);
    let Some(store) = world.store_mut(cluster) else { return };
    store.change("pods", key, |pod| match missing {
        Some(image) => back_off(pod, &image),
        None => started(pod, &now),
    });
    if store.get("pods", key).is_some_and(|pod| works(pod) && !pod::is_over(pod)) {
        world.begin("kube/pods", &format!("{cluster}/{key}"), "Succeeded");
    }
}

fn back_off(pod: &mut Value, image: &str) {
    for of in ["initContainerStatuses", "containerStatuses"] {
        let statuses = pod["status"].get_mut(of).and_then(Value::as_array_mut);
        for one in statuses.into_iter().flatten().filter(|one| one["image"] == image) {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found");
            one["state"] = json!({ "waiting": { "reason": "ImagePullBackOff", "message": message } });
        }
    }
}

fn started(pod: &mut Value, now: &str) {
    let code = exit_code(pod);
    let uid = text(&pod["metadata"], "uid").to_owned();
    let finished =
        json!({ "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now } });
    let running = json!({ "running": { "startedAt": now } });
    let spec = pod["spec"].clone();
    let status = &mut pod["status"];
    if pod_has(&spec, "initContainers") {
        status["initContainerStatuses"] = containers(&spec["initContainers"], &uid, &finished, true);
    }
    status["containerStatuses"] = containers(&spec["containers"], &uid, &running, true);
    status["phase"] = json!("Running");
    if spec["hostNetwork"] == true && status["podIP"].is_null() && status["hostIP"].is_string() {
        status["podIP"] = status["hostIP"].clone();
        status["podIPs"] = json!([{ "ip": status["hostIP"] }]);
    }
    for name in ["PodReadyToStartContainers", "Initialized"] {
        pod::set_condition(pod, now, json!({ "type": name, "status": "True", "lastProbeTime": null }));
    }
    for name in ["Ready", "ContainersReady"] {
        pod::set_condition(pod, now, json!({ "type": name, "status": "True", "lastProbeTime": null }));
    }
    if let Some(code) = code {
        ended(pod, code, now);
    }
}

/// The containers of a pod ended with this code, now. Where they are to be started again, that is not tried without end.
fn ended(pod: &mut Value, code: i64, now: &str) {
    let policy = text(&pod["spec"], "restartPolicy");
    let starts_again = code != 0 && policy != "Never" && !pod::is_ending(pod);
    let reason = if code == 0 { "Completed" } else { "Error" };
    for one in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
        let since = one["state"]["running"]["startedAt"].as_str().unwrap_or(now).to_owned();
        let state = json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": since, "finishedAt": now,
            "containerID": one["containerID"] } });
        one["ready"] = json!(false);
        one["started"] = json!(false);
        if starts_again {
            let message = format!("back-off 10s restarting failed container={}", text(one, "name"));
            one["restartCount"] = json!(one["restartCount"].as_u64().unwrap_or(0) + 1);
            one["state"] = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
            one["lastState"] = state;
        } else {
            one["state"] = state;
        }
    }
    let why = match code {
        0 => "PodCompleted",
        _ if starts_again => "ContainersNotReady",
        _ => "PodFailed",
    };
    if !starts_again {
        pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
    }
    for name in ["Ready", "ContainersReady"] {
        pod::set_condition(pod, now, json!({ "type": name, "status": "False", "reason": why, "lastProbeTime": null }));
    }
}

fn pod_has(spec: &Value, of: &str) -> bool {
    !list(&spec[of]).is_empty()
}

fn containers(containers: &Value, uid: &str, state: &Value, ready: bool) -> Value {
    let statuses = list(containers).iter().map(|one| {
        let digest = |of: &str| {
            let digest = Sha256::digest(of.as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let image = text(one, "image");
        let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
        json!({
            "name": one["name"],
            "image": image,
            "imageID": format!("{repository}@sha256:{}", digest(image)),
            "containerID": format!("containerd://{}", digest(&format!("{uid} {}", text(one, "name")))),
            "ready": ready,
            "started": state.get("running").is_some(),
            "restartCount": 0,
            "state": state,
            "lastState": {},
        })
    });
    statuses.collect()
}

/// Pods that somebody deleted end after a while; one that never got a node, at once.
fn end(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let changes = world.changes();
        let changed = changes.of(&cluster).keys("pods").iter();
        let is_held = |pod: &Value| !list(&pod["metadata"]["finalizers"]).is_empty();
        let ending: Vec<(String, bool)> = changed
            .filter_map(|key| Some((key, store.get("pods", key)?)))
            .filter(|(_, pod)| pod::is_ending(pod))
            .map(|(key, pod)| (key, pod, pod["spec"]["nodeName"].is_null() || pod::is_over(pod)))
            .filter(|(_, pod, is_idle)| match is_idle {
                true => !is_held(pod),
                false => store.get("nodes", text(&pod["spec"], "nodeName")).is_none_or(is_run),
            })
            .map(|(key, _, is_idle)| (key.clone(), is_idle))
            .collect();
        for (key, at_once) in ending {
            let id = format!("{cluster}/{key}");
            if at_once {
                take_away(world, &cluster, &key);
            } else if !world.is_planned("kube/pods", &id, "Deleted") {
                world.begin("kube/pods", &id, "Deleted");
            }
        }
    }
}

/// Pods on a node that nobody hears of are not ready, whatever they do; and ready again once it is back.
fn follow(world: &mut World) {
    let now = world.now_text();
    for cluster in world.clusters() {
        let changes = world.changes();
        let Some(store) = world.store_mut(&cluster) else { continue };
        let nodes = changes.of(&cluster).keys("nodes").iter().filter_map(|name| store.get("nodes", name));
        let nodes = nodes.filter(|node| is_run(node));
        let mut keys: Vec<(String, bool)> = nodes
            .flat_map(|node| {
                let is_lost = is_lost(node);
                store.index().pods_on(text(&node["metadata"], "name")).map(move |key| (key, is_lost))
            })
            .filter_map(|(key, is_lost)| Some((key, is_lost, store.get("pods", key)?)))
            .filter(|(_, _, pod)| text(&pod["status"], "phase") == "Running" && !pod::is_ending(pod))
            .filter(|(_, is_lost, pod)| pod::is_ready(pod) == *is_lost)
            .map(|(key, is_lost, _)| (key.to_owned(), is_lost))
            .collect();
        keys.sort();
        for (key, is_lost) in keys {
            let status = if is_lost { "False" } else { "True" };
            let condition = json!({ "type": "Ready", "status": status, "lastProbeTime": null });
            store.change("pods", &key, |pod| {
                pod::set_condition(pod, &now, condition);
            });
        }
    }
}

fn is_lost(node: &Value) -> bool {
    list(&node["status"]["conditions"]).iter().any(|one| one["type"] == "Ready" && one["status"] == "Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube;
    use jiff::ToSpan;

    fn world(image: &str, host: bool) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        let node = json!({ "metadata": { "name": "n1" },
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.9" }] } });
        kube::create(&mut world, "prod", "nodes", node);
        let pod = json!({ "metadata": { "name": "a", "namespace": "x" }, "status": { "phase": "Pending" },
            "spec": { "nodeName": "n1", "hostNetwork": host, "containers": [{ "name": "c", "image": image }] } });
        kube::create(&mut world, "prod", "pods", pod);
        start(&mut world);
        world
    }

    fn pod_of(world: &World) -> Value {
        world.store("prod").unwrap().get("pods", "x/a").cloned().unwrap_or_default()
    }

    fn pass(world: &mut World, seconds: i64) {
        let pending: Vec<_> = world.pending().iter().cloned().collect();
        for planned in pending {
            if planned.at <= world.now + seconds.seconds() {
                arrive(world, &planned.id, &planned.to);
            }
        }
    }

    #[test]
    fn a_pod_on_the_network_of_its_node_runs_after_its_time() {
        let mut world = world("nginx:1", true);
        assert_eq!(pod_of(&world)["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
        pass(&mut world, 7);
        assert_eq!(pod_of(&world)["status"]["phase"], "Pending");
        pass(&mut world, 8);
        let pod = pod_of(&world);
        assert!(pod::is_ready(&pod), "{pod}");
        assert_eq!(pod["status"]["podIP"], "10.0.0.9");
    }

    #[test]
    fn pods_of_a_node_that_somebody_else_plays_are_left_to_him() {
        let mut world = world("nginx:1", true);
        world.forget("kube/pods", "prod/x/a");
        let elsewhere = json!({ KUBELET: "elsewhere" });
        world.store_mut("prod").unwrap().change("nodes", "n1", |node| node["metadata"]["annotations"] = elsewhere);
        start(&mut world);
        assert!(world.pending().is_empty(), "it does not start");
        world.store_mut("prod").unwrap().change("pods", "x/a", |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-02T09:00:00Z");
        });
        end(&mut world);
        assert!(world.pending().is_empty(), "nor does it end");
    }

    #[test]
    fn a_pod_without_address_does_not_start() {
        let mut world = world("nginx:1", false);
        pass(&mut world, 100);
        assert_eq!(pod_of(&world)["status"]["phase"], "Pending");
        world.store_mut("prod").unwrap().change("pods", "x/a", |pod| pod["status"]["podIP"] = json!("10.0.0.20"));
        start(&mut world);
        pass(&mut world, 8);
        assert_eq!(pod_of(&world)["status"]["phase"], "Running");
    }

    #[test]
    fn an_image_that_is_nowhere_backs_off_for_good() {
        let mut world = world("registry/does-not-exist:1", true);
        pass(&mut world, 8);
        let state = &pod_of(&world)["status"]["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(state["reason"], "ImagePullBackOff");
        world.forget("kube/pods", "prod/x/a");
        start(&mut world);
        assert!(world.pending().is_empty(), "it is not tried without end");
    }

    #[test]
    fn a_deleted_pod_ends_after_a_while() {
        let mut world = world("nginx:1", true);
        world.forget("kube/pods", "prod/x/a");
        let mark = |finalizers: Value| {
            move |pod: &mut Value| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-11-02T09:00:00Z");
                pod["metadata"]["finalizers"] = finalizers;
            }
        };
        world.store_mut("prod").unwrap().change("pods", "x/a", mark(json!([])));
        end(&mut world);
        pass(&mut world, 4);
        assert!(pod_of(&world).is_object());
        pass(&mut world, 5);
        assert_eq!(pod_of(&world), Value::Null);
    }

    #[test]
    fn a_deleted_pod_that_somebody_holds_ends_and_stays_until_he_lets_go() {
        let mut world = world("nginx:1", true);
        pass(&mut world, 8);
        world.forget("kube/pods", "prod/x/a");
        world.store_mut("prod").unwrap().change("pods", "x/a", |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-02T09:00:00Z");
            pod["metadata"]["finalizers"] = json!(["x/y"]);
        });
        end(&mut world);
        pass(&mut world, 5);
        assert_eq!(pod_of(&world)["status"]["phase"], "Failed");
        world.store_mut("prod").unwrap().change("pods", "x/a", |pod| pod["metadata"]["finalizers"] = json!([]));
        end(&mut world);
        assert_eq!(pod_of(&world), Value::Null);
    }
}
