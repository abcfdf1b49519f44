//! Which kinds an API server serves: those built in, in one table, and those of the definitions that its store holds.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::Value;

use super::store::Store;

/// A kind of object under one group and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// API group; empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `deploy`.
    pub short_names: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What may be done with it.
    pub verbs: Vec<String>,
    /// `status`, `scale`, ….
    pub subresources: Vec<String>,
    /// The name of its table in the store: `deployments.apps`.
    pub table: String,
    /// Whether a definition in the store makes it so.
    pub custom: bool,
}

/// A kind, borrowed from the table or made from a definition.
pub type Found = Cow<'static, Served>;

impl Served {
    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, as messages name the resource.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Deployment.apps`, as messages about invalid objects name the kind.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether it has this subresource.
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|one| one == subresource)
    }

    /// Whether this can be done with it.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }
}

/// What can be done with objects that are stored.
const STORED: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// What can be done with a question that is answered and not stored.
const ASKED: &[&str] = &["create"];

struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    all: bool,
    namespaced: bool,
    verbs: &'static [&'static str],
    subresources: &'static [&'static str],
}

/// In no namespace.
const C: bool = false;
/// In namespaces.
const N: bool = true;

const fn row(
    api: (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    subresources: &'static [&'static str],
) -> Row {
    Row { group: api.0, version: api.1, kind, plural, short, all: false, namespaced, verbs: STORED, subresources }
}

const fn all(mut row: Row) -> Row {
    row.all = true;
    row
}

const fn asked(api: (&'static str, &'static str), kind: &'static str, plural: &'static str, namespaced: bool) -> Row {
    Row {
        group: api.0,
        version: api.1,
        kind,
        plural,
        short: &[],
        all: false,
        namespaced,
        verbs: ASKED,
        subresources: &[],
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");
const POLICY: (&str, &str) = ("policy", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const DEVICES: (&str, &str) = ("resource.k8s.io", "v1");
const FLOW: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1");
const AUTHORIZATION: (&str, &str) = ("authorization.k8s.io", "v1");
const AUTHENTICATION: (&str, &str) = ("authentication.k8s.io", "v1");
const STATUS: &[&str] = &["status"];
const SCALED: &[&str] = &["scale", "status"];
const PLAIN: &[&str] = &[];

/// Every kind that is built in. Groups stand in the order in which servers prefer them.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { verbs: ASKED, ..row(CORE, "Binding", "bindings", &[], N, PLAIN) },
    Row { verbs: &["get", "list"], ..row(CORE, "ComponentStatus", "componentstatuses", &["cs"], C, PLAIN) },
    row(CORE, "ConfigMap", "configmaps", &["cm"], N, PLAIN),
    row(CORE, "Endpoints", "endpoints", &["ep"], N, PLAIN),
    row(CORE, "Event", "events", &["ev"], N, PLAIN),
    row(CORE, "LimitRange", "limitranges", &["limits"], N, PLAIN),
    Row { verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        ..row(CORE, "Namespace", "namespaces", &["ns"], C, &["finalize", "status"]) },
    row(CORE, "Node", "nodes", &["no"], C, STATUS),
    row(CORE, "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], N, STATUS),
    row(CORE, "PersistentVolume", "persistentvolumes", &["pv"], C, STATUS),
    all(row(CORE, "Pod", "pods", &["po"], N, &["binding", "ephemeralcontainers", "eviction", "log", "resize", "status"])),
    row(CORE, "PodTemplate", "podtemplates", &[], N, PLAIN),
    all(row(CORE, "ReplicationController", "replicationcontrollers", &["rc"], N, SCALED)),
    row(CORE, "ResourceQuota", "resourcequotas", &["quota"], N, STATUS),
    row(CORE, "Secret", "secrets", &[], N, PLAIN),
    row(CORE, "ServiceAccount", "serviceaccounts", &["sa"], N, &["token"]),
    all(row(CORE, "Service", "services", &["svc"], N, STATUS)),
    row(("apiregistration.k8s.io", "v1"), "APIService", "apiservices", &[], C, STATUS),
    row(APPS, "ControllerRevision", "controllerrevisions", &[], N, PLAIN),
    all(row(APPS, "DaemonSet", "daemonsets", &["ds"], N, STATUS)),
    all(row(APPS, "Deployment", "deployments", &["deploy"], N, SCALED)),
    all(row(APPS, "ReplicaSet", "replicasets", &["rs"], N, SCALED)),
    all(row(APPS, "StatefulSet", "statefulsets", &["sts"], N, SCALED)),
    row(("events.k8s.io", "v1"), "Event", "events", &["ev"], N, PLAIN),
    asked(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", C),
    asked(AUTHENTICATION, "TokenReview", "tokenreviews", C),
    asked(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", N),
    asked(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", C),
    asked(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", C),
    asked(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", C),
    all(row(("autoscaling", "v2"), "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], N, STATUS)),
    all(row(("autoscaling", "v1"), "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], N, STATUS)),
    all(row(BATCH, "CronJob", "cronjobs", &["cj"], N, STATUS)),
    all(row(BATCH, "Job", "jobs", &[], N, STATUS)),
    row(("certificates.k8s.io", "v1"), "CertificateSigningRequest", "certificatesigningrequests", &["csr"], C, &["approval", "status"]),
    row(NETWORKING, "Ingress", "ingresses", &["ing"], N, STATUS),
    row(NETWORKING, "IngressClass", "ingressclasses", &[], C, PLAIN),
    row(NETWORKING, "IPAddress", "ipaddresses", &["ip"], C, PLAIN),
    row(NETWORKING, "NetworkPolicy", "networkpolicies", &["netpol"], N, PLAIN),
    row(NETWORKING, "ServiceCIDR", "servicecidrs", &[], C, STATUS),
    row(POLICY, "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], N, STATUS),
    row(RBAC, "ClusterRole", "clusterroles", &[], C, PLAIN),
    row(RBAC, "ClusterRoleBinding", "clusterrolebindings", &[], C, PLAIN),
    row(RBAC, "Role", "roles", &[], N, PLAIN),
    row(RBAC, "RoleBinding", "rolebindings", &[], N, PLAIN),
    row(STORAGE, "CSIDriver", "csidrivers", &[], C, PLAIN),
    row(STORAGE, "CSINode", "csinodes", &[], C, PLAIN),
    row(STORAGE, "CSIStorageCapacity", "csistoragecapacities", &[], N, PLAIN),
    row(STORAGE, "StorageClass", "storageclasses", &["sc"], C, PLAIN),
    row(STORAGE, "VolumeAttachment", "volumeattachments", &[], C, STATUS),
    row(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", &["vac"], C, PLAIN),
    row(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], C, PLAIN),
    row(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[], C, STATUS),
    row(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &[], C, PLAIN),
    row(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], C, PLAIN),
    row(("apiextensions.k8s.io", "v1"), "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], C, STATUS),
    row(("scheduling.k8s.io", "v1"), "PriorityClass", "priorityclasses", &["pc"], C, PLAIN),
    row(("coordination.k8s.io", "v1"), "Lease", "leases", &[], N, PLAIN),
    row(("node.k8s.io", "v1"), "RuntimeClass", "runtimeclasses", &[], C, PLAIN),
    row(("discovery.k8s.io", "v1"), "EndpointSlice", "endpointslices", &[], N, PLAIN),
    row(DEVICES, "DeviceClass", "deviceclasses", &[], C, PLAIN),
    row(DEVICES, "ResourceClaim", "resourceclaims", &[], N, STATUS),
    row(DEVICES, "ResourceClaimTemplate", "resourceclaimtemplates", &[], N, PLAIN),
    row(DEVICES, "ResourceSlice", "resourceslices", &[], C, PLAIN),
    row(FLOW, "FlowSchema", "flowschemas", &[], C, STATUS),
    row(FLOW, "PriorityLevelConfiguration", "prioritylevelconfigurations", &[], C, STATUS),
];

static BUILT_IN: LazyLock<Vec<Served>> = LazyLock::new(|| ROWS.iter().map(Row::served).collect());

impl Row {
    fn served(&self) -> Served {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let group = if self.group == "events.k8s.io" { "" } else { self.group };
        let table = if group.is_empty() { self.plural.to_owned() } else { format!("{}.{group}", self.plural) };
        let mut categories = Vec::new();
        if self.all {
            categories.push("all".to_owned());
        }
        if self.group == ADMISSION.0 || self.kind == "CustomResourceDefinition" || self.kind == "APIService" {
            categories.push("api-extensions".to_owned());
        }
        Served {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_ascii_lowercase(),
            short_names: texts(self.short),
            categories,
            namespaced: self.namespaced,
            verbs: texts(self.verbs),
            subresources: texts(self.subresources),
            table,
            custom: false,
        }
    }
}

/// The kinds that are built in, in the order of the server.
pub fn built_in() -> &'static [Served] {
    &BUILT_IN
}

/// The table of definitions.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// All kinds that a server serves now.
pub fn all_of(store: &Store) -> Vec<Found> {
    let custom = store.list(DEFINITIONS).values().flat_map(of_definition).map(Cow::Owned);
    BUILT_IN.iter().map(Cow::Borrowed).chain(custom).collect()
}

/// The kind behind a path.
pub fn find(store: &Store, group: &str, version: &str, plural: &str) -> Option<Found> {
    let fits = |one: &Served| one.plural == plural && one.group == group && one.version == version;
    if let Some(found) = BUILT_IN.iter().find(|one| fits(one)) {
        return Some(Cow::Borrowed(found));
    }
    let definition = store.get(DEFINITIONS, &format!("{plural}.{group}"))?;
    of_definition(definition).into_iter().find(fits).map(Cow::Owned)
}

/// The kind of an object.
pub fn of_object(store: &Store, api_version: &str, kind: &str) -> Option<Found> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let fits = |one: &Served| one.kind == kind && one.group == group && one.version == version;
    if let Some(found) = BUILT_IN.iter().find(|one| fits(one)) {
        return Some(Cow::Borrowed(found));
    }
    let ours = store.list(DEFINITIONS).values().filter(|definition| definition["spec"]["group"] == group);
    ours.flat_map(of_definition).find(fits).map(Cow::Owned)
}

/// The kind behind a table of the store.
pub fn of_table(store: &Store, table: &str) -> Option<Found> {
    if let Some(found) = BUILT_IN.iter().find(|one| one.table == table) {
        return Some(Cow::Borrowed(found));
    }
    of_definition(store.get(DEFINITIONS, table)?).into_iter().next().map(Cow::Owned)
}

/// The kinds that a definition makes: one for each version that is served, the preferred one first.
fn of_definition(definition: &Value) -> Vec<Served> {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let names = if names.is_object() { names } else { &spec["names"] };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (plural, group, kind) = (text(&names["plural"]), text(&spec["group"]), text(&names["kind"]));
    let mut versions: Vec<&Value> =
        spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(rank(version["name"].as_str().unwrap_or_default())));
    let served = versions.into_iter().map(|version| Served {
        group: group.clone(),
        version: text(&version["name"]),
        kind: kind.clone(),
        plural: plural.clone(),
        singular: names["singular"].as_str().map_or_else(|| kind.to_ascii_lowercase(), str::to_owned),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
            .map(str::to_owned)
            .to_vec(),
        subresources: ["scale", "status"]
            .into_iter()
            .filter(|name| version["subresources"][name].is_object())
            .map(str::to_owned)
            .collect(),
        table: format!("{plural}.{group}"),
        custom: true,
    });
    served.collect()
}

/// How much a version is preferred: `v2` before `v1` before `v1beta1`, others last.
fn rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let Ok(major) = digits.parse() else { return (0, 0, 0) };
    let tail = &rest[digits.len()..];
    let number = |text: &str| text.parse().unwrap_or(0);
    match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        _ if tail.is_empty() => (3, major, 0),
        (Some(minor), _) => (2, major, number(minor)),
        (_, Some(minor)) => (1, major, number(minor)),
        _ => (0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_preferred_to_its_betas() {
        let mut versions = ["v1alpha1", "v1", "foo", "v2beta1", "v1beta1", "v2"];
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        assert_eq!(versions, ["v2", "v1", "v2beta1", "v1beta1", "v1alpha1", "foo"]);
    }

    #[test]
    fn every_stored_kind_has_a_table_of_its_own_but_events() {
        let mut tables: Vec<&str> = built_in().iter().map(|one| one.table.as_str()).collect();
        tables.sort_unstable();
        let twice: Vec<&str> = tables.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert_eq!(twice, ["events", "horizontalpodautoscalers.autoscaling"]);
    }
}
