//! Assertions for tests written in Rhai: `assert_eq`, `assert`, `assert_error`.

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, NativeCallContext};
use serde_json::json;

use super::call::Thrown;
use super::fault;
use crate::error::Error;
use crate::value::{self, Secrets, Show};

/// Registers them. Runbooks do not have them: a runbook throws an error that says what to do.
pub fn register(engine: &mut Engine) {
    engine.register_fn("assert_eq", |context: NativeCallContext, actual: Dynamic, expected: Dynamic| {
        let actual = value::to_json(&actual, Show::Hidden).map_err(|error| thrown(&context, error))?;
        let expected = value::to_json(&expected, Show::Hidden).map_err(|error| thrown(&context, error))?;
        if actual == expected {
            return Ok(());
        }
        let error = Error::failed("the two values differ")
            .note(format!("found    {actual}"))
            .note(format!("expected {expected}"))
            .with("found", json!(actual));
        Err(thrown(&context, error))
    });
    engine.register_fn(
        "assert",
        |context: NativeCallContext, fact: bool, why: ImmutableString| {
            if fact { Ok(()) } else { Err(thrown(&context, Error::failed(why.to_string()))) }
        },
    );
    engine.register_fn(
        "assert",
        |context: NativeCallContext, fact: bool| {
            if fact { Ok(()) } else { Err(thrown(&context, Error::failed("it is not so"))) }
        },
    );
    engine.register_fn("assert_error", |context: NativeCallContext, kind: ImmutableString, body: FnPtr| -> Thrown {
        let raised = match body.call_within_context::<Dynamic>(&context, ()) {
            Ok(found) => Err(format!("it returned {found:?}")),
            Err(failure) => Ok(raised(&failure)),
        };
        match raised {
            Ok(error) if error.kind().name() == kind.as_str() => Ok(value::to_dynamic(error.to_json(), Secrets::None)),
            Ok(error) => {
                let found = format!("found `{}`: {error}", error.kind());
                Err(thrown(&context, Error::failed(format!("it does not raise `{kind}`")).note(found)))
            }
            Err(found) => Err(thrown(&context, Error::failed(format!("it does not raise `{kind}`")).note(found))),
        }
    });
}

fn raised(failure: &EvalAltResult) -> Error {
    match failure.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => fault::from_value(value),
        other => Error::invalid(other.to_string()),
    }
}

fn thrown(context: &NativeCallContext, error: Error) -> Box<EvalAltResult> {
    let value = value::to_dynamic(error.to_json(), Secrets::None);
    Box::new(EvalAltResult::ErrorRuntime(value, context.call_position()))
}
