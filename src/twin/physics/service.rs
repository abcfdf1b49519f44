//! Services: which pods are behind them, as EndpointSlices and Endpoints.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::selection::{list, text};
use super::{Controller, pod};
use crate::twin::kube;
use crate::twin::kube::store::{Store, key_of};
use crate::twin::world::World;

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[Controller {
    name: "services know their pods",
    watches: &["kube/endpoints", "kube/endpointslices.discovery.k8s.io", "kube/pods", "kube/services"],
    run,
}];

const SERVICES: &str = "services";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const ENDPOINTS: &str = "endpoints";

/// Kubernetes docs: the EndpointSlice controller's `--max-endpoints-per-slice`.
const SLICE_MAX: usize = 100;

fn run(world: &mut World) {
    for cluster in world.clusters() {
        drop_endpoints(world, &cluster);
        let Some(store) = world.store(&cluster) else { continue };
        for key in concerned(world, &cluster, store) {
            let Some(service) = world.store(&cluster).and_then(|store| store.get(SERVICES, &key)).cloned() else {
                continue;
            };
            if pod::is_ending(&service) || service["spec"]["type"] == "ExternalName" {
                continue;
            }
            let Some(store) = world.store(&cluster) else { continue };
            let parts = behind(store, &service);
            let (slices, subsets) = (slices(store, &service, &parts), subsets(&service, &parts));
            let labels = slice_labels(&service, "endpointslice-controller.k8s.io");
            write_owned(world, &cluster, &service, &slices, &labels);
            write_endpoints(world, &cluster, &service, subsets);
        }
        mirror(world, &cluster);
    }
}

/// Endpoints that somebody wrote for a service without a selector are mirrored in slices.
fn mirror(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let changes = world.changes();
    let changed = changes.of(cluster);
    let keys: BTreeSet<String> = changed.concerned(store.index(), ENDPOINTS).into_iter().collect();
    let keys: Vec<String> = keys.union(changed.keys(SERVICES)).cloned().collect();
    for key in keys {
        let Some(store) = world.store(cluster) else { return };
        let Some(endpoints) = store.get(ENDPOINTS, &key).cloned() else { continue };
        let by_hand = |service: &Value| service["spec"]["selector"].as_object().is_none_or(Map::is_empty);
        let is_skipped = endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] == "true";
        let is_mirrored = !is_skipped && !pod::is_ending(&endpoints) && store.get(SERVICES, &key).is_some_and(by_hand);
        let wanted: Vec<(Value, Value)> = match is_mirrored {
            true => list(&endpoints["subsets"]).iter().map(mirrored).collect(),
            false => Vec::new(),
        };
        let labels = slice_labels(&endpoints, "endpointslicemirroring-controller.k8s.io");
        write_owned(world, cluster, &endpoints, &wanted, &labels);
    }
}

/// The ports and endpoints of a subset, as a slice has them.
fn mirrored(subset: &Value) -> (Value, Value) {
    let ports = list(&subset["ports"]).iter().map(|port| {
        let mut port = port.clone();
        port["name"] = json!(text(&port, "name"));
        port
    });
    let all = [("addresses", true), ("notReadyAddresses", false)];
    let endpoints = all.into_iter().flat_map(|(of, is_ready)| {
        list(&subset[of]).iter().map(move |address| {
            let mut shown = json!({ "addresses": [address["ip"]], "conditions": { "ready": is_ready } });
            for key in ["hostname", "nodeName", "targetRef"] {
                if !address[key].is_null() {
                    shown[key] = address[key].clone();
                }
            }
            shown
        })
    });
    (ports.collect(), endpoints.collect())
}

/// As many slices as it takes; those that are there keep their names.
fn write_owned(world: &mut World, cluster: &str, owner: &Value, wanted: &[(Value, Value)], labels: &Value) {
    let Some(store) = world.store(cluster) else { return };
    let known: Vec<String> =
        store.owned(text(&owner["metadata"], "uid"), SLICES).map(|(key, _)| key.to_owned()).collect();
    for (at, (ports, endpoints)) in wanted.iter().enumerate() {
        match known.get(at) {
            Some(key) => {
                let Some(store) = world.store_mut(cluster) else { return };
                store.change(SLICES, key, |slice| {
                    slice["endpoints"] = endpoints.clone();
                    slice["ports"] = ports.clone();
                    slice["metadata"]["labels"] = labels.clone();
                });
            }
            None => make_slice(world, cluster, owner, (ports, endpoints), labels),
        }
    }
    for key in known.iter().skip(wanted.len()) {
        kube::delete(world, cluster, SLICES, key);
    }
}

