//! Everything callable, as plain data: name, effect, parameters, what it returns and raises, docs with examples.
//!
//! A binding is one value beside a plain function. Registration, argument checks, the effect gate, events, `doc` and
//! the doc tests are derived from it, so that nothing is said twice. AWS operations produce the same value from the
//! generated schema ([`aws`]).

mod args;
pub mod aws;
pub mod doc;
mod markdown;
pub mod page;
pub mod reference;

use std::sync::Arc;

use serde_json::Value;

pub use self::args::{Args, Flaw, FlawKind, OPTIONS, arity_error, unknown_option};
use crate::cloud::retry::Watch;
use crate::cloud::{Cloud, Connection, Future};
use crate::error::{Kind, Result};
pub use crate::event::Effect;
use crate::event::Level;

/// The type of a parameter, as scripts see it.
#[derive(Clone, Copy, Debug)]
pub enum Ty {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Integer.
    Int,
    /// `true` or `false`.
    Bool,
    /// A map.
    Map,
    /// A map with these keys.
    Keys(&'static [Param]),
    /// A list.
    List,
    /// Text with a unit: `"90s"`, `"10m"`, `"1h30m"`.
    Duration,
    /// RFC 3339 text.
    Time,
}

impl Ty {
    /// The word in docs.
    pub fn name(self) -> &'static str {
        match self {
            Ty::Any => "any",
            Ty::Text | Ty::OneOf(_) => "text",
            Ty::Int => "integer",
            Ty::Bool => "boolean",
            Ty::Map | Ty::Keys(_) => "map",
            Ty::List => "list",
            Ty::Duration => "duration",
            Ty::Time => "time",
        }
    }
}

/// A positional parameter or a key of the options map.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name; for an option, the key.
    pub name: &'static str,
    /// Its type.
    pub ty: Ty,
    /// One line: meaning, unit, default.
    pub doc: &'static str,
    /// Whether it must be given. Positional ones always must.
    pub required: bool,
}

impl Param {
    /// A positional parameter.
    pub const fn new(name: &'static str, ty: Ty, doc: &'static str) -> Param {
        Param { name, ty, doc, required: true }
    }

    /// A key of the options map.
    pub const fn option(name: &'static str, ty: Ty, doc: &'static str) -> Param {
        Param { name, ty, doc, required: false }
    }
}

/// How a binding runs. Data only in and out: no script type gets here.
#[derive(Clone, Copy)]
pub enum Run {
    /// A plain function of its arguments.
    Pure(fn(&Args) -> Result<Value>),
    /// Talks to the cloud, the clock or the project's files.
    Cloud(for<'a> fn(Call<'a>) -> Future<'a, Result<Answer>>),
    /// Needs closures or script types: the engine registers it itself.
    Control,
}

/// A hand-written function that a script may call.
pub struct Binding {
    /// With its namespace: `kube::get`.
    pub name: &'static str,
    /// What it may do to the cloud.
    pub effect: Effect,
    /// Summary line, then the other cases, then a `rhai` block with one example that works and one that fails.
    pub doc: &'static str,
    /// Positional parameters, all required.
    pub params: &'static [Param],
    /// Keys of the options map, the last argument.
    pub options: &'static [Param],
    /// What it returns, in a phrase.
    pub returns: &'static str,
    /// The error kinds that it raises of itself.
    pub raises: &'static [Kind],
    /// The function.
    pub run: Run,
}

impl Binding {
    /// A plain function of its arguments that takes no options and raises only `invalid`.
    pub const fn pure(
        name: &'static str,
        doc: &'static str,
        params: &'static [Param],
        returns: &'static str,
        run: fn(&Args) -> Result<Value>,
    ) -> Binding {
        Binding {
            name,
            effect: Effect::Pure,
            doc,
            params,
            options: &[],
            returns,
            raises: &[Kind::Invalid],
            run: Run::Pure(run),
        }
    }

    /// The first line of the doc.
    pub fn summary(&self) -> &'static str {
        self.doc.trim().lines().next().unwrap_or_default()
    }

    /// `kube`.
    pub fn namespace(&self) -> &'static str {
        self.name.split_once("::").map_or("", |(namespace, _)| namespace)
    }

    /// `get`.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(_, name)| name)
    }

    /// Whether it talks to the cloud, the clock or files; of `kube::` these are the methods of a handle.
    pub fn is_outward(&self) -> bool {
        matches!(self.run, Run::Cloud(_))
    }

    /// `kube::get(kind, name, #{ namespace: … })`.
    pub fn signature(&self) -> String {
        let mut arguments: Vec<String> = self.params.iter().map(|param| param.name.to_owned()).collect();
        if !self.options.is_empty() {
            let keys: Vec<String> = self.options.iter().map(|option| format!("{}: …", option.name)).collect();
            arguments.push(format!("#{{ {} }}", keys.join(", ")));
        }
        format!("{}({})", self.name, arguments.join(", "))
    }
}

/// One call of a binding: its checked arguments and what it may reach.
pub struct Call<'a> {
    /// Checked against the binding's parameters.
    pub args: Args,
    /// AWS, Kubernetes, clock.
    pub cloud: &'a Cloud,
    /// The cluster of the handle it was called on, or of `--kubeconfig`.
    pub cluster: Option<Arc<Connection>>,
    /// Where files may be read.
    pub files: &'a Files,
    /// Tells the operator something.
    pub say: &'a (dyn Fn(Level, String) + Send + Sync),
    /// Hears what is waited for.
    pub watch: &'a dyn Watch,
}

/// The folder that scripts may read: the project's.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Absolute; none where there is no project (typed text outside one).
    pub root: Option<std::path::PathBuf>,
}

/// What a binding answers.
#[derive(Debug, Default)]
pub struct Answer {
    /// Plain data.
    pub value: Value,
    /// Which parts of it are secret.
    pub secrets: Secrets,
    /// For mutations: whether anything changed. A call that found everything as wanted says `false`.
    pub changed: bool,
}

impl Answer {
    /// An answer of a read.
    pub fn read(value: Value) -> Answer {
        Answer { value, secrets: Secrets::None, changed: false }
    }

    /// An answer of a mutation.
    pub fn changed(value: Value, changed: bool) -> Answer {
        Answer { value, secrets: Secrets::None, changed }
    }

    /// Marks parts as secret.
    pub fn secret(mut self, secrets: Secrets) -> Answer {
        self.secrets = secrets;
        self
    }
}

pub use crate::value::Secrets;

/// All hand-written bindings, in the order of their files.
pub fn find<'a>(bindings: &[&'a Binding], name: &str) -> Option<&'a Binding> {
    bindings.iter().copied().find(|binding| binding.name == name)
}
