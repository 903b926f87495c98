//! What is to be done next so that one file becomes one object: a pure state machine without I/O, clock or runtime.
//!
//! ```text
//!   Progress, now ─▶ next() ─▶ Call ─▶ before() ─▶ [log] ─▶ the store ─▶ answered() ─▶ [log] ─▶ next() …
//!   the log, after a restart ─▶ recall() ─────────────────────────────────────────▶ next() …
//! ```
//!
//! Every change that outlives a call is an [`Entry`], and [`Plan::recall`] is the only place that applies one, so what
//! is read back from the log is what was before. What [`Plan::before`] gives must be on the disk before the call is
//! sent; what [`Plan::answered`] gives may be lost, and then some work is done twice.
//!
//! The rule under all of it: an object is ours only when the store has said so. A completion or a small object that
//! was sent without an answer is *in doubt*, and the doubt is settled by calls that only one of the two cases allows:
//! a part is still taken by an upload that lives (so it was never completed, and the object under our key is a
//! stranger's), and an object is replaced only when its ETag is that of our bytes. Where it cannot be settled the
//! file goes up under another name: a second copy costs less than the only one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Call, Reason, Refusal, SentPart};
use super::retry::{Retry, Tempo};
use super::{Delivered, PART_BYTES, Progress};
use crate::record::destination::aside;

/// Uploads are given up for the bucket's lifecycle rule to remove after so many tries to abort them.
const ABORTS_MAX: u32 = 5;

/// Conflicts of a completion in doubt before everything is sent anew.
const CONFLICTS_MAX: u32 = 5;

/// Comparing is not allowed when it was refused so often while the key was said to be taken: on Amazon's S3 it asks for
/// the right to read.
const PROOFS_DENIED_MAX: u32 = 3;

/// Names tried after the one asked for. A store that takes them all is not to be filled with copies.
const RENAMES_MAX: u32 = 4;

/// Lifecycle rules count in whole days: an upload younger than this was not removed by one.
const LIFECYCLE_S_MIN: u64 = 20 * 3_600;

/// What must not be forgotten; one record of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// An upload exists. `at_s`: seconds of the wall clock since 1970.
    Created {
        key: String,
        upload: String,
        at_s: u64,
    },
    /// The store holds a part of the upload.
    Part {
        number: u32,
        etag: String,
        crc32c: u32,
    },
    /// What is about to be sent makes an object of these bytes.
    Whole {
        bytes: u64,
        crc32c: u32,
    },
    /// The completion is about to be sent.
    Completing,
    /// The whole object is about to be sent.
    Putting,
    /// The store refused what was about to be sent: nothing came of it.
    Refused,
    /// The key is another's; this is the next one. An upload to the old key is to be aborted.
    Renamed {
        key: String,
    },
    /// The upload is of no more use, and to be aborted.
    Dropped,
    /// The store knows the upload no more.
    Lost,
    Aborted {
        upload: String,
    },
    Delivered {
        key: String,
        etag: String,
    },
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Call(Call),
    /// Nothing before the given time, or before the progress changes.
    Wait(Option<Duration>),
    Done(Delivered),
}

/// What a plan is told when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub key: String,
    /// Makes the name when the key is taken.
    pub recording_id: String,
    /// `false`: an object's ETag says nothing of its bytes (encryption with a key of KMS), so that small objects go
    /// up in parts too, where doubt can be settled.
    pub etag_is_md5: bool,
}

pub struct Plan {
    order: Order,
    key: String,
    renames: u32,
    upload: Option<Upload>,
    put: Sent,
    condemned: VecDeque<Condemned>,
    aborts: u32,
    /// In a row, while an object of our key is said to be there.
    proofs_denied: u32,
    delivered: Option<Delivered>,
    /// What may be in the bucket under our key. `None`: nothing, or the log does not tell.
    whole: Option<Whole>,
    is_log_damaged: bool,
    /// Applied, and to be on the disk before the next call.
    unlogged: Vec<Entry>,
    retry: Retry,
}

/// A whole file, to be told from another that was made of the same sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    bytes: u64,
    crc32c: u32,
}

#[derive(Debug)]
struct Upload {
    id: String,
    at_s: u64,
    parts: BTreeMap<u32, SentPart>,
    completion: Sent,
    conflicts: u32,
}

