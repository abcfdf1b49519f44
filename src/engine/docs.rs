//! Script functions as catalog entries: name and docs from the source, the effect inferred from what they call.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnAccess, Stmt};

use super::check::parsed;
use super::import;
use crate::bindings;
use crate::catalog::doc::{Entry, FieldDoc};
use crate::catalog::{Effect, aws};
use crate::error::{Error, Result};

/// Everything callable: bindings, AWS operations and waiters, and the functions of the embedded stdlib.
pub fn all(engine: &Engine) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = bindings::all().map(Entry::from).collect();
    entries.extend(aws::entries());
    entries.extend(stdlib(engine)?);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// What a function calls: `(module or namespace, name)`.
type Calls = BTreeSet<(String, String)>;

/// The functions of the embedded stdlib.
pub fn stdlib(engine: &Engine) -> Result<Vec<Entry>> {
    let mut calls: BTreeMap<(String, String), Calls> = BTreeMap::new();
    let mut entries = Vec::new();
    for module in import::embedded_names() {
        let text = import::embedded(module).unwrap_or_default();
        let ast =
            engine.compile(text).map_err(|error| Error::bug(format!("stdlib `{module}` does not compile: {error}")))?;
        collect(module, &ast, &mut calls);
        for function in ast.iter_functions() {
            if function.access == FnAccess::Public && !function.name.starts_with("anon$") {
                entries.push(entry(module, &function));
            }
        }
    }
    for entry in &mut entries {
        let key = entry.name.split_once("::").map(|(module, name)| (module.to_owned(), name.to_owned()));
        entry.effect = key.map_or(Effect::Pure, |key| effect(&key, &calls, &mut BTreeSet::new()));
    }
    // The same function with fewer parameters is the same thing to a reader.
    entries.dedup_by(|a, b| a.name == b.name);
    Ok(entries)
}

fn entry(module: &str, function: &rhai::ScriptFnMetadata) -> Entry {
    let comments: Vec<String> = function
        .comments
        .iter()
        .flat_map(|comment| comment.lines())
        .map(|line| {
            line.trim_start()
                .trim_start_matches("///")
                .strip_prefix(' ')
                .unwrap_or(line.trim_start_matches("///"))
                .to_owned()
        })
        .collect();
    let text = comments.join("\n");
    let (summary, doc) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let field = |name: &&str| FieldDoc {
        name: (*name).to_owned(),
        ty: "any".to_owned(),
        required: true,
        values: Vec::new(),
        doc: String::new(),
    };
    Entry {
        name: format!("{module}::{}", function.name),
        kind: "function",
        effect: Effect::Pure,
        summary: summary.trim().to_owned(),
        doc: doc.trim().to_owned(),
        fields: function.params.iter().map(field).collect(),
        returns: String::new(),
        raises: Vec::new(),
        token: None,
        paginator: None,
        waiter: None,
    }
}

/// Notes what every function of a module calls; aliases of imports are resolved to module names.
fn collect(module: &str, ast: &AST, calls: &mut BTreeMap<(String, String), Calls>) {
    let mut aliases: BTreeMap<String, String> = BTreeMap::new();
    for statement in ast.statements() {
        if let Stmt::Import(import, _) = statement
            && let Expr::StringConstant(path, _) = &import.0
        {
            aliases.insert(import.1.name.to_string(), path.to_string());
        }
    }
    for function in parsed::functions(ast).into_values() {
        let own = calls.entry((module.to_owned(), function.name)).or_default();
        for statement in &function.body {
            statement.walk(&mut Vec::new(), &mut |path| {
                own.extend(path.last().into_iter().flat_map(|node| called(module, node, &aliases)));
                true
            });
        }
    }
}

fn called(module: &str, node: &ASTNode, aliases: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let one = |namespace: &str, name: &str| vec![(namespace.to_owned(), name.to_owned())];
    match node {
        ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => {
            if call.namespace.is_empty() {
                one(module, &call.name)
            } else {
                let root = call.namespace.root();
                one(aliases.get(root).map_or(root, String::as_str), &call.name)
            }
        }
        // Methods of a cluster handle are the `kube::` functions; those of maps and lists take fewer arguments.
        ASTNode::Expr(Expr::MethodCall(call, _)) => {
            let binding = bindings::kube::ALL.iter().find(|binding| binding.short_name() == call.name);
            match binding {
                Some(binding) if super::arities(binding).contains(&call.args.len()) => one("kube", &call.name),
                _ => Vec::new(),
            }
        }
        ASTNode::Expr(Expr::DynamicConstant(value, _)) => {
            value.clone().try_cast::<rhai::FnPtr>().map_or_else(Vec::new, |pointer| one(module, pointer.fn_name()))
        }
        _ => Vec::new(),
    }
}

fn effect(
    key: &(String, String),
    calls: &BTreeMap<(String, String), Calls>,
    seen: &mut BTreeSet<(String, String)>,
) -> Effect {
    if !seen.insert(key.clone()) {
        return Effect::Pure;
    }
    if let Some(own) = calls.get(key) {
        let effects = own.iter().map(|call| effect(call, calls, seen));
        return effects.fold(Effect::Pure, stronger);
    }
    let (namespace, name) = key;
    if let Some(operation) = aws_dynamic::operation(namespace, name) {
        return super::call::effect_of(operation);
    }
    let full = format!("{namespace}::{name}");
    match bindings::all().find(|binding| binding.name == full) {
        Some(binding) => binding.effect,
        None if name.starts_with("wait_until_") => Effect::Read,
        None => Effect::Pure,
    }
}

fn stronger(a: Effect, b: Effect) -> Effect {
    match (a, b) {
        (Effect::Mutate, _) | (_, Effect::Mutate) => Effect::Mutate,
        (Effect::Read, _) | (_, Effect::Read) => Effect::Read,
        _ => Effect::Pure,
    }
}
