//! How much sound is in hand, and how that is brought to what is needed in time: never above the bound, shortened where
//! it was never needed, lengthened where it soon will be.

use std::time::Duration;

use super::buffer::Packet;
use super::operation::Operation;
use super::playout::{Next, PlayedKind, Playout, duration_us};
use super::{accelerate, preemptive};
use crate::codec::Decoder;
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::time::{TICK, Time};

const TICK_US: u32 = TICK.as_micros() as u32;

/// Less surplus than this is left alone, and half of it is always left: the packets' own unevenness.
const SURPLUS_MIN_US: u32 = 5_000;

/// Less than this is not gained before it must be: fewer and longer periods are less to hear.
const GAIN_MIN_US: u32 = 5_000;

/// A target is the upper edge of what packets need, known to this much.
const TARGET_WIDTH_US: u32 = 5_000;

/// A period may be longer than what is lacking by this; less than what would be taken out again.
const EXCESS_US_MAX: u32 = 4_000;

/// Where the delay melts away, this much of it is to be left, and from so much more on a tick is gained bit by bit.
const RESERVE_US: u32 = 2_000;
const RAMP_US: u32 = 8_000;

/// The delay must have changed by this, and more where packets are uneven, before that is a clock's doing.
const DRIFT_MIN_US: u32 = 1_000;

/// Less surplus than this is no hurry. Where the delay grows by itself it is more: packets come to be in time for the
/// tick before, all at once.
const UNHURRIED_US: u32 = 10_000;
const UNHURRIED_IN_DRIFT_US: u32 = 19_000;

/// Ticks between two operations that nothing hurries: a clock 300 ppm off asks for less than one in this time.
const PATIENCE_TICKS: u8 = 250;

/// What is in hand, seen by the packet played last.
#[derive(Debug, Default)]
pub(super) struct Depth {
    /// From when the fastest packets arrive to when that sound is played.
    delay_us: u32,
    /// Sound that was left before it beyond whole granules, which does not help against a late packet until it is one.
    over_us: u32,
    /// What packet and tick have in common: by such steps alone packets can come later.
    granule_us: u32,
    /// Of that packet.
    pub packet_samples: u32,
}

impl Depth {
    /// Notes a packet of `decoded` samples that follows on `ahead` samples still to be played.
    pub fn note(&mut self, delay_us: u32, ahead: usize, decoded: usize, rate: Rate) {
        let tick = rate.samples_per_tick();
        let granule = if decoded.is_multiple_of(tick) {
            tick
        } else {
            common_divisor(tick, decoded)
        };
        let us = |samples: usize| duration_us(rate.duration(samples)) as u32;
        self.delay_us = delay_us;
        self.granule_us = us(granule);
        self.over_us = us(ahead % granule);
        self.packet_samples = decoded as u32;
    }

    /// By how much later than the fastest a packet may come and still be in time.
    fn slack_us(&self) -> u32 {
        self.delay_us
            .saturating_sub(TICK_US - self.granule_us.min(TICK_US))
            .saturating_sub(self.over_us)
    }

    /// What must be in hand beyond the packet next needed for all to be in time that come `late_us` after the fastest.
    fn in_hand_for(&self, late_us: u32) -> u32 {
        let granule_us = self.granule_us.max(1);
        let phase_us = self.slack_us() % granule_us;
        late_us.saturating_sub(phase_us).div_ceil(granule_us) * granule_us
    }

    fn raise(&mut self, added_us: u32) {
        self.delay_us = self.delay_us.saturating_add(added_us);
        self.over_us = (self.over_us + added_us) % self.granule_us.max(1);
    }

    fn lower(&mut self, removed_us: u32) {
        let granule_us = self.granule_us.max(1);
        self.delay_us = self.delay_us.saturating_sub(removed_us);
        self.over_us = (self.over_us + granule_us - removed_us % granule_us) % granule_us;
    }

    pub fn restart(&mut self) {
        *self = Depth {
            packet_samples: self.packet_samples,
            ..Depth::default()
        };
    }
}

