//! Whether what is typed is a whole statement, or goes on in the next line.

use reedline::{ValidationResult, Validator};
use rhai::{Engine, LexError, ParseErrorType, Position};

use crate::engine;
use crate::engine::tokens::{self, Kind, place_of, tokens};
use crate::error::Result;

/// A longer text is judged by its brackets alone: compiling it would take longer than a key press.
const LENGTH_MAX: usize = 50_000;

/// Judges by the engine's own grammar.
pub struct Whole(Engine);

impl Whole {
    /// With an engine that knows only the grammar.
    pub fn new() -> Result<Whole> {
        engine::grammar().map(Whole)
    }

    /// Whether there is nothing to wait for. A blank line ends what is not whole as well.
    pub fn is_whole(&self, text: &str) -> bool {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with(':') || ends_with_blank_line(text) {
            return true;
        }
        let all = tokens(text);
        let open = all.last().is_some_and(|last| match last.kind {
            Kind::Comment { open } => open,
            Kind::Text { open } => open && !last.text(text).starts_with(['"', '\'']),
            _ => false,
        });
        if open {
            return false;
        }
        let depth = all.iter().fold(0, |depth, token| tokens::depth_after(depth, token, text));
        if text.len() > LENGTH_MAX {
            return depth == 0;
        }
        match self.0.compile(text) {
            Ok(_) => true,
            Err(error) => !(is_missing_end(&error.0) && is_at_the_end(error.1, text)),
        }
    }
}

fn ends_with_blank_line(text: &str) -> bool {
    let mut lines = text.rsplit('\n');
    lines.next().is_some_and(|last| last.trim().is_empty()) && text.contains('\n')
}

fn is_missing_end(error: &ParseErrorType) -> bool {
    matches!(
        error,
        ParseErrorType::UnexpectedEOF
            | ParseErrorType::MissingToken(..)
            | ParseErrorType::MissingSymbol(..)
            | ParseErrorType::ExprExpected(..)
            | ParseErrorType::FnMissingName
            | ParseErrorType::FnMissingParams(..)
            | ParseErrorType::FnMissingBody(..)
            | ParseErrorType::VariableExpected
            | ParseErrorType::PropertyExpected
            | ParseErrorType::BadInput(LexError::UnterminatedString)
    )
}

/// Behind the last piece of the text.
fn is_at_the_end(position: Position, text: &str) -> bool {
    let (Some(line), Some(column)) = (position.line(), position.position()) else { return true };
    let code = tokens(text);
    let Some(last) = code.iter().rfind(|token| !matches!(token.kind, Kind::Comment { .. })) else { return true };
    (line, column) > place_of(text, last.span.start)
}

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if self.is_whole(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_statements_go_on_and_mistakes_do_not() {
        let whole = Whole::new().unwrap();
        for text in [
            "1 + 1",
            "let a = 1",
            "let a = 1;",
            "fn f(x) { x }",
            "if a { b }",
            ":use cluster",
            "f(\"a",
            "}",
            "1 +* 2",
            "let = 3;",
            "step \"x\" { 1 }",
            "// only a comment",
            "#{ a: 1 }",
            "f(1,\n\n",
            "a // (",
        ] {
            assert!(whole.is_whole(text), "{text:?} goes on");
        }
        for text in [
            "fn f(x) {",
            "f(1,",
            "#{ a: 1",
            "let a =",
            "1 +",
            "if a",
            "step \"x\"",
            "step \"x\" {",
            "`a",
            "/* a",
            "fn",
            "fn f",
            "let",
            "a.",
            "eks::",
            "f(1, // why",
        ] {
            assert!(!whole.is_whole(text), "{text:?} is taken for whole");
        }
    }
}
