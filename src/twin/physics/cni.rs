//! aws-node: takes interfaces and addresses of the subnet by the formulas of ipamd, and gives them to pods.

use super::Controller;
use crate::twin::Arrival;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];
