//! Who may ask: keys of a file, what each may do, how often.
//!
//! A request shows its key by some scheme (so far `Basic`); the scheme yields an [`Identity`], and everything behind
//! it knows identities only. Secrets are compared in constant time and never shown, logged or kept in clear longer
//! than the comparison takes.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::control::allowance::Allowance;
use crate::control::refusal::{BAD_CREDENTIALS, FORBIDDEN, NO_AUTHORIZATION, Refusal, TOO_MANY_REQUESTS};

/// What a key may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look, change nothing.
    Read,
    /// Legs, rooms, recordings.
    Control,
    Admin,
}

/// Whoever asks, once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key; empty where the daemon has none.
    pub key: String,
    pub role: Role,
}

/// The keys in force. With none, everyone is admin: `serve` sees to it that only this machine can ask then.
#[derive(Default)]
pub struct Keys {
    keys: HashMap<String, Key>,
    requests_per_s: u32,
    /// What requests without a valid key share.
    strangers: Allowance,
}

struct Key {
    /// SHA-256 of the secret as written.
    secret: [u8; 32],
    role: Role,
    allowance: Allowance,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

impl Keys {
    /// Reads a keys file: `key:secret[:role]` a line, `#` comments; the secret in base64; the role is `control` where
    /// none is written. Refuses a file that others can read.
    pub fn read(path: &Path, requests_per_s: u32) -> Result<Keys, KeysError> {
        let cannot = |error| {
            KeysError(format!(
                "The keys file {} cannot be read: {error}.",
                path.display()
            ))
        };
        let mode = std::fs::metadata(path).map_err(cannot)?.permissions().mode() & 0o777;
        if mode & !0o600 != 0 {
            return Err(KeysError(format!(
                "The keys file {} has mode {mode:04o}, but must be readable by its owner alone (0400 or 0600).",
                path.display()
            )));
        }
        Keys::parse(&std::fs::read_to_string(path).map_err(cannot)?, requests_per_s).map_err(
            |(line, wrong)| KeysError(format!("The keys file {}, line {line}: {wrong}.", path.display())),
        )
    }

    fn parse(text: &str, requests_per_s: u32) -> Result<Keys, (usize, &'static str)> {
        let mut keys = HashMap::new();
        for (line, entry) in text.lines().enumerate() {
            let entry = entry.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let refuse = |wrong| (line + 1, wrong);
            let mut parts = entry.split(':');
            let (Some(key), Some(secret), role, None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(refuse("expected key:secret or key:secret:role"));
            };
            let role = match role {
                Some("read") => Role::Read,
                None | Some("control") => Role::Control,
                Some("admin") => Role::Admin,
                Some(_) => return Err(refuse("the role must be read, control or admin")),
            };
            if key.is_empty() {
                return Err(refuse("the key is empty"));
            }
            if STANDARD.decode(secret).is_ok_and(|secret| secret.is_empty()) {
                return Err(refuse("the secret is empty"));
            }
            if STANDARD.decode(secret).is_err() {
                return Err(refuse("the secret must be base64"));
            }
            let key_entry = Key {
                secret: digest(secret.as_bytes()),
                role,
                allowance: Allowance::default(),
            };
            if keys.insert(key.to_owned(), key_entry).is_some() {
                return Err(refuse("the key stands there twice"));
            }
        }
        match keys.is_empty() {
            true => Err((1, "there is no key in it")),
            false => Ok(Keys {
                keys,
                requests_per_s,
                strangers: Allowance::default(),
            }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who sends this `Authorization` header, unless it asks too often.
    pub fn identify(&self, authorization: Option<&str>) -> Result<Identity, Refusal> {
        if self.keys.is_empty() {
            return Ok(Identity {
                key: String::new(),
                role: Role::Admin,
            });
        }
        match self.check(authorization) {
            Ok((name, key)) => {
                self.allow(&key.allowance)?;
                Ok(Identity {
                    key: name.to_owned(),
                    role: key.role,
                })
            }
            Err(refusal) => {
                self.allow(&self.strangers)?;
                Err(refusal)
            }
        }
    }

    fn check(&self, authorization: Option<&str>) -> Result<(&str, &Key), Refusal> {
        let header = authorization
            .ok_or_else(|| Refusal::new(NO_AUTHORIZATION, "The `Authorization` header is missing."))?;
        let basic = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, credentials)| STANDARD.decode(credentials.trim()).ok())
            .and_then(|decoded| String::from_utf8(decoded).ok());
        let Some((name, secret)) = basic.as_deref().and_then(|text| text.split_once(':')) else {
            return Err(Refusal::new(
                NO_AUTHORIZATION,
                "The `Authorization` header must be `Basic` with key:secret.",
            ));
        };
        let shown = digest(secret.as_bytes());
        // An unknown key costs the same comparison as a known one.
        let known = self.keys.get_key_value(name);
        let expected = known.map_or([0; 32], |(_, key)| key.secret);
        match known {
            Some((name, key)) if equal_in_constant_time(&shown, &expected) => Ok((name, key)),
            _ => Err(Refusal::new(BAD_CREDENTIALS, "The key or the secret is wrong.")),
        }
    }

    fn allow(&self, allowance: &Allowance) -> Result<(), Refusal> {
        match self.requests_per_s == 0 || allowance.take(self.requests_per_s, Instant::now()) {
            true => Ok(()),
            false => Err(Refusal {
                retry_after_s: Some(1),
                ..Refusal::new(
                    TOO_MANY_REQUESTS,
                    format!("More than {} requests a second.", self.requests_per_s),
                )
            }),
        }
    }
}

impl Identity {
    /// Whoever asks for what is open to all.
    pub fn nobody() -> Identity {
        Identity {
            key: String::new(),
            role: Role::Read,
        }
    }

