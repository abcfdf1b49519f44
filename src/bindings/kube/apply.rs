//! Server-side apply, of one object or of many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::applied::is_applied;
use super::{DRY_RUN, NAMESPACE, connection, identity, manifest, namespace_of, resource_version, shown};
use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Ty};
use crate::cloud::kube::{
    Connection, FIELD_MANAGER, NO_SUCH_KIND, PAGE_SIZE, Request, Resource, Selection, Verb, absent,
};
use crate::error::{Error, Kind, Result, count};
use crate::value;

pub static APPLY: Binding = Binding {
    name: "kube::apply",
    effect: Effect::Mutate,
    doc: r#"
Applies an object, or a list of them, on the server: creates what is absent, changes the fields that are given.

Fields that another manager owns raise `conflict`, which names them; `force` takes them over. In a list Namespaces and
CustomResourceDefinitions go first, and definitions are waited for before objects of their kinds. What is applied
already is only read. Counts as changed when a `resourceVersion` moved. Unknown fields are refused.

```rhai
kube::apply(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "a" }, data: #{ k: "v" } }).data.k  //=> "v"
kube::apply([]).len()                                                                                     //=> 0
kube::apply(#{ kind: "ConfigMap" })                                                                       //=> error: invalid
```
"#,
    params: &[Param::new("objects", Ty::Any, "an object or a list of objects")],
    options: &[
        NAMESPACE,
        Param::option("force", Ty::Bool, "take fields over from other managers"),
        Param::option("field_manager", Ty::Text, "who owns the fields; default `ekskit`"),
        DRY_RUN,
    ],
    returns: "the object as stored, or the list of them in the order given",
    raises: &[Kind::Conflict, Kind::Invalid, Kind::NotFound],
    run: Run::Cloud(|call| Box::pin(apply(call))),
};

/// Requests in flight. The server works on a few at once; more only wait there.
const AT_ONCE: usize = 8;

/// From so many objects of one kind and namespace on, a list replaces a get of each.
const WORTH_A_LIST: usize = 6;

/// What is listed at most: the namespace may hold far more than is applied, and single gets are then the better way.
const LISTED_MAX: usize = 3 * PAGE_SIZE;

/// How long a definition may take until the server offers its kind.
const ESTABLISHED_IN: Duration = Duration::from_secs(60);

async fn apply(mut call: Call<'_>) -> Result<Answer> {
    let server = connection(&call, "kube::apply")?;
    let (objects, is_list) = match call.args.take("objects") {
        Value::Array(objects) => (objects, true),
        object @ Value::Object(_) => (vec![object], false),
        other => {
            return Err(Error::invalid(format!(
                "`objects` of `kube::apply` is an object or a list of them, found {}",
                value::describe(&other)
            )));
        }
    };
    let how = Arc::new(How {
        manager: call.args.opt_text("field_manager").unwrap_or(FIELD_MANAGER).to_owned(),
        force: call.args.flag("force"),
        dry_run: call.args.flag("dry_run"),
    });
    // Everything that can be wrong with what was handed in is found before the first change.
    for (index, object) in objects.iter().enumerate() {
        let place = if is_list { format!("object {} of the list", index + 1) } else { "`objects`".to_owned() };
        identity(object, &place)?.named(&place)?;
    }
    let mut run = Progress { server, how, done: BTreeMap::new(), changed: false, total: objects.len() };
    for batch in batches(objects) {
        run.batch(&call, batch).await?;
    }
    let mut applied: Vec<Value> = run.done.into_values().collect();
    let value = if is_list { Value::Array(applied) } else { applied.pop().unwrap_or_default() };
    Ok(shown(Answer::changed(value, run.changed && !run.how.dry_run)))
}

/// How it is applied.
struct How {
    manager: String,
    force: bool,
    dry_run: bool,
}

/// Objects of one kind in a row: these may be sent at once, while between kinds the given order holds (a role before
/// its binding). Each with its place in the list.
type Batch = Vec<(usize, Value)>;

fn batches(objects: Vec<Value>) -> Vec<Batch> {
    let mut ordered: Batch = objects.into_iter().enumerate().collect();
    ordered.sort_by_key(|(_, object)| manifest::rank(object));
    let mut batches: Vec<Batch> = Vec::new();
    for (index, object) in ordered {
        match batches.last_mut() {
            Some(batch) if is_same_kind(&batch[0].1, &object) => batch.push((index, object)),
            _ => batches.push(vec![(index, object)]),
        }
    }
    batches
}

fn is_same_kind(one: &Value, other: &Value) -> bool {
    one["kind"] == other["kind"] && one["apiVersion"] == other["apiVersion"]
}

