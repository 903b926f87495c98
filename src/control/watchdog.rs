//! Whether the daemon does what it is there for: every engine ticks, somebody listens to them, and the control plane
//! answers itself.
//!
//! A service manager that hears nothing for its watchdog's time starts the daemon anew, which ends all calls. So the word
//! is given only where all of it was seen since the last look; and it is looked so often that one look which comes at a
//! bad moment leaves time for another.

use std::time::Duration;

/// Why the word is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    #[error("engine {0} does not tick")]
    Engine(usize),
    #[error("nobody listens to the engines")]
    Pump,
    #[error("the control plane does not answer itself")]
    Control,
}

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    pub look_every: Duration,
    pub answer_within: Duration,
}

impl Rhythm {
    /// `patience`: the manager's.
    pub fn within(patience: Duration) -> Rhythm {
        Rhythm {
            look_every: patience / 4,
            answer_within: patience / 8,
        }
    }
}

/// What was seen when it was looked at last.
pub struct Watchdog {
    seen: Rounds,
}

/// Counts that grow as long as everything moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounds {
    /// Of each engine.
    pub engines: Vec<u64>,
    pub pump: u64,
}

impl Watchdog {
    pub fn new(seen: Rounds) -> Watchdog {
        Watchdog { seen }
    }

    /// Whether everything has moved since the last look.
    pub fn look(&mut self, seen: Rounds, control_answers: bool) -> Result<(), Stalled> {
        let before = std::mem::replace(&mut self.seen, seen);
        let standing = before
            .engines
            .iter()
            .zip(&self.seen.engines)
            .position(|(before, now)| before == now);
        match standing {
            Some(engine) => Err(Stalled::Engine(engine)),
            None if before.pump == self.seen.pump => Err(Stalled::Pump),
            None if !control_answers => Err(Stalled::Control),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(engines: &[u64], pump: u64) -> Rounds {
        let engines = engines.to_vec();
        Rounds { engines, pump }
    }

    #[test]
    fn it_is_fed_while_every_engine_ticks_the_pump_goes_round_and_control_answers() {
        let mut watchdog = Watchdog::new(rounds(&[0, 7], 0));
        assert_eq!(watchdog.look(rounds(&[1, 8], 1), true), Ok(()));
        assert_eq!(watchdog.look(rounds(&[250, 9], 90), true), Ok(()));
    }

    #[test]
    fn one_engine_that_stands_still_is_enough_to_starve_it() {
        let mut watchdog = Watchdog::new(rounds(&[5, 5, 5], 0));
        let mut pump = 0;
        let mut look = |engines: [u64; 3]| {
            pump += 1;
            watchdog.look(rounds(&engines, pump), true)
        };
        assert_eq!(look([6, 5, 6]), Err(Stalled::Engine(1)));
        assert_eq!(look([7, 5, 6]), Err(Stalled::Engine(1)));
        assert_eq!(look([8, 6, 6]), Err(Stalled::Engine(2)));
        assert_eq!(look([9, 7, 7]), Ok(()));
    }

    #[test]
    fn engines_that_nobody_listens_to_are_not_enough() {
        let mut watchdog = Watchdog::new(rounds(&[0], 3));
        assert_eq!(watchdog.look(rounds(&[1], 3), true), Err(Stalled::Pump));
        assert_eq!(watchdog.look(rounds(&[2], 4), true), Ok(()));
    }

    #[test]
    fn engines_that_tick_do_not_make_up_for_a_control_plane_that_hangs() {
        let mut watchdog = Watchdog::new(rounds(&[0], 0));
        assert_eq!(watchdog.look(rounds(&[1], 1), false), Err(Stalled::Control));
        assert_eq!(watchdog.look(rounds(&[2], 2), true), Ok(()));
    }

    #[test]
    fn a_count_that_wraps_is_a_count_that_moves() {
        let mut watchdog = Watchdog::new(rounds(&[u64::MAX], u64::MAX));
        assert_eq!(watchdog.look(rounds(&[0], 0), true), Ok(()));
    }

    /// How long the manager hears nothing, where so many looks in a row are in vain, each at the end of its time.
    fn silence(patience: Duration, in_vain: u32) -> Duration {
        let rhythm = Rhythm::within(patience);
        let mut watchdog = Watchdog::new(rounds(&[0], 0));
        let mut silence = Duration::ZERO;
        for look in 0.. {
            silence += rhythm.look_every;
            if watchdog
                .look(rounds(&[look + 1], look + 1), look >= in_vain.into())
                .is_ok()
            {
                break;
            }
            silence += rhythm.answer_within;
        }
        silence
    }

    #[test]
    fn one_look_at_a_bad_moment_is_forgiven_and_a_stall_is_not() {
        let patience = Duration::from_secs(10);
        assert_eq!(silence(patience, 0), patience / 4);
        assert!(silence(patience, 1) < patience * 3 / 4);
        assert!(silence(patience, 3) > patience);
    }
}
