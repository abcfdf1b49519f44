//! Security groups and their rules.
//!
//! Rules are kept as describe answers show them, merged by protocol and ports. The id of a rule follows from its group
//! and what it says, so that no second list of rules can contradict the first.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::listing;
use crate::twin::Arrival;
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Refusal, Row, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::authorize_security_group_egress", authorize_egress),
    ("ec2::authorize_security_group_ingress", authorize_ingress),
    ("ec2::create_security_group", create_security_group),
    ("ec2::delete_security_group", delete_security_group),
    ("ec2::describe_security_group_rules", describe_security_group_rules),
    ("ec2::describe_security_groups", describe_security_groups),
    ("ec2::revoke_security_group_egress", revoke_egress),
    ("ec2::revoke_security_group_ingress", revoke_ingress),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

const TABLE: &str = "ec2/security_groups";

/// The list of a group with rules of one direction, by whether they are about egress.
fn list_of(egress: bool) -> &'static str {
    if egress { "ip_permissions_egress" } else { "ip_permissions" }
}

/// The lists of sources (or destinations) in a permission, with the field that says which.
const PEERS: &[(&str, &str)] = &[
    ("ip_ranges", "cidr_ip"),
    ("ipv6_ranges", "cidr_ipv6"),
    ("prefix_list_ids", "prefix_list_id"),
    ("user_id_group_pairs", "group_id"),
];

/// Makes the default group of a new VPC: its members reach one another.
pub fn create_default(world: &mut World, vpc_id: &str) {
    let id = create(world, vpc_id, "default", "default VPC security group", json!([]));
    let own = rule(
        json!({ "ip_protocol": "-1" }),
        "user_id_group_pairs",
        json!({ "group_id": id, "user_id": world.account }),
    );
    change(world, &id, |group| add(group, false, &own));
}

fn create(world: &mut World, vpc_id: &str, name: &str, description: &str, tags: Value) -> String {
    let id = world.id("sg");
    let group = json!({
        "group_id": id,
        "group_name": name,
        "description": description,
        "owner_id": world.account,
        "security_group_arn": world.arn("ec2", &format!("security-group/{id}")),
        "vpc_id": vpc_id,
        "ip_permissions": [],
        "ip_permissions_egress": [],
        "tags": tags,
    });
    world.put(TABLE, &id, group);
    let anywhere = rule(json!({ "ip_protocol": "-1" }), "ip_ranges", json!({ "cidr_ip": "0.0.0.0/0" }));
    change(world, &id, |group| add(group, true, &anywhere));
    id
}

fn change(world: &mut World, id: &str, change: impl FnOnce(&mut Value)) {
    if let Some(group) = world.find_mut(TABLE, id) {
        change(group);
    }
}

fn create_security_group(world: &mut World, input: &Value) -> Answer {
    let name = listing::required(input, "group_name")?;
    let description = listing::required(input, "description")?;
    let vpc_id = listing::required(input, "vpc_id")?;
    listing::get(world, "ec2/vpcs", vpc_id)?;
    if name.starts_with("sg-") || name == "default" {
        let message =
            format!("Value ({name}) for parameter GroupName is invalid. Group names may not be in this form.");
        return refuse("InvalidParameterValue", 400, message);
    }
    let taken = |group: &Value| group["vpc_id"] == vpc_id && group["group_name"] == name;
    if world.table(TABLE).values().any(taken) {
        let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
        return refuse("InvalidGroup.Duplicate", 400, message);
    }
    let tags = specified_tags(input, "security-group");
    let id = create(world, vpc_id, name, description, tags.clone());
    let arn = world.arn("ec2", &format!("security-group/{id}"));
    Ok(json!({ "group_id": id, "security_group_arn": arn, "tags": tags }))
}

fn delete_security_group(world: &mut World, input: &Value) -> Answer {
    let id = group_id(world, input)?;
    let group = listing::get(world, TABLE, &id)?;
    if group["group_name"] == "default" {
        let message = format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
        return refuse("CannotDelete", 400, message);
    }
    if is_used(world, &id) && !world.is_off("security group in use") {
        return refuse("DependencyViolation", 400, format!("resource {id} has a dependent object"));
    }
    world.remove(TABLE, &id);
    Ok(json!({ "return": true, "group_id": id }))
}

