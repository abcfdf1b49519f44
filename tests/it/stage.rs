//! A session for tests: AWS answered by a function, no Kubernetes, a clock that moves only when somebody sleeps.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_dynamic::{CallError, Operation, Phase};
use ekskit::cloud::{Aws, Clock, Cloud, Endpoint, Future, Kube, Target};
use ekskit::diagnostic;
use ekskit::engine::params::{self, Given};
use ekskit::engine::{Interpreter, on_big_stack};
use ekskit::error::{Error, Result};
use ekskit::event::{Event, Events, Record};
use ekskit::project::Project;
use ekskit::session::{Approve, Cancel, Mode, Session, Setup};
use ekskit::sources::Sources;
use ekskit::twin::{Twin, run_id};
use ekskit::value::Secret;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::tree::root;

type Answers = dyn Fn(&Operation, &Value) -> Result<Value, CallError> + Send + Sync;

/// What a test sets up before it runs a script.
pub struct Stage {
    twin: Option<Twin>,
    given: Given,
    threads: usize,
    answers: Arc<Answers>,
    hangs: bool,
    live: bool,
    refuse: bool,
    mode: Mode,
    project: Option<Project>,
    cancel: Cancel,
}

/// What a test sees afterwards.
pub struct Seen {
    pub result: Result<Value>,
    pub events: Vec<Event>,
    pub sources: Sources,
    /// `eks::list_clusters` and its input, in order.
    pub calls: Vec<(String, Value)>,
    pub seconds: i64,
    pub approvals: Vec<Vec<(String, String)>>,
}

impl Seen {
    /// The error as the operator would read it.
    pub fn rendered(&self) -> String {
        match &self.result {
            Ok(value) => format!("no error but {value}\n"),
            Err(error) => diagnostic::render(error, &self.sources, false),
        }
    }

    pub fn value(&self) -> &Value {
        self.result.as_ref().unwrap_or_else(|_| panic!("{}", self.rendered()))
    }

    pub fn error(&self) -> &Error {
        self.result.as_ref().err().unwrap_or_else(|| panic!("no error"))
    }

    pub fn call_names(&self) -> Vec<&str> {
        self.calls.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            twin: None,
            given: Given::default(),
            threads: 1,
            answers: Arc::new(|operation, _| Err(refusal("NotSimulated", 400, &operation.to_string()))),
            hangs: false,
            live: false,
            refuse: false,
            mode: Mode::default(),
            project: None,
            cancel: Cancel::default(),
        }
    }
}

/// An error answer of AWS.
pub fn refusal(code: &str, status: u16, message: &str) -> CallError {
    CallError {
        code: Some(code.to_owned()),
        message: message.to_owned(),
        request_id: Some("req-1".to_owned()),
        status: Some(status),
        phase: Phase::Service,
        credentials: None,
        retryable: status >= 500 || code.contains("Throttl"),
        maybe_applied: status >= 500,
        body: None,
        source: String::new(),
    }
}

impl Stage {
    pub fn aws(answers: impl Fn(&Operation, &Value) -> Result<Value, CallError> + Send + Sync + 'static) -> Stage {
        Stage { answers: Arc::new(answers), ..Stage::default() }
    }

    /// A rehearsal on this world. Its only cluster is that of bare `kube::` calls.
    pub fn rehearse(twin: &Twin) -> Stage {
        Stage { twin: Some(twin.clone()), ..Stage::default() }
    }

