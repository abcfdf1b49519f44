//! Scripts that do not parse. The engine stops at the first mistake; functions after it are read without the one that
//! is wrong, so that one look tells the mistakes of all functions.

use rhai::{AST, Engine, ParseErrorType, Position};

use super::rules;
use super::{Finding, fault};
use crate::engine::isolate;

/// So many mistakes are told at most.
const MISTAKES_MAX: usize = 20;

/// The compiled script, or why it is none.
pub(super) fn parse(engine: &Engine, source: &str, text: &str) -> Result<AST, Vec<Finding>> {
    let mut rest = text.to_owned();
    let mut found: Vec<Finding> = Vec::new();
    while found.len() < MISTAKES_MAX {
        match engine.compile(&rest) {
            Ok(ast) if found.is_empty() => return Ok(ast),
            Ok(_) => break,
            Err(failure) => {
                found.push(finding(source, &failure.0, on_text(text, failure.1)));
                match without_the_function_at(&rest, failure.1) {
                    Some(shorter) => rest = shorter,
                    None => break,
                }
            }
        }
    }
    Err(found)
}

pub(super) fn finding(source: &str, kind: &ParseErrorType, at: Position) -> Finding {
    let rule = match kind {
        ParseErrorType::VariableUndefined(_) => &rules::UNKNOWN_VARIABLE,
        ParseErrorType::ModuleUndefined(_) => &rules::UNKNOWN_MODULE,
        ParseErrorType::Reserved(_) => &rules::RESERVED_WORD,
        _ => &rules::SYNTAX,
    };
    let mut error = fault::parse_error(kind);
    error.facts_mut().at = Some(fault::place(Some(source), at));
    Finding { rule, error }
}

/// A mistake at the end of a script is shown where its text ends.
fn on_text(text: &str, at: Position) -> Position {
    let last = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).last();
    match (last, at.line()) {
        (Some((index, line)), Some(number)) if number > index + 1 => {
            let (line, column) = (u16::try_from(index + 1), u16::try_from(line.trim_end().chars().count()));
            line.ok().zip(column.ok()).map_or(at, |(line, column)| Position::new(line, column))
        }
        _ => at,
    }
}

/// The text with blanks for the body of the function that a place lies in; none where it lies in no function.
fn without_the_function_at(text: &str, at: Position) -> Option<String> {
    let line = at.line()?;
    let column = at.position().unwrap_or(1);
    let body = isolate::bodies(text).into_iter().find(|body| body.contains(line, column))?;
    let letters = text.char_indices();
    Some(letters.map(|(at, letter)| if body.holds(at) && letter != '\n' { ' ' } else { letter }).collect())
}
