//! What a check knows beside the script: what the engine can do, and what imports lead to.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rhai::{AST, ASTFlags, Engine, Expr, FnPtr, FuncInfo, Position, Stmt};

use super::Ground;
use super::effects::Called;
use super::parsed::{self, Function, Key};
use super::rules::{self, Rule};
use super::walk::Walk;
use crate::bindings;
use crate::engine::import::{self, Found};
use crate::engine::names::Names;
use crate::engine::{fault, unavailable};
use crate::error::Error;

/// Every function without a namespace that the engine knows, with its numbers of parameters. Collected when first
/// asked for: most expressions never ask.
#[derive(Clone, Default)]
pub struct Builtins(Arc<OnceLock<BTreeMap<String, BTreeSet<usize>>>>);

/// What the engine answers to without a function of that name; no number: any.
const KEYWORDS: [(&str, Option<usize>); 9] = [
    ("Fn", Some(1)),
    ("call", None),
    ("curry", None),
    ("debug", Some(1)),
    ("is_def_fn", Some(2)),
    ("is_def_var", Some(1)),
    ("is_shared", Some(1)),
    ("print", Some(1)),
    ("type_of", Some(1)),
];

/// What tests written in Rhai have besides.
const ASSERTIONS: [(&str, usize); 4] = [("assert", 1), ("assert", 2), ("assert_eq", 2), ("assert_error", 2)];

impl Builtins {
    fn all(&self, engine: &Engine) -> &BTreeMap<String, BTreeSet<usize>> {
        self.0.get_or_init(|| {
            let known = |info: FuncInfo| {
                let (name, types) = (info.metadata.name.as_str(), &info.metadata.param_types);
                // What closures answer says nothing of other values, and closures are called, not looked at.
                let of_closures = name.starts_with("get$") && types.first() == Some(&TypeId::of::<FnPtr>());
                let is_known = info.namespace.is_empty() && !of_closures;
                is_known.then(|| (name.to_owned(), info.metadata.num_params))
            };
            let mut all: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
            for (name, arity) in engine.collect_fn_metadata(None, known, true) {
                all.entry(name).or_default().insert(arity);
            }
            all
        })
    }
}

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does something when it is run.
    Runbook,
    /// Others import it.
    Module,
    /// Text that was typed or that is shown: only errors count.
    Snippet,
}

/// A compiled script.
pub struct Module {
    /// As places name it.
    pub source: String,
    /// Its text.
    pub text: String,
    /// The engine's form.
    pub ast: AST,
    /// Its functions and closures.
    pub functions: BTreeMap<Key, Function>,
    /// What it is for.
    pub role: Role,
    called: OnceLock<Vec<Called>>,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Module {
    /// Takes a compiled script apart.
    pub fn new(source: &str, text: &str, ast: AST, role: Option<Role>) -> Module {
        let functions = parsed::functions(&ast);
        let only_declares = ast.statements().iter().all(|statement| match statement {
            Stmt::Var(_, flags, _) => flags.intersects(ASTFlags::CONSTANT),
            Stmt::Import(..) | Stmt::Export(..) | Stmt::Noop(_) => true,
            _ => false,
        });
        let has_functions = functions.values().any(|function| !function.is_closure);
        let guessed = if only_declares && has_functions { Role::Module } else { Role::Runbook };
        let (source, text) = (source.to_owned(), text.to_owned());
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Module { source, text, ast, functions, role: role.unwrap_or(guessed), called: OnceLock::new(), lines }
    }

    /// Whether it holds tests.
    pub fn is_test(&self) -> bool {
        self.functions.keys().any(|(name, arity)| *arity == 0 && name.starts_with("test_"))
    }

    fn variables(&self) -> impl Iterator<Item = (&str, bool, bool)> {
        self.ast.statements().iter().filter_map(|statement| match statement {
            Stmt::Var(parts, flags, _) => {
                let name = parts.0.name.as_str();
                Some((name, flags.intersects(ASTFlags::CONSTANT), flags.intersects(ASTFlags::EXPORTED)))
            }
            _ => None,
        })
    }

    /// Names of the variables at the top of the script.
    pub fn top_level_names(&self) -> impl Iterator<Item = &str> {
        self.variables().map(|(name, ..)| name)
    }

    /// Names of the constants at the top of the script.
    pub fn constants(&self) -> impl Iterator<Item = &str> {
        self.variables().filter(|(_, constant, _)| *constant).map(|(name, ..)| name)
    }

    /// Whether a constant of that name stands at the top of the script.
    pub fn is_constant(&self, name: &str) -> bool {
        self.constants().any(|known| known == name)
    }

    /// Names of the variables that importers see.
    pub fn exported(&self) -> impl Iterator<Item = &str> {
        let by_statement = self.ast.statements().iter().filter_map(|statement| match statement {
            Stmt::Export(parts, _) if parts.1.name.is_empty() => Some(parts.0.name.as_str()),
            Stmt::Export(parts, _) => Some(parts.1.name.as_str()),
            _ => None,
        });
        by_statement.chain(self.variables().filter(|(.., exported)| *exported).map(|(name, ..)| name))
    }

    /// Literal paths that are imported when it is loaded.
    fn imports(&self) -> impl Iterator<Item = &str> {
        self.ast.statements().iter().filter_map(|statement| match statement {
            Stmt::Import(parts, _) => match &parts.0 {
                Expr::StringConstant(path, _) => Some(path.as_str()),
                _ => None,
            },
            _ => None,
        })
    }

    /// The text before a place.
    fn before(&self, at: Position) -> Option<&str> {
        let (line, column) = (at.line()?, at.position()?);
        let start = *self.lines.get(line - 1)?;
        let rest = self.text.get(start..)?;
        let inside = rest.char_indices().nth(column - 1).map_or(rest.len(), |(index, _)| index);
        self.text.get(..start + inside)
    }

    /// The place of a byte of the text.
    fn place(&self, byte: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..byte).unwrap_or_default().chars().count() + 1;
        match (u16::try_from(line), u16::try_from(column)) {
            (Ok(line), Ok(column)) => Position::new(line, column),
            _ => Position::NONE,
        }
    }

