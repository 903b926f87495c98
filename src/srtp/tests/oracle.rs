//! Ours and `rtc-srtp`, each with what the other has protected.

use rtc_srtp::context::Context;
use rtc_srtp::crypto;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::super::{Receiver, Sender};
use super::{Protects, Suite, key};

const PACKETS: u64 = 2_000;

fn context(suite: Suite) -> Context {
    let profile = match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256HmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let key = key(suite, 1);
    let (key, salt) = key.as_bytes().split_at(suite.key_bytes());
    let provider = crypto::default_provider().expect("built with ring");
    Context::new(key, salt, profile, None, None, provider.crypto()).expect("a profile it knows")
}

/// RTP of any length up to what an Ethernet carries, some with contributing sources, extension and padding.
fn random_rtp(chance: &mut fastrand::Rng, sequence: u16) -> Vec<u8> {
    let sources = if chance.u8(0..4) == 0 { chance.u8(0..16) } else { 0 };
    let has_extension = chance.u8(0..4) == 0;
    let mut packet = vec![0x80 | sources | u8::from(has_extension) << 4, chance.u8(..)];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&chance.u32(..).to_be_bytes());
    packet.extend_from_slice(&7_u32.to_be_bytes());
    packet.extend((0..4 * sources).map(|_| chance.u8(..)));
    if has_extension {
        let words = chance.u8(0..5);
        packet.extend_from_slice(&[0x12, 0x34, 0, words]);
        packet.extend((0..4 * words).map(|_| chance.u8(..)));
    }
    let payload = if chance.bool() {
        chance.usize(0..40)
    } else {
        chance.usize(0..1_400)
    };
    packet.extend((0..payload).map(|_| chance.u8(..)));
    packet
}

fn random_rtcp(chance: &mut fastrand::Rng) -> Vec<u8> {
    let words = chance.u8(1..200);
    let mut packet = vec![0x80, 200 + chance.u8(0..5), 0, words];
    packet.extend((0..4 * u16::from(words)).map(|_| chance.u8(..)));
    packet
}

#[test]
fn rtc_srtp_hears_what_we_protect_and_we_hear_what_it_protects() {
    for suite in Suite::ALL {
        let mut chance = fastrand::Rng::with_seed(suite as u64);
        let (mut sender, mut receiver) = (Sender::new(&key(suite, 1)), Receiver::new(&key(suite, 1), 0));
        let (mut their_sender, mut their_receiver) = (context(suite), context(suite));
        // Through two wraps, by losses that both can see over.
        let mut index = 65_000_u64;
        for _ in 0..PACKETS {
            index += if chance.u8(0..100) == 0 {
                chance.u64(1..10_000)
            } else {
                1
            };
            let plain = random_rtp(&mut chance, index as u16);
            let protected = sender.protected(&plain);
            let theirs = their_sender.encrypt_rtp(&plain).expect("RTP");
            assert_eq!(protected, theirs[..], "{} at {index}", suite.name());
            assert_eq!(
                their_receiver.decrypt_rtp(&protected).expect("authentic")[..],
                plain
            );
            let mut theirs = theirs.to_vec();
            assert_eq!(receiver.unprotect(&mut theirs), Ok(plain.len()));
            assert_eq!(theirs[..plain.len()], plain);
        }
        assert!(index > 2 << 16, "{index}");

        for _ in 0..PACKETS / 4 {
            let plain = random_rtcp(&mut chance);
            let protected = sender.protected_rtcp(&plain);
            assert_eq!(
                their_receiver.decrypt_rtcp(&protected).expect("authentic")[..],
                plain
            );
            let mut theirs = their_sender.encrypt_rtcp(&plain).expect("RTCP").to_vec();
            assert_eq!(
                receiver.unprotect_rtcp(&mut theirs),
                Ok(plain.len()),
                "{}",
                suite.name()
            );
            assert_eq!(theirs[..plain.len()], plain);
        }
    }
}
