//! Lulls: packets that need not be decoded, because their sender says that nobody speaks and no listener would hear
//! what else is in them.
//!
//! Decoding is most of what an idle Opus leg costs. Its packets tell without decoding whether the sender's own
//! detector heard activity. While they do not, and the leg is not in the mix, and what was last decoded lay below
//! every threshold of hearing, only every eighth packet is decoded, to look whether that still holds. The packet
//! before one that is decoded is decoded first: it brings the decoder's state up to what follows, so an onset
//! sounds as it would have.

/// Below this mean square (−63 dBFS) nothing contributes to a mix that its sender does not call active.
const QUIET: f32 = 5.0e-7;

/// At most so many packets in a row are passed over.
const PASSED_MAX: u8 = 7;

/// The longest packet that is remembered; a longer one is decoded.
const REMEMBERED_BYTES_MAX: usize = 400;

#[derive(Debug)]
pub(super) struct Lull {
    /// The leg is not in the mix.
    unheard: bool,
    /// What was last decoded was too quiet to be heard.
    quiet: bool,
    passed: u8,
    last: Box<[u8; REMEMBERED_BYTES_MAX]>,
    last_len: usize,
}

impl Lull {
    pub fn new() -> Lull {
        Lull {
            unheard: false,
            quiet: false,
            passed: 0,
            last: Box::new([0; REMEMBERED_BYTES_MAX]),
            last_len: 0,
        }
    }

    pub fn set_unheard(&mut self, unheard: bool) {
        self.unheard = unheard;
    }

    pub fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// Whether this packet may be passed over; it is then remembered as the last.
    pub fn passes(&mut self, payload: &[u8]) -> bool {
        let passes = self.unheard
            && self.quiet
            && self.passed < PASSED_MAX
            && payload.len() <= REMEMBERED_BYTES_MAX
            && says_inactive(payload);
        if passes {
            self.passed += 1;
            self.last[..payload.len()].copy_from_slice(payload);
            self.last_len = payload.len();
        }
        passes
    }

    /// Whether the packet before this one was passed over.
    pub fn has_passed(&self) -> bool {
        self.passed > 0
    }

    /// Ends the lull: the last packet passed over, to be decoded before the next.
    pub fn end(&mut self) -> ([u8; REMEMBERED_BYTES_MAX], usize) {
        self.passed = 0;
        (*self.last, std::mem::take(&mut self.last_len))
    }

    /// Told what was decoded.
    pub fn hear(&mut self, pcm: &[f32]) {
        let power: f32 = pcm.iter().map(|sample| sample * sample).sum();
        self.quiet = power <= QUIET * pcm.len() as f32;
    }

    pub fn reset(&mut self) {
        self.quiet = false;
        self.passed = 0;
        self.last_len = 0;
    }
}

