//! Internet gateways and NAT gateways.

use serde_json::{Value, json};

use super::{address, interface, listing};
use crate::twin::Arrival;
use crate::twin::aws::filter::Names;
use crate::twin::aws::{Answer, Row, refuse, specified_tags, text};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::attach_internet_gateway", attach_internet_gateway),
    ("ec2::create_internet_gateway", create_internet_gateway),
    ("ec2::create_nat_gateway", create_nat_gateway),
    ("ec2::delete_internet_gateway", delete_internet_gateway),
    ("ec2::delete_nat_gateway", delete_nat_gateway),
    ("ec2::describe_internet_gateways", describe_internet_gateways),
    ("ec2::describe_nat_gateways", describe_nat_gateways),
    ("ec2::detach_internet_gateway", detach_internet_gateway),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(NAT, nat_arrives)];

const IGW: &str = "ec2/internet_gateways";
const NAT: &str = "ec2/nat_gateways";

/// Whether an internet gateway is attached to a VPC.
pub fn is_attached(world: &World, gateway_id: &str, vpc_id: &str) -> bool {
    world.find(IGW, gateway_id).is_some_and(|gateway| attachments(gateway).any(|one| one["vpc_id"] == vpc_id))
}

/// Whether a VPC has any internet gateway.
pub fn has_gateway(world: &World, vpc_id: &str) -> bool {
    world.table(IGW).values().flat_map(attachments).any(|one| one["vpc_id"] == vpc_id)
}

fn attachments(gateway: &Value) -> impl Iterator<Item = &Value> {
    gateway["attachments"].as_array().into_iter().flatten()
}

fn create_internet_gateway(world: &mut World, input: &Value) -> Answer {
    if world.table(IGW).len() >= listing::quota(world, "L-A4707A72", 5) && !world.is_off("ec2 quotas") {
        let message = "The maximum number of internet gateways has been reached.";
        return refuse("InternetGatewayLimitExceeded", 400, message);
    }
    let id = world.id("igw");
    let gateway = json!({
        "internet_gateway_id": id,
        "owner_id": world.account,
        "attachments": [],
        "tags": specified_tags(input, "internet-gateway"),
    });
    world.put(IGW, &id, gateway.clone());
    Ok(json!({ "internet_gateway": gateway }))
}

fn describe_internet_gateways(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[("attachment.vpc-id", "attachments.vpc_id"), ("attachment.state", "attachments.state")];
    let what = (IGW, "internet_gateway_ids", "internet_gateways");
    listing::answer(world, what, input, names, &["internet-gateway-id", "owner-id"])
}

fn attach_internet_gateway(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "internet_gateway_id")?;
    let vpc_id = listing::required(input, "vpc_id")?;
    let gateway = listing::get(world, IGW, id)?;
    listing::get(world, "ec2/vpcs", vpc_id)?;
    if let Some(there) = attachments(gateway).next() {
        let message = format!("resource {id} is already attached to network {}", text(there, "vpc_id"));
        return refuse("Resource.AlreadyAssociated", 400, message);
    }
    if has_gateway(world, vpc_id) {
        let message = format!("Network {vpc_id} already has an internet gateway attached");
        return refuse("InvalidParameterValue", 400, message);
    }
    if let Some(gateway) = world.find_mut(IGW, id) {
        gateway["attachments"] = json!([{ "state": "available", "vpc_id": vpc_id }]);
    }
    Ok(json!({}))
}

fn detach_internet_gateway(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "internet_gateway_id")?;
    let vpc_id = listing::required(input, "vpc_id")?;
    listing::get(world, IGW, id)?;
    if !is_attached(world, id, vpc_id) {
        let message = format!("resource {id} is not attached to network {vpc_id}");
        return refuse("Gateway.NotAttached", 400, message);
    }
    let interfaces = world.table("ec2/network_interfaces").values();
    let is_public = |one: &Value| one["vpc_id"] == vpc_id && one["association"]["public_ip"].is_string();
    if interfaces.into_iter().any(is_public) && !world.is_off("mapped public addresses") {
        let message = format!(
            "Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before \
             detaching the gateway."
        );
        return refuse("DependencyViolation", 400, message);
    }
    if let Some(gateway) = world.find_mut(IGW, id) {
        gateway["attachments"] = json!([]);
    }
    Ok(json!({}))
}

fn delete_internet_gateway(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "internet_gateway_id")?;
    if attachments(listing::get(world, IGW, id)?).next().is_some() {
        let message = format!("The internetGateway '{id}' has dependencies and cannot be deleted.");
        return refuse("DependencyViolation", 400, message);
    }
    world.remove(IGW, id);
    Ok(json!({}))
}

// NAT gateways.

