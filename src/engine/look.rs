//! The look over a script before it runs: mistakes that would otherwise do the wrong thing silently.
//!
//! Refused are an outer variable changed inside a `step`, `return`, `break` and `continue` out of one, a captured
//! variable changed in a branch of `parallel`, and a closure handed to another module's function (names in it would be
//! looked up *there*).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use rhai::{AST, ASTNode, Engine, Expr, FnPtr, FuncInfo, Position, Stmt};

use super::fault;
use super::{HOST_NAMESPACES, STEP};
use crate::error::{Error, Result};

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

/// Every function without a namespace that the engine knows, with its number of parameters. Collected when a script
/// first defines a function: most expressions define none.
#[derive(Clone, Default)]
pub struct Builtins(Arc<OnceLock<BTreeSet<(String, usize)>>>);

impl Builtins {
    /// Whether values have a method of this name with so many arguments.
    fn have_method(&self, engine: &Engine, name: &str, arguments: usize) -> bool {
        let all = self.0.get_or_init(|| {
            let known = |info: FuncInfo| {
                let function = (info.metadata.name.to_string(), info.metadata.num_params);
                info.namespace.is_empty().then_some(function)
            };
            engine.collect_fn_metadata(None, known, true).into_iter().collect()
        });
        // The value in front of the dot is the first parameter.
        all.contains(&(name.to_owned(), arguments + 1))
    }
}

/// A function of a script is called instead of a method of its name and arity, in every module: `fn get(x)` would take
/// over `.get("key")` of all maps.
fn no_method_is_taken_over(ast: &AST, engine: &Engine, builtins: &Builtins) -> Result<()> {
    for function in ast.iter_fn_def() {
        let (name, arguments) = (function.name.as_str(), function.params.len());
        if !name.starts_with("anon$") && builtins.have_method(engine, name, arguments) {
            let arguments = crate::error::count("parameter", arguments);
            return Err(Error::invalid(format!(
                "function `{name}` with {arguments} would replace the method `.{name}` everywhere"
            ))
            .hint(format!("give it a longer name, such as `{name}_it`")));
        }
    }
    Ok(())
}

fn no_params_but_first(ast: &AST, source: &str, params_first: bool) -> Result<()> {
    let mut calls = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position))) =
            path.last()
            && call.namespace.is_empty()
            && call.name == "params"
        {
            calls.push(*position);
        }
        true
    });
    match calls.get(usize::from(params_first)) {
        None => Ok(()),
        Some(position) => {
            let error = Error::invalid("`params` is not the first statement of the script")
                .hint("declare all inputs once, in the first statement after the imports");
            Err(at(error, source, *position))
        }
    }
}

/// Looks over a compiled script.
///
/// `params_first`: whether its first statement declares inputs; anywhere else `params` would silently answer nothing.
pub fn over(ast: &AST, source: &str, engine: &Engine, builtins: &Builtins, params_first: bool) -> Result<()> {
    no_method_is_taken_over(ast, engine, builtins)?;
    no_params_but_first(ast, source, params_first)?;
    let inside = Inside { ast, source };
    let mut found: Option<Error> = None;
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(node) = path.last() {
            found = inspect(node, &inside).err();
        }
        found.is_none()
    });
    found.map_or(Ok(()), Err)
}

