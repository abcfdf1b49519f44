//! Looking at objects.

use http::Method;
use serde_json::{Map, Value, json};

use super::{Aim, KIND, MANAGED_FIELDS, NAME, NAMESPACE, connection, shown};
use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Secrets, Ty};
use crate::cloud::kube::{Request, Selection, Verb, absent};
use crate::error::{Error, Kind, Result};
use crate::value;

pub static GET: Binding = Binding {
    name: "kube::get",
    effect: Effect::Read,
    doc: r#"
Returns one object.

Raises `not_found` when it does not exist; use `kube::find` to get `()` instead. Built-in kinds and those of custom
definitions are named alike. Values of a Secret are secrets: they print `***`, `.reveal()` shows one.

```rhai
kube::get("nodes", "n1").kind                                          //=> "Node"
kube::get("cm", "aws-auth", #{ namespace: "kube-system" }).data.mapRoles.len() > 0  //=> true
kube::get("cm", "aws-auth", #{ namespace: "kube-system", managed_fields: true }).metadata.managedFields.len() > 0  //=> true
kube::get("pods", "absent")                                            //=> error: not_found
```
"#,
    params: &[KIND, NAME],
    options: &[NAMESPACE, MANAGED_FIELDS],
    returns: "the object, sparse and in camelCase as the server keeps it",
    raises: &[Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(get(call))),
};

async fn get(call: Call<'_>) -> Result<Answer> {
    let aim = Aim::of(&call, "kube::get").await?;
    match aim.server.get(&aim.resource, aim.namespace(), &aim.name).await {
        Ok(object) => Ok(one(&call, object)),
        Err(error) => Err(aim.server.suggest_name(error, &aim.resource, aim.namespace(), &aim.name).await),
    }
}

pub static FIND: Binding = Binding {
    name: "kube::find",
    effect: Effect::Read,
    doc: r#"
Returns one object, or `()` when it does not exist.

A kind that the server does not offer is still `not_found`, so that a mistyped kind is no silent `()`.

```rhai
kube::find("cm", "aws-auth", #{ namespace: "kube-system" }) != ()  //=> true
kube::find("cm", "absent")                                         //=> ()
kube::find("podz", "absent")                                       //=> error: not_found
```
"#,
    params: &[KIND, NAME],
    options: &[NAMESPACE, MANAGED_FIELDS],
    returns: "the object, or `()`",
    raises: &[Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(find(call))),
};

async fn find(call: Call<'_>) -> Result<Answer> {
    let aim = Aim::of(&call, "kube::find").await?;
    let object = absent(aim.server.get(&aim.resource, aim.namespace(), &aim.name).await)?;
    Ok(one(&call, object.unwrap_or(Value::Null)))
}

/// An object that was read, with its managers where the call wants them.
fn one(call: &Call<'_>, object: Value) -> Answer {
    let answer = Answer::read(object);
    if call.args.flag("managed_fields") { answer.secret(Secrets::Kubernetes) } else { shown(answer) }
}

pub static LIST: Binding = Binding {
    name: "kube::list",
    effect: Effect::Read,
    doc: r#"
Returns all objects of a kind, all pages, each with its `apiVersion` and `kind`.

Of one namespace (that of the context where none is named) or, with `all_namespaces`, of all. An empty list is no error.

```rhai
kube::list("pods", #{ namespace: "kube-system", labels: #{ "k8s-app": "aws-node" } })[0].kind  //=> "Pod"
kube::list("pods", #{ all_namespaces: true, fields: "status.phase=Failed" })                   //=> []
kube::list("pods", #{ label: "app=web" })                                                      //=> error: invalid
```
"#,
    params: &[KIND],
    options: &[
        NAMESPACE,
        Param::option("all_namespaces", Ty::Bool, "of all namespaces"),
        Param::option("labels", Ty::Any, "a map of labels, or a selector such as `\"app=web,tier!=db\"`"),
        Param::option("fields", Ty::Any, "a map of fields, or a selector such as `\"spec.nodeName=x\"`"),
        Param::option("limit", Ty::Int, "at most so many objects"),
        MANAGED_FIELDS,
    ],
    returns: "a list of objects",
    raises: &[Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(list(call))),
};

async fn list(call: Call<'_>) -> Result<Answer> {
    let server = connection(&call, "kube::list")?;
    let args = &call.args;
    let selection = Selection {
        labels: selector("labels", args.get("labels"))?,
        fields: selector("fields", args.get("fields"))?,
        limit: limit(args.int("limit"))?,
        without_managers: !args.flag("managed_fields"),
    };
    let resource = server.resolve(args.text("kind")).await?;
    let namespace = match (args.flag("all_namespaces"), args.opt_text("namespace")) {
        (true, Some(namespace)) => {
            return Err(Error::invalid(format!(
                "`kube::list` of all namespaces can not be of namespace `{namespace}` only"
            ))
            .hint("leave out `all_namespaces` or `namespace`"));
        }
        (true, None) => None,
        (false, given) => server.namespace_for(&resource, given)?,
    };
    let items = server.list(&resource, namespace, &selection).await?;
    Ok(Answer::read(Value::Array(items)).secret(Secrets::Kubernetes))
}

