//! Where a recording is to be stored, as a caller may name it: `file://[folder/][file]` below `recording.dir`, or
//! `s3://bucket/[folder/][file]` in the one object store that is configured. Decides only whether the name is a safe
//! one; the recorder and the store decide whether it is free.
//!
//! The name is taken as written, byte for byte (no percent-decoding), as S3 takes keys. A destination once made
//! cannot point outside the directory or the bucket, also not after client code has normalised a URL made from it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::credentials::{Credentials, CredentialsError};
use super::image::Format;
use super::spool::SPOOL;

/// Folders and file below `recording.dir`.
const PARTS_MAX: usize = 16;

/// Bytes of a folder's name below `recording.dir`: what file systems allow.
const FOLDER_BYTES_MAX: usize = 255;

/// Bytes of a file's name as given. File systems allow 255; `.<callId>`, `~<recordingId>` and the ending come on top.
const FILE_BYTES_MAX: usize = 140;

/// Bytes of a whole key as given. S3 allows 1,024; what stands beside the file adds at most 120.
const KEY_BYTES_MAX: usize = 900;

/// Characters of a call's or conference's id in a name we make.
const ID_CHARACTERS_MAX: usize = 64;

/// Characters of the application's key in a name we make.
const APPLICATION_CHARACTERS_MAX: usize = 48;

/// What the daemon's configuration says about destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The destination of a request that names none.
    pub default: String,
    /// `None`: there is no object store.
    pub s3: Option<BucketRules>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketRules {
    /// The buckets that may be named; empty: any.
    pub buckets: Vec<String>,
}

/// Which tree a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Below `recording.dir`.
    #[default]
    Local,
    S3 {
        bucket: String,
    },
}

/// A validated place for a recording, its name, and what signs the way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub place: Place,
    pub format: Format,
    /// Given with the request. `None`: those of the configuration, or no need of any.
    pub credentials: Option<Credentials>,
    /// Empty, or parts with a `/` after each.
    folder: String,
    /// Without its ending; `None` asks for a name of ours.
    stem: Option<String>,
    /// As the caller spelled it, with the dot.
    ending: String,
}

/// Why a destination is refused: what is wrong with the field that [`DestinationError::field`] names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("mp3 is not offered, there is no freely licensed encoder; allowed: wav, ogg, flac")]
    Mp3,
    #[error("not one of the allowed: wav, ogg, flac")]
    Format,
    #[error(
        "s3:// is not configured on this daemon: its s3.endpoint is empty; allowed: file://[folder/][file]"
    )]
    S3NotConfigured,
    #[error(
        "unknown scheme; allowed: s3://bucket/[folder/][file], or file://[folder/][file] relative to recording.dir"
    )]
    Scheme,
    #[error(
        "endpoints come from the configuration; allowed: s3://bucket/[folder/][file], without port, user, ? and #"
    )]
    Endpoint,
    #[error(
        "the bucket must be 3 to 63 of a-z, 0-9, . and -, begin and end with a letter or digit, and be no address"
    )]
    Bucket,
    #[error("the bucket is not one of those that s3.buckets allows")]
    BucketNotAllowed,
    #[error("must be relative, without a leading / in the folder or file")]
    Absolute,
    #[error("must not contain . or .. as a folder or file")]
    Dots,
    #[error("must not begin with .spool, .events or .webhooks, which the daemon keeps for itself")]
    Spool,
    #[error("must not contain an empty folder (//)")]
    EmptyPart,
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error(
        "too long; allowed: {KEY_BYTES_MAX} bytes in all, {FILE_BYTES_MAX} bytes a file's name, and for file:// \
         {PARTS_MAX} folders deep, {FOLDER_BYTES_MAX} bytes a folder's name"
    )]
    TooLong,
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl DestinationError {
    /// The field of `RecordingOptions` that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            DestinationError::Mp3 | DestinationError::Format => "format",
            DestinationError::Credentials(_) => "credentials",
            _ => "destinationUrl",
        }
    }
}

/// As `RecordingOptions` names it, in any case.
fn format_named(name: &str) -> Result<Format, DestinationError> {
    name.parse().map_err(|_| match name.eq_ignore_ascii_case("mp3") {
        true => DestinationError::Mp3,
        false => DestinationError::Format,
    })
}

