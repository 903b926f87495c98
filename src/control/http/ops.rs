//! For those who run the daemon: is it alive, does it take new rooms, what are its figures.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::errors::Failure;
use crate::control::metrics;
use crate::control::refusal::Refusal;

pub async fn alive() -> Json<Value> {
    Json(json!({ "status": "up" }))
}

pub async fn ready(State(app): State<App>) -> Result<Json<Value>, Failure> {
    match app.service.is_draining() {
        false => Ok(Json(json!({ "status": "ready" }))),
        true => Err(Refusal::unavailable("The daemon is draining.", 30).into()),
    }
}

/// What is used of the machine, what is left, and what binds.
pub async fn capacity(State(app): State<App>) -> Json<Value> {
    Json(json!(app.service.capacity()))
}

pub async fn metrics(State(app): State<App>) -> Response {
    let figures = app.service.figures().await;
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics::render(&figures),
    )
        .into_response()
}
