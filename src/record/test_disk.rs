//! Disks for tests: one in memory that can lose its power, and one that fails when told to.

mod failing;
mod shadow;

pub use failing::FailingDisk;
pub use shadow::ShadowDisk;
