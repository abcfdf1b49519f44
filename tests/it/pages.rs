//! What pages show runs: the lessons as they are, and every command and every script of the documentation, page by page.

use std::path::{Path, PathBuf};

use ekskit::catalog::doc::examples;
use ekskit::twin::Twin;
use ekskit::twin::world::World;

use crate::cli::{rehearsal, run, words};
use crate::documented::docs_world;
use crate::stage::Stage;
use crate::tree::root;

/// What a script says behind `//=>` on its last line.
fn says(text: &str) -> String {
    let shown = examples(text);
    let last = shown.last().unwrap_or_else(|| panic!("nothing behind `//=>` in\n{text}"));
    last.shows.clone()
}

/// The value of an expression that a page shows.
fn value(expression: &str) -> serde_json::Value {
    Stage::default().run(expression).value().clone()
}

fn lessons() -> Vec<String> {
    let files = std::fs::read_dir(root().join("examples")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".rhai") && name.starts_with(|letter: char| letter.is_ascii_digit()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_lesson_runs_on_an_empty_world_and_ends_as_it_says() {
    let names = lessons();
    let numbers: Vec<String> = names.iter().map(|name| name[..2].to_owned()).collect();
    let wanted: Vec<String> = (1..=10).map(|number| format!("{number:02}")).collect();
    assert_eq!(numbers, wanted);
    let readme = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    for name in names {
        let text = std::fs::read_to_string(root().join("examples").join(&name)).unwrap();
        let seen = Stage::rehearse(&Twin::new(World::new(1).unwrap())).run_file(&format!("examples/{name}"));
        assert_eq!(*seen.value(), value(&says(&text)), "{name}");
        assert!(text.lines().count() <= 50, "{name} is no short lesson");
        assert!(
            readme.contains(&format!("`{}`", name.trim_end_matches(".rhai"))),
            "{name} is not in examples/README.md"
        );
    }
}

/// A block of a page that is ekskit's own: a command, or a script.
enum Shown {
    Command(Vec<String>),
    Script(String),
}

/// The commands and scripts of ekskit on a page, in order. Commands of other tools are not ours to run.
fn shown(page: &str) -> Vec<Shown> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut found = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "rhai" => found.push(Shown::Script(text.to_owned())),
            "sh" => {
                let lines = text.lines().filter_map(|line| line.split("  #").next()?.strip_prefix("ekskit "));
                found.extend(lines.map(|line| Shown::Command(words(line))));
            }
            _ => {}
        }
    }
    found
}

/// An empty home folder beside what a page names: runbooks and examples. The modules are the built-in ones.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for link in ["runbooks", "examples"] {
        std::os::unix::fs::symlink(root().join(link), home.path().join(link)).unwrap();
    }
    home
}

/// Runs one thing in the world of a file, which it leaves changed.
fn in_world(home: &Path, world: &Path, args: &[String]) -> String {
    let mut command = rehearsal(home);
    command.current_dir(home).args(args).args(["--output", "json", "--world-out"]).arg(world);
    if world.exists() {
        command.arg("--world").arg(world);
    } else {
        command.arg("--rehearse");
    }
    let (code, out, errors) = run(&mut command);
    assert_eq!(code, 0, "{args:?}\n{errors}");
    out
}

#[test]
fn the_ten_tasks_run_one_after_the_other() {
    let home = home();
    let world: PathBuf = home.path().join("world.yaml");
    // The role of task 5 is somebody's already.
    let trust = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
    let role = format!("iam::create_role(#{{ role_name: \"ops\", assume_role_policy_document: `{trust}` }});");
    in_world(home.path(), &world, &["eval".to_owned(), role]);
    let all = shown("docs/from-bash-eksctl-terraform.md");
    let (mut commands, mut scripts) = (0, 0);
    for one in all {
        match one {
            Shown::Command(args) => {
                commands += 1;
                in_world(home.path(), &world, &args);
            }
            Shown::Script(text) => {
                scripts += 1;
                let file = home.path().join("task.rhai");
                std::fs::write(&file, &text).unwrap();
                let out = in_world(home.path(), &world, &["run".to_owned(), "task.rhai".to_owned()]);
                let document: serde_json::Value = serde_json::from_str(&out).unwrap();
                assert_eq!(document["result"], value(&says(&text)), "{text}");
            }
        }
    }
    assert_eq!((commands, scripts), (2, 9));
    // The teardown of the tenth task leaves no cluster.
    let left = in_world(home.path(), &world, &["eval".to_owned(), "eks::list_clusters().clusters".to_owned()]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&left).unwrap()["result"], serde_json::json!([]));
}

#[test]
fn every_command_of_the_pages_about_scripts_runs() {
    for (page, wanted) in [("examples/README.md", 3), ("runbooks/README.md", 4)] {
        let home = home();
        std::fs::write(home.path().join("prod.yaml"), "nodes: 3\n").unwrap();
        let mut count = 0;
        for one in shown(page) {
            let Shown::Command(mut args) = one else { panic!("a script on {page}") };
            // What the page shows for a real account is rehearsed here.
            let is_harmless = |word: &String| ["--rehearse", "--world", "--help"].contains(&word.as_str());
            if args[1].starts_with("runbooks/") && !args.iter().any(is_harmless) {
                args.push("--rehearse".to_owned());
            }
            let (code, _, errors) = run(rehearsal(home.path()).current_dir(home.path()).args(&args));
            assert_eq!(code, 0, "{page}: {args:?}\n{errors}");
            count += 1;
        }
        assert_eq!(count, wanted, "{page}");
    }
}

