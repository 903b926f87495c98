//! A leg's last two seconds: what its counters say is since the beginning, what is wrong is wrong now.
//!
//! The counters are copied every 400 ms; the difference to the oldest copy is what happened lately.

use std::net::SocketAddr;
use std::time::Duration;

use crate::leg::{Counts, Dropped};
use crate::time::TICK;

/// How often the counters are copied.
const PART_TICKS: u32 = 20;

/// Parts of the window, the one being filled included.
const PARTS: usize = 5;

/// What happened in the last two seconds, and how long ago what happened last.
#[derive(Debug, Clone, Default)]
pub struct Lately {
    /// How long a time the figures are of: 1,600 to 2,000 of the ticks' own milliseconds, less on a new leg.
    pub millis: u32,
    /// RTP that was believed to be the remote's.
    pub packets_received: u32,
    pub packets_lost: u32,
    pub packets_sent: u32,
    /// Packets that the socket did not take.
    pub send_errors: u32,
    /// What may have been the remote's, by reason, in the order of `Dropped::ALL`.
    pub dropped: [u32; Dropped::COUNT],
    /// Datagrams of other hosts than the remote's that were refused. While nothing at all has come from where the
    /// remote is expected, and everything from one other host, that is taken for the remote's.
    pub strangers: u32,
    /// The loudest tick, in dBFS; −127 for silence.
    pub level_dbfs_max: f32,
    /// It counted as saying something, whether or not that was let into the mix.
    pub said_something: bool,
    /// Its voice was in the mix.
    pub contributed: bool,
    /// Since RTP of the remote's came last; `None` before any.
    pub since_arrival: Option<Duration>,
    /// Since something that came was played last.
    pub since_played: Option<Duration>,
    pub since_rtcp: Option<Duration>,
    /// Since the remote reported last of what we send.
    pub since_reported: Option<Duration>,
    /// So long neither RTP nor RTCP of the remote's came, though it is to send.
    pub silent_for: Duration,
    /// That is longer than its RTCP may fail to come, going by how often it came.
    pub is_overdue: bool,
    /// The RTP datagram that was refused last of those that may have been the remote's, and since when.
    pub rejected: Option<Rejected>,
    pub since_rejected: Option<Duration>,
    /// The same, of those of strangers.
    pub stranger: Option<Rejected>,
    pub since_stranger: Option<Duration>,
    /// Where packets are heard from; `None` before any were believed.
    pub latched: Option<SocketAddr>,
    /// The sender has announced a pause.
    pub is_paused: bool,
    /// Digits are being collected, so the party is out of the mix.
    pub is_collecting: bool,
    /// Why nothing is heard of the party, where `Event::OneWay` has said so.
    pub one_way_in: Option<&'static str>,
    /// Why the party does not hear us, where `Event::OneWay` has said so.
    pub one_way_out: Option<&'static str>,
}

/// An RTP datagram that was refused on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    pub reason: Dropped,
    pub from: SocketAddr,
    /// As it stood in the header, encrypted or not; `None` where there was no header.
    pub payload_type: Option<u8>,
}

impl Lately {
    pub fn dropped_for(&self, reason: Dropped) -> u32 {
        self.dropped[reason as usize]
    }

    /// The reason that most of the remote's were dropped for on their way in, and how many.
    pub fn most_dropped(&self) -> Option<(Dropped, u32)> {
        let inbound = Dropped::ALL.iter().filter(|reason| reason.is_inbound());
        inbound
            .map(|reason| (*reason, self.dropped_for(*reason)))
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
    }
}

/// The totals that the window compares. They wrap, and so do their differences.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    packets_received: u32,
    packets_lost: u32,
    packets_sent: u32,
    send_errors: u32,
    dropped: [u32; Dropped::COUNT],
    /// Of them, those of other hosts than the remote's.
    foreign: [u32; Dropped::COUNT],
}

