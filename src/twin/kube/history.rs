//! What was written to a store of late, for watches and for lists of how it was: of every change what stood there
//! before. What stood there after it is what the next change of that object found, or what stands there now; so nothing
//! is copied.
//!
//! It is kept in memory only, and a copy of a store begins without one: to watch from before a world was loaded is as
//! late as to watch from before a compaction.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// Changes of a kind that are kept, beside one for each of its objects: a change of all of them is not too much.
const KEPT: usize = 10_000;

/// One change.
#[derive(Debug)]
pub struct Change {
    /// The resourceVersion that it gave out.
    pub revision: u64,
    /// Which object.
    pub key: String,
    /// What stood there before; nothing where the object was created.
    pub before: Option<Value>,
    /// The change of the same object that followed, by its number.
    next: Option<u64>,
}

#[derive(Debug, Default)]
struct Kind {
    changes: VecDeque<Change>,
    /// The number of the first change that is kept.
    first: u64,
    /// The last change of each object, by its number.
    last: BTreeMap<String, u64>,
    /// The revision of the last change that is not kept any more.
    forgotten: u64,
}

/// Recent changes of a store.
#[derive(Debug, Default)]
pub struct History {
    /// How many revisions were given out since the store was loaded.
    written: u64,
    kinds: BTreeMap<String, Kind>,
}

impl Clone for History {
    fn clone(&self) -> History {
        History::default()
    }
}

/// Two stores that hold the same are the same, however they came to be so.
impl PartialEq for History {
    fn eq(&self, _: &History) -> bool {
        true
    }
}

impl History {
    /// Notes a change, of which there are so many objects of its kind.
    pub fn note(&mut self, kind: &str, key: &str, revision: u64, before: Option<Value>, objects: usize) {
        self.written += 1;
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), Kind::default());
        }
        let Some(of) = self.kinds.get_mut(kind) else { return };
        let number = of.first + of.changes.len() as u64;
        if let Some(last) = of.last.insert(key.to_owned(), number)
            && let Some(change) = last.checked_sub(of.first).and_then(|at| of.changes.get_mut(at as usize))
        {
            change.next = Some(number);
        }
        of.changes.push_back(Change { revision, key: key.to_owned(), before, next: None });
        while of.changes.len() > KEPT + objects {
            of.forget_first();
        }
    }

    /// The first revision after which every change of a kind is known, where the store is at `revision` now.
    pub fn begins(&self, kind: &str, revision: u64) -> u64 {
        let loaded = revision - self.written;
        self.kinds.get(kind).map_or(loaded, |of| of.forgotten.max(loaded))
    }

    /// The changes of a kind after a revision, in their order.
    pub fn since(&self, kind: &str, revision: u64) -> impl Iterator<Item = &Change> {
        self.kinds.get(kind).into_iter().flat_map(move |of| {
            let from = of.changes.partition_point(|change| change.revision <= revision);
            of.changes.range(from..)
        })
    }

    /// What stood there after a change, where `now` stands there now.
    pub fn after<'a>(&'a self, kind: &str, change: &Change, now: Option<&'a Value>) -> Option<&'a Value> {
        let next = change.next.and_then(|next| {
            let of = self.kinds.get(kind)?;
            of.changes.get(usize::try_from(next.checked_sub(of.first)?).ok()?)
        });
        next.map_or(now, |next| next.before.as_ref())
    }

    /// Forgets all changes of all kinds, as a compaction does; the store is at `revision`.
    pub fn compact(&mut self, revision: u64) {
        for of in self.kinds.values_mut() {
            while !of.changes.is_empty() {
                of.forget_first();
            }
            of.forgotten = revision;
        }
    }
}

impl Kind {
    fn forget_first(&mut self) {
        let Some(change) = self.changes.pop_front() else { return };
        if self.last.get(&change.key) == Some(&self.first) {
            self.last.remove(&change.key);
        }
        self.first += 1;
        self.forgotten = change.revision;
    }
}
