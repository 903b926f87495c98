//! What a recording is called, and the claim on that name below `recording.dir`.
//!
//! ```text
//! recording.dir/.spool/<id>/mix.wav ─┬─ one file ─▶ served, rendered, hashed
//! recording.dir/talk.wav ────────────┘
//! ```
//!
//! The file that grows is made in the recording's folder of the spool, and its name below `recording.dir` is another
//! name (a hard link) of the same file. Whoever moves, removes or replaces what has that name takes nothing from the
//! recording; and whose a file is, is told by the file and not by its name. Where the file system gives a file no two
//! names, it has the one below `recording.dir` alone, and nothing is known of what is done to it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::destination::Place;
use super::image::Format;
use super::note::Opening;
use super::recorder::{BeginRecording, RecordError};

/// What is asked for, under the name asked for.
pub fn opening(request: &BeginRecording) -> Opening {
    let subject = request.call_id.as_ref().unwrap_or(&request.conference_id);
    let names = request
        .destination
        .names(request.now.at, &request.application, subject);
    Opening {
        recording_id: request.recording_id.clone(),
        conference_id: request.conference_id.clone(),
        call_id: request.call_id.clone(),
        bucket: match &request.destination.place {
            Place::Local => None,
            Place::S3 { bucket } => Some(bucket.clone()),
        },
        stem: names.base().to_owned(),
        ending: names.ending().to_owned(),
        requested_key: None,
        format: request.destination.format.extension().to_owned(),
        rate: request.rate.hz(),
        legs: request.legs,
        has_credentials: request.destination.credentials.is_some(),
        notifies: request.notifies,
        anchor_tick: request.now.tick.0,
        anchor_us: request.now.at.as_microsecond(),
    }
}

/// Where the main track's file lies in the recording's folder.
pub fn held(folder: &Path, opening: &Opening) -> PathBuf {
    folder.join(format!("mix{}", opening.ending))
}

/// Makes the file that is to grow. It has no name below `recording.dir` yet.
pub fn hold(folder: &Path, opening: &Opening) -> io::Result<()> {
    make_file(&held(folder, opening))
}

/// Takes for the file that is held the name asked for below `dir`, or the one made from it, and notes which. `turn` is
/// held while a name is looked for: one recording does it after the other.
pub fn take(dir: &Path, folder: &Path, opening: &mut Opening, turn: &Mutex<()>) -> Result<(), RecordError> {
    let held = held(folder, opening);
    for stem in opening.stems() {
        let path = dir.join(format!("{stem}{}", opening.ending));
        let taken = {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            take_name(dir, &held, &path, &stem)
        };
        match taken.and_then(|()| sync_name(dir, &path)) {
            Ok(()) => {
                opening.is_called(stem);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(RecordError::NoFolder),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RecordError::TakenName)
}

/// Sees to it that the recording's file has a name below `dir`, whatever was done to it, and gives the name without its
/// ending: the one it has taken, or the one made from it where another file has that now.
pub fn keep(dir: &Path, folder: &Path, opening: &Opening) -> io::Result<String> {
    let held = held(folder, opening);
    if !held.is_file() {
        return Ok(opening.stem.clone());
    }
    let stems = opening.stems();
    let path_of = |stem: &String| dir.join(format!("{stem}{}", opening.ending));
    if let Some(stem) = stems.iter().find(|stem| is_same_file(&held, &path_of(stem))) {
        return Ok(stem.clone());
    }
    for stem in stems {
        let path = path_of(&stem);
        make_folders(dir, &path)?;
        match fs::hard_link(&held, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.and_then(|()| sync_name(dir, &path)).map(|()| stem),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "its name is taken, and so is the one made from it",
    ))
}

/// Makes sure that the name is taken still of a recording whose file has no other.
pub fn claim(dir: &Path, path: &Path) {
    // There as a rule; and what cannot be made now is an error when it is opened.
    let _ = make_folders(dir, path)
        .and_then(|()| make_file(path))
        .and_then(|()| sync_name(dir, path));
}

/// Takes the names below `dir` away from a recording's file, which has another in its folder.
pub fn let_go(dir: &Path, folder: &Path, opening: &Opening) {
    let held = held(folder, opening);
    for stem in opening.stems() {
        let path = dir.join(format!("{stem}{}", opening.ending));
        if is_same_file(&held, &path) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether both are there and are names of one file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((file(one), file(other)), (Ok(one), Ok(other)) if one == other)
}

/// Gives the file a name, with the folders above it; `AlreadyExists` when it is there, or what would have a receipt of
/// the same name, or that receipt; `NotADirectory` when a folder above it is a file.
fn take_name(dir: &Path, held: &Path, path: &Path, stem: &str) -> io::Result<()> {
    let is_there = |ending: &str| fs::exists(dir.join(format!("{stem}.{ending}"))).unwrap_or(false);
    let mut endings = Format::ALL.iter().map(|format| format.extension());
    if is_there("json") || endings.any(|ending| is_there(ending) || is_there(&ending.to_uppercase())) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    make_folders(dir, path)?;
    match fs::hard_link(held, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links, or not that of the spool.
        Err(_) => {
            make_file(path)?;
            fs::remove_file(held).inspect_err(|_| drop(fs::remove_file(path)))
        }
        Ok(()) => Ok(()),
    }
}

fn make_folders(dir: &Path, path: &Path) -> io::Result<()> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path.parent().unwrap_or(dir));
    made.map_err(|error| match error.kind() {
        // The last folder itself is a file: not what this name means elsewhere here.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640);
    options.open(path).map(drop)
}

/// Returns when the name would outlive a loss of power.
fn sync_name(dir: &Path, path: &Path) -> io::Result<()> {
    let folders = path.ancestors().skip(1);
    for folder in folders.take_while(|folder| folder.starts_with(dir)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
