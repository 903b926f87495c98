//! The media threads: each owns one engine, its sockets and its time.
//!
//! The control plane reaches an engine over one bounded queue and hears from it over another; nothing it does can
//! make a tick late. Whoever polls the events drops what comes back in them, so the media threads free nothing.

pub mod clock;
pub mod ports;
mod pulse;
pub mod realtime;
mod resting;
mod rtcp_poll;
pub mod socket;
#[cfg(test)]
pub(crate) mod stepped;
mod worker;

pub use pulse::Beat;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crossbeam_queue::ArrayQueue;

use crate::driver::clock::{Clock, Stamps};
use crate::driver::ports::Sockets;
use crate::driver::pulse::Pulse;
use crate::driver::rtcp_poll::RtcpPoll;
use crate::driver::worker::Worker;
use crate::engine::outbox::Outbox;
use crate::engine::{self, Engine, EngineLimits};
use crate::id::{LegId, RoomId};
use crate::leg::Leg;
use crate::record::{TAP_RING_BYTES, TapReceiver, tap_ring};
use crate::time::Tick;

/// Commands that may wait for an engine.
const COMMANDS_MAX: usize = 4_096;

/// Events that only inform and may wait for the control plane.
const EVENTS_MIN: usize = 4_096;

/// The shortest a media thread's stack may be: frames live on it.
const STACK_BYTES: usize = 1024 * 1024;

pub enum Command {
    /// Seats a leg with its sockets.
    Seat {
        leg: LegId,
        state: Box<Leg>,
        sockets: Sockets,
        room: RoomId,
    },
    /// Everything else but `Join`.
    Engine(engine::Command),
}

pub enum Event {
    /// A leg has left with all that it needs to be seated elsewhere.
    Left {
        leg: LegId,
        tick: Tick,
        state: Box<Leg>,
        sockets: Sockets,
    },
    /// Everything else but `Left`.
    Engine(engine::Event),
}

/// The engine's queue is full; here is the command again.
pub struct QueueFull(pub Command);

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("a media thread could not be started: {0}")]
    Thread(io::Error),
    #[error("an epoll set could not be made: {0}")]
    Epoll(io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverConfig {
    pub engines: usize,
    pub legs_per_engine: usize,
    pub rooms_per_engine: usize,
}

/// The running media threads. Dropping it stops them.
pub struct Driver {
    clock: Clock,
    memory_locked: bool,
    stopping: Arc<AtomicBool>,
    handles: Vec<EngineHandle>,
}

struct EngineHandle {
    commands: Arc<ArrayQueue<Command>>,
    events: Arc<ArrayQueue<Event>>,
    /// Until somebody takes it.
    tap: Mutex<Option<TapReceiver>>,
    realtime: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    pub fn start(config: &DriverConfig) -> Result<Driver, DriverError> {
        let mut driver = Driver::at_rest(Clock::start(), realtime::lock_memory());
        for index in 0..config.engines {
            let (mut worker, mut handle) = driver.engine(config, COMMANDS_MAX)?;
            let granted = Arc::clone(&handle.realtime);
            let thread = std::thread::Builder::new()
                .name(format!("engine-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    granted.store(realtime::run_first(), Ordering::Relaxed);
                    worker.run();
                })
                .map_err(DriverError::Thread)?;
            handle.thread = Some(thread);
            driver.handles.push(handle);
        }
        Ok(driver)
    }

    /// A driver without an engine.
    fn at_rest(clock: Clock, memory_locked: bool) -> Driver {
        Driver {
            clock,
            memory_locked,
            stopping: Arc::new(AtomicBool::new(false)),
            handles: Vec::new(),
        }
    }

    /// An engine and what reaches it, which nobody runs yet.
    fn engine(
        &self,
        config: &DriverConfig,
        commands_max: usize,
    ) -> Result<(Worker, EngineHandle), DriverError> {
        let limits = EngineLimits {
            legs: config.legs_per_engine,
            rooms: config.rooms_per_engine,
        };
        let commands = Arc::new(ArrayQueue::new(commands_max));
        // A leg can join, time out and leave, a room close, the recording of each begin, pause and end, and each command
        // that waits be answered, before anybody listens.
        let reserved = 6 * config.legs_per_engine + 4 * config.rooms_per_engine + COMMANDS_MAX;
        let events = Arc::new(ArrayQueue::new(EVENTS_MIN + reserved));
        let (tapped, tap) = tap_ring(TAP_RING_BYTES);
        let realtime = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Pulse::default());
        let mut engine = Engine::new(limits);
        engine.set_wall_clock(self.clock.ntp());
        let worker = Worker {
            engine,
            sockets: (0..limits.legs).map(|_| None).collect(),
            rtcp: RtcpPoll::new().map_err(DriverError::Epoll)?,
            outbox: Outbox::new(limits.legs),
            clock: self.clock,
            stamps: Stamps::default(),
            commands: Arc::clone(&commands),
            events: Arc::clone(&events),
            reserved,
            tap: tapped,
            stopping: Arc::clone(&self.stopping),
            pulse: Arc::clone(&pulse),
            buffer: Box::new([0; socket::DATAGRAM_BYTES_MAX]),
        };
        let handle = EngineHandle {
            commands,
            events,
            tap: Mutex::new(Some(tap)),
            realtime,
            pulse,
            thread: None,
        };
        Ok((worker, handle))
    }

    pub fn engines(&self) -> usize {
        self.handles.len()
    }

    /// Gives an engine something to do before its next tick.
    #[allow(clippy::result_large_err)]
    pub fn send(&self, engine: usize, command: Command) -> Result<(), QueueFull> {
        self.handles[engine].commands.push(command).map_err(QueueFull)
    }

    /// The next thing an engine has to say, if any.
    pub fn poll(&self, engine: usize) -> Option<Event> {
        self.handles[engine].events.pop()
    }

    /// Where the frames of the engine's recordings come out; `None` once it was taken.
    pub fn take_tap(&self, engine: usize) -> Option<TapReceiver> {
        let tap = &self.handles[engine].tap;
        tap.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The wall clock when a tick began.
    pub fn wall_clock(&self, tick: Tick) -> SystemTime {
        self.clock.wall_clock(tick.due(0))
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What the engine's thread has used and how it keeps its time.
    pub fn beat(&self, engine: usize) -> Beat {
        self.handles[engine].pulse.beat()
    }

    /// Whether the engine's thread runs under SCHED_FIFO.
    pub fn realtime(&self, engine: usize) -> bool {
        self.handles[engine].realtime.load(Ordering::Relaxed)
    }

    /// How many phases each engine has run to their end: who looks twice sees whether it still ticks.
    pub fn rounds(&self) -> Vec<u64> {
        let handles = self.handles.iter();
        handles.map(|handle| handle.pulse.beat().phases).collect()
    }

    /// Whether pages, once touched, stay in memory.
    pub fn memory_locked(&self) -> bool {
        self.memory_locked
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        for handle in &mut self.handles {
            if let Some(thread) = handle.thread.take() {
                // A panic of the thread was reported when it happened.
                let _ = thread.join();
            }
        }
    }
}
