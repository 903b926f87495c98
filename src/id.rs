//! How the control plane, the engines and the recorder name legs, rooms, recordings and their tracks to each other.

/// A leg's slot in its engine: below the engine's `legs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u32);

/// A room's slot in its engine: below the engine's `rooms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u32);

/// A recording's slot, unique in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingSlot(pub u32);

/// A track of a recording: the main one, or that of a leg, whose number is unique in the daemon's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNumber(pub u32);

impl TrackNumber {
    /// The mix of a room, or what one leg is sent.
    pub const MAIN: TrackNumber = TrackNumber(0);
}
