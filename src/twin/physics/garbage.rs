//! Owners that are gone, namespaces that end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::selection::{list, text};
use super::{Controller, pod};
use crate::twin::Arrival;
use crate::twin::kube;
use crate::twin::kube::index::{Changed, Place};
use crate::twin::kube::store::Store;
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "pods of gone nodes go", watches: &["kube/nodes", "kube/pods"], run: orphaned_by_nodes },
    Controller { name: "garbage collection", watches: &["kube/"], run: collect },
    Controller { name: "namespaces end", watches: &["kube/"], run: end_namespaces },
];

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

fn orphaned_by_nodes(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let (changes, nodes) = (world.changes(), store.list("nodes"));
        let changed = changes.of(&cluster).nodes();
        let gone = changed.iter().filter(|name| !nodes.contains_key(*name));
        let pods: Vec<String> = gone.flat_map(|name| store.index().pods_on(name)).map(str::to_owned).collect();
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
        let Some(store) = world.store(&cluster) else { continue };
        let (mut orphans, mut waiting) = (Vec::new(), Vec::new());
        for place in concerned(store, world.changes().of(&cluster)) {
            let Place { kind, key } = place;
            let Some(object) = store.get(&kind, &key) else { continue };
            if pod::is_ending(object) {
                let holds = |name: &str| list(&object["metadata"]["finalizers"]).iter().any(|one| one == name);
                if holds(FOREGROUND) || holds(ORPHAN) {
                    let is_orphaning = holds(ORPHAN);
                    waiting.push((kind, key, is_orphaning));
                }
            } else if is_garbage(store, object) {
                orphans.push((kind, key));
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

/// What changed, what gone owners owned, and the owners of what changed.
fn concerned(store: &Store, changed: &Changed) -> BTreeSet<Place> {
    let index = store.index();
    let own = changed
        .kinds()
        .flat_map(|kind| changed.keys(kind).iter().map(move |key| Place { kind: kind.to_owned(), key: key.clone() }));
    let left = changed.gone().iter().flat_map(|uid| index.owned(uid).cloned());
    let owners = changed.owners().iter().filter_map(|uid| index.place(uid).cloned());
    own.chain(left).chain(owners).collect()
}

/// Whether an object has owners and all of them are gone.
fn is_garbage(store: &Store, object: &Value) -> bool {
    let owners = list(&object["metadata"]["ownerReferences"]);
    !owners.is_empty() && owners.iter().all(|owner| store.index().place(text(owner, "uid")).is_none())
}

/// Kind, key and whether it blocks its owner's end, of all that an object owns.
fn dependents(store: &Store, uid: &Value) -> Vec<(String, String, bool)> {
    let owned = store.index().owned(uid.as_str().unwrap_or_default()).filter_map(|place| {
        let object = store.get(&place.kind, &place.key)?;
        let owner = list(&object["metadata"]["ownerReferences"]).iter().find(|owner| owner["uid"] == *uid)?;
        Some((place.kind.clone(), place.key.clone(), owner["blockOwnerDeletion"] == true))
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
    let Some(object) = store.get(kind, key) else { return };
    // Pods end in their own time.
    if kind != "pods" && list(&object["metadata"]["finalizers"]).iter().all(|one| one == finalizer) {
        store.remove(kind, key);
        return;
    }
    store.change(kind, key, |object| {
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|one| one != finalizer);
        }
    });
}

fn end_namespaces(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let changes = world.changes();
        let changed = changes.of(&cluster);
        let keys = changed.kinds().flat_map(|kind| changed.keys(kind));
        let inside = keys.filter_map(|key| key.split_once('/')).map(|(namespace, _)| namespace);
        let touched: BTreeSet<&str> = inside.chain(changed.keys("namespaces").iter().map(String::as_str)).collect();
        let ends = |name: &&str| store.get("namespaces", name).is_some_and(pod::is_ending);
        let ending: Vec<String> = touched.into_iter().filter(ends).map(str::to_owned).collect();
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
    } else {
        tell_what_remains(world, cluster, name);
    }
}

/// What keeps a namespace from ending, as its conditions.
fn tell_what_remains(world: &mut World, cluster: &str, name: &str) {
    let now = world.now_text();
    let Some(store) = world.store_mut(cluster) else { return };
    let kinds: Vec<String> = store.kinds().filter(|kind| *kind != "events").map(str::to_owned).collect();
    let (mut remaining, mut finalizers) = (Vec::new(), BTreeMap::<String, usize>::new());
    for kind in kinds {
        let inside: Vec<&Value> = store.within(&kind, name).map(|(_, object)| object).collect();
        if !inside.is_empty() {
            // A kind of the core group is told with a dot and nothing behind it.
            let told = if kind.contains('.') { kind.clone() } else { format!("{kind}.") };
            remaining.push(format!("{told} has {} resource instances", inside.len()));
        }
        for one in inside.iter().flat_map(|object| list(&object["metadata"]["finalizers"])) {
            *finalizers.entry(one.as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let finalizers: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let yes_or_no = |is: bool| if is { "True" } else { "False" };
    let content = match remaining.is_empty() {
        true => ("ContentRemoved", "All content successfully removed".to_owned()),
        false => ("SomeResourcesRemain", format!("Some resources are remaining: {}", remaining.join(", "))),
    };
    let held = match finalizers.is_empty() {
        true => ("ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned()),
        false => (
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", ")),
        ),
    };
    let discovered = ("ResourcesDiscovered", "All resources successfully discovered".to_owned());
    let parsed = ("ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned());
    let deleted = ("ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned());
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", false, discovered),
        ("NamespaceDeletionGroupVersionParsingFailure", false, parsed),
        ("NamespaceDeletionContentFailure", false, deleted),
        ("NamespaceContentRemaining", !remaining.is_empty(), content),
        ("NamespaceFinalizersRemaining", !finalizers.is_empty(), held),
    ];
    store.change("namespaces", name, |namespace| {
        for (kind, is, (reason, message)) in rows {
            let condition = json!({ "type": kind, "status": yes_or_no(is), "reason": reason, "message": message });
            pod::set_condition(namespace, &now, condition);
        }
    });
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
    fn a_namespace_tells_what_it_waits_for() {
        let mut world = world();
        let metadata = json!({ "name": "x", "deletionTimestamp": "2026-11-02T09:00:00Z" });
        world.store_mut("prod").unwrap().create("namespaces", json!({ "metadata": metadata, "status": {} }));
        put(&mut world, "configmaps", "a", json!({ "finalizers": ["x/hold"] }));
        end_namespaces(&mut world);
        let namespace = world.store("prod").unwrap().get("namespaces", "x").unwrap();
        let told = |name: &str| {
            let found = list(&namespace["status"]["conditions"]).iter().find(|one| one["type"] == name);
            text(found.unwrap(), "message").to_owned()
        };
        assert_eq!(
            told("NamespaceContentRemaining"),
            "Some resources are remaining: configmaps. has 1 resource instances"
        );
        assert_eq!(
            told("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: x/hold in 1 resource instances"
        );
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
        assert!(store.get("namespaces", "x").is_none(), "{:?}", store.get("namespaces", "x"));
        assert!(store.get("configmaps", "x/a").is_none());
        assert!(store.get("configmaps", "xy/b").is_some());
    }
}
