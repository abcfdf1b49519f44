//! Whole runbooks on the twin: what comes up, what fails and says why, what is left, and that it is the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ekskit::event::Event;
use ekskit::twin::Twin;
use ekskit::twin::faults::{Fault, Faults, Rule};
use ekskit::twin::world::{Table, World};
use jiff::SignedDuration;
use regex::Regex;
use serde_json::{Value, json};

use crate::stage::{Seen, Stage};
use crate::tree::root;

fn new_world() -> Twin {
    Twin::new(World::new(1).unwrap())
}

fn prod(twin: &Twin, sets: &[&str]) -> Seen {
    Stage::rehearse(twin).set(sets).run_file("runbooks/prod.rhai")
}

fn teardown(twin: &Twin) -> Seen {
    // Deletion protection is there to be switched off by hand.
    Stage::rehearse(twin)
        .run(r#"
            if eks::list_clusters().clusters.contains("prod") && eks::describe_cluster("prod").cluster.deletion_protection == true {
                eks::update_cluster_config(#{ name: "prod", deletion_protection: false });
                eks::wait_until_cluster_active("prod");
            }"#)
        .value();
    Stage::rehearse(twin).run_file("runbooks/teardown.rhai")
}

/// A number of the environment: the whole of what takes minutes is run where there are minutes.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn changes(seen: &Seen) -> Vec<String> {
    let changed = seen.events.iter().filter_map(|event| match event {
        Event::Outcome { binding, changed: true, .. } => Some(binding.clone()),
        _ => None,
    });
    changed.collect()
}

/// All combinations of the inputs that choose between ways.
fn combinations() -> Vec<[String; 3]> {
    let mut all = Vec::new();
    for auth in ["access-entries", "aws-auth"] {
        for workers in ["managed", "self-managed"] {
            for addons in ["managed", "self"] {
                all.push([format!("auth={auth}"), format!("workers={workers}"), format!("addons={addons}")]);
            }
        }
    }
    all
}

#[test]
fn every_combination_comes_up_changes_nothing_the_second_time_and_goes_without_a_trace() {
    for sets in combinations() {
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let twin = new_world();
        let before = everything(&twin.world());
        let seen = prod(&twin, &sets);
        assert_eq!(seen.value()["proof"]["nodes_ready"], 3, "{sets:?}: {}", seen.value());
        let again = prod(&twin, &sets);
        assert_eq!(again.value()["proof"]["nodes_ready"], 3);
        assert_eq!(changes(&again), Vec::<String>::new(), "{sets:?}");
        let removed = teardown(&twin);
        assert!(removed.result.is_ok(), "{sets:?}: {}", removed.rendered());
        let after = everything(&twin.world());
        let listed = removed.value()["left"].to_string();
        for (name, table) in &after {
            for (id, thing) in table {
                let is_new = before.get(name).and_then(|old: &Table| old.get(id)) != Some(thing);
                let shown =
                    if name == "autoscaling/activities" { &thing["auto_scaling_group_name"] } else { &json!(id) };
                let is_listed = shown.as_str().is_some_and(|shown| listed.contains(&format!("`{shown}`")));
                assert!(!is_new || is_listed, "{sets:?} left {name} {id} and lists {listed}");
            }
        }
        assert!(before.keys().all(|name| after.contains_key(name)), "{sets:?}");
        assert!(twin.world().clusters().is_empty());
    }
}

/// All that a world holds but the client tokens it has seen: they are counters, and no operation shows them.
fn everything(world: &World) -> BTreeMap<String, Table> {
    world.tables().filter(|(name, _)| *name != "tokens").map(|(name, table)| (name.to_owned(), table.clone())).collect()
}

/// What a world holds of things that count: not what AWS shows for a while after its end, and not records of what
/// happened.
fn things(world: &World) -> BTreeMap<String, Table> {
    let records = ["tokens", "autoscaling/activities", "eks/updates"];
    let mut all = BTreeMap::new();
    for (name, table) in world.tables().filter(|(name, _)| !records.contains(name)) {
        let alive = table.iter().filter(|(_, thing)| !has_ended(name, thing));
        let alive: Table = alive.map(|(id, thing)| (id.clone(), thing.clone())).collect();
        if !alive.is_empty() {
            all.insert(name.to_owned(), alive);
        }
    }
    // What stays for good, as in every account: roles that AWS makes for its services.
    if let Some(roles) = all.get_mut("iam/roles") {
        roles.retain(|_, role| !role["path"].as_str().unwrap_or_default().starts_with("/aws-service-role/"));
    }
    all
}

fn has_ended(table: &str, thing: &Value) -> bool {
    match table {
        "ec2/instances" => thing["state"]["name"] == "terminated",
        "ec2/nat_gateways" => thing["state"] == "deleted",
        "ec2/vpc_endpoints" => thing["state"] == "deleted",
        "kms/keys" => thing["key_state"] == "PendingDeletion",
        _ => false,
    }
}

// What can not work.

/// What an error says of each cause. Its hint is left out: it may speak of what to do instead.
const CAUSES: [(&str, &[&str]); 5] = [
    ("role", &["is not mapped", "has no access entry"]),
    ("route", &["no route"]),
    ("addresses", &["free addresses", "without room", "no free address", "failed to assign an IP address"]),
    (
        "instance",
        &[
            "impaired",
            "unhealthy in its Auto Scaling group",
            "status check",
            "InsufficientInstanceCapacity",
            "insufficient capacity",
            "could not be launched",
            "taken out of service",
        ],
    ),
    ("image", &["AMI"]),
];

fn causes_named(seen: &Seen) -> Vec<&'static str> {
    let error = seen.error();
    let said = format!("{error}\n{}", error.facts().notes.join("\n"));
    let named = CAUSES.iter().filter(|(_, signs)| signs.iter().any(|sign| said.contains(sign)));
    named.map(|(cause, _)| *cause).collect()
}

