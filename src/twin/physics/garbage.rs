//! Owners that are gone, namespaces that end.

use serde_json::{Value, json};

use super::selection::{list, text};
use super::{Controller, pod};
use crate::twin::Arrival;
use crate::twin::kube;
use crate::twin::kube::store::{Store, key};
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// Kinds that own or are owned, or that a namespace holds while it ends.
const OWNED: &[&str] = &[
    "kube/configmaps",
    "kube/controllerrevisions.apps",
    "kube/cronjobs.batch",
    "kube/daemonsets.apps",
    "kube/deployments.apps",
    "kube/endpoints",
    "kube/endpointslices.discovery.k8s.io",
    "kube/ingresses.networking.k8s.io",
    "kube/jobs.batch",
    "kube/leases.coordination.k8s.io",
    "kube/namespaces",
    "kube/nodes",
    "kube/persistentvolumeclaims",
    "kube/pods",
    "kube/replicasets.apps",
    "kube/secrets",
    "kube/serviceaccounts",
    "kube/services",
    "kube/statefulsets.apps",
];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "pods of gone nodes go", watches: &["kube/nodes", "kube/pods"], run: orphaned_by_nodes },
    Controller { name: "garbage collection", watches: OWNED, run: collect },
    Controller { name: "namespaces end", watches: OWNED, run: end_namespaces },
];

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

fn orphaned_by_nodes(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let nodes = store.list("nodes");
        let lost = |pod: &Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| !nodes.contains_key(node));
        let pods: Vec<String> =
            store.list("pods").iter().filter(|(_, pod)| lost(pod)).map(|(key, _)| key.clone()).collect();
        for key in pods {
            world.forget("kube/pods", &format!("{cluster}/{key}"));
            if let Some(store) = world.store_mut(&cluster) {
                store.remove("pods", &key);
            }
        }
    }
}

fn collect(world: &mut World) {
    for cluster in world.clusters() {
        let (mut orphans, mut waiting) = (Vec::new(), Vec::new());
        let Some(store) = world.store(&cluster) else { continue };
        for (kind, key, object) in all(store) {
            if pod::is_ending(object) {
                let holds = |name: &str| list(&object["metadata"]["finalizers"]).iter().any(|one| one == name);
                if holds(FOREGROUND) || holds(ORPHAN) {
                    waiting.push((kind.to_owned(), key.clone(), holds(ORPHAN)));
                }
            } else if is_garbage(store, object) {
                orphans.push((kind.to_owned(), key.clone()));
            }
        }
        for (kind, key) in orphans {
            kube::delete(world, &cluster, &kind, &key);
        }
        for (kind, key, is_orphaning) in waiting {
            if is_orphaning {
                release(world, &cluster, &kind, &key);
            } else {
                foreground(world, &cluster, &kind, &key);
            }
        }
    }
}

fn all(store: &Store) -> impl Iterator<Item = (&str, &String, &Value)> {
    store.kinds().flat_map(|kind| store.list(kind).iter().map(move |(key, object)| (kind, key, object)))
}

/// Whether an object has owners and all of them are gone.
fn is_garbage(store: &Store, object: &Value) -> bool {
    let owners = list(&object["metadata"]["ownerReferences"]);
    let namespace = object["metadata"]["namespace"].as_str();
    !owners.is_empty() && !owners.iter().any(|owner| exists(store, owner, namespace))
}

fn exists(store: &Store, owner: &Value, namespace: Option<&str>) -> bool {
    let (name, uid) = (text(owner, "name"), &owner["uid"]);
    let kind = kind_of(owner);
    for key in [key(namespace, name), name.to_owned()] {
        if store.get(&kind, &key).is_some_and(|found| found["metadata"]["uid"] == *uid) {
            return true;
        }
    }
    // The plural that was guessed may be wrong: before anything is deleted, everything is looked through.
    all(store).any(|(_, _, object)| object["metadata"]["uid"] == *uid)
}

/// The kind of an owner as the store names it, by the usual English plural.
fn kind_of(owner: &Value) -> String {
    let kind = text(owner, "kind").to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    };
    match text(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural,
    }
}

/// Kind, key and whether it blocks its owner's end, of all that an object owns.
fn dependents(store: &Store, uid: &Value) -> Vec<(String, String, bool)> {
    let owned = all(store).filter_map(|(kind, key, object)| {
        let owner = list(&object["metadata"]["ownerReferences"]).iter().find(|owner| owner["uid"] == *uid)?;
        Some((kind.to_owned(), key.clone(), owner["blockOwnerDeletion"] == true))
    });
    owned.collect()
}

fn foreground(world: &mut World, cluster: &str, kind: &str, key: &str) {
    let Some(store) = world.store(cluster) else { return };
    let Some(object) = store.get(kind, key) else { return };
    let owned = dependents(store, &object["metadata"]["uid"]);
    for (kind, key, _) in &owned {
        let is_ending = world.store(cluster).and_then(|store| store.get(kind, key)).is_some_and(pod::is_ending);
        if !is_ending {
            kube::delete(world, cluster, kind, key);
        }
    }
    let Some(store) = world.store(cluster) else { return };
    let blocks = |(kind, key, blocks): &(String, String, bool)| *blocks && store.get(kind, key).is_some();
    if !owned.iter().any(blocks) {
        finish(world, cluster, kind, key, FOREGROUND);
    }
}

