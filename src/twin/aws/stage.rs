//! A world on which tests of services that launch into subnets play.

use serde_json::json;

use crate::twin::world::World;

/// A VPC with its default security group and two subnets in two zones.
pub fn with_subnets() -> World {
    let mut world = World::new(1).unwrap();
    for (number, zone) in [(1, "us-west-2a"), (2, "us-west-2b")] {
        let id = format!("subnet-{number}");
        let subnet = json!({
            "subnet_id": id, "vpc_id": "vpc-1", "availability_zone": zone,
            "cidr_block": format!("10.0.{number}.0/24"), "state": "available",
        });
        world.put("ec2/subnets", &id, subnet);
    }
    world.put("ec2/vpcs", "vpc-1", json!({ "vpc_id": "vpc-1", "cidr_block": "10.0.0.0/16" }));
    let group = json!({ "group_id": "sg-1", "group_name": "default", "vpc_id": "vpc-1" });
    world.put("ec2/security_groups", "sg-1", group);
    world
}
