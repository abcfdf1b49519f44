//! Objects on the wire: one, and many page by page. Written straight from the store, so that a read clones nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::Problem;
use super::kinds::Served;
use super::request::Ask;
use super::revision::{self, Moment};
use super::selector::{Fields, Labels};
use super::status::{bad_request, internal};
use super::store::Store;
use super::table::Sheet;
use super::versions;

/// How an object is shown.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// As it is, under this version.
    Whole(&'a str),
    /// As an item of a list of built-in kinds, which do not say what they are.
    Item,
    /// Its metadata only.
    Metadata,
    /// A row of a table.
    Row(&'a Sheet),
}

struct Shown<'a>(&'a Value, Form<'a>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Form::Row(sheet) = self.1 {
            return sheet.row(self.0).serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        let fields = self.0.as_object().into_iter().flatten();
        match self.1 {
            Form::Row(_) => {}
            Form::Whole(api_version) => {
                for (key, value) in fields {
                    match key.as_str() {
                        "apiVersion" => map.serialize_entry(key, api_version)?,
                        _ => map.serialize_entry(key, value)?,
                    }
                }
            }
            Form::Item => {
                for (key, value) in fields.filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind")) {
                    map.serialize_entry(key, value)?;
                }
            }
            Form::Metadata => {
                map.serialize_entry("kind", "PartialObjectMetadata")?;
                map.serialize_entry("apiVersion", "meta.k8s.io/v1")?;
                map.serialize_entry("metadata", &self.0["metadata"])?;
            }
        }
        map.end()
    }
}

fn write(object: &Value, form: Form<'_>, into: &mut Vec<u8>) -> Result<(), Problem> {
    serde_json::to_writer(into, &Shown(object, form)).map_err(|error| internal(error.to_string()))
}

/// Writes an object as it is, under this version.
pub fn write_whole(object: &Value, api_version: &str, into: &mut Vec<u8>) {
    // A value that was read from JSON can be written as JSON.
    let _ = write(object, Form::Whole(api_version), into);
}

/// Writes the metadata of an object.
pub fn write_metadata(object: &Value, into: &mut Vec<u8>) {
    let _ = write(object, Form::Metadata, into);
}

/// One object as the request wants it.
pub fn one(ask: &Ask<'_>, served: &Served, sheet: Option<&Sheet>, object: &Value) -> Result<Vec<u8>, Problem> {
    if let Some(sheet) = sheet {
        return Ok(sheet.single(object, true).to_string().into_bytes());
    }
    let mut body = Vec::with_capacity(1024);
    let api_version = served.api_version();
    let form = if ask.wants("PartialObjectMetadata") { Form::Metadata } else { Form::Whole(&api_version) };
    write(&versions::shown(served, object), form, &mut body)?;
    Ok(body)
}

/// Which objects a list or a collection means.
pub struct Selected {
    labels: Labels,
    fields: Fields,
}

impl Selected {
    /// Reads the selectors of a request.
    pub fn read(ask: &Ask<'_>, served: &Served) -> Result<Selected, Problem> {
        let labels = Labels::parse(ask.param("labelSelector"))?;
        Ok(Selected { labels, fields: Fields::parse(ask.param("fieldSelector"), served)? })
    }

    /// Whether it means this object.
    pub fn has(&self, object: &Value) -> bool {
        self.labels.match_labels(&object["metadata"]["labels"]) && self.fields.matches(object)
    }
}

