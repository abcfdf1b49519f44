//! EC2 Auto Scaling: groups, what keeps them at their size, and what they did.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ec2::{compute, launch_template};
use super::{Answer, Refusal, Row, filter, iam, refuse, tags, text, texts};
use crate::twin::Arrival;
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("autoscaling::create_auto_scaling_group", create_auto_scaling_group),
    ("autoscaling::update_auto_scaling_group", update_auto_scaling_group),
    ("autoscaling::set_desired_capacity", set_desired_capacity),
    ("autoscaling::delete_auto_scaling_group", delete_auto_scaling_group),
    ("autoscaling::describe_auto_scaling_groups", describe_auto_scaling_groups),
    ("autoscaling::describe_auto_scaling_instances", describe_auto_scaling_instances),
    ("autoscaling::describe_scaling_activities", describe_scaling_activities),
    ("autoscaling::terminate_instance_in_auto_scaling_group", terminate_instance),
    ("autoscaling::set_instance_health", set_instance_health),
    ("autoscaling::suspend_processes", suspend_processes),
    ("autoscaling::resume_processes", resume_processes),
    ("autoscaling::create_or_update_tags", create_or_update_tags),
    ("autoscaling::delete_tags", delete_tags),
    ("autoscaling::describe_tags", describe_tags),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(GROUPS, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] =
    &[Controller { name: "autoscaling", watches: &[GROUPS, "ec2/instances"], run: keep_groups }];

const GROUPS: &str = "autoscaling/groups";
const ACTIVITIES: &str = "autoscaling/activities";
const INSTANCES: &str = "ec2/instances";

/// Status checks of EC2 need so long until they count as failed.
const CHECKS_FAIL_AFTER: i64 = 120;

/// Fields of a group that a caller sets and that are shown as they were set.
const SETTINGS: &[&str] = &[
    "min_size",
    "max_size",
    "desired_capacity",
    "default_cooldown",
    "health_check_type",
    "health_check_grace_period",
    "vpc_zone_identifier",
    "termination_policies",
    "new_instances_protected_from_scale_in",
    "capacity_rebalance",
    "max_instance_lifetime",
    "mixed_instances_policy",
    "service_linked_role_arn",
    "target_group_arns",
    "load_balancer_names",
    "default_instance_warmup",
];

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("ValidationError", 400, message)
}

fn group<'a>(world: &'a World, name: &str) -> Result<&'a Value, Refusal> {
    match world.find(GROUPS, name) {
        Some(group) => Ok(group),
        None => invalid(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")),
    }
}

/// The group that an input names. Of one that is not there these operations say no more.
fn named_group<'a>(world: &'a World, input: &Value) -> Result<&'a Value, Refusal> {
    match world.find(GROUPS, text(input, "auto_scaling_group_name")) {
        Some(group) => Ok(group),
        None => invalid("AutoScalingGroup name not found - null"),
    }
}

fn members(group: &Value) -> impl Iterator<Item = &Value> {
    group["instances"].as_array().into_iter().flatten()
}

fn number(group: &Value, key: &str) -> i64 {
    group[key].as_i64().unwrap_or_default()
}

fn is_suspended(group: &Value, process: &str) -> bool {
    group["suspended_processes"].as_array().into_iter().flatten().any(|one| one["process_name"] == process)
}

fn is_ending(group: &Value) -> bool {
    group["status"].is_string()
}

// What a group is told.

fn create_auto_scaling_group(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "auto_scaling_group_name");
    if world.find(GROUPS, name).is_some() {
        let message =
            format!("AutoScalingGroup by this name already exists - A group with the name {name} already exists");
        return refuse("AlreadyExists", 400, message);
    }
    let uuid = world.uuid("group");
    let arn = world.arn("autoscaling", &format!("autoScalingGroup:{uuid}:autoScalingGroupName/{name}"));
    let mut group = json!({
        "auto_scaling_group_name": name, "auto_scaling_group_arn": arn, "created_time": world.now_text(),
        "desired_capacity": input["min_size"], "default_cooldown": 300, "health_check_type": "EC2",
        "health_check_grace_period": 0, "termination_policies": ["Default"], "availability_zones": [],
        "new_instances_protected_from_scale_in": false, "instances": [], "suspended_processes": [],
        "enabled_metrics": [], "load_balancer_names": [], "target_group_arns": [], "tags": [],
    });
    take_settings(world, &mut group, input)?;
    check_sizes(&group)?;
    put_tags(&mut group, &input["tags"]);
    let role = iam::ensure_service_role(world, "autoscaling.amazonaws.com");
    if !group["service_linked_role_arn"].is_string() {
        group["service_linked_role_arn"] = json!(role);
    }
    world.put(GROUPS, name, group);
    Ok(json!({}))
}

