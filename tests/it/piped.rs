//! The prompt without a terminal: lines from standard input, and what becomes of them in files.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn ekskit(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ekskit"));
    command.args(arguments).current_dir(folder).env_clear();
    command.env("XDG_STATE_HOME", folder.join("state")).env("HOME", folder);
    command
}

/// A session of these lines: what it printed, and what it said.
fn session(folder: &Path, lines: &str) -> (String, String) {
    let mut command = ekskit(folder, &["repl", "--rehearse", "--yes"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Checks and runs what was saved; answers what it printed.
fn runs(folder: &Path, name: &str) -> String {
    for arguments in [vec!["check", name], vec!["run", name, "--rehearse"]] {
        let output = ekskit(folder, &arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}\n{out}\n{err}\n{}", text(folder, name));
        if arguments[0] == "run" {
            return out.trim().to_owned();
        }
    }
    String::new()
}

#[test]
fn a_session_is_saved_only_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("keep.rhai"), "print(\"mine\");\n").unwrap();
    std::os::unix::fs::symlink("target.rhai", path("link.rhai")).unwrap();
    let (_, said) = session(
        folder.path(),
        "let a = 1;\n:save keep.rhai\n:save new.rhai\nlet b = a + 1;\nb * 2\n:save new.rhai\n:save link.rhai\n:save .\n",
    );
    assert_eq!(text(folder.path(), "keep.rhai"), "print(\"mine\");\n", "{said}");
    assert!(said.contains("`keep.rhai` exists already") && said.contains("under another name"), "{said}");
    assert!(text(folder.path(), "new.rhai").contains("b * 2"), "saved again in the same session\n{said}");
    assert!(path("link.rhai").is_symlink() && path("target.rhai").is_file(), "{said}");
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("new.rhai"), mode("keep.rhai"), "others may read it as they may read any file");
}

#[test]
fn a_saved_file_that_was_edited_meanwhile_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = ekskit(folder.path(), &["repl", "--rehearse"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = child.stdin.take().unwrap();
    lines.write_all(b"print(\"begun\");\n:save a.rhai\n").unwrap();
    let file = folder.path().join("a.rhai");
    let begun = std::time::Instant::now();
    while !file.is_file() {
        assert!(begun.elapsed().as_secs() < 60, "nothing was saved");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::write(&file, "// edited\n").unwrap();
    lines.write_all(b":save a.rhai\n").unwrap();
    drop(lines);
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("was edited since this session saved it"), "{said}");
    assert_eq!(text(folder.path(), "a.rhai"), "// edited\n");
}

#[test]
fn functions_of_a_session_reach_the_cluster_in_use_when_it_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let (out, said) = session(
        folder.path(),
        r#"let net = vpc::ensure(#{ name: "prod", zones: 2 });
let of_cluster = role::ensure_for_cluster("prod", "");
cluster::ensure(#{ name: "prod", role_arn: of_cluster.arn, subnet_ids: net.private_subnet_ids }).name
:use cluster prod
fn spaces() { kube::list("namespaces").len() }
fn more(n) { spaces() + n }
let found = more(1);
print(`${found} found`);
:save spaces.rhai
"#,
    );
    assert!(out.contains(" found"), "{out}\n{said}");
    let again = runs(folder.path(), "spaces.rhai");
    let printed = out.lines().find(|line| line.ends_with(" found")).unwrap();
    assert!(again.contains(printed), "{again}\n{}", text(folder.path(), "spaces.rhai"));
}

#[test]
fn a_return_ends_its_line_and_not_the_saved_runbook() {
    let folder = tempfile::tempdir().unwrap();
    let create =
        |name: &str| format!("iam::create_role(#{{ role_name: \"{name}\", assume_role_policy_document: \"{{}}\" }});");
    let lines = format!(
        "return 5; {}\nlet v = it;\nif v == 5 {{ return 6; }} {}\nif v == 4 {{ return 7; }} {}\n[v, iam::list_roles().roles.map(|role| role.role_name).filter(|name| name.len() < 6)]\nprint(`roles: ${{it}}`);\n:save s.rhai\n",
        create("one"),
        create("two"),
        create("three")
    );
    let (out, said) = session(folder.path(), &lines);
    assert!(out.contains("roles: [5, [\"three\"]]"), "{out}\n{said}");
    assert!(runs(folder.path(), "s.rhai").contains("roles: [5, [\"three\"]]"), "{}", text(folder.path(), "s.rhai"));
}

#[test]
fn a_loaded_script_imports_what_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("work/mine.rhai"), "//! Mine.\n\n/// One.\nfn number() { 1 }\n").unwrap();
    std::fs::write(folder.path().join("work/go.rhai"), "import \"mine\" as mine;\nlet loaded = 1;\n").unwrap();
    let lines = ":load work/go.rhai\nprint(`${mine::number()} found`);\n:reload\nmine::number() + loaded + 40\nimport \"mine\" as other;\n";
    let (out, said) = session(folder.path(), lines);
    assert!(out.contains("1 found") && out.contains("42"), "{out}\n{said}");
    assert!(said.contains("module `mine` does not exist") && !said.contains("beside the script"), "{said}");
}

#[test]
fn a_module_can_be_used_on_the_line_that_imports_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("both.rhai"), "import \"words\" as v;\nv::count(\"zone\", 2)\n").unwrap();
    let (printed, said) = session(folder.path(), "import \"words\" as w; w::count(\"node\", 3)\n:load both.rhai\n");
    assert!(printed.contains("3 nodes") && printed.contains("2 zones"), "{printed}\n{said}");
}
