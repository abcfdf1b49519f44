//! What could stand at the cursor, with one line about each.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_dynamic::{Operation, Struct, Type};
use reedline::{Completer, CompletionOrigin, CompletionResult, CompletionStatus, Span, Suggestion};
use rhai::Dynamic;

use super::Shared;
use super::commands::{self, Wants};
use super::cursor::{self, After, Cursor, Inside, Plain, Receiver, Slot};
use super::library::parameters;
use super::present::Query;
use crate::engine::{Handle, import, lines::Lines};

/// More than this nobody reads; what is typed next makes it fewer.
const CANDIDATES_MAX: usize = 200;

/// Before this many letters, names of operations are offered only behind `eks::`.
const LETTERS_MIN: usize = 3;

/// Keywords that begin something.
const KEYWORDS: [(&str, &str); 14] = [
    ("let", "a variable"),
    ("const", "a variable that does not change"),
    ("if", "only where it holds"),
    ("for", "each element of a list or a range"),
    ("while", "as long as it holds"),
    ("loop", "until `break`"),
    ("fn", "a function"),
    ("import", "a module of scripts"),
    ("switch", "one of several cases"),
    ("try", "with `catch (e)`"),
    ("throw", "an error"),
    ("return", "ends a function"),
    ("true", ""),
    ("false", ""),
];

/// Words that can not be a bare key of a map.
const RESERVED: [&str; 28] = [
    "async",
    "await",
    "case",
    "default",
    "go",
    "goto",
    "is",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "protected",
    "public",
    "private",
    "shared",
    "spawn",
    "static",
    "super",
    "sync",
    "thread",
    "use",
    "var",
    "void",
    "with",
    "yield",
    "return",
];

/// One thing that could stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is written.
    pub text: String,
    /// What follows it, such as `: ` or `(`.
    pub tail: String,
    /// One line.
    pub doc: String,
}

impl Candidate {
    fn new(text: impl Into<String>, tail: &str, doc: impl Into<String>) -> Candidate {
        Candidate { text: text.into(), tail: tail.to_owned(), doc: doc.into() }
    }
}

/// What was found for a cursor.
pub struct Found {
    /// Where in the line what is typed begins.
    pub start: usize,
    /// Sorted by how well they fit.
    pub candidates: Vec<Candidate>,
    /// More may come: names are being read.
    pub pending: bool,
}

/// What a value is known to look like.
#[derive(Clone, Copy)]
enum Shape {
    Struct(&'static Struct),
    Type(Type),
}

/// Completion of the line editor.
pub struct Complete {
    shared: Arc<Shared>,
    was_reading: bool,
}

impl Complete {
    /// For this session.
    pub fn new(shared: &Arc<Shared>) -> Complete {
        Complete { shared: shared.clone(), was_reading: false }
    }
}

impl Completer for Complete {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let pos = (0..=pos.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        let found = find(&self.shared, line, pos);
        self.was_reading |= found.pending;
        let span = Span { start: found.start, end: pos };
        let suggestions: Vec<Suggestion> = found
            .candidates
            .into_iter()
            .map(|candidate| Suggestion {
                value: format!("{}{}", candidate.text, candidate.tail),
                display_override: Some(candidate.text),
                description: Some(candidate.doc).filter(|doc| !doc.is_empty()),
                span,
                ..Suggestion::default()
            })
            .collect();
        if found.pending {
            CompletionResult::stale_or_pending(suggestions.into(), CompletionOrigin::new(line, pos))
        } else {
            CompletionResult::fresh(suggestions)
        }
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        if self.shared.live.has_news() {
            self.was_reading = self.shared.live.is_reading();
            return CompletionStatus::Ready;
        }
        if self.was_reading { CompletionStatus::Pending } else { CompletionStatus::Idle }
    }
}

/// Everything that could stand at a place of a line.
pub fn find(shared: &Shared, line: &str, pos: usize) -> Found {
    let before = &line[..pos];
    let rest = &line[pos..];
    let mut search = Search { shared, lines: &shared.lines(), pending: false, rest };
    if let Some(command) = before.trim_start().strip_prefix(':') {
        return search.command(command, pos);
    }
    let cursor = cursor::look(before);
    let all = search.candidates(&cursor);
    Found { start: cursor.start, candidates: fitting(all, &cursor.typed), pending: search.pending }
}

/// Those that begin with what is typed, then those that have it inside.
fn fitting(all: Vec<Candidate>, typed: &str) -> Vec<Candidate> {
    let wanted = typed.to_lowercase();
    let name = |candidate: &Candidate| candidate.text.to_lowercase();
    let starts = |candidate: &Candidate| name(candidate).starts_with(&wanted);
    let (mut first, others): (Vec<Candidate>, Vec<Candidate>) = all.into_iter().partition(starts);
    if wanted.len() >= 2 {
        first.extend(others.into_iter().filter(|candidate| name(candidate).contains(&wanted)));
    }
    let mut seen = BTreeSet::new();
    first.retain(|candidate| seen.insert(candidate.text.clone()));
    first.truncate(CANDIDATES_MAX);
    first
}

struct Search<'s> {
    shared: &'s Shared,
    lines: &'s Lines,
    pending: bool,
    /// What stands behind the cursor.
    rest: &'s str,
}