    /// With these inputs, `name=value` each.
    pub fn set(mut self, sets: &[&str]) -> Stage {
        let pairs = sets.iter().filter_map(|pair| pair.split_once('='));
        self.given.sets.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// On so many threads of the runtime.
    pub fn threads(mut self, threads: usize) -> Stage {
        self.threads = threads;
        self
    }

    /// Runs a script of this repository as `ekskit run` does.
    pub fn run_file(self, path: &str) -> Seen {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let stage = if self.project.is_none() { self.project(root()) } else { self };
        stage.perform(path, &text, |interpreter, script| {
            let value = interpreter.run(script)?;
            interpreter.to_json(&value)
        })
    }

    /// AWS that never answers.
    pub fn hanging() -> Stage {
        Stage { hangs: true, ..Stage::default() }
    }

    pub fn read_only(mut self) -> Stage {
        self.mode.read_only = true;
        self
    }

    /// Asks before the first mutation; the operator says yes, or no.
    pub fn live(mut self, agrees: bool) -> Stage {
        self.live = true;
        self.refuse = !agrees;
        self
    }

    pub fn project(mut self, folder: &Path) -> Stage {
        self.project = Some(Project::of(folder).unwrap());
        self
    }

    pub fn cancel(mut self, cancel: Cancel) -> Stage {
        self.cancel = cancel;
        self
    }

    pub fn run(self, text: &str) -> Seen {
        self.perform("test.rhai", text, |interpreter, script| {
            let value = interpreter.run(script)?;
            interpreter.to_json(&value)
        })
    }

    /// Runs the functions `test_*` of a script, each by itself; answers their names.
    pub fn run_tests(self, source: &str, text: &str) -> Seen {
        self.perform(source, text, |interpreter, script| {
            let functions = script.ast.iter_functions().map(|function| function.name.to_string());
            let tests: Vec<String> = functions.filter(|name| name.starts_with("test_")).collect();
            for test in &tests {
                let called = interpreter.call(script, test);
                let _ = called.map_err(|error| error.note(format!("in {source}: {test}")))?;
            }
            Ok(json!(tests))
        })
    }

    /// Compiles without running. Modules that a block of documentation takes for granted are imported for it.
    pub fn compiles(self, text: &str) -> Seen {
        self.perform("block", &with_imports(text), |_, _| Ok(Value::Null))
    }

    fn perform(
        self,
        source: &str,
        text: &str,
        work: impl FnOnce(&Interpreter, &ekskit::engine::Script) -> Result<Value> + Send,
    ) -> Seen {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(self.threads).enable_all().build().unwrap();
        let record = Arc::new(Record::default());
        let sources = Sources::default();
        let asked = Arc::new(Asked { refuse: self.refuse, ..Asked::default() });
        let clock = Arc::new(StageClock::default());
        let aws =
            Arc::new(StageAws { answers: self.answers, hangs: self.hangs, live: self.live, calls: Mutex::default() });
        let cloud = match &self.twin {
            Some(twin) => twin.cloud(),
            None => Cloud::new(aws.clone(), Arc::new(NoKube), clock.clone()),
        };
        let kubeconfig = self.twin.is_some().then_some(Endpoint::Kubeconfig { path: None, context: None });
        let begun = cloud.clock.now();
        let session = Session::new(Setup {
            cloud: cloud.clone(),
            mode: self.mode,
            events: Events::to(vec![record.clone()]),
            cancel: self.cancel,
            run: self.twin.as_ref().map_or("run-1".to_owned(), |twin| run_id(&twin.world())),
            project: self.project.unwrap_or_default(),
            target: Target { region: Some("us-west-2".to_owned()), ..Target::default() },
            kubeconfig,
            approve: asked.clone(),
            runtime: runtime.handle().clone(),
        });
        let result = on_big_stack(|| {
            let interpreter = Interpreter::for_script(&session, &sources, text)?.with_assertions();
            let script = interpreter.compile(source, text)?;
            session.set_inputs(params::resolve(&script.inputs, &self.given)?);
            work(&interpreter, &script)
        });
        runtime.shutdown_background();
        let calls = aws.calls.lock().unwrap().clone();
        let approvals = asked.facts.lock().unwrap().clone();
        let seconds = cloud.clock.now().as_second() - begun.as_second();
        Seen { result: result.and_then(|result| result), events: record.events(), sources, calls, seconds, approvals }
    }
}

struct StageAws {
    answers: Arc<Answers>,
    hangs: bool,
    live: bool,
    calls: Mutex<Vec<(String, Value)>>,
}

impl Aws for StageAws {
    fn call<'a>(
        &'a self,
        _: &'a Target,
        operation: &'static Operation,
        input: &'a Value,
    ) -> Future<'a, Result<Value, CallError>> {
        Box::pin(async move {
            self.calls.lock().unwrap().push((operation.to_string(), input.clone()));
            if operation.name == "get_caller_identity" {
                return Ok(json!({
                    "account": "123456789012",
                    "arn": "arn:aws:iam::123456789012:user/ana",
                    "user_id": "AIDA",
                }));
            }
            if self.hangs {
                std::future::pending::<()>().await;
            }
            (self.answers)(operation, input)
        })
    }

    fn region<'a>(&'a self, target: &'a Target) -> Future<'a, Result<String>> {
        Box::pin(async move { Ok(target.region.clone().unwrap_or_else(|| "us-west-2".to_owned())) })
    }

    fn token<'a>(&'a self, _: &'a Target, _: &'a str) -> Future<'a, Result<(Secret, Timestamp)>> {
        Box::pin(async { Err(Error::failed("no tokens on this stage")) })
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

struct NoKube;

impl Kube for NoKube {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> Future<'a, Result<kube::Client>> {
        Box::pin(async { Err(Error::failed("no Kubernetes on this stage")) })
    }
}

/// Milliseconds since the beginning of 2026; sleeping moves it at once.
#[derive(Default)]
struct StageClock(AtomicI64);

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_767_225_600_000 + self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn sleep_until<'a>(&'a self, time: Timestamp) -> Future<'a, ()> {
        Box::pin(async move {
            let pause = time.as_millisecond() - self.now().as_millisecond();
            self.0.fetch_add(pause.max(0), Ordering::Relaxed);
            // Gives a cancellation the chance to be seen.
            tokio::time::sleep(Duration::from_micros(50)).await;
        })
    }
}

#[derive(Default)]
struct Asked {
    refuse: bool,
    facts: Mutex<Vec<Vec<(String, String)>>>,
}

impl Approve for Asked {
    fn approve(&self, facts: &[(String, String)]) -> Result<()> {
        self.facts.lock().unwrap().push(facts.to_vec());
        if self.refuse { Err(Error::refused("the operator did not agree")) } else { Ok(()) }
    }
}

/// A block of documentation with the imports that it takes for granted.
pub fn with_imports(text: &str) -> String {
    if text.starts_with("//!") {
        return text.to_owned();
    }
    let names = ekskit::engine::import::embedded_names();
    let imports =
        names.filter(|name| text.contains(&format!("{name}::")) && !text.contains(&format!("import \"{name}\"")));
    let imports: String = imports.map(|name| format!("import \"{name}\" as {name};")).collect();
    format!("{imports} {text}")
}
