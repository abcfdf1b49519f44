//! What can go wrong, said once: the kinds, the exit codes, and the error that carries subject, state, place and remedy.
//!
//! A message is one lower-case sentence without a period that is complete by itself. Notes are facts that help, the
//! hint is one action that can be pasted. The place is added by the engine; whoever makes an error never formats it.

use std::fmt;

use serde_json::{Map, Value, json};

/// The stable kinds a script can test: `catch (e) { if e.kind == "not_found" { … } }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The thing does not exist.
    NotFound,
    /// The thing exists in another form, belongs to somebody else, or changed meanwhile.
    Conflict,
    /// The request is wrong in itself; sending it again can not help.
    Invalid,
    /// Who is signed in may not do this.
    Denied,
    /// Credentials are absent or no longer valid.
    Expired,
    /// The service asks to slow down.
    Throttled,
    /// It did not happen in time.
    Timeout,
    /// The service can not be reached or does not answer properly.
    Unavailable,
    /// The service gave up on it, or a script said so.
    Failed,
    /// This session does not allow it: mode, policy or the operator.
    Refused,
    /// The operator cancelled.
    Cancelled,
    /// ekskit itself is wrong.
    Bug,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Kind; 12] = [
        Kind::NotFound,
        Kind::Conflict,
        Kind::Invalid,
        Kind::Denied,
        Kind::Expired,
        Kind::Throttled,
        Kind::Timeout,
        Kind::Unavailable,
        Kind::Failed,
        Kind::Refused,
        Kind::Cancelled,
        Kind::Bug,
    ];

    /// The word that scripts see.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Invalid => "invalid",
            Kind::Denied => "denied",
            Kind::Expired => "expired",
            Kind::Throttled => "throttled",
            Kind::Timeout => "timeout",
            Kind::Unavailable => "unavailable",
            Kind::Failed => "failed",
            Kind::Refused => "refused",
            Kind::Cancelled => "cancelled",
            Kind::Bug => "bug",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// The script, a check or the time limit failed.
    Failed = 1,
    /// The command line or an input is wrong.
    Usage = 2,
    /// Refused by policy, mode or the operator.
    Refused = 3,
    /// Our own bug.
    Bug = 70,
    /// Cancelled by the operator.
    Cancelled = 130,
}

/// A place in a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as the operator wrote it, or `stdlib/vpc.rhai` for an embedded module; empty for typed text.
    pub source: String,
    /// From 1.
    pub line: usize,
    /// From 1; 0 when only the line is known.
    pub column: usize,
}

/// The one error of the program. Boxed inside, so that results stay small.
#[derive(Clone, Debug)]
pub struct Error(Box<Facts>);

