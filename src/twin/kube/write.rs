//! The one way into the store: what a create, an update, a patch and an apply have in common.

use serde_json::{Value, json};

use super::kinds::{DEFINITIONS, Served};
use super::request::Ask;
use super::store::{Store, differs_in_desire, key};
use super::typed::{Misfits, misfits, prune};
use super::{Problem, apply, crd, defaults, fields, patch, status, validate};
use crate::twin::physics::job;
use crate::twin::world::World;

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The write is refused.
    Refused,
    /// They are dropped.
    Dropped,
}

/// A write that is under way.
pub struct Write<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The kind.
    pub served: &'a Served,
    /// Empty for what lives in no namespace.
    pub namespace: &'a str,
    /// `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Who writes.
    pub manager: String,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// What becomes of unknown fields.
    pub unknown: Unknown,
}

const METADATA_OF_SERVER: &[&str] =
    &["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

impl Write<'_> {
    fn store<'w>(&self, world: &'w World) -> Result<&'w Store, Problem> {
        world.store(self.cluster).ok_or_else(|| status::internal("the API server has stopped"))
    }

    fn key(&self, name: &str) -> String {
        key(Some(self.namespace), name)
    }

    fn old(&self, world: &World, name: &str) -> Result<Value, Problem> {
        let found = self.store(world)?.get(&self.served.table, &self.key(name)).cloned();
        found.ok_or_else(|| status::not_found(self.served, name))
    }

    /// A POST.
    pub fn create(&self, world: &mut World, mut object: Value) -> Result<Value, Problem> {
        self.identify(&mut object)?;
        let misfits = self.misfits(world, &object)?;
        self.refuse(&misfits, &mut object, None)?;
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(status::internal("resourceVersion should not be set on objects to be created"));
        }
        if has_status(self.served) {
            remove(&mut object, "status");
        }
        self.insert(world, object, false)
    }

    /// Stores what is not there yet; `applied`: its ownership is noted already.
    fn insert(&self, world: &mut World, mut object: Value, applied: bool) -> Result<Value, Problem> {
        for field in METADATA_OF_SERVER {
            remove(&mut object["metadata"], field);
        }
        remove(&mut object["metadata"], "resourceVersion");
        name_it(world, &mut object, self.dry_run);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.namespace_is_open(world, &name)?;
        complete(world, self.cluster, self.served, &mut object);
        self.admit(world, &name, &mut object)?;
        self.validate(world, None, &object, &name)?;
        if self.store(world)?.get(&self.served.table, &self.key(&name)).is_some() {
            return Err(status::already_exists(self.served, &name));
        }
        if !applied {
            self.note(None, &mut object, &world.now_text());
        }
        if self.dry_run {
            object["metadata"]["uid"] = json!("00000000-0000-4000-a000-000000000000");
            object["metadata"]["creationTimestamp"] = json!(world.now_text());
            return Ok(object);
        }
        Ok(store_new(world, self.cluster, self.served, object).unwrap_or_default())
    }

    /// A PUT.
    pub fn update(&self, world: &mut World, name: &str, mut object: Value) -> Result<Value, Problem> {
        self.identify(&mut object)?;
        let given = object["metadata"]["name"].as_str().unwrap_or_default();
        if given.is_empty() && !name.is_empty() {
            return Err(status::bad_request("name must be provided"));
        }
        if given != name {
            return Err(status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let misfits = self.misfits(world, &object)?;
        self.refuse(&misfits, &mut object, None)?;
        let old = self.old(world, name)?;
        if self.served.custom && object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
            let wrong = status::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(status::invalid_object(self.served, name, &[wrong]));
        }
        self.replace(world, old, object, false)
    }

    /// A PATCH of one of three types.
    pub fn patch(&self, world: &mut World, name: &str, ask: &Ask<'_>) -> Result<Value, Problem> {
        let old = self.old(world, name)?;
        let mut object = self.patched(ask, &old)?;
        if object["metadata"]["name"] != old["metadata"]["name"]
            || object["metadata"]["namespace"] != old["metadata"]["namespace"]
        {
            let field = if object["metadata"]["name"] == name { "metadata.namespace" } else { "metadata.name" };
            let value = object.pointer(&format!("/{}", field.replace('.', "/"))).cloned().unwrap_or_default();
            return Err(status::invalid_object(
                self.served,
                name,
                &[status::invalid(field, &value, "field is immutable")],
            ));
        }
        self.identify(&mut object)?;
        let mut misfits = self.misfits(world, &object)?;
        if !misfits.unknown.is_empty() {
            // What stands there already is not this patch's fault.
            let before = self.misfits(world, &old)?.unknown;
            misfits.unknown.retain(|path| !before.contains(path));
        }
        self.refuse(&misfits, &mut object, Some(name))?;
        self.replace(world, old, object, false)
    }

    fn patched(&self, ask: &Ask<'_>, old: &Value) -> Result<Value, Problem> {
        match ask.media() {
            "application/merge-patch+json" => Ok(patch::merge(old, &ask.json()?)),
            "application/json-patch+json" => patch::json(old, &ask.json()?),
            "application/strategic-merge-patch+json" if !self.served.custom => patch::strategic(old, &ask.json()?),
            _ if self.served.custom => Err(status::unsupported_type(&PATCHES[..3])),
            _ => Err(status::unsupported_type(PATCHES)),
        }
    }

    /// A server-side apply.
    pub fn apply(&self, world: &mut World, name: &str, force: bool, mut object: Value) -> Result<Value, Problem> {
        if self.manager.is_empty() {
            let wrong = status::required("fieldManager", "is required for apply patch");
            return Err(status::invalid_as("PatchOptions.meta.k8s.io", "", json!({}), &[wrong]));
        }
        if object["metadata"]["managedFields"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(status::bad_request("metadata.managedFields must be nil"));
        }
        self.identify(&mut object)?;
        let given = object["metadata"]["name"].as_str().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        object["metadata"]["name"] = json!(name);
        let misfits = self.misfits(world, &object)?;
        self.refuse_applied(&misfits, name)?;
        if self.subresource.is_empty() && has_status(self.served) {
            remove(&mut object, "status");
        }
        let time = world.now_text();
        let live = self.store(world)?.get(&self.served.table, &self.key(name)).cloned();
        let Some(live) = live else {
            if !self.subresource.is_empty() {
                return Err(status::not_found(self.served, name));
            }
            if let Some(uid) = object["metadata"]["uid"].as_str() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(status::conflict(self.served, name, &why));
            }
            // The namespace is looked at first: a merge may not hide that it is missing.
            self.namespace_is_open(world, name)?;
            let merged = apply::merge(None, &object, &self.manager, force, self.subresource, &time)?;
            return self.insert(world, merged, true);
        };
        if let Some(version) = object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty())
            && live["metadata"]["resourceVersion"] != version
        {
            return Err(status::modified(self.served, name));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let mut merged = apply::merge(Some(&live), &object, &self.manager, force, self.subresource, &time)?;
        merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        self.replace(world, live, merged, true)
    }

    /// Puts a new state in the place of the old one.
    pub fn replace(&self, world: &mut World, old: Value, new: Value, applied: bool) -> Result<Value, Problem> {
        let name = old["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let version = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() && old["metadata"]["resourceVersion"] != version {
            return Err(status::modified(self.served, &name));
        }
        if let Some(uid) = new["metadata"]["uid"].as_str().filter(|uid| old["metadata"]["uid"] != *uid) {
            let found = old["metadata"]["uid"].as_str().unwrap_or_default();
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(status::conflict(self.served, &name, &why));
        }
        let mut new = self.carried(&old, new);
        complete_again(world, self.cluster, self.served, &mut new);
        self.validate(world, Some(&old), &new, &name)?;
        if !applied {
            self.note(Some(&old), &mut new, &world.now_text());
        }
        if is_same(&old, &new) {
            return Ok(old);
        }
        if self.dry_run {
            if let Some(generation) = old["metadata"]["generation"].as_i64()
                && differs_in_desire(&old, &new)
            {
                new["metadata"]["generation"] = json!(generation + 1);
            }
            return Ok(new);
        }
        let is_definition = self.served.table == DEFINITIONS;
        let now = world.now_text();
        if is_definition {
            crd::establish(&mut new, &now);
        }
        let key = self.key(&name);
        let Some(store) = world.store_mut(self.cluster) else { return Ok(new) };
        let stored = store.update(&self.served.table, new).cloned().unwrap_or_default();
        if is_over(self.served, &stored) {
            store.remove(&self.served.table, &key);
            world.forget(&format!("kube/{}", self.served.table), &format!("{}/{key}", self.cluster));
        }
        Ok(stored)
    }

    /// With what the write may not change taken from the old state.
    fn carried(&self, old: &Value, mut new: Value) -> Value {
        if matches!(self.subresource, "status" | "approval") {
            let mut whole = old.clone();
            let status = new.get_mut("status").map_or(Value::Null, Value::take);
            set(&mut whole, "status", status);
            if matches!(self.served.table.as_str(), "nodes" | "pods") {
                for field in ["labels", "annotations"] {
                    set(&mut whole["metadata"], field, new["metadata"][field].take());
                }
            }
            set(&mut whole["metadata"], "managedFields", new["metadata"]["managedFields"].take());
            return whole;
        }
        if self.subresource == "ephemeralcontainers" {
            let mut whole = old.clone();
            set(&mut whole["spec"], "ephemeralContainers", new["spec"]["ephemeralContainers"].take());
            set(&mut whole["metadata"], "managedFields", new["metadata"]["managedFields"].take());
            return whole;
        }
        for field in METADATA_OF_SERVER {
            set(&mut new["metadata"], field, old["metadata"][*field].clone());
        }
        if has_status(self.served) {
            set(&mut new, "status", old["status"].clone());
        }
        if self.served.table == "namespaces" && self.subresource != "finalize" {
            set(&mut new, "spec", old["spec"].clone());
        }
        if self.served.table == "services" {
            keep_addresses(old, &mut new);
        }
        set(&mut new["metadata"], "resourceVersion", old["metadata"]["resourceVersion"].clone());
        if new["metadata"]["managedFields"].is_null() {
            set(&mut new["metadata"], "managedFields", old["metadata"]["managedFields"].clone());
        }
        new
    }

    /// Notes who wrote what; what the server fills in below `status` is nobody's.
    fn note(&self, old: Option<&Value>, new: &mut Value, time: &str) {
        let hidden = if self.subresource.is_empty() && has_status(self.served) {
            new.as_object_mut().and_then(|map| map.remove("status"))
        } else {
            None
        };
        let before = match (old, &hidden) {
            (Some(old), Some(_)) => {
                let mut old = old.clone();
                remove(&mut old, "status");
                Some(old)
            }
            (old, _) => old.cloned(),
        };
        fields::note_update(before.as_ref(), new, &self.manager, self.subresource, time);
        if let Some(status) = hidden {
            new["status"] = status;
        }
    }

    /// Refuses an object that says it is another one than the URL says, and fills in what it leaves out.
    fn identify(&self, object: &mut Value) -> Result<(), Problem> {
        let api_version = self.served.api_version();
        if !object.is_object() {
            return Err(status::bad_request(format!("Object 'Kind' is missing in '{object}'")));
        }
        for (field, word) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
            if object[field].as_str().unwrap_or_default().is_empty() {
                return Err(status::bad_request(format!("Object '{word}' is missing in '{object}'")));
            }
        }
        if object["apiVersion"] != api_version.as_str() {
            let given = object["apiVersion"].as_str().unwrap_or_default();
            return Err(status::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({api_version})"
            )));
        }
        if object["kind"] != self.served.kind.as_str() {
            let (given, ours) = (object["kind"].as_str().unwrap_or_default(), &self.served.kind);
            let version = &self.served.version;
            return Err(status::bad_request(format!(
                "{given} in version \"{version}\" cannot be handled as a {ours}: converting ({given}) to ({ours}): \
                 unknown conversion"
            )));
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if !given.is_empty() && given != self.namespace {
            return Err(status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if !self.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        if !self.served.custom {
            without_nulls(object);
        }
        Ok(())
    }

    fn misfits(&self, world: &World, object: &Value) -> Result<Misfits, Problem> {
        let store = self.store(world)?;
        let schema = if self.served.custom { crd::schema(store, self.served) } else { None };
        let found = misfits(self.served, schema, object);
        match &found.mistyped {
            Some(why) => Err(status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}",
                kind = self.served.kind,
                version = self.served.version,
            ))),
            None => Ok(found),
        }
    }

    /// Refuses unknown fields, or drops them; `patched` is the name of an object that a patch made so.
    fn refuse(&self, misfits: &Misfits, object: &mut Value, patched: Option<&str>) -> Result<(), Problem> {
        if misfits.unknown.is_empty() {
            return Ok(());
        }
        if self.unknown == Unknown::Dropped {
            prune(object, &misfits.unknown);
            return Ok(());
        }
        let told: Vec<String> = misfits.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        let strict = format!("strict decoding error: {}", told.join(", "));
        if patched.is_some() {
            let wrong = status::invalid("patch", &json!(object.to_string()), &strict);
            return Err(status::invalid_as("", "", json!({}), &[wrong]));
        }
        let (kind, version) = (&self.served.kind, &self.served.version);
        Err(status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {strict}")))
    }

    /// An apply knows only fields of the type, whatever it is asked to do with others.
    fn refuse_applied(&self, misfits: &Misfits, name: &str) -> Result<(), Problem> {
        let told: Vec<String> =
            misfits.unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
        let what = match &*told {
            [] => return Ok(()),
            [one] => one.clone(),
            more => format!("errors:\n  {}", more.join("\n  ")),
        };
        let object = if self.namespace.is_empty() { format!("/{name}") } else { format!("{}/{name}", self.namespace) };
        let api = if self.served.group.is_empty() { "/v1".to_owned() } else { self.served.api_version() };
        let kind = &self.served.kind;
        Err(status::internal(format!("failed to create typed patch object ({object}; {api}, Kind={kind}): {what}")))
    }

    /// Refuses new content where its namespace is not there, or ends.
    fn namespace_is_open(&self, world: &World, name: &str) -> Result<(), Problem> {
        if self.namespace.is_empty() || world.is_off("namespace lifecycle") {
            return Ok(());
        }
        match self.store(world)?.get("namespaces", self.namespace) {
            None => Err(status::no_namespace(self.namespace)),
            Some(found) if !found["metadata"]["deletionTimestamp"].is_null() => {
                Err(status::terminating(self.served, name, self.namespace))
            }
            Some(_) => Ok(()),
        }
    }

    /// What admission plugins refuse and fill in at creation.
    fn admit(&self, world: &World, name: &str, object: &mut Value) -> Result<(), Problem> {
        if self.served.table != "pods" {
            return Ok(());
        }
        let store = self.store(world)?;
        let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
        if store.get("serviceaccounts", &self.key(&account)).is_none() {
            let why = format!(
                "error looking up service account {}/{account}: serviceaccount \"{account}\" not found",
                self.namespace
            );
            return Err(status::forbidden(self.served, name, &why));
        }
        if let Some(class) = object["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty()) {
            let Some(found) = store.get("priorityclasses.scheduling.k8s.io", class) else {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(status::forbidden(self.served, name, &why));
            };
            object["spec"]["priority"] = found["value"].clone();
        }
        Ok(())
    }

    fn validate(&self, world: &World, old: Option<&Value>, object: &Value, name: &str) -> Result<(), Problem> {
        let mut wrong = match self.subresource {
            "status" | "approval" | "ephemeralcontainers" | "finalize" => Vec::new(),
            _ => validate::check(self.served, old, object),
        };
        if self.served.custom
            && let Some(schema) = crd::schema(self.store(world)?, self.served)
        {
            crd::check_value(schema, object, "", &mut wrong);
        }
        if wrong.is_empty() { Ok(()) } else { Err(status::invalid_object(self.served, name, &wrong)) }
    }
}

