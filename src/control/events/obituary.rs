//! What a start tells of the rooms and legs that an earlier life left open: that they are no more.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::Happening;
use super::ledger::Present;
use super::log::Log;
use crate::control::ids::ConferenceId;

const REASON: &str = "lost";

/// Of each room that is open in the log: `lost` with the names of its legs, then that each leg left, then that the room
/// ended.
pub fn of(log: &Log) -> Vec<Happening> {
    let last_sign = log.after(0).last().and_then(|entry| {
        let event: Value = serde_json::from_str(&entry.json).ok()?;
        event["at"].as_str().map(str::to_owned)
    });
    let now = SystemTime::now();
    let mut told = Vec::new();
    for (conference, legs) in &log.ledger.rooms {
        let tell = |call, kind, fields| Happening {
            conference: conference.clone(),
            call,
            kind,
            at: now,
            fields,
        };
        told.push(tell(None, "lost", lost(conference, legs)));
        for leg in legs {
            let fields = left(leg, last_sign.as_deref());
            told.push(tell(Some(leg.call.clone()), "leg.left", fields));
        }
        told.push(tell(None, "room.ended", fields(json!({ "reason": REASON }))));
    }
    told
}

fn lost(conference: &ConferenceId, legs: &[Present]) -> Map<String, Value> {
    tracing::warn!(%conference, legs = legs.len(), "a room was lost with the daemon that ended before");
    let calls: Vec<&str> = legs.iter().map(|leg| leg.call.as_str()).collect();
    fields(json!({
        "legs": calls,
        "message": "The daemon ended without notice, and this room with it.",
    }))
}

/// As the final report of any leg, as far as it is known.
fn left(leg: &Present, last_sign: Option<&str>) -> Map<String, Value> {
    let mut left = json!({
        "reason": REASON,
        "report": { "from": &*leg.since, "to": last_sign, "codec": leg.codec.as_deref() },
    });
    if let Some(custom) = &leg.custom {
        left["custom"] = custom.clone();
    }
    fields(left)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