impl Search<'_> {
    fn command(&mut self, typed: &str, pos: usize) -> Found {
        let Some((name, argument)) = typed.split_once(' ') else {
            let all = commands::ALL.iter();
            let all = all.map(|command| {
                let tail = if command.arguments.is_empty() { "" } else { " " };
                Candidate::new(command.name, tail, command.help)
            });
            return Found { start: pos - typed.len(), candidates: fitting(all.collect(), typed), pending: false };
        };
        let last = argument.rsplit(' ').next().unwrap_or_default();
        let start = pos - last.len();
        let is_first = argument == last;
        let candidates = match commands::find(name).map(|command| command.wants) {
            Some(Wants::Name) => self.all_names(last),
            Some(Wants::File) => files(last),
            Some(Wants::Words(words)) if is_first => words.iter().map(|word| Candidate::new(*word, "", "")).collect(),
            Some(Wants::Cluster) if is_first => vec![Candidate::new("cluster", " ", "where `kube::` calls go")],
            Some(Wants::Cluster) => self.live(Query::Clusters, "cluster"),
            Some(Wants::Region) => self.live(Query::Regions, "region"),
            Some(Wants::Expression) => {
                let offset = pos - argument.len();
                let cursor = cursor::look(argument);
                let all = self.candidates(&cursor);
                let candidates = fitting(all, &cursor.typed);
                return Found { start: offset + cursor.start, candidates, pending: self.pending };
            }
            _ => Vec::new(),
        };
        Found { start, candidates: fitting(candidates, last), pending: self.pending }
    }

    fn candidates(&mut self, cursor: &Cursor) -> Vec<Candidate> {
        match &cursor.after {
            After::Nothing | After::NewName => Vec::new(),
            After::Import => self.modules(cursor.quote),
            After::Module(module) => self.members(module),
            After::Dot(receiver) => self.after_dot(receiver),
            After::Start => self.start(cursor),
        }
    }

    /// The beginning of an expression, or a key.
    fn start(&mut self, cursor: &Cursor) -> Vec<Candidate> {
        let mut found = Vec::new();
        if let Some(inside) = &cursor.inside {
            match &inside.slot {
                Slot::Key(present) => return self.keys(inside, present, cursor.quote),
                Slot::Value | Slot::ValueOf(_) => found = self.values(inside, cursor.quote),
            }
        }
        if cursor.quote.is_some() {
            if found.is_empty() && cursor.typed.contains('/') {
                found = files(&cursor.typed);
            }
            return found.into_iter().map(|candidate| self.closed(candidate, cursor.quote)).collect();
        }
        if !found.is_empty() && cursor.typed.is_empty() {
            return found;
        }
        found.extend(self.names(&cursor.typed));
        found
    }

    /// Inside of a text, the quote that ends it belongs to what is chosen, unless it is there.
    fn closed(&self, candidate: Candidate, quote: Option<char>) -> Candidate {
        let text = candidate.text.trim_matches('"').to_owned();
        let tail = match quote {
            Some(quote) if !self.rest.starts_with(quote) && !text.ends_with('/') => quote.to_string(),
            _ => String::new(),
        };
        Candidate { text, tail, doc: candidate.doc }
    }

    fn modules(&self, quote: Option<char>) -> Vec<Candidate> {
        let mut names: Vec<String> = import::embedded_names().map(str::to_owned).collect();
        names.extend(self.shared.session.project.modules().into_keys());
        names.sort();
        names.dedup();
        let about = |name: &str| {
            let all = self.shared.library.reference().map(|reference| reference.namespaces()).unwrap_or_default();
            all.iter().find(|namespace| namespace.name == name).map(|found| found.about.clone()).unwrap_or_default()
        };
        names
            .into_iter()
            .map(|name| match quote {
                Some(_) => self.closed(Candidate::new(name.clone(), "", about(&name)), quote),
                None => Candidate { text: format!("\"{name}\""), tail: format!(" as {name};"), doc: about(&name) },
            })
            .collect()
    }

    /// `(` unless it is there.
    fn open(&self, takes_nothing: bool) -> &'static str {
        match (self.rest.starts_with('('), takes_nothing) {
            (true, _) => "",
            (false, true) => "()",
            (false, false) => "(",
        }
    }

    fn members(&self, module: &str) -> Vec<Candidate> {
        if let Some(service) = aws_dynamic::service(module) {
            let operations = service.operations.iter().map(|operation| {
                let tail = self.open(operation.input.fields.is_empty());
                Candidate::new(operation.name, tail, operation.summary)
            });
            let waiters = service.waiters.iter().map(|waiter| {
                let doc = format!("waits by `{}`", waiter.operation);
                Candidate::new(format!("wait_until_{}", waiter.name), self.open(false), doc)
            });
            return operations.chain(waiters).collect();
        }
        let name = self.lines.imports().get(module).map_or(module, String::as_str);
        let entries = self.shared.library.members(name);
        if entries.is_empty() {
            let host = crate::bindings::all().filter(|binding| binding.namespace() == module);
            return host
                .map(|binding| {
                    let nothing = binding.params.is_empty() && binding.options.is_empty();
                    Candidate::new(binding.short_name(), self.open(nothing), binding.summary())
                })
                .collect();
        }
        let member = |entry: &&crate::catalog::doc::Entry| {
            Candidate::new(entry.short_name(), self.open(entry.fields.is_empty()), &*entry.summary)
        };
        entries.iter().map(member).collect()
    }

    /// Variables, functions, modules, keywords, and operations by their own names.
    fn names(&self, typed: &str) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for (name, value) in self.lines.variables() {
            found.push(Candidate::new(name, "", describe(value)));
        }
        for function in self.lines.functions() {
            let doc = if function.summary.is_empty() { "defined here".to_owned() } else { function.summary };
            found.push(Candidate::new(function.name, self.open(function.params.is_empty()), doc));
        }
        for (alias, module) in self.lines.imports() {
            found.push(Candidate::new(alias.clone(), "::", format!("module `{module}`")));
        }
        found.extend(self.namespaces());
        for binding in crate::bindings::all().filter(|binding| binding.namespace().is_empty()) {
            let tail = if binding.name == crate::engine::STEP { " \"" } else { self.open(false) };
            found.push(Candidate::new(binding.name, tail, binding.summary()));
        }
        found.extend(KEYWORDS.iter().map(|(word, doc)| Candidate::new(*word, "", *doc)));
        if typed.len() >= LETTERS_MIN {
            found.extend(self.operations(typed));
        }
        found
    }

    fn namespaces(&self) -> Vec<Candidate> {
        let tail = if self.rest.starts_with("::") { "" } else { "::" };
        if let Some(reference) = self.shared.library.reference() {
            let named = reference.namespaces().iter().filter(|namespace| !namespace.name.is_empty());
            return named.map(|namespace| Candidate::new(&*namespace.name, tail, &*namespace.about)).collect();
        }
        let services = aws_dynamic::services().iter();
        let services = services.map(|service| Candidate::new(service.name, tail, format!("AWS {}", service.sdk_id)));
        let modules = import::embedded_names().map(|name| Candidate::new(name, tail, "module of the standard library"));
        services.chain(modules).collect()
    }

    /// Operations whose own name has what is typed inside.
    fn operations(&self, typed: &str) -> Vec<Candidate> {
        let typed = typed.to_lowercase();
        let all = aws_dynamic::services().iter().flat_map(|service| service.operations);
        let matching = all.filter(|operation| operation.name.contains(&typed)).take(CANDIDATES_MAX);
        matching
            .map(|operation| {
                Candidate::new(operation.to_string(), self.open(operation.input.fields.is_empty()), operation.summary)
            })
            .collect()
    }

    /// Full names, for `:doc` and `:find`.
    fn all_names(&self, typed: &str) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = self.namespaces();
        found.iter_mut().for_each(|candidate| candidate.tail.clear());
        if let Some(reference) = self.shared.library.reference() {
            let entries = reference.entries().iter().filter(|entry| entry.name.contains(typed));
            found.extend(entries.map(|entry| Candidate::new(&*entry.name, "", &*entry.summary)));
        }
        found
    }

    /// Keys of a map that is known, methods of its type.
    fn after_dot(&mut self, receiver: &Receiver) -> Vec<Candidate> {
        if receiver.called {
            let shape = operation(&receiver.root).map(|operation| Shape::Struct(operation.output));
            let shape = shape.and_then(|shape| receiver.links.iter().try_fold(shape, down));
            return shape.map_or_else(Vec::new, |shape| self.of_shape(shape));
        }
        let Some(value) = self.lines.variable(&receiver.root) else { return Vec::new() };
        match follow(value, &receiver.links) {
            Some(value) => self.of_value(&value),
            None => Vec::new(),
        }
    }

    fn of_shape(&self, shape: Shape) -> Vec<Candidate> {
        match shape {
            Shape::Struct(shape) | Shape::Type(Type::Struct(shape)) => {
                shape.fields.iter().map(|field| Candidate::new(field.name, "", field.doc)).collect()
            }
            Shape::Type(Type::List(_)) => self.methods("array"),
            Shape::Type(Type::Map(_)) => self.methods("map"),
            Shape::Type(Type::String | Type::Enum(_) | Type::Timestamp) => self.methods("string"),
            Shape::Type(_) => Vec::new(),
        }
    }

    fn of_value(&self, value: &Dynamic) -> Vec<Candidate> {
        if value.is::<Handle>() {
            let methods = crate::bindings::kube::ALL.iter();
            let methods = methods.filter(|binding| binding.is_outward());
            return methods
                .map(|binding| Candidate::new(binding.short_name(), self.open(false), binding.summary()))
                .collect();
        }
        let mut found = Vec::new();
        if let Ok(map) = value.as_map_ref() {
            found.extend(
                map.iter()
                    .filter(|(key, _)| is_bare(key))
                    .map(|(key, value)| Candidate::new(key.as_str(), "", describe(value))),
            );
        }
        found.extend(self.methods(value.type_name()));
        found
    }

    fn methods(&self, type_name: &str) -> Vec<Candidate> {
        let all = self.shared.library.methods(type_name).iter();
        all.map(|method| Candidate::new(&*method.name, self.open(method.arguments == 0), &*method.summary)).collect()
    }

    /// The full name of the function around the cursor.
    fn function(&self, inside: &Inside) -> String {
        if let Some(receiver) = &inside.receiver {
            let is_handle = self.lines.variable(receiver).is_some_and(|value| value.is::<Handle>());
            let is_kube = crate::bindings::kube::ALL.iter().any(|binding| binding.short_name() == inside.function);
            return if is_handle || is_kube { format!("kube::{}", inside.function) } else { inside.function.clone() };
        }
        match inside.function.split_once("::") {
            Some((alias, name)) => {
                let module = self.lines.imports().get(alias).map_or(alias, String::as_str);
                format!("{module}::{name}")
            }
            None => inside.function.clone(),
        }
    }

    fn keys(&mut self, inside: &Inside, present: &BTreeSet<String>, quote: Option<char>) -> Vec<Candidate> {
        let function = self.function(inside);
        let is_there = |name: &str| present.contains(name);
        let colon = self.rest.trim_start().starts_with(':');
        if let Some(shape) = input(&function, inside.index).and_then(|shape| inside.path.iter().try_fold(shape, down)) {
            let (Shape::Struct(shape) | Shape::Type(Type::Struct(shape))) = shape else { return Vec::new() };
            let mut fields: Vec<_> = shape.fields.iter().filter(|field| !is_there(field.name)).collect();
            fields.sort_by_key(|field| !field.required);
            let key = |field: &&aws_dynamic::Field| {
                let need = if field.required { "required " } else { "" };
                let doc = format!("{need}{}. {}", field.ty, field.doc);
                let opening = if matches!(field.ty, Type::Struct(_)) { ": #{ " } else { ": " };
                self.key(field.name, if colon { "" } else { opening }, doc, quote)
            };
            return fields.iter().map(key).collect();
        }
        let Some(entry) = self.shared.library.entry(&function) else { return Vec::new() };
        if !inside.path.is_empty() {
            return Vec::new();
        }
        let (_, keys) = parameters(entry);
        let keys = keys.into_iter().filter(|field| !is_there(&field.name));
        let tail = if colon { "" } else { ": " };
        keys.map(|field| self.key(&field.name, tail, format!("{}. {}", field.phrase, field.doc), quote)).collect()
    }

    /// A key as it is written: in quotes where it has to be.
    fn key(&self, name: &str, tail: &str, doc: String, quote: Option<char>) -> Candidate {
        match quote {
            Some(_) => self.closed(Candidate::new(name, "", doc), quote),
            None if is_bare(name) => Candidate::new(name, tail, doc),
            None => Candidate::new(format!("\"{name}\""), tail, doc),
        }
    }

    fn values(&mut self, inside: &Inside, quote: Option<char>) -> Vec<Candidate> {
        let function = self.function(inside);
        let mut found = self.known_values(&function, inside, quote);
        if let Some(query) = self.query(&function, inside) {
            let names = self.live(query, "");
            found.extend(names.into_iter().map(|name| match quote {
                Some(_) => name,
                None => Candidate { text: format!("\"{}\"", name.text), ..name },
            }));
        }
        found
    }

    /// Values of an enum, `true` and `false`, the words that an option takes.
    fn known_values(&mut self, function: &str, inside: &Inside, quote: Option<char>) -> Vec<Candidate> {
        let words = |values: &[&str]| -> Vec<Candidate> {
            values.iter().map(|value| Candidate::new(format!("\"{value}\""), "", "")).collect()
        };
        if let Some(operation) = operation(function).filter(|_| inside.index == 0) {
            let mut shape = inside.path.iter().try_fold(Shape::Struct(operation.input), down);
            if let Slot::ValueOf(key) = &inside.slot {
                shape = shape.and_then(|shape| down(shape, &Some(key.clone())));
            }
            if inside.path.is_empty() && inside.slot == Slot::Value {
                let mut required = operation.required();
                shape = match (required.next(), required.next()) {
                    (Some(field), None) => Some(Shape::Type(field.ty)),
                    _ => None,
                };
                if shape.is_none() && quote.is_none() {
                    return vec![Candidate::new("#{ ", "", "the input")];
                }
            }
            return match shape {
                Some(Shape::Type(Type::Enum(shape))) => words(shape.values),
                Some(Shape::Type(Type::Boolean)) if quote.is_none() => {
                    ["true", "false"].map(|word| Candidate::new(word, "", "")).into()
                }
                Some(Shape::Type(Type::List(_))) if quote.is_none() => vec![Candidate::new("[", "", "a list")],
                Some(Shape::Type(Type::Struct(shape))) if quote.is_none() => {
                    vec![Candidate::new("#{ ", "", shape.name)]
                }
                _ => Vec::new(),
            };
        }
        let Some(entry) = self.shared.library.entry(function) else { return Vec::new() };
        let (positional, keys) = parameters(entry);
        let field = match &inside.slot {
            Slot::ValueOf(key) => keys.into_iter().find(|field| field.name == *key),
            _ => positional.get(inside.index).copied(),
        };
        match field {
            Some(field) if !field.values.is_empty() => {
                words(&field.values.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Some(field) if field.name == "kind" && function.starts_with("kube::") => words(&KINDS),
            Some(field) if field.ty == "boolean" && quote.is_none() => {
                ["true", "false"].map(|word| Candidate::new(word, "", "")).into()
            }
            _ => Vec::new(),
        }
    }

    /// What a text or a variable says.
    fn said(&self, plain: Option<&Plain>) -> Option<String> {
        match plain? {
            Plain::Text(text) => Some(text.clone()),
            Plain::Variable(name) => {
                self.lines.variable(name).and_then(|value| value.clone().flatten().into_string().ok())
            }
        }
    }

    /// Which live names belong where the cursor is.
    fn query(&self, function: &str, inside: &Inside) -> Option<Query> {
        let sibling = |name: &str| {
            let found = inside.siblings.iter().find(|(key, _)| key == name);
            self.said(found.and_then(|(_, value)| value.as_ref()))
        };
        let argument = |index: usize| self.said(inside.arguments.get(index).and_then(Option::as_ref));
        let key = match &inside.slot {
            Slot::ValueOf(key) => key.clone(),
            _ => self.parameter(function, inside)?,
        };
        let (namespace, name) = function.split_once("::")?;
        let makes_it =
            name.starts_with("create_") && key.trim_end_matches("_name") == name.trim_start_matches("create_");
        if namespace == "kube" {
            return self.kube_query(name, &key, inside, argument(0), sibling("namespace"));
        }
        let cluster = || sibling("cluster_name").or_else(|| argument(0)).or_else(|| self.shared.session.used_cluster());
        match key.as_str() {
            _ if makes_it => None,
            "cluster_name" | "cluster" => Some(Query::Clusters),
            "name" if namespace == "eks" && name.contains("_cluster") && name != "create_cluster" => {
                Some(Query::Clusters)
            }
            "nodegroup_name" => Some(Query::Nodegroups(cluster()?)),
            "addon_name" if !name.contains("versions") => Some(Query::Addons(cluster()?)),
            "principal_arn" if name != "create_access_entry" => Some(Query::AccessEntries(cluster()?)),
            "region" | "region_name" => Some(Query::Regions),
            _ => None,
        }
    }

    fn kube_query(
        &self,
        name: &str,
        key: &str,
        inside: &Inside,
        kind: Option<String>,
        namespace: Option<String>,
    ) -> Option<Query> {
        if name == "cluster" {
            return Some(Query::Clusters);
        }
        let handle = inside.receiver.as_ref().and_then(|receiver| self.lines.variable(receiver));
        let handle = handle.and_then(|value| value.read_lock::<Handle>().map(|handle| handle.0.label().to_owned()));
        let objects = |kind: String, namespace| Query::Objects { cluster: handle.clone(), kind, namespace };
        match key {
            "namespace" => Some(objects("namespaces".to_owned(), None)),
            "name" => Some(objects(kind?, namespace)),
            _ => None,
        }
    }

    /// The name of the positional parameter that is being typed.
    fn parameter(&self, function: &str, inside: &Inside) -> Option<String> {
        if let Some(operation) = operation(function) {
            let mut required = operation.required();
            return match (required.next(), required.next()) {
                (Some(field), None) if inside.path.is_empty() => Some(field.name.to_owned()),
                _ => inside.path.iter().rev().flatten().next().cloned(),
            };
        }
        if function == "kube::cluster" {
            return Some("name".to_owned());
        }
        let (positional, _) = parameters(self.shared.library.entry(function)?);
        positional.get(inside.index).map(|field| field.name.clone())
    }

    fn live(&mut self, query: Query, doc: &str) -> Vec<Candidate> {
        let (names, pending) = self.shared.live.names(query);
        self.pending |= pending;
        names.into_iter().map(|name| Candidate::new(name, "", doc)).collect()
    }
}

/// What people list most.
const KINDS: [&str; 16] = [
    "pods",
    "nodes",
    "deployments",
    "daemonsets",
    "statefulsets",
    "services",
    "namespaces",
    "configmaps",
    "secrets",
    "jobs",
    "cronjobs",
    "events",
    "ingresses",
    "persistentvolumeclaims",
    "serviceaccounts",
    "poddisruptionbudgets",
];

fn is_bare(key: &str) -> bool {
    let mut letters = key.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !RESERVED.contains(&key)
}

/// The operation of that name, or the one that a waiter repeats.
fn operation(name: &str) -> Option<&'static Operation> {
    let (service, name) = name.split_once("::")?;
    let waiter = name.strip_prefix("wait_until_").and_then(|name| aws_dynamic::service(service)?.waiter(name));
    waiter.map(|waiter| waiter.operation).or_else(|| aws_dynamic::operation(service, name))
}

