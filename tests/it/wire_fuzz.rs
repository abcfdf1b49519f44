//! Requests that nobody means, to the API server of a twin: whatever comes, it answers as an API server does and does not
//! panic. A short seeded run with every `cargo test`; `EKSKIT_FUZZ_SECONDS=600` and `EKSKIT_FUZZ_SEED` run it by hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ekskit::twin::Twin;
use ekskit::twin::kube::{self, Caller};
use ekskit::twin::physics::access::Identity;
use ekskit::twin::world::World;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// Numbers that look random: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One request.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO"];

const PATHS: &[&str] = &[
    "/",
    "/api",
    "/apis",
    "/api/v1",
    "/apis/apps/v1",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/version",
    "/healthz",
    "/api/v1/namespaces",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/a",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/p",
    "/api/v1/namespaces/default/pods/p/status",
    "/api/v1/namespaces/default/pods/p/log",
    "/api/v1/namespaces/default/pods/p/eviction",
    "/api/v1/namespaces/default/pods/p/binding",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/services/s",
    "/api/v1/namespaces/default/secrets",
    "/api/v1/nodes",
    "/api/v1/nodes/n-1",
    "/api/v1/nodes/n-1/status",
    "/api/v1/watch/pods",
    "/api/v1/watch/namespaces/default/pods/p",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/d",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/apis/apps/v1/namespaces/default/deployments/d/status",
    "/apis/apps/v1/namespaces/default/daemonsets",
    "/apis/apps/v1/namespaces/default/replicasets",
    "/apis/apps/v1/namespaces/default/statefulsets",
    "/apis/batch/v1/namespaces/default/jobs",
    "/apis/batch/v1/namespaces/default/cronjobs",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.x.io",
    "/apis/x.io/v1/namespaces/default/things",
    "/apis/x.io/v1/namespaces/default/things/t",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
];

const QUERIES: &[&str] = &[
    "watch=1",
    "watch=1&resourceVersion=1",
    "watch=1&allowWatchBookmarks=true",
    "resourceVersion=0",
    "resourceVersion=-1",
    "resourceVersion=18446744073709551615",
    "resourceVersion=18446744073709551616",
    "resourceVersionMatch=Exact",
    "resourceVersion=3&resourceVersionMatch=Exact",
    "limit=1",
    "limit=-9223372036854775808",
    "limit=99999999999999999999",
    "continue=abc",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
    "labelSelector=a%3Db",
    "labelSelector=a%20in%20(",
    "labelSelector=!,",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=%3D",
    "fieldSelector=spec.nodeName!%3D",
    "dryRun=All",
    "dryRun=x",
    "fieldManager=m",
    "fieldManager=%00",
    "force=true",
    "fieldValidation=Strict",
    "fieldValidation=x",
    "gracePeriodSeconds=0",
    "gracePeriodSeconds=-5",
    "gracePeriodSeconds=9223372036854775807",
    "propagationPolicy=Foreground",
    "propagationPolicy=Orphan",
    "propagationPolicy=x",
    "timeoutSeconds=0",
    "timeoutSeconds=-9223372036854775808",
    "timeoutSeconds=9223372036854775807",
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    "container=a",
    "tailLines=-1",
    "a=%ff%fe",
    "%zz",
    "=&&=",
];

const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
    "",
    "application/json;charset=utf-8",
    ";;;",
];

const PATCHES: &[&str] = &[
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

const ACCEPTS: &[&str] = &[
    "application/json",
    "*/*",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "text/html",
    "application/json;as=;v=",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/yaml",
    ";,;=",
];

fn bodies() -> Vec<Value> {
    let meta = |name: &str| json!({ "name": name, "labels": { "app": name }, "annotations": { "x": "y" } });
    let containers = json!([{ "name": "a", "image": "a:1", "ports": [{ "containerPort": 80, "protocol": "TCP" }],
        "env": [{ "name": "A", "value": "1" }], "resources": { "requests": { "cpu": "10m", "memory": "1Gi" } } }]);
    let template = json!({ "metadata": { "labels": { "app": "d" } }, "spec": { "containers": containers } });
    let selector = json!({ "matchLabels": { "app": "d" } });
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "size": { "type": "integer", "default": 3, "minimum": 1 }, "names": { "type": "array", "items": { "type": "string" } } } } } });
    vec![
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("a"), "data": { "k": "v" } }),
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta("p"), "spec": { "containers": containers, "tolerations": [] } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta("s"), "spec": { "selector": { "app": "d" },
            "ports": [{ "port": 80, "targetPort": "http", "nodePort": 30080 }] } }),
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": meta("n-1"), "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } }),
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": meta("team") }),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("d"), "spec": { "replicas": 2,
            "selector": selector, "template": template, "strategy": { "rollingUpdate": { "maxSurge": "25%" } } } }),
        json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta("d"), "spec": { "selector": selector, "template": template } }),
        json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("d"), "spec": { "serviceName": "s", "replicas": 1,
            "selector": selector, "template": template } }),
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": meta("j"), "spec": { "template": template, "completions": 1 } }),
        json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta("c"), "spec": { "schedule": "* * * * *",
            "jobTemplate": { "spec": { "template": template } } } }),
        json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta("b"), "spec": { "minAvailable": "50%", "selector": selector } }),
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.io" },
            "spec": { "group": "x.io", "names": { "plural": "things", "kind": "Thing" }, "scope": "Namespaced", "versions": [
                { "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } }),
        json!({ "apiVersion": "x.io/v1", "kind": "Thing", "metadata": meta("t"), "spec": { "size": 1, "names": ["a"] } }),
        json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } }),
        json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n-1" } }),
        json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "d" }, "spec": { "replicas": 1 } }),
        json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": { "uid": "x" } }),
        json!([{ "op": "add", "path": "/metadata/labels/x", "value": "y" }, { "op": "remove", "path": "/data/k" },
            { "op": "move", "from": "/data", "path": "/metadata" }, { "op": "test", "path": "/spec/replicas", "value": 2 }]),
        json!({ "metadata": { "labels": { "x": null }, "$patch": "replace" }, "spec": { "containers": [{ "name": "a", "$patch": "delete" }],
            "$setElementOrder/containers": [{ "name": "a" }], "$deleteFromPrimitiveList/finalizers": ["x"] } }),
        json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } } }),
    ]
}

