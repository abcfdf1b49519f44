//! What pages show runs: the lessons as they are, and every command and every script of the documentation, page by page.

use std::path::{Path, PathBuf};

use ekskit::catalog::doc::examples;
use ekskit::twin::Twin;
use ekskit::twin::world::World;

use crate::cli::{rehearsal, run, words};
use crate::stage::Stage;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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

/// An empty home folder beside what a page names: runbooks, examples, stdlib.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for link in ["runbooks", "examples", "stdlib"] {
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
fn every_command_of_the_lessons_page_runs() {
    let home = home();
    let mut count = 0;
    for one in shown("examples/README.md") {
        let Shown::Command(args) = one else { panic!("a script on a page of commands") };
        let (code, _, errors) = run(rehearsal(home.path()).current_dir(home.path()).args(&args));
        assert_eq!(code, 0, "{args:?}\n{errors}");
        count += 1;
    }
    assert_eq!(count, 3);
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
