//! What one party received: counted per stream, by sequence number and by the times of arrival.
//!
//! It does not decode and, unless asked to capture, keeps no sound: a thousand of these must cost nothing.

use std::time::Duration;

use super::socket::WallTime;

/// Figures of one inbound RTP stream since `restart`.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub packets: u64,
    pub bytes: u64,
    pub duplicates: u64,
    /// Arrived after a packet with a higher sequence number.
    pub overtaken: u64,
    /// Another SSRC than the packet before: a well-behaved mixer never does this.
    pub source_changes: u64,
    pub gap_max: Duration,
    /// Extended sequence numbers: the first counted, and the highest.
    first: u64,
    highest: u64,
    /// Which of the 64 numbers up to the highest have arrived.
    recent: u64,
    last: Option<(u32, WallTime)>,
}

impl Stream {
    /// Forgets the figures, but not where the stream is.
    pub fn restart(&mut self) {
        *self = Stream {
            first: self.highest + 1,
            highest: self.highest,
            recent: self.recent,
            last: self.last,
            ..Stream::default()
        };
    }

    /// An RTP packet arrived; returns the time since the one before.
    pub fn arrive(
        &mut self,
        at: WallTime,
        ssrc: u32,
        sequence: u16,
        datagram_bytes: usize,
    ) -> Option<Duration> {
        self.bytes += datagram_bytes as u64;
        let Some((last_ssrc, last_at)) = self.last else {
            self.begin(at, ssrc, sequence);
            return None;
        };
        if ssrc != last_ssrc {
            self.source_changes += 1;
            self.begin(at, ssrc, sequence);
            return None;
        }
        self.last = Some((ssrc, at));
        // RFC 3550 appendix A.1: the shorter way round says which cycle the number belongs to.
        let ahead = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        if ahead > 0 {
            self.recent = if ahead < 64 { self.recent << ahead | 1 } else { 1 };
            self.highest += ahead as u64;
            self.packets += 1;
        } else {
            let bit = 1u64.checked_shl((-ahead) as u32).unwrap_or(0);
            if self.recent & bit != 0 {
                self.duplicates += 1;
            } else {
                self.recent |= bit;
                self.overtaken += 1;
                self.packets += 1;
            }
        }
        let gap = Duration::from_nanos(at.nanos_since(last_at).max(0) as u64);
        self.gap_max = self.gap_max.max(gap);
        Some(gap)
    }

    /// Packets that the sequence numbers tell of and that did not arrive.
    pub fn missing(&self) -> u64 {
        self.expected().saturating_sub(self.packets)
    }

    fn expected(&self) -> u64 {
        if self.last.is_none() {
            return 0;
        }
        (self.highest + 1).saturating_sub(self.first)
    }

    fn begin(&mut self, at: WallTime, ssrc: u32, sequence: u16) {
        // A cycle ahead, so that a packet from before the first does not make the number negative. Those that were
        // expected of another source so far stay accounted for.
        let expected = self.expected();
        let begins = self.highest.max(1 << 16).next_multiple_of(1 << 16) + u64::from(sequence);
        self.first = begins - expected;
        self.highest = begins;
        self.recent = 1;
        self.packets += 1;
        self.last = Some((ssrc, at));
    }
}

/// Received RTP packets, kept whole to be decoded after the run.
#[derive(Debug)]
pub struct Capture {
    pub packets: Vec<Captured>,
    bytes_left: usize,
}

#[derive(Debug, Clone)]
pub struct Captured {
    pub at: WallTime,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload: Box<[u8]>,
}

impl Capture {
    /// Keeps packets until their payloads take this much.
    pub fn up_to(bytes: usize) -> Capture {
        Capture {
            packets: Vec::new(),
            bytes_left: bytes,
        }
    }

    pub fn keep(&mut self, packet: Captured) {
        if let Some(left) = self.bytes_left.checked_sub(packet.payload.len()) {
            self.bytes_left = left;
            self.packets.push(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(sequences: &[u16]) -> Stream {
        let mut stream = Stream::default();
        for (n, &sequence) in sequences.iter().enumerate() {
            stream.arrive(WallTime::from_nanos(20_000_000 * n as u64), 7, sequence, 172);
        }
        stream
    }

    #[test]
    fn packets_are_told_apart_by_sequence() {
        // arrivals, packets, missing, duplicates, overtaken
        let table: [(&[u16], u64, u64, u64, u64); 7] = [
            (&[], 0, 0, 0, 0),
            (&[5, 6, 7], 3, 0, 0, 0),
            (&[5, 8], 2, 2, 0, 0),
            (&[65_534, 65_535, 0, 1], 4, 0, 0, 0),
            (&[5, 7, 6], 3, 0, 0, 1),
            (&[5, 6, 6, 7], 3, 0, 1, 0),
            (&[65_535, 1, 0, 0], 3, 0, 1, 1),
        ];
        for (arrivals, packets, missing, duplicates, overtaken) in table {
            let stream = fed(arrivals);
            assert_eq!(
                (
                    stream.packets,
                    stream.missing(),
                    stream.duplicates,
                    stream.overtaken
                ),
                (packets, missing, duplicates, overtaken),
                "{arrivals:?}"
            );
        }
    }

    #[test]
    fn what_was_missing_before_a_restart_is_forgotten_and_what_is_missing_after_is_not() {
        let mut stream = fed(&[1, 9]);
        stream.restart();
        assert_eq!((stream.packets, stream.missing()), (0, 0));
        stream.arrive(WallTime::from_nanos(1_000_000_000), 7, 12, 172);
        assert_eq!((stream.packets, stream.missing()), (1, 2));
    }

    #[test]
    fn the_longest_gap_is_kept() {
        let mut stream = Stream::default();
        for ms in [0u64, 20, 41, 95, 100] {
            stream.arrive(WallTime::from_nanos(ms * 1_000_000), 7, (ms / 10) as u16, 172);
        }
        assert_eq!(stream.gap_max, Duration::from_millis(54));
    }

    #[test]
    fn another_source_is_counted_and_its_numbers_are_not_held_against_it() {
        let mut stream = fed(&[100, 101, 103]);
        stream.arrive(WallTime::from_nanos(80_000_000), 8, 40_000, 172);
        stream.arrive(WallTime::from_nanos(100_000_000), 8, 40_001, 172);
        assert_eq!(
            (stream.packets, stream.missing(), stream.source_changes),
            (5, 1, 1)
        );
    }

    #[test]
    fn a_capture_has_an_end() {
        let mut capture = Capture::up_to(1_000);
        for sequence in 0..20 {
            let payload = vec![0; 160].into_boxed_slice();
            capture.keep(Captured {
                at: WallTime::from_nanos(0),
                sequence,
                timestamp: 0,
                payload,
            });
        }
        assert_eq!(capture.packets.len(), 6);
    }
}
