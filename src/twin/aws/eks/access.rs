//! Access entries and policies.

use crate::twin::Arrival;
use crate::twin::aws::Row;
use crate::twin::physics::Controller;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];
