//! The one choke point: every host call of a script passes here.
//!
//! Effect gate (before the arguments are looked at) → arguments → approval → event: intent → run on the cloud →
//! event: outcome → map the error. Because all of it sits here, no binding can forget it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_dynamic::{Enums, Operation, Waiter};
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};
use serde_json::{Map, Value, json};

use super::{fault, here};
use crate::catalog::{Answer, Args, Binding, Call, Effect, Flaw, FlawKind, Run};
use crate::cloud::{Connection, Future, lookup, paging, retry, tags, waiters};
use crate::error::{Error, Place, Result, did_you_mean};
use crate::event::Event;
use crate::session::{Intended, Session, Watch};
use crate::value::{self, HIDDEN, Secrets, Show};

/// The result type of functions that the engine calls.
pub type Thrown<T = Dynamic> = Result<T, Box<EvalAltResult>>;

/// Who calls, and from where.
pub struct Caller<'a> {
    /// The session.
    pub session: &'a Arc<Session>,
    /// The place in the script.
    pub place: Place,
    /// The position, for the engine.
    pub position: Position,
    /// Nobody waits for the call: it may only read, asks nobody, and never pauses.
    pub in_background: bool,
}

/// How long a call in the background may take.
const BACKGROUND_TIME: Duration = Duration::from_secs(10);

/// Of a call in the background: instead of pausing before it is sent again, it fails.
struct Impatient;

