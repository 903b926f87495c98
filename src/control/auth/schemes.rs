//! How a key is shown: `Basic`, or a signature of the request (platform contract, section 12).
//!
//! A signature covers the path with its query, as sent; one over the path alone does not hold where there is a query.
//! With the header `x-content-sha256`, whose value is base64(SHA-256(body)), that value stands in the signed text where
//! the MD5 of the body stands otherwise. A timestamp is RFC 3339, with up to nine digits of fraction.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keys::{Key, Seal};
use super::nonces::Signed;
use super::{Denied, certificates};
use crate::control::refusal::{BAD_CREDENTIALS, BAD_SIGNATURE, BAD_TIMESTAMP, NO_AUTHORIZATION};
use crate::control::signature::Signable;
use crate::control::tally::RequestRefusal;

/// How far the time of a signature may be from ours, either way.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);

/// What a request shows of who asks; headers as they came. It has secrets in it: it is not to be logged.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Counted as one: an IPv4 address, or an IPv6 network.
    pub address: IpAddr,
    /// Others cannot read it: TLS, or the same machine.
    pub is_private: bool,
    /// The names of a certificate that TLS has verified.
    pub certificate: Option<&'a [String]>,
    /// `Err` where there is more than one, or one that is no text.
    pub authorization: Result<Option<&'a str>, ()>,
    pub verb: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub content_type: &'a str,
    pub timestamp: Option<&'a str>,
    pub content_sha256: Option<&'a str>,
}

/// What the `Authorization` header says.
pub enum Claim<'a> {
    Nothing,
    Basic { key: String, secret: Zeroizing<String> },
    Signed { key: &'a str, signature: &'a str },
}

impl<'a> Shown<'a> {
    pub fn claim(&self) -> Result<Claim<'a>, Denied> {
        let unclear = || {
            Denied::new(
                RequestRefusal::NoAuthorization,
                NO_AUTHORIZATION,
                "The `Authorization` header must be `Basic` with key:secret or `Application` with key:signature.",
            )
        };
        let Some(header) = self.authorization.map_err(|()| unclear())? else {
            return Ok(Claim::Nothing);
        };
        let (scheme, rest) = header.split_once(' ').ok_or_else(unclear)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| unclear())?);
            let text = std::str::from_utf8(&decoded).map_err(|_| unclear())?;
            let (key, secret) = text.split_once(':').ok_or_else(unclear)?;
            return Ok(Claim::Basic {
                key: key.to_owned(),
                secret: Zeroizing::new(secret.to_owned()),
            });
        }
        if scheme.eq_ignore_ascii_case("application") {
            let (key, signature) = rest.split_once(':').ok_or_else(unclear)?;
            return Ok(Claim::Signed { key, signature });
        }
        Err(unclear())
    }

    /// Why nothing is not enough.
    pub fn nothing(&self) -> Denied {
        match self.certificate {
            Some(_) => certificates::unlisted(),
            None => Denied::new(
                RequestRefusal::NoAuthorization,
                NO_AUTHORIZATION,
                "The `Authorization` header is missing.",
            ),
        }
    }
}

/// Whether the secret of the key was shown, and where nobody else could see it.
/// By which of its secrets a key is shown, where it may be.
pub fn basic(key: &Key, secret: &str, shown: &Shown<'_>, anywhere: bool) -> Result<Seal, Denied> {
    if !shown.is_private && !anywhere {
        return Err(Denied::new(
            RequestRefusal::Unencrypted,
            NO_AUTHORIZATION,
            "`Basic` is taken under TLS or from this machine only; sign the request instead.",
        ));
    }
    key.has(secret.as_bytes()).ok_or_else(|| {
        Denied::new(
            RequestRefusal::Credentials,
            BAD_CREDENTIALS,
            "The key or the secret is wrong.",
        )
    })
}

/// By which secret of the key the request was signed, lately.
pub fn signed(
    key: &Key,
    signature: &str,
    shown: &Shown<'_>,
    body: &[u8],
    wall: Timestamp,
) -> Result<(Seal, Signed), Denied> {
    let untimely = |message| Denied::new(RequestRefusal::Timestamp, BAD_TIMESTAMP, message);
    let timestamp = shown
        .timestamp
        .ok_or_else(|| untimely("The `x-timestamp` header is missing."))?;
    let at: Timestamp = timestamp
        .parse()
        .map_err(|_| untimely("`x-timestamp` must be a time as 2026-01-02T03:04:05.678Z."))?;
    if at.duration_since(wall).abs() > WINDOW {
        return Err(untimely(
            "`x-timestamp` is more than 300 seconds from this daemon's time.",
        ));
    }
    let request = Signable {
        verb: shown.verb,
        path: shown.target,
        content_type: shown.content_type,
        timestamp,
        body,
    };
    let digest = match shown.content_sha256 {
        None => request.md5(),
        Some(_) => STANDARD.encode(Sha256::digest(body)),
    };
    let is_of_body = shown.content_sha256.is_none_or(|said| said == digest);
    let seal = key.verifies(|secret| secret.verifies_with_digest(&request, &digest, signature));
    let decoded = STANDARD.decode(signature).unwrap_or_default();
    match (seal, <[u8; 32]>::try_from(decoded)) {
        (Some(seal), Ok(signature)) if is_of_body => Ok((seal, Signed { signature, at })),
        _ => Err(Denied::new(
            RequestRefusal::Signature,
            BAD_SIGNATURE,
            "The key or the signature is wrong.",
        )),
    }
}
