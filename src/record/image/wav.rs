//! WAV: mono, 16 bit, little-endian. RIFF/WAVE as in the Multimedia Programming Interface and Data Specifications 1.0
//! (IBM, Microsoft, 1991): `RIFF` size `WAVE` · `fmt ` 16 · PCM, 1 channel · `data` size.

use crate::frame::Rate;

/// Bytes before the first sample.
pub const HEADER_BYTES: u64 = 44;

/// The most sound a file can hold: its sizes are 32 bits, and the outer one counts 36 bytes of header too.
pub const DATA_BYTES_MAX: u64 = (u32::MAX as u64 - 36) & !1;

/// The header of a file with `data_bytes` of samples, at most [`DATA_BYTES_MAX`].
pub fn header(rate: Rate, data_bytes: u64) -> [u8; HEADER_BYTES as usize] {
    debug_assert!(data_bytes <= DATA_BYTES_MAX);
    let data_bytes = data_bytes as u32;
    let mut header = [0; HEADER_BYTES as usize];
    header[0..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&(36 + data_bytes).to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16u32.to_le_bytes());
    header[20..22].copy_from_slice(&1u16.to_le_bytes()); // PCM
    header[22..24].copy_from_slice(&1u16.to_le_bytes()); // channels
    header[24..28].copy_from_slice(&rate.hz().to_le_bytes());
    header[28..32].copy_from_slice(&(rate.hz() * 2).to_le_bytes()); // bytes per second
    header[32..34].copy_from_slice(&2u16.to_le_bytes()); // bytes per sample, all channels
    header[34..36].copy_from_slice(&16u16.to_le_bytes()); // bits per sample
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&data_bytes.to_le_bytes());
    header
}

/// Turns samples into the bytes of a WAV file behind its header.
#[derive(Debug)]
pub struct WavWriter {
    rate: Rate,
    samples: u64,
}

impl WavWriter {
    pub fn new(rate: Rate) -> WavWriter {
        WavWriter { rate, samples: 0 }
    }

    /// What the sizes cannot count is not taken.
    pub fn append(&mut self, samples: &[i16], bytes: &mut Vec<u8>) {
        let fitting = self.fitting(samples.len() as u64);
        bytes.extend(samples[..fitting].iter().flat_map(|sample| sample.to_le_bytes()));
    }

    pub fn append_silence(&mut self, samples: u64, bytes: &mut Vec<u8>) {
        let fitting = self.fitting(samples);
        bytes.resize(bytes.len() + 2 * fitting, 0);
    }

    fn fitting(&mut self, samples: u64) -> usize {
        let fitting = samples.min(DATA_BYTES_MAX / 2 - self.samples);
        self.samples += fitting;
        fitting as usize
    }

    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The header of a file of `bytes`, header and all.
    pub fn header(&self, bytes: u64) -> [u8; HEADER_BYTES as usize] {
        header(self.rate, bytes.saturating_sub(HEADER_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_one_every_player_knows() {
        let expected: [u8; 44] = [
            0x52, 0x49, 0x46, 0x46, 0xa4, 0x02, 0x00, 0x00, 0x57, 0x41, 0x56, 0x45, 0x66, 0x6d, 0x74,
            0x20, // RIFF 676
            0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x80, 0x3e, 0x00, 0x00, 0x00, 0x7d, 0x00,
            0x00, // 16 kHz
            0x02, 0x00, 0x10, 0x00, 0x64, 0x61, 0x74, 0x61, 0x80, 0x02, 0x00, 0x00, // data 640
        ];
        assert_eq!(header(Rate::Hz16000, 640), expected);
    }

    #[test]
    fn the_largest_file_has_sizes_that_fit_and_takes_no_more() {
        assert!(DATA_BYTES_MAX + 36 + 2 > u64::from(u32::MAX));
        let largest = header(Rate::Hz48000, DATA_BYTES_MAX);
        let riff = u32::from_le_bytes(largest[4..8].try_into().unwrap());
        assert_eq!(u64::from(riff), DATA_BYTES_MAX + 36);

        let tick = Rate::Hz48000.samples_per_tick();
        let mut writer = WavWriter {
            rate: Rate::Hz48000,
            samples: DATA_BYTES_MAX / 2 - tick as u64,
        };
        let mut bytes = Vec::new();
        writer.append(&[1], &mut bytes);
        writer.append(&vec![1; tick], &mut bytes);
        writer.append_silence(u64::MAX / 4, &mut bytes);
        assert_eq!(bytes.len(), 2 * tick);
        assert_eq!(writer.samples(), DATA_BYTES_MAX / 2);
    }
}
