//! What happens by itself: controllers that look at the world after every change until nothing changes any more.
//! What takes time they plan as transitions of the world.

pub mod access;
pub mod cni;
pub mod daemon_set;
pub mod deployment;
pub mod garbage;
pub mod join;
pub mod kubelet;
pub mod node;
pub mod played;
pub mod pod;
pub mod reach;
pub mod scheduler;
pub mod selection;
pub mod user_data;
pub mod workloads;

use super::aws::{autoscaling, balancer, eks, iam, kms, logs};
use super::world::World;

/// Something that looks at the world when certain tables changed, and changes it.
pub struct Controller {
    /// By which a test of the twin switches it off.
    pub name: &'static str,
    /// Tables: `ec2/instances`, `kube/pods`.
    pub watches: &'static [&'static str],
    /// Does what is to be done now. Must be idempotent: run twice, it changes nothing the second time.
    pub run: fn(&mut World),
}

/// In the order in which they look.
const CONTROLLERS: &[&[Controller]] = &[
    iam::CONTROLLERS,
    kms::CONTROLLERS,
    logs::CONTROLLERS,
    eks::cluster::CONTROLLERS,
    eks::access::CONTROLLERS,
    eks::pod_identity::CONTROLLERS,
    autoscaling::CONTROLLERS,
    join::CONTROLLERS,
    workloads::CONTROLLERS,
    scheduler::CONTROLLERS,
    cni::CONTROLLERS,
    played::CONTROLLERS,
    kubelet::CONTROLLERS,
    garbage::CONTROLLERS,
    eks::addon::CONTROLLERS,
    eks::nodegroup::CONTROLLERS,
    balancer::CONTROLLERS,
];

/// More rounds than any chain of controllers needs: two that undo each other's work are a bug of the twin.
const ROUNDS_MAX: usize = 200;

/// Lets all controllers work until nothing changes.
pub fn settle(world: &mut World) {
    for _ in 0..ROUNDS_MAX {
        let dirty = world.take_dirty();
        if dirty.is_empty() {
            return;
        }
        for controller in CONTROLLERS.iter().flat_map(|part| part.iter()) {
            if controller.watches.iter().any(|watched| dirty.contains(*watched)) && !world.is_off(controller.name) {
                (controller.run)(world);
            }
        }
    }
    debug_assert!(false, "the controllers of the twin do not come to rest");
}
