//! The project: the folder that a team keeps its runbooks in, and what its `ekskit.yaml` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// The settings file of a project.
pub const SETTINGS_FILE: &str = "ekskit.yaml";

/// Where scripts may import and read from, and under which rules they run.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Absolute; none outside any project.
    pub root: Option<PathBuf>,
    /// What `ekskit.yaml` says.
    pub settings: Settings,
}

/// `ekskit.yaml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The only accounts that may be changed; empty: any.
    pub accounts: Vec<String>,
    /// Tags that every create gets.
    pub default_tags: BTreeMap<String, String>,
    /// Path under which stdlib makes IAM roles.
    pub role_path: Option<String>,
    /// ARN of the policy that bounds every role that stdlib makes.
    pub permissions_boundary: Option<String>,
    /// Region where neither flag nor environment names one.
    pub region: Option<String>,
}

impl Project {
    /// The project of a folder: the nearest parent with `ekskit.yaml`, `stdlib/` or `.git`.
    pub fn of(folder: &Path) -> Result<Project> {
        let folder = folder
            .canonicalize()
            .map_err(|error| Error::usage(format!("folder `{}` can not be read: {error}", folder.display())))?;
        let is_root = |path: &&Path| {
            path.join(SETTINGS_FILE).is_file() || path.join("stdlib").is_dir() || path.join(".git").exists()
        };
        // Without any mark the folder itself is as far as scripts may read.
        let root = folder.ancestors().find(is_root).unwrap_or(&folder).to_path_buf();
        let settings = read_settings(&root.join(SETTINGS_FILE))?;
        Ok(Project { root: Some(root), settings })
    }

    /// Where the project's own module of this name would stand.
    pub fn module(&self, name: &str) -> Option<PathBuf> {
        self.root.as_ref().map(|root| root.join("stdlib").join(format!("{name}.rhai")))
    }

    /// The project's own modules by name.
    pub fn modules(&self) -> BTreeMap<String, PathBuf> {
        let Some(files) = self.root.as_ref().and_then(|root| std::fs::read_dir(root.join("stdlib")).ok()) else {
            return BTreeMap::new();
        };
        let paths = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let scripts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rhai"));
        scripts.filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path))).collect()
    }

    /// The path of a file as the operator would write it: relative to the project where it lies inside.
    pub fn show(&self, path: &Path) -> String {
        let inside = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        inside.unwrap_or(path).display().to_string()
    }
}

fn read_settings(path: &Path) -> Result<Settings> {
    if !path.is_file() {
        return Ok(Settings::default());
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("`{}` can not be read: {error}", path.display())))?;
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    serde_yaml::from_str(&text).map_err(|error| {
        Error::usage(format!("`{}` is not valid: {error}", path.display()))
            .note("its keys are `accounts`, `default_tags`, `role_path`, `permissions_boundary` and `region`")
            .hint("account ids are texts: write `\"012345678901\"` with quotes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_marked_parent_is_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(folder.path().join("a").join(SETTINGS_FILE), "accounts: [\"012345678901\"]").unwrap();
        let project = Project::of(&inner).unwrap();
        assert_eq!(project.root.unwrap(), folder.path().canonicalize().unwrap().join("a"));
        assert_eq!(project.settings.accounts, ["012345678901"]);
    }

    #[test]
    fn a_wrong_key_in_the_settings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SETTINGS_FILE), "acounts: []").unwrap();
        let error = Project::of(folder.path()).unwrap_err();
        assert!(error.to_string().contains("acounts"), "{error}");
        assert!(error.facts().usage);
    }
}
