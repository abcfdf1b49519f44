//! A request as the API server reads it: what its path means, its parameters, its body.

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::status::{bad_request, invalid_as, not_acceptable, unsupported, unsupported_type};
use super::{Problem, protobuf, twice};

/// One request.
#[derive(Debug)]
pub struct Ask<'a> {
    /// `GET`.
    pub method: &'a Method,
    /// The path in its parts, decoded.
    pub path: Vec<String>,
    query: Vec<(String, String)>,
    accept: &'a str,
    content_type: &'a str,
    agent: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

/// Reads the old form of a watch, `/api/v1/watch/…`, as the present one.
fn watch_by_path(path: &mut Vec<String>, query: &mut Vec<(String, String)>) {
    let at = if path.first().is_some_and(|first| first == "api") { 2 } else { 3 };
    if path.get(at).is_none_or(|part| part != "watch") {
        return;
    }
    path.remove(at);
    query.insert(0, ("watch".to_owned(), "true".to_owned()));
    // Of a namespaced kind, `namespaces/NAME` stands before it.
    let in_namespace = path.get(at).is_some_and(|part| part == "namespaces") && path.len() > at + 2;
    let plural = if in_namespace { at + 2 } else { at };
    if path.len() == plural + 2 {
        let name = path.pop().unwrap_or_default();
        query.push(("fieldSelector".to_owned(), format!("metadata.name={name}")));
    }
}

/// What a path of objects means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// API group; empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// Absent for what lives in none, and for all of them.
    pub namespace: Option<String>,
    /// `pods`.
    pub plural: String,
    /// Absent for lists and creates.
    pub name: Option<String>,
    /// `status`.
    pub subresource: Option<String>,
}

