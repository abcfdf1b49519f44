//! Literal inputs: fields, options, types and words of what is handed to operations, bindings and stdlib.

use std::collections::{BTreeMap, BTreeSet};

use aws_dynamic::Operation;
use rhai::{Expr, FnCallExpr, Position, Stmt};
use serde_json::{Map, Value};

use super::calls::rule_of;
use super::known::Module;
use super::parsed::Function;
use super::rules;
use super::walk::Walk;
use crate::catalog::{Args, Binding, FlawKind, OPTIONS};
use crate::engine::call;
use crate::error::{Error, did_you_mean, list_and};
use crate::value;

/// A literal as data, with what only a run can tell.
#[derive(Default)]
struct Literal {
    /// Paths of which nothing is known.
    opaque: BTreeSet<String>,
    places: BTreeMap<String, Position>,
}

impl Literal {
    /// The value of an expression at a path; what is no literal is noted as opaque.
    fn value(&mut self, expr: &Expr, path: &str) -> Value {
        self.places.entry(path.to_owned()).or_insert_with(|| expr.start_position());
        match expr {
            Expr::BoolConstant(flag, _) => Value::from(*flag),
            Expr::IntegerConstant(number, _) => Value::from(*number),
            Expr::FloatConstant(number, _) => Value::from(**number),
            Expr::StringConstant(text, _) => Value::from(text.as_str()),
            Expr::Unit(_) => Value::Null,
            Expr::Array(items, _) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.value(item, &aws_dynamic::item(path, index))).collect()
            }
            Expr::Map(entries, _) => {
                let mut map = Map::new();
                for (key, item) in &entries.0 {
                    let below = aws_dynamic::below(path, &key.name);
                    self.places.insert(below.clone(), key.pos);
                    map.insert(key.name.to_string(), self.value(item, &below));
                }
                Value::Object(map)
            }
            _ => {
                self.opaque.insert(path.to_owned());
                Value::Null
            }
        }
    }

    /// Where a path stands, or the nearest path around it that is written.
    fn place(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(at) = self.places.get(path) {
                return Some(*at);
            }
            path = path.rfind(['.', '[']).map(|end| &path[..end]).filter(|_| !path.is_empty())?;
        }
    }
}

/// Whether something is known of an expression.
fn is_literal(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BoolConstant(..)
            | Expr::IntegerConstant(..)
            | Expr::FloatConstant(..)
            | Expr::StringConstant(..)
            | Expr::Unit(_)
            | Expr::Array(..)
            | Expr::Map(..)
    )
}

impl<'a> Walk<'a> {
    /// The literal that an expression always is: itself, or that of a variable which never changes.
    pub(super) fn literal(&self, expr: &'a Expr) -> Option<&'a Expr> {
        match expr {
            Expr::Variable(variable, ..) if variable.2.is_empty() => {
                self.find(&variable.1).and_then(|index| self.scope[index].literal)
            }
            other => is_literal(other).then_some(other),
        }
    }

    pub(super) fn operation_input(&mut self, operation: &'static Operation, argument: Option<&'a Expr>, at: Position) {
        let mut literal = Literal::default();
        let input = match argument {
            None => Value::Object(Map::new()),
            Some(argument) => match self.literal(argument) {
                None => return,
                Some(expr @ Expr::Map(..)) => literal.value(expr, ""),
                Some(expr) => {
                    let found = literal.value(expr, "");
                    match call::sole_field(operation) {
                        Some(field) => {
                            literal = Literal::default();
                            let value = literal.value(expr, field);
                            Value::Object(Map::from_iter([(field.to_owned(), value)]))
                        }
                        None => {
                            let error = call::needs_a_map(operation, &found);
                            return self.report(&rules::WRONG_TYPE, error, expr.start_position());
                        }
                    }
                }
            },
        };
        for flaw in aws_dynamic::inspect(operation, input, &literal.opaque) {
            let rule = match flaw.kind {
                aws_dynamic::FlawKind::Field => &rules::UNKNOWN_FIELD,
                aws_dynamic::FlawKind::Missing => &rules::MISSING_FIELD,
                aws_dynamic::FlawKind::Type => &rules::WRONG_TYPE,
                aws_dynamic::FlawKind::Value => &rules::WRONG_VALUE,
            };
            let place = match flaw.kind {
                aws_dynamic::FlawKind::Missing if !flaw.path.contains(['.', '[']) => None,
                _ => literal.place(&flaw.path),
            };
            let mut error = Error::invalid(flaw.message).maybe_hint(flaw.hint);
            error.facts_mut().notes.extend(flaw.note);
            self.report(rule, error, place.unwrap_or(at));
        }
    }

    pub(super) fn waiter_options(&mut self, name: &str, options: Option<&'a Expr>) {
        let Some(Expr::Map(entries, _)) = options.and_then(|options| self.literal(options)) else { return };
        for (key, item) in &entries.0 {
            let mut literal = Literal::default();
            let value = literal.value(item, "");
            let problem = match key.name.as_str() {
                "timeout" if literal.opaque.is_empty() => {
                    value::duration("timeout", &value).err().map(|error| (&rules::WRONG_TYPE, error))
                }
                "timeout" => None,
                other => {
                    let error = Error::invalid(format!("unknown option `{other}` for `{name}`"))
                        .note("the only option is `timeout`")
                        .maybe_hint(did_you_mean(other, ["timeout"]));
                    Some((&rules::UNKNOWN_OPTION, error))
                }
            };
            if let Some((rule, error)) = problem {
                self.report(rule, error, key.pos);
            }
        }
    }

    pub(super) fn binding_input(&mut self, binding: &'static Binding, arguments: &'a [Expr], at: Position) {
        let mut literal = Literal::default();
        let mut positional = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let path = binding.params.get(index).map(|param| param.name);
            let value = match self.literal(argument) {
                None => {
                    literal.opaque.insert(path.unwrap_or(OPTIONS).to_owned());
                    Value::Null
                }
                // Keys of the options map are paths of their own.
                Some(expr) => literal.value(expr, path.unwrap_or_default()),
            };
            positional.push(value);
        }
        let (_, flaws) = Args::inspect(binding, positional, &literal.opaque);
        for flaw in flaws {
            let place = if flaw.kind == FlawKind::Missing { None } else { literal.place(&flaw.path) };
            self.report(rule_of(flaw.kind), flaw.error, place.unwrap_or(at));
        }
    }

