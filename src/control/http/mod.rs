//! HTTP in front of the service: it translates, the service decides.
//!
//! ```text
//! connection ─▶ route ─▶ who asks ─▶ ids, query, fields ─▶ `operation::ask` ─▶ status and JSON
//! ```
//!
//! The routes are those of the table of operations. Whatever goes wrong is answered in one form (`errors`). Ids in paths
//! are percent-decoded exactly once, by the router's parameters.

mod body;
pub mod connections;
mod errors;
mod events;
mod gate;
mod held;
mod near;
mod paths;
mod recordings;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, on};
use axum::{Router, http::header};
use tokio::sync::{Semaphore, watch};

use crate::control::auth::{Admitted, Auth, Identity};
use crate::control::fields::Fields;
use crate::control::metrics;
use crate::control::operation::{
    Answer, Answered, Asked, Body, Described, OPERATIONS, Operation, PLATFORM, ask,
};
use crate::control::service::Service;
pub use errors::{Failure, Told};
pub use events::told;
pub use gate::let_in;

/// One key may have so much of the streams that there may be.
const STREAM_SHARES: usize = 4;

/// What every handler may need.
#[derive(Clone)]
pub struct App {
    pub service: Service,
    pub auth: Arc<Auth>,
    /// Places for answers that go on.
    streams: Arc<Semaphore>,
    streams_per_key: usize,
    pub answered: Arc<Answered>,
    /// True once streams of events have to end.
    pub stopping: watch::Receiver<bool>,
}

impl App {
    pub fn new(service: Service, auth: Auth, streams: usize, stopping: watch::Receiver<bool>) -> App {
        App {
            auth: Arc::new(auth),
            streams: Arc::new(Semaphore::new(streams)),
            streams_per_key: (streams / STREAM_SHARES).max(1),
            answered: Arc::new(Answered::new(Arc::clone(service.tally()))),
            stopping,
            service,
        }
    }
}

pub fn router(app: App) -> Router {
    let routes = |is_open: bool| {
        OPERATIONS
            .iter()
            .filter(|described| described.role.is_none() == is_open)
            .fold(Router::new(), |router, described| {
                let router = router.route(described.path(), handler(described));
                match described.is_platforms() {
                    true => router.route(&format!("{PLATFORM}{}", described.path()), handler(described)),
                    false => router,
                }
            })
    };
    let guarded = routes(false)
        .merge(other_conference_paths("/v1"))
        .merge(other_conference_paths("/calling/v1"))
        .fallback(errors::no_such_path)
        .method_not_allowed_fallback(errors::wrong_method)
        .layer(from_fn_with_state(app.clone(), let_in));
    routes(true)
        .method_not_allowed_fallback(errors::wrong_open_method)
        .merge(guarded)
        .with_state(app)
}

/// Paths of a conference that no operation has.
fn other_conference_paths(prefix: &str) -> Router<App> {
    Router::new()
        .route(
            &format!("{prefix}/conferences/id/"),
            any(errors::empty_conference_id),
        )
        // Names that are kept: no leg can be called so.
        .route(
            &format!("{prefix}/conferences/id/{{conferenceId}}/routes"),
            any(errors::no_such_path),
        )
        .route(
            &format!("{prefix}/conferences/id/{{conferenceId}}/play"),
            any(errors::no_such_path),
        )
}

fn handler(described: &'static Described) -> MethodRouter<App> {
    let verb = match described.verb() {
        "GET" => MethodFilter::GET,
        "POST" => MethodFilter::POST,
        "PATCH" => MethodFilter::PATCH,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::DELETE,
    };
    match described.operation {
        Operation::StreamEvents => on(verb, events::stream),
        Operation::DownloadRecording => on(verb, recordings::audio),
        _ => on(verb, move |State(app): State<App>, request: Request| {
            translate(app, described, request)
        }),
    }
}

/// Asks for an operation with what the request says, and says what came of it.
async fn translate(app: App, described: &'static Described, request: Request) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let ids = paths::ids(&mut parts).await?;
    let query = paths::parameters(&parts)?;
    // What is no text is no name either, which is said where names are looked at.
    let idempotency_key = parts.headers.get("idempotency-key");
    let idempotency_key = idempotency_key.map(|key| key.to_str().unwrap_or_default().to_owned());
    let fields = match described.has_body() {
        true => Fields::parse(&body::read(&parts.headers, body).await?)?,
        false => Fields::default(),
    };
    let place = parts.extensions.remove::<Arc<Admitted>>();
    let asked = Asked {
        operation: described.operation,
        // An open route knows nobody.
        identity: parts.extensions.remove().unwrap_or_else(Identity::nobody),
        ids,
        query,
        fields,
        idempotency_key,
    };
    Ok(written(ask(app.service, app.answered, asked, place).await?))
}

fn written(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let typed = |kind: &'static str| [(header::CONTENT_TYPE, kind)];
    let mut response = match answer.body {
        Body::Empty => status.into_response(),
        Body::Json(text) => (status, typed("application/json"), text).into_response(),
        Body::OpenApi(text) => (status, typed("application/json"), text).into_response(),
        Body::Metrics(text) => (status, typed(metrics::CONTENT_TYPE), text).into_response(),
    };
    if answer.is_replayed {
        response
            .headers_mut()
            .insert("idempotency-replayed", header::HeaderValue::from_static("true"));
    }
    response
}
