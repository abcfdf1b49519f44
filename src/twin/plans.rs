//! What will be so later, in the order in which it will come true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::world::Transition;

/// Transitions that are planned, by time and by thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Transition>", into = "Vec<Transition>")]
pub struct Plans {
    due: BTreeSet<Arc<Transition>>,
    /// By table and id.
    of: BTreeMap<(String, String), Vec<Arc<Transition>>>,
}

impl From<Vec<Transition>> for Plans {
    fn from(all: Vec<Transition>) -> Plans {
        let mut plans = Plans::default();
        all.into_iter().for_each(|planned| plans.add(planned));
        plans
    }
}

impl From<Plans> for Vec<Transition> {
    fn from(plans: Plans) -> Vec<Transition> {
        plans.due.iter().map(|planned| (**planned).clone()).collect()
    }
}

fn place(table: &str, id: &str) -> (String, String) {
    (table.to_owned(), id.to_owned())
}

impl Plans {
    /// Plans this, too.
    pub fn add(&mut self, planned: Transition) {
        let planned = Arc::new(planned);
        self.of.entry(place(&planned.table, &planned.id)).or_default().push(planned.clone());
        self.due.insert(planned);
    }

    /// What comes first.
    pub fn first(&self) -> Option<&Transition> {
        self.due.first().map(|planned| &**planned)
    }

    /// Takes what comes first.
    pub fn take_first(&mut self) -> Option<Transition> {
        let first = self.due.pop_first()?;
        let at = place(&first.table, &first.id);
        if let Some(others) = self.of.get_mut(&at) {
            others.retain(|other| other.order != first.order || other.at != first.at);
            if others.is_empty() {
                self.of.remove(&at);
            }
        }
        Some(Arc::unwrap_or_clone(first))
    }

    /// What is planned for a thing.
    pub fn of(&self, table: &str, id: &str) -> impl Iterator<Item = &Transition> {
        self.of.get(&place(table, id)).into_iter().flatten().map(|planned| &**planned)
    }

    /// Drops what is planned for a thing.
    pub fn forget(&mut self, table: &str, id: &str) {
        for planned in self.of.remove(&place(table, id)).unwrap_or_default() {
            self.due.remove(&planned);
        }
    }

    /// Keeps only some.
    pub fn retain(&mut self, keep: impl Fn(&Transition) -> bool) {
        self.due.retain(|planned| keep(planned));
        self.of.retain(|_, planned| {
            planned.retain(|one| keep(one));
            !planned.is_empty()
        });
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Transition> {
        self.due.iter().map(|planned| &**planned)
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}
