//! What the server refuses of an object, field by field, in its own words.

use serde_json::{Value, json};

use super::kinds::Served;
use super::selector::Labels;
use super::status::{Wrong, duplicate, forbidden_field, invalid, missing, required, unsupported};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
     'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const IMMUTABLE: &str = "field is immutable";

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(is_inner) && edges.into_iter().all(|edge| edge.is_some_and(|byte| byte != b'-'))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edges = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 63
        && text.bytes().all(is_inner)
        && edges.into_iter().all(|edge| edge.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// Why a name can not be one of this kind.
fn name_is_wrong(served: &Served, name: &str) -> Option<String> {
    let too_long = |max: usize| (name.len() > max).then(|| format!("must be no more than {max} bytes"));
    match served.table.as_str() {
        "services" => too_long(63).or_else(|| {
            let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
            (!is_label(name) || !starts).then(|| LABEL_1035.to_owned())
        }),
        "namespaces" => too_long(63).or_else(|| (!is_label(name)).then(|| LABEL.to_owned())),
        table if table.ends_with("rbac.authorization.k8s.io") => {
            if matches!(name, "." | "..") {
                return Some(format!("may not be '{name}'"));
            }
            ["/", "%"].into_iter().find(|part| name.contains(part)).map(|part| format!("may not contain '{part}'"))
        }
        _ => too_long(253).or_else(|| (!is_subdomain(name)).then(|| SUBDOMAIN.to_owned())),
    }
}

/// What is wrong with an object that is to be stored; `old` is what is there.
pub fn check(served: &Served, old: Option<&Value>, new: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    metadata(served, old, &new["metadata"], &mut wrong);
    match served.table.as_str() {
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" | "statefulsets.apps" => {
            workload(served, old, new, &mut wrong);
        }
        "replicationcontrollers" => template(&new["spec"]["template"], &mut wrong),
        "jobs.batch" => job(old, new, &mut wrong),
        "pods" => pod(old, new, &mut wrong),
        "services" => service(old, new, &mut wrong),
        "configmaps" | "secrets" => keyed(served, old, new, &mut wrong),
        "nodes" => taints(&new["spec"]["taints"], &mut wrong),
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            binding(old, new, &mut wrong);
        }
        "poddisruptionbudgets.policy" => budget(new, &mut wrong),
        "storageclasses.storage.k8s.io" => storage_class(old, new, &mut wrong),
        "persistentvolumeclaims" => claim(old, new, &mut wrong),
        super::kinds::DEFINITIONS => super::crd::check(new, &mut wrong),
        _ => {}
    }
    wrong
}

fn metadata(served: &Served, old: Option<&Value>, metadata: &Value, wrong: &mut Vec<Wrong>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        wrong.push(required("metadata.name", "name or generateName is required"));
    } else if old.is_none()
        && let Some(why) = name_is_wrong(served, name)
    {
        wrong.push(invalid("metadata.name", &json!(name), &why));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        key_of("metadata.labels", key, wrong);
        if text.len() > 63 {
            wrong.push(invalid("metadata.labels", value, "must be no more than 63 bytes"));
        } else if !text.is_empty() && !is_qualified(text) {
            wrong.push(invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    for key in metadata["annotations"].as_object().into_iter().flat_map(|map| map.keys()) {
        key_of("metadata.annotations", &key.to_ascii_lowercase(), wrong);
    }
    for finalizer in metadata["finalizers"].as_array().into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or_default();
        let known = ["orphan", "foregroundDeletion", "kubernetes"];
        if !text.contains('/') && !known.contains(&text) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            wrong.push(invalid("metadata.finalizers[0]", finalizer, why));
        }
    }
    if let Some(old) = old.filter(|old| !old["metadata"]["deletionTimestamp"].is_null()) {
        let before = old["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let added: Vec<&Value> =
            metadata["finalizers"].as_array().into_iter().flatten().filter(|one| !before.contains(one)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                json!(added)
            );
            wrong.push(forbidden_field("metadata.finalizers", &why));
        }
    }
}

fn key_of(field: &str, key: &str, wrong: &mut Vec<Wrong>) {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        wrong.push(invalid(field, &json!(key), &format!("prefix part {SUBDOMAIN}")));
    } else if name.is_empty() {
        wrong.push(invalid(field, &json!(key), "name part must be non-empty"));
    } else if !is_qualified(name) {
        wrong.push(invalid(field, &json!(key), QUALIFIED));
    }
}

