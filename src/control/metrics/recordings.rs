//! The figures of recordings: how many in which state, how their disk is, how it goes with the object store.

use super::Page;
use crate::control::news::Untold;
use crate::record::{Counts, RecorderFigures, RecordingState};

pub fn render(page: &mut Page, figures: &RecorderFigures, untold: [u64; Untold::ALL.len()]) {
    page.family(
        "mixminus_recordings",
        "gauge",
        "Recordings that are known, by state.",
    );
    for state in RecordingState::ALL {
        let count = figures.recordings.get(&state).copied().unwrap_or(0);
        page.sample("mixminus_recordings", &[("state", state.name())], count);
    }
    page.one(
        "mixminus_recording_sync_failures_total",
        "counter",
        "Syncs of journals that failed; each went on in a new segment.",
        figures.sync_failures,
    );
    page.one(
        "mixminus_recording_late_syncs_total",
        "counter",
        "Rounds of syncing that left more than half a second of sound to a loss of power.",
        figures.late_syncs,
    );
    page.family(
        "mixminus_recording_untold_total",
        "counter",
        "States of recordings that no event tells of, by reason.",
    );
    for (reason, count) in Untold::ALL.iter().zip(untold) {
        page.sample(
            "mixminus_recording_untold_total",
            &[("reason", reason.name())],
            count,
        );
    }
    if let Some(space) = figures.space {
        page.family(
            "mixminus_recording_disk_bytes",
            "gauge",
            "The file system of recording.dir.",
        );
        for (kind, bytes) in [("available", space.available), ("total", space.total)] {
            page.sample("mixminus_recording_disk_bytes", &[("kind", kind)], bytes);
        }
    }
    store(page, figures.store.as_ref().unwrap_or(&Counts::default()));
}

fn store(page: &mut Page, counts: &Counts) {
    for (name, help, count) in [
        (
            "mixminus_store_calls_total",
            "Calls to the object store, answered or not.",
            counts.calls,
        ),
        (
            "mixminus_store_parts_total",
            "Parts that the object store has taken.",
            counts.parts,
        ),
        (
            "mixminus_store_bytes_total",
            "Bytes that the object store has taken.",
            counts.bytes,
        ),
        (
            "mixminus_store_delivered_total",
            "Objects that the object store has confirmed.",
            counts.delivered,
        ),
        (
            "mixminus_store_renamed_total",
            "Of those: stored under another name, because there was an object already.",
            counts.renamed,
        ),
    ] {
        page.one(name, "counter", help, count);
    }
    page.family(
        "mixminus_store_failures_total",
        "counter",
        "Calls to the object store that came to nothing, by reason.",
    );
    for (reason, count) in &counts.failures {
        page.sample("mixminus_store_failures_total", &[("reason", reason)], count);
    }
}
