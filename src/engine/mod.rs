//! Builds the script engine of a session and runs scripts in it.
//!
//! Strict variables, strict map keys, and limits that are the same in debug and release builds. The engine blocks its
//! own big-stack thread while calls run on the runtime.

pub mod account;
pub mod assert;
pub mod call;
pub mod check;
pub mod control;
pub mod docs;
pub mod fault;
pub mod here;
pub mod import;
pub mod isolate;
pub mod lines;
pub mod names;
pub mod params;
pub mod takes;
pub mod tokens;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{
    AST, ASTNode, Array, Dynamic, Engine, EvalAltResult, Expr, FnPtr, FuncRegistration, Map, Module, NativeCallContext,
    OptimizationLevel, RhaiFunc, Scope, Stmt,
};
use serde_json::Value;

use self::call::{Caller, Thrown};
use self::check::{Checker, Ground};
use self::import::{Finder, Imports, Modules};
use self::names::Names;
use crate::bindings;
use crate::catalog::{Binding, Run};
use crate::cloud::Connection;
use crate::error::{Error, Place, Result};
use crate::event::{Event, Level};
use crate::project::Project;
use crate::session::Session;
use crate::sources::Sources;
use crate::value::{self, Secret, Show};

/// The keyword of a unit of progress.
pub const STEP: &str = "step";

/// Deep recursion in a debug build needs far more than the two megabytes of a default thread.
pub const STACK_SIZE: usize = 256 << 20;

const CALL_LEVELS_MAX: usize = 128;
const TEXT_SIZE_MAX: usize = 64 << 20;
const ELEMENTS_MAX: usize = 4_000_000;

/// A compiled script.
pub struct Script {
    /// The engine's form.
    pub ast: AST,
    /// The inputs that it declares.
    pub inputs: Vec<params::Input>,
    /// Its `//!` header.
    pub header: String,
}

impl Script {
    /// Whether it calls no more than once: what is wrong with it, the call itself tells before anything happens.
    pub fn is_one_call(&self) -> bool {
        let mut calls = 0;
        self.ast.walk(&mut |path: &[ASTNode<'_>]| {
            calls += usize::from(path.last().is_some_and(is_call));
            calls <= 1
        });
        calls <= 1 && self.ast.iter_functions().next().is_none()
    }
}

/// Some editors begin a file with a mark that nobody sees.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether something that is no operator is called here.
fn is_call(node: &ASTNode<'_>) -> bool {
    match node {
        ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => call.op_token.is_none(),
        ASTNode::Expr(Expr::MethodCall(..) | Expr::Custom(..)) => true,
        _ => false,
    }
}

/// The script engine of one session.
pub struct Interpreter {
    engine: Engine,
    session: Arc<Session>,
    sources: Sources,
    ground: Arc<Ground>,
    modules: Modules,
}

impl Interpreter {
    /// Builds the engine with everything registered.
    pub fn new(session: &Arc<Session>, sources: &Sources) -> Result<Interpreter> {
        Interpreter::with_services(session, sources, |_| true)
    }

    /// Builds the engine for one script. Registering every operation takes longer than most expressions run, so a
    /// script that imports nothing gets only the services that its text names.
    pub fn for_script(session: &Arc<Session>, sources: &Sources, text: &str) -> Result<Interpreter> {
        let imports = text.contains("import");
        Interpreter::with_services(session, sources, |service| imports || text.contains(&format!("{service}::")))
    }

    /// Builds an engine that only compiles and lists functions: it knows no service, and minds no unknown name.
    pub fn for_reading(session: &Arc<Session>, sources: &Sources) -> Result<Interpreter> {
        let mut interpreter = Interpreter::with_services(session, sources, |_| false)?;
        interpreter.engine.set_strict_variables(false);
        Ok(interpreter)
    }

    fn with_services(session: &Arc<Session>, sources: &Sources, wanted: impl Fn(&str) -> bool) -> Result<Interpreter> {
        let mut engine = Engine::new();
        limit(&mut engine);
        listen(&mut engine, session);
        register_plain(&mut engine, session);
        control::register_step(&mut engine, session)?;
        isolate::register(&mut engine)?;
        for (namespace, module) in modules(session, wanted) {
            engine.register_static_module(namespace, module.into());
        }
        let ground = Arc::new(Ground::of(Finder::of(&session.project)));
        let imports = Imports::new(session, sources, &ground);
        let modules = imports.modules();
        engine.set_module_resolver(imports);
        Ok(Interpreter { engine, session: session.clone(), sources: sources.clone(), ground, modules })
    }

