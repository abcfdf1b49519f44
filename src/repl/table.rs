//! Results as people read them: lists of maps as tables, with columns chosen well; everything else as YAML.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

use crate::error::count;

/// How much is shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Every column, whatever the terminal's width, and every row.
    pub wide: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// Escape codes.
    pub color: bool,
    /// For ages.
    pub now: Timestamp,
}

/// More rows than this scroll what one looks for out of sight.
const ROWS_MAX: usize = 200;

/// A cell that is longer is cut, but for `wide`.
const CELL_MAX: usize = 44;

const GAP: usize = 2;

/// The value as text for people; empty for `()`.
pub fn show(value: &Value, look: Look) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => format!("{text}\n"),
        Value::Array(rows) if is_table(rows) => table(rows, look),
        Value::Object(map) if map.values().any(|value| value.as_array().is_some_and(|rows| is_table(rows))) => {
            let lists = map.iter().filter(|(_, value)| value.as_array().is_some_and(|rows| is_table(rows)));
            let few = map.values().filter(|value| !value.is_null()).count() <= 3;
            if !few {
                return yaml(value);
            }
            let rest: Map<String, Value> = map
                .iter()
                .filter(|(_, value)| !value.as_array().is_some_and(|rows| is_table(rows)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let tables = lists.map(|(key, value)| {
                let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
                format!("{key}:\n{}", table(rows, look))
            });
            let rest = if rest.values().all(Value::is_null) { String::new() } else { yaml(&Value::Object(rest)) };
            tables.chain([rest]).collect()
        }
        other => yaml(other),
    }
}

fn is_table(rows: &[Value]) -> bool {
    !rows.is_empty() && rows.iter().all(Value::is_object)
}

/// YAML without what is absent: answers name every field that AWS could have sent.
pub fn yaml(value: &Value) -> String {
    let mut dropped = 0;
    let present = without_nulls(value, &mut dropped);
    let mut text = serde_yaml::to_string(&present).unwrap_or_else(|_| present.to_string());
    if dropped > 0 {
        text.push_str(&format!("# {} not shown; `:json` shows all\n", count("empty field", dropped)));
    }
    text
}

