//! What follows from the objects of a store and would take a walk through all of them to find out: which object has a
//! uid, what an owner owns, which pods a node has and how much room they take; and what changed since the controllers
//! last looked. The store tells of every write; nothing here is in a world file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::twin::physics::selection::{list, text};
use crate::twin::physics::{pod, scheduler};

/// Where an object is: its kind as the store names it, and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `deployments.apps`.
    pub kind: String,
    /// `namespace/name`, or the name.
    pub key: String,
}

/// What the pods of one node take.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Keys of all pods that name the node.
    pub pods: BTreeSet<String>,
    /// How many of them have not ended.
    pub taken: usize,
    /// Thousandths of a core that those request.
    pub cpu: i128,
    /// Thousandths of a byte that those request.
    pub memory: i128,
}

/// What changed in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    keys: BTreeMap<String, BTreeSet<String>>,
    owners: BTreeSet<String>,
    gone: BTreeSet<String>,
    nodes: BTreeSet<String>,
    pods: BTreeSet<PodChange>,
    freed: bool,
}

/// What changed of pods of these labels; many pods may have changed alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodChange {
    /// Where they are.
    pub namespace: String,
    // As JSON: values have no order. `null` where there was no pod, or is none now.
    before: String,
    after: String,
    /// The pods are otherwise as they were.
    is_of_labels: bool,
}

impl PodChange {
    /// Whether it is news to somebody who selects pods by their labels.
    pub fn concerns(&self, selects: impl Fn(&Value) -> bool) -> bool {
        let is_selected = |labels: &str| serde_json::from_str(labels).is_ok_and(|labels| selects(&labels));
        match self.is_of_labels {
            true => is_selected(&self.before) != is_selected(&self.after),
            false => is_selected(&self.after) || (self.before != self.after && is_selected(&self.before)),
        }
    }
}

impl Changed {
    /// The kinds with changes.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Keys of objects of this kind that came, changed or went.
    pub fn keys(&self, kind: &str) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.keys.get(kind).unwrap_or(&NONE)
    }

    /// Uids of objects that went.
    pub fn gone(&self) -> &BTreeSet<String> {
        &self.gone
    }

    /// Uids of owners of something that came, changed or went.
    pub fn owners(&self) -> &BTreeSet<String> {
        &self.owners
    }

    /// Names of nodes that changed, or whose pods did.
    pub fn nodes(&self) -> BTreeSet<String> {
        self.nodes.iter().chain(self.keys("nodes")).cloned().collect()
    }

    /// Pods that came, went, or changed in more than annotations and the like.
    pub fn pods(&self) -> impl Iterator<Item = &PodChange> {
        self.pods.iter()
    }

    /// Whether a pod that waits for a node may find room that it did not find before.
    pub fn has_new_room(&self) -> bool {
        self.freed || self.keys.contains_key("nodes")
    }

    /// Keys of what changed of a kind, and of what owns something that changed.
    pub fn concerned(&self, index: &Index, kind: &str) -> BTreeSet<String> {
        let mut keys = self.keys(kind).clone();
        let owners = self.owners.iter().filter_map(|uid| index.uids.get(uid)).filter(|place| place.kind == kind);
        keys.extend(owners.map(|place| place.key.clone()));
        keys
    }
}

/// What follows from the objects of a store.
#[derive(Clone, Debug, Default)]
pub struct Index {
    uids: BTreeMap<String, Place>,
    owned: BTreeMap<String, BTreeSet<Place>>,
    loads: BTreeMap<String, Load>,
    by_load: BTreeSet<(usize, String)>,
    unplaced: BTreeSet<String>,
    /// Keys of the pods of a namespace that have a label of this value.
    labelled: BTreeMap<String, BTreeMap<(String, String), BTreeSet<String>>>,
    changed: Changed,
}

// What follows from the objects is the same where the objects are.
impl PartialEq for Index {
    fn eq(&self, _: &Index) -> bool {
        true
    }
}

impl Index {
    /// The object with this uid.
    pub fn place(&self, uid: &str) -> Option<&Place> {
        self.uids.get(uid)
    }

    /// What an owner owns.
    pub fn owned(&self, uid: &str) -> impl Iterator<Item = &Place> {
        self.owned.get(uid).into_iter().flatten()
    }

    /// Keys of what an owner owns of one kind.
    pub fn owned_of(&self, uid: &str, kind: &str) -> impl Iterator<Item = &str> {
        self.owned(uid).filter(move |place| place.kind == kind).map(|place| place.key.as_str())
    }

