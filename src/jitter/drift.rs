//! Whether the sender's clock runs at another speed than ours: where it is slower the delay melts away, and no packet
//! is late before it is gone; where it is faster the delay grows.
//!
//! The mean delay of five seconds is compared with what it was, and that follows slowly: from 15 ppm on there is 1 ms
//! between them, and a path that merely is uneven is told from a clock.

/// So many ticks make a mean.
const WINDOW_TICKS: u16 = 250;

/// A greater change from one mean to the next, 600 ppm, is not a clock's.
const CHANGE_US_MAX: f32 = 3_000.0;

/// A smaller change is none.
const CHANGE_US_MIN: f32 = 40.0;

/// After so many means that have not changed there is no drift any more.
const STILL_MAX: u8 = 4;

/// What the delay was follows what it is by one part of this at each mean: within 80 seconds.
const FOLLOWS: f32 = 16.0;

#[derive(Debug, Default)]
pub(super) struct Drift {
    sum_us: f32,
    ticks: u16,
    mean_us: f32,
    /// What the mean was when it was higher, and when it was lower.
    former_us: Option<(f32, f32)>,
    /// Means since it last fell, and since it last rose.
    unfallen: u8,
    unrisen: u8,
}

impl Drift {
    /// Notes the delay of a tick.
    pub fn note(&mut self, delay_us: u32) {
        self.sum_us += delay_us as f32;
        self.ticks += 1;
        if self.ticks < WINDOW_TICKS {
            return;
        }
        let mean_us = self.sum_us / f32::from(WINDOW_TICKS);
        let change_us = mean_us - self.mean_us;
        let is_clock = change_us.abs() <= CHANGE_US_MAX;
        let since = |changed: bool, before: u8| if changed { 0 } else { before.saturating_add(1) };
        self.unfallen = since(change_us <= -CHANGE_US_MIN, self.unfallen);
        self.unrisen = since(change_us >= CHANGE_US_MIN, self.unrisen);
        let (higher_us, lower_us) = self.former_us.filter(|_| is_clock).unwrap_or((mean_us, mean_us));
        let followed = |former_us: f32| former_us + (mean_us - former_us) / FOLLOWS;
        self.former_us = Some((followed(higher_us.max(mean_us)), followed(lower_us.min(mean_us))));
        self.mean_us = mean_us;
        (self.sum_us, self.ticks) = (0.0, 0);
    }

    /// By how much the delay has fallen of itself.
    pub fn fallen_us(&self) -> u32 {
        let former_us = self.former_us.filter(|_| self.unfallen < STILL_MAX);
        former_us.map_or(0.0, |(higher_us, _)| higher_us - self.mean_us) as u32
    }

    /// By how much it has risen of itself.
    pub fn risen_us(&self) -> u32 {
        let former_us = self.former_us.filter(|_| self.unrisen < STILL_MAX);
        former_us.map_or(0.0, |(_, lower_us)| self.mean_us - lower_us) as u32
    }

    /// The delay has been changed on purpose.
    pub fn change(&mut self, change_us: i32) {
        let change_us = change_us as f32;
        self.sum_us += change_us * f32::from(self.ticks);
        self.mean_us += change_us;
        if let Some((higher_us, lower_us)) = &mut self.former_us {
            *higher_us += change_us;
            *lower_us += change_us;
        }
    }

    pub fn restart(&mut self) {
        *self = Drift::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_clock_is_told_within_half_a_minute_and_an_uneven_path_is_none() {
        let mut random = fastrand::Rng::with_seed(3);
        for (ppm, least, most) in [
            (0, 0, 300),
            (-200, 2_000, 60_000),
            (-20, 1_000, 7_000),
            (200, 2_000, 60_000),
        ] {
            let mut drift = Drift::default();
            for tick in 0..30_000i64 {
                // 200 ppm are 4 µs a tick; what lies below zero is made up for.
                let delay_us = 120_000 + tick * ppm / 50 + random.i64(0..500);
                drift.note(delay_us as u32);
                if tick == 1_500 && ppm == -200 {
                    assert!(drift.fallen_us() > 2_000, "{}", drift.fallen_us());
                }
            }
            let (told_us, other_us) = if ppm > 0 {
                (drift.risen_us(), drift.fallen_us())
            } else {
                (drift.fallen_us(), drift.risen_us())
            };
            assert!((least..=most).contains(&told_us), "{ppm} ppm: {told_us} us");
            assert!(other_us < 300, "{ppm} ppm: {other_us} us");
        }
    }

    #[test]
    fn a_drift_that_ends_is_none_after_twenty_seconds() {
        let mut drift = Drift::default();
        for tick in 0..4_000u32 {
            drift.note(40_000 - tick.min(2_000) * 6);
        }
        assert_eq!((drift.fallen_us(), drift.risen_us()), (0, 0));
    }

    #[test]
    fn a_change_on_purpose_is_no_drift() {
        let mut drift = Drift::default();
        let mut delay_us = 30_000;
        for tick in 0..5_000 {
            if tick % 333 == 0 {
                drift.change(-2_000);
                delay_us -= 2_000;
            }
            drift.note(delay_us.max(0) as u32 + 1);
            if delay_us == 0 {
                break;
            }
        }
        assert!(drift.fallen_us() < 100, "{}", drift.fallen_us());
    }
}