/// Takes over what the caller sets, checking what it refers to.
fn take_settings(world: &World, group: &mut Value, input: &Value) -> Result<(), Refusal> {
    for key in SETTINGS {
        if !input[*key].is_null() {
            group[*key] = input[*key].clone();
        }
    }
    if !input["launch_template"].is_null() {
        group["launch_template"] = template_shown(world, &input["launch_template"])?;
    }
    if !input["launch_template"].is_null() || !input["mixed_instances_policy"].is_null() {
        check_template(world, group)?;
    } else if template_of(group).is_null() {
        return invalid(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or \
             MixedInstancesPolicy parameter.",
        );
    }
    let mut zones: Vec<&str> = Vec::new();
    for id in subnets_of(group) {
        match world.find("ec2/subnets", id) {
            Some(subnet) if !zones.contains(&text(subnet, "availability_zone")) => {
                zones.push(text(subnet, "availability_zone"));
            }
            Some(_) => {}
            None => return invalid(format!("The subnet ID '{id}' does not exist")),
        }
    }
    if zones.is_empty() {
        return invalid(NO_SUBNET);
    }
    zones.sort_unstable();
    let zones = json!(zones);
    group["availability_zones"] = zones;
    Ok(())
}

const NO_SUBNET: &str = "At least one Availability Zone or VPC Subnet is required.";

fn template_shown(world: &World, named: &Value) -> Answer {
    let template = launch_template::find(world, named).or_else(|refusal| not_fully_formed(&refusal))?;
    Ok(json!({
        "launch_template_id": template["launch_template_id"],
        "launch_template_name": template["launch_template_name"],
        "version": named["version"].as_str().unwrap_or("$Default"),
    }))
}

fn not_fully_formed<T>(refusal: &Refusal) -> Result<T, Refusal> {
    invalid(format!("You must use a valid fully-formed launch template. {}", refusal.message))
}

fn check_template(world: &World, group: &Value) -> Result<(), Refusal> {
    let template = template_of(group);
    compute::check(world, &template, instance_type_of(group)).or_else(|refusal| not_fully_formed(&refusal))
}

/// The template that instances are launched from, also where it stands in a mixed instances policy.
fn template_of(group: &Value) -> Value {
    let mixed = &group["mixed_instances_policy"]["launch_template"]["launch_template_specification"];
    if mixed.is_null() { group["launch_template"].clone() } else { mixed.clone() }
}

fn instance_type_of(group: &Value) -> Option<&str> {
    group["mixed_instances_policy"]["launch_template"]["overrides"][0]["instance_type"].as_str()
}

fn subnets_of(group: &Value) -> Vec<&str> {
    text(group, "vpc_zone_identifier").split(',').map(str::trim).filter(|id| !id.is_empty()).collect()
}

fn check_sizes(group: &Value) -> Result<(), Refusal> {
    let (least, wanted, most) =
        (number(group, "min_size"), number(group, "desired_capacity"), number(group, "max_size"));
    if least > most {
        return invalid(format!("Max bound, {most}, must be greater than or equal to min bound, {least}"));
    }
    if !(least..=most).contains(&wanted) {
        return invalid(format!(
            "Desired capacity:{wanted} must be between the specified min size:{least} and max size:{most}"
        ));
    }
    Ok(())
}

fn update_auto_scaling_group(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "auto_scaling_group_name");
    let mut group = named_group(world, input)?.clone();
    refuse_ending(&group)?;
    take_settings(world, &mut group, input)?;
    if input["desired_capacity"].is_null() {
        // New bounds move the number along.
        let (least, most) = (number(&group, "min_size"), number(&group, "max_size"));
        let wanted = number(&group, "desired_capacity").min(most).max(least);
        group["desired_capacity"] = json!(wanted);
    }
    check_sizes(&group)?;
    world.put(GROUPS, name, group);
    Ok(json!({}))
}

fn refuse_ending(group: &Value) -> Result<(), Refusal> {
    if is_ending(group) {
        let message = "You cannot update an AutoScalingGroup while it is being deleted.";
        return refuse("ScalingActivityInProgress", 400, message);
    }
    Ok(())
}

