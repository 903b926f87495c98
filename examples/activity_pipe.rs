//! Who would be heard, tick by tick, so that other programs can hold it against what was said (`make quality` does).
//!
//! ```text
//! activity_pipe HZ     16 bit little-endian PCM at 8000, 16000 or 48000 Hz ─▶ a byte for each 20 ms
//! ```
//!
//! The byte is 1 where the leg would contribute to the mix and 0 where it would not.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};

use mixminus::dsp::Activity;
use mixminus::frame::Rate;

/// The scale of 16 bit samples.
const FULL_SCALE: f32 = 32_768.0;

fn main() -> Result<(), Box<dyn Error>> {
    let rate = env::args()
        .nth(1)
        .and_then(|hz| Rate::from_hz(hz.parse().ok()?))
        .ok_or("usage: activity_pipe 8000|16000|48000")?;
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let pcm: Vec<f32> = input
        .chunks_exact(2)
        .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / FULL_SCALE)
        .collect();
    let mut activity = Activity::new();
    let contributes: Vec<u8> = pcm
        .chunks_exact(rate.samples_per_tick())
        .map(|tick| u8::from(activity.update(tick, rate)))
        .collect();
    io::stdout().lock().write_all(&contributes)?;
    Ok(())
}
