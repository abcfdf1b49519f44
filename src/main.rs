//! The command `ekskit`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ekskit::cli::main() as u8)
}
