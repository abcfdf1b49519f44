//! The columns of the kinds that are built in.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::seen::{Seen, as_text, joined, some};
use super::{Cell, Column, age, pod, selector};

/// What a cell of a column shows of an object.
type Show = fn(&Seen<'_>) -> Value;

const fn column(name: &'static str, of: &'static str, format: &'static str, priority: i64, cell: Cell) -> Column {
    Column { name: Cow::Borrowed(name), of: Cow::Borrowed(of), format: Cow::Borrowed(format), priority, cell }
}

const fn text(name: &'static str, cell: Show) -> Column {
    column(name, "string", "", 0, Cell::Of(cell))
}

/// What stands in a field.
const fn field(name: &'static str, path: &'static str) -> Column {
    field_or(name, path, "")
}

/// What stands in a field, or that nothing does.
const fn field_or(name: &'static str, path: &'static str, none: &'static str) -> Column {
    column(name, "string", "", 0, Cell::Field { path, none })
}

/// The number in a field, 0 where there is none.
const fn number(name: &'static str, path: &'static str) -> Column {
    column(name, "integer", "", 0, Cell::Number(path))
}

/// How many entries the list in a field has.
const fn count(name: &'static str, path: &'static str) -> Column {
    column(name, "integer", "", 0, Cell::Count(path))
}

const fn flag(name: &'static str, cell: Show) -> Column {
    column(name, "boolean", "", 0, Cell::Of(cell))
}

/// Shown only when all is to be shown.
const fn wide(name: &'static str, cell: Show) -> Column {
    apart(text(name, cell))
}

/// The same column, shown only when all is to be shown.
const fn apart(mut column: Column) -> Column {
    column.priority = 1;
    column
}

/// Names the row.
const fn naming(name: &'static str, cell: Show) -> Column {
    column(name, "string", "name", 0, Cell::Of(cell))
}

const NAME: Column = column("Name", "string", "name", 0, Cell::Field { path: "/metadata/name", none: "" });
const AGE: Column = text("Age", |seen| json!(seen.since("/metadata/creationTimestamp")));
const CREATED: Column =
    column("Created At", "date", "", 0, Cell::Field { path: "/metadata/creationTimestamp", none: "" });
/// Of kinds that keep a number of pods.
const DESIRED: Column = number("Desired", "/spec/replicas");
const CURRENT: Column = number("Current", "/status/replicas");
const RUNNING: Column = number("Ready", "/status/readyReplicas");

const CONTAINERS: Column = wide("Containers", |seen| json!(joined(containers(seen), "name")));
const IMAGES: Column = wide("Images", |seen| json!(joined(containers(seen), "image")));
const SELECTOR: Column = wide("Selector", |seen| json!(selector::selector(seen.at("/spec/selector"))));

fn containers<'a>(seen: &Seen<'a>) -> &'a [Value] {
    seen.items("/spec/template/spec/containers")
}

/// Of kinds that have no printer of their own.
const PLAIN: &[Column] = &[NAME, CREATED];
const AGED: &[Column] = &[NAME, AGE];

