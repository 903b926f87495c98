//! The object store of the configuration, and what recordings are told about it.

use std::path::PathBuf;

use toml::Value;

use super::{ConfigError, Settings};

#[derive(Debug, Clone)]
pub struct S3 {
    pub endpoint: Option<Endpoint>,
    pub region: Option<String>,
    pub path_style: bool,
    pub allow_http: bool,
    pub credentials_file: Option<PathBuf>,
    /// Empty: any.
    pub buckets: Vec<String>,
    pub sse: Encryption,
}

/// Where the object store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Amazon's own, by region.
    Amazon,
    /// `http[s]://host[:port]`
    Url(String),
}

/// What the store is asked to encrypt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Whatever the bucket does by itself.
    Bucket,
    Aes256,
    /// With a key's id, or the account's own key.
    Kms(Option<String>),
}

impl S3 {
    pub(super) fn read(settings: &Settings) -> Result<S3, ConfigError> {
        Ok(S3 {
            endpoint: endpoint(settings)?,
            region: region(settings)?,
            path_style: settings.switch("s3.path_style")?,
            allow_http: settings.switch("s3.allow_http")?,
            credentials_file: settings.text("s3.credentials_file")?.map(PathBuf::from),
            buckets: texts(settings, "s3.buckets")?,
            sse: encryption(settings)?,
        })
    }
}

/// A list of strings, or one; none for the empty string.
pub(super) fn texts(settings: &Settings, key: &str) -> Result<Vec<String>, ConfigError> {
    match &settings.setting(key).value {
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| settings.refuse(key, "a list of strings")),
        _ => Ok(settings.text(key)?.into_iter().collect()),
    }
}

fn endpoint(settings: &Settings) -> Result<Option<Endpoint>, ConfigError> {
    let Some(endpoint) = settings.text("s3.endpoint")? else {
        return Ok(None);
    };
    if endpoint == "aws" {
        return Ok(Some(Endpoint::Amazon));
    }
    let parsed = endpoint.parse::<hyper::Uri>().ok().filter(|uri| {
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !endpoint.contains('#');
        is_bare
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let scheme = parsed.as_ref().and_then(hyper::Uri::scheme_str);
    match scheme {
        Some("https") => {}
        Some("http") if settings.switch("s3.allow_http")? => {}
        Some("http") => {
            return Err(settings.refuse("s3.endpoint", "an https:// URL as long as s3.allow_http is false"));
        }
        _ => {
            return Err(settings.refuse(
                "s3.endpoint",
                "\"aws\", or https://host[:port] (http:// with s3.allow_http) without user, path and query",
            ));
        }
    }
    Ok(Some(Endpoint::Url(endpoint.trim_end_matches('/').to_owned())))
}

/// It becomes part of a host's name.
fn region(settings: &Settings) -> Result<Option<String>, ConfigError> {
    let is_region = |region: &String| {
        region.len() <= 32
            && region
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    match settings.text("s3.region")? {
        Some(region) if !is_region(&region) => {
            Err(settings.refuse("s3.region", "at most 32 of a-z, 0-9 and -, as eu-central-1"))
        }
        region => Ok(region),
    }
}

fn encryption(settings: &Settings) -> Result<Encryption, ConfigError> {
    let key = settings.text("s3.sse_kms_key")?;
    let sse = settings.one_of("s3.sse", &["", "AES256", "aws:kms"])?;
    match (sse, key) {
        ("aws:kms", key) => Ok(Encryption::Kms(key)),
        (_, Some(_)) => Err(settings.refuse("s3.sse_kms_key", "empty unless s3.sse is aws:kms")),
        ("AES256", None) => Ok(Encryption::Aes256),
        _ => Ok(Encryption::Bucket),
    }
}

/// Only what can be said here; the recorder reads the rest.
pub(super) fn destination(settings: &Settings) -> Result<String, ConfigError> {
    let key = "recording.destination";
    let destination = settings.text(key)?.unwrap_or_default();
    if destination.starts_with("s3://") {
        return match settings.text("s3.endpoint")? {
            Some(_) => Ok(destination),
            None => Err(settings.refuse(key, "file://[folder/] as long as s3.endpoint is empty")),
        };
    }
    if !destination.starts_with("file://") {
        return Err(settings.refuse(key, "file://[folder/] or s3://bucket/[folder/]"));
    }
    Ok(destination)
}
