//! The figures of events: how many, and how it goes with their journal.

use super::Page;
use crate::control::events::{EventFigures, Unwritten};

pub fn render(page: &mut Page, figures: &EventFigures) {
    page.one(
        "mixminus_events_newest",
        "gauge",
        "The number, of all, of the newest event.",
        figures.newest,
    );
    page.family(
        "mixminus_events_unwritten_total",
        "counter",
        "Events that were told before they were on the disk, by reason.",
    );
    for (why, count) in Unwritten::ALL.iter().zip(figures.unwritten) {
        page.sample(
            "mixminus_events_unwritten_total",
            &[("reason", why.name())],
            count,
        );
    }
    page.one(
        "mixminus_events_too_late_total",
        "counter",
        "Things that happened after the log of events was closed, at the end of the daemon: nobody is told.",
        figures.too_late,
    );
    page.one(
        "mixminus_events_sync_failures_total",
        "counter",
        "Syncs of the journal of events that failed; each went on in a new segment.",
        figures.sync_failures,
    );
    page.one(
        "mixminus_events_disk_bytes",
        "gauge",
        "Bytes of the journal of events.",
        figures.disk_bytes,
    );
    page.one(
        "mixminus_events_skipped",
        "gauge",
        "1 where the numbers of events skipped ahead at the start, because it was not sure which had been given.",
        u64::from(figures.has_skipped),
    );
}
