//! The Kubernetes API of a twin, on the wire: HTTP in, HTTP out.

pub mod accept;
pub mod apply;
pub mod authorize;
pub mod bootstrap;
pub mod crd;
pub mod defaults;
pub mod discovery;
pub mod evict;
pub mod faults;
pub mod fields;
pub mod history;
pub mod identify;
pub mod index;
pub mod json;
pub mod kinds;
pub mod list;
pub mod log;
pub mod openapi;
pub mod patch;
pub mod path;
pub mod protobuf;
pub mod quantity;
pub mod remove;
pub mod request;
pub mod revision;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod serve;
pub mod status;
pub mod store;
pub mod table;
pub mod twice;
pub mod typed;
pub mod validate;
mod validate_autoscaler;
mod validate_batch;
mod validate_kinds;
mod validate_pod;
mod versions;
pub mod watch;
pub mod write;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use self::kinds::Found;
use self::remove::Options;
use self::serve::Reply;
use self::watch::Watch;
use self::write::{Unknown, Write};
use super::physics::access::Identity;
use super::physics::job;
use super::world::World;

/// Why the API server says no: a `Status` of `Failure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, …
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details` of the Status: `{ name, group, kind, causes: [{ reason, message, field }] }`.
    pub details: Value,
}

/// Bytes of a body that the API server reads.
pub const BODY_MAX: usize = 3 << 20;

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Somebody of AWS, by ARN: access entries and aws-auth say who that is to the cluster.
    Arn(&'a str),
    /// A user of the cluster.
    User(&'a Identity),
    /// Whoever shows credentials that nobody knows.
    Unknown,
}

/// What an API server sends back.
pub enum Answer {
    /// All of it.
    Whole(Vec<u8>),
    /// Events for as long as somebody reads them.
    Watch(Box<Watch>),
}

/// Answers one request to the API server of a cluster, and settles the world.
pub fn answer(world: &mut World, cluster: &str, caller: Caller<'_>, parts: &Parts, body: &[u8]) -> Response<Answer> {
    let ask = request::Ask::read(parts, body);
    let served = match request::is_escaped(parts.uri.path()) {
        true => serve::serve(world, cluster, caller, &ask),
        false => Ok(Reply::text(400, "400 Bad Request")),
    };
    let reply = served.unwrap_or_else(|problem| Reply::refusal(&problem));
    let reply = if ask.wants_yaml(reply.code) { reply.as_yaml() } else { reply };
    // A read leaves nothing to settle, and settling nothing is quick.
    super::physics::settle(world);
    let mut response = Response::new(reply.answer);
    *response.status_mut() = StatusCode::from_u16(reply.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.media));
    if let Some(seconds) = reply.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    for warning in reply.warnings {
        // As RFC 7234 has it: a code, an agent, a quoted text.
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", serde_json::Value::from(warning))) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// Stores a new object of a controller or of EKS, with its uid and creationTimestamp, and with the defaults of its kind.
/// `kind` is the store's: `pods`, `deployments.apps`. What is there already stays as it is.
pub fn create(world: &mut World, cluster: &str, kind: &str, mut object: Value) {
    let Some(served) = world.store(cluster).and_then(|store| kinds::of_table(store, kind)) else {
        debug_assert!(world.store(cluster).is_none(), "{cluster} serves no {kind}");
        return;
    };
    write::name_it(world, &mut object, false);
    if world.store(cluster).is_some_and(|store| store.get(kind, &store::key_of(&object)).is_some()) {
        return;
    }
    for (field, value) in [("apiVersion", served.api_version()), ("kind", served.kind.clone())] {
        if object[field].is_null() {
            object[field] = Value::String(value);
        }
    }
    let was_bare = job::is_bare(&object);
    write::fill(world, cluster, &served, &mut object);
    if kind == "pods" {
        defaults::admit(&mut object);
    }
    write::complete(world, cluster, &served, &mut object);
    write::store_new(world, cluster, &served, object, was_bare);
}

/// Server-side apply by a manager other than a client: how EKS installs add-ons.
pub fn apply(world: &mut World, cluster: &str, manager: &str, force: bool, object: Value) -> Result<Value, Problem> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let found: Option<Found> = world.store(cluster).and_then(|store| kinds::of_object(store, api_version, kind));
    let Some(served) = found else { return Err(status::no_such_path()) };
    let namespace = match object["metadata"]["namespace"].as_str() {
        Some(namespace) if served.namespaced => namespace.to_owned(),
        None if served.namespaced => "default".to_owned(),
        _ => String::new(),
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let write = Write {
        cluster,
        served: &served,
        namespace: &namespace,
        subresource: "",
        manager: manager.to_owned(),
        dry_run: false,
        unknown: Unknown::Refused,
        twice: Vec::new(),
        text: &[],
        warnings: std::cell::RefCell::default(),
    };
    write.apply(world, &name, force, object)
}

/// Deletes an object as a DELETE on the wire does: with finalizers or a grace period it gets a `deletionTimestamp`
/// first. What it owns is left to the garbage collector. False where it is not there.
pub fn delete(world: &mut World, cluster: &str, kind: &str, key: &str) -> bool {
    let Some(served) = world.store(cluster).and_then(|store| kinds::of_table(store, kind)) else { return false };
    remove::delete(world, cluster, &served, key, &Options::default()).is_ok()
}

#[cfg(test)]
pub(in crate::twin) mod wire {
    //! A client for tests.

    use http::{Request, Response};
    use serde_json::{Value, json};

    use crate::twin::world::World;

    /// A cluster `prod`, and requests to it.
    pub struct Wire {
        pub world: World,
        pub caller: String,
    }

    impl Wire {
        pub fn new() -> Wire {
            let mut world = World::new(7).unwrap();
            world.start_server("prod");
            let caller = world.caller.clone();
            let creator = world.iam_arn("role/platform");
            let cluster = json!({
                "name": "prod", "status": "ACTIVE", "_creator": creator,
                "access_config": { "authentication_mode": "CONFIG_MAP" },
            });
            world.put("eks/clusters", "prod", cluster);
            // The server alone: nobody else writes.
            for behaviour in [
                "pods are scheduled",
                "pods start",
                "pods end",
                "pods follow their nodes",
                "pods of gone nodes go",
                "nodes leave",
                "nodes become ready",
                "cordoned nodes are tainted",
                "claims find volumes",
                "volumes in use stay",
                "services know their pods",
                "stateful sets keep their pods",
                "jobs run",
                "deployments roll",
                "replica sets keep their count",
                "daemon sets run on every node",
                "garbage collection",
                "namespaces end",
            ] {
                world.switch_off(behaviour);
            }
            Wire { world, caller }
        }

        /// Sends a request with headers; the answer's body may be text.
        pub fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: Option<&Value>) -> (u16, Value) {
            let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
            self.send(line, headers, &body)
        }

        /// The same with any bytes as the body.
        pub fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
            let answer = self.answer(line, headers, body);
            let code = answer.status().as_u16();
            let text = match answer.into_body() {
                super::Answer::Whole(bytes) => String::from_utf8(bytes).unwrap(),
                super::Answer::Watch(mut watch) => {
                    // What it tells at once, as text.
                    return (code, Value::String(String::from_utf8(watch.take(&self.world).unwrap()).unwrap()));
                }
            };
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (code, value)
        }

        fn answer(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<super::Answer> {
            let (method, uri) = line.split_once(' ').unwrap();
            let mut request = Request::builder().method(method).uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            super::answer(&mut self.world, "prod", super::Caller::Arn(&self.caller), &parts, body)
        }

        /// A watch that has told nothing yet.
        pub fn watch(&mut self, path: &str) -> Box<super::watch::Watch> {
            match self.answer(&format!("GET {path}"), &[], &[]).into_body() {
                super::Answer::Watch(watch) => watch,
                super::Answer::Whole(bytes) => panic!("no watch: {}", String::from_utf8_lossy(&bytes)),
            }
        }

        pub fn get(&mut self, path: &str) -> (u16, Value) {
            self.ask(&format!("GET {path}"), &[], None)
        }

        pub fn post(&mut self, path: &str, body: Value) -> (u16, Value) {
            self.ask(&format!("POST {path}"), &[("content-type", "application/json")], Some(&body))
        }

        pub fn put(&mut self, path: &str, body: Value) -> (u16, Value) {
            self.ask(&format!("PUT {path}"), &[("content-type", "application/json")], Some(&body))
        }

        pub fn delete(&mut self, path: &str) -> (u16, Value) {
            self.ask(&format!("DELETE {path}"), &[], None)
        }

        pub fn patch(&mut self, path: &str, media: &str, body: Value) -> (u16, Value) {
            self.ask(&format!("PATCH {path}"), &[("content-type", media)], Some(&body))
        }

        pub fn apply(&mut self, path: &str, manager: &str, body: Value) -> (u16, Value) {
            self.patch(&format!("{path}?fieldManager={manager}"), "application/apply-patch+yaml", body)
        }

        pub fn config_map(&mut self, name: &str) -> Value {
            let body = config_map(name);
            let (code, made) = self.post(MAPS, body);
            assert_eq!(code, 201, "{made}");
            made
        }
    }

    pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    pub fn config_map(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } })
    }

    pub fn pod(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "a", "image": "a:1" }] } })
    }

    pub fn deployment(name: &str, replicas: i64) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "a", "image": "a:1" }] } } } })
    }
}
