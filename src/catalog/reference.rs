//! The reference: every name that can be called, looked up by name, by namespace, by field and by word.

use aws_dynamic::{Field, Struct};
use serde_json::{Value, json};

use super::aws;
use super::doc::{Entry, FieldDoc};
use crate::error::{Error, Result, did_you_mean, list_or};

/// Where the functions of a namespace come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Plain functions, which every script has.
    Plain,
    /// Bindings of the program.
    Host,
    /// An AWS service.
    Aws,
    /// A module of the standard library.
    Stdlib,
    /// A module of the project.
    Project,
}

/// One namespace or module.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// `eks`, `kube`, `vpc`; empty for plain functions.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is for, in a line.
    pub about: String,
}

/// Everything callable, with what it is grouped by.
#[derive(Clone, Debug)]
pub struct Reference {
    namespaces: Vec<Namespace>,
    entries: Vec<Entry>,
}

/// What a name means.
#[derive(Debug)]
pub enum Topic<'r> {
    /// No name: all namespaces.
    Index,
    /// A namespace, with what it holds.
    Namespace(&'r Namespace, Vec<&'r Entry>),
    /// One function or operation.
    Entry(&'r Entry),
    /// A field of an input or an answer: `eks::create_nodegroup.scaling_config`.
    Field(&'r Entry, Vec<FieldTopic>),
    /// What a word was found in.
    Found(String, Vec<&'r Entry>),
}

/// A field with what lies inside.
#[derive(Debug)]
pub struct FieldTopic {
    /// Whether it belongs to the answer, not to the input.
    pub in_answer: bool,
    /// With the names down to it: `scaling_config.min_size`.
    pub path: String,
    /// The field.
    pub field: FieldDoc,
    /// The fields inside.
    pub inside: Vec<FieldDoc>,
}

impl Reference {
    /// Of these; the order does not matter.
    pub fn new(mut namespaces: Vec<Namespace>, mut entries: Vec<Entry>) -> Reference {
        namespaces.sort_by(|a, b| (a.origin, &a.name).cmp(&(b.origin, &b.name)));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Reference { namespaces, entries }
    }

    /// Every name, sorted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every namespace: plain functions first, then bindings, AWS services, standard library and project.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// What stands in a namespace.
    pub fn members(&self, namespace: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.namespace() == namespace).collect()
    }

    /// What a name means: a namespace, a full name, its last part where only one thing has it, AWS's own spelling of
    /// an operation, or any of these with the names of fields behind dots. Raises `invalid` for an unknown one.
    pub fn topic(&self, name: Option<&str>) -> Result<Topic<'_>> {
        let typed = name.unwrap_or_default().trim().trim_end_matches([';', ':']);
        let typed = typed.split('(').next().unwrap_or(typed).trim();
        if typed.is_empty() {
            return Ok(Topic::Index);
        }
        let is_namespace = |name: &str| self.namespaces.iter().find(|namespace| namespace.name == name);
        if let Some(namespace) = is_namespace(typed) {
            return Ok(Topic::Namespace(namespace, self.members(typed)));
        }
        // In other languages a dot stands between a module and its function.
        let name = match typed.split_once('.') {
            Some((namespace, rest)) if is_namespace(namespace).is_some() => format!("{namespace}::{rest}"),
            _ => typed.to_owned(),
        };
        let (name, path) = name.split_once('.').map_or((name.as_str(), None), |(name, path)| (name, Some(path)));
        match (self.entry(name)?, path) {
            (entry, None) => Ok(Topic::Entry(entry)),
            (entry, Some(path)) => field_topics(entry, path).map(|topics| Topic::Field(entry, topics)),
        }
    }

    /// Entries that a word stands in: names first, then summaries and names of fields.
    pub fn find(&self, word: &str) -> Topic<'_> {
        let wanted: Vec<String> = word.split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<(u8, &Entry)> =
            self.entries.iter().filter_map(|entry| rank(entry, &wanted).map(|rank| (rank, entry))).collect();
        // Stable: names stay in order among equals.
        found.sort_by_key(|(rank, _)| *rank);
        Topic::Found(word.to_owned(), found.into_iter().map(|(_, entry)| entry).collect())
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        if let Ok(index) = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            return self.entries.get(index).ok_or_else(|| Error::bug("the catalog ends before its index"));
        }
        let same = |entry: &&Entry| {
            let wire = entry.operation.filter(|_| entry.kind == "operation").map(|operation| operation.wire_name);
            entry.short_name() == name || wire == Some(name)
        };
        let near: Vec<&Entry> = self.entries.iter().filter(same).collect();
        match near.as_slice() {
            [only] => Ok(only),
            [] => Err(Error::usage(format!("nothing is called `{name}`")).maybe_hint(self.suggestion(name))),
            several => {
                let names: Vec<&str> = several.iter().take(8).map(|entry| entry.name.as_str()).collect();
                Err(Error::usage(format!("several things are called `{name}`"))
                    .hint(format!("name one of them: {}", list_or(&names))))
            }
        }
    }

    fn suggestion(&self, name: &str) -> Option<String> {
        let full = self.entries.iter().map(|entry| entry.name.as_str());
        let spaces = self.namespaces.iter().map(|namespace| namespace.name.as_str());
        let near = did_you_mean(name, full.chain(spaces.filter(|name| !name.is_empty())));
        near.or_else(|| {
            // `create_nodgroup` is far from `eks::create_nodegroup`, but near to its last part.
            let short = crate::error::suggest(name, self.entries.iter().map(Entry::short_name))?;
            let full = self.entries.iter().find(|entry| entry.short_name() == short)?;
            Some(format!("did you mean `{}`?", full.name))
        })
        .or_else(|| {
            let Topic::Found(_, found) = self.find(&name.replace("::", " ")) else { return None };
            found.first().map(|entry| format!("`{}` comes near", entry.name))
        })
    }
}

