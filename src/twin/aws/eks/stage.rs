//! A world on which tests of EKS play: a VPC with three subnets, roles, and calls checked against the schema.

use aws_dynamic::Enums;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::twin::aws;
use crate::twin::world::World;

pub const CLUSTER_ROLE: &str = "arn:aws:iam::123456789012:role/prod-cluster";
pub const NODE_ROLE: &str = "arn:aws:iam::123456789012:role/prod-node";
pub const POD_ROLE: &str = "arn:aws:iam::123456789012:role/prod-pod";
pub const PLATFORM: &str = "arn:aws:iam::123456789012:role/platform";

/// One world.
pub struct Stage {
    /// It.
    pub world: World,
}

impl Stage {
    /// A world with a network and roles. What EC2 makes for control planes is left out.
    pub fn new() -> Stage {
        let mut world = World::new(3).unwrap();
        world.switch_off("control plane network");
        world.switch_off("eks subnet addresses");
        world.acting = world.caller.clone();
        world.put("ec2/vpcs", "vpc-1", json!({ "vpc_id": "vpc-1", "cidr_block": "10.0.0.0/16" }));
        for (number, zone) in ["us-west-2a", "us-west-2b", "us-west-2c"].iter().enumerate() {
            let id = format!("subnet-{number}");
            let zone_id = format!("usw2-az{}", number + 1);
            let subnet = json!({
                "subnet_id": id, "vpc_id": "vpc-1", "availability_zone": zone, "availability_zone_id": zone_id,
                "cidr_block": format!("10.0.{number}.0/24"),
            });
            world.put("ec2/subnets", &id, subnet);
        }
        for (name, service) in [
            ("prod-cluster", "eks.amazonaws.com"),
            ("prod-node", "ec2.amazonaws.com"),
            ("prod-pod", "pods.eks.amazonaws.com"),
        ] {
            let statement =
                json!({ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" });
            let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
            let role = json!({
                "role_name": name, "arn": world.iam_arn(&format!("role/{name}")), "path": "/",
                "assume_role_policy_document": policy, "_attached": [], "_inline": {},
            });
            world.put("iam/roles", name, role);
        }
        Stage { world }
    }

    /// A world with a cluster that is ACTIVE.
    pub fn with_cluster(fields: Value) -> Stage {
        let mut stage = Stage::new();
        stage.ok("create_cluster", request(fields));
        stage.pass(540);
        stage
    }

    fn call(&mut self, name: &str, input: Value) -> Result<Value, String> {
        let operation = aws_dynamic::operation("eks", name).unwrap();
        let input = aws_dynamic::normalise(operation, input, Enums::Lenient).unwrap();
        aws::call(&mut self.world, operation, &input).map_err(|error| error.to_string())
    }

    /// A call that works.
    pub fn ok(&mut self, name: &str, input: Value) -> Value {
        self.call(name, input).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The code and message of a call that is refused.
    pub fn no(&mut self, name: &str, input: Value) -> String {
        match self.call(name, input) {
            Ok(answer) => panic!("{name} was not refused: {answer}"),
            Err(error) => error,
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: i64) {
        let to = self.world.now + SignedDuration::from_secs(seconds);
        self.world.advance(to);
    }

    /// The cluster.
    pub fn cluster(&mut self) -> Value {
        self.ok("describe_cluster", json!({ "name": "prod" }))["cluster"].clone()
    }
}

/// The input of a plain CreateCluster with these fields besides.
pub fn request(fields: Value) -> Value {
    let mut request = json!({
        "name": "prod", "role_arn": CLUSTER_ROLE,
        "resources_vpc_config": { "subnet_ids": ["subnet-0", "subnet-1"], "endpoint_private_access": true },
        "access_config": { "authentication_mode": "API" },
    });
    super::merge(&mut request, &fields);
    request
}
