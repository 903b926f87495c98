//! Events on their way to the disk, and what is told while that takes nothing.

use std::time::{Duration, Instant};

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
    /// It is longer than any record.
    TooLong,
}

impl Unwritten {
    pub const ALL: [Unwritten; 4] = [
        Unwritten::Failed,
        Unwritten::Full,
        Unwritten::Late,
        Unwritten::TooLong,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Unwritten::Failed => "failed",
            Unwritten::Full => "full",
            Unwritten::Late => "late",
            Unwritten::TooLong => "too_long",
        }
    }
}

/// When an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    OnceWritten,
    AtOnce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Writing,
    /// What is queued is told already, and what comes is told at once.
    Late,
    /// Nothing is queued: what comes is told and not written, until the writer begins anew.
    Cut,
}

#[derive(Debug)]
pub struct Queue {
    mode: Mode,
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
            return Telling::AtOnce;
        }
        if self.entries.len() >= ENTRIES_MAX || self.bytes + entry.json.len() > BYTES_MAX {
            self.count(Unwritten::Full, self.entries.len() as u64 + 1);
            self.cut();
            return Telling::AtOnce;
        }
        self.bytes += entry.json.len();
        self.entries.push(entry);
        if self.mode == Mode::Late {
            self.count(Unwritten::Late, 1);
            return Telling::AtOnce;
        }
        self.waiting_since.get_or_insert(now);
        Telling::OnceWritten
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
    pub fn begin_anew(&mut self) {
        self.mode = Mode::Writing;
    }

    /// What the writer had taken is on the disk.
    pub fn is_written(&mut self, now: Instant) {
        self.waiting_since = (!self.entries.is_empty()).then_some(now);
        if self.mode == Mode::Late && self.entries.is_empty() {
            self.mode = Mode::Writing;
        }
    }

    /// What the writer had taken, so many, will not be on the disk, nor what is queued.
    pub fn has_failed(&mut self, taken: usize) {
        self.count(Unwritten::Failed, (taken + self.entries.len()) as u64);
        self.cut();
    }

    fn cut(&mut self) {
        self.mode = Mode::Cut;
        self.entries = Vec::new();
        self.bytes = 0;
        self.waiting_since = None;
    }

    /// Whether what waits is to be told now, because it has waited for too long.
    pub fn gives_up_waiting(&mut self, now: Instant) -> bool {
        let gives_up = self
            .waiting_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        if gives_up {
            self.waiting_since = None;
            self.mode = Mode::Late;
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
        assert!(!queue.gives_up_waiting(begun + PATIENCE / 2));
        let later = begun + PATIENCE;
        assert!(queue.gives_up_waiting(later));
        assert!(!queue.gives_up_waiting(later), "once is enough");
        assert_eq!(queue.push(entry(2), later), Telling::AtOnce);
        // The disk is back, with one behind.
        queue.is_written(later);
        assert_eq!(queue.push(entry(3), later), Telling::AtOnce);
        assert_eq!(taken(&mut queue), 2);
        queue.is_written(later);
        assert_eq!(queue.push(entry(4), later), Telling::OnceWritten);
        assert_eq!(queue.unwritten(), [0, 0, 2, 0]);
    }

    #[test]
    fn no_more_waits_for_the_disk_than_there_is_room_for() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..ENTRIES_MAX as u64 {
            assert_eq!(queue.push(entry(number), now), Telling::OnceWritten);
        }
        assert_eq!(queue.push(entry(0), now), Telling::AtOnce);
        assert_eq!(queue.unwritten(), [0, ENTRIES_MAX as u64 + 1, 0, 0]);
        assert_eq!(
            queue.push(entry(0), now),
            Telling::AtOnce,
            "until the writer begins anew"
        );
        assert!(matches!(queue.work(), Work::BeginAnew));
        queue.begin_anew();
        assert_eq!(queue.push(entry(0), now), Telling::OnceWritten);
    }
}
