//! A key press of a synthetic party, packet by packet as RFC 4733 §2.5.1 has it.

/// The end of an event is sent so often (RFC 4733 §2.5.1.4).
const ENDS: usize = 3;

const END: u8 = 0x80;

/// In −dBm0.
const VOLUME: u8 = 10;

/// One key, held down from a packet of the track on and for so many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// The event code: 0 to 9, 10 for `*`, 11 for `#`, then A to D.
    pub event: u8,
    pub first_packet: usize,
    pub packets: usize,
}

/// What is sent in place of a packet of the track.
#[derive(Debug, PartialEq, Eq)]
pub struct Pressed {
    pub payload: [u8; 4],
    pub is_first: bool,
    /// How long ago, in units of the RTP clock, the press began: its packets all bear the time of the first.
    pub since: u32,
}

impl Press {
    /// `packet_clock` is what a packet adds to the timestamp. `None` where the key is not down.
    pub fn in_packet(&self, packet: usize, packet_clock: u32) -> Option<Pressed> {
        let nth = packet.checked_sub(self.first_packet)?;
        if nth >= self.packets + ENDS {
            return None;
        }
        let has_ended = nth >= self.packets;
        let lasted = (nth + 1).min(self.packets) as u32 * packet_clock;
        let [high, low] = u16::try_from(lasted).unwrap_or(u16::MAX).to_be_bytes();
        let flags = if has_ended { END | VOLUME } else { VOLUME };
        Some(Pressed {
            payload: [self.event, flags, high, low],
            is_first: nth == 0,
            since: nth as u32 * packet_clock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_grows_by_a_packet_time_and_ends_three_times() {
        let press = Press {
            event: 11,
            first_packet: 10,
            packets: 2,
        };
        assert_eq!(press.in_packet(9, 160), None);
        let told: Vec<Pressed> = (10..15)
            .map_while(|packet| press.in_packet(packet, 160))
            .collect();
        let payloads: Vec<[u8; 4]> = told.iter().map(|pressed| pressed.payload).collect();
        assert_eq!(
            payloads,
            [
                [11, 10, 0, 160],
                [11, 10, 1, 64],
                [11, 0x8a, 1, 64],
                [11, 0x8a, 1, 64],
                [11, 0x8a, 1, 64]
            ]
        );
        let since: Vec<(u32, bool)> = told
            .iter()
            .map(|pressed| (pressed.since, pressed.is_first))
            .collect();
        assert_eq!(
            since,
            [(0, true), (160, false), (320, false), (480, false), (640, false)]
        );
        assert_eq!(press.in_packet(15, 160), None);
    }
}
