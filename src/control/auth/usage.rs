//! What a key uses: its requests a second, how many of them run, and how many of those are streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::keys::Seal;
use super::{Denied, Identity};
use crate::config;
use crate::control::allowance::Allowance;
use crate::control::tally::RequestRefusal;

#[derive(Debug, Default)]
pub struct Usage {
    allowance: Allowance,
    running: AtomicU32,
    streams: AtomicU32,
}

/// An identity whose request runs until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    pub identity: Identity,
    /// The secret of its key that was shown, or that signed; none for a certificate, or where anyone may ask.
    pub(super) seal: Option<Seal>,
    place: Option<Running>,
}

/// One of the requests of a key that run.
#[derive(Debug)]
pub struct Running(Arc<Usage>);

/// One of the streams of a key that are open.
#[derive(Debug)]
pub struct Streaming(Arc<Usage>);

impl Usage {
    /// Whether there is a request left in this second; zero sets no bound.
    pub fn may_ask(&self, per_s: u32, now: Instant) -> Result<(), Denied> {
        match per_s == 0 || self.allowance.has(per_s, now) {
            true => Ok(()),
            false => Err(too_often(per_s)),
        }
    }

    /// A place among those that run.
    pub fn begin(self: Arc<Usage>, limits: &config::Auth) -> Result<Running, Denied> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        // Counted down again when it is dropped, refused or not.
        let place = Running(self);
        match limits.concurrent_per_key != 0 && running >= limits.concurrent_per_key {
            true => Err(Denied::too_many(
                RequestRefusal::KeyConcurrency,
                format!("More than {} requests at once.", limits.concurrent_per_key),
            )),
            false => Ok(place),
        }
    }
}

impl Running {
    /// Takes one of the requests of this second.
    pub fn count(&self, per_s: u32, now: Instant) -> Result<(), Denied> {
        match per_s == 0 || self.0.allowance.take(per_s, now) {
            true => Ok(()),
            false => Err(too_often(per_s)),
        }
    }
}

fn too_often(per_s: u32) -> Denied {
    Denied::too_many(
        RequestRefusal::KeyRate,
        format!("More than {per_s} requests a second."),
    )
}

impl Admitted {
    pub fn new(identity: Identity, seal: Option<Seal>, place: Option<Running>) -> Admitted {
        Admitted {
            identity,
            seal,
            place,
        }
    }

    /// A place among the streams of its key; whoever has no key has no bound.
    pub fn stream(&self, max: usize) -> Result<Option<Streaming>, Denied> {
        let Some(Running(usage)) = &self.place else {
            return Ok(None);
        };
        let open = usage.streams.fetch_add(1, Ordering::Relaxed);
        let place = Streaming(Arc::clone(usage));
        match open as usize >= max {
            true => Err(Denied::too_many(
                RequestRefusal::Streams,
                format!("More than {max} streams of one key."),
            )),
            false => Ok(Some(place)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