/// How it stands with a call that makes the object.
#[derive(Debug, Default, Clone, Copy)]
struct Sent {
    is_logged: bool,
    /// It may have been carried out.
    is_in_doubt: bool,
    /// What `is_in_doubt` was before the call under way.
    was_in_doubt: bool,
    /// The store says that an object is there, or that the upload is not: whose doing was that?
    is_to_be_proved: bool,
}

#[derive(Debug)]
struct Condemned {
    key: String,
    upload: String,
}

impl Plan {
    /// `seed` makes the jitter.
    pub fn new(order: Order, tempo: Tempo, seed: u64) -> Plan {
        Plan {
            key: order.key.clone(),
            order,
            renames: 0,
            upload: None,
            put: Sent::default(),
            condemned: VecDeque::new(),
            aborts: 0,
            proofs_denied: 0,
            delivered: None,
            whole: None,
            is_log_damaged: false,
            unlogged: Vec::new(),
            retry: Retry::new(tempo, seed),
        }
    }

    /// Applies what the log holds, in its order.
    pub fn recall(&mut self, entry: &Entry) {
        match entry.clone() {
            Entry::Created { key, upload, at_s } => {
                self.condemn_upload();
                self.key = key;
                self.upload = Some(Upload {
                    id: upload,
                    at_s,
                    parts: BTreeMap::new(),
                    completion: Sent::default(),
                    conflicts: 0,
                });
            }
            Entry::Part { number, etag, crc32c } => {
                if let Some(upload) = &mut self.upload {
                    upload.parts.insert(number, SentPart { number, etag, crc32c });
                }
            }
            Entry::Whole { bytes, crc32c } => self.whole = Some(Whole { bytes, crc32c }),
            Entry::Completing => {
                if let Some(upload) = &mut self.upload {
                    upload.completion.sending();
                }
            }
            Entry::Putting => self.put.sending(),
            Entry::Refused => {
                self.whole = None;
                match &mut self.upload {
                    Some(upload) => upload.completion.refused(),
                    None => self.put.refused(),
                }
            }
            Entry::Renamed { key } => {
                self.condemn_upload();
                self.key = key;
                self.renames += 1;
                self.put = Sent::default();
                self.whole = None;
                self.delivered = None;
                self.retry.began_anew();
            }
            Entry::Dropped => {
                self.condemn_upload();
                self.whole = None;
                self.retry.began_anew();
            }
            Entry::Lost => {
                self.upload = None;
                self.whole = None;
                self.retry.began_anew();
            }
            Entry::Aborted { upload } => {
                self.condemned.retain(|condemned| condemned.upload != upload);
                self.aborts = 0;
            }
            Entry::Delivered { key, etag } => {
                self.upload = None;
                self.retry.delivered();
                self.delivered = Some(Delivered {
                    is_renamed: key != self.order.key,
                    key,
                    etag,
                });
            }
        }
    }

    /// For a log that was damaged in its middle: whatever could have been sent may have been.
    pub fn doubt(&mut self) {
        self.is_log_damaged = true;
        self.put.sending();
        if let Some(upload) = &mut self.upload {
            upload.completion.sending();
        }
    }

    /// The next step. `now` counts from any start and never goes back.
    pub fn next(&mut self, now: Duration, progress: &Progress) -> Step {
        self.leave_another_whole(progress);
        if let (Some(delivered), true) = (&self.delivered, self.condemned.is_empty()) {
            // Whether it is this file that was delivered is seen at its end.
            return match self.whole.is_some() && progress.finished.is_none() {
                true => Step::Wait(None),
                false => Step::Done(delivered.clone()),
            };
        }
        if now < self.retry.not_before() {
            return Step::Wait(Some(self.retry.not_before()));
        }
        if let Some(Condemned { key, upload }) = self.condemned.front() {
            let (key, upload) = (key.clone(), upload.clone());
            return Step::Call(Call::Abort { key, upload });
        }
        self.forget_parts_that_differ(progress);
        match &self.upload {
            Some(upload) => self.next_of(upload, progress),
            None => self.first(progress),
        }
    }

