//! Control flow that needs closures or script types: `step`, `retry`, `parallel`, `wait_until`, `aws::using`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rhai::{Array, Dynamic, Engine, EvalAltResult, EvalContext, Expression, FnPtr, Map, NativeCallContext};
use serde_json::{Value, json};

use super::call::{Caller, Thrown};
use super::here::{self, Here};
use super::{STACK_SIZE, STEP, fault};
use crate::bindings::{aws, control};
use crate::catalog::{Effect, unknown_option};
use crate::cloud::{Fork, Target};
use crate::error::{Error, Kind, Place, Result, count};
use crate::event::Event;
use crate::session::Session;
use crate::value::{self, Show, format_duration};

/// Registers `step "name" { … }`.
pub fn register_step(engine: &mut Engine, session: &Arc<Session>) -> Result<()> {
    let session = session.clone();
    register_step_syntax(engine, move |context, inputs| step(&session, context, inputs))
}

/// Registers the keyword with what it does.
pub fn register_step_syntax(
    engine: &mut Engine,
    run: impl Fn(&mut EvalContext, &[Expression]) -> Thrown + Send + Sync + 'static,
) -> Result<()> {
    engine
        .register_custom_syntax([STEP, "$expr$", "$block$"], false, run)
        .map(|_| ())
        .map_err(|error| Error::bug(format!("`step` can not be registered: {error}")))
}

fn step(session: &Arc<Session>, context: &mut EvalContext, inputs: &[Expression]) -> Thrown {
    let position = inputs[0].position();
    let place = fault::place(context.source(), position);
    let caller = Caller::at(session, place, position);
    let name = context.eval_expression_tree(&inputs[0])?;
    let name = name.into_string().map_err(|found| {
        caller.throw(Error::invalid(format!("the name of a step is text, found {}", value::describe_type(found))))
    })?;
    let outer = here::get();
    let path = session.step_path(&outer.step, &name);
    session.events.emit(Event::StepStarted { path: path.clone() });
    let start = session.cloud.clock.now();
    let inside_step = outer.step_into(&path);
    let changes = inside_step.own_changes();
    let inside = here::enter(inside_step);
    let result = context.eval_expression_tree(&inputs[1]).and_then(|value| handed_on(&caller, &name, value));
    drop(inside);
    session.events.emit(Event::StepEnded {
        path,
        name,
        changed: changes.load(Ordering::Relaxed),
        took: session.cloud.clock.since(start),
        error: result.as_ref().err().map(|failure| step_error(failure)),
    });
    result
}

fn step_error(failure: &EvalAltResult) -> Error {
    match failure.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => fault::from_value(value),
        other => Error::invalid(other.to_string()),
    }
}

/// A step hands on plain data only: that is what a journal can keep.
fn handed_on(caller: &Caller, name: &str, value: Dynamic) -> Thrown {
    let value = value.flatten();
    match value::to_json(&value, Show::Hidden) {
        Ok(_) => Ok(value),
        Err(error) => {
            let error = error
                .note(format!("step `{name}` ends with it"))
                .hint("end the step with plain data, such as the name of the cluster, and make the handle outside");
            Err(caller.throw(error))
        }
    }
}

