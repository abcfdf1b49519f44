//! VPC endpoints: gateways in route tables, and interfaces in subnets.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{interface, listing, route};
use crate::twin::Arrival;
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Refusal, Row, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::create_vpc_endpoint", create_vpc_endpoint),
    ("ec2::delete_vpc_endpoints", delete_vpc_endpoints),
    ("ec2::describe_vpc_endpoint_services", describe_vpc_endpoint_services),
    ("ec2::describe_vpc_endpoints", describe_vpc_endpoints),
    ("ec2::modify_vpc_endpoint", modify_vpc_endpoint),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(TABLE, arrives)];

const TABLE: &str = "ec2/vpc_endpoints";

/// Services with a gateway, and the prefix list that stands for each in us-west-2.
const GATEWAYS: &[(&str, &str)] = &[("dynamodb", "pl-00a54069"), ("s3", "pl-68a54001")];

/// Services with interfaces.
const INTERFACES: &[&str] = &[
    "autoscaling",
    "ec2",
    "ec2messages",
    "ecr.api",
    "ecr.dkr",
    "eks",
    "eks-auth",
    "elasticfilesystem",
    "elasticloadbalancing",
    "kms",
    "logs",
    "monitoring",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "sts",
];

const ANYTHING_BY_GATEWAY: &str =
    r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#;
const ANYTHING: &str = r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// The part of a service's name behind the region.
fn short<'a>(world: &World, service: &'a str) -> &'a str {
    service.strip_prefix(&format!("com.amazonaws.{}.", world.region)).unwrap_or_default()
}

fn dns_name(world: &World, service: &str) -> String {
    let name = short(world, service);
    match name.split_once('.') {
        // `ecr.api` is at `api.ecr`, and `ecr.dkr` at `*.dkr.ecr`.
        Some((family, "dkr")) => format!("*.dkr.{family}.{}.amazonaws.com", world.region),
        Some((family, part)) => format!("{part}.{family}.{}.amazonaws.com", world.region),
        None => format!("{name}.{}.amazonaws.com", world.region),
    }
}

fn describe_vpc_endpoint_services(world: &mut World, input: &Value) -> Answer {
    let zones: Vec<String> = world.table("ec2/availability_zones").keys().cloned().collect();
    let mut details = Vec::new();
    for (names, kind) in
        [(GATEWAYS.iter().map(|(name, _)| *name).collect::<Vec<&str>>(), "Gateway"), (INTERFACES.to_vec(), "Interface")]
    {
        for name in names {
            let service = format!("com.amazonaws.{}.{name}", world.region);
            let mut detail = json!({
                "service_name": service,
                "service_id": service_id(&service, kind),
                "service_type": [{ "service_type": kind }],
                "availability_zones": zones,
                "base_endpoint_dns_names": [format!("{name}.{}.vpce.amazonaws.com", world.region)],
                "owner": "amazon",
                "acceptance_required": false,
                "manages_vpc_endpoints": false,
                "vpc_endpoint_policy_supported": true,
                "tags": [],
            });
            if kind == "Interface" && name != "s3" {
                detail["private_dns_name"] = json!(dns_name(world, &service));
            }
            details.push(detail);
        }
    }
    let names: Names = &[("service-type", "service_type.service_type")];
    filter::check(&input["filters"], names, &["owner", "service-name"])?;
    let mut details = filter::select(details.iter(), &input["filters"], names);
    let asked = texts(&input["service_names"]);
    if let Some(unknown) = asked.iter().find(|name| !details.iter().any(|one| one["service_name"] == **name)) {
        return Err(no_service(unknown));
    }
    details.retain(|one| asked.is_empty() || asked.contains(&text(one, "service_name")));
    details.sort_by_key(|one| text(one, "service_name").to_owned());
    let mut all: Vec<String> = details.iter().map(|one| text(one, "service_name").to_owned()).collect();
    all.dedup();
    Ok(json!({ "service_names": all, "service_details": details }))
}

/// The id of a service: always the same, though it is no thing of this world.
fn service_id(service: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{service} {kind}").as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("vpce-svc-0{digits}")
}

fn no_service(name: &str) -> Refusal {
    Refusal {
        code: "InvalidServiceName".to_owned(),
        status: 400,
        message: format!("The Vpc Endpoint Service '{name}' does not exist"),
    }
}

