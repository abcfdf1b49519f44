//! Objects as data: manifests, and fields of sparse objects.

use serde::Deserialize;
use serde_json::Value;

use super::identity;
use crate::catalog::{Args, Binding, Effect, Param, Run, Ty};
use crate::error::{Error, Kind, Result};
use crate::value;

pub static MANIFESTS: Binding = Binding {
    name: "kube::manifests",
    effect: Effect::Pure,
    doc: r#"
Returns the objects of a YAML text of one or more documents, Namespaces and CustomResourceDefinitions first.

Empty documents are skipped, a `List` stands for its items. Raises `invalid` for broken YAML and for what is no
Kubernetes object, with the number of the document.

```rhai
kube::manifests("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: n}}")[0].kind  //=> "Namespace"
kube::manifests("")                 //=> []
kube::manifests("kind: [")          //=> error: invalid
```
"#,
    params: &[Param::new("text", Ty::Text, "YAML")],
    options: &[],
    returns: "a list of objects, as `kube::apply` takes it",
    raises: &[Kind::Invalid],
    run: Run::Pure(manifests),
};

fn manifests(args: &Args) -> Result<Value> {
    let mut objects = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(args.text("text")).enumerate() {
        let number = index + 1;
        let broken = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("document {number} of the manifest is not valid YAML")).note(error.to_string())
        };
        let mut yaml = serde_yaml::Value::deserialize(document).map_err(|error| broken(&error))?;
        yaml.apply_merge().map_err(|error| broken(&error))?;
        let object = to_json(yaml).map_err(|what| broken(&what))?;
        unpack(object, number, &mut objects)?;
    }
    objects.sort_by_key(rank);
    Ok(Value::Array(objects))
}

fn unpack(object: Value, number: usize, into: &mut Vec<Value>) -> Result<()> {
    if object.is_null() {
        return Ok(());
    }
    let place = format!("document {number} of the manifest");
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && object["items"].is_array();
    if is_list {
        let mut object = object;
        if let Value::Array(items) = object["items"].take() {
            for item in items {
                unpack(item, number, into)?;
            }
        }
        return Ok(());
    }
    identity(&object, &place)?;
    into.push(object);
    Ok(())
}

/// What others need goes first: Namespaces, then definitions, then the rest as it stands.
pub(super) fn rank(object: &Value) -> u8 {
    match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        _ => 2,
    }
}

/// JSON of a YAML value. Keys that are numbers or flags become text, as they do for kubectl.
fn to_json(yaml: serde_yaml::Value) -> Result<Value, String> {
    Ok(match yaml {
        serde_yaml::Value::Mapping(mapping) => {
            let mut object = serde_json::Map::new();
            for (key, item) in mapping {
                let key = match key {
                    serde_yaml::Value::String(key) => key,
                    serde_yaml::Value::Number(key) => key.to_string(),
                    serde_yaml::Value::Bool(key) => key.to_string(),
                    _ => return Err("a key is neither text nor a number".to_owned()),
                };
                if object.insert(key.clone(), to_json(item)?).is_some() {
                    return Err(format!("the key `{key}` stands twice"));
                }
            }
            Value::Object(object)
        }
        serde_yaml::Value::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        serde_yaml::Value::Tagged(tagged) => return Err(format!("the tag `{}` is not known", tagged.tag)),
        plain => serde_json::to_value(plain).map_err(|error| error.to_string())?,
    })
}

pub static FIELD: Binding = Binding {
    name: "kube::field",
    effect: Effect::Pure,
    doc: r#"
Returns a field of an object by its path, or the default where it is absent: objects are sparse.

Parts stand between dots; a key that holds dots stands in single quotes, an item of a list in brackets.

```rhai
kube::field(#{ spec: #{ taints: [#{ key: "a" }] } }, "spec.taints[0].key", "")                  //=> "a"
kube::field(#{ spec: #{} }, "spec.taints", [])                                                  //=> []
kube::field(#{ metadata: #{ labels: #{ "a.b/c": "d" } } }, "metadata.labels.'a.b/c'", ())       //=> "d"
kube::field(#{}, "spec..taints", ())                                                            //=> error: invalid
```
"#,
    params: &[
        Param::new("object", Ty::Any, "the object; `()` has no fields"),
        Param::new("path", Ty::Text, "`spec.taints`, `metadata.labels.'a.b/c'`, `status.conditions[0].type`"),
        Param::new("default", Ty::Any, "what is returned where the field is absent"),
    ],
    options: &[],
    returns: "the field, or the default",
    raises: &[Kind::Invalid],
    run: Run::Pure(field),
};