fn set_desired_capacity(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "auto_scaling_group_name");
    let found = named_group(world, input)?;
    refuse_ending(found)?;
    let wanted = number(input, "desired_capacity");
    for (bound, word, breaks) in [
        (number(found, "max_size"), "above max", wanted > number(found, "max_size")),
        (number(found, "min_size"), "below min", wanted < number(found, "min_size")),
    ] {
        if breaks {
            return invalid(format!(
                "New SetDesiredCapacity value {wanted} is {word} value {bound} for the AutoScalingGroup."
            ));
        }
    }
    if let Some(group) = world.find_mut(GROUPS, name) {
        group["desired_capacity"] = json!(wanted);
    }
    Ok(json!({}))
}

fn delete_auto_scaling_group(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "auto_scaling_group_name");
    let found = group(world, name)?;
    let force = input["force_delete"] == true;
    if is_ending(found) {
        let message = "You cannot delete an AutoScalingGroup while it is already being deleted.";
        return refuse("ScalingActivityInProgress", 400, message);
    }
    if !force && members(found).any(|one| one["lifecycle_state"] != "Terminating") {
        let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance \
                       request(s) still in the group.";
        return refuse("ResourceInUse", 400, message);
    }
    if !force && members(found).next().is_some() {
        let message =
            "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.";
        return refuse("ScalingActivityInProgress", 400, message);
    }
    if let Some(group) = world.find_mut(GROUPS, name) {
        group["status"] = json!("Delete in progress");
        group["desired_capacity"] = json!(0);
        group["min_size"] = json!(0);
    }
    Ok(json!({}))
}

fn terminate_instance(world: &mut World, input: &Value) -> Answer {
    let id = text(input, "instance_id");
    let name = group_of(world, id)?;
    let fewer = input["should_decrement_desired_capacity"] == true;
    if let Some(group) = world.find_mut(GROUPS, &name).filter(|_| fewer) {
        let wanted = number(group, "desired_capacity") - 1;
        if wanted < number(group, "min_size") {
            return invalid(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement \
                will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or \
                lower group's min size.",
                wanted + 1
            ));
        }
        group["desired_capacity"] = json!(wanted);
    }
    let activity = end_member(world, &name, id, "instance was taken out of service in response to a user request");
    Ok(json!({ "activity": world.find(ACTIVITIES, &activity) }))
}

/// The group that an instance belongs to.
fn group_of(world: &World, instance: &str) -> Result<String, Refusal> {
    let has = |group: &Value| members(group).any(|one| one["instance_id"] == instance);
    match world.table(GROUPS).iter().find(|(_, group)| has(group)) {
        Some((name, _)) => Ok(name.clone()),
        None => invalid(format!("Instance Id not found - No managed instance found for instance ID {instance}")),
    }
}

fn set_instance_health(world: &mut World, input: &Value) -> Answer {
    let id = text(input, "instance_id");
    let name = group_of(world, id)?;
    change_member(world, &name, id, |member| member["health_status"] = input["health_status"].clone());
    Ok(json!({}))
}

fn suspend_processes(world: &mut World, input: &Value) -> Answer {
    change_processes(world, input, true)
}

fn resume_processes(world: &mut World, input: &Value) -> Answer {
    change_processes(world, input, false)
}

