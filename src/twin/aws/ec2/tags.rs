//! Tags of everything in EC2.

use serde_json::{Value, json};

use super::listing::{self, KINDS, Kind};
use crate::twin::aws::filter;
use crate::twin::aws::{Answer, Refusal, Row, refuse, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] =
    &[("ec2::create_tags", create_tags), ("ec2::delete_tags", delete_tags), ("ec2::describe_tags", describe_tags)];

/// AWS's limit of tags on one thing.
const TAGS_MAX: usize = 50;

/// What an id means; it must be there.
fn kind(world: &World, id: &str) -> Result<&'static Kind, Refusal> {
    match listing::kind_of(id) {
        Some(kind) => listing::get(world, kind.table, id).map(|_| kind),
        None => refuse("InvalidID", 400, format!("The ID '{id}' is not valid")),
    }
}

fn targets(world: &World, input: &Value) -> Result<Vec<(&'static Kind, String)>, Refusal> {
    texts(&input["resources"]).into_iter().map(|id| Ok((kind(world, id)?, id.to_owned()))).collect()
}

fn create_tags(world: &mut World, input: &Value) -> Answer {
    let targets = targets(world, input)?;
    let given = input["tags"].as_array().cloned().unwrap_or_default();
    for (kind, id) in &targets {
        let thing = listing::get(world, kind.table, id)?;
        if merged(&thing[kind.tags], &given).len() > TAGS_MAX {
            let message = format!("The maximum number of tags on resource {id} has been reached.");
            return refuse("TagLimitExceeded", 400, message);
        }
    }
    for (kind, id) in &targets {
        if let Some(thing) = world.find_mut(kind.table, id) {
            thing[kind.tags] = Value::Array(merged(&thing[kind.tags], &given));
        }
    }
    Ok(json!({}))
}

fn merged(present: &Value, given: &[Value]) -> Vec<Value> {
    let mut tags = present.as_array().cloned().unwrap_or_default();
    for tag in given {
        let tag = json!({ "key": tag["key"], "value": text(tag, "value") });
        match tags.iter_mut().find(|old| old["key"] == tag["key"]) {
            Some(old) => *old = tag,
            None => tags.push(tag),
        }
    }
    tags
}

fn delete_tags(world: &mut World, input: &Value) -> Answer {
    let targets = targets(world, input)?;
    let given = input["tags"].as_array().cloned();
    // A tag without a value is deleted whatever its value; without tags, all that the caller made are.
    let is_meant = |tag: &Value| match &given {
        None => !text(tag, "key").starts_with("aws:"),
        Some(given) => given
            .iter()
            .any(|one| one["key"] == tag["key"] && (!one["value"].is_string() || one["value"] == tag["value"])),
    };
    for (kind, id) in &targets {
        if let Some(Value::Array(tags)) = world.find_mut(kind.table, id).map(|thing| &mut thing[kind.tags]) {
            tags.retain(|tag| !is_meant(tag));
        }
    }
    Ok(json!({}))
}

fn describe_tags(world: &mut World, input: &Value) -> Answer {
    let filters = &input["filters"];
    filter::check(filters, &[], &["key", "resource-id", "resource-type", "value"])?;
    let mut found = Vec::new();
    for kind in KINDS {
        for (id, thing) in world.table(kind.table) {
            for tag in thing[kind.tags].as_array().into_iter().flatten() {
                found.push(json!({
                    "resource_id": id, "resource_type": kind.resource_type, "key": tag["key"], "value": tag["value"],
                }));
            }
        }
    }
    // `tag:name` means key and value of the tag itself here.
    let fits = |tag: &Value| {
        let shown = json!({
            "resource_id": tag["resource_id"], "resource_type": tag["resource_type"], "key": tag["key"],
            "value": tag["value"], "tags": [tag],
        });
        filter::fits(&shown, filters, &[])
    };
    found.retain(fits);
    Ok(json!({ "tags": found }))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    #[test]
    fn tags_come_and_go_on_things_of_any_kind() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let subnet = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let eni = stage.interface(&subnet);
        let tags = json!([{ "key": "a", "value": "1" }, { "key": "b", "value": "2" }]);
        stage.ok("create_tags", json!({ "resources": [vpc, eni], "tags": tags }));
        let of_a = json!({ "filters": [{ "name": "tag:a", "values": ["1"] }] });
        let found = stage.ok("describe_network_interfaces", of_a);
        assert_eq!(found["network_interfaces"][0]["network_interface_id"], eni.as_str());
        stage.ok("delete_tags", json!({ "resources": [vpc], "tags": [{ "key": "a" }, { "key": "b", "value": "3" }] }));
        let of_vpc = json!({ "filters": [{ "name": "resource-id", "values": [vpc] }] });
        let left = stage.ok("describe_tags", of_vpc)["tags"].clone();
        assert_eq!(left.as_array().unwrap().len(), 1);
        assert_eq!((&left[0]["key"], &left[0]["resource_type"]), (&json!("b"), &json!("vpc")));
    }

    #[test]
    fn what_is_not_there_can_not_be_tagged() {
        let mut stage = Stage::new();
        let input = json!({ "resources": ["vpc-1"], "tags": [{ "key": "a", "value": "1" }] });
        assert_eq!(code(&stage.no("create_tags", input)), "InvalidVpcID.NotFound");
    }
}
