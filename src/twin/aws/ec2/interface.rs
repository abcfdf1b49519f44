//! Network interfaces: who holds which addresses of a subnet. Everything in a VPC that has an address has it here.

use crate::twin::Arrival;
use crate::twin::aws::{Refusal, Row, refuse};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// An interface to be made.
#[derive(Clone, Debug, Default)]
pub struct New<'a> {
    /// In this subnet.
    pub subnet_id: &'a str,
    /// With these security groups; the VPC's default one where there are none.
    pub group_ids: Vec<String>,
    /// What AWS shows as its description: `Amazon EKS prod`.
    pub description: &'a str,
    /// `interface`, `nat_gateway`, `vpc_endpoint`, …
    pub interface_type: &'a str,
    /// Made by a service of AWS rather than by a caller.
    pub requester_managed: bool,
    /// Attached to this instance at this device index; `None`: available, or in use by a service.
    pub attached_to: Option<(&'a str, i64)>,
    /// Tags as EC2 shows them: a list of `{ key, value }`.
    pub tags: serde_json::Value,
}

/// Makes an interface with one primary address and answers its id. `InsufficientFreeAddressesInSubnet` where there is none.
pub fn create(world: &mut World, new: &New<'_>) -> Result<String, Refusal> {
    let _ = world;
    refuse("NotSimulated", 501, new.subnet_id)
}

/// Deletes an interface whatever it is attached to: its addresses are free again.
pub fn delete(world: &mut World, id: &str) {
    world.remove("ec2/network_interfaces", id);
}

/// Gives an interface so many more secondary addresses and answers them.
pub fn assign_addresses(world: &mut World, id: &str, count: usize) -> Result<Vec<String>, Refusal> {
    let _ = (world, count);
    refuse("NotSimulated", 501, id)
}

/// Takes addresses away from an interface.
pub fn unassign_addresses(world: &mut World, id: &str, addresses: &[String]) {
    let _ = (world, id, addresses);
}

/// Gives an interface so many /28 blocks and answers them. `InsufficientCidrBlocks` where the subnet has no free block.
pub fn assign_prefixes(world: &mut World, id: &str, count: usize) -> Result<Vec<String>, Refusal> {
    let _ = (world, count);
    refuse("NotSimulated", 501, id)
}

/// Takes blocks away from an interface.
pub fn unassign_prefixes(world: &mut World, id: &str, prefixes: &[String]) {
    let _ = (world, id, prefixes);
}

/// Free addresses of a subnet, as `available_ip_address_count` shows them: AWS keeps five of each.
pub fn free_addresses(world: &World, subnet_id: &str) -> usize {
    let _ = (world, subnet_id);
    0
}
