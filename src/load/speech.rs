//! The speech that synthetic parties say: seven voices made for this project (`assets/speech/make.sh`), carried in
//! the program as Ogg-Opus (RFC 7845) and decoded at the rate that is wanted.

use std::io::Cursor;

use ogg::PacketReader;
use thiserror::Error;

use crate::codec::{Codec, CodecError, Decoder, PAYLOAD_SAMPLES_MAX, PayloadError};
use crate::frame::Rate;

/// One voice and its text of eight to eleven seconds, without a pause longer than a fifth of a second.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    pub name: &'static str,
    opus: &'static [u8],
}

pub const VOICES: [Voice; 7] = [
    Voice {
        name: "alma",
        opus: include_bytes!("../../assets/speech/alma.opus"),
    },
    Voice {
        name: "boris",
        opus: include_bytes!("../../assets/speech/boris.opus"),
    },
    Voice {
        name: "craig",
        opus: include_bytes!("../../assets/speech/craig.opus"),
    },
    Voice {
        name: "dora",
        opus: include_bytes!("../../assets/speech/dora.opus"),
    },
    Voice {
        name: "edgar",
        opus: include_bytes!("../../assets/speech/edgar.opus"),
    },
    Voice {
        name: "fay",
        opus: include_bytes!("../../assets/speech/fay.opus"),
    },
    Voice {
        name: "gus",
        opus: include_bytes!("../../assets/speech/gus.opus"),
    },
];

#[derive(Debug, Error)]
pub enum SpeechError {
    #[error("the speech is no Ogg file: {0}")]
    Container(#[from] ogg::OggReadError),
    #[error("the speech does not begin with an Opus header")]
    Header,
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the speech holds a packet that cannot be decoded: {0}")]
    Payload(#[from] PayloadError),
}

impl Voice {
    /// The whole text at `rate`, mono, full scale ±1.0.
    pub fn decode(&self, rate: Rate) -> Result<Vec<f32>, SpeechError> {
        decode(self.opus, rate)
    }
}

fn decode(ogg: &[u8], rate: Rate) -> Result<Vec<f32>, SpeechError> {
    let mut reader = PacketReader::new(Cursor::new(ogg));
    let head = reader.read_packet()?.ok_or(SpeechError::Header)?;
    // RFC 7845 §5.1: magic, version, channels, pre-skip at 48 kHz in little-endian order.
    let pre_skip = match *head.data.as_slice() {
        [
            b'O',
            b'p',
            b'u',
            b's',
            b'H',
            b'e',
            b'a',
            b'd',
            1,
            1,
            low,
            high,
            ..,
        ] => u16::from_le_bytes([low, high]),
        _ => return Err(SpeechError::Header),
    };
    reader.read_packet()?.ok_or(SpeechError::Header)?; // the comment header

    let per_48k = Rate::Hz48000.hz() / rate.hz();
    let mut decoder = Decoder::new(Codec::Opus(rate))?;
    let mut packet_sound = vec![0.0; PAYLOAD_SAMPLES_MAX];
    let mut sound = Vec::new();
    let mut end = None;
    while let Some(packet) = reader.read_packet()? {
        let samples = decoder.decode(&packet.data, &mut packet_sound)?;
        sound.extend_from_slice(&packet_sound[..samples]);
        if packet.last_in_stream() {
            // RFC 7845 §4.4: the last granule position trims what the encoder padded.
            end = usize::try_from(packet.absgp_page() / u64::from(per_48k)).ok();
        }
    }
    sound.truncate(end.unwrap_or(sound.len()));
    sound.drain(..(usize::from(pre_skip) / per_48k as usize).min(sound.len()));
    Ok(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms_dbfs(sound: &[f32]) -> f32 {
        10.0 * (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32).log10()
    }

    #[test]
    fn every_voice_speaks_for_eight_to_eleven_seconds_at_telephone_level() {
        for voice in &VOICES {
            let sound = voice.decode(Rate::Hz16000).expect("the speech decodes");
            let seconds = sound.len() as f32 / 16_000.0;
            assert!((8.0..11.0).contains(&seconds), "{}: {seconds} s", voice.name);
            let level = rms_dbfs(&sound);
            assert!((-24.0..-20.0).contains(&level), "{}: {level} dBFS", voice.name);
        }
    }

    #[test]
    fn no_voice_pauses_longer_than_the_hangover_of_a_contribution() {
        for voice in &VOICES {
            let sound = voice.decode(Rate::Hz8000).expect("the speech decodes");
            let mut quiet_ms = 0;
            for frame in sound.chunks(160) {
                quiet_ms = if rms_dbfs(frame) < -50.0 { quiet_ms + 20 } else { 0 };
                assert!(quiet_ms < 400, "{} pauses for {quiet_ms} ms", voice.name);
            }
        }
    }

    #[test]
    fn a_voice_lasts_as_long_at_every_rate() {
        for voice in &VOICES {
            let lengths = Rate::ALL.map(|rate| {
                let sound = voice.decode(rate).expect("the speech decodes");
                sound.len() as u32 * (48_000 / rate.hz())
            });
            assert!(
                lengths.iter().all(|length| length.abs_diff(lengths[2]) <= 6),
                "{}: {lengths:?}",
                voice.name
            );
        }
    }

    #[test]
    fn all_speech_together_stays_small() {
        let bytes: usize = VOICES.iter().map(|voice| voice.opus.len()).sum();
        assert!(bytes <= 400 * 1024, "{bytes} bytes");
    }

    #[test]
    fn what_is_no_ogg_or_no_mono_opus_is_refused() {
        assert!(matches!(
            decode(b"RIFF", Rate::Hz8000),
            Err(SpeechError::Container(_) | SpeechError::Header)
        ));
        assert!(matches!(
            decode(b"", Rate::Hz8000),
            Err(SpeechError::Container(_) | SpeechError::Header)
        ));
    }
}
