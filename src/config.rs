//! What the daemon was told before it started: a TOML file, over it the environment, over it `--set`.
//!
//! `config/default.toml` is built in and is the source of keys and defaults, so the documentation cannot differ from
//! the program. Nothing here touches the machine: a bad key or value is one sentence, before any port is bound.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

mod admission;
mod auth;
mod events;
mod s3;
mod webhooks;

pub use admission::{Admission, Calibrate};
pub use auth::{Auth, Tls};
pub use events::Events;
pub use s3::{Encryption, Endpoint, S3};
pub use webhooks::{Urls, Webhooks};

/// Documentation and defaults of every key.
pub const DEFAULT: &str = include_str!("../config/default.toml");

#[derive(Debug, Clone)]
pub struct Config {
    pub http: Http,
    pub grpc: Grpc,
    pub rtp: Rtp,
    pub engine: Engine,
    pub admission: Admission,
    pub opus: Opus,
    pub recording: Recording,
    pub s3: S3,
    pub auth: Auth,
    pub tls: Tls,
    pub media: Media,
    pub events: Events,
    pub webhooks: Webhooks,
    pub drain: Drain,
    pub log: Log,
    settings: Settings,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    pub connections: usize,
    /// From one address.
    pub connections_per_address: usize,
    /// Of events and of recordings, of both faces.
    pub streams: usize,
}

impl Http {
    /// Connections that may wait for a place at a time.
    pub const WAITING_MAX: usize = 64;
    /// Places beyond `connections` for peers that are this machine: strangers cannot keep its probes out.
    pub const KEPT: usize = 16;
}

#[derive(Debug, Clone)]
pub struct Grpc {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Rtp {
    pub bind: Vec<IpAddr>,
    /// One per bound family: what SDP says, the bound address where nothing else was told.
    pub advertise: Vec<IpAddr>,
    pub ports: RangeInclusive<u16>,
    pub dscp: u8,
    /// Seconds; zero: never.
    pub media_timeout_s: u64,
    pub end_on_media_timeout: bool,
    /// How long a released port must have been quiet before another leg gets it.
    pub port_rest: Duration,
}

#[derive(Debug, Clone)]
pub struct Engine {
    pub threads: usize,
    pub legs: usize,
    pub rooms: usize,
}

#[derive(Debug, Clone)]
pub struct Opus {
    /// Bits per second; `None` goes by the bandwidth in use.
    pub bitrate: Option<u32>,
    pub complexity: u8,
}

#[derive(Debug, Clone)]
pub struct Recording {
    pub dir: PathBuf,
    /// Of a request that names none.
    pub destination: String,
}

#[derive(Debug, Clone)]
pub struct Media {
    pub library: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Drain {
    pub deadline: Duration,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub level: tracing::Level,
    pub json: bool,
    /// Lines a second of each place that logs; zero: no bound.
    pub per_s: u32,
}

/// One sentence: which key, which value, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    File(PathBuf),
    Environment(String),
    CommandLine,
}

impl Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => write!(out, "default"),
            Source::File(path) => write!(out, "file {}", path.display()),
            Source::Environment(name) => write!(out, "environment {name}"),
            Source::CommandLine => write!(out, "--set"),
        }
    }
}

