//! What every engine has been promised, and whether it can be promised more.
//!
//! ```text
//! phase of the tick   0         1         2         3         0
//!                     |■■■■■····|■■·······|         |■········|        ■ what its rooms cost
//!                      └─ 5 ms ─┘└───── 10 ms ─────┘
//! ```
//!
//! Pure: no clock, no thread, nothing but sums. A leg is in it from when it is counted into a room to when it is counted
//! out. An engine is full when its rooms take more than the allowed share of a tick, or those of a phase more than that
//! share of the time to the next phase that has rooms: that one would begin late. All engines together are bounded by
//! the cores there are.
//!
//! What an engine is measured to use corrects its account: where its legs cost more than was thought, by that factor.

use std::collections::BTreeMap;

use super::cost::{Costs, LegLoad, RoomLoad, RoomTerms};
use crate::control::ids::{CallId, ConferenceId};
use crate::time::{PHASES, TICK};

const TICK_NANOS: u64 = TICK.as_nanos() as u64;
const PHASE_NANOS: u64 = TICK_NANOS / PHASES as u64;

/// Below this share of what an engine may use, in percent, its account is not corrected: what an idle thread takes would
/// be put down to the few legs there are.
const CORRECTED_FROM_PERCENT: f64 = 5.0;

/// No leg is believed to cost more than so many times what was thought.
const CORRECTION_MAX: f64 = 4.0;

/// What is measured beyond that is none of the legs': a flood of packets, say. It counts from this share of a core on, in
/// percent, and is not got rid of by legs that leave.
const UNEXPLAINED_FROM_PERCENT: f64 = 10.0;

/// As long as no phase takes more than this share of its time, rooms are spread evenly.
const AT_EASE: f64 = 0.2;

/// Of the difference to the last second, in each second.
const SMOOTHING: f64 = 0.25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub engines: usize,
    pub cores: usize,
    /// Of a core for an engine, and of each core for all engines together.
    pub percent: u64,
}

/// What has no room for a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Engine,
    Phase,
    Machine,
    /// Nowhere a slot.
    Slots,
}

#[derive(Debug, Clone)]
pub struct Account {
    costs: Costs,
    limits: Limits,
    engines: Vec<EngineAccount>,
    rooms: BTreeMap<ConferenceId, RoomAccount>,
}

#[derive(Debug, Clone, Default)]
struct EngineAccount {
    phases: [PhaseAccount; PHASES],
    /// Smoothed, in nanoseconds a tick: what was measured, and what stood in the account then.
    measured: f64,
    promised: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PhaseAccount {
    nanos: u64,
    rooms: usize,
}

#[derive(Debug, Clone)]
struct RoomAccount {
    engine: usize,
    phase: usize,
    load: RoomLoad,
    nanos: u64,
    members: BTreeMap<CallId, LegLoad>,
}

/// What an engine has, in percent of a core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// What its legs should cost.
    pub account: f64,
    /// What its thread was seen to take.
    pub measured: f64,
    /// What counts: the account, corrected.
    pub used: f64,
}

impl Account {
    pub fn new(costs: Costs, limits: Limits) -> Account {
        Account {
            costs,
            engines: vec![EngineAccount::default(); limits.engines],
            limits,
            rooms: BTreeMap::new(),
        }
    }

    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The engine with the least to do that has room for a leg in a room of its own, and its quietest phase; where a room
    /// has grown large, one that leaves it time. `from` is where the leg sits now; `has_slots` says which engines come into question.
    pub fn place(
        &self,
        leg: LegLoad,
        from: Option<(&ConferenceId, &CallId)>,
        has_slots: impl Fn(usize) -> bool,
    ) -> Result<(usize, usize), Full> {
        let mut alone = RoomLoad::default();
        alone.add(leg);
        let nanos = alone.cost(&self.costs);
        let mut best: Option<((f64, f64, u64), usize, usize)> = None;
        let mut full = Full::Slots;
        for engine in (0..self.engines.len()).filter(|engine| has_slots(*engine)) {
            let before = self.phases_without(engine, from);
            for phase in 0..PHASES {
                let mut after = before;
                after[phase].nanos += nanos;
                after[phase].rooms += 1;
                match self.holds(engine, &after) {
                    Ok(()) => {
                        let nanos = before.iter().map(|phase| phase.nanos).sum();
                        let used = self.corrected(engine, nanos) + self.unexplained(engine);
                        let this = (used, tightness(&after).max(AT_EASE), before[phase].nanos);
                        if best.is_none_or(|(least, ..)| this < least) {
                            best = Some((this, engine, phase));
                        }
                    }
                    Err(reason) => full = reason,
                }
            }
        }
        best.map(|(_, engine, phase)| (engine, phase)).ok_or(full)
    }

