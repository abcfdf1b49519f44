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

use super::tokens::{Kind, Token, place_of, tokens};
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
    let mut out = String::with_capacity(text.len() + 64);
    let mut copied = 0;
    for brace in tops(text, &tokens(text)) {
        let room = usize::from(has_room(text, brace));
        out.push_str(&text[copied..brace - room]);
        out.push('{');
        out.push_str(MARKER);
        copied = brace + 1 + room;
    }
    out.push_str(&text[copied..]);
    out
}

/// Blanks around a brace, which a marker can take the place of.
fn has_room(text: &str, brace: usize) -> bool {
    text[..brace].ends_with(' ') && text[brace + 1..].starts_with(' ')
}

/// The column of a letter of the text, from its column in the text with markers: only where there are no blanks for a
/// marker do they differ.
pub fn original_column(text: &str, line: usize, column: usize) -> usize {
    let Some(words) = line.checked_sub(1).and_then(|index| text.lines().nth(index)) else { return column };
    if column == 0 || !words.contains('{') {
        return column;
    }
    let mut inserted = 0;
    for brace in tops(text, &tokens(text)) {
        let (its_line, its_column) = place_of(text, brace);
        // The marker stands behind the brace.
        let behind = its_column + inserted;
        if its_line == line && !has_room(text, brace) && column > behind {
            inserted += MARKER.len().min(column - behind);
        }
    }
    column - inserted
}

/// Where the bodies of functions begin, by their braces.
fn tops(text: &str, all: &[Token]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut is_function = false;
    for token in all {
        let opens = token.kind == Kind::Symbol && token.text(text).ends_with('{');
        if is_function && opens {
            found.push(token.span.end - 1);
        }
        is_function = is_fn(text, token) || is_function && !opens;
    }
    found
}

fn is_fn(text: &str, token: &Token) -> bool {
    token.kind == Kind::Word && token.text(text) == "fn" && !text[..token.span.start].ends_with('.')
}

/// The body of a function in a text, with its braces, by bytes and by place.
pub struct Body {
    inside: std::ops::Range<usize>,
    start: (usize, usize),
    end: (usize, usize),
}

impl Body {
    /// Whether a place, from 1, lies in it.
    pub fn contains(&self, line: usize, column: usize) -> bool {
        self.start <= (line, column) && (line, column) <= self.end
    }

    /// Whether the letter that begins at this byte lies between its braces.
    pub fn holds(&self, byte: usize) -> bool {
        self.inside.contains(&byte)
    }
}

/// The bodies of all functions of a script. One that is not closed reaches to the next line that begins with `fn` or
/// `private`, or to the end.
pub fn bodies(text: &str) -> Vec<Body> {
    let all = tokens(text);
    let mut found: Vec<Body> = Vec::new();
    for open in tops(text, &all) {
        // A function in a function is a mistake, and part of the outer one.
        if found.last().is_some_and(|body| body.holds(open)) {
            continue;
        }
        let close = end_of_body(text, &all[all.partition_point(|token| token.span.start <= open)..]);
        found.push(Body { inside: open + 1..close, start: place_of(text, open), end: place_of(text, close) });
    }
    found
}

/// The brace that closes a body, from what follows the one that opens it.
fn end_of_body(text: &str, rest: &[Token]) -> usize {
    let mut depth = 1;
    for token in rest {
        let piece = token.text(text);
        let begins_line = text[..token.span.start].ends_with('\n');
        match piece {
            "fn" | "private" if begins_line => return token.span.start,
            "{" | "#{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return token.span.start;
        }
    }
    text.len()
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
