//! Lets in whoever shows a key with the role that the operation takes.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::errors::Failure;
use crate::control::operation::role_at;

pub async fn let_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let role = role_at(request.method().as_str(), path.map(MatchedPath::as_str));
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let identity = app.keys().identify(authorization).and_then(|identity| {
        role.map_or(Ok(()), |role| identity.require(role))?;
        Ok(identity)
    });
    match identity {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(refusal) => Failure(refusal).into_response(),
    }
}
