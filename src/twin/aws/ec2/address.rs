//! Elastic addresses.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{compute, gateway, listing};
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Refusal, Row, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::allocate_address", allocate_address),
    ("ec2::associate_address", associate_address),
    ("ec2::describe_addresses", describe_addresses),
    ("ec2::disassociate_address", disassociate_address),
    ("ec2::release_address", release_address),
];

const TABLE: &str = "ec2/addresses";

/// The quota of elastic addresses.
pub const QUOTA: &str = "L-0263D0A3";

/// A public address that nobody has.
pub fn public(world: &mut World) -> String {
    let number = world.random("public address", 1 << 24);
    // Below 2^24, so it fits; 54 is AWS's.
    let rest = u32::try_from(number).unwrap_or(0);
    Ipv4Addr::from((54 << 24) | rest).to_string()
}

/// The name of a public address; empty where the VPC gives no names.
fn public_name(world: &World, public: &str, vpc_id: &str) -> String {
    let named = world.find("ec2/vpcs", vpc_id).is_some_and(|vpc| vpc["_dns_hostnames"] == true);
    let host = public.replace('.', "-");
    match world.region.as_str() {
        _ if !named => String::new(),
        "us-east-1" => format!("ec2-{host}.compute-1.amazonaws.com"),
        region => format!("ec2-{host}.{region}.compute.amazonaws.com"),
    }
}

/// Ties an address to an interface.
pub fn attach(world: &mut World, allocation_id: &str, interface_id: &str) {
    let association = world.id("eipassoc");
    let interface = world.find("ec2/network_interfaces", interface_id).cloned().unwrap_or_default();
    let owner = world.account.clone();
    let public = world.find(TABLE, allocation_id).map(|address| text(address, "public_ip")).unwrap_or_default();
    let name = public_name(world, public, text(&interface, "vpc_id"));
    let Some(address) = world.find_mut(TABLE, allocation_id) else { return };
    address["association_id"] = json!(association);
    address["network_interface_id"] = json!(interface_id);
    address["network_interface_owner_id"] = json!(owner);
    address["private_ip_address"] = interface["private_ip_address"].clone();
    if interface["attachment"]["instance_id"].is_string() {
        address["instance_id"] = interface["attachment"]["instance_id"].clone();
    }
    let shown = json!({
        "allocation_id": allocation_id, "association_id": association, "ip_owner_id": owner,
        "public_ip": address["public_ip"], "public_dns_name": name,
    });
    if let Some(interface) = world.find_mut("ec2/network_interfaces", interface_id) {
        interface["association"] = shown.clone();
        if let Some(first) = interface["private_ip_addresses"].get_mut(0) {
            first["association"] = shown;
        }
    }
}

/// Makes an address free again.
pub fn detach(world: &mut World, allocation_id: &str) {
    let Some(Value::Object(address)) = world.find_mut(TABLE, allocation_id) else { return };
    for key in
        ["association_id", "instance_id", "network_interface_id", "network_interface_owner_id", "private_ip_address"]
    {
        address.remove(key);
    }
}

const NAMES: Names = &[];
const PLAIN: &[&str] = &[
    "allocation-id",
    "association-id",
    "domain",
    "instance-id",
    "network-border-group",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
];

fn allocate_address(world: &mut World, input: &Value) -> Answer {
    if world.table(TABLE).len() >= listing::quota(world, QUOTA, 5) && !world.is_off("ec2 quotas") {
        let message = "The maximum number of addresses has been reached.";
        return refuse("AddressLimitExceeded", 400, message);
    }
    let id = world.id("eipalloc");
    let address = json!({
        "allocation_id": id,
        "public_ip": public(world),
        "domain": "vpc",
        "public_ipv4_pool": "amazon",
        "network_border_group": world.region,
        "tags": specified_tags(input, "elastic-ip"),
    });
    let mut answer = address.clone();
    answer["tags"] = Value::Null;
    if let Value::Object(fields) = &mut answer {
        fields.remove("tags");
    }
    world.put(TABLE, &id, address);
    Ok(answer)
}

