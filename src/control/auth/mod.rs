//! Who may ask: keys of a file, or certificates of TLS; what each may do, and how often.
//!
//! ```text
//! what is shown ─▶ may it be tried? (rate of the key, failures from the address) ─▶ verified ─▶ an identity, in its bounds
//! ```
//!
//! A request shows a key by `Basic` or by a signature, or its connection a certificate; everything behind knows
//! identities only. What is over a limit is refused before anything is computed for it. Secrets are compared in constant
//! time and never shown, logged or kept in clear; a key that does not exist costs what one with a wrong secret costs.
//! Allowances, failures and remembered signatures outlive a change of keys.

mod certificates;
mod failures;
mod keys;
mod nonces;
mod schemes;
#[cfg(test)]
mod tests;

mod usage;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::config;
use crate::control::refusal::{FORBIDDEN, Refusal, TOO_MANY_REQUESTS};
use crate::control::signature::SigningKey;
use crate::control::tally::RequestRefusal;
use certificates::Certificates;
use failures::Failures;
use keys::{Key, Keys, Seal};
use nonces::{Nonces, Signed};
use schemes::Claim;
use usage::Usage;

pub use keys::{KeysError, secret_text};
pub use schemes::Shown;
pub use usage::Admitted;

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
    /// The key, or the name of the certificate; empty where the daemon knows neither.
    pub key: String,
    pub role: Role,
}

/// Why a request is not let in, for the counters and for whoever asks.
#[derive(Debug)]
pub struct Denied {
    pub reason: RequestRefusal,
    pub refusal: Refusal,
}

/// What decides about requests.
pub struct Auth {
    rules: RwLock<Arc<Rules>>,
    failures: Failures,
    nonces: Mutex<Nonces>,
    /// What a key that does not exist is verified by.
    decoy: Key,
    changes: watch::Sender<()>,
}

/// When a request is looked at, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub monotonic: Instant,
    pub wall: Timestamp,
}

/// What a reload replaces.
struct Rules {
    keys: Keys,
    certificates: Certificates,
    limits: config::Auth,
}

/// Rules that are read and not yet in force.
pub struct RenewedAuth(Rules);

/// Who is said to ask, and what it is verified by.
enum Subject {
    Key(Arc<Key>),
    Stranger,
    Certificate(Arc<str>),
}

impl Auth {
    /// With the keys of the configuration's file. Without a file and without roles of certificates everyone is admin:
    /// `serve` sees to it that only this machine can ask then.
    pub fn new(auth: &config::Auth, tls: &config::Tls) -> Result<Auth, KeysError> {
        Ok(Auth {
            rules: RwLock::new(Arc::new(Rules::read(auth, tls, &HashMap::new())?)),
            failures: Failures::new(failures::NAMES_MAX),
            nonces: Mutex::new(Nonces::new(nonces::NONCES_MAX)),
            decoy: Key::decoy(),
            changes: watch::Sender::new(()),
        })
    }

    /// Reads keys and limits again; what keys have used so far goes on to count.
    pub fn renew(&self, auth: &config::Auth, tls: &config::Tls) -> Result<RenewedAuth, KeysError> {
        let before = self.rules();
        let usages = before.keys.usages().chain(before.certificates.usages()).collect();
        Rules::read(auth, tls, &usages).map(RenewedAuth)
    }

    /// Puts them in force, from the next request on.
    pub fn apply(&self, RenewedAuth(rules): RenewedAuth) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.changes.send_replace(());
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what is shown may be tried at all, which costs next to nothing; and whether that takes the body.
    pub fn may_try(&self, shown: &Shown<'_>, now: Instant) -> Result<bool, Denied> {
        let rules = self.rules();
        if rules.is_open() {
            return Ok(false);
        }
        let claim = shown.claim();
        let subject = rules.subject(&claim, shown);
        // The secret of a key is looked at in any case: whoever has the right one is not shut out by others with wrong
        // ones at the same address.
        let is_secret = matches!((&claim, &subject), (Ok(Claim::Basic { .. }), Subject::Key(_)));
        if !is_secret && !self.may_fail(&rules, &subject, shown, now) {
            return Err(failed_too_often(&rules));
        }
        if let Some(usage) = rules.usage(&subject) {
            usage.may_ask(rules.limits.requests_per_s, now)?;
        }
        Ok(matches!(claim, Ok(Claim::Signed { .. })))
    }

    /// Who asks, within its bounds until the answer is dropped. `body` is there where [`Auth::may_try`] wanted it.
    ///
    /// ```text
    /// a place ─▶ verified ─▶ its rate ─▶ the signature is used up
    /// ```
    pub fn identify(&self, shown: &Shown<'_>, body: &[u8], at: Moment) -> Result<Admitted, Denied> {
        let rules = self.rules();
        if rules.is_open() {
            let everyone = Identity {
                key: String::new(),
                role: Role::Admin,
            };
            return Ok(Admitted::new(everyone, None, None));
        }
        let claim = shown.claim();
        let subject = rules.subject(&claim, shown);
        let place = rules
            .usage(&subject)
            .map(|usage| usage.begin(&rules.limits))
            .transpose()?;
        let (identity, seal, signed) = self
            .verify(claim, &subject, &rules, shown, body, at.wall)
            .map_err(|denied| self.fail(denied, &rules, &subject, shown, at.monotonic))?;
        if let Some(place) = &place {
            place.count(rules.limits.requests_per_s, at.monotonic)?;
        }
        if let Some(signed) = signed {
            let per_s = rules.limits.requests_per_s;
            let taken = self.nonces().take(&identity.key, signed, per_s, at);
            taken.map_err(|denied| self.fail(denied, &rules, &subject, shown, at.monotonic))?;
        }
        Ok(Admitted::new(identity, seal, place))
    }

