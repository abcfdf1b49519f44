//! The prompt: the same calls as in a runbook, one line at a time, with completion and docs.
//!
//! A line passes the same choke point as a script, so read-only sessions, approval, events and cancellation are those
//! of the session. The engine lives as long as the prompt does; what a line defines, the next ones know
//! ([`crate::engine::lines`]). Where the terminal can not move its cursor, or there is none, lines are read plainly.

pub mod activity;
pub mod ask;
pub mod commands;
pub mod complete;
pub mod cursor;
pub mod editor;
pub mod highlight;
pub mod history;
pub mod library;
pub mod present;
pub mod prompt;
pub mod save;
pub mod secrecy;
pub mod table;
pub mod whole;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rhai::Dynamic;
use serde_json::Value;

use self::activity::{Activity, Ticker};
use self::ask::AskEach;
use self::commands::Next;
use self::library::Library;
use self::present::Live;
use self::save::{Entry, Item};
use crate::catalog::page;
use crate::catalog::reference::Reference;
use crate::engine::lines::{self, Line, Lines, Shape};
use crate::engine::params::Given;
use crate::engine::{Interpreter, STACK_SIZE, call, tokens};
use crate::error::{Error, Kind, Result};
use crate::file::{Readers, write_whole};
use crate::session::Session;
use crate::sources::Sources;
use crate::ui::{self, Format, Progress};
use crate::value::{self, Show};

/// What the prompt knows of a simulated world.
pub trait World: Send + Sync {
    /// How much there is of what.
    fn summary(&self) -> Result<Value>;
    /// Writes the whole of it.
    fn write(&self, file: &Path) -> Result<()>;
}

/// What a prompt is made of.
pub struct Setup {
    /// The session; it approves by `ask`.
    pub session: Arc<Session>,
    /// Texts for excerpts.
    pub sources: Sources,
    /// A sink of the session.
    pub progress: Arc<Progress>,
    /// A sink of the session.
    pub activity: Arc<Activity>,
    /// Asks before each change.
    pub ask: Arc<AskEach>,
    /// Values for scripts with inputs.
    pub given: Given,
    /// The simulated world, where there is one.
    pub world: Option<Arc<dyn World>>,
    /// How results are printed.
    pub format: Format,
    /// How long a line may run.
    pub timeout: Option<Duration>,
}

/// Who one is, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The account.
    pub account: Option<String>,
    /// The region that environment or profile name.
    pub region: Option<String>,
}

/// What the line editor and the running line both look at.
pub struct Shared {
    /// The session.
    pub session: Arc<Session>,
    /// Everything with a name.
    pub library: Library,
    /// Names that exist just now.
    pub live: Arc<Live>,
    lines: Mutex<Lines>,
    facts: Mutex<Facts>,
    running: AtomicBool,
}

impl Shared {
    /// What was typed so far. Held while a line runs.
    pub fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Who one is.
    pub fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn set_facts(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// Ctrl-C came as a signal: it stops the line that runs, and pressed again does not even wait for a change in
    /// flight. Answers `false` where nothing ran that it could stop.
    pub fn interrupt(&self) -> bool {
        if !self.running.load(Ordering::Relaxed) {
            return false;
        }
        if self.session.cancel.is_cancelled() {
            self.session.cancel.at_once();
        } else {
            self.session.cancel.cancel(Error::cancelled());
        }
        true
    }
}

/// How a result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As fits the terminal.
    Table,
    /// All of it.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The prompt.
pub struct Repl {
    shared: Arc<Shared>,
    sources: Sources,
    progress: Arc<Progress>,
    activity: Arc<Activity>,
    ask: Arc<AskEach>,
    given: Given,
    world: Option<Arc<dyn World>>,
    format: Format,
    timeout: Option<Duration>,
    building: Option<JoinHandle<Result<Interpreter>>>,
    reading: Option<JoinHandle<Result<()>>>,
    interpreter: Option<Interpreter>,
    entries: Vec<Entry>,
    /// What was written where.
    saved: BTreeMap<PathBuf, String>,
    begun: Timestamp,
    last_took: Duration,
}

impl Repl {
    /// Begins to build the engine and to read the docs, and returns at once.
    pub fn new(setup: Setup) -> Result<Repl> {
        let session = setup.session;
        let shared = Arc::new(Shared {
            library: Library::default(),
            live: Live::new(&session),
            lines: Mutex::default(),
            facts: Mutex::default(),
            running: AtomicBool::new(false),
            session: session.clone(),
        });
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE);
        let no_thread = |error: std::io::Error| Error::failed(format!("no thread for the prompt: {error}"));
        let (own, sources) = (session.clone(), setup.sources.clone());
        let building = thread("engine").spawn(move || Interpreter::new(&own, &sources)).map_err(no_thread)?;
        let own = shared.clone();
        let reading = thread("docs").spawn(move || own.library.read(&own.session.project)).map_err(no_thread)?;
        let own = shared.clone();
        thread("identity").spawn(move || look_around(&own)).map_err(no_thread)?;
        Ok(Repl {
            begun: session.cloud.clock.now(),
            shared,
            sources: setup.sources,
            progress: setup.progress,
            activity: setup.activity,
            ask: setup.ask,
            given: setup.given,
            world: setup.world,
            format: setup.format,
            timeout: setup.timeout,
            building: Some(building),
            reading: Some(reading),
            interpreter: None,
            entries: Vec::new(),
            saved: BTreeMap::new(),
            last_took: Duration::ZERO,
        })
    }