/// When the network stands, and the control plane is on its way.
const BEFORE_NODES: u64 = 300;
/// When the control plane stands, and the nodes are on their way.
const WITH_NODES: u64 = 660;
/// When the nodes are there, and the pods of add-ons are on their way.
const AFTER_NODES: u64 = 720;

/// So many seconds after the start somebody breaks something.
fn troubled(seconds: u64, table: &str, to: &str) -> Twin {
    let twin = new_world();
    twin.change(|world| world.begin_after(Duration::from_secs(seconds), table, "*", to));
    twin
}

/// An AMI without anything of Kubernetes in it.
fn plain_image() -> String {
    let world = new_world().world();
    let mut images = world.table("ec2/images").iter().filter(|(_, image)| {
        image["name"].as_str().unwrap().starts_with("al2023-ami") && image["architecture"] == "x86_64"
    });
    format!("ami_id={}", images.next().unwrap().0)
}

#[test]
fn a_broken_world_fails_with_its_own_cause_and_none_of_the_others() {
    let none = new_world;
    let plain_image = plain_image();
    let own: [(&str, Twin, &[&str]); 8] = [
        ("route", troubled(BEFORE_NODES, "trouble/routes", "cut"), &[]),
        ("addresses", troubled(BEFORE_NODES, "trouble/subnets", "full"), &[]),
        ("addresses", troubled(WITH_NODES, "trouble/subnets", "full"), &[]),
        ("addresses", troubled(AFTER_NODES, "trouble/subnets", "full"), &["nodes=3"]),
        ("instance", troubled(BEFORE_NODES, "trouble/instances", "failing"), &[]),
        ("instance", troubled(BEFORE_NODES, "trouble/capacity", "short"), &[]),
        ("image", none(), &[&plain_image]),
        ("role", none(), &["auth=aws-auth"]),
    ];
    for workers in ["self-managed", "managed"] {
        for (cause, twin, sets) in &own {
            // EKS maps the role of its own groups itself.
            if (*cause, workers) == ("role", "managed") {
                continue;
            }
            let twin = Twin::new(twin.world());
            let project = tempfile::tempdir().unwrap();
            let workers = format!("workers={workers}");
            let mut all = vec![workers.as_str()];
            all.extend_from_slice(sets);
            let mut stage = Stage::rehearse(&twin).set(&all);
            if *cause == "role" {
                map_no_role(project.path());
                stage = stage.project(project.path());
            }
            let seen = stage.run_file("runbooks/prod.rhai");
            assert!(seen.result.is_err(), "{cause} {workers}: {}", seen.value());
            assert_eq!(causes_named(&seen), [*cause], "{workers}: {}", seen.rendered());
        }
    }
}

/// A team's own `stdlib/auth.rhai`, in which somebody has broken `ensure_node_role`.
fn map_no_role(project: &Path) {
    let text = std::fs::read_to_string(root().join("stdlib/auth.rhai")).unwrap();
    let head = "fn ensure_node_role(cluster_name, role_arn, way) {";
    assert!(text.contains(head), "stdlib/auth.rhai has no `ensure_node_role` to break");
    std::fs::create_dir_all(project.join("stdlib")).unwrap();
    let broken = text.replace(head, &format!("{head} return #{{ changed: false }};"));
    std::fs::write(project.join("stdlib/auth.rhai"), broken).unwrap();
}

