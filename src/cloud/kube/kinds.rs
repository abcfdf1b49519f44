//! Which kinds a server offers, and what scripts may call them.
//!
//! `pods`, `pod`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`, `v1/Pod` and `apps/v1/Deployment` all name
//! one resource. Kinds that every supported server has stand in a table, so that a cold `kube::get("nodes", …)` is one
//! request. The table is a cache of discovery, nothing more: what it lacks is asked of the server, in one request where
//! the server aggregates its discovery (1.26 and later) and group by group where it does not.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer};

/// One kind of object that a server stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`: the word in URLs.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `deploy`.
    pub short_names: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What may be done with it; empty where it was not asked of the server.
    pub verbs: Vec<String>,
}

impl Resource {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The URL path of its group and version.
    pub(super) fn base_path(&self) -> String {
        version_path(&self.group, &self.version)
    }

    fn answers_to(&self, name: &str) -> bool {
        self.plural.eq_ignore_ascii_case(name)
            || self.kind.eq_ignore_ascii_case(name)
            || self.singular.eq_ignore_ascii_case(name)
            || self.short_names.iter().any(|short| short.eq_ignore_ascii_case(name))
    }
}

pub(super) fn version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// What a script calls a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// `pods`.
    Plain(&'a str),
    /// `deployments.apps` or `deployments.v1.apps`.
    Grouped { name: &'a str, group: &'a str },
    /// `apps/v1/Deployment` or `v1/Pod`, and what objects say of themselves.
    Versioned { group: &'a str, version: &'a str, name: &'a str },
}

impl<'a> Name<'a> {
    pub(super) fn parse(text: &'a str) -> Name<'a> {
        match text.rsplit_once('/') {
            Some((api_version, name)) => Name::of_object(api_version, name),
            None => match text.split_once('.') {
                Some((name, group)) => Name::Grouped { name, group },
                None => Name::Plain(text),
            },
        }
    }

    pub(super) fn of_object(api_version: &'a str, name: &'a str) -> Name<'a> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Name::Versioned { group, version, name }
    }

    fn means(&self, resource: &Resource) -> bool {
        match *self {
            Name::Plain(name) => resource.answers_to(name),
            Name::Grouped { name, group } => {
                resource.answers_to(name)
                    && (resource.group == group || format!("{}.{}", resource.version, resource.group) == group)
            }
            Name::Versioned { group, version, name } => {
                resource.group == group && resource.version == version && resource.answers_to(name)
            }
        }
    }

    /// The first that it means: servers list groups and versions in the order they prefer.
    pub(super) fn find(&self, resources: &[Arc<Resource>]) -> Option<Arc<Resource>> {
        resources.iter().find(|resource| self.means(resource)).cloned()
    }
}

/// What was learnt of one server.
#[derive(Default)]
pub(super) struct Cache(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Everything but the core group, in the server's order.
    all: Vec<Arc<Resource>>,
    /// Single group versions by URL path.
    versions: BTreeMap<String, Vec<Arc<Resource>>>,
}

impl Cache {
    pub(super) fn find(&self, name: &Name<'_>) -> Option<Arc<Resource>> {
        if let Some(resource) = well_known(name) {
            return Some(resource);
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        name.find(&known.all).or_else(|| known.versions.values().find_map(|resources| name.find(resources)))
    }

    pub(super) fn learn_all(&self, resources: Vec<Arc<Resource>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all = resources;
    }

    pub(super) fn learn_version(&self, path: &str, resources: Vec<Arc<Resource>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).versions.insert(path.to_owned(), resources);
    }

    /// Every word that would name something: for suggestions.
    pub(super) fn words(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words: Vec<String> = WELL_KNOWN
            .iter()
            .flat_map(|row| [row.plural.to_owned(), row.kind.to_owned(), row.kind.to_ascii_lowercase()])
            .collect();
        for resource in known.all.iter().chain(known.versions.values().flatten()) {
            words.extend([resource.plural.clone(), resource.kind.clone(), resource.singular.clone()]);
        }
        words
    }
}

/// A kind that every supported server has.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
}

