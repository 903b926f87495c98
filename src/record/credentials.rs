//! What signs requests to an object store: `key:secret:region`, as a request, a file or the spool gives it.
//!
//! The secret leaves this module only towards the signer ([`Credentials::secret`]). It is in no `Debug` and no error,
//! and its memory is wiped when the value is dropped. In the spool it lies in a file of its own, mode 0600, so that
//! it can be erased while the journal beside it stays as it was written.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroize;

/// Bytes of the key and of the secret, each.
const PART_BYTES_MAX: usize = 512;

const REGION_BYTES_MAX: usize = 32;

/// A file of credentials is one short line.
const FILE_BYTES_MAX: u64 = 2_048;

/// Name of the file in a recording's spool folder.
pub(super) const SPOOL_FILE: &str = "credentials";

/// Validated: each part can stand in a header, and the region in the name of a host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    key: String,
    secret: Secret,
    region: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Secret(Box<[u8]>);

/// What is wrong; never the value itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("must have the form key:secret:region")]
    Form,
    #[error(
        "its key (before the first colon) must be 1 to {PART_BYTES_MAX} visible ASCII characters without comma and slash"
    )]
    Key,
    #[error(
        "its secret (between the first and the last colon) must be 1 to {PART_BYTES_MAX} visible ASCII characters"
    )]
    Secret,
    #[error("its region (after the last colon) must be 1 to {REGION_BYTES_MAX} of a-z, 0-9 and -")]
    Region,
}

/// Why a file of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsFileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("may be read by others: its mode is {0:04o}, but must be 0400 or 0600")]
    Exposed(u32),
    #[error("is no single line: it {0}")]
    Content(#[from] CredentialsError),
}

