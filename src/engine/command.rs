//! What the control plane can ask of an engine. A command takes effect with the next tick.
//!
//! Whoever sends a command pays for its memory: boxes go in filled, and come back in an event to be dropped
//! outside the media thread.