impl retry::Watch for Impatient {
    fn retrying(&self, _: &Error, _: Duration) {}
    fn waiting(&self, _: &str, _: &str) {}
    fn cancelled(&self) -> Future<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl<'a> Caller<'a> {
    /// From what the engine tells a native function.
    pub fn of(session: &'a Arc<Session>, context: &NativeCallContext) -> Caller<'a> {
        let position = context.call_position();
        Caller::at(session, fault::place(context.call_source(), position), position)
    }

    /// From a place of the script.
    pub fn at(session: &'a Arc<Session>, place: Place, position: Position) -> Caller<'a> {
        Caller { session, place, position, in_background: false }
    }

    /// Completion, which wants to know a name.
    pub fn in_background(session: &'a Arc<Session>) -> Caller<'a> {
        let position = Position::NONE;
        Caller { session, place: fault::place(None, position), position, in_background: true }
    }

    fn emit(&self, event: Event) {
        self.session.events.emit(if self.in_background { Event::Background(Box::new(event)) } else { event });
    }

    fn wait<T>(&self, effect: Effect, work: impl std::future::Future<Output = Result<T>>) -> Result<T> {
        if self.in_background {
            self.session.wait_in_background(BACKGROUND_TIME, work)
        } else {
            self.session.wait(effect, work)
        }
    }

    /// Who hears of retries and waits.
    fn watch<'s>(&'s self, binding: &'s str) -> Box<dyn retry::Watch + 's> {
        if self.in_background {
            Box::new(Impatient)
        } else {
            Box::new(Watch { events: &self.session.events, binding, cancel: &self.session.cancel })
        }
    }

    /// Turns an error into what the engine throws, with place and step.
    pub fn throw(&self, mut error: Error) -> Box<EvalAltResult> {
        let facts = error.facts_mut();
        facts.at.get_or_insert_with(|| self.place.clone());
        if facts.step_path.is_none() {
            facts.step_path = Some(here::get().step);
        }
        fault::throw(self.session, error, self.position)
    }

    /// Runs a call through the choke point. `prepare` looks at the arguments and is not called when the gate refuses.
    fn host_call<'s>(
        &'s self,
        name: &str,
        effect: Effect,
        args: &[Dynamic],
        prepare: impl FnOnce() -> Result<Prepared<'s>>,
    ) -> Result<Answer> {
        let mut secrets = Vec::new();
        args.iter().for_each(|arg| value::secret_texts(arg, &mut secrets));
        self.perform(name, effect, &secrets, prepare).map_err(|error| hide(error, &secrets))
    }

    fn perform<'s>(
        &'s self,
        name: &str,
        effect: Effect,
        secrets: &[String],
        prepare: impl FnOnce() -> Result<Prepared<'s>>,
    ) -> Result<Answer> {
        let session = self.session;
        if self.in_background && effect == Effect::Mutate {
            return Err(Error::bug(format!("`{name}` was to change something in the background")));
        }
        if session.cancel.is_cancelled() && !self.in_background {
            return Err(session.cancel.reason());
        }
        session.gate(name, effect)?;
        let prepared = prepare()?;
        if effect == Effect::Pure {
            return self.wait(effect, prepared.work);
        }
        if effect == Effect::Mutate {
            // A handle goes where it was made for, whatever `aws::using` says here.
            let handle = prepared.cluster.as_ref().map(|cluster| cluster.target().clone());
            let target = handle.unwrap_or_else(|| session.target().overlaid(&here::get().target));
            let arguments = &value::masked_value(prepared.shown.clone(), secrets);
            let call = Intended { binding: name, arguments };
            session.wait(Effect::Read, session.approve(&target, prepared.cluster.as_deref(), call))?;
            if session.cancel.is_cancelled() {
                return Err(session.cancel.reason());
            }
        }
        let call = session.next_call();
        let step = here::get().step;
        self.emit(Event::Intent {
            call,
            binding: name.to_owned(),
            effect,
            arguments: value::masked_value(prepared.shown, secrets),
            step: step.clone(),
            at: Some(self.place.clone()),
        });
        let start = session.cloud.clock.now();
        let answer = self.wait(effect, prepared.work);
        let answer = answer.map_err(|error| hide(error, secrets));
        let changed = effect == Effect::Mutate && answer.as_ref().is_ok_and(|answer| answer.changed);
        if changed {
            here::get().count_change();
        }
        self.emit(Event::Outcome {
            call,
            binding: name.to_owned(),
            effect,
            changed,
            took: session.cloud.clock.since(start),
            error: answer.as_ref().err().cloned(),
            step: step.clone(),
        });
        if let (Effect::Mutate, Ok(_), Some(key)) = (effect, &answer, &prepared.key) {
            session.succeeded(&step, name, key, changed);
        }
        answer
    }
}

/// An error without the secrets that the call was given: a message may quote its arguments.
fn hide(mut error: Error, secrets: &[String]) -> Error {
    if !secrets.is_empty() {
        let facts = error.facts_mut();
        facts.message = value::masked(&facts.message, secrets);
        facts.notes.iter_mut().for_each(|note| *note = value::masked(note, secrets));
        facts.hint = facts.hint.as_ref().map(|hint| value::masked(hint, secrets));
        let extra = std::mem::take(&mut facts.extra);
        facts.extra = extra.into_iter().map(|(key, item)| (key, value::masked_value(item, secrets))).collect();
    }
    error
}

/// A call whose arguments are in order.
struct Prepared<'s> {
    /// Arguments with secrets hidden, for events.
    shown: Value,
    /// What makes the call recognisable when it is made again.
    key: Option<Value>,
    cluster: Option<Arc<Connection>>,
    work: Future<'s, Result<Answer>>,
}

/// Calls an AWS operation.
pub fn operation(caller: &Caller, operation: &'static Operation, args: &[Dynamic]) -> Thrown {
    let name = operation.to_string();
    let effect = effect_of(operation);
    let answer = caller.host_call(&name, effect, args, || prepare_operation(caller, operation, args));
    answer.map(|answer| value::to_dynamic(answer.value, answer.secrets)).map_err(|error| caller.throw(error))
}

/// Reads in the background, for completion: asks nobody, and no sink shows it.
pub fn read_in_background(session: &Arc<Session>, operation: &'static Operation, input: &Value) -> Result<Value> {
    let caller = Caller::in_background(session);
    let args = [value::to_dynamic(input.clone(), Secrets::None)];
    let effect = effect_of(operation);
    caller
        .host_call(&operation.to_string(), effect, &args, || prepare_operation(&caller, operation, &args))
        .map(|answer| answer.value)
}

/// The same for a binding, on this cluster.
pub fn look_in_background(
    session: &Arc<Session>,
    binding: &'static Binding,
    cluster: Arc<Connection>,
    args: &[Value],
) -> Result<Value> {
    let caller = Caller::in_background(session);
    let args: Vec<Dynamic> = args.iter().map(|arg| value::to_dynamic(arg.clone(), Secrets::None)).collect();
    caller
        .host_call(binding.name, binding.effect, &args, || prepare_binding(&caller, binding, Some(cluster), &args))
        .map(|answer| answer.value)
}

/// The effect of an operation, in our words.
pub fn effect_of(operation: &Operation) -> Effect {
    match operation.effect {
        aws_dynamic::Effect::Read => Effect::Read,
        aws_dynamic::Effect::Mutate => Effect::Mutate,
    }
}

fn prepare_operation<'s>(caller: &'s Caller, operation: &'static Operation, args: &[Dynamic]) -> Result<Prepared<'s>> {
    let session = caller.session;
    let mut input = checked_input(operation, args)?;
    let key = input.clone();
    let step = here::get().step;
    let hash = session.request_hash(&step, &operation.to_string(), &key);
    if effect_of(operation) == Effect::Mutate {
        let mut extra = session.default_tags();
        if lookup::needs_tag(operation) {
            extra.insert(lookup::REQUEST_TAG.to_owned(), hash.clone());
        }
        tags::add(operation, &mut input, &extra);
        if let (Some(token), Some(object)) = (operation.token, input.as_object_mut()) {
            object.entry(token).or_insert(Value::String(hash));
        }
    }
    let shown = redacted(&key, Secrets::Schema(operation.input));
    let target = session.target().overlaid(&here::get().target);
    let work = async move {
        // Without a region the SDK's own error would talk about endpoint rules.
        session.cloud.aws.region(&target).await?;
        let name = operation.to_string();
        let watch = caller.watch(&name);
        let value = paging::call(&session.cloud, &target, operation, &input, &*watch).await?;
        Ok(Answer { value, secrets: Secrets::Schema(operation.output), changed: true })
    };
    Ok(Prepared { shown, key: Some(key), cluster: None, work: Box::pin(work) })
}

/// The input of an operation: nothing, a map, or its one required field.
fn checked_input(operation: &'static Operation, args: &[Dynamic]) -> Result<Value> {
    let input = match args.first() {
        None => json!({}),
        Some(argument) => match value::to_json(argument, Show::Revealed)? {
            Value::Object(map) => Value::Object(map),
            other => match sole_field(operation) {
                Some(field) => json!({ field: other }),
                None => return Err(needs_a_map(operation, &other)),
            },
        },
    };
    aws_dynamic::normalise(operation, input, Enums::Strict).map_err(|invalid| {
        let mut error = Error::invalid(invalid.message);
        error.facts_mut().notes = invalid.notes;
        error.facts_mut().service = Some(operation.service.to_owned());
        error.facts_mut().operation = Some(operation.name.to_owned());
        error.maybe_hint(invalid.hint).with("path", json!(invalid.path))
    })
}

/// The one required field, which may be given positionally.
pub fn sole_field(operation: &Operation) -> Option<&'static str> {
    let mut required = operation.required();
    match (required.next(), required.next()) {
        (Some(field), None) => Some(field.name),
        _ => None,
    }
}

