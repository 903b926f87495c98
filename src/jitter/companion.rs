//! Packets that hold no sound: descriptions of silence and pieces of events.

use super::buffer::Content;
use super::cover::Pause;
use super::playout::Playout;
use crate::codec::Decoder;

impl Playout {
    /// Heeds a packet that holds no sound: from here on its sender pauses. The place in the stream stays at the end of
    /// what was said, so that the next sound tells how long the pause was.
    pub(super) fn take_companion(&mut self, missing: usize, decoders: &mut [Decoder]) {
        let Some((&packet, _)) = self.packets.head() else {
            return;
        };
        let rate = self.rate_of(&packet);
        if let Content::ComfortNoise { .. } = packet.content {
            if rate != self.sound.rate() {
                if self.sound.ahead() > 0 {
                    self.fill_pause(missing, decoders);
                    return;
                }
                self.sound.change_rate(rate);
                self.expand.stop();
            }
            if self.paused != Some(Pause::Noise) || self.noise.rate() != rate {
                let seed = self.stream.map_or(0, |stream| stream.ssrc);
                self.noise.restart(rate, seed);
            }
        }
        let Some((_, payload)) = self.packets.head() else {
            return;
        };
        let outcome = match packet.content {
            Content::ComfortNoise { .. } => self.noise.describe(payload).map(|()| Pause::Noise),
            // Pressing a key does not end the noise that it is pressed in.
            Content::Event { .. } | Content::Sound(_) => Ok(self.paused.unwrap_or(Pause::Silence)),
        };
        self.packets.drop_head();
        self.stamps.interrupt();
        let Ok(pause) = outcome else {
            self.stats.undecodable += 1;
            return;
        };
        self.paused = Some(pause);
        self.stats.played_packets += 1;
        // A hole before it has been filled.
        if let Some(gap) = self.gap(&packet).filter(|gap| *gap <= self.covered)
            && !self.is_next(&packet)
        {
            self.stats.concealed_samples += gap.saturating_sub(self.recovered);
            self.stats.recovered_samples += self.recovered;
            self.covered -= gap;
            self.recovered = 0;
            self.next_timestamp = packet.timestamp;
        }
        self.count_lost(&packet);
    }
}