/// How well all the words fit: 0 the name is a word, 1 the name, 2 the summary, 3 the fields, 4 the doc.
fn rank(entry: &Entry, wanted: &[String]) -> Option<u8> {
    let name = entry.name.to_lowercase();
    let summary = entry.summary.to_lowercase();
    let of_word = |word: &String| {
        if entry.short_name() == word {
            Some(0)
        } else if name.contains(word) {
            Some(1)
        } else if summary.contains(word) {
            Some(2)
        } else if entry.fields.iter().any(|field| field.name.to_lowercase().contains(word)) {
            Some(3)
        } else {
            entry.doc.to_lowercase().contains(word).then_some(4)
        }
    };
    let ranks: Option<Vec<u8>> = wanted.iter().map(of_word).collect();
    ranks?.into_iter().max()
}

/// The fields that a path names: in the input, in the answer, or in both.
fn field_topics(entry: &Entry, path: &str) -> Result<Vec<FieldTopic>> {
    let Some(operation) = entry.operation else {
        let field = entry.fields.iter().find(|field| field.name == path);
        return match field {
            Some(field) => Ok(vec![FieldTopic {
                in_answer: false,
                path: path.to_owned(),
                field: field.clone(),
                inside: Vec::new(),
            }]),
            None => Err(no_field(entry, path, entry.fields.iter().map(|field| field.name.as_str()).collect())),
        };
    };
    let mut topics = Vec::new();
    let mut failure = None;
    for (in_answer, shape) in [(false, operation.input), (true, operation.output)] {
        match walk(shape, path) {
            Ok(field) => {
                let inside = aws::shape(&field.ty).map_or_else(Vec::new, fields_of);
                topics.push(FieldTopic { in_answer, path: path.to_owned(), field: aws::field(field), inside });
            }
            // The side that led further down knows better what could have been meant.
            Err(deeper) => {
                let is_better = failure.as_ref().is_none_or(|(depth, _)| *depth < deeper.depth);
                if is_better {
                    failure = Some((deeper.depth, deeper));
                }
            }
        }
    }
    match failure {
        Some((_, lost)) if topics.is_empty() => Err(no_field(entry, lost.at, lost.names)),
        _ => Ok(topics),
    }
}

/// Where a path leads nowhere.
struct Lost<'p> {
    depth: usize,
    at: &'p str,
    names: Vec<&'static str>,
}

fn walk<'p>(shape: &'static Struct, path: &'p str) -> Result<&'static Field, Lost<'p>> {
    let mut inside = Some(shape);
    let mut found = None;
    for (depth, name) in path.split('.').enumerate() {
        let names = inside.map_or_else(Vec::new, |shape| shape.fields.iter().map(|field| field.name).collect());
        let field = inside.and_then(|shape| shape.field(name)).ok_or(Lost { depth, at: name, names })?;
        inside = aws::shape(&field.ty);
        found = Some(field);
    }
    found.ok_or(Lost { depth: 0, at: path, names: Vec::new() })
}

fn no_field(entry: &Entry, name: &str, names: Vec<&str>) -> Error {
    let error = Error::usage(format!("`{}` has no field `{name}` there", entry.name));
    let error = match names.as_slice() {
        [] => error.note("there are no fields"),
        names => error.note(format!("fields are {}", crate::error::list_and(names))),
    };
    error.maybe_hint(did_you_mean(name, names))
}

/// The fields of a map.
pub fn fields_of(shape: &'static Struct) -> Vec<FieldDoc> {
    shape.fields.iter().map(aws::field).collect()
}

impl Topic<'_> {
    /// As `ekskit doc --output json` prints it: always a list of entries.
    pub fn to_json(&self, reference: &Reference) -> Value {
        let entries: Vec<Value> = match self {
            Topic::Index => reference.entries().iter().map(Entry::to_json).collect(),
            Topic::Namespace(_, entries) | Topic::Found(_, entries) => {
                entries.iter().map(|entry| entry.to_json()).collect()
            }
            Topic::Entry(entry) => vec![entry.to_json()],
            Topic::Field(entry, topics) => topics.iter().map(|topic| topic.to_json(entry)).collect(),
        };
        Value::Array(entries)
    }
}

impl FieldTopic {
    fn to_json(&self, entry: &Entry) -> Value {
        let inside: Vec<Value> = self.inside.iter().map(FieldDoc::to_json).collect();
        let mut json = json!({
            "name": format!("{}.{}", entry.name, self.path),
            "kind": "field",
            "effect": entry.effect.name(),
            "summary": self.field.doc,
            "in": if self.in_answer { "answer" } else { "input" },
            "type": self.field.ty,
            "required": self.field.required,
            "values": self.field.values,
            "fields": inside,
            "returns": "",
            "raises": [],
        });
        if let Some(default) = &self.field.default {
            json["default"] = json!(default);
        }
        json
    }
}
