//! Who may do what: access policies of EKS, and RBAC as the store holds it.

use serde_json::{Value, json};

use super::Problem;
use super::identify::ANONYMOUS;
use super::kinds::Served;
use super::status::{self, forbidden};
use super::store::Store;
use crate::twin::physics::access::Identity;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// `get`.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// `pods`.
    pub plural: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for what lives in none, and for all of them.
    pub namespace: &'a str,
    /// Empty for a kind.
    pub name: &'a str,
}

const READS: &[&str] = &["get", "list", "watch"];
const RBAC: &str = "rbac.authorization.k8s.io";
const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

/// Refuses what this identity may not do.
pub fn check(store: &Store, who: &Identity, served: &Served, wish: &Wish<'_>) -> Result<(), Problem> {
    if allows(store, who, wish) { Ok(()) } else { Err(forbidden(served, wish.name, &refusal(who, wish))) }
}

/// Why this identity may not do this, in the words of the API server.
pub fn refusal(who: &Identity, wish: &Wish<'_>) -> String {
    let resource = match wish.subresource {
        "" => wish.plural.to_owned(),
        subresource => format!("{}/{subresource}", wish.plural),
    };
    let place = match wish.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    format!(
        "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        who.username, wish.verb, wish.group
    )
}

/// Whether this identity may do this.
pub fn allows(store: &Store, who: &Identity, wish: &Wish<'_>) -> bool {
    let is_own_review = wish.verb == "create"
        && matches!(wish.plural, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews");
    is_own_review
        || who.groups.iter().any(|group| group == MASTERS || group == "system:nodes")
        || who.policies.iter().any(|(policy, namespaces)| of_policy(policy, namespaces, wish))
        || by_bindings(store, who, wish)
}

/// Whether an access policy of EKS allows it; with namespaces it does so only there.
fn of_policy(policy: &str, namespaces: &[String], wish: &Wish<'_>) -> bool {
    let policy = policy.rsplit('/').next().unwrap_or(policy);
    if !namespaces.is_empty() && !namespaces.iter().any(|pattern| is_like(pattern, wish.namespace)) {
        return false;
    }
    let reads = READS.contains(&wish.verb);
    let is_rbac = wish.group == RBAC;
    let is_namespaced = !wish.namespace.is_empty() || is_of_namespaces(wish);
    match policy {
        "AmazonEKSClusterAdminPolicy" => true,
        "AmazonEKSAdminViewPolicy" => reads,
        "AmazonEKSAdminPolicy" => is_namespaced && (reads || !is_governing(wish)),
        "AmazonEKSEditPolicy" => is_namespaced && !is_rbac && (reads || !is_governing(wish)),
        "AmazonEKSViewPolicy" => is_namespaced && reads && !is_rbac && wish.plural != "secrets",
        "AmazonEKSSecretReaderPolicy" => reads && wish.group.is_empty() && wish.plural == "secrets",
        _ => false,
    }
}

/// What governs a namespace from outside: its members look at it only.
fn is_governing(wish: &Wish<'_>) -> bool {
    matches!(wish.plural, "namespaces" | "resourcequotas" | "limitranges" | "endpointslices" | "endpoints")
        || (wish.plural == "pods" && wish.subresource == "binding")
}

/// A list over all namespaces is one of namespaced objects, too.
fn is_of_namespaces(wish: &Wish<'_>) -> bool {
    super::kinds::built_in()
        .iter()
        .any(|kind| kind.namespaced && kind.plural == wish.plural && kind.group == wish.group)
}

/// `dev-*` is like `dev-a`.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";

fn by_bindings(store: &Store, who: &Identity, wish: &Wish<'_>) -> bool {
    granted_by(store, who, wish).is_some()
}

/// Why RBAC allows it: the binding, its role and whom of these it names.
fn granted_by(store: &Store, who: &Identity, wish: &Wish<'_>) -> Option<String> {
    bindings_of(store, who, wish.namespace).find_map(|(binding, subject)| {
        rules_of(store, binding).any(|rule| permits(rule, wish)).then(|| reason(binding, subject))
    })
}

/// The bindings for this identity that hold in a namespace, each with the subject that names it.
fn bindings_of<'a>(
    store: &'a Store,
    who: &'a Identity,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let whole = store.list(CLUSTER_BINDINGS).values();
    let here = store
        .list(BINDINGS)
        .values()
        .filter(move |binding| !namespace.is_empty() && binding["metadata"]["namespace"] == namespace);
    whole.chain(here).filter_map(|binding| Some((binding, names(binding, who)?)))
}

