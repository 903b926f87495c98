//! `GET /v1/explain?from=CALL&to=CALL`: why the one is, or is not, heard by the other.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::App;
use super::errors::Failure;
use super::paths::parameters;
use crate::control::ids::CallId;
use crate::control::refusal::Refusal;

pub async fn explain(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let mut query = parameters(&parts)?;
    let mut call = |name: &str| {
        let id = query.remove(name).ok_or_else(|| Refusal::missing(name))?;
        CallId::parse(&id).map_err(|_| Refusal::bad(format!("`{name}` must be the `callId` of a leg.")))
    };
    let (from, to) = (call("from")?, call("to")?);
    if !query.is_empty() {
        return Err(Refusal::bad("The query may have `from` and `to`, and nothing else.").into());
    }
    if from == to {
        return Err(Refusal::bad("`to` must name another leg than `from`: nobody hears himself.").into());
    }
    Ok(Json(app.service.explain(&from, &to).await?).into_response())
}