fn create_vpc_endpoint(world: &mut World, input: &Value) -> Answer {
    let vpc_id = listing::required(input, "vpc_id")?;
    listing::get(world, "ec2/vpcs", vpc_id)?;
    let service = listing::required(input, "service_name")?;
    let kind = input["vpc_endpoint_type"].as_str().unwrap_or("Gateway");
    let id = match kind {
        "Gateway" => create_gateway(world, input, vpc_id, service)?,
        "Interface" => create_interfaces(world, input, vpc_id, service)?,
        other => {
            let message = format!("`create_vpc_endpoint` of type {other} is not simulated");
            return refuse("NotSimulated", 501, message);
        }
    };
    Ok(json!({ "vpc_endpoint": world.find(TABLE, &id), "client_token": input["client_token"] }))
}

/// The model writes states with a capital letter; AWS sends them without.
fn show(endpoint: &mut Value, state: &str) {
    endpoint["state"] = json!(state);
}

/// What both types have in common.
fn new_endpoint(world: &mut World, input: &Value, vpc_id: &str, service: &str) -> Value {
    let id = world.id("vpce");
    let policy = if input["vpc_endpoint_type"] == "Interface" { ANYTHING } else { ANYTHING_BY_GATEWAY };
    json!({
        "vpc_endpoint_id": id,
        "vpc_endpoint_type": input["vpc_endpoint_type"].as_str().unwrap_or("Gateway"),
        "vpc_id": vpc_id,
        "service_name": service,
        "state": "available",
        "policy_document": input["policy_document"].as_str().unwrap_or(policy),
        "route_table_ids": [],
        "subnet_ids": [],
        "groups": [],
        "network_interface_ids": [],
        "dns_entries": [],
        "private_dns_enabled": false,
        "requester_managed": false,
        "creation_timestamp": world.now_text(),
        "owner_id": world.account,
        "tags": specified_tags(input, "vpc-endpoint"),
    })
}

fn prefix_list(world: &World, service: &str) -> Option<&'static str> {
    let name = short(world, service);
    GATEWAYS.iter().find(|(gateway, _)| *gateway == name).map(|(_, list)| *list)
}

fn create_gateway(world: &mut World, input: &Value, vpc_id: &str, service: &str) -> Result<String, Refusal> {
    let Some(list) = prefix_list(world, service) else { return Err(no_service(service)) };
    let tables: Vec<&str> = texts(&input["route_table_ids"]);
    check_tables(world, vpc_id, &tables, list)?;
    let mut endpoint = new_endpoint(world, input, vpc_id, service);
    endpoint["route_table_ids"] = json!(tables);
    let id = text(&endpoint, "vpc_endpoint_id").to_owned();
    world.put(TABLE, &id, endpoint);
    for table in tables {
        route::add_endpoint(world, table, list, &id);
    }
    Ok(id)
}

/// Refuses tables of other networks, and those that lead to the service already.
fn check_tables(world: &World, vpc_id: &str, tables: &[&str], list: &str) -> Result<(), Refusal> {
    for table_id in tables {
        let table = listing::get(world, "ec2/route_tables", table_id)?;
        if table["vpc_id"] != vpc_id {
            let message = format!("Route table {table_id} belongs to different network than {vpc_id}");
            return refuse("InvalidParameter", 400, message);
        }
        let mut routes = table["routes"].as_array().into_iter().flatten();
        if routes.any(|route| route["destination_prefix_list_id"] == list) {
            let message = format!("route table {table_id} already has a route with destination-prefix-list-id {list}");
            return refuse("RouteAlreadyExists", 400, message);
        }
    }
    Ok(())
}

fn create_interfaces(world: &mut World, input: &Value, vpc_id: &str, service: &str) -> Result<String, Refusal> {
    if !INTERFACES.contains(&short(world, service)) {
        return Err(no_service(service));
    }
    // AWS leads the service's public name to an interface endpoint unless the caller says otherwise.
    let private_dns = input["private_dns_enabled"].as_bool().unwrap_or(true);
    if private_dns {
        check_dns(world, vpc_id, service)?;
    }
    let subnets = texts(&input["subnet_ids"]);
    check_subnets(world, vpc_id, &[], &subnets)?;
    let groups = texts(&input["security_group_ids"]);
    let groups = if groups.is_empty() {
        let all = world.table("ec2/security_groups").values();
        let default = all.filter(|group| group["vpc_id"] == vpc_id && group["group_name"] == "default");
        let ids: Vec<&str> = default.map(|group| text(group, "group_id")).collect();
        interface::shown_groups(world, vpc_id, &ids)?
    } else {
        interface::shown_groups(world, vpc_id, &groups)?
    };
    let mut endpoint = new_endpoint(world, input, vpc_id, service);
    let id = text(&endpoint, "vpc_endpoint_id").to_owned();
    show(&mut endpoint, "pending");
    endpoint["groups"] = groups;
    endpoint["private_dns_enabled"] = json!(private_dns);
    endpoint["ip_address_type"] = json!("ipv4");
    let mut names =
        vec![json!({ "dns_name": format!("{id}.{}.{}.vpce.amazonaws.com", short(world, service), world.region) })];
    if private_dns {
        names.push(json!({ "dns_name": dns_name(world, service) }));
    }
    endpoint["dns_entries"] = json!(names);
    world.put(TABLE, &id, endpoint);
    for subnet in subnets {
        if let Err(refusal) = add_subnet(world, &id, subnet) {
            drop_endpoint(world, &id);
            return Err(refusal);
        }
    }
    world.begin(TABLE, &id, "available");
    Ok(id)
}

