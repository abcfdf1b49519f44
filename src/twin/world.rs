//! The state of a twin: what AWS and the API servers of its clusters hold, the clock, and what is under way.
//!
//! A thing of AWS is a JSON document in a table, in the field names of the answers that show it and sparse: what is
//! absent is null in an answer. A key that begins with `_` is the twin's own and no answer shows it. So a world file
//! reads like answers of AWS, and a person can change it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::faults::Faults;
use super::kube::store::Store;
use super::lifecycle;
use super::physics::Changes;
use super::physics::timer::LOOK;
use super::plans::Plans;
use crate::error::{Error, Result};

/// Things of one type by their id.
pub type Table = BTreeMap<String, Value>;

/// Something that will be so at a later time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// When.
    #[serde(with = "moment")]
    pub at: Timestamp,
    /// Breaks ties: first planned, first come.
    pub order: u64,
    /// When it was planned.
    #[serde(with = "moment")]
    pub since: Timestamp,
    /// The table, such as `eks/clusters`, or `kube/pods`.
    pub table: String,
    /// Which thing; of Kubernetes `cluster/namespace/name`.
    pub id: String,
    /// What it becomes: `ACTIVE`.
    pub to: String,
}

/// A transition that came true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The table.
    pub table: String,
    /// Which thing.
    pub id: String,
    /// What it became.
    pub to: String,
    /// When it was planned.
    pub since: Timestamp,
    /// When it came true.
    pub at: Timestamp,
}

impl Passed {
    /// How long it took.
    pub fn took(&self) -> Duration {
        Duration::try_from(self.at.duration_since(self.since)).unwrap_or(Duration::ZERO)
    }
}

/// The whole state. Everything but `history` and `dirty` is in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// Virtual time.
    #[serde(with = "moment")]
    pub now: Timestamp,
    /// All that looks random comes from it.
    pub seed: u64,
    /// The account.
    pub account: String,
    /// The one region.
    pub region: String,
    /// Who calls, where no role is assumed.
    pub caller: String,
    /// How many ids of each type were given out.
    #[serde(default)]
    counters: BTreeMap<String, u64>,
    /// What will be so later.
    #[serde(default)]
    pending: Plans,
    /// Things of AWS: `ec2/vpcs` by id.
    #[serde(default)]
    aws: BTreeMap<String, Table>,
    /// What the API server of each cluster holds.
    #[serde(default)]
    kube: BTreeMap<String, Store>,
    /// Transitions that came true in this process.
    #[serde(skip)]
    pub history: Vec<Passed>,
    /// Tables with changes that the controllers have not looked at: `ec2/vpcs`; `kube/pods` of any cluster.
    #[serde(skip)]
    dirty: BTreeSet<String>,
    /// What the controllers look at now.
    #[serde(skip)]
    settling: Option<Arc<Changes>>,
    /// Who makes the call that is being answered.
    #[serde(skip)]
    pub(super) acting: String,
    /// Behaviours that a test of the twin itself has switched off, to see that another test notices.
    #[serde(skip)]
    off: BTreeSet<String>,
    /// What goes wrong.
    #[serde(skip)]
    pub faults: Faults,
    /// How many times as long as usual transitions take; 0 = as usual.
    #[serde(skip)]
    pub(super) slowness: u32,
}

const DEFAULT: &str = include_str!("worlds/default.yaml");
/// Tables of facts about AWS. A world file names only those that differ from the default world's.
const FACT_FILES: &[&str] = &[
    include_str!("worlds/ec2.yaml"),
    include_str!("worlds/eks.yaml"),
    include_str!("worlds/account.yaml"),
    include_str!("worlds/instance_types.yaml"),
];

