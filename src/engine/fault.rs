//! Errors on their way into scripts and out of them.
//!
//! Into scripts an [`Error`] goes as a map, so that `catch (e) { e.kind }` works. Out of them come our own maps, what
//! a script threw, and the engine's own errors; all become an [`Error`] here, with the place in the operator's file.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, ImmutableString, LexError, Map, ParseErrorType, Position};
use serde_json::Value;

use super::names::Names;
use crate::error::{Error, Kind, Place};
use crate::session::Session;
use crate::sources::EMBEDDED;
use crate::value::{self, Secrets, Show};

/// A place from what the engine knows.
pub fn place(source: Option<&str>, position: Position) -> Place {
    Place {
        source: source.unwrap_or_default().to_owned(),
        line: position.line().unwrap_or(0),
        column: position.position().unwrap_or(0),
    }
}

/// What the engine throws for this error. A cancellation can not be caught.
pub fn throw(session: &Arc<Session>, error: Error, position: Position) -> Box<EvalAltResult> {
    let cancelled = error.kind() == Kind::Cancelled || session.cancel.is_cancelled();
    let error = if cancelled { ended_early(session, error) } else { error };
    let value = value::to_dynamic(error.to_json(), Secrets::None);
    Box::new(if cancelled {
        EvalAltResult::ErrorTerminated(value, position)
    } else {
        EvalAltResult::ErrorRuntime(value, position)
    })
}

/// The reason for which the session ends, with what the call that it cut off knows.
fn ended_early(session: &Arc<Session>, error: Error) -> Error {
    let mut reason = session.cancel.reason();
    if error.kind() != reason.kind() {
        reason = reason.note(error.to_string());
    }
    let (facts, cut) = (reason.facts_mut(), error.facts());
    facts.at = cut.at.clone();
    facts.step_path = cut.step_path.clone();
    facts.maybe_applied |= cut.maybe_applied;
    reason
}

/// The error that a caught or thrown value stands for.
pub fn from_value(value: &Dynamic) -> Error {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Error::failed(text.to_string());
    }
    match value::to_json(value, Show::Hidden) {
        Ok(Value::Object(map)) if map.contains_key("message") => Error::from_json(map),
        Ok(Value::Object(map)) if map.get("kind").is_some_and(|kind| kind.as_str().is_some_and(is_kind)) => {
            let message = format!("the script threw {}", Value::Object(map.clone()));
            let mut error = Error::from_json(map);
            error.facts_mut().message = message;
            error
        }
        Ok(other) => Error::failed(format!("the script threw {other}")),
        Err(error) => error,
    }
}

fn is_kind(name: &str) -> bool {
    Kind::parse(name).is_some()
}

/// The error of a script that ended with it.
pub fn from_engine(session: &Arc<Session>, names: &Names, source: Option<&str>, failure: &EvalAltResult) -> Error {
    let mut frames = Vec::new();
    let (root, source) = unwind(failure, source.unwrap_or_default().to_owned(), &mut frames);
    let position = root.position();
    let mut error = root_error(session, names, root);
    let facts = error.facts_mut();
    if facts.at.is_none() && !position.is_none() {
        facts.at = Some(place(Some(&source), position));
    }
    facts.trace = frames;
    prefer_the_operators_file(&mut error);
    error
}

/// Walks down to where it happened. A frame is the place of a call; it lies in the source of the frame around it.
fn unwind<'e>(
    failure: &'e EvalAltResult,
    source: String,
    frames: &mut Vec<(String, Place)>,
) -> (&'e EvalAltResult, String) {
    match failure {
        EvalAltResult::ErrorInFunctionCall(name, module, inner, position) => {
            frames.insert(0, (name.clone(), place(Some(&source), *position)));
            unwind(inner, module.clone(), frames)
        }
        EvalAltResult::ErrorInModule(name, inner, position) => {
            frames.insert(0, (format!("import \"{name}\""), place(Some(&source), *position)));
            unwind(inner, name.clone(), frames)
        }
        other => (other, source),
    }
}

