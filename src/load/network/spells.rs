//! What befalls a way now and then, and for a while.

use std::time::Duration;

/// When something befalls the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spells {
    /// When the first begins.
    pub first: Duration,
    /// How long each is.
    pub lasts: Duration,
    /// Mean of the exponentially distributed time from the end of one to the beginning of the next; `None`: there
    /// is only one.
    pub mean_gap: Option<Duration>,
}

impl Spells {
    pub const fn once(at: Duration, lasts: Duration) -> Spells {
        Spells {
            first: at,
            lasts,
            mean_gap: None,
        }
    }
}

/// The present spell or the next one.
#[derive(Debug, Clone)]
pub(super) struct Spell {
    spells: Spells,
    chance: fastrand::Rng,
    /// `None` after the last one.
    begins: Option<Duration>,
}

impl Spell {
    pub fn new(spells: Spells, chance: fastrand::Rng) -> Spell {
        Spell {
            spells,
            chance,
            begins: Some(spells.first),
        }
    }

    /// When the spell that lasts at `elapsed` will end, if one does. Times never go back.
    pub fn end_at(&mut self, elapsed: Duration) -> Option<Duration> {
        loop {
            let begins = self.begins?;
            if elapsed < begins {
                return None;
            }
            let ends = begins + self.spells.lasts;
            if elapsed < ends {
                return Some(ends);
            }
            // A gap of nothing at all would never let time pass.
            let gap = self.spells.mean_gap.map(|mean| {
                let times = -(1.0 - self.chance.f64()).ln();
                mean.mul_f64(times).max(Duration::from_millis(1))
            });
            self.begins = gap.map(|gap| ends + gap);
        }
    }
}