fn common_divisor(mut one: usize, mut other: usize) -> usize {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// What lengthening is to do.
#[derive(Debug, Clone, Copy)]
struct Shortage {
    us: u32,
    /// In ticks since the last operation.
    not_before: u8,
}

impl Playout {
    /// After a tick: for so much of what comes next, no arrival is needed.
    pub(super) fn note_left(&mut self, decoders: &[Decoder]) {
        let left_us = self.in_hand_us(decoders);
        self.low_water.note(u32::try_from(left_us).unwrap_or(u32::MAX));
    }

    /// All sound in hand, decoded or not, pauses and holes between packets included.
    pub(super) fn in_hand_us(&self, decoders: &[Decoder]) -> u64 {
        let rate = self.sound.rate();
        duration_us(rate.duration(self.sound.ahead())) + self.waiting_us(decoders)
    }

    fn waiting_us(&self, decoders: &[Decoder]) -> u64 {
        let Some((newest, payload)) = self.packets.newest_sound() else {
            return 0;
        };
        let Some(format) = newest.content.format().map(usize::from) else {
            return 0;
        };
        let samples = decoders
            .get(format)
            .and_then(|decoder| decoder.samples(payload).ok())
            .unwrap_or(0);
        let last_us = duration_us(self.codecs[format].rate().duration(samples));
        let mut total_us = last_us + self.rest_us();
        let mut before: Option<&Packet> = None;
        for packet in self.packets.iter() {
            let Some(format) = packet.content.format() else {
                continue;
            };
            if let Some(before) = before {
                let clock_hz = self.codecs[usize::from(format)].clock_hz();
                total_us += self.between_us(before, packet, clock_hz).unwrap_or(last_us);
            }
            before = Some(packet);
        }
        total_us
    }

    /// What is still to be filled before the next packet.
    fn rest_us(&self) -> u64 {
        let rest = self
            .packets
            .head()
            .and_then(|(head, _)| self.gap(head)?.checked_sub(self.covered));
        // Longer than an hour is as long as an hour.
        let samples = rest.unwrap_or(0).min(3_600 * u64::from(self.sound.rate().hz()));
        duration_us(self.sound.rate().duration(samples as usize))
    }

    fn between_us(&self, before: &Packet, packet: &Packet, clock_hz: u32) -> Option<u64> {
        let clock_before = before
            .content
            .format()
            .map(|format| self.codecs[usize::from(format)].clock_hz());
        if packet.fresh || clock_before != Some(clock_hz) {
            return None;
        }
        let ticks = u32::try_from(packet.timestamp.wrapping_sub(before.timestamp) as i32).ok()?;
        (ticks > 0).then(|| u64::from(ticks) * 1_000_000 / u64::from(clock_hz))
    }

    /// Beyond the bound nothing is kept: first pauses and holes go, then the oldest packets, but never the last one.
    /// The tick about to be played does not count.
    pub(super) fn keep_within_bound(&mut self, decoders: &[Decoder]) {
        let bound_us = self.max_delay_us + duration_us(TICK);
        let mut in_hand_us = self.in_hand_us(decoders);
        while in_hand_us > bound_us {
            if self.rest_us() > 0 {
                self.jump = true;
            } else if self.packets.len() > 1 {
                self.give_up_head();
            } else {
                break;
            }
            in_hand_us = self.in_hand_us(decoders);
        }
        self.is_full = in_hand_us > self.max_delay_us;
    }

    pub(super) fn give_up_head(&mut self) {
        let Some((head, _)) = self.packets.head() else {
            return;
        };
        if let Some(stream) = &mut self.stream {
            stream.next_sequence = head.sequence + 1;
        }
        self.packets.drop_head();
        self.stats.overflow += 1;
        self.count_discarded(1);
        self.jump = true;
    }

    /// What the arrivals ask for, as far as the bound allows.
    pub(super) fn target_us(&self) -> u32 {
        let most_us = self.max_delay_us.saturating_sub(u64::from(TICK_US));
        self.delay.target_us().min(most_us as u32)
    }

    /// Whether the delay melts away by itself: the sender's clock is slow.
    fn drifts(&self) -> bool {
        self.is_clock(self.drift.fallen_us())
    }

    fn is_clock(&self, changed_us: u32) -> bool {
        changed_us >= DRIFT_MIN_US + self.delay.slowest_us() / 16
    }

    /// How late packets must be able to come while the delay melts away.
    fn needed_in_drift_us(&self) -> u32 {
        let target_us = self.target_us();
        // What is less than the target's least step has none.
        let slowest_us = self.delay.slowest_us().min(target_us.max(2 * TARGET_WIDTH_US));
        target_us.max(slowest_us) + RESERVE_US
    }

    /// Delay that nothing has needed of late, and that the arrivals before do not counsel to keep.
    pub(super) fn surplus_us(&self) -> u32 {
        let low_us = self.low_water.surplus_us();
        if low_us < SURPLUS_MIN_US {
            return 0;
        }
        let depth = &self.depth;
        let margin_us = if self.drifts() {
            let needed_us = self.needed_in_drift_us();
            let gained_us = self.gained_in_drift_us(needed_us);
            depth
                .in_hand_for(needed_us + RAMP_US)
                .max(gained_us + EXCESS_US_MAX)
        } else {
            // What the slowest of late have needed is not there any more.
            let slowest_us = self.delay.slowest_us();
            depth
                .in_hand_for(self.target_us())
                .saturating_sub(depth.in_hand_for(slowest_us))
        };
        let surplus_us = low_us.saturating_sub(margin_us.max(self.repair.spare_us()));
        if surplus_us < SURPLUS_MIN_US {
            0
        } else {
            surplus_us - SURPLUS_MIN_US / 2
        }
    }

    /// So much of a granule is to be there already for a delay that has melted down to this.
    fn gained_in_drift_us(&self, needed_us: u32) -> u32 {
        let left_us = self.depth.slack_us().saturating_sub(needed_us);
        let melted_us = RAMP_US.saturating_sub(left_us);
        self.depth.granule_us * (melted_us / 100) / (RAMP_US / 100)
    }

    /// Delay that will be needed: what the arrivals ask for and is not there, or what melts away.
    fn shortage(&self) -> Option<Shortage> {
        let drifts = self.drifts();
        let needed_us = if drifts {
            self.needed_in_drift_us()
        } else {
            self.target_us().saturating_sub(TARGET_WIDTH_US)
        };
        let depth = &self.depth;
        let slack_us = depth.slack_us();
        let granule_us = depth.granule_us.max(1);
        let shortage = if slack_us < needed_us {
            let us = ((needed_us - slack_us).div_ceil(granule_us) * granule_us).saturating_sub(depth.over_us);
            Shortage {
                us,
                not_before: match us {
                    _ if drifts && slack_us + RESERVE_US / 2 > needed_us => PATIENCE_TICKS,
                    40_000.. => 2,
                    15_000.. => 4,
                    _ => 10,
                },
            }
        } else {
            let us = if drifts {
                self.gained_in_drift_us(needed_us).saturating_sub(depth.over_us)
            } else {
                0
            };
            Shortage {
                us: if us < GAIN_MIN_US { 0 } else { us },
                not_before: PATIENCE_TICKS,
            }
        };
        (shortage.us > 0).then_some(shortage)
    }

    /// Brings the delay nearer to what is needed, by at most a pitch period: gently, but a spike is gone within five
    /// seconds, and what a network asks for is there within one.
    pub(super) fn stretch(&mut self, now: Time, decoders: &mut [Decoder]) {
        self.unstretched_ticks = self.unstretched_ticks.saturating_add(1);
        let flows_on = self.covered == 0;
        if flows_on {
            self.drift.note(self.depth.delay_us);
        }
        let surplus_us = self.surplus_us();
        if surplus_us > 0 {
            self.lower_delay(surplus_us, now, decoders);
        } else if let Some(shortage) = self.shortage() {
            if flows_on {
                self.raise_delay(shortage, decoders);
            }
        } else {
            self.stretch_failures = 0;
        }
    }

    fn lower_delay(&mut self, surplus_us: u32, now: Time, decoders: &mut [Decoder]) {
        let not_before = match surplus_us {
            100_000.. => 2,
            40_000.. => 3,
            UNHURRIED_IN_DRIFT_US.. => 10,
            UNHURRIED_US.. if !self.is_clock(self.drift.risen_us()) => 10,
            _ => PATIENCE_TICKS,
        };
        if self.unstretched_ticks < not_before {
            return;
        }
        let rate = self.sound.rate();
        let needed = self.tick_samples() + accelerate::NEEDED_MS * rate.samples_per_ms();
        while self.sound.ahead() < needed && self.continues_at_once(now) {
            self.play_packet(now, decoders);
        }
        let tick = self.tick_samples();
        let removable = rate
            .samples(Duration::from_micros(u64::from(surplus_us)))
            .min(self.sound.ahead().saturating_sub(tick));
        let likeness = self.likeness(surplus_us, not_before);
        match accelerate::shorten(self.sound.ahead_mut(), rate, removable, likeness) {
            Some(removed) => {
                self.sound.cut(removed);
                self.count_accelerated(removed);
                self.note_stretch(Operation::Accelerate);
            }
            None => self.stretch_failures = self.stretch_failures.saturating_add(1),
        }
    }

    fn raise_delay(&mut self, shortage: Shortage, decoders: &[Decoder]) {
        if self.unstretched_ticks < shortage.not_before
            || self.sound.kind() != PlayedKind::Voice
            || self.expand.is_active()
            || self.paused.is_some()
        {
            return;
        }
        let rate = self.sound.rate();
        let room_us = (self.max_delay_us + u64::from(TICK_US)).saturating_sub(self.in_hand_us(decoders));
        let insertable_us = u64::from(shortage.us + EXCESS_US_MAX).min(room_us);
        let insertable = rate.samples(Duration::from_micros(insertable_us));
        let likeness = self.likeness(shortage.us, shortage.not_before);
        let mut inserted: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        let (sound, played) = self.sound.around();
        let length = preemptive::lengthen(sound, played, rate, insertable, likeness, &mut inserted);
        match length {
            Some(length) if self.sound.insert(&inserted[..length]) => {
                let added_us = duration_us(rate.duration(length)) as u32;
                self.stats.expanded_samples += length as u64;
                self.low_water.raise(added_us);
                self.depth.raise(added_us);
                self.drift.change(added_us as i32);
                self.note_stretch(Operation::PreemptiveExpand);
            }
            _ => self.stretch_failures = self.stretch_failures.saturating_add(1),
        }
    }

    /// How alike two periods must be. Each failure makes it less particular, the sooner the less time there is, and so
    /// does a delay that disturbs talking, or a lack of it that is about to be heard.
    fn likeness(&self, change_us: u32, not_before: u8) -> f32 {
        let (likeness, given_up) = match change_us {
            100_000.. => (0.5, 0.1),
            40_000.. => (0.85, 0.1),
            _ if not_before < PATIENCE_TICKS => (0.85, 0.03),
            _ => (0.85, 0.005),
        };
        likeness - given_up * f32::from(self.stretch_failures)
    }

    fn note_stretch(&mut self, operation: Operation) {
        self.decide(operation);
        self.stats.stretches += 1;
        self.unstretched_ticks = 0;
        self.stretch_failures = 0;
    }

    fn continues_at_once(&self, now: Time) -> bool {
        let same_rate = self
            .packets
            .head()
            .is_some_and(|(head, _)| self.rate_of(head) == self.sound.rate() && self.gap(head).is_none());
        same_rate && matches!(self.next(now), Next::Packet)
    }

    pub(super) fn count_accelerated(&mut self, samples: usize) {
        let removed_us = duration_us(self.sound.rate().duration(samples)) as u32;
        self.stats.accelerated_samples += samples as u64;
        self.low_water.lower(removed_us);
        self.depth.lower(removed_us);
        self.drift.change(removed_us.cast_signed().saturating_neg());
    }
}
