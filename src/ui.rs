//! The only module that prints. Results go to standard output, everything else to standard error.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Mutex;

use serde_json::Value;

use crate::catalog::page::Look;
use crate::diagnostic;
use crate::error::{Error, Exit, Result};
use crate::event::{Effect, Event, Level, Sink};
use crate::session::{Approve, nobody_to_ask, not_agreed};
use crate::sources::Sources;
use crate::value::format_duration;

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Prints a line to standard output. A reader that has gone away is no error.
pub fn result(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// Prints a result value for people: a text as it is, anything else as indented JSON, nothing for `()`.
pub fn value(value: &Value) {
    match value {
        Value::Null => {}
        Value::String(text) => result(text),
        other => document(other),
    }
}

/// Prints one JSON document, indented, without building the whole text first: it may hold ten thousand objects.
pub fn document(value: &Value) {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let _ =
        serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from).and_then(|()| out.write_all(b"\n"));
    let _ = out.flush();
}

/// Prints findings to standard output, in colour where that helps.
pub fn findings(text: &str, style: Style) {
    let color = style.color && std::io::stdout().is_terminal();
    result(&if color { colored(text) } else { text.to_owned() });
}

/// Prints an error to standard error, in colour where that helps.
pub fn error(error: &Error, sources: &Sources, style: Style) {
    let text = diagnostic::render(error, sources, style.verbose);
    tell(&if style.color { colored(&text) } else { text });
}

/// Prints a line to standard error.
pub fn note(text: &str) {
    tell(&format!("{text}\n"));
}

/// Writes to standard error. A reader that has gone away must not end a run half-way.
fn tell(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Red `error:`, blue `hint:`.
fn colored(text: &str) -> String {
    let paint = |line: &str| {
        for (word, code) in [("error:", "1;31"), ("warning:", "1;33"), ("note:", "1"), ("hint:", "1;34")] {
            if let Some(rest) = line.strip_prefix(word) {
                return format!("\x1b[{code}m{word}\x1b[0m{rest}\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().map(paint).collect()
}

/// How standard error looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Every call and every frame.
    pub verbose: bool,
    /// Escape codes.
    pub color: bool,
    /// Standard output holds one JSON document, so what scripts print goes to standard error.
    pub json: bool,
}

impl Style {
    /// From the flags and the terminal.
    pub fn new(verbose: bool, no_color: bool, json: bool) -> Style {
        Style { verbose, json, color: !colors_forbidden(no_color) && std::io::stderr().is_terminal() }
    }
}

fn colors_forbidden(no_color: bool) -> bool {
    no_color
        || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// Columns of a page that goes to a file or a pipe.
const PAGE_WIDTH: usize = 100;

/// How a page on standard output looks: as wide as the terminal, in colour only on one.
pub fn look(no_color: bool) -> Look {
    let width =
        terminal_size::terminal_size_of(std::io::stdout()).map_or(PAGE_WIDTH, |(width, _)| usize::from(width.0));
    Look { width, color: !colors_forbidden(no_color) && std::io::stdout().is_terminal() }
}

/// Tells an operator what happens while it happens.
pub struct Progress {
    style: Style,
    /// One line at a time, also from branches; and below them what is being done just now, redrawn in place.
    status: Mutex<Option<String>>,
}

impl Progress {
    /// With this style.
    pub fn new(style: Style) -> Progress {
        Progress { style, status: Mutex::new(None) }
    }

    /// How it looks.
    pub fn style(&self) -> Style {
        self.style
    }

    fn say(&self, text: &str) {
        let status = self.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*status {
            Some(status) => tell(&format!("\r\x1b[K{text}\n{status}")),
            None => tell(&format!("{text}\n")),
        }
    }

    /// What the script prints; it goes to standard output.
    fn print(&self, text: &str) {
        let status = self.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let cleared = status.as_ref().map(|_| tell("\r\x1b[K"));
        result(text);
        if let (Some(()), Some(status)) = (cleared, &*status) {
            tell(status);
        }
    }

    /// Shows what is being done just now in a line that is redrawn in place, or takes it away. For terminals only.
    pub fn show_status(&self, text: Option<&str>) {
        let mut status = self.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if status.is_none() && text.is_none() {
            return;
        }
        let width = terminal_width().saturating_sub(1);
        let text: Option<String> = text.map(|text| text.chars().take(width).collect());
        tell(&format!("\r\x1b[K{}", text.as_deref().unwrap_or_default()));
        *status = text;
    }
}

/// Columns of the terminal; 80 where there is none.
pub fn terminal_width() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns).max(10))
}

/// Whether a person sits in front of both ends, at a terminal that can move its cursor.
pub fn is_interactive() -> bool {
    on_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a person sits in front of both ends.
pub fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// What the operator answered to a question about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This one.
    Yes,
    /// Not this one.
    No,
    /// This one and all others of the line.
    All,
}

/// Shows facts and asks with one key; `is_over` tells when nobody waits for the answer any more.
pub fn ask(facts: &[(String, String)], style: Style, is_over: impl Fn() -> bool) -> Answer {
    let bold = |text: &str| if style.color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    tell_facts(facts);
    tell(&bold("Change it? [y]es, [N]o, [a]ll of this line: "));
    let _ = std::io::stderr().flush();
    let answer = if is_interactive() { key(is_over) } else { line_answer() };
    let word = match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::All => "all",
    };
    if is_interactive() {
        tell(&format!("{word}\n"));
    }
    answer
}

fn tell_facts(facts: &[(String, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        tell(&format!("  {name:width$}  {value}\n"));
    }
}

fn line_answer() -> Answer {
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "a" | "all" => Answer::All,
        _ => Answer::No,
    }
}

/// One key, without Enter. In raw mode, because a line that is read could not be interrupted.
fn key(is_over: impl Fn() -> bool) -> Answer {
    use crossterm::event::{Event as Input, KeyCode, KeyEventKind, poll, read};
    if crossterm::terminal::enable_raw_mode().is_err() {
        return line_answer();
    }
    let answer = loop {
        if is_over() {
            break Answer::No;
        }
        match poll(std::time::Duration::from_millis(50)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => break Answer::No,
        }
        match read() {
            Ok(Input::Key(key)) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('y' | 'Y') => break Answer::Yes,
                KeyCode::Char('a' | 'A') => break Answer::All,
                _ => break Answer::No,
            },
            Ok(_) => {}
            Err(_) => break Answer::No,
        }
    };
    let _ = crossterm::terminal::disable_raw_mode();
    answer
}

