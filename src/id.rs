//! Slots: how the control plane and the engines name legs, rooms and recordings to each other.

/// A leg's slot in its engine: below the engine's `legs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u32);

/// A room's slot in its engine: below the engine's `rooms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u32);

/// A recording's slot, unique in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingSlot(pub u32);
