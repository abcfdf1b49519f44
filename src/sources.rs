//! Texts of the scripts of a session, so that an error can show the line it is about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How names of embedded modules begin; an operator's own files never do, they are shown by their path.
pub const EMBEDDED: &str = "embedded:";

/// Texts of scripts by the name that places carry, for excerpts in errors.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<String, String>>>);

impl Sources {
    /// Remembers a text.
    pub fn insert(&self, source: &str, text: &str) {
        self.lock().insert(source.to_owned(), text.to_owned());
    }

    /// The text of a source.
    pub fn get(&self, source: &str) -> Option<String> {
        self.lock().get(source).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
