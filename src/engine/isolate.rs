//! Keeps the functions of modules apart.
//!
//! Rhai 1.27 remembers which function a bare name and arity led to, and keeps that memory while it runs functions of
//! other modules (`call_script_fn` merges a module's functions in without a new cache). After `who(x)` was called in
//! one module, `who(x)` in another, or in the runbook itself, silently runs the first one's. So every function body
//! begins with a marker that gives the call a memory of its own; the engine drops it at the end of the body.
//!
//! The marker is put into the text before it is compiled, in the place of the blanks around the opening brace where
//! there are such, so that no place in the text moves.

use rhai::{Dynamic, Engine};

use super::scan::Scan;
use crate::error::{Error, Result};

const MARKER: &str = "@;";

/// Registers the marker.
pub fn register(engine: &mut Engine) -> Result<()> {
    engine
        .register_custom_syntax(["@"], false, |context, _| {
            // The layer has to outlive this statement; the block around it rewinds to its own length at its end.
            std::mem::forget(context.new_frame().with_new_caching_layer());
            Ok(Dynamic::UNIT)
        })
        .map(|_| ())
        .map_err(|error| Error::bug(format!("the marker of functions can not be registered: {error}")))
}

/// The text with a marker at the beginning of every function body.
pub fn functions(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 64);
    let mut scan = Scan { letters: &letters, at: 0 };
    let mut copied = 0;
    while let Some(brace) = next_body(&mut scan) {
        let before = letters[..brace].last() == Some(&' ');
        let after = letters.get(brace + 1) == Some(&' ');
        let end = if before && after { brace - 1 } else { brace };
        out.extend(&letters[copied..end]);
        out.push('{');
        out.push_str(MARKER);
        copied = if before && after { brace + 2 } else { brace + 1 };
    }
    out.extend(&letters[copied..]);
    out
}

/// The column of a letter of the text, from its column in the text with markers: only where there are no blanks for a
/// marker do they differ.
pub fn original_column(text: &str, line: usize, column: usize) -> usize {
    let Some(words) = line.checked_sub(1).and_then(|index| text.lines().nth(index)) else { return column };
    if column == 0 || !words.contains('{') {
        return column;
    }
    let letters: Vec<char> = text.chars().collect();
    let begin = letters.iter().enumerate().filter(|(_, letter)| **letter == '\n').map(|(index, _)| index + 1);
    let begin = std::iter::once(0).chain(begin).nth(line - 1).unwrap_or(0);
    let mut scan = Scan { letters: &letters, at: 0 };
    let mut inserted = 0;
    while let Some(brace) = next_body(&mut scan) {
        let has_room = letters[..brace].last() == Some(&' ') && letters.get(brace + 1) == Some(&' ');
        let is_here = brace >= begin && brace - begin < words.chars().count();
        if !is_here || has_room {
            continue;
        }
        // The marker stands behind the brace.
        let behind = brace - begin + 1 + inserted;
        if column > behind {
            inserted += MARKER.len().min(column - behind);
        }
    }
    column - inserted
}

/// The body of a function in a text, with its braces, by letters and by place.
pub struct Body {
    letters: std::ops::Range<usize>,
    start: (usize, usize),
    end: (usize, usize),
}

impl Body {
    /// Whether a place, from 1, lies in it.
    pub fn contains(&self, line: usize, column: usize) -> bool {
        self.start <= (line, column) && (line, column) <= self.end
    }

    /// Whether a letter lies between its braces.
    pub fn holds(&self, letter: usize) -> bool {
        self.letters.contains(&letter)
    }
}

/// The bodies of all functions of a script. One that is not closed reaches to the next line that begins with `fn` or
/// `private`, or to the end.
pub fn bodies(text: &str) -> Vec<Body> {
    let letters: Vec<char> = text.chars().collect();
    let mut scan = Scan { letters: &letters, at: 0 };
    let ends = letters.iter().enumerate().filter(|(_, letter)| **letter == '\n');
    let lines: Vec<usize> = std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect();
    let mut found = Vec::new();
    while let Some(open) = next_body(&mut scan) {
        let (mut depth, mut close) = (1, letters.len());
        while scan.at < letters.len() {
            let begins =
                scan.at > 0 && letters[scan.at - 1] == '\n' && matches!(scan.word().as_str(), "fn" | "private");
            match scan.peek(0) {
                _ if begins => depth = 0,
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                close = scan.at;
                break;
            }
            scan.step();
        }
        let place = |index: usize| {
            let line = lines.partition_point(|start| *start <= index);
            (line, index - lines[line - 1] + 1)
        };
        found.push(Body { letters: open + 1..close, start: place(open), end: place(close) });
    }
    found
}

/// The opening brace of the next function's body.
fn next_body(scan: &mut Scan<'_>) -> Option<usize> {
    while scan.at < scan.letters.len() {
        if scan.word() == "fn" {
            scan.at += 2;
            return after_parameters(scan);
        }
        scan.step();
    }
    None
}

/// From behind `fn` to the opening brace, past the name and the parameters in their parentheses.
fn after_parameters(scan: &mut Scan<'_>) -> Option<usize> {
    while let Some(letter) = scan.peek(0) {
        if letter == '{' {
            scan.at += 1;
            return Some(scan.at - 1);
        }
        scan.step();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{functions, original_column};

    #[test]
    fn a_place_in_the_text_with_markers_is_one_of_the_text() {
        let text = "let a = 1;\nfn f(x){ nope(x) } fn g(){b} fn h() { c }";
        let (line, marked) = (text.lines().nth(1).unwrap(), functions(text));
        let marked = marked.lines().nth(1).unwrap();
        for word in ["fn f", "nope", "fn g", "b}", "fn h", "c }"] {
            let found = original_column(text, 2, marked.find(word).unwrap() + 1);
            assert_eq!(found, line.find(word).unwrap() + 1, "{word}");
        }
        assert_eq!(original_column(text, 1, 5), 5);
        assert_eq!(original_column(text, 0, 0), 0);
    }

    #[test]
    fn a_marker_moves_nothing_where_there_are_blanks() {
        assert_eq!(functions("fn f(x) { x }"), "fn f(x){@;x }");
        assert_eq!(functions("fn f(x) {\n    x\n}"), "fn f(x) {@;\n    x\n}");
        assert_eq!(functions("private fn f(){x}"), "private fn f(){@;x}");
        assert_eq!(functions("fn a() { 1 } fn b() { 2 }"), "fn a(){@;1 } fn b(){@;2 }");
    }

    #[test]
    fn a_text_that_is_not_closed_hides_no_function_below_it() {
        assert_eq!(functions("let a = \"open;\nfn f() { 1 }"), "let a = \"open;\nfn f(){@;1 }");
    }

    #[test]
    fn texts_and_comments_are_left_alone() {
        for text in [
            "let a = \"fn f() { 1 }\";",
            "let a = `fn f() { ${b} fn g() { 1 } `` { `;",
            "// fn f() { 1 }\nlet fnord = 1; x.fn_ = 2;",
            "/* fn f() { /* nested */ fn g() { } */ let a = '{';",
            "let a = `${ `${b}` } fn f() { `;",
            "let a = \"\\\" fn f() { \";",
            "let a = #\"\\\"#; let b = \"fn f() { 1 }\";",
            "let a = ##\"x\"# fn f() { \"##;",
        ] {
            assert_eq!(functions(text), text);
        }
    }
}
