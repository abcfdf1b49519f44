//! Where a subnet's traffic goes, which endpoints a VPC has, zones, and what all networks of an account share.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{listing, route};
use crate::twin::Arrival;
use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Answer, Row, refuse, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::describe_account_attributes", describe_account_attributes),
    ("ec2::describe_availability_zones", describe_availability_zones),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// Where the default route of a subnet leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// To an internet gateway, which serves only those with a public address.
    Internet {
        /// Whether instances of the subnet get one.
        public_addresses: bool,
    },
    /// To a NAT gateway that works.
    Nat,
    /// To something else: a transit gateway, an interface, a peering.
    Other,
    /// Nowhere: no default route, or its target is gone or does not work yet.
    None,
}

/// Where the default route of a subnet leads: by its own route table, or by the main one of its VPC.
pub fn way_out(world: &World, subnet_id: &str) -> WayOut {
    let Some(subnet) = world.find("ec2/subnets", subnet_id) else { return WayOut::None };
    let Some(table) = route::table_of(world, text(subnet, "vpc_id"), subnet_id) else { return WayOut::None };
    let mut routes = table["routes"].as_array().into_iter().flatten();
    let Some(default) = routes.find(|route| route["destination_cidr_block"] == "0.0.0.0/0") else {
        return WayOut::None;
    };
    if route::is_blackhole(world, text(table, "vpc_id"), default) {
        return WayOut::None;
    }
    if text(default, "gateway_id").starts_with("igw-") {
        return WayOut::Internet { public_addresses: subnet["map_public_ip_on_launch"] == true };
    }
    match default["nat_gateway_id"].as_str() {
        Some(nat) => {
            let works = world.find("ec2/nat_gateways", nat).is_some_and(|nat| nat["state"] == "available");
            if works { WayOut::Nat } else { WayOut::None }
        }
        None => WayOut::Other,
    }
}

/// The short names of the services that a VPC reaches by endpoints that work: `ecr.api`, `s3`.
pub fn endpoints_in(world: &World, vpc_id: &str) -> BTreeSet<String> {
    let endpoints = world.table("ec2/vpc_endpoints").values();
    let working = endpoints.filter(|one| one["vpc_id"] == vpc_id && one["state"] == "available");
    let before = format!("com.amazonaws.{}.", world.region);
    working.map(|one| text(one, "service_name").trim_start_matches(&before).to_owned()).collect()
}

const ZONE_NAMES: Names = &[];
const ZONE_PLAIN: &[&str] = &[
    "group-name",
    "message",
    "opt-in-status",
    "parent-zone-id",
    "parent-zone-name",
    "region-name",
    "state",
    "zone-id",
    "zone-name",
    "zone-type",
];

fn describe_availability_zones(world: &mut World, input: &Value) -> Answer {
    filter::check(&input["filters"], ZONE_NAMES, ZONE_PLAIN)?;
    let zones = filter::select(world.table("ec2/availability_zones").values(), &input["filters"], ZONE_NAMES);
    let names = texts(&input["zone_names"]);
    let ids = texts(&input["zone_ids"]);
    for (asked, key) in [(&names, "zone_name"), (&ids, "zone_id")] {
        let known = |name: &str| world.table("ec2/availability_zones").values().any(|zone| zone[key] == name);
        if let Some(unknown) = asked.iter().find(|name| !known(name)) {
            return refuse("InvalidParameterValue", 400, format!("Invalid availability zone: [{unknown}]"));
        }
    }
    let wanted = |asked: &[&str], name: &str| asked.is_empty() || asked.contains(&name);
    let fitting =
        zones.into_iter().filter(|zone| wanted(&names, text(zone, "zone_name")) && wanted(&ids, text(zone, "zone_id")));
    Ok(json!({ "availability_zones": fitting.collect::<Vec<Value>>() }))
}

fn describe_account_attributes(world: &mut World, input: &Value) -> Answer {
    let addresses = listing::quota(world, super::address::QUOTA, 5).to_string();
    let all = [
        ("supported-platforms", "VPC"),
        ("default-vpc", "none"),
        ("max-instances", "20"),
        ("vpc-max-security-groups-per-interface", "5"),
        ("max-elastic-ips", "5"),
        ("vpc-max-elastic-ips", addresses.as_str()),
    ];
    let asked = texts(&input["attribute_names"]);
    let fitting = all.iter().filter(|(name, _)| asked.is_empty() || asked.contains(name));
    let shown = |(name, value): &(&str, &str)| json!({ "attribute_name": name, "attribute_values": [{ "attribute_value": value }] });
    Ok(json!({ "account_attributes": fitting.map(shown).collect::<Vec<Value>>() }))
}
