//! Figures of the log.

use super::Page;
use crate::control::log;

pub(super) fn render(page: &mut Page) {
    page.one(
        "mixminus_log_lines_suppressed_total",
        "counter",
        "Lines that were not logged, as their place had logged enough in that second.",
        log::suppressed(),
    );
}