fn check_dns(world: &World, vpc_id: &str, service: &str) -> Result<(), Refusal> {
    let vpc = listing::get(world, "ec2/vpcs", vpc_id)?;
    if vpc["_dns_support"] == false || vpc["_dns_hostnames"] != true {
        let message = format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for \
             {vpc_id}"
        );
        return refuse("InvalidParameter", 400, message);
    }
    let mut all = world.table(TABLE).values();
    let taken = |one: &Value| {
        one["vpc_id"] == vpc_id
            && one["service_name"] == service
            && one["private_dns_enabled"] == true
            && one["state"] != "Deleting"
    };
    if all.any(taken) {
        let message = format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {} in the VPC \
             {vpc_id}",
            dns_name(world, service)
        );
        return refuse("InvalidParameter", 400, message);
    }
    Ok(())
}

/// An interface endpoint has at most one subnet of a zone.
fn check_subnets(world: &World, vpc_id: &str, present: &[&str], more: &[&str]) -> Result<(), Refusal> {
    let zone_of = |id: &str| world.find("ec2/subnets", id).map(|subnet| text(subnet, "availability_zone"));
    let mut zones: Vec<&str> = present.iter().filter_map(|id| zone_of(id)).collect();
    for id in more {
        let subnet = listing::get(world, "ec2/subnets", id)?;
        if subnet["vpc_id"] != vpc_id {
            let message = format!("Subnet {id} belongs to different network than {vpc_id}");
            return refuse("InvalidParameter", 400, message);
        }
        let zone = text(subnet, "availability_zone");
        if zones.contains(&zone) {
            let message = format!("Found another VPC endpoint subnet in the availability zone of {id}");
            return refuse("DuplicateSubnetsInSameZone", 400, message);
        }
        zones.push(zone);
    }
    Ok(())
}

/// An interface in one more subnet.
fn add_subnet(world: &mut World, id: &str, subnet_id: &str) -> Result<(), Refusal> {
    let groups = world.find(TABLE, id).map(|one| one["groups"].clone()).unwrap_or_default();
    let group_ids = groups.as_array().into_iter().flatten().map(|group| text(group, "group_id").to_owned()).collect();
    let description = format!("VPC Endpoint Interface {id}");
    let interface_id = interface::create(
        world,
        &interface::New {
            subnet_id,
            group_ids,
            description: &description,
            interface_type: "vpc_endpoint",
            requester_managed: true,
            ..interface::New::default()
        },
    )?;
    if let Some(endpoint) = world.find_mut(TABLE, id) {
        push(&mut endpoint["network_interface_ids"], &interface_id);
        push(&mut endpoint["subnet_ids"], subnet_id);
    }
    Ok(())
}

fn push(list: &mut Value, item: &str) {
    match list {
        Value::Array(items) => items.push(json!(item)),
        other => *other = json!([item]),
    }
}

fn describe_vpc_endpoints(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[("vpc-endpoint-state", "state"), ("vpc-endpoint-type", "vpc_endpoint_type")];
    let plain = &["ip-address-type", "service-name", "vpc-endpoint-id", "vpc-id"];
    listing::answer(world, (TABLE, "vpc_endpoint_ids", "vpc_endpoints"), input, names, plain)
}

fn owned(value: &Value) -> Vec<String> {
    texts(value).into_iter().map(str::to_owned).collect()
}

