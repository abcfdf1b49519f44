//! What a run did, for `--output json` and for the summary line: a sink of events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::{Effect, Event, Sink};
use crate::value::format_duration;

/// Collects steps and calls.
#[derive(Default)]
pub struct Report(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    steps: Vec<Value>,
    calls: BTreeMap<String, u64>,
    changed: u64,
    virtual_time: Option<(Duration, CriticalPath)>,
}

/// The chain of things that took the time of a rehearsal, in order, and how long each took.
pub type CriticalPath = Vec<(String, Duration)>;

impl Report {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Successful mutating calls that changed something.
    pub fn changed(&self) -> u64 {
        self.counts().changed
    }

    /// Notes how long a rehearsal would have taken, and what took so long.
    pub fn rehearsed(&self, took: Duration, path: CriticalPath) {
        self.counts().virtual_time = Some((took, path));
    }

    /// What the operator reads at the end of a rehearsal.
    pub fn rehearsal(&self) -> String {
        let Some((took, path)) = self.counts().virtual_time.clone() else { return String::new() };
        let links: Vec<String> =
            path.iter().map(|(what, took)| format!("{what} ({})", format_duration(*took))).collect();
        let mut text = format!("rehearsed {} of virtual time", format_duration(took));
        if !links.is_empty() {
            text.push_str(&format!(
                "; its critical path, {}: {}",
                format_duration(path.iter().map(|(_, took)| *took).sum()),
                links.join(" → ")
            ));
        }
        text
    }

    /// Adds `steps`, `changed` and `calls` to the document of a run.
    pub fn add_to(&self, document: &mut Value) {
        let counts = self.counts();
        document["steps"] = Value::Array(counts.steps.clone());
        document["changed"] = json!(counts.changed);
        document["calls"] = json!(counts.calls);
        if let Some((took, path)) = &counts.virtual_time {
            document["virtual_seconds"] = json!(seconds(*took));
            let links = path.iter().map(|(what, took)| json!({ "what": what, "seconds": seconds(*took) }));
            document["critical_path"] = Value::Array(links.collect());
        }
    }
}

/// Seconds with their milliseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
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
                    "seconds": seconds(*took),
                }));
            }
            _ => {}
        }
    }
}