fn limit(given: Option<i64>) -> Result<Option<usize>> {
    match given.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(limit)) if limit > 0 => Ok(Some(limit)),
        _ => Err(Error::invalid("`limit` of `kube::list` is at least 1")),
    }
}

/// `#{ app: "web" }` and `"app=web"` select the same.
fn selector(option: &str, given: Option<&Value>) -> Result<Option<String>> {
    match given {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(key, wanted)| pair(option, key, wanted))
            .collect::<Result<Vec<_>>>()
            .map(|pairs| Some(pairs.join(","))),
        Some(other) => Err(Error::invalid(format!(
            "`{option}` of `kube::list` is a map or a selector text, found {}",
            value::describe(other)
        ))),
    }
}

fn pair(option: &str, key: &str, wanted: &Value) -> Result<String> {
    if let Value::String(text) = wanted {
        return Ok(format!("{key}={text}"));
    }
    let found = value::describe(wanted);
    let error = Error::invalid(format!("`{option}.{key}` of `kube::list` is text, found {found}"));
    let can_be_quoted = wanted.is_number() || wanted.is_boolean();
    Err(error.maybe_hint(can_be_quoted.then(|| format!("write `\"{wanted}\"`"))))
}

pub static LOGS: Binding = Binding {
    name: "kube::logs",
    effect: Effect::Read,
    doc: r#"
Returns what a container of a pod wrote so far.

A pod of several containers needs `container`; `previous` reads the one that ended before the current one began.

```rhai
kube::logs("web-0", #{ namespace: "team", tail: 20 }).len() > 0  //=> true
kube::logs("absent")                                                     //=> error: not_found
```
"#,
    params: &[Param::new("pod", Ty::Text, "name of the pod")],
    options: &[
        NAMESPACE,
        Param::option("container", Ty::Text, "name of the container; default: the only one"),
        Param::option("tail", Ty::Int, "only the last so many lines"),
        Param::option("previous", Ty::Bool, "of the container that ended before"),
    ],
    returns: "text",
    raises: &[Kind::NotFound, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(logs(call))),
};

async fn logs(call: Call<'_>) -> Result<Answer> {
    let aim = Aim::at(&call, "kube::logs", "v1/Pod", "pod").await?;
    let mut request = Request::new(Method::GET, Verb::Log, &aim.resource)
        .namespace(aim.namespace())
        .name(&aim.name)
        .subresource(Some("log"))
        .accept("*/*");
    if let Some(container) = call.args.opt_text("container") {
        request = request.query("container", container);
    }
    if let Some(tail) = call.args.int("tail") {
        if tail < 0 {
            return Err(Error::invalid("`tail` of `kube::logs` is a number of lines, so not negative"));
        }
        request = request.query("tailLines", &tail.to_string());
    }
    if call.args.flag("previous") {
        request = request.query("previous", "true");
    }
    let bytes = aim.server.send(request).await?;
    Ok(Answer::read(Value::String(String::from_utf8_lossy(bytes.as_ref()).into_owned())))
}

pub static KINDS: Binding = Binding {
    name: "kube::kinds",
    effect: Effect::Read,
    doc: r#"
Returns the kinds that the server offers, those of custom definitions included.

```rhai
kube::kinds().filter(|k| k.plural == "daemonsets")[0].group  //=> "apps"
kube::kinds("pods")                                          //=> error: invalid
```
"#,
    params: &[],
    options: &[],
    returns: "a list of `#{ group, version, kind, plural, singular, short_names, namespaced, verbs }`",
    raises: &[],
    run: Run::Cloud(|call| Box::pin(kinds(call))),
};

async fn kinds(call: Call<'_>) -> Result<Answer> {
    let kinds = connection(&call, "kube::kinds")?.kinds().await?;
    let kinds = kinds.iter().map(|kind| {
        json!({
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
            "plural": kind.plural,
            "singular": kind.singular,
            "short_names": kind.short_names,
            "namespaced": kind.namespaced,
            "verbs": kind.verbs,
        })
    });
    Ok(Answer::read(kinds.collect()))
}

pub static VERSION: Binding = Binding {
    name: "kube::version",
    effect: Effect::Read,
    doc: r#"
Returns the version of the API server, and `minor_number` without the `+` that EKS writes behind it.

```rhai
kube::version().gitVersion.starts_with("v1.")  //=> true
kube::version("prod")                          //=> error: invalid
```
"#,
    params: &[],
    options: &[],
    returns: "`#{ major, minor, gitVersion, platform, …, minor_number }`",
    raises: &[],
    run: Run::Cloud(|call| Box::pin(version(call))),
};

async fn version(call: Call<'_>) -> Result<Answer> {
    let mut version = connection(&call, "kube::version")?.version().await?;
    let minor = version["minor"].as_str().unwrap_or_default();
    let number: Option<i64> = minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    let object: Option<&mut Map<String, Value>> = version.as_object_mut();
    if let Some(object) = object {
        object.insert("minor_number".to_owned(), json!(number));
    }
    Ok(Answer::read(version))
}
