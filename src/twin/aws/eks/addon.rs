//! Managed add-ons: what EKS installs and keeps, and whether it is well.

use serde_json::{Value, json};

use super::update::{self, Of};
use super::{bootstrap, check_role, cluster_of, in_use, invalid, merge, not_found, pod_identity, running_cluster};
use super::{settings, tags_of};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, text, texts};
use crate::twin::kube;
use crate::twin::kube::store::key_of;
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("eks::create_addon", create_addon),
    ("eks::delete_addon", delete_addon),
    ("eks::describe_addon", describe_addon),
    ("eks::describe_addon_configuration", describe_addon_configuration),
    ("eks::describe_addon_versions", describe_addon_versions),
    ("eks::list_addons", list_addons),
    ("eks::update_addon", update_addon),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(TABLE, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[Controller {
    name: "add-on health",
    watches: &["kube/daemonsets.apps", "kube/deployments.apps", TABLE],
    run: watch_health,
}];

const TABLE: &str = "eks/addons";

fn key(cluster: &str, name: &str) -> String {
    format!("{cluster}/{name}")
}

fn addon_of<'w>(world: &'w World, input: &Value) -> Result<&'w Value, Refusal> {
    let (cluster, name) = (text(input, "cluster_name"), text(input, "addon_name"));
    cluster_of(world, cluster)?;
    match world.find(TABLE, &key(cluster, name)) {
        Some(addon) => Ok(addon),
        None => not_found(format!("No addon: {name} found in cluster: {cluster}")),
    }
}

// ---- versions

/// Whether a version of an add-on fits a Kubernetes version, and how.
fn fit<'v>(version: &'v Value, kubernetes: &str) -> Option<&'v Value> {
    version["compatibilities"].as_array()?.iter().find(|fit| fit["cluster_version"] == kubernetes)
}

/// The version of an add-on that EKS takes by default.
pub(super) fn default_version(world: &World, addon: &str, kubernetes: &str) -> Option<String> {
    let versions = world.find("eks/addon_versions", addon)?["addon_versions"].as_array()?;
    let usual = versions.iter().find(|one| fit(one, kubernetes).is_some_and(|fit| fit["default_version"] == true));
    usual.map(|one| text(one, "addon_version").to_owned())
}

/// The version that an input asks for, the default where it names none.
fn chosen_version(world: &World, input: &Value, kubernetes: &str) -> Result<String, Refusal> {
    let name = text(input, "addon_name");
    let versions = world.find("eks/addon_versions", name).map(|addon| addon["addon_versions"].clone());
    let versions = versions.and_then(|versions| versions.as_array().cloned()).unwrap_or_default();
    if !versions.iter().any(|version| fit(version, kubernetes).is_some()) {
        return invalid(format!("Addon {name} specified is not supported in {kubernetes} kubernetes version"));
    }
    let chosen = match input["addon_version"].as_str() {
        Some(asked) => {
            let found = versions.iter().find(|one| one["addon_version"] == asked);
            found.and_then(|found| fit(found, kubernetes)).map(|_| asked.to_owned())
        }
        None => default_version(world, name, kubernetes),
    };
    chosen.map_or_else(|| invalid("Addon version specified is not supported"), Ok)
}

fn describe_addon_versions(world: &mut World, input: &Value) -> Answer {
    let among = |filter: &Value, value: &Value| {
        let wanted = texts(filter);
        wanted.is_empty() || value.as_str().is_some_and(|value| wanted.contains(&value))
    };
    let kubernetes = input["kubernetes_version"].as_str();
    let mut shown = Vec::new();
    for addon in world.table("eks/addon_versions").values() {
        let is_named = input["addon_name"].is_null() || input["addon_name"] == addon["addon_name"];
        let is_of_kind = [("types", "type"), ("publishers", "publisher"), ("owners", "owner")];
        if !is_named || !is_of_kind.iter().all(|(filter, field)| among(&input[*filter], &addon[*field])) {
            continue;
        }
        let mut addon = addon.clone();
        if let (Some(kubernetes), Some(versions)) = (kubernetes, addon["addon_versions"].as_array_mut()) {
            versions.retain(|version| fit(version, kubernetes).is_some());
            for version in versions {
                version["compatibilities"] = json!([fit(version, kubernetes)]);
            }
        }
        if addon["addon_versions"].as_array().is_some_and(|versions| !versions.is_empty()) {
            shown.push(addon);
        }
    }
    Ok(json!({ "addons": shown }))
}

