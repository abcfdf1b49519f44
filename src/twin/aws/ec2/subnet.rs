//! Subnets.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::{interface, listing, route, vpc};
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Row, refuse, specified_tags, text};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::create_subnet", create_subnet),
    ("ec2::delete_subnet", delete_subnet),
    ("ec2::describe_subnets", describe_subnets),
    ("ec2::modify_subnet_attribute", modify_subnet_attribute),
];

const TABLE: &str = "ec2/subnets";

fn create_subnet(world: &mut World, input: &Value) -> Answer {
    let vpc_id = listing::required(input, "vpc_id")?;
    let network = vpc::block(text(listing::get(world, "ec2/vpcs", vpc_id)?, "cidr_block"));
    let asked = listing::required(input, "cidr_block")?;
    if asked.parse::<Ipv4Net>().is_err() {
        let message = format!("Value ({asked}) for parameter cidrBlock is invalid. This is not a valid CIDR block.");
        return refuse("InvalidParameterValue", 400, message);
    }
    let fitting = vpc::block(asked).filter(|cidr| network.is_none_or(|network| network.contains(cidr)));
    let Some(cidr) = fitting else {
        return refuse("InvalidSubnet.Range", 400, format!("The CIDR '{asked}' is invalid."));
    };
    let mut siblings = world.table(TABLE).values().filter(|one| one["vpc_id"] == vpc_id);
    let overlaps = |other: &Value| {
        let other = vpc::block(text(other, "cidr_block"));
        other.is_some_and(|other| other.contains(&cidr) || cidr.contains(&other))
    };
    if siblings.any(overlaps) && !world.is_off("subnet overlap") {
        let message = format!("The CIDR '{cidr}' conflicts with another subnet");
        return refuse("InvalidSubnet.Conflict", 400, message);
    }
    let zone = zone(world, input)?;
    let id = world.id("subnet");
    let subnet = json!({
        "subnet_id": id,
        "subnet_arn": world.arn("ec2", &format!("subnet/{id}")),
        "vpc_id": vpc_id,
        "cidr_block": cidr.to_string(),
        "availability_zone": zone["zone_name"],
        "availability_zone_id": zone["zone_id"],
        "state": "available",
        "owner_id": world.account,
        "default_for_az": false,
        "map_public_ip_on_launch": false,
        "map_customer_owned_ip_on_launch": false,
        "assign_ipv6_address_on_creation": false,
        "ipv6_cidr_block_association_set": [],
        "ipv6_native": false,
        "enable_dns64": false,
        "private_dns_name_options_on_launch": {
            "hostname_type": "ip-name",
            "enable_resource_name_dns_a_record": false,
            "enable_resource_name_dns_aaaa_record": false,
        },
        "tags": specified_tags(input, "subnet"),
    });
    world.put(TABLE, &id, subnet.clone());
    Ok(json!({ "subnet": shown(world, subnet) }))
}

/// The zone that was asked for by name or id; the first where none was.
fn zone(world: &World, input: &Value) -> Answer {
    let zones = || world.table("ec2/availability_zones").values();
    let asked = [("availability_zone", "zone_name"), ("availability_zone_id", "zone_id")];
    let asked = asked.into_iter().find_map(|(key, field)| Some((key, field, input[key].as_str()?)));
    let Some((key, field, name)) = asked else { return Ok(zones().next().cloned().unwrap_or_default()) };
    match zones().find(|zone| zone[field] == name) {
        Some(zone) => Ok(zone.clone()),
        None => {
            let known: Vec<&str> = zones().map(|zone| text(zone, field)).collect();
            let parameter = if key == "availability_zone" { "availabilityZone" } else { "availabilityZoneId" };
            let message = format!(
                "Value ({name}) for parameter {parameter} is invalid. Subnets can currently only be created in the \
                 following availability zones: {}.",
                known.join(", ")
            );
            refuse("InvalidParameterValue", 400, message)
        }
    }
}

