//! What stands at the cursor of a half-written line: which name is being typed, and in which call, map or list.

use std::collections::BTreeSet;

use crate::engine::tokens::{Kind, Token, tokens};

/// Where a name is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Where in the line the name begins, in bytes, a quote not included.
    pub start: usize,
    /// What is there of it.
    pub typed: String,
    /// It is the inside of a text that began with this quote.
    pub quote: Option<char>,
    /// What it comes after.
    pub after: After,
    /// What it stands in.
    pub inside: Option<Inside>,
}

/// What comes right before the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// The beginning of an expression.
    #[default]
    Start,
    /// `import`.
    Import,
    /// `eks::`.
    Module(String),
    /// `cluster.vpc_config.`.
    Dot(Receiver),
    /// `let`, `fn`, `as` and such: a name that does not exist yet.
    NewName,
    /// A comment or a number: nothing is to be completed.
    Nothing,
}

/// What stands before a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The variable, or the full name of the function.
    pub root: String,
    /// It is the answer of a call.
    pub called: bool,
    /// Keys down from there; none for an element of a list.
    pub links: Vec<Option<String>>,
}

/// The call around the cursor, and where in its arguments it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// `eks::create_nodegroup`, or `list` of a method.
    pub function: String,
    /// The variable that the method is called on.
    pub receiver: Option<String>,
    /// Which argument, from 0.
    pub index: usize,
    /// The arguments before it, as far as they are single texts or variables.
    pub arguments: Vec<Option<Plain>>,
    /// Keys down to the map or the list, from the argument; `None`: an element of a list.
    pub path: Vec<Option<String>>,
    /// What is being typed.
    pub slot: Slot,
    /// Keys and values of the innermost map, as far as they are single texts or variables.
    pub siblings: Vec<(String, Option<Plain>)>,
}

/// A single text or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// What the text says.
    Text(String),
    /// The name of the variable.
    Variable(String),
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An argument, or an element in one.
    Value,
    /// A key of a map that has these already.
    Key(BTreeSet<String>),
    /// The value of this key.
    ValueOf(String),
}

/// An open bracket.
enum Frame {
    Call { function: String, receiver: Option<String>, arguments: Vec<Vec<Plain>>, complex: Vec<bool> },
    Map { entries: Vec<(String, Option<Plain>)>, current: Option<String> },
    List,
    Block,
}

/// Looks at the text before the cursor.
pub fn look(text: &str) -> Cursor {
    let all = tokens(text);
    // Code inside of a text in back quotes is code.
    if let Some(last) = all.last()
        && last.kind == (Kind::Text { open: true })
        && let Some(code) = open_code(last.text(text))
    {
        let offset = last.span.start + code;
        let mut inner = look(&text[offset..]);
        inner.start += offset;
        return inner;
    }
    let (before, typed) = match all.split_last() {
        Some((last, before)) if last.span.end == text.len() && is_typed(last.kind) => (before, Some(last)),
        _ => (all.as_slice(), None),
    };
    let mut cursor = Cursor { start: text.len(), ..Cursor::default() };
    match typed {
        Some(token) if token.kind == Kind::Word => {
            cursor.start = token.span.start;
            cursor.typed = token.text(text).to_owned();
        }
        Some(token) if matches!(token.kind, Kind::Text { .. }) => {
            cursor.quote = token.text(text).chars().next();
            cursor.start = token.span.start + 1;
            cursor.typed = text[cursor.start..].to_owned();
        }
        Some(_) => {
            cursor.after = After::Nothing;
            return cursor;
        }
        None => {}
    }
    if before.last().is_some_and(|token| token.kind == Kind::Comment { open: false } && ends_open(token, text)) {
        cursor.after = After::Nothing;
        return cursor;
    }
    cursor.after = after(before, text);
    cursor.inside = inside(before, text, &cursor.after);
    cursor
}

/// A comment to the end of its line goes on while there is no line break.
fn ends_open(token: &Token, text: &str) -> bool {
    token.text(text).starts_with("//") && !text[token.span.end..].contains('\n')
}

fn is_typed(kind: Kind) -> bool {
    matches!(kind, Kind::Word | Kind::Number | Kind::Text { open: true } | Kind::Comment { .. })
}

/// Where the code begins that a text in back quotes leaves open.
fn open_code(text: &str) -> Option<usize> {
    let start = text.starts_with('`').then(|| text.rfind("${"))?? + 2;
    (!text[start..].contains('}')).then_some(start)
}

fn after(before: &[Token], text: &str) -> After {
    let word = |token: &Token| token.text(text).to_owned();
    match before {
        [.., module, colons] if colons.text(text) == "::" && module.kind == Kind::Word => After::Module(word(module)),
        [.., dot] if matches!(dot.text(text), "." | "?.") && dot.kind == Kind::Symbol => {
            match receiver(&before[..before.len() - 1], text) {
                Some(receiver) => After::Dot(receiver),
                None => After::Nothing,
            }
        }
        [.., import] if import.text(text) == "import" => After::Import,
        [.., name] if matches!(name.text(text), "let" | "const" | "fn" | "as") => After::NewName,
        _ => After::Start,
    }
}

