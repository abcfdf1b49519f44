//! `ekskit check`: a corpus of broken scripts, mutants of our own scripts, and our own scripts, which are clean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ekskit::cli::start;
use ekskit::engine::check::{Checker, Finding, Role, rules};
use ekskit::engine::{Interpreter, docs, on_big_stack};
use ekskit::project::Project;
use ekskit::sources::Sources;

use crate::mutants::{self, Mutant};
use crate::stage::with_imports;
use crate::tree::{files, root, shown};

/// Works with an interpreter that has every service.
fn with_interpreter<T: Send>(work: impl FnOnce(&Interpreter) -> T + Send) -> T {
    on_big_stack(|| {
        let (_runtime, session) = start::offline().unwrap();
        work(&Interpreter::new(&session, &Sources::default()).unwrap())
    })
    .unwrap()
}

/// Works with a checker of this repository.
fn with_checker<T: Send>(work: impl FnOnce(&Checker<'_>) -> T + Send) -> T {
    with_interpreter(|interpreter| work(&interpreter.checker(&Project::of(root()).unwrap()).unwrap()))
}

fn told(finding: &Finding) -> String {
    let (facts, rule) = (finding.error.facts(), finding.rule);
    let at = facts.at.as_ref().map_or_else(String::new, |at| format!("{}:{}:{}", at.source, at.line, at.column));
    let (notes, hint) = (facts.notes.join("; "), facts.hint.clone().unwrap_or_default());
    format!("{at} {} {}: {}; {notes}; {hint}", rule.weight.severity(), rule.name, facts.message)
}

/// Checks files of a project of their own; the first is the script.
fn check_files(interpreter: &Interpreter, files: &[(String, String)]) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let checker = interpreter.checker(&Project::of(folder.path()).unwrap()).unwrap();
    checker.text(&files[0].0, &files[0].1, None)
}

