//! The types of Kubernetes objects, and how their lists and maps merge, as one table.
//!
//! Server-side apply and strategic merge patches do not agree (ports of containers are told apart by port and protocol
//! in one, by port alone in the other), so that each field says both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::path::Element;

/// Shapes of built-in kinds.
static BUILT_IN: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!("schema.txt")));

/// The types that objects of every kind have.
static METADATA: LazyLock<Schema> = LazyLock::new(|| {
    let mut inside = false;
    let mut text = String::new();
    for line in include_str!("schema.txt").lines() {
        if !line.starts_with(' ') {
            inside = matches!(line.split(' ').next(), Some("ObjectMeta" | "OwnerReference" | "ManagedFieldsEntry"));
        }
        if inside {
            text.push_str(line);
            text.push('\n');
        }
    }
    Schema::parse(&text)
});

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

/// The type of a value, or of the items of a list, by its place in the schema.
type TypeId = usize;

/// The type of what the schema says nothing of: structs field by field, lists as a whole.
const ANYTHING: TypeId = 0;

/// The type of an object of which only the metadata is known.
const OBJECT: TypeId = 1;

/// The first type of a file.
const FIRST: TypeId = 2;

/// What a single value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// Bytes in base64.
    Bytes,
    /// A time to the second.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// An amount: `100m`, `1Gi`.
    Quantity,
    /// A number or a text.
    IntOrText,
}

/// What values of a type are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Nobody knows, or anything goes.
    #[default]
    Any,
    /// Named fields.
    Struct,
    /// Texts to values.
    Map,
    /// A single value.
    Scalar(Scalar),
}

#[derive(Clone, Debug, Default)]
struct Field {
    list: List,
    /// Whether it is a list, of which the type is that of the items.
    is_list: bool,
    /// Where the field says otherwise than its type.
    atomic: Option<bool>,
    strategy: Strategy,
    /// Whether it may be absent though it is a struct or a scalar.
    pointer: bool,
    /// Whether it is written though it is empty.
    always: bool,
    of: TypeId,
}

#[derive(Clone, Debug, Default)]
struct Type {
    /// What Go calls it.
    go: String,
    form: Form,
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

/// The shape of a built-in kind, where its type is known.
pub fn known(api_version: &str, kind: &str) -> Option<Shape<'static>> {
    let of = *BUILT_IN.kinds.get(&format!("{api_version}/{kind}"))?;
    Some(Shape { schema: &BUILT_IN, field: &BUILT_IN.types[of].bare })
}

/// The shape of the metadata of any object.
pub fn metadata() -> Shape<'static> {
    METADATA.kind("", "").field("metadata")
}

