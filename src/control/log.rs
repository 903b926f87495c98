//! Which lines are logged, and how fast any one place in the program may log: a flood of requests must not become a
//! flood of lines.
//!
//! ```text
//! event ─▶ level, target ─▶ this place's lines in this second ─▶ written, or counted ─▶ each second: how many were not
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

use crate::control::daemon::READY;

/// The target of the lines that say what was held back, which are not held back themselves.
const HELD_BACK: &str = "mixminus::log";

/// Beginnings of the targets of libraries that log requests whole, with the names of keys: warnings are all they may log.
const TELLTALES: [&str; 5] = ["aws_", "hyper", "h2", "rustls", "s3s"];

const SECOND: Duration = Duration::from_secs(1);

/// What may be logged at this level: less of libraries that tell secrets, and in any case the line that says ready.
pub fn levels(level: Level) -> Targets {
    let quiet = Level::WARN.min(level);
    Targets::new()
        .with_default(level)
        .with_targets(TELLTALES.map(|target| (target, quiet)))
        .with_target(READY, Level::INFO.max(level))
}

/// Of this process, which has one log.
static LINES: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Lets through so many lines a second from each place that logs; put it behind the filter of levels.
pub struct Limit {
    /// Zero: no bound.
    per_s: u32,
    lines: &'static Lines,
}

impl Limit {
    pub fn new(per_s: u32) -> Limit {
        let lines = &LINES;
        Limit { per_s, lines }
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        self.per_s == 0
            || [READY, HELD_BACK].contains(&metadata.target())
            || self.lines.take(metadata.name(), self.per_s)
    }
}

/// How many lines were held back since the start.
pub fn suppressed() -> u64 {
    LINES.suppressed.load(Ordering::Relaxed)
}

/// Says each second how many lines of which place were held back.
pub async fn tell_of_held_back() {
    let mut seconds = tokio::time::interval(SECOND);
    loop {
        seconds.tick().await;
        say_held_back();
    }
}

/// Says it once more, when the daemon ends.
pub fn say_held_back() {
    for (place, lines) in LINES.take_held_back() {
        tracing::warn!(target: HELD_BACK, place, lines, "lines were held back");
    }
}

struct Lines {
    start: Instant,
    places: Mutex<Places>,
    suppressed: AtomicU64,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines {
            start: Instant::now(),
            places: Mutex::default(),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl Lines {
    /// Whether the place may write another line.
    fn take(&self, place: &'static str, per_s: u32) -> bool {
        let now = self.start.elapsed();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let may = places.take(now, place, per_s);
        drop(places);
        if !may {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    fn take_held_back(&self) -> Vec<(&'static str, u64)> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.take_held_back()
    }
}

/// The lines of each place in its second, which begins with the first line after the one before. A place is a line of
/// the program's text: there are no more than those.
#[derive(Default)]
struct Places(BTreeMap<&'static str, Place>);

#[derive(Default)]
struct Place {
    since: Duration,
    written: u32,
    held_back: u64,
}

impl Places {
    fn take(&mut self, now: Duration, place: &'static str, per_s: u32) -> bool {
        let place = self.0.entry(place).or_default();
        if now.saturating_sub(place.since) >= SECOND {
            (place.since, place.written) = (now, 0);
        }
        let may = place.written < per_s;
        match may {
            true => place.written += 1,
            false => place.held_back += 1,
        }
        may
    }

    /// What was held back since it was asked last, by place.
    fn take_held_back(&mut self) -> Vec<(&'static str, u64)> {
        let places = self.0.iter_mut();
        places
            .map(|(name, place)| (*name, std::mem::take(&mut place.held_back)))
            .filter(|(_, lines)| *lines > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;
    use tracing_subscriber::filter::FilterExt;
    use tracing_subscriber::prelude::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_place_has_its_lines_in_each_second_and_the_rest_is_counted() {
        let mut places = Places::default();
        let mut written = |now, place| (0..5).filter(|_| places.take(at(now), place, 3)).count();
        assert_eq!(written(10, "a"), 3);
        assert_eq!(written(10, "b"), 3, "one place is not silenced by another");
        assert_eq!(written(999, "a"), 0);
        assert_eq!(written(1_010, "a"), 3);
        assert_eq!(places.take_held_back(), [("a", 9), ("b", 2)]);
        assert_eq!(places.take_held_back(), []);
    }

    #[test]
    fn a_quiet_place_saves_nothing_up() {
        let mut places = Places::default();
        assert!(places.take(at(0), "a", 2));
        let written = (0..10).filter(|_| places.take(at(60_000), "a", 2)).count();
        assert_eq!(written, 2);
    }

    /// What is logged, as bytes.
    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(per_s: u32, deed: impl FnOnce()) -> (String, u64) {
        let lines: &'static Lines = Box::leak(Box::default());
        let sheet = Sheet::default();
        let writer = sheet.clone();
        let levels = Targets::new().with_default(Level::INFO);
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let subscriber =
            tracing_subscriber::registry().with(layer.with_filter(levels.and(Limit { per_s, lines })));
        tracing::subscriber::with_default(subscriber, deed);
        let bytes = sheet.0.lock().unwrap().clone();
        (
            String::from_utf8(bytes).unwrap(),
            lines.suppressed.load(Ordering::Relaxed),
        )
    }

    #[test]
    fn a_flood_from_one_place_leaves_the_others_and_what_is_ready_in_the_log() {
        let (log, suppressed) = logged(20, || {
            for number in 0..1_000 {
                tracing::info!(number, "flood");
                tracing::debug!("below the level, and not counted");
            }
            tracing::warn!("another place");
            for _ in 0..30 {
                tracing::info!(target: READY, "ready");
            }
        });
        let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count() as u64;
        // Each second that the loop took lets another twenty through.
        assert!((20..1_000).contains(&lines("flood")), "{}", lines("flood"));
        assert_eq!(lines("flood") + suppressed, 1_000);
        assert_eq!((lines("another place"), lines("ready")), (1, 30));
    }

    #[test]
    fn zero_sets_no_bound() {
        let (log, suppressed) = logged(0, || (0..500).for_each(|_| tracing::info!("line")));
        assert_eq!((log.lines().count(), suppressed), (500, 0));
    }
}
