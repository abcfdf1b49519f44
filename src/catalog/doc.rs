//! Everything callable as documentation: what `ekskit doc` prints, what `:doc` of the REPL shows, and what suggestions
//! are drawn from.

use aws_dynamic::Operation;
use serde_json::{Value, json};

use super::{Binding, Effect, Param, Ty};

/// One callable thing.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `eks::create_cluster`, `kube::get`, `vpc::ensure`.
    pub name: String,
    /// `operation`, `binding` or `function`.
    pub kind: &'static str,
    /// What it may do to the cloud.
    pub effect: Effect,
    /// One line.
    pub summary: String,
    /// The rest of the doc, its examples included, in Markdown.
    pub doc: String,
    /// How it is called; a function with optional parameters has several.
    pub signatures: Vec<String>,
    /// Input fields, parameters or option keys.
    pub fields: Vec<FieldDoc>,
    /// What it returns, in a phrase.
    pub returns: String,
    /// Error kinds of its own.
    pub raises: Vec<String>,
    /// The actions that a policy must allow for an operation.
    pub iam_actions: Vec<String>,
    /// The idempotency token of an operation.
    pub token: Option<String>,
    /// How an operation's pages follow each other.
    pub paginator: Option<Value>,
    /// For an operation: the waiters that repeat it.
    pub waiters: Vec<String>,
    /// For a waiter: the operation that it repeats.
    pub waiter: Option<Value>,
    /// The schema of an operation, or of what a waiter repeats.
    pub operation: Option<&'static Operation>,
    /// The file of a script function.
    pub source: Option<String>,
}

/// One field of an input.
#[derive(Clone, Debug)]
pub struct FieldDoc {
    /// Its name.
    pub name: String,
    /// Its type: for an operation's field as the SDK names it, else in words.
    pub ty: String,
    /// Its type in words.
    pub phrase: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it may be, where that is a list of words.
    pub values: Vec<String>,
    /// One line.
    pub doc: String,
    /// What it is when it is not given, as a script writes it.
    pub default: Option<String>,
    /// Whether it is a key of the map that is handed over, not a parameter of its own.
    pub is_key: bool,
    /// What lies inside, where that is a map with known keys.
    pub keys: Vec<&'static str>,
}

/// One example: what comes before it, the expression, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Statements that come first.
    pub setup: String,
    /// The expression.
    pub expression: String,
    /// Its value as a script writes it, or `error: kind`.
    pub shows: String,
}

