//! Objects as rows of a table: what kubectl asks for when it shows objects to people.
//!
//! A table has columns and rows; a row has a cell for each column, and the object itself as far as it is asked for.
//! What the columns are called, of which type they are and what stands in them is as the printers of the real server
//! have it; their descriptions, which nobody shows, are left empty.

mod age;
mod builtin;
mod custom;
mod jsonpath;
mod pod;
mod seen;
mod selector;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use self::jsonpath::JsonPath;
use self::seen::Seen;
use super::Problem;
use super::kinds::Served;
use super::request::Ask;
use super::status::bad_request;
use super::store::Store;

/// A column.
#[derive(Clone, Debug)]
struct Column {
    name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    of: Cow<'static, str>,
    /// `name` for the column that names the row.
    format: Cow<'static, str>,
    /// Above 0: shown only when all is to be shown.
    priority: i64,
    cell: Cell,
}

/// Where a cell comes from.
#[derive(Clone, Debug)]
enum Cell {
    /// Of an object of a built-in kind.
    Of(fn(&Seen<'_>) -> Value),
    /// What stands in a field, or what is shown where nothing does.
    Field { path: &'static str, none: &'static str },
    /// The number in a field, 0 where there is none.
    Number(&'static str),
    /// How many entries the list in a field has.
    Count(&'static str),
    /// What a definition points at.
    At(JsonPath),
    /// A path of a definition that nobody understands.
    Nowhere,
}

impl Column {
    fn definition(&self) -> Value {
        json!({ "name": self.name, "type": self.of, "format": self.format, "description": "", "priority": self.priority })
    }

    fn value(&self, seen: &Seen<'_>) -> Value {
        match &self.cell {
            Cell::Of(cell) => cell(seen),
            Cell::Field { path, none } => seen.or(path, none),
            Cell::Number(path) => json!(seen.number(path)),
            Cell::Count(path) => json!(seen.count(path)),
            Cell::At(path) => custom::cell(&self.of, path.first(seen.object), seen.now),
            Cell::Nowhere => Value::Null,
        }
    }
}

/// How much of an object stands in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

/// How objects of one kind become a table.
#[derive(Clone, Debug)]
pub struct Sheet {
    columns: Cow<'static, [Column]>,
    include: Include,
    /// Version of the table itself: `v1`.
    version: &'static str,
    /// apiVersion of the objects.
    api_version: String,
    is_pods: bool,
    now: Timestamp,
}

/// The sheet for what is asked for; `None` where it is no table.
pub fn sheet(store: &Store, now: Timestamp, served: &Served, ask: &Ask<'_>) -> Result<Option<Sheet>, Problem> {
    if !ask.wants("Table") {
        return Ok(None);
    }
    let include = match ask.param("includeObject") {
        "" | "Metadata" => Include::Metadata,
        "None" => Include::None,
        "Object" => Include::Object,
        other => return Err(bad_request(format!("unrecognized includeObject value: {other:?}"))),
    };
    let columns = match custom::columns(store, served) {
        Some(columns) => Cow::Owned(columns),
        None => Cow::Borrowed(builtin::columns(&served.table)),
    };
    Ok(Some(Sheet {
        columns,
        include,
        version: if ask.wants_version("v1beta1") { "v1beta1" } else { "v1" },
        api_version: served.api_version(),
        is_pods: served.table == "pods",
        now,
    }))
}

impl Sheet {
    /// `meta.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        format!("meta.k8s.io/{}", self.version)
    }

    /// The `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        self.columns.iter().map(Column::definition).collect()
    }

    /// Sets the time from which ages are told: a watch goes on.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// A table of one object. Events of a watch after the first go without the columns.
    pub fn single(&self, object: &Value, with_columns: bool) -> Value {
        let row = serde_json::to_value(self.row(object)).unwrap_or_default();
        json!({
            "kind": "Table", "apiVersion": self.api_version(),
            "metadata": { "resourceVersion": object["metadata"]["resourceVersion"] },
            "columnDefinitions": if with_columns { self.definitions() } else { Value::Null },
            "rows": [row],
        })
    }

    /// An object as a row.
    pub fn row<'a>(&'a self, object: &'a Value) -> Row<'a> {
        Row { sheet: self, object }
    }
}

/// A row, to be written.
pub struct Row<'a> {
    sheet: &'a Sheet,
    object: &'a Value,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seen = Seen { object: self.object, now: self.sheet.now };
        let cells: Vec<Value> = self.sheet.columns.iter().map(|column| column.value(&seen)).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("cells", &cells)?;
        if let Some(conditions) = self.conditions() {
            map.serialize_entry("conditions", &conditions)?;
        }
        match self.sheet.include {
            Include::None => map.serialize_entry("object", &())?,
            Include::Metadata => map.serialize_entry(
                "object",
                &json!({
                    "kind": "PartialObjectMetadata", "apiVersion": self.sheet.api_version(),
                    "metadata": self.object["metadata"],
                }),
            )?,
            Include::Object => map.serialize_entry("object", &self.whole())?,
        }
        map.end()
    }
}

