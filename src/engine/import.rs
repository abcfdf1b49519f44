//! Modules: relative to the importing script → the project's `stdlib/` → embedded in the binary.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rhai::{AST, Engine, EvalAltResult, Module, ModuleResolver, ParseError, Position, Scope, Shared};

use super::check::{self, Ground};
use super::isolate;
use crate::error::{Error, Result};
use crate::event::Level;
use crate::project::Project;
use crate::session::Session;
use crate::sources::{EMBEDDED, Sources};
use crate::value::{self, Secrets};

include!(concat!(env!("OUT_DIR"), "/stdlib.rs"));

/// The text of an embedded module.
pub fn embedded(name: &str) -> Option<&'static str> {
    STDLIB.iter().find(|(module, _)| *module == name).map(|(_, text)| *text)
}

/// Names of the embedded modules.
pub fn embedded_names() -> impl Iterator<Item = &'static str> {
    STDLIB.iter().map(|(module, _)| *module)
}

/// Finds modules.
#[derive(Clone, Default)]
pub struct Finder {
    project: Project,
}

/// Finds, compiles and keeps modules. Every module is evaluated once a session.
pub struct Imports {
    session: Arc<Session>,
    sources: Sources,
    ground: Arc<Ground>,
    cache: Modules,
}

/// The modules that were read, by their source.
#[derive(Clone, Default)]
pub struct Modules(Arc<Mutex<BTreeMap<String, Shared<Module>>>>);

impl Modules {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Shared<Module>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// So that they are read anew.
    pub fn forget(&self) {
        self.lock().clear();
    }
}

thread_local! {
    /// Modules whose top level is being evaluated on this thread, to find cycles.
    static LOADING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What an import leads to.
pub struct Found {
    /// Key of caches and source of places: the file as the operator would write it, or `embedded:stdlib/vpc.rhai`.
    pub source: String,
    /// What stands there.
    pub text: String,
    /// It is the project's, and differs from the built-in module of that name.
    pub differs: bool,
}

/// Modules that are compiled: a check before a run and the run itself share them.
#[derive(Default)]
pub struct Compiled(Mutex<BTreeMap<String, AST>>);

impl Compiled {
    /// The tree of a module.
    pub fn module(&self, engine: &Engine, found: &Found) -> Result<AST, ParseError> {
        if let Some(ast) = self.lock().get(&found.source) {
            return Ok(ast.clone());
        }
        let mut ast = engine.compile(isolate::functions(&found.text))?;
        ast.set_source(found.source.clone());
        self.lock().insert(found.source.clone(), ast.clone());
        Ok(ast)
    }

    /// So that they are compiled anew.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, AST>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Imports {
    /// For one session.
    pub fn new(session: &Arc<Session>, sources: &Sources, ground: &Arc<Ground>) -> Imports {
        let (session, sources, ground) = (session.clone(), sources.clone(), ground.clone());
        Imports { session, sources, ground, cache: Modules::default() }
    }

    /// The modules that were read so far.
    pub fn modules(&self) -> Modules {
        self.cache.clone()
    }

    fn load(&self, engine: &Engine, source: Option<&str>, name: &str) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let thrown = |error: Error| {
            let value = value::to_dynamic(error.to_json(), Secrets::None);
            Box::new(EvalAltResult::ErrorRuntime(value, Position::NONE))
        };
        let found = self.ground.finder.find(source, name).map_err(thrown)?;
        if let Some(module) = self.cache.lock().get(&found.source).cloned() {
            return Ok(module);
        }
        let _loading = Loading::enter(&found.source).map_err(thrown)?;
        if found.differs && self.sources.get(&found.source).is_none() {
            let source = &found.source;
            let said = format!("module `{name}` is the project's `{source}`, which differs from the built-in one");
            self.session.events.message(Level::Info, said);
        }
        self.sources.insert(&found.source, &found.text);
        let ast = self
            .ground
            .compiled
            .module(engine, &found)
            .map_err(|error| Box::new(EvalAltResult::ErrorParsing(*error.0, error.1)))
            .map_err(|failure| self.in_module(&found.source, failure))?;
        check::refuse(engine, &self.ground, &found.source, &found.text, &ast).map_err(thrown)?;
        let mut module = Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map_err(|failure| self.in_module(&found.source, failure))?;
        module.set_id(found.source.clone());
        let module: Shared<Module> = module.into();
        self.cache.lock().insert(found.source, module.clone());
        Ok(module)
    }

    /// Names the module around an error, but for what can not be caught: wrapped, a cancellation could be.
    fn in_module(&self, source: &str, failure: Box<EvalAltResult>) -> Box<EvalAltResult> {
        if matches!(failure.unwrap_inner(), EvalAltResult::ErrorTerminated(..)) {
            return failure;
        }
        Box::new(EvalAltResult::ErrorInModule(source.to_owned(), failure, Position::NONE))
    }
}

