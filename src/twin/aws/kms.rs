//! KMS: keys and their aliases.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Answer, Refusal, Row, refuse, tags, text, texts};
use crate::twin::Arrival;
use crate::twin::physics::Controller;
use crate::twin::world::{World, moment};

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("kms::create_key", create_key),
    ("kms::describe_key", describe_key),
    ("kms::list_keys", list_keys),
    ("kms::enable_key", enable_key),
    ("kms::disable_key", disable_key),
    ("kms::schedule_key_deletion", schedule_key_deletion),
    ("kms::cancel_key_deletion", cancel_key_deletion),
    ("kms::create_alias", create_alias),
    ("kms::delete_alias", delete_alias),
    ("kms::list_aliases", list_aliases),
    ("kms::get_key_rotation_status", get_key_rotation_status),
    ("kms::enable_key_rotation", enable_key_rotation),
    ("kms::disable_key_rotation", disable_key_rotation),
    ("kms::get_key_policy", get_key_policy),
    ("kms::put_key_policy", put_key_policy),
    ("kms::list_resource_tags", list_resource_tags),
    ("kms::tag_resource", tag_resource),
    ("kms::untag_resource", untag_resource),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(KEYS, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const KEYS: &str = "kms/keys";
const ALIASES: &str = "kms/aliases";

const DAY: u64 = 86_400;

/// From one turn of a key to the next.
const ROTATION_DAYS: i64 = 365;

fn arrive(world: &mut World, id: &str, _: &str) {
    let of_key = |alias: &Value| alias["target_key_id"] == id;
    let aliases = world.table(ALIASES).iter().filter(|(_, alias)| of_key(alias));
    let names: Vec<String> = aliases.map(|(name, _)| name.clone()).collect();
    for name in names {
        world.remove(ALIASES, &name);
    }
    world.remove(KEYS, id);
}

/// The id of the key that a caller names by id, ARN or alias.
pub fn key_id(world: &World, named: &str) -> Result<String, Refusal> {
    let short = match named.strip_prefix("arn:") {
        Some(_) => named.splitn(6, ':').last().unwrap_or(named),
        None => named,
    };
    if short.starts_with("alias/") {
        return match world.find(ALIASES, short) {
            Some(alias) => Ok(text(alias, "target_key_id").to_owned()),
            None => refuse("NotFoundException", 400, format!("Alias {} is not found.", world.arn("kms", short))),
        };
    }
    let id = short.strip_prefix("key/").unwrap_or(short);
    if world.find(KEYS, id).is_none() {
        let arn = world.arn("kms", &format!("key/{id}"));
        return refuse("NotFoundException", 400, format!("Key '{arn}' does not exist"));
    }
    Ok(id.to_owned())
}

fn key<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let named = text(input, "key_id");
    let id = key_id(world, named)?;
    world.find_mut(KEYS, &id).map_or_else(|| refuse("NotFoundException", 400, format!("Key '{id}' does not exist")), Ok)
}

/// A key that is not about to go.
fn usable<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let key = key(world, input)?;
    if key["key_state"] == "PendingDeletion" {
        return refuse("KMSInvalidStateException", 400, format!("{} is pending deletion.", text(key, "arn")));
    }
    Ok(key)
}

/// A key that is neither disabled nor about to go.
fn enabled<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut Value, Refusal> {
    let key = usable(world, input)?;
    if key["key_state"] == "Disabled" {
        return refuse("DisabledException", 400, format!("{} is disabled.", text(key, "arn")));
    }
    Ok(key)
}

fn create_key(world: &mut World, input: &Value) -> Answer {
    let id = world.uuid("key");
    let arn = world.arn("kms", &format!("key/{id}"));
    let policy = json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
            "Principal": { "AWS": world.iam_arn("root") },
        }],
    });
    let spec = input["key_spec"].as_str().unwrap_or("SYMMETRIC_DEFAULT");
    let key = json!({
        "aws_account_id": world.account, "key_id": id, "arn": arn, "creation_date": world.now_text(),
        "enabled": true, "description": text(input, "description"), "key_state": "Enabled", "origin": "AWS_KMS",
        "key_usage": input["key_usage"].as_str().unwrap_or("ENCRYPT_DECRYPT"), "key_manager": "CUSTOMER",
        "key_spec": spec, "customer_master_key_spec": old_word(spec), "multi_region": input["multi_region"] == true,
        "encryption_algorithms": if spec == "SYMMETRIC_DEFAULT" { json!([spec]) } else { Value::Null },
        "_tags": if input["tags"].is_array() { input["tags"].clone() } else { json!([]) },
        "_rotation": false,
        "_policy": input["policy"].as_str().map_or_else(|| policy.to_string(), str::to_owned),
    });
    world.put(KEYS, &id, key.clone());
    Ok(json!({ "key_metadata": key }))
}

