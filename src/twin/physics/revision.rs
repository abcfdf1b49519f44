//! ControllerRevisions: the templates that a StatefulSet or a DaemonSet had, so that it can go back to one.

use serde_json::{Value, json};

use super::pod;
use super::selection::text;
use crate::twin::kube;
use crate::twin::kube::store::key;
use crate::twin::world::World;

const REVISIONS: &str = "controllerrevisions.apps";

/// The label by which a pod tells its revision.
pub const HASH: &str = "controller-revision-hash";

/// The revision of the template of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// `web-5d8f9c7b4`.
    pub name: String,
    /// `5d8f9c7b4`.
    pub hash: String,
}

/// Lets the revision of the template of now be there, with the highest number. Its hash stands in this label.
pub fn ensure(world: &mut World, cluster: &str, owner: &Value, label: &str) -> Option<Revision> {
    let template = &owner["spec"]["template"];
    let mut replaced = template.clone();
    replaced["$patch"] = json!("replace");
    let data = json!({ "spec": { "template": replaced } });
    let store = world.store(cluster)?;
    let own: Vec<&Value> =
        store.owned(text(&owner["metadata"], "uid"), REVISIONS).map(|(_, revision)| revision).collect();
    let highest = own.iter().filter_map(|one| one["revision"].as_i64()).max().unwrap_or(0);
    let namespace = text(&owner["metadata"], "namespace");
    if let Some(known) = own.iter().find(|one| one["data"] == data) {
        let name = text(&known["metadata"], "name").to_owned();
        let hash = text(&known["metadata"]["labels"], label).to_owned();
        if known["revision"].as_i64().unwrap_or(0) < highest {
            let key = key(Some(namespace), &name);
            world.store_mut(cluster)?.change(REVISIONS, &key, |one| one["revision"] = json!(highest + 1));
        }
        return Some(Revision { name, hash });
    }
    let hash = pod::hash(template);
    let name = format!("{}-{hash}", text(&owner["metadata"], "name"));
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": template["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
        "ownerReferences": pod::owned_by(owner),
    });
    metadata["labels"][label] = json!(hash);
    if let Some(annotations) = owner["metadata"]["annotations"].as_object() {
        metadata["annotations"] = json!(annotations);
    }
    kube::create(world, cluster, REVISIONS, json!({ "metadata": metadata, "data": data, "revision": highest + 1 }));
    Some(Revision { name, hash })
}

/// The template that a revision has kept.
pub fn template(world: &World, cluster: &str, namespace: &str, name: &str) -> Option<Value> {
    let found = world.store(cluster)?.get(REVISIONS, &key(Some(namespace), name))?;
    let mut template = found["data"]["spec"]["template"].clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

/// Revisions beyond `revisionHistoryLimit` that nobody uses any more go, the oldest first.
pub fn forget(world: &mut World, cluster: &str, owner: &Value, used: &[&str]) {
    let limit = owner["spec"]["revisionHistoryLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let Some(store) = world.store(cluster) else { return };
    let own = store.owned(text(&owner["metadata"], "uid"), REVISIONS);
    let mut old: Vec<(i64, String)> = own
        .filter(|(_, one)| {
            let (name, hash) = (text(&one["metadata"], "name"), text(&one["metadata"]["labels"], HASH));
            !used.contains(&name) && !used.contains(&hash)
        })
        .map(|(key, one)| (one["revision"].as_i64().unwrap_or(0), key.to_owned()))
        .collect();
    old.sort();
    let over = old.len().saturating_sub(limit.unwrap_or(10));
    for (_, key) in old.into_iter().take(over) {
        kube::delete(world, cluster, REVISIONS, &key);
    }
}
