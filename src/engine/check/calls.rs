//! Calls: whether there is such a function, and whether it takes so many arguments.

use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{Expr, FnCallExpr, Position};

use super::effects::Callee;
use super::inputs::is_literal;
use super::known::Module;
use super::parsed;
use super::rules;
use super::shape::Shape;
use super::walk::Walk;
use crate::bindings;
use crate::catalog::{Binding, Effect, FlawKind, arity_error};
use crate::engine::{STEP, arities, call, params, unavailable};
use crate::error::{Error, count, did_you_mean, list_or};

impl<'a> Walk<'a> {
    pub(super) fn call(&mut self, call: &'a FnCallExpr, at: Position) -> Shape {
        if !call.namespace.is_empty() {
            return self.qualified(call);
        }
        let name = call.name.as_str();
        self.asks_of_its_first_argument(call);
        if call.op_token.is_some() || !rhai::is_valid_function_name(name) && self.known.plain(name).is_none() {
            self.arguments(call);
            return Shape::Unknown;
        }
        match name {
            "parallel" => {
                self.plain_binding(call, at);
                self.closures_of_branches(call);
                return self.branches(call);
            }
            "params" => return self.params(call, at),
            "Fn" => self.named_function(call),
            // What is handed to it is wrong on purpose.
            "assert_error" if self.known.has_assertions => {
                self.excused += 1;
                self.arguments(call);
                self.excused -= 1;
                return Shape::Unknown;
            }
            _ => self.changes_its_first_argument(call),
        }
        self.arguments(call);
        let (script, arity) = (self.script, call.args.len());
        let key = (name.to_owned(), arity);
        if script.functions.contains_key(&key) {
            if self.owner.as_ref() != Some(&key) {
                self.referenced.insert(key.clone());
            }
            self.calls(name.to_owned(), at, Callee::Own(key));
        } else if let Some(error) = unavailable(name) {
            self.report(&rules::UNKNOWN_FUNCTION, error, at);
        } else if !self.plain_binding(call, at) {
            self.plain_call(name, arity, at);
        }
        Shape::Unknown
    }

    fn arguments(&mut self, call: &'a FnCallExpr) {
        call.args.iter().for_each(|argument| drop(self.expr(argument)));
    }

    /// `Fn("name")` uses every function of that name.
    fn named_function(&mut self, call: &FnCallExpr) {
        if let Some(Expr::StringConstant(name, _)) = call.args.first() {
            let keys = self.script.functions.keys().filter(|(known, _)| known == name.as_str());
            self.referenced.extend(keys.cloned().collect::<Vec<_>>());
        }
    }

    /// `retry`, `wait_until` and the like; whether it is one.
    fn plain_binding(&mut self, call: &'a FnCallExpr, at: Position) -> bool {
        let binding = bindings::find(&call.name).filter(|binding| binding.name != STEP);
        if let Some(binding) = binding {
            self.binding_arguments(binding, call, at);
            if let Some(index) = binding.params.iter().position(|param| param.name == "body")
                && let Some(body) = call.args.get(index)
            {
                self.closure_without_parameters(&format!("the body of `{}`", binding.name), body);
            }
        }
        binding.is_some()
    }

    /// What `parallel` gets: closures in a list, or under keys of a map.
    fn closures_of_branches(&mut self, call: &'a FnCallExpr) {
        match call.args.first() {
            Some(Expr::Array(items, _)) => {
                for (index, item) in items.iter().enumerate() {
                    self.closure_without_parameters(&format!("branch `{}` of `parallel`", index + 1), item);
                }
            }
            Some(Expr::Map(entries, _)) => {
                for (key, item) in &entries.0 {
                    self.closure_without_parameters(&format!("branch `{}` of `parallel`", key.name), item);
                }
            }
            Some(other) if parsed::closure(other).is_some() || is_literal(other) => {
                let error = Error::invalid("`parallel` takes a list or a map of closures")
                    .hint("write `parallel([|| …, || …])`, or with names `parallel(#{ a: || …, b: || … })`");
                self.report(&rules::WRONG_TYPE, error, other.start_position());
            }
            _ => {}
        }
    }

