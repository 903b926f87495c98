//! Carries out the plan of one object: reads the file, keeps the log, makes the calls, waits.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Call, Reason, Refusal};
use super::counters::add;
use super::log::Log;
use super::plan::{Order, Plan, Step};
use super::s3::Body;
use super::{Delivered, DeliveryStatus, Object, Progress, Shared};

/// [`deliver`], begun anew where it panics: the log has what it must know.
pub(super) async fn deliver_through_panics(
    shared: &Shared,
    object: Object,
    progress: watch::Receiver<Progress>,
    tell: &(impl Fn(DeliveryStatus) + Sync),
) -> Delivered {
    let tempo = shared.settings().tempo;
    let mut wait = tempo.back_off_min;
    loop {
        let mut delivery = pin!(deliver(shared, object.clone(), progress.clone(), tell));
        let polled = |context: &mut Context<'_>| {
            let poll = || delivery.as_mut().poll(context);
            // What it shares is behind locks that are taken poisoned as well; what is its own is not used again.
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(delivered)) => Poll::Ready(Some(delivered)),
                Err(_) => Poll::Ready(None),
            }
        };
        if let Some(delivered) = poll_fn(polled).await {
            return delivered;
        }
        shared.counters.failed(Reason::Local);
        tracing::error!(
            recording = object.recording_id,
            key = object.key,
            "the delivery has panicked and begins anew"
        );
        let status = DeliveryStatus {
            error: Some("the delivery has panicked and begins anew: see the daemon's log".to_owned()),
            next_try_in: Some(wait),
            ..DeliveryStatus::default()
        };
        // Whoever is told may be what panics.
        let _ = catch_unwind(AssertUnwindSafe(|| tell(status)));
        sleep(wait).await;
        wait = (wait * 2).min(tempo.back_off_lasting_max);
    }
}

/// Goes on until the object is there. May be dropped at any await: the log has what the next one must know.
async fn deliver(
    shared: &Shared,
    object: Object,
    mut progress: watch::Receiver<Progress>,
    tell: &(impl Fn(DeliveryStatus) + Sync),
) -> Delivered {
    let start = Instant::now();
    let mut attempts = 0;
    let (mut plan, mut log) = begin(shared, &object, tell).await;
    loop {
        let sound = progress.borrow_and_update().clone();
        let step = plan.next(start.elapsed(), &sound);
        let status = |plan: &Plan, attempts| DeliveryStatus {
            attempts,
            error: plan.retry().last().map(|refusal| refusal.text.clone()),
            next_try_in: None,
            bytes_up: plan.bytes_up(),
            delivered: None,
        };
        match step {
            Step::Done(delivered) => {
                add(&shared.counters.delivered, 1);
                add(&shared.counters.renamed, u64::from(delivered.is_renamed));
                tell(DeliveryStatus {
                    delivered: Some(delivered.clone()),
                    ..status(&plan, attempts)
                });
                return delivered;
            }
            Step::Wait(until) => {
                let left = until.map(|until| until.saturating_sub(start.elapsed()));
                tell(DeliveryStatus {
                    next_try_in: left,
                    ..status(&plan, attempts)
                });
                wait(left, &mut progress).await;
            }
            Step::Call(call) => {
                let mut desk = Desk {
                    shared,
                    object: &object,
                    log: &mut log,
                };
                let answer = desk.ask(&mut plan, &call, &sound).await;
                let now = start.elapsed();
                if let Answer::Refused(refusal) = &answer {
                    shared.counters.failed(refusal.reason);
                    tracing::debug!(
                        recording = object.recording_id,
                        key = object.key,
                        asked = call.name(),
                        "{}",
                        refusal.text
                    );
                }
                attempts += 1;
                match answer {
                    Answer::Refused(refusal) if refusal.reason == Reason::Local => {
                        plan.hindered(now, &call, refusal);
                    }
                    answer => {
                        let entries = plan.answered(now, wall_clock_s(), &call, answer);
                        // What is not written now is written before anything that relies on it, or done twice.
                        if let Err(error) = block_in_place(|| log.append(&entries)) {
                            tracing::warn!(
                                recording = object.recording_id, key = object.key, %error,
                                "the delivery log cannot be written"
                            );
                        }
                    }
                }
                tell(status(&plan, attempts));
            }
        }
    }
}

