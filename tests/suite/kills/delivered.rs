//! What became of a recording: its object, its receipt and what is heard in it agree.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mixminus::record::image::Format;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::callers::LastHeard;
use super::site::{BUCKET, Site};

#[expect(dead_code, reason = "players look at more than is asked here")]
#[path = "../../../src/record/image/read.rs"]
mod read;

/// A recording that was delivered, with what it says of itself found true.
pub struct Delivered {
    pub receipt: Value,
    /// Where the object lies.
    pub path: PathBuf,
    /// Of the main track.
    pub sound: Vec<i16>,
    pub rate: u32,
    /// Keys of all its objects, the receipt's among them.
    pub keys: Vec<String>,
}

/// Files of a status that is `available`.
#[track_caller]
pub fn delivered(site: &Site, status: &Value) -> Delivered {
    let root = match status["destination"].as_str().unwrap().split_once("://").unwrap() {
        ("file", _) => site.recordings(),
        _ => site.store.object(BUCKET, ""),
    };
    delivered_below(&root, status)
}

#[track_caller]
pub fn delivered_below(root: &Path, status: &Value) -> Delivered {
    let receipt = &status["receipt"];
    assert!(
        receipt["requestedKey"].is_null(),
        "stored under another name: {receipt}"
    );
    let format: Format = receipt["format"].as_str().unwrap().parse().unwrap();
    let key = receipt["key"].as_str().unwrap();
    let path = root.join(key);
    let read = vouched_for(receipt, root, format);
    let stem = key.strip_suffix(format.extension()).unwrap();
    let receipt_key = format!("{stem}json");
    let beside = std::fs::read(root.join(&receipt_key)).expect("the receipt lies beside the object");
    assert_eq!(&serde_json::from_slice::<Value>(&beside).unwrap(), receipt);
    let mut keys = vec![key.to_owned(), receipt_key];
    for track in receipt["tracks"].as_array().into_iter().flatten() {
        let (_, samples) = vouched_for(track, root, format);
        assert_eq!(
            samples.len(),
            read.1.len(),
            "tracks are as long as the mix: {receipt}"
        );
        keys.push(track["key"].as_str().unwrap().to_owned());
    }
    Delivered {
        receipt: receipt.clone(),
        path,
        sound: read.1,
        rate: read.0,
        keys,
    }
}

/// The object that a receipt, or a track of one, is of: of its size, its hash and its length.
#[track_caller]
fn vouched_for(receipt: &Value, root: &Path, format: Format) -> (u32, Vec<i16>) {
    let path = root.join(receipt["key"].as_str().unwrap());
    let bytes = std::fs::read(&path).expect("the object is there");
    assert_eq!(bytes.len() as u64, receipt["bytes"], "{receipt}");
    let sha256 = Sha256::digest(&bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
    assert_eq!(sha256, receipt["sha256"], "{receipt}");
    let (rate, samples) = read::read(&path, format);
    assert_eq!(samples.len() as u64, receipt["samples"], "{receipt}");
    (rate.hz(), samples)
}

impl Delivered {
    /// When its last sample sounded, in milliseconds of the wall clock.
    pub fn end_ms(&self) -> u64 {
        let start: Timestamp = self.receipt["start"].as_str().unwrap().parse().unwrap();
        start.as_millisecond() as u64 + self.ms(self.sound.len())
    }

    pub fn ms(&self, samples: usize) -> u64 {
        samples as u64 * 1_000 / u64::from(self.rate)
    }

    pub fn last_heard(&self) -> LastHeard {
        LastHeard::in_sound(&self.sound, self.rate)
            .unwrap_or_else(|| panic!("nothing is heard in {}", self.path.display()))
    }

    pub fn attended(&self, call: &str) -> bool {
        self.receipt["attendance"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stay| stay["callId"] == call)
    }
}
