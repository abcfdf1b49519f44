//! Whole runbooks on the twin: what comes up, what fails and says why, what is left, and that it is the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ekskit::event::Event;
use ekskit::twin::Twin;
use ekskit::twin::faults::{Fault, Faults};
use ekskit::twin::world::{Table, World};
use serde_json::Value;

use crate::stage::{Seen, Stage};

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
        let before = things(&twin.world());
        let seen = prod(&twin, &sets);
        assert_eq!(seen.value()["proof"]["nodes_ready"], 3, "{sets:?}: {}", seen.value());
        let again = prod(&twin, &sets);
        assert_eq!(again.value()["proof"]["nodes_ready"], 3);
        assert_eq!(changes(&again), Vec::<String>::new(), "{sets:?}");
        let removed = teardown(&twin);
        assert!(removed.result.is_ok(), "{sets:?}: {}", removed.rendered());
        let after = things(&twin.world());
        let is_new =
            |table: &str, id: &str, thing: &Value| before.get(table).and_then(|old: &Table| old.get(id)) != Some(thing);
        let mut left = Vec::new();
        for (name, table) in &after {
            left.extend(
                table.iter().filter(|(id, thing)| is_new(name, id, thing)).map(|(id, _)| format!("{name} {id}")),
            );
        }
        assert!(left.is_empty(), "{sets:?} left {left:?}: {}", removed.value()["left"]);
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert!(twin.world().clusters().is_empty());
    }
}

