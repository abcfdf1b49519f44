//! Changing one object.

use http::Method;
use serde_json::{Value, json};

use super::{
    Aim, DRY_RUN, KIND, NAME, NAMESPACE, TIMEOUT, connection, identity, namespace_of, resource_version, shown, wait,
};
use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Ty};
use crate::cloud::kube::{Request, Verb, absent};
use crate::error::{Error, Kind, Result};
use crate::value;

const JSON: &str = "application/json";

pub static CREATE: Binding = Binding {
    name: "kube::create",
    effect: Effect::Mutate,
    doc: r#"
Creates an object and returns it as the server stored it.

Raises `conflict` when it exists; `kube::apply` converges instead. `metadata.generateName` lets the server name it.
Unknown fields are refused, as everywhere in `kube::`.

```rhai
kube::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "blue" } }).kind  //=> "Namespace"
kube::create(#{ kind: "Namespace" })                                                       //=> error: invalid
```
"#,
    params: &[Param::new("object", Ty::Map, "the object")],
    options: &[NAMESPACE, DRY_RUN],
    returns: "the object",
    raises: &[Kind::Conflict, Kind::Invalid, Kind::NotFound],
    run: Run::Cloud(|call| Box::pin(create(call))),
};

async fn create(call: Call<'_>) -> Result<Answer> {
    let server = connection(&call, "kube::create")?;
    let object = call.args.get("object").unwrap_or(&Value::Null);
    let identity = identity(object, "`object`")?;
    if identity.name.is_empty() && object["metadata"]["generateName"].as_str().unwrap_or_default().is_empty() {
        identity.named("`object`")?;
        return Err(Error::bug("an object without a name passed as named"));
    }
    let resource = server.resolve_object(identity.api_version, identity.kind).await?;
    let namespace = namespace_of(&server, &resource, &identity, call.args.opt_text("namespace"))?;
    let dry_run = call.args.flag("dry_run");
    let mut request = Request::new(Method::POST, Verb::Create, &resource)
        .namespace(namespace.as_deref())
        .changing(dry_run)
        .body(JSON, object);
    if !identity.name.is_empty() {
        request = request.about(identity.name);
    }
    let created: Value = server.json(request).await?;
    Ok(shown(Answer::changed(created, !dry_run)))
}

pub static UPDATE: Binding = Binding {
    name: "kube::update",
    effect: Effect::Mutate,
    doc: r#"
Replaces an object as a whole, where nobody changed it since it was read, and returns it.

`metadata.resourceVersion` says which version was read; when the server has another one, `conflict` is raised and
nothing is changed.

```rhai
let node = kube::get("nodes", "n1");
node.spec.unschedulable = true;
kube::update(node).spec.unschedulable                                                      //=> true
kube::update(#{ apiVersion: "v1", kind: "Node", metadata: #{ name: "n1" } })                //=> error: invalid
```
"#,
    params: &[Param::new("object", Ty::Map, "the object, with the `metadata.resourceVersion` that was read")],
    options: &[NAMESPACE, DRY_RUN],
    returns: "the object",
    raises: &[Kind::Conflict, Kind::Invalid, Kind::NotFound],
    run: Run::Cloud(|call| Box::pin(update(call))),
};

async fn update(call: Call<'_>) -> Result<Answer> {
    let server = connection(&call, "kube::update")?;
    let object = call.args.get("object").unwrap_or(&Value::Null);
    let identity = identity(object, "`object`")?.named("`object`")?;
    let read = resource_version(object);
    if read.is_empty() {
        return Err(Error::invalid(format!("{} `{}` has no `metadata.resourceVersion`", identity.kind, identity.name))
            .note("it says which version was read, so that nobody's change is lost")
            .hint("change what `kube::get` returned, or converge with `kube::apply`"));
    }
    let resource = server.resolve_object(identity.api_version, identity.kind).await?;
    let namespace = namespace_of(&server, &resource, &identity, call.args.opt_text("namespace"))?;
    let dry_run = call.args.flag("dry_run");
    let request = Request::new(Method::PUT, Verb::Update, &resource)
        .namespace(namespace.as_deref())
        .name(identity.name)
        .changing(dry_run)
        .body(JSON, object);
    let updated: Value = server.json(request).await?;
    let changed = !dry_run && resource_version(&updated) != read;
    Ok(shown(Answer::changed(updated, changed)))
}

