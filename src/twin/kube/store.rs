//! What the API server of one cluster holds: objects by kind, namespace and name, as they were last written.
//!
//! The store keeps what etcd and the generic registry keep (uid, resourceVersion, generation, creationTimestamp) and
//! knows nothing of kinds; validation, defaults and field ownership stand in front of it, controllers behind it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::{Change, History};
use super::index::{Changed, Index};

/// Objects of one kind by `namespace/name`, or by name where the kind is not namespaced.
pub type Objects = BTreeMap<String, Value>;

/// A kind as the store names it: `pods`, `deployments.apps`.
pub type Kind<'a> = &'a str;

/// All objects of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The last resourceVersion given out.
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    objects: BTreeMap<String, Objects>,
    #[serde(skip)]
    index: Index,
    #[serde(skip)]
    history: History,
}

/// The key of an object: `namespace/name`, or the name.
pub fn key(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

/// The key of this object.
pub fn key_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    key(metadata["namespace"].as_str(), metadata["name"].as_str().unwrap_or_default())
}

impl Store {
    /// The last resourceVersion given out.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Objects of a kind, in the order of their keys, which is etcd's.
    pub fn list(&self, kind: Kind<'_>) -> &Objects {
        static EMPTY: Objects = Objects::new();
        self.objects.get(kind).unwrap_or(&EMPTY)
    }

    /// One object.
    pub fn get(&self, kind: Kind<'_>, key: &str) -> Option<&Value> {
        self.objects.get(kind)?.get(key)
    }

    /// The kinds that have objects.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().filter(|(_, objects)| !objects.is_empty()).map(|(kind, _)| kind.as_str())
    }

    /// Stores a new object: gives it its resourceVersion; the caller gave it uid, creationTimestamp and generation.
    pub fn create(&mut self, kind: Kind<'_>, mut object: Value) -> &Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let key = key_of(&object);
        let objects = self.objects.entry(kind.to_owned()).or_default();
        self.index.note(kind, &key, objects.get(&key), Some(&object));
        let before = objects.insert(key.clone(), object);
        self.history.note(kind, &key, self.revision, before, objects.len());
        objects.entry(key).or_insert(Value::Null)
    }

    /// Replaces an object that is there. A write that changes nothing keeps the resourceVersion; one that changes what is
    /// outside of `metadata` and `status`, or that makes it end, gets the next generation. Answers what is stored now.
    pub fn update(&mut self, kind: Kind<'_>, mut object: Value) -> Option<&Value> {
        let key = key_of(&object);
        let objects = self.objects.get_mut(kind)?;
        let count = objects.len();
        let slot = objects.get_mut(&key)?;
        object["metadata"]["resourceVersion"] = slot["metadata"]["resourceVersion"].clone();
        object["metadata"]["generation"] = slot["metadata"]["generation"].clone();
        if object["metadata"]["generation"].is_null() {
            remove(&mut object["metadata"], "generation");
        }
        if object == *slot {
            return Some(slot);
        }
        let ends = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
        let wants_otherwise = differs_in_desire(slot, &object) || (ends(&object) && !ends(slot));
        if let Some(generation) = slot["metadata"]["generation"].as_i64()
            && wants_otherwise
        {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.index.note(kind, &key, Some(&*slot), Some(&object));
        let before = std::mem::replace(slot, object);
        self.history.note(kind, &key, self.revision, Some(before), count);
        Some(slot)
    }

    /// Changes an object in place as [`update`](Store::update) does; controllers use it for status and the like.
    pub fn change(&mut self, kind: Kind<'_>, key: &str, change: impl FnOnce(&mut Value)) -> bool {
        let Some(mut object) = self.get(kind, key).cloned() else { return false };
        change(&mut object);
        self.update(kind, object).is_some()
    }

    /// Removes an object at once, whatever its finalizers say.
    pub fn remove(&mut self, kind: Kind<'_>, key: &str) -> Option<Value> {
        let objects = self.objects.get_mut(kind)?;
        let removed = objects.remove(key)?;
        self.revision += 1;
        self.index.note(kind, key, Some(&removed), None);
        self.history.note(kind, key, self.revision, Some(removed.clone()), objects.len());
        Some(removed)
    }

    /// The revision after which every change of a kind is known.
    pub fn history_begins(&self, kind: Kind<'_>) -> u64 {
        self.history.begins(kind, self.revision)
    }

    /// The changes of a kind after a revision, each with what stood there after it.
    pub fn changes<'s>(
        &'s self,
        kind: Kind<'s>,
        after: u64,
    ) -> impl Iterator<Item = (&'s Change, Option<&'s Value>)> + 's {
        let now = move |change: &Change| self.get(kind, &change.key);
        self.history.since(kind, after).map(move |change| (change, self.history.after(kind, change, now(change))))
    }

    /// Objects of a kind as they were at this revision; `None`: that is too long ago.
    pub fn list_at<'s>(&'s self, kind: Kind<'s>, revision: u64) -> Option<Snapshot<'s>> {
        if revision < self.history_begins(kind) {
            return None;
        }
        let mut otherwise = BTreeMap::new();
        for change in self.history.since(kind, revision) {
            // The first change after that time found what stood there then.
            otherwise.entry(change.key.as_str()).or_insert(change.before.as_ref());
        }
        Some(Snapshot { now: self.list(kind), otherwise })
    }

    /// Forgets what was, as etcd does when it is compacted.
    pub fn compact(&mut self) {
        self.history.compact(self.revision);
    }

    /// What follows from the objects.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Makes the index of objects that were read from a file; all of them count as changed.
    pub(in crate::twin) fn reindex(&mut self) {
        self.index = Index::default();
        for (kind, objects) in &self.objects {
            for (key, object) in objects {
                self.index.note(kind, key, None, Some(object));
            }
        }
    }

    /// Makes the controllers look at an object again, though it is as it was.
    pub fn touch(&mut self, kind: Kind<'_>, key: &str) {
        if let Some(object) = self.objects.get(kind).and_then(|objects| objects.get(key)) {
            self.index.touch(kind, key, object);
        }
    }

    /// The same with all objects of a kind.
    pub(in crate::twin) fn touch_all(&mut self, kind: Kind<'_>) {
        for (key, object) in self.objects.get(kind).into_iter().flatten() {
            self.index.touch(kind, key, object);
        }
    }

    /// What changed since the last time.
    pub(in crate::twin) fn take_changed(&mut self) -> Changed {
        self.index.take_changed()
    }

    /// All that is there, as if all of it had changed.
    pub(in crate::twin) fn everything(&self) -> Changed {
        let mut all = self.clone();
        all.reindex();
        all.take_changed()
    }

    /// The object with this uid, and where it is.
    pub fn by_uid(&self, uid: &str) -> Option<(&str, &str, &Value)> {
        let place = self.index.place(uid)?;
        Some((&place.kind, &place.key, self.get(&place.kind, &place.key)?))
    }

    /// Objects of a kind that an owner owns, by their keys.
    pub fn owned(&self, uid: &str, kind: &'static str) -> impl Iterator<Item = (&str, &Value)> {
        self.index.owned_of(uid, kind).filter_map(move |key| Some((key, self.get(kind, key)?)))
    }

    /// The pods of a namespace that have all of these labels, a map, by their keys. None named: all of them.
    pub fn pods_with<'s>(&'s self, namespace: &str, labels: &Value) -> impl Iterator<Item = (&'s str, &'s Value)> {
        let labels = labels.as_object().cloned().unwrap_or_default();
        let rarest = self.index.pods_labelled(namespace, &labels);
        let all = rarest.is_none().then(|| self.within("pods", namespace));
        let some = rarest.into_iter().flatten().filter_map(|key| self.objects.get("pods")?.get_key_value(key));
        all.into_iter()
            .flatten()
            .chain(some)
            .map(|(key, pod)| (key.as_str(), pod))
            .filter(move |(_, pod)| labels.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value)))
    }

    /// Objects of a kind in a namespace, by their keys.
    pub fn within<'s>(&'s self, kind: Kind<'_>, namespace: &str) -> impl Iterator<Item = (&'s String, &'s Value)> {
        within(self.list(kind), Some(namespace), None)
    }
}

