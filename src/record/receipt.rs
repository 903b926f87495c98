//! What a recording vouches for: `<name>.json` beside the sound, and the same in the API and in the last event.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::time::{TICK, Tick};

/// The receipt, in the form it has in JSON. Times are RFC 3339 in UTC, to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub recording_id: String,
    pub conference_id: String,
    /// The leg of which this is what that leg was sent; absent: the room's mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// `file://` and the key, or `s3://`, the bucket and the key.
    pub destination: String,
    /// Path of the sound, relative to `recording.dir` or in the bucket.
    pub key: String,
    /// The name that was asked for, when it was taken and `key` is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_key: Option<String>,
    /// Path of the receipt, when `<name>.json` was taken. One in a bucket cannot say it of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<String>,
    /// Size of the file, header included.
    pub bytes: u64,
    /// Of the whole file, in lower-case hex.
    pub sha256: String,
    pub samples: u64,
    /// `wav`, `ogg` or `flac`.
    pub format: String,
    /// Samples per second.
    pub rate: u32,
    /// When the first sample sounded.
    pub start: String,
    /// Silence that stands for sound which never arrived; the first 10,000.
    pub gaps: Vec<Stretch>,
    /// All gaps together.
    pub gap_samples: u64,
    /// Silence that was asked for.
    pub pauses: Vec<Stretch>,
    /// The recording ended before it was told to.
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_because: Option<String>,
    /// Frames of sound that came too late for their place, which is a gap.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late_frames: u64,
    /// Places where the journal was damaged: sound that stood there is a gap, but who came and went then is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub journal_holes: u64,
    /// Who was in the room; the first 10,000 stays.
    pub attendance: Vec<Attendee>,
    /// Comings, goings and mutes that are not in it, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attendance_left_out: u64,
    /// The tracks of the legs, each as long as the mix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<TrackReceipt>,
    /// Legs beyond as many as have tracks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracks_refused: Vec<String>,
}

/// The file of one leg's voice beside the mix: sample `n` of it went into sample `n` of the mix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackReceipt {
    pub call_id: String,
    pub key: String,
    pub bytes: u64,
    /// Of the whole file, in lower-case hex.
    pub sha256: String,
    pub samples: u64,
    /// Silence that stands for sound which never arrived; the first 10,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Stretch>,
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    pub from_sample: u64,
    pub samples: u64,
}

/// One stay of a leg in the room. It may begin before the recording does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attendee {
    pub call_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli: Option<String>,
    #[serde(flatten)]
    pub stay: Span,
    pub muted: Vec<Span>,
}

/// A time by the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: String,
    /// Absent: still so at the end of the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What time a tick is by the wall clock: the pair read when the recording began.
#[derive(Debug, Clone, Copy)]
pub struct Anchor {
    pub tick: Tick,
    pub at: Timestamp,
}

impl Anchor {
    /// The wall clock at the beginning of `tick`, whatever has been done to that clock since.
    pub(super) fn wall_clock(&self, tick: Tick) -> Timestamp {
        let ticks = i128::from(tick.0) - i128::from(self.tick.0);
        let millis = i64::try_from(ticks * TICK.as_millis() as i128).unwrap_or(0);
        self.at
            .checked_add(SignedDuration::from_millis(millis))
            .unwrap_or(self.at)
    }
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Puts a receipt where it is looked for: complete under its name, or not there at all.
///
/// What is there already is left alone, and is the error `AlreadyExists`.
pub(super) fn write_new(path: &Path, receipt: &Receipt) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(receipt)?;
    json.push(b'\n');
    // By the recording's id: another recording may write a receipt of the same name now.
    let part = path.with_file_name(format!(".{}.json.part", receipt.recording_id));
    // Made anew: what a crash has left may be the same file as a receipt that is in its place.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&part)?;
    file.write_all(&json)?;
    file.sync_all()?;
    // A link, not a renaming: that would take the place of what is there.
    let linked = fs::hard_link(&part, path);
    fs::remove_file(&part)?;
    linked?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A receipt that was written; `None` when there is none, or it is not one.
pub(super) fn read(path: &Path) -> Option<Receipt> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;
    use std::sync::Barrier;
    use std::thread;

