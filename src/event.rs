//! What happened in a session. Progress, report and journal are sinks of the same events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Place};

/// What a binding may do to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: neither reads nor writes.
    Pure,
    /// Looks.
    Read,
    /// Changes.
    Mutate,
}

impl Effect {
    /// The word in docs.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Pure => "pure",
            Effect::Read => "read",
            Effect::Mutate => "mutate",
        }
    }
}

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth acting on.
    Warn,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A step begins.
    StepStarted {
        /// Names down to it, joined by ` / `, with branch and occurrence.
        path: String,
    },
    /// A step ended.
    StepEnded {
        /// As when it began.
        path: String,
        /// Its own name.
        name: String,
        /// Mutating calls in it that succeeded.
        changed: usize,
        /// How long it took, on the session's clock.
        took: Duration,
        /// Why it failed, where it did.
        error: Option<Error>,
    },
    /// A binding is about to run on the cloud. Secrets in the arguments are already hidden.
    Intent {
        /// Number of the call in the session, from 1.
        call: u64,
        /// `eks::create_cluster`.
        binding: String,
        /// What it may do.
        effect: Effect,
        /// Arguments, secrets hidden.
        arguments: Value,
        /// The step it belongs to; empty outside one.
        step: String,
        /// Where in the script.
        at: Option<Place>,
    },
    /// It answered.
    Outcome {
        /// As in the intent.
        call: u64,
        /// As in the intent.
        binding: String,
        /// As in the intent.
        effect: Effect,
        /// Whether the cloud is different now.
        changed: bool,
        /// How long it took, retries included.
        took: Duration,
        /// Why it failed, where it did.
        error: Option<Error>,
        /// The step it belongs to.
        step: String,
    },
    /// A call is sent again after a pause.
    Retry {
        /// Which call.
        binding: String,
        /// The answer that led to it.
        error: Error,
        /// The pause.
        pause: Duration,
    },
    /// Something is waited for.
    Waiting {
        /// For what, in words.
        subject: String,
        /// What was seen last.
        last: String,
    },
    /// A message to the operator.
    Message {
        /// How loud.
        level: Level,
        /// The text.
        text: String,
    },
    /// The script printed this.
    Print {
        /// The text.
        text: String,
    },
    /// A read that nobody asked for, such as the names of clusters for completion. No sink shows it.
    Background(Box<Event>),
}

/// Takes events as they happen.
pub trait Sink: Send + Sync {
    /// Called in order, from whichever thread it happens on.
    fn event(&self, event: &Event);
}

/// The sinks of a session.
#[derive(Clone, Default)]
pub struct Events(Arc<Vec<Arc<dyn Sink>>>);

impl Events {
    /// To these sinks.
    pub fn to(sinks: Vec<Arc<dyn Sink>>) -> Events {
        Events(Arc::new(sinks))
    }

    /// Tells every sink.
    pub fn emit(&self, event: Event) {
        for sink in self.0.iter() {
            sink.event(&event);
        }
    }

    /// A message to the operator.
    pub fn message(&self, level: Level, text: impl Into<String>) {
        self.emit(Event::Message { level, text: text.into() });
    }
}

/// Remembers all events: for tests, and for reports made at the end.
#[derive(Default)]
pub struct Record(Mutex<Vec<Event>>);

impl Record {
    /// What was recorded so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Sink for Record {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(event.clone());
    }
}
