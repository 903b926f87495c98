//! The file a recording becomes, growing while the room talks: mono, 16 bit, at one rate from beginning to end.
//!
//! ```text
//! samples ─append─▶ writer of the format ─▶ waiting ─write─▶ file ─finish─▶ header, sync, last pass ─▶ Finished
//! ```
//!
//! An image is a function of its samples: the same samples in the same order, however they were cut into pieces, give
//! the same bytes. So an image can be made anew from the journal, and what of it was uploaded before still fits.
//! Every byte is written at a place known beforehand, so after an error nothing is half-way.

mod flac;
mod format;
mod ogg;
mod sums;
mod wav;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::frame::Rate;
use flac::FlacWriter;
use ogg::OggWriter;
use sums::{PartSums, read_back};
use wav::WavWriter;

pub use format::{Format, UnknownFormat};
pub use sums::Finished;

/// The size of the parts in which an image is uploaded; only the last may be shorter. S3 takes none below 5 MiB.
pub const PART_BYTES: u64 = 5 << 20;

/// S3 takes no more parts of one object.
const PARTS_MAX: u64 = 10_000;

/// A growing file. First [`Image::append`], then [`Image::write`], then at times [`Image::publish`], over and over;
/// [`Image::finish`] at the end.
pub struct Image {
    path: PathBuf,
    file: File,
    writer: Writer,
    /// Encoded, and not yet in the file.
    waiting: Vec<u8>,
    /// Of what is in the file.
    sums: PartSums,
    is_ended: bool,
}

enum Writer {
    Wav(WavWriter),
    Ogg(Box<OggWriter>),
    Flac(Box<FlacWriter>),
}

/// Why an image could not be finished.
#[derive(Debug, Error)]
pub enum FinishError {
    /// The disk is full or fails; `finish` may be called again.
    #[error("{path} could not be finished: {error}")]
    Io { path: PathBuf, error: io::Error },
    /// It could not be synced: nobody knows what of it would outlive a loss of power, and a later sync would not tell. It
    /// is to be made anew.
    #[error("{path} could not be synced: {error}")]
    Unsynced { path: PathBuf, error: io::Error },
    /// The file does not hold what was written to it; it is to be made anew.
    #[error("{path} does not hold what was written, in part {part} of {PART_BYTES} bytes")]
    Damaged {
        path: PathBuf,
        /// The first that differs; counted from zero.
        part: usize,
    },
}

impl FinishError {
    /// For the API: where the file lies is for the log.
    pub fn without_path(&self) -> &'static str {
        match self {
            FinishError::Io { .. } => "its file could not be finished",
            FinishError::Unsynced { .. } => "its file could not be synced",
            FinishError::Damaged { .. } => "its file does not hold what was written",
        }
    }
}

/// What a whole file at `path` holds that is no image, as a receipt.
pub fn finished(path: &Path) -> io::Result<Finished> {
    read_back(&File::open(path)?)
}

impl Image {
    /// Starts an image in `file`, which lies at `path`, is open for reading and writing and loses what it held.
    /// `serial` is the number of the stream in an Ogg file: any, but for an image made anew the same again.
    pub fn create(path: &Path, file: File, format: Format, rate: Rate, serial: u32) -> io::Result<Image> {
        let mut waiting = Vec::new();
        let writer = match format {
            Format::Wav => Writer::Wav(WavWriter::new(rate)),
            Format::Ogg => Writer::Ogg(Box::new(
                OggWriter::new(rate, serial, &mut waiting).map_err(io::Error::other)?,
            )),
            Format::Flac => Writer::Flac(Box::new(FlacWriter::new(rate))),
        };
        let header = writer.header(0);
        file.set_len(0)?;
        file.write_all_at(&header, 0)?;
        Ok(Image {
            path: path.to_owned(),
            file,
            sums: PartSums::new(header.len() as u64),
            writer,
            waiting,
            is_ended: false,
        })
    }

    /// Encodes samples into memory: at most a second of them between two calls of `write`.
    /// After `finish` was called nothing is taken any more.
    pub fn append(&mut self, samples: &[i16]) {
        if self.is_ended {
            return;
        }
        match &mut self.writer {
            Writer::Wav(writer) => writer.append(samples, &mut self.waiting),
            Writer::Ogg(writer) => writer.append(samples, &mut self.waiting),
            Writer::Flac(writer) => writer.append(samples, &mut self.waiting),
        }
    }

