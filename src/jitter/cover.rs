//! What is played where no packet was decoded: a repetition of the lost one, a guess at it, or a pause.

use super::bridge;
use super::playout::{PlayedKind, Playout, duration_us};
use crate::codec::{Decoder, PAYLOAD_MS_MAX};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::time::Time;
use std::time::Duration;

/// A codec's own guess is gone after this: it hardly changes, and the longer it lasts the less is it like what was said.
const CODEC_FADED_MS: usize = 120;

/// From so much missing sound on, the background is heard under what still fades.
const BACKGROUND_MS: usize = 120;

/// How a known pause sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    Silence,
    /// As described by RFC 3389.
    Noise,
    /// As the codec's own decoder has it.
    Codec,
}

impl Playout {
    /// Fills a part of the hole before the next packet, `samples` of which are left. Its end may be in that packet.
    pub(super) fn fill_hole(&mut self, samples: usize, missing: usize, now: Time, decoders: &mut [Decoder]) {
        let repeated = self.repeated(decoders);
        if repeated > 0 && repeated == samples && self.recover(repeated, now, decoders) {
            return;
        }
        let lost = if repeated < samples {
            samples - repeated
        } else {
            samples
        };
        let lost = lost.min(missing);
        if self.paused.is_some() {
            self.fill_pause(lost, decoders);
        } else if !self.fill_from_both_sides(samples, lost, decoders) {
            self.conceal(lost, decoders);
        }
    }

    /// Fills the next `samples` of a hole, `left` of which are left, towards the packet behind it, where that tells what
    /// it will sound like.
    fn fill_from_both_sides(&mut self, left: usize, samples: usize, decoders: &[Decoder]) -> bool {
        let rate = self.sound.rate();
        let room = self.sound.room(PAYLOAD_MS_MAX * rate.samples_per_ms());
        let Some((head, payload)) = self.packets.head() else {
            return false;
        };
        let packet = head.sequence;
        let format = head
            .content
            .format()
            .filter(|format| self.format == Some(*format));
        let decoder = format
            .and_then(|format| decoders.get(usize::from(format)))
            .filter(|decoder| decoder.codec().rate() == rate);
        let Some(known) = decoder.and_then(|decoder| decoder.peek(payload, room)) else {
            return false;
        };
        let known = known.min(bridge::AFTER_MS * rate.samples_per_ms());
        let mut after: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        after[..known].copy_from_slice(&room[..known]);

        self.start_expand();
        let room = self.sound.room(samples);
        if room.len() < samples
            || !self
                .bridge
                .fill(&mut self.expand, &after[..known], rate, left, room)
        {
            return false;
        }
        self.background.leave(room);
        self.sound.extend(samples, PlayedKind::Voice);
        self.covered += samples as u64;
        if samples == left {
            self.expand.stop();
            self.bridge.reach(packet);
        } else {
            self.expand.start(self.sound.newest(), rate);
        }
        true
    }

    /// The hole before the next packet was filled while it was not there yet. What was lost is played all the same, and
    /// the delay is long enough from then on.
    pub(super) fn recover_late(&mut self, now: Time, decoders: &mut [Decoder]) -> bool {
        if self.covered == 0 || self.recovered > 0 || self.paused.is_some() {
            return false;
        }
        let Some((&head, _)) = self.packets.head() else {
            return false;
        };
        let repeated = self.repeated(decoders);
        let hole = self.gap(&head).unwrap_or(0);
        if repeated == 0 || hole < repeated as u64 {
            return false;
        }
        let repeated_us = duration_us(self.sound.rate().duration(repeated));
        let has_room = u64::from(self.delay.target_us()) + repeated_us <= self.max_delay_us;
        has_room && self.recover(repeated, now, decoders)
    }

