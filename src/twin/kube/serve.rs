//! From a request to what answers it: who asks, what for, whether it is allowed, and who does it.

use http::Method;
use serde_json::{Value, json};

use super::authorize::{self, Wish};
use super::kinds::{self, Found, Served};
use super::list::{self, Selected};
use super::remove::{self, Options};
use super::request::{Ask, Place};
use super::store::{self, Store, key};
use super::table::{self, Sheet};
use super::watch::Watch;
use super::write::{Unknown, Write};
use super::{Answer, Caller, Problem, accept, discovery, evict, identify, log, revision, scale, status};
use crate::twin::physics::access::Identity;
use crate::twin::physics::pod::set_condition;
use crate::twin::physics::timer;
use crate::twin::world::World;

/// An answer.
pub struct Reply {
    /// The HTTP status.
    pub code: u16,
    /// Its content type.
    pub media: &'static str,
    /// Its body.
    pub answer: Answer,
    /// What it warns of.
    pub warnings: Vec<String>,
    /// After how long to try again.
    pub retry_after_seconds: Option<u64>,
}

impl Reply {
    /// JSON.
    pub fn json(code: u16, body: Vec<u8>) -> Reply {
        Reply::whole(code, "application/json", body)
    }

    fn whole(code: u16, media: &'static str, body: Vec<u8>) -> Reply {
        Reply { code, media, answer: Answer::Whole(body), warnings: Vec::new(), retry_after_seconds: None }
    }

    /// Why not.
    pub fn refusal(problem: &Problem) -> Reply {
        let seconds = problem.details["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0);
        Reply { retry_after_seconds: seconds, ..Reply::value(problem.code, &problem.status()) }
    }

    /// The same in YAML, where it is JSON.
    pub fn as_yaml(self) -> Reply {
        let Answer::Whole(body) = &self.answer else { return self };
        let is_json = self.media == "application/json";
        match serde_json::from_slice::<Value>(body).map(|value| serde_yaml::to_string(&value)) {
            Ok(Ok(text)) if is_json => {
                Reply { media: "application/yaml", answer: Answer::Whole(text.into_bytes()), ..self }
            }
            _ => self,
        }
    }

    fn value(code: u16, value: &Value) -> Reply {
        Reply::json(code, value.to_string().into_bytes())
    }

    /// Plain text.
    pub fn text(code: u16, text: &str) -> Reply {
        Reply::whole(code, "text/plain; charset=utf-8", text.as_bytes().to_vec())
    }
}

/// Kinds of which what they own stays, where nobody says otherwise.
const KEEPING: &[&str] = &["jobs.batch", "replicationcontrollers"];

/// Who asks for what.
struct Aim<'a> {
    cluster: &'a str,
    who: &'a Identity,
    served: &'a Served,
    place: &'a Place,
    verb: &'static str,
    /// Where the answer is to be a table.
    sheet: Option<Sheet>,
    /// The only name that a list or watch selects.
    selected: String,
}

