//! The prompt, driven at a real pseudo-terminal, and what it knows without one.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ekskit::twin::Twin;
use ekskit::twin::world::World;
use serde_json::Value;

use crate::stage::Stage;
use crate::terminal::{Terminal, picture};
use crate::timing::Times;
use crate::tree::root;

const WIDE: (u16, u16) = (110, 36);
const TAB: &str = "\t";
const CTRL_C: &str = "\x03";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn rehearsal(folder: &Path) -> Terminal {
    let terminal = Terminal::start(folder, &["repl", "--rehearse"], WIDE, &[]);
    terminal.see("ask> ");
    terminal
}

#[test]
fn fields_of_an_input_and_their_values_are_completed() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.type_in("eks::create_nodegroup(#{ ami_t").press(TAB).see("#{ ami_type: ");
    terminal.press(TAB).see("AL2023_x86_64_STANDARD").see("BOTTLEROCKET_ARM_64");
    terminal.drop_line();
    terminal.type_in("eks::create_nodegroup(#{ scaling_config: #{ min").press(TAB).see("min_size: ");
    terminal.drop_line();
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn what_a_line_defines_the_next_ones_know() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.enter("fn twice(x) {").see("… ");
    terminal.enter("x * 2").enter("}").prompt();
    terminal.enter("let a = twice(21);").prompt();
    terminal.enter("a + 1").see("\n43");
    terminal.enter("it + 1").see("\n44");
    terminal
        .enter("let t = text::matches(\"abc\", \"^a\"); [t, cidr::contains(\"10.0.0.0/8\", \"10.1.2.3\")]")
        .prompt();
    terminal.enter("import \"words\" as w;").prompt();
    terminal.enter("w::join([\"x\", \"y\"], \"+\")").see("x+y");
    terminal.enter("capacity::require(1, 2, 3)").see("import \"capacity\" as capacity;");
    terminal.enter(":vars").see("fn twice(x)").see("import \"words\" as w;");
    assert_eq!(terminal.leave(), 0);
}

/// Ctrl-C brings the prompt back within 0.2 s.
fn is_back_at_once(terminal: &Terminal, endless: &str) -> String {
    let times = Times::of_five(|_| {
        terminal.enter(endless).see("Ctrl-C stops it");
        let pressed = Instant::now();
        terminal.press(CTRL_C).see("cancelled").prompt();
        let took = pressed.elapsed();
        terminal.clear();
        took
    });
    times.within(endless, 200, 1_000)
}

