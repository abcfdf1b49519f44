//! `aws_node::plan_for` against a step-by-step simulation of the address manager, for every instance type we know.
//!
//! The plan is a closed form; the simulation runs the manager's loop: look whether the pool is too low, fill an
//! interface that has room, else attach one, let go of what is too much, until nothing moves any more.

use serde_json::{Value, json};

use crate::stage::Stage;

struct Limits {
    name: String,
    enis: usize,
    per: usize,
    vcpus: i64,
    prefixes: bool,
}

fn instance_types() -> Vec<Limits> {
    let lines = include_str!("instance_types.tsv").lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        Limits {
            name: cells[0].to_owned(),
            enis: cells[1].parse().unwrap(),
            per: cells[2].parse::<usize>().unwrap() - 1,
            vcpus: cells[3].parse().unwrap(),
            prefixes: cells[4] == "yes",
        }
    };
    lines.map(parse).collect()
}

/// What the operator sets.
#[derive(Clone, Copy)]
struct Knobs {
    pods: usize,
    warm_ip: usize,
    minimum_ip: usize,
    warm_eni: usize,
    warm_prefix: usize,
    prefix: bool,
    max_pods: usize,
    max_eni: usize,
    custom: bool,
}

/// The pool of one node: how many slots (addresses or prefixes) each interface holds.
struct Pool<'a> {
    limits: &'a Limits,
    knobs: Knobs,
    held: Vec<usize>,
    assigned: usize,
}

impl Pool<'_> {
    fn size(&self) -> usize {
        if self.knobs.prefix { 16 } else { 1 }
    }

    fn total(&self) -> usize {
        self.held.iter().sum::<usize>() * self.size()
    }

    fn by_targets(&self) -> bool {
        self.knobs.warm_ip > 0 || self.knobs.minimum_ip > 0
    }

    fn enis_max(&self) -> usize {
        if self.knobs.max_eni > 0 { self.limits.enis.min(self.knobs.max_eni) } else { self.limits.enis }
    }

    /// Slots that are short; none: the pool is not too low.
    fn short(&self) -> Option<usize> {
        let (total, free) = (self.total(), self.total() - self.assigned);
        if total >= self.knobs.max_pods {
            return None;
        }
        if self.by_targets() {
            let short = self.knobs.warm_ip.saturating_sub(free).max(self.knobs.minimum_ip.saturating_sub(total));
            return (short > 0).then(|| short.div_ceil(self.size()).max(1));
        }
        if self.knobs.prefix {
            let low = free < 16 * self.knobs.warm_prefix || (self.knobs.warm_prefix == 0 && free == 0);
            let free_prefixes = self.held.iter().sum::<usize>() - self.assigned.div_ceil(16);
            return low.then(|| self.knobs.warm_prefix.saturating_sub(free_prefixes).max(1));
        }
        let low = free < self.limits.per * self.knobs.warm_eni || (self.knobs.warm_eni == 0 && free == 0);
        low.then_some(self.limits.per)
    }

    /// Fills an interface that has room, else attaches one; whether anything changed.
    fn grow(&mut self) -> bool {
        let Some(short) = self.short() else { return false };
        let first = usize::from(self.knobs.custom);
        if let Some(held) = self.held.iter_mut().skip(first).find(|held| **held < self.limits.per) {
            *held += short.min(self.limits.per - *held);
            return true;
        }
        if self.held.len() >= self.enis_max() {
            return false;
        }
        self.held.push(short.min(self.limits.per));
        true
    }

    /// With targets, addresses or prefixes beyond them go back; whether anything changed.
    fn shrink(&mut self) -> bool {
        if !self.by_targets() {
            return false;
        }
        let size = self.size();
        let slots = self.held.iter().sum::<usize>();
        let used = self.assigned.div_ceil(size);
        let needed = (self.assigned + self.knobs.warm_ip).div_ceil(size);
        let floor = self.knobs.minimum_ip.div_ceil(size);
        let over = (slots - used).min(slots.saturating_sub(needed)).min(slots.saturating_sub(floor));
        if over == 0 {
            return false;
        }
        let last = self.held.iter().rposition(|held| *held > 0).unwrap();
        self.held[last] -= over.min(self.held[last]);
        true
    }
}

