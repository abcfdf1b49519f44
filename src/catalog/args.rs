//! Arguments of hand-written bindings, parsed at the edge: every type error is written here, with its remedy.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Binding, Param, Ty};
use crate::error::{Error, Result, count, did_you_mean, list_or};
use crate::value;

/// Checked arguments. The getters can not fail: what they need was checked when this was made.
#[derive(Clone, Debug, Default)]
pub struct Args(Map<String, Value>);

/// One mistake of the arguments of a binding.
#[derive(Clone, Debug)]
pub struct Flaw {
    /// The parameter, the option, or `options.times` for a key of a parameter.
    pub path: String,
    /// What is wrong.
    pub kind: FlawKind,
    /// The words.
    pub error: Error,
}

/// What is wrong with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// Too few or too many.
    Arity,
    /// A key that the map does not take.
    Key,
    /// A required key is absent.
    Missing,
    /// A value of another type.
    Type,
    /// A text that is not one of those that there are.
    Value,
}

impl Args {
    /// Checks positional arguments and the options map against the binding.
    pub fn check(binding: &Binding, positional: Vec<Value>) -> Result<Args> {
        let (args, flaws) = Args::inspect(binding, positional, &BTreeSet::new());
        match flaws.into_iter().next() {
            None => Ok(args),
            Some(flaw) => Err(flaw.error),
        }
    }

    /// The arguments with every mistake. Nothing is said of the `opaque` paths: only a run can tell what stands there.
    pub fn inspect(binding: &Binding, mut positional: Vec<Value>, opaque: &BTreeSet<String>) -> (Args, Vec<Flaw>) {
        let wanted = binding.params.len();
        let has_options = !binding.options.is_empty();
        let found = positional.len();
        if found < wanted || found > wanted + usize::from(has_options) {
            let error = arity_error(binding, found);
            return (Args::default(), vec![Flaw { path: String::new(), kind: FlawKind::Arity, error }]);
        }
        let options = if found > wanted { positional.pop() } else { None };
        let mut reading = Reading { binding, opaque, args: Map::new(), flaws: Vec::new() };
        for (param, value) in binding.params.iter().zip(positional) {
            reading.one(param.name, param, value);
        }
        if !opaque.contains(OPTIONS) {
            reading.options(options);
        }
        (Args(reading.args), reading.flaws)
    }

    /// The value as given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value as given, moved out.
    pub fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or(Value::Null)
    }

    /// A required text.
    pub fn text(&self, name: &str) -> &str {
        self.opt_text(name).unwrap_or_default()
    }

    /// An optional text.
    pub fn opt_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// An optional integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    /// A flag, `false` where absent.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// An optional duration.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.opt_text(name).and_then(|text| value::parse_duration(text).ok())
    }

    /// A list, empty where absent.
    pub fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// All of them, for events.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// `` `kube::scale` takes 2 arguments and options, found 1 argument ``.
pub fn arity_error(binding: &Binding, found: usize) -> Error {
    let wanted = count("argument", binding.params.len());
    let options = if binding.options.is_empty() { "" } else { " and options" };
    Error::invalid(format!("`{}` takes {wanted}{options}, found {}", binding.name, count("argument", found)))
        .note(binding.signature())
}

/// The path of the options map.
pub const OPTIONS: &str = "{}";

struct Reading<'a> {
    binding: &'a Binding,
    opaque: &'a BTreeSet<String>,
    args: Map<String, Value>,
    flaws: Vec<Flaw>,
}

