//! The last steps of a packet: what of a leg's stream is sent, under which payload type, at which place of its timeline.

use std::net::SocketAddr;

use crate::dtmf::Sending;
use crate::engine::EngineStats;
use crate::engine::outbox::Outbox;
use crate::id::LegId;
use crate::leg::{Format, Leg};
use crate::rtp::packet::Header;
use crate::stream::{Content, Stream, Stretch};
use crate::time::{TICK, Tick};

/// Puts the stream's packets of this tick into the outbox, on the leg's own timeline; while digits are sent as events,
/// these in their place.
pub(super) fn send(
    id: LegId,
    leg: &mut Leg,
    stream: &Stream,
    tick: Tick,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let Some(format) = leg.media.sent_format() else {
        return;
    };
    let Some(to) = leg.source.destination().filter(|_| leg.media.terms().sends) else {
        for stretch in stream.stretches() {
            leg.timeline.pass(stretch.clock);
        }
        return;
    };
    let noise_as = leg.media.comfort_noise_sent_as(format.encoding.codec.clock_hz());
    let silenced = send_digits(id, leg, format, to, tick, stats, out);
    for Stretch { clock, content } in stream.stretches() {
        let (header, payload) = match (content, noise_as) {
            _ if silenced => {
                leg.timeline.pass(clock);
                continue;
            }
            (Content::Sound(payload), _) => (leg.timeline.advance(format.send_as, clock), payload),
            (Content::ComfortNoise(payload), Some(noise_as)) => {
                (leg.timeline.describe(noise_as, clock), payload)
            }
            (Content::ComfortNoise(_), None) | (Content::Nothing, _) => {
                leg.timeline.pass(clock);
                continue;
            }
        };
        send_packet(id, leg, to, &header, payload, stats, out);
    }
}

/// One tick of the digits a leg is sent as events. Returns whether they take the place of the sound.
fn send_digits(
    id: LegId,
    leg: &mut Leg,
    format: Format,
    to: SocketAddr,
    tick: Tick,
    stats: &mut EngineStats,
    out: &mut Outbox,
) -> bool {
    let clock_hz = format.encoding.codec.clock_hz();
    let Some(payload_type) = leg.media.events_sent_as(clock_hz) else {
        return false;
    };
    match leg.digits.sender.tick(clock_hz) {
        Sending::Idle => false,
        Sending::Gap => true,
        Sending::Event {
            payload,
            first,
            start_offset,
        } => {
            // The next packet of sound may have begun some ticks ago.
            let begun_ms = tick.0 * TICK.as_millis() as u64 % u64::from(format.encoding.ptime_ms);
            let now = leg
                .timeline
                .timestamp()
                .wrapping_add(clock_hz / 1_000 * begun_ms as u32);
            let header = leg
                .timeline
                .event(payload_type, now.wrapping_sub(start_offset), first);
            send_packet(id, leg, to, &header, &payload, stats, out);
            true
        }
    }
}

fn send_packet(
    id: LegId,
    leg: &mut Leg,
    to: SocketAddr,
    header: &Header,
    payload: &[u8],
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let cipher = leg.media.ciphers.as_mut().map(|ciphers| &mut ciphers.sender);
    match out.send(id, to, header, payload, cipher) {
        Ok(bytes) => {
            leg.reports.count(payload.len());
            leg.counts.packets_sent += 1;
            leg.counts.bytes_sent += bytes as u64;
            stats.packets_sent += 1;
        }
        Err(reason) => {
            let outcome = leg.note(Err(reason));
            stats.note(outcome);
        }
    }
}