fn without_nulls(value: &Value, dropped: &mut usize) -> Value {
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (key, value) in map {
                if value.is_null() {
                    *dropped += 1;
                } else {
                    kept.insert(key.clone(), without_nulls(value, dropped));
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => items.iter().map(|item| without_nulls(item, dropped)).collect(),
        other => other.clone(),
    }
}

/// One column: its title, and its text for each row.
struct Column {
    title: String,
    cells: Vec<String>,
}

impl Column {
    fn width(&self) -> usize {
        self.cells.iter().map(|cell| cell.width()).chain([self.title.width()]).max().unwrap_or(0)
    }
}

fn table(rows: &[Value], look: Look) -> String {
    let shown = if look.wide { rows } else { &rows[..rows.len().min(ROWS_MAX)] };
    let all = if rows.iter().all(is_kubernetes) { kubernetes(shown, look) } else { plain(shown, look) };
    let columns = fitting(all, look);
    let mut text =
        row(&columns.iter().map(|column| column.title.to_uppercase()).collect::<Vec<_>>(), &columns, None, look);
    for index in 0..shown.len() {
        let cells: Vec<String> =
            columns.iter().map(|column| column.cells.get(index).cloned().unwrap_or_default()).collect();
        text.push_str(&row(&cells, &columns, Some(index), look));
    }
    if shown.len() < rows.len() {
        text.push_str(&format!("… {} more; `:wide` shows all\n", rows.len() - shown.len()));
    }
    text
}

fn row(cells: &[String], columns: &[Column], index: Option<usize>, look: Look) -> String {
    let mut line = String::new();
    for (position, (cell, column)) in cells.iter().zip(columns).enumerate() {
        let padding = if position + 1 == columns.len() { 0 } else { column.width() + GAP - cell.width() };
        line.push_str(&painted(cell, index, look));
        line.push_str(&" ".repeat(padding));
    }
    format!("{}\n", line.trim_end())
}

/// Titles bold, what is well green, what is not red, what is under way yellow.
fn painted(cell: &str, index: Option<usize>, look: Look) -> String {
    let code = match (look.color, index) {
        (false, _) => return cell.to_owned(),
        (true, None) => "1",
        (true, Some(_)) => match cell {
            "ACTIVE" | "Ready" | "Running" | "available" | "running" | "Succeeded" | "Bound" | "InService" => "32",
            "NotReady" | "Failed" | "CrashLoopBackOff" | "ImagePullBackOff" | "terminated" => "31",
            cell if cell.ends_with("FAILED") || cell == "DEGRADED" => "31",
            "Pending" | "pending" | "ContainerCreating" | "shutting-down" | "stopping" => "33",
            cell if ["CREATING", "UPDATING", "DELETING"].contains(&cell) => "33",
            _ => return cell.to_owned(),
        },
    };
    format!("\x1b[{code}m{cell}\x1b[0m")
}

/// As many columns, the best first, as the terminal is wide; the first always.
fn fitting(mut columns: Vec<Column>, look: Look) -> Vec<Column> {
    if look.wide {
        return columns;
    }
    let mut left = look.width;
    for (position, column) in columns.iter_mut().enumerate() {
        let max = if position == 0 { look.width.min(CELL_MAX.max(look.width / 2)) } else { CELL_MAX };
        column.cells.iter_mut().for_each(|cell| *cell = cut(cell, max));
    }
    let fits = |column: &Column| {
        let wanted = column.width();
        let fits = wanted <= left;
        left = left.saturating_sub(wanted + GAP);
        fits
    };
    let many = columns.iter().map_while({
        let mut fits = fits;
        move |column| fits(column).then_some(())
    });
    let many = many.count().max(1);
    columns.truncate(many);
    columns
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// What a key says about how much its column matters: the lower the more.
fn rank(key: &str) -> u32 {
    match key {
        "name" => 0,
        key if key.ends_with("_name") && key != "cluster_name" && !key.contains("dns") => 1,
        "id" | "instance_id" => 2,
        "status" | "state" | "lifecycle_state" => 4,
        "health" | "health_status" => 5,
        "version" | "instance_type" | "kubernetes_version" => 6,
        "cidr_block" | "availability_zone" | "private_ip_address" | "capacity_type" => 7,
        key if key.ends_with("_id") => 8,
        "cluster_name" | "type" | "kind" => 9,
        key if key.ends_with("_at") || key.ends_with("_time") => 12,
        key if key.ends_with("arn") => 13,
        "owner_id" => 14,
        _ => 10,
    }
}

/// The columns of plain maps, the ones that tell most first.
fn plain(rows: &[Value], look: Look) -> Vec<Column> {
    let mut cells: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        for (key, value) in row.as_object().into_iter().flatten() {
            let column = cells.entry(key).or_insert_with(|| vec![String::new(); rows.len()]);
            column[index] = cell(value, look.wide);
        }
    }
    // EC2 names things by a tag.
    let tagged: Vec<String> = rows.iter().map(name_tag).collect();
    let mut columns: Vec<(u32, Column)> = Vec::new();
    if tagged.iter().any(|name| !name.is_empty()) && !cells.contains_key("name") {
        columns.push((0, Column { title: "name".to_owned(), cells: tagged }));
    }
    // An id of the thing itself stands before ids of what it belongs to: it differs from row to row.
    for (key, cells) in cells {
        if cells.iter().all(String::is_empty) || key == "tags" && !look.wide {
            continue;
        }
        let distinct = cells.iter().collect::<std::collections::BTreeSet<_>>().len();
        let tells = match (rank(key), distinct == rows.len()) {
            (8, true) => 3,
            (rank, _) if rank >= 8 && distinct == 1 && rows.len() > 1 => rank + 10,
            (rank, _) => rank,
        };
        columns.push((tells, Column { title: key.to_owned(), cells }));
    }
    columns.sort_by_key(|(tells, _)| *tells);
    columns.into_iter().map(|(_, column)| column).collect()
}

fn name_tag(row: &Value) -> String {
    let tags = row["tags"].as_array().into_iter().flatten();
    let mut named = tags.filter(|tag| tag["key"] == "Name").filter_map(|tag| tag["value"].as_str());
    named.next().unwrap_or_default().to_owned()
}

fn cell(value: &Value, wide: bool) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', "⏎"),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(|item| cell(item, wide)).collect::<Vec<_>>().join(",")
        }
        Value::Array(_) | Value::Object(_) if wide => value.to_string(),
        Value::Array(items) => format!("[{}]", items.len()),
        // A state is often a map of a code and a name.
        Value::Object(map) => match (map.get("name"), map.get("value")) {
            (Some(Value::String(name)), _) => name.clone(),
            (_, Some(Value::String(value))) => value.clone(),
            _ if map.values().all(Value::is_null) => String::new(),
            _ => "{…}".to_owned(),
        },
        other => other.to_string(),
    }
}

