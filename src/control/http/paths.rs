//! Ids out of paths and numbers out of queries.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Query, RawPathParams};
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
        .map_err(|_| Refusal::bad(format!("`{name}` in the path must be percent-encoded UTF-8.")))?;
    let found = params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned());
    Ok(found.unwrap_or_default())
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Page, Failure> {
        let query = parameters(parts, state).await?;
        Ok(Page {
            page: number(&query, "page", usize::MAX)?.unwrap_or(1),
            size: number(&query, "pageSize", PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE),
        })
    }
}

pub async fn parameters<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<HashMap<String, String>, Refusal> {
    let Query(query) = Query::from_request_parts(parts, state)
        .await
        .map_err(|_| Refusal::bad("The query must be a list of name=value with each name once."))?;
    Ok(query)
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
