//! The question before each change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::activity::Activity;
use crate::error::Result;
use crate::session::{Approve, Cancel, nobody_to_ask, not_agreed};
use crate::ui::{self, Answer, Progress};

/// Asks before each mutating call: yes, no, or all of the line.
pub struct AskEach {
    progress: Arc<Progress>,
    activity: Arc<Activity>,
    cancel: Cancel,
    all: AtomicBool,
}

impl AskEach {
    /// Draws nothing over the question while it stands there.
    pub fn new(progress: &Arc<Progress>, activity: &Arc<Activity>, cancel: &Cancel) -> AskEach {
        let (progress, activity) = (progress.clone(), activity.clone());
        AskEach { progress, activity, cancel: cancel.clone(), all: AtomicBool::new(false) }
    }

    /// The next line is asked for anew.
    pub fn begin_line(&self) {
        self.all.store(false, Ordering::Relaxed);
    }
}

impl Approve for AskEach {
    fn asks_each_call(&self) -> bool {
        true
    }

    fn approve(&self, facts: &[(String, String)]) -> Result<()> {
        if self.all.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !ui::on_terminal() {
            return Err(nobody_to_ask().note("nobody sits at a terminal who could be asked"));
        }
        self.activity.set_asking(true);
        self.progress.show_status(None);
        let answer = ui::ask(facts, self.progress.style(), || self.cancel.is_cancelled());
        self.activity.set_asking(false);
        match answer {
            Answer::Yes => Ok(()),
            Answer::All => {
                self.all.store(true, Ordering::Relaxed);
                Ok(())
            }
            Answer::No => Err(not_agreed()),
        }
    }
}