/// Answers a request; nothing is settled yet.
pub fn serve(world: &mut World, cluster: &str, caller: Caller<'_>, ask: &Ask<'_>) -> Result<Reply, Problem> {
    let Some(store) = world.store(cluster) else {
        return Err(Problem {
            code: 503,
            reason: "ServiceUnavailable",
            message: format!("cluster {cluster} has no API server that answers"),
            details: Value::Null,
        });
    };
    let who = identify::identify(world, store, cluster, caller, ask)?;
    let found = ask.place().and_then(|place| {
        let served = kinds::find(store, &place.group, &place.version, &place.plural)?;
        Some((place, served))
    });
    let Some((place, served)) = found else { return beside(world, cluster, store, &who, ask) };
    let Some(place) = in_its_place(place, &served) else { return Ok(nowhere(ask)) };
    if let (true, Some(name), Some(part)) = (served.custom, &place.name, &place.subresource)
        && !served.has(part)
    {
        return Err(status::not_found(&served, name));
    }
    let verb = verb_of(ask, &place, &served)?;
    let sheet = table::sheet(store, world.now, &served, ask)?;
    let selected =
        ask.selected_name().filter(|_| matches!(verb, "list" | "watch" | "deletecollection")).unwrap_or_default();
    let aim = Aim { cluster, who: &who, served: &served, place: &place, verb, sheet, selected };
    aim.authorize(store)?;
    ask.acceptable(served.custom, verb == "watch")?;
    shown_as_it_is(ask, &served, verb)?;
    let reply = aim.serve(world, ask);
    match served.table.as_str() {
        "endpoints" => {
            Ok(warning(reply, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"))
        }
        "componentstatuses" => Ok(warning(reply, "v1 ComponentStatus is deprecated in v1.19+")),
        _ => reply,
    }
}

/// The body as an object of this kind, whatever version of it.
fn asked(ask: &Ask<'_>, kind: &str, package: &str) -> Result<Value, Problem> {
    let object = ask.object(kind)?;
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match text("kind") {
        "" => Ok(object),
        found if found == kind => Ok(object),
        found => Err(status::unconvertible(text("apiVersion"), found, package, kind)),
    }
}

/// An answer, or a refusal, that begins with this warning.
fn warning(reply: Result<Reply, Problem>, advice: &str) -> Reply {
    let mut reply = reply.unwrap_or_else(|problem| Reply::refusal(&problem));
    reply.warnings.insert(0, advice.to_owned());
    reply
}

/// Refuses one object as many, and many as one.
fn shown_as_it_is(ask: &Ask<'_>, served: &Served, verb: &str) -> Result<(), Problem> {
    let (wanted, found) = match verb {
        "list" | "deletecollection" if ask.wants("PartialObjectMetadata") => ("PartialObjectMetadata", "a list"),
        "get" if ask.wants("PartialObjectMetadataList") => ("PartialObjectMetadataList", "not a list"),
        _ => return Ok(()),
    };
    let package = match served.group.split('.').next().unwrap_or_default() {
        "" => "core",
        group => group,
    };
    let list = if verb == "get" { "" } else { "List" };
    let type_of = match served.custom {
        true => format!("*unstructured.Unstructured{list}"),
        false => format!("*{package}.{}{list}", served.kind),
    };
    Err(status::shown_otherwise(format!("you requested {wanted}, but the requested object is {found} ({type_of})")))
}

/// What is no object.
fn beside(world: &World, cluster: &str, store: &Store, who: &Identity, ask: &Ask<'_>) -> Result<Reply, Problem> {
    identify::may_get_path(store, who, ask)?;
    if discovery::is_health(&ask.path) {
        return Ok(Reply::text(200, "ok"));
    }
    let Some(answer) = discovery::answer(world, cluster, store, ask) else { return Ok(nowhere(ask)) };
    // The list of groups is told whatever is to be done with it.
    let is_groups = ask.path.len() == 1 && ask.path.first().is_some_and(|first| first == "apis");
    if ask.method != Method::GET && !is_groups {
        return Err(status::not_allowed());
    }
    match ask.path.first().map(String::as_str) {
        Some("version") if !accept::is_routed(ask.accept(), &["application/json"]) => {
            return Err(status::not_acceptable(&["application/json"]));
        }
        Some("version") | None => {}
        Some(_) => ask.acceptable(is_groups, false)?,
    }
    Ok(Reply { media: discovery::media(ask), ..Reply::value(200, &answer) })
}

/// A path that means nothing: below the groups that are served the API answers, elsewhere the web server does.
fn nowhere(ask: &Ask<'_>) -> Reply {
    let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
    let is_served = match path.as_slice() {
        ["api", ..] => true,
        ["apis", ""] | ["apis", "", ..] => false,
        ["apis", group, ..] => kinds::built_in().iter().any(|kind| kind.group == **group),
        _ => false,
    };
    if is_served {
        Reply::value(404, &status::no_such_path().status())
    } else {
        Reply::text(404, "404 page not found\n")
    }
}

/// The place, where a kind can have objects there.
fn in_its_place(place: Place, served: &Found) -> Option<Place> {
    let named_in_none = served.namespaced && place.namespace.is_none() && place.name.is_some();
    // What is asked and not stored has no names.
    let has_no_names = place.name.is_some() && !served.allows("get") && place.subresource.is_none();
    let is_misplaced = named_in_none || has_no_names || (!served.namespaced && place.namespace.is_some());
    let is_unknown = !served.custom && place.subresource.as_ref().is_some_and(|part| !served.has(part));
    (!is_misplaced && !is_unknown).then_some(place)
}

/// The verb of a request, where the kind and the place have it.
fn verb_of(ask: &Ask<'_>, place: &Place, served: &Served) -> Result<&'static str, Problem> {
    let named = place.name.is_some();
    let verb = match ask.method.as_str() {
        "GET" if named => "get",
        "GET" if ask.says("watch") => "watch",
        "GET" => "list",
        "POST" if named == place.subresource.is_some() => "create",
        "PUT" if named => "update",
        "PATCH" if named => "patch",
        "DELETE" if named && place.subresource.is_none() => "delete",
        "DELETE" if !named => "deletecollection",
        _ => return Err(status::not_allowed()),
    };
    let needs_place = matches!(verb, "create" | "deletecollection");
    let is_placed = !served.namespaced || place.namespace.is_some() || !needs_place;
    let allowed = match place.subresource.as_deref() {
        None => served.allows(verb) && is_placed,
        Some("eviction" | "binding" | "token") => verb == "create",
        Some("log") => verb == "get",
        Some("finalize") => verb == "update",
        Some(_) => matches!(verb, "get" | "update" | "patch"),
    };
    if allowed { Ok(verb) } else { Err(status::not_allowed()) }
}

impl Aim<'_> {
    fn name(&self) -> &str {
        self.place.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.place.namespace.as_deref().unwrap_or_default()
    }

    fn key(&self) -> String {
        key(self.place.namespace.as_deref(), self.name())
    }

    fn wish(&self) -> Wish<'_> {
        // A namespace counts as one of its own things.
        let namespace = if self.served.table == "namespaces" { self.name() } else { self.namespace() };
        Wish {
            verb: self.verb,
            group: &self.served.group,
            plural: &self.served.plural,
            subresource: self.place.subresource.as_deref().unwrap_or_default(),
            namespace,
            name: if self.name().is_empty() { self.selected.as_str() } else { self.name() },
        }
    }

    fn authorize(&self, store: &Store) -> Result<(), Problem> {
        authorize::check(store, self.who, self.served, &self.wish())
    }

    fn serve(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        self.name_is_possible()?;
        if let Some(subresource) = self.place.subresource.as_deref() {
            return self.part(world, ask, subresource);
        }
        match self.verb {
            "get" => self.get(world, ask),
            "list" => {
                let (sheet, namespace) = (self.sheet.as_ref(), self.place.namespace.as_deref());
                Ok(Reply::json(200, list::many(self.store(world)?, ask, self.served, sheet, namespace)?))
            }
            "create" if !self.served.allows("get") => self.review(world, ask),
            "create" => {
                let write = self.write(ask, "CreateOptions")?;
                let created = write.create(world, ask.object_of(self.served)?)?;
                self.written(ask, 201, write, &created)
            }
            "update" => self.update(world, ask),
            "patch" => self.patch(world, ask),
            "delete" => {
                let options = self.delete_options(ask)?;
                let gone = remove::delete(world, self.cluster, self.served, &self.key(), &options);
                let told = gone.map(|gone| remove::told(self.served, gone));
                // An object is shown as it is wanted, what became of it is a Status.
                let told = told.and_then(|told| match told["kind"] == "Status" {
                    true => Ok(Reply::value(200, &told)),
                    false => Ok(Reply::json(200, list::one(ask, self.served, self.sheet.as_ref(), &told)?)),
                });
                Ok(self.removed(&options, told))
            }
            "deletecollection" => self.delete_collection(world, ask),
            _ => self.watch(world, ask),
        }
    }

    /// Refuses names that would be paths.
    fn name_is_possible(&self) -> Result<(), Problem> {
        let name = self.name();
        let why = match name {
            "." | ".." => format!("may not be '{name}'"),
            name if name.contains('%') => "may not contain '%'".to_owned(),
            _ => return Ok(()),
        };
        Err(status::bad_request(format!("Name parameter invalid: {name:?}: {why}")))
    }

    fn store<'w>(&self, world: &'w World) -> Result<&'w Store, Problem> {
        world.store(self.cluster).ok_or_else(|| status::internal("the API server has stopped"))
    }

    fn object<'w>(&self, world: &'w World) -> Result<&'w Value, Problem> {
        let found = self.store(world)?.get(&self.served.table, &self.key());
        found.ok_or_else(|| status::not_found(self.served, self.name()))
    }

    fn watch(&self, world: &World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let namespace = self.place.namespace.as_deref();
        let watch = Watch::begin(self.store(world)?, self.cluster, ask, self.served, self.sheet.clone(), namespace)?;
        Ok(Reply {
            code: 200,
            media: "application/json",
            answer: Answer::Watch(Box::new(watch)),
            ..Reply::json(200, Vec::new())
        })
    }

    fn get(&self, world: &World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        revision::check_get(ask, self.store(world)?)?;
        Ok(Reply::json(200, list::one(ask, self.served, self.sheet.as_ref(), self.object(world)?)?))
    }

    fn write<'w>(&'w self, ask: &Ask<'w>, options: &str) -> Result<Write<'w>, Problem> {
        let manager = ask.manager();
        if manager.len() > 128 {
            let wrong = status::too_long("fieldManager", 128);
            return Err(status::invalid_as(&format!("{options}.meta.k8s.io"), "", json!({}), &[wrong]));
        }
        let odd = manager.char_indices().find(|(_, letter)| letter.is_control());
        if let Some((at, letter)) = odd {
            let why = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
            let wrong = status::invalid("fieldManager", &json!(manager), &why);
            return Err(status::invalid_as(&format!("{options}.meta.k8s.io"), "", json!({}), &[wrong]));
        }
        let unknown = match ask.param("fieldValidation") {
            "Strict" => Unknown::Refused,
            "" | "Warn" => Unknown::Told,
            "Ignore" => Unknown::Dropped,
            other => {
                let wrong = status::unsupported("fieldValidation", &json!(other), &["", "Ignore", "Strict", "Warn"]);
                return Err(status::invalid_as(&format!("{options}.meta.k8s.io"), "", json!({}), &[wrong]));
            }
        };
        Ok(Write {
            cluster: self.cluster,
            served: self.served,
            namespace: self.namespace(),
            subresource: self.place.subresource.as_deref().unwrap_or_default(),
            manager,
            dry_run: ask.is_dry_run(options)?,
            unknown,
            twice: if unknown == Unknown::Dropped { Vec::new() } else { ask.twice() },
            text: ask.body(),
            warnings: std::cell::RefCell::default(),
        })
    }

    fn update(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let write = self.write(ask, "UpdateOptions")?;
        let object = ask.object_of(self.served)?;
        let is_new = write.makes_what_is_missing() && !self.is_there(world)?;
        if is_new {
            self.may_create(world)?;
        }
        let updated = write.update(world, self.name(), object)?;
        self.written(ask, if is_new { 201 } else { 200 }, write, &updated)
    }

    /// What was written, with what the answer warns of.
    fn written(&self, ask: &Ask<'_>, code: u16, write: Write<'_>, object: &Value) -> Result<Reply, Problem> {
        let reply = Reply::json(code, list::one(ask, self.served, self.sheet.as_ref(), object)?);
        Ok(Reply { warnings: write.warnings.into_inner(), ..reply })
    }

    fn patch(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let write = self.write(ask, "PatchOptions")?;
        if ask.media() != "application/apply-patch+yaml" {
            if ask.says("force") {
                let wrong = status::forbidden_field("force", "may not be specified for non-apply patch");
                return Err(status::invalid_as("PatchOptions.meta.k8s.io", "", json!({}), &[wrong]));
            }
            let patched = write.patch(world, self.name(), ask)?;
            return self.written(ask, 200, write, &patched);
        }
        let is_new = !self.is_there(world)?;
        if is_new {
            self.may_create(world)?;
        }
        if ask.param("fieldManager").is_empty() {
            let wrong = status::required("fieldManager", "is required for apply patch");
            return Err(status::invalid_as("PatchOptions.meta.k8s.io", "", json!({}), &[wrong]));
        }
        let given = ask.applied()?;
        if let (Unknown::Refused, Some(path)) = (write.unknown, write.twice.first()) {
            let key = path.rsplit('.').next().unwrap_or_default();
            return Err(status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key \
                 {key:?} already set in map"
            )));
        }
        let applied = write.apply(world, self.name(), ask.says("force"), given)?;
        self.written(ask, if is_new { 201 } else { 200 }, write, &applied)
    }

    fn is_there(&self, world: &World) -> Result<bool, Problem> {
        Ok(self.store(world)?.get(&self.served.table, &self.key()).is_some())
    }

    /// What an apply or an update creates must be allowed to be created.
    fn may_create(&self, world: &World) -> Result<(), Problem> {
        let wish = Wish { verb: "create", ..self.wish() };
        authorize::check(self.store(world)?, self.who, self.served, &wish)
    }

    fn delete_options(&self, ask: &Ask<'_>) -> Result<Options, Problem> {
        let options = if ask.has_body() {
            Options::read(&ask.delete_options()?)?
        } else {
            let dry_run = ask.is_dry_run("DeleteOptions")?;
            let (grace, orphans) = (ask.param("gracePeriodSeconds"), ask.param("orphanDependents"));
            let mut options = Options::default();
            options.dry_run = dry_run;
            options.with_params(grace, ask.param("propagationPolicy"), orphans)?
        };
        Ok(if KEEPING.contains(&self.served.table.as_str()) { options.or_orphan() } else { options })
    }

    fn delete_collection(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let options = self.delete_options(ask)?;
        let selected = Selected::read(ask, self.served)?;
        // What was deleted is told to whoever watches from here on.
        let revision = self.store(world)?.revision().to_string();
        let all = store::within(self.store(world)?.list(&self.served.table), self.place.namespace.as_deref(), None);
        let keys: Vec<String> = all.filter(|(_, object)| selected.has(object)).map(|(key, _)| key.clone()).collect();
        let mut items = Vec::new();
        for key in keys {
            // They are told as they were.
            let Some(mut object) = self.store(world)?.get(&self.served.table, &key).cloned() else { continue };
            remove::delete(world, self.cluster, self.served, &key, &options)?;
            // Items of built-in kinds do not say what they are.
            if let Some(map) = object.as_object_mut().filter(|_| !self.served.custom) {
                map.remove("apiVersion");
                map.remove("kind");
            }
            items.push(object);
        }
        let kind = format!("{}List", self.served.kind);
        let mut told = json!({
            "kind": kind, "apiVersion": self.served.api_version(),
            "metadata": { "resourceVersion": revision }, "items": items,
        });
        if self.served.custom {
            told["metadata"]["continue"] = json!("");
        }
        Ok(self.removed(&options, Ok(Reply::value(200, &told))))
    }

    /// What a deletion tells.
    fn removed(&self, options: &Options, reply: Result<Reply, Problem>) -> Reply {
        let advice = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                      remove them or set propagationPolicy=Orphan to suppress this warning";
        if self.served.table == "jobs.batch" && options.orphans_by_default() {
            return warning(reply, advice);
        }
        reply.unwrap_or_else(|problem| Reply::refusal(&problem))
    }

    /// A part of an object.
    fn part(&self, world: &mut World, ask: &Ask<'_>, part: &str) -> Result<Reply, Problem> {
        match (part, self.verb) {
            ("status" | "approval" | "ephemeralcontainers", "get") => self.get(world, ask),
            ("status" | "approval" | "ephemeralcontainers", "update") => self.update(world, ask),
            ("status" | "approval" | "ephemeralcontainers", "patch") => self.patch(world, ask),
            ("finalize", _) => self.finalize(world, ask),
            ("scale", _) => self.scale(world, ask),
            ("log", _) => {
                log::check(self.name(), ask)?;
                Ok(Reply::text(200, &log::lines(world, self.object(world)?, ask)?))
            }
            ("eviction", _) => {
                let (namespace, dry_run) = (self.namespace(), ask.is_dry_run("CreateOptions")?);
                let eviction = asked(ask, "Eviction", "policy")?;
                let told = evict::evict(world, self.cluster, namespace, self.name(), &eviction, dry_run)?;
                Ok(Reply::value(201, &told))
            }
            ("binding", _) => self.bind(world, ask),
            ("token", _) => self.token(world, ask),
            _ => Err(status::not_simulated(&format!("the subresource {part} of {}", self.served.resource()))),
        }
    }

    fn finalize(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let object = ask.object(&self.served.kind)?;
        let updated = self.write(ask, "UpdateOptions")?.update(world, self.name(), object)?;
        Ok(Reply::json(200, list::one(ask, self.served, self.sheet.as_ref(), &updated)?))
    }

    fn scale(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let options = if self.verb == "patch" { "PatchOptions" } else { "UpdateOptions" };
        let mut write = self.write(ask, options)?;
        // Whoever scales owns the number of replicas as a part of the object.
        write.subresource = "";
        Ok(Reply::value(200, &scale::answer(world, write, self.verb, self.name(), ask)?))
    }

    fn bind(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let binding = ask.object(&self.served.kind)?;
        if binding["metadata"]["name"].as_str().unwrap_or_default() != self.name() {
            return Err(status::bad_request("name in URL does not match name in Binding object"));
        }
        let target = |field: &str| binding["target"][field].as_str().unwrap_or_default().to_owned();
        let (kind, node) = (target("kind"), target("name"));
        if !matches!(kind.as_str(), "" | "Node") {
            let why = format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
            return Err(status::unforeseen(why));
        }
        if node.is_empty() {
            return Err(status::unforeseen("target.name: Required value"));
        }
        let (pod, name) = (self.object(world)?, self.name());
        let placed = pod["spec"]["nodeName"].as_str().filter(|other| !other.is_empty());
        let refusal = match placed {
            _ if !pod["metadata"]["deletionTimestamp"].is_null() => {
                Some(format!("pod {name} is being deleted, cannot be assigned to a host"))
            }
            Some(other) => Some(format!("pod {name} is already assigned to node \"{other}\"")),
            None if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) => {
                Some(format!("pod {name} has non-empty .spec.schedulingGates"))
            }
            None => None,
        };
        if let Some(why) = refusal {
            let part = Served { plural: "pods/binding".to_owned(), ..self.served.clone() };
            return Err(status::conflict(&part, name, &why));
        }
        let (key, now) = (self.key(), world.now_text());
        let condition = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null });
        if let Some(store) = world.store_mut(self.cluster).filter(|_| !ask.is_dry_run("CreateOptions").unwrap_or(false))
        {
            store.change(&self.served.table, &key, |pod| {
                pod["spec"]["nodeName"] = json!(node);
                set_condition(pod, &now, condition);
            });
        }
        Ok(Reply::value(
            201,
            &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
        ))
    }

    fn token(&self, world: &mut World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        self.object(world)?;
        let mut request = ask.object(&self.served.kind)?;
        let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
        let why = match seconds {
            ..600 => Some("may not specify a duration less than 10 minutes"),
            4_294_967_297.. => Some("may not specify a duration larger than 2^32 seconds"),
            _ => None,
        };
        if let Some(why) = why {
            let wrong = status::invalid("spec.expirationSeconds", &json!(seconds), why);
            let about = json!({ "group": "authentication.k8s.io", "kind": "TokenRequest" });
            return Err(status::invalid_as("TokenRequest.authentication.k8s.io", "", about, &[wrong]));
        }
        self.bound_object(world, &request["spec"]["boundObjectRef"])?;
        let until = timer::after(world.now, seconds);
        let token = world.digits("token", 32);
        request["status"] = json!({ "token": token, "expirationTimestamp": crate::twin::world::moment::text(until) });
        Ok(Reply::value(201, &request))
    }

    /// What a token is to end with must be there.
    fn bound_object(&self, world: &World, bound: &Value) -> Result<(), Problem> {
        if !bound.is_object() {
            return Ok(());
        }
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let (plural, namespace) = match (text("apiVersion"), kind) {
            ("v1", "Pod") => ("pods", self.place.namespace.as_deref()),
            ("v1", "Secret") => ("secrets", self.place.namespace.as_deref()),
            ("v1", "Node") => ("nodes", None),
            (version, kind) => {
                let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
                let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(status::bad_request(why));
            }
        };
        let store = self.store(world)?;
        if store.get(plural, &key(namespace, name)).is_some() {
            return Ok(());
        }
        let found = kinds::find(store, "", "v1", plural);
        Err(found.map_or_else(status::no_such_path, |served| status::not_found(&served, name)))
    }

    /// A question that is answered and not stored.
    fn review(&self, world: &World, ask: &Ask<'_>) -> Result<Reply, Problem> {
        let package = self.served.group.split('.').next().unwrap_or_default();
        let mut asked = asked(ask, &self.served.kind, package)?;
        authorize::check_review(&self.served.plural, self.namespace(), &asked)?;
        let answer = match self.served.plural.as_str() {
            "selfsubjectreviews" => {
                let mut groups = self.who.groups.clone();
                if !groups.iter().any(|group| group == "system:authenticated") {
                    groups.push("system:authenticated".to_owned());
                }
                asked["status"] = json!({ "userInfo": { "username": self.who.username, "groups": groups } });
                asked
            }
            "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
                authorize::review(self.store(world)?, self.who, asked)
            }
            "selfsubjectrulesreviews" => authorize::rules(self.store(world)?, self.who, asked),
            other => return Err(status::not_simulated(other)),
        };
        Ok(Reply::value(201, &answer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, config_map, deployment, pod};
    use super::*;

    #[test]
    fn what_is_made_can_be_read_and_made_once_only() {
        let mut wire = Wire::new();
        let made = wire.config_map("a");
        assert_eq!(made["metadata"]["namespace"], "default");
        assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
        assert_eq!(wire.get(&format!("{MAPS}/a")), (200, made));
        let (code, problem) = wire.post(MAPS, config_map("a"));
        assert_eq!((code, problem["message"].as_str()), (409, Some("configmaps \"a\" already exists")));
        assert_eq!(problem["reason"], "AlreadyExists");
    }

    #[test]
    fn what_is_not_there_is_told_with_its_resource() {
        let mut wire = Wire::new();
        let rows = [
            ("/api/v1/namespaces/default/pods/x", "pods \"x\" not found"),
            ("/apis/apps/v1/namespaces/default/deployments/x", "deployments.apps \"x\" not found"),
        ];
        for (path, message) in rows {
            let (code, problem) = wire.get(path);
            assert_eq!((code, problem["message"].as_str()), (404, Some(message)));
        }
        let (code, text) = wire.get("/apis/nobody.io/v1/things/x");
        assert_eq!((code, text), (404, json!("404 page not found\n")));
        let (code, problem) = wire.post("/api/v1/namespaces/absent/configmaps", config_map("a"));
        assert_eq!((code, problem["message"].as_str()), (404, Some("namespaces \"absent\" not found")));
        assert_eq!(problem["details"]["kind"], "namespaces");
    }

    #[test]
    fn methods_and_types_that_do_not_fit_are_refused() {
        let mut wire = Wire::new();
        wire.config_map("a");
        assert_eq!(wire.post(&format!("{MAPS}/a"), config_map("a")).0, 405);
        assert_eq!(wire.post("/api/v1/configmaps", config_map("a")).0, 405);
        assert_eq!(wire.ask(&format!("GET {MAPS}/a"), &[("accept", "text/html")], None).0, 406);
        assert_eq!(wire.patch(&format!("{MAPS}/a"), "application/json", json!({})).0, 415);
        assert_eq!(wire.get(&format!("{MAPS}/a/status")).0, 404);
    }

    #[test]
    fn a_dry_run_stores_nothing() {
        let mut wire = Wire::new();
        let before = wire.world.store("prod").unwrap().revision();
        assert_eq!(wire.post(&format!("{MAPS}?dryRun=All"), config_map("a")).0, 201);
        assert_eq!(wire.get(&format!("{MAPS}/a")).0, 404);
        assert_eq!(wire.post(&format!("{MAPS}?dryRun=Some"), config_map("a")).0, 422);
        assert_eq!(wire.world.store("prod").unwrap().revision(), before);
    }

    #[test]
    fn a_dry_run_shows_the_generation_that_would_be() {
        let mut wire = Wire::new();
        wire.post("/apis/apps/v1/namespaces/default/deployments", deployment("web", 2));
        let path = "/apis/apps/v1/namespaces/default/deployments/web";
        let patch = |labels: bool| {
            if labels {
                json!({ "metadata": { "labels": { "a": "b" } } })
            } else {
                json!({ "spec": { "replicas": 3 } })
            }
        };
        for (labels, generation) in [(true, 1), (false, 2)] {
            let (_, shown) = wire.patch(&format!("{path}?dryRun=All"), "application/merge-patch+json", patch(labels));
            assert_eq!(shown["metadata"]["generation"], generation);
        }
        assert_eq!(wire.get(path).1["metadata"]["generation"], 1);
    }

    #[test]
    fn a_scale_is_a_part_of_a_deployment() {
        let mut wire = Wire::new();
        wire.post("/apis/apps/v1/namespaces/default/deployments", deployment("web", 2));
        let path = "/apis/apps/v1/namespaces/default/deployments/web/scale";
        let (_, mut scale) = wire.get(path);
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("app=web")));
        scale["spec"]["replicas"] = json!(5);
        assert_eq!(wire.put(path, scale).0, 200);
        let (_, web) = wire.get("/apis/apps/v1/namespaces/default/deployments/web");
        assert_eq!(web["spec"]["replicas"], 5);
        assert_eq!(web["metadata"]["generation"], 2);
    }

    #[test]
    fn a_pod_is_bound_once() {
        let mut wire = Wire::new();
        assert_eq!(wire.post("/api/v1/namespaces/default/pods", pod("a")).0, 201);
        let binding = |node: &str| json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "a" }, "target": { "name": node } });
        let path = "/api/v1/namespaces/default/pods/a/binding";
        assert_eq!(wire.post(path, binding("n1")).0, 201);
        let (code, problem) = wire.post(path, binding("n2"));
        assert_eq!(code, 409, "{problem}");
    }

    #[test]
    fn a_name_that_is_selected_is_a_name() {
        let ask = |query: &str| {
            let (parts, ()) = http::Request::get(format!("/api/v1/secrets?{query}")).body(()).unwrap().into_parts();
            crate::twin::kube::request::Ask::read(&parts, b"").selected_name()
        };
        assert_eq!(ask("fieldSelector=metadata.name%3Da").as_deref(), Some("a"));
        assert_eq!(ask("fieldSelector=type%3DOpaque,metadata.name%3D%3Da").as_deref(), Some("a"));
        assert_eq!(ask("fieldSelector=metadata.name!%3Da"), None);
    }

    #[test]
    fn what_is_no_scale_scales_nothing() {
        let mut wire = Wire::new();
        let path = "/apis/apps/v1/namespaces/default/deployments";
        assert_eq!(wire.post(path, deployment("web", 2)).0, 201);
        let scale = format!("PATCH {path}/web/scale");
        for (media, body, code) in [
            ("text/plain", "{}", 415),
            ("application/merge-patch+json", "5", 400),
            ("application/strategic-merge-patch+json", "[]", 400),
            ("application/merge-patch+json", r#"{"spec":5}"#, 400),
        ] {
            assert_eq!(wire.send(&scale, &[("content-type", media)], body.as_bytes()).0, code, "{media} {body}");
        }
        assert_eq!(wire.get(&format!("{path}/web")).1["spec"]["replicas"], 2);
    }

    #[test]
    fn a_job_leaves_its_pods_where_nobody_says_otherwise() {
        let mut wire = Wire::new();
        let path = "/apis/batch/v1/namespaces/default/jobs";
        let mut template = pod("a")["spec"].clone();
        template["restartPolicy"] = json!("Never");
        let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "a" },
            "spec": { "template": { "spec": template } } });
        assert_eq!(wire.post(path, job).0, 201);
        let (_, ending) = wire.delete(&format!("{path}/a?dryRun=All"));
        assert_eq!(ending["metadata"]["finalizers"], json!(["orphan"]), "{ending}");
        let (code, gone) = wire.delete(&format!("{path}/a?propagationPolicy=Background"));
        assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    }

    #[test]
    fn answers_are_written_as_the_client_wants() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let path = "GET /api/v1/namespaces/default/configmaps/a";
        let (code, text) = wire.ask(path, &[("accept", "application/yaml")], None);
        let yaml: Value = serde_yaml::from_str(text.as_str().unwrap()).unwrap();
        assert_eq!((code, &yaml["data"]), (200, &json!({ "a": "1" })));
        let (code, problem) = wire.ask(path, &[("accept", "text/html")], None);
        assert_eq!((code, &problem["reason"]), (406, &json!("NotAcceptable")));
    }

    #[test]
    fn one_asks_what_one_may() {
        let mut wire = Wire::new();
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
            "resourceAttributes": { "verb": "delete", "resource": "nodes" } } });
        let (code, answer) = wire.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review);
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(true)));
    }
}
