//! What the service knows: which leg and which room sits in which slot of which engine, and what was asked of them.
//!
//! Plain data behind one lock. The invariants: a slot is taken as long as its engine may still speak of it; a room is
//! here exactly as long as it has a member; a member is a leg that sits in the room, or is on its way in or out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::control::admission::{Account, Full, LegLoad, RoomTerms};
use crate::control::deeds::Deeds;
use crate::control::digits::PendingDigits;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::negotiation::Negotiation;
use crate::control::requests::CreateLeg;
use crate::control::service::Rounds;
use crate::driver;
use crate::dsp::Music;
use crate::frame::Rate;
use crate::id::{LegId, RecordingSlot, RoomId, TrackNumber};
use crate::leg::LegSettings;

pub struct State {
    pub legs: BTreeMap<CallId, LegEntry>,
    pub rooms: BTreeMap<ConferenceId, RoomEntry>,
    /// Legs of which what they are sent is recorded.
    recorded_legs: BTreeSet<CallId>,
    pub engines: Vec<EngineEntry>,
    /// What the legs in the rooms cost their engines.
    pub account: Account,
    /// No room is made any more.
    pub is_draining: bool,
    /// No leg comes into any room any more.
    pub is_stopping: bool,
    /// Whose report is due.
    pub reports: Rounds,
}

pub struct LegEntry {
    /// As it was asked for: the same request again means this leg.
    pub request: CreateLeg,
    pub place: Place,
    pub settings: LegSettings,
    /// Gain as it was asked for; the settings hold it as a factor.
    pub gain_db: f64,
    pub negotiation: Negotiation,
    /// The bound address of its RTP socket.
    pub local: SocketAddr,
    /// Of what it says, in the recordings of rooms.
    pub track: TrackNumber,
    pub created: SystemTime,
    /// Since when it is in its room.
    pub since: Instant,
    pub is_contributing: bool,
    /// As it was told last.
    pub is_told_contributing: bool,
    /// It was when it came into its present room.
    pub was_muted: bool,
    pub was_held: bool,
    /// The engine has mixed it in its present room.
    pub has_joined: bool,
    /// What happened to it before that, to be told after.
    pub untold: Vec<(&'static str, Map<String, Value>)>,
    pub motion: Option<Motion>,
    /// Woken when the motion is over.
    pub waiting: Vec<oneshot::Sender<()>>,
    /// Of what it is sent.
    pub recording: Option<RunningRecording>,
    /// Recordings of what it is or was sent that are not settled: their events name the room where it is.
    pub unsettled_recordings: BTreeSet<String>,
    /// The recordings that were told last that it is muted.
    pub muted_in: BTreeSet<RecordingSlot>,
    /// Those that it was to be sent.
    pub pending_digits: PendingDigits,
    /// Whose deeds they are that it is muted, deaf or held.
    pub deeds: Deeds,
    pub ends_on_media_timeout: bool,
}

/// Where a leg sits, or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub conference: ConferenceId,
    pub engine: usize,
    pub slot: LegId,
}

/// Why an engine was told to let a leg go.
pub enum Motion {
    Leaving {
        reason: &'static str,
    },
    Moving {
        to: Place,
        /// Why it has to leave again as soon as it is there.
        then: Option<&'static str>,
    },
}

pub struct RoomEntry {
    pub engine: usize,
    pub slot: RoomId,
    pub phase: usize,
    /// A leg with which it begins has come; until then all who are here wait.
    pub has_begun: bool,
    /// All who are here have been let go: nobody comes in any more, and those who want to wait for another room of the
    /// name.
    pub is_ending: bool,
    /// Woken when it has ended.
    pub waiting: Vec<oneshot::Sender<()>>,
    /// In the order of coming.
    pub members: Vec<CallId>,
    pub since: SystemTime,
    pub is_locked: bool,
    pub participants_max: Option<u64>,
    pub music: Option<Music>,
    pub max_delay: Option<std::time::Duration>,
    pub sample_rate: Option<Rate>,
    pub activity_detection: bool,
    pub talkers_max: Option<u16>,
    /// It hears fewer talkers than it was set to, while engines cannot keep their time.
    pub is_lowered: bool,
    pub recording: Option<RunningRecording>,
}

