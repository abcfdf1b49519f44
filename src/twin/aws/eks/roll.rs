//! Version updates of managed node groups: new instances first, then the old ones cordoned, drained and ended, some at a
//! time.

use serde_json::{Value, json};

use super::nodegroup::{self, TABLE, auto_scaling_group, group_of, instances, members};
use super::update::{self, Of};
use super::version::minor;
use super::{cluster_of, invalid, merge, template};
use crate::twin::aws::{Answer, Refusal, text, within};
use crate::twin::kube;
use crate::twin::world::World;

/// `eks::update_nodegroup_version`.
pub(super) fn update_nodegroup_version(world: &mut World, input: &Value) -> Answer {
    let (key, group) = group_of(world, input)?;
    nodegroup::check_updatable(world, &group, "UpdateNodegroupVersion")?;
    let cluster = cluster_of(world, text(input, "cluster_name"))?.clone();
    let after = wanted(world, &cluster, &group, input)?;
    let mut params = vec![("Version", text(&after, "version").to_owned())];
    params.push(("ReleaseVersion", text(&after, "release_version").to_owned()));
    if let Some(version) = after["launch_template"]["version"].as_str() {
        params.push(("LaunchTemplateVersion", version.to_owned()));
    }
    let (cluster_name, name) = (text(input, "cluster_name"), text(input, "nodegroup_name"));
    let mut next = group.clone();
    merge(&mut next, &after);
    let template = template::make_next(world, &cluster, &next)?;
    let update = update::begin(world, cluster_name, Of::Nodegroup(name), "VersionUpdate", &params);
    begin(world, &key, &group, after, template, input["force"] == true)?;
    Ok(json!({ "update": update }))
}

/// What the group will be, or why it can not.
fn wanted(world: &World, cluster: &Value, group: &Value, input: &Value) -> Answer {
    let is_custom = group["ami_type"] == "CUSTOM";
    let (now, newest) = (text(group, "version"), text(cluster, "version"));
    let mut after = json!({ "version": now, "release_version": group["release_version"] });
    if input["launch_template"].is_object() {
        if !group["launch_template"].is_object() {
            return invalid("You cannot specify a launch template for a node group that was made without one.");
        }
        let (shown, data) = template::customers(world, &input["launch_template"])?;
        if shown["id"] != group["launch_template"]["id"] {
            return invalid("The launch template of a node group cannot be changed, only its version.");
        }
        if data["image_id"].is_string() != is_custom {
            return invalid("A launch template version with a custom AMI cannot follow one without, or the reverse.");
        }
        if is_custom {
            after["release_version"] = data["image_id"].clone();
        }
        after["launch_template"] = shown;
    } else if is_custom {
        return invalid(
            "You cannot update the version of a node group with a custom AMI: name a launch template version.",
        );
    }
    if is_custom {
        after["version"] = json!(newest);
        return Ok(after);
    }
    let version = input["version"].as_str().unwrap_or(newest);
    if minor(version) > minor(newest) {
        return invalid(format!("Nodegroup Kubernetes version {version} is newer than cluster version {newest}"));
    }
    if minor(version) < minor(now) {
        return invalid(format!("Nodegroup Kubernetes version should be greater than or equal to {now}"));
    }
    let newest_release = template::release(world, text(group, "ami_type"), version);
    after["version"] = json!(version);
    after["release_version"] = json!(input["release_version"].as_str().unwrap_or(&newest_release));
    Ok(after)
}

fn begin(
    world: &mut World,
    key: &str,
    group: &Value,
    after: Value,
    template: Value,
    force: bool,
) -> Result<(), Refusal> {
    let old = instances(world, group);
    let desired = auto_scaling_group(world, group).and_then(|scaled| scaled["desired_capacity"].as_i64()).unwrap_or(0);
    let surge = at_once(group, desired).min(desired);
    let max = group["scaling_config"]["max_size"].as_i64().unwrap_or(desired).max(desired + surge);
    within(
        world,
        "autoscaling::update_auto_scaling_group",
        json!({
            "auto_scaling_group_name": group["_asg"], "launch_template": template, "max_size": max,
            "desired_capacity": desired + surge,
        }),
    )?;
    if let Some(stored) = world.find_mut(TABLE, key) {
        let roll = json!({
            "old": old, "draining": [], "desired": desired, "surge": surge, "force": force, "after": after,
            "template": template, "before": group["_template"],
        });
        merge(stored, &json!({ "status": "UPDATING", "_roll": roll }));
    }
    world.begin(TABLE, key, "NODES_TIMEOUT");
    Ok(())
}