    fn first(&self, progress: &Progress) -> Step {
        let key = self.key.clone();
        match &progress.finished {
            Some(finished) if finished.bytes < PART_BYTES && self.order.etag_is_md5 => {
                Step::Call(Call::Put {
                    key,
                    bytes: finished.bytes,
                    crc32c: finished.crc32c,
                    is_proof: self.put.is_to_be_proved,
                })
            }
            None if !parts(progress).any(|(_, range)| is_stable(&range, progress)) => Step::Wait(None),
            _ => Step::Call(Call::Create { key }),
        }
    }

    fn next_of(&self, upload: &Upload, progress: &Progress) -> Step {
        let (key, id) = (self.key.clone(), upload.id.clone());
        let part = |(number, range), is_proof| {
            Step::Call(Call::Part {
                key: key.clone(),
                upload: id.clone(),
                number,
                range,
                is_proof,
            })
        };
        // The first part holds the header that is written last: where that is not so it is stable early.
        let (first, others): (Vec<_>, Vec<_>) = parts(progress).partition(|(number, _)| *number == 1);
        let lacking = others
            .into_iter()
            .chain(first)
            .find(|(number, range)| !upload.parts.contains_key(number) && is_stable(range, progress));
        if let Some(lacking) = lacking {
            return part(lacking, false);
        }
        let Some(finished) = &progress.finished else {
            return Step::Wait(None);
        };
        if upload.completion.is_to_be_proved {
            let last = parts(progress).last().expect("a finished file has a part");
            return part(last, true);
        }
        Step::Call(Call::Complete {
            key,
            upload: id,
            parts: upload.parts.values().cloned().collect(),
            bytes: finished.bytes,
            crc32c: finished.crc32c,
        })
    }

