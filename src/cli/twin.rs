//! `ekskit twin serve`: the Kubernetes API of a cluster of a world, on loopback, for kubectl and every other client.
//!
//! TLS with an authority that is made at the start, bearer tokens, virtual time that follows the wall clock. AWS is not
//! served: whoever wants a cluster that EKS made rehearses a runbook first and serves the world that it wrote.

mod credentials;
mod serve;

use clap::{Args, Subcommand};

use crate::error::Result;
use crate::ui::Format;

/// `ekskit twin …`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Serves the Kubernetes API of a simulated cluster on loopback
    Serve(serve::Flags),
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format) -> Result<()> {
    match &flags.command {
        Command::Serve(flags) => serve::main(flags, format),
    }
}
