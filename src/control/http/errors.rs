//! The one form of everything that goes wrong: `{"errorCode", "message", "reference"}`.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use crate::control::auth::Denied;
use crate::control::refusal::{METHOD_NOT_ALLOWED, REQUEST_TIMEOUT, Refusal, TOO_LARGE};
use crate::control::tally::RequestRefusal;

/// A refusal on its way out. The reference stands in the log beside it.
#[derive(Debug)]
pub struct Failure(pub Refusal);

/// An extension of the response: for whoever says the same in another form, and for whoever counts it.
#[derive(Debug, Clone)]
pub struct Told {
    pub refusal: Refusal,
    pub reference: String,
    /// What it is counted as.
    pub reason: RequestRefusal,
}

/// Counts what is refused, once, wherever behind it that was said.
pub async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(told) = response.extensions().get::<Told>() {
        app.service.tally().refuse_request(told.reason);
    }
    response
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure(refusal)
    }
}

impl Failure {
    /// The body, in JSON, and the reference in it, which is logged.
    pub(super) fn form(&self) -> (String, String) {
        let Failure(refusal) = self;
        let reference = format!("{:016x}", fastrand::u64(..));
        if refusal.status() >= 500 {
            tracing::warn!(
                code = refusal.code,
                message = refusal.message,
                reference,
                "request failed"
            );
        } else {
            tracing::debug!(
                code = refusal.code,
                message = refusal.message,
                reference,
                "request refused"
            );
        }
        let body = json!({ "errorCode": refusal.code, "message": refusal.message, "reference": reference });
        (body.to_string(), reference)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (body, reference) = self.form();
        let Failure(refusal) = self;
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = refusal.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"mixminus\""),
            );
        }
        // What the client has not finished sending is not read on.
        if matches!(refusal.code, TOO_LARGE | REQUEST_TIMEOUT) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Told {
            reason: RequestRefusal::of_code(refusal.code),
            refusal,
            reference,
        });
        response
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = Failure(self.refusal).into_response();
        if let Some(told) = response.extensions_mut().get_mut::<Told>() {
            told.reason = self.reason;
        }
        response
    }
}

pub async fn no_such_path() -> Failure {
    Refusal::not_found("There is nothing at this path.").into()
}

/// The router adds `Allow`.
pub async fn wrong_method() -> Failure {
    Refusal::new(
        METHOD_NOT_ALLOWED,
        "This path does not have this method; `Allow` lists those it has.",
    )
    .into()
}

pub async fn empty_conference_id() -> Failure {
    Refusal::bad("`conferenceId` must be 1 to 64 characters.").into()
}