const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
) -> Row {
    Row { group, version, kind, plural, short, namespaced }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// The core group is complete, and nothing can be added to it; of the others those that scripts name most.
#[rustfmt::skip]
const WELL_KNOWN: &[Row] = &[
    row("", "v1", "Binding", "bindings", &[], true),
    row("", "v1", "ComponentStatus", "componentstatuses", &["cs"], false),
    row("", "v1", "ConfigMap", "configmaps", &["cm"], true),
    row("", "v1", "Endpoints", "endpoints", &["ep"], true),
    row("", "v1", "Event", "events", &["ev"], true),
    row("", "v1", "LimitRange", "limitranges", &["limits"], true),
    row("", "v1", "Namespace", "namespaces", &["ns"], false),
    row("", "v1", "Node", "nodes", &["no"], false),
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], true),
    row("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], false),
    row("", "v1", "Pod", "pods", &["po"], true),
    row("", "v1", "PodTemplate", "podtemplates", &[], true),
    row("", "v1", "ReplicationController", "replicationcontrollers", &["rc"], true),
    row("", "v1", "ResourceQuota", "resourcequotas", &["quota"], true),
    row("", "v1", "Secret", "secrets", &[], true),
    row("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], true),
    row("", "v1", "Service", "services", &["svc"], true),
    row("apps", "v1", "DaemonSet", "daemonsets", &["ds"], true),
    row("apps", "v1", "Deployment", "deployments", &["deploy"], true),
    row("apps", "v1", "ReplicaSet", "replicasets", &["rs"], true),
    row("apps", "v1", "StatefulSet", "statefulsets", &["sts"], true),
    row("batch", "v1", "Job", "jobs", &[], true),
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false),
    row("apiregistration.k8s.io", "v1", "APIService", "apiservices", &[], false),
    row("coordination.k8s.io", "v1", "Lease", "leases", &[], true),
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], false),
    row(ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], false),
    row(ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], false),
    row(NETWORKING, "v1", "Ingress", "ingresses", &["ing"], true),
    row(NETWORKING, "v1", "NetworkPolicy", "networkpolicies", &["netpol"], true),
    row(RBAC, "v1", "ClusterRole", "clusterroles", &[], false),
    row(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", &[], false),
    row(RBAC, "v1", "Role", "roles", &[], true),
    row(RBAC, "v1", "RoleBinding", "rolebindings", &[], true),
    row(STORAGE, "v1", "CSINode", "csinodes", &[], false),
    row(STORAGE, "v1", "StorageClass", "storageclasses", &["sc"], false),
    row(STORAGE, "v1", "VolumeAttachment", "volumeattachments", &[], false),
];

fn well_known(name: &Name<'_>) -> Option<Arc<Resource>> {
    static RESOURCES: LazyLock<Vec<Arc<Resource>>> =
        LazyLock::new(|| WELL_KNOWN.iter().map(|row| Arc::new(row.resource())).collect());
    name.find(&RESOURCES)
}

impl Row {
    fn resource(&self) -> Resource {
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_ascii_lowercase(),
            short_names: self.short.iter().map(|&short| short.to_owned()).collect(),
            namespaced: self.namespaced,
            verbs: Vec::new(),
        }
    }
}

/// Go writes an empty list as null where nobody made it a list.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Asks for aggregated discovery; a server that knows none answers as it always did.
pub(super) const ACCEPT_AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// The answer to `/apis` (and `/api`): aggregated, or a list of groups to ask one by one.
#[derive(Deserialize)]
pub(super) struct Groups {
    /// Aggregated discovery.
    #[serde(default)]
    items: Option<Vec<AggregatedGroup>>,
    /// `APIGroupList` of `/apis`.
    #[serde(default, deserialize_with = "null_as_default")]
    groups: Vec<PlainGroup>,
    /// `APIVersions` of `/api`.
    #[serde(default, deserialize_with = "null_as_default")]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default, deserialize_with = "null_as_default")]
    metadata: GroupName,
    #[serde(default, deserialize_with = "null_as_default")]
    versions: Vec<AggregatedVersion>,
}

#[derive(Default, Deserialize)]
struct GroupName {
    #[serde(default, deserialize_with = "null_as_default")]
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default, deserialize_with = "null_as_default")]
    resources: Vec<AggregatedResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default, deserialize_with = "null_as_default")]
    scope: String,
    #[serde(default, deserialize_with = "null_as_default")]
    singular_resource: String,
    #[serde(default, deserialize_with = "null_as_default")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    short_names: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default, deserialize_with = "null_as_default")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainGroup {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    versions: Vec<PlainVersion>,
    #[serde(default)]
    preferred_version: Option<PlainVersion>,
}

#[derive(Clone, Deserialize, PartialEq)]
struct PlainVersion {
    version: String,
}

impl Groups {
    /// All resources, where the server aggregates.
    pub(super) fn aggregated(&self) -> Option<Vec<Arc<Resource>>> {
        let mut resources = Vec::new();
        for group in self.items.as_ref()? {
            for version in &group.versions {
                for resource in &version.resources {
                    let kind = resource.response_kind.as_ref().map_or("", |kind| kind.kind.as_str());
                    resources.push(Arc::new(Resource {
                        group: group.metadata.name.clone(),
                        version: version.version.clone(),
                        kind: kind.to_owned(),
                        plural: resource.resource.clone(),
                        singular: singular(&resource.singular_resource, kind),
                        short_names: resource.short_names.clone(),
                        namespaced: resource.scope == "Namespaced",
                        verbs: resource.verbs.clone(),
                    }));
                }
            }
        }
        Some(resources)
    }

