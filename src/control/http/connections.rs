//! The connections of both faces: how many at once, how long a handshake and a header may take, what HTTP/2 may ask,
//! and how they end.
//!
//! ```text
//! accept ─▶ a place (daemon, address) ─▶ TLS ─▶ HTTP/1 or HTTP/2 ─▶ request with its `Peer` ─▶ router
//! ```
//!
//! HTTP/2 is spoken with whoever begins with its preface, or agrees on `h2` in TLS; both faces take either version.

mod activity;
mod places;
mod unreadable;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::ServiceExt;

use super::held::Held;
use crate::control::tally::{ConnectionRefusal, Face};
use crate::control::tls::{Tls, names_of_client};
use activity::{Activity, Metered};
pub use places::{Connections, network_of};

/// A header must be complete this long after the connection was made or last used, a TLS handshake after it was made.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What has been sent and not been taken for this long, the peer is gone or does not want.
const UNTAKEN_MAX: Duration = Duration::from_secs(60);

/// HTTP/2 with nothing under way is closed after this long.
const IDLE_MAX: Duration = Duration::from_secs(60);

const STREAMS_MAX: u32 = 100;
/// Streams that the peer has reset before they were looked at.
const RESETS_WAITING_MAX: usize = 20;
/// Streams that this side has reset because of what came on them.
const RESETS_FOR_ERRORS_MAX: usize = 64;
/// One body of the size that is allowed fits.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What a connection can make this side keep.
const CONNECTION_WINDOW: u32 = 256 * 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
const SEND_BUFFER_MAX: usize = 256 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What is under way when the daemon stops has this long to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// After a failed accept, as with no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// No method of HTTP/1 begins so.
const PREFACE: &[u8] = b"PRI";
/// Between two looks at a preface that has not come as a whole.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// Whoever is at the other end of the connection that a request came on; an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: IpAddr,
    pub is_encrypted: bool,
    /// The names of the certificate that it has shown, where one is asked for.
    pub certificate: Option<Arc<[String]>>,
}

