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
    trace: Option<Trace>,
    /// The last windows that hold a pair of tones and nothing else, newest last.
    pure: [Option<Pair>; WINDOWS_OF_A_DIGIT],
    press: Option<Press>,
}

/// Windows in a row of which the same pair of tones makes much.
#[derive(Debug, Clone, Copy)]
struct Trace {
    digit: Digit,
    windows: usize,
}

/// A key that is down.
#[derive(Debug, Clone, Copy)]
struct Press {
    digit: Digit,
    power: f32,
    /// Windows since the last that held the tones.
    windows_without: usize,
    /// Windows since the last with a trace of them.
    windows_clear: usize,
}

/// The strongest pair of tones in one window.
#[derive(Debug, Clone, Copy)]
struct Pair {
    digit: Digit,
    /// Off the nominal frequencies, as a part of them.
    row_offset: f32,
    column_offset: f32,
    /// Of both, a mean square.
    power: f32,
    /// Whether there is nothing else.
    is_pure: bool,
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

/// What the two tones make of all the sound, at least: where there is nothing else, and where a codec's noise, the
/// rise or the fall of the tones is with them.
const PURITY: f32 = 0.75;
const PURITY_OF_A_TRACE: f32 = 0.3;

/// Off the nominal frequency, at most: in one window, where noise has its say, and on average. 1.5 % is to be
/// accepted, 3.5 % to be refused.
const OFF_ONCE: f32 = 0.035;
const OFF: f32 = 0.025;

/// Between the weakest and the strongest window of a digit: a tone is steady, a voice is not.
const STEADY: f32 = 2.5;

/// Within a press a window counts that is no weaker than this part of it: −6 dB.
const STILL_THERE: f32 = 0.25;

impl ToneDetector {
    pub fn new() -> ToneDetector {
        ToneDetector {
            analyser: Analyser::new(),
            delay: Delay::new(),
            before: Spectrum::SILENCE,
            trace: None,
            pure: [None; WINDOWS_OF_A_DIGIT],
            press: None,
        }
    }

    /// Takes one tick of sound at `rate` and gives back the one of [`LOOK_BACK_MS`] earlier without its digits.
    /// Answers with the digit, once for each press, 35-60 ms after its tones began.
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
        let trace = Pair::find(spectrum, &self.before);
        self.trace = trace.map(|pair| match self.trace {
            Some(trace) if trace.digit == pair.digit => trace.with_one_more(),
            _ => Trace {
                digit: pair.digit,
                windows: 1,
            },
        });
        let pair = trace.filter(|pair| pair.is_pure);
        self.pure.rotate_left(1);
        self.pure[WINDOWS_OF_A_DIGIT - 1] = pair;
        if let Some(press) = &mut self.press {
            let holds = pair.is_some_and(|pair| press.is_held_by(&pair));
            press.windows_without = if holds { 0 } else { press.windows_without + 1 };
            let is_clear = trace.is_none_or(|pair| pair.digit != press.digit);
            press.windows_clear = if is_clear { press.windows_clear + 1 } else { 0 };
        }

        match (self.tone(), self.press) {
            (Some(tone), press) if press.is_none_or(|press| press.digit != tone.digit) => {
                self.press = Some(Press {
                    digit: tone.digit,
                    power: tone.power,
                    windows_without: 0,
                    windows_clear: 0,
                });
                self.delay.blank(hop, self.trace.map_or(0, |trace| trace.windows));
                Some(tone.digit)
            }
            (_, Some(press)) if press.windows_without == WINDOWS_OF_A_GAP => {
                self.press = None;
                self.delay.unblank(hop, press.windows_clear.min(WINDOWS_OF_A_GAP));
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

    /// What the last windows hold, when together they are a digit: one steady pair of tones of the right
    /// frequencies. The first window may share the one before with something else: its frequencies say nothing.
    fn tone(&self) -> Option<Pair> {
        let first = self.pure[0]?;
        let (mut row_offset, mut column_offset) = (0.0, 0.0);
        let (mut weakest, mut strongest) = (first.power, first.power);
        for pair in &self.pure[1..] {
            let pair = pair.filter(|pair| pair.digit == first.digit)?;
            if pair.row_offset.abs().max(pair.column_offset.abs()) > OFF_ONCE {
                return None;
            }
            row_offset += pair.row_offset;
            column_offset += pair.column_offset;
            weakest = pair.power.min(weakest);
            strongest = pair.power.max(strongest);
        }
        let off = OFF * (WINDOWS_OF_A_DIGIT - 1) as f32;
        let is_steady = strongest <= weakest * STEADY;
        let is_true = row_offset.abs() <= off && column_offset.abs() <= off;
        (is_steady && is_true).then_some(Pair {
            power: strongest,
            ..first
        })
    }
}

impl Default for ToneDetector {
    fn default() -> ToneDetector {
        ToneDetector::new()
    }
}

impl Pair {
    /// The pair of tones in a window, if there is a trace of one. What is not finite is none.
    fn find(spectrum: &Spectrum, before: &Spectrum) -> Option<Pair> {
        let ((row, low), (column, high)) = (spectrum.row(), spectrum.column());
        let power = low + high;
        let is_trace = power >= WEAKEST && power >= spectrum.power * PURITY_OF_A_TRACE;
        is_trace.then(|| Pair {
            digit: Digit::at(row, column),
            row_offset: spectrum.row_offset(before, row) / ROWS[row],
            column_offset: spectrum.column_offset(before, column) / COLUMNS[column],
            power,
            is_pure: low.min(high) >= WEAKEST
                && high <= low * TWIST_MAX
                && high >= low * TWIST_MIN
                && power >= spectrum.power * PURITY,
        })
    }
}

impl Trace {
    fn with_one_more(self) -> Trace {
        let windows = self.windows.saturating_add(1);
        Trace { windows, ..self }
    }
}

impl Press {
    fn is_held_by(&self, pair: &Pair) -> bool {
        pair.digit == self.digit && pair.power >= self.power * STILL_THERE
    }
}

#[cfg(test)]
mod tests;
