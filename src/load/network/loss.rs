//! Which datagrams are lost, singly or in bursts.

/// Gilbert's two states: everything is lost in one, nothing in the other, and the chances of changing over give the
/// wanted share and mean length of bursts.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    share: f64,
    burst: f64,
    chance: fastrand::Rng,
    losing: bool,
}

impl Loss {
    /// A share of 0 to 1, and how many are lost in a row on the mean: at least 1.
    pub fn new(share: f64, burst: f64, chance: fastrand::Rng) -> Loss {
        Loss {
            share,
            burst: burst.max(1.0),
            chance,
            losing: false,
        }
    }

    /// Whether the next datagram is lost.
    pub fn takes_next(&mut self) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let recover = 1.0 / self.burst;
        let start = (recover * self.share / (1.0 - self.share)).min(1.0);
        // A burst of one needs no memory: whatever came before, the chance is the share.
        self.losing = if self.burst <= 1.0 {
            self.chance.f64() < self.share
        } else if self.losing {
            self.chance.f64() >= recover
        } else {
            self.chance.f64() < start
        };
        self.losing
    }
}
