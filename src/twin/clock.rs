//! One baton: of the threads that run branches of a rehearsal, only the one that holds it runs. It is handed on where
//! somebody sleeps, and nowhere else, to whoever wakes first; so the same script does the same in every rehearsal,
//! whatever the machine does meanwhile.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::world::World;
use crate::cloud::Fork;

thread_local! {
    /// Which branch this thread runs; the script itself is 0.
    static BRANCH: Cell<u64> = const { Cell::new(0) };
}

/// What a branch that does not run waits for.
#[derive(Debug)]
enum Waits {
    /// A time; `u64`: among those of the same time, first come first served.
    Until(Timestamp, u64),
    /// So many branches of its own.
    For(usize),
}

#[derive(Debug)]
struct Turns {
    holder: Option<u64>,
    waiting: BTreeMap<u64, Waits>,
    parents: BTreeMap<u64, u64>,
    next_branch: u64,
    next_place: u64,
}

/// The world and whose turn it is.
pub struct Baton {
    world: Mutex<World>,
    turns: Mutex<Turns>,
    passed: Condvar,
    changes: watch::Sender<u64>,
}

/// The world in somebody's hands. Whoever waits for changes is told when it is put down changed.
pub struct Held<'a> {
    world: MutexGuard<'a, World>,
    changes: &'a watch::Sender<u64>,
}

impl Deref for Held<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let now = self.world.version();
        self.changes.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

impl Baton {
    /// Of this world; the thread that calls first holds it.
    pub fn new(world: World) -> Baton {
        let turns = Turns {
            holder: Some(0),
            waiting: BTreeMap::new(),
            parents: BTreeMap::new(),
            next_branch: 1,
            next_place: 0,
        };
        Baton {
            world: Mutex::new(world),
            turns: Mutex::new(turns),
            passed: Condvar::new(),
            changes: watch::Sender::new(0),
        }
    }

    /// The world. A branch that panicked in the middle of a change ends the rehearsal anyway.
    pub fn world(&self) -> Held<'_> {
        Held { world: self.world.lock().unwrap_or_else(PoisonError::into_inner), changes: &self.changes }
    }

    /// Tells of every change of what API servers hold and of what is planned.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How many want to be told.
    pub fn watchers(&self) -> usize {
        self.changes.receiver_count()
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets virtual time pass until then, and other branches run meanwhile.
    pub fn sleep_until(&self, time: Timestamp) {
        let me = BRANCH.get();
        let mut turns = self.turns();
        let place = turns.place();
        turns.waiting.insert(me, Waits::Until(time, place));
        self.pass(&mut turns);
        self.await_turn(turns, me);
    }

    /// Hands the baton to whoever wakes first, and brings the world to that time.
    fn pass(&self, turns: &mut Turns) {
        let first = turns.waiting.iter().filter_map(|(branch, waits)| match waits {
            Waits::Until(time, place) => Some((*time, *place, *branch)),
            Waits::For(_) => None,
        });
        let first = first.min();
        turns.holder = first.map(|(_, _, branch)| branch);
        if let Some((time, _, branch)) = first {
            turns.waiting.remove(&branch);
            self.world().advance(time);
            // Who waits for a time waits for changes, too.
            self.changes.send_modify(|_| {});
        }
        self.passed.notify_all();
    }

    fn await_turn(&self, mut turns: MutexGuard<'_, Turns>, branch: u64) {
        while turns.holder != Some(branch) {
            turns = self.passed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Branches are about to run: the first of them gets the baton.
    pub fn fork(self: &Arc<Baton>, branches: usize) -> Branches {
        let me = BRANCH.get();
        let now = self.world().now;
        let mut turns = self.turns();
        let first = turns.next_branch;
        for _ in 0..branches {
            let (branch, place) = (turns.next_branch, turns.place());
            turns.next_branch += 1;
            turns.parents.insert(branch, me);
            turns.waiting.insert(branch, Waits::Until(now, place));
        }
        turns.waiting.insert(me, if branches == 0 { Waits::Until(now, 0) } else { Waits::For(branches) });
        self.pass(&mut turns);
        drop(turns);
        Branches { baton: self.clone(), parent: me, first, count: branches }
    }

    /// A branch is over; after the last one its parent goes on.
    fn end(&self, branch: u64) {
        let now = self.world().now;
        let mut turns = self.turns();
        let Some(parent) = turns.parents.remove(&branch) else { return };
        turns.waiting.remove(&branch);
        let place = turns.place();
        if let Some(Waits::For(left)) = turns.waiting.get_mut(&parent) {
            *left -= 1;
            if *left == 0 {
                turns.waiting.insert(parent, Waits::Until(now, place));
            }
        }
        if turns.holder == Some(branch) {
            self.pass(&mut turns);
        }
    }
}

impl Turns {
    fn place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

/// Branches of one `parallel`.
pub struct Branches {
    baton: Arc<Baton>,
    parent: u64,
    first: u64,
    count: usize,
}

impl Fork for Branches {
    fn begin(&self, number: usize) {
        let branch = self.first + number as u64;
        BRANCH.set(branch);
        self.baton.await_turn(self.baton.turns(), branch);
    }

    fn end(&self, number: usize) {
        self.baton.end(self.first + number as u64);
    }

    fn join(&self) {
        // A branch whose thread could not be started never began: nobody waits for it.
        for number in 0..self.count {
            self.baton.end(self.first + number as u64);
        }
        self.baton.await_turn(self.baton.turns(), self.parent);
    }
}