    /// Samples at the end of the hole before the next packet that it repeats.
    fn repeated(&self, decoders: &[Decoder]) -> usize {
        let Some((head, payload)) = self.packets.head() else {
            return 0;
        };
        let decoder = head
            .content
            .format()
            .filter(|format| self.format == Some(*format) && !self.is_next(head))
            .and_then(|format| decoders.get(usize::from(format)));
        decoder
            .filter(|decoder| decoder.codec().rate() == self.sound.rate())
            .map_or(0, |decoder| decoder.repeated(payload))
    }

    fn recover(&mut self, samples: usize, now: Time, decoders: &mut [Decoder]) -> bool {
        let decoder = self
            .format
            .and_then(|format| decoders.get_mut(usize::from(format)));
        let (Some(decoder), Some((_, payload))) = (decoder, self.packets.head()) else {
            return false;
        };
        let room = self.sound.room(samples);
        if room.len() < samples || !decoder.recover(payload, room) {
            return false;
        }
        if self.expand.is_active() {
            self.expand.merge(room);
        }
        self.background.leave(room);
        self.sound.extend(samples, PlayedKind::Voice);
        self.covered += samples as u64;
        self.recovered += samples as u64;
        let repeated_us = duration_us(self.sound.rate().duration(samples));
        self.repair.note(now, repeated_us as u32);
        true
    }

    /// Fills a pause before the next packet. Its length is nothing that anybody hears: surplus delay goes here first.
    pub(super) fn pause(&mut self, samples: usize, missing: usize, decoders: &mut [Decoder]) {
        let rate = self.sound.rate();
        let surplus = rate.samples(Duration::from_micros(u64::from(self.surplus_us())));
        let step = match self.paused {
            Some(Pause::Codec) => self
                .last_decoder(decoders)
                .map_or(1, |decoder| decoder.conceal_step()),
            _ => 1,
        };
        let skipped = surplus.min(samples) / step * step;
        if skipped > 0 {
            self.covered += skipped as u64;
            self.count_accelerated(skipped);
        }
        let left = (samples - skipped).min(missing);
        if left > 0 {
            self.fill_pause(left, decoders);
        }
    }

    /// As a pause sounds that its sender has announced; silence where none was.
    pub(super) fn fill_pause(&mut self, samples: usize, decoders: &mut [Decoder]) {
        if self.paused == Some(Pause::Noise) {
            self.fill_noise(samples);
        } else if self.paused != Some(Pause::Codec) || !self.pause_by_codec(samples, decoders) {
            self.fall_silent(samples);
        }
    }

    pub(super) fn fill_dry(&mut self, samples: usize, decoders: &mut [Decoder]) {
        if self.paused == Some(Pause::Noise) {
            self.fill_noise(samples);
        } else if !self.heard && !self.expand.is_active() {
            self.sound.room(samples).fill(0.0);
            self.sound.extend(samples, PlayedKind::Silence);
        } else if self.paused.is_some() || self.format.is_none() {
            self.fill_pause(samples, decoders);
        } else {
            self.conceal(samples, decoders);
        }
    }

    /// Makes up sound: the codec's own way where it has one, else by repetition; silence once that has faded.
    fn conceal(&mut self, samples: usize, decoders: &mut [Decoder]) {
        if !self.expand.is_active() {
            if self.conceal_by_codec(samples, decoders) {
                return;
            }
            self.start_expand();
        }
        let after = BACKGROUND_MS * self.sound.rate().samples_per_ms();
        if self.covered >= after as u64 {
            self.background.begin(self.stream.map_or(0, |stream| stream.ssrc));
        }
        self.fill_from_expand(samples);
    }

    fn start_expand(&mut self) {
        if self.expand.is_active() {
            // It goes on.
        } else if self.is_faded() {
            self.expand.start_silent(self.sound.rate());
        } else {
            self.expand.start(self.sound.newest(), self.sound.rate());
        }
    }

