//! The connections: how many at once, how long a header may take, and how they end.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// A header must be complete this long after the connection was made or last used.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What is under way when the daemon stops has this long to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// After a failed accept, as with no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopping`, then lets what is under way end, for a bounded time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut stop = stopping.clone();
    loop {
        let next = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let router = router.clone();
        let stopping = stopping.clone();
        tokio::spawn(async move {
            converse(stream, router, stopping).await;
            drop(place);
        });
    }
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    // The place taken for the connection that did not come is free again.
    let _ = tokio::time::timeout(FAREWELL, places.acquire_many(all)).await;
}

async fn converse(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // A client's broken connection is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
