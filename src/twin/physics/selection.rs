//! Which pods and nodes fit each other: selectors, affinity, taints, quantities.

use std::borrow::Cow;

use serde_json::Value;

use crate::twin::kube::quantity::Quantity;

/// Whether labels fit a selector of `matchLabels` and `matchExpressions`. An empty selector fits everything.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let plain = selector["matchLabels"].as_object().into_iter().flatten();
    plain.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|one| satisfies(one, labels[text(one, "key")].as_str()))
}

/// Whether a pod asks for a node like this one: by `nodeSelector` and by required affinity.
pub fn wants_node(pod: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let selector = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    if !selector.into_iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let Some(terms) = required_terms(pod).as_array() else { return true };
    terms.iter().any(|term| fits_term(term, node))
}

/// The name of the one node that a pod of a DaemonSet is made for.
pub fn made_for(pod: &Value) -> Option<&str> {
    match list(required_terms(pod)) {
        [only] => only["matchFields"][0]["values"][0].as_str(),
        _ => None,
    }
}

fn required_terms(pod: &Value) -> &Value {
    &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

fn fits_term(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (list(&term["matchExpressions"]), list(&term["matchFields"]));
    let labels = &node["metadata"]["labels"];
    // A term without any requirement selects nothing.
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|one| satisfies(one, labels[text(one, "key")].as_str()))
        && fields.iter().all(|one| satisfies(one, node["metadata"]["name"].as_str()))
}

fn satisfies(requirement: &Value, value: Option<&str>) -> bool {
    let among = || value.is_some_and(|value| list(&requirement["values"]).iter().any(|one| one == value));
    let number = |value: Option<&str>| value.and_then(|value| value.parse::<i64>().ok());
    let compared = number(value).zip(number(requirement["values"][0].as_str()));
    match text(requirement, "operator") {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(value, than)| value > than),
        "Lt" => compared.is_some_and(|(value, than)| value < than),
        _ => false,
    }
}

/// The first taint of a node that keeps a pod away from it.
pub fn untolerated<'a>(pod: &Value, node: &'a Value) -> Option<Cow<'a, Value>> {
    let tolerations = list(&pod["spec"]["tolerations"]);
    let repels = |taint: &Value| {
        text(taint, "effect") != "PreferNoSchedule"
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = list(&node["spec"]["taints"]).iter().find(|taint| repels(taint)) {
        return Some(Cow::Borrowed(taint));
    }
    // A cordon is a taint, too, before anybody has written that taint down.
    let cordon = serde_json::json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" });
    (node["spec"]["unschedulable"] == true && repels(&cordon)).then_some(Cow::Owned(cordon))
}

/// Whether a toleration is for a taint.
pub fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
    let exists = text(toleration, "operator") == "Exists";
    (effect.is_empty() || effect == text(taint, "effect"))
        && ((key.is_empty() && exists) || key == text(taint, "key"))
        && (exists || text(toleration, "value") == text(taint, "value"))
}

/// A quantity in thousandths: `250m` is 250, `1Gi` is 1024³ · 1000.
pub fn thousandths(quantity: &Value) -> i128 {
    let written = match quantity {
        Value::String(written) => Cow::Borrowed(written.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    Quantity::parse(&written).map_or(0, |quantity| quantity.thousandths())
}

/// The items of a list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text, empty where there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_taint_keeps_pods_away_that_do_not_tolerate_it() {
        let node = json!({ "spec": { "taints": [{ "key": "gpu", "value": "yes", "effect": "NoSchedule" }] } });
        let pod = |toleration: Value| json!({ "spec": { "tolerations": [toleration] } });
        assert_eq!(untolerated(&json!({}), &node).unwrap()["key"], "gpu");
        assert!(untolerated(&pod(json!({ "key": "gpu", "value": "yes" })), &node).is_none());
        assert!(untolerated(&pod(json!({ "key": "gpu", "value": "no" })), &node).is_some());
        assert!(untolerated(&pod(json!({ "operator": "Exists" })), &node).is_none());
        assert!(untolerated(&pod(json!({ "operator": "Exists", "effect": "NoExecute" })), &node).is_some());
        let cordoned = json!({ "spec": { "unschedulable": true } });
        assert!(untolerated(&json!({}), &cordoned).is_some());
    }

    #[test]
    fn affinity_is_any_term_and_all_of_it() {
        let node = json!({ "metadata": { "name": "n1", "labels": { "zone": "a", "cores": "8" } } });
        let pod = |terms: Value| {
            let required = json!({ "nodeSelectorTerms": terms });
            json!({ "spec": { "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } } } })
        };
        let other = json!({ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["b"] }] });
        let here = json!({ "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["b"] },
            { "key": "cores", "operator": "Gt", "values": ["4"] }] });
        assert!(!wants_node(&pod(json!([other])), &node));
        assert!(wants_node(&pod(json!([other, here])), &node));
        assert!(!wants_node(&pod(json!([{}])), &node));
        assert!(!wants_node(&json!({ "spec": { "nodeSelector": { "zone": "b" } } }), &node));
    }

    #[test]
    fn quantities_are_read_in_all_their_units() {
        let cases = [("250m", 250), ("2", 2000), ("0.5", 500), ("1.5Gi", 1_610_612_736_000), ("1M", 1_000_000_000)];
        for (written, thousand) in cases {
            assert_eq!(thousandths(&json!(written)), thousand, "{written}");
        }
        assert_eq!(thousandths(&json!(2)), 2000);
        assert_eq!(thousandths(&Value::Null), 0);
    }
}
