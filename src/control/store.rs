//! What the configuration makes of the recorder: where recordings may go, and by which object store.

use crate::config::{self, Config};
use crate::record::{
    BucketRules, Credentials, CredentialsFileError, Destination, DestinationError, Encryption, Endpoint,
    Rules, Store, StoreSettings, Tempo,
};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("s3.credentials_file {path} {error}")]
    Credentials {
        path: String,
        error: CredentialsFileError,
    },
    #[error("recording.destination: {0}")]
    Destination(DestinationError),
    #[error("the threads of uploads could not be started: {0}")]
    Threads(std::io::Error),
}

/// What requests may name as destinations.
pub fn recording_rules(config: &Config) -> Rules {
    Rules {
        default: config.recording.destination.clone(),
        s3: config.s3.endpoint.is_some().then(|| BucketRules {
            buckets: config.s3.buckets.clone(),
        }),
    }
}

/// The object store of the configuration; `None` where it has none.
pub fn object_store(config: &Config) -> Result<Option<Store>, StoreError> {
    let Some(endpoint) = &config.s3.endpoint else {
        return Ok(None);
    };
    let settings = StoreSettings {
        endpoint: match endpoint {
            config::Endpoint::Amazon => Endpoint::Amazon,
            config::Endpoint::Url(url) => Endpoint::Url(url.clone()),
        },
        region: config.s3.region.clone(),
        path_style: config.s3.path_style,
        encryption: match &config.s3.sse {
            config::Encryption::Bucket => Encryption::Bucket,
            config::Encryption::Aes256 => Encryption::Aes256,
            config::Encryption::Kms(key) => Encryption::Kms(key.clone()),
        },
        credentials: credentials(config)?,
        tempo: Tempo::default(),
    };
    Store::start(settings).map(Some).map_err(StoreError::Threads)
}

/// Refuses a configuration by which no recording could go where it says.
pub fn check(config: &Config) -> Result<(), StoreError> {
    credentials(config)?;
    Destination::parse(None, None, None, &recording_rules(config))
        .map(drop)
        .map_err(StoreError::Destination)
}

/// The credentials of the configuration's file; `None` leaves it to the SDK's chain.
pub fn credentials(config: &Config) -> Result<Option<Credentials>, StoreError> {
    let Some(path) = &config.s3.credentials_file else {
        return Ok(None);
    };
    Credentials::from_file(path)
        .map(Some)
        .map_err(|error| StoreError::Credentials {
            path: path.display().to_string(),
            error,
        })
}
