//! Lets in whoever shows a key with the role that the operation takes.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::errors::Failure;
use crate::control::auth::Role;
use crate::control::operation::Operation;

pub async fn let_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let role = role_of(&request);
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

/// The role of the operation that is asked for; by the method where there is no such operation.
fn role_of(request: &Request) -> Role {
    let path = request.extensions().get::<MatchedPath>();
    path.and_then(|path| Operation::at(request.method().as_str(), path.as_str()))
        .and_then(|operation| operation.described().role)
        .unwrap_or(match *request.method() {
            Method::GET | Method::HEAD => Role::Read,
            _ => Role::Control,
        })
}
