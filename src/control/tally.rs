//! What is open and what was refused before the service was asked, by reason. Counted by the connections and the gate,
//! read by `/metrics`; every reason is there from the start, at zero.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::control::refusal;

/// A way to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    Http,
    Grpc,
}

impl Face {
    pub const ALL: [Face; 2] = [Face::Http, Face::Grpc];

    pub const fn name(self) -> &'static str {
        match self {
            Face::Http => "http",
            Face::Grpc => "grpc",
        }
    }
}

/// Why a connection was not taken, or ended by this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// The system had no descriptor for it, or failed otherwise.
    NotAccepted,
    /// As many as `http.connections` are open and none ended in time.
    Full,
    /// As many as `http.connections_per_address` are open from there.
    PerAddress,
    /// No TLS handshake came about: not in time, not TLS, no certificate of the client's that is trusted.
    Handshake,
    /// The header of the first request was not complete in time.
    Slow,
    /// Not HTTP, or a header beyond the bounds.
    Malformed,
    /// Kept open with nothing more asked for too long, or by a peer that is gone.
    Idle,
    /// HTTP/2 requests were reset faster than anyone changes their mind.
    Resets,
    /// More bytes than requests account for: pings, settings, empty frames.
    Chatter,
    /// HTTP/2 against its rules, or beyond the bounds that the peer was told.
    Protocol,
}

impl ConnectionRefusal {
    pub const ALL: [ConnectionRefusal; 10] = [
        ConnectionRefusal::NotAccepted,
        ConnectionRefusal::Full,
        ConnectionRefusal::PerAddress,
        ConnectionRefusal::Handshake,
        ConnectionRefusal::Slow,
        ConnectionRefusal::Malformed,
        ConnectionRefusal::Idle,
        ConnectionRefusal::Resets,
        ConnectionRefusal::Chatter,
        ConnectionRefusal::Protocol,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            ConnectionRefusal::NotAccepted => "not_accepted",
            ConnectionRefusal::Full => "full",
            ConnectionRefusal::PerAddress => "per_address",
            ConnectionRefusal::Handshake => "handshake",
            ConnectionRefusal::Slow => "slow",
            ConnectionRefusal::Malformed => "malformed",
            ConnectionRefusal::Idle => "idle",
            ConnectionRefusal::Resets => "resets",
            ConnectionRefusal::Chatter => "chatter",
            ConnectionRefusal::Protocol => "protocol",
        }
    }
}

/// Why a request was refused. Those of the gate come first; the others are told by the error code of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefusal {
    NoAuthorization,
    Timestamp,
    /// Of a time of which the signatures that were used are forgotten, as after the wall clock was set back.
    Forgotten,
    Signature,
    Replayed,
    /// No signature more could be remembered, so none was taken.
    NoncesFull,
    Credentials,
    /// `Basic` over a connection that others can read.
    Unencrypted,
    /// A trusted certificate without a name that `tls.client_roles` lists.
    Certificate,
    Role,
    /// Without keys: a host that is not this machine, as where a browser was told that a name is here.
    ForeignHost,
    /// Without keys: a page of another host asks.
    ForeignOrigin,
    KeyRate,
    AddressRate,
    KeyConcurrency,
    Streams,
    BadParameter,
    MissingParameter,
    InvalidRequest,
    NotFound,
    Method,
    BodyTime,
    Conflict,
    TooLarge,
    /// Neither the type of gRPC nor an encoding of a message that is taken.
    Unsupported,
    Range,
    TooMany,
    Internal,
    Unavailable,
    NoStorage,
    Other,
}

impl RequestRefusal {
    pub const ALL: [RequestRefusal; 31] = [
        RequestRefusal::NoAuthorization,
        RequestRefusal::Timestamp,
        RequestRefusal::Forgotten,
        RequestRefusal::Signature,
        RequestRefusal::Replayed,
        RequestRefusal::NoncesFull,
        RequestRefusal::Credentials,
        RequestRefusal::Unencrypted,
        RequestRefusal::Certificate,
        RequestRefusal::Role,
        RequestRefusal::ForeignHost,
        RequestRefusal::ForeignOrigin,
        RequestRefusal::KeyRate,
        RequestRefusal::AddressRate,
        RequestRefusal::KeyConcurrency,
        RequestRefusal::Streams,
        RequestRefusal::BadParameter,
        RequestRefusal::MissingParameter,
        RequestRefusal::InvalidRequest,
        RequestRefusal::NotFound,
        RequestRefusal::Method,
        RequestRefusal::BodyTime,
        RequestRefusal::Conflict,
        RequestRefusal::TooLarge,
        RequestRefusal::Unsupported,
        RequestRefusal::Range,
        RequestRefusal::TooMany,
        RequestRefusal::Internal,
        RequestRefusal::Unavailable,
        RequestRefusal::NoStorage,
        RequestRefusal::Other,
    ];