impl Totals {
    fn of(counts: &Counts, foreign: [u32; Dropped::COUNT]) -> Totals {
        Totals {
            packets_received: counts.packets_received as u32,
            packets_lost: counts.packets_lost as u32,
            packets_sent: counts.packets_sent as u32,
            send_errors: counts.send_errors as u32,
            dropped: counts.dropped.map(|count| count as u32),
            foreign,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Part {
    /// As they were when the part began.
    before: Totals,
    level_dbfs_max: f32,
    said_something: bool,
    contributed: bool,
}

impl Part {
    const fn beginning(before: Totals) -> Part {
        Part {
            before,
            level_dbfs_max: f32::NEG_INFINITY,
            said_something: false,
            contributed: false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Oldest first; the last is being filled.
    parts: [Part; PARTS],
    /// How many of the last ones have begun.
    begun: usize,
    ticks: u32,
    /// What was refused of other hosts than the remote's since the beginning; it wraps.
    foreign: [u32; Dropped::COUNT],
}

impl Window {
    /// A datagram of another host than the remote's was refused; the counters count it, too.
    pub fn count_foreign(&mut self, reason: Dropped) {
        let count = &mut self.foreign[reason as usize];
        *count = count.wrapping_add(1);
    }

    /// Whether the next tick ends a part, for which the counters must be up to date.
    pub fn ends_part(&self) -> bool {
        self.ticks + 1 >= PART_TICKS
    }

    /// A tick has gone by.
    pub fn step(&mut self, counts: &Counts, level_dbfs: f32, said_something: bool, contributed: bool) {
        let part = &mut self.parts[PARTS - 1];
        part.level_dbfs_max = part.level_dbfs_max.max(level_dbfs);
        part.said_something |= said_something;
        part.contributed |= contributed;
        self.ticks += 1;
        if self.ticks >= PART_TICKS {
            self.parts.rotate_left(1);
            self.parts[PARTS - 1] = Part::beginning(Totals::of(counts, self.foreign));
            self.begun = (self.begun + 1).min(PARTS);
            self.ticks = 0;
        }
    }

    /// Fills in what the window knows. `takes_strangers`: they are taken for the remote.
    pub fn write(&self, counts: &Counts, takes_strangers: bool, lately: &mut Lately) {
        let parts = &self.parts[PARTS - self.begun..];
        let (now, before) = (Totals::of(counts, self.foreign), parts[0].before);
        let ticks = (self.begun as u32 - 1) * PART_TICKS + self.ticks;
        lately.millis = ticks * TICK.as_millis() as u32;
        lately.packets_received = now.packets_received.wrapping_sub(before.packets_received);
        lately.packets_lost = now.packets_lost.wrapping_sub(before.packets_lost);
        lately.packets_sent = now.packets_sent.wrapping_sub(before.packets_sent);
        lately.send_errors = now.send_errors.wrapping_sub(before.send_errors);
        lately.dropped = std::array::from_fn(|at| now.dropped[at].wrapping_sub(before.dropped[at]));
        lately.strangers = 0;
        if !takes_strangers {
            for (at, own) in lately.dropped.iter_mut().enumerate() {
                let foreign = now.foreign[at].wrapping_sub(before.foreign[at]);
                *own = own.saturating_sub(foreign);
                lately.strangers = lately.strangers.saturating_add(foreign);
            }
        }
        lately.level_dbfs_max = parts
            .iter()
            .map(|part| part.level_dbfs_max)
            .fold(-127.0, f32::max);
        lately.said_something = parts.iter().any(|part| part.said_something);
        lately.contributed = parts.iter().any(|part| part.contributed);
    }
}

impl Default for Window {
    fn default() -> Window {
        Window {
            parts: [Part::beginning(Totals::default()); PARTS],
            begun: 1,
            ticks: 0,
            foreign: [0; Dropped::COUNT],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_two_seconds_and_no_more() {
        let (mut window, mut counts) = (Window::default(), Counts::default());
        let (mut lately, mut shortest) = (Lately::default(), u32::MAX);
        for tick in 1..=1_000_u32 {
            counts.packets_received += 1;
            counts.dropped[Dropped::BadTag as usize] += u64::from(tick <= 500);
            let loud = tick == 500;
            window.step(&counts, if loud { -10.0 } else { -50.0 }, loud, loud);
            window.write(&counts, false, &mut lately);
            assert_eq!(lately.millis, lately.packets_received * 20, "tick {tick}");
            assert!(lately.millis < 2_000);
            if tick >= 100 {
                shortest = shortest.min(lately.millis);
            }
            if tick > 600 {
                assert_eq!(lately.dropped_for(Dropped::BadTag), 0, "tick {tick}");
                assert_eq!(lately.level_dbfs_max, -50.0);
                assert!(!lately.said_something && !lately.contributed);
            } else if (500..580).contains(&tick) {
                assert!(lately.dropped_for(Dropped::BadTag) > 0, "tick {tick}");
                assert_eq!(lately.level_dbfs_max, -10.0);
                assert!(lately.said_something && lately.contributed);
            }
        }
        assert_eq!(shortest, 1_600);
    }

    #[test]
    fn strangers_are_counted_apart_unless_they_are_taken_for_the_remote() {
        let (mut window, mut counts) = (Window::default(), Counts::default());
        for tick in 1..=300_u32 {
            counts.dropped[Dropped::UnknownSource as usize] += 3;
            window.count_foreign(Dropped::UnknownSource);
            window.count_foreign(Dropped::UnknownSource);
            window.step(&counts, -127.0, false, false);
            let written = |takes_strangers| {
                let mut lately = Lately::default();
                window.write(&counts, takes_strangers, &mut lately);
                (lately.dropped_for(Dropped::UnknownSource), lately.strangers)
            };
            let ticks = written(false).0;
            assert_eq!(written(false), (ticks, 2 * ticks), "tick {tick}");
            assert_eq!(written(true), (3 * ticks, 0), "tick {tick}");
        }
    }

    #[test]
    fn a_new_leg_has_no_more_than_it_has_lived() {
        let (mut window, mut lately) = (Window::default(), Lately::default());
        window.write(&Counts::default(), false, &mut lately);
        assert_eq!((lately.millis, lately.level_dbfs_max), (0, -127.0));
        window.step(&Counts::default(), -127.0, false, false);
        window.write(&Counts::default(), false, &mut lately);
        assert_eq!(lately.millis, 20);
    }
}