/// Whether it is of a kind whose type is known. Those that have a status have it as a subresource too.
pub fn is_built_in(object: &Value) -> bool {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    known(text("apiVersion"), text("kind")).is_some()
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

    /// What it is made of; of a list, what its items are.
    pub fn form(&self) -> Form {
        self.schema.types[self.field.of].form
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.field.is_list
    }

    /// Whether it may be absent though it is a struct or a scalar.
    pub fn is_pointer(&self) -> bool {
        self.field.pointer
    }

    /// Whether it is written though it is empty.
    pub fn is_always_written(&self) -> bool {
        self.field.always
    }

    /// What Go calls its type, without its package; of a list, that of its items.
    pub fn go_name(&self) -> &'a str {
        &self.schema.types[self.field.of].go
    }

    /// The fields of a struct.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Shape<'a>)> + use<'a> {
        let schema = self.schema;
        let fields = schema.types[self.field.of].fields.iter();
        fields.map(move |(name, field)| (name.as_str(), Shape { schema, field }))
    }

    /// The values of a map; none of anything else.
    pub fn each(&self) -> Option<Shape<'a>> {
        let field = self.schema.types[self.field.of].each.as_ref()?;
        Some(Shape { schema: self.schema, field })
    }

    /// The field of a struct or the value of a map; none where the type has none of this name.
    pub fn known_field(&self, name: &str) -> Option<Shape<'a>> {
        let of = &self.schema.types[self.field.of];
        let field = of.fields.get(name).or(of.each.as_ref())?;
        Some(Shape { schema: self.schema, field })
    }

    /// Whether the type has a field of this name, so that it is no entry of a map.
    pub fn is_named(&self, name: &str) -> bool {
        let of = &self.schema.types[self.field.of];
        of.fields.contains_key(name) || of.each.is_none()
    }

    /// The path elements of the items of an associative list. None where the list is atomic, or where an item has none of
    /// the keys: nobody could tell such items apart.
    pub fn elements(&self, items: &[Value]) -> Option<Vec<Element>> {
        if *self.list() == List::Atomic {
            return None;
        }
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
        let mut schema = METADATA.clone();
        let text = Field { of: schema.scalar(Scalar::Text, "string"), ..Field::default() };
        let root = schema.field_of_openapi(openapi).of;
        let mut object = schema.types[OBJECT].clone();
        if root == ANYTHING {
            object.each = Some(Field::default());
        } else {
            let described = schema.types[root].clone();
            let metadata = std::mem::take(&mut object.fields);
            object = Type { bare: object.bare, ..described };
            object.fields.extend(metadata);
        }
        object.fields.insert("apiVersion".to_owned(), text.clone());
        object.fields.insert("kind".to_owned(), text);
        schema.types[OBJECT] = object;
        schema
    }

    fn parse(text: &str) -> Schema {
        let mut schema = Schema { types: vec![Type::default(), Type::default()], kinds: BTreeMap::new() };
        // What nobody knows is like a map of such.
        schema.types[ANYTHING].each = Some(Field::default());
        schema.types[OBJECT].bare.of = OBJECT;
        schema.types[OBJECT].form = Form::Struct;
        let lines = || text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let heads = lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next());
        let ids: BTreeMap<&str, TypeId> = heads.enumerate().map(|(index, name)| (name, index + FIRST)).collect();
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
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let mut of = Type { go: name.to_owned(), form: Form::Struct, ..Type::default() };
        for word in words {
            match word.split_once('=') {
                Some(("go", name)) => name.clone_into(&mut of.go),
                _ if word == "atomic" => of.atomic = true,
                _ if word.contains('/') => {
                    self.kinds.insert(word.to_owned(), self.types.len());
                }
                _ => {}
            }
        }
        self.add(of);
    }

    /// A new type.
    fn add(&mut self, mut of: Type) -> TypeId {
        let id = self.types.len();
        of.bare = Field { of: id, ..Field::default() };
        self.types.push(of);
        id
    }

    fn parse_field(&mut self, owner: TypeId, line: &str, ids: &BTreeMap<&str, TypeId>) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut field = self.parse_form(words.next().unwrap_or_default(), ids);
        for word in words {
            match word.split_once('=').map_or((word, None), |(word, keys)| (word, Some(keys))) {
                ("!", None) => field.always = true,
                ("map", keys) => {
                    field.list = List::Map(keys.unwrap_or_default().split(',').map(with_default).collect());
                }
                ("set", None) => field.list = List::Set,
                ("atomic", None) => field.atomic = Some(true),
                ("granular", None) => field.atomic = Some(false),
                ("merge", key) => field.strategy = Strategy::Merge(key.map(str::to_owned)),
                ("replace", None) => field.strategy = Strategy::Replace,
                _ => debug_assert!(false, "what is {word}?"),
            }
        }
        self.types[owner].fields.insert(name.to_owned(), field);
    }

    /// `*[]{}string` and the like.
    fn parse_form(&mut self, form: &str, ids: &BTreeMap<&str, TypeId>) -> Field {
        if let Some(rest) = form.strip_prefix('*') {
            return Field { pointer: true, ..self.parse_form(rest, ids) };
        }
        if let Some(rest) = form.strip_prefix("[]") {
            let item = self.parse_form(rest, ids);
            return Field { is_list: true, of: item.of, ..Field::default() };
        }
        if let Some(rest) = form.strip_prefix("{}") {
            let each = self.parse_form(rest, ids);
            let go = format!("map[string]{}{}", if each.is_list { "[]" } else { "" }, self.types[each.of].go);
            let of = self.add(Type { go, form: Form::Map, each: Some(each), ..Type::default() });
            return Field { of, ..Field::default() };
        }
        let of = match (ids.get(form), scalar(form)) {
            (Some(&id), _) => id,
            (None, Some((scalar, go))) => self.scalar(scalar, go),
            (None, None) => {
                debug_assert!(form == "any", "no type {form}");
                self.anything_whole()
            }
        };
        Field { of, ..Field::default() }
    }

    /// The type of what Go keeps as raw JSON: one piece.
    fn anything_whole(&mut self) -> TypeId {
        let known = self.types.iter().position(|of| of.form == Form::Any && of.atomic);
        known.unwrap_or_else(|| self.add(Type { atomic: true, ..Type::default() }))
    }

    /// The type of a single value that Go calls so.
    fn scalar(&mut self, scalar: Scalar, go: &str) -> TypeId {
        let form = Form::Scalar(scalar);
        let known = self.types.iter().position(|of| of.form == form && of.go == go);
        known.unwrap_or_else(|| self.add(Type { go: go.to_owned(), form, ..Type::default() }))
    }

    fn field_of_openapi(&mut self, openapi: &Value) -> Field {
        if openapi["type"] == "array" {
            let of = self.field_of_openapi(&openapi["items"]).of;
            return Field { list: list_of_openapi(openapi), is_list: true, of, ..Field::default() };
        }
        if let Some(scalar) = scalar_of_openapi(openapi) {
            return Field { of: self.scalar(scalar, ""), ..Field::default() };
        }
        let keeps = openapi["x-kubernetes-preserve-unknown-fields"] == true;
        let atomic = openapi["x-kubernetes-map-type"] == "atomic";
        let nothing = Map::new();
        let properties = openapi["properties"].as_object().unwrap_or(&nothing);
        let each = openapi.get("additionalProperties").filter(|each| each.is_object());
        if openapi["type"] != "object" || (keeps && properties.is_empty() && each.is_none() && !atomic) {
            return Field::default();
        }
        let fields: BTreeMap<String, Field> =
            properties.iter().map(|(name, openapi)| (name.clone(), self.field_of_openapi(openapi))).collect();
        let each = match each {
            Some(each) => Some(self.field_of_openapi(each)),
            None => (keeps || openapi["additionalProperties"] == true).then(Field::default),
        };
        let form = if fields.is_empty() && each.is_some() { Form::Map } else { Form::Struct };
        let of = self.add(Type { atomic, form, fields, each, ..Type::default() });
        Field { of, ..Field::default() }
    }
}

