//! What the log of events must hold of any history: numbers without gaps, and a beginning and an end of everything.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::control::events::Message;

/// What is known of rooms and legs from events alone.
#[derive(Default)]
pub struct Told {
    /// The last number of all, and of each room.
    last: u64,
    last_of_room: BTreeMap<String, u64>,
    /// Rooms that there are, and whether they have begun.
    rooms: BTreeMap<String, bool>,
    /// Legs that there are: in which room, muted, held, talking.
    legs: BTreeMap<String, (String, bool, bool, bool)>,
    /// Recordings that run, and whether they are paused.
    recordings: BTreeMap<String, bool>,
}

impl Told {
    pub fn hear(&mut self, message: &Message) -> Result<(), String> {
        let event: Value = serde_json::from_str(&message.json).map_err(|error| error.to_string())?;
        self.follow(message.kind, &event)
            .map_err(|wrong| format!("{wrong}: {event}"))
    }

    /// Nothing is left of anything.
    pub fn is_over(&self) -> Result<(), String> {
        match self.rooms.is_empty() && self.legs.is_empty() && self.recordings.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "never told to have ended: {:?}, {:?}, {:?}",
                self.rooms, self.legs, self.recordings
            )),
        }
    }

    fn follow(&mut self, kind: &str, event: &Value) -> Result<(), &'static str> {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let (room, call) = (text("conferenceId"), text("callId"));
        if event["globalSeq"] != self.last + 1 {
            return Err("a gap in all");
        }
        self.last += 1;
        let last_of_room = self.last_of_room.entry(room.clone()).or_default();
        if event["seq"] != *last_of_room + 1 {
            return Err("a gap in the room");
        }
        *last_of_room += 1;
        match kind {
            "room.started" => match self.rooms.insert(room, false) {
                None => Ok(()),
                Some(_) => Err("started twice"),
            },
            "room.ended" => {
                let is_empty = !self.legs.values().any(|leg| leg.0 == room);
                let was = self.rooms.remove(&room);
                (was.is_some() && is_empty).then_some(()).ok_or("no such room")
            }
            "leg.joined" => {
                let begun = self.rooms.get_mut(&room).ok_or("no such room")?;
                let waits = event["waiting"] == true;
                if *begun && waits {
                    return Err("waits in a room that has begun");
                }
                *begun |= !waits;
                let leg = (room, event["muted"] == true, event["onhold"] == true, false);
                match self.legs.insert(call, leg) {
                    None => Ok(()),
                    Some(_) => Err("joined twice"),
                }
            }
            "leg.left" => {
                let leg = self.legs.remove(&call).ok_or("it is not there")?;
                (leg.0 == room).then_some(()).ok_or("it is elsewhere")
            }
            "leg.muted" | "leg.unmuted" | "leg.held" | "leg.resumed" | "leg.talking" => {
                let (there, muted, held, talking) = self.legs.get_mut(&call).ok_or("it is not there")?;
                if *there != room {
                    return Err("it is elsewhere");
                }
                let (flag, on) = match kind {
                    "leg.muted" => (muted, true),
                    "leg.unmuted" => (muted, false),
                    "leg.held" => (held, true),
                    "leg.resumed" => (held, false),
                    _ => (talking, event["on"] == true),
                };
                let is_new = std::mem::replace(flag, on) != on;
                is_new.then_some(()).ok_or("told twice")
            }
            "recording.started" => {
                let is_new = self.recordings.insert(text("recordingId"), false).is_none();
                is_new.then_some(()).ok_or("started twice")
            }
            "recording.paused" | "recording.resumed" => {
                let on = kind == "recording.paused";
                let paused = self.recordings.get_mut(&text("recordingId"));
                let was = std::mem::replace(paused.ok_or("it does not run")?, on);
                (was != on).then_some(()).ok_or("told twice")
            }
            "recording.finished" => {
                let was = self.recordings.remove(&text("recordingId"));
                was.map(|_| ()).ok_or("it does not run")
            }
            _ => Ok(()),
        }
    }
}
