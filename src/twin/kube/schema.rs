//! How the lists and maps of Kubernetes objects merge: the list types and merge keys of the API reference, as one table.
//!
//! Server-side apply and strategic merge patches do not agree (ports of containers are told apart by port and protocol
//! in one, by port alone in the other), so that each field says both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::path::Element;

/// Shapes of built-in kinds.
static BUILT_IN: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!("schema.txt")));

/// How a list merges when it is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// As a whole.
    #[default]
    Atomic,
    /// By the values of its items.
    Set,
    /// By keys of its items, some of which have defaults.
    Map(Vec<(String, Option<Value>)>),
}

/// How a field merges in a strategic merge patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Structs field by field, lists as a whole.
    #[default]
    Usual,
    /// A list, by the value of its items, or by a key of theirs.
    Merge(Option<String>),
    /// A struct as a whole.
    Replace,
}

/// The type of a struct, a map, or the items of a list, by its place in the schema.
type TypeId = usize;

/// The type of what the schema says nothing of: structs field by field, lists as a whole.
const ANYTHING: TypeId = 0;

/// The type of an object of which only the metadata is known.
const OBJECT: TypeId = 1;

#[derive(Clone, Debug, Default)]
struct Field {
    list: List,
    /// Where the field says otherwise than its type.
    atomic: Option<bool>,
    strategy: Strategy,
    of: TypeId,
}

#[derive(Clone, Debug, Default)]
struct Type {
    atomic: bool,
    fields: BTreeMap<String, Field>,
    /// All other fields, of a map.
    each: Option<Field>,
    /// A value of this type that nothing is said of.
    bare: Field,
}

/// Types that name each other.
#[derive(Clone, Debug)]
pub struct Schema {
    types: Vec<Type>,
    /// By `apps/v1/Deployment`.
    kinds: BTreeMap<String, TypeId>,
}

/// What is known of one value in an object.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    schema: &'a Schema,
    field: &'a Field,
}

/// The shape of an object of a built-in kind; of others only the shape of the metadata is known.
pub fn of(object: &Value) -> Shape<'static> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    BUILT_IN.kind(text("apiVersion"), text("kind"))
}

/// Whether it is of a kind whose type is known. Those that have a status have it as a subresource too.
pub fn is_built_in(object: &Value) -> bool {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    BUILT_IN.kinds.contains_key(&format!("{}/{}", text("apiVersion"), text("kind")))
}

impl<'a> Shape<'a> {
    /// Of a field.
    pub fn field(&self, name: &str) -> Shape<'a> {
        let of = &self.schema.types[self.field.of];
        let field = of.fields.get(name).or(of.each.as_ref());
        Shape { schema: self.schema, field: field.unwrap_or(&self.schema.types[ANYTHING].bare) }
    }

    /// Of the items of a list.
    pub fn item(&self) -> Shape<'a> {
        Shape { schema: self.schema, field: &self.schema.types[self.field.of].bare }
    }

    /// Whether a map or struct is owned as a whole.
    pub fn is_atomic(&self) -> bool {
        self.field.atomic.unwrap_or(self.schema.types[self.field.of].atomic)
    }

    /// How a list is applied.
    pub fn list(&self) -> &'a List {
        &self.field.list
    }

    /// How it is patched.
    pub fn strategy(&self) -> &'a Strategy {
        &self.field.strategy
    }

    /// Whether the field is one of a struct, not an entry of a map.
    pub fn is_named(&self) -> bool {
        self.schema.types[self.field.of].each.is_none()
    }

    /// The path elements of the items of an associative list. None where the list is atomic, or where an item has none of
    /// the keys: nobody could tell such items apart.
    pub fn elements(&self, items: &[Value]) -> Option<Vec<Element>> {
        items.iter().map(|item| self.element(item)).collect()
    }

    /// The path element of an item.
    pub fn element(&self, item: &Value) -> Option<Element> {
        match self.list() {
            List::Atomic => None,
            List::Set => (!item.is_object() && !item.is_array() && !item.is_null()).then(|| Element::value(item)),
            List::Map(keys) => {
                let item = item.as_object()?;
                let given = |(key, default): &'a (String, Option<Value>)| {
                    item.get(key).filter(|value| !value.is_null()).or(default.as_ref()).map(|value| (&**key, value))
                };
                Element::key(keys.iter().filter_map(given))
            }
        }
    }
}