    pub fn require(&self, role: Role) -> Result<(), Refusal> {
        match self.role >= role {
            true => Ok(()),
            false => Err(Refusal::new(
                FORBIDDEN,
                format!("This key may not do that: it takes the role {role}."),
            )),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Role::Read => "read",
            Role::Control => "control",
            Role::Admin => "admin",
        })
    }
}

/// Keys as they are handed around; secrets do not show.
impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.keys.len())
    }
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn equal_in_constant_time(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0u8, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# who\nviewer:c2VjcmV0:read\nswitch:czNjcjN0\n\nroot:cm9vdA==:admin\n";

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn a_key_with_its_secret_has_its_role_and_nothing_else_is_let_in() {
        let keys = Keys::parse(FILE, 0).unwrap();
        for (credentials, role) in [
            ("viewer:c2VjcmV0", Role::Read),
            ("switch:czNjcjN0", Role::Control),
            ("root:cm9vdA==", Role::Admin),
        ] {
            assert_eq!(keys.identify(Some(&basic(credentials))).unwrap().role, role);
        }
        assert_eq!(
            keys.identify(Some(&basic("viewer:c2VjcmV0").replace("Basic", "bAsIc")))
                .unwrap()
                .role,
            Role::Read
        );
        for (header, code) in [
            (None, 40100),
            (Some(basic("nobody")), 40100),
            (Some("Bearer x".into()), 40100),
            (Some("Basic !".into()), 40100),
            (Some(basic("viewer:c2VjcmV1")), 40108),
            (Some(basic("viewer:")), 40108),
            (Some(basic(":")), 40108),
            (Some(basic("stranger:c2VjcmV0")), 40108),
        ] {
            assert_eq!(
                keys.identify(header.as_deref()).unwrap_err().code,
                code,
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_role_does_what_it_includes() {
        let reader = Identity {
            key: "viewer".into(),
            role: Role::Read,
        };
        assert!(reader.require(Role::Read).is_ok());
        assert_eq!(reader.require(Role::Control).unwrap_err().code, 40300);
        assert!(
            Identity {
                key: "root".into(),
                role: Role::Admin
            }
            .require(Role::Control)
            .is_ok()
        );
    }

    #[test]
    fn a_file_that_is_wrong_or_open_to_others_is_refused_with_its_line_but_not_its_content() {
        for (text, line) in [
            ("", 1),
            ("a", 1),
            ("a:!!:read", 1),
            ("\na::read", 2),
            (":c2VjcmV0", 1),
            ("a:c2VjcmV0:boss", 1),
            ("a:c2VjcmV0\na:c2VjcmV0", 2),
            ("a:c2VjcmV0:read:more", 1),
        ] {
            let (at, wrong) = Keys::parse(text, 0).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(!wrong.contains("c2VjcmV0"));
        }
        let path = std::env::temp_dir().join(format!("mixminus-keys-{}", std::process::id()));
        std::fs::write(&path, FILE).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = Keys::read(&path, 0).unwrap_err().to_string();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let closed = Keys::read(&path, 0);
        std::fs::remove_file(&path).unwrap();
        assert!(open.contains("mode 0640"), "{open}");
        assert_eq!(closed.unwrap().keys.len(), 3);
    }

    #[test]
    fn a_key_has_its_requests_a_second_whatever_strangers_do() {
        let keys = Keys::parse(FILE, 5).unwrap();
        let codes: Vec<u32> = (0..7)
            .filter_map(|_| keys.identify(None).err())
            .map(|refusal| refusal.code)
            .collect();
        assert_eq!(codes[..5], [40100; 5]);
        assert_eq!(codes[6], 42900);
        assert!(keys.identify(Some(&basic("viewer:c2VjcmV0"))).is_ok());
    }
}
