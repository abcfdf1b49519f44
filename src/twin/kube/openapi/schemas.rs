//! Schemas of kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use k8s_openapi::Resource;
use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates, coordination, core,
    discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use k8s_openapi::schemars::generate::SchemaSettings;
use k8s_openapi::schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::SCHEMAS;
use crate::twin::kube::kinds::Served;
use crate::twin::kube::schema::{self, List, Shape, Strategy};

const LIST_METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// All that is built in.
pub struct BuiltIn {
    /// By name: `io.k8s.api.apps.v1.Deployment`.
    pub schemas: BTreeMap<String, Value>,
    /// Names by apiVersion and kind.
    kinds: BTreeMap<(String, String), String>,
}

type Row = fn(&mut SchemaGenerator) -> (&'static str, &'static str, String);

fn row<T: JsonSchema + Resource>(generator: &mut SchemaGenerator) -> (&'static str, &'static str, String) {
    generator.subschema_for::<T>();
    (T::API_VERSION, T::KIND, T::schema_name().into_owned())
}

/// Types of the kinds that are built in.
const TYPES: &[Row] = &[
    row::<core::v1::Binding>,
    row::<core::v1::ComponentStatus>,
    row::<core::v1::ConfigMap>,
    row::<core::v1::Endpoints>,
    row::<core::v1::Event>,
    row::<core::v1::LimitRange>,
    row::<core::v1::Namespace>,
    row::<core::v1::Node>,
    row::<core::v1::PersistentVolume>,
    row::<core::v1::PersistentVolumeClaim>,
    row::<core::v1::Pod>,
    row::<core::v1::PodTemplate>,
    row::<core::v1::ReplicationController>,
    row::<core::v1::ResourceQuota>,
    row::<core::v1::Secret>,
    row::<core::v1::Service>,
    row::<core::v1::ServiceAccount>,
    row::<admissionregistration::v1::MutatingWebhookConfiguration>,
    row::<admissionregistration::v1::ValidatingAdmissionPolicy>,
    row::<admissionregistration::v1::ValidatingAdmissionPolicyBinding>,
    row::<admissionregistration::v1::ValidatingWebhookConfiguration>,
    row::<apiextensions::v1::CustomResourceDefinition>,
    row::<apiregistration::v1::APIService>,
    row::<apps::v1::ControllerRevision>,
    row::<apps::v1::DaemonSet>,
    row::<apps::v1::Deployment>,
    row::<apps::v1::ReplicaSet>,
    row::<apps::v1::StatefulSet>,
    row::<authentication::v1::SelfSubjectReview>,
    row::<authentication::v1::TokenRequest>,
    row::<authentication::v1::TokenReview>,
    row::<authorization::v1::LocalSubjectAccessReview>,
    row::<authorization::v1::SelfSubjectAccessReview>,
    row::<authorization::v1::SelfSubjectRulesReview>,
    row::<authorization::v1::SubjectAccessReview>,
    row::<autoscaling::v1::HorizontalPodAutoscaler>,
    row::<autoscaling::v1::Scale>,
    row::<autoscaling::v2::HorizontalPodAutoscaler>,
    row::<batch::v1::CronJob>,
    row::<batch::v1::Job>,
    row::<certificates::v1::CertificateSigningRequest>,
    row::<coordination::v1::Lease>,
    row::<discovery::v1::EndpointSlice>,
    row::<events::v1::Event>,
    row::<flowcontrol::v1::FlowSchema>,
    row::<flowcontrol::v1::PriorityLevelConfiguration>,
    row::<networking::v1::IPAddress>,
    row::<networking::v1::Ingress>,
    row::<networking::v1::IngressClass>,
    row::<networking::v1::NetworkPolicy>,
    row::<networking::v1::ServiceCIDR>,
    row::<node::v1::RuntimeClass>,
    row::<policy::v1::Eviction>,
    row::<policy::v1::PodDisruptionBudget>,
    row::<rbac::v1::ClusterRole>,
    row::<rbac::v1::ClusterRoleBinding>,
    row::<rbac::v1::Role>,
    row::<rbac::v1::RoleBinding>,
    row::<resource::v1::DeviceClass>,
    row::<resource::v1::ResourceClaim>,
    row::<resource::v1::ResourceClaimTemplate>,
    row::<resource::v1::ResourceSlice>,
    row::<scheduling::v1::PriorityClass>,
    row::<storage::v1::CSIDriver>,
    row::<storage::v1::CSINode>,
    row::<storage::v1::CSIStorageCapacity>,
    row::<storage::v1::StorageClass>,
    row::<storage::v1::VolumeAttachment>,
    row::<storage::v1::VolumeAttributesClass>,
];

