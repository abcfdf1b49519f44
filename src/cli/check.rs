//! `ekskit check PATH…`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::start;
use crate::diagnostic;
use crate::engine::check::{Checker, Finding, rules};
use crate::engine::{Interpreter, on_big_stack};
use crate::error::{Error, Exit, Place, Result, count};
use crate::file::folder_of;
use crate::project::Project;
use crate::sources::Sources;
use crate::ui::{self, Format, Style};

/// Flags of `check`.
#[derive(Args, Debug)]
#[command(after_help = "A line is excused by `// ekskit:allow(RULE)` on it or above it.\n\
    Exit code 1 where there are errors; warnings alone are 0, unless denied.")]
pub struct Flags {
    /// Scripts, and folders of scripts
    #[arg(value_name = "PATH", required_unless_present = "rules")]
    paths: Vec<PathBuf>,
    /// Lists the rules
    #[arg(long)]
    rules: bool,
    /// Warnings count as errors
    #[arg(long)]
    deny_warnings: bool,
}

/// More warnings than this bury the errors among them.
const WARNINGS_SHOWN_MAX: usize = 200;

/// Runs the command.
pub fn main(flags: &Flags, format: Format, style: Style) -> Result<Exit> {
    if flags.rules {
        show_rules(format);
        return Ok(Exit::Done);
    }
    let files = files(&flags.paths)?;
    let sources = Sources::default();
    let findings = on_big_stack(|| check(&files, &sources))??;
    let fails = |finding: &Finding| flags.deny_warnings || finding.is_error();
    match format {
        Format::Json => {
            let list: Vec<Value> = findings.iter().map(Finding::to_json).collect();
            ui::document(&json!({ "files": files.len(), "findings": list }));
        }
        Format::Text => ui::findings(&report(&findings, &files, &sources, style), style),
    }
    Ok(if findings.iter().any(fails) { Exit::Failed } else { Exit::Done })
}

fn check(files: &BTreeSet<PathBuf>, sources: &Sources) -> Result<Vec<Finding>> {
    let (_runtime, session) = start::offline()?;
    let interpreter = Interpreter::new(&session, sources)?;
    let mut checkers: BTreeMap<Option<PathBuf>, Checker<'_>> = BTreeMap::new();
    let mut found = Vec::new();
    for file in files {
        let source = file.display().to_string();
        let text = match read(file, &source) {
            Ok(text) => text,
            Err(error) => {
                found.push(Finding { rule: &rules::SYNTAX, error });
                continue;
            }
        };
        let project = Project::of(folder_of(file))?;
        let checker = match checkers.entry(project.root.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(interpreter.checker(&project)?),
        };
        sources.insert(&source, &text);
        found.extend(checker.text(&source, &text, None));
    }
    Ok(found)
}

/// The text of a script; the error has the place of what is no text.
fn read(file: &Path, source: &str) -> Result<String> {
    let bytes = std::fs::read(file)
        .map_err(|error| Error::usage(format!("file `{source}` can not be read: {error}")))
        .map_err(|error| at(error, source, 0))?;
    String::from_utf8(bytes).map_err(|broken| {
        let (bytes, good) = (broken.as_bytes(), broken.utf8_error().valid_up_to());
        let line = bytes[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
        let error = Error::invalid(format!("file `{source}` is not UTF-8 text"))
            .note(format!("byte {good} is no part of a letter"))
            .hint("save the file as UTF-8");
        at(error, source, line)
    })
}

fn at(mut error: Error, source: &str, line: usize) -> Error {
    error.facts_mut().at = Some(Place { source: source.to_owned(), line, column: 0 });
    error
}

/// The scripts that paths name. A folder stands for all scripts in it, hidden folders left out.
fn files(paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for path in paths {
        let shown = path.display();
        if path.is_dir() {
            let mut inside = BTreeSet::new();
            collect(path, &mut BTreeSet::new(), &mut inside)?;
            if inside.is_empty() {
                return Err(
                    Error::usage(format!("folder `{shown}` has no scripts")).note("a script's name ends with `.rhai`")
                );
            }
            found.extend(inside);
        } else if path.exists() {
            found.insert(path.clone());
        } else {
            return Err(Error::usage(format!("`{shown}` does not exist")));
        }
    }
    Ok(found)
}

/// Links may lead in a circle, so every real folder is entered once.
fn collect(folder: &Path, entered: &mut BTreeSet<PathBuf>, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let unreadable =
        |error: std::io::Error| Error::usage(format!("folder `{}` can not be read: {error}", folder.display()));
    if !entered.insert(folder.canonicalize().map_err(unreadable)?) {
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden {
            collect(&path, entered, found)?;
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == "rhai") {
            found.insert(path);
        }
    }
    Ok(())
}

fn report(findings: &[Finding], files: &BTreeSet<PathBuf>, sources: &Sources, style: Style) -> String {
    let mut text = String::new();
    // Errors are never left out: they decide whether the script starts.
    let mut warnings_left = WARNINGS_SHOWN_MAX;
    let mut left_out = 0;
    for finding in findings {
        if !finding.is_error() {
            if warnings_left == 0 {
                left_out += 1;
                continue;
            }
            warnings_left -= 1;
        }
        let (word, label) = (finding.rule.weight.severity(), finding.rule.name);
        text.push_str(&diagnostic::render_as(word, label, &finding.error, sources, style.verbose));
        text.push('\n');
    }
    if left_out > 0 {
        text.push_str(&format!("… and {} more; `--output json` shows all of them\n\n", count("warning", left_out)));
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    let files = count("script", files.len());
    match (errors, warnings) {
        (0, 0) => format!("{files}: nothing wrong\n"),
        _ => format!("{text}{files}: {}, {}\n", count("error", errors), count("warning", warnings)),
    }
}

fn show_rules(format: Format) {
    if format == Format::Json {
        let list = rules::ALL.iter().map(|rule| {
            json!({
                "name": rule.name,
                "severity": rule.weight.severity(),
                "allowed": rule.weight != rules::Weight::Refused,
                "refused_by_run": rule.weight != rules::Weight::Warning,
                "doc": rule.doc,
                "example": rule.example,
            })
        });
        return ui::document(&Value::Array(list.collect()));
    }
    let width = rules::names().map(str::len).max().unwrap_or(0);
    let titles = [
        (rules::Weight::Refused, "Errors that can not be allowed: no script with them starts."),
        (rules::Weight::Certain, "Errors: `run` and `eval` refuse such a script before anything happens."),
        (rules::Weight::Warning, "Warnings: only `check` tells them."),
    ];
    let mut text = String::new();
    for (weight, title) in titles {
        text.push_str(&format!("{title}\n"));
        for rule in rules::ALL.iter().filter(|rule| rule.weight == weight) {
            text.push_str(&format!("  {:width$}  {}\n", rule.name, rule.doc));
        }
        text.push('\n');
    }
    ui::result(text.trim_end());
}
