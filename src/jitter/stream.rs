//! What belongs to the stream that is played: one SSRC, sequence numbers without great leaps.
//!
//! Sequence numbers are compared with the newest one and count on over their wrap. Duplicates are told from late
//! packets by the last 64 numbers seen.

use crate::rtp::sequence::{extend_sequence, first_sequence};
use crate::time::Time;

/// While something new has come within this time the stream goes on where it is.
const ALIVE_MS: u128 = 60;

/// RFC 3550 A.1 lets numbers misorder by 100. Here a leap ahead has the same bound: what leaps farther is heard as soon
/// as the stream it left has run dry, or a second packet follows.
const LEAP_MAX: i16 = 100;

#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub ssrc: u32,
    /// After the last packet played; zero, which is below every number, before the first.
    pub next_sequence: u64,
    pub newest_sequence: u64,
    pub newest_arrival: Time,
    newest_stamp: u32,
    /// By how much stamps last went on from one packet to the next.
    step: u32,
    /// Bit n: the number n before the newest was seen.
    seen: u64,
    /// The last number that came late or again, and how many such came in a row up to it.
    old: (u64, u8),
}

/// Where a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// To come, with its extended sequence.
    Ahead {
        sequence: u64,
        newest: bool,
    },
    /// Its turn has passed.
    Late,
    /// So long ago that it says nothing about the network of now.
    LongLate,
    Duplicate,
    /// Of another stream, or too far away in this one.
    Elsewhere,
    /// This stream has gone back in its numbers and goes on there.
    Rewound,
}

impl Stream {
    pub fn new(arrival: Time, ssrc: u32, sequence: u16, stamp: u32) -> Stream {
        let sequence = first_sequence(sequence);
        Stream {
            ssrc,
            next_sequence: 0,
            newest_sequence: sequence,
            newest_arrival: arrival,
            newest_stamp: stamp,
            step: 0,
            seen: 1,
            old: (0, 0),
        }
    }

    /// Judges a packet and remembers it.
    pub fn judge(&mut self, arrival: Time, ssrc: u32, sequence: u16, stamp: u32) -> Standing {
        let leap = sequence.wrapping_sub(self.newest_sequence as u16) as i16;
        if ssrc != self.ssrc {
            return Standing::Elsewhere;
        }
        if !(-LEAP_MAX..=LEAP_MAX).contains(&leap) {
            return if self.was_sent_before(arrival, leap, stamp) {
                Standing::LongLate
            } else {
                Standing::Elsewhere
            };
        }
        let sequence = extend_sequence(self.newest_sequence, sequence);
        if leap > 0 {
            if leap == 1 {
                self.step = stamp.wrapping_sub(self.newest_stamp);
            }
            self.newest_stamp = stamp;
            self.seen = self.seen.checked_shl(leap as u32).unwrap_or(0) | 1;
            self.newest_sequence = sequence;
            self.newest_arrival = arrival;
            self.old = (0, 0);
            return Standing::Ahead {
                sequence,
                newest: true,
            };
        }
        let bit = 1u64.checked_shl(u32::from(leap.unsigned_abs())).unwrap_or(0);
        let duplicate = self.seen & bit != 0;
        self.seen |= bit;
        if sequence >= self.next_sequence && !duplicate {
            return Standing::Ahead {
                sequence,
                newest: false,
            };
        }
        if self.has_begun_again(arrival, sequence) {
            return Standing::Rewound;
        }
        if duplicate {
            Standing::Duplicate
        } else {
            Standing::Late
        }
    }

    /// A number far back whose timestamp is as far back, while new ones come: the network has kept it for long. A
    /// sender that has gone back sends nothing new any more.
    fn was_sent_before(&self, arrival: Time, leap: i16, stamp: u32) -> bool {
        let behind = self.newest_stamp.wrapping_sub(stamp);
        let expected = u64::from(leap.unsigned_abs()) * u64::from(self.step);
        leap < 0
            && expected > 0
            && u64::from(behind).abs_diff(expected) <= expected / 8
            && arrival.since(self.newest_arrival).as_millis() < ALIVE_MS
    }

    /// Three old numbers in a row while nothing new has come for 60 ms: the sender has gone back, and goes on there.
    fn has_begun_again(&mut self, arrival: Time, sequence: u64) -> bool {
        let (last, run) = self.old;
        let run = if last.wrapping_add(1) == sequence {
            run.saturating_add(1)
        } else {
            1
        };
        self.old = (sequence, run);
        run >= 3 && arrival.since(self.newest_arrival).as_millis() >= ALIVE_MS
    }
}

/// The first packet of what may become the stream that is played.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub ssrc: u32,
    pub sequence: u16,
    /// Ticks without sound from the stream that is played after which this one is followed.
    pub patience_ticks: u8,
}

impl Candidate {
    /// Whether a packet goes on where this one began, one or two losses granted.
    pub fn is_followed_by(&self, ssrc: u32, sequence: u16) -> bool {
        ssrc == self.ssrc && (1..=3).contains(&sequence.wrapping_sub(self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Time = Time::from_millis(1);

    fn judge(stream: &mut Stream, sequence: u16) -> Standing {
        stream.judge(AT, 7, sequence, u32::from(sequence) * 160)
    }

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut stream = Stream::new(AT, 7, 65_534, 0);
        let first = stream.newest_sequence;
        for (n, sequence) in [65_535, 0, 1].into_iter().enumerate() {
            let expected = Standing::Ahead {
                sequence: first + n as u64 + 1,
                newest: true,
            };
            assert_eq!(judge(&mut stream, sequence), expected);
        }
        assert_eq!(judge(&mut stream, 65_535), Standing::Duplicate);
    }

    #[test]
    fn a_packet_is_ahead_late_or_a_duplicate() {
        let mut stream = Stream::new(AT, 7, 100, 16_000);
        assert_eq!(judge(&mut stream, 100), Standing::Duplicate);
        let start = stream.newest_sequence;
        assert_eq!(
            judge(&mut stream, 104),
            Standing::Ahead {
                sequence: start + 4,
                newest: true
            }
        );
        assert_eq!(
            judge(&mut stream, 102),
            Standing::Ahead {
                sequence: start + 2,
                newest: false
            }
        );
        assert_eq!(judge(&mut stream, 102), Standing::Duplicate);
        stream.next_sequence = start + 5;
        assert_eq!(judge(&mut stream, 101), Standing::Late);
        assert_eq!(judge(&mut stream, 101), Standing::Duplicate);
    }

    #[test]
    fn another_ssrc_and_a_great_leap_are_elsewhere() {
        let mut stream = Stream::new(AT, 7, 100, 16_000);
        assert_eq!(stream.judge(AT, 8, 101, 0), Standing::Elsewhere);
        for sequence in [1_101, 64_636, 100 + 32_768] {
            assert_eq!(judge(&mut stream, sequence), Standing::Elsewhere);
        }
    }

    #[test]
    fn what_was_sent_long_before_is_late_while_new_packets_come_and_elsewhere_when_none_do() {
        let mut stream = Stream::new(AT, 7, 5_000, 5_000 * 160);
        assert!(matches!(judge(&mut stream, 5_001), Standing::Ahead { .. }));
        assert_eq!(judge(&mut stream, 3_501), Standing::LongLate);
        assert_eq!(stream.judge(AT, 7, 3_502, 77), Standing::Elsewhere);
        let silent = Time::from_millis(62);
        assert_eq!(stream.judge(silent, 7, 3_503, 3_503 * 160), Standing::Elsewhere);
    }
}