pub static PATCH: Binding = Binding {
    name: "kube::patch",
    effect: Effect::Mutate,
    doc: r#"
Changes parts of an object and returns it.

`merge` (the default) takes a map in which `()` removes a key and a list replaces a list; `strategic` merges the lists
of built-in kinds by their keys; `json` takes a list of operations. A merge that would change nothing is not sent.
Counts as changed when the object's `resourceVersion` moved.

```rhai
kube::patch("nodes", "n1", #{ spec: #{ unschedulable: true } }).spec.unschedulable            //=> true
kube::patch("nodes", "n1", #{ metadata: #{ labels: #{ old: () } } }).kind                     //=> "Node"
kube::patch("nodes", "n1", [#{ op: "remove", path: "/metadata/labels" }], #{ type: "json" }).kind //=> "Node"
kube::patch("nodes", "n1", [])                                                                //=> error: invalid
```
"#,
    params: &[KIND, NAME, Param::new("patch", Ty::Any, "a map, or for `json` a list of operations")],
    options: &[
        NAMESPACE,
        Param::option("type", Ty::OneOf(&["merge", "json", "strategic"]), "default `merge`"),
        Param::option("subresource", Ty::Text, "`status`, `scale`: patches that part"),
        DRY_RUN,
    ],
    returns: "the object",
    raises: &[Kind::NotFound, Kind::Conflict, Kind::Invalid],
    run: Run::Cloud(|call| Box::pin(patch(call))),
};

async fn patch(call: Call<'_>) -> Result<Answer> {
    let patch = call.args.get("patch").unwrap_or(&Value::Null);
    let kind = call.args.opt_text("type").unwrap_or("merge");
    let (content_type, fits, wanted) = match kind {
        "json" => ("application/json-patch+json", patch.is_array(), "a list of operations"),
        "strategic" => ("application/strategic-merge-patch+json", patch.is_object(), "a map"),
        _ => ("application/merge-patch+json", patch.is_object(), "a map"),
    };
    if !fits {
        return Err(Error::invalid(format!("a patch of type `{kind}` is {wanted}, found {}", value::describe(patch))));
    }
    let aim = Aim::of(&call, "kube::patch").await?;
    let dry_run = call.args.flag("dry_run");
    let before = if dry_run { None } else { before(&aim).await? };
    let subresource = call.args.opt_text("subresource");
    if let Some(object) = before.as_ref().filter(|_| kind == "merge" && subresource.is_none())
        && merged(object, patch) == *object
    {
        return Ok(shown(Answer::changed(object.clone(), false)));
    }
    let request = Request::new(Method::PATCH, Verb::Patch, &aim.resource)
        .namespace(aim.namespace())
        .name(&aim.name)
        .subresource(subresource)
        .changing(dry_run)
        .body(content_type, patch);
    let patched: Value = match aim.server.json(request).await {
        Ok(patched) => patched,
        Err(error) => return Err(aim.server.suggest_name(error, &aim.resource, aim.namespace(), &aim.name).await),
    };
    let moved = before.as_ref().map(resource_version) != Some(resource_version(&patched));
    Ok(shown(Answer::changed(patched, moved && !dry_run)))
}

/// The object before a change. Whoever may patch need not be allowed to get: then the change counts.
async fn before(aim: &Aim) -> Result<Option<Value>> {
    match absent(aim.server.get(&aim.resource, aim.namespace(), &aim.name).await) {
        Err(error) if error.kind() == Kind::Denied => Ok(None),
        other => other,
    }
}

/// What a merge patch makes of a value (RFC 7396). A patch that would change nothing is not sent: it would be a
/// mutating request all the same.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let before = result.get(key).unwrap_or(&Value::Null);
            let after = merged(before, value);
            result.insert(key.clone(), after);
        }
    }
    Value::Object(result)
}