impl Schema {
    /// The shape of an object of a kind, in `apps/v1` or the like.
    pub fn kind(&self, version: &str, kind: &str) -> Shape<'_> {
        let of = self.kinds.get(&format!("{version}/{kind}")).copied().unwrap_or(OBJECT);
        Shape { schema: self, field: &self.types[of].bare }
    }

    /// Of the objects that a custom resource definition describes, from the `openAPIV3Schema` of a version: every kind that
    /// is not built in has this shape. Worth keeping as long as the definition stands.
    pub fn from_openapi(openapi: &Value) -> Schema {
        let mut schema = BUILT_IN.clone();
        let root = schema.field_of_openapi(openapi).of;
        if root != ANYTHING {
            let metadata = schema.types[OBJECT].fields.clone();
            let mut object = schema.types[root].clone();
            object.fields.extend(metadata);
            schema.types[OBJECT] = Type { bare: schema.types[OBJECT].bare.clone(), ..object };
        }
        schema
    }

    fn parse(text: &str) -> Schema {
        let mut schema = Schema { types: vec![Type::default(), Type::default()], kinds: BTreeMap::new() };
        schema.types[OBJECT].bare.of = OBJECT;
        let lines = || text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let heads = lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next());
        let ids: BTreeMap<&str, TypeId> = heads.enumerate().map(|(index, name)| (name, index + OBJECT + 1)).collect();
        // Every type has its place before the first field is read: types of maps come after them.
        lines().filter(|line| !line.starts_with(' ')).for_each(|line| schema.parse_type(line));
        let mut owner = ANYTHING;
        for line in lines() {
            if line.starts_with(' ') {
                schema.parse_field(owner, line, &ids);
            } else {
                owner = line.split(' ').next().and_then(|name| ids.get(name)).copied().unwrap_or(ANYTHING);
            }
        }
        let metadata = Field { of: ids.get("ObjectMeta").copied().unwrap_or(ANYTHING), ..Field::default() };
        schema.types[OBJECT].fields.insert("metadata".to_owned(), metadata);
        schema
    }

    fn parse_type(&mut self, line: &str) {
        let id = self.types.len();
        let words = || line.split(' ').skip(1);
        let bare = Field { of: id, ..Field::default() };
        self.types.push(Type { atomic: words().any(|word| word == "atomic"), bare, ..Type::default() });
        self.kinds.extend(words().filter(|word| word.contains('/')).map(|kind| (kind.to_owned(), id)));
    }

    fn parse_field(&mut self, owner: TypeId, line: &str, ids: &BTreeMap<&str, TypeId>) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut field = Field::default();
        let mut each = false;
        for word in words {
            match word.split_once('=').map_or((word, None), |(word, keys)| (word, Some(keys))) {
                ("map", keys) => {
                    field.list = List::Map(keys.unwrap_or_default().split(',').map(with_default).collect())
                }
                ("set", None) => field.list = List::Set,
                ("atomic", None) => field.atomic = Some(true),
                ("granular", None) => field.atomic = Some(false),
                ("merge", key) => field.strategy = Strategy::Merge(key.map(str::to_owned)),
                ("replace", None) => field.strategy = Strategy::Replace,
                ("each", None) => each = true,
                _ => {
                    debug_assert!(ids.contains_key(word), "no type {word}");
                    field.of = ids.get(word).copied().unwrap_or(ANYTHING);
                }
            }
        }
        let field = if each { self.map_of(field) } else { field };
        self.types[owner].fields.insert(name.to_owned(), field);
    }

    /// A map whose values are of this shape.
    fn map_of(&mut self, each: Field) -> Field {
        let of = self.types.len();
        let bare = Field { of, ..Field::default() };
        self.types.push(Type { each: Some(each), bare: bare.clone(), ..Type::default() });
        bare
    }

    fn field_of_openapi(&mut self, openapi: &Value) -> Field {
        if openapi["type"] == "array" {
            let of = self.field_of_openapi(&openapi["items"]).of;
            return Field { list: list_of_openapi(openapi), of, ..Field::default() };
        }
        let atomic = openapi["x-kubernetes-map-type"] == "atomic";
        let nothing = Map::new();
        let properties = openapi["properties"].as_object().unwrap_or(&nothing);
        let each = openapi.get("additionalProperties").filter(|each| each.is_object());
        if properties.is_empty() && each.is_none() && !atomic {
            return Field::default();
        }
        let fields = properties.iter().map(|(name, openapi)| (name.clone(), self.field_of_openapi(openapi))).collect();
        let each = each.map(|each| self.field_of_openapi(each));
        let bare = Field { of: self.types.len(), ..Field::default() };
        self.types.push(Type { atomic, fields, each, bare: bare.clone() });
        bare
    }
}

