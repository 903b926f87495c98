//! Which packets of a signal are worth sending, for codecs that cannot tell themselves: where nothing is to be heard
//! for a while, a description of the silence stands in for all of it (RFC 3389).
//!
//! It looks at what would be encoded, so the packet that holds the first sample of a sound is always sent whole.

use crate::codec::Encoded;
use crate::dsp::level_dbfs;

/// No sample of silence is beyond this: the peak of a sine at −65 dBFS.
const PEAK_MAX: f32 = 7.953e-4;

/// The silence is sent as sound for this long: pauses between words are, and nobody hears a tail cut off.
const HANGOVER_MS: u32 = 200;

/// A description is given again after this: the one before may have been lost, or somebody has begun to listen.
const REPEAT_MS: u32 = 500;

/// A silence that has become louder or quieter by more than this is described anew.
const CHANGE_DB: f32 = 6.0;

/// What a packet is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Worth {
    Sound,
    /// A description of silence at this level, in dBov.
    Description(f32),
    Nothing,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Silence {
    /// How long there has been nothing to hear.
    quiet_ms: u32,
    described: Option<Described>,
}

#[derive(Debug, Clone, Copy)]
struct Described {
    level_dbov: f32,
    /// Since then.
    ms: u32,
}

impl Silence {
    /// Judges the next `ms` of the signal.
    pub fn judge(&mut self, packet: &[f32], ms: u32) -> Worth {
        if packet.iter().any(|sample| sample.abs() > PEAK_MAX) {
            *self = Silence::default();
            return Worth::Sound;
        }
        if self.quiet_ms < HANGOVER_MS {
            self.quiet_ms += ms;
            return Worth::Sound;
        }
        let level_dbov = level_dbfs(packet);
        if let Some(described) = &mut self.described {
            described.ms += ms;
            if described.ms < REPEAT_MS && (described.level_dbov - level_dbov).abs() <= CHANGE_DB {
                return Worth::Nothing;
            }
        }
        self.described = Some(Described { level_dbov, ms: 0 });
        Worth::Description(level_dbov)
    }
}

/// A codec's own description of silence is given again after this: it is the only sign of life that the far end gets.
const REMIND_MS: u32 = 2_000;

/// No codec's is longer: two bytes of G.729, one or two of Opus.
const DESCRIPTION_BYTES_MAX: usize = 2;

/// Repeats the description with which a codec began its pause, where it has nothing to add for long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reminder {
    description: [u8; DESCRIPTION_BYTES_MAX],
    len: usize,
    /// Since anything was sent.
    ms: u32,
}

impl Reminder {
    /// What is to be sent for a frame of `ms` that was encoded into the front of `payload`.
    pub fn remind(&mut self, encoded: Encoded, payload: &mut [u8], ms: u32) -> Encoded {
        match encoded {
            Encoded::Sound(_) => *self = Reminder::default(),
            Encoded::Silence(bytes) => {
                self.len = bytes.min(DESCRIPTION_BYTES_MAX);
                self.description[..self.len].copy_from_slice(&payload[..self.len]);
                self.ms = 0;
            }
            Encoded::Nothing => {
                self.ms = self.ms.saturating_add(ms);
                if self.ms >= REMIND_MS && self.len > 0 {
                    self.ms = 0;
                    payload[..self.len].copy_from_slice(&self.description[..self.len]);
                    return Encoded::Silence(self.len);
                }
            }
        }
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Worth::{Description, Nothing, Sound};

    #[test]
    fn silence_is_described_after_200_ms_again_each_500_and_sound_ends_it_with_its_first_sample() {
        let mut silence = Silence::default();
        let quiet = [0.0; 160];
        let mut loud = quiet;
        loud[159] = 0.001;
        for _ in 0..2 {
            assert_eq!(silence.judge(&loud, 20), Sound);
            for _ in 0..10 {
                assert_eq!(silence.judge(&quiet, 20), Sound);
            }
            for _ in 0..3 {
                assert_eq!(silence.judge(&quiet, 20), Description(-127.0));
                for _ in 0..24 {
                    assert_eq!(silence.judge(&quiet, 20), Nothing);
                }
            }
        }
    }

    #[test]
    fn a_silence_of_another_level_is_described_at_once() {
        let mut silence = Silence::default();
        let noise =
            |peak: f32| -> Vec<f32> { (0..160).map(|n| if n % 2 == 0 { peak } else { -peak }).collect() };
        for _ in 0..10 {
            silence.judge(&noise(1.0e-4), 20);
        }
        assert_eq!(silence.judge(&noise(1.0e-4), 20), Description(-80.0));
        assert_eq!(silence.judge(&noise(1.5e-4), 20), Nothing);
        assert!(matches!(silence.judge(&noise(3.0e-4), 20), Description(level) if level > -71.0));
        assert_eq!(silence.judge(&[0.0; 160], 20), Description(-127.0));
    }

    #[test]
    fn a_codecs_description_is_given_again_each_two_seconds_of_nothing() {
        let mut reminder = Reminder::default();
        let mut payload = [7, 9, 1];
        assert_eq!(
            reminder.remind(Encoded::Sound(3), &mut payload, 10),
            Encoded::Sound(3)
        );
        assert_eq!(
            reminder.remind(Encoded::Silence(2), &mut payload, 10),
            Encoded::Silence(2)
        );
        for _ in 0..3 {
            payload.fill(0);
            for _ in 0..199 {
                assert_eq!(
                    reminder.remind(Encoded::Nothing, &mut payload, 10),
                    Encoded::Nothing
                );
            }
            assert_eq!(
                reminder.remind(Encoded::Nothing, &mut payload, 10),
                Encoded::Silence(2)
            );
            assert_eq!(payload, [7, 9, 0]);
        }
        reminder.remind(Encoded::Sound(3), &mut payload, 10);
        for _ in 0..1_000 {
            let encoded = reminder.remind(Encoded::Nothing, &mut payload, 10);
            assert_eq!(
                encoded,
                Encoded::Nothing,
                "an encoder that fails describes nothing"
            );
        }
    }
}
