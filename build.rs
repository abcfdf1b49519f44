//! Embeds `stdlib/*.rhai`: a list of name and text, so that a new module needs no line of Rust.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

fn main() -> Result<()> {
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
