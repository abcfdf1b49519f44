//! Label and field selectors.

use serde_json::Value;

use super::Problem;
use super::kinds::Served;
use super::status::bad_request;

/// What a list or a selector of pods asks of labels: all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Wish>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Above(String, i64),
    Below(String, i64),
}

impl Labels {
    /// `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    pub fn parse(text: &str) -> Result<Labels, Problem> {
        let refused = |why: &str| bad_request(format!("unable to parse requirement: {why}"));
        let mut wishes = Vec::new();
        for part in parts(text) {
            wishes.push(Wish::parse(part.trim()).map_err(|why| refused(&why))?);
        }
        Ok(Labels(wishes))
    }

    /// The `selector` of a workload, budget or policy: `matchLabels` and `matchExpressions`.
    pub fn of_object(selector: &Value) -> Labels {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = selector["matchLabels"].as_object().into_iter().flatten();
        let mut wishes: Vec<Wish> = pairs.map(|(key, value)| Wish::In(key.clone(), vec![text(value)])).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = text(&expression["key"]);
            let values = expression["values"].as_array().into_iter().flatten().map(text).collect();
            wishes.push(match expression["operator"].as_str() {
                Some("In") => Wish::In(key, values),
                Some("NotIn") => Wish::NotIn(key, values),
                Some("DoesNotExist") => Wish::Absent(key),
                _ => Wish::Exists(key),
            });
        }
        Labels(wishes)
    }

    /// Whether these labels are meant.
    pub fn match_labels(&self, labels: &Value) -> bool {
        self.0.iter().all(|wish| wish.fits(labels))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at commas outside of parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

impl Wish {
    fn parse(text: &str) -> Result<Wish, String> {
        let key = |text: &str| -> Result<String, String> {
            let text = text.trim();
            let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
            if text.is_empty() || !text.chars().all(is_key) {
                return Err(format!("found '{text}', expected: !, identifier, or 'end of string'"));
            }
            Ok(text.to_owned())
        };
        let one = |text: &str| vec![text.trim().to_owned()];
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("values: Invalid value: {text:?}"));
        if let Some(rest) = text.strip_prefix('!') {
            return Ok(Wish::Absent(key(rest)?));
        }
        if let Some((name, rest)) = text.split_once(char::is_whitespace)
            && let Some((operator, values)) = rest.split_once('(')
            && let Some(values) = values.trim_end().strip_suffix(')')
        {
            let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
            return match operator.trim() {
                "in" => Ok(Wish::In(key(name)?, values)),
                "notin" => Ok(Wish::NotIn(key(name)?, values)),
                other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
            };
        }
        if let Some((name, value)) = text.split_once("!=") {
            return Ok(Wish::NotIn(key(name)?, one(value)));
        }
        if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Wish::In(key(name)?, one(value)));
        }
        if let Some((name, value)) = text.split_once('>') {
            return Ok(Wish::Above(key(name)?, number(value)?));
        }
        if let Some((name, value)) = text.split_once('<') {
            return Ok(Wish::Below(key(name)?, number(value)?));
        }
        Ok(Wish::Exists(key(text)?))
    }

    fn fits(&self, labels: &Value) -> bool {
        let of = |key: &str| labels.get(key).and_then(Value::as_str);
        let number = |key: &str| of(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Wish::Exists(key) => of(key).is_some(),
            Wish::Absent(key) => of(key).is_none(),
            Wish::In(key, values) => of(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Wish::NotIn(key, values) => of(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Wish::Above(key, than) => number(key).is_some_and(|value| value > *than),
            Wish::Below(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }
}

/// What a list asks of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, bool, String)>);

/// Fields that can be asked for besides `metadata.name` and `metadata.namespace`.
const SELECTABLE: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
    ("replicationcontrollers", &["status.replicas"]),
    ("replicasets.apps", &["status.replicas"]),
    ("jobs.batch", &["status.successful"]),
    ("certificatesigningrequests.certificates.k8s.io", &["spec.signerName"]),
];

impl Fields {
    /// `metadata.name=a,status.phase!=Running`.
    pub fn parse(text: &str, served: &Served) -> Result<Fields, Problem> {
        let mut wishes = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (field, wanted, value) = match (part.split_once("!="), part.split_once("==")) {
                (Some((field, value)), _) => (field, false, value),
                (None, Some((field, value))) => (field, true, value),
                (None, None) => match part.split_once('=') {
                    Some((field, value)) => (field, true, value),
                    None => return Err(bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"))),
                },
            };
            let field = field.trim();
            let known = SELECTABLE.iter().find(|(table, _)| *table == served.table).map_or(&[][..], |(_, known)| known);
            if !matches!(field, "metadata.name" | "metadata.namespace") && !known.contains(&field) {
                let told = if served.group.is_empty() { "/" } else { &format!("{}/", served.group) };
                return Err(bad_request(format!(
                    "Unable to find \"{told}{}, Resource={}\" that match label selector \"\", field selector \
                     \"{text}\": field label not supported: {field}",
                    served.version, served.plural
                )));
            }
            wishes.push((field.to_owned(), wanted, value.trim().to_owned()));
        }
        Ok(Fields(wishes))
    }

    /// Whether this object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, wanted, value)| {
            let found = field.split('.').try_fold(object, |value, key| value.get(key)).unwrap_or(&Value::Null);
            let is_it = match found {
                Value::String(text) => text == value,
                Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => value == "false",
                Value::Null => value.is_empty(),
                other => {
                    let shown = other.to_string();
                    shown == *value
                }
            };
            is_it == *wanted
        })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::kube::kinds;
    use crate::twin::kube::store::Store;
    use serde_json::json;

    #[test]
    fn labels_are_asked_for_as_kubectl_does() {
        let labels = json!({ "app": "web", "tier": "front", "size": "5" });
        let rows = [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),!gone", true),
            ("app notin (web)", false),
            ("other notin (web),tier", true),
            ("gone", false),
            ("size>4,size<6", true),
            ("size>5", false),
            ("", true),
        ];
        for (text, fits) in rows {
            assert_eq!(Labels::parse(text).unwrap().match_labels(&labels), fits, "{text}");
        }
        assert_eq!(Labels::parse("a b=c").unwrap_err().code, 400);
    }

    #[test]
    fn a_field_that_can_not_be_asked_for_is_refused() {
        let pods = kinds::find(&Store::default(), "", "v1", "pods").unwrap();
        let fields = Fields::parse("spec.nodeName=n1,status.phase!=Failed", &pods).unwrap();
        assert!(fields.matches(&json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Running" } })));
        assert!(!fields.matches(&json!({ "spec": { "nodeName": "n1" }, "status": { "phase": "Failed" } })));
        let problem = Fields::parse("spec.color=red", &pods).unwrap_err();
        assert!(problem.message.ends_with("field label not supported: spec.color"), "{}", problem.message);
    }
}
