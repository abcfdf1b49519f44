//! CloudWatch Logs: log groups.

use serde_json::{Map, Value, json};

use super::{Answer, Refusal, Row, refuse, text, texts};
use crate::twin::Arrival;
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("cloudwatchlogs::create_log_group", create_log_group),
    ("cloudwatchlogs::describe_log_groups", describe_log_groups),
    ("cloudwatchlogs::delete_log_group", delete_log_group),
    ("cloudwatchlogs::put_retention_policy", put_retention_policy),
    ("cloudwatchlogs::delete_retention_policy", delete_retention_policy),
    ("cloudwatchlogs::list_tags_log_group", list_tags),
    ("cloudwatchlogs::tag_log_group", tag),
    ("cloudwatchlogs::untag_log_group", untag),
    ("cloudwatchlogs::list_tags_for_resource", list_tags),
    ("cloudwatchlogs::tag_resource", tag),
    ("cloudwatchlogs::untag_resource", untag),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const GROUPS: &str = "logs/groups";

/// The numbers of days that a log group can keep what it has.
const RETENTIONS: &[i64] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The group that a caller names, by its name or by its ARN.
fn group<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let named = input["log_group_name"].as_str().or_else(|| input["resource_arn"].as_str()).unwrap_or_default();
    let name = named.split_once(":log-group:").map_or(named, |(_, rest)| rest.trim_end_matches(":*"));
    match world.find_mut(GROUPS, name) {
        Some(group) => Ok(group),
        None => refuse("ResourceNotFoundException", 400, "The specified log group does not exist."),
    }
}

fn create_log_group(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "log_group_name");
    if world.find(GROUPS, name).is_some() {
        return refuse("ResourceAlreadyExistsException", 400, "The specified log group already exists");
    }
    let arn = world.arn("logs", &format!("log-group:{name}"));
    let mut group = json!({
        "log_group_name": name, "creation_time": world.now.as_millisecond(), "arn": format!("{arn}:*"),
        "log_group_arn": arn, "metric_filter_count": 0, "stored_bytes": 0,
        "log_group_class": input["log_group_class"].as_str().unwrap_or("STANDARD"),
        "_tags": if input["tags"].is_object() { input["tags"].clone() } else { json!({}) },
    });
    if input["kms_key_id"].is_string() {
        group["kms_key_id"] = input["kms_key_id"].clone();
    }
    world.put(GROUPS, name, group);
    Ok(json!({}))
}

fn describe_log_groups(world: &mut World, input: &Value) -> Answer {
    let (prefix, pattern) = (text(input, "log_group_name_prefix"), text(input, "log_group_name_pattern"));
    let fits = |(name, _): &(&String, &Value)| name.starts_with(prefix) && name.contains(pattern);
    let groups = world.table(GROUPS).iter().filter(fits).map(|(_, group)| group);
    Ok(json!({ "log_groups": groups.collect::<Vec<_>>() }))
}

fn delete_log_group(world: &mut World, input: &Value) -> Answer {
    group(world, input)?;
    world.remove(GROUPS, text(input, "log_group_name"));
    Ok(json!({}))
}

fn put_retention_policy(world: &mut World, input: &Value) -> Answer {
    let days = input["retention_in_days"].as_i64().unwrap_or_default();
    let group = group(world, input)?;
    if !RETENTIONS.contains(&days) {
        let message = format!("Invalid retention value. Valid values are: {RETENTIONS:?}");
        return refuse("InvalidParameterException", 400, message);
    }
    group["retention_in_days"] = json!(days);
    Ok(json!({}))
}

fn delete_retention_policy(world: &mut World, input: &Value) -> Answer {
    if let Some(fields) = group(world, input)?.as_object_mut() {
        fields.remove("retention_in_days");
    }
    Ok(json!({}))
}

fn list_tags(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "tags": tags_of(group(world, input)?) }))
}

fn tags_of(group: &Value) -> Map<String, Value> {
    group["_tags"].as_object().cloned().unwrap_or_default()
}

fn tag(world: &mut World, input: &Value) -> Answer {
    let group = group(world, input)?;
    let mut tags = tags_of(group);
    tags.extend(input["tags"].as_object().cloned().unwrap_or_default());
    group["_tags"] = Value::Object(tags);
    Ok(json!({}))
}

fn untag(world: &mut World, input: &Value) -> Answer {
    let group = group(world, input)?;
    let mut tags = tags_of(group);
    for key in texts(&input["tags"]).into_iter().chain(texts(&input["tag_keys"])) {
        tags.remove(key);
    }
    group["_tags"] = Value::Object(tags);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::super::within;
    use super::*;

    #[test]
    fn a_group_is_made_once_and_keeps_tags_and_days() {
        let mut world = World::new(1).unwrap();
        let new = json!({ "log_group_name": "/aws/eks/prod/cluster", "tags": { "a": "b" } });
        within(&mut world, "cloudwatchlogs::create_log_group", new.clone()).unwrap();
        let again = within(&mut world, "cloudwatchlogs::create_log_group", new).unwrap_err();
        assert_eq!(again.code, "ResourceAlreadyExistsException");
        let days = |days: i64| json!({ "log_group_name": "/aws/eks/prod/cluster", "retention_in_days": days });
        let odd = within(&mut world, "cloudwatchlogs::put_retention_policy", days(8)).unwrap_err();
        assert_eq!(odd.code, "InvalidParameterException");
        within(&mut world, "cloudwatchlogs::put_retention_policy", days(90)).unwrap();
        let found = within(&mut world, "cloudwatchlogs::describe_log_groups", json!({})).unwrap();
        assert_eq!(found["log_groups"][0]["retention_in_days"], 90);
        let arn = found["log_groups"][0]["arn"].clone();
        let tags =
            within(&mut world, "cloudwatchlogs::list_tags_for_resource", json!({ "resource_arn": arn })).unwrap();
        assert_eq!(tags["tags"]["a"], "b");
    }
}