/// What a world holds of things that count: not what AWS shows for a while after its end (teardown lists the key that
/// is pending deletion), and not records of what happened.
fn things(world: &World) -> BTreeMap<String, Table> {
    // The options of DHCP that every account has appear with its first VPC.
    let records = ["tokens", "autoscaling/activities", "eks/updates", "ec2/dhcp_options"];
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
    ("addresses", &["free addresses", "without room", "no free address"]),
    (
        "instance",
        &[
            "impaired",
            "unhealthy",
            "status check",
            "InsufficientInstanceCapacity",
            "insufficient capacity",
            "is shutting-down",
            "is terminated",
            "could not be launched",
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

/// An hour or so before the nodes come, somebody breaks something: five minutes after the start the network stands, and
/// the control plane is on its way.
fn troubled(table: &str, to: &str) -> Twin {
    let twin = new_world();
    twin.change(|world| world.begin_after(Duration::from_secs(300), table, "*", to));
    twin
}

#[test]
fn a_broken_world_fails_with_its_own_cause_and_none_of_the_others() {
    let none = new_world;
    let world = none().world();
    let images = world.table("ec2/images").iter();
    let plain = images.filter(|(_, image)| {
        image["name"].as_str().unwrap().starts_with("al2023-ami") && image["architecture"] == "x86_64"
    });
    let plain_image = format!("ami_id={}", plain.map(|(id, _)| id).next().unwrap());
    let own: [(&str, Twin, &[&str]); 6] = [
        ("route", troubled("trouble/routes", "cut"), &[]),
        ("addresses", troubled("trouble/subnets", "full"), &[]),
        ("instance", troubled("trouble/instances", "failing"), &[]),
        ("instance", troubled("trouble/capacity", "short"), &[]),
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("stdlib/auth.rhai")).unwrap();
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

/// How many things of each table, and objects of each kind, there are: what counts is that nothing is twice there.
fn census(world: &World) -> BTreeMap<String, usize> {
    // The pod network takes what the pods of the moment need; whose its interfaces are is asked of each.
    const VARYING: [&str; 1] = ["ec2/network_interfaces"];
    // What controllers make and drop as pods come and go.
    const OF_CONTROLLERS: [&str; 4] =
        ["controllerrevisions.apps", "events", "leases.coordination.k8s.io", "replicasets.apps"];
    let mut all: BTreeMap<String, usize> = things(world).into_iter().map(|(name, table)| (name, table.len())).collect();
    all.retain(|name, _| !name.starts_with("trouble/") && !VARYING.contains(&name.as_str()));
    for cluster in world.clusters() {
        let store = world.store(&cluster).unwrap();
        let kinds = store.kinds().filter(|kind| !OF_CONTROLLERS.contains(kind));
        all.extend(kinds.map(|kind| (format!("kube/{cluster}/{kind}"), store.list(kind).len())));
    }
    all
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

/// Kinds of faults that could have met a mutating call and never did.
fn missed(calls: &BTreeSet<String>, delivered: &BTreeMap<(String, Fault), u64>) -> Vec<(String, Fault)> {
    let mut missed = Vec::new();
    for call in calls {
        let kinds = Fault::ALL.into_iter().filter(|fault| fault.meets(call, aws_dynamic::Effect::Mutate));
        missed.extend(kinds.map(|fault| (call.clone(), fault)).filter(|what| !delivered.contains_key(what)));
    }
    missed
}

/// What the seeds of one thread met.
#[derive(Default)]
struct Met {
    delivered: BTreeMap<(String, Fault), u64>,
    failed: BTreeMap<String, u64>,
}

/// A bring-up with the faults of a seed, then one without.
fn meet(seed: u64, sets: &[String], wanted: &BTreeMap<String, usize>, met: &mut Met) {
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let mut world = World::new(1).unwrap();
    world.faults = Faults::by_seed(seed, 8);
    let twin = Twin::new(world);
    let seen = prod(&twin, &sets);
    if let Err(error) = &seen.result {
        assert_ne!(error.kind().name(), "bug", "seed {seed}, {sets:?}: {}", seen.rendered());
        *met.failed.entry(error.kind().name().to_owned()).or_default() += 1;
    }
    for (what, times) in twin.world().faults.delivered {
        *met.delivered.entry(what).or_default() += times;
    }
    twin.change(|world| world.faults = Faults::default());
    let again = prod(&twin, &sets);
    assert!(again.result.is_ok(), "seed {seed}, {sets:?}, after {:?}: {}", seen.result.err(), again.rendered());
    let world = twin.world();
    assert_eq!(&census(&world), wanted, "seed {seed}, {sets:?}");
    assert_eq!(orphans(&world), Vec::<String>::new(), "seed {seed}, {sets:?}");
}

#[test]
fn faults_end_in_convergence_or_an_error_and_a_second_run_converges() {
    let mut clean_calls = BTreeSet::new();
    let ways: Vec<([String; 3], BTreeMap<String, usize>)> = combinations()
        .into_iter()
        .map(|sets| {
            let twin = new_world();
            clean_calls.extend(changes(&prod(&twin, &sets.each_ref().map(String::as_str))));
            assert_eq!(orphans(&twin.world()), Vec::<String>::new(), "{sets:?}");
            (sets, census(&twin.world()))
        })
        .collect();
    let next = AtomicU64::new(0);
    let work = || {
        let mut met = Met::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds() {
                return met;
            }
            let (sets, wanted) = &ways[usize::try_from(seed).unwrap() % ways.len()];
            meet(seed, sets, wanted, &mut met);
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
    assert!(all.delivered.len() > 50, "{}", all.delivered.len());
    if seeds() >= 2000 {
        let missed = missed(&clean_calls, &all.delivered);
        assert!(missed.is_empty(), "{missed:?}");
    }
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

/// The behaviour that is switched off, what goes wrong besides, and inputs.
type Story<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [&'a str]);

/// What a story shows: nodes that are Ready, or the causes that its error names.
fn story(behaviour: &str, trouble: Option<(&str, &str)>, sets: &[&str]) -> String {
    let twin = new_world();
    twin.change(|world| {
        world.switch_off(behaviour);
        if let Some((table, to)) = trouble {
            world.begin_after(Duration::from_secs(300), table, "*", to);
        }
    });
    let seen = prod(&twin, sets);
    match &seen.result {
        Ok(value) => format!("{} nodes", value["proof"]["nodes_ready"]),
        Err(_) => format!("fails: {}", causes_named(&seen).join(", ")),
    }
}

#[test]
fn a_behaviour_that_is_switched_off_is_missed() {
    let self_managed = ["workers=self-managed"];
    let own = ["workers=self-managed", "auth=aws-auth", "addons=self"];
    let stories: [Story<'_>; 7] = [
        ("nodes join", None, &self_managed),
        ("nodes become ready", None, &self_managed),
        ("daemon sets run on every node", None, &own),
        ("pods start", None, &own),
        ("pods are scheduled", None, &own),
        ("route gates join", Some(("trouble/routes", "cut")), &self_managed),
        ("autoscaling", None, &self_managed),
    ];
    let mut table = Vec::new();
    for (behaviour, trouble, sets) in stories {
        let (with, without) = (story("", trouble, sets), story(behaviour, trouble, sets));
        table.push(format!("{behaviour:32} {with:24} switched off: {without}"));
        assert_ne!(with, without, "nobody misses `{behaviour}`");
    }
    println!("{}", table.join("\n"));
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seen = Stage::rehearse(&twin).project(root).run(script);
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seen = Stage::rehearse(&twin).project(root).run(script);
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
