//! What the server fills in where an object says nothing: the defaults that controllers, kubectl and runbooks rely on.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kinds::Served;
use super::store::Store;

/// Sets a field that is absent or null.
fn or(value: &mut Value, key: &str, default: Value) {
    if let Some(map) = value.as_object_mut() {
        let slot = map.entry(key.to_owned()).or_insert(Value::Null);
        if slot.is_null() {
            *slot = default;
        }
    }
}

fn each<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A part that is there.
fn part<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    value.get_mut(key).filter(|part| part.is_object())
}

/// Fills in what an object of this kind does not say. Written twice, it changes nothing the second time.
pub fn fill(served: &Served, object: &mut Value) {
    match served.table.as_str() {
        "pods" => pod(object),
        "podtemplates" => part(object, "template").and_then(|one| part(one, "spec")).into_iter().for_each(pod_spec),
        "deployments.apps" => deployment(object),
        "replicasets.apps" => replica_set(object),
        "replicationcontrollers" => replication_controller(object),
        "daemonsets.apps" => daemon_set(object),
        "statefulsets.apps" => stateful_set(object),
        "jobs.batch" => job(object),
        "cronjobs.batch" => cron_job(object),
        "services" => service(object),
        "namespaces" => namespace(object),
        "secrets" => secret(object),
        "nodes" => or(object, "spec", json!({})),
        "persistentvolumeclaims" => part(object, "spec").into_iter().for_each(claim),
        "persistentvolumes" => volume(object),
        "limitranges" => limits(object),
        "endpoints" => {
            for subset in each(object, "subsets") {
                each(subset, "ports").for_each(|port| or(port, "protocol", json!("TCP")));
            }
        }
        "endpointslices.discovery.k8s.io" => {
            for port in each(object, "ports") {
                or(port, "protocol", json!("TCP"));
                or(port, "name", json!(""));
            }
        }
        "storageclasses.storage.k8s.io" => {
            or(object, "reclaimPolicy", json!("Delete"));
            or(object, "volumeBindingMode", json!("Immediate"));
        }
        "csidrivers.storage.k8s.io" => csi_driver(object),
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => binding(object),
        "networkpolicies.networking.k8s.io" => network_policy(object),
        "priorityclasses.scheduling.k8s.io" => or(object, "preemptionPolicy", json!("PreemptLowerPriority")),
        "horizontalpodautoscalers.autoscaling" => {
            part(object, "spec").into_iter().for_each(|spec| or(spec, "minReplicas", json!(1)));
            if served.version == "v2"
                && let Some(spec) = part(object, "spec")
            {
                or(
                    spec,
                    "metrics",
                    json!([{ "type": "Resource", "resource": {
                    "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }]),
                );
                part(spec, "behavior").into_iter().for_each(behavior);
            }
        }
        "mutatingwebhookconfigurations.admissionregistration.k8s.io" => {
            each(object, "webhooks").for_each(|one| or(one, "reinvocationPolicy", json!("Never")));
            each(object, "webhooks").for_each(webhook);
        }
        "validatingwebhookconfigurations.admissionregistration.k8s.io" => each(object, "webhooks").for_each(webhook),
        "customresourcedefinitions.apiextensions.k8s.io" => super::crd::fill(object),
        _ => {}
    }
}

/// An autoscaler with rules for one way has the usual ones for what they leave open.
fn behavior(rules: &mut Value) {
    let doubled = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let up = json!({ "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }, doubled] });
    let down = json!({ "selectPolicy": "Max", "policies": [doubled] });
    for (way, usual) in [("scaleUp", up), ("scaleDown", down)] {
        or(rules, way, json!({}));
        for (field, value) in usual.as_object().into_iter().flatten() {
            or(&mut rules[way], field, value.clone());
        }
    }
}

/// The status that an object of this kind begins with.
pub fn begin(served: &Served, object: &mut Value) {
    let class = if served.table == "pods" { quality(&object["spec"]) } else { "" };
    let status = match served.table.as_str() {
        "pods" => json!({ "phase": "Pending", "qosClass": class }),
        "namespaces" => json!({ "phase": "Active" }),
        "persistentvolumeclaims" | "persistentvolumes" => json!({ "phase": "Pending" }),
        _ => return,
    };
    for (field, value) in status.as_object().into_iter().flatten() {
        if object["status"].is_null() {
            object["status"] = json!({});
        }
        or(&mut object["status"], field, value.clone());
    }
    if served.table == "namespaces" && object["metadata"]["deletionTimestamp"].is_null() {
        if object["spec"].is_null() {
            object["spec"] = json!({});
        }
        or(&mut object["spec"], "finalizers", json!(["kubernetes"]));
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        pod_spec(spec);
        or(spec, "enableServiceLinks", json!(true));
        let host_network = spec["hostNetwork"] == true;
        for list in ["initContainers", "containers"] {
            each(spec, list).for_each(|one| container_of_pod(one, host_network));
        }
    }
}

/// What admission adds to a pod: the class, the account, how long it stays on a node that is not ready, and its token.
pub fn admit(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(spec) = part(object, "spec") else { return };
    or(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    or(spec, "priority", json!(0));
    let account = spec["serviceAccountName"].as_str().unwrap_or("default").to_owned();
    or(spec, "serviceAccountName", json!(account));
    or(spec, "serviceAccount", json!(account));
    let tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    spec["tolerations"] = Value::Array(with_node_tolerations(tolerations));
    if spec["automountServiceAccountToken"] != false {
        mount_token(spec, &name);
    }
}

const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Mounts the account's token into all containers, where nothing is mounted there yet.
fn mount_token(spec: &mut Value, pod: &str) {
    let has_it = |one: &Value| {
        one["volumeMounts"].as_array().into_iter().flatten().any(|mount| mount["mountPath"] == TOKEN_FOLDER)
    };
    let lists = ["initContainers", "containers"];
    if lists.iter().all(|list| spec[*list].as_array().into_iter().flatten().all(has_it)) {
        return;
    }
    // The five letters differ from pod to pod and are the same in every rehearsal.
    let sum = pod.bytes().fold(5381_u64, |sum, byte| sum.wrapping_mul(33) ^ u64::from(byte));
    let letters: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let count = letters.len() as u64;
    let letter = |place: u32| {
        let pick = usize::try_from(sum / count.pow(place) % count).unwrap_or_default();
        char::from(letters[pick])
    };
    let name = format!("kube-api-access-{}", (0..5).map(letter).collect::<String>());
    let mount = json!({ "name": name, "readOnly": true, "mountPath": TOKEN_FOLDER });
    for list in lists {
        for one in each(spec, list) {
            if !has_it(one) {
                or(one, "volumeMounts", json!([]));
                one["volumeMounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(mount.clone()));
            }
        }
    }
    or(spec, "volumes", json!([]));
    let volume = json!({ "name": name, "projected": { "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace",
            "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
    ] } });
    spec["volumes"].as_array_mut().into_iter().for_each(|volumes| volumes.push(volume.clone()));
}

/// Keeps a new object from going while it is in use.
pub fn protect(object: &mut Value, finalizer: &str) {
    let metadata = &mut object["metadata"];
    or(metadata, "finalizers", json!([]));
    if let Some(list) = metadata["finalizers"].as_array_mut()
        && !list.iter().any(|one| one == finalizer)
    {
        list.push(json!(finalizer));
    }
}

/// With what admission adds: five minutes on a node that is not ready or not reachable.
fn with_node_tolerations(mut tolerations: Vec<Value>) -> Vec<Value> {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = |one: &Value| {
            (one["key"] == key || one["key"].as_str().unwrap_or_default().is_empty())
                && matches!(one["effect"].as_str().unwrap_or_default(), "" | "NoExecute")
        };
        if !tolerations.iter().any(tolerates) {
            tolerations
                .push(json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }));
        }
    }
    tolerations
}

/// `Guaranteed` where all containers have equal limits and requests of both, `BestEffort` where none has any.
fn quality(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let all: Vec<&Value> = lists.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten()).collect();
    let has = |one: &&Value, which: &str| one["resources"][which].as_object().is_some_and(|map| !map.is_empty());
    if !all.iter().any(|one| has(one, "requests") || has(one, "limits")) {
        return "BestEffort";
    }
    let guaranteed = all.iter().all(|one| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = &one["resources"]["limits"][name];
            let request = &one["resources"]["requests"][name];
            !limit.is_null() && (request.is_null() || request == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// What pods and templates of pods have in common.
fn pod_spec(spec: &mut Value) {
    or(spec, "restartPolicy", json!("Always"));
    or(spec, "dnsPolicy", json!("ClusterFirst"));
    or(spec, "terminationGracePeriodSeconds", json!(30));
    or(spec, "schedulerName", json!("default-scheduler"));
    or(spec, "securityContext", json!({}));
    if let Some(account) = spec["serviceAccountName"].as_str().map(str::to_owned) {
        or(spec, "serviceAccount", json!(account));
    }
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(pod_volume);
}

/// What containers of pods get, and those of templates do not yet.
fn container_of_pod(container: &mut Value, host_network: bool) {
    // What has a limit and no request requests its limit.
    let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
    for (name, amount) in limits {
        or(&mut container["resources"], "requests", json!({}));
        or(&mut container["resources"]["requests"], &name, amount);
    }
    for port in each(container, "ports").filter(|_| host_network) {
        let number = port["containerPort"].clone();
        or(port, "hostPort", number);
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    or(container, "imagePullPolicy", json!(if is_latest { "Always" } else { "IfNotPresent" }));
    or(container, "terminationMessagePath", json!("/dev/termination-log"));
    or(container, "terminationMessagePolicy", json!("File"));
    or(container, "resources", json!({}));
    for port in each(container, "ports") {
        or(port, "protocol", json!("TCP"));
    }
    for variable in each(container, "env") {
        if let Some(from) = variable.get_mut("valueFrom") {
            part(from, "fieldRef").into_iter().for_each(|field| or(field, "apiVersion", json!("v1")));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = part(container, probe) {
            for (field, default) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                or(probe, field, json!(default));
            }
            handler(probe);
            if let Some(grpc) = part(probe, "grpc") {
                or(grpc, "service", json!(""));
            }
        }
    }
    if let Some(lifecycle) = part(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            part(lifecycle, hook).into_iter().for_each(handler);
        }
    }
}

/// What a probe or hook asks over HTTP.
fn handler(handler: &mut Value) {
    if let Some(http) = part(handler, "httpGet") {
        or(http, "path", json!("/"));
        or(http, "scheme", json!("HTTP"));
    }
}

fn pod_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("name")) {
        volume["emptyDir"] = json!({});
    }
    for (source, mode) in [("configMap", 420), ("secret", 420), ("projected", 420), ("downwardAPI", 420)] {
        if let Some(source) = part(volume, source) {
            or(source, "defaultMode", json!(mode));
        }
    }
    if let Some(host) = part(volume, "hostPath") {
        or(host, "type", json!(""));
    }
    for source in ["downwardAPI", "projected"] {
        let items = volume.get_mut(source).into_iter().flat_map(|one| match source {
            "downwardAPI" => vec![one],
            _ => each(one, "sources").filter_map(|one| part(one, "downwardAPI")).collect(),
        });
        for item in items.collect::<Vec<_>>() {
            for field in each(item, "items").filter_map(|item| part(item, "fieldRef")) {
                or(field, "apiVersion", json!("v1"));
            }
        }
    }
    if let Some(iscsi) = part(volume, "iscsi") {
        or(iscsi, "iscsiInterface", json!("default"));
    }
    if let Some(projected) = part(volume, "projected") {
        for token in each(projected, "sources").filter_map(|source| part(source, "serviceAccountToken")) {
            or(token, "expirationSeconds", json!(3600));
        }
    }
}

/// The spec of a workload, its template filled in.
fn templated(object: &mut Value) -> Option<&mut Value> {
    let spec = part(object, "spec")?;
    if let Some(template) = part(spec, "template") {
        or(template, "metadata", json!({}));
        part(template, "spec").into_iter().for_each(pod_spec);
    }
    Some(spec)
}

/// A field that is absent, null or the empty text.
fn or_text(value: &mut Value, key: &str, default: &str) {
    if value[key] == "" {
        value[key] = Value::Null;
    }
    or(value, key, json!(default));
}

fn deployment(object: &mut Value) {
    if let Some(spec) = templated(object) {
        or(spec, "replicas", json!(1));
        or(spec, "revisionHistoryLimit", json!(10));
        or(spec, "progressDeadlineSeconds", json!(600));
        or(spec, "strategy", json!({}));
        or(&mut spec["strategy"], "type", json!("RollingUpdate"));
        if spec["strategy"]["type"] == "RollingUpdate" {
            or(&mut spec["strategy"], "rollingUpdate", json!({}));
            or(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
            or(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
        }
    }
}

fn replica_set(object: &mut Value) {
    templated(object).into_iter().for_each(|spec| or(spec, "replicas", json!(1)));
}

fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if let Some(spec) = templated(object) {
        or(spec, "replicas", json!(1));
        if labels.is_object() {
            or(spec, "selector", labels);
        }
    }
    labels_of_template(object);
}

/// A set of replicas without labels gets those of its pods.
fn labels_of_template(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) && object["metadata"].is_object() {
        or(&mut object["metadata"], "labels", labels);
    }
}

fn daemon_set(object: &mut Value) {
    if object["metadata"].is_object() {
        or(&mut object["metadata"], "annotations", json!({}));
        or(&mut object["metadata"]["annotations"], "deprecated.daemonset.template.generation", json!("1"));
    }
    if let Some(spec) = templated(object) {
        or(spec, "revisionHistoryLimit", json!(10));
        or(spec, "updateStrategy", json!({}));
        or(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
        if spec["updateStrategy"]["type"] == "RollingUpdate" {
            or(&mut spec["updateStrategy"], "rollingUpdate", json!({}));
            or(&mut spec["updateStrategy"]["rollingUpdate"], "maxUnavailable", json!(1));
            or(&mut spec["updateStrategy"]["rollingUpdate"], "maxSurge", json!(0));
        }
    }
}

fn stateful_set(object: &mut Value) {
    if let Some(spec) = templated(object) {
        or(spec, "replicas", json!(1));
        or(spec, "revisionHistoryLimit", json!(10));
        or(spec, "podManagementPolicy", json!("OrderedReady"));
        or(spec, "updateStrategy", json!({}));
        or(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
        if spec["updateStrategy"]["type"] == "RollingUpdate" {
            or(&mut spec["updateStrategy"], "rollingUpdate", json!({}));
            or(&mut spec["updateStrategy"]["rollingUpdate"], "partition", json!(0));
        }
        or(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        or(&mut spec["persistentVolumeClaimRetentionPolicy"], "whenDeleted", json!("Retain"));
        or(&mut spec["persistentVolumeClaimRetentionPolicy"], "whenScaled", json!("Retain"));
        for template in each(spec, "volumeClaimTemplates") {
            or(template, "apiVersion", json!("v1"));
            or(template, "kind", json!("PersistentVolumeClaim"));
            part(template, "spec").into_iter().for_each(claim);
            or(template, "status", json!({}));
            or(&mut template["status"], "phase", json!("Pending"));
        }
    }
}

fn job(object: &mut Value) {
    let Some(spec) = templated(object) else { return };
    let per_index = spec["backoffLimitPerIndex"].is_i64();
    or(spec, "backoffLimit", if per_index { json!(i32::MAX) } else { json!(6) });
    if spec["parallelism"].is_null() {
        or(spec, "completions", json!(1));
    }
    or(spec, "parallelism", json!(1));
    or(spec, "completionMode", json!("NonIndexed"));
    or(spec, "suspend", json!(false));
    or(spec, "manualSelector", json!(false));
    let policy = if spec["podFailurePolicy"].is_object() { "Failed" } else { "TerminatingOrFailed" };
    or(spec, "podReplacementPolicy", json!(policy));
}

fn cron_job(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        or(spec, "concurrencyPolicy", json!("Allow"));
        or(spec, "suspend", json!(false));
        or(spec, "successfulJobsHistoryLimit", json!(3));
        or(spec, "failedJobsHistoryLimit", json!(1));
        if let Some(job) = part(spec, "jobTemplate").and_then(|template| part(template, "spec"))
            && let Some(template) = part(job, "template")
        {
            part(template, "spec").into_iter().for_each(pod_spec);
        }
    }
}

fn service(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        or(spec, "type", json!("ClusterIP"));
        or(spec, "sessionAffinity", json!("None"));
        let kind = spec["type"].as_str().unwrap_or_default().to_owned();
        if kind != "ExternalName" {
            or(spec, "internalTrafficPolicy", json!("Cluster"));
        }
        if spec["sessionAffinity"] == "ClientIP" {
            or(spec, "sessionAffinityConfig", json!({ "clientIP": { "timeoutSeconds": 10800 } }));
        }
        if kind == "LoadBalancer" || kind == "NodePort" {
            or(spec, "externalTrafficPolicy", json!("Cluster"));
        }
        if kind == "LoadBalancer" {
            or(spec, "allocateLoadBalancerNodePorts", json!(true));
        }
        for port in each(spec, "ports") {
            or(port, "protocol", json!("TCP"));
            if port["targetPort"] == 0 || port["targetPort"] == "" {
                port["targetPort"] = Value::Null;
            }
            let number = port["port"].clone();
            or(port, "targetPort", number);
        }
    }
}

fn limits(object: &mut Value) {
    let Some(spec) = part(object, "spec") else { return };
    for limit in each(spec, "limits").filter(|limit| limit["type"] == "Container") {
        // Maximum, then minimum, then what is limited by default is what is requested by default.
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            for (name, amount) in limit[from].as_object().cloned().unwrap_or_default() {
                or(limit, to, json!({}));
                or(&mut limit[to], &name, amount);
            }
        }
    }
}

/// Services live in EKS's default range.
pub(super) const SERVICE_RANGE: [u8; 2] = [172, 20];
/// The first port that is given to services on nodes, and how many there are.
const NODE_PORTS: (u64, u64) = (30000, 2768);

/// Gives a service the address and the ports that are its own.
pub fn allocate(store: &Store, object: &mut Value) {
    let Some(spec) = part(object, "spec") else { return };
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return;
    }
    if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        let services = store.list("services").values();
        let taken: BTreeSet<&str> = services.filter_map(|other| other["spec"]["clusterIP"].as_str()).collect();
        // 172.20.0.1 is the server's own and 172.20.0.10 that of DNS.
        let free = (0..=u8::MAX).flat_map(|high| (1..=254).map(move |low| (high, low)));
        let address = |(high, low): (u8, u8)| format!("{}.{}.{high}.{low}", SERVICE_RANGE[0], SERVICE_RANGE[1]);
        let mut free = free.filter(|place| !matches!(place, (0, 1..=15))).map(address);
        if let Some(free) = free.find(|address| !taken.contains(&address.as_str())) {
            spec["clusterIP"] = json!(free);
        }
    }
    // Without an address and pods of its own a Service is of both families.
    let is_bare = spec["clusterIP"] == "None" && spec["selector"].as_object().is_none_or(Map::is_empty);
    or(spec, "ipFamilies", if is_bare { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) });
    or(spec, "ipFamilyPolicy", json!(if is_bare { "RequireDualStack" } else { "SingleStack" }));
    let address = spec["clusterIP"].clone();
    or(spec, "clusterIPs", json!([address]));
    if kind == "LoadBalancer" || kind == "NodePort" {
        let mut taken: Vec<u64> = store
            .list("services")
            .values()
            .flat_map(|other| other["spec"]["ports"].as_array().into_iter().flatten())
            .filter_map(|port| port["nodePort"].as_u64())
            .collect();
        for port in each(spec, "ports").filter(|port| port["nodePort"].as_u64().unwrap_or(0) == 0) {
            // Spread as the server spreads them, the same in every rehearsal.
            let start = (taken.len() as u64 * 397 + 1234) % NODE_PORTS.1;
            let free = (0..NODE_PORTS.1).map(|step| NODE_PORTS.0 + (start + step) % NODE_PORTS.1);
            if let Some(free) = free.into_iter().find(|number| !taken.contains(number)) {
                port["nodePort"] = json!(free);
                taken.push(free);
            }
        }
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    or(&mut object["metadata"], "labels", json!({}));
    // A name that is still to be made is labelled when it is.
    if name.as_str().is_some_and(|name| !name.is_empty()) {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

fn secret(object: &mut Value) {
    use base64::Engine;
    or(object, "type", json!("Opaque"));
    let Some(texts) = object.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let texts = texts.as_object().cloned().unwrap_or_default();
    let encoded: Map<String, Value> =
        texts.iter().map(|(key, text)| (key.clone(), json!(encode(text.as_str().unwrap_or_default())))).collect();
    if !encoded.is_empty() {
        or(object, "data", json!({}));
    }
    for (key, value) in encoded {
        object["data"][key] = value;
    }
}

fn claim(spec: &mut Value) {
    or(spec, "volumeMode", json!("Filesystem"));
}

fn volume(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        or(spec, "volumeMode", json!("Filesystem"));
        or(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
        if let Some(host) = part(spec, "hostPath") {
            or(host, "type", json!(""));
        }
    }
}

fn csi_driver(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        or(spec, "attachRequired", json!(true));
        or(spec, "fsGroupPolicy", json!("ReadWriteOnceWithFSType"));
        or(spec, "podInfoOnMount", json!(false));
        or(spec, "requiresRepublish", json!(false));
        or(spec, "seLinuxMount", json!(false));
        or(spec, "storageCapacity", json!(false));
        or(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}

fn binding(object: &mut Value) {
    if let Some(reference) = part(object, "roleRef") {
        or_text(reference, "apiGroup", "rbac.authorization.k8s.io");
    }
    for subject in each(object, "subjects") {
        if subject["kind"] == "User" || subject["kind"] == "Group" {
            or(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
    }
}

fn network_policy(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        for rules in ["ingress", "egress"] {
            for rule in each(spec, rules) {
                each(rule, "ports").for_each(|port| or(port, "protocol", json!("TCP")));
            }
        }
        let egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
        or(spec, "policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn webhook(webhook: &mut Value) {
    or(webhook, "failurePolicy", json!("Fail"));
    or(webhook, "matchPolicy", json!("Equivalent"));
    or(webhook, "namespaceSelector", json!({}));
    or(webhook, "objectSelector", json!({}));
    or(webhook, "timeoutSeconds", json!(10));
    if let Some(service) = webhook.get_mut("clientConfig").and_then(|client| part(client, "service")) {
        or(service, "port", json!(443));
    }
    for rule in each(webhook, "rules") {
        or(rule, "scope", json!("*"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::kinds;

    fn filled(mut object: Value) -> Value {
        let api = object["apiVersion"].as_str().unwrap().to_owned();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let served = kinds::of_object(&Store::default(), &api, &kind).unwrap();
        fill(&served, &mut object);
        begin(&served, &mut object);
        let once = object.clone();
        fill(&served, &mut object);
        begin(&served, &mut object);
        assert_eq!(once, object, "defaults come to rest");
        object
    }

    #[test]
    fn a_deployment_rolls_by_quarters() {
        let web = filled(
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
            "template": { "spec": { "containers": [{ "name": "a", "image": "nginx", "ports": [{ "containerPort": 80 }] }] } } } }),
        );
        assert_eq!(web["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        assert_eq!(web["spec"]["replicas"], 1);
        let container = &web["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            (&container["imagePullPolicy"], &container["ports"][0]["protocol"]),
            (&json!("Always"), &json!("TCP"))
        );
    }

    #[test]
    fn the_quality_of_a_pod_follows_its_containers() {
        let pod = |resources: Value| {
            let spec = json!({ "containers": [{ "name": "a", "image": "r/a:1", "resources": resources }] });
            filled(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": spec }))
        };
        assert_eq!(pod(json!({}))["status"]["qosClass"], "BestEffort");
        assert_eq!(pod(json!({ "requests": { "cpu": "1" } }))["status"]["qosClass"], "Burstable");
        let whole = pod(json!({ "limits": { "cpu": "1", "memory": "1Gi" } }));
        assert_eq!(whole["status"]["qosClass"], "Guaranteed");
        assert_eq!(whole["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(whole["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    }

    #[test]
    fn services_get_different_addresses() {
        let mut store = Store::default();
        for name in ["a", "b"] {
            let mut object = json!({ "metadata": { "name": name, "namespace": "default" }, "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] } });
            allocate(&store, &mut object);
            store.create("services", object);
        }
        let of = |key: &str, path: &str| store.get("services", key).unwrap().pointer(path).unwrap().clone();
        assert_eq!(of("default/a", "/spec/clusterIP"), "172.20.0.16");
        assert_eq!(of("default/b", "/spec/clusterIP"), "172.20.0.17");
        assert_ne!(of("default/a", "/spec/ports/0/nodePort"), of("default/b", "/spec/ports/0/nodePort"));
    }
}