impl World {
    /// How many things each table holds, of AWS and of the clusters.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let aws = self.aws.iter().map(|(table, things)| (table.clone(), things.len()));
        aws.filter(|(_, count)| *count > 0).collect()
    }

    /// The default world: an account in us-west-2 with nothing in it.
    pub fn new(seed: u64) -> Result<World> {
        let mut world = World::parse(DEFAULT)?;
        world.seed = seed;
        Ok(world)
    }

    /// Reads a world file.
    pub fn parse(text: &str) -> Result<World> {
        let mut world: World = serde_yaml::from_str(text)
            .map_err(|error| Error::invalid(format!("no world file: {}", in_words(&error))))?;
        for (name, table) in facts()? {
            world.aws.entry(name).or_insert(table);
        }
        world.kube.values_mut().for_each(Store::reindex);
        Ok(world)
    }

    /// The text of a world file.
    pub fn to_yaml(&self) -> Result<String> {
        let mut shown = self.clone();
        let facts = facts()?;
        shown.aws.retain(|name, table| !table.is_empty() && facts.get(name) != Some(table));
        serde_yaml::to_string(&shown).map_err(|error| Error::bug(format!("a world can not be written: {error}")))
    }

    /// A table; empty where nothing was ever in it.
    pub fn table(&self, name: &str) -> &Table {
        static EMPTY: Table = Table::new();
        self.aws.get(name).unwrap_or(&EMPTY)
    }

    /// The names of all tables.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.aws.iter().map(|(name, table)| (name.as_str(), table))
    }

    /// A thing, if it is there.
    pub fn find(&self, table: &str, id: &str) -> Option<&Value> {
        self.aws.get(table)?.get(id)
    }

    /// A thing to change, if it is there. Its table counts as changed.
    pub fn find_mut(&mut self, table: &str, id: &str) -> Option<&mut Value> {
        let thing = self.aws.get_mut(table)?.get_mut(id)?;
        self.dirty.insert(table.to_owned());
        Some(thing)
    }

    /// Puts a thing in place.
    pub fn put(&mut self, table: &str, id: &str, thing: Value) {
        self.aws.entry(table.to_owned()).or_default().insert(id.to_owned(), thing);
        self.dirty.insert(table.to_owned());
    }

    /// Takes a thing away, and what was planned for it.
    pub fn remove(&mut self, table: &str, id: &str) -> Option<Value> {
        let removed = self.aws.get_mut(table)?.remove(id)?;
        self.pending.forget(table, id);
        self.dirty.insert(table.to_owned());
        Some(removed)
    }

    /// Puts another state of a thing in its place, or none, without anybody noticing; answers the one that was there.
    pub(super) fn swap(&mut self, table: &str, id: &str, state: Option<Value>) -> Option<Value> {
        let table = self.aws.entry(table.to_owned()).or_default();
        match state {
            Some(state) => table.insert(id.to_owned(), state),
            None => table.remove(id),
        }
    }

    /// How often this was counted, this time included.
    pub fn count(&mut self, of: &str) -> u64 {
        let count = self.counters.entry(of.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// A hash of seed, type and count as lower-case hexadecimal digits.
    pub fn digits(&mut self, of: &str, length: usize) -> String {
        let count = self.count(of);
        let digest = Sha256::digest(format!("{}\n{of}\n{count}", self.seed).as_bytes());
        digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).cycle().take(length).map(hexadecimal).collect()
    }

    /// A new id in the form of EC2: `vpc-` and 17 digits.
    pub fn id(&mut self, prefix: &str) -> String {
        let digits = self.digits(prefix, 16);
        format!("{prefix}-0{digits}")
    }

    /// A new UUID.
    pub fn uuid(&mut self, of: &str) -> String {
        let digits = self.digits(of, 32);
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }

    /// A new number below `below`, the same for the same seed.
    pub fn random(&mut self, of: &str, below: u64) -> u64 {
        let digits = self.digits(of, 15);
        u64::from_str_radix(&digits, 16).unwrap_or(0) % below.max(1)
    }

    /// Now, as AWS and Kubernetes write it: whole seconds, RFC 3339 UTC.
    pub fn now_text(&self) -> String {
        moment::text(self.now)
    }

    /// The ARN of something in this account and region: `arn("eks", "cluster/prod")`.
    pub fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{rest}", self.region, self.account)
    }

    /// The ARN of something of IAM: `iam_arn("role/prod")`.
    pub fn iam_arn(&self, rest: &str) -> String {
        format!("arn:aws:iam::{}:{rest}", self.account)
    }

    /// Plans a transition after as long as the table of durations says.
    pub fn begin(&mut self, table: &str, id: &str, to: &str) {
        let pause = lifecycle::duration(table, to);
        self.begin_after(pause, table, id, to);
    }

    /// Plans a transition after this long.
    pub fn begin_after(&mut self, pause: Duration, table: &str, id: &str, to: &str) {
        let pause = pause * self.slowness.max(1);
        let at = self.now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
        let order = self.count("transition");
        self.pending.add(Transition {
            at,
            order,
            since: self.now,
            table: table.to_owned(),
            id: id.to_owned(),
            to: to.to_owned(),
        });
    }

    /// Whether this is planned.
    pub fn is_planned(&self, table: &str, id: &str, to: &str) -> bool {
        self.pending.of(table, id).any(|planned| planned.to == to)
    }

    /// Drops what is planned for a thing.
    pub fn forget(&mut self, table: &str, id: &str) {
        self.pending.forget(table, id);
    }

    /// What is planned.
    pub fn pending(&self) -> &Plans {
        &self.pending
    }

    /// Lets time pass; what was planned until then comes true in order.
    pub fn advance(&mut self, to: Timestamp) {
        while let Some(planned) = self.take_due(to) {
            self.now = self.now.max(planned.at);
            super::arrive(self, &planned);
            let goes_on = self.pending.first().is_some_and(|next| is_together(&planned, next));
            let Transition { at, since, table, id, to, .. } = planned;
            // That somebody looks again is nothing that happened.
            if to != LOOK {
                self.history.push(Passed { table, id, to, since, at });
            }
            if !goes_on {
                super::physics::settle(self);
            }
        }
        self.now = self.now.max(to);
    }

    fn take_due(&mut self, to: Timestamp) -> Option<Transition> {
        self.pending.first().filter(|planned| planned.at <= to)?;
        self.pending.take_first()
    }

    /// A number that is another one after every change of what API servers hold and of what is planned.
    pub(super) fn version(&self) -> u64 {
        let planned = self.counters.get("transition").copied().unwrap_or(0);
        self.kube.values().fold(planned, |sum, store| sum.wrapping_add(store.revision()))
    }

    /// The store behind the API server of a cluster.
    pub fn store(&self, cluster: &str) -> Option<&Store> {
        self.kube.get(cluster)
    }

    /// The same, to change. Stores tell themselves which of their tables changed.
    pub fn store_mut(&mut self, cluster: &str) -> Option<&mut Store> {
        self.kube.get_mut(cluster)
    }

    /// The names of the clusters that have an API server.
    pub fn clusters(&self) -> Vec<String> {
        self.kube.keys().cloned().collect()
    }

    /// Starts the API server of a cluster, with what every server holds from the start.
    pub fn start_server(&mut self, cluster: &str) {
        self.kube.insert(cluster.to_owned(), Store::default());
        super::kube::bootstrap::bootstrap(self, cluster);
    }

    /// Ends the API server of a cluster, with all it held.
    pub fn stop_server(&mut self, cluster: &str) {
        self.kube.remove(cluster);
        let within = format!("{cluster}/");
        for memory in super::physics::MEMORIES {
            if let Some(memory) = self.aws.get_mut(*memory) {
                memory.retain(|id, _| !id.starts_with(&within));
            }
        }
        self.pending.retain(|planned| !planned.table.starts_with("kube/") || !planned.id.starts_with(&within));
    }

    /// Takes what changed since the last time, for the controllers to look at; none: nothing did.
    pub(super) fn take_changes(&mut self) -> Option<Arc<Changes>> {
        let mut tables = std::mem::take(&mut self.dirty);
        let mut stores = BTreeMap::new();
        for (cluster, store) in &mut self.kube {
            for kind in tables.iter().filter_map(|table| table.strip_prefix("kube/")) {
                store.touch_all(kind);
            }
            stores.insert(cluster.clone(), store.take_changed());
        }
        let kinds = stores.values().flat_map(|changed| changed.kinds());
        tables.extend(kinds.map(|kind| format!("kube/{kind}")));
        self.settling = (!tables.is_empty()).then(|| Arc::new(Changes::new(tables, stores)));
        self.settling.clone()
    }

    /// What changed, for a controller that looks now. Outside of a settlement everything counts as changed.
    pub(super) fn changes(&self) -> Arc<Changes> {
        match &self.settling {
            Some(changes) => changes.clone(),
            None => {
                let stores = self.kube.iter().map(|(cluster, store)| (cluster.clone(), store.everything()));
                Arc::new(Changes::new(BTreeSet::new(), stores.collect()))
            }
        }
    }

    /// Switches a behaviour off, as only tests of the twin itself do.
    pub fn switch_off(&mut self, behaviour: &str) {
        self.off.insert(behaviour.to_owned());
    }

    /// Whether this behaviour is switched off.
    pub fn is_off(&self, behaviour: &str) -> bool {
        self.off.contains(behaviour)
    }

    /// Makes the controllers look at a table again.
    pub fn touch(&mut self, table: &str) {
        self.dirty.insert(table.to_owned());
    }
}

