//! Session descriptions: what the remote party wrote (RFC 8866) and what both sides make of it (RFC 3264).
//!
//! Text and addresses in, text and agreed formats out: nothing here opens a socket or picks a port. One audio
//! m-line is used, every other is refused in its place. Whatever the text, the outcome is an agreement or one
//! sentence that names what is wrong; the sentence never carries more of the text than a short name.

mod companion;
mod crypto;
mod error;
mod explain;
mod format;
mod keyless;
mod negotiate;
mod parameters;
mod session;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use companion::Companion;
pub use crypto::{CryptoLine, SUITES};
pub use error::SdpError;
pub use format::{Codecs, FORMATS_MAX, Format};
pub use negotiate::{Agreed, LocalMedia, Order, SrtpOffer, accept, answer, offer, offered_family};
pub use parameters::opus_bitrate_default;
pub use session::{Direction, Family, Media, Payload, Session};
pub use text::SdpText;
