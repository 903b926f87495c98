//! How much sound is in hand, and how that is brought down: never above the bound, and to what is needed in time.

use std::time::Duration;

use super::accelerate;
use super::buffer::Packet;
use super::playout::{Next, Playout, duration_us};
use crate::codec::Decoder;
use crate::time::{TICK, Time};

/// Less surplus than this is left alone, and half of it is always left: the packets' own unevenness.
const SURPLUS_MIN_US: u32 = 5_000;

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
        while self.in_hand_us(decoders) > self.max_delay_us + duration_us(TICK) {
            if self.rest_us() > 0 {
                self.jump = true;
            } else if self.packets.len() > 1 {
                self.give_up_head();
            } else {
                break;
            }
        }
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
        self.jump = true;
    }

    /// Delay that nothing has needed of late, and that the arrivals before do not counsel to keep.
    pub(super) fn surplus_us(&self) -> u32 {
        let kept_us = self.delay.margin_us().max(self.repair.spare_us());
        let surplus_us = self.low_water.surplus_us().saturating_sub(kept_us);
        if surplus_us < SURPLUS_MIN_US {
            0
        } else {
            surplus_us - SURPLUS_MIN_US / 2
        }
    }

    /// Shortens what lies ahead while there is a surplus: gently, but a spike is gone within five seconds.
    pub(super) fn lower_delay(&mut self, now: Time, decoders: &mut [Decoder]) {
        if self.accelerate_in_ticks > 0 {
            self.accelerate_in_ticks -= 1;
            return;
        }
        let surplus_us = self.surplus_us();
        if surplus_us == 0 {
            self.accelerate_failures = 0;
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
        // Each failure makes it less particular, and so does a delay that disturbs talking.
        let likeness = match surplus_us {
            100_000.. => 0.5,
            _ => 0.85,
        } - 0.1 * f32::from(self.accelerate_failures);
        match accelerate::shorten(self.sound.ahead_mut(), rate, removable, likeness) {
            Some(removed) => {
                self.sound.cut(removed);
                self.count_accelerated(removed);
                self.accelerate_failures = 0;
                self.accelerate_in_ticks = match surplus_us {
                    100_000.. => 1,
                    40_000.. => 2,
                    _ => 9,
                };
            }
            None => self.accelerate_failures = (self.accelerate_failures + 1).min(15),
        }
    }

    fn continues_at_once(&self, now: Time) -> bool {
        let same_rate = self
            .packets
            .head()
            .is_some_and(|(head, _)| self.rate_of(head) == self.sound.rate() && self.gap(head).is_none());
        same_rate && matches!(self.next(now), Next::Packet)
    }

    pub(super) fn count_accelerated(&mut self, samples: usize) {
        self.stats.accelerated_samples += samples as u64;
        self.low_water
            .lower(duration_us(self.sound.rate().duration(samples)) as u32);
    }
}
