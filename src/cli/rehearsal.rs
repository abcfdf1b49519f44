//! `--rehearse` and its companions: a twin instead of the real cloud.

use std::path::{Path, PathBuf};

use super::SessionFlags;
use crate::error::{Error, Result};
use crate::file::{self, Readers};
use crate::twin::faults::Faults;
use crate::twin::world::World;
use crate::twin::{Twin, no_kubeconfig, run_id};

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
        return Err(no_kubeconfig(path));
    }
    can_write(flags.world_out.as_deref())?;
    let world = world(flags.world.as_deref(), flags.seed, flags.faults.as_deref())?;
    let run = run_id(&world);
    Ok(Some(Rehearsal { twin: Twin::new(world), run, out: flags.world_out.clone() }))
}

/// The world of a file, else the default one.
pub fn world(file: Option<&Path>, seed: Option<u64>, faults: Option<&Path>) -> Result<World> {
    let mut world = match file {
        Some(path) => World::parse(&file::read_named(path)?).map_err(|error| named(error, path))?,
        None => World::new(1)?,
    };
    if let Some(seed) = seed {
        world.seed = seed;
    }
    if let Some(path) = faults {
        world.faults = Faults::parse(&file::read_named(path)?).map_err(|error| named(error, path))?;
    }
    Ok(world)
}

/// Writes a world: whole or not at all, and for nobody else's eyes, because it may hold Secrets.
pub fn write(world: &World, path: &Path) -> Result<()> {
    let text = world.to_yaml()?;
    file::write_whole(path, &text, Readers::Owner).map_err(|error| unwritable(path, &error))
}

/// Refuses a place where a world could not be written: a rehearsal may be long, and its world exists only in memory.
pub fn can_write(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    file::can_write(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("the world can not be written to `{}`: {error}", path.display()))
}

fn named(error: Error, path: &Path) -> Error {
    Error::usage(format!("`{}`: {error}", path.display()))
}

/// What a run ended with, and whether its world was written: where both failed, both are told.
pub fn ended<T>(result: Result<T>, written: Result<()>) -> Result<T> {
    match (result, written) {
        (Ok(_), Err(unwritten)) => Err(unwritten),
        (Err(error), Err(unwritten)) => Err(error.note(unwritten.to_string())),
        (result, Ok(())) => result,
    }
}

impl Rehearsal {
    /// Writes the world where it was asked for.
    pub fn finish(&self) -> Result<()> {
        self.out.as_deref().map_or(Ok(()), |path| write(&self.twin.world(), path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_that_was_not_written_is_told_beside_what_failed() {
        let unwritten = || Err(Error::failed("the world can not be written"));
        let told = ended::<()>(Err(Error::not_found("cluster", "prod")), unwritten()).unwrap_err();
        assert_eq!(told.kind(), crate::error::Kind::NotFound);
        assert_eq!(told.facts().notes, ["the world can not be written"]);
        assert_eq!(ended(Ok(1), unwritten()).unwrap_err().to_string(), "the world can not be written");
        assert_eq!(ended(Ok(1), Ok(())).unwrap(), 1);
    }
}