    /// Keys of the pods that name a node.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &str> {
        self.loads.get(node).into_iter().flat_map(|load| load.pods.iter().map(String::as_str))
    }

    /// What the pods of a node take.
    pub fn load(&self, node: &str) -> Option<&Load> {
        self.loads.get(node)
    }

    /// All nodes, those with the fewest pods first.
    pub fn nodes_by_load(&self) -> impl Iterator<Item = &str> {
        self.by_load.iter().map(|(_, name)| name.as_str())
    }

    /// Keys of pods that have no node and neither end nor have ended.
    pub fn unplaced(&self) -> &BTreeSet<String> {
        &self.unplaced
    }

    /// Keys of the pods of a namespace that have one of these labels, the rarest; `None`: no label is named.
    pub fn pods_labelled(&self, namespace: &str, labels: &Map<String, Value>) -> Option<&BTreeSet<String>> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let here = self.labelled.get(namespace);
        let having = labels.iter().map(|(key, value)| {
            let label = (key.clone(), value.as_str().unwrap_or_default().to_owned());
            here.and_then(|here| here.get(&label)).unwrap_or(&NONE)
        });
        having.min_by_key(|keys| keys.len())
    }

    /// Takes what changed since the last time.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// An object came (`old` is none), changed, or went (`new` is none).
    pub fn note(&mut self, kind: &str, key: &str, old: Option<&Value>, new: Option<&Value>) {
        self.changed.mark(kind, key);
        self.note_uid(kind, key, old, new);
        self.note_owners(kind, key, old, new);
        match kind {
            "pods" => self.note_pod(key, old, new),
            "nodes" => self.note_node(key, new.is_some()),
            _ => {}
        }
    }

    /// An object counts as changed, though it is as it was.
    pub fn touch(&mut self, kind: &str, key: &str, object: &Value) {
        self.changed.mark(kind, key);
        for owner in list(&object["metadata"]["ownerReferences"]) {
            self.changed.owners.insert(text(owner, "uid").to_owned());
        }
        if kind == "pods" {
            self.changed.note_pod(key, Some(object), Some(object), false);
            self.changed.nodes.extend(node_of(object).map(str::to_owned));
            self.changed.freed = true;
        }
    }

    fn note_uid(&mut self, kind: &str, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let uid =
            |object: Option<&Value>| object.and_then(|object| object["metadata"]["uid"].as_str()).map(str::to_owned);
        let (before, after) = (uid(old), uid(new));
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.uids.remove(&before);
            self.changed.gone.insert(before);
        }
        if let Some(after) = after {
            self.uids.insert(after, Place { kind: kind.to_owned(), key: key.to_owned() });
        }
    }

    fn note_owners(&mut self, kind: &str, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let uids = |object: Option<&Value>| -> Vec<String> {
            let owners = object.map_or(&[][..], |object| list(&object["metadata"]["ownerReferences"]));
            owners.iter().map(|owner| text(owner, "uid").to_owned()).collect()
        };
        let (before, after) = (uids(old), uids(new));
        let place = || Place { kind: kind.to_owned(), key: key.to_owned() };
        for uid in before.iter().filter(|uid| !after.contains(uid)) {
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(&place());
                if owned.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
        for uid in after.iter().filter(|uid| !before.contains(uid)) {
            self.owned.entry(uid.clone()).or_default().insert(place());
        }
        self.changed.owners.extend(before);
        self.changed.owners.extend(after);
    }

    fn note_node(&mut self, name: &str, is_there: bool) {
        let entry = (self.loads.get(name).map_or(0, |load| load.taken), name.to_owned());
        if is_there {
            self.by_load.insert(entry);
        } else {
            self.by_load.remove(&entry);
        }
    }

    fn note_labels(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let (before, after) = (labels_of(old), labels_of(new));
        if before == after {
            return;
        }
        let namespace = namespace_of(key);
        let pairs = |labels: Option<&Value>| -> Vec<(String, String)> {
            let labels = labels.and_then(Value::as_object).into_iter().flatten();
            labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        };
        let here = self.labelled.entry(namespace.to_owned()).or_default();
        for label in pairs(before) {
            if let Some(keys) = here.get_mut(&label) {
                keys.remove(key);
                if keys.is_empty() {
                    here.remove(&label);
                }
            }
        }
        for label in pairs(after) {
            here.entry(label).or_default().insert(key.to_owned());
        }
        if here.is_empty() {
            self.labelled.remove(namespace);
        }
    }

    fn note_pod(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>) {
        self.note_labels(key, old, new);
        // Who selects pods by labels does not look at annotations and the like.
        let is_of_labels = old.zip(new).is_some_and(|(old, new)| !is_seen_otherwise(old, new));
        if !is_of_labels || labels_of(old) != labels_of(new) {
            self.changed.note_pod(key, old, new, is_of_labels);
        }
        for pod in old.into_iter().chain(new) {
            self.changed.nodes.extend(node_of(pod).map(str::to_owned));
        }
        let waits = new.is_some_and(|pod| node_of(pod).is_none() && !pod::is_ending(pod) && !pod::is_over(pod));
        if waits {
            self.unplaced.insert(key.to_owned());
        } else {
            self.unplaced.remove(key);
        }
        let takes = |pod: Option<&Value>| {
            let pod = pod.filter(|pod| !pod::is_over(pod))?;
            let node = node_of(pod)?.to_owned();
            Some((node, scheduler::requested(pod, "cpu"), scheduler::requested(pod, "memory")))
        };
        let (before, after) = (takes(old), takes(new));
        let node = |pod: Option<&Value>| pod.and_then(node_of).map(str::to_owned);
        let (from, to) = (node(old), node(new));
        if from != to {
            if let Some(load) = from.and_then(|from| self.loads.get_mut(&from)) {
                load.pods.remove(key);
            }
            if let Some(to) = to {
                self.loads.entry(to).or_default().pods.insert(key.to_owned());
            }
        }
        if before == after {
            return;
        }
        if let Some((node, cpu, memory)) = before {
            self.changed.freed = true;
            self.take(&node, -1, -cpu, -memory);
        }
        if let Some((node, cpu, memory)) = after {
            self.take(&node, 1, cpu, memory);
        }
    }

    fn take(&mut self, node: &str, pods: isize, cpu: i128, memory: i128) {
        let load = self.loads.entry(node.to_owned()).or_default();
        let before = load.taken;
        load.taken = load.taken.saturating_add_signed(pods);
        load.cpu += cpu;
        load.memory += memory;
        let after = load.taken;
        if load.pods.is_empty() && load.taken == 0 {
            self.loads.remove(node);
        }
        if self.by_load.remove(&(before, node.to_owned())) {
            self.by_load.insert((after, node.to_owned()));
        }
    }
}

