//! Everything callable as documentation: what `ekskit doc` prints, and what suggestions are drawn from.

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
    /// The rest of the doc.
    pub doc: String,
    /// Input fields, parameters or option keys.
    pub fields: Vec<FieldDoc>,
    /// What it returns, in a phrase.
    pub returns: String,
    /// Error kinds of its own.
    pub raises: Vec<String>,
    /// The idempotency token of an operation.
    pub token: Option<String>,
    /// How an operation's pages follow each other.
    pub paginator: Option<Value>,
    /// For a waiter: the operation that it repeats.
    pub waiter: Option<Value>,
}

/// One field of an input.
#[derive(Clone, Debug)]
pub struct FieldDoc {
    /// Its name.
    pub name: String,
    /// Its type in words.
    pub ty: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it may be, where that is a list of words.
    pub values: Vec<String>,
    /// One line.
    pub doc: String,
}

impl Entry {
    /// The entry as `ekskit doc --output json` prints it.
    pub fn to_json(&self) -> Value {
        let fields: Vec<Value> = self.fields.iter().map(FieldDoc::to_json).collect();
        let mut entry = json!({
            "name": self.name,
            "kind": self.kind,
            "effect": self.effect.name(),
            "summary": self.summary,
            "fields": fields,
            "returns": self.returns,
            "raises": self.raises,
        });
        if self.kind == "operation" {
            entry["token"] = json!(self.token);
            entry["paginator"] = json!(self.paginator);
        }
        if let Some(operation) = &self.waiter {
            entry["waits_on"] = operation.clone();
        }
        entry
    }

    /// The entry as `ekskit doc NAME` prints it.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}  ({}, {})\n\n{}\n", self.name, self.kind, self.effect.name(), self.summary);
        if !self.doc.is_empty() {
            text.push_str(&format!("\n{}\n", self.doc.trim()));
        }
        if !self.fields.is_empty() {
            let width = self.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
            text.push_str("\nInput:\n");
            for field in &self.fields {
                text.push_str(&field.to_text(width));
            }
        }
        if !self.returns.is_empty() {
            text.push_str(&format!("\nReturns: {}\n", self.returns));
        }
        if !self.raises.is_empty() {
            text.push_str(&format!("Raises: {}\n", self.raises.join(", ")));
        }
        text
    }
}

impl FieldDoc {
    fn to_json(&self) -> Value {
        json!({ "name": self.name, "type": self.ty, "required": self.required, "values": self.values })
    }

    fn to_text(&self, width: usize) -> String {
        let required = if self.required { " (required)" } else { "" };
        let values = match self.values.as_slice() {
            [] => String::new(),
            values if values.len() <= 12 => format!(" [{}]", values.join(" | ")),
            values => format!(" [{} values]", values.len()),
        };
        format!("  {:width$}  {}{required}{values}  {}\n", self.name, self.ty, self.doc)
    }
}

impl From<&Binding> for Entry {
    fn from(binding: &Binding) -> Entry {
        let (summary, doc) = binding.doc.trim().split_once('\n').unwrap_or((binding.doc.trim(), ""));
        Entry {
            name: binding.name.to_owned(),
            kind: "binding",
            effect: binding.effect,
            summary: summary.trim().to_owned(),
            doc: doc.trim().to_owned(),
            fields: binding.params.iter().chain(binding.options).map(FieldDoc::from).collect(),
            returns: binding.returns.to_owned(),
            raises: binding.raises.iter().map(|kind| kind.name().to_owned()).collect(),
            token: None,
            paginator: None,
            waiter: None,
        }
    }
}

impl From<&Param> for FieldDoc {
    fn from(param: &Param) -> FieldDoc {
        let values = match param.ty {
            Ty::OneOf(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            _ => Vec::new(),
        };
        FieldDoc {
            name: param.name.to_owned(),
            ty: param.ty.name().to_owned(),
            required: param.required,
            values,
            doc: param.doc.to_owned(),
        }
    }
}
