//! Ids out of paths and numbers out of queries.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::errors::Failure;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::control::views::Page;

const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 1000;

pub struct Conference(pub ConferenceId);

pub struct Call(pub CallId);

pub struct RecordingId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Conference {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Conference, Failure> {
        let id = segment(parts, state, "conferenceId").await?;
        Ok(Conference(ConferenceId::parse(&id)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Call, Failure> {
        let id = segment(parts, state, "callId").await?;
        Ok(Call(CallId::parse(&id)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RecordingId {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RecordingId, Failure> {
        segment(parts, state, "recordingId").await.map(RecordingId)
    }
}

/// The segment of that name, decoded once.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, Failure> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| {
            // All are decoded at once, and the first that is wrong is named.
            let text = error.body_text();
            let wrong = ["conferenceId", "callId", "recordingId"]
                .into_iter()
                .find(|known| text.contains(known))
                .unwrap_or(name);
            Refusal::bad(format!("`{wrong}` in the path must be percent-encoded UTF-8."))
        })?;
    let found = params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned());
    Ok(found.unwrap_or_default())
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Page, Failure> {
        let query = parameters(parts)?;
        Ok(Page {
            page: number(&query, "page", usize::MAX)?.unwrap_or(1),
            size: number(&query, "pageSize", PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE),
        })
    }
}

/// The query's names and values, decoded once; none stands there twice.
pub fn parameters(parts: &Parts) -> Result<HashMap<String, String>, Refusal> {
    let refused = || {
        Refusal::bad("The query must be name=value&…, percent-encoded UTF-8, with each name at most once.")
    };
    let mut parameters = HashMap::new();
    let query = parts.uri.query().unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).ok_or_else(refused)?;
        let value = decoded(value).ok_or_else(refused)?;
        if parameters.insert(name, value).is_some() {
            return Err(refused());
        }
    }
    Ok(parameters)
}

/// `None` where it is no UTF-8. An escape that is none stands for itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, left) = match (first, after) {
            (b'%', [high, low, left @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (nibble(*high) << 4 | nibble(*low), left)
            }
            (b'+', _) => (b' ', after),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).ok()
}

/// The value of a hexadecimal digit.
fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

fn number(query: &HashMap<String, String>, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
        _ if max == usize::MAX => Err(Refusal::bad(format!(
            "`{name}` must be a whole number, 1 or more."
        ))),
        _ => Err(Refusal::bad(format!(
            "`{name}` must be a whole number from 1 to {max}."
        ))),
    }
}
