//! Plans against a model of an object store: it loses requests and answers, is away for hours, and holds objects of
//! others; the machine under the plan is killed at any point and goes on from its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::record::journal::frame;
use crate::record::store::Finished;
use crate::record::store::log;

const KEY: &str = "calls/talk.wav";

fn order() -> Order {
    Order {
        key: KEY.to_owned(),
        recording_id: "id-7".to_owned(),
        etag_is_md5: true,
    }
}

/// A file of so many bytes; its parts are named by their checksums.
fn file(bytes: u64) -> Finished {
    let parts = bytes.div_ceil(PART_BYTES).max(1) as u32;
    Finished {
        bytes,
        crc32c: 1_000 + parts,
        parts: (1..=parts).map(|number| 100 + number).collect(),
    }
}

fn finished(bytes: u64) -> Progress {
    Progress {
        stable: 44..bytes,
        finished: Some(Arc::new(file(bytes))),
    }
}

fn refused(reason: Reason) -> Answer {
    Answer::Refused(Refusal {
        reason,
        text: reason.name().to_owned(),
    })
}

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
                    (Some(held), true) if !held.is_ours => return refused(Reason::Taken),
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
        if let Some(entry) = self.plan.before(call)
            && !self.write(&[entry])
        {
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
        assert_eq!(ours.len(), 1, "seed {seed}: exactly one object is ours");
        assert_eq!(
            *ours[0].0, delivered.key,
            "seed {seed}: it is where it is said to be"
        );
        assert_eq!(ours[0].1.parts, self.file.parts, "seed {seed}: byte for byte");
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
fn a_store_that_cannot_compare_gets_one_object_too() {
    for seed in 0..5_000 {
        let mut world = World::new(seed, false);
        let key_is_ours = |world: &World| world.model.objects.values().all(|held| held.is_ours);
        let delivered = world.run();
        // Where doubt cannot be settled, an object under our key counts as ours.
        if key_is_ours(&world) {
            world.check(&delivered);
        }
    }
}

/// A plan and what it does, call by call.
struct Desk {
    plan: Plan,
    now: Duration,
    progress: Progress,
    log: Vec<Entry>,
}

impl Desk {
    fn new(progress: Progress) -> Desk {
        Desk {
            plan: Plan::new(order(), Tempo::default(), 1),
            now: Duration::ZERO,
            progress,
            log: Vec::new(),
        }
    }

    fn next(&mut self) -> Step {
        loop {
            match self.plan.next(self.now, &self.progress) {
                Step::Wait(Some(until)) => self.now = until,
                step => return step,
            }
        }
    }

    /// The next call gets this answer; says which it was.
    fn answer(&mut self, answer: Answer) -> String {
        let Step::Call(call) = self.next() else {
            panic!("a call was expected");
        };
        self.log.extend(self.plan.before(&call));
        let entries = self.plan.answered(self.now, self.now.as_secs(), &call, answer);
        self.log.extend(entries);
        match &call {
            Call::Part {
                number,
                is_proof: true,
                ..
            } => format!("proof by part {number}"),
            Call::Part { number, .. } => format!("part {number}"),
            Call::Put {
                key, is_proof: true, ..
            } => format!("proof of {key}"),
            Call::Put { key, .. } => format!("put {key}"),
            Call::Create { key } => format!("create {key}"),
            Call::Complete { upload, parts, .. } => format!("complete {upload} of {}", parts.len()),
            Call::Abort { upload, .. } => format!("abort {upload}"),
        }
    }

    fn create(&mut self, upload: &str) -> String {
        self.answer(Answer::Created {
            upload: upload.to_owned(),
        })
    }

    fn part(&mut self, crc32c: u32) -> String {
        self.answer(Answer::Part {
            etag: "e".to_owned(),
            crc32c,
        })
    }

    fn stored(&mut self) -> String {
        self.answer(Answer::Stored { etag: "e".to_owned() })
    }

    fn refuse(&mut self, reason: Reason) -> String {
        self.answer(refused(reason))
    }

    fn restart(&mut self) {
        self.plan = Plan::new(order(), Tempo::default(), 2);
        self.log.iter().for_each(|entry| self.plan.recall(entry));
    }

    fn delivered(&mut self) -> Delivered {
        match self.next() {
            Step::Done(delivered) => delivered,
            step => panic!("not done: {step:?}"),
        }
    }

    /// An upload of two parts, complete but for the completion.
    fn uploaded() -> Desk {
        let mut desk = Desk::new(finished(PART_BYTES + 7));
        desk.create("u");
        assert_eq!(desk.part(102), "part 2");
        assert_eq!(desk.part(101), "part 1");
        desk
    }
}

#[test]
fn parts_go_up_while_the_file_grows_and_the_one_with_the_header_last() {
    let mut desk = Desk::new(Progress::default());
    assert_eq!(desk.next(), Step::Wait(None));
    desk.progress.stable = 44..2 * PART_BYTES - 1;
    assert_eq!(desk.next(), Step::Wait(None), "the second part is not whole");
    desk.progress.stable = 44..3 * PART_BYTES + 5;
    assert_eq!(desk.create("u"), format!("create {KEY}"));
    assert_eq!(desk.part(102), "part 2");
    assert_eq!(desk.part(103), "part 3");
    assert_eq!(desk.next(), Step::Wait(None));
    desk.progress = finished(3 * PART_BYTES + 5);
    assert_eq!(desk.part(104), "part 4");
    assert_eq!(desk.part(101), "part 1");
    assert_eq!(desk.stored(), "complete u of 4");
    assert_eq!(desk.delivered().key, KEY);
}

#[test]
fn a_small_file_is_one_call() {
    let mut desk = Desk::new(finished(PART_BYTES - 1));
    assert_eq!(desk.stored(), format!("put {KEY}"));
    assert!(!desk.delivered().is_renamed);
    let mut kms = Desk::new(finished(7));
    kms.plan.order.etag_is_md5 = false;
    assert_eq!(
        kms.create("u"),
        format!("create {KEY}"),
        "where its ETag would prove nothing"
    );
    assert_eq!(kms.part(101), "part 1");
    assert_eq!(kms.stored(), "complete u of 1");
}

#[test]
fn parts_of_a_file_that_came_out_otherwise_go_up_again_and_no_others() {
    let mut desk = Desk::new(Progress {
        stable: 44..3 * PART_BYTES,
        finished: None,
    });
    desk.create("u");
    desk.part(102);
    desk.part(7);
    desk.restart();
    desk.progress = finished(3 * PART_BYTES);
    assert_eq!(desk.part(103), "part 3");
    assert_eq!(desk.part(101), "part 1");
    assert_eq!(desk.stored(), "complete u of 3");
}

#[test]
fn a_key_of_a_stranger_is_left_alone() {
    let mut small = Desk::new(finished(7));
    small.refuse(Reason::Taken);
    assert_eq!(small.stored(), "put calls/talk~id-7.wav");
    assert!(small.delivered().is_renamed);

    let mut large = Desk::uploaded();
    assert_eq!(large.refuse(Reason::Taken), "complete u of 2");
    assert_eq!(large.answer(Answer::Aborted), "abort u");
    assert_eq!(large.create("v"), "create calls/talk~id-7.wav");
    large.part(102);
    large.part(101);
    large.refuse(Reason::Taken);
    large.answer(Answer::Aborted);
    assert_eq!(large.create("w"), "create calls/talk~id-7-2.wav");
}

#[test]
fn a_completion_without_an_answer_is_ours_when_its_upload_is_gone() {
    for lost in [Reason::Unanswered, Reason::TimedOut, Reason::Internal] {
        for said in [Reason::NoUpload, Reason::Taken] {
            let mut desk = Desk::uploaded();
            desk.refuse(lost);
            desk.restart();
            assert_eq!(desk.refuse(said), "complete u of 2");
            assert_eq!(desk.refuse(Reason::NoUpload), "proof by part 2");
            assert_eq!(desk.delivered().key, KEY);
        }
    }
}

#[test]
fn a_completion_without_an_answer_is_not_ours_while_its_upload_lives() {
    let mut desk = Desk::uploaded();
    desk.refuse(Reason::Unanswered);
    desk.refuse(Reason::Taken);
    assert_eq!(desk.part(102), "proof by part 2");
    assert_eq!(desk.answer(Answer::Aborted), "abort u");
    assert_eq!(desk.create("v"), "create calls/talk~id-7.wav");
}

#[test]
fn an_upload_that_a_lifecycle_rule_may_have_removed_proves_nothing() {
    let mut desk = Desk::uploaded();
    desk.refuse(Reason::Unanswered);
    desk.now += Duration::from_secs(30 * 3_600);
    desk.refuse(Reason::NoUpload);
    assert_eq!(desk.refuse(Reason::NoUpload), "proof by part 2");
    assert_eq!(desk.create("v"), format!("create {KEY}"), "all parts again");
}

#[test]
fn a_lost_or_conflicting_upload_begins_anew() {
    let mut lost = Desk::uploaded();
    lost.refuse(Reason::NoUpload);
    assert_eq!(lost.create("v"), format!("create {KEY}"));
    for reason in [Reason::Conflict, Reason::BadPart] {
        let mut desk = Desk::uploaded();
        desk.refuse(reason);
        assert_eq!(desk.answer(Answer::Aborted), "abort u");
        assert_eq!(desk.create("v"), format!("create {KEY}"));
        assert_eq!(desk.part(102), "part 2");
    }
    let mut doubtful = Desk::uploaded();
    doubtful.refuse(Reason::Unanswered);
    assert_eq!(doubtful.refuse(Reason::Conflict), "complete u of 2");
    assert_eq!(doubtful.stored(), "complete u of 2", "it may just be under way");
}

#[test]
fn a_small_object_without_an_answer_is_ours_when_it_has_our_bytes() {
    for (said, key) in [
        (Some(Reason::Taken), "calls/talk~id-7.wav"),
        (Some(Reason::Unsupported), KEY),
        (None, KEY),
    ] {
        let mut desk = Desk::new(finished(7));
        desk.refuse(Reason::TimedOut);
        desk.restart();
        desk.refuse(Reason::Taken);
        let proof = match said {
            Some(reason) => desk.refuse(reason),
            None => desk.stored(),
        };
        assert_eq!(proof, format!("proof of {KEY}"));
        if said == Some(Reason::Taken) {
            desk.stored();
        }
        assert_eq!(desk.delivered().key, key, "{said:?}");
    }
}

#[test]
fn who_may_write_but_not_compare_has_delivered_and_who_may_nothing_has_not() {
    let mut writer = Desk::new(finished(7));
    writer.refuse(Reason::Unanswered);
    for _ in 0..PROOFS_DENIED_MAX {
        assert_eq!(writer.refuse(Reason::Taken), format!("put {KEY}"));
        assert_eq!(writer.refuse(Reason::Denied), format!("proof of {KEY}"));
    }
    assert_eq!(writer.delivered().key, KEY);
    let mut nobody = Desk::new(finished(7));
    nobody.refuse(Reason::Unanswered);
    nobody.refuse(Reason::Taken);
    for _ in 0..2 * PROOFS_DENIED_MAX {
        assert_eq!(nobody.refuse(Reason::Denied), format!("proof of {KEY}"));
        assert_eq!(nobody.refuse(Reason::Denied), format!("put {KEY}"));
        nobody.refuse(Reason::Taken);
    }
    assert_eq!(nobody.refuse(Reason::Taken), format!("proof of {KEY}"));
    assert_eq!(nobody.stored(), "put calls/talk~id-7.wav");
}

#[test]
fn what_was_certainly_not_done_is_not_in_doubt() {
    for reason in [Reason::Unsent, Reason::Busy, Reason::Denied, Reason::NoBucket] {
        let mut desk = Desk::new(finished(7));
        desk.refuse(reason);
        desk.restart();
        desk.refuse(Reason::Taken);
        assert_eq!(desk.stored(), "put calls/talk~id-7.wav", "{reason:?}");
    }
    let mut desk = Desk::new(finished(7));
    desk.refuse(Reason::Unanswered);
    desk.refuse(Reason::Busy);
    desk.refuse(Reason::Taken);
    assert_eq!(
        desk.stored(),
        format!("proof of {KEY}"),
        "but an earlier doubt stays"
    );
}

#[test]
fn a_call_that_this_machine_could_not_make_settles_nothing() {
    let mut desk = Desk::new(finished(7));
    desk.refuse(Reason::Unanswered);
    desk.restart();
    let Step::Call(call) = desk.next() else {
        panic!("a call was expected");
    };
    let refusal = Refusal {
        reason: Reason::Local,
        text: "the file cannot be read".to_owned(),
    };
    desk.plan.hindered(desk.now, &call, refusal);
    desk.refuse(Reason::Taken);
    assert_eq!(desk.stored(), format!("proof of {KEY}"));
}

#[test]
fn an_answer_that_tells_of_other_bytes_is_not_believed() {
    let mut desk = Desk::uploaded();
    desk.refuse(Reason::WrongAnswer);
    desk.answer(Answer::Aborted);
    assert_eq!(desk.create("v"), "create calls/talk~id-7.wav");
    let mut small = Desk::new(finished(7));
    small.refuse(Reason::WrongAnswer);
    small.refuse(Reason::Taken);
    assert_eq!(small.stored(), format!("proof of {KEY}"));
}

#[test]
fn an_upload_that_cannot_be_aborted_is_left_to_the_bucket_after_some_tries() {
    let mut desk = Desk::uploaded();
    desk.refuse(Reason::Taken);
    for _ in 0..ABORTS_MAX {
        assert_eq!(desk.refuse(Reason::Internal), "abort u");
    }
    assert_eq!(desk.create("v"), "create calls/talk~id-7.wav");
}

#[test]
fn a_damaged_log_leaves_everything_in_doubt() {
    let mut desk = Desk::new(finished(7));
    desk.plan.doubt();
    desk.refuse(Reason::Taken);
    assert_eq!(desk.stored(), format!("proof of {KEY}"));
}
