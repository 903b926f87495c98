//! What is counted of callbacks.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::Kind;
use super::forms::Form;

/// Why a post came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The host is not known, or the resolver does not answer.
    Unresolved,
    /// The host has an address to which callbacks may not go.
    Denied,
    Unreachable,
    Tls,
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Broken,
    Redirect,
    Status4xx,
    Status5xx,
    /// A status that is no answer to a request.
    OtherStatus,
}

impl Failure {
    pub const ALL: [Failure; 10] = [
        Failure::Unresolved,
        Failure::Denied,
        Failure::Unreachable,
        Failure::Tls,
        Failure::Timeout,
        Failure::Broken,
        Failure::Redirect,
        Failure::Status4xx,
        Failure::Status5xx,
        Failure::OtherStatus,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Failure::Unresolved => "unresolved",
            Failure::Denied => "denied",
            Failure::Unreachable => "unreachable",
            Failure::Tls => "tls",
            Failure::Timeout => "timeout",
            Failure::Broken => "broken",
            Failure::Redirect => "redirect",
            Failure::Status4xx => "status_4xx",
            Failure::Status5xx => "status_5xx",
            Failure::OtherStatus => "other_status",
        }
    }
}

/// Counted by the couriers, read by `/metrics`; all there from the start.
#[derive(Debug)]
pub struct Counters {
    of_forms: [OfForm; Form::ALL.len()],
    pub denied: [AtomicU64; Kind::ALL.len()],
    /// Dead letters that could not be written.
    pub unkept: AtomicU64,
    /// Failures to write down how far delivery has come.
    pub unsaved: AtomicU64,
}

#[derive(Debug)]
pub struct OfForm {
    pub delivered: AtomicU64,
    /// Of those: by the fallback.
    pub by_fallback: AtomicU64,
    /// Rounds that are to be made again.
    pub retries: AtomicU64,
    pub refused: AtomicU64,
    pub given_up: AtomicU64,
    pub lost: AtomicU64,
    pub failures: [AtomicU64; Failure::ALL.len()],
    pub pending: AtomicU64,
}

impl Counters {
    pub fn of(&self, form: Form) -> &OfForm {
        &self.of_forms[form as usize]
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            of_forms: array::from_fn(|_| OfForm::new()),
            denied: array::from_fn(|_| AtomicU64::new(0)),
            unkept: AtomicU64::new(0),
            unsaved: AtomicU64::new(0),
        }
    }
}

impl OfForm {
    fn new() -> OfForm {
        OfForm {
            delivered: AtomicU64::new(0),
            by_fallback: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failures: array::from_fn(|_| AtomicU64::new(0)),
            pending: AtomicU64::new(0),
        }
    }
}

pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
