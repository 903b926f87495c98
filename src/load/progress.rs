//! How far a run is: one line rewritten in place on a terminal, else a line every few seconds.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR_CELLS: usize = 30;

/// How often a line is written where it cannot be rewritten.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub struct Progress {
    terminal: bool,
    written: Option<(Instant, String)>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress {
            terminal: io::stderr().is_terminal(),
            written: None,
        }
    }

    /// `done` is the share of `what` that is done, 0 to 1.
    pub fn show(&mut self, what: &str, done: f64) {
        let changed = self
            .written
            .as_ref()
            .is_none_or(|(at, last)| last != what || at.elapsed() >= LINE_EVERY);
        if self.terminal {
            eprint!("\r{what:<28} {} {:>3.0} %", bar(done), done * 100.0);
            let _ = io::stderr().flush();
        } else if changed {
            eprintln!("{what}: {:.0} %", done * 100.0);
        }
        if changed {
            self.written = Some((Instant::now(), what.to_owned()));
        }
    }

    /// Leaves the terminal's line free for others.
    pub fn end(&mut self) {
        if self.terminal && self.written.take().is_some() {
            eprint!("\r{:1$}\r", "", 28 + BAR_CELLS + 8);
            let _ = io::stderr().flush();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

fn bar(done: f64) -> String {
    let full = ((done.clamp(0.0, 1.0) * BAR_CELLS as f64).round()) as usize;
    format!("{}{}", "━".repeat(full), "─".repeat(BAR_CELLS - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done_and_no_fuller() {
        assert_eq!(bar(0.0).matches('━').count(), 0);
        assert_eq!(bar(0.5).matches('━').count(), 15);
        assert_eq!(bar(1.0), bar(7.0));
        assert_eq!(bar(0.3).chars().count(), BAR_CELLS);
    }
}
