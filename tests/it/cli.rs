//! The program itself: exit codes, output, Ctrl-C. It talks to a port on loopback, or to nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::scripts::every_mutation;
use crate::served::Served;
use crate::timing::Times;
use crate::tree::root;

/// The program with an environment in which no credentials and no network of this machine are found.
fn ekskit(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ekskit"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "us-west-2").stdin(Stdio::null());
    command
}

fn with_stub(folder: &std::path::Path, port: u16) -> Command {
    let mut command = ekskit(folder);
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing");
    command
}

pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_read_only_run_sends_no_byte_for_any_mutating_operation() {
    let folder = tempfile::tempdir().unwrap();
    let (script, count) = every_mutation();
    std::fs::write(folder.path().join("all.rhai"), script).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (code, stdout, stderr) = run(with_stub(folder.path(), port).args(["run", "all.rhai", "--read-only"]));
    assert_eq!((code, stdout.trim()), (0, count.to_string().as_str()), "{stderr}");
    assert!(listener.accept().is_err(), "somebody called");
}

/// A server that answers the caller's identity and leaves everything else without an answer.
fn silent_server() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || serve(stream, &seen));
        }
    });
    (port, heard)
}

fn serve(mut stream: TcpStream, seen: &std::sync::mpsc::Sender<String>) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if text.contains("GetCallerIdentity") {
            let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/ana</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            text.clear();
        } else if text.contains("\r\n\r\n") {
            let _ = seen.send(text.lines().next().unwrap_or_default().to_owned());
        }
    }
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn exit_codes_tell_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("inputs.rhai"),
        "let cfg = params(#{ name: #{ type: \"string\", help: \"cluster name\" } }); cfg.name",
    )
    .unwrap();
    for (arguments, code) in [
        (vec!["eval", "1 + 1"], 0),
        (vec!["eval", "throw \"no\""], 1),
        (vec!["eval", "eks::create_cluster(#{ nam: \"x\" })"], 1),
        (vec!["eval", "--nosuch", "1"], 2),
        (vec!["run", "nosuch.rhai"], 2),
        (vec!["run", "inputs.rhai"], 2),
        (vec!["run", "inputs.rhai", "--set", "nam=x"], 2),
        (vec!["run", "inputs.rhai", "--set", "name=x"], 0),
        (vec!["eval", "--read-only", "ec2::create_key_pair(\"a\")"], 3),
        (vec!["doc", "eks::nosuch"], 2),
    ] {
        let (found, stdout, stderr) = run(ekskit(folder.path()).args(&arguments));
        assert_eq!(found, code, "{arguments:?}\n{stdout}\n{stderr}");
    }
}

#[test]
fn a_wrong_field_in_an_expression_is_told_with_what_was_meant_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(ekskit(folder.path()).args(["eval", "eks::create_cluster(#{ nam: \"x\" })"]));
    assert_eq!(code, 1);
    let told = ["unknown field `nam`", "missing `name`, `resources_vpc_config`, `role_arn`", "did you mean `name`?"];
    for part in told {
        assert!(stderr.contains(part), "{part}\n{stderr}");
    }
}

#[test]
fn an_expression_of_several_calls_is_refused_before_the_first() {
    let folder = tempfile::tempdir().unwrap();
    for expr in [
        "print(\"begun\"); eks::create_cluster(#{ nam: \"x\" })",
        "for n in [1] { print(\"begun\"); eks::create_cluster(#{ nam: \"x\" }); }",
        "fn f() { print(\"begun\"); eks::create_cluster(#{ nam: \"x\" }) } f()",
    ] {
        let (code, stdout, stderr) = run(ekskit(folder.path()).args(["eval", "--rehearse", expr]));
        assert_eq!((code, stdout.as_str()), (1, ""), "{expr}\n{stderr}");
        assert!(stderr.contains("unknown field `nam`") && stderr.contains("did you mean `name`?"), "{expr}\n{stderr}");
    }
}

#[test]
fn a_world_that_can_not_be_written_is_told_before_anything_happens() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        vec!["eval", "--rehearse", "--world-out", "absent/x.yaml", "print(\"begun\")"],
        vec!["twin", "serve", "--world-out", "absent/x.yaml"],
    ] {
        let (code, stdout, stderr) = run(ekskit(folder.path()).args(&arguments));
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}\n{stderr}");
        assert!(stderr.contains("the world can not be written to `absent/x.yaml`"), "{arguments:?}\n{stderr}");
    }
}