    /// With the assertions that tests written in Rhai use.
    #[must_use]
    pub fn with_assertions(mut self) -> Interpreter {
        assert::register(&mut self.engine);
        self
    }

    /// Compiles a script and looks it over.
    pub fn compile(&self, source: &str, text: &str) -> Result<Script> {
        let text = without_mark(text);
        self.sources.insert(source, text);
        let mut ast = self.engine.compile(isolate::functions(text)).map_err(|failure| {
            let mut error = fault::parse_error(&failure.0);
            error.facts_mut().at = Some(fault::place(Some(source), failure.1));
            self.placed(error)
        })?;
        ast.set_source(source);
        check::refuse(&self.engine, &self.ground, source, text, &ast).map_err(|error| self.placed(error))?;
        let inputs = params::declared(&ast).map_err(|mut error| {
            error.facts_mut().at.get_or_insert_with(|| fault::place(Some(source), rhai::Position::new(1, 1)));
            self.placed(error)
        })?;
        let header = ast.doc().lines().map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join("\n");
        Ok(Script { ast, inputs, header })
    }

    /// Refuses a compiled script that can not work, before anything of it happens.
    pub fn refuse_certain(&self, script: &Script) -> Result<()> {
        let source = script.ast.source().unwrap_or_default();
        let text = self.sources.get(source).unwrap_or_default();
        check::refuse_certain(&self.engine, &self.ground, source, &text, &script.ast)
            .map_err(|error| self.placed(error))
    }

    /// An error with its places in the texts as they were written: what is compiled has markers in it.
    fn placed(&self, mut error: Error) -> Error {
        let place = |at: &mut Place| {
            if let Some(text) = self.sources.get(&at.source) {
                at.column = isolate::original_column(&text, at.line, at.column);
            }
        };
        let facts = error.facts_mut();
        facts.at.iter_mut().for_each(place);
        facts.trace.iter_mut().for_each(|(_, at)| place(at));
        error
    }

    fn failed(&self, source: Option<&str>, failure: &EvalAltResult) -> Error {
        self.placed(fault::from_engine(&self.session, &self.ground.names, source, failure))
    }

    /// Checks scripts of a project without running them. Needs an interpreter with every service.
    pub fn checker(&self, project: &Project) -> Result<Checker<'_>> {
        let builtins = self.ground.builtins.clone();
        let ground = Ground { builtins, ..Ground::of(Finder::of(project)) };
        Ok(Checker::new(grammar()?, &self.engine, ground))
    }

    /// Runs a compiled script to its last expression.
    pub fn run(&self, script: &Script) -> Result<Dynamic> {
        self.engine
            .eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &script.ast)
            .map_err(|failure| self.failed(script.ast.source(), &failure))
    }

    /// Runs one function of a compiled script: how tests written in Rhai are run.
    pub fn call(&self, script: &Script, function: &str) -> Result<Dynamic> {
        self.engine
            .call_fn::<Dynamic>(&mut Scope::new(), &script.ast, function, ())
            .map_err(|failure| self.failed(script.ast.source(), &failure))
    }

    /// The result of a script as JSON, secrets hidden.
    pub fn to_json(&self, result: &Dynamic) -> Result<Value> {
        value::to_json(result, Show::Hidden)
    }

    /// Forgets the modules that were read, so that the next import reads them anew.
    pub fn forget_modules(&self) {
        self.modules.forget();
        self.ground.compiled.forget();
    }

    /// The engine itself, for looking at scripts without running them.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Runs something on a thread with a stack large enough for scripts.
pub fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("script".to_owned())
            .stack_size(STACK_SIZE)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::failed(format!("no thread for the script: {error}")))?
            .join()
            .map_err(|_| Error::bug("the script engine panicked"))
    })
}

/// An engine that only parses, and accepts names that do not exist: a check finds all of them, and not just the first.
pub fn grammar() -> Result<Engine> {
    let mut engine = Engine::new();
    limit(&mut engine);
    engine.set_strict_variables(false);
    control::register_step_syntax(&mut engine, |_, _| Ok(Dynamic::UNIT))?;
    isolate::register(&mut engine)?;
    Ok(engine)
}

