//! Elastic Load Balancing: application and network load balancers with their target groups, and classic ones.

use serde_json::{Value, json};

use super::ec2::interface;
use super::{Answer, Refusal, Row, iam, refuse, tags, text, texts};
use crate::twin::Arrival;
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("elasticloadbalancingv2::create_load_balancer", create_load_balancer),
    ("elasticloadbalancingv2::describe_load_balancers", describe_load_balancers),
    ("elasticloadbalancingv2::delete_load_balancer", delete_load_balancer),
    ("elasticloadbalancingv2::create_target_group", create_target_group),
    ("elasticloadbalancingv2::describe_target_groups", describe_target_groups),
    ("elasticloadbalancingv2::delete_target_group", delete_target_group),
    ("elasticloadbalancingv2::create_listener", create_listener),
    ("elasticloadbalancingv2::describe_listeners", describe_listeners),
    ("elasticloadbalancingv2::delete_listener", delete_listener),
    ("elasticloadbalancingv2::describe_tags", describe_tags),
    ("elasticloadbalancingv2::add_tags", add_tags),
    ("elasticloadbalancingv2::remove_tags", remove_tags),
    ("elasticloadbalancing::create_load_balancer", create_classic),
    ("elasticloadbalancing::describe_load_balancers", describe_classic),
    ("elasticloadbalancing::delete_load_balancer", delete_classic),
    ("elasticloadbalancing::describe_tags", describe_classic_tags),
    ("elasticloadbalancing::add_tags", add_classic_tags),
    ("elasticloadbalancing::remove_tags", remove_classic_tags),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(BALANCERS, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const BALANCERS: &str = "elasticloadbalancing/load_balancers";
const CLASSIC: &str = "elasticloadbalancing/classic_load_balancers";
const TARGET_GROUPS: &str = "elasticloadbalancing/target_groups";
const LISTENERS: &str = "elasticloadbalancing/listeners";
/// Interfaces of load balancers that are gone, for the moment they linger.
const LINGERING: &str = "elasticloadbalancing/lingering";

fn arrive(world: &mut World, id: &str, to: &str) {
    if to == "active" {
        if let Some(balancer) = world.find_mut(BALANCERS, id) {
            balancer["state"] = json!({ "code": "active" });
        }
        return;
    }
    let left = world.remove(LINGERING, id).unwrap_or_default();
    for eni in texts(&left["interfaces"]) {
        interface::delete(world, eni);
    }
}

/// One interface in each subnet; where one has no room, none is made.
fn make_interfaces(
    world: &mut World,
    subnets: &[&str],
    description: &str,
    input: &Value,
) -> Result<Vec<String>, Refusal> {
    let group_ids: Vec<String> = texts(&input["security_groups"]).into_iter().map(str::to_owned).collect();
    let kind = if description.starts_with("ELB net/") { "network_load_balancer" } else { "interface" };
    let mut made: Vec<String> = Vec::new();
    for subnet_id in subnets {
        let new = interface::New {
            subnet_id,
            group_ids: group_ids.clone(),
            description,
            interface_type: kind,
            requester_managed: true,
            attached_to: None,
            tags: Value::Null,
            address: None,
        };
        match interface::create(world, &new) {
            Ok(id) => made.push(id),
            Err(refusal) => {
                for id in &made {
                    interface::delete(world, id);
                }
                return Err(refusal);
            }
        }
    }
    for id in &made {
        if let Some(eni) = world.find_mut("ec2/network_interfaces", id) {
            eni["status"] = json!("in-use");
            eni["requester_id"] = json!("amazon-elb");
        }
    }
    Ok(made)
}

/// The load balancer is gone; its interfaces hold their addresses and groups a while longer.
fn linger(world: &mut World, id: &str, balancer: &Value) {
    world.put(LINGERING, id, json!({ "interfaces": balancer["_interfaces"] }));
    world.begin(BALANCERS, id, "deleted");
}

fn subnets_of(world: &World, input: &Value) -> Result<Vec<Value>, Refusal> {
    let mappings = input["subnet_mappings"].as_array().into_iter().flatten();
    let named = texts(&input["subnets"]).into_iter().chain(mappings.map(|one| text(one, "subnet_id")));
    let mut found = Vec::new();
    for id in named {
        match world.find("ec2/subnets", id) {
            Some(subnet) => found.push(subnet.clone()),
            None => return refuse("SubnetNotFound", 400, format!("The subnet ID '{id}' does not exist")),
        }
    }
    if found.is_empty() {
        return refuse("ValidationError", 400, "You must specify subnets");
    }
    Ok(found)
}

fn ids(subnets: &[Value]) -> Vec<&str> {
    subnets.iter().map(|subnet| text(subnet, "subnet_id")).collect()
}

fn create_load_balancer(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    if world.table(BALANCERS).values().any(|one| one["load_balancer_name"] == name) {
        let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
        return refuse("DuplicateLoadBalancerName", 400, message);
    }
    let kind = input["type"].as_str().unwrap_or("application");
    let short = if kind == "network" { "net" } else { "app" };
    let subnets = subnets_of(world, input)?;
    if kind == "application" && subnets.len() < 2 {
        let message = "At least two subnets in two different Availability Zones must be specified";
        return refuse("ValidationError", 400, message);
    }
    let hash = world.digits("load balancer", 16);
    let path = format!("{short}/{name}/{hash}");
    let interfaces = make_interfaces(world, &ids(&subnets), &format!("ELB {path}"), input)?;
    iam::ensure_service_role(world, "elasticloadbalancing.amazonaws.com");
    let arn = world.arn("elasticloadbalancing", &format!("loadbalancer/{path}"));
    let zones = subnets.iter().map(|one| {
        json!({ "zone_name": one["availability_zone"], "subnet_id": one["subnet_id"], "load_balancer_addresses": [] })
    });
    // The zones in which AWS keeps the names of load balancers in us-west-2.
    let zone_id = if kind == "network" { "Z18D5FSROUN65G" } else { "Z1H1FL5HABSF5" };
    let balancer = json!({
        "load_balancer_arn": arn, "load_balancer_name": name, "created_time": world.now_text(), "type": kind,
        "dns_name": format!("{name}-{hash}.elb.{}.amazonaws.com", world.region),
        "canonical_hosted_zone_id": zone_id, "state": { "code": "provisioning" },
        "scheme": input["scheme"].as_str().unwrap_or("internet-facing"),
        "vpc_id": subnets.first().map(|one| one["vpc_id"].clone()),
        "availability_zones": zones.collect::<Vec<_>>(), "security_groups": texts(&input["security_groups"]),
        "ip_address_type": input["ip_address_type"].as_str().unwrap_or("ipv4"),
        "_tags": if input["tags"].is_array() { input["tags"].clone() } else { json!([]) },
        "_interfaces": interfaces,
    });
    world.put(BALANCERS, &arn, balancer.clone());
    world.begin(BALANCERS, &arn, "active");
    Ok(json!({ "load_balancers": [balancer] }))
}

fn no_balancer<T>() -> Result<T, Refusal> {
    refuse("LoadBalancerNotFound", 400, "One or more load balancers not found")
}

fn no_target_group<T>() -> Result<T, Refusal> {
    refuse("TargetGroupNotFound", 400, "One or more target groups not found")
}

/// Things of a table, all of them or those that are named by ARN or name; `None` where one is missing.
fn chosen(world: &World, table: &str, key: &str, arns: &[&str], names: &[&str]) -> Option<Vec<Value>> {
    let name_of = |one: &Value| text(one, key).to_owned();
    let all = world.table(table);
    let known = arns.iter().all(|arn| all.contains_key(*arn));
    let named = names.iter().all(|name| all.values().any(|one| name_of(one) == *name));
    if !known || !named {
        return None;
    }
    let open = arns.is_empty() && names.is_empty();
    let fits = |arn: &str, one: &Value| open || arns.contains(&arn) || names.contains(&name_of(one).as_str());
    Some(all.iter().filter(|(arn, one)| fits(arn, one)).map(|(_, one)| one.clone()).collect())
}

fn describe_load_balancers(world: &mut World, input: &Value) -> Answer {
    let (arns, names) = (texts(&input["load_balancer_arns"]), texts(&input["names"]));
    match chosen(world, BALANCERS, "load_balancer_name", &arns, &names) {
        Some(found) => Ok(json!({ "load_balancers": found })),
        None => no_balancer(),
    }
}

fn delete_load_balancer(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "load_balancer_arn");
    // Deleting what is gone is no error.
    let Some(balancer) = world.remove(BALANCERS, arn) else { return Ok(json!({})) };
    let of_it = |one: &Value| one["load_balancer_arn"] == arn;
    let listeners = world.table(LISTENERS).iter().filter(|(_, one)| of_it(one));
    let listeners: Vec<String> = listeners.map(|(id, _)| id.clone()).collect();
    for id in listeners {
        world.remove(LISTENERS, &id);
    }
    linger(world, arn, &balancer);
    Ok(json!({}))
}

