//! What a journal remembers, and how it lies in a record.
//!
//! ```text
//! Opened   JSON
//! Sound    track u32 │ tick u64 │ samples i16 …
//! Silence  track u32 │ tick u64 │ ticks u32 │ why u8      all little-endian
//! Note     JSON
//! Ended    JSON
//! ```

use crate::id::TrackNumber;
use crate::time::Tick;

use super::frame;

/// Bytes of the largest entry's payload.
pub const ENTRY_BYTES_MAX: usize = 256 << 10;

/// Bytes of a sound before its samples.
const SOUND_HEAD_BYTES: usize = 12;

const SILENCE_BYTES: usize = 17;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// What recording this is: JSON. Every segment begins with it.
    Opened(&'a [u8]),
    /// Sound of whole consecutive ticks: mono i16, little-endian, at the recording's rate.
    Sound {
        track: TrackNumber,
        /// Of the first sample.
        tick: Tick,
        samples: &'a [u8],
    },
    /// Ticks without sound.
    Silence {
        track: TrackNumber,
        /// The first of them.
        tick: Tick,
        ticks: u32,
        why: Why,
    },
    /// Something else to remember, such as who came and who left: JSON.
    Note(&'a [u8]),
    /// The recording is over: JSON.
    Ended(&'a [u8]),
}

/// Why there is no sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody said anything.
    Quiet,
    /// It did not reach the journal.
    Lost,
    /// The recording was paused.
    Paused,
}

pub const OPENED: u8 = 1;
const SOUND: u8 = 2;
const SILENCE: u8 = 3;
const NOTE: u8 = 4;
const ENDED: u8 = 5;

impl<'a> Entry<'a> {
    /// Bytes of its payload.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Entry::Opened(json) | Entry::Note(json) | Entry::Ended(json) => json.len(),
            Entry::Sound { samples, .. } => SOUND_HEAD_BYTES + samples.len(),
            Entry::Silence { .. } => SILENCE_BYTES,
        }
    }

    /// Whether it stands for a stretch of the timeline, and so can be told again as one that was lost.
    pub(super) fn is_of_the_timeline(&self) -> bool {
        matches!(self, Entry::Sound { .. } | Entry::Silence { .. })
    }

    /// Adds it to `out` as the record of that number.
    pub(super) fn put(&self, out: &mut Vec<u8>, number: u64) {
        match *self {
            Entry::Opened(json) => frame::put(out, number, OPENED, &[json]),
            Entry::Note(json) => frame::put(out, number, NOTE, &[json]),
            Entry::Ended(json) => frame::put(out, number, ENDED, &[json]),
            Entry::Sound { track, tick, samples } => {
                let (track, tick) = (track.0.to_le_bytes(), tick.0.to_le_bytes());
                frame::put(out, number, SOUND, &[&track, &tick, samples]);
            }
            Entry::Silence {
                track,
                tick,
                ticks,
                why,
            } => {
                let (track, tick) = (track.0.to_le_bytes(), tick.0.to_le_bytes());
                let why = match why {
                    Why::Quiet => 0,
                    Why::Lost => 1,
                    Why::Paused => 2,
                };
                frame::put(
                    out,
                    number,
                    SILENCE,
                    &[&track, &tick, &ticks.to_le_bytes(), &[why]],
                );
            }
        }
    }

    /// The entry of a record; `None` when it is of a kind or form that is not known.
    pub(super) fn of(kind: u8, payload: &'a [u8]) -> Option<Entry<'a>> {
        match kind {
            OPENED => Some(Entry::Opened(payload)),
            NOTE => Some(Entry::Note(payload)),
            ENDED => Some(Entry::Ended(payload)),
            SOUND => {
                let (track, rest) = payload.split_first_chunk()?;
                let (tick, samples) = rest.split_first_chunk()?;
                (samples.len() % 2 == 0).then_some(Entry::Sound {
                    track: TrackNumber(u32::from_le_bytes(*track)),
                    tick: Tick(u64::from_le_bytes(*tick)),
                    samples,
                })
            }
            SILENCE => {
                let (track, rest) = payload.split_first_chunk()?;
                let (tick, rest) = rest.split_first_chunk()?;
                let (ticks, rest) = rest.split_first_chunk()?;
                let why = match rest {
                    [0] => Why::Quiet,
                    [1] => Why::Lost,
                    [2] => Why::Paused,
                    _ => return None,
                };
                Some(Entry::Silence {
                    track: TrackNumber(u32::from_le_bytes(*track)),
                    tick: Tick(u64::from_le_bytes(*tick)),
                    ticks: u32::from_le_bytes(*ticks),
                    why,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_comes_back_as_it_was_put() {
        let entries = [
            Entry::Opened(b"{}"),
            Entry::Sound {
                track: TrackNumber(7),
                tick: Tick(u64::MAX),
                samples: b"abcd",
            },
            Entry::Sound {
                track: TrackNumber::MAIN,
                tick: Tick(1),
                samples: b"",
            },
            Entry::Silence {
                track: TrackNumber(u32::MAX),
                tick: Tick(5),
                ticks: 3,
                why: Why::Quiet,
            },
            Entry::Silence {
                track: TrackNumber::MAIN,
                tick: Tick(5),
                ticks: u32::MAX,
                why: Why::Lost,
            },
            Entry::Silence {
                track: TrackNumber::MAIN,
                tick: Tick(0),
                ticks: 0,
                why: Why::Paused,
            },
            Entry::Note(b"who"),
            Entry::Ended(b""),
        ];
        for entry in entries {
            let mut bytes = Vec::new();
            entry.put(&mut bytes, 3);
            let frame = frame::take(&bytes).expect("whole");
            assert_eq!(frame.payload.len(), entry.payload_bytes());
            assert_eq!(
                (frame.number, Entry::of(frame.kind, frame.payload)),
                (3, Some(entry))
            );
        }
    }

    #[test]
    fn what_is_of_no_known_form_is_no_entry() {
        for (kind, payload) in [
            (0, &b""[..]),
            (6, b"{}"),
            (SOUND, &[0; 11]),
            (SOUND, &[0; 13]),
            (SILENCE, &[0; 16]),
            (SILENCE, &[0; 18]),
            (SILENCE, &[3; 17]),
        ] {
            assert_eq!(Entry::of(kind, payload), None, "{kind} {payload:?}");
        }
    }
}
