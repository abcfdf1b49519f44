//! What the server refuses of an object, field by field, in its own words.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::kinds::Served;
use super::selector::Labels;
use super::status::{Wrong, forbidden_field, invalid, required, too_long, unsupported};
use super::validate_pod::{NEGATIVE, items, text};
use super::{validate_autoscaler, validate_batch as batch, validate_kinds as kinds, validate_pod as pod};

pub(super) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
pub(super) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
pub(super) const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
pub(super) const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
     'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
/// Bytes of all annotations of an object.
const ANNOTATIONS_MAX: usize = 256 << 10;
pub(super) const IMMUTABLE: &str = "field is immutable";

pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(is_inner) && edges.into_iter().all(|edge| edge.is_some_and(|byte| byte != b'-'))
}

/// Why a name is no label of DNS, as advice.
pub(super) fn no_label(name: &str) -> Option<String> {
    let mut why = Vec::new();
    if name.len() > 63 {
        why.push("must be no more than 63 characters".to_owned());
    }
    if name.contains('.') {
        why.push("must not contain dots".to_owned());
    } else if !is_label(name) {
        why.push(LABEL.to_owned());
    }
    (!why.is_empty()).then(|| why.join(" "))
}

pub(super) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

pub(super) fn is_qualified(text: &str) -> bool {
    text.len() <= 63 && is_lettered(text)
}

