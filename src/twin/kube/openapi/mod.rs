//! The API in its own words: OpenAPI documents, which kubectl reads to explain kinds, to see what a server can do, and to
//! make its patches.
//!
//! Types, fields and texts of built-in kinds are those that `k8s-openapi` makes of the API's own document; how lists and
//! maps merge comes from the same table by which the twin merges them. Custom kinds come from their definitions.

mod operations;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::crd;
use super::kinds::{self, Served};
use super::store::Store;

/// Where schemas stand in a document.
const SCHEMAS: &str = "#/components/schemas/";

/// A document and the hash that changes with it.
struct Document {
    body: Value,
    hash: String,
}

impl Document {
    fn new(body: Value) -> Document {
        let digest = Sha512::digest(body.to_string().as_bytes());
        let hash = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Document { body, hash }
    }
}

/// Documents of the groups and versions that are built in, by `apps/v1`. The same for every cluster.
static BUILT_IN: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let kinds: Vec<&Served> = kinds::built_in().iter().collect();
    let versions: BTreeSet<String> = kinds.iter().map(|kind| kind.api_version()).collect();
    let of = |version: &String| kinds.iter().copied().filter(|kind| kind.api_version() == *version).collect::<Vec<_>>();
    versions.iter().map(|version| (version.clone(), Document::new(document(&of(version), Map::new())))).collect()
});

/// What there is to read: paths of groups and versions, each with the address of its document.
pub fn index(store: &Store) -> Value {
    let built_in = BUILT_IN.iter().map(|(version, document)| (path(version), document.hash.clone()));
    let custom = custom_versions(store).into_iter().filter_map(|version| {
        let document = Document::new(custom(store, &version)?);
        Some((path(&version), document.hash))
    });
    let paths: Map<String, Value> = built_in
        .chain(custom)
        .map(|(path, hash)| {
            let address = format!("/openapi/v3/{path}?hash={hash}");
            (path, json!({ "serverRelativeURL": address }))
        })
        .collect();
    json!({ "paths": paths })
}

fn path(api_version: &str) -> String {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    format!("{root}/{api_version}")
}

/// The document of a group and version: `apps/v1`.
pub fn version(store: &Store, api_version: &str) -> Option<Value> {
    BUILT_IN.get(api_version).map(|document| document.body.clone()).or_else(|| custom(store, api_version))
}

/// All schemas in the older form.
pub fn v2(store: &Store, server_version: &Value) -> Value {
    let mut all: Map<String, Value> = schemas::built_in().schemas.clone().into_iter().collect();
    for version in custom_versions(store) {
        if let Some(Value::Object(ours)) =
            custom(store, &version).map(|document| document["components"]["schemas"].clone())
        {
            all.extend(ours);
        }
    }
    let text = Value::Object(all).to_string().replace(SCHEMAS, "#/definitions/");
    let definitions: Value = serde_json::from_str(&text).unwrap_or_default();
    json!({
        "swagger": "2.0", "info": { "title": "Kubernetes", "version": server_version },
        "paths": {}, "definitions": definitions,
    })
}

fn custom_versions(store: &Store) -> BTreeSet<String> {
    kinds::all_of(store).iter().filter(|kind| kind.custom).map(|kind| kind.api_version()).collect()
}

/// The document of a group that definitions make.
fn custom(store: &Store, api_version: &str) -> Option<Value> {
    let all = kinds::all_of(store);
    let ours: Vec<&Served> =
        all.iter().map(AsRef::as_ref).filter(|kind| kind.custom && kind.api_version() == api_version).collect();
    let of = |kind: &&Served| (schemas::name(kind), schemas::of_definition(kind, crd::schema(store, kind)));
    (!ours.is_empty()).then(|| document(&ours, ours.iter().map(of).collect()))
}

/// The document of these kinds, with what their schemas refer to. `known` are schemas that are not built in.
fn document(kinds: &[&Served], mut known: Map<String, Value>) -> Value {
    let paths: Map<String, Value> = kinds.iter().flat_map(|kind| operations::paths(kind)).collect();
    let mut wanted: Vec<String> =
        kinds.iter().flat_map(|kind| [schemas::name(kind), schemas::list_name(kind)]).collect();
    for kind in kinds.iter().filter(|kind| kind.allows("list")) {
        known.insert(schemas::list_name(kind), schemas::list(kind));
    }
    wanted.extend(references(&Value::Object(paths.clone())));
    let mut schemas = Map::new();
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = known.get(&name).or_else(|| schemas::built_in().schemas.get(&name)).cloned() else {
            continue;
        };
        wanted.extend(references(&schema));
        schemas.insert(name, schema);
    }
    json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "unversioned" }, "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": {
            "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header" } } },
    })
}

