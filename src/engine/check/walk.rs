//! One walk over a script with its scopes; the rules stand in the files beside it.
//!
//! A script is walked twice: the first time only to learn which variables change, so that the second knows of which
//! ones the first value is the only one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{ASTFlags, Expr, Position, Stmt};

use super::Finding;
use super::effects::Called;
use super::known::{Known, Module};
use super::parsed::{self, Key, Link};
use super::rules::{Rule, Weight};
use super::shape::Shape;
use crate::engine::{STEP, fault};
use crate::error::Error;

/// What introduced a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Let,
    Parameter,
    Loop,
    Caught,
}

/// A name in reach.
pub(super) struct Variable<'a> {
    pub name: String,
    pub at: Position,
    pub origin: Origin,
    pub is_read: bool,
    pub shape: Shape,
    /// The literal that it always is.
    pub literal: Option<&'a Expr>,
}

/// What the walk is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Variables below this one belong to the script around the step.
    Step(usize),
    /// Variables below this one are copies in a branch of `parallel`.
    Branch(usize),
    Loop,
    Closure,
}

/// An import with its alias.
pub(super) struct Alias {
    pub name: String,
    pub at: Position,
    pub module: Option<Rc<Module>>,
    pub is_used: bool,
}

/// What is learned of a script by walking it.
#[derive(Default)]
pub(super) struct Learned {
    /// Where variables are introduced that change later.
    pub changed: BTreeSet<Position>,
    /// Where variables are introduced that may hold something else than their first value.
    pub blurred: BTreeSet<Position>,
    /// Variables that change and are introduced nowhere in the script.
    pub outside: BTreeSet<String>,
    /// Keys that maps of the script have: a closure under one of them can be called like a method.
    pub keys: BTreeSet<String>,
}

pub(super) struct Walk<'a> {
    pub script: &'a Module,
    pub known: &'a Known<'a>,
    pub before: Option<&'a Learned>,
    pub learned: Learned,
    pub scope: Vec<Variable<'a>>,
    /// Places of the variables of each name in the scope.
    pub by_name: BTreeMap<String, Vec<usize>>,
    pub frames: Vec<Frame>,
    pub aliases: Vec<Alias>,
    pub found: Vec<Finding>,
    /// What was said, and where, so that nothing is said twice.
    said: BTreeSet<(Position, &'static str, String)>,
    /// The function being walked; none: the script itself.
    pub owner: Option<Key>,
    pub called: Vec<Called>,
    pub referenced: BTreeSet<Key>,
    /// Declared inputs with whether they are read; none once all of them escape in a whole.
    pub inputs: Option<BTreeMap<String, bool>>,
    pub has_params: bool,
    /// Inside of arguments that are wrong on purpose: only what is refused is told.
    pub excused: usize,
}

