//! Decides, tick by tick, what a leg's sound is made of.
//!
//! The place in the stream (`next_timestamp`) moves with sound decoded, not with time: a packet that is merely late
//! is still played, and the delay has grown by what was made up meanwhile. A packet beyond a hole is played once
//! the hole has been filled, so loss adds no delay. What was never needed is shortened away again.

use std::time::Duration;

use super::buffer::{Packet, PacketBuffer, SLOTS};
use super::delay::{DelayEstimator, LowWater};
use super::expand::{self, Expand};
use super::sound::Sound;
use super::stats::{Discard, PlayoutStats};
use super::stream::{Candidate, Stream};
use crate::codec::{Codec, Decoder, PAYLOAD_MS_MAX};
use crate::frame::{FrameBuffer, Rate};
use crate::time::{TICK, Time};

/// The least bound of the delay: a tick and a packet of 20 ms.
pub const DELAY_MIN: Duration = Duration::from_millis(40);

/// The greatest bound of the delay: packets of 10 ms fill three quarters of the buffer.
pub const DELAY_MAX: Duration = Duration::from_millis(SLOTS as u64 * 10 * 3 / 4);

const DELAY_DEFAULT: Duration = Duration::from_millis(300);

/// A timestamp this little ahead is no pause worth playing.
const PAUSE_MIN_MS: usize = 5;

/// A talk spurt or a new stream is held back by no more than this, whatever the network asks for.
const HELD_US_MAX: u32 = 60_000;

/// Codecs conceal stretches of a multiple of 2.5 ms.
const CONCEAL_STEPS_PER_S: usize = 400;

/// An Opus payload this short holds no sound: its sender pauses (RFC 6716 §3.1, RFC 7587 §3.1.3).
const OPUS_PAUSE_BYTES_MAX: usize = 2;

/// What a playout is made for; it decides how much memory it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Bound of the sound in hand, within `DELAY_MIN` and `DELAY_MAX`.
    pub max_delay: Duration,
    /// Longer payloads are refused. 64 such payloads is what the buffer holds.
    pub payload_bytes_max: usize,
    /// The leg's formats, as its decoders: a packet's `format` is an index into both.
    pub codecs: Vec<Codec>,
}

impl PlayoutConfig {
    /// 300 ms, and payloads up to 60 ms of these codecs as far as they fit one datagram of an Ethernet.
    pub fn new(codecs: &[Codec]) -> PlayoutConfig {
        const DATAGRAM_BYTES_MAX: usize = 1_500;
        let payload_bytes = |codec: &Codec| codec.payload_bytes_received_max().min(DATAGRAM_BYTES_MAX);
        PlayoutConfig {
            max_delay: DELAY_DEFAULT,
            payload_bytes_max: codecs.iter().map(payload_bytes).max().unwrap_or(0),
            codecs: codecs.to_vec(),
        }
    }
}

/// What a tick was filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Of the sound played now; its `samples_per_tick` is how much of the buffer was filled.
    pub rate: Rate,
    pub kind: PlayedKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayedKind {
    /// Decoded or concealed sound.
    Voice,
    /// Nothing arrives: before the first packet, in a pause, long after the last. All samples are zero.
    Silence,
}

/// The playout of one leg.
///
/// Packets go in as they arrive; every tick is pulled exactly once. Both take the same clock. Nothing allocates after
/// `new`, and no input makes it panic.
#[derive(Debug)]
pub struct Playout {
    pub(super) codecs: Vec<Codec>,
    pub(super) max_delay_us: u64,
    pub(super) packets: PacketBuffer,
    pub(super) delay: DelayEstimator,
    pub(super) low_water: LowWater,
    pub(super) sound: Sound,
    pub(super) expand: Expand,
    pub(super) stats: PlayoutStats,

    pub(super) stream: Option<Stream>,
    /// The SSRC that was left for the present one: not followed back on a whim.
    pub(super) former_ssrc: Option<u32>,
    pub(super) candidate: Option<Candidate>,

    /// The format that was played last; none since the stream began.
    pub(super) format: Option<u8>,
    /// Of the first sample not decoded yet.
    pub(super) next_timestamp: u32,
    /// The next packet is played at once, wherever its timestamp is.
    pub(super) jump: bool,
    /// Something has been decoded at this rate: there is sound to lead over from.
    pub(super) heard: bool,
    /// The last payload said that its sender pauses.
    pub(super) paused: bool,
    /// Samples made up or left silent since the last decoded one.
    pub(super) covered: u64,
    pub(super) dry_ticks: u8,
    pub(super) held_ticks: u8,
    pub(super) accelerate_in_ticks: u8,
    pub(super) accelerate_failures: u8,
}

