//! What controllers tell about objects, as `kubectl describe` shows it: bounded in number, and gone after an hour as on
//! a real server.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::selection::text;
use super::timer;
use super::{Controller, timer::time};
use crate::twin::world::World;

/// What happens by itself.
pub const CONTROLLERS: &[Controller] =
    &[Controller { name: "events are swept", watches: &["kube/namespaces"], run: sweep }];

const EVENTS: &str = "events";

/// How long an event stays. Kubernetes docs: kube-apiserver's `--event-ttl`.
const TTL_SECONDS: i64 = 3600;

/// More than a person reads; beyond, what is told is not kept.
const EVENTS_MAX: usize = 5_000;

/// Something went as it should.
pub fn normal(world: &mut World, cluster: &str, about: &Value, reason: &str, message: &str, by: &str) {
    tell(world, cluster, about, ("Normal", reason), message, by);
}

/// Something did not.
pub fn warning(world: &mut World, cluster: &str, about: &Value, reason: &str, message: &str, by: &str) {
    tell(world, cluster, about, ("Warning", reason), message, by);
}

fn tell(world: &mut World, cluster: &str, about: &Value, of: (&str, &str), message: &str, by: &str) {
    if world.is_off("events") {
        return;
    }
    let now = world.now_text();
    let (kind, reason) = of;
    let metadata = &about["metadata"];
    let (name, uid) = (text(metadata, "name"), text(metadata, "uid"));
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let digest = Sha256::digest(format!("{uid}\n{reason}\n{message}\n{by}").as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name_of_event = format!("{name}.{digits}");
    let key = format!("{namespace}/{name_of_event}");
    let uid_of_event = format!("{}-{}-4000-a000-{digits}0000", &digits[..8], &digits[8..12]);
    let Some(store) = world.store_mut(cluster) else { return };
    if store.get(EVENTS, &key).is_some() {
        store.change(EVENTS, &key, |event| {
            event["count"] = json!(event["count"].as_u64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(now);
        });
        return;
    }
    let there = store.list(EVENTS).len();
    if there >= EVENTS_MAX {
        return;
    }
    let mut involved = json!({ "apiVersion": about["apiVersion"], "kind": about["kind"], "name": name, "uid": uid,
        "resourceVersion": metadata["resourceVersion"] });
    if metadata["namespace"].is_string() {
        involved["namespace"] = metadata["namespace"].clone();
    }
    store.create(
        EVENTS,
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name_of_event, "namespace": namespace, "uid": uid_of_event, "creationTimestamp": now },
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": { "component": by },
            "reportingComponent": by,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": null,
            "count": 1,
        }),
    );
    // The namespace that every cluster has stands for its events: one alarm is enough for all of them.
    timer::look_at(world, cluster, "namespaces", "default", timer::after(world.now, TTL_SECONDS));
}

/// Old events go.
fn sweep(world: &mut World) {
    let ttl = |event: &Value| time(event, "lastTimestamp").map(|time| timer::after(time, TTL_SECONDS));
    for cluster in world.clusters() {
        if !world.changes().of(&cluster).keys("namespaces").contains("default") {
            continue;
        }
        let now = world.now;
        let Some(store) = world.store_mut(&cluster) else { continue };
        let of_twin = |event: &Value| event["source"]["component"].is_string();
        let old =
            store.list(EVENTS).iter().filter(|(_, one)| of_twin(one) && ttl(one).is_some_and(|until| until <= now));
        let old: Vec<String> = old.map(|(key, _)| key.clone()).collect();
        for key in old {
            store.remove(EVENTS, &key);
        }
        if let Some(next) = store.list(EVENTS).values().filter_map(ttl).min() {
            timer::look_at(world, &cluster, "namespaces", "default", next);
        }
    }
}
