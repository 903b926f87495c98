//! Sounds as files and at the rate of the checks.

use std::fs;
use std::io;
use std::path::Path;

use super::check::RATE;
use crate::dsp::resample::Resampler;
use crate::frame::{FRAME_SAMPLES_MAX, Rate};

/// Mono 16-bit PCM of a WAV file: its rate in Hz and its samples. `None` where it is something else or broken.
pub fn read_wav(file: &[u8]) -> Option<(u32, Vec<f32>)> {
    let mut chunks = file.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
    let mut hz = None;
    loop {
        let (head, rest) = chunks.split_at_checked(8)?;
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // A file that still grows may have less than it says.
        let body = &rest[..size.min(rest.len())];
        match &head[..4] {
            b"fmt " => {
                let word = |at: usize| Some(u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?]));
                if (word(0)?, word(2)?, word(14)?) != (1, 1, 16) {
                    return None;
                }
                hz = Some(u32::from(word(4)?) | u32::from(word(6)?) << 16);
            }
            b"data" => {
                let sample = |pair: &[u8]| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0;
                return Some((hz?, body.chunks_exact(2).map(sample).collect()));
            }
            _ => {}
        }
        // Chunks begin at even places.
        chunks = rest.get(size.checked_add(size % 2)?..)?;
    }
}

/// Writes mono sound as a 16-bit WAV file.
pub fn write_wav(path: &Path, hz: u32, sound: &[f32]) -> io::Result<()> {
    let data_bytes = (sound.len() * 2) as u32;
    let mut file = Vec::with_capacity(44 + sound.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    for (value, bytes) in [(16, 4), (1, 2), (1, 2), (hz, 4), (hz * 2, 4), (2, 2), (16, 2)] {
        file.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_bytes.to_le_bytes());
    for sample in sound {
        file.extend_from_slice(&((sample * 32_768.0).round() as i16).to_le_bytes());
    }
    fs::write(path, file)
}

/// The same sound at the rate at which all is compared.
pub fn at_check_rate(sound: &[f32], rate: Rate) -> Vec<f32> {
    let mut resampler = Resampler::new(rate, RATE);
    let mut changed = Vec::with_capacity(sound.len() / (rate.samples_per_ms() / RATE.samples_per_ms()));
    let mut tick = [0.0; FRAME_SAMPLES_MAX];
    let (from, to) = (rate.samples_per_tick(), RATE.samples_per_tick());
    for sound in sound.chunks_exact(from) {
        resampler.process(sound, &mut tick[..to]);
        changed.extend_from_slice(&tick[..to]);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_read_back() {
        let path = std::env::temp_dir().join(format!("mixminus-sound-{}.wav", std::process::id()));
        let sound = [0.0, 0.5, -1.0, 0.25];
        write_wav(&path, 16_000, &sound).expect("the temporary directory can be written");
        let file = fs::read(&path).expect("it was written");
        fs::remove_file(&path).expect("it was written");
        assert_eq!(read_wav(&file), Some((16_000, sound.to_vec())));
        assert_eq!(read_wav(&file[..44]), Some((16_000, vec![])));
        assert_eq!(read_wav(&file[..40]), None);
        assert_eq!(read_wav(b"RIFF"), None);
    }

    #[test]
    fn other_chunks_are_passed_over() {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend_from_slice(&[1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0]);
        file.extend_from_slice(b"data\xff\xff\xff\xff\x00\x40");
        assert_eq!(read_wav(&file), Some((8_000, vec![0.5])));
    }

    #[test]
    fn a_lower_rate_keeps_the_length_of_the_sound() {
        let sound: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.1).sin()).collect();
        assert_eq!(at_check_rate(&sound, Rate::Hz16000).len(), 8_000);
        assert_eq!(at_check_rate(&sound[..8_000], Rate::Hz8000), sound[..8_000]);
    }
}