#[test]
fn ctrl_c_stops_what_runs_and_not_the_prompt() {
    let home = folder();
    let terminal = rehearsal(home.path());
    for endless in ["loop { let a = 1; }", "wait_until(#{ timeout: \"90000h\", every: \"1s\" }, || false)"] {
        println!("back after Ctrl-C: {}", is_back_at_once(&terminal, endless));
    }
    terminal.enter("40 + 2").see("\n42");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn a_real_wait_is_left_at_once() {
    let home = folder();
    let terminal = Terminal::start(home.path(), &[], WIDE, &[("AWS_REGION", "us-west-2")]);
    terminal.see("ask> ");
    println!("back after Ctrl-C: {}", is_back_at_once(&terminal, "clock::sleep(\"10m\")"));
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn a_change_is_asked_for_each_time() {
    let home = folder();
    let terminal = rehearsal(home.path());
    let create = |name: &str| {
        format!("iam::create_role(#{{ role_name: \"{name}\", assume_role_policy_document: \"{{}}\" }}).role.role_name")
    };
    terminal.enter(&create("one")).see("Change it?").see("account").see("123456789012").see("us-west-2");
    terminal.see("iam::create_role {").press("n").see("the operator did not agree").prompt();
    terminal.clear();
    terminal.enter(&create("two")).see("Change it?").press("y").see("\ntwo").prompt();
    terminal.clear();
    let many = format!("for name in [\"a\", \"b\"] {{ {} }}", create("x").replace("\"x\"", "name"));
    terminal.enter(&many).see("Change it?").press("a").prompt();
    assert_eq!(terminal.text().matches("Change it?").count(), 1);
    terminal.clear();
    terminal.enter(":read-only on").see("read-only> ");
    terminal.enter(&create("three")).see("this session only reads");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn names_that_exist_are_completed() {
    let home = folder();
    let world = story().write_start(home.path());
    let world = world.display().to_string();
    let terminal = Terminal::start(home.path(), &["repl", "--world", &world], WIDE, &[]);
    terminal.see("ask> ");
    terminal.type_in("eks::describe_cluster(\"").press(TAB).see("\"prod\"");
    terminal.drop_line();
    terminal.type_in(":use cluster ").press(TAB).wait("prod", |screen| screen.contains(":use cluster prod"));
    terminal.press("\r").see("us-west-2 prod ask> ");
    terminal.type_in("kube::list(\"pods\", #{ namespace: \"kube-s").press(TAB).see("kube-system");
    terminal.drop_line();
    terminal.enter("let c = eks::describe_cluster(\"prod\").cluster;").prompt();
    terminal.type_in("c.resources_vpc_config.end").press(TAB).see("endpoint_public_access");
    terminal.drop_line();
    assert_eq!(terminal.leave(), 0);
}

/// A cluster whose nodes do not join, because nobody mapped their role.
struct Story {
    start: String,
}

fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(|| {
        let twin = Twin::new(World::new(1).unwrap());
        let seen = Stage::rehearse(&twin).project(root()).run(
            r#"
            import "cluster" as cluster;
            import "role" as role;
            import "vpc" as vpc;
            import "workers" as workers;
            let net = vpc::ensure(#{ name: "prod", zones: 2 });
            let cluster_role = role::ensure_for_cluster("prod", "");
            let node_role = role::ensure_for_nodes("prod", "");
            let control_plane = cluster::ensure(#{
                name: "prod", role_arn: cluster_role.arn, subnet_ids: net.private_subnet_ids,
                auth_mode: "API_AND_CONFIG_MAP", bootstrap_addons: true,
            });
            let why = ();
            try {
                workers::ensure(#{
                    cluster: control_plane, subnet_ids: net.private_subnet_ids,
                    role: #{ name: node_role.name, arn: node_role.arn },
                    instance_type: "m6i.large", nodes: 2, nodes_min: 1, nodes_max: 4, timeout: "5m",
                });
            } catch (e) { why = e.message; }
            why
            "#,
        );
        assert!(seen.value().is_string(), "{}", seen.rendered());
        let start = twin.world().to_yaml().unwrap();
        Story { start }
    })
}

impl Story {
    fn write_start(&self, folder: &Path) -> PathBuf {
        let file = folder.join("start.yaml");
        std::fs::write(&file, &self.start).unwrap();
        file
    }
}

/// A world without clock, counters, ids that are hashes of a call, and times.
fn without_time(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap();
    let mut world: Value = serde_yaml::from_str(&text).unwrap();
    let top = world.as_object_mut().unwrap();
    for key in ["now", "counters"] {
        top.remove(key);
    }
    settle(&mut world);
    // What is planned stands in the order of its times, and each plan has a number.
    let mut plans = world["pending"].as_array().cloned().unwrap_or_default();
    plans.iter_mut().for_each(|plan| drop(plan.as_object_mut().unwrap().remove("order")));
    plans.sort_by_key(Value::to_string);
    world["pending"] = Value::Array(plans);
    world
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| {
                ![
                    "resourceVersion",
                    "uid",
                    "revision",
                    "client_request_token",
                    "generation",
                    "leaseTransitions",
                    "renewTime",
                ]
                .contains(&key.as_str())
            });
            // A call that was made once is kept under its name and its token, which is a hash of its place in the run:
            // what it answered stands for it, so that several of one name stay apart.
            let mut settled = serde_json::Map::new();
            let mut calls: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for (key, mut value) in std::mem::take(map) {
                settle(&mut value);
                match key.split_once(' ') {
                    Some((call, _)) => calls.entry(call.to_owned()).or_default().push(value),
                    None => drop(settled.insert(key, value)),
                }
            }
            for (call, mut answers) in calls {
                answers.sort_by_key(Value::to_string);
                let numbered = answers.into_iter().enumerate();
                settled.extend(numbered.map(|(index, answer)| (format!("{call} #{}", index + 1), answer)));
            }
            *map = settled;
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *text = "a time".to_owned(),
        _ => {}
    }
}