/// Endpoints of a service that is gone go with it; EndpointSlices are owned.
fn drop_endpoints(world: &mut World, cluster: &str) {
    let changes = world.changes();
    for key in changes.of(cluster).keys(SERVICES) {
        let Some(store) = world.store(cluster) else { return };
        let is_ours = |endpoints: &Value| {
            text(&endpoints["metadata"]["labels"], "endpoints.kubernetes.io/managed-by") == "endpoint-controller"
        };
        if store.get(SERVICES, key).is_none() && store.get(ENDPOINTS, key).is_some_and(is_ours) {
            kube::delete(world, cluster, ENDPOINTS, key);
        }
    }
}

fn selects(service: &Value, labels: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
    selector.is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// Services that changed, whose endpoints did, or that select a pod that did.
fn concerned(world: &World, cluster: &str, store: &Store) -> BTreeSet<String> {
    let changes = world.changes();
    let changed = changes.of(cluster);
    let mut keys = changed.concerned(store.index(), SERVICES);
    // Endpoints have the names of their services, and no owner.
    keys.extend(changed.keys(ENDPOINTS).iter().cloned());
    for change in changed.pods() {
        let here = store.within(SERVICES, &change.namespace);
        let fitting = here.filter(|(_, service)| change.concerns(|labels| selects(service, labels)));
        keys.extend(fitting.map(|(key, _)| key.clone()));
    }
    let selects_any = |key: &String| {
        store
            .get(SERVICES, key)
            .is_some_and(|one| one["spec"]["selector"].as_object().is_some_and(|map| !map.is_empty()))
    };
    keys.into_iter().filter(selects_any).collect()
}

/// The pods behind a service that have the same ports.
struct Part<'s> {
    ports: Value,
    pods: Vec<&'s Value>,
}

/// The port of a pod that a port of a service means; none: it has no port of that name.
fn target(port: &Value, pod: &Value) -> Option<i64> {
    let target = &port["targetPort"];
    if let Some(number) = target.as_i64() {
        return Some(number);
    }
    let Some(name) = target.as_str() else { return port["port"].as_i64() };
    let ports = list(&pod["spec"]["containers"]).iter().flat_map(|container| list(&container["ports"]));
    let protocol = |one: &Value| one["protocol"].as_str().unwrap_or("TCP").to_owned();
    let mut named = ports.filter(|one| one["name"] == name && protocol(one) == protocol(port));
    named.next().and_then(|one| one["containerPort"].as_i64())
}

/// The pods behind a service.
fn behind<'s>(store: &'s Store, service: &Value) -> Vec<Part<'s>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let pods = store.pods_with(text(&service["metadata"], "namespace"), &service["spec"]["selector"]);
    for (_, pod) in pods.filter(|(_, pod)| !pod::is_over(pod) && pod["status"]["podIP"].is_string()) {
        let ports: Vec<Value> = list(&service["spec"]["ports"])
            .iter()
            .filter_map(|port| {
                let mut shown = json!({ "name": text(port, "name"), "port": target(port, pod)?,
                    "protocol": port["protocol"].as_str().unwrap_or("TCP") });
                if let Some(application) = port["appProtocol"].as_str() {
                    shown["appProtocol"] = json!(application);
                }
                Some(shown)
            })
            .collect();
        let ports = if ports.is_empty() { Value::Null } else { Value::Array(ports) };
        match parts.iter_mut().find(|part| part.ports == ports) {
            Some(part) => part.pods.push(pod),
            None => parts.push(Part { ports, pods: vec![pod] }),
        }
    }
    parts
}

