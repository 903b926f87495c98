//! Request bodies: bounded in size and in time, JSON whatever the content type says.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};

use crate::control::refusal::{REQUEST_TIMEOUT, Refusal, TOO_LARGE};

const BYTES_MAX: usize = 64 * 1024;

/// From the end of the header to the end of the body.
const TIME_MAX: Duration = Duration::from_secs(10);

pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(TOO_LARGE, "The body is larger than 65536 bytes.");
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(TIME_MAX, to_bytes(body, BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // The only other reason is a connection that broke, and then nobody reads this.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refusal::new(
            REQUEST_TIMEOUT,
            "The body did not arrive within 10 seconds.",
        )),
    }
}
