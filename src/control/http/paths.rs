//! Ids out of paths and numbers out of queries.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::control::refusal::Refusal;

/// The ids in the path by their names, decoded once.
pub async fn ids(parts: &mut Parts) -> Result<BTreeMap<String, String>, Refusal> {
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|error| {
            // All are decoded at once, and the first that is wrong is named.
            let text = error.body_text();
            let wrong = ["conferenceId", "callId", "recordingId"]
                .into_iter()
                .find(|known| text.contains(known))
                .unwrap_or("id");
            Refusal::bad(format!("`{wrong}` in the path must be percent-encoded UTF-8."))
        })?;
    Ok(params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// The query's names and values, decoded once; none stands there twice.
pub fn parameters(parts: &Parts) -> Result<BTreeMap<String, String>, Refusal> {
    let refused = || {
        Refusal::bad("The query must be name=value&…, percent-encoded UTF-8, with each name at most once.")
    };
    let mut parameters = BTreeMap::new();
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
