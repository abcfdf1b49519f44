//! `--rehearse` and its companions: a twin instead of the real cloud.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::SessionFlags;
use crate::error::{Error, Result};
use crate::twin::faults::Faults;
use crate::twin::world::World;
use crate::twin::{Twin, run_id};

/// A twin, and what becomes of its world.
pub struct Rehearsal {
    /// The simulated cloud.
    pub twin: Twin,
    /// The id of this run in it.
    pub run: String,
    out: Option<PathBuf>,
}

/// The rehearsal that the flags ask for; `None`: it is for real.
pub fn of(flags: &SessionFlags) -> Result<Option<Rehearsal>> {
    if !flags.rehearse && flags.world.is_none() {
        let stray = [
            ("--world-out", flags.world_out.is_some()),
            ("--seed", flags.seed.is_some()),
            ("--faults", flags.faults.is_some()),
        ];
        return match stray.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Error::usage(format!("`{flag}` is for rehearsals only"))
                .hint("add `--rehearse`, or leave the flag out")),
            None => Ok(None),
        };
    }
    if let Some(path) = &flags.kubeconfig {
        return Err(Error::usage(format!("a rehearsal does not use the kubeconfig `{}`", path.display()))
            .hint("leave out `--kubeconfig`: clusters of the world are found by their names"));
    }
    let world = world(flags.world.as_deref(), flags.seed, flags.faults.as_deref())?;
    let run = run_id(&world);
    Ok(Some(Rehearsal { twin: Twin::new(world), run, out: flags.world_out.clone() }))
}

/// The world of a file, else the default one.
pub fn world(file: Option<&Path>, seed: Option<u64>, faults: Option<&Path>) -> Result<World> {
    let mut world = match file {
        Some(path) => World::parse(&read(path)?).map_err(|error| named(error, path))?,
        None => World::new(1)?,
    };
    if let Some(seed) = seed {
        world.seed = seed;
    }
    if let Some(path) = faults {
        world.faults = Faults::parse(&read(path)?).map_err(|error| named(error, path))?;
    }
    Ok(world)
}

/// Writes a world: whole or not at all, and for nobody else's eyes, because it may hold Secrets.
pub fn write(world: &World, path: &Path) -> Result<()> {
    let text = world.to_yaml()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    });
    written
        .map(|_| ())
        .map_err(|error| Error::failed(format!("the world can not be written to `{}`: {error}", path.display())))
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!("file `{shown}` does not exist")),
        std::io::ErrorKind::InvalidData => Error::usage(format!("file `{shown}` is not UTF-8 text")),
        _ => Error::usage(format!("file `{shown}` can not be read: {error}")),
    })
}

fn named(error: Error, path: &Path) -> Error {
    Error::usage(format!("`{}`: {error}", path.display()))
}

impl Rehearsal {
    /// Writes the world where it was asked for.
    pub fn finish(&self) -> Result<()> {
        self.out.as_deref().map_or(Ok(()), |path| write(&self.twin.world(), path))
    }
}
