//! What the server refuses of pods and of templates of pods.

use serde_json::{Value, json};

use super::quantity::Quantity;
use super::status::{Wrong, duplicate, forbidden_field, invalid, missing, required, unsupported};
use super::validate::{LABEL, QUALIFIED, is_label, is_qualified, key_of, without};

/// A port of the network, as a number.
pub(super) fn is_port(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| (1..=65535).contains(&number))
}

/// What is said of a number that is no port.
pub(super) const NO_PORT: &str = "must be between 1 and 65535, inclusive";
/// What is said of a number below zero.
pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";

/// A text field, empty where it is none.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The items of a list with their places.
pub(super) fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    value[field].as_array().into_iter().flatten().enumerate()
}

/// Refuses a text that is none of those that there are; what is not given is fine.
pub(super) fn one_of(value: &Value, at: String, known: &[&str], wrong: &mut Vec<Wrong>) {
    if value.as_str().is_some_and(|text| !known.contains(&text)) {
        wrong.push(unsupported(at, value, known));
    }
}

/// A port by number, or by the name of one.
pub(super) fn port_or_name(value: &Value, at: String, wrong: &mut Vec<Wrong>) {
    match value {
        Value::String(name) => port_name(name, &at, wrong),
        _ if !is_port(value) => wrong.push(invalid(at, value, NO_PORT)),
        _ => {}
    }
}

