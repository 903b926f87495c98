//! `Idempotency-Key`: a POST that succeeded is not done again for ten minutes, but answered as it was.
//!
//! What failed left nothing behind and may be tried again. A client that hangs up changes nothing: what it asked is
//! done and remembered. Bounded: past 16 MiB of names and answers, some 8,000 legs, the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Answer, Asked, Body};
use crate::control::refusal::Refusal;
use crate::control::tally::Tally;
use crate::control::turns::Turns;

const REMEMBERED: Duration = Duration::from_secs(600);
const REMEMBERED_BYTES_MAX: usize = 16 << 20;
/// What a place takes beside its texts.
const PLACE_BYTES: usize = 256;
const KEY_BYTES_MAX: usize = 255;
/// Who asked for what, under which key.
pub type Name = (String, String, String);

pub struct Answered {
    in_turn: Turns<Name>,
    memory: Mutex<Memory>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Memory {
    answers: HashMap<Name, Given>,
    /// In the order of answering.
    by_age: VecDeque<(Instant, Name)>,
    bytes: usize,
    /// Answers that went before their time.
    forgotten: u64,
}

#[derive(Clone)]
struct Given {
    asked: [u8; 32],
    answer: Answer,
}

impl Answered {
    pub fn new(tally: Arc<Tally>) -> Answered {
        Answered {
            in_turn: Turns::default(),
            memory: Mutex::default(),
            tally,
        }
    }

    /// The name under which a POST wants its answer remembered.
    pub fn name(&self, asked: &Asked) -> Result<Option<Name>, Refusal> {
        let described = asked.described();
        let Some(key) = asked
            .idempotency_key
            .as_deref()
            .filter(|_| described.verb() == "POST")
        else {
            return Ok(None);
        };
        if !(1..=KEY_BYTES_MAX).contains(&key.len())
            || !key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        {
            return Err(Refusal::bad(
                "`Idempotency-Key` must be 1 to 255 visible ASCII characters.",
            ));
        }
        let what = format!("{} {:?}", described.name, asked.ids);
        Ok(Some((asked.identity.key.clone(), what, key.to_owned())))
    }

    /// Does it, or says again what came of it.
    pub async fn once<F>(
        &self,
        name: Name,
        asked: Asked,
        perform: impl FnOnce(Asked) -> F,
    ) -> Result<Answer, Refusal>
    where
        F: Future<Output = Result<Answer, Refusal>>,
    {
        let _turn = self.in_turn.take(&name).await?;
        let digest: [u8; 32] = Sha256::digest(asked.fields.as_json()).into();
        let given = {
            let mut memory = self.memory();
            let given = memory.recall(&name, Instant::now());
            self.tally.forget_answers(std::mem::take(&mut memory.forgotten));
            given
        };
        if let Some(given) = given {
            return match given.asked == digest {
                true => Ok(Answer {
                    is_replayed: true,
                    ..given.answer
                }),
                false => Err(Refusal::conflict(
                    "This `Idempotency-Key` was used with another body.",
                )),
            };
        }
        let answer = perform(asked).await?;
        let given = Given {
            asked: digest,
            answer: answer.clone(),
        };
        self.memory().remember(name, given, Instant::now());
        Ok(answer)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn recall(&mut self, name: &Name, now: Instant) -> Option<Given> {
        while let Some((at, _)) = self.by_age.front()
            && (now.saturating_duration_since(*at) >= REMEMBERED || self.bytes > REMEMBERED_BYTES_MAX)
        {
            if let Some((at, oldest)) = self.by_age.pop_front()
                && let Some(answer) = self.answers.remove(&oldest)
            {
                self.bytes -= bytes(&oldest, &answer);
                self.forgotten += u64::from(now.saturating_duration_since(at) < REMEMBERED);
            }
        }
        self.answers.get(name).cloned()
    }

    fn remember(&mut self, name: Name, answer: Given, now: Instant) {
        self.bytes += bytes(&name, &answer);
        self.by_age.push_back((now, name.clone()));
        self.answers.insert(name, answer);
    }
}

/// A name stands in the memory twice.
fn bytes((asker, what, key): &Name, given: &Given) -> usize {
    let body = match &given.answer.body {
        Body::Json(text) | Body::Metrics(text) => text.len(),
        Body::Empty | Body::OpenApi(_) => 0,
    };
    2 * (asker.len() + what.len() + key.len()) + body + PLACE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(body: &str) -> Given {
        Given {
            asked: [0; 32],
            answer: Answer {
                status: 201,
                body: Body::Json(body.to_owned()),
                is_replayed: false,
            },
        }
    }

    fn name(key: usize) -> Name {
        (String::new(), "CreateLeg".into(), key.to_string())
    }

    #[test]
    fn an_answer_is_remembered_for_ten_minutes_and_the_oldest_goes_when_memory_is_full() {
        let mut memory = Memory::default();
        let start = Instant::now();
        memory.remember(name(0), given(""), start);
        assert!(
            memory
                .recall(&name(0), start + Duration::from_secs(599))
                .is_some()
        );
        assert!(
            memory
                .recall(&name(0), start + Duration::from_secs(600))
                .is_none()
        );
        assert_eq!((memory.bytes, memory.forgotten), (0, 0));
        let of_a_leg = given(&"x".repeat(1 << 10));
        for key in 0..20_000 {
            memory.remember(name(key), of_a_leg.clone(), start);
            memory.recall(&name(key), start);
            assert!(memory.bytes <= REMEMBERED_BYTES_MAX);
        }
        assert_eq!(memory.answers.len(), memory.by_age.len());
        assert!(memory.answers.len() > 8_000, "{}", memory.answers.len());
        assert!(memory.recall(&name(19_999), start).is_some());
        assert!(memory.recall(&name(0), start).is_none());
        assert_eq!(memory.forgotten, 20_000 - memory.answers.len() as u64);
    }
}
