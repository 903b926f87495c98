//! A media thread: one engine, its sockets, the clock.
//!
//! Every 5 ms a phase of the tick is due: commands, then room by room drain the sockets, tick, send. Between two
//! phases it sleeps. Once a tick it asks which RTCP sockets have something, and how much processor time it has used. It makes no other syscall, takes no lock and
//! allocates only where a leg is seated or brings new streams.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::driver::clock::{Clock, Stamps, thread_cpu};
use crate::driver::ports::Sockets;
use crate::driver::pulse::Pulse;
use crate::driver::rtcp_poll::RtcpPoll;
use crate::driver::socket::{self, DATAGRAM_BYTES_MAX, Received};
use crate::driver::{Command, Event};
use crate::engine::outbox::Outbox;
use crate::engine::{self, Engine};
use crate::id::{LegId, RoomId};
use crate::leg::{Dropped, Port};
use crate::record::TapSender;
use crate::time::{PHASES, TICK, Tick, Time};

/// Datagrams taken from one socket in one tick, whatever becomes of them: two packets of 10 ms, an event and a report.
const DATAGRAMS_PER_TICK_MAX: usize = 4;

/// Datagrams that the legs of one phase may take beyond that: what a network had held back, and floods. Who is flooded
/// is heard through the flood while it stays below this, and all floods together cost no more than a millisecond or two
/// beside four datagrams a leg. What comes faster is lost in the kernel, whose buffers are bounded.
const DATAGRAMS_PER_PHASE_EXTRA: usize = 1_024;

/// RTCP taken from one socket in one tick.
const REPORTS_PER_TICK_MAX: usize = 16;

/// Commands taken before a phase. More wait for the next, 5 ms later.
const COMMANDS_PER_PHASE_MAX: usize = 512;

/// A waiting packet younger than this is not followed by another one of the same stream yet (ptime 20 ms, less
/// what the network may shift it), so the socket need not be asked again.
const YOUNG: Duration = Duration::from_millis(14);

/// Held up longer than this, the thread leaves ticks out instead of catching up: nobody wants old sound in a burst.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    pub engine: Engine,
    pub sockets: Box<[Option<Sockets>]>,
    pub rtcp: RtcpPoll,
    pub outbox: Outbox,
    pub clock: Clock,
    pub stamps: Stamps,
    pub commands: Arc<ArrayQueue<Command>>,
    pub events: Arc<ArrayQueue<Event>>,
    /// Places among the events that are kept for what must not be lost.
    pub reserved: usize,
    pub tap: TapSender,
    pub stopping: Arc<AtomicBool>,
    pub pulse: Arc<Pulse>,
    pub buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
}

impl Worker {
    pub fn run(&mut self) {
        let mut step = step_at(self.clock.now()) + 1;
        while !self.stopping.load(Ordering::Relaxed) {
            let (tick, phase) = (Tick(step / PHASES as u64), (step % PHASES as u64) as usize);
            // Waking costs more than a small room: a phase without rooms is slept through, but for the first of each
            // tick, in which commands are taken at the latest.
            if phase != 0 && self.engine.rooms_in_phase(phase).is_empty() {
                step += 1;
                continue;
            }
            let due = tick.due(phase);
            self.clock.sleep_until(due);
            let begun = self.clock.now();
            let late = begun.since(due);
            self.engine
                .stats_mut()
                .tick_lateness
                .observe(late.as_nanos() as u64);
            if phase == 0 {
                self.pulse.set_cpu(thread_cpu());
            }
            if late > CATCH_UP_MAX {
                self.pulse.note(late, Duration::ZERO);
                let now = step_at(begun);
                self.engine.stats_mut().ticks_skipped += (now - step) / PHASES as u64;
                step = now + 1;
                continue;
            }
            self.run_phase(tick, phase);
            let took = self.clock.now().since(begun);
            self.engine
                .stats_mut()
                .tick_duration
                .observe(took.as_nanos() as u64);
            self.pulse.note(late, took);
            step += 1;
        }
    }

