//! IAM: roles, policies, instance profiles, OpenID Connect providers.

use super::Row;
use crate::twin::Arrival;
use crate::twin::physics::Controller;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];