#[test]
fn worlds_that_differ_in_a_plan_or_in_a_call_are_not_the_same() {
    let home = folder();
    let settled = |calls: &str, to: &str| {
        let plan = format!("{{ at: 2026-01-01T00:00:00Z, order: 7, table: ec2/instances, id: i-1, to: {to} }}");
        let text = format!("now: 2026-01-01T00:00:00Z\ncounters: {{ a: 1 }}\npending: [{plan}]\nonce: {{ {calls} }}\n");
        std::fs::write(home.path().join("w.yaml"), text).unwrap();
        without_time(&home.path().join("w.yaml"))
    };
    let world = settled("make ab12: { n: 1 }, make cd34: { n: 2 }", "running");
    assert_eq!(world, settled("make 77aa: { n: 2 }, make 99bb: { n: 1 }", "running"));
    assert_ne!(world, settled("make ab12: { n: 1 }, make cd34: { n: 2 }", "gone"));
    assert_ne!(world, settled("make ab12: { n: 2 }, make cd34: { n: 2 }", "running"));
    assert_ne!(world, settled("make cd34: { n: 2 }", "running"));
}

#[test]
fn a_node_that_did_not_join_is_found_and_helped_and_the_session_is_a_runbook() {
    let home = folder();
    let start = story().write_start(home.path()).display().to_string();
    let terminal =
        Terminal::start(home.path(), &["repl", "--world", &start, "--world-out", "by-hand.yaml"], (110, 60), &[]);
    terminal.see("ask> ");
    terminal.enter(":use cluster prod").see("prod ask> ");
    terminal
        .enter("let instances = []; for r in ec2::describe_instances().reservations { instances += r.instances; }")
        .prompt();
    terminal.enter("instances").see("INSTANCE_ID").see("running").prompt();
    terminal.enter("let nodes = kube::list(\"nodes\");").prompt();
    terminal.enter("[instances.len(), nodes.len()]").see("- 2").see("- 0").prompt();
    terminal.enter("let role_arn = iam::get_role(#{ role_name: \"prod-node\" }).role.arn;").prompt();
    terminal.clear();
    terminal.enter("auth::why(\"prod\", role_arn)").see("allowed: false").see("by: nothing").prompt();
    terminal.clear();
    terminal.enter("role_arm").see("role_arm").prompt();
    terminal.enter("let entry = eks::create_access_entry(#{ cluster_name: \"prod\", principal_arn: role_arn, type: \"EC2_LINUX\" });");
    terminal.see("Change it?").see("eks::create_access_entry").press("y").prompt();
    terminal.clear();
    terminal.enter("let joined = wait_until(#{ timeout: \"15m\", every: \"10s\" }, || { let n = kube::list(\"nodes\"); if n.len() == instances.len() { n.map(|x| x.metadata.name) } });").prompt();
    terminal.enter("for n in joined { kube::wait_for(\"nodes\", n, #{ condition: \"Ready\" }); }").prompt();
    terminal.clear();
    terminal.enter("kube::list(\"nodes\")").see("Ready").prompt();
    terminal.clear();
    terminal.enter(":save fix.rhai").see("saved as `fix.rhai`").prompt();
    assert_eq!(terminal.leave(), 0);
    let saved = std::fs::read_to_string(home.path().join("fix.rhai")).unwrap();
    assert!(
        saved.contains("let entry = step \"create access entry\"") || saved.contains("\nstep \"create access entry\""),
        "{saved}"
    );
    assert!(!saved.contains("role_arm"), "{saved}");
    passes_check(home.path(), "fix.rhai");
    let output = Command::new(env!("CARGO_BIN_EXE_ekskit"))
        .args(["run", "fix.rhai", "--world", &start, "--world-out", "by-runbook.yaml"])
        .current_dir(home.path())
        .env("XDG_STATE_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{saved}", String::from_utf8_lossy(&output.stderr));
    let [by_hand, by_runbook] = ["by-hand.yaml", "by-runbook.yaml"].map(|file| without_time(&home.path().join(file)));
    let text = |world: &Value| serde_yaml::to_string(world).unwrap();
    let (by_hand, by_runbook) = (text(&by_hand), text(&by_runbook));
    let differences = similar::TextDiff::from_lines(&by_hand, &by_runbook);
    assert!(by_hand == by_runbook, "{}\n{saved}", differences.unified_diff().context_radius(4));
    assert!(by_hand.contains("EC2_LINUX"));
}

