//! Where events are sent by callbacks, and how long that is tried.

use std::path::PathBuf;
use std::time::Duration;

use super::s3::texts;
use super::{ConfigError, Settings};

#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Our event objects.
    pub events: Option<Urls>,
    /// The platform's `notify` and `pie`.
    pub platform: Option<Urls>,
    pub key: Option<String>,
    /// `None`: `auth.keys_file`.
    pub secret_file: Option<PathBuf>,
    /// `None`: the authorities of the machine.
    pub ca_file: Option<PathBuf>,
    /// Of our events; empty: all.
    pub types: Vec<String>,
    pub allow: Vec<String>,
    pub allow_http: bool,
    pub timeout: Duration,
    pub give_up_after: Duration,
    pub concurrency: usize,
    pub queue_bytes: usize,
    /// `None`: below `recording.dir`.
    pub dir: Option<PathBuf>,
}

/// They may hold a secret in path or query.
#[derive(Clone)]
pub struct Urls {
    pub primary: String,
    pub fallback: Option<String>,
}

impl Webhooks {
    pub(super) fn read(settings: &Settings) -> Result<Webhooks, ConfigError> {
        let webhooks = Webhooks {
            events: urls(settings, "webhooks.events_url", "webhooks.events_fallback_url")?,
            platform: urls(
                settings,
                "webhooks.platform_url",
                "webhooks.platform_fallback_url",
            )?,
            key: settings.text("webhooks.key")?,
            secret_file: settings.text("webhooks.secret_file")?.map(PathBuf::from),
            ca_file: settings.text("webhooks.ca_file")?.map(PathBuf::from),
            types: texts(settings, "webhooks.types")?,
            allow: texts(settings, "webhooks.allow")?,
            allow_http: settings.switch("webhooks.allow_http")?,
            timeout: Duration::from_secs(settings.number("webhooks.timeout_s", 1..=60)? as u64),
            give_up_after: Duration::from_secs(
                settings.number("webhooks.give_up_after_s", 0..=604_800)? as u64
            ),
            concurrency: settings.number("webhooks.concurrency", 1..=1_024)? as usize,
            queue_bytes: (settings.number("webhooks.queue_mib", 1..=1_024)? as usize) << 20,
            dir: settings.text("webhooks.dir")?.map(PathBuf::from),
        };
        let is_on = webhooks.events.is_some() || webhooks.platform.is_some();
        if is_on && webhooks.key.is_none() {
            return Err(settings.refuse(
                "webhooks.key",
                "the application key that signs, where a URL is set",
            ));
        }
        if is_on && webhooks.secret_file.is_none() && settings.text("auth.keys_file")?.is_none() {
            return Err(settings.refuse(
                "webhooks.secret_file",
                "a file with the key's secret, where a URL is set and auth.keys_file is not",
            ));
        }
        Ok(webhooks)
    }
}

fn urls(settings: &Settings, primary: &str, fallback: &str) -> Result<Option<Urls>, ConfigError> {
    match (settings.text(primary)?, settings.text(fallback)?) {
        (Some(primary), fallback) => Ok(Some(Urls { primary, fallback })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ConfigError(format!("{fallback} is set, but {primary} is not."))),
    }
}

impl std::fmt::Debug for Urls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Urls(…)")
    }
}