/// The ports and endpoints of as many slices as it takes.
fn slices(store: &Store, service: &Value, parts: &[Part<'_>]) -> Vec<(Value, Value)> {
    let mut wanted: Vec<(Value, Value)> = Vec::new();
    for part in parts {
        for pods in part.pods.chunks(SLICE_MAX) {
            let endpoints: Value = pods.iter().map(|pod| endpoint(store, service, pod)).collect();
            wanted.push((part.ports.clone(), endpoints));
        }
    }
    if wanted.is_empty() {
        // A service without pods has one slice all the same, an empty one.
        wanted.push((Value::Null, Value::Null));
    }
    wanted
}

/// The subsets of Endpoints.
fn subsets(service: &Value, parts: &[Part<'_>]) -> Vec<Value> {
    let mut subsets: Vec<Value> = Vec::new();
    // A pod without any of the ports is none of the Endpoints, though it is in a slice.
    let has_ports = !list(&service["spec"]["ports"]).is_empty();
    for part in parts.iter().filter(|part| !has_ports || part.ports.is_array()) {
        let living = part.pods.iter().filter(|pod| !pod::is_ending(pod));
        let all = service["spec"]["publishNotReadyAddresses"] == true;
        let (ready, unready): (Vec<&Value>, Vec<&Value>) = living.partition(|pod| all || pod::is_ready(pod));
        let mut subset = Map::new();
        for (name, pods) in [("addresses", ready), ("notReadyAddresses", unready)] {
            if !pods.is_empty() {
                subset.insert(name.to_owned(), pods.into_iter().map(|pod| address(service, pod)).collect());
            }
        }
        if subset.is_empty() {
            continue;
        }
        let mut ports = part.ports.clone();
        for port in ports.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            if port.get("name").is_some_and(|name| name == "") {
                port.remove("name");
            }
        }
        if ports.as_array().is_some_and(|ports| !ports.is_empty()) {
            subset.insert("ports".to_owned(), ports);
        }
        subsets.push(Value::Object(subset));
    }
    subsets
}

fn write_endpoints(world: &mut World, cluster: &str, service: &Value, subsets: Vec<Value>) {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert("endpoints.kubernetes.io/managed-by".to_owned(), json!("endpoint-controller"));
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    let (labels, key) = (Value::Object(labels), key_of(service));
    let Some(store) = world.store_mut(cluster) else { return };
    if store.get(ENDPOINTS, &key).is_none() {
        let metadata = json!({ "name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"],
            "labels": labels });
        kube::create(world, cluster, ENDPOINTS, json!({ "metadata": metadata }));
    }
    let Some(store) = world.store_mut(cluster) else { return };
    store.change(ENDPOINTS, &key, |endpoints| {
        endpoints["metadata"]["labels"] = labels;
        match endpoints.as_object_mut() {
            Some(endpoints) if subsets.is_empty() => drop(endpoints.remove("subsets")),
            _ => endpoints["subsets"] = Value::Array(subsets),
        }
    });
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

fn slice_labels(service: &Value, manager: &str) -> Value {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert("kubernetes.io/service-name".to_owned(), service["metadata"]["name"].clone());
    labels.insert("endpointslice.kubernetes.io/managed-by".to_owned(), json!(manager));
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    Value::Object(labels)
}

fn make_slice(world: &mut World, cluster: &str, service: &Value, (ports, endpoints): (&Value, &Value), labels: &Value) {
    let (name, namespace) = (text(&service["metadata"], "name"), text(&service["metadata"], "namespace"));
    let slice = format!("{name}-{}", pod::suffix(world));
    let slice = json!({
        "metadata": {
            "name": slice,
            "generateName": format!("{name}-"),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": pod::owned_by(service),
            "generation": 1,
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    });
    kube::create(world, cluster, SLICES, slice);
}

fn reference(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({ "kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"] })
}

/// The name under which a pod of a StatefulSet is found.
fn hostname(service: &Value, pod: &Value) -> Option<Value> {
    let is_named = pod["spec"]["subdomain"] == service["metadata"]["name"] && pod["spec"]["hostname"].is_string();
    is_named.then(|| pod["spec"]["hostname"].clone())
}

fn endpoint(store: &Store, service: &Value, pod: &Value) -> Value {
    let (is_ready, is_ending) = (pod::has_condition(pod, "Ready"), pod::is_ending(pod));
    let all = service["spec"]["publishNotReadyAddresses"] == true;
    let node = text(&pod["spec"], "nodeName");
    let mut shown = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": { "ready": all || (is_ready && !is_ending), "serving": is_ready, "terminating": is_ending },
        "nodeName": node,
        "targetRef": reference(pod),
    });
    let zone =
        store.get("nodes", node).map_or("", |node| text(&node["metadata"]["labels"], "topology.kubernetes.io/zone"));
    if !zone.is_empty() {
        shown["zone"] = json!(zone);
    }
    if let Some(hostname) = hostname(service, pod) {
        shown["hostname"] = hostname;
    }
    shown
}

