//! What the running line is doing: the status line of slow calls, and what a statement changed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::event::{Effect, Event, Sink};
use crate::ui::Progress;
use crate::value::format_duration;

/// A line that takes longer than this shows what it waits for.
const SLOW: Duration = Duration::from_millis(400);

const REDRAW: Duration = Duration::from_millis(120);

const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "⠏", "⠋"];

#[derive(Default)]
struct Doing {
    calls: Vec<(u64, String, Instant)>,
    waiting: Option<String>,
    changes: Vec<String>,
    /// The operator is being asked: nothing may be drawn over the question.
    asking: bool,
}

/// A sink that remembers what is going on.
#[derive(Default)]
pub struct Activity(Mutex<Doing>);

impl Activity {
    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The mutating calls that changed something since the last time this was asked.
    pub fn take_changes(&self) -> Vec<String> {
        std::mem::take(&mut self.doing().changes)
    }

    /// A line begins: nothing of an earlier one is waited for.
    pub fn begin_line(&self) {
        *self.doing() = Doing::default();
    }

    /// Whether the operator is being asked.
    pub fn set_asking(&self, asking: bool) {
        self.doing().asking = asking;
    }

    fn status(&self, begun: Instant, turn: usize) -> Option<String> {
        let doing = self.doing();
        if doing.asking || begun.elapsed() < SLOW {
            return None;
        }
        let spinner = SPINNER[turn % SPINNER.len()];
        let took = format_duration(Duration::from_secs(begun.elapsed().as_secs()));
        let what = match (doing.calls.as_slice(), &doing.waiting) {
            ([], None) => "running".to_owned(),
            ([], Some(waiting)) => waiting.clone(),
            ([(_, call, _)], None) => call.clone(),
            ([(_, call, _)], Some(waiting)) => format!("{call}: {waiting}"),
            (many, _) => format!("{} and {} more", many[0].1, many.len() - 1),
        };
        Some(format!("{spinner} {what}  {took}, Ctrl-C stops it"))
    }
}

impl Sink for Activity {
    fn event(&self, event: &Event) {
        let mut doing = self.doing();
        match event {
            Event::Intent { call, binding, .. } => {
                doing.calls.push((*call, binding.clone(), Instant::now()));
            }
            Event::Outcome { call, binding, effect, changed, .. } => {
                doing.calls.retain(|(running, ..)| running != call);
                if *changed && *effect == Effect::Mutate {
                    doing.changes.push(binding.clone());
                }
            }
            Event::Waiting { subject, last } => doing.waiting = Some(format!("{subject} ({last})")),
            Event::StepEnded { .. } => doing.waiting = None,
            Event::Retry { error, .. } => doing.waiting = Some(format!("{error}, again soon")),
            _ => {}
        }
    }
}

/// Redraws the status line until it is dropped.
pub struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticker {
    /// Starts now.
    pub fn start(activity: &Arc<Activity>, progress: &Arc<Progress>) -> Ticker {
        let stop: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (activity, progress, over) = (activity.clone(), progress.clone(), stop.clone());
        let begun = Instant::now();
        let draw = move || {
            let (stopped, bell) = &*over;
            let mut stopped = stopped.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            for turn in 0.. {
                if *stopped {
                    break;
                }
                progress.show_status(activity.status(begun, turn).as_deref());
                let waited = bell.wait_timeout(stopped, REDRAW).unwrap_or_else(|poisoned| poisoned.into_inner());
                stopped = waited.0;
            }
            progress.show_status(None);
        };
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(draw).ok();
        Ticker { stop, thread }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (stopped, bell) = &*self.stop;
        *stopped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
