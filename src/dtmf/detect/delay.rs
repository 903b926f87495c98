//! The delay on a party's sound, and the blanking of what is still in it.

use crate::dsp::ramp;
use crate::dtmf::spectrum::{HOP_MS, HOPS_PER_TICK};
use crate::frame::{FRAME_SAMPLES_MAX, Rate};

/// How much later the sound is than it came. A digit is known by the end of its sixth window, which is 35 ms after the
/// start of its first; before that one, 5 ms are blanked and 5 ms fade out. The tick is 20 ms and the first decision
/// in it falls 5 ms after its start: 35 + 10 − 5.
pub const LOOK_BACK_MS: usize = 40;

const HOPS: usize = LOOK_BACK_MS / HOP_MS;

/// The last [`LOOK_BACK_MS`] of sound and the tick that was pushed, oldest first.
#[derive(Debug)]
pub(super) struct Delay {
    rate: Rate,
    line: Box<[f32]>,
    /// Which hops of the line are to be silent.
    blank: [bool; HOPS + HOPS_PER_TICK],
    /// Of the last sample that went out.
    gain: f32,
}

const LINE_SAMPLES_MAX: usize = LOOK_BACK_MS * Rate::Hz48000.samples_per_ms() + FRAME_SAMPLES_MAX;

impl Delay {
    pub fn new() -> Delay {
        Delay {
            rate: Rate::Hz8000,
            line: vec![0.0; LINE_SAMPLES_MAX].into(),
            blank: [false; HOPS + HOPS_PER_TICK],
            gain: 1.0,
        }
    }

    pub fn push(&mut self, frame: &[f32], rate: Rate) {
        let held = |rate: Rate| LOOK_BACK_MS * rate.samples_per_ms();
        if rate != self.rate {
            stretch(&mut self.line, held(self.rate), held(rate));
            self.rate = rate;
        }
        self.line[held(rate)..][..frame.len()].copy_from_slice(frame);
    }

    /// The oldest tick of the line.
    pub fn pop(&mut self, frame: &mut [f32]) {
        frame.copy_from_slice(&self.line[..frame.len()]);
        let held = LOOK_BACK_MS * self.rate.samples_per_ms();
        self.line.copy_within(frame.len()..frame.len() + held, 0);

        let hop_samples = HOP_MS * self.rate.samples_per_ms();
        for (hop, pcm) in frame.chunks_exact_mut(hop_samples).enumerate() {
            let gain = if self.blank[hop] || self.blank[hop + 1] {
                0.0
            } else {
                1.0
            };
            match (self.gain, gain) {
                (1.0, 1.0) => {}
                (0.0, 0.0) => pcm.fill(0.0),
                (from, to) => ramp(pcm, from, to),
            }
            self.gain = gain;
        }
        self.blank.copy_within(HOPS_PER_TICK.., 0);
        self.blank[HOPS..].fill(false);
    }

    /// Blanks this hop of the tick, and with it that many windows ending there and the hop before, as far back as the
    /// line goes.
    pub fn blank(&mut self, hop: usize, windows: usize) {
        let newest = HOPS + hop;
        let back = if windows == 0 {
            0
        } else {
            windows.saturating_add(1)
        };
        self.blank[newest.saturating_sub(back)..=newest].fill(true);
    }

    /// Lets out again what came after the tones: of as many windows without them, ending with this hop, the first
    /// two hops may hold the last of them.
    pub fn unblank(&mut self, hop: usize, windows: usize) {
        let newest = HOPS + hop;
        self.blank[(newest + 2).saturating_sub(windows).min(newest + 1)..=newest].fill(false);
    }
}

/// Makes the first `from` samples `to` of the same sound: straight lines between them will do for 40 ms.
fn stretch(line: &mut [f32], from: usize, to: usize) {
    let at = |line: &[f32], index: usize| {
        let (whole, part) = (index * from / to, (index * from % to) as f32 / to as f32);
        let next = line[(whole + 1).min(from - 1)];
        line[whole] + (next - line[whole]) * part
    };
    // In place: what is still to be read lies behind what is written.
    if to > from {
        (0..to).rev().for_each(|index| line[index] = at(line, index));
    } else {
        (0..to).for_each(|index| line[index] = at(line, index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_hop_is_silent_throughout_and_fades_lie_around_it() {
        for rate in Rate::ALL {
            let mut delay = Delay::new();
            let mut out = Vec::new();
            for tick in 0..4 {
                let mut frame = vec![1.0; rate.samples_per_tick()];
                delay.push(&frame, rate);
                if tick == 2 {
                    // The last hop of this tick and two before it.
                    delay.blank(3, 1);
                }
                delay.pop(&mut frame);
                out.extend_from_slice(&frame);
            }
            for _ in 0..2 {
                let mut frame = vec![1.0; rate.samples_per_tick()];
                delay.push(&frame, rate);
                delay.pop(&mut frame);
                out.extend_from_slice(&frame);
            }
            let hop = HOP_MS * rate.samples_per_ms();
            let blank = (HOPS + 9) * hop;
            let expected = |n: usize| match n {
                n if n < HOPS * hop => 0.0,
                n if n < blank - hop => 1.0,
                n if n < blank => 1.0 - (n - (blank - hop) + 1) as f32 / hop as f32,
                n if n < blank + 3 * hop => 0.0,
                n if n < blank + 4 * hop => (n - (blank + 3 * hop) + 1) as f32 / hop as f32,
                _ => 1.0,
            };
            for (n, sample) in out.iter().enumerate() {
                assert!((sample - expected(n)).abs() < 1e-5, "{n} at {rate:?}: {sample}");
            }
        }
    }
}
