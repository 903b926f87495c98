//! Lives of a daemon, one after the other, as chance has it: who reads over all of them sees each number once, or is told
//! which are missing, and nothing is ever given the number of something else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::archive::{Archive, Spot};
use super::past::read_past;
use super::segment;
use super::writer::Writer;
use crate::control::events::ledger::Ledger;
use crate::control::events::log::{Entry, Log};
use crate::control::events::reader::{Message, Place};
use crate::control::events::{Happening, obituary};
use crate::control::ids::{CallId, ConferenceId};
use crate::record::disk::Disk;
use crate::record::test_disk::{FailingDisk, ShadowDisk};

const DIR: &str = "/events";

fn room(number: usize) -> ConferenceId {
    ConferenceId::parse(&format!("room-{number}")).unwrap()
}

fn call(number: usize) -> CallId {
    CallId::parse(&format!("leg-{number}")).unwrap()
}

/// A daemon as far as events go, without threads.
struct Life {
    log: Log,
    writer: Writer,
    archive: Archive,
    queue: Vec<Entry>,
    has_skipped: bool,
}

impl Life {
    fn begin(disk: &ShadowDisk, boot: &str, ring: usize, disk_bytes: u64) -> Life {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let past = read_past(&*disk, Path::new(DIR), boot, ring).unwrap();
        let writer = Writer::begin(disk.clone(), Path::new(DIR), boot, disk_bytes, &past);
        assert!(writer.has_begun());
        let archive = Archive::new(disk, DIR.into(), writer.segments());
        let has_skipped = past.has_skipped;
        let log = Log::new(ring, past.ledger, past.recent);
        let mut life = Life {
            writer,
            archive,
            queue: Vec::new(),
            has_skipped,
            log,
        };
        for happening in obituary::of(&life.log) {
            let entry = life.log.number(happening);
            life.queue.push(entry);
        }
        life
    }

    fn tell(&mut self, conference: ConferenceId, call: Option<CallId>, kind: &'static str) {
        let fields = match kind {
            "leg.joined" => json!({ "codec": "PCMU/8000", "custom": { "x": [1] } }),
            _ => json!({ "on": true }),
        };
        let Value::Object(fields) = fields else {
            unreachable!()
        };
        self.happen(conference, call, kind, fields);
    }

    fn happen(
        &mut self,
        conference: ConferenceId,
        call: Option<CallId>,
        kind: &'static str,
        fields: Map<String, Value>,
    ) {
        let entry = self.log.number(Happening {
            conference,
            call,
            kind,
            at: SystemTime::now(),
            fields,
        });
        self.queue.push(entry);
    }

    /// Something that can happen now.
    fn something(&mut self, rng: &mut fastrand::Rng) {
        let (conference, call) = (room(rng.usize(0..4)), call(rng.usize(0..6)));
        let legs = self.log.ledger.rooms.get(&conference);
        let is_in = legs.is_some_and(|legs| legs.iter().any(|leg| leg.call == call));
        let is_alone = legs.is_some_and(|legs| legs.len() == 1);
        match (legs.is_some(), is_in) {
            (false, _) => {
                self.tell(conference.clone(), None, "room.started");
                self.tell(conference, Some(call), "leg.joined");
            }
            (true, false) => self.tell(conference, Some(call), "leg.joined"),
            (true, true) if rng.u8(0..4) > 0 => self.tell(conference, Some(call), "leg.talking"),
            (true, true) => {
                self.tell(conference.clone(), Some(call), "leg.left");
                if is_alone {
                    self.tell(conference, None, "room.ended");
                }
            }
        }
    }

    fn write(&mut self) {
        let entries = std::mem::take(&mut self.queue);
        self.writer.write(&entries).unwrap();
        self.log.tell(u64::MAX);
    }

    fn end_all(&mut self) {
        for (conference, legs) in self.log.ledger.rooms.clone() {
            for leg in legs {
                self.tell(conference.clone(), Some(leg.call), "leg.left");
            }
            self.tell(conference, None, "room.ended");
        }
        self.write();
    }
}

