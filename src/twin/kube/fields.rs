//! Who owns which field: `metadata.managedFields`, as structured-merge-diff keeps them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::path::Element;
use super::schema::{self, Shape};

/// Who wrote before ownership was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields of the metadata that identify an object or belong to the server: nobody owns them.
const NOBODYS: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "clusterName",
    "managedFields",
];

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// What is in the set itself.
    members: BTreeSet<Element>,
    /// What has parts in the set; never empty sets.
    children: BTreeMap<Element, Fields>,
}

/// What two objects differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the second.
    pub added: Fields,
    /// In both, with different values.
    pub modified: Fields,
    /// Only in the first.
    pub removed: Fields,
}

impl Fields {
    /// What an object names: its leaves, and items of lists.
    pub fn of(value: &Value, shape: Shape<'_>) -> Fields {
        let mut fields = Fields::default();
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    fields.name(Element::field(name), value, shape.field(name), !shape.is_named(name));
                }
            }
            Value::Array(items) => {
                for (element, item) in shape.elements(items).into_iter().flatten().zip(items) {
                    fields.name(element, item, shape.item(), true);
                }
            }
            _ => {}
        }
        fields
    }

    /// Names one part, itself where it is a leaf or `whole`.
    fn name(&mut self, element: Element, value: &Value, shape: Shape<'_>, whole: bool) {
        let leaf = is_leaf(value, shape);
        let children = if leaf { Fields::default() } else { Fields::of(value, shape) };
        // An empty map is named itself; an empty list that is merged item by item names nothing.
        if whole || leaf || value.as_object().is_some_and(Map::is_empty) {
            self.members.insert(element.clone());
        }
        self.put(element, children);
    }

    fn put(&mut self, element: Element, children: Fields) {
        if !children.is_empty() {
            self.children.insert(element, children);
        }
    }

    /// Reads `fieldsV1`.
    pub fn parse(fields: &Value) -> Fields {
        let mut set = Fields::default();
        for (key, inner) in fields.as_object().into_iter().flatten() {
            let Some(element) = Element::parse(key) else { continue };
            let children = Fields::parse(inner);
            if children.is_empty() || inner.get(".").is_some() {
                set.members.insert(element.clone());
            }
            set.put(element, children);
        }
        set
    }

    /// As `fieldsV1`.
    pub fn print(&self) -> Value {
        let mut printed: Map<String, Value> =
            self.children.iter().map(|(element, children)| (element.print(), children.print())).collect();
        for element in &self.members {
            match printed.get_mut(&element.print()) {
                Some(children) => children["."] = json!({}),
                None => {
                    printed.insert(element.print(), json!({}));
                }
            }
        }
        Value::Object(printed)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Whether this part itself is in the set.
    pub fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// What of a part is in the set.
    pub fn inside(&self, element: &Element) -> Option<&Fields> {
        self.children.get(element)
    }

    /// Takes away a part and all that is in it.
    pub fn forget(&mut self, element: &Element) {
        self.members.remove(element);
        self.children.remove(element);
    }

    /// What is in either.
    pub fn union(&self, other: &Fields) -> Fields {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    /// Takes up all of another set.
    pub fn extend(&mut self, other: &Fields) {
        self.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            self.children.entry(element.clone()).or_default().extend(theirs);
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Fields) -> Fields {
        let mut both =
            Fields { members: self.members.intersection(&other.members).cloned().collect(), ..Fields::default() };
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                both.put(element.clone(), ours.intersection(theirs));
            }
        }
        both
    }

    /// What is in this set and not in the other. A part that is in it stays where only the whole is taken away.
    pub fn difference(&self, other: &Fields) -> Fields {
        let mut rest =
            Fields { members: self.members.difference(&other.members).cloned().collect(), ..Fields::default() };
        for (element, ours) in &self.children {
            let left = other.children.get(element).map_or_else(|| ours.clone(), |theirs| ours.difference(theirs));
            rest.put(element.clone(), left);
        }
        rest
    }

    /// With the fields of structs that have parts in the set: `spec` for `spec.replicas`.
    pub fn with_structs(&self, shape: Shape<'_>) -> Fields {
        let mut with = Fields { members: self.members.clone(), ..Fields::default() };
        for (element, children) in &self.children {
            let inner = match element {
                Element::Field(name) => {
                    if shape.is_named(name) {
                        with.members.insert(element.clone());
                    }
                    shape.field(name)
                }
                _ => shape.item(),
            };
            with.children.insert(element.clone(), children.with_structs(inner));
        }
        with
    }

    /// All paths, each part after the whole.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths: Vec<Vec<Element>> = self.members.iter().map(|element| vec![element.clone()]).collect();
        for (element, children) in &self.children {
            paths.extend(children.paths().into_iter().map(|mut path| {
                path.insert(0, element.clone());
                path
            }));
        }
        paths
    }

    /// Without what nobody owns.
    pub fn ownable(mut self) -> Fields {
        for name in ["apiVersion", "kind", "metadata"] {
            self.members.remove(&Element::field(name));
        }
        let metadata = Element::field("metadata");
        if let Some(mut inside) = self.children.remove(&metadata) {
            for name in NOBODYS {
                inside.forget(&Element::field(name));
            }
            self.put(metadata, inside);
        }
        self
    }
}