fn modify_vpc_endpoint(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "vpc_endpoint_id")?;
    let endpoint = listing::get(world, TABLE, id)?.clone();
    let vpc_id = text(&endpoint, "vpc_id");
    let present = owned(&endpoint["subnet_ids"]);
    let removed = owned(&input["remove_subnet_ids"]);
    let staying: Vec<&str> =
        present.iter().map(String::as_str).filter(|one| !removed.iter().any(|id| id == one)).collect();
    let added: Vec<&str> = texts(&input["add_subnet_ids"]).into_iter().filter(|one| !staying.contains(one)).collect();
    check_subnets(world, vpc_id, &staying, &added)?;
    let list = prefix_list(world, text(&endpoint, "service_name")).unwrap_or_default();
    let there = texts(&endpoint["route_table_ids"]);
    let tables: Vec<&str> =
        texts(&input["add_route_table_ids"]).into_iter().filter(|one| !there.contains(one)).collect();
    check_tables(world, vpc_id, &tables, list)?;
    let groups = changed_groups(world, &endpoint, input)?;

    for subnet in &removed {
        remove_subnet(world, id, subnet);
    }
    for subnet in added {
        add_subnet(world, id, subnet)?;
    }
    for table in &tables {
        route::add_endpoint(world, table, list, id);
    }
    let dropped = owned(&input["remove_route_table_ids"]);
    for table in &dropped {
        route::remove_endpoint(world, table, id);
    }
    let Some(endpoint) = world.find_mut(TABLE, id) else { return Err(listing::not_found(TABLE, id)) };
    if let Value::Array(list) = &mut endpoint["route_table_ids"] {
        list.extend(tables.iter().map(|table| json!(table)));
        list.retain(|table| !dropped.iter().any(|gone| table == gone));
    }
    for key in ["policy_document", "private_dns_enabled"] {
        if !input[key].is_null() {
            endpoint[key] = input[key].clone();
        }
    }
    if let Some(groups) = groups {
        endpoint["groups"] = groups.clone();
        for interface in owned(&endpoint["network_interface_ids"]) {
            if let Some(interface) = world.find_mut("ec2/network_interfaces", &interface) {
                interface["groups"] = groups.clone();
            }
        }
    }
    Ok(json!({ "return": true }))
}

