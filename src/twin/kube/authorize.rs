//! Who may do what: access policies of EKS, and RBAC as the store holds it.

use serde_json::{Value, json};

use super::Problem;
use super::kinds::Served;
use super::request::Ask;
use super::status::{forbidden, forbidden_path};
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

/// Refuses what this identity may not do.
pub fn check(store: &Store, who: &Identity, served: &Served, wish: &Wish<'_>) -> Result<(), Problem> {
    if allows(store, who, wish) {
        return Ok(());
    }
    let resource = match wish.subresource {
        "" => wish.plural.to_owned(),
        subresource => format!("{}/{subresource}", wish.plural),
    };
    let place = match wish.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let why = format!(
        "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        who.username, wish.verb, wish.group
    );
    Err(forbidden(served, wish.name, &why))
}

/// Refuses a path that means no objects to who may not look at it: everybody who is known may see what is served.
pub fn check_path(who: &Identity, ask: &Ask<'_>) -> Result<(), Problem> {
    let open = ["api", "apis", "healthz", "livez", "readyz", "openapi", "version"];
    let is_open =
        ask.path.first().is_some_and(|first| open.contains(&first.as_str())) && ask.method == http::Method::GET;
    let is_master = who.groups.iter().any(|group| group == "system:masters") || !who.policies.is_empty();
    if is_open || is_master {
        return Ok(());
    }
    let verb = ask.method.as_str().to_ascii_lowercase();
    Err(forbidden_path(&who.username, &verb, &format!("/{}", ask.path.join("/"))))
}

/// Whether this identity may do this.
pub fn allows(store: &Store, who: &Identity, wish: &Wish<'_>) -> bool {
    let is_own_review = wish.verb == "create"
        && matches!(wish.plural, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews");
    is_own_review
        || who.groups.iter().any(|group| group == "system:masters" || group == "system:nodes")
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
    let whole = store.list(CLUSTER_BINDINGS).values();
    if whole.filter(|binding| names(binding, who)).any(|binding| grants(store, binding, wish)) {
        return true;
    }
    let here = store
        .list(BINDINGS)
        .values()
        .filter(|binding| !wish.namespace.is_empty() && binding["metadata"]["namespace"] == wish.namespace);
    here.filter(|binding| names(binding, who)).any(|binding| grants(store, binding, wish))
}

/// Whether a binding is for this identity.
fn names(binding: &Value, who: &Identity) -> bool {
    binding["subjects"].as_array().into_iter().flatten().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == who.username,
            Some("Group") => name == "system:authenticated" || who.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                who.username == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn grants(store: &Store, binding: &Value, wish: &Wish<'_>) -> bool {
    let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
    let role = if binding["roleRef"]["kind"] == "ClusterRole" {
        store.get(CLUSTER_ROLES, name)
    } else {
        let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        store.get(ROLES, &format!("{namespace}/{name}"))
    };
    role.is_some_and(|role| role["rules"].as_array().into_iter().flatten().any(|rule| permits(rule, wish)))
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

/// The answer to a review of access.
pub fn review(store: &Store, who: &Identity, mut review: Value) -> Value {
    let spec = review["spec"].clone();
    let other = Identity {
        username: spec["user"].as_str().unwrap_or(&who.username).to_owned(),
        groups: spec["groups"].as_array().map_or_else(
            || if spec["user"].is_string() { Vec::new() } else { who.groups.clone() },
            |groups| groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        ),
        policies: if spec["user"].is_string() { Vec::new() } else { who.policies.clone() },
    };
    let asked = &spec["resourceAttributes"];
    let text = |key: &str| asked[key].as_str().unwrap_or_default();
    let wish = Wish {
        verb: text("verb"),
        group: text("group"),
        plural: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    };
    let allowed = asked.is_null() || allows(store, &other, &wish);
    review["metadata"] = json!({ "creationTimestamp": null });
    review["status"] = json!({ "allowed": allowed });
    if allowed && !asked.is_null() {
        review["status"]["reason"] = json!("RBAC: allowed");
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
}