fn address(service: &Value, pod: &Value) -> Value {
    let mut shown = json!({ "ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"],
        "targetRef": reference(pod) });
    if let Some(hostname) = hostname(service, pod) {
        shown["hostname"] = hostname;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;

    fn world(service: Value) -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        for behaviour in ["pods are scheduled", "pods of gone nodes go"] {
            world.switch_off(behaviour);
        }
        let mut spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http" }] });
        for (key, value) in service.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let service = json!({ "metadata": { "name": "web", "namespace": "default" }, "spec": spec });
        kube::create(&mut world, "prod", SERVICES, service);
        settle(&mut world);
        world
    }

    fn add(world: &mut World, number: usize, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let pod = json!({ "metadata": { "name": format!("web-{number:03}"), "namespace": "default",
            "labels": { "app": "web" } },
            "spec": { "nodeName": "n1", "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
            "status": { "phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250),
                "conditions": [{ "type": "Ready", "status": status }] } });
        kube::create(world, "prod", "pods", pod);
    }

    fn slices(world: &World) -> Vec<Value> {
        world.store("prod").unwrap().within(SLICES, "default").map(|(_, slice)| slice.clone()).collect()
    }

    #[test]
    fn endpoints_that_somebody_wrote_are_mirrored_until_their_service_selects() {
        let mut world = world(json!({ "selector": null, "ports": [{ "port": 80 }] }));
        assert!(slices(&world).is_empty());
        let endpoints = json!({ "metadata": { "name": "web", "namespace": "default" },
            "subsets": [{ "addresses": [{ "ip": "192.0.2.7" }], "ports": [{ "port": 8080, "protocol": "TCP" }] }] });
        kube::create(&mut world, "prod", ENDPOINTS, endpoints);
        settle(&mut world);
        let slice = &slices(&world)[0];
        assert_eq!(slice["endpoints"], json!([{ "addresses": ["192.0.2.7"], "conditions": { "ready": true } }]));
        assert_eq!(slice["ports"][0]["port"], 8080);
        let manager = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
        assert_eq!(manager, "endpointslicemirroring-controller.k8s.io");
        world.store_mut("prod").unwrap().change(ENDPOINTS, "default/web", |one| one["subsets"] = json!([]));
        settle(&mut world);
        assert!(slices(&world).is_empty());
    }

    #[test]
    fn a_pod_without_the_port_is_in_a_slice_only() {
        let mut world = world(json!({ "ports": [{ "port": 80, "targetPort": "absent" }] }));
        add(&mut world, 1, true);
        settle(&mut world);
        let slice = &slices(&world)[0];
        assert_eq!((list(&slice["endpoints"]).len(), &slice["ports"], subsets(&world)), (1, &Value::Null, Value::Null));
    }

    fn subsets(world: &World) -> Value {
        world.store("prod").unwrap().get(ENDPOINTS, "default/web").unwrap()["subsets"].clone()
    }

    #[test]
    fn a_service_knows_which_of_its_pods_are_ready() {
        let mut world = world(json!({}));
        assert_eq!((slices(&world).len(), subsets(&world)), (1, Value::Null));
        add(&mut world, 1, true);
        add(&mut world, 2, false);
        settle(&mut world);
        let slice = &slices(&world)[0];
        let ready: Vec<&Value> = list(&slice["endpoints"]).iter().map(|one| &one["conditions"]["ready"]).collect();
        assert_eq!(ready, [&json!(true), &json!(false)]);
        assert_eq!(slice["ports"], json!([{ "name": "", "port": 8080, "protocol": "TCP" }]));
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
        let subsets = subsets(&world);
        assert_eq!(subsets[0]["addresses"][0]["ip"], "10.0.0.1");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
        let before = world.store("prod").unwrap().revision();
        world.touch("kube/services");
        settle(&mut world);
        assert_eq!(world.store("prod").unwrap().revision(), before, "at rest nothing is written");
        kube::delete(&mut world, "prod", "pods", "default/web-002");
        settle(&mut world);
        let ends = slices(&world)[0]["endpoints"][1]["conditions"].clone();
        assert_eq!(ends, json!({ "ready": false, "serving": false, "terminating": true }));
    }

    #[test]
    fn a_slice_holds_a_hundred() {
        let mut world = world(json!({ "clusterIP": "None" }));
        (0..230).for_each(|number| add(&mut world, number, true));
        settle(&mut world);
        let mut sizes: Vec<usize> = slices(&world).iter().map(|slice| list(&slice["endpoints"]).len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [30, 100, 100]);
        assert_eq!(slices(&world)[0]["metadata"]["labels"]["service.kubernetes.io/headless"], "");
        kube::delete(&mut world, "prod", SERVICES, "default/web");
        settle(&mut world);
        assert!(slices(&world).is_empty());
        assert!(world.store("prod").unwrap().get(ENDPOINTS, "default/web").is_none());
    }
}