/// Prints a prompt where there is no line editor, and reads a line; none at the end. What is no UTF-8 is replaced.
pub fn read_plain_line(prompt: &str) -> Option<String> {
    if on_terminal() {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_until(b'\n', &mut bytes);
    let ended = !matches!(read, Ok(1..));
    (!ended).then(|| String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned())
}

/// Leaves raw mode and ends the program at once, for a signal.
pub fn leave_now(exit: Exit) -> ! {
    let _ = crossterm::terminal::disable_raw_mode();
    exit_now(exit)
}

impl Sink for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::StepStarted { path } => self.say(&format!("▶ {path}")),
            Event::StepEnded { path, changed, took, error, .. } => {
                let mark = if error.is_none() { "✔" } else { "✘" };
                let what = match (error, changed) {
                    (Some(error), _) => error.kind().name().to_owned(),
                    (None, 0) => "nothing to change".to_owned(),
                    (None, changed) => crate::error::count("change", *changed),
                };
                self.say(&format!("{mark} {path}: {what}, {}", format_duration(*took)));
            }
            Event::Intent { binding, arguments, effect, .. } if self.style.verbose => {
                let mark = if *effect == Effect::Mutate { "!" } else { "·" };
                self.say(&format!("  {mark} {binding} {arguments}"));
            }
            Event::Outcome { binding, error: Some(error), .. } if self.style.verbose => {
                self.say(&format!("  ✘ {binding}: {error}"));
            }
            Event::Outcome { binding, changed: true, error: None, .. } if !self.style.verbose => {
                self.say(&format!("  ! {binding}"));
            }
            Event::Retry { binding, error, pause } => {
                self.say(&format!("  ↻ {binding} in {}: {error}", format_duration(*pause)));
            }
            Event::Waiting { subject, last } => self.say(&format!("  … {subject}: {last}")),
            Event::Message { level: Level::Info, text } => self.say(&format!("  {text}")),
            Event::Message { level: Level::Warn, text } => self.say(&format!("  warning: {text}")),
            Event::Print { text } if self.style.json => self.say(text),
            Event::Print { text } => self.print(text),
            _ => {}
        }
    }
}

/// Asks on the terminal; off one, fails with the flag to pass.
pub struct Prompt;

impl Approve for Prompt {
    fn approve(&self, facts: &[(String, String)]) -> Result<()> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            let line: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            return Err(nobody_to_ask().note(format!("it would change {}", line.join(", "))));
        }
        tell("The script is about to change:\n");
        tell_facts(facts);
        tell("Go on? Only `yes` is taken for yes: ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        if answer.trim() == "yes" { Ok(()) } else { Err(not_agreed()) }
    }
}

/// Ends the program at once: for a second Ctrl-C.
pub fn exit_now(exit: Exit) -> ! {
    std::process::exit(i32::from(exit as u8));
}
