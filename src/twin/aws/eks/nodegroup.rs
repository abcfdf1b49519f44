//! Managed node groups: a launch template, an Auto Scaling group, and the patience of EKS.

use crate::twin::Arrival;
use crate::twin::aws::Row;
use crate::twin::physics::Controller;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];
