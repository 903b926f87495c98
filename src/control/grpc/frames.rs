//! Messages on the wire: five bytes of head, then protobuf; the outcome in the trailers.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use tokio_stream::{Stream, StreamExt, once};
use tonic::Status;
use tonic::codec::{EncodeBody, EncodeBuf, Encoder, SingleMessageCompressionOverride};

use crate::control::operation::Answer;
use crate::control::refusal::{INVALID_REQUEST, REQUEST_TIMEOUT, Refusal, TOO_LARGE, UNSUPPORTED};

/// As large as a body over HTTP.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const HEAD_BYTES: usize = 5;

/// From the header to the end of the message.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The one message of a request. What its head announces is believed before any of it is waited for.
pub async fn read(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(TIME_MAX, one_message(body)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::new(
            REQUEST_TIMEOUT,
            "The message did not arrive within 10 seconds.",
        )),
    }
}

async fn one_message(body: Body) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    loop {
        if let Some([flag, length @ ..]) = bytes.first_chunk::<HEAD_BYTES>() {
            let length = u32::from_be_bytes(*length) as usize;
            if *flag != 0 {
                return Err(Refusal::new(UNSUPPORTED, "The message must not be compressed."));
            }
            if length > MESSAGE_BYTES_MAX {
                return Err(Refusal::new(TOO_LARGE, "The message is larger than 65536 bytes."));
            }
            if bytes.len() > HEAD_BYTES + length {
                return Err(Refusal::new(INVALID_REQUEST, "The request must be one message."));
            }
            if bytes.len() == HEAD_BYTES + length {
                return Ok(bytes.freeze().slice(HEAD_BYTES..));
            }
        }
        match chunks.next().await {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            Some(Err(_)) | None => {
                return Err(Refusal::new(INVALID_REQUEST, "The message is cut short."));
            }
        }
    }
}

/// The answer to a unary call; its HTTP status and whether it was given before stand in the metadata.
pub fn reply(answer: &Answer, message: Bytes) -> Response {
    let mut response = stream(once(Ok(message)));
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("mixminus-status"),
        HeaderValue::from(answer.status),
    );
    if answer.is_replayed {
        headers.insert(
            HeaderName::from_static("idempotency-replayed"),
            HeaderValue::from_static("true"),
        );
    }
    response
}

/// Messages as they come, then the outcome.
pub fn stream(messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Response {
    let body = EncodeBody::new_server(
        AsItIs,
        messages,
        None,
        SingleMessageCompressionOverride::default(),
        None,
    );
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Messages are encoded already.
struct AsItIs;

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}
