//! What a connection is doing: how many requests run on it, since when none does, and whether what comes on it is
//! still the work of a client.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::unreadable;
use crate::control::allowance::Allowance;
use crate::control::tally::ConnectionRefusal;

/// Requests that may be given up each second before their answer.
const RESETS_PER_S: u32 = 100;

/// Bytes that a connection may send without asking for anything, at once; and how fast they come back. A ping takes 17.
const UNASKED_MAX: f64 = 1_048_576.0;
const UNASKED_PER_S: f64 = 65_536.0;

/// What a request accounts for: a header and a body at their largest, and their frames.
const PER_REQUEST: f64 = 131_072.0;

pub struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
    idle_since: Mutex<Instant>,
    /// Since when the header of the next request is under way, where bytes are requests: in HTTP/1.
    header_since: Mutex<Option<Instant>>,
    resets: Allowance,
    hostile: Mutex<Option<ConnectionRefusal>>,
    noticed: Notify,
}

/// A request that runs, until its answer has been sent or nobody waits for it any more.
pub struct Running {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl Activity {
    /// The first header is waited for from now on.
    pub fn new(now: Instant) -> Activity {
        Activity {
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            idle_since: Mutex::new(now),
            header_since: Mutex::new(Some(now)),
            resets: Allowance::default(),
            hostile: Mutex::default(),
            noticed: Notify::new(),
        }
    }

    pub fn begin(self: &Arc<Activity>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        *self.header_since() = None;
        Running {
            activity: Arc::clone(self),
            is_answered: false,
        }
    }

    /// So many have begun.
    pub fn requests(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Bytes have come.
    fn heard(&self, now: Instant) {
        if self.running.load(Ordering::Relaxed) == 0 {
            self.header_since().get_or_insert(now);
        }
    }

    /// Returns once a header has been under way for this long.
    pub async fn slow(&self, max: Duration) {
        loop {
            let under_way = self.header_since().map(|since| since.elapsed());
            let rest = match under_way {
                Some(passed) if passed >= max => return,
                Some(passed) => max - passed,
                None => max,
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// Returns once nothing has run for this long.
    pub async fn idle(&self, max: Duration) {
        loop {
            let idle = self.idle_since().elapsed();
            let is_idle = self.running.load(Ordering::Relaxed) == 0;
            if is_idle && idle >= max {
                return;
            }
            let rest = if is_idle { max - idle } else { max };
            tokio::time::sleep(rest).await;
        }
    }

    fn header_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.header_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_since(&self) -> Instant {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the peer is found to be hostile.
    pub async fn hostile(&self) -> ConnectionRefusal {
        loop {
            let noticed = self.noticed.notified();
            if let Some(reason) = self.is_hostile() {
                return reason;
            }
            noticed.await;
        }
    }

    pub fn is_hostile(&self) -> Option<ConnectionRefusal> {
        *self.hostile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notice(&self, reason: ConnectionRefusal) {
        *self.hostile.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.noticed.notify_one();
    }
}

impl Running {
    /// From here on it is no reset when it ends.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let now = Instant::now();
        *self
            .activity
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = now;
        self.activity.running.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered && !self.activity.resets.take(RESETS_PER_S, now) {
            self.activity.notice(ConnectionRefusal::Resets);
        }
    }
}

/// A stream that is cut when more comes on it than its requests account for, and on which each refusal has its form.
pub struct Metered<S> {
    stream: S,
    activity: Arc<Activity>,
    unasked: Unasked,
    /// What is left to be sent in the place of an answer that had no form.
    instead: Option<Vec<u8>>,
}

/// Bytes that may still come, as of an instant and a number of requests.
struct Unasked {
    left: f64,
    at: Instant,
    requests: u64,
}

impl Unasked {
    fn take(&mut self, bytes: usize, requests: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let asked = (requests - self.requests) as f64 * PER_REQUEST;
        self.left = (self.left + passed * UNASKED_PER_S + asked).min(UNASKED_MAX) - bytes as f64;
        self.at = now;
        self.requests = requests;
        self.left >= 0.0
    }
}

impl<S> Metered<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> Metered<S> {
        Metered {
            stream,
            activity,
            unasked: Unasked {
                left: UNASKED_MAX,
                at: Instant::now(),
                requests: 0,
            },
            instead: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        let requests = self.activity.requests();
        let now = Instant::now();
        if bytes > 0 {
            self.activity.heard(now);
        }
        if bytes > 0 && !self.unasked.take(bytes, requests, now) {
            self.activity.notice(ConnectionRefusal::Chatter);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let metered = &mut *self;
        let mut stream = Pin::new(&mut metered.stream);
        if metered.instead.is_none() {
            metered.instead = unreadable::in_form(bytes);
        }
        let Some(instead) = &mut metered.instead else {
            return stream.poll_write(context, bytes);
        };
        while !instead.is_empty() {
            let sent = ready!(stream.as_mut().poll_write(context, instead))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.drain(..sent);
        }
        // Nothing follows it.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(context, only);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_pay_for_bytes_and_what_nobody_asked_runs_out() {
        let start = Instant::now();
        let mut unasked = Unasked {
            left: UNASKED_MAX,
            at: start,
            requests: 0,
        };
        for request in 1..1_000 {
            assert!(
                unasked.take(80_000, request, start),
                "each request may be as large as they get"
            );
        }
        let pings = (0..1_000_000)
            .take_while(|_| unasked.take(17, 999, start))
            .count();
        assert!((40_000..=62_000).contains(&pings), "{pings}");
        let later = start + Duration::from_secs(1);
        unasked.left = 0.0;
        let pings = (0..1_000_000)
            .take_while(|_| unasked.take(17, 999, later))
            .count();
        assert_eq!(pings, 65_536 / 17);
    }

    #[tokio::test]
    async fn resets_are_hostile_past_what_a_client_does_and_answers_never() {
        let activity = Arc::new(Activity::new(Instant::now()));
        for _ in 0..10_000 {
            activity.begin().answered();
        }
        assert_eq!(activity.is_hostile(), None);
        for _ in 0..10 * RESETS_PER_S {
            drop(activity.begin());
        }
        assert_eq!(activity.hostile().await, ConnectionRefusal::Resets);
    }
}
