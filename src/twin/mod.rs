//! The twin: a simulated AWS account with the Kubernetes API servers of its clusters, in process, deterministic, in
//! virtual time. The same world, seed and script give the same bytes.
//!
//! One synchronous [`World`](world::World) answers everything at once; time passes only where somebody sleeps, and
//! then in no time. Branches of a script pass [one baton](clock). AWS is answered operation by operation in [`aws`],
//! Kubernetes on the wire in [`kube`], and what happens by itself stands in [`physics`].

pub mod aws;
pub mod clock;
pub mod faults;
pub mod kube;
pub mod lifecycle;
pub mod physics;
pub mod plans;
pub mod stream;
pub mod world;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_dynamic::{CallError, Operation};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::Value;

use self::clock::Baton;
use self::kube::{Answer, Caller};
use self::world::{Passed, Transition, World};
use crate::cloud::{Aws, Clock, Cloud, Endpoint, Fork, Future, Kube, Target};
use crate::error::{Error, Result, list_or};
use crate::value::Secret;

/// The body of an answer of an API server: whole, or as long as somebody reads it.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A rehearsal room: one world behind the interface of the cloud.
#[derive(Clone)]
pub struct Twin {
    baton: Arc<Baton>,
}

impl Twin {
    /// Of this world.
    pub fn new(world: World) -> Twin {
        Twin { baton: Arc::new(Baton::new(world)) }
    }

    /// What bindings talk to.
    pub fn cloud(&self) -> Cloud {
        let twin = Arc::new(self.clone());
        Cloud::new(twin.clone(), twin.clone(), twin)
    }

    /// The world as it is now.
    pub fn world(&self) -> World {
        self.baton.world().clone()
    }

    /// The chain of transitions since a time, each begun after the one before it was over, that accounts for most of the
    /// time: what a rehearsal waited for, and how long each took.
    pub fn critical_path(&self, since: Timestamp) -> Vec<(String, Duration)> {
        let world = self.baton.world();
        let mut passed: Vec<&Passed> =
            world.history.iter().filter(|passed| passed.since >= since && passed.at > passed.since).collect();
        passed.sort_by_key(|passed| (passed.at, passed.since));
        // The longest chain that ends with each transition, as its length and the transition before.
        let mut best: Vec<(Duration, Option<usize>)> = Vec::with_capacity(passed.len());
        // The longest chain among the first so many.
        let mut longest: Vec<usize> = Vec::with_capacity(passed.len());
        for (index, one) in passed.iter().enumerate() {
            let earlier = passed[..index].partition_point(|other| other.at <= one.since);
            let before = earlier.checked_sub(1).and_then(|last| longest.get(last).copied());
            let length = before.and_then(|before| best.get(before)).map_or(Duration::ZERO, |(length, _)| *length);
            best.push((length + one.took(), before));
            let leader = longest.last().copied().filter(|leader| best[*leader].0 >= best[index].0);
            longest.push(leader.unwrap_or(index));
        }
        let mut path = Vec::new();
        let mut next = longest.last().copied();
        while let Some(index) = next {
            let one = passed[index];
            path.push((format!("{} {} → {}", one.table, one.id, one.to), one.took()));
            next = best[index].1;
        }
        path.reverse();
        path
    }

    /// Lets time pass until then, where it is later than now.
    pub fn advance(&self, to: Timestamp) {
        self.baton.world().advance(to);
    }

    /// When the next thing happens by itself.
    pub fn due(&self) -> Option<Timestamp> {
        self.baton.world().pending().first().map(|planned| planned.at)
    }