fn field(args: &Args) -> Result<Value> {
    let default = || args.get("default").cloned().unwrap_or_default();
    let object = args.get("object").unwrap_or(&Value::Null);
    if !object.is_object() && !object.is_null() {
        return Err(Error::invalid(format!("`object` of `kube::field` is a map, found {}", value::describe(object))));
    }
    let mut found = object;
    for part in parts(args.text("path"))? {
        found = match part {
            Part::Key(key) => &found[key.as_str()],
            Part::Index(index) => &found[index],
        };
    }
    Ok(if found.is_null() { default() } else { found.clone() })
}

#[derive(Debug, PartialEq)]
enum Part {
    Key(String),
    Index(usize),
}

/// The parts of a path.
fn parts(path: &str) -> Result<Vec<Part>> {
    let wrong = |what: &str| {
        Error::invalid(format!("\"{path}\" is not the path of a field: {what}"))
            .hint("write it like `spec.taints[0].key` or `metadata.labels.'a.b/c'`")
    };
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
            parts.push(Part::Index(index.parse().map_err(|_| wrong("between brackets stands a number"))?));
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('\'') {
            let (key, after) = inner.split_once('\'').ok_or_else(|| wrong("a quote is not closed"))?;
            parts.push(Part::Key(key.to_owned()));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return Err(wrong("a part is empty"));
            }
            parts.push(Part::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = match rest.strip_prefix('.') {
            Some("") => return Err(wrong("it ends with a dot")),
            Some(after) => after,
            None if rest.is_empty() || rest.starts_with('[') => rest,
            None => return Err(wrong("between two parts stands a dot")),
        };
    }
    if parts.is_empty() { Err(wrong("it is empty")) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value> {
        manifests(&Args::check(&MANIFESTS, vec![json!(text)])?)
    }

    #[test]
    fn documents_come_in_the_order_that_works() {
        let text = "# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {8080: x}}\n\
            ---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: d}\n---\n---\n\
            apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
        let objects = read(text).unwrap();
        let kinds: Vec<&str> =
            objects.as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "CustomResourceDefinition", "ConfigMap"]);
        assert_eq!(objects[2]["data"]["8080"], "x");
    }

    #[test]
    fn mistakes_name_their_document() {
        let error = read("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: Pod\n").unwrap_err();
        assert_eq!(error.to_string(), "document 2 of the manifest (a Pod) has no `apiVersion`");
        let error = read("a: [").unwrap_err();
        assert_eq!(error.to_string(), "document 1 of the manifest is not valid YAML");
        assert!(read("apiVersion: v1\nkind: Pod\nkind: Pod\n").unwrap_err().facts().notes[0].contains("duplicate"));
        assert_eq!(
            read("just text").unwrap_err().to_string(),
            "document 1 of the manifest is a Kubernetes object, a map, but found the text \"just text\""
        );
    }

    #[test]
    fn paths() {
        let key = |key: &str| Part::Key(key.to_owned());
        assert_eq!(parts("spec.taints[0].key").unwrap(), [key("spec"), key("taints"), Part::Index(0), key("key")]);
        assert_eq!(parts("a.'b.c/d'.e").unwrap(), [key("a"), key("b.c/d"), key("e")]);
        for wrong in ["", ".a", "a.", "a..b", "a[x]", "a[0", "'a", "'a'b", "a[0]b"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
        let at = |object: Value, path: &str| {
            field(&Args::check(&FIELD, vec![object, json!(path), json!([])]).unwrap()).unwrap()
        };
        assert_eq!(at(json!({ "a": [{ "b": 1 }] }), "a[0].b"), 1);
        assert_eq!(at(json!({ "a": "text" }), "a.b.c"), json!([]));
        assert_eq!(at(json!({ "a": null }), "a"), json!([]));
        assert_eq!(at(Value::Null, "a"), json!([]));
    }
}
