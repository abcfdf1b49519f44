//! House rules, checked: the layers of `src/lib.rs`, who may name what, and what a stdlib file looks like.

use std::collections::BTreeMap;
use std::path::Path;

use crate::tree::{files, files_if_any, root, shown};

/// Lines of code with their numbers: no comments, and not the tests at the end of a file.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// Rank of every module, from the table in `src/lib.rs`.
fn layers() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let table = text.split("```text").nth(1).unwrap().split("```").next().unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut words = line.trim_start_matches("//!").split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    });
    rows.map(|(rank, name): (u32, String)| (name, rank)).collect()
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let layers = layers();
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let module = module_of(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let rank = layers.get(&module).unwrap_or_else(|| panic!("`{module}` is missing in the table of src/lib.rs"));
        for (number, line) in code(&path) {
            for used in line.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let fine = used == module || layers.get(&used).is_some_and(|used| used < rank);
                if !fine {
                    wrong.push(format!("{}:{number}: `{module}` uses `{used}`", shown(&path)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of `src` that hold `what`, outside of the places where it may stand.
fn strays(what: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let name = shown(&path);
        if allowed.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in code(&path) {
            if what.iter().any(|what| line.contains(what)) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    wrong
}

#[test]
fn names_stay_where_they_belong() {
    let rules: [(&[&str], &[&str]); 7] = [
        (&["rhai::"], &["src/value.rs", "src/engine/", "src/repl/", "src/cli/"]),
        (&["cloud::live", "live::"], &["src/cloud/live/", "src/cloud/mod.rs", "src/cli/"]),
        (&["println!", "print!", "eprintln!", "eprint!", "io::stdout()", "io::stderr()"], &["src/ui.rs"]),
        (&["binding.run", "let Run::"], &["src/engine/"]),
        (&["anyhow"], &["src/main.rs"]),
        (&["crate::twin", "twin::Twin"], &["src/twin/", "src/cli/"]),
        (&["#[allow("], &[]),
    ];
    for (what, allowed) in rules {
        let wrong = strays(what, allowed);
        assert!(wrong.is_empty(), "{what:?} may stand only in {allowed:?}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_select_is_biased() {
    for path in files("src", "rs") {
        let lines = code(&path);
        for (index, (number, line)) in lines.iter().enumerate() {
            if line.contains("select! {") {
                let next = lines.get(index + 1).map(|(_, line)| line.trim());
                assert_eq!(next, Some("biased;"), "{}:{number}", shown(&path));
            }
        }
    }
}

#[test]
fn no_file_is_named_after_leftovers() {
    for path in files("src", "rs") {
        for part in path.strip_prefix(root()).unwrap().iter() {
            let name = part.to_str().unwrap().trim_end_matches(".rs");
            let bad = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "context", "handler"];
            assert!(!bad.contains(&name), "{}", shown(&path));
        }
    }
}

#[test]
fn every_stdlib_module_says_what_it_is_for_and_has_its_tests() {
    for path in files("stdlib", "rhai") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} begins without `//!`", shown(&path));
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let documented = index > 0 && lines[index - 1].starts_with("///");
            assert!(
                !line.starts_with("fn ") || documented,
                "{}:{}: a public function without `///`",
                shown(&path),
                index + 1
            );
        }
        let mirror = root().join("tests/stdlib").join(path.file_name().unwrap());
        assert!(mirror.is_file(), "{} has no {}", shown(&path), shown(&mirror));
    }
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    for folder in ["src", "crates", "stdlib", "runbooks", "tests", "examples", "docs"] {
        for extension in ["rs", "rhai", "py", "md"] {
            for path in files_if_any(folder, extension) {
                let text = std::fs::read_to_string(&path).unwrap();
                let place = concat!("/wo", "rk/");
                assert!(!text.contains(place), "{} names a path of one machine", shown(&path));
            }
        }
    }
}

#[test]
fn one_tls_provider_and_one_http_stack() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for (name, version) in [("hyper", "0.14"), ("h2", "0.3"), ("openssl", ""), ("native-tls", "")] {
        let entry = format!("name = \"{name}\"\nversion = \"{version}");
        assert!(!lock.contains(&entry), "{name} {version} is in Cargo.lock");
    }
}

/// Whatever differs from process to process would make two rehearsals of one seed differ.
#[test]
fn the_twin_has_no_wall_clock_and_no_unordered_map() {
    for path in files("src/twin", "rs") {
        for (number, line) in code(&path) {
            for what in ["Timestamp::now", "SystemTime", "Instant", "HashMap", "HashSet", "rand::", "now_v7", "new_v4"]
            {
                assert!(!line.contains(what), "{}:{number}: {what}", shown(&path));
            }
        }
    }
}
