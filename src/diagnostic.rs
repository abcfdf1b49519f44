//! An error as an operator reads it: sentence, place with the line itself, at most two notes, one hint.

use crate::error::{Error, Place};
use crate::sources::{EMBEDDED, Sources};

/// More notes than this bury the hint.
const NOTES_MAX: usize = 2;

/// Letters of a line that are shown.
const LINE_MAX: usize = 240;

/// Renders an error. `verbose` adds the frames of stdlib and every note.
pub fn render(error: &Error, sources: &Sources, verbose: bool) -> String {
    render_as("error", error.kind().name(), error, sources, verbose)
}

/// Renders an error or a warning with this label under the caret.
pub fn render_as(word: &str, label: &str, error: &Error, sources: &Sources, verbose: bool) -> String {
    let facts = error.facts();
    let mut text = format!("{word}: {}\n", facts.message);
    if let Some(at) = &facts.at {
        text.push_str(&excerpt(at, label, sources));
    }
    if facts.maybe_applied {
        text.push_str("note: the change may have been applied although no answer says so\n");
    }
    let notes_max = if verbose { usize::MAX } else { NOTES_MAX };
    for note in facts.notes.iter().filter(|note| !note.is_empty()).take(notes_max) {
        text.push_str(&format!("note: {}\n", indented(note)));
    }
    if verbose {
        for (name, at) in &facts.trace {
            text.push_str(&format!("  in {name} at {}\n", show(at)));
        }
        for (name, value) in
            [("service code", &facts.code), ("request id", &facts.request_id), ("step", &facts.step_path)]
        {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                text.push_str(&format!("  {name}: {value}\n"));
            }
        }
    }
    if let Some(hint) = &facts.hint {
        text.push_str(&format!("hint: {}\n", indented(hint)));
    }
    text
}

/// Lines after the first stand under the first.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n      ")
}

fn show(at: &Place) -> String {
    let source = at.source.strip_prefix(EMBEDDED).unwrap_or(&at.source);
    let source = if source.is_empty() { "input" } else { source };
    match at.column {
        0 => format!("{source}:{}", at.line),
        column => format!("{source}:{}:{column}", at.line),
    }
}

fn excerpt(at: &Place, label: &str, sources: &Sources) -> String {
    let gutter = at.line.to_string().len();
    let mut text = format!("{:gutter$} ┌─ {}\n", "", show(at));
    let source = sources.get(&at.source);
    let line = source.as_deref().and_then(|text| text.lines().nth(at.line.saturating_sub(1)));
    let Some(line) = line else { return text };
    // A script may be one line of a megabyte.
    let cut = if line.len() > LINE_MAX { at.column.saturating_sub(LINE_MAX / 2) } else { 0 };
    let shown: String = line.chars().skip(cut).take(LINE_MAX).collect();
    text.push_str(&format!("{}│ {}\n", at.line, shown.replace('\t', " ")));
    if at.column > 0 {
        let width = token_width(line, at.column).min(LINE_MAX);
        let blanks = " ".repeat(at.column - 1 - cut.min(at.column - 1));
        text.push_str(&format!("{:gutter$}│ {blanks}{} {label}\n", "", "^".repeat(width)));
    }
    text
}

/// How many letters the caret covers: the name that begins there, with its namespace; at least one.
fn token_width(line: &str, column: usize) -> usize {
    let rest = line.chars().skip(column - 1);
    let name = rest.take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | ':'));
    name.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_sentence_place_notes_and_hint() {
        let sources = Sources::default();
        sources.insert("runbooks/scale.rhai", "let a = 1;\n    nodegroup::scale(\"prod\", \"wrokers\");\n");
        let mut error = Error::not_found("node group", "wrokers")
            .in_("cluster", "prod")
            .note("cluster `prod` in us-east-1 has node groups `system` and `workers`")
            .hint("did you mean `workers`?");
        error.facts_mut().at = Some(Place { source: "runbooks/scale.rhai".into(), line: 2, column: 5 });
        assert_eq!(
            render(&error, &sources, false),
            "error: node group `wrokers` does not exist in cluster `prod`
  ┌─ runbooks/scale.rhai:2:5
2│     nodegroup::scale(\"prod\", \"wrokers\");
 │     ^^^^^^^^^^^^^^^^ not_found
note: cluster `prod` in us-east-1 has node groups `system` and `workers`
hint: did you mean `workers`?
"
        );
    }
}
