//! Faults: what goes wrong in the cloud without anybody's mistake, by rule and by seed.
//!
//! A rule names operations and a kind and strikes so many times; a seed lets every call draw. What was delivered is
//! counted, so that a test can show that each kind of fault met each call.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_dynamic::{CallError, Effect, Operation};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Arrival;
use super::aws::filter::like;
use super::aws::{self, ec2};
use super::kube;
use super::world::{Table, World};
use crate::error::{Error, Result, did_you_mean};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Too many requests; nothing was done.
    Throttled,
    /// An error of the server; nothing was done.
    Unavailable,
    /// An error of the server, although it was done.
    UnavailableApplied,
    /// No answer; nothing was done.
    Timeout,
    /// No answer, although it was done.
    TimeoutApplied,
    /// For some minutes there is no capacity for instances.
    Capacity,
    /// What the call changed is seen as it was for some seconds, and what it made is not known yet.
    Invisible,
    /// What the call began takes three times as long.
    Slow,
    /// Some minutes later AWS takes a spot instance back.
    Interruption,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 9] = [
        Fault::Throttled,
        Fault::Unavailable,
        Fault::UnavailableApplied,
        Fault::Timeout,
        Fault::TimeoutApplied,
        Fault::Capacity,
        Fault::Invisible,
        Fault::Slow,
        Fault::Interruption,
    ];

    /// Whether it can meet a call: `kube::patch` and its like included.
    pub fn meets(self, operation: &str, effect: Effect) -> bool {
        let mutates = effect == Effect::Mutate;
        match self {
            Fault::Throttled | Fault::Unavailable | Fault::Timeout => true,
            Fault::UnavailableApplied | Fault::TimeoutApplied => mutates,
            Fault::Invisible => {
                let creates = ["::create_", "::allocate_", "::add_", "::attach_", "::put_"];
                mutates
                    && (operation.starts_with("ec2::") || operation.starts_with("iam::"))
                    && creates.iter().any(|word| operation.contains(word))
            }
            Fault::Capacity | Fault::Interruption => LAUNCHES.contains(&operation),
            Fault::Slow => mutates && SLOW.contains(&operation),
        }
    }
}

/// Calls after which instances are launched.
const LAUNCHES: &[&str] = &["autoscaling::create_auto_scaling_group", "ec2::run_instances", "eks::create_nodegroup"];

/// Calls that begin something that takes its time.
const SLOW: &[&str] = &[
    "autoscaling::create_auto_scaling_group",
    "autoscaling::delete_auto_scaling_group",
    "ec2::create_nat_gateway",
    "ec2::create_vpc_endpoint",
    "ec2::delete_nat_gateway",
    "ec2::delete_vpc_endpoints",
    "eks::create_addon",
    "eks::create_cluster",
    "eks::create_nodegroup",
    "eks::delete_addon",
    "eks::delete_cluster",
    "eks::delete_nodegroup",
    "eks::update_addon",
    "eks::update_cluster_config",
    "eks::update_nodegroup_config",
];

/// One rule of a faults file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `eks::create_cluster`, `ec2::*`, `kube::patch`.
    pub operation: String,
    /// What goes wrong.
    pub fault: Fault,
    /// How often, 1 where nothing is said.
    #[serde(default = "once")]
    pub times: u64,
    /// How many fitting calls go well before.
    #[serde(default)]
    pub after: u64,
}

fn once() -> u64 {
    1
}

/// What a faults file says, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Looked at in order.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What every call draws from.
    #[serde(default)]
    pub seed: u64,
    /// How many calls of a hundred go wrong by the draw; 0: none.
    #[serde(default)]
    pub percent: u8,
    #[serde(skip)]
    seen: Vec<u64>,
    #[serde(skip)]
    draws: u64,
    /// How often each call met each kind.
    #[serde(skip)]
    pub delivered: BTreeMap<(String, Fault), u64>,
    /// What was changed of late and is not seen yet.
    #[serde(skip)]
    unseen: Vec<Unseen>,
}

