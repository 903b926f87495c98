//! One post to one URL: signed, within its time, and whatever comes back is read to a bound and thrown away.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt;

use super::connect::{ConnectError, Connector};
use super::counters::Failure;
use super::plan::Outcome;
use super::target::{Denied, Target};
use crate::control::events::timestamp;
use crate::control::signature::{Signable, SigningKey};

/// Of a response; a connection whose response is longer is closed.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

const JSON: &str = "application/json";
const TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
const EVENT_ID: HeaderName = HeaderName::from_static("x-event-id");

/// Answers that judge this very event. All others are of the receiver's state, which may be mended.
const JUDGEMENTS: [StatusCode; 5] = [
    StatusCode::BAD_REQUEST,
    StatusCode::GONE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// What became of a post, and why where it came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    pub outcome: Outcome,
    pub failure: Option<Failure>,
    pub denied: Option<Denied>,
    pub status: Option<StatusCode>,
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct Signer {
    pub application: String,
    pub key: SigningKey,
}

#[derive(Clone)]
pub struct Poster {
    client: Client<HttpsConnector<Connector>, Body>,
    /// For all of one post.
    time: Duration,
}

impl Poster {
    pub fn new(connector: Connector, tls: ClientConfig, time: Duration) -> Poster {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(8)
            .http1_max_buf_size(RESPONSE_BYTES_MAX)
            .build(connector);
        Poster { client, time }
    }

    pub async fn post(&self, target: &Target, signer: &Signer, number: u64, body: &str) -> Posted {
        let Some(request) = request(target, signer, number, body) else {
            return Posted::failed(Failure::Broken);
        };
        let deadline = Instant::now() + self.time;
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Posted::of_error(&error),
            Err(_) => return Posted::failed(Failure::Timeout),
        };
        let posted = Posted::answered(response.status(), retry_after(response.headers()));
        // The status has said it all: what follows it is read for the sake of the connection only.
        let _ = timeout_at(deadline, read_away(response.into_body())).await;
        posted
    }
}

impl Posted {
    fn answered(status: StatusCode, retry_after: Option<Duration>) -> Posted {
        let failure = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some(Failure::Redirect),
            400..=499 => Some(Failure::Status4xx),
            500..=599 => Some(Failure::Status5xx),
            _ => Some(Failure::OtherStatus),
        };
        let outcome = match failure {
            None => Outcome::Delivered,
            Some(_) if JUDGEMENTS.contains(&status) => Outcome::Refused,
            Some(_) => Outcome::Failed { retry_after },
        };
        Posted {
            outcome,
            failure,
            denied: None,
            status: Some(status),
        }
    }

    pub fn failed(failure: Failure) -> Posted {
        Posted {
            outcome: Outcome::Failed { retry_after: None },
            failure: Some(failure),
            denied: None,
            status: None,
        }
    }

    fn of_error(error: &ClientError) -> Posted {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(error) = cause {
            match error.downcast_ref::<ConnectError>() {
                Some(ConnectError::Denied(denied)) => {
                    return Posted {
                        denied: Some(*denied),
                        ..Posted::failed(Failure::Denied)
                    };
                }
                Some(ConnectError::Unresolved(_)) => return Posted::failed(Failure::Unresolved),
                Some(ConnectError::Unreachable(_)) => return Posted::failed(Failure::Unreachable),
                None => {}
            }
            cause = error.source();
        }
        // What else can go wrong before there is a connection is TLS.
        Posted::failed(match error.is_connect() {
            true => Failure::Tls,
            false => Failure::Broken,
        })
    }
}

fn request(target: &Target, signer: &Signer, number: u64, body: &str) -> Option<Request<Body>> {
    let now = timestamp(SystemTime::now());
    let signature = signer.key.sign(&Signable {
        verb: "POST",
        path: target.path(),
        content_type: JSON,
        timestamp: &now,
        body: body.as_bytes(),
    });
    let mut authorization =
        HeaderValue::try_from(format!("application {}:{signature}", signer.application)).ok()?;
    authorization.set_sensitive(true);
    Request::builder()
        .method(Method::POST)
        .uri(target.uri().clone())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, JSON)
        .header(TIMESTAMP, now)
        .header(EVENT_ID, number)
        .header(USER_AGENT, concat!("mixminus/", env!("CARGO_PKG_VERSION")))
        .body(Body::from(body.to_owned()))
        .ok()
}

/// In seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    at.duration_since(jiff::Timestamp::now()).try_into().ok()
}

async fn read_away(body: Incoming) {
    let mut stream = Body::new(body).into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        bytes += chunk.len();
        if bytes > RESPONSE_BYTES_MAX {
            return;
        }
    }
}

/// Trusts the authorities of a file, or else those of the machine. It need not have any where TLS is not used.
pub fn tls(authorities: Option<&Path>, is_used: bool) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match authorities {
        None if is_used => config.with_native_roots()?,
        None => config.with_root_certificates(RootCertStore::empty()),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
            if roots.is_empty() {
                return Err(io::Error::other("there is no certificate in it"));
            }
            config.with_root_certificates(roots)
        }
    };
    Ok(config.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_judges_the_event_itself_is_a_refusal() {
        let refused = [400, 410, 413, 415, 422];
        for status in 200..600 {
            let posted = Posted::answered(StatusCode::from_u16(status).unwrap(), None);
            let expected = match status {
                200..=299 => Outcome::Delivered,
                status if refused.contains(&status) => Outcome::Refused,
                _ => Outcome::Failed { retry_after: None },
            };
            assert_eq!(posted.outcome, expected, "{status}");
            assert_eq!(posted.failure.is_none(), expected == Outcome::Delivered);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("99999999999999999999"), None);
        assert_eq!((of("soon"), of("-1")), (None, None));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), None, "that is over");
        let far = of("Tue, 21 Oct 2155 07:28:00 GMT").unwrap();
        assert!(far > Duration::from_secs(86_400 * 365));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
