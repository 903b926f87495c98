//! Where the recording goes, and what is found there afterwards: the files, held against the receipt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::DemoError;
use super::ObjectStore;
use super::daemon::RECORDINGS;
use super::judge::Check;
use super::script::{self, PARTIES};
use super::sound;
use crate::frame::Rate;
use crate::load::api::Api;

/// How long a recording may take to be available.
const PATIENCE: Duration = Duration::from_secs(15);

/// Of the demo's object store.
const BUCKET: &str = "recordings";

/// Where a recording goes.
pub struct Archive {
    /// In which its keys are paths.
    pub folder: PathBuf,
    /// `RecordingOptions` that send it there.
    pub options: Value,
    /// Settings of the daemon (`section.key=value`) that it takes.
    pub settings: Vec<String>,
    /// Its bucket, where it is one.
    pub bucket: Option<&'static str>,
    /// What must stand in no log.
    pub secret: Option<String>,
    /// Serves the bucket as long as the archive lives.
    _store: Option<ObjectStore>,
}

impl Archive {
    /// The daemon's `recording.dir`.
    pub fn local(directory: &Path) -> Archive {
        Archive {
            folder: directory.join(RECORDINGS),
            options: json!({ "tracks": "mix+legs" }),
            settings: Vec::new(),
            bucket: None,
            secret: None,
            _store: None,
        }
    }

    /// A bucket of an object store, which is started for it and has its files in `directory`.
    pub fn in_bucket(directory: &Path) -> io::Result<Archive> {
        let (key, secret) = ("mixminus-demo", format!("{:032x}", fastrand::u128(..)));
        let buckets = directory.join("bucket");
        let store = ObjectStore::start(&buckets, key, &secret)?;
        store.make_bucket(BUCKET)?;
        Ok(Archive {
            folder: buckets.join(BUCKET),
            options: json!({
                "tracks": "mix+legs",
                "destinationUrl": format!("s3://{BUCKET}/"),
                "credentials": format!("{key}:{secret}:eu-north-1"),
            }),
            settings: vec![
                format!("s3.endpoint={}", store.url()),
                "s3.allow_http=true".to_owned(),
                "s3.path_style=true".to_owned(),
            ],
            bucket: Some(BUCKET),
            secret: Some(secret),
            _store: Some(store),
        })
    }
}

/// What was found of a recording. Sounds are at the rate of the checks.
#[derive(Debug, Default)]
pub struct Kept {
    pub mix: Option<Vec<f32>>,
    /// By party.
    pub tracks: Vec<Vec<f32>>,
    pub checks: Vec<Check>,
    /// Paths in the archive's folder, and what each is.
    pub files: Vec<(String, String)>,
}

