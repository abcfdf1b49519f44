//! YAML, JSON and plain text: from the project's files, from texts, and back.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::{Answer, Binding, Call, Effect, Files, Param, Run, Ty};
use crate::cloud::Future;
use crate::error::{Error, Kind, Result};

/// `yaml::`, `json::` and `text::load`.
pub static ALL: &[&Binding] =
    &[&YAML_PARSE, &YAML_PARSE_ALL, &YAML_FORMAT, &YAML_LOAD, &JSON_PARSE, &JSON_FORMAT, &JSON_LOAD, &TEXT_LOAD];

const TEXT: Param = Param::new("text", Ty::Text, "the text");
const PATH: Param = Param::new("path", Ty::Text, "a file of the project, relative to its root");

const fn load(
    name: &'static str,
    doc: &'static str,
    returns: &'static str,
    run: for<'a> fn(Call<'a>) -> Future<'a, Result<Answer>>,
) -> Binding {
    Binding {
        name,
        effect: Effect::Pure,
        doc,
        params: &[PATH],
        options: &[],
        returns,
        raises: &[Kind::NotFound, Kind::Invalid, Kind::Refused],
        run: Run::Cloud(run),
    }
}

static YAML_PARSE: Binding = Binding::pure(
    "yaml::parse",
    "The value of one YAML document.

```rhai
yaml::parse(\"a: [1, 2]\").a //=> [1, 2]
yaml::parse(\"a: [\") //=> error: invalid
```",
    &[TEXT],
    "the value",
    |args| parse_yaml(args.text("text")),
);

static YAML_PARSE_ALL: Binding = Binding::pure(
    "yaml::parse_all",
    "The values of all documents of a YAML text; empty ones are left out.

```rhai
yaml::parse_all(\"a: 1\\n---\\nb: 2\").len() //=> 2
yaml::parse_all(\"a: [\") //=> error: invalid
```",
    &[TEXT],
    "a list",
    |args| parse_yaml_all(args.text("text")).map(Value::Array),
);

static YAML_FORMAT: Binding = Binding::pure(
    "yaml::format",
    "A value as YAML.

```rhai
yaml::format(#{ a: 1 }) //=> \"a: 1\\n\"
```",
    &[Param::new("value", Ty::Any, "plain data")],
    "text",
    |args| {
        let text = serde_yaml::to_string(args.get("value").unwrap_or(&Value::Null));
        text.map(Value::String)
            .map_err(|error| Error::invalid(format!("the value can not be written as YAML: {error}")))
    },
);

static YAML_LOAD: Binding =
    load("yaml::load", "The value of a YAML file of the project.", "the value", |call| loaded(call, parse_yaml));

static JSON_PARSE: Binding = Binding::pure(
    "json::parse",
    "The value of a JSON text.

```rhai
json::parse(`{\"a\": [1, 2]}`).a //=> [1, 2]
json::parse(\"{\") //=> error: invalid
```",
    &[TEXT],
    "the value",
    |args| parse_json(args.text("text")),
);

static JSON_FORMAT: Binding = Binding::pure(
    "json::format",
    "A value as JSON on one line.

```rhai
json::format(#{ a: 1 }) //=> `{\"a\":1}`
```",
    &[Param::new("value", Ty::Any, "plain data")],
    "text",
    |args| Ok(json!(args.get("value").unwrap_or(&Value::Null).to_string())),
);

static JSON_LOAD: Binding =
    load("json::load", "The value of a JSON file of the project.", "the value", |call| loaded(call, parse_json));

static TEXT_LOAD: Binding =
    load("text::load", "The text of a file of the project.", "text", |call| loaded(call, |text| Ok(json!(text))));

/// One YAML document as JSON.
pub fn parse_yaml(text: &str) -> Result<Value> {
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(broken_yaml)?;
    plain(value)
}

/// All YAML documents of a text as JSON, without the empty ones.
pub fn parse_yaml_all(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = plain(serde_yaml::Value::deserialize(document).map_err(broken_yaml)?)?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

fn plain(mut value: serde_yaml::Value) -> Result<Value> {
    value.apply_merge().map_err(broken_yaml)?;
    serde_json::to_value(value).map_err(|error| {
        Error::invalid(format!("this YAML has no counterpart in JSON: {error}"))
            .hint("keys of maps are texts: quote them")
    })
}

fn broken_yaml(error: serde_yaml::Error) -> Error {
    Error::invalid(format!("broken YAML: {error}"))
}

fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::invalid(format!("broken JSON: {error}")))
}

fn loaded(call: Call<'_>, parse: fn(&str) -> Result<Value>) -> Future<'_, Result<Answer>> {
    Box::pin(async move {
        let path = call.args.text("path");
        let text = read(call.files, path)?;
        let value = parse(&text).map_err(|error| error.note(format!("in file `{path}`")))?;
        Ok(Answer::read(value))
    })
}

/// The text of a file of the project. Nothing outside the project is read, not even over a link.
fn read(files: &Files, path: &str) -> Result<String> {
    let root =
        files.root.as_ref().ok_or_else(|| Error::refused("there is no project here whose files could be read"))?;
    let joined = root.join(path);
    let real = joined.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found("file", path).in_("project", &root.display().to_string()),
        _ => Error::failed(format!("file `{path}` can not be read: {error}")),
    })?;
    if !real.starts_with(root) {
        return Err(Error::refused(format!("file `{path}` lies outside the project"))
            .note(format!("the project is `{}`", root.display()))
            .hint("copy the file into the project"));
    }
    read_text(&real, path)
}

fn read_text(real: &Path, path: &str) -> Result<String> {
    std::fs::read_to_string(real).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Error::invalid(format!("file `{path}` is not UTF-8 text")),
        _ => Error::failed(format!("file `{path}` can not be read: {error}")),
    })
}
