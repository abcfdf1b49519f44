//! Deletion and eviction: at once, or with a `deletionTimestamp` first.

use serde_json::{Value, json};

use super::kinds::{DEFINITIONS, Served};
use super::{Problem, status};
use crate::twin::physics::timer;
use crate::twin::world::{World, moment};

/// `DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    grace: Option<i64>,
    propagation: Option<String>,
    orphans: Option<bool>,
    uid: Option<String>,
    version: Option<String>,
    /// Whether its kind leaves what it owns alone, unless a finalizer of the object says otherwise.
    orphans_by_default: bool,
    /// Whether nothing is to be done.
    pub dry_run: bool,
}

impl Options {
    /// Of the body of a DELETE, or of an eviction.
    pub fn read(body: &Value) -> Result<Options, Problem> {
        let types = [
            ("gracePeriodSeconds", "int64"),
            ("orphanDependents", "bool"),
            ("propagationPolicy", "v1.DeletionPropagation"),
            ("preconditions", "v1.Preconditions"),
        ];
        for (field, wanted) in types {
            let fits = match (&body[field], wanted) {
                (Value::Null, _) => true,
                (value, "int64") => value.is_i64(),
                (value, "bool") => value.is_boolean(),
                (value, "v1.Preconditions") => value.is_object(),
                (value, _) => value.is_string(),
            };
            if !fits {
                let found = super::typed::json_type(&body[field]);
                let why = format!(
                    "json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {wanted}"
                );
                return Err(status::bad_request(why));
            }
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let options = Options {
            grace: body["gracePeriodSeconds"].as_i64(),
            propagation: text(&body["propagationPolicy"]),
            orphans: body["orphanDependents"].as_bool(),
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            orphans_by_default: false,
            dry_run: body["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
        };
        if body["dryRun"].as_array().into_iter().flatten().any(|one| one != "All") {
            return Err(refused(status::unsupported("dryRun", &body["dryRun"], &["All"])));
        }
        options.checked()
    }

    /// With the parameters of the URL, which count where there is no body.
    pub fn with_params(mut self, grace: &str, propagation: &str, orphans: &str) -> Result<Options, Problem> {
        if !grace.is_empty() {
            let seconds = grace.parse();
            let why = || status::bad_request(status::unparsed("ParseInt", grace));
            self.grace = Some(seconds.map_err(|_| why())?);
        }
        if !propagation.is_empty() {
            self.propagation = Some(propagation.to_owned());
        }
        if !orphans.is_empty() {
            self.orphans = Some(orphans == "true" || orphans == "1");
        }
        self.checked()
    }

    /// With what the object owns left alone, where nothing is said of it.
    pub fn or_orphan(mut self) -> Options {
        if self.policy().is_none() {
            self.orphans_by_default = true;
        }
        self
    }

    /// Whether what the object owns is left alone although nobody said so.
    pub fn orphans_by_default(&self) -> bool {
        self.orphans_by_default
    }

    /// Without the version that the object must have.
    pub fn forget_version(&mut self) {
        self.version = None;
    }

    fn checked(self) -> Result<Options, Problem> {
        let Some(policy) = self.propagation.as_deref() else { return Ok(self) };
        if self.orphans.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(refused(status::invalid("propagationPolicy", &json!(policy), why)));
        }
        if !["Foreground", "Background", "Orphan"].contains(&policy) {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            return Err(refused(status::unsupported("propagationPolicy", &json!(policy), &known)));
        }
        Ok(self)
    }

    /// What becomes of what the object owns: as it is said, in one of two ways.
    fn policy(&self) -> Option<&str> {
        match self.orphans {
            Some(true) => Some("Orphan"),
            Some(false) => Some("Background"),
            None => self.propagation.as_deref(),
        }
    }
}

fn refused(wrong: status::Wrong) -> Problem {
    status::invalid_as("DeleteOptions.meta.k8s.io", "", json!({}), &[wrong])
}

/// What became of an object.
pub enum Gone {
    /// It is not there any more.
    Now(Value),
    /// It ends, and this is how it looks meanwhile.
    Later(Value),
}

/// Namespaces that every cluster keeps.
const KEPT: &[&str] = &["default", "kube-system", "kube-public"];

/// Deletes an object as a DELETE does.
pub fn delete(
    world: &mut World,
    cluster: &str,
    served: &Served,
    key: &str,
    options: &Options,
) -> Result<Gone, Problem> {
    let name = key.rsplit_once('/').filter(|_| served.namespaced).map_or(key, |(_, name)| name);
    let found = world.store(cluster).and_then(|store| store.get(&served.table, key));
    let Some(object) = found.cloned() else { return Err(status::not_found(served, name)) };
    preconditions(served, name, &object, options)?;
    if served.table == "namespaces" && KEPT.contains(&name) {
        return Err(status::forbidden(served, name, "this namespace may not be deleted"));
    }
    let grace = grace_of(served, &object, options);
    let ended = ending(world, served, &object, options, grace);
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let waits = !none(&ended["metadata"]["finalizers"])
        || grace > 0
        || (served.table == "namespaces" && !none(&ended["spec"]["finalizers"]));
    if options.dry_run {
        return Ok(match (waits, served.table.as_str()) {
            (true, _) => Gone::Later(ended),
            (false, "pods") => Gone::Now(ended),
            (false, _) => Gone::Now(object),
        });
    }
    if !waits && served.table == "pods" {
        // A pod ends gracefully, even if in no time.
        if let Some(store) = world.store_mut(cluster) {
            store.remove(&served.table, key);
        }
        world.forget(&format!("kube/{}", served.table), &format!("{cluster}/{key}"));
        return Ok(Gone::Now(ended));
    }
    if waits {
        let stored = world.store_mut(cluster).and_then(|store| store.update(&served.table, ended).cloned());
        return Ok(Gone::Later(stored.unwrap_or(object)));
    }
    if let Some(store) = world.store_mut(cluster) {
        store.remove(&served.table, key);
    }
    world.forget(&format!("kube/{}", served.table), &format!("{cluster}/{key}"));
    if served.table == DEFINITIONS {
        without_instances(world, cluster, key);
    }
    Ok(Gone::Now(object))
}

/// Refuses the deletion of what is not there, or not as it has to be.
pub fn check(world: &World, cluster: &str, served: &Served, key: &str, options: &Options) -> Result<(), Problem> {
    let name = key.rsplit_once('/').filter(|_| served.namespaced).map_or(key, |(_, name)| name);
    match world.store(cluster).and_then(|store| store.get(&served.table, key)) {
        Some(object) => preconditions(served, name, object, options),
        None => Err(status::not_found(served, name)),
    }
}

fn preconditions(served: &Served, name: &str, object: &Value, options: &Options) -> Result<(), Problem> {
    let metadata = &object["metadata"];
    let (uid, version) = (text_of(&metadata["uid"]), text_of(&metadata["resourceVersion"]));
    let why = if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        )
    } else if let Some(wanted) = options.version.as_deref().filter(|wanted| *wanted != version) {
        format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        )
    } else {
        return Ok(());
    };
    // Here the server names the kind, not the resource.
    let mut problem = status::conflict(served, name, &why);
    problem.message = problem.message.replacen(&served.resource(), &served.qualified_kind(), 1);
    problem.details["kind"] = json!(served.kind);
    Err(problem)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The seconds that an object may take to end: pods that run somewhere have some.