/// A recording that runs: of a room, or of what a leg is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningRecording {
    pub id: String,
    pub slot: RecordingSlot,
    /// With a track of each leg.
    pub legs: bool,
}

pub struct EngineEntry {
    pub legs: Slots<CallId>,
    pub rooms: Slots<ConferenceId>,
    /// Commands that must not be lost and found the queue full; at most a few for each leg and room.
    pub outbox: VecDeque<driver::Command>,
}

impl State {
    /// With slots for so many legs and rooms on each engine of the account.
    pub fn new(account: Account, legs: usize, rooms: usize) -> State {
        let engine = |_| EngineEntry {
            legs: Slots::new(legs),
            rooms: Slots::new(rooms),
            outbox: VecDeque::new(),
        };
        State {
            legs: BTreeMap::new(),
            rooms: BTreeMap::new(),
            recorded_legs: BTreeSet::new(),
            engines: (0..account.limits().engines).map(engine).collect(),
            account,
            is_draining: false,
            is_stopping: false,
            reports: Rounds::default(),
        }
    }

    /// The engine and the phase for a new room with this leg, which comes from outside or from another room.
    pub fn place_for_room(
        &self,
        leg: LegLoad,
        from: Option<(&ConferenceId, &CallId)>,
    ) -> Result<(usize, usize), Full> {
        // On the engine where it sits a leg keeps its slot.
        let kept = from.and_then(|(_, call)| Some(self.legs.get(call)?.place.engine));
        let has_slots = |engine: usize| {
            let slots = &self.engines[engine];
            (slots.legs.has_free() || kept == Some(engine)) && slots.rooms.has_free()
        };
        self.account.place(leg, from, has_slots)
    }

    /// Counts a leg into a room, which then stays until it is counted out.
    pub fn enter(
        &mut self,
        conference: &ConferenceId,
        call: CallId,
        leg: LegLoad,
        from: Option<&ConferenceId>,
    ) {
        if let Some(room) = self.rooms.get_mut(conference) {
            let at = (room.engine, room.phase);
            self.account.enter(conference, at, &call, leg, from);
            room.members.push(call);
        }
    }

    /// Takes the settings of a room into the account.
    pub fn account_for_room(&mut self, conference: &ConferenceId) {
        if let Some(room) = self.rooms.get(conference) {
            self.account.change_room(conference, room.terms());
        }
    }

    /// The same for all rooms.
    pub fn account_for_rooms(&mut self) {
        for (conference, room) in &self.rooms {
            self.account.change_room(conference, room.terms());
        }
    }

    /// Counts a leg out of a room; gives the room when that was its last.
    pub fn exit(&mut self, conference: &ConferenceId, call: &CallId) -> Option<RoomEntry> {
        let room = self.rooms.get_mut(conference)?;
        self.account.exit(conference, call);
        if let Some(index) = room.members.iter().position(|member| member == call) {
            room.members.remove(index);
        }
        match room.members.is_empty() {
            true => self.rooms.remove(conference),
            false => None,
        }
    }

    /// A leg sits down in the room, which begins with it or not.
    pub fn begin(&mut self, conference: &ConferenceId, starts: bool) {
        if let Some(room) = self.rooms.get_mut(conference) {
            room.has_begun |= starts;
        }
    }

    /// Whether who sits in the room waits there for it to begin.
    pub fn waits_in(&self, conference: &ConferenceId) -> bool {
        self.rooms.get(conference).is_some_and(|room| !room.has_begun)
    }

    pub fn leg_at(&self, engine: usize, slot: LegId) -> Option<CallId> {
        self.engines[engine].legs.occupant(slot.0).cloned()
    }

    /// What the leg is sent goes to this recording from now on.
    pub fn record_leg(&mut self, call: &CallId, recording: RunningRecording) {
        if let Some(leg) = self.legs.get_mut(call) {
            leg.unsettled_recordings.insert(recording.id.clone());
            leg.recording = Some(recording);
            self.recorded_legs.insert(call.clone());
        }
    }

