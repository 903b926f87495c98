//! Collecting digits of one participant into the answer that is asked for.

use std::time::Duration;

use super::{Digit, Digits};
use crate::time::Time;

/// Digits of which more are awaited.
#[derive(Debug, Default)]
pub struct Collector {
    digits: Digits,
    /// When the next digit is too late; `None` while nothing is collected.
    deadline: Option<Time>,
}

impl Collector {
    pub fn new() -> Collector {
        Collector::default()
    }

    /// One more digit. Answers with the whole when this one completes it: with `max_digits` of them (0 counts as 1,
    /// no more than [`Digits::MAX`] are kept), or by `#`, which is not part of the answer; an answer by `#` alone is
    /// empty. Where one digit is asked for, any key is the answer, `#` too, and nothing is ever being collected.
    pub fn press(&mut self, now: Time, digit: Digit, max_digits: u8, timeout: Duration) -> Option<Digits> {
        let max_digits = usize::from(max_digits).clamp(1, Digits::MAX);
        let is_only_digit = max_digits == 1 && !self.is_collecting();
        let is_terminator = digit == Digit::POUND && !is_only_digit;
        if !is_terminator {
            self.digits.push(digit);
        }
        self.deadline = Some(now + timeout);
        let is_complete = is_terminator || self.digits.as_slice().len() >= max_digits;
        is_complete.then(|| self.finish()).flatten()
    }

    /// Answers with what there is once no further digit came in time. To be asked on each tick.
    pub fn tick(&mut self, now: Time) -> Option<Digits> {
        self.deadline
            .is_some_and(|deadline| now >= deadline)
            .then(|| self.finish())
            .flatten()
    }

    /// Ends the collection at once: the participant leaves or its mode changes.
    pub fn finish(&mut self) -> Option<Digits> {
        self.deadline.take()?;
        Some(std::mem::take(&mut self.digits))
    }

    /// Whether more digits are awaited: the participant is out of the room meanwhile.
    pub fn is_collecting(&self) -> bool {
        self.deadline.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    /// Presses keys half a second apart; what was answered, and whether more is awaited at the end.
    fn press(collector: &mut Collector, keys: &str, max_digits: u8) -> (Vec<String>, bool) {
        let answers = keys
            .chars()
            .enumerate()
            .filter_map(|(index, key)| {
                let now = Time::from_millis(500 * index as u64);
                assert_eq!(collector.tick(now), None);
                collector.press(now, Digit::from_char(key).expect("a key"), max_digits, TIMEOUT)
            })
            .map(|digits| digits.to_string())
            .collect();
        (answers, collector.is_collecting())
    }

    #[test]
    fn digits_end_at_the_count_or_at_the_pound_key() {
        let cases: [(&str, u8, &[&str], bool); 10] = [
            ("1234", 4, &["1234"], false),
            ("12345", 4, &["1234"], true),
            ("12#", 4, &["12"], false),
            ("12#3", 4, &["12"], true),
            ("#", 4, &[""], false),
            ("*0", 2, &["*0"], false),
            ("7", 1, &["7"], false),
            ("#", 1, &["#"], false),
            ("#5", 0, &["#", "5"], false),
            ("123#", 3, &["123", ""], false),
        ];
        for (keys, max_digits, answers, more) in cases {
            let mut collector = Collector::new();
            assert_eq!(
                press(&mut collector, keys, max_digits),
                (answers.iter().map(|answer| answer.to_string()).collect(), more),
                "{keys} of {max_digits}"
            );
        }
    }

    #[test]
    fn digits_end_when_none_follows_in_time() {
        let mut collector = Collector::new();
        let five = Digit::from_char('5').expect("a key");
        assert_eq!(collector.press(Time::from_millis(1_000), five, 9, TIMEOUT), None);
        assert_eq!(collector.tick(Time::from_millis(3_999)), None);
        assert_eq!(collector.press(Time::from_millis(3_999), five, 9, TIMEOUT), None);
        assert_eq!(collector.tick(Time::from_millis(6_998)), None);
        assert!(collector.is_collecting());
        let answer = collector.tick(Time::from_millis(6_999)).expect("it is over");
        assert_eq!(answer.to_string(), "55");
        assert!(!collector.is_collecting());
        assert_eq!(collector.tick(Time::from_millis(60_000)), None);
    }

    #[test]
    fn a_collection_never_outgrows_its_room() {
        let mut collector = Collector::new();
        let (answers, more) = press(&mut collector, &"8".repeat(33), 255);
        assert_eq!(answers, ["8".repeat(Digits::MAX)]);
        assert!(more, "the thirty-third begins the next");
    }

    #[test]
    fn a_collection_ends_with_what_it_has_when_its_participant_leaves() {
        let mut collector = Collector::new();
        assert_eq!(collector.finish(), None);
        press(&mut collector, "12", 4);
        assert_eq!(
            collector.finish().map(|digits| digits.to_string()),
            Some("12".to_owned())
        );
        assert!(!collector.is_collecting());
    }
}