    fn receipt(recording_id: &str) -> Receipt {
        Receipt {
            recording_id: recording_id.to_owned(),
            conference_id: "c".to_owned(),
            call_id: None,
            destination: "file://a~r.wav".to_owned(),
            key: "a~r.wav".to_owned(),
            requested_key: Some("a.wav".to_owned()),
            receipt_key: Some("a~r~r.json".to_owned()),
            bytes: 46,
            sha256: "00".to_owned(),
            samples: 1,
            format: "wav".to_owned(),
            rate: 16_000,
            start: "s".to_owned(),
            gaps: vec![Stretch {
                from_sample: 320,
                samples: 640,
            }],
            gap_samples: 640,
            pauses: vec![],
            truncated: false,
            truncated_because: None,
            late_frames: 0,
            journal_holes: 0,
            attendance_left_out: 0,
            attendance: vec![Attendee {
                call_id: "leg".to_owned(),
                cli: Some("+46".to_owned()),
                stay: Span {
                    from: "f".to_owned(),
                    to: None,
                },
                muted: vec![Span {
                    from: "m".to_owned(),
                    to: Some("n".to_owned()),
                }],
            }],
            tracks: vec![TrackReceipt {
                call_id: "leg".to_owned(),
                key: "a~r.leg.wav".to_owned(),
                bytes: 46,
                sha256: "11".to_owned(),
                samples: 1,
                gaps: vec![],
            }],
            tracks_refused: vec![],
        }
    }

    #[test]
    fn ticks_are_told_by_the_wall_clock_of_the_beginning() {
        let anchor = Anchor {
            tick: Tick(1_000),
            at: "2026-01-02T03:04:05.678Z".parse().expect("a valid time"),
        };
        let told = |tick| rfc3339(anchor.wall_clock(Tick(tick)));
        assert_eq!(told(1_000), "2026-01-02T03:04:05.678Z");
        assert_eq!(told(1_001), "2026-01-02T03:04:05.698Z");
        assert_eq!(told(500), "2026-01-02T03:03:55.678Z");
        assert_eq!(
            told(u64::MAX),
            "2026-01-02T03:04:05.678Z",
            "beyond all calendars: no panic"
        );
    }

    #[test]
    fn of_receipts_of_one_name_that_are_written_at_once_one_is_there_and_the_others_are_refused() {
        const WRITERS: usize = 4;
        for round in 0..50 {
            let scratch = Scratch::new();
            let path = scratch.path("n.json");
            let start = Barrier::new(WRITERS);
            let written: Vec<_> = thread::scope(|scope| {
                let writers: Vec<_> = (0..WRITERS)
                    .map(|writer| {
                        let (path, start) = (&path, &start);
                        scope.spawn(move || {
                            let receipt = receipt(&format!("id-{writer}"));
                            start.wait();
                            (write_new(path, &receipt).map_err(|error| error.kind()), receipt)
                        })
                    })
                    .collect();
                writers
                    .into_iter()
                    .map(|writer| writer.join().expect("no panic"))
                    .collect()
            });
            let (there, refused): (Vec<_>, Vec<_>) =
                written.into_iter().partition(|(ended, _)| ended.is_ok());
            assert_eq!(there.len(), 1, "round {round}");
            assert_eq!(read(&path).as_ref(), Some(&there[0].1), "round {round}");
            for (ended, _) in refused {
                assert_eq!(ended, Err(io::ErrorKind::AlreadyExists), "round {round}");
            }
            let names = fs::read_dir(scratch.dir()).expect("it is there").count();
            assert_eq!(names, 1, "nothing else stays");
        }
    }

    #[test]
    fn a_receipt_that_a_crash_left_with_two_names_is_not_written_over() {
        let scratch = Scratch::new();
        let path = scratch.path("n.json");
        write_new(&path, &receipt("id-1")).expect("nothing is there");
        fs::hard_link(&path, scratch.path(".id-1.json.part")).expect("the crash came before it was removed");
        let again = Receipt {
            bytes: 1,
            ..receipt("id-1")
        };
        let refused = write_new(&path, &again).expect_err("it is there");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path), Some(receipt("id-1")));
        assert!(!scratch.path(".id-1.json.part").exists());
    }

    #[test]
    fn the_receipt_has_the_names_of_the_contract() {
        let receipt = receipt("r");
        let json = serde_json::to_value(&receipt).expect("plain data");
        let expected = serde_json::json!({
            "recordingId": "r", "conferenceId": "c", "destination": "file://a~r.wav", "key": "a~r.wav", "requestedKey": "a.wav", "receiptKey": "a~r~r.json", "bytes": 46,
            "sha256": "00", "samples": 1, "format": "wav", "rate": 16000, "start": "s",
            "gaps": [{"fromSample": 320, "samples": 640}], "gapSamples": 640, "pauses": [], "truncated": false,
            "attendance": [{"callId": "leg", "cli": "+46", "from": "f", "muted": [{"from": "m", "to": "n"}]}],
            "tracks": [{"callId": "leg", "key": "a~r.leg.wav", "bytes": 46, "sha256": "11", "samples": 1}],
        });
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_value::<Receipt>(json).expect("its own form"),
            receipt
        );
    }
}