    /// Takes the recording from the leg, if it is one such.
    pub fn unrecord_leg(
        &mut self,
        call: &CallId,
        is_meant: impl FnOnce(&RunningRecording) -> bool,
    ) -> Option<RunningRecording> {
        let leg = self.legs.get_mut(call)?;
        let recording = leg.recording.take_if(|recording| is_meant(recording))?;
        self.recorded_legs.remove(call);
        Some(recording)
    }

    /// Takes the recording from the room, if it is one such, and what it cost from the account; false where it is not.
    pub fn unrecord_room(
        &mut self,
        conference: &ConferenceId,
        is_meant: impl FnOnce(&RunningRecording) -> bool,
    ) -> bool {
        let Some(room) = self.rooms.get_mut(conference) else {
            return false;
        };
        let is_taken = room.recording.take_if(|recording| is_meant(recording)).is_some();
        if is_taken {
            self.account_for_room(conference);
        }
        is_taken
    }

    pub fn remove_leg(&mut self, call: &CallId) -> Option<LegEntry> {
        self.recorded_legs.remove(call);
        self.legs.remove(call)
    }

    /// The recordings in which what is said in the room is heard: its own, and those of what its legs are sent.
    pub fn recordings_in(&self, conference: &ConferenceId) -> Vec<RecordingSlot> {
        let room = self.rooms.get(conference);
        let of_room = room.and_then(|room| room.recording.as_ref());
        let legs = self.recorded_legs.iter().filter_map(|call| self.legs.get(call));
        let of_legs = legs
            .filter(|leg| leg.place.conference == *conference)
            .filter_map(|leg| leg.recording.as_ref());
        of_room
            .into_iter()
            .chain(of_legs)
            .map(|recording| recording.slot)
            .collect()
    }

    /// Who has joined the room and not left it.
    pub fn present_in(&self, conference: &ConferenceId) -> Vec<CallId> {
        let is_present = |call: &&CallId| {
            let leg = self.legs.get(*call);
            leg.is_some_and(|leg| leg.has_joined && leg.place.conference == *conference)
        };
        let room = self.rooms.get(conference);
        let members = room.iter().flat_map(|room| &room.members);
        members.filter(is_present).cloned().collect()
    }

    /// File descriptors that legs and recordings take, as far as they can be counted here.
    pub fn fds(&self) -> u64 {
        let rooms = self.rooms.values();
        let of_rooms = rooms.filter_map(|room| Some((room.recording.as_ref()?, room.members.len())));
        let recorded = of_rooms.map(|(recording, members)| fds_of_recording(recording.legs, members));
        let of_legs = self.recorded_legs.iter().map(|_| fds_of_recording(false, 0));
        let sockets = 2 * self.legs.len() as u64;
        sockets + recorded.sum::<u64>() + of_legs.sum::<u64>()
    }
}

/// What a recording takes: journal, sound, folders and the way to a store, and of each leg's track two files.
pub fn fds_of_recording(legs: bool, members: usize) -> u64 {
    4 + if legs { 2 * members as u64 } else { 0 }
}

impl RoomEntry {
    /// What changes its cost.
    pub fn terms(&self) -> RoomTerms {
        RoomTerms {
            talkers_max: self.talkers_max,
            activity_detection: self.activity_detection,
            recorded: self.recording.is_some(),
            tracks: self.recording.as_ref().is_some_and(|recording| recording.legs),
        }
    }
}

impl LegEntry {
    pub fn is_on_hold(&self) -> bool {
        self.settings.hold.is_some()
    }
}

/// Numbered places, each free or taken by somebody.
pub struct Slots<T> {
    occupants: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    fn new(count: usize) -> Slots<T> {
        Slots {
            occupants: (0..count).map(|_| None).collect(),
            free: (0..count as u32).rev().collect(),
        }
    }

    pub fn take(&mut self, occupant: T) -> Option<u32> {
        let slot = self.free.pop()?;
        self.occupants[slot as usize] = Some(occupant);
        Some(slot)
    }

    pub fn release(&mut self, slot: u32) {
        if self
            .occupants
            .get_mut(slot as usize)
            .and_then(Option::take)
            .is_some()
        {
            self.free.push(slot);
        }
    }

    pub fn occupant(&self, slot: u32) -> Option<&T> {
        self.occupants.get(slot as usize)?.as_ref()
    }

    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn taken(&self) -> usize {
        self.occupants.len() - self.free.len()
    }
}
