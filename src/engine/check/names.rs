//! Variables, imports and functions: what is read that is not there, and what is there and never read.

use rhai::{Expr, Ident, Namespace, Position};

use super::known::Role;
use super::rules;
use super::shape::Shape;
use super::walk::{Alias, Origin, Variable, Walk};
use crate::engine::fault;
use crate::error::{Error, did_you_mean};

impl<'a> Walk<'a> {
    pub(super) fn declare(
        &mut self,
        name: &str,
        at: Position,
        origin: Origin,
        shape: Shape,
        literal: Option<&'a Expr>,
    ) {
        let hidden = self.find(name).map(|index| &self.scope[index]);
        if let Some(hidden) = hidden.filter(|_| !name.starts_with('_')) {
            let line = hidden.at.line().unwrap_or(0);
            let error = Error::invalid(format!("`{name}` hides another `{name}`"))
                .note(format!("the other one stands in line {line}"))
                .hint("give one of them another name");
            self.report(&rules::SHADOWING, error, at);
        }
        let changes = self.before.is_none_or(|before| before.changed.contains(&at));
        let is_blurred = self.before.is_some_and(|before| before.blurred.contains(&at));
        if changes && matches!(shape, Shape::Inputs(_)) {
            self.inputs = None;
        }
        let is_map = matches!(literal, Some(Expr::Map(..) | Expr::Array(..)));
        let literal = literal.filter(|_| !(changes || is_blurred && is_map));
        let shape = match shape {
            _ if changes => Shape::Unknown,
            Shape::Inputs(_) | Shape::Handle => shape,
            _ if is_blurred => Shape::Unknown,
            other => other,
        };
        self.by_name.entry(name.to_owned()).or_default().push(self.scope.len());
        self.scope.push(Variable { name: name.to_owned(), at, origin, is_read: false, shape, literal });
    }

    /// Leaves a scope: what was introduced in it is out of reach.
    pub(super) fn leave(&mut self, variables: usize, aliases: usize) {
        for variable in self.scope.split_off(variables.min(self.scope.len())) {
            if let Some(places) = self.by_name.get_mut(&variable.name) {
                places.pop();
            }
            if variable.is_read || variable.name.starts_with('_') {
                continue;
            }
            let name = &variable.name;
            let (rule, what) = match variable.origin {
                Origin::Parameter => (&rules::UNUSED_PARAMETER, "parameter"),
                Origin::Let | Origin::Loop | Origin::Caught => (&rules::UNUSED_VARIABLE, "variable"),
            };
            let error = Error::invalid(format!("{what} `{name}` is never read"))
                .hint(format!("remove it, or call it `_{name}` where it has to be there"));
            self.report(rule, error, variable.at);
        }
        for alias in self.aliases.split_off(aliases.min(self.aliases.len())) {
            if !alias.is_used && !alias.name.is_empty() {
                let error = Error::invalid(format!("import `{}` is never used", alias.name)).hint("remove it");
                self.report(&rules::UNUSED_IMPORT, error, alias.at);
            }
        }
    }

