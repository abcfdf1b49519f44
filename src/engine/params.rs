//! `params`: the inputs of a runbook, read from the script without running it, and checked before it runs.

use rhai::{AST, Expr, Position, Stmt};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, did_you_mean, list_or};
use crate::value;

/// One declared input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: InputType,
    /// One line for `--help`.
    pub help: String,
    /// What it is where nothing is given; none: it must be given.
    pub value: Option<Value>,
    /// What it may be; empty: anything of its type.
    pub one_of: Vec<Value>,
}

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputType {
    /// Text.
    Text,
    /// Integer.
    Int,
    /// Number.
    Float,
    /// `true` or `false`.
    Bool,
    /// List.
    List,
    /// Map.
    Map,
    /// Text with a unit of time.
    Duration,
}

const TYPES: [(&str, InputType); 7] = [
    ("string", InputType::Text),
    ("int", InputType::Int),
    ("float", InputType::Float),
    ("bool", InputType::Bool),
    ("list", InputType::List),
    ("map", InputType::Map),
    ("duration", InputType::Duration),
];

impl InputType {
    /// The word that scripts use.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, ty)| *ty == self).map_or("", |(name, _)| name)
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            InputType::Text => value.is_string(),
            InputType::Int => value.is_i64(),
            InputType::Float => value.is_number(),
            InputType::Bool => value.is_boolean(),
            InputType::List => value.is_array(),
            InputType::Map => value.is_object(),
            InputType::Duration => value::duration("", value).is_ok(),
        }
    }
}

/// The inputs that a script declares; none where it has no `params`.
pub fn declared(ast: &AST) -> Result<Vec<Input>> {
    let Some(argument) = declaration(ast) else {
        return Ok(Vec::new());
    };
    let literal = argument.get_literal_value(None).ok_or_else(not_literal)?;
    match value::to_json(&literal, value::Show::Hidden)? {
        Value::Object(map) => map.into_iter().map(|(name, spec)| input(name, spec)).collect(),
        other => Err(Error::invalid(format!("`params` takes a map of inputs, found {}", value::describe(&other)))),
    }
}

/// One declared input, from the expression that describes it.
pub fn declared_input(name: &str, spec: &Expr) -> Result<Input> {
    let literal = spec.get_literal_value(None).ok_or_else(not_literal)?;
    input(name.to_owned(), value::to_json(&literal, value::Show::Hidden)?)
}

/// Where the inputs are declared.
pub fn places(ast: &AST) -> Vec<(String, Position)> {
    match declaration(ast) {
        Some(Expr::Map(entries, _)) => entries.0.iter().map(|(key, _)| (key.name.to_string(), key.pos)).collect(),
        _ => Vec::new(),
    }
}

fn not_literal() -> Error {
    Error::invalid("`params` takes a literal map, so that `--help` can read it without running the script")
        .hint("write plain values in it, no variables and no calls")
}

/// Whether the first statement after the imports declares inputs.
pub fn is_first(ast: &AST) -> bool {
    declaration(ast).is_some()
}

/// What `params` gets as the first statement after the imports.
fn declaration(ast: &AST) -> Option<&Expr> {
    let mut statements = ast.statements().iter();
    params_argument(statements.find(|statement| !matches!(statement, Stmt::Import(..) | Stmt::Noop(_)))?)
}

fn params_argument(statement: &Stmt) -> Option<&Expr> {
    let call = match statement {
        Stmt::Var(var, ..) => match &var.1 {
            Expr::FnCall(call, _) => call,
            _ => return None,
        },
        Stmt::FnCall(call, _) => call,
        Stmt::Expr(expr) => match &**expr {
            Expr::FnCall(call, _) => call,
            _ => return None,
        },
        _ => return None,
    };
    (call.namespace.is_empty() && call.name == "params").then(|| call.args.first()).flatten()
}

