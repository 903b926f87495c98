//! The rooms' recordings under load: begun before what is measured, ended after it, and what became of them.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::api::{Api, ApiError};

/// How long the daemon may take to make all of them available.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at one that is not available yet.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Recordings that run.
pub struct Recordings<'a> {
    api: &'a Api,
    rooms: usize,
    /// Conference and recording.
    running: Vec<(&'a str, String)>,
    refusal: Option<ApiError>,
}

/// What became of the recordings, by their receipts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// That should have been recorded.
    pub rooms: usize,
    pub available: usize,
    pub failed: usize,
    /// Of those available.
    pub truncated: usize,
    /// Of those available: silence that stands for sound which never arrived.
    pub gaps: u64,
    pub gap_samples: u64,
    pub samples: u64,
    pub bytes: u64,
    /// The first that the daemon gave.
    pub refusal: Option<String>,
}

impl<'a> Recordings<'a> {
    /// Starts to record each of the conferences, as `recordingOptions` have it by default.
    pub fn begin(api: &'a Api, conferences: &BTreeSet<&'a str>) -> Recordings<'a> {
        let mut recordings = Recordings {
            api,
            rooms: conferences.len(),
            running: Vec::with_capacity(conferences.len()),
            refusal: None,
        };
        for conference in conferences {
            match api.record(conference, &json!({})) {
                Ok(id) => recordings.running.push((conference, id)),
                Err(error) => {
                    recordings.refusal.get_or_insert(error);
                }
            }
        }
        recordings
    }

    /// Ends them, and waits until each is available or has failed.
    pub fn end(mut self) -> Recorded {
        for (conference, _) in &self.running {
            if let Err(error) = self.api.stop_recording(conference) {
                self.refusal.get_or_insert(error);
            }
        }
        let mut recorded = Recorded {
            rooms: self.rooms,
            ..Recorded::default()
        };
        let deadline = Instant::now() + PATIENCE;
        for (_, id) in &self.running {
            match settled(self.api, id, deadline) {
                Ok(status) => recorded.count(&status),
                Err(error) => {
                    self.refusal.get_or_insert(error);
                }
            }
        }
        recorded.refusal = self.refusal.map(|refusal| refusal.to_string());
        recorded
    }
}

/// What the daemon says of a recording once it is available or has failed, or at the deadline.
fn settled(api: &Api, recording_id: &str, deadline: Instant) -> Result<Value, ApiError> {
    loop {
        let status = api.receipt(recording_id)?;
        if matches!(status["state"].as_str(), Some("available" | "failed")) || Instant::now() > deadline {
            return Ok(status);
        }
        thread::sleep(LOOK_EVERY);
    }
}

impl Recorded {
    fn count(&mut self, status: &Value) {
        match status["state"].as_str() {
            Some("available") => {}
            Some("failed") => {
                self.failed += 1;
                return;
            }
            _ => return,
        }
        let receipt = &status["receipt"];
        self.available += 1;
        self.truncated += usize::from(receipt["truncated"] == true);
        self.gaps += receipt["gaps"].as_array().map_or(0, |gaps| gaps.len() as u64);
        let figure = |name: &str| receipt[name].as_u64().unwrap_or(0);
        self.gap_samples += figure("gapSamples");
        self.samples += figure("samples");
        self.bytes += figure("bytes");
    }

    /// Each room has a recording that is available and whole.
    pub fn is_good(&self) -> bool {
        self.available == self.rooms && self.truncated == 0
    }
}

impl Display for Recorded {
    /// The rows of the table that only such a run has.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  recordings available   {:>10}   of {} rooms, {} failed, {} truncated; {:.1} MiB in all",
            self.available,
            self.rooms,
            self.failed,
            self.truncated,
            self.bytes as f64 / 1_048_576.0,
        )?;
        writeln!(
            f,
            "  gaps in their receipts {:>10}   {:.4} % of what was recorded",
            self.gaps,
            self.gap_samples as f64 / self.samples.max(1) as f64 * 100.0,
        )?;
        match &self.refusal {
            Some(refusal) => writeln!(f, "  first refusal          {refusal}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> Value {
        json!({ "state": "available", "receipt": {
            "samples": 16_000, "bytes": 32_044, "gapSamples": 640, "truncated": false,
            "gaps": [{"fromSample": 320, "samples": 320}, {"fromSample": 960, "samples": 320}],
        }})
    }

    #[test]
    fn receipts_are_added_up() {
        let mut recorded = Recorded {
            rooms: 2,
            ..Recorded::default()
        };
        recorded.count(&available());
        recorded.count(&available());
        let expected = Recorded {
            rooms: 2,
            available: 2,
            gaps: 4,
            gap_samples: 1_280,
            samples: 32_000,
            bytes: 64_088,
            ..Recorded::default()
        };
        assert_eq!(recorded, expected);
        assert!(recorded.is_good());
        let text = recorded.to_string();
        assert!(
            text.contains("of 2 rooms") && text.contains("4   4.0000 %"),
            "{text}"
        );
    }

    #[test]
    fn a_room_whose_recording_failed_was_cut_or_never_came_is_not_good() {
        let mut cut = available();
        cut["receipt"]["truncated"] = true.into();
        for status in [cut, json!({ "state": "failed" }), json!({ "state": "finishing" })] {
            let mut recorded = Recorded {
                rooms: 1,
                ..Recorded::default()
            };
            recorded.count(&status);
            assert!(!recorded.is_good(), "{status}");
        }
    }
}