/// The single value that a schema describes.
fn scalar_of_openapi(openapi: &Value) -> Option<Scalar> {
    if openapi["x-kubernetes-int-or-string"] == true {
        return Some(Scalar::IntOrText);
    }
    match openapi["type"].as_str()? {
        "string" => Some(Scalar::Text),
        "integer" => Some(Scalar::Int64),
        "number" => Some(Scalar::Float),
        "boolean" => Some(Scalar::Bool),
        _ => None,
    }
}

/// What a word for a single value means, and what Go calls it.
fn scalar(word: &str) -> Option<(Scalar, &str)> {
    Some(match word {
        "string" => (Scalar::Text, "string"),
        "int32" => (Scalar::Int32, "int32"),
        "int64" => (Scalar::Int64, "int64"),
        "float64" => (Scalar::Float, "float64"),
        "bool" => (Scalar::Bool, "bool"),
        "bytes" => (Scalar::Bytes, "[]uint8"),
        "time" => (Scalar::Time, "Time"),
        "microtime" => (Scalar::MicroTime, "MicroTime"),
        "quantity" => (Scalar::Quantity, "Quantity"),
        "intorstring" => (Scalar::IntOrText, "IntOrString"),
        _ => (Scalar::Text, word.strip_prefix("string:")?),
    })
}

/// `protocol:TCP`.
fn with_default(key: &str) -> (String, Option<Value>) {
    match key.split_once(':') {
        Some((key, default)) => {
            let number = default.parse::<i64>().map(Value::from);
            (key.to_owned(), Some(number.unwrap_or_else(|_| Value::from(default))))
        }
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
        assert!(!schema.field("properties").is_named("spec") && schema.is_named("properties"));
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