/// What comes next in the stream.
pub(super) enum Next {
    Packet,
    /// So many samples were lost before the next packet.
    Hole(usize),
    /// So many samples before the next packet never were.
    Pause(usize),
    /// A packet is there, but held until the delay is what the network asks for.
    Held,
    Dry,
}

impl Playout {
    pub fn new(config: PlayoutConfig) -> Playout {
        let rate = config.codecs.first().map_or(Rate::Hz8000, |codec| codec.rate());
        let rate_max = config
            .codecs
            .iter()
            .map(|codec| codec.rate())
            .max()
            .unwrap_or(rate);
        let mut playout = Playout {
            max_delay_us: 0,
            packets: PacketBuffer::new(config.payload_bytes_max),
            codecs: config.codecs,
            delay: DelayEstimator::new(),
            low_water: LowWater::default(),
            sound: Sound::new(rate, rate_max),
            expand: Expand::new(rate_max),
            stats: PlayoutStats::default(),
            stream: None,
            former_ssrc: None,
            candidate: None,
            format: None,
            next_timestamp: 0,
            jump: false,
            heard: false,
            paused: false,
            covered: 0,
            dry_ticks: 0,
            held_ticks: 0,
            accelerate_in_ticks: 0,
            accelerate_failures: 0,
        };
        playout.set_max_delay(config.max_delay);
        playout
    }

    /// Bounds the sound in hand; what lies beyond `DELAY_MIN` or `DELAY_MAX` is taken as these.
    pub fn set_max_delay(&mut self, max_delay: Duration) {
        self.max_delay_us = max_delay.clamp(DELAY_MIN, DELAY_MAX).as_micros() as u64;
    }

    pub fn stats(&self) -> &PlayoutStats {
        &self.stats
    }

    /// The format played last: an index into the leg's decoders.
    pub fn format(&self) -> Option<u8> {
        self.format
    }

    /// Whether the next tick can be filled with what has arrived. `decoders` are the leg's.
    pub fn holds_a_tick(&self, decoders: &[Decoder]) -> bool {
        self.in_hand_us(decoders) >= TICK.as_micros() as u64
    }

    /// Forgets everything heard: the next packet begins a stream. What is known of the network stays.
    pub fn flush(&mut self) {
        self.forget_candidate();
        self.forget_waiting();
        self.stream = None;
        self.former_ssrc = None;
        self.restart_sound(self.sound.rate());
        self.restart_place();
    }

