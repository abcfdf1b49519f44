//! Literal inputs: fields, options, types and words of what is handed to operations, bindings and stdlib.

use std::collections::{BTreeMap, BTreeSet};

use aws_dynamic::Operation;
use rhai::{Expr, FnCallExpr, Ident, Position};
use serde_json::{Map, Value};

use super::calls::rule_of;
use super::known::Module;
use super::parsed::Function;
use super::rules;
use super::walk::Walk;
use crate::catalog::{Args, Binding, FlawKind, OPTIONS};
use crate::engine::call;
use crate::engine::takes::{self, Takes};
use crate::error::{Error, did_you_mean, list_and, list_or};

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
pub(super) fn is_literal(expr: &Expr) -> bool {
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
        let Some(expr) = options.and_then(|options| self.literal(options)) else { return };
        let mut literal = Literal::default();
        let options = literal.value(expr, "");
        for flaw in call::waiter_options(name, &options, &literal.opaque).1 {
            let place = literal.place(&flaw.path).unwrap_or_else(|| expr.start_position());
            self.report(rule_of(flaw.kind), flaw.error, place);
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
        let aliases = takes::aliases(&module.ast);
        let Some(takes) = takes::of(&module.functions, &aliases, &function.key()) else { return };
        let Some(Expr::Map(entries, _)) = call.args.get(takes.parameter).and_then(|given| self.literal(given)) else {
            return;
        };
        for (key, item) in &entries.0 {
            self.taken_input(&takes, name, key, item);
        }
        for required in takes.required {
            let given = entries.0.iter().find(|(key, _)| key.name == required.as_str());
            if given.is_none_or(|(_, value)| value.is_unit()) {
                let error = Error::invalid(format!("`{name}` needs `{required}`"));
                self.report(&rules::MISSING_FIELD, error, at);
            }
        }
    }

    /// One key of such a map.
    fn taken_input(&mut self, takes: &Takes, name: &str, key: &'a Ident, item: &'a Expr) {
        let defaults = takes.defaults.iter().map(|(name, _)| name);
        let known: Vec<&str> = takes.required.iter().chain(defaults).map(String::as_str).collect();
        let key_name = key.name.as_str();
        if !known.contains(&key_name) {
            let error = Error::invalid(format!("unknown input `{key_name}` for `{name}`"))
                .note(format!("inputs are {}", list_and(&known)))
                .maybe_hint(did_you_mean(key_name, known.iter().copied()));
            self.report(&rules::UNKNOWN_OPTION, error, key.pos);
        }
        let literal = self.literal(item);
        let usual = takes.defaults.iter().find(|(known, _)| known == key_name).and_then(|(_, usual)| word(usual));
        if let (Some(usual), Some(found)) = (usual, literal.and_then(word))
            && usual != found
        {
            let error = Error::invalid(format!("`{key_name}` of `{name}` is {usual}, found {found}"));
            return self.report(&rules::WRONG_TYPE, error, item.start_position());
        }
        if let (Some(choices), Some(Expr::StringConstant(given, _))) = (takes.choices.get(key_name), literal)
            && !choices.iter().any(|choice| choice == given.as_str())
        {
            let error = Error::invalid(format!("`{key_name}` of `{name}` can not be `{given}`"))
                .note(format!("it is {}", list_or(choices)))
                .maybe_hint(did_you_mean(given, choices.iter().map(String::as_str)));
            self.report(&rules::WRONG_VALUE, error, item.start_position());
        }
    }
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
