//! What is used of the machine, what is left, and what binds: for whoever has to decide where the next call goes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::admission::Why;
use super::{Service, locked};
use crate::control::admission::{Full, Kind, LegLoad, Need};
use crate::control::process;

/// How many legs sit in a room, for what is said to be left: in larger rooms it is more, in smaller ones less.
const ROOM_SIZE: usize = 10;

/// Percentages are of one core.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityView {
    pub draining: bool,
    pub legs: usize,
    pub rooms: usize,
    /// How many more legs of each codec there is room for, in rooms of ten.
    pub left: Vec<LeftView>,
    pub engines: Vec<EngineView>,
    pub machine: MachineView,
    pub ports: PortsView,
    pub file_descriptors: FileDescriptorsView,
    pub memory: MemoryView,
    pub slots: SlotsView,
    pub calibration: CalibrationView,
    pub degradation: DegradationView,
}

#[derive(Debug, Clone, Serialize)]
pub struct LeftView {
    pub codec: &'static str,
    pub legs: usize,
    /// What there would be no room in for one more.
    pub binds: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    pub engine: usize,
    pub legs: usize,
    pub rooms: usize,
    /// What its legs should take.
    pub account_percent: f64,
    /// What its thread takes.
    pub measured_percent: f64,
    /// What counts of both.
    pub used_percent: f64,
    pub limit_percent: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineView {
    pub cores: usize,
    pub used_percent: f64,
    pub limit_percent: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct PortsView {
    /// Pairs that a leg can have, and those that are not known to be quiet yet.
    pub free: usize,
    pub resting: usize,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDescriptorsView {
    pub open: usize,
    /// Beyond these a leg is refused.
    pub for_legs: u64,
    pub limit: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryView {
    /// What legs and recordings may still take; none where nothing is known to bound them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_mib: Option<f64>,
    /// What bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<&'static str>,
    /// What is kept for everything else.
    pub reserve_mib: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SlotsView {
    /// Free ones.
    pub legs: usize,
    pub rooms: usize,
}

/// Microseconds of one core in each 20 ms tick.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CalibrationView {
    /// `measured`, `file` or `assumed`.
    pub source: &'static str,
    pub leg_micros: BTreeMap<&'static str, f64>,
    pub stream_micros: BTreeMap<&'static str, f64>,
    pub socket_micros: f64,
    pub srtp_micros: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DegradationView {
    pub level: u8,
    /// What has given way, in the order in which it did.
    pub given_up: &'static [&'static str],
}

/// How long a count of open descriptors stands: to count them is to list a directory.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// How many descriptors were open when they were counted last.
#[derive(Debug, Default)]
pub(super) struct OpenFds(Mutex<Option<(Instant, usize)>>);

impl OpenFds {
    fn count(&self, now: Instant, counted: impl FnOnce() -> usize) -> usize {
        let mut last = locked(&self.0);
        match *last {
            Some((at, open)) if now.saturating_duration_since(at) < COUNTED_FOR => open,
            _ => {
                let open = counted();
                *last = Some((now, open));
                open
            }
        }
    }
}

impl Service {
    pub fn capacity(&self) -> CapacityView {
        let inner = &self.inner;
        let ports = inner.ports.unused();
        let memory = inner.memory.figures();
        let open = inner.open_fds.count(Instant::now(), process::open_fds);
        let (account, mut view) = {
            let state = inner.state();
            let account = state.account.outline();
            let limits = account.limits();
            let engines = state.engines.iter().enumerate().map(|(engine, entry)| {
                let used = account.used(engine);
                EngineView {
                    engine,
                    legs: entry.legs.taken(),
                    rooms: entry.rooms.taken(),
                    account_percent: tenths(used.account),
                    measured_percent: tenths(used.measured),
                    used_percent: tenths(used.used),
                    limit_percent: limits.percent,
                }
            });
            let used: f64 = (0..limits.engines).map(|engine| account.used(engine).used).sum();
            let view = CapacityView {
                draining: state.is_draining,
                legs: state.legs.len(),
                rooms: state.rooms.len(),
                left: Vec::new(),
                engines: engines.collect(),
                machine: MachineView {
                    cores: limits.cores,
                    used_percent: tenths(used),
                    limit_percent: limits.percent * limits.cores as u64,
                },
                ports: PortsView {
                    free: ports.free,
                    resting: ports.resting,
                },
                file_descriptors: FileDescriptorsView {
                    open,
                    for_legs: inner.fds_for_legs,
                    limit: process::fd_limit(),
                },
                memory: MemoryView {
                    free_mib: memory.free.map(|(bytes, _)| mib(bytes)),
                    bound: memory.free.map(|(_, bound)| bound.name()),
                    reserve_mib: mib(memory.reserve),
                },
                slots: SlotsView {
                    legs: state.engines.iter().map(|engine| engine.legs.free()).sum(),
                    rooms: state.engines.iter().map(|engine| engine.rooms.free()).sum(),
                },
                calibration: self.calibration(),
                degradation: DegradationView {
                    level: inner.overload.level(),
                    given_up: inner.overload.given_up(),
                },
            };
            (account, view)
        };
        let by_fds = inner.fds_for_legs.saturating_sub(open as u64) as usize / 2;
        let (most, binds) = [
            (view.ports.free, Why::Ports.what()),
            (by_fds, Why::FileDescriptors.what()),
            (view.slots.legs, Why::Full(Full::Slots).what()),
        ]
        .into_iter()
        .min_by_key(|(legs, _)| *legs)
        .unwrap_or_default();
        view.left = Kind::ALL
            .into_iter()
            .map(|kind| {
                let leg = LegLoad {
                    encoding: kind.encoding(inner.config.opus.complexity),
                    encrypted: false,
                };
                let by_memory = inner.memory.times(Need::of_leg(kind));
                let by_memory = by_memory.map(|legs| (legs as usize, Why::Memory.what()));
                let (most, binds) = by_memory
                    .filter(|(legs, _)| *legs < most)
                    .unwrap_or((most, binds));
                let (legs, full) = account.left(leg, ROOM_SIZE, most);
                LeftView {
                    codec: kind.name(),
                    legs,
                    binds: full.map_or(binds, |full| Why::Full(full).what()),
                }
            })
            .collect();
        view
    }

    fn calibration(&self) -> CalibrationView {
        let calibration = &self.inner.calibration;
        let micros = |nanos: u64| tenths(nanos as f64 / 1e3);
        let by_kind = |nanos: &[u64; Kind::COUNT]| {
            let named = Kind::ALL.iter().zip(nanos);
            named.map(|(kind, nanos)| (kind.name(), micros(*nanos))).collect()
        };
        CalibrationView {
            source: calibration.source,
            leg_micros: by_kind(&calibration.costs.leg),
            stream_micros: by_kind(&calibration.costs.encode),
            socket_micros: micros(calibration.costs.socket),
            srtp_micros: micros(calibration.costs.srtp),
        }
    }
}

fn mib(bytes: u64) -> f64 {
    tenths(bytes as f64 / f64::from(1 << 20))
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_counted_once_a_second_at_most() {
        let open = OpenFds::default();
        let start = Instant::now();
        assert_eq!(open.count(start, || 7), 7);
        let soon = start + COUNTED_FOR / 2;
        assert_eq!(open.count(soon, || panic!("counted again")), 7);
        assert_eq!(open.count(start + COUNTED_FOR, || 8), 8);
    }
}