const PROCESSES: &[&str] = &[
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

fn change_processes(world: &mut World, input: &Value, suspended: bool) -> Answer {
    let name = text(input, "auto_scaling_group_name");
    let mut all: Vec<Value> = group(world, name)?["suspended_processes"].as_array().cloned().unwrap_or_default();
    let named = texts(&input["scaling_processes"]);
    let named = if named.is_empty() { PROCESSES.to_vec() } else { named };
    all.retain(|one| !named.contains(&text(one, "process_name")));
    if suspended {
        let reason = format!("User suspended at {}", world.now_text());
        all.extend(named.iter().map(|process| json!({ "process_name": process, "suspension_reason": reason })));
    }
    if let Some(group) = world.find_mut(GROUPS, name) {
        group["suspended_processes"] = json!(all);
    }
    Ok(json!({}))
}

fn put_tags(group: &mut Value, more: &Value) {
    let name = group["auto_scaling_group_name"].clone();
    let more = more.as_array().into_iter().flatten().map(|tag| {
        json!({
            "resource_id": name, "resource_type": "auto-scaling-group", "key": tag["key"],
            "value": tag["value"].as_str().unwrap_or_default(),
            "propagate_at_launch": tag["propagate_at_launch"] == true,
        })
    });
    tags::put(&mut group["tags"], &Value::Array(more.collect()), "key");
}

fn create_or_update_tags(world: &mut World, input: &Value) -> Answer {
    let all = input["tags"].as_array().cloned().unwrap_or_default();
    for tag in &all {
        let name = text(tag, "resource_id");
        if world.find(GROUPS, name).is_none() {
            return invalid(format!("AutoScalingGroup not found - AutoScaling Group {name} not found"));
        }
    }
    for tag in &all {
        if let Some(group) = world.find_mut(GROUPS, text(tag, "resource_id")) {
            put_tags(group, &json!([tag]));
        }
    }
    Ok(json!({}))
}

fn delete_tags(world: &mut World, input: &Value) -> Answer {
    for tag in input["tags"].as_array().into_iter().flatten() {
        if let Some(group) = world.find_mut(GROUPS, text(tag, "resource_id")) {
            tags::drop(&mut group["tags"], &[text(tag, "key")], "key");
        }
    }
    Ok(json!({}))
}

fn describe_tags(world: &mut World, input: &Value) -> Answer {
    let all: Vec<Value> =
        world.table(GROUPS).values().flat_map(|group| group["tags"].as_array().cloned().unwrap_or_default()).collect();
    let names: filter::Names = &[("auto-scaling-group", "resource_id"), ("propagate-at-launch", "propagate_at_launch")];
    Ok(json!({ "tags": filter::select(all.iter(), &input["filters"], names) }))
}

// What a group shows.

fn describe_auto_scaling_groups(world: &mut World, input: &Value) -> Answer {
    let names = texts(&input["auto_scaling_group_names"]);
    let wanted = |group: &&Value| names.is_empty() || names.contains(&text(group, "auto_scaling_group_name"));
    let filters: filter::Names = &[("tag-value", "tags.value")];
    let found = filter::select(world.table(GROUPS).values().filter(wanted), &input["filters"], filters);
    Ok(json!({ "auto_scaling_groups": found }))
}

fn describe_auto_scaling_instances(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["instance_ids"]);
    let mut found = Vec::new();
    for (name, group) in world.table(GROUPS) {
        for member in members(group).filter(|one| ids.is_empty() || ids.contains(&text(one, "instance_id"))) {
            let mut shown = member.clone();
            shown["auto_scaling_group_name"] = json!(name);
            shown["health_status"] = json!(text(member, "health_status").to_uppercase());
            found.push(shown);
        }
    }
    Ok(json!({ "auto_scaling_instances": found }))
}

fn describe_scaling_activities(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["activity_ids"]);
    let deleted = input["include_deleted_groups"] == true;
    if let Some(name) = input["auto_scaling_group_name"].as_str().filter(|_| !deleted) {
        group(world, name)?;
    }
    let fits = |one: &&Value| {
        let name = text(one, "auto_scaling_group_name");
        let of_group = input["auto_scaling_group_name"].as_str().is_none_or(|wanted| wanted == name);
        of_group && (ids.is_empty() || ids.contains(&text(one, "activity_id")))
    };
    let mut found: Vec<&Value> = world.table(ACTIVITIES).values().filter(fits).collect();
    // The newest first.
    found.sort_by_key(|one| std::cmp::Reverse(one["_order"].as_u64()));
    Ok(json!({ "activities": found }))
}

// What a group does.

fn arrive(world: &mut World, name: &str, to: &str) {
    match to {
        // The group looks at itself again.
        "RETRY" => world.touch(GROUPS),
        "CHECKED" => fail_checks(world, name),
        "Deleted" => {
            let empty = world.find(GROUPS, name).is_some_and(|group| members(group).next().is_none());
            if empty {
                world.remove(GROUPS, name);
            }
        }
        other => debug_assert!(false, "no group becomes {other}"),
    }
}

/// Instances whose status checks fail for longer than the grace period are unhealthy.
fn fail_checks(world: &mut World, name: &str) {
    let Some(group) = world.find(GROUPS, name) else { return };
    if is_suspended(group, "HealthCheck") {
        return;
    }
    let pause = CHECKS_FAIL_AFTER.max(number(group, "health_check_grace_period"));
    let failing: Vec<String> = members(group)
        .map(|one| text(one, "instance_id"))
        .filter(|id| world.find(INSTANCES, id).is_some_and(|one| one["_impaired"] == true))
        .filter(|id| age(world, id) >= pause)
        .map(str::to_owned)
        .collect();
    for id in failing {
        change_member(world, name, &id, |member| member["health_status"] = json!("Unhealthy"));
    }
}

/// Seconds since the launch of an instance.
fn age(world: &World, id: &str) -> i64 {
    let launched = world.find(INSTANCES, id).map(|one| text(one, "launch_time").to_owned()).unwrap_or_default();
    launched.parse::<Timestamp>().map_or(0, |launched| world.now.duration_since(launched).as_secs())
}