impl<'a> Ask<'a> {
    /// Reads a request.
    pub fn read(parts: &'a Parts, body: &'a [u8]) -> Ask<'a> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(&value.replace('+', " ")))
        };
        let mut path: Vec<String> = parts.uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let mut query: Vec<(String, String)> = pairs.map(pair).collect();
        watch_by_path(&mut path, &mut query);
        Ask {
            method: &parts.method,
            path,
            query,
            accept: header(ACCEPT),
            content_type: header(CONTENT_TYPE),
            agent: header(USER_AGENT),
            headers: &parts.headers,
            body,
        }
    }

    /// The values of a header.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// A parameter, empty where it is not given.
    pub fn param(&self, key: &str) -> &str {
        self.query.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value.as_str())
    }

    /// Whether a parameter says yes.
    pub fn says(&self, key: &str) -> bool {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// Whether a parameter is given and not empty.
    pub fn has(&self, key: &str) -> bool {
        !self.param(key).is_empty()
    }

    /// Where the objects are that the path means; `None` where it means none.
    pub fn place(&self) -> Option<Place> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // A namespace itself and its own parts stand where those of its objects do.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return None };
        let text = |at: usize| rest.get(at).map(|&part| part.to_owned());
        (rest.len() <= 2).then(|| Place {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace,
            plural: (*plural).to_owned(),
            name: text(0),
            subresource: text(1),
        })
    }

    /// Whether the answer is to be of this type: `PartialObjectMetadataList`.
    pub fn wants(&self, form: &str) -> bool {
        self.accept_param("as") == Some(form)
    }

    /// Whether that type is wanted in this version: `v1`.
    pub fn wants_version(&self, version: &str) -> bool {
        self.accept_param("v") == Some(version)
    }

    /// A parameter of the first type that can be had.
    fn accept_param(&self, key: &str) -> Option<&str> {
        let mut types = self.accept.split(',').map(|one| one.split(';'));
        let first = types.find(|one| one.clone().next().is_some_and(|media| is_json(media.trim())))?;
        first
            .skip(1)
            .filter_map(|part| part.trim().split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// Refuses a request for an answer of another type than JSON.
    pub fn acceptable(&self) -> Result<(), Problem> {
        let types = self.accept.split(',').map(|one| one.split(';').next().unwrap_or_default().trim());
        if types.into_iter().any(is_json) { Ok(()) } else { Err(not_acceptable()) }
    }

    /// The type of the body, without its parameters.
    pub fn media(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim()
    }

    /// Who writes: the field manager, else the program.
    pub fn manager(&self) -> String {
        match self.param("fieldManager") {
            "" => match self.agent.split('/').next().unwrap_or_default() {
                "" => "unknown".to_owned(),
                program => program.to_owned(),
            },
            manager => manager.to_owned(),
        }
    }

    /// Whether nothing is to be stored.
    pub fn is_dry_run(&self, options: &str) -> Result<bool, Problem> {
        match self.param("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let wrong = unsupported("dryRun", &serde_json::json!([other]), &["All"]);
                Err(invalid_as(&format!("{options}.meta.k8s.io"), "", serde_json::json!({}), &[wrong]))
            }
        }
    }

    /// The body as an object of a kind, JSON or YAML.
    pub fn object(&self, kind: &str) -> Result<Value, Problem> {
        const KNOWN: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA];
        let unrecognized = |why: &str, shown: &str| {
            bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): {why} ({})",
                if shown.is_empty() { "<empty>" } else { shown }
            ))
        };
        let hexadecimal = || self.body.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let shown = match std::str::from_utf8(self.body) {
            Ok(text) if text.starts_with('{') && text.len() > 30 => format!("{} ...", &text[..30]),
            Ok(text) if text.starts_with('{') => text.to_owned(),
            _ => hexadecimal(),
        };
        let object = match self.media() {
            "" | "application/json" => serde_json::from_slice(self.body).map_err(|_| {
                let why = malformed(self.body);
                unrecognized(&format!("couldn't get version/kind; json parse error: {why}"), &shown)
            })?,
            "application/yaml" => self.parsed_yaml().map_err(|why| unrecognized(&format!("yaml: {why}"), &shown))?,
            protobuf::MEDIA => protobuf::read(self.body).map_err(bad_request)?,
            _ => return Err(unsupported_type(KNOWN)),
        };
        if object.is_object() || object.is_null() {
            return Ok(object);
        }
        let found = super::typed::json_type(&object);
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct \
             {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        );
        Err(unrecognized(&why, &shown))
    }

    /// The body as the options of a DELETE.
    pub fn delete_options(&self) -> Result<Value, Problem> {
        let options: Value = match serde_json::from_slice(self.body) {
            Ok(options) => options,
            Err(_) if self.media() == "application/yaml" => self.parsed_yaml().map_err(bad_request)?,
            Err(_) => {
                let why = malformed(self.body);
                return Err(bad_request(format!("couldn't get version/kind; json parse error: {why}")));
            }
        };
        let (kind, version) = (options["kind"].as_str(), options["apiVersion"].as_str());
        if let Some(kind) = kind.filter(|kind| !matches!(*kind, "DeleteOptions" | "")) {
            let version = version.unwrap_or("v1");
            return Err(bad_request(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )));
        }
        Ok(options)
    }

    /// Fields that a JSON body has twice: `data.a`. The last of them counts.
    pub fn twice(&self) -> Vec<String> {
        twice::fields(self.body)
    }

    /// The body as a patch; `before` stands before what is wrong with it.
    pub fn patch(&self, before: &str) -> Result<Value, Problem> {
        serde_json::from_slice(self.body).map_err(|_| bad_request(format!("{before}{}", malformed(self.body))))
    }

    /// The body as an applied object, in YAML.
    pub fn applied(&self) -> Result<Value, Problem> {
        let value = match serde_json::from_slice(self.body) {
            Ok(value) => value,
            Err(_) => self.parsed_yaml().map_err(|why| {
                bad_request(format!("error decoding YAML: error converting YAML to JSON: yaml: {why}"))
            })?,
        };
        if value.is_object() || value.is_null() {
            return Ok(value);
        }
        let found = super::typed::json_type(&value);
        Err(bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go \
             value of type map[string]interface {{}}"
        )))
    }

    fn parsed_yaml(&self) -> Result<Value, String> {
        serde_yaml::from_slice(self.body).map_err(|error| {
            let text = error.to_string();
            text.split(" at line").next().unwrap_or_default().to_owned()
        })
    }

    /// Whether there is a body.
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The body as JSON; nothing where it is none.
    pub fn json(&self) -> Result<Value, Problem> {
        self.patch("")
    }
}

/// What Go says of a text that is no JSON.
fn malformed(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Err(error) if !error.is_eof() => {
            let text = String::from_utf8_lossy(body);
            let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            let letter = line.chars().nth(error.column().saturating_sub(1)).unwrap_or(' ');
            let place = if error.column() <= 1 || error.to_string().starts_with("expected value") {
                "looking for beginning of value"
            } else if error.to_string().starts_with("trailing characters") {
                "after top-level value"
            } else {
                "looking for beginning of object key string"
            };
            format!("invalid character '{letter}' {place}")
        }
        _ => "unexpected end of JSON input".to_owned(),
    }
}

/// Whether JSON is of this type.
fn is_json(media: &str) -> bool {
    matches!(media, "" | "*/*" | "application/*" | "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> Option<Place> {
        let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        Ask::read(&parts, b"").place()
    }

    #[test]
    fn paths_are_read_as_the_server_reads_them() {
        let pod = place("/api/v1/namespaces/team/pods/a%2Fb/log?tailLines=3").unwrap();
        assert_eq!((pod.namespace.as_deref(), pod.plural.as_str()), (Some("team"), "pods"));
        assert_eq!((pod.name.as_deref(), pod.subresource.as_deref()), (Some("a/b"), Some("log")));
        let namespace = place("/api/v1/namespaces/team/finalize").unwrap();
        assert_eq!((namespace.namespace, namespace.plural.as_str()), (None, "namespaces"));
        let all = place("/apis/apps/v1/deployments").unwrap();
        assert_eq!((all.group.as_str(), all.name), ("apps", None));
        assert_eq!(place("/apis/apps/v1"), None);
        assert_eq!(place("/version"), None);
    }
}
