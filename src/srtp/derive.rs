//! Session keys from a master key (RFC 3711 §4.3), with a key derivation rate of zero: derived once, used for ever.

use zeroize::Zeroizing;

use super::aes::Aes;
use super::cipher::Cipher;
use super::key::MasterKey;

/// RFC 3711 §4.3.2: key, authentication key and salt of SRTP are 0 to 2, those of SRTCP 3 to 5.
const RTP_LABEL: u8 = 0;
const RTCP_LABEL: u8 = 3;

const AUTHENTICATION_KEY_BYTES: usize = 20;

/// What a master key is good for in both protocols.
pub struct SessionKeys {
    pub rtp: Cipher,
    pub rtcp: Cipher,
}

impl SessionKeys {
    pub fn derive(master: &MasterKey) -> SessionKeys {
        let (key, salt) = master.key_and_salt();
        let derivation = Derivation {
            aes: Aes::new(key),
            salt: left_aligned(salt),
        };
        let cipher = |label: u8| {
            let suite = master.suite();
            let mut key = Zeroizing::new([0; 32]);
            let key = &mut key[..suite.key_bytes()];
            derivation.derive(label, key);
            let mut authentication_key = Zeroizing::new([0; AUTHENTICATION_KEY_BYTES]);
            derivation.derive(label + 1, &mut *authentication_key);
            let mut salt = Zeroizing::new([0; 14]);
            let salt = &mut salt[..suite.salt_bytes()];
            derivation.derive(label + 2, salt);
            Cipher::new(suite, label == RTCP_LABEL, key, &*authentication_key, salt)
        };
        SessionKeys {
            rtp: cipher(RTP_LABEL),
            rtcp: cipher(RTCP_LABEL),
        }
    }
}

/// The pseudo-random function AES-CM (RFC 3711 §4.3.3; with keys of 256 bits RFC 6188 §3).
struct Derivation {
    aes: Aes,
    /// A salt of 12 bytes has zeros behind it (RFC 7714 §11).
    salt: u128,
}

impl Derivation {
    fn derive(&self, label: u8, key: &mut [u8]) {
        key.fill(0);
        self.aes
            .apply_key_stream(self.salt ^ (u128::from(label) << 64), key);
    }
}

/// A salt in the upper bytes: what RFC 3711 writes as a salt times 2¹⁶.
pub fn left_aligned(salt: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..salt.len()].copy_from_slice(salt);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::unhex;
    use super::*;

    /// Label, session key, in hexadecimal.
    type Derived = &'static [(u8, &'static str)];

    /// RFC 3711 B.3 and RFC 6188 §7.2.
    #[test]
    fn session_keys_are_those_of_the_standards() {
        let cases: [(&str, &str, Derived); 2] = [
            (
                "E1F97A0D3E018BE0D64FA32C06DE4139",
                "0EC675AD498AFEEBB6960B3AABE6",
                &[
                    (0, "C61E7A93744F39EE10734AFE3FF7A087"),
                    (2, "30CBBC08863D8C85D49DB34A9AE1"),
                    (
                        1,
                        "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
                         E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
                         6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
                    ),
                ],
            ),
            (
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
                "3b04803de51ee7c96423ab5b78d2",
                &[
                    (
                        0,
                        "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                    ),
                    (2, "fa31791685ca444a9e07c6c64e93"),
                    (1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"),
                ],
            ),
        ];
        for (key, salt, expected) in cases {
            let derivation = Derivation {
                aes: Aes::new(&unhex(key)),
                salt: left_aligned(&unhex(salt)),
            };
            for (label, expected) in expected {
                let expected = unhex(expected);
                let mut derived = vec![0xFF; expected.len()];
                derivation.derive(*label, &mut derived);
                assert_eq!(derived, expected, "label {label}");
            }
        }
    }

    /// RFC 3711 B.2.
    #[test]
    fn the_key_stream_is_that_of_the_standard() {
        let aes = Aes::new(&unhex("2B7E151628AED2A6ABF7158809CF4F3C"));
        let first = left_aligned(&unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let mut stream = vec![0; 16 * 0xFF02];
        aes.apply_key_stream(first, &mut stream);
        let expected = [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xFF00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ];
        for (block, expected) in expected {
            assert_eq!(stream[16 * block..][..16], unhex(expected), "block {block:#x}");
        }
    }
}
