//! The body of a request on its way in, and whether the peer has broken it off.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::Version;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

type BoxError = Box<dyn Error + Send + Sync>;

pub struct Arriving<B = Incoming> {
    body: B,
    is_http2: bool,
    is_broken: Arc<AtomicBool>,
}

impl<B> Arriving<B> {
    /// With it whether it was broken off, as far as it has been read.
    pub fn new(body: B, version: Version) -> (Arriving<B>, Arc<AtomicBool>) {
        let is_broken = Arc::new(AtomicBool::new(false));
        let arriving = Arriving {
            body,
            is_http2: version == Version::HTTP_2,
            is_broken: Arc::clone(&is_broken),
        };
        (arriving, is_broken)
    }
}

impl<B> HttpBody for Arriving<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let frame = match frame {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Some(Err(error.into())),
            // A stream that was reset with NO_ERROR ends like any other here (RFC 9113, section 8.1), only that its end
            // was never sent.
            None if self.is_http2 && !self.body.is_end_stream() => Some(Err("the stream was reset".into())),
            None => return Poll::Ready(None),
        };
        self.is_broken.store(true, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[tokio::test]
    async fn a_body_without_its_end_is_broken_off_and_one_with_it_is_whole() {
        let endless = || Body::from_stream(tokio_stream::iter([Ok::<_, BoxError>("{}")]));
        let failing = || Body::from_stream(tokio_stream::iter([Ok("{"), Err(BoxError::from("gone"))]));
        for (body, version, whole) in [
            (Body::empty(), Version::HTTP_2, true),
            (Body::from("{}"), Version::HTTP_2, true),
            (endless(), Version::HTTP_2, false),
            // In chunks, whose end is not told beforehand.
            (endless(), Version::HTTP_11, true),
            (failing(), Version::HTTP_2, false),
            (failing(), Version::HTTP_11, false),
        ] {
            let (arriving, is_broken) = Arriving::new(body, version);
            let read = axum::body::to_bytes(Body::new(arriving), 100).await;
            assert_eq!(read.is_ok(), whole, "{version:?}");
            assert_eq!(is_broken.load(Ordering::Relaxed), !whole, "{version:?}");
        }
    }
}