/// The field that `key_spec` replaced knows no kind of key that came after it.
fn old_word(spec: &str) -> Value {
    if ["SYMMETRIC_", "RSA_", "ECC_NIST_P", "ECC_SECG_", "HMAC_", "SM2"].iter().any(|old| spec.starts_with(old)) {
        json!(spec)
    } else {
        Value::Null
    }
}

fn describe_key(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "key_metadata": key(world, input)? }))
}

fn list_keys(world: &mut World, _: &Value) -> Answer {
    let keys = world.table(KEYS).values().map(|key| json!({ "key_id": key["key_id"], "key_arn": key["arn"] }));
    Ok(json!({ "keys": keys.collect::<Vec<_>>() }))
}

fn enable_key(world: &mut World, input: &Value) -> Answer {
    set_enabled(world, input, true)
}

fn disable_key(world: &mut World, input: &Value) -> Answer {
    set_enabled(world, input, false)
}

fn set_enabled(world: &mut World, input: &Value, enabled: bool) -> Answer {
    let key = usable(world, input)?;
    key["enabled"] = json!(enabled);
    key["key_state"] = json!(if enabled { "Enabled" } else { "Disabled" });
    Ok(json!({}))
}

fn schedule_key_deletion(world: &mut World, input: &Value) -> Answer {
    let days = input["pending_window_in_days"].as_u64().unwrap_or(30);
    if !(7..=30).contains(&days) {
        let message = "PendingWindowInDays must be between 7 and 30 (inclusive).";
        return refuse("ValidationException", 400, message);
    }
    let pause = Duration::from_secs(days * DAY);
    let gone = world.now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    let gone = moment::text(gone);
    let key = usable(world, input)?;
    key["key_state"] = json!("PendingDeletion");
    key["enabled"] = json!(false);
    key["deletion_date"] = json!(gone);
    let (id, arn) = (text(key, "key_id").to_owned(), key["arn"].clone());
    world.begin_after(pause, KEYS, &id, "Deleted");
    Ok(json!({
        "key_id": arn, "deletion_date": gone, "key_state": "PendingDeletion", "pending_window_in_days": days,
    }))
}

fn cancel_key_deletion(world: &mut World, input: &Value) -> Answer {
    let key = key(world, input)?;
    let arn = text(key, "arn").to_owned();
    if key["key_state"] != "PendingDeletion" {
        return refuse("KMSInvalidStateException", 400, format!("{arn} is not pending deletion."));
    }
    key["key_state"] = json!("Disabled");
    if let Some(fields) = key.as_object_mut() {
        fields.remove("deletion_date");
    }
    let id = text(key, "key_id").to_owned();
    world.forget(KEYS, &id);
    Ok(json!({ "key_id": arn }))
}

fn create_alias(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "alias_name");
    let arn = world.arn("kms", name);
    if !name.starts_with("alias/") {
        return refuse("ValidationException", 400, "Invalid identifier");
    }
    if name.starts_with("alias/aws/") {
        return refuse("InvalidAliasNameException", 400, format!("Alias {name} is not valid or is reserved for AWS."));
    }
    if world.find(ALIASES, name).is_some() {
        return refuse("AlreadyExistsException", 400, format!("An alias with the name {arn} already exists"));
    }
    let target = json!({ "key_id": text(input, "target_key_id") });
    let id = usable(world, &target)?["key_id"].clone();
    let now = world.now_text();
    let alias = json!({
        "alias_name": name, "alias_arn": arn, "target_key_id": id, "creation_date": now, "last_updated_date": now,
    });
    world.put(ALIASES, name, alias);
    Ok(json!({}))
}

fn delete_alias(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "alias_name");
    if world.remove(ALIASES, name).is_none() {
        return refuse("NotFoundException", 400, format!("Alias {} is not found.", world.arn("kms", name)));
    }
    Ok(json!({}))
}

fn list_aliases(world: &mut World, input: &Value) -> Answer {
    let only = match input["key_id"].as_str() {
        Some(named) => Some(key_id(world, named)?),
        None => None,
    };
    let fits = |alias: &&Value| only.as_deref().is_none_or(|id| alias["target_key_id"] == id);
    Ok(json!({ "aliases": world.table(ALIASES).values().filter(fits).collect::<Vec<_>>() }))
}

fn get_key_rotation_status(world: &mut World, input: &Value) -> Answer {
    let key = key(world, input)?;
    // While a key waits for its deletion it is not rotated, and says so; cancelled, it is as before.
    let on = key["_rotation"] == true && key["key_state"] != "PendingDeletion";
    let mut status = json!({ "key_rotation_enabled": on, "key_id": key["key_id"] });
    if on {
        status["rotation_period_in_days"] = json!(ROTATION_DAYS);
        status["next_rotation_date"] = key["_next_rotation"].clone();
    }
    Ok(status)
}