/// Whether a text of any length has the letters of a qualified name.
fn is_lettered(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edges = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(is_inner) && edges.into_iter().all(|edge| edge.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// Why a name can not be one of this kind.
fn name_is_wrong(served: &Served, name: &str) -> Option<String> {
    let too_long = |max: usize| (name.len() > max).then(|| format!("must be no more than {max} characters"));
    match served.table.as_str() {
        "services" | "namespaces" => too_long(63).or_else(|| (!is_label(name)).then(|| LABEL.to_owned())),
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
    let selected = (served.table == "jobs.batch").then(|| batch::as_selected(new));
    let new = selected.as_deref().unwrap_or(new);
    metadata(served, old, &new["metadata"], &mut wrong);
    if old.is_some() {
        // An update looks at the metadata as such, and as that of a changed object; at labels and annotations both times
        // before and after it knows the kind.
        let twice = |one: &&Wrong| one.is_about("metadata.labels") || one.is_about("metadata.annotations");
        let more: Vec<Wrong> = wrong.iter().filter(twice).cloned().collect();
        wrong.extend(more);
        wrong.extend(wrong.clone());
    }
    let namespaced = served.namespaced;
    match served.table.as_str() {
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" | "statefulsets.apps" => {
            workload(served, old, new, &mut wrong);
        }
        "replicationcontrollers" => batch::replication_controller(new, &mut wrong),
        "podtemplates" => pod::spec(&new["template"]["spec"], "template.spec", &mut wrong),
        "jobs.batch" => batch::job(old, new, &mut wrong),
        "cronjobs.batch" => batch::cron_job(old, new, &mut wrong),
        "pods" => pod::pod(old, new, &mut wrong),
        "services" => kinds::service(old, new, &mut wrong),
        "configmaps" | "secrets" => kinds::keyed(&served.kind, old, new, &mut wrong),
        "nodes" => kinds::taints(&new["spec"]["taints"], &mut wrong),
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => {
            kinds::rules(new, namespaced, &mut wrong);
        }
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            kinds::binding(namespaced, old, new, &mut wrong);
        }
        "poddisruptionbudgets.policy" => kinds::budget(new, &mut wrong),
        "horizontalpodautoscalers.autoscaling" => validate_autoscaler::autoscaler(new, &mut wrong),
        "storageclasses.storage.k8s.io" => kinds::storage_class(old, new, &mut wrong),
        "persistentvolumeclaims" => kinds::claim(old, new, &mut wrong),
        "persistentvolumes" => kinds::volume(new, &mut wrong),
        "priorityclasses.scheduling.k8s.io" => kinds::priority(old, new, &mut wrong),
        "resourcequotas" => kinds::quota(new, &mut wrong),
        "limitranges" => kinds::limits(new, &mut wrong),
        "endpoints" => kinds::endpoints(new, &mut wrong),
        "endpointslices.discovery.k8s.io" => kinds::slice(new, &mut wrong),
        "events" => kinds::event(new, &mut wrong),
        "leases.coordination.k8s.io" => kinds::lease(new, &mut wrong),
        "networkpolicies.networking.k8s.io" => kinds::network_policy(new, &mut wrong),
        "ingresses.networking.k8s.io" => kinds::ingress(new, &mut wrong),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "validatingwebhookconfigurations.admissionregistration.k8s.io" => kinds::webhooks(new, &mut wrong),
        super::kinds::DEFINITIONS => super::crd::check(new, &mut wrong),
        _ => {}
    }
    wrong
}

/// What is wrong with a status.
pub fn check_status(served: &Served, new: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if served.table == "services" {
        kinds::service_status(new, &mut wrong);
    }
    wrong
}

fn metadata(served: &Served, old: Option<&Value>, metadata: &Value, wrong: &mut Vec<Wrong>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(base) = metadata["generateName"].as_str().filter(|base| old.is_none() && !base.is_empty()) {
        // Letters follow, so a hyphen at the end is none.
        let begun = base.strip_suffix('-').filter(|begun| !begun.is_empty()).map(|begun| format!("{begun}a"));
        if let Some(why) = name_is_wrong(served, begun.as_deref().unwrap_or(base)) {
            wrong.push(invalid("metadata.generateName", &metadata["generateName"], &why));
        }
    }
    if name.is_empty() {
        wrong.push(required("metadata.name", "name or generateName is required"));
    } else if old.is_none()
        && let Some(why) = name_is_wrong(served, name)
    {
        wrong.push(invalid("metadata.name", &json!(name), &why));
    }
    label_pairs(&metadata["labels"], "metadata.labels", wrong);
    let mut length = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        key_of("metadata.annotations", &key.to_ascii_lowercase(), wrong);
        length += key.len() + value.as_str().map_or(0, str::len);
    }
    if length > ANNOTATIONS_MAX {
        wrong.push(too_long("metadata.annotations", ANNOTATIONS_MAX));
    }
    owners(metadata, wrong);
    finalizers(metadata, wrong);
    if let Some(old) = old.filter(|old| !old["metadata"]["deletionTimestamp"].is_null()) {
        let before = old["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let mut added: Vec<&Value> =
            metadata["finalizers"].as_array().into_iter().flatten().filter(|one| !before.contains(one)).collect();
        added.sort_by_key(|one| one.as_str());
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                go_list(&added)
            );
            wrong.push(forbidden_field("metadata.finalizers", &why));
        }
    }
}

