//! The keys file: who has which secrets and which role.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::usage::Usage;
use super::{Role, SigningKey};
use crate::control::process;

/// So that an old secret holds until every client has the new one.
const SECRETS_MAX: usize = 2;

const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

/// The keys in force.
#[derive(Default)]
pub struct Keys(HashMap<Arc<str>, Arc<Key>>);

pub struct Key {
    pub name: Arc<str>,
    pub role: Role,
    secrets: Vec<Secret>,
    pub usage: Arc<Usage>,
}

/// What a secret is recognised by. Its own bytes are not kept.
struct Secret {
    /// Of it as written.
    digest: Seal,
    signs: SigningKey,
}

/// SHA-256 of a secret: by it one is known again, and nothing else. Not to be logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seal([u8; 32]);

impl Keys {
    /// Reads a keys file: `key:secret[:role]` a line, `#` comments; the secret in base64; the role is `control` where
    /// none is written. A key may stand on two lines with two secrets. Refuses a file that others can read. `usages`
    /// are what keys have used so far.
    pub fn read(path: &Path, usages: &HashMap<Arc<str>, Arc<Usage>>) -> Result<Keys, KeysError> {
        let text = secret_text(path).map_err(|wrong| KeysError(format!("The keys file {wrong}.")))?;
        Keys::parse(&text, usages).map_err(|(line, wrong)| {
            KeysError(format!("The keys file {}, line {line}: {wrong}.", path.display()))
        })
    }

    pub fn parse(text: &str, usages: &HashMap<Arc<str>, Arc<Usage>>) -> Result<Keys, (usize, &'static str)> {
        let mut keys: HashMap<Arc<str>, Key> = HashMap::new();
        for (line, entry) in text.lines().enumerate() {
            let entry = entry.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let refuse = |wrong| (line + 1, wrong);
            let mut parts = entry.split(':');
            let (Some(name), Some(secret), role, None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(refuse("expected key:secret or key:secret:role"));
            };
            let role = match role {
                None => Role::Control,
                Some(role) => {
                    Role::named(role).ok_or_else(|| refuse("the role must be read, control or admin"))?
                }
            };
            if name.is_empty() {
                return Err(refuse("the key is empty"));
            }
            let decoded = STANDARD
                .decode(secret)
                .map(Zeroizing::new)
                .map_err(|_| refuse("the secret must be base64"))?;
            if decoded.is_empty() {
                return Err(refuse("the secret is empty"));
            }
            let secret = Secret {
                digest: digest(secret.as_bytes()),
                signs: SigningKey::new(&decoded),
            };
            let name: Arc<str> = name.into();
            let key = keys.entry(Arc::clone(&name)).or_insert_with(|| Key {
                role,
                secrets: Vec::new(),
                usage: usages.get(&name).cloned().unwrap_or_default(),
                name,
            });
            if key.role != role {
                return Err(refuse("the key stands there with another role"));
            }
            if key.secrets.iter().any(|known| known.digest == secret.digest) {
                return Err(refuse("the key stands there twice with the same secret"));
            }
            if key.secrets.len() == SECRETS_MAX {
                return Err(refuse("the key has two secrets already"));
            }
            key.secrets.push(secret);
        }
        match keys.is_empty() {
            true => Err((1, "there is no key in it")),
            false => Ok(Keys(
                keys.into_iter()
                    .map(|(name, key)| (name, Arc::new(key)))
                    .collect(),
            )),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, name: &str) -> Option<Arc<Key>> {
        self.0.get(name).cloned()
    }

    pub fn usages(&self) -> impl Iterator<Item = (Arc<str>, Arc<Usage>)> {
        self.0
            .values()
            .map(|key| (Arc::clone(&key.name), Arc::clone(&key.usage)))
    }
}

impl Key {
    /// A key that no secret opens, whatever is shown: its own is of chance, and nobody was told.
    pub fn decoy() -> Key {
        let mut chance = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *chance).expect("the system has randomness");
        Key {
            name: "".into(),
            role: Role::Read,
            secrets: vec![Secret {
                digest: Seal(*chance),
                signs: SigningKey::new(&*chance),
            }],
            usage: Arc::default(),
        }
    }

    /// Which of its secrets this is, as written in the file; all are tried.
    pub fn has(&self, secret: &[u8]) -> Option<Seal> {
        let shown = digest(secret);
        let is_one: bool = self
            .secrets
            .iter()
            .fold(Choice::from(0), |found, known| {
                found | known.digest.0.ct_eq(&shown.0)
            })
            .into();
        is_one.then_some(shown)
    }

    /// Which of its secrets verifies; all are tried.
    pub fn verifies(&self, verifies: impl Fn(&SigningKey) -> bool) -> Option<Seal> {
        self.secrets.iter().fold(None, |found, known| {
            let verifies = verifies(&known.signs);
            found.or(verifies.then_some(known.digest))
        })
    }

    /// Whether this is still one of its secrets.
    pub fn holds(&self, seal: &Seal) -> bool {
        self.secrets.iter().any(|known| known.digest == *seal)
    }
}

/// As keys are handed around: it does not show.
impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a secret")
    }
}

/// The text of a file that its owner alone may read, or root's group; the error says which file and what is wrong with it.
pub fn secret_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let cannot = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(cannot)?;
    if let Some(mode) = process::exposing_mode(&file.metadata().map_err(cannot)?) {
        return Err(format!(
            "{} has mode {mode:04o}, but must be readable by its owner alone (0400 or 0600; 0640 if it is root's and the daemon is not)",
            path.display()
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    Ok(text)
}

fn digest(secret: &[u8]) -> Seal {
    Seal(Sha256::digest(secret).into())
}
