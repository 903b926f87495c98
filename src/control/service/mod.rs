//! Decides everything that may be asked: legs, rooms, recordings, figures. HTTP (and later gRPC) only translate.
//!
//! ```text
//! request ─▶ its turn ─▶ decision under the lock ─▶ commands ─▶ engine ─▶ events ─▶ pump ─▶ state, waiters, log
//! ```
//!
//! Commands are queued under the same lock as the decision, so an engine sees decisions in their order. The lock is
//! never held across an await. A request either is done or leaves nothing behind: the first command of a group may be
//! refused by a full queue, the rest then waits in the outbox and cannot be lost.

mod admission;
mod attendance;
mod capacity;
mod digits;
mod explain;
mod figures;
mod legs;
mod memory;
mod overload;
mod pump;
mod recordings;
mod reports;
mod rooms;
mod settings;
mod subscriptions;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::{Notify, oneshot};

pub use admission::AdmissionFigures;
pub use figures::Figures;
pub use pump::pump;
pub use recordings::Started;
pub use reports::Rounds;
pub use subscriptions::Beginning;

use admission::TurnedAway;
use capacity::OpenFds;
use memory::Memory;
use overload::Overload;

use crate::config::{Config, Http};
use crate::control::admission::{Account, Calibration, Kind, Limits};
use crate::control::events::{self, EventLog};
use crate::control::ids::{CallId, ConferenceId};
use crate::control::news::RecordingNews;
use crate::control::process;
use crate::control::refusal::Refusal;
use crate::control::state::State;
use crate::control::store::{StoreError, object_store, recording_rules};
use crate::control::tally::Tally;
use crate::control::turns::{PATIENCE, Turns};
use crate::control::webhooks;
use crate::driver::ports::Ports;
use crate::driver::{self, Driver, DriverConfig, DriverError};
use crate::engine::EngineStats;
use crate::id::TrackNumber;
use crate::leg::LegReport;
use crate::record::{Credentials, Recorder, RecordingState, RecordingStatus, Rules, TapReceiver};

/// Changes of a leg that wait to be told until it has joined, some milliseconds as a rule; those beyond are told at
/// once.
const UNTOLD_MAX: usize = 64;

#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    driver: Driver,
    ports: Ports,
    recorder: Recorder,
    recording_rules: Rules,
    recording_news: Arc<RecordingNews>,
    events: EventLog,
    webhooks: Arc<webhooks::Counters>,
    /// States of recordings that the recorder has to remember until they are told, by the number of the event that
    /// says so.
    being_told: Mutex<Vec<(u64, String, RecordingState)>>,
    state: Mutex<State>,
    calibration: Calibration,
    turned_away: TurnedAway,
    memory: Memory,
    overload: Overload,
    legs_in_turn: Turns<CallId>,
    recordings_in_turn: Turns<ConferenceId>,
    answers: Answers,
    /// The track of the next leg: none has ever that of another.
    next_track: AtomicU32,
    /// What engines said last, for when one is too busy to answer.
    last_figures: Mutex<Vec<EngineStats>>,
    /// Descriptors from this number on are kept for connections and recordings.
    fds_for_legs: u64,
    /// What legs and recordings may take together.
    fds_for_recordings: u64,
    open_fds: OpenFds,
    /// Rung when an answer is awaited, so that the pump looks more often.
    awaited: Notify,
    pulse: pump::Pulse,
    tally: Arc<Tally>,
    /// Follows the state's own mark, for whoever waits for it.
    drains: tokio::sync::watch::Sender<bool>,
}

/// Requests to engines that wait for what comes back.
#[derive(Default)]
struct Answers {
    next: AtomicU64,
    legs: Mutex<HashMap<u64, oneshot::Sender<Box<LegReport>>>>,
    engines: Mutex<HashMap<u64, oneshot::Sender<Box<EngineStats>>>>,
    recordings_off: Mutex<HashMap<u32, oneshot::Sender<()>>>,
    /// `None`: it ended instead.
    recordings_paused: Mutex<HashMap<u32, oneshot::Sender<Option<()>>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("recording.dir {dir} cannot be used: {error}")]
    Recorder { dir: String, error: std::io::Error },
    #[error("The directory {dir} of events cannot be used: {error}")]
    Events { dir: String, error: std::io::Error },
}

