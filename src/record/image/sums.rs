//! The CRC-32C of each part of a file: kept of what was meant to be written, and compared in the last pass with what
//! the file holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc_fast::{CrcAlgorithm, Digest, checksum, checksum_combine};
use sha2::{Digest as _, Sha256};

use super::PART_BYTES;

/// CRC-32C, as S3 has it: Castagnoli's polynomial.
const CRC_32C: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// The CRC-32C of each part of what was meant to be written behind the header, whose last form comes at the end.
#[derive(Debug)]
pub struct PartSums {
    header_bytes: u64,
    /// Bytes of the file, header and all.
    end: u64,
    complete: Vec<u32>,
    /// Of the part that `end` lies in.
    last: Digest,
}

impl PartSums {
    /// `header_bytes` are less than a part.
    pub fn new(header_bytes: u64) -> PartSums {
        PartSums {
            header_bytes,
            end: header_bytes,
            complete: Vec::new(),
            last: Digest::new(CRC_32C),
        }
    }

    /// Takes the bytes that follow the last ones.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PART_BYTES - self.end % PART_BYTES;
            let (these, rest) = bytes.split_at(bytes.len().min(room as usize));
            self.last.update(these);
            self.end += these.len() as u64;
            if self.end.is_multiple_of(PART_BYTES) {
                self.complete.push(self.last.finalize_reset() as u32);
            }
            bytes = rest;
        }
    }

    /// Bytes of the file so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Of a part that is complete and never changes any more; the first is one if nothing of it is a header.
    pub fn stable(&self, part: usize) -> Option<u32> {
        let rewritten = part == 0 && self.header_bytes > 0;
        self.complete.get(part).copied().filter(|_| !rewritten)
    }

    /// Of each part of the file with this header, the last and shorter one as well.
    pub fn with_header(&self, header: &[u8]) -> Vec<u32> {
        debug_assert_eq!(header.len() as u64, self.header_bytes);
        let mut parts = self.complete.clone();
        if !self.end.is_multiple_of(PART_BYTES) {
            parts.push(self.last.finalize() as u32);
        }
        if let Some(first) = parts.first_mut() {
            let behind_header = self.end.min(PART_BYTES) - self.header_bytes;
            *first = combine(checksum(CRC_32C, header) as u32, *first, behind_header);
        }
        parts
    }
}

/// What a file was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub crc32c: u32,
    /// CRC-32C of each part of [`PART_BYTES`]; the last part may be shorter.
    pub parts: Vec<u32>,
}

/// Reads the whole file, wherever its cursor is.
pub fn read_back(file: &File) -> io::Result<Finished> {
    let mut sha256 = Sha256::new();
    let mut sums = PartSums::new(0);
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        match file.read_at(&mut buffer, sums.end()) {
            Ok(0) => break,
            Ok(read) => {
                sha256.update(&buffer[..read]);
                sums.add(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let parts = sums.with_header(&[]);
    Ok(Finished {
        bytes: sums.end(),
        sha256: format!("{:x}", sha256.finalize()),
        crc32c: whole(&parts, sums.end()),
        parts,
    })
}

/// The CRC-32C of a file of `bytes` from those of its parts.
fn whole(parts: &[u32], bytes: u64) -> u32 {
    let mut left = bytes;
    let mut whole = checksum(CRC_32C, &[]) as u32;
    for part in parts {
        let part_bytes = left.min(PART_BYTES);
        whole = combine(whole, *part, part_bytes);
        left -= part_bytes;
    }
    whole
}

/// The CRC-32C of two stretches one after the other.
fn combine(first: u32, second: u32, second_bytes: u64) -> u32 {
    checksum_combine(CRC_32C, u64::from(first), u64::from(second), second_bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;

    #[test]
    fn the_checksum_is_the_one_of_the_textbook() {
        // RFC 3720 §B.4 has the bytes in the order they go over the wire.
        assert_eq!(checksum(CRC_32C, &[0; 32]) as u32, 0x8a91_36aa);
        assert_eq!(checksum(CRC_32C, b"123456789") as u32, 0xe306_9283);
    }

    #[test]
    fn parts_have_the_checksums_of_their_bytes_however_they_came() {
        let mut chance = fastrand::Rng::with_seed(5);
        let bytes: Vec<u8> = std::iter::repeat_with(|| chance.u8(..))
            .take(2 * PART_BYTES as usize + 777)
            .collect();
        let (header, behind) = bytes.split_at(44);
        let mut sums = PartSums::new(44);
        let mut rest = behind;
        while !rest.is_empty() {
            let (these, others) = rest.split_at(rest.len().min(chance.usize(1..3_000_000)));
            sums.add(these);
            rest = others;
        }
        let expected: Vec<u32> = bytes
            .chunks(PART_BYTES as usize)
            .map(|part| checksum(CRC_32C, part) as u32)
            .collect();
        assert_eq!(sums.with_header(header), expected);
        assert_eq!(
            [0, 1, 2].map(|part| sums.stable(part)),
            [None, Some(expected[1]), None]
        );

        let scratch = Scratch::new();
        std::fs::write(scratch.path("a"), &bytes).unwrap();
        let finished = read_back(&File::open(scratch.path("a")).unwrap()).unwrap();
        assert_eq!(finished.parts, expected);
        assert_eq!(finished.crc32c, checksum(CRC_32C, &bytes) as u32);
        assert_eq!(finished.bytes, bytes.len() as u64);
        assert_eq!(finished.sha256, format!("{:x}", Sha256::digest(&bytes)));
    }

    #[test]
    fn a_file_that_ends_with_a_part_has_no_empty_one_behind_it() {
        let bytes = vec![7; PART_BYTES as usize];
        let mut sums = PartSums::new(0);
        sums.add(&bytes);
        assert_eq!(sums.with_header(&[]), [checksum(CRC_32C, &bytes) as u32]);
        assert_eq!(sums.stable(0), Some(checksum(CRC_32C, &bytes) as u32));
        assert!(PartSums::new(0).with_header(&[]).is_empty());
    }
}
