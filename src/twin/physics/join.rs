//! Nodes: an instance becomes one only when it could join.

use super::Controller;
use crate::twin::Arrival;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

/// Why an instance that runs is not a node of its cluster; `None`: it is, or it has not had the time.
pub fn why_not(world: &crate::twin::world::World, instance_id: &str) -> Option<Reason> {
    let _ = (world, instance_id);
    None
}

/// What keeps an instance from joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its role is in neither aws-auth nor an access entry.
    RoleNotMapped(String),
    /// Neither a route to the API server nor the endpoints that nodes need.
    NoRoute,
    /// No free address in its subnet.
    NoAddresses,
    /// The instance itself failed.
    InstanceFailed,
    /// Its image is no EKS image.
    WrongImage(String),
    /// Its user data names no cluster, or another one.
    UserData(String),
}
