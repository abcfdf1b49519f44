//! What the server says of itself: its version, its health, and the kinds that it serves.

use serde_json::{Value, json};

use super::kinds::{self, Served};
use super::openapi;
use super::request::Ask;
use super::store::Store;
use crate::twin::world::World;

/// The answer to a path that means no objects; `None` where there is none.
pub fn answer(world: &World, cluster: &str, store: &Store, ask: &Ask<'_>) -> Option<Value> {
    let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
    let aggregated = aggregated_version(ask);
    match path.as_slice() {
        ["version"] => Some(version(world, cluster)),
        ["api"] if aggregated.is_some() => aggregated.map(|version| aggregate(store, version, true)),
        ["apis"] if aggregated.is_some() => aggregated.map(|version| aggregate(store, version, false)),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "172.20.0.1:443" }],
        })),
        ["apis"] => {
            let mut groups: Vec<Value> =
                groups(store).iter().filter_map(|(group, _)| self::group(store, group)).collect();
            for map in groups.iter_mut().filter_map(Value::as_object_mut) {
                // In a list they do not say what they are.
                map.retain(|key, _| key != "kind" && key != "apiVersion");
            }
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["api", version] => resources(store, "", version),
        ["apis", group] => self::group(store, group),
        ["apis", group, version] => resources(store, group, version),
        ["openapi", "v3"] => Some(openapi::index(store)),
        ["openapi", "v3", "api", version] => openapi::version(store, version),
        ["openapi", "v3", "apis", group, version] => openapi::version(store, &format!("{group}/{version}")),
        ["openapi", "v2"] => Some(openapi::v2(store, &version(world, cluster)["gitVersion"])),
        [] => Some(json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] })),
        _ => None,
    }
}

/// The version in which all kinds are asked for at once.
fn aggregated_version(ask: &Ask<'_>) -> Option<&'static str> {
    let known = ["v2", "v2beta1"].into_iter().find(|version| ask.wants_version(version));
    known.filter(|_| {
        ask.wants("APIGroupDiscoveryList") && matches!(ask.path.as_slice(), [one] if one == "api" || one == "apis")
    })
}

/// The content type of an answer, by which clients see in which form they got it.
pub fn media(ask: &Ask<'_>) -> &'static str {
    match aggregated_version(ask) {
        Some("v2") => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Some(_) => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        None => "application/json",
    }
}

/// Paths that answer `ok`.
pub fn is_health(path: &[String]) -> bool {
    matches!(path.first().map(String::as_str), Some("healthz" | "livez" | "readyz"))
}

fn version(world: &World, cluster: &str) -> Value {
    let said = world.find("eks/clusters", cluster).and_then(|found| found["version"].as_str()).unwrap_or("1.35");
    let minor = said.split('.').nth(1).unwrap_or("35");
    json!({
        "major": "1",
        // EKS marks its builds.
        "minor": format!("{minor}+"),
        "gitVersion": format!("v1.{minor}.2-eks-113cf36"),
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.24.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// Groups but the core, each with its versions, in the server's order.
fn groups(store: &Store) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for kind in kinds::all_of(store).iter().filter(|kind| !kind.group.is_empty()) {
        let place = groups.iter().position(|(group, _)| *group == kind.group).unwrap_or_else(|| {
            groups.push((kind.group.clone(), Vec::new()));
            groups.len() - 1
        });
        let versions = &mut groups[place].1;
        if !versions.contains(&kind.version) {
            versions.push(kind.version.clone());
        }
    }
    groups
}

fn group(store: &Store, group: &str) -> Option<Value> {
    let (name, versions) = groups(store).into_iter().find(|(name, _)| name == group)?;
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first().cloned();
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": preferred,
    }))
}

/// `APIResourceList` of a group and version.
fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let all = kinds::all_of(store);
    let served: Vec<&Served> =
        all.iter().map(AsRef::as_ref).filter(|kind| kind.group == group && kind.version == version).collect();
    let first = served.first()?;
    let rows: Vec<Value> = served.iter().flat_map(|kind| rows(kind)).collect();
    let mut list = json!({ "kind": "APIResourceList", "groupVersion": first.api_version(), "resources": rows });
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

fn rows(served: &Served) -> Vec<Value> {
    let mut row = json!({
        "name": served.plural, "singularName": served.singular, "namespaced": served.namespaced,
        "kind": served.kind, "verbs": served.verbs,
    });
    if !served.short_names.is_empty() {
        row["shortNames"] = json!(served.short_names);
    }
    if !served.categories.is_empty() {
        row["categories"] = json!(served.categories);
    }
    let mut rows = vec![row];
    for subresource in &served.subresources {
        let part = part(served, subresource);
        let mut row = json!({
            "name": format!("{}/{subresource}", served.plural), "singularName": "", "namespaced": served.namespaced,
            "kind": part.2, "verbs": part.3,
        });
        if part.0 != served.group {
            row["group"] = json!(part.0);
            row["version"] = json!(part.1);
        }
        rows.push(row);
    }
    rows
}

/// Group, version, kind and verbs of a subresource.
pub fn part<'a>(served: &'a Served, subresource: &str) -> (&'a str, &'a str, &'a str, &'static [&'static str]) {
    match subresource {
        "scale" => ("autoscaling", "v1", "Scale", &["get", "patch", "update"]),
        "eviction" => ("policy", "v1", "Eviction", &["create"]),
        "binding" => (&served.group, &served.version, "Binding", &["create"]),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest", &["create"]),
        "log" => (&served.group, &served.version, &served.kind, &["get"]),
        "finalize" => (&served.group, &served.version, &served.kind, &["update"]),
        _ => (&served.group, &served.version, &served.kind, &["get", "patch", "update"]),
    }
}

/// `APIGroupDiscoveryList` of the core group or of all others.
fn aggregate(store: &Store, form: &str, core: bool) -> Value {
    let all = kinds::all_of(store);
    let groups = if core { vec![(String::new(), vec!["v1".to_owned()])] } else { groups(store) };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let ours = all.iter().filter(|kind| kind.group == *group && kind.version == *version);
                    let resources: Vec<Value> = ours.map(|kind| aggregated(kind)).collect();
                    json!({ "version": version, "freshness": "Current", "resources": resources })
                })
                .collect();
            let metadata = if core {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": group, "creationTimestamp": null })
            };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let api_version = format!("apidiscovery.k8s.io/{form}");
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items })
}