    /// A literal that has to be a closure, and is called without arguments.
    fn closure_without_parameters(&mut self, what: &str, body: &'a Expr) {
        let script = self.script;
        let at = body.start_position();
        if let Some((name, captured)) = parsed::closure(body) {
            let own = script.closure(&name).filter(|function| function.is_closure);
            let parameters = own.map_or(0, |function| function.params.len().saturating_sub(captured));
            if parameters > 0 {
                let found = count("parameter", parameters);
                let error = Error::invalid(format!("{what} is called without arguments, found a closure with {found}"))
                    .hint("write `|| …`: a closure sees the variables around it");
                self.report(&rules::WRONG_ARITY, error, at);
            }
        } else if is_literal(body) {
            let error = Error::invalid(format!("{what} is a closure")).hint("write `|| …`");
            self.report(&rules::WRONG_TYPE, error, at);
        }
    }

    fn plain_call(&mut self, name: &str, arity: usize, at: Position) {
        let own: Vec<(usize, String)> = self.own_functions(name);
        let builtin = self.known.plain(name);
        if own.is_empty()
            && let Some(arities) = &builtin
            && (arities.is_empty() || arities.contains(&arity))
        {
            return;
        }
        if let Some(error) = wrong_arity(name, arity, &own, builtin.as_ref()) {
            return self.report(&rules::WRONG_ARITY, error, at);
        }
        let error = Error::invalid(format!("function `{name}` does not exist"));
        if self.find(name).is_some() {
            self.mark_read(name);
            let error = error.hint(format!("`{name}` is a variable: call the closure in it with `{name}.call(…)`"));
            return self.report(&rules::UNKNOWN_FUNCTION, error, at);
        }
        let functions = self.script.functions.values().filter(|function| !function.is_closure);
        let near = functions.map(|function| function.name.as_str()).chain(self.known.plain_names());
        let hint = self.in_a_module(name).or_else(|| did_you_mean(name, near));
        self.report(&rules::UNKNOWN_FUNCTION, error.maybe_hint(hint), at);
    }

    /// The module in reach that has a function of this name.
    fn in_a_module(&self, name: &str) -> Option<String> {
        let has = |module: &Rc<Module>| module.functions.values().any(|function| function.name == name);
        let alias = self.aliases.iter().find(|alias| alias.module.as_ref().is_some_and(has))?;
        Some(format!("did you mean `{}::{name}`?", alias.name))
    }

    fn own_functions(&self, name: &str) -> Vec<(usize, String)> {
        let functions = self.script.functions.values().filter(|function| function.name == name);
        functions.map(|function| (function.params.len(), function.signature())).collect()
    }

    fn qualified(&mut self, call: &'a FnCallExpr) -> Shape {
        let (root, at) = (call.namespace.root(), call.namespace.position());
        let alias = self.aliases.iter().rposition(|alias| alias.name == root);
        if alias.is_some() || !self.known.namespaces().any(|known| known == root) {
            self.closure_handed_over(call);
        }
        match alias {
            Some(index) => {
                self.arguments(call);
                self.aliases[index].is_used = true;
                if let Some(module) = self.aliases[index].module.clone() {
                    self.module_call(&module, call, at);
                }
                Shape::Unknown
            }
            None => self.host_call(call, at),
        }
    }

    fn closure_handed_over(&mut self, call: &'a FnCallExpr) {
        if let Some(closure) = call.args.iter().find(|argument| parsed::closure(argument).is_some()) {
            let function = format!("{}::{}", call.namespace.root(), call.name);
            let error = Error::invalid(format!("a closure can not be handed to `{function}`"))
                .note("names inside a closure are looked up in the module that calls it, so it could call the wrong function")
                .hint(format!("hand data to `{function}`, and call the closure in this script"));
            self.report(&rules::CLOSURE_HANDED_OVER, error, closure.position());
        }
    }

