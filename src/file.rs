//! Reads files that an operator names, and writes files: whole or not at all.

use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use crate::error;

/// Who may read a file that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only who runs the program, also where the file was there and others could read it.
    Owner,
    /// Whoever may read other files that are made; a file that was there keeps its readers.
    Usual,
}

/// The text of a file that the command line names.
pub fn read_named(path: &Path) -> error::Result<String> {
    let shown = path.display();
    std::fs::read_to_string(path).map_err(|failure| match failure.kind() {
        ErrorKind::NotFound => error::Error::usage(format!("file `{shown}` does not exist")),
        ErrorKind::InvalidData => error::Error::usage(format!("file `{shown}` is not UTF-8 text")),
        _ => error::Error::usage(format!("file `{shown}` can not be read: {failure}")),
    })
}

/// Puts a text in the place of a file in one go: whoever reads it meanwhile sees all of the old one or all of the new
/// one. A link is followed, so that it is the file behind it that is replaced. The folder has to be there.
pub fn write_whole(path: &Path, text: &str, readers: Readers) -> Result<()> {
    let path = behind_links(path)?;
    if path.is_dir() {
        return Err(Error::other("it is a folder"));
    }
    // Made in the same folder, so that the rename is atomic; nobody else can read it before it has its name.
    let mut file = tempfile::Builder::new().prefix(".ekskit-").tempfile_in(folder_of(&path))?;
    file.write_all(text.as_bytes())?;
    if readers == Readers::Usual {
        let usual = std::fs::metadata(&path).map(|old| old.permissions()).or_else(|_| usual(folder_of(&path)))?;
        file.as_file().set_permissions(usual)?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether a file could be written here, without writing it: what takes long should not fail at its end.
pub fn can_write(path: &Path) -> Result<()> {
    let path = behind_links(path)?;
    if path.is_dir() {
        return Err(Error::other("it is a folder"));
    }
    tempfile::Builder::new().prefix(".ekskit-").tempfile_in(folder_of(&path)).map(drop)
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The permissions of a file that is just made: only the system knows them.
fn usual(folder: &Path) -> Result<std::fs::Permissions> {
    let made = tempfile::Builder::new().prefix(".ekskit-").make_in(folder, |path| std::fs::File::create_new(path))?;
    Ok(made.as_file().metadata()?.permissions())
}

/// The file that a path leads to, also where it does not exist yet.
pub fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // Bounded, as the system's own limit is.
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(Error::other("its links lead in a circle"))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_readable_as_others_are_unless_it_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("any"), "").unwrap();
        write_whole(&path("shared"), "a", Readers::Usual).unwrap();
        assert_eq!(mode(&path("shared")), mode(&path("any")));
        std::fs::set_permissions(path("shared"), std::fs::Permissions::from_mode(0o640)).unwrap();
        write_whole(&path("shared"), "b", Readers::Usual).unwrap();
        assert_eq!(mode(&path("shared")), 0o640);
        write_whole(&path("own"), "a", Readers::Owner).unwrap();
        assert_eq!(mode(&path("own")), 0o600);
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 3, "nothing is left behind");
    }

    #[test]
    fn a_link_stays_one_and_what_can_not_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("behind", path("link")).unwrap();
        write_whole(&path("link"), "a", Readers::Usual).unwrap();
        assert!(path("link").is_symlink());
        assert_eq!(std::fs::read_to_string(path("behind")).unwrap(), "a");
        assert!(can_write(&path("new")).is_ok() && !path("new").exists());
        assert!(can_write(folder.path()).is_err());
        assert!(can_write(&path("absent/new")).is_err());
    }
}