/// How many nodes may be replaced at once.
fn at_once(group: &Value, desired: i64) -> i64 {
    let config = &group["update_config"];
    let share = config["max_unavailable_percentage"].as_i64().map(|percent| desired * percent / 100);
    share.or_else(|| config["max_unavailable"].as_i64()).unwrap_or(1).max(1)
}

/// Takes every update of a group as far as it can go now.
pub(super) fn watch(world: &mut World) {
    let rolling = world.table(TABLE).iter().filter(|(_, group)| group["_roll"].is_object());
    let keys: Vec<String> = rolling.map(|(key, _)| key.clone()).collect();
    for key in keys {
        step(world, &key);
    }
}

fn ids(value: &Value) -> Vec<String> {
    crate::twin::aws::texts(value).into_iter().map(str::to_owned).collect()
}

fn step(world: &mut World, key: &str) {
    let Some(group) = world.find(TABLE, key).cloned() else { return };
    let roll = &group["_roll"];
    let present = instances(world, &group);
    let old: Vec<String> = ids(&roll["old"]).into_iter().filter(|id| present.contains(id)).collect();
    let draining: Vec<String> = ids(&roll["draining"]).into_iter().filter(|id| old.contains(id)).collect();
    if !draining.is_empty() {
        return drain(world, key, &group, &draining);
    }
    let ready = members(world, &group).iter().filter(|member| member.is_ready).count();
    let ready = i64::try_from(ready).unwrap_or(0);
    let (desired, surge) = (roll["desired"].as_i64().unwrap_or(0), roll["surge"].as_i64().unwrap_or(1));
    if old.is_empty() {
        if ready >= desired {
            finish(world, key, &group);
        }
        return;
    }
    let spare = surge.min(i64::try_from(old.len()).unwrap_or(surge));
    if ready < desired + spare {
        return;
    }
    let next: Vec<String> = old.into_iter().take(usize::try_from(surge).unwrap_or(1)).collect();
    for id in &next {
        cordon(world, &group, id, true);
    }
    if let Some(stored) = world.find_mut(TABLE, key) {
        stored["_roll"]["draining"] = json!(next);
    }
    world.forget(TABLE, key);
    world.begin(TABLE, key, "EVICTION_TIMEOUT");
}

fn cordon(world: &mut World, group: &Value, instance: &str, cordoned: bool) {
    let Some(node) = node_of(world, group, instance) else { return };
    let Some(store) = world.store_mut(text(group, "cluster_name")) else { return };
    store.change("nodes", &node, |node| {
        if cordoned {
            node["spec"]["unschedulable"] = json!(true);
        } else if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("unschedulable");
        }
    });
}

fn node_of(world: &World, group: &Value, instance: &str) -> Option<String> {
    members(world, group).into_iter().find(|member| member.instance == instance).map(|member| member.node)
}

/// Evicts what can be evicted, and ends the instances that are empty.
fn drain(world: &mut World, key: &str, group: &Value, draining: &[String]) {
    let cluster = text(group, "cluster_name");
    for id in draining {
        let is_empty = match node_of(world, group, id) {
            Some(node) => evict(world, cluster, &node),
            None => true,
        };
        if is_empty {
            end(world, key, id);
        }
    }
}

/// Ends an old instance. The Auto Scaling group replaces it unless there are new ones enough.
fn end(world: &mut World, key: &str, id: &str) {
    let Some(group) = world.find(TABLE, key).cloned() else { return };
    let roll = &group["_roll"];
    let mut old = ids(&roll["old"]);
    let present = instances(world, &group);
    let remaining = old.iter().filter(|one| present.contains(one)).count();
    let scaled = auto_scaling_group(world, &group).and_then(|scaled| scaled["desired_capacity"].as_i64()).unwrap_or(0);
    let new = scaled - i64::try_from(remaining).unwrap_or(0);
    let enough = new >= roll["desired"].as_i64().unwrap_or(0);
    let ended = within(
        world,
        "autoscaling::terminate_instance_in_auto_scaling_group",
        json!({ "instance_id": id, "should_decrement_desired_capacity": enough }),
    );
    if ended.is_err() {
        return;
    }
    old.retain(|one| one != id);
    let draining: Vec<String> = ids(&roll["draining"]).into_iter().filter(|one| one != id).collect();
    let is_batch_done = draining.is_empty();
    if let Some(stored) = world.find_mut(TABLE, key) {
        stored["_roll"]["old"] = json!(old);
        stored["_roll"]["draining"] = json!(draining);
    }
    if is_batch_done {
        world.forget(TABLE, key);
        world.begin(TABLE, key, "NODES_TIMEOUT");
    }
}