    /// Whether the room there, on this engine in this phase, can take a leg that comes from outside, or from another room.
    pub fn fits(
        &self,
        room: &ConferenceId,
        at: (usize, usize),
        leg: LegLoad,
        from: Option<(&ConferenceId, &CallId)>,
    ) -> Result<(), Full> {
        let (engine, phase) = at;
        let mut phases = self.phases_without(engine, from);
        let (mut load, before) = match self.rooms.get(room) {
            Some(room) => (room.load.clone(), room.nanos),
            None => (RoomLoad::default(), 0),
        };
        load.add(leg);
        phases[phase].nanos += load.cost(&self.costs).saturating_sub(before);
        phases[phase].rooms = phases[phase].rooms.max(1);
        self.holds(engine, &phases)
    }

    /// Counts a leg into a room, which is made where it is not there. On its way from a room of the same engine it counts
    /// once, from a room of another engine twice, until it is counted out there.
    pub fn enter(
        &mut self,
        conference: &ConferenceId,
        at: (usize, usize),
        call: &CallId,
        leg: LegLoad,
        from: Option<&ConferenceId>,
    ) {
        let (engine, phase) = at;
        if let Some(from) = from.filter(|from| *from != conference)
            && self.rooms.get(from).is_some_and(|room| room.engine == engine)
        {
            self.exit(from, call);
        }
        let room = self.rooms.entry(conference.clone()).or_insert_with(|| {
            self.engines[engine].phases[phase].rooms += 1;
            RoomAccount {
                engine,
                phase,
                load: RoomLoad::default(),
                nanos: 0,
                members: BTreeMap::new(),
            }
        });
        if let Some(known) = room.members.insert(call.clone(), leg) {
            room.load.remove(&known);
        }
        room.load.add(leg);
        self.settle(conference);
    }

    /// Counts a leg out of a room, where it was counted in. The last takes the room with it.
    pub fn exit(&mut self, conference: &ConferenceId, call: &CallId) {
        let Some(room) = self.rooms.get_mut(conference) else {
            return;
        };
        if let Some(leg) = room.members.remove(call) {
            room.load.remove(&leg);
        }
        self.settle(conference);
    }

    /// A leg has come to ask for something else, in whichever rooms it is counted: never refused.
    pub fn change_leg(&mut self, conference: &ConferenceId, call: &CallId, leg: LegLoad) {
        let Some(room) = self.rooms.get_mut(conference) else {
            return;
        };
        if let Some(known) = room.members.get_mut(call) {
            let before = std::mem::replace(known, leg);
            room.load.remove(&before);
            room.load.add(leg);
            self.settle(conference);
        }
    }

    /// Whether the engine of a room could keep its time with other settings of it. Those that cost no more are always
    /// held.
    pub fn fits_terms(&self, conference: &ConferenceId, terms: RoomTerms) -> Result<(), Full> {
        let Some(room) = self.rooms.get(conference) else {
            return Ok(());
        };
        let mut load = room.load.clone();
        load.terms = terms;
        let nanos = load.cost(&self.costs);
        if nanos <= room.nanos {
            return Ok(());
        }
        let mut phases = self.engines[room.engine].phases;
        phases[room.phase].nanos += nanos - room.nanos;
        self.holds(room.engine, &phases)
    }

