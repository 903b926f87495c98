//! What becomes of a packet that arrives: a place among those that wait, or a reason why not.
//!
//! Playout follows one stream. What comes from elsewhere is followed at its second packet, or at its first when the
//! stream that is played has run dry, so a transfer is heard at once and one stray packet changes nothing.

use std::time::Duration;

use super::buffer::{Content, Packet};
use super::delay::Observation;
use super::playout::Playout;
use super::stats::Discard;
use super::stream::{Candidate, Standing, Stream};
use crate::rtp::sequence::first_sequence;
use crate::time::Time;

/// What may become a stream is forgotten after this.
const CANDIDATE_AGE_MAX: Duration = Duration::from_millis(200);

impl Playout {
    pub(super) fn admit(
        &mut self,
        packet: Packet,
        ssrc: u32,
        sequence: u16,
        payload: &[u8],
    ) -> Result<(), Discard> {
        if let Content::Sound(format) = packet.content
            && usize::from(format) >= self.codecs.len()
        {
            return Err(Discard::UnknownFormat);
        }
        if payload.len() > self.packets.slot_bytes() {
            return Err(Discard::TooLarge);
        }
        let Some(stream) = &mut self.stream else {
            self.begin(packet, ssrc, sequence, payload);
            return Ok(());
        };
        match stream.judge(packet.arrival, ssrc, sequence, packet.stamp) {
            Standing::Ahead { sequence, newest } => {
                let timestamp = self.stamps.translate(packet.stamp);
                self.place(
                    Packet {
                        sequence,
                        timestamp,
                        ..packet
                    },
                    newest,
                    payload,
                )?;
            }
            Standing::Late => {
                let timestamp = self.stamps.translate(packet.stamp);
                self.observe(&Packet { timestamp, ..packet }, false);
                return Err(Discard::Late);
            }
            Standing::LongLate => return Err(Discard::Late),
            Standing::Duplicate => return Err(Discard::Duplicate),
            Standing::Elsewhere => self.consider(packet, ssrc, sequence, payload)?,
            Standing::Rewound => self.begin(packet, ssrc, sequence, payload),
        }
        Ok(())
    }

    /// Puts a packet of the stream among those that wait. A full buffer gives up its oldest.
    fn place(&mut self, packet: Packet, newest: bool, payload: &[u8]) -> Result<(), Discard> {
        let Observation {
            relative_delay_us,
            lead_us,
            fresh,
        } = self.observe(&packet, newest);
        self.stats.jitter_ms = self.delay.jitter_ms();
        if self.packets.is_full() {
            if self
                .packets
                .head()
                .is_some_and(|(head, _)| packet.sequence < head.sequence)
            {
                return Err(Discard::Overflow);
            }
            self.give_up_head();
        }
        self.packets.insert(
            Packet {
                relative_delay_us,
                lead_us,
                fresh,
                ..packet
            },
            payload,
        );
        Ok(())
    }

    /// Notes the arrival of sound. Other packets are sent at no moment that their timestamps tell: those of an event
    /// stand still, and a description of silence need not wait until a packet is full.
    fn observe(&mut self, packet: &Packet, newest: bool) -> Observation {
        let Some(format) = packet.content.format() else {
            return Observation::default();
        };
        let clock_hz = self.codecs[usize::from(format)].clock_hz();
        self.delay
            .observe(packet.arrival, packet.timestamp, clock_hz, newest)
    }

    /// Leaves whatever was played for the stream that this packet begins.
    fn begin(&mut self, packet: Packet, ssrc: u32, sequence: u16, payload: &[u8]) {
        self.forget_waiting();
        let stream = self.turn_to(packet.arrival, ssrc, sequence, packet.stamp);
        // The buffer has just been emptied, but for one slot aside.
        let _ = self.place(
            Packet {
                sequence: stream.newest_sequence,
                ..packet
            },
            true,
            payload,
        );
    }