fn inspect(node: &ASTNode, inside: &Inside) -> Result<()> {
    match node {
        ASTNode::Expr(Expr::Custom(custom, _)) if custom.tokens.first().is_some_and(|token| token == STEP) => {
            match custom.inputs.get(1) {
                Some(Expr::Stmt(block)) => inside.step(block.statements()),
                _ => Ok(()),
            }
        }
        ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => {
            match call.namespace.is_empty() {
                true if call.name == "parallel" => inside.parallel(&call.args),
                false if !HOST_NAMESPACES.contains(&call.namespace.root()) => {
                    closure_handed_over(&call.args, call.namespace.root(), &call.name, inside.source)
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn at(error: Error, source: &str, position: Position) -> Error {
    let mut error = error;
    error.facts_mut().at = Some(fault::place(Some(source), position));
    error
}

/// The closure that an expression makes, with how many variables it captures.
fn closure(expr: &Expr) -> Option<(FnPtr, usize)> {
    match expr {
        Expr::DynamicConstant(value, _) => value.clone().try_cast::<FnPtr>().map(|pointer| (pointer, 0)),
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(inner)] => match &**inner {
                Expr::FnCall(call, _) if call.name == "curry" => {
                    closure(call.args.first()?).map(|(pointer, _)| (pointer, call.args.len() - 1))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn closure_handed_over(args: &[Expr], module: &str, function: &str, source: &str) -> Result<()> {
    match args.iter().find(|arg| closure(arg).is_some()) {
        None => Ok(()),
        Some(arg) => {
            let error = Error::invalid(format!("a closure can not be handed to `{module}::{function}`"))
                .note("names inside a closure are looked up in the module that calls it, so it could call the wrong function")
                .hint(format!("hand data to `{module}::{function}`, and call the closure in this script"));
            Err(at(error, source, arg.position()))
        }
    }
}

/// The checks of blocks and closures.
struct Inside<'a> {
    ast: &'a AST,
    source: &'a str,
}

impl Inside<'_> {
    fn step(&self, block: &[Stmt]) -> Result<()> {
        let mut own: BTreeSet<String> = BTreeSet::new();
        let mut found = None;
        for statement in block {
            statement.walk(&mut Vec::new(), &mut |path| {
                found = self.step_node(path, &mut own).err();
                found.is_none()
            });
            if let Some(error) = found {
                return Err(error);
            }
        }
        Ok(())
    }

    fn step_node(&self, path: &[ASTNode], own: &mut BTreeSet<String>) -> Result<()> {
        let Some(node) = path.last() else { return Ok(()) };
        declare(node, own);
        if let Some((word, position)) = leaves(path) {
            let error = Error::invalid(format!("`{word}` can not leave a step"))
                .hint("let the step end with its value, and decide after it");
            return Err(at(error, self.source, position));
        }
        if let Some((name, position)) = changed_variable(node)
            && !own.contains(name)
        {
            return Err(at(step_changes(name), self.source, position));
        }
        if let ASTNode::Expr(expr) = node
            && let Some((pointer, captured)) = closure(expr)
            && let Some((name, position)) = self.closure_changes(&pointer, captured)
            && !own.contains(&name)
        {
            return Err(at(step_changes(&name), self.source, position));
        }
        Ok(())
    }

    fn parallel(&self, args: &[Expr]) -> Result<()> {
        let branches: Vec<&Expr> = match args.first() {
            Some(Expr::Array(items, _)) => items.iter().collect(),
            Some(Expr::Map(entries, _)) => entries.0.iter().map(|(_, expr)| expr).collect(),
            _ => return Ok(()),
        };
        for branch in branches {
            if let Some((pointer, captured)) = closure(branch)
                && let Some((name, position)) = self.closure_changes(&pointer, captured)
            {
                let error = Error::invalid(format!("a branch of `parallel` can not change `{name}`"))
                    .note("each branch gets a copy of what it captures, so the change would be lost")
                    .hint("let the branch return the value: `let r = parallel(#{ a: || …, b: || … });` then `r.a`");
                return Err(at(error, self.source, position));
            }
        }
        Ok(())
    }

    /// The first captured variable that a closure changes.
    fn closure_changes(&self, pointer: &FnPtr, captured: usize) -> Option<(String, Position)> {
        let name = pointer.fn_name();
        let function = self.ast.iter_fn_def().find(|function| function.name == name)?;
        let captured: BTreeSet<&str> = function.params.iter().take(captured).map(|name| name.as_str()).collect();
        let alone = one_function(self.ast, name, function.params.len());
        let mut own = BTreeSet::new();
        let mut found = None;
        alone.walk(&mut |path| {
            if let Some(node) = path.last() {
                declare(node, &mut own);
                found = changed_variable(node)
                    .filter(|(name, _)| captured.contains(name) && !own.contains(*name))
                    .map(|(name, position)| (name.to_owned(), position));
            }
            found.is_none()
        });
        found
    }
}

/// The variables of other statements that a statement changes, also by a closure in it.
pub fn changed_outside(ast: &AST, stmt: &Stmt) -> Vec<String> {
    let inside = Inside { ast, source: "" };
    let (mut own, mut changed) = (BTreeSet::new(), BTreeSet::new());
    stmt.walk(&mut Vec::new(), &mut |path| {
        let Some(node) = path.last() else { return true };
        declare(node, &mut own);
        let by_closure = match node {
            ASTNode::Expr(expr) => {
                closure(expr).and_then(|(pointer, captured)| inside.closure_changes(&pointer, captured))
            }
            _ => None,
        };
        let names = changed_variable(node).map(|(name, _)| name.to_owned()).into_iter();
        changed.extend(names.chain(by_closure.map(|(name, _)| name)).filter(|name| !own.contains(name)));
        true
    });
    changed.into_iter().collect()
}

/// A script that has this function and nothing else: the engine lets no one look into the body of one function in
/// another way. (`clone_functions_only_filtered` of Rhai 1.27 keeps all functions.)
pub fn one_function(ast: &AST, name: &str, parameters: usize) -> AST {
    let mut alone = ast.clone_functions_only();
    alone.retain_functions(|_, _, other, count| other == name && count == parameters);
    alone
}

fn step_changes(name: &str) -> Error {
    Error::invalid(format!("a step can not change `{name}`, which belongs to the script around it"))
        .note("a step hands on results only through its value, so that a resumed run has them too")
        .hint(format!("end the step with the new value: `{name} = step \"…\" {{ … }};`"))
}

/// Remembers names that are introduced inside.
fn declare(node: &ASTNode, own: &mut BTreeSet<String>) {
    match node {
        ASTNode::Stmt(Stmt::Var(var, ..)) => {
            own.insert(var.0.name.to_string());
        }
        ASTNode::Stmt(Stmt::For(head, _)) => {
            own.insert(head.0.name.to_string());
            if let Some(counter) = &head.1 {
                own.insert(counter.name.to_string());
            }
        }
        ASTNode::Stmt(Stmt::TryCatch(flow, _)) => {
            if let Expr::Variable(variable, ..) = &flow.expr {
                own.insert(variable.1.to_string());
            }
        }
        _ => {}
    }
}

/// The variable that a node changes: by assignment, or by a method that changes its receiver.
fn changed_variable<'n>(node: &'n ASTNode) -> Option<(&'n str, Position)> {
    match node {
        ASTNode::Stmt(Stmt::Assignment(assignment)) => root_variable(&assignment.1.lhs),
        ASTNode::Expr(Expr::Dot(pair, ..)) => match &pair.rhs {
            Expr::MethodCall(call, _) if CHANGERS.contains(&call.name.as_str()) => root_variable(&pair.lhs),
            _ => None,
        },
        _ => None,
    }
}

fn root_variable(expr: &Expr) -> Option<(&str, Position)> {
    match expr {
        Expr::Variable(variable, _, position) => Some((variable.1.as_str(), *position)),
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => root_variable(&pair.lhs),
        _ => None,
    }
}

/// `return`, and `break` or `continue` of a loop that is not inside the step.
fn leaves(path: &[ASTNode]) -> Option<(&'static str, Position)> {
    match path.last()? {
        ASTNode::Stmt(Stmt::Return(_, flags, position)) if !flags.intersects(rhai::ASTFlags::BREAK) => {
            Some(("return", *position))
        }
        ASTNode::Stmt(Stmt::BreakLoop(_, flags, position)) => {
            let inside =
                path.iter().any(|node| matches!(node, ASTNode::Stmt(Stmt::While(..) | Stmt::Do(..) | Stmt::For(..))));
            let word = if flags.intersects(rhai::ASTFlags::BREAK) { "break" } else { "continue" };
            (!inside).then_some((word, *position))
        }
        _ => None,
    }
}