fn describe_addon_configuration(world: &mut World, input: &Value) -> Answer {
    let (name, version) = (text(input, "addon_name"), text(input, "addon_version"));
    let versions = world.find("eks/addon_versions", name).map(|addon| addon["addon_versions"].clone());
    let is_known = |one: &Value| one["addon_version"] == version;
    if !versions.as_ref().and_then(Value::as_array).is_some_and(|versions| versions.iter().any(is_known)) {
        return not_found(format!("No addon configuration found for {name} {version}"));
    }
    let schema = settings::schema(name).to_string();
    Ok(json!({ "addon_name": name, "addon_version": version, "configuration_schema": schema }))
}

// ---- made, changed, deleted

fn create_addon(world: &mut World, input: &Value) -> Answer {
    let cluster = running_cluster(world, input)?;
    let (cluster_name, name) = (text(input, "cluster_name"), text(input, "addon_name"));
    let key = key(cluster_name, name);
    if world.find(TABLE, &key).is_some() {
        return in_use("Addon already exists.");
    }
    let version = chosen_version(world, input, text(&cluster, "version"))?;
    check_settings(world, &cluster, name, &version, input)?;
    check_roles(world, input)?;
    let id = world.uuid("addon");
    let arn = world.arn("eks", &format!("addon/{cluster_name}/{name}/{id}"));
    let facts = world.find("eks/addon_versions", name).cloned().unwrap_or_default();
    let mut addon = json!({
        "addon_name": name, "cluster_name": cluster_name, "status": "CREATING", "addon_version": version,
        "health": { "issues": [] }, "addon_arn": arn, "created_at": world.now_text(), "modified_at": world.now_text(),
        "tags": tags_of(input), "publisher": facts["publisher"], "owner": facts["owner"],
        "namespace_config": { "namespace": facts["default_namespace"] },
        "_conflicts": input["resolve_conflicts"].as_str().unwrap_or("NONE"),
    });
    for optional in ["service_account_role_arn", "configuration_values"] {
        if !input[optional].is_null() {
            addon[optional] = input[optional].clone();
        }
    }
    addon["pod_identity_associations"] = associate(world, &addon, input)?;
    world.put(TABLE, &key, addon.clone());
    world.begin(TABLE, &key, "INSTALLED");
    Ok(json!({ "addon": addon }))
}

fn check_settings(world: &World, cluster: &Value, name: &str, version: &str, input: &Value) -> Result<(), Refusal> {
    match input["configuration_values"].as_str() {
        Some(text) => {
            let objects = bootstrap::addon_objects(world, cluster, name, version);
            settings::read(name, text, &objects).map(drop)
        }
        None => Ok(()),
    }
}

fn check_roles(world: &World, input: &Value) -> Result<(), Refusal> {
    for association in input["pod_identity_associations"].as_array().into_iter().flatten() {
        check_role(world, text(association, "role_arn"), "pods.eks.amazonaws.com")?;
    }
    match input["service_account_role_arn"].as_str() {
        Some(arn) if !world.table("iam/roles").values().any(|role| role["arn"] == arn) => {
            invalid(format!("Role provided in the request does not exist: {arn}"))
        }
        _ => Ok(()),
    }
}

/// Makes the associations that an input asks for, and answers their ARNs.
fn associate(world: &mut World, addon: &Value, input: &Value) -> Answer {
    let mut arns = Vec::new();
    for asked in input["pod_identity_associations"].as_array().into_iter().flatten() {
        let mut asked = asked.clone();
        let place =
            json!({ "cluster_name": addon["cluster_name"], "namespace": addon["namespace_config"]["namespace"] });
        merge(&mut asked, &place);
        let made = pod_identity::associate(world, &asked, addon["addon_arn"].as_str())?;
        arns.push(made["association_arn"].clone());
    }
    Ok(Value::Array(arns))
}

fn describe_addon(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "addon": addon_of(world, input)? }))
}

fn list_addons(world: &mut World, input: &Value) -> Answer {
    let cluster = text(input, "cluster_name");
    cluster_of(world, cluster)?;
    let addons = world.table(TABLE).values().filter(|addon| addon["cluster_name"] == cluster);
    let names: Vec<&str> = addons.map(|addon| text(addon, "addon_name")).collect();
    Ok(json!({ "addons": names }))
}

