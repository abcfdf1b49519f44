//! Reads one SDK crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::shapes::{self, Kind, Shape, Ty};
use crate::waiters::{self, Paginator, Waiter};

pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) sdk_id: String,
    pub(crate) signing_name: String,
    pub(crate) operations: Vec<Operation>,
    /// Sorted by name, as is everything here that is looked up by it.
    pub(crate) types: BTreeMap<String, Shape>,
    pub(crate) waiters: Vec<Waiter>,
}

pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) wire_name: String,
    pub(crate) summary: String,
    pub(crate) mutates: bool,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) token: Option<String>,
    pub(crate) paginator: Option<Paginator>,
}

impl Service {
    pub(crate) fn shape(&self, name: &str) -> Result<&Shape> {
        self.types.get(name).with_context(|| format!("no type {name}"))
    }

    /// The types reachable from some shapes.
    pub(crate) fn reachable<'a>(&'a self, from: impl Iterator<Item = &'a Shape>) -> Result<BTreeSet<&'a str>> {
        let mut found = BTreeSet::new();
        let mut todo: Vec<&Shape> = from.collect();
        while let Some(shape) = todo.pop() {
            for member in &shape.members {
                for name in named(&member.ty) {
                    let shape = self.shape(name)?;
                    if found.insert(shape.name.as_str()) {
                        todo.push(shape);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The type of the field at a path of snake_case names, and whether each step is a list.
    pub(crate) fn member<'a>(&'a self, shape: &'a Shape, name: &str) -> Result<&'a shapes::Member> {
        let found = shape.members.iter().find(|member| member.name == name);
        found.with_context(|| format!("{} has no field {name}", shape.name))
    }
}

/// The named types inside a type.
fn named(ty: &Ty) -> Vec<&str> {
    match ty {
        Ty::Named(name) | Ty::Events(name) => vec![name],
        Ty::List(item) => named(item),
        Ty::Map(key, item) => [named(key), named(item)].concat(),
        _ => vec![],
    }
}

pub(crate) fn read(name: &str, root: &Path) -> Result<Service> {
    let src = root.join("src");
    let listed = listed(&src.join("operation.rs"))?;
    let lens = load(&src.join("lens.rs")).unwrap_or_default();
    let mut operations = vec![];
    for operation in &listed {
        operations
            .push(read_operation(name, &src, operation, &lens).with_context(|| format!("operation {operation}"))?);
    }
    let client = load(&src.join("client.rs"))?;
    // Each operation has a file of its own under client/, which client.rs lists.
    let methods = client.lines().filter(|line| line.starts_with("mod ")).count();
    let paginators = operations.iter().filter(|operation| operation.paginator.is_some()).count();
    let entries = count_files(&src, &listed, "builders.rs", "pub fn into_paginator(")?;
    ensure!(paginators == entries, "{paginators} paginators, but {entries} operations offer one");
    ensure!(methods == listed.len(), "{} operations, but client.rs has {methods} modules", listed.len());
    let mut types = read_types(&src)?;
    unmark_structures(&mut operations, &mut types);
    let waiters = waiters::read_all(&src, &client)?;
    let first = load(&src.join(format!("operation/{}.rs", listed[0])))?;
    let sdk_id = between(&first, "Metadata::new(", ")")
        .and_then(|args| args.rsplit('"').nth(1))
        .context("no service id")?
        .to_owned();
    let config = load(&src.join("config.rs"))?;
    let signing_name = between(&config, "SigningName::from_static(\"", "\"").context("no signing name")?.to_owned();
    crate::review::check(name, &operations, &types)?;
    Ok(Service { name: name.to_owned(), sdk_id, signing_name, operations, types, waiters })
}

/// The operations, sorted.
fn listed(path: &Path) -> Result<Vec<String>> {
    let text = load(path)?;
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let names: BTreeSet<String> = modules.map(str::to_owned).collect();
    ensure!(!names.is_empty(), "no operations in {}", path.display());
    Ok(names.into_iter().collect())
}

fn count_files(src: &Path, operations: &[String], file: &str, wanted: &str) -> Result<usize> {
    let mut count = 0;
    for operation in operations {
        count += usize::from(load(&src.join("operation").join(operation).join(file))?.contains(wanted));
    }
    Ok(count)
}

fn read_operation(service: &str, src: &Path, name: &str, lens: &str) -> Result<Operation> {
    let folder = src.join("operation").join(name);
    let glue = load(&src.join(format!("operation/{name}.rs")))?;
    let wire_name = glue.lines().find_map(|line| line.strip_prefix("pub struct ")?.strip_suffix(';'));
    let mut input = shapes::read(&load(&folder.join(format!("_{name}_input.rs")))?).context("input")?;
    let output = shapes::read(&load(&folder.join(format!("_{name}_output.rs")))?).context("output")?;
    // The method of the client knows required lists and maps, which the builder's comments leave out.
    let method = load(&src.join(format!("client/{name}.rs")))?;
    for member in &mut input.members {
        let wanted = format!("::set_{}):<br>required: **", member.name);
        let (_, rest) = method.split_once(&wanted).with_context(|| format!("is {} required?", member.name))?;
        member.required = rest.starts_with("true");
    }
    let builders = load(&folder.join("builders.rs"))?;
    let (_, summary) = builders.split_once("/// Fluent builder constructing a request to").context("no summary")?;
    let summary = summary.lines().skip(1).map_while(|line| line.strip_prefix("///")).collect::<Vec<_>>().join("\n");
    let paginator = match load(&folder.join("paginator.rs")) {
        Ok(text) => Some(waiters::paginator(&text, lens).context("paginator")?),
        Err(_) => None,
    };
    Ok(Operation {
        name: name.to_owned(),
        wire_name: wire_name.context("no wire name")?.to_owned(),
        summary: crate::prose::first_sentence(&summary),
        mutates: crate::review::mutates(service, name),
        input,
        output,
        token: token(&glue)?,
        paginator,
    })
}

/// The input field into which the SDK puts an idempotency token.
fn token(glue: &str) -> Result<Option<String>> {
    let mut filled = glue.lines().filter(|line| line.contains("make_idempotency_token"));
    let Some(line) = filled.next() else { return Ok(None) };
    ensure!(filled.next().is_none(), "two idempotency tokens");
    let name = line.trim().strip_prefix("input.").and_then(|rest| rest.split(' ').next());
    Ok(Some(name.with_context(|| format!("an odd idempotency token: {line}"))?.to_owned()))
}

/// The SDK redacts a sensitive structure as a whole and each of its fields again. Ours are marked at the fields only,
/// so that the rest of an answer stays readable.
fn unmark_structures(operations: &mut [Operation], types: &mut BTreeMap<String, Shape>) {
    let structures = types.values().filter(|shape| !matches!(shape.kind, Kind::Enum { .. }));
    let structures: BTreeSet<String> = structures.map(|shape| shape.name.clone()).collect();
    let own = operations.iter_mut().flat_map(|operation| [&mut operation.input, &mut operation.output]);
    for member in types.values_mut().chain(own).flat_map(|shape| &mut shape.members) {
        member.sensitive &= !named(&member.ty).iter().any(|name| structures.contains(*name));
    }
}

fn read_types(src: &Path) -> Result<BTreeMap<String, Shape>> {
    let mut types = BTreeMap::new();
    let Ok(folder) = fs::read_dir(src.join("types")) else { bail!("no types") };
    for entry in folder {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !file.starts_with('_') || !file.ends_with(".rs") {
            continue;
        }
        let shape = shapes::read(&load(&path)?).with_context(|| format!("types/{file}"))?;
        if let Kind::Enum { values } = &shape.kind {
            ensure!(!values.is_empty(), "{} has no values", shape.name);
        }
        types.insert(shape.name.clone(), shape);
    }
    Ok(types)
}

pub(crate) fn load(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(found, _)| found)
}
