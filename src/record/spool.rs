//! What lies in `recording.dir`: finished recordings, those that run, and those a crash has left without a receipt.
//! Serves `mixminus recordings list` and `recover`, with or without a daemon running on the same directory: a running
//! recording is locked and left alone.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use jiff::Timestamp;

use super::finisher::size_and_sha256;
use super::receipt::{Paths, Receipt, rfc3339};
use super::wav::{self, DATA_BYTES_MAX, HEADER_BYTES};

/// Folders below `recording.dir` that are looked into; keys are no deeper.
const DEPTH_MAX: usize = 16;

const CRASH: &str = "the daemon ended before the recording did";

/// One WAV file of the spool. Its `Display` is a line for the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolEntry {
    /// Path relative to `recording.dir`.
    pub key: String,
    pub bytes: u64,
    pub state: SpoolState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolState {
    /// With its receipt.
    Finished(Box<Receipt>),
    /// Held by a running daemon.
    Recording,
    /// Ours, without a receipt: [`recover`] makes one.
    Leftover,
    /// Not to be touched; says why.
    Unknown(String),
}

/// What [`recover`] did with one leftover. Its `Display` is a line for the terminal.
#[derive(Debug)]
pub struct Recovered {
    pub key: String,
    pub outcome: io::Result<Receipt>,
}

impl fmt::Display for SpoolEntry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}  {} bytes  ", self.key, self.bytes)?;
        match &self.state {
            SpoolState::Finished(receipt) => write!(f, "finished, {}", Length(receipt)),
            SpoolState::Recording => write!(f, "recording"),
            SpoolState::Leftover => write!(f, "leftover: `mixminus recordings recover` finishes it"),
            SpoolState::Unknown(why) => write!(f, "left alone: {why}"),
        }
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.outcome {
            Ok(receipt) => write!(f, "{}  recovered, {}", self.key, Length(receipt)),
            Err(error) => write!(f, "{}  not recovered: {error}", self.key),
        }
    }
}

/// `12.3 s from 2026-01-02T03:04:05.678Z`, and what is wrong with it.
struct Length<'a>(&'a Receipt);

impl fmt::Display for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let receipt = self.0;
        let seconds = receipt.samples as f64 / f64::from(receipt.rate.max(1));
        write!(f, "{seconds:.1} s from {}", receipt.start)?;
        if receipt.gap_samples > 0 {
            write!(f, ", {} samples missing", receipt.gap_samples)?;
        }
        if receipt.truncated {
            write!(f, ", truncated")
        } else {
            Ok(())
        }
    }
}

