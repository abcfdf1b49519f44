//! Route tables, their routes and which subnets they are for.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::listing;
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Refusal, Row, refuse, specified_tags, text};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::associate_route_table", associate_route_table),
    ("ec2::create_route", create_route),
    ("ec2::create_route_table", create_route_table),
    ("ec2::delete_route", delete_route),
    ("ec2::delete_route_table", delete_route_table),
    ("ec2::describe_route_tables", describe_route_tables),
    ("ec2::disassociate_route_table", disassociate_route_table),
    ("ec2::replace_route", replace_route),
];

const TABLE: &str = "ec2/route_tables";

/// What a route can lead to, in the fields of the input and of the route.
const TARGETS: &[&str] = &[
    "gateway_id",
    "nat_gateway_id",
    "transit_gateway_id",
    "network_interface_id",
    "instance_id",
    "vpc_peering_connection_id",
    "egress_only_internet_gateway_id",
    "local_gateway_id",
    "carrier_gateway_id",
    "core_network_arn",
];

const DESTINATIONS: &[&str] = &["destination_cidr_block", "destination_ipv6_cidr_block", "destination_prefix_list_id"];

/// Makes a route table with the route that every one has.
pub fn create(world: &mut World, vpc_id: &str, is_main: bool, tags: Value) -> Result<String, Refusal> {
    let cidr = listing::get(world, "ec2/vpcs", vpc_id)?["cidr_block"].clone();
    let id = world.id("rtb");
    let table = json!({
        "route_table_id": id,
        "vpc_id": vpc_id,
        "owner_id": world.account,
        "associations": [],
        "propagating_vgws": [],
        "routes": [{
            "destination_cidr_block": cidr, "gateway_id": "local", "origin": "CreateRouteTable", "state": "active",
        }],
        "tags": tags,
    });
    world.put(TABLE, &id, table);
    if is_main {
        associate(world, &id, None);
    }
    Ok(id)
}

/// The table that holds for a subnet: its own, or the main one of the VPC.
pub fn table_of<'a>(world: &'a World, vpc_id: &str, subnet_id: &str) -> Option<&'a Value> {
    let mut main = None;
    for table in world.table(TABLE).values().filter(|table| table["vpc_id"] == vpc_id) {
        for one in associations(table) {
            if one["subnet_id"] == subnet_id {
                return Some(table);
            }
            if one["main"] == true {
                main = Some(table);
            }
        }
    }
    main
}

/// Whether a route leads to something that is gone.
pub fn is_blackhole(world: &World, vpc_id: &str, route: &Value) -> bool {
    if let Some(nat) = route["nat_gateway_id"].as_str() {
        let state = world.find("ec2/nat_gateways", nat).map(|nat| text(nat, "state"));
        return !matches!(state, Some("pending" | "available" | "deleting"));
    }
    if let Some(interface) = route["network_interface_id"].as_str() {
        return world.find("ec2/network_interfaces", interface).is_none();
    }
    let gateway = text(route, "gateway_id");
    gateway.starts_with("igw-") && !super::gateway::is_attached(world, gateway, vpc_id)
}

/// Leads the traffic to a service through a gateway endpoint.
pub fn add_endpoint(world: &mut World, table_id: &str, prefix_list: &str, endpoint_id: &str) {
    let route = json!({
        "destination_prefix_list_id": prefix_list, "gateway_id": endpoint_id, "origin": "CreateRoute",
        "state": "active",
    });
    change_routes(world, table_id, |routes| routes.push(route));
}

/// Takes the routes through a gateway endpoint away.
pub fn remove_endpoint(world: &mut World, table_id: &str, endpoint_id: &str) {
    change_routes(world, table_id, |routes| routes.retain(|route| route["gateway_id"] != endpoint_id));
}

/// Takes the associations of a subnet that goes away with it.
pub fn forget_subnet(world: &mut World, subnet_id: &str) {
    let mut tables = world.table(TABLE).values();
    let holds = |table: &&Value| associations(table).any(|one| one["subnet_id"] == subnet_id);
    let Some(id) = tables.find(holds).map(|table| text(table, "route_table_id").to_owned()) else { return };
    if let Some(Value::Array(list)) = world.find_mut(TABLE, &id).map(|table| &mut table["associations"]) {
        list.retain(|one| one["subnet_id"] != subnet_id);
    }
}

fn change_routes(world: &mut World, table_id: &str, change: impl FnOnce(&mut Vec<Value>)) {
    if let Some(Value::Array(routes)) = world.find_mut(TABLE, table_id).map(|table| &mut table["routes"]) {
        change(routes);
    }
}

