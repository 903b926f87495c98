//! What to send next, when, and to which of two URLs: a state machine without clock, socket or file.
//!
//! ```text
//! read from the log ─▶ lane of its room ─▶ primary ─▶ fallback ─▶ delivered
//!                          ▲                             │
//!                          └── waits, twice as long ◀────┴──▶ given up, or refused for what it is: dead
//! ```
//!
//! A room's events go one after another, rooms go beside each other. What is held is bounded: beyond that nothing is
//! read, the log on disk is the queue. [`Progress`] is all that a successor needs to deliver each event at least once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::ranges::{Ranges, Removed};

/// Failures in a row, of whichever room, after which a success calls back all who wait.
const OUTAGE: u32 = 8;

/// Over so long those are spread.
const RETURN: Duration = Duration::from_secs(1);

/// Failures of the primary in a row after which events go to the fallback first.
const PRIMARY_FAILURES: u32 = 3;

/// So long they do before one of them tries the primary first again.
const PRIMARY_REST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Posts at a time.
    pub concurrency: usize,
    /// Of the bodies of events that wait.
    pub bytes: usize,
    /// Events that wait.
    pub events: usize,
    /// Before the second try of an event; doubles with each.
    pub back_off_min: Duration,
    pub back_off_max: Duration,
    /// From when an event happened to its last try.
    pub give_up_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Primary,
    Fallback,
}

/// An event that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Over all rooms.
    pub number: u64,
    /// The number itself, but in the word of lost events: there it is the first of them, and the number the last.
    pub first: u64,
    /// Events of one room are delivered in their order.
    pub room: Arc<str>,
    pub body: Arc<str>,
    /// How long ago it happened when it was read.
    pub age: Duration,
}

/// One try of one event at one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub number: u64,
    pub side: Side,
    pub body: Arc<str>,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The receiver will not take this very event, now or later.
    Refused,
    /// It may be another time; not before then, where the receiver has said so.
    Failed {
        retry_after: Option<Duration>,
    },
}

/// What the outcome means for the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// At the other URL at once.
    Other(Post),
    Later,
    Dead(Dead),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub letter: Letter,
    /// By each URL that there is, else given up for its age.
    pub refused: bool,
    /// Rounds, each of one post to every URL.
    pub rounds: u32,
}

/// Which events need no more care: all up to `read_to` that are not pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub read_to: u64,
    pub pending: Ranges,
}

pub struct Plan {
    limits: Limits,
    has_fallback: bool,
    rng: Rng,
    read_to: u64,
    /// Pending by the progress that was begun with, and not read again yet.
    unread: Ranges,
    lanes: BTreeMap<Arc<str>, Lane>,
    /// Rooms whose first event can be posted, longest first.
    ready: VecDeque<Arc<str>>,
    /// Rooms whose first event waits.
    waiting: BTreeSet<(Duration, Arc<str>)>,
    /// Rooms whose first event is on its way, by its number.
    on_their_way: BTreeMap<u64, Arc<str>>,
    held: usize,
    held_bytes: usize,
    /// Nothing is posted before, as the receiver has asked.
    quiet_until: Duration,
    failures_in_a_row: u32,
    primary_failures: u32,
    primary_rests_until: Duration,
}

#[derive(Default)]
struct Lane {
    letters: VecDeque<(Letter, Duration)>,
    /// Of the first letter.
    rounds: u32,
    /// The first side of the round has failed, and so.
    failed: Option<Outcome>,
}

impl Plan {
    pub fn new(limits: Limits, has_fallback: bool, seed: u64, progress: &Progress) -> Plan {
        Plan {
            limits,
            has_fallback,
            rng: Rng::with_seed(seed),
            read_to: progress.read_to,
            unread: progress.pending.clone(),
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            on_their_way: BTreeMap::new(),
            held: 0,
            held_bytes: 0,
            quiet_until: Duration::ZERO,
            failures_in_a_row: 0,
            primary_failures: 0,
            primary_rests_until: Duration::ZERO,
        }
    }