    pub(super) fn run_phase(&mut self, tick: Tick, phase: usize) {
        for _ in 0..COMMANDS_PER_PHASE_MAX {
            let Some(command) = self.commands.pop() else { break };
            self.apply(command);
        }
        self.stamps.read(self.clock.from_realtime(), self.clock.now());
        let mut extra = DATAGRAMS_PER_PHASE_EXTRA;
        if phase == 0 {
            self.drain_rtcp();
        }
        for index in 0..self.engine.rooms_in_phase(phase).len() {
            let room = self.engine.rooms_in_phase(phase)[index];
            self.drain_room(room, &mut extra);
            let now = self.clock.now();
            self.engine.tick_room(room, tick, now, &mut self.outbox);
            self.deliver();
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Seat {
                leg,
                state,
                sockets,
                room,
            } => {
                self.rtcp.watch(leg, sockets.rtcp.as_raw_fd());
                self.sockets[leg.0 as usize] = Some(sockets);
                self.engine
                    .apply(engine::Command::Join { leg, state, room }, &mut self.outbox);
            }
            Command::Engine(command) => self.engine.apply(command, &mut self.outbox),
        }
        self.deliver();
    }

    /// Takes what waits on the sockets of a room's legs, just before the room is ticked.
    fn drain_room(&mut self, room: RoomId, extra: &mut usize) {
        let now = self.clock.now();
        for seat in 0..self.engine.seats(room) {
            if let Some(leg) = self.engine.leg_at(room, seat) {
                self.drain_leg(leg, now, extra);
            }
        }
    }

    fn drain_leg(&mut self, leg: LegId, now: Time, extra: &mut usize) {
        let Some(sockets) = &self.sockets[leg.0 as usize] else {
            return;
        };
        for taken in 0.. {
            if taken >= DATAGRAMS_PER_TICK_MAX {
                let Some(left) = extra.checked_sub(1) else { return };
                *extra = left;
            }
            // WouldBlock ends it as a rule; any other error is the socket's own (ICMP reports among them) and
            // costs one read.
            let Ok(received) = socket::receive(&sockets.rtp, &mut self.buffer[..]) else {
                return;
            };
            let arrival = self.arrival_of(&received, now);
            if received.truncated {
                self.engine.dropped(leg, Dropped::TooLong);
                continue;
            }
            self.engine
                .receive(arrival, leg, received.from, &mut self.buffer[..received.len]);
            if now.since(arrival) < YOUNG && self.engine.is_fed(leg) {
                return;
            }
        }
    }

    fn drain_rtcp(&mut self) {
        let now = self.clock.now();
        for leg in self.rtcp.ready() {
            let Some(sockets) = &self.sockets[leg.0 as usize] else {
                continue;
            };
            for _ in 0..REPORTS_PER_TICK_MAX {
                let Ok(received) = socket::receive(&sockets.rtcp, &mut self.buffer[..]) else {
                    break;
                };
                let arrival = self.arrival_of(&received, now);
                self.engine
                    .receive_rtcp(arrival, leg, received.from, &mut self.buffer[..received.len]);
            }
        }
    }

    /// When the kernel took the datagram in, on the engines' clock.
    fn arrival_of(&self, received: &Received, now: Time) -> Time {
        let stamp = received.realtime_nanos;
        stamp.map_or(now, |nanos| self.stamps.arrival(nanos, now))
    }