    /// Tells of every change of what API servers hold and of what is planned.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.baton.changes()
    }

    /// How many watch the world at the moment: readers of watches, and whoever lets time pass.
    pub fn watchers(&self) -> usize {
        self.baton.watchers()
    }

    /// Answers a request to the API server of a cluster; an error: the connection breaks, as a fault wants it. `ticks`
    /// makes the clock of a watch that is to last so long.
    pub fn answer(
        &self,
        cluster: &str,
        caller: Caller<'_>,
        parts: &Parts,
        body: &[u8],
        ticks: impl FnOnce(Option<Duration>) -> stream::Ticks,
    ) -> Result<Response<Body>, ::kube::Error> {
        let answer = kube::faults::answer(&mut self.baton.world(), cluster, caller, parts, body)?;
        Ok(answer.map(|answer| match answer {
            Answer::Whole(bytes) => Full::new(Bytes::from(bytes)).boxed_unsync(),
            Answer::Watch(watch) => {
                let ticks = ticks(watch.timeout());
                stream::follow(self.baton.clone(), watch, ticks)
            }
        }))
    }

    /// Changes the world from outside, as tests do.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.baton.world();
        let answer = change(&mut world);
        physics::settle(&mut world);
        answer
    }
}

/// Why a rehearsal goes to no cluster of a kubeconfig.
pub fn no_kubeconfig(path: &Path) -> Error {
    Error::usage(format!("a rehearsal does not use the kubeconfig `{}`", path.display()))
        .hint("leave out `--kubeconfig`: clusters of the world are found by their names")
}

/// The id of a run in a twin: from its seed and from how far its clock is, so that a second run is another one.
pub fn run_id(world: &World) -> String {
    let mut world = world.clone();
    let of = format!("run at {}", world.now_text());
    world.uuid(&of)
}

impl Aws for Twin {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        operation: &'static Operation,
        input: &'a Value,
    ) -> Future<'a, Result<Value, CallError>> {
        let mut world = self.baton.world();
        let answer = match elsewhere(&world, target) {
            Some(refusal) => Err(refusal),
            None => {
                world.acting = caller(&world, target);
                faults::call(&mut world, operation, input)
            }
        };
        Box::pin(std::future::ready(answer))
    }

    fn region<'a>(&'a self, target: &'a Target) -> Future<'a, Result<String>> {
        let region = target.region.clone().unwrap_or_else(|| self.baton.world().region.clone());
        Box::pin(std::future::ready(Ok(region)))
    }

    fn token<'a>(&'a self, _: &'a Target, cluster: &'a str) -> Future<'a, Result<(Secret, Timestamp)>> {
        let error = Error::failed(format!("a rehearsal mints no token for cluster `{cluster}`"));
        Box::pin(std::future::ready(Err(error)))
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// The refusal of calls to another region than the world's.
fn elsewhere(world: &World, target: &Target) -> Option<CallError> {
    let region = target.region.as_deref().filter(|region| *region != world.region)?;
    let message = format!("the world of this rehearsal has only region {}, asked for {region}", world.region);
    Some(CallError::answered(400, "NotSimulated", &message, ""))
}

/// The ARN under which calls of this target arrive.
fn caller(world: &World, target: &Target) -> String {
    match &target.role_arn {
        Some(role) => {
            let name = role.rsplit('/').next().unwrap_or(role);
            let account = role.split(':').nth(4).unwrap_or(&world.account);
            format!("arn:aws:sts::{account}:assumed-role/{name}/ekskit")
        }
        None => world.caller.clone(),
    }
}

impl Kube for Twin {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> Future<'a, Result<::kube::Client>> {
        let found = self.cluster_of(endpoint);
        Box::pin(std::future::ready(found.map(|(cluster, caller)| {
            let baton = self.baton.clone();
            let service = tower::service_fn(move |request: Request<::kube::client::Body>| {
                let (twin, cluster, caller) = (Twin { baton: baton.clone() }, cluster.clone(), caller.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect_bytes().await?;
                    let ticks = |lasts| stream::virtual_ticks(twin.baton.clone(), lasts);
                    twin.answer(&cluster, Caller::Arn(&caller), &parts, &body, ticks)
                }
            });
            ::kube::Client::new(service, "default")
        })))
    }

    fn named(&self, endpoint: &Endpoint) -> Endpoint {
        match (endpoint, self.cluster_of(endpoint)) {
            (Endpoint::Kubeconfig { path, context: None }, Ok((cluster, _))) => {
                Endpoint::Kubeconfig { path: path.clone(), context: Some(cluster) }
            }
            (other, _) => other.clone(),
        }
    }
}

