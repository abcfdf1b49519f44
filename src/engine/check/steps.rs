//! Steps and branches: what can not be changed in them, and how they can not be left.

use rhai::{Expr, FnCallExpr, Position};

use super::parsed::{self, Link};
use super::rules;
use super::shape::Shape;
use super::walk::{Frame, Walk};
use crate::error::Error;

/// Methods of lists, maps and texts that change what they are called on.
const CHANGERS: [&str; 24] = [
    "trim",
    "replace",
    "make_upper",
    "make_lower",
    "crop",
    "pad",
    "dedup",
    "push",
    "append",
    "insert",
    "pop",
    "shift",
    "remove",
    "clear",
    "set",
    "mixin",
    "truncate",
    "chop",
    "splice",
    "reverse",
    "sort",
    "drain",
    "retain",
    "fill_with",
];

impl<'a> Walk<'a> {
    pub(super) fn assignment(&mut self, target: &'a Expr, value: &'a Expr) {
        self.expr(value);
        if let Some((name, at)) = parsed::root_variable(target) {
            self.changes(name, at);
        }
        match target {
            Expr::Variable(variable, _, at) if variable.2.is_empty() => {
                if self.find(&variable.1).is_none() {
                    self.read(&variable.1, *at);
                }
            }
            Expr::Dot(..) | Expr::Index(..) => {
                if let Some(Link::Property(key, _)) = parsed::chain(target).1.last() {
                    self.learned.keys.insert((*key).to_owned());
                }
                self.chain(target, true);
            }
            other => drop(self.expr(other)),
        }
    }

    /// A chain changes its root when one of its methods does.
    pub(super) fn changes_its_root(&mut self, root: &'a Expr, links: &[Link<'a>]) {
        let script = self.script;
        let changer = links.iter().any(|link| match link {
            Link::Method(call, _) => {
                CHANGERS.contains(&call.name.as_str())
                    || script.functions.contains_key(&(call.name.to_string(), call.args.len()))
            }
            _ => false,
        });
        if let Some((name, at)) = parsed::root_variable(root).filter(|_| changer) {
            self.changes(name, at);
        }
    }

    /// `push(list, item)` changes the list as `list.push(item)` does.
    pub(super) fn changes_its_first_argument(&mut self, call: &'a FnCallExpr) {
        if CHANGERS.contains(&call.name.as_str())
            && let Some((name, at)) = call.args.first().and_then(parsed::root_variable)
        {
            self.changes(name, at);
        }
    }

    fn changes(&mut self, name: &str, at: Position) {
        let Some(index) = self.find(name) else {
            self.learned.outside.insert(name.to_owned());
            return;
        };
        self.learned.changed.insert(self.scope[index].at);
        for frame in self.frames.iter().rev() {
            match *frame {
                Frame::Step(base) if index < base => {
                    let error = Error::invalid(format!(
                        "a step can not change `{name}`, which belongs to the script around it"
                    ))
                    .note("a step hands on results only through its value, so that a resumed run has them too")
                    .hint(format!("end the step with the new value: `{name} = step \"…\" {{ … }};`"));
                    return self.report(&rules::STEP_ASSIGNMENT, error, at);
                }
                Frame::Branch(base) if index < base => {
                    let error = Error::invalid(format!("a branch of `parallel` can not change `{name}`"))
                        .note("each branch gets a copy of what it captures, so the change would be lost")
                        .hint("let the branch return the value: `let r = parallel(#{ a: || …, b: || … });` then `r.a`");
                    return self.report(&rules::PARALLEL_WRITE, error, at);
                }
                _ => {}
            }
        }
    }

    /// `return`: out of the nearest closure or function.
    pub(super) fn leaves_function(&mut self, at: Position) {
        let nearest = self.frames.iter().rev().find(|frame| **frame != Frame::Loop);
        if matches!(nearest, Some(Frame::Step(_))) {
            self.leaves_step("return", at);
        }
    }

    /// `break` and `continue`: out of the nearest loop.
    pub(super) fn leaves_loop(&mut self, breaks: bool, at: Position) {
        if matches!(self.frames.last(), Some(Frame::Step(_))) {
            self.leaves_step(if breaks { "break" } else { "continue" }, at);
        }
    }

    fn leaves_step(&mut self, word: &str, at: Position) {
        let error = Error::invalid(format!("`{word}` can not leave a step"))
            .hint("let the step end with its value, and decide after it");
        self.report(&rules::STEP_EXIT, error, at);
    }

    /// The closures of `parallel`, each in its branch.
    pub(super) fn branches(&mut self, call: &'a FnCallExpr) -> Shape {
        let mut shape = Shape::Unknown;
        for (index, argument) in call.args.iter().enumerate() {
            match argument {
                Expr::Array(items, _) if index == 0 => items.iter().for_each(|item| drop(self.branch(item))),
                Expr::Map(entries, _) if index == 0 => {
                    let entries = entries.0.iter().map(|(key, item)| (key.name.to_string(), self.branch(item)));
                    shape = Shape::Keys(std::rc::Rc::new(entries.collect()));
                }
                other => drop(self.expr(other)),
            }
        }
        shape
    }

    fn branch(&mut self, item: &'a Expr) -> Shape {
        match parsed::closure(item) {
            Some((name, captured)) => self.closure(&name, captured, item.position(), Frame::Branch(self.scope.len())),
            None => self.expr(item),
        }
    }
}
