//! The threads that answer: those of the runtime that all of the control plane runs on.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::control::blocking;
use crate::driver::realtime::{self, NICE_OF_CONTROL};

/// Names of those that answer, and of those that wait for disks.
const ANSWERING: &str = "control";
const BLOCKING: &str = "blocking";

/// A runtime whose workers, one a core, come before ordinary threads where that is allowed: on a full machine an answer
/// waits for media and for nobody else. What waits for disks, and what is started from there (recordings), is ordinary.
pub fn start() -> io::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    // Workers are named first, by whoever builds the runtime; they and the others come out of one pool.
    let named = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(blocking::THREADS_MAX)
        .thread_keep_alive(blocking::IDLE_MAX)
        .enable_all()
        .thread_name_fn(move || {
            let is_worker = named.fetch_add(1, Ordering::Relaxed) < workers;
            if is_worker { ANSWERING } else { BLOCKING }.to_owned()
        })
        .on_thread_start(|| {
            if thread::current().name() == Some(ANSWERING) {
                realtime::add_nice(NICE_OF_CONTROL);
            }
        })
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and nice value of the thread that asks.
    fn here() -> (String, i32) {
        let name = thread::current().name().map(str::to_owned);
        (name.unwrap_or_default(), realtime::nice())
    }

    #[test]
    fn what_answers_comes_before_what_waits_for_disks_where_that_is_allowed() {
        let runtime = start().unwrap();
        let is_allowed = thread::spawn(|| realtime::add_nice(NICE_OF_CONTROL))
            .join()
            .unwrap();
        let usual = realtime::nice();
        let favoured = if is_allowed {
            usual + NICE_OF_CONTROL
        } else {
            usual
        };
        // The thread of a worker is another than the one that waits for what it says.
        let answering = runtime.block_on(runtime.spawn(async { here() })).unwrap();
        assert_eq!(answering, ("control".to_owned(), favoured));
        for _ in 0..3 {
            let blocking =
                runtime.spawn_blocking(|| thread::spawn(realtime::nice).join().map(|nice| (here(), nice)));
            let (blocking, started) = runtime.block_on(blocking).unwrap().unwrap();
            assert_eq!((blocking, started), (("blocking".to_owned(), usual), usual));
        }
    }
}
