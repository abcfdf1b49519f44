//! `kube::`: objects of a Kubernetes API server. One call each; what composes them is stdlib.
//!
//! Every function is also a method of the handle that `kube::cluster(name)` gives. Waiting is get and sleep, never
//! watch: the twin's clock moves only while something sleeps.

mod applied;
mod apply;
mod manifest;
mod read;
mod wait;
mod write;

use std::sync::Arc;

use serde_json::Value;

use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Secrets, Ty};
use crate::cloud::kube::{Connection, Resource, forget_managers};
use crate::error::{Error, Kind, Result};
use crate::value;

/// Every binding of this namespace.
pub static ALL: &[&Binding] = &[
    &CLUSTER,
    &read::GET,
    &read::FIND,
    &read::LIST,
    &read::LOGS,
    &read::KINDS,
    &read::VERSION,
    &apply::APPLY,
    &write::CREATE,
    &write::UPDATE,
    &write::PATCH,
    &write::DELETE,
    &write::EVICT,
    &wait::WAIT_FOR,
    &wait::WAIT_ROLLOUT,
    &manifest::MANIFESTS,
    &manifest::FIELD,
];

/// The engine runs it: its result is no plain data.
static CLUSTER: Binding = Binding {
    name: "kube::cluster",
    effect: Effect::Read,
    doc: r#"
Connects to the Kubernetes API of an EKS cluster and answers a handle.

Its methods are the functions of `kube::`. It goes to the endpoint that EKS names, logs in by itself, and keeps the
account, role and region that it was made under. It is no plain data: a step can not hand it on.

```rhai
kube::cluster("prod").get("namespaces", "default").kind  //=> "Namespace"
kube::cluster("nobody")                                  //=> error: not_found
```
"#,
    params: &[Param::new("name", Ty::Text, "name of the cluster")],
    options: &[],
    returns: "a handle",
    raises: &[Kind::NotFound, Kind::Unavailable],
    run: Run::Control,
};

const KIND: Param = Param::new("kind", Ty::Text, "`pods`, `po`, `Pod`, `deployments.apps` or `apps/v1/Deployment`");
const NAME: Param = Param::new("name", Ty::Text, "name of the object");
const NAMESPACE: Param = Param::option("namespace", Ty::Text, "default: that of the context, else `default`");
const DRY_RUN: Param = Param::option("dry_run", Ty::Bool, "the server checks and answers, and stores nothing");
const TIMEOUT: Param = Param::option("timeout", Ty::Duration, "how long to wait; default `\"10m\"`");

const MANAGED_FIELDS: Param = Param::option(
    "managed_fields",
    Ty::Bool,
    "with `metadata.managedFields`, which is left out as kubectl leaves it out",
);

/// What a script gets of objects: values of Secrets are secrets, and who manages which field is left out.
fn shown(mut answer: Answer) -> Answer {
    match &mut answer.value {
        Value::Array(objects) => objects.iter_mut().for_each(forget_managers),
        object => forget_managers(object),
    }
    answer.secret(Secrets::Kubernetes)
}

/// The connection that a call goes to.
fn connection(call: &Call<'_>, binding: &str) -> Result<Arc<Connection>> {
    call.cluster.clone().ok_or_else(|| {
        Error::invalid(format!("`{binding}` needs a cluster")).hint(format!(
            "call it on a handle: `let k = kube::cluster(\"prod\"); k.{}(…)`, or run with `--kubeconfig`",
            binding.trim_start_matches("kube::")
        ))
    })
}

/// The kind, name and namespace options that most calls start with.
struct Aim {
    server: Arc<Connection>,
    resource: Arc<Resource>,
    namespace: Option<String>,
    name: String,
}

impl Aim {
    async fn of(call: &Call<'_>, binding: &str) -> Result<Aim> {
        let kind = call.args.text("kind").to_owned();
        Aim::at(call, binding, &kind, "name").await
    }

    /// At the object that the argument `name_argument` names.
    async fn at(call: &Call<'_>, binding: &str, kind: &str, name_argument: &str) -> Result<Aim> {
        let name = call.args.text(name_argument).to_owned();
        if name.is_empty() {
            return Err(Error::invalid(format!("`{name_argument}` of `{binding}` is empty")));
        }
        let server = connection(call, binding)?;
        let resource = server.resolve(kind).await?;
        let namespace = server.namespace_for(&resource, call.args.opt_text("namespace"))?.map(str::to_owned);
        Ok(Aim { server, resource, namespace, name })
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// ``Pod `web-0` in namespace `team` of cluster `prod` ``.
    fn words(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!("namespace `{namespace}` of ")).unwrap_or_default();
        format!("{} `{}` in {place}{}", self.resource.kind, self.name, self.server.server())
    }
}

/// What an object says of itself.
struct Identity<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
}

/// The identity of an object that a script hands in; `place` says which one where there are several.
fn identity<'a>(object: &'a Value, place: &str) -> Result<Identity<'a>> {
    let text = |value: &'a Value| value.as_str().filter(|text| !text.is_empty());
    if !object.is_object() {
        return Err(Error::invalid(format!(
            "{place} is a Kubernetes object, a map, but found {}",
            value::describe(object)
        )));
    }
    let metadata = &object["metadata"];
    let missing = |field: &str| {
        let kind = text(&object["kind"]).map(|kind| format!(" (a {kind})")).unwrap_or_default();
        Error::invalid(format!("{place}{kind} has no `{field}`"))
            .hint("write `#{ apiVersion: \"v1\", kind: \"ConfigMap\", metadata: #{ name: \"settings\" }, … }`")
    };
    Ok(Identity {
        api_version: text(&object["apiVersion"]).ok_or_else(|| missing("apiVersion"))?,
        kind: text(&object["kind"]).ok_or_else(|| missing("kind"))?,
        name: text(&metadata["name"]).unwrap_or_default(),
        namespace: text(&metadata["namespace"]),
    })
}

impl Identity<'_> {
    fn named(self, place: &str) -> Result<Self> {
        if self.name.is_empty() {
            return Err(Error::invalid(format!("{place} (a {}) has no `metadata.name`", self.kind))
                .hint("name it, or let the server make a name: `kube::create` with `metadata.generateName`"));
        }
        Ok(self)
    }
}

/// The namespace that an object goes to: its own, else the option, else that of the context; none for what lives in
/// none, so that one option can serve a list of mixed kinds.
fn namespace_of(
    server: &Connection,
    resource: &Resource,
    identity: &Identity<'_>,
    option: Option<&str>,
) -> Result<Option<String>> {
    if !resource.namespaced {
        return Ok(None);
    }
    match (identity.namespace, option) {
        (Some(own), Some(option)) if own != option => Err(Error::invalid(format!(
            "{} `{}` says namespace `{own}`, the option says `{option}`",
            identity.kind, identity.name
        ))
        .hint("leave one of them out")),
        (own, option) => Ok(server.namespace_for(resource, own.or(option))?.map(str::to_owned)),
    }
}

fn resource_version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}
