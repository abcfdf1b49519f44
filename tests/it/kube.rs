//! The Kubernetes side against an API server that stands in this process: it plays answers and writes down requests.
//! What needs real sockets (TLS, tokens, proxies) is in `wire`.

mod wire;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_dynamic::{CallError, Operation};
use ekskit::bindings::kube as bindings;
use ekskit::catalog::{Answer, Args, Call, Files, Run, find};
use ekskit::cloud::kube::{Connection, Server};
use ekskit::cloud::retry;
use ekskit::cloud::{Aws, Clock, Cloud, Endpoint, Future, Kube, Target};
use ekskit::error::{Error, Kind, Result};
use ekskit::value::Secret;
use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    body: Value,
    content_type: String,
    accept: String,
}

type Play = dyn Fn(&Seen) -> (u16, Value) + Send + Sync;

/// An API server that answers as the closure says.
struct Stub {
    seen: Arc<Mutex<Vec<Seen>>>,
    client: kube::Client,
}

impl Stub {
    fn new(play: impl Fn(&Seen) -> (u16, Value) + Send + Sync + 'static) -> Stub {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let play: Arc<Play> = Arc::new(play);
        let heard = seen.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (heard, play) = (heard.clone(), play.clone());
            async move {
                let request = read(request).await;
                heard.lock().unwrap().push(request.clone());
                let (status, body) = play(&request);
                let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(status).body(Body::from(text.into_bytes())).unwrap(),
                )
            }
        });
        Stub { seen, client: kube::Client::new(service, "default") }
    }

    /// Answers in this order; one more request is a test's mistake.
    fn script(answers: Vec<(u16, Value)>) -> Stub {
        let answers = Mutex::new(VecDeque::from(answers));
        Stub::new(move |seen| {
            answers.lock().unwrap().pop_front().unwrap_or_else(|| panic!("nobody expected {}", seen.line))
        })
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    fn cluster(&self) -> Arc<Connection> {
        Arc::new(Connection::new(self.client.clone(), Server::Cluster("prod".to_owned()), Target::default()))
    }

    /// Calls a binding as the engine does, on a new connection.
    async fn call(&self, name: &str, args: Value) -> Result<Answer> {
        call(self.cluster(), name, args, true).await
    }
}

async fn read(request: Request<Body>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Seen {
        line: format!("{} {}", parts.method, parts.uri),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        content_type: header("content-type"),
        accept: header("accept"),
    }
}

async fn call(cluster: Arc<Connection>, name: &str, args: Value, live: bool) -> Result<Answer> {
    let binding = find(bindings::ALL, name).unwrap_or_else(|| panic!("no binding {name}"));
    let Value::Array(args) = args else { panic!("arguments are a list") };
    let args = Args::check(binding, args)?;
    match binding.run {
        Run::Pure(run) => run(&args).map(Answer::read),
        Run::Cloud(run) => {
            let cloud = cloud(live);
            let call = Call {
                watch: &retry::quietly(),
                args,
                cloud: &cloud,
                cluster: Some(cluster),
                files: &Files::default(),
                say: &|_, _| {},
            };
            run(call).await
        }
        Run::Control => panic!("{name} is the engine's own"),
    }
}

/// Time that passes only while somebody sleeps.
struct Virtual(Mutex<Timestamp>);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep_until<'a>(&'a self, time: Timestamp) -> Future<'a, ()> {
        *self.0.lock().unwrap() = time;
        Box::pin(std::future::ready(()))
    }
}

type Answers = dyn Fn(&str) -> Result<Value, CallError> + Send + Sync;

/// AWS as far as Kubernetes needs it: tokens, and what `describe_cluster` says.
struct FakeAws {
    live: bool,
    minted: Mutex<u32>,
    answers: Box<Answers>,
}

impl Aws for FakeAws {
    fn call<'a>(
        &'a self,
        _: &'a Target,
        operation: &'static Operation,
        _: &'a Value,
    ) -> Future<'a, Result<Value, CallError>> {
        Box::pin(std::future::ready((self.answers)(operation.name)))
    }

    fn region<'a>(&'a self, _: &'a Target) -> Future<'a, Result<String>> {
        Box::pin(std::future::ready(Ok("us-west-2".to_owned())))
    }

    fn token<'a>(&'a self, _: &'a Target, cluster: &'a str) -> Future<'a, Result<(Secret, Timestamp)>> {
        let mut minted = self.minted.lock().unwrap();
        *minted += 1;
        let expires = Timestamp::now() + jiff::SignedDuration::from_mins(14);
        Box::pin(std::future::ready(Ok((Secret::new(format!("k8s-aws-v1.{cluster}-{minted}")), expires))))
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

fn aws(live: bool, answers: impl Fn(&str) -> Result<Value, CallError> + Send + Sync + 'static) -> Arc<FakeAws> {
    Arc::new(FakeAws { live, minted: Mutex::new(0), answers: Box::new(answers) })
}

