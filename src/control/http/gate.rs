//! Lets in whoever shows a key with the role that the method takes.

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::errors::Failure;
use crate::control::auth::Role;

pub async fn let_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let role = match *request.method() {
        Method::GET | Method::HEAD => Role::Read,
        _ => Role::Control,
    };
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let identity = app.keys().identify(authorization).and_then(|identity| {
        identity.require(role)?;
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