/// An operator wants the line of the own file that led there; the place inside stdlib goes to the trace.
fn prefer_the_operators_file(error: &mut Error) {
    let facts = error.facts_mut();
    let inside = facts.at.as_ref().is_some_and(|at| at.source.starts_with(EMBEDDED));
    if !inside {
        return;
    }
    let own = facts.trace.iter().find(|(_, at)| !at.source.starts_with(EMBEDDED) && at.line > 0).cloned();
    if let Some((_, own)) = own
        && let Some(at) = facts.at.replace(own)
    {
        facts.trace.insert(0, ("raised".to_owned(), at));
    }
}

fn root_error(session: &Arc<Session>, names: &Names, root: &EvalAltResult) -> Error {
    use EvalAltResult as E;
    match root {
        E::ErrorRuntime(value, _) => from_value(value),
        E::ErrorTerminated(value, _) if value.is_map() => from_value(value),
        E::ErrorTerminated(..) => session.cancel.reason(),
        E::ErrorParsing(kind, _) => parse_error(kind),
        other => script_error(names, other),
    }
}

/// The hint for a variable that stands outside of the function that reads it.
pub const HAND_IN: &str = "script functions see only their parameters: hand the value in";

/// The hint for a variable that is known nowhere.
pub const KNOWN_FROM: &str = "a name is known from its `let` on, and script functions see only their parameters";

/// The hint for a module that is not imported, and could be.
pub fn import_at_the_top(name: &str) -> String {
    format!("write `import \"{name}\" as {name};` at the top")
}

/// The hint for a key that a map does not have.
pub fn key_that_may_be_absent(name: &str) -> String {
    format!("for a key that may be absent write `.get(\"{name}\")`, which answers `()`")
}

/// Mistakes in a script that the engine finds while running it.
fn script_error(names: &Names, root: &EvalAltResult) -> Error {
    use EvalAltResult as E;
    match root {
        E::ErrorVariableNotFound(name, _) => Error::invalid(format!("variable `{name}` does not exist")).hint(HAND_IN),
        E::ErrorFunctionNotFound(signature, _) => names.unknown_function(signature),
        E::ErrorModuleNotFound(name, _) => {
            Error::invalid(format!("module `{name}` does not exist")).maybe_hint(names.import_hint(name))
        }
        E::ErrorPropertyNotFound(name, _) => {
            Error::invalid(format!("the map has no key `{name}`")).hint(key_that_may_be_absent(name))
        }
        E::ErrorIndexNotFound(index, _) => Error::invalid(format!("there is nothing at index `{index}`")),
        E::ErrorArrayBounds(length, index, _) => Error::invalid(format!(
            "the list has {}, so there is none at index {index}",
            crate::error::count("element", *length)
        )),
        E::ErrorStringBounds(length, index, _) => Error::invalid(format!(
            "the text has {}, so there is none at index {index}",
            crate::error::count("character", *length)
        )),
        E::ErrorFor(_) => Error::invalid("a loop goes through a list or a range, found something else")
            .hint("of a map take `.keys()` or `.values()`, of an answer the list in it"),
        E::ErrorDotExpr(text, _) => dot_error(text),
        E::ErrorMismatchDataType(wanted, found, _) | E::ErrorMismatchOutputType(wanted, found, _) => Error::invalid(
            format!("{} is wanted here, found {}", value::describe_type(wanted), value::describe_type(found)),
        ),
        E::ErrorArithmetic(text, _) => Error::invalid(lower(text)),
        E::ErrorDataRace(name, _) => Error::invalid(format!("`{name}` is used by two branches at once"))
            .hint("let each branch return its value and combine the results"),
        E::ErrorTooManyOperations(_) => {
            Error::failed("the script computes for too long without a call").hint("look for a loop that never ends")
        }
        E::ErrorStackOverflow(_) => Error::failed("functions call each other too deeply")
            .hint("look for a function that calls itself without an end"),
        E::ErrorDataTooLarge(what, _) => Error::failed(format!("too large: {}", lower(what))),
        E::ErrorAssignmentToConstant(name, _) => Error::invalid(format!("`{name}` is a constant")),
        other => Error::invalid(lower(&plain(other))),
    }
}

