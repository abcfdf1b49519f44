//! `ekskit eval 'EXPR'`.

use std::path::Path;

use clap::Args;

use super::{SessionFlags, start};
use crate::error::Exit;
use crate::sources::Sources;
use crate::ui::{Format, Style};

/// Flags of `eval`.
#[derive(Args, Debug)]
pub struct Flags {
    /// One or more statements; the value of the last is printed
    #[arg(value_name = "EXPR")]
    expr: String,
    #[command(flatten)]
    session: SessionFlags,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format, style: Style) -> Exit {
    let begun = start::given(&flags.session)
        .and_then(|given| Ok((given, start::start(&flags.session, Path::new("."), true, style)?)));
    match begun {
        Ok((given, started)) => start::go(started, "", &flags.expr, &given, format, style),
        Err(error) => {
            start::report_error(&error, &Sources::default(), format, style);
            error.exit()
        }
    }
}