impl Reading<'_> {
    fn flaw(&mut self, path: &str, kind: FlawKind, error: Error) {
        self.flaws.push(Flaw { path: path.to_owned(), kind, error });
    }

    fn one(&mut self, path: &str, param: &Param, value: Value) {
        if self.opaque.contains(path) {
            return;
        }
        if let (Ty::Keys(keys), Value::Object(map)) = (param.ty, &value) {
            self.keys(path, keys, map);
        }
        if let Err(flaw) = checked(self.binding.name, param, &value) {
            let (kind, error) = *flaw;
            self.flaw(path, kind, error);
        }
        self.args.insert(path.to_owned(), value);
    }

    fn options(&mut self, options: Option<Value>) {
        let binding = self.binding;
        match options {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    match binding.options.iter().find(|option| option.name == key) {
                        None => self.flaw(&key, FlawKind::Key, unknown_option(binding.name, &key, binding.options)),
                        Some(option) if !value.is_null() => self.one(&key, option, value),
                        Some(_) => {}
                    }
                }
            }
            Some(other) => {
                let error = Error::invalid(format!(
                    "the options of `{}` are a map, found {}",
                    binding.name,
                    value::describe(&other)
                ))
                .note(binding.signature());
                self.flaw(OPTIONS, FlawKind::Type, error);
            }
        }
        let given = |name: &str| self.args.contains_key(name) || self.opaque.contains(name);
        if let Some(missing) = binding.options.iter().find(|option| option.required && !given(option.name)) {
            let error = Error::invalid(format!("`{}` needs the option `{}`", binding.name, missing.name))
                .note(binding.signature());
            self.flaw(OPTIONS, FlawKind::Missing, error);
        }
    }

    /// The keys of a parameter that is a map with known keys.
    fn keys(&mut self, path: &str, keys: &[Param], map: &Map<String, Value>) {
        for (key, value) in map {
            let inside = format!("{path}.{key}");
            let flaw = match keys.iter().find(|known| known.name == key) {
                None => Some((FlawKind::Key, unknown_option(self.binding.name, key, keys))),
                Some(_) if value.is_null() || self.opaque.contains(&inside) => continue,
                Some(known) => checked(self.binding.name, known, value).err().map(|flaw| *flaw),
            };
            if let Some((kind, error)) = flaw {
                self.flaw(&inside, kind, error);
            }
        }
    }
}

/// ``unknown option `tiems` for `retry` ``, with what there is.
pub fn unknown_option(function: &str, key: &str, known: &[Param]) -> Error {
    let names: Vec<&str> = known.iter().map(|option| option.name).collect();
    let error = Error::invalid(format!("unknown option `{key}` for `{function}`"));
    let error = match names.as_slice() {
        [only] => error.note(format!("the only option is `{only}`")),
        names => error.note(format!("options are {}", crate::error::list_and(names))),
    };
    error.maybe_hint(did_you_mean(key, names.iter().copied()))
}

fn checked(binding: &str, param: &Param, value: &Value) -> Result<(), Box<(FlawKind, Error)>> {
    let name = param.name;
    let wrong = |wanted: &str| {
        let text = format!("`{name}` of `{binding}` is {wanted}, found {}", value::describe(value));
        (FlawKind::Type, Error::invalid(text))
    };
    let flaw = match (param.ty, value) {
        (Ty::Any, _) | (Ty::Text, Value::String(_)) | (Ty::Bool, Value::Bool(_)) => return Ok(()),
        (Ty::Map | Ty::Keys(_), Value::Object(_)) | (Ty::List, Value::Array(_)) => return Ok(()),
        (Ty::Int, Value::Number(number)) if number.is_i64() => return Ok(()),
        (Ty::Text, Value::Number(number)) => {
            let (kind, error) = wrong("text");
            (kind, error.hint(format!("write `\"{number}\"`")))
        }
        (Ty::OneOf(words), Value::String(word)) => {
            if words.contains(&word.as_str()) {
                return Ok(());
            }
            let error = Error::invalid(format!("`{name}` of `{binding}` can not be `{word}`"))
                .note(format!("it is {}", list_or(words)))
                .maybe_hint(did_you_mean(word, words.iter().copied()));
            (FlawKind::Value, error)
        }
        (Ty::Duration, _) => match value::duration(name, value) {
            Ok(_) => return Ok(()),
            Err(error) => (FlawKind::Type, error),
        },
        (Ty::Time, Value::String(text)) => match value::parse_time(text) {
            Ok(_) => return Ok(()),
            Err(error) => (FlawKind::Type, error),
        },
        (Ty::Text | Ty::OneOf(_) | Ty::Time, _) => wrong("text"),
        (Ty::Int, _) => wrong("an integer"),
        (Ty::Bool, _) => wrong("`true` or `false`"),
        (Ty::Map | Ty::Keys(_), _) => wrong("a map"),
        (Ty::List, _) => wrong("a list"),
    };
    Err(Box::new(flaw))
}
