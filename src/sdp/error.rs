//! What can be wrong with a session description, each as one sentence for whoever sent it.

use super::session::{BYTES_MAX, FORMATS_PER_MEDIA_MAX, LINE_BYTES_MAX, MEDIA_MAX, PROTOCOLS};

/// Why an SDP was not understood or not agreed to.
///
/// Lines are counted from 1. Strings are lists of our own making: names from the text are shortened and
/// counted before they get here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("the SDP has {bytes} bytes; at most {max} are allowed", max = BYTES_MAX)]
    TooLong { bytes: usize },

    #[error("line {line} of the SDP has {bytes} bytes; at most {max} are allowed", max = LINE_BYTES_MAX)]
    LineTooLong { line: usize, bytes: usize },

    #[error("line {line} of the SDP is not a lower-case letter, an equals sign and a value as in \"t=0 0\"")]
    BadLine { line: usize },

    #[error("the SDP does not begin with the line \"v=0\"")]
    NoVersion,

    #[error("the SDP has more than {max} m-lines", max = MEDIA_MAX)]
    TooManyMedia,

    #[error("the m-line on line {line} lists more than {max} formats", max = FORMATS_PER_MEDIA_MAX)]
    TooManyFormats { line: usize },

    /// A line we use does not have its form.
    #[error("line {line} of the SDP: bad {field}; allowed is {allowed}")]
    BadField {
        line: usize,
        field: &'static str,
        allowed: &'static str,
    },

    #[error("the SDP has no audio m-line")]
    NoAudio,

    #[error("the SDP refuses its audio: the port of every audio m-line is 0")]
    AudioRefused,

    #[error("the audio has no address: neither its m-line nor the session has a c= line")]
    NoConnection,

    #[error("the transport {offered} is not supported; supported are {}", PROTOCOLS.join(", "))]
    UnsupportedProtocol { offered: String },

    /// RFC 4568: a transport that needs SRTP needs a key.
    #[error("the media has to be encrypted, and no a=crypto line can be used: {reasons}")]
    NoUsableCrypto { reasons: String },

    /// RFC 3264 §6.1: the answer's transport is that of the offer.
    #[error("the answer's transport is RTP/SAVP, and our offer's is not")]
    AnswerNeedsSrtp,

    #[error("no common codec: offered were {offered}; supported are {supported}")]
    NoCommonCodec { offered: String, supported: String },

    /// RFC 3264 §6: as many m-lines as the offer, in its order.
    #[error("the answer has {count} m-lines; our offer has 1, and the answer must have as many")]
    AnswerMediaCount { count: usize },

    #[error("the codec {name} is not known; supported are {supported}, CN, telephone-event")]
    UnknownCodec { name: String, supported: String },

    #[error("the list of codecs names no codec; supported are {supported}")]
    NoCodecs { supported: String },
}