/// Types of patches, those of custom kinds first.
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

/// Gives an object the name that it wants to be given.
pub fn name_it(world: &mut World, object: &mut Value, dry_run: bool) {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let is_named = object["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
    let Some(base) = object["metadata"]["generateName"].as_str().filter(|_| !is_named).map(str::to_owned) else {
        return;
    };
    let mut name: String = base.chars().take(58).collect();
    for place in 0..5 {
        // A dry run may not move what later runs get.
        let pick = if dry_run { place } else { world.random("name", LETTERS.len() as u64) };
        let letter = usize::try_from(pick).ok().and_then(|pick| LETTERS.get(pick)).copied().unwrap_or(b'x');
        name.push(char::from(letter));
    }
    object["metadata"]["name"] = json!(name);
}

/// Fills in a new object.
pub fn complete(world: &World, cluster: &str, served: &Served, object: &mut Value) {
    complete_again(world, cluster, served, object);
    if served.table == DEFINITIONS {
        crd::establish(object, &world.now_text());
    }
}

/// Fills in what a write left out.
fn complete_again(world: &World, cluster: &str, served: &Served, object: &mut Value) {
    let Some(store) = world.store(cluster) else { return };
    defaults::fill(served, object);
    if served.table == "services" {
        defaults::allocate(store, object);
    }
    if served.custom
        && let Some(schema) = crd::schema(store, served)
    {
        crd::fill_schema(schema, object);
    }
}

/// Stores a new object with what makes it one; a namespace gets what every namespace has.
pub fn store_new(world: &mut World, cluster: &str, served: &Served, mut object: Value) -> Option<Value> {
    let now = world.now_text();
    object["metadata"]["uid"] = json!(world.uuid("object"));
    object["metadata"]["creationTimestamp"] = json!(now);
    if served.table == "jobs.batch" {
        job::select(&mut object);
    }
    let stored = world.store_mut(cluster)?.create(&served.table, object).clone();
    if served.table == "namespaces"
        && let Some(name) = stored["metadata"]["name"].as_str()
    {
        super::bootstrap::furnish(world, cluster, name);
    }
    Some(stored)
}

/// Whether an object that is to be deleted has nothing left to wait for.
fn is_over(served: &Served, object: &Value) -> bool {
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let metadata = &object["metadata"];
    !metadata["deletionTimestamp"].is_null()
        && none(&metadata["finalizers"])
        && (served.table != "namespaces" || none(&object["spec"]["finalizers"]))
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

/// Whether a write changes nothing but times in the notes of who owns what.
fn is_same(old: &Value, new: &Value) -> bool {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return old == new };
    let rest = |key: &&String| key.as_str() != "metadata";
    before.keys().filter(rest).all(|key| before.get(key) == after.get(key))
        && after.keys().filter(rest).all(|key| before.contains_key(key))
        && timeless(&old["metadata"]) == timeless(&new["metadata"])
}

fn timeless(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    remove(&mut metadata, "generation");
    for entry in metadata["managedFields"].as_array_mut().into_iter().flatten() {
        remove(entry, "time");
    }
    if metadata["managedFields"].as_array().is_none_or(Vec::is_empty) {
        remove(&mut metadata, "managedFields");
    }
    metadata
}

/// Services keep the address and ports that they were given.
fn keep_addresses(old: &Value, new: &mut Value) {
    if new["spec"]["type"] == "ExternalName" || !new["spec"].is_object() {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
        if new["spec"][field].is_null() || new["spec"][field] == "" {
            set(&mut new["spec"], field, old["spec"][field].clone());
        }
    }
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    if new["spec"]["type"] == "LoadBalancer" || new["spec"]["type"] == "NodePort" {
        for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
            let same = before.iter().find(|one| one["port"] == port["port"]);
            if let Some(known) = same.filter(|_| port["nodePort"].is_null()) {
                set(port, "nodePort", known["nodePort"].clone());
            }
        }
    }
}

