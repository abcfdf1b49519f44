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

/// Every namespace of hand-written functions, with what it is for.
pub const NAMESPACES: [(&str, &str); 13] = [
    ("aws", "Account, region, partition and tags of the session."),
    ("cidr", "Blocks of addresses: size, overlap, division."),
    ("clock", "Time: now, later, how long; virtual in a rehearsal."),
    ("diff", "What differs between two texts."),
    ("error", "Errors to throw, and to ask what was caught."),
    ("json", "JSON text, read and written."),
    ("kube", "Objects of Kubernetes; also methods of the handle that `kube::cluster(name)` gives."),
    ("log", "Messages to the operator."),
    ("quantity", "Kubernetes quantities such as \"500m\" and \"2Gi\" as numbers."),
    ("text", "Texts: patterns, lines, hashes."),
    ("url", "Texts for addresses."),
    ("version", "Versions, compared part by part."),
    ("yaml", "YAML text, read and written."),
];

/// All of them, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Binding> {
    [control::ALL, aws::ALL, kube::ALL, clock::ALL, data::ALL, text::ALL, cidr::ALL, version::ALL, error::ALL, log::ALL]
        .into_iter()
        .flatten()
        .copied()
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Binding> {
    all().find(|binding| binding.name == name)
}

/// Whether functions of the host stand in this namespace: these, or the operations of a service.
pub fn is_namespace(name: &str) -> bool {
    all().any(|binding| binding.namespace() == name) || aws_dynamic::service(name).is_some()
}
