//! What a captured stream sounds like, laid out on its RTP timeline with the time at which each part arrived, and
//! the bursts found in it. Done after the run, so that listening does not disturb what is measured.

use std::time::Duration;

use super::probe::{Probe, Sweep};
use super::socket::WallTime;
use super::stream::Captured;
use super::track::Track;
use crate::codec::{Codec, CodecError, Decoder, PAYLOAD_SAMPLES_MAX};
use crate::frame::Rate;

/// Longer than this no burst is waited for: half a probe period, before the next talker's comes.
pub const DELAY_MAX: Duration = Duration::from_millis(450);

/// A jump of the RTP timestamp by more than this is a new timeline, not a gap to be filled with silence.
const GAP_MAX: Duration = Duration::from_secs(10);

/// One stream as heard: mono sound at `rate`.
#[derive(Debug)]
pub struct Hearing {
    pub rate: Rate,
    pub sound: Vec<f32>,
    /// For each packet, in order: its first sample and its arrival.
    arrivals: Vec<(usize, WallTime)>,
}

impl Hearing {
    /// Decodes captured packets of one source in the order of their timestamps; what is missing is silent.
    pub fn of(packets: &[Captured], codec: Codec) -> Result<Hearing, CodecError> {
        let rate = codec.rate();
        let mut decoder = Decoder::new(codec)?;
        let mut hearing = Hearing {
            rate,
            sound: Vec::new(),
            arrivals: Vec::new(),
        };
        let Some(first) = packets.first() else {
            return Ok(hearing);
        };
        let mut placed: Vec<(i64, &Captured)> = Vec::with_capacity(packets.len());
        let (mut timestamp, mut place) = (first.timestamp, 0i64);
        for packet in packets {
            // The timestamp may wrap; from one packet to the next it moves by little, and rarely back.
            place += i64::from(packet.timestamp.wrapping_sub(timestamp) as i32);
            timestamp = packet.timestamp;
            placed.push((place, packet));
        }
        placed.sort_by_key(|(place, _)| *place);
        placed.dedup_by_key(|(place, _)| *place);

        let origin = placed[0].0;
        let mut payload_sound = vec![0.0; PAYLOAD_SAMPLES_MAX];
        for (place, packet) in placed {
            let start = codec.samples_of((place - origin) as u32) as usize;
            if start > hearing.sound.len() + rate.samples(GAP_MAX) {
                break;
            }
            let Ok(samples) = decoder.decode(&packet.payload, &mut payload_sound) else {
                continue;
            };
            hearing.sound.resize(start, 0.0);
            hearing.sound.extend_from_slice(&payload_sound[..samples]);
            hearing.arrivals.push((start, packet.at));
        }
        Ok(hearing)
    }

    /// How long after `sent_at` the burst that was sent then was heard: from its first sample's sending to its first
    /// sample's arrival, both counted within their packets.
    pub fn burst_delay(&self, sent_at: WallTime, probe: &Probe) -> Option<Duration> {
        let (delay, likeness) = self.burst(sent_at, probe)?;
        probe.is_found(likeness).then_some(delay)
    }

    /// What is most like the burst that was sent at that time, in what was heard soon after: its delay, and how much
    /// like it it is.
    pub fn burst(&self, sent_at: WallTime, probe: &Probe) -> Option<(Duration, f32)> {
        // The burst's first sample may lie up to a packet after the arrival of the packet that holds it.
        let first = self
            .arrivals
            .partition_point(|(_, at)| *at < sent_at)
            .saturating_sub(4);
        let from = self.arrivals.get(first)?.0;
        let to = (from + self.rate.samples(DELAY_MAX + 4 * Duration::from_millis(60))).min(self.sound.len());
        let (at, likeness) = probe.most_like(&self.sound[from..to])?;
        let delay = self.heard_at(from + at)?.nanos_since(sent_at);
        let delay = u64::try_from(delay).ok().map(Duration::from_nanos)?;
        (delay <= DELAY_MAX).then_some((delay, likeness))
    }

    /// When the sample was heard by one who plays each packet as it arrives.
    pub fn heard_at(&self, sample: usize) -> Option<WallTime> {
        let packet = self
            .arrivals
            .partition_point(|(start, _)| *start <= sample)
            .checked_sub(1)?;
        let (start, at) = self.arrivals[packet];
        Some(at.after(self.rate.duration(sample - start)))
    }

    /// The arrivals in order: first sample of the packet, time.
    pub fn arrivals(&self) -> &[(usize, WallTime)] {
        &self.arrivals
    }
}