impl Config {
    /// Reads the layers in order of precedence, lowest first. `environment` is every variable of the process,
    /// `sets` the `section.key=value` of the command line.
    pub fn load(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Config, ConfigError> {
        let mut settings = Settings::defaults();
        if let Some(path) = file {
            settings.read_file(path)?;
        }
        settings.read_environment(environment)?;
        for set in sets {
            settings.read_set(set)?;
        }
        Config::from_settings(settings)
    }

    /// What `config/default.toml` says.
    pub fn defaults() -> Config {
        Config::load(None, [], &[]).expect("a test holds that the defaults are valid")
    }

    /// The effective configuration as TOML, each value with where it came from.
    pub fn describe(&self) -> String {
        self.settings.describe()
    }

    fn from_settings(mut settings: Settings) -> Result<Config, ConfigError> {
        let s = &mut settings;
        let bind = s.addresses("rtp.bind")?;
        if bind.is_empty() {
            return Err(s.refuse(
                "rtp.bind",
                "an IP address, or a list of one IPv4 and one IPv6 address",
            ));
        }
        let advertise = advertised(s, &bind)?;
        let threads = match s.number("engine.threads", 0..=256)? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads as usize,
        };
        let log_level = s.one_of("log.level", &["error", "warn", "info", "debug", "trace"])?;
        let log_format = s.one_of("log.format", &["text", "json"])?;
        Ok(Config {
            http: Http {
                listen: s.socket_address("http.listen")?,
                connections: s.number("http.connections", 1..=100_000)? as usize,
                connections_per_address: s.number("http.connections_per_address", 1..=100_000)? as usize,
                streams: s.number("http.streams", 1..=100_000)? as usize,
            },
            grpc: Grpc {
                listen: s.socket_address("grpc.listen")?,
            },
            rtp: Rtp {
                bind,
                advertise,
                ports: s.ports("rtp.ports")?,
                dscp: s.number("rtp.dscp", 0..=63)? as u8,
                media_timeout_s: s.number("rtp.media_timeout_s", 0..=86_400)? as u64,
                end_on_media_timeout: s.switch("rtp.end_on_media_timeout")?,
                port_rest: Duration::from_secs(s.number("rtp.port_rest_s", 0..=3_600)? as u64),
            },
            engine: Engine {
                threads,
                legs: s.number("engine.legs", 1..=1_000_000)? as usize,
                rooms: s.number("engine.rooms", 1..=1_000_000)? as usize,
            },
            admission: Admission::read(s)?,
            opus: Opus {
                bitrate: opus_bitrate(s)?,
                complexity: s.number("opus.complexity", 0..=10)? as u8,
            },
            recording: Recording {
                dir: s
                    .text("recording.dir")?
                    .map(PathBuf::from)
                    .ok_or_else(|| s.refuse("recording.dir", "a directory"))?,
                destination: s3::destination(s)?,
            },
            s3: S3::read(s)?,
            auth: Auth::read(s)?,
            tls: Tls::read(s)?,
            media: Media {
                library: s.text("media.library")?.map(PathBuf::from),
            },
            events: Events::read(s)?,
            webhooks: Webhooks::read(s)?,
            drain: Drain {
                deadline: Duration::from_secs(s.number("drain.deadline_s", 0..=86_400)? as u64),
            },
            log: Log {
                level: log_level.parse().expect("the allowed levels are tracing's"),
                json: log_format == "json",
                per_s: s.number("log.per_s", 0..=1_000_000)? as u32,
            },
            settings,
        })
    }
}

/// Section and key that an environment variable sets. One without the double underscore is someone else's:
/// MIXMINUS_PORT comes from container platforms.
fn setting_of(variable: &str) -> Option<(&str, &str)> {
    variable.strip_prefix("MIXMINUS_")?.split_once("__")
}

/// The variables among these that are settings. Others may hold any bytes; one of ours has to be UTF-8.
pub fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| setting_of(name).is_some())
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError(format!(
                "The environment variable {name} is not UTF-8."
            ))),
        })
        .collect()
}

/// Every key there is, as `section.key`.
pub fn keys() -> Vec<String> {
    Settings::defaults().values.into_keys().collect()
}

fn opus_bitrate(settings: &Settings) -> Result<Option<u32>, ConfigError> {
    match settings.number("opus.bitrate", 0..=510_000)? {
        0 => Ok(None),
        1..6_000 => Err(settings.refuse("opus.bitrate", "0, or a whole number from 6000 to 510000")),
        bitrate => Ok(Some(bitrate as u32)),
    }
}

