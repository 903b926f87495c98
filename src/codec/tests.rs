//! What holds for every codec alike.

use super::ilbc::Mode;
use super::*;

pub(super) const CODECS: [Codec; 12] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::G729,
    Codec::Ilbc(Mode::Ms20),
    Codec::Ilbc(Mode::Ms30),
    Codec::L16(Rate::Hz8000),
    Codec::L16(Rate::Hz16000),
    Codec::L16(Rate::Hz48000),
    Codec::Opus(Rate::Hz8000),
    Codec::Opus(Rate::Hz16000),
    Codec::Opus(Rate::Hz48000),
];

/// The packet times that are whole frames of the codec, in ms.
fn ptimes(codec: Codec) -> impl Iterator<Item = u8> {
    let frame_ms = match codec {
        Codec::Ilbc(mode) => mode.ms() as u8,
        _ => 10,
    };
    [10, 20, 30, 40, 50, 60]
        .into_iter()
        .filter(move |ptime_ms: &u8| ptime_ms.is_multiple_of(frame_ms))
}

/// 20 ms where the codec has it.
fn ptime(codec: Codec) -> u8 {
    ptimes(codec).find(|ptime_ms| *ptime_ms >= 20).unwrap()
}

pub(super) fn encoding(codec: Codec, ptime_ms: u8) -> Encoding {
    Encoding {
        codec,
        ptime_ms,
        bitrate: 32_000,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    }
}

/// A tone of 440 Hz at −12 dBFS.
pub(super) fn tone(rate: Rate, samples: usize) -> Vec<f32> {
    (0..samples)
        .map(|i| 0.25 * (std::f32::consts::TAU * 440.0 * i as f32 / rate.hz() as f32).sin())
        .collect()
}

/// Encodes the sound packet by packet and decodes it again; the last packet is whole.
pub(super) fn round_trip(encoding: Encoding, pcm: &[f32]) -> Vec<f32> {
    let mut encoder = Encoder::new(encoding).unwrap();
    let mut decoder = Decoder::new(encoding.codec).unwrap();
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    let mut decoded = [0.0; PAYLOAD_SAMPLES_MAX];
    let mut heard = Vec::new();
    for packet in pcm.chunks_exact(encoding.samples()) {
        let mut bytes = 0;
        for frame in packet.chunks_exact(encoder.frame_samples()) {
            let encoded = encoder.encode(frame, &mut payload[bytes..]);
            assert!(matches!(encoded, Encoded::Sound(1..)), "{encoding:?}");
            bytes += encoded.bytes();
        }
        assert_eq!(
            decoder.samples(&payload[..bytes]),
            Ok(packet.len()),
            "{encoding:?}"
        );
        let samples = decoder.decode(&payload[..bytes], &mut decoded).unwrap();
        assert_eq!(samples, packet.len());
        heard.extend_from_slice(&decoded[..samples]);
    }
    heard
}

/// Signal over what differs from it, in dB, at the delay within 30 ms where that is best, after half a second.
pub(super) fn snr_db(rate: Rate, said: &[f32], heard: &[f32]) -> f32 {
    let start = rate.hz() as usize / 2;
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| s * s).sum::<f32>();
    (0..30 * rate.samples_per_ms())
        .map(|delay| {
            let pairs = || said[start..].iter().zip(&heard[start + delay..]);
            let signal = energy(&mut pairs().map(|(said, _)| *said));
            let noise = energy(&mut pairs().map(|(said, heard)| heard - said));
            10.0 * (signal / noise).log10()
        })
        .fold(f32::MIN, f32::max)
}

#[test]
fn a_tone_is_heard_through_every_codec_at_every_packet_time() {
    for codec in CODECS {
        let floor_db = match codec {
            Codec::Pcmu | Codec::Pcma => 36.0,
            Codec::L16(_) => 80.0,
            Codec::G722 => 40.0,
            Codec::G729 | Codec::Ilbc(_) | Codec::Opus(_) => 20.0,
        };
        for ptime_ms in ptimes(codec) {
            let said = tone(codec.rate(), 1_200 * codec.rate().samples_per_ms());
            let heard = round_trip(encoding(codec, ptime_ms), &said);
            let snr = snr_db(codec.rate(), &said, &heard);
            assert!(snr > floor_db, "{codec:?} at {ptime_ms} ms: {snr} dB");
        }
    }
}

#[test]
fn silence_stays_silence_in_every_codec() {
    for codec in CODECS {
        let heard = round_trip(
            encoding(codec, ptime(codec)),
            &vec![0.0; codec.rate().hz() as usize],
        );
        let peak = heard.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        let ceiling = match codec {
            // A-law has no zero: the nearest is one step of its 13 bits.
            Codec::Pcma => 1.0 / 4_096.0,
            // Nor has ADPCM; the filter makes more of it.
            Codec::G722 => 2e-4,
            _ => 1e-4,
        };
        assert!(peak <= ceiling, "{codec:?}: {peak}");
    }
}