fn limit(engine: &mut Engine) {
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_max_call_levels(CALL_LEVELS_MAX)
        .set_max_expr_depths(256, 128)
        .set_max_operations(0)
        .set_max_modules(1_000)
        .set_max_functions(10_000)
        .set_max_variables(10_000)
        .set_max_string_size(TEXT_SIZE_MAX)
        .set_max_array_size(ELEMENTS_MAX)
        .set_max_map_size(ELEMENTS_MAX)
        .disable_symbol("eval");
}

fn listen(engine: &mut Engine, session: &Arc<Session>) {
    let cancel = session.cancel.clone();
    engine.on_progress(move |_| {
        cancel.is_cancelled().then(|| value::to_dynamic(cancel.reason().to_json(), value::Secrets::None))
    });
    let events = session.events.clone();
    engine.on_print(move |text| events.emit(Event::Print { text: text.to_owned() }));
    let events = session.events.clone();
    engine.on_debug(move |text, _, _| events.message(Level::Info, text));
    // The hook for missing map keys would also see every assignment of a new key, and could not tell it from a read;
    // so what a caught error of the engine lacks is added where its variable is read.
    #[expect(deprecated, reason = "not deprecated, only marked as volatile")]
    engine.on_var(|name, _, context| Ok(context.scope().get(name).and_then(fault::completed)));
}

/// What other Rhai programs have and no script of ours: the name, why, and what to write instead.
const UNAVAILABLE: [(&str, &str, &str); 3] = [
    ("sleep", "it would not follow the session's clock", "clock::sleep(\"10s\")"),
    ("timestamp", "it would not follow the session's clock", "clock::now()"),
    ("exit", "it would leave steps and branches half-way, as if all were done", "throw error::failed(\"why\")"),
];

/// The error for a function of this name, where it is one that scripts do not have.
pub fn unavailable(name: &str) -> Option<Error> {
    let (name, why, instead) = UNAVAILABLE.iter().find(|(known, ..)| *known == name)?;
    Some(Error::invalid(format!("`{name}` is not available: {why}")).hint(format!("write `{instead}`")))
}

/// Functions without a namespace, and what secrets and thrown texts answer.
fn register_plain(engine: &mut Engine, session: &Arc<Session>) {
    let own = session.clone();
    engine.register_fn("params", move |_: Map| value::to_dynamic(Value::Object(own.inputs()), value::Secrets::None));
    let own = session.clone();
    engine.register_fn("retry", move |context: NativeCallContext, options: Map, body: FnPtr| {
        control::retry(&own, &context, &options, &body)
    });
    let own = session.clone();
    engine.register_fn("wait_until", move |context: NativeCallContext, options: Map, body: FnPtr| {
        control::wait_until(&own, &context, &options, &body)
    });
    register_parallel(engine, session);
    engine.register_type_with_name::<Secret>("secret");
    engine.register_fn("reveal", |secret: &mut Secret| secret.reveal().to_owned());
    engine.register_fn("to_string", |secret: &mut Secret| secret.to_string());
    engine.register_fn("to_debug", |secret: &mut Secret| secret.to_string());
    engine.register_fn("==", |a: Secret, b: Secret| a == b);
    engine.register_fn("!=", |a: Secret, b: Secret| a != b);
    // A thrown text answers like any other error.
    engine.register_get("kind", |_: &mut rhai::ImmutableString| "failed");
    engine.register_get("message", |text: &mut rhai::ImmutableString| text.clone());
    for (name, ..) in UNAVAILABLE {
        let refuse = move |context: NativeCallContext| -> Thrown {
            let error = unavailable(name).unwrap_or_else(|| Error::bug(format!("`{name}` is available")));
            let value = value::to_dynamic(error.to_json(), value::Secrets::None);
            Err(Box::new(EvalAltResult::ErrorRuntime(value, context.call_position())))
        };
        engine.register_fn(name, move |context: NativeCallContext, _: Dynamic| refuse(context));
        engine.register_fn(name, move |context: NativeCallContext, _: i64| refuse(context));
        engine.register_fn(name, move |context: NativeCallContext, _: f64| refuse(context));
        engine.register_fn(name, move |context: NativeCallContext| refuse(context));
    }
}

