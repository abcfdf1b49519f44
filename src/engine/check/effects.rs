//! What calls may do to the cloud: the effect of a script function is that of what it calls.

use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::Position;

use super::known::{Known, Module, Role};
use super::parsed::Key;
use super::rules;
use super::walk::{Frame, Walk};
use crate::catalog::Effect;
use crate::error::Error;

/// One call in a script.
pub struct Called {
    /// The function that it stands in; none: the script itself.
    pub owner: Option<Key>,
    /// As the script writes it.
    pub name: String,
    /// Where.
    pub at: Position,
    /// Inside of a step.
    pub in_step: bool,
    /// What is called.
    pub callee: Callee,
}

/// What a call leads to.
pub enum Callee {
    /// A function of the host.
    Host(Effect),
    /// A function of the same script.
    Own(Key),
    /// A function of an imported module.
    Module(Rc<Module>, Key),
}

impl Walk<'_> {
    /// Notes a call.
    pub(super) fn calls(&mut self, name: String, at: Position, callee: Callee) {
        let in_step = self.frames.iter().any(|frame| matches!(frame, Frame::Step(_)));
        self.called.push(Called { owner: self.owner.clone(), name, at, in_step, callee });
    }

    /// Changes of the cloud outside of any step.
    pub(super) fn mutations_outside_steps(&mut self) {
        if self.script.role != Role::Runbook || self.script.is_test() {
            return;
        }
        let called = std::mem::take(&mut self.called);
        let loose: Vec<(String, Position)> = called
            .iter()
            .filter(|call| call.owner.is_none() && !call.in_step)
            .filter(|call| may_change(self.known, &called, &call.callee, &mut BTreeSet::new()))
            .map(|call| (call.name.clone(), call.at))
            .collect();
        for (name, at) in loose {
            let error = Error::invalid(format!("`{name}` changes the cloud outside of any step"))
                .note("a step is what progress, reports and later a resumed run show")
                .hint(format!("put it in one: `step \"…\" {{ {name}(…) }}`"));
            self.report(&rules::MUTATION_OUTSIDE_STEP, error, at);
        }
    }
}

/// Whether a call changes the cloud outside of the steps inside of it.
fn may_change<'m>(
    known: &Known<'_>,
    here: &'m [Called],
    callee: &'m Callee,
    seen: &mut BTreeSet<(usize, Key)>,
) -> bool {
    let (calls, key) = match callee {
        Callee::Host(effect) => return *effect == Effect::Mutate,
        Callee::Own(key) => (here, key),
        Callee::Module(module, key) => (known.called(module), key),
    };
    if !seen.insert((calls.as_ptr() as usize, key.clone())) {
        return false;
    }
    let own = calls.iter().filter(|call| call.owner.as_ref() == Some(key) && !call.in_step);
    own.into_iter().any(|call| may_change(known, calls, &call.callee, seen))
}
