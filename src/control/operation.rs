//! What may be asked, in one table: HTTP's router, gRPC's methods, the roles and the descriptions all read it.
//!
//! ```text
//! HTTP route ─┐
//!             ├─▶ asked ─▶ answered before? ─▶ perform ─▶ service ─▶ answer ─▶ JSON or protobuf
//! gRPC method ┘
//! ```

mod asked;
mod once;
mod perform;
mod sound;
#[cfg(test)]
mod tests;

pub use asked::{Asked, PAGE_SIZE, PAGE_SIZE_MAX};
pub use once::Answered;
pub use perform::{Answer, Body, ask};
pub use sound::chunks;

use crate::control::auth::Role;

/// What is known of an operation beside what it does.
#[derive(Debug)]
pub struct Described {
    pub operation: Operation,
    /// The gRPC method.
    pub name: &'static str,
    /// Verb and path, as they are documented.
    pub route: &'static str,
    /// `None`: open to all.
    pub role: Option<Role>,
    /// HTTP statuses of what was done.
    pub done: &'static [u16],
    /// HTTP statuses of what was refused, beside those that every operation of its kind has.
    pub refused: &'static [u16],
}

macro_rules! operations {
    ($($name:ident $route:literal $role:ident $done:tt $refused:tt)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($name),*
        }

        /// In the order of the variants.
        pub static OPERATIONS: &[Described] = &[
            $(Described {
                operation: Operation::$name,
                name: stringify!($name),
                route: $route,
                role: role::$role,
                done: &$done,
                refused: &$refused,
            }),*
        ];
    };
}

mod role {
    use crate::control::auth::Role;

    pub const OPEN: Option<Role> = None;
    pub const READ: Option<Role> = Some(Role::Read);
    pub const CONTROL: Option<Role> = Some(Role::Control);
}

operations! {
    CreateLeg "POST /v1/legs" CONTROL [201, 200] [409, 503, 507]
    ListLegs "GET /v1/legs" READ [200] [400]
    GetLeg "GET /v1/legs/{callId}" READ [200] [404, 503]
    ChangeLeg "PATCH /v1/legs/{callId}" CONTROL [200] [404, 409, 503]
    EndLeg "DELETE /v1/legs/{callId}" CONTROL [204] [404, 503]
    SendDigits "POST /v1/legs/{callId}/dtmf" CONTROL [202] [404, 409, 503]
    StartLegRecording "POST /v1/legs/{callId}/recording" CONTROL [201, 200] [404, 409, 503, 507]
    CommandLegRecording "PATCH /v1/legs/{callId}/recording" CONTROL [200] [404, 409, 503]
    StopLegRecording "DELETE /v1/legs/{callId}/recording" CONTROL [200] [404, 503]

    ListConferences "GET /v1/conferences" READ [200] [400]
    GetConference "GET /v1/conferences/id/{conferenceId}" READ [200] [404]
    ChangeConference "PATCH /v1/conferences/id/{conferenceId}" CONTROL [200] [404, 503]
    EndConference "DELETE /v1/conferences/id/{conferenceId}" CONTROL [204] [404, 503]
    CommandParticipant "PATCH /v1/conferences/id/{conferenceId}/{callId}" CONTROL [200] [404, 409, 503]
    KickParticipant "DELETE /v1/conferences/id/{conferenceId}/{callId}" CONTROL [204] [404, 503]
    StartRecording "POST /v1/conferences/id/{conferenceId}/recording" CONTROL [201, 200] [404, 409, 503, 507]
    CommandRecording "PATCH /v1/conferences/id/{conferenceId}/recording" CONTROL [200] [404, 409, 503]
    StopRecording "DELETE /v1/conferences/id/{conferenceId}/recording" CONTROL [200] [404, 503]

    ListRecordings "GET /v1/recordings" READ [200] [400]
    GetRecording "GET /v1/recordings/{recordingId}" READ [200] [404]
    DownloadRecording "GET /v1/recordings/{recordingId}/audio" READ [200, 206] [404, 416, 503]

    StreamEvents "GET /v1/events" READ [200] [400]
    Explain "GET /v1/explain" READ [200] [400, 404, 503]
    GetCapacity "GET /v1/capacity" READ [200] []
    GetMetrics "GET /metrics" READ [200] []
    GetOpenApi "GET /openapi.json" READ [200] []
    GetLiveness "GET /healthz" OPEN [200] [503]
    GetReadiness "GET /readyz" OPEN [200] [503]
}

/// Where the platform's routes answer as well.
pub const PLATFORM: &str = "/calling";

/// The gRPC service whose methods these are.
pub const SERVICE: &str = "mixminus.v1.Control";

impl Operation {
    pub fn described(self) -> &'static Described {
        &OPERATIONS[self as usize]
    }

    /// What a request asks for: its verb, and the path of the route it matched, with the names in braces; or a gRPC
    /// method's path.
    pub fn at(verb: &str, path: &str) -> Option<Operation> {
        let method = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(SERVICE)?.strip_prefix('/'));
        if let Some(method) = method {
            return Operation::named(method);
        }
        // What `GET` answers, `HEAD` answers without its body.
        let verb = if verb == "HEAD" { "GET" } else { verb };
        let as_ours = |described: &Described| {
            path == described.path()
                || (described.is_platforms() && path.strip_prefix(PLATFORM) == Some(described.path()))
        };
        OPERATIONS
            .iter()
            .find(|described| described.verb() == verb && as_ours(described))
            .map(|described| described.operation)
    }

    /// What a gRPC method asks for.
    pub fn named(method: &str) -> Option<Operation> {
        OPERATIONS
            .iter()
            .find(|described| described.name == method)
            .map(|described| described.operation)
    }
}

/// The role that a request takes: that of its operation; what is none is looked at by readers, and the rest is of no
/// account to others.
pub fn role_at(verb: &str, path: Option<&str>) -> Option<Role> {
    match path.and_then(|path| Operation::at(verb, path)) {
        Some(operation) => operation.described().role,
        None if path.is_some_and(is_reflection) => Some(Role::Read),
        None if matches!(verb, "GET" | "HEAD") => Some(Role::Read),
        None => Some(Role::Control),
    }
}

/// A path of gRPC's reflection, which is a stream.
pub fn is_reflection(path: &str) -> bool {
    path.starts_with("/grpc.reflection.")
}

impl Described {
    pub fn verb(&self) -> &'static str {
        self.route.split_once(' ').map_or("", |(verb, _)| verb)
    }

    pub fn path(&self) -> &'static str {
        self.route.split_once(' ').map_or("", |(_, path)| path)
    }

    /// The names in braces, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.path()
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// One of the voice platform's routes, which answer below `/calling/v1` as well.
    pub fn is_platforms(&self) -> bool {
        self.path().starts_with("/v1/conferences")
    }

    /// Something may be otherwise afterwards.
    pub fn changes(&self) -> bool {
        self.verb() != "GET"
    }

    pub fn has_body(&self) -> bool {
        matches!(self.verb(), "POST" | "PATCH" | "PUT")
    }

    /// Answers for as long as whoever asks wants to hear.
    pub fn is_stream(&self) -> bool {
        matches!(
            self.operation,
            Operation::StreamEvents | Operation::DownloadRecording
        )
    }

    /// Every status of a refusal, in rising order.
    pub fn refusals(&self) -> Vec<u16> {
        let mut all = self.refused.to_vec();
        // A query may be wrong anywhere.
        all.push(400);
        if self.role.is_some() {
            // A body is read wherever a request may be signed.
            all.extend([401, 403, 408, 413, 429]);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