fn aggregated(served: &Served) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let mut row = json!({
        "resource": served.plural,
        "responseKind": kind(&served.group, &served.version, &served.kind),
        "scope": if served.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": served.singular,
        "verbs": served.verbs,
    });
    if !served.short_names.is_empty() {
        row["shortNames"] = json!(served.short_names);
    }
    if !served.categories.is_empty() {
        row["categories"] = json!(served.categories);
    }
    if !served.subresources.is_empty() {
        let parts = served.subresources.iter().map(|subresource| {
            let (group, version, name, verbs) = part(served, subresource);
            json!({ "subresource": subresource, "responseKind": kind(group, version, name), "verbs": verbs })
        });
        row["subresources"] = parts.collect();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::wire::Wire;
    use serde_json::{Value, json};

    #[test]
    fn kinds_are_found_at_once_and_group_by_group() {
        let mut wire = Wire::new();
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let (_, list) = wire.ask("GET /apis", &[("accept", accept)], None);
        assert_eq!(
            (&list["kind"], &list["apiVersion"]),
            (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2"))
        );
        let apps = list["items"].as_array().unwrap().iter().find(|one| one["metadata"]["name"] == "apps").unwrap();
        let names = apps["versions"][0]["resources"].as_array().unwrap().iter().map(|one| &one["resource"]);
        assert!(names.clone().any(|name| name == "deployments"));
        assert_eq!(wire.get("/apis").1["kind"], "APIGroupList");
        let (_, core) = wire.get("/api/v1");
        let pods = core["resources"].as_array().unwrap().iter().find(|one| one["name"] == "pods").unwrap();
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(wire.get("/apis/nobody.io/v1").0, 404);
    }

    #[test]
    fn the_server_is_well_and_says_its_version() {
        let mut wire = Wire::new();
        assert_eq!(wire.get("/readyz"), (200, Value::String("ok".to_owned())));
        let (_, version) = wire.get("/version");
        assert_eq!(version["major"], "1");
        assert!(version["gitVersion"].as_str().unwrap().contains("-eks-"));
    }
}
