//! A refusal as a gRPC status: the contract's code for its HTTP status, the rest in the metadata.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::{Code, Status};

use crate::control::http::{App, Failure, Told};
use crate::control::refusal::{Refusal, UNSUPPORTED};
use crate::control::tally::RequestRefusal;

const CONTENT_TYPE: &str = "application/grpc";

/// Says refusals as statuses. What is no gRPC request is refused in the form that HTTP has for that.
pub async fn say(State(app): State<App>, request: Request, next: Next) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()));
    if !is_grpc {
        app.service.tally().refuse_request(RequestRefusal::Unsupported);
        let refusal = Refusal::new(
            UNSUPPORTED,
            "Here gRPC is spoken: the type must be application/grpc.",
        );
        return Failure(refusal).into_response();
    }
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Told>() {
        Some(told) => refused(&told),
        None => response,
    }
}

fn refused(Told { refusal, reference }: &Told) -> Response {
    let mut response: Response = Status::new(code(refusal), refusal.message.clone()).into_http();
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("mixminus-error-code"),
        HeaderValue::from(refusal.code),
    );
    if let Ok(reference) = HeaderValue::from_str(reference) {
        headers.insert(HeaderName::from_static("mixminus-reference"), reference);
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

pub fn code(refusal: &Refusal) -> Code {
    match refusal.status() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 | 415 => Code::Unimplemented,
        408 => Code::DeadlineExceeded,
        409 => Code::AlreadyExists,
        416 => Code::OutOfRange,
        413 | 429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    }
}