/// Evicts pods of a node as far as disruption budgets let it; whether none is left that would have to go.
fn evict(world: &mut World, cluster: &str, node: &str) -> bool {
    let Some(store) = world.store(cluster) else { return true };
    let on_node = store.index().pods_on(node).filter_map(|key| Some((key, store.get("pods", key)?)));
    let on_node = on_node.filter(|(_, pod)| must_go(pod));
    let pods: Vec<(String, Value)> = on_node.map(|(key, pod)| (key.to_owned(), pod.clone())).collect();
    for (_, pod) in &pods {
        if pod["metadata"]["deletionTimestamp"].is_null() {
            let (namespace, name) = (text(&pod["metadata"], "namespace"), text(&pod["metadata"], "name"));
            let eviction = json!({ "metadata": { "name": name } });
            // What a budget holds up is tried again when something has changed.
            let _ = kube::evict::evict(world, cluster, namespace, name, &eviction, false);
        }
    }
    let store = world.store(cluster);
    pods.iter().all(|(key, _)| store.is_none_or(|store| store.get("pods", key).is_none()))
}

/// Pods of DaemonSets, static pods and those that have ended do not hold a drain up.
fn must_go(pod: &Value) -> bool {
    let mut owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let stays = owners.any(|owner| owner["kind"] == "DaemonSet" || owner["kind"] == "Node");
    !stays && !matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed")
}

fn finish(world: &mut World, key: &str, group: &Value) {
    world.forget(TABLE, key);
    let scaling = &group["scaling_config"];
    let mut sizes = scaling.clone();
    sizes["desired_size"] = group["_roll"]["desired"].clone();
    let _ = nodegroup::scale(world, group, &sizes);
    let now = world.now_text();
    let roll = group["_roll"].clone();
    if let Some(stored) = world.find_mut(TABLE, key) {
        merge(stored, &roll["after"]);
        merge(stored, &json!({ "status": "ACTIVE", "modified_at": now, "_template": roll["template"], "_roll": null }));
    }
    update::end(world, text(group, "cluster_name"), Of::Nodegroup(text(group, "nodegroup_name")), &[]);
}

/// Pods could not be evicted in time: a forced update ends their nodes all the same, another one is given up.
pub(super) fn eviction_timed_out(world: &mut World, key: &str) {
    let Some(group) = world.find(TABLE, key).cloned() else { return };
    let draining = ids(&group["_roll"]["draining"]);
    if group["_roll"]["force"] == true {
        for id in draining {
            end(world, key, &id);
        }
        return;
    }
    let name = text(&group, "nodegroup_name");
    let message = format!("Reached max retries while trying to evict pods from nodes in node group {name}");
    give_up(world, key, &group, "PodEvictionFailure", &message, &draining);
}

/// New nodes did not come in time.
pub(super) fn nodes_timed_out(world: &mut World, key: &str) {
    let Some(group) = world.find(TABLE, key).cloned() else { return };
    let old = ids(&group["_roll"]["old"]);
    let new: Vec<String> = instances(world, &group).into_iter().filter(|id| !old.contains(id)).collect();
    let name = text(&group, "nodegroup_name");
    let message = format!("Couldn't proceed with upgrade process as new nodes are not joining node group {name}");
    give_up(world, key, &group, "NodeCreationFailure", &message, &new);
}

/// Goes back: old nodes take pods again, new launches are as before, and what is too much goes.
fn give_up(world: &mut World, key: &str, group: &Value, code: &str, message: &str, resources: &[String]) {
    world.forget(TABLE, key);
    let roll = &group["_roll"];
    let old = ids(&roll["old"]);
    for id in &old {
        cordon(world, group, id, false);
    }
    let _ = within(
        world,
        "autoscaling::update_auto_scaling_group",
        json!({ "auto_scaling_group_name": group["_asg"], "launch_template": roll["before"] }),
    );
    let desired = usize::try_from(roll["desired"].as_i64().unwrap_or(0)).unwrap_or(0);
    let present = instances(world, group);
    let surplus = present.len().saturating_sub(desired);
    for id in present.iter().filter(|id| !old.contains(id)).take(surplus) {
        let input = json!({ "instance_id": id, "should_decrement_desired_capacity": true });
        let _ = within(world, "autoscaling::terminate_instance_in_auto_scaling_group", input);
    }
    let mut sizes = group["scaling_config"].clone();
    sizes["desired_size"] = roll["desired"].clone();
    let _ = nodegroup::scale(world, group, &sizes);
    if let Some(stored) = world.find_mut(TABLE, key) {
        merge(stored, &json!({ "status": "ACTIVE", "_roll": null }));
    }
    let error = json!({ "error_code": code, "error_message": message, "resource_ids": resources });
    update::end(world, text(group, "cluster_name"), Of::Nodegroup(text(group, "nodegroup_name")), &[error]);
}