pub static DELETE: Binding = Binding {
    name: "kube::delete",
    effect: Effect::Mutate,
    doc: r#"
Deletes an object, and with `wait` returns when it is gone.

Raises `not_found` when there is nothing to delete. What the object owns goes after it (`background`), before it
(`foreground`) or stays (`orphan`).

```rhai
kube::delete("pods", "web-0", #{ namespace: "team", wait: true, timeout: "5m" })  //=> ()
kube::delete("pods", "absent")                                                    //=> error: not_found
```
"#,
    params: &[KIND, NAME],
    options: &[
        NAMESPACE,
        Param::option("propagation", Ty::OneOf(&["background", "foreground", "orphan"]), "default `background`"),
        Param::option("wait", Ty::Bool, "return when it is gone"),
        TIMEOUT,
        DRY_RUN,
    ],
    returns: "`()`",
    raises: &[Kind::NotFound, Kind::Timeout],
    run: Run::Cloud(|call| Box::pin(delete(call))),
};

async fn delete(call: Call<'_>) -> Result<Answer> {
    let policy = match call.args.opt_text("propagation") {
        Some("foreground") => "Foreground",
        Some("orphan") => "Orphan",
        _ => "Background",
    };
    let aim = Aim::of(&call, "kube::delete").await?;
    let dry_run = call.args.flag("dry_run");
    let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy });
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let request = Request::new(Method::DELETE, Verb::Delete, &aim.resource)
        .namespace(aim.namespace())
        .name(&aim.name)
        .body(JSON, &options);
    let answer: Value = match aim.server.json(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(aim.server.suggest_name(error, &aim.resource, aim.namespace(), &aim.name).await),
    };
    if call.args.flag("wait") && !dry_run {
        // The answer is the object on its way out, or a status that names it.
        let uid = answer["metadata"]["uid"].as_str().or(answer["details"]["uid"].as_str());
        wait::until_gone(&call, &aim, uid).await?;
    }
    Ok(Answer::changed(Value::Null, !dry_run))
}

pub static EVICT: Binding = Binding {
    name: "kube::evict",
    effect: Effect::Mutate,
    doc: r#"
Asks a pod to leave its node, within its disruption budgets.

Raises `conflict` with the code `DisruptionBudget`, which is `retryable`, while a budget keeps it. Returns at once; the
pod is gone when `kube::wait_for(…, #{ absent: true })` returns.

```rhai
kube::evict("web-0", #{ namespace: "team", grace: "30s" })  //=> ()
kube::evict("absent")                                       //=> error: not_found
```
"#,
    params: &[Param::new("pod", Ty::Text, "name of the pod")],
    options: &[NAMESPACE, Param::option("grace", Ty::Duration, "time to end; default: what the pod says itself")],
    returns: "`()`",
    raises: &[Kind::NotFound, Kind::Conflict],
    run: Run::Cloud(|call| Box::pin(evict(call))),
};

async fn evict(call: Call<'_>) -> Result<Answer> {
    let aim = Aim::at(&call, "kube::evict", "v1/Pod", "pod").await?;
    let mut eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": aim.name, "namespace": aim.namespace },
    });
    if let Some(grace) = call.args.duration("grace") {
        eviction["deleteOptions"] = json!({ "gracePeriodSeconds": grace.as_secs() });
    }
    let request = Request::new(Method::POST, Verb::Evict, &aim.resource)
        .namespace(aim.namespace())
        .name(&aim.name)
        .subresource(Some("eviction"))
        .body(JSON, &eviction);
    aim.server.send(request).await?;
    Ok(Answer::changed(Value::Null, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patches_as_the_rfc_has_them() {
        let rows = [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b", "b": "c" }), json!({ "a": null }), json!({ "b": "c" })),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": { "b": "c" } }), json!({ "a": { "b": "d", "c": null } }), json!({ "a": { "b": "d" } })),
            (json!({ "a": [{ "b": "c" }] }), json!({ "a": [1] }), json!({ "a": [1] })),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ];
        for (target, patch, result) in rows {
            assert_eq!(merged(&target, &patch), result, "{target} {patch}");
        }
    }
}