    /// Group and version to ask for, the preferred version of each group first.
    pub(super) fn to_ask(&self) -> Vec<(String, String)> {
        let core = self.versions.iter().map(|version| (String::new(), version.clone()));
        let named = self.groups.iter().flat_map(|group| {
            let preferred = group.preferred_version.clone();
            let rest =
                group.versions.iter().filter(|version| Some(*version) != group.preferred_version.as_ref()).cloned();
            preferred.into_iter().chain(rest).map(|version| (group.name.clone(), version.version))
        });
        core.chain(named).collect()
    }
}

/// The answer to `/apis/GROUP/VERSION`.
#[derive(Deserialize)]
pub(super) struct ResourceList {
    #[serde(default, deserialize_with = "null_as_default")]
    resources: Vec<PlainResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainResource {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    singular_name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    namespaced: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    short_names: Vec<String>,
}

impl ResourceList {
    /// The resources, without subresources.
    pub(super) fn resources(self, group: &str, version: &str) -> Vec<Arc<Resource>> {
        let whole = self.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        whole
            .map(|resource| {
                Arc::new(Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    singular: singular(&resource.singular_name, &resource.kind),
                    kind: resource.kind,
                    plural: resource.name,
                    short_names: resource.short_names,
                    namespaced: resource.namespaced,
                    verbs: resource.verbs,
                })
            })
            .collect()
    }
}

/// Built-in kinds of older servers do not say their singular.
fn singular(said: &str, kind: &str) -> String {
    if said.is_empty() { kind.to_ascii_lowercase() } else { said.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_name_a_well_known_kind_means_the_same() {
        let cache = Cache::default();
        for name in ["deployments", "deployment", "deploy", "Deployment", "deployments.apps", "deployments.v1.apps"] {
            assert_eq!(cache.find(&Name::parse(name)).unwrap().kind, "Deployment", "{name}");
        }
        for name in ["apps/v1/Deployment", "apps/v1/deployments"] {
            assert_eq!(cache.find(&Name::parse(name)).unwrap().plural, "deployments", "{name}");
        }
        assert_eq!(cache.find(&Name::parse("v1/Pod")).unwrap().base_path(), "/api/v1");
        assert!(cache.find(&Name::parse("pods.metrics.k8s.io")).is_none());
        assert!(cache.find(&Name::parse("apps/v1beta1/Deployment")).is_none());
        assert!(cache.find(&Name::parse("eniconfigs")).is_none());
    }

    #[test]
    fn aggregated_discovery_keeps_the_servers_order() {
        let groups: Groups = serde_json::from_value(json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [{ "metadata": { "name": "autoscaling" }, "versions": [
                { "version": "v2", "freshness": "Current", "resources": [{
                    "resource": "horizontalpodautoscalers", "scope": "Namespaced", "singularResource": "horizontalpodautoscaler",
                    "responseKind": { "group": "autoscaling", "version": "v2", "kind": "HorizontalPodAutoscaler" },
                    "verbs": ["get"], "shortNames": ["hpa"],
                    "subresources": [{ "subresource": "status", "responseKind": null, "verbs": ["get"] }] }] },
                { "version": "v1", "resources": [{
                    "resource": "horizontalpodautoscalers", "scope": "Namespaced",
                    "responseKind": { "kind": "HorizontalPodAutoscaler" } }] },
            ] }],
        }))
        .unwrap();
        let resources = groups.aggregated().unwrap();
        assert_eq!(Name::parse("hpa").find(&resources).unwrap().version, "v2");
        let old = Name::parse("autoscaling/v1/HorizontalPodAutoscaler").find(&resources).unwrap();
        assert_eq!((old.version.as_str(), old.singular.as_str()), ("v1", "horizontalpodautoscaler"));
    }

    #[test]
    fn an_old_server_is_asked_group_by_group() {
        let groups: Groups = serde_json::from_value(json!({
            "kind": "APIGroupList", "groups": [{
                "name": "batch", "preferredVersion": { "groupVersion": "batch/v1", "version": "v1" },
                "versions": [{ "groupVersion": "batch/v1beta1", "version": "v1beta1" }, { "groupVersion": "batch/v1", "version": "v1" }],
            }],
        }))
        .unwrap();
        assert!(groups.aggregated().is_none());
        assert_eq!(groups.to_ask(), [("batch".into(), "v1".into()), ("batch".into(), "v1beta1".into())]);
        let list: ResourceList = serde_json::from_value(json!({ "kind": "APIResourceList", "resources": [
            { "name": "cronjobs", "singularName": "", "namespaced": true, "kind": "CronJob", "verbs": ["get"], "shortNames": ["cj"] },
            { "name": "cronjobs/status", "singularName": "", "namespaced": true, "kind": "CronJob", "verbs": ["get"] },
        ] }))
        .unwrap();
        let resources = list.resources("batch", "v1beta1");
        assert_eq!(resources.len(), 1);
        assert_eq!(Name::parse("cronjob").find(&resources).unwrap().api_version(), "batch/v1beta1");
    }
}