/// A thing that is seen as it was.
#[derive(Clone, Debug, PartialEq)]
struct Unseen {
    table: String,
    id: String,
    /// `None`: it is new.
    before: Option<Value>,
    until: Timestamp,
}

/// How long a new thing may stay unseen: within the window in which a doubtful create is looked for.
const INVISIBLE: SignedDuration = SignedDuration::from_secs(8);
const NO_CAPACITY: Duration = Duration::from_secs(180);
const INTERRUPTION: Duration = Duration::from_secs(60);
/// How much longer a slow transition takes.
const SLOWNESS: u32 = 3;

impl Faults {
    /// Reads a faults file.
    pub fn parse(text: &str) -> Result<Faults> {
        let faults: Faults =
            serde_yaml::from_str(text).map_err(|error| Error::invalid(format!("no faults file: {error}")))?;
        if faults.percent > 100 {
            return Err(Error::invalid(format!("`percent` is at most 100, found {}", faults.percent)));
        }
        for rule in &faults.rules {
            let names = || aws::simulated().chain(kube::faults::CALLS.iter().copied());
            if !names().any(|name| like(&rule.operation, name)) {
                // A rule that can never strike would make a rehearsal look better than it is.
                return Err(Error::invalid(format!("no call of a rehearsal fits the rule for `{}`", rule.operation))
                    .maybe_hint(did_you_mean(&rule.operation, names())));
            }
        }
        Ok(faults)
    }

    /// Of a hundred calls so many go wrong, as this seed has it.
    pub fn by_seed(seed: u64, percent: u8) -> Faults {
        Faults { seed, percent, ..Faults::default() }
    }

    /// These rules and nothing else.
    pub fn by_rules(rules: Vec<Rule>) -> Faults {
        Faults { rules, ..Faults::default() }
    }

    /// What goes wrong with this call. Whoever plays it counts it, once it has an effect.
    pub fn judge(&mut self, operation: &str, effect: Effect) -> Option<Fault> {
        self.by_rule(operation, effect).or_else(|| self.by_chance(operation, effect))
    }

    /// Counts a fault that a call has met.
    pub fn count(&mut self, operation: &str, fault: Fault) {
        *self.delivered.entry((operation.to_owned(), fault)).or_default() += 1;
    }

    fn by_rule(&mut self, operation: &str, effect: Effect) -> Option<Fault> {
        self.seen.resize(self.rules.len(), 0);
        for (rule, seen) in self.rules.iter().zip(&mut self.seen) {
            if !like(&rule.operation, operation) || !rule.fault.meets(operation, effect) {
                continue;
            }
            *seen += 1;
            if *seen > rule.after && *seen <= rule.after + rule.times {
                return Some(rule.fault);
            }
        }
        None
    }

    fn by_chance(&mut self, operation: &str, effect: Effect) -> Option<Fault> {
        if self.percent == 0 {
            return None;
        }
        self.draws += 1;
        let digest = Sha256::digest(format!("{}\n{}", self.seed, self.draws).as_bytes());
        let (chance, choice) = (digest[0..2].iter(), digest[2]);
        let chance = chance.fold(0_u32, |sum, byte| sum * 256 + u32::from(*byte)) * 100 / 65_536;
        if chance >= u32::from(self.percent) {
            return None;
        }
        let fitting: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.meets(operation, effect)).collect();
        fitting.get(usize::from(choice) % fitting.len().max(1)).copied()
    }
}