/// Serves one face until `stopping`, then lets what is under way end, for a bounded time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    face: Face,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
    stopping: watch::Receiver<bool>,
) {
    // Dropped by the last connection that ends.
    let (under_way, mut all_ended) = mpsc::channel::<Infallible>(1);
    let mut stop = stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        let Ok((stream, from)) = accepted else {
            connections
                .tally()
                .refuse_connection(ConnectionRefusal::NotAccepted);
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let place = tokio::select! {
            place = connections.place(from.ip()) => place,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        let place = match place {
            Ok(place) => place,
            Err(reason) => {
                connections.tally().refuse_connection(reason);
                continue;
            }
        };
        let server = Server {
            router: router.clone(),
            connections: Arc::clone(&connections),
            stopping: stopping.clone(),
        };
        let (tls, under_way) = (tls.clone(), under_way.clone());
        tokio::spawn(async move {
            let _open = server.connections.tally().open(face);
            server.converse(stream, from, tls.as_deref()).await;
            drop((place, under_way));
        });
    }
    drop(under_way);
    let _ = timeout(FAREWELL, all_ended.recv()).await;
}

/// What a connection is served with.
struct Server {
    router: Router,
    connections: Arc<Connections>,
    stopping: watch::Receiver<bool>,
}

enum Version {
    Http1,
    Http2,
}

impl Server {
    async fn converse(&self, stream: TcpStream, from: SocketAddr, tls: Option<&Tls>) {
        // Answers are small and awaited.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNTAKEN_MAX));
        let mut stopping = self.stopping.clone();
        let mut peer = Peer {
            address: from.ip().to_canonical(),
            is_encrypted: tls.is_some(),
            certificate: None,
        };
        let Some(tls) = tls else {
            let version = tokio::select! {
                version = timeout(HEADER_TIME_MAX, version(&stream)) => version,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match version {
                Ok(Ok(version)) => self.speak(version, stream, peer).await,
                // Closed before anything was said.
                Ok(Err(_)) => {}
                Err(_) => self.refuse(ConnectionRefusal::Slow),
            }
            return;
        };
        let handshake = tokio::select! {
            handshake = timeout(HEADER_TIME_MAX, tls.acceptor().accept(stream)) => handshake,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Ok(Ok(stream)) = handshake else {
            return self.refuse(ConnectionRefusal::Handshake);
        };
        let session = stream.get_ref().1;
        peer.certificate = names_of_client(session);
        let version = match session.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        self.speak(version, stream, peer).await;
    }

    async fn speak(
        &self,
        version: Version,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let activity = Arc::new(Activity::new(Instant::now()));
        let stream = TokioIo::new(Metered::new(stream, Arc::clone(&activity)));
        let router = self.router.clone();
        let of_requests = Arc::clone(&activity);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let mut running = of_requests.begin();
            let answer = router.clone().oneshot(request.map(Body::new));
            async move {
                let response: Response<Body> = answer.await?;
                running.answered();
                Ok::<_, Infallible>(response.map(|body| Held::new(body, running)))
            }
        });
        match version {
            Version::Http1 => {
                let connection = http1_rules().serve_connection(stream, service);
                self.accompany(
                    connection,
                    http1::Connection::graceful_shutdown,
                    None,
                    |error, activity| {
                        match error.is_timeout() {
                            // It had been used.
                            true if activity.requests() > 0 => Some(ConnectionRefusal::Idle),
                            true => Some(ConnectionRefusal::Slow),
                            false => error.is_parse().then_some(ConnectionRefusal::Malformed),
                        }
                    },
                    &activity,
                )
                .await;
            }
            Version::Http2 => {
                let connection = http2_rules().serve_connection(stream, service);
                self.accompany(
                    connection,
                    http2::Connection::graceful_shutdown,
                    Some(IDLE_MAX),
                    |error, _| {
                        // It does not answer pings.
                        if error.is_timeout() {
                            return Some(ConnectionRefusal::Idle);
                        }
                        let is_of_the_network = error.source().is_some_and(|source| source.is::<io::Error>());
                        (!is_of_the_network).then_some(ConnectionRefusal::Protocol)
                    },
                    &activity,
                )
                .await;
            }
        }
    }

    /// Drives a connection to its end: its own, that of the daemon, or that of anyone's patience with it.
    async fn accompany<C>(
        &self,
        connection: C,
        end: fn(Pin<&mut C>),
        idle_max: Option<Duration>,
        reason: fn(&hyper::Error, &Activity) -> Option<ConnectionRefusal>,
        activity: &Activity,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.clone();
        let idle = activity.idle(idle_max);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            reason = activity.hostile() => return self.refuse(reason),
            () = idle => {
                self.refuse(ConnectionRefusal::Idle);
                None
            }
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        match ended {
            // A client's broken connection is its own affair.
            Some(Ok(())) => {}
            Some(Err(error)) => {
                if let Some(reason) = activity.is_hostile().or_else(|| reason(&error, activity)) {
                    self.refuse(reason);
                }
            }
            None => {
                end(connection.as_mut());
                let _ = connection.await;
            }
        }
    }

    fn refuse(&self, reason: ConnectionRefusal) {
        tracing::debug!(reason = reason.name(), "connection ended");
        self.connections.tally().refuse_connection(reason);
    }
}

/// What the first bytes say; they stay to be read.
async fn version(stream: &TcpStream) -> io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..length] != PREFACE[..length] {
            return Ok(Version::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Version::Http2);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

fn http1_rules() -> http1::Builder {
    let mut rules = http1::Builder::new();
    rules
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    rules
}

fn http2_rules() -> http2::Builder<TokioExecutor> {
    let mut rules = http2::Builder::new(TokioExecutor::new());
    rules
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    rules
}
