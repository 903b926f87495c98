//! What a synthetic party sends, encoded before the run: a loop of payloads, and where in it the probing bursts start.
//!
//! Encoding beforehand keeps the generator cheap, since it shares the machine with what it measures. Bursts are part
//! of the sound that is encoded, so that a codec with memory meets no jump where one starts.

use std::time::Duration;

use super::probe::{Probe, Sweep};
use super::speech::{SpeechError, VOICES};
use crate::codec::{CodecError, Encoder, Encoding, PAYLOAD_BYTES_MAX};
use crate::frame::Rate;

/// Each probing talker sends a burst this often.
pub const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// By how much, at most, a burst is early or late in its period, so that it meets every phase of a tick.
const PROBE_STRAY_MS: usize = 120;

/// The encoder hears the end of the loop before its start, so that going round is no jump for the decoder.
const PRE_ROLL_PACKETS: usize = 25;

/// A loop of payloads, one packet time each.
#[derive(Debug)]
pub struct Track {
    encoding: Encoding,
    payloads: Vec<u8>,
    ends: Vec<usize>,
    /// Ordered by packet; the duration is from the packet's first sample to the burst's.
    bursts: Vec<(usize, Duration)>,
}

impl Track {
    /// Encodes `sound` (at the codec's rate; what does not fill a last packet is left out) as a loop, with bursts
    /// that start at the given samples.
    pub fn encode(sound: &[f32], encoding: Encoding, burst_starts: &[usize]) -> Result<Track, CodecError> {
        let mut encoder = Encoder::new(encoding)?;
        let packets: Vec<&[f32]> = sound.chunks_exact(encoding.samples()).collect();
        let frame_samples = encoder.frame_samples();
        let mut frame = [0; PAYLOAD_BYTES_MAX];
        let mut packet = |sound: &[f32], payloads: &mut Vec<u8>| {
            for sound in sound.chunks_exact(frame_samples) {
                let bytes = encoder.encode(sound, &mut frame).bytes();
                payloads.extend_from_slice(&frame[..bytes]);
            }
        };
        let mut payloads = Vec::new();
        for sound in &packets[packets.len().saturating_sub(PRE_ROLL_PACKETS)..] {
            packet(sound, &mut payloads);
        }
        payloads.clear();
        let mut ends = Vec::with_capacity(packets.len());
        for sound in &packets {
            packet(sound, &mut payloads);
            ends.push(payloads.len());
        }
        let bursts = burst_starts
            .iter()
            .map(|start| {
                let offset = encoding.codec.rate().duration(start % encoding.samples());
                (start / encoding.samples(), offset)
            })
            .filter(|(packet, _)| *packet < ends.len())
            .collect();
        Ok(Track {
            encoding,
            payloads,
            ends,
            bursts,
        })
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub fn packets(&self) -> usize {
        self.ends.len()
    }

    /// The payload of a packet of the loop, counted on and on.
    pub fn payload(&self, packet: usize) -> &[u8] {
        let packet = packet % self.ends.len();
        let start = if packet == 0 { 0 } else { self.ends[packet - 1] };
        &self.payloads[start..self.ends[packet]]
    }

    /// How far into the packet a burst starts, if one does.
    pub fn burst_in(&self, packet: usize) -> Option<Duration> {
        let packet = packet % self.ends.len();
        let index = self.bursts.binary_search_by_key(&packet, |burst| burst.0).ok()?;
        Some(self.bursts[index].1)
    }

    pub fn bursts(&self) -> &[(usize, Duration)] {
        &self.bursts
    }
}

/// Everything a party of `mixminus load` can have to say, encoded once and shared by all of them.
#[derive(Debug)]
pub struct Repertoire {
    /// Speech of all voices, one after the other.
    pub speech: Track,
    /// The same with bursts that sweep up, one each period.
    pub probing_up: Track,
    /// The same with bursts that sweep down, half a period after the others.
    pub probing_down: Track,
    /// White noise at −65 dBFS: a listener's line that is never silent.
    pub noise: Track,
}

impl Repertoire {
    pub fn encode(encoding: Encoding, seed: u64) -> Result<Repertoire, SpeechError> {
        let rate = encoding.codec.rate();
        let mut chance = fastrand::Rng::with_seed(seed);
        let speech = all_voices(rate)?;
        let half = rate.samples(PROBE_PERIOD / 2);
        let [up, down] = [Sweep::Up, Sweep::Down].map(|sweep| Probe::new(encoding.codec, sweep));
        let (up, up_starts) = with_bursts(&speech, rate, &up, 0, &mut chance);
        let (down, down_starts) = with_bursts(&speech, rate, &down, half, &mut chance);
        let noise = noise(rate, Duration::from_secs(6), NOISE_DBFS, &mut chance);
        Ok(Repertoire {
            speech: Track::encode(&speech, encoding, &[])?,
            probing_up: Track::encode(&up, encoding, &up_starts)?,
            probing_down: Track::encode(&down, encoding, &down_starts)?,
            noise: Track::encode(&noise, encoding, &[])?,
        })
    }
}

const NOISE_DBFS: f32 = -65.0;

/// White noise with the given level (root mean square, 0 dBFS is 1.0).
pub fn noise(rate: Rate, length: Duration, dbfs: f32, chance: &mut fastrand::Rng) -> Vec<f32> {
    // Of a uniform distribution over ±a the root mean square is a / √3.
    let amplitude = 10f32.powf(dbfs / 20.0) * 3f32.sqrt();
    (0..rate.samples(length))
        .map(|_| (chance.f32() * 2.0 - 1.0) * amplitude)
        .collect()
}

/// All voices, cut so that every packet time and the probe period fit into it a whole number of times.
fn all_voices(rate: Rate) -> Result<Vec<f32>, SpeechError> {
    let mut speech = Vec::new();
    for voice in &VOICES {
        speech.extend(voice.decode(rate)?);
    }
    let whole = rate.samples(PROBE_PERIOD * 3);
    speech.truncate(speech.len() / whole * whole);
    Ok(speech)
}

/// The speech with a burst in each probe period, about `after` samples into it.
fn with_bursts(
    speech: &[f32],
    rate: Rate,
    probe: &Probe,
    after: usize,
    chance: &mut fastrand::Rng,
) -> (Vec<f32>, Vec<usize>) {
    let burst = probe.burst();
    let stray = PROBE_STRAY_MS * rate.samples_per_ms();
    let mut marked = speech.to_vec();
    let mut starts = Vec::new();
    for period in (0..speech.len()).step_by(rate.samples(PROBE_PERIOD)) {
        let start = period + after + chance.usize(0..=2 * stray);
        marked[start..start + burst.len()].copy_from_slice(burst);
        starts.push(start);
    }
    (marked, starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Decoder, PAYLOAD_SAMPLES_MAX};
    use crate::load::codecs::encoding;

    #[test]
    fn a_track_goes_round() {
        let sound: Vec<f32> = (0..480).map(|n| (n / 160) as f32 * 0.1).collect();
        let track = Track::encode(&sound, encoding(Codec::Pcmu, 20), &[]).expect("the encoding is good");
        assert_eq!(track.packets(), 3);
        assert_eq!(track.payload(1), track.payload(4));
        assert_ne!(track.payload(1), track.payload(2));
    }

    #[test]
    fn a_burst_is_announced_with_the_packet_it_starts_in() {
        let sound = [0.0; 8_000];
        let track =
            Track::encode(&sound, encoding(Codec::Pcma, 20), &[168, 7_999]).expect("the encoding is good");
        assert_eq!(track.burst_in(0), None);
        assert_eq!(track.burst_in(1), Some(Duration::from_millis(1)));
        assert_eq!(track.burst_in(51), track.burst_in(1));
        assert_eq!(track.burst_in(49), Some(Duration::from_micros(19_875)));
    }

    #[test]
    fn the_repertoire_probes_once_a_period_and_its_noise_has_the_level() {
        let repertoire = Repertoire::encode(encoding(Codec::Pcmu, 20), 1).expect("the speech decodes");
        let seconds = repertoire.speech.packets() / 50;
        assert_eq!(repertoire.speech.packets() % 150, 0);
        assert_eq!(repertoire.probing_up.bursts().len(), seconds);
        assert_eq!(repertoire.probing_down.bursts().len(), seconds);
        assert!(repertoire.speech.bursts().is_empty());

        let mut decoder = Decoder::new(Codec::Pcmu).expect("the codec is known");
        let mut sound = vec![0.0; PAYLOAD_SAMPLES_MAX];
        let mut energy = 0.0;
        for packet in 0..repertoire.noise.packets() {
            let samples = decoder
                .decode(repertoire.noise.payload(packet), &mut sound)
                .expect("it was encoded");
            energy += sound[..samples].iter().map(|sample| sample * sample).sum::<f32>() / samples as f32;
        }
        let level = 10.0 * (energy / repertoire.noise.packets() as f32).log10();
        assert!((level - NOISE_DBFS).abs() < 1.0, "{level} dBFS");
    }
}
