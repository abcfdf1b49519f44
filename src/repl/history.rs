//! What was typed, kept for the next session of the same project, without what must not be kept.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result as Outcome, SearchQuery,
};
use sha2::{Digest, Sha256};

use super::secrecy::has_secret;
use crate::project::Project;

/// Lines that are kept.
const LINES_MAX: usize = 5_000;

/// A longer one is a paste, which nobody searches the history for.
const LINE_MAX: usize = 20_000;

/// The history file of a project: under `$XDG_STATE_HOME/ekskit`, named after its folder.
pub fn file_of(project: &Project) -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    let state = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    let root = project.root.clone().or_else(|| std::env::current_dir().ok())?;
    let name = root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let hash = Sha256::digest(root.to_string_lossy().as_bytes());
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Some(state.join("ekskit").join("history").join(format!("{name}-{hash}")))
}

/// Opens the history; also tells what went wrong. A broken file is set aside, and the session has a history all the same.
pub fn open(file: Option<PathBuf>) -> (Box<dyn History>, Option<String>) {
    let Some(file) = file else {
        return (Box::new(Discreet(in_memory())), None);
    };
    let opened = own_folder(&file).and_then(|()| with_file(&file));
    let why = match opened {
        Ok(history) => return (Box::new(Discreet(history)), None),
        Err(why) => why,
    };
    let broken = file.with_extension("broken");
    if file.is_file()
        && std::fs::rename(&file, &broken).is_ok()
        && let Ok(history) = with_file(&file)
    {
        let said = format!("the history could not be read ({why}); it was set aside as `{}`", broken.display());
        return (Box::new(Discreet(history)), Some(said));
    }
    let said = format!("the history `{}` can not be used: {why}; lines are kept for this session only", file.display());
    (Box::new(Discreet(in_memory())), Some(said))
}

fn in_memory() -> FileBackedHistory {
    FileBackedHistory::default()
}

fn with_file(file: &Path) -> std::result::Result<FileBackedHistory, String> {
    let history = FileBackedHistory::with_file(LINES_MAX, file.to_path_buf()).map_err(|error| error.to_string())?;
    for_own_eyes(file, 0o600).map_err(|error| error.to_string())?;
    Ok(history)
}

fn own_folder(file: &Path) -> std::result::Result<(), String> {
    let Some(folder) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder).and_then(|()| for_own_eyes(folder, 0o700)).map_err(|error| error.to_string())
}

/// Names of clusters and accounts are nobody else's business.
#[cfg(unix)]
fn for_own_eyes(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn for_own_eyes(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}

/// A history that does not keep lines with secrets in them.
struct Discreet(FileBackedHistory);

impl History for Discreet {
    fn save(&mut self, item: HistoryItem) -> Outcome<HistoryItem> {
        if item.command_line.len() > LINE_MAX || has_secret(&item.command_line) {
            return Ok(item);
        }
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Outcome<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Outcome<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Outcome<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Outcome<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Outcome<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Outcome<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_history_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history").join("team-1");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"\xff\xfe\x00 not text").unwrap();
        let (mut history, said) = open(Some(file.clone()));
        assert!(said.unwrap().contains("set aside"));
        history.save(HistoryItem::from_command_line("1 + 1")).unwrap();
        history.save(HistoryItem::from_command_line("let password = \"hunter2\"")).unwrap();
        history.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1 + 1\n");
        assert!(file.with_extension("broken").is_file());
    }
}
