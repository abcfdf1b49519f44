//! A script text in pieces, also one that is only half written: for the bodies of functions and for comments, which the
//! engine does not tell, for highlighting, for what stands at the cursor, and for cutting a line into its statements.

use std::ops::Range;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name or a keyword.
    Word,
    /// A number.
    Number,
    /// A text; `open` where its end is missing.
    Text {
        /// Nothing closes it.
        open: bool,
    },
    /// A comment; `open` where its end is missing.
    Comment {
        /// Nothing closes it.
        open: bool,
    },
    /// An operator or a bracket.
    Symbol,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where, in bytes.
    pub span: Range<usize>,
}

impl Token {
    /// The piece itself.
    pub fn text<'t>(&self, whole: &'t str) -> &'t str {
        whole.get(self.span.clone()).unwrap_or_default()
    }

    /// What a closed text says, without its quotes.
    pub fn said<'t>(&self, whole: &'t str) -> Option<&'t str> {
        match self.kind {
            Kind::Text { open: false } => {
                let text = self.text(whole);
                text.get(1..text.len().saturating_sub(1))
            }
            _ => None,
        }
    }
}

/// Longest first, so that `..=` is not taken for `..`.
const SYMBOLS: [&str; 30] = [
    "..=", "<<=", ">>=", "**=", "::", "#{", "=>", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "**", "&&",
    "||", "..", "?.", "??", "?[", "|=", "&=", "^=", "<<", ">>", "->", "$$",
];

/// Cuts a text into pieces; blanks are none.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let start = at;
        let kind = if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        } else {
            one(text, &mut at, letter)
        };
        found.push(Token { kind, span: start..at });
    }
    found
}

fn one(text: &str, at: &mut usize, letter: char) -> Kind {
    let rest = &text[*at..];
    if rest.starts_with("//") {
        *at += rest.find('\n').unwrap_or(rest.len());
        return Kind::Comment { open: false };
    }
    if rest.starts_with("/*") {
        return block_comment(text, at);
    }
    if letter.is_alphabetic() || letter == '_' {
        *at += length(rest, |letter| letter.is_alphanumeric() || letter == '_');
        return Kind::Word;
    }
    if letter.is_ascii_digit() {
        number(rest, at);
        return Kind::Number;
    }
    match letter {
        '"' | '\'' => quoted(text, at, letter),
        '`' => back_quoted(text, at),
        '#' if rest.trim_start_matches('#').starts_with('"') => raw(rest, at),
        _ => {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            *at += symbol.map_or(letter.len_utf8(), |symbol| symbol.len());
            Kind::Symbol
        }
    }
}

fn length(text: &str, mut belongs: impl FnMut(char) -> bool) -> usize {
    text.find(|letter| !belongs(letter)).unwrap_or(text.len())
}

/// A dot belongs to a number only before a digit: `1..5` is a range, `1.to_string()` a call.
fn number(rest: &str, at: &mut usize) {
    let whole = length(rest, |letter| letter.is_alphanumeric() || letter == '_');
    let fraction = &rest[whole..];
    let mut letters = fraction.chars();
    *at += whole;
    if letters.next() == Some('.') && letters.next().is_some_and(|digit| digit.is_ascii_digit()) {
        *at += 1 + length(&fraction[1..], |letter| letter.is_alphanumeric() || letter == '_');
    }
}

fn block_comment(text: &str, at: &mut usize) -> Kind {
    let mut depth = 0;
    loop {
        let rest = &text[*at..];
        if rest.starts_with("/*") {
            depth += 1;
            *at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            *at += 2;
            if depth == 0 {
                return Kind::Comment { open: false };
            }
        } else if let Some(letter) = rest.chars().next() {
            *at += letter.len_utf8();
        } else {
            return Kind::Comment { open: true };
        }
    }
}