/// Whether a value is owned as a whole: scalars, what is atomic, lists that cannot be merged.
fn is_leaf(value: &Value, shape: Shape<'_>) -> bool {
    match value {
        Value::Object(_) => shape.is_atomic(),
        Value::Array(items) => *shape.list() == schema::List::Atomic || shape.elements(items).is_none(),
        _ => true,
    }
}

impl Difference {
    /// Between two objects of one kind, without what nobody owns.
    pub fn between(old: &Value, new: &Value, shape: Shape<'_>) -> Difference {
        let mut difference = Difference::default();
        difference.compare(Some(old), Some(new), shape);
        let Difference { added, modified, removed } = difference;
        Difference { added: added.ownable(), modified: modified.ownable(), removed: removed.ownable() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Compares the parts of two values that are no leaves.
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) {
        let maps = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        if let (None, None) = maps {
            self.compare_items(old.and_then(Value::as_array), new.and_then(Value::as_array), shape);
            return;
        }
        let names: BTreeSet<&String> = [maps.0, maps.1].into_iter().flatten().flat_map(Map::keys).collect();
        for name in names {
            let (old, new) = (maps.0.and_then(|map| map.get(name)), maps.1.and_then(|map| map.get(name)));
            self.compare_part(|| Element::field(name), old, new, shape.field(name));
        }
    }

    fn compare_items(&mut self, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>, shape: Shape<'_>) {
        let by_element = |items: Option<&Vec<Value>>| -> BTreeMap<Element, usize> {
            let elements = items.and_then(|items| shape.elements(items)).unwrap_or_default();
            elements.into_iter().enumerate().map(|(index, element)| (element, index)).collect()
        };
        let (before, after) = (by_element(old), by_element(new));
        let elements: BTreeSet<&Element> = before.keys().chain(after.keys()).collect();
        for element in elements {
            let (old, new) = (at(old, before.get(element)), at(new, after.get(element)));
            self.compare_part(|| element.clone(), old, new, shape.item());
        }
    }

    fn compare_part(
        &mut self,
        element: impl Fn() -> Element,
        old: Option<&Value>,
        new: Option<&Value>,
        shape: Shape<'_>,
    ) {
        if old == new {
            return;
        }
        let element = element();
        let is_leaf = |value: Option<&Value>| value.is_some_and(|value| !value.is_null() && is_leaf(value, shape));
        let null = |value: Option<&Value>| value.is_none_or(Value::is_null);
        let same_form = (null(old) || null(new)) || old.map(Value::is_array) == new.map(Value::is_array);
        if is_leaf(old) || is_leaf(new) || !same_form || (null(old) && null(new)) {
            let whole = match (old, new) {
                (None, _) => &mut self.added,
                (_, None) => &mut self.removed,
                _ => &mut self.modified,
            };
            whole.members.insert(element.clone());
            // What lies below what gives way to a leaf goes with it; what takes the place of one comes with it.
            let mut inner = Difference::default();
            if is_leaf(new) && !is_leaf(old) {
                inner.compare(old, None, shape);
            } else if is_leaf(old) && !is_leaf(new) {
                inner.compare(None, new, shape);
            }
            self.removed.put(element.clone(), inner.removed);
            self.added.put(element, inner.added);
            return;
        }
        let mut inner = Difference::default();
        inner.compare(old, new, shape);
        match (old, new) {
            (None, _) => self.added.members.insert(element.clone()),
            (_, None) => self.removed.members.insert(element.clone()),
            _ => false,
        };
        self.added.put(element.clone(), inner.added);
        self.modified.put(element.clone(), inner.modified);
        self.removed.put(element, inner.removed);
    }
}

fn at<'a>(items: Option<&'a Vec<Value>>, index: Option<&usize>) -> Option<&'a Value> {
    items?.get(*index?)
}

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// Server-side apply.
    Apply,
    /// Anything else.
    Update,
}