    fn module_call(&mut self, module: &Rc<Module>, call: &'a FnCallExpr, at: Position) {
        let root = call.namespace.root();
        let (name, arity) = (call.name.as_str(), call.args.len());
        let full = format!("{root}::{name}");
        let key = (name.to_owned(), arity);
        let public = || module.functions.values().filter(|function| !function.is_private && !function.is_closure);
        match module.functions.get(&key) {
            Some(function) if !function.is_private => {
                self.taken_inputs(module, function, &full, call, at);
                self.calls(full, at, Callee::Module(module.clone(), key));
                return;
            }
            Some(_) => {
                let error = Error::invalid(format!("function `{full}` is private to its module"))
                    .note(format!("public are {}", names_of(public().map(|function| function.name.as_str()))));
                return self.report(&rules::UNKNOWN_FUNCTION, error, at);
            }
            None => {}
        }
        let same: Vec<(usize, String)> = public()
            .filter(|function| function.name == name)
            .map(|function| (function.params.len(), format!("{root}::{}", function.signature())))
            .collect();
        if let Some(error) = wrong_arity(&full, arity, &same, None) {
            return self.report(&rules::WRONG_ARITY, error, at);
        }
        let near: Vec<&str> = public().map(|function| function.name.as_str()).collect();
        let hint = did_you_mean(name, near.iter().copied());
        let error = Error::invalid(format!("module `{root}` has no function `{name}`"))
            .note(format!("it has {}", names_of(near.into_iter())))
            .maybe_hint(hint.map(|hint| hint.replacen('`', &format!("`{root}::"), 1)));
        self.report(&rules::UNKNOWN_FUNCTION, error, at);
    }

    /// A function of the host: an operation, a waiter or a binding.
    fn host_call(&mut self, call: &'a FnCallExpr, at: Position) -> Shape {
        let (root, name, arity) = (call.namespace.root(), call.name.as_str(), call.args.len());
        let full = format!("{root}::{name}");
        self.arguments(call);
        if let Some(service) = aws_dynamic::service(root) {
            if let Some(operation) = service.operation(name).filter(|_| arity <= 1) {
                self.calls(full, at, Callee::Host(call::effect_of(operation)));
                self.operation_input(operation, call.args.first(), at);
                return Shape::Struct(operation.output);
            }
            let waiter = name.strip_prefix("wait_until_").and_then(|name| service.waiter(name));
            if let Some(waiter) = waiter {
                if arity > 2 {
                    let found = count("argument", arity);
                    let error = Error::invalid(format!("`{full}` takes a map and options, found {found}"));
                    self.report(&rules::WRONG_ARITY, error, at);
                    return Shape::Unknown;
                }
                self.calls(full.clone(), at, Callee::Host(Effect::Read));
                self.operation_input(waiter.operation, call.args.first(), at);
                self.waiter_options(&full, call.args.get(1));
                return Shape::Unknown;
            }
        }
        if let Some(binding) = bindings::find(&full) {
            self.calls(full, at, Callee::Host(binding.effect));
            return self.binding_arguments(binding, call, at);
        }
        if !self.known.namespaces().any(|known| known == root) {
            let error = self.unknown_module(root);
            self.report(&rules::UNKNOWN_MODULE, error, at);
            return Shape::Unknown;
        }
        let is_operation = aws_dynamic::operation(root, name).is_some();
        let rule = if is_operation { &rules::WRONG_ARITY } else { &rules::UNKNOWN_FUNCTION };
        let error = self.known.names().unknown_qualified(root, name, arity);
        self.report(rule, error, at);
        Shape::Unknown
    }