fn grace_of(served: &Served, object: &Value, options: &Options) -> i64 {
    let is_placed = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let is_done = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if served.table != "pods" || !is_placed || is_done {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    // Less than nothing is a second.
    let wanted = |seconds: i64| if seconds < 0 { 1 } else { seconds };
    match (object["metadata"]["deletionGracePeriodSeconds"].as_i64(), options.grace) {
        // An end that was already ordered can be brought forward only, and not without being asked for.
        (Some(before), Some(grace)) => before.min(wanted(grace)),
        (Some(before), None) => before,
        (None, grace) => wanted(grace.unwrap_or(own)),
    }
}

/// The object on its way out.
fn ending(world: &World, served: &Served, object: &Value, options: &Options, grace: i64) -> Value {
    let mut object = object.clone();
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
    let collects = |one: &Value| one == "orphan" || one == "foregroundDeletion";
    let policy = match options.policy() {
        None if options.orphans_by_default && !finalizers.iter().any(collects) => Some("Orphan"),
        policy => policy,
    };
    finalizers.retain(|one| policy.is_none() || !collects(one));
    match policy {
        Some("Foreground") => finalizers.push(json!("foregroundDeletion")),
        Some("Orphan") => finalizers.push(json!("orphan")),
        _ => {}
    }
    if finalizers.is_empty() {
        if let Some(map) = metadata.as_object_mut() {
            map.remove("finalizers");
        }
    } else {
        metadata["finalizers"] = Value::Array(finalizers);
    }
    let is_shorter = metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|before| grace < before);
    if metadata["deletionTimestamp"].is_null() || is_shorter {
        metadata["deletionTimestamp"] = json!(moment::text(timer::after(ordered(world, metadata), grace)));
        if served.table != "namespaces" {
            metadata["deletionGracePeriodSeconds"] = json!(grace);
        }
        if let Some(generation) = metadata["generation"].as_i64().filter(|_| !is_shorter) {
            metadata["generation"] = json!(generation + 1);
        }
    }
    if served.table == "namespaces" {
        object["status"]["phase"] = json!("Terminating");
    }
    object
}