    /// What the line editor looks at.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a line: code, or a command. Errors are shown; answers whether all went well, and what comes next.
    pub fn line(&mut self, text: &str) -> (bool, Next) {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return (true, Next::Prompt);
        }
        let done = match trimmed.strip_prefix(':') {
            Some(command) => commands::run(self, command),
            None => self.evaluate(text, Form::Table).map(|()| Next::Prompt),
        };
        match done {
            Ok(next) => (true, next),
            Err(error) => {
                self.fail(&error);
                (false, Next::Prompt)
            }
        }
    }

    fn fail(&self, error: &Error) {
        if error.kind() == Kind::Cancelled && error.facts().at.is_none() {
            ui::note("cancelled");
        } else {
            ui::error(error, &self.sources, self.progress.style());
        }
        if self.format == Format::Json {
            ui::document(&serde_json::json!({ "error": error.to_json() }));
        }
    }

    /// Runs code and shows its value.
    pub fn evaluate(&mut self, text: &str, form: Form) -> Result<()> {
        let session = self.shared.session.clone();
        session.cancel.renew();
        self.ask.begin_line();
        self.activity.begin_line();
        let begun = session.cloud.clock.now();
        let limit = self.timeout.map(|timeout| time_limit(&session, timeout));
        self.shared.running.store(true, Ordering::Relaxed);
        let ticker = ui::is_interactive().then(|| Ticker::start(&self.activity, &self.progress));
        // The engine is not ours: should it panic, the session goes on.
        let result = catch_unwind(AssertUnwindSafe(|| self.run(text)));
        let result = result.unwrap_or_else(|_| Err(Error::bug("the script engine panicked")));
        drop(ticker);
        self.shared.running.store(false, Ordering::Relaxed);
        drop(limit);
        self.last_took = session.cloud.clock.since(begun);
        // A line that was over by the time the cancellation was seen is cancelled all the same.
        let result = result
            .and_then(|value| if session.cancel.is_cancelled() { Err(session.cancel.reason()) } else { Ok(value) });
        session.cancel.renew();
        let value = result?;
        if !value.is_unit() {
            self.show(&value, form);
            self.shared.lines().set_last(value);
        }
        Ok(())
    }

    /// Runs a script here: what it imports may lie beside it.
    fn load(&mut self, file: &Path, text: &str) -> Result<()> {
        self.shared.lines().come_from(Some(file.display().to_string()));
        let loaded = self.evaluate(text, Form::Table);
        self.shared.lines().come_from(None);
        loaded
    }

    /// The engine, once it is built.
    fn engine(&mut self) -> Result<&mut Interpreter> {
        if let Some(building) = self.building.take() {
            let built = building.join().map_err(|_| Error::bug("the script engine could not be built"))?;
            self.interpreter = Some(built?);
        }
        self.interpreter.as_mut().ok_or_else(|| Error::bug("there is no script engine"))
    }

    /// The docs, once they are read.
    fn reference(&mut self) -> Result<&Reference> {
        if let Some(reading) = self.reading.take() {
            reading.join().map_err(|_| Error::bug("the docs could not be read"))??;
        }
        self.shared.library.reference().ok_or_else(|| Error::bug("there are no docs"))
    }

    fn run(&mut self, text: &str) -> Result<Dynamic> {
        self.engine()?;
        let Some(interpreter) = self.interpreter.as_mut() else {
            return Err(Error::bug("there is no script engine"));
        };
        let shared = self.shared.clone();
        let mut lines = shared.lines();
        import_what_is_named(interpreter, &mut lines, text)?;
        let line = interpreter.compile_line(&mut lines, text, &self.given)?;
        interpreter.define(&mut lines, &line);
        let pieces = Pieces::of(text, &line);
        self.entries.extend(pieces.functions);
        let mut value = Dynamic::UNIT;
        for (statement, piece) in line.statements.iter().zip(pieces.statements) {
            self.activity.take_changes();
            let result = interpreter.run_statement(&mut lines, statement);
            let changes = self.activity.take_changes();
            if !changes.is_empty() {
                shared.live.forget();
            }
            match result {
                Ok(ran) => {
                    value = ran.value;
                    let defined = match &statement.shape {
                        Shape::Let(name) => lines.variable(name).cloned().unwrap_or_default(),
                        _ => value.clone(),
                    };
                    note_cluster(&mut self.entries, &shared.session);
                    let item = Item {
                        text: piece.to_owned(),
                        shape: statement.shape.clone(),
                        is_step: lines::is_step(statement),
                        changes,
                        is_plain: value::to_json(&defined.flatten(), Show::Hidden).is_ok(),
                        has_value: !value.is_unit(),
                        returns: statement.returns(),
                    };
                    self.entries.extend(entry_of(item, statement.is_return(), ran.returned));
                    if ran.returned {
                        return Ok(value);
                    }
                }
                Err(error) => {
                    if !changes.is_empty() {
                        self.entries.push(Entry::Failed { text: piece.to_owned(), changes });
                    }
                    return Err(error);
                }
            }
        }
        Ok(value)
    }

    /// Shows a value.
    pub fn show(&self, value: &Dynamic, form: Form) {
        let Ok(json) = value::to_json(&value.clone().flatten(), Show::Hidden) else {
            ui::result(&complete::describe(value));
            return;
        };
        let look = table::Look {
            wide: form == Form::Wide,
            width: ui::terminal_width(),
            color: self.progress.style().color && ui::on_terminal(),
            now: self.shared.session.cloud.clock.now(),
        };
        match form {
            _ if self.format == Format::Json => ui::document(&json),
            Form::Json => ui::document(&json),
            Form::Yaml => ui::result(&serde_yaml::to_string(&json).unwrap_or_else(|_| json.to_string())),
            Form::Table | Form::Wide => {
                let text = table::show(&json, look);
                if !text.is_empty() {
                    ui::result(&text);
                }
            }
        }
    }

    /// How pages of the docs look.
    fn page_look(&self) -> page::Look {
        page::Look { width: ui::terminal_width(), color: self.progress.style().color && ui::on_terminal() }
    }

    /// A name with the module's own name instead of its alias.
    fn with_module(&self, name: &str) -> String {
        let (alias, rest) = name.split_once("::").map_or((name, None), |(alias, rest)| (alias, Some(rest)));
        let lines = self.shared.lines();
        let module = lines.imports().get(alias).cloned().unwrap_or_else(|| alias.to_owned());
        rest.map_or(module.clone(), |rest| format!("{module}::{rest}"))
    }

    /// Reads all imported modules anew; answers how many.
    fn reload(&mut self) -> Result<usize> {
        self.engine()?;
        let Some(interpreter) = self.interpreter.as_mut() else { return Ok(0) };
        let mut lines = self.shared.lines();
        interpreter.reload(&mut lines)?;
        Ok(lines.imports().len())
    }

    /// From now on bare `kube::` calls go to this cluster, if there is one of that name.
    fn use_cluster(&mut self, name: &str) -> Result<()> {
        let session = &self.shared.session;
        session.cancel.renew();
        self.shared.running.store(true, Ordering::Relaxed);
        let found = session.wait(crate::catalog::Effect::Read, session.cluster(&session.target(), name));
        self.shared.running.store(false, Ordering::Relaxed);
        found?;
        session.use_cluster(name);
        self.entries.push(Entry::Cluster(name.to_owned()));
        Ok(())
    }

    fn region(&self) -> Result<String> {
        let session = &self.shared.session;
        session.wait(crate::catalog::Effect::Pure, session.cloud.aws.region(&session.target()))
    }

    /// From now on calls go to this region.
    fn set_region(&mut self, name: &str) -> Result<()> {
        let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.len() < 8 || !name.chars().all(letters) || !name.ends_with(|letter: char| letter.is_ascii_digit()) {
            return Err(Error::invalid(format!("`{name}` is no region")).hint("write it as AWS does: `us-west-2`"));
        }
        self.shared.session.set_region(name);
        self.entries.push(Entry::Region(name.to_owned()));
        Ok(())
    }

    /// Writes the session so far as a runbook; answers what to tell.
    fn save(&mut self, file: &Path) -> Result<String> {
        if save::inputs_declared(&self.entries) > 1 {
            return Err(Error::invalid("the session declared inputs more than once, a runbook can only do so once")
                .hint("begin a new session, and load only one script with `params`"));
        }
        let about = self.about();
        let text = save::runbook(&self.entries, self.shared.lines().imports(), &about)?;
        // With an engine of its own: this one knows more than a runbook will.
        let shown = file.display().to_string();
        let sources = Sources::default();
        let other = Interpreter::for_script(&self.shared.session, &sources, &text)?;
        other.compile(&shown, &text).and_then(|script| other.refuse_certain(&script)).map_err(|error| {
            ui::error(&error, &sources, self.progress.style());
            Error::failed("the session does not make a runbook that works; nothing was written")
        })?;
        self.refuse_to_overwrite(file)?;
        write_whole(file, &text, Readers::Usual)
            .map_err(|error| Error::failed(format!("`{shown}` can not be written: {error}")))?;
        self.saved.insert(file.to_path_buf(), text.clone());
        let secret = if secrecy::has_secret(&text) { "\nwarning: it holds what looks like a secret" } else { "" };
        Ok(format!("saved as `{shown}`; run it with `ekskit run {shown}`{secret}"))
    }

    /// Only what this session wrote may be replaced, and only as long as nobody edited it.
    fn refuse_to_overwrite(&self, file: &Path) -> Result<()> {
        let shown = file.display();
        let there = match std::fs::read(file) {
            Ok(there) => there,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::refused(format!("`{shown}` exists already: {error}"))),
        };
        match self.saved.get(file) {
            Some(text) if text.as_bytes() == there => Ok(()),
            Some(_) => Err(Error::refused(format!("`{shown}` was edited since this session saved it"))
                .hint("save the session under another name")),
            None => Err(Error::refused(format!("file `{shown}` exists already, and this session did not write it"))
                .hint("save the session under another name")),
        }
    }

    fn about(&self) -> Vec<String> {
        let session = &self.shared.session;
        let now = session.cloud.clock.now().strftime("%Y-%m-%d");
        let place = if session.cloud.aws.is_live() { "" } else { " of a rehearsal" };
        vec![format!("A session{place} at the prompt, saved on {now}.")]
    }
}

