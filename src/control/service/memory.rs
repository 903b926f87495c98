//! Whether there is memory for a leg or a recording, asked before anything is made for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Inner, locked};
use crate::control::admission::{Asker, Bound, MemoryAccount, Need, Reading, TOUCHED_LATER_BY_LEG};
use crate::control::blocking;
use crate::control::process;
use crate::record::Passed;

pub(super) struct Memory {
    watched: Mutex<Watched>,
    /// The rings that engines and recorder have between them.
    rings: Vec<Passed>,
    /// Somebody is reading on a thread where that may wait.
    is_being_read: AtomicBool,
}

struct Watched {
    account: MemoryAccount,
    read: Box<dyn Fn() -> Reading + Send>,
}

/// What is said of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryFigures {
    /// Bytes that legs and recordings may still take, and what bounds them.
    pub free: Option<(u64, Bound)>,
    pub reserve: u64,
}

impl Memory {
    pub fn new(reserve_bytes: u64, rings: Vec<Passed>) -> Memory {
        let memory = process::memory::Memory::find();
        let memory = Memory {
            watched: Mutex::new(Watched {
                account: MemoryAccount::new(reserve_bytes),
                read: Box::new(move || memory.read()),
            }),
            rings,
            is_being_read: AtomicBool::new(false),
        };
        memory.look(0);
        if let MemoryFigures {
            free: Some((0, bound)),
            reserve,
        } = memory.figures()
        {
            let bound = bound.name();
            tracing::warn!(
                bound,
                reserve,
                "no leg can be let in: what there is of memory is less than the reserve"
            );
        }
        memory
    }

    /// Promises what is needed, where there is so much. `legs`: how many there are.
    pub fn take(&self, need: Need, asker: Asker, legs: usize) -> Result<(), Bound> {
        let mut watched = locked(&self.watched);
        let now = Instant::now();
        let later = self.touched_later(legs);
        if watched.account.is_due(now) {
            watched.look(later, now);
        }
        watched.account.take(need, asker).or_else(|bound| {
            if !watched.account.is_stale(now) {
                return Err(bound);
            }
            watched.look(later, now);
            watched.account.take(need, asker)
        })
    }

    fn look(&self, legs: usize) {
        let later = self.touched_later(legs);
        locked(&self.watched).look(later, Instant::now());
    }

    /// Bytes that are mapped, and touched once so many legs are talked to and somebody is recorded.
    fn touched_later(&self, legs: usize) -> u64 {
        let rings: u64 = self.rings.iter().map(Passed::untouched_bytes).sum();
        rings + legs as u64 * TOUCHED_LATER_BY_LEG
    }

    pub fn figures(&self) -> MemoryFigures {
        let watched = locked(&self.watched);
        MemoryFigures {
            free: watched.account.free(),
            reserve: watched.account.reserve(),
        }
    }

    /// How many times there is room for this.
    pub fn times(&self, need: Need) -> Option<u64> {
        locked(&self.watched).account.times(need)
    }

    #[cfg(test)]
    pub fn pretend(&self, reading: Reading) {
        let mut watched = locked(&self.watched);
        watched.read = Box::new(move || reading);
        watched.look(0, Instant::now());
    }
}

impl Watched {
    fn look(&mut self, touched_later: u64, now: Instant) {
        let reading = (self.read)();
        self.account.read(reading, touched_later, now);
    }
}

impl Inner {
    /// Has it read again what is left, on a thread that may wait for that. So one is always at hand, too, for whoever
    /// needs one when the kernel gives no more of them.
    pub(super) fn have_memory_looked_at(self: &Arc<Self>) {
        if self.memory.is_being_read.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        let look = move || {
            let legs = inner.state().legs.len();
            inner.memory.look(legs);
            inner.memory.is_being_read.store(false, Ordering::Release);
        };
        if blocking::begin(look).is_err() {
            self.memory.is_being_read.store(false, Ordering::Release);
        }
    }
}