    /// The function behind a closure, by the engine's name for it.
    pub fn closure(&self, name: &str) -> Option<&Function> {
        let found = self.functions.range((name.to_owned(), 0)..).next();
        found.map(|(_, function)| function).filter(|function| function.name == name)
    }

    /// Where names stand that are separated by commas between two bytes of the text.
    fn name_places(&self, from: usize, to: usize) -> Vec<Position> {
        let mut places = Vec::new();
        let mut at = from;
        for part in self.text.get(from..to).unwrap_or_default().split(',') {
            let blanks = part.len() - part.trim_start().len();
            places.push(self.place(at + blanks));
            at += part.len() + 1;
        }
        places
    }

    /// Where the parameters of a function stand, which the engine does not keep.
    pub fn parameter_places(&self, function: &Function) -> Vec<Position> {
        let before = self.before(function.start).unwrap_or_default();
        match (before.rfind('('), before.rfind(')')) {
            (Some(open), Some(close)) if open < close => self.name_places(open + 1, close),
            _ => Vec::new(),
        }
    }

    /// Where the own parameters of a closure stand that begins at a place.
    pub fn closure_places(&self, at: Position) -> Vec<Position> {
        let Some(start) = self.before(at).map(str::len) else { return Vec::new() };
        let rest = self.text.get(start..).unwrap_or_default();
        match rest.strip_prefix('|').and_then(|rest| rest.find('|')) {
            Some(end) => self.name_places(start + 1, start + 1 + end),
            None => Vec::new(),
        }
    }

    /// Where the name of a function stands.
    pub fn function_place(&self, function: &Function) -> Position {
        let before = self.before(function.start).unwrap_or_default();
        let name = before.rfind('(').and_then(|open| before.get(..open)?.rfind(function.name.as_str()));
        name.map_or(function.start, |byte| self.place(byte))
    }
}

/// What a check knows beside the script.
pub struct Known<'e> {
    /// Parses scripts.
    engine: &'e Engine,
    /// Knows all functions without a namespace.
    plain: &'e Engine,
    ground: &'e Ground,
    follows_imports: bool,
    namespaces: BTreeSet<&'static str>,
    modules: Modules,
    /// Modules from which no import leads back.
    acyclic: RefCell<BTreeSet<String>>,
    /// Whether assertions are known.
    pub has_assertions: bool,
}

/// Modules that were taken apart already, by their source.
pub type Modules = Rc<RefCell<BTreeMap<String, Loaded>>>;

/// A module, or why it is none.
pub type Loaded = std::result::Result<Rc<Module>, Box<Error>>;

