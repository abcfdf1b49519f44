//! Instances, launch templates, images, instance types, zones.

use crate::twin::Arrival;
use crate::twin::aws::Row;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// AWS takes a spot instance back.
pub fn interrupt(world: &mut crate::twin::world::World, id: &str) {
    let _ = (world, id);
}
