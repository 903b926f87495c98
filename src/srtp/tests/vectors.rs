//! Whole packets from the standards and from libsrtp's own tests. The session keys of RFC 3711 B.3 and RFC 6188 §7 are
//! beside the derivation.

use super::super::cipher::Cipher;
use super::super::key::Suite;
use super::super::{MasterKey, Receiver, Sender};
use super::{Protects, unhex};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SALT: &str = "517569642070726f2071756f";

const RTP: &str = "8040f17b8041f8d35501a0b2
    47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";

const RTCP: &str = "81c8000d4d617273
    4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

const RTCP_INDEX: u32 = 0x5d4;

/// RFC 7714 §16 and §17 give session keys, which are not derived: sender and receiver get them directly.
fn with_session_keys(suite: Suite) -> (Sender, Receiver) {
    let key = super::key(suite, 1);
    let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key, 0));
    let cipher = || {
        let key = &unhex(KEY)[..suite.key_bytes()];
        Cipher::new(suite, true, key, &[], &unhex(SALT))
    };
    (sender.keys.rtp, sender.keys.rtcp) = (cipher(), cipher());
    (receiver.current.keys.rtp, receiver.current.keys.rtcp) = (cipher(), cipher());
    sender.rtcp_index = RTCP_INDEX;
    (sender, receiver)
}

/// RFC 7714 §16.1 and §16.2.
#[test]
fn gcm_protects_the_rtp_packet_of_the_standard() {
    let cases = [
        (
            Suite::AeadAes128Gcm,
            "8040f17b8041f8d35501a0b2
             f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            "8040f17b8041f8d35501a0b2
             32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (suite, expected) in cases {
        let (mut sender, mut receiver) = with_session_keys(suite);
        let mut packet = sender.protected(&unhex(RTP));
        assert_eq!(packet, unhex(expected), "{}", suite.name());
        assert_eq!(receiver.unprotect(&mut packet), Ok(unhex(RTP).len()));
        assert_eq!(packet[..unhex(RTP).len()], unhex(RTP));
    }
}

/// RFC 7714 §17.1 and §17.2 (the packet that its sections agree on, not the one that its preamble prints).
#[test]
fn gcm_protects_the_rtcp_packet_of_the_standard() {
    let cases = [
        (
            Suite::AeadAes128Gcm,
            "81c8000d4d617273
             63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b
             c84aa45896cf4d2fc5abf87245d9eade 800005d4",
        ),
        (
            Suite::AeadAes256Gcm,
            "81c8000d4d617273
             d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad
             1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
        ),
    ];
    for (suite, expected) in cases {
        let (mut sender, mut receiver) = with_session_keys(suite);
        let mut packet = sender.protected_rtcp(&unhex(RTCP));
        assert_eq!(packet, unhex(expected), "{}", suite.name());
        assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(unhex(RTCP).len()));
        assert_eq!(packet[..unhex(RTCP).len()], unhex(RTCP));
    }
}

/// RFC 7714 §17.3 and §17.4: a tag, and the bit E clear.
#[test]
fn gcm_accepts_the_unencrypted_rtcp_packet_of_the_standard() {
    let cases = [
        (Suite::AeadAes128Gcm, "841dd9683dd78ec92ae58790125f62b3"),
        (Suite::AeadAes256Gcm, "91db4afbfeee5a978fab4393ed2615fe"),
    ];
    for (suite, tag) in cases {
        let (_, mut receiver) = with_session_keys(suite);
        let mut packet = unhex(&format!("{RTCP}{tag}000005d4"));
        assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(unhex(RTCP).len()));
        assert_eq!(packet[..unhex(RTCP).len()], unhex(RTCP), "{}", suite.name());

        // Also when another key was tried before.
        let (_, mut receiver) = with_session_keys(suite);
        receiver.rekey(&super::key(suite, 2), 0);
        let mut packet = unhex(&format!("{RTCP}{tag}000005d4"));
        assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(unhex(RTCP).len()));
        assert_eq!(packet[..unhex(RTCP).len()], unhex(RTCP), "{}", suite.name());
    }
}

/// What libsrtp's `srtp_validate` and its kin expect, from the master key to the wire; SRTCP has the index 1.
#[test]
fn packets_are_those_of_libsrtp() {
    let cases = [
        (
            Suite::AesCm128HmacSha1_80,
            "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
            "4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
            Some("7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798"),
        ),
        (
            Suite::AesCm256HmacSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
            None,
        ),
        (
            Suite::AeadAes128Gcm,
            "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab",
            "c5002ede04cfdd2eb91159e0880aa06e d2976826f796b201df3131a127e8a392",
            Some("c98b8b5df0392a55852b6c21ac8e7025 c52c6fbea2b3b446ea31123ba88ce61e 80000001"),
        ),
        (
            Suite::AeadAes256Gcm,
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f a0a1a2a3a4a5a6a7a8a9aaab",
            "0af7f21e8a90bdad7a425c9c31ed4bb1 d90238917e7390a2793500e1681acaea",
            None,
        ),
    ];
    for (suite, key, rtp, rtcp) in cases {
        let key = MasterKey::new(suite, &unhex(key)).expect("as long as it must be");
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key, 0));
        let payload = "ab".repeat(16);

        let header = "800f1234decafbadcafebabe";
        let mut packet = sender.protected(&unhex(&format!("{header}{payload}")));
        assert_eq!(packet, unhex(&format!("{header}{rtp}")), "{}", suite.name());
        assert_eq!(receiver.unprotect(&mut packet), Ok(28));
        assert_eq!(packet[12..28], unhex(&payload));

        let Some(rtcp) = rtcp else { continue };
        let header = "81c8000bcafebabe";
        sender.rtcp_index = 1;
        let mut packet = sender.protected_rtcp(&unhex(&format!("{header}{payload}")));
        assert_eq!(packet, unhex(&format!("{header}{rtcp}")), "{}", suite.name());
        assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(24));
        assert_eq!(packet[8..24], unhex(&payload));
    }
}
