//! Whether the daemon does what it is there for: every engine ticks, and the control plane answers itself.
//!
//! A service manager that hears nothing for its watchdog's time starts the daemon anew, so the word is given only where
//! both were seen since the last time.

/// Why the word is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    #[error("engine {0} does not tick")]
    Engine(usize),
    #[error("the control plane does not answer itself")]
    Control,
}

/// What was seen when it was looked at last.
pub struct Watchdog {
    rounds: Vec<u64>,
}

impl Watchdog {
    /// `rounds`: how far each engine has got, by a count that grows as long as it ticks.
    pub fn new(rounds: Vec<u64>) -> Watchdog {
        Watchdog { rounds }
    }

    /// Whether everything has moved since the last look.
    pub fn look(&mut self, rounds: Vec<u64>, control_answers: bool) -> Result<(), Stalled> {
        let before = std::mem::replace(&mut self.rounds, rounds);
        let standing = before
            .iter()
            .zip(&self.rounds)
            .position(|(before, now)| before == now);
        match standing {
            Some(engine) => Err(Stalled::Engine(engine)),
            None if !control_answers => Err(Stalled::Control),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_while_every_engine_ticks_and_control_answers() {
        let mut watchdog = Watchdog::new(vec![0, 7]);
        assert_eq!(watchdog.look(vec![1, 8], true), Ok(()));
        assert_eq!(watchdog.look(vec![250, 9], true), Ok(()));
    }

    #[test]
    fn one_engine_that_stands_still_is_enough_to_starve_it() {
        let mut watchdog = Watchdog::new(vec![5, 5, 5]);
        assert_eq!(watchdog.look(vec![6, 5, 6], true), Err(Stalled::Engine(1)));
        assert_eq!(watchdog.look(vec![7, 5, 6], true), Err(Stalled::Engine(1)));
        assert_eq!(watchdog.look(vec![8, 6, 6], true), Err(Stalled::Engine(2)));
        assert_eq!(watchdog.look(vec![9, 7, 7], true), Ok(()));
    }

    #[test]
    fn engines_that_tick_do_not_make_up_for_a_control_plane_that_hangs() {
        let mut watchdog = Watchdog::new(vec![0]);
        assert_eq!(watchdog.look(vec![1], false), Err(Stalled::Control));
        assert_eq!(watchdog.look(vec![2], true), Ok(()));
    }

    #[test]
    fn a_count_that_wraps_is_a_count_that_moves() {
        let mut watchdog = Watchdog::new(vec![u64::MAX]);
        assert_eq!(watchdog.look(vec![0], true), Ok(()));
    }
}