fn associations(table: &Value) -> impl Iterator<Item = &Value> {
    table["associations"].as_array().into_iter().flatten()
}

fn associate(world: &mut World, table_id: &str, subnet_id: Option<&str>) -> String {
    let id = world.id("rtbassoc");
    let mut association = json!({
        "route_table_association_id": id, "route_table_id": table_id, "main": subnet_id.is_none(),
        "association_state": { "state": "associated" },
    });
    if let Some(subnet_id) = subnet_id {
        association["subnet_id"] = json!(subnet_id);
    }
    if let Some(Value::Array(list)) = world.find_mut(TABLE, table_id).map(|table| &mut table["associations"]) {
        list.push(association);
    }
    id
}

fn create_route_table(world: &mut World, input: &Value) -> Answer {
    let vpc_id = listing::required(input, "vpc_id")?;
    let id = create(world, vpc_id, false, specified_tags(input, "route-table"))?;
    Ok(json!({ "route_table": world.find(TABLE, &id) }))
}

fn delete_route_table(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "route_table_id")?;
    let table = listing::get(world, TABLE, id)?;
    if associations(table).next().is_some() && !world.is_off("route table in use") {
        let message = format!("The routeTable '{id}' has dependencies and cannot be deleted.");
        return refuse("DependencyViolation", 400, message);
    }
    world.remove(TABLE, id);
    Ok(json!({}))
}

const NAMES: Names = &[
    ("association.main", "associations.main"),
    ("association.subnet-id", "associations.subnet_id"),
    ("association.route-table-id", "associations.route_table_id"),
    ("association.route-table-association-id", "associations.route_table_association_id"),
    ("association.gateway-id", "associations.gateway_id"),
    ("route.destination-cidr-block", "routes.destination_cidr_block"),
    ("route.destination-prefix-list-id", "routes.destination_prefix_list_id"),
    ("route.gateway-id", "routes.gateway_id"),
    ("route.nat-gateway-id", "routes.nat_gateway_id"),
    ("route.transit-gateway-id", "routes.transit_gateway_id"),
    ("route.origin", "routes.origin"),
    ("route.state", "routes.state"),
];

fn describe_route_tables(world: &mut World, input: &Value) -> Answer {
    let filters = &input["filters"];
    filter::check(filters, NAMES, &["owner-id", "route-table-id", "vpc-id"])?;
    let mut found = listing::asked(world, TABLE, &input["route_table_ids"], &Value::Null, NAMES, &[])?;
    for table in &mut found {
        let vpc_id = text(table, "vpc_id").to_owned();
        for route in table["routes"].as_array_mut().into_iter().flatten() {
            let state = if is_blackhole(world, &vpc_id, route) { "blackhole" } else { "active" };
            route["state"] = json!(state);
        }
    }
    Ok(json!({ "route_tables": filter::select(found.iter(), filters, NAMES) }))
}

/// A route as it was asked for: destination and one target.
fn asked_route(world: &World, input: &Value, vpc_id: &str) -> Answer {
    let Some(destination) = DESTINATIONS.iter().find(|key| input[**key].is_string()) else {
        return refuse("MissingParameter", 400, "The request must contain the parameter destinationCidrBlock");
    };
    if *destination == "destination_cidr_block" && text(input, destination).parse::<Ipv4Net>().is_err() {
        let message = format!(
            "Value ({}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.",
            text(input, destination)
        );
        return refuse("InvalidParameterValue", 400, message);
    }
    let mut targets = TARGETS.iter().filter(|key| input[**key].is_string());
    let (Some(target), None) = (targets.next(), targets.next()) else {
        return refuse("InvalidParameterCombination", 400, "The request must contain exactly one route target");
    };
    let id = text(input, target);
    if let Some(kind) = listing::kind_of(id).filter(|_| id != "local") {
        listing::get(world, kind.table, id)?;
    }
    if id.starts_with("igw-") && !super::gateway::is_attached(world, id, vpc_id) {
        let message = format!("route table and network gateway {id} belong to different networks");
        return refuse("InvalidParameterValue", 400, message);
    }
    let nat = world.find("ec2/nat_gateways", id);
    if nat.is_some_and(|nat| matches!(text(nat, "state"), "deleting" | "deleted" | "failed")) {
        return Err(listing::not_found("ec2/nat_gateways", id));
    }
    Ok(json!({ *destination: input[*destination], *target: id, "origin": "CreateRoute", "state": "active" }))
}