/// Fields that the types of Rust always have and the API fills in when they are absent.
const FILLED: &[(&str, &[&str])] = &[
    ("io.k8s.api.core.v1.ConfigMapEnvSource", &["name"]),
    ("io.k8s.api.core.v1.ConfigMapKeySelector", &["name"]),
    ("io.k8s.api.core.v1.ConfigMapProjection", &["name"]),
    ("io.k8s.api.core.v1.ConfigMapVolumeSource", &["name"]),
    ("io.k8s.api.core.v1.LocalObjectReference", &["name"]),
    ("io.k8s.api.core.v1.SecretEnvSource", &["name"]),
    ("io.k8s.api.core.v1.SecretKeySelector", &["name"]),
    ("io.k8s.api.core.v1.SecretProjection", &["name"]),
];

/// Schemas of the kinds that are built in, and of all that they are made of.
pub fn built_in() -> &'static BuiltIn {
    static ALL: LazyLock<BuiltIn> = LazyLock::new(read);
    &ALL
}

fn read() -> BuiltIn {
    let mut settings = SchemaSettings::openapi3();
    settings.transforms.clear();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut kinds = BTreeMap::new();
    for row in TYPES {
        let (api_version, kind, name) = row(&mut generator);
        kinds.insert((api_version.to_owned(), kind.to_owned()), name);
    }
    generator.subschema_for::<meta::v1::ListMeta>();
    generator.subschema_for::<meta::v1::DeleteOptions>();
    generator.subschema_for::<meta::v1::Status>();
    let mut schemas: BTreeMap<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, schema) in &mut schemas {
        complete(name, schema);
    }
    for ((api_version, kind), name) in &kinds {
        let shape = schema::of(&json!({ "apiVersion": api_version, "kind": kind }));
        Merging { schemas: &mut schemas, seen: BTreeSet::new() }.note(name, shape);
        if let Some(schema) = schemas.get_mut(name) {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            schema["x-kubernetes-group-version-kind"] = json!([{ "group": group, "version": version, "kind": kind }]);
        }
    }
    BuiltIn { schemas, kinds }
}

/// Turns the schema of a type of Rust into that of the API.
fn complete(name: &str, schema: &mut Value) {
    if name == QUANTITY {
        schema["oneOf"] = json!([{ "type": "string" }, { "type": "number" }]);
    } else if name == INT_OR_STRING {
        schema["format"] = json!("int-or-string");
        schema["oneOf"] = json!([{ "type": "integer" }, { "type": "string" }]);
    }
    if let Some(map) = schema.as_object_mut().filter(|_| [QUANTITY, INT_OR_STRING].contains(&name)) {
        map.remove("x-kubernetes-int-or-string");
    }
    let filled = FILLED.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, fields)| fields);
    if let Some(required) = schema["required"].as_array_mut() {
        let is_optional = |field: &Value| field == "metadata" || filled.iter().any(|one| field == one);
        required.retain(|field| !is_optional(field));
        if required.is_empty()
            && let Some(map) = schema.as_object_mut()
        {
            map.remove("required");
        }
    }
    wrap(schema);
}

/// In OpenAPI 3.0 a reference has nothing beside it.
fn wrap(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // Among the properties of a schema of schemas `$ref` is a name.
            if map.len() > 1
                && map.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = map.remove("$ref")
            {
                map.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            map.values_mut().for_each(wrap);
        }
        Value::Array(items) => items.iter_mut().for_each(wrap),
        _ => {}
    }
}

