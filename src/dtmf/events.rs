//! The payload of a telephone-event packet (RFC 4733 §2.3).

use thiserror::Error;

/// One event block.
pub const EVENT_BYTES: usize = 4;

/// One report about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPayload {
    /// RFC 4733 §3.2: 0 to 15 are the keys, the others are no digits.
    pub event: u8,
    /// The event is over; such a packet is sent three times.
    pub end: bool,
    /// Level of the tone, 0 to 63, in −dBm0.
    pub volume: u8,
    /// From the packet's timestamp until now, in units of the RTP clock.
    pub duration: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a telephone-event payload of {0} bytes is not made of blocks of four")]
pub struct BadEvent(pub usize);

const END: u8 = 0x80;
const VOLUME: u8 = 0x3F;

impl EventPayload {
    /// Reads the first block. Several may share a packet when each event begins where the last one ends
    /// (RFC 4733 §2.5.1.5), which keys cannot do: there is a gap between any two. The reserved bit is not looked at.
    pub fn parse(payload: &[u8]) -> Result<EventPayload, BadEvent> {
        match *payload {
            [event, flags, high, low, ref more @ ..] if more.len().is_multiple_of(EVENT_BYTES) => {
                Ok(EventPayload {
                    event,
                    end: flags & END != 0,
                    volume: flags & VOLUME,
                    duration: u16::from_be_bytes([high, low]),
                })
            }
            _ => Err(BadEvent(payload.len())),
        }
    }

    pub fn write(&self) -> [u8; EVENT_BYTES] {
        let [high, low] = self.duration.to_be_bytes();
        let end = if self.end { END } else { 0 };
        [self.event, end | (self.volume & VOLUME), high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_as_the_bytes_of_the_rfc_say() {
        let cases: [(&[u8], EventPayload); 3] = [
            (
                &[1, 0x0A, 0x00, 0xA0],
                EventPayload {
                    event: 1,
                    end: false,
                    volume: 10,
                    duration: 160,
                },
            ),
            (
                &[11, 0x80 | 63, 0xFF, 0xFF],
                EventPayload {
                    event: 11,
                    end: true,
                    volume: 63,
                    duration: 0xFFFF,
                },
            ),
            (
                &[255, 0xC0, 0x03, 0x20, 9, 9, 9, 9],
                EventPayload {
                    event: 255,
                    end: true,
                    volume: 0,
                    duration: 800,
                },
            ),
        ];
        for (bytes, payload) in cases {
            assert_eq!(EventPayload::parse(bytes), Ok(payload));
            let reserved = 0x40 & bytes[1];
            assert_eq!(
                payload.write(),
                [bytes[0], bytes[1] & !reserved, bytes[2], bytes[3]]
            );
        }
    }

    #[test]
    fn a_payload_that_is_not_made_of_blocks_is_refused() {
        for len in [0, 1, 2, 3, 5, 6, 7, 9] {
            assert_eq!(EventPayload::parse(&vec![0; len]), Err(BadEvent(len)));
        }
    }
}