#[test]
fn a_saved_session_keeps_loaded_scripts_and_what_was_defined() {
    let home = folder();
    std::fs::write(home.path().join("lib.rhai"), "fn add(a, b) { a + b }\nlet base = 40;\n").unwrap();
    let terminal = Terminal::start(home.path(), &["repl", "--rehearse", "--yes"], WIDE, &[]);
    terminal.see("yes> ").enter(":load lib.rhai").prompt();
    terminal.enter("let sum = add(base, 2);").prompt();
    terminal.enter("throw \"no\"").see("error").prompt();
    terminal.enter("let made = []; for n in [\"a\", \"b\"] { made.push(iam::create_role(#{ role_name: n, assume_role_policy_document: \"{}\" }).role.role_name); }").prompt();
    terminal.enter("made.len() + sum").see("\n44");
    terminal.enter("print(`${it}`)").prompt();
    terminal.enter(":save all.rhai").see("saved").prompt();
    assert_eq!(terminal.leave(), 0);
    let saved = std::fs::read_to_string(home.path().join("all.rhai")).unwrap();
    passes_check(home.path(), "all.rhai");
    let output = Command::new(env!("CARGO_BIN_EXE_ekskit"))
        .args(["run", "all.rhai", "--rehearse"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{saved}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "44", "{saved}");
    assert!(!saved.contains("throw"), "{saved}");
}

/// `ekskit check` has no errors to tell of a script.
fn passes_check(folder: &Path, script: &str) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ekskit")).args(["check", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_history_stays_with_the_project_and_holds_no_secrets() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.enter("let first = 1;").prompt();
    terminal.enter("let password = \"hunter2\";").prompt();
    assert_eq!(terminal.leave(), 0);
    let terminal = rehearsal(home.path());
    terminal.type_in("let f").see("let first = 1;").drop_line();
    terminal.press("\x1b[A").see("ask> let first = 1;").drop_line();
    assert_eq!(terminal.leave(), 0);
    let mut kept = String::new();
    for entry in std::fs::read_dir(home.path().join("state/ekskit/history")).unwrap() {
        kept.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    assert!(kept.contains("let first = 1;") && !kept.contains("hunter2"), "{kept}");
}

#[test]
fn a_broken_history_is_no_obstacle() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.enter("1").prompt();
    terminal.leave();
    for entry in std::fs::read_dir(home.path().join("state/ekskit/history")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"\xff\xfe\x00\x01").unwrap();
    }
    let terminal = Terminal::start(home.path(), &["repl", "--rehearse"], WIDE, &[]);
    terminal.see("set aside").enter("40 + 2").see("\n42");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn a_narrow_terminal_is_enough() {
    let home = folder();
    let terminal = Terminal::start(home.path(), &["repl", "--rehearse"], (20, 12), &[]);
    terminal.see("ask> ").type_in("eks::create_nodegroup(#{ ami_t").press(TAB).press(TAB);
    terminal.drop_line();
    terminal.enter("[#{ name: \"a-rather-long-name-of-a-thing\", status: \"ACTIVE\" }]").see("NAME").prompt();
    terminal.enter(":help").prompt();
    terminal.enter("40 + 2").see("\n42");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn without_colours_there_are_none() {
    let home = folder();
    let terminal = Terminal::start(home.path(), &["repl", "--rehearse"], WIDE, &[("NO_COLOR", "1")]);
    terminal.see("ask> ").enter("[#{ name: \"a\", status: \"ACTIVE\" }]").see("ACTIVE").prompt();
    terminal.enter("nobody").see("error:").prompt();
    let screen = terminal.screen();
    let (rows, columns) = screen.size();
    for (row, column) in (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column))) {
        let cell = screen.cell(row, column).unwrap();
        assert_eq!(cell.fgcolor(), vt100::Color::Default, "row {row}, column {column}: {}", cell.contents());
    }
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn a_dumb_terminal_reads_plain_lines() {
    let home = folder();
    let terminal = Terminal::start(home.path(), &["repl", "--rehearse"], WIDE, &[("TERM", "dumb")]);
    terminal
        .see("ask> ")
        .press("fn f(x) {\r")
        .see("… ")
        .press("x + 1 }\r")
        .prompt()
        .press("f(41)\r")
        .see("\n42")
        .prompt();
    terminal
        .press("iam::create_role(#{ role_name: \"dumb-role\", assume_role_policy_document: \"{}\" }).role.role_name\r");
    terminal.see("Change it?").press("y\r").see("\ndumb-role").prompt();
    terminal.press("loop {}\r");
    std::thread::sleep(Duration::from_millis(300));
    terminal.press(CTRL_C).see("cancelled");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn a_paste_of_a_megabyte_is_taken() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal
        .press("\x1b[200~")
        .press(&format!("let big = `{}`;", "x".repeat(1_000_000)))
        .press("\x1b[201~")
        .press("\r");
    terminal.enter("big.len()").see("1000000");
    assert_eq!(terminal.leave(), 0);
}

