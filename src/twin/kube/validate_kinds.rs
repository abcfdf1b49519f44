//! What the server refuses of kinds other than pods and what makes pods.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::json;
use super::quantity::Quantity;
use super::status::{Wrong, duplicate, forbidden_field, invalid, required, too_long, unsupported};
use super::validate::{IMMUTABLE, KEY, SUBDOMAIN, is_subdomain, key_of};
use super::validate_pod::{NEGATIVE, NO_PORT, is_port, items, one_of, port_or_name, resource_name, text};

/// Data of ConfigMaps and Secrets.
pub(super) fn keyed(kind: &str, old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    for field in ["data", "binaryData"] {
        for key in new[field].as_object().into_iter().flat_map(|map| map.keys()) {
            let at = format!("{field}[{key}]");
            let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if key == "." || key == ".." {
                wrong.push(invalid(at, &json!(key), &format!("must not be '{key}'")));
            } else if key.is_empty() || !key.chars().all(is_key) {
                wrong.push(invalid(at, &json!(key), KEY));
            } else if field == "data" && new["binaryData"].get(key).is_some() {
                wrong.push(invalid(at, &json!(key), "duplicate of key present in binaryData"));
            }
        }
    }
    let letters = |field: &str| -> usize { values(new, field).map(str::len).sum() };
    let bytes = |field: &str| -> usize { values(new, field).map(decoded_len).sum() };
    // A Secret tells where it is too large, a ConfigMap does not.
    let (has, place) =
        if kind == "Secret" { (bytes("data"), "data") } else { (letters("data") + bytes("binaryData"), "[]") };
    if has > DATA_MAX {
        wrong.push(too_long(place, DATA_MAX));
    }
    if kind == "Secret" {
        secret(new, wrong);
    }
    let Some(old) = old else { return };
    if kind == "Secret" && old["type"] != new["type"] {
        wrong.push(invalid("type", &new["type"], IMMUTABLE));
    }
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
}

/// Bytes that a ConfigMap or Secret may hold.
const DATA_MAX: usize = 1 << 20;

fn values<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    object[field].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str())
}

/// Bytes behind a text in base64.
fn decoded_len(text: &str) -> usize {
    let letters = text.trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace()).count();
    letters * 3 / 4
}

/// Keys that a Secret of a type must have.
fn secret(new: &Value, wrong: &mut Vec<Wrong>) {
    let has = |key: &str| new["data"].get(key).is_some();
    let (keys, all): (&[&str], bool) = match text(new, "type") {
        "kubernetes.io/tls" => (&["tls.crt", "tls.key"], true),
        "kubernetes.io/dockercfg" => (&[".dockercfg"], true),
        "kubernetes.io/dockerconfigjson" => (&[".dockerconfigjson"], true),
        "kubernetes.io/ssh-auth" => (&["ssh-privatekey"], true),
        "kubernetes.io/basic-auth" => (&["username", "password"], false),
        _ => return,
    };
    for key in keys.iter().filter(|key| key.starts_with(".docker") && has(key)) {
        let text = new["data"][*key].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(text).unwrap_or_default();
        if let Err(why) = json::read(&bytes) {
            let shown = json!("<secret contents redacted>");
            wrong.push(invalid(format!("data[{key}]"), &shown, &why));
        }
    }
    if all || !keys.iter().any(|key| has(key)) {
        wrong.extend(keys.iter().filter(|key| !has(key)).map(|key| required(format!("data[{key}]"), "")));
    }
}

