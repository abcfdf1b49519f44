//! Everything that has a name before anything was typed: bindings, operations, script modules, methods of values.
//! Read beside the first prompt, so that it does not wait for it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rhai::FuncInfo;

use crate::catalog::doc::{Entry, FieldDoc};
use crate::catalog::reference::Reference;
use crate::engine::{self, docs};
use crate::error::Result;
use crate::project::Project;

/// How long a completion waits for the first reading at most; it takes a tenth of that on a slow machine.
const READING_MAX: Duration = Duration::from_secs(2);

/// A method that values of one type have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// How many arguments it takes.
    pub arguments: usize,
    /// One line.
    pub summary: String,
}

/// Names and docs, once they are read.
#[derive(Default)]
pub struct Library(OnceLock<Shelves>);

struct Shelves {
    reference: Reference,
    /// By the type: `array`, `map`, `string`, …
    methods: BTreeMap<&'static str, Vec<Method>>,
}

impl Library {
    /// Reads everything; for a thread of its own.
    pub fn read(&self, project: &Project) -> Result<()> {
        let engine = engine::grammar()?;
        let shelves = Shelves { reference: docs::reference(&engine, project)?, methods: methods() };
        let _ = self.0.set(shelves);
        Ok(())
    }

    /// Everything callable, once it is read.
    pub fn reference(&self) -> Option<&Reference> {
        self.0.get().map(|shelves| &shelves.reference)
    }

    /// What is called that.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        let all = self.reference()?.entries();
        all.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().and_then(|index| all.get(index))
    }

    /// What stands in a namespace. Who asks before everything is read waits for that, within reason.
    pub fn members(&self, namespace: &str) -> Vec<&Entry> {
        let begun = Instant::now();
        while self.0.get().is_none() && begun.elapsed() < READING_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.reference().map(|reference| reference.members(namespace)).unwrap_or_default()
    }

    /// The methods of values of a type.
    pub fn methods(&self, type_name: &str) -> &[Method] {
        let all = self.0.get().map(|shelves| &shelves.methods);
        all.and_then(|methods| methods.get(type_name)).map_or(&[], Vec::as_slice)
    }
}

/// Parameters of a function before its map of inputs, and the keys of that map.
pub fn parameters(entry: &Entry) -> (Vec<&FieldDoc>, Vec<&FieldDoc>) {
    entry.fields.iter().partition(|field| !field.is_key)
}

const TYPES: [(&str, &[&str]); 6] = [
    ("array", &["Array", "&mut Array"]),
    ("map", &["Map", "&mut Map"]),
    ("string", &["ImmutableString", "&mut ImmutableString", "String", "&str", "&mut String"]),
    ("i64", &["INT", "i64", "&mut INT", "&mut i64"]),
    ("f64", &["FLOAT", "f64", "&mut FLOAT", "&mut f64"]),
    ("bool", &["bool", "&mut bool"]),
];

/// The engine's own methods, by the type of the value before the dot.
fn methods() -> BTreeMap<&'static str, Vec<Method>> {
    let engine = rhai::Engine::new();
    let mut found: BTreeMap<&'static str, Vec<Method>> = BTreeMap::new();
    let all = engine.collect_fn_metadata(None, |info: FuncInfo| method(&info), true);
    for (type_name, method) in all {
        found.entry(type_name).or_default().push(method);
    }
    for methods in found.values_mut() {
        methods.sort();
        methods.dedup_by(|a, b| a.name == b.name);
    }
    found
}

fn method(info: &FuncInfo) -> Option<(&'static str, Method)> {
    let name = info.metadata.name.to_string();
    if !info.namespace.is_empty() || !name.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        return None;
    }
    let first = info.metadata.params_info.first()?;
    let written = first.split_once(':').map_or(first.as_str(), |(_, written)| written).trim();
    let (type_name, _) = TYPES.iter().find(|(_, spellings)| spellings.contains(&written))?;
    let comments = info.metadata.comments.iter().flat_map(|comment| comment.lines());
    let mut lines = comments.map(|line| line.trim_start_matches('/').trim());
    let summary = lines.find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Some((type_name, Method { name, arguments: info.metadata.num_params.saturating_sub(1), summary }))
}