impl Service {
    /// Starts media threads and recorder. Whoever has the second half drives the service by handing it to [`pump`].
    /// Measures first what legs cost here, where it is so configured.
    pub fn start(config: Config) -> Result<(Service, Arc<RecordingNews>), StartError> {
        // Before there are media threads, which it would disturb.
        let calibration = Calibration::obtain(&config.admission, config.opus.complexity);
        let driver = Driver::start(&driver_config(&config))?;
        Service::with(config, calibration, driver)
    }

    /// Starts the rest, on engines that are there.
    fn with(
        config: Config,
        calibration: Calibration,
        driver: Driver,
    ) -> Result<(Service, Arc<RecordingNews>), StartError> {
        let engines = driver.engines();
        let limits = Limits {
            engines,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            percent: config.admission.cpu_percent.into(),
        };
        let account = Account::new(calibration.costs.clone(), limits);
        let taps: Vec<_> = (0..engines)
            .filter_map(|engine| driver.take_tap(engine))
            .collect();
        let memory = Memory::new(
            config.admission.memory_reserve_bytes,
            taps.iter().map(TapReceiver::passed).collect(),
        );
        let recording_news = Arc::new(RecordingNews::default());
        let news = recording_news.clone();
        let tell = move |status: &RecordingStatus| news.tell(status);
        let recorder = Recorder::start(
            &config.recording.dir,
            taps,
            object_store(&config)?,
            Box::new(tell),
        )
        .map_err(|error| StartError::Recorder {
            dir: config.recording.dir.display().to_string(),
            error,
        })?;
        let events = open_events(&config)?;
        let micros = |kind: Kind| calibration.costs.leg[kind as usize] / 1_000;
        tracing::info!(
            source = calibration.source,
            pcmu_us = micros(Kind::Pcmu),
            opus_us = micros(Kind::OpusAt48),
            socket_us = calibration.costs.socket / 1_000,
            "what a leg costs in each tick is known"
        );
        let (fds_for_legs, fds_for_recordings) = fds_for(process::fd_limit(), config.http.connections);
        let inner = Inner {
            driver,
            ports: Ports::new(
                config.rtp.ports.clone(),
                config.rtp.bind.clone(),
                config.rtp.dscp,
                config.rtp.port_rest,
            ),
            recorder,
            recording_rules: recording_rules(&config),
            recording_news: Arc::clone(&recording_news),
            events,
            webhooks: Arc::default(),
            being_told: Mutex::default(),
            state: Mutex::new(State::new(account, config.engine.legs, config.engine.rooms)),
            calibration,
            turned_away: TurnedAway::default(),
            memory,
            overload: Overload::new(engines),
            legs_in_turn: Turns::new(),
            recordings_in_turn: Turns::new(),
            answers: Answers::default(),
            next_track: AtomicU32::new(TrackNumber::MAIN.0 + 1),
            last_figures: Mutex::new(vec![EngineStats::default(); engines]),
            fds_for_legs,
            fds_for_recordings,
            open_fds: OpenFds::default(),
            awaited: Notify::new(),
            pulse: pump::Pulse::new(Instant::now()),
            tally: Arc::default(),
            drains: tokio::sync::watch::Sender::new(false),
            config,
        };
        Ok((
            Service {
                inner: Arc::new(inner),
            },
            recording_news,
        ))
    }

    pub fn events(&self) -> &EventLog {
        &self.inner.events
    }

    /// What is counted of callbacks, for those who send them.
    pub fn webhooks(&self) -> &Arc<webhooks::Counters> {
        &self.inner.webhooks
    }

