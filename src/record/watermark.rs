//! How full the disk of recordings is: looked at now and then on a thread of its own, because a disk that hangs must
//! keep nobody waiting who only asks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::disk::{Ballast, Disk, Space};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Watermark {
    space: Mutex<Option<Space>>,
    is_closing: AtomicBool,
}

impl Watermark {
    /// As it was when it was looked at last.
    pub fn space(&self) -> Option<Space> {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's end comes with its next look: unpark it.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// The thread: keeps the figure fresh, sees to the ballast, and tells when it becomes critical or is well again.
    pub fn watch(&self, disk: &dyn Disk, root: &Path, ballast: &Arc<Mutex<Ballast>>) {
        let mut alarmed = false;
        while !self.is_closing.load(Ordering::Acquire) {
            match disk.space(root) {
                Ok(space) => {
                    if space.alarms() != alarmed {
                        alarmed = space.alarms();
                        tell(space, alarmed);
                    }
                    *self.space.lock().unwrap_or_else(PoisonError::into_inner) = Some(space);
                    let mut ballast = ballast.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(error) = ballast.restore() {
                        tracing::warn!(%error, "no room can be kept back to end recordings with");
                    }
                }
                Err(error) => tracing::warn!(%error, "how full the disk of recordings is cannot be told"),
            }
            thread::park_timeout(INTERVAL);
        }
    }
}

fn tell(space: Space, alarmed: bool) {
    let full_percent = space.fullness();
    match alarmed {
        true => tracing::warn!(
            full_percent,
            "the disk of recordings fills up: at 90 % none begins, at 100 % those that run end"
        ),
        false => tracing::info!(full_percent, "the disk of recordings has room again"),
    }
}
