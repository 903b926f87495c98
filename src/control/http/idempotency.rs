//! `Idempotency-Key`: a POST that succeeded is not done again for ten minutes, but answered as it was.
//!
//! What failed left nothing behind and may be tried again. A client that hangs up changes nothing: what it asked is
//! done and remembered. Bounded: past 16 MiB of names and answers, some 8,000 legs, the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::App;
use super::body;
use super::errors::Failure;
use super::legs::done;
use crate::control::auth::Identity;
use crate::control::refusal::Refusal;
use crate::control::turns::Turns;

const REMEMBERED: Duration = Duration::from_secs(600);
const REMEMBERED_BYTES_MAX: usize = 16 << 20;
/// What a place takes beside its texts.
const PLACE_BYTES: usize = 256;
const KEY_BYTES_MAX: usize = 255;
/// Answers to POSTs are a leg, a recording or what digits are sent.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Who asked, where, under which key.
type Name = (String, String, String);

pub struct Answered {
    in_turn: Turns<Name>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    answers: HashMap<Name, Answer>,
    /// In the order of answering.
    by_age: VecDeque<(Instant, Name)>,
    bytes: usize,
}

#[derive(Clone)]
struct Answer {
    asked: [u8; 32],
    status: StatusCode,
    body: Bytes,
}

impl Answered {
    pub fn new() -> Answered {
        Answered {
            in_turn: Turns::new(),
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn recall(&mut self, name: &Name, now: Instant) -> Option<Answer> {
        while let Some((at, _)) = self.by_age.front()
            && (now.saturating_duration_since(*at) >= REMEMBERED || self.bytes > REMEMBERED_BYTES_MAX)
        {
            if let Some((_, oldest)) = self.by_age.pop_front()
                && let Some(answer) = self.answers.remove(&oldest)
            {
                self.bytes -= bytes(&oldest, &answer);
            }
        }
        self.answers.get(name).cloned()
    }

    fn remember(&mut self, name: Name, answer: Answer, now: Instant) {
        self.bytes += bytes(&name, &answer);
        self.by_age.push_back((now, name.clone()));
        self.answers.insert(name, answer);
    }
}

/// A name stands in the memory twice.
fn bytes((asker, path, key): &Name, answer: &Answer) -> usize {
    2 * (asker.len() + path.len() + key.len()) + answer.body.len() + PLACE_BYTES
}

pub async fn answer_once(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(key) = request
        .headers()
        .get("idempotency-key")
        .filter(|_| request.method() == Method::POST)
    else {
        return next.run(request).await;
    };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_BYTES_MAX => {
            let asker = request
                .extensions()
                .get::<Identity>()
                .map_or("", |identity| &identity.key);
            let name = (asker.to_owned(), request.uri().path().to_owned(), key.to_owned());
            let (parts, body) = request.into_parts();
            let body = match body::read(&parts.headers, body).await {
                Ok(body) => body,
                Err(refusal) => return Failure(refusal).into_response(),
            };
            // The connection may end at any await from here on; what it asked for may not.
            done(async move { once(&app.answered, name, parts, body, next).await })
                .await
                .unwrap_or_else(Failure::into_response)
        }
        _ => Failure(Refusal::bad(
            "`Idempotency-Key` must be 1 to 255 visible ASCII characters.",
        ))
        .into_response(),
    }
}

async fn once(
    answered: &Answered,
    name: Name,
    parts: Parts,
    asked_body: Bytes,
    next: Next,
) -> Result<Response, Refusal> {
    let _turn = answered.in_turn.take(&name).await?;
    let asked: [u8; 32] = Sha256::digest(&asked_body).into();
    if let Some(answer) = answered.memory().recall(&name, Instant::now()) {
        return match answer.asked == asked {
            true => Ok(again(answer)),
            false => Err(Refusal::conflict(
                "This `Idempotency-Key` was used with another body.",
            )),
        };
    }
    let response = next.run(Request::from_parts(parts, Body::from(asked_body))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_BYTES_MAX).await else {
        return Err(Refusal::new(
            crate::control::refusal::INTERNAL,
            "The answer is too large.",
        ));
    };
    let answer = Answer {
        asked,
        status: head.status,
        body: body.clone(),
    };
    answered.memory().remember(name, answer, Instant::now());
    Ok(Response::from_parts(head, Body::from(body)))
}

fn again(answer: Answer) -> Response {
    let mut response = (answer.status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            asked: [0; 32],
            status: StatusCode::CREATED,
            body: Bytes::new(),
        }
    }

    fn name(key: usize) -> Name {
        (String::new(), "/v1/legs".into(), key.to_string())
    }

    #[test]
    fn an_answer_is_remembered_for_ten_minutes_and_the_oldest_goes_when_memory_is_full() {
        let mut memory = Memory::default();
        let start = Instant::now();
        memory.remember(name(0), answer(), start);
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
        assert_eq!(memory.bytes, 0);
        let of_a_leg = Answer {
            body: Bytes::from(vec![0; 1 << 10]),
            ..answer()
        };
        for key in 0..20_000 {
            memory.remember(name(key), of_a_leg.clone(), start);
            memory.recall(&name(key), start);
            assert!(memory.bytes <= REMEMBERED_BYTES_MAX);
        }
        assert_eq!(memory.answers.len(), memory.by_age.len());
        assert!(memory.answers.len() > 8_000, "{}", memory.answers.len());
        assert!(memory.recall(&name(19_999), start).is_some());
        assert!(memory.recall(&name(0), start).is_none());
    }
}