/// `a.b[0].c` and `eks::f(…).a` before a dot.
fn receiver(before: &[Token], text: &str) -> Option<Receiver> {
    let mut links = Vec::new();
    let mut rest = before;
    loop {
        let (last, shorter) = rest.split_last()?;
        match last.text(text) {
            "]" => {
                rest = &shorter[..opening(shorter, text)?];
                links.push(None);
            }
            ")" => {
                let open = opening(shorter, text)?;
                let (function, _) = callee(&shorter[..open], text)?;
                links.reverse();
                return Some(Receiver { root: function, called: true, links });
            }
            name if last.kind == Kind::Word => match shorter.split_last() {
                Some((dot, shorter)) if matches!(dot.text(text), "." | "?.") => {
                    links.push(Some(name.to_owned()));
                    rest = shorter;
                }
                _ => {
                    links.reverse();
                    return Some(Receiver { root: name.to_owned(), called: false, links });
                }
            },
            _ => return None,
        }
    }
}

/// The index of the bracket that the one behind these tokens closes.
fn opening(before: &[Token], text: &str) -> Option<usize> {
    let mut depth = 1;
    for (index, token) in before.iter().enumerate().rev() {
        if token.kind != Kind::Symbol {
            continue;
        }
        match token.text(text) {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" | "#{" | "?[" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// The function whose parenthesis follows, and the variable whose method it is.
fn callee(before: &[Token], text: &str) -> Option<(String, Option<String>)> {
    let (name, rest) = before.split_last()?;
    if name.kind != Kind::Word {
        return None;
    }
    let name = name.text(text);
    match rest {
        [.., module, colons] if colons.text(text) == "::" => Some((format!("{}::{name}", module.text(text)), None)),
        [.., value, dot] if matches!(dot.text(text), "." | "?.") => {
            Some((name.to_owned(), Some(value.text(text).to_owned())))
        }
        _ => Some((name.to_owned(), None)),
    }
}

fn inside(before: &[Token], text: &str, after: &After) -> Option<Inside> {
    let frames = frames(before, text);
    let complex_end = !matches!(after, After::Start);
    let mut path = Vec::new();
    let mut slot = None;
    let mut siblings = Vec::new();
    for frame in frames.iter().rev() {
        match frame {
            Frame::Map { entries, current } => {
                if slot.is_none() {
                    siblings.clone_from(entries);
                    slot = Some(match current {
                        Some(key) => Slot::ValueOf(key.clone()),
                        None => Slot::Key(entries.iter().map(|(key, _)| key.clone()).collect()),
                    });
                } else {
                    path.push(Some(current.clone()?));
                }
            }
            Frame::List => {
                if slot.is_none() {
                    slot = Some(Slot::Value);
                }
                path.push(None);
            }
            Frame::Block => return None,
            Frame::Call { function, receiver, arguments, complex } => {
                path.reverse();
                let plain = |(one, complex): (&Vec<Plain>, &bool)| match one.as_slice() {
                    [only] if !complex => Some(only.clone()),
                    _ => None,
                };
                let slot = slot.unwrap_or(Slot::Value);
                let slot = if complex_end && matches!(slot, Slot::Key(_)) { return None } else { slot };
                return Some(Inside {
                    function: function.clone(),
                    receiver: receiver.clone(),
                    index: arguments.len() - 1,
                    arguments: arguments[..arguments.len() - 1].iter().zip(complex).map(plain).collect(),
                    path,
                    slot,
                    siblings,
                });
            }
        }
    }
    None
}

fn frames(before: &[Token], text: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for (index, token) in before.iter().enumerate() {
        let piece = token.text(text);
        if token.kind != Kind::Symbol {
            note(frames.last_mut(), token, before.get(index + 1), text);
            continue;
        }
        match piece {
            "(" => {
                let call = callee(&before[..index], text)
                    .filter(|(name, _)| !matches!(name.as_str(), "if" | "while" | "in" | "return" | "switch"));
                frames.push(match call {
                    Some((function, receiver)) => {
                        Frame::Call { function, receiver, arguments: vec![Vec::new()], complex: vec![false] }
                    }
                    None => Frame::Block,
                });
            }
            "#{" => frames.push(Frame::Map { entries: Vec::new(), current: None }),
            "[" | "?[" => frames.push(Frame::List),
            "{" => frames.push(Frame::Block),
            ")" | "]" | "}" => {
                frames.pop();
                if let Some(Frame::Call { complex, .. }) = frames.last_mut() {
                    complex.iter_mut().last().into_iter().for_each(|complex| *complex = true);
                }
            }
            "," => match frames.last_mut() {
                Some(Frame::Call { arguments, complex, .. }) => {
                    arguments.push(Vec::new());
                    complex.push(false);
                }
                Some(Frame::Map { current, .. }) => *current = None,
                _ => {}
            },
            // A statement that was begun anew: what was open before it was never closed.
            ";" => {
                let block = frames.iter().rposition(|frame| matches!(frame, Frame::Block));
                frames.truncate(block.map_or(0, |block| block + 1));
            }
            _ => {}
        }
    }
    frames
}

/// Notes a word, a text or a number in what is open around it.
fn note(frame: Option<&mut Frame>, token: &Token, next: Option<&Token>, text: &str) {
    let plain = match (token.said(text), token.kind) {
        (Some(said), _) => Some(Plain::Text(said.to_owned())),
        (None, Kind::Word) => Some(Plain::Variable(token.text(text).to_owned())),
        _ => None,
    };
    match frame {
        Some(Frame::Map { entries, current: current @ None }) if next.is_some_and(|next| next.text(text) == ":") => {
            let key = token.said(text).unwrap_or_else(|| token.text(text)).to_owned();
            entries.push((key.clone(), None));
            *current = Some(key);
        }
        Some(Frame::Map { entries, current: Some(_) }) => {
            if let Some((_, value)) = entries.last_mut() {
                *value = if value.is_none() { plain } else { None };
            }
        }
        Some(Frame::Call { arguments, .. }) => {
            if let (Some(last), Some(plain)) = (arguments.last_mut(), plain) {
                last.push(plain);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside_of(text: &str) -> Inside {
        look(text).inside.unwrap_or_else(|| panic!("nothing around the cursor of {text:?}"))
    }

    #[test]
    fn a_key_is_typed_in_the_map_of_a_call() {
        let cursor = look("let g = eks::create_nodegroup(#{ cluster_name: \"prod\", ami_t");
        assert_eq!((cursor.typed.as_str(), cursor.start), ("ami_t", 55));
        let inside = cursor.inside.unwrap();
        assert_eq!((inside.function.as_str(), inside.index), ("eks::create_nodegroup", 0));
        assert_eq!(inside.slot, Slot::Key(BTreeSet::from(["cluster_name".to_owned()])));
        assert_eq!(inside.siblings, [("cluster_name".to_owned(), Some(Plain::Text("prod".to_owned())))]);
    }

    #[test]
    fn nested_maps_and_lists_are_a_path() {
        let inside = inside_of("eks::create_nodegroup(#{ scaling_config: #{ mi");
        assert_eq!(inside.path, [Some("scaling_config".to_owned())]);
        let inside = inside_of("ec2::run_instances(#{ network_interfaces: [#{ device_index: 0 }, #{ sub");
        assert_eq!(inside.path, [Some("network_interfaces".to_owned()), None]);
        let inside = inside_of("f::g(#{ a: #{ b: #{ c: \"");
        assert_eq!((inside.path.len(), inside.slot), (2, Slot::ValueOf("c".to_owned())));
        let inside = inside_of("eks::x(#{ types: [\"a\", \"");
        assert_eq!((inside.path, inside.slot), (vec![Some("types".to_owned()), None], Slot::Value));
    }

    #[test]
    fn what_comes_before_a_dot_is_known() {
        let dot = |text: &str| match look(text).after {
            After::Dot(receiver) => receiver,
            other => panic!("{other:?}"),
        };
        let links = |links: &[Option<&str>]| links.iter().map(|link| link.map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(dot("a.b[0].c"), Receiver { root: "a".into(), called: false, links: links(&[Some("b"), None]) });
        let call = dot("eks::describe_cluster(\"prod\").cluster.");
        assert_eq!(
            call,
            Receiver { root: "eks::describe_cluster".into(), called: true, links: links(&[Some("cluster")]) }
        );
    }

    #[test]
    fn other_places_are_told_apart() {
        assert_eq!(look("eks::des").after, After::Module("eks".to_owned()));
        assert_eq!(look("import \"v").after, After::Import);
        assert_eq!(look("let clu").after, After::NewName);
        assert_eq!(look("// eks::").after, After::Nothing);
        assert_eq!(look("f(1").after, After::Nothing);
        assert_eq!(look("let a = f(x); g").inside, None);
        assert_eq!(look("`a ${ k.").after, After::Dot(Receiver { root: "k".into(), called: false, links: Vec::new() }));
        let inside = inside_of("k.list(\"pods\", #{ name");
        assert_eq!((inside.function.as_str(), inside.receiver.as_deref(), inside.index), ("list", Some("k"), 1));
        assert_eq!(inside.arguments, [Some(Plain::Text("pods".to_owned()))]);
    }
}