    fn binding_arguments(&mut self, binding: &'static Binding, call: &'a FnCallExpr, at: Position) -> Shape {
        if !arities(binding).contains(&call.args.len()) {
            self.report(&rules::WRONG_ARITY, arity_error(binding, call.args.len()), at);
            return Shape::Unknown;
        }
        self.binding_input(binding, &call.args, at);
        match binding.name {
            "kube::cluster" => Shape::Handle,
            "aws::expect" | "aws::identity" => Shape::keys(&["account", "arn", "partition", "region", "user_id"]),
            _ => Shape::Unknown,
        }
    }

    pub(super) fn method(&mut self, shape: &Shape, call: &'a FnCallExpr, at: Position) -> Shape {
        let (name, arity) = (call.name.as_str(), call.args.len());
        if let (Shape::Inputs(_), "get", [Expr::StringConstant(key, key_at)]) = (shape, name, call.args.as_slice()) {
            return self.property(shape, key, *key_at);
        }
        if matches!(shape, Shape::Inputs(_)) {
            self.inputs = None;
        }
        self.arguments(call);
        let of_cluster = bindings::kube::ALL.iter().copied().find(|binding| binding.short_name() == name);
        let fits = of_cluster.filter(|binding| arities(binding).contains(&arity));
        if let Some(binding) = fits.filter(|_| matches!(shape, Shape::Handle) || !self.is_plain_method(name, arity)) {
            self.calls(format!(".{name}"), at, Callee::Host(binding.effect));
            self.binding_input(binding, &call.args, at);
            return Shape::Unknown;
        }
        if let Some(binding) = of_cluster.filter(|_| matches!(shape, Shape::Handle)) {
            self.report(&rules::WRONG_ARITY, arity_error(binding, arity), at);
            return Shape::Unknown;
        }
        let key = (name.to_owned(), arity);
        if self.script.functions.contains_key(&key) {
            self.referenced.insert(key.clone());
            self.calls(name.to_owned(), at, Callee::Own(key));
            return Shape::Unknown;
        }
        self.unknown_method(name, arity, at);
        Shape::Unknown
    }

    /// Whether values other than cluster handles have the method.
    fn is_plain_method(&self, name: &str, arity: usize) -> bool {
        matches!((name, arity), ("get", 1)) || bindings::kube::ALL.iter().all(|binding| binding.short_name() != name)
    }

    fn unknown_method(&mut self, name: &str, arity: usize, at: Position) {
        // The value in front of the dot is the first parameter.
        let arities = self.known.plain(name);
        let is_known = arities.as_ref().is_some_and(|known| known.is_empty() || known.contains(&(arity + 1)));
        let may_be_a_closure = self.before.is_some_and(|before| before.keys.contains(name));
        if is_known || may_be_a_closure {
            return;
        }
        let own = self.own_functions(name);
        let methods =
            arities.map(|known| known.iter().filter_map(|count| count.checked_sub(1)).collect::<BTreeSet<_>>());
        if let Some(error) = wrong_arity(&format!(".{name}"), arity, &own, methods.as_ref()) {
            return self.report(&rules::WRONG_ARITY, error, at);
        }
        let functions = self.script.functions.values().filter(|function| !function.is_closure);
        let near = functions.map(|function| function.name.as_str()).chain(self.known.plain_names());
        let hint = did_you_mean(name, near);
        let error = Error::invalid(format!("no value has a method `.{name}()`")).maybe_hint(hint);
        self.report(&rules::UNKNOWN_METHOD, error, at);
    }