/// Answers an AWS call with what goes wrong with it.
#[expect(clippy::result_large_err, reason = "the error of the seam; made once a failed call")]
pub fn call(world: &mut World, operation: &'static Operation, input: &Value) -> Result<Value, CallError> {
    let name = operation.to_string();
    let Some(fault) = world.faults.judge(&name, operation.effect) else {
        return seeing(world, operation, input);
    };
    // These two count once they have an effect.
    if !matches!(fault, Fault::Invisible | Fault::Interruption) {
        world.faults.count(&name, fault);
    }
    match fault {
        Fault::Throttled => {
            let (status, code) = throttling(operation.service);
            Err(aws::error(world, status, code, "Rate exceeded"))
        }
        Fault::Unavailable => Err(internal(world)),
        Fault::Timeout => Err(CallError::unanswered()),
        Fault::UnavailableApplied => {
            aws::call(world, operation, input)?;
            Err(internal(world))
        }
        Fault::TimeoutApplied => {
            aws::call(world, operation, input)?;
            Err(CallError::unanswered())
        }
        Fault::Slow => {
            world.slowness = SLOWNESS;
            let answer = aws::call(world, operation, input);
            world.slowness = 0;
            answer
        }
        Fault::Capacity => {
            world.put("trouble/capacity", "*", json!({}));
            world.begin_after(NO_CAPACITY, "trouble/capacity", "*", "over");
            aws::call(world, operation, input)
        }
        Fault::Invisible => unseen_for_a_while(world, operation, input),
        Fault::Interruption => {
            world.begin_after(INTERRUPTION, "trouble/interruption", &name, "struck");
            aws::call(world, operation, input)
        }
    }
}

fn internal(world: &mut World) -> CallError {
    aws::error(world, 500, "InternalFailure", "An internal error occurred. Please try again.")
}

/// The call, whose changes are not seen for a while.
#[expect(clippy::result_large_err, reason = "the error of the seam; made once a failed call")]
fn unseen_for_a_while(world: &mut World, operation: &'static Operation, input: &Value) -> Result<Value, CallError> {
    let before: BTreeMap<String, Table> =
        world.tables().map(|(name, table)| (name.to_owned(), table.clone())).collect();
    let answer = aws::call(world, operation, input);
    let until = world.now + INVISIBLE;
    let mut unseen = Vec::new();
    for (name, table) in world.tables().filter(|(name, _)| *name != aws::TOKENS) {
        for (id, thing) in table {
            let old = before.get(name).and_then(|table| table.get(id));
            if old != Some(thing) {
                unseen.push(Unseen { table: name.to_owned(), id: id.clone(), before: old.cloned(), until });
            }
        }
    }
    if !unseen.is_empty() {
        world.faults.count(&operation.to_string(), Fault::Invisible);
        world.faults.unseen.append(&mut unseen);
    }
    answer
}

/// The call as it is answered where the latest changes are not known yet.
#[expect(clippy::result_large_err, reason = "the error of the seam; made once a failed call")]
fn seeing(world: &mut World, operation: &'static Operation, input: &Value) -> Result<Value, CallError> {
    let now = world.now;
    world.faults.unseen.retain(|unseen| unseen.until > now);
    if world.faults.unseen.is_empty() {
        return aws::call(world, operation, input);
    }
    let unseen = world.faults.unseen.clone();
    if operation.effect == Effect::Read {
        let there = unseen.iter().filter(|one| world.find(&one.table, &one.id).is_some());
        let there: Vec<&Unseen> = there.collect();
        let hidden: Vec<Option<Value>> =
            there.iter().map(|one| world.swap(&one.table, &one.id, one.before.clone())).collect();
        let answer = aws::call(world, operation, input);
        for (one, thing) in there.into_iter().zip(hidden).rev() {
            world.swap(&one.table, &one.id, thing);
        }
        return answer;
    }
    // A change of something that is not known yet is refused as a change of something that is not there.
    let text = input.to_string();
    let (new, mut trial) = (unseen.iter().filter(|one| one.before.is_none() && text.contains(&one.id)), None);
    for one in new {
        let trial = trial.get_or_insert_with(|| world.clone());
        trial.swap(&one.table, &one.id, None);
    }
    if let Some(mut trial) = trial {
        aws::call(&mut trial, operation, input)?;
    }
    aws::call(world, operation, input)
}

/// How each service says that it was asked too often.
fn throttling(service: &str) -> (u16, &'static str) {
    match service {
        "ec2" => (503, "RequestLimitExceeded"),
        "iam" | "autoscaling" | "elasticloadbalancing" | "elasticloadbalancingv2" | "sts" => (400, "Throttling"),
        "eks" => (429, "TooManyRequestsException"),
        _ => (400, "ThrottlingException"),
    }
}

