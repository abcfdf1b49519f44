//! Steps and branches: what can not be changed in them, and how they can not be left.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

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

/// Methods that call a closure with `this` for what they are called on, or for what is in it.
const CALLERS: [&str; 16] = [
    "call",
    "for_each",
    "map",
    "filter",
    "find",
    "find_map",
    "index_of",
    "some",
    "all",
    "reduce",
    "reduce_rev",
    "retain",
    "drain",
    "dedup",
    "sort",
    "split",
];

/// What a script asks of a map before it reads a key that may be absent.
const LOOKS: [&str; 3] = ["contains", "keys", "type_of"];

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
        let Some((name, at)) = parsed::root_variable(root) else { return };
        let methods =
            || links.iter().filter_map(|link| if let Link::Method(call, _) = link { Some(*call) } else { None });
        if methods().any(|call| self.surely_changes(call)) {
            self.changes(name, at);
        } else if methods().any(|call| self.may_change(call) || LOOKS.contains(&call.name.as_str())) {
            self.blurs(name);
        }
    }

    fn surely_changes(&self, call: &FnCallExpr) -> bool {
        CHANGERS.contains(&call.name.as_str())
            || self.script.functions.contains_key(&(call.name.to_string(), call.args.len()))
            || call.name == "for_each" && call.args.iter().any(|argument| self.this_in(argument, |write| write))
    }

    /// A closure that is called on a value can change it: one that is handed over, or one under a key of the map.
    fn may_change(&self, call: &FnCallExpr) -> bool {
        let name = call.name.as_str();
        let of_all_values = self.known.plain(name);
        let is_known = of_all_values.is_some_and(|known| known.is_empty() || known.contains(&(call.args.len() + 1)));
        !is_known
            || name == "call"
            || self.learned.keys.contains(name)
            || call.args.iter().any(|argument| match argument {
                Expr::Variable(..) | Expr::FnCall(..) => CALLERS.contains(&name),
                other => self.this_in(other, |_| true),
            })
    }

    /// Whether `this` stands in a closure that is written here, and fits: told is whether it is written to.
    fn this_in(&self, argument: &Expr, fits: impl Fn(bool) -> bool) -> bool {
        let Some((name, _)) = parsed::closure(argument) else { return false };
        let mut found = false;
        for statement in self.script.closure(&name).into_iter().flat_map(|function| &function.body) {
            statement.walk(&mut Vec::new(), &mut |path| {
                found |= match path.last() {
                    Some(ASTNode::Expr(Expr::ThisPtr(_))) => fits(false),
                    Some(ASTNode::Stmt(Stmt::Assignment(parts))) => {
                        matches!(parsed::chain(&parts.1.lhs).0, Expr::ThisPtr(_)) && fits(true)
                    }
                    _ => false,
                };
                !found
            });
        }
        found
    }

    /// What a variable holds is no longer sure: a script that asks for it, or hands it to who knows whom, may know
    /// better.
    pub(super) fn blurs(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.learned.blurred.insert(self.scope[index].at);
        }
    }

    /// `"key" in map`, `contains(map, "key")` and `type_of(map)` ask what a variable holds.
    pub(super) fn asks_of_its_first_argument(&mut self, call: &'a FnCallExpr) {
        if LOOKS.contains(&call.name.as_str())
            && let Some((name, _)) = call.args.first().and_then(parsed::root_variable)
        {
            self.blurs(name);
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