    /// Settings of a room have changed: never refused here.
    pub fn change_room(&mut self, conference: &ConferenceId, terms: RoomTerms) {
        if let Some(room) = self.rooms.get_mut(conference)
            && room.load.terms != terms
        {
            room.load.terms = terms;
            self.settle(conference);
        }
    }

    /// Brings the sums up to date with one room.
    fn settle(&mut self, conference: &ConferenceId) {
        let Some(room) = self.rooms.get_mut(conference) else {
            return;
        };
        let phase = &mut self.engines[room.engine].phases[room.phase];
        let nanos = room.load.cost(&self.costs);
        phase.nanos = phase.nanos - room.nanos + nanos;
        room.nanos = nanos;
        if room.members.is_empty() {
            phase.rooms -= 1;
            self.rooms.remove(conference);
        }
    }

    /// Told once a second what share of a core an engine's thread has used since the last time, 0 to 1.
    pub fn measured(&mut self, engine: usize, share: f64) {
        let Some(account) = self.engines.get_mut(engine) else {
            return;
        };
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let promised = account.nanos() as f64;
        account.measured += SMOOTHING * (share * TICK_NANOS as f64 - account.measured);
        account.promised += SMOOTHING * (promised - account.promised);
    }

    /// How many times what was thought the legs of an engine cost: one, or more.
    pub fn correction(&self, engine: usize) -> f64 {
        let EngineAccount {
            measured, promised, ..
        } = self.engines[engine];
        let budget = TICK_NANOS as f64 * self.limits.percent as f64 / 100.0;
        if promised < budget * CORRECTED_FROM_PERCENT / 100.0 {
            return 1.0;
        }
        (measured / promised).clamp(1.0, CORRECTION_MAX)
    }

    pub fn used(&self, engine: usize) -> Used {
        let account = &self.engines[engine];
        let nanos = account.nanos();
        let percent = |nanos: f64| nanos * 100.0 / TICK_NANOS as f64;
        Used {
            account: percent(nanos as f64),
            measured: percent(account.measured),
            used: percent(self.corrected(engine, nanos) + self.unexplained(engine)),
        }
    }

    /// Nanoseconds a tick that an engine takes and that its legs do not account for.
    fn unexplained(&self, engine: usize) -> f64 {
        let EngineAccount {
            measured, promised, ..
        } = self.engines[engine];
        let nanos = measured - CORRECTION_MAX * promised;
        let counts = nanos > TICK_NANOS as f64 * UNEXPLAINED_FROM_PERCENT / 100.0;
        if counts { nanos } else { 0.0 }
    }

    fn corrected(&self, engine: usize, nanos: u64) -> f64 {
        nanos as f64 * self.correction(engine)
    }

    /// The phases of an engine as they would be without a leg that sits in one of its rooms.
    fn phases_without(
        &self,
        engine: usize,
        from: Option<(&ConferenceId, &CallId)>,
    ) -> [PhaseAccount; PHASES] {
        let mut phases = self.engines[engine].phases;
        let Some((room, call)) = from else { return phases };
        let Some(room) = self.rooms.get(room).filter(|room| room.engine == engine) else {
            return phases;
        };
        if let Some(leg) = room.members.get(call) {
            let mut load = room.load.clone();
            load.remove(leg);
            phases[room.phase].nanos -= room.nanos - load.cost(&self.costs).min(room.nanos);
            if load.is_empty() {
                phases[room.phase].rooms -= 1;
            }
        }
        phases
    }

