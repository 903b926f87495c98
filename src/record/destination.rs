//! Where a recording is to be stored, as a caller may name it: `file://[folder/][file]` below `recording.dir`.
//! Decides only whether the name is a safe one; the recorder decides whether it is free.
//!
//! The name is taken as written, byte for byte (no percent-decoding), as S3 takes keys. A destination once made
//! cannot point outside the directory.

use jiff::Timestamp;

/// Formats a recording can have now.
pub const FORMATS: &[&str] = &["wav"];

/// Folders and file of a key, at most.
const PARTS_MAX: usize = 16;

/// Bytes of one folder or file name as given. File systems allow 255; `~<recordingId>` and the ending come on top.
const PART_BYTES_MAX: usize = 180;

/// Bytes of a whole destination as given.
const KEY_BYTES_MAX: usize = 1_024;

/// Characters of the conference's id in a name we make.
const CONFERENCE_CHARACTERS_MAX: usize = 64;

/// A validated place below `recording.dir`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destination {
    /// Empty, or parts with a `/` after each.
    folder: String,
    /// Without its ending `.wav`; `None` asks for a name of ours.
    stem: Option<String>,
    /// As the caller spelled it, with the dot.
    ending: String,
}

/// Why a destination is refused: what is wrong with the field that [`DestinationError::field`] names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("mp3 is not offered, there is no freely licensed encoder; allowed: wav")]
    Mp3,
    #[error("not one of the allowed: wav")]
    Format,
    #[error("s3:// is not yet configured on this daemon; allowed: file://[folder/][file]")]
    S3NotConfigured,
    #[error("unknown scheme; allowed: file://[folder/][file], relative to recording.dir")]
    Scheme,
    #[error("must be relative to recording.dir, without a leading /")]
    Absolute,
    #[error("must not contain . or .. as a folder or file")]
    Dots,
    #[error("must not contain an empty folder (//)")]
    EmptyPart,
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error(
        "too long; allowed: {KEY_BYTES_MAX} bytes in all, {PARTS_MAX} folders deep, {PART_BYTES_MAX} bytes a name"
    )]
    TooLong,
}

impl DestinationError {
    /// The field of `RecordingOptions` that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            DestinationError::Mp3 | DestinationError::Format => "format",
            _ => "destinationUrl",
        }
    }
}

impl Destination {
    /// Takes `destinationUrl` and `format` of `RecordingOptions`; both may be absent.
    ///
    /// `file://` and `file://folder/` leave the file's name to us, `file://folder/name` fixes it. The ending `.wav`
    /// is added where it is missing.
    pub fn parse(url: Option<&str>, format: Option<&str>) -> Result<Destination, DestinationError> {
        match format.map(str::to_ascii_lowercase).as_deref() {
            None | Some("wav") => {}
            Some("mp3") => return Err(DestinationError::Mp3),
            Some(_) => return Err(DestinationError::Format),
        }
        let Some(url) = url else {
            return Ok(Destination::default());
        };
        let (scheme, key) = url.split_once("://").ok_or(DestinationError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "file" => Destination::from_key(key),
            "s3" => Err(DestinationError::S3NotConfigured),
            _ => Err(DestinationError::Scheme),
        }
    }

    fn from_key(key: &str) -> Result<Destination, DestinationError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(DestinationError::TooLong);
        }
        if key.chars().any(char::is_control) {
            return Err(DestinationError::ControlCharacter);
        }
        if key.starts_with('/') {
            return Err(DestinationError::Absolute);
        }
        let (folder, file) = match key.rfind('/') {
            Some(slash) => key.split_at(slash + 1),
            None => ("", key),
        };
        let folders = folder.split_terminator('/');
        if folders.clone().count() >= PARTS_MAX {
            return Err(DestinationError::TooLong);
        }
        for part in folders.chain((!file.is_empty()).then_some(file)) {
            match part {
                "" => return Err(DestinationError::EmptyPart),
                "." | ".." => return Err(DestinationError::Dots),
                _ if part.len() > PART_BYTES_MAX => return Err(DestinationError::TooLong),
                _ => {}
            }
        }
        let (stem, ending) = match file
            .len()
            .checked_sub(4)
            .filter(|&at| at > 0 && file.is_char_boundary(at))
        {
            Some(dot) if file[dot..].eq_ignore_ascii_case(".wav") => file.split_at(dot),
            _ => (file, ".wav"),
        };
        let stem = (!stem.is_empty()).then(|| stem.to_owned());
        Ok(Destination {
            folder: folder.to_owned(),
            stem,
            ending: ending.to_owned(),
        })
    }

    /// The relative path without its ending: the name asked for, or `yyyyMMddHHmmss_<conference>_<recordingId>` (UTC).
    pub(super) fn stem(&self, start: Timestamp, conference_id: &str, recording_id: &str) -> String {
        let file = match &self.stem {
            Some(stem) => stem.clone(),
            None => {
                format!(
                    "{}_{}_{recording_id}",
                    start.strftime("%Y%m%d%H%M%S"),
                    file_name_safe(conference_id)
                )
            }
        };
        format!("{}{file}", self.folder)
    }

    /// `.wav`, as the caller spelled it.
    pub(super) fn ending(&self) -> &str {
        if self.ending.is_empty() {
            ".wav"
        } else {
            &self.ending
        }
    }
}