#[test]
fn an_error_behind_many_warnings_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let warned = "let a = 1; print(a);\n".repeat(250);
    let script = format!("{warned}parallel([|| {{ a += 1; }}]);\nprint(a);\n");
    std::fs::write(folder.path().join("a.rhai"), script).unwrap();
    let (code, stdout, _) = run(ekskit(folder.path()).args(["check", "a.rhai"]));
    assert_eq!(code, 1, "{stdout}");
    for part in ["a branch of `parallel` can not change `a`", "… and 49 warnings more", "1 error, 249 warnings"] {
        assert!(stdout.contains(part), "{part} is missing in\n{}", &stdout[stdout.len() - 500..]);
    }
    let (code, stdout, _) = run(ekskit(folder.path()).args(["run", "a.rhai", "--rehearse"]));
    assert_eq!((code, stdout.as_str()), (1, ""));
}

#[test]
fn results_go_to_standard_output_and_everything_else_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let script = "print(\"hello\"); log::info(\"working\"); step \"s\" { 1 } #{ a: 1 }";
    let (_, stdout, stderr) = run(ekskit(folder.path()).args(["eval", script]));
    assert_eq!(stdout, "hello\n{\n  \"a\": 1\n}\n");
    assert!(stderr.contains("working") && stderr.contains("▶ s"), "{stderr}");
    let (_, stdout, stderr) = run(ekskit(folder.path()).args(["eval", script, "--output", "json"]));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["result"]["a"], 1);
    assert_eq!(document["steps"][0]["path"], "s");
    assert_eq!(document["changed"], 0);
    assert!(stderr.contains("hello"), "{stderr}");
    let (code, stdout, _) =
        run(ekskit(folder.path()).args(["eval", "throw error::conflict(\"taken\")", "--output", "json"]));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, document["error"]["kind"].as_str()), (1, Some("conflict")));
}

#[test]
fn help_of_a_script_lists_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let script = "//! Counts nodes.\nlet cfg = params(#{ name: #{ type: \"string\", help: \"cluster name\", value: \"prod\" } });";
    std::fs::write(folder.path().join("count.rhai"), script).unwrap();
    let (code, stdout, _) = run(ekskit(folder.path()).args(["run", "count.rhai", "--help"]));
    assert_eq!(code, 0);
    for part in ["Counts nodes.", "name", "cluster name", "default: prod", "--read-only"] {
        assert!(stdout.contains(part), "{part} is missing in\n{stdout}");
    }
}