fn update_addon(world: &mut World, input: &Value) -> Answer {
    let addon = addon_of(world, input)?.clone();
    let cluster = running_cluster(world, input)?;
    let (cluster_name, name) = (text(input, "cluster_name"), text(input, "addon_name"));
    check_changeable(world, &addon, "UpdateAddon")?;
    let mut asked = json!({});
    if !input["addon_version"].is_null() {
        asked["addon_version"] = json!(chosen_version(world, input, text(&cluster, "version"))?);
    }
    let version = asked["addon_version"].as_str().unwrap_or(text(&addon, "addon_version"));
    check_settings(world, &cluster, name, version, input)?;
    check_roles(world, input)?;
    let mut params = Vec::new();
    let fields = [
        ("addon_version", "AddonVersion"),
        ("service_account_role_arn", "ServiceAccountRoleArn"),
        ("configuration_values", "ConfigurationValues"),
        ("resolve_conflicts", "ResolveConflicts"),
    ];
    for (field, param) in fields {
        if let Some(value) = input[field].as_str() {
            params.push((param, value.to_owned()));
            asked[field] = json!(value);
        }
    }
    if input["pod_identity_associations"].is_array() {
        pod_identity::remove_owned(world, text(&addon, "addon_arn"));
        asked["pod_identity_associations"] = associate(world, &addon, input)?;
    }
    let mode = input["resolve_conflicts"].as_str().unwrap_or("NONE");
    let update = update::begin(world, cluster_name, Of::Addon(name), "AddonUpdate", &params);
    let key = key(cluster_name, name);
    world.forget(TABLE, &key);
    if let (Some(addon), Some(fields)) = (world.find_mut(TABLE, &key), asked.as_object_mut()) {
        fields.remove("resolve_conflicts");
        merge(addon, &json!({ "status": "UPDATING", "_asked": asked, "_conflicts": mode }));
    }
    world.begin(TABLE, &key, "UPDATED");
    Ok(json!({ "update": update }))
}

fn check_changeable(world: &World, addon: &Value, operation: &str) -> Result<(), Refusal> {
    let (cluster, name, status) = (text(addon, "cluster_name"), text(addon, "addon_name"), text(addon, "status"));
    if matches!(status, "CREATING" | "DELETING") {
        return in_use(format!("Addon {name} cannot be updated as it is currently in {status} state"));
    }
    update::check_idle(world, cluster, Of::Addon(name), operation)
}

fn delete_addon(world: &mut World, input: &Value) -> Answer {
    let addon = addon_of(world, input)?;
    if addon["status"] == "DELETING" {
        return Ok(json!({ "addon": addon }));
    }
    let key = key(text(input, "cluster_name"), text(input, "addon_name"));
    let preserve = input["preserve"] == true;
    world.forget(TABLE, &key);
    if let Some(addon) = world.find_mut(TABLE, &key) {
        merge(addon, &json!({ "status": "DELETING", "_preserve": preserve }));
    }
    world.begin(TABLE, &key, "DELETED");
    describe_addon(world, input)
}

// ---- what comes of it

fn arrive(world: &mut World, key: &str, to: &str) {
    match to {
        "INSTALLED" => installed(world, key),
        "UPDATED" => updated(world, key),
        "ACTIVE" => judged(world, key, true),
        "DEGRADED" => judged(world, key, false),
        _ => deleted(world, key),
    }
}

/// The objects of an add-on with its settings.
fn objects_of(world: &World, addon: &Value) -> Vec<Value> {
    let Some(cluster) = world.find("eks/clusters", text(addon, "cluster_name")) else { return Vec::new() };
    let name = text(addon, "addon_name");
    let mut objects = bootstrap::addon_objects(world, cluster, name, text(addon, "addon_version"));
    if let Some(asked) = addon["configuration_values"].as_str()
        && let Ok(asked) = settings::read(name, asked, &objects)
    {
        settings::apply(name, &asked, &mut objects);
    }
    if let Some(role) = addon["service_account_role_arn"].as_str() {
        for account in objects.iter_mut().filter(|object| object["kind"] == "ServiceAccount") {
            account["metadata"]["annotations"] = json!({ "eks.amazonaws.com/role-arn": role });
        }
    }
    objects
}