fn workload(served: &Served, old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    let selector = &spec["selector"];
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        wrong.push(invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0"));
    }
    let labels = Labels::of_object(selector);
    if selector.is_null() {
        wrong.push(required("spec.selector", ""));
    } else if labels.is_empty() {
        let why = if served.kind == "Deployment" {
            "empty selector is invalid for deployment"
        } else {
            "empty selector is invalid"
        };
        wrong.push(invalid("spec.selector", selector, why));
    } else if !labels.match_labels(&spec["template"]["metadata"]["labels"]) {
        let found = spec["template"]["metadata"]["labels"].clone();
        let why = "`selector` does not match template `labels`";
        wrong.push(invalid("spec.template.metadata.labels", &if found.is_null() { json!({}) } else { found }, why));
    }
    template(&spec["template"], wrong);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if !policy.is_null() && policy != "Always" {
        wrong.push(unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        wrong.push(invalid("spec.selector", selector, IMMUTABLE));
    }
    if let Some(old) = old.filter(|_| served.kind == "StatefulSet") {
        let free = [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
            "selector",
        ];
        if without(&old["spec"], &free) != without(spec, &free) {
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                       'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                       'minReadySeconds' are forbidden";
            wrong.push(forbidden_field("spec", why));
        }
    }
}

fn without(value: &Value, keys: &[&str]) -> Value {
    let map = value.as_object().cloned().unwrap_or_default();
    Value::Object(map.into_iter().filter(|(key, value)| !keys.contains(&key.as_str()) && !value.is_null()).collect())
}

fn template(template: &Value, wrong: &mut Vec<Wrong>) {
    containers(&template["spec"], "spec.template.spec", wrong);
}

fn containers(spec: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    let list = spec["containers"].as_array();
    if list.is_none_or(Vec::is_empty) {
        wrong.push(required(format!("{path}.containers"), ""));
    }
    let mut names = Vec::new();
    for which in ["initContainers", "containers"] {
        for (index, one) in spec[which].as_array().into_iter().flatten().enumerate() {
            let at = format!("{path}.{which}[{index}]");
            let name = one["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                wrong.push(required(format!("{at}.name"), ""));
            } else if !is_label(name) || name.len() > 63 {
                wrong.push(invalid(format!("{at}.name"), &one["name"], LABEL));
            } else if names.contains(&name) {
                wrong.push(duplicate(format!("{at}.name"), &one["name"]));
            }
            names.push(name);
            if one["image"].as_str().unwrap_or_default().is_empty() {
                wrong.push(required(format!("{at}.image"), ""));
            }
            mounts(spec, one, &at, wrong);
            amounts(&one["resources"], &format!("{at}.resources"), wrong);
        }
    }
}

fn mounts(spec: &Value, container: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let volumes = spec["volumes"].as_array();
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let is_there = volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == mount["name"]));
        if !is_there {
            wrong.push(missing(format!("{at}.volumeMounts[{index}].name"), &mount["name"]));
        }
    }
}

/// An amount must be one, and a request may not be above its limit.
fn amounts(resources: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let number = |value: &Value| value.as_str().and_then(amount);
        if let (Some(asked), Some(most)) = (number(request), number(limit))
            && asked > most
        {
            let why = format!("must be less than or equal to {name} limit of {}", limit.as_str().unwrap_or_default());
            wrong.push(invalid(format!("{at}.requests"), request, &why));
        }
    }
}

/// `100m`, `1.5`, `64Mi` as a number.
fn amount(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|number| number * factor)
}

fn job(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    template(&spec["template"], wrong);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy != "Never" && policy != "OnFailure" {
        wrong.push(unsupported("spec.template.spec.restartPolicy", policy, &["OnFailure", "Never"]));
    }
    if let Some(old) = old.filter(|old| old["spec"]["suspend"] != true) {
        for field in ["template", "selector", "completions"] {
            if old["spec"][field] != spec[field] {
                wrong.push(invalid(format!("spec.{field}"), &spec[field], IMMUTABLE));
            }
        }
    }
}

fn pod(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    containers(&new["spec"], "spec", wrong);
    let Some(old) = old else { return };
    if frozen(&old["spec"]) != frozen(&new["spec"]) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`, \
                   `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to \
                   existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
        wrong.push(forbidden_field("spec", why));
    }
}

/// What of a pod can not be changed.
fn frozen(spec: &Value) -> Value {
    let mut spec = without(spec, &["activeDeadlineSeconds", "tolerations"]);
    for list in ["containers", "initContainers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(map) = one.as_object_mut() {
                map.remove("image");
            }
        }
    }
    spec
}

