//! Messages on the wire: five bytes of head, then protobuf; the outcome in the trailers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tokio_stream::{Stream, StreamExt, once};
use tonic::Status;
use tonic::codec::{EncodeBody, EncodeBuf, Encoder, SingleMessageCompressionOverride};

use crate::control::operation::Answer;
use crate::control::refusal::{INVALID_REQUEST, REQUEST_TIMEOUT, Refusal, TOO_LARGE, UNSUPPORTED};

/// As large as a body over HTTP.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

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
            Some(Err(_)) => return Err(Refusal::cut_short("message")),
            None => return Err(Refusal::new(INVALID_REQUEST, "The message is cut short.")),
        }
    }
}

/// A message behind its head.
pub fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + message.len());
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put(message);
    bytes.freeze()
}

/// A body of messages each of which is whole in time, the first from the beginning on; between them there is no bound.
pub fn each_in_time(body: Body) -> Body {
    Body::new(InTime {
        body,
        deadline: Some(Box::pin(tokio::time::sleep(TIME_MAX))),
        head: Vec::with_capacity(HEAD_BYTES),
        left: 0,
    })
}

struct InTime {
    body: Body,
    /// Of the message that has begun.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What has come of a head.
    head: Vec<u8>,
    /// Bytes to come of the message behind it.
    left: usize,
}

impl InTime {
    /// Follows where messages begin and end.
    fn follow(&mut self, mut bytes: &[u8]) {
        let mut has_ended = false;
        while !bytes.is_empty() {
            let taken = match self.left {
                0 => (HEAD_BYTES - self.head.len()).min(bytes.len()),
                left => left.min(bytes.len()),
            };
            match self.left {
                0 => self.head.extend_from_slice(&bytes[..taken]),
                _ => self.left -= taken,
            }
            bytes = &bytes[taken..];
            if let Some([_, length @ ..]) = self.head.first_chunk::<HEAD_BYTES>() {
                self.left = u32::from_be_bytes(*length) as usize;
                self.head.clear();
            }
            has_ended |= self.left == 0 && self.head.is_empty();
        }
        match self.left == 0 && self.head.is_empty() {
            true => self.deadline = None,
            false if has_ended || self.deadline.is_none() => {
                self.deadline = Some(Box::pin(tokio::time::sleep(TIME_MAX)));
            }
            false => {}
        }
    }
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                let data = data.clone();
                self.follow(&data);
            }
            return Poll::Ready(frame);
        }
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(context).map(|()| {
                let late = Status::deadline_exceeded("The message did not arrive within 10 seconds.");
                Some(Err(axum::Error::new(late)))
            }),
            None => Poll::Pending,
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
