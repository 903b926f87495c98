//! A signal on its way to a recording: brought to the file's rate tick by tick, without a tear that it did not have.
//!
//! What is done to a signal here is linear and does not depend on it: voices that go each their own way add up to
//! what their sum has become on its way.

use crate::dsp::{self, Resampler};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::id::RecordingSlot;
use crate::time::Tick;

const SILENCE: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];

/// What an engine has to know of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    pub slot: RecordingSlot,
    /// Of its files, from their beginning to their end.
    pub rate: Rate,
    /// Of a room: each leg's part in the mix is a track of its own.
    pub legs: bool,
}

/// One track's way. Plain data: it allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    resampler: Resampler,
    /// The last sample that went in, and the last that came out.
    last_in: f32,
    last_out: f32,
    /// The tick that goes on where the last one ended.
    next: Option<Tick>,
    /// Nothing but silence is on its way.
    is_empty: bool,
}

impl Line {
    pub fn new() -> Line {
        Line {
            resampler: Resampler::new(Rate::Hz8000, Rate::Hz8000),
            last_in: 0.0,
            last_out: 0.0,
            next: None,
            is_empty: true,
        }
    }

    /// The next tick begins as after silence.
    pub fn restart(&mut self) {
        self.next = None;
    }

    /// Takes one tick of a signal at `rate`, `None` for silence, and fills `frame` with one at the rate `to`; false
    /// where that is silence as well and `frame` was left as it is. `seam`: the signal does not continue what it was
    /// in the tick before. After ticks that were left out it begins as after silence.
    pub fn follow(
        &mut self,
        tick: Tick,
        signal: Option<&[f32]>,
        rate: Rate,
        seam: bool,
        to: Rate,
        frame: &mut [f32],
    ) -> bool {
        if self.next != Some(tick) {
            self.resampler = Resampler::new(rate, to);
            (self.last_in, self.last_out, self.is_empty) = (0.0, 0.0, true);
        }
        self.next = Some(tick.next());
        let changes_rate = self.resampler.from() != rate;
        if signal.is_none() && self.is_empty {
            if changes_rate {
                self.resampler = Resampler::new(rate, to);
            }
            return false;
        }
        // A filter remembers less than a tick: after one of silence nothing is on its way.
        self.is_empty = signal.is_none();
        let mut signal = signal.unwrap_or(&SILENCE[..rate.samples_per_tick()]);
        let mut whole: FrameBuffer;
        if seam {
            // Where it is: before the filter delays it.
            whole = SILENCE;
            let whole = &mut whole[..signal.len()];
            whole.copy_from_slice(signal);
            dsp::declick(whole, self.last_in, rate);
            signal = whole;
        }
        if changes_rate {
            self.resampler = Resampler::resting_at(rate, to, self.last_in);
        }
        self.last_in = signal[signal.len() - 1];
        self.resampler.process(signal, frame);
        if changes_rate {
            dsp::declick(frame, self.last_out, to);
        }
        self.last_out = frame[frame.len() - 1];
        true
    }

    /// Whether a tick of silence would still bring out what went in before.
    pub fn holds_back(&self) -> bool {
        !self.is_empty && self.resampler.from() != self.resampler.to()
    }
}

/// The main track of a recording that runs, at the place where it is made: a room, or a leg.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    pub recording: Recording,
    pub line: Line,
    /// The tick after the last one that is in it; `None` before the first.
    pub next: Option<Tick>,
    pub is_paused: bool,
    /// A pause, or its end, that the next tick is to answer.
    pub asked: Option<bool>,
}

/// What a tick changes about a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turned {
    /// It is the recording's first tick.
    pub begins: bool,
    /// It was asked for a pause (true) or for the end of one, in force with this tick.
    pub pauses: Option<bool>,
}

impl Tap {
    pub fn new(recording: Recording) -> Tap {
        Tap {
            recording,
            line: Line::new(),
            next: None,
            is_paused: false,
            asked: None,
        }
    }

    /// Begins a tick of the recording.
    pub fn step(&mut self, tick: Tick) -> Turned {
        let begins = self.next.is_none();
        self.next = Some(tick.next());
        let pauses = self.asked.take();
        self.is_paused = pauses.unwrap_or(self.is_paused);
        Turned { begins, pauses }
    }

    /// The first tick that is not in it; 0 when none ever was.
    pub fn end(&self) -> Tick {
        self.next.unwrap_or(Tick(0))
    }
}