/// Pods come one by one, and the pool settles before each.
fn simulate<'a>(limits: &'a Limits, knobs: Knobs) -> Pool<'a> {
    let mut pool = Pool { limits, knobs, held: vec![0], assigned: 0 };
    for pod in 0..=knobs.pods {
        if pod > 0 && pool.assigned < pool.total().min(knobs.max_pods) {
            pool.assigned += 1;
        }
        for round in 0.. {
            assert!(round < 10_000, "the pool never settles: {}", limits.name);
            if !pool.grow() && !pool.shrink() {
                break;
            }
        }
    }
    pool
}

fn variants(limits: &Limits, turn: usize) -> Vec<Knobs> {
    let own = |custom: bool| (limits.enis - usize::from(custom)) * limits.per + 2;
    let base = Knobs {
        pods: 0,
        warm_ip: 0,
        minimum_ip: 0,
        warm_eni: 1,
        warm_prefix: 1,
        prefix: false,
        max_pods: own(false),
        max_eni: 0,
        custom: false,
    };
    let mut found = Vec::new();
    let pods = [0, 1, limits.per, limits.per + 1, own(false) / 2, own(false) - 2];
    // Two of them a type: all of them for every type would take minutes and find the same.
    for pods in [pods[turn % 6], pods[(turn + 2) % 6]] {
        found.push(Knobs { pods, ..base });
        found.push(Knobs { pods, warm_eni: 0, ..base });
        found.push(Knobs { pods, warm_ip: 2, minimum_ip: 5, ..base });
        found.push(Knobs { pods, warm_ip: 5, ..base });
        found.push(Knobs { pods, minimum_ip: 7, ..base });
        found.push(Knobs { pods, max_eni: 2, ..base });
        if limits.enis > 1 {
            found.push(Knobs { pods, custom: true, max_pods: own(true), ..base });
        }
        if limits.prefixes {
            found.push(Knobs { pods, prefix: true, max_pods: 110, ..base });
            found.push(Knobs { pods, prefix: true, max_pods: 250, warm_ip: 7, minimum_ip: 20, ..base });
            found.push(Knobs { pods, prefix: true, max_pods: 110, warm_prefix: 2, ..base });
        }
    }
    found
}

fn options(knobs: Knobs) -> Value {
    json!({
        "nodes": 3,
        "pods_per_node": knobs.pods,
        "warm_ip_target": knobs.warm_ip,
        "minimum_ip_target": knobs.minimum_ip,
        "warm_eni_target": knobs.warm_eni,
        "warm_prefix_target": knobs.warm_prefix,
        "prefix_delegation": knobs.prefix,
        "max_pods": knobs.max_pods,
        "max_eni": knobs.max_eni,
        "custom_networking": knobs.custom,
    })
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "instance_type": limits.name,
        "enis": limits.enis,
        "ips_per_eni": limits.per + 1,
        "vcpus": limits.vcpus,
        "prefixes": limits.prefixes,
    })
}

#[test]
fn the_plan_rests_where_the_address_manager_rests() {
    let types = instance_types();
    let cases: Vec<(&Limits, Knobs)> = types
        .iter()
        .enumerate()
        .flat_map(|(turn, limits)| variants(limits, turn).into_iter().map(move |knobs| (limits, knobs)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let asked: Value = cases.iter().map(|(limits, knobs)| json!([limits_json(limits), options(*knobs)])).collect();
    std::fs::write(folder.path().join("cases.json"), asked.to_string()).unwrap();
    let script = "import \"aws_node\" as aws_node; let out = []; for one in json::load(\"cases.json\") { out.push(aws_node::plan_for(one[0], one[1])); } out";
    let seen = Stage::default().project(folder.path()).run(script);
    for ((limits, knobs), plan) in cases.iter().zip(seen.value().as_array().unwrap()) {
        let pool = simulate(limits, *knobs);
        let held: Vec<usize> =
            if knobs.custom { pool.held.clone() } else { pool.held.iter().copied().filter(|held| *held > 0).collect() };
        let held = if held.is_empty() { vec![0] } else { held };
        let found =
            json!([plan["per_eni"], plan["enis"], plan["secondary_ips"], plan["unused"], plan["vpc_ips_total"]]);
        let vpc_ips = pool.total() + held.len();
        let wanted = json!([held, held.len(), pool.total(), pool.total() - pool.assigned, 3 * vpc_ips]);
        assert_eq!(found, wanted, "{} with {}", limits.name, options(*knobs));
    }
    println!("{} instance types, {} cases", types.len(), cases.len());
    assert!(types.len() >= 200);
}
