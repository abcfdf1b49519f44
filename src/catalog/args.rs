//! Arguments of hand-written bindings, parsed at the edge: every type error is written here, with its remedy.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Binding, Param, Ty};
use crate::error::{Error, Result, count, did_you_mean, list_or};
use crate::value;

/// Checked arguments. The getters can not fail: what they need was checked when this was made.
#[derive(Clone, Debug, Default)]
pub struct Args(Map<String, Value>);

impl Args {
    /// Checks positional arguments and the options map against the binding.
    pub fn check(binding: &Binding, mut positional: Vec<Value>) -> Result<Args> {
        let wanted = binding.params.len();
        let has_options = !binding.options.is_empty();
        let found = positional.len();
        if found < wanted || found > wanted + usize::from(has_options) {
            return Err(arity_error(binding, found));
        }
        let options = if found > wanted { positional.pop() } else { None };
        let mut args = Map::new();
        for (param, value) in binding.params.iter().zip(positional) {
            args.insert(param.name.to_owned(), checked(binding.name, param, value)?);
        }
        match options {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    let option = binding
                        .options
                        .iter()
                        .find(|option| option.name == key)
                        .ok_or_else(|| unknown_option(binding, &key))?;
                    if !value.is_null() {
                        args.insert(key, checked(binding.name, option, value)?);
                    }
                }
            }
            Some(other) => {
                return Err(Error::invalid(format!(
                    "the options of `{}` are a map, found {}",
                    binding.name,
                    value::describe(&other)
                ))
                .note(binding.signature()));
            }
        }
        if let Some(missing) = binding.options.iter().find(|option| option.required && !args.contains_key(option.name))
        {
            return Err(Error::invalid(format!("`{}` needs the option `{}`", binding.name, missing.name))
                .note(binding.signature()));
        }
        Ok(Args(args))
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

    /// A map, where given.
    pub fn map(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
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

fn unknown_option(binding: &Binding, key: &str) -> Error {
    let names: Vec<&str> = binding.options.iter().map(|option| option.name).collect();
    Error::invalid(format!("unknown option `{key}` for `{}`", binding.name))
        .note(format!("options are {}", crate::error::list_and(&names)))
        .maybe_hint(did_you_mean(key, names.iter().copied()))
}

fn checked(binding: &str, param: &Param, value: Value) -> Result<Value> {
    let name = param.name;
    let wrong = |wanted: &str, value: &Value| {
        Error::invalid(format!("`{name}` of `{binding}` is {wanted}, found {}", value::describe(value)))
    };
    match (param.ty, &value) {
        (Ty::Any, _) | (Ty::Text, Value::String(_)) | (Ty::Bool, Value::Bool(_)) => {}
        (Ty::Map, Value::Object(_)) | (Ty::List, Value::Array(_)) => {}
        (Ty::Int, Value::Number(number)) if number.is_i64() => {}
        (Ty::Text, Value::Number(number)) => {
            return Err(wrong("text", &value).hint(format!("write `\"{number}\"`")));
        }
        (Ty::OneOf(words), Value::String(word)) => {
            if !words.contains(&word.as_str()) {
                return Err(Error::invalid(format!("`{name}` of `{binding}` can not be `{word}`"))
                    .note(format!("it is {}", list_or(words)))
                    .maybe_hint(did_you_mean(word, words.iter().copied())));
            }
        }
        (Ty::Duration, _) => {
            value::duration(name, &value)?;
        }
        (Ty::Time, Value::String(text)) => {
            value::parse_time(text)?;
        }
        (Ty::Text | Ty::OneOf(_) | Ty::Time, _) => return Err(wrong("text", &value)),
        (Ty::Int, _) => return Err(wrong("an integer", &value)),
        (Ty::Bool, _) => return Err(wrong("`true` or `false`", &value)),
        (Ty::Map, _) => return Err(wrong("a map", &value)),
        (Ty::List, _) => return Err(wrong("a list", &value)),
    }
    Ok(value)
}
