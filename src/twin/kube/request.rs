//! A request as the API server reads it: what its path means, its parameters, its body.

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::accept::{self, Accepted, Form, Shown};
use super::kinds::Served;
use super::protobuf::Garbled;
use super::status::{bad_request, invalid_as, none_accepted, not_acceptable, too_large, unsupported, unsupported_type};
use super::{BODY_MAX, Problem, json, protobuf, twice};

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
        // An escaped slash is a slash to the server; one at the end is none.
        let whole = decode(parts.uri.path());
        let inner = whole.strip_prefix('/').unwrap_or(&whole);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut path: Vec<String> =
            if inner.is_empty() { Vec::new() } else { inner.split('/').map(str::to_owned).collect() };
        // What is no query is passed over.
        let mut query: Vec<(String, String)> = pairs.filter(|pair| is_escaped(pair)).map(pair).collect();
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

    /// What the client accepts, as it says so.
    pub fn accept(&self) -> &str {
        self.accept
    }

    /// The only name that the field selector leaves.
    pub fn selected_name(&self) -> Option<String> {
        let names = self.param("fieldSelector").split(',').filter_map(|one| one.trim().strip_prefix("metadata.name="));
        names.map(|name| name.trim_start_matches('=').to_owned()).next().filter(|name| !name.is_empty())
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
            ["apis", group, version, rest @ ..] if !group.is_empty() => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // A namespace itself and its own parts stand where those of its objects do.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", "", rest @ ..] => (None, rest),
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

    /// What the client accepts; `None` where it accepts nothing that there is.
    pub fn accepted(&self) -> Option<Accepted<'_>> {
        let is_object = self.place().is_some();
        accept::negotiate(self.accept, |shown| match (shown.group, shown.version, shown.kind) {
            ("meta.k8s.io", "v1" | "v1beta1", "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList") => {
                is_object
            }
            ("apidiscovery.k8s.io", "v2" | "v2beta1", "APIGroupDiscoveryList") => !is_object,
            _ => false,
        })
    }

    /// Whether an answer is to be written in YAML; refusals only where objects are shown as they are.
    pub fn wants_yaml(&self, code: u16) -> bool {
        self.accepted().is_some_and(|one| one.form == Form::Yaml && (code < 400 || one.shown.is_none()))
    }

    /// Whether the answer is to be of this kind: `PartialObjectMetadataList`.
    pub fn wants(&self, kind: &str) -> bool {
        self.shown().is_some_and(|shown| shown.kind == kind)
    }

    /// Whether that kind is wanted in this version: `v1`.
    pub fn wants_version(&self, version: &str) -> bool {
        self.shown().is_some_and(|shown| shown.version == version)
    }

    fn shown(&self) -> Option<Shown<'_>> {
        self.accepted().and_then(|accepted| accepted.shown)
    }

    /// Refuses a request for an answer of another type than those that there are; `is_watch`: of a stream.
    pub fn acceptable(&self, custom: bool, is_watch: bool) -> Result<(), Problem> {
        let produced = self.produced();
        if !custom && !accept::is_routed(self.accept, &produced) {
            return Err(not_acceptable(&produced));
        }
        let forms = match is_watch {
            false => "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            true => "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        };
        match self.accepted() {
            Some(accepted) if accepted.form == Form::Json || !is_watch => Ok(()),
            _ => Err(none_accepted(forms)),
        }
    }

    /// The types of answers that the router knows for this place.
    fn produced(&self) -> Vec<&'static str> {
        let mut types = vec!["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
        match self.place() {
            Some(place) if place.name.is_none() && self.method == Method::GET => {
                types.extend(["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]);
            }
            Some(place) if place.subresource.as_deref() == Some("log") => types.insert(0, "text/plain"),
            _ => {}
        }
        types
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
            "" if !self.query.iter().any(|(name, _)| name == "dryRun") => Ok(false),
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
        let unrecognized = |why: &str| {
            let shown = shortened(self.body);
            bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({shown})"))
        };
        let media =
            self.object_media().filter(|media| KNOWN.contains(&&**media)).ok_or_else(|| unsupported_type(KNOWN))?;
        let body = self.text()?;
        let object = match media.as_str() {
            "application/yaml" => self.parsed_yaml().map_err(|why| unrecognized(&format!("yaml: {why}")))?,
            protobuf::MEDIA => protobuf::read(body).map_err(|garbled| match garbled {
                Garbled::Envelope(why) => unrecognized(&why),
                Garbled::Object { kind, version, why } => {
                    bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
                }
            })?,
            _ => json::read(body)
                .map_err(|why| unrecognized(&format!("couldn't get version/kind; json parse error: {why}")))?,
        };
        if object.is_object() || object.is_null() {
            return Ok(object);
        }
        Err(unrecognized(&no_object(&object)))
    }

    /// The body as an object of a kind; a custom one must say what it is.
    pub fn object_of(&self, served: &Served) -> Result<Value, Problem> {
        let object = self.object(&served.kind)?;
        let missing = [("kind", "Kind"), ("apiVersion", "apiVersion")]
            .into_iter()
            .find(|(field, _)| object[*field].as_str().unwrap_or_default().is_empty())
            .filter(|_| served.custom);
        let Some((_, word)) = missing else { return Ok(object) };
        let (text, shown) = (json::lettered(self.body), shortened(self.body));
        Err(bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object '{word}' is missing in '{text}' ({shown})",
            served.kind
        )))
    }

    /// The type of a body that holds an object, in lower case; `None` where it is malformed.
    fn object_media(&self) -> Option<String> {
        let (media, params) = self.content_type.split_once(';').unwrap_or((self.content_type, ""));
        let is_token = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
        };
        let is_param =
            |param: &str| param.split_once('=').is_some_and(|(key, value)| is_token(key.trim()) && !value.is_empty());
        let media = if media.trim().is_empty() && params.is_empty() { "application/json" } else { media };
        params.split(';').all(|param| param.trim().is_empty() || is_param(param)).then(|| media.trim().to_lowercase())
    }

    /// The body as the options of a DELETE.
    pub fn delete_options(&self) -> Result<Value, Problem> {
        const KNOWN: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA];
        let media =
            self.object_media().filter(|media| KNOWN.contains(&&**media)).ok_or_else(|| unsupported_type(KNOWN))?;
        let body = self.text()?;
        let options: Value = match media.as_str() {
            "application/yaml" => self.parsed_yaml().map_err(bad_request)?,
            protobuf::MEDIA => protobuf::read(body).map_err(|garbled| bad_request(garbled.why()))?,
            _ => json::read(body)
                .map_err(|why| bad_request(format!("couldn't get version/kind; json parse error: {why}")))?,
        };
        if !options.is_object() && !options.is_null() {
            return Err(bad_request(no_object(&options)));
        }
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
        json::read(self.text()?).map_err(|why| bad_request(format!("{before}{why}")))
    }

    /// The body as an applied object, in YAML.
    pub fn applied(&self) -> Result<Value, Problem> {
        let value = match serde_json::from_slice(self.text()?) {
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
        let told = |error: serde_yaml::Error| {
            let text = error.to_string();
            text.split(" at line")
                .next()
                .and_then(|text| text.split(" at position").next())
                .unwrap_or_default()
                .to_owned()
        };
        // Of several documents the first counts.
        let Some(first) = serde_yaml::Deserializer::from_slice(self.body).next() else { return Ok(Value::Null) };
        let mut value = serde_yaml::Value::deserialize(first).map_err(told)?;
        value.apply_merge().map_err(told)?;
        serde_yaml::from_value(value).map_err(told)
    }

    /// The body, where it is not too long to be read.
    fn text(&self) -> Result<&'a [u8], Problem> {
        match self.body.len() {
            ..=BODY_MAX => Ok(self.body),
            _ => Err(too_large(&format!("limit is {BODY_MAX}"))),
        }
    }

    /// The body as it came.
    pub fn body(&self) -> &'a [u8] {
        self.body
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

