//! Kinds with an older version beside the one that is stored. Of HorizontalPodAutoscalers `autoscaling/v1` knows the
//! use of the processor alone: what else there is stays as it is when one is changed so. The real server shows it in
//! annotations (`autoscaling.alpha.kubernetes.io/…`), which the twin does not.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::kinds::Served;

const OLDER: (&str, &str) = ("horizontalpodautoscalers.autoscaling", "v1");
const STORED: &str = "autoscaling/v2";
const WANTED: &str = "targetCPUUtilizationPercentage";
const SEEN: &str = "currentCPUUtilizationPercentage";
/// Kubernetes docs: what an autoscaler aims at where nobody says so.
const USUAL_PERCENT: i64 = 80;

fn is_older(served: &Served) -> bool {
    (&*served.table, &*served.version) == OLDER
}

/// The use of the processor among metrics or their states.
fn of_processor(metric: &Value) -> Option<&Value> {
    let of = &metric["resource"];
    let is_meant = metric["type"] == "Resource" && of["name"] == "cpu";
    let percent = [&of["target"]["averageUtilization"], &of["current"]["averageUtilization"]];
    percent.into_iter().find(|percent| is_meant && !percent.is_null())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn take(object: &mut Value, field: &str) -> Value {
    object.as_object_mut().and_then(|map| map.remove(field)).unwrap_or_default()
}

/// An object as it is stored; `before` is what is stored now.
pub fn stored(served: &Served, mut object: Value, before: Option<&Value>) -> Value {
    if !is_older(served) {
        return object;
    }
    object["apiVersion"] = json!(STORED);
    let percent = take(&mut object["spec"], WANTED);
    take(&mut object["status"], SEEN);
    let before = before.unwrap_or(&Value::Null);
    let mut metrics: Vec<Value> =
        items(&before["spec"]["metrics"]).iter().filter(|one| of_processor(one).is_none()).cloned().collect();
    if percent.is_number() || metrics.is_empty() {
        let percent = percent.as_i64().unwrap_or(USUAL_PERCENT);
        metrics.push(json!({ "type": "Resource", "resource": {
            "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } } }));
    }
    object["spec"]["metrics"] = json!(metrics);
    for (part, field) in [("spec", "behavior"), ("status", "conditions"), ("status", "currentMetrics")] {
        if !before[part][field].is_null() {
            object[part][field] = before[part][field].clone();
        }
    }
    if object["status"].is_object() {
        if object["status"]["currentReplicas"] == 0 {
            take(&mut object["status"], "currentReplicas");
        }
        if object["status"]["currentMetrics"].is_null() {
            object["status"]["currentMetrics"] = Value::Null;
        }
    }
    object
}

/// An object as it would be stored, to be looked at.
pub fn as_stored<'o>(served: &Served, object: &'o Value) -> Cow<'o, Value> {
    if is_older(served) { Cow::Owned(stored(served, object.clone(), None)) } else { Cow::Borrowed(object) }
}

/// A stored object as this version has it.
pub fn shown<'o>(served: &Served, object: &'o Value) -> Cow<'o, Value> {
    if !is_older(served) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    object["apiVersion"] = json!(served.api_version());
    for (part, of, field) in [("spec", "metrics", WANTED), ("status", "currentMetrics", SEEN)] {
        let metrics = take(&mut object[part], of);
        if let Some(percent) = items(&metrics).iter().find_map(of_processor) {
            object[part][field] = percent.clone();
        }
    }
    take(&mut object["spec"], "behavior");
    take(&mut object["status"], "conditions");
    // The older version writes numbers that are 0, too.
    if object["status"].is_object() && object["status"]["currentReplicas"].is_null() {
        object["status"]["currentReplicas"] = json!(0);
    }
    Cow::Owned(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::twin::kube::wire::Wire;

    const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

    #[test]
    fn an_autoscaler_is_the_same_in_both_versions() {
        let mut wire = Wire::new();
        let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let old = json!({ "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
            "spec": { "maxReplicas": 5, "scaleTargetRef": reference, "targetCPUUtilizationPercentage": 50 } });
        let (code, made) = wire.post(V1, old);
        assert_eq!((code, &made["apiVersion"]), (201, &json!("autoscaling/v1")), "{made}");
        assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
        let metric = |percent: i64| {
            json!({ "type": "Resource", "resource": {
                "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } } })
        };
        let (_, new) = wire.get(&format!("{V2}/web"));
        assert_eq!(new["spec"]["metrics"], json!([metric(50)]), "{new}");
        assert!(new["spec"]["targetCPUUtilizationPercentage"].is_null());
        let memory = json!({ "type": "Resource", "resource": {
            "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } });
        let change = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "metrics": [memory, metric(60)] } });
        let (code, changed) = wire.patch(&format!("{V2}/web"), "application/merge-patch+json", change);
        assert_eq!(code, 200, "{changed}");
        // Through the older version nothing of the newer one is lost.
        let change = json!({ "spec": { "targetCPUUtilizationPercentage": 70 } });
        let (code, changed) = wire.patch(&format!("{V1}/web"), "application/merge-patch+json", change);
        assert_eq!((code, &changed["spec"]["targetCPUUtilizationPercentage"]), (200, &json!(70)), "{changed}");
        assert!(changed["spec"]["metrics"].is_null());
        let (_, new) = wire.get(&format!("{V2}/web"));
        assert_eq!(new["spec"]["metrics"], json!([memory, metric(70)]));
        let (_, list) = wire.get(V1);
        assert_eq!(list["items"][0]["spec"]["targetCPUUtilizationPercentage"], 70);
        assert!(list["items"][0]["spec"]["metrics"].is_null());
    }
}
