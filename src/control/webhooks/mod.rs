//! Callbacks: what happens, posted to the URLs of the configuration, signed, each room's events in their order.
//!
//! ```text
//! log of events ─▶ courier, one for each form ─▶ form ─▶ plan ─▶ poster ─▶ connector ─▶ receiver
//!      ▲                │                                 │
//!      └─ read after ───┴── progress on disk              └─▶ dead letters on disk
//! ```
//!
//! The log on disk is the queue: a courier keeps a bounded part of it in memory, and on disk no more than how far it has
//! come. Each event is delivered at least once; `x-event-id`, its number over all rooms, tells a receiver which it has
//! had. What neither URL takes becomes a dead letter, what leaves the log before it is delivered is told by a `lost`.
//!
//! An answer of 2xx is a delivery. 400, 410, 413, 415 and 422 judge the event itself, which dies when every URL says so;
//! all other answers, redirects too, are of the receiver's state and are tried again until the event is too old.

mod address;
mod connect;
mod counters;
mod courier;
mod folder;
mod forms;
mod plan;
mod poster;
mod ranges;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use address::Kind;
pub use counters::{Counters, Failure, OfForm, read};
pub use forms::Form;

use crate::config::{Config, Urls};
use crate::control::events::{EventLog, KINDS, SNAPSHOT};
use crate::control::parts::{self, Part};
use crate::control::process;
use crate::control::signature::SigningKey;
use connect::{Connector, of_the_machine};
use courier::Courier;
use folder::Folder;
use plan::{Limits, Plan, Progress};
use poster::{Poster, Signer, tls};
use target::{Allowed, BadTarget, Target};

/// Events that wait in memory, whatever their size.
const EVENTS_MAX: usize = 16_384;

/// On top of its patience, what a courier may take to write down how far it has come.
const GRACE: Duration = Duration::from_secs(1);

const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What is wrong with the configuration of callbacks. A URL is not shown, as it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("{key} {wrong}.")]
    Url { key: &'static str, wrong: BadTarget },
    #[error(
        "webhooks.allow has {0:?}, but each entry must be a host's name, an IP address or a network as 10.0.0.0/8."
    )]
    Allow(String),
    #[error("webhooks.types has {0:?}, but the types are {types}.", types = types().collect::<Vec<_>>().join(", "))]
    Type(String),
    #[error("webhooks.ca_file {path} cannot be used: {error}.")]
    Authorities { path: String, error: io::Error },
    #[error("webhooks.ca_file is empty, but the certificates of the machine cannot be read: {0}.")]
    Machine(io::Error),
    #[error("{key} {path} {wrong}.")]
    Secret {
        key: &'static str,
        path: String,
        wrong: String,
    },
    #[error("webhooks.dir {path} cannot be used: {error}.")]
    Dir { path: String, error: io::Error },
}

/// Callbacks as they were configured, checked.
pub struct Settings {
    receivers: Vec<Receiver>,
    signer: Signer,
    poster: Poster,
    limits: Limits,
    dir: PathBuf,
}

/// Both URLs of one form.
#[derive(Clone)]
struct Receiver {
    form: Form,
    primary: Target,
    fallback: Option<Target>,
    /// Of events; empty: all.
    types: Vec<String>,
}

/// Couriers at work.
#[derive(Default)]
pub struct Webhooks {
    couriers: Vec<JoinHandle<()>>,
    signer: Option<watch::Sender<Signer>>,
    /// Until when they may deliver what there is, once they are to stop.
    stopping: Option<watch::Sender<Option<Instant>>>,
}

impl Settings {
    /// `None` where no URL is set.
    pub fn read(config: &Config) -> Result<Option<Settings>, WebhookError> {
        let webhooks = &config.webhooks;
        let allowed =
            Allowed::parse(&webhooks.allow).map_err(|entry| WebhookError::Allow(entry.to_owned()))?;
        let is_unknown = |kind: &&String| types().all(|known| known != kind.as_str());
        if let Some(unknown) = webhooks.types.iter().find(is_unknown) {
            return Err(WebhookError::Type(unknown.clone()));
        }
        let target = |key, url: &str| {
            Target::parse(url, &allowed, webhooks.allow_http)
                .map_err(|wrong| WebhookError::Url { key, wrong })
        };
        let receiver = |form, urls: &Urls, [primary, fallback]: [&'static str; 2], types| {
            Ok(Receiver {
                form,
                primary: target(primary, &urls.primary)?,
                fallback: urls
                    .fallback
                    .as_deref()
                    .map(|url| target(fallback, url))
                    .transpose()?,
                types,
            })
        };
        let mut receivers = Vec::new();
        if let Some(urls) = &webhooks.events {
            let keys = ["webhooks.events_url", "webhooks.events_fallback_url"];
            receivers.push(receiver(Form::Events, urls, keys, webhooks.types.clone())?);
        }
        if let Some(urls) = &webhooks.platform {
            let keys = ["webhooks.platform_url", "webhooks.platform_fallback_url"];
            receivers.push(receiver(Form::Platform, urls, keys, Vec::new())?);
        }
        let Some(signer) = signer(config)?.filter(|_| !receivers.is_empty()) else {
            return Ok(None);
        };
        let is_tls = receivers.iter().flat_map(Receiver::targets).any(Target::is_tls);
        let tls = tls(webhooks.ca_file.as_deref(), is_tls).map_err(|error| match &webhooks.ca_file {
            Some(path) => WebhookError::Authorities {
                path: path.display().to_string(),
                error,
            },
            None => WebhookError::Machine(error),
        })?;
        let default_dir = || config.recording.dir.join(".webhooks");
        Ok(Some(Settings {
            receivers,
            signer,
            poster: Poster::new(
                Connector::new(Arc::new(allowed), of_the_machine()),
                tls,
                webhooks.timeout,
            ),
            limits: Limits {
                concurrency: webhooks.concurrency,
                bytes: webhooks.queue_bytes,
                events: EVENTS_MAX,
                back_off_min: BACK_OFF_MIN,
                back_off_max: BACK_OFF_MAX,
                give_up_after: webhooks.give_up_after,
            },
            dir: webhooks.dir.clone().unwrap_or_else(default_dir),
        }))
    }
}