fn register_parallel(engine: &mut Engine, session: &Arc<Session>) {
    let own = session.clone();
    engine.register_fn("parallel", move |context: NativeCallContext, list: Array| {
        control::parallel_list(&own, &context, list, &Map::new())
    });
    let own = session.clone();
    engine.register_fn("parallel", move |context: NativeCallContext, list: Array, options: Map| {
        control::parallel_list(&own, &context, list, &options)
    });
    let own = session.clone();
    engine.register_fn("parallel", move |context: NativeCallContext, map: Map| {
        control::parallel_map(&own, &context, map, &Map::new())
    });
    let own = session.clone();
    engine.register_fn("parallel", move |context: NativeCallContext, map: Map, options: Map| {
        control::parallel_map(&own, &context, map, &options)
    });
    engine.register_type_with_name::<Handle>("cluster handle");
    for binding in bindings::kube::ALL {
        if matches!(binding.run, Run::Cloud(_)) {
            register_method(engine, session, binding);
        }
    }
}

/// What `kube::cluster(name)` answers: its methods are the `kube::` functions.
#[derive(Clone)]
pub struct Handle(pub Arc<Connection>);

fn arities(binding: &Binding) -> std::ops::RangeInclusive<usize> {
    binding.params.len()..=binding.params.len() + usize::from(!binding.options.is_empty())
}

fn register_method(engine: &mut Engine, session: &Arc<Session>, binding: &'static Binding) {
    for arity in arities(binding) {
        let own = session.clone();
        let mut types = vec![TypeId::of::<Handle>()];
        types.extend(std::iter::repeat_n(TypeId::of::<Dynamic>(), arity));
        engine.register_raw_fn(binding.short_name(), types, move |context: NativeCallContext, args| {
            let caller = Caller::of(&own, &context);
            let handle = args[0].read_lock::<Handle>().map(|handle| handle.0.clone());
            let rest: Vec<Dynamic> = args[1..].iter_mut().map(|arg| arg.take()).collect();
            call::binding(&caller, binding, handle, &rest)
        });
    }
}

/// Every namespace with its functions.
fn modules(session: &Arc<Session>, wanted: impl Fn(&str) -> bool) -> BTreeMap<&'static str, Module> {
    let mut modules: BTreeMap<&'static str, Module> = BTreeMap::new();
    for service in aws_dynamic::services().iter().filter(|service| wanted(service.name)) {
        register_service(modules.entry(service.name).or_default(), session, service);
    }
    for binding in bindings::all() {
        if !binding.namespace().is_empty() && !matches!(binding.run, Run::Control) {
            register_binding(modules.entry(binding.namespace()).or_default(), session, binding);
        }
    }
    account::register(modules.entry("aws").or_default(), session);
    account::register_cluster(modules.entry("kube").or_default(), session);
    modules
}

fn register_binding(module: &mut Module, session: &Arc<Session>, binding: &'static Binding) {
    for arity in arities(binding) {
        let run = move |caller: &Caller, args: &[Dynamic]| call::binding(caller, binding, None, args);
        set_host_function(module, session, binding.short_name(), arity, run);
    }
}

fn register_service(module: &mut Module, session: &Arc<Session>, service: &'static aws_dynamic::Service) {
    for operation in service.operations {
        for arity in 0..=1 {
            let run = move |caller: &Caller, args: &[Dynamic]| call::operation(caller, operation, args);
            set_host_function(module, session, operation.name, arity, run);
        }
    }
    for waiter in service.waiters {
        for arity in 0..=2 {
            let run = move |caller: &Caller, args: &[Dynamic]| call::waiter(caller, waiter, args);
            set_host_function(module, session, &format!("wait_until_{}", waiter.name), arity, run);
        }
    }
}

/// Registers a function for so many arguments of any type: types are checked at the choke point, with better words.
fn set_host_function(
    module: &mut Module,
    session: &Arc<Session>,
    name: &str,
    arity: usize,
    run: impl Fn(&Caller, &[Dynamic]) -> Thrown + Send + Sync + 'static,
) {
    let session = session.clone();
    let function = move |context: Option<NativeCallContext>, args: &mut [&mut Dynamic]| match &context {
        Some(context) => {
            let args: Vec<Dynamic> = args.iter_mut().map(|arg| arg.take()).collect();
            run(&Caller::of(&session, context), &args)
        }
        None => Err("a host function was called without its context".into()),
    };
    let function = RhaiFunc::Pure { func: Arc::new(function), has_context: true, is_pure: true, is_volatile: true };
    FuncRegistration::new(name).set_into_module_raw(module, vec![TypeId::of::<Dynamic>(); arity], function);
}