/// What one manager owns: an entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub manager: String,
    /// How it wrote.
    pub manner: Manner,
    /// In which version.
    pub version: String,
    /// Through which subresource, or empty.
    pub subresource: String,
    /// When last.
    pub time: Option<String>,
    /// What it owns.
    pub fields: Fields,
}

impl Owner {
    /// One that owns nothing yet.
    pub fn new(manager: &str, manner: Manner, object: &Value, subresource: &str) -> Owner {
        Owner {
            manager: if manager.is_empty() { "unknown" } else { manager }.to_owned(),
            manner,
            version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
            subresource: subresource.to_owned(),
            time: None,
            fields: Fields::default(),
        }
    }

    /// Whether both are one and the same; who applies stays the same in another version.
    pub fn is(&self, other: &Owner) -> bool {
        self.manager == other.manager
            && self.manner == other.manner
            && self.subresource == other.subresource
            && (self.manner == Manner::Apply || self.version == other.version)
    }

    fn parse(entry: &Value) -> Option<Owner> {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let manner = match entry["operation"].as_str()? {
            "Apply" => Manner::Apply,
            "Update" => Manner::Update,
            _ => return None,
        };
        Some(Owner {
            manager: text("manager"),
            manner,
            version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry["time"].as_str().map(str::to_owned),
            fields: Fields::parse(&entry["fieldsV1"]),
        })
    }

    fn print(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": match self.manner { Manner::Apply => "Apply", Manner::Update => "Update" },
            "apiVersion": self.version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.print(),
        });
        if let Some(time) = &self.time {
            entry["time"] = json!(time);
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }
}

/// Who owns fields of an object.
pub fn owners(object: &Value) -> Vec<Owner> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(Owner::parse).collect()
}

