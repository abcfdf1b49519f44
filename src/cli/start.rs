//! From flags to a session, and from its end to output and exit code: what `run` and `eval` share.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::SessionFlags;
use super::rehearsal::{self, Rehearsal};
use crate::cloud::{Cloud, Endpoint, live};
use crate::engine::params::{self, Given};
use crate::engine::{Interpreter, Script, on_big_stack};
use crate::error::{Error, Exit, Result};
use crate::event::{Events, Sink};
use crate::project::Project;
use crate::report::Report;
use crate::session::{Approve, Cancel, Mode, Session, Setup, live_run_id};
use crate::sources::Sources;
use crate::ui::{self, Format, Progress, Prompt, Style};

/// A session with everything around it.
pub struct Started {
    /// The session.
    pub session: Arc<Session>,
    /// Texts for excerpts.
    pub sources: Sources,
    /// What it did.
    pub report: Arc<Report>,
    /// The simulated cloud, where there is one.
    pub rehearsal: Option<Rehearsal>,
    /// Drives the futures; ends when dropped.
    pub runtime: Runtime,
}

/// The runtime that calls run on.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("no runtime: {error}")))
}

/// The real cloud, with one TLS provider chosen: two are compiled in by way of dependencies.
pub fn live_cloud(region: Option<String>) -> Cloud {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    live::cloud(region)
}

/// How a session meets the operator.
pub struct Front {
    /// Who hears of what happens, beside the report.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// How the operator is asked.
    pub approve: Arc<dyn Approve>,
    /// How it ends early.
    pub cancel: Cancel,
    /// Changes of a rehearsal are asked for as well.
    pub asks_in_rehearsals: bool,
}

/// Starts a session for the scripts of a folder.
pub fn start(flags: &SessionFlags, folder: &Path, kubeconfig_by_default: bool, style: Style) -> Result<Started> {
    let cancel = Cancel::default();
    let front = Front {
        sinks: vec![Arc::new(Progress::new(style))],
        approve: Arc::new(Prompt),
        cancel: cancel.clone(),
        asks_in_rehearsals: false,
    };
    let started = start_with(flags, folder, kubeconfig_by_default, front)?;
    watch_for_the_end(&started.runtime, cancel, flags.timeout);
    Ok(started)
}

/// Starts a session that meets the operator in this way.
pub fn start_with(flags: &SessionFlags, folder: &Path, kubeconfig_by_default: bool, front: Front) -> Result<Started> {
    let project = Project::of(folder)?;
    let rehearsal = rehearsal::of(flags)?;
    let runtime = runtime()?;
    let report = Arc::new(Report::default());
    let mut sinks = front.sinks;
    sinks.push(report.clone());
    let kubeconfig = match (&flags.kubeconfig, &flags.context) {
        (None, None) if !kubeconfig_by_default => None,
        (path, context) => Some(Endpoint::Kubeconfig { path: path.clone(), context: context.clone() }),
    };
    let (cloud, run) = match &rehearsal {
        Some(rehearsal) => (rehearsal.twin.cloud(), rehearsal.run.clone()),
        None => (live_cloud(project.settings.region.clone()), live_run_id()),
    };
    let session = Session::new(Setup {
        cloud,
        mode: Mode {
            read_only: flags.read_only,
            assume_yes: flags.yes || rehearsal.is_some() && !front.asks_in_rehearsals,
        },
        events: Events::to(sinks),
        cancel: front.cancel,
        run,
        project,
        target: flags.target.target(),
        kubeconfig,
        approve: front.approve,
        runtime: runtime.handle().clone(),
    });
    Ok(Started { session, sources: Sources::default(), report, rehearsal, runtime })
}

/// Ctrl-C ends the session, a second one the program; so does the time limit.
fn watch_for_the_end(runtime: &Runtime, cancel: Cancel, timeout: Option<std::time::Duration>) {
    if let Some(limit) = timeout {
        let cancel = cancel.clone();
        runtime.spawn(async move {
            tokio::time::sleep(limit).await;
            let limit = crate::value::format_duration(limit);
            cancel.cancel(
                Error::timeout(format!("the run did not end within {limit}")).hint("give it longer with `--timeout`"),
            );
        });
    }
    runtime.spawn(async move {
        while interrupted().await {
            if cancel.is_cancelled() {
                ui::exit_now(Exit::Cancelled);
            }
            ui::note("cancelling: a change in flight gets 30 seconds; Ctrl-C again ends at once");
            cancel.cancel(Error::cancelled());
        }
    });
}