fn port_name(name: &str, at: &str, wrong: &mut Vec<Wrong>) {
    let mut refuse = |why: &str| wrong.push(invalid(at, &json!(name), why));
    if name.len() > 15 {
        refuse("must be no more than 15 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        refuse("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        refuse("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        refuse("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        refuse("must not begin or end with a hyphen");
    }
}

/// A pod; `old` is what is there.
pub(super) fn pod(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    spec(&new["spec"], "spec", wrong);
    let Some(old) = old else { return };
    seconds_left(old, new, wrong);
    if let Some(why) = loses_toleration(&old["spec"], &new["spec"]) {
        wrong.push(forbidden_field("spec.tolerations", why));
    }
    if frozen(&old["spec"]) != frozen(&new["spec"]) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,\
                   `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                   existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
        wrong.push(forbidden_field("spec", why));
    }
}

/// How long a pod may be active can only become less.
fn seconds_left(old: &Value, new: &Value, wrong: &mut Vec<Wrong>) {
    let field = "activeDeadlineSeconds";
    let (before, after) = (old["spec"][field].as_i64(), new["spec"][field].as_i64());
    match (before, after) {
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            wrong.push(invalid(format!("spec.{field}"), &Value::Null, why));
        }
        (Some(before), Some(after)) if after > before => {
            let why = "must be less than or equal to previous value";
            wrong.push(invalid(format!("spec.{field}"), &new["spec"][field], why));
        }
        _ => {}
    }
}

/// Why the tolerations of a pod can not be changed so: those that are there stay.
fn loses_toleration(old: &Value, new: &Value) -> Option<&'static str> {
    let all = |spec: &Value| -> Vec<Value> {
        let each = spec["tolerations"].as_array().into_iter().flatten();
        each.map(|one| without(one, &["tolerationSeconds"])).collect()
    };
    let after = all(new);
    let loses = all(old).iter().any(|one| !after.contains(one));
    loses.then_some("existing toleration can not be modified except its tolerationSeconds")
}

/// What of a pod can not be changed.
fn frozen(spec: &Value) -> Value {
    let mut spec = without(spec, &["activeDeadlineSeconds", "tolerations"]);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(map) = one.as_object_mut() {
                map.remove("image");
            }
        }
    }
    spec
}

/// The spec of a pod.
pub(super) fn spec(spec: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let at = |field: &str| format!("{path}.{field}");
    volumes(spec, path, wrong);
    containers(spec, path, wrong);
    one_of(&spec["restartPolicy"], at("restartPolicy"), &["Always", "OnFailure", "Never"], wrong);
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(&spec["dnsPolicy"], at("dnsPolicy"), &known, wrong);
    for key in spec["nodeSelector"].as_object().into_iter().flat_map(|map| map.keys()) {
        key_of(&at("nodeSelector"), key, wrong);
    }
    if let Some(required_terms) = spec["affinity"]["nodeAffinity"].get("requiredDuringSchedulingIgnoredDuringExecution")
        && required_terms["nodeSelectorTerms"].as_array().is_none_or(Vec::is_empty)
    {
        let field = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        wrong.push(required(at(field), "must have at least one node selector term"));
    }
    if spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        wrong.push(invalid(at("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], why));
    }
    tolerations(spec, path, wrong);
}

fn tolerations(spec: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    for (index, one) in items(spec, "tolerations") {
        let at = |field: &str| format!("{path}.tolerations[{index}].{field}");
        let (key, operator) = (text(one, "key"), text(one, "operator"));
        if !key.is_empty() {
            key_of(&at("key"), key, wrong);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            wrong.push(invalid(at("operator"), &json!(operator), why));
        }
        if operator == "Exists" && !text(one, "value").is_empty() {
            wrong.push(invalid(at("operator"), &one["value"], "value must be empty when `operator` is 'Exists'"));
        }
        one_of(&one["operator"], at("operator"), &["Equal", "Exists"], wrong);
        one_of(&one["effect"], at("effect"), &["NoSchedule", "PreferNoSchedule", "NoExecute"], wrong);
    }
}

fn volumes(spec: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let mut names = Vec::new();
    for (index, volume) in items(spec, "volumes") {
        let at = format!("{path}.volumes[{index}]");
        let name = text(volume, "name");
        // The server looks for more than one source in the order of its own type.
        let order =
            ["emptyDir", "hostPath", "gitRepo", "secret", "nfs", "persistentVolumeClaim", "downwardAPI", "configMap"];
        let mut sources: Vec<&str> = volume
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
            .map(String::as_str)
            .filter(|key| *key != "name")
            .collect();
        sources.sort_by_key(|source| order.iter().position(|one| one == source).unwrap_or(order.len()));
        for more in sources.iter().skip(1) {
            wrong.push(forbidden_field(format!("{at}.{more}"), "may not specify more than 1 volume type"));
        }
        if name.is_empty() {
            wrong.push(required(format!("{at}.name"), ""));
        } else if !is_label(name) || name.len() > 63 {
            wrong.push(invalid(format!("{at}.name"), &volume["name"], LABEL));
        } else if names.contains(&name) {
            wrong.push(duplicate(format!("{at}.name"), &volume["name"]));
        }
        names.push(name);
    }
}

fn containers(spec: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let list = spec["containers"].as_array();
    if list.is_none_or(Vec::is_empty) {
        wrong.push(required(format!("{path}.containers"), ""));
    }
    let mut names = Vec::new();
    for which in ["containers", "initContainers"] {
        for (index, one) in items(spec, which) {
            let at = format!("{path}.{which}[{index}]");
            let name = text(one, "name");
            if name.is_empty() {
                wrong.push(required(format!("{at}.name"), ""));
            } else if !is_label(name) || name.len() > 63 {
                wrong.push(invalid(format!("{at}.name"), &one["name"], LABEL));
            } else if names.contains(&name) {
                wrong.push(duplicate(format!("{at}.name"), &one["name"]));
            }
            names.push(name);
            container(spec, one, &at, wrong);
        }
    }
}

fn container(spec: &Value, one: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    if text(one, "image").is_empty() {
        wrong.push(required(format!("{at}.image"), ""));
    }
    let known = ["File", "FallbackToLogsOnError"];
    one_of(&one["terminationMessagePolicy"], format!("{at}.terminationMessagePolicy"), &known, wrong);
    ports(one, at, wrong);
    variables(one, at, wrong);
    mounts(spec, one, at, wrong);
    let known = ["Always", "IfNotPresent", "Never"];
    one_of(&one["imagePullPolicy"], format!("{at}.imagePullPolicy"), &known, wrong);
    amounts(&one["resources"], &format!("{at}.resources"), wrong);
    for (_, hook) in ["postStart", "preStop"].iter().filter_map(|hook| Some((hook, one["lifecycle"].get(hook)?))) {
        handler(hook, &format!("{at}.lifecycle"), wrong);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if one[name].is_object() {
            probe(&one[name], &format!("{at}.{name}"), wrong);
        }
    }
}

fn ports(container: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let mut names = Vec::new();
    for (index, port) in items(container, "ports") {
        let at = format!("{at}.ports[{index}]");
        let name = text(port, "name");
        if !name.is_empty() {
            port_name(name, &format!("{at}.name"), wrong);
            if names.contains(&name) {
                wrong.push(duplicate(format!("{at}.name"), &port["name"]));
            }
            names.push(name);
        }
        if port["containerPort"] == 0 || port["containerPort"].is_null() {
            wrong.push(required(format!("{at}.containerPort"), ""));
        } else if !is_port(&port["containerPort"]) {
            wrong.push(invalid(format!("{at}.containerPort"), &port["containerPort"], NO_PORT));
        }
        one_of(&port["protocol"], format!("{at}.protocol"), &["SCTP", "TCP", "UDP"], wrong);
    }
}

fn variables(container: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    for (index, variable) in items(container, "env") {
        let at = format!("{at}.env[{index}]");
        let name = text(variable, "name");
        if name.is_empty() {
            wrong.push(required(format!("{at}.name"), ""));
        } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            let why =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            wrong.push(invalid(format!("{at}.name"), &variable["name"], why));
        }
        if variable["valueFrom"].is_object() && !text(variable, "value").is_empty() {
            let why = "may not be specified when `value` is not empty";
            wrong.push(invalid(format!("{at}.valueFrom"), &json!(""), why));
        }
    }
}

fn mounts(spec: &Value, container: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let volumes = spec["volumes"].as_array();
    let mut paths = Vec::new();
    for (index, mount) in items(container, "volumeMounts") {
        let at = format!("{at}.volumeMounts[{index}]");
        let is_there = volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == mount["name"]));
        if text(mount, "name").is_empty() {
            wrong.push(required(format!("{at}.name"), ""));
        } else if !is_there {
            wrong.push(missing(format!("{at}.name"), &mount["name"]));
        }
        let path = text(mount, "mountPath");
        if path.is_empty() {
            wrong.push(required(format!("{at}.mountPath"), ""));
        } else if paths.contains(&path) {
            wrong.push(invalid(format!("{at}.mountPath"), &mount["mountPath"], "must be unique"));
        }
        paths.push(path);
    }
}

fn probe(probe: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    handler(probe, at, wrong);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        if probe[field].as_i64().is_some_and(|number| number < 0) {
            wrong.push(invalid(format!("{at}.{field}"), &probe[field], NEGATIVE));
        }
    }
}

fn handler(handler: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    if kinds.iter().all(|kind| handler[*kind].is_null()) {
        wrong.push(required(at, "must specify a handler type"));
    }
    for kind in ["httpGet", "tcpSocket"] {
        if handler[kind].is_object() {
            port_or_name(&handler[kind]["port"], format!("{at}.{kind}.port"), wrong);
        }
    }
}

/// Resources that containers can have.
fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// An amount must not be negative, its resource must be one, and a request may not be above its limit.
fn amounts(resources: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let number = |value: &Value| value.as_str().and_then(Quantity::parse);
    for which in ["limits", "requests"] {
        for (name, amount) in resources[which].as_object().into_iter().flatten() {
            let at = format!("{at}.{which}[{name}]");
            resource_name(name, &at, "must be a standard resource for containers", is_standard(name), wrong);
            if number(amount) < Quantity::parse("0") {
                wrong.push(invalid(at, amount, NEGATIVE));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        if let (Some(asked), Some(most)) = (number(request), number(limit))
            && asked > most
        {
            let why = format!("must be less than or equal to {name} limit of {}", limit.as_str().unwrap_or_default());
            wrong.push(invalid(format!("{at}.requests"), request, &why));
        }
    }
}

/// The name of a resource: a standard one, or one with a prefix.
pub(super) fn resource_name(name: &str, at: &str, why: &str, is_standard: bool, wrong: &mut Vec<Wrong>) {
    let last = name.rsplit('/').next().unwrap_or_default();
    if !is_qualified(last) {
        wrong.push(invalid(at, &json!(name), QUALIFIED));
    } else if !name.contains('/') && !is_standard {
        wrong.push(invalid(at, &json!(name), "must be a standard resource type or fully qualified"));
        wrong.push(invalid(at, &json!(name), why));
    }
}