    /// Whether an engine could keep its time with these phases.
    fn holds(&self, engine: usize, phases: &[PhaseAccount; PHASES]) -> Result<(), Full> {
        let share = self.limits.percent as f64 / 100.0;
        let sum = |phases: &[PhaseAccount; PHASES]| phases.iter().map(|phase| phase.nanos).sum::<u64>();
        let used = self.corrected(engine, sum(phases)) + self.unexplained(engine);
        if used > TICK_NANOS as f64 * share {
            return Err(Full::Engine);
        }
        for (index, phase) in phases.iter().enumerate() {
            let time = PHASE_NANOS * gap_after(phases, index) as u64;
            if self.corrected(engine, phase.nanos) > time as f64 * share {
                return Err(Full::Phase);
            }
        }
        let others = (0..self.engines.len()).filter(|other| *other != engine);
        let others: f64 = others
            .map(|other| self.corrected(other, sum(&self.engines[other].phases)) + self.unexplained(other))
            .sum();
        let cores = self.limits.cores.max(1) as f64;
        if used + others > TICK_NANOS as f64 * share * cores {
            return Err(Full::Machine);
        }
        Ok(())
    }

    /// The sums without those that they are of: enough to ask what is left.
    pub fn outline(&self) -> Account {
        Account {
            costs: self.costs.clone(),
            limits: self.limits,
            engines: self.engines.clone(),
            rooms: BTreeMap::new(),
        }
    }

    /// How many more legs of a kind there is room for, in rooms of `room_size`, at most `max`; and what then binds, where
    /// that is not `max`.
    pub fn left(&self, leg: LegLoad, room_size: usize, max: usize) -> (usize, Option<Full>) {
        let mut imagined = self.outline();
        let mut whole = RoomLoad::default();
        (0..room_size.max(1)).for_each(|_| whole.add(leg));
        let nanos = whole.cost(&self.costs);
        let mut legs = 0;
        // Room by room, and at last leg by leg.
        for (step, nanos) in [(room_size.max(1), nanos), (1, nanos / room_size.max(1) as u64)] {
            while legs + step <= max {
                match imagined.imagine(nanos) {
                    Ok(()) => legs += step,
                    Err(full) if step == 1 => return (legs, Some(full)),
                    Err(_) => break,
                }
            }
        }
        (legs, None)
    }

    /// Puts something that costs so much where there is room for it.
    fn imagine(&mut self, nanos: u64) -> Result<(), Full> {
        let mut order: Vec<usize> = (0..self.engines.len()).collect();
        let used = |engine: &usize| self.corrected(*engine, self.engines[*engine].nanos());
        order.sort_by(|one, other| used(one).total_cmp(&used(other)));
        let mut full = Full::Slots;
        for engine in order {
            let before = self.engines[engine].phases;
            let with = |phase: usize| {
                let mut after = before;
                after[phase].nanos += nanos;
                after[phase].rooms = after[phase].rooms.max(1);
                after
            };
            let fitting = (0..PHASES).filter(|phase| {
                self.holds(engine, &with(*phase))
                    .inspect_err(|reason| full = *reason)
                    .is_ok()
            });
            let loosest =
                fitting.min_by(|one, other| tightness(&with(*one)).total_cmp(&tightness(&with(*other))));
            if let Some(phase) = loosest {
                self.engines[engine].phases = with(phase);
                return Ok(());
            }
        }
        Err(full)
    }
}

impl EngineAccount {
    fn nanos(&self) -> u64 {
        self.phases.iter().map(|phase| phase.nanos).sum()
    }
}

/// How many phases it is from this one to the next that has rooms: all of them where no other has any.
fn gap_after(phases: &[PhaseAccount; PHASES], index: usize) -> usize {
    (1..PHASES)
        .find(|step| phases[(index + step) % PHASES].rooms > 0)
        .unwrap_or(PHASES)
}

/// The largest share of its time that any phase takes.
fn tightness(phases: &[PhaseAccount; PHASES]) -> f64 {
    let share = |(index, phase): (usize, &PhaseAccount)| {
        phase.nanos as f64 / (PHASE_NANOS * gap_after(phases, index) as u64) as f64
    };
    phases.iter().enumerate().map(share).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