/// The error for an input that is neither a map nor the one required field.
pub fn needs_a_map(operation: &Operation, found: &Value) -> Error {
    let names: Vec<&str> = operation.required().map(|field| field.name).collect();
    let error = Error::invalid(format!("`{operation}` takes a map, found {}", value::describe(found)));
    match names.as_slice() {
        [] => error.note("it has no required field"),
        names => error.note(format!("it needs {}", crate::error::list_and(names))),
    }
}

/// Calls one of AWS's waiters.
pub fn waiter(caller: &Caller, waiter: &'static Waiter, args: &[Dynamic]) -> Thrown {
    let name = format!("{}::wait_until_{}", waiter.operation.service, waiter.name);
    let answer = caller.host_call(&name, Effect::Read, args, || prepare_waiter(caller, &name, waiter, args));
    answer.map(|answer| value::to_dynamic(answer.value, answer.secrets)).map_err(|error| caller.throw(error))
}

/// How long a waiter waits where nothing is said.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// How long a waiter is to wait, and what is wrong with its options. Nothing is said of the `opaque` ones, which only a
/// run can tell.
pub fn waiter_options(name: &str, options: &Value, opaque: &BTreeSet<String>) -> (Duration, Vec<Flaw>) {
    let mut timeout = WAIT_DEFAULT;
    let mut flaws = Vec::new();
    let mut wrong = |path: &str, kind, error| flaws.push(Flaw { path: path.to_owned(), kind, error });
    match options {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "timeout" if value.is_null() || opaque.contains(key) => {}
                    "timeout" => match value::duration(key, value) {
                        Ok(given) => timeout = given,
                        Err(error) => wrong(key, FlawKind::Type, error),
                    },
                    other => {
                        let error = Error::invalid(format!("unknown option `{other}` for `{name}`"))
                            .note("the only option is `timeout`")
                            .maybe_hint(did_you_mean(other, ["timeout"]));
                        wrong(key, FlawKind::Key, error);
                    }
                }
            }
        }
        other => {
            let found = value::describe(other);
            let error = Error::invalid(format!("the options of `{name}` are a map, found {found}"))
                .hint("write `#{ timeout: \"10m\" }`");
            wrong("", FlawKind::Type, error);
        }
    }
    (timeout, flaws)
}

