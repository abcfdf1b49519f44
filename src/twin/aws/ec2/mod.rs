//! EC2: file = family of resources.

pub mod address;
pub mod compute;
pub mod console;
pub mod endpoint;
pub mod gateway;
pub mod image;
pub mod interface;
pub mod launch_template;
pub mod listing;
pub mod network;
pub mod route;
pub mod security_group;
#[cfg(test)]
mod stage;
pub mod subnet;
pub mod tags;
pub mod volume;
pub mod vpc;
