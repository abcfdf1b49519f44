//! EBS volumes.

use serde_json::{Value, json};

use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, filter, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::create_volume", create_volume),
    ("ec2::describe_volumes", describe_volumes),
    ("ec2::delete_volume", delete_volume),
    ("ec2::attach_volume", attach_volume),
    ("ec2::detach_volume", detach_volume),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(VOLUMES, arrive)];

const VOLUMES: &str = "ec2/volumes";

const FILTERS: filter::Names = &[
    ("status", "state"),
    ("attachment.instance-id", "attachments.instance_id"),
    ("attachment.status", "attachments.state"),
    ("attachment.device", "attachments.device"),
];

fn arrive(world: &mut World, id: &str, to: &str) {
    if let Some(volume) = world.find_mut(VOLUMES, id) {
        volume["state"] = json!(to);
    }
}

/// The disk that comes with an instance, as its block device mapping describes it, and the volume's id.
pub(super) fn with_instance(world: &mut World, instance: &str, zone: &str, mapping: &Value, tags: &Value) -> String {
    let ebs = &mapping["ebs"];
    let id = world.id("vol");
    let attachment = json!({
        "volume_id": id, "instance_id": instance, "device": mapping["device_name"], "state": "attached",
        "attach_time": world.now_text(), "delete_on_termination": ebs["delete_on_termination"] != false,
    });
    let mut volume = json!({
        "volume_id": id, "availability_zone": zone, "create_time": world.now_text(), "state": "in-use",
        "size": ebs["volume_size"].as_i64().unwrap_or(20), "encrypted": ebs["encrypted"] == true,
        "volume_type": ebs["volume_type"].as_str().unwrap_or("gp3"), "multi_attach_enabled": false,
        "attachments": [attachment],
    });
    if tags.as_array().is_some_and(|tags| !tags.is_empty()) {
        volume["tags"] = tags.clone();
    }
    for key in ["iops", "throughput", "snapshot_id", "kms_key_id"] {
        if !ebs[key].is_null() {
            volume[key] = ebs[key].clone();
        }
    }
    perform(&mut volume);
    world.put(VOLUMES, &id, volume);
    id
}

/// An instance ended: its own disks go with it, the others are free.
pub(super) fn release(world: &mut World, instance: &str) {
    let mut of_it = Vec::new();
    for (id, volume) in world.table(VOLUMES) {
        let attachments = volume["attachments"].as_array().into_iter().flatten();
        if let Some(one) = attachments.into_iter().find(|one| one["instance_id"] == instance) {
            of_it.push((id.clone(), one["delete_on_termination"] == true));
        }
    }
    for (id, goes) in of_it {
        if goes {
            world.remove(VOLUMES, &id);
        } else if let Some(volume) = world.find_mut(VOLUMES, &id) {
            volume["state"] = json!("available");
            volume["attachments"] = json!([]);
        }
    }
}

/// Operations and throughput that a volume has where nobody asked for others.
fn perform(volume: &mut Value) {
    let (iops, throughput) = match text(volume, "volume_type") {
        "gp3" => (Some(3000), Some(125)),
        "gp2" => (volume["size"].as_i64().map(|size| (size * 3).clamp(100, 16_000)), None),
        _ => (None, None),
    };
    for (key, usual) in [("iops", iops), ("throughput", throughput)] {
        if let (true, Some(usual)) = (volume[key].is_null(), usual) {
            volume[key] = json!(usual);
        }
    }
}

fn volume<'a>(world: &'a mut World, id: &str) -> Result<&'a mut Value, Refusal> {
    match world.find_mut(VOLUMES, id) {
        Some(volume) => Ok(volume),
        None => refuse("InvalidVolume.NotFound", 400, format!("The volume '{id}' does not exist.")),
    }
}