/// When the end of an object was ordered: now, unless it was before.
fn ordered(world: &World, metadata: &Value) -> jiff::Timestamp {
    let until: Option<jiff::Timestamp> = text_of(&metadata["deletionTimestamp"]).parse().ok();
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    until.and_then(|until| until.checked_sub(jiff::SignedDuration::from_secs(grace)).ok()).unwrap_or(world.now)
}

/// Objects of a kind that is not defined any more go with it.
fn without_instances(world: &mut World, cluster: &str, table: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    let keys: Vec<String> = store.list(table).keys().cloned().collect();
    for key in keys {
        store.remove(table, &key);
    }
}

/// The answer to a DELETE.
pub fn told(served: &Served, gone: Gone) -> Value {
    let shows = matches!(
        served.table.as_str(),
        "pods"
            | "services"
            | "persistentvolumeclaims"
            | "persistentvolumes"
            | "serviceaccounts"
            | "resourcequotas"
            | "storageclasses.storage.k8s.io"
            | "csidrivers.storage.k8s.io"
            | "csinodes.storage.k8s.io"
            | "volumeattachments.storage.k8s.io"
            | "podtemplates"
            | "resourceclaims.resource.k8s.io"
            | "resourceclaimtemplates.resource.k8s.io"
            | "deviceclasses.resource.k8s.io"
            | "resourceslices.resource.k8s.io"
            | "volumeattributesclasses.storage.k8s.io"
    );
    match gone {
        Gone::Later(object) => object,
        Gone::Now(object) if shows => object,
        Gone::Now(object) => {
            let metadata = &object["metadata"];
            let mut details = json!({ "name": metadata["name"], "kind": served.plural, "uid": metadata["uid"] });
            if !served.group.is_empty() {
                details["group"] = json!(served.group);
            }
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, config_map, pod};
    use serde_json::json;

    const PODS: &str = "/api/v1/namespaces/default/pods";

    /// A pod that runs on a node, without anybody who would end it.
    fn running(wire: &mut Wire, name: &str) {
        wire.post(PODS, pod(name));
        let store = wire.world.store_mut("prod").unwrap();
        store.change("pods", &format!("default/{name}"), |pod| {
            pod["spec"]["nodeName"] = json!("n1");
            pod["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        });
    }

    #[test]
    fn what_nobody_holds_goes_at_once() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let (code, told) = wire.delete(&format!("{MAPS}/a"));
        assert_eq!((code, &told["status"], &told["details"]["name"]), (200, &json!("Success"), &json!("a")));
        assert_eq!(wire.delete(&format!("{MAPS}/a")).0, 404);
        wire.post(PODS, pod("a"));
        assert_eq!(wire.delete(&format!("{PODS}/a")).1["kind"], "Pod");
        assert_eq!(wire.get(&format!("{PODS}/a")).0, 404);
    }

    #[test]
    fn a_finalizer_holds_until_it_is_taken_away() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["metadata"]["finalizers"] = json!(["ekskit.dev/hold"]);
        wire.post(MAPS, map);
        let (_, mut ending) = wire.delete(&format!("{MAPS}/a"));
        assert!(ending["metadata"]["deletionTimestamp"].is_string());
        ending["metadata"]["finalizers"] = json!([]);
        assert_eq!(wire.put(&format!("{MAPS}/a"), ending).0, 200);
        assert_eq!(wire.get(&format!("{MAPS}/a")).0, 404);
    }

    #[test]
    fn a_pod_on_a_node_gets_its_grace() {
        let mut wire = Wire::new();
        running(&mut wire, "a");
        let (_, ending) = wire.delete(&format!("{PODS}/a"));
        assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(wire.get(&format!("{PODS}/a")).0, 200);
        wire.delete(&format!("{PODS}/a?gracePeriodSeconds=0"));
        assert_eq!(wire.get(&format!("{PODS}/a")).0, 404);
    }

    #[test]
    fn a_shorter_end_counts_from_when_it_was_ordered() {
        let mut wire = Wire::new();
        running(&mut wire, "a");
        let end = |ending: &serde_json::Value| -> jiff::Timestamp {
            ending["metadata"]["deletionTimestamp"].as_str().unwrap().parse().unwrap()
        };
        let (_, first) = wire.delete(&format!("{PODS}/a"));
        wire.world.now += jiff::SignedDuration::from_secs(7);
        let (_, second) = wire.delete(&format!("{PODS}/a?gracePeriodSeconds=10"));
        assert_eq!(second["metadata"]["deletionGracePeriodSeconds"], 10);
        assert_eq!(end(&first).as_second() - end(&second).as_second(), 20);
        let (_, longer) = wire.delete(&format!("{PODS}/a?gracePeriodSeconds=60"));
        assert_eq!(longer["metadata"]["deletionTimestamp"], second["metadata"]["deletionTimestamp"]);
    }

    #[test]
    fn a_precondition_that_does_not_hold_keeps_the_object() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": "other" } });
        let (code, problem) =
            wire.ask(&format!("DELETE {MAPS}/a"), &[("content-type", "application/json")], Some(&options));
        assert_eq!((code, &problem["reason"]), (409, &json!("Conflict")));
        assert!(
            problem["message"]
                .as_str()
                .unwrap()
                .contains("the UID in the precondition (other) does not match the UID in record")
        );
    }

    #[test]
    fn foreground_waits_for_what_is_owned() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let options = json!({ "propagationPolicy": "Foreground" });
        let (_, ending) = wire.ask(&format!("DELETE {MAPS}/a"), &[], Some(&options));
        assert!(
            ending["kind"] == "Status" || ending["metadata"]["finalizers"] == json!(["foregroundDeletion"]),
            "{ending}"
        );
    }

    #[test]
    fn a_namespace_ends_and_takes_nothing_new() {
        let mut wire = Wire::new();
        let team = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
        wire.post("/api/v1/namespaces", team);
        let (_, ending) = wire.delete("/api/v1/namespaces/team");
        assert_eq!(ending["status"]["phase"], "Terminating");
        let store = wire.world.store_mut("prod").unwrap();
        if store.get("namespaces", "team").is_none() {
            return;
        }
        let (code, problem) = wire.post("/api/v1/namespaces/team/configmaps", config_map("a"));
        assert_eq!((code, &problem["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
        let (code, problem) = wire.delete("/api/v1/namespaces/kube-system");
        assert!(code == 403 && problem["message"].as_str().unwrap().ends_with("this namespace may not be deleted"));
    }

    #[test]
    fn a_collection_goes_by_its_selector() {
        let mut wire = Wire::new();
        for (name, app) in [("a", "x"), ("b", "y")] {
            let mut map = config_map(name);
            map["metadata"]["labels"] = json!({ "app": app });
            wire.post(MAPS, map);
        }
        assert_eq!(wire.delete(&format!("{MAPS}?labelSelector=app%3Dx")).0, 200);
        assert_eq!((wire.get(&format!("{MAPS}/a")).0, wire.get(&format!("{MAPS}/b")).0), (404, 200));
    }
}