struct NoKube;

impl Kube for NoKube {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> Future<'a, Result<kube::Client>> {
        Box::pin(std::future::ready(Err(Error::bug("nobody connects here"))))
    }
}

fn cloud(live: bool) -> Cloud {
    let start = "2026-11-05T08:00:00Z".parse().unwrap();
    let aws = aws(live, |operation| panic!("nobody expected {operation}"));
    Cloud::new(aws, Arc::new(NoKube), Arc::new(Virtual(Mutex::new(start))))
}

fn status(code: u16, reason: &str, message: &str, details: Value) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code, "details": details,
    });
    (code, status)
}

fn absent(kind: &str, name: &str) -> (u16, Value) {
    status(404, "NotFound", &format!("{kind} \"{name}\" not found"), json!({ "name": name, "kind": kind }))
}

fn config_map(name: &str, version: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "default", "resourceVersion": version } })
}

/// Message, notes and hint as an operator reads them.
fn told(error: &Error) -> String {
    let facts = error.facts();
    let mut text = format!("{}: {}", facts.kind, facts.message);
    for note in &facts.notes {
        text.push_str(&format!("\nnote: {note}"));
    }
    if let Some(hint) = &facts.hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

#[tokio::test]
async fn a_list_is_all_pages_and_every_item_says_what_it_is() {
    let page = |names: &[&str], token: &str| {
        let items: Vec<Value> = names.iter().map(|name| json!({ "metadata": { "name": name } })).collect();
        (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": { "continue": token }, "items": items }))
    };
    let stub = Stub::script(vec![page(&["a", "b"], "t/1="), page(&["c"], "t2"), page(&["d"], "")]);
    let answer = stub
        .call("kube::list", json!(["po", { "labels": { "app": "web", "k8s-app": "x" }, "fields": "a=b" }]))
        .await
        .unwrap();
    let names: Vec<&str> =
        answer.value.as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert!(answer.value.as_array().unwrap().iter().all(|pod| pod["kind"] == "Pod" && pod["apiVersion"] == "v1"));
    assert!(!answer.changed);
    let selectors = "labelSelector=app%3Dweb%2Ck8s-app%3Dx&fieldSelector=a%3Db&limit=500";
    assert_eq!(
        stub.lines(),
        [
            format!("GET /api/v1/namespaces/default/pods?{selectors}"),
            format!("GET /api/v1/namespaces/default/pods?{selectors}&continue=t%2F1%3D"),
            format!("GET /api/v1/namespaces/default/pods?{selectors}&continue=t2"),
        ]
    );
}

#[tokio::test]
async fn a_list_of_all_namespaces_stops_at_its_limit_and_starts_again_when_it_got_too_old() {
    let items = json!([{ "metadata": { "name": "a" } }, { "metadata": { "name": "b" } }]);
    let first = (200, json!({ "metadata": { "continue": "t" }, "items": items }));
    let stub = Stub::script(vec![first.clone()]);
    let answer = stub.call("kube::list", json!(["pods", { "all_namespaces": true, "limit": 2 }])).await.unwrap();
    assert_eq!(answer.value.as_array().unwrap().len(), 2);
    assert_eq!(stub.lines(), ["GET /api/v1/pods?limit=2"]);
    // Go writes an empty list as null.
    let empty = Stub::script(vec![(200, json!({ "metadata": { "resourceVersion": "1" }, "items": null }))]);
    assert_eq!(empty.call("kube::list", json!(["pods"])).await.unwrap().value, json!([]));
    let gone = status(410, "Expired", "The provided continue parameter is too old", json!({}));
    let stub = Stub::script(vec![first, gone, (200, json!({ "items": items }))]);
    let answer = stub.call("kube::list", json!(["nodes"])).await.unwrap();
    assert_eq!(answer.value.as_array().unwrap().len(), 2);
    assert_eq!(stub.lines()[2], "GET /api/v1/nodes");
}

fn served() -> Value {
    json!({ "kind": "APIGroupDiscoveryList", "items": [{ "metadata": { "name": "crd.k8s.amazonaws.com" }, "versions": [{
        "version": "v1alpha1", "resources": [{ "resource": "eniconfigs", "scope": "Cluster", "singularResource": "eniconfig",
            "responseKind": { "group": "crd.k8s.amazonaws.com", "version": "v1alpha1", "kind": "ENIConfig" }, "verbs": ["get"] }] }] }] })
}

#[tokio::test]
async fn built_in_kinds_need_no_discovery_and_custom_ones_one_request() {
    let stub = Stub::new(|seen| match seen.line.as_str() {
        "GET /apis" => (200, served()),
        _ => (200, json!({ "metadata": { "name": "x" } })),
    });
    let cluster = stub.cluster();
    for kind in ["nodes", "eniconfigs", "ENIConfig", "eniconfigs.crd.k8s.amazonaws.com"] {
        call(cluster.clone(), "kube::get", json!([kind, "x"]), true).await.unwrap();
    }
    assert_eq!(
        stub.lines(),
        [
            "GET /api/v1/nodes/x",
            "GET /apis",
            "GET /apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs/x",
            "GET /apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs/x",
            "GET /apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs/x",
        ]
    );
    assert!(stub.seen.lock().unwrap()[1].accept.contains("as=APIGroupDiscoveryList"));
}

#[tokio::test]
async fn a_kind_that_was_just_defined_is_found_and_an_unknown_one_is_told_with_a_suggestion() {
    let asked = Mutex::new(0);
    let stub = Stub::new(move |seen| match seen.line.as_str() {
        "GET /apis" => {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            (200, if *asked == 1 { json!({ "kind": "APIGroupDiscoveryList", "items": [] }) } else { served() })
        }
        _ => (200, json!({})),
    });
    let cluster = stub.cluster();
    let error = call(cluster.clone(), "kube::get", json!(["eniconfigs", "a"]), true).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(error.to_string(), "cluster `prod` offers no kind `eniconfigs`");
    call(cluster.clone(), "kube::get", json!(["eniconfigs", "a"]), true).await.unwrap();
    let error = call(cluster.clone(), "kube::find", json!(["eniconfgs", "a"]), true).await.unwrap_err();
    assert_eq!(told(&error), "not_found: cluster `prod` offers no kind `eniconfgs`\nhint: did you mean `eniconfigs`?");
}

#[tokio::test]
async fn an_old_server_is_asked_group_by_group_and_a_broken_group_hides_no_other() {
    let stub = Stub::new(|seen| match seen.line.as_str() {
        "GET /apis" => (
            200,
            json!({ "kind": "APIGroupList", "groups": [
            { "name": "metrics.k8s.io", "versions": [{ "version": "v1beta1" }], "preferredVersion": { "version": "v1beta1" } },
            { "name": "batch", "versions": [{ "version": "v1beta1" }] } ] }),
        ),
        "GET /apis/metrics.k8s.io/v1beta1" => (503, json!("service unavailable")),
        "GET /apis/batch/v1beta1" => (
            200,
            json!({ "resources": [
            { "name": "cronjobs", "singularName": "", "namespaced": true, "kind": "CronJob", "verbs": [], "shortNames": ["cj"] }] }),
        ),
        _ => (200, json!({})),
    });
    stub.call("kube::get", json!(["cj", "nightly"])).await.unwrap();
    assert_eq!(stub.lines().last().unwrap(), "GET /apis/batch/v1beta1/namespaces/default/cronjobs/nightly");
}

#[tokio::test]
async fn get_raises_and_find_answers_nothing() {
    let stub = Stub::new(|seen| match seen.line.contains("limit=") {
        true => (
            200,
            json!({ "items": [{ "metadata": { "name": "aws-auth" } }, { "metadata": { "name": "kube-root-ca.crt" } }] }),
        ),
        false => absent("configmaps", "aws-auht"),
    });
    let error = stub.call("kube::get", json!(["cm", "aws-auht", { "namespace": "kube-system" }])).await.unwrap_err();
    assert_eq!(
        told(&error),
        "not_found: ConfigMap `aws-auht` does not exist in namespace `kube-system` of cluster `prod`\nhint: did you mean `aws-auth`?"
    );
    let facts = error.facts();
    assert_eq!(
        (facts.service.as_deref(), facts.code.as_deref(), facts.status),
        (Some("kubernetes"), Some("NotFound"), Some(404))
    );
    assert_eq!(stub.call("kube::find", json!(["cm", "aws-auht"])).await.unwrap().value, Value::Null);
    let error = stub.call("kube::get", json!(["nodes", "a", { "namespace": "x" }])).await.unwrap_err();
    assert_eq!(told(&error), "invalid: Node objects live in no namespace\nhint: leave `namespace` out");
}

#[tokio::test]
async fn failures_are_told_by_subject_state_and_place() {
    let forbidden = "configmaps \"a\" is forbidden: User \"dev\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    let rows: Vec<((u16, Value), &str)> = vec![
        (
            status(401, "Unauthorized", "Unauthorized", json!({})),
            "denied: cluster `prod` does not know who is signed in\n\
             note: the token was accepted by nobody: the identity is mapped by no access entry and not in aws-auth, or the clock of this machine is wrong\n\
             hint: ask `auth::why(\"prod\", arn)` with the ARN that is signed in",
        ),
        (
            status(403, "Forbidden", forbidden, json!({ "name": "a", "kind": "configmaps" })),
            "denied: not allowed to get ConfigMap `a` in namespace `default` of cluster `prod`\n\
             note: the server says: configmaps \"a\" is forbidden: User \"dev\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"\n\
             hint: ask `auth::why(\"prod\", arn)` what the identity may do and what would allow it",
        ),
        (
            status(429, "TooManyRequests", "please wait", json!({ "retryAfterSeconds": 1 })),
            "throttled: cluster `prod` asks to slow down\nnote: the server says: please wait",
        ),
        (
            status(500, "InternalError", "etcdserver: leader changed", json!({})),
            "unavailable: could not get ConfigMap `a` in namespace `default` of cluster `prod`\nnote: the server says: etcdserver: leader changed",
        ),
        (
            (502, json!("<html>\nbad gateway\n</html>")),
            "unavailable: could not get ConfigMap `a` in namespace `default` of cluster `prod`\nnote: the server says: bad gateway",
        ),
        (
            (200, json!("<html>")),
            "unavailable: can not reach cluster `prod`: what it answered is not JSON\nnote: expected value at line 1 column 1",
        ),
    ];
    for (answer, expected) in rows {
        let stub = Stub::script(vec![answer]);
        let error = stub.call("kube::get", json!(["cm", "a"])).await.unwrap_err();
        assert_eq!(told(&error), expected);
        assert!(!error.facts().maybe_applied, "{expected}");
        assert_eq!(error.facts().retryable, matches!(error.kind(), Kind::Throttled | Kind::Unavailable), "{expected}");
    }
}

#[tokio::test]
async fn a_change_with_a_doubtful_outcome_says_so() {
    let object = config_map("a", "1");
    for (code, reason, doubtful) in [
        (500, "InternalError", true),
        (504, "Timeout", true),
        (503, "ServiceUnavailable", false),
        (429, "TooManyRequests", false),
        (422, "Invalid", false),
    ] {
        let stub = Stub::script(vec![status(code, reason, "no", json!({}))]);
        let error = stub.call("kube::create", json!([object])).await.unwrap_err();
        assert_eq!(error.facts().maybe_applied, doubtful, "{reason}");
    }
}

#[tokio::test]
async fn what_the_server_finds_invalid_is_told_by_field() {
    let details = json!({ "name": "web", "kind": "Deployment", "causes": [
        { "reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector" },
        { "reason": "FieldValueInvalid", "message": "Invalid value: -1", "field": "spec.replicas" }] });
    let stub = Stub::new(move |_| status(422, "Invalid", "Deployment.apps \"web\" is invalid", details.clone()));
    let error = stub
        .call("kube::create", json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" } }]))
        .await
        .unwrap_err();
    assert_eq!(
        told(&error),
        "invalid: could not create Deployment `web` in namespace `default` of cluster `prod`: the request is not valid\n\
         note: `spec.selector`: Required value\nnote: `spec.replicas`: Invalid value: -1"
    );
    assert_eq!(error.facts().extra["causes"][0]["field"], "spec.selector");
    // A patch is refused with the whole object in the message: it may hold secrets.
    let details = json!({ "causes": [{ "field": "patch", "message":
        "Invalid value: \"{\\\"data\\\":{\\\"k\\\":\\\"hunter2\\\"}}\": strict decoding error: unknown field \"spec.x\"" }] });
    let stub = Stub::new(move |seen| match seen.line.starts_with("GET") {
        true => (200, json!({})),
        false => status(422, "Invalid", "hunter2", details.clone()),
    });
    let error = stub.call("kube::patch", json!(["secrets", "s", { "x": 1 }])).await.unwrap_err();
    assert_eq!(error.facts().notes, ["`patch`: strict decoding error: unknown field \"spec.x\""]);
    assert!(!format!("{error:?}").contains("hunter2"));
    // What server-side apply calls an internal error.
    let typed = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dat: field not declared in schema";
    let stub = Stub::script(vec![absent("configmaps", "a"), status(500, "", typed, json!({}))]);
    let error = stub.call("kube::apply", json!([config_map("a", "")])).await.unwrap_err();
    assert_eq!((error.kind(), error.facts().maybe_applied), (Kind::Invalid, false));
    assert_eq!(error.facts().notes, ["`dat`: field not declared in schema"]);
    let missing =
        status(404, "NotFound", "namespaces \"team\" not found", json!({ "name": "team", "kind": "namespaces" }));
    let stub = Stub::script(vec![missing]);
    let error = stub.call("kube::create", json!([config_map("a", ""), {}])).await.unwrap_err();
    assert!(
        told(&error).starts_with(
            "not_found: namespace `team` does not exist in cluster `prod`\nhint: create it first: `kube::create("
        ),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn an_apply_conflict_names_fields_and_managers() {
    let details = json!({ "causes": [
        { "reason": "FieldManagerConflict", "message": "conflict with \"kubectl-client-side-apply\" using v1", "field": ".data.a" },
        { "reason": "FieldManagerConflict", "message": "conflict with \"helm\" using v1 at 2026-01-01T00:00:00Z", "field": ".data.b" },
        { "reason": "FieldManagerConflict", "message": "conflict with \"helm\" using v1", "field": ".data.c" }] });
    let stub = Stub::new(move |seen| match seen.line.starts_with("PATCH") {
        true => status(409, "Conflict", "Apply failed with 3 conflicts", details.clone()),
        false => (200, config_map("a", "1")),
    });
    let error = stub.call("kube::apply", json!([config_map("a", "")])).await.unwrap_err();
    assert_eq!(
        told(&error),
        "conflict: fields of ConfigMap `a` in namespace `default` of cluster `prod` belong to `helm` and `kubectl-client-side-apply`\n\
         note: `helm` owns `data.b` and `data.c`\nnote: `kubectl-client-side-apply` owns `data.a`\n\
         hint: leave these fields out, or take them over with `#{ force: true }`"
    );
    assert_eq!(error.facts().extra["conflicts"][1], json!({ "field": "data.b", "manager": "helm" }));
}

#[tokio::test]
async fn apply_counts_as_changed_when_the_version_moved() {
    for (before, after, changed) in [
        ((200, config_map("a", "1")), "2", true),
        ((200, config_map("a", "1")), "1", false),
        (absent("configmaps", "a"), "1", true),
    ] {
        let stub = Stub::script(vec![before, (200, config_map("a", after))]);
        let mut object = config_map("a", "1");
        object["metadata"]["managedFields"] = json!([{ "manager": "x" }]);
        object["data"] = json!({ "k": "v" });
        let answer =
            stub.call("kube::apply", json!([object, { "force": true, "field_manager": "team" }])).await.unwrap();
        assert_eq!(answer.changed, changed);
        assert_eq!(answer.value["metadata"]["resourceVersion"], after);
        let seen = stub.seen.lock().unwrap();
        assert_eq!(
            seen[1].line,
            "PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=team&fieldValidation=Strict&force=true"
        );
        assert_eq!(seen[1].content_type, "application/apply-patch+yaml");
        assert!(seen[1].body["metadata"].get("managedFields").is_none());
    }
    let stub = Stub::script(vec![(200, config_map("a", "7"))]);
    let answer = stub.call("kube::apply", json!([config_map("a", ""), { "dry_run": true }])).await.unwrap();
    assert!(!answer.changed);
    assert!(stub.lines()[0].ends_with("&dryRun=All"), "{:?}", stub.lines());
}

/// A server that stores what is applied, as far as these tests need it.
fn storing() -> Stub {
    let stored: Mutex<std::collections::BTreeMap<String, Value>> = Mutex::default();
    Stub::new(move |seen| {
        let mut stored = stored.lock().unwrap();
        let path = seen.line.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
        if seen.line.starts_with("PATCH") {
            let mut object = seen.body.clone();
            let known = stored.get(&path);
            let version = known.map_or(1, |known| if known["data"] == object["data"] { 1 } else { 2 });
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            if let Some(data) = seen.body["data"].as_object().filter(|data| data.contains_key("owned")) {
                let owned: serde_json::Map<String, Value> =
                    data.keys().map(|key| (format!("f:{key}"), json!({}))).collect();
                object["metadata"]["managedFields"] = json!([{ "manager": "ekskit", "operation": "Apply", "apiVersion": "v1", "fieldsV1": { "f:data": owned } }]);
            }
            stored.insert(path, object.clone());
            return (200, object);
        }
        if seen.line.contains("limit=") {
            return (200, json!({ "items": stored.values().cloned().collect::<Vec<_>>() }));
        }
        stored.get(&path).map_or_else(|| absent("configmaps", "x"), |object| (200, object.clone()))
    })
}

#[tokio::test]
async fn three_hundred_objects_are_one_list_and_three_hundred_patches() {
    let stub = storing();
    let objects: Vec<Value> = (0..300)
        .map(|n| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c{n}") }, "data": { "n": n.to_string() } }))
        .collect();
    let answer = stub.call("kube::apply", json!([objects])).await.unwrap();
    assert!(answer.changed);
    let names: Vec<&str> =
        answer.value.as_array().unwrap().iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["c0", "c1", "c2"]);
    assert_eq!(stub.lines().len(), 301);
    // This server does not say whose fields these are, so that all are applied again.
    let again = stub.call("kube::apply", json!([objects])).await.unwrap();
    assert!(!again.changed);
    assert_eq!(stub.lines().len(), 602);
}

#[tokio::test]
async fn what_is_applied_already_is_only_read() {
    let stub = storing();
    let mut objects: Vec<Value> = (0..20)
        .map(|n| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c{n}") }, "data": { "owned": n.to_string() } }))
        .collect();
    stub.call("kube::apply", json!([objects])).await.unwrap();
    let before = stub.lines().len();
    let again = stub.call("kube::apply", json!([objects])).await.unwrap();
    assert!(!again.changed);
    assert_eq!(again.value[19]["metadata"]["name"], "c19");
    assert_eq!(stub.lines()[before..], ["GET /api/v1/namespaces/default/configmaps?limit=500"]);
    objects[3]["data"]["owned"] = json!("new");
    let third = stub.call("kube::apply", json!([objects])).await.unwrap();
    assert!(third.changed);
    assert_eq!(stub.lines().iter().filter(|line| line.starts_with("PATCH")).count(), 21);
}

#[tokio::test]
async fn a_rehearsal_sends_one_after_the_other() {
    let stub = storing();
    let objects: Vec<Value> = (0..30)
        .map(|n| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c{n:02}") } }))
        .collect();
    call(stub.cluster(), "kube::apply", json!([objects]), false).await.unwrap();
    let patched: Vec<String> = stub.lines().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert!(patched.is_sorted(), "{patched:?}");
}

#[tokio::test]
async fn definitions_go_first_and_are_waited_for() {
    let looks = Mutex::new(0);
    let stub = Stub::new(move |seen| {
        let definition = |established: bool| {
            json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.io", "resourceVersion": "1" },
                "spec": { "group": "x.io", "names": { "kind": "Thing" } },
                "status": { "conditions": if established { json!([{ "type": "Established", "status": "True" }]) } else { json!([]) } } })
        };
        match seen.line.split('?').next().unwrap() {
            "GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.x.io" => {
                let mut looks = looks.lock().unwrap();
                *looks += 1;
                if *looks == 1 {
                    absent("customresourcedefinitions", "things.x.io")
                } else {
                    (200, definition(*looks >= 4))
                }
            }
            "PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.x.io" => (200, definition(false)),
            "GET /apis/x.io/v1" => {
                (200, json!({ "resources": [{ "name": "things", "kind": "Thing", "namespaced": false }] }))
            }
            "GET /apis/x.io/v1/things/a" => absent("things", "a"),
            line if line.starts_with("PATCH") => (201, seen.body.clone()),
            _ => absent("x", "x"),
        }
    });
    let objects = json!([
        { "apiVersion": "x.io/v1", "kind": "Thing", "metadata": { "name": "a" } },
        { "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.io" } },
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } },
    ]);
    let answer = stub.call("kube::apply", json!([objects])).await.unwrap();
    assert_eq!(answer.value[0]["kind"], "Thing");
    assert_eq!(answer.value[1]["status"]["conditions"][0]["type"], "Established");
    let patched: Vec<String> = stub.lines().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert!(
        patched[0].contains("/namespaces/n?")
            && patched[1].contains("/things.x.io?")
            && patched[2].contains("/things/a?"),
        "{patched:?}"
    );
}

#[tokio::test]
async fn a_list_that_fails_half_way_says_how_far_it_got() {
    let stub = Stub::new(|seen| match seen.line.as_str() {
        line if line.starts_with("PATCH") && line.contains("/bad?") => status(422, "Invalid", "no", json!({})),
        line if line.starts_with("PATCH") => (201, seen.body.clone()),
        _ => absent("x", "x"),
    });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } });
    let error = stub.call("kube::apply", json!([[config_map("bad", ""), namespace]])).await.unwrap_err();
    assert_eq!(error.facts().notes.last().unwrap(), "1 of 2 objects were applied before");
    let error = stub.call("kube::apply", json!([[namespace, { "kind": "ConfigMap" }]])).await.unwrap_err();
    assert_eq!(error.to_string(), "object 2 of the list (a ConfigMap) has no `apiVersion`");
}