/// Writes who owns fields: who applied first, then the older ones first; without those who own nothing.
pub fn set_owners(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    owners.sort_by(|a, b| {
        let key = |owner: &'_ Owner| (owner.manner, owner.time.clone(), owner.manager.clone());
        key(a).cmp(&key(b)).then_with(|| (&a.version, &a.subresource).cmp(&(&b.version, &b.subresource)))
    });
    let entries: Vec<Value> = owners.iter().map(Owner::print).collect();
    if !entries.is_empty() {
        object["metadata"]["managedFields"] = Value::Array(entries);
    } else if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Notes in `new`, of this shape, that this manager wrote what differs from `old`, as an `Update` does; what it took over
/// or removed is no longer others'. `subresource` is empty for the object itself.
pub fn note_update(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    time: &str,
) {
    let noted = noted(old, new, subresource);
    // An object whose fields nobody tracked so far stays so until it is applied.
    let mut difference = match (old, &noted) {
        (Some(_), None) => Difference::default(),
        (Some(old), Some(_)) => Difference::between(old, new, shape),
        (None, _) => Difference::between(&empty(new), new, shape),
    };
    // A status is written through its subresource.
    if subresource.is_empty() && schema::is_built_in(new) {
        for fields in [&mut difference.added, &mut difference.modified, &mut difference.removed] {
            fields.forget(&Element::field("status"));
        }
    }
    match noted {
        Some(noted) => new["metadata"]["managedFields"] = noted,
        None => set_owners(new, Vec::new()),
    }
    if difference.is_empty() {
        return;
    }
    let mut owners = owners(new);
    let written = difference.added.union(&difference.modified);
    let lost = written.union(&difference.removed);
    for owner in &mut owners {
        owner.fields = owner.fields.difference(&lost);
    }
    if !written.is_empty() {
        let writer = Owner::new(manager, Manner::Update, new, subresource);
        let found = owners.iter().position(|owner| owner.is(&writer)).unwrap_or_else(|| {
            owners.push(writer);
            owners.len() - 1
        });
        owners[found].fields.extend(&written);
        owners[found].time = Some(time.to_owned());
    }
    set_owners(new, owners);
}

/// The entries that hold before an update: those that the writer sent, or what stood there where it sent none or may not.
fn noted(old: Option<&Value>, new: &Value, subresource: &str) -> Option<Value> {
    let of = |object: &Value| {
        let entries = object["metadata"]["managedFields"].as_array()?;
        (!entries.is_empty()).then(|| Value::Array(entries.clone()))
    };
    let sent = &new["metadata"]["managedFields"];
    let is_reset = sent.as_array().is_some_and(|entries| match &**entries {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    if !subresource.is_empty() {
        return old.and_then(of);
    }
    if is_reset {
        return None;
    }
    of(new).filter(|_| !owners(new).is_empty()).or_else(|| old.and_then(of))
}

/// What is there of an object before it is created: what is written of a kind though it is empty is nobody's.
fn empty(object: &Value) -> Value {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let mut empty = super::typed::empty(text("apiVersion"), text("kind"));
    if empty["metadata"].is_null() {
        empty["metadata"] = json!({});
    }
    empty
}

/// Notes all fields of an object whose fields nobody tracked as those of who wrote before.
pub(super) fn note_before_first_apply(shape: Shape<'_>, live: &mut Value, subresource: &str, time: &str) {
    if owners(live).is_empty() {
        note_update(shape, None, live, BEFORE_FIRST_APPLY, subresource, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: &str = "2026-01-01T00:00:01Z";
    const T2: &str = "2026-01-01T00:00:02Z";

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": "default", "uid": "u", "labels": { "app": "web" } },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": { "spec": { "containers": [
                { "name": "app", "image": "nginx", "ports": [{ "containerPort": 80 }] }] } } },
        })
    }

    fn created() -> Value {
        let mut object = deployment();
        note_update(schema::of(&deployment()), None, &mut object, "kubectl-create", "", T1);
        object
    }

    fn updated(old: &Value, manager: &str, subresource: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut new = old.clone();
        change(&mut new);
        note_update(schema::of(old), Some(old), &mut new, manager, subresource, T2);
        new
    }

    fn fields_of(object: &Value, manager: &str) -> Option<Value> {
        owners(object).iter().find(|owner| owner.manager == manager).map(|owner| owner.fields.print())
    }

    #[test]
    fn who_creates_owns_all_but_the_identity() {
        let expected = json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": { "f:replicas": {}, "f:selector": {}, "f:template": { "f:spec": { "f:containers": {
                r#"k:{"name":"app"}"#: { ".": {}, "f:name": {}, "f:image": {}, "f:ports": { ".": {},
                    r#"k:{"containerPort":80,"protocol":"TCP"}"#: { ".": {}, "f:containerPort": {} } } } } } } },
        });
        let entry = json!([{ "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": T1,
            "fieldsType": "FieldsV1", "fieldsV1": expected }]);
        assert_eq!(created()["metadata"]["managedFields"], entry);
    }

    #[test]
    fn who_changes_a_field_takes_it() {
        let scaled = updated(&created(), "kubectl-edit", "", |object| {
            object["spec"]["replicas"] = json!(2);
            object["metadata"]["resourceVersion"] = json!("9");
        });
        assert_eq!(fields_of(&scaled, "kubectl-edit"), Some(json!({ "f:spec": { "f:replicas": {} } })));
        assert_eq!(fields_of(&scaled, "kubectl-create").unwrap()["f:spec"].get("f:replicas"), None);
        // The same manager adds to what it has.
        let labeled = updated(&scaled, "kubectl-edit", "", |object| object["metadata"]["labels"]["b"] = json!("c"));
        let fields = json!({ "f:metadata": { "f:labels": { "f:b": {} } }, "f:spec": { "f:replicas": {} } });
        assert_eq!(fields_of(&labeled, "kubectl-edit"), Some(fields));
    }

    #[test]
    fn a_subresource_is_an_entry_of_its_own_and_nothing_is_noted_where_nothing_changes() {
        let created = created();
        let same = updated(&created, "other", "", |object| object["metadata"]["generation"] = json!(7));
        assert_eq!(same["metadata"]["managedFields"], created["metadata"]["managedFields"]);
        let ready = updated(&created, "kubectl-create", "status", |object| {
            object["status"] = json!({ "replicas": 1,
            "conditions": [{ "type": "Available", "status": "True" }] })
        });
        let status = &ready["metadata"]["managedFields"][1];
        assert_eq!((&status["manager"], &status["subresource"]), (&json!("kubectl-create"), &json!("status")));
        let fields = json!({ "f:status": { ".": {}, "f:replicas": {}, "f:conditions": { ".": {},
            r#"k:{"type":"Available"}"#: { ".": {}, "f:type": {}, "f:status": {} } } } });
        assert_eq!(status["fieldsV1"], fields);
    }

    #[test]
    fn nobody_owns_a_status_that_comes_with_the_object() {
        let ready = updated(&created(), "other", "", |object| object["status"] = json!({ "replicas": 1 }));
        assert_eq!(fields_of(&ready, "other"), None);
    }

    #[test]
    fn what_is_removed_is_nobodys_and_who_owns_nothing_is_not_listed() {
        let labeled = updated(&created(), "labeler", "", |object| object["metadata"]["labels"]["b"] = json!("c"));
        assert!(fields_of(&labeled, "labeler").is_some());
        let unlabeled = updated(&labeled, "other", "", |object| {
            object["metadata"]["labels"].as_object_mut().unwrap().remove("b");
        });
        assert_eq!(fields_of(&unlabeled, "labeler"), None);
        assert_eq!(fields_of(&unlabeled, "other"), None);
    }

    #[test]
    fn entries_survive_writers_that_do_not_send_them_and_can_be_reset() {
        let created = created();
        let silent = updated(&created, "other", "", |object| {
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
        });
        assert_eq!(silent["metadata"]["managedFields"], created["metadata"]["managedFields"]);
        let reset = updated(&created, "other", "", |object| {
            object["metadata"]["managedFields"] = json!([{}]);
            object["spec"]["replicas"] = json!(5);
        });
        assert_eq!(reset["metadata"].get("managedFields"), None);
        // Of what nobody tracks, nothing is noted later either.
        let later = updated(&reset, "other", "", |object| object["spec"]["replicas"] = json!(6));
        assert_eq!(later["metadata"].get("managedFields"), None);
    }

    #[test]
    fn who_applied_comes_first_then_the_older_ones() {
        let owner = |manager: &str, manner, time: &str| Owner {
            time: Some(time.to_owned()),
            fields: Fields::parse(&json!({ "f:spec": {} })),
            ..Owner::new(manager, manner, &json!({ "apiVersion": "v1" }), "")
        };
        let mut object = json!({ "metadata": {} });
        let all = vec![owner("c", Manner::Update, T1), owner("b", Manner::Apply, T2), owner("a", Manner::Update, T2)];
        set_owners(&mut object, all);
        let names: Vec<String> = owners(&object).into_iter().map(|owner| owner.manager).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn sets_are_added_and_taken_away() {
        let one = Fields::parse(&json!({ "f:a": { ".": {}, "f:b": {}, "f:c": {} }, "f:d": {} }));
        let two = Fields::parse(&json!({ "f:a": { "f:b": {} }, "f:e": {} }));
        assert_eq!(one.union(&two).print(), json!({ "f:a": { ".": {}, "f:b": {}, "f:c": {} }, "f:d": {}, "f:e": {} }));
        assert_eq!(one.intersection(&two).print(), json!({ "f:a": { "f:b": {} } }));
        assert_eq!(one.difference(&two).print(), json!({ "f:a": { ".": {}, "f:c": {} }, "f:d": {} }));
        assert_eq!(two.difference(&two).print(), json!({}));
    }
}
