//! What we show runs: examples of bindings, tests of stdlib, and every Rhai block of the docs compiles.

use std::path::Path;

use ekskit::bindings;
use ekskit::catalog::Effect;

use crate::stage::Stage;

/// The `rhai` blocks of a text.
fn blocks(text: &str) -> Vec<String> {
    text.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// One example: statements before it, the expression, and what it shows.
struct Example {
    setup: String,
    expression: String,
    shows: String,
}

fn examples(block: &str) -> Vec<Example> {
    let mut setup = String::new();
    let mut found = Vec::new();
    for line in block.lines() {
        match line.split_once("//=>") {
            Some((expression, shows)) => found.push(Example {
                setup: setup.clone(),
                expression: expression.trim().trim_end_matches(';').to_owned(),
                shows: shows.trim().to_owned(),
            }),
            None => setup.push_str(&format!("{line}\n")),
        }
    }
    found
}

fn check(name: &str, example: &Example) {
    let Example { setup, expression, shows } = example;
    if let Some(kind) = shows.strip_prefix("error: ") {
        let seen = Stage::default().run(&format!("{setup}\n{expression}"));
        assert_eq!(seen.error().kind().name(), kind, "{name}: {expression}\n{}", seen.rendered());
        return;
    }
    let seen = Stage::default().run(&format!("{setup}\n{expression}"));
    let wanted = Stage::default().run(shows);
    assert_eq!(seen.value(), wanted.value(), "{name}: {expression}");
}

#[test]
fn examples_of_pure_bindings_hold() {
    let mut count = 0;
    for binding in
        bindings::all().filter(|binding| binding.effect == Effect::Pure && !binding.doc.contains("kube::cluster"))
    {
        for block in blocks(binding.doc) {
            let found = examples(&block);
            if found.is_empty() {
                Stage::default().run(&block).value();
            }
            for example in found {
                count += 1;
                check(binding.name, &example);
            }
        }
    }
    println!("{count} examples");
    assert!(count > 50, "{count}");
}

#[test]
fn every_binding_has_a_summary_and_its_name_in_its_namespace() {
    for binding in bindings::all() {
        assert!(
            binding.summary().ends_with('.') || binding.summary().ends_with('`'),
            "{}: {}",
            binding.name,
            binding.summary()
        );
        for param in binding.params.iter().chain(binding.options) {
            assert!(!param.doc.is_empty(), "{}: `{}` has no doc", binding.name, param.name);
        }
    }
}

#[test]
fn tests_of_the_standard_library_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("tests/stdlib")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rhai") {
            let text = std::fs::read_to_string(&path).unwrap();
            // A name without a folder: beside a test stand other tests, and they are called as the modules are.
            let source = format!("tests of {}", path.file_name().unwrap().display());
            let seen = Stage::default().project(root).run_tests(&source, &text);
            let tests = seen.value().as_array().unwrap().len();
            assert!(tests > 0, "{source} has no `fn test_…`");
            count += tests;
        }
    }
    println!("{count} tests of stdlib");
    assert!(count > 0);
}

/// A block that does not compile would teach a mistake.
#[test]
fn every_script_that_we_show_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = Vec::new();
    for folder in ["runbooks", "examples", "stdlib"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.display().to_string();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rhai") => {
                    let docs: Vec<String> = text
                        .lines()
                        .filter_map(|line| line.trim_start().strip_prefix("/// ").map(str::to_owned))
                        .collect();
                    scripts
                        .extend(blocks(&docs.join("\n")).into_iter().map(|block| (format!("docs in {name}"), block)));
                    scripts.push((name, text));
                }
                Some("md") => scripts.extend(blocks(&text).into_iter().map(|block| (name.clone(), block))),
                _ => {}
            }
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    scripts.extend(blocks(&readme).into_iter().map(|block| ("README.md".to_owned(), block)));
    for (name, text) in &scripts {
        // What an example shows stands behind `//=>`; each is a statement of its own.
        let text: String = text
            .lines()
            .map(|line| {
                line.split_once("//=>").map_or(format!("{line}\n"), |(code, _)| format!("{};\n", code.trim_end()))
            })
            .collect();
        let seen = Stage::default().project(root).compiles(&text);
        assert!(seen.result.is_ok(), "{name}:\n{text}\n{}", seen.rendered());
    }
    println!("{} scripts and blocks compile", scripts.len());
}
