//! What the server refuses of HorizontalPodAutoscalers.

use serde_json::{Value, json};

use super::quantity::Quantity;
use super::status::{Wrong, forbidden_field, invalid, required, unsupported};
use super::validate_pod::{items, one_of, text};

const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// The fields of a metric in the order in which they are looked at, with the type that each belongs to.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// An autoscaler.
pub(super) fn autoscaler(new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    let (least, most) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64().unwrap_or(0));
    if least < 1 {
        wrong.push(invalid("spec.minReplicas", &spec["minReplicas"], "must be greater than or equal to 1"));
    }
    if most < 1 {
        wrong.push(required("spec.maxReplicas", "must be set and greater than 0"));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        wrong.push(invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    }
    named(&spec["scaleTargetRef"], "spec.scaleTargetRef", wrong);
    let version = text(&spec["scaleTargetRef"], "apiVersion");
    if !version.contains('/') {
        let why = "apiVersion must specify API group";
        wrong.push(invalid("spec.scaleTargetRef.apiVersion", &json!(version), why));
    }
    for (index, metric) in items(spec, "metrics") {
        metric_source(metric, &format!("spec.metrics[{index}]"), wrong);
    }
    for way in ["scaleUp", "scaleDown"].into_iter().filter(|way| spec["behavior"][*way].is_object()) {
        rules(&spec["behavior"][way], &format!("spec.behavior.{way}"), wrong);
    }
}

fn named(reference: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    for field in ["kind", "name"] {
        if text(reference, field).is_empty() {
            wrong.push(required(format!("{at}.{field}"), ""));
        }
    }
}

fn metric_source(metric: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    if text(metric, "type").is_empty() {
        wrong.push(required(format!("{at}.type"), "must specify a metric source type"));
    }
    one_of(&metric["type"], format!("{at}.type"), &TYPES, wrong);
    let given = || SOURCES.into_iter().filter(|(field, _)| metric[*field].is_object());
    if let Some((field, _)) = given().next() {
        source(&metric[field], field, &format!("{at}.{field}"), wrong);
    }
    let expected = SOURCES.into_iter().find(|(_, name)| metric["type"] == *name).map(|(field, _)| field);
    match expected {
        None => wrong.push(unsupported(format!("{at}.type"), &metric["type"], &TYPES)),
        Some(field) if !metric[field].is_object() => {
            wrong.push(required(format!("{at}.{field}"), "must populate information for the given metric source"));
        }
        Some(_) => {}
    }
    if given().count() > 1 {
        for (field, _) in given().filter(|(field, _)| Some(*field) != expected) {
            wrong.push(forbidden_field(format!("{at}.{field}"), "must populate the given metric source only"));
        }
    }
}

fn source(of: &Value, field: &str, at: &str, wrong: &mut Vec<Wrong>) {
    let under = |field: &str| format!("{at}.{field}");
    let is_resource = matches!(field, "resource" | "containerResource");
    if field == "object" {
        named(&of["describedObject"], &under("describedObject"), wrong);
    }
    let name = text(if is_resource { of } else { &of["metric"] }, "name");
    if is_resource && name.is_empty() {
        wrong.push(required(under("name"), "must specify a resource name"));
    } else if name.is_empty() {
        wrong.push(required(under("metric.name"), "must specify a metric name"));
    } else if !is_resource && let Some(part) = ["/", "%"].into_iter().find(|part| name.contains(part)) {
        wrong.push(invalid(under("metric.name"), &json!(name), &format!("may not contain '{part}'")));
    }
    if field == "containerResource" && text(of, "container").is_empty() {
        wrong.push(required(under("container"), "must specify a container"));
    }
    let aim = &of["target"];
    target(aim, &under("target"), wrong);
    let has = |field: &str| !aim[field].is_null();
    let average = under("target.averageValue");
    match field {
        "pods" if sign(&aim["averageValue"]) != Some(1) => {
            wrong.push(required(average, "must specify a positive target averageValue"));
        }
        "object" if !has("value") && !has("averageValue") => {
            wrong.push(required(average, "must set either a target value or averageValue"));
        }
        "external" => match (has("value"), has("averageValue")) {
            (false, false) => {
                wrong.push(required(average, "must set either a target value for metric or a per-pod target"));
            }
            (true, true) => {
                let why = "may not set both a target value for metric and a per-pod target";
                wrong.push(forbidden_field(under("target.value"), why));
            }
            _ => {}
        },
        _ if is_resource => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => {
                let why = "must set either a target raw value or a target utilization";
                wrong.push(required(under("target.averageUtilization"), why));
            }
            (true, true) => {
                let why = "may not set both a target raw value and a target utilization";
                wrong.push(forbidden_field(average, why));
            }
            _ => {}
        },
        _ => {}
    }
}

fn target(aim: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let known = ["Utilization", "Value", "AverageValue"];
    match text(aim, "type") {
        "" => wrong.push(required(format!("{at}.type"), "must specify a metric target type")),
        other if !known.contains(&other) => {
            let why = "must be either Utilization, Value, or AverageValue";
            wrong.push(invalid(format!("{at}.type"), &aim["type"], why));
        }
        _ => {}
    }
    for field in ["value", "averageValue"] {
        if sign(&aim[field]).is_some_and(|sign| sign != 1) {
            wrong.push(invalid(format!("{at}.{field}"), &aim[field], "must be positive"));
        }
    }
    if aim["averageUtilization"].as_i64().is_some_and(|percent| percent < 1) {
        wrong.push(invalid(format!("{at}.averageUtilization"), &aim["averageUtilization"], "must be greater than 0"));
    }
}

fn sign(amount: &Value) -> Option<i128> {
    Some(Quantity::parse(amount.as_str()?)?.sign())
}

fn rules(rules: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let under = |field: &str| format!("{at}.{field}");
    match rules["stabilizationWindowSeconds"].as_i64() {
        Some(..0) => wrong.push(invalid(
            under("stabilizationWindowSeconds"),
            &rules["stabilizationWindowSeconds"],
            "must be greater than or equal to zero",
        )),
        Some(seconds) if seconds > WINDOW_MAX => {
            let why = format!("must be less than or equal to {WINDOW_MAX}");
            wrong.push(invalid(under("stabilizationWindowSeconds"), &json!(seconds), &why));
        }
        _ => {}
    }
    one_of(&rules["selectPolicy"], under("selectPolicy"), &["Disabled", "Max", "Min"], wrong);
    if rules["policies"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(required(under("policies"), "must specify at least one Policy"));
    }
    for (index, policy) in items(rules, "policies") {
        let at = under(&format!("policies[{index}]"));
        one_of(&policy["type"], format!("{at}.type"), &["Percent", "Pods"], wrong);
        for field in ["value", "periodSeconds"] {
            if policy[field].as_i64().unwrap_or(0) <= 0 {
                wrong.push(invalid(format!("{at}.{field}"), &policy[field], "must be greater than zero"));
            }
        }
        if policy["periodSeconds"].as_i64().is_some_and(|seconds| seconds > PERIOD_MAX) {
            let why = format!("must be less than or equal to {PERIOD_MAX}");
            wrong.push(invalid(format!("{at}.periodSeconds"), &policy["periodSeconds"], &why));
        }
    }
    if sign(&rules["tolerance"]) == Some(-1) {
        wrong.push(invalid(under("tolerance"), &rules["tolerance"], "must be greater than or equal to 0"));
    }
}
