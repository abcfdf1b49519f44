//! The Kubernetes API of a twin, on the wire: HTTP in, HTTP out.

pub mod apply;
pub mod fields;
pub mod patch;
pub mod path;
pub mod schema;
pub mod store;

use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::world::World;

/// Why the API server says no: a `Status` of `Failure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, …
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details` of the Status: `{ name, group, kind, causes: [{ reason, message, field }] }`.
    pub details: Value,
}

/// Answers one request to the API server of a cluster, and settles the world. `caller` is the ARN of who asks.
pub fn answer(world: &mut World, cluster: &str, caller: &str, parts: &Parts, body: &[u8]) -> Response<Vec<u8>> {
    let _ = (world, cluster, caller, parts, body);
    let mut response = Response::new(Vec::new());
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

/// Stores a new object of a controller or of EKS as it is, with its uid and creationTimestamp. `kind` is the store's:
/// `pods`, `deployments.apps`.
pub fn create(world: &mut World, cluster: &str, kind: &str, mut object: Value) {
    object["metadata"]["uid"] = json!(world.uuid("object"));
    object["metadata"]["creationTimestamp"] = json!(world.now_text());
    if let Some(store) = world.store_mut(cluster) {
        store.create(kind, object);
    }
}

/// Server-side apply by a manager other than a client: how EKS installs add-ons.
pub fn apply(world: &mut World, cluster: &str, manager: &str, force: bool, object: Value) -> Result<Value, Problem> {
    let _ = (world, cluster, manager, force);
    Ok(object)
}

/// Deletes an object as a DELETE on the wire does: with finalizers or a grace period it gets a `deletionTimestamp`
/// first. What it owns is left to the garbage collector. False where it is not there.
pub fn delete(world: &mut World, cluster: &str, kind: &str, key: &str) -> bool {
    world.store_mut(cluster).is_some_and(|store| store.remove(kind, key).is_some())
}
