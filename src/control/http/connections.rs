//! The connections of both faces: how many at once, how long a handshake and a header may take, what HTTP/2 may ask,
//! and how they end.
//!
//! ```text
//! accept ─▶ counted by address ─▶ a place ─▶ TLS ─▶ HTTP/1 or HTTP/2 ─▶ request with its `Peer` ─▶ router
//! ```
//!
//! HTTP/2 is spoken with whoever begins with its preface, or agrees on `h2` in TLS; both faces take either version.

mod activity;
mod arriving;
mod places;
#[cfg(test)]
mod tests;
mod unreadable;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use crate::control::tls::{Tls, Trusted, names_of_client};
use activity::{Activity, Metered};
use arriving::Arriving;
use places::Guest;
pub use places::{Connections, Standing, network_of};

/// A header must be complete this long after its first byte, the first one and a TLS handshake after the connection was
/// made.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What has been sent and not been taken for this long, the peer is gone or does not want.
const UNTAKEN_MAX: Duration = Duration::from_secs(60);

/// A connection with nothing under way is closed after this long.
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

/// What is under way when a connection is ended, or the daemon stops, has this long to end.
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
    /// That of its connection, where there is one.
    pub standing: Option<Standing>,
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
        let here = stream.local_addr();
        let is_here = from.ip().to_canonical().is_loopback() || here.is_ok_and(|here| here.ip() == from.ip());
        let guest = match connections.come(from.ip(), is_here) {
            Ok(guest) => guest,
            Err(reason) => {
                connections.tally().refuse_connection(reason);
                continue;
            }
        };
        let server = Server {
            router: router.clone(),
            connections: Arc::clone(&connections),
            stopping: stopping.clone(),
            patience: Patience::default(),
        };
        let (tls, under_way) = (tls.clone(), under_way.clone());
        tokio::spawn(async move {
            server.receive(guest, stream, from, tls.as_deref(), face).await;
            drop(under_way);
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
    patience: Patience,
}

/// How long is waited for a connection.
#[derive(Clone, Copy)]
struct Patience {
    header: Duration,
    idle: Duration,
    farewell: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            header: HEADER_TIME_MAX,
            idle: IDLE_MAX,
            farewell: FAREWELL,
        }
    }
}

/// Rings when it changes whose certificates are trusted; none for a connection that has shown no certificate.
type Trust = Option<watch::Receiver<Trusted>>;

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Http1,
    Http2,
}