fn release(world: &mut World, cluster: &str, kind: &str, key: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    let Some(uid) = store.get(kind, key).map(|object| object["metadata"]["uid"].clone()) else { return };
    for (kind, key, _) in dependents(store, &uid) {
        store.change(&kind, &key, |object| {
            let owners = object["metadata"]["ownerReferences"].as_array_mut();
            if let Some(owners) = owners {
                owners.retain(|owner| owner["uid"] != uid);
            }
            if list(&object["metadata"]["ownerReferences"]).is_empty()
                && let Some(metadata) = object["metadata"].as_object_mut()
            {
                metadata.remove("ownerReferences");
            }
        });
    }
    finish(world, cluster, kind, key, ORPHAN);
}

/// Takes a finalizer away; an object without any that somebody deleted is gone.
fn finish(world: &mut World, cluster: &str, kind: &str, key: &str, finalizer: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    store.change(kind, key, |object| {
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|one| one != finalizer);
        }
    });
    let is_free = store.get(kind, key).is_some_and(|object| list(&object["metadata"]["finalizers"]).is_empty());
    // Pods end in their own time.
    if is_free && kind != "pods" {
        store.remove(kind, key);
    }
}

fn end_namespaces(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let ending: Vec<String> = store
            .list("namespaces")
            .iter()
            .filter(|(_, namespace)| pod::is_ending(namespace))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ending {
            end_namespace(world, &cluster, &name);
        }
    }
}

fn end_namespace(world: &mut World, cluster: &str, name: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    store.change("namespaces", name, |namespace| namespace["status"]["phase"] = json!("Terminating"));
    let within = format!("{name}/");
    let kinds: Vec<String> = store.kinds().map(str::to_owned).collect();
    for kind in kinds {
        let Some(store) = world.store(cluster) else { return };
        let inside = store.list(&kind).range(within.clone()..).take_while(|(key, _)| key.starts_with(&within));
        let keys: Vec<String> =
            inside.filter(|(_, object)| !pod::is_ending(object)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            kube::delete(world, cluster, &kind, &key);
        }
    }
    let Some(store) = world.store_mut(cluster) else { return };
    let is_empty = store
        .kinds()
        .all(|kind| store.list(kind).range(within.clone()..).next().is_none_or(|(key, _)| !key.starts_with(&within)));
    let is_free = store.get("namespaces", name).is_some_and(|one| list(&one["metadata"]["finalizers"]).is_empty());
    if is_empty && is_free {
        store.remove("namespaces", name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let mut world = World::new(1).unwrap();
        world.start_server("prod");
        world
    }

    fn put(world: &mut World, kind: &str, name: &str, metadata: Value) -> Value {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata });
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("x");
        kube::create(world, "prod", kind, object);
        world.store("prod").unwrap().get(kind, &format!("x/{name}")).unwrap().clone()
    }

    fn has(world: &World, kind: &str, name: &str) -> bool {
        world.store("prod").unwrap().get(kind, &format!("x/{name}")).is_some()
    }

    #[test]
    fn what_a_gone_owner_owned_goes_and_nothing_else() {
        let mut world = world();
        let owner = put(&mut world, "replicasets.apps", "owner", json!({}));
        put(&mut world, "configmaps", "owned", json!({ "ownerReferences": pod::owned_by(&owner) }));
        put(&mut world, "configmaps", "free", json!({}));
        collect(&mut world);
        assert!(has(&world, "configmaps", "owned"));
        // Another object of the same name is another owner.
        world.store_mut("prod").unwrap().remove("replicasets.apps", "x/owner");
        put(&mut world, "replicasets.apps", "owner", json!({}));
        collect(&mut world);
        assert!(!has(&world, "configmaps", "owned"));
        assert!(has(&world, "configmaps", "free"));
    }

    #[test]
    fn a_foreground_deletion_waits_for_what_blocks_it() {
        let mut world = world();
        let ending = json!({ "deletionTimestamp": "2026-11-02T09:00:00Z", "finalizers": [FOREGROUND] });
        let owner = put(&mut world, "replicasets.apps", "owner", ending);
        let held = json!({ "ownerReferences": pod::owned_by(&owner), "finalizers": ["x/held"],
            "deletionTimestamp": "2026-11-02T09:00:00Z" });
        put(&mut world, "configmaps", "held", held);
        collect(&mut world);
        assert!(has(&world, "replicasets.apps", "owner"));
        world.store_mut("prod").unwrap().remove("configmaps", "x/held");
        collect(&mut world);
        assert!(!has(&world, "replicasets.apps", "owner"));
    }

    #[test]
    fn orphans_stay_without_their_owner() {
        let mut world = world();
        let ending = json!({ "deletionTimestamp": "2026-11-02T09:00:00Z", "finalizers": [ORPHAN] });
        let owner = put(&mut world, "replicasets.apps", "owner", ending);
        put(&mut world, "configmaps", "owned", json!({ "ownerReferences": pod::owned_by(&owner) }));
        collect(&mut world);
        collect(&mut world);
        assert!(!has(&world, "replicasets.apps", "owner"));
        assert!(has(&world, "configmaps", "owned"));
    }

    #[test]
    fn a_namespace_takes_its_content_along() {
        let mut world = world();
        let metadata = json!({ "name": "x", "deletionTimestamp": "2026-11-02T09:00:00Z" });
        world.store_mut("prod").unwrap().create("namespaces", json!({ "metadata": metadata, "status": {} }));
        put(&mut world, "configmaps", "a", json!({}));
        let other = json!({ "metadata": { "name": "b", "namespace": "xy" } });
        world.store_mut("prod").unwrap().create("configmaps", other);
        end_namespaces(&mut world);
        let store = world.store("prod").unwrap();
        assert!(store.get("namespaces", "x").is_none());
        assert!(store.get("configmaps", "x/a").is_none());
        assert!(store.get("configmaps", "xy/b").is_some());
    }
}
