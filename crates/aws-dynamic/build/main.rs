//! Generates, for each SDK crate that is compiled in, the schema, the conversions and one call function an operation.
//!
//! The source is that of the SDK crates themselves, in exactly the versions that `Cargo.toml` pins. It is generated
//! code of great regularity, so lines are scanned rather than parsed: `syn` was not needed and would be slower. What
//! keeps that honest: an unknown type fails the build; the numbers of operations, paginators, waiters and fields are
//! counted a second time in another place of the source; and the compiler checks every field against its setter.
//!
//! * `locate` finds the crates, `source` reads one, `shapes` reads its types, `waiters` its waiters and paginators
//! * `review` holds what no source tells and somebody had to decide
//! * `emit` writes the Rust code, `prose` makes one plain sentence of the SDK's documentation

#![expect(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

mod emit;
mod locate;
mod prose;
mod review;
mod shapes;
mod source;
mod waiters;

use std::path::PathBuf;

use anyhow::{Context, Result};

const SERVICES: [&str; 11] = [
    "autoscaling",
    "cloudwatchlogs",
    "ec2",
    "eks",
    "elasticloadbalancing",
    "elasticloadbalancingv2",
    "iam",
    "kms",
    "servicequotas",
    "ssm",
    "sts",
];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let out = PathBuf::from(std::env::var("OUT_DIR").context("no OUT_DIR")?);
    let enabled: Vec<&str> = SERVICES.into_iter().filter(|name| is_enabled(name)).collect();
    let roots = if enabled.is_empty() { Default::default() } else { locate::roots()? };
    for name in &enabled {
        let root = roots.get(*name).with_context(|| format!("cargo metadata lists no crate aws-sdk-{name}"))?;
        let service = source::read(name, root).with_context(|| format!("reading {}", root.display()))?;
        let code = emit::service(&service).with_context(|| format!("generating {name}"))?;
        std::fs::write(out.join(format!("{name}.rs")), code)?;
    }
    std::fs::write(out.join("services.rs"), emit::services(&enabled))?;
    Ok(())
}

fn is_enabled(name: &str) -> bool {
    std::env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some()
}