fn junk(dice: &mut Dice) -> Value {
    match dice.below(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(i64::MIN),
        3 => json!(u64::MAX),
        4 => json!(-1),
        5 => json!(1.5e300),
        6 => json!(""),
        7 => json!("ä\u{0}\n\u{10ffff}".repeat(1 + dice.below(40))),
        8 => json!([]),
        9 => json!({}),
        10 => json!([null, 1, "a", [], {}]),
        11 => json!({ "": { "$patch": "merge" }, "name": 3 }),
        12 => json!("9".repeat(1 + dice.below(80))),
        13 => json!("100%"),
        14 => json!("-1Ei"),
        _ => json!("2026-13-45T99:99:99Z"),
    }
}

/// Changes one place in a value.
fn disturb(value: &mut Value, dice: &mut Dice) {
    if dice.one_in(6) {
        *value = junk(dice);
        return;
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(dice.below(map.len())).unwrap().clone();
            match dice.below(8) {
                0 => drop(map.remove(&key)),
                1 => {
                    drop(map.insert(dice.of(&["", "a/b", "$patch", "spec", "finalizers", "~1"]).to_owned(), junk(dice)))
                }
                _ => disturb(map.get_mut(&key).unwrap(), dice),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = dice.below(items.len());
            match dice.below(8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => disturb(&mut items[at], dice),
            }
        }
        other => *other = junk(dice),
    }
}

fn body(dice: &mut Dice, all: &[Value]) -> Vec<u8> {
    let mut value = all[dice.below(all.len())].clone();
    for _ in 0..dice.below(4) {
        disturb(&mut value, dice);
    }
    let mut bytes = match dice.below(12) {
        0 => serde_yaml::to_string(&value).unwrap_or_default().into_bytes(),
        1 => Vec::new(),
        2 => format!("{}{value}{}", "[".repeat(dice.below(300)), "]".repeat(dice.below(300))).into_bytes(),
        _ => value.to_string().into_bytes(),
    };
    if dice.one_in(10) && !bytes.is_empty() {
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len());
            match dice.below(3) {
                0 => bytes[at] = dice.next() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"{}[]\":,\\\0&*!|"[dice.below(13)]),
            }
        }
    }
    bytes
}

/// A method, most often one that the path has.
fn method(dice: &mut Dice, path: &str) -> &'static str {
    let parts = path.split('?').next().unwrap_or_default().trim_matches('/').split('/').count();
    let of_core = path.starts_with("/api/");
    let is_part = parts >= if of_core { 7 } else { 8 };
    let is_named = parts == if of_core { 6 } else { 7 } || path.contains("/nodes/") || path.ends_with(".x.io");
    match () {
        () if dice.one_in(20) => dice.of(METHODS),
        () if is_part => dice.of(&["GET", "PUT", "PATCH", "POST"]),
        () if is_named => dice.of(&["GET", "PUT", "PATCH", "PATCH", "DELETE"]),
        () => dice.of(&["GET", "GET", "POST", "POST", "POST", "POST", "DELETE"]),
    }
}

fn request(dice: &mut Dice, all: &[Value]) -> Sent {
    let mut path = dice.of(PATHS).to_owned();
    if dice.one_in(12) {
        path.push_str(dice.of(&["/", "/x", "/..", "%2f", "%00", "/status", "/scale", "//"]));
    }
    for number in 0..dice.below(3) {
        path.push(if number == 0 { '?' } else { '&' });
        path.push_str(dice.of(QUERIES));
    }
    let method = method(dice, &path);
    let mut headers = Vec::new();
    match method {
        "PATCH" if !dice.one_in(8) => headers.push(("content-type".to_owned(), dice.of(PATCHES).to_owned())),
        _ if dice.one_in(4) => headers.push(("content-type".to_owned(), dice.of(TYPES).to_owned())),
        _ => {}
    }
    if dice.one_in(3) {
        headers.push(("accept".to_owned(), dice.of(ACCEPTS).to_owned()));
    }
    if dice.one_in(30) {
        headers.push(("impersonate-user".to_owned(), dice.of(&["dev", "", "system:serviceaccount:a:b"]).to_owned()));
    }
    let body = if method == "GET" { Vec::new() } else { body(dice, all) };
    Sent { method: method.to_owned(), uri: path, headers, body }
}

