//! Keys in the sound of real legs: through the codecs they are found, and a voice is never taken for one.

use mixminus::codec::{Codec, Decoder, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
use mixminus::dtmf::{Digit, DigitSender, LOOK_BACK_MS, ToneDetector};
use mixminus::frame::Rate;
use mixminus::load::speech::VOICES;

/// Every digit, with a lead-in that shifts it against the packets.
fn tones(rate: Rate, tone_ms: u16, gap_ms: u16, lead_in_ms: usize) -> Vec<f32> {
    let mut sender = DigitSender::new();
    let mut sound = vec![0.0; lead_in_ms * rate.samples_per_ms()];
    let mut pcm = vec![0.0; rate.samples_per_tick()];
    for digit in Digit::all() {
        sender.push(digit, tone_ms, gap_ms).expect("sixteen fit");
    }
    while sender.render(rate, &mut pcm) {
        sound.extend_from_slice(&pcm);
    }
    // Time for a codec's own delay and for the look-back.
    sound.resize((sound.len() / pcm.len() + 6) * pcm.len(), 0.0);
    sound
}

/// What the far end hears of the sound.
fn coded(codec: Codec, bitrate: u32, sound: &[f32], rate: Rate) -> Vec<f32> {
    let mut encoder = Encoder::new(Encoding {
        codec,
        ptime_ms: 20,
        bitrate,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    })
    .expect("the codec is there");
    let mut decoder = Decoder::new(codec).expect("the codec is there");
    let (mut payload, mut pcm) = ([0; PAYLOAD_BYTES_MAX], [0.0; PAYLOAD_SAMPLES_MAX]);
    let mut heard = Vec::new();
    for frame in sound.chunks_exact(rate.samples_per_tick()) {
        let bytes = encoder.encode(frame, &mut payload).bytes();
        let samples = decoder
            .decode(&payload[..bytes], &mut pcm)
            .expect("our own packet");
        heard.extend_from_slice(&pcm[..samples]);
    }
    heard
}

/// The digits found, and what is heard then.
fn detect(mut sound: Vec<f32>, rate: Rate) -> (String, Vec<f32>) {
    let mut detector = ToneDetector::new();
    let mut digits = String::new();
    for frame in sound.chunks_exact_mut(rate.samples_per_tick()) {
        digits.extend(detector.process(frame, rate).map(Digit::to_char));
    }
    (digits, sound)
}

#[test]
fn digits_are_found_through_the_codecs_and_next_to_nothing_of_them_is_heard() {
    let legs = [
        (Codec::Pcmu, 0),
        (Codec::Pcma, 0),
        (Codec::L16(Rate::Hz16000), 0),
        (Codec::Opus(Rate::Hz8000), 12_000),
        (Codec::Opus(Rate::Hz16000), 16_000),
        (Codec::Opus(Rate::Hz48000), 24_000),
        (Codec::Opus(Rate::Hz48000), 64_000),
    ];
    for (codec, bitrate) in legs {
        let rate = codec.rate();
        for tone_ms in [40, 60, 100] {
            for lead_in_ms in [200, 203, 207, 211, 216] {
                let heard = coded(codec, bitrate, &tones(rate, tone_ms, 80, lead_in_ms), rate);
                let (digits, left) = detect(heard, rate);
                let case = format!("{codec:?} at {bitrate}, {tone_ms} ms after {lead_in_ms}");
                assert_eq!(digits, "0123456789*#ABCD", "{case}");
                let loudest = left
                    .iter()
                    .fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
                assert!(loudest < 0.03, "{loudest} of 0.71, {case}");
            }
        }
    }
}

#[test]
fn a_voice_is_no_key_and_loses_nothing() {
    for voice in &VOICES {
        for rate in Rate::ALL {
            let speech = voice.decode(rate).expect("the speech decodes");
            for gain in [0.1, 1.0, 3.0] {
                let louder: Vec<_> = speech.iter().map(|sample| sample * gain).collect();
                let (digits, heard) = detect(louder.clone(), rate);
                assert_eq!(digits, "", "{} at {rate:?}", voice.name);
                let look_back = LOOK_BACK_MS * rate.samples_per_ms();
                let whole = heard.len() / rate.samples_per_tick() * rate.samples_per_tick();
                assert!(
                    heard[look_back..whole] == louder[..whole - look_back],
                    "{} at {rate:?}",
                    voice.name
                );
            }
        }
    }
}