fn create_target_group(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    if world.table(TARGET_GROUPS).values().any(|one| one["target_group_name"] == name) {
        let message = format!("A target group with the same name '{name}' exists, but with different settings");
        return refuse("DuplicateTargetGroupName", 400, message);
    }
    let hash = world.digits("target group", 16);
    let arn = world.arn("elasticloadbalancing", &format!("targetgroup/{name}/{hash}"));
    let mut made = json!({
        "target_group_arn": arn, "target_group_name": name,
        "target_type": input["target_type"].as_str().unwrap_or("instance"),
        "_tags": if input["tags"].is_array() { input["tags"].clone() } else { json!([]) },
    });
    add_health_check(&mut made, text(input, "protocol"));
    for key in TARGET_GROUP_SETTINGS {
        if !input[*key].is_null() {
            made[*key] = input[*key].clone();
        }
    }
    world.put(TARGET_GROUPS, &arn, made.clone());
    Ok(json!({ "target_groups": [made] }))
}

/// What a caller sets of a target group.
const TARGET_GROUP_SETTINGS: &[&str] = &[
    "protocol",
    "protocol_version",
    "port",
    "vpc_id",
    "ip_address_type",
    "health_check_enabled",
    "health_check_interval_seconds",
    "health_check_path",
    "health_check_port",
    "health_check_protocol",
    "health_check_timeout_seconds",
    "healthy_threshold_count",
    "unhealthy_threshold_count",
    "matcher",
];

