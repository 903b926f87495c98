//! The formats a recording can have.

use std::str::FromStr;

use super::wav::DATA_BYTES_MAX;
use super::{PART_BYTES, PARTS_MAX};

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Linear 16 bit, uncompressed.
    Wav,
    /// Opus in Ogg (RFC 7845).
    Ogg,
    /// Lossless (RFC 9639).
    Flac,
}

/// Not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not one of the formats wav, ogg, flac")]
pub struct UnknownFormat;

impl Format {
    pub const ALL: [Format; 3] = [Format::Wav, Format::Ogg, Format::Flac];

    /// The end of a file's name, without the dot; also the name by which a request asks for the format.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Wav => "wav",
            Format::Ogg => "ogg",
            Format::Flac => "flac",
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Wav => "audio/wav",
            Format::Ogg => "audio/ogg; codecs=opus",
            Format::Flac => "audio/flac",
        }
    }
}

impl Format {
    /// Samples that an image can have: a WAV file has sizes of 32 bits, and what is uploaded as many parts as S3 takes.
    /// No encoder makes more than three bytes of a sample.
    pub const fn samples_max(self) -> u64 {
        match self {
            Format::Wav => DATA_BYTES_MAX / 2,
            Format::Ogg | Format::Flac => PARTS_MAX * PART_BYTES / 3,
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        Format::ALL
            .into_iter()
            .find(|format| format.extension().eq_ignore_ascii_case(name))
            .ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_found_by_its_name_in_any_case() {
        for format in Format::ALL {
            assert_eq!(format.extension().parse(), Ok(format));
            assert_eq!(format.extension().to_uppercase().parse(), Ok(format));
        }
        for other in ["", "mp3", "wave", ".wav", " ogg"] {
            assert_eq!(other.parse::<Format>(), Err(UnknownFormat), "{other}");
        }
    }
}