    /// The number after which the log is to be read.
    pub fn read_after(&self) -> u64 {
        self.unread
            .first()
            .map_or(self.read_to, |first| first.saturating_sub(1))
    }

    pub fn wants_more(&self) -> bool {
        self.held < self.limits.events && self.held_bytes < self.limits.bytes
    }

    /// Whether this event of the log is still to be cared for; asked in the order of the log, for each of its events.
    pub fn meets(&mut self, number: u64) -> bool {
        if number <= self.read_to {
            return self.unread.remove(number);
        }
        self.read_to = number;
        true
    }

    /// Takes an event that [`Plan::meets`] has said yes to, unless it is of no interest.
    pub fn take(&mut self, now: Duration, letter: Letter) {
        self.held += 1;
        self.held_bytes += letter.body.len();
        let room = letter.room.clone();
        let gives_up_at = now + self.limits.give_up_after.saturating_sub(letter.age);
        let lane = self.lanes.entry(room.clone()).or_default();
        if lane.letters.is_empty() {
            self.ready.push_back(room);
        }
        lane.letters.push_back((letter, gives_up_at));
    }

    /// The log no longer has these; gives what of them was still to be cared for.
    pub fn misses(&mut self, first: u64, last: u64) -> Option<Removed> {
        // What was never read is as good as unread.
        self.unread.insert(first.max(self.read_to + 1), last);
        self.read_to = self.read_to.max(last);
        self.unread.remove_all(first, last)
    }

    /// The log has begun anew, at number 1; gives how many events are gone with the old one that were still to be
    /// cared for. The word of it is letter 0.
    pub fn begins_anew(&mut self) -> u64 {
        self.read_to = 0;
        std::mem::take(&mut self.unread).count()
    }

    /// Whether a predecessor still owed the word that the log has begun anew.
    pub fn owes_letter_0(&mut self) -> bool {
        self.unread.remove(0)
    }

    /// What can be posted now.
    pub fn next(&mut self, now: Duration) -> Option<Post> {
        if now < self.quiet_until || self.on_their_way.len() >= self.limits.concurrency {
            return None;
        }
        while let Some((until, room)) = self.waiting.first()
            && *until <= now
        {
            let room = room.clone();
            self.waiting.pop_first();
            self.ready.push_back(room);
        }
        let room = self.ready.pop_front()?;
        let side = self.first_side(now);
        let lane = self.lanes.get_mut(&room).expect("whoever is ready has a lane");
        let letter = &lane.letters.front().expect("a lane has letters").0;
        let post = Post {
            number: letter.number,
            side,
            body: letter.body.clone(),
        };
        self.on_their_way.insert(post.number, room);
        Some(post)
    }

    /// When [`Plan::next`] may have something although nothing else happens.
    pub fn due(&self) -> Option<Duration> {
        if self.on_their_way.len() >= self.limits.concurrency {
            return None;
        }
        let due = match self.ready.is_empty() {
            false => Duration::ZERO,
            true => self.waiting.first()?.0,
        };
        Some(due.max(self.quiet_until))
    }