    /// The sender's timestamps run at another clock than was thought: what waits was placed by the wrong one, and what
    /// was learned was measured by it.
    pub(super) fn reclock(&mut self) {
        let stamps = &mut self.stamps;
        self.packets.for_each(|packet| {
            packet.timestamp = stamps.translate(packet.stamp);
            packet.relative_delay_us = 0;
            packet.lead_us = 0;
        });
        self.delay.forget();
        self.low_water.restart();
        self.drift.restart();
        self.stats.reclocked += 1;
    }

    /// Counts packets that waited and are given up.
    pub(super) fn count_discarded(&mut self, packets: u64) {
        self.stats.discarded_samples += packets * u64::from(self.depth.packet_samples);
    }

    pub(super) fn abandon(&mut self, packets: u64) {
        self.stats.abandoned += packets;
        self.count_discarded(packets);
    }

    fn turn_to(&mut self, arrival: Time, ssrc: u32, sequence: u16, stamp: u32) -> Stream {
        if let Some(left) = self.stream {
            self.stats.resyncs += 1;
            if left.ssrc != ssrc {
                self.former_ssrc = Some(left.ssrc);
            }
        }
        let stream = Stream::new(arrival, ssrc, sequence, stamp);
        self.stream = Some(stream);
        self.restart_place();
        stream
    }

    /// A packet from elsewhere: the second in a row there is followed at once, the first waits for the stream
    /// that is played to run dry. So one stray packet changes nothing.
    fn consider(&mut self, packet: Packet, ssrc: u32, sequence: u16, payload: &[u8]) -> Result<(), Discard> {
        let known = self.former_ssrc == Some(ssrc);
        if self
            .candidate
            .is_some_and(|candidate| !known && candidate.is_followed_by(ssrc, sequence))
        {
            self.follow_candidate();
            return self.admit(packet, ssrc, sequence, payload);
        }
        self.forget_candidate();
        if self.packets.is_full() {
            self.give_up_head();
        }
        let same = self.stream.is_some_and(|stream| stream.ssrc == ssrc);
        let patience_ticks = if same || known { 3 } else { 1 };
        self.candidate = Some(Candidate {
            ssrc,
            sequence,
            patience_ticks,
        });
        let extended = first_sequence(sequence);
        self.packets.set_aside(
            Packet {
                sequence: extended,
                ..packet
            },
            payload,
        );
        Ok(())
    }

    pub(super) fn follow_candidate_when_due(&mut self) -> bool {
        let due = self
            .candidate
            .is_some_and(|candidate| self.dry_ticks.saturating_add(1) >= candidate.patience_ticks);
        if due {
            self.follow_candidate();
        }
        due
    }

    fn follow_candidate(&mut self) {
        let (Some(candidate), Some(packet)) = (self.candidate.take(), self.packets.aside().copied()) else {
            return;
        };
        self.abandon(self.packets.len() as u64);
        self.packets.take_aside();
        self.turn_to(packet.arrival, candidate.ssrc, candidate.sequence, packet.stamp);
        self.observe(&packet, true);
    }

    pub(super) fn forget_old_candidate(&mut self, now: Time) {
        if self
            .packets
            .aside()
            .is_some_and(|packet| now.since(packet.arrival) > CANDIDATE_AGE_MAX)
        {
            self.forget_candidate();
        }
    }

    pub(super) fn forget_candidate(&mut self) {
        if self.candidate.take().is_some() {
            self.packets.drop_aside();
            self.abandon(1);
        }
    }

    pub(super) fn forget_waiting(&mut self) {
        self.abandon(self.packets.len() as u64);
        self.packets.clear_waiting();
    }

    pub(super) fn restart_place(&mut self) {
        self.delay.restart();
        self.low_water.restart();
        self.drift.restart();
        self.depth.restart();
        self.stamps.restart();
        self.format = None;
        self.jump = false;
        self.paused = None;
        self.dry_ticks = 0;
        self.held_ticks = 0;
    }
}
