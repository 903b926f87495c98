//! Names that customers and switches give: checked once at the edge, compared byte for byte ever after.

use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::sync::Arc;

use crate::control::refusal::Refusal;

/// A leg's name: 1 to 128 visible ASCII characters without `/`, and none of the words that paths need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Arc<str>);

/// A room's name: 1 to 64 Unicode scalar values, none of them a control character. No normalisation: two spellings
/// of one letter are two rooms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConferenceId(Arc<str>);

const CALL_ID_CHARS_MAX: usize = 128;
const CONFERENCE_ID_CHARS_MAX: usize = 64;

/// Last segments of conference paths.
const RESERVED: [&str; 3] = ["recording", "play", "routes"];

impl CallId {
    pub fn parse(text: &str) -> Result<CallId, Refusal> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if text.is_empty() || text.len() > CALL_ID_CHARS_MAX || !visible {
            return Err(Refusal::bad(
                "`callId` must be 1 to 128 visible ASCII characters without `/`.",
            ));
        }
        if RESERVED.contains(&text) {
            return Err(Refusal::bad(
                "`callId` must not be `recording`, `play` or `routes`.",
            ));
        }
        Ok(CallId(text.into()))
    }

    /// A name of our own making.
    pub fn made() -> CallId {
        CallId(uuid::Uuid::new_v4().to_string().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ConferenceId {
    pub fn parse(text: &str) -> Result<ConferenceId, Refusal> {
        // The bytes first, so that a long text is not counted to its end.
        let chars = if text.len() > CONFERENCE_ID_CHARS_MAX * 4 {
            usize::MAX
        } else {
            text.chars().count()
        };
        if !(1..=CONFERENCE_ID_CHARS_MAX).contains(&chars) {
            return Err(Refusal::bad("`conferenceId` must be 1 to 64 characters."));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::bad("`conferenceId` must not have control characters."));
        }
        Ok(ConferenceId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Display for ConferenceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Borrow<str> for CallId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ConferenceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conference_id_is_counted_in_scalars_and_may_be_any_but_control_characters() {
        for good in [
            "a",
            "/",
            "..",
            ".",
            "%",
            "%2e%2e%2f",
            "مرحبا",
            "👩‍👩‍👧",
            " ",
            "a\u{202e}b",
        ] {
            assert_eq!(ConferenceId::parse(good).unwrap().as_str(), good);
        }
        assert!(ConferenceId::parse(&"😀".repeat(64)).is_ok());
        for bad in [
            "",
            "\0",
            "a\nb",
            "\u{7f}",
            "\u{85}",
            &"a".repeat(65),
            &"😀".repeat(65),
            &"a".repeat(100_000),
        ] {
            assert_eq!(ConferenceId::parse(bad).unwrap_err().code, 40001);
        }
        assert_ne!(
            ConferenceId::parse("é").unwrap(),
            ConferenceId::parse("e\u{301}").unwrap()
        );
    }

    #[test]
    fn a_call_id_is_visible_ascii_and_no_word_of_a_path() {
        for good in [
            "leg-7",
            ".",
            "..",
            "%2F",
            "a@b;tag=1",
            "Recording",
            &"x".repeat(128),
        ] {
            assert_eq!(CallId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "é",
            "\u{7f}",
            "recording",
            "play",
            "routes",
            &"x".repeat(129),
        ] {
            assert_eq!(CallId::parse(bad).unwrap_err().code, 40001);
        }
        assert_ne!(CallId::made(), CallId::made());
    }
}