    /// Takes in a packet that has arrived at the time given: `format` is an index into the leg's decoders, the
    /// payload may hold any stretch of sound up to 120 ms.
    pub fn insert(
        &mut self,
        arrival: Time,
        format: u8,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> Result<(), Discard> {
        self.stats.received_packets += 1;
        let packet = Packet {
            arrival,
            format,
            timestamp,
            ..Packet::default()
        };
        let outcome = self.admit(packet, ssrc, sequence, payload);
        if let Err(reason) = outcome {
            *match reason {
                Discard::Late => &mut self.stats.late,
                Discard::Duplicate => &mut self.stats.duplicate,
                Discard::Overflow => &mut self.stats.overflow,
                Discard::TooLarge => &mut self.stats.too_large,
                Discard::UnknownFormat => &mut self.stats.unknown_format,
            } += 1;
        }
        outcome
    }

    /// Fills one tick, `pcm[..rate.samples_per_tick()]` at the rate returned, which is that of the codec played.
    /// `decoders` are the leg's, in the order of the configuration.
    pub fn pull(&mut self, now: Time, decoders: &mut [Decoder], pcm: &mut FrameBuffer) -> Played {
        self.forget_old_candidate(now);
        self.keep_within_bound(decoders);
        let mut dry = false;
        loop {
            let missing = self.tick_samples().saturating_sub(self.sound.ahead());
            if missing == 0 {
                break;
            }
            match self.next(now) {
                Next::Packet => self.play_packet(now, decoders),
                Next::Hole(samples) => self.conceal(samples.min(missing), decoders),
                Next::Pause(samples) => self.pause(samples, missing),
                Next::Held => {
                    self.held_ticks = self.held_ticks.saturating_add(1);
                    self.fall_silent(missing);
                }
                Next::Dry if self.follow_candidate_when_due() => {}
                Next::Dry => {
                    dry = true;
                    self.fill_dry(missing, decoders);
                }
            }
        }
        self.dry_ticks = if dry { self.dry_ticks.saturating_add(1) } else { 0 };
        let flows = self.packets.len() > 0 || self.covered == 0 && self.format.is_some();
        if flows {
            self.lower_delay(now, decoders);
        }
        let rate = self.sound.rate();
        let kind = if self.sound.is_audible() {
            PlayedKind::Voice
        } else {
            PlayedKind::Silence
        };
        self.sound.play(&mut pcm[..rate.samples_per_tick()]);
        if flows {
            self.note_left(decoders);
        }
        self.stats.target_delay_ms = self.delay.target_us() as f32 * 1.0e-3;
        Played { rate, kind }
    }

    fn restart_sound(&mut self, rate: Rate) {
        self.sound.restart(rate);
        self.expand.stop();
        self.heard = false;
    }

    pub(super) fn tick_samples(&self) -> usize {
        self.sound.rate().samples_per_tick()
    }

    /// Nothing has been audible of late.
    fn is_silent(&self) -> bool {
        self.format.is_none() || self.covered > 0 && self.is_faded()
    }

    fn is_faded(&self) -> bool {
        let faded = expand::FADED_MS * self.sound.rate().samples_per_ms();
        if self.expand.is_active() {
            self.expand.is_faded()
        } else {
            self.covered >= faded as u64
        }
    }

    pub(super) fn next(&self, now: Time) -> Next {
        let Some((head, _)) = self.packets.head() else {
            return Next::Dry;
        };
        match self.gap(head) {
            Some(gap) if gap > self.covered => {
                let rest = (gap - self.covered) as usize;
                if self.is_next(head) {
                    Next::Pause(rest)
                } else {
                    Next::Hole(rest)
                }
            }
            _ if self.is_held(head, now) => Next::Held,
            _ => Next::Packet,
        }
    }

    fn is_next(&self, head: &Packet) -> bool {
        self.stream
            .is_some_and(|stream| stream.next_sequence == head.sequence)
    }

    /// Samples between the place in the stream and a packet, where timestamps tell and it is worth while.
    pub(super) fn gap(&self, head: &Packet) -> Option<u64> {
        let codec = self.codecs[usize::from(head.format)];
        let last = self.codecs[usize::from(self.format?)];
        if self.jump || head.fresh || last.clock_hz() != codec.clock_hz() || last.rate() != codec.rate() {
            return None;
        }
        let ahead = u32::try_from(head.timestamp.wrapping_sub(self.next_timestamp) as i32).ok()?;
        let samples = codec.samples_of(ahead);
        let least = if self.is_next(head) {
            PAUSE_MIN_MS * codec.rate().samples_per_ms()
        } else {
            1
        };
        (samples >= least as u64).then_some(samples)
    }

    /// After silence nothing is lost by waiting until the delay is what the network asks for: the talk spurt then
    /// begins late once, instead of being torn by the first packets that need it.
    fn is_held(&self, head: &Packet, now: Time) -> bool {
        let delay_us = duration_us(now.since(head.arrival)) + u64::from(head.relative_delay_us);
        let target_us = u64::from(self.delay.target_us().min(HELD_US_MAX)).min(self.max_delay_us);
        let tick_us = duration_us(TICK);
        self.is_silent()
            && delay_us + tick_us / 2 < target_us
            && u64::from(self.held_ticks) * tick_us < target_us
    }

    /// Decodes the next packet, or counts it as undecodable: then it was lost.
    pub(super) fn play_packet(&mut self, now: Time, decoders: &mut [Decoder]) {
        let Some((&packet, _)) = self.packets.head() else {
            return;
        };
        let codec = self.codecs[usize::from(packet.format)];
        let rate = codec.rate();
        if rate != self.sound.rate() {
            if self.sound.ahead() > 0 {
                // The rest of this tick belongs to the old rate, the next to the new one.
                let missing = self.tick_samples() - self.sound.ahead();
                self.fall_silent(missing);
                return;
            }
            self.restart_sound(rate);
        }
        let played_from = now + rate.duration(self.sound.ahead());
        let gap = self.gap(&packet).unwrap_or(0);
        let continues = self.format.is_some() && !self.jump && (!packet.fresh || self.is_next(&packet));
        if !continues && !self.expand.is_active() {
            if self.heard {
                self.expand.start(self.sound.newest(), rate);
            } else {
                self.expand.start_silent(rate);
            }
        }

        let room = self.sound.room(PAYLOAD_MS_MAX * rate.samples_per_ms());
        let Some((_, payload)) = self.packets.head() else {
            return;
        };
        let (decoded, audible) = match decoders.get_mut(usize::from(packet.format)) {
            Some(decoder) if decoder.codec() == codec => {
                let decoded = decoder.decode(payload, room).unwrap_or(0);
                (decoded, !decoder.has_passed())
            }
            _ => (0, false),
        };
        let pauses = matches!(codec, Codec::Opus(_)) && payload.len() <= OPUS_PAUSE_BYTES_MAX;
        self.packets.drop_head();
        if decoded == 0 {
            self.stats.undecodable += 1;
            return;
        }
        if self.expand.is_active() {
            self.expand.merge(&mut room[..decoded]);
        }
        self.sound.extend(decoded, audible);
        self.heard = true;
        self.settle(&packet, gap);
        self.stats.played_packets += 1;
        self.stats.played_samples += decoded as u64;
        let delay = played_from.since(packet.arrival).as_secs_f32() * 1_000.0;
        self.stats.delay_ms = delay + packet.relative_delay_us as f32 * 1.0e-3;
        self.stats.delay_ms_max = self.stats.delay_ms_max.max(self.stats.delay_ms);

        self.next_timestamp = packet.timestamp.wrapping_add(codec.clock_of(decoded));
        self.format = Some(packet.format);
        self.paused = pauses;
        self.jump = false;
        self.covered = 0;
        self.held_ticks = 0;
    }

    /// What the gap before a packet was is known now that it is played.
    fn settle(&mut self, packet: &Packet, gap: u64) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let began = stream.next_sequence == 0;
        let lost = if began {
            0
        } else {
            packet.sequence.saturating_sub(stream.next_sequence)
        };
        stream.next_sequence = packet.sequence + 1;
        self.stats.lost_packets += lost;
        if began {
            return;
        }
        let faded = expand::FADED_MS * self.sound.rate().samples_per_ms();
        if lost > 0 {
            self.stats.concealed_samples += self.covered;
        } else if gap == 0 && !self.paused {
            // Merely late. A sender that stood still for longer than the fade has paused.
            self.stats.concealed_samples += self.covered.min(faded as u64);
        }
        if self.covered > gap {
            self.low_water.note(0);
            self.low_water.count_noted();
        } else if lost == 0 && gap > 0 {
            self.low_water.forget_noted();
        } else {
            self.low_water.count_noted();
        }
    }

