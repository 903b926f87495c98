//! Events on their way to the disk, and what is told while that takes nothing.

use std::time::{Duration, Instant};

use super::journal::SKIP;
use super::log::Entry;

/// More than this does not wait for the disk.
const ENTRIES_MAX: usize = 65_536;
const BYTES_MAX: usize = 32 << 20;

/// So long readers wait for the disk, as a rule some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why an event was told before it was on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// The disk failed.
    Failed,
    /// Too much waited for the disk already.
    Full,
    /// The disk took too long; it may have been written later.
    Late,
    /// It is longer than any record; what is written has its numbers and little else.
    TooLong,
    /// It was not told at all: too much waited for the mark that something is told and not written.
    Unmarked,
}

impl Unwritten {
    pub const ALL: [Unwritten; 5] = [
        Unwritten::Failed,
        Unwritten::Full,
        Unwritten::Late,
        Unwritten::TooLong,
        Unwritten::Unmarked,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Unwritten::Failed => "failed",
            Unwritten::Full => "full",
            Unwritten::Late => "late",
            Unwritten::TooLong => "too_long",
            Unwritten::Unmarked => "unmarked",
        }
    }
}

/// When an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Or once it is marked that something is told that is not written.
    OnceWritten,
    AtOnce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Writing,
    /// What is queued is told already, and what comes is told at once, both as soon as the mark is there.
    Late,
    /// Nothing is queued: what comes is told and not written, until the writer begins anew.
    Cut,
}

/// Whether the next start would know that something may be told that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Or being taken away.
    Off,
    /// It knows that events up to this number may be.
    UpTo(u64),
    /// It cannot be set: readers do not wait for it.
    Refused,
}

#[derive(Debug)]
pub struct Queue {
    mode: Mode,
    mark: Mark,
    /// Something is told, or to be told, that the journal does not have.
    is_ahead: bool,
    entries: Vec<Entry>,
    bytes: usize,
    /// Since when something waits to be told.
    waiting_since: Option<Instant>,
    is_closed: bool,
    too_late: u64,
    unwritten: [u64; Unwritten::ALL.len()],
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            mode: Mode::Writing,
            mark: Mark::Off,
            is_ahead: false,
            entries: Vec::new(),
            bytes: 0,
            waiting_since: None,
            is_closed: false,
            too_late: 0,
            unwritten: [0; Unwritten::ALL.len()],
        }
    }
}

/// What there is to do for the writer.
pub enum Work {
    Write(Vec<Entry>),
    /// To go on in a new segment, with all that has happened.
    BeginAnew,
    Nothing,
}

impl Queue {
    pub fn push(&mut self, entry: Entry, now: Instant) -> Telling {
        if self.mode == Mode::Cut {
            self.count(Unwritten::Failed, 1);
            return self.telling(&entry);
        }
        if self.entries.len() >= ENTRIES_MAX || self.bytes + entry.json.len() > BYTES_MAX {
            self.count(Unwritten::Full, self.entries.len() as u64 + 1);
            self.cut();
            return self.telling(&entry);
        }
        let telling = self.telling(&entry);
        self.bytes += entry.json.len();
        self.entries.push(entry);
        if self.mode == Mode::Late {
            self.count(Unwritten::Late, 1);
            return telling;
        }
        self.waiting_since.get_or_insert(now);
        Telling::OnceWritten
    }

    fn telling(&self, entry: &Entry) -> Telling {
        match entry.global <= self.marked_to() {
            true => Telling::AtOnce,
            false => Telling::OnceWritten,
        }
    }

    /// The highest number that may be told without being written.
    fn marked_to(&self) -> u64 {
        match self.mark {
            Mark::Off => 0,
            Mark::UpTo(number) => number,
            Mark::Refused => u64::MAX,
        }
    }

    /// The number up to which all is to be told although it is not written; 0 where nothing is.
    pub fn tells_ahead_to(&self) -> u64 {
        match self.mode {
            Mode::Writing => 0,
            Mode::Late | Mode::Cut => self.marked_to(),
        }
    }

    /// Something is told, or to be told, that the journal does not have.
    pub fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// What the mark has to say from now on, if it has to change: the number up to which events may be told that are not
    /// written, or 0. `newest` is the highest that was given.
    pub fn marking(&mut self, newest: u64) -> Option<u64> {
        match (self.is_ahead, self.mark) {
            (true, Mark::Off | Mark::Refused) => Some(newest + SKIP),
            // In good time: what there is holds until the next is there.
            (true, Mark::UpTo(number)) if newest + SKIP / 2 >= number => Some(newest + SKIP),
            (false, Mark::UpTo(_) | Mark::Refused) => {
                // Nobody may rely on it from here on.
                self.mark = Mark::Off;
                Some(0)
            }
            _ => None,
        }
    }

    /// The mark says so, or could not be changed.
    pub fn is_marked(&mut self, up_to: u64, is_done: bool) {
        self.mark = match (up_to, is_done) {
            (0, true) => Mark::Off,
            (number, true) => Mark::UpTo(number),
            (_, false) => Mark::Refused,
        };
    }

    /// What the writer has to do now.
    pub fn work(&mut self) -> Work {
        if self.mode == Mode::Cut {
            return Work::BeginAnew;
        }
        if self.entries.is_empty() {
            return Work::Nothing;
        }
        self.bytes = 0;
        Work::Write(std::mem::take(&mut self.entries))
    }

    /// From here on events are queued again: the new segment begins with all before them.
    pub fn begin_anew(&mut self, now: Instant) {
        self.mode = Mode::Writing;
        self.waiting_since = Some(now);
    }