#[test]
fn what_is_beyond_full_scale_is_encoded_as_full_scale_and_what_is_no_number_as_silence() {
    let samples = [
        (f32::NAN, 0.0),
        (f32::INFINITY, 1.0),
        (f32::NEG_INFINITY, -1.0),
        (f32::MAX, 1.0),
        (-1e30, -1.0),
        (1.5, 1.0),
    ];
    for codec in CODECS {
        let encoding = encoding(codec, ptime(codec));
        let mut sane = tone(codec.rate(), codec.rate().hz() as usize);
        let mut wild = sane.clone();
        for (index, (wild, sane)) in wild.iter_mut().zip(&mut sane).enumerate().step_by(7) {
            (*wild, *sane) = samples[index / 7 % samples.len()];
        }
        let (mut one, mut other) = (Encoder::new(encoding).unwrap(), Encoder::new(encoding).unwrap());
        let (mut payload, mut expected) = ([0; PAYLOAD_BYTES_MAX], [0; PAYLOAD_BYTES_MAX]);
        for (wild, sane) in wild
            .chunks_exact(one.frame_samples())
            .zip(sane.chunks_exact(other.frame_samples()))
        {
            let bytes = one.encode(wild, &mut payload).bytes();
            let expected_bytes = other.encode(sane, &mut expected).bytes();
            assert!(bytes > 0);
            assert_eq!(payload[..bytes], expected[..expected_bytes], "{codec:?}");
        }
    }
}

#[test]
fn random_payloads_decode_to_at_most_120_ms_of_finite_sound_or_to_a_named_error() {
    for codec in CODECS {
        let mut random = fastrand::Rng::with_seed(1);
        let mut decoder = Decoder::new(codec).unwrap();
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut payload = [0; 1_500];
        let (mut decoded, mut refused) = (0, 0);
        for round in 0..3_000 {
            let length = match (round % 3, codec) {
                (0, _) => random.usize(0..12),
                (1, Codec::Ilbc(mode)) => mode.bytes() * random.usize(1..6),
                _ => random.usize(0..=1_500),
            };
            random.fill(&mut payload[..length]);
            pcm.fill(f32::NAN);
            let told = decoder.samples(&payload[..length]);
            match decoder.decode(&payload[..length], &mut pcm) {
                Ok(samples) => {
                    assert_eq!(told, Ok(samples));
                    assert!(samples > 0 && samples <= PAYLOAD_MS_MAX * codec.rate().samples_per_ms());
                    assert!(
                        pcm[..samples].iter().all(|s| s.abs() <= 2.0),
                        "{codec:?} round {round}"
                    );
                    decoded += 1;
                }
                Err(error) => {
                    assert!(PayloadError::ALL.contains(&error));
                    refused += 1;
                }
            }
        }
        assert!(
            decoded > 150 && refused > 300,
            "{codec:?}: {decoded} decoded, {refused} refused"
        );
    }
}

#[test]
fn payloads_that_cannot_be_are_refused_by_name() {
    use PayloadError::*;
    let cases: [(Codec, &[u8], Result<usize, PayloadError>); 28] = [
        (Codec::Pcmu, &[], Err(Empty)),
        (Codec::Pcmu, &[0; 960], Ok(960)),
        (Codec::Pcmu, &[0; 961], Err(TooLong)),
        (Codec::Pcma, &[0; 961], Err(TooLong)),
        (Codec::G722, &[0; 960], Ok(1_920)),
        (Codec::G722, &[0; 961], Err(TooLong)),
        (Codec::G729, &[0; 2], Ok(80)),
        (Codec::G729, &[0; 112], Ok(960)),
        (Codec::G729, &[0; 122], Err(TooLong)),
        (Codec::G729, &[0; 11], Err(Partial)),
        (Codec::Ilbc(Mode::Ms20), &[], Err(Empty)),
        (Codec::Ilbc(Mode::Ms20), &[0; 38], Ok(160)),
        (Codec::Ilbc(Mode::Ms20), &[0; 50], Err(Partial)),
        (Codec::Ilbc(Mode::Ms20), &[0; 228], Ok(960)),
        (Codec::Ilbc(Mode::Ms20), &[0; 266], Err(TooLong)),
        (Codec::Ilbc(Mode::Ms30), &[0; 38], Err(Partial)),
        (Codec::Ilbc(Mode::Ms30), &[0; 200], Ok(960)),
        (Codec::Ilbc(Mode::Ms30), &[0; 250], Err(TooLong)),
        (Codec::L16(Rate::Hz8000), &[0; 3], Err(Partial)),
        (Codec::L16(Rate::Hz8000), &[0; 1_922], Err(TooLong)),
        (Codec::L16(Rate::Hz16000), &[0; 3_840], Ok(1_920)),
        (Codec::Opus(Rate::Hz16000), &[], Err(Empty)),
        // A configuration of 20 ms SILK wideband is 9: one frame, two equal frames, a count of frames.
        (Codec::Opus(Rate::Hz16000), &[9 << 3, 1, 2, 3], Ok(320)),
        (Codec::Opus(Rate::Hz16000), &[9 << 3 | 1, 1, 2, 3, 4], Ok(640)),
        (Codec::Opus(Rate::Hz16000), &[9 << 3 | 1, 1, 2, 3], Err(Corrupt)),
        (Codec::Opus(Rate::Hz16000), &[9 << 3 | 3], Err(Partial)),
        (
            Codec::Opus(Rate::Hz16000),
            &[9 << 3 | 3, 6, 1, 2, 3, 4, 5, 6],
            Ok(1_920),
        ),
        (
            Codec::Opus(Rate::Hz16000),
            &[9 << 3 | 3, 7, 1, 2, 3, 4, 5, 6, 7],
            Err(TooLong),
        ),
    ];
    for (codec, payload, expected) in cases {
        let mut decoder = Decoder::new(codec).unwrap();
        assert_eq!(
            decoder.samples(payload),
            expected,
            "{codec:?} {} bytes",
            payload.len()
        );
        assert_eq!(
            decoder.decode(payload, &mut [0.0; PAYLOAD_SAMPLES_MAX]),
            expected,
            "{codec:?}"
        );
    }
}