fn create_nat_gateway(world: &mut World, input: &Value) -> Answer {
    let subnet_id = listing::required(input, "subnet_id")?;
    let subnet = listing::get(world, "ec2/subnets", subnet_id)?.clone();
    let is_private = input["connectivity_type"] == "private";
    let allocation = match input["allocation_id"].as_str() {
        Some(allocation) => Some((allocation, listing::get(world, "ec2/addresses", allocation)?.clone())),
        None if is_private => None,
        None => return refuse("MissingParameter", 400, "The request must contain the parameter AllocationId"),
    };
    let zone = text(&subnet, "availability_zone");
    if usable_in_zone(world, zone) >= listing::quota(world, "L-FE5A380F", 5) && !world.is_off("ec2 quotas") {
        return refuse("NatGatewayLimitExceeded", 400, "The maximum number of NAT Gateways has been reached.");
    }
    let id = world.id("nat");
    let description = format!("Interface for NAT Gateway {id}");
    let interface_id = interface::create(
        world,
        &interface::New {
            subnet_id,
            description: &description,
            interface_type: "natGateway",
            requester_managed: true,
            ..interface::New::default()
        },
    )?;
    let private = world.find("ec2/network_interfaces", &interface_id).map(|one| one["private_ip_address"].clone());
    let mut shown = json!({
        "network_interface_id": interface_id, "private_ip": private, "is_primary": true, "status": "succeeded",
    });
    let mut failure = None;
    if let Some((allocation, address)) = &allocation {
        shown["allocation_id"] = json!(allocation);
        shown["public_ip"] = address["public_ip"].clone();
        if address["association_id"].is_string() {
            let message = format!("Elastic IP address [{allocation}] is already associated");
            failure = Some(("Resource.AlreadyAssociated", message));
        } else {
            address::attach(world, allocation, &interface_id);
            shown["association_id"] = association_of(world, allocation);
        }
    }
    let mut gateway = json!({
        "nat_gateway_id": id,
        "subnet_id": subnet_id,
        "vpc_id": subnet["vpc_id"],
        "state": "pending",
        "create_time": world.now_text(),
        "connectivity_type": if is_private { "private" } else { "public" },
        "nat_gateway_addresses": [shown],
        "tags": specified_tags(input, "natgateway"),
    });
    if let Some((code, message)) = failure {
        gateway["_failure"] = json!([code, message]);
    }
    world.put(NAT, &id, gateway.clone());
    world.begin(NAT, &id, "available");
    Ok(json!({ "nat_gateway": gateway, "client_token": input["client_token"] }))
}

fn association_of(world: &World, allocation: &str) -> Value {
    world.find("ec2/addresses", allocation).map_or(Value::Null, |address| address["association_id"].clone())
}

fn usable_in_zone(world: &World, zone: &str) -> usize {
    let gateways = world.table(NAT).values().filter(|one| matches!(text(one, "state"), "pending" | "available"));
    let in_zone = |one: &&Value| {
        let subnet = world.find("ec2/subnets", text(one, "subnet_id"));
        subnet.is_some_and(|subnet| subnet["availability_zone"] == zone)
    };
    gateways.filter(in_zone).count()
}

fn describe_nat_gateways(world: &mut World, input: &Value) -> Answer {
    let plain = &["nat-gateway-id", "state", "subnet-id", "vpc-id"];
    let found = listing::asked(world, NAT, &input["nat_gateway_ids"], &input["filter"], &[], plain)?;
    Ok(json!({ "nat_gateways": found }))
}

fn delete_nat_gateway(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "nat_gateway_id")?;
    let gateway = listing::get(world, NAT, id)?;
    if gateway["state"] == "deleted" {
        return Err(listing::not_found(NAT, id));
    }
    if gateway["state"] != "deleting" {
        world.forget(NAT, id);
        if let Some(gateway) = world.find_mut(NAT, id) {
            gateway["state"] = json!("deleting");
        }
        world.begin(NAT, id, "deleted");
    }
    Ok(json!({ "nat_gateway_id": id }))
}

/// A NAT gateway works, can not work, is deleted, or is no longer shown.
fn nat_arrives(world: &mut World, id: &str, to: &str) {
    match to {
        "available" => {
            let failure = why_not(world, id);
            if failure.is_some() {
                let_go(world, id);
            }
            let Some(gateway) = world.find_mut(NAT, id) else { return };
            match failure {
                None => gateway["state"] = json!("available"),
                Some((code, message)) => {
                    gateway["state"] = json!("failed");
                    gateway["failure_code"] = json!(code);
                    gateway["failure_message"] = json!(message);
                }
            }
        }
        "deleted" => {
            let_go(world, id);
            let now = world.now_text();
            if let Some(gateway) = world.find_mut(NAT, id) {
                gateway["state"] = json!("deleted");
                gateway["delete_time"] = json!(now);
            }
            world.begin(NAT, id, "gone");
        }
        _ => drop(world.remove(NAT, id)),
    }
}

/// Why a NAT gateway can not work: its address is another's, or its network has no way to the internet.
fn why_not(world: &World, id: &str) -> Option<(String, String)> {
    let gateway = world.find(NAT, id)?;
    let known = &gateway["_failure"];
    if let (Some(code), Some(message)) = (known[0].as_str(), known[1].as_str()) {
        return Some((code.to_owned(), message.to_owned()));
    }
    let vpc_id = text(gateway, "vpc_id");
    if gateway["connectivity_type"] == "private" || has_gateway(world, vpc_id) {
        return None;
    }
    Some(("Gateway.NotAttached".to_owned(), format!("Network {vpc_id} has no Internet gateway attached")))
}

/// Gives interface and address of a NAT gateway back.
fn let_go(world: &mut World, id: &str) {
    let Some(gateway) = world.find(NAT, id) else { return };
    let interface_id = text(&gateway["nat_gateway_addresses"][0], "network_interface_id").to_owned();
    interface::delete(world, &interface_id);
}
