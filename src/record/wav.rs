//! A mono 16-bit WAV file that grows: samples are only ever added behind the last one, and the two sizes in the
//! header follow. The header never says more than is there, so the file can be read at any moment.
//!
//! RIFF/WAVE as in the Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991):
//! `RIFF` size `WAVE` · `fmt ` 16 · PCM, 1 channel · `data` size, all little-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes before the first sample.
pub const HEADER_BYTES: u64 = 44;

/// The most sound a file can hold: its sizes are 32 bits, and the outer one counts 36 bytes of header too.
pub const DATA_BYTES_MAX: u64 = (u32::MAX as u64 - 36) & !1;

/// The header of a file with `data_bytes` of samples (at most [`DATA_BYTES_MAX`]) at `rate_hz`.
pub fn header(rate_hz: u32, data_bytes: u64) -> [u8; HEADER_BYTES as usize] {
    debug_assert!(data_bytes <= DATA_BYTES_MAX);
    let data_bytes = data_bytes as u32;
    let mut header = [0; HEADER_BYTES as usize];
    header[0..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&(36 + data_bytes).to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16u32.to_le_bytes());
    header[20..22].copy_from_slice(&1u16.to_le_bytes()); // PCM
    header[22..24].copy_from_slice(&1u16.to_le_bytes()); // channels
    header[24..28].copy_from_slice(&rate_hz.to_le_bytes());
    header[28..32].copy_from_slice(&(rate_hz * 2).to_le_bytes()); // bytes per second
    header[32..34].copy_from_slice(&2u16.to_le_bytes()); // bytes per sample, all channels
    header[34..36].copy_from_slice(&16u16.to_le_bytes()); // bits per sample
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&data_bytes.to_le_bytes());
    header
}

/// Rate in Hz and bytes of sound as a header of ours says them; `None` when it is not one.
pub fn parse_header(bytes: &[u8; HEADER_BYTES as usize]) -> Option<(u32, u64)> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (rate_hz, data_bytes) = (word(24), u64::from(word(40)));
    if rate_hz == 0 || rate_hz > 1_000_000 || data_bytes > DATA_BYTES_MAX {
        return None;
    }
    (header(rate_hz, data_bytes) == *bytes).then_some((rate_hz, data_bytes))
}

/// The growing file. Every write goes to a place known beforehand: after an error nothing is half-way.
#[derive(Debug)]
pub struct WavFile {
    file: File,
    rate_hz: u32,
    data_bytes: u64,
    data_bytes_in_header: u64,
}

impl WavFile {
    /// Starts a file that holds nothing yet: writes the header.
    pub fn create(file: File, rate_hz: u32) -> io::Result<WavFile> {
        file.write_all_at(&header(rate_hz, 0), 0)?;
        Ok(WavFile {
            file,
            rate_hz,
            data_bytes: 0,
            data_bytes_in_header: 0,
        })
    }

    /// Adds samples at the end, little-endian; all of them or, after an error, none.
    pub fn append(&mut self, samples: &[u8]) -> io::Result<()> {
        debug_assert!(samples.len().is_multiple_of(2));
        self.file.write_all_at(samples, HEADER_BYTES + self.data_bytes)?;
        self.data_bytes += samples.len() as u64;
        Ok(())
    }

    /// Puts silence over `samples` samples from `from_sample` on, as far as the file reaches.
    pub fn blank(&mut self, from_sample: u64, samples: u64) -> io::Result<()> {
        static SILENCE: [u8; 32 * 1_024] = [0; 32 * 1_024];
        let mut at = (from_sample * 2).min(self.data_bytes);
        let end = (from_sample + samples).saturating_mul(2).min(self.data_bytes);
        while at < end {
            let bytes = (end - at).min(SILENCE.len() as u64);
            self.file
                .write_all_at(&SILENCE[..bytes as usize], HEADER_BYTES + at)?;
            at += bytes;
        }
        Ok(())
    }

    /// Brings the sizes in the header up to date.
    pub fn write_sizes(&mut self) -> io::Result<()> {
        if self.data_bytes_in_header != self.data_bytes {
            self.file
                .write_all_at(&header(self.rate_hz, self.data_bytes), 0)?;
            self.data_bytes_in_header = self.data_bytes;
        }
        Ok(())
    }

    /// Cuts the end off, so that `samples` are left; also what a failed write left behind the last sample.
    pub fn cut(&mut self, samples: u64) -> io::Result<()> {
        let data_bytes = (samples * 2).min(self.data_bytes);
        // The header first: it must not promise what is about to go.
        self.file.write_all_at(&header(self.rate_hz, data_bytes), 0)?;
        self.data_bytes = data_bytes;
        self.data_bytes_in_header = data_bytes;
        self.file.set_len(HEADER_BYTES + data_bytes)
    }

    pub fn samples(&self) -> u64 {
        self.data_bytes / 2
    }

    /// Header and sound.
    pub fn bytes(&self) -> u64 {
        HEADER_BYTES + self.data_bytes
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;

    #[test]
    fn the_header_is_the_one_every_player_knows() {
        let expected: [u8; 44] = [
            0x52, 0x49, 0x46, 0x46, 0xa4, 0x02, 0x00, 0x00, 0x57, 0x41, 0x56, 0x45, 0x66, 0x6d, 0x74,
            0x20, // RIFF 676
            0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x80, 0x3e, 0x00, 0x00, 0x00, 0x7d, 0x00,
            0x00, // 16 kHz
            0x02, 0x00, 0x10, 0x00, 0x64, 0x61, 0x74, 0x61, 0x80, 0x02, 0x00, 0x00, // data 640
        ];
        assert_eq!(header(16_000, 640), expected);
        assert_eq!(parse_header(&expected), Some((16_000, 640)));
    }

    #[test]
    fn the_largest_file_has_sizes_that_fit() {
        let largest = header(48_000, DATA_BYTES_MAX);
        assert_eq!(parse_header(&largest), Some((48_000, DATA_BYTES_MAX)));
        assert!(DATA_BYTES_MAX + 36 + 2 > u64::from(u32::MAX));
    }

    #[test]
    fn a_header_of_another_make_is_not_ours() {
        let ours = header(8_000, 320);
        for at in [0, 4, 12, 16, 20, 22, 28, 32, 34, 36] {
            let mut other = ours;
            other[at] ^= 1;
            assert_eq!(parse_header(&other), None, "byte {at}");
        }
        assert_eq!(parse_header(&[0xff; 44]), None);
    }

    #[test]
    fn silence_goes_only_where_sound_is() {
        let scratch = Scratch::new();
        let path = scratch.path("a.wav");
        let file = File::create_new(&path).expect("fresh directory");
        let mut wav = WavFile::create(file, 8_000).unwrap();
        wav.append(&[1; 20]).unwrap();
        wav.blank(8, 100).unwrap();
        wav.blank(50, u64::MAX / 4).unwrap();
        wav.write_sizes().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 44 + 20);
        assert_eq!(bytes[44..60], [1; 16]);
        assert_eq!(bytes[60..], [0; 4]);
        wav.cut(3).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            [&header(8_000, 6)[..], &[1; 6]].concat()
        );
    }
}