#[tokio::test]
async fn update_patch_delete_and_evict_say_what_was_asked_of_the_server() {
    let stub = Stub::script(vec![(200, config_map("a", "2"))]);
    assert!(stub.call("kube::update", json!([config_map("a", "1")])).await.unwrap().changed);
    assert_eq!(
        stub.lines(),
        ["PUT /api/v1/namespaces/default/configmaps/a?fieldManager=ekskit&fieldValidation=Strict"]
    );
    let error = stub.call("kube::update", json!([config_map("a", "")])).await.unwrap_err();
    assert_eq!(error.to_string(), "ConfigMap `a` has no `metadata.resourceVersion`");
    let moved = status(409, "Conflict", "the object has been modified", json!({ "name": "a", "kind": "configmaps" }));
    let error = Stub::script(vec![moved]).call("kube::update", json!([config_map("a", "1")])).await.unwrap_err();
    assert_eq!(error.to_string(), "ConfigMap `a` in namespace `default` of cluster `prod` changed since it was read");

    let node = json!({ "metadata": { "name": "n", "resourceVersion": "1" } });
    let labelled = json!({ "metadata": { "name": "n", "resourceVersion": "1", "labels": { "old": "x" } } });
    let stub = Stub::script(vec![(200, labelled), (200, node.clone())]);
    let answer = stub
        .call(
            "kube::patch",
            json!(["nodes", "n", { "metadata": { "labels": { "old": null } } }, { "subresource": "status" }]),
        )
        .await
        .unwrap();
    assert!(!answer.changed);
    let seen = stub.seen.lock().unwrap().clone();
    assert_eq!(seen[1].line, "PATCH /api/v1/nodes/n/status?fieldManager=ekskit&fieldValidation=Strict");
    assert_eq!(seen[1].content_type, "application/merge-patch+json");
    assert_eq!(seen[1].body, json!({ "metadata": { "labels": { "old": null } } }));
    let error = stub.call("kube::patch", json!(["nodes", "n", {}, { "type": "json" }])).await.unwrap_err();
    assert_eq!(error.to_string(), "a patch of type `json` is a list of operations, found a map");

    let leaving = json!({ "metadata": { "name": "p", "uid": "1" } });
    let replaced = json!({ "metadata": { "name": "p", "uid": "2" } });
    let stub = Stub::script(vec![(200, leaving.clone()), (200, leaving), (200, replaced)]);
    assert!(
        stub.call("kube::delete", json!(["pods", "p", { "propagation": "foreground", "wait": true }]))
            .await
            .unwrap()
            .changed
    );
    assert_eq!(stub.seen.lock().unwrap()[0].body["propagationPolicy"], "Foreground");

    let budget = status(
        429,
        "TooManyRequests",
        "Cannot evict pod",
        json!({ "causes": [
        { "reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods" }] }),
    );
    let stub = Stub::script(vec![budget, (201, json!({ "kind": "Status", "status": "Success" }))]);
    let error = stub.call("kube::evict", json!(["web-0", { "namespace": "team", "grace": "30s" }])).await.unwrap_err();
    assert_eq!(
        told(&error),
        "conflict: a disruption budget keeps Pod `web-0` in namespace `team` of cluster `prod`\nnote: The disruption budget web needs 2 healthy pods"
    );
    assert!(error.facts().retryable);
    stub.call("kube::evict", json!(["web-0"])).await.unwrap();
    let seen = stub.seen.lock().unwrap();
    assert_eq!(seen[0].line, "POST /api/v1/namespaces/team/pods/web-0/eviction");
    assert_eq!(seen[0].body["deleteOptions"]["gracePeriodSeconds"], 30);
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_what_was_seen_last() {
    let node = json!({ "kind": "Node", "metadata": { "name": "n" }, "status": { "conditions": [
        { "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "cni plugin not initialized" }] } });
    let stub = Stub::new(move |_| (200, node.clone()));
    let error = stub
        .call("kube::wait_for", json!(["nodes", "n", { "condition": "Ready", "timeout": "2m" }]))
        .await
        .unwrap_err();
    assert_eq!(
        told(&error),
        "timeout: Node `n` in cluster `prod` is not `Ready` after 2m\nnote: last seen: `Ready` is False, KubeletNotReady: cni plugin not initialized"
    );
    assert_eq!(error.facts().extra["last"]["kind"], "Node");
    assert!(stub.lines().len() < 40, "{}", stub.lines().len());

    let secret = json!({ "kind": "Secret", "metadata": { "name": "s", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"] }, "data": { "k": "dg==" } });
    let stub = Stub::new(move |_| (200, secret.clone()));
    let error =
        stub.call("kube::wait_for", json!(["secrets", "s", { "absent": true, "timeout": "3s" }])).await.unwrap_err();
    assert_eq!(error.to_string(), "Secret `s` in namespace `default` of cluster `prod` is still there after 3s");
    assert_eq!(
        error.facts().notes,
        ["it is being deleted since 2026-01-01T00:00:00Z, and waits for its finalizers x/y"]
    );
    assert!(error.facts().extra["last"].get("data").is_none());
}

#[tokio::test]
async fn a_wait_outlives_a_server_that_goes_away_for_a_moment() {
    let ready =
        json!({ "metadata": { "name": "n" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    let stub = Stub::script(vec![
        absent("nodes", "n"),
        status(503, "ServiceUnavailable", "restarting", json!({})),
        (200, ready),
    ]);
    stub.call("kube::wait_for", json!(["nodes", "n", { "condition": "Ready" }])).await.unwrap();
    let stub = Stub::script(vec![(200, json!({})), absent("pods", "p")]);
    assert_eq!(stub.call("kube::wait_for", json!(["pods", "p", { "absent": true }])).await.unwrap().value, Value::Null);
}

#[tokio::test]
async fn a_rollout_that_hangs_names_its_pods() {
    let stub = Stub::new(|seen| match seen.line.contains("/pods?") {
        true => (
            200,
            json!({ "items": [{ "metadata": { "name": "web-1" }, "status": { "containerStatuses": [
            { "name": "app", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }] } }] }),
        ),
        false => (
            200,
            json!({ "kind": "Deployment", "metadata": { "name": "web", "generation": 1 }, "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } } },
            "status": { "observedGeneration": 1, "updatedReplicas": 1 } }),
        ),
    });
    let error = stub.call("kube::wait_rollout", json!(["deploy", "web", { "timeout": "1m" }])).await.unwrap_err();
    assert_eq!(
        told(&error),
        "timeout: Deployment `web` in namespace `default` of cluster `prod` is not rolled out after 1m\n\
         note: 1 of 2 new replicas are there\nnote: Pod `web-1`: container `app`: ImagePullBackOff: no such image"
    );
    assert!(stub.lines().last().unwrap().contains("labelSelector=app%3Dweb"));
    let error = stub.call("kube::wait_rollout", json!(["services", "web"])).await.unwrap_err();
    assert_eq!(error.to_string(), "a Service has no rollout");
}

#[tokio::test]
async fn logs_are_text_and_kinds_and_version_are_data() {
    let stub = Stub::script(vec![(200, json!("one\ntwo\n"))]);
    let answer =
        stub.call("kube::logs", json!(["web-0", { "tail": 2, "previous": true, "container": "app" }])).await.unwrap();
    assert_eq!(answer.value, "one\ntwo\n");
    assert_eq!(stub.lines(), ["GET /api/v1/namespaces/default/pods/web-0/log?container=app&tailLines=2&previous=true"]);
    let stub = Stub::script(vec![(200, json!({ "major": "1", "minor": "35+", "gitVersion": "v1.35.1-eks" }))]);
    assert_eq!(stub.call("kube::version", json!([])).await.unwrap().value["minor_number"], 35);
    let stub = Stub::script(vec![(200, json!({ "items": [] })), (200, served())]);
    let kinds = stub.call("kube::kinds", json!([])).await.unwrap().value;
    assert_eq!((kinds[0]["plural"].as_str(), kinds[0]["namespaced"].as_bool()), (Some("eniconfigs"), Some(false)));
}

#[tokio::test]
async fn without_a_cluster_a_call_says_how_to_get_one() {
    let binding = find(bindings::ALL, "kube::get").unwrap();
    let Run::Cloud(run) = binding.run else { panic!("a cloud binding") };
    let cloud = cloud(true);
    let args = Args::check(binding, vec![json!("pods"), json!("a")]).unwrap();
    let call = Call {
        watch: &retry::quietly(),
        args,
        cloud: &cloud,
        cluster: None,
        files: &Files::default(),
        say: &|_, _| {},
    };
    let error = run(call).await.unwrap_err();
    assert_eq!(
        told(&error),
        "invalid: `kube::get` needs a cluster\nhint: call it on a handle: `let k = kube::cluster(\"prod\"); k.get(…)`, or run with `--kubeconfig`"
    );
}

#[tokio::test]
async fn a_cluster_that_can_not_be_connected_to_says_why() {
    let connect = |answer: Value| async move {
        let aws = aws(true, move |operation| {
            Ok(if operation == "list_clusters" { json!({ "clusters": ["prod"] }) } else { answer.clone() })
        });
        let cloud = Cloud { aws, ..cloud(true) };
        ekskit::cloud::kube::connect_cluster(&cloud, &Target::default(), "prod").await.map(|_| ()).unwrap_err()
    };
    let error =
        connect(json!({ "cluster": { "status": "CREATING", "endpoint": null, "certificate_authority": null } })).await;
    assert_eq!(
        told(&error),
        "conflict: cluster `prod` is still being created\nhint: wait for it first: `eks::wait_until_cluster_active(#{ name: \"prod\" })`"
    );
    let error = connect(json!({ "cluster": { "status": "FAILED", "endpoint": null } })).await;
    assert_eq!(error.to_string(), "cluster `prod` has no endpoint; its status is FAILED");
    // With an endpoint the client is made: here by a cloud that can not.
    let error = connect(json!({ "cluster": { "status": "UPDATING", "endpoint": "https://x", "certificate_authority": { "data": "UEVN" } } })).await;
    assert_eq!(error.to_string(), "nobody connects here");
}

#[tokio::test]
async fn a_token_is_printed_in_the_version_that_was_asked_for() {
    let cloud = cloud(true);
    let info = json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": { "interactive": false } });
    let credential =
        ekskit::cli::token::credential(&cloud, &Target::default(), "prod", &info.to_string()).await.unwrap();
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(credential["kind"], "ExecCredential");
    assert_eq!(credential["status"]["token"], "k8s-aws-v1.prod-1");
    let expires: Timestamp = credential["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    let left = Duration::try_from(expires.duration_since(Timestamp::now())).unwrap();
    assert!(left > Duration::from_secs(13 * 60) && left <= Duration::from_secs(14 * 60));
}
