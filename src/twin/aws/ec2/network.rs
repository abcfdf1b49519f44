//! VPCs, their attributes, subnets, route tables, internet and NAT gateways, addresses, endpoints.

use crate::twin::Arrival;
use crate::twin::aws::Row;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];
