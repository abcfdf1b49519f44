//! One run of scripts against one cloud in one mode: the gate, approval, tokens, events and cancellation that every
//! host call passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Effect, Files};
use crate::cloud::{Cloud, Connection, Endpoint, Future, Target, retry};
use crate::error::{Error, Result, list_or};
use crate::event::{Event, Events, Level};
use crate::project::Project;

/// How long a mutating call in flight may still answer after a cancellation.
pub const GRACE: Duration = Duration::from_secs(30);

/// What this session may do, and how it asks.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    /// Refuses every mutation before looking at its arguments.
    pub read_only: bool,
    /// Mutations need no question.
    pub assume_yes: bool,
}

/// Asks the operator before the first mutation of an account; an error is a refusal.
pub trait Approve: Send + Sync {
    /// `facts` are lines such as `account 123456789012`.
    fn approve(&self, facts: &[(String, String)]) -> Result<()>;
}

/// Everything one run owns.
pub struct Session {
    /// What bindings talk to.
    pub cloud: Cloud,
    /// What is allowed.
    pub mode: Mode,
    /// Who hears of it.
    pub events: Events,
    /// How it ends early.
    pub cancel: Cancel,
    /// The run's id.
    pub run: String,
    /// The project that the script belongs to.
    pub project: Project,
    /// The files that scripts may read.
    pub files: Files,
    /// Account, role and region of the command line.
    pub target: Target,
    /// `--kubeconfig` and `--context`, or the default file for `eval` and the REPL.
    pub kubeconfig: Option<Endpoint>,
    approve: Arc<dyn Approve>,
    asking: tokio::sync::Mutex<()>,
    runtime: tokio::runtime::Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    inputs: Map<String, Value>,
    approved: BTreeSet<String>,
    calls: u64,
    succeeded: BTreeMap<String, u64>,
    changed: usize,
    default_tags: BTreeMap<String, String>,
    steps: BTreeMap<String, u64>,
    clusters: BTreeMap<(Target, String), Arc<Connection>>,
    kubeconfig: Option<Arc<Connection>>,
    kubeconfig_cluster: Option<String>,
    identities: BTreeMap<Target, Value>,
}

/// What a session is made of.
pub struct Setup {
    /// What bindings talk to.
    pub cloud: Cloud,
    /// What is allowed.
    pub mode: Mode,
    /// Who hears of it.
    pub events: Events,
    /// How it ends early.
    pub cancel: Cancel,
    /// The run's id.
    pub run: String,
    /// The project that the script belongs to.
    pub project: Project,
    /// Account, role and region of the command line.
    pub target: Target,
    /// The kubeconfig, where one is used.
    pub kubeconfig: Option<Endpoint>,
    /// How the operator is asked.
    pub approve: Arc<dyn Approve>,
    /// Where futures run.
    pub runtime: tokio::runtime::Handle,
}

