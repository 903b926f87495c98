//! Plans call by call: what is asked for next after each answer.

use std::sync::Arc;

use super::*;
use crate::record::store::Finished;

mod world;

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
        (Some(Reason::Unsupported), "calls/talk~id-7.wav"),
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
        if said.is_some() {
            desk.stored();
        }
        assert_eq!(desk.delivered().key, key, "{said:?}");
    }
}

#[test]
fn who_may_write_but_not_compare_sends_it_aside_and_who_may_nothing_waits() {
    let mut writer = Desk::new(finished(7));
    writer.refuse(Reason::Unanswered);
    for _ in 0..PROOFS_DENIED_MAX {
        assert_eq!(writer.refuse(Reason::Taken), format!("put {KEY}"));
        assert_eq!(writer.refuse(Reason::Denied), format!("proof of {KEY}"));
    }
    assert_eq!(
        writer.stored(),
        "put calls/talk~id-7.wav",
        "it may be a stranger's"
    );
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

/// Each is taken, and not to be compared.
fn puts_until_it_waits(desk: &mut Desk) -> Vec<String> {
    let mut puts = Vec::new();
    while desk
        .plan
        .retry()
        .last()
        .is_none_or(|last| last.reason != Reason::Taken)
    {
        puts.push(desk.refuse(Reason::WrongAnswer));
        desk.refuse(Reason::Taken);
        desk.refuse(Reason::Taken);
    }
    puts
}

#[test]
fn a_store_that_takes_every_copy_for_another_is_not_filled_with_them() {
    let mut small = Desk::new(finished(7));
    let puts = puts_until_it_waits(&mut small);
    assert_eq!(puts.len() as u32, 1 + RENAMES_MAX, "{puts:?}");
    for _ in 0..5 {
        let before = small.now;
        assert_eq!(small.refuse(Reason::Taken), "put calls/talk~id-7-4.wav");
        assert!(small.plan.retry().not_before() > before + Duration::from_secs(1));
        let error = small.plan.retry().last().unwrap().text.clone();
        assert!(error.contains("other names"), "{error}");
    }
    small.restart();
    assert_eq!(
        small.stored(),
        "put calls/talk~id-7-4.wav",
        "until somebody has made room"
    );

    let mut large = Desk::uploaded();
    for _ in 0..RENAMES_MAX {
        large.refuse(Reason::WrongAnswer);
        large.answer(Answer::Aborted);
        large.create("v");
        large.part(102);
        large.part(101);
    }
    assert_eq!(large.refuse(Reason::WrongAnswer), "complete v of 2");
    assert_eq!(large.refuse(Reason::NoUpload), "complete v of 2");
    assert_eq!(large.create("w"), "create calls/talk~id-7-4.wav");
}

#[test]
fn a_completion_that_is_refused_for_ever_is_tried_later_each_time_and_said() {
    let mut desk = Desk::uploaded();
    let mut waits = Vec::new();
    for _ in 0..12 {
        desk.refuse(Reason::BadPart);
        waits.push(desk.plan.retry().not_before() - desk.now);
        desk.answer(Answer::Aborted);
        desk.create("v");
        desk.part(102);
        desk.part(101);
        let last = desk.plan.retry().last().expect("it is in the way still");
        assert_eq!(last.reason, Reason::BadPart);
    }
    assert!(waits[11] > Duration::from_secs(120), "{waits:?}");
    desk.restart();
    desk.refuse(Reason::BadPart);
    assert!(
        desk.plan.retry().not_before() - desk.now > Duration::from_secs(120),
        "also after a restart"
    );
    desk.answer(Answer::Aborted);
    desk.create("v");
    desk.part(102);
    desk.part(101);
    desk.stored();
    desk.delivered();
    assert_eq!(desk.plan.retry().last(), None);
}

/// The same file, made anew and with other bytes.
fn made_anew(progress: &Progress) -> Progress {
    let mut file = file(progress.finished.as_ref().unwrap().bytes);
    file.crc32c += 1;
    *file.parts.last_mut().unwrap() += 50;
    Progress {
        finished: Some(Arc::new(file)),
        ..progress.clone()
    }
}

#[test]
fn a_file_that_came_out_otherwise_is_not_the_one_that_was_sent() {
    let mut delivered = Desk::new(finished(7));
    delivered.stored();
    delivered.restart();
    assert_eq!(delivered.delivered().key, KEY);
    let whole = delivered.progress.clone();
    delivered.progress = Progress {
        stable: 0..7,
        finished: None,
    };
    delivered.restart();
    assert_eq!(delivered.next(), Step::Wait(None), "which is it?");
    delivered.progress = made_anew(&whole);
    assert_eq!(delivered.refuse(Reason::Busy), "put calls/talk~id-7.wav");
    delivered.restart();
    assert_eq!(delivered.stored(), "put calls/talk~id-7.wav");
    assert!(delivered.delivered().is_renamed);

    let mut in_doubt = Desk::uploaded();
    in_doubt.refuse(Reason::Unanswered);
    in_doubt.restart();
    in_doubt.progress = made_anew(&in_doubt.progress);
    assert_eq!(in_doubt.refuse(Reason::NoUpload), "abort u");
    in_doubt.restart();
    assert_eq!(in_doubt.create("v"), "create calls/talk~id-7.wav");
    in_doubt.part(152);
    in_doubt.part(101);
    in_doubt.stored();
    assert!(in_doubt.delivered().is_renamed);

    let mut refused = Desk::uploaded();
    refused.refuse(Reason::Denied);
    refused.restart();
    refused.progress = made_anew(&refused.progress);
    assert_eq!(refused.part(152), "part 2", "nothing of the first is there");
    refused.stored();
    assert!(!refused.delivered().is_renamed);
}

#[test]
fn a_log_without_what_was_sent_is_believed() {
    let mut desk = Desk::uploaded();
    desk.refuse(Reason::Unanswered);
    desk.log.retain(|entry| !matches!(entry, Entry::Whole { .. }));
    desk.restart();
    desk.refuse(Reason::NoUpload);
    assert_eq!(desk.refuse(Reason::NoUpload), "proof by part 2");
    assert_eq!(desk.delivered().key, KEY);
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
    let mut large = Desk::uploaded();
    large.plan.doubt();
    large.refuse(Reason::NoUpload);
    large.refuse(Reason::NoUpload);
    assert_eq!(
        large.create("v"),
        format!("create {KEY}"),
        "it may have been aborted"
    );
}
