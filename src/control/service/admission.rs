//! Whether there is room for a leg, asked before anything is made for it and again when it takes its seat; and how often
//! there was none, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Inner;
use crate::control::admission::{Asker, Full, Need, Used};
use crate::control::negotiation::Negotiation;
use crate::control::refusal::Refusal;
use crate::control::requests::CreateLeg;
use crate::control::state::State;
use crate::driver::ports::PortsError;

/// Discard (RFC 863): stands for a leg's port as long as it has none.
const NO_PORT_YET: u16 = 9;

/// When it is worth asking again, in seconds: somebody hangs up at any time, a drain takes longer.
const RETRY_S: u32 = 5;
const RETRY_ELSEWHERE_S: u32 = 30;

/// Why a leg is not let in, or a recording not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Full(Full),
    Memory,
    Threads,
    Ports,
    FileDescriptors,
    Sockets,
    Draining,
    Stopping,
}

impl Why {
    const ALL: [Why; 11] = [
        Why::Full(Full::Engine),
        Why::Full(Full::Phase),
        Why::Full(Full::Machine),
        Why::Full(Full::Slots),
        Why::Memory,
        Why::Threads,
        Why::Ports,
        Why::FileDescriptors,
        Why::Sockets,
        Why::Draining,
        Why::Stopping,
    ];

    /// The label of its counter.
    const fn reason(self) -> &'static str {
        match self {
            Why::Full(Full::Engine) => "cpu_of_engine",
            Why::Full(Full::Phase) => "cpu_of_phase",
            Why::Full(Full::Machine) => "cpu_of_machine",
            Why::Full(Full::Slots) => "slots",
            Why::Memory => "memory",
            Why::Threads => "threads",
            Why::Ports => "ports",
            Why::FileDescriptors => "file_descriptors",
            Why::Sockets => "sockets",
            Why::Draining => "draining",
            Why::Stopping => "stopping",
        }
    }

    /// What there is no room in.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Why::Full(Full::Engine) => "CPU of the media engines",
            Why::Full(Full::Phase) => "CPU of the media engines, within a conference's part of the tick",
            Why::Full(Full::Machine) => "CPU of the machine",
            Why::Full(Full::Slots) => "slots",
            Why::Memory => "memory",
            Why::Threads => "threads",
            Why::Ports => "ports",
            Why::FileDescriptors => "file descriptors",
            Why::Sockets => "sockets",
            Why::Draining => "draining",
            Why::Stopping => "stopping",
        }
    }

    fn refusal(self) -> Refusal {
        let sentence = match self {
            Why::Full(Full::Slots) => "No media engine has a free slot for this leg.".to_owned(),
            Why::Full(_) => format!(
                "No room for another leg: {}. One more would make those there are miss their time.",
                self.what()
            ),
            Why::Memory => "No memory for it: what is left is kept for those who are there.".to_owned(),
            Why::Threads => "No thread can be had to do it.".to_owned(),
            Why::Ports => format!("No port for another leg: {}.", PortsError::NoFreePort),
            Why::FileDescriptors => format!("No port for another leg: {}.", PortsError::NoFileDescriptor),
            Why::Sockets => "A media socket could not be made.".to_owned(),
            Why::Draining => "The daemon is draining and makes no rooms.".to_owned(),
            Why::Stopping => "The daemon is stopping.".to_owned(),
        };
        let retry_after_s = match self {
            Why::Draining | Why::Stopping => RETRY_ELSEWHERE_S,
            _ => RETRY_S,
        };
        Refusal::unavailable(sentence, retry_after_s)
    }
}

/// How often a leg was turned away, or something that costs more in a room, by reason.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    counts: [AtomicU64; Why::ALL.len()],
}

/// For metrics.
#[derive(Debug, Clone, Default)]
pub struct AdmissionFigures {
    /// By reason.
    pub refused: Vec<(&'static str, u64)>,
    /// By engine, in percent of a core.
    pub engines: Vec<Used>,
    pub limit_percent: u64,
    /// How many things have given way, and how often one did.
    pub level: u8,
    pub degradations: u64,
    /// Changes of who talks that were not told.
    pub untold: u64,
    /// Bytes that legs and recordings may still take; `None`: nothing is known to bound them.
    pub memory_free: Option<u64>,
    pub memory_reserve: u64,
}

impl Inner {
    /// Counts a leg that is not let in, and says why.
    pub(super) fn turn_away(&self, why: Why) -> Refusal {
        self.count(why);
        why.refusal()
    }

    /// Counts a change of a room, or a recording of it, that would cost more than there is.
    pub(super) fn turn_down(&self, full: Full) -> Refusal {
        let why = Why::Full(full);
        self.count(why);
        let sentence = format!(
            "No room for what this costs: {}. The legs that are there would miss their time.",
            why.what()
        );
        Refusal::unavailable(sentence, RETRY_S)
    }

    fn count(&self, why: Why) {
        let index = Why::ALL.iter().position(|one| *one == why);
        if let Some(count) = index.and_then(|index| self.turned_away.counts.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn no_port(&self, error: PortsError) -> Refusal {
        match error {
            PortsError::NoAddress(_) => Refusal::bad(format!("`sdp`: {error}.")),
            PortsError::NoFreePort => self.turn_away(Why::Ports),
            PortsError::NoFileDescriptor => self.turn_away(Why::FileDescriptors),
            PortsError::Io(error) => {
                tracing::error!(%error, "a media socket could not be made");
                self.turn_away(Why::Sockets)
            }
        }
    }

    /// Refuses a leg that there is no room for, at the price of reading its offer. What is true now may not be when it
    /// takes its seat, where it is asked again.
    pub(super) fn has_room_for(&self, request: &CreateLeg) -> Result<(), Refusal> {
        let (_, address) = Negotiation::family(request, &self.config)?;
        let (negotiation, _) = Negotiation::begin(request, &self.config, address, NO_PORT_YET)?;
        let load = negotiation.load(&self.calibration.costs);
        let (found, legs) = {
            let state = self.state();
            let found = match state.rooms.get(&request.conference) {
                Some(room) if !state.engines[room.engine].legs.has_free() => Err(Full::Slots),
                Some(room) => {
                    let at = (room.engine, room.phase);
                    state.account.fits(&request.conference, at, load, None)
                }
                None => state.place_for_room(load, None).map(drop),
            };
            (found, state.legs.len())
        };
        found.map_err(|full| self.turn_away(Why::Full(full)))?;
        self.has_memory_for(Need::of_leg(load.kind()), Asker::Newcomer, legs)
    }

    /// Promises memory, or refuses what needs it.
    pub(super) fn has_memory_for(&self, need: Need, asker: Asker, legs: usize) -> Result<(), Refusal> {
        let taken = self.memory.take(need, asker, legs);
        taken.map_err(|_| self.turn_away(Why::Memory))
    }

    pub(super) fn admission_figures(&self, state: &State) -> AdmissionFigures {
        let limits = state.account.limits();
        let memory = self.memory.figures();
        let refused = Why::ALL.iter().zip(&self.turned_away.counts);
        AdmissionFigures {
            refused: refused
                .map(|(why, count)| (why.reason(), count.load(Ordering::Relaxed)))
                .collect(),
            engines: (0..limits.engines)
                .map(|engine| state.account.used(engine))
                .collect(),
            limit_percent: limits.percent,
            level: self.overload.level(),
            degradations: self.overload.degradations(),
            untold: self.overload.untold(),
            memory_free: memory.free.map(|(bytes, _)| bytes),
            memory_reserve: memory.reserve,
        }
    }
}