fn same_destination(route: &Value, other: &Value) -> bool {
    DESTINATIONS.iter().any(|key| route[*key].is_string() && route[*key] == other[*key])
}

fn destination_of(input: &Value) -> &str {
    DESTINATIONS.iter().find_map(|key| input[*key].as_str()).unwrap_or_default()
}

/// Table id, its VPC, and the place of the route with the destination of the input.
fn place(world: &World, input: &Value) -> Result<(String, String, Option<usize>), Refusal> {
    let id = listing::required(input, "route_table_id")?;
    let table = listing::get(world, TABLE, id)?;
    let mut routes = table["routes"].as_array().into_iter().flatten();
    let place = routes.position(|route| same_destination(route, input));
    Ok((id.to_owned(), text(table, "vpc_id").to_owned(), place))
}

fn create_route(world: &mut World, input: &Value) -> Answer {
    let (id, vpc_id, there) = place(world, input)?;
    let route = asked_route(world, input, &vpc_id)?;
    // A route is its destination: not even the same one is made twice, nor one that leads nowhere anew.
    if there.is_some() {
        let message = format!("The route identified by {} already exists.", destination_of(input));
        return refuse("RouteAlreadyExists", 400, message);
    }
    change_routes(world, &id, |routes| routes.push(route));
    Ok(json!({ "return": true }))
}

fn replace_route(world: &mut World, input: &Value) -> Answer {
    let (id, vpc_id, there) = place(world, input)?;
    let Some(place) = there else {
        let destination = destination_of(input);
        let message =
            format!("There is no route defined for '{destination}' in the route table. Use CreateRoute instead.");
        return refuse("InvalidParameterValue", 400, message);
    };
    let route = asked_route(world, input, &vpc_id)?;
    change_routes(world, &id, |routes| routes[place] = route);
    Ok(json!({}))
}

fn delete_route(world: &mut World, input: &Value) -> Answer {
    let (id, _, there) = place(world, input)?;
    let Some(place) = there else {
        let destination = destination_of(input);
        let message = format!("no route with destination-cidr-block {destination} in route table {id}");
        return refuse("InvalidRoute.NotFound", 400, message);
    };
    let route = &listing::get(world, TABLE, &id)?["routes"][place];
    if route["gateway_id"] == "local" {
        let message = format!("cannot remove local route {} in route table {id}", destination_of(input));
        return refuse("InvalidParameterValue", 400, message);
    }
    change_routes(world, &id, |routes| drop(routes.remove(place)));
    Ok(json!({}))
}

fn associate_route_table(world: &mut World, input: &Value) -> Answer {
    let table_id = listing::required(input, "route_table_id")?;
    let subnet_id = listing::required(input, "subnet_id")?;
    let table = listing::get(world, TABLE, table_id)?;
    let subnet = listing::get(world, "ec2/subnets", subnet_id)?;
    if table["vpc_id"] != subnet["vpc_id"] {
        let message = format!("Route table {table_id} and subnet {subnet_id} belong to different networks");
        return refuse("InvalidParameterValue", 400, message);
    }
    for other in world.table(TABLE).values() {
        let Some(present) = associations(other).find(|one| one["subnet_id"] == subnet_id) else { continue };
        if other["route_table_id"] == table_id {
            let id = present["route_table_association_id"].clone();
            return Ok(json!({ "association_id": id, "association_state": { "state": "associated" } }));
        }
        let message =
            format!("the specified association for route table {table_id} conflicts with an existing association");
        return refuse("Resource.AlreadyAssociated", 400, message);
    }
    let id = associate(world, table_id, Some(subnet_id));
    Ok(json!({ "association_id": id, "association_state": { "state": "associated" } }))
}

fn disassociate_route_table(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "association_id")?;
    let found = world.table(TABLE).iter().find_map(|(table_id, table)| {
        let association = associations(table).find(|one| one["route_table_association_id"] == id)?;
        Some((table_id.clone(), association["main"] == true))
    });
    match found {
        None => refuse("InvalidAssociationID.NotFound", 400, format!("The association ID '{id}' does not exist")),
        Some((_, true)) => {
            let message = format!("cannot disassociate the main route table association {id}");
            refuse("InvalidParameterValue", 400, message)
        }
        Some((table_id, false)) => {
            if let Some(Value::Array(list)) = world.find_mut(TABLE, &table_id).map(|table| &mut table["associations"]) {
                list.retain(|one| one["route_table_association_id"] != id);
            }
            Ok(json!({}))
        }
    }
}