/// A case of the corpus: files, the first of which is the script, and what it must say.
struct Case {
    title: String,
    files: Vec<(String, String)>,
    /// Line, rule, and words that stand in what is said.
    expected: Vec<(usize, String, String)>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("//- ") {
            let files = vec![("main.rhai".to_owned(), String::new())];
            cases.push(Case { title: title.to_owned(), files, expected: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("//@ ") {
            case.files.push((name.to_owned(), String::new()));
            continue;
        }
        let is_first = case.files.len() == 1;
        let script = &mut case.files.last_mut().unwrap().1;
        let (code, wanted) = line.split_once("//~").map_or((line, None), |(code, wanted)| (code, Some(wanted)));
        let number = script.lines().count() + 1;
        let above = wanted.is_some_and(|wanted| wanted.starts_with('^'));
        if !above {
            script.push_str(&format!("{}\n", code.trim_end()));
        }
        for wanted in wanted.into_iter().flat_map(|wanted| wanted.trim_start_matches('^').split(" && ")) {
            assert!(is_first, "{}: only the script itself is checked", case.title);
            let (rule, words) = wanted.trim().split_once(": ").unwrap_or((wanted.trim(), ""));
            let line = if above { number - 1 } else { number };
            case.expected.push((line, rule.to_owned(), words.to_owned()));
        }
    }
    cases
}

#[test]
fn every_broken_script_is_told_what_is_wrong() {
    let mut all = Vec::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join("tests/check")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        all.extend(cases(&std::fs::read_to_string(path).unwrap()));
    }
    let (wrong, seen) = with_interpreter(|interpreter| {
        let mut wrong = Vec::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for case in &all {
            let found = check_files(interpreter, &case.files);
            let mut left: Vec<&Finding> = found.iter().collect();
            for (line, rule, words) in &case.expected {
                let fits = |finding: &&Finding| {
                    let at = finding.error.facts().at.as_ref();
                    finding.rule.name == rule && at.is_some_and(|at| at.line == *line) && told(finding).contains(words)
                };
                match left.iter().position(fits) {
                    Some(index) => *seen.entry(left.remove(index).rule.name).or_default() += 1,
                    None => {
                        let found: Vec<String> = found.iter().map(told).collect();
                        wrong.push(format!(
                            "{}: line {line} lacks `{rule}: {words}`\n  {}",
                            case.title,
                            found.join("\n  ")
                        ));
                    }
                }
            }
            wrong.extend(left.iter().map(|finding| format!("{}: unexpected {}", case.title, told(finding))));
        }
        (wrong, seen)
    });
    println!("| rule | found |\n|---|--:|");
    for (rule, number) in &seen {
        println!("| {rule} | {number} |");
    }
    println!("{} broken scripts, {} findings", all.len(), seen.values().sum::<usize>());
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(all.len() >= 60, "{}", all.len());
    let unseen: Vec<&str> = rules::names().filter(|rule| !seen.contains_key(rule)).collect();
    assert!(unseen.is_empty(), "no broken script for {unseen:?}");
}

#[test]
fn the_example_of_every_rule_triggers_it() {
    with_interpreter(|interpreter| {
        for rule in rules::ALL {
            let mut files = vec![("main.rhai".to_owned(), String::new())];
            for line in rule.example.lines() {
                match line.strip_prefix("//- ") {
                    Some(name) => files.push((format!("{name}.rhai"), String::new())),
                    None => files.last_mut().unwrap().1.push_str(&format!("{line}\n")),
                }
            }
            let found = check_files(interpreter, &files);
            let told: Vec<String> = found.iter().map(told).collect();
            assert!(found.iter().any(|finding| finding.rule.name == rule.name), "{}: {told:#?}", rule.name);
        }
    });
}

#[test]
fn our_own_scripts_are_clean() {
    let files: Vec<PathBuf> =
        ["stdlib", "runbooks", "examples", "tests"].iter().flat_map(|folder| files(folder, "rhai")).collect();
    let wrong = with_checker(|checker| {
        let mut wrong = Vec::new();
        for path in &files {
            let text = std::fs::read_to_string(path).unwrap();
            wrong.extend(checker.text(&shown(path), &text, None).iter().map(told));
        }
        wrong
    });
    println!("{} scripts", files.len());
    assert!(files.len() > 60 && wrong.is_empty(), "{} findings\n{}", wrong.len(), wrong.join("\n"));
}

/// The `rhai` blocks of a text; in the comments of a script they stand behind `///`.
fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn every_block_that_we_show_is_clean() {
    let mut shown_blocks = blocks(&std::fs::read_to_string(root().join("README.md")).unwrap());
    for folder in ["docs", "runbooks", "examples", "stdlib", "tests"] {
        for entry in std::fs::read_dir(root().join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                shown_blocks.extend(blocks(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let wrong = with_checker(|checker| {
        let mut wrong = Vec::new();
        for block in &shown_blocks {
            // What an example shows stands behind `//=>`; each is a statement of its own.
            let lines = block.lines().map(|line| match line.split_once("//=>") {
                Some((code, _)) => format!("{};\n", code.trim_end()),
                None => format!("{line}\n"),
            });
            let text = with_imports(&lines.collect::<String>());
            wrong.extend(checker.text("block", &text, Some(Role::Snippet)).iter().map(told));
        }
        wrong
    });
    println!("{} blocks", shown_blocks.len());
    assert!(!shown_blocks.is_empty() && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many mutants of each operator are tried, unless `EKSKIT_MUTANTS=all`.
const SAMPLE: usize = 25;

/// The mutants of stdlib, runbooks and examples by operator.
fn all_mutants() -> BTreeMap<&'static str, Vec<Mutant>> {
    let mutating: BTreeSet<String> = with_interpreter(|interpreter| {
        let all = docs::reference(interpreter.engine(), &Project::default()).unwrap();
        let mutating = all.entries().iter().filter(|entry| entry.effect.name() == "mutate");
        mutating.map(|entry| entry.name.clone()).collect()
    });
    let mut by_operator: BTreeMap<&str, Vec<Mutant>> = BTreeMap::new();
    for path in ["stdlib", "runbooks", "examples"].iter().flat_map(|folder| files(folder, "rhai")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for mutant in mutants::of(&shown(&path), &text, &mutating) {
            by_operator.entry(mutant.operator).or_default().push(mutant);
        }
    }
    by_operator
}

/// Whether a check finds the mistake by one of its rules, where it stands; else what it says instead.
fn missed(checker: &Checker<'_>, mutant: &Mutant) -> Option<String> {
    let found = checker.text(&mutant.source, &mutant.text, None);
    let hit = |finding: &Finding| {
        let at = finding.error.facts().at.as_ref();
        mutant.rules.contains(&finding.rule.name) && at.is_some_and(|at| mutant.lines.contains(&at.line))
    };
    let instead =
        || format!("{}: {}\n  found {:?}", mutant.operator, mutant.what, found.iter().map(told).collect::<Vec<_>>());
    (!found.iter().any(hit)).then(instead)
}

/// What was missed of these mutants, by their number. The cores share the work, each with a checker of its own, which
/// reads the modules that the mutants import once.
fn check_mutants(mutants: &[&Mutant]) -> BTreeMap<usize, String> {
    let (next, all_missed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        with_checker(|checker| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(mutant) = mutants.get(number) else { break };
                if let Some(instead) = missed(checker, mutant) {
                    all_missed.lock().unwrap().insert(number, instead);
                }
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    all_missed.into_inner().unwrap()
}

#[test]
fn every_mutant_of_our_scripts_is_caught() {
    let all = std::env::var("EKSKIT_MUTANTS").is_ok_and(|value| value == "all");
    let by_operator = all_mutants();
    let sampled = by_operator.values().flat_map(|mutants| {
        let step = if all { 1 } else { mutants.len().div_ceil(SAMPLE) };
        mutants.iter().step_by(step)
    });
    let tried: Vec<&Mutant> = sampled.collect();
    let missed = check_mutants(&tried);
    println!("| operator | sites | tried | caught |\n|---|--:|--:|--:|");
    for (operator, mutants) in &by_operator {
        let of_it = |number: &usize| tried[*number].operator == *operator;
        let (number, slipped) =
            ((0..tried.len()).filter(of_it).count(), missed.keys().filter(|number| of_it(number)).count());
        println!("| {operator} | {} | {number} | {} |", mutants.len(), number - slipped);
    }
    println!(
        "| all | {} | {} | {} |",
        by_operator.values().map(Vec::len).sum::<usize>(),
        tried.len(),
        tried.len() - missed.len()
    );
    assert!(by_operator.len() >= 10, "{} operators", by_operator.len());
    let told: Vec<&str> = missed.values().map(String::as_str).collect();
    assert!(missed.is_empty(), "{} mutants were missed\n{}", missed.len(), told.join("\n"));
}