/// Columns by table of the store.
const TABLES: &[(&str, &[Column])] = &[
    ("componentstatuses", COMPONENT_STATUSES),
    ("configmaps", CONFIG_MAPS),
    ("endpoints", ENDPOINTS),
    ("events", EVENTS),
    ("namespaces", NAMESPACES),
    ("nodes", NODES),
    ("persistentvolumeclaims", CLAIMS),
    ("persistentvolumes", VOLUMES),
    ("pods", PODS),
    ("podtemplates", POD_TEMPLATES),
    ("replicationcontrollers", REPLICATION_CONTROLLERS),
    ("resourcequotas", QUOTAS),
    ("secrets", SECRETS),
    ("serviceaccounts", AGED),
    ("services", SERVICES),
    ("apiservices.apiregistration.k8s.io", API_SERVICES),
    ("controllerrevisions.apps", REVISIONS),
    ("daemonsets.apps", DAEMON_SETS),
    ("deployments.apps", DEPLOYMENTS),
    ("replicasets.apps", REPLICA_SETS),
    ("statefulsets.apps", STATEFUL_SETS),
    ("horizontalpodautoscalers.autoscaling", AUTOSCALERS),
    ("cronjobs.batch", CRON_JOBS),
    ("jobs.batch", JOBS),
    ("certificatesigningrequests.certificates.k8s.io", SIGNING_REQUESTS),
    ("ingresses.networking.k8s.io", INGRESSES),
    ("ingressclasses.networking.k8s.io", INGRESS_CLASSES),
    ("ipaddresses.networking.k8s.io", IP_ADDRESSES),
    ("networkpolicies.networking.k8s.io", NETWORK_POLICIES),
    ("servicecidrs.networking.k8s.io", SERVICE_CIDRS),
    ("poddisruptionbudgets.policy", BUDGETS),
    ("clusterrolebindings.rbac.authorization.k8s.io", ROLE_BINDINGS),
    ("rolebindings.rbac.authorization.k8s.io", ROLE_BINDINGS),
    ("csidrivers.storage.k8s.io", CSI_DRIVERS),
    ("csinodes.storage.k8s.io", CSI_NODES),
    ("storageclasses.storage.k8s.io", STORAGE_CLASSES),
    ("volumeattachments.storage.k8s.io", ATTACHMENTS),
    ("volumeattributesclasses.storage.k8s.io", ATTRIBUTES_CLASSES),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", WEBHOOKS),
    ("validatingwebhookconfigurations.admissionregistration.k8s.io", WEBHOOKS),
    ("validatingadmissionpolicies.admissionregistration.k8s.io", POLICIES),
    ("validatingadmissionpolicybindings.admissionregistration.k8s.io", POLICY_BINDINGS),
    ("priorityclasses.scheduling.k8s.io", PRIORITIES),
    ("leases.coordination.k8s.io", LEASES),
    ("runtimeclasses.node.k8s.io", RUNTIME_CLASSES),
    ("endpointslices.discovery.k8s.io", SLICES),
    ("flowschemas.flowcontrol.apiserver.k8s.io", FLOW_SCHEMAS),
    ("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", PRIORITY_LEVELS),
    ("deviceclasses.resource.k8s.io", AGED),
    ("resourceclaims.resource.k8s.io", RESOURCE_CLAIMS),
    ("resourceclaimtemplates.resource.k8s.io", AGED),
    ("resourceslices.resource.k8s.io", RESOURCE_SLICES),
];

/// The columns of a built-in kind.
pub fn columns(table: &str) -> &'static [Column] {
    TABLES.iter().find(|(name, _)| *name == table).map_or(PLAIN, |(_, columns)| columns)
}

// ---- the core

const COMPONENT_STATUSES: &[Column] = &[
    NAME,
    text("Status", |seen| match healthy(seen)["status"].as_str() {
        Some("True") => json!("Healthy"),
        Some(_) => json!("Unhealthy"),
        None => json!("Unknown"),
    }),
    text("Message", |seen| json!(as_text(&healthy(seen)["message"]))),
    text("Error", |seen| json!(as_text(&healthy(seen)["error"]))),
];

fn healthy<'a>(seen: &Seen<'a>) -> &'a Value {
    seen.items("/conditions").iter().find(|one| one["type"] == "Healthy").unwrap_or(&Value::Null)
}

const CONFIG_MAPS: &[Column] =
    &[NAME, text("Data", |seen| json!(seen.count("/data") + seen.count("/binaryData"))), AGE];

const ENDPOINTS: &[Column] = &[NAME, text("Endpoints", |seen| json!(endpoints(seen))), AGE];

fn endpoints(seen: &Seen<'_>) -> String {
    let mut list = Vec::new();
    for subset in seen.items("/subsets") {
        let addresses = || subset["addresses"].as_array().into_iter().flatten().map(|one| as_text(&one["ip"]));
        match subset["ports"].as_array().filter(|ports| !ports.is_empty()) {
            // Headless services may have none.
            None => list.extend(addresses()),
            Some(ports) => list.extend(ports.iter().flat_map(|port| addresses().map(|ip| at_port(&ip, &port["port"])))),
        }
    }
    if seen.items("/subsets").is_empty() { "<none>".to_owned() } else { some(&list, 3, ",") }
}

fn at_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

const EVENTS: &[Column] = &[
    text("Last Seen", |seen| json!(last_seen(seen))),
    field("Type", "/type"),
    field("Reason", "/reason"),
    text("Object", |seen| {
        let about = about(seen);
        let kind = as_text(&about["kind"]).to_lowercase();
        let name = as_text(&about["name"]);
        json!(if name.is_empty() { kind } else { format!("{kind}/{name}") })
    }),
    wide("Subobject", |seen| json!(as_text(&about(seen)["fieldPath"]))),
    wide("Source", |seen| json!(source(seen))),
    text("Message", |seen| json!(as_text(either(seen, "/message", "/note")).trim())),
    wide("First Seen", |seen| json!(first_seen(seen))),
    wide("Count", |seen| json!(times(seen))),
    apart(NAME),
];