/// The health check that a target group of this protocol has where nothing is said of it.
fn add_health_check(group: &mut Value, protocol: &str) {
    let over_http = matches!(protocol, "HTTP" | "HTTPS");
    group["ip_address_type"] = json!("ipv4");
    group["health_check_enabled"] = json!(true);
    group["health_check_interval_seconds"] = json!(30);
    group["health_check_port"] = json!("traffic-port");
    group["health_check_protocol"] = json!(if over_http { protocol } else { "TCP" });
    group["health_check_timeout_seconds"] = json!(if over_http { 5 } else { 10 });
    group["healthy_threshold_count"] = json!(5);
    group["unhealthy_threshold_count"] = json!(2);
    if over_http {
        group["health_check_path"] = json!("/");
        group["matcher"] = json!({ "http_code": "200" });
        group["protocol_version"] = json!("HTTP1");
    }
}

/// The load balancers whose listeners lead to a target group.
fn users_of(world: &World, target_group: &str) -> Vec<Value> {
    let leads = |one: &&Value| {
        let actions = one["default_actions"].as_array();
        actions.into_iter().flatten().any(|action| action["target_group_arn"] == target_group)
    };
    world.table(LISTENERS).values().filter(leads).map(|one| one["load_balancer_arn"].clone()).collect()
}

fn describe_target_groups(world: &mut World, input: &Value) -> Answer {
    let (arns, names) = (texts(&input["target_group_arns"]), texts(&input["names"]));
    let Some(mut found) = chosen(world, TARGET_GROUPS, "target_group_name", &arns, &names) else {
        return no_target_group();
    };
    for one in &mut found {
        one["load_balancer_arns"] = Value::Array(users_of(world, text(one, "target_group_arn")));
    }
    if let Some(balancer) = input["load_balancer_arn"].as_str() {
        found.retain(|one| texts(&one["load_balancer_arns"]).contains(&balancer));
    }
    Ok(json!({ "target_groups": found }))
}

fn delete_target_group(world: &mut World, input: &Value) -> Answer {
    let arn = text(input, "target_group_arn");
    if !users_of(world, arn).is_empty() {
        return refuse(
            "ResourceInUse",
            400,
            format!("Target group '{arn}' is currently in use by a listener or a rule"),
        );
    }
    world.remove(TARGET_GROUPS, arn);
    Ok(json!({}))
}