/// Whether its status is written through a subresource only.
pub fn has_status(served: &Served) -> bool {
    served.has("status")
}

/// Sets a field; null takes it away.
fn set(value: &mut Value, key: &str, to: Value) {
    if to.is_null() {
        remove(value, key);
    } else if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), to);
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(key);
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, config_map, deployment, pod};
    use serde_json::{Value, json};

    const WEB: &str = "/apis/apps/v1/namespaces/default/deployments";

    #[test]
    fn a_write_from_an_older_version_is_refused() {
        let mut wire = Wire::new();
        let first = wire.config_map("a");
        let mut second = first.clone();
        second["data"]["a"] = json!("2");
        assert_eq!(wire.put(&format!("{MAPS}/a"), second).0, 200);
        let (code, problem) = wire.put(&format!("{MAPS}/a"), first);
        let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply \
                       your changes to the latest version and try again";
        assert_eq!((code, problem["message"].as_str()), (409, Some(message)));
    }

    #[test]
    fn a_write_that_changes_nothing_keeps_the_version() {
        let mut wire = Wire::new();
        let made = wire.config_map("a");
        let (code, again) = wire.put(&format!("{MAPS}/a"), made.clone());
        assert_eq!((code, &again["metadata"]["resourceVersion"]), (200, &made["metadata"]["resourceVersion"]));
    }

    #[test]
    fn unknown_fields_are_refused_where_one_asks_for_it_and_else_dropped() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["dta"] = json!({});
        let (code, problem) = wire.post(&format!("{MAPS}?fieldValidation=Strict"), map.clone());
        let message = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dta\"";
        assert_eq!((code, problem["message"].as_str()), (400, Some(message)));
        let (code, made) = wire.post(MAPS, map);
        assert_eq!((code, &made["dta"]), (201, &Value::Null));
    }

    #[test]
    fn an_apply_of_an_unknown_field_names_it_in_its_path() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["dat"] = json!({});
        let (code, problem) = wire.apply(&format!("{MAPS}/a"), "me", map);
        let message =
            "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .dat: field not declared in schema";
        assert_eq!((code, problem["message"].as_str()), (500, Some(message)));
    }

    #[test]
    fn names_are_checked() {
        let mut wire = Wire::new();
        let (code, problem) = wire.post(MAPS, config_map("A_b"));
        assert_eq!((code, &problem["details"]["causes"][0]["field"]), (422, &json!("metadata.name")));
        assert!(problem["message"].as_str().unwrap().contains("a lowercase RFC 1123 subdomain must consist of"));
        let (code, problem) = wire.post(MAPS, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} }));
        assert_eq!(code, 422, "{problem}");
        let generated = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "a-" } });
        let (_, made) = wire.post(MAPS, generated);
        let name = made["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    }

    #[test]
    fn a_selector_fits_its_template_and_stays() {
        let mut wire = Wire::new();
        let mut web = deployment("web", 0);
        web["spec"]["template"]["metadata"]["labels"] = json!({ "app": "other" });
        let (code, problem) = wire.post(WEB, web);
        assert_eq!(code, 422);
        let message = problem["message"].as_str().unwrap();
        assert!(
            message.starts_with("Deployment.apps \"web\" is invalid: spec.template.metadata.labels: Invalid value: ")
        );
        assert!(message.ends_with("`selector` does not match template `labels`"));
        let (_, mut web) = wire.post(WEB, deployment("web", 0));
        web["spec"]["selector"]["matchLabels"]["app"] = json!("new");
        web["spec"]["template"]["metadata"]["labels"]["app"] = json!("new");
        let (code, problem) = wire.put(&format!("{WEB}/web"), web);
        assert!(code == 422 && problem["message"].as_str().unwrap().ends_with("field is immutable"), "{problem}");
    }

    #[test]
    fn status_is_written_through_its_subresource_only() {
        let mut wire = Wire::new();
        let (_, mut made) = wire.post(WEB, deployment("web", 0));
        made["status"] = json!({ "replicas": 7, "observedGeneration": 1 });
        let (_, after) = wire.put(&format!("{WEB}/web"), made.clone());
        assert_ne!(after["status"]["replicas"], 7);
        made["spec"]["replicas"] = json!(9);
        made["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"].clone();
        let (code, after) = wire.put(&format!("{WEB}/web/status"), made);
        assert_eq!((code, &after["status"]["replicas"], &after["spec"]["replicas"]), (200, &json!(7), &json!(0)));
    }

    #[test]
    fn what_is_immutable_stays() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["immutable"] = json!(true);
        let (_, mut made) = wire.post(MAPS, map);
        made["data"]["a"] = json!("2");
        let (code, problem) = wire.put(&format!("{MAPS}/a"), made);
        let message = "ConfigMap \"a\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
        assert_eq!((code, problem["message"].as_str()), (422, Some(message)));
    }

    #[test]
    fn a_pod_needs_its_service_account_and_keeps_its_spec() {
        let mut wire = Wire::new();
        let pods = "/api/v1/namespaces/default/pods";
        let mut stranger = pod("a");
        stranger["spec"]["serviceAccountName"] = json!("nobody");
        let (code, problem) = wire.post(pods, stranger);
        assert_eq!(code, 403);
        assert!(problem["message"].as_str().unwrap().contains("error looking up service account default/nobody"));
        let (code, mut made) = wire.post(pods, pod("a"));
        assert_eq!(
            (code, &made["status"]["phase"], &made["spec"]["dnsPolicy"]),
            (201, &json!("Pending"), &json!("ClusterFirst"))
        );
        made["spec"]["containers"][0]["command"] = json!(["x"]);
        let (code, problem) = wire.put(&format!("{pods}/a"), made);
        assert!(
            code == 422 && problem["message"].as_str().unwrap().contains("pod updates may not change fields"),
            "{problem}"
        );
    }

    #[test]
    fn a_defined_kind_is_served_and_checked() {
        let mut wire = Wire::new();
        let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "eniconfigs.crd.k8s.amazonaws.com" },
            "spec": { "group": "crd.k8s.amazonaws.com", "scope": "Cluster", "names": { "plural": "eniconfigs", "kind": "ENIConfig" },
                "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": { "type": "object", "required": ["subnet"],
                        "properties": { "subnet": { "type": "string" } } } } } } }] } });
        let (code, made) = wire.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
        assert_eq!((code, &made["status"]["conditions"][1]["type"]), (201, &json!("Established")), "{made}");
        let config = |spec: Value| {
            json!({ "apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig",
            "metadata": { "name": "us-west-2a" }, "spec": spec })
        };
        let path = "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs";
        let (code, problem) = wire.post(path, config(json!({ "subnet": 1 })));
        assert_eq!((code, &problem["details"]["causes"][0]["field"]), (422, &json!("spec.subnet")), "{problem}");
        let (code, problem) = wire.post(path, config(json!({})));
        assert!(
            code == 422 && problem["message"].as_str().unwrap().ends_with("spec.subnet: Required value"),
            "{problem}"
        );
        let (code, made) = wire.post(path, config(json!({ "subnet": "subnet-1", "sbnet": 1 })));
        assert_eq!((code, &made["spec"]), (201, &json!({ "subnet": "subnet-1" })));
    }

    #[test]
    fn a_namespace_comes_with_what_every_namespace_has() {
        let mut wire = Wire::new();
        let team = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
        let (code, made) = wire.post("/api/v1/namespaces", team);
        assert_eq!((code, &made["status"]["phase"]), (201, &json!("Active")));
        assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "team");
        assert_eq!(wire.get("/api/v1/namespaces/team/serviceaccounts/default").0, 200);
    }
}
