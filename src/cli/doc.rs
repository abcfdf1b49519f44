//! `ekskit doc [NAME]`.

use clap::Args;
use serde_json::Value;

use super::start;
use crate::catalog::doc::Entry;
use crate::engine::{Interpreter, docs, on_big_stack};
use crate::error::{Error, Result, count, did_you_mean};
use crate::sources::Sources;
use crate::ui::{self, Format};

/// Flags of `doc`.
#[derive(Args, Debug)]
pub struct Flags {
    /// A full name (`eks::create_cluster`) or a namespace (`eks`, `vpc`)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format) -> Result<()> {
    let entries = on_big_stack(|| {
        let (_runtime, session) = start::offline()?;
        docs::all(Interpreter::new(&session, &Sources::default())?.engine())
    })??;
    let wanted = match &flags.name {
        None => entries.iter().collect(),
        Some(name) => select(&entries, name)?,
    };
    match (format, wanted.as_slice()) {
        (Format::Json, wanted) => ui::document(&Value::Array(wanted.iter().map(|entry| entry.to_json()).collect())),
        (Format::Text, [only]) => ui::result(&only.to_text()),
        (Format::Text, wanted) => ui::result(&overview(wanted, flags.name.is_some())),
    }
    Ok(())
}

fn select<'e>(entries: &'e [Entry], name: &str) -> Result<Vec<&'e Entry>> {
    let exact: Vec<&Entry> = entries.iter().filter(|entry| entry.name == name).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let prefix = format!("{}::", name.trim_end_matches("::"));
    let inside: Vec<&Entry> = entries.iter().filter(|entry| entry.name.starts_with(&prefix)).collect();
    if !inside.is_empty() {
        return Ok(inside);
    }
    let names = entries.iter().map(|entry| entry.name.as_str());
    Err(Error::usage(format!("nothing is called `{name}`")).maybe_hint(did_you_mean(name, names)))
}

/// A namespace lists its names; everything lists its namespaces.
fn overview(entries: &[&Entry], one_namespace: bool) -> String {
    if one_namespace {
        let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
        return entries
            .iter()
            .map(|entry| format!("{:width$}  {:6}  {}\n", entry.name, entry.effect.name(), entry.summary))
            .collect();
    }
    let mut namespaces: std::collections::BTreeMap<&str, usize> = Default::default();
    for entry in entries {
        *namespaces.entry(entry.name.split_once("::").map_or("(plain)", |(namespace, _)| namespace)).or_default() += 1;
    }
    let mut text =
        String::from("What scripts can call. `ekskit doc NAMESPACE` lists one, `ekskit doc NAME` explains one.\n\n");
    for (namespace, number) in namespaces {
        text.push_str(&format!("  {namespace:24} {}\n", count("name", number)));
    }
    text
}