/// Whether the controllers look only once after these two: pods that start or end in the same moment are many.
fn is_together(one: &Transition, next: &Transition) -> bool {
    one.table == "kube/pods" && next.table == one.table && next.at == one.at && next.to == one.to
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

/// The facts of the default world; parsed once.
fn facts() -> Result<BTreeMap<String, Table>> {
    static FACTS_PARSED: std::sync::OnceLock<BTreeMap<String, Table>> = std::sync::OnceLock::new();
    if let Some(known) = FACTS_PARSED.get() {
        return Ok(known.clone());
    }
    let mut all = BTreeMap::new();
    for text in FACT_FILES {
        let tables: BTreeMap<String, Table> = serde_yaml::from_str(text)
            .map_err(|error| Error::bug(format!("the facts of the default world can not be read: {error}")))?;
        all.extend(tables);
    }
    Ok(FACTS_PARSED.get_or_init(|| all).clone())
}

/// Times in world files.
pub mod moment {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// RFC 3339 UTC.
    pub fn text(time: Timestamp) -> String {
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Writes a time, with its fraction where it has one.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_string())
    }

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
/// What the parser says, without names of our own types.
fn in_words(error: &serde_yaml::Error) -> String {
    error.to_string().replace("expected struct World", "a map of its parts is needed")
}