/// `RBAC: allowed by RoleBinding "edit/team" of ClusterRole "edit" to User "dev"`.
fn reason(binding: &Value, subject: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &binding["metadata"];
    let (of, place) = match metadata["namespace"].as_str() {
        Some(namespace) => ("RoleBinding", format!("/{namespace}")),
        None => ("ClusterRoleBinding", String::new()),
    };
    let subject_name = match subject["kind"].as_str() {
        Some("ServiceAccount") => format!("{}/{}", text(&subject["name"]), text(&subject["namespace"])),
        _ => text(&subject["name"]),
    };
    format!(
        "RBAC: allowed by {of} \"{}{place}\" of {} \"{}\" to {} \"{subject_name}\"",
        text(&metadata["name"]),
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
        text(&subject["kind"]),
    )
}

/// The subject of a binding that names this identity.
fn names<'a>(binding: &'a Value, who: &Identity) -> Option<&'a Value> {
    binding["subjects"].as_array().into_iter().flatten().find(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == who.username,
            Some("Group") => {
                (name == AUTHENTICATED && who.username != ANONYMOUS) || who.groups.iter().any(|group| group == name)
            }
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                who.username == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

/// The rules of the role that a binding binds.
fn rules_of<'a>(store: &'a Store, binding: &Value) -> impl Iterator<Item = &'a Value> + use<'a> {
    let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
    let role = if binding["roleRef"]["kind"] == "ClusterRole" {
        store.get(CLUSTER_ROLES, name)
    } else {
        let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        store.get(ROLES, &format!("{namespace}/{name}"))
    };
    role.and_then(|role| role["rules"].as_array()).into_iter().flatten()
}

fn permits(rule: &Value, wish: &Wish<'_>) -> bool {
    let has = |list: &str, fits: &dyn Fn(&str) -> bool| {
        rule[list].as_array().into_iter().flatten().filter_map(Value::as_str).any(fits)
    };
    let fits = |text: &str| match text.split_once('/') {
        None => text == "*" || (text == wish.plural && wish.subresource.is_empty()),
        Some((plural, subresource)) => (plural == "*" || plural == wish.plural) && subresource == wish.subresource,
    };
    let named =
        rule["resourceNames"].as_array().is_none_or(Vec::is_empty) || has("resourceNames", &|name| name == wish.name);
    has("verbs", &|verb| verb == "*" || verb == wish.verb)
        && has("apiGroups", &|group| group == "*" || group == wish.group)
        && has("resources", &fits)
        && named
}

/// The answer to a review of access. One that asks for another user is about that one alone.
pub fn review(store: &Store, who: &Identity, mut review: Value) -> Value {
    let spec = review["spec"].clone();
    let given = |key: &str| spec[key].as_array().or_else(|| spec["group"].as_array());
    let is_other = spec["user"].is_string() || given("groups").is_some();
    let other = Identity {
        username: spec["user"].as_str().unwrap_or_default().to_owned(),
        groups: given("groups").into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        policies: Vec::new(),
    };
    let who = if is_other { &other } else { who };
    let text = |asked: &Value, key: &str| asked[key].as_str().unwrap_or_default().to_owned();
    let (allowed, reason) = if spec["nonResourceAttributes"].is_object() {
        let asked = &spec["nonResourceAttributes"];
        (reads_path(store, who, &text(asked, "path"), &text(asked, "verb")), None)
    } else {
        let asked = &spec["resourceAttributes"];
        let fields = ["verb", "group", "resource", "subresource", "namespace", "name"].map(|key| text(asked, key));
        let [verb, group, plural, subresource, namespace, name] = fields.each_ref().map(String::as_str);
        let wish = Wish { verb, group, plural, subresource, namespace, name };
        (allows(store, who, &wish), granted_by(store, who, &wish))
    };
    review["metadata"] = json!({});
    review["status"] = json!({ "allowed": allowed });
    let is_master = who.groups.iter().any(|group| group == MASTERS);
    if let Some(reason) = reason.filter(|_| allowed && !is_master) {
        review["status"]["reason"] = json!(reason);
    }
    review
}

