//! Script functions as catalog entries: name, docs and inputs from the source, the effect inferred from what they call.

mod inputs;

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnAccess, Stmt};

use super::check::parsed;
use super::{import, takes};
use crate::bindings;
use crate::catalog::doc::{Entry, FieldDoc};
use crate::catalog::reference::{Namespace, Origin, Reference};
use crate::catalog::{Effect, aws};
use crate::error::{Error, Kind, Result};
use crate::project::Project;

/// Everything callable: bindings, AWS operations and waiters, and the functions of stdlib and of the project's own
/// `stdlib/`, whose modules take the place of built-in ones.
pub fn reference(engine: &Engine, project: &Project) -> Result<Reference> {
    let mut entries: Vec<Entry> = bindings::all().map(Entry::from).collect();
    entries.extend(aws::entries());
    let mut namespaces = vec![Namespace { name: String::new(), origin: Origin::Plain, about: String::new() }];
    let about = |name: &str, origin: Origin, about: &str| Namespace { name: name.into(), origin, about: about.into() };
    namespaces.extend(bindings::NAMESPACES.iter().map(|(name, text)| about(name, Origin::Host, text)));
    let services = aws_dynamic::services().iter();
    namespaces.extend(services.map(|service| about(service.name, Origin::Aws, &format!("AWS {}", service.sdk_id))));
    let modules = Modules::compile(engine, project)?;
    namespaces.extend(modules.namespaces());
    entries.extend(modules.entries());
    Ok(Reference::new(namespaces, entries))
}

/// What a function calls: `(module or namespace, name)`.
type Calls = BTreeSet<(String, String)>;

/// One module of scripts, compiled.
struct Module {
    name: String,
    origin: Origin,
    /// The file, as an operator would write it.
    source: String,
    /// Its code, or why it has none.
    ast: Result<AST>,
}

/// The modules that a script can import from anywhere: those of the project, and the embedded ones.
struct Modules(Vec<Module>);

impl Modules {
    fn compile(engine: &Engine, project: &Project) -> Result<Modules> {
        let mut modules: BTreeMap<String, Module> = BTreeMap::new();
        for name in import::embedded_names() {
            let text = import::embedded(name).unwrap_or_default();
            let ast = engine
                .compile(text)
                .map_err(|error| Error::bug(format!("stdlib `{name}` does not compile: {error}")))?;
            let source = format!("stdlib/{name}.rhai, built in");
            modules.insert(
                name.to_owned(),
                Module { name: name.to_owned(), origin: Origin::Stdlib, source, ast: Ok(ast) },
            );
        }
        for (name, path) in project_modules(project) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if import::embedded(&name) == Some(text.as_str()) {
                continue;
            }
            let source = project.show(&path);
            let ast =
                engine.compile(&text).map_err(|error| Error::invalid(format!("`{source}` does not compile: {error}")));
            modules.insert(name.clone(), Module { name, origin: Origin::Project, source, ast });
        }
        Ok(Modules(modules.into_values().collect()))
    }

    fn namespaces(&self) -> impl Iterator<Item = Namespace> {
        self.0.iter().map(|module| Namespace {
            name: module.name.clone(),
            origin: module.origin,
            about: match &module.ast {
                Ok(ast) => about(ast),
                Err(error) => error.to_string(),
            },
        })
    }

    fn entries(&self) -> Vec<Entry> {
        let mut calls: BTreeMap<(String, String), Calls> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for module in &self.0 {
            let Ok(ast) = &module.ast else { continue };
            let aliases = takes::aliases(ast);
            collect(&module.name, ast, &aliases, &mut calls);
            for function in ast.iter_functions() {
                if function.access == FnAccess::Public && !function.name.starts_with("anon$") {
                    add(&mut entries, entry(module, ast, &aliases, &function));
                }
            }
        }
        for entry in &mut entries {
            let key = entry.name.split_once("::").map(|(module, name)| (module.to_owned(), name.to_owned()));
            entry.effect = key.map_or(Effect::Pure, |key| effect(&key, &calls, &mut BTreeSet::new()));
        }
        entries
    }
}

/// The scripts of the project's `stdlib/`, sorted.
fn project_modules(project: &Project) -> BTreeMap<String, std::path::PathBuf> {
    let Some(files) = project.root.as_ref().and_then(|root| std::fs::read_dir(root.join("stdlib")).ok()) else {
        return BTreeMap::new();
    };
    let paths = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let scripts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rhai"));
    scripts.filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path))).collect()
}

/// The first line of a module's `//!` header.
fn about(ast: &AST) -> String {
    ast.doc().lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned()
}

/// The same function with other parameters is the same thing to a reader: the longest doc tells of all.
fn add(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|other| other.name == entry.name) {
        None => entries.push(entry),
        Some(other) => {
            let mut signatures = std::mem::take(&mut other.signatures);
            signatures.extend(entry.signatures.iter().cloned());
            signatures.sort_by_key(|signature| signature.matches(',').count());
            if entry.doc.len() > other.doc.len() {
                *other = entry;
            }
            other.signatures = signatures;
        }
    }
}

fn entry(module: &Module, ast: &AST, aliases: &BTreeMap<String, String>, function: &rhai::ScriptFnMetadata) -> Entry {
    let lines = function.comments.iter().flat_map(|comment| comment.lines()).map(|line| {
        let text = line.trim_start().trim_start_matches("///");
        text.strip_prefix(' ').unwrap_or(text).to_owned()
    });
    let name = format!("{}::{}", module.name, function.name);
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut entry = Entry::new(name, "function", Effect::Pure).with_doc(&text);
    entry.signatures = vec![format!("{}({})", entry.name, function.params.join(", "))];
    entry.fields = function.params.iter().map(|name| FieldDoc::parameter(name)).collect();
    entry.fields.extend(inputs::of(ast, aliases, function, &entry.prose()));
    entry.raises = raised(&entry.doc);
    entry.source = Some(module.source.clone());
    entry
}

/// The error kinds that a doc names in its sentences that begin with "Raises".
fn raised(doc: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    for sentence in doc.split("Raises ").skip(1) {
        let sentence = sentence.split(". ").next().unwrap_or_default().split("\n\n").next().unwrap_or_default();
        for word in sentence.split('`').skip(1).step_by(2) {
            if Kind::parse(word).is_some() && !kinds.iter().any(|kind| kind == word) {
                kinds.push(word.to_owned());
            }
        }
    }
    kinds
}

/// Notes what every function of a module calls.
fn collect(module: &str, ast: &AST, aliases: &BTreeMap<String, String>, calls: &mut BTreeMap<(String, String), Calls>) {
    for function in parsed::functions(ast).into_values() {
        let own = calls.entry((module.to_owned(), function.name)).or_default();
        for statement in &function.body {
            statement.walk(&mut Vec::new(), &mut |path| {
                own.extend(path.last().into_iter().flat_map(|node| called(module, node, aliases)));
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
