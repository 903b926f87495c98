//! Keys in the sound itself: found within the limits of ITU-T Q.24, and taken out from the very start of their tones.
//!
//! Every 5 ms a spectrum of the last 10 says whether the sound is a pair of tones and nothing else. Six in a row of the
//! same pair are a digit, six without it are its end. The sound is delayed by as much as it takes to know
//! ([`LOOK_BACK_MS`]), so that a tone can be blanked before anybody heard of it.

mod delay;

use self::delay::Delay;
use super::spectrum::{Analyser, Spectrum};
use super::{COLUMNS, Digit, ROWS};
use crate::frame::Rate;

pub use self::delay::LOOK_BACK_MS;

/// The detector of one party, and the delay on its sound.
#[derive(Debug)]
pub struct ToneDetector {
    analyser: Analyser,
    delay: Delay,
    before: Spectrum,
    run: Option<Run>,
    press: Option<Press>,
}

/// Windows in a row that hold the same pair of tones.
#[derive(Debug, Clone, Copy)]
struct Run {
    digit: Digit,
    windows: usize,
    /// Sums over the windows but the first.
    row_offset: f32,
    column_offset: f32,
    weakest: f32,
    strongest: f32,
}

/// A key that is down.
#[derive(Debug, Clone, Copy)]
struct Press {
    digit: Digit,
    power: f32,
    /// Windows since the last that held the tones.
    windows_without: usize,
}

/// A pair of tones in one window.
#[derive(Debug, Clone, Copy)]
struct Pair {
    digit: Digit,
    /// Off the nominal frequencies, as a part of them.
    row_offset: f32,
    column_offset: f32,
    /// Of both, a mean square.
    power: f32,
}

/// Windows of 10 ms, one every 5: a tone of 40 ms fills at least these, one of 24 ms never does.
const WINDOWS_OF_A_DIGIT: usize = 6;

/// A gap of 40 ms leaves at least these without the tones, a drop-out of less than 20 ms does not.
const WINDOWS_OF_A_GAP: usize = 6;

/// The weaker tone is no weaker than −42 dBFS (Q.24, table A-1: the most sensitive administrations ask for −36 dBm0,
/// which is −39 dBFS).
const WEAKEST: f32 = 0.5 * 6.3e-5;

/// The high tone may be up to 4 dB stronger than the low one, and up to 8 dB weaker; ratios of powers, with 1.5 dB
/// for noise.
const TWIST_MAX: f32 = 3.55;
const TWIST_MIN: f32 = 0.112;

/// What the two tones make of all the sound, at least.
const PURITY: f32 = 0.80;

/// Off the nominal frequency, at most: in one window, where noise has its say, and on average. 1.5 % is to be
/// accepted, 3.5 % to be refused.
const OFF_ONCE: f32 = 0.035;
const OFF: f32 = 0.025;

/// Between the weakest and the strongest window of a digit: a tone is steady, a voice is not.
const STEADY: f32 = 2.0;

/// Within a press a window counts that is no weaker than this part of it: −6 dB.
const STILL_THERE: f32 = 0.25;

impl ToneDetector {
    pub fn new() -> ToneDetector {
        ToneDetector {
            analyser: Analyser::new(),
            delay: Delay::new(),
            before: Spectrum::SILENCE,
            run: None,
            press: None,
        }
    }

    /// Takes one tick of sound at `rate` and gives back the one of [`LOOK_BACK_MS`] earlier without its digits.
    /// Answers with the digit, once for each press, 35-55 ms after its tones began.
    pub fn process(&mut self, frame: &mut [f32], rate: Rate) -> Option<Digit> {
        let mut pressed = None;
        self.delay.push(frame, rate);
        for (hop, spectrum) in self
            .analyser
            .process(frame, rate, WEAKEST)
            .into_iter()
            .enumerate()
        {
            pressed = self.window(hop, &spectrum).or(pressed);
            self.before = spectrum;
        }
        self.delay.pop(frame);
        pressed
    }

    /// What [`process`](ToneDetector::process) adds to the delay of the sound.
    pub const fn delay_ms(&self) -> usize {
        LOOK_BACK_MS
    }

    /// The window that ends with this hop of the tick.
    fn window(&mut self, hop: usize, spectrum: &Spectrum) -> Option<Digit> {
        let pair = Pair::find(spectrum, &self.before);
        self.run = pair.map(|pair| match self.run {
            Some(run) if run.goes_on_with(&pair) => run.with(&pair),
            _ => Run::new(&pair),
        });
        if let Some(press) = &mut self.press {
            press.windows_without = if press.is_held_by(pair) {
                0
            } else {
                press.windows_without + 1
            };
        }

        let found = self.run.filter(Run::is_digit);
        match (found, self.press) {
            (Some(run), press) if press.is_none_or(|press| press.digit != run.digit) => {
                self.press = Some(Press {
                    digit: run.digit,
                    power: run.strongest,
                    windows_without: 0,
                });
                self.delay.blank(hop, run.windows);
                Some(run.digit)
            }
            (_, Some(press)) if press.windows_without == WINDOWS_OF_A_GAP => {
                self.press = None;
                self.delay.unblank(hop, WINDOWS_OF_A_GAP);
                None
            }
            (_, press) => {
                if press.is_some() {
                    self.delay.blank(hop, 0);
                }
                None
            }
        }
    }
}

impl Default for ToneDetector {
    fn default() -> ToneDetector {
        ToneDetector::new()
    }
}

impl Pair {
    /// The pair of tones in a window, if there is one and nothing else. What is not finite is no pair.
    fn find(spectrum: &Spectrum, before: &Spectrum) -> Option<Pair> {
        let ((row, low), (column, high)) = (spectrum.row(), spectrum.column());
        let is_pair = low.min(high) >= WEAKEST
            && high <= low * TWIST_MAX
            && high >= low * TWIST_MIN
            && low + high >= spectrum.power * PURITY;
        is_pair.then(|| Pair {
            digit: Digit::at(row, column),
            row_offset: spectrum.row_offset(before, row) / ROWS[row],
            column_offset: spectrum.column_offset(before, column) / COLUMNS[column],
            power: low + high,
        })
    }
}

impl Run {
    /// The first window of a run may share the window before with something else: its frequencies say nothing.
    fn new(pair: &Pair) -> Run {
        Run {
            digit: pair.digit,
            windows: 1,
            row_offset: 0.0,
            column_offset: 0.0,
            weakest: pair.power,
            strongest: pair.power,
        }
    }

    fn goes_on_with(&self, pair: &Pair) -> bool {
        self.digit == pair.digit
            && pair.row_offset.abs() <= OFF_ONCE
            && pair.column_offset.abs() <= OFF_ONCE
            && pair.power <= self.weakest * STEADY
            && pair.power >= self.strongest / STEADY
    }

    fn with(&self, pair: &Pair) -> Run {
        Run {
            digit: self.digit,
            windows: self.windows.saturating_add(1),
            row_offset: self.row_offset + pair.row_offset,
            column_offset: self.column_offset + pair.column_offset,
            weakest: self.weakest.min(pair.power),
            strongest: self.strongest.max(pair.power),
        }
    }

    fn is_digit(&self) -> bool {
        let off = OFF * (self.windows - 1) as f32;
        self.windows >= WINDOWS_OF_A_DIGIT && self.row_offset.abs() <= off && self.column_offset.abs() <= off
    }
}

impl Press {
    fn is_held_by(&self, pair: Option<Pair>) -> bool {
        pair.is_some_and(|pair| pair.digit == self.digit && pair.power >= self.power * STILL_THERE)
    }
}

#[cfg(test)]
mod tests;