/// Somebody who reads one stream through all lives.
struct Listener {
    conference: Option<ConferenceId>,
    /// Its place in this life.
    place: Option<(Place, Option<Spot>)>,
    last: u64,
    lost: u64,
    /// Who is there, by what was told; nothing is known after a gap.
    present: BTreeMap<ConferenceId, BTreeSet<CallId>>,
}

/// What was told under each number of each stream.
type Told = BTreeMap<(Option<ConferenceId>, u64), Arc<str>>;

impl Listener {
    fn new(conference: Option<ConferenceId>) -> Listener {
        Listener {
            conference,
            place: None,
            last: 0,
            lost: 0,
            present: BTreeMap::new(),
        }
    }

    fn listen(&mut self, life: &Life, told: &mut Told, most: usize) {
        let (mut place, mut spot) = self.place.take().unwrap_or_else(|| {
            let place = Place::new(&life.log, self.conference.clone(), Some(self.last));
            (place, None)
        });
        for _ in 0..most {
            let messages = match place.behind(&life.log) {
                Some((after, below)) => {
                    let entries = life.archive.read(after, below, 7, &mut spot);
                    let is_done = entries.is_empty();
                    let messages = place.catch_up(&entries, below);
                    assert!(!is_done || messages.is_empty());
                    messages
                }
                None => {
                    let messages = place.take(&life.log);
                    if messages.is_empty() {
                        break;
                    }
                    messages
                }
            };
            messages.iter().for_each(|message| self.hear(message, told));
        }
        self.place = Some((place, spot));
    }

    fn hear(&mut self, message: &Message, told: &mut Told) {
        let event: Value = serde_json::from_str(&message.json).unwrap();
        if let Some(missed) = event.get("missed") {
            assert_eq!(missed["from"], self.last + 1);
            self.last = missed["to"].as_u64().unwrap();
            assert_eq!(message.id, self.last);
            self.lost += 1;
            self.present.clear();
            return;
        }
        assert!(
            event["legs"].is_array() || event["type"] != "lost",
            "never astray: {event}"
        );
        if self.conference.is_some() && self.last == 0 && message.id > 1 {
            // A room it has never heard of, in a log whose numbers have skipped.
            self.last = message.id - 1;
            self.lost += 1;
        }
        assert_eq!(message.id, self.last + 1, "each number once");
        self.last = message.id;
        let number = if self.conference.is_some() {
            "seq"
        } else {
            "globalSeq"
        };
        assert_eq!(event[number], message.id);
        let key = (self.conference.clone(), message.id);
        let before = told.insert(key, message.json.clone());
        assert!(
            before.is_none_or(|before| before == message.json),
            "one number, two events"
        );
        self.follow(message);
    }

    /// Joins and leaves pair, as far as it has heard all.
    fn follow(&mut self, message: &Message) {
        let Some(conference) = message.conference.clone() else {
            return;
        };
        match message.kind {
            "room.started" => {
                let before = self.present.insert(conference, BTreeSet::new());
                assert!(before.is_none() || self.lost > 0, "{}", message.json);
            }
            "room.ended" => {
                let legs = self.present.remove(&conference);
                assert!(legs.is_none_or(|legs| legs.is_empty()), "{}", message.json);
            }
            "leg.joined" => {
                if let Some(legs) = self.present.get_mut(&conference) {
                    assert!(legs.insert(message.call.clone().unwrap()), "{}", message.json);
                }
            }
            "leg.left" => {
                if let Some(legs) = self.present.get_mut(&conference) {
                    assert!(legs.remove(message.call.as_ref().unwrap()), "{}", message.json);
                }
            }
            _ => {}
        }
    }
}

/// How lives may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// In order, or killed at any byte of a write.
    Killed,
    /// By a loss of power too.
    Powerless,
    /// And with a bit of the journal turned over.
    Damaged,
}