fn installed(world: &mut World, key: &str) {
    let Some(addon) = world.find(TABLE, key).cloned() else { return };
    let objects = objects_of(world, &addon);
    if addon["_conflicts"] != "OVERWRITE"
        && let Some(stranger) = stranger(world, &addon, &objects)
    {
        let issue = conflict(&stranger);
        if let Some(addon) = world.find_mut(TABLE, key) {
            merge(addon, &json!({ "status": "CREATE_FAILED", "health": { "issues": [issue] } }));
        }
        return;
    }
    let workloads = workloads(&objects);
    let problem = install(world, &addon, objects, "OVERWRITE").err();
    if let Some(addon) = world.find_mut(TABLE, key) {
        addon["_workloads"] = workloads;
        addon["_installed"] = json!(true);
        if let Some(problem) = problem {
            let issue = json!({ "code": "InternalFailure", "message": problem, "resource_ids": [] });
            merge(addon, &json!({ "status": "CREATE_FAILED", "health": { "issues": [issue] } }));
        }
    }
}

/// A workload that somebody else installed under the same name.
fn stranger(world: &World, addon: &Value, objects: &[Value]) -> Option<String> {
    if world.is_off("add-on conflicts") {
        return None;
    }
    let store = world.store(text(addon, "cluster_name"))?;
    let workloads = objects.iter().filter(|object| matches!(text(object, "kind"), "DaemonSet" | "Deployment"));
    let mut present = workloads.filter(|object| store.get(&bootstrap::kind_of(object), &key_of(object)).is_some());
    let object = present.next()?;
    let container = text(&object["spec"]["template"]["spec"]["containers"][0], "name").to_owned();
    let (kind, name) = (text(object, "kind"), text(&object["metadata"], "name"));
    Some(format!("{kind}.apps {name} - .spec.template.spec.containers[name=\"{container}\"].image"))
}

fn conflict(what: &str) -> Value {
    let head = "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. Conflicts: ";
    json!({ "code": "ConfigurationConflict", "message": format!("{head}{what}"), "resource_ids": [] })
}

/// Applies objects as EKS does; what conflicted where it was not to be overwritten.
fn install(world: &mut World, addon: &Value, objects: Vec<Value>, mode: &str) -> Result<(), String> {
    let cluster = text(addon, "cluster_name");
    for object in objects {
        let what = format!("{} {}", text(&object, "kind"), text(&object["metadata"], "name"));
        let applied = kube::apply(world, cluster, "eks", mode == "OVERWRITE", object.clone());
        let Err(problem) = applied else { continue };
        let fields = conflicting_fields(&problem);
        if mode != "PRESERVE" || fields.is_empty() {
            let fields = if fields.is_empty() { problem.message.clone() } else { fields.join("\n") };
            return Err(format!("{what} - {fields}"));
        }
        let mut rest = object;
        for field in fields {
            without(&mut rest, &field);
        }
        kube::apply(world, cluster, "eks", false, rest).map_err(|problem| format!("{what} - {}", problem.message))?;
    }
    Ok(())
}

fn conflicting_fields(problem: &kube::Problem) -> Vec<String> {
    let causes = problem.details["causes"].as_array().into_iter().flatten();
    causes
        .filter(|cause| cause["reason"] == "FieldManagerConflict")
        .map(|cause| text(cause, "field").to_owned())
        .collect()
}

/// Takes a field out of an object: `.spec.containers[name="a"].image`.
fn without(object: &mut Value, path: &str) {
    let mut place = object;
    let (head, last) = path.rsplit_once('.').unwrap_or(("", path));
    for part in steps(head) {
        let next = match part.split_once("=\"") {
            Some((key, value)) => {
                let value = value.trim_end_matches('"');
                place.as_array_mut().and_then(|items| items.iter_mut().find(|item| item[key] == value))
            }
            None => place.get_mut(part),
        };
        let Some(next) = next else { return };
        place = next;
    }
    if let Some(map) = place.as_object_mut() {
        map.remove(last);
    }
}

/// The steps of a path, those into lists as `name="a"`.
fn steps(path: &str) -> Vec<&str> {
    path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty()).collect()
}