fn input(function: &str, index: usize) -> Option<Shape> {
    operation(function).filter(|_| index == 0).map(|operation| Shape::Struct(operation.input))
}

/// One key or element down.
fn down(shape: Shape, link: &Option<String>) -> Option<Shape> {
    match (shape, link) {
        (Shape::Struct(shape) | Shape::Type(Type::Struct(shape)), Some(key)) => {
            shape.field(key).map(|field| Shape::Type(field.ty))
        }
        (Shape::Type(Type::List(item) | Type::Map(item)), _) => Some(Shape::Type(*item)),
        _ => None,
    }
}

/// The value behind keys and elements; of a list, the first element stands for all.
fn follow(value: &Dynamic, links: &[Option<String>]) -> Option<Dynamic> {
    let mut value = value.clone();
    for link in links {
        let next = match link {
            Some(key) => value.as_map_ref().ok().and_then(|map| map.get(key.as_str()).cloned()),
            None => value.as_array_ref().ok().and_then(|list| list.first().cloned()),
        };
        value = next?;
    }
    Some(value)
}

/// A value in a few words.
pub fn describe(value: &Dynamic) -> String {
    if let Ok(list) = value.as_array_ref() {
        return crate::error::count("element", list.len());
    }
    if let Ok(map) = value.as_map_ref() {
        return crate::error::count("key", map.len());
    }
    if let Some(handle) = value.read_lock::<Handle>() {
        return format!("handle of cluster {}", handle.0.label());
    }
    if value.is_unit() {
        return "nothing".to_owned();
    }
    let text = value.to_string().replace('\n', " ");
    if text.chars().count() > 60 { format!("{}…", text.chars().take(59).collect::<String>()) } else { text }
}

/// Files and folders that begin with this path.
fn files(typed: &str) -> Vec<Candidate> {
    let (folder, _) = typed.rsplit_once('/').map_or(("", typed), |(folder, name)| (folder, name));
    let prefix = if typed.contains('/') { format!("{folder}/") } else { String::new() };
    let place = if prefix.is_empty() { "." } else { prefix.as_str() };
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<Candidate> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(Candidate::new(format!("{prefix}{name}{slash}"), "", ""))
        })
        .collect();
    found.sort_by(|a, b| a.text.cmp(&b.text));
    found
}
