//! The end of a recording, on a thread of its own because it reads the whole file: final sizes, sync, hash, receipt.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::receipt::Receipt;
use super::shelf::Shelf;
use super::take::Take;

/// Finishes one recording; whatever goes wrong is in its last state and harms no other.
pub fn finish(mut take: Take, shelf: &Shelf) {
    let mut receipt = take.receipt();
    let outcome = finish_sound(&mut take, &mut receipt)
        .map_err(|error| format!("the file could not be finished: {error}"))
        .and_then(|()| {
            let written = take.beginning.paths.write_receipt(&receipt);
            written.map_err(|error| format!("the receipt could not be written: {error}"))
        });
    if let Err(error) = &outcome {
        let recording_id = &take.beginning.recording_id;
        tracing::error!(recording_id, error, "recording failed");
    }
    shelf.settled(take.beginning.slot, receipt, outcome.err());
}

fn finish_sound(take: &mut Take, receipt: &mut Receipt) -> io::Result<()> {
    if take.trouble().is_some() {
        // A failed write may have left some bytes behind the last sample.
        let samples = take.wav.samples();
        take.wav.cut(samples)?;
    } else {
        take.wav.write_sizes()?;
    }
    take.wav.file().sync_all()?;
    (receipt.bytes, receipt.sha256) = size_and_sha256(take.wav.file())?;
    Ok(())
}

/// Reads the file from its beginning, wherever its cursor is.
pub fn size_and_sha256(file: &File) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 256 * 1_024];
    loop {
        match file.read_at(&mut buffer, bytes) {
            Ok(0) => break,
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, format!("{:x}", hash.finalize())))
}
