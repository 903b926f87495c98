//! Figures of the log, and of the clock that its times are of.

use super::Page;
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
}