/// What becomes of the troubles.
///
/// A world file may plan them: `{ table: trouble/routes, id: "*", to: cut, … }` under `pending` is somebody who cuts the
/// nodes' ways out at that time.
pub const ARRIVALS: &[Arrival] = &[
    ("trouble/capacity", shortage),
    ("trouble/instances", failing),
    ("trouble/interruption", interrupt),
    ("trouble/routes", cut_routes),
    ("trouble/subnets", fill_subnets),
];

/// From now on, or no longer, is there no capacity for instances of a type.
fn shortage(world: &mut World, id: &str, to: &str) {
    match to {
        "over" => drop(world.remove("trouble/capacity", id)),
        _ => world.put("trouble/capacity", id, json!({})),
    }
}

/// From now on instances fail their status checks.
fn failing(world: &mut World, id: &str, _: &str) {
    world.put("trouble/instances", id, json!({}));
}

/// Somebody deletes every default route and every endpoint.
fn cut_routes(world: &mut World, _: &str, _: &str) {
    let tables: Vec<String> = world.table("ec2/route_tables").keys().cloned().collect();
    for id in tables {
        let Some(routes) = world.find_mut("ec2/route_tables", &id).and_then(|table| table["routes"].as_array_mut())
        else {
            continue;
        };
        routes.retain(|route| route["destination_cidr_block"] != "0.0.0.0/0");
    }
    let endpoints: Vec<String> = world.table("ec2/vpc_endpoints").keys().cloned().collect();
    if !endpoints.is_empty() {
        let _ = aws::within(world, "ec2::delete_vpc_endpoints", json!({ "vpc_endpoint_ids": endpoints }));
    }
}

/// Others take every free address of every subnet.
fn fill_subnets(world: &mut World, _: &str, _: &str) {
    let subnets: Vec<String> = world.table("ec2/subnets").keys().cloned().collect();
    for id in subnets {
        ec2::interface::fill(world, &id);
    }
}

/// AWS takes the spot instance back that runs longest. `cause`: the call that met this fault.
fn interrupt(world: &mut World, cause: &str, _: &str) {
    let spot = world
        .table("ec2/instances")
        .iter()
        .filter(|(_, instance)| instance["instance_lifecycle"] == "spot" && instance["state"]["name"] == "running");
    let oldest = spot.min_by_key(|(id, instance)| (instance["launch_time"].to_string(), (*id).clone()));
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        world.faults.count(cause, Fault::Interruption);
        ec2::compute::interrupt(world, &id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_so_many_times_after_so_many() {
        let text = "rules: [{ operation: 'eks::*', fault: throttled, times: 2, after: 1 }]";
        let mut faults = Faults::parse(text).unwrap();
        let seen: Vec<bool> = (0..5).map(|_| faults.judge("eks::list_clusters", Effect::Read).is_some()).collect();
        assert_eq!(seen, [false, true, true, false, false]);
        assert_eq!(faults.judge("ec2::describe_vpcs", Effect::Read), None);
    }

    #[test]
    fn the_draw_is_the_same_for_the_same_seed_and_meets_what_it_can() {
        let mut first = Faults::by_seed(7, 30);
        let mut second = first.clone();
        for _ in 0..500 {
            let drawn = first.judge("ec2::describe_vpcs", Effect::Read);
            assert_eq!(drawn, second.judge("ec2::describe_vpcs", Effect::Read));
            assert!(drawn.is_none_or(|fault| fault.meets("ec2::describe_vpcs", Effect::Read)));
        }
        let drawn = (0..500).filter(|_| first.judge("ec2::describe_vpcs", Effect::Read).is_some()).count();
        assert!((100..200).contains(&drawn), "{drawn}");
    }

    #[test]
    fn an_unknown_word_in_a_faults_file_is_an_error() {
        for (text, says) in [
            ("rules: [{ operation: x, fault: meteor }]", "meteor"),
            ("rules: [{ operation: 'eks::create_cluter', fault: timeout }]", "no call of a rehearsal fits"),
            ("percent: 101", "at most 100"),
        ] {
            let error = Faults::parse(text).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