/// Waits until the recording is available, and looks at what lies in the archive.
pub fn fetch(api: &Api, recording_id: &str, archive: &Archive) -> Result<Kept, DemoError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = api.receipt(recording_id)?;
        let is_on_its_way = matches!(
            status["state"].as_str(),
            Some("recording" | "finishing" | "uploading")
        );
        if !is_on_its_way || Instant::now() > deadline {
            return Ok(look(&status, &archive.folder));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Holds the files in `folder` against what the daemon says of the recording.
fn look(status: &Value, folder: &Path) -> Kept {
    let mut kept = Kept::default();
    let (state, receipt) = (status["state"].as_str().unwrap_or("?"), &status["receipt"]);
    kept.checks.push(Check {
        sentence: format!("the recording is available ({state})"),
        passed: state == "available",
    });
    let gaps = receipt["gapSamples"].as_u64();
    let is_cut = receipt["truncated"].as_bool();
    kept.checks.push(Check {
        sentence: format!("the recording is whole ({} samples of gaps)", figure(gaps)),
        passed: gaps == Some(0) && is_cut == Some(false),
    });
    kept.mix = kept.examine("the mix", receipt, receipt, folder);
    for name in (0..PARTIES).map(script::name) {
        let mut tracks = receipt["tracks"].as_array().into_iter().flatten();
        let track = tracks.rfind(|track| track["callId"] == name);
        let what = format!("{name}'s voice");
        let sound = track.and_then(|track| kept.examine(&what, track, receipt, folder));
        kept.checks.push(Check {
            sentence: format!("the recording has a track of {name}, as long as the mix"),
            passed: match (&sound, &kept.mix) {
                (Some(track), Some(mix)) => track.len() == mix.len(),
                _ => false,
            },
        });
        kept.tracks.push(sound.unwrap_or_default());
    }
    let key = Path::new(receipt["key"].as_str().unwrap_or_default()).with_extension("json");
    let found = fs::read(folder.join(&key)).ok();
    let found: Option<Value> = found.and_then(|json| serde_json::from_slice(&json).ok());
    kept.checks.push(Check {
        sentence: format!("the receipt lies beside the recording ({})", key.display()),
        passed: found.as_ref().is_some_and(|found| found == receipt),
    });
    let what = "the receipt, with size and SHA-256 of each".to_owned();
    kept.files.push((key.display().to_string(), what));
    kept
}

impl Kept {
    /// Checks one file against what `told` has of it; its sound. Its rate stands in the receipt.
    fn examine(&mut self, what: &str, told: &Value, receipt: &Value, folder: &Path) -> Option<Vec<f32>> {
        let key = told["key"].as_str()?;
        let file = fs::read(folder.join(key)).unwrap_or_default();
        let is_same = told["bytes"].as_u64() == Some(file.len() as u64)
            && told["sha256"].as_str() == Some(&format!("{:x}", Sha256::digest(&file)));
        self.checks.push(Check {
            sentence: format!(
                "{what} is the file of the receipt ({} bytes, {} told)",
                file.len(),
                figure(told["bytes"].as_u64())
            ),
            passed: is_same,
        });
        self.files
            .push((key.to_owned(), format!("{what}, {} bytes", file.len())));
        let (hz, samples) = sound::read_wav(&file)?;
        self.checks.push(Check {
            sentence: format!(
                "{what} is as the receipt tells ({} samples at {hz} Hz)",
                samples.len()
            ),
            passed: told["samples"].as_u64() == Some(samples.len() as u64)
                && receipt["rate"].as_u64() == Some(u64::from(hz)),
        });
        Some(sound::at_check_rate(&samples, Rate::from_hz(hz)?))
    }
}

fn figure(figure: Option<u64>) -> String {
    figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recording in a folder of its own, and what the daemon would say of it.
    fn recording(name: &str) -> (PathBuf, Value) {
        let folder = std::env::temp_dir().join(format!("mixminus-archive-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary directory can be written");
        let written = |key: String| {
            let path = folder.join(&key);
            sound::write_wav(&path, 16_000, &[0.25; 1_600]).expect("it can be written");
            let file = fs::read(&path).expect("it was written");
            json!({
                "key": key, "bytes": file.len(), "samples": 1_600,
                "sha256": format!("{:x}", Sha256::digest(&file)),
            })
        };
        let mut receipt = written("a.wav".to_owned());
        receipt["rate"] = 16_000.into();
        receipt["gapSamples"] = 0.into();
        receipt["truncated"] = false.into();
        let tracks = (0..PARTIES).map(script::name).map(|name| {
            let mut track = written(format!("a.{name}.wav"));
            track["callId"] = name.into();
            track
        });
        receipt["tracks"] = tracks.collect();
        fs::write(folder.join("a.json"), receipt.to_string()).expect("it can be written");
        (folder, json!({ "state": "available", "receipt": receipt }))
    }

    fn failures(status: &Value, folder: &Path) -> Vec<String> {
        let checks = look(status, folder).checks.into_iter();
        checks
            .filter(|check| !check.passed)
            .map(|check| check.sentence)
            .collect()
    }

    #[test]
    fn files_as_their_receipt_tells_pass_and_are_named() {
        let (folder, status) = recording("good");
        assert_eq!(failures(&status, &folder), Vec::<String>::new());
        let kept = look(&status, &folder);
        assert_eq!(kept.files.len(), PARTIES + 2);
        assert_eq!(
            kept.files[0],
            ("a.wav".to_owned(), "the mix, 3244 bytes".to_owned())
        );
        assert_eq!(kept.files[PARTIES + 1].0, "a.json");
        assert_eq!(kept.mix.map(|mix| mix.len()), Some(800));
        fs::remove_dir_all(&folder).expect("it was made");
    }

    #[test]
    fn a_receipt_that_tells_otherwise_fails() {
        let (folder, status) = recording("otherwise");
        for (field, value) in [
            ("samples", json!(1_601)),
            ("rate", json!(8_000)),
            ("bytes", json!(1)),
            ("sha256", json!("00")),
            ("gapSamples", json!(320)),
            ("truncated", json!(true)),
            ("tracks", json!([])),
        ] {
            let mut other = status.clone();
            other["receipt"][field] = value;
            // The receipt beside the file is another as well.
            assert!(failures(&other, &folder).len() >= 2, "{field}");
        }
        let mut failed = status.clone();
        failed["state"] = "failed".into();
        assert_eq!(
            failures(&failed, &folder),
            ["the recording is available (failed)"]
        );
        assert!(failures(&json!({}), &folder).len() > 3);
        fs::remove_dir_all(&folder).expect("it was made");
    }

    #[test]
    fn a_file_that_changed_or_is_gone_fails() {
        let (folder, status) = recording("changed");
        let track = folder.join("a.alma.wav");
        let mut file = fs::read(&track).expect("it is there");
        file[1_000] ^= 1;
        fs::write(&track, &file).expect("it can be written");
        let changed = failures(&status, &folder);
        assert!(
            changed.len() == 1 && changed[0].starts_with("alma's voice is the file"),
            "{changed:?}"
        );
        fs::remove_file(folder.join("a.json")).expect("it is there");
        fs::remove_file(folder.join("a.wav")).expect("it is there");
        let gone = failures(&status, &folder);
        assert!(
            gone.iter().any(|gone| gone.starts_with("the receipt lies")),
            "{gone:?}"
        );
        assert!(
            gone.iter().any(|gone| gone.starts_with("the mix is the file")),
            "{gone:?}"
        );
        fs::remove_dir_all(&folder).expect("it was made");
    }
}
