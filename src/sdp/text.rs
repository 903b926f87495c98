//! The text of a session description where it is kept.

use std::fmt;
use std::ops::Deref;

/// A session description as text. There may be keys in it, so it shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct SdpText(String);

impl From<String> for SdpText {
    fn from(text: String) -> SdpText {
        SdpText(text)
    }
}

impl Deref for SdpText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SdpText {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SdpText({} bytes)", self.0.len())
    }
}
