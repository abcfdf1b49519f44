//! AWS with real credentials: one SDK configuration a target, made when first needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_dynamic::{CallError, Client, Operation};
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use super::token;
use crate::cloud::{Aws, Future, Target};
use crate::error::{Error, Kind, Result};
use crate::value::Secret;

/// AWS itself.
pub struct LiveAws {
    /// Where neither flag, environment nor profile names a region: `ekskit.yaml`'s.
    region_fallback: Option<String>,
    accounts: Mutex<BTreeMap<Target, Arc<Account>>>,
}

/// The clients of one target.
struct Account {
    config: SdkConfig,
    client: Client,
}

impl LiveAws {
    /// With the region to use where nothing else names one.
    pub fn new(region_fallback: Option<String>) -> LiveAws {
        LiveAws { region_fallback, accounts: Mutex::default() }
    }

    async fn account(&self, target: &Target) -> Arc<Account> {
        let mut accounts = self.accounts.lock().await;
        if let Some(account) = accounts.get(target) {
            return account.clone();
        }
        let config = self.load(target).await;
        let account = Arc::new(Account { client: Client::new(&config), config });
        accounts.insert(target.clone(), account.clone());
        account
    }

    async fn load(&self, target: &Target) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts());
        if let Some(profile) = &target.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &target.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let mut config = loader.load().await;
        if config.region().is_none()
            && let Some(region) = &self.region_fallback
        {
            config = config.into_builder().region(Region::new(region.clone())).build();
        }
        match &target.role_arn {
            Some(role) => assumed(config, role).await,
            None => config,
        }
    }
}

/// An attempt that takes longer than any healthy one is given up: a hanging connection must not hang a run.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .operation_attempt_timeout(Duration::from_secs(90))
        .build()
}

async fn assumed(config: SdkConfig, role: &str) -> SdkConfig {
    let provider = aws_config::sts::AssumeRoleProvider::builder(role).session_name("ekskit").configure(&config);
    let provider = provider.build().await;
    config
        .into_builder()
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(provider))
        .build()
}

impl Aws for LiveAws {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        operation: &'static Operation,
        input: &'a Value,
    ) -> Future<'a, Result<Value, CallError>> {
        Box::pin(async move { self.account(target).await.client.call(operation, input).await })
    }

    fn region<'a>(&'a self, target: &'a Target) -> Future<'a, Result<String>> {
        Box::pin(async move {
            let account = self.account(target).await;
            account.config.region().map(|region| region.to_string()).ok_or_else(|| {
                Error::invalid("no AWS region is set")
                    .note("neither `--region`, `AWS_REGION`, the profile nor `ekskit.yaml` names one")
                    .hint("run again with `--region us-west-2`, or the region you mean")
            })
        })
    }

    fn token<'a>(&'a self, target: &'a Target, cluster: &'a str) -> Future<'a, Result<(Secret, Timestamp)>> {
        Box::pin(async move {
            let region = self.region(target).await?;
            let account = self.account(target).await;
            let provider = account.config.credentials_provider().ok_or_else(no_credentials)?;
            let credentials = provider.provide_credentials().await.map_err(|error| {
                no_credentials().note(aws_smithy_types::error::display::DisplayErrorContext(&error).to_string())
            })?;
            token::mint(&credentials, &region, cluster, Timestamp::now())
        })
    }

    fn is_live(&self) -> bool {
        true
    }
}

fn no_credentials() -> Error {
    Error::new(Kind::Expired, "no AWS credentials for a cluster token")
        .hint("log in, for example with `aws sso login`, then name the profile with `--profile`")
}
