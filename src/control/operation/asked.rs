//! A request as both faces hand it on: what is asked, by whom, about what.

use std::collections::BTreeMap;

use super::{Described, Operation};
use crate::control::auth::Identity;
use crate::control::deeds::Actor;
use crate::control::fields::Fields;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::control::views::Page;

/// Items of a page where the request does not say.
pub const PAGE_SIZE: usize = 100;
pub const PAGE_SIZE_MAX: usize = 1000;

#[derive(Debug)]
pub struct Asked {
    pub operation: Operation,
    pub identity: Identity,
    /// By their names in the path.
    pub ids: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    pub fields: Fields,
    /// For a POST: the name under which its answer is remembered.
    pub idempotency_key: Option<String>,
}

impl Asked {
    pub fn described(&self) -> &'static Described {
        self.operation.described()
    }

    pub fn conference(&self) -> Result<ConferenceId, Refusal> {
        ConferenceId::parse(self.id("conferenceId"))
    }

    pub fn call(&self) -> Result<CallId, Refusal> {
        CallId::parse(self.id("callId"))
    }

    pub fn recording(&self) -> &str {
        self.id("recordingId")
    }

    pub fn actor(&self) -> Actor {
        Actor::new(self.identity.clone(), self.described().route)
    }

    /// The page of a list.
    pub fn page(&self) -> Result<Page, Refusal> {
        Ok(Page {
            page: self.number("page", usize::MAX)?.unwrap_or(1),
            size: self.number("pageSize", PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE),
        })
    }

    fn id(&self, name: &str) -> &str {
        self.ids.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.query.get(name) else {
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
}
