//! What crosses the wall between a media thread and the recorder: one frame of a room's mix, by value.
//! Nothing here blocks or allocates; a full queue is the pusher's to count, and becomes a gap in the receipt.

use crossbeam_queue::ArrayQueue;

use crate::frame::{FRAME_SAMPLES_MAX, Rate};
pub use crate::id::RecordingSlot;
use crate::time::Tick;

/// Frames from one engine to the writer; made with [`TAP_QUEUE_FRAMES`]. Push with `push`, and count an `Err`.
pub type TapQueue = ArrayQueue<RecordedFrame>;

/// Room for 20 recordings through a disk that stalls for a second: 2 MB an engine.
pub const TAP_QUEUE_FRAMES: usize = 1_024;

/// 20 ms of a room's mix, inline: 16 bit mono at the recording's rate.
#[derive(Debug, Clone, Copy)]
pub struct RecordedFrame {
    pub slot: RecordingSlot,
    pub tick: Tick,
    rate: Rate,
    samples: [i16; FRAME_SAMPLES_MAX],
}

impl RecordedFrame {
    /// `mix` is one tick at `rate` (160, 320 or 960 samples, full scale ±1.0). What is missing is silence, what is
    /// too much is left out; over full scale clips, and what is not a number is silence.
    pub fn from_mix(slot: RecordingSlot, tick: Tick, rate: Rate, mix: &[f32]) -> RecordedFrame {
        let mut samples = [0; FRAME_SAMPLES_MAX];
        for (sample, &value) in samples[..rate.samples_per_tick()].iter_mut().zip(mix) {
            // `as` saturates, and makes 0 of NaN.
            *sample = (value * 32_768.0).round_ties_even() as i16;
        }
        RecordedFrame {
            slot,
            tick,
            rate,
            samples,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// One tick of samples: 160, 320 or 960.
    pub fn samples(&self) -> &[i16] {
        &self.samples[..self.rate.samples_per_tick()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_clips_and_not_a_number_is_silence() {
        let mix = [
            1.0,
            -1.0,
            2.0,
            -2.0,
            f32::NAN,
            f32::INFINITY,
            0.5,
            -0.25,
            1.0 / 32_768.0,
        ];
        let frame = RecordedFrame::from_mix(RecordingSlot(1), Tick(0), Rate::Hz8000, &mix);
        assert_eq!(
            frame.samples()[..9],
            [32_767, -32_768, 32_767, -32_768, 0, 32_767, 16_384, -8_192, 1]
        );
    }

    #[test]
    fn a_frame_is_one_tick_long_whatever_it_is_made_from() {
        let frame = |mix: &[f32]| RecordedFrame::from_mix(RecordingSlot(1), Tick(0), Rate::Hz16000, mix);
        assert_eq!(frame(&[0.5; 10]).samples().len(), 320);
        assert_eq!(frame(&[0.5; 10]).samples()[9..11], [16_384, 0]);
        assert_eq!(frame(&[0.5; 2_000]).samples().len(), 320);
    }
}
