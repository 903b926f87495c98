//! Who may ask, and how much.

use std::path::PathBuf;

use super::{ConfigError, Settings, s3};

#[derive(Debug, Clone)]
pub struct Auth {
    pub keys_file: Option<PathBuf>,
    /// Of one key; zero: no bound.
    pub requests_per_s: u32,
    /// Of one key; zero: no bound.
    pub concurrent_per_key: u32,
    /// Of one address; zero: no bound.
    pub failures_per_s: u32,
    /// `Basic` is taken although others may read it.
    pub basic_anywhere: bool,
}

/// TLS of both faces.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Certificate chain and key; `None`: no TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub client_ca_file: Option<PathBuf>,
    /// DNS names (lower case) and URIs of certificates, with their roles.
    pub client_roles: Vec<(String, String)>,
    pub client_required: bool,
}

impl Auth {
    pub(super) fn read(settings: &Settings) -> Result<Auth, ConfigError> {
        Ok(Auth {
            keys_file: settings.text("auth.keys_file")?.map(PathBuf::from),
            requests_per_s: settings.number("auth.requests_per_s", 0..=1_000_000)? as u32,
            concurrent_per_key: settings.number("auth.concurrent_per_key", 0..=1_000_000)? as u32,
            failures_per_s: settings.number("auth.failures_per_s", 0..=1_000_000)? as u32,
            basic_anywhere: settings.one_of("auth.basic", &["safe", "always"])? == "always",
        })
    }
}

impl Tls {
    pub(super) fn read(settings: &Settings) -> Result<Tls, ConfigError> {
        let file = |key| Ok(settings.text(key)?.map(PathBuf::from));
        let identity = match (file("tls.cert_file")?, file("tls.key_file")?) {
            (Some(chain), Some(key)) => Some((chain, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(settings.refuse("tls.key_file", "a file, because tls.cert_file is one"));
            }
            (None, Some(_)) => {
                return Err(settings.refuse("tls.cert_file", "a file, because tls.key_file is one"));
            }
        };
        let tls = Tls {
            identity,
            client_ca_file: file("tls.client_ca_file")?,
            client_roles: client_roles(settings)?,
            client_required: settings.switch("tls.client_required")?,
        };
        if tls.client_ca_file.is_some() && tls.identity.is_none() {
            return Err(settings.refuse("tls.client_ca_file", "empty unless tls.cert_file is set"));
        }
        if tls.client_ca_file.is_some() && tls.client_roles.is_empty() {
            return Err(settings.refuse(
                "tls.client_roles",
                "a list of name=role, because tls.client_ca_file is set",
            ));
        }
        if tls.client_required && tls.client_ca_file.is_none() {
            return Err(settings.refuse("tls.client_required", "false unless tls.client_ca_file is set"));
        }
        Ok(tls)
    }
}

/// A DNS name is compared without regard to case; a URI, which has a scheme, as it is.
fn client_roles(settings: &Settings) -> Result<Vec<(String, String)>, ConfigError> {
    let key = "tls.client_roles";
    let refuse = || {
        settings.refuse(
            key,
            "a list of \"name=role\", each DNS name or URI once, the role read, control or admin",
        )
    };
    let mut roles: Vec<(String, String)> = Vec::new();
    for entry in s3::texts(settings, key)? {
        let (name, role) = entry.rsplit_once('=').ok_or_else(refuse)?;
        let name = match name.contains("://") {
            true => name.to_owned(),
            false => name.to_ascii_lowercase(),
        };
        let is_new = roles.iter().all(|(known, _)| *known != name);
        if name.is_empty() || !matches!(role, "read" | "control" | "admin") || !is_new {
            return Err(refuse());
        }
        roles.push((name, role.to_owned()));
    }
    Ok(roles)
}
