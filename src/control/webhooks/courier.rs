//! Carries one form's events from the log to their receiver, by the plan.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Receiver;
use super::counters::{Counters, Failure, OfForm, count};
use super::folder::{DeadLetters, Folder};
use super::forms::{Form, platform};
use super::plan::{Dead, Letter, Plan, Post, Side, Verdict};
use super::poster::{Posted, Poster, Signer};
use crate::control::blocking;
use crate::control::events::{EventLog, Message, timestamp};

/// How long after something was settled that is written down: so much may be sent twice after a crash.
const UNSAVED: Duration = Duration::from_millis(500);

/// On top where that failed.
const UNSAVED_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Between lines of the log about dead letters.
const DEAD_TOLD: Duration = Duration::from_secs(10);

/// What has no room of its own.
const NO_ROOM: &str = "";

pub struct Parts {
    pub receiver: Receiver,
    pub plan: Plan,
    pub log: EventLog,
    pub poster: Poster,
    pub signer: watch::Receiver<Signer>,
    pub folder: Arc<Folder>,
    pub dead: Arc<Mutex<DeadLetters>>,
    pub counters: Arc<Counters>,
}

pub struct Courier {
    parts: Parts,
    /// From a task of its own, as a reader that goes back to the disk should not be held up by what else happens.
    messages: mpsc::Receiver<Vec<Message>>,
    reading: JoinHandle<()>,
    began: Instant,
    posts: JoinSet<Posted>,
    on_their_way: HashMap<Id, (u64, Side)>,
    /// Since when there is more to write down than is written down.
    unsaved_since: Option<Instant>,
    /// Whether the last post failed, of each side.
    fails: [bool; 2],
    dead_told: Option<Instant>,
}

impl Courier {
    pub fn new(parts: Parts) -> Courier {
        let mut reader = parts.log.reader(None, Some(parts.plan.read_after()));
        let (batches, messages) = mpsc::channel(1);
        let reading = tokio::spawn(async move { while batches.send(reader.next().await).await.is_ok() {} });
        Courier {
            parts,
            messages,
            reading,
            began: Instant::now(),
            posts: JoinSet::new(),
            on_their_way: HashMap::new(),
            unsaved_since: None,
            fails: [false; 2],
            dead_told: None,
        }
    }

    /// Until it is told to stop, and then until nothing can be delivered now, or that time has come.
    pub async fn run(mut self, mut stopping: watch::Receiver<Option<Instant>>) {
        if self.parts.plan.owes_letter_0() {
            self.take_word_of_a_new_log();
        }
        let mut until: Option<Instant> = None;
        loop {
            while let Some(post) = self.parts.plan.next(self.now()) {
                self.set_off(post);
            }
            let counters = self.counters();
            counters
                .pending
                .store(self.parts.plan.held() as u64, Ordering::Relaxed);
            if until.is_some() && self.has_done_what_it_can() {
                break;
            }
            let due = self.parts.plan.due().map(|due| self.began + due);
            let save_at = self.unsaved_since.map(|since| since + UNSAVED);
            tokio::select! {
                Some(messages) = self.messages.recv(), if self.parts.plan.wants_more() => self.read(&messages),
                Some(back) = self.posts.join_next_with_id() => self.came_back(back).await,
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => {}
                () = sleep_until(save_at.unwrap_or(self.began)), if save_at.is_some() => self.save().await,
                () = sleep_until(until.unwrap_or(self.began)), if until.is_some() => break,
                told = told_to_stop(&mut stopping), if until.is_none() => match told {
                    Some(_) => until = told,
                    None => break,
                },
            }
        }
        self.reading.abort();
        self.posts.shutdown().await;
        self.save().await;
        let left = self.parts.plan.held();
        if left > 0 {
            tracing::info!(
                form = self.form().name(),
                left,
                "callbacks wait for the next start"
            );
        }
    }

    fn form(&self) -> Form {
        self.parts.receiver.form
    }

    fn counters(&self) -> &OfForm {
        self.parts.counters.of(self.form())
    }