    /// The new segment is there.
    pub fn has_begun(&mut self, now: Instant) {
        self.is_written(now);
        if self.mode == Mode::Writing {
            self.is_ahead = false;
        }
    }

    /// What the writer had taken is on the disk.
    pub fn is_written(&mut self, now: Instant) {
        self.waiting_since = (!self.entries.is_empty()).then_some(now);
        if self.mode == Mode::Late && self.entries.is_empty() {
            self.mode = Mode::Writing;
            self.is_ahead = false;
        }
    }

    /// What the writer had taken, so many, will not be on the disk, nor what is queued.
    pub fn has_failed(&mut self, taken: usize) {
        self.count(Unwritten::Failed, (taken + self.entries.len()) as u64);
        self.cut();
    }

    /// Nothing is queued until the writer begins anew.
    pub fn cut(&mut self) {
        self.mode = Mode::Cut;
        self.is_ahead = true;
        self.entries = Vec::new();
        self.bytes = 0;
        self.waiting_since = None;
    }

    /// Whether what waits, so many, is to be told without being written, because it has waited for too long.
    pub fn gives_up_waiting(&mut self, now: Instant, waiting: usize) -> bool {
        let gives_up = self
            .waiting_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        if gives_up {
            self.waiting_since = None;
            self.mode = Mode::Late;
            self.is_ahead = true;
            self.count(Unwritten::Late, waiting as u64);
        }
        gives_up
    }

    /// Nothing more comes in.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Something happened after that.
    pub fn came_too_late(&mut self) {
        self.too_late += 1;
    }

    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    pub fn count(&mut self, why: Unwritten, events: u64) {
        self.unwritten[why as usize] += events;
    }

    pub fn unwritten(&self) -> [u64; Unwritten::ALL.len()] {
        self.unwritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ids::ConferenceId;

    fn entry(global: u64) -> Entry {
        Entry {
            global,
            seq: global,
            conference: ConferenceId::parse("r").unwrap(),
            call: None,
            kind: "leg.muted",
            json: "{}".into(),
        }
    }

    fn taken(queue: &mut Queue) -> usize {
        match queue.work() {
            Work::Write(entries) => entries.len(),
            Work::BeginAnew | Work::Nothing => 0,
        }
    }

    #[test]
    fn what_waits_too_long_for_the_disk_is_told_and_so_is_what_follows_until_the_disk_is_back() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        assert_eq!(queue.push(entry(1), begun), Telling::OnceWritten);
        assert_eq!(taken(&mut queue), 1);
        assert!(!queue.gives_up_waiting(begun + PATIENCE / 2, 1));
        let later = begun + PATIENCE;
        assert!(queue.gives_up_waiting(later, 1));
        assert!(!queue.gives_up_waiting(later, 1), "once is enough");
        assert_eq!(queue.tells_ahead_to(), 0, "not before it is marked");
        assert_eq!(queue.push(entry(2), later), Telling::OnceWritten);
        assert_eq!(queue.marking(2), Some(2 + SKIP));
        assert_eq!(queue.tells_ahead_to(), 0);
        queue.is_marked(2 + SKIP, true);
        assert_eq!((queue.tells_ahead_to(), queue.marking(2)), (2 + SKIP, None));
        // The disk is back, with one behind.
        queue.is_written(later);
        assert_eq!(queue.push(entry(3), later), Telling::AtOnce);
        assert_eq!(taken(&mut queue), 2);
        assert!(queue.marking(3).is_none(), "what was told is not all written");
        queue.is_written(later);
        assert_eq!(queue.push(entry(4), later), Telling::OnceWritten);
        assert_eq!(queue.unwritten(), [0, 0, 3, 0, 0]);
        assert_eq!(queue.marking(4), Some(0));
        assert_eq!(queue.marked_to(), 0, "the mark is going");
    }

    #[test]
    fn in_a_long_outage_the_mark_goes_before_what_is_told_and_never_behind_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.cut();
        assert_eq!(queue.marking(7), Some(7 + SKIP));
        queue.is_marked(7 + SKIP, true);
        assert_eq!(queue.marking(6 + SKIP / 2), None);
        let renewed = 7 + SKIP / 2 + SKIP;
        assert_eq!(queue.marking(7 + SKIP / 2), Some(renewed));
        // The disk takes its time with it.
        assert_eq!(queue.push(entry(7 + SKIP), now), Telling::AtOnce);
        assert_eq!(queue.push(entry(8 + SKIP), now), Telling::OnceWritten);
        assert_eq!(queue.tells_ahead_to(), 7 + SKIP);
        queue.is_marked(renewed, true);
        assert_eq!(queue.tells_ahead_to(), renewed);
    }

    #[test]
    fn no_more_waits_for_the_disk_than_there_is_room_for() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 1..=ENTRIES_MAX as u64 {
            assert_eq!(queue.push(entry(number), now), Telling::OnceWritten);
        }
        assert_eq!(queue.push(entry(u64::MAX), now), Telling::OnceWritten);
        assert_eq!(queue.unwritten(), [0, ENTRIES_MAX as u64 + 1, 0, 0, 0]);
        assert_eq!(queue.marking(0), Some(SKIP));
        queue.is_marked(SKIP, false);
        assert_eq!(
            queue.push(entry(u64::MAX), now),
            Telling::AtOnce,
            "until the writer begins anew"
        );
        assert!(matches!(queue.work(), Work::BeginAnew));
        queue.begin_anew(now);
        assert_eq!(queue.push(entry(u64::MAX), now), Telling::OnceWritten);
    }
}