#[test]
fn without_credentials_or_an_answer_the_error_tells_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(ekskit(folder.path()).args(["eval", "eks::list_clusters()"]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("no credentials for `eks::list_clusters` in us-west-2") && stderr.contains("aws sso login"),
        "{stderr}"
    );
    let (code, _, stderr) = run(ekskit(folder.path()).env_remove("AWS_REGION").args(["eval", "eks::list_clusters()"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("no AWS region is set") && stderr.contains("--region us-west-2"), "{stderr}");
}

#[test]
fn off_a_terminal_a_change_needs_yes() {
    let folder = tempfile::tempdir().unwrap();
    let (port, heard) = silent_server();
    let (code, _, stderr) = run(with_stub(folder.path(), port).args(["eval", "ec2::create_key_pair(\"a\")"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("run again with `--yes`") && stderr.contains("123456789012"), "{stderr}");
    assert!(heard.try_recv().is_err(), "a change was sent");
}

/// How long the program still runs after Ctrl-C; it says that it was cancelled.
fn ends_by_ctrl_c(mut child: Child) -> Duration {
    let pressed = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    pressed.elapsed()
}

#[test]
fn ctrl_c_ends_a_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (port, heard) = silent_server();
    let times = Times::of_five(|_| {
        let mut command = with_stub(folder.path(), port);
        let child = command.args(["eval", "eks::list_clusters()"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        heard.recv_timeout(Duration::from_secs(20)).unwrap();
        ends_by_ctrl_c(child.unwrap())
    });
    println!("{}", times.within("Ctrl-C while a read is not answered", 500, 1_000));
}

#[test]
fn a_second_ctrl_c_ends_a_change_in_flight_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (port, heard) = silent_server();
    let times = Times::of_five(|number| {
        let mut command = with_stub(folder.path(), port);
        let arguments = ["eval", "--yes", "ec2::create_key_pair(\"a\")"];
        let mut child = command.args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        heard.recv_timeout(Duration::from_secs(20)).unwrap();
        interrupt(&child);
        // One look that the first Ctrl-C leaves the change its grace is enough; then only that the two stay apart.
        std::thread::sleep(Duration::from_millis(if number == 0 { 1_500 } else { 200 }));
        assert!(child.try_wait().unwrap().is_none(), "the first Ctrl-C did not leave the change its grace");
        ends_by_ctrl_c(child)
    });
    println!("{}", times.within("a second Ctrl-C while a change is not answered", 500, 1_000));
}

#[test]
fn aws_is_reached_through_a_proxy_where_the_environment_names_one() {
    let folder = tempfile::tempdir().unwrap();
    let (port, heard) = silent_server();
    let mut command = with_stub(folder.path(), 9);
    command.env("AWS_ENDPOINT_URL", "http://aws.invalid").env("HTTP_PROXY", format!("http://127.0.0.1:{port}"));
    let mut child = command.args(["eval", "eks::list_clusters()"]).stderr(Stdio::null()).spawn().unwrap();
    let line = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(line.starts_with("GET http://aws.invalid/clusters"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut command = with_stub(folder.path(), port);
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1");
    let mut child = command.args(["eval", "eks::list_clusters()"]).stderr(Stdio::null()).spawn().unwrap();
    let line = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(line.starts_with("GET /clusters"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn effects_of_script_functions_are_inferred_from_what_they_call() {
    let folder = tempfile::tempdir().unwrap();
    for (name, effect) in [
        ("aws_node::plan_for", "pure"),
        ("aws_node::plan_ips", "read"),
        ("auth::why", "read"),
        ("auth::ensure_mapped", "mutate"),
        ("vpc::ensure", "mutate"),
        ("eks::describe_cluster", "read"),
        ("kube::apply", "mutate"),
    ] {
        let (code, stdout, _) = run(ekskit(folder.path()).args(["doc", name, "--output", "json"]));
        let found: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, found[0]["effect"].as_str()), (0, Some(effect)), "{name}");
    }
}

// Rehearsals: the built program, an empty home folder, no AWS configuration, nothing to reach.

pub fn rehearsal(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ekskit"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}

/// What stands behind `ekskit` in the `sh` blocks of the README, and behind `cargo run --`.
fn readme_commands() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| {
        let line = line.split("  #").next().unwrap_or(line);
        line.strip_prefix("cargo run -- ").or_else(|| line.strip_prefix("ekskit "))
    });
    lines.map(words).collect()
}

/// Words of a shell line; quotes hold words together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.split("&&").next().unwrap_or(line).trim().chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_first_command_of_the_readme_brings_up_a_cluster() {
    let home = tempfile::tempdir().unwrap();
    let world = home.path().join("world.yaml");
    let world = world.to_str().unwrap();
    let first = readme_commands().remove(0);
    let (code, out, errors) = run(rehearsal(home.path()).args(&first).args(["--output", "json", "--world-out", world]));
    assert_eq!(code, 0, "{errors}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["result"]["proof"]["nodes_ready"], 3);
    assert!(document["virtual_seconds"].as_f64().unwrap() > 600.0, "{}", document["virtual_seconds"]);
    assert!(document["steps"].as_array().unwrap().iter().any(|step| step["name"] == "workers"));
    assert!(document["changed"].as_u64().unwrap() > 50);
    assert!(document["critical_path"].as_array().unwrap().len() > 2);
    assert!(errors.contains("critical path"), "{errors}");

    let (code, out, errors) =
        run(rehearsal(home.path()).args(["run", "runbooks/prod.rhai", "--output", "json", "--world", world]));
    assert_eq!(code, 0, "{errors}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["changed"], 0, "{errors}");
}

#[test]
fn every_command_of_the_readme_runs() {
    let home = tempfile::tempdir().unwrap();
    for link in ["runbooks", "stdlib"] {
        std::os::unix::fs::symlink(root().join(link), home.path().join(link)).unwrap();
    }
    let mut seen = BTreeMap::new();
    for mut words in readme_commands() {
        *seen.entry(words[0].clone()).or_insert(0) += 1;
        let in_world = |word: &String| ["--rehearse", "--world", "--help"].contains(&word.as_str());
        match words[0].as_str() {
            // What the README shows for a real account is rehearsed here.
            "run" | "eval" if !words.iter().any(in_world) => words.push("--rehearse".to_owned()),
            "repl" => {
                prompt_of_the_readme(home.path(), &words);
                continue;
            }
            "twin" => {
                server_of_the_readme(home.path(), &words);
                continue;
            }
            // It asks AWS for a cluster and is followed by kubectl: `wires/cases/prod_without_kubeconfig.py` runs the line.
            "kubeconfig" => words.push("--help".to_owned()),
            _ => {}
        }
        // The world of a cluster that can be deleted at once.
        if words.contains(&"--world-out".to_owned()) {
            words.extend(["--set".to_owned(), "deletion_protection=false".to_owned()]);
        }
        let (code, _, errors) = run(rehearsal(home.path()).current_dir(home.path()).args(&words));
        let refused = words.contains(&"--read-only".to_owned());
        assert_eq!(code, if refused { 3 } else { 0 }, "{words:?}\n{errors}");
    }
    let least = [("check", 1), ("doc", 4), ("eval", 2), ("kubeconfig", 1), ("repl", 1), ("run", 7), ("twin", 1)];
    for (command, number) in least {
        assert!(seen.get(command).is_some_and(|found| *found >= number), "{command}: {seen:?}");
    }
}

/// The prompt, told a line by something that is no terminal: it works the line off and ends.
fn prompt_of_the_readme(home: &Path, words: &[String]) {
    let mut command = rehearsal(home);
    command.current_dir(home).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[40, 2].reduce(|sum, x| sum + x, 0)\n").unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!((status.code(), out.trim()), (Some(0), "42"), "{errors}");
}

/// The simulated cluster, asked by a client with the kubeconfig that it wrote.
fn server_of_the_readme(home: &Path, words: &[String]) {
    let [twin, serve, world, file] = words else { panic!("{words:?}") };
    assert_eq!([twin, serve, world], ["twin", "serve", "--world"]);
    let served = Served::with(&["--world", home.join(file).to_str().unwrap()]);
    let context = served.told["cluster"].as_str().unwrap().to_owned();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let nodes = Api::<Node>::all(served.client(&context).await).list(&ListParams::default()).await.unwrap();
        assert_eq!(nodes.items.len(), 3);
    });
    assert_eq!(served.end().0, 0);
}

#[test]
fn a_faults_file_throttles_and_the_rehearsal_gets_over_it() {
    let home = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(home.path().join("faults.yaml"), text).unwrap();
    let call = |flags: &[&str]| {
        run(rehearsal(home.path()).current_dir(home.path()).args(["eval", "eks::list_clusters().clusters"]).args(flags))
    };
    let flags = ["--rehearse", "--faults", "faults.yaml", "--verbose"];
    write("rules:\n- { operation: eks::list_clusters, fault: throttled, times: 2 }\n");
    let (code, out, errors) = call(&flags);
    assert_eq!((code, out.trim()), (0, "[]"), "{errors}");
    let again: Vec<&str> = errors.lines().filter(|line| line.contains("↻")).collect();
    assert_eq!(again.len(), 2, "{errors}");
    assert!(again.iter().all(|line| line.contains("↻ eks::list_clusters in ")), "{errors}");
    // Without the file nothing goes wrong, and one that never stops is told as what it is.
    let (_, _, errors) = call(&["--rehearse", "--verbose"]);
    assert!(!errors.contains("↻"), "{errors}");
    write("rules:\n- { operation: eks::list_clusters, fault: throttled, times: 1000 }\n");
    let (code, out, errors) = call(&flags);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("throttled"), "{errors}");
}

#[test]
fn flags_of_a_rehearsal_that_make_no_sense_are_refused() {
    let home = tempfile::tempdir().unwrap();
    for (args, says) in [
        (vec!["eval", "1", "--seed", "3"], "`--seed` is for rehearsals only"),
        (vec!["eval", "1", "--world-out", "x"], "`--world-out` is for rehearsals only"),
        (vec!["eval", "1", "--world", "absent.yaml"], "file `absent.yaml` does not exist"),
        (vec!["eval", "1", "--rehearse", "--kubeconfig", "k"], "does not use the kubeconfig `k`"),
        (vec!["eval", "1", "--rehearse", "--faults", "README.md"], "no faults file"),
        (vec!["eval", "1", "--world", "README.md"], "no world file"),
        (vec!["eval", "eks::list_clusters()", "--rehearse", "--region", "eu-west-1"], "has only region us-west-2"),
        (
            vec!["eval", "ec2::describe_host_reservations()", "--rehearse"],
            "`ec2::describe_host_reservations` is not simulated",
        ),
    ] {
        let (code, _, errors) = run(rehearsal(home.path()).args(&args));
        assert_ne!(code, 0, "{args:?}");
        assert!(errors.contains(says), "{args:?}\n{errors}");
    }
}

#[test]
fn check_tells_findings_as_text_and_json_and_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("good.rhai", "print(1);\n");
    write("warned.rhai", "let unused = 1;\nprint(2);\n");
    write("broken.rhai", "print(nmae);\neks::describe_cluster(#{ nam: \"a\" });\n");
    for (arguments, code) in [
        (vec!["check", "good.rhai"], 0),
        (vec!["check", "warned.rhai"], 0),
        (vec!["check", "warned.rhai", "--deny-warnings"], 1),
        (vec!["check", "broken.rhai"], 1),
        (vec!["check", "."], 1),
        (vec!["check", "nosuch.rhai"], 2),
        (vec!["check"], 2),
        (vec!["check", "--rules"], 0),
    ] {
        let (found, stdout, stderr) = run(ekskit(folder.path()).args(&arguments));
        assert_eq!(found, code, "{arguments:?}\n{stdout}\n{stderr}");
    }
    let (_, stdout, _) = run(ekskit(folder.path()).args(["check", "broken.rhai"]));
    for part in [
        "error: variable `nmae` does not exist\n  ┌─ broken.rhai:1:7\n1│ print(nmae);\n │       ^^^^ unknown_variable\n",
        "^^^ unknown_field",
        "hint: did you mean `name`?",
        "1 script: 3 errors, 0 warnings",
    ] {
        assert!(stdout.contains(part), "{part} is missing in\n{stdout}");
    }
    let (_, stdout, _) = run(ekskit(folder.path()).args(["check", ".", "--output", "json"]));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    assert_eq!((document["files"].as_u64(), findings.len()), (Some(3), 4), "{stdout}");
    let field = findings.iter().find(|finding| finding["rule"] == "unknown_field").unwrap();
    assert_eq!((field["severity"].as_str(), field["line"].as_u64()), (Some("error"), Some(2)));
    assert_eq!(field["hint"], "did you mean `name`?");
}

#[test]
fn check_takes_any_input() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("latin/a.rhai", b"print(1);\nlet a = \"caf\xe9\";\n");
    write("none/readme.txt", b"nothing");
    write("round/a.rhai", b"print(1);");
    std::os::unix::fs::symlink(folder.path().join("round"), folder.path().join("round/again")).unwrap();
    write("long/lines.rhai", "print(1 + 2);\n".repeat(80_000).as_bytes());
    write("line/one.rhai", format!("let a = \"{}\"; print(b);", "x".repeat(1 << 20)).as_bytes());
    write("deep/brackets.rhai", "(".repeat(100_000).as_bytes());
    write("deep/texts.rhai", "`${".repeat(20_000).as_bytes());
    write("many/variables.rhai", "let a = 1;\n".repeat(20_000).as_bytes());
    for (name, code, words) in [
        ("latin", 1, "is not UTF-8 text"),
        ("none", 2, "has no scripts"),
        ("round", 0, "1 script"),
        ("long", 0, "nothing wrong"),
        ("line", 1, "unknown_variable"),
        ("deep", 1, "2 scripts"),
        ("many", 0, "shadowing"),
    ] {
        let (found, stdout, stderr) = run(ekskit(folder.path()).args(["check", name]));
        assert_eq!(found, code, "{name}\n{}\n{stderr}", &stdout[..stdout.len().min(2_000)]);
        let told = format!("{stdout}{stderr}");
        assert!(told.contains(words), "{name}: {}", &told[..told.len().min(2_000)]);
        assert!(told.len() < 200_000, "{name}: {} bytes", told.len());
    }
}

#[test]
fn run_refuses_what_can_not_work_before_anything_happens() {
    let folder = tempfile::tempdir().unwrap();
    let script = "print(\"begun\");\nlet found = eks::list_clusterz();\nprint(found.clusters);\nkube::get(\"pods\");\n";
    std::fs::write(folder.path().join("a.rhai"), script).unwrap();
    let (code, stdout, stderr) = run(ekskit(folder.path()).args(["run", "a.rhai", "--rehearse"]));
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    for part in [
        "`eks::list_clusterz` does not exist",
        "a.rhai:2:",
        "also a.rhai:4: `kube::get` takes 2 arguments",
        "did you mean `list_clusters`?",
    ] {
        assert!(stderr.contains(part), "{part} is missing in\n{stderr}");
    }
    let allowed =
        script.replace("let found", "// ekskit:allow(unknown_function)\nlet found").replace("kube::get", "// ");
    std::fs::write(folder.path().join("a.rhai"), allowed).unwrap();
    let (code, stdout, _) = run(ekskit(folder.path()).args(["run", "a.rhai", "--rehearse"]));
    assert_eq!((code, stdout.as_str()), (1, "begun\n"));
}