fn create_volume(world: &mut World, input: &Value) -> Answer {
    let zone = text(input, "availability_zone");
    let zones = world.table("ec2/availability_zones");
    if !zones.is_empty() && !zones.values().any(|one| one["zone_name"] == zone) {
        return refuse("InvalidZone.NotFound", 400, format!("The zone '{zone}' does not exist."));
    }
    let id = world.id("vol");
    let mut volume = json!({
        "volume_id": id, "availability_zone": zone, "create_time": world.now_text(), "state": "creating",
        "size": input["size"].as_i64().unwrap_or(8), "encrypted": input["encrypted"] == true,
        "volume_type": input["volume_type"].as_str().unwrap_or("gp2"), "multi_attach_enabled": false,
        "attachments": [], "tags": specified_tags(input, "volume"),
    });
    for key in ["snapshot_id", "iops", "throughput", "kms_key_id"] {
        if !input[key].is_null() {
            volume[key] = input[key].clone();
        }
    }
    perform(&mut volume);
    world.put(VOLUMES, &id, volume.clone());
    world.begin(VOLUMES, &id, "available");
    Ok(volume)
}

fn describe_volumes(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["volume_ids"]);
    for id in &ids {
        volume(world, id)?;
    }
    let wanted = |one: &&Value| ids.is_empty() || ids.contains(&text(one, "volume_id"));
    let found = filter::select(world.table(VOLUMES).values().filter(wanted), &input["filters"], FILTERS);
    Ok(json!({ "volumes": found }))
}

fn delete_volume(world: &mut World, input: &Value) -> Answer {
    let id = text(input, "volume_id");
    let volume = volume(world, id)?;
    if volume["state"] == "in-use" {
        let holder = text(&volume["attachments"][0], "instance_id");
        return refuse("VolumeInUse", 400, format!("Volume {id} is currently attached to {holder}"));
    }
    world.remove(VOLUMES, id);
    Ok(json!({}))
}

fn attach_volume(world: &mut World, input: &Value) -> Answer {
    let (id, instance) = (text(input, "volume_id"), text(input, "instance_id"));
    let now = world.now_text();
    let zone = super::compute::instance(world, instance)?["placement"]["availability_zone"].clone();
    let volume = volume(world, id)?;
    if volume["state"] != "available" {
        return refuse("IncorrectState", 400, format!("Volume '{id}' is not 'available'."));
    }
    if volume["availability_zone"] != zone {
        let message = format!("The volume '{id}' is not in the same availability zone as instance '{instance}'");
        return refuse("InvalidVolume.ZoneMismatch", 400, message);
    }
    let attachment = json!({
        "volume_id": id, "instance_id": instance, "device": input["device"], "state": "attached", "attach_time": now,
        "delete_on_termination": false,
    });
    volume["state"] = json!("in-use");
    volume["attachments"] = json!([attachment]);
    Ok(attachment)
}

fn detach_volume(world: &mut World, input: &Value) -> Answer {
    let id = text(input, "volume_id");
    let volume = volume(world, id)?;
    let mut attachment = volume["attachments"][0].clone();
    if attachment.is_null() {
        return refuse("IncorrectState", 400, format!("Volume '{id}' is in the 'available' state."));
    }
    attachment["state"] = json!("detached");
    volume["state"] = json!("available");
    volume["attachments"] = json!([]);
    Ok(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::aws::within;

    #[test]
    fn a_volume_in_use_stays() {
        let mut world = World::new(1).unwrap();
        let mapping = json!({ "device_name": "/dev/xvda", "ebs": { "delete_on_termination": true } });
        let id = with_instance(&mut world, "i-1", "us-west-2a", &mapping, &json!([]));
        let refused = within(&mut world, "ec2::delete_volume", json!({ "volume_id": id })).unwrap_err();
        assert_eq!(
            (refused.code.as_str(), refused.message),
            ("VolumeInUse", format!("Volume {id} is currently attached to i-1"))
        );
        release(&mut world, "i-1");
        let gone = within(&mut world, "ec2::delete_volume", json!({ "volume_id": id })).unwrap_err();
        assert_eq!(gone.code, "InvalidVolume.NotFound");
    }
}
