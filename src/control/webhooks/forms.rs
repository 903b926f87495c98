//! What is sent of an event: the event itself, or what the platform makes of it.
//!
//! The platform knows two of ours (platform contract, section 8): `notify` for recordings, `pie` for digits that were
//! collected. Everything else is of no interest to a receiver of that form.

use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Our event objects as they stand in the log.
    Events,
    Platform,
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Events, Form::Platform];

    pub fn name(self) -> &'static str {
        match self {
            Form::Events => "events",
            Form::Platform => "platform",
        }
    }
}

/// The platform's form of an event of ours; `None` where it has none.
pub fn platform(event: &Value, application: &str) -> Option<Value> {
    let mut callback = match event["type"].as_str()? {
        "recording.finished" if asks_for_notes(event) => notify("recording_finished"),
        "recording.available" if asks_for_notes(event) => {
            let mut callback = notify("recording_available");
            callback.insert("destination".into(), event["destination"].clone());
            callback
        }
        "leg.digits" if event["mode"] == "detect" => pie(event),
        _ => return None,
    };
    for (theirs, ours) in [("callid", "callId"), ("conferenceId", "conferenceId")] {
        if let Some(value) = event.get(ours) {
            callback.insert(theirs.into(), value.clone());
        }
    }
    match event.get("custom") {
        None | Some(Value::Null) => {}
        // The platform's is a string always.
        Some(Value::String(custom)) => drop(callback.insert("custom".into(), custom.clone().into())),
        Some(custom) => drop(callback.insert("custom".into(), custom.to_string().into())),
    }
    callback.insert("version".into(), 1.into());
    callback.insert("applicationKey".into(), application.into());
    Some(Value::Object(callback))
}

/// Events of failures are told even where no notes were asked for; the platform would be silent.
fn asks_for_notes(event: &Value) -> bool {
    event["notificationEvents"] != false
}

/// Without a time, as the platform sends it.
fn notify(kind: &str) -> Map<String, Value> {
    Map::from_iter([
        ("event".to_owned(), "notify".into()),
        ("type".to_owned(), kind.into()),
    ])
}

fn pie(event: &Value) -> Map<String, Value> {
    let menu_result = json!({
        "menuId": event["conferenceId"],
        "type": "sequence",
        "value": event["digits"],
        "inputMethod": "dtmf",
    });
    Map::from_iter([
        ("event".to_owned(), "pie".into()),
        ("timestamp".to_owned(), event["at"].clone()),
        ("menuResult".to_owned(), menu_result),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_become_the_platforms_notes() {
        let event = |kind: &str, notes: bool| {
            json!({
                "seq": 7, "globalSeq": 12, "conferenceId": "room-1", "at": "2026-01-02T03:04:05.678Z", "type": kind,
                "recordingId": "r", "destination": "s3://bucket/a.wav", "notificationEvents": notes,
                "receipt": { "key": "a.wav" },
            })
        };
        assert_eq!(
            platform(&event("recording.finished", true), "app").unwrap(),
            json!({
                "event": "notify", "type": "recording_finished", "conferenceId": "room-1", "version": 1,
                "applicationKey": "app",
            })
        );
        let mut of_leg = event("recording.available", true);
        of_leg["callId"] = "leg-7".into();
        assert_eq!(
            platform(&of_leg, "app").unwrap(),
            json!({
                "event": "notify", "type": "recording_available", "destination": "s3://bucket/a.wav",
                "callid": "leg-7", "conferenceId": "room-1", "version": 1, "applicationKey": "app",
            })
        );
        for kind in ["recording.finished", "recording.available"] {
            assert_eq!(platform(&event(kind, false), "app"), None);
        }
        for kind in ["recording.started", "recording.failed", "room.started", "lost"] {
            assert_eq!(platform(&event(kind, true), "app"), None);
        }
    }

    #[test]
    fn digits_that_were_collected_become_the_platforms_pie() {
        let event = |mode: &str, custom: Value| {
            json!({
                "seq": 7, "globalSeq": 12, "conferenceId": "room#1", "callId": "leg-7", "digits": "12",
                "at": "2026-01-02T03:04:05.678Z", "type": "leg.digits", "mode": mode, "custom": custom,
            })
        };
        assert_eq!(
            platform(&event("detect", "mine".into()), "app").unwrap(),
            json!({
                "event": "pie", "callid": "leg-7", "conferenceId": "room#1", "custom": "mine", "version": 1,
                "timestamp": "2026-01-02T03:04:05.678Z", "applicationKey": "app",
                "menuResult": { "menuId": "room#1", "type": "sequence", "value": "12", "inputMethod": "dtmf" },
            })
        );
        let of_object = platform(&event("detect", json!({ "a": 1 })), "app").unwrap();
        assert_eq!(of_object["custom"], r#"{"a":1}"#);
        assert_eq!(
            platform(&event("detect", Value::Null), "app")
                .unwrap()
                .get("custom"),
            None
        );
        for mode in ["ignore", "forward"] {
            assert_eq!(platform(&event(mode, Value::Null), "app"), None);
        }
    }
}
