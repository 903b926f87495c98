//! Media threads that are none: whoever holds them runs one step after the other, in the order that he chooses, on a
//! clock that he turns. What a step does is what a media thread does in it.

use std::time::Duration;

use super::worker::Worker;
use super::{Driver, DriverConfig, DriverError};
use crate::driver::clock::{Clock, Hand};
use crate::engine::Engine;
use crate::id::LegId;
use crate::time::{PHASES, Tick};

/// Phases by which an engine may be ahead of another: a thread that was held up longer leaves ticks out.
const AHEAD_MAX: u64 = 2 * PHASES as u64;

/// The workers of a driver that has no threads.
pub(crate) struct Stepped {
    workers: Vec<Worker>,
    /// The phase that each runs next, counted since the start.
    next: Vec<u64>,
    /// What is noted of each of its phases: how late it began, and how long it took; and the sum of the latter.
    strains: Vec<(Duration, Duration)>,
    cpu: Vec<Duration>,
    hand: Hand,
}

impl Driver {
    /// A driver whose engines rest until they are stepped. `commands_max` may wait for each.
    pub(crate) fn stepped(
        config: &DriverConfig,
        commands_max: usize,
    ) -> Result<(Driver, Stepped), DriverError> {
        let (clock, hand) = Clock::by_hand();
        let mut driver = Driver::at_rest(clock, false);
        let mut workers = Vec::with_capacity(config.engines);
        for _ in 0..config.engines {
            let (worker, handle) = driver.engine(config, commands_max)?;
            workers.push(worker);
            driver.handles.push(handle);
        }
        let stepped = Stepped {
            next: vec![PHASES as u64; workers.len()],
            strains: vec![Default::default(); workers.len()],
            cpu: vec![Duration::ZERO; workers.len()],
            workers,
            hand,
        };
        Ok((driver, stepped))
    }
}

impl Stepped {
    /// Runs the next phase of an engine, unless it is too far ahead of another: then that one's.
    pub fn step(&mut self, engine: usize) {
        let (last, first) = self
            .next
            .iter()
            .enumerate()
            .min_by_key(|(_, next)| **next)
            .map_or((0, 0), |(last, next)| (last, *next));
        let engine = match self.next[engine] < first + AHEAD_MAX {
            true => engine,
            false => last,
        };
        let step = self.next[engine];
        self.next[engine] += 1;
        let (tick, phase) = (Tick(step / PHASES as u64), (step % PHASES as u64) as usize);
        self.hand.turn_to(tick.due(phase));
        let worker = &mut self.workers[engine];
        // As a media thread sleeps through it.
        if phase == 0 || !worker.engine.rooms_in_phase(phase).is_empty() {
            worker.run_phase(tick, phase);
            let (late, took) = self.strains[engine];
            self.cpu[engine] += took;
            worker.pulse.note(late, took);
            worker.pulse.set_cpu(self.cpu[engine]);
        }
    }

    /// From here on each phase of an engine is noted to have begun so late and to have taken so long. What it does is done
    /// in time all the same.
    pub fn strain(&mut self, engine: usize, (late, took): (Duration, Duration)) {
        self.strains[engine] = (late, took);
    }

    pub fn engine(&self, engine: usize) -> &Engine {
        &self.workers[engine].engine
    }

    /// Whether the engine has taken in the leg, with its sockets.
    pub fn has_leg(&self, engine: usize, leg: LegId) -> bool {
        self.workers[engine].sockets[leg.0 as usize].is_some()
    }

    /// Whether something waits on the leg's socket for RTP.
    pub fn has_mail(&self, engine: usize, leg: LegId) -> bool {
        let sockets = self.workers[engine].sockets[leg.0 as usize].as_ref();
        sockets.is_some_and(|sockets| sockets.rtp.peek(&mut [0; 1]).is_ok())
    }

    /// Panics in engines so far: each is a defect.
    pub fn panics(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.engine.stats().panics)
            .sum()
    }
}