fn updated(world: &mut World, key: &str) {
    let Some(before) = world.find(TABLE, key).cloned() else { return };
    let mut addon = before.clone();
    merge(&mut addon, &before["_asked"]);
    let objects = objects_of(world, &addon);
    let failed = install(world, &addon, objects, text(&before, "_conflicts")).err();
    let now = world.now_text();
    let (cluster, name) = (text(&before, "cluster_name").to_owned(), text(&before, "addon_name").to_owned());
    let issue = failed.map(|what| conflict(&what));
    let mut after = if issue.is_some() { before } else { addon };
    let status = if issue.is_some() { "UPDATE_FAILED" } else { "ACTIVE" };
    let issues: Vec<Value> = issue.iter().cloned().collect();
    merge(&mut after, &json!({ "status": status, "modified_at": now, "health": { "issues": issues } }));
    if let Some(fields) = after.as_object_mut() {
        fields.remove("_asked");
    }
    world.put(TABLE, key, after);
    let told =
        |issue: &Value| json!({ "error_code": issue["code"], "error_message": issue["message"], "resource_ids": [] });
    let errors: Vec<Value> = issues.iter().map(told).collect();
    update::end(world, &cluster, Of::Addon(&name), &errors);
}

fn deleted(world: &mut World, key: &str) {
    let Some(addon) = world.remove(TABLE, key) else { return };
    pod_identity::remove_owned(world, text(&addon, "addon_arn"));
    if addon["_preserve"] == true || addon["_installed"] != true {
        return;
    }
    for object in objects_of(world, &addon) {
        kube::delete(world, text(&addon, "cluster_name"), &bootstrap::kind_of(&object), &key_of(&object));
    }
}

// ---- health

/// Looks whether workloads have their pods, and plans what follows from it.
fn watch_health(world: &mut World) {
    let addons: Vec<(String, Value)> = world.table(TABLE).iter().map(|(key, one)| (key.clone(), one.clone())).collect();
    for (key, addon) in addons {
        let is_installed = addon["_installed"] == true;
        let status = text(&addon, "status");
        if !is_installed || !matches!(status, "CREATING" | "ACTIVE" | "DEGRADED") {
            continue;
        }
        let to = match (status, is_ready(world, &addon)) {
            ("CREATING" | "DEGRADED", true) => "ACTIVE",
            ("CREATING" | "ACTIVE", false) => "DEGRADED",
            _ => continue,
        };
        if !world.is_planned(TABLE, &key, to) {
            world.begin(TABLE, &key, to);
        }
    }
}

fn is_ready(world: &World, addon: &Value) -> bool {
    let Some(store) = world.store(text(addon, "cluster_name")) else { return false };
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    addon["_workloads"].as_array().into_iter().flatten().all(|workload| {
        let Some(present) = store.get(text(workload, "kind"), text(workload, "key")) else { return false };
        let status = &present["status"];
        if present["kind"] == "DaemonSet" {
            count(&status["numberReady"]) == count(&status["desiredNumberScheduled"])
        } else {
            count(&status["readyReplicas"]) >= present["spec"]["replicas"].as_i64().unwrap_or(1)
        }
    })
}

/// Where the workloads among these objects are kept.
fn workloads(objects: &[Value]) -> Value {
    let workloads = objects.iter().filter(|object| matches!(text(object, "kind"), "DaemonSet" | "Deployment"));
    workloads.map(|object| json!({ "kind": bootstrap::kind_of(object), "key": key_of(object) })).collect()
}