/// A Service; `old` is what is there.
pub(super) fn service(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    let kind = text(spec, "type");
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && kind != "ExternalName" && spec["clusterIP"] != "None" {
        wrong.push(required("spec.ports", ""));
    }
    if kind == "ExternalName" && text(spec, "externalName").is_empty() {
        wrong.push(required("spec.externalName", ""));
    }
    let mut names = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            wrong.push(required(format!("{at}.name"), ""));
        } else if !name.is_empty() {
            if names.contains(&name) {
                wrong.push(duplicate(format!("{at}.name"), &port["name"]));
            }
            names.push(name);
        }
        if !is_port(&port["port"]) {
            wrong.push(invalid(format!("{at}.port"), &port["port"], NO_PORT));
        }
        one_of(&port["protocol"], format!("{at}.protocol"), &["SCTP", "TCP", "UDP"], wrong);
        port_or_name(&port["targetPort"], format!("{at}.targetPort"), wrong);
    }
    for key in spec["selector"].as_object().into_iter().flat_map(|map| map.keys()) {
        key_of("spec.selector", key, wrong);
    }
    one_of(&spec["sessionAffinity"], "spec.sessionAffinity".to_owned(), &["ClientIP", "None"], wrong);
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        wrong.push(unsupported("spec.type", &spec["type"], &kinds));
    }
    same_ports(ports, wrong);
    if kind != "ExternalName" {
        address(old, spec, wrong);
    }
    node_ports(ports, kind, wrong);
}

fn same_ports(ports: &[Value], wrong: &mut Vec<Wrong>) {
    let mut seen = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let unique = (&port["protocol"], &port["port"]);
        if seen.contains(&unique) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                port["protocol"], port["port"]
            );
            wrong.push(Wrong::verbatim_duplicate(format!("spec.ports[{index}]"), &shown, ""));
        }
        seen.push(unique);
    }
}

fn address(old: Option<&Value>, spec: &Value, wrong: &mut Vec<Wrong>) {
    let given = text(spec, "clusterIP");
    let before = old.map(|old| text(&old["spec"], "clusterIP")).filter(|before| !before.is_empty());
    if before.is_some_and(|before| before != given) {
        wrong.push(invalid("spec.clusterIPs[0]", &spec["clusterIPs"], "may not change once set"));
    } else if !given.is_empty() && given != "None" && given.parse::<std::net::IpAddr>().is_err() {
        wrong.push(invalid("spec.clusterIPs[0]", &spec["clusterIP"], NO_ADDRESS));
    }
}

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn node_ports(ports: &[Value], kind: &str, wrong: &mut Vec<Wrong>) {
    for (index, port) in ports.iter().enumerate() {
        let given = port["nodePort"].as_i64().unwrap_or(0);
        if given != 0 && matches!(kind, "NodePort" | "LoadBalancer") && !(30000..=32767).contains(&given) {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            wrong.push(invalid(format!("spec.ports[{index}].nodePort"), &port["nodePort"], why));
        }
    }
}

/// The status of a Service.
pub(super) fn service_status(new: &Value, wrong: &mut Vec<Wrong>) {
    let has = new["status"]["loadBalancer"]["ingress"].as_array().is_some_and(|list| !list.is_empty());
    if has && new["spec"]["type"] != "LoadBalancer" {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        wrong.push(forbidden_field("status.loadBalancer.ingress", why));
    }
}

/// Taints of a Node.
pub(super) fn taints(taints: &Value, wrong: &mut Vec<Wrong>) {
    let mut seen = Vec::new();
    for (index, taint) in taints.as_array().into_iter().flatten().enumerate() {
        let at = format!("metadata.taints[{index}]");
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        key_of(&format!("{at}.key"), text(taint, "key"), wrong);
        match text(taint, "effect") {
            "" => wrong.push(required(format!("{at}.effect"), "")),
            effect if !known.contains(&effect) => {
                wrong.push(unsupported(format!("{at}.effect"), &taint["effect"], &known));
            }
            _ => {}
        }
        let unique = (&taint["key"], &taint["effect"]);
        if seen.contains(&unique) {
            let value = |field: &str| json!(text(taint, field));
            // Written in the order of Go's struct.
            let shown = format!(
                "{{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":null}}",
                value("key"),
                value("value"),
                value("effect")
            );
            wrong.push(Wrong::verbatim_duplicate(at, &shown, "taints must be unique by key and effect pair"));
        }
        seen.push(unique);
    }
}