    /// Counts a failure. One too many is told as that.
    fn fail(
        &self,
        denied: Denied,
        rules: &Rules,
        subject: &Subject,
        shown: &Shown<'_>,
        now: Instant,
    ) -> Denied {
        if !self.may_fail(rules, subject, shown, now) {
            return failed_too_often(rules);
        }
        let name = subject.name(shown.address);
        self.failures.failed(name, rules.limits.failures_per_s, now);
        denied
    }

    fn may_fail(&self, rules: &Rules, subject: &Subject, shown: &Shown<'_>, now: Instant) -> bool {
        let name = subject.name(shown.address);
        self.failures.may_try(name, rules.limits.failures_per_s, now)
    }

    /// Who asks; with it the secret that shows it, and what of a signature is to be remembered.
    fn verify(
        &self,
        claim: Result<Claim<'_>, Denied>,
        subject: &Subject,
        rules: &Rules,
        shown: &Shown<'_>,
        body: &[u8],
        wall: Timestamp,
    ) -> Result<(Identity, Option<Seal>, Option<Signed>), Denied> {
        let key = match subject {
            Subject::Key(key) => key,
            _ => &self.decoy,
        };
        let (seal, signed) = match (claim?, subject) {
            (Claim::Nothing, Subject::Certificate(name)) => {
                return Ok((rules.certificates.identity(name)?, None, None));
            }
            (Claim::Nothing, _) => return Err(shown.nothing()),
            (Claim::Basic { secret, .. }, _) => {
                let seal = schemes::basic(key, &secret, shown, rules.limits.basic_anywhere)?;
                (seal, None)
            }
            (Claim::Signed { signature, .. }, _) => {
                let (seal, signed) = schemes::signed(key, signature, shown, body, wall)?;
                (seal, Some(signed))
            }
        };
        let identity = Identity {
            key: key.name.to_string(),
            role: key.role,
        };
        Ok((identity, Some(seal), signed))
    }

    /// Whether nobody has to say who asks.
    pub fn is_open(&self) -> bool {
        self.rules().is_open()
    }

    /// Whether whoever was let in so would still be: by the same secret of its key, or the name of its certificate.
    pub fn knows(&self, who: &Admitted) -> bool {
        let rules = self.rules();
        let name = &who.identity.key;
        rules.is_open()
            || match &who.seal {
                Some(seal) => rules.keys.get(name).is_some_and(|key| key.holds(seal)),
                None => rules.certificates.identity(name).is_ok(),
            }
    }

    /// Rings at each change of keys.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn read(
        auth: &config::Auth,
        tls: &config::Tls,
        usages: &HashMap<Arc<str>, Arc<Usage>>,
    ) -> Result<Rules, KeysError> {
        let keys = match &auth.keys_file {
            Some(path) => Keys::read(path, usages)?,
            None => Keys::default(),
        };
        Ok(Rules {
            keys,
            certificates: Certificates::new(tls, usages),
            limits: auth.clone(),
        })
    }

    /// Nobody has to say who asks.
    fn is_open(&self) -> bool {
        self.keys.is_empty() && self.certificates.is_empty()
    }

    fn subject(&self, claim: &Result<Claim<'_>, Denied>, shown: &Shown<'_>) -> Subject {
        let name = match claim {
            Ok(Claim::Basic { key, .. }) => key.as_str(),
            Ok(Claim::Signed { key, .. }) => key,
            Ok(Claim::Nothing) => {
                return match self.certificates.name_among(shown.certificate) {
                    Some(name) => Subject::Certificate(name),
                    None => Subject::Stranger,
                };
            }
            Err(_) => return Subject::Stranger,
        };
        self.keys.get(name).map_or(Subject::Stranger, Subject::Key)
    }

    fn usage(&self, subject: &Subject) -> Option<Arc<Usage>> {
        match subject {
            Subject::Key(key) => Some(Arc::clone(&key.usage)),
            Subject::Certificate(name) => self.certificates.usage(name),
            Subject::Stranger => None,
        }
    }
}

impl Subject {
    /// Failures are counted by address and by what was claimed there, so that one wrong client behind a proxy does not
    /// shut out the others.
    fn name(&self, address: IpAddr) -> failures::Name {
        match self {
            Subject::Key(key) => (address, Some(Arc::clone(&key.name))),
            Subject::Certificate(name) => (address, Some(Arc::clone(name))),
            Subject::Stranger => (address, None),
        }
    }
}

fn failed_too_often(rules: &Rules) -> Denied {
    Denied::too_many(
        RequestRefusal::AddressRate,
        format!(
            "More than {} requests a second from this address have failed to say who asks.",
            rules.limits.failures_per_s
        ),
    )
}

impl Denied {
    pub fn new(reason: RequestRefusal, code: u32, message: impl Into<String>) -> Denied {
        Denied {
            reason,
            refusal: Refusal::new(code, message),
        }
    }

    /// To be asked again in a second.
    pub fn too_many(reason: RequestRefusal, message: impl Into<String>) -> Denied {
        Denied {
            reason,
            refusal: Refusal {
                retry_after_s: Some(1),
                ..Refusal::new(TOO_MANY_REQUESTS, message)
            },
        }
    }
}

impl Moment {
    pub fn now() -> Moment {
        Moment {
            monotonic: Instant::now(),
            wall: Timestamp::now(),
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

impl Role {
    /// By its name.
    pub fn named(name: &str) -> Option<Role> {
        [Role::Read, Role::Control, Role::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Control => "control",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Keys as they are handed around; secrets do not show.
impl fmt::Debug for Auth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.rules().keys.len())
    }
}
