//! SRTP keys in SDP (RFC 4568): which `a=crypto` line of the remote is used, and the line of ours beside it.
//!
//! A line that cannot be used is left out with a reason. Keys are in no reason, and neither is any text of a line that
//! might be a misplaced key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::srtp::{MasterKey, Suite};

/// The suites of our own offers: of those that are alike to an attacker the cheaper first.
pub const SUITES: [Suite; 5] = [
    Suite::AeadAes128Gcm,
    Suite::AesCm128HmacSha1_80,
    Suite::AesCm128HmacSha1_32,
    Suite::AeadAes256Gcm,
    Suite::AesCm256HmacSha1_80,
];

/// No peer offers more lines; those beyond are not read.
const LINES_MAX: usize = 32;
/// A reply shows the reasons of so many lines.
const SHOWN_LINES: usize = 3;
/// What the longest key and salt (46 bytes) decode from, with room to tell that there is too much.
const KEY_BYTES_MAX: usize = 96;
const MKI_BYTES_MAX: u8 = 128;
/// No registered name of a suite is longer.
const SUITE_NAME_BYTES_MAX: usize = 40;

/// There are senders that leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of an `a=crypto` line. It holds a key and is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CryptoLine<'a>(pub(super) &'a str);

impl fmt::Debug for CryptoLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("CryptoLine").finish_non_exhaustive()
    }
}

/// What a line says that we can use.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// As written.
    pub tag: &'a str,
    /// As written: a suite can have an older name.
    pub suite_name: &'a str,
    /// What the remote protects its packets with.
    pub key: MasterKey,
    /// The length of the MKI in the remote's packets, 0 for none.
    pub mki_bytes: u8,
}

/// Why a line is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it has no tag, suite and key")]
    Incomplete,
    #[error("its tag is not a number of 1 to 9 digits")]
    Tag,
    #[error("its tag stands on a line before it")]
    RepeatedTag,
    #[error("its suite {0} is not supported")]
    Suite(String),
    #[error("its suite is not known")]
    UnknownSuite,
    #[error("its key is not given inline")]
    KeyMethod,
    #[error("its key is not valid base64")]
    Base64,
    #[error("its key and salt have {bytes} bytes, and {} takes {}", .suite.name(), .suite.master_bytes())]
    KeyLength { suite: Suite, bytes: usize },
    #[error("its key and salt have too many bytes for {}, which takes {}", .0.name(), .0.master_bytes())]
    KeyTooLong(Suite),
    #[error("its lifetime is not a number above 0 of packets, nor a power of two up to 2^48")]
    Lifetime,
    #[error("its MKI is not a number and a length from 1 to 128 bytes, as in 1:4")]
    Mki,
    #[error("it has several keys, and they do not all have an MKI of the same length")]
    SeveralKeys,
    #[error("its session parameter {0} is not supported")]
    Parameter(&'static str),
    #[error("it has a session parameter that is not known")]
    UnknownParameter,
    #[error("its tag and suite are not those of a line of our offer")]
    NotOffered,
}

/// A remote's lines, read: the one to use, and why others cannot be.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    /// The first that can be used.
    pub line: Option<Line<'a>>,
    /// With their places among the lines, from 1.
    pub left_out: Vec<(usize, Unusable)>,
    /// How many there are beyond those that are read.
    pub unread: usize,
}

