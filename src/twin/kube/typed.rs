//! Whether an object is of its type: fields that the type does not have, and values of another type. For kinds that are
//! built in the types of `k8s-openapi` tell it, for custom ones the schema of their definition.

use k8s_openapi::api::{
    admissionregistration, apps, autoscaling, batch, certificates, coordination, core, discovery, networking, node,
    policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kinds::Served;

/// What does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    /// Paths of unknown fields: `spec.replica`.
    pub unknown: Vec<String>,
    /// What is no value of its type.
    pub mistyped: Option<String>,
}

/// Reads a value as a type and writes it again: what the type does not know is lost on the way.
fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

type Pass = fn(&Value) -> Result<Value, String>;

/// Kinds by their tables. Where a kind has no row its fields are not checked.
const TYPES: &[(&str, Pass)] = &[
    ("configmaps", through::<core::v1::ConfigMap>),
    ("endpoints", through::<core::v1::Endpoints>),
    ("namespaces", through::<core::v1::Namespace>),
    ("nodes", through::<core::v1::Node>),
    ("persistentvolumeclaims", through::<core::v1::PersistentVolumeClaim>),
    ("persistentvolumes", through::<core::v1::PersistentVolume>),
    ("pods", through::<core::v1::Pod>),
    ("podtemplates", through::<core::v1::PodTemplate>),
    ("replicationcontrollers", through::<core::v1::ReplicationController>),
    ("resourcequotas", through::<core::v1::ResourceQuota>),
    ("limitranges", through::<core::v1::LimitRange>),
    ("secrets", through::<core::v1::Secret>),
    ("serviceaccounts", through::<core::v1::ServiceAccount>),
    ("services", through::<core::v1::Service>),
    ("apiservices.apiregistration.k8s.io", through::<apiregistration::v1::APIService>),
    ("daemonsets.apps", through::<apps::v1::DaemonSet>),
    ("deployments.apps", through::<apps::v1::Deployment>),
    ("replicasets.apps", through::<apps::v1::ReplicaSet>),
    ("statefulsets.apps", through::<apps::v1::StatefulSet>),
    ("horizontalpodautoscalers.autoscaling", through::<autoscaling::v2::HorizontalPodAutoscaler>),
    ("cronjobs.batch", through::<batch::v1::CronJob>),
    ("jobs.batch", through::<batch::v1::Job>),
    ("certificatesigningrequests.certificates.k8s.io", through::<certificates::v1::CertificateSigningRequest>),
    ("ingresses.networking.k8s.io", through::<networking::v1::Ingress>),
    ("ingressclasses.networking.k8s.io", through::<networking::v1::IngressClass>),
    ("networkpolicies.networking.k8s.io", through::<networking::v1::NetworkPolicy>),
    ("poddisruptionbudgets.policy", through::<policy::v1::PodDisruptionBudget>),
    ("clusterroles.rbac.authorization.k8s.io", through::<rbac::v1::ClusterRole>),
    ("clusterrolebindings.rbac.authorization.k8s.io", through::<rbac::v1::ClusterRoleBinding>),
    ("roles.rbac.authorization.k8s.io", through::<rbac::v1::Role>),
    ("rolebindings.rbac.authorization.k8s.io", through::<rbac::v1::RoleBinding>),
    ("csidrivers.storage.k8s.io", through::<storage::v1::CSIDriver>),
    ("csinodes.storage.k8s.io", through::<storage::v1::CSINode>),
    ("storageclasses.storage.k8s.io", through::<storage::v1::StorageClass>),
    ("volumeattachments.storage.k8s.io", through::<storage::v1::VolumeAttachment>),
    (
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        through::<admissionregistration::v1::MutatingWebhookConfiguration>,
    ),
    (
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        through::<admissionregistration::v1::ValidatingWebhookConfiguration>,
    ),
    ("customresourcedefinitions.apiextensions.k8s.io", through::<apiextensions::v1::CustomResourceDefinition>),
    ("priorityclasses.scheduling.k8s.io", through::<scheduling::v1::PriorityClass>),
    ("leases.coordination.k8s.io", through::<coordination::v1::Lease>),
    ("runtimeclasses.node.k8s.io", through::<node::v1::RuntimeClass>),
    ("endpointslices.discovery.k8s.io", through::<discovery::v1::EndpointSlice>),
];