/// One address per bound family; an unspecified bound address (0.0.0.0) cannot stand in SDP.
fn advertised(settings: &mut Settings, bind: &[IpAddr]) -> Result<Vec<IpAddr>, ConfigError> {
    let told = settings.addresses("rtp.advertise")?;
    if let Some(stray) = told
        .iter()
        .find(|told| !bind.iter().any(|bound| bound.is_ipv4() == told.is_ipv4()))
    {
        return Err(ConfigError(format!(
            "rtp.advertise has {stray}, but rtp.bind has no address of that family."
        )));
    }
    bind.iter()
        .map(|bound| {
            let advertised = told
                .iter()
                .find(|told| told.is_ipv4() == bound.is_ipv4())
                .unwrap_or(bound);
            match advertised.is_unspecified() {
                false => Ok(*advertised),
                true => Err(ConfigError(format!(
                    "rtp.advertise must name the address that parties can reach, because rtp.bind is {bound}."
                ))),
            }
        })
        .collect()
}

/// Values by key, with where each came from.
#[derive(Debug, Clone)]
struct Settings {
    values: BTreeMap<String, Setting>,
}

#[derive(Debug, Clone)]
struct Setting {
    value: Value,
    /// As written in the environment or on the command line, where `recording.dir=2026` means a name.
    raw: Option<String>,
    source: Source,
}

impl Settings {
    fn defaults() -> Settings {
        let mut settings = Settings {
            values: BTreeMap::new(),
        };
        let table: toml::Table = DEFAULT.parse().expect("a test holds that default.toml is TOML");
        for (section, keys) in table {
            let keys = keys
                .as_table()
                .cloned()
                .expect("default.toml holds sections only");
            for (key, value) in keys {
                settings.values.insert(
                    format!("{section}.{key}"),
                    Setting {
                        value,
                        raw: None,
                        source: Source::Default,
                    },
                );
            }
        }
        settings
    }

