//! The body of an answer, and what is to be kept until it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

pub struct Held<T> {
    body: Body,
    _kept: T,
}

impl<T> Held<T> {
    pub fn new(body: Body, kept: T) -> Held<T> {
        Held { body, _kept: kept }
    }
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that ends when it is told to: over gRPC as what needs somebody else to ask.
pub struct Until {
    body: Body,
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_grpc: bool,
}

impl Until {
    pub fn new(body: Body, over: impl Future<Output = ()> + Send + 'static, is_grpc: bool) -> Until {
        Until {
            body,
            over: Some(Box::pin(over)),
            is_grpc,
        }
    }
}

impl HttpBody for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(over) = &mut self.over else {
            return Poll::Ready(None);
        };
        if over.as_mut().poll(context).is_pending() {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        self.over = None;
        self.body = Body::empty();
        if !self.is_grpc {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        let status = HeaderValue::from(tonic::Code::Unauthenticated as u16);
        trailers.insert("grpc-status", status);
        let message = "This key is not one any more.";
        trailers.insert("grpc-message", HeaderValue::from_static(message));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