/// A quoted text ends at its line: the engine refuses a line break in one.
fn quoted(text: &str, at: &mut usize, quote: char) -> Kind {
    *at += 1;
    while let Some(letter) = text[*at..].chars().next() {
        if letter == '\n' {
            break;
        }
        *at += letter.len_utf8();
        if letter == quote {
            return Kind::Text { open: false };
        }
        if letter == '\\' {
            *at += text[*at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    Kind::Text { open: true }
}

/// `${ … }` in it is code, which may hold texts with back quotes again.
fn back_quoted(text: &str, at: &mut usize) -> Kind {
    *at += 1;
    loop {
        let rest = &text[*at..];
        if rest.starts_with("``") {
            *at += 2;
        } else if rest.starts_with('`') {
            *at += 1;
            return Kind::Text { open: false };
        } else if rest.starts_with("${") {
            *at += 2;
            if !interpolated(text, at) {
                return Kind::Text { open: true };
            }
        } else if let Some(letter) = rest.chars().next() {
            *at += letter.len_utf8();
        } else {
            return Kind::Text { open: true };
        }
    }
}

/// Past the brace that closes the code; whether there is one.
fn interpolated(text: &str, at: &mut usize) -> bool {
    let mut depth = 1;
    while let Some(letter) = text[*at..].chars().next() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if letter.is_whitespace() {
            *at += letter.len_utf8();
        } else if text[*at..].starts_with("#{") {
            depth += 1;
            *at += 2;
        } else {
            one(text, at, letter);
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

fn raw(rest: &str, at: &mut usize) -> Kind {
    let hashes = length(rest, |letter| letter == '#');
    let end = format!("\"{}", "#".repeat(hashes));
    match rest[hashes + 1..].find(&end) {
        Some(length) => {
            *at += hashes + 1 + length + end.len();
            Kind::Text { open: false }
        }
        None => {
            *at += rest.len();
            Kind::Text { open: true }
        }
    }
}

/// Line and column of a place in a text, both in letters from 1.
pub fn place_of(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// How many brackets are open after this token, given how many were before.
pub fn depth_after(depth: usize, token: &Token, whole: &str) -> usize {
    match token.text(whole) {
        "(" | "[" | "{" | "#{" | "?[" if token.kind == Kind::Symbol => depth + 1,
        ")" | "]" | "}" if token.kind == Kind::Symbol => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Words that begin a statement which ends with its block, without a semicolon.
const BLOCKS: [&str; 12] = ["if", "for", "while", "loop", "do", "fn", "private", "switch", "try", "step", "{", "else"];

/// Words that go on with a statement after its block.
const GO_ON: [&str; 4] = ["else", "catch", "while", "until"];

/// Cuts a line into its statements, as the engine would; comments belong to what follows them.
pub fn statements(text: &str) -> Vec<&str> {
    let all = tokens(text);
    let mut found = Vec::new();
    let (mut start, mut first, mut depth) = (None, None, 0);
    for (index, token) in all.iter().enumerate() {
        let is_comment = matches!(token.kind, Kind::Comment { .. });
        let piece = token.text(text);
        if depth == 0 && first.is_none() && piece == ";" {
            start = None;
            continue;
        }
        let begin = *start.get_or_insert(token.span.start);
        if first.is_none() && !is_comment {
            first = Some(piece);
        }
        let before = depth;
        depth = depth_after(depth, token, text);
        let next = all.get(index + 1..).unwrap_or_default();
        let next = next.iter().find(|token| !matches!(token.kind, Kind::Comment { .. })).map(|token| token.text(text));
        let closed = before == 1 && depth == 0 && piece == "}" && token.kind == Kind::Symbol;
        let is_block = first.is_some_and(|first| BLOCKS.contains(&first));
        let do_block = first == Some("do");
        let goes_on = next.is_some_and(|next| {
            GO_ON[..2].contains(&next) || do_block && GO_ON.contains(&next) || next.starts_with(['.', '?'])
        });
        if depth == 0 && token.kind == Kind::Symbol && (piece == ";" || closed && is_block && !goes_on) {
            found.push(text[begin..token.span.end].trim());
            (start, first) = (None, None);
        }
    }
    if let Some(begin) = start.filter(|_| first.is_some()) {
        found.push(text[begin..].trim());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).iter().map(|token| (token.kind, token.text(text))).collect()
    }

    #[test]
    fn half_a_text_is_cut_into_pieces_too() {
        let word = |text| (Kind::Word, text);
        let symbol = |text| (Kind::Symbol, text);
        assert_eq!(kinds("eks::a(#{ b"), [word("eks"), symbol("::"), word("a"), symbol("("), symbol("#{"), word("b")]);
        assert_eq!(kinds("x = \"ab"), [word("x"), symbol("="), (Kind::Text { open: true }, "\"ab")]);
        assert_eq!(kinds("1..=2.5"), [(Kind::Number, "1"), symbol("..="), (Kind::Number, "2.5")]);
        assert_eq!(kinds("`a ${ `b }` } c` d"), [(Kind::Text { open: false }, "`a ${ `b }` } c`"), word("d")]);
        assert_eq!(kinds("`a ${ b"), [(Kind::Text { open: true }, "`a ${ b")]);
        assert_eq!(kinds("/* a /* b */"), [(Kind::Comment { open: true }, "/* a /* b */")]);
        assert_eq!(kinds("#\"a\"b\"# c"), [(Kind::Text { open: false }, "#\"a\"b\"#"), word("c")]);
    }

    #[test]
    fn a_line_is_cut_into_the_statements_that_the_engine_sees() {
        assert_eq!(statements("let a = 1; a + 1"), ["let a = 1;", "a + 1"]);
        assert_eq!(statements("if a { b(); } else { c(); } d"), ["if a { b(); } else { c(); }", "d"]);
        assert_eq!(statements("fn f(x) { x; }\nf(1)"), ["fn f(x) { x; }", "f(1)"]);
        assert_eq!(statements("let m = #{ a: 1 }; m"), ["let m = #{ a: 1 };", "m"]);
        assert_eq!(statements("// why\nlet a = 1;;"), ["// why\nlet a = 1;"]);
        assert_eq!(statements("do { a(); } while b; c"), ["do { a(); } while b;", "c"]);
        assert_eq!(
            statements("step \"x\" { a() } let b = step \"y\" { 1 };"),
            ["step \"x\" { a() }", "let b = step \"y\" { 1 };"]
        );
        assert_eq!(statements(" ; // nothing"), Vec::<&str>::new());
    }
}