#[test]
fn bytes_that_are_no_text_and_deep_nesting_do_no_harm() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.press_bytes(b"\xff\xfe\xc3").press("\r");
    std::thread::sleep(Duration::from_millis(200));
    terminal.press(CTRL_C).press("\r").prompt();
    terminal.enter("fn deep(n) { deep(n + 1) }").prompt();
    terminal.enter("deep(0)").see("error:").prompt();
    terminal.clear();
    terminal.enter(&format!("{}1{}", "(".repeat(400), ")".repeat(400))).see("error:").prompt();
    terminal.clear();
    terminal.enter("40 + 2").see("\n42");
    assert_eq!(terminal.leave(), 0);
}

/// A server that takes connections and says nothing, for as long as the test runs; what it heard.
fn mute_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = heard.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            counted.fetch_add(1, Ordering::Relaxed);
            kept.push(stream);
        }
    });
    (port, heard)
}

#[test]
fn a_cluster_that_does_not_answer_does_not_hold_up_typing() {
    let home = folder();
    let (port, heard) = mute_server();
    let endpoint = format!("http://127.0.0.1:{port}");
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: gone\nclusters: [{{ name: gone, cluster: {{ server: '{endpoint}' }} }}]\n\
        contexts: [{{ name: gone, context: {{ cluster: gone, user: me }} }}]\nusers: [{{ name: me, user: {{}} }}]\n"
    );
    std::fs::write(home.path().join("config"), kubeconfig).unwrap();
    let variables = [
        ("AWS_REGION", "us-west-2"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
    ];
    let terminal = Terminal::start(home.path(), &["repl", "--kubeconfig", "config"], WIDE, &variables);
    terminal.see("ask> ").enter("40 + 2").see("\n42").clear();
    // Each wants names that nobody knows yet.
    let wanting = [
        "kube::list(\"pods\", #{ namespace: \"kub",
        "eks::describe_cluster(\"",
        "kube::get(\"nodes\", \"",
        "eks::describe_nodegroup(#{ cluster_name: \"a\", nodegroup_name: \"",
        "eks::describe_addon(#{ cluster_name: \"a\", addon_name: \"",
    ];
    let times = Times::of_five(|number| {
        terminal.type_in(wanting[number]);
        let pressed = Instant::now();
        terminal.press(TAB).press(CTRL_C).prompt();
        terminal.enter(&format!("{number} + 40")).see(&format!("\n4{number}"));
        let took = pressed.elapsed();
        terminal.clear();
        took
    });
    println!("{}", times.within("Tab and a line while nobody answers", 500, 2_000));
    let begun = Instant::now();
    while heard.load(Ordering::Relaxed) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody was asked for names");
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    assert_eq!(terminal.leave(), 0);
    assert!(begun.elapsed() < Duration::from_secs(2), "left after {:?}", begun.elapsed());
}

