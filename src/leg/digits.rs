//! A leg's digits: those its party presses, as events or as tones, and those it is sent.
//!
//! ```text
//! telephone-event ─▶ hear_event ─┐
//! tones ─────────────▶ listen ───┴▶ pressed ─▶ by mode: told, relayed, collected
//! ```

use std::time::Duration;

use crate::dtmf::{
    Collector, Digit, DigitSender, Digits, EventPacket, EventReceiver, Mode, Refused, ToneDetector,
};
use crate::frame::Rate;
use crate::leg::{DigitSettings, InBand};
use crate::time::Time;

/// The sound of a press goes, and comes back, within this.
const FADE_MS: f32 = 2.5;

pub(crate) struct LegDigits {
    settings: DigitSettings,
    events: EventReceiver,
    /// Only where tones are looked for.
    tones: Option<Box<ToneDetector>>,
    collector: Collector,
    /// Pressed since the last tick.
    pressed: Digits,
    pub(crate) sender: DigitSender,
    /// What the leg was sent in the last tick were tones.
    pub(crate) were_tones: bool,
    /// The sound of the last tick ended in a press, and was silent.
    silent: bool,
}

/// What a tick has to tell of the keys that were pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// One key, in no need of more.
    Key(Digit),
    /// One key, which the others are to be sent.
    Relayed(Digit),
    /// All that was collected.
    Collected(Digits),
}

impl LegDigits {
    pub fn new(settings: DigitSettings, has_events: bool) -> LegDigits {
        let mut digits = LegDigits {
            settings: DigitSettings::default(),
            events: EventReceiver::new(),
            tones: None,
            collector: Collector::new(),
            pressed: Digits::new(),
            sender: DigitSender::new(),
            were_tones: false,
            silent: false,
        };
        digits.set(settings, has_events);
        digits
    }

    /// Takes new settings, or a new agreement on telephone events. Allocates where tones are looked for from now on.
    pub fn set(&mut self, settings: DigitSettings, has_events: bool) {
        self.settings = settings;
        let wanted = match settings.in_band {
            InBand::Off => false,
            InBand::Auto => !has_events,
            InBand::On => true,
        };
        if wanted != self.tones.is_some() {
            self.tones = wanted.then(|| Box::new(ToneDetector::new()));
        }
    }

    /// How much later the sound comes because tones are looked for.
    pub fn delay_ms(&self) -> usize {
        self.tones.as_ref().map_or(0, |tones| tones.delay_ms())
    }

    /// Whether digits are being collected: the party is out of the room's hearing meanwhile.
    pub fn is_collecting(&self) -> bool {
        self.collector.is_collecting()
    }

    pub fn hear_event(&mut self, now: Time, packet: &EventPacket, clock_hz: u32) -> Result<(), Refused> {
        if let Some(digit) = self.events.receive(now, packet, clock_hz)? {
            self.press(digit);
        }
        Ok(())
    }

    /// Takes one tick of the party's sound at `rate` and leaves in its place what may be heard of it. Returns whether
    /// all of it has become silence.
    pub fn listen(&mut self, now: Time, playout_delay: Duration, frame: &mut [f32], rate: Rate) -> bool {
        if let Some(tones) = &mut self.tones
            && let Some(digit) = tones.process(frame, rate)
        {
            self.press(digit);
        }
        let silent = self.events.is_pressed(now, playout_delay);
        let fade = (FADE_MS * rate.samples_per_ms() as f32) as usize;
        let fade = fade.min(frame.len());
        match (self.silent, silent) {
            (false, false) => {}
            (true, true) => frame.fill(0.0),
            (false, true) => {
                for (n, sample) in frame[..fade].iter_mut().enumerate() {
                    *sample *= 1.0 - (n + 1) as f32 / fade as f32;
                }
                frame[fade..].fill(0.0);
            }
            (true, false) => {
                for (n, sample) in frame[..fade].iter_mut().enumerate() {
                    *sample *= n as f32 / fade as f32;
                }
            }
        }
        std::mem::replace(&mut self.silent, silent) && silent
    }

    fn press(&mut self, digit: Digit) {
        // Its room for 32 outlasts any tick: a flood is refused before it comes here.
        self.pressed.push(digit);
    }

    /// What was pressed or collected since the last tick, one after the other; at most one collection a tick.
    pub fn tell(&mut self, now: Time, mut told: impl FnMut(Told)) {
        for digit in std::mem::take(&mut self.pressed).as_slice() {
            match self.settings.mode {
                Mode::Ignore => told(Told::Key(*digit)),
                Mode::Forward => told(Told::Relayed(*digit)),
                Mode::Detect { max_digits, timeout } => {
                    if let Some(digits) = self.collector.press(now, *digit, max_digits, timeout) {
                        told(Told::Collected(digits));
                    }
                }
            }
        }
        let over = match self.settings.mode {
            Mode::Detect { .. } => self.collector.tick(now),
            // The mode has changed meanwhile.
            Mode::Ignore | Mode::Forward => self.collector.finish(),
        };
        if let Some(digits) = over {
            told(Told::Collected(digits));
        }
    }
}