impl Default for Rules {
    /// Local files only, under names of ours.
    fn default() -> Rules {
        Rules {
            default: "file://".to_owned(),
            s3: None,
        }
    }
}

impl Destination {
    /// Takes `destinationUrl`, `credentials` and `format` of `RecordingOptions`; all may be absent.
    ///
    /// A URL that ends in `/`, or names a bucket only, leaves the file's name to us; one that ends in a name fixes it.
    /// The format's ending is added where it is missing. Credentials are looked at where the place has use for them.
    pub fn parse(
        url: Option<&str>,
        credentials: Option<&str>,
        format: Option<&str>,
        rules: &Rules,
    ) -> Result<Destination, DestinationError> {
        let format = format.map_or(Ok(Format::Wav), format_named)?;
        let url = url.unwrap_or(&rules.default);
        let (scheme, rest) = url.split_once("://").ok_or(DestinationError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                check_parts(rest)?;
                Ok(Destination::at(Place::Local, rest, format, None))
            }
            "s3" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                check_bucket(bucket, rules.s3.as_ref())?;
                if key.contains(['?', '#']) {
                    return Err(DestinationError::Endpoint);
                }
                check_key(key)?;
                let credentials = credentials.map(Credentials::parse).transpose()?;
                let place = Place::S3 {
                    bucket: bucket.to_owned(),
                };
                Ok(Destination::at(place, key, format, credentials))
            }
            "http" | "https" => Err(DestinationError::Endpoint),
            _ => Err(DestinationError::Scheme),
        }
    }

    fn at(place: Place, key: &str, format: Format, credentials: Option<Credentials>) -> Destination {
        let (folder, file) = split_folder(key);
        let ending = format!(".{}", format.extension());
        let (stem, ending) = match file
            .len()
            .checked_sub(ending.len())
            .filter(|&at| at > 0 && file.is_char_boundary(at))
        {
            Some(dot) if file[dot..].eq_ignore_ascii_case(&ending) => (&file[..dot], file[dot..].to_owned()),
            _ => (file, ending),
        };
        Destination {
            place,
            format,
            credentials,
            folder: folder.to_owned(),
            stem: (!stem.is_empty()).then(|| stem.to_owned()),
            ending,
        }
    }

    /// The names of what the recording leaves: as asked for, else `yyyyMMddHHmmss_<applicationKey>_<id>` (UTC), with
    /// `id` the call's for what one leg was sent and the conference's for a room.
    pub fn names(&self, start: Timestamp, application_key: &str, id: &str) -> Names {
        let stem = self.stem.clone().unwrap_or_else(|| {
            format!(
                "{}_{}_{}",
                start.strftime("%Y%m%d%H%M%S"),
                name_safe(application_key, APPLICATION_CHARACTERS_MAX),
                name_safe(id, ID_CHARACTERS_MAX)
            )
        });
        Names {
            base: format!("{}{stem}", self.folder),
            ending: self.ending.clone(),
        }
    }
}

/// The keys of a recording's file and of what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Folder and name without the ending.
    base: String,
    /// With the dot.
    ending: String,
}

impl Names {
    pub(super) fn new(base: String, ending: String) -> Names {
        Names { base, ending }
    }

    /// Folder and name, without the ending.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// With the dot.
    pub(super) fn ending(&self) -> &str {
        &self.ending
    }

    /// `<name>.<ext>`
    pub fn sound(&self) -> String {
        format!("{}{}", self.base, self.ending)
    }

    /// `<name>.<callId>.<ext>`, with `-2`, `-3`… after the call's id while the name is taken by another track.
    pub fn track(&self, call_id: &str, is_taken: impl Fn(&str) -> bool) -> String {
        let call_id = name_safe(call_id, ID_CHARACTERS_MAX);
        let first = format!("{}.{call_id}{}", self.base, self.ending);
        let further = (2..).map(|nth| format!("{}.{call_id}-{nth}{}", self.base, self.ending));
        std::iter::once(first)
            .chain(further)
            .find(|key| !is_taken(key))
            .expect("numbers do not end")
    }

    /// `<name>.json`
    pub fn receipt(&self) -> String {
        format!("{}.json", self.base)
    }

