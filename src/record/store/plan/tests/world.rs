//! Plans against a model of an object store: it loses requests and answers, is away for hours, and holds objects of
//! others; the machine under the plan is killed at any point and goes on from its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::record::journal::frame;
use crate::record::store::Finished;
use crate::record::store::log;

/// The store, as far as the five calls can see it. An object or a part is its checksum.
#[derive(Default)]
struct Model {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Open>,
    made: u32,
    knows_if_match: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    parts: Vec<u32>,
    is_ours: bool,
}

struct Open {
    key: String,
    at_s: u64,
    parts: BTreeMap<u32, u32>,
}

impl Model {
    fn carry_out(&mut self, call: &Call, at_s: u64, file: &Finished) -> Answer {
        let ours = |parts| Held { parts, is_ours: true };
        // The bucket's lifecycle rule.
        self.uploads.retain(|_, open| at_s - open.at_s < 24 * 3_600);
        match call {
            Call::Create { key } => {
                self.made += 1;
                let upload = format!("upload-{}", self.made);
                let open = Open {
                    key: key.clone(),
                    at_s,
                    parts: BTreeMap::new(),
                };
                self.uploads.insert(upload.clone(), open);
                Answer::Created { upload }
            }
            Call::Part { upload, number, .. } => {
                let Some(open) = self.uploads.get_mut(upload) else {
                    return refused(Reason::NoUpload);
                };
                let crc32c = file.parts[*number as usize - 1];
                open.parts.insert(*number, crc32c);
                Answer::Part {
                    etag: format!("etag-{crc32c}"),
                    crc32c,
                }
            }
            Call::Complete {
                key, upload, parts, ..
            } => {
                let Some(open) = self.uploads.get(upload) else {
                    return refused(Reason::NoUpload);
                };
                if self.objects.contains_key(key) {
                    return refused(Reason::Taken);
                }
                let sent: BTreeMap<_, _> = parts.iter().map(|part| (part.number, part.crc32c)).collect();
                if open.key != *key
                    || sent
                        .iter()
                        .any(|(number, crc)| open.parts.get(number) != Some(crc))
                {
                    return refused(Reason::BadPart);
                }
                self.uploads.remove(upload);
                self.objects
                    .insert(key.clone(), ours(sent.into_values().collect()));
                Answer::Stored {
                    etag: "whole".to_owned(),
                }
            }
            Call::Put { is_proof: true, .. } if !self.knows_if_match => refused(Reason::Unsupported),
            Call::Put { key, is_proof, .. } => {
                match (self.objects.get(key), is_proof) {
                    (Some(_), false) => return refused(Reason::Taken),
                    (Some(held), true) if held.parts != file.parts => return refused(Reason::Taken),
                    (None, true) => return refused(Reason::NoKey),
                    _ => {}
                }
                self.objects.insert(key.clone(), ours(file.parts.clone()));
                Answer::Stored {
                    etag: "whole".to_owned(),
                }
            }
            Call::Abort { upload, .. } => match self.uploads.remove(upload) {
                Some(_) => Answer::Aborted,
                None => refused(Reason::NoUpload),
            },
        }
    }

    fn stranger(&mut self) {
        let held = Held {
            parts: vec![666],
            is_ours: false,
        };
        self.objects.entry(KEY.to_owned()).or_insert(held);
    }
}

/// One delivery, from the first byte of the file to the object, with everything in the way that `rng` thinks of.
struct World {
    rng: Rng,
    seed: u64,
    model: Model,
    plan: Plan,
    /// As it is on the disk.
    log: Vec<u8>,
    records: u64,
    now: Duration,
    file: Finished,
    written: u64,
    is_finished: bool,
    outage_until: Duration,
    calls: u32,
    crashes: u32,
    /// Uploads that the log knows.
    known: Vec<String>,
    /// Of those: aborted, or given up.
    settled: Vec<String>,
    is_patient: bool,
    makes_anew: bool,
}