/// `protocol:TCP`.
fn with_default(key: &str) -> (String, Option<Value>) {
    match key.split_once(':') {
        Some((key, default)) => (key.to_owned(), Some(Value::from(default))),
        None => (key.to_owned(), None),
    }
}

fn list_of_openapi(openapi: &Value) -> List {
    match openapi["x-kubernetes-list-type"].as_str() {
        Some("set") => List::Set,
        Some("map") => {
            let keys = openapi["x-kubernetes-list-map-keys"].as_array();
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            let default = |key: &str| openapi["items"]["properties"][key].get("default").cloned();
            List::Map(keys.map(|key| (key.to_owned(), default(key))).collect())
        }
        _ => List::Atomic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(shape: Shape<'_>) -> Vec<&str> {
        let List::Map(keys) = shape.list() else { return Vec::new() };
        keys.iter().map(|(key, _)| &**key).collect()
    }

    fn pod_spec(kind: &str, fields: &[&str]) -> Shape<'static> {
        let object = json!({ "apiVersion": "apps/v1", "kind": kind });
        fields.iter().fold(of(&object), |shape, name| shape.field(name))
    }

    #[test]
    fn workloads_share_the_shape_of_their_pods() {
        for kind in ["Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"] {
            let pod = pod_spec(kind, &["spec", "template", "spec"]);
            assert_eq!(keys(pod.field("containers")), ["name"]);
            assert_eq!(keys(pod.field("initContainers").item().field("ports")), ["containerPort", "protocol"]);
            assert_eq!(keys(pod.field("topologySpreadConstraints")), ["topologyKey", "whenUnsatisfiable"]);
            assert!(pod.field("nodeSelector").is_atomic() && !pod.field("securityContext").is_atomic());
            assert_eq!(*pod.field("tolerations").list(), List::Atomic);
            assert_eq!(*pod.field("tolerations").strategy(), Strategy::Usual);
            assert_eq!(*pod_spec(kind, &["spec", "template", "metadata", "finalizers"]).list(), List::Set);
            assert!(pod_spec(kind, &["spec", "selector"]).is_atomic());
        }
    }

    #[test]
    fn the_protocol_of_a_port_has_a_default() {
        let ports = of(&json!({ "apiVersion": "v1", "kind": "Service" })).field("spec").field("ports");
        let named = |port: Value| ports.element(&port).map(|element| element.print());
        assert_eq!(named(json!({ "port": 53 })).unwrap(), r#"k:{"port":53,"protocol":"TCP"}"#);
        assert_eq!(named(json!({ "port": 53, "protocol": "UDP" })).unwrap(), r#"k:{"port":53,"protocol":"UDP"}"#);
        assert_eq!(*ports.strategy(), Strategy::Merge(Some("port".to_owned())));
    }

    #[test]
    fn metadata_is_known_of_every_object() {
        let metadata = of(&json!({ "apiVersion": "example.com/v1", "kind": "Thing" })).field("metadata");
        assert_eq!(keys(metadata.field("ownerReferences")), ["uid"]);
        assert_eq!(*metadata.field("finalizers").strategy(), Strategy::Merge(None));
        assert!(!metadata.field("labels").is_atomic());
    }

    #[test]
    fn schemas_of_definitions_may_contain_themselves() {
        let of = of(&json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition" }));
        let schema = of.field("spec").field("versions").item().field("schema").field("openAPIV3Schema");
        let deep = schema.field("properties").field("spec").field("properties").field("list");
        assert_eq!(keys(deep.field("x-kubernetes-validations")), ["rule"]);
        assert!(!schema.field("properties").is_named() && schema.is_named());
    }

    #[test]
    fn a_definition_says_how_its_lists_merge() {
        let schema = Schema::from_openapi(
            &json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
            "rules": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"],
                "items": { "type": "object", "properties": { "port": { "type": "integer", "default": 80 }, "hosts": {
                    "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } } } } },
            "ref": { "type": "object", "x-kubernetes-map-type": "atomic" },
            "plain": { "type": "array", "items": { "type": "string" } } } } } }),
        );
        let thing = schema.kind("example.com/v1", "Thing");
        let spec = thing.field("spec");
        let element = spec.field("rules").element(&json!({ "name": "a" })).unwrap();
        assert_eq!(element.print(), r#"k:{"name":"a","port":80}"#);
        assert_eq!(*spec.field("rules").item().field("hosts").list(), List::Set);
        assert!(spec.field("ref").is_atomic());
        assert_eq!(*spec.field("plain").list(), List::Atomic);
        assert_eq!(*thing.field("metadata").field("finalizers").list(), List::Set);
    }
}