/// A field of an event, which is called otherwise in `events.k8s.io`.
fn either<'a>(seen: &Seen<'a>, name: &str, other: &str) -> &'a Value {
    if seen.at(name).is_null() { seen.at(other) } else { seen.at(name) }
}

fn about<'a>(seen: &Seen<'a>) -> &'a Value {
    either(seen, "/involvedObject", "/regarding")
}

fn first_seen(seen: &Seen<'_>) -> String {
    let first = either(seen, "/firstTimestamp", "/deprecatedFirstTimestamp");
    age::since(if first.is_null() { seen.at("/eventTime") } else { first }, seen.now)
}

fn last_seen(seen: &Seen<'_>) -> String {
    let last = match seen.at("/series/lastObservedTime") {
        Value::Null => either(seen, "/lastTimestamp", "/deprecatedLastTimestamp"),
        last => last,
    };
    if last.is_null() { first_seen(seen) } else { age::since(last, seen.now) }
}

fn times(seen: &Seen<'_>) -> i64 {
    let series = seen.at("/series/count").as_i64();
    let count = series.or_else(|| either(seen, "/count", "/deprecatedCount").as_i64());
    count.filter(|count| series.is_some() || *count != 0).unwrap_or(1)
}

fn source(seen: &Seen<'_>) -> String {
    let source = either(seen, "/source", "/deprecatedSource");
    let first = |texts: [String; 3]| texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let component = first([
        as_text(&source["component"]),
        as_text(seen.at("/reportingComponent")),
        as_text(seen.at("/reportingController")),
    ]);
    let host = first([as_text(&source["host"]), as_text(seen.at("/reportingInstance")), String::new()]);
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

const NAMESPACES: &[Column] = &[NAME, field("Status", "/status/phase"), AGE];

const NODES: &[Column] = &[
    NAME,
    text("Status", |seen| {
        let ready = match seen.condition("Ready").map(|one| &one["status"]) {
            Some(status) if status == "True" => "Ready",
            Some(_) => "NotReady",
            None => "Unknown",
        };
        let held = if seen.at("/spec/unschedulable") == true { ",SchedulingDisabled" } else { "" };
        json!(format!("{ready}{held}"))
    }),
    text("Roles", |seen| json!(roles(seen))),
    AGE,
    field("Version", "/status/nodeInfo/kubeletVersion"),
    wide("Internal-IP", |seen| json!(address(seen, "InternalIP"))),
    wide("External-IP", |seen| json!(address(seen, "ExternalIP"))),
    apart(field_or("OS-Image", "/status/nodeInfo/osImage", "<unknown>")),
    wide("Kernel-Version", |seen| {
        let kernel = as_text(&seen.or("/status/nodeInfo/kernelVersion", "<unknown>"));
        match seen.text("/status/nodeInfo/architecture") {
            "" => json!(kernel),
            architecture => json!(format!("{kernel} ({architecture})")),
        }
    }),
    apart(field_or("Container-Runtime", "/status/nodeInfo/containerRuntimeVersion", "<unknown>")),
];

fn roles(seen: &Seen<'_>) -> String {
    let labels = seen.at("/metadata/labels").as_object();
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address(seen: &Seen<'_>, of: &str) -> String {
    let found = seen.items("/status/addresses").iter().find(|one| one["type"] == of);
    found.map_or_else(|| "<none>".to_owned(), |found| as_text(&found["address"]))
}

const CLAIMS: &[Column] = &[
    NAME,
    text("Status", phase),
    field("Volume", "/spec/volumeName"),
    text("Capacity", |seen| {
        let bound = !seen.text("/spec/volumeName").is_empty();
        if bound { seen.or("/status/capacity/storage", "0") } else { json!("") }
    }),
    text("Access Modes", |seen| {
        let bound = !seen.text("/spec/volumeName").is_empty();
        json!(if bound { access(seen.items("/status/accessModes")) } else { String::new() })
    }),
    text("StorageClass", storage_class),
    field_or("VolumeAttributesClass", "/spec/volumeAttributesClassName", "<unset>"),
    AGE,
    apart(field_or("VolumeMode", "/spec/volumeMode", "<unset>")),
];

const VOLUMES: &[Column] = &[
    NAME,
    field_or("Capacity", "/spec/capacity/storage", "0"),
    text("Access Modes", |seen| json!(access(seen.items("/spec/accessModes")))),
    field("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
    text("Status", phase),
    text("Claim", |seen| {
        let claim = seen.at("/spec/claimRef");
        let name = format!("{}/{}", as_text(&claim["namespace"]), as_text(&claim["name"]));
        json!(if claim.is_null() { String::new() } else { name })
    }),
    text("StorageClass", storage_class),
    field_or("VolumeAttributesClass", "/spec/volumeAttributesClassName", "<unset>"),
    field("Reason", "/status/reason"),
    AGE,
    apart(field_or("VolumeMode", "/spec/volumeMode", "<unset>")),
];

fn phase(seen: &Seen<'_>) -> Value {
    if seen.is_going() { json!("Terminating") } else { seen.shown("/status/phase") }
}

fn storage_class(seen: &Seen<'_>) -> Value {
    match &seen.at("/metadata/annotations")["volume.beta.kubernetes.io/storage-class"] {
        Value::Null => seen.shown("/spec/storageClassName"),
        old => old.clone(),
    }
}

/// `RWO,ROX`.
fn access(modes: &[Value]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let known = short.iter().filter(|(mode, _)| modes.iter().any(|one| one == mode));
    known.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

const PODS: &[Column] = &[
    NAME,
    text("Ready", |seen| json!(pod::summary(seen).ready())),
    text("Status", |seen| json!(pod::summary(seen).reason)),
    text("Restarts", |seen| json!(pod::summary(seen).restarts(seen.now))),
    AGE,
    apart(field_or("IP", "/status/podIPs/0/ip", "<none>")),
    apart(field_or("Node", "/spec/nodeName", "<none>")),
    apart(field_or("Nominated Node", "/status/nominatedNodeName", "<none>")),
    wide("Readiness Gates", |seen| json!(pod::gates(seen))),
];

const POD_TEMPLATES: &[Column] = &[
    NAME,
    text("Containers", |seen| json!(joined(seen.items("/template/spec/containers"), "name"))),
    text("Images", |seen| json!(joined(seen.items("/template/spec/containers"), "image"))),
    text("Pod Labels", |seen| json!(selector::labels(seen.at("/template/metadata/labels")))),
];

const REPLICATION_CONTROLLERS: &[Column] = &[
    NAME,
    DESIRED,
    CURRENT,
    RUNNING,
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |seen| json!(selector::labels(seen.at("/spec/selector")))),
];

const QUOTAS: &[Column] =
    &[NAME, text("Request", |seen| json!(quota(seen, false))), text("Limit", |seen| json!(quota(seen, true))), AGE];

fn quota(seen: &Seen<'_>, limits: bool) -> String {
    let hard = seen.at("/status/hard").as_object().into_iter().flatten();
    let ours = hard.filter(|(name, _)| name.starts_with("limits.") == limits);
    let used = |name: &str| match &seen.at("/status/used")[name] {
        Value::Null => "0".to_owned(),
        used => as_text(used),
    };
    ours.map(|(name, hard)| format!("{name}: {}/{}", used(name), as_text(hard))).collect::<Vec<_>>().join(", ")
}

const SECRETS: &[Column] = &[NAME, field("Type", "/type"), text("Data", |seen| json!(seen.count("/data"))), AGE];

const SERVICES: &[Column] = &[
    NAME,
    field("Type", "/spec/type"),
    field_or("Cluster-IP", "/spec/clusterIPs/0", "<none>"),
    text("External-IP", |seen| json!(external_ip(seen))),
    text("Port(s)", |seen| json!(ports(seen.items("/spec/ports")))),
    AGE,
    wide("Selector", |seen| json!(selector::labels(seen.at("/spec/selector")))),
];

fn external_ip(seen: &Seen<'_>) -> String {
    let fixed = seen.items("/spec/externalIPs").iter().map(as_text);
    let balancers = balancers(seen);
    match seen.text("/spec/type") {
        "ExternalName" => seen.text("/spec/externalName").to_owned(),
        "LoadBalancer" => or(balancers.into_iter().chain(fixed).collect(), "<pending>"),
        "ClusterIP" | "NodePort" => or(fixed.collect(), "<none>"),
        _ => "<unknown>".to_owned(),
    }
}

fn or(texts: Vec<String>, instead: &str) -> String {
    if texts.is_empty() { instead.to_owned() } else { texts.join(",") }
}

/// Addresses of the balancers before a service or ingress.
fn balancers(seen: &Seen<'_>) -> Vec<String> {
    let address = |one: &Value| match as_text(&one["ip"]) {
        ip if ip.is_empty() => as_text(&one["hostname"]),
        ip => ip,
    };
    let mut found: Vec<String> = seen.items("/status/loadBalancer/ingress").iter().map(address).collect();
    found.retain(|one| !one.is_empty());
    found.sort();
    found.dedup();
    found
}

fn ports(ports: &[Value]) -> String {
    let shown = ports.iter().map(|port| {
        let outside = port["nodePort"].as_i64().filter(|port| *port > 0).map(|port| format!(":{port}"));
        format!("{}{}/{}", port["port"], outside.unwrap_or_default(), as_text(&port["protocol"]))
    });
    or(shown.collect(), "<none>")
}

// ---- workloads

const REVISIONS: &[Column] = &[
    NAME,
    text("Controller", |seen| {
        let owners = seen.items("/metadata/ownerReferences");
        let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return json!("<none>") };
        let kind = as_text(&owner["kind"]).to_lowercase();
        let name = as_text(&owner["name"]);
        match owner["apiVersion"].as_str().and_then(|version| version.split_once('/')) {
            Some((group, _)) => json!(format!("{kind}.{group}/{name}")),
            None => json!(format!("{kind}/{name}")),
        }
    }),
    text("Revision", |seen| json!(seen.number("/revision"))),
    AGE,
];

const DAEMON_SETS: &[Column] = &[
    NAME,
    number("Desired", "/status/desiredNumberScheduled"),
    number("Current", "/status/currentNumberScheduled"),
    number("Ready", "/status/numberReady"),
    number("Up-to-date", "/status/updatedNumberScheduled"),
    number("Available", "/status/numberAvailable"),
    text("Node Selector", |seen| json!(selector::labels(seen.at("/spec/template/spec/nodeSelector")))),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const READY: Column =
    text("Ready", |seen| json!(format!("{}/{}", seen.number("/status/readyReplicas"), seen.number("/spec/replicas"))));

const DEPLOYMENTS: &[Column] = &[
    NAME,
    READY,
    text("Up-to-date", |seen| json!(seen.number("/status/updatedReplicas"))),
    text("Available", |seen| json!(seen.number("/status/availableReplicas"))),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |seen| json!(selector::bare(seen.at("/spec/selector")))),
];

const REPLICA_SETS: &[Column] = &[NAME, DESIRED, CURRENT, RUNNING, AGE, CONTAINERS, IMAGES, SELECTOR];

const STATEFUL_SETS: &[Column] = &[NAME, READY, AGE, CONTAINERS, IMAGES];

const AUTOSCALERS: &[Column] = &[
    NAME,
    text("Reference", |seen| {
        json!(format!("{}/{}", seen.text("/spec/scaleTargetRef/kind"), seen.text("/spec/scaleTargetRef/name")))
    }),
    text("Targets", |seen| json!(targets(seen))),
    field_or("MinPods", "/spec/minReplicas", "<unset>"),
    text("MaxPods", |seen| json!(seen.number("/spec/maxReplicas"))),
    text("Replicas", |seen| json!(seen.number("/status/currentReplicas"))),
    AGE,
];

fn targets(seen: &Seen<'_>) -> String {
    let wanted = seen.items("/spec/metrics");
    let actual = seen.items("/status/currentMetrics");
    let shown: Vec<String> =
        wanted.iter().enumerate().map(|(at, metric)| target(metric, actual.get(at).unwrap_or(&Value::Null))).collect();
    if shown.is_empty() { "<none>".to_owned() } else { some(&shown, 2, ", ") }
}

/// `cpu: 40%/80%` of one metric.
fn target(metric: &Value, actual: &Value) -> String {
    let kind = as_text(&metric["type"]);
    let part = match kind.as_str() {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (&metric[part]["target"], &actual[part]["current"]);
    let known = |value: &Value| if value.is_null() { "<unknown>".to_owned() } else { as_text(value) };
    let percent = |value: &Value, unset: &str| value.as_i64().map_or(unset.to_owned(), |share| format!("{share}%"));
    let is_average = !wanted["averageValue"].is_null();
    let average = || format!("{}/{}", known(&current["averageValue"]), as_text(&wanted["averageValue"]));
    match part {
        "pods" => average(),
        "external" | "object" if is_average => format!("{} (avg)", average()),
        "external" | "object" => format!("{}/{}", known(&current["value"]), as_text(&wanted["value"])),
        _ => {
            let name = as_text(&metric[part]["name"]);
            let share = || {
                let now = percent(&current["averageUtilization"], "<unknown>");
                format!("{now}/{}", percent(&wanted["averageUtilization"], "<auto>"))
            };
            format!("{name}: {}", if is_average { average() } else { share() })
        }
    }
}

const CRON_JOBS: &[Column] = &[
    NAME,
    field("Schedule", "/spec/schedule"),
    field_or("Timezone", "/spec/timeZone", "<none>"),
    flag("Suspend", |seen| match seen.at("/spec/suspend").as_bool() {
        Some(true) => json!("True"),
        Some(false) => json!("False"),
        None => json!("<unset>"),
    }),
    count("Active", "/status/active"),
    text("Last Schedule", |seen| match seen.at("/status/lastScheduleTime") {
        Value::Null => json!("<none>"),
        then => json!(age::since(then, seen.now)),
    }),
    AGE,
    wide("Containers", |seen| json!(joined(seen.items("/spec/jobTemplate/spec/template/spec/containers"), "name"))),
    wide("Images", |seen| json!(joined(seen.items("/spec/jobTemplate/spec/template/spec/containers"), "image"))),
    wide("Selector", |seen| json!(selector::selector(seen.at("/spec/jobTemplate/spec/selector")))),
];

const JOBS: &[Column] = &[
    NAME,
    text("Status", |seen| {
        let is = |of: &str| seen.condition(of).is_some_and(|one| one["status"] == "True");
        let rows = [("Complete", is("Complete")), ("Failed", is("Failed")), ("Terminating", seen.is_going())];
        let later = ["Suspended", "FailureTarget", "SuccessCriteriaMet"].map(|of| (of, is(of)));
        json!(rows.iter().chain(&later).find(|(_, holds)| *holds).map_or("Running", |(name, _)| name))
    }),
    text("Completions", |seen| {
        let done = seen.number("/status/succeeded");
        json!(match (seen.at("/spec/completions").as_i64(), seen.number("/spec/parallelism")) {
            (Some(wanted), _) => format!("{done}/{wanted}"),
            (None, parallel @ 2..) => format!("{done}/1 of {parallel}"),
            (None, _) => format!("{done}/1"),
        })
    }),
    text("Duration", |seen| {
        let Some(start) = age::moment(seen.at("/status/startTime")) else { return json!("") };
        let end = age::moment(seen.at("/status/completionTime")).unwrap_or(seen.now);
        json!(age::text(end.duration_since(start)))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const BUDGETS: &[Column] = &[
    NAME,
    field_or("Min Available", "/spec/minAvailable", "N/A"),
    field_or("Max Unavailable", "/spec/maxUnavailable", "N/A"),
    number("Allowed Disruptions", "/status/disruptionsAllowed"),
    AGE,
];

// ---- the network

const INGRESSES: &[Column] = &[
    NAME,
    field_or("Class", "/spec/ingressClassName", "<none>"),
    text("Hosts", |seen| json!(hosts(seen.items("/spec/rules")))),
    text("Address", |seen| json!(balancers(seen).join(","))),
    text("Ports", |seen| json!(if seen.items("/spec/tls").is_empty() { "80" } else { "80, 443" })),
    AGE,
];

fn hosts(rules: &[Value]) -> String {
    let mut hosts = Vec::new();
    for rule in rules {
        // Counted are the rules behind the third host, with or without a host.
        if hosts.len() == 3 {
            return format!("{} + {} more...", hosts.join(","), rules.len().saturating_sub(3));
        }
        hosts.extend(rule["host"].as_str().filter(|host| !host.is_empty()).map(str::to_owned));
    }
    or(hosts, "*")
}

const INGRESS_CLASSES: &[Column] = &[
    naming("Name", |seen| default_name(seen, &["ingressclass.kubernetes.io/is-default-class"])),
    field("Controller", "/spec/controller"),
    text("Parameters", |seen| {
        let parameters = seen.at("/spec/parameters");
        let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
        let shown = format!("{}{group}/{}", as_text(&parameters["kind"]), as_text(&parameters["name"]));
        json!(if parameters.is_null() { "<none>".to_owned() } else { shown })
    }),
    AGE,
];

/// The name, marked where an annotation says that it is the default.
fn default_name(seen: &Seen<'_>, annotations: &[&str]) -> Value {
    let given = seen.at("/metadata/annotations");
    let mark = if annotations.iter().any(|key| given[*key] == "true") { " (default)" } else { "" };
    json!(format!("{}{mark}", seen.text("/metadata/name")))
}

const IP_ADDRESSES: &[Column] = &[
    NAME,
    text("ParentRef", |seen| {
        let parent = seen.at("/spec/parentRef");
        let field = |name: &str| as_text(&parent[name]);
        let resource = match field("group") {
            group if group.is_empty() => field("resource"),
            group => format!("{}.{group}", field("resource")),
        };
        let place = if field("namespace").is_empty() { String::new() } else { format!("/{}", field("namespace")) };
        let shown = format!("{}{place}/{}", resource.to_lowercase(), field("name"));
        json!(if parent.is_null() { "<none>".to_owned() } else { shown })
    }),
    // The server sends an age for which it has no column.
];

const NETWORK_POLICIES: &[Column] =
    &[NAME, text("Pod-Selector", |seen| json!(selector::selector(seen.at("/spec/podSelector")))), AGE];

const SERVICE_CIDRS: &[Column] = &[NAME, text("CIDRs", |seen| json!(list(seen.items("/spec/cidrs")))), AGE];

fn list(items: &[Value]) -> String {
    items.iter().map(as_text).collect::<Vec<_>>().join(",")
}

const SLICES: &[Column] = &[
    NAME,
    field("AddressType", "/addressType"),
    text("Ports", |seen| {
        let port = |port: &Value| match (&port["port"], &port["name"]) {
            (Value::Null, Value::Null) => "*".to_owned(),
            (Value::Null, name) => as_text(name),
            (number, _) => number.to_string(),
        };
        json!(or_unset(some(&seen.items("/ports").iter().map(port).collect::<Vec<_>>(), 3, ",")))
    }),
    text("Endpoints", |seen| {
        let addresses = |one: &Value| one["addresses"].as_array().cloned().unwrap_or_default();
        let all: Vec<String> =
            seen.items("/endpoints").iter().flat_map(addresses).map(|address| as_text(&address)).collect();
        json!(or_unset(some(&all, 3, ",")))
    }),
    AGE,
];

fn or_unset(text: String) -> String {
    if text.is_empty() { "<unset>".to_owned() } else { text }
}

// ---- who may

const ROLE_BINDINGS: &[Column] = &[
    NAME,
    text("Role", |seen| json!(format!("{}/{}", seen.text("/roleRef/kind"), seen.text("/roleRef/name")))),
    AGE,
    wide("Users", |seen| json!(subjects(seen, "User"))),
    wide("Groups", |seen| json!(subjects(seen, "Group"))),
    wide("ServiceAccounts", |seen| json!(subjects(seen, "ServiceAccount"))),
];

fn subjects(seen: &Seen<'_>, kind: &str) -> String {
    let ours = seen.items("/subjects").iter().filter(|subject| subject["kind"] == kind);
    let named = ours.map(|subject| match kind {
        "ServiceAccount" if !as_text(&subject["namespace"]).is_empty() => {
            format!("{}/{}", as_text(&subject["namespace"]), as_text(&subject["name"]))
        }
        _ => as_text(&subject["name"]),
    });
    named.collect::<Vec<_>>().join(", ")
}

const SIGNING_REQUESTS: &[Column] = &[
    NAME,
    AGE,
    field_or("SignerName", "/spec/signerName", "<none>"),
    field("Requestor", "/spec/username"),
    text("RequestedDuration", |seen| match seen.at("/spec/expirationSeconds").as_i64() {
        Some(seconds) => json!(age::text(jiff::SignedDuration::from_secs(seconds))),
        None => json!("<none>"),
    }),
    text("Condition", |seen| {
        let has = |of: &str| seen.condition(of).is_some();
        let decided = match (has("Denied"), has("Approved")) {
            (true, _) => "Denied",
            (false, true) => "Approved",
            (false, false) => "Pending",
        };
        let failed = if has("Failed") { ",Failed" } else { "" };
        let issued = if seen.text("/status/certificate").is_empty() { "" } else { ",Issued" };
        json!(format!("{decided}{failed}{issued}"))
    }),
];

// ---- storage

const CSI_DRIVERS: &[Column] = &[
    NAME,
    flag("AttachRequired", |seen| seen.flag("/spec/attachRequired", true)),
    flag("PodInfoOnMount", |seen| seen.flag("/spec/podInfoOnMount", false)),
    flag("StorageCapacity", |seen| seen.flag("/spec/storageCapacity", false)),
    text("TokenRequests", |seen| match seen.at("/spec/tokenRequests") {
        Value::Null => json!("<unset>"),
        _ => json!(joined(seen.items("/spec/tokenRequests"), "audience")),
    }),
    flag("RequiresRepublish", |seen| seen.flag("/spec/requiresRepublish", false)),
    text("Modes", |seen| json!(or(seen.items("/spec/volumeLifecycleModes").iter().map(as_text).collect(), "<none>"))),
    AGE,
];

const CSI_NODES: &[Column] = &[NAME, count("Drivers", "/spec/drivers"), AGE];

const STORAGE_CLASSES: &[Column] = &[
    naming("Name", |seen| {
        let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
        default_name(seen, &marks)
    }),
    field("Provisioner", "/provisioner"),
    field_or("ReclaimPolicy", "/reclaimPolicy", "Delete"),
    field_or("VolumeBindingMode", "/volumeBindingMode", "Immediate"),
    text("AllowVolumeExpansion", |seen| seen.flag("/allowVolumeExpansion", false)),
    AGE,
];

const ATTACHMENTS: &[Column] = &[
    NAME,
    naming("Attacher", |seen| seen.shown("/spec/attacher")),
    field("PV", "/spec/source/persistentVolumeName"),
    field("Node", "/spec/nodeName"),
    flag("Attached", |seen| seen.flag("/status/attached", false)),
    AGE,
];

const ATTRIBUTES_CLASSES: &[Column] = &[NAME, field("DriverName", "/driverName"), AGE];

// ---- the server itself

const API_SERVICES: &[Column] = &[
    NAME,
    text("Service", |seen| match seen.at("/spec/service") {
        Value::Null => json!("Local"),
        service => json!(format!("{}/{}", as_text(&service["namespace"]), as_text(&service["name"]))),
    }),
    text("Available", |seen| match seen.condition("Available") {
        Some(one) if one["status"] == "True" => json!("True"),
        Some(one) => json!(format!("{} ({})", as_text(&one["status"]), as_text(&one["reason"]))),
        None => json!("Unknown"),
    }),
    AGE,
];

const WEBHOOKS: &[Column] = &[NAME, count("Webhooks", "/webhooks"), AGE];

const POLICIES: &[Column] = &[
    NAME,
    count("Validations", "/spec/validations"),
    text("ParamKind", |seen| match seen.at("/spec/paramKind") {
        Value::Null => json!("<unset>"),
        kind => json!(format!("{}/{}", as_text(&kind["apiVersion"]), as_text(&kind["kind"]))),
    }),
    AGE,
];

const POLICY_BINDINGS: &[Column] = &[
    NAME,
    field("PolicyName", "/spec/policyName"),
    text("ParamRef", |seen| {
        let param = seen.at("/spec/paramRef");
        match (as_text(&param["name"]), param["namespace"].as_str()) {
            (name, _) if name.is_empty() => json!("<unset>"),
            (name, Some(namespace)) if !namespace.is_empty() => json!(format!("{namespace}/{name}")),
            (name, _) => json!(format!("*/{name}")),
        }
    }),
    AGE,
];

const PRIORITIES: &[Column] = &[
    NAME,
    number("Value", "/value"),
    flag("Global-Default", |seen| seen.flag("/globalDefault", false)),
    AGE,
    field("PreemptionPolicy", "/preemptionPolicy"),
];

const LEASES: &[Column] = &[NAME, field("Holder", "/spec/holderIdentity"), AGE];

const RUNTIME_CLASSES: &[Column] = &[NAME, field("Handler", "/handler"), AGE];

const FLOW_SCHEMAS: &[Column] = &[
    NAME,
    field("PriorityLevel", "/spec/priorityLevelConfiguration/name"),
    text("MatchingPrecedence", |seen| json!(seen.number("/spec/matchingPrecedence"))),
    field_or("DistinguisherMethod", "/spec/distinguisherMethod/type", "<none>"),
    AGE,
    text("MissingPL", |seen| seen.condition("Dangling").map_or(json!("?"), |one| one["status"].clone())),
];

const PRIORITY_LEVELS: &[Column] = &[
    NAME,
    field("Type", "/spec/type"),
    text("NominalConcurrencyShares", |seen| limited(seen, "nominalConcurrencyShares")),
    text("Queues", |seen| limited(seen, "limitResponse/queuing/queues")),
    text("HandSize", |seen| limited(seen, "limitResponse/queuing/handSize")),
    text("QueueLengthLimit", |seen| limited(seen, "limitResponse/queuing/queueLengthLimit")),
    AGE,
];

fn limited(seen: &Seen<'_>, field: &str) -> Value {
    match seen.at(&format!("/spec/limited/{field}")) {
        Value::Null => json!("<none>"),
        number => number.clone(),
    }
}

// ---- devices

const RESOURCE_CLAIMS: &[Column] = &[
    NAME,
    text("State", |seen| {
        let allocated = !seen.at("/status/allocation").is_null();
        let states = [
            ("deleted", seen.is_going()),
            ("pending", !allocated && !seen.is_going()),
            ("allocated", allocated),
            ("reserved", allocated && seen.count("/status/reservedFor") > 0),
        ];
        let holds = states.iter().filter(|(_, holds)| *holds).map(|(state, _)| *state);
        json!(holds.collect::<Vec<_>>().join(","))
    }),
    AGE,
];

const RESOURCE_SLICES: &[Column] =
    &[NAME, field("Node", "/spec/nodeName"), field("Driver", "/spec/driver"), field("Pool", "/spec/pool/name"), AGE];
