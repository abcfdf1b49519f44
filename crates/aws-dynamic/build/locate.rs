//! Finds the source of the SDK crates.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folder of each `aws-sdk-*` crate, by service name.
///
/// Offline first, which is quick and works with vendored crates. With a cold cache that fails, because the
/// dev-dependencies were never downloaded; then the lock file still fixes what is fetched.
pub(crate) fn roots() -> Result<BTreeMap<String, PathBuf>> {
    let metadata = match metadata("--offline") {
        Ok(metadata) => metadata,
        Err(offline) => metadata("--locked").with_context(|| format!("and before that, offline: {offline:#}"))?,
    };
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut roots = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(service) = name.strip_prefix("aws-sdk-") else { continue };
        let manifest = PathBuf::from(package["manifest_path"].as_str().context("a package without manifest_path")?);
        let root = manifest.parent().context("a manifest without folder")?.to_owned();
        if roots.insert(service.to_owned(), root).is_some() {
            bail!("there are two versions of {name}; the generator could read the wrong one");
        }
    }
    Ok(roots)
}

fn metadata(mode: &str) -> Result<Value> {
    let cargo = std::env::var("CARGO").context("no CARGO")?;
    let manifest = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", mode, "--manifest-path"])
        .arg(manifest)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata {mode}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