    /// The same as `append` with so many zeros.
    pub fn append_silence(&mut self, samples: u64) {
        if self.is_ended {
            return;
        }
        match &mut self.writer {
            Writer::Wav(writer) => writer.append_silence(samples, &mut self.waiting),
            Writer::Ogg(writer) => writer.append_silence(samples, &mut self.waiting),
            Writer::Flac(writer) => writer.append_silence(samples, &mut self.waiting),
        }
    }

    /// Writes what is encoded to its place. After an error it still waits, and the next call goes on.
    pub fn write(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_all_at(&self.waiting, self.sums.end())?;
            self.sums.add(&self.waiting);
            self.waiting.clear();
        }
        Ok(())
    }

    /// Makes what is written readable: the sizes in the header of a WAV file. The other formats are read as far as
    /// their last whole page or frame anyway.
    pub fn publish(&mut self) -> io::Result<()> {
        match self.writer {
            Writer::Wav(_) => self.write_header(),
            Writer::Ogg(_) | Writer::Flac(_) => Ok(()),
        }
    }

    /// Bytes that are encoded and wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.len()
    }

    fn write_header(&self) -> io::Result<()> {
        self.file.write_all_at(&self.writer.header(self.sums.end()), 0)
    }

    /// Samples taken.
    pub fn samples(&self) -> u64 {
        match &self.writer {
            Writer::Wav(writer) => writer.samples(),
            Writer::Ogg(writer) => writer.samples(),
            Writer::Flac(writer) => writer.samples(),
        }
    }

    /// Size of the file once what is encoded is written. Up to a page of Ogg or a block of FLAC is still to be encoded.
    pub fn bytes(&self) -> u64 {
        self.sums.end() + self.waiting.len() as u64
    }

    /// The bytes of the file that never change any more, from the first to behind the last: all that is written but
    /// the header that `finish` rewrites.
    pub fn stable(&self) -> (u64, u64) {
        (self.writer.header_bytes(), self.sums.end())
    }

    /// The CRC-32C of a part of [`PART_BYTES`], counted from zero, that lies wholly within [`Image::stable`].
    pub fn part_crc32c(&self, part: usize) -> Option<u32> {
        self.sums.stable(part)
    }

    /// Encodes and writes the rest and the last header, brings the file to the disk and reads all of it.
    /// May be called again, after an error and otherwise.
    pub fn finish(&mut self) -> Result<Finished, FinishError> {
        self.end().map_err(|error| FinishError::Io {
            path: self.path.clone(),
            error,
        })?;
        self.file.sync_all().map_err(|error| FinishError::Unsynced {
            path: self.path.clone(),
            error,
        })?;
        let finished = read_back(&self.file).map_err(|error| FinishError::Io {
            path: self.path.clone(),
            error,
        })?;
        let written = self.sums.with_header(&self.writer.header(self.sums.end()));
        let parts = written.len().max(finished.parts.len());
        match (0..parts).find(|part| written.get(*part) != finished.parts.get(*part)) {
            None if finished.bytes == self.sums.end() => Ok(finished),
            differing => Err(FinishError::Damaged {
                path: self.path.clone(),
                part: differing.unwrap_or(parts.saturating_sub(1)),
            }),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.is_ended {
            self.is_ended = true;
            match &mut self.writer {
                Writer::Wav(_) => {}
                Writer::Ogg(writer) => writer.end(&mut self.waiting),
                Writer::Flac(writer) => writer.end(&mut self.waiting),
            }
        }
        self.write()?;
        self.write_header()
    }
}

impl Writer {
    /// What stands at the beginning of a file of `bytes`, and is written anew with other sizes.
    fn header(&self, bytes: u64) -> Vec<u8> {
        match self {
            Writer::Wav(writer) => writer.header(bytes).to_vec(),
            Writer::Flac(writer) => writer.header().to_vec(),
            Writer::Ogg(_) => Vec::new(),
        }
    }

    const fn header_bytes(&self) -> u64 {
        match self {
            Writer::Wav(_) => wav::HEADER_BYTES,
            Writer::Flac(_) => flac::HEADER_BYTES,
            Writer::Ogg(_) => 0,
        }
    }
}

#[cfg(test)]
pub mod read;
#[cfg(test)]
mod tests;
