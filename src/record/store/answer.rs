//! What is asked of an object store and what it can answer, without the words of any client library.

use std::ops::Range;

/// One of the five calls. There is no other: nothing is ever read, listed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Create {
        key: String,
    },
    Part {
        key: String,
        upload: String,
        number: u32,
        range: Range<u64>,
        /// Sent only to see whether the upload lives.
        is_proof: bool,
    },
    /// Makes the object, unless there is one.
    Complete {
        key: String,
        upload: String,
        parts: Vec<SentPart>,
        bytes: u64,
        crc32c: u32,
    },
    Put {
        key: String,
        bytes: u64,
        crc32c: u32,
        /// `false`: unless there is an object. `true`: only if the object there has our bytes.
        is_proof: bool,
    },
    Abort {
        key: String,
        upload: String,
    },
}

/// A part as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPart {
    pub number: u32,
    pub etag: String,
    pub crc32c: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Created {
        upload: String,
    },
    /// With the checksum of what was sent.
    Part {
        etag: String,
        crc32c: u32,
    },
    /// The object is there: of our size, with our checksum.
    Stored {
        etag: String,
    },
    Aborted,
    Refused(Refusal),
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// For the operator; without any secret.
    pub text: String,
}

/// Its name is the label of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No connection: nothing was sent.
    Unsent,
    /// The connection ended before an answer.
    Unanswered,
    /// No answer within the patience for this call.
    TimedOut,
    /// 503, 429: later.
    Busy,
    /// 500, 502, 504: something failed in there.
    Internal,
    /// Keys, rights or the clock.
    Denied,
    NoBucket,
    NoUpload,
    NoKey,
    /// 412: there is an object, or another one.
    Taken,
    /// 409: another call for the same key was under way.
    Conflict,
    /// The store does not hold a part as we say it does.
    BadPart,
    Unsupported,
    /// The answer's ETag or checksum is not that of our bytes.
    WrongAnswer,
    /// The file or the log on this machine.
    Local,
    Other,
}

impl Reason {
    pub const ALL: [Reason; 16] = [
        Reason::Unsent,
        Reason::Unanswered,
        Reason::TimedOut,
        Reason::Busy,
        Reason::Internal,
        Reason::Denied,
        Reason::NoBucket,
        Reason::NoUpload,
        Reason::NoKey,
        Reason::Taken,
        Reason::Conflict,
        Reason::BadPart,
        Reason::Unsupported,
        Reason::WrongAnswer,
        Reason::Local,
        Reason::Other,
    ];

    /// The label of its counter.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Unsent => "unsent",
            Reason::Unanswered => "unanswered",
            Reason::TimedOut => "timed_out",
            Reason::Busy => "busy",
            Reason::Internal => "internal",
            Reason::Denied => "denied",
            Reason::NoBucket => "no_bucket",
            Reason::NoUpload => "no_upload",
            Reason::NoKey => "no_key",
            Reason::Taken => "taken",
            Reason::Conflict => "conflict",
            Reason::BadPart => "bad_part",
            Reason::Unsupported => "unsupported",
            Reason::WrongAnswer => "wrong_answer",
            Reason::Local => "local",
            Reason::Other => "other",
        }
    }

    /// The store did not do what was asked, and will not do it later.
    pub fn is_certain(self) -> bool {
        !matches!(
            self,
            Reason::Unanswered | Reason::TimedOut | Reason::Internal | Reason::WrongAnswer | Reason::Other
        )
    }

    /// Somebody has to change something: no use in asking every minute.
    pub fn is_lasting(self) -> bool {
        matches!(self, Reason::Denied | Reason::NoBucket | Reason::Unsupported)
    }
}

impl Call {
    pub fn name(&self) -> &'static str {
        match self {
            Call::Create { .. } => "CreateMultipartUpload",
            Call::Part { .. } => "UploadPart",
            Call::Complete { .. } => "CompleteMultipartUpload",
            Call::Put { .. } => "PutObject",
            Call::Abort { .. } => "AbortMultipartUpload",
        }
    }

    /// Of its body.
    pub fn bytes(&self) -> u64 {
        match self {
            Call::Part { range, .. } => range.end - range.start,
            Call::Put { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}
