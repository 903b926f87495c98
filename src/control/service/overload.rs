//! Looks at the load of the engines each second: it corrects the account, and where engines cannot keep their time, makes
//! give way what may.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Map;

use super::{Inner, locked};
use crate::control::admission::ladder::STEPS;
use crate::control::admission::{Ladder, Strain};
use crate::control::ids::{CallId, ConferenceId};
use crate::control::state::State;
use crate::driver::{Beat, Command};
use crate::engine;
use crate::room::RoomChange;

/// How often.
pub(super) const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// From which level on each of them is in force.
const TALKING_UNTOLD: u8 = 1;
const REPORTS_STRETCHED: u8 = 2;
const OPUS_CHEAPER: u8 = 3;
const FEWER_TALKERS: u8 = 4;

/// So many times as long as usual between two reports of a leg.
const REPORT_STRETCH: u32 = 4;

/// Effort of the Opus encoder: a fifth of what 5 takes, and still no ruin.
const COMPLEXITY_LOW: u8 = 1;
const COMPLEXITY_HIGH: u8 = 10;

/// A room of so many legs is large; so many of them a second hear no more than so many talkers.
const LARGE: usize = 10;
const LOWERED_PER_LOOK: usize = 8;
const TALKERS_LOW: u16 = 3;

#[derive(Debug)]
pub(super) struct Overload {
    level: AtomicU8,
    degradations: AtomicU64,
    untold: AtomicU64,
    watch: Mutex<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    ladder: Ladder,
    /// Of each engine, when it was looked at last.
    beats: Vec<Beat>,
}

impl Overload {
    pub fn new(engines: usize) -> Overload {
        Overload {
            level: AtomicU8::new(0),
            degradations: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            watch: Mutex::new(Watch {
                beats: vec![Beat::default(); engines],
                ..Watch::default()
            }),
        }
    }

    pub fn level(&self) -> u8 {
        self.level.load(Ordering::Relaxed)
    }

    pub fn degradations(&self) -> u64 {
        self.degradations.load(Ordering::Relaxed)
    }

    pub fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Whether changes of who talks are told.
    pub fn talking_is_told(&self) -> bool {
        self.level() < TALKING_UNTOLD
    }

    /// How many times as long as usual it is between two reports of a leg.
    pub fn report_stretch(&self) -> u32 {
        if self.level() < REPORTS_STRETCHED {
            1
        } else {
            REPORT_STRETCH
        }
    }

    /// What has given way, in the order in which it did.
    pub fn given_up(&self) -> &'static [&'static str] {
        &STEPS[..usize::from(self.level()).min(STEPS.len())]
    }
}

impl Inner {
    /// `elapsed` since the last time.
    pub(super) fn look_at_load(&self, elapsed: Duration) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.account_for_rooms();
        let mut watch = locked(&self.overload.watch);
        let mut strains = Vec::with_capacity(watch.beats.len());
        for engine in 0..watch.beats.len() {
            let now = self.driver.beat(engine);
            let before = std::mem::replace(&mut watch.beats[engine], now);
            let strain = strain(&before, &now, elapsed);
            state.account.measured(engine, strain.cpu_percent / 100.0);
            strains.push(strain);
        }
        let level = watch.ladder.step(strains);
        self.set_level(state, level);
    }

    /// Makes everything so as it is at this level.
    pub(super) fn set_level(&self, state: &mut State, level: u8) {
        let before = self.overload.level.swap(level, Ordering::Relaxed);
        if level > before {
            self.overload.degradations.fetch_add(1, Ordering::Relaxed);
            let what = STEPS[usize::from(level) - 1];
            tracing::warn!(level, what, "engines cannot keep their time: something gives way");
        } else if level < before {
            tracing::info!(level, "engines keep their time: something comes back");
        }
        if before >= TALKING_UNTOLD && level < TALKING_UNTOLD {
            let changed: Vec<CallId> = state
                .legs
                .iter()
                .filter(|(_, leg)| leg.is_contributing != leg.is_told_contributing)
                .map(|(call, _)| call.clone())
                .collect();
            for call in changed {
                self.tell_of_talking(state, &call);
            }
        }
        if (before >= OPUS_CHEAPER) != (level >= OPUS_CHEAPER) {
            let max = match level >= OPUS_CHEAPER {
                true => COMPLEXITY_LOW,
                false => COMPLEXITY_HIGH,
            };
            for engine in 0..state.engines.len() {
                let limit = Command::Engine(engine::Command::LimitComplexity(max));
                self.send_surely(state, engine, limit);
            }
        }
        if level >= FEWER_TALKERS {
            self.lower_talkers(state);
        } else if before >= FEWER_TALKERS {
            let rooms = state.rooms.iter_mut();
            let lowered: Vec<ConferenceId> = rooms
                .filter_map(|(conference, room)| {
                    std::mem::take(&mut room.is_lowered).then(|| conference.clone())
                })
                .collect();
            for conference in lowered {
                self.set_talkers(state, &conference);
            }
        }
    }

    /// The largest rooms that do not yet hear fewer at once.
    fn lower_talkers(&self, state: &mut State) {
        let mut large: Vec<(usize, ConferenceId)> = state
            .rooms
            .iter()
            .filter(|(_, room)| room.members.len() >= LARGE && !room.is_lowered)
            .map(|(conference, room)| (room.members.len(), conference.clone()))
            .collect();
        large.sort_unstable_by(|one, other| other.cmp(one));
        for (_, conference) in large.into_iter().take(LOWERED_PER_LOOK) {
            if let Some(room) = state.rooms.get_mut(&conference) {
                room.is_lowered = true;
            }
            self.set_talkers(state, &conference);
        }
    }

    /// As many talkers as the room may hear.
    fn set_talkers(&self, state: &mut State, conference: &ConferenceId) {
        let Some(room) = state.rooms.get(conference) else {
            return;
        };
        let max = talkers_heard(room.talkers_max, room.is_lowered);
        let (engine, slot) = (room.engine, room.slot);
        let change = engine::Command::ChangeRoom {
            room: slot,
            change: RoomChange::TalkersMax(max),
        };
        self.send_surely(state, engine, Command::Engine(change));
    }

    /// Tells whether a leg talks now, unless that has given way.
    pub(super) fn tell_of_talking(&self, state: &mut State, call: &CallId) {
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        if !self.overload.talking_is_told() {
            self.overload.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        leg.is_told_contributing = leg.is_contributing;
        let fields = Map::from_iter([("on".to_owned(), leg.is_contributing.into())]);
        self.tell_once_joined(state, call, "leg.talking", fields);
    }
}

/// As many talkers as the room was set to, and few where it was lowered.
pub(super) fn talkers_heard(set: Option<u16>, is_lowered: bool) -> Option<u16> {
    let lowered = is_lowered.then_some(TALKERS_LOW);
    set.into_iter().chain(lowered).min()
}

pub(super) fn strain(before: &Beat, now: &Beat, elapsed: Duration) -> Strain {
    let percent = |part: f64, whole: f64| if whole > 0.0 { 100.0 * part / whole } else { 0.0 };
    let share = |time: Duration| percent(time.as_secs_f64(), elapsed.as_secs_f64());
    let phases = now.phases.saturating_sub(before.phases) as f64;
    Strain {
        cpu_percent: share(now.cpu.saturating_sub(before.cpu)),
        busy_percent: share(now.busy.saturating_sub(before.busy)),
        late_percent: percent(now.late.saturating_sub(before.late) as f64, phases),
    }
}