    /// What has to be on the disk before `call` is sent.
    pub fn before(&mut self, call: &Call) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.unlogged);
        let (sent, entry, whole) = match (call, &mut self.upload) {
            (&Call::Complete { bytes, crc32c, .. }, Some(upload)) => {
                (&mut upload.completion, Entry::Completing, Whole { bytes, crc32c })
            }
            (
                &Call::Put {
                    bytes,
                    crc32c,
                    is_proof: false,
                    ..
                },
                _,
            ) => (&mut self.put, Entry::Putting, Whole { bytes, crc32c }),
            _ => return entries,
        };
        let before = *sent;
        sent.sending();
        sent.was_in_doubt = before.is_in_doubt;
        if !before.is_logged {
            self.whole = Some(whole);
            let Whole { bytes, crc32c } = whole;
            entries.extend([Entry::Whole { bytes, crc32c }, entry]);
        }
        entries
    }

    /// Takes the store's answer to `call`; gives what belongs into the log. `at_s`: the wall clock.
    pub fn answered(&mut self, now: Duration, at_s: u64, call: &Call, answer: Answer) -> Vec<Entry> {
        let entries = match answer {
            Answer::Refused(refusal) => self.refused(now, at_s, call, refusal),
            answer => {
                self.retry.succeeded();
                self.accepted(now, at_s, call, answer)
            }
        };
        self.is_over();
        entries.iter().for_each(|entry| self.recall(entry));
        entries
    }

    fn is_over(&mut self) {
        self.put.is_over();
        if let Some(upload) = &mut self.upload {
            upload.completion.is_over();
        }
    }

    fn accepted(&mut self, now: Duration, at_s: u64, call: &Call, answer: Answer) -> Vec<Entry> {
        match (call, answer) {
            (Call::Create { key }, Answer::Created { upload }) => {
                let key = key.clone();
                vec![Entry::Created { key, upload, at_s }]
            }
            // The upload lives, so it never became an object: the one under our key is a stranger's.
            (Call::Part { is_proof: true, .. }, Answer::Part { .. }) => vec![self.set_aside(now)],
            (Call::Part { number, .. }, Answer::Part { etag, crc32c }) => {
                let number = *number;
                vec![Entry::Part { number, etag, crc32c }]
            }
            (Call::Complete { key, .. } | Call::Put { key, .. }, Answer::Stored { etag }) => {
                let key = key.clone();
                vec![Entry::Delivered { key, etag }]
            }
            (Call::Abort { upload, .. }, _) => vec![Entry::Aborted {
                upload: upload.clone(),
            }],
            (call, answer) => unreachable!("{answer:?} answers no {}", call.name()),
        }
    }

    fn refused(&mut self, now: Duration, at_s: u64, call: &Call, refusal: Refusal) -> Vec<Entry> {
        let reason = refusal.reason;
        let mut entries = Vec::new();
        if reason.is_certain() && self.settle(call) {
            entries.push(Entry::Refused);
        }
        let is_in_doubt = match call {
            Call::Put { .. } => self.put.is_in_doubt,
            _ => self
                .upload
                .as_ref()
                .is_some_and(|upload| upload.completion.is_in_doubt),
        };
        match (call, reason) {
            (Call::Abort { upload, .. }, reason) => {
                self.aborts += 1;
                let is_over =
                    matches!(reason, Reason::NoUpload | Reason::Denied) || self.aborts >= ABORTS_MAX;
                match is_over {
                    true => entries.push(Entry::Aborted {
                        upload: upload.clone(),
                    }),
                    false => self.retry.failed(now, refusal),
                }
            }
            (Call::Complete { .. }, Reason::Taken | Reason::NoUpload) if is_in_doubt => {
                self.completion().is_to_be_proved = true;
            }
            (Call::Put { is_proof: false, .. }, Reason::Taken) if is_in_doubt => {
                self.put.is_to_be_proved = true
            }
            // The bytes under our key are not ours, or cannot be vouched for.
            (Call::Complete { .. } | Call::Put { .. }, Reason::Taken) => entries.push(self.set_aside(now)),
            (Call::Complete { .. }, Reason::WrongAnswer) => {
                entries.push(self.set_aside(now));
                self.retry.set_back(now, refusal);
            }
            (Call::Complete { .. } | Call::Part { .. }, Reason::NoUpload) => {
                match self.upload.as_ref().map(|upload| upload.at_s) {
                    // In a damaged log it may be that the upload was aborted.
                    Some(created_s)
                        if is_in_doubt
                            && !self.is_log_damaged
                            && at_s.saturating_sub(created_s) < LIFECYCLE_S_MIN =>
                    {
                        entries.push(Entry::Delivered {
                            key: self.key.clone(),
                            etag: String::new(),
                        });
                    }
                    _ => {
                        entries.push(Entry::Lost);
                        self.retry.set_back(now, refusal);
                    }
                }
            }
            (Call::Complete { .. }, Reason::Conflict) => {
                let completion_conflicts = self.upload.as_mut().map_or(0, |upload| {
                    upload.conflicts += 1;
                    upload.conflicts
                });
                match !is_in_doubt || completion_conflicts >= CONFLICTS_MAX {
                    true => {
                        entries.push(Entry::Dropped);
                        self.retry.set_back(now, refusal);
                    }
                    false => self.retry.failed(now, refusal),
                }
            }
            (Call::Complete { .. }, Reason::BadPart) => {
                entries.push(Entry::Dropped);
                self.retry.set_back(now, refusal);
            }
            // A store that cannot compare: whose object it is stays unknown.
            (Call::Put { is_proof: true, .. }, Reason::Unsupported) => {
                entries.push(self.set_aside(now));
            }
            // May we compare, or may we nothing at all now? The other call tells: refused as well, it begins anew.
            (Call::Put { is_proof: true, .. }, Reason::Denied) => {
                self.proofs_denied += 1;
                self.put.is_to_be_proved = false;
                match self.proofs_denied >= PROOFS_DENIED_MAX {
                    true => {
                        self.proofs_denied = 0;
                        entries.push(self.set_aside(now));
                    }
                    false => self.retry.failed(now, refusal),
                }
            }
            (Call::Put { is_proof: false, .. }, Reason::Denied) => {
                self.proofs_denied = 0;
                self.retry.failed(now, refusal);
            }
            (Call::Put { is_proof: true, .. }, Reason::NoKey) => {
                self.put.is_to_be_proved = false;
                self.retry.failed(now, refusal);
            }
            _ => self.retry.failed(now, refusal),
        }
        entries
    }

    /// The store did certainly not do what was asked. `true` when that is worth a record.
    fn settle(&mut self, call: &Call) -> bool {
        let sent = match (call, &mut self.upload) {
            (Call::Complete { .. }, Some(upload)) => &mut upload.completion,
            (Call::Put { is_proof: false, .. }, _) => &mut self.put,
            _ => return false,
        };
        sent.is_in_doubt = sent.was_in_doubt;
        sent.is_logged &= sent.is_in_doubt;
        !sent.is_in_doubt
    }

    fn completion(&mut self) -> &mut Sent {
        let upload = self.upload.as_mut().expect("a completion has an upload");
        &mut upload.completion
    }

    fn renamed(&self) -> Entry {
        let id = match self.renames {
            0 => self.order.recording_id.clone(),
            renames => format!("{}-{}", self.order.recording_id, renames + 1),
        };
        Entry::Renamed {
            key: aside(&self.order.key, &id),
        }
    }

    /// The next name; after the last of them the same key once more, later each time, until somebody has seen why.
    fn set_aside(&mut self, now: Duration) -> Entry {
        if self.renames < RENAMES_MAX {
            return self.renamed();
        }
        let text = format!(
            "{} and {RENAMES_MAX} other names for it are taken, or the store cannot say by whom",
            self.order.key
        );
        let reason = Reason::Taken;
        self.retry.set_back(now, Refusal { reason, text });
        self.retry.began_anew();
        Entry::Refused
    }

    /// A file that came out otherwise since it was sent: what lies under our key, or may, is not it.
    fn leave_another_whole(&mut self, progress: &Progress) {
        let Some(finished) = &progress.finished else {
            return;
        };
        let (bytes, crc32c) = (finished.bytes, finished.crc32c);
        if self.whole.is_some_and(|sent| sent != Whole { bytes, crc32c }) {
            let entry = self.renamed();
            self.recall(&entry);
            self.unlogged.push(entry);
        }
    }

    fn condemn_upload(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.condemned.push_back(Condemned {
                key: self.key.clone(),
                upload: upload.id,
            });
        }
    }

    /// Parts that went up from a file which was made anew since and came out otherwise.
    fn forget_parts_that_differ(&mut self, progress: &Progress) {
        if let (Some(upload), Some(finished)) = (&mut self.upload, &progress.finished) {
            upload
                .parts
                .retain(|number, part| finished.parts.get(*number as usize - 1) == Some(&part.crc32c));
        }
    }

    /// Failures and their back-off, for the status.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// How long the call may take.
    pub fn patience(&self, call: &Call) -> Duration {
        self.retry.patience(call.bytes())
    }

    /// The call could not be made for a reason of this machine: its log or its file.
    pub fn hindered(&mut self, now: Duration, call: &Call, refusal: Refusal) {
        self.settle(call);
        self.is_over();
        self.retry.failed(now, refusal);
    }

    /// Bytes that the store has confirmed.
    pub fn bytes_up(&self) -> u64 {
        let parts = self.upload.as_ref().map_or(0, |upload| upload.parts.len());
        parts as u64 * PART_BYTES
    }
}

impl Sent {
    fn sending(&mut self) {
        self.is_logged = true;
        self.is_in_doubt = true;
        self.was_in_doubt = true;
    }

    fn is_over(&mut self) {
        self.was_in_doubt = self.is_in_doubt;
    }

    fn refused(&mut self) {
        *self = Sent::default();
    }
}

/// The parts that the file has so far, whole or not: number and bytes.
fn parts(progress: &Progress) -> impl Iterator<Item = (u32, Range<u64>)> + use<> {
    let finished = progress.finished.as_ref().map(|finished| finished.bytes);
    let bytes = finished.unwrap_or(progress.stable.end);
    (0..bytes.div_ceil(PART_BYTES).max(1)).map(move |at| {
        let start = at * PART_BYTES;
        let end = start + PART_BYTES;
        // Only the end of a finished file cuts a part short.
        (at as u32 + 1, start..finished.map_or(end, |bytes| end.min(bytes)))
    })
}

fn is_stable(part: &Range<u64>, progress: &Progress) -> bool {
    progress.finished.is_some() || (progress.stable.start <= part.start && part.end <= progress.stable.end)
}

#[cfg(test)]
mod tests;