    /// The index of a variable in reach.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name)?.last().copied()
    }

    pub(super) fn mark_read(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.scope[index].is_read = true;
        }
    }

    /// A variable as a whole.
    pub(super) fn read(&mut self, name: &str, at: Position) -> Shape {
        let shape = self.read_part(name, at);
        if matches!(shape, Shape::Inputs(_)) {
            self.inputs = None;
        }
        shape
    }

    /// A variable of which only a part is looked at.
    pub(super) fn read_part(&mut self, name: &str, at: Position) -> Shape {
        if let Some(index) = self.find(name) {
            self.scope[index].is_read = true;
            return self.scope[index].shape.clone();
        }
        let script = self.script;
        let mut is_function = false;
        for function in script.functions.values().filter(|function| function.name == name) {
            // A function is known from its end on, as the engine reads.
            is_function |= function.end < at || self.owner.is_some();
            self.referenced.insert(function.key());
        }
        if !is_function {
            let error = self.unknown_variable(name);
            self.report(&rules::UNKNOWN_VARIABLE, error, at);
        }
        Shape::Unknown
    }

    fn unknown_variable(&self, name: &str) -> Error {
        let near = self.scope.iter().map(|variable| variable.name.as_str());
        let error = Error::invalid(format!("variable `{name}` does not exist"));
        if let Some(hint) = did_you_mean(name, near) {
            return error.hint(hint);
        }
        if self.script.functions.values().any(|function| function.name == name) {
            return error.hint("a function is known from its end on: move it above this line");
        }
        if self.owner.is_some() && self.script.top_level_names().any(|known| known == name) {
            return error.hint(fault::HAND_IN);
        }
        if self.aliases.iter().any(|alias| alias.name == name) {
            return error.hint(format!("`{name}` is a module: write `{name}::…`"));
        }
        error.hint(fault::KNOWN_FROM)
    }

    /// `global::NAME` and `module::NAME`.
    pub(super) fn read_qualified(&mut self, namespace: &Namespace, name: &str) {
        let root = namespace.root();
        if root == "global" {
            if !self.script.is_constant(name) {
                let near: Vec<&str> = self.script.constants().collect();
                let error = Error::invalid(format!("constant `global::{name}` does not exist"))
                    .maybe_hint(did_you_mean(name, near))
                    .note("`global::` reaches the constants that stand at the top of the script");
                self.report(&rules::UNKNOWN_VARIABLE, error, namespace.position());
            }
            return;
        }
        let Some(index) = self.aliases.iter().rposition(|alias| alias.name == root) else {
            let error = self.unknown_module(root);
            self.report(&rules::UNKNOWN_MODULE, error, namespace.position());
            return;
        };
        self.aliases[index].is_used = true;
        let Some(module) = self.aliases[index].module.clone() else { return };
        let exported: Vec<&str> = module.exported().collect();
        if !exported.contains(&name) {
            let error = Error::invalid(format!("module `{root}` exports no variable `{name}`"))
                .maybe_hint(did_you_mean(name, exported));
            self.report(&rules::UNKNOWN_VARIABLE, error, namespace.position());
        }
    }

    pub(super) fn unknown_module(&self, name: &str) -> Error {
        let error = Error::invalid(format!("module `{name}` is not imported"));
        let mut near: Vec<&str> = self.aliases.iter().map(|alias| alias.name.as_str()).collect();
        for namespace in self.known.namespaces() {
            near.push(namespace);
        }
        if let Some(hint) = did_you_mean(name, near) {
            return error.hint(hint);
        }
        let known = crate::engine::import::embedded_names().any(|known| known == name);
        error.hint(match known {
            true => fault::import_at_the_top(name),
            false => "`ekskit doc` lists the namespaces and modules that there are".to_owned(),
        })
    }

    pub(super) fn import(&mut self, path: &'a Expr, alias: &Ident, at: Position) {
        let module = match path {
            Expr::StringConstant(name, name_at) => match self.known.import(&self.script.source, name) {
                Ok(module) => module,
                Err(problem) => {
                    let (rule, error) = *problem;
                    self.report(rule, error, *name_at);
                    None
                }
            },
            other => {
                self.expr(other);
                None
            }
        };
        let at = if alias.pos.is_none() { at } else { alias.pos };
        self.aliases.push(Alias { name: alias.name.to_string(), at, module, is_used: false });
    }

    /// Functions that nothing calls.
    pub(super) fn unused_functions(&mut self) {
        let script = self.script;
        for function in script.functions.values() {
            let is_own = function.is_private || script.role == Role::Runbook;
            let is_test = function.name.starts_with("test_");
            if function.is_closure || !is_own || is_test || self.referenced.contains(&function.key()) {
                continue;
            }
            let error =
                Error::invalid(format!("function `{}` is never called", function.signature())).hint("remove it");
            self.report(&rules::UNUSED_FUNCTION, error, script.function_place(function));
        }
    }
}