/// Refuses a review that asks for nothing, or for too much.
pub fn check_review(plural: &str, namespace: &str, review: &Value) -> Result<(), Problem> {
    let spec = &review["spec"];
    let has = |field: &str| spec[field].is_object();
    let mut wrong = Vec::new();
    match plural {
        "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
            match (has("resourceAttributes"), has("nonResourceAttributes")) {
                (true, true) => {
                    let asked = &spec["nonResourceAttributes"];
                    let text = |field: &str| json!(asked[field].as_str().unwrap_or_default());
                    let shown = format!("{{\"Path\":{},\"Verb\":{}}}", text("path"), text("verb"));
                    let why = "cannot be specified in combination with resourceAttributes";
                    wrong.push(status::Wrong::verbatim("spec.nonResourceAttributes", &shown, why));
                }
                (false, false) => {
                    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                    wrong.push(status::invalid("spec.resourceAttributes", &Value::Null, why));
                }
                _ => {}
            }
        }
        "selfsubjectrulesreviews" if spec["namespace"].as_str().unwrap_or_default().is_empty() => {
            return Err(status::bad_request("no namespace on request"));
        }
        "tokenreviews" if spec["token"].as_str().unwrap_or_default().is_empty() => {
            return Err(status::bad_request("token is required for TokenReview in authentication"));
        }
        _ => {}
    }
    let is_anybody = spec["user"].as_str().unwrap_or_default().is_empty()
        && spec["groups"].as_array().or_else(|| spec["group"].as_array()).is_none_or(Vec::is_empty);
    if is_anybody && matches!(plural, "subjectaccessreviews" | "localsubjectaccessreviews") {
        wrong.push(status::invalid("spec.user", &json!(""), "at least one of user or group must be specified"));
    }
    let asked = &spec["resourceAttributes"]["namespace"];
    if plural == "localsubjectaccessreviews" && asked.as_str().unwrap_or_default() != namespace {
        wrong.push(status::invalid("spec.resourceAttributes.namespace", asked, "must match metadata.namespace"));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => {
            let about = json!({ "group": "authorization.k8s.io" });
            Err(status::invalid_as(".authorization.k8s.io", "", about, &wrong))
        }
    }
}

/// Whether somebody may ask for a path that means no objects.
pub fn reads_path(store: &Store, who: &Identity, path: &str, verb: &str) -> bool {
    let is_in = |pattern: &str| pattern.strip_suffix('*').map_or(pattern == path, |start| path.starts_with(start));
    let fits = |rule: &Value| {
        let has = |list: &str, fits: &dyn Fn(&str) -> bool| {
            rule[list].as_array().into_iter().flatten().filter_map(Value::as_str).any(fits)
        };
        has("nonResourceURLs", &is_in) && has("verbs", &|one| one == "*" || one == verb)
    };
    who.groups.iter().any(|group| group == MASTERS)
        || bindings_of(store, who, "").any(|(binding, _)| rules_of(store, binding).any(fits))
}