/// Whether the sender's voice activity flags are all off: known for one mono frame with a SILK layer, whose first
/// bits they are (RFC 6716 §4.2.3: a flag for each 20 ms, then one for redundancy, each of even odds).
fn says_inactive(payload: &[u8]) -> bool {
    let [toc, first, ..] = *payload else { return false };
    let (configuration, stereo, frames) = (toc >> 3, toc & 0b100 != 0, toc & 0b11);
    // RFC 6716 §3.1, Table 2: below 12 SILK alone in 10, 20, 40, 60 ms; below 16 hybrid in 10 and 20 ms.
    let flags = match configuration {
        0..12 => [1, 1, 2, 3][usize::from(configuration % 4)],
        12..16 => 1,
        _ => return false,
    };
    let flags_and_redundancy = first >> (7 - flags);
    !stereo && frames == 0 && flags_and_redundancy == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Decoder, Encoder, Encoding};
    use crate::frame::Rate;

    /// Packets of 20 ms: `power` in dBFS of each, as noise shaped by a syllable rate while it is a voice.
    fn packets(rate: Rate, sounds: &[(f32, bool)]) -> Vec<Vec<u8>> {
        let encoding = Encoding {
            codec: Codec::Opus(rate),
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        };
        let mut encoder = Encoder::new(encoding).unwrap();
        let mut chance = fastrand::Rng::with_seed(3);
        let mut phase = 0.0_f32;
        let mut payload = [0; 1_400];
        sounds
            .iter()
            .map(|(dbfs, voice)| {
                let amplitude = 10_f32.powf(dbfs / 20.0) * 3.0_f32.sqrt();
                let pcm: Vec<f32> = (0..rate.samples_per_tick())
                    .map(|_| {
                        phase = (phase + 140.0 / rate.hz() as f32).fract();
                        // A buzz with many harmonics is a voice to any detector.
                        let buzz = 2.0 * phase - 1.0;
                        amplitude * if *voice { buzz } else { chance.f32() * 2.0 - 1.0 }
                    })
                    .collect();
                let len = encoder.encode(&pcm, &mut payload).bytes();
                payload[..len].to_vec()
            })
            .collect()
    }

    fn power(pcm: &[f32]) -> f32 {
        pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32
    }

    #[test]
    fn idle_noise_of_an_unheard_leg_is_decoded_only_every_eighth_time() {
        for rate in Rate::ALL {
            let mut decoder = Decoder::new(Codec::Opus(rate)).unwrap();
            let mut pcm = vec![0.0; crate::codec::PAYLOAD_SAMPLES_MAX];
            decoder.set_unheard(true);
            let passed = packets(rate, &[(-66.0, false); 400])
                .iter()
                .filter(|payload| {
                    decoder.decode(payload, &mut pcm).unwrap();
                    decoder.has_passed()
                })
                .count();
            assert!(
                (330..=350).contains(&passed),
                "{passed} of 400 were passed over at {rate:?}"
            );
        }
    }

    #[test]
    fn a_leg_that_is_heard_is_decoded_always_however_quiet() {
        let mut decoder = Decoder::new(Codec::Opus(Rate::Hz48000)).unwrap();
        let mut pcm = vec![0.0; crate::codec::PAYLOAD_SAMPLES_MAX];
        for payload in packets(Rate::Hz48000, &[(-66.0, false); 100]) {
            decoder.decode(&payload, &mut pcm).unwrap();
            assert!(!decoder.has_passed());
        }
    }

    #[test]
    fn noise_above_the_threshold_of_hearing_is_decoded_even_when_its_sender_calls_it_inactive() {
        let mut decoder = Decoder::new(Codec::Opus(Rate::Hz48000)).unwrap();
        let mut pcm = vec![0.0; crate::codec::PAYLOAD_SAMPLES_MAX];
        decoder.set_unheard(true);
        for payload in packets(Rate::Hz48000, &[(-57.0, false); 100]) {
            decoder.decode(&payload, &mut pcm).unwrap();
            assert!(!decoder.has_passed());
        }
    }

    #[test]
    fn an_onset_after_a_lull_sounds_as_if_every_packet_had_been_decoded() {
        for rate in Rate::ALL {
            for dbfs in [-20.0, -45.0] {
                let mut sounds = vec![(-66.0, false); 100];
                sounds.extend([(dbfs, true); 25]);
                let mut resting = Decoder::new(Codec::Opus(rate)).unwrap();
                let mut always = Decoder::new(Codec::Opus(rate)).unwrap();
                resting.set_unheard(true);
                let samples = rate.samples_per_tick();
                let (mut rested, mut full) = (vec![0.0; 5_760], vec![0.0; 5_760]);
                for (index, payload) in packets(rate, &sounds).iter().enumerate() {
                    resting.decode(payload, &mut rested).unwrap();
                    always.decode(payload, &mut full).unwrap();
                    if index < 100 {
                        continue;
                    }
                    let difference: Vec<f32> = rested[..samples]
                        .iter()
                        .zip(&full[..samples])
                        .map(|(a, b)| a - b)
                        .collect();
                    let (noise, signal) = (power(&difference), power(&full[..samples]));
                    assert!(!resting.has_passed(), "no packet of the onset is passed over");
                    assert!(
                        noise < 0.001 * signal,
                        "{rate:?} {dbfs} dBFS packet {}: {noise} beside {signal}",
                        index - 100
                    );
                }
            }
        }
    }

    #[test]
    fn only_one_mono_frame_with_a_silk_layer_tells_of_inactivity() {
        for (payload, inactive) in [
            (&[0x78, 0x3f][..], true),        // hybrid, 20 ms
            (&[0x78, 0x80][..], false),       // voice
            (&[0x78, 0x40][..], false),       // redundancy
            (&[0x7c, 0x00][..], false),       // stereo
            (&[0x79, 0x00, 0x00][..], false), // two frames
            (&[0xf8, 0x00][..], false),       // no SILK layer
            (&[0x50, 0x1f][..], true),        // SILK, 40 ms
            (&[0x50, 0x40][..], false),       // voice in its second half
            (&[0x58, 0x0f][..], true),        // SILK, 60 ms
            (&[0x58, 0x20][..], false),       // voice in its last third
            (&[0x78][..], false),
            (&[][..], false),
        ] {
            assert_eq!(says_inactive(payload), inactive, "{payload:02x?}");
        }
    }
}
