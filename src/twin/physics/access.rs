//! Who a caller is to the API server of a cluster: access entries, then aws-auth as the authenticator parses it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::selection::{list, text};
use crate::twin::world::World;

/// A user of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The Kubernetes user name.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// EKS access policies: name (`AmazonEKSClusterAdminPolicy`) and namespaces, none for the whole cluster.
    pub policies: Vec<(String, Vec<String>)>,
}

/// The user that an ARN maps to; `None`: the API server answers 401. `arn` may be of an assumed role's session; of a
/// node it is its role's ARN with the instance id as session.
pub fn identity(world: &World, cluster: &str, arn: &str) -> Option<Identity> {
    Directory::of(world, cluster).identity(world, arn)
}

/// Who is mapped in one cluster; read once to look up many.
pub struct Directory {
    mode: String,
    creator: String,
    /// Access entries with their principals in lower case and without path: session ARNs have none.
    entries: BTreeMap<String, Vec<Value>>,
    roles: BTreeMap<String, Mapped>,
    sso: Vec<(String, Mapped)>,
    users: BTreeMap<String, Mapped>,
    accounts: Vec<String>,
}

#[derive(Clone, Debug)]
struct Mapped {
    username: String,
    groups: Vec<String>,
}

impl Directory {
    /// Of a cluster, as it is now.
    pub fn of(world: &World, cluster: &str) -> Directory {
        let found = world.find("eks/clusters", cluster);
        let mode = found.and_then(|found| found["access_config"]["authentication_mode"].as_str());
        let creator = found.map_or("", |found| text(found, "_creator"));
        let mut directory = Directory {
            mode: mode.unwrap_or("CONFIG_MAP").to_owned(),
            creator: canonical(creator).0,
            entries: BTreeMap::new(),
            roles: BTreeMap::new(),
            sso: Vec::new(),
            users: BTreeMap::new(),
            accounts: Vec::new(),
        };
        directory.read_entries(world, cluster);
        if directory.mode != "API"
            && let Some(map) = world.store(cluster).and_then(|store| store.get("configmaps", "kube-system/aws-auth"))
        {
            directory.read_aws_auth(&map["data"]);
        }
        directory
    }

    fn read_entries(&mut self, world: &World, cluster: &str) {
        if self.mode == "CONFIG_MAP" {
            return;
        }
        let within = format!("{cluster}/");
        let entries = world.table("eks/access_entries").range(within.clone()..);
        for (_, entry) in entries.take_while(|(id, _)| id.starts_with(&within)) {
            let principal = without_path(text(entry, "principal_arn")).to_lowercase();
            self.entries.entry(principal).or_default().push(entry.clone());
        }
    }

    fn read_aws_auth(&mut self, data: &Value) {
        for item in items(data, "mapRoles") {
            let (arn, sso) = (text(&item, "rolearn"), item.get("sso").filter(|sso| sso.is_object()));
            match (arn.is_empty(), sso) {
                // Exactly one of the two; of a role mapped twice the last item counts.
                (false, None) => {
                    self.roles.insert(arn.to_lowercase(), mapped(&item));
                }
                (true, Some(sso)) => self.sso.push((sso_prefix(sso), mapped(&item))),
                _ => {}
            }
        }
        for item in items(data, "mapUsers").into_iter().filter(|item| !text(item, "userarn").is_empty()) {
            self.users.insert(text(&item, "userarn").to_owned(), mapped(&item));
        }
        self.accounts = parsed(data, "mapAccounts").iter().filter_map(account).collect();
    }

