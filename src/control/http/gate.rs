//! Lets in whoever may do what is asked, in the bounds of its key: the same for both faces.
//!
//! ```text
//! rate ─▶ body, where it is signed ─▶ identity ─▶ its rate, its running requests ─▶ role ─▶ a place for a stream ─▶ on
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::body;
use super::connections::{Peer, network_of};
use super::errors::{Failure, Told};
use super::held::Held;
use crate::control::auth::{Admitted, Denied, Moment, Role, Shown};
use crate::control::operation::{Operation, role_at};
use crate::control::refusal::Refusal;
use crate::control::tally::RequestRefusal;

pub async fn let_in(State(app): State<App>, request: Request, next: Next) -> Response {
    let tally = Arc::clone(app.service.tally());
    let (response, reason) = match pass(&app, request, next).await {
        Ok(response) => {
            let told = response.extensions().get::<Told>();
            let reason = told.map(|told| RequestRefusal::of_code(told.refusal.code));
            (response, reason)
        }
        Err(denied) => (Failure(denied.refusal).into_response(), Some(denied.reason)),
    };
    if let Some(reason) = reason {
        tally.refuse_request(reason);
    }
    response
}

async fn pass(app: &App, request: Request, next: Next) -> Result<Response, Denied> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let verb = request.method().as_str();
    let role = role_at(verb, path);
    let is_stream = path
        .and_then(|path| Operation::at(verb, path))
        .is_some_and(|operation| operation.described().is_stream());
    let (mut request, who) = admit(app, role, request).await?;
    request.extensions_mut().insert(who.identity.clone());
    if !is_stream {
        return Ok(next.run(request).await);
    }
    let place = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Denied::too_many(
            RequestRefusal::Streams,
            "As many streams of events and recordings are open as may be.",
        )
    })?;
    let response = next.run(request).await;
    Ok(response.map(|body| Body::new(Held::new(body, place))))
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
        }
    }
}