/// The schemas that a value refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let named = map.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix(SCHEMAS));
            named.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Wire;
    use super::*;

    fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
        &document["components"]["schemas"][name]
    }

    #[test]
    fn every_kind_has_its_schema_and_nothing_refers_to_nowhere() {
        let mut wire = Wire::new();
        let (_, index) = wire.get("/openapi/v3");
        for kind in kinds::built_in() {
            let place = path(&kind.api_version());
            let address = index["paths"][&place]["serverRelativeURL"].as_str().unwrap_or_else(|| panic!("{place}"));
            assert!(address.starts_with(&format!("/openapi/v3/{place}?hash=")), "{address}");
            let document = version(&wire.world.store("prod").unwrap().clone(), &kind.api_version()).unwrap();
            let ours = schema(&document, &schemas::name(kind));
            let of = json!([{ "group": kind.group, "version": kind.version, "kind": kind.kind }]);
            assert_eq!(ours["x-kubernetes-group-version-kind"], of, "{}", kind.kind);
            for name in references(&document) {
                assert!(schema(&document, &name).is_object(), "{place}: {name}");
            }
        }
    }

    #[test]
    fn fields_say_of_which_type_they_are_and_how_they_merge() {
        let mut wire = Wire::new();
        let (code, apps) = wire.get("/openapi/v3/apis/apps/v1");
        assert_eq!(code, 200);
        let spec = schema(&apps, "io.k8s.api.apps.v1.DeploymentSpec");
        assert_eq!(spec["required"], json!(["selector", "template"]));
        assert_eq!(
            (&spec["properties"]["replicas"]["type"], &spec["properties"]["replicas"]["format"]),
            (&json!("integer"), &json!("int32"))
        );
        let template = &spec["properties"]["template"]["allOf"][0]["$ref"];
        assert_eq!(template, "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec");
        let pod = schema(&apps, "io.k8s.api.core.v1.PodSpec");
        let containers = &pod["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(
            (&containers["x-kubernetes-patch-strategy"], &containers["x-kubernetes-patch-merge-key"]),
            (&json!("merge"), &json!("name"))
        );
        assert_eq!(
            schema(&apps, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")["x-kubernetes-map-type"],
            "atomic"
        );
        let ports = &schema(&apps, "io.k8s.api.core.v1.Container")["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
        assert_eq!(wire.get("/openapi/v3/apis/nobody.io/v1").0, 404);
        // A field of the name of a keyword stays a field.
        let (_, definitions) = wire.get("/openapi/v3/apis/apiextensions.k8s.io/v1");
        let props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        assert_eq!(schema(&definitions, props)["properties"]["$ref"]["type"], "string");
        // Nobody gets the older form in protobuf.
        let media = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        assert_eq!(wire.ask("GET /openapi/v2", &[("accept", media)], None).0, 406);
        let (_, old) = wire.get("/openapi/v2");
        let replicas = &old["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["replicas"];
        assert_eq!(replicas["type"], "integer");
    }

    #[test]
    fn operations_say_what_can_be_asked() {
        let mut wire = Wire::new();
        let (_, apps) = wire.get("/openapi/v3/apis/apps/v1");
        let one = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        assert_eq!(
            one["get"]["x-kubernetes-group-version-kind"],
            json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
        );
        assert!(one["patch"]["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
        let params: Vec<&Value> =
            one["patch"]["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert!(params.contains(&&json!("fieldValidation")) && params.contains(&&json!("dryRun")), "{params:?}");
        assert!(apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"].is_object());
    }

    #[test]
    fn a_definition_makes_a_document_which_changes_with_it() {
        let mut wire = Wire::new();
        let definition = |field: &str| {
            json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": "things.example.com" }, "spec": { "group": "example.com", "scope": "Namespaced",
                "names": { "plural": "things", "kind": "Thing" }, "versions": [{ "name": "v1", "served": true,
                    "storage": true, "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                        "spec": { "type": "object", "properties": { field: { "type": "integer" } } } } } } }] } })
        };
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert_eq!(wire.post(path, definition("size")).0, 201);
        let (_, document) = wire.get("/openapi/v3/apis/example.com/v1");
        let thing = schema(&document, "com.example.v1.Thing");
        assert_eq!(thing["properties"]["spec"]["properties"]["size"]["type"], "integer");
        assert!(schema(&document, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").is_object());
        let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]["patch"];
        // Custom kinds have no strategic merge.
        assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
        let address =
            |wire: &mut Wire| wire.get("/openapi/v3").1["paths"]["apis/example.com/v1"]["serverRelativeURL"].clone();
        let before = address(&mut wire);
        let change = json!({ "spec": { "versions": definition("length")["spec"]["versions"] } });
        assert_eq!(wire.patch(&format!("{path}/things.example.com"), "application/merge-patch+json", change).0, 200);
        assert_ne!(address(&mut wire), before);
    }
}
