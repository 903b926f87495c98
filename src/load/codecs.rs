//! The codecs that synthetic parties speak: their names on the command line, and how each is encoded.

use crate::codec::ilbc::Mode;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;

/// What `--codec` takes.
pub const CODECS: [(&str, Codec); 12] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("g729", Codec::G729),
    ("ilbc20", Codec::Ilbc(Mode::Ms20)),
    ("ilbc30", Codec::Ilbc(Mode::Ms30)),
    ("opus", Codec::Opus(Rate::Hz48000)),
    ("opus16", Codec::Opus(Rate::Hz16000)),
    ("opus8", Codec::Opus(Rate::Hz8000)),
    ("l16", Codec::L16(Rate::Hz16000)),
    ("l16-8", Codec::L16(Rate::Hz8000)),
    ("l16-48", Codec::L16(Rate::Hz48000)),
];

pub fn codec_named(name: &str) -> Result<Codec, String> {
    CODECS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, codec)| *codec)
        .ok_or_else(|| {
            let known: Vec<&str> = CODECS.iter().map(|(known, _)| *known).collect();
            format!("it is none of {}", known.join(", "))
        })
}

/// The packet times, in milliseconds, that can be made of a codec's frames.
pub fn packet_times(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Ilbc(Mode::Ms20) => &[20, 40, 60],
        Codec::Ilbc(Mode::Ms30) => &[30, 60],
        _ => &[10, 20, 30, 40, 50, 60],
    }
}

/// The one that is common.
pub fn usual_packet_time(codec: Codec) -> u8 {
    match codec {
        Codec::Ilbc(Mode::Ms30) => 30,
        _ => 20,
    }
}

/// How synthetic parties encode: what softphones and gateways commonly do.
pub fn encoding(codec: Codec, ptime_ms: u8) -> Encoding {
    let bitrate = match codec.rate() {
        Rate::Hz48000 => 32_000,
        _ => 24_000,
    };
    Encoding {
        codec,
        ptime_ms,
        bitrate,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_codec_is_answered_with_the_known_ones() {
        assert_eq!(codec_named("opus16"), Ok(Codec::Opus(Rate::Hz16000)));
        assert_eq!(codec_named("ilbc30"), Ok(Codec::Ilbc(Mode::Ms30)));
        assert!(codec_named("speex").expect_err("there is none").contains("pcma"));
    }

    #[test]
    fn every_packet_time_holds_whole_frames_and_divides_the_loop_of_a_track() {
        for (name, codec) in CODECS {
            assert!(packet_times(codec).contains(&usual_packet_time(codec)), "{name}");
            for ptime_ms in packet_times(codec) {
                let frame_ms = match codec {
                    Codec::Ilbc(mode) => mode.ms(),
                    _ => 10,
                };
                assert_eq!(usize::from(*ptime_ms) % frame_ms, 0, "{name} {ptime_ms}");
            }
        }
    }
}