impl Twin {
    /// The cluster that an endpoint means, and who calls.
    fn cluster_of(&self, endpoint: &Endpoint) -> Result<(String, String)> {
        let world = self.baton.world();
        match endpoint {
            Endpoint::Cluster { name, target, .. } => Ok((name.clone(), caller(&world, target))),
            Endpoint::Kubeconfig { path: Some(path), .. } => Err(no_kubeconfig(path)),
            Endpoint::Kubeconfig { context, .. } => {
                let clusters = world.clusters();
                let named = context.as_ref().map(|context| clusters.iter().filter(|name| *name == context).count());
                match (&*clusters, context, named) {
                    (_, Some(context), Some(1)) => Ok((context.clone(), world.caller.clone())),
                    ([only], None, _) => Ok((only.clone(), world.caller.clone())),
                    ([], ..) => Err(Error::invalid("the world of this rehearsal has no cluster")
                        .hint("make one, or name a world that has one with `--world`")),
                    _ => Err(Error::invalid("the world of this rehearsal has more than one cluster")
                        .note(format!("there are {}", list_or(&clusters)))
                        .hint("name the one you mean, `kube::cluster(\"name\")`, or with `--context`")),
                }
            }
        }
    }
}

impl Clock for Twin {
    fn now(&self) -> Timestamp {
        self.baton.world().now
    }

    fn sleep_until<'a>(&'a self, time: Timestamp) -> Future<'a, ()> {
        Box::pin(async move { self.baton.sleep_until(time) })
    }

    fn fork(&self, branches: usize) -> Box<dyn Fork> {
        Box::new(self.baton.fork(branches))
    }
}

/// A planned transition comes true.
fn arrive(world: &mut World, planned: &Transition) {
    if planned.to == physics::timer::LOOK {
        return physics::timer::arrive(world, &planned.id, &planned.table);
    }
    let arrivals = ARRIVALS.iter().flat_map(|part| part.iter());
    for (table, arrival) in arrivals {
        if *table == planned.table {
            return arrival(world, &planned.id, &planned.to);
        }
    }
    debug_assert!(false, "nobody knows what {} → {} means", planned.table, planned.to);
}

/// What becomes of a thing of a table: table, and the function that gets id and new state.
pub type Arrival = (&'static str, fn(&mut World, &str, &str));

/// Every table with transitions.
const ARRIVALS: &[&[Arrival]] = &[
    aws::autoscaling::ARRIVALS,
    aws::balancer::ARRIVALS,
    aws::ec2::compute::ARRIVALS,
    aws::ec2::endpoint::ARRIVALS,
    aws::ec2::gateway::ARRIVALS,
    aws::ec2::interface::ARRIVALS,
    aws::ec2::network::ARRIVALS,
    aws::ec2::security_group::ARRIVALS,
    aws::ec2::volume::ARRIVALS,
    aws::eks::access::ARRIVALS,
    aws::eks::addon::ARRIVALS,
    aws::eks::cluster::ARRIVALS,
    aws::eks::nodegroup::ARRIVALS,
    aws::eks::pod_identity::ARRIVALS,
    aws::iam::ARRIVALS,
    aws::kms::ARRIVALS,
    aws::logs::ARRIVALS,
    faults::ARRIVALS,
    physics::cni::ARRIVALS,
    physics::garbage::ARRIVALS,
    physics::join::ARRIVALS,
    physics::kubelet::ARRIVALS,
    physics::scheduler::ARRIVALS,
    physics::volume::ARRIVALS,
    physics::workloads::ARRIVALS,
];
