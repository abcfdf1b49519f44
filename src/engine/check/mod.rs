//! `ekskit check`: what is wrong with a script, told without running it.
//!
//! The engine parses; everything else is a walk over its tree ([`walk`]) with the rules beside it, one file a family.
//! A finding is as sure as its rule says ([`rules::Weight`]): what is refused or certain stops a script before it
//! starts, so these rules stay silent wherever only a run can tell.

mod allow;
mod calls;
mod effects;
mod flow;
mod inputs;
mod known;
mod names;
pub mod parsed;
pub mod rules;
mod shape;
mod steps;
mod syntax;
mod walk;

use rhai::{AST, Engine, Stmt};
use serde_json::{Value, json};

pub use self::known::{Builtins, Module, Role};
use self::known::{Known, Modules};
use self::rules::{Rule, Weight};
use self::walk::Walk;
use super::import::{Compiled, Finder};
use super::names::Names;
use super::{fault, import};
use crate::bindings;
use crate::error::{Error, Result, count};

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// The words and the place.
    pub error: Error,
}

impl Finding {
    /// As `ekskit check --output json` prints it.
    pub fn to_json(&self) -> Value {
        let facts = self.error.facts();
        let at = facts.at.as_ref();
        json!({
            "rule": self.rule.name,
            "severity": self.rule.weight.severity(),
            "message": facts.message,
            "notes": facts.notes,
            "hint": facts.hint,
            "file": at.map(|at| &at.source),
            "line": at.map(|at| at.line),
            "column": at.map(|at| at.column),
        })
    }

    /// Whether it is more than a warning.
    pub fn is_error(&self) -> bool {
        self.rule.weight != Weight::Warning
    }
}

/// What all checks of one engine share.
#[derive(Default)]
pub struct Ground {
    /// Functions without a namespace.
    pub builtins: Builtins,
    /// Finds modules.
    pub finder: Finder,
    /// What can be called, for suggestions.
    pub names: Names,
    /// Modules that are compiled already.
    pub compiled: Compiled,
}

impl Ground {
    /// For the scripts of one project.
    pub fn of(finder: Finder) -> Ground {
        let names = Names {
            bindings: bindings::all().collect(),
            modules: import::embedded_names().map(str::to_owned).collect(),
        };
        Ground { finder, names, ..Ground::default() }
    }
}

/// Checks scripts of one project.
pub struct Checker<'e> {
    /// Parses scripts that read names which do not exist.
    lenient: Engine,
    /// Parses scripts as they are run.
    strict: &'e Engine,
    ground: Ground,
    modules: Modules,
}

