//! How unevenly a way takes longer than it must.

use std::time::Duration;

/// An exponential delay is this many times its mean at most.
const EXPONENTIAL_MAX: f64 = 10.0;

/// A heavy tail is cut at this many times its mean.
const HEAVY_MAX: f64 = 40.0;

/// Of a Lomax distribution: the less, the heavier its tail; the variance is infinite up to 2.
const HEAVY_SHAPE: f64 = 2.2;

/// The distribution of what is added to each datagram's delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Anything up to this, all of it as likely.
    Uniform(Duration),
    /// Exponential with this mean: a queue that others use too.
    Exponential(Duration),
    /// With this mean, most of it far below, and now and then many times as much: radio.
    HeavyTailed(Duration),
}

impl Jitter {
    pub const NONE: Jitter = Jitter::Uniform(Duration::ZERO);

    pub(super) fn draw(self, chance: &mut fastrand::Rng) -> Duration {
        // Above 0, so that its logarithm and powers are finite.
        let left = 1.0 - chance.f64();
        match self {
            Jitter::Uniform(most) => most.mul_f64(left),
            Jitter::Exponential(mean) => mean.mul_f64((-left.ln()).min(EXPONENTIAL_MAX)),
            Jitter::HeavyTailed(mean) => {
                let share = (HEAVY_SHAPE - 1.0) * (left.powf(-1.0 / HEAVY_SHAPE) - 1.0);
                mean.mul_f64(share.min(HEAVY_MAX))
            }
        }
    }
}
