//! Where a thread of the script stands: its step, and the account its calls go to.
//!
//! The engine evaluates a script on one thread and each branch of `parallel` on its own, so this belongs to the thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cloud::Target;

/// Step path and target of the current thread.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// Names down to the step, joined by ` / `; empty outside any.
    pub step: String,
    /// What `aws::using` says on top of the command line.
    pub target: Target,
    /// Counters of the changes in each step around, the outermost first.
    pub changes: Vec<Arc<AtomicUsize>>,
}

impl Here {
    /// Inside a step of this path.
    pub fn step_into(&self, path: &str) -> Here {
        let mut inside = self.clone();
        inside.step = path.to_owned();
        inside.changes.push(Arc::default());
        inside
    }

    /// The counter of the innermost step.
    pub fn own_changes(&self) -> Arc<AtomicUsize> {
        self.changes.last().cloned().unwrap_or_default()
    }

    /// Counts a change in every step around.
    pub fn count_change(&self) {
        for counter in &self.changes {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

/// A copy of where this thread stands.
pub fn get() -> Here {
    HERE.with_borrow(Clone::clone)
}

/// Stands somewhere else until the guard is dropped.
#[must_use]
pub fn enter(here: Here) -> Guard {
    Guard { before: HERE.with_borrow_mut(|slot| std::mem::replace(slot, here)) }
}

/// Goes back when dropped.
pub struct Guard {
    before: Here,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let before = std::mem::take(&mut self.before);
        HERE.with_borrow_mut(|slot| *slot = before);
    }
}
