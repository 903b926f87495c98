//! The types of events there are.

/// Every type of event, as it stands in `type`.
pub const KINDS: [&str; 21] = [
    "room.started",
    "room.ended",
    "leg.joined",
    "leg.left",
    "leg.muted",
    "leg.unmuted",
    "leg.held",
    "leg.resumed",
    "leg.talking",
    "leg.digits",
    "leg.one_way",
    "leg.media_timeout",
    "leg.report",
    "recording.started",
    "recording.paused",
    "recording.resumed",
    "recording.finished",
    "recording.available",
    "recording.failed",
    "lost",
    "snapshot",
];

/// How things stand, for one reader that asked: it has no number, and nobody else hears of it.
pub const SNAPSHOT: &str = "snapshot";

/// An event of a type that this program does not know, written by another version of it; its JSON names it.
pub const OTHER: &str = "other";

/// The type of this name.
pub fn kind_of(name: &str) -> &'static str {
    KINDS.iter().find(|kind| **kind == name).copied().unwrap_or(OTHER)
}
