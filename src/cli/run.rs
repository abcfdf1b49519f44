//! `ekskit run FILE`.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use super::{Line, SessionFlags, start};
use crate::engine::params;
use crate::error::{Error, Exit, Result};
use crate::file::{folder_of, read_named};
use crate::sources::Sources;
use crate::ui::{self, Format, Style};

/// Flags of `run`.
#[derive(Args, Debug)]
pub struct Flags {
    /// The script
    #[arg(value_name = "FILE", required_unless_present = "help")]
    file: Option<PathBuf>,
    #[command(flatten)]
    session: SessionFlags,
    /// Shows the flags; with a FILE also its inputs
    #[arg(short, long)]
    help: bool,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format, style: Style) -> Exit {
    let sources = Sources::default();
    let begun = match &flags.file {
        None => help(None),
        Some(file) if flags.help => read(file).and_then(|text| help(Some((file, &text)))),
        Some(file) => return run(file, &flags.session, format, style),
    };
    match begun {
        Ok(()) => Exit::Done,
        Err(error) => {
            start::report_error(&error, &sources, format, style);
            error.exit()
        }
    }
}

fn run(file: &Path, flags: &SessionFlags, format: Format, style: Style) -> Exit {
    let begun = read(file).and_then(|text| {
        let given = start::given(flags)?;
        let folder = folder_of(file);
        Ok((text, given, start::start(flags, folder, false, style)?))
    });
    match begun {
        Ok((text, given, started)) => start::go(started, &file.display().to_string(), &text, &given, format, style),
        Err(error) => {
            start::report_error(&error, &Sources::default(), format, style);
            error.exit()
        }
    }
}

fn read(path: &Path) -> Result<String> {
    read_named(path).map_err(|error| {
        if path.exists() {
            return error;
        }
        let folder = folder_of(path);
        let names = scripts(folder);
        let typed = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let near = crate::error::suggest(typed, names.iter().map(String::as_str));
        error.maybe_hint(near.map(|name| format!("did you mean `{}`?", folder.join(name).display())))
    })
}

fn scripts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".rhai")).collect()
}

fn help(script: Option<(&Path, &str)>) -> Result<()> {
    let mut command = Line::command();
    command.build();
    let usage = command
        .find_subcommand_mut("run")
        .map(|run| run.render_help().to_string())
        .ok_or_else(|| Error::bug("`run` is not a command"))?;
    match script {
        None => ui::result(&usage),
        Some((file, text)) => {
            let script = start::look_at(&file.display().to_string(), text)?;
            ui::result(&format!("{}\n\n{}\n{usage}", script.header.trim(), params::help(&script.inputs)));
        }
    }
    Ok(())
}
