//! Messages to the operator: on standard error and in the events, never in the result.

use serde_json::Value;

use crate::catalog::{Answer, Binding, Call, Effect, Param, Run, Ty};
use crate::cloud::Future;
use crate::error::Result;
use crate::event::Level;

/// `log::`.
pub static ALL: &[&Binding] = &[&INFO, &WARN];

static INFO: Binding = Binding {
    name: "log::info",
    effect: Effect::Pure,
    doc: "Tells the operator something worth knowing.",
    params: &[Param::new("text", Ty::Text, "one line")],
    options: &[],
    returns: "nothing",
    raises: &[],
    run: Run::Cloud(info),
};

fn info(call: Call<'_>) -> Future<'_, Result<Answer>> {
    say(call, Level::Info)
}

static WARN: Binding = Binding {
    name: "log::warn",
    effect: Effect::Pure,
    doc: "Tells the operator something worth acting on.",
    params: &[Param::new("text", Ty::Text, "one line")],
    options: &[],
    returns: "nothing",
    raises: &[],
    run: Run::Cloud(warn),
};

fn warn(call: Call<'_>) -> Future<'_, Result<Answer>> {
    say(call, Level::Warn)
}

fn say(call: Call<'_>, level: Level) -> Future<'_, Result<Answer>> {
    Box::pin(async move {
        (call.say)(level, call.args.text("text").to_owned());
        Ok(Answer::read(Value::Null))
    })
}
