//! Versions as Kubernetes and EKS write them.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::catalog::{Args, Binding, Effect, Param, Run, Ty};
use crate::error::{Error, Kind, Result};

/// `version::`.
pub static ALL: &[&Binding] = &[&COMPARE];

static COMPARE: Binding = Binding {
    name: "version::compare",
    effect: Effect::Pure,
    doc: "Which of two versions is newer: -1, 0 or 1. A leading `v` does not count, and `-eksbuild.3` is newer than `-eksbuild.1`.

```rhai
version::compare(\"1.9\", \"1.30\") //=> -1
version::compare(\"v1.20.0-eksbuild.3\", \"v1.20.0-eksbuild.1\") //=> 1
version::compare(\"newest\", \"1.30\") //=> error: invalid
```",
    params: &[Param::new("a", Ty::Text, "such as \"1.34\""), Param::new("b", Ty::Text, "such as \"v1.20.0-eksbuild.3\"")],
    options: &[],
    returns: "-1, 0 or 1",
    raises: &[Kind::Invalid],
    run: Run::Pure(compare),
};

fn compare(args: &Args) -> Result<Value> {
    let order = numbers(args.text("a"))?.cmp(&numbers(args.text("b"))?);
    Ok(json!(match order {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}

/// All numbers of a version in order; texts between them only separate.
fn numbers(text: &str) -> Result<Vec<u64>> {
    let plain = text.trim().trim_start_matches('v');
    if !plain.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::invalid(format!("\"{text}\" is not a version")).hint("write a version such as `\"1.34\"`"));
    }
    let parts = plain.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let mut numbers: Vec<u64> = parts
        .map(|part| part.parse().map_err(|_| Error::invalid(format!("\"{text}\" is not a version"))))
        .collect::<Result<_>>()?;
    // "1.30" and "1.30.0" are the same.
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    Ok(numbers)
}