/// `retry(options, closure)`.
pub fn retry(session: &Arc<Session>, context: &NativeCallContext, options: &Map, body: &FnPtr) -> Thrown {
    let caller = Caller::of(session, context);
    let options = RetryOptions::parse(options).map_err(|error| caller.throw(error))?;
    let mut pause = options.backoff;
    for attempt in 1.. {
        let failure = match body.call_within_context::<Dynamic>(context, ()) {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let error = match failure.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => fault::from_value(value),
            // Mistakes of the script do not go away by trying again.
            _ => return Err(failure),
        };
        if attempt >= options.times || !(options.any || error.facts().retryable) {
            return Err(failure);
        }
        session.events.emit(Event::Retry { binding: "retry".to_owned(), error, pause });
        sleep(session, pause).map_err(|error| caller.throw(error))?;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
    Ok(Dynamic::UNIT)
}

struct RetryOptions {
    times: i64,
    backoff: Duration,
    any: bool,
}

impl RetryOptions {
    fn parse(options: &Map) -> Result<RetryOptions> {
        let mut parsed = RetryOptions { times: 5, backoff: Duration::from_secs(2), any: false };
        for (key, value) in options {
            let value = value::to_json(value, Show::Hidden)?;
            match (key.as_str(), &value) {
                ("times", Value::Number(number)) if number.as_i64().is_some_and(|times| times >= 1) => {
                    parsed.times = number.as_i64().unwrap_or(1);
                }
                ("times", other) => {
                    return Err(Error::invalid(format!(
                        "`times` is a number from 1, found {}",
                        value::describe(other)
                    )));
                }
                ("backoff", value) => parsed.backoff = value::duration("backoff", value)?,
                ("on", Value::String(word)) if word == "any" => parsed.any = true,
                ("on", Value::String(word)) if word == "retryable" => parsed.any = false,
                ("on", other) => {
                    return Err(Error::invalid(format!("`on` can not be {}", value::describe(other)))
                        .note("it is `\"retryable\"` or `\"any\"`"));
                }
                (other, _) => return Err(unknown_option("retry", other, control::RETRY_KEYS)),
            }
        }
        Ok(parsed)
    }
}

fn sleep(session: &Arc<Session>, pause: Duration) -> Result<()> {
    session.wait(Effect::Pure, async {
        session.cloud.clock.sleep(pause).await;
        Ok(())
    })
}

/// `wait_until(options, closure)`.
pub fn wait_until(session: &Arc<Session>, context: &NativeCallContext, options: &Map, body: &FnPtr) -> Thrown {
    let caller = Caller::of(session, context);
    let options = WaitOptions::parse(options).map_err(|error| caller.throw(error))?;
    let start = session.cloud.clock.now();
    let mut told = Value::Null;
    loop {
        let value = body.call_within_context::<Dynamic>(context, ())?.flatten();
        if !value.is_unit() && !value.as_bool().is_ok_and(|flag| !flag) {
            return Ok(value);
        }
        let left = options.timeout.saturating_sub(session.cloud.clock.since(start));
        if left.is_zero() {
            let text = format!("{} did not come true within {}", options.subject, format_duration(options.timeout));
            let last = value::to_json(&value, Show::Hidden).unwrap_or(Value::Null);
            return Err(caller.throw(Error::timeout(text).with("last", last)));
        }
        // Said once: a line every ten seconds would bury the rest.
        if told.is_null() {
            told = Value::Bool(true);
            session.events.emit(Event::Waiting { subject: options.subject.clone(), last: "not yet".to_owned() });
        }
        sleep(session, options.every.min(left)).map_err(|error| caller.throw(error))?;
    }
}

struct WaitOptions {
    timeout: Duration,
    every: Duration,
    subject: String,
}

impl WaitOptions {
    fn parse(options: &Map) -> Result<WaitOptions> {
        let mut parsed = WaitOptions {
            timeout: Duration::from_secs(30 * 60),
            every: Duration::from_secs(10),
            subject: "what was waited for".to_owned(),
        };
        for (key, value) in options {
            let value = value::to_json(value, Show::Hidden)?;
            match (key.as_str(), &value) {
                (_, Value::Null) => {}
                ("timeout", value) => parsed.timeout = value::duration("timeout", value)?,
                ("every", value) => parsed.every = value::duration("every", value)?,
                ("subject", Value::String(text)) => parsed.subject = text.clone(),
                ("subject", other) => {
                    return Err(Error::invalid(format!("`subject` is text, found {}", value::describe(other))));
                }
                (other, _) => return Err(unknown_option("wait_until", other, control::WAIT_KEYS)),
            }
        }
        if parsed.every.is_zero() {
            return Err(Error::invalid("`every` can not be zero").hint("write `every: \"1s\"` or more"));
        }
        Ok(parsed)
    }
}

/// `aws::using(options, closure)`.
pub fn using(session: &Arc<Session>, context: &NativeCallContext, options: &Map, body: &FnPtr) -> Thrown {
    let caller = Caller::of(session, context);
    let mut over = Target::default();
    for (key, value) in options {
        let text = using_text(key, value).map_err(|error| caller.throw(error))?;
        match key.as_str() {
            "region" => over.region = text,
            "profile" => over.profile = text,
            "role_arn" => over.role_arn = text,
            other => {
                let error = unknown_option("aws::using", other, aws::USING_KEYS);
                return Err(caller.throw(error));
            }
        }
    }
    let outer = here::get();
    let _inside = here::enter(Here { target: outer.target.overlaid(&over), ..outer });
    body.call_within_context::<Dynamic>(context, ())
}

/// A text, none where it is empty or `()`.
fn using_text(key: &str, value: &Dynamic) -> Result<Option<String>> {
    if value.is_unit() {
        return Ok(None);
    }
    let text = value.clone().into_string().map_err(|found| {
        Error::invalid(format!("`{key}` of `aws::using` is text, found {}", value::describe_type(found)))
    })?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// One branch of `parallel`.
struct Branch {
    label: String,
    body: FnPtr,
}

/// `parallel([closures], options)`: results in input order.
pub fn parallel_list(session: &Arc<Session>, context: &NativeCallContext, list: Array, options: &Map) -> Thrown {
    let caller = Caller::of(session, context);
    let branches: Result<Vec<Branch>> =
        list.into_iter().enumerate().map(|(index, item)| branch((index + 1).to_string(), item)).collect();
    let branches = branches.map_err(|error| caller.throw(error))?;
    let results = run_branches(&caller, context, branches, options)?;
    Ok(Dynamic::from_array(results.into_iter().map(|(_, value)| value).collect()))
}

/// `parallel(#{ name: closure }, options)`: results by name.
pub fn parallel_map(session: &Arc<Session>, context: &NativeCallContext, map: Map, options: &Map) -> Thrown {
    let caller = Caller::of(session, context);
    let branches: Result<Vec<Branch>> = map.into_iter().map(|(name, item)| branch(name.to_string(), item)).collect();
    let branches = branches.map_err(|error| caller.throw(error))?;
    let results = run_branches(&caller, context, branches, options)?;
    Ok(Dynamic::from_map(results.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

fn branch(label: String, item: Dynamic) -> Result<Branch> {
    let found = item.type_name().to_owned();
    let Some(mut body) = item.try_cast::<FnPtr>() else {
        return Err(Error::invalid(format!(
            "branch `{label}` of `parallel` is a closure such as `|| …`, found {}",
            value::describe_type(&found)
        )));
    };
    // Branches return values, they do not share variables: a captured handle used by two at once would be a data race.
    for captured in body.iter_curry_mut() {
        *captured = captured.flatten_clone();
    }
    Ok(Branch { label, body })
}

type BranchResult = (String, Thrown);

fn run_branches(
    caller: &Caller,
    context: &NativeCallContext,
    branches: Vec<Branch>,
    options: &Map,
) -> Thrown<Vec<(String, Dynamic)>> {
    let max = parallel_max(options).map_err(|error| caller.throw(error))?.min(branches.len().max(1));
    let slots: Vec<std::sync::Mutex<Option<BranchResult>>> = branches.iter().map(|_| Default::default()).collect();
    let next = AtomicUsize::new(0);
    let outer = here::get();
    let work = || {
        while let Some((branch, slot)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            branches.get(index).zip(slots.get(index))
        } {
            let result = run_branch(context, branch, &outer);
            *slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((branch.label.clone(), result));
        }
    };
    let turns = caller.session.cloud.clock.fork(max);
    let started = std::thread::scope(|scope| -> Result<()> {
        for number in 0..max {
            let (turns, work) = (&turns, &work);
            let branch = move || {
                let _turn = Turn::begin(&**turns, number);
                work();
            };
            std::thread::Builder::new()
                .name(format!("branch {number}"))
                .stack_size(STACK_SIZE)
                .spawn_scoped(scope, branch)
                .map_err(|error| Error::failed(format!("no thread for a branch of `parallel`: {error}")))?;
        }
        Ok(())
    });
    turns.join();
    started.map_err(|error| caller.throw(error))?;
    let results =
        slots.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
    gather(caller, results.collect())
}

/// The turn of one thread, given back however the thread ends.
struct Turn<'a> {
    turns: &'a dyn Fork,
    number: usize,
}

impl<'a> Turn<'a> {
    fn begin(turns: &'a dyn Fork, number: usize) -> Turn<'a> {
        turns.begin(number);
        Turn { turns, number }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.end(self.number);
    }
}

fn run_branch(context: &NativeCallContext, branch: &Branch, outer: &Here) -> Thrown {
    let label = format!("[{}]", branch.label);
    let step = if outer.step.is_empty() { label } else { format!("{} / {label}", outer.step) };
    let _inside = here::enter(Here { step, ..outer.clone() });
    branch.body.call_within_context::<Dynamic>(context, ()).map(Dynamic::flatten)
}

fn parallel_max(options: &Map) -> Result<usize> {
    for key in options.keys() {
        if key != "max" {
            return Err(unknown_option("parallel", key, control::PARALLEL_KEYS));
        }
    }
    match options.get("max").map(|max| max.as_int()) {
        None => Ok(8),
        Some(Ok(max)) if (1..=64).contains(&max) => Ok(usize::try_from(max).unwrap_or(8)),
        Some(_) => Err(Error::invalid("`max` of `parallel` is a number from 1 to 64")),
    }
}

/// All results, or one error that holds every branch's.
fn gather(caller: &Caller, results: Vec<BranchResult>) -> Thrown<Vec<(String, Dynamic)>> {
    let total = results.len();
    let mut values = Vec::new();
    let mut failures = Vec::new();
    for (label, result) in results {
        match result {
            Ok(value) => values.push((label, value)),
            // Cancellation is not a branch's own: it ends the run as it is.
            Err(failure) if matches!(failure.unwrap_inner(), EvalAltResult::ErrorTerminated(..)) => {
                return Err(failure);
            }
            Err(failure) => failures.push((label, branch_error(caller.session, &caller.place.source, &failure))),
        }
    }
    match failures.len() {
        0 => Ok(values),
        _ => Err(caller.throw(combined(total, failures))),
    }
}

fn branch_error(session: &Arc<Session>, source: &str, failure: &EvalAltResult) -> Error {
    fault::from_engine(session, &super::Names::default(), Some(source), failure)
}

fn combined(total: usize, failures: Vec<(String, Error)>) -> Error {
    let errors: Vec<Value> = failures
        .iter()
        .map(|(label, error)| {
            let mut error = error.to_json();
            error["branch"] = json!(label);
            error
        })
        .collect();
    let first = failures[0].1.clone();
    let same_kind = failures.iter().all(|(_, error)| error.kind() == first.kind());
    let maybe_applied = failures.iter().any(|(_, error)| error.facts().maybe_applied);
    let retryable = failures.iter().all(|(_, error)| error.facts().retryable);
    let mut combined = if let [(_, only)] = failures.as_slice() {
        only.clone()
    } else {
        let kind = if same_kind { first.kind() } else { Kind::Failed };
        let mut error = Error::new(kind, format!("{} of {} failed", failures.len(), count("parallel branch", total)));
        for (label, failure) in &failures {
            let at = failure.facts().at.as_ref().map_or_else(String::new, |at: &Place| format!(" (line {})", at.line));
            error = error.note(format!("{label}: {failure}{at}"));
            for note in &failure.facts().notes {
                error = error.note(format!("{label}: {note}"));
            }
        }
        error.maybe_hint(first.facts().hint.clone())
    };
    combined.facts_mut().maybe_applied = maybe_applied;
    combined.facts_mut().retryable = retryable;
    combined.with("errors", Value::Array(errors))
}

/// Pauses of [`retry`] and of the cloud are the same idea; this keeps their limits in sight of each other.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clouds_own_pauses_are_bounded() {
        let total: Duration = crate::cloud::retry::pauses(1).sum();
        assert!(total < Duration::from_secs(400), "{total:?}");
    }
}
