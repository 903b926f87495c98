//! What a recording is called, and the claim on that name below `recording.dir`: a file that is made before anybody
//! else can make it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::destination::Place;
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

/// Takes the name asked for below `dir`, or the one made from it, and notes which. Tells where its file is.
pub fn take(dir: &Path, opening: &mut Opening) -> Result<PathBuf, RecordError> {
    let asked = opening.stem.clone();
    for stem in [asked.clone(), format!("{asked}~{}", opening.recording_id)] {
        let path = dir.join(format!("{stem}{}", opening.ending));
        match make_new(dir, &path, &dir.join(format!("{stem}.json"))) {
            Ok(()) => {
                opening.requested_key = (stem != asked).then(|| format!("{asked}{}", opening.ending));
                opening.stem = stem;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(RecordError::NoFolder),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RecordError::TakenName)
}

/// Makes sure that the name a recording has taken is taken still.
pub fn claim(dir: &Path, path: &Path) {
    // There as a rule; and what cannot be made now is an error when it is opened.
    let _ = make_file(dir, path);
}

/// Makes a file and the folders above it; `AlreadyExists` when it or its receipt is there, `NotADirectory` when a
/// folder above it is a file.
fn make_new(dir: &Path, path: &Path, receipt: &Path) -> io::Result<()> {
    match fs::exists(receipt) {
        Ok(true) => Err(io::ErrorKind::AlreadyExists.into()),
        _ => make_file(dir, path),
    }
}

/// Returns when its name would outlive a loss of power.
fn make_file(dir: &Path, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(dir);
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)
        .map_err(|error| match error.kind() {
            // The last folder itself is a file: not what this name means elsewhere here.
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
            _ => error,
        })?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(dir)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
