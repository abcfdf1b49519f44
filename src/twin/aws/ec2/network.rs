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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// To an internet gateway, which serves only those with a public address.
    Internet,
    /// To a NAT gateway that works, with these public addresses.
    Nat(Vec<String>),
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
        return WayOut::Internet;
    }
    let Some(nat) = default["nat_gateway_id"].as_str() else { return WayOut::Other };
    match world.find("ec2/nat_gateways", nat) {
        Some(nat) if nat["state"] == "available" => {
            let addresses = nat["nat_gateway_addresses"].as_array().into_iter().flatten();
            WayOut::Nat(addresses.filter_map(|one| one["public_ip"].as_str().map(str::to_owned)).collect())
        }
        _ => WayOut::None,
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

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    /// A VPC with a public and a private subnet; the private table leads to a NAT gateway.
    struct Net {
        stage: Stage,
        vpc: String,
        igw: String,
        public: String,
        private: String,
        nat: String,
        address: String,
    }

    fn net() -> Net {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let igw = stage.internet_gateway(&vpc);
        let public = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let private = stage.subnet(&vpc, "10.0.1.0/24", "us-west-2a");
        let (nat, address) = stage.nat_gateway(&public);
        for (subnet, key, target) in [(&public, "gateway_id", &igw), (&private, "nat_gateway_id", &nat)] {
            let table = stage.made("create_route_table", json!({ "vpc_id": vpc }), "/route_table/route_table_id");
            let route = json!({ "route_table_id": table, "destination_cidr_block": "0.0.0.0/0", key: target });
            stage.ok("create_route", route);
            stage.ok("associate_route_table", json!({ "route_table_id": table, "subnet_id": subnet }));
        }
        Net { stage, vpc, igw, public, private, nat, address }
    }

    fn route_state(net: &mut Net) -> Value {
        let filters = json!([{ "name": "route.nat-gateway-id", "values": [net.nat] }]);
        net.stage.ok("describe_route_tables", json!({ "filters": filters }))["route_tables"][0]["routes"][1]["state"]
            .clone()
    }

    fn gives_public_addresses(net: &Net) -> bool {
        net.stage.world.find("ec2/subnets", &net.public).unwrap()["map_public_ip_on_launch"] == true
    }

    #[test]
    fn a_subnet_has_the_way_out_of_its_table() {
        let mut net = net();
        assert_eq!((way_out(&net.stage.world, &net.public), gives_public_addresses(&net)), (WayOut::Internet, false));
        assert_eq!(way_out(&net.stage.world, &net.private), WayOut::None, "the NAT gateway is pending");
        net.stage.pass(180);
        let address = net.stage.world.find("ec2/addresses", &net.address).unwrap()["public_ip"].as_str().unwrap();
        assert_eq!(way_out(&net.stage.world, &net.private), WayOut::Nat(vec![address.to_owned()]));
        let on = json!({ "subnet_id": net.public, "map_public_ip_on_launch": { "value": true } });
        net.stage.ok("modify_subnet_attribute", on);
        assert_eq!((way_out(&net.stage.world, &net.public), gives_public_addresses(&net)), (WayOut::Internet, true));
        let other = net.stage.subnet(&net.vpc, "10.0.2.0/24", "us-west-2b");
        assert_eq!(way_out(&net.stage.world, &other), WayOut::None, "the main table has no default route");
    }

    #[test]
    fn a_deleted_nat_gateway_leaves_a_black_hole_and_frees_its_address() {
        let mut net = net();
        net.stage.pass(180);
        assert_eq!(route_state(&mut net), "active");
        let refusal = net.stage.no("release_address", json!({ "allocation_id": net.address }));
        assert_eq!(code(&refusal), "InvalidIPAddress.InUse");
        let detach = json!({ "internet_gateway_id": net.igw, "vpc_id": net.vpc });
        let refusal = net.stage.no("detach_internet_gateway", detach.clone());
        assert!(refusal.message.contains("has some mapped public address(es)"), "{refusal}");
        net.stage.ok("delete_nat_gateway", json!({ "nat_gateway_id": net.nat }));
        net.stage.pass(120);
        assert_eq!(route_state(&mut net), "blackhole");
        assert_eq!(way_out(&net.stage.world, &net.private), WayOut::None);
        let shown = net.stage.ok("describe_nat_gateways", json!({ "nat_gateway_ids": [net.nat] }));
        assert_eq!(shown["nat_gateways"][0]["state"], "deleted");
        net.stage.ok("release_address", json!({ "allocation_id": net.address }));
        net.stage.ok("detach_internet_gateway", detach);
        net.stage.pass(4000);
        let refusal = net.stage.no("describe_nat_gateways", json!({ "nat_gateway_ids": [net.nat] }));
        assert_eq!(code(&refusal), "NatGatewayNotFound");
    }

    #[test]
    fn a_nat_gateway_without_internet_gateway_fails() {
        let mut stage = Stage::new();
        let vpc = stage.vpc();
        let subnet = stage.subnet(&vpc, "10.0.0.0/24", "us-west-2a");
        let (nat, address) = stage.nat_gateway(&subnet);
        stage.pass(180);
        let shown = stage.ok("describe_nat_gateways", json!({ "nat_gateway_ids": [nat] }));
        assert_eq!(shown["nat_gateways"][0]["failure_code"], "Gateway.NotAttached");
        stage.ok("release_address", json!({ "allocation_id": address }));
    }

    #[test]
    fn routes_are_made_once_and_replaced() {
        let mut net = net();
        let table = route::table_of(&net.stage.world, &net.vpc, &net.private).unwrap()["route_table_id"].clone();
        let to_gateway =
            json!({ "route_table_id": table, "destination_cidr_block": "0.0.0.0/0", "gateway_id": net.igw });
        assert_eq!(code(&net.stage.no("create_route", to_gateway.clone())), "RouteAlreadyExists");
        let same = json!({ "route_table_id": table, "destination_cidr_block": "0.0.0.0/0", "nat_gateway_id": net.nat });
        assert_eq!(code(&net.stage.no("create_route", same)), "RouteAlreadyExists", "not even the same one");
        net.stage.ok("replace_route", to_gateway);
        assert_eq!((way_out(&net.stage.world, &net.private), gives_public_addresses(&net)), (WayOut::Internet, false));
        assert_eq!(
            code(&net.stage.no("delete_route_table", json!({ "route_table_id": table }))),
            "DependencyViolation"
        );
        let default = json!({ "route_table_id": table, "destination_cidr_block": "0.0.0.0/0" });
        net.stage.ok("delete_route", default.clone());
        assert_eq!(code(&net.stage.no("delete_route", default)), "InvalidRoute.NotFound");
    }

    #[test]
    fn five_addresses_are_all() {
        let mut stage = Stage::new();
        for _ in 0..5 {
            stage.ok("allocate_address", json!({}));
        }
        let refusal = stage.no("allocate_address", json!({}));
        assert_eq!(code(&refusal), "AddressLimitExceeded");
        assert_eq!(refusal.message, "The maximum number of addresses has been reached.");
        let quota = json!({ "service_code": "ec2", "quota_code": "L-0263D0A3", "value": 6.0 });
        stage.world.put("servicequotas/quotas", "ec2/L-0263D0A3", quota);
        stage.ok("allocate_address", json!({}));
    }

    #[test]
    fn zones_are_found_by_name_and_filter() {
        let mut stage = Stage::new();
        let filters = json!([{ "name": "zone-type", "values": ["availability-zone"] }]);
        let zones = stage.ok("describe_availability_zones", json!({ "filters": filters }));
        assert_eq!(zones["availability_zones"].as_array().unwrap().len(), 4);
        let one = stage.ok("describe_availability_zones", json!({ "zone_names": ["us-west-2b"] }));
        assert_eq!(one["availability_zones"][0]["zone_id"], "usw2-az2");
        stage.ok("describe_account_attributes", json!({}));
    }

    #[test]
    fn the_tear_down_of_a_network_leaves_nothing() {
        let mut net = net();
        net.stage.pass(180);
        net.stage.ok("delete_nat_gateway", json!({ "nat_gateway_id": net.nat }));
        net.stage.pass(120);
        net.stage.ok("release_address", json!({ "allocation_id": net.address }));
        let tables = net.stage.ok("describe_route_tables", json!({}))["route_tables"].clone();
        for table in tables.as_array().unwrap() {
            let association = &table["associations"][0];
            if association["main"] != true {
                let id = &association["route_table_association_id"];
                net.stage.ok("disassociate_route_table", json!({ "association_id": id }));
                net.stage.ok("delete_route_table", json!({ "route_table_id": table["route_table_id"] }));
            }
        }
        for subnet in [&net.public, &net.private] {
            net.stage.ok("delete_subnet", json!({ "subnet_id": subnet }));
        }
        let igw = json!({ "internet_gateway_id": net.igw });
        assert_eq!(code(&net.stage.no("delete_internet_gateway", igw.clone())), "DependencyViolation");
        net.stage.ok("detach_internet_gateway", json!({ "internet_gateway_id": net.igw, "vpc_id": net.vpc }));
        net.stage.ok("delete_internet_gateway", igw);
        net.stage.ok("delete_vpc", json!({ "vpc_id": net.vpc }));
        for table in ["vpcs", "subnets", "route_tables", "network_interfaces", "security_groups", "network_acls"] {
            assert!(net.stage.world.table(&format!("ec2/{table}")).is_empty(), "{table}");
        }
    }
}