fn twin() -> (Twin, Identity) {
    let mut world = World::new(7).unwrap();
    world.start_server("prod");
    let annotations = json!({ "kwok.x-k8s.io/node": "fake" });
    let node = json!({ "metadata": { "name": "n-1", "annotations": annotations }, "spec": {} });
    kube::create(&mut world, "prod", "nodes", node);
    let groups = vec!["system:masters".to_owned()];
    (Twin::new(world), Identity { username: "admin".to_owned(), groups, policies: Vec::new() })
}

/// Sends a request; what is wrong with the answer.
fn send(twin: &Twin, who: &Identity, sent: &Sent) -> Result<u16, String> {
    let mut request = Request::builder().method(sent.method.as_str()).uri(sent.uri.as_str());
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    // What is no URI never gets as far as the API server.
    let Ok(request) = request.body(()) else { return Ok(400) };
    let (parts, ()) = request.into_parts();
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let ticks = |_| -> ekskit::twin::stream::Ticks { Box::pin(futures_util::stream::empty()) };
        let answer = twin.answer("prod", Caller::User(who), &parts, &sent.body, ticks).unwrap();
        let code = answer.status().as_u16();
        let is_yaml = answer.headers().get("content-type").is_some_and(|kind| kind == "application/yaml");
        let read = answer.into_body().collect();
        let body = futures_util::FutureExt::now_or_never(read).map(|read| read.unwrap().to_bytes());
        (code, is_yaml, body)
    }));
    let Ok((code, is_yaml, body)) = answered else { return Err("it panicked".to_owned()) };
    let Some(body) = body else { return Err("it did not come to an end".to_owned()) };
    if code < 400 {
        return Ok(code);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let status = if is_yaml { serde_yaml::from_str(&text).ok() } else { serde_json::from_str::<Value>(&text).ok() };
    match status {
        Some(status) if status["kind"] != "Status" || status["code"] != code => {
            Err(format!("{code} without a Status: {text}"))
        }
        Some(status) if code == 500 && status["reason"] == "InternalError" => Err(format!("an internal error: {text}")),
        Some(_) => Ok(code),
        None if code == 404 && text == "404 page not found\n" => Ok(code),
        None => Err(format!("{code} with {text:?}")),
    }
}

#[test]
fn no_request_makes_the_api_server_panic() {
    let number = |name: &str, usual: u64| std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap());
    let (seed, seconds) = (number("EKSKIT_FUZZ_SEED", 1), number("EKSKIT_FUZZ_SECONDS", 0));
    let begun = Instant::now();
    let all = bodies();
    let (mut round, mut answers) = (0, std::collections::BTreeMap::<u16, usize>::new());
    let mut wrong = Vec::new();
    while round < 2 || begun.elapsed() < Duration::from_secs(seconds) {
        let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let (twin, who) = twin();
        for _ in 0..200 {
            let sent = request(&mut dice, &all);
            match send(&twin, &who, &sent) {
                Ok(code) => *answers.entry(code).or_default() += 1,
                Err(why) => {
                    let body = String::from_utf8_lossy(&sent.body).into_owned();
                    wrong
                        .push(format!("round {round}: {why}\n{} {} {:?}\n{body}", sent.method, sent.uri, sent.headers));
                }
            }
            if dice.one_in(10) {
                let later = twin.world().now + jiff::SignedDuration::from_secs(dice.below(90) as i64);
                if catch_unwind(AssertUnwindSafe(|| twin.advance(later))).is_err() {
                    wrong.push(format!("round {round}: time could not pass after {} {}", sent.method, sent.uri));
                    break;
                }
            }
        }
        round += 1;
    }
    if seconds > 0 {
        let total: usize = answers.values().sum();
        println!("seed {seed}: {round} rounds, {total} requests answered: {answers:?}; {} finds", wrong.len());
    }
    assert!(wrong.is_empty(), "seed {seed}: {} finds\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What the fuzzer found once.
#[test]
fn finds_of_the_fuzzer_are_answered() {
    let (twin, who) = twin();
    let json = || vec![("content-type".to_owned(), "application/json".to_owned())];
    for (method, uri, body, code) in [
        ("PUT", "/api/v1/namespaces/default/finalize", r#"{"metadata":"x"}"#, 400),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "[{\"op\":\"add\"}]", 400),
    ] {
        let sent = Sent { method: method.to_owned(), uri: uri.to_owned(), headers: json(), body: body.into() };
        assert_eq!(send(&twin, &who, &sent), Ok(code), "{method} {uri} {body}");
    }
}