    /// The decoder that the sound of late came from, while its rate is still played.
    fn last_decoder<'a>(&self, decoders: &'a mut [Decoder]) -> Option<&'a mut Decoder> {
        let rate = self.sound.rate();
        let decoder = self
            .format
            .and_then(|format| decoders.get_mut(usize::from(format)));
        decoder.filter(|decoder| decoder.codec().rate() == rate)
    }

    fn conceal_by_codec(&mut self, samples: usize, decoders: &mut [Decoder]) -> bool {
        let rate = self.sound.rate();
        if self.is_faded() {
            return false;
        }
        let Some(decoder) = self.last_decoder(decoders) else {
            return false;
        };
        let whole = samples.next_multiple_of(decoder.conceal_step());
        let room = self.sound.room(whole);
        if room.len() < whole || !decoder.conceal(room) {
            return false;
        }
        let faded = CODEC_FADED_MS * rate.samples_per_ms();
        let fade = 1.0 / (faded / 3) as f32;
        for (n, sample) in room.iter_mut().enumerate() {
            let left = faded.saturating_sub(self.covered as usize + n);
            *sample *= (left as f32 * fade).min(1.0);
        }
        self.sound.extend(whole, PlayedKind::Voice);
        self.covered += whole as u64;
        true
    }

    fn pause_by_codec(&mut self, samples: usize, decoders: &mut [Decoder]) -> bool {
        let Some(decoder) = self.last_decoder(decoders) else {
            return false;
        };
        let whole = samples.next_multiple_of(decoder.conceal_step());
        let room = self.sound.room(whole);
        if room.len() < whole || !decoder.pause(room) {
            return false;
        }
        if self.expand.is_active() {
            self.expand.merge(room);
        }
        self.background.leave(room);
        self.sound.extend(whole, PlayedKind::Noise);
        self.covered = self.covered.saturating_add(whole as u64);
        true
    }

    /// Ends what was heard within a few milliseconds, then is silent.
    pub(super) fn fall_silent(&mut self, samples: usize) {
        self.let_go();
        self.fill_from_expand(samples);
    }

    /// The noise of a described pause, out of which what was heard before fades.
    fn fill_noise(&mut self, samples: usize) {
        self.let_go();
        self.heard = true;
        let ends = !self.expand.is_faded();
        let room = self.sound.room(samples);
        self.expand.fill(room);
        self.background.leave(room);
        let kind = match (ends, self.noise.add(room)) {
            (true, _) => PlayedKind::Voice,
            (false, true) => PlayedKind::Noise,
            (false, false) => PlayedKind::Silence,
        };
        self.sound.extend(samples, kind);
        self.covered = self.covered.saturating_add(samples as u64);
    }

    fn let_go(&mut self) {
        self.lead_on(self.sound.rate());
        self.expand.release();
    }

    /// Goes on from what was heard last, in order to lead over from it.
    pub(super) fn lead_on(&mut self, rate: Rate) {
        if self.expand.is_active() {
            // It does so already.
        } else if self.heard {
            self.expand.start(self.sound.newest(), rate);
        } else {
            self.expand.start_silent(rate);
        }
    }

    fn fill_from_expand(&mut self, samples: usize) {
        let ends = !self.expand.is_faded();
        let room = self.sound.room(samples);
        self.expand.fill(room);
        let kind = match (ends, self.background.add(room)) {
            (true, _) => PlayedKind::Voice,
            (false, true) => PlayedKind::Noise,
            (false, false) => PlayedKind::Silence,
        };
        self.sound.extend(samples, kind);
        self.covered = self.covered.saturating_add(samples as u64);
    }

    /// Nothing has been audible of late but what fills a pause.
    pub(super) fn is_silent(&self) -> bool {
        self.format.is_none() || self.covered > 0 && self.is_faded()
    }

    fn is_faded(&self) -> bool {
        let faded = CODEC_FADED_MS * self.sound.rate().samples_per_ms();
        if self.expand.is_active() {
            self.expand.is_faded()
        } else {
            self.covered >= faded as u64
        }
    }
}
