//! The command line: file = subcommand. A flag that is not built does not exist.

pub mod check;
pub mod doc;
pub mod eval;
pub mod kubeconfig;
pub mod rehearsal;
pub mod repl;
pub mod run;
pub mod start;
pub mod token;
pub mod twin;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{Exit, Result};
use crate::ui::{self, Format, Style};

/// Editable runbooks against AWS EKS, EC2 and Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "ekskit", version, max_term_width = 110)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    /// How the result is printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// Shows every call, and every frame of an error
    #[arg(long, global = true)]
    verbose: bool,
    /// No colours
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a script
    #[command(disable_help_flag = true)]
    Run(run::Flags),
    /// Evaluates an expression and prints its value
    Eval(eval::Flags),
    /// Tells what is wrong with scripts, without running them
    Check(check::Flags),
    /// Opens the prompt: the same calls, line by line; so does a bare `ekskit` on a terminal
    Repl(repl::Flags),
    /// Shows what can be called: everything, or one name
    Doc(doc::Flags),
    /// Prints a token for a cluster, as kubectl's exec plugins do
    Token(token::Flags),
    /// Writes a cluster into the kubeconfig file, with `ekskit token` to log in
    Kubeconfig(kubeconfig::Flags),
    /// Serves a simulated cluster
    Twin(twin::Flags),
}

/// Flags of every session.
#[derive(Args, Clone, Debug, Default)]
pub struct SessionFlags {
    /// Refuses every call that changes something
    #[arg(long)]
    pub read_only: bool,
    /// Changes without asking
    #[arg(long)]
    pub yes: bool,
    /// Sets an input
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Reads inputs from a YAML file; later files win
    #[arg(long, value_name = "FILE")]
    pub values: Vec<std::path::PathBuf>,
    /// Account, role and region.
    #[command(flatten)]
    pub target: TargetFlags,
    /// Reaches Kubernetes by this file instead of by what EKS says
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// A context of the kubeconfig other than the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Rehearses on a simulated cloud, in virtual time: no account, no network
    #[arg(long)]
    pub rehearse: bool,
    /// Rehearses on the world of this file
    #[arg(long, value_name = "FILE")]
    pub world: Option<std::path::PathBuf>,
    /// Writes the world to this file when the rehearsal is over
    #[arg(long, value_name = "FILE")]
    pub world_out: Option<std::path::PathBuf>,
    /// Where all that looks random in a rehearsal comes from
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// What goes wrong in a rehearsal
    #[arg(long, value_name = "FILE")]
    pub faults: Option<std::path::PathBuf>,
    /// Ends the run after this long, such as 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<std::time::Duration>,
}

/// Which account, role and region.
#[derive(Args, Clone, Debug, Default)]
pub struct TargetFlags {
    /// AWS region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Profile of the AWS configuration files
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Role to assume
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
}

impl TargetFlags {
    /// As the cloud knows it.
    pub fn target(&self) -> crate::cloud::Target {
        crate::cloud::Target {
            region: self.region.clone(),
            profile: self.profile.clone(),
            role_arn: self.role_arn.clone(),
        }
    }
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    crate::value::parse_duration(text).map_err(|error| error.to_string())
}

/// Runs the program and answers its exit code.
pub fn main() -> Exit {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(failure) => return wrong_line(&failure),
    };
    let style = Style::new(line.verbose, line.no_color, line.output == Format::Json);
    let Some(command) = line.command.or_else(|| ui::on_terminal().then(|| Command::Repl(repl::Flags::default())))
    else {
        ui::note(Line::command().render_help().to_string().trim_end());
        return Exit::Usage;
    };
    let ended = match command {
        Command::Repl(flags) => return repl::main(&flags, line.output, style),
        Command::Run(flags) => return run::main(&flags, line.output, style),
        Command::Eval(flags) => return eval::main(&flags, line.output, style),
        Command::Check(flags) => match check::main(&flags, line.output, style) {
            Ok(exit) => return exit,
            Err(error) => Err(error),
        },
        Command::Doc(flags) => doc::main(&flags, line.output, line.no_color),
        Command::Token(flags) => token::main(&flags),
        Command::Kubeconfig(flags) => kubeconfig::main(&flags, line.output),
        Command::Twin(flags) => twin::main(&flags, line.output),
    };
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            start::report_error(&error, &Default::default(), line.output, style);
            error.exit()
        }
    }
}

/// Help and version are no errors; everything else is wrong usage.
fn wrong_line(failure: &clap::Error) -> Exit {
    let text = failure.render().to_string();
    if failure.use_stderr() {
        ui::note(text.trim_end());
        Exit::Usage
    } else {
        ui::result(&text);
        Exit::Done
    }
}