/// The groups of an endpoint after a change; `None` where nothing changes.
fn changed_groups(world: &World, endpoint: &Value, input: &Value) -> Result<Option<Value>, Refusal> {
    let (more, fewer) = (texts(&input["add_security_group_ids"]), texts(&input["remove_security_group_ids"]));
    if more.is_empty() && fewer.is_empty() {
        return Ok(None);
    }
    let present = endpoint["groups"].as_array().into_iter().flatten().map(|group| text(group, "group_id"));
    let mut ids: Vec<&str> = present.filter(|id| !fewer.contains(id)).collect();
    for id in more {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    interface::shown_groups(world, text(endpoint, "vpc_id"), &ids).map(Some)
}

fn remove_subnet(world: &mut World, id: &str, subnet_id: &str) {
    let Some(endpoint) = world.find(TABLE, id) else { return };
    let in_subnet = |interface: &&String| {
        let interface = world.find("ec2/network_interfaces", interface);
        interface.is_some_and(|interface| interface["subnet_id"] == subnet_id)
    };
    let gone = owned(&endpoint["network_interface_ids"]).iter().find(in_subnet).cloned();
    if let Some(gone) = &gone {
        interface::delete(world, gone);
    }
    let Some(endpoint) = world.find_mut(TABLE, id) else { return };
    if let Value::Array(list) = &mut endpoint["subnet_ids"] {
        list.retain(|one| one != subnet_id);
    }
    if let Value::Array(list) = &mut endpoint["network_interface_ids"] {
        list.retain(|one| gone.as_ref().is_none_or(|gone| one != gone));
    }
}

fn delete_vpc_endpoints(world: &mut World, input: &Value) -> Answer {
    let mut unsuccessful = Vec::new();
    for id in texts(&input["vpc_endpoint_ids"]) {
        let Some(endpoint) = world.find(TABLE, id) else {
            let refusal = listing::not_found(TABLE, id);
            unsuccessful.push(json!({
                "resource_id": id, "error": { "code": refusal.code, "message": refusal.message },
            }));
            continue;
        };
        for table in owned(&endpoint["route_table_ids"]) {
            route::remove_endpoint(world, &table, id);
        }
        let has_interfaces = world.find(TABLE, id).is_some_and(|one| one["vpc_endpoint_type"] == "Interface");
        if !has_interfaces {
            world.remove(TABLE, id);
        } else if !world.is_planned(TABLE, id, "deleted") {
            world.forget(TABLE, id);
            if let Some(endpoint) = world.find_mut(TABLE, id) {
                show(endpoint, "deleting");
            }
            world.begin(TABLE, id, "deleted");
        }
    }
    Ok(json!({ "unsuccessful": unsuccessful }))
}

fn drop_endpoint(world: &mut World, id: &str) {
    let Some(endpoint) = world.remove(TABLE, id) else { return };
    for interface in owned(&endpoint["network_interface_ids"]) {
        interface::delete(world, &interface);
    }
}

/// An endpoint works, or is gone with its interfaces.
fn arrives(world: &mut World, id: &str, to: &str) {
    if to == "deleted" {
        return drop_endpoint(world, id);
    }
    if let Some(endpoint) = world.find_mut(TABLE, id) {
        show(endpoint, "available");
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::endpoints_in;
    use super::super::stage::{Stage, code};
    use super::*;

    fn with_dns(stage: &mut Stage) -> String {
        let vpc = stage.vpc();
        stage.ok("modify_vpc_attribute", json!({ "vpc_id": vpc, "enable_dns_hostnames": { "value": true } }));
        vpc
    }

    fn interface_endpoint(vpc: &str, subnets: &[&str]) -> Value {
        json!({
            "vpc_id": vpc, "vpc_endpoint_type": "Interface", "service_name": "com.amazonaws.us-west-2.ecr.api",
            "subnet_ids": subnets, "private_dns_enabled": true,
        })
    }

    #[test]
    fn a_gateway_endpoint_is_a_route_and_works_at_once() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let table = stage.made("create_route_table", json!({ "vpc_id": vpc }), "/route_table/route_table_id");
        let input = json!({
            "vpc_id": vpc, "service_name": "com.amazonaws.us-west-2.s3", "vpc_endpoint_type": "Gateway",
            "route_table_ids": [table],
        });
        let id = stage.made("create_vpc_endpoint", input.clone(), "/vpc_endpoint/vpc_endpoint_id");
        assert_eq!(endpoints_in(&stage.world, &vpc), ["s3".to_owned()].into());
        let shown = stage.ok("describe_route_tables", json!({ "route_table_ids": [table] }));
        assert_eq!(shown["route_tables"][0]["routes"][1]["gateway_id"], id.as_str());
        assert_eq!(code(&stage.no("create_vpc_endpoint", input)), "RouteAlreadyExists");
        stage.ok("delete_vpc_endpoints", json!({ "vpc_endpoint_ids": [id] }));
        assert!(endpoints_in(&stage.world, &vpc).is_empty());
    }

    #[test]
    fn an_interface_endpoint_takes_its_time_and_addresses() {
        let mut stage = Stage::new();
        let vpc = with_dns(&mut stage);
        let one = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let two = stage.subnet(&vpc, "10.0.1.0/24", "us-west-2b");
        let id = stage.made("create_vpc_endpoint", interface_endpoint(&vpc, &[&one]), "/vpc_endpoint/vpc_endpoint_id");
        assert!(endpoints_in(&stage.world, &vpc).is_empty(), "it is pending");
        stage.pass(120);
        assert_eq!(endpoints_in(&stage.world, &vpc), ["ecr.api".to_owned()].into());
        stage.ok("modify_vpc_endpoint", json!({ "vpc_endpoint_id": id, "add_subnet_ids": [two] }));
        assert_eq!(interface::free_addresses(&stage.world, &two), 250);
        stage.ok("delete_vpc_endpoints", json!({ "vpc_endpoint_ids": [id] }));
        assert_eq!(interface::free_addresses(&stage.world, &one), 250, "its interfaces linger");
        stage.pass(120);
        assert_eq!(interface::free_addresses(&stage.world, &one), 251);
        assert_eq!(
            code(&stage.no("describe_vpc_endpoints", json!({ "vpc_endpoint_ids": [id] }))),
            "InvalidVpcEndpointId.NotFound"
        );
    }

    #[test]
    fn private_names_need_dns_hostnames_and_are_taken_once() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let one = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let same_zone = stage.subnet(&vpc, "10.0.1.0/24", "us-west-2a");
        let input = interface_endpoint(&vpc, &[&one]);
        assert!(stage.no("create_vpc_endpoint", input.clone()).message.contains("enableDnsHostnames"));
        stage.ok("modify_vpc_attribute", json!({ "vpc_id": vpc, "enable_dns_hostnames": { "value": true } }));
        let both = interface_endpoint(&vpc, &[&one, &same_zone]);
        assert_eq!(code(&stage.no("create_vpc_endpoint", both)), "DuplicateSubnetsInSameZone");
        stage.ok("create_vpc_endpoint", input.clone());
        assert!(stage.no("create_vpc_endpoint", input).message.contains("conflicting DNS domain"));
    }

    #[test]
    fn every_service_is_offered_under_its_type() {
        let mut stage = Stage::new();
        let services = stage.ok("describe_vpc_endpoint_services", json!({}))["service_details"].clone();
        let s3 = services.as_array().unwrap().iter().filter(|one| text(one, "service_name").ends_with(".s3")).count();
        assert_eq!(s3, 2, "as gateway and as interface");
    }
}