/// A page of objects.
pub fn many(
    store: &Store,
    ask: &Ask<'_>,
    served: &Served,
    sheet: Option<&Sheet>,
    namespace: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    let selected = Selected::read(ask, served)?;
    let limit = match ask.param("limit") {
        "" => 0,
        text => usize::try_from(revision::number(text)?).unwrap_or(0),
    };
    // Whoever takes any version gets all of it at once.
    let limit = if ask.param("resourceVersion") == "0" { 0 } else { limit };
    let (mut moment, mut after) = (revision::of_list(ask, store)?, None);
    if !ask.param("continue").is_empty() {
        let token = Token::read(ask.param("continue"))?;
        moment = token.revision.map_or(Moment::Now, Moment::At);
        after = Some(token.after);
    }
    let revision = match moment {
        Moment::Now => store.revision(),
        Moment::At(revision) => revision,
    };
    let objects = store.list_at(&served.table, revision).ok_or_else(|| match &after {
        Some(after) => revision::forgotten_page(Token { revision: None, after: after.clone() }.write()),
        None => revision::forgotten(),
    })?;
    let metadata_only = ask.wants("PartialObjectMetadataList");
    let api_version = served.api_version();
    let form = match sheet {
        Some(sheet) => Form::Row(sheet),
        None if metadata_only => Form::Metadata,
        None if served.custom => Form::Whole(&api_version),
        None => Form::Item,
    };
    let mut items = Vec::new();
    let mut count = 0;
    let mut last: Option<&str> = None;
    let mut more = 0;
    for (key, object) in objects.within(namespace, after.as_deref()) {
        if limit > 0 && count == limit {
            // Whether they are chosen is not known yet.
            more += 1;
            continue;
        }
        if !selected.has(object) {
            continue;
        }
        if count > 0 {
            items.push(b',');
        }
        match &form {
            Form::Row(_) => write(object, form, &mut items)?,
            _ => write(&versions::shown(served, object), form, &mut items)?,
        }
        count += 1;
        last = Some(key);
    }
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if served.custom && !metadata_only {
        // Lists of custom kinds say that there is no more.
        metadata["continue"] = json!("");
    }
    if let (Some(last), true) = (last, more > 0) {
        metadata["continue"] = json!(Token { revision: Some(revision), after: last.to_owned() }.write());
        if selected.labels.is_empty() && selected.fields.is_empty() {
            metadata["remainingItemCount"] = json!(more);
        }
    }
    let head = match sheet {
        Some(sheet) => format!(
            r#"{{"kind":"Table","apiVersion":"{}","metadata":{metadata},"columnDefinitions":{},"rows":["#,
            sheet.api_version(),
            sheet.definitions(),
        ),
        None => {
            let (kind, api_version) = match metadata_only {
                true => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
                false => (format!("{}List", served.kind), api_version),
            };
            format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#)
        }
    };
    let mut body = head.into_bytes();
    body.append(&mut items);
    body.extend_from_slice(b"]}");
    Ok(body)
}

/// Where the next page starts.
struct Token {
    /// Of the first page; `None`: whatever is there.
    revision: Option<u64>,
    after: String,
}

impl Token {
    fn write(&self) -> String {
        let text = json!({ "v": "meta.k8s.io/v1", "rv": self.revision.map_or(json!(-1), |revision| json!(revision)), "start": self.after }).to_string();
        URL_SAFE_NO_PAD.encode(text)
    }

    fn read(text: &str) -> Result<Token, Problem> {
        let refused = |why: &str| bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused("illegal base64 data at input byte 0"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
            let first = String::from_utf8_lossy(&bytes).chars().next().unwrap_or(' ');
            refused(&format!("invalid character '{first}' looking for beginning of value"))
        })?;
        match (value["rv"].as_i64(), value["start"].as_str()) {
            (Some(revision), Some(after)) => {
                Ok(Token { revision: u64::try_from(revision).ok(), after: after.to_owned() })
            }
            _ => Err(refused("incorrect encoded start")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, config_map};
    use serde_json::{Value, json};

    fn names(list: &Value) -> Vec<&str> {
        list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_follow_each_other() {
        let mut wire = Wire::new();
        for name in ["a", "b", "c"] {
            wire.config_map(name);
        }
        let (_, first) = wire.get(&format!("{MAPS}?limit=2"));
        assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(2)));
        assert_eq!((&first["kind"], &first["items"][0]["kind"]), (&json!("ConfigMapList"), &Value::Null));
        let token = first["metadata"]["continue"].as_str().unwrap();
        let (_, second) = wire.get(&format!("{MAPS}?limit=2&continue={token}"));
        assert_eq!((names(&second), &second["metadata"]["continue"]), (vec!["c", "kube-root-ca.crt"], &Value::Null));
        assert_eq!(wire.get(&format!("{MAPS}?continue=nonsense")).0, 400);
    }

