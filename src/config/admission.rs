//! How much of the machine legs may take, and how it is known what they cost.

use std::path::PathBuf;

use super::{ConfigError, Settings};

const MIB: u64 = 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Admission {
    /// Of a core, for each media thread; and of each core, for all of them.
    pub cpu_percent: u8,
    pub calibrate: Calibrate,
    pub calibration_file: Option<PathBuf>,
    /// What legs and recordings leave to everything else.
    pub memory_reserve_bytes: u64,
}

/// Where costs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibrate {
    /// Measured at the start, unless they are kept in a file.
    Start,
    /// Built in.
    Assumed,
}

impl Admission {
    pub(super) fn read(settings: &Settings) -> Result<Admission, ConfigError> {
        Ok(Admission {
            cpu_percent: settings.number("admission.cpu_percent", 1..=95)? as u8,
            calibrate: match settings.one_of("admission.calibrate", &["start", "assumed"])? {
                "start" => Calibrate::Start,
                _ => Calibrate::Assumed,
            },
            calibration_file: settings.text("admission.calibration_file")?.map(PathBuf::from),
            memory_reserve_bytes: settings.number("admission.memory_reserve_mib", 0..=65_536)? as u64 * MIB,
        })
    }
}
