//! gRPC in front of the service: the same operations as over HTTP, with the same meaning.
//!
//! ```text
//! method ─▶ who asks ─▶ message ─▶ its JSON ─▶ `operation::ask` ─▶ JSON ─▶ message, or status
//! ```
//!
//! Messages are translated by their descriptors, so what HTTP parses and writes is all there is. Requests and refusals
//! come and go as those of HTTP do, through the same gate; the layer around it says a refusal as a gRPC status. Health
//! (open) and reflection (`read`) are served beside it.

mod descriptors;
mod frames;
mod health;
mod messages;
mod status;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::response::Response;
use axum::routing::post;

use crate::control::auth::{Admitted, Identity};
use crate::control::http::{App, Failure, count, let_in};
use crate::control::operation::{OPERATIONS, Operation, SERVICE, ask};
use crate::control::refusal::{METHOD_NOT_ALLOWED, Refusal};
pub use descriptors::{DESCRIPTORS, Rules, comment, method, pool, rules};

pub fn router(app: App) -> Router {
    let methods = |is_open: bool| {
        OPERATIONS
            .iter()
            .filter(|described| described.role.is_none() == is_open)
            .fold(Router::new(), |router, described| {
                let path = format!("/{SERVICE}/{}", described.name);
                let operation = described.operation;
                router.route(
                    &path,
                    post(move |State(app): State<App>, request: Request| call(app, operation, request)),
                )
            })
    };
    let reflection = descriptors::reflection()
        .into_axum_router()
        .reset_fallback()
        .layer(map_request(in_time));
    let guarded = methods(false)
        .merge(reflection.with_state(()))
        .fallback(no_such_method)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(app.clone(), let_in));
    methods(true)
        .merge(health::routes(app.clone()).with_state(()))
        .method_not_allowed_fallback(no_such_method)
        .merge(guarded)
        .layer(from_fn(status::say))
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app)
}

async fn call(app: App, operation: Operation, request: Request) -> Result<Response, Failure> {
    let Some(method) = descriptors::method(operation.described().name) else {
        return Err(no_such_method().await);
    };
    let (mut parts, body) = request.into_parts();
    let message = frames::read(body).await?;
    // An open method knows nobody.
    let identity = parts.extensions.remove().unwrap_or_else(Identity::nobody);
    let place = parts.extensions.remove::<Arc<Admitted>>();
    let key = parts.headers.get("idempotency-key");
    let key = key.map(|key| key.to_str().unwrap_or_default().to_owned());
    let asked = messages::asked(operation, &method, message, identity, key)?;
    match operation {
        Operation::StreamEvents => Ok(streams::events(&app, &method, &asked)?),
        Operation::DownloadRecording => Ok(streams::recording(&app, &method, &asked).await?),
        _ => {
            let answer = ask(app.service, app.answered, asked, place).await?;
            Ok(frames::reply(&answer, messages::written(&method, &answer.body)?))
        }
    }
}

async fn in_time(request: Request) -> Request {
    request.map(frames::each_in_time)
}

async fn no_such_method() -> Failure {
    Refusal::new(METHOD_NOT_ALLOWED, "There is no such method.").into()
}