/// Whether an interface has this group, or a rule of another group names it.
fn is_used(world: &World, id: &str) -> bool {
    let names = |list: &Value| list.as_array().into_iter().flatten().any(|one| one["group_id"] == id);
    let interfaces = world.table("ec2/network_interfaces").values();
    if interfaces.into_iter().any(|interface| names(&interface["groups"])) {
        return true;
    }
    let others = world.table(TABLE).values().filter(|group| group["group_id"] != id);
    let mut permissions = others.flat_map(|group| permissions(group, false).chain(permissions(group, true)));
    permissions.any(|permission| names(&permission["user_id_group_pairs"]))
}

/// The group that an input means, by id or (in the default VPC only, which the twin lacks) by name.
fn group_id(world: &World, input: &Value) -> Result<String, Refusal> {
    if let (None, Some(name)) = (input["group_id"].as_str(), input["group_name"].as_str()) {
        let message = format!("The security group '{name}' does not exist in default VPC");
        return refuse("InvalidGroup.NotFound", 400, message);
    }
    let id = listing::required(input, "group_id")?;
    listing::get(world, TABLE, id)?;
    Ok(id.to_owned())
}

fn permissions(group: &Value, egress: bool) -> impl Iterator<Item = &Value> {
    group[list_of(egress)].as_array().into_iter().flatten()
}

// Rules: a permission with one source each.

/// A permission with a single source in one of its lists.
fn rule(mut permission: Value, list: &str, peer: Value) -> Value {
    for (key, _) in PEERS {
        permission[*key] = json!([]);
    }
    permission[list] = json!([peer]);
    permission
}

/// The rules in permissions as callers write them, or the one rule in the short form of the input.
fn rules_of(world: &World, group_id: &str, input: &Value) -> Result<Vec<Value>, Refusal> {
    let mut given = input["ip_permissions"].as_array().cloned().unwrap_or_default();
    if let Some(cidr) = input["cidr_ip"].as_str() {
        let mut short = json!({ "ip_ranges": [{ "cidr_ip": cidr }] });
        for key in ["ip_protocol", "from_port", "to_port"] {
            if !input[key].is_null() {
                short[key] = input[key].clone();
            }
        }
        given.push(short);
    }
    let mut rules = Vec::new();
    for permission in &given {
        let head = head(permission)?;
        for (list, field) in PEERS {
            for peer in permission[*list].as_array().into_iter().flatten() {
                rules.push(rule(head.clone(), list, checked_peer(world, group_id, peer, field)?));
            }
        }
    }
    if rules.is_empty() {
        return refuse("MissingParameter", 400, "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.");
    }
    Ok(rules)
}

/// Protocol and ports of a permission as EC2 shows them.
fn head(permission: &Value) -> Answer {
    let protocol = match text(permission, "ip_protocol") {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "58" => "icmpv6",
        "all" | "-1" => "-1",
        "" => return refuse("MissingParameter", 400, "The request must contain the parameter ipProtocol"),
        other => other,
    };
    let mut head = json!({ "ip_protocol": protocol });
    let (from, to) = (permission["from_port"].as_i64(), permission["to_port"].as_i64());
    if protocol == "-1" {
        return Ok(head);
    }
    if matches!(protocol, "tcp" | "udp") {
        let (Some(from), Some(to)) = (from, to) else {
            let message = format!("Must specify both from and to ports with {}.", protocol.to_uppercase());
            return refuse("InvalidParameterValue", 400, message);
        };
        if !(0..=65_535).contains(&from) || !(0..=65_535).contains(&to) || from > to {
            let message =
                format!("Invalid value for portRange. Must specify a range from {from} to {to} within 0-65535.");
            return refuse("InvalidParameterValue", 400, message);
        }
    }
    for (key, port) in [("from_port", from), ("to_port", to)] {
        if let Some(port) = port {
            head[key] = json!(port);
        }
    }
    Ok(head)
}

/// A source of which all that it names is there.
fn checked_peer(world: &World, group_id: &str, peer: &Value, field: &str) -> Answer {
    let mut peer = peer.clone();
    if field == "group_id" {
        let id = peer["group_id"].as_str().unwrap_or(group_id).to_owned();
        let is_own = peer["user_id"].as_str().is_none_or(|owner| owner == world.account);
        if is_own {
            listing::get(world, TABLE, &id)?;
        }
        peer["group_id"] = json!(id);
        if peer["user_id"].is_null() {
            peer["user_id"] = json!(world.account);
        }
    }
    if field == "cidr_ip" && text(&peer, field).parse::<ipnet::Ipv4Net>().is_err() {
        let message = format!("CIDR block {} is malformed", text(&peer, field));
        return refuse("InvalidParameterValue", 400, message);
    }
    Ok(peer)
}