fn lives(seed: u64, ends: Ends) {
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut disk = ShadowDisk::default();
    disk.create_folder(Path::new(DIR)).unwrap();
    let (ring, disk_bytes) = match ends {
        Ends::Killed => (rng.usize(1..60), 16 << 20),
        _ => (rng.usize(1..60), rng.u64(8..200) << 10),
    };
    let mut boot = 0;
    let mut told = Told::new();
    let mut listeners: Vec<Listener> = (0..4).map(|number| Listener::new(Some(room(number)))).collect();
    listeners.extend([Listener::new(None), Listener::new(None)]);
    for _ in 0..rng.usize(2..7) {
        let mut life = Life::begin(&disk, &boot.to_string(), ring, disk_bytes);
        if ends == Ends::Killed {
            assert!(!life.has_skipped, "after a kill all is known");
        }
        for _ in 0..rng.usize(0..120) {
            match rng.u8(0..10) {
                0..6 => life.something(&mut rng),
                6 | 7 => life.write(),
                8 => life.writer.syncing().sync().unwrap(),
                _ => {
                    let index = rng.usize(0..listeners.len());
                    listeners[index].listen(&life, &mut told, rng.usize(1..6));
                }
            }
        }
        let end = rng.u8(0..4);
        listeners[5].listen(&life, &mut told, usize::MAX);
        listeners.iter_mut().for_each(|listener| listener.place = None);
        match end {
            0 => {
                life.end_all();
                life.writer.end(false).unwrap();
            }
            1 if ends != Ends::Killed => {
                disk = disk.after_power_loss(&mut rng);
                boot += 1;
            }
            _ => kill(life, &disk, &mut rng),
        }
        if ends == Ends::Damaged && rng.bool() {
            damage(&disk, &mut rng);
        }
    }
    // A last life, in which all hear what is left.
    let mut life = Life::begin(&disk, &boot.to_string(), ring, disk_bytes);
    life.end_all();
    for listener in &mut listeners {
        listener.listen(&life, &mut told, usize::MAX);
        let newest = match &listener.conference {
            None => life.log.ledger.newest,
            Some(id) => life.log.ledger.count_of(id),
        };
        // Of a room that nothing is known of, nothing is said.
        let is_known = listener
            .conference
            .as_ref()
            .is_none_or(|id| life.log.ledger.counts.contains_key(id));
        assert!(
            listener.last == newest || !is_known,
            "{} of {newest}",
            listener.last
        );
        if ends == Ends::Killed {
            assert_eq!(listener.lost, 0, "nothing is lost by kills");
            assert!(listener.present.is_empty(), "all have left");
        }
    }
}

/// The daemon ends in the middle of a write, or before it.
fn kill(mut life: Life, disk: &ShadowDisk, rng: &mut fastrand::Rng) {
    let newest = newest_segment(disk);
    let before = size(disk, &newest);
    let entries = std::mem::take(&mut life.queue);
    life.writer.write(&entries).unwrap();
    if newest_segment(disk) == newest {
        let after = size(disk, &newest);
        let file = disk.open_to_write(Path::new(&newest)).unwrap();
        file.set_size(rng.u64(before..=after)).unwrap();
    }
}

fn damage(disk: &ShadowDisk, rng: &mut fastrand::Rng) {
    let names = disk.names(Path::new(DIR)).unwrap();
    let path = format!("{DIR}/{}", rng.choice(&names).unwrap());
    let bytes = disk.open(Path::new(&path)).unwrap().size().unwrap() as usize;
    if bytes > 0 {
        // Both views of the disk have to be as long as that.
        disk.open(Path::new(&path)).unwrap().sync_data().unwrap();
        disk.flip(Path::new(&path), rng.usize(0..8 * bytes));
    }
}

fn newest_segment(disk: &ShadowDisk) -> String {
    let names = disk.names(Path::new(DIR)).unwrap();
    let newest = names
        .iter()
        .filter_map(|name| segment::first_of(name))
        .max()
        .unwrap();
    format!("{DIR}/{}", segment::name(newest))
}

