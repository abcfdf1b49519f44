//! Colours of what is typed, and the bracket that belongs to the one at the cursor.

use nu_ansi_term::{Color, Style};
use reedline::{AutoPairContext, Highlighter, StyledText};

use super::commands;
use crate::engine::tokens::{Kind, Token, tokens};

/// A longer text stays plain: it was pasted, and drawing it is work enough.
const LENGTH_MAX: usize = 20_000;

const KEYWORDS: [&str; 30] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "fn", "private", "import", "export",
    "as", "switch", "try", "catch", "throw", "return", "break", "continue", "true", "false", "this", "global", "step",
    "is", "parallel", "retry",
];

/// Highlights what is typed.
pub struct Colors;

impl Highlighter for Colors {
    fn highlight(&self, line: &str, cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        if line.len() > LENGTH_MAX {
            styled.push((Style::new(), line.to_owned()));
            return styled;
        }
        if let Some(command) = line.trim_start().strip_prefix(':') {
            let name = command.split(' ').next().unwrap_or_default();
            let known = commands::find(name).is_some();
            let style = if known { Style::new().fg(Color::Cyan) } else { Style::new() };
            let end = line.len() - command.len() + name.len();
            styled.push((style, line[..end].to_owned()));
            styled.push((Style::new(), line[end..].to_owned()));
            return styled;
        }
        let all = tokens(line);
        let pair = pair_at(&all, line, cursor);
        let mut at = 0;
        for (index, token) in all.iter().enumerate() {
            styled.push((Style::new(), line[at..token.span.start].to_owned()));
            let mut style = style(&all, index, line);
            if pair.is_some_and(|(open, close)| index == open || index == close) {
                style = style.bold().underline();
            }
            styled.push((style, token.text(line).to_owned()));
            at = token.span.end;
        }
        styled.push((Style::new(), line[at..].to_owned()));
        styled
    }

    /// No pair inside of a text or a comment, and none before a word: what is there is to be quoted by hand.
    fn should_auto_pair(&self, context: &AutoPairContext<'_>) -> bool {
        let before = context.buffer().get(..context.insertion_point()).unwrap_or_default();
        let inside = tokens(before).last().is_some_and(|last| match last.kind {
            Kind::Text { open } => open && last.span.end == before.len(),
            Kind::Comment { open } => open || (last.text(before).starts_with("//") && last.span.end == before.len()),
            _ => false,
        });
        let opens = matches!(context.action(), reedline::AutoPairAction::Open);
        let word_follows = context
            .buffer()
            .get(context.insertion_point()..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '"');
        !opens || !inside && !word_follows
    }
}

fn style(all: &[Token], index: usize, line: &str) -> Style {
    let token = &all[index];
    let text = token.text(line);
    let next = all.get(index + 1).map(|next| next.text(line));
    match token.kind {
        Kind::Comment { .. } => Style::new().fg(Color::DarkGray),
        Kind::Text { .. } => Style::new().fg(Color::Green),
        Kind::Number => Style::new().fg(Color::Cyan),
        Kind::Symbol => Style::new(),
        Kind::Word if KEYWORDS.contains(&text) => Style::new().fg(Color::Magenta),
        Kind::Word if next == Some("::") => Style::new().fg(Color::Blue),
        Kind::Word if next == Some("(") => {
            let module = (index >= 2 && all[index - 1].text(line) == "::").then(|| all[index - 2].text(line));
            let service = module.and_then(aws_dynamic::service);
            let exists = service.is_none_or(|service| {
                let waiter = text.strip_prefix("wait_until_").is_some_and(|name| service.waiter(name).is_some());
                waiter
                    || service.operation(text).is_some()
                    || crate::bindings::all().any(|binding| binding.short_name() == text)
            });
            if exists { Style::new().fg(Color::Yellow) } else { Style::new().fg(Color::Red) }
        }
        Kind::Word => Style::new(),
    }
}

/// The bracket at the cursor, or right before it, and its partner.
fn pair_at(all: &[Token], line: &str, cursor: usize) -> Option<(usize, usize)> {
    let mut open = Vec::new();
    let touched = |token: &Token| token.span.contains(&cursor) || token.span.end == cursor;
    for (index, token) in all.iter().enumerate().filter(|(_, token)| token.kind == Kind::Symbol) {
        match token.text(line) {
            "(" | "[" | "{" | "#{" | "?[" => open.push(index),
            ")" | "]" | "}" => {
                let start = open.pop()?;
                if touched(token) || touched(&all[start]) {
                    return Some((start, index));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partner_of_a_bracket_is_found() {
        let line = "f(#{ a: [1] })";
        let all = tokens(line);
        let at = |cursor| pair_at(&all, line, cursor).map(|(a, b)| (all[a].span.start, all[b].span.start));
        assert_eq!(at(14), Some((1, 13)));
        assert_eq!(at(8), Some((8, 10)));
        assert_eq!(at(0), None);
    }

    #[test]
    fn what_is_painted_is_what_was_typed() {
        for line in ["let a = \"x\"; // why", ":doc eks", "eks::nobody(1)", "§ ü `${", ""] {
            assert_eq!(Colors.highlight(line, 0).raw_string(), line);
        }
    }
}