impl Credentials {
    /// Splits at the first and at the last colon: a secret may hold colons, `/` and `+`.
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        let (key, rest) = text.split_once(':').ok_or(CredentialsError::Form)?;
        let (secret, region) = rest.rsplit_once(':').ok_or(CredentialsError::Form)?;
        let is_visible = |part: &str| {
            (1..=PART_BYTES_MAX).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_graphic())
        };
        // The signer puts the key between these two into its header.
        if !is_visible(key) || key.contains([',', '/']) {
            return Err(CredentialsError::Key);
        }
        if !is_visible(secret) {
            return Err(CredentialsError::Secret);
        }
        if !is_region(region) {
            return Err(CredentialsError::Region);
        }
        Ok(Credentials {
            key: key.to_owned(),
            secret: Secret(secret.as_bytes().into()),
            region: region.to_owned(),
        })
    }

    /// Reads `s3.credentials_file`: one line of the form `key:secret:region`, readable by its owner only.
    pub fn from_file(path: &Path) -> Result<Credentials, CredentialsFileError> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(CredentialsFileError::Exposed(mode));
        }
        let mut text = bounded_text(file)?;
        let parsed = Credentials::parse(text.trim_end_matches(['\r', '\n']));
        wipe(&mut text);
        Ok(parsed?)
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// For the signer, and for nobody else.
    pub fn secret(&self) -> &str {
        std::str::from_utf8(&self.secret.0).expect("it was parsed from text")
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Keeps them in a recording's spool folder, on the disk when this returns.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(SPOOL_FILE);
        // Made anew, so that the mode is that of a new file whatever lay there.
        Credentials::erase(folder)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut line = format!("{}:{}:{}\n", self.key, self.secret(), self.region);
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
        wipe(&mut line);
        written?;
        File::open(folder)?.sync_all()
    }

    /// Those kept in a spool folder; `None` when there are none, or none that can be used.
    pub fn kept(folder: &Path) -> io::Result<Option<Credentials>> {
        let file = match File::open(folder.join(SPOOL_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = bounded_text(file)?;
        let parsed = Credentials::parse(text.trim_end());
        wipe(&mut text);
        Ok(parsed.ok())
    }

    /// Overwrites and removes what [`Credentials::keep`] wrote. Nothing there is as good.
    pub fn erase(folder: &Path) -> io::Result<()> {
        let path = folder.join(SPOOL_FILE);
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len().min(FILE_BYTES_MAX) as usize;
        // On a file system that writes elsewhere (copy on write, flash) this is all that can be done from here.
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
        fs::remove_file(&path)?;
        File::open(folder)?.sync_all()
    }
}

/// What may stand as a region in the name of a host.
pub fn is_region(region: &str) -> bool {
    (1..=REGION_BYTES_MAX).contains(&region.len())
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn bounded_text(file: File) -> io::Result<String> {
    let mut text = String::with_capacity(FILE_BYTES_MAX as usize);
    io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

fn wipe(text: &mut String) {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.as_mut_slice().zeroize();
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Not the key either: some stores take it for half of the secret.
        write!(f, "Credentials(…, {})", self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;

    const TEXT: &str = "AKIDEXAMPLE:wJalr/XUtn+FE:MI:eu-central-1";

    fn parts(text: &str) -> Result<(String, String, String), CredentialsError> {
        let parsed = Credentials::parse(text)?;
        Ok((
            parsed.key().to_owned(),
            parsed.secret().to_owned(),
            parsed.region().to_owned(),
        ))
    }

    #[test]
    fn credentials_are_split_at_the_first_and_at_the_last_colon() {
        let told = parts(TEXT).unwrap();
        assert_eq!(
            (&told.0[..], &told.1[..], &told.2[..]),
            ("AKIDEXAMPLE", "wJalr/XUtn+FE:MI", "eu-central-1")
        );
        assert_eq!(parts("a:::b").unwrap().1, ":");
    }

    #[test]
    fn each_part_is_checked_and_the_sentence_repeats_none() {
        let long = "x".repeat(513);
        for (text, expected) in [
            ("", CredentialsError::Form),
            ("key", CredentialsError::Form),
            ("key:hush", CredentialsError::Form),
            (":hush:eu", CredentialsError::Key),
            ("k y:hush:eu", CredentialsError::Key),
            ("k/y:hush:eu", CredentialsError::Key),
            ("k\u{e9}y:hush:eu", CredentialsError::Key),
            ("key::eu", CredentialsError::Secret),
            ("key:hu\nsh:eu", CredentialsError::Secret),
            ("key:hush:", CredentialsError::Region),
            ("key:hush:EU", CredentialsError::Region),
            ("key:hush:eu.evil.example", CredentialsError::Region),
            ("key:hush:eu/evil", CredentialsError::Region),
            (
                "key:hush:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
                CredentialsError::Region,
            ),
            (&format!("{long}:hush:eu"), CredentialsError::Key),
            (&format!("key:{long}:eu"), CredentialsError::Secret),
        ] {
            let refusal = Credentials::parse(text).unwrap_err();
            assert_eq!(refusal, expected, "{text:?}");
            assert!(!refusal.to_string().contains("hush"));
        }
    }

    #[test]
    fn neither_key_nor_secret_is_in_what_is_printed() {
        let printed = format!("{:?}", Credentials::parse(TEXT).unwrap());
        assert_eq!(printed, "Credentials(…, eu-central-1)");
    }

    #[test]
    fn kept_credentials_come_back_for_their_owner_only_and_are_gone_once_erased() {
        let scratch = Scratch::new();
        let credentials = Credentials::parse(TEXT).unwrap();
        assert_eq!(Credentials::kept(scratch.dir()).unwrap(), None);
        Credentials::erase(scratch.dir()).unwrap();
        fs::write(scratch.path("credentials"), "left by someone").unwrap();
        credentials.keep(scratch.dir()).unwrap();
        let mode = fs::metadata(scratch.path("credentials"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Credentials::kept(scratch.dir()).unwrap(), Some(credentials));
        let other_name = scratch.path("still open");
        fs::hard_link(scratch.path("credentials"), &other_name).unwrap();
        Credentials::erase(scratch.dir()).unwrap();
        assert_eq!(Credentials::kept(scratch.dir()).unwrap(), None);
        let left = fs::read(other_name).unwrap();
        assert!(!left.is_empty() && left.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_file_of_credentials_is_its_owners_only() {
        let scratch = Scratch::new();
        let path = scratch.path("s3.key");
        fs::write(&path, format!("{TEXT}\n")).unwrap();
        for (mode, is_fine) in [
            (0o400, true),
            (0o600, true),
            (0o640, false),
            (0o604, false),
            (0o700, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match Credentials::from_file(&path) {
                Ok(read) => assert!(is_fine && read == Credentials::parse(TEXT).unwrap()),
                Err(error) => {
                    assert!(!is_fine, "{mode:o}: {error}");
                    assert!(error.to_string().contains("0400 or 0600"), "{error}");
                }
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "key:hush\n").unwrap();
        let refusal = Credentials::from_file(&path).unwrap_err().to_string();
        assert!(refusal.contains("key:secret:region") && !refusal.contains("hush"));
        assert!(Credentials::from_file(&scratch.path("nowhere")).is_err());
    }
}
