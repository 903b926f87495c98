//! Lets in whoever may do what is asked, in the bounds of its key: the same for both faces.
//!
//! ```text
//! host, where there are no keys ─▶ rate ─▶ body, where it is signed ─▶ running requests ─▶ identity ─▶ its rate
//!      ─▶ role ─▶ places for a stream ─▶ on
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;

use super::App;
use super::body;
use super::connections::{Peer, network_of};
use super::held::{Held, Until};
use super::near;
use crate::control::auth::{Admitted, Auth, Denied, Moment, Role, Shown};
use crate::control::operation::{Operation, is_reflection, role_at};
use crate::control::refusal::Refusal;
use crate::control::tally::RequestRefusal;

pub async fn let_in(State(app): State<App>, request: Request, next: Next) -> Result<Response, Denied> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let verb = request.method().as_str();
    let role = role_at(verb, path);
    let is_stream = path.is_some_and(|path| {
        is_reflection(path)
            || Operation::at(verb, path).is_some_and(|operation| operation.described().is_stream())
    });
    if app.auth.is_open() {
        near::check(&request)?;
    }
    let keys = app.auth.changes();
    let (mut request, who) = admit(&app, role, request).await?;
    let who = Arc::new(who);
    request.extensions_mut().insert(who.identity.clone());
    // Kept by whoever does the work, until it is done.
    request.extensions_mut().insert(Arc::clone(&who));
    if !is_stream {
        return Ok(next.run(request).await);
    }
    let of_key = who.stream(app.streams_per_key)?;
    let place = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Denied::too_many(
            RequestRefusal::Streams,
            "As many streams of events and recordings are open as may be.",
        )
    })?;
    let response = next.run(request).await;
    let is_gone = gone(Arc::clone(&app.auth), keys, Arc::clone(&who));
    let is_grpc = body::is_grpc(response.headers());
    Ok(response.map(|body| {
        let body = Body::new(Held::new(body, (place, of_key, who)));
        Body::new(Until::new(body, is_gone, is_grpc))
    }))
}

/// Waits until whoever was let in would not be any more.
async fn gone(auth: Arc<Auth>, mut keys: watch::Receiver<()>, who: Arc<Admitted>) {
    while auth.knows(&who) {
        if keys.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The request with its body still to be read, and who asks.
async fn admit(app: &App, role: Option<Role>, request: Request) -> Result<(Request, Admitted), Denied> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_else(Peer::here);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let shown = Shown {
        address: network_of(peer.address),
        is_private: peer.is_encrypted || peer.address.is_loopback(),
        certificate: peer.certificate.as_deref(),
        authorization: authorization(&parts.headers),
        verb: parts.method.as_str(),
        target,
        content_type: text(header::CONTENT_TYPE.as_str()).unwrap_or_default(),
        timestamp: text("x-timestamp"),
        content_sha256: text("x-content-sha256"),
    };
    let refused = |refusal: Refusal| Denied {
        reason: RequestRefusal::of_code(refusal.code),
        refusal,
    };
    let takes_body = app.auth.may_try(&shown, Instant::now())?;
    let (bytes, body) = match takes_body {
        true => {
            let bytes = body::read(&parts.headers, body).await.map_err(refused)?;
            (bytes.clone(), Body::from(bytes))
        }
        false => (Default::default(), body),
    };
    let admitted = app.auth.identify(&shown, &bytes, Moment::now())?;
    if let Some(standing) = &peer.standing {
        standing.is_known();
    }
    if let Some(role) = role {
        admitted.identity.require(role).map_err(refused)?;
    }
    Ok((Request::from_parts(parts, body), admitted))
}

/// One header, or none; more than one, or what is no text, is neither.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

impl Peer {
    /// Whoever asks without a connection.
    fn here() -> Peer {
        Peer {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_encrypted: false,
            certificate: None,
            standing: None,
        }
    }
}
