//! Request bodies: bounded in size and in time, JSON whatever the content type says.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use tokio_stream::StreamExt;

use crate::control::refusal::{REQUEST_TIMEOUT, Refusal, TOO_LARGE};

const BYTES_MAX: usize = 64 * 1024;

/// Before a message of gRPC, which may be as large as a body of HTTP.
const HEAD_BYTES: usize = 5;

/// From the end of the header to the end of the body.
const TIME_MAX: Duration = Duration::from_secs(10);

pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let bytes_max = match is_grpc(headers) {
        true => HEAD_BYTES + BYTES_MAX,
        false => BYTES_MAX,
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(TIME_MAX, whole(body, bytes_max)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::new(
            REQUEST_TIMEOUT,
            "The body did not arrive within 10 seconds.",
        )),
    }
}

/// Whether a request, or an answer, is one of gRPC by its type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::cut_short("body"))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn too_large() -> Refusal {
    Refusal::new(TOO_LARGE, "The body is larger than 65536 bytes.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::refusal::CUT_SHORT;
    use axum::http::HeaderValue;

    #[tokio::test]
    async fn a_body_and_a_message_of_grpc_are_as_large_as_may_be_and_no_larger() {
        let plain = HeaderMap::new();
        let grpc = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc+proto"),
        )]);
        for (headers, bytes, is_taken) in [
            (&plain, 65_536, true),
            (&plain, 65_537, false),
            (&grpc, 5 + 65_536, true),
            (&grpc, 5 + 65_537, false),
        ] {
            let body = || Body::from(vec![0; bytes]);
            let mut announced = headers.clone();
            announced.insert(header::CONTENT_LENGTH, bytes.into());
            for headers in [headers, &announced] {
                let found = read(headers, body()).await;
                assert_eq!(found.is_ok(), is_taken, "{bytes}");
                assert!(found.is_ok_and(|found| found.len() == bytes) || !is_taken);
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_too_large() {
        let chunks = [
            Ok("{"),
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        ];
        let body = Body::from_stream(tokio_stream::iter(chunks));
        let refusal = read(&HeaderMap::new(), body).await.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (CUT_SHORT, "The body is cut short.")
        );
    }
}
