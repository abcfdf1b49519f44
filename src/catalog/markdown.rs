//! The reference as Markdown: one topic, or all of it as one document.

use super::doc::{Entry, FieldDoc};
use super::page::{effect_words, facts, title, type_words};
use super::reference::{FieldTopic, Namespace, Origin, Reference, Topic, fields_of};

/// A table cell holds all values up to so many.
const VALUES_MAX: usize = 40;

/// Writes a topic; the index is the whole document.
pub fn write(reference: &Reference, topic: &Topic<'_>) -> String {
    let mut text = String::new();
    match topic {
        Topic::Index => whole(&mut text, reference),
        Topic::Namespace(namespace, entries) => of_namespace(&mut text, namespace, entries, 1),
        Topic::Entry(entry) => of_entry(&mut text, entry, 1),
        Topic::Field(entry, topics) => of_fields(&mut text, entry, topics),
        Topic::Found(word, entries) => {
            text.push_str(&format!("# {word}\n\n"));
            list(&mut text, entries);
        }
    }
    text
}

fn whole(text: &mut String, reference: &Reference) {
    text.push_str("# Everything that scripts can call\n");
    let mut origin = None;
    for namespace in reference.namespaces() {
        if origin != Some(namespace.origin) {
            origin = Some(namespace.origin);
            text.push_str(&format!("\n## {}\n", title(namespace.origin)));
        }
        text.push('\n');
        of_namespace(text, namespace, &reference.members(&namespace.name), 3);
    }
}

fn of_namespace(text: &mut String, namespace: &Namespace, entries: &[&Entry], depth: usize) {
    if namespace.origin != Origin::Plain {
        text.push_str(&format!("{} {}\n\n{}\n\n", "#".repeat(depth), namespace.name, namespace.about));
    }
    list(text, entries);
    for entry in entries {
        text.push('\n');
        of_entry(text, entry, depth + 1);
    }
}

fn list(text: &mut String, entries: &[&Entry]) {
    text.push_str("| name | effect | |\n|---|---|---|\n");
    for entry in entries {
        let effect = effect_words(entry.effect);
        text.push_str(&format!("| `{}` | {effect} | {} |\n", entry.name, cell(&entry.summary)));
    }
}

fn of_entry(text: &mut String, entry: &Entry, depth: usize) {
    let depth = depth.min(6);
    text.push_str(&format!("{} `{}`\n\n{}\n\n", "#".repeat(depth), entry.name, entry.summary));
    text.push_str(&format!("```\n{}\n```\n", entry.signatures.join("\n")));
    if !entry.doc.is_empty() {
        text.push_str(&format!("\n{}\n", entry.doc));
    }
    let documented: Vec<FieldDoc> =
        entry.fields.iter().filter(|field| field.is_key || !field.doc.is_empty()).cloned().collect();
    table(text, "input", &documented);
    if let Some(operation) = entry.operation {
        table(text, "answer", &fields_of(operation.output));
    }
    text.push('\n');
    for (name, fact) in facts(entry) {
        text.push_str(&format!("* {name}: {fact}\n"));
    }
}

fn of_fields(text: &mut String, entry: &Entry, topics: &[FieldTopic]) {
    for (index, topic) in topics.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let side = if topic.in_answer { "answer" } else { "input" };
        text.push_str(&format!("# `{}.{}` ({side})\n\n", entry.name, topic.path));
        if !topic.field.doc.is_empty() {
            text.push_str(&format!("{}\n\n", topic.field.doc));
        }
        text.push_str(&format!("{}\n", type_words(&topic.field, usize::MAX, false)));
        table(text, "inside", &topic.inside);
    }
}

fn table(text: &mut String, heading: &str, fields: &[FieldDoc]) {
    if fields.is_empty() {
        return;
    }
    text.push_str(&format!("\n| {heading} | type | |\n|---|---|---|\n"));
    for field in fields {
        let ty = cell(&type_words(field, VALUES_MAX, true));
        text.push_str(&format!("| `{}` | {ty} | {} |\n", field.name, cell(&field.doc)));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