fn describe_addresses(world: &mut World, input: &Value) -> Answer {
    let mut found = listing::asked(world, TABLE, &input["allocation_ids"], &input["filters"], NAMES, PLAIN)?;
    let public = texts(&input["public_ips"]);
    for ip in &public {
        if !world.table(TABLE).values().any(|address| address["public_ip"] == *ip) {
            return refuse("InvalidAddress.NotFound", 400, format!("Address '{ip}' not found."));
        }
    }
    found.retain(|address| public.is_empty() || public.contains(&text(address, "public_ip")));
    Ok(json!({ "addresses": found }))
}

/// The interface that an address is to go to: named itself, or the first of an instance.
fn interface_to_reach(world: &World, input: &Value) -> Result<String, Refusal> {
    if let Some(id) = input["network_interface_id"].as_str() {
        return listing::get(world, "ec2/network_interfaces", id).map(|_| id.to_owned());
    }
    let Some(instance) = input["instance_id"].as_str() else {
        return refuse("MissingParameter", 400, "Either 'InstanceId' or 'NetworkInterfaceId' must be specified");
    };
    compute::instance(world, instance)?;
    let mut interfaces = world.table("ec2/network_interfaces").values();
    let first = interfaces.find(|one| {
        one["attachment"]["instance_id"] == instance && one["attachment"]["device_index"].as_i64() == Some(0)
    });
    match first {
        Some(interface) => Ok(text(interface, "network_interface_id").to_owned()),
        None => {
            let message = format!("The pending instance '{instance}' is not in a valid state for this operation.");
            refuse("IncorrectInstanceState", 400, message)
        }
    }
}

fn associate_address(world: &mut World, input: &Value) -> Answer {
    let id = allocation(world, input)?;
    let interface_id = interface_to_reach(world, input)?;
    let address = listing::get(world, TABLE, &id)?.clone();
    let interface = listing::get(world, "ec2/network_interfaces", &interface_id)?.clone();
    let vpc_id = text(&interface, "vpc_id");
    if !gateway::has_gateway(world, vpc_id) {
        let message = format!("Network {vpc_id} is not attached to any internet gateway");
        return refuse("Gateway.NotAttached", 400, message);
    }
    if let Some(association) = address["association_id"].as_str() {
        if address["network_interface_id"] == interface_id {
            return Ok(json!({ "association_id": association }));
        }
        if input["allow_reassociation"] == false {
            let message = format!("resource {id} is already associated with associate-id {association}");
            return refuse("Resource.AlreadyAssociated", 400, message);
        }
        part(world, &id);
    }
    if let Some(present) = interface["association"]["allocation_id"].as_str() {
        detach(world, present);
    }
    attach(world, &id, &interface_id);
    let public = address["public_ip"].clone();
    let dns = public_name(world, text(&address, "public_ip"), vpc_id);
    show_on_instance(world, &interface, public, json!(dns));
    Ok(json!({ "association_id": listing::get(world, TABLE, &id)?["association_id"] }))
}

fn disassociate_address(world: &mut World, input: &Value) -> Answer {
    let by_ip = |address: &&Value| address["public_ip"] == input["public_ip"];
    let addresses = || world.table(TABLE).values();
    let found = match input["association_id"].as_str() {
        Some(association) => match addresses().find(|one| one["association_id"] == association) {
            Some(found) => found,
            None => {
                let message = format!("The association ID '{association}' does not exist");
                return refuse("InvalidAssociationID.NotFound", 400, message);
            }
        },
        None => match addresses().find(by_ip) {
            Some(found) => found,
            None => {
                let message = format!("Address '{}' not found.", text(input, "public_ip"));
                return refuse("InvalidAddress.NotFound", 400, message);
            }
        },
    };
    let id = text(found, "allocation_id").to_owned();
    part(world, &id);
    Ok(json!({}))
}