fn change_member(world: &mut World, group: &str, id: &str, change: impl FnOnce(&mut Value)) {
    let group = world.find_mut(GROUPS, group);
    let members = group.and_then(|group| group["instances"].as_array_mut());
    if let Some(member) = members.into_iter().flatten().find(|one| one["instance_id"] == id) {
        change(member);
    }
}

fn keep_groups(world: &mut World) {
    let names: Vec<String> = world.table(GROUPS).keys().cloned().collect();
    for name in names {
        notice_states(world, &name);
        replace_unhealthy(world, &name);
        shrink(world, &name);
        grow(world, &name);
        finish_deletion(world, &name);
    }
}

/// What EC2 says of each member; those that ended leave.
fn notice_states(world: &mut World, name: &str) {
    let Some(group) = world.find(GROUPS, name) else { return };
    let ids: Vec<String> = members(group).map(|one| text(one, "instance_id").to_owned()).collect();
    for id in ids {
        let state = world.find(INSTANCES, &id).map(|one| text(&one["state"], "name").to_owned());
        match state.as_deref() {
            None | Some("terminated") => leave(world, name, &id),
            Some("running") => come_into_service(world, name, &id),
            Some("shutting-down" | "stopping" | "stopped") => {
                let cause = "an instance was taken out of service in response to an EC2 health check indicating it has \
                             been terminated or stopped";
                end_member(world, name, &id, cause);
            }
            Some(_) => {}
        }
    }
}

fn member_state(world: &World, name: &str, id: &str) -> String {
    let group = world.find(GROUPS, name);
    let member = group.into_iter().flat_map(members).find(|one| one["instance_id"] == id);
    member.map(|one| text(one, "lifecycle_state").to_owned()).unwrap_or_default()
}

fn come_into_service(world: &mut World, name: &str, id: &str) {
    if member_state(world, name, id) != "Pending" {
        return;
    }
    change_member(world, name, id, |member| member["lifecycle_state"] = json!("InService"));
    finish_activities(world, id);
    let impaired = world.find(INSTANCES, id).is_some_and(|one| one["_impaired"] == true);
    if impaired {
        let grace = world.find(GROUPS, name).map_or(0, |group| number(group, "health_check_grace_period"));
        let left = (CHECKS_FAIL_AFTER.max(grace) - age(world, id)).max(0);
        world.begin_after(Duration::from_secs(left.unsigned_abs()), GROUPS, name, "CHECKED");
    }
}

fn leave(world: &mut World, name: &str, id: &str) {
    finish_activities(world, id);
    if let Some(list) = world.find_mut(GROUPS, name).and_then(|group| group["instances"].as_array_mut()) {
        list.retain(|one| one["instance_id"] != id);
    }
}

/// What is under way for this instance has succeeded.
fn finish_activities(world: &mut World, id: &str) {
    let open = world.table(ACTIVITIES).iter();
    let open = open.filter(|(_, one)| one["_instance"] == id && one["status_code"] == "InProgress");
    let open: Vec<String> = open.map(|(key, _)| key.clone()).collect();
    let now = world.now_text();
    for key in open {
        if let Some(activity) = world.find_mut(ACTIVITIES, &key) {
            activity["status_code"] = json!("Successful");
            activity["progress"] = json!(100);
            activity["end_time"] = json!(now);
        }
    }
}

fn record(world: &mut World, name: &str, description: &str, cause: &str, outcome: Value) -> String {
    let id = world.uuid("activity");
    let order = world.table(ACTIVITIES).len();
    let now = world.now_text();
    let mut activity = json!({
        "activity_id": id, "auto_scaling_group_name": name, "description": description, "start_time": now,
        "cause": format!("At {now} {cause}."), "_order": order, "details": "{}",
    });
    for (key, value) in outcome.as_object().into_iter().flatten() {
        activity[key] = value.clone();
    }
    world.put(ACTIVITIES, &id, activity);
    id
}

/// Ends a member and answers the id of the activity. One that is ending already is left in peace.
fn end_member(world: &mut World, name: &str, id: &str, cause: &str) -> String {
    if member_state(world, name, id).starts_with("Terminating") {
        let mut known = world.table(ACTIVITIES).iter();
        return known.find(|(_, one)| one["_instance"] == id).map(|(key, _)| key.clone()).unwrap_or_default();
    }
    change_member(world, name, id, |member| member["lifecycle_state"] = json!("Terminating"));
    finish_activities(world, id);
    let outcome = json!({ "status_code": "InProgress", "progress": 0, "_instance": id });
    let activity = record(world, name, &format!("Terminating EC2 instance: {id}"), cause, outcome);
    compute::terminate(world, id, "Client.UserInitiatedShutdown", "User initiated shutdown");
    activity
}