impl Server {
    /// From the accept to the end, with a place or without.
    async fn receive(
        &self,
        guest: Guest,
        stream: TcpStream,
        from: SocketAddr,
        tls: Option<&Tls>,
        face: Face,
    ) {
        let mut stopping = self.stopping.clone();
        let place = tokio::select! {
            place = guest.place() => place,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let place = match place {
            Ok(place) => place,
            Err(reason) => return self.refuse(reason),
        };
        let _open = self.connections.tally().open(face);
        tokio::select! {
            () = self.converse(stream, from, tls, place.standing()) => {}
            () = place.has_to_go() => self.refuse(ConnectionRefusal::Unproven),
        }
    }

    async fn converse(&self, stream: TcpStream, from: SocketAddr, tls: Option<&Tls>, standing: Standing) {
        // Answers are small and awaited.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNTAKEN_MAX));
        let mut stopping = self.stopping.clone();
        let mut peer = Peer {
            address: from.ip().to_canonical(),
            is_encrypted: tls.is_some(),
            certificate: None,
            standing: Some(standing),
        };
        let Some(tls) = tls else {
            let version = tokio::select! {
                version = timeout(self.patience.header, version(&stream)) => version,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match version {
                Ok(Ok(version)) => self.speak(version, stream, peer, None).await,
                // Closed before anything was said.
                Ok(Err(_)) => {}
                Err(_) => self.refuse(ConnectionRefusal::Slow),
            }
            return;
        };
        // Before the certificates are chosen by which the client's is looked at.
        let trust = tls.trust();
        let handshake = tokio::select! {
            handshake = timeout(self.patience.header, tls.acceptor().accept(stream)) => handshake,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Ok(Ok(stream)) = handshake else {
            return self.refuse(ConnectionRefusal::Handshake);
        };
        let session = stream.get_ref().1;
        peer.certificate = names_of_client(session);
        let trust = session.peer_certificates().is_some().then_some(trust);
        let version = match session.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        self.speak(version, stream, peer, trust).await;
    }

    async fn speak(
        &self,
        version: Version,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        trust: Trust,
    ) {
        let activity = Arc::new(Activity::new(Instant::now()));
        let stream = TokioIo::new(Metered::new(stream, Arc::clone(&activity)));
        let router = self.router.clone();
        let of_requests = Arc::clone(&activity);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let mut running = of_requests.begin();
            let (parts, body) = request.into_parts();
            let (body, is_broken) = Arriving::new(body, parts.version);
            let answer = router
                .clone()
                .oneshot(Request::from_parts(parts, Body::new(body)));
            async move {
                let response: Response<Body> = answer.await?;
                // Whoever has broken off what it asked waits for no answer.
                if !is_broken.load(Ordering::Relaxed) {
                    running.answered();
                }
                Ok::<_, Infallible>(response.map(|body| Held::new(body, running)))
            }
        });
        match version {
            Version::Http1 => {
                let connection = http1_rules(self.patience.idle).serve_connection(stream, service);
                self.accompany(
                    version,
                    connection,
                    http1::Connection::graceful_shutdown,
                    |error| error.is_parse().then_some(ConnectionRefusal::Malformed),
                    trust,
                    &activity,
                )
                .await;
            }
            Version::Http2 => {
                let connection = http2_rules().serve_connection(stream, service);
                self.accompany(
                    version,
                    connection,
                    http2::Connection::graceful_shutdown,
                    |error| {
                        // It does not answer pings.
                        if error.is_timeout() {
                            return Some(ConnectionRefusal::Idle);
                        }
                        let is_of_the_network = error.source().is_some_and(|source| source.is::<io::Error>());
                        (!is_of_the_network).then_some(ConnectionRefusal::Protocol)
                    },
                    trust,
                    &activity,
                )
                .await;
            }
        }
    }

    /// Drives a connection to its end: its own, that of the daemon, or that of anyone's patience with it.
    async fn accompany<C>(
        &self,
        version: Version,
        connection: C,
        end: fn(Pin<&mut C>),
        reason: fn(&hyper::Error) -> Option<ConnectionRefusal>,
        trust: Trust,
        activity: &Activity,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.clone();
        // A client's broken connection is its own affair.
        let judge = |ended: hyper::Result<()>| {
            let reason = ended.err().and_then(|error| reason(&error));
            if let Some(reason) = activity.is_hostile().or(reason) {
                self.refuse(reason);
            }
        };
        let is_http1 = version == Version::Http1;
        // What there is to be read is read before the time is looked at.
        tokio::select! {
            biased;
            reason = activity.hostile() => return self.refuse(reason),
            ended = connection.as_mut() => return judge(ended),
            () = activity.slow(self.patience.header), if is_http1 => {
                return self.refuse(ConnectionRefusal::Slow);
            }
            // HTTP/1 looks after that itself.
            () = activity.idle(self.patience.idle), if !is_http1 => {
                // Others keep it for the next time.
                if activity.requests() == 0 {
                    self.refuse(ConnectionRefusal::Idle);
                }
            }
            () = changed(trust) => self.refuse(ConnectionRefusal::Distrusted),
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        end(connection.as_mut());
        tokio::select! {
            biased;
            reason = activity.hostile() => self.refuse(reason),
            ended = connection.as_mut() => judge(ended),
            () = tokio::time::sleep(self.patience.farewell) => {}
        }
    }

    fn refuse(&self, reason: ConnectionRefusal) {
        tracing::debug!(reason = reason.name(), "connection ended");
        self.connections.tally().refuse_connection(reason);
    }
}

/// Returns once it has changed; never where there is nothing to change.
async fn changed(trust: Trust) {
    let has_changed = match trust {
        Some(mut trust) => trust.changed().await.is_ok(),
        None => false,
    };
    if !has_changed {
        std::future::pending().await
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

fn http1_rules(idle_max: Duration) -> http1::Builder {
    let mut rules = http1::Builder::new();
    rules
        .timer(TokioTimer::new())
        // From the end of the request before.
        .header_read_timeout(idle_max)
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
