//! Senders whose timestamps run at another clock than their format's: 8 kHz sound stamped at 16 or 48 kHz, Opus at
//! 8 kHz, 30 ms of sound stamped as 20.
//!
//! Packets that follow each other in sequence say it: timestamps go on by about the same share of the sound that is in
//! them. That may also be a row of equal pauses, where timestamps run ahead; then the packets' arrivals tell.
//! Timestamps are translated from there on, so that everything else measures true time.

use super::buffer::Packet;
use crate::time::Time;

/// So many packets in a row tell a clock.
const TOLD_BY: u8 = 3;

/// A clock this many times too fast or slow is none.
const FACTOR_MAX: u32 = 16;

/// An anchor is moved up before it is farther away than a difference of timestamps can tell.
const ANCHOR_DISTANCE_MAX: i32 = 1 << 24;

/// So many ticks of the sender's take as long as so many of the format's clock.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    stamp: u32,
    clock: u32,
}

impl Ratio {
    /// But for a sixteenth: whose steps are no whole numbers are rounded.
    fn is_about(self, other: Ratio) -> bool {
        let one = u64::from(self.stamp) * u64::from(other.clock);
        let two = u64::from(other.stamp) * u64::from(self.clock);
        one.abs_diff(two) <= one.max(two) / 16
    }

    /// A whole number, or one part of a whole number, where it is about that.
    fn rounded(self) -> Ratio {
        let (stamp, clock) = (self.stamp.max(1), self.clock.max(1));
        let rounded = if stamp > clock {
            Ratio {
                stamp: (stamp + clock / 2) / clock,
                clock: 1,
            }
        } else {
            Ratio {
                stamp: 1,
                clock: (clock + stamp / 2) / stamp,
            }
        };
        if self.is_about(rounded) { rounded } else { self }
    }
}

/// Packets in a row that tell about the same.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Of all of them together.
    ratio: Ratio,
    packets: u8,
    /// When the first of them came.
    start: Time,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u64,
    stamp: u32,
    arrival: Time,
    clock: u32,
}

#[derive(Debug)]
pub(super) struct Stamps {
    ratio: Ratio,
    /// The same moment, as stamped and as translated.
    anchor_stamp: u32,
    anchor_timestamp: u32,
    last: Option<Last>,
    run: Option<Run>,
}

impl Default for Stamps {
    fn default() -> Stamps {
        Stamps {
            ratio: Ratio { stamp: 1, clock: 1 },
            anchor_stamp: 0,
            anchor_timestamp: 0,
            last: None,
            run: None,
        }
    }
}

impl Stamps {
    /// A timestamp of the format's clock for one of the sender's.
    pub fn translate(&mut self, stamp: u32) -> u32 {
        let ahead = stamp.wrapping_sub(self.anchor_stamp) as i32;
        let Ratio { stamp: sender, clock } = self.ratio;
        if sender == clock {
            return self.anchor_timestamp.wrapping_add(ahead as u32);
        }
        let translated = i64::from(ahead) * i64::from(clock) / i64::from(sender.max(1));
        let timestamp = self.anchor_timestamp.wrapping_add(translated as u32);
        if ahead.saturating_abs() > ANCHOR_DISTANCE_MAX {
            // By whole multiples, so that nothing is lost by rounding.
            let times = ahead / sender.max(1) as i32;
            self.anchor_stamp = self.anchor_stamp.wrapping_add((times * sender as i32) as u32);
            let moved = (i64::from(times) * i64::from(clock)) as u32;
            self.anchor_timestamp = self.anchor_timestamp.wrapping_add(moved);
        }
        timestamp
    }