impl Receiver {
    fn targets(&self) -> impl Iterator<Item = &Target> {
        [Some(&self.primary), self.fallback.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl Webhooks {
    /// Goes on where a predecessor was; the first time, with what happens from now on.
    pub fn start(
        settings: Option<Settings>,
        log: &EventLog,
        counters: &Arc<Counters>,
    ) -> Result<Webhooks, WebhookError> {
        let Some(settings) = settings else {
            return Ok(Webhooks::default());
        };
        let in_folder = |error| WebhookError::Dir {
            path: settings.dir.display().to_string(),
            error,
        };
        let folder = Arc::new(Folder::open(&settings.dir).map_err(in_folder)?);
        let dead = Arc::new(Mutex::new(folder.dead_letters()));
        let (stopping, is_stopping) = watch::channel(None);
        let (signer, current_signer) = watch::channel(settings.signer);
        let mut couriers = Vec::new();
        let Settings { limits, poster, .. } = settings;
        for receiver in settings.receivers {
            let form = receiver.form;
            if folder.progress(form).map_err(in_folder)?.is_none() {
                let first = Progress {
                    read_to: log.newest(),
                    ..Progress::default()
                };
                folder.save(form, &first).map_err(in_folder)?;
            }
            let (log, poster, signer) = (log.clone(), poster.clone(), current_signer.clone());
            let (folder, dead) = (Arc::clone(&folder), Arc::clone(&dead));
            let (counters, is_stopping) = (Arc::clone(counters), is_stopping.clone());
            let mut stops = is_stopping.clone();
            let over = async move {
                // Whoever says so is gone where all is.
                let _ = stops.wait_for(Option::is_some).await;
            };
            let begin = move || {
                let progress = match folder.progress(form) {
                    Ok(progress) => progress.unwrap_or_default(),
                    Err(error) => {
                        tracing::error!(form = form.name(), %error, "callbacks wait for the next start");
                        return None;
                    }
                };
                let plan = Plan::new(limits, receiver.fallback.is_some(), fastrand::u64(..), &progress);
                let courier = Courier::new(courier::Parts {
                    receiver: receiver.clone(),
                    plan,
                    log: log.clone(),
                    poster: poster.clone(),
                    signer: signer.clone(),
                    folder: Arc::clone(&folder),
                    dead: Arc::clone(&dead),
                    counters: Arc::clone(&counters),
                });
                Some(courier.run(is_stopping.clone()))
            };
            couriers.push(tokio::spawn(parts::renewed(
                Part::Courier,
                parts::REST_MIN,
                over,
                begin,
            )));
        }
        Ok(Webhooks {
            couriers,
            signer: Some(signer),
            stopping: Some(stopping),
        })
    }

    /// Another secret from the next post on.
    pub fn replace_signer(&self, signer: Option<Signer>) {
        if let (Some(current), Some(signer)) = (&self.signer, signer) {
            current.send_replace(signer);
        }
    }

    /// Delivers what there is as long as that goes well, within this patience. What is left is for the next start. A
    /// courier that a disk holds up is left behind.
    pub async fn stop(self, patience: Duration) {
        let until = Instant::now() + patience;
        if let Some(stopping) = &self.stopping {
            stopping.send_replace(Some(until));
        }
        for courier in self.couriers {
            match tokio::time::timeout_at(until + GRACE, courier).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::error!("callbacks have failed"),
                Err(_) => {
                    tracing::error!("callbacks do not stop in time: what they are at may be sent twice")
                }
            }
        }
    }
}

/// The types of events that are posted.
fn types() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().filter(|kind| *kind != SNAPSHOT)
}

/// Who signs by the configuration; `None` where nobody has to.
pub fn signer(config: &Config) -> Result<Option<Signer>, WebhookError> {
    let Some(application) = &config.webhooks.key else {
        return Ok(None);
    };
    let (key, path) = match (&config.webhooks.secret_file, &config.auth.keys_file) {
        (Some(path), _) => ("webhooks.secret_file", path),
        (None, Some(path)) => ("auth.keys_file", path),
        (None, None) => return Ok(None),
    };
    let secret = secret(path, application).map_err(|wrong| WebhookError::Secret {
        key,
        path: path.display().to_string(),
        wrong,
    })?;
    Ok(Some(Signer {
        application: application.clone(),
        key: SigningKey::new(&secret),
    }))
}

/// The first secret of the key in a file of lines `key:secret[:role]`.
fn secret(path: &Path, key: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error| format!("cannot be read: {error}");
    if let Some(mode) = process::exposing_mode(&std::fs::metadata(path).map_err(cannot)?) {
        return Err(format!(
            "has mode {mode:04o}, but must be readable by its owner alone (0400 or 0600; 0640 if it is root's and the daemon is not)"
        ));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(cannot)?);
    let mut lines = text.lines().map(|line| line.trim().split(':'));
    let secret = lines.find_map(|mut parts| (parts.next() == Some(key)).then(|| parts.next()));
    let Some(Some(secret)) = secret else {
        return Err("has no secret for webhooks.key".to_owned());
    };
    match STANDARD.decode(secret) {
        Ok(secret) if !secret.is_empty() => Ok(Zeroizing::new(secret)),
        _ => Err("has a secret for webhooks.key that is empty or not base64".to_owned()),
    }
}
