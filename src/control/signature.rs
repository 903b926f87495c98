//! The platform's signature of a request (platform contract, section 12): of requests to us, and of callbacks from us.
//!
//! ```text
//! VERB \n base64(MD5(body)), empty without a body \n content-type \n x-timestamp:VALUE \n path
//! ```
//!
//! HMAC-SHA256 of that under the decoded secret, in base64. MD5 binds the body only through the HMAC'd text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use ring::hmac;

/// What of a request is signed, each part as it is sent.
pub struct Signable<'a> {
    pub verb: &'a str,
    /// With its query, without scheme and host.
    pub path: &'a str,
    /// Empty where the request has none.
    pub content_type: &'a str,
    /// The value of `x-timestamp`.
    pub timestamp: &'a str,
    pub body: &'a [u8],
}

/// A secret ready to sign with. Neither its bytes nor those of its text can be had back.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// `secret` is what the text of the secret decodes to.
    pub fn new(secret: &[u8]) -> SigningKey {
        SigningKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// In base64, as it stands behind `application KEY:`.
    pub fn sign(&self, request: &Signable) -> String {
        STANDARD.encode(hmac::sign(&self.0, request.text(&request.md5()).as_bytes()))
    }

    /// Whether `signature` is that of the request; what it takes does not tell how much of it is right.
    pub fn verifies(&self, request: &Signable, signature: &str) -> bool {
        self.verifies_with_digest(request, &request.md5(), signature)
    }

    /// The same where the signed text has this digest of the body in place of its MD5.
    pub fn verifies_with_digest(&self, request: &Signable, digest: &str, signature: &str) -> bool {
        // What is not base64 is a signature of no request.
        let shown = STANDARD.decode(signature).unwrap_or_default();
        hmac::verify(&self.0, request.text(digest).as_bytes(), &shown).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey(…)")
    }
}

impl Signable<'_> {
    /// The MD5 of the body in base64; empty without a body.
    pub fn md5(&self) -> String {
        match self.body {
            [] => String::new(),
            body => STANDARD.encode(Md5::digest(body)),
        }
    }

    fn text(&self, digest: &str) -> String {
        format!(
            "{}\n{digest}\n{}\nx-timestamp:{}\n{}",
            self.verb, self.content_type, self.timestamp, self.path
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Verb, path, content type, timestamp, body, signature.
    pub type Vector = (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    );

    /// The vectors of the platform contract, section 12.
    pub const VECTORS: [Vector; 4] = [
        (
            "PATCH",
            "/calling/v1/conferences/id/room-1/leg-7",
            "application/json",
            "2026-01-02T03:04:05.6789Z",
            r#"{"command":"mute"}"#,
            "w+esR7Gp3dpdVjZDm4yBVFK5RPaOTaFPZPW1R6G+cnU=",
        ),
        (
            "GET",
            "/calling/v1/conferences/id/room-1",
            "",
            "2026-01-02T03:04:05Z",
            "",
            "5omzkIbGP58WVO09MWnINyewgMIIlfiAa3HnKburARM=",
        ),
        (
            "GET",
            "/calling/v1/conferences/id/room-1",
            "application/json",
            "2026-01-02T03:04:05Z",
            "",
            "K784ITZWO0GmmFFd+kbtzZjnMfbVWwBA6GoWR1RHStE=",
        ),
        (
            "POST",
            "/hooks/voice",
            "application/json",
            "2026-01-02T03:04:05Z",
            r#"{"event":"notify","conferenceId":"room-1","version":1,"type":"recording_finished"}"#,
            "GRMKzFsinLI6fwxdB/SHL8ZRBYvyK73Vl9YM45JPdQU=",
        ),
    ];

    /// Theirs, as it is written.
    pub const SECRET: &str = "Y29uZmVyZW5jZS1taXhlci10ZXN0LXNlY3JldC0wMDE=";

    fn key() -> SigningKey {
        SigningKey::new(&STANDARD.decode(SECRET).unwrap())
    }

    fn signable(vector: &Vector) -> Signable<'static> {
        let &(verb, path, content_type, timestamp, body, _) = vector;
        Signable {
            verb,
            path,
            content_type,
            timestamp,
            body: body.as_bytes(),
        }
    }

    #[test]
    fn the_vectors_of_the_platform_contract_are_signed_as_they_stand_there() {
        for vector in &VECTORS {
            let request = signable(vector);
            assert_eq!(key().sign(&request), vector.5, "{vector:?}");
            assert!(key().verifies(&request, vector.5));
        }
    }

    #[test]
    fn every_part_of_the_request_is_signed_but_no_other_signature_holds() {
        let vector = &VECTORS[0];
        for changed in [
            Signable {
                verb: "DELETE",
                ..signable(vector)
            },
            Signable {
                path: "/calling/v1/conferences/id/room-1/leg-8",
                ..signable(vector)
            },
            Signable {
                content_type: "",
                ..signable(vector)
            },
            Signable {
                timestamp: "2026-01-02T03:04:05.6788Z",
                ..signable(vector)
            },
            Signable {
                body: br#"{"command":"unmute"}"#,
                ..signable(vector)
            },
            Signable {
                body: b"",
                ..signable(vector)
            },
        ] {
            assert!(!key().verifies(&changed, vector.5));
        }
        for wrong in ["", "=", "w+es", &vector.5[1..], "Basic"] {
            assert!(!key().verifies(&signable(vector), wrong), "{wrong}");
        }
        assert!(!SigningKey::new(b"another").verifies(&signable(vector), vector.5));
        assert!(!format!("{:?}", key()).contains("Y29u"));
    }
}
