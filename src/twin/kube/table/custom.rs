//! The columns that definitions give to their kinds.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jsonpath::{self, JsonPath};
use super::seen::as_text;
use super::{Cell, Column, age};
use crate::twin::kube::kinds::{DEFINITIONS, Served};
use crate::twin::kube::store::Store;

/// The columns of a custom kind: its name and what its definition lists, or its age where that lists nothing. `None` for
/// kinds that are built in.
pub fn columns(store: &Store, served: &Served) -> Option<Vec<Column>> {
    if !served.custom {
        return None;
    }
    let definition = store.get(DEFINITIONS, &served.table).unwrap_or(&Value::Null);
    let mut versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let version = versions.find(|version| version["name"] == served.version.as_str()).unwrap_or(&Value::Null);
    let mut columns = vec![column(&json!({ "name": "Name", "type": "string", "jsonPath": ".metadata.name" }))];
    columns[0].format = Cow::Borrowed("name");
    match version["additionalPrinterColumns"].as_array().filter(|given| !given.is_empty()) {
        Some(given) => columns.extend(given.iter().map(column)),
        None => {
            let age = json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" });
            columns.push(column(&age));
        }
    }
    Some(columns)
}

fn column(given: &Value) -> Column {
    let path = given["jsonPath"].as_str().unwrap_or_default();
    Column {
        name: Cow::Owned(as_text(&given["name"])),
        of: Cow::Owned(as_text(&given["type"])),
        format: Cow::Owned(as_text(&given["format"])),
        priority: given["priority"].as_i64().unwrap_or(0),
        cell: JsonPath::parse(path).map_or(Cell::Nowhere, Cell::At),
    }
}

/// The cell of a column of this type; null for a value of another one.
pub fn cell(of: &str, value: Option<&Value>, now: Timestamp) -> Value {
    let Some(value) = value else { return Value::Null };
    match of {
        "string" => json!(jsonpath::as_go(value)),
        "integer" => match value.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "the server cuts the fraction off, too")]
            Some(float) if value.is_f64() => json!(float as i64),
            _ if value.is_i64() => value.clone(),
            _ => Value::Null,
        },
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" if value.is_string() => {
            json!(age::moment(value).map_or_else(|| "<invalid>".to_owned(), |_| age::since(value, now)))
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_no_cell() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let rows = [
            ("string", json!(true), json!("true")),
            ("string", json!(["a", 1]), json!("[a 1]")),
            ("integer", json!(3.7), json!(3)),
            ("integer", json!("3"), Value::Null),
            ("boolean", json!(false), json!(false)),
            ("date", json!("2026-01-01T00:00:00Z"), json!("60m")),
            ("date", json!("yesterday"), json!("<invalid>")),
            ("date", json!(7), Value::Null),
        ];
        for (of, value, shown) in rows {
            assert_eq!(cell(of, Some(&value), now), shown, "{of} {value}");
        }
    }
}
