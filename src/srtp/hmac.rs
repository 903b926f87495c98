//! HMAC-SHA1 (RFC 2104) with the two keyed blocks compressed once, when the key is made: half of what a tag of a G.711
//! packet would cost otherwise.

use sha1::block_api::compress;
use zeroize::Zeroize;

const BLOCK_BYTES: usize = 64;

/// FIPS 180-4 §5.3.1.
const INITIAL: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];

pub struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    /// `key` has at most 64 bytes.
    pub fn new(key: &[u8]) -> Hmac {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            block.zeroize();
            state
        };
        debug_assert!(key.len() <= BLOCK_BYTES);
        Hmac {
            inner: keyed(0x36),
            outer: keyed(0x5C),
        }
    }

    /// Of `message` and `trailer` as if they were one. SRTP uses the first bytes of it.
    #[inline]
    pub fn tag(&self, message: &[u8], trailer: u32) -> [u8; 20] {
        let mut state = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK_BYTES>();
        compress(&mut state, blocks);

        let mut last = [[0; BLOCK_BYTES]; 2];
        let flat = last.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()..][..4].copy_from_slice(&trailer.to_be_bytes());
        let message_bytes = BLOCK_BYTES + message.len() + 4;
        let blocks = pad(flat, rest.len() + 4, message_bytes);
        compress(&mut state, &last[..blocks]);

        let mut last = [[0; BLOCK_BYTES]];
        let flat = last.as_flattened_mut();
        write_words(flat, state);
        pad(flat, 20, BLOCK_BYTES + 20);
        let mut state = self.outer;
        compress(&mut state, &last);
        let mut tag = [0; 20];
        write_words(&mut tag, state);
        tag
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// FIPS 180-4 §5.1.1: one bit, zeros, and the length of the whole message in bits. Says how many blocks there are.
fn pad(last: &mut [u8], used: usize, message_bytes: usize) -> usize {
    let blocks = (used + 9).div_ceil(BLOCK_BYTES);
    last[used] = 0x80;
    last[blocks * BLOCK_BYTES - 8..][..8].copy_from_slice(&(8 * message_bytes as u64).to_be_bytes());
    blocks
}

fn write_words(out: &mut [u8], words: [u32; 5]) {
    for (out, word) in out.chunks_exact_mut(4).zip(words) {
        out.copy_from_slice(&word.to_be_bytes());
    }
}
