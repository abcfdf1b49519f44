//! What bindings talk to: AWS, Kubernetes, clock. Interfaces only; [`live`] has real credentials behind them.
//!
//! AWS is swapped at the operation (operation and JSON in, JSON out), Kubernetes at the wire: the same `kube::Client`
//! code runs over TLS or over an in-process service. Retry, paging and waiters live above that seam, once.

pub mod error;
pub mod kube;
pub mod live;
pub mod lookup;
pub mod paging;
pub mod repeatable;
pub mod retry;
pub mod tags;
pub mod waiters;
pub mod young;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_dynamic::{CallError, Operation};
use jiff::Timestamp;
use serde_json::Value;

pub use self::kube::Connection;
use crate::error::Result;
use crate::value::Secret;

/// A boxed future, as trait objects need it.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Everything outside.
#[derive(Clone)]
pub struct Cloud {
    /// AWS operations.
    pub aws: Arc<dyn Aws>,
    /// Connections to Kubernetes API servers.
    pub kube: Arc<dyn Kube>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What was made a moment ago.
    pub young: Arc<young::Young>,
}

impl Cloud {
    /// A cloud in which nothing was made yet.
    pub fn new(aws: Arc<dyn Aws>, kube: Arc<dyn Kube>, clock: Arc<dyn Clock>) -> Cloud {
        Cloud { aws, kube, clock, young: Arc::default() }
    }
}

/// Which account, role and region a call goes to. Absent parts come from the environment and the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// `us-west-2`.
    pub region: Option<String>,
    /// A profile of the AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
}

impl Target {
    /// This target with parts replaced by those that `over` names.
    pub fn overlaid(&self, over: &Target) -> Target {
        // Another profile brings its own region and role, so that those of the outer one do not leak into it.
        let base = if over.profile.is_some() { &Target::default() } else { self };
        Target {
            region: over.region.clone().or_else(|| base.region.clone()),
            profile: over.profile.clone().or_else(|| base.profile.clone()),
            role_arn: over.role_arn.clone().or_else(|| base.role_arn.clone()),
        }
    }
}

/// AWS operations on the wire or in the twin: one attempt, no retry, no paging.
pub trait Aws: Send + Sync {
    /// Sends one checked input.
    fn call<'a>(
        &'a self,
        target: &'a Target,
        operation: &'static Operation,
        input: &'a Value,
    ) -> Future<'a, Result<Value, CallError>>;

    /// The region that calls of this target go to.
    fn region<'a>(&'a self, target: &'a Target) -> Future<'a, Result<String>>;

    /// A token for the API server of this cluster, as aws-iam-authenticator checks it, and when it expires.
    fn token<'a>(&'a self, target: &'a Target, cluster: &'a str) -> Future<'a, Result<(Secret, Timestamp)>>;

    /// Whether calls change a real account.
    fn is_live(&self) -> bool;
}

/// Where a Kubernetes API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An EKS cluster: what `describe_cluster` says of it.
    Cluster {
        /// Its name.
        name: String,
        /// `https://…`.
        url: String,
        /// PEM of the certificate authority.
        ca_pem: Vec<u8>,
        /// Whose credentials mint the tokens.
        target: Target,
    },
    /// A kubeconfig file; the default files where no path is given.
    Kubeconfig {
        /// The file.
        path: Option<PathBuf>,
        /// A context other than the current one.
        context: Option<String>,
    },
}

/// Makes clients for API servers.
pub trait Kube: Send + Sync {
    /// A client for this endpoint; nothing is sent yet.
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> Future<'a, Result<::kube::Client>>;

    /// The endpoint with what it leaves open filled in, for messages: the current context of a kubeconfig.
    fn named(&self, endpoint: &Endpoint) -> Endpoint {
        endpoint.clone()
    }
}

/// Time, real or virtual.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Returns at this time. The only point where virtual time moves.
    fn sleep_until<'a>(&'a self, time: Timestamp) -> Future<'a, ()>;

    /// So many threads are about to run beside each other, until [`Fork::join`].
    fn fork(&self, threads: usize) -> Box<dyn Fork> {
        let _ = threads;
        Box::new(Together)
    }
}

/// Whose turn it is among threads that run beside each other: with virtual time one at a time.
pub trait Fork: Send + Sync {
    /// The thread of this number begins; returns when it is its turn.
    fn begin(&self, number: usize);
    /// It is over.
    fn end(&self, number: usize);
    /// All are over, and the thread that forked goes on.
    fn join(&self);
}

/// All at the same time, as real threads run.
struct Together;

impl Fork for Together {
    fn begin(&self, _: usize) {}
    fn end(&self, _: usize) {}
    fn join(&self) {}
}

impl dyn Clock + '_ {
    /// Returns after this long.
    pub async fn sleep(&self, pause: Duration) {
        let now = self.now();
        let until = jiff::SignedDuration::try_from(pause)
            .ok()
            .and_then(|pause| now.checked_add(pause).ok())
            .unwrap_or(Timestamp::MAX);
        self.sleep_until(until).await;
    }

    /// How long ago that was; zero for the future.
    pub fn since(&self, start: Timestamp) -> Duration {
        Duration::try_from(self.now().duration_since(start)).unwrap_or(Duration::ZERO)
    }
}