impl Finder {
    /// In a project.
    pub fn of(project: &Project) -> Finder {
        Finder { project: project.clone() }
    }

    /// What an import in a script leads to.
    pub fn find(&self, source: Option<&str>, name: &str) -> Result<Found> {
        if name.is_empty() || Path::new(name).is_absolute() || name.contains('\\') {
            return Err(Error::invalid(format!(
                "module `{name}` can not be imported: a module is named relative to the script"
            )));
        }
        let project = &self.project;
        let importer = source.filter(|source| !source.is_empty() && !source.starts_with(EMBEDDED));
        let folder = importer.map(|file| self.absolute(file)).and_then(|file| file.parent().map(Path::to_path_buf));
        let beside = folder.map(|folder| folder.join(format!("{name}.rhai")));
        let shared = project.root.as_ref().map(|root| root.join("stdlib").join(format!("{name}.rhai")));
        let itself = importer.map(|file| self.absolute(file)).and_then(|file| file.canonicalize().ok());
        let looked: Vec<&str> =
            [beside.as_ref().map(|_| "beside the script"), shared.as_ref().map(|_| "in the project's `stdlib/`")]
                .into_iter()
                .flatten()
                .collect();
        for candidate in beside.into_iter().chain(shared) {
            // A test of `vpc` is called `vpc` as well, and means the module.
            if candidate.is_file() && candidate.canonicalize().ok() != itself && !holds_tests(&candidate) {
                return self.read(&candidate, name);
            }
        }
        match embedded(name) {
            Some(text) => {
                Ok(Found { source: format!("{EMBEDDED}stdlib/{name}.rhai"), text: text.to_owned(), differs: false })
            }
            None => Err(unknown_module(name, &looked)),
        }
    }

    /// Sources are shown as the operator wrote them, so relative ones are relative to the project or to the folder
    /// that the program was started in.
    fn absolute(&self, file: &str) -> PathBuf {
        let path = Path::new(file);
        let in_project = self.project.root.as_ref().map(|root| root.join(path)).filter(|path| path.is_file());
        in_project.unwrap_or_else(|| path.to_path_buf())
    }

    fn read(&self, path: &Path, name: &str) -> Result<Found> {
        let unreadable = |error: std::io::Error| Error::invalid(format!("module `{name}` can not be read: {error}"));
        let real = path.canonicalize().map_err(unreadable)?;
        let project = &self.project;
        if let Some(root) = &project.root
            && !real.starts_with(root)
        {
            return Err(Error::invalid(format!("module `{name}` lies outside the project `{}`", root.display()))
                .hint("copy it into the project, for example into its `stdlib/` folder"));
        }
        let text = std::fs::read_to_string(&real).map_err(unreadable)?;
        let text = super::without_mark(&text).to_owned();
        let source = project.show(&real);
        let differs = embedded(name).is_some_and(|embedded| embedded != text);
        Ok(Found { source, text, differs })
    }
}

/// Tests are called as the modules that they test, and are none themselves.
fn holds_tests(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with("fn test_")))
}

/// The error for modules that import each other; the round begins and ends with the same one.
pub fn circle(round: &[&str]) -> Error {
    Error::invalid(format!("modules import each other in a circle: {}", round.join(" → ")))
        .hint("move what both need into a third module")
}

fn unknown_module(name: &str, looked: &[&str]) -> Error {
    let names: Vec<&str> = embedded_names().collect();
    let places: String = looked.iter().map(|place| format!("{place}, ")).collect();
    let and = if looked.is_empty() { "" } else { "and " };
    Error::invalid(format!("module `{name}` does not exist"))
        .note(format!("looked {places}{and}among the built-in {}", crate::error::list_and(&names)))
        .maybe_hint(crate::error::did_you_mean(name, names.iter().copied()))
}

impl ModuleResolver for Imports {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        self.load(engine, source, path).map_err(|mut failure| {
            if failure.position().is_none() {
                failure.set_position(position);
            }
            failure
        })
    }
}

/// One module being loaded; forgets it when dropped.
struct Loading;

impl Loading {
    fn enter(source: &str) -> Result<Loading> {
        LOADING.with_borrow_mut(|loading| {
            if let Some(start) = loading.iter().position(|module| module == source) {
                let mut round: Vec<&str> = loading[start..].iter().map(String::as_str).collect();
                round.push(source);
                return Err(circle(&round));
            }
            loading.push(source.to_owned());
            Ok(Loading)
        })
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.with_borrow_mut(|loading| loading.pop());
    }
}