/// Objects of a kind as they were at one revision: as they are now, but for those that have changed since.
pub struct Snapshot<'s> {
    now: &'s Objects,
    /// What stood there then, of what stands there otherwise now.
    otherwise: BTreeMap<&'s str, Option<&'s Value>>,
}

impl<'s> Snapshot<'s> {
    /// Those of a namespace, or of all, behind a key.
    pub fn within<'a>(
        &'a self,
        namespace: Option<&str>,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'s str, &'s Value)> + use<'a, 's> {
        let unchanged = within(self.now, namespace, after)
            .map(|(key, object)| (key.as_str(), object))
            .filter(|(key, _)| self.otherwise.is_empty() || !self.otherwise.contains_key(key));
        let changed = within(&self.otherwise, namespace, after);
        let changed = changed.filter_map(|(key, object)| Some((*key, (*object)?)));
        let (mut unchanged, mut changed) = (unchanged.peekable(), changed.peekable());
        std::iter::from_fn(move || match (unchanged.peek(), changed.peek()) {
            (Some((one, _)), Some((other, _))) if other < one => changed.next(),
            (None, _) => changed.next(),
            _ => unchanged.next(),
        })
    }
}

/// What has the keys of a namespace, or of all, behind a key.
pub fn within<'a, K: Borrow<str> + Ord, V>(
    objects: &'a BTreeMap<K, V>,
    namespace: Option<&str>,
    after: Option<&str>,
) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
    let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let start = after.map_or(Bound::Included(prefix.as_str()), Bound::Excluded);
    let range = objects.range::<str, _>((start, Bound::Unbounded));
    range.take_while(move |(key, _)| Borrow::<str>::borrow(*key).starts_with(&prefix))
}

fn remove(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(key);
    }
}

/// Whether anything but `metadata` and `status` differs.
pub(super) fn differs_in_desire(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    let desire = |key: &&String| key.as_str() != "metadata" && key.as_str() != "status";
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(desire).collect();
    keys.into_iter().any(|key| old.get(key) != new.get(key))
}