    /// The names when these are taken: `<name>~<recordingId>…`.
    pub fn aside(&self, recording_id: &str) -> Names {
        Names {
            base: format!("{}~{recording_id}", self.base),
            ending: self.ending.clone(),
        }
    }
}

/// What one file is called when its key is taken: `<name>~<recordingId>.<ext>`.
pub fn aside(key: &str, recording_id: &str) -> String {
    let file = key.rfind('/').map_or(0, |slash| slash + 1);
    let dot = key[file..]
        .rfind('.')
        .filter(|&dot| dot > 0)
        .map_or(key.len(), |dot| file + dot);
    format!("{}~{recording_id}{}", &key[..dot], &key[dot..])
}

fn split_folder(key: &str) -> (&str, &str) {
    match key.rfind('/') {
        Some(slash) => key.split_at(slash + 1),
        None => ("", key),
    }
}

/// Amazon's rules for general purpose buckets, and that of the operator.
fn check_bucket(bucket: &str, rules: Option<&BucketRules>) -> Result<(), DestinationError> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_legal = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| is_name(byte) || matches!(byte, b'.' | b'-'))
        && bucket.bytes().next().is_some_and(is_name)
        && bucket.bytes().next_back().is_some_and(is_name)
        && !bucket.contains("..")
        && !bucket.starts_with("xn--")
        // Directory buckets want a session made first: a call that an uploader's permissions need not allow.
        && !bucket.ends_with("--x-s3");
    let is_address = bucket.parse::<Ipv4Addr>().is_ok();
    let is_amazons = bucket == "amazonaws.com" || bucket.ends_with(".amazonaws.com");
    let is_endpoint = bucket.contains([':', '@', '[', ']', '?', '#', '\\']) || is_address || is_amazons;
    if is_endpoint || (!is_legal && bucket.contains('.')) {
        return Err(DestinationError::Endpoint);
    }
    if !is_legal {
        return Err(DestinationError::Bucket);
    }
    let rules = rules.ok_or(DestinationError::S3NotConfigured)?;
    if !rules.buckets.is_empty() && !rules.buckets.iter().any(|allowed| allowed == bucket) {
        return Err(DestinationError::BucketNotAllowed);
    }
    Ok(())
}

/// What holds for the keys of both places.
fn check_key(key: &str) -> Result<(), DestinationError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(DestinationError::TooLong);
    }
    if key.chars().any(char::is_control) {
        return Err(DestinationError::ControlCharacter);
    }
    if key.starts_with('/') {
        return Err(DestinationError::Absolute);
    }
    let (folder, file) = split_folder(key);
    for part in folder
        .split_terminator('/')
        .chain((!file.is_empty()).then_some(file))
    {
        match part {
            "" => return Err(DestinationError::EmptyPart),
            // Client code takes these out of a path before it is sent: `../../x` would land in another bucket.
            "." | ".." => return Err(DestinationError::Dots),
            _ => {}
        }
    }
    if file.len() > FILE_BYTES_MAX {
        return Err(DestinationError::TooLong);
    }
    Ok(())
}

/// Folders of `recording.dir` that no recording lies in.
const KEPT: [&str; 3] = [SPOOL, ".events", ".webhooks"];

/// What file systems ask for beyond that.
fn check_parts(key: &str) -> Result<(), DestinationError> {
    check_key(key)?;
    // What the daemon keeps for itself, however the file system spells it.
    let first = key.split('/').next().unwrap_or_default();
    if KEPT.iter().any(|kept| first.eq_ignore_ascii_case(kept)) {
        return Err(DestinationError::Spool);
    }
    let folders = split_folder(key).0.split_terminator('/');
    let is_deep = folders.clone().count() >= PARTS_MAX;
    if is_deep || folders.clone().any(|folder| folder.len() > FOLDER_BYTES_MAX) {
        return Err(DestinationError::TooLong);
    }
    Ok(())
}

/// An id as part of a file name: ASCII letters, digits, `-`, `_` and inner dots; `_` for the rest.
fn name_safe(id: &str, characters_max: usize) -> String {
    let safe = |(at, c): (usize, char)| match c {
        '.' if at > 0 => '.',
        c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => c,
        _ => '_',
    };
    id.chars().take(characters_max).enumerate().map(safe).collect()
}

#[cfg(test)]
mod tests;
