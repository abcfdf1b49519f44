//! Embeds `stdlib/*.rhai`: a list of name and text, so that a new module needs no line of Rust. Says how the program
//! is linked.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    link();
    let root = std::env::var("CARGO_MANIFEST_DIR")?;
    let folder = Path::new(&root).join("stdlib");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rhai") {
            names.push(path);
        }
    }
    names.sort();
    let mut code = String::from("/// Name and text of every embedded module.\nstatic STDLIB: &[(&str, &str)] = &[\n");
    for path in &names {
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a module's name is not UTF-8")?;
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
    }
    code.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("stdlib.rs"), code)?;
    Ok(())
}

/// Half a million addresses of the SDK would be filled in at each start of a program that may be loaded anywhere: 19 MB
/// of memory, and 8 of 28 ms of a short command. Release builds are loaded where they are linked for.
fn link() {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
