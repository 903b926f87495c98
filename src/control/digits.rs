//! Digits of a leg: what becomes of those its party presses, what it is to be sent, and how much of that is still to
//! be played.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::control::fields::Fields;
use crate::control::ids::CallId;
use crate::control::refusal::{Refusal, TOO_MANY_REQUESTS};
use crate::dtmf::{self, Digit, Digits, Mode};
use crate::leg::{DigitSettings, InBand};
use crate::time::TICK;

const MAX_DIGITS: u64 = 1;
const TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 0..=3_600_000;

/// From a request to the tick that begins with it, at the most.
const ON_THE_WAY: Duration = Duration::from_millis(40);

/// The gap after a tone is never shorter: the end of its event is sent three times, in a tick each.
const GAP_TICKS_MIN: u32 = 3;

/// `conferenceDtmfOptions`, as they stand in a leg's creation and change.
pub fn settings(fields: &mut Fields) -> Result<Option<DigitSettings>, Refusal> {
    let Some(mut options) = fields.object("conferenceDtmfOptions")? else {
        return Ok(None);
    };
    let max_digits = options
        .whole("maxDigits", 1..=Digits::MAX as u64)?
        .unwrap_or(MAX_DIGITS);
    let timeout = options.whole("timeoutMills", TIMEOUT_MS)?;
    // The platform's own examples have this spelling.
    let timeout = timeout.or(options.whole("timoutMills", TIMEOUT_MS)?);
    let detect = Mode::Detect {
        max_digits: max_digits as u8,
        timeout: timeout.map_or(TIMEOUT, Duration::from_millis),
    };
    let mode = options.word("mode", "ignore, forward or detect", |word| match word {
        "ignore" => Some(Mode::Ignore),
        "forward" => Some(Mode::Forward),
        "detect" => Some(detect),
        _ => None,
    })?;
    let in_band = match options.flag("inBand")? {
        None => InBand::Auto,
        Some(true) => InBand::On,
        Some(false) => InBand::Off,
    };
    options.finish()?;
    Ok(Some(DigitSettings {
        mode: mode.unwrap_or_default(),
        in_band,
    }))
}

/// The word for it, as in `conferenceDtmfOptions`.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Ignore => "ignore",
        Mode::Forward => "forward",
        Mode::Detect { .. } => "detect",
    }
}

/// Digits to be sent to a leg's party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendDigits {
    pub digits: Digits,
    pub tone_ms: u16,
    pub gap_ms: u16,
}

impl SendDigits {
    pub fn parse(mut fields: Fields) -> Result<SendDigits, Refusal> {
        let f = &mut fields;
        let text = f
            .text("digits", usize::MAX)?
            .ok_or_else(|| Refusal::missing("digits"))?;
        let tone_ms = f.whole(
            "toneMs",
            u64::from(dtmf::TONE_MS_MIN)..=u64::from(dtmf::TONE_MS_MAX),
        )?;
        let gap_ms = f.whole("gapMs", u64::from(dtmf::GAP_MS_MIN)..=u64::from(dtmf::GAP_MS_MAX))?;
        let digits = digits(&text).ok_or_else(|| match text.contains(['w', 'W']) {
            true => Refusal::bad(
                "`digits`: pauses (`w`) are not available; send what follows in a request of its own.",
            ),
            false => f.wrong(
                "digits",
                &format!("1 to {} of 0 to 9, *, # and A to D", Digits::MAX),
            ),
        })?;
        fields.finish()?;
        Ok(SendDigits {
            digits,
            tone_ms: tone_ms.map_or(dtmf::TONE_MS, |millis| millis as u16),
            gap_ms: gap_ms.map_or(dtmf::GAP_MS, |millis| millis as u16),
        })
    }

    /// How long each digit takes, with the gap after it.
    fn each(&self) -> Duration {
        let ticks = |millis: u16| u32::from(millis).div_ceil(TICK.as_millis() as u32);
        TICK * (ticks(self.tone_ms) + ticks(self.gap_ms).max(GAP_TICKS_MIN))
    }
}