fn create_listener(world: &mut World, input: &Value) -> Answer {
    let balancer = text(input, "load_balancer_arn");
    if world.find(BALANCERS, balancer).is_none() {
        return no_balancer();
    }
    for action in input["default_actions"].as_array().into_iter().flatten() {
        if action["target_group_arn"].as_str().is_some_and(|arn| world.find(TARGET_GROUPS, arn).is_none()) {
            return no_target_group();
        }
    }
    let hash = world.digits("listener", 16);
    let arn = format!("{}/{hash}", balancer.replacen(":loadbalancer/", ":listener/", 1));
    let mut made = json!({ "listener_arn": arn });
    for key in ["load_balancer_arn", "port", "protocol", "certificates", "ssl_policy", "default_actions"] {
        if !input[key].is_null() {
            made[key] = input[key].clone();
        }
    }
    world.put(LISTENERS, &arn, made.clone());
    Ok(json!({ "listeners": [made] }))
}

fn describe_listeners(world: &mut World, input: &Value) -> Answer {
    let arns = texts(&input["listener_arns"]);
    let balancer = input["load_balancer_arn"].as_str();
    if balancer.is_some_and(|arn| world.find(BALANCERS, arn).is_none()) {
        return no_balancer();
    }
    let fits = |one: &&Value| {
        balancer.is_none_or(|arn| one["load_balancer_arn"] == arn)
            && (arns.is_empty() || arns.contains(&text(one, "listener_arn")))
    };
    Ok(json!({ "listeners": world.table(LISTENERS).values().filter(fits).collect::<Vec<_>>() }))
}

fn delete_listener(world: &mut World, input: &Value) -> Answer {
    match world.remove(LISTENERS, text(input, "listener_arn")) {
        Some(_) => Ok(json!({})),
        None => refuse("ListenerNotFound", 400, "One or more listeners not found"),
    }
}

/// The load balancer or target group with this ARN, to change.
fn tagged<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Value, Refusal> {
    let of_group = arn.contains(":targetgroup/");
    let table = if of_group { TARGET_GROUPS } else { BALANCERS };
    match world.find_mut(table, arn) {
        Some(thing) => Ok(thing),
        None if of_group => no_target_group(),
        None => no_balancer(),
    }
}

fn describe_tags(world: &mut World, input: &Value) -> Answer {
    let mut found = Vec::new();
    for arn in texts(&input["resource_arns"]) {
        found.push(json!({ "resource_arn": arn, "tags": tagged(world, arn)?["_tags"] }));
    }
    Ok(json!({ "tag_descriptions": found }))
}

fn add_tags(world: &mut World, input: &Value) -> Answer {
    for arn in texts(&input["resource_arns"]) {
        tags::put(&mut tagged(world, arn)?["_tags"], &input["tags"], "key");
    }
    Ok(json!({}))
}

fn remove_tags(world: &mut World, input: &Value) -> Answer {
    for arn in texts(&input["resource_arns"]) {
        tags::drop(&mut tagged(world, arn)?["_tags"], &texts(&input["tag_keys"]), "key");
    }
    Ok(json!({}))
}

// Classic load balancers.

fn classic<'a>(world: &'a mut World, name: &str) -> Result<&'a mut Value, Refusal> {
    match world.find_mut(CLASSIC, name) {
        Some(balancer) => Ok(balancer),
        None => refuse("LoadBalancerNotFound", 400, format!("There is no ACTIVE Load Balancer named '{name}'")),
    }
}