/// On the world of documentation, which has a cluster `prod`.
#[test]
fn every_script_of_the_other_pages_runs() {
    let mut count = 0;
    for page in ["README.md", "stdlib/README.md"] {
        for one in shown(page) {
            let Shown::Script(text) = one else { continue };
            let twin = Twin::new(docs_world().clone());
            let seen = Stage::rehearse(&twin).project(root()).run(&text);
            assert!(seen.result.is_ok(), "{page}:\n{text}\n{}", seen.rendered());
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

/// Pages name the reference by commands inside their sentences, too.
#[test]
fn every_name_that_a_page_looks_up_is_in_the_reference() {
    let home = home();
    let mut count = 0;
    for page in ["docs/README.md", "examples/README.md", "stdlib/README.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for code in text.split('`').filter(|code| code.starts_with("ekskit doc") && !code.contains("[")) {
            let args = words(code.trim_start_matches("ekskit "));
            let (code, out, errors) = run(rehearsal(home.path()).current_dir(home.path()).args(&args));
            assert_eq!(code, 0, "{page}: {args:?}\n{errors}");
            assert!(out.lines().count() > 3, "{page}: {args:?}\n{out}");
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in ["README.md", "docs/README.md", "docs/from-bash-eksctl-terraform.md", "examples/README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let folder = root().join(page).parent().unwrap().to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") {
                assert!(folder.join(target).exists(), "{page}: {target}");
            }
        }
    }
}

// `ekskit doc`.

fn doc(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run(rehearsal(folder).current_dir(folder).arg("doc").args(args))
}

#[test]
fn a_function_of_the_project_is_in_the_reference_with_the_inputs_of_its_code() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("stdlib")).unwrap();
    std::fs::copy(root().join("examples/agent.rhai"), home.path().join("stdlib/agent.rhai")).unwrap();
    std::fs::write(home.path().join("stdlib/broken.rhai"), "//! Broken.\nfn f( {").unwrap();
    let (code, out, errors) = doc(home.path(), &["agent::ensure", "--output", "json"]);
    assert_eq!(code, 0, "{errors}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let entry = &found[0];
    assert_eq!((entry["effect"].as_str(), entry["source"].as_str()), (Some("mutate"), Some("stdlib/agent.rhai")));
    let field = |name: &str| entry["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(field("cluster")["required"], true);
    assert_eq!(
        (field("timeout")["default"].as_str(), field("timeout")["type"].as_str()),
        (Some("\"10m\""), Some("text"))
    );
    assert_eq!(field("policies")["doc"], "what its pods may do on AWS");
    let (_, index, _) = doc(home.path(), &[]);
    assert!(
        index.contains("Modules of this project") && index.contains("`stdlib/broken.rhai` does not compile"),
        "{index}"
    );
}

#[test]
fn the_reference_has_choices_defaults_errors_and_examples_of_a_stdlib_function() {
    let home = tempfile::tempdir().unwrap();
    let (code, text, errors) = doc(home.path(), &["vpc::ensure"]);
    assert_eq!(code, 0, "{errors}");
    for wanted in [
        "vpc::ensure(wanted)",
        "zones",
        "integer, default 3",
        "default \"one\": none, one, per-zone",
        "raises",
        "conflict",
        "vpc::ensure(#{ name: \"prod\", zones: 3 }).changed",
        "changes the cloud",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe");
}

#[test]
fn the_markdown_reference_has_every_name_of_the_json_one() {
    let home = tempfile::tempdir().unwrap();
    let (_, json, _) = doc(home.path(), &["--output", "json"]);
    let (code, markdown, errors) = doc(home.path(), &["--markdown"]);
    assert_eq!(code, 0, "{errors}");
    let entries: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let headings: std::collections::BTreeSet<&str> =
        markdown.lines().filter_map(|line| line.strip_prefix("#### `")?.strip_suffix('`')).collect();
    for entry in &entries {
        assert!(headings.contains(entry["name"].as_str().unwrap()), "{}", entry["name"]);
    }
    assert!(entries.len() > 1700, "{}", entries.len());
    let (code, _, errors) = doc(home.path(), &["--markdown", "--output", "json"]);
    assert_eq!(code, 2, "{errors}");
}

#[test]
fn a_wrong_name_is_answered_with_the_nearest() {
    let home = tempfile::tempdir().unwrap();
    for (typed, says) in [
        ("eks::create_clutser", "did you mean `eks::create_cluster`?"),
        ("create_nodgroup", "did you mean `eks::create_nodegroup`?"),
        ("eks::create_nodegroup.scaling", "fields are"),
        ("vpc::ensure.zone", "did you mean `zones`?"),
        ("delete_tags", "name one of them"),
    ] {
        let (code, out, errors) = doc(home.path(), &[typed]);
        assert_eq!((code, out.as_str()), (2, ""), "{typed}: {errors}");
        assert!(errors.contains(says), "{typed}: {errors}");
    }
    let (code, out, _) = doc(home.path(), &["--find", "zzzz"]);
    assert!(code == 0 && out.contains("stands in no name"), "{out}");
}

#[test]
fn every_namespace_of_a_binding_says_what_it_is_for() {
    let named: Vec<&str> = ekskit::bindings::NAMESPACES.iter().map(|(name, _)| *name).collect();
    for binding in ekskit::bindings::all().filter(|binding| !binding.namespace().is_empty()) {
        assert!(named.contains(&binding.namespace()), "{}", binding.name);
    }
    for name in named {
        assert!(ekskit::bindings::all().any(|binding| binding.namespace() == name), "{name} has no function");
    }
}