fn size(disk: &ShadowDisk, path: &str) -> u64 {
    disk.open(Path::new(path)).unwrap().size().unwrap()
}

#[test]
fn over_kills_at_any_byte_no_number_is_missing_or_given_twice_and_joins_and_leaves_pair() {
    (0..100).for_each(|seed| lives(seed, Ends::Killed));
}

#[test]
fn over_losses_of_power_no_number_is_given_twice_and_who_reads_is_told_what_is_missing() {
    (1_000..1_100).for_each(|seed| lives(seed, Ends::Powerless));
}

#[test]
fn with_any_bit_turned_over_no_number_is_given_twice_and_who_reads_is_told_what_is_missing() {
    (2_000..2_150).for_each(|seed| lives(seed, Ends::Damaged));
}

#[test]
fn the_journal_keeps_within_its_bytes_and_old_events_are_read_from_it_as_long_as_they_are_there() {
    let disk = ShadowDisk::default();
    disk.create_folder(Path::new(DIR)).unwrap();
    let bytes_max = 64 << 10;
    let mut life = Life::begin(&disk, "boot", 4, bytes_max);
    for round in 0..3_000 {
        life.tell(room(round % 3), None, "room.started");
        life.write();
        assert!(
            life.archive.bytes() <= bytes_max,
            "{} after {round}",
            life.archive.bytes()
        );
    }
    let mut told = Told::new();
    for conference in [None, Some(room(1))] {
        let mut listener = Listener::new(conference);
        listener.listen(&life, &mut told, usize::MAX);
        assert_eq!(listener.lost, 1, "the oldest are gone, and said to be");
    }
    let of_all = told.keys().filter(|(conference, _)| conference.is_none()).count();
    assert!(of_all > 200, "{of_all} events are still there");
}

#[test]
fn a_journal_of_which_only_names_can_be_read_still_keeps_its_numbers_from_being_given_twice() {
    let disk = ShadowDisk::default();
    disk.create_folder(Path::new(DIR)).unwrap();
    let mut life = Life::begin(&disk, "boot", 10, 8 << 10);
    for _ in 0..500 {
        life.tell(room(1), None, "room.started");
        life.write();
    }
    let newest = life.log.ledger.newest;
    life.writer.end(false).unwrap();
    for name in disk.names(Path::new(DIR)).unwrap() {
        let file = disk.open_to_write(&Path::new(DIR).join(name)).unwrap();
        file.write_at(&vec![0; file.size().unwrap() as usize], 0).unwrap();
    }
    let life = Life::begin(&disk, "boot", 10, 8 << 10);
    assert!(life.has_skipped);
    assert!(life.log.ledger.newest > newest);
    assert!(
        life.log.ledger.count_of(&room(1)) > newest,
        "a room had no more events than there were in all"
    );
}

#[test]
fn what_was_told_and_is_not_written_makes_the_next_start_skip_ahead_unless_it_caught_up() {
    for (has_caught_up, is_killed) in [(false, false), (false, true), (true, false), (true, true)] {
        let disk = ShadowDisk::default();
        disk.create_folder(Path::new(DIR)).unwrap();
        let mut life = Life::begin(&disk, "boot", 10, 1 << 20);
        life.tell(room(1), None, "room.started");
        life.write();
        let mut mark = life.writer.mark();
        mark.set(3_000_000).unwrap();
        if has_caught_up {
            life.writer.begin_anew(life.log.ledger.clone()).unwrap();
            mark.set(0).unwrap();
        }
        if !is_killed {
            life.writer.end(!has_caught_up).unwrap();
        }
        let life = Life::begin(&disk, "boot", 10, 1 << 20);
        assert_eq!(life.has_skipped, !has_caught_up);
        if !has_caught_up {
            assert!(life.log.ledger.newest >= 3_000_000, "as far as was told");
            assert!(
                life.log.ledger.count_of(&room(1)) >= 3_000_000,
                "a room may have had them all"
            );
        }
        drop(life);
        let life = Life::begin(&disk, "boot", 10, 1 << 20);
        assert!(!life.has_skipped, "once is enough");
    }
}