/// One object that is about to be applied.
struct Item {
    index: usize,
    object: Value,
    name: String,
    namespace: Option<String>,
    before: Before,
}

/// What is known of the object before the change.
enum Before {
    /// Ask for it.
    Unknown,
    /// It is not there, or it makes no difference.
    Absent,
    /// It is this.
    Object(Value),
}

struct Progress {
    server: Arc<Connection>,
    how: Arc<How>,
    /// By place in the list.
    done: BTreeMap<usize, Value>,
    changed: bool,
    total: usize,
}

impl Progress {
    async fn batch(&mut self, call: &Call<'_>, batch: Batch) -> Result<()> {
        let resource = self.resource(call, &batch[0].1).await?;
        let mut items = Vec::with_capacity(batch.len());
        for (index, object) in batch {
            items.push(self.item(call, &resource, index, object)?);
        }
        if !self.how.dry_run {
            self.look_ahead(&resource, &mut items).await?;
        }
        // The twin is told one after the other, so that the versions it hands out are the same in every rehearsal.
        let at_once = if call.cloud.aws.is_live() { AT_ONCE } else { 1 };
        self.send(&resource, items, at_once).await?;
        if resource.kind == "CustomResourceDefinition" && !self.how.dry_run {
            self.established(call).await?;
        }
        Ok(())
    }

    fn item(&self, call: &Call<'_>, resource: &Resource, index: usize, mut object: Value) -> Result<Item> {
        let identity = identity(&object, "an object")?;
        let namespace = namespace_of(&self.server, resource, &identity, call.args.opt_text("namespace"))?;
        let name = identity.name.to_owned();
        // What a get returned may be applied again: the server refuses this one field of it.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let before = if self.how.dry_run { Before::Absent } else { Before::Unknown };
        Ok(Item { index, object, name, namespace, before })
    }

