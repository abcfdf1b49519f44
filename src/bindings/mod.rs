//! Hand-written functions that scripts call: folder = script namespace, file = resource.
//!
//! AWS operations are not here: they come from the generated schema. What needs closures or script types is only
//! described here ([`control`]); the engine runs it.

pub mod aws;
pub mod cidr;
pub mod clock;
pub mod control;
pub mod data;
pub mod error;
pub mod kube;
pub mod log;
pub mod text;
pub mod version;

use crate::catalog::Binding;

/// All of them, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Binding> {
    [control::ALL, aws::ALL, kube::ALL, clock::ALL, data::ALL, text::ALL, cidr::ALL, version::ALL, error::ALL, log::ALL]
        .into_iter()
        .flatten()
        .copied()
}