/// Waits for Ctrl-C or SIGTERM; false where the system tells of none.
#[cfg(unix)]
pub(super) async fn interrupted() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        biased;
        got = interrupt.recv() => got.is_some(),
        got = terminate.recv() => got.is_some(),
    }
}

#[cfg(not(unix))]
pub(super) async fn interrupted() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}

/// What was given for the inputs.
pub fn given(flags: &SessionFlags) -> Result<Given> {
    let mut given = Given::default();
    for path in &flags.values {
        given.files.push((path.display().to_string(), read_values(path)?));
    }
    for pair in &flags.set {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Error::usage(format!("`--set {pair}` has no value")).hint(format!("write `--set {pair}=VALUE`"))
        })?;
        given.sets.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(given)
}

fn read_values(path: &Path) -> Result<serde_json::Map<String, Value>> {
    let shown = path.display();
    match crate::bindings::data::parse_yaml(&crate::file::read_named(path)?) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(serde_json::Map::new()),
        Ok(other) => {
            Err(Error::usage(format!("`{shown}` is a map of input → value, found {}", crate::value::describe(&other))))
        }
        Err(error) => Err(Error::usage(format!("`{shown}`: {error}"))),
    }
}

/// Compiles, checks the inputs, runs, prints, and answers the exit code.
pub fn go(started: Started, source: &str, text: &str, given: &Given, format: Format, style: Style) -> Exit {
    let Started { session, sources, report, rehearsal, runtime } = started;
    let begun = session.cloud.clock.now();
    let result = on_big_stack(|| {
        let interpreter = Interpreter::for_script(&session, &sources, text)?;
        let script = interpreter.compile(source, text)?;
        // A lone call that is typed tells all that is wrong with it by itself, and nothing happens before it does.
        if !source.is_empty() || !script.is_one_call() {
            interpreter.refuse_certain(&script)?;
        }
        session.set_inputs(params::resolve(&script.inputs, given)?);
        let value = interpreter.run(&script)?;
        interpreter.to_json(&value)
    })
    .and_then(|result| result)
    // A script that was over by the time the cancellation was seen is cancelled all the same.
    .and_then(|value| if session.cancel.is_cancelled() { Err(session.cancel.reason()) } else { Ok(value) });
    let result = rehearsal::ended(result, rehearsal.as_ref().map_or(Ok(()), Rehearsal::finish));
    if let Some(rehearsal) = &rehearsal {
        report.rehearsed(session.cloud.clock.since(begun), rehearsal.twin.critical_path(begun));
        ui::note(&report.rehearsal());
    }
    // A call that was given up must not keep the program alive.
    runtime.shutdown_background();
    match result {
        Ok(value) => {
            print_result(&session, &report, value, format);
            Exit::Done
        }
        Err(error) => {
            print_error(&session, &report, &error, &sources, format, style);
            error.exit()
        }
    }
}

fn print_result(session: &Session, report: &Report, value: Value, format: Format) {
    match format {
        Format::Text => ui::value(&value),
        Format::Json => {
            let mut document = json!({ "run": session.run });
            document["result"] = value;
            report.add_to(&mut document);
            ui::document(&document);
        }
    }
}

fn print_error(session: &Session, report: &Report, error: &Error, sources: &Sources, format: Format, style: Style) {
    ui::error(error, sources, style);
    if format == Format::Json {
        let mut document = json!({ "error": error.to_json(), "run": session.run });
        report.add_to(&mut document);
        ui::document(&document);
    }
}

/// An error of a command that has no session.
pub fn report_error(error: &Error, sources: &Sources, format: Format, style: Style) {
    ui::error(error, sources, style);
    if format == Format::Json {
        ui::document(&json!({ "error": error.to_json() }));
    }
}

/// Only for looking at scripts: nothing is sent, nobody is asked.
pub fn offline() -> Result<(Runtime, Arc<Session>)> {
    let runtime = runtime()?;
    let session = Session::new(Setup {
        cloud: live_cloud(None),
        mode: Mode { read_only: true, assume_yes: false },
        events: Events::default(),
        cancel: Cancel::default(),
        run: live_run_id(),
        project: Project::default(),
        target: Default::default(),
        kubeconfig: None,
        approve: Arc::new(Prompt),
        runtime: runtime.handle().clone(),
    });
    Ok((runtime, session))
}

/// Compiles a script without a session of its own, for `--help`.
pub fn look_at(source: &str, text: &str) -> Result<Script> {
    let (_runtime, session) = offline()?;
    Interpreter::for_script(&session, &Sources::default(), text)?.compile(source, text)
}