/// A conference's id as part of a file name: ASCII letters, digits, `-`, `_` and inner dots; `_` for the rest.
fn file_name_safe(conference_id: &str) -> String {
    let safe = |(at, c): (usize, char)| match c {
        '.' if at > 0 => '.',
        c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => c,
        _ => '_',
    };
    conference_id
        .chars()
        .take(CONFERENCE_CHARACTERS_MAX)
        .enumerate()
        .map(safe)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> Result<String, DestinationError> {
        let start: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a valid time");
        let destination = Destination::parse(Some(url), None)?;
        Ok(format!(
            "{}{}",
            destination.stem(start, "room/1 ü", "id-7"),
            destination.ending()
        ))
    }

    #[test]
    fn names_that_stay_below_the_directory_are_honoured() {
        let long = "n".repeat(180);
        let made = "20260102030405_room_1___id-7.wav";
        let cases: &[(&str, String)] = &[
            ("file://", made.to_owned()),
            ("file://calls/", format!("calls/{made}")),
            ("file://a/b/c/", format!("a/b/c/{made}")),
            ("file://talk.wav", "talk.wav".to_owned()),
            ("file://talk.WAV", "talk.WAV".to_owned()),
            ("file://talk", "talk.wav".to_owned()),
            ("file://talk.v2", "talk.v2.wav".to_owned()),
            ("file://.wav", ".wav.wav".to_owned()),
            ("file://...", "....wav".to_owned()),
            ("file://calls/..x/talk.wav", "calls/..x/talk.wav".to_owned()),
            ("file://a%2f..%2fb", "a%2f..%2fb.wav".to_owned()),
            ("file://{room}/Gespräch ☎.wav", "{room}/Gespräch ☎.wav".to_owned()),
            ("FILE://talk.wav", "talk.wav".to_owned()),
            (&format!("file://{long}"), format!("{long}.wav")),
        ];
        for (url, expected) in cases {
            assert_eq!(key(url).as_ref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        use DestinationError::*;
        let (long, deep, longest) = ("n".repeat(181), "d/".repeat(17), "d/".repeat(600));
        let cases: &[(&str, DestinationError)] = &[
            ("file:///etc/passwd", Absolute),
            ("file:////x", Absolute),
            ("file://..", Dots),
            ("file://../x", Dots),
            ("file://a/../../x", Dots),
            ("file://a/..", Dots),
            ("file://./x", Dots),
            ("file://a//x", EmptyPart),
            ("file://a/b//", EmptyPart),
            ("file://a\0b", ControlCharacter),
            ("file://a\nb", ControlCharacter),
            ("file://a\u{85}b", ControlCharacter),
            ("file://\u{7f}", ControlCharacter),
            (&format!("file://{long}"), TooLong),
            (&format!("file://{long}/x"), TooLong),
            (&format!("file://{deep}x"), TooLong),
            (&format!("file://{longest}x"), TooLong),
            ("s3://bucket/x", S3NotConfigured),
            ("http://host/x", Scheme),
            ("talk.wav", Scheme),
            ("/etc/passwd", Scheme),
            ("", Scheme),
        ];
        for (url, expected) in cases {
            assert_eq!(key(url).as_ref(), Err(expected), "{url:?}");
            assert_eq!(expected.field(), "destinationUrl");
        }
    }

    #[test]
    fn only_wav_is_a_format_and_the_refusal_says_so() {
        for format in [None, Some("wav"), Some("WAV")] {
            assert!(Destination::parse(None, format).is_ok());
        }
        for (format, expected) in [
            ("mp3", DestinationError::Mp3),
            ("MP3", DestinationError::Mp3),
            ("ogg", DestinationError::Format),
            ("flac", DestinationError::Format),
            ("", DestinationError::Format),
        ] {
            let refusal = Destination::parse(None, Some(format)).unwrap_err();
            assert_eq!(refusal, expected);
            assert_eq!(refusal.field(), "format");
            assert!(refusal.to_string().contains("allowed: wav"), "{refusal}");
        }
        assert!(
            DestinationError::Mp3
                .to_string()
                .contains("no freely licensed encoder")
        );
    }

    #[test]
    fn a_conference_cannot_hide_or_move_a_file_by_its_name() {
        for (conference_id, expected) in [
            ("../../etc", "_._.._etc"),
            (".hidden", "_hidden"),
            ("a.b-c_D9", "a.b-c_D9"),
            ("\u{202e}x\0", "_x_"),
        ] {
            let safe = file_name_safe(conference_id);
            assert_eq!(safe, expected);
        }
        assert_eq!(file_name_safe(&"☎".repeat(64)).len(), 64);
    }
}
