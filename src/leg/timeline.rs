//! The one outbound timeline of a leg: whatever happens behind it, its SSRC stays, its sequence number rises by one
//! a packet and its timestamp with the time its sound takes (RFC 3550 §5.1). Only where the remote turns out to use the
//! same SSRC, another takes its place (§8.2).

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

    pub fn ssrc(&self) -> u32 {
        self.next.ssrc
    }

    /// The header of the next packet, whose sound lasts `clock` timestamp units.
    pub fn advance(&mut self, payload_type: u8, clock: u32) -> Header {
        let header = Header {
            // RFC 3551 §4.1: the first packet after a pause.
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

    /// The header of a telephone event, whose timestamp is that of its beginning (RFC 4733 §2.2.1): it takes a sequence
    /// number and no time.
    pub fn event(&mut self, payload_type: u8, timestamp: u32, marker: bool) -> Header {
        let header = Header {
            marker,
            payload_type,
            sequence: self.next.sequence,
            timestamp,
            ssrc: self.next.ssrc,
        };
        self.next.sequence = self.next.sequence.wrapping_add(1);
        header
    }

    /// From here on as another source; numbers and timestamps go on.
    pub fn change_ssrc(&mut self, ssrc: u32) {
        self.next.ssrc = ssrc;
    }

    /// The number of the next packet.
    pub fn sequence(&self) -> u16 {
        self.next.sequence
    }

    /// The timestamp of the next packet of sound.
    pub fn timestamp(&self) -> u32 {
        self.next.timestamp
    }

    /// The header of a description of silence (RFC 3389), which begins a pause or is given again within one.
    pub fn describe(&mut self, payload_type: u8, clock: u32) -> Header {
        self.started = true;
        let header = self.advance(payload_type, clock);
        self.started = false;
        header
    }

    /// Time goes by in which nothing is to be sent: the timestamp is bound to the moment of the sound (RFC 3550 §5.1).
    pub fn pass(&mut self, clock: u32) {
        self.started = false;
        self.next.timestamp = self.next.timestamp.wrapping_add(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_the_timestamp_has_gone_on_the_sequence_has_not_and_the_marker_is_set() {
        let mut timeline = Timeline::new(Identity {
            ssrc: 9,
            sequence: 1,
            timestamp: 0,
        });
        timeline.advance(0, 160);
        timeline.pass(160);
        timeline.pass(160);
        let resumed = timeline.advance(0, 160);
        assert_eq!(
            (resumed.sequence, resumed.timestamp, resumed.marker),
            (2, 480, true)
        );
    }

    #[test]
    fn a_description_of_silence_has_a_place_in_the_timeline_and_only_the_sound_after_it_the_marker() {
        let mut timeline = Timeline::new(Identity {
            ssrc: 9,
            sequence: 1,
            timestamp: 0,
        });
        timeline.advance(0, 160);
        let described = timeline.describe(13, 160);
        timeline.pass(160);
        let again = timeline.describe(13, 160);
        let resumed = timeline.advance(0, 160);
        assert_eq!((described.sequence, described.timestamp), (2, 160));
        assert_eq!((again.sequence, again.timestamp), (3, 480));
        assert_eq!((resumed.sequence, resumed.timestamp), (4, 640));
        assert_eq!(
            [described, again, resumed].map(|header| header.marker),
            [false, false, true]
        );
    }

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
