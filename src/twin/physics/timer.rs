//! When a controller wants to look at an object again though nothing changed: a deadline, a schedule, a grace period.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::selection::text;
use crate::twin::world::World;

/// What a transition of an object leads to when it only means that its controller looks again.
pub const LOOK: &str = "looked at again";

/// Lets the controllers look at an object again at this time, or soon after now where that is over.
pub fn look_at(world: &mut World, cluster: &str, kind: &str, key: &str, time: Timestamp) {
    let (table, id) = (format!("kube/{kind}"), format!("{cluster}/{key}"));
    let time = time.max(world.now + SignedDuration::from_secs(1));
    let is_known = world.pending().of(&table, &id).any(|planned| planned.to == LOOK && planned.at <= time);
    if is_known {
        return;
    }
    let pause = Duration::try_from(time.duration_since(world.now)).unwrap_or_default();
    world.begin_after(pause, &table, &id, LOOK);
}

/// The time has come.
pub fn arrive(world: &mut World, id: &str, table: &str) {
    let Some((cluster, key)) = id.split_once('/') else { return };
    if let (Some(store), Some(kind)) = (world.store_mut(cluster), table.strip_prefix("kube/")) {
        store.touch(kind, key);
    }
}

/// A time of an object: `metadata.creationTimestamp`.
pub fn time(of: &Value, key: &str) -> Option<Timestamp> {
    text(of, key).parse().ok()
}

/// So many seconds later.
pub fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