fn enable_key_rotation(world: &mut World, input: &Value) -> Answer {
    let next = moment::text(world.now + SignedDuration::from_hours(24 * ROTATION_DAYS));
    let key = enabled(world, input)?;
    if key["_rotation"] != true {
        key["_rotation"] = json!(true);
        key["_next_rotation"] = json!(next);
    }
    Ok(json!({}))
}

fn disable_key_rotation(world: &mut World, input: &Value) -> Answer {
    enabled(world, input)?["_rotation"] = json!(false);
    Ok(json!({}))
}

fn get_key_policy(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "policy": key(world, input)?["_policy"], "policy_name": "default" }))
}

fn put_key_policy(world: &mut World, input: &Value) -> Answer {
    usable(world, input)?["_policy"] = input["policy"].clone();
    Ok(json!({}))
}

fn list_resource_tags(world: &mut World, input: &Value) -> Answer {
    let tags = key(world, input)?["_tags"].clone();
    Ok(json!({ "tags": if tags.is_null() { json!([]) } else { tags } }))
}

fn tag_resource(world: &mut World, input: &Value) -> Answer {
    tags::put(&mut usable(world, input)?["_tags"], &input["tags"], "tag_key");
    Ok(json!({}))
}

fn untag_resource(world: &mut World, input: &Value) -> Answer {
    tags::drop(&mut usable(world, input)?["_tags"], &texts(&input["tag_keys"]), "tag_key");
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::super::within;
    use super::*;

    #[test]
    fn a_key_waits_for_its_end_and_can_be_called_back() {
        let mut world = World::new(1).unwrap();
        let made = within(&mut world, "kms::create_key", json!({})).unwrap();
        let id = made["key_metadata"]["key_id"].clone();
        let alias = json!({ "alias_name": "alias/x", "target_key_id": id });
        within(&mut world, "kms::create_alias", alias).unwrap();
        let end = json!({ "key_id": "alias/x", "pending_window_in_days": 7 });
        let short =
            within(&mut world, "kms::schedule_key_deletion", json!({ "key_id": id, "pending_window_in_days": 6 }));
        assert_eq!(short.unwrap_err().code, "ValidationException");
        within(&mut world, "kms::schedule_key_deletion", end.clone()).unwrap();
        let again = within(&mut world, "kms::schedule_key_deletion", end.clone()).unwrap_err();
        assert_eq!(again.code, "KMSInvalidStateException");
        within(&mut world, "kms::cancel_key_deletion", json!({ "key_id": id })).unwrap();
        world.advance(world.now + SignedDuration::from_hours(24 * 8));
        assert_eq!(
            within(&mut world, "kms::describe_key", json!({ "key_id": id })).unwrap()["key_metadata"]["key_state"],
            "Disabled"
        );
        within(&mut world, "kms::schedule_key_deletion", end).unwrap();
        world.advance(world.now + SignedDuration::from_hours(24 * 8));
        let gone = within(&mut world, "kms::describe_key", json!({ "key_id": "alias/x" })).unwrap_err();
        assert_eq!(gone.code, "NotFoundException");
        assert!(gone.message.starts_with("Alias arn:aws:kms:us-west-2:123456789012:alias/x"), "{}", gone.message);
    }

    #[test]
    fn only_an_enabled_key_is_turned_over() {
        let mut world = World::new(1).unwrap();
        let made = within(&mut world, "kms::create_key", json!({})).unwrap();
        let id = json!({ "key_id": made["key_metadata"]["key_id"] });
        let mut end = id.clone();
        end["pending_window_in_days"] = json!(7);
        let on = |world: &mut World| {
            within(world, "kms::get_key_rotation_status", id.clone()).unwrap()["key_rotation_enabled"].clone()
        };
        within(&mut world, "kms::enable_key_rotation", id.clone()).unwrap();
        let status = within(&mut world, "kms::get_key_rotation_status", id.clone()).unwrap();
        assert_eq!((&status["key_id"], &status["rotation_period_in_days"]), (&id["key_id"], &json!(365)));
        assert_eq!(status["next_rotation_date"], "2027-11-02T09:00:00Z");
        within(&mut world, "kms::schedule_key_deletion", end).unwrap();
        assert_eq!(on(&mut world), false);
        within(&mut world, "kms::cancel_key_deletion", id.clone()).unwrap();
        assert_eq!(on(&mut world), true);
        let refusal = within(&mut world, "kms::disable_key_rotation", id.clone()).unwrap_err();
        assert_eq!(refusal.code, "DisabledException");
    }
}
