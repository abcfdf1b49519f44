//! What we show runs: examples of bindings, tests of stdlib, and every Rhai block of the docs compiles.

use std::sync::OnceLock;

use ekskit::bindings;
use ekskit::catalog::doc::{Example, blocks, examples};
use ekskit::twin::Twin;
use ekskit::twin::world::World;

use crate::stage::{Stage, with_imports};
use crate::tree::root;

/// The world of documentation: `worlds/docs.rhai` builds it once, and what AWS calls `vpc-0…` there is `vpc-1` in the docs.
pub fn docs_world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut world = World::new(1).unwrap();
        world.account = "111122223333".to_owned();
        world.caller = "arn:aws:sts::111122223333:assumed-role/platform/docs".to_owned();
        let mut text = world.to_yaml().unwrap().replace("123456789012", "111122223333");
        let twin = Twin::new(World::parse(&text).unwrap());
        let seen = Stage::rehearse(&twin).project(root()).run_file("tests/worlds/docs.rhai");
        text = twin.world().to_yaml().unwrap();
        for (name, id) in seen.value().as_object().unwrap() {
            text = text.replace(id.as_str().unwrap(), name);
        }
        World::parse(&text).unwrap()
    })
}

/// Examples of a block follow each other in one world, which nobody used before.
fn check_block(name: &str, block: &str) -> Vec<String> {
    let twin = Twin::new(docs_world().clone());
    let run = |text: &str| Stage::rehearse(&twin).run(&with_imports(text));
    let found = examples(block);
    let mut wrong = Vec::new();
    if found.is_empty() {
        let seen = run(block);
        wrong.extend(seen.result.is_err().then(|| format!("{name}: {}", seen.rendered())));
    }
    for Example { setup, expression, shows } in &found {
        let seen = run(&format!("{setup}\n{expression}"));
        let told = match (shows.strip_prefix("error: "), &seen.result) {
            (Some(kind), Err(error)) if error.kind().name() == kind => continue,
            (None, Ok(value)) if Stage::default().run(shows).value() == value => continue,
            (_, Ok(value)) => value.to_string(),
            (_, Err(_)) => seen.rendered(),
        };
        wrong.push(format!("{name}: {expression} //=> {shows}\n  but it is {told}"));
    }
    wrong
}

#[test]
fn documented_examples_of_bindings_hold() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for binding in bindings::all() {
        for block in blocks(binding.doc) {
            count += 1;
            wrong.extend(check_block(binding.name, &block));
        }
    }
    println!("{count} blocks");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 40, "{count}");
}

#[test]
fn documented_examples_of_the_standard_library_hold() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut paths: Vec<_> =
        std::fs::read_dir(root().join("stdlib")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rhai")) {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        for block in documented_blocks(&text) {
            count += 1;
            wrong.extend(check_block(name, &block));
        }
    }
    println!("{count} blocks");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 80, "{count}");
}

/// The `rhai` blocks in the `///` comments of a script.
fn documented_blocks(text: &str) -> Vec<String> {
    let docs: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix("///")).collect();
    let docs: Vec<&str> = docs.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    blocks(&docs.join("\n"))
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
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("tests/stdlib")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rhai") {
            let text = std::fs::read_to_string(&path).unwrap();
            // A name without a folder: beside a test stand other tests, and they are called as the modules are.
            let source = format!("tests of {}", path.file_name().unwrap().display());
            let seen = Stage::default().project(root()).run_tests(&source, &text);
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
    let mut scripts = Vec::new();
    for folder in ["runbooks", "examples", "stdlib", "docs"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.display().to_string();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rhai") => {
                    let docs = documented_blocks(&text).into_iter();
                    scripts.extend(docs.map(|block| (format!("docs in {name}"), block)));
                    scripts.push((name, text));
                }
                Some("md") => scripts.extend(blocks(&text).into_iter().map(|block| (name.clone(), block))),
                _ => {}
            }
        }
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    scripts.extend(blocks(&readme).into_iter().map(|block| ("README.md".to_owned(), block)));
    for (name, text) in &scripts {
        // What an example shows stands behind `//=>`; each is a statement of its own.
        let text: String = text
            .lines()
            .map(|line| {
                line.split_once("//=>").map_or(format!("{line}\n"), |(code, _)| format!("{};\n", code.trim_end()))
            })
            .collect();
        let seen = Stage::default().project(root()).compiles(&text);
        assert!(seen.result.is_ok(), "{name}:\n{text}\n{}", seen.rendered());
    }
    println!("{} scripts and blocks compile", scripts.len());
}
