//! Why a request was not done: a code whose first three digits are the HTTP status, and a sentence.
//!
//! Said by the service, translated by the front ends. A sentence names the field, never repeats raw input.

use std::fmt::{self, Display};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Five digits, as the platform contract lists them.
    pub code: u32,
    pub message: String,
    /// When it is worth asking again, in seconds.
    pub retry_after_s: Option<u32>,
}

pub const BAD_PARAMETER: u32 = 40001;
pub const MISSING_PARAMETER: u32 = 40002;
pub const INVALID_REQUEST: u32 = 40003;
/// The peer has broken off what it was sending, so hardly anyone reads it.
pub const CUT_SHORT: u32 = 40004;
pub const NO_AUTHORIZATION: u32 = 40100;
pub const BAD_TIMESTAMP: u32 = 40101;
pub const BAD_SIGNATURE: u32 = 40102;
pub const BAD_CREDENTIALS: u32 = 40108;
pub const FORBIDDEN: u32 = 40300;
pub const NOT_FOUND: u32 = 40400;
pub const METHOD_NOT_ALLOWED: u32 = 40500;
pub const REQUEST_TIMEOUT: u32 = 40800;
pub const CONFLICT: u32 = 40900;
pub const TOO_LARGE: u32 = 41300;
pub const UNSUPPORTED: u32 = 41500;
pub const RANGE_NOT_SATISFIABLE: u32 = 41600;
pub const TOO_MANY_REQUESTS: u32 = 42900;
pub const HEADER_TOO_LARGE: u32 = 43100;
pub const INTERNAL: u32 = 50000;
pub const UNAVAILABLE: u32 = 50300;
pub const NO_STORAGE: u32 = 50700;

impl Refusal {
    pub fn new(code: u32, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            retry_after_s: None,
        }
    }

    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(BAD_PARAMETER, message)
    }

    pub fn missing(field: &str) -> Refusal {
        Refusal::new(MISSING_PARAMETER, format!("`{field}` is required."))
    }

    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(NOT_FOUND, message)
    }

    pub fn conflict(message: impl Into<String>) -> Refusal {
        Refusal::new(CONFLICT, message)
    }

    /// The peer has broken off the body, or the message.
    pub fn cut_short(what: &str) -> Refusal {
        Refusal::new(CUT_SHORT, format!("The {what} is cut short."))
    }

    pub fn unavailable(message: impl Into<String>, retry_after_s: u32) -> Refusal {
        Refusal {
            retry_after_s: Some(retry_after_s),
            ..Refusal::new(UNAVAILABLE, message)
        }
    }

    /// An engine did not answer in time: it is overloaded, and what was asked may still happen.
    pub fn engine_silent() -> Refusal {
        Refusal::unavailable(
            "The media engine did not answer in time; what was asked may still take effect.",
            5,
        )
    }

    pub fn not_available_yet(field: &str) -> Refusal {
        Refusal::bad(format!("`{field}` is not available yet."))
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        (self.code / 100) as u16
    }
}

impl Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