/// The statements of a line as they were typed, and its functions.
struct Pieces<'t> {
    statements: Vec<&'t str>,
    functions: Vec<Entry>,
}

impl<'t> Pieces<'t> {
    fn of(text: &'t str, line: &Line) -> Pieces<'t> {
        let (functions, statements): (Vec<&str>, Vec<&str>) =
            tokens::statements(text).into_iter().partition(|piece| function(piece).is_some());
        let entry = |text: &str| function(text).map(|signature| Entry::Function { signature, text: text.to_owned() });
        let functions = functions.into_iter().filter_map(entry).collect();
        // Where the two do not agree about what a statement is, the engine is right, and the whole line is one.
        let statements = if statements.len() == line.statements.len() {
            statements
        } else {
            let mut all = vec![""; line.statements.len()];
            if let Some(last) = all.last_mut() {
                *last = text;
            }
            all
        };
        Pieces { statements, functions }
    }
}

/// What a runbook keeps of a statement that ran. A `return` ended a line here, and would end all of a runbook there: of
/// one that stands alone only its value is kept.
fn entry_of(mut item: Item, is_return: bool, returned: bool) -> Option<Entry> {
    if !is_return {
        return Some(if returned { Entry::Returned(item) } else { Entry::Ran(item) });
    }
    let word = tokens::tokens(&item.text).into_iter().find(|token| token.text(&item.text) == "return")?;
    item.text = item.text[word.span.end..].trim().to_owned();
    item.returns = false;
    (!item.text.trim_end_matches(';').is_empty()).then_some(Entry::Ran(item))
}

/// Where bare `kube::` calls go, once one was made and nobody said so: a runbook has to.
fn note_cluster(entries: &mut Vec<Entry>, session: &Session) {
    let known = entries.iter().any(|entry| matches!(entry, Entry::Cluster(_)));
    if !known
        && !session.cloud.aws.is_live()
        && let Some(name) = session.bare_label()
    {
        entries.push(Entry::Cluster(name));
    }
}

/// Name and number of parameters of a function definition.
fn function(piece: &str) -> Option<(String, usize)> {
    let all = tokens::tokens(piece);
    let mut code = all.iter().filter(|token| !matches!(token.kind, tokens::Kind::Comment { .. })).peekable();
    code.next_if(|token| token.text(piece) == "private");
    code.next_if(|token| token.text(piece) == "fn")?;
    let name = code.next()?.text(piece).to_owned();
    let params = code.skip(1).take_while(|token| token.text(piece) != ")");
    Some((name, params.filter(|token| token.kind == tokens::Kind::Word).count()))
}

/// Modules that a line names and nobody imported: at the prompt that is done for whoever types.
fn import_what_is_named(interpreter: &mut Interpreter, lines: &mut Lines, text: &str) -> Result<()> {
    let all = tokens::tokens(text);
    let imports: Vec<&str> = all
        .windows(2)
        .filter(|pair| matches!(pair[0].text(text), "as" | "import"))
        .map(|pair| pair[1].text(text))
        .collect();
    for pair in all.windows(2).filter(|pair| pair[1].text(text) == "::") {
        let name = pair[0].text(text);
        let known = lines.imports().contains_key(name) || imports.contains(&name);
        let built_in = aws_dynamic::service(name).is_some()
            || crate::bindings::all().any(|binding| binding.namespace() == name)
            || name == "global";
        if !known && !built_in && interpreter.is_module(name) {
            interpreter.import(lines, None, name, name, rhai::Position::NONE)?;
            ui::note(&format!("import \"{name}\" as {name};"));
        }
    }
    Ok(())
}

/// Ends the line after this long, unless it is dropped before.
fn time_limit(session: &Arc<Session>, timeout: Duration) -> impl Drop + use<> {
    struct Limit(tokio::task::JoinHandle<()>);
    impl Drop for Limit {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let cancel = session.cancel.clone();
    Limit(session.runtime().spawn(async move {
        tokio::time::sleep(timeout).await;
        let limit = value::format_duration(timeout);
        cancel.cancel(
            Error::timeout(format!("the line did not end within {limit}")).hint("give it longer with `--timeout`"),
        );
    }))
}

/// Asks in the background who one is and where.
fn look_around(shared: &Arc<Shared>) {
    let session = &shared.session;
    let target = session.target();
    let time = Duration::from_secs(10);
    let region = session.wait_in_background(time, session.cloud.aws.region(&target)).ok();
    shared.set_facts(|facts| facts.region = region);
    if !session.cloud.aws.is_live() {
        return;
    }
    let identity = aws_dynamic::operation("sts", "get_caller_identity")
        .and_then(|operation| call::read_in_background(session, operation, &serde_json::json!({})).ok());
    let account = identity.and_then(|identity| identity["account"].as_str().map(str::to_owned));
    shared.set_facts(|facts| facts.account = account);
}