/// What was planned some time ago is so only if it still holds.
fn judged(world: &mut World, key: &str, well: bool) {
    let Some(addon) = world.find(TABLE, key).cloned() else { return };
    if !matches!(text(&addon, "status"), "CREATING" | "ACTIVE" | "DEGRADED") || is_ready(world, &addon) != well {
        return;
    }
    let message = "The add-on is unhealthy because it doesn't have the desired number of replicas.";
    let issue = json!({ "code": "InsufficientNumberOfReplicas", "message": message, "resource_ids": [] });
    let issues = if well { json!([]) } else { json!([issue]) };
    let status = if well { "ACTIVE" } else { "DEGRADED" };
    world.forget(TABLE, key);
    if let Some(addon) = world.find_mut(TABLE, key) {
        merge(addon, &json!({ "status": status, "health": { "issues": issues } }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::*;

    /// Without controllers: these tests say themselves how workloads fare.
    fn bare() -> Stage {
        let mut stage = Stage::with_cluster(json!({ "bootstrap_self_managed_addons": false }));
        for behaviour in ["deployments roll", "replica sets keep their count", "daemon sets run on every node"] {
            stage.world.switch_off(behaviour);
        }
        stage
    }

    fn named(name: &str, fields: Value) -> Value {
        let mut input = json!({ "cluster_name": "prod", "addon_name": name });
        merge(&mut input, &fields);
        input
    }

    fn status(stage: &mut Stage, name: &str) -> String {
        text(&stage.ok("describe_addon", named(name, json!({})))["addon"], "status").to_owned()
    }

    /// Puts a workload in the store as its controller would leave it.
    fn put_workload(stage: &mut Stage, kind: &str, name: &str, replicas: i64, ready: i64) {
        let store = stage.world.store_mut("prod").unwrap();
        store.remove(kind, &format!("kube-system/{name}"));
        let is_daemon_set = kind.starts_with("daemonsets");
        let status = match is_daemon_set {
            true => json!({ "desiredNumberScheduled": replicas, "numberReady": ready }),
            false => json!({ "readyReplicas": ready }),
        };
        let object = json!({
            "kind": if is_daemon_set { "DaemonSet" } else { "Deployment" },
            "metadata": { "name": name, "namespace": "kube-system" }, "spec": { "replicas": replicas }, "status": status,
        });
        kube::create(&mut stage.world, "prod", kind, object);
        crate::twin::physics::settle(&mut stage.world);
    }

    #[test]
    fn an_add_on_of_the_nodes_is_active_without_nodes() {
        let mut stage = bare();
        let made = stage.ok("create_addon", named("vpc-cni", json!({})))["addon"].clone();
        assert_eq!(made["addon_version"], "v1.23.1-eksbuild.1");
        stage.pass(10);
        put_workload(&mut stage, "daemonsets.apps", "aws-node", 0, 0);
        stage.pass(20);
        assert_eq!(status(&mut stage, "vpc-cni"), "ACTIVE");
    }

    #[test]
    fn coredns_without_nodes_becomes_degraded_and_recovers() {
        let mut stage = bare();
        stage.ok("create_addon", named("coredns", json!({})));
        stage.pass(10);
        put_workload(&mut stage, "deployments.apps", "coredns", 2, 0);
        stage.pass(60);
        assert_eq!(status(&mut stage, "coredns"), "CREATING");
        stage.pass(300);
        let addon = stage.ok("describe_addon", named("coredns", json!({})))["addon"].clone();
        assert_eq!(addon["status"], "DEGRADED");
        assert_eq!(addon["health"]["issues"][0]["code"], "InsufficientNumberOfReplicas");
        put_workload(&mut stage, "deployments.apps", "coredns", 2, 2);
        stage.pass(20);
        assert_eq!(status(&mut stage, "coredns"), "ACTIVE");
    }

    #[test]
    fn what_eks_bootstrapped_conflicts_unless_it_is_overwritten() {
        let mut stage = Stage::with_cluster(json!({}));
        stage.ok("create_addon", named("vpc-cni", json!({})));
        stage.pass(10);
        let addon = stage.ok("describe_addon", named("vpc-cni", json!({})))["addon"].clone();
        assert_eq!(addon["status"], "CREATE_FAILED");
        let issue = &addon["health"]["issues"][0];
        assert_eq!(issue["code"], "ConfigurationConflict");
        assert!(text(issue, "message").contains("DaemonSet.apps aws-node - .spec"), "{issue}");
        stage.ok("create_addon", named("kube-proxy", json!({ "resolve_conflicts": "OVERWRITE" })));
        stage.pass(60);
        assert_ne!(status(&mut stage, "kube-proxy"), "CREATE_FAILED");
    }

    #[test]
    fn unknown_settings_versions_and_names_are_refused() {
        let mut stage = bare();
        let error = stage.no("create_addon", named("vpc-cni", json!({ "configuration_values": "{\"evn\": {}}" })));
        let says = "InvalidParameterException: ConfigurationValue provided in request is not supported: Json schema \
                    validation failed with error: [$.evn: is not defined in the schema and the schema does not allow \
                    additional properties]";
        assert_eq!(error, says);
        let number = json!({ "configuration_values": "env:\n  WARM_IP_TARGET: 2\n" });
        let error = stage.no("create_addon", named("vpc-cni", number));
        assert!(error.contains("$.env.WARM_IP_TARGET: integer found, string expected"), "{error}");
        let error = stage.no("create_addon", named("coredns", json!({ "addon_version": "v0.1" })));
        assert_eq!(error, "InvalidParameterException: Addon version specified is not supported");
        let error = stage.no("create_addon", named("nothing", json!({})));
        assert!(error.contains("Addon nothing specified is not supported in 1.36 kubernetes version"), "{error}");
        let error = stage.no("describe_addon", named("coredns", json!({})));
        assert_eq!(error, "ResourceNotFoundException: No addon: coredns found in cluster: prod");
    }

    #[test]
    fn settings_reach_the_objects() {
        let stage = bare();
        let cluster = stage.world.find("eks/clusters", "prod").unwrap();
        let addon = json!({
            "cluster_name": "prod", "addon_name": "vpc-cni", "addon_version": "v1.23.1-eksbuild.1",
            "configuration_values": "{\"env\":{\"WARM_IP_TARGET\":\"2\"},\"enableNetworkPolicy\":\"true\"}",
        });
        assert_eq!(cluster["status"], "ACTIVE");
        let objects = objects_of(&stage.world, &addon);
        let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
        let containers = &daemon_set["spec"]["template"]["spec"]["containers"];
        let env = containers[0]["env"].as_array().unwrap();
        assert!(env.contains(&json!({ "name": "WARM_IP_TARGET", "value": "2" })));
        let arguments = texts(&containers[1]["args"]);
        assert!(arguments.contains(&"--enable-network-policy=true"), "{arguments:?}");
        assert!(!arguments.contains(&"--enable-network-policy=false"), "{arguments:?}");
    }

    #[test]
    fn updates_of_an_add_on_are_told_of_under_its_name() {
        let mut stage = Stage::with_cluster(json!({ "bootstrap_self_managed_addons": false }));
        stage.ok("create_addon", named("kube-proxy", json!({})));
        let error = stage.no("update_addon", named("kube-proxy", json!({ "resolve_conflicts": "PRESERVE" })));
        assert!(error.contains("currently in CREATING state"), "{error}");
        stage.pass(10);
        stage.pass(20);
        let input = named("kube-proxy", json!({ "configuration_values": "{\"mode\":\"ipvs\"}" }));
        let update = stage.ok("update_addon", input)["update"].clone();
        assert_eq!(status(&mut stage, "kube-proxy"), "UPDATING");
        let told = json!({ "name": "prod", "update_id": update["id"], "addon_name": "kube-proxy" });
        assert_eq!(stage.ok("describe_update", told.clone())["update"]["status"], "InProgress");
        stage.pass(25);
        assert_eq!(stage.ok("describe_update", told)["update"]["status"], "Successful");
        let of_cluster = stage.ok("list_updates", json!({ "name": "prod" }));
        assert_eq!(of_cluster["update_ids"], json!([]));
        stage.ok("delete_addon", named("kube-proxy", json!({})));
        stage.pass(10);
        assert_eq!(stage.ok("list_addons", json!({ "cluster_name": "prod" }))["addons"], json!([]));
        assert!(stage.world.store("prod").unwrap().get("daemonsets.apps", "kube-system/kube-proxy").is_none());
    }

    #[test]
    fn versions_fit_a_kubernetes_version() {
        let mut stage = Stage::new();
        let input = json!({ "addon_name": "coredns", "kubernetes_version": "1.33" });
        let addons = stage.ok("describe_addon_versions", input)["addons"].clone();
        for version in addons[0]["addon_versions"].as_array().unwrap() {
            assert_eq!(version["compatibilities"][0]["cluster_version"], "1.33");
        }
        assert_eq!(default_version(&stage.world, "coredns", "1.36").unwrap(), "v1.13.2-eksbuild.4");
        assert_eq!(default_version(&stage.world, "coredns", "1.33").unwrap(), "v1.12.4-eksbuild.10");
    }

    #[test]
    fn a_field_is_taken_out_by_its_path() {
        let mut object =
            json!({ "spec": { "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "y" }] } });
        without(&mut object, ".spec.containers[name=\"b\"].image");
        assert_eq!(object, json!({ "spec": { "containers": [{ "name": "a", "image": "x" }, { "name": "b" }] } }));
    }
}
