//! `// ekskit:allow(rule)`: on the line itself, or alone on the line above.

use rhai::Position;

use super::rules::{self, Rule, Weight};
use super::{Finding, fault};
use crate::engine::tokens::{place_of, tokens};
use crate::error::{Error, did_you_mean};

const WORD: &str = "ekskit:allow(";

/// A `//` comment, with its place from 1.
struct Comment<'t> {
    line: usize,
    column: usize,
    text: &'t str,
    /// Nothing else stands on its line.
    is_alone: bool,
}

/// The line comments of a script, in order.
fn comments(text: &str) -> Vec<Comment<'_>> {
    let line_comments = tokens(text).into_iter().filter(|token| token.text(text).starts_with("//"));
    let found = line_comments.map(|token| {
        let (line, column) = place_of(text, token.span.start);
        let before = text[..token.span.start].rsplit('\n').next().unwrap_or_default();
        Comment { line, column, text: &text[token.span], is_alone: before.trim().is_empty() }
    });
    found.collect()
}

/// One rule that is allowed on one line.
struct Allowed {
    rule: &'static Rule,
    line: usize,
    at: Position,
    is_used: bool,
}

/// Takes out what the script allows, and adds what is wrong with how it does so.
pub(super) fn apply(source: &str, text: &str, findings: Vec<Finding>) -> Vec<Finding> {
    if !text.contains(WORD) {
        return findings;
    }
    let mut kept = Vec::new();
    let mut allowed = Vec::new();
    let comments = comments(text);
    for (index, comment) in comments.iter().enumerate() {
        let line = if comment.is_alone { code_below(&comments[index..]) } else { comment.line };
        read(source, comment, line, &mut allowed, &mut kept);
    }
    for finding in findings {
        let line = finding.error.facts().at.as_ref().map_or(0, |at| at.line);
        let fits = |one: &&mut Allowed| std::ptr::eq(one.rule, finding.rule) && one.line == line;
        match allowed.iter_mut().find(fits) {
            Some(one) => one.is_used = true,
            None => kept.push(finding),
        }
    }
    for one in allowed.iter().filter(|one| !one.is_used) {
        let error = Error::invalid(format!("nothing to allow here: no `{}` in line {}", one.rule.name, one.line))
            .hint("remove the comment");
        kept.push(finding(source, &rules::UNUSED_ALLOW, error, one.at));
    }
    kept
}

/// The first line below a comment that is no comment alone.
fn code_below(comments: &[Comment<'_>]) -> usize {
    let mut line = comments[0].line + 1;
    for comment in &comments[1..] {
        if comment.is_alone && comment.line == line {
            line += 1;
        }
    }
    line
}

fn read(source: &str, comment: &Comment<'_>, line: usize, allowed: &mut Vec<Allowed>, kept: &mut Vec<Finding>) {
    let Some(start) = comment.text.find(WORD) else { return };
    let inside = comment.text[start + WORD.len()..].split(')').next().unwrap_or_default();
    let mut column = comment.column + comment.text[..start + WORD.len()].chars().count();
    for part in inside.split(',') {
        let blanks = part.chars().take_while(|letter| letter.is_whitespace()).count();
        let at = match (u16::try_from(comment.line), u16::try_from(column + blanks)) {
            (Ok(line), Ok(column)) => Position::new(line, column),
            _ => Position::NONE,
        };
        column += part.chars().count() + 1;
        let name = part.trim();
        match rules::find(name) {
            Some(rule) if rule.weight == Weight::Refused => {
                let error = Error::invalid(format!("`{name}` can not be allowed: a script with it never starts"))
                    .hint("mend what it finds");
                kept.push(finding(source, &rules::UNUSED_ALLOW, error, at));
            }
            Some(rule) => allowed.push(Allowed { rule, line, at, is_used: false }),
            None => {
                let error = Error::invalid(format!("there is no rule `{name}`"))
                    .note("`ekskit check --rules` lists them")
                    .maybe_hint(did_you_mean(name, rules::names()));
                kept.push(finding(source, &rules::UNKNOWN_RULE, error, at));
            }
        }
    }
}

fn finding(source: &str, rule: &'static Rule, error: Error, at: Position) -> Finding {
    let mut error = error;
    error.facts_mut().at = Some(fault::place(Some(source), at));
    Finding { rule, error }
}
