//! Other formats in mid-call: what has arrived, what is playing and what is known of the network go on.

use super::buffer::Content;
use super::playout::Playout;

impl Playout {
    /// Takes on the formats, and the memory they need, of `new`, which has played nothing yet and holds what is not
    /// needed any more afterwards. `format` tells where a former format stands among the new ones; packets of one
    /// that is gone are given up. The decoders are to be moved alike.
    pub fn refit(&mut self, new: &mut Playout, format: impl Fn(u8) -> Option<u8>) {
        std::mem::swap(&mut self.codecs, &mut new.codecs);
        if new.packets.slot_bytes() > self.packets.slot_bytes() {
            new.packets.fill_from(&self.packets);
            std::mem::swap(&mut self.packets, &mut new.packets);
        }
        if new.sound.capacity() > self.sound.capacity() {
            new.sound.go_on_from(&self.sound);
            std::mem::swap(&mut self.sound, &mut new.sound);
            new.expand.go_on_from(&self.expand);
            std::mem::swap(&mut self.expand, &mut new.expand);
        }
        let abandoned = self.packets.retain(|packet| match packet.content {
            Content::Sound(former) => {
                let now = format(former);
                packet.content = Content::Sound(now.unwrap_or_default());
                now.is_some()
            }
            Content::ComfortNoise { .. } | Content::Event { .. } => true,
        });
        self.abandon(abandoned);
        self.stamps.interrupt();
        if self.packets.aside().is_none() {
            self.candidate = None;
        }
        self.format = self.format.and_then(format);
    }
}
