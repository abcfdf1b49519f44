//! EBS volumes.

use crate::twin::Arrival;
use crate::twin::aws::Row;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];