fn digits(text: &str) -> Option<Digits> {
    let mut digits = Digits::new();
    for char in text.chars() {
        if !digits.push(Digit::from_char(char.to_ascii_uppercase())?) {
            return None;
        }
    }
    (!digits.as_slice().is_empty()).then_some(digits)
}

/// What was accepted, as it will be played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SendingView {
    call_id: String,
    digits: String,
    tone_ms: u16,
    gap_ms: u16,
}

impl SendingView {
    pub fn new(call: &CallId, sent: &SendDigits) -> SendingView {
        SendingView {
            call_id: call.to_string(),
            digits: sent.digits.to_string(),
            tone_ms: sent.tone_ms,
            gap_ms: sent.gap_ms,
        }
    }
}

/// The digits that an engine was given for a leg and that have not sounded yet, by reckoning: it would lose those
/// beyond its queue.
#[derive(Debug, Clone, Default)]
pub struct PendingDigits {
    /// When each of them is done, in order.
    done: Vec<Instant>,
}

impl PendingDigits {
    /// What is pending with more digits behind it; refused, with the time to wait, where they do not fit yet.
    pub fn with(&self, now: Instant, sent: &SendDigits) -> Result<PendingDigits, Refusal> {
        let mut pending = self.clone();
        pending.done.retain(|done| *done > now);
        let count = sent.digits.as_slice().len();
        let excess = (pending.done.len() + count).saturating_sub(dtmf::QUEUED_MAX);
        if excess > 0 {
            let fits = pending.done[excess - 1].saturating_duration_since(now);
            return Err(Refusal {
                retry_after_s: Some(fits.as_secs() as u32 + 1),
                ..Refusal::new(
                    TOO_MANY_REQUESTS,
                    format!(
                        "Of {} digits that may wait to be sent to a leg, too many still do.",
                        dtmf::QUEUED_MAX
                    ),
                )
            });
        }
        let mut done = pending.done.last().copied().unwrap_or(now + ON_THE_WAY);
        for _ in 0..count {
            done += sent.each();
            pending.done.push(done);
        }
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    fn options(body: &str) -> Result<Option<DigitSettings>, Refusal> {
        settings(&mut fields(&format!(r#"{{"conferenceDtmfOptions":{body}}}"#)))
    }

    fn detect(max_digits: u8, millis: u64) -> Mode {
        Mode::Detect {
            max_digits,
            timeout: Duration::from_millis(millis),
        }
    }

    #[test]
    fn options_have_the_platforms_defaults_and_both_its_spellings() {
        assert_eq!(settings(&mut fields("{}")), Ok(None));
        for (body, mode, in_band) in [
            ("{}", Mode::Ignore, InBand::Auto),
            (r#"{"mode":"ignore","maxDigits":4}"#, Mode::Ignore, InBand::Auto),
            (r#"{"mode":"forward","inBand":true}"#, Mode::Forward, InBand::On),
            (r#"{"mode":"detect"}"#, detect(1, 3_000), InBand::Auto),
            (
                r#"{"mode":"detect","maxDigits":32,"timeoutMills":500,"inBand":false}"#,
                detect(32, 500),
                InBand::Off,
            ),
            (
                r#"{"mode":"detect","timoutMills":700}"#,
                detect(1, 700),
                InBand::Auto,
            ),
            (
                r#"{"mode":"detect","timoutMills":700,"timeoutMills":0}"#,
                detect(1, 0),
                InBand::Auto,
            ),
        ] {
            assert_eq!(options(body), Ok(Some(DigitSettings { mode, in_band })), "{body}");
        }
        for (body, says) in [
            (
                r#"{"mode":"hear"}"#,
                "`conferenceDtmfOptions.mode` must be ignore, forward or detect",
            ),
            (
                r#"{"maxDigits":0}"#,
                "`conferenceDtmfOptions.maxDigits` must be a whole number from 1 to 32",
            ),
            (r#"{"maxDigits":33}"#, "`conferenceDtmfOptions.maxDigits`"),
            (r#"{"timeoutMills":-1}"#, "`conferenceDtmfOptions.timeoutMills`"),
            (
                r#"{"timoutMills":3600001}"#,
                "`conferenceDtmfOptions.timoutMills`",
            ),
            (
                r#"{"inBand":"auto"}"#,
                "`conferenceDtmfOptions.inBand` must be true or false",
            ),
            (r#"{"x":1}"#, "`conferenceDtmfOptions.x`"),
            ("1", "`conferenceDtmfOptions` must be an object"),
        ] {
            let refusal = options(body).unwrap_err();
            assert_eq!(refusal.code, 40001, "{body}");
            assert!(refusal.message.contains(says), "{body}: {refusal}");
        }
    }

    #[test]
    fn digits_to_send_are_keys_in_any_case_with_lengths_within_limits() {
        let parse = |body: &str| SendDigits::parse(fields(body));
        let sent = parse(r#"{"digits":"12#*abCD"}"#).unwrap();
        assert_eq!(
            (sent.digits.to_string().as_str(), sent.tone_ms, sent.gap_ms),
            ("12#*ABCD", 100, 60)
        );
        let longest = "5".repeat(32);
        let sent = parse(&format!(r#"{{"digits":"{longest}","toneMs":40,"gapMs":2000}}"#)).unwrap();
        assert_eq!(
            (sent.digits.to_string(), sent.tone_ms, sent.gap_ms),
            (longest, 40, 2_000)
        );
        assert_eq!(parse("{}").unwrap_err().code, 40002);
        for (body, says) in [
            (
                r#"{"digits":""}"#.to_owned(),
                "`digits` must be 1 to 32 of 0 to 9, *, # and A to D.",
            ),
            (
                format!(r#"{{"digits":"{}"}}"#, "1".repeat(33)),
                "`digits` must be 1 to 32",
            ),
            (r#"{"digits":"1e"}"#.to_owned(), "`digits` must be"),
            (r#"{"digits":12}"#.to_owned(), "`digits` must be a string"),
            (
                r#"{"digits":"1w2"}"#.to_owned(),
                "`digits`: pauses (`w`) are not available",
            ),
            (
                r#"{"digits":"1","toneMs":39}"#.to_owned(),
                "`toneMs` must be a whole number from 40 to 2000",
            ),
            (r#"{"digits":"1","gapMs":2001}"#.to_owned(), "`gapMs` must be"),
            (r#"{"digits":"1","gap":60}"#.to_owned(), "`gap` is not a field"),
        ] {
            let refusal = parse(&body).unwrap_err();
            assert_eq!(refusal.code, 40001, "{body}");
            assert!(refusal.message.contains(says), "{body}: {refusal}");
        }
    }

    #[test]
    fn what_an_engine_would_lose_is_refused_until_enough_has_sounded() {
        let thirty = SendDigits {
            digits: digits(&"5".repeat(30)).unwrap(),
            tone_ms: 90,
            gap_ms: 41,
        };
        // Whole ticks: 100 ms and 60.
        assert_eq!(thirty.each(), Duration::from_millis(160));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pending = PendingDigits::default();
        let pending = pending.with(start, &thirty).unwrap();
        let pending = pending.with(at(10), &thirty).unwrap();
        // 26 of the first have to be done: 40 ms on the way and 26 times 160.
        let refusal = pending.with(at(20), &thirty).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_s), (42900, Some(5)));
        let refusal = pending.with(at(4_199), &thirty).unwrap_err();
        assert_eq!(refusal.retry_after_s, Some(1));
        let pending = pending.with(at(4_200), &thirty).unwrap();
        assert!(pending.with(at(4_201), &thirty).is_err());
        // Long after, none is pending.
        assert_eq!(pending.with(at(60_000), &thirty).unwrap().done.len(), 30);
    }
}