fn shown(world: &World, mut subnet: Value) -> Value {
    subnet["available_ip_address_count"] = json!(interface::free_addresses(world, text(&subnet, "subnet_id")));
    subnet
}

fn describe_subnets(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[
        ("availabilityZone", "availability_zone"),
        ("availabilityZoneId", "availability_zone_id"),
        ("cidr", "cidr_block"),
        ("cidrBlock", "cidr_block"),
        ("defaultForAz", "default_for_az"),
    ];
    let plain = &[
        "availability-zone",
        "availability-zone-id",
        "available-ip-address-count",
        "cidr-block",
        "default-for-az",
        "map-public-ip-on-launch",
        "owner-id",
        "state",
        "subnet-arn",
        "subnet-id",
        "vpc-id",
    ];
    filter::check(&input["filters"], names, plain)?;
    let found = listing::asked(world, TABLE, &input["subnet_ids"], &Value::Null, names, plain)?;
    let all: Vec<Value> = found.into_iter().map(|subnet| shown(world, subnet)).collect();
    Ok(json!({ "subnets": filter::select(all.iter(), &input["filters"], names) }))
}

fn modify_subnet_attribute(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "subnet_id")?;
    listing::get(world, TABLE, id)?;
    if let Some(subnet) = world.find_mut(TABLE, id) {
        for key in ["map_public_ip_on_launch", "assign_ipv6_address_on_creation", "enable_dns64"] {
            if let Some(value) = input[key]["value"].as_bool() {
                subnet[key] = json!(value);
            }
        }
    }
    Ok(json!({}))
}

fn delete_subnet(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "subnet_id")?;
    listing::get(world, TABLE, id)?;
    let is_used = world.table("ec2/network_interfaces").values().any(|one| one["subnet_id"] == id);
    if is_used && !world.is_off("subnet in use") {
        let message = format!("The subnet '{id}' has dependencies and cannot be deleted.");
        return refuse("DependencyViolation", 400, message);
    }
    route::forget_subnet(world, id);
    world.remove(TABLE, id);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    #[test]
    fn a_subnet_lies_in_its_vpc_beside_the_others_and_in_a_zone() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        stage.subnet(&vpc, "10.0.0.0/18", "us-west-2a");
        let mut refused = |cidr: &str, zone: &str| {
            let input = json!({ "vpc_id": vpc, "cidr_block": cidr, "availability_zone": zone });
            let refusal = stage.no("create_subnet", input);
            (code(&refusal).to_owned(), refusal.message)
        };
        assert_eq!(refused("10.1.0.0/24", "us-west-2a").0, "InvalidSubnet.Range");
        let (code, message) = refused("10.0.1.0/24", "us-west-2b");
        assert_eq!(code, "InvalidSubnet.Conflict");
        assert_eq!(message, "The CIDR '10.0.1.0/24' conflicts with another subnet");
        assert_eq!(refused("10.0.64.0/24", "us-west-2x").0, "InvalidParameterValue");
    }

    #[test]
    fn free_addresses_are_counted_when_asked() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let id = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let made = stage.ok("create_network_interface", json!({ "subnet_id": id }));
        assert_eq!(made["network_interface"]["requester_id"], "AROA0PLATFORM0000001:rehearsal");
        let shown = stage.ok("describe_subnets", json!({ "subnet_ids": [id] }));
        assert_eq!(shown["subnets"][0]["available_ip_address_count"], 250);
        let refusal = stage.no("delete_subnet", json!({ "subnet_id": id }));
        assert_eq!(refusal.message, format!("The subnet '{id}' has dependencies and cannot be deleted."));
        let interface = &made["network_interface"]["network_interface_id"];
        stage.ok("delete_network_interface", json!({ "network_interface_id": interface }));
        stage.ok("delete_subnet", json!({ "subnet_id": id }));
    }
}