/// What an [`Error`] knows.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The stable kind.
    pub kind: Kind,
    /// Subject, state and place in one sentence.
    pub message: String,
    /// Facts that help; the first two are shown.
    pub notes: Vec<String>,
    /// One action, imperative.
    pub hint: Option<String>,
    /// Where in the script.
    pub at: Option<Place>,
    /// The calls that led there, innermost first.
    pub trace: Vec<(String, Place)>,
    /// The service that answered, for example `eks` or `kubernetes`.
    pub service: Option<String>,
    /// The operation, as the script names it: `create_cluster`.
    pub operation: Option<String>,
    /// The service's own error code.
    pub code: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// The request id to quote to AWS support.
    pub request_id: Option<String>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether the change may have happened although no answer says so.
    pub maybe_applied: bool,
    /// The step in which it happened.
    pub step_path: Option<String>,
    /// Whether the command line or an input is at fault: exit code 2.
    pub usage: bool,
    /// What else a script may want: `last` of a time-out, `errors` of parallel branches.
    pub extra: Map<String, Value>,
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error(Box::new(Facts {
            kind,
            message: message.into(),
            notes: Vec::new(),
            hint: None,
            at: None,
            trace: Vec::new(),
            service: None,
            operation: None,
            code: None,
            status: None,
            request_id: None,
            retryable: matches!(kind, Kind::Throttled | Kind::Unavailable),
            maybe_applied: false,
            step_path: None,
            usage: false,
            extra: Map::new(),
        }))
    }

    /// `cluster "x" does not exist`: subject and object, the place follows with [`Error::in_`].
    pub fn not_found(subject: &str, name: &str) -> Error {
        Error::new(Kind::NotFound, format!("{subject} `{name}` does not exist"))
    }

    /// The request is wrong in itself.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message)
    }

    /// The command line or an input is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Error {
        let mut error = Error::new(Kind::Invalid, message);
        error.0.usage = true;
        error
    }

    /// Exists in another form or belongs to somebody else.
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, message)
    }

    /// Not allowed in this session.
    pub fn refused(message: impl Into<String>) -> Error {
        Error::new(Kind::Refused, message)
    }

    /// Did not happen in time.
    pub fn timeout(message: impl Into<String>) -> Error {
        Error::new(Kind::Timeout, message)
    }

    /// Can not be reached.
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(Kind::Unavailable, message)
    }

    /// Given up.
    pub fn failed(message: impl Into<String>) -> Error {
        Error::new(Kind::Failed, message)
    }

    /// The operator cancelled.
    pub fn cancelled() -> Error {
        Error::new(Kind::Cancelled, "cancelled by the operator")
    }

    /// ekskit itself is wrong.
    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(Kind::Bug, message)
            .hint("this is a bug of ekskit: report it with the command that was run and this message")
    }

    /// Adds the place to the sentence: `… in cluster "prod"`.
    pub fn in_(mut self, place: &str, name: &str) -> Error {
        self.0.message.push_str(&format!(" in {place} `{name}`"));
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Error {
        self.0.notes.push(note.into());
        self
    }

    /// Sets the one action that helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the hint where there is one.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Error {
        if hint.is_some() {
            self.0.hint = hint;
        }
        self
    }

    /// Adds a value for scripts.
    pub fn with(mut self, key: &str, value: Value) -> Error {
        self.0.extra.insert(key.to_owned(), value);
        self
    }

    /// What the error knows.
    pub fn facts(&self) -> &Facts {
        &self.0
    }

    /// To fill in what the place of birth knows.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.0
    }

    /// The stable kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The exit code that this error leads to.
    pub fn exit(&self) -> Exit {
        match self.0.kind {
            _ if self.0.usage => Exit::Usage,
            Kind::Refused => Exit::Refused,
            Kind::Cancelled => Exit::Cancelled,
            Kind::Bug => Exit::Bug,
            _ => Exit::Failed,
        }
    }

    /// The map that scripts catch and that `--output json` prints.
    pub fn to_json(&self) -> Value {
        let facts = &*self.0;
        let mut map = facts.extra.clone();
        for (key, value) in [
            ("kind", json!(facts.kind.name())),
            ("message", json!(facts.message)),
            ("notes", json!(facts.notes)),
            ("hint", json!(facts.hint)),
            ("service", json!(facts.service)),
            ("operation", json!(facts.operation)),
            ("code", json!(facts.code)),
            ("status", json!(facts.status)),
            ("request_id", json!(facts.request_id)),
            ("retryable", json!(facts.retryable)),
            ("maybe_applied", json!(facts.maybe_applied)),
            ("source", json!(facts.at.as_ref().map(|at| &at.source))),
            ("line", json!(facts.at.as_ref().map(|at| at.line))),
            ("column", json!(facts.at.as_ref().map(|at| at.column))),
            ("step_path", json!(facts.step_path)),
        ] {
            map.insert(key.to_owned(), value);
        }
        Value::Object(map)
    }

    /// The error that a thrown map stands for: what [`Error::to_json`] wrote, or what a script made.
    pub fn from_json(mut map: Map<String, Value>) -> Error {
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let kind = text(map.remove("kind")).and_then(|name| Kind::parse(&name)).unwrap_or(Kind::Failed);
        let message = text(map.remove("message")).unwrap_or_else(|| format!("the script threw {}", json!(map)));
        let mut error = Error::new(kind, message);
        let facts = error.facts_mut();
        if let Some(Value::Array(notes)) = map.remove("notes") {
            facts.notes = notes.into_iter().filter_map(|note| note.as_str().map(str::to_owned)).collect();
        }
        facts.hint = text(map.remove("hint"));
        facts.service = text(map.remove("service"));
        facts.operation = text(map.remove("operation"));
        facts.code = text(map.remove("code"));
        facts.status =
            map.remove("status").and_then(|status| status.as_u64()).and_then(|status| status.try_into().ok());
        facts.request_id = text(map.remove("request_id"));
        if let Some(retryable) = map.remove("retryable").and_then(|flag| flag.as_bool()) {
            facts.retryable = retryable;
        }
        facts.maybe_applied = map.remove("maybe_applied").and_then(|flag| flag.as_bool()).unwrap_or(false);
        facts.step_path = text(map.remove("step_path"));
        let number =
            |value: Option<Value>| value.and_then(|value| value.as_u64()).and_then(|n| usize::try_from(n).ok());
        let (source, line, column) =
            (text(map.remove("source")), number(map.remove("line")), number(map.remove("column")));
        facts.at = line.map(|line| Place { source: source.unwrap_or_default(), line, column: column.unwrap_or(0) });
        facts.extra = map;
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// `1 node`, `3 nodes`, `2 policies`.
pub fn count(noun: &str, number: usize) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, None) if noun.ends_with("ch") || noun.ends_with('s') => format!("{number} {noun}es"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// `` `a`, `b` or `c` ``.
pub fn list_or<T: AsRef<str>>(names: &[T]) -> String {
    list(names, "or")
}

/// `` `a`, `b` and `c` ``.
pub fn list_and<T: AsRef<str>>(names: &[T]) -> String {
    list(names, "and")
}

fn list<T: AsRef<str>>(names: &[T], word: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// The candidate that the operator probably meant. No suggestion is better than a silly one: the distance allowed
/// grows with the length, and a word of two letters gets none.
pub fn suggest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match typed.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&typed.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `` did you mean `name`? `` where there is something to mean.
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    suggest(typed, candidates).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_being_thrown_and_caught() {
        let mut error = Error::not_found("node group", "wrokers")
            .in_("cluster", "prod")
            .note("it has `workers`")
            .hint("did you mean `workers`?");
        error.facts_mut().status = Some(404);
        error.facts_mut().at = Some(Place { source: "a.rhai".into(), line: 3, column: 5 });
        let Value::Object(map) = error.to_json() else { panic!("a map") };
        let back = Error::from_json(map);
        assert_eq!(back.to_json(), error.to_json());
        assert_eq!(back.to_string(), "node group `wrokers` does not exist in cluster `prod`");
    }

    #[test]
    fn plurals_and_lists() {
        assert_eq!(count("node", 1), "1 node");
        assert_eq!(count("policy", 2), "2 policies");
        assert_eq!(count("key", 2), "2 keys");
        assert_eq!(count("branch", 2), "2 branches");
        assert_eq!(list_or(&["a", "b", "c"]), "`a`, `b` or `c`");
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(suggest("scaling_confg", ["scaling_config", "labels"]), Some("scaling_config"));
        assert_eq!(suggest("nam", ["name", "tags"]), Some("name"));
        assert_eq!(suggest("zebra", ["name", "tags"]), None);
    }
}
