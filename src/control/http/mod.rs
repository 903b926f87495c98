//! HTTP in front of the service: it translates, the service decides.
//!
//! ```text
//! connection ─▶ who asks ─▶ asked before? ─▶ route ─▶ ids, fields ─▶ service ─▶ status and JSON
//! ```
//!
//! Whatever goes wrong is answered in one form (`errors`). Ids in paths are percent-decoded exactly once, by the
//! router's parameters.

mod body;
mod conferences;
pub mod connections;
mod errors;
mod events;
mod explain;
mod gate;
mod idempotency;
mod legs;
mod ops;
mod paths;
mod recordings;

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, patch, post};
use tokio::sync::watch;

use crate::control::auth::Keys;
use crate::control::service::Service;
use idempotency::Answered;

/// What every handler may need.
#[derive(Clone)]
pub struct App {
    pub service: Service,
    keys: Arc<RwLock<Arc<Keys>>>,
    answered: Arc<Answered>,
    /// True once streams of events have to end.
    stopping: watch::Receiver<bool>,
}

impl App {
    pub fn new(service: Service, keys: Keys, stopping: watch::Receiver<bool>) -> App {
        let keys = Arc::new(RwLock::new(Arc::new(keys)));
        App {
            service,
            keys,
            answered: Arc::new(Answered::new()),
            stopping,
        }
    }

    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other keys from the next request on.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

pub fn router(app: App) -> Router {
    let recording_of_leg = post(recordings::start_of_leg)
        .patch(recordings::command_of_leg)
        .delete(recordings::stop_of_leg);
    let ours = Router::new()
        .route("/legs", get(legs::list).post(legs::create))
        .route(
            "/legs/{callId}",
            get(legs::one).patch(legs::change).delete(legs::end),
        )
        .route("/legs/{callId}/dtmf", post(legs::send_digits))
        .route("/legs/{callId}/recording", recording_of_leg)
        .route("/conferences", get(conferences::list))
        .route("/recordings", get(recordings::list))
        .route("/recordings/{recordingId}", get(recordings::one))
        .route("/recordings/{recordingId}/audio", get(recordings::audio))
        .route("/events", get(events::stream))
        .route("/explain", get(explain::explain))
        .route("/capacity", get(ops::capacity));
    let open = Router::new()
        .route("/healthz", get(ops::alive))
        .route("/readyz", get(ops::ready));
    let guarded = Router::new()
        .nest("/v1", ours.merge(conference_routes()))
        .nest("/calling/v1", conference_routes())
        .route("/metrics", get(ops::metrics))
        .fallback(errors::no_such_path)
        .method_not_allowed_fallback(errors::wrong_method)
        .layer(from_fn_with_state(app.clone(), idempotency::answer_once))
        .layer(from_fn_with_state(app.clone(), gate::let_in));
    open.method_not_allowed_fallback(errors::wrong_method)
        .merge(guarded)
        .with_state(app)
}

fn conference_routes() -> Router<App> {
    let one = get(conferences::one)
        .patch(conferences::change)
        .delete(conferences::clear);
    let recording = post(recordings::start)
        .patch(recordings::command)
        .delete(recordings::stop);
    Router::new()
        .route("/conferences/id/", any(errors::empty_conference_id))
        .route("/conferences/id/{conferenceId}", one)
        .route("/conferences/id/{conferenceId}/recording", recording)
        // Names that are kept: no leg can be called so.
        .route("/conferences/id/{conferenceId}/routes", any(errors::no_such_path))
        .route("/conferences/id/{conferenceId}/play", any(errors::no_such_path))
        .route(
            "/conferences/id/{conferenceId}/{callId}",
            patch(conferences::command).delete(conferences::kick),
        )
}
