//! Whether there is memory for a leg or a recording, asked before anything is made for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Inner, locked};
use crate::control::admission::{Asker, Bound, MemoryAccount, Need, Reading};
use crate::control::blocking;
use crate::control::process;

pub(super) struct Memory {
    watched: Mutex<Watched>,
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
    pub fn new(reserve_bytes: u64) -> Memory {
        let memory = process::memory::Memory::find();
        Memory::read_by(reserve_bytes, Box::new(move || memory.read()))
    }

    fn read_by(reserve_bytes: u64, read: Box<dyn Fn() -> Reading + Send>) -> Memory {
        Memory {
            watched: Mutex::new(Watched {
                account: MemoryAccount::new(reserve_bytes),
                read,
            }),
            is_being_read: AtomicBool::new(false),
        }
    }

    /// Promises what is needed, where there is so much. `legs`: how many there are.
    pub fn take(&self, need: Need, asker: Asker, legs: usize) -> Result<(), Bound> {
        let mut watched = locked(&self.watched);
        let now = Instant::now();
        if watched.account.is_due(now) {
            watched.look(legs, now);
        }
        watched.account.take(need, asker).or_else(|bound| {
            if !watched.account.is_stale(now) {
                return Err(bound);
            }
            watched.look(legs, now);
            watched.account.take(need, asker)
        })
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
    fn look(&mut self, legs: usize, now: Instant) {
        let reading = (self.read)();
        self.account.read(reading, legs, now);
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
            locked(&inner.memory.watched).look(legs, Instant::now());
            inner.memory.is_being_read.store(false, Ordering::Release);
        };
        if blocking::begin(look).is_err() {
            self.memory.is_being_read.store(false, Ordering::Release);
        }
    }
}