fn owners(metadata: &Value, wrong: &mut Vec<Wrong>) {
    const AT: &str = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for (_, owner) in items(metadata, "ownerReferences") {
        for field in ["apiVersion", "kind", "name", "uid"] {
            let given = text(owner, field);
            if given.is_empty() || (field == "apiVersion" && given.matches('/').count() > 1) {
                let why = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                wrong.push(invalid(format!("{AT}.{field}"), &json!(given), why));
            }
        }
        if (text(owner, "apiVersion"), text(owner, "kind")) == ("v1", "Event") {
            wrong.push(Wrong::verbatim(AT, &owner_in_go(owner), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner["controller"] != true {
            continue;
        }
        let named = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        if let Some(first) = &controller {
            let all: Vec<String> = items(metadata, "ownerReferences").map(|(_, owner)| owner_in_go(owner)).collect();
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {named}"
            );
            wrong.push(Wrong::verbatim(AT, &format!("[{}]", all.join(",")), &why));
        }
        controller.get_or_insert(named);
    }
}

/// An owner as Go writes its struct.
fn owner_in_go(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let shown = fields.into_iter().filter(|field| !owner[*field].is_null());
    let shown: Vec<String> = shown.map(|field| format!("{field:?}:{}", owner[field])).collect();
    format!("{{{}}}", shown.join(","))
}

fn finalizers(metadata: &Value, wrong: &mut Vec<Wrong>) {
    const AT: &str = "metadata.finalizers";
    let all: Vec<(usize, &str)> =
        items(metadata, "finalizers").map(|(index, one)| (index, one.as_str().unwrap_or_default())).collect();
    for (_, finalizer) in &all {
        key_of(AT, finalizer, wrong);
    }
    let has = |name: &str| all.iter().any(|(_, one)| *one == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        wrong.push(invalid(AT, &metadata["finalizers"], why));
    }
    for (index, finalizer) in all {
        let known = ["orphan", "foregroundDeletion", "kubernetes"];
        if !finalizer.contains('/') && !known.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            wrong.push(invalid(format!("{AT}[{index}]"), &json!(finalizer), why));
        }
    }
}

/// Looks at the keys and values of labels.
pub(super) fn label_pairs(labels: &Value, field: &str, wrong: &mut Vec<Wrong>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        key_of(field, key, wrong);
        if text.len() > 63 {
            wrong.push(invalid(field, value, "must be no more than 63 bytes"));
        } else if !text.is_empty() && !is_qualified(text) {
            wrong.push(invalid(field, value, LABEL_VALUE));
        }
    }
}

/// A list of texts as Go prints it.
fn go_list(list: &[&Value]) -> String {
    let texts: Vec<String> = list.iter().map(|one| one.to_string()).collect();
    format!("[]string{{{}}}", texts.join(", "))
}

/// Looks at the key of a label.
pub(super) fn key_of(field: &str, key: &str, wrong: &mut Vec<Wrong>) {
    let mut refuse = |why: &str| wrong.push(invalid(field, &json!(key), why));
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if name.contains('/') {
        refuse(
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
             'example.com/MyName')",
        );
        return;
    }
    if prefix == Some("") {
        refuse("prefix part must be non-empty");
    } else if let Some(prefix) = prefix {
        if prefix.len() > 253 {
            refuse("prefix part must be no more than 253 bytes");
        }
        if !is_subdomain(prefix) {
            refuse(&format!("prefix part {SUBDOMAIN}"));
        }
    }
    if name.is_empty() {
        refuse("name part must be non-empty");
    } else if name.len() > 63 {
        refuse("name part must be no more than 63 bytes");
    }
    if !is_lettered(name) {
        refuse(QUALIFIED);
    }
}