/// Opens the log and makes the plan that it tells of.
async fn begin(shared: &Shared, object: &Object, tell: &(impl Fn(DeliveryStatus) + Sync)) -> (Plan, Log) {
    let settings = shared.settings();
    let order = Order {
        key: object.key.clone(),
        recording_id: object.recording_id.clone(),
        etag_is_md5: settings.etag_is_md5() && !shared.clients.is_known_encrypted(&object.bucket),
    };
    let mut wait = settings.tempo.back_off_min;
    loop {
        match block_in_place(|| Log::open(&object.log)) {
            Ok((log, recalled)) => {
                let mut plan = Plan::new(order, settings.tempo, fastrand::u64(..));
                recalled.entries.iter().for_each(|entry| plan.recall(entry));
                if recalled.is_damaged {
                    tracing::warn!(
                        recording = object.recording_id,
                        key = object.key,
                        "the delivery log is damaged"
                    );
                    plan.doubt();
                }
                return (plan, log);
            }
            Err(error) => {
                shared.counters.failed(Reason::Local);
                tell(DeliveryStatus {
                    error: Some(format!("the delivery log cannot be read: {error}")),
                    next_try_in: Some(wait),
                    ..DeliveryStatus::default()
                });
                sleep(wait).await;
                wait = (wait * 2).min(settings.tempo.back_off_max);
            }
        }
    }
}

async fn wait(left: Option<std::time::Duration>, progress: &mut watch::Receiver<Progress>) {
    let changed = async {
        if progress.changed().await.is_err() {
            // Whoever told of the file is gone: what is there is what there will be.
            std::future::pending::<()>().await;
        }
    };
    match left {
        // Nothing that the file does shortens a back-off.
        Some(left) => sleep(left).await,
        None => changed.await,
    }
}

struct Desk<'a> {
    shared: &'a Shared,
    object: &'a Object,
    log: &'a mut Log,
}

impl Desk<'_> {
    async fn ask(&mut self, plan: &mut Plan, call: &Call, sound: &Progress) -> Answer {
        // Before the body is read: what waits here holds no memory.
        let _room = match call.bytes() {
            0 => None,
            _ => {
                let is_patient = plan.retry().is_patient();
                Some(self.shared.lanes.enter(&self.object.bucket, is_patient).await)
            }
        };
        let body = match block_in_place(|| self.body(call)) {
            Ok(body) => body,
            Err(error) => return local(format!("the file cannot be read: {error}")),
        };
        let body = Body::new(body);
        let expected = match (call, &sound.finished) {
            (Call::Part { number, .. }, Some(finished)) => finished.parts.get(*number as usize - 1).copied(),
            (Call::Put { crc32c, .. }, _) => Some(*crc32c),
            _ => None,
        };
        if expected.is_some_and(|expected| expected != body.crc32c) {
            return local("the file is not what it was when it was finished".to_owned());
        }
        let settings = self.shared.settings();
        let credentials = self.object.credentials.as_ref().or(settings.credentials.as_ref());
        let client = self.shared.clients.client(&settings, credentials).await;
        let entries = plan.before(call);
        if let Err(error) = block_in_place(|| self.log.append(&entries)) {
            return local(format!("the delivery log cannot be written: {error}"));
        }
        add(&self.shared.counters.calls, 1);
        let patience = plan.patience(call);
        let answer = match timeout(patience, client.call(self.object, call, body)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Refused(Refusal {
                reason: Reason::TimedOut,
                text: format!("{}: no answer within {} s", call.name(), patience.as_secs()),
            }),
        };
        match (&answer, call) {
            (Answer::Part { .. }, Call::Part { .. }) => {
                add(&self.shared.counters.parts, 1);
                add(&self.shared.counters.bytes, call.bytes());
            }
            (Answer::Stored { .. }, _) => add(&self.shared.counters.bytes, call.bytes()),
            _ => {}
        }
        answer
    }

    fn body(&self, call: &Call) -> io::Result<Bytes> {
        let range = match call {
            Call::Part { range, .. } => range.clone(),
            Call::Put { bytes, .. } => 0..*bytes,
            _ => return Ok(Bytes::new()),
        };
        read(&self.object.file, range)
    }
}

fn read(path: &std::path::Path, range: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    File::open(path)?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

fn local(text: String) -> Answer {
    Answer::Refused(Refusal {
        reason: Reason::Local,
        text,
    })
}

fn wall_clock_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Shared {
    fn settings(&self) -> super::StoreSettings {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
