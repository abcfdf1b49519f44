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
    while let Some(brace) = scan.next_body() {
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

/// Goes through a script without being fooled by texts and comments.
struct Scan<'t> {
    letters: &'t [char],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    /// The opening brace of the next function's body.
    fn next_body(&mut self) -> Option<usize> {
        while self.at < self.letters.len() {
            if self.word() == "fn" {
                self.at += 2;
                return self.after_parameters();
            }
            self.step();
        }
        None
    }

    /// The word that begins here; empty inside of one.
    fn word(&self) -> String {
        let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
        if self.at > 0 && (is_name(&self.letters[self.at - 1]) || self.letters[self.at - 1] == '.') {
            return String::new();
        }
        self.letters[self.at..].iter().take_while(|letter| is_name(letter)).collect()
    }

    /// From behind `fn` to the opening brace, past the name and the parameters in their parentheses.
    fn after_parameters(&mut self) -> Option<usize> {
        while let Some(letter) = self.peek(0) {
            if letter == '{' {
                self.at += 1;
                return Some(self.at - 1);
            }
            self.step();
        }
        None
    }

    /// Past one letter of code, or one whole text or comment.
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (Some('/'), Some('/')) => self.past(|scan| scan.peek(0) == Some('\n')),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('#'), Some('"' | '#')) => self.raw(),
            (Some('"'), _) => self.quoted('"'),
            (Some('\''), _) => self.quoted('\''),
            (Some('`'), _) => self.back_quoted(),
            _ => self.at += 1,
        }
    }

    fn past(&mut self, end: impl Fn(&Self) -> bool) {
        while self.at < self.letters.len() && !end(self) {
            self.at += 1;
        }
    }

    /// A raw text: as many `#` behind it as before it, nothing escaped.
    fn raw(&mut self) {
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        self.at += hashes;
        if self.peek(0) != Some('"') {
            return;
        }
        self.at += 1;
        self.past(|scan| scan.peek(0) == Some('"') && (1..=hashes).all(|ahead| scan.peek(ahead) == Some('#')));
        self.at += 1 + hashes;
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(letter) = self.peek(0) {
            match (letter, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: char) {
        self.at += 1;
        while let Some(letter) = self.peek(0) {
            self.at += if letter == '\\' { 2 } else { 1 };
            if letter == quote {
                return;
            }
        }
    }

    /// A text in back quotes: two of them stand for one, and `${ … }` is code again.
    fn back_quoted(&mut self) {
        self.at += 1;
        while let Some(letter) = self.peek(0) {
            match (letter, self.peek(1)) {
                ('`', Some('`')) => self.at += 2,
                ('`', _) => {
                    self.at += 1;
                    return;
                }
                ('$', Some('{')) => {
                    self.at += 2;
                    self.interpolation();
                }
                _ => self.at += 1,
            }
        }
    }

    fn interpolation(&mut self) {
        let mut depth = 1;
        while let Some(letter) = self.peek(0) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            self.step();
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn a_marker_moves_nothing_where_there_are_blanks() {
        assert_eq!(functions("fn f(x) { x }"), "fn f(x){@;x }");
        assert_eq!(functions("fn f(x) {\n    x\n}"), "fn f(x) {@;\n    x\n}");
        assert_eq!(functions("private fn f(){x}"), "private fn f(){@;x}");
        assert_eq!(functions("fn a() { 1 } fn b() { 2 }"), "fn a(){@;1 } fn b(){@;2 }");
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