    /// The user that an ARN maps to.
    pub fn identity(&self, world: &World, arn: &str) -> Option<Identity> {
        let (principal, session) = canonical(arn);
        if self.mode != "CONFIG_MAP"
            && let Some(entry) = self.entry_of(world, &principal)
        {
            return from_entry(world, entry, &principal, &session);
        }
        if self.mode == "CONFIG_MAP" && !principal.is_empty() && principal == self.creator {
            // EKS keeps it apart from aws-auth, so nobody can lock the creator out.
            let username = "kubernetes-admin".to_owned();
            return Some(Identity { username, groups: vec!["system:masters".to_owned()], policies: Vec::new() });
        }
        if self.mode == "API" {
            return None;
        }
        let lower = principal.to_lowercase();
        let sso = || self.sso.iter().rev().find(|(prefix, _)| lower.starts_with(prefix)).map(|(_, mapped)| mapped);
        if let Some(mapped) = self.roles.get(&lower).or_else(sso).or_else(|| self.users.get(&principal)) {
            let username = filled(world, &mapped.username, &principal, &session)?;
            let groups: Option<Vec<String>> =
                mapped.groups.iter().map(|group| filled(world, group, &principal, &session)).collect();
            return Some(Identity { username, groups: groups?, policies: Vec::new() });
        }
        let account = principal.split(':').nth(4).unwrap_or_default();
        let is_known = self.accounts.iter().any(|known| known == account);
        is_known.then(|| Identity { username: principal.clone(), groups: Vec::new(), policies: Vec::new() })
    }

    /// The entry of a principal. Two roles may differ only in their path; then the one that exists counts.
    fn entry_of(&self, world: &World, principal: &str) -> Option<&Value> {
        let entries = self.entries.get(&principal.to_lowercase())?;
        let name = principal.rsplit('/').next().unwrap_or_default();
        let real = world.find("iam/roles", name).map(|role| text(role, "arn"));
        let named = real.and_then(|real| entries.iter().find(|entry| text(entry, "principal_arn") == real));
        match real {
            Some(real) if principal.contains(":role/") && !real.is_empty() => named,
            _ => entries.first(),
        }
    }
}

/// The ARN of IAM that a caller's ARN means, without path, and its session.
fn canonical(arn: &str) -> (String, String) {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, "sts", _, account, resource] = parts[..] else { return (without_path(arn), String::new()) };
    let mut pieces = resource.splitn(3, '/');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some("assumed-role"), Some(role), session) => {
            (format!("arn:{partition}:iam::{account}:role/{role}"), session.unwrap_or_default().to_owned())
        }
        _ => (arn.to_owned(), String::new()),
    }
}

/// An ARN of a role without its path; other ARNs as they are.
fn without_path(arn: &str) -> String {
    match arn.split_once(":role/") {
        Some((head, name)) => format!("{head}:role/{}", name.rsplit('/').next().unwrap_or(name)),
        None => arn.to_owned(),
    }
}

fn from_entry(world: &World, entry: &Value, principal: &str, session: &str) -> Option<Identity> {
    let node = match text(entry, "type") {
        "EC2_LINUX" | "EC2_WINDOWS" => Some("system:node:{{EC2PrivateDNSName}}"),
        "EC2" | "FARGATE_LINUX" | "HYBRID_LINUX" | "HYPERPOD_LINUX" => Some("system:node:{{SessionName}}"),
        _ => None,
    };
    let role = principal.rsplit('/').next().unwrap_or_default();
    let usual = match node {
        Some(node) => node.to_owned(),
        None if principal.contains(":role/") => {
            let account = principal.split(':').nth(4).unwrap_or_default();
            format!("arn:aws:sts::{account}:assumed-role/{role}/{{{{SessionName}}}}")
        }
        None => principal.to_owned(),
    };
    let named = text(entry, "username");
    let username = filled(world, if named.is_empty() { &usual } else { named }, principal, session)?;
    let mut groups: Vec<String> = strings(&entry["kubernetes_groups"]);
    if node.is_some() && !groups.iter().any(|group| group == "system:nodes") {
        groups.push("system:nodes".to_owned());
    }
    Some(Identity { username, groups, policies: list(&entry["_policies"]).iter().map(policy).collect() })
}

fn policy(associated: &Value) -> (String, Vec<String>) {
    let name = text(associated, "policy_arn").rsplit('/').next().unwrap_or_default();
    let scope = &associated["access_scope"];
    let namespaces = if text(scope, "type") == "namespace" { strings(&scope["namespaces"]) } else { Vec::new() };
    (name.to_owned(), namespaces)
}