/// Rules of roles.
pub(super) fn rules(new: &Value, namespaced: bool, wrong: &mut Vec<Wrong>) {
    for (index, rule) in items(new, "rules") {
        let at = format!("rules[{index}]");
        let none = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        if none("verbs") {
            wrong.push(required(format!("{at}.verbs"), "verbs must contain at least one value"));
        }
        if !none("nonResourceURLs") {
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                wrong.push(invalid(format!("{at}.nonResourceURLs"), &rule["nonResourceURLs"], why));
            }
            continue;
        }
        if none("apiGroups") {
            wrong.push(required(format!("{at}.apiGroups"), "resource rules must supply at least one api group"));
        }
        if none("resources") {
            wrong.push(required(format!("{at}.resources"), "resource rules must supply at least one resource"));
        }
    }
}

/// A binding of roles; `old` is what is there.
pub(super) fn binding(namespaced: bool, old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let reference = &new["roleRef"];
    if !kinds.contains(&text(reference, "kind")) {
        wrong.push(unsupported("roleRef.kind", &json!(text(reference, "kind")), kinds));
    }
    if text(reference, "name").is_empty() {
        wrong.push(required("roleRef.name", ""));
    }
    for (index, subject) in items(new, "subjects") {
        let at = |field: &str| format!("subjects[{index}].{field}");
        if text(subject, "name").is_empty() {
            wrong.push(required(at("name"), ""));
        }
        match text(subject, "kind") {
            // A binding in a namespace takes its own where an account has none.
            "ServiceAccount" if text(subject, "namespace").is_empty() && !namespaced => {
                wrong.push(required(at("namespace"), ""));
            }
            "ServiceAccount" | "User" | "Group" => {}
            kind => wrong.push(unsupported(at("kind"), &json!(kind), &["ServiceAccount", "User", "Group"])),
        }
    }
    if old.is_some_and(|old| old["roleRef"] != *reference) {
        let shown = json!({ "APIGroup": reference["apiGroup"], "Kind": reference["kind"], "Name": reference["name"] });
        wrong.push(invalid("roleRef", &shown, "cannot change roleRef"));
    }
}

/// A disruption budget.
pub(super) fn budget(new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let shown = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["minAvailable"], spec["selector"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
        );
        wrong.push(Wrong::verbatim("spec", &shown, "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        share(&spec[field], &format!("spec.{field}"), wrong);
    }
}

/// A number that is not negative, or a percentage of at most a hundred.
pub(super) fn share(value: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    if value.as_i64().is_some_and(|number| number < 0) {
        wrong.push(invalid(at, value, NEGATIVE));
    }
    let Some(text) = value.as_str() else { return };
    let digits =
        text.strip_suffix('%').filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits {
        None => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                       regex used for validation is '[0-9]+%')";
            wrong.push(invalid(at, value, why));
        }
        Some(digits) if digits.parse::<u64>().is_ok_and(|percent| percent > 100) => {
            wrong.push(invalid(at, value, "must not be greater than 100%"));
        }
        Some(_) => {}
    }
}

/// A class of storage; `old` is what is there.
pub(super) fn storage_class(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    if text(new, "provisioner").is_empty() {
        wrong.push(required("provisioner", ""));
    }
    let known = ["Immediate", "WaitForFirstConsumer"];
    one_of(&new["volumeBindingMode"], "volumeBindingMode".to_owned(), &known, wrong);
    let Some(old) = old else { return };
    for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        if old[field] != new[field] {
            wrong.push(invalid(field, &new[field], IMMUTABLE));
        }
    }
}

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(spec: &Value, why: &str, wrong: &mut Vec<Wrong>) {
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(required("spec.accessModes", why));
    }
    for (_, mode) in items(spec, "accessModes") {
        one_of(mode, "spec.accessModes".to_owned(), ACCESS_MODES, wrong);
    }
}

/// A claim; `old` is what is there.
pub(super) fn claim(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    access_modes(spec, "at least 1 access mode is required", wrong);
    let asked = &spec["resources"]["requests"]["storage"];
    match asked.as_str().and_then(Quantity::parse) {
        None => wrong.push(required("spec.resources[storage]", "")),
        Some(amount) if Some(amount) <= Quantity::parse("0") => {
            wrong.push(invalid("spec.resources[storage]", asked, "must be greater than zero"));
        }
        Some(_) => {}
    }
    let free = ["resources", "volumeName", "volumeAttributesClassName", "storageClassName"];
    let rest = |object: &Value| super::validate::without(&object["spec"], &free);
    if old.is_some_and(|old| rest(old) != rest(new)) {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        wrong.push(forbidden_field("spec", why));
    }
}