fn is_kubernetes(row: &Value) -> bool {
    row["metadata"]["name"].is_string()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

/// The columns of Kubernetes objects.
fn kubernetes(rows: &[Value], look: Look) -> Vec<Column> {
    let column = |title: &str, cell: &dyn Fn(&Value) -> String| Column {
        title: title.to_owned(),
        cells: rows.iter().map(cell).collect(),
    };
    let label = |row: &Value, name: &str| text(&row["metadata"]["labels"][name]);
    let is_a = |what: &str| rows.iter().all(|row| row["kind"] == what);
    let mut columns = vec![
        column("namespace", &|row| text(&row["metadata"]["namespace"])),
        column("name", &|row| text(&row["metadata"]["name"])),
    ];
    if is_a("Node") {
        columns.push(column("status", &node_status));
        columns.push(column("version", &|row| text(&row["status"]["nodeInfo"]["kubeletVersion"])));
        columns.push(column("type", &|row| label(row, "node.kubernetes.io/instance-type")));
        columns.push(column("zone", &|row| label(row, "topology.kubernetes.io/zone")));
    } else if is_a("Pod") {
        columns.push(column("ready", &pod_ready));
        columns.push(column("status", &pod_status));
        columns.push(column("restarts", &restarts));
        columns.push(column("node", &|row| text(&row["spec"]["nodeName"])));
    } else if is_a("DaemonSet") {
        let status = |row: &Value, of: &str| text(&row["status"][of]);
        columns.push(column("ready", &|row| {
            format!("{}/{}", or_zero(status(row, "numberReady")), or_zero(status(row, "desiredNumberScheduled")))
        }));
    } else if is_a("Deployment") || is_a("StatefulSet") || is_a("ReplicaSet") {
        columns.push(column("ready", &|row| {
            format!("{}/{}", or_zero(text(&row["status"]["readyReplicas"])), or_zero(text(&row["spec"]["replicas"])))
        }));
    } else if is_a("Service") {
        columns.push(column("type", &|row| text(&row["spec"]["type"])));
        columns.push(column("cluster ip", &|row| text(&row["spec"]["clusterIP"])));
    } else {
        columns.push(column("status", &|row| text(&row["status"]["phase"])));
    }
    columns.push(column("age", &|row| age(&text(&row["metadata"]["creationTimestamp"]), look.now)));
    if is_a("Node") {
        columns.push(column("internal ip", &internal_ip));
    }
    if !rows.iter().all(|row| row["kind"] == rows[0]["kind"]) {
        columns.insert(0, column("kind", &|row| text(&row["kind"])));
    }
    columns.retain(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    columns
}

fn or_zero(text: String) -> String {
    if text.is_empty() { "0".to_owned() } else { text }
}

fn node_status(row: &Value) -> String {
    let conditions = row["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|condition| condition["type"] == "Ready").any(|ready| ready["status"] == "True");
    let cordoned = if row["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{}{cordoned}", if ready { "Ready" } else { "NotReady" })
}

fn internal_ip(row: &Value) -> String {
    let addresses = row["status"]["addresses"].as_array().into_iter().flatten();
    let mut internal =
        addresses.filter(|address| address["type"] == "InternalIP").map(|address| text(&address["address"]));
    internal.next().unwrap_or_default()
}

fn containers(row: &Value) -> impl Iterator<Item = &Value> {
    row["status"]["containerStatuses"].as_array().into_iter().flatten()
}

fn pod_ready(row: &Value) -> String {
    let ready = containers(row).filter(|container| container["ready"] == true).count();
    let all = row["spec"]["containers"].as_array().map_or(0, Vec::len);
    format!("{ready}/{all}")
}

/// What `kubectl get pods` says: why a container waits, else the phase.
fn pod_status(row: &Value) -> String {
    if row["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    let waits = containers(row).filter_map(|container| container["state"]["waiting"]["reason"].as_str()).next();
    waits.map_or_else(|| text(&row["status"]["phase"]), str::to_owned)
}

fn restarts(row: &Value) -> String {
    containers(row).filter_map(|container| container["restartCount"].as_i64()).sum::<i64>().to_string()
}

/// `3d4h`: the two largest units.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return String::new() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if left >= size || (size == 1 && parts.is_empty()) {
            parts.push(format!("{}{unit}", left / size));
            left %= size;
        }
    }
    parts.truncate(2);
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn look(width: usize) -> Look {
        Look { wide: false, width, color: false, now: "2026-01-02T00:00:00Z".parse().unwrap() }
    }

    #[test]
    fn columns_that_tell_most_come_first_and_those_that_do_not_fit_are_left_out() {
        let rows = json!([
            { "arn": "arn:aws:x", "owner_id": "1", "subnet_id": "subnet-1", "vpc_id": "vpc-1", "state": "available",
              "tags": [{ "key": "Name", "value": "a" }], "ipv6": null },
            { "arn": "arn:aws:y", "owner_id": "1", "subnet_id": "subnet-2", "vpc_id": "vpc-1", "state": "pending",
              "tags": [{ "key": "Name", "value": "b" }], "ipv6": null },
        ]);
        assert_eq!(
            show(&rows, look(40)),
            "NAME  SUBNET_ID  STATE      ARN\na     subnet-1   available  arn:aws:x\nb     subnet-2   pending    arn:aws:y\n"
        );
        assert_eq!(show(&rows, look(18)), "NAME  SUBNET_ID\na     subnet-1\nb     subnet-2\n");
    }

    #[test]
    fn nodes_look_as_kubectl_shows_them() {
        let node = json!([{
            "kind": "Node",
            "metadata": { "name": "ip-10-0-0-1", "creationTimestamp": "2026-01-01T20:30:00Z", "labels": { "topology.kubernetes.io/zone": "us-west-2a" } },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "kubeletVersion": "v1.33.1" } },
        }]);
        assert_eq!(
            show(&node, look(80)),
            "NAME         STATUS  VERSION  ZONE        AGE\nip-10-0-0-1  Ready   v1.33.1  us-west-2a  3h30m\n"
        );
    }

    #[test]
    fn a_map_is_yaml_without_what_is_absent() {
        let text = show(&json!({ "a": 1, "b": null, "c": { "d": null, "e": "x" } }), look(80));
        assert_eq!(text, "a: 1\nc:\n  e: x\n# 2 empty fields not shown; `:json` shows all\n");
    }
}
