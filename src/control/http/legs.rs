//! `/v1/legs`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::App;
use super::body::BodyFields;
use super::errors::Failure;
use super::paths::Call;
use crate::control::auth::Identity;
use crate::control::deeds::Actor;
use crate::control::digits::SendDigits;
use crate::control::requests::{ChangeLeg, CreateLeg};
use crate::control::views::Page;

pub async fn create(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    BodyFields(fields): BodyFields,
) -> Result<Response, Failure> {
    let request = CreateLeg::parse(fields, app.service.recording_rules())?;
    let actor = Actor::new(identity, "POST /v1/legs");
    let service = app.service;
    let created = done(async move { service.create_leg(request, actor).await }).await?;
    let status = if created.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(created.leg)).into_response())
}

pub async fn list(State(app): State<App>, page: Page) -> Json<Value> {
    let listed = app.service.legs(page);
    Json(json!({ "legs": listed.items, "page": page.page, "pageSize": page.size, "total": listed.total }))
}

pub async fn one(State(app): State<App>, Call(call): Call) -> Result<Response, Failure> {
    Ok(Json(app.service.leg(&call).await?).into_response())
}

pub async fn change(
    State(app): State<App>,
    Call(call): Call,
    Extension(identity): Extension<Identity>,
    BodyFields(fields): BodyFields,
) -> Result<Response, Failure> {
    let change = ChangeLeg::parse(fields)?;
    let actor = Actor::new(identity, "PATCH /v1/legs/{callId}");
    let leg = done(async move { app.service.change_leg(&call, change, None, actor).await }).await?;
    Ok(Json(leg).into_response())
}

pub async fn send_digits(
    State(app): State<App>,
    Call(call): Call,
    BodyFields(fields): BodyFields,
) -> Result<Response, Failure> {
    let sent = SendDigits::parse(fields)?;
    let sending = done(async move { app.service.send_digits(&call, sent).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(sending)).into_response())
}

pub async fn end(State(app): State<App>, Call(call): Call) -> Result<StatusCode, Failure> {
    done(async move { app.service.end_leg(&call, "ended", None).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does it to the end, also when the client hangs up in the middle.
pub async fn done<T: Send + 'static>(
    work: impl Future<Output = Result<T, crate::control::refusal::Refusal>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome.map_err(Failure),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(crate::control::refusal::Refusal::new(
                crate::control::refusal::INTERNAL,
                "The request failed inside the daemon.",
            )
            .into())
        }
    }
}