/// The `rhai` blocks of a Markdown text.
pub fn blocks(text: &str) -> Vec<String> {
    text.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// The examples of a block: each line with `//=>`.
pub fn examples(block: &str) -> Vec<Example> {
    let mut setup = String::new();
    let mut found = Vec::new();
    for line in block.lines() {
        match line.split_once("//=>") {
            Some((expression, shows)) => found.push(Example {
                setup: setup.clone(),
                expression: expression.trim().trim_end_matches(';').to_owned(),
                shows: shows.trim().to_owned(),
            }),
            None => setup.push_str(&format!("{line}\n")),
        }
    }
    found
}

impl Entry {
    /// An entry of this name and kind with nothing else known.
    pub fn new(name: impl Into<String>, kind: &'static str, effect: Effect) -> Entry {
        Entry {
            name: name.into(),
            kind,
            effect,
            summary: String::new(),
            doc: String::new(),
            signatures: Vec::new(),
            fields: Vec::new(),
            returns: String::new(),
            raises: Vec::new(),
            iam_actions: Vec::new(),
            token: None,
            paginator: None,
            waiters: Vec::new(),
            waiter: None,
            operation: None,
            source: None,
        }
    }

    /// Takes a doc apart: summary line, and the rest.
    #[must_use]
    pub fn with_doc(mut self, text: &str) -> Entry {
        let (summary, doc) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        self.summary = summary.trim().to_owned();
        self.doc = doc.trim().to_owned();
        self
    }

    /// `kube`; empty for a plain function.
    pub fn namespace(&self) -> &str {
        self.name.split_once("::").map_or("", |(namespace, _)| namespace)
    }

    /// `get`.
    pub fn short_name(&self) -> &str {
        self.name.split_once("::").map_or(&self.name, |(_, name)| name)
    }

    /// The doc without its examples.
    pub fn prose(&self) -> String {
        let mut prose = String::new();
        for (index, part) in self.doc.split("```").enumerate() {
            if index % 2 == 0 {
                prose.push_str(part.trim_end());
                prose.push('\n');
            }
        }
        prose.trim().to_owned()
    }

    /// The entry as `ekskit doc --output json` prints it.
    pub fn to_json(&self) -> Value {
        let fields: Vec<Value> = self.fields.iter().map(FieldDoc::to_json).collect();
        let mut entry = json!({
            "name": self.name,
            "kind": self.kind,
            "effect": self.effect.name(),
            "summary": self.summary,
            "doc": self.prose(),
            "signatures": self.signatures,
            "fields": fields,
            "returns": self.returns,
            "raises": self.raises,
            "examples": blocks(&self.doc),
        });
        if self.kind == "operation" {
            entry["iam_actions"] = json!(self.iam_actions);
            entry["token"] = json!(self.token);
            entry["paginator"] = json!(self.paginator);
            entry["waiters"] = json!(self.waiters);
        }
        if let Some(operation) = &self.waiter {
            entry["waits_on"] = operation.clone();
            entry["iam_actions"] = json!(self.iam_actions);
        }
        if let Some(source) = &self.source {
            entry["source"] = json!(source);
        }
        entry
    }
}

impl FieldDoc {
    /// A parameter of which only the name is known.
    pub fn parameter(name: &str) -> FieldDoc {
        FieldDoc {
            name: name.to_owned(),
            ty: "any".to_owned(),
            phrase: "any".to_owned(),
            required: true,
            values: Vec::new(),
            doc: String::new(),
            default: None,
            is_key: false,
            keys: Vec::new(),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let mut field = json!({
            "name": self.name, "type": self.ty, "required": self.required, "values": self.values, "doc": self.doc,
        });
        if let Some(default) = &self.default {
            field["default"] = json!(default);
        }
        if !self.keys.is_empty() {
            field["keys"] = json!(self.keys);
        }
        field
    }
}

impl From<&Binding> for Entry {
    fn from(binding: &Binding) -> Entry {
        let options = binding.options.iter().map(|option| FieldDoc { is_key: true, ..FieldDoc::from(option) });
        Entry {
            signatures: vec![syntax(binding)],
            fields: binding.params.iter().map(FieldDoc::from).chain(options).collect(),
            returns: binding.returns.to_owned(),
            raises: binding.raises.iter().map(|kind| kind.name().to_owned()).collect(),
            ..Entry::new(binding.name, "binding", binding.effect).with_doc(binding.doc)
        }
    }
}

/// How a binding is written; `step` is the one that is no function.
fn syntax(binding: &Binding) -> String {
    if binding.name == "step" { "step \"name\" { … }".to_owned() } else { binding.signature() }
}

impl From<&Param> for FieldDoc {
    fn from(param: &Param) -> FieldDoc {
        let values = match param.ty {
            Ty::OneOf(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            _ => Vec::new(),
        };
        FieldDoc {
            ty: param.ty.name().to_owned(),
            phrase: param.ty.name().to_owned(),
            required: param.required,
            values,
            doc: param.doc.to_owned(),
            ..FieldDoc::parameter(param.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_examples_of_a_doc_come_apart() {
        let doc = "One line.\n\nMore of it.\n\n```rhai\nlet a = 1;\na + 1 //=> 2\n```\n\nThe end.";
        let entry = Entry::new("x::y", "binding", Effect::Pure).with_doc(doc);
        assert_eq!((entry.summary.as_str(), entry.prose().as_str()), ("One line.", "More of it.\n\n\nThe end."));
        let example = examples(&blocks(&entry.doc)[0]);
        assert_eq!((example[0].setup.as_str(), example[0].shows.as_str()), ("let a = 1;\n", "2"));
    }
}
