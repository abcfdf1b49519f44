//! `ekskit repl`, and a bare `ekskit` on a terminal.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::rehearsal::Rehearsal;
use super::start::{self, Front};
use super::{SessionFlags, rehearsal};
use crate::engine::on_big_stack;
use crate::error::{Exit, Result};
use crate::repl::activity::Activity;
use crate::repl::ask::AskEach;
use crate::repl::{Repl, Setup, Shared, World, editor};
use crate::session::Cancel;
use crate::sources::Sources;
use crate::twin::Twin;
use crate::ui::{self, Format, Progress, Style};

/// Flags of `repl`.
#[derive(Args, Debug, Default)]
pub struct Flags {
    #[command(flatten)]
    session: SessionFlags,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format, style: Style) -> Exit {
    match run(&flags.session, format, style) {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            start::report_error(&error, &Sources::default(), format, style);
            error.exit()
        }
    }
}

fn run(flags: &SessionFlags, format: Format, style: Style) -> Result<bool> {
    let given = start::given(flags)?;
    let cancel = Cancel::default();
    let (progress, activity) = (Arc::new(Progress::new(style)), Arc::new(Activity::default()));
    let ask = Arc::new(AskEach::new(&progress, &activity, &cancel));
    let front = Front {
        sinks: vec![activity.clone(), progress.clone()],
        approve: ask.clone(),
        cancel,
        asks_in_rehearsals: true,
    };
    let started = start::start_with(flags, Path::new("."), true, front)?;
    let begun = started.session.cloud.clock.now();
    let world =
        started.rehearsal.as_ref().map(|rehearsal| Arc::new(Simulated(rehearsal.twin.clone())) as Arc<dyn World>);
    let setup = Setup {
        session: started.session.clone(),
        sources: started.sources.clone(),
        progress,
        activity,
        ask,
        given,
        world,
        format,
        timeout: flags.timeout,
    };
    let well = on_big_stack(|| {
        let mut repl = Repl::new(setup)?;
        listen(&started.runtime, repl.shared());
        editor::run(&mut repl, style.color)
    })
    .and_then(|well| well);
    let written = started.rehearsal.as_ref().map_or(Ok(()), Rehearsal::finish);
    if let Some(rehearsal) = &started.rehearsal {
        let clock = &started.session.cloud.clock;
        started.report.rehearsed(clock.since(begun), rehearsal.twin.critical_path(begun));
        ui::note(&started.report.rehearsal());
    }
    // A read in the background must not keep the program alive.
    started.runtime.shutdown_background();
    rehearsal::ended(well, written)
}

/// Ctrl-C that comes as a signal stops the line that runs; a termination leaves the terminal as it was found.
fn listen(runtime: &tokio::runtime::Runtime, shared: &Arc<Shared>) {
    let own = shared.clone();
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            // Who feeds lines through a pipe has no prompt to come back to.
            if !own.interrupt() && !ui::on_terminal() {
                ui::exit_now(Exit::Cancelled);
            }
        }
    });
    #[cfg(unix)]
    runtime.spawn(async {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate())
            && terminate.recv().await.is_some()
        {
            ui::leave_now(Exit::Cancelled);
        }
    });
}

/// The world of a rehearsal.
struct Simulated(Twin);

impl World for Simulated {
    fn summary(&self) -> Result<Value> {
        let world = self.0.world();
        let mut summary = json!({ "now": world.now.to_string(), "account": world.account, "region": world.region });
        for (table, count) in world.counts() {
            summary[table] = json!(count);
        }
        Ok(summary)
    }

    fn write(&self, file: &Path) -> Result<()> {
        rehearsal::write(&self.0.world(), file)
    }
}