/// Takes an address from its interface, and from what the instance shows.
fn part(world: &mut World, id: &str) {
    let interface_id = world.find(TABLE, id).map(|address| text(address, "network_interface_id").to_owned());
    detach(world, id);
    let Some(interface_id) = interface_id else { return };
    let Some(interface) = world.find_mut("ec2/network_interfaces", &interface_id) else { return };
    interface["association"] = Value::Null;
    for one in interface["private_ip_addresses"].as_array_mut().into_iter().flatten() {
        one["association"] = Value::Null;
    }
    let interface = interface.clone();
    show_on_instance(world, &interface, Value::Null, json!(""));
}

fn show_on_instance(world: &mut World, interface: &Value, public: Value, dns: Value) {
    let attachment = &interface["attachment"];
    let Some(instance) = attachment["instance_id"].as_str().filter(|_| attachment["device_index"] == 0) else { return };
    if let Some(instance) = world.find_mut("ec2/instances", instance) {
        instance["public_ip_address"] = public;
        instance["public_dns_name"] = dns;
    }
}

/// The allocation that an input means by its id or by its address.
fn allocation(world: &World, input: &Value) -> Result<String, Refusal> {
    match (input["allocation_id"].as_str(), input["public_ip"].as_str()) {
        (None, Some(ip)) => {
            let by_ip = json!([{ "name": "public-ip", "values": [ip] }]);
            let found = filter::select(world.table(TABLE).values(), &by_ip, NAMES);
            match found.first() {
                Some(found) => Ok(text(found, "allocation_id").to_owned()),
                None => refuse("InvalidAddress.NotFound", 400, format!("Address '{ip}' not found.")),
            }
        }
        _ => {
            let id = listing::required(input, "allocation_id")?;
            listing::get(world, TABLE, id).map(|_| id.to_owned())
        }
    }
}

fn release_address(world: &mut World, input: &Value) -> Answer {
    let id = allocation(world, input)?;
    let address = listing::get(world, TABLE, &id)?;
    if address["association_id"].is_string() && !world.is_off("address in use") {
        let message = format!("Address {} is in use.", text(address, "public_ip"));
        return refuse("InvalidIPAddress.InUse", 400, message);
    }
    world.remove(TABLE, &id);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    #[test]
    fn an_address_goes_to_an_interface_and_comes_back() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let subnet = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let (first, second) = (stage.interface(&subnet), stage.interface(&subnet));
        let id = stage.made("allocate_address", json!({ "domain": "vpc" }), "/allocation_id");
        let to = |eni: &str| json!({ "allocation_id": id, "network_interface_id": eni, "allow_reassociation": false });
        assert_eq!(code(&stage.no("associate_address", to(&first))), "Gateway.NotAttached");
        stage.internet_gateway(&vpc);
        let association = stage.made("associate_address", to(&first), "/association_id");
        assert_eq!(stage.made("associate_address", to(&first), "/association_id"), association, "the same once more");
        assert_eq!(code(&stage.no("associate_address", to(&second))), "Resource.AlreadyAssociated");
        let moved = json!({ "allocation_id": id, "network_interface_id": second });
        let association = stage.made("associate_address", moved, "/association_id");
        let shown = |stage: &mut Stage, eni: &str| {
            let found = stage.ok("describe_network_interfaces", json!({ "network_interface_ids": [eni] }));
            found["network_interfaces"][0]["association"]["allocation_id"].clone()
        };
        assert_eq!((shown(&mut stage, &first), shown(&mut stage, &second)), (Value::Null, json!(id)));
        assert_eq!(code(&stage.no("release_address", json!({ "allocation_id": id }))), "InvalidIPAddress.InUse");
        stage.ok("disassociate_address", json!({ "association_id": association }));
        let again = stage.no("disassociate_address", json!({ "association_id": association }));
        assert_eq!(code(&again), "InvalidAssociationID.NotFound");
        stage.ok("release_address", json!({ "allocation_id": id }));
    }
}
