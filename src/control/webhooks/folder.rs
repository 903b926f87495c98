//! What callbacks keep on disk: how far delivery has come, and the letters that could not be delivered.
//!
//! ```text
//! webhooks.dir/lock                       held by the daemon that works here
//! webhooks.dir/progress-<form>.json       replaced as a whole
//! webhooks.dir/dead-letter.jsonl          a line for each, made anew when it is full; the one before it is kept as
//! webhooks.dir/dead-letter.1.jsonl
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::forms::Form;
use super::plan::Progress;

/// Of the file of dead letters before it is made anew.
const DEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Held for as long as it lives.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Letters of both forms, in one file.
pub struct DeadLetters {
    path: PathBuf,
    bytes_max: u64,
    written: Option<File>,
}

impl Folder {
    /// Makes it when it is not there; an error when another daemon works in it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = private()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another daemon works there",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Folder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// `None` where there is none yet. One that cannot be read begins with the oldest event that there still is, for
    /// twice is better than never.
    pub fn progress(&self, form: Form) -> io::Result<Option<Progress>> {
        match fs::read(self.progress_file(form)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(form = form.name(), %error, "how far callbacks had come cannot be read: all that is kept is sent again");
                Progress::default()
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// On disk when it returns, else as it was.
    pub fn save(&self, form: Form, progress: &Progress) -> io::Result<()> {
        let path = self.progress_file(form);
        let unfinished = path.with_extension("tmp");
        let mut file = private()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)?;
        serde_json::to_writer(&mut file, progress)?;
        file.sync_data()?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.path)?.sync_all()
    }

    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.path.join("dead-letter.jsonl"), DEAD_BYTES_MAX)
    }

    fn progress_file(&self, form: Form) -> PathBuf {
        self.path.join(format!("progress-{}.json", form.name()))
    }
}

impl DeadLetters {
    fn new(path: PathBuf, bytes_max: u64) -> DeadLetters {
        DeadLetters {
            path,
            bytes_max,
            written: None,
        }
    }

    /// One line more.
    pub fn add(&mut self, letter: &Value) -> io::Result<()> {
        let mut line = letter.to_string();
        line.push('\n');
        let open = || private().read(true).append(true).create(true).open(&self.path);
        let mut file = open()?;
        let mut before = file.metadata()?.len();
        if before.saturating_add(line.len() as u64) > self.bytes_max {
            file.sync_data()?;
            fs::rename(&self.path, self.path.with_extension("1.jsonl"))?;
            file = open()?;
            before = 0;
        }
        if is_torn(&mut file, before)? {
            line.insert(0, '\n');
        }
        // In one write, so that a line is never torn but by a loss of power or a full disk.
        if let Err(error) = file.write_all(line.as_bytes()) {
            let _ = file.set_len(before);
            return Err(error);
        }
        self.written = Some(file);
        Ok(())
    }

    /// Lines are safe from a loss of power when it returns; after an error they are tried again.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = &self.written {
            file.sync_data()?;
        }
        self.written = None;
        Ok(())
    }
}

/// Whether the last line of so many bytes has no end.
fn is_torn(file: &mut File, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(bytes - 1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::webhooks::ranges::Ranges;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mixminus-webhooks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn progress_is_kept_over_a_restart_and_what_cannot_be_read_begins_from_the_oldest() {
        let path = place("progress");
        let progress = Progress {
            read_to: 9,
            pending: Ranges::from(vec![(3, 4), (7, 7)]),
        };
        {
            let folder = Folder::open(&path).unwrap();
            assert!(Folder::open(&path).is_err(), "one daemon works there");
            assert_eq!(folder.progress(Form::Events).unwrap(), None);
            folder.save(Form::Events, &Progress::default()).unwrap();
            folder.save(Form::Events, &progress).unwrap();
        }
        let folder = Folder::open(&path).unwrap();
        assert_eq!(folder.progress(Form::Events).unwrap(), Some(progress));
        assert_eq!(folder.progress(Form::Platform).unwrap(), None);
        assert_eq!(
            (mode(&path), mode(&path.join("progress-events.json"))),
            (0o700, 0o600)
        );
        fs::write(path.join("progress-events.json"), "{\"readTo\":9").unwrap();
        assert_eq!(folder.progress(Form::Events).unwrap(), Some(Progress::default()));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_dead_letter_that_was_torn_spoils_no_other_and_a_failed_sync_is_made_up_for() {
        let path = place("torn");
        let folder = Folder::open(&path).unwrap();
        let file = path.join("dead-letter.jsonl");
        fs::write(&file, "{\"number\":1}\n{\"numb").unwrap();
        let mut letters = folder.dead_letters();
        for number in 2..4 {
            letters.add(&json!({ "number": number })).unwrap();
        }
        letters.sync().unwrap();
        let read = fs::read_to_string(&file).unwrap();
        let whole = read
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let numbers: Vec<_> = whole.map(|letter| letter["number"].clone()).collect();
        assert_eq!(numbers, [1, 2, 3]);

        // A file that cannot be synced.
        letters.written = Some(File::open("/dev/null").unwrap());
        assert!(letters.sync().is_err());
        assert!(letters.sync().is_err(), "it is still to be done");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn dead_letters_are_bounded_and_for_their_owner_alone() {
        let path = place("dead");
        let folder = Folder::open(&path).unwrap();
        let file = path.join("dead-letter.jsonl");
        let mut letters = DeadLetters::new(file.clone(), 100);
        for number in 0..7 {
            letters
                .add(&json!({ "number": number, "filled": "0123456789" }))
                .unwrap();
        }
        letters.sync().unwrap();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        let (old, new) = (read("dead-letter.1.jsonl"), read("dead-letter.jsonl"));
        assert!(old.len() <= 100 && new.len() <= 100);
        let numbers: Vec<u64> = old
            .lines()
            .chain(new.lines())
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["number"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(numbers.last(), Some(&6));
        assert!(
            numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{numbers:?}"
        );
        assert_eq!(
            (mode(&file), mode(&path.join("dead-letter.1.jsonl"))),
            (0o600, 0o600)
        );
        drop(folder);
        fs::remove_dir_all(path).unwrap();
    }
}