fn input(name: String, spec: Value) -> Result<Input> {
    let Value::Object(spec) = spec else {
        return Err(Error::invalid(format!(
            "input `{name}` of `params` is described by a map such as `#{{ type: \"string\", help: \"…\", value: \"\" }}`"
        )));
    };
    for key in spec.keys() {
        let known = ["type", "help", "value", "one_of"];
        if !known.contains(&key.as_str()) {
            return Err(Error::invalid(format!("input `{name}` of `params` has an unknown key `{key}`"))
                .note(format!("keys are {}", crate::error::list_and(&known)))
                .maybe_hint(did_you_mean(key, known)));
        }
    }
    let one_of = spec.get("one_of").and_then(Value::as_array).cloned().unwrap_or_default();
    let ty = match spec.get("type").and_then(Value::as_str) {
        None if !one_of.is_empty() => InputType::Text,
        None => return Err(Error::invalid(format!("input `{name}` of `params` has no `type`")).note(known_types())),
        Some(word) => TYPES.iter().find(|(name, _)| *name == word).map(|(_, ty)| *ty).ok_or_else(|| {
            Error::invalid(format!("input `{name}` of `params` has the unknown type `{word}`"))
                .note(known_types())
                .maybe_hint(did_you_mean(word, TYPES.map(|(name, _)| name)))
        })?,
    };
    let help = spec.get("help").and_then(Value::as_str).unwrap_or_default().to_owned();
    let input = Input { name, ty, help, value: spec.get("value").cloned(), one_of };
    if let Some(value) = &input.value {
        check(&input, value)?;
    }
    Ok(input)
}

fn known_types() -> String {
    format!("types are {}", list_or(&TYPES.map(|(name, _)| name)))
}

