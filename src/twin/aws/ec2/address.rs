//! Elastic addresses.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::listing;
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Row, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::allocate_address", allocate_address),
    ("ec2::describe_addresses", describe_addresses),
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

/// Ties an address to an interface.
pub fn attach(world: &mut World, allocation_id: &str, interface_id: &str) {
    let association = world.id("eipassoc");
    let interface = world.find("ec2/network_interfaces", interface_id).cloned().unwrap_or_default();
    let owner = world.account.clone();
    let Some(address) = world.find_mut(TABLE, allocation_id) else { return };
    address["association_id"] = json!(association);
    address["network_interface_id"] = json!(interface_id);
    address["network_interface_owner_id"] = json!(owner);
    address["private_ip_address"] = interface["private_ip_address"].clone();
    let shown = json!({
        "allocation_id": allocation_id, "association_id": association, "ip_owner_id": owner,
        "public_ip": address["public_ip"],
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

fn release_address(world: &mut World, input: &Value) -> Answer {
    let id = match (input["allocation_id"].as_str(), input["public_ip"].as_str()) {
        (None, Some(ip)) => {
            let by_ip = json!([{ "name": "public-ip", "values": [ip] }]);
            let found = filter::select(world.table(TABLE).values(), &by_ip, NAMES);
            let Some(found) = found.first() else {
                return refuse("InvalidAddress.NotFound", 400, format!("Address '{ip}' not found."));
            };
            text(found, "allocation_id").to_owned()
        }
        _ => listing::required(input, "allocation_id")?.to_owned(),
    };
    let address = listing::get(world, TABLE, &id)?;
    if address["association_id"].is_string() && !world.is_off("address in use") {
        let message = format!("Address {} is in use.", text(address, "public_ip"));
        return refuse("InvalidIPAddress.InUse", 400, message);
    }
    world.remove(TABLE, &id);
    Ok(json!({}))
}