    #[test]
    fn pages_show_one_state_until_it_is_forgotten() {
        let mut wire = Wire::new();
        for name in ["a", "b", "c"] {
            wire.config_map(name);
        }
        let (_, first) = wire.get(&format!("{MAPS}?limit=1"));
        let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
        wire.delete(&format!("{MAPS}/b"));
        wire.config_map("bb");
        let (_, second) = wire.get(&format!("{MAPS}?continue={token}"));
        assert_eq!(names(&second), ["b", "c", "kube-root-ca.crt"]);
        assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        let then = first["metadata"]["resourceVersion"].as_str().unwrap();
        let exact = format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact");
        assert_eq!(names(&wire.get(&exact).1), ["a", "b", "c", "kube-root-ca.crt"]);
        wire.world.store_mut("prod").unwrap().compact();
        assert_eq!(wire.get(&exact).0, 410);
        let (code, expired) = wire.get(&format!("{MAPS}?continue={token}"));
        assert_eq!((code, expired["reason"].as_str()), (410, Some("Expired")));
        let token = expired["metadata"]["continue"].as_str().unwrap();
        assert_eq!(names(&wire.get(&format!("{MAPS}?continue={token}")).1), ["bb", "c", "kube-root-ca.crt"]);
    }

    #[test]
    fn a_read_is_as_fresh_as_it_asks_for() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let (code, problem) = wire.get(&format!("{MAPS}?resourceVersion=99999"));
        assert_eq!((code, problem["details"]["retryAfterSeconds"].as_i64()), (504, Some(1)));
        assert_eq!(wire.get(&format!("{MAPS}/a?resourceVersion=99999")).0, 504);
        for query in ["resourceVersion=0", "resourceVersion=1", "limit=-1"] {
            assert_eq!(names(&wire.get(&format!("{MAPS}?{query}")).1), ["a", "kube-root-ca.crt"], "{query}");
        }
        for (query, code) in [
            ("resourceVersion=x", 400),
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersion=0&resourceVersionMatch=Exact", 422),
            ("resourceVersion=1&resourceVersionMatch=Nope", 422),
            ("sendInitialEvents=true", 422),
        ] {
            assert_eq!(wire.get(&format!("{MAPS}?{query}")).0, code, "{query}");
        }
        let (code, problem) = wire.get(&format!("{MAPS}/a?resourceVersion=x"));
        assert_eq!((code, problem.get("reason")), (500, None));
    }

    #[test]
    fn a_namespace_shows_its_own_only_and_selectors_choose() {
        let mut wire = Wire::new();
        let mut map = config_map("a");
        map["metadata"]["labels"] = json!({ "app": "web" });
        wire.post(MAPS, map);
        assert_eq!(names(&wire.get("/api/v1/namespaces/default/configmaps").1), ["a", "kube-root-ca.crt"]);
        assert_eq!(names(&wire.get("/api/v1/configmaps?labelSelector=app%3Dweb").1), ["a"]);
        assert_eq!(names(&wire.get("/api/v1/configmaps?fieldSelector=metadata.name%3Da").1), ["a"]);
        assert_eq!(wire.get("/api/v1/configmaps?fieldSelector=data.a%3Db").0, 400);
    }

    #[test]
    fn metadata_can_be_asked_for_alone() {
        let mut wire = Wire::new();
        wire.config_map("a");
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let (_, list) = wire.ask(&format!("GET {MAPS}"), &[("accept", accept)], None);
        assert_eq!(list["kind"], "PartialObjectMetadataList");
        assert_eq!((names(&list)[0], &list["items"][0]["data"]), ("a", &Value::Null));
    }
}
