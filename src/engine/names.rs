//! What can be called, by name: for suggestions and for the errors about wrong names.

use crate::catalog::{self, Binding};
use crate::error::{Error, count, did_you_mean};
use crate::value::describe_type;

fn found_types(arguments: &str) -> String {
    if arguments.is_empty() {
        return "it was called without arguments".to_owned();
    }
    let types: Vec<String> = arguments.split(',').map(|name| describe_type(name.trim())).collect();
    format!("it was called with {}", types.join(", "))
}

/// Names known to an engine.
#[derive(Default)]
pub struct Names {
    /// Hand-written bindings.
    pub bindings: Vec<&'static Binding>,
    /// Modules that can be imported.
    pub modules: Vec<String>,
}

impl Names {
    /// The error for a function that the engine did not find: `kube::scale (string, map)` as it writes it.
    pub fn unknown_function(&self, signature: &str) -> Error {
        let (name, arguments) = signature.split_once('(').unwrap_or((signature, ""));
        let name = name.trim();
        let arguments = arguments.trim_end_matches(')').trim();
        let found = if arguments.is_empty() { 0 } else { arguments.split(',').count() };
        if name.starts_with("anon$") {
            let found = count("argument", found);
            return Error::invalid(format!("a closure is called with {found}, and takes another number of them"))
                .hint("write `|| …` where it gets none, and `|one| …` where it gets one");
        }
        if let Some(binding) = catalog::find(&self.bindings, name) {
            // As many as it takes, so that one of them is of the wrong kind.
            return match super::arities(binding).contains(&found) {
                true => Error::invalid(format!("`{name}` does not take these arguments"))
                    .note(found_types(arguments))
                    .note(binding.signature()),
                false => catalog::arity_error(binding, found),
            };
        }
        match name.split_once("::") {
            Some((service, operation)) => self.unknown_qualified(service, operation, found),
            None => Error::invalid(format!("function `{name}` does not exist for {}", count("argument", found)))
                .note(found_types(arguments))
                .maybe_hint(did_you_mean(name, self.plain_names())),
        }
    }

    fn plain_names(&self) -> impl Iterator<Item = &'static str> {
        self.bindings.iter().map(|binding| binding.name).filter(|name| !name.contains("::"))
    }

    /// The error for `namespace::name` with so many arguments.
    pub fn unknown_qualified(&self, namespace: &str, name: &str, found: usize) -> Error {
        let Some(service) = aws_dynamic::service(namespace) else {
            let near = self.bindings.iter().filter(|binding| binding.namespace() == namespace);
            let near: Vec<&str> = near.map(|binding| binding.short_name()).collect();
            let hint = did_you_mean(name, near.iter().copied());
            return Error::invalid(format!(
                "function `{namespace}::{name}` does not exist for {}",
                count("argument", found)
            ))
            .maybe_hint(hint.or_else(|| Some("`ekskit doc` lists what can be called".to_owned())));
        };
        if service.operation(name).is_some() {
            return Error::invalid(format!("`{namespace}::{name}` takes one map, found {}", count("argument", found)))
                .hint(format!(
                    "write `{namespace}::{name}(#{{ … }})`; `ekskit doc {namespace}::{name}` lists its fields"
                ));
        }
        let waiters: Vec<String> = service.waiters.iter().map(|waiter| format!("wait_until_{}", waiter.name)).collect();
        let names = service.operations.iter().map(|operation| operation.name).chain(waiters.iter().map(String::as_str));
        Error::invalid(format!("operation `{namespace}::{name}` does not exist"))
            .maybe_hint(did_you_mean(name, names))
            .note(format!("{} has {}", service.sdk_id, count("operation", service.operations.len())))
    }

    /// Which module was meant.
    pub fn import_hint(&self, name: &str) -> Option<String> {
        did_you_mean(name, self.modules.iter().map(String::as_str))
    }
}