impl Row<'_> {
    /// Rows of pods that have ended say so.
    fn conditions(&self) -> Option<Value> {
        let (reason, message) = match self.object["status"]["phase"].as_str() {
            Some("Succeeded") if self.sheet.is_pods => ("Succeeded", "The pod has completed successfully."),
            Some("Failed") if self.sheet.is_pods => ("Failed", "The pod failed."),
            _ => return None,
        };
        Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
    }

    fn whole(&self) -> Value {
        let mut whole = self.object.clone();
        whole["apiVersion"] = json!(self.sheet.api_version);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{MAPS, Wire, deployment, pod};
    use serde_json::{Value, json};

    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

    fn table(wire: &mut Wire, path: &str) -> Value {
        let (code, table) = wire.ask(&format!("GET {path}"), &[("accept", TABLE)], None);
        assert_eq!((code, &table["kind"]), (200, &json!("Table")), "{table}");
        table
    }

    fn cells(table: &Value) -> Vec<Vec<(&str, &Value)>> {
        let columns = table["columnDefinitions"].as_array().unwrap();
        let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        let rows = table["rows"].as_array().unwrap().iter();
        rows.map(|row| names.iter().copied().zip(row["cells"].as_array().unwrap()).collect()).collect()
    }

    #[test]
    fn a_list_is_a_table_where_one_is_asked_for() {
        let mut wire = Wire::new();
        wire.post("/apis/apps/v1/namespaces/default/deployments", deployment("web", 2));
        let path = "/apis/apps/v1/namespaces/default/deployments";
        let all = table(&mut wire, path);
        let expected = [
            ("Name", json!("web")),
            ("Ready", json!("0/2")),
            ("Up-to-date", json!(0)),
            ("Available", json!(0)),
            ("Age", json!("0s")),
            ("Containers", json!("a")),
            ("Images", json!("a:1")),
            ("Selector", json!("app=web")),
        ];
        assert_eq!(cells(&all)[0], expected.each_ref().map(|(name, value)| (*name, value)));
        let priorities: Vec<&Value> =
            all["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["priority"]).collect();
        assert_eq!(priorities, [0, 0, 0, 0, 0, 1, 1, 1]);
        let object = &all["rows"][0]["object"];
        assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("web")));
        assert_eq!(object.get("spec"), None);
        // One object is a table of one row.
        let one = table(&mut wire, &format!("{path}/web?includeObject=Object"));
        assert_eq!(one["rows"][0]["object"]["apiVersion"], "apps/v1");
        assert_eq!(one["rows"][0]["object"]["spec"]["replicas"], 2);
        assert_eq!(one["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
        assert_eq!(table(&mut wire, &format!("{path}?includeObject=None"))["rows"][0]["object"], Value::Null);
        let (code, problem) = wire.ask(&format!("GET {path}?includeObject=Some"), &[("accept", TABLE)], None);
        assert_eq!(code, 400, "{problem}");
    }

    #[test]
    fn ages_are_those_of_the_world() {
        let mut wire = Wire::new();
        wire.config_map("a");
        wire.world.now += jiff::SignedDuration::from_mins(5);
        let maps = table(&mut wire, &format!("{MAPS}/a"));
        assert_eq!(cells(&maps)[0], [("Name", &json!("a")), ("Data", &json!(1)), ("Age", &json!("5m"))]);
    }

    #[test]
    fn pages_of_a_table_follow_each_other() {
        let mut wire = Wire::new();
        for name in ["a", "b", "c"] {
            wire.post("/api/v1/namespaces/default/pods", pod(name));
        }
        let first = table(&mut wire, "/api/v1/namespaces/default/pods?limit=2");
        assert_eq!((cells(&first).len(), &first["metadata"]["remainingItemCount"]), (2, &json!(1)));
        let next = first["metadata"]["continue"].as_str().unwrap();
        let second = table(&mut wire, &format!("/api/v1/namespaces/default/pods?limit=2&continue={next}"));
        assert_eq!(cells(&second)[0][0], ("Name", &json!("c")));
    }

    #[test]
    fn a_definition_says_what_its_kind_shows() {
        let mut wire = Wire::new();
        let definition = |columns: Value| {
            json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": "things.example.com" }, "spec": { "group": "example.com", "scope": "Cluster",
                "names": { "plural": "things", "kind": "Thing" }, "versions": [{ "name": "v1", "served": true,
                    "storage": true, "additionalPrinterColumns": columns, "schema": { "openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } })
        };
        let columns = json!([
            { "name": "Size", "type": "integer", "jsonPath": ".spec.size" },
            { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1 },
        ]);
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert_eq!(wire.post(path, definition(columns)).0, 201);
        let thing = json!({ "apiVersion": "example.com/v1", "kind": "Thing", "metadata": { "name": "a" },
            "spec": { "size": 3 }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        assert_eq!(wire.post("/apis/example.com/v1/things", thing).0, 201);
        let things = table(&mut wire, "/apis/example.com/v1/things");
        assert_eq!(cells(&things)[0], [("Name", &json!("a")), ("Size", &json!(3)), ("Ready", &json!("True"))]);
        let (code, gone) = wire.patch(
            &format!("{path}/things.example.com"),
            "application/json-patch+json",
            json!([{ "op": "remove", "path": "/spec/versions/0/additionalPrinterColumns" }]),
        );
        assert_eq!(code, 200, "{gone}");
        let things = table(&mut wire, "/apis/example.com/v1/things");
        assert_eq!(cells(&things)[0], [("Name", &json!("a")), ("Age", &json!("0s"))]);
    }

    #[test]
    fn every_kind_that_can_be_listed_has_a_name_in_its_table() {
        let mut wire = Wire::new();
        for kind in super::super::kinds::built_in().iter().filter(|kind| kind.allows("list")) {
            let root = if kind.group.is_empty() { "/api" } else { "/apis" };
            let all = table(&mut wire, &format!("{root}/{}/{}", kind.api_version(), kind.plural));
            let columns = all["columnDefinitions"].as_array().unwrap();
            assert_eq!(columns.iter().filter(|column| column["name"] == "Name").count(), 1, "{}", kind.plural);
        }
    }
}