fn replace_unhealthy(world: &mut World, name: &str) {
    let Some(group) = world.find(GROUPS, name).filter(|group| !is_suspended(group, "ReplaceUnhealthy")) else { return };
    let unhealthy = members(group).filter(|one| one["health_status"] == "Unhealthy");
    let unhealthy = unhealthy.filter(|one| one["lifecycle_state"] != "Terminating");
    let ids: Vec<String> = unhealthy.map(|one| text(one, "instance_id").to_owned()).collect();
    for id in ids {
        let cause = "an instance was taken out of service in response to an EC2 instance status checks failure";
        end_member(world, name, &id, cause);
    }
}

/// Members that count for the size of the group.
fn living(group: &Value) -> Vec<&Value> {
    members(group).filter(|one| ["Pending", "InService"].contains(&text(one, "lifecycle_state"))).collect()
}

fn surplus(group: &Value) -> usize {
    living(group).len().saturating_sub(usize::try_from(number(group, "desired_capacity")).unwrap_or(0))
}

fn shrink(world: &mut World, name: &str) {
    while let Some(group) = world.find(GROUPS, name) {
        if surplus(group) == 0 || is_suspended(group, "Terminate") {
            return;
        }
        let living = living(group);
        let in_zone = |zone: &Value| living.iter().filter(|one| one["availability_zone"] == *zone).count();
        let launched =
            |one: &Value| world.find(INSTANCES, text(one, "instance_id")).map(|one| one["launch_time"].to_string());
        // From the fullest zone; there the oldest.
        let going = living.iter().min_by_key(|one| {
            (std::cmp::Reverse(in_zone(&one["availability_zone"])), launched(one), text(one, "instance_id").to_owned())
        });
        let Some(id) = going.map(|one| text(one, "instance_id").to_owned()) else { return };
        let cause =
            "an instance was selected for termination: the desired capacity of the group is lower than its capacity";
        end_member(world, name, &id, cause);
    }
}

/// Why a group starts an instance.
const TOO_FEW: &str = "an instance was started in response to a difference between desired and actual capacity";

fn grow(world: &mut World, name: &str) {
    while let Some(group) = world.find(GROUPS, name) {
        let wanted = usize::try_from(number(group, "desired_capacity")).unwrap_or(0);
        let waits = world.is_planned(GROUPS, name, "RETRY");
        if living(group).len() >= wanted || is_ending(group) || is_suspended(group, "Launch") || waits {
            return;
        }
        let group = group.clone();
        if let Err(refusal) = launch_member(world, name, &group) {
            let now = world.now_text();
            let outcome = json!({
                "status_code": "Failed", "progress": 100, "end_time": now,
                "status_message": format!("{} Launching EC2 instance failed.", sentence(&refusal.message)),
            });
            record(world, name, "Launching a new EC2 instance", TOO_FEW, outcome);
            world.begin(GROUPS, name, "RETRY");
        }
    }
}

fn sentence(message: &str) -> String {
    if message.ends_with('.') { message.to_owned() } else { format!("{message}.") }
}

