//! What a media thread shows of its load without being asked: running sums, written once a phase, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::{PHASES, TICK};

/// A phase that begins later than one lasts has run into the next.
const LATE: Duration = Duration::from_nanos(TICK.as_nanos() as u64 / PHASES as u64);

#[derive(Debug, Default)]
pub(super) struct Pulse {
    cpu_nanos: AtomicU64,
    busy_nanos: AtomicU64,
    phases: AtomicU64,
    late: AtomicU64,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beat {
    /// Processor time of the thread.
    pub cpu: Duration,
    /// From the beginning of each phase to its end, what others took meanwhile included.
    pub busy: Duration,
    pub phases: u64,
    /// Of these, those that began later than a phase lasts.
    pub late: u64,
}

impl Pulse {
    /// A phase began so late and took so long. Written by one thread only.
    pub fn note(&self, late: Duration, took: Duration) {
        add(&self.phases, 1);
        add(&self.late, u64::from(late > LATE));
        add(&self.busy_nanos, took.as_nanos() as u64);
    }

    pub fn set_cpu(&self, cpu: Duration) {
        self.cpu_nanos.store(cpu.as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn beat(&self) -> Beat {
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Beat {
            cpu: Duration::from_nanos(read(&self.cpu_nanos)),
            busy: Duration::from_nanos(read(&self.busy_nanos)),
            phases: read(&self.phases),
            late: read(&self.late),
        }
    }
}

fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_summed_and_those_that_ran_into_the_next_counted() {
        let pulse = Pulse::default();
        let ms = Duration::from_millis;
        for (late, took) in [(0, 1), (5, 2), (6, 3), (200, 0)] {
            pulse.note(ms(late), ms(took));
        }
        pulse.set_cpu(ms(4));
        let beat = Beat {
            cpu: ms(4),
            busy: ms(6),
            phases: 4,
            late: 2,
        };
        assert_eq!(pulse.beat(), beat);
    }
}