#[test]
fn subnets_without_room_are_refused_with_the_numbers_before_anything_is_made() {
    let twin = new_world();
    let made = Stage::rehearse(&twin).run(
        r#"
        let vpc = ec2::create_vpc(#{ cidr_block: "10.0.0.0/24" }).vpc.vpc_id;
        let zones = ["us-west-2a", "us-west-2b"];
        let ids = [];
        for index in 0..2 {
            ids.push(ec2::create_subnet(#{
                vpc_id: vpc, cidr_block: `10.0.0.${index * 16}/28`, availability_zone: zones[index],
            }).subnet.subnet_id);
        }
        ids"#,
    );
    let subnets = format!("subnet_ids={}", made.value());
    let seen = prod(&twin, &[&subnets]);
    let text = seen.rendered();
    assert_eq!(seen.error().kind().name(), "invalid", "{text}");
    assert!(text.contains("us-west-2a") && text.contains("11"), "{text}");
    let made = changes(&seen);
    let nodes = ["eks::create_cluster", "eks::create_nodegroup", "autoscaling::create_auto_scaling_group"];
    assert!(made.iter().all(|one| !nodes.contains(&one.as_str())), "{made:?}");
}

// The same each time.

fn footprint(seed: u64, threads: usize) -> String {
    let twin = Twin::new(World::new(seed).unwrap());
    let seen = Stage::rehearse(&twin).threads(threads).run_file("runbooks/prod.rhai");
    format!("{}\n{:#?}\n{}", seen.value(), seen.events, twin.world().to_yaml().unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let first = footprint(7, 1);
    for round in 0..number("EKSKIT_REHEARSALS", 9) {
        let other = footprint(7, [1, 2, 8][(round % 3) as usize]);
        if first != other {
            let line = first.lines().zip(other.lines()).find(|(one, other)| one != other);
            panic!("round {round} differs: {line:?}");
        }
    }
    assert_ne!(first, footprint(8, 1));
}

// Faults.

/// How many seeds: `EKSKIT_FAULT_SEEDS=2000` for all of them.
fn seeds() -> u64 {
    number("EKSKIT_FAULT_SEEDS", 12)
}

/// The whole world but for ids, times and addresses: each table, and each kind of objects, as sorted texts. Two worlds
/// that look alike hold the same, nothing twice and nothing set otherwise.
fn picture(world: &World) -> BTreeMap<String, Vec<String>> {
    // The pod network takes what the pods of the moment need; whose its interfaces are is asked of each. Which instance
    // runs in which zone depends on when it was launched.
    const VARYING: [&str; 3] = ["ec2/instances", "ec2/network_interfaces", "ec2/volumes"];
    // What controllers and nodes make and drop as pods come and go.
    const OF_CONTROLLERS: [&str; 9] = [
        "controllerrevisions.apps",
        "csinodes.storage.k8s.io",
        "endpoints",
        "endpointslices.discovery.k8s.io",
        "events",
        "leases.coordination.k8s.io",
        "nodes",
        "pods",
        "replicasets.apps",
    ];
    let mut all = BTreeMap::new();
    for (name, table) in things(world).into_iter().filter(|(name, _)| !name.starts_with("trouble/")) {
        let shown = |thing: &Value| match &*name {
            varying if VARYING.contains(&varying) => String::new(),
            "autoscaling/groups" => {
                let mut group = thing.clone();
                group["instances"] = json!(group["instances"].as_array().map(Vec::len));
                plain(&group)
            }
            // Which addresses of a subnet are taken depends on which pods and nodes there were.
            "ec2/subnets" => {
                let mut subnet = thing.clone();
                subnet.as_object_mut().unwrap().remove("_used");
                plain(&subnet)
            }
            _ => plain(thing),
        };
        let mut rows: Vec<String> = table.values().map(shown).collect();
        if name == "ec2/network_interfaces" {
            rows.clear();
        }
        rows.sort();
        all.insert(name, rows);
    }
    for cluster in world.clusters() {
        let store = world.store(&cluster).unwrap();
        for kind in store.kinds().filter(|kind| !OF_CONTROLLERS.contains(kind)) {
            let desired = |object: &Value| {
                let mut object = object.clone();
                let object = object.as_object_mut().unwrap();
                object.remove("status");
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
                plain(&json!(object))
            };
            all.insert(format!("kube/{cluster}/{kind}"), store.list(kind).values().map(desired).collect());
        }
        for kind in ["nodes", "pods"] {
            all.insert(format!("kube/{cluster}/{kind}"), vec![String::new(); store.list(kind).len()]);
        }
    }
    all
}

/// A thing as text, with what differs from run to run left out.
fn plain(thing: &Value) -> String {
    static VARYING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,}|\b[0-9A-Z]{20,}\b|\b\d{13}\b|(\d{1,3}\.){3}\d{1,3}\b",
        )
        .unwrap()
    });
    VARYING.replace_all(&thing.to_string(), "…").into_owned()
}

