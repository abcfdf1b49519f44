//! The cloud with real credentials.

pub mod aws;
pub mod kube;
pub mod kubeconfig;
pub mod proxy;
pub mod token;

use std::sync::Arc;

use jiff::Timestamp;

use super::{Clock, Cloud, Future};

/// The real cloud.
pub fn cloud(lenient_region: Option<String>) -> Cloud {
    let aws: Arc<dyn super::Aws> = Arc::new(aws::LiveAws::new(lenient_region));
    Cloud::new(aws.clone(), Arc::new(kube::LiveKube::new(aws)), Arc::new(WallClock))
}

/// Real time.
#[derive(Debug)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until<'a>(&'a self, time: Timestamp) -> Future<'a, ()> {
        let pause = std::time::Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
        Box::pin(tokio::time::sleep(pause))
    }
}
