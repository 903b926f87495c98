//! Who is let in: what a leg costs on this machine, what every engine has been promised, and what gives way when the
//! machine has less to give than was thought.
//!
//! ```text
//! calibration ─▶ costs ─▶ account ─▶ in, or 503 and what binds        measured load ─┬─▶ account
//!                                                                   late ticks ──────┴─▶ ladder ─▶ what is switched off
//!
//! what the kernel leaves ─▶ memory ─▶ in, or 503
//! ```
//!
//! All of it is pure but for `calibration`, which measures.

pub mod account;
pub mod calibration;
pub mod cost;
pub mod ladder;
pub mod memory;

pub use account::{Account, Full, Limits, Used};
pub use calibration::Calibration;
pub use cost::{Costs, Kind, LegLoad, RoomTerms};
pub use ladder::{Ladder, Strain};
pub use memory::{Asker, Bound, MemoryAccount, Need, Reading, TOUCHED_LATER_BY_LEG};
