//! Errors for scripts to throw: `throw error::conflict("…", #{ hint: "…" })`.

use serde_json::{Map, Value, json};

use crate::catalog::{Args, Binding, Effect, Param, Run, Ty};
use crate::error::{Error, Kind, Result, did_you_mean};

/// `error::`.
pub static ALL: &[&Binding] =
    &[&OF, &NOT_FOUND, &CONFLICT, &INVALID, &DENIED, &TIMEOUT, &UNAVAILABLE, &FAILED, &REFUSED, &IS];

const OPTIONS: &[Param] = &[
    Param::option("notes", Ty::List, "facts that help, each one sentence"),
    Param::option("hint", Ty::Text, "one action, imperative"),
    Param::option("details", Ty::Any, "data for whoever catches it"),
];

const MESSAGE: Param = Param::new("message", Ty::Text, "one lower-case sentence: subject, state and place, no period");

static OF: Binding = Binding {
    name: "error::of",
    effect: Effect::Pure,
    doc: "An error of any kind, to `throw`.

```rhai
throw error::of(\"conflict\", \"the name is taken\") //=> error: conflict
error::of(\"wrong\", \"x\") //=> error: invalid
```",
    params: &[Param::new("kind", Ty::Text, "one of the kinds, such as \"not_found\""), MESSAGE],
    options: OPTIONS,
    returns: "the error as a map",
    raises: &[Kind::Invalid],
    run: Run::Pure(of),
};

fn of(args: &Args) -> Result<Value> {
    let word = args.text("kind");
    let names = Kind::ALL.map(Kind::name);
    let kind = Kind::parse(word).filter(|kind| !matches!(kind, Kind::Bug | Kind::Cancelled)).ok_or_else(|| {
        Error::invalid(format!("a script can not raise the kind `{word}`"))
            .note(format!("kinds are {}", crate::error::list_or(&names[..10])))
            .maybe_hint(did_you_mean(word, names))
    })?;
    make(args, kind)
}

fn make(args: &Args, kind: Kind) -> Result<Value> {
    let mut error = Error::new(kind, args.text("message"));
    error.facts_mut().retryable = false;
    for note in args.list("notes") {
        error = error.note(note.as_str().map_or_else(|| note.to_string(), str::to_owned));
    }
    error = error.maybe_hint(args.opt_text("hint").map(str::to_owned));
    if let Some(details) = args.get("details") {
        error = error.with("details", details.clone());
    }
    // Where it is thrown is filled in when it is; an empty place here would look like a known one.
    let Value::Object(map) = error.to_json() else { return Err(Error::bug("an error is not a map")) };
    let map: Map<String, Value> =
        map.into_iter().filter(|(key, _)| !matches!(key.as_str(), "line" | "column" | "source")).collect();
    Ok(Value::Object(map))
}

macro_rules! kinds {
    ($($constant:ident $name:literal $function:ident $kind:expr, $doc:literal;)*) => {
        $(
            static $constant: Binding = Binding {
                name: $name,
                effect: Effect::Pure,
                doc: $doc,
                params: &[MESSAGE],
                options: OPTIONS,
                returns: "the error as a map",
                raises: &[],
                run: Run::Pure($function),
            };

            fn $function(args: &Args) -> Result<Value> {
                make(args, $kind)
            }
        )*
    };
}

kinds! {
    NOT_FOUND "error::not_found" not_found Kind::NotFound, "The thing does not exist; to `throw`.";
    CONFLICT "error::conflict" conflict Kind::Conflict, "The thing exists in another form or belongs to somebody else; to `throw`.";
    INVALID "error::invalid" invalid Kind::Invalid, "The request is wrong in itself; to `throw`.";
    DENIED "error::denied" denied Kind::Denied, "Who is signed in may not do this; to `throw`.";
    TIMEOUT "error::timeout" timeout Kind::Timeout, "It did not happen in time; to `throw`.";
    UNAVAILABLE "error::unavailable" unavailable Kind::Unavailable, "It can not be reached; to `throw`.";
    FAILED "error::failed" failed Kind::Failed, "It will not happen any more; to `throw`.";
    REFUSED "error::refused" refused Kind::Refused, "Not allowed here; to `throw`.";
}

static IS: Binding = Binding {
    name: "error::is",
    effect: Effect::Pure,
    doc: "Whether a caught error is of a kind.

```rhai
let found = \"\";
try { throw error::not_found(\"no such thing\") } catch (e) { found = e.kind }
found //=> \"not_found\"
```",
    params: &[
        Param::new("error", Ty::Any, "what `catch` caught"),
        Param::new("kind", Ty::Text, "such as \"not_found\""),
    ],
    options: &[],
    returns: "boolean",
    raises: &[],
    run: Run::Pure(is),
};

fn is(args: &Args) -> Result<Value> {
    let kind = args.get("error").and_then(|error| error.get("kind")).and_then(Value::as_str);
    Ok(json!(kind == Some(args.text("kind"))))
}
