//! Figures of the log, of the clock that its times are of, and of parts that have panicked.

use super::Page;
use crate::control::blocking;
use crate::control::parts::{self, Part};
use crate::control::{log, wall_clock};

pub(super) fn render(page: &mut Page) {
    page.one(
        "mixminus_log_lines_suppressed_total",
        "counter",
        "Lines that were not logged, as their place had logged enough in that second.",
        log::suppressed(),
    );
    page.one(
        "mixminus_wall_clock_steps_total",
        "counter",
        "How often the wall clock was set: times told before and after do not go together.",
        wall_clock::steps(),
    );
    page.family(
        "mixminus_part_panics_total",
        "counter",
        "How often a part of the daemon has panicked: couriers go on, any other ends the daemon.",
    );
    for part in Part::ALL {
        page.sample(
            "mixminus_part_panics_total",
            &[("part", part.name())],
            parts::panics(part),
        );
    }
    page.one(
        "mixminus_threads_refused_total",
        "counter",
        "How often there was no thread for work that may wait: a request is refused then, other work tried again.",
        blocking::refused(),
    );
}
