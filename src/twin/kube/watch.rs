//! Watches: what a client is told of every change of the objects that it chose.
//!
//! A watch is a place in the history of a store. It is asked, whenever the world has changed, for what there is to tell
//! since it was asked last, and knows nothing of connections and clocks: whoever streams it wakes it up, sends bookmarks
//! and ends it.

use std::time::Duration;

use serde_json::{Value, json};

use super::history::Change;
use super::kinds::Served;
use super::list::{self, Selected};
use super::request::Ask;
use super::store::Store;
use super::table::Sheet;
use super::{Problem, revision, status, versions};
use crate::twin::world::World;

/// Bytes after which a watch tells the rest the next time.
const PORTION: usize = 1 << 20;

/// One watch.
pub struct Watch {
    cluster: String,
    served: Served,
    namespace: Option<String>,
    selected: Selected,
    show: Show,
    state: State,
    /// The revision up to which everything was told.
    told: u64,
    bookmarks: bool,
    /// The revision of the last bookmark.
    marked: u64,
    /// The bookmark after the objects that were there at the beginning says that it is that.
    marks_the_beginning: bool,
    timeout: Option<Duration>,
}

/// How an object is written.
pub enum Show {
    /// Whole, under this apiVersion.
    Whole(String),
    /// Its metadata only.
    Metadata,
    /// As a table of one row; the first one has the columns.
    Table {
        /// How it becomes a row.
        sheet: Sheet,
        /// Whether it is the first one.
        with_columns: bool,
    },
}

enum State {
    /// What is there comes first: what lies behind this key.
    Beginning {
        /// The last one that was told.
        after: Option<String>,
    },
    Going,
    Failed(Problem),
    Over,
}

impl Watch {
    /// The watch that a request asks for.
    pub fn begin(
        store: &Store,
        cluster: &str,
        ask: &Ask<'_>,
        served: &Served,
        sheet: Option<Sheet>,
        namespace: Option<&str>,
    ) -> Result<Watch, Problem> {
        let asked = revision::Watched::read(ask)?;
        let selected = Selected::read(ask, served)?;
        let timeout = match ask.param("timeoutSeconds") {
            "" => None,
            text => Some(revision::number(text)?).filter(|seconds| *seconds != 0),
        };
        let show = match sheet {
            Some(sheet) => Show::Table { sheet, with_columns: true },
            None if ask.wants("PartialObjectMetadata") => Show::Metadata,
            None => Show::Whole(served.api_version()),
        };
        let begins = store.history_begins(&served.table);
        let state = match asked.since {
            _ if asked.shows_what_is_there => State::Beginning { after: None },
            Some(since) if since < begins => {
                State::Failed(status::expired(format!("too old resource version: {since} ({begins})")))
            }
            _ => State::Going,
        };
        Ok(Watch {
            cluster: cluster.to_owned(),
            served: served.clone(),
            namespace: namespace.map(str::to_owned),
            selected,
            show,
            state,
            told: asked.since.unwrap_or(store.revision()),
            bookmarks: ask.says("allowWatchBookmarks"),
            marked: 0,
            marks_the_beginning: asked.marks_the_beginning,
            timeout: timeout.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        })
    }

    /// How long the client wants it to go on.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What happened since the last time, as lines of events; empty: nothing. `None`: it is over, either told so before or
    /// so far behind that what it has missed is forgotten. Ask again after every answer that is not empty.
    pub fn take(&mut self, world: &World) -> Option<Vec<u8>> {
        let store = world.store(&self.cluster)?;
        let mut lines = Vec::new();
        if let Show::Table { sheet, .. } = &mut self.show {
            sheet.set_now(world.now);
        }
        match std::mem::replace(&mut self.state, State::Going) {
            State::Going => {}
            State::Beginning { after } => {
                if after.is_none() {
                    self.told = store.revision();
                }
                self.tell_what_is_there(store, after, &mut lines)?;
                if matches!(self.state, State::Beginning { .. }) {
                    return Some(lines);
                }
            }
            State::Failed(problem) => {
                self.state = State::Over;
                line(&mut lines, "ERROR", |lines| write(lines, &problem.status()));
                return Some(lines);
            }
            State::Over => return None,
        }
        if self.told < store.history_begins(&self.served.table) {
            self.state = State::Over;
            return None;
        }
        let table = self.served.table.clone();
        for (change, after) in store.changes(&table, self.told) {
            self.tell(&mut lines, change, after);
            if lines.len() > PORTION {
                self.told = change.revision;
                return Some(lines);
            }
        }
        self.told = self.told.max(store.revision());
        Some(lines)
    }

