//! Control flow, described. The engine has it in `engine/control.rs`, because it needs closures.

use crate::catalog::{Binding, Effect, Param, Run, Ty};
use crate::error::Kind;

/// `params`, `step`, `retry`, `parallel`, `wait_until`.
pub static ALL: &[&Binding] = &[&PARAMS, &STEP, &RETRY, &PARALLEL, &WAIT_UNTIL];

const fn control(
    name: &'static str,
    doc: &'static str,
    params: &'static [Param],
    options: &'static [Param],
    returns: &'static str,
    raises: &'static [Kind],
) -> Binding {
    Binding { name, effect: Effect::Pure, doc, params, options, returns, raises, run: Run::Control }
}

static PARAMS: Binding = control(
    "params",
    "Declares the inputs of a script and answers their values.

The first statement after the imports, with a literal map: `--help` reads it without running the script. Each input is
`#{ type, help, value, one_of }`; types are `string`, `int`, `float`, `bool`, `list`, `map` and `duration`. An input
without `value` must be given with `--set` or `--values`.

```rhai
let cfg = params(#{ name: #{ type: \"string\", help: \"cluster name\", value: \"prod\" } });
cfg.name //=> \"prod\"
```",
    &[Param::new("inputs", Ty::Map, "name → `#{ type, help, value, one_of }`")],
    &[],
    "a map of the values",
    &[],
);

static STEP: Binding = control(
    "step",
    "Runs a block as a named unit of progress and answers its value: `step \"network\" { … }`.

The value is plain data, and the only way to hand something on: a variable of the script around the step can not be
changed in it, and `return`, `break` and `continue` can not leave it.

```rhai
let sum = step \"add\" { 1 + 2 };
sum //=> 3
```",
    &[],
    &[],
    "the value of the block",
    &[Kind::Invalid],
);

/// What `retry` can be told.
pub const RETRY_KEYS: &[Param] = &[
    Param::option("times", Ty::Int, "how often at most; 5"),
    Param::option("backoff", Ty::Duration, "the first pause, doubled each time; \"2s\""),
    Param::option("on", Ty::OneOf(&["retryable", "any"]), "which errors are tried again; \"retryable\""),
];

static RETRY: Binding = control(
    "retry",
    "Runs a closure again while it raises errors that may go away.

```rhai
retry(#{ times: 3, backoff: \"2s\" }, || 42) //=> 42
retry(#{ times: 2, backoff: \"1ms\", on: \"any\" }, || throw error::failed(\"no\")) //=> error: failed
```",
    &[
        Param::new(
            "options",
            Ty::Keys(RETRY_KEYS),
            "`times` (5), `backoff` (\"2s\", doubled each time), `on` (\"retryable\" or \"any\")",
        ),
        Param::new("body", Ty::Any, "a closure without parameters"),
    ],
    &[],
    "what the closure returns",
    &[],
);

/// What `parallel` can be told.
pub const PARALLEL_KEYS: &[Param] = &[Param::option("max", Ty::Int, "how many run at the same time, 1 to 64; 8")];

static PARALLEL: Binding = control(
    "parallel",
    "Runs closures at the same time: `parallel([|| …, || …])`, or by name `parallel(#{ nodes: || …, pods: || … })`.

All branches finish. Captured values are copied: let branches return what they find. Where branches fail, the error
holds each one in `errors`.

```rhai
parallel([|| 1, || 2])             //=> [1, 2]
parallel(#{ a: || 1, b: || 2 }).b  //=> 2
parallel([|| throw error::not_found(\"x\")]) //=> error: not_found
```",
    &[Param::new("branches", Ty::Any, "a list or a map of closures")],
    PARALLEL_KEYS,
    "the results, in input order or by name",
    &[],
);

/// What `wait_until` can be told.
pub const WAIT_KEYS: &[Param] = &[
    Param::option("timeout", Ty::Duration, "how long at most; \"30m\""),
    Param::option("every", Ty::Duration, "the pause between two looks; \"10s\""),
    Param::option("subject", Ty::Text, "what is waited for, in words"),
];

static WAIT_UNTIL: Binding = control(
    "wait_until",
    "Calls a closure again and again until it returns something other than `()` and `false`.

What it throws goes through. On time-out the error carries `last`.

```rhai
wait_until(#{ timeout: \"1s\", every: \"1ms\" }, || 42)     //=> 42
wait_until(#{ timeout: \"2ms\", every: \"1ms\" }, || false) //=> error: timeout
```",
    &[
        Param::new(
            "options",
            Ty::Keys(WAIT_KEYS),
            "`timeout` (\"30m\"), `every` (\"10s\"), `subject`: what is waited for, in words",
        ),
        Param::new("body", Ty::Any, "a closure without parameters"),
    ],
    &[],
    "what the closure returns at last",
    &[Kind::Timeout],
);