    /// Fills a pause. Its length is nothing that anybody hears: surplus delay goes here first.
    fn pause(&mut self, samples: usize, missing: usize) {
        let rate = self.sound.rate();
        let surplus = rate.samples(Duration::from_micros(u64::from(self.surplus_us())));
        let skipped = surplus.min(samples);
        if skipped > 0 {
            self.covered += skipped as u64;
            self.count_accelerated(skipped);
        }
        self.fall_silent((samples - skipped).min(missing));
    }

    fn fill_dry(&mut self, samples: usize, decoders: &mut [Decoder]) {
        if !self.heard && !self.expand.is_active() {
            self.sound.room(samples).fill(0.0);
            self.sound.extend(samples, false);
        } else if self.paused || self.format.is_none() {
            self.fall_silent(samples);
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
            if self.is_faded() {
                self.expand.start_silent(self.sound.rate());
            } else {
                self.expand.start(self.sound.newest(), self.sound.rate());
            }
        }
        self.fill_from_expand(samples);
    }

    fn conceal_by_codec(&mut self, samples: usize, decoders: &mut [Decoder]) -> bool {
        let rate = self.sound.rate();
        let step = rate.hz() as usize / CONCEAL_STEPS_PER_S;
        let whole = samples.div_ceil(step) * step;
        let decoder = self
            .format
            .and_then(|format| decoders.get_mut(usize::from(format)));
        let Some(decoder) = decoder.filter(|decoder| decoder.codec().rate() == rate) else {
            return false;
        };
        if self.is_faded() {
            return false;
        }
        let room = self.sound.room(whole);
        if !decoder.conceal(room) {
            return false;
        }
        let faded = expand::FADED_MS * rate.samples_per_ms();
        let fade = 1.0 / (faded / 3) as f32;
        for (n, sample) in room.iter_mut().enumerate() {
            let left = faded.saturating_sub(self.covered as usize + n);
            *sample *= (left as f32 * fade).min(1.0);
        }
        self.sound.extend(whole, true);
        self.covered += whole as u64;
        true
    }

    /// Ends what was heard within a few milliseconds, then is silent.
    fn fall_silent(&mut self, samples: usize) {
        if !self.expand.is_active() {
            self.expand.start(self.sound.newest(), self.sound.rate());
        }
        self.expand.release();
        self.fill_from_expand(samples);
    }

    fn fill_from_expand(&mut self, samples: usize) {
        let audible = !self.expand.is_faded();
        self.expand.fill(self.sound.room(samples));
        self.sound.extend(samples, audible);
        self.covered = self.covered.saturating_add(samples as u64);
    }
}

pub(super) fn duration_us(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