impl<'e> Checker<'e> {
    /// `lenient` parses scripts whose names do not all exist; `strict` is the engine that would run them.
    pub fn new(lenient: Engine, strict: &'e Engine, ground: Ground) -> Checker<'e> {
        Checker { lenient, strict, ground, modules: Modules::default() }
    }

    /// Everything that is wrong with a text, in the order of its lines. `role`: what it is for, where that is known.
    pub fn text(&self, source: &str, text: &str, role: Option<Role>) -> Vec<Finding> {
        let text = super::without_mark(text);
        let ast = match syntax::parse(&self.lenient, source, text) {
            Ok(ast) => ast,
            Err(findings) => return sorted(findings),
        };
        let module = Module::new(source, text, ast, role);
        let mut known = Known::new(&self.lenient, self.strict, &self.ground, self.modules.clone());
        known.has_assertions = module.is_test();
        let mut found = walk(&module, &known);
        let is_unknown = |finding: &Finding| finding.rule.weight == Weight::Refused;
        if !found.iter().any(is_unknown)
            && let Err(failure) = self.strict.compile(text)
        {
            found.push(syntax::finding(source, &failure.0, failure.1));
        }
        let mut found = allow::apply(source, text, found);
        if module.role == Role::Snippet {
            found.retain(Finding::is_error);
        }
        sorted(found)
    }
}

/// Refuses a compiled script that would silently do something else than it seems to. Looks at no other script.
pub fn refuse(engine: &Engine, ground: &Ground, source: &str, text: &str, ast: &AST) -> Result<()> {
    let module = Module::new(source, text, ast.clone(), Some(Role::Module));
    let known = Known::alone(engine, ground);
    let mut found = walk(&module, &known);
    found.retain(|finding| finding.rule.weight == Weight::Refused);
    refusal(&sorted(found))
}

/// Refuses a compiled script that can not work, for what is wrong in it or in the project's modules that it imports.
pub fn refuse_certain(engine: &Engine, ground: &Ground, source: &str, text: &str, ast: &AST) -> Result<()> {
    let module = Module::new(source, text, ast.clone(), None);
    let mut known = Known::new(engine, engine, ground, Modules::default());
    known.has_assertions = module.is_test();
    let mut found = errors(&module, &known);
    for module in known.project_modules(&module) {
        found.extend(errors(&module, &known));
    }
    refusal(&found)
}

/// Refuses a compiled line as [`refuse`] refuses a script. `outer`: variables of the lines before it. What does not
/// exist is left to the engine, which knows what those lines imported.
pub fn refuse_line(
    engine: &Engine,
    ground: &Ground,
    source: &str,
    text: &str,
    ast: &AST,
    outer: &[&str],
) -> Result<()> {
    let module = Module::new(source, text, ast.clone(), Some(Role::Module));
    let known = Known::alone(engine, ground);
    let mut found = walk_after(&module, &known, outer);
    let absent = [&rules::UNKNOWN_VARIABLE, &rules::UNKNOWN_MODULE, &rules::UNRESOLVED_IMPORT].map(|rule| rule.name);
    found.retain(|finding| finding.rule.weight == Weight::Refused && !absent.contains(&finding.rule.name));
    refusal(&sorted(found))
}

/// The variables of other statements that a statement changes, also by a closure in it.
pub fn changed_outside(engine: &Engine, ground: &Ground, source: &str, ast: &AST, stmt: &Stmt) -> Vec<String> {
    let alone = AST::new([stmt.clone()], ast.shared_lib().clone());
    let module = Module::new(source, "", alone, Some(Role::Module));
    let known = Known::alone(engine, ground);
    let mut walk = Walk::new(&module, &known, None);
    walk.script();
    walk.learned.outside.into_iter().collect()
}

/// Whether a statement may end the script, or the function that it stands in, before its end.
pub fn returns(statement: &Stmt) -> bool {
    flow::returns(statement)
}

/// Both walks over a script.
fn walk(module: &Module, known: &Known<'_>) -> Vec<Finding> {
    walk_after(module, known, &[])
}

/// Both walks over a script that knows variables of others.
fn walk_after(module: &Module, known: &Known<'_>, outer: &[&str]) -> Vec<Finding> {
    let mut first = Walk::new(module, known, None);
    first.knows(outer);
    first.script();
    let learned = first.learned;
    let mut second = Walk::new(module, known, Some(&learned));
    second.knows(outer);
    second.taken_methods();
    second.script();
    second.unused_functions();
    second.unused_inputs();
    second.mutations_outside_steps();
    second.found
}

fn errors(module: &Module, known: &Known<'_>) -> Vec<Finding> {
    let mut found = allow::apply(&module.source, &module.text, walk(module, known));
    found.retain(Finding::is_error);
    sorted(found)
}

fn sorted(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| finding.error.facts().at.as_ref().map(|at| (at.line, at.column)));
    found
}

/// `line 4: …`
fn in_one_line(finding: &Finding) -> String {
    let at = finding.error.facts().at.as_ref();
    let place = at.map_or_else(String::new, |at| match at.source.as_str() {
        "" => format!("line {}: ", at.line),
        source => format!("{source}:{}: ", at.line),
    });
    format!("{place}{}", finding.error)
}

/// So many mistakes are told beside the first.
const MORE_SHOWN_MAX: usize = 4;

/// What a script with these findings is refused with, where there is an error among them.
pub fn refusal(findings: &[Finding]) -> Result<()> {
    let line_of = |finding: &Finding| finding.error.facts().at.as_ref().map(|at| (at.source.clone(), at.line));
    let mut more: Vec<&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    let Some(line) = more.first().map(|first| line_of(first)) else { return Ok(()) };
    // Of the mistakes of one line the one whose remedy is known is told first.
    let told = more.iter().position(|finding| line_of(finding) == line && finding.error.facts().hint.is_some());
    let first = more.remove(told.unwrap_or(0));
    let mut error = first.error.clone();
    if !more.is_empty() {
        let mut said: Vec<String> = more.iter().take(MORE_SHOWN_MAX).map(|finding| in_one_line(finding)).collect();
        if more.len() > MORE_SHOWN_MAX {
            let hidden = count("mistake", more.len() - MORE_SHOWN_MAX);
            said.push(format!("{hidden} more, which `ekskit check` shows"));
        }
        error.facts_mut().notes.insert(0, format!("also {}", said.join("; ")));
    }
    let more = more.into_iter().map(Finding::to_json).collect();
    Err(error.with("rule", json!(first.rule.name)).with("more", Value::Array(more)))
}