    /// What follows from what became of the post with this number.
    pub fn came_back(&mut self, now: Duration, number: u64, side: Side, outcome: Outcome) -> Verdict {
        self.note(now, side, outcome);
        let room = self
            .on_their_way
            .remove(&number)
            .expect("each post comes back once");
        if outcome == Outcome::Delivered {
            self.settle(&room);
            self.call_back(now);
            return Verdict::Delivered;
        }
        let lane = self
            .lanes
            .get_mut(&room)
            .expect("whoever is on the way has a lane");
        let (letter, gives_up_at) = lane.letters.front().expect("a lane has letters");
        let earlier = lane.failed.take();
        if self.has_fallback && earlier.is_none() {
            let post = Post {
                number,
                side: side.other(),
                body: letter.body.clone(),
            };
            lane.failed = Some(outcome);
            self.on_their_way.insert(number, room);
            return Verdict::Other(post);
        }
        lane.rounds += 1;
        let (rounds, gives_up_at) = (lane.rounds, *gives_up_at);
        let refused =
            outcome == Outcome::Refused && earlier.is_none_or(|earlier| earlier == Outcome::Refused);
        if refused || now >= gives_up_at {
            return Verdict::Dead(Dead {
                letter: self.settle(&room),
                refused,
                rounds,
            });
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        // All rooms wait for the URL that they begin with, and for no other.
        let of_first = match self.begins_with(now) == side {
            true => Some(outcome),
            false => earlier,
        };
        if let Some(asked) = of_first.and_then(Outcome::retry_after) {
            self.quiet_until = self.quiet_until.max(now + asked.min(self.limits.back_off_max));
        }
        let doubled = 2u32.saturating_pow(rounds - 1);
        let back_off = (self.limits.back_off_min.saturating_mul(doubled)).min(self.limits.back_off_max);
        // The last try is when the time is up.
        let latest = gives_up_at.max(now + self.limits.back_off_min);
        let until = (now + back_off.mul_f64(self.rng.f64().mul_add(0.5, 0.5))).min(latest);
        self.waiting.insert((until, room));
        Verdict::Later
    }

    pub fn progress(&self) -> Progress {
        let mut pending = self.unread.clone();
        for (letter, _) in self.lanes.values().flat_map(|lane| &lane.letters) {
            pending.insert(letter.first, letter.number);
        }
        Progress {
            read_to: self.read_to,
            pending,
        }
    }

    /// Events that wait or are on their way.
    pub fn held(&self) -> usize {
        self.held
    }

    pub fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    /// The side that the next round begins with.
    fn begins_with(&self, now: Duration) -> Side {
        let rests = self.primary_failures >= PRIMARY_FAILURES && now < self.primary_rests_until;
        match self.has_fallback && rests {
            true => Side::Fallback,
            false => Side::Primary,
        }
    }

    fn first_side(&mut self, now: Duration) -> Side {
        let side = self.begins_with(now);
        if self.has_fallback && side == Side::Primary && self.primary_failures >= PRIMARY_FAILURES {
            // One goes to see how it is.
            self.primary_rests_until = now + PRIMARY_REST;
        }
        side
    }

    fn note(&mut self, now: Duration, side: Side, outcome: Outcome) {
        if side == Side::Fallback {
            return;
        }
        match outcome {
            Outcome::Failed { .. } => {
                self.primary_failures = self.primary_failures.saturating_add(1);
                if self.primary_failures == PRIMARY_FAILURES {
                    self.primary_rests_until = now + PRIMARY_REST;
                }
            }
            Outcome::Delivered | Outcome::Refused => self.primary_failures = 0,
        }
    }

    /// Takes the first letter of a room away, and lets the next follow.
    fn settle(&mut self, room: &Arc<str>) -> Letter {
        let lane = self
            .lanes
            .get_mut(room)
            .expect("a room that is settled has a lane");
        let (letter, _) = lane.letters.pop_front().expect("a lane has letters");
        lane.rounds = 0;
        lane.failed = None;
        match lane.letters.is_empty() {
            true => drop(self.lanes.remove(room)),
            false => self.ready.push_back(room.clone()),
        }
        self.held -= 1;
        self.held_bytes -= letter.body.len();
        letter
    }

    /// After an outage nobody waits to the end of his time, which had grown with it.
    fn call_back(&mut self, now: Duration) {
        if std::mem::take(&mut self.failures_in_a_row) < OUTAGE {
            return;
        }
        for (until, room) in std::mem::take(&mut self.waiting) {
            let until = until.min(now + RETURN.mul_f64(self.rng.f64()));
            self.waiting.insert((until, room));
        }
    }
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Primary => Side::Fallback,
            Side::Fallback => Side::Primary,
        }
    }
}

impl Outcome {
    fn retry_after(self) -> Option<Duration> {
        match self {
            Outcome::Failed { retry_after } => retry_after,
            Outcome::Delivered | Outcome::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests;