fn same_head(one: &Value, other: &Value) -> bool {
    ["ip_protocol", "from_port", "to_port"].iter().all(|key| one[*key] == other[*key])
}

/// The list, the field and the source of a rule.
fn peer(rule: &Value) -> Option<(&'static str, &'static str, &Value)> {
    PEERS.iter().find_map(|(list, field)| Some((*list, *field, rule[*list].get(0)?)))
}

fn has(group: &Value, egress: bool, rule: &Value) -> bool {
    let Some((list, field, wanted)) = peer(rule) else { return false };
    let mut fitting = permissions(group, egress).filter(|one| same_head(one, rule));
    fitting.any(|one| one[list].as_array().into_iter().flatten().any(|peer| peer[field] == wanted[field]))
}

fn add(group: &mut Value, egress: bool, rule: &Value) {
    let Some((list, _, wanted)) = peer(rule) else { return };
    let Value::Array(permissions) = &mut group[list_of(egress)] else { return };
    match permissions.iter_mut().find(|one| same_head(one, rule)) {
        Some(present) => match &mut present[list] {
            Value::Array(peers) => peers.push(wanted.clone()),
            other => *other = json!([wanted]),
        },
        None => permissions.push(rule.clone()),
    }
}

fn take(group: &mut Value, egress: bool, rule: &Value) {
    let Some((list, field, wanted)) = peer(rule) else { return };
    let Value::Array(permissions) = &mut group[list_of(egress)] else { return };
    for permission in permissions.iter_mut().filter(|one| same_head(one, rule)) {
        if let Value::Array(peers) = &mut permission[list] {
            peers.retain(|peer| peer[field] != wanted[field]);
        }
    }
    let is_empty = |one: &Value| PEERS.iter().all(|(list, _)| one[*list].as_array().is_none_or(Vec::is_empty));
    permissions.retain(|one| !is_empty(one));
}

/// All rules of a group in one direction.
fn rules_in(group: &Value, egress: bool) -> Vec<Value> {
    let mut rules = Vec::new();
    for permission in permissions(group, egress) {
        for (list, _) in PEERS {
            for peer in permission[*list].as_array().into_iter().flatten() {
                let mut head = json!({ "ip_protocol": permission["ip_protocol"] });
                for key in ["from_port", "to_port"].into_iter().filter(|key| !permission[*key].is_null()) {
                    head[key] = permission[key].clone();
                }
                rules.push(rule(head, list, peer.clone()));
            }
        }
    }
    rules
}