impl<'a> Selection<'a> {
    /// Whatever suites our side has keys for.
    pub fn of_all(lines: &[CryptoLine<'a>]) -> Selection<'a> {
        Selection::new(lines, Ok)
    }

    /// Of the lines of an offer.
    pub fn of_offer(lines: &[CryptoLine<'a>], ours: &[MasterKey]) -> Selection<'a> {
        Selection::new(lines, |line| match key_for(ours, line.key.suite()) {
            Some(_) => Ok(line),
            None => Err(Unusable::Suite(line.key.suite().name().to_owned())),
        })
    }

    /// Of the lines of the answer to an offer with these keys.
    pub fn of_answer(lines: &[CryptoLine<'a>], ours: &[MasterKey]) -> Selection<'a> {
        Selection::new(lines, |line| {
            let is_of_our_offer =
                tagged(ours).any(|(tag, key)| line.tag == tag.to_string() && line.key.suite() == key.suite());
            is_of_our_offer.then_some(line).ok_or(Unusable::NotOffered)
        })
    }

    fn new(
        lines: &[CryptoLine<'a>],
        suits: impl Fn(Line<'a>) -> Result<Line<'a>, Unusable>,
    ) -> Selection<'a> {
        let mut selection = Selection {
            unread: lines.len().saturating_sub(LINES_MAX),
            ..Selection::default()
        };
        let mut tags: Vec<u32> = Vec::new();
        for (index, line) in lines.iter().take(LINES_MAX).enumerate() {
            match read(line.0, &mut tags).and_then(&suits) {
                Ok(line) => {
                    selection.line.get_or_insert(line);
                }
                Err(reason) => selection.left_out.push((index + 1, reason)),
            }
        }
        selection
    }

    /// Why there is no line to use, in half a sentence.
    pub fn reasons(&self) -> String {
        if self.left_out.is_empty() {
            return "there is none".to_owned();
        }
        let shown: Vec<String> = self
            .left_out
            .iter()
            .take(SHOWN_LINES)
            .map(|(place, reason)| format!("of line {place}, {reason}"))
            .collect();
        match self.left_out.len() + self.unread - shown.len() {
            0 => shown.join("; "),
            more => format!("{}; and {more} more", shown.join("; ")),
        }
    }

    /// A sentence for each line that is left out.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences: Vec<String> = self
            .left_out
            .iter()
            .map(|(place, reason)| format!("The a=crypto line {place} is left out: {reason}."))
            .collect();
        if self.unread > 0 {
            sentences.push(format!("{} further a=crypto lines are not read.", self.unread));
        }
        sentences
    }
}

/// Our key of a suite.
pub(super) fn key_for(ours: &[MasterKey], suite: Suite) -> Option<&MasterKey> {
    ours.iter().find(|key| key.suite() == suite)
}

/// The lines of our own offer: the values of their `a=crypto`.
pub(super) fn offered(ours: &[MasterKey]) -> Vec<String> {
    tagged(ours)
        .map(|(tag, key)| written(&tag.to_string(), key.suite().name(), key))
        .collect()
}

fn tagged(ours: &[MasterKey]) -> impl Iterator<Item = (usize, &MasterKey)> {
    (1..).zip(ours)
}

/// A line of ours: without lifetime, MKI and session parameters.
pub(super) fn written(tag: &str, suite_name: &str, key: &MasterKey) -> String {
    format!("{tag} {suite_name} inline:{}", BASE64.encode(key.as_bytes()))
}

/// Reads `1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4 WSH=64`. `tags` are those of the lines before it.
fn read<'a>(value: &'a str, tags: &mut Vec<u32>) -> Result<Line<'a>, Unusable> {
    let mut fields = value.split_ascii_whitespace();
    let tag = fields.next().ok_or(Unusable::Incomplete)?;
    let number = match tag.len() {
        1..=9 => decimal(tag).ok_or(Unusable::Tag)?,
        _ => return Err(Unusable::Tag),
    };
    if tags.contains(&number) {
        return Err(Unusable::RepeatedTag);
    }
    tags.push(number);
    let suite_name = fields.next().ok_or(Unusable::Incomplete)?;
    let suite = suite_named(suite_name)?;
    let (key, mki_bytes) = read_keys(fields.next().ok_or(Unusable::Incomplete)?, suite)?;
    for parameter in fields {
        read_parameter(parameter)?;
    }
    Ok(Line {
        tag,
        suite_name,
        key,
        mki_bytes,
    })
}

fn suite_named(name: &str) -> Result<Suite, Unusable> {
    // As drafts of RFC 6188 called it; there are phones that still do.
    if name == "AES_CM_256_HMAC_SHA1_80" {
        return Ok(Suite::AesCm256HmacSha1_80);
    }
    // A key that stands where the suite belongs has letters of both cases, and no underscore.
    let is_name = name.contains('_')
        && name.len() <= SUITE_NAME_BYTES_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    Suite::from_name(name).ok_or_else(|| match is_name {
        true => Unusable::Suite(name.to_owned()),
        false => Unusable::UnknownSuite,
    })
}

/// Reads `inline:KEY|LIFETIME|MKI:LENGTH;inline:…` (RFC 4568 §6.1): the first key, and the length of its MKI. What
/// arrives under another key of the line is not authentic to us.
fn read_keys(parameters: &str, suite: Suite) -> Result<(MasterKey, u8), Unusable> {
    let mut keys = parameters.split(';').map(|parameter| read_key(parameter, suite));
    let first = keys.next().ok_or(Unusable::Incomplete)??;
    for other in keys {
        let (_, mki_bytes) = other?;
        // Which key a packet is protected with would be anyone's guess.
        if mki_bytes == 0 || mki_bytes != first.1 {
            return Err(Unusable::SeveralKeys);
        }
    }
    Ok(first)
}

fn read_key(parameter: &str, suite: Suite) -> Result<(MasterKey, u8), Unusable> {
    let (method, information) = parameter.split_once(':').ok_or(Unusable::KeyMethod)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(Unusable::KeyMethod);
    }
    let mut parts = information.split('|');
    let key = decode(parts.next().unwrap_or_default(), suite)?;
    let mut part = parts.next();
    if let Some(lifetime) = part.filter(|part| !part.contains(':')) {
        if !is_lifetime(lifetime) {
            return Err(Unusable::Lifetime);
        }
        part = parts.next();
    }
    let mki_bytes = part.map_or(Some(0), mki_bytes).ok_or(Unusable::Mki)?;
    match parts.next() {
        None => Ok((key, mki_bytes)),
        Some(_) => Err(Unusable::Mki),
    }
}

fn decode(text: &str, suite: Suite) -> Result<MasterKey, Unusable> {
    let mut bytes = [0; KEY_BYTES_MAX];
    let length = match BASE64.decode_slice(text, &mut bytes) {
        Ok(length) => length,
        Err(base64::DecodeSliceError::DecodeError(_)) => return Err(Unusable::Base64),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => return Err(Unusable::KeyTooLong(suite)),
    };
    MasterKey::new(suite, &bytes[..length]).ok_or(Unusable::KeyLength { suite, bytes: length })
}

/// After so many packets a new key is due. The remote sees to that by a new offer; here nothing counts.
fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(power) => decimal(power).is_some_and(|power: u8| power <= 48),
        None => decimal(text).is_some_and(|packets: u64| packets > 0),
    }
}

/// The length in `1:4`. The value is not needed: there is one key, and it is the one that is meant.
fn mki_bytes(text: &str) -> Option<u8> {
    let (value, length) = text.split_once(':')?;
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    decimal(length).filter(|length| is_number && (1..=MKI_BYTES_MAX).contains(length))
}

/// A number in digits alone: no sign.
fn decimal<N: FromStr>(text: &str) -> Option<N> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// RFC 4568 §6.3: what changes the packets must be known and done; hints, and what is marked as optional, need not.
fn read_parameter(parameter: &str) -> Result<(), Unusable> {
    const NOT_DONE: [&str; 6] = [
        "KDR",
        "UNENCRYPTED_SRTP",
        "UNENCRYPTED_SRTCP",
        "UNAUTHENTICATED_SRTP",
        "FEC_ORDER",
        "FEC_KEY",
    ];
    let name = parameter.split('=').next().unwrap_or(parameter);
    if parameter.starts_with('-') || name.eq_ignore_ascii_case("WSH") {
        return Ok(());
    }
    match NOT_DONE.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Err(Unusable::Parameter(known)),
        None => Err(Unusable::UnknownParameter),
    }
}