#[test]
fn a_codec_says_what_it_was_made_of_and_refuses_what_it_cannot_be() {
    for codec in CODECS {
        assert_eq!(Decoder::new(codec).unwrap().codec(), codec);
        for ptime_ms in ptimes(codec) {
            let encoding = encoding(codec, ptime_ms);
            assert_eq!(Encoder::new(encoding).unwrap().encoding(), encoding);
        }
        assert_eq!(
            Encoder::new(encoding(codec, 25)).err(),
            Some(CodecError::Ptime(25))
        );
    }
    for (mode, ptime_ms) in [(Mode::Ms20, 30), (Mode::Ms30, 20)] {
        assert_eq!(
            Encoder::new(encoding(Codec::Ilbc(mode), ptime_ms)).err(),
            Some(CodecError::Frames(ptime_ms))
        );
    }
    let opus = encoding(Codec::Opus(Rate::Hz48000), 20);
    let refused = |encoding| Encoder::new(encoding).err();
    assert_eq!(
        refused(Encoding {
            bitrate: 5_999,
            ..opus
        }),
        Some(CodecError::Bitrate(5_999))
    );
    assert_eq!(
        refused(Encoding {
            bitrate: 510_001,
            ..opus
        }),
        Some(CodecError::Bitrate(510_001))
    );
    assert_eq!(
        refused(Encoding {
            complexity: 11,
            ..opus
        }),
        Some(CodecError::Complexity(11))
    );
}

#[test]
fn who_has_no_concealment_leaves_the_buffer_alone() {
    for codec in CODECS {
        let mut decoder = Decoder::new(codec).unwrap();
        let mut pcm = vec![
            0.5;
            codec
                .rate()
                .samples_per_tick()
                .next_multiple_of(decoder.conceal_step())
        ];
        let conceals = matches!(codec, Codec::G729 | Codec::Ilbc(_) | Codec::Opus(_));
        assert_eq!(decoder.conceal(&mut pcm), conceals, "{codec:?}");
        assert_eq!(pcm[0] == 0.5, !conceals);
    }
}

#[test]
fn a_twin_of_an_encoder_makes_the_same_payloads() {
    for codec in CODECS {
        let encoding = encoding(codec, ptime(codec));
        let (mut original, mut twin) = (Encoder::new(encoding).unwrap(), Encoder::new(encoding).unwrap());
        let (mut payload, mut same) = ([0; PAYLOAD_BYTES_MAX], [0; PAYLOAD_BYTES_MAX]);
        let frame = original.frame_samples();
        let sound = tone(codec.rate(), 20 * frame);
        for (n, packet) in sound.chunks_exact(frame).enumerate() {
            if n == 10 {
                twin.copy_from(&original);
            }
            let made = original.encode(packet, &mut payload);
            if n >= 10 {
                assert_eq!(twin.encode(packet, &mut same), made, "{codec:?}");
                assert_eq!(same[..made.bytes()], payload[..made.bytes()], "{codec:?}");
            }
        }
    }
}

#[test]
fn ilbc_conceals_whole_frames_and_nothing_else() {
    for mode in [Mode::Ms20, Mode::Ms30] {
        let mut decoder = Decoder::new(Codec::Ilbc(mode)).unwrap();
        assert_eq!(decoder.conceal_step(), mode.samples());
        for (samples, conceals) in [
            (0, false),
            (80, false),
            (mode.samples(), true),
            (3 * mode.samples(), true),
        ] {
            let mut pcm = vec![0.5; samples];
            assert_eq!(decoder.conceal(&mut pcm), conceals, "{mode:?} {samples}");
            assert!(
                pcm.iter().all(|sample| (*sample == 0.5) != conceals),
                "{mode:?} {samples}"
            );
        }
    }
}