    /// Notes a packet that has been played, with `clock` ticks of sound at `clock_hz`. Returns whether from now on
    /// timestamps are translated otherwise.
    pub fn note(&mut self, packet: &Packet, clock: u32, clock_hz: u32) -> bool {
        let last = self.last.replace(Last {
            sequence: packet.sequence,
            stamp: packet.stamp,
            arrival: packet.arrival,
            clock,
        });
        let Some(last) = last.filter(|last| last.sequence + 1 == packet.sequence) else {
            self.run = None;
            return false;
        };
        let ratio = Ratio {
            stamp: packet.stamp.wrapping_sub(last.stamp),
            clock: last.clock,
        };
        let tells = ratio.stamp > 0
            && ratio.stamp <= ratio.clock.saturating_mul(FACTOR_MAX)
            && ratio.clock <= ratio.stamp.saturating_mul(FACTOR_MAX);
        if !tells || ratio.is_about(self.ratio) {
            self.run = None;
            return false;
        }
        let run = match self.run.filter(|run| run.ratio.is_about(ratio)) {
            Some(run) if run.packets < TOLD_BY => Run {
                ratio: Ratio {
                    stamp: run.ratio.stamp + ratio.stamp,
                    clock: run.ratio.clock + ratio.clock,
                },
                packets: run.packets + 1,
                start: run.start,
            },
            _ => Run {
                ratio,
                packets: 1,
                start: last.arrival,
            },
        };
        self.run = Some(run);
        if run.packets < TOLD_BY || !is_sent_at_once(&run, packet.arrival, clock_hz) {
            return false;
        }
        self.run = None;
        self.ratio = run.ratio.rounded();
        self.anchor_stamp = packet.stamp;
        self.anchor_timestamp = packet.timestamp;
        true
    }

    /// What comes next says nothing about what came before.
    pub fn interrupt(&mut self) {
        self.last = None;
        self.run = None;
    }

    pub fn restart(&mut self) {
        *self = Stamps::default();
    }
}

/// Whether packets came as fast as the sound in them lasts, rather than as fast as their timestamps go on.
fn is_sent_at_once(run: &Run, arrival: Time, clock_hz: u32) -> bool {
    let clock_us = |clock: u32| u64::from(clock) * 1_000_000 / u64::from(clock_hz.max(1));
    let (sound_us, stamped_us) = (clock_us(run.ratio.clock), clock_us(run.ratio.stamp));
    let took_us = arrival.since(run.start).as_micros() as u64;
    // Sound never lasts longer than it is stamped to, so a slow clock needs no other witness.
    stamped_us <= sound_us || took_us.abs_diff(sound_us) < took_us.abs_diff(stamped_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of `clock` ticks every `every_ms`, stamped `step` apart; how often the clock was told anew, and the last
    /// step after translation.
    fn stamped(
        stamps: &mut Stamps,
        packets: std::ops::Range<u64>,
        clock: u32,
        step: u32,
        every_ms: u64,
    ) -> (u32, u32) {
        let (mut told, mut before, mut after) = (0, 0, 0);
        for sequence in packets {
            let stamp = (sequence as u32).wrapping_mul(step).wrapping_add(u32::MAX - 700);
            let packet = Packet {
                sequence,
                stamp,
                timestamp: stamps.translate(stamp),
                arrival: Time::from_millis(sequence * every_ms),
                ..Packet::default()
            };
            (before, after) = (after, packet.timestamp);
            told += u32::from(stamps.note(&packet, clock, 8_000));
        }
        (told, after.wrapping_sub(before))
    }

    #[test]
    fn any_constant_clock_is_told_from_four_packets_and_translated_for_good() {
        for step in [20, 80, 107, 320, 480, 960] {
            let mut stamps = Stamps::default();
            assert_eq!(stamped(&mut stamps, 0..3, 160, step, 20).0, 0);
            assert_eq!(stamped(&mut stamps, 3..40_000, 160, step, 20), (1, 160), "{step}");
            // And back again.
            let (told, after) = stamped(&mut stamps, 50_000..60_000, 160, 160, 20);
            assert_eq!((told, after), (1, 160));
        }
        // About a sixth is a sixth: 162 of 160.
        assert_eq!(stamped(&mut Stamps::default(), 0..1_000, 160, 27, 20), (1, 162));
    }

    #[test]
    fn the_right_clock_at_any_packet_time_and_equal_pauses_change_nothing() {
        let mut stamps = Stamps::default();
        for (n, ms) in [20, 10, 60, 30, 20].into_iter().enumerate() {
            let packets = n as u64 * 1_000..(n as u64 + 1) * 1_000;
            assert_eq!(stamped(&mut stamps, packets, ms * 8, ms * 8, u64::from(ms)).0, 0);
        }
        // 20 ms of sound, 20 ms of none.
        assert_eq!(stamped(&mut stamps, 9_000..10_000, 160, 320, 40), (0, 320));
        // And timestamps that stand still, or leap.
        assert_eq!(stamped(&mut stamps, 10_001..10_100, 160, 0, 20).0, 0);
        assert_eq!(stamped(&mut stamps, 10_101..10_200, 160, 4_000, 20).0, 0);
    }
}
