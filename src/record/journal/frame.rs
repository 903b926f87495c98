//! One record of a journal on the disk: length, checksum, number, kind, payload. Whatever a crash, a full disk or a
//! failing one has made of it, it is read back as it was written or not at all.
//!
//! ```text
//! length u32 │ crc32c u32 │ number u64 │ kind u8 │ payload            all little-endian
//!            └ of length, number, kind and payload
//! ```

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes before the payload.
pub const HEAD_BYTES: usize = 17;

/// Bytes of the largest payload: a length beyond it is damage.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Counts up by one from record to record, over all files of a journal.
    pub number: u64,
    pub kind: u8,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes on the disk.
    pub fn bytes(&self) -> usize {
        HEAD_BYTES + self.payload.len()
    }
}

/// Adds a record to `out`; the payload is given in parts. It must not exceed [`PAYLOAD_BYTES_MAX`].
pub fn put(out: &mut Vec<u8>, number: u64, kind: u8, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    debug_assert!(length <= PAYLOAD_BYTES_MAX);
    let length = (length as u32).to_le_bytes();
    let number = number.to_le_bytes();
    let mut sum = Digest::new(CrcAlgorithm::Crc32Iscsi);
    sum.update(&length);
    sum.update(&number);
    sum.update(&[kind]);
    payload.iter().for_each(|part| sum.update(part));
    out.extend_from_slice(&length);
    out.extend_from_slice(&(sum.finalize() as u32).to_le_bytes());
    out.extend_from_slice(&number);
    out.push(kind);
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

/// The record at the start of `bytes`; `None` when it is not whole, or not as it was written.
pub fn take(bytes: &[u8]) -> Option<Frame<'_>> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let length = u32::from_le_bytes(head[0..4].try_into().ok()?) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..length)?;
    let mut sum = Digest::new(CrcAlgorithm::Crc32Iscsi);
    sum.update(&head[0..4]);
    sum.update(&head[8..]);
    sum.update(payload);
    let written = u32::from_le_bytes(head[4..8].try_into().ok()?);
    (sum.finalize() as u32 == written).then(|| Frame {
        number: u64::from_le_bytes(head[8..16].try_into().expect("eight bytes")),
        kind: head[16],
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, 3, &[b"some", b" ", b"sound"]);
        bytes
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_whatever_follows() {
        let mut bytes = record();
        bytes.extend_from_slice(&[0xff; 40]);
        let frame = take(&bytes).expect("whole");
        assert_eq!(
            (frame.number, frame.kind, frame.payload),
            (7, 3, &b"some sound"[..])
        );
        assert_eq!(frame.bytes(), record().len());
    }

    #[test]
    fn no_bit_of_it_can_change_and_no_byte_be_missing() {
        let bytes = record();
        for length in 0..bytes.len() {
            assert_eq!(take(&bytes[..length]), None, "cut to {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(take(&damaged), None, "bit {bit}");
        }
        assert_eq!(take(&[0; 64]), None, "a hole in a file is no record");
    }
}