/// Whether every `%` of a text stands before two digits.
pub fn is_escaped(text: &str) -> bool {
    let digits = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(digits)
}

/// What the server says of a value that is no object.
pub fn no_object(value: &Value) -> String {
    let found = super::typed::json_type(value);
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct \
         {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )
}

/// A body as refusals show it.
fn shortened(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (begin, dots) = if body.len() > SHOWN { (&body[..SHOWN], " ...") } else { (body, "") };
    let shown = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => json::lettered(begin),
        Some(_) => begin.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    format!("{shown}{dots}")
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
        let pod = place("/api/v1/namespaces/team/pods/a%20b/log?tailLines=3").unwrap();
        assert_eq!((pod.namespace.as_deref(), pod.plural.as_str()), (Some("team"), "pods"));
        assert_eq!((pod.name.as_deref(), pod.subresource.as_deref()), (Some("a b"), Some("log")));
        let namespace = place("/api/v1/namespaces/team/finalize").unwrap();
        assert_eq!((namespace.namespace, namespace.plural.as_str()), (None, "namespaces"));
        let all = place("/apis/apps/v1/deployments").unwrap();
        assert_eq!((all.group.as_str(), all.name), ("apps", None));
        assert_eq!(place("/api/v1/namespaces/team/pods/"), place("/api/v1/namespaces/team/pods"));
        assert_eq!(place("/api/v1/namespaces/team/pods/a%2Fb").unwrap().subresource.as_deref(), Some("b"));
        assert_eq!(place("/apis/apps/v1"), None);
        assert_eq!(place("/version"), None);
    }
}
