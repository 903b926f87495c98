//! `/v1/conferences` and the platform's routes below it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::App;
use super::body::BodyFields;
use super::errors::Failure;
use super::legs::done;
use super::paths::{Call, Conference};
use crate::control::auth::Identity;
use crate::control::deeds::Actor;
use crate::control::requests::{ChangeConference, platform_command};
use crate::control::views::Page;

pub async fn list(State(app): State<App>, page: Page) -> Json<Value> {
    let listed = app.service.conferences(page);
    Json(
        json!({ "conferences": listed.items, "page": page.page, "pageSize": page.size, "total": listed.total }),
    )
}

pub async fn one(State(app): State<App>, Conference(id): Conference) -> Result<Response, Failure> {
    Ok(Json(app.service.conference(&id)?).into_response())
}

pub async fn change(
    State(app): State<App>,
    Conference(id): Conference,
    BodyFields(fields): BodyFields,
) -> Result<Response, Failure> {
    let change = ChangeConference::parse(fields)?;
    Ok(Json(app.service.change_conference(&id, change)?).into_response())
}

pub async fn clear(State(app): State<App>, Conference(id): Conference) -> Result<StatusCode, Failure> {
    done(async move { app.service.clear_conference(&id, "kicked").await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The platform's mute, unmute, onhold and resume: 200 without a body, again and again.
pub async fn command(
    State(app): State<App>,
    Conference(id): Conference,
    Call(call): Call,
    Extension(identity): Extension<Identity>,
    BodyFields(fields): BodyFields,
) -> Result<StatusCode, Failure> {
    let change = platform_command(fields)?;
    let actor = Actor::new(identity, "PATCH /v1/conferences/id/{conferenceId}/{callId}");
    done(async move { app.service.change_leg(&call, change, Some(&id), actor).await }).await?;
    Ok(StatusCode::OK)
}

pub async fn kick(
    State(app): State<App>,
    Conference(id): Conference,
    Call(call): Call,
) -> Result<StatusCode, Failure> {
    done(async move { app.service.end_leg(&call, "kicked", Some(&id)).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