    /// `params(#{ … })`: what it declares, and that it stands where it is read.
    fn params(&mut self, call: &'a FnCallExpr, at: Position) -> Shape {
        self.arguments(call);
        let is_first = params::is_first(&self.script.ast) && self.owner.is_none() && !self.has_params;
        if !is_first || !self.frames.is_empty() {
            let error = Error::invalid("`params` is not the first statement of the script")
                .hint("declare all inputs once, in the first statement after the imports");
            self.report(&rules::WRONG_PARAMS, error, at);
            return Shape::Unknown;
        }
        self.has_params = true;
        let mut names = Vec::new();
        match call.args.first() {
            Some(Expr::Map(entries, _)) => {
                for (key, value) in &entries.0 {
                    names.push(key.name.to_string());
                    if let Err(error) = params::declared_input(&key.name, value) {
                        self.report(&rules::WRONG_PARAMS, error, key.pos);
                    }
                }
            }
            _ => {
                if let Err(error) = params::declared(&self.script.ast) {
                    self.report(&rules::WRONG_PARAMS, error, at);
                }
                return Shape::Unknown;
            }
        }
        names.sort();
        self.inputs = Some(names.iter().map(|name| (name.clone(), false)).collect());
        Shape::Inputs(Rc::new(names))
    }

    /// Declared inputs that nothing reads. Where the map is handed on as a whole, nothing can be said.
    pub(super) fn unused_inputs(&mut self) {
        let Some(inputs) = self.inputs.take() else { return };
        let places = params::places(&self.script.ast);
        for (name, _) in inputs.into_iter().filter(|(_, is_read)| !is_read) {
            let at = places.iter().find(|(known, _)| *known == name).map_or(Position::NONE, |(_, at)| *at);
            let error = Error::invalid(format!("input `{name}` is never read")).hint("remove it from `params`");
            self.report(&rules::UNUSED_INPUT, error, at);
        }
    }

    /// A function of a script is called instead of a method of its name and arity, in every module: `fn get(x)` would
    /// take over `.get("key")` of all maps.
    pub(super) fn taken_methods(&mut self) {
        let script = self.script;
        for function in script.functions.values().filter(|function| !function.is_closure) {
            let (name, arity) = (function.name.as_str(), function.params.len());
            if self.known.plain(name).is_some_and(|known| known.contains(&(arity + 1))) {
                let parameters = count("parameter", arity);
                let error = Error::invalid(format!(
                    "function `{name}` with {parameters} would replace the method `.{name}` everywhere"
                ))
                .hint(format!("give it a longer name, such as `{name}_it`"));
                self.report(&rules::TAKEN_METHOD, error, script.function_place(function));
            }
        }
    }
}

/// The rule for a mistake in the arguments of a binding.
pub(super) fn rule_of(kind: FlawKind) -> &'static rules::Rule {
    match kind {
        FlawKind::Arity => &rules::WRONG_ARITY,
        FlawKind::Key => &rules::UNKNOWN_OPTION,
        FlawKind::Missing => &rules::MISSING_FIELD,
        FlawKind::Type => &rules::WRONG_TYPE,
        FlawKind::Value => &rules::WRONG_VALUE,
    }
}

fn names_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: BTreeSet<&str> = names.collect();
    crate::error::list_and(&names.into_iter().collect::<Vec<_>>())
}

/// ``vpc::ensure` takes 1 argument, found 2``, where there is a function of that name.
fn wrong_arity(name: &str, found: usize, same: &[(usize, String)], builtin: Option<&BTreeSet<usize>>) -> Option<Error> {
    let mut arities: BTreeSet<usize> = same.iter().map(|(arity, _)| *arity).collect();
    arities.extend(builtin.into_iter().flatten());
    let most = arities.iter().next_back()?;
    let numbers: Vec<String> = arities.iter().map(ToString::to_string).collect();
    let wanted = list_or(&numbers).replace('`', "");
    let noun = if *most == 1 { "argument" } else { "arguments" };
    let error = Error::invalid(format!("`{name}` takes {wanted} {noun}, found {found}"));
    let signatures: Vec<&str> = same.iter().map(|(_, signature)| signature.as_str()).collect();
    Some(if signatures.is_empty() { error } else { error.note(signatures.join(", ")) })
}
