//! A world on which tests of EC2 play: calls by short names, checked against the schema.

use std::time::Duration;

use aws_dynamic::{CallError, Enums};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::twin::aws;
use crate::twin::world::World;

/// One world.
pub struct Stage {
    /// It.
    pub world: World,
}

impl Stage {
    /// The default world.
    pub fn new() -> Stage {
        Stage { world: World::new(7).unwrap() }
    }

    #[expect(clippy::result_large_err, reason = "a test makes it once")]
    fn call(&mut self, name: &str, input: Value) -> Result<Value, CallError> {
        let operation = aws_dynamic::operation("ec2", name).unwrap();
        let input = aws_dynamic::normalise(operation, input, Enums::Lenient).unwrap();
        aws::call(&mut self.world, operation, &input)
    }

    /// A call that works.
    pub fn ok(&mut self, name: &str, input: Value) -> Value {
        self.call(name, input).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A call that is refused.
    pub fn no(&mut self, name: &str, input: Value) -> CallError {
        match self.call(name, input) {
            Ok(answer) => panic!("{name} was not refused: {answer}"),
            Err(error) => error,
        }
    }

    /// A text in the answer of a call that works: `made("create_vpc", …, "/vpc/vpc_id")`.
    pub fn made(&mut self, name: &str, input: Value, pointer: &str) -> String {
        self.ok(name, input).pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u64) {
        let pause = SignedDuration::try_from(Duration::from_secs(seconds)).unwrap();
        let to = self.world.now + pause;
        self.world.advance(to);
    }

    /// A VPC.
    pub fn vpc(&mut self) -> String {
        self.made("create_vpc", json!({ "cidr_block": "10.0.0.0/16" }), "/vpc/vpc_id")
    }

    /// A subnet.
    pub fn subnet(&mut self, vpc: &str, cidr: &str, zone: &str) -> String {
        let input = json!({ "vpc_id": vpc, "cidr_block": cidr, "availability_zone": zone });
        self.made("create_subnet", input, "/subnet/subnet_id")
    }

    /// A network interface of a subnet.
    pub fn interface(&mut self, subnet: &str) -> String {
        let pointer = "/network_interface/network_interface_id";
        self.made("create_network_interface", json!({ "subnet_id": subnet }), pointer)
    }

    /// An internet gateway attached to a VPC.
    pub fn internet_gateway(&mut self, vpc: &str) -> String {
        let id = self.made("create_internet_gateway", json!({}), "/internet_gateway/internet_gateway_id");
        self.ok("attach_internet_gateway", json!({ "internet_gateway_id": id, "vpc_id": vpc }));
        id
    }

    /// A NAT gateway and its address.
    pub fn nat_gateway(&mut self, subnet: &str) -> (String, String) {
        let address = self.made("allocate_address", json!({ "domain": "vpc" }), "/allocation_id");
        let input = json!({ "subnet_id": subnet, "allocation_id": address });
        (self.made("create_nat_gateway", input, "/nat_gateway/nat_gateway_id"), address)
    }
}

/// The code of a refusal.
pub fn code(error: &CallError) -> &str {
    error.code.as_deref().unwrap_or_default()
}