    /// The bookmark before the end; nothing where the last one told the same.
    pub fn farewell(&mut self) -> Vec<u8> {
        if self.marked == self.told { Vec::new() } else { self.bookmark() }
    }

    /// The bookmark of how far it is; nothing where the client wants none.
    pub fn bookmark(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        if self.bookmarks && matches!(self.state, State::Going) {
            self.mark(&mut lines, false);
        }
        lines
    }

    /// Tells a portion of what was there when the watch began; `None`: that is forgotten.
    fn tell_what_is_there(&mut self, store: &Store, after: Option<String>, lines: &mut Vec<u8>) -> Option<()> {
        let table = self.served.table.clone();
        let objects = store.list_at(&table, self.told)?;
        let namespace = self.namespace.clone();
        for (key, object) in objects.within(namespace.as_deref(), after.as_deref()) {
            if self.selected.has(object) {
                self.event(lines, "ADDED", object);
            }
            if lines.len() > PORTION {
                self.state = State::Beginning { after: Some(key.to_owned()) };
                return Some(());
            }
        }
        if self.marks_the_beginning && self.bookmarks {
            self.mark(lines, true);
        }
        Some(())
    }

    fn tell(&mut self, lines: &mut Vec<u8>, change: &Change, after: Option<&Value>) {
        let before = change.before.as_ref();
        let is_meant = |object: &&Value| self.is_placed(object) && self.selected.has(object);
        let (before, after) = (before.filter(is_meant), after.filter(is_meant));
        match (before, after) {
            (None, None) => {}
            (None, Some(after)) => self.event(lines, "ADDED", after),
            (Some(_), Some(after)) => self.event(lines, "MODIFIED", after),
            // What is gone is shown as it was last seen, under the revision at which it went.
            (Some(before), None) => {
                let mut gone = before.clone();
                gone["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                self.event(lines, "DELETED", &gone);
            }
        }
    }

    fn is_placed(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| object["metadata"]["namespace"] == *namespace)
    }

    fn event(&mut self, lines: &mut Vec<u8>, what: &str, object: &Value) {
        line(lines, what, |lines| match &mut self.show {
            Show::Whole(api_version) => list::write_whole(&versions::shown(&self.served, object), api_version, lines),
            Show::Metadata => list::write_metadata(object, lines),
            Show::Table { sheet, with_columns } => {
                write(lines, &sheet.single(object, std::mem::take(with_columns)));
            }
        });
    }

    fn mark(&mut self, lines: &mut Vec<u8>, is_beginning: bool) {
        self.marked = self.told;
        let mut metadata = json!({ "resourceVersion": self.told.to_string() });
        if is_beginning {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = json!({ "kind": self.served.kind, "apiVersion": self.served.api_version(), "metadata": metadata });
        self.event(lines, "BOOKMARK", &object);
    }
}

fn line(lines: &mut Vec<u8>, what: &str, object: impl FnOnce(&mut Vec<u8>)) {
    lines.extend_from_slice(b"{\"type\":\"");
    lines.extend_from_slice(what.as_bytes());
    lines.extend_from_slice(b"\",\"object\":");
    object(lines);
    lines.extend_from_slice(b"}\n");
}

fn write(lines: &mut Vec<u8>, value: &Value) {
    lines.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, config_map};
    use super::*;