/// A rule as `DescribeSecurityGroupRules` shows it.
fn shown(world: &World, group_id: &str, egress: bool, rule: &Value) -> Value {
    let port = |key: &str| rule[key].as_i64().unwrap_or(-1);
    let mut shown = json!({
        "group_id": group_id,
        "group_owner_id": world.account,
        "is_egress": egress,
        "ip_protocol": rule["ip_protocol"],
        "from_port": port("from_port"),
        "to_port": port("to_port"),
        "tags": [],
    });
    let Some((list, field, peer)) = peer(rule) else { return shown };
    let digest = Sha256::digest(format!("{group_id} {egress} {} {}", rule_text(rule), peer[field]).as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let id = format!("sgr-0{digits}");
    shown["security_group_rule_arn"] = json!(world.arn("ec2", &format!("security-group-rule/{id}")));
    shown["security_group_rule_id"] = json!(id);
    match list {
        "ip_ranges" => shown["cidr_ipv4"] = peer[field].clone(),
        "ipv6_ranges" => shown["cidr_ipv6"] = peer[field].clone(),
        "prefix_list_ids" => shown["prefix_list_id"] = peer[field].clone(),
        _ => shown["referenced_group_info"] = json!({ "group_id": peer["group_id"], "user_id": peer["user_id"] }),
    }
    if peer["description"].is_string() {
        shown["description"] = peer["description"].clone();
    }
    shown
}

/// A rule in the words of AWS's refusals.
fn rule_text(rule: &Value) -> String {
    let source = peer(rule).map_or("", |(_, field, peer)| text(peer, field));
    match text(rule, "ip_protocol") {
        "-1" => format!("peer: {source}, ALL, ALLOW"),
        protocol => format!(
            "peer: {source}, {}, from port: {}, to port: {}, ALLOW",
            protocol.to_uppercase(),
            rule["from_port"],
            rule["to_port"]
        ),
    }
}

// Operations on rules.

fn authorize_ingress(world: &mut World, input: &Value) -> Answer {
    authorize(world, input, false)
}

fn authorize_egress(world: &mut World, input: &Value) -> Answer {
    authorize(world, input, true)
}

fn authorize(world: &mut World, input: &Value, egress: bool) -> Answer {
    let id = group_id(world, input)?;
    let rules = rules_of(world, &id, input)?;
    let group = listing::get(world, TABLE, &id)?;
    let mut seen = group.clone();
    for rule in &rules {
        if has(&seen, egress, rule) {
            let message = format!("the specified rule \"{}\" already exists", rule_text(rule));
            return refuse("InvalidPermission.Duplicate", 400, message);
        }
        add(&mut seen, egress, rule);
    }
    if rules_in(&seen, egress).len() > listing::quota(world, "L-0EA8095F", 60) && !world.is_off("ec2 quotas") {
        let message = "The maximum number of rules per security group has been reached.";
        return refuse("RulesPerSecurityGroupLimitExceeded", 400, message);
    }
    change(world, &id, |group| *group = seen);
    let made: Vec<Value> = rules.iter().map(|rule| shown(world, &id, egress, rule)).collect();
    Ok(json!({ "return": true, "security_group_rules": made }))
}

fn revoke_ingress(world: &mut World, input: &Value) -> Answer {
    revoke(world, input, false)
}

fn revoke_egress(world: &mut World, input: &Value) -> Answer {
    revoke(world, input, true)
}

fn revoke(world: &mut World, input: &Value, egress: bool) -> Answer {
    let id = group_id(world, input)?;
    let group = listing::get(world, TABLE, &id)?;
    let by_id = texts(&input["security_group_rule_ids"]);
    let rules = if by_id.is_empty() {
        rules_of(world, &id, input)?
    } else {
        let all = rules_in(group, egress);
        let id_of = |rule: &Value| shown(world, &id, egress, rule)["security_group_rule_id"].clone();
        let mut chosen = Vec::new();
        for wanted in by_id {
            let Some(rule) = all.iter().find(|rule| id_of(rule) == wanted) else {
                let message = format!("The security group rule ID '{wanted}' does not exist");
                return refuse("InvalidSecurityGroupRuleId.NotFound", 400, message);
            };
            chosen.push(rule.clone());
        }
        chosen
    };
    if rules.iter().any(|rule| !has(group, egress, rule)) {
        let message = "The specified rule does not exist in this security group.";
        return refuse("InvalidPermission.NotFound", 400, message);
    }
    change(world, &id, |group| rules.iter().for_each(|rule| take(group, egress, rule)));
    Ok(json!({ "return": true }))
}

const NAMES: Names = &[
    ("ip-permission.group-id", "ip_permissions.user_id_group_pairs.group_id"),
    ("ip-permission.cidr", "ip_permissions.ip_ranges.cidr_ip"),
    ("ip-permission.protocol", "ip_permissions.ip_protocol"),
    ("ip-permission.from-port", "ip_permissions.from_port"),
    ("ip-permission.to-port", "ip_permissions.to_port"),
    ("egress.ip-permission.group-id", "ip_permissions_egress.user_id_group_pairs.group_id"),
    ("egress.ip-permission.cidr", "ip_permissions_egress.ip_ranges.cidr_ip"),
];

fn describe_security_groups(world: &mut World, input: &Value) -> Answer {
    let plain = &["description", "group-id", "group-name", "owner-id", "vpc-id"];
    let mut found = listing::asked(world, TABLE, &input["group_ids"], &input["filters"], NAMES, plain)?;
    let names = texts(&input["group_names"]);
    found.retain(|group| names.is_empty() || names.contains(&text(group, "group_name")));
    Ok(json!({ "security_groups": found }))
}

fn describe_security_group_rules(world: &mut World, input: &Value) -> Answer {
    filter::check(&input["filters"], &[], &["group-id", "security-group-rule-id"])?;
    let mut rules = Vec::new();
    for (id, group) in world.table(TABLE) {
        for egress in [false, true] {
            rules.extend(rules_in(group, egress).iter().map(|rule| shown(world, id, egress, rule)));
        }
    }
    let ids = texts(&input["security_group_rule_ids"]);
    if let Some(unknown) = ids.iter().find(|id| !rules.iter().any(|rule| rule["security_group_rule_id"] == **id)) {
        let message = format!("The security group rule ID '{unknown}' does not exist");
        return refuse("InvalidSecurityGroupRuleId.NotFound", 400, message);
    }
    rules.retain(|rule| ids.is_empty() || ids.contains(&text(rule, "security_group_rule_id")));
    Ok(json!({ "security_group_rules": filter::select(rules.iter(), &input["filters"], &[]) }))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    fn group(stage: &mut Stage, vpc: &str, name: &str) -> String {
        let input = json!({ "group_name": name, "description": name, "vpc_id": vpc });
        stage.ok("create_security_group", input)["group_id"].as_str().unwrap().to_owned()
    }

    fn https(from: &str) -> Value {
        let mut permission = json!({ "ip_protocol": "tcp", "from_port": 443, "to_port": 443 });
        if from.starts_with("sg-") {
            permission["user_id_group_pairs"] = json!([{ "group_id": from }]);
        } else {
            permission["ip_ranges"] = json!([{ "cidr_ip": from }]);
        }
        json!([permission])
    }

    #[test]
    fn rules_merge_by_protocol_and_port_and_come_but_once() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let (one, two) = (group(&mut stage, &vpc, "one"), group(&mut stage, &vpc, "two"));
        for from in ["10.0.0.0/16", two.as_str()] {
            let input = json!({ "group_id": one, "ip_permissions": https(from) });
            stage.ok("authorize_security_group_ingress", input.clone());
            let refusal = stage.no("authorize_security_group_ingress", input);
            assert_eq!(code(&refusal), "InvalidPermission.Duplicate");
        }
        let shown = stage.ok("describe_security_groups", json!({ "group_ids": [one] }));
        let permissions = shown["security_groups"][0]["ip_permissions"].as_array().unwrap();
        assert_eq!(permissions.len(), 1);
        assert_eq!(permissions[0]["ip_ranges"][0]["cidr_ip"], "10.0.0.0/16");
        assert_eq!(permissions[0]["user_id_group_pairs"][0]["group_id"], two.as_str());
    }

    #[test]
    fn a_group_that_is_named_or_held_stays() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let subnet = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let (one, two) = (group(&mut stage, &vpc, "one"), group(&mut stage, &vpc, "two"));
        stage.ok("authorize_security_group_ingress", json!({ "group_id": one, "ip_permissions": https(&two) }));
        let refusal = stage.no("delete_security_group", json!({ "group_id": two }));
        assert_eq!(refusal.message, format!("resource {two} has a dependent object"));
        stage.ok("revoke_security_group_ingress", json!({ "group_id": one, "ip_permissions": https(&two) }));
        stage.ok("create_network_interface", json!({ "subnet_id": subnet, "groups": [two] }));
        assert_eq!(code(&stage.no("delete_security_group", json!({ "group_id": two }))), "DependencyViolation");
        stage.ok("delete_security_group", json!({ "group_id": one }));
    }

    #[test]
    fn a_rule_is_revoked_by_its_id() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let one = group(&mut stage, &vpc, "one");
        let input = json!({ "group_id": one, "ip_permissions": https("10.0.0.0/16") });
        let made = stage.ok("authorize_security_group_ingress", input.clone());
        let of_group = json!({ "filters": [{ "name": "group-id", "values": [one] }] });
        let rules = stage.ok("describe_security_group_rules", of_group)["security_group_rules"].clone();
        assert_eq!(rules.as_array().unwrap().len(), 2, "the new one, and all egress");
        let id = &made["security_group_rules"][0]["security_group_rule_id"];
        let by_id = json!({ "group_id": one, "security_group_rule_ids": [id] });
        stage.ok("revoke_security_group_ingress", by_id);
        assert_eq!(code(&stage.no("revoke_security_group_ingress", input)), "InvalidPermission.NotFound");
    }

    #[test]
    fn names_are_unique_in_a_vpc() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        group(&mut stage, &vpc, "one");
        let again = json!({ "group_name": "one", "description": "x", "vpc_id": vpc });
        assert_eq!(code(&stage.no("create_security_group", again)), "InvalidGroup.Duplicate");
    }
}
