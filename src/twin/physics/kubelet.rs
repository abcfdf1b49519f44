//! Pods on nodes: they start, become ready, end.

use super::Controller;
use crate::twin::Arrival;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];
