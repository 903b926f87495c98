//! Decides, tick by tick, what a leg's sound is made of.
//!
//! The place in the stream (`next_timestamp`) moves with sound decoded, not with time: a packet that is merely late
//! is still played, and the delay has grown by what was made up meanwhile. A packet beyond a hole is played once
//! the hole has been filled, so loss adds no delay. What was never needed is shortened away again, and what will be
//! needed is gained by lengthening.

use std::time::Duration;

use super::background::Background;
use super::bridge::Bridge;
use super::buffer::{Content, Packet, PacketBuffer, SLOTS};
use super::cover::Pause;
use super::delay::DelayEstimator;
use super::depth::Depth;
use super::drift::Drift;
use super::expand::{self, Expand};
use super::low_water::LowWater;
use super::noise::Noise;
use super::operation::Operation;
use super::repair::Repair;
use super::sound::Sound;
use super::stamps::Stamps;
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

/// What a playout is made for; it decides how much memory it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Bound of the sound in hand, within `DELAY_MIN` and `DELAY_MAX`.
    pub max_delay: Duration,
    /// Longer payloads are refused. 64 such payloads is what the buffer holds.
    pub payload_bytes_max: usize,
    /// The leg's formats, as its decoders: `Content::Sound` is an index into both.
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
    /// The noise of a pause, as its sender describes it, or of a hole as the leg's own background was: to be heard, and no
    /// sign that anybody speaks.
    Noise,
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
    pub(super) drift: Drift,
    pub(super) depth: Depth,
    pub(super) sound: Sound,
    pub(super) expand: Expand,
    pub(super) bridge: Bridge,
    pub(super) background: Background,
    pub(super) noise: Noise,
    pub(super) repair: Repair,
    pub(super) stats: PlayoutStats,

    pub(super) stream: Option<Stream>,
    /// The SSRC that was left for the present one: not followed back on a whim.
    pub(super) former_ssrc: Option<u32>,
    pub(super) candidate: Option<Candidate>,
    pub(super) stamps: Stamps,

    /// The format that was played last; none since the stream began.
    pub(super) format: Option<u8>,
    /// Of the first sample not decoded yet.
    pub(super) next_timestamp: u32,
    /// The next packet is played at once, wherever its timestamp is.
    pub(super) jump: bool,
    /// Something has been decoded at this rate: there is sound to lead over from.
    pub(super) heard: bool,
    /// The last packet said that its sender pauses.
    pub(super) paused: Option<Pause>,
    /// Samples made up or left silent since the last decoded one.
    pub(super) covered: u64,
    /// How many of them the next packet repeats.
    pub(super) recovered: u64,
    /// What is in hand is as much as may be: nothing may be put in front of it.
    pub(super) is_full: bool,
    pub(super) dry_ticks: u8,
    pub(super) held_ticks: u8,
    /// What the tick that is being filled is made of.
    pub(super) operation: Operation,
    /// Since sound was last shortened or lengthened.
    pub(super) unstretched_ticks: u8,
    /// How often in a row no part of it was alike enough for that.
    pub(super) stretch_failures: u8,
}

/// What comes next in the stream.
pub(super) enum Next {
    Packet,
    /// So many samples were lost before the next packet.
    Hole(usize),
    /// So many samples before the next packet never were.
    Pause(usize),
    /// A packet that holds no sound and takes no time.
    Companion,
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
            drift: Drift::default(),
            depth: Depth::default(),
            sound: Sound::new(rate, rate_max),
            expand: Expand::new(rate_max),
            bridge: Bridge::new(rate_max),
            background: Background::new(rate),
            noise: Noise::new(rate),
            repair: Repair::default(),
            stats: PlayoutStats::default(),
            stream: None,
            former_ssrc: None,
            candidate: None,
            stamps: Stamps::default(),
            format: None,
            next_timestamp: 0,
            jump: false,
            heard: false,
            paused: None,
            covered: 0,
            recovered: 0,
            is_full: false,
            dry_ticks: 0,
            held_ticks: 0,
            operation: Operation::Silence,
            unstretched_ticks: u8::MAX,
            stretch_failures: 0,
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