/// The answer to a review of all that one may in a namespace.
pub fn rules(store: &Store, who: &Identity, mut review: Value) -> Value {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default().to_owned();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    if who.groups.iter().any(|group| group == MASTERS) {
        resources.push(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }));
        paths.push(json!({ "verbs": ["*"], "nonResourceURLs": ["*"] }));
    }
    for (binding, _) in bindings_of(store, who, &namespace) {
        for rule in rules_of(store, binding) {
            let rows = if rule["nonResourceURLs"].is_null() { &mut resources } else { &mut paths };
            if !rows.contains(rule) {
                rows.push(rule.clone());
            }
        }
    }
    review["metadata"] = json!({});
    review["spec"] = json!({});
    review["status"] = json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false });
    // What access policies allow does not stand in any rule of the cluster.
    if !who.policies.is_empty() {
        review["status"]["incomplete"] = json!(true);
        review["status"]["evaluationError"] = json!("webhook authorizer does not support user rule resolution");
    }
    review
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(verb: &'static str, plural: &'static str, namespace: &'static str) -> Wish<'static> {
        Wish { verb, group: "", plural, subresource: "", namespace, name: "" }
    }

    fn with_policy(name: &str, namespaces: &[&str]) -> Identity {
        let namespaces = namespaces.iter().map(|&one| one.to_owned()).collect();
        Identity { username: "dev".to_owned(), groups: Vec::new(), policies: vec![(name.to_owned(), namespaces)] }
    }

    #[test]
    fn policies_of_eks_allow_what_they_are_named_for() {
        let store = Store::default();
        let rows = [
            ("AmazonEKSClusterAdminPolicy", &[][..], wish("delete", "nodes", ""), true),
            ("AmazonEKSViewPolicy", &[], wish("list", "pods", ""), true),
            ("AmazonEKSViewPolicy", &[], wish("get", "secrets", "team"), false),
            ("AmazonEKSViewPolicy", &[], wish("list", "nodes", ""), false),
            ("AmazonEKSEditPolicy", &["dev-*"], wish("create", "pods", "dev-a"), true),
            ("AmazonEKSEditPolicy", &["dev-*"], wish("create", "pods", "prod"), false),
            ("AmazonEKSAdminViewPolicy", &[], wish("get", "secrets", "team"), true),
            ("AmazonEKSAdminViewPolicy", &[], wish("delete", "secrets", "team"), false),
        ];
        for (policy, namespaces, wish, allowed) in rows {
            assert_eq!(allows(&store, &with_policy(policy, namespaces), &wish), allowed, "{policy} {wish:?}");
        }
    }

    #[test]
    fn a_role_binding_holds_in_its_namespace_only() {
        let mut store = Store::default();
        store.create(
            CLUSTER_ROLES,
            json!({ "metadata": { "name": "pods" },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] }] }),
        );
        store.create(
            BINDINGS,
            json!({ "metadata": { "name": "b", "namespace": "team" },
            "roleRef": { "kind": "ClusterRole", "name": "pods" }, "subjects": [{ "kind": "User", "name": "dev" }] }),
        );
        let who = Identity { username: "dev".to_owned(), groups: Vec::new(), policies: Vec::new() };
        assert!(allows(&store, &who, &wish("list", "pods", "team")));
        assert!(!allows(&store, &who, &wish("list", "pods", "other")));
        assert!(!allows(&store, &who, &wish("delete", "pods", "team")));
        assert!(!allows(&store, &who, &Wish { subresource: "log", ..wish("get", "pods", "team") }));
    }

    fn bound(subject: Value) -> Store {
        let mut store = Store::default();
        let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
            { "nonResourceURLs": ["/healthz/*"], "verbs": ["get"] }]);
        store.create(CLUSTER_ROLES, json!({ "metadata": { "name": "look" }, "rules": rules }));
        let binding = json!({ "metadata": { "name": "all" }, "roleRef": { "kind": "ClusterRole", "name": "look" },
            "subjects": [subject] });
        store.create(CLUSTER_BINDINGS, binding);
        store
    }

    #[test]
    fn a_review_says_by_which_binding() {
        let store = bound(json!({ "kind": "Group", "name": "lookers" }));
        let master = Identity { username: "me".to_owned(), groups: vec![MASTERS.to_owned()], policies: Vec::new() };
        let ask = |spec: Value| review(&store, &master, json!({ "spec": spec }))["status"].clone();
        let pods = json!({ "verb": "get", "resource": "pods" });
        assert_eq!(ask(json!({ "resourceAttributes": pods })), json!({ "allowed": true }));
        let why = "RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"look\" to Group \"lookers\"";
        let other = ask(json!({ "resourceAttributes": pods, "user": "dev", "groups": ["lookers"] }));
        assert_eq!(other, json!({ "allowed": true, "reason": why }));
        assert_eq!(ask(json!({ "resourceAttributes": pods, "user": "dev" })), json!({ "allowed": false }));
        let path = |path: &str| json!({ "nonResourceAttributes": { "verb": "get", "path": path }, "user": "dev", "groups": ["lookers"] });
        assert_eq!(ask(path("/healthz/etcd"))["allowed"], true);
        assert_eq!(ask(path("/metrics"))["allowed"], false);
    }

    #[test]
    fn all_that_one_may_is_listed_once() {
        let store = bound(json!({ "kind": "User", "name": "dev" }));
        let mut who = Identity { username: "dev".to_owned(), groups: Vec::new(), policies: Vec::new() };
        let ask = |who: &Identity| rules(&store, who, json!({ "spec": { "namespace": "default" } }))["status"].clone();
        let status = ask(&who);
        assert_eq!(status["resourceRules"], json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]));
        assert_eq!(status["nonResourceRules"][0]["nonResourceURLs"], json!(["/healthz/*"]));
        assert_eq!(status["incomplete"], false);
        who.policies.push(("AmazonEKSViewPolicy".to_owned(), Vec::new()));
        assert_eq!(ask(&who)["incomplete"], true);
    }
}