    /// A literal map for a function that begins with `inputs::take(…)`, which tells what it takes.
    pub(super) fn taken_inputs(
        &mut self,
        module: &Module,
        function: &Function,
        name: &str,
        call: &'a FnCallExpr,
        at: Position,
    ) {
        let Some(takes) = takes(module, function) else { return };
        let Some(Expr::Map(entries, _)) = call.args.get(takes.parameter).and_then(|given| self.literal(given)) else {
            return;
        };
        let known: Vec<&str> = takes.required.iter().chain(takes.defaults.keys()).map(String::as_str).collect();
        for (key, item) in &entries.0 {
            if !known.contains(&key.name.as_str()) {
                let error = Error::invalid(format!("unknown input `{}` for `{name}`", key.name))
                    .note(format!("inputs are {}", list_and(&known)))
                    .maybe_hint(did_you_mean(&key.name, known.iter().copied()));
                self.report(&rules::UNKNOWN_OPTION, error, key.pos);
            }
            let usual = takes.defaults.get(key.name.as_str()).and_then(|usual| word(usual));
            if let (Some(usual), Some(found)) = (usual, self.literal(item).and_then(word))
                && usual != found
            {
                let error = Error::invalid(format!("`{}` of `{name}` is {usual}, found {found}", key.name));
                self.report(&rules::WRONG_TYPE, error, item.start_position());
            }
        }
        for required in takes.required {
            let given = entries.0.iter().find(|(key, _)| key.name == required.as_str());
            if given.is_none_or(|(_, value)| value.is_unit()) {
                let error = Error::invalid(format!("`{name}` needs `{required}`"));
                self.report(&rules::MISSING_FIELD, error, at);
            }
        }
    }
}

/// What a function of stdlib takes.
struct Takes<'m> {
    parameter: usize,
    required: Vec<String>,
    defaults: BTreeMap<String, &'m Expr>,
}

/// The kind of a literal, as `inputs::take` compares it.
fn word(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::BoolConstant(..) => Some("true or false"),
        Expr::IntegerConstant(..) => Some("a whole number"),
        Expr::FloatConstant(..) => Some("a number"),
        Expr::StringConstant(..) | Expr::InterpolatedString(..) => Some("text"),
        Expr::Array(..) => Some("a list"),
        Expr::Map(..) => Some("a map"),
        _ => None,
    }
}

/// Reads `let o = inputs::take("vpc::ensure", wanted, ["name"], #{ … })` off the beginning of a function.
fn takes<'m>(module: &Module, function: &'m Function) -> Option<Takes<'m>> {
    let is_import = |statement: &Stmt, root: &str| match statement {
        Stmt::Import(parts, _) => {
            parts.1.name == root && matches!(&parts.0, Expr::StringConstant(path, _) if path == "inputs")
        }
        _ => false,
    };
    let call = function
        .body
        .iter()
        .find(|statement| !matches!(statement, Stmt::Expr(expr) if matches!(**expr, Expr::Custom(..))))?;
    let Stmt::Var(parts, ..) = call else { return None };
    let Expr::FnCall(call, _) = &parts.1 else { return None };
    let [_, Expr::Variable(given, ..), Expr::Array(required, _), Expr::Map(defaults, _)] = call.args.as_slice() else {
        return None;
    };
    let root = call.namespace.root();
    if call.name != "take"
        || call.namespace.is_empty()
        || !module.ast.statements().iter().any(|one| is_import(one, root))
    {
        return None;
    }
    let required = required.iter().map(|name| match name {
        Expr::StringConstant(name, _) => Some(name.to_string()),
        _ => None,
    });
    Some(Takes {
        parameter: function.params.iter().position(|name| *name == given.1.as_str())?,
        required: required.collect::<Option<_>>()?,
        defaults: defaults.0.iter().map(|(key, value)| (key.name.to_string(), value)).collect(),
    })
}
