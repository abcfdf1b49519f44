//! EC2: file = family of resources.

pub mod compute;
pub mod image;
pub mod interface;
pub mod launch_template;
pub mod network;
pub mod security_group;
pub mod volume;