impl World {
    fn new(seed: u64, knows_if_match: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let bytes = match rng.u8(0..4) {
            0 => rng.u64(0..PART_BYTES),
            1 => PART_BYTES * rng.u64(1..4),
            _ => rng.u64(PART_BYTES..4 * PART_BYTES),
        };
        World {
            model: Model {
                knows_if_match,
                ..Model::default()
            },
            plan: Plan::new(order(), Tempo::default(), seed),
            log: Vec::new(),
            records: 0,
            now: Duration::ZERO,
            file: file(bytes),
            written: 0,
            is_finished: false,
            outage_until: Duration::ZERO,
            calls: 0,
            crashes: 0,
            known: Vec::new(),
            settled: Vec::new(),
            is_patient: rng.bool(),
            makes_anew: false,
            rng,
            seed,
        }
    }

    /// Trouble, but not for ever: a world without an end proves nothing.
    fn is_troubled(&self) -> bool {
        self.calls < 60
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.is_troubled() && self.rng.u32(0..100) < percent
    }

    fn progress(&self) -> Progress {
        Progress {
            stable: if self.is_patient { 44 } else { 0 }..self.written,
            finished: self.is_finished.then(|| Arc::new(self.file.clone())),
        }
    }

    fn grow(&mut self) {
        let more = self.rng.u64(0..PART_BYTES);
        self.written = (self.written + more).min(self.file.bytes);
        self.is_finished = self.written == self.file.bytes && (self.is_finished || self.rng.bool());
    }

    /// `false`: killed before it was all on the disk.
    fn write(&mut self, entries: &[Entry]) -> bool {
        let mut bytes = Vec::new();
        for entry in entries {
            let payload = serde_json::to_vec(entry).unwrap();
            frame::put(&mut bytes, self.records, 1, &[&payload]);
            self.records += 1;
        }
        if !entries.is_empty() && self.chance(5) {
            let torn = self.rng.usize(0..bytes.len());
            self.log.extend_from_slice(&bytes[..torn]);
            self.crash();
            return false;
        }
        self.log.extend_from_slice(&bytes);
        for entry in entries {
            match entry {
                Entry::Created { upload, .. } => self.known.push(upload.clone()),
                Entry::Aborted { upload } => self.settled.push(upload.clone()),
                _ => {}
            }
        }
        true
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let (recalled, end, number) = log::read(&self.log);
        assert!(
            !recalled.is_damaged,
            "seed {}: a torn record is no damage",
            self.seed
        );
        self.log.truncate(end as usize);
        self.records = number;
        self.plan = Plan::new(order(), Tempo::default(), self.rng.u64(..));
        // What the torn write held counts from now on as far as it is there.
        for entry in &recalled.entries {
            self.plan.recall(entry);
            if let Entry::Created { upload, .. } = entry
                && !self.known.contains(upload)
            {
                self.known.push(upload.clone());
            }
            if let Entry::Aborted { upload } = entry {
                self.settled.push(upload.clone());
            }
        }
        self.now += Duration::from_secs(self.rng.u64(0..600));
        if self.makes_anew && self.chance(10) {
            // The image is made anew from the journal, and comes out otherwise.
            self.file.crc32c += 10_000;
            *self.file.parts.last_mut().expect("it has a part") += 10_000;
        }
    }

    fn run(&mut self) -> Delivered {
        for _ in 0..20_000 {
            if self.chance(1) {
                self.model.stranger();
            }
            if self.chance(2) {
                self.crash();
            }
            if self.chance(2) {
                self.outage_until = self.now + Duration::from_secs(self.rng.u64(0..6 * 3_600));
            }
            let progress = self.progress();
            match self.plan.next(self.now, &progress) {
                Step::Done(delivered) => return delivered,
                Step::Wait(Some(until)) => {
                    if self.plan.renames == RENAMES_MAX && !self.is_troubled() {
                        // Somebody has seen why.
                        self.model.objects.remove(&self.plan.key);
                    }
                    assert!(until > self.now, "seed {}: a wait is a wait", self.seed);
                    self.now = until;
                }
                Step::Wait(None) => {
                    assert!(
                        !self.is_finished,
                        "seed {}: nothing to wait for once it is finished",
                        self.seed
                    );
                    self.now += Duration::from_secs(1);
                    self.grow();
                }
                Step::Call(call) => self.call(&call),
            }
        }
        panic!("seed {}: not delivered", self.seed);
    }