/// A volume.
pub(super) fn volume(new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    access_modes(spec, "", wrong);
    if spec["capacity"].as_object().is_none_or(serde_json::Map::is_empty) {
        wrong.push(required("spec.capacity", ""));
        wrong.push(unsupported("spec.capacity", &Value::Null, &["storage"]));
    }
    let others = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    if super::validate::without(spec, &others).as_object().is_none_or(serde_json::Map::is_empty) {
        wrong.push(required("spec", "must specify a volume type"));
    }
}

/// A class of priority; `old` is what is there.
pub(super) fn priority(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let is_system = text(&new["metadata"], "name").starts_with("system-");
    if new["value"].as_i64().unwrap_or(0) > 1_000_000_000 && !is_system {
        wrong.push(forbidden_field("value", "maximum allowed value of a user defined priority is 1000000000"));
    }
    for field in ["value", "preemptionPolicy"] {
        if old.is_some_and(|old| old[field] != new[field]) {
            wrong.push(forbidden_field(field, "may not be changed in an update."));
        }
    }
}

/// A quota.
pub(super) fn quota(new: &Value, wrong: &mut Vec<Wrong>) {
    const STANDARD: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "quota",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    for (name, amount) in new["spec"]["hard"].as_object().into_iter().flatten() {
        let at = format!("spec.hard[{name}]");
        resource_name(name, &at, "must be a standard resource for quota", STANDARD.contains(&name.as_str()), wrong);
        if amount.as_str().and_then(Quantity::parse) < Quantity::parse("0") {
            wrong.push(invalid(at, amount, NEGATIVE));
        }
    }
}

/// Limits of a namespace.
pub(super) fn limits(new: &Value, wrong: &mut Vec<Wrong>) {
    for (index, limit) in items(&new["spec"], "limits") {
        let of = |which: &str, name: &str| limit[which][name].as_str().and_then(Quantity::parse);
        for (name, least) in limit["min"].as_object().into_iter().flatten() {
            let shown = |which: &str| limit[which][name].as_str().unwrap_or_default().to_owned();
            for (which, field, what) in [
                ("max", "min", "max"),
                ("defaultRequest", "defaultRequest", "default request"),
                ("default", "default", "default"),
            ] {
                if of(which, name).is_some_and(|other| of("min", name) > Some(other)) {
                    let at = format!("spec.limits[{index}].{field}[{name}]");
                    let value = if field == "defaultRequest" { &limit[which][name] } else { least };
                    let why = format!("min value {} is greater than {what} value {}", shown("min"), shown(which));
                    wrong.push(invalid(at, value, &why));
                }
            }
        }
    }
}

/// Addresses behind a Service.
pub(super) fn endpoints(new: &Value, wrong: &mut Vec<Wrong>) {
    for (index, subset) in items(new, "subsets") {
        for list in ["addresses", "notReadyAddresses"] {
            for (place, address) in items(subset, list) {
                let at = format!("subsets[{index}].{list}[{place}].ip");
                match text(address, "ip").parse::<std::net::IpAddr>() {
                    Err(_) => {
                        wrong.push(invalid(&at, &address["ip"], NO_ADDRESS));
                        wrong.push(invalid(&at, &address["ip"], "must be a valid IP address"));
                    }
                    Ok(ip) if ip.is_loopback() => {
                        let why = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
                        wrong.push(invalid(at, &address["ip"], why));
                    }
                    Ok(_) => {}
                }
            }
        }
    }
}

