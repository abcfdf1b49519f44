//! What a value is known to hold without running the script.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_dynamic::{Struct, Type};
use rhai::Position;

use super::rules;
use super::walk::Walk;
use crate::engine::fault;
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
    /// Something without keys, and what it is: `a text`, `a number`.
    Plain(&'static str),
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
            Type::String | Type::Timestamp | Type::Blob | Type::Enum(_) => Shape::Plain("a text"),
            Type::Integer | Type::Long | Type::Float | Type::Double => Shape::Plain("a number"),
            Type::Boolean => Shape::Plain("a boolean"),
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
            Shape::List(_) => return self.no_property("a list", name, at),
            Shape::Plain(what) => return self.no_property(what, name, at),
            Shape::Unknown | Shape::Handle => return Shape::Unknown,
        };
        let error = Error::invalid(format!("the map has no key `{name}`"))
            .note(known_keys(&names))
            .maybe_hint(did_you_mean(name, names.iter().copied()));
        let error = match error.facts().hint {
            None => error.hint(fault::key_that_may_be_absent(name)),
            Some(_) => error,
        };
        self.report(&rules::UNKNOWN_PROPERTY, error, at);
        Shape::Unknown
    }

    /// A property of a value that has no keys: only the engine's own, such as `len`.
    fn no_property(&mut self, what: &str, name: &str, at: Position) -> Shape {
        if !self.known.has_getter(name) {
            let error = Error::invalid(format!("{what} has no property `{name}`"));
            let error = match (what, did_you_mean(name, ["len", "is_empty"])) {
                ("a list", Some(hint)) => error.hint(hint),
                ("a list", None) => {
                    error.hint(format!("take an item of it: `[0].{name}`, or `.map(|one| one.{name})`"))
                }
                _ => error,
            };
            self.report(&rules::UNKNOWN_PROPERTY, error, at);
        }
        Shape::Unknown
    }

    /// What stands behind `in` of a loop: a map has no order, so its keys or a list in it have to be asked for.
    pub(super) fn walked_through(&mut self, shape: &Shape, at: Position) {
        let lists: Vec<&str> = match shape {
            Shape::Struct(structure) => {
                let lists = structure.fields.iter().filter(|field| matches!(field.ty, Type::List(_)));
                lists.map(|field| field.name).collect()
            }
            Shape::Keys(_) => Vec::new(),
            _ => return,
        };
        let error = Error::invalid("a loop goes through a list, found a map");
        let error = match lists.as_slice() {
            [only] => error.hint(format!("did you mean `.{only}`?")),
            [] => error.hint("write `.keys()` or `.values()` behind it"),
            many => error.note(format!("its lists are {}", list_and(many))),
        };
        self.report(&rules::WRONG_TYPE, error, at);
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
