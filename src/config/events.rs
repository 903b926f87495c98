//! The section `events`.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Settings};

#[derive(Debug, Clone)]
pub struct Events {
    /// Events in memory.
    pub ring: usize,
    /// Where the journal lies; `None`: in `.events` below `recording.dir`.
    pub dir: Option<PathBuf>,
    /// What the journal may take; zero: there is none.
    pub disk_bytes: u64,
    /// From one report of a leg to the next; `None`: there are none.
    pub report_interval: Option<Duration>,
}

impl Events {
    pub(super) fn read(s: &Settings) -> Result<Events, ConfigError> {
        let report_interval_s = s.number("events.report_interval_s", 0..=86_400)? as u64;
        Ok(Events {
            ring: s.number("events.ring", 100..=1_000_000)? as usize,
            dir: s.text("events.dir")?.map(PathBuf::from),
            disk_bytes: (s.number("events.disk_mib", 0..=65_536)? as u64) << 20,
            report_interval: (report_interval_s > 0).then(|| Duration::from_secs(report_interval_s)),
        })
    }
}