fn prepare_waiter<'s>(
    caller: &'s Caller,
    name: &str,
    waiter: &'static Waiter,
    args: &[Dynamic],
) -> Result<Prepared<'s>> {
    let session = caller.session;
    let input = checked_input(waiter.operation, args.get(..1).unwrap_or_default())?;
    let options = args.get(1).map(|options| value::to_json(options, Show::Hidden)).transpose()?;
    let (timeout, flaws) = waiter_options(name, options.as_ref().unwrap_or(&Value::Null), &BTreeSet::new());
    if let Some(flaw) = flaws.into_iter().next() {
        return Err(flaw.error);
    }
    let shown = redacted(&input, Secrets::Schema(waiter.operation.input));
    let target = session.target().overlaid(&here::get().target);
    let name = name.to_owned();
    let work = async move {
        session.cloud.aws.region(&target).await?;
        let watch = Watch { events: &session.events, binding: &name, cancel: &session.cancel };
        let value = waiters::wait(&session.cloud, &target, waiter, &input, timeout, &watch).await?;
        Ok(Answer::read(value).secret(Secrets::Schema(waiter.operation.output)))
    };
    Ok(Prepared { shown, key: None, cluster: None, work: Box::pin(work) })
}

/// Calls a hand-written binding, on the cluster of a handle where it was called as its method.
pub fn binding(
    caller: &Caller,
    binding: &'static Binding,
    handle: Option<Arc<Connection>>,
    args: &[Dynamic],
) -> Thrown {
    let answer = match binding.run {
        Run::Pure(run) => pure(binding, run, args),
        Run::Cloud(_) => {
            caller.host_call(binding.name, binding.effect, args, || prepare_binding(caller, binding, handle, args))
        }
        Run::Control => Err(Error::bug(format!("`{}` is the engine's own", binding.name))),
    };
    answer.map(|answer| value::to_dynamic(answer.value, answer.secrets)).map_err(|error| caller.throw(error))
}

/// What is made of a secret is a secret.
fn pure(binding: &Binding, run: fn(&Args) -> Result<Value>, args: &[Dynamic]) -> Result<Answer> {
    let mut secrets = Vec::new();
    args.iter().for_each(|arg| value::secret_texts(arg, &mut secrets));
    let answer = to_args(binding, args, Show::Revealed).and_then(|checked| run(&checked));
    let tainted = if secrets.is_empty() { Secrets::None } else { Secrets::All };
    answer.map(|value| Answer::read(value).secret(tainted)).map_err(|error| hide(error, &secrets))
}

fn to_args(binding: &Binding, args: &[Dynamic], show: Show) -> Result<Args> {
    let positional = args.iter().map(|arg| value::to_json(arg, show)).collect::<Result<Vec<Value>>>()?;
    Args::check(binding, positional)
}

fn prepare_binding<'s>(
    caller: &'s Caller,
    binding: &'static Binding,
    handle: Option<Arc<Connection>>,
    args: &[Dynamic],
) -> Result<Prepared<'s>> {
    let Run::Cloud(run) = binding.run else { return Err(Error::bug("only cloud bindings are prepared")) };
    let session = caller.session;
    let mut shown = Value::Object(to_args(binding, args, Show::Hidden)?.as_map().clone());
    // A patch does not say what kind of object it is for; the call does.
    if shown["kind"].as_str().is_some_and(|kind| kind.to_lowercase().contains("secret")) && !shown["patch"].is_null() {
        shown["patch"] = Value::String(HIDDEN.to_owned());
    }
    let args = to_args(binding, args, Show::Revealed)?;
    let key = shown.clone();
    let cluster = match handle {
        Some(handle) => Some(handle),
        None if binding.namespace() == "kube" => caller.wait(Effect::Read, session.bare_cluster())?,
        None => None,
    };
    let used = cluster.clone();
    let work = async move {
        let say = |level, text| session.events.message(level, text);
        let watch = caller.watch(binding.name);
        let attempt = || {
            let (args, cluster) = (args.clone(), cluster.clone());
            let (cloud, files) = (&session.cloud, &session.files);
            run(Call { args, cloud, cluster, files, say: &say, watch: &*watch })
        };
        retry::repeat(&session.cloud, &*watch, binding.effect != Effect::Mutate, attempt).await
    };
    Ok(Prepared { shown: redacted(&shown, Secrets::Kubernetes), key: Some(key), cluster: used, work: Box::pin(work) })
}

/// A copy with secrets hidden, wherever the rule says they stand.
fn redacted(value: &Value, secrets: Secrets) -> Value {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) if matches!(secrets, Secrets::All) => {
            Value::String(HIDDEN.to_owned())
        }
        Value::Array(items) => items.iter().map(|item| redacted(item, secrets)).collect(),
        Value::Object(object) => Value::Object(redacted_object(object, secrets)),
        other => other.clone(),
    }
}

fn redacted_object(object: &Map<String, Value>, secrets: Secrets) -> Map<String, Value> {
    object.iter().map(|(key, item)| (key.clone(), redacted(item, secrets.under(object, key)))).collect()
}
