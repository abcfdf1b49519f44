//! Tags of everything that EKS has, by ARN.

use serde_json::{Value, json};

use crate::twin::aws::{Answer, Refusal, refuse, text, texts};
use crate::twin::world::World;

/// Tables with things that have tags, and the field with their ARN.
const TAGGED: &[(&str, &str)] = &[
    ("eks/clusters", "arn"),
    ("eks/nodegroups", "nodegroup_arn"),
    ("eks/addons", "addon_arn"),
    ("eks/access_entries", "access_entry_arn"),
    ("eks/pod_identity_associations", "association_arn"),
];

/// `eks::tag_resource`.
pub(super) fn tag_resource(world: &mut World, input: &Value) -> Answer {
    let thing = tagged(world, text(input, "resource_arn"))?;
    if thing["tags"].is_null() {
        thing["tags"] = json!({});
    }
    super::merge(&mut thing["tags"], &input["tags"]);
    Ok(json!({}))
}

/// `eks::untag_resource`.
pub(super) fn untag_resource(world: &mut World, input: &Value) -> Answer {
    let thing = tagged(world, text(input, "resource_arn"))?;
    if let Some(tags) = thing["tags"].as_object_mut() {
        tags.retain(|key, _| !texts(&input["tag_keys"]).contains(&key.as_str()));
    }
    Ok(json!({}))
}

/// `eks::list_tags_for_resource`.
pub(super) fn list_tags_for_resource(world: &mut World, input: &Value) -> Answer {
    let tags = super::tags_of(tagged(world, text(input, "resource_arn"))?);
    Ok(json!({ "tags": tags }))
}

fn tagged<'w>(world: &'w mut World, arn: &str) -> Result<&'w mut Value, Refusal> {
    let found = TAGGED.iter().find_map(|(table, field)| {
        let (id, _) = world.table(table).iter().find(|(_, thing)| thing[*field] == arn)?;
        Some((*table, id.clone()))
    });
    let thing = found.and_then(|(table, id)| world.find_mut(table, &id));
    thing.map_or_else(|| refuse("NotFoundException", 404, "Resource was not found"), Ok)
}
