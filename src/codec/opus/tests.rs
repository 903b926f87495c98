//! The wrapper against the library it wraps: states, packets, pauses and repairs.

use super::super::tests::{encoding, tone};
use super::super::{Codec, Decoder, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
use super::*;

/// A voice-like sound: a gliding buzz with syllables and breath between them, never the same twice.
fn voice(rate: Rate, samples: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut phase = 0.0f32;
    (0..samples)
        .map(|i| {
            let seconds = i as f32 / rate.hz() as f32;
            phase += (110.0 + 30.0 * (2.1 * seconds).sin()) / rate.hz() as f32;
            let syllable = (std::f32::consts::TAU * 3.0 * seconds).sin().max(0.0);
            let buzz: f32 = (1..12)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                .sum();
            0.2 * syllable * buzz + 0.01 * (random.f32() - 0.5)
        })
        .collect()
}

fn encode_all(encoder: &mut Encoder, pcm: &[f32]) -> Vec<Vec<u8>> {
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    pcm.chunks_exact(encoder.encoding().samples())
        .map(|packet| {
            let bytes = encoder.encode(packet, &mut payload).bytes();
            payload[..bytes].to_vec()
        })
        .collect()
}

fn decode_all(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Vec<f32> {
    let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
    let mut heard = Vec::new();
    for payload in payloads {
        let samples = decoder.decode(payload, &mut pcm).unwrap();
        heard.extend_from_slice(&pcm[..samples]);
    }
    heard
}

#[test]
fn a_copied_encoder_makes_the_very_bytes_of_its_original() {
    for (rate, ptime_ms) in [
        (Rate::Hz8000, 20),
        (Rate::Hz16000, 20),
        (Rate::Hz48000, 20),
        (Rate::Hz16000, 30),
        (Rate::Hz48000, 60),
    ] {
        let encoding = encoding(Codec::Opus(rate), ptime_ms);
        let sound = voice(rate, 3 * rate.hz() as usize, 3);
        let (before, after) = sound.split_at(encoding.samples() * 20);
        let mut original = Encoder::new(encoding).unwrap();
        encode_all(&mut original, before);
        let mut copy = Encoder::new(encoding).unwrap();
        encode_all(&mut copy, &tone(rate, encoding.samples() * 7));
        copy.copy_from(&original);
        let mut fresh = Encoder::new(encoding).unwrap();
        let expected = encode_all(&mut original, after);
        assert_eq!(encode_all(&mut copy, after), expected, "{encoding:?}");
        assert_ne!(
            encode_all(&mut fresh, after),
            expected,
            "a state that makes no difference proves nothing"
        );
    }
}

#[test]
fn an_encoder_of_less_effort_keeps_its_encoding_and_makes_the_bytes_of_a_cheaper_one() {
    let sound = voice(Rate::Hz16000, 16_000, 3);
    let dear = encoding(Codec::Opus(Rate::Hz16000), 20);
    let cheap = Encoding {
        complexity: 1,
        ..dear
    };
    assert!(dear.complexity > cheap.complexity);
    let made = |encoding, limit: Option<u8>| {
        let mut encoder = Encoder::new(encoding).expect("a valid encoding");
        limit.into_iter().for_each(|max| encoder.limit_complexity(max));
        assert_eq!(encoder.encoding(), encoding);
        encode_all(&mut encoder, &sound)
    };
    let (of_cheap, of_dear) = (made(cheap, None), made(dear, None));
    assert_ne!(of_cheap, of_dear);
    assert_eq!(made(dear, Some(1)), of_cheap);
    assert_eq!(made(dear, Some(10)), of_dear, "what was agreed is never exceeded");
    // A copy takes it along, and back.
    let mut limited = Encoder::new(dear).expect("a valid encoding");
    limited.limit_complexity(1);
    let mut copy = Encoder::new(dear).expect("a valid encoding");
    copy.copy_from(&limited);
    assert_eq!(encode_all(&mut copy, &sound), of_cheap);
    copy.copy_from(&limited);
    copy.limit_complexity(10);
    assert_eq!(encode_all(&mut copy, &sound), of_dear);
}

#[test]
fn a_listener_hears_no_jump_when_a_copy_takes_over() {
    let encoding = encoding(Codec::Opus(Rate::Hz16000), 20);
    let sound = tone(Rate::Hz16000, 16_000 * 2);
    let (before, after) = sound.split_at(16_000);
    let (mut shared, mut copy, mut fresh) = (
        Encoder::new(encoding).unwrap(),
        Encoder::new(encoding).unwrap(),
        Encoder::new(encoding).unwrap(),
    );
    let head = encode_all(&mut shared, before);
    copy.copy_from(&shared);

    let distortion_of = |encoder: &mut Encoder| {
        let mut decoder = Decoder::new(encoding.codec).unwrap();
        decode_all(&mut decoder, &head);
        let heard = decode_all(&mut decoder, &encode_all(encoder, after));
        // Second differences of a 440 Hz tone at −12 dBFS stay below 0.0075; a jump stands out.
        heard[..1_600]
            .windows(3)
            .map(|w| (w[0] - 2.0 * w[1] + w[2]).abs())
            .fold(0.0, f32::max)
    };
    let (with_copy, with_fresh) = (distortion_of(&mut copy), distortion_of(&mut fresh));
    assert!(with_copy < 0.012, "{with_copy}");
    assert!(
        with_fresh > 2.0 * with_copy,
        "a fresh encoder is heard: {with_fresh} against {with_copy}"
    );
}

#[test]
fn every_setting_makes_packets_of_the_whole_packet_time_within_the_room_lent() {
    for rate in Rate::ALL {
        let sound = voice(rate, 360 * rate.samples_per_ms(), 5);
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            for bitrate in [6_000, 9_000, 12_000, 16_000, 24_000, 40_000, 64_000, 510_000] {
                for complexity in [0, 5, 10] {
                    let encoding = Encoding {
                        codec: Codec::Opus(rate),
                        ptime_ms,
                        bitrate,
                        complexity,
                        dtx: false,
                        loss_percent: 0,
                    };
                    let mut encoder = Encoder::new(encoding).unwrap();
                    let decoder = Decoder::new(encoding.codec).unwrap();
                    let mut payload = [0; 1_200];
                    for packet in sound.chunks_exact(encoding.samples()) {
                        let bytes = encoder.encode(packet, &mut payload).bytes();
                        assert_eq!(
                            decoder.samples(&payload[..bytes]),
                            Ok(packet.len()),
                            "{encoding:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_reset_decoder_is_as_new() {
    let encoding = encoding(Codec::Opus(Rate::Hz48000), 20);
    let payloads = encode_all(
        &mut Encoder::new(encoding).unwrap(),
        &voice(Rate::Hz48000, 48_000, 1),
    );
    let mut new = Decoder::new(encoding.codec).unwrap();
    let expected = decode_all(&mut new, &payloads);
    assert_ne!(
        decode_all(&mut new, &payloads),
        expected,
        "a state that makes no difference proves nothing"
    );
    new.reset();
    assert_eq!(decode_all(&mut new, &payloads), expected);
}

#[test]
fn a_lost_packet_is_concealed_in_steps_of_two_and_a_half_milliseconds() {
    let encoding = encoding(Codec::Opus(Rate::Hz16000), 20);
    let payloads = encode_all(&mut Encoder::new(encoding).unwrap(), &tone(Rate::Hz16000, 16_000));
    let mut decoder = Decoder::new(encoding.codec).unwrap();
    decode_all(&mut decoder, &payloads);
    let mut pcm = [0.0; 1_960];
    assert!(decoder.conceal(&mut pcm[..320]));
    let energy: f32 = pcm[..320].iter().map(|sample| sample * sample).sum();
    let tone_energy = 320.0 * 0.25 * 0.25 / 2.0;
    assert!(
        energy > 0.05 * tone_energy,
        "the tone goes on, fading: {energy} of {tone_energy}"
    );
    assert!(decoder.conceal(&mut pcm[..40]));
    assert!(decoder.conceal(&mut pcm[..1_920]));
    // What it cannot conceal it leaves alone.
    pcm.fill(9.0);
    for samples in [0, 1, 39, 41, 1_960] {
        assert!(!decoder.conceal(&mut pcm[..samples]), "{samples}");
    }
    assert!(pcm.iter().all(|sample| *sample == 9.0));
}

#[test]
fn packets_of_several_frames_stay_whole_while_the_bandwidth_changes() {
    let mut random = fastrand::Rng::with_seed(2);
    // Turns of a rumble and of hiss, at no multiple of any packet time.
    let mut low = [0.0f32; 4];
    let sound: Vec<f32> = (0..48_000 * 3)
        .map(|i| {
            let hiss = 0.5 * (random.f32() - 0.5);
            let rumble = low.iter_mut().fold(hiss, |input, pole| {
                *pole += 0.05 * (input - *pole);
                *pole
            });
            if i / 31_337 % 2 == 0 { rumble } else { hiss }
        })
        .collect();
    for ptime_ms in [30, 50] {
        for bitrate in [20_000, 32_000, 46_000] {
            let encoding = Encoding {
                codec: Codec::Opus(Rate::Hz48000),
                ptime_ms,
                bitrate,
                complexity: 10,
                dtx: false,
                loss_percent: 0,
            };
            let decoder = Decoder::new(encoding.codec).unwrap();
            let payloads = encode_all(&mut Encoder::new(encoding).unwrap(), &sound);
            for payload in &payloads {
                assert_eq!(decoder.samples(payload), Ok(encoding.samples()), "{encoding:?}");
            }
            // SAFETY: the library looks at the first byte only, and there is one.
            let bandwidth = |payload: &Vec<u8>| unsafe { ffi::opus_packet_get_bandwidth(payload.as_ptr()) };
            let narrowest = payloads.iter().map(bandwidth).min();
            let widest = payloads.iter().map(bandwidth).max();
            assert!(
                narrowest < widest,
                "{encoding:?}: it did not change, which proves nothing"
            );
        }
    }
}

#[test]
fn a_stereo_packet_is_mixed_down() {
    // SAFETY: the size is a constant of the library, asked for without any state.
    let mut state = State::zeroed(unsafe { ffi::opus_encoder_get_size(2) });
    // SAFETY: the state has the size the library asked for with two channels.
    let error = unsafe { ffi::opus_encoder_init(state.as_mut_ptr(), 48_000, 2, ffi::OPUS_APPLICATION_AUDIO) };
    assert_eq!(error, ffi::OPUS_OK);
    let mut decoder = Decoder::new(Codec::Opus(Rate::Hz48000)).unwrap();
    let mut heard = Vec::new();
    for packet in tone(Rate::Hz48000, 48_000).chunks_exact(960) {
        // The tone is on the left only.
        let stereo: Vec<f32> = packet.iter().flat_map(|sample| [*sample, 0.0]).collect();
        let mut payload = [0; 1_275];
        // SAFETY: 960 samples of each of two channels, and room for as many bytes as told.
        let bytes = unsafe {
            ffi::opus_encode_float(
                state.as_mut_ptr(),
                stereo.as_ptr(),
                960,
                payload.as_mut_ptr(),
                1_275,
            )
        };
        // SAFETY: the library looks at the first byte only, and there is one.
        assert_eq!(unsafe { ffi::opus_packet_get_nb_channels(payload.as_ptr()) }, 2);
        heard.extend(decode_all(&mut decoder, &[payload[..bytes as usize].to_vec()]));
    }
    assert_eq!(heard.len(), 48_000);
    let rms = (heard[24_000..].iter().map(|s| s * s).sum::<f32>() / 24_000.0).sqrt();
    let expected = 0.25 / 2.0f32.sqrt() / 2.0;
    assert!((rms / expected - 1.0).abs() < 0.2, "{rms} against {expected}");
}

#[test]
fn a_pause_sounds_like_the_noise_before_it_and_its_packets_are_few() {
    for rate in Rate::ALL {
        let encoding = Encoding {
            dtx: true,
            ..encoding(Codec::Opus(rate), 20)
        };
        let mut encoder = Encoder::new(encoding).unwrap();
        let mut decoder = Decoder::new(encoding.codec).unwrap();
        let mut random = fastrand::Rng::with_seed(4);
        let mut sound = voice(rate, rate.hz() as usize * 2, 1);
        sound.extend((0..rate.hz() as usize * 6).map(|_| 0.002 * (random.f32() - 0.5)));
        let (mut payload, mut pcm) = ([0; PAYLOAD_BYTES_MAX], [0.0; PAYLOAD_SAMPLES_MAX]);
        let mut powers = vec![];
        let (mut sent, mut pauses) = (0, false);
        for packet in sound.chunks_exact(encoding.samples()) {
            let encoded = encoder.encode(packet, &mut payload);
            let pcm = &mut pcm[..packet.len()];
            match encoded.bytes() {
                0 => assert!(
                    pauses && decoder.pause(pcm),
                    "a pause is announced before it begins"
                ),
                bytes => {
                    decoder.decode(&payload[..bytes], pcm).unwrap();
                    pauses = decoder.pauses(&payload[..bytes]);
                    assert_eq!(pauses, matches!(encoded, Encoded::Silence(_)));
                    sent += 1;
                }
            }
            powers.push(pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32);
        }
        let of_noise = sent - 100;
        assert!(
            of_noise < 60,
            "{rate:?}: {of_noise} of 300 packets of noise were sent"
        );
        let expected = 0.002f32.powi(2) / 12.0;
        let heard = powers[200..].iter().sum::<f32>() / 200.0;
        let share = heard / expected;
        assert!((0.1..1.5).contains(&share), "{rate:?}: {share} of the noise");
        decoder.set_unheard(true);
        assert!(
            !decoder.pause(&mut pcm[..encoding.samples()]),
            "nobody hears the leg"
        );
    }
}

#[test]
fn a_lost_packet_is_recovered_from_the_next_where_that_repeats_it() {
    for rate in Rate::ALL {
        for ptime_ms in [10, 20, 40, 60] {
            let encoding = Encoding {
                loss_percent: 10,
                ..encoding(Codec::Opus(rate), ptime_ms)
            };
            let payloads = encode_all(
                &mut Encoder::new(encoding).unwrap(),
                &voice(rate, rate.hz() as usize * 4, 1),
            );
            let mut clean = Decoder::new(encoding.codec).unwrap();
            let mut lossy = [(); 2].map(|()| Decoder::new(encoding.codec).unwrap());
            let mut expected = [0.0; PAYLOAD_SAMPLES_MAX];
            let mut heard = [0.0; PAYLOAD_SAMPLES_MAX];
            let mut errors = [0.0f32; 2];
            let mut recovered = 0;
            for (n, pair) in payloads.windows(2).enumerate() {
                let samples = clean.decode(&pair[0], &mut expected).unwrap();
                let repeated = lossy[0].repeated(&pair[1]);
                if n % 7 != 3 || repeated == 0 {
                    for decoder in &mut lossy {
                        decoder.decode(&pair[0], &mut heard).unwrap();
                    }
                    continue;
                }
                // At 48 kHz a packet of 40 ms is made of two frames, and a frame is what is repeated.
                assert!(repeated == samples || ptime_ms > 20 && repeated * 1_000 == 20 * rate.hz() as usize);
                let first = samples - repeated;
                recovered += 1;
                for (which, decoder) in lossy.iter_mut().enumerate() {
                    assert!(first == 0 || decoder.conceal(&mut heard[..first]));
                    if which == 0 {
                        assert!(decoder.recover(&pair[1], &mut heard[first..samples]));
                    } else {
                        assert!(decoder.conceal(&mut heard[first..samples]));
                    }
                    let pairs = expected[first..samples].iter().zip(&heard[first..]);
                    errors[which] += pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
                }
            }
            assert!(recovered > 3, "{rate:?} {ptime_ms}: {recovered}");
            assert!(errors[0] < 0.75 * errors[1], "{rate:?} {ptime_ms}: {errors:?}");
        }
    }
}

#[test]
fn packets_without_repetition_and_garbage_recover_nothing() {
    let encoding = encoding(Codec::Opus(Rate::Hz16000), 20);
    let payloads = encode_all(
        &mut Encoder::new(encoding).unwrap(),
        &voice(Rate::Hz16000, 16_000, 1),
    );
    let mut decoder = Decoder::new(encoding.codec).unwrap();
    let mut pcm = [9.0; 320];
    for payload in payloads
        .iter()
        .map(Vec::as_slice)
        .chain([&[][..], &[0x4b], &[0xff; 9]])
    {
        assert_eq!(decoder.repeated(payload), 0);
        assert!(!decoder.recover(payload, &mut pcm));
    }
    assert_eq!(pcm, [9.0; 320]);
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..20_000 {
        let garbage: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(..)).collect();
        let samples = decoder.repeated(&garbage);
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        decoder.recover(&garbage, &mut pcm[..samples]);
        assert!(pcm.iter().all(|sample| sample.abs() <= 2.0));
    }
}

#[test]
fn a_running_encoder_is_retuned_and_its_decoder_hears_no_jump() {
    let clean = encoding(Codec::Opus(Rate::Hz16000), 20);
    let sound = voice(Rate::Hz16000, 16_000 * 4, 1);
    let mut encoder = Encoder::new(clean).unwrap();
    let (mut sizes, mut payloads) = (vec![], vec![]);
    for (n, loss_percent) in [0, 5, 10, 20, 0].into_iter().enumerate() {
        let encoding = Encoding {
            loss_percent,
            ..clean
        };
        encoder.retune(encoding);
        assert_eq!(encoder.encoding(), encoding);
        let part = encode_all(&mut encoder, &sound[n * 12_800..(n + 1) * 12_800]);
        sizes.push(part.iter().map(Vec::len).sum::<usize>());
        let decoder = Decoder::new(clean.codec).unwrap();
        let repeat = part
            .iter()
            .filter(|payload| decoder.repeated(payload) > 0)
            .count();
        assert_eq!(
            repeat > 5,
            loss_percent > 0,
            "{loss_percent} %: {repeat} of {}",
            part.len()
        );
        payloads.extend(part);
    }
    assert!(sizes[1] > sizes[0] * 5 / 4, "{sizes:?}");
    let heard = decode_all(&mut Decoder::new(clean.codec).unwrap(), &payloads);
    let steepest = |pcm: &[f32]| {
        pcm.windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    };
    assert!(steepest(&heard) < 1.5 * steepest(&sound));
    // A copy goes on with what its original was tuned to.
    let mut copy = Encoder::new(clean).unwrap();
    encoder.retune(Encoding {
        bitrate: 16_000,
        loss_percent: 20,
        ..clean
    });
    copy.copy_from(&encoder);
    assert_eq!(copy.encoding(), encoder.encoding());
    assert_eq!(encode_all(&mut copy, &sound), encode_all(&mut encoder, &sound));
}

#[test]
fn what_repeating_takes_stays_within_what_the_remote_allows() {
    let clean = encoding(Codec::Opus(Rate::Hz16000), 20);
    for (bitrate_max, loss_percent, expected) in [
        (510_000, 0, 32_000),
        (32_000, 0, 32_000),
        (510_000, 10, 32_000),
        (48_000, 10, 32_000),
        (42_000, 10, 28_000),
        (32_000, 20, 20_000),
        (6_000, 20, BITRATE_MIN),
    ] {
        let encoding = clean.against_loss(loss_percent, bitrate_max);
        assert_eq!(
            (encoding.bitrate, encoding.loss_percent),
            (expected, loss_percent)
        );
        let spent = bitrate_with_repeats(encoding);
        assert!(spent <= bitrate_max || encoding.bitrate == BITRATE_MIN, "{spent}");
    }
}