/// A user name or group with what its placeholders stand for; `None` where one can not be filled.
fn filled(world: &World, template: &str, principal: &str, session: &str) -> Option<String> {
    let mut text = template.replace("{{SessionName}}", &session.replace('@', "-"));
    text = text.replace("{{SessionNameRaw}}", session);
    text = text.replace("{{AccountID}}", principal.split(':').nth(4).unwrap_or_default());
    if text.contains("{{EC2PrivateDNSName}}") {
        let instance = world.find("ec2/instances", session)?;
        text = text.replace("{{EC2PrivateDNSName}}", instance["private_dns_name"].as_str()?);
    }
    Some(text)
}

/// The items of a key of aws-auth, their field names in lower case: the authenticator reads them so.
fn items(data: &Value, key: &str) -> Vec<Value> {
    let maps = parsed(data, key).into_iter().filter_map(|item| match item {
        Value::Object(map) => Some(map),
        _ => None,
    });
    maps.map(|map| {
        let lower: Map<String, Value> = map.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
        Value::Object(lower)
    })
    .collect()
}

/// A key of aws-auth. What is malformed maps nobody of this key, and says so nowhere.
fn parsed(data: &Value, key: &str) -> Vec<Value> {
    let written = text(data, key).trim();
    if matches!(written, "" | "``" | "\"\"" | "''") {
        return Vec::new();
    }
    serde_yaml::from_str(written).unwrap_or_default()
}

fn mapped(item: &Value) -> Mapped {
    Mapped { username: text(item, "username").to_owned(), groups: strings(&item["groups"]) }
}

fn sso_prefix(sso: &Value) -> String {
    let field = |name: &str| {
        let fields = sso.as_object().into_iter().flatten();
        let found = fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| account(value)).unwrap_or_default()
    };
    let partition = Some(field("partition")).filter(|partition| !partition.is_empty());
    let (set, account) = (field("permissionsetname"), field("accountid"));
    let partition = partition.as_deref().unwrap_or("aws");
    format!("arn:{partition}:iam::{account}:role/awsreservedsso_{set}_").to_lowercase()
}