#[test]
fn without_a_terminal_lines_are_read_from_standard_input() {
    use std::io::Write;
    let home = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ekskit"))
        .args(["repl", "--rehearse"])
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = b"fn f(x) {\n  x + 1\n}\nf(41)\n:json [#{ a: 1 }]\n\xff\xfe\niam::create_role(#{ role_name: \"r\", assume_role_policy_document: \"{}\" })\n\"last\"";
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("42") && out.contains("\"a\": 1") && out.trim().ends_with("last"), "{out}\n{err}");
    assert!(err.contains("nobody sits at a terminal"), "{err}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn commands_do_what_help_says() {
    let home = folder();
    let terminal = rehearsal(home.path());
    terminal.enter(":help").see(":save FILE").see("the last result").prompt();
    terminal.clear();
    terminal.enter(":doc eks::create_addon").see("addon_name").prompt();
    terminal.clear();
    terminal.enter(":find fargate").see("eks::create_fargate_profile").prompt();
    terminal.clear();
    terminal.enter(":hlep").see("did you mean `help`?").prompt();
    terminal.enter(":region eu-west-1").see("twin eu-west-1 ask> ");
    terminal.enter(":region").see("eu-west-1").prompt();
    terminal.enter(":time").see("virtual").prompt();
    terminal.enter(":world").see("account").prompt();
    terminal.enter(":world now.yaml").see("was written").prompt();
    terminal.enter(":save").see("`:save` needs FILE").prompt();
    assert!(home.path().join("now.yaml").is_file());
    std::fs::create_dir(home.path().join("stdlib")).unwrap();
    std::fs::write(home.path().join("stdlib/mine.rhai"), "//! Mine.\n\n/// One.\nfn number() { 1 }\n").unwrap();
    terminal.clear();
    terminal.enter("mine::number()").see("\n1").prompt();
    std::fs::write(home.path().join("stdlib/mine.rhai"), "//! Mine.\n\n/// Two.\nfn number() { 2 }\n").unwrap();
    terminal.enter(":reload").see("1 module read anew").prompt();
    terminal.clear();
    terminal.enter("mine::number()").see("\n2").prompt();
    assert_eq!(terminal.leave(), 0);
}

/// Pictures of the prompt for the docs: `EKSKIT_BLESS=1` writes them anew.
fn check_picture(name: &str, terminal: &Terminal, title: &str) {
    let file = root().join("docs/repl").join(name);
    let drawn = picture(&terminal.screen(), title);
    if std::env::var_os("EKSKIT_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == drawn, "{name} looks different; the screen:\n{}\nEKSKIT_BLESS=1 takes it", terminal.text());
}

#[test]
fn the_pictures_in_the_docs_are_what_one_sees() {
    let home = folder();
    let twin = Twin::new(World::parse(&story().start).unwrap());
    let seen = Stage::rehearse(&twin).project(root()).run(
        r#"
        let role_arn = iam::get_role(#{ role_name: "prod-node" }).role.arn;
        eks::create_access_entry(#{ cluster_name: "prod", principal_arn: role_arn, type: "EC2_LINUX" });
        let k = kube::cluster("prod");
        wait_until(#{ timeout: "15m" }, || k.list("nodes").len() == 2);
        for n in k.list("nodes") { k.wait_for("nodes", n.metadata.name, #{ condition: "Ready" }); }
        "#,
    );
    assert!(seen.result.is_ok(), "{}", seen.rendered());
    let world = home.path().join("world.yaml");
    std::fs::write(&world, twin.world().to_yaml().unwrap()).unwrap();
    let world = world.display().to_string();
    let terminal = Terminal::start(home.path(), &["repl", "--world", &world], (100, 26), &[]);
    terminal.see("ask> ").enter(":use cluster prod").see("prod ask> ").clear();
    terminal.enter("kube::list(\"nodes\")").see("Ready").prompt();
    check_picture("nodes.svg", &terminal, "A list of nodes");
    terminal.clear();
    terminal.enter("eks::describe_nodegroup(#{ cluster_name: \"prod\", nodegrop_name: \"x\" })").see("hint:").prompt();
    check_picture("error.svg", &terminal, "An error");
    terminal.clear();
    terminal.type_in("vpc::").press(TAB).see("ensure");
    std::thread::sleep(Duration::from_millis(500));
    check_picture("completion.svg", &terminal, "Completion of the functions of a module");
    terminal.drop_line();
    assert_eq!(terminal.leave(), 0);
}

/// `cargo test --release --workspace --test it -- --ignored --nocapture speed_of_the_prompt`
#[test]
#[ignore = "prints times, which mean something in release only"]
fn speed_of_the_prompt() {
    let home = folder();
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let terminal = rehearsal(home.path());
        times.push(begun.elapsed());
        terminal.leave();
    }
    times.sort();
    println!("start to prompt: median {:?} (goal 60 ms)", times[times.len() / 2]);
    let terminal = rehearsal(home.path());
    terminal.enter("40 + 2").see("\n42").clear();
    let begun = Instant::now();
    terminal.press("ec2::").press(TAB).see("accept_address_transfer");
    println!("key to menu over all operations of EC2: {:?} (goal 20 ms, the terminal included)", begun.elapsed());
}