/// What a wrong import breaks.
pub type Problem = Box<(&'static Rule, Error)>;

impl<'e> Known<'e> {
    /// `engine` parses scripts, `plain` is the one whose functions they can call.
    pub fn new(engine: &'e Engine, plain: &'e Engine, ground: &'e Ground, modules: Modules) -> Known<'e> {
        let services = aws_dynamic::services().iter().map(|service| service.name);
        let namespaces = services.chain(bindings::all().map(|binding| binding.namespace()));
        Known {
            engine,
            plain,
            ground,
            follows_imports: true,
            namespaces: namespaces.filter(|name| !name.is_empty()).collect(),
            modules,
            acyclic: RefCell::default(),
            has_assertions: false,
        }
    }

    /// For a look at one script alone: imports lead nowhere, and nothing is said of them.
    pub fn alone(engine: &'e Engine, ground: &'e Ground) -> Known<'e> {
        Known { follows_imports: false, ..Known::new(engine, engine, ground, Modules::default()) }
    }

    /// Words for unknown names.
    pub fn names(&self) -> &Names {
        &self.ground.names
    }

    fn builtins(&self) -> &'e BTreeMap<String, BTreeSet<usize>> {
        self.ground.builtins.all(self.plain)
    }

    /// Namespaces of host functions.
    pub fn namespaces(&self) -> impl Iterator<Item = &'static str> {
        self.namespaces.iter().copied()
    }

    /// Whether some value has a property of this name that is no key.
    pub fn has_getter(&self, name: &str) -> bool {
        self.builtins().contains_key(&format!("get${name}"))
    }

    /// How many arguments a function without a namespace takes; none: there is none of that name. Empty: any number.
    pub fn plain(&self, name: &str) -> Option<BTreeSet<usize>> {
        let keyword = KEYWORDS.iter().find(|(known, _)| *known == name);
        let assertions = ASSERTIONS.iter().filter(|(known, _)| self.has_assertions && *known == name);
        let mut found: BTreeSet<usize> = assertions.map(|(_, arity)| *arity).collect();
        found.extend(self.builtins().get(name).into_iter().flatten());
        match keyword {
            Some((_, None)) => Some(BTreeSet::new()),
            Some((_, Some(arity))) => {
                found.insert(*arity);
                Some(found)
            }
            None => (!found.is_empty()).then_some(found),
        }
    }

    /// Names of all functions without a namespace that can be written.
    pub fn plain_names(&self) -> impl Iterator<Item = &str> {
        let builtins = self.builtins().keys().map(String::as_str);
        let builtins = builtins.filter(|name| rhai::is_valid_function_name(name) && unavailable(name).is_none());
        builtins.chain(KEYWORDS.iter().map(|(name, _)| *name))
    }

    /// The module that an import leads to; none where it does not matter.
    pub fn import(&self, source: &str, name: &str) -> std::result::Result<Option<Rc<Module>>, Problem> {
        if !self.follows_imports {
            return Ok(None);
        }
        let unresolved = |error: Error| Box::new((&rules::UNRESOLVED_IMPORT, error));
        let found = self.ground.finder.find(Some(source), name).map_err(unresolved)?;
        let module = self.load(found).map_err(|error| {
            let at = error.facts().at.as_ref();
            let place = at.map(|at| format!("{}:{}", at.source, at.line)).unwrap_or_default();
            let note = format!("{place}: {error}");
            unresolved(Error::invalid(format!("module `{name}` does not parse")).note(note))
        })?;
        match self.circle(&module, &mut Vec::new()) {
            None => Ok(Some(module)),
            Some(round) => {
                let round: Vec<&str> = round.iter().map(String::as_str).collect();
                Err(Box::new((&rules::IMPORT_CYCLE, import::circle(&round))))
            }
        }
    }

    fn load(&self, found: Found) -> Loaded {
        if let Some(loaded) = self.modules.borrow().get(&found.source) {
            return loaded.clone();
        }
        let loaded = self.ground.compiled.module(self.engine, &found).map_err(|failure| {
            let mut error = fault::parse_error(&failure.0);
            error.facts_mut().at = Some(fault::place(Some(&found.source), failure.1));
            Box::new(error)
        });
        let loaded = loaded.map(|ast| Rc::new(Module::new(&found.source, &found.text, ast, Some(Role::Module))));
        self.modules.borrow_mut().insert(found.source, loaded.clone());
        loaded
    }

    /// The first circle of imports that a module leads into.
    fn circle(&self, module: &Rc<Module>, above: &mut Vec<String>) -> Option<Vec<String>> {
        if self.acyclic.borrow().contains(&module.source) {
            return None;
        }
        if let Some(start) = above.iter().position(|source| *source == module.source) {
            let mut round = above[start..].to_vec();
            round.push(module.source.clone());
            return Some(round);
        }
        above.push(module.source.clone());
        let round = module.imports().find_map(|name| {
            let found = self.ground.finder.find(Some(&module.source), name).ok()?;
            let next = self.load(found).ok()?;
            self.circle(&next, above)
        });
        above.pop();
        if round.is_none() {
            self.acyclic.borrow_mut().insert(module.source.clone());
        }
        round
    }

    /// What the functions of a module call.
    pub fn called<'m>(&self, module: &'m Module) -> &'m [Called] {
        module.called.get_or_init(|| {
            let mut walk = Walk::new(module, self, None);
            walk.script();
            walk.called
        })
    }

    /// The modules that a script imports and that are files of the project, and theirs.
    pub fn project_modules(&self, script: &Module) -> Vec<Rc<Module>> {
        let mut found: BTreeMap<String, Rc<Module>> = BTreeMap::new();
        let mut open: Vec<(String, String)> =
            script.imports().map(|name| (script.source.clone(), name.to_owned())).collect();
        while let Some((source, name)) = open.pop() {
            let Ok(Some(module)) = self.import(&source, &name) else { continue };
            if module.source.starts_with(crate::sources::EMBEDDED) || found.contains_key(&module.source) {
                continue;
            }
            open.extend(module.imports().map(|name| (module.source.clone(), name.to_owned())));
            found.insert(module.source.clone(), module);
        }
        found.into_values().collect()
    }
}
