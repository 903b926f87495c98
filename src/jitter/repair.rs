//! Whether it pays to wait for the packet after a lost one, because it repeats what was lost.
//!
//! That packet comes a packet time too late for the hole, so one packet of delay is taken on, and kept for as long as
//! this goes on happening: a repeated packet sounds far better than a guess. Once is reason enough: who repeats has been
//! told of loss, and each further guess costs more than the delay (PESQ 0.05 to 0.1 of ten seconds).

use std::time::Duration;

use crate::time::Time;

/// What happened longer ago than this does not count.
const REMEMBERED: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Repair {
    /// When a packet last repeated a lost one.
    last: Option<Time>,
    spare_us: u32,
}

impl Repair {
    /// A packet was taken that repeats so much of the hole before it.
    pub fn note(&mut self, now: Time, repeated_us: u32) {
        self.last = Some(now);
        self.spare_us = repeated_us;
    }

    /// Delay that is to be kept for it.
    pub fn spare_us(&self) -> u32 {
        self.spare_us
    }

    pub fn forget_old(&mut self, now: Time) {
        if !self.is_fresh(now) {
            self.spare_us = 0;
        }
    }

    fn is_fresh(&self, now: Time) -> bool {
        self.last.is_some_and(|last| now.since(last) < REMEMBERED)
    }
}