#[test]
fn whatever_became_of_a_segment_nothing_is_read_from_it_that_was_not_written() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut log = Log::new(10, Ledger::default(), Vec::new());
        let mut bytes = Vec::new();
        segment::put_snapshot(&mut bytes, &log.ledger);
        let mut written = BTreeMap::new();
        for number in 0..rng.usize(0..30) {
            let entry = log.number(Happening {
                conference: room(number % 3),
                call: None,
                kind: "room.started",
                at: SystemTime::now(),
                fields: Map::new(),
            });
            segment::put_event(&mut bytes, &entry);
            written.insert(entry.global, entry);
        }
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(0..bytes.len());
            match rng.u8(0..4) {
                0 => bytes[at] ^= 1 << rng.u8(0..8),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.drain(at..(at + rng.usize(0..200)).min(bytes.len()).max(at + 1))),
                _ => drop(
                    bytes
                        .splice(at..at, std::iter::repeat_with(|| rng.u8(..)).take(40))
                        .count(),
                ),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let content = segment::read(&bytes);
        for entry in &content.entries {
            assert_eq!(written.get(&entry.global), Some(entry));
        }
        assert!(content.entries.is_sorted_by_key(|entry| entry.global));
        let (some, taken) = segment::read_some(&bytes, 0, usize::MAX);
        assert!(taken <= bytes.len() && some.iter().all(|entry| written[&entry.global] == *entry));
    }
}

#[test]
fn what_a_failed_sync_left_is_synced_by_the_next_and_no_end_is_sure_after_it() {
    for seed in 0..20 {
        let shadow = ShadowDisk::default();
        let disk = FailingDisk::new(Arc::new(shadow.clone()));
        disk.create_folder(Path::new(DIR)).unwrap();
        let disk_of_writer: Arc<dyn Disk> = Arc::new(disk.clone());
        let past = read_past(&disk, Path::new(DIR), "boot", 10).unwrap();
        let mut writer = Writer::begin(disk_of_writer, Path::new(DIR), "boot", 1 << 20, &past);
        let mut log = Log::new(10, past.ledger, past.recent);
        let entry = log.number(Happening {
            conference: room(1),
            call: None,
            kind: "room.started",
            at: SystemTime::now(),
            fields: Map::new(),
        });
        writer.write(&[entry]).unwrap();
        disk.fail_sync(1);
        assert!(writer.syncing().sync().is_err());
        writer.syncing().sync().unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let after = shadow.after_power_loss(&mut rng);
        let kept = read_past(&after, Path::new(DIR), "boot", 10).unwrap();
        // With what is left of `life` and `ahead` the numbers after it may have skipped.
        let last = kept.recent.last().map(|entry| entry.global);
        assert_eq!(last, Some(1), "seed {seed}");
        writer.end(false).unwrap();
        let next = read_past(&shadow, Path::new(DIR), "next boot", 10).unwrap();
        assert!(next.has_skipped);
    }
}

#[test]
fn an_event_too_long_for_a_record_is_kept_with_its_numbers() {
    let mut log = Log::new(10, Ledger::default(), Vec::new());
    let entry = log.number(Happening {
        conference: room(1),
        call: Some(call(1)),
        kind: "leg.joined",
        at: SystemTime::now(),
        fields: Map::from_iter([("custom".to_owned(), "x".repeat(2 << 20).into())]),
    });
    let mut bytes = Vec::new();
    assert!(segment::put_event(&mut bytes, &entry));
    let (kept, _) = segment::read_some(&bytes, 0, 9);
    let [kept] = &kept[..] else { panic!("it is there") };
    let stub = Entry {
        json: kept.json.clone(),
        ..entry
    };
    assert_eq!(*kept, stub);
    let mut ledger = Ledger::default();
    ledger.note(kept);
    assert_eq!(
        ledger.rooms[&room(1)].len(),
        1,
        "who is there is known all the same"
    );
}