/// A slice of endpoints.
pub(super) fn slice(new: &Value, wrong: &mut Vec<Wrong>) {
    match text(new, "addressType") {
        "" => wrong.push(required("addressType", "")),
        _ => one_of(&new["addressType"], "addressType".to_owned(), &["FQDN", "IPv4", "IPv6"], wrong),
    }
    for (index, endpoint) in items(new, "endpoints") {
        if endpoint["addresses"].as_array().is_none_or(Vec::is_empty) {
            wrong.push(required(format!("endpoints[{index}].addresses"), "must contain at least 1 address"));
        }
    }
}

/// An Event tells of an object of its own namespace.
pub(super) fn event(new: &Value, wrong: &mut Vec<Wrong>) {
    let about = &new["involvedObject"]["namespace"];
    if about.is_string() && *about != new["metadata"]["namespace"] {
        wrong.push(invalid("involvedObject.namespace", about, "does not match event.namespace"));
    }
}

/// A Lease.
pub(super) fn lease(new: &Value, wrong: &mut Vec<Wrong>) {
    let seconds = &new["spec"]["leaseDurationSeconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
        wrong.push(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
}

/// A policy of the network.
pub(super) fn network_policy(new: &Value, wrong: &mut Vec<Wrong>) {
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&new["spec"], rules) {
            for (place, peer) in items(rule, peers) {
                let at = format!("spec.{rules}[{index}].{peers}[{place}]");
                if peer.as_object().is_none_or(serde_json::Map::is_empty) {
                    wrong.push(required(&at, "must specify a peer"));
                }
                let cidr = &peer["ipBlock"]["cidr"];
                if peer["ipBlock"].is_object() && !cidr.as_str().is_some_and(is_cidr) {
                    let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                    wrong.push(invalid(format!("{at}.ipBlock.cidr"), cidr, why));
                }
            }
        }
    }
    for (index, kind) in items(&new["spec"], "policyTypes") {
        one_of(kind, format!("spec.policyTypes[{index}]"), &["Ingress", "Egress"], wrong);
    }
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| bits.parse::<u8>().is_ok_and(|bits| bits <= if address.is_ipv4() { 32 } else { 128 }))
    })
}

/// An Ingress.
pub(super) fn ingress(new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    if spec["defaultBackend"].is_null() && spec["rules"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(invalid("spec", &Value::Null, "either `defaultBackend` or `rules` must be specified"));
    }
    for (index, rule) in items(spec, "rules") {
        let host = text(rule, "host");
        if !host.is_empty() && !is_subdomain(host.strip_prefix("*.").unwrap_or(host)) {
            wrong.push(invalid(format!("spec.rules[{index}].host"), &rule["host"], SUBDOMAIN));
        }
        for (place, path) in items(&rule["http"], "paths") {
            let at = format!("spec.rules[{index}].http.paths[{place}]");
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            match text(path, "pathType") {
                "" => wrong.push(required(format!("{at}.pathType"), "pathType must be specified")),
                kind if !known.contains(&kind) => {
                    wrong.push(unsupported(format!("{at}.pathType"), &path["pathType"], &known));
                }
                _ if !text(path, "path").starts_with('/') && path["path"].is_string() => {
                    wrong.push(invalid(format!("{at}.path"), &path["path"], "must be an absolute path"));
                }
                _ => {}
            }
        }
    }
}

/// Webhooks of admission.
pub(super) fn webhooks(new: &Value, wrong: &mut Vec<Wrong>) {
    for (index, hook) in items(new, "webhooks") {
        let at = |field: &str| format!("webhooks[{index}].{field}");
        let name = text(hook, "name");
        if name.split('.').count() < 3 || !is_subdomain(name) {
            let why = "should be a domain with at least three segments separated by dots";
            wrong.push(invalid(at("name"), &hook["name"], why));
        }
        if hook["sideEffects"].is_null() {
            wrong.push(required(at("sideEffects"), "must specify one of None, NoneOnDryRun"));
        }
        let client = &hook["clientConfig"];
        if client["url"].is_null() == client["service"].is_null() {
            wrong.push(required(at("clientConfig"), "exactly one of url or service is required"));
        }
        if hook["admissionReviewVersions"].as_array().is_none_or(Vec::is_empty) {
            wrong.push(required(at("admissionReviewVersions"), "must specify one of v1, v1beta1"));
        }
    }
}
