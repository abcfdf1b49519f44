//! The one way into the store: what a create, an update, a patch and an apply have in common.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::json::written_len;
use super::kinds::{DEFINITIONS, Served};
use super::request::{Ask, no_object};
use super::schema::{self, Schema, Shape};
use super::store::{Store, differs_in_desire, key};
use super::twice;
use super::typed::{self, Misfits};
use super::{Problem, apply, crd, defaults, fields, patch, status, validate, versions};
use crate::twin::physics::{job, pod};
use crate::twin::world::World;

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The write is refused.
    Refused,
    /// They are dropped, and the answer warns of them.
    Told,
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
    /// Fields that stand twice in what is sent.
    pub twice: Vec<String>,
    /// What is sent, where it is JSON.
    pub text: &'a [u8],
    /// What the answer warns of.
    pub warnings: RefCell<Vec<String>>,
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
        let found = self.store(world)?.get(&self.served.table, &self.key(name));
        let found = found.ok_or_else(|| status::not_found(self.served, name))?;
        Ok(versions::shown(self.served, found).into_owned())
    }

    /// A POST.
    pub fn create(&self, world: &mut World, mut object: Value) -> Result<Value, Problem> {
        self.identify(&mut object)?;
        let misfits = self.read(world, &mut object)?;
        self.refuse(&misfits, None)?;
        self.own_once(&mut object, "");
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(status::unforeseen("resourceVersion should not be set on objects to be created"));
        }
        if has_status(self.served) {
            remove(&mut object, "status");
        }
        self.insert(world, object, false)
    }

    /// Stores what is not there yet; `applied`: its ownership is noted already.
    fn insert(&self, world: &mut World, mut object: Value, applied: bool) -> Result<Value, Problem> {
        for field in METADATA_OF_SERVER.iter().filter(|field| **field != "generation" || has_generation(self.served)) {
            remove(&mut object["metadata"], field);
        }
        remove(&mut object["metadata"], "resourceVersion");
        name_it(world, &mut object, self.dry_run);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.namespace_is_open(world, &name)?;
        self.advise(&name);
        let was_bare = job::is_bare(&object);
        fill(world, self.cluster, self.served, &mut object);
        if !applied {
            self.note(world, None, &mut object)?;
        }
        self.admit(world, &name, &mut object)?;
        complete(world, self.cluster, self.served, &mut object);
        if self.served.table == "persistentvolumes" {
            object["status"]["lastPhaseTransitionTime"] = json!(world.now_text());
        }
        self.validate(world, None, &object, &name)?;
        if self.served.table == "services" {
            self.address_is_free(world, &name, &object)?;
        }
        if let Some(there) = self.store(world)?.get(&self.served.table, &self.key(&name)) {
            let mut problem = status::already_exists(self.served, &name);
            if !there["metadata"]["deletionTimestamp"].is_null() {
                problem.message = format!("object is being deleted: {}", problem.message);
            }
            return Err(problem);
        }
        if !self.dry_run {
            fit(&mut object, applied)?;
        }
        if self.dry_run {
            object["metadata"]["uid"] = json!("00000000-0000-4000-a000-000000000000");
            object["metadata"]["creationTimestamp"] = json!(world.now_text());
            if has_generation(self.served) {
                object["metadata"]["generation"] = json!(1);
            }
            if self.served.table == "jobs.batch" {
                job::select(&mut object, was_bare);
            }
            return Ok(object);
        }
        Ok(store_new(world, self.cluster, self.served, object, was_bare).unwrap_or_default())
    }

    /// A PUT.
    pub fn update(&self, world: &mut World, name: &str, mut object: Value) -> Result<Value, Problem> {
        self.identify(&mut object)?;
        is_named(&object, name)?;
        let misfits = self.read(world, &mut object)?;
        self.refuse(&misfits, None)?;
        self.own_once(&mut object, "");
        let old = match self.old(world, name) {
            Ok(old) => old,
            Err(_) if self.makes_what_is_missing() => return self.put_anew(world, name, object),
            Err(problem) => return Err(problem),
        };
        let names_version =
            |object: &Value| !object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty();
        if !names_version(&object) && needs_version(self.served) {
            let wrong = status::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            let mut problem = status::invalid_object(self.served, name, &[wrong]);
            // The storage says this, which knows resources and no kinds.
            problem.message = problem.message.replacen(&self.served.qualified_kind(), &self.served.resource(), 1);
            problem.details["kind"] = json!(self.served.plural);
            return Err(problem);
        }
        if let Some(uid) = object["metadata"]["uid"].as_str().filter(|uid| old["metadata"]["uid"] != *uid) {
            let found = old["metadata"]["uid"].as_str().unwrap_or_default();
            let why = self.other_uid(name, uid, found);
            return Err(status::conflict(self.served, name, &why));
        }
        self.replace(world, old, object, false)
    }

    /// Whether a PUT creates what is not there.
    pub fn makes_what_is_missing(&self) -> bool {
        self.subresource.is_empty() && MADE_BY_UPDATES.contains(&self.served.table.as_str())
    }

    /// A PUT of what is not there.
    fn put_anew(&self, world: &mut World, name: &str, mut object: Value) -> Result<Value, Problem> {
        if let Some(uid) = object["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()) {
            return Err(status::conflict(self.served, name, &self.other_uid(name, uid, "")));
        }
        if has_status(self.served) {
            remove(&mut object, "status");
        }
        self.insert(world, object, false)
    }

    /// Takes away owners that stand there twice, and tells so.
    fn own_once(&self, object: &mut Value, when: &str) {
        let Some(owners) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
        let (mut seen, mut twice): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
        owners.retain(|owner| {
            let is_new = !seen.contains(owner);
            match is_new {
                true => seen.push(owner.clone()),
                false => twice.push(owner["uid"].as_str().unwrap_or_default().to_owned()),
            }
            is_new
        });
        if !twice.is_empty() {
            self.warnings.borrow_mut().push(format!(
                ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, \
                 and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
                twice.join(", ")
            ));
        }
    }

    /// What the server advises against.
    fn advise(&self, name: &str) {
        if NAMING_PODS.contains(&self.served.table.as_str())
            && let Some(why) = validate::no_label(name)
        {
            self.warnings.borrow_mut().push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
                 label is recommended: [{why}]"
            ));
        }
    }

    /// Why an object is not the one that is meant.
    fn other_uid(&self, name: &str, wanted: &str, found: &str) -> String {
        format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
             UID in precondition: {wanted}, UID in object meta: {found}",
            self.place_in_etcd(name)
        )
    }

    fn place_in_etcd(&self, name: &str) -> String {
        let group = if self.served.custom { format!("{}/", self.served.group) } else { String::new() };
        let plural = match self.served.table.as_str() {
            "services" => "services/specs",
            "endpoints" => "services/endpoints",
            "nodes" => "minions",
            _ => &self.served.plural,
        };
        format!("/registry/{group}{plural}/{}", self.key(name))
    }

    /// A PATCH of one of three types.
    pub fn patch(&self, world: &mut World, name: &str, ask: &Ask<'_>) -> Result<Value, Problem> {
        self.takes(ask)?;
        let old = self.old(world, name)?;
        let mut object = self.patched(ask, &old)?;
        let sent = object.clone();
        if !object.is_object() {
            return Err(self.as_patch(ask, &sent, status::bad_request(no_object(&object))));
        }
        self.is_here(&object)?;
        self.identify(&mut object).map_err(|problem| self.as_patch(ask, &sent, problem))?;
        let misfits = self.read(world, &mut object).map_err(|problem| self.as_patch(ask, &sent, problem))?;
        if !misfits.unknown.is_empty() || !self.twice.is_empty() {
            self.refuse(&misfits, Some(&self.echo(ask, &sent)))?;
        }
        is_named(&object, name)?;
        self.own_once(&mut object, " after mutating admission happens");
        self.replace(world, old, object, false)
    }

    /// An object with a patch of one of three types.
    pub fn patched(&self, ask: &Ask<'_>, old: &Value) -> Result<Value, Problem> {
        let form = |value: &Value| {
            let found = typed::json_type(value);
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        };
        match ask.media() {
            "application/merge-patch+json" => {
                let patch = ask.patch("error decoding patch: ")?;
                if patch.is_null() {
                    return Err(status::bad_request("Invalid JSON Patch"));
                }
                if !patch.is_object() {
                    return Err(status::bad_request(format!("error decoding patch: {}", form(&patch))));
                }
                Ok(patch::merge(old, &patch))
            }
            "application/json-patch+json" => {
                let patch = ask.patch("error decoding patch: ")?;
                if self.unknown == Unknown::Told {
                    let unknown =
                        patch::unknown_fields(&patch).map(|field| format!("json patch unknown field {field:?}"));
                    self.warnings.borrow_mut().extend(unknown);
                }
                patch::json(old, &patch)
            }
            "application/strategic-merge-patch+json" if !self.served.custom => {
                let patch = ask.patch("")?;
                if patch.is_null() {
                    return Ok(old.clone());
                }
                if !patch.is_object() {
                    return Err(status::bad_request(form(&patch)));
                }
                patch::strategic(old, &patch)
            }
            _ => Err(status::unsupported_patch()),
        }
    }

    /// Refuses a patch of another type before anything is looked up.
    pub fn takes(&self, ask: &Ask<'_>) -> Result<(), Problem> {
        let last = if self.served.custom { 3 } else { 4 };
        match ask.media() {
            media if PATCHES[..last].contains(&media) => Ok(()),
            _ if self.served.custom => Err(status::unsupported_type(&PATCHES[..last])),
            _ => Err(status::unsupported_patch()),
        }
    }

    /// How the server tells what a patch leads to: the patch itself where it is strategic, else the object.
    fn echo(&self, ask: &Ask<'_>, sent: &Value) -> String {
        if ask.media() == "application/strategic-merge-patch+json" {
            return ask.json().map(|patch| apply::go_value(&patch)).unwrap_or_default();
        }
        let mut sent = sent.clone();
        if let Some(metadata) = sent.get_mut("metadata") {
            remove(metadata, "managedFields");
        }
        sent.to_string()
    }

    /// What is wrong with the object that a patch leads to is wrong with the patch.
    fn as_patch(&self, ask: &Ask<'_>, sent: &Value, problem: Problem) -> Problem {
        if problem.code != 400 || self.served.custom {
            return problem;
        }
        let why = problem.message.split_once(&format!("cannot be handled as a {}: ", self.served.kind));
        let mut why = why.map_or(&*problem.message, |(_, why)| why).to_owned();
        if ask.media() == "application/strategic-merge-patch+json" {
            why = patch::as_restored(&why).unwrap_or(why);
        }
        status::invalid_as("", "", json!({}), &[status::invalid("patch", &json!(self.echo(ask, sent)), &why)])
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
        let applied = object.clone();
        self.identify_applied(&mut object)?;
        let given = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !given.is_empty() && given != name {
            return Err(status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        apply::fits(self.own_types(world)?.shape(&applied), &applied)?;
        object["metadata"]["name"] = json!(name);
        if self.subresource.is_empty() && has_status(self.served) {
            remove(&mut object, "status");
        }
        let time = world.now_text();
        let own = self.own_types(world)?;
        let live = self.old(world, name).ok();
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
            // What is new must say its name.
            is_named(&applied, name)?;
            let shape = own.shape(&object);
            let mut merged = apply::merge(shape, None, &object, &self.manager, force, self.subresource, &time)?;
            self.read(world, &mut merged)?;
            return self.insert(world, merged, true);
        };
        if let Some(version) = object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty())
            && live["metadata"]["resourceVersion"] != version
        {
            if version.parse::<u64>().is_err() {
                return Err(status::unforeseen(status::unparsed("ParseUint", version)));
            }
            return Err(status::modified(self.served, name));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            // An apply that does not say whom it means keeps nothing of that.
            if given.is_empty() {
                metadata.retain(|field, _| !["name", "namespace"].contains(&field.as_str()));
            }
        }
        if object["metadata"].as_object().is_some_and(serde_json::Map::is_empty) {
            remove(&mut object, "metadata");
        }
        let shape = own.shape(&object);
        let merge = |force| apply::merge(shape, Some(&live), &object, &self.manager, force, self.subresource, &time);
        let mut merged = match merge(force) {
            Err(problem) if apply::may_take(shape, &live, &self.manager, &problem) => merge(true)?,
            other => other?,
        };
        is_named(&merged, name)?;
        apply::note_last_applied(&mut merged, &self.manager, &applied);
        let empty = ["labels", "annotations"].map(|field| (field, merged["metadata"][field] == json!({})));
        self.read(world, &mut merged)?;
        merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        let mut told = self.replace(world, live, merged, true)?;
        // Only what is stored is read again; what ends with this is told as it was merged.
        if self.served.custom && self.store(world)?.get(&self.served.table, &self.key(name)).is_none() {
            for (field, _) in empty.into_iter().filter(|(_, is_empty)| *is_empty) {
                told["metadata"][field] = json!({});
            }
        }
        Ok(told)
    }

    /// Puts a new state in the place of the old one.
    pub fn replace(&self, world: &mut World, old: Value, new: Value, applied: bool) -> Result<Value, Problem> {
        let name = old["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let version = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() && version.parse::<u64>().is_err() {
            return Err(status::unforeseen(status::unparsed("ParseUint", version)));
        }
        if !version.is_empty() && old["metadata"]["resourceVersion"] != version {
            return Err(status::modified(self.served, &name));
        }
        let ends = &new["metadata"]["deletionTimestamp"];
        if old["metadata"]["deletionTimestamp"].is_null() && ends.is_string() {
            let wrong = status::invalid("metadata.deletionTimestamp", ends, "field is immutable");
            return Err(status::invalid_object(self.served, &name, &[wrong.clone(), wrong]));
        }
        let uid = new["metadata"]["uid"].as_str().filter(|uid| old["metadata"]["uid"] != *uid).map(str::to_owned);
        if let Some(uid) = uid {
            let wrong = status::invalid("metadata.uid", &json!(uid), "field is immutable");
            return Err(status::invalid_object(self.served, &name, &[wrong.clone(), wrong]));
        }
        let mut new = self.carried(&old, new, applied);
        fill(world, self.cluster, self.served, &mut new);
        if self.served.table == "daemonsets.apps" && self.subresource.is_empty() {
            count_templates(&old, &mut new);
        }
        if !applied {
            self.note(world, Some(&old), &mut new)?;
        }
        complete(world, self.cluster, self.served, &mut new);
        self.validate(world, Some(&old), &new, &name)?;
        if is_same(&old, &new) {
            return Ok(old);
        }
        let generation = old["metadata"]["generation"].as_i64().filter(|_| differs_in_desire(&old, &new));
        if self.dry_run {
            if let Some(generation) = generation {
                new["metadata"]["generation"] = json!(generation + 1);
            }
            return Ok(new);
        }
        fit(&mut new, applied)?;
        let key = self.key(&name);
        let Some(store) = world.store_mut(self.cluster) else { return Ok(new) };
        // What waited for nothing but this write goes with it.
        if is_over(self.served, &new) {
            store.remove(&self.served.table, &key);
            world.forget(&format!("kube/{}", self.served.table), &format!("{}/{key}", self.cluster));
            if let Some(generation) = generation {
                new["metadata"]["generation"] = json!(generation + 1);
            }
            return Ok(new);
        }
        let new = versions::stored(self.served, new, store.get(&self.served.table, &key));
        Ok(store.update(&self.served.table, new).cloned().unwrap_or_default())
    }

    /// With what the write may not change taken from the old state.
    fn carried(&self, old: &Value, mut new: Value, applied: bool) -> Value {
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
        if new["metadata"]["managedFields"].is_null() && !applied {
            set(&mut new["metadata"], "managedFields", old["metadata"]["managedFields"].clone());
        }
        new
    }

    /// Notes who wrote what; what the server fills in below `status` is nobody's.
    fn note(&self, world: &World, old: Option<&Value>, new: &mut Value) -> Result<(), Problem> {
        let own = self.own_types(world)?;
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
        let shape = own.shape(new);
        fields::note_update(shape, before.as_ref(), new, &self.manager, self.subresource, &world.now_text());
        if let Some(status) = hidden {
            new["status"] = status;
        }
        Ok(())
    }

    /// The types that a custom kind's definition makes.
    fn own_types(&self, world: &World) -> Result<OwnTypes, Problem> {
        let store = self.store(world)?;
        let schema = if self.served.custom { crd::schema(store, self.served) } else { None };
        Ok(OwnTypes(schema.map(Schema::from_openapi)))
    }

    /// Refuses an object that says it is another one than the URL says, and fills in what it leaves out.
    fn identify(&self, object: &mut Value) -> Result<(), Problem> {
        let (api_version, ours) = (self.served.api_version(), &self.served.kind);
        if object.is_null() {
            *object = json!({});
        }
        let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
        if self.served.custom {
            for (field, word) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
                if text(object, field).is_empty() {
                    return Err(status::bad_request(format!(
                        "the object provided is unrecognized (must be of type {ours}): Object '{word}' is missing in '{object}'"
                    )));
                }
            }
        }
        for (field, default) in [("apiVersion", &api_version), ("kind", ours)] {
            if text(object, field).is_empty() {
                object[field] = json!(default);
            }
        }
        let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
        if self.served.custom && version == api_version && kind != *ours {
            let name = text(&object["metadata"], "name");
            let wrong = status::invalid("kind", &json!(kind), &format!("must be {ours}"));
            // It is told as what it says that it is.
            let said = Served { kind, ..self.served.clone() };
            return Err(status::invalid_object(&said, &name, &[wrong]));
        }
        if version != api_version || kind != *ours {
            return Err(self.is_another(&version, &kind));
        }
        if !object["metadata"].is_object() && (object["metadata"].is_null() || self.served.custom) {
            object["metadata"] = json!({});
        }
        self.is_here(object)?;
        if self.namespace.is_empty() {
            remove(&mut object["metadata"], "namespace");
        } else if object["metadata"].is_object() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        Ok(())
    }

    /// An object of another kind or version.
    fn is_another(&self, version: &str, kind: &str) -> Problem {
        let ours = &self.served.kind;
        let short = version.rsplit('/').next().unwrap_or_default();
        if self.served.custom {
            return status::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({})",
                self.served.api_version()
            ));
        }
        if schema::known(version, kind).is_some() {
            let package = match self.served.group.split('.').next().unwrap_or_default() {
                "" => "core",
                group => group,
            };
            return status::unconvertible(version, kind, package, ours);
        }
        status::bad_request(format!(
            "{kind} in version {short:?} cannot be handled as a {ours}: no kind {kind:?} is registered for version \
             {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ))
    }

    /// What is applied says what it is.
    fn identify_applied(&self, object: &mut Value) -> Result<(), Problem> {
        let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
        if kind != self.served.kind || version != self.served.api_version() {
            let version = if version.contains('/') { version } else { format!("/{version}") };
            return Err(status::bad_request(format!("invalid object type: {version}, Kind={kind}")));
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        self.is_here(object)?;
        if self.namespace.is_empty() {
            remove(&mut object["metadata"], "namespace");
        } else {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        Ok(())
    }

    /// Refuses an object of another namespace.
    fn is_here(&self, object: &Value) -> Result<(), Problem> {
        let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
        // What lives in no namespace loses the one that it says.
        if !given.is_empty() && given != self.namespace && !self.namespace.is_empty() {
            return Err(status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(())
    }

    /// Reads an object as its type; refuses values of other types.
    fn read(&self, world: &World, object: &mut Value) -> Result<Misfits, Problem> {
        let store = self.store(world)?;
        let schema = if self.served.custom { crd::schema(store, self.served) } else { None };
        let found = typed::read(self.served, schema, object);
        match &found.mistyped {
            Some(why) => Err(status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}",
                kind = self.served.kind,
                version = self.served.version,
            ))),
            None => Ok(found),
        }
    }

    /// Refuses unknown fields where one asked for it; `patched` is how the server tells what a patch led to.
    fn refuse(&self, misfits: &Misfits, patched: Option<&str>) -> Result<(), Problem> {
        let twice = self.twice.iter().map(|path| (path, format!("duplicate field \"{path}\"")));
        let unknown = misfits.unknown.iter().map(|path| (path, format!("unknown field \"{path}\"")));
        let mut told: Vec<(&String, String)> = twice.chain(unknown).collect();
        // Of custom kinds the server knows no order.
        if told.len() > 1 && !self.served.custom {
            let places = twice::places(self.text);
            told.sort_by_key(|(path, _)| places.get(*path).copied().unwrap_or_default());
        }
        let told: Vec<String> = told.into_iter().map(|(_, told)| told).collect();
        if told.is_empty() || self.unknown == Unknown::Dropped {
            return Ok(());
        }
        if self.unknown == Unknown::Told {
            self.warnings.borrow_mut().extend(told);
            return Ok(());
        }
        let strict = format!("strict decoding error: {}", told.join(", "));
        if let Some(echo) = patched {
            let wrong = status::invalid("patch", &json!(echo), &strict);
            return Err(status::invalid_as("", "", json!({}), &[wrong]));
        }
        let (kind, version) = (&self.served.kind, &self.served.version);
        Err(status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {strict}")))
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
        match self.served.table.as_str() {
            "persistentvolumeclaims" => defaults::protect(object, "kubernetes.io/pvc-protection"),
            "persistentvolumes" => defaults::protect(object, "kubernetes.io/pv-protection"),
            "volumeattributesclasses.storage.k8s.io" => defaults::protect(object, "kubernetes.io/vac-protection"),
            _ => {}
        }
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
        defaults::admit(object);
        Ok(())
    }

    /// Refuses an address for a Service that is another's, or none of the cluster's.
    fn address_is_free(&self, world: &World, name: &str, object: &Value) -> Result<(), Problem> {
        let given = object["spec"]["clusterIP"].as_str().unwrap_or_default();
        let Ok(std::net::IpAddr::V4(address)) = given.parse() else { return Ok(()) };
        let mut all = self.store(world)?.list("services").values();
        let why = if address.octets()[..2] != defaults::SERVICE_RANGE {
            "the provided network does not match the current range"
        } else if all.any(|other| other["spec"]["clusterIP"] == given) {
            "provided IP is already allocated"
        } else {
            return Ok(());
        };
        let why = format!("failed to allocate IP {given}: {why}");
        let wrong = status::invalid("spec.clusterIPs", &json!([given]), &why);
        Err(status::invalid_object(self.served, name, &[wrong]))
    }

    fn validate(&self, world: &World, old: Option<&Value>, object: &Value, name: &str) -> Result<(), Problem> {
        let mut wrong = match self.subresource {
            "status" | "approval" => validate::check_status(self.served, object),
            "ephemeralcontainers" | "finalize" => Vec::new(),
            _ => validate::check(self.served, old, &versions::as_stored(self.served, object)),
        };
        if self.served.custom
            && let Some(schema) = crd::schema(self.store(world)?, self.served)
        {
            crd::check_value(schema, object, "", &mut wrong);
            if wrong.is_empty() {
                crd::check_lists(schema, object, "", &mut wrong);
            }
            crd::check_scale(self.store(world)?, self.served, object, &mut wrong);
        }
        if wrong.is_empty() { Ok(()) } else { Err(status::invalid_object(self.served, name, &wrong)) }
    }
}

/// Bytes that etcd takes in one request, and of one message to it.
const STORED_MAX: usize = 3 << 19;
const SENT_MAX: usize = 2 << 20;

/// Refuses what etcd would not take. Notes of who owns what are given up for it, but not those of an apply.
fn fit(object: &mut Value, applied: bool) -> Result<(), Problem> {
    let mut bytes = written_len(object);
    if bytes > STORED_MAX && !applied {
        remove(&mut object["metadata"], "managedFields");
        bytes = written_len(object);
    }
    if bytes <= STORED_MAX {
        return Ok(());
    }
    if bytes <= SENT_MAX {
        return Err(status::unforeseen("etcdserver: request is too large"));
    }
    Err(status::unforeseen(format!(
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max ({bytes} vs. {SENT_MAX})"
    )))
}

/// Types that the definition of a custom kind makes; none of a built-in kind.
struct OwnTypes(Option<Schema>);

impl OwnTypes {
    fn shape(&self, object: &Value) -> Shape<'_> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        self.0.as_ref().map_or_else(|| schema::of(object), |own| own.kind(text("apiVersion"), text("kind")))
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

/// Refuses an object that has another name than the URL.
pub fn is_named(object: &Value, name: &str) -> Result<(), Problem> {
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if given.is_empty() && !name.is_empty() {
        return Err(status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if given != name {
        return Err(status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// Fills in what a write left out, which counts as written by the writer.
pub fn fill(world: &World, cluster: &str, served: &Served, object: &mut Value) {
    let Some(store) = world.store(cluster) else { return };
    defaults::fill(served, object);
    match served.table.as_str() {
        "jobs.batch" => fill_job(object),
        "cronjobs.batch" => object["spec"].get_mut("jobTemplate").into_iter().for_each(fill_conditions),
        _ => {}
    }
    if served.custom
        && let Some(schema) = crd::schema(store, served)
    {
        crd::fill_schema(schema, object);
    }
}

/// A Job without labels of its own has those of its pods.
fn fill_job(job: &mut Value) {
    let labels = job["spec"]["template"]["metadata"]["labels"].as_object().filter(|labels| !labels.is_empty());
    if let Some(labels) = labels.filter(|_| job::is_bare(job)).cloned() {
        job["metadata"]["labels"] = Value::Object(labels);
    }
    fill_conditions(job);
}

/// Conditions by which failures of pods are told apart are true ones, unless it is said otherwise.
fn fill_conditions(job: &mut Value) {
    let rules = job.pointer_mut("/spec/podFailurePolicy/rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        for condition in rule.get_mut("onPodConditions").and_then(Value::as_array_mut).into_iter().flatten() {
            if condition["status"].as_str().is_none_or(str::is_empty) {
                condition["status"] = json!("True");
            }
        }
    }
}

/// Adds what the server decides, which nobody wrote: addresses, the first status, what is established.
pub fn complete(world: &World, cluster: &str, served: &Served, object: &mut Value) {
    let Some(store) = world.store(cluster) else { return };
    if served.table == "services" {
        defaults::allocate(store, object);
    }
    if served.table == DEFINITIONS {
        let mut before = object.clone();
        crd::establish(object, &world.now_text());
        // Which versions are stored is nobody's.
        before["status"]["storedVersions"] = object["status"]["storedVersions"].clone();
        let shape = schema::of(&before);
        fields::note_update(shape, Some(&before), object, "kube-apiserver", "status", &world.now_text());
    }
    typed::settle(served, object);
    defaults::begin(served, object);
    let now = world.now_text();
    if served.table == "persistentvolumes" && object["status"]["lastPhaseTransitionTime"].is_null() {
        object["status"]["lastPhaseTransitionTime"] = json!(now);
    }
    if object["spec"]["schedulingGates"].as_array().is_some_and(|gates| served.table == "pods" && !gates.is_empty()) {
        let gated = json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null });
        pod::set_condition(object, &now, gated);
    }
}

/// Stores a new object with what makes it one; a namespace gets what every namespace has. `was_bare`: it came without
/// labels.
pub fn store_new(
    world: &mut World,
    cluster: &str,
    served: &Served,
    mut object: Value,
    was_bare: bool,
) -> Option<Value> {
    let now = world.now_text();
    object["metadata"]["uid"] = json!(world.uuid("object"));
    object["metadata"]["creationTimestamp"] = json!(now);
    if has_generation(served) {
        object["metadata"]["generation"] = json!(1);
    }
    if served.table == "jobs.batch" {
        job::select(&mut object, was_bare);
    }
    let object = versions::stored(served, object, None);
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

/// How often the template of a DaemonSet changed, in an annotation that nobody needs any more.
fn count_templates(old: &Value, new: &mut Value) {
    const COUNT: &str = "deprecated.daemonset.template.generation";
    let Some(before) = old["metadata"]["annotations"][COUNT].as_str().and_then(|count| count.parse::<i64>().ok())
    else {
        return;
    };
    let count = if new["spec"]["template"] == old["spec"]["template"] { before } else { before + 1 };
    if !new["metadata"]["annotations"].is_object() {
        new["metadata"]["annotations"] = json!({});
    }
    new["metadata"]["annotations"][COUNT] = json!(count.to_string());
}

/// Services keep the address and ports that they were given.
fn keep_addresses(old: &Value, new: &mut Value) {
    if !new["spec"].is_object() {
        return;
    }
    let kind = |service: &Value| service["spec"]["type"].as_str().unwrap_or_default().to_owned();
    let (was, is) = (kind(old), kind(new));
    let is_open = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    // What only the old type has goes, unless it was changed on purpose.
    if is_open(&was) && !is_open(&is) {
        remove_same(old, new, &["externalTrafficPolicy", "healthCheckNodePort"]);
        for (index, port) in new["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
            if port["nodePort"] == old["spec"]["ports"][index]["nodePort"] {
                remove(port, "nodePort");
            }
        }
    }
    if is == "ExternalName" {
        let own = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
        if was != "ExternalName" {
            remove_same(old, new, &own);
        }
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

/// Kinds that are made by a PUT where they are not there.
const MADE_BY_UPDATES: &[&str] = &[
    "endpoints",
    "events",
    "limitranges",
    "services",
    "leases.coordination.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "runtimeclasses.node.k8s.io",
];

/// Kinds of which a PUT must name the version that it replaces, besides the custom ones.
const NEEDING_VERSION: &[&str] = &[
    "leases.coordination.k8s.io",
    "poddisruptionbudgets.policy",
    "csistoragecapacities.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "runtimeclasses.node.k8s.io",
    "apiservices.apiregistration.k8s.io",
    DEFINITIONS,
];

fn needs_version(served: &Served) -> bool {
    served.custom || NEEDING_VERSION.contains(&served.table.as_str())
}

/// Kinds after whose names pods are named.
const NAMING_PODS: &[&str] = &["cronjobs.batch", "jobs.batch"];

/// Kinds whose objects count how often what they want changed, besides the custom ones.
const COUNTED: &[&str] = &[
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "endpointslices.discovery.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "deviceclasses.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
];
const COUNTED_GROUPS: &[&str] =
    &["apps", "batch", "networking.k8s.io", "policy", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"];

fn has_generation(served: &Served) -> bool {
    served.custom
        || COUNTED.contains(&served.table.as_str())
        || (COUNTED_GROUPS.contains(&served.group.as_str())
            && !matches!(served.plural.as_str(), "controllerrevisions" | "ipaddresses" | "servicecidrs"))
}

/// Takes away fields of a spec that are as they were.
fn remove_same(old: &Value, new: &mut Value, fields: &[&str]) {
    for field in fields {
        if old["spec"][*field] == new["spec"][*field] {
            remove(&mut new["spec"], field);
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
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dat: field not declared in schema";
        assert_eq!((code, problem["message"].as_str()), (500, Some(message)));
    }

    #[test]
    fn a_daemon_set_counts_changes_of_its_template_only() {
        let mut wire = Wire::new();
        let path = "/apis/apps/v1/namespaces/default/daemonsets";
        let set = |image: &str| {
            json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "a" }, "spec": {
                "selector": { "matchLabels": { "a": "b" } }, "template": { "metadata": { "labels": { "a": "b" } },
                    "spec": { "containers": [{ "name": "a", "image": image }] } } } })
        };
        assert_eq!(wire.post(path, set("i:1")).0, 201);
        for (image, count) in [("i:1", "1"), ("i:2", "2")] {
            let (_, after) = wire.put(&format!("{path}/a"), set(image));
            assert_eq!(after["metadata"]["annotations"]["deprecated.daemonset.template.generation"], count);
        }
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
    fn what_is_too_large_is_refused() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["metadata"]["annotations"] = json!({ "a": "x".repeat(256 << 10) });
        let (code, problem) = wire.post(MAPS, map);
        let why = "metadata.annotations: Too long: may not be more than 262144 bytes";
        assert_eq!((code, problem["message"].as_str().unwrap().split_once(": ").unwrap().1), (422, why));
        let mut map = config_map("a");
        map["data"] = json!({ "a": "x".repeat((1 << 20) + 1) });
        let (code, problem) = wire.post(MAPS, map);
        let why = "[]: Too long: may not be more than 1048576 bytes";
        assert_eq!((code, problem["message"].as_str().unwrap().split_once(": ").unwrap().1), (422, why));
        for (bytes, why) in
            [(3 << 19, "etcdserver: request is too large"), (5 << 19, "rpc error: code = ResourceExhausted")]
        {
            let mut large = pod("a");
            large["spec"]["containers"][0]["args"] = json!(["x".repeat(bytes)]);
            let (code, problem) = wire.post("/api/v1/namespaces/default/pods", large);
            assert!(code == 500 && problem["message"].as_str().unwrap().starts_with(why), "{}", problem["message"]);
        }
        let (code, problem) = wire.send(&format!("POST {MAPS}"), &[], &vec![b' '; super::super::BODY_MAX + 1]);
        let why = "Request entity too large: limit is 3145728";
        assert_eq!((code, problem["message"].as_str()), (413, Some(why)));
    }

    #[test]
    fn the_last_finalizer_takes_the_object_with_it_at_once() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["metadata"]["finalizers"] = json!(["x.io/hold"]);
        assert_eq!(wire.post(MAPS, map).0, 201);
        let (_, ending) = wire.delete(&format!("{MAPS}/a"));
        let since = ending["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let free = json!({ "metadata": { "finalizers": null } });
        assert_eq!(wire.patch(&format!("{MAPS}/a"), "application/merge-patch+json", free).0, 200);
        let (_, events) = wire.get(&format!("{MAPS}?watch=1&resourceVersion={since}"));
        let events: Vec<&str> = events.as_str().unwrap().lines().collect();
        assert!(events.len() == 1 && events[0].starts_with(r#"{"type":"DELETED""#), "{events:?}");
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