    /// `TYPE name` of every event; of a bookmark its annotations.
    fn told(text: &Value) -> Vec<String> {
        let lines = text.as_str().unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|event| {
                let (what, metadata) = (event["type"].as_str().unwrap(), &event["object"]["metadata"]);
                let name = metadata["name"].as_str().map_or(metadata["annotations"].to_string(), str::to_owned);
                format!("{what} {name}")
            })
            .collect()
    }

    fn watch(wire: &mut Wire, query: &str) -> Vec<String> {
        let (code, text) = wire.get(&format!("{MAPS}?watch=1{query}"));
        assert_eq!(code, 200, "{text}");
        told(&text)
    }

    fn labelled(wire: &mut Wire, name: &str, label: &str) {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({ "app": label });
        let (code, _) = wire.put(&format!("{MAPS}/{name}"), map);
        assert_eq!(code, 200);
    }

    #[test]
    fn every_change_is_told_in_order_with_the_object_as_it_was_then() {
        let mut wire = Wire::new();
        let made = wire.config_map("a");
        let since = made["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        labelled(&mut wire, "a", "web");
        wire.config_map("b");
        wire.delete(&format!("{MAPS}/a"));
        wire.config_map("a");
        let (_, text) = wire.get(&format!("{MAPS}?watch=1&resourceVersion={since}"));
        assert_eq!(told(&text), ["MODIFIED a", "ADDED b", "DELETED a", "ADDED a"]);
        let events: Vec<Value> =
            text.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events[0]["object"]["metadata"]["labels"], json!({ "app": "web" }));
        assert_eq!(events[2]["object"]["metadata"]["labels"], json!({ "app": "web" }));
        let revisions: Vec<u64> = events
            .iter()
            .map(|event| event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(revisions.is_sorted() && revisions[0] < revisions[3], "{revisions:?}");
        assert_eq!(events[3]["object"]["kind"], "ConfigMap");
        let all = wire.get("/api/v1/watch/namespaces/default/configmaps/b").1;
        assert_eq!(told(&all), ["ADDED b"]);
    }

    #[test]
    fn an_object_that_stops_to_match_is_deleted_for_the_watch() {
        let mut wire = Wire::new();
        let since = wire.config_map("a")["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        labelled(&mut wire, "a", "web");
        labelled(&mut wire, "a", "other");
        wire.config_map("b");
        let query = format!("&resourceVersion={since}&labelSelector=app%3Dweb");
        assert_eq!(watch(&mut wire, &query), ["ADDED a", "DELETED a"]);
        let query = format!("&resourceVersion={since}&fieldSelector=metadata.name%3Db");
        assert_eq!(watch(&mut wire, &query), ["ADDED b"]);
        let (_, text) = wire.get(&format!("/api/v1/namespaces/kube-system/configmaps?watch=1&resourceVersion={since}"));
        assert_eq!(told(&text), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_comes_first_where_no_revision_is_named() {
        let mut wire = Wire::new();
        wire.config_map("a");
        for query in ["", "&resourceVersion=0"] {
            assert_eq!(watch(&mut wire, query), ["ADDED a", "ADDED kube-root-ca.crt"]);
        }
        let streamed = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da";
        let end = "BOOKMARK {\"k8s.io/initial-events-end\":\"true\"}";
        assert_eq!(watch(&mut wire, &format!("{streamed}&allowWatchBookmarks=true")), ["ADDED a", end]);
        assert_eq!(watch(&mut wire, streamed), ["ADDED a"]);
        assert_eq!(
            watch(&mut wire, "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"),
            Vec::<String>::new()
        );
        assert_eq!(wire.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).0, 422);
        assert_eq!(wire.get(&format!("{MAPS}?watch=1&resourceVersion=x")).0, 500);
    }

    #[test]
    fn what_is_there_comes_in_portions_as_it_was_at_the_beginning() {
        let mut wire = Wire::new();
        for name in ["a", "b", "c", "d"] {
            let mut map = config_map(name);
            map["data"]["a"] = json!("x".repeat(700_000));
            assert_eq!(wire.post(MAPS, map).0, 201);
        }
        let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        let mut watch = wire.watch(&format!("{MAPS}?{query}"));
        let mut next = |wire: &Wire| Value::String(String::from_utf8(watch.take(&wire.world).unwrap()).unwrap());
        assert_eq!(told(&next(&wire)), ["ADDED a", "ADDED b"]);
        wire.delete(&format!("{MAPS}/c"));
        wire.config_map("cc");
        labelled(&mut wire, "a", "web");
        assert_eq!(told(&next(&wire)), ["ADDED c", "ADDED d"]);
        let end = "BOOKMARK {\"k8s.io/initial-events-end\":\"true\"}";
        assert_eq!(told(&next(&wire)), ["ADDED kube-root-ca.crt", end, "DELETED c", "ADDED cc", "MODIFIED a"]);
        assert_eq!(told(&next(&wire)), Vec::<String>::new());
    }

    #[test]
    fn what_is_forgotten_can_not_be_watched_and_what_falls_behind_ends() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let store = wire.world.store_mut("prod").unwrap();
        let since = store.revision();
        store.compact();
        wire.config_map("b");
        assert_eq!(watch(&mut wire, &format!("&resourceVersion={since}")), ["ADDED b"]);
        let (code, text) = wire.get(&format!("{MAPS}?watch=1&resourceVersion={}", since - 1));
        assert_eq!(code, 200);
        let error: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert_eq!(error["object"]["reason"], "Expired");
        assert_eq!(error["object"]["message"], format!("too old resource version: {} ({since})", since - 1));
        // A world that is loaded again has no history.
        let mut again = World::parse(&wire.world.to_yaml().unwrap()).unwrap();
        std::mem::swap(&mut wire.world, &mut again);
        let (_, text) = wire.get(&format!("{MAPS}?watch=1&resourceVersion={since}"));
        assert!(text.as_str().unwrap().starts_with("{\"type\":\"ERROR\""), "{text}");
    }
}
