//! What happens by itself: controllers that look at the world after every change until nothing changes any more.
//! What takes time they plan as transitions of the world.

pub mod access;
pub mod autoscaler;
pub mod budget;
pub mod cni;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod event;
pub mod failure;
pub mod garbage;
pub mod indexes;
pub mod job;
pub mod join;
pub mod kubelet;
pub mod node;
pub mod pod;
pub mod reach;
pub mod replica_set;
pub mod revision;
pub mod schedule;
pub mod scheduler;
pub mod selection;
pub mod service;
#[cfg(test)]
mod stage;
pub mod stateful_set;
pub mod taint;
pub mod timer;
pub mod user_data;
pub mod volume;
pub mod workloads;

use std::collections::{BTreeMap, BTreeSet};

use super::aws::{autoscaling, balancer, eks, iam, kms, logs};
use super::kube::index::Changed;
use super::world::World;

/// Something that looks at the world when certain tables changed, and changes it.
pub struct Controller {
    /// By which a test of the twin switches it off.
    pub name: &'static str,
    /// Tables: `ec2/instances`, `kube/pods`; `kube/` is every table of the API servers.
    pub watches: &'static [&'static str],
    /// Does what is to be done now. Must be idempotent: run twice, it changes nothing the second time. What changed
    /// since it last looked is in [`World::changes`].
    pub run: fn(&mut World),
}

/// What the controllers look at in one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    tables: BTreeSet<String>,
    stores: BTreeMap<String, Changed>,
}

impl Changes {
    /// Of these tables (`ec2/vpcs`, `kube/pods`) and stores.
    pub(super) fn new(tables: BTreeSet<String>, stores: BTreeMap<String, Changed>) -> Changes {
        Changes { tables, stores }
    }

    /// What changed in the store of a cluster.
    pub fn of(&self, cluster: &str) -> &Changed {
        static NONE: std::sync::LazyLock<Changed> = std::sync::LazyLock::new(Changed::default);
        self.stores.get(cluster).unwrap_or(&NONE)
    }

    /// Whether one of these tables of AWS changed, or it is not known what did.
    pub fn has_any(&self, tables: &[&str]) -> bool {
        self.tables.is_empty() || tables.iter().any(|table| self.tables.contains(*table))
    }

    fn concern(&self, controller: &Controller) -> bool {
        controller.watches.iter().any(|watched| {
            let first = self.tables.range((*watched).to_owned()..).next();
            first.is_some_and(|table| table == watched || (watched.ends_with('/') && table.starts_with(watched)))
        })
    }
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
    autoscaler::CONTROLLERS,
    budget::CONTROLLERS,
    volume::CONTROLLERS,
    taint::CONTROLLERS,
    scheduler::CONTROLLERS,
    cni::CONTROLLERS,
    kubelet::CONTROLLERS,
    service::CONTROLLERS,
    garbage::CONTROLLERS,
    event::CONTROLLERS,
    eks::addon::CONTROLLERS,
    eks::nodegroup::CONTROLLERS,
    balancer::CONTROLLERS,
];

/// Tables of what controllers keep in their memory, by cluster and something of it: it goes with the cluster.
pub const MEMORIES: &[&str] = &[autoscaler::MEMORY, job::MEMORY];

/// More rounds than any chain of controllers needs: two that undo each other's work are a bug of the twin.
const ROUNDS_MAX: usize = 200;

/// Lets all controllers work until nothing changes.
pub fn settle(world: &mut World) {
    for _ in 0..ROUNDS_MAX {
        let Some(changes) = world.take_changes() else { return };
        for controller in CONTROLLERS.iter().flat_map(|part| part.iter()) {
            if changes.concern(controller) && !world.is_off(controller.name) {
                (controller.run)(world);
            }
        }
    }
    debug_assert!(false, "the controllers of the twin do not come to rest");
}
