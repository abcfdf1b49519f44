//! What a value is known to hold without running the script.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_dynamic::{Struct, Type};
use rhai::Position;

use super::rules;
use super::walk::Walk;
use crate::error::{Error, did_you_mean, list_and};

/// What a value is known to hold.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Anything.
    Unknown,
    /// A map with just these keys.
    Keys(Rc<BTreeMap<String, Shape>>),
    /// A structure of AWS.
    Struct(&'static Struct),
    /// A list of these.
    List(Rc<Shape>),
    /// The declared inputs.
    Inputs(Rc<Vec<String>>),
    /// A handle of `kube::cluster`.
    Handle,
}

/// More names than this bury the rest.
const NAMES_MAX: usize = 12;

impl Shape {
    /// What an operation's field holds.
    pub fn of(ty: Type) -> Shape {
        match ty {
            Type::Struct(shape) => Shape::Struct(shape),
            Type::List(item) => Shape::List(Rc::new(Shape::of(*item))),
            _ => Shape::Unknown,
        }
    }

    /// A map with these keys, of whose values nothing is known.
    pub fn keys(names: &[&str]) -> Shape {
        Shape::Keys(Rc::new(names.iter().map(|name| ((*name).to_owned(), Shape::Unknown)).collect()))
    }

    /// What an item of it holds.
    pub fn item(&self) -> Shape {
        match self {
            Shape::List(item) => (**item).clone(),
            _ => Shape::Unknown,
        }
    }
}

impl Walk<'_> {
    /// Looks at a property of a value.
    pub(super) fn property(&mut self, shape: &Shape, name: &str, at: Position) -> Shape {
        let names: Vec<&str> = match shape {
            Shape::Keys(keys) => match keys.get(name) {
                Some(shape) => return shape.clone(),
                None => keys.keys().map(String::as_str).collect(),
            },
            Shape::Struct(structure) => match structure.field(name) {
                Some(field) => return Shape::of(field.ty),
                None => structure.fields.iter().map(|field| field.name).collect(),
            },
            Shape::Inputs(inputs) => {
                return self.input(&inputs.clone(), name, at);
            }
            Shape::Unknown | Shape::List(_) | Shape::Handle => return Shape::Unknown,
        };
        let error = Error::invalid(format!("the map has no key `{name}`"))
            .note(known_keys(&names))
            .maybe_hint(did_you_mean(name, names.iter().copied()));
        let error = match error.facts().hint {
            None => error.hint(format!("for a key that may be absent write `.get(\"{name}\")`, which answers `()`")),
            Some(_) => error,
        };
        self.report(&rules::UNKNOWN_PROPERTY, error, at);
        Shape::Unknown
    }

    fn input(&mut self, inputs: &[String], name: &str, at: Position) -> Shape {
        if let Some(is_read) = self.inputs.as_mut().and_then(|inputs| inputs.get_mut(name)) {
            *is_read = true;
        }
        if !inputs.iter().any(|input| input == name) {
            let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let error = Error::invalid(format!("`params` declares no input `{name}`"))
                .note(known_keys(&names))
                .maybe_hint(did_you_mean(name, names.iter().copied()));
            self.report(&rules::UNKNOWN_INPUT, error, at);
        }
        Shape::Unknown
    }
}

fn known_keys(names: &[&str]) -> String {
    match names.len() {
        0 => "it has none".to_owned(),
        1..=NAMES_MAX => format!("it has {}", list_and(names)),
        _ => format!("it has `{}`, …", names[..NAMES_MAX].join("`, `")),
    }
}
