//! Work that may wait, for a disk as a rule, on threads that nobody else waits for.
//!
//! The runtime makes these threads when there is work and none is idle. Where the kernel gives no more of them, work waits
//! for one that is there, as long as there is one: the service keeps one at hand by using it each second. Where there is
//! none at all the runtime panics; here that is an answer, and the work is given back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Threads of the runtime for this, at most; more work waits.
pub const THREADS_MAX: usize = 128;

/// A thread that nobody had work for in so long ends: that which is kept at hand has some each second.
pub const IDLE_MAX: Duration = Duration::from_secs(5);

/// How long work that has the time waits before a thread is asked for again.
const REST: Duration = Duration::from_millis(200);

/// Of this process.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// How often there was no thread.
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("no thread can be had")]
    NoThread,
    /// It panicked, or the runtime ends.
    #[error("the work was not done to its end")]
    Lost,
}

/// Does it on such a thread and waits for it. Where there is none, it is not done.
pub async fn wait_for<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
    match begin(work) {
        Ok(task) => done(task).await,
        Err(Some(_)) => Err(Failed::NoThread),
        Err(None) => Err(Failed::Lost),
    }
}

/// The same, and waits for a thread as well.
pub async fn in_the_end<T: Send + 'static>(
    mut work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    loop {
        match begin(work) {
            Ok(task) => return done(task).await,
            Err(Some(given_back)) => work = given_back,
            Err(None) => return Err(Failed::Lost),
        }
        tokio::time::sleep(REST).await;
    }
}

/// The same, and keeps who asks waiting where there is no thread: for what cannot be put off.
pub async fn whatever_it_takes<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    match begin(work) {
        Ok(task) => done(task).await,
        Err(Some(work)) => Ok(work()),
        Err(None) => Err(Failed::Lost),
    }
}

async fn done<T>(task: JoinHandle<Option<T>>) -> Result<T, Failed> {
    task.await.ok().flatten().ok_or(Failed::Lost)
}

/// Has it done on such a thread; else gives it back, unless a thread has it already and nobody can wait for it.
pub fn begin<T, Work>(work: Work) -> Result<JoinHandle<Option<T>>, Option<Work>>
where
    T: Send + 'static,
    Work: FnOnce() -> T + Send + 'static,
{
    // The runtime panics with its closure in the queue, where a thread that can be had later finds it, without the work.
    let place = Arc::new(Mutex::new(Some(work)));
    let take = |place: &Mutex<Option<Work>>| place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&place);
    let begun = catch_unwind(AssertUnwindSafe(|| {
        tokio::task::spawn_blocking(move || take(&theirs).map(|work| work()))
    }));
    begun.map_err(|_| {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        take(&place)
    })
}

/// Runs what is tested where no thread can be had: its stack would be larger than the address space.
#[cfg(test)]
pub fn without_threads<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(1 << 48)
        .build();
    runtime.unwrap().block_on(test)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn where_no_thread_can_be_had_it_is_said_and_the_work_is_never_done_behind_ones_back() {
        let is_done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_done);
        without_threads(async {
            let before = refused();
            let work = move || seen.store(true, Ordering::Relaxed);
            assert_eq!(wait_for(work).await, Err(Failed::NoThread));
            assert!(refused() > before);
        });
        assert!(!is_done.load(Ordering::Relaxed));
    }

    #[test]
    fn what_cannot_be_put_off_is_done_without_a_thread() {
        assert_eq!(without_threads(whatever_it_takes(|| 7)), Ok(7));
    }

    #[test]
    fn what_has_the_time_waits_for_a_thread() {
        without_threads(async {
            let waiting = tokio::time::timeout(2 * REST, in_the_end(|| 7));
            assert!(waiting.await.is_err());
        });
    }

    #[tokio::test]
    async fn work_is_done_and_one_that_panics_is_lost() {
        assert_eq!(wait_for(|| 7).await, Ok(7));
        assert_eq!(in_the_end(|| 7).await, Ok(7));
        assert_eq!(
            wait_for(|| panic!("on purpose")).await,
            Err::<(), _>(Failed::Lost)
        );
    }
}