fn create_classic(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "load_balancer_name");
    if world.find(CLASSIC, name).is_some() {
        let message =
            format!("Load Balancer named {name} already exists and it is configured with different parameters.");
        return refuse("DuplicateLoadBalancerName", 400, message);
    }
    let subnets = subnets_of(world, input)?;
    let interfaces = make_interfaces(world, &ids(&subnets), &format!("ELB {name}"), input)?;
    let number = world.random("classic load balancer", 2_000_000_000);
    let prefix = if input["scheme"] == "internal" { "internal-" } else { "" };
    let dns = format!("{prefix}{name}-{number}.{}.elb.amazonaws.com", world.region);
    let listeners = input["listeners"].as_array().cloned().unwrap_or_default();
    let listeners = listeners.iter().map(|one| json!({ "listener": classic_listener(one), "policy_names": [] }));
    let zones: Vec<&Value> = subnets.iter().map(|one| &one["availability_zone"]).collect();
    // Those of its interfaces: the default group of the VPC where none is asked for.
    let groups = interfaces.first().and_then(|id| world.find("ec2/network_interfaces", id));
    let groups = groups.map(|eni| eni["groups"].clone()).unwrap_or_default();
    let group_ids: Vec<&Value> = groups.as_array().into_iter().flatten().map(|group| &group["group_id"]).collect();
    let mut balancer = json!({
        "load_balancer_name": name, "dns_name": dns, "created_time": world.now_text(), "subnets": ids(&subnets),
        "availability_zones": zones, "vpc_id": subnets.first().map(|one| one["vpc_id"].clone()),
        "security_groups": group_ids, "instances": [],
        "source_security_group": { "owner_alias": world.account, "group_name": groups[0]["group_name"] },
        "listener_descriptions": listeners.collect::<Vec<_>>(),
        "scheme": input["scheme"].as_str().unwrap_or("internet-facing"),
        "policies": {
            "app_cookie_stickiness_policies": [], "lb_cookie_stickiness_policies": [], "other_policies": [],
        },
        "_tags": if input["tags"].is_array() { input["tags"].clone() } else { json!([]) },
        "_interfaces": interfaces,
    });
    // Only what the internet reaches has a name in AWS's public zone.
    if balancer["scheme"] == "internet-facing" {
        balancer["canonical_hosted_zone_name"] = json!(dns);
    }
    world.put(CLASSIC, name, balancer);
    Ok(json!({ "dns_name": dns }))
}

/// Protocols in capital letters; to the instances the same as from outside where nothing else is said.
fn classic_listener(asked: &Value) -> Value {
    let protocol = text(asked, "protocol").to_uppercase();
    let inside = asked["instance_protocol"].as_str().map_or_else(|| protocol.clone(), str::to_uppercase);
    let mut listener = asked.clone();
    listener["protocol"] = json!(protocol);
    listener["instance_protocol"] = json!(inside);
    listener
}

fn describe_classic(world: &mut World, input: &Value) -> Answer {
    let names = texts(&input["load_balancer_names"]);
    for name in &names {
        classic(world, name)?;
    }
    let wanted = |one: &&Value| names.is_empty() || names.contains(&text(one, "load_balancer_name"));
    Ok(json!({ "load_balancer_descriptions": world.table(CLASSIC).values().filter(wanted).collect::<Vec<_>>() }))
}

fn delete_classic(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "load_balancer_name");
    if let Some(balancer) = world.remove(CLASSIC, name) {
        linger(world, &format!("classic/{name}"), &balancer);
    }
    Ok(json!({}))
}

fn describe_classic_tags(world: &mut World, input: &Value) -> Answer {
    let mut found = Vec::new();
    for name in texts(&input["load_balancer_names"]) {
        found.push(json!({ "load_balancer_name": name, "tags": classic(world, name)?["_tags"] }));
    }
    Ok(json!({ "tag_descriptions": found }))
}

fn add_classic_tags(world: &mut World, input: &Value) -> Answer {
    for name in texts(&input["load_balancer_names"]) {
        tags::put(&mut classic(world, name)?["_tags"], &input["tags"], "key");
    }
    Ok(json!({}))
}