    fn call(&mut self, call: &Call) {
        self.calls += 1;
        let entries = self.plan.before(call);
        if !self.write(&entries) {
            return;
        }
        let at_s = self.now.as_secs();
        let answer = if self.now < self.outage_until {
            refused(Reason::Unsent)
        } else if self.chance(40) {
            match self.rng.u8(0..7) {
                0 => refused(Reason::Busy),
                1 => refused(Reason::Denied),
                2 => refused(Reason::TimedOut),
                3 if matches!(call, Call::Complete { .. }) => refused(Reason::Conflict),
                4 if !matches!(call, Call::Complete { .. }) => {
                    self.model.carry_out(call, at_s, &self.file);
                    refused(Reason::WrongAnswer)
                }
                // The answer is lost, and what was asked is done.
                _ => {
                    self.model.carry_out(call, at_s, &self.file);
                    refused(
                        *self
                            .rng
                            .choice(&[Reason::Unanswered, Reason::TimedOut, Reason::Internal])
                            .unwrap(),
                    )
                }
            }
        } else {
            self.model.carry_out(call, at_s, &self.file)
        };
        self.now += Duration::from_millis(self.rng.u64(1..2_000));
        if self.chance(5) {
            // Killed between the answer and the log.
            return self.crash();
        }
        let entries = self.plan.answered(self.now, at_s, call, answer);
        self.write(&entries);
    }

    fn check(&self, delivered: &Delivered) {
        let seed = self.seed;
        let ours: Vec<_> = self
            .model
            .objects
            .iter()
            .filter(|(_, held)| held.is_ours)
            .collect();
        let is_settled_by_proof = self.model.knows_if_match && !self.makes_anew;
        assert!(
            ours.len() == 1 || !is_settled_by_proof,
            "seed {seed}: exactly one object is ours"
        );
        let found = self.model.objects.get(&delivered.key);
        assert!(
            found.is_some_and(|held| held.is_ours),
            "seed {seed}: it is where it is said to be"
        );
        let sent = found.map(|held| &held.parts);
        assert_eq!(sent, Some(&self.file.parts), "seed {seed}: byte for byte");
        assert_eq!(delivered.is_renamed, delivered.key != KEY, "seed {seed}");
        for (key, held) in &self.model.objects {
            assert!(
                held.is_ours || held.parts == [666],
                "seed {seed}: the stranger's object at {key} is as it was"
            );
        }
        for upload in self.model.uploads.keys() {
            let is_forgotten = self.known.contains(upload) && !self.settled.contains(upload);
            assert!(!is_forgotten, "seed {seed}: {upload} is known and left behind");
        }
    }
}

#[test]
fn whatever_happens_there_is_one_object_of_ours_and_strangers_keep_theirs() {
    let (mut crashes, mut renamed, mut calls) = (0, 0, 0);
    for seed in 0..20_000 {
        let mut world = World::new(seed, true);
        let delivered = world.run();
        world.check(&delivered);
        crashes += world.crashes;
        calls += world.calls;
        renamed += u32::from(delivered.is_renamed);
    }
    assert!(crashes > 10_000, "{crashes} crashes in {calls} calls");
    assert!(renamed > 1_000, "{renamed} renamed");
}

#[test]
fn a_store_that_cannot_compare_has_our_object_too_if_need_be_twice() {
    let (mut renamed, mut strangers) = (0, 0);
    for seed in 0..10_000 {
        let mut world = World::new(seed, false);
        let delivered = world.run();
        world.check(&delivered);
        renamed += u32::from(delivered.is_renamed);
        strangers += u32::from(world.model.objects.values().any(|held| !held.is_ours));
    }
    assert!(renamed > 500, "{renamed} renamed");
    assert!(strangers > 500, "{strangers} strangers");
}

#[test]
fn a_file_that_is_made_anew_in_the_middle_arrives_as_it_became() {
    for seed in 0..10_000 {
        let mut world = World::new(seed, true);
        world.makes_anew = true;
        let delivered = world.run();
        world.check(&delivered);
    }
}