    /// On the plan's clock.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn has_done_what_it_can(&self) -> bool {
        let plan = &self.parts.plan;
        let has_read_all = self.parts.log.newest() <= plan.read_after() || !plan.wants_more();
        let is_due = plan.due().is_some_and(|due| due <= self.now());
        has_read_all && plan.on_their_way() == 0 && !is_due
    }

    fn read(&mut self, messages: &[Message]) {
        for message in messages {
            self.take(message);
        }
        self.unsaved_since.get_or_insert_with(Instant::now);
    }

    fn take(&mut self, message: &Message) {
        let Ok(event) = serde_json::from_str::<Value>(&message.json) else {
            tracing::error!(number = message.id, "an event of the log is not JSON");
            return;
        };
        // What is said of the log, and not in it, is of no room.
        let Some(room) = event["conferenceId"].as_str() else {
            return self.take_word_of_the_log(&event);
        };
        if !self.parts.plan.meets(message.id) {
            return;
        }
        let types = &self.parts.receiver.types;
        let body = match self.form() {
            Form::Events if types.is_empty() || message.kind == "lost" => message.json.clone(),
            Form::Events if types.iter().any(|kind| kind == message.kind) => message.json.clone(),
            Form::Events => return,
            Form::Platform => match platform(&event, &self.parts.signer.borrow().application) {
                Some(callback) => callback.to_string().into(),
                None => return,
            },
        };
        let letter = Letter {
            number: message.id,
            first: message.id,
            room: room.into(),
            body,
            age: age(&event),
        };
        let now = self.now();
        self.parts.plan.take(now, letter);
    }

    fn take_word_of_the_log(&mut self, word: &Value) {
        let missed = &word["missed"];
        if let (Some(first), Some(last)) = (missed["from"].as_u64(), missed["to"].as_u64()) {
            let Some(lost) = self.parts.plan.misses(first, last) else {
                return;
            };
            let never_were = self.parts.log.never_were(lost.first, lost.last);
            let count = lost.count.saturating_sub(never_were);
            if count > 0 {
                self.lost(count);
            }
            let missed = json!({ "from": lost.first, "to": lost.last, "count": count });
            let message = "These events were not delivered, and are no longer kept, or never were.";
            self.take_word(lost.first, lost.last, message, Some(missed));
        } else {
            let lost = self.parts.plan.begins_anew();
            self.lost(lost);
            self.take_word_of_a_new_log();
        }
    }

    fn lost(&self, events: u64) {
        let form = self.form().name();
        tracing::warn!(
            form,
            events,
            "events are no longer kept that were still to be delivered"
        );
        self.counters().lost.fetch_add(events, Ordering::Relaxed);
    }

    fn take_word_of_a_new_log(&mut self) {
        let message = "The log of events has begun anew; what it kept before is gone.";
        self.take_word(0, 0, message, None);
    }

    /// The platform knows no such word.
    fn take_word(&mut self, first: u64, last: u64, message: &str, missed: Option<Value>) {
        if self.form() == Form::Platform {
            return;
        }
        let mut word = json!({
            "type": "lost",
            "at": timestamp(SystemTime::now()),
            "globalSeq": last,
            "message": message,
        });
        if let Some(missed) = missed {
            word["missed"] = missed;
        }
        let letter = Letter {
            number: last,
            first,
            room: NO_ROOM.into(),
            body: word.to_string().into(),
            age: Duration::ZERO,
        };
        let now = self.now();
        self.parts.plan.take(now, letter);
    }

    fn set_off(&mut self, post: Post) {
        let Post { number, side, body } = post;
        let receiver = &self.parts.receiver;
        let target = match (side, &receiver.fallback) {
            (Side::Fallback, Some(fallback)) => fallback.clone(),
            _ => receiver.primary.clone(),
        };
        let poster = self.parts.poster.clone();
        let signer = self.parts.signer.borrow().clone();
        let task = self
            .posts
            .spawn(async move { poster.post(&target, &signer, number, &body).await });
        self.on_their_way.insert(task.id(), (number, side));
    }

    async fn came_back(&mut self, back: Result<(Id, Posted), JoinError>) {
        let (task, posted) = back.unwrap_or_else(|error| {
            tracing::error!(%error, "a post has failed by a defect");
            (error.id(), Posted::failed(Failure::Broken))
        });
        let Some((number, side)) = self.on_their_way.remove(&task) else {
            return;
        };
        self.note(side, &posted);
        let now = self.now();
        match self.parts.plan.came_back(now, number, side, posted.outcome) {
            Verdict::Delivered => {
                count(&self.counters().delivered);
                if side == Side::Fallback {
                    count(&self.counters().by_fallback);
                }
            }
            Verdict::Other(post) => return self.set_off(post),
            Verdict::Later => return count(&self.counters().retries),
            Verdict::Dead(dead) => self.bury(dead, &posted).await,
        }
        self.unsaved_since.get_or_insert_with(Instant::now);
    }

    /// Counts a failure, and tells of the first one and of the end of them.
    fn note(&mut self, side: Side, posted: &Posted) {
        if let Some(failure) = posted.failure {
            count(&self.counters().failures[failure as usize]);
        }
        if let Some(denied) = posted.denied {
            count(&self.parts.counters.denied[denied.0 as usize]);
        }
        let fails = posted.failure.is_some();
        if std::mem::replace(&mut self.fails[side as usize], fails) == fails {
            return;
        }
        let receiver = &self.parts.receiver;
        let target = match side {
            Side::Primary => Some(&receiver.primary),
            Side::Fallback => receiver.fallback.as_ref(),
        };
        let to = target.map(ToString::to_string).unwrap_or_default();
        let form = receiver.form.name();
        match posted.failure {
            None => tracing::info!(form, to, "callbacks arrive again"),
            Some(failure) => {
                let status = posted.status.map(|status| status.as_u16());
                let denied = posted.denied.map(|denied| denied.0.name());
                tracing::warn!(
                    form,
                    to,
                    failure = failure.name(),
                    status,
                    denied,
                    "callbacks fail"
                );
            }
        }
    }

    async fn bury(&mut self, dead: Dead, posted: &Posted) {
        let counters = self.counters();
        count(if dead.refused {
            &counters.refused
        } else {
            &counters.given_up
        });
        let form = self.form().name();
        if self.dead_told.is_none_or(|told| told.elapsed() >= DEAD_TOLD) {
            self.dead_told = Some(Instant::now());
            let (conference, number) = (&*dead.letter.room, dead.letter.number);
            tracing::warn!(
                form,
                conference,
                number,
                refused = dead.refused,
                "a callback goes to the dead letters"
            );
        }
        let line = json!({
            "at": timestamp(SystemTime::now()),
            "form": form,
            "reason": if dead.refused { "refused" } else { "given_up" },
            "failure": posted.failure.map(Failure::name),
            "status": posted.status.map(|status| status.as_u16()),
            "rounds": dead.rounds,
            "eventId": dead.letter.number,
            "body": serde_json::from_str::<Value>(&dead.letter.body).unwrap_or_default(),
        });
        let letters = Arc::clone(&self.parts.dead);
        let kept = blocking::in_the_end(move || locked(&letters).add(&line)).await;
        if let Some(error) = failure(kept) {
            count(&self.parts.counters.unkept);
            tracing::error!(%error, "a dead letter cannot be written");
        }
    }

    /// What died is safe before it is written down that nobody need care for it.
    async fn save(&mut self) {
        self.unsaved_since = None;
        let (letters, folder) = (Arc::clone(&self.parts.dead), Arc::clone(&self.parts.folder));
        let (form, progress) = (self.form(), self.parts.plan.progress());
        let saved = blocking::in_the_end(move || {
            locked(&letters).sync()?;
            folder.save(form, &progress)
        });
        if let Some(error) = failure(saved.await) {
            count(&self.parts.counters.unsaved);
            tracing::error!(form = form.name(), %error, "how far callbacks have come cannot be written down");
            // Not at once again.
            self.unsaved_since = Some(Instant::now() + UNSAVED_AFTER_FAILURE);
        }
    }
}

fn locked(letters: &Mutex<DeadLetters>) -> MutexGuard<'_, DeadLetters> {
    letters.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure(done: Result<io::Result<()>, blocking::Failed>) -> Option<io::Error> {
    done.unwrap_or_else(|error| Err(io::Error::other(error))).err()
}

/// Until when; `None` where whoever started the couriers has gone without a word.
async fn told_to_stop(stopping: &mut watch::Receiver<Option<Instant>>) -> Option<Instant> {
    *stopping.wait_for(Option::is_some).await.ok()?
}

/// How long ago it happened, by the clock on the wall.
fn age(event: &Value) -> Duration {
    let at = event["at"]
        .as_str()
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    at.and_then(|at| jiff::Timestamp::now().duration_since(at).try_into().ok())
        .unwrap_or_default()
}