fn service(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !spec["type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
        wrong.push(unsupported("spec.type", &spec["type"], &kinds));
    }
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        wrong.push(required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if !port["port"].as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
            wrong.push(invalid(
                format!("spec.ports[{index}].port"),
                &port["port"],
                "must be between 1 and 65535, inclusive",
            ));
        }
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            wrong.push(required(format!("spec.ports[{index}].name"), ""));
        }
    }
    let before = old.map_or(&Value::Null, |old| &old["spec"]["clusterIP"]);
    if before.is_string() && *before != spec["clusterIP"] && spec["type"] != "ExternalName" {
        wrong.push(invalid("spec.clusterIPs[0]", &spec["clusterIPs"], "may not change once set"));
    }
}

fn keyed(served: &Served, old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    for field in ["data", "binaryData"] {
        for key in new[field].as_object().into_iter().flat_map(|map| map.keys()) {
            let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if key.is_empty() || !key.chars().all(is_key) {
                wrong.push(invalid(format!("{field}[{key}]"), &json!(key), KEY));
            }
        }
    }
    let Some(old) = old else { return };
    if old["immutable"] == true {
        if new["immutable"] != true {
            wrong.push(forbidden_field("immutable", "field is immutable when `immutable` is set"));
        }
        for field in ["data", "binaryData"] {
            if old[field] != new[field] {
                wrong.push(forbidden_field(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    if served.kind == "Secret" && old["type"] != new["type"] {
        wrong.push(invalid("type", &new["type"], IMMUTABLE));
    }
}

fn taints(taints: &Value, wrong: &mut Vec<Wrong>) {
    let mut seen = Vec::new();
    for (index, taint) in taints.as_array().into_iter().flatten().enumerate() {
        let at = format!("metadata.taints[{index}]");
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        match taint["effect"].as_str() {
            None => wrong.push(required(format!("{at}.effect"), "")),
            Some(effect) if !known.contains(&effect) => {
                wrong.push(unsupported(format!("{at}.effect"), &taint["effect"], &known));
            }
            Some(_) => {}
        }
        let unique = (&taint["key"], &taint["effect"]);
        if seen.contains(&unique) {
            wrong.push(duplicate(at, taint));
        }
        seen.push(unique);
    }
}

fn binding(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    if old.is_some_and(|old| old["roleRef"] != new["roleRef"]) {
        wrong.push(invalid("roleRef", &new["roleRef"], "cannot change roleRef"));
    }
    let kinds = ["ClusterRole", "Role"];
    if !new["roleRef"]["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
        wrong.push(unsupported("roleRef.kind", &new["roleRef"]["kind"], &kinds));
    }
    if new["roleRef"]["name"].as_str().unwrap_or_default().is_empty() {
        wrong.push(required("roleRef.name", ""));
    }
}

fn budget(new: &Value, wrong: &mut Vec<Wrong>) {
    if !new["spec"]["minAvailable"].is_null() && !new["spec"]["maxUnavailable"].is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        wrong.push(invalid("spec", &new["spec"], why));
    }
}

fn storage_class(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    if new["provisioner"].as_str().unwrap_or_default().is_empty() {
        wrong.push(required("provisioner", ""));
    }
    let Some(old) = old else { return };
    for field in ["provisioner", "reclaimPolicy", "volumeBindingMode"] {
        if old[field] != new[field] {
            wrong.push(invalid(field, &new[field], IMMUTABLE));
        }
    }
    let none = |value: &Value| value.as_object().is_none_or(|map| map.is_empty());
    let (before, after) = (&old["parameters"], &new["parameters"]);
    if before != after && !(none(before) && none(after)) {
        wrong.push(forbidden_field("parameters", "updates to parameters are forbidden."));
    }
}

fn claim(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    if new["spec"]["accessModes"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(required("spec.accessModes", "at least 1 access mode is required"));
    }
    if new["spec"]["resources"]["requests"]["storage"].is_null() {
        wrong.push(required("spec.resources[storage]", ""));
    }
    let free = ["resources", "volumeName", "volumeAttributesClassName", "storageClassName"];
    if old.is_some_and(|old| without(&old["spec"], &free) != without(&new["spec"], &free)) {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        wrong.push(forbidden_field("spec", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_kinds() {
        assert!(is_subdomain("a.b-c.0"));
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a"] {
            assert!(!is_subdomain(name), "{name}");
        }
        assert!(is_qualified("Web_1.x"));
        assert!(!is_qualified("web-"));
    }

    #[test]
    fn amounts_compare_across_units() {
        assert!(amount("1500m") > amount("1"));
        assert!(amount("1Gi") > amount("1G"));
        assert_eq!(amount("1x"), None);
    }
}