    /// Sends what a tick or a command left in the outbox.
    fn deliver(&mut self) {
        for (outgoing, datagram) in self.outbox.datagrams() {
            let Some(sockets) = &self.sockets[outgoing.leg.0 as usize] else {
                continue;
            };
            let socket = match outgoing.by {
                Port::Rtp => &sockets.rtp,
                Port::Rtcp => &sockets.rtcp,
            };
            if socket.send_to(datagram, outgoing.to).is_err() {
                self.engine.unsent(outgoing.leg);
            }
        }
        let mut unrecorded = 0;
        for tapped in self.outbox.tapped() {
            unrecorded += u64::from(self.tap.push(&tapped).is_err());
        }
        let mut untold = 0;
        for event in self.outbox.events() {
            let event = match event {
                engine::Event::Left { leg, tick, state } => {
                    let Some(sockets) = self.sockets[leg.0 as usize].take() else {
                        continue;
                    };
                    self.rtcp.forget(sockets.rtcp.as_raw_fd());
                    Event::Left {
                        leg,
                        tick,
                        state,
                        sockets,
                    }
                }
                event => Event::Engine(event),
            };
            // What only informs gives way to what carries something back: for that there is always a place.
            if informs(&event) && self.events.len() + self.reserved >= self.events.capacity() {
                untold += 1;
                continue;
            }
            if self.events.push(event).is_err() {
                untold += 1;
            }
        }
        self.outbox.clear();
        let stats = self.engine.stats_mut();
        stats.recorded_frames_lost += unrecorded;
        stats.events_lost += untold;
    }
}

/// Whether an event only informs, and nobody waits for it.
fn informs(event: &Event) -> bool {
    matches!(
        event,
        Event::Engine(
            engine::Event::Talking { .. }
                | engine::Event::Changed { .. }
                | engine::Event::OneWay { .. }
                | engine::Event::Digits { .. }
        )
    )
}

/// The phase step that began last before `time`.
fn step_at(time: Time) -> u64 {
    time.as_nanos() / (TICK.as_nanos() as u64 / PHASES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Recording;
    use crate::engine::{Command as Order, EngineLimits};
    use crate::frame::Rate;
    use crate::id::RecordingSlot;
    use crate::record::tap_ring;
    use crate::room::{Room, RoomChange, RoomSettings};

    #[test]
    fn what_is_pressed_leaves_the_places_that_are_kept_for_who_leaves() {
        let (leg, tick) = (LegId(0), Tick(1));
        let digits = crate::dtmf::Digits::default();
        assert!(informs(&Event::Engine(engine::Event::Digits {
            leg,
            digits,
            tick
        })));
        let last_arrival = None;
        assert!(!informs(&Event::Engine(engine::Event::MediaTimeout {
            leg,
            last_arrival,
            tick
        })));
    }

    #[test]
    fn frames_that_find_the_ring_full_are_counted_and_later_ones_carry_their_own_ticks() {
        // Four frames of silence, two in each of its two.
        let (tap, mut frames) = tap_ring(100);
        let mut worker = Worker {
            engine: Engine::new(EngineLimits { legs: 1, rooms: 1 }),
            sockets: Box::new([None]),
            rtcp: RtcpPoll::new().expect("an epoll set"),
            outbox: Outbox::new(1),
            clock: Clock::start(),
            stamps: Stamps::default(),
            commands: Arc::new(ArrayQueue::new(8)),
            events: Arc::new(ArrayQueue::new(8)),
            reserved: 4,
            tap,
            stopping: Arc::default(),
            pulse: Arc::default(),
            buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
        };
        let room = RoomId(0);
        let recording = Recording {
            slot: RecordingSlot(5),
            rate: Rate::Hz8000,
            legs: true,
        };
        for order in [
            Order::Open {
                room,
                state: Room::new(RoomSettings::default()),
            },
            Order::ChangeRoom {
                room,
                change: RoomChange::Record(Some(recording)),
            },
        ] {
            assert!(worker.commands.push(Command::Engine(order)).is_ok());
        }
        let mut ticks = |ticks: std::ops::Range<u64>| {
            for tick in ticks {
                worker.run_phase(Tick(tick), 0);
            }
            let popped = std::iter::from_fn(|| frames.pop()).map(|frame| frame.tick.0);
            (popped.collect(), worker.engine.stats().recorded_frames_lost)
        };
        assert_eq!(ticks(10..17), (vec![10, 11, 12, 13], 3));
        assert_eq!(ticks(17..20), (vec![17, 18, 19], 3));
    }
}