impl Session {
    /// Starts a session.
    pub fn new(setup: Setup) -> Arc<Session> {
        let default_tags = setup.project.settings.default_tags.clone();
        Arc::new(Session {
            cloud: setup.cloud,
            mode: setup.mode,
            events: setup.events,
            cancel: setup.cancel,
            run: setup.run,
            files: Files { root: setup.project.root.clone() },
            project: setup.project,
            target: setup.target,
            kubeconfig: setup.kubeconfig,
            approve: setup.approve,
            asking: tokio::sync::Mutex::default(),
            runtime: setup.runtime,
            state: Mutex::new(State { default_tags, ..State::default() }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A branch that panicked leaves counters and caches behind that are whole: they are changed in one go.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What `params` answers.
    pub fn inputs(&self) -> Map<String, Value> {
        self.state().inputs.clone()
    }

    /// Sets what `params` answers, once the script that declares them is known.
    pub fn set_inputs(&self, inputs: Map<String, Value>) {
        self.state().inputs = inputs;
    }

    /// Refuses what this session may not do. Comes before anything else looks at the call.
    pub fn gate(&self, binding: &str, effect: Effect) -> Result<()> {
        if effect == Effect::Mutate && self.mode.read_only {
            return Err(Error::refused(format!("refused `{binding}`: this session only reads"))
                .note(format!("`{binding}` changes the cloud"))
                .hint("run again without `--read-only`, or rehearse it with `--rehearse`"));
        }
        Ok(())
    }

    /// Runs a future to its end, to cancellation, or for a mutation to the end of its grace.
    pub fn wait<T>(&self, effect: Effect, work: impl std::future::Future<Output = Result<T>>) -> Result<T> {
        if self.cancel.is_cancelled() {
            return Err(self.cancel.reason());
        }
        let mut work = std::pin::pin!(work);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.token.cancelled() => {}
                answer = &mut work => return answer,
            }
            let reason = self.cancel.reason();
            if effect != Effect::Mutate {
                return Err(reason);
            }
            tokio::select! {
                biased;
                answer = &mut work => answer,
                () = tokio::time::sleep(self.cancel.grace) => {
                    let mut error = reason;
                    error.facts_mut().maybe_applied = true;
                    Err(error)
                }
            }
        })
    }

    /// The next call's number.
    pub fn next_call(&self) -> u64 {
        let mut state = self.state();
        state.calls += 1;
        state.calls
    }

    /// The hash that makes a mutation recognisable: run, step path, operation, canonical input, and how often that
    /// very call already succeeded in the run.
    pub fn request_hash(&self, step: &str, operation: &str, input: &Value) -> String {
        let key = format!("{}\n{step}\n{operation}\n{input}", self.run);
        let times = self.state().succeeded.get(&key).copied().unwrap_or(0);
        let digest = Sha256::digest(format!("{key}\n{times}").as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Remembers a success, so that the same call made again on purpose gets another hash.
    pub fn succeeded(&self, step: &str, operation: &str, input: &Value, changed: bool) {
        let key = format!("{}\n{step}\n{operation}\n{input}", self.run);
        let mut state = self.state();
        *state.succeeded.entry(key).or_default() += 1;
        state.changed += usize::from(changed);
    }

    /// Successful mutations so far.
    pub fn changed(&self) -> usize {
        self.state().changed
    }

    /// The path of a step under `parent`, with its occurrence where the same name ran there before.
    pub fn step_path(&self, parent: &str, name: &str) -> String {
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent} / {name}") };
        let mut state = self.state();
        let times = state.steps.entry(path.clone()).or_default();
        *times += 1;
        if *times == 1 { path } else { format!("{path} #{times}") }
    }

    /// Tags that every create gets.
    pub fn default_tags(&self) -> BTreeMap<String, String> {
        self.state().default_tags.clone()
    }

    /// Adds default tags for the rest of the run.
    pub fn add_default_tags(&self, tags: BTreeMap<String, String>) {
        self.state().default_tags.extend(tags);
    }

    /// Who is signed in, and where: `account`, `arn`, `user_id`, `region`, `partition`. Asked once per target.
    pub async fn identity(&self, target: &Target) -> Result<Value> {
        if let Some(known) = self.state().identities.get(target).cloned() {
            return Ok(known);
        }
        let identity = fetch_identity(&self.cloud, target).await?;
        self.state().identities.insert(target.clone(), identity.clone());
        Ok(identity)
    }

    /// Shows where the first mutation of an account goes, checks it against the project's accounts, and asks.
    pub async fn approve(&self, target: &Target, cluster: Option<&Connection>) -> Result<()> {
        let by_file = cluster.filter(|cluster| cluster.is_from_kubeconfig());
        let key = by_file.map_or_else(|| format!("{target:?}"), |cluster| format!("kubeconfig {}", cluster.label()));
        if !self.cloud.aws.is_live() {
            return Ok(());
        }
        // One question at a time: branches that ask together would answer each other's.
        let _asking = self.asking.lock().await;
        if self.state().approved.contains(&key) {
            return Ok(());
        }
        let mut facts = Vec::new();
        if by_file.is_none() {
            let identity = self.identity(target).await?;
            let text = |name: &str| identity[name].as_str().unwrap_or_default().to_owned();
            let accounts = &self.project.settings.accounts;
            if !accounts.is_empty() && !accounts.contains(&text("account")) {
                return Err(Error::refused(format!(
                    "account {} is not one that this project may change",
                    text("account")
                ))
                .note(format!("`ekskit.yaml` allows {}", list_or(accounts)))
                .hint("sign in to one of these accounts, for example with `--profile`"));
            }
            facts.extend(["account", "region"].map(|name| (name.to_owned(), text(name))));
            facts.push(("caller".to_owned(), text("arn")));
        }
        if let Some(cluster) = cluster {
            facts.push(("cluster".to_owned(), cluster.label().to_owned()));
        }
        if self.mode.assume_yes {
            let line: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            self.events.message(Level::Info, format!("changes go to {}", line.join(", ")));
        } else {
            self.approve.approve(&facts)?;
        }
        self.state().approved.insert(key);
        Ok(())
    }

    /// The connection to this EKS cluster: by what `describe_cluster` says, or by `--kubeconfig` where that is given.
    pub async fn cluster(&self, target: &Target, name: &str) -> Result<Arc<Connection>> {
        if self.kubeconfig_is_explicit() {
            self.claim_kubeconfig(name)?;
            return self.kubeconfig_connection().await;
        }
        let key = (target.clone(), name.to_owned());
        if let Some(known) = self.state().clusters.get(&key).cloned() {
            return Ok(known);
        }
        let connection = crate::cloud::kube::connect_cluster(&self.cloud, target, name).await?;
        self.state().clusters.insert(key, connection.clone());
        Ok(connection)
    }

    /// The cluster of bare `kube::` calls, where there is one.
    pub async fn bare_cluster(&self) -> Result<Option<Arc<Connection>>> {
        match self.kubeconfig {
            Some(_) => self.kubeconfig_connection().await.map(Some),
            None => Ok(None),
        }
    }

    fn kubeconfig_is_explicit(&self) -> bool {
        matches!(&self.kubeconfig, Some(Endpoint::Kubeconfig { path, context }) if path.is_some() || context.is_some())
    }

    /// A kubeconfig serves exactly one cluster of a run: silently using it for a second would change the wrong one.
    fn claim_kubeconfig(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        match &state.kubeconfig_cluster {
            Some(first) if first != name => Err(Error::invalid(format!(
                "`--kubeconfig` already serves cluster `{first}`, so it can not serve `{name}` as well"
            ))
            .hint("run without `--kubeconfig`: each cluster is then found by `eks::describe_cluster`")),
            _ => {
                state.kubeconfig_cluster = Some(name.to_owned());
                Ok(())
            }
        }
    }

    async fn kubeconfig_connection(&self) -> Result<Arc<Connection>> {
        if let Some(known) = self.state().kubeconfig.clone() {
            return Ok(known);
        }
        let endpoint = self.kubeconfig.as_ref().ok_or_else(|| Error::bug("a kubeconfig was asked for without one"))?;
        let client = self.cloud.kube.connect(endpoint).await?;
        let connection =
            Arc::new(Connection::from_kubeconfig(client, &self.cloud.kube.named(endpoint), self.target.clone()));
        if !self.kubeconfig_is_explicit() {
            let label = connection.label().to_owned();
            let place = if self.cloud.aws.is_live() {
                format!("context `{label}` of the kubeconfig")
            } else {
                format!("cluster `{label}` of the world")
            };
            self.events.message(Level::Info, format!("`kube::` calls go to {place}"));
        }
        self.state().kubeconfig = Some(connection.clone());
        Ok(connection)
    }
}

async fn fetch_identity(cloud: &Cloud, target: &Target) -> Result<Value> {
    let operation = aws_dynamic::operation("sts", "get_caller_identity")
        .ok_or_else(|| Error::bug("STS GetCallerIdentity is not compiled in"))?;
    let region = cloud.aws.region(target).await?;
    let answer = retry::send(cloud, target, operation, &json!({}), &retry::quietly()).await?;
    let arn = answer["arn"].as_str().unwrap_or_default().to_owned();
    let partition = arn.split(':').nth(1).unwrap_or("aws").to_owned();
    Ok(json!({
        "account": answer["account"],
        "arn": arn,
        "user_id": answer["user_id"],
        "region": region,
        "partition": partition,
    }))
}

/// How a session ends early: the operator's Ctrl-C or the time limit.
#[derive(Clone)]
pub struct Cancel {
    token: CancellationToken,
    why: Arc<Mutex<Option<Error>>>,
    grace: Duration,
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel { token: CancellationToken::new(), why: Arc::default(), grace: GRACE }
    }
}

impl Cancel {
    /// With another grace for mutating calls in flight.
    pub fn with_grace(grace: Duration) -> Cancel {
        Cancel { grace, ..Cancel::default() }
    }

    /// Ends the session: the first reason counts.
    pub fn cancel(&self, why: Error) {
        self.why.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(why);
        self.token.cancel();
    }

    /// Whether the session is to end.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why it ends.
    pub fn reason(&self) -> Error {
        self.why.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone().unwrap_or_else(Error::cancelled)
    }
}

/// Tells events about retries and waiting.
pub struct Watch<'a> {
    /// Where to.
    pub events: &'a Events,
    /// Of which binding.
    pub binding: &'a str,
    /// Ends pauses.
    pub cancel: &'a Cancel,
}

impl retry::Watch for Watch<'_> {
    fn cancelled(&self) -> Future<'_, ()> {
        Box::pin(self.cancel.token.cancelled())
    }

    fn retrying(&self, error: &Error, pause: Duration) {
        self.events.emit(Event::Retry { binding: self.binding.to_owned(), error: error.clone(), pause });
    }

    fn waiting(&self, subject: &str, last: &str) {
        self.events.emit(Event::Waiting { subject: subject.to_owned(), last: last.to_owned() });
    }
}

/// A run's id: time-ordered and unique.
pub fn live_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The moment on the session's clock, for durations.
pub fn now(session: &Session) -> Timestamp {
    session.cloud.clock.now()
}
