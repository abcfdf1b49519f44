//! Time: real, or virtual in a rehearsal. Times are RFC 3339 texts in UTC.

use serde_json::{Value, json};

use crate::catalog::{Answer, Args, Binding, Call, Effect, Param, Run, Ty};
use crate::cloud::Future;
use crate::error::{Error, Result};
use crate::value;

/// `clock::`.
pub static ALL: &[&Binding] = &[&NOW, &SLEEP, &ADD, &SECONDS_BETWEEN];

static NOW: Binding = Binding {
    name: "clock::now",
    effect: Effect::Pure,
    doc: "The time, to the second.",
    params: &[],
    options: &[],
    returns: "text such as \"2026-01-31T08:00:00Z\"",
    raises: &[],
    run: Run::Cloud(now),
};

fn now(call: Call<'_>) -> Future<'_, Result<Answer>> {
    Box::pin(async move { Ok(Answer::read(json!(value::format_time(call.cloud.clock.now())))) })
}

static SLEEP: Binding = Binding {
    name: "clock::sleep",
    effect: Effect::Pure,
    doc: "Waits. Prefer `wait_until`, which ends as soon as it can.

```rhai
clock::sleep(\"1ms\")
clock::sleep(10) //=> error: invalid
```",
    params: &[Param::new("time", Ty::Duration, "with its unit: \"10s\"")],
    options: &[],
    returns: "nothing",
    raises: &[],
    run: Run::Cloud(sleep),
};

fn sleep(call: Call<'_>) -> Future<'_, Result<Answer>> {
    Box::pin(async move {
        call.cloud.clock.sleep(call.args.duration("time").unwrap_or_default()).await;
        Ok(Answer::read(Value::Null))
    })
}

static ADD: Binding = Binding {
    name: "clock::add",
    effect: Effect::Pure,
    doc: "A time moved on by a duration.

```rhai
clock::add(\"2026-01-31T08:00:00Z\", \"90m\") //=> \"2026-01-31T09:30:00Z\"
clock::add(\"yesterday\", \"1h\") //=> error: invalid
```",
    params: &[Param::new("time", Ty::Time, "RFC 3339"), Param::new("duration", Ty::Duration, "with its unit")],
    options: &[],
    returns: "text",
    raises: &[],
    run: Run::Pure(add),
};

fn add(args: &Args) -> Result<Value> {
    let time = value::parse_time(args.text("time"))?;
    let pause = jiff::SignedDuration::try_from(args.duration("duration").unwrap_or_default())
        .map_err(|_| Error::invalid("the duration is too long"))?;
    let moved = time.checked_add(pause).map_err(|_| Error::invalid("the time would lie beyond the year 9999"))?;
    Ok(json!(value::format_time(moved)))
}

static SECONDS_BETWEEN: Binding = Binding {
    name: "clock::seconds_between",
    effect: Effect::Pure,
    doc: "Seconds from the first time to the second; negative when the second lies before it.

```rhai
clock::seconds_between(\"2026-01-31T08:00:00Z\", \"2026-01-31T08:01:30Z\") //=> 90
clock::seconds_between(\"now\", \"later\") //=> error: invalid
```",
    params: &[Param::new("start", Ty::Time, "RFC 3339"), Param::new("end", Ty::Time, "RFC 3339")],
    options: &[],
    returns: "integer",
    raises: &[],
    run: Run::Pure(seconds_between),
};

fn seconds_between(args: &Args) -> Result<Value> {
    let start = value::parse_time(args.text("start"))?;
    let end = value::parse_time(args.text("end"))?;
    Ok(json!(end.as_second() - start.as_second()))
}
