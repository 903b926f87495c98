//! Names and lengths of the suites, and what of a key may show.

use super::super::{Receiver, Sender, Terms};
use super::{MasterKey, Suite, key};

#[test]
fn a_suite_has_the_name_and_the_lengths_of_its_standard() {
    let expected = [
        ("AES_CM_128_HMAC_SHA1_80", 16, 14, 30),
        ("AES_CM_128_HMAC_SHA1_32", 16, 14, 30),
        ("AES_256_CM_HMAC_SHA1_80", 32, 14, 46),
        ("AEAD_AES_128_GCM", 16, 12, 28),
        ("AEAD_AES_256_GCM", 32, 12, 44),
    ];
    for (suite, (name, key, salt, master)) in Suite::ALL.into_iter().zip(expected) {
        assert_eq!(suite.name(), name);
        assert_eq!(
            (suite.key_bytes(), suite.salt_bytes(), suite.master_bytes()),
            (key, salt, master),
            "{name}"
        );
        assert_eq!(Suite::from_name(name), Some(suite));
    }
    for unknown in [
        "",
        "AES_CM_128_HMAC_SHA1_8",
        "aes_cm_128_hmac_sha1_80",
        "F8_128_HMAC_SHA1_80",
    ] {
        assert_eq!(Suite::from_name(unknown), None, "{unknown}");
    }
}

#[test]
fn a_master_key_has_the_length_of_its_suite_or_is_none() {
    for suite in Suite::ALL {
        for bytes in 0..64 {
            let key = MasterKey::new(suite, &vec![7; bytes]);
            assert_eq!(
                key.is_some(),
                bytes == suite.master_bytes(),
                "{} of {bytes}",
                suite.name()
            );
            assert!(key.is_none_or(|key| key.as_bytes() == vec![7; bytes] && key.suite() == suite));
        }
    }
}

#[test]
fn keys_are_equal_in_suite_and_in_every_byte() {
    let one = key(Suite::AesCm128HmacSha1_80, 1);
    assert_eq!(one, one.clone());
    assert_ne!(
        one,
        MasterKey::new(Suite::AesCm128HmacSha1_32, one.as_bytes()).unwrap()
    );
    for at in 0..30 {
        let mut bytes = one.as_bytes().to_vec();
        bytes[at] ^= 0x80;
        assert_ne!(one, MasterKey::new(one.suite(), &bytes).unwrap(), "byte {at}");
    }
}

#[test]
fn nothing_printed_shows_a_key() {
    for suite in Suite::ALL {
        let bytes: Vec<u8> = (0..suite.master_bytes() as u8).map(|at| 0xA0 + at).collect();
        let key = MasterKey::new(suite, &bytes).unwrap();
        let terms = Terms {
            ours: key.clone(),
            theirs: key.clone(),
            their_mki_bytes: 4,
        };
        let printed = format!(
            "{key:?} {key:#?} {terms:?} {:?} {:#?} {:?}",
            Sender::new(&key),
            Sender::new(&key),
            Receiver::new(&key, 0)
        )
        .replace(&format!("{suite:?}"), "");
        // Numbers from 160 on, in decimal or hexadecimal, would be bytes of the key, and long ones parts of a state.
        let numbers = printed.split(|c: char| !c.is_ascii_alphanumeric());
        let shown: Vec<_> = numbers
            .filter(|word| word.parse::<u128>().is_ok_and(|number| number >= 160))
            .collect();
        assert_eq!(shown, [""; 0], "{printed}");
        assert!(!printed.to_lowercase().contains("a1"), "{printed}");
    }
}
