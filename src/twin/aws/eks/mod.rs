//! EKS: file = family of resources.

pub mod access;
pub mod addon;
pub mod cluster;
pub mod nodegroup;
pub mod pod_identity;
