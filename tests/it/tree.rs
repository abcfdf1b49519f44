//! The files of this repository.

use std::path::{Path, PathBuf};

/// Its folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension in a folder and those below it, sorted; a test that finds none tests nothing.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let found = files_if_any(folder, extension);
    assert!(!found.is_empty(), "no .{extension} files in {folder}");
    found
}

/// The same where there may be none, nor the folder.
pub fn files_if_any(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A file as one writes it from the repository's folder.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}
