//! What a run did, for `--output json` and for the summary line: a sink of events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::event::{Effect, Event, Sink};

/// Collects steps and calls.
#[derive(Default)]
pub struct Report(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    steps: Vec<Value>,
    calls: BTreeMap<String, u64>,
    changed: u64,
}

impl Report {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Successful mutating calls that changed something.
    pub fn changed(&self) -> u64 {
        self.counts().changed
    }

    /// Adds `steps`, `changed` and `calls` to the document of a run.
    pub fn add_to(&self, document: &mut Value) {
        let counts = self.counts();
        document["steps"] = Value::Array(counts.steps.clone());
        document["changed"] = json!(counts.changed);
        document["calls"] = json!(counts.calls);
    }
}

impl Sink for Report {
    fn event(&self, event: &Event) {
        match event {
            Event::Outcome { binding, effect, changed, .. } => {
                let mut counts = self.counts();
                let service = binding.split("::").next().unwrap_or(binding).to_owned();
                *counts.calls.entry(service).or_default() += 1;
                counts.changed += u64::from(*changed && *effect == Effect::Mutate);
            }
            Event::StepEnded { path, name, changed, took, error } => {
                self.counts().steps.push(json!({
                    "name": name,
                    "path": path,
                    "outcome": error.as_ref().map_or("done", |error| error.kind().name()),
                    "changed": changed,
                    "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
                }));
            }
            _ => {}
        }
    }
}
