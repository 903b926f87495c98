//! Parts of the daemon that run for as long as it does. One that panics is told and counted: nobody would miss it
//! otherwise, as all others go on.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Before one that panicked begins anew the first time, and at most.
pub const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Listens to the engines.
    Pump,
    Http,
    Grpc,
    /// Carries callbacks.
    Courier,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Pump, Part::Http, Part::Grpc, Part::Courier];

    pub fn name(self) -> &'static str {
        match self {
            Part::Pump => "pump",
            Part::Http => "http",
            Part::Grpc => "grpc",
            Part::Courier => "courier",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Of this process.
static PANICS: [AtomicU64; Part::ALL.len()] = [const { AtomicU64::new(0) }; Part::ALL.len()];

/// How often this part has panicked.
pub fn panics(part: Part) -> u64 {
    PANICS[part as usize].load(Ordering::Relaxed)
}

fn count(part: Part) {
    PANICS[part as usize].fetch_add(1, Ordering::Relaxed);
    tracing::error!(%part, "a part of the daemon has panicked");
}

/// Says which part has panicked, if one has.
pub type Fallen = Arc<watch::Sender<Option<Part>>>;

/// What the part does; a panic in it is counted and said to `fallen`.
pub async fn watched(part: Part, fallen: Fallen, work: impl Future<Output = ()>) {
    let _guard = Guard { part, fallen };
    work.await;
}

/// Dropped while it unwinds where the part panics.
struct Guard {
    part: Part,
    fallen: Fallen,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            count(self.part);
            self.fallen.send_replace(Some(self.part));
        }
    }
}

/// Begins the part anew whenever it has panicked, after a rest that grows, until it ends by itself, or all is over while
/// it rests.
pub async fn renewed<Work>(
    part: Part,
    mut rest: Duration,
    over: impl Future<Output = ()>,
    mut begin: impl FnMut() -> Option<Work>,
) where
    Work: Future<Output = ()> + Send + 'static,
{
    let mut over = pin!(over);
    while let Some(work) = begin() {
        match tokio::spawn(work).await {
            Err(error) if error.is_panic() => count(part),
            _ => return,
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = &mut over => return,
        }
        rest = (rest * 2).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_told_and_one_that_ends_is_not() {
        let fallen = Fallen::default();
        tokio::spawn(watched(Part::Http, Arc::clone(&fallen), async {}))
            .await
            .unwrap();
        assert_eq!(*fallen.borrow(), None);
        let stopped = tokio::spawn(watched(Part::Http, Arc::clone(&fallen), std::future::pending()));
        stopped.abort();
        assert!(stopped.await.unwrap_err().is_cancelled());
        assert_eq!(*fallen.borrow(), None);

        let before = panics(Part::Grpc);
        let work = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        let panicked = tokio::spawn(watched(Part::Grpc, Arc::clone(&fallen), work));
        assert!(panicked.await.unwrap_err().is_panic());
        assert_eq!(*fallen.borrow(), Some(Part::Grpc));
        assert_eq!(panics(Part::Grpc), before + 1);
    }

    #[tokio::test]
    async fn a_part_that_can_is_begun_anew_until_it_ends() {
        let begun = Arc::new(AtomicU64::new(0));
        let times = Arc::clone(&begun);
        renewed(
            Part::Courier,
            Duration::from_nanos(1),
            std::future::pending(),
            move || {
                let time = times.fetch_add(1, Ordering::Relaxed);
                Some(async move { assert!(time >= 12, "on purpose") })
            },
        )
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 13);
        assert!(panics(Part::Courier) >= 12);
    }

    #[tokio::test]
    async fn a_part_that_rests_after_a_panic_does_not_when_all_is_over() {
        let is_over = tokio::sync::Notify::new();
        is_over.notify_one();
        let panics = || Some(async { panic!("on purpose") });
        let rests = renewed(Part::Courier, REST_MAX, is_over.notified(), panics);
        let patience = Duration::from_secs(60);
        assert!(tokio::time::timeout(patience, rests).await.is_ok());
    }
}