/// A property that a value without keys does not have; the engine tells it in words only.
fn dot_error(text: &str) -> Error {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next()) {
        (Some(property), Some(found)) if text.starts_with("Unknown property") => {
            let error = Error::invalid(format!("{} has no property `{property}`", value::describe_type(found)));
            match found {
                "array" => error.hint(format!("take an item of it: `[0].{property}`")),
                "()" => error.hint("look first whether there is a value: `if value != () { … }`"),
                _ => error,
            }
        }
        _ => Error::invalid(lower(text)),
    }
}

/// The engine's own words without its position, which we show ourselves.
fn plain(error: &EvalAltResult) -> String {
    let text = error.to_string();
    text.split(" (line ").next().unwrap_or(&text).trim().to_owned()
}

fn lower(text: &str) -> String {
    let mut letters = text.trim().trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// A script that does not parse.
pub fn parse_error(kind: &ParseErrorType) -> Error {
    use ParseErrorType as P;
    match kind {
        P::VariableUndefined(name) => Error::invalid(format!("variable `{name}` does not exist")).hint(KNOWN_FROM),
        P::ModuleUndefined(name) => {
            Error::invalid(format!("module `{name}` is not imported")).hint(import_at_the_top(name))
        }
        P::Reserved(word) => reserved(word),
        P::BadInput(LexError::ImproperSymbol(symbol, _)) | P::UnknownOperator(symbol) => stray(symbol),
        P::BadInput(LexError::UnterminatedString) => Error::invalid("a text is not closed"),
        P::MissingToken(token, what) => Error::invalid(format!("`{token}` is missing {what}")),
        P::MissingSymbol(what) => Error::invalid(lower(what)),
        P::UnexpectedEOF => Error::invalid("the script ends in the middle of a statement"),
        P::ExprTooDeep => Error::invalid("this expression is too deeply nested").hint("split it with `let`"),
        P::PropertyExpected => Error::invalid("the name of a key is missing here").hint(QUOTE),
        P::AssignmentToConstant(name) => Error::invalid(format!("`{name}` is a constant")),
        other => Error::invalid(lower(&other.to_string())),
    }
}

const QUOTE: &str = "reserved words such as `default`, `match` or `public` are quoted as keys: `#{ \"default\": 1 }`, `map[\"default\"]`";

/// A symbol that means nothing where it stands, or nowhere.
fn stray(symbol: &str) -> Error {
    let error = Error::invalid(format!("`{symbol}` does not belong here"));
    match symbol {
        "?" => error.hint("for a choice write `if a { b } else { c }`"),
        "$" => error.hint("a variable is written by its name alone; `${ … }` is for texts in back quotes"),
        "#!" => error.hint("leave out the first line: a script is run with `ekskit run`"),
        _ => error,
    }
}

fn reserved(word: &str) -> Error {
    let is_word = word.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
    match word {
        _ if !is_word => stray(word),
        "null" | "nil" => Error::invalid(format!("`{word}` is not a value here")).hint("write `()` for nothing"),
        _ => Error::invalid(format!("`{word}` is a reserved word")).hint(QUOTE),
    }
}

/// A caught error of the engine, which scripts get as a map of its own, with the keys that every error has.
/// None for any other value.
pub fn completed(value: &Dynamic) -> Option<Dynamic> {
    if !value.is_map() {
        return None;
    }
    let map = value.read_lock::<Map>()?;
    let name = map.get("error")?.read_lock::<ImmutableString>()?.clone();
    if !name.starts_with("Error") || !map.contains_key("message") || map.contains_key("kind") {
        return None;
    }
    let mut whole = map.clone();
    let empty = Error::invalid("").to_json();
    for (key, value) in empty.as_object().into_iter().flatten() {
        whole.entry(key.as_str().into()).or_insert_with(|| value::to_dynamic(value.clone(), Secrets::None));
    }
    Some(Dynamic::from_map(whole))
}