/// How two worlds that should look alike do not.
fn unlike(one: &BTreeMap<String, Vec<String>>, other: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let none = Vec::new();
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let of = |side: &BTreeMap<String, Vec<String>>, name: &String| side.get(name).unwrap_or(&none).clone();
    let differing = names.into_iter().filter(|name| of(one, name) != of(other, name));
    differing
        .map(|name| {
            let (mut missing, mut more) = (of(one, name), of(other, name));
            let common: Vec<String> = missing.iter().filter(|row| more.contains(row)).cloned().collect();
            for row in common {
                if let (Some(here), Some(there)) =
                    (missing.iter().position(|one| *one == row), more.iter().position(|one| *one == row))
                {
                    missing.remove(here);
                    more.remove(there);
                }
            }
            format!("{name}: lacks {missing:#?}, has more {more:#?}")
        })
        .collect()
}

/// Network interfaces that belong to no instance, gateway, endpoint or cluster that is alive.
fn orphans(world: &World) -> Vec<String> {
    let all = things(world);
    let empty = Table::new();
    let table = |name: &str| all.get(name).unwrap_or(&empty);
    let owners: Vec<&String> = ["ec2/instances", "ec2/nat_gateways", "ec2/vpc_endpoints", "eks/clusters"]
        .into_iter()
        .flat_map(|name| table(name).keys())
        .collect();
    let belongs = |interface: &Value| {
        let instance = interface["attachment"]["instance_id"].as_str();
        let words = interface["description"].as_str().unwrap_or_default();
        instance.is_some_and(|id| table("ec2/instances").contains_key(id))
            || instance.is_none() && words.split(' ').any(|word| owners.iter().any(|owner| *owner == word))
    };
    let lost = table("ec2/network_interfaces").iter().filter(|(_, interface)| !belongs(interface));
    lost.map(|(id, interface)| format!("{id} {}", interface["description"])).collect()
}

/// A way to bring a cluster up, and what it is like without faults.
struct Way {
    sets: Vec<String>,
    picture: BTreeMap<String, Vec<String>>,
    /// Each mutating call with each kind of fault that can meet it.
    pairs: Vec<(String, Fault)>,
}