impl<'a> Walk<'a> {
    pub fn new(script: &'a Module, known: &'a Known<'a>, before: Option<&'a Learned>) -> Walk<'a> {
        Walk {
            script,
            known,
            before,
            learned: Learned::default(),
            scope: Vec::new(),
            by_name: BTreeMap::new(),
            frames: Vec::new(),
            aliases: Vec::new(),
            found: Vec::new(),
            said: BTreeSet::new(),
            owner: None,
            called: Vec::new(),
            referenced: BTreeSet::new(),
            inputs: None,
            has_params: false,
            excused: 0,
        }
    }

    /// Variables that are there before the script begins.
    pub fn knows(&mut self, names: &[&str]) {
        for name in names {
            self.declare(name, Position::NONE, Origin::Let, Shape::Unknown, None);
        }
    }

    /// Walks the statements of the script, then its functions.
    pub fn script(&mut self) {
        self.statements(self.script.ast.statements());
        let aliases = self.aliases.len();
        let top = (std::mem::take(&mut self.scope), std::mem::take(&mut self.by_name));
        for function in self.script.functions.values().filter(|function| !function.is_closure) {
            self.owner = Some(function.key());
            let places = self.script.parameter_places(function);
            for (index, name) in function.params.iter().enumerate() {
                let at = places.get(index).copied().unwrap_or(function.start);
                self.declare(name, at, Origin::Parameter, Shape::Unknown, None);
            }
            self.statements(&function.body);
            self.leave(0, aliases);
        }
        self.owner = None;
        (self.scope, self.by_name) = top;
        self.leave(0, 0);
    }

    /// Whether this walk is the one that judges.
    pub fn judges(&self) -> bool {
        self.before.is_some()
    }

    pub fn report(&mut self, rule: &'static Rule, error: Error, at: Position) {
        let is_excused = self.excused > 0 && rule.weight == Weight::Certain;
        if !self.judges() || is_excused {
            return;
        }
        let mut error = error;
        if error.facts().at.is_none() {
            error.facts_mut().at = Some(fault::place(Some(&self.script.source), at));
        }
        if self.said.insert((at, rule.name, error.to_string())) {
            self.found.push(Finding { rule, error });
        }
    }

    pub fn block(&mut self, block: &'a [Stmt]) -> Shape {
        let (variables, aliases) = (self.scope.len(), self.aliases.len());
        let shape = self.statements(block);
        self.leave(variables, aliases);
        shape
    }

    pub fn statements(&mut self, statements: &'a [Stmt]) -> Shape {
        let mut shape = Shape::Unknown;
        self.dead_code(statements);
        for statement in statements {
            shape = self.statement(statement);
        }
        shape
    }

    fn statement(&mut self, statement: &'a Stmt) -> Shape {
        match statement {
            Stmt::Var(parts, flags, _) => {
                let shape = self.expr(&parts.1);
                let literal = self.literal(&parts.1);
                self.declare(&parts.0.name, parts.0.pos, Origin::Let, shape, literal);
                if flags.intersects(ASTFlags::EXPORTED)
                    || (self.owner.is_none() && flags.intersects(ASTFlags::CONSTANT))
                {
                    self.mark_read(&parts.0.name);
                }
            }
            Stmt::Assignment(parts) => self.assignment(&parts.1.lhs, &parts.1.rhs),
            Stmt::FnCall(call, position) => return self.call(call, *position),
            Stmt::If(flow, _) => {
                self.expr(&flow.expr);
                self.block(flow.body.statements());
                self.block(flow.branch.statements());
            }
            Stmt::Switch(parts, _) => {
                self.expr(&parts.0);
                for case in &parts.1.expressions {
                    self.expr(&case.lhs);
                    self.expr(&case.rhs);
                }
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expr(&flow.expr);
                self.inside(Frame::Loop, |walk| walk.block(flow.body.statements()));
            }
            Stmt::For(parts, _) => {
                let list = self.expr(&parts.2.expr);
                self.walked_through(&list, parts.2.expr.start_position());
                let item = list.item();
                let variables = self.scope.len();
                self.declare(&parts.0.name, parts.0.pos, Origin::Loop, item, None);
                if let Some(counter) = &parts.1 {
                    self.declare(&counter.name, counter.pos, Origin::Loop, Shape::Unknown, None);
                }
                self.inside(Frame::Loop, |walk| walk.block(parts.2.body.statements()));
                self.leave(variables, self.aliases.len());
            }
            Stmt::Block(block) => return self.block(block.statements()),
            Stmt::TryCatch(flow, position) => {
                self.block(flow.body.statements());
                self.empty_catch(flow.branch.statements(), *position);
                let variables = self.scope.len();
                if let Expr::Variable(caught, _, at) = &flow.expr {
                    self.declare(&caught.1, *at, Origin::Caught, Shape::Unknown, None);
                }
                self.block(flow.branch.statements());
                self.leave(variables, self.aliases.len());
            }
            Stmt::Expr(expr) => return self.expr(expr),
            Stmt::BreakLoop(value, flags, position) => {
                self.leaves_loop(flags.intersects(ASTFlags::BREAK), *position);
                value.iter().for_each(|value| drop(self.expr(value)));
            }
            Stmt::Return(value, flags, position) => {
                if !flags.intersects(ASTFlags::BREAK) {
                    self.leaves_function(*position);
                }
                value.iter().for_each(|value| drop(self.expr(value)));
            }
            Stmt::Import(parts, position) => self.import(&parts.0, &parts.1, *position),
            Stmt::Export(parts, _) => self.mark_read(&parts.0.name),
            _ => {}
        }
        Shape::Unknown
    }

    pub fn inside<T>(&mut self, frame: Frame, work: impl FnOnce(&mut Self) -> T) -> T {
        self.frames.push(frame);
        let done = work(self);
        self.frames.pop();
        done
    }

    pub fn expr(&mut self, expr: &'a Expr) -> Shape {
        match expr {
            Expr::InterpolatedString(parts, _) => {
                parts.iter().for_each(|part| drop(self.expr(part)));
                return Shape::Plain("a text");
            }
            Expr::StringConstant(..) => return Shape::Plain("a text"),
            Expr::IntegerConstant(..) | Expr::FloatConstant(..) => return Shape::Plain("a number"),
            Expr::BoolConstant(..) => return Shape::Plain("a boolean"),
            Expr::Array(items, _) => return self.array(items),
            Expr::Map(entries, _) => {
                let mut keys = BTreeMap::new();
                for (key, value) in &entries.0 {
                    self.learned.keys.insert(key.name.to_string());
                    keys.insert(key.name.to_string(), self.expr(value));
                }
                return Shape::Keys(Rc::new(keys));
            }
            Expr::Variable(variable, _, position) if variable.2.is_empty() => return self.read(&variable.1, *position),
            Expr::Variable(variable, ..) => self.read_qualified(&variable.2, &variable.1),
            Expr::Stmt(block) => {
                return match parsed::closure(expr) {
                    Some((name, captured)) => self.closure(&name, captured, expr.position(), Frame::Closure),
                    None => self.block(block.statements()),
                };
            }
            Expr::DynamicConstant(..) => {
                if let Some((name, captured)) = parsed::closure(expr) {
                    return self.closure(&name, captured, expr.position(), Frame::Closure);
                }
            }
            Expr::FnCall(call, position) => return self.call(call, *position),
            Expr::Dot(..) | Expr::Index(..) => return self.chain(expr, false),
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter().for_each(|part| drop(self.expr(part)));
            }
            Expr::Custom(custom, _) if custom.tokens.first().is_some_and(|token| token == STEP) => {
                if let [name, Expr::Stmt(block)] = custom.inputs.as_slice() {
                    self.expr(name);
                    let frame = Frame::Step(self.scope.len());
                    return self.inside(frame, |walk| walk.block(block.statements()));
                }
            }
            _ => {}
        }
        Shape::Unknown
    }

    fn array(&mut self, items: &'a [Expr]) -> Shape {
        let shapes: Vec<Shape> = items.iter().map(|item| self.expr(item)).collect();
        match shapes.as_slice() {
            [only] => Shape::List(Rc::new(only.clone())),
            _ => Shape::List(Rc::new(Shape::Unknown)),
        }
    }

    /// Walks the body of a closure where it stands; answers what it returns, as far as that can be told.
    pub fn closure(&mut self, name: &str, captured: usize, at: Position, frame: Frame) -> Shape {
        let script = self.script;
        let Some(function) = script.closure(name) else { return Shape::Unknown };
        let variables = self.scope.len();
        let places = self.script.closure_places(at);
        for (index, name) in function.params.iter().skip(captured).enumerate() {
            let at = places.get(index).copied().unwrap_or(Position::NONE);
            self.declare(name, at, Origin::Parameter, Shape::Unknown, None);
        }
        let aliases = self.aliases.len();
        let shape = self.inside(frame, |walk| walk.statements(&function.body));
        self.leave(variables, aliases);
        if function.body.iter().any(super::flow::returns) { Shape::Unknown } else { shape }
    }

    /// Walks `a.b[c].d()`. Where it is written to, the last property may be a new one.
    pub fn chain(&mut self, expr: &'a Expr, is_written: bool) -> Shape {
        let (root, links) = parsed::chain(expr);
        self.changes_its_root(root, &links);
        let reads_inputs = matches!(links.first(), Some(Link::Property(..)))
            || matches!(links.first(), Some(Link::Index(Expr::StringConstant(..))))
            || matches!(links.first(), Some(Link::Method(call, _))
                if matches!(call.args.as_slice(), [Expr::StringConstant(..)]));
        let mut shape = match root {
            _ if is_written && matches!(root, Expr::Variable(..)) => Shape::Unknown,
            Expr::Variable(variable, _, position) if variable.2.is_empty() && reads_inputs => {
                self.read_part(&variable.1, *position)
            }
            other => self.expr(other),
        };
        for link in &links {
            shape = match link {
                Link::Property(name, at) => self.property(&shape, name, *at),
                Link::Index(Expr::StringConstant(name, at)) => self.property(&shape, name, *at),
                Link::Index(index) => {
                    self.expr(index);
                    shape.item()
                }
                Link::Method(call, at) => self.method(&shape, call, *at),
            };
        }
        shape
    }
}