fn remove_classic_tags(world: &mut World, input: &Value) -> Answer {
    let keys: Vec<&str> = input["tags"].as_array().into_iter().flatten().map(|tag| text(tag, "key")).collect();
    for name in texts(&input["load_balancer_names"]) {
        tags::drop(&mut classic(world, name)?["_tags"], &keys, "key");
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::stage::with_subnets;
    use super::super::within;
    use super::*;

    fn pass(world: &mut World, seconds: i64) {
        world.advance(world.now + SignedDuration::from_secs(seconds));
    }

    fn descriptions(world: &World) -> Vec<String> {
        world.table("ec2/network_interfaces").values().map(|eni| text(eni, "description").to_owned()).collect()
    }

    fn answer(world: &mut World, name: &str, input: Value) -> Value {
        let (service, short) = name.split_once("::").unwrap();
        let operation = aws_dynamic::operation(service, short).unwrap();
        let input = aws_dynamic::normalise(operation, input, aws_dynamic::Enums::Lenient).unwrap();
        super::super::call(world, operation, &input).unwrap()
    }

    #[test]
    fn interfaces_outlive_their_load_balancer_by_half_a_minute() {
        let mut world = with_subnets();
        let new = json!({ "name": "web", "subnets": ["subnet-1", "subnet-2"], "tags": { "a": "b" } });
        let made = answer(&mut world, "elasticloadbalancingv2::create_load_balancer", new);
        let arn = made["load_balancers"][0]["load_balancer_arn"].clone();
        assert_eq!(made["load_balancers"][0]["state"]["code"], "provisioning");
        pass(&mut world, 121);
        let found = answer(&mut world, "elasticloadbalancingv2::describe_load_balancers", json!({}));
        assert_eq!(found["load_balancers"][0]["state"]["code"], "active");
        let tags = answer(&mut world, "elasticloadbalancingv2::describe_tags", json!({ "resource_arns": [arn] }));
        assert_eq!(tags["tag_descriptions"][0]["tags"][0]["value"], "b");
        assert!(descriptions(&world).iter().all(|one| one.starts_with("ELB app/web/")));
        answer(&mut world, "elasticloadbalancingv2::delete_load_balancer", json!({ "load_balancer_arn": arn }));
        pass(&mut world, 29);
        assert_eq!(descriptions(&world).len(), 2);
        pass(&mut world, 2);
        assert_eq!(descriptions(&world).len(), 0);
    }

    #[test]
    fn a_target_group_in_use_stays() {
        let mut world = with_subnets();
        let new = json!({ "name": "web", "type": "network", "subnets": ["subnet-1"] });
        let made = answer(&mut world, "elasticloadbalancingv2::create_load_balancer", new);
        let balancer = made["load_balancers"][0]["load_balancer_arn"].clone();
        let new = json!({ "name": "web", "protocol": "TCP", "port": 80, "vpc_id": "vpc-1" });
        let made = answer(&mut world, "elasticloadbalancingv2::create_target_group", new);
        let group = made["target_groups"][0]["target_group_arn"].clone();
        let action = json!({ "type": "forward", "target_group_arn": group });
        let new = json!({ "load_balancer_arn": balancer, "port": 80, "protocol": "TCP", "default_actions": [action] });
        answer(&mut world, "elasticloadbalancingv2::create_listener", new);
        let end = json!({ "target_group_arn": group });
        let refused = within(&mut world, "elasticloadbalancingv2::delete_target_group", end.clone()).unwrap_err();
        assert_eq!(refused.code, "ResourceInUse");
        answer(&mut world, "elasticloadbalancingv2::delete_load_balancer", json!({ "load_balancer_arn": balancer }));
        answer(&mut world, "elasticloadbalancingv2::delete_target_group", end);
        let found = answer(&mut world, "elasticloadbalancingv2::describe_target_groups", json!({}));
        assert_eq!(found["target_groups"], json!([]));
    }

    #[test]
    fn classic_ones_are_found_by_name() {
        let mut world = with_subnets();
        let listener = json!({ "protocol": "TCP", "load_balancer_port": 80, "instance_port": 30080 });
        let new = json!({ "load_balancer_name": "old", "listeners": [listener], "subnets": ["subnet-1"] });
        answer(&mut world, "elasticloadbalancing::create_load_balancer", new);
        let found = answer(&mut world, "elasticloadbalancing::describe_load_balancers", json!({}));
        let shown = &found["load_balancer_descriptions"][0];
        assert_eq!(shown["vpc_id"], "vpc-1");
        assert_eq!(shown["security_groups"], json!(["sg-1"]), "the default group where none is asked for");
        assert_eq!(shown["source_security_group"]["group_name"], "default");
        assert_eq!(shown["canonical_hosted_zone_name"], shown["dns_name"], "the internet reaches it");
        let name = json!({ "load_balancer_name": "old" });
        answer(&mut world, "elasticloadbalancing::delete_load_balancer", name);
        let asked = json!({ "load_balancer_names": ["old"] });
        let refused = within(&mut world, "elasticloadbalancing::describe_tags", asked).unwrap_err();
        assert_eq!(refused.code, "LoadBalancerNotFound");
        pass(&mut world, 31);
        assert!(descriptions(&world).is_empty());
    }
}