/// What encoding and decoding alone delay the bursts of a track by (the median of them): zero for G.711 and L16,
/// the look-ahead for Opus.
pub fn codec_delay(track: &Track, sweep: Sweep) -> Result<Option<Duration>, CodecError> {
    let codec = track.encoding().codec;
    let packet_time = Duration::from_millis(u64::from(track.encoding().ptime_ms));
    let start = WallTime::from_nanos(1_000_000_000);
    let packets: Vec<Captured> = (0..track.packets())
        .map(|n| Captured {
            at: start.after(packet_time * n as u32),
            sequence: n as u16,
            timestamp: codec.clock_of(n * track.encoding().samples()),
            payload: track.payload(n).into(),
        })
        .collect();
    let hearing = Hearing::of(&packets, codec)?;
    let probe = Probe::new(codec, sweep);
    let mut delays: Vec<Duration> = track
        .bursts()
        .iter()
        .filter_map(|(packet, offset)| {
            hearing.burst_delay(start.after(packet_time * *packet as u32 + *offset), &probe)
        })
        .collect();
    delays.sort();
    Ok(delays.get(delays.len() / 2).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::codecs::encoding;
    use crate::load::track::Repertoire;

    #[test]
    fn only_opus_delays_by_itself_and_by_its_look_ahead() {
        for (codec, at_least_us, at_most_us) in [
            (Codec::Pcmu, 0, 0),
            (Codec::Pcma, 0, 0),
            (Codec::L16(Rate::Hz16000), 0, 0),
            (Codec::Opus(Rate::Hz48000), 6_000, 7_500),
            (Codec::Opus(Rate::Hz16000), 6_000, 7_500),
        ] {
            let repertoire = Repertoire::encode(encoding(codec, 20), 1).expect("the speech decodes");
            for (track, sweep) in [
                (&repertoire.probing_up, Sweep::Up),
                (&repertoire.probing_down, Sweep::Down),
            ] {
                let delay = codec_delay(track, sweep)
                    .expect("the codec is known")
                    .expect("bursts are found");
                let delay_us = delay.as_micros();
                assert!(
                    (at_least_us..=at_most_us).contains(&delay_us),
                    "{codec:?}: {delay_us} µs"
                );
            }
        }
    }

    #[test]
    fn added_delay_is_what_the_packets_were_held_back() {
        let repertoire = Repertoire::encode(encoding(Codec::Pcmu, 20), 1).expect("the speech decodes");
        let track = &repertoire.probing_up;
        let probe = Probe::new(Codec::Pcmu, Sweep::Up);
        // Sent at 20 ms × n, cut anew into packets that begin 7 ms later in the sound, and arriving 31 ms after
        // their first sample was sent: timestamps run over the wrap, and one packet in ten is lost.
        let start = WallTime::from_nanos(5_000_000_000);
        let stream: Vec<u8> = (0..track.packets())
            .flat_map(|n| track.payload(n).to_vec())
            .collect();
        let packets: Vec<Captured> = stream[56..]
            .chunks_exact(160)
            .enumerate()
            .filter(|(n, _)| n % 10 != 0)
            .map(|(n, payload)| Captured {
                at: start.after(Duration::from_millis(7 + 31 + 20 * n as u64)),
                sequence: n as u16,
                timestamp: (u32::MAX - 5_000).wrapping_add(160 * n as u32),
                payload: payload.into(),
            })
            .collect();
        let hearing = Hearing::of(&packets, Codec::Pcmu).expect("the codec is known");
        let (mut heard, mut unheard) = (0, 0);
        for (packet, offset) in track.bursts() {
            let sent_at = start.after(Duration::from_millis(20 * *packet as u64) + *offset);
            match hearing.burst_delay(sent_at, &probe) {
                None => unheard += 1,
                Some(delay) => {
                    heard += 1;
                    assert!(
                        delay.abs_diff(Duration::from_millis(31)) < Duration::from_micros(500),
                        "{delay:?}"
                    );
                }
            }
        }
        assert!(heard > 4 * unheard, "{heard} heard, {unheard} not");
    }

    #[test]
    fn a_stream_without_packets_is_without_sound() {
        let hearing = Hearing::of(&[], Codec::Pcma).expect("the codec is known");
        assert!(hearing.sound.is_empty());
        assert_eq!(hearing.heard_at(0), None);
        assert_eq!(
            hearing.burst_delay(WallTime::from_nanos(1), &Probe::new(Codec::Pcma, Sweep::Up)),
            None
        );
    }
}
