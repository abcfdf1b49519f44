//! What can be asked of a server, path by path.

use serde_json::{Map, Value, json};

use super::schemas;
use crate::twin::kube::discovery;
use crate::twin::kube::kinds::Served;

/// Names and types of the parameters of reads of many.
const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// The paths of a kind, each with its operations.
pub fn paths(kind: &Served) -> Vec<(String, Value)> {
    let root = format!("/{}", super::path(&kind.api_version()));
    let many = match kind.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", kind.plural),
        false => format!("{root}/{}", kind.plural),
    };
    let one = format!("{many}/{{name}}");
    let placed: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
    let named: &[&str] = if kind.namespaced { &["name", "namespace"] } else { &["name"] };
    let mut paths = vec![(many, placed, collection(kind))];
    paths.push((one.clone(), named, object(kind)));
    if kind.namespaced {
        let all = Of::kind(kind).verbs(&[("get", "list", "list")]);
        paths.push((format!("{root}/{}", kind.plural), &[], all));
    }
    for part in &kind.subresources {
        paths.push((format!("{one}/{part}"), named, subresource(kind, part)));
    }
    paths.retain(|(_, _, operations)| !operations.is_empty());
    paths
        .into_iter()
        .map(|(path, parameters, mut operations)| {
            let parameters: Vec<Value> = parameters.iter().map(|name| in_path(name)).collect();
            operations.insert("parameters".to_owned(), Value::Array(parameters));
            (path, Value::Object(operations))
        })
        .collect()
}

fn collection(kind: &Served) -> Map<String, Value> {
    Of::kind(kind).verbs(&[
        ("get", "list", "list"),
        ("post", "post", "create"),
        ("delete", "deletecollection", "deletecollection"),
    ])
}

fn object(kind: &Served) -> Map<String, Value> {
    Of::kind(kind).verbs(&[
        ("get", "get", "get"),
        ("put", "put", "update"),
        ("patch", "patch", "patch"),
        ("delete", "delete", "delete"),
    ])
}

fn subresource(kind: &Served, part: &str) -> Map<String, Value> {
    let (group, version, name, verbs) = discovery::part(kind, part);
    let of = Of {
        kind,
        gvk: json!({ "group": group, "version": version, "kind": name }),
        schema: schemas::of_part(kind, part),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
    };
    of.verbs(&[
        ("get", "get", "get"),
        ("put", "put", "update"),
        ("patch", "patch", "patch"),
        ("post", "post", "create"),
    ])
}

/// What operations are about.
struct Of<'a> {
    kind: &'a Served,
    gvk: Value,
    schema: String,
    verbs: Vec<String>,
}

impl Of<'_> {
    fn kind(kind: &Served) -> Of<'_> {
        let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        Of { kind, gvk, schema: schemas::name(kind), verbs: kind.verbs.clone() }
    }

    /// Operations by their methods: `(method, action, verb)`, those that can be done.
    fn verbs(&self, wanted: &[(&str, &str, &str)]) -> Map<String, Value> {
        let can = wanted.iter().filter(|(_, _, verb)| self.verbs.iter().any(|one| one == verb));
        can.map(|(method, action, _)| ((*method).to_owned(), self.operation(action))).collect()
    }

    fn operation(&self, action: &str) -> Value {
        let answer = match action {
            "list" => schemas::refer(&schemas::list_name(self.kind)),
            "delete" | "deletecollection" => schemas::refer("io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
            _ => schemas::refer(&self.schema),
        };
        let ok = json!({ "description": "OK", "content": { "application/json": { "schema": answer } } });
        let mut operation = json!({
            "responses": { "200": ok },
            "parameters": self.parameters(action).iter().map(|(name, of)| in_query(name, of)).collect::<Vec<_>>(),
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": self.gvk,
        });
        if let Some(body) = self.body(action) {
            operation["requestBody"] = body;
        }
        operation
    }

    fn parameters(&self, action: &str) -> Vec<(&'static str, &'static str)> {
        match action {
            "list" => LIST.to_vec(),
            "post" | "put" => WRITE.to_vec(),
            "patch" => [WRITE, &[("force", "boolean")]].concat(),
            "delete" => DELETE.to_vec(),
            "deletecollection" => [DELETE, LIST].concat().into_iter().filter(|(name, _)| *name != "watch").collect(),
            _ => Vec::new(),
        }
    }

    fn body(&self, action: &str) -> Option<Value> {
        let body = |types: &[&str], schema: &Value| {
            let content: Map<String, Value> =
                types.iter().map(|of| ((*of).to_owned(), json!({ "schema": schema }))).collect();
            json!({ "content": content, "required": true })
        };
        match action {
            "post" | "put" => Some(body(&["application/json", "application/yaml"], &schemas::refer(&self.schema))),
            "patch" => {
                let mut types =
                    vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
                if !self.kind.custom {
                    types.push("application/strategic-merge-patch+json");
                }
                Some(body(&types, &json!({ "type": "object" })))
            }
            "delete" | "deletecollection" => {
                let options = schemas::refer("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
                Some(body(&["application/json"], &options))
            }
            _ => None,
        }
    }
}

fn in_query(name: &str, of: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": of, "uniqueItems": true } })
}

fn in_path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true } })
}