/// What of an object does not fit its type. `schema` is the `openAPIV3Schema` of a custom kind.
pub fn misfits(served: &Served, schema: Option<&Value>, object: &Value) -> Misfits {
    let mut misfits = Misfits::default();
    if served.custom {
        unknown_metadata(object, &mut misfits);
        if let Some(schema) = schema {
            lost_in_schema(schema, object, "", true, &mut misfits.unknown);
        }
        return misfits;
    }
    // Another version of the same table has other fields.
    let pass = TYPES.iter().find(|(table, _)| *table == served.table).map(|(_, pass)| pass);
    let Some(pass) = pass.filter(|_| served.version != "v1" || served.group != "autoscaling") else {
        unknown_metadata(object, &mut misfits);
        return misfits;
    };
    match pass(object) {
        Ok(known) => lost(object, &known, "", &mut misfits.unknown),
        Err(why) => misfits.mistyped = Some(as_go(&why)),
    }
    misfits
}

/// The fields that did not come through.
fn lost(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => lost(value, known, &path, unknown),
                    None if value.is_null() => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                lost(given, known, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

fn unknown_metadata(object: &Value, misfits: &mut Misfits) {
    let fields = object["metadata"].as_object().into_iter().flat_map(|metadata| metadata.keys());
    let unknown = fields.filter(|key| !METADATA.contains(&key.as_str()));
    misfits.unknown.extend(unknown.map(|key| format!("metadata.{key}")));
}

/// The fields that a structural schema does not have.
fn lost_in_schema(schema: &Value, value: &Value, path: &str, is_root: bool, unknown: &mut Vec<String>) {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_root && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let inner = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
                match inner {
                    Some(inner) => lost_in_schema(inner, value, &path, false, unknown),
                    None if keeps || schema["x-kubernetes-embedded-resource"] == true => {}
                    None => unknown.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                lost_in_schema(&schema["items"], item, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

/// Takes away the fields at these paths: what a server does with unknown fields that it does not refuse.
pub fn prune(object: &mut Value, unknown: &[String]) {
    // From behind, so that the places of list items stay.
    for path in unknown.iter().rev() {
        let Some((parent, last)) = path.rsplit_once('.') else {
            if let Some(map) = object.as_object_mut() {
                map.remove(path);
            }
            continue;
        };
        let found = parent.split('.').try_fold(&mut *object, |value, step| {
            let mut names = step.split('[');
            let mut value = value.get_mut(names.next().unwrap_or_default())?;
            for index in names {
                value = value.get_mut(index.trim_end_matches(']').parse::<usize>().ok()?)?;
            }
            Some(value)
        });
        if let Some(map) = found.and_then(Value::as_object_mut) {
            map.remove(last);
        }
    }
}

/// `invalid type: string "x", expected i32` in the words of Go.
fn as_go(why: &str) -> String {
    let types = [
        ("i32", "int32"),
        ("i64", "int64"),
        ("a boolean", "bool"),
        ("a string", "string"),
        ("a sequence", "[]interface {}"),
        ("a map", "map[string]string"),
    ];
    let Some((found, wanted)) = why.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return why.to_owned();
    };
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "integer" | "floating" => "number",
        "boolean" => "bool",
        "sequence" => "array",
        "map" => "object",
        other => other,
    };
    let wanted = types.iter().find(|(ours, _)| *ours == wanted).map_or(wanted, |(_, go)| go);
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::kinds;
    use crate::twin::kube::store::Store;
    use serde_json::json;

    fn of(object: &Value) -> Misfits {
        let store = Store::default();
        let api = object["apiVersion"].as_str().unwrap();
        let served = kinds::of_object(&store, api, object["kind"].as_str().unwrap()).unwrap();
        misfits(&served, None, object)
    }

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "lables": {} },
            "spec": { "containers": [{ "name": "a", "image": "b", "imagee": "c" }], "nodeName": null } });
        assert_eq!(of(&pod).unknown, ["metadata.lables", "spec.containers[0].imagee"]);
        let mut pruned = pod;
        prune(&mut pruned, &["metadata.lables".to_owned(), "spec.containers[0].imagee".to_owned()]);
        assert_eq!(of(&pruned), Misfits::default());
    }

    #[test]
    fn a_value_of_another_type_is_told_as_go_does() {
        let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
            "spec": { "replicas": "three" } });
        let told = of(&deployment).mistyped.unwrap();
        assert_eq!(told, "json: cannot unmarshal string into Go value of type int32");
    }

    #[test]
    fn a_schema_without_a_field_prunes_it() {
        let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
            "subnet": { "type": "string" }, "any": { "x-kubernetes-preserve-unknown-fields": true } } } } });
        let mut unknown = Vec::new();
        let object = json!({ "kind": "A", "metadata": {}, "spec": { "subnet": "a", "sbnet": "b", "any": { "x": 1 } } });
        lost_in_schema(&schema, &object, "", true, &mut unknown);
        assert_eq!(unknown, ["spec.sbnet"]);
    }
}