    /// Whose stream is played; none before the first packet.
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.map(|stream| stream.ssrc)
    }

    /// The format played last: an index into the leg's decoders.
    pub fn format(&self) -> Option<u8> {
        self.format
    }

    /// Whether the sender has said last that it pauses; pressing a key says no such thing.
    pub fn is_paused(&self) -> bool {
        matches!(self.paused, Some(Pause::Noise | Pause::Codec))
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

    /// Takes in a packet that has arrived at the time given. Sound may be any stretch up to 120 ms; of an event
    /// the payload does not matter.
    pub fn insert(
        &mut self,
        arrival: Time,
        content: Content,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> Result<(), Discard> {
        self.stats.received_packets += 1;
        let packet = Packet {
            arrival,
            content,
            stamp: timestamp,
            timestamp,
            ..Packet::default()
        };
        let outcome = self.admit(packet, ssrc, sequence, payload);
        if let Err(reason) = outcome {
            match reason {
                Discard::Late => self.stats.late_samples += u64::from(self.depth.packet_samples),
                Discard::Overflow => self.count_discarded(1),
                Discard::Duplicate | Discard::TooLarge | Discard::UnknownFormat => {}
            }
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
        self.repair.forget_old(now);
        self.keep_within_bound(decoders);
        self.operation = match self.sound.kind() {
            PlayedKind::Voice => Operation::Normal,
            PlayedKind::Noise => Operation::ComfortNoise,
            PlayedKind::Silence => Operation::Silence,
        };
        let mut dry = false;
        loop {
            let missing = self.tick_samples().saturating_sub(self.sound.ahead());
            if missing == 0 {
                break;
            }
            match self.next(now) {
                Next::Packet if !self.is_full && self.recover_late(now, decoders) => {
                    self.decide(Operation::Fec)
                }
                Next::Packet => self.play_packet(now, decoders),
                Next::Companion => self.take_companion(missing, decoders),
                Next::Hole(samples) => {
                    let recovered = self.recovered;
                    self.fill_hole(samples, missing, now, decoders);
                    if self.recovered > recovered {
                        self.decide(Operation::Fec);
                    } else {
                        self.decide_filled(self.paused.is_some());
                    }
                }
                Next::Pause(samples) => {
                    self.pause(samples, missing, decoders);
                    self.decide_filled(true);
                }
                Next::Held => {
                    self.held_ticks = self.held_ticks.saturating_add(1);
                    self.fill_pause(missing, decoders);
                    self.decide_filled(true);
                }
                Next::Dry if self.follow_candidate_when_due() => {}
                Next::Dry => {
                    dry = true;
                    self.fill_dry(missing, decoders);
                    self.decide_filled(self.paused.is_some());
                }
            }
        }
        self.dry_ticks = if dry { self.dry_ticks.saturating_add(1) } else { 0 };
        let flows = self.packets.len() > 0 || self.covered == 0 && self.format.is_some();
        if flows {
            self.stretch(now, decoders);
        }
        let rate = self.sound.rate();
        let kind = self.sound.kind();
        self.sound.play(&mut pcm[..rate.samples_per_tick()]);
        if flows {
            self.note_left(decoders);
        }
        self.stats.operations[self.operation as usize] += 1;
        self.stats.target_delay_ms = self.target_us() as f32 / 1_000.0;
        Played { rate, kind }
    }

    fn restart_sound(&mut self, rate: Rate) {
        self.sound.restart(rate);
        self.expand.stop();
        self.background.forget(rate);
        self.heard = false;
    }

    /// A tick that takes several operations has the name of the last of them, in their order.
    pub(super) fn decide(&mut self, operation: Operation) {
        self.operation = self.operation.max(operation);
    }

    /// Something has been filled without a packet.
    fn decide_filled(&mut self, pauses: bool) {
        self.decide(match self.sound.newest_kind() {
            PlayedKind::Voice if !pauses => Operation::Expand,
            PlayedKind::Voice | PlayedKind::Noise if self.paused.is_some() => Operation::ComfortNoise,
            // A voice that ends, and nothing after it.
            PlayedKind::Voice | PlayedKind::Noise | PlayedKind::Silence => Operation::Silence,
        });
    }

    pub(super) fn tick_samples(&self) -> usize {
        self.sound.rate().samples_per_tick()
    }

    pub(super) fn next(&self, now: Time) -> Next {
        let Some((head, _)) = self.packets.head() else {
            return Next::Dry;
        };
        let has_sound = head.content.format().is_some();
        let is_next = self.is_next(head);
        match self.gap(head) {
            // What only tells of a pause need not wait until that is over.
            Some(_) if is_next && !has_sound => Next::Companion,
            Some(gap) if gap > self.covered => {
                let rest = (gap - self.covered) as usize;
                if is_next {
                    Next::Pause(rest)
                } else {
                    Next::Hole(rest)
                }
            }
            _ if !has_sound => Next::Companion,
            _ if self.is_held(head, now) => Next::Held,
            _ => Next::Packet,
        }
    }

    pub(super) fn is_next(&self, head: &Packet) -> bool {
        self.stream
            .is_some_and(|stream| stream.next_sequence == head.sequence)
    }

    /// The codec on whose clock a packet is: beside those that are no sound, the last one if it has that clock.
    fn codec_of(&self, content: Content) -> Option<Codec> {
        match content {
            Content::Sound(format) => Some(self.codecs[usize::from(format)]),
            Content::ComfortNoise { clock_hz } | Content::Event { clock_hz } => {
                let last = self.format.map(|format| self.codecs[usize::from(format)]);
                last.into_iter()
                    .chain(self.codecs.iter().copied())
                    .find(|codec| codec.clock_hz() == clock_hz)
            }
        }
    }

    /// The rate at which a packet is heard.
    pub(super) fn rate_of(&self, packet: &Packet) -> Rate {
        self.codec_of(packet.content)
            .map_or(self.sound.rate(), |codec| codec.rate())
    }

    /// Samples between the place in the stream and a packet, where timestamps tell and it is worth while.
    pub(super) fn gap(&self, head: &Packet) -> Option<u64> {
        let codec = self.codec_of(head.content)?;
        let last = self.codecs[usize::from(self.format?)];
        if self.jump || head.fresh || last.clock_hz() != codec.clock_hz() || last.rate() != codec.rate() {
            return None;
        }
        let ahead = u32::try_from(head.timestamp.wrapping_sub(self.next_timestamp) as i32).ok()?;
        let samples = codec.samples_of(ahead);
        if !self.is_next(head) {
            return (samples > 0).then_some(samples);
        }
        // What came too soon for the pause that its timestamp tells of has not waited for it.
        let per_ms = codec.rate().samples_per_ms() as u64;
        let least = (PAUSE_MIN_MS as u64 * per_ms).max(u64::from(head.lead_us) * 2 * per_ms / 1_000);
        (samples >= least).then_some(samples)
    }

    /// After silence nothing is lost by waiting until the delay is what the network asks for: the talk spurt then
    /// begins late once, instead of being torn by the first packets that need it.
    fn is_held(&self, head: &Packet, now: Time) -> bool {
        let delay_us = duration_us(now.since(head.arrival)) + u64::from(head.relative_delay_us);
        let target_us = u64::from(self.target_us().min(HELD_US_MAX));
        let tick_us = duration_us(TICK);
        self.is_silent()
            && !self.is_full
            && delay_us + tick_us / 2 < target_us
            && u64::from(self.held_ticks) * tick_us < target_us
    }

    /// Decodes the next packet, or counts it as undecodable: then it was lost.
    pub(super) fn play_packet(&mut self, now: Time, decoders: &mut [Decoder]) {
        let Some((&packet, _)) = self.packets.head() else {
            return;
        };
        let Some(format) = packet.content.format() else {
            return;
        };
        let codec = self.codecs[usize::from(format)];
        let rate = codec.rate();
        if rate != self.sound.rate() {
            if self.sound.ahead() > 0 {
                // The rest of this tick belongs to the old rate, the next to the new one.
                let missing = self.tick_samples() - self.sound.ahead();
                self.fill_pause(missing, decoders);
                return;
            }
            self.sound.change_rate(rate);
            self.expand.stop();
        }
        let ahead = self.sound.ahead();
        let played_from = now + rate.duration(ahead);
        let gap = self.gap(&packet).unwrap_or(0);
        let last = self.format.map(|format| self.codecs[usize::from(format)]);
        let in_place = last.is_some() && !self.jump && (!packet.fresh || self.is_next(&packet));
        let same_format = self.format == Some(format);
        let continues = in_place && (same_format || last.is_some_and(|last| is_seamless(last, codec)));
        // Whatever became of the place in the stream, the bridge has been crossed.
        let missed = self.bridge.misses(packet.sequence);
        let continues = continues && !missed;
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
        let mut decoded = 0;
        let mut pauses = false;
        let mut kind = PlayedKind::Silence;
        if let Some(decoder) = decoders
            .get_mut(usize::from(format))
            .filter(|decoder| decoder.codec() == codec)
        {
            if last.is_some() && !same_format {
                // What it heard when it was last in use leads nowhere.
                decoder.reset();
            }
            decoded = decoder.decode(payload, room).unwrap_or(0);
            pauses = decoder.pauses(payload);
            if !decoder.has_passed() {
                let was_paused = self.paused == Some(Pause::Codec);
                kind = if pauses && was_paused {
                    PlayedKind::Noise
                } else {
                    PlayedKind::Voice
                };
            }
        }
        self.packets.drop_head();
        if decoded == 0 {
            self.stats.undecodable += 1;
            return;
        }
        let operation = match kind {
            PlayedKind::Noise => Operation::ComfortNoise,
            PlayedKind::Voice if self.expand.is_active() && !self.expand.is_faded() => Operation::Merge,
            PlayedKind::Voice | PlayedKind::Silence => Operation::Normal,
        };
        if kind == PlayedKind::Voice {
            self.background.note(&room[..decoded], rate);
        }
        if self.expand.is_active() {
            self.expand.merge(&mut room[..decoded]);
        }
        self.background.leave(&mut room[..decoded]);
        if self.paused == Some(Pause::Noise) && self.noise.rate() == rate {
            self.noise.leave(&mut room[..decoded]);
        }
        self.sound.extend(decoded, kind);
        self.decide(operation);
        self.heard = true;
        self.settle(&packet, gap);
        self.stats.played_packets += 1;
        self.stats.played_samples += decoded as u64;
        let delay_us = duration_us(played_from.since(packet.arrival)) + u64::from(packet.relative_delay_us);
        self.depth
            .note(u32::try_from(delay_us).unwrap_or(u32::MAX), ahead, decoded, rate);
        self.stats.delay_ms = delay_us as f32 / 1_000.0;
        self.stats.delay_ms_max = self.stats.delay_ms_max.max(self.stats.delay_ms);

        let clock = codec.clock_of(decoded);
        self.next_timestamp = packet.timestamp.wrapping_add(clock);
        if pauses {
            self.stamps.interrupt();
        } else if self.stamps.note(&packet, clock, codec.clock_hz()) {
            self.reclock();
        }
        self.format = Some(format);
        self.paused = pauses.then_some(Pause::Codec);
        self.jump = false;
        self.covered = 0;
        self.recovered = 0;
        self.held_ticks = 0;
    }

    /// Goes on behind the packet. Returns how many were lost before it; none where the stream has just begun.
    pub(super) fn count_lost(&mut self, packet: &Packet) -> Option<u64> {
        let stream = self.stream.as_mut()?;
        let began = stream.next_sequence == 0;
        let lost = packet.sequence.saturating_sub(stream.next_sequence);
        stream.next_sequence = packet.sequence + 1;
        if began {
            return None;
        }
        self.stats.lost_packets += lost;
        Some(lost)
    }

    /// What the gap before a packet was is known now that it is played.
    fn settle(&mut self, packet: &Packet, gap: u64) {
        let Some(lost) = self.count_lost(packet) else {
            return;
        };
        let faded = expand::FADED_MS * self.sound.rate().samples_per_ms();
        self.stats.recovered_samples += self.recovered;
        if self.paused.is_some() {
            // Nothing was made up.
        } else if lost > 0 {
            self.stats.concealed_samples += self.covered - self.recovered;
        } else if gap == 0 {
            // Merely late. A sender that stood still for longer than the fade has paused.
            self.stats.concealed_samples += self.covered.min(faded as u64);
        }
        if self.covered > gap && self.paused.is_none() {
            self.low_water.note(0);
            self.low_water.count_noted();
        } else if lost == 0 && (gap > 0 || self.paused.is_some()) {
            self.low_water.forget_noted();
        } else {
            self.low_water.count_noted();
        }
    }
}

/// Whether sound of one codec goes on in another as if nothing had changed: each sample stands for itself in both.
const fn is_seamless(one: Codec, other: Codec) -> bool {
    const fn has_no_memory(codec: Codec) -> bool {
        matches!(codec, Codec::Pcmu | Codec::Pcma | Codec::L16(_))
    }
    has_no_memory(one) && has_no_memory(other)
}

pub(super) fn duration_us(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
