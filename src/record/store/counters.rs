//! What all deliveries of this daemon have done, to be read by whoever draws metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Reason;

#[derive(Debug, Default)]
pub struct Counters {
    pub calls: AtomicU64,
    pub parts: AtomicU64,
    pub bytes: AtomicU64,
    pub delivered: AtomicU64,
    pub renamed: AtomicU64,
    /// By [`Reason`].
    pub failures: [AtomicU64; Reason::ALL.len()],
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Calls to the store, answered or not.
    pub calls: u64,
    /// Parts that the store has taken.
    pub parts: u64,
    /// Bytes of bodies that the store has taken.
    pub bytes: u64,
    pub delivered: u64,
    /// Of those: under `~<recordingId>`, because the key was another's.
    pub renamed: u64,
    /// Calls that came to nothing, by reason; reasons without any are there too.
    pub failures: Vec<(&'static str, u64)>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counters::default().read()
    }
}

impl Counters {
    pub fn failed(&self, reason: Reason) {
        add(&self.failures[reason as usize], 1);
    }

    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            calls: read(&self.calls),
            parts: read(&self.parts),
            bytes: read(&self.bytes),
            delivered: read(&self.delivered),
            renamed: read(&self.renamed),
            failures: Reason::ALL
                .iter()
                .zip(&self.failures)
                .map(|(reason, count)| (reason.name(), read(count)))
                .collect(),
        }
    }
}

pub fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