fn check(input: &Input, value: &Value) -> Result<()> {
    let name = &input.name;
    if !input.ty.accepts(value) {
        let quote = match (input.ty, value) {
            (InputType::Text, Value::Number(number)) => Some(format!("write `\"{number}\"` with quotes")),
            (InputType::Duration, _) => Some("write a number with its unit, such as `30m`".to_owned()),
            _ => None,
        };
        return Err(Error::usage(format!(
            "input `{name}` is of type {}, found {}",
            input.ty.name(),
            value::describe(value)
        ))
        .maybe_hint(quote));
    }
    if !input.one_of.is_empty() && !input.one_of.contains(value) {
        let words: Vec<String> = input.one_of.iter().map(plain).collect();
        return Err(Error::usage(format!("input `{name}` can not be {}", value::describe(value)))
            .note(format!("it is {}", list_or(&words)))
            .maybe_hint(did_you_mean(&plain(value), words.iter().map(String::as_str))));
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What was given: whole files of values, and single texts of the command line.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--values`, in order.
    pub files: Vec<(String, Map<String, Value>)>,
    /// `--set K=V`, in order.
    pub sets: Vec<(String, String)>,
}

/// The inputs of a run: declared value < files in order < single texts.
pub fn resolve(inputs: &[Input], given: &Given) -> Result<Map<String, Value>> {
    let mut resolved = Map::new();
    for input in inputs {
        if let Some(value) = &input.value {
            resolved.insert(input.name.clone(), value.clone());
        }
    }
    for (file, values) in &given.files {
        for (name, value) in values {
            let input = known(inputs, name).map_err(|error| error.note(format!("`{file}` sets it")))?;
            check(input, value).map_err(|error| error.note(format!("`{file}` sets it")))?;
            resolved.insert(name.clone(), value.clone());
        }
    }
    for (name, text) in &given.sets {
        let input = known(inputs, name)?;
        let value = parse(input, text)?;
        check(input, &value)?;
        resolved.insert(name.clone(), value);
    }
    match inputs.iter().find(|input| !resolved.contains_key(&input.name)) {
        None => Ok(resolved),
        Some(missing) => Err(Error::usage(format!("input `{}` must be given", missing.name))
            .note(missing.help.clone())
            .hint(format!("add `--set {}=…`", missing.name))),
    }
}

fn known<'i>(inputs: &'i [Input], name: &str) -> Result<&'i Input> {
    inputs.iter().find(|input| input.name == name).ok_or_else(|| {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let error = Error::usage(format!("the script has no input `{name}`"));
        let error = if names.is_empty() {
            error.note("it declares no inputs: it has no `params`")
        } else {
            error.note(format!("its inputs are {}", crate::error::list_and(&names)))
        };
        error.maybe_hint(did_you_mean(name, names.iter().copied()))
    })
}

/// A text of the command line, by the type of the input.
fn parse(input: &Input, text: &str) -> Result<Value> {
    let wrong =
        || Error::usage(format!("input `{}` is of type {}, found the text \"{text}\"", input.name, input.ty.name()));
    match input.ty {
        InputType::Text | InputType::Duration => Ok(json!(text)),
        InputType::Int => text.parse::<i64>().map(|number| json!(number)).map_err(|_| wrong()),
        InputType::Float => text.parse::<f64>().map(|number| json!(number)).map_err(|_| wrong()),
        InputType::Bool => {
            text.parse::<bool>().map(|flag| json!(flag)).map_err(|_| wrong().hint("write `true` or `false`"))
        }
        InputType::List if text.trim().is_empty() => Ok(json!([])),
        InputType::List if !text.trim_start().starts_with('[') => {
            Ok(text.split(',').map(|item| Value::from(item.trim())).collect())
        }
        InputType::List | InputType::Map => {
            serde_yaml::from_str(text).map_err(|_| wrong().hint("write YAML, such as `[a, b]` or `{key: value}`"))
        }
    }
}

/// The part of `ekskit run FILE --help` that tells the inputs.
pub fn help(inputs: &[Input]) -> String {
    if inputs.is_empty() {
        return "This script takes no inputs.\n".to_owned();
    }
    let width = inputs.iter().map(|input| input.name.len()).max().unwrap_or(0);
    let mut text = String::from("Inputs (--set NAME=VALUE, or --values FILE):\n");
    for input in inputs {
        let words: Vec<String> = input.one_of.iter().map(plain).collect();
        let choice = if words.is_empty() { input.ty.name().to_owned() } else { words.join("|") };
        let value = match &input.value {
            None => "must be given".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "default: empty".to_owned(),
            Some(value) => format!("default: {}", plain(value)),
        };
        text.push_str(&format!("  {:width$}  <{choice}>  {}  [{value}]\n", input.name, input.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Vec<Input> {
        let spec = json!({
            "auth": { "type": "string", "one_of": ["access-entries", "aws-auth"], "value": "access-entries" },
            "name": { "type": "string", "help": "cluster name" },
            "zones": { "type": "int", "value": 3 },
            "api_from": { "type": "list", "value": [] },
        });
        let Value::Object(spec) = spec else { panic!("a map") };
        spec.into_iter().map(|(name, spec)| input(name, spec).unwrap()).collect()
    }

    fn set(pairs: &[(&str, &str)]) -> Given {
        Given {
            sets: pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            ..Given::default()
        }
    }

    #[test]
    fn later_wins_and_texts_are_parsed_by_type() {
        let mut given = set(&[("zones", "2"), ("name", "prod"), ("api_from", "10.0.0.0/8, 192.168.0.0/16")]);
        given.files.push(("a.yaml".into(), [("zones".to_owned(), json!(1))].into_iter().collect()));
        let resolved = resolve(&inputs(), &given).unwrap();
        assert_eq!(resolved["zones"], 2);
        assert_eq!(resolved["api_from"], json!(["10.0.0.0/8", "192.168.0.0/16"]));
        assert_eq!(resolved["auth"], "access-entries");
    }

    #[test]
    fn wrong_inputs_are_usage_errors_with_a_remedy() {
        for (pairs, message, hint) in [
            (vec![("nam", "x")], "the script has no input `nam`", Some("did you mean `name`?")),
            (vec![("name", "x"), ("zones", "many")], "input `zones` is of type int, found the text \"many\"", None),
            (
                vec![("name", "x"), ("auth", "aws-auht")],
                "input `auth` can not be the text \"aws-auht\"",
                Some("did you mean `aws-auth`?"),
            ),
            (vec![], "input `name` must be given", Some("add `--set name=…`")),
        ] {
            let error = resolve(&inputs(), &set(&pairs)).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.facts().hint.as_deref(), hint);
            assert!(error.facts().usage);
        }
    }
}