impl Way {
    fn new(sets: Vec<String>) -> Way {
        let twin = new_world();
        let seen = prod(&twin, &sets.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(seen.result.is_ok(), "{sets:?}: {}", seen.rendered());
        assert_eq!(orphans(&twin.world()), Vec::<String>::new(), "{sets:?}");
        let is_spot = sets.iter().any(|set| set == "spot=true");
        let calls: BTreeSet<String> = changes(&seen).into_iter().collect();
        let pairs = calls.into_iter().flat_map(|call| {
            let fits = |fault: &Fault| {
                fault.meets(&call, aws_dynamic::Effect::Mutate) && (*fault != Fault::Interruption || is_spot)
            };
            let kinds: Vec<Fault> = Fault::ALL.into_iter().filter(fits).collect();
            kinds.into_iter().map(move |fault| (call.clone(), fault)).collect::<Vec<_>>()
        });
        Way { pairs: pairs.collect(), picture: picture(&twin.world()), sets }
    }
}

/// All combinations, and both kinds of workers on spot capacity.
fn ways() -> Vec<Way> {
    let spot = ["managed", "self-managed"].map(|workers| vec![format!("workers={workers}"), "spot=true".to_owned()]);
    combinations().into_iter().map(Vec::from).chain(spot).map(Way::new).collect()
}

/// What the seeds of one thread met.
#[derive(Default)]
struct Met {
    delivered: BTreeMap<(String, Fault), u64>,
    failed: BTreeMap<String, u64>,
}

/// A bring-up with the faults of a seed: every second seed lets each call draw, the others play one pair after the other
/// of a call and a kind. Whoever ends well left nothing behind; whoever does not says what happened; and a run without
/// faults then has nothing left to do.
fn meet(seed: u64, way: &Way, faults: Faults, met: &mut Met) {
    let place = format!("seed {seed}, {:?}", way.sets);
    let sets: Vec<&str> = way.sets.iter().map(String::as_str).collect();
    let mut world = World::new(1).unwrap();
    world.faults = faults;
    let twin = Twin::new(world);
    let seen = prod(&twin, &sets);
    // What was planned comes true: a spot instance goes, a shortage ends.
    let later = twin.world().now + SignedDuration::from_mins(15);
    match &seen.result {
        Ok(_) => {
            assert_eq!(unlike(&way.picture, &picture(&twin.world())), Vec::<String>::new(), "{place}");
            assert_eq!(orphans(&twin.world()), Vec::<String>::new(), "{place}");
        }
        Err(error) => {
            let text = seen.rendered();
            assert_ne!(error.kind().name(), "bug", "{place}: {text}");
            let delivered = twin.world().faults.delivered;
            // What went wrong with an object is told in words: `could not patch DaemonSet …`.
            let words = ["could not ", "can not reach cluster"];
            let is_told = |call: &String| call.starts_with("kube::") && words.iter().any(|word| text.contains(word));
            let is_named = |call: &String| text.contains(call.as_str()) || is_told(call);
            assert!(
                delivered.keys().any(|(call, _)| is_named(call)) || !causes_named(&seen).is_empty(),
                "{place}: {delivered:?} ended in an error that names nothing of it: {text}"
            );
            *met.failed.entry(error.kind().name().to_owned()).or_default() += 1;
        }
    }
    twin.advance(later);
    for (what, times) in twin.world().faults.delivered {
        *met.delivered.entry(what).or_default() += times;
    }
    twin.change(|world| world.faults = Faults::default());
    let again = prod(&twin, &sets);
    assert!(again.result.is_ok(), "{place}, after {:?}: {}", seen.result.err(), again.rendered());
    assert_eq!(unlike(&way.picture, &picture(&twin.world())), Vec::<String>::new(), "{place}");
    assert_eq!(orphans(&twin.world()), Vec::<String>::new(), "{place}");
    let third = prod(&twin, &sets);
    assert!(third.result.is_ok(), "{place}: {}", third.rendered());
    assert_eq!(changes(&third), Vec::<String>::new(), "{place}");
}

/// Each call and kind of fault that meets in some way, and the first way where they do.
fn pairs(ways: &[Way]) -> Vec<(&Way, (String, Fault))> {
    let mut all: BTreeMap<&(String, Fault), &Way> = BTreeMap::new();
    for way in ways {
        for pair in &way.pairs {
            all.entry(pair).or_insert(way);
        }
    }
    all.into_iter().map(|(pair, way)| (way, pair.clone())).collect()
}

/// The faults of a seed, in the way that it takes.
fn faults_of<'w>(seed: u64, ways: &'w [Way], pairs: &[(&'w Way, (String, Fault))]) -> (&'w Way, Faults) {
    let number = usize::try_from(seed / 2).unwrap();
    if seed.is_multiple_of(2) {
        return (&ways[number % ways.len()], Faults::by_seed(seed, 8));
    }
    let (way, (operation, fault)) = pairs[number % pairs.len()].clone();
    (way, Faults::by_rules(vec![Rule { operation, fault, times: 1, after: 0 }]))
}

#[test]
fn faults_end_in_convergence_or_an_error_and_a_second_run_converges() {
    let ways = ways();
    let pairs = pairs(&ways);
    let next = AtomicU64::new(0);
    let work = || {
        let mut met = Met::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds() {
                return met;
            }
            let (way, faults) = faults_of(seed, &ways, &pairs);
            meet(seed, way, faults, &mut met);
        }
    };
    let mut all = Met::default();
    std::thread::scope(|scope| {
        for thread in [scope.spawn(work), scope.spawn(work)] {
            let met = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            met.delivered.into_iter().for_each(|(what, times)| *all.delivered.entry(what).or_default() += times);
            met.failed.into_iter().for_each(|(kind, times)| *all.failed.entry(kind).or_default() += times);
        }
    });
    println!("failed: {:?} of {}", all.failed, seeds());
    for ((operation, fault), times) in &all.delivered {
        println!("{operation:50} {fault:?} {times}");
    }
    assert!(!all.delivered.is_empty());
    let most = pairs.len() * 2;
    println!(
        "{} of calls and kinds met; {} apply to mutating calls, {most} seeds play each",
        all.delivered.len(),
        pairs.len()
    );
    if seeds() >= most as u64 {
        let missed = pairs.iter().map(|(_, pair)| pair).filter(|pair| !all.delivered.contains_key(*pair));
        assert_eq!(missed.collect::<Vec<_>>(), Vec::<&(String, Fault)>::new());
    }
}

#[test]
fn a_spot_instance_that_is_taken_back_is_replaced() {
    for workers in ["workers=managed", "workers=self-managed"] {
        let mut world = World::new(1).unwrap();
        let rules = "rules: [{ operation: '*::create_*', fault: interruption }]";
        world.faults = Faults::parse(rules).unwrap();
        let twin = Twin::new(world);
        prod(&twin, &[workers, "spot=true"]).value();
        let instances = |twin: &Twin| -> BTreeSet<String> {
            let all = things(&twin.world());
            all["ec2/instances"].keys().cloned().collect()
        };
        let before = instances(&twin);
        twin.advance(twin.world().now + SignedDuration::from_mins(15));
        let after = instances(&twin);
        assert_eq!((before.len(), after.len(), before.intersection(&after).count()), (3, 3, 2), "{workers}");
        let again = prod(&twin, &[workers, "spot=true"]);
        assert_eq!((&again.value()["proof"]["nodes_ready"], changes(&again).len()), (&json!(3), 0), "{workers}");
    }
}

#[test]
fn a_security_group_that_is_not_seen_yet_gets_its_rules() {
    let mut world = World::new(1).unwrap();
    world.faults = Faults::parse("rules: [{ operation: 'ec2::create_security_group', fault: invisible }]").unwrap();
    let twin = Twin::new(world);
    prod(&twin, &["workers=self-managed"]).value();
    assert!(twin.world().faults.delivered.keys().any(|(call, _)| call == "ec2::create_security_group"));
}

#[test]
fn a_rehearsal_takes_no_longer_than_its_critical_path() {
    let twin = new_world();
    let begun = twin.world().now;
    let seen = prod(&twin, &[]);
    seen.value();
    let path = twin.critical_path(begun);
    let length: Duration = path.iter().map(|(_, took)| *took).sum();
    let took = Duration::from_secs(seen.seconds as u64);
    println!("{took:?} of virtual time, critical path {length:?}: {path:#?}");
    assert!(took.as_secs_f64() <= length.as_secs_f64() * 1.05, "{took:?} {length:?} {path:#?}");
}

// The twin itself: each of its behaviours matters to a story that a runbook tells.

/// What goes wrong besides, and inputs.
type Story<'a> = (Option<(u64, &'a str, &'a str)>, &'a [&'a str]);

/// What a story shows while a behaviour is switched off: nodes that are Ready, or the causes that its error names.
fn story(behaviour: &str, trouble: Option<(u64, &str, &str)>, sets: &[&str]) -> String {
    let twin = trouble.map_or_else(new_world, |(seconds, table, to)| troubled(seconds, table, to));
    twin.change(|world| world.switch_off(behaviour));
    told(&prod(&twin, sets))
}

fn told(seen: &Seen) -> String {
    match &seen.result {
        Ok(value) => format!("{} nodes", value["proof"]["nodes_ready"]),
        Err(_) => format!("fails: {}", causes_named(seen).join(", ")),
    }
}

#[test]
fn a_behaviour_that_is_switched_off_is_missed() {
    let own = ["workers=self-managed", "auth=aws-auth", "addons=self"];
    let managed_addons = ["workers=self-managed"];
    let plain_image = plain_image();
    let image = ["workers=self-managed", plain_image.as_str()];
    let cut = Some((BEFORE_NODES, "trouble/routes", "cut"));
    let full = |seconds| Some((seconds, "trouble/subnets", "full"));
    // Each with what it shows, and what it shows without the behaviour.
    let stories: [(&str, Story<'_>, &str, &str); 8] = [
        ("daemon sets run on every node", (None, &own), "3 nodes", "fails: "),
        ("pods start", (None, &own), "3 nodes", "fails: image"),
        ("pods are scheduled", (None, &own), "3 nodes", "fails: image"),
        ("route gates join", (cut, &own), "fails: route", "3 nodes"),
        ("image gates join", (None, &image), "fails: image", "3 nodes"),
        ("addresses gate join", (full(WITH_NODES), &own), "fails: addresses", "fails: "),
        ("pods wait for addresses", (full(AFTER_NODES), &managed_addons), "fails: addresses", "3 nodes"),
        ("autoscaling", (None, &own), "3 nodes", "fails: image"),
    ];
    let told = stories.map(|(behaviour, (trouble, sets), with, without)| {
        let shown = (story("", trouble, sets), story(behaviour, trouble, sets));
        println!("{behaviour:32} {:24} switched off: {}", shown.0, shown.1);
        (behaviour, shown == (with.to_owned(), without.to_owned()))
    });
    let wrong: Vec<&str> = told.iter().filter(|(_, is_so)| !is_so).map(|(behaviour, _)| *behaviour).collect();
    assert!(wrong.is_empty(), "told otherwise: {wrong:?}");
}

#[test]
fn a_role_that_nobody_mapped_keeps_nodes_out_only_while_roles_are_looked_at() {
    let project = tempfile::tempdir().unwrap();
    map_no_role(project.path());
    let bring_up = |off: &str| {
        let twin = new_world();
        twin.change(|world| world.switch_off(off));
        let sets = ["workers=self-managed", "auth=aws-auth"];
        told(&Stage::rehearse(&twin).set(&sets).project(project.path()).run_file("runbooks/prod.rhai"))
    };
    assert_eq!((bring_up(""), bring_up("role gates join")), ("fails: role".to_owned(), "3 nodes".to_owned()));
}

/// What is left behind, or shown, when one behaviour of the twin is missing.
#[test]
fn a_network_that_forgets_its_dependencies_is_missed() {
    let script = r#"
        let vpc = ec2::create_vpc(#{ cidr_block: "10.0.0.0/16" }).vpc.vpc_id;
        ec2::create_subnet(#{ vpc_id: vpc, cidr_block: "10.0.0.0/24", availability_zone: "us-west-2a" });
        let answer = "deleted";
        try { ec2::delete_vpc(vpc); } catch (e) { answer = e.code; }
        answer"#;
    let told = |behaviour: &str| {
        let twin = new_world();
        twin.change(|world| world.switch_off(behaviour));
        Stage::rehearse(&twin).run(script).value().clone()
    };
    assert_eq!(told(""), "DependencyViolation");
    assert_eq!(told("vpc in use"), "deleted");
}

#[test]
fn aws_node_that_takes_no_addresses_is_missed() {
    let held = |behaviour: &str| {
        let twin = new_world();
        twin.change(|world| world.switch_off(behaviour));
        let seen = prod(&twin, &["workers=self-managed", "addons=self", "timeout=5m"]);
        let interfaces = twin.world().table("ec2/network_interfaces").clone();
        let addresses = interfaces.values().map(|one| one["private_ip_addresses"].as_array().map_or(0, Vec::len));
        (seen.result.is_ok(), addresses.sum::<usize>())
    };
    let (with, without) = (held(""), held("aws-node takes addresses"));
    assert!(with.1 > without.1, "{with:?} {without:?}");
}

#[test]
fn owners_that_are_gone_leave_pods_when_nobody_collects_them() {
    let pods = |behaviour: &str| {
        let twin = new_world();
        prod(&twin, &["addons=self"]).value();
        twin.change(|world| world.switch_off(behaviour));
        let script = r#"
            let k = kube::cluster("prod");
            k.delete("deployments", "coredns", #{ namespace: "kube-system" });
            clock::sleep("2m");
            k.list("pods", #{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" } }).len()"#;
        Stage::rehearse(&twin).run(script).value().clone()
    };
    assert_eq!(pods(""), 0);
    assert_ne!(pods("garbage collection"), 0);
}

/// Prints how fast the twin is: `cargo test --release --workspace --test it -- --ignored --nocapture speed`.
#[test]
#[ignore = "it measures, in a release build"]
fn speed_of_the_twin() {
    let twin = new_world();
    prod(&twin, &[]).value();
    let calls = 20_000;
    let time = |script: &str| {
        let begun = std::time::Instant::now();
        Stage::rehearse(&twin).run(script).value();
        begun.elapsed()
    };
    let empty = time(&format!("for i in 0..{calls} {{ }} 1"));
    for call in ["eks::describe_cluster(\"prod\")", "eks::list_clusters()", "ec2::describe_vpcs()"] {
        let took = time(&format!("for i in 0..{calls} {{ {call}; }} 1")) - empty;
        println!("{call}: {:.1} µs a call", took.as_secs_f64() * 1e6 / f64::from(calls));
    }
    let worlds = 1000;
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..worlds / 2).for_each(|_| drop(prod(&new_world(), &[]).value().clone())));
        }
    });
    println!("{worlds} worlds with a cluster each, on 2 threads: {:.1} s", begun.elapsed().as_secs_f64());
}

#[test]
fn what_can_be_seen_to_be_wrong_is_refused_before_anything_is_made() {
    let nobody = "arn:aws:iam::123456789012:role/nobody";
    for (set, says) in [
        ("name=bad/name", "can not be the name"),
        ("name=", "can not be the name"),
        ("api_from=[\"203.0.113.7\"]", "203.0.113.7"),
        ("nodes_min=9", "minimum 9"),
        ("instance_type=m99.huge", "m99.huge"),
        ("version=1.2", "does not offer Kubernetes 1.2"),
        ("log_days=91", "91 days"),
        ("zones=1", "two zones"),
        ("zones=6", "zones"),
        ("cidr=10.0.0.0/8", "10.0.0.0/8"),
        (&format!("cluster_role_arn={nobody}"), "nobody does not exist"),
        (&format!("node_role_arn={nobody}"), "nobody does not exist"),
        ("cluster_role_arn=platform", "not the ARN of a role"),
        ("secrets_key_arn=alias/x", "not the ARN of a KMS key"),
        ("admins=[\"ana\"]", "not the ARN of an IAM role"),
        ("admins=[\"arn:aws:sts::123456789012:assumed-role/Admin/ana\"]", "is not the ARN of a role"),
        ("ami_id=ami-0123", "AMI ami-0123 does not exist"),
        ("warm_ip_target=-1", "warm_ip_target"),
    ] {
        let seen = prod(&new_world(), &[set]);
        let text = seen.rendered();
        assert_eq!(seen.error().kind().name(), "invalid", "{set}: {text}");
        assert!(text.contains(says), "{set}: {text}");
        assert_eq!(changes(&seen), Vec::<String>::new(), "{set}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let seen = prod(&new_world(), &["version=1.2", "log_days=91", "zones=7", "warm_ip_target=-1", "admins=[\"ana\"]"]);
    let text = seen.rendered();
    for input in ["5 inputs", "version:", "log_days:", "network:", "pod_network:", "admins:"] {
        assert!(text.contains(input), "{input}: {text}");
    }
    assert_eq!(changes(&seen), Vec::<String>::new());
    assert_eq!(seen.seconds, 0);
}

#[test]
fn a_role_that_eks_can_not_take_is_named_after_seconds_not_minutes() {
    let twin = new_world();
    let script = r#"
        import "cluster" as cluster;
        import "vpc" as vpc;
        let net = vpc::ensure(#{ name: "prod", zones: 2, nat: "none" });
        let begun = clock::now();
        let told = ();
        try {
            cluster::ensure(#{ name: "prod", role_arn: "arn:aws:iam::123456789012:role/nobody", subnet_ids: net.private_subnet_ids });
        } catch (e) { told = e; }
        #{ kind: told.kind, message: told.message, seconds: clock::seconds_between(begun, clock::now()) }"#;
    let seen = Stage::rehearse(&twin).project(root()).run(script);
    let told = seen.value();
    assert_eq!(told["kind"], "not_found", "{told}");
    assert_eq!(told["message"], "role arn:aws:iam::123456789012:role/nobody does not exist");
    assert!(told["seconds"].as_f64().unwrap() < 40.0, "{told}");
}

#[test]
fn an_addon_that_does_not_come_says_which_pods_wait_and_for_what() {
    let twin = new_world();
    prod(&twin, &[]).value();
    let script = r#"
        import "addon" as addon;
        let k = kube::cluster("prod");
        for node in k.list("nodes") { k.patch("nodes", node.metadata.name, #{ spec: #{ unschedulable: true } }); }
        addon::ensure(#{ cluster: "prod", name: "aws-ebs-csi-driver", timeout: "3m" })"#;
    let seen = Stage::rehearse(&twin).project(root()).run(script);
    let text = seen.rendered();
    assert_eq!(seen.error().kind().name(), "timeout", "{text}");
    assert!(text.contains("add-on `aws-ebs-csi-driver` of cluster `prod` is CREATING after 3m"), "{text}");
    assert!(text.contains("pods that do not run: `ebs-csi-controller"), "{text}");
    assert!(text.contains("is Pending:"), "{text}");
}

#[test]
fn the_teardown_of_a_misspelt_name_says_that_nothing_was_found() {
    let twin = new_world();
    prod(&twin, &[]).value();
    let said = |name: &str| {
        let seen = Stage::rehearse(&twin).set(&[name]).run_file("runbooks/teardown.rhai");
        assert_eq!(changes(&seen), Vec::<String>::new(), "{name}");
        seen.value();
        let warnings = seen.events.iter().filter_map(|event| match event {
            Event::Message { text, .. } if text.contains("nothing was found") => Some(text.clone()),
            _ => None,
        });
        warnings.collect::<String>()
    };
    let told = said("name=prdo");
    assert!(told.contains("under the name `prdo`") && told.contains("did you mean `prod`?"), "{told}");
    let told = said("name=something-else");
    assert!(told.contains("the clusters there are `prod`") && !told.contains("mean"), "{told}");
}

/// Every question that needs no input is answered in a world with a whole cluster, and none of its answers is one that
/// AWS could not give.
#[test]
fn every_plain_question_is_answered_as_the_schema_says() {
    let twin = new_world();
    prod(&twin, &[]).value();
    let simulated: BTreeSet<&str> = ekskit::twin::aws::simulated().collect();
    let mut asked = 0;
    for operation in aws_dynamic::services().iter().flat_map(|service| service.operations) {
        let name = operation.to_string();
        let needs_input = operation.input.fields.iter().any(|field| field.required);
        if operation.effect != aws_dynamic::Effect::Read || needs_input || !simulated.contains(name.as_str()) {
            continue;
        }
        let seen = Stage::rehearse(&twin).run(&format!("{name}(#{{}})"));
        if let Err(error) = &seen.result {
            assert_ne!(error.kind().name(), "bug", "{name}: {}", seen.rendered());
        }
        asked += 1;
    }
    assert!(asked > 40, "{asked}");
}