    fn read_file(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ConfigError(format!(
                "The configuration file {} cannot be read: {error}.",
                path.display()
            ))
        })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError(format!(
                "The configuration file {} is not TOML: {}.",
                path.display(),
                error.message()
            ))
        })?;
        for (section, keys) in table {
            let Value::Table(keys) = keys else {
                return Err(self.unknown(&section));
            };
            for (key, value) in keys {
                self.put(
                    &format!("{section}.{key}"),
                    value,
                    None,
                    Source::File(path.clone()),
                )?;
            }
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, raw) in environment {
            let Some((section, key)) = setting_of(&name) else {
                continue;
            };
            let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
            self.put(&key, value_of(&raw), Some(raw), Source::Environment(name))?;
        }
        Ok(())
    }

    fn read_set(&mut self, set: &str) -> Result<(), ConfigError> {
        let (key, raw) = set
            .split_once('=')
            .ok_or_else(|| ConfigError(format!("--set {set:?} must have the form section.key=value.")))?;
        self.put(
            key.trim(),
            value_of(raw),
            Some(raw.to_owned()),
            Source::CommandLine,
        )
    }

    fn put(
        &mut self,
        key: &str,
        value: Value,
        raw: Option<String>,
        source: Source,
    ) -> Result<(), ConfigError> {
        if !self.values.contains_key(key) {
            return Err(self.unknown(key));
        }
        self.values.insert(key.to_owned(), Setting { value, raw, source });
        Ok(())
    }

    fn unknown(&self, key: &str) -> ConfigError {
        let section = key.split('.').next().unwrap_or(key);
        let in_section: Vec<&str> = self
            .values
            .keys()
            .map(String::as_str)
            .filter(|known| known.split('.').next() == Some(section))
            .collect();
        match in_section.is_empty() {
            false => ConfigError(format!(
                "{key} is not a configuration key; {section} has {}.",
                in_section.join(", ")
            )),
            true => {
                let mut sections: Vec<&str> = self
                    .values
                    .keys()
                    .filter_map(|key| key.split('.').next())
                    .collect();
                sections.dedup();
                ConfigError(format!(
                    "{key} is not a configuration key; the sections are {}.",
                    sections.join(", ")
                ))
            }
        }
    }

    fn setting(&self, key: &str) -> &Setting {
        self.values
            .get(key)
            .unwrap_or_else(|| panic!("default.toml lacks {key}"))
    }

    fn refuse(&self, key: &str, allowed: &str) -> ConfigError {
        let Setting { value, raw, source } = self.setting(key);
        let shown = raw.clone().unwrap_or_else(|| value.to_string());
        ConfigError(format!(
            "{key} is {shown} (from {source}), but must be {allowed}."
        ))
    }

    fn text_as_written(&self, key: &str) -> Option<String> {
        let setting = self.setting(key);
        match &setting.value {
            Value::String(text) => Some(text.clone()),
            _ => setting.raw.clone(),
        }
    }

    /// `None` for the empty string.
    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let text = self
            .text_as_written(key)
            .ok_or_else(|| self.refuse(key, "a string"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn number(&self, key: &str, allowed: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        self.setting(key)
            .value
            .as_integer()
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| {
                self.refuse(
                    key,
                    &format!("a whole number from {} to {}", allowed.start(), allowed.end()),
                )
            })
    }

    fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        self.setting(key)
            .value
            .as_bool()
            .ok_or_else(|| self.refuse(key, "true or false"))
    }

    fn one_of(&self, key: &str, allowed: &[&'static str]) -> Result<&'static str, ConfigError> {
        let text = self.text_as_written(key).unwrap_or_default();
        let found = allowed.iter().find(|allowed| **allowed == text);
        let named = |word: &&'static str| if word.is_empty() { "\"\"" } else { *word };
        found.copied().ok_or_else(|| {
            let named: Vec<_> = allowed.iter().map(named).collect();
            self.refuse(key, &format!("one of {}", named.join(", ")))
        })
    }

    fn socket_address(&self, key: &str) -> Result<SocketAddr, ConfigError> {
        self.text_as_written(key)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.refuse(key, "an IP address and port, as 127.0.0.1:8080 or [::1]:8080"))
    }

    /// At most one of each family, in the order given; none for the empty string.
    fn addresses(&self, key: &str) -> Result<Vec<IpAddr>, ConfigError> {
        let allowed = "an IP address, or a list of one IPv4 and one IPv6 address";
        let refuse = || self.refuse(key, allowed);
        let texts: Vec<String> = match &self.setting(key).value {
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(refuse)?,
            _ => self.text(key)?.into_iter().collect(),
        };
        let addresses: Vec<IpAddr> = texts
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| refuse())?;
        match addresses.as_slice() {
            [] | [_] => Ok(addresses),
            [first, second] if first.is_ipv4() != second.is_ipv4() => Ok(addresses),
            _ => Err(refuse()),
        }
    }

    fn ports(&self, key: &str) -> Result<RangeInclusive<u16>, ConfigError> {
        self.text_as_written(key)
            .and_then(|text| {
                let (first, last) = text.split_once('-')?;
                let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
                // A leg takes an even port and the odd one after it.
                let pairs = (last.checked_add(1)? / 2).checked_sub(first.div_ceil(2))?;
                (first >= 1 && pairs >= 1).then_some(first..=last)
            })
            .ok_or_else(|| {
                self.refuse(
                    key,
                    "a range of UDP ports with at least one even-odd pair, as \"10000-20000\"",
                )
            })
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, Setting { value, raw, source }) in &self.values {
            let (of, name) = key.split_once('.').expect("every key is section.key");
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{of}]\n");
                section = of;
            }
            // What is expected as text is shown as text, however it was written.
            let shown = match (value, raw) {
                (Value::Datetime(_), Some(raw)) => Value::String(raw.clone()).to_string(),
                _ => value.to_string(),
            };
            text += &format!("{name} = {shown}  # {source}\n");
        }
        text
    }
}

/// TOML where it is, else a bare string.
fn value_of(raw: &str) -> Value {
    let parsed: Option<toml::Table> = format!("value = {raw}").parse().ok();
    parsed
        // More than one key: the text held a line break and is no single value.
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(raw.to_owned()))
}

#[cfg(test)]
mod tests;