    /// By the error code of an answer that the gate did not give itself.
    pub const fn of_code(code: u32) -> RequestRefusal {
        match code {
            refusal::BAD_PARAMETER => RequestRefusal::BadParameter,
            refusal::MISSING_PARAMETER => RequestRefusal::MissingParameter,
            refusal::INVALID_REQUEST => RequestRefusal::InvalidRequest,
            refusal::NO_AUTHORIZATION => RequestRefusal::NoAuthorization,
            refusal::BAD_CREDENTIALS => RequestRefusal::Credentials,
            refusal::FORBIDDEN => RequestRefusal::Role,
            refusal::NOT_FOUND => RequestRefusal::NotFound,
            refusal::METHOD_NOT_ALLOWED => RequestRefusal::Method,
            refusal::REQUEST_TIMEOUT => RequestRefusal::BodyTime,
            refusal::CONFLICT => RequestRefusal::Conflict,
            refusal::TOO_LARGE => RequestRefusal::TooLarge,
            refusal::UNSUPPORTED => RequestRefusal::Unsupported,
            refusal::RANGE_NOT_SATISFIABLE => RequestRefusal::Range,
            refusal::TOO_MANY_REQUESTS => RequestRefusal::TooMany,
            refusal::INTERNAL => RequestRefusal::Internal,
            refusal::UNAVAILABLE => RequestRefusal::Unavailable,
            refusal::NO_STORAGE => RequestRefusal::NoStorage,
            _ => RequestRefusal::Other,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            RequestRefusal::NoAuthorization => "no_authorization",
            RequestRefusal::Timestamp => "timestamp",
            RequestRefusal::Forgotten => "forgotten",
            RequestRefusal::Signature => "signature",
            RequestRefusal::Replayed => "replayed",
            RequestRefusal::NoncesFull => "nonces_full",
            RequestRefusal::Credentials => "credentials",
            RequestRefusal::Unencrypted => "unencrypted",
            RequestRefusal::Certificate => "certificate",
            RequestRefusal::Role => "role",
            RequestRefusal::ForeignHost => "foreign_host",
            RequestRefusal::ForeignOrigin => "foreign_origin",
            RequestRefusal::KeyRate => "key_rate",
            RequestRefusal::AddressRate => "address_rate",
            RequestRefusal::KeyConcurrency => "key_concurrency",
            RequestRefusal::Streams => "streams",
            RequestRefusal::BadParameter => "bad_parameter",
            RequestRefusal::MissingParameter => "missing_parameter",
            RequestRefusal::InvalidRequest => "invalid_request",
            RequestRefusal::NotFound => "not_found",
            RequestRefusal::Method => "method",
            RequestRefusal::BodyTime => "body_time",
            RequestRefusal::Conflict => "conflict",
            RequestRefusal::TooLarge => "too_large",
            RequestRefusal::Unsupported => "unsupported",
            RequestRefusal::Range => "range",
            RequestRefusal::TooMany => "too_many",
            RequestRefusal::Internal => "internal",
            RequestRefusal::Unavailable => "unavailable",
            RequestRefusal::NoStorage => "no_storage",
            RequestRefusal::Other => "other",
        }
    }
}

/// The counters. Shared by both faces, never reset.
#[derive(Debug, Default)]
pub struct Tally {
    connections: [AtomicUsize; Face::ALL.len()],
    refused_connections: [AtomicU64; ConnectionRefusal::ALL.len()],
    refused_requests: [AtomicU64; RequestRefusal::ALL.len()],
    forgotten_answers: AtomicU64,
}

/// One connection more, until it is dropped.
pub struct Open<'a>(&'a AtomicUsize);

impl Tally {
    pub fn open(&self, face: Face) -> Open<'_> {
        let count = &self.connections[face as usize];
        count.fetch_add(1, Ordering::Relaxed);
        Open(count)
    }

    pub fn connections(&self, face: Face) -> usize {
        self.connections[face as usize].load(Ordering::Relaxed)
    }

    pub fn refuse_connection(&self, reason: ConnectionRefusal) {
        self.refused_connections[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused_connections(&self, reason: ConnectionRefusal) -> u64 {
        self.refused_connections[reason as usize].load(Ordering::Relaxed)
    }

    pub fn refuse_request(&self, reason: RequestRefusal) {
        self.refused_requests[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers whose `Idempotency-Key` was forgotten before its time.
    pub fn forget_answers(&self, count: u64) {
        self.forgotten_answers.fetch_add(count, Ordering::Relaxed);
    }

    pub fn forgotten_answers(&self) -> u64 {
        self.forgotten_answers.load(Ordering::Relaxed)
    }

    pub fn refused_requests(&self, reason: RequestRefusal) -> u64 {
        self.refused_requests[reason as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_stands_in_its_list_at_its_place_under_a_name_of_its_own() {
        for (index, reason) in ConnectionRefusal::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, reason) in RequestRefusal::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let connections = ConnectionRefusal::ALL.map(ConnectionRefusal::name);
        assert_eq!(BTreeSet::from(connections).len(), connections.len());
        let requests = RequestRefusal::ALL.map(RequestRefusal::name);
        assert_eq!(BTreeSet::from(requests).len(), requests.len());
    }
}
