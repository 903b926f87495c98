//! The one outbound timeline of a leg: whatever happens behind it, its SSRC stays, its sequence number rises by one
//! a packet and its timestamp by the packet's length (RFC 3550 §5.1).

use crate::rtp::packet::Header;

/// Where a timeline begins: random, from whoever makes the leg (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
}

#[derive(Debug, Clone)]
pub struct Timeline {
    next: Identity,
    started: bool,
}

impl Timeline {
    pub fn new(identity: Identity) -> Timeline {
        Timeline {
            next: identity,
            started: false,
        }
    }

    /// The header of the next packet, whose sound lasts `clock` timestamp units.
    pub fn advance(&mut self, payload_type: u8, clock: u32) -> Header {
        let header = Header {
            // RFC 3551 §4.1: the first packet after silence; our stream never pauses, so only the very first.
            marker: !self.started,
            payload_type,
            sequence: self.next.sequence,
            timestamp: self.next.timestamp,
            ssrc: self.next.ssrc,
        };
        self.started = true;
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(clock);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_and_timestamp_wrap_without_a_jump() {
        let mut timeline = Timeline::new(Identity {
            ssrc: 9,
            sequence: 65_535,
            timestamp: u32::MAX - 159,
        });
        let first = timeline.advance(0, 160);
        let second = timeline.advance(8, 160);
        assert!(first.marker && !second.marker);
        assert_eq!((first.sequence, first.timestamp), (65_535, u32::MAX - 159));
        assert_eq!(
            (
                second.sequence,
                second.timestamp,
                second.payload_type,
                second.ssrc
            ),
            (0, 0, 8, 9)
        );
    }
}