    /// The kind of a batch. A kind whose definition was applied a moment ago may take a while to be offered.
    async fn resource(&self, call: &Call<'_>, object: &Value) -> Result<Arc<Resource>> {
        let identity = identity(object, "an object")?;
        let start = call.cloud.clock.now();
        loop {
            let error = match self.server.resolve_object(identity.api_version, identity.kind).await {
                Ok(resource) => return Ok(resource),
                Err(error) => error,
            };
            let defined = self.done.values().any(|done| defines(done, identity.api_version, identity.kind));
            let is_late = call.cloud.clock.since(start) >= ESTABLISHED_IN;
            if error.facts().code.as_deref() != Some(NO_SUCH_KIND) || !defined || is_late {
                return Err(self.so_far(error));
            }
            call.cloud.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Reads many objects in one go.
    async fn look_ahead(&self, resource: &Resource, items: &mut [Item]) -> Result<()> {
        let namespaces: BTreeSet<Option<String>> = items.iter().map(|item| item.namespace.clone()).collect();
        for namespace in namespaces {
            if items.iter().filter(|item| item.namespace == namespace).count() < WORTH_A_LIST {
                continue;
            }
            let selection = Selection { limit: Some(LISTED_MAX), ..Selection::default() };
            let objects = match self.server.list(resource, namespace.as_deref(), &selection).await {
                Ok(objects) => objects,
                // Whoever may apply need not be allowed to list.
                Err(error) if error.kind() == Kind::Denied => continue,
                Err(error) => return Err(self.so_far(error)),
            };
            let are_all = objects.len() < LISTED_MAX;
            let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let mut known: BTreeMap<String, Value> =
                objects.into_iter().map(|object| (name(&object), object)).collect();
            for item in items.iter_mut().filter(|item| item.namespace == namespace) {
                match known.remove(&item.name) {
                    Some(object) => item.before = Before::Object(object),
                    None if are_all => item.before = Before::Absent,
                    None => {}
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, resource: &Arc<Resource>, items: Vec<Item>, at_once: usize) -> Result<()> {
        let mut failed: Option<(usize, Error)> = None;
        let mut waiting = items.into_iter();
        if at_once == 1 {
            for item in waiting {
                let answer = apply_one(&self.server, resource, &self.how, item).await;
                self.note(answer).map_err(|(_, error)| self.so_far(error))?;
            }
            return Ok(());
        }
        let mut running = JoinSet::new();
        loop {
            while let Some(item) = (running.len() < at_once && failed.is_none()).then(|| waiting.next()).flatten() {
                let (server, resource, how) = (self.server.clone(), resource.clone(), self.how.clone());
                running.spawn(async move { apply_one(&server, &resource, &how, item).await });
            }
            let Some(answer) = running.join_next().await else { break };
            let answer = answer.map_err(|error| Error::bug(format!("applying broke off: {error}")))?;
            if let Err(failure) = self.note(answer) {
                // Of several failures the one that stands first in the list is told.
                if failed.as_ref().is_none_or(|(index, _)| failure.0 < *index) {
                    failed = Some(failure);
                }
            }
        }
        failed.map_or(Ok(()), |(_, error)| Err(self.so_far(error)))
    }

    fn note(&mut self, answer: Result<Applied, (usize, Error)>) -> Result<(), (usize, Error)> {
        let applied = answer?;
        self.changed |= applied.changed;
        self.done.insert(applied.index, applied.object);
        Ok(())
    }

    /// Says how far a list got.
    fn so_far(&self, error: Error) -> Error {
        match self.total {
            0 | 1 => error,
            total => error.note(format!("{} of {} were applied before", self.done.len(), count("object", total))),
        }
    }

    /// Waits until the definitions applied so far are served.
    async fn established(&mut self, call: &Call<'_>) -> Result<()> {
        let resource = self.server.resolve_object("apiextensions.k8s.io/v1", "CustomResourceDefinition").await?;
        let start = call.cloud.clock.now();
        loop {
            let pending =
                self.done.values().find(|object| object["kind"] == resource.kind.as_str() && !is_established(object));
            let Some(name) = pending.and_then(|object| object["metadata"]["name"].as_str()).map(str::to_owned) else {
                return Ok(());
            };
            let object = self.server.get(&resource, None, &name).await?;
            let refused = condition(&object, "NamesAccepted").filter(|accepted| accepted["status"] == "False");
            if let Some(refused) = refused {
                let reason = refused["message"].as_str().unwrap_or_default().to_owned();
                return Err(Error::failed(format!("the names of CustomResourceDefinition `{name}` are not accepted"))
                    .note(reason));
            }
            let is_ready = is_established(&object);
            if let Some(done) = self
                .done
                .values_mut()
                .find(|done| done["metadata"]["name"] == name.as_str() && done["kind"] == resource.kind.as_str())
            {
                *done = object;
            }
            if !is_ready {
                if call.cloud.clock.since(start) >= ESTABLISHED_IN {
                    let message = format!(
                        "CustomResourceDefinition `{name}` is not established after {}",
                        value::format_duration(ESTABLISHED_IN)
                    );
                    return Err(self.so_far(Error::timeout(message)));
                }
                call.cloud.clock.sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition["status"] == "True")
}

/// Whether an applied object is the definition of this kind.
fn defines(object: &Value, api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    object["kind"] == "CustomResourceDefinition"
        && object["spec"]["group"] == group
        && object["spec"]["names"]["kind"] == kind
}

struct Applied {
    index: usize,
    object: Value,
    changed: bool,
}

async fn apply_one(server: &Connection, resource: &Resource, how: &How, item: Item) -> Result<Applied, (usize, Error)> {
    let index = item.index;
    let applied = async {
        let mut before = match item.before {
            Before::Object(object) => Some(object),
            Before::Absent => None,
            Before::Unknown => match absent(server.get(resource, item.namespace.as_deref(), &item.name).await) {
                Ok(object) => object,
                // Whoever may apply need not be allowed to get: then it counts as changed.
                Err(error) if error.kind() == Kind::Denied => None,
                Err(error) => return Err(error),
            },
        };
        if let Some(object) = before.take_if(|object| is_applied(object, &item.object, &how.manager)) {
            return Ok(Applied { index, object, changed: false });
        }
        let mut request = Request::new(Method::PATCH, Verb::Apply, resource)
            .namespace(item.namespace.as_deref())
            .name(&item.name)
            .changing_as(&how.manager, how.dry_run)
            .body("application/apply-patch+yaml", &item.object);
        if how.force {
            request = request.query("force", "true");
        }
        let object: Value = server.json(request).await?;
        let changed = before.as_ref().map(resource_version) != Some(resource_version(&object));
        Ok(Applied { index, object, changed })
    };
    applied.await.map_err(|error| (index, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_keep_their_order_and_namespaces_and_definitions_go_first() {
        let object = |kind: &str, name: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        let list = vec![
            object("Role", "r"),
            object("ConfigMap", "a"),
            object("ConfigMap", "b"),
            object("CustomResourceDefinition", "d"),
            object("Namespace", "n"),
            object("ConfigMap", "c"),
        ];
        let shown: Vec<Vec<usize>> =
            batches(list).iter().map(|batch| batch.iter().map(|(index, _)| *index).collect()).collect();
        assert_eq!(shown, [vec![4], vec![3], vec![0], vec![1, 2, 5]]);
    }
}