/// Launches one more in the subnet that has fewest; the others are tried where that has no room.
fn launch_member(world: &mut World, name: &str, group: &Value) -> Result<(), Refusal> {
    let living = living(group);
    let in_subnet = |subnet: &str| {
        let place = |one: &&&Value| {
            let instance = world.find(INSTANCES, text(one, "instance_id"));
            instance.is_some_and(|instance| instance["subnet_id"] == subnet)
        };
        living.iter().filter(place).count()
    };
    let mut subnets: Vec<(usize, &str)> = subnets_of(group).into_iter().map(|id| (in_subnet(id), id)).collect();
    // A stable sort: among equals the one that is named first.
    subnets.sort_by_key(|(count, _)| *count);
    let template = template_of(group);
    let own = instance_type_of(group).map_or(Value::Null, |name| json!({ "instance_type": name }));
    let tags = member_tags(name, group);
    let mut first_refusal = None;
    for (_, subnet_id) in subnets {
        let plan = compute::Launch { template: template.clone(), own: own.clone(), subnet_id, tags: tags.clone() };
        match compute::launch(world, &plan) {
            Ok(id) => {
                join(world, name, &template, &id);
                return Ok(());
            }
            Err(refusal) => {
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    match first_refusal {
        Some(refusal) => Err(refusal),
        None => invalid(NO_SUBNET),
    }
}

fn member_tags(name: &str, group: &Value) -> Value {
    let own = group["tags"].as_array().into_iter().flatten().filter(|tag| tag["propagate_at_launch"] == true);
    let mut all: Vec<Value> = own.map(|tag| json!({ "key": tag["key"], "value": tag["value"] })).collect();
    all.push(json!({ "key": "aws:autoscaling:groupName", "value": name }));
    Value::Array(all)
}

fn join(world: &mut World, name: &str, template: &Value, id: &str) {
    let instance = world.find(INSTANCES, id).cloned().unwrap_or_default();
    let mut member = json!({
        "instance_id": id, "instance_type": instance["instance_type"], "lifecycle_state": "Pending",
        "availability_zone": instance["placement"]["availability_zone"], "health_status": "Healthy",
        "protected_from_scale_in": false,
    });
    if let Ok(found) = launch_template::find(world, template) {
        member["launch_template"] = json!({
            "launch_template_id": found["launch_template_id"], "launch_template_name": found["launch_template_name"],
            "version": super::tag(&instance["tags"], "aws:ec2launchtemplate:version"),
        });
    }
    if let Some(list) = world.find_mut(GROUPS, name).and_then(|group| group["instances"].as_array_mut()) {
        list.push(member);
    }
    let outcome = json!({ "status_code": "InProgress", "progress": 30, "_instance": id });
    record(world, name, &format!("Launching a new EC2 instance: {id}"), TOO_FEW, outcome);
}

/// A group that is to go goes a moment after its last instance.
fn finish_deletion(world: &mut World, name: &str) {
    let ready = world.find(GROUPS, name).is_some_and(|group| is_ending(group) && members(group).next().is_none());
    if ready && !world.is_planned(GROUPS, name, "Deleted") {
        world.begin(GROUPS, name, "Deleted");
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::with_subnets;
    use super::super::within;
    use super::*;

    /// A world with two subnets in two zones, a launch template and a group of two.
    fn with_group() -> World {
        let mut world = with_subnets();
        let image = world.table("ec2/images").values().find(|one| one["architecture"] == "x86_64").unwrap();
        let data =
            json!({ "image_id": image["image_id"], "instance_type": "m6i.large", "security_group_ids": ["sg-1"] });
        let template = json!({ "launch_template_name": "prod", "launch_template_data": data });
        within(&mut world, "ec2::create_launch_template", template).unwrap();
        let new = json!({
            "auto_scaling_group_name": "prod", "min_size": 1, "max_size": 4, "desired_capacity": 2,
            "launch_template": { "launch_template_name": "prod", "version": "1" },
            "vpc_zone_identifier": "subnet-1,subnet-2", "health_check_grace_period": 300,
            "tags": [
                { "key": "team", "value": "core", "propagate_at_launch": true },
                { "key": "own", "value": "x", "propagate_at_launch": false },
            ],
        });
        within(&mut world, "autoscaling::create_auto_scaling_group", new).unwrap();
        world
    }

    fn settled() -> World {
        let mut world = with_group();
        crate::twin::physics::settle(&mut world);
        pass(&mut world, 60);
        world
    }

    fn pass(world: &mut World, seconds: i64) {
        world.advance(world.now + jiff::SignedDuration::from_secs(seconds));
    }

    fn shown(world: &mut World) -> Value {
        let found = within(world, "autoscaling::describe_auto_scaling_groups", json!({})).unwrap();
        found["auto_scaling_groups"][0].clone()
    }

    fn states(world: &mut World) -> Vec<String> {
        members(&shown(world)).map(|one| text(one, "lifecycle_state").to_owned()).collect()
    }

    fn activities(world: &mut World) -> Vec<Value> {
        let asked = json!({ "auto_scaling_group_name": "prod" });
        let found = within(world, "autoscaling::describe_scaling_activities", asked).unwrap();
        found["activities"].as_array().unwrap().clone()
    }

    #[test]
    fn a_group_fills_its_zones_evenly_and_hands_on_tags() {
        let mut world = settled();
        let group = shown(&mut world);
        let zones: Vec<&str> = members(&group).map(|one| text(one, "availability_zone")).collect();
        assert_eq!(zones, ["us-west-2a", "us-west-2b"]);
        assert_eq!(states(&mut world), ["InService", "InService"]);
        let instance = world.table(INSTANCES).values().next().unwrap();
        let tag = |key: &str| super::super::tag(&instance["tags"], key);
        assert_eq!((tag("team"), tag("own"), tag("aws:autoscaling:groupName")), (Some("core"), None, Some("prod")));
        assert_eq!(instance["_booted"], true);
        assert!(activities(&mut world).iter().all(|one| one["status_code"] == "Successful"));
    }

    #[test]
    fn every_answer_fits_its_schema() {
        let mut world = settled();
        for name in [
            "autoscaling::describe_auto_scaling_groups",
            "autoscaling::describe_auto_scaling_instances",
            "autoscaling::describe_scaling_activities",
            "autoscaling::describe_tags",
            "ec2::describe_instances",
            "ec2::describe_instance_status",
            "ec2::describe_volumes",
            "ec2::describe_launch_templates",
        ] {
            let (service, short) = name.split_once("::").unwrap();
            let operation = aws_dynamic::operation(service, short).unwrap();
            super::super::call(&mut world, operation, &json!({})).unwrap();
        }
    }

    #[test]
    fn a_terminated_instance_is_replaced() {
        let mut world = settled();
        let id = world.table(INSTANCES).keys().next().unwrap().clone();
        within(&mut world, "ec2::terminate_instances", json!({ "instance_ids": [id] })).unwrap();
        crate::twin::physics::settle(&mut world);
        pass(&mut world, 120);
        assert_eq!(states(&mut world), ["InService", "InService"]);
        assert!(!members(&shown(&mut world)).any(|one| one["instance_id"] == *id));
        let ended = world.find(INSTANCES, &id).unwrap();
        assert_eq!(ended["state"]["name"], "terminated");
        let enis = world.table("ec2/network_interfaces").values();
        assert_eq!(enis.filter(|eni| eni["attachment"]["instance_id"] == *id).count(), 0);
        pass(&mut world, 3600);
        assert!(world.find(INSTANCES, &id).is_none());
    }

    #[test]
    fn a_failed_launch_is_told_and_tried_again_later() {
        let mut world = with_group();
        world.put("trouble/capacity", "m6i.large", json!({}));
        crate::twin::physics::settle(&mut world);
        let failed = activities(&mut world);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["status_code"], "Failed");
        let message = text(&failed[0], "status_message");
        assert!(message.starts_with("We currently do not have sufficient m6i.large capacity"), "{message}");
        assert!(message.ends_with("Launching EC2 instance failed."), "{message}");
        world.remove("trouble/capacity", "m6i.large");
        pass(&mut world, 300);
        assert_eq!(states(&mut world), ["InService", "InService"]);
    }

    #[test]
    fn instances_with_failed_checks_are_replaced_after_the_grace_period() {
        let mut world = with_group();
        world.put("trouble/instances", "*", json!({}));
        crate::twin::physics::settle(&mut world);
        pass(&mut world, 200);
        let first = shown(&mut world);
        let asked = json!({ "filters": { "instance-status.status": "impaired" } });
        let status = within(&mut world, "ec2::describe_instance_status", asked).unwrap();
        assert_eq!(status["instance_statuses"].as_array().unwrap().len(), 2);
        assert!(members(&first).all(|one| one["health_status"] == "Healthy"));
        world.remove("trouble/instances", "*");
        pass(&mut world, 300);
        let second = shown(&mut world);
        assert_eq!(members(&second).count(), 2);
        assert!(members(&second).all(|one| !members(&first).any(|old| old["instance_id"] == one["instance_id"])));
    }

    #[test]
    fn deletion_waits_for_the_instances() {
        let mut world = settled();
        let end = |force: bool| json!({ "auto_scaling_group_name": "prod", "force_delete": force });
        let refused = within(&mut world, "autoscaling::delete_auto_scaling_group", end(false)).unwrap_err();
        assert_eq!(refused.code, "ResourceInUse");
        within(&mut world, "autoscaling::delete_auto_scaling_group", end(true)).unwrap();
        crate::twin::physics::settle(&mut world);
        assert_eq!(shown(&mut world)["status"], "Delete in progress");
        pass(&mut world, 120);
        assert_eq!(shown(&mut world), Value::Null);
        let living = world.table(INSTANCES).values().filter(|one| one["state"]["name"] != "terminated");
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn a_template_must_be_there_and_sizes_must_fit() {
        let mut world = with_group();
        let ghost = json!({
            "auto_scaling_group_name": "other", "min_size": 1, "max_size": 1, "vpc_zone_identifier": "subnet-1",
            "launch_template": { "launch_template_id": "lt-1" },
        });
        let refused = within(&mut world, "autoscaling::create_auto_scaling_group", ghost).unwrap_err();
        assert_eq!(refused.code, "ValidationError");
        assert!(
            refused.message.starts_with("You must use a valid fully-formed launch template."),
            "{}",
            refused.message
        );
        let more = json!({ "auto_scaling_group_name": "prod", "desired_capacity": 9 });
        let refused = within(&mut world, "autoscaling::set_desired_capacity", more).unwrap_err();
        assert_eq!(refused.message, "New SetDesiredCapacity value 9 is above max value 4 for the AutoScalingGroup.");
    }
}
