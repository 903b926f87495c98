//! What a key uses: its requests a second, and how many of them run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::{Denied, Identity};
use crate::config;
use crate::control::allowance::Allowance;
use crate::control::tally::RequestRefusal;

#[derive(Debug, Default)]
pub struct Usage {
    allowance: Allowance,
    running: AtomicU32,
}

/// An identity whose request runs until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    pub identity: Identity,
    usage: Option<Arc<Usage>>,
}

impl Usage {
    /// Whether there is a request left in this second; zero sets no bound.
    pub fn may_ask(&self, per_s: u32, now: Instant) -> Result<(), Denied> {
        match per_s == 0 || self.allowance.has(per_s, now) {
            true => Ok(()),
            false => Err(too_often(per_s)),
        }
    }

    pub fn begin(
        self: Arc<Usage>,
        identity: Identity,
        limits: &config::Auth,
        now: Instant,
    ) -> Result<Admitted, Denied> {
        let per_s = limits.requests_per_s;
        if per_s != 0 && !self.allowance.take(per_s, now) {
            return Err(too_often(per_s));
        }
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        // Counted down again when it is dropped, refused or not.
        let admitted = Admitted {
            identity,
            usage: Some(self),
        };
        match limits.concurrent_per_key != 0 && running >= limits.concurrent_per_key {
            true => Err(Denied::too_many(
                RequestRefusal::KeyConcurrency,
                format!("More than {} requests at once.", limits.concurrent_per_key),
            )),
            false => Ok(admitted),
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
    pub fn unbounded(identity: Identity) -> Admitted {
        Admitted {
            identity,
            usage: None,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            usage.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
