//! One run of scripts against one cloud in one mode: the gate, approval, tokens, events and cancellation that every
//! host call passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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

/// Asks the operator before the first mutation of an account, or before each; an error is a refusal.
pub trait Approve: Send + Sync {
    /// `facts` are lines such as `account 123456789012`.
    fn approve(&self, facts: &[(String, String)]) -> Result<()>;

    /// Whether every single mutation is asked for, also of a rehearsal: `facts` then end with the call.
    fn asks_each_call(&self) -> bool {
        false
    }
}

/// The refusal where nobody could be asked.
pub fn nobody_to_ask() -> Error {
    Error::refused("refused to change the cloud without being asked to").hint("run again with `--yes`")
}

/// The refusal where the operator said no.
pub fn not_agreed() -> Error {
    Error::refused("the operator did not agree")
}

/// A mutation that is about to be made, for the question about it.
pub struct Intended<'a> {
    /// `eks::create_cluster`.
    pub binding: &'a str,
    /// Its arguments, secrets hidden.
    pub arguments: &'a Value,
}

/// Everything one run owns.
pub struct Session {
    /// What bindings talk to.
    pub cloud: Cloud,
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
    /// `--kubeconfig` and `--context`, or the default file for `eval` and the REPL.
    pub kubeconfig: Option<Endpoint>,
    approve: Arc<dyn Approve>,
    asking: tokio::sync::Mutex<()>,
    runtime: tokio::runtime::Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    target: Target,
    bare_cluster: Option<String>,
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
            events: setup.events,
            cancel: setup.cancel,
            run: setup.run,
            files: Files { root: setup.project.root.clone() },
            project: setup.project,
            kubeconfig: setup.kubeconfig,
            approve: setup.approve,
            asking: tokio::sync::Mutex::default(),
            runtime: setup.runtime,
            state: Mutex::new(State { default_tags, mode: setup.mode, target: setup.target, ..State::default() }),
        })
    }

    /// What is allowed.
    pub fn mode(&self) -> Mode {
        self.state().mode.clone()
    }

    /// Where futures run.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// The cluster or context that bare `kube::` calls go to, once one went there.
    pub fn bare_label(&self) -> Option<String> {
        let state = self.state();
        let by_file = state.kubeconfig.as_ref().map(|connection| connection.label().to_owned());
        state.bare_cluster.clone().or(by_file)
    }

    /// From now on only reads, or no longer.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().mode.read_only = read_only;
    }

    /// Account, role and region of the command line.
    pub fn target(&self) -> Target {
        self.state().target.clone()
    }

    /// From now on calls go to this region.
    pub fn set_region(&self, region: &str) {
        self.state().target.region = Some(region.to_owned());
    }

    /// From now on `kube::` calls without a handle go to this EKS cluster.
    pub fn use_cluster(&self, name: &str) {
        self.state().bare_cluster = Some(name.to_owned());
    }

    /// The EKS cluster that `kube::` calls without a handle go to, where one was chosen.
    pub fn used_cluster(&self) -> Option<String> {
        self.state().bare_cluster.clone()
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
        if effect == Effect::Mutate && self.state().mode.read_only {
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
        let (token, at_once) = self.cancel.tokens();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                answer = &mut work => return answer,
            }
            let reason = self.cancel.reason();
            if effect != Effect::Mutate {
                return Err(reason);
            }
            tokio::select! {
                biased;
                answer = &mut work => return answer,
                () = at_once.cancelled() => {}
                () = tokio::time::sleep(self.cancel.grace) => {}
            }
            let mut error = reason;
            error.facts_mut().maybe_applied = true;
            Err(error)
        })
    }

    /// Runs a read that nobody waits for, for so long at most, whatever becomes of the line at the prompt.
    pub fn wait_in_background<T>(
        &self,
        time: Duration,
        work: impl std::future::Future<Output = Result<T>>,
    ) -> Result<T> {
        let late = |_| Err(Error::timeout("the answer did not come in time"));
        self.runtime.block_on(async { tokio::time::timeout(time, work).await.unwrap_or_else(late) })
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
        let key = self.call_key(step, operation, input);
        let times = self.state().succeeded.get(&key).copied().unwrap_or(0);
        let digest = Sha256::digest(format!("{key}\n{times}").as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn call_key(&self, step: &str, operation: &str, input: &Value) -> String {
        format!("{}\n{step}\n{operation}\n{input}", self.run)
    }

    /// Remembers a success, so that the same call made again on purpose gets another hash.
    pub fn succeeded(&self, step: &str, operation: &str, input: &Value, changed: bool) {
        let key = self.call_key(step, operation, input);
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

    /// Shows where the first mutation of an account goes, checks it against the project's accounts, and asks; where
    /// every call is asked for, shows the call as well.
    pub async fn approve(&self, target: &Target, cluster: Option<&Connection>, call: Intended<'_>) -> Result<()> {
        let by_file = cluster.filter(|cluster| cluster.is_from_kubeconfig());
        let key = by_file.map_or_else(|| format!("{target:?}"), |cluster| format!("kubeconfig {}", cluster.label()));
        let assume_yes = self.mode().assume_yes;
        let each = self.approve.asks_each_call() && !assume_yes;
        if !self.cloud.aws.is_live() && !each {
            return Ok(());
        }
        // One question at a time: branches that ask together would answer each other's.
        let _asking = self.asking.lock().await;
        if !each && self.state().approved.contains(&key) {
            return Ok(());
        }
        let mut facts = self.where_it_goes(target, cluster, by_file.is_some()).await?;
        if each {
            facts.push(("call".to_owned(), format!("{} {}", call.binding, call.arguments)));
            return self.approve.approve(&facts);
        }
        if assume_yes {
            let line: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            self.events.message(Level::Info, format!("changes go to {}", line.join(", ")));
        } else {
            self.approve.approve(&facts)?;
        }
        self.state().approved.insert(key);
        Ok(())
    }

    /// Account, region, caller and cluster of a mutation, as far as it has them; refuses an account that the project
    /// does not allow.
    async fn where_it_goes(
        &self,
        target: &Target,
        cluster: Option<&Connection>,
        by_file: bool,
    ) -> Result<Vec<(String, String)>> {
        let mut facts = Vec::new();
        if !by_file {
            let identity = self.identity(target).await?;
            let text = |name: &str| identity[name].as_str().unwrap_or_default().to_owned();
            let accounts = &self.project.settings.accounts;
            if self.cloud.aws.is_live() && !accounts.is_empty() && !accounts.contains(&text("account")) {
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
        Ok(facts)
    }

    /// The connection to this EKS cluster: by what `describe_cluster` says, or by `--kubeconfig` where that is given.
    pub async fn cluster(&self, target: &Target, name: &str) -> Result<Arc<Connection>> {
        if self.kubeconfig_is_explicit() {
            self.claim_kubeconfig(name)?;
            return self.kubeconfig_connection(true).await;
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
        self.bare(true).await
    }

    /// The same for completion, which tells nobody.
    pub async fn bare_cluster_quietly(&self) -> Result<Option<Arc<Connection>>> {
        self.bare(false).await
    }

    async fn bare(&self, tells: bool) -> Result<Option<Arc<Connection>>> {
        if let Some(name) = self.used_cluster() {
            return self.cluster(&self.target(), &name).await.map(Some);
        }
        match self.kubeconfig {
            Some(_) => self.kubeconfig_connection(tells).await.map(Some),
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

    /// The connection by the kubeconfig. The first use tells where it goes and is remembered; a quiet one is neither.
    async fn kubeconfig_connection(&self, tells: bool) -> Result<Arc<Connection>> {
        if let Some(known) = self.state().kubeconfig.clone() {
            return Ok(known);
        }
        let endpoint = self.kubeconfig.as_ref().ok_or_else(|| Error::bug("a kubeconfig was asked for without one"))?;
        let client = self.cloud.kube.connect(endpoint).await?;
        let named = self.cloud.kube.named(endpoint);
        let connection = Arc::new(Connection::from_kubeconfig(client, &named, self.target()));
        if !tells {
            return Ok(connection);
        }
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

/// How a session ends early: the operator's Ctrl-C or the time limit. In the REPL what ends is one line, and the next
/// begins anew.
#[derive(Clone)]
pub struct Cancel {
    /// Beside the token, because the engine looks at every operation of a script.
    cancelled: Arc<AtomicBool>,
    ending: Arc<Mutex<Ending>>,
    grace: Duration,
}

#[derive(Default)]
struct Ending {
    token: CancellationToken,
    /// Ends the grace of a change in flight.
    at_once: CancellationToken,
    why: Option<Error>,
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel::with_grace(GRACE)
    }
}

impl Cancel {
    /// With another grace for mutating calls in flight.
    pub fn with_grace(grace: Duration) -> Cancel {
        Cancel { cancelled: Arc::default(), ending: Arc::default(), grace }
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Ends the session: the first reason counts.
    pub fn cancel(&self, why: Error) {
        let mut ending = self.ending();
        ending.why.get_or_insert(why);
        self.cancelled.store(true, Ordering::Relaxed);
        ending.token.cancel();
    }

    /// Does not even wait for a change in flight any more.
    pub fn at_once(&self) {
        self.ending().at_once.cancel();
    }

    /// As if nothing had been cancelled: for the next line of the REPL.
    pub fn renew(&self) {
        let mut ending = self.ending();
        *ending = Ending::default();
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Whether the session is to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Why it ends.
    pub fn reason(&self) -> Error {
        self.ending().why.clone().unwrap_or_else(Error::cancelled)
    }

    fn tokens(&self) -> (CancellationToken, CancellationToken) {
        let ending = self.ending();
        (ending.token.clone(), ending.at_once.clone())
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
        Box::pin(self.cancel.tokens().0.cancelled_owned())
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
