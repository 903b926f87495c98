//! SRTP held against the vectors of the standards, against a model that knows each index, and against `rtc-srtp`.

mod keys;
mod model;
mod oracle;
mod parts;
mod rekey;
mod stream;
mod vectors;

use super::{MasterKey, RTCP_OVERHEAD_MAX, Sender, Suite};

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("hexadecimal") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn key(suite: Suite, seed: u64) -> MasterKey {
    let mut chance = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u8> = (0..suite.master_bytes()).map(|_| chance.u8(..)).collect();
    MasterKey::new(suite, &bytes).expect("as long as it must be")
}

/// A packet of 20 bytes that tells its sequence number in its payload too.
fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x55; 6]);
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet
}

/// A receiver report without blocks, and an empty source description.
fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x80, 202, 0, 0]);
    packet
}

trait Protects {
    fn protected(&mut self, packet: &[u8]) -> Vec<u8>;
    fn protected_rtcp(&mut self, packet: &[u8]) -> Vec<u8>;
}

impl Protects for Sender {
    fn protected(&mut self, packet: &[u8]) -> Vec<u8> {
        with_room(packet, |out, len| self.protect(out, len).expect("in sequence"))
    }

    fn protected_rtcp(&mut self, packet: &[u8]) -> Vec<u8> {
        with_room(packet, |out, len| self.protect_rtcp(out, len).expect("RTCP"))
    }
}

fn with_room(packet: &[u8], protect: impl FnOnce(&mut [u8], usize) -> usize) -> Vec<u8> {
    let mut out = packet.to_vec();
    out.resize(packet.len() + RTCP_OVERHEAD_MAX, 0xEE);
    let len = protect(&mut out, packet.len());
    out.truncate(len);
    out
}