/// Every WAV file below `dir`, by name. A directory that is not there holds nothing.
pub fn list_spool(dir: &Path) -> io::Result<Vec<SpoolEntry>> {
    let mut entries: Vec<_> = sounds(dir)?.into_iter().map(|sound| sound.entry()).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

/// Finishes every leftover below `dir`: right sizes in its header, and a receipt that says it is truncated.
pub fn recover(dir: &Path) -> io::Result<Vec<Recovered>> {
    let mut sounds = sounds(dir)?;
    sounds.retain(|sound| sound.entry().state == SpoolState::Leftover);
    sounds.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(sounds
        .into_iter()
        .map(|sound| Recovered {
            outcome: sound.recover(),
            key: sound.key,
        })
        .collect())
}

/// The newest receipts below `dir`, at most `newest`, oldest first.
pub(super) fn receipts(dir: &Path, newest: usize) -> io::Result<Vec<Receipt>> {
    let mut receipts: Vec<_> = sounds(dir)?
        .iter()
        .filter_map(|sound| sound.read(&sound.paths.receipt))
        .collect();
    receipts.sort_by(|a, b| a.start.cmp(&b.start));
    receipts.drain(..receipts.len().saturating_sub(newest));
    Ok(receipts)
}

/// A file that is a recording by its name.
struct Sound {
    key: String,
    paths: Paths,
}

fn sounds(dir: &Path) -> io::Result<Vec<Sound>> {
    let mut sounds = Vec::new();
    let mut folders = vec![(PathBuf::from(dir), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let items = match fs::read_dir(&folder) {
            Ok(items) => items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A folder that is not ours, such as `lost+found`, hides only itself.
            Err(_) if !prefix.is_empty() => continue,
            Err(error) => return Err(error),
        };
        for item in items {
            let item = item?;
            // Names we made are UTF-8; links are not followed.
            let (Ok(name), kind) = (item.file_name().into_string(), item.file_type()?) else {
                continue;
            };
            let key = format!("{prefix}{name}");
            if kind.is_dir() && prefix.split_terminator('/').count() < DEPTH_MAX {
                folders.push((item.path(), format!("{key}/")));
            } else if kind.is_file()
                && let Some(dot) = key.len().checked_sub(4)
                && key.is_char_boundary(dot)
                && key[dot..].eq_ignore_ascii_case(".wav")
            {
                let paths = Paths::new(dir, &key[..dot], &key[dot..]);
                sounds.push(Sound { key, paths });
            }
        }
    }
    Ok(sounds)
}

impl Sound {
    fn entry(&self) -> SpoolEntry {
        let bytes = fs::metadata(&self.paths.sound).map_or(0, |metadata| metadata.len());
        SpoolEntry {
            key: self.key.clone(),
            bytes,
            state: self.state(),
        }
    }

    fn state(&self) -> SpoolState {
        if let Some(receipt) = self.read(&self.paths.receipt) {
            return SpoolState::Finished(Box::new(receipt));
        }
        if self.paths.receipt.exists() {
            return SpoolState::Unknown("its receipt cannot be read, or is of another file".to_owned());
        }
        match self.open() {
            Ok(_) => SpoolState::Leftover,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => SpoolState::Recording,
            Err(error) => SpoolState::Unknown(error.to_string()),
        }
    }

    /// A receipt or a note that speaks of this file.
    fn read(&self, path: &Path) -> Option<Receipt> {
        let receipt: Receipt = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (receipt.key == self.key).then_some(receipt)
    }

    /// The file of a leftover, locked, and its rate in Hz. `WouldBlock` when a daemon holds it.
    fn open(&self) -> io::Result<(File, u32)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.paths.sound)?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut header = [0; HEADER_BYTES as usize];
        let rate_hz = match file.read_exact_at(&mut header, 0) {
            Ok(()) => wav::parse_header(&header).map(|(rate_hz, _)| rate_hz),
            // The end came between the making of the file and its header: the note knows.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.read(&self.paths.note).map(|note| note.rate)
            }
            Err(error) => return Err(error),
        };
        let not_ours = || io::Error::new(io::ErrorKind::InvalidData, "not a recording of ours");
        Ok((file, rate_hz.ok_or_else(not_ours)?))
    }

    fn recover(&self) -> io::Result<Receipt> {
        let (file, rate_hz) = self.open()?;
        let metadata = file.metadata()?;
        let data_bytes = metadata.len().saturating_sub(HEADER_BYTES).min(DATA_BYTES_MAX) & !1;
        let samples = data_bytes / 2;
        let mut receipt = self.read(&self.paths.note).unwrap_or_else(|| {
            let ended = metadata
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let ended_ms = ended.map_or(0, |time| time.as_millis() as i64);
            let start_ms = ended_ms - (samples * 1_000 / u64::from(rate_hz)) as i64;
            self.receipt_without_note(rate_hz, Timestamp::from_millisecond(start_ms).unwrap_or_default())
        });
        file.write_all_at(&wav::header(rate_hz, data_bytes), 0)?;
        file.set_len(HEADER_BYTES + data_bytes)?;
        file.sync_all()?;
        (receipt.bytes, receipt.sha256) = size_and_sha256(&file)?;
        receipt.samples = samples;
        receipt.truncated = true;
        receipt.truncated_because = Some(CRASH.to_owned());
        self.paths.write_receipt(&receipt)?;
        Ok(receipt)
    }

    /// Who and what is not known; the name has to serve.
    fn receipt_without_note(&self, rate_hz: u32, start: Timestamp) -> Receipt {
        let stem = &self.key[..self.key.len() - 4];
        Receipt {
            recording_id: stem.rsplit(['/', '_', '~']).next().unwrap_or(stem).to_owned(),
            conference_id: String::new(),
            key: self.key.clone(),
            requested_key: None,
            bytes: 0,
            sha256: String::new(),
            samples: 0,
            rate: rate_hz,
            start: rfc3339(start),
            gaps: Vec::new(),
            gap_samples: 0,
            pauses: Vec::new(),
            truncated: true,
            truncated_because: None,
            attendance: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;

    /// A WAV file as a crash leaves it: its header says `promised` bytes of sound, `data` is there.
    fn leave(scratch: &Scratch, key: &str, promised: u64, data: &[u8]) {
        let path = scratch.path(key);
        fs::create_dir_all(path.parent().expect("below the directory")).unwrap();
        fs::write(path, [&wav::header(16_000, promised)[..], data].concat()).unwrap();
    }

    fn leave_note(scratch: &Scratch, stem: &str, key: &str) {
        let note = serde_json::json!({
            "recordingId": "id-1", "conferenceId": "room", "key": key, "bytes": 0, "sha256": "", "samples": 0,
            "rate": 16000, "start": "2026-01-02T03:04:05.000Z", "gaps": [], "gapSamples": 0, "pauses": [],
            "truncated": false, "attendance": [],
        });
        fs::write(scratch.path(&format!("{stem}.json.part")), note.to_string()).unwrap();
    }

    #[test]
    fn what_a_crash_left_becomes_a_recording_with_a_receipt() {
        let scratch = Scratch::new();
        leave(&scratch, "calls/talk.wav", 4, &[7; 641]);
        leave_note(&scratch, "calls/talk", "calls/talk.wav");
        let before = list_spool(scratch.dir()).unwrap();
        assert_eq!(before.len(), 1);
        assert_eq!(
            (&before[0].key[..], &before[0].state),
            ("calls/talk.wav", &SpoolState::Leftover)
        );

        let recovered = recover(scratch.dir()).unwrap();
        let receipt = recovered[0].outcome.as_ref().unwrap();
        let file = fs::read(scratch.path("calls/talk.wav")).unwrap();
        assert_eq!(
            file,
            [&wav::header(16_000, 640)[..], &[7; 640]].concat(),
            "whole samples, and a header that says so"
        );
        assert_eq!(
            (receipt.bytes, receipt.samples, receipt.truncated),
            (684, 320, true)
        );
        assert_eq!(
            (&receipt.recording_id[..], &receipt.conference_id[..]),
            ("id-1", "room")
        );
        assert_eq!(receipt.start, "2026-01-02T03:04:05.000Z");
        assert_eq!(
            receipt.sha256,
            size_and_sha256(&File::open(scratch.path("calls/talk.wav")).unwrap())
                .unwrap()
                .1
        );
        assert!(!scratch.path("calls/talk.json.part").exists());

        let after = list_spool(scratch.dir()).unwrap();
        assert_eq!(after[0].state, SpoolState::Finished(Box::new(receipt.clone())));
        assert!(recover(scratch.dir()).unwrap().is_empty(), "once is enough");
        assert_eq!(
            receipts(scratch.dir(), 10).unwrap().as_slice(),
            std::slice::from_ref(receipt)
        );
    }

    #[test]
    fn without_a_note_the_name_and_the_file_have_to_serve() {
        let scratch = Scratch::new();
        leave(&scratch, "20260102030405_room_id-9.wav", 0, &[1; 32_000]);
        let recovered = recover(scratch.dir()).unwrap();
        let receipt = recovered[0].outcome.as_ref().unwrap();
        assert_eq!((&receipt.recording_id[..], receipt.samples), ("id-9", 16_000));
        let start: Timestamp = receipt.start.parse().unwrap();
        let ago = Timestamp::now().duration_since(start).as_secs_f64();
        assert!(
            (0.9..60.0).contains(&ago),
            "it began a second before the file was last written: {ago}"
        );
    }

    #[test]
    fn an_empty_file_with_a_note_is_an_empty_recording() {
        let scratch = Scratch::new();
        fs::write(scratch.path("talk.wav"), [b'R'; 10]).unwrap();
        leave_note(&scratch, "talk", "talk.wav");
        let recovered = recover(scratch.dir()).unwrap();
        assert_eq!(recovered[0].outcome.as_ref().unwrap().samples, 0);
        assert_eq!(
            fs::read(scratch.path("talk.wav")).unwrap(),
            wav::header(16_000, 0)
        );
    }

    #[test]
    fn files_of_others_are_listed_and_left_alone() {
        let scratch = Scratch::new();
        fs::write(scratch.path("music.wav"), [9; 100]).unwrap();
        fs::write(scratch.path("short.wav"), [9; 3]).unwrap();
        fs::write(scratch.path("notes.txt"), "text").unwrap();
        leave(&scratch, "odd.wav", 2, &[1; 2]);
        fs::write(scratch.path("odd.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/dev/zero", scratch.path("link.wav")).unwrap();
        let listed = list_spool(scratch.dir()).unwrap();
        let keys: Vec<_> = listed.iter().map(|entry| &entry.key[..]).collect();
        assert_eq!(keys, ["music.wav", "odd.wav", "short.wav"]);
        assert!(
            listed
                .iter()
                .all(|entry| matches!(entry.state, SpoolState::Unknown(_))),
            "{listed:?}"
        );
        assert!(recover(scratch.dir()).unwrap().is_empty());
        assert_eq!(fs::read(scratch.path("music.wav")).unwrap(), [9; 100]);
    }

    #[test]
    fn a_receipt_that_speaks_of_another_file_counts_for_nothing() {
        let scratch = Scratch::new();
        leave(&scratch, "talk.wav", 2, &[1; 2]);
        leave_note(&scratch, "talk", "../../etc/passwd.wav");
        fs::rename(scratch.path("talk.json.part"), scratch.path("talk.json")).unwrap();
        assert_eq!(receipts(scratch.dir(), 10).unwrap(), []);
        assert!(matches!(
            list_spool(scratch.dir()).unwrap()[0].state,
            SpoolState::Unknown(_)
        ));
    }

    #[test]
    fn only_the_newest_receipts_are_kept_in_mind() {
        let scratch = Scratch::new();
        for n in 1..=3 {
            leave(&scratch, &format!("{n}.wav"), 0, &[]);
            leave_note(&scratch, &n.to_string(), &format!("{n}.wav"));
            recover(scratch.dir()).unwrap();
            let path = scratch.path(&format!("{n}.json"));
            let json = fs::read_to_string(&path)
                .unwrap()
                .replace("05.000Z", &format!("0{}.000Z", 9 - n));
            fs::write(path, json).unwrap();
        }
        let keys: Vec<_> = receipts(scratch.dir(), 2)
            .unwrap()
            .into_iter()
            .map(|receipt| receipt.key)
            .collect();
        assert_eq!(keys, ["2.wav", "1.wav"]);
    }

    #[test]
    fn a_spool_that_is_not_there_holds_nothing() {
        let scratch = Scratch::new();
        assert_eq!(list_spool(&scratch.path("nowhere")).unwrap(), []);
        assert!(recover(&scratch.path("nowhere")).unwrap().is_empty());
    }

    #[test]
    fn each_entry_is_a_line_for_the_terminal() {
        let scratch = Scratch::new();
        leave(&scratch, "talk.wav", 0, &[0; 32_000]);
        leave_note(&scratch, "talk", "talk.wav");
        let line = list_spool(scratch.dir()).unwrap()[0].to_string();
        assert_eq!(
            line,
            "talk.wav  32044 bytes  leftover: `mixminus recordings recover` finishes it"
        );
        let line = recover(scratch.dir()).unwrap()[0].to_string();
        assert_eq!(
            line,
            "talk.wav  recovered, 1.0 s from 2026-01-02T03:04:05.000Z, truncated"
        );
        let line = list_spool(scratch.dir()).unwrap()[0].to_string();
        assert_eq!(
            line,
            "talk.wav  32044 bytes  finished, 1.0 s from 2026-01-02T03:04:05.000Z, truncated"
        );
    }
}