    /// What the faces have open and have refused.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.inner.tally
    }

    pub fn is_draining(&self) -> bool {
        self.inner.state().is_draining
    }

    /// From here on no room is made.
    pub fn drain(&self) {
        self.inner.state().is_draining = true;
        self.inner.drains.send_replace(true);
    }

    /// Becomes true when draining begins.
    pub fn draining(&self) -> tokio::sync::watch::Receiver<bool> {
        self.inner.drains.subscribe()
    }

    pub fn rooms(&self) -> usize {
        self.inner.state().rooms.len()
    }

    /// How far each engine has got: a count that grows as long as it ticks.
    pub fn rounds(&self) -> Vec<u64> {
        self.inner.driver.rounds()
    }

    /// How often the engines were listened to.
    pub fn pump_rounds(&self) -> u64 {
        self.inner.pulse.rounds()
    }

    /// Whether nobody listens to the engines: nothing is told of any more, and no leg joins or leaves.
    pub fn is_stale(&self) -> bool {
        self.inner.pulse.is_stale(Instant::now())
    }

    /// Other credentials of the configuration for what is still to be sent.
    pub fn replace_store_credentials(&self, credentials: Option<Credentials>) {
        self.inner.recorder.replace_store_credentials(credentials);
    }

    /// Closes every recording; returns when the last receipt is written, or after this patience: what is not delivered
    /// then is for the next start.
    pub fn stop_recordings(&self, patience: Duration) {
        self.inner.recorder.stop(patience);
    }

    /// Returns when all that has happened would outlive a loss of power. Nothing is told any more. Waits for the disk.
    pub fn close_events(&self) {
        let inner = &self.inner;
        inner.events.close();
        inner.forget(&inner.told_of_recordings());
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends commands that belong together: all of them, or none and a refusal.
    fn send(&self, state: &mut State, engine: usize, commands: Vec<driver::Command>) -> Result<(), Refusal> {
        let mut commands = commands.into_iter();
        let Some(first) = commands.next() else {
            return Ok(());
        };
        let is_full = !state.engines[engine].outbox.is_empty() || self.driver.send(engine, first).is_err();
        if is_full {
            return Err(Refusal::unavailable(
                "The media engine has too many commands waiting.",
                1,
            ));
        }
        for command in commands {
            self.send_surely(state, engine, command);
        }
        Ok(())
    }

    /// Sends a command that must not be lost, now or as soon as the queue has room.
    fn send_surely(&self, state: &mut State, engine: usize, command: driver::Command) {
        let outbox = &mut state.engines[engine].outbox;
        if !outbox.is_empty() {
            outbox.push_back(command);
        } else if let Err(driver::QueueFull(command)) = self.driver.send(engine, command) {
            outbox.push_back(command);
        }
    }

    /// Tells all who listen. Called under the state's lock, so that numbers stand in the order of decisions. Gives the
    /// number, of all, that it has; none where nothing is told any more.
    fn tell(
        &self,
        conference: &ConferenceId,
        call: Option<&CallId>,
        kind: &'static str,
        fields: Map<String, Value>,
    ) -> Option<u64> {
        self.events.append(events::Happening {
            conference: conference.clone(),
            call: call.cloned(),
            kind,
            at: SystemTime::now(),
            fields,
        })
    }

    /// Tells of a leg, with what its maker wants echoed.
    fn tell_of_leg(&self, state: &State, call: &CallId, kind: &'static str, mut fields: Map<String, Value>) {
        let Some(leg) = state.legs.get(call) else {
            return;
        };
        if let Some(custom) = &leg.request.custom {
            fields.insert("custom".into(), custom.clone());
        }
        self.tell(&leg.place.conference, Some(call), kind, fields);
    }

    /// Tells of a leg, after it has told that it joined.
    fn tell_once_joined(
        &self,
        state: &mut State,
        call: &CallId,
        kind: &'static str,
        fields: Map<String, Value>,
    ) {
        match state.legs.get_mut(call) {
            Some(leg) if !leg.has_joined && leg.untold.len() < UNTOLD_MAX => {
                leg.untold.push((kind, fields));
            }
            _ => self.tell_of_leg(state, call, kind, fields),
        }
    }

    /// Waits for what an engine was asked for.
    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Refusal> {
        self.awaited.notify_one();
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Refusal::engine_silent()),
        }
    }
}

fn driver_config(config: &Config) -> DriverConfig {
    DriverConfig {
        engines: config.engine.threads,
        legs_per_engine: config.engine.legs,
        rooms_per_engine: config.engine.rooms,
    }
}

/// Descriptors for what is neither leg nor recording nor connection.
const FILES: u64 = 64;

/// Descriptors that legs leave to recordings, so that those who speak already can be recorded.
const RECORDINGS: u64 = 64;

/// How many descriptors there may be before a leg is refused, and before a recording is: without the rest, nobody could
/// be told so.
fn fds_for(limit: u64, connections: usize) -> (u64, u64) {
    let connections = connections + Http::WAITING_MAX + Http::KEPT;
    let recordings = limit - (connections as u64 + FILES).min(limit / 4);
    (recordings - RECORDINGS.min(limit / 32), recordings)
}

/// The log goes on where the last daemon has ended.
fn open_events(config: &Config) -> Result<EventLog, StartError> {
    if config.events.disk_bytes == 0 {
        return Ok(EventLog::in_memory(config.events.ring));
    }
    let dir = match &config.events.dir {
        Some(dir) => dir.clone(),
        None => config.recording.dir.join(events::FOLDER),
    };
    EventLog::open(&dir, config.events.ring, config.events.disk_bytes).map_err(|error| StartError::Events {
        dir: dir.display().to_string(),
        error,
    })
}

impl Answers {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