fn account(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ACCOUNT: &str = "123456789012";

    fn world(mode: &str, aws_auth: Value) -> World {
        let mut world = World::new(1).unwrap();
        let creator = format!("arn:aws:sts::{ACCOUNT}:assumed-role/maker/me");
        world.put(
            "eks/clusters",
            "prod",
            json!({ "name": "prod", "access_config": { "authentication_mode": mode }, "_creator": creator }),
        );
        world.start_server("prod");
        let map = json!({ "metadata": { "name": "aws-auth", "namespace": "kube-system" }, "data": aws_auth });
        world.store_mut("prod").unwrap().create("configmaps", map);
        world
    }

    fn roles(text: &str) -> Value {
        json!({ "mapRoles": text })
    }

    fn session(role: &str, name: &str) -> String {
        format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}")
    }

    fn user(world: &World, role: &str) -> Option<String> {
        identity(world, "prod", &session(role, "ann@home")).map(|found| found.username)
    }

    fn entry(world: &mut World, principal: &str, mut entry: Value) {
        entry["principal_arn"] = json!(principal);
        world.put("eks/access_entries", &format!("prod/{principal}"), entry);
    }

    #[test]
    fn a_malformed_key_maps_nobody_of_that_key_only() {
        let data = json!({
            "mapRoles": "- rolearn: [",
            "mapUsers": format!("- userarn: arn:aws:iam::{ACCOUNT}:user/Bob\n  username: bob\n  groups: [dev]"),
        });
        let world = world("CONFIG_MAP", data);
        assert_eq!(user(&world, "node"), None);
        let bob = identity(&world, "prod", &format!("arn:aws:iam::{ACCOUNT}:user/Bob")).unwrap();
        assert_eq!((bob.username.as_str(), bob.groups), ("bob", vec!["dev".to_owned()]));
        assert_eq!(identity(&world, "prod", &format!("arn:aws:iam::{ACCOUNT}:user/bob")), None);
    }

    #[test]
    fn a_role_mapped_with_a_path_never_matches() {
        let world =
            world("CONFIG_MAP", roles("- {rolearn: 'arn:aws:iam::123456789012:role/teams/ops', username: ops}"));
        assert_eq!(user(&world, "ops"), None);
    }

    #[test]
    fn roles_are_compared_without_case_and_the_last_of_two_wins() {
        let text = "- {RoleArn: 'arn:aws:iam::123456789012:role/OPS', Username: first}\n\
                    - {rolearn: 'arn:aws:iam::123456789012:role/ops', username: 'second:{{SessionName}}'}\n\
                    - {rolearn: 'arn:aws:iam::123456789012:role/ops', sso: {accountID: '1'}, username: third}\n- nonsense";
        let world = world("CONFIG_MAP", roles(text));
        assert_eq!(user(&world, "Ops").as_deref(), Some("second:ann-home"));
    }

    #[test]
    fn accounts_map_whoever_no_item_names() {
        let world = world("CONFIG_MAP", json!({ "mapAccounts": "- 123456789012" }));
        let found = identity(&world, "prod", &session("any", "s")).unwrap();
        assert_eq!((found.username, found.groups.len()), (format!("arn:aws:iam::{ACCOUNT}:role/any"), 0));
    }

    #[test]
    fn the_creator_is_hidden_admin_only_with_the_config_map_alone() {
        for (mode, is_admin) in [("CONFIG_MAP", true), ("API_AND_CONFIG_MAP", false), ("API", false)] {
            let world = world(mode, json!({}));
            let found = identity(&world, "prod", &session("maker", "other"));
            assert_eq!(found.is_some_and(|found| found.groups == ["system:masters"]), is_admin, "{mode}");
        }
    }

    #[test]
    fn an_access_entry_beats_aws_auth_and_counts_only_in_its_modes() {
        let auth = roles("- {rolearn: 'arn:aws:iam::123456789012:role/ops', username: from-map}");
        let principal = format!("arn:aws:iam::{ACCOUNT}:role/teams/ops");
        let policies = json!([{ "policy_arn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "access_scope": { "type": "namespace", "namespaces": ["dev-*"] } }]);
        let wanted = [("CONFIG_MAP", "from-map"), ("API_AND_CONFIG_MAP", "x:ann-home"), ("API", "x:ann-home")];
        for (mode, username) in wanted {
            let mut world = world(mode, auth.clone());
            let given = json!({ "type": "STANDARD", "username": "x:{{SessionName}}", "kubernetes_groups": ["g"],
                "_policies": policies });
            entry(&mut world, &principal, given);
            let found = identity(&world, "prod", &session("ops", "ann@home")).unwrap();
            assert_eq!(found.username, username, "{mode}");
            if mode == "API" {
                assert_eq!(found.policies, [("AmazonEKSViewPolicy".to_owned(), vec!["dev-*".to_owned()])]);
                assert_eq!(user(&world, "nobody"), None);
            }
        }
    }

    #[test]
    fn an_entry_of_a_role_with_another_path_than_the_real_one_is_not_its_entry() {
        let mut world = world("API", json!({}));
        world.put(
            "iam/roles",
            "ops",
            json!({ "role_name": "ops", "arn": format!("arn:aws:iam::{ACCOUNT}:role/real/ops") }),
        );
        entry(&mut world, &format!("arn:aws:iam::{ACCOUNT}:role/ops"), json!({ "type": "STANDARD" }));
        assert_eq!(user(&world, "ops"), None);
        entry(&mut world, &format!("arn:aws:iam::{ACCOUNT}:role/real/ops"), json!({ "type": "STANDARD" }));
        assert_eq!(user(&world, "ops"), Some(session("ops", "ann-home")));
    }

    #[test]
    fn a_node_is_named_after_its_instance() {
        let mut world = world("API", json!({}));
        entry(&mut world, &format!("arn:aws:iam::{ACCOUNT}:role/node"), json!({ "type": "EC2_LINUX" }));
        assert_eq!(identity(&world, "prod", &session("node", "i-1")), None, "no such instance");
        world.put("ec2/instances", "i-1", json!({ "private_dns_name": "ip-10-0-0-4.us-west-2.compute.internal" }));
        let found = identity(&world, "prod", &session("node", "i-1")).unwrap();
        assert_eq!(found.username, "system:node:ip-10-0-0-4.us-west-2.compute.internal");
        assert_eq!(found.groups, ["system:nodes"]);
    }
}
