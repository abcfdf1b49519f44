//! EC2: file = family of resources.

pub mod compute;
pub mod console;
pub mod interface;
pub mod network;
pub mod security_group;
pub mod volume;