impl Changed {
    fn mark(&mut self, kind: &str, key: &str) {
        match self.keys.get_mut(kind) {
            Some(keys) => drop(keys.insert(key.to_owned())),
            None => drop(self.keys.insert(kind.to_owned(), BTreeSet::from([key.to_owned()]))),
        }
    }

    fn note_pod(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>, is_of_labels: bool) {
        let [before, after] = [old, new].map(|pod| labels_of(pod).unwrap_or(&Value::Null).to_string());
        let namespace = namespace_of(key).to_owned();
        self.pods.insert(PodChange { namespace, before, after, is_of_labels });
    }
}

fn labels_of(pod: Option<&Value>) -> Option<&Value> {
    pod.map(|pod| &pod["metadata"]["labels"])
}

fn is_seen_otherwise(old: &Value, new: &Value) -> bool {
    let of = |name: &str| old["metadata"][name] != new["metadata"][name];
    old["status"] != new["status"]
        || old["spec"] != new["spec"]
        || ["deletionTimestamp", "ownerReferences"].into_iter().any(of)
}

fn namespace_of(key: &str) -> &str {
    key.split_once('/').map_or("", |(namespace, _)| namespace)
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::store::Store;
    use serde_json::json;

    fn pod(name: &str, node: &str) -> Value {
        json!({ "metadata": { "name": name, "namespace": "x", "uid": name, "labels": { "app": name },
            "ownerReferences": [{ "uid": "owner", "controller": true }] },
            "spec": { "nodeName": node, "containers": [{ "resources": { "requests": { "cpu": "250m" } } }] },
            "status": { "phase": "Running" } })
    }

    #[test]
    fn room_follows_pods_as_they_come_end_and_go() {
        let mut store = Store::default();
        store.create("nodes", json!({ "metadata": { "name": "n1" } }));
        store.create("nodes", json!({ "metadata": { "name": "n2" } }));
        store.create("pods", pod("a", "n1"));
        store.create("pods", pod("b", "n1"));
        let cpu = |store: &Store| store.index().load("n1").map(|load| (load.taken, load.cpu));
        assert_eq!(cpu(&store), Some((2, 500)));
        assert_eq!(store.index().nodes_by_load().collect::<Vec<_>>(), ["n2", "n1"]);
        store.change("pods", "x/a", |pod| pod["status"]["phase"] = json!("Succeeded"));
        assert_eq!(cpu(&store), Some((1, 250)));
        store.remove("pods", "x/b");
        assert_eq!(store.index().pods_on("n1").collect::<Vec<_>>(), ["x/a"], "it has ended and is still there");
        assert_eq!(store.index().nodes_by_load().collect::<Vec<_>>(), ["n1", "n2"]);
    }

    #[test]
    fn pods_are_found_by_their_labels_as_these_come_and_go() {
        let mut store = Store::default();
        for name in ["a", "b", "c"] {
            store.create("pods", pod(name, "n1"));
            store.change("pods", &format!("x/{name}"), |pod| pod["metadata"]["labels"]["tier"] = json!("web"));
        }
        let found = |store: &Store, labels: Value| -> Vec<String> {
            store.pods_with("x", &labels).map(|(key, _)| key.to_owned()).collect()
        };
        assert_eq!(found(&store, json!({ "tier": "web", "app": "b" })), ["x/b"]);
        assert_eq!(found(&store, json!({ "tier": "web" })), ["x/a", "x/b", "x/c"]);
        assert_eq!(found(&store, json!({})), ["x/a", "x/b", "x/c"]);
        assert!(found(&store, json!({ "app": "b", "tier": "other" })).is_empty());
        assert_eq!(store.pods_with("y", &json!({ "tier": "web" })).count(), 0);
        store.change("pods", "x/b", |pod| pod["metadata"]["labels"]["app"] = json!("a"));
        assert_eq!(found(&store, json!({ "app": "a" })), ["x/a", "x/b"]);
        store.remove("pods", "x/a");
        assert_eq!(found(&store, json!({ "app": "a" })), ["x/b"]);
        store.reindex();
        assert_eq!(found(&store, json!({ "tier": "web" })), ["x/b", "x/c"]);
    }

    #[test]
    fn who_selects_pods_is_concerned_by_what_it_can_see() {
        let mut store = Store::default();
        store.create("pods", pod("a", "n1"));
        let mut concerns = |change: &dyn Fn(&mut Value), labels: Value| {
            store.take_changed();
            store.change("pods", "x/a", change);
            let wanted = labels.as_object().unwrap();
            let selects = |labels: &Value| wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
            store.take_changed().pods().any(|change| change.concerns(selects))
        };
        let app = json!({ "app": "a" });
        assert!(!concerns(&|pod| pod["metadata"]["annotations"] = json!({ "a": "1" }), app.clone()));
        assert!(!concerns(&|pod| pod["metadata"]["labels"]["tier"] = json!("web"), app.clone()));
        assert!(concerns(&|pod| pod["metadata"]["labels"]["tier"] = json!("db"), json!({ "tier": "db" })));
        assert!(concerns(&|pod| pod["metadata"]["labels"]["tier"] = json!("web"), json!({ "tier": "db" })));
        assert!(concerns(&|pod| pod["status"]["phase"] = json!("Failed"), app.clone()));
        assert!(!concerns(&|pod| pod["status"]["phase"] = json!("Running"), json!({ "app": "b" })));
        let both = |pod: &mut Value| {
            pod["metadata"]["labels"]["tier"] = json!("db");
            pod["status"]["phase"] = json!("Failed");
        };
        assert!(concerns(&both, json!({ "tier": "web" })));
    }

    #[test]
    fn a_change_concerns_the_owner_also_when_what_it_owned_is_gone() {
        let mut store = Store::default();
        let owner = json!({ "metadata": { "name": "web", "namespace": "x", "uid": "owner" } });
        store.create("replicasets.apps", owner);
        store.create("pods", pod("a", ""));
        assert_eq!(store.index().owned_of("owner", "pods").collect::<Vec<_>>(), ["x/a"]);
        store.take_changed();
        store.remove("pods", "x/a");
        let changed = store.take_changed();
        let concerned = changed.concerned(store.index(), "replicasets.apps");
        assert_eq!(concerned.into_iter().collect::<Vec<_>>(), ["x/web"]);
        assert!(changed.gone().contains("a"));
        let told: Vec<&PodChange> = changed.pods().collect();
        assert_eq!((told.len(), &*told[0].namespace), (1, "x"));
        assert!(told[0].concerns(|labels| labels["app"] == "a") && !told[0].concerns(|labels| labels["app"] == "b"));
        assert_eq!(store.index().owned("owner").count(), 0);
    }
}
