//! Digits: the sixteen keys of a telephone, as RFC 4733 events and as tones in the sound (ITU-T Q.23).
//!
//! ```text
//! telephone-event ─▶ receive ─┐                            ┌─▶ send::tick ─▶ telephone-event
//!                             ├─▶ Digit ─▶ collect ─▶ …    │
//! sound ─▶ detect ─▶ silence ─┘             forward ─▶ send┴─▶ send::render ─▶ tones
//! ```
//!
//! Each press is one digit, whatever the network does to its packets; and no press stays audible.

mod collect;
mod detect;
mod events;
mod receive;
mod send;
mod spectrum;

use std::fmt;
use std::time::Duration;

pub use collect::Collector;
pub use detect::{LOOK_BACK_MS, ToneDetector};
pub use events::{BadEvent, EVENT_BYTES, EventPayload};
pub use receive::{EventPacket, EventReceiver, Refused};
pub use send::{
    DigitSender, Full, GAP_MS, GAP_MS_MAX, GAP_MS_MIN, QUEUED_MAX, Sending, TONE_MS, TONE_MS_MAX, TONE_MS_MIN,
};

/// One key: `0`-`9`, `*`, `#`, `A`-`D`, which are the RFC 4733 event codes 0 to 15 in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

/// In the order of the event codes.
const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// The keypad of ITU-T Q.23: a row is one low tone, a column one high tone.
const KEYPAD: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// Tones of the rows, in hertz.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];

/// Tones of the columns, in hertz.
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

impl Digit {
    /// The key that ends a row of digits.
    pub const POUND: Digit = Digit(11);

    pub fn all() -> impl Iterator<Item = Digit> {
        (0..16).map(Digit)
    }

    /// `None` for what is no key; letters are capitals.
    pub fn from_char(key: char) -> Option<Digit> {
        KEYS.iter().position(|c| *c == key).map(|code| Digit(code as u8))
    }

    pub const fn to_char(self) -> char {
        KEYS[self.0 as usize]
    }

    /// `None` for the events of RFC 4733 that are no key (16 and above).
    pub const fn from_event(code: u8) -> Option<Digit> {
        if code < 16 { Some(Digit(code)) } else { None }
    }

    pub const fn event(self) -> u8 {
        self.0
    }

    /// The low and the high tone, in hertz (ITU-T Q.23).
    pub fn frequencies(self) -> (f32, f32) {
        let (row, column) = self.place();
        (ROWS[row], COLUMNS[column])
    }

    /// Row and column on the keypad.
    fn place(self) -> (usize, usize) {
        let at = KEYPAD.iter().flatten().position(|code| *code == self.0);
        let at = at.expect("each of the sixteen codes is on the keypad");
        (at / 4, at % 4)
    }

    /// The key in this row and column, each below 4.
    fn at(row: usize, column: usize) -> Digit {
        Digit(KEYPAD[row][column])
    }
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digit({})", self.to_char())
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_char())
    }
}

/// Up to [`Digits::MAX`] keys in the order they were pressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    keys: [Digit; Digits::MAX],
    len: u8,
}

impl Digits {
    pub const MAX: usize = 32;

    pub const fn new() -> Digits {
        Digits {
            keys: [Digit(0); Digits::MAX],
            len: 0,
        }
    }

    /// Whether there was room for it.
    pub fn push(&mut self, digit: Digit) -> bool {
        let Some(free) = self.keys.get_mut(usize::from(self.len)) else {
            return false;
        };
        *free = digit;
        self.len += 1;
        true
    }

    pub fn as_slice(&self) -> &[Digit] {
        &self.keys[..usize::from(self.len)]
    }
}

impl Default for Digits {
    fn default() -> Digits {
        Digits::new()
    }
}

impl From<Digit> for Digits {
    fn from(digit: Digit) -> Digits {
        let mut digits = Digits::new();
        digits.push(digit);
        digits
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({self})")
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|digit| write!(f, "{digit}"))
    }
}

/// What becomes of the digits of one participant. In no mode do the others hear them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Ignore,
    /// Each is sent to every other participant.
    Forward,
    /// They are collected until there are `max_digits` of them, `#` is pressed, or none follows within `timeout`.
    Detect { max_digits: u8, timeout: Duration },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_its_event_code_and_its_pair_of_tones() {
        for (code, key) in "0123456789*#ABCD".chars().enumerate() {
            let digit = Digit::from_char(key).expect("a key");
            assert_eq!(digit.event(), code as u8);
            assert_eq!(Digit::from_event(code as u8), Some(digit));
            assert_eq!(digit.to_char(), key);
            let (row, column) = digit.place();
            assert_eq!(Digit::at(row, column), digit);
        }
        for (key, tones) in [
            ('1', (697.0, 1209.0)),
            ('5', (770.0, 1336.0)),
            ('0', (941.0, 1336.0)),
            ('*', (941.0, 1209.0)),
            ('#', (941.0, 1477.0)),
            ('A', (697.0, 1633.0)),
            ('D', (941.0, 1633.0)),
        ] {
            assert_eq!(
                Digit::from_char(key).expect("a key").frequencies(),
                tones,
                "{key}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for no_key in ['a', 'E', ' ', 'w', '+', '\u{660}'] {
            assert_eq!(Digit::from_char(no_key), None);
        }
        for event in 16..=255 {
            assert_eq!(Digit::from_event(event), None);
        }
    }

    #[test]
    fn a_row_of_digits_holds_thirty_two_and_shows_them() {
        let mut digits = Digits::new();
        assert_eq!(digits.to_string(), "");
        for digit in Digit::all().chain(Digit::all()) {
            assert!(digits.push(digit));
        }
        assert!(!digits.push(Digit::POUND));
        assert_eq!(digits.to_string(), "0123456789*#ABCD0123456789*#ABCD");
    }
}
