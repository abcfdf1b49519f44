//! Whether an instance reaches what a node needs: the API server, and AWS for images and addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::selection::{list, text};
use crate::twin::aws::ec2::network::{self, WayOut};
use crate::twin::world::World;

/// Endpoints that a node needs where no route leads out of its VPC.
const NEEDED: &[&str] = &["ec2", "ecr.api", "ecr.dkr", "s3", "sts"];

/// Whether an instance reaches both the API server of a cluster and AWS.
pub fn reaches(world: &World, instance: &Value, cluster: &Value) -> bool {
    let access = &cluster["resources_vpc_config"];
    let is_private = access["endpoint_private_access"] == true;
    let opens_to = |addresses: &[String]| is_private || is_public_to(access, addresses);
    match network::way_out(world, text(instance, "subnet_id")) {
        WayOut::Internet => instance["public_ip_address"].as_str().is_some_and(|own| opens_to(&[own.to_owned()])),
        WayOut::Nat(addresses) => opens_to(&addresses),
        WayOut::Other => true,
        WayOut::None => {
            let endpoints = network::endpoints_in(world, text(instance, "vpc_id"));
            is_private && NEEDED.iter().all(|needed| endpoints.contains(*needed))
        }
    }
}

/// Whether the public endpoint of a cluster lets any of these addresses in.
fn is_public_to(access: &Value, addresses: &[String]) -> bool {
    if access["endpoint_public_access"] == false {
        return false;
    }
    let blocks: Vec<IpNet> =
        list(&access["public_access_cidrs"]).iter().filter_map(|one| one.as_str()?.parse().ok()).collect();
    let is_in = |address: &String| {
        let address: Option<IpAddr> = address.parse().ok();
        address.is_some_and(|address| blocks.iter().any(|block| block.contains(&address)))
    };
    blocks.is_empty() || blocks.iter().any(|block| block.prefix_len() == 0) || addresses.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn world(route: Value) -> World {
        let mut world = World::new(1).unwrap();
        world.put("ec2/subnets", "subnet-1", json!({ "vpc_id": "vpc-1" }));
        let attached = json!([{ "vpc_id": "vpc-1", "state": "available" }]);
        world.put("ec2/internet_gateways", "igw-1", json!({ "attachments": attached }));
        let local = json!({ "destination_cidr_block": "10.0.0.0/16", "gateway_id": "local" });
        let table =
            json!({ "vpc_id": "vpc-1", "associations": [{ "subnet_id": "subnet-1" }], "routes": [local, route] });
        world.put("ec2/route_tables", "rtb-1", table);
        world
    }

    fn instance(public: Value) -> Value {
        json!({ "vpc_id": "vpc-1", "subnet_id": "subnet-1", "public_ip_address": public })
    }

    fn cluster(is_private: bool, cidr: &str) -> Value {
        json!({ "resources_vpc_config": { "endpoint_private_access": is_private, "endpoint_public_access": true,
            "public_access_cidrs": [cidr] } })
    }

    #[test]
    fn an_internet_gateway_serves_only_public_addresses() {
        let mut world = world(json!({ "destination_cidr_block": "0.0.0.0/0", "gateway_id": "igw-1" }));
        let open = cluster(false, "0.0.0.0/0");
        assert!(reaches(&world, &instance(json!("52.1.1.1")), &open));
        assert!(!reaches(&world, &instance(Value::Null), &open));
        world.put("ec2/internet_gateways", "igw-1", json!({ "attachments": [] }));
        assert!(!reaches(&world, &instance(json!("52.1.1.1")), &open), "the gateway was detached");
    }

    #[test]
    fn a_public_endpoint_must_let_the_nat_gateway_in() {
        let mut world = world(json!({ "destination_cidr_block": "0.0.0.0/0", "nat_gateway_id": "nat-1" }));
        let gateway = |state: &str| json!({ "state": state, "nat_gateway_addresses": [{ "public_ip": "52.0.0.7" }] });
        world.put("ec2/nat_gateways", "nat-1", gateway("available"));
        let node = instance(Value::Null);
        assert!(reaches(&world, &node, &cluster(false, "52.0.0.0/24")));
        assert!(!reaches(&world, &node, &cluster(false, "198.51.100.0/24")));
        assert!(reaches(&world, &node, &cluster(true, "198.51.100.0/24")));
        world.put("ec2/nat_gateways", "nat-1", gateway("deleting"));
        assert!(!reaches(&world, &node, &cluster(true, "0.0.0.0/0")));
    }

    #[test]
    fn without_a_route_all_endpoints_and_a_private_api_are_needed() {
        let mut world = world(json!({ "destination_cidr_block": "10.9.0.0/16", "gateway_id": "local" }));
        for name in NEEDED {
            let service = format!("com.amazonaws.us-west-2.{name}");
            world.put(
                "ec2/vpc_endpoints",
                name,
                json!({ "vpc_id": "vpc-1", "state": "available", "service_name": service }),
            );
        }
        assert!(reaches(&world, &instance(Value::Null), &cluster(true, "0.0.0.0/0")));
        assert!(!reaches(&world, &instance(Value::Null), &cluster(false, "0.0.0.0/0")));
        world.remove("ec2/vpc_endpoints", "sts");
        assert!(!reaches(&world, &instance(Value::Null), &cluster(true, "0.0.0.0/0")));
    }
}
