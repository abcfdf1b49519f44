//! What tests of controllers begin with.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::twin::kube;
use crate::twin::world::World;

/// A world with the API server `prod` and these nodes, ready and with room.
pub fn world(nodes: &[&str]) -> World {
    let mut world = World::new(1).unwrap();
    world.start_server("prod");
    for name in nodes {
        kube::create(&mut world, "prod", "nodes", node(name));
    }
    world
}

/// A node that is ready and has room.
pub fn node(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": {} }, "spec": {},
        "status": { "allocatable": { "cpu": "8", "memory": "32Gi", "pods": "50" },
            "conditions": [{ "type": "Ready", "status": "True" }],
            "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] } })
}

/// Lets time pass.
pub fn pass(world: &mut World, seconds: i64) {
    world.advance(world.now + SignedDuration::from_secs(seconds));
}
