//! `ekskit doc [NAME]`.

use std::path::Path;

use clap::Args;

use super::start;
use crate::engine::{Interpreter, docs, on_big_stack};
use crate::error::{Error, Result};
use crate::project::Project;
use crate::sources::Sources;
use crate::ui::{self, Format};

/// Flags of `doc`.
#[derive(Args, Debug)]
pub struct Flags {
    /// A full name (`eks::create_cluster`), its last part, a namespace (`eks`, `vpc`), or a field
    /// (`eks::create_nodegroup.scaling_config`)
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Searches names, summaries and fields
    #[arg(long, value_name = "WORD", conflicts_with = "name")]
    find: Option<String>,
    /// Prints Markdown; without a name the whole reference
    #[arg(long)]
    markdown: bool,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format, no_color: bool) -> Result<()> {
    if flags.markdown && format == Format::Json {
        return Err(
            Error::usage("`--markdown` and `--output json` are two ways to print the same").hint("leave one out")
        );
    }
    let project = Project::of(Path::new("."))?;
    let reference = on_big_stack(|| {
        let (_runtime, session) = start::offline()?;
        docs::reference(Interpreter::for_reading(&session, &Sources::default())?.engine(), &project)
    })??;
    let topic = match &flags.find {
        Some(word) => reference.find(word),
        None => reference.topic(flags.name.as_deref())?,
    };
    match format {
        Format::Json => ui::document(&topic.to_json(&reference)),
        Format::Text if flags.markdown => ui::result(&reference.to_markdown(&topic)),
        Format::Text => ui::result(&reference.to_text(&topic, ui::look(no_color))),
    }
    Ok(())
}