fn workload(served: &Served, old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    let selector = &spec["selector"];
    if served.kind == "Deployment" {
        // Deployments look at their numbers first.
        numbers(spec, &["replicas"], wrong);
    }
    let labels = Labels::of_object(selector);
    selects(selector, "spec.selector", wrong);
    if selector.is_null() {
        if served.kind != "DaemonSet" {
            wrong.push(required("spec.selector", ""));
        }
    } else if labels.is_empty() && !has_wrong(wrong, "spec.selector") {
        let why = match served.kind.as_str() {
            "Deployment" => "empty selector is invalid for deployment",
            "DaemonSet" => "empty selector is invalid for daemonset",
            "StatefulSet" => "empty selector is invalid for statefulset",
            _ => "empty selector is invalid",
        };
        wrong.push(invalid("spec.selector", selector, why));
    }
    let fits = !selector.is_null() && labels.match_labels(&spec["template"]["metadata"]["labels"]);
    let is_bad =
        has_wrong(wrong, "spec.selector:") || items(selector, "matchExpressions").any(|(_, one)| !is_known(one));
    let is_empty = labels.is_empty() && !selector.is_null();
    if !(fits || is_empty || is_bad) {
        let found = &spec["template"]["metadata"]["labels"];
        wrong.push(invalid("spec.template.metadata.labels", found, "`selector` does not match template `labels`"));
    }
    for key in spec["template"]["metadata"]["labels"].as_object().into_iter().flat_map(|map| map.keys()) {
        key_of("spec.template.labels", key, wrong);
    }
    pod::spec(&with_claims(spec), "spec.template.spec", wrong);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if !policy.is_null() && policy != "Always" {
        wrong.push(unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if served.kind == "Deployment" {
        strategy(&spec["strategy"], wrong);
        numbers(spec, &["minReadySeconds", "revisionHistoryLimit"], wrong);
    } else {
        numbers(spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"], wrong);
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

/// Numbers that may not be negative.
fn numbers(spec: &Value, fields: &[&str], wrong: &mut Vec<Wrong>) {
    for field in fields {
        if spec[*field].as_i64().is_some_and(|number| number < 0) {
            wrong.push(invalid(format!("spec.{field}"), &spec[*field], NEGATIVE));
        }
    }
}

pub(super) fn has_wrong(wrong: &[Wrong], field: &str) -> bool {
    wrong.iter().any(|one| one.is_about(field))
}

/// Whether the operator of an expression is one.
fn is_known(expression: &Value) -> bool {
    matches!(text(expression, "operator"), "In" | "NotIn" | "Exists" | "DoesNotExist")
}

/// What is wrong with a selector of labels.
fn selects(selector: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let mut is_wrong = false;
    for (index, one) in items(selector, "matchExpressions") {
        if !is_known(one) {
            let field = format!("{at}.matchExpressions[{index}].operator");
            wrong.push(invalid(field, &one["operator"], "not a valid selector operator"));
            is_wrong = true;
        }
    }
    if is_wrong {
        wrong.push(invalid(at, selector, "invalid label selector"));
    }
}

/// How a Deployment rolls.
fn strategy(strategy: &Value, wrong: &mut Vec<Wrong>) {
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "Recreate" => {
            if !rolling.is_null() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                wrong.push(forbidden_field("spec.strategy.rollingUpdate", why));
            }
        }
        "RollingUpdate" => {
            for field in ["maxSurge", "maxUnavailable"] {
                kinds::share(&rolling[field], &format!("spec.strategy.rollingUpdate.{field}"), wrong);
            }
            let is_none = |value: &Value| *value == 0 || *value == "0%";
            if is_none(&rolling["maxSurge"]) && is_none(&rolling["maxUnavailable"]) {
                let why = "may not be 0 when `maxSurge` is 0";
                wrong.push(invalid("spec.strategy.rollingUpdate.maxUnavailable", &rolling["maxUnavailable"], why));
            }
        }
        other => {
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", json!(other));
            wrong.push(Wrong::verbatim_unsupported("spec.strategy", &shown, &["Recreate", "RollingUpdate"]));
        }
    }
}

/// A map without these fields, and without nulls.
pub(super) fn without(value: &Value, keys: &[&str]) -> Value {
    let map = value.as_object().cloned().unwrap_or_default();
    Value::Object(map.into_iter().filter(|(key, value)| !keys.contains(&key.as_str()) && !value.is_null()).collect())
}

/// The pods of a template, with the volumes that a StatefulSet claims for each.
fn with_claims(spec: &Value) -> Cow<'_, Value> {
    let claims: Vec<&Value> = items(spec, "volumeClaimTemplates").map(|(_, claim)| claim).collect();
    let pod = &spec["template"]["spec"];
    if claims.is_empty() || !pod.is_object() {
        return Cow::Borrowed(pod);
    }
    let mut volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    volumes.extend(claims.iter().map(|claim| json!({ "name": claim["metadata"]["name"], "emptyDir": {} })));
    let mut pod = pod.clone();
    pod["volumes"] = Value::Array(volumes);
    Cow::Owned(pod)
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
}
