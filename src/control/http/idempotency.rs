//! `Idempotency-Key`: a POST that succeeded is not done again for ten minutes, but answered as it was.
//!
//! What failed left nothing behind and may be tried again. Bounded: past the last place the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::App;
use super::body;
use super::errors::Failure;
use crate::control::auth::Identity;
use crate::control::refusal::Refusal;
use crate::control::turns::Turns;

const REMEMBERED: Duration = Duration::from_secs(600);
const REMEMBERED_MAX: usize = 4_096;
const KEY_BYTES_MAX: usize = 255;
/// Answers to POSTs are a leg or a recording.
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
            && (now.saturating_duration_since(*at) >= REMEMBERED || self.by_age.len() > REMEMBERED_MAX)
        {
            if let Some((_, oldest)) = self.by_age.pop_front() {
                self.answers.remove(&oldest);
            }
        }
        self.answers.get(name).cloned()
    }

    fn remember(&mut self, name: Name, answer: Answer, now: Instant) {
        self.by_age.push_back((now, name.clone()));
        self.answers.insert(name, answer);
    }
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
            once(&app.answered, name, request, next)
                .await
                .unwrap_or_else(|refusal| Failure(refusal).into_response())
        }
        _ => Failure(Refusal::bad(
            "`Idempotency-Key` must be 1 to 255 visible ASCII characters.",
        ))
        .into_response(),
    }
}

async fn once(answered: &Answered, name: Name, request: Request, next: Next) -> Result<Response, Refusal> {
    let _turn = answered.in_turn.take(&name).await?;
    let (parts, body) = request.into_parts();
    let asked_body = body::read(&parts.headers, body).await?;
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
    fn an_answer_is_remembered_for_ten_minutes_and_memory_is_bounded() {
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
        for key in 0..2 * REMEMBERED_MAX {
            memory.remember(name(key), answer(), start);
            memory.recall(&name(key), start);
        }
        assert_eq!(
            (memory.answers.len(), memory.by_age.len()),
            (REMEMBERED_MAX, REMEMBERED_MAX)
        );
        assert!(memory.recall(&name(2 * REMEMBERED_MAX - 1), start).is_some());
        assert!(memory.recall(&name(0), start).is_none());
    }
}