/// Notes in schemas how values merge.
struct Merging<'a> {
    schemas: &'a mut BTreeMap<String, Value>,
    seen: BTreeSet<String>,
}

impl Merging<'_> {
    fn note(&mut self, name: &str, shape: Shape<'_>) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        let Some(mut schema) = self.schemas.get(name).cloned() else { return };
        if shape.item().is_atomic() {
            schema["x-kubernetes-map-type"] = json!("atomic");
        }
        for (field, property) in schema["properties"].as_object_mut().into_iter().flatten() {
            self.note_field(property, shape.field(field));
        }
        self.schemas.insert(name.to_owned(), schema);
    }

    fn note_field(&mut self, property: &mut Value, shape: Shape<'_>) {
        match shape.list() {
            List::Atomic => {}
            List::Set => property["x-kubernetes-list-type"] = json!("set"),
            List::Map(keys) => {
                property["x-kubernetes-list-type"] = json!("map");
                property["x-kubernetes-list-map-keys"] = keys.iter().map(|(key, _)| key.as_str()).collect();
            }
        }
        match shape.strategy() {
            Strategy::Usual => {}
            Strategy::Merge(key) => {
                property["x-kubernetes-patch-strategy"] = json!("merge");
                if let Some(key) = key {
                    property["x-kubernetes-patch-merge-key"] = json!(key);
                }
            }
            Strategy::Replace => property["x-kubernetes-patch-strategy"] = json!("replace"),
        }
        // What the type says stands with the type.
        if shape.is_atomic() != shape.item().is_atomic() {
            property["x-kubernetes-map-type"] = json!(if shape.is_atomic() { "atomic" } else { "granular" });
        }
        let inside = if property["additionalProperties"].is_object() { shape.field("*") } else { shape.item() };
        for name in super::references(property) {
            self.note(&name, inside);
        }
    }
}

/// The name of the schema of a kind.
pub fn name(kind: &Served) -> String {
    let known = built_in().kinds.get(&(kind.api_version(), kind.kind.clone()));
    known.cloned().unwrap_or_else(|| {
        let group: Vec<&str> = kind.group.rsplit('.').collect();
        format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
    })
}

/// The name of the schema of a list of a kind.
pub fn list_name(kind: &Served) -> String {
    format!("{}List", name(kind))
}

/// The schema of a list of a kind.
pub fn list(kind: &Served) -> Value {
    let mut schema = json!({
        "type": "object", "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": refer(&name(kind)) },
            "metadata": { "allOf": [refer(LIST_METADATA)] },
        },
        "x-kubernetes-group-version-kind":
            [{ "group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind) }],
    });
    say_what_it_is(&mut schema["properties"]);
    schema
}

/// The schema of a custom kind, from the `openAPIV3Schema` of its definition.
pub fn of_definition(kind: &Served, given: Option<&Value>) -> Value {
    let mut schema = given.filter(|schema| schema.is_object()).cloned().unwrap_or_else(|| json!({ "type": "object" }));
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    say_what_it_is(&mut schema["properties"]);
    schema["properties"]["metadata"] =
        built_in().schemas["io.k8s.api.core.v1.ConfigMap"]["properties"]["metadata"].clone();
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": kind.group, "version": kind.version, "kind": kind.kind }]);
    schema
}

/// Adds the fields that say of which kind an object is.
fn say_what_it_is(properties: &mut Value) {
    let any = &built_in().schemas["io.k8s.api.core.v1.ConfigMap"]["properties"];
    for field in ["apiVersion", "kind"] {
        properties[field] = any[field].clone();
    }
}

/// A reference to a schema.
pub fn refer(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// The schema of what a subresource takes and gives.
pub fn of_part(kind: &Served, part: &str) -> String {
    match part {
        "scale" => "io.k8s.api.autoscaling.v1.Scale".to_owned(),
        "eviction" => "io.k8s.api.policy.v1.Eviction".to_owned(),
        "binding" => "io.k8s.api.core.v1.Binding".to_owned(),
        "token" => "io.k8s.api.authentication.v1.TokenRequest".to_owned(),
        _ => name(kind),
    }
}
