//! How much sound was never needed.

/// The least sound that was left in hand after a tick, over the last one to two seconds: so much less delay would
/// have served as well.
///
/// What is left before a pause runs down to nothing without any packet being late. So what is noted counts once the
/// next packet has shown that there was no pause.
#[derive(Debug, Default)]
pub(super) struct LowWater {
    noted_us: Option<u32>,
    noted_ticks: u8,
    current_us: Option<u32>,
    before_us: Option<u32>,
    ticks: u8,
}

impl LowWater {
    /// Ticks of one of the two stretches: a second.
    const STRETCH_TICKS: u8 = 50;

    pub fn note(&mut self, left_us: u32) {
        self.noted_us = Some(self.noted_us.map_or(left_us, |least| least.min(left_us)));
        self.noted_ticks = self.noted_ticks.saturating_add(1);
    }

    /// The next packet went on from the last.
    pub fn count_noted(&mut self) {
        if let Some(noted_us) = self.noted_us.take() {
            self.current_us = Some(self.current_us.map_or(noted_us, |least| least.min(noted_us)));
            self.ticks = self.ticks.saturating_add(self.noted_ticks);
        }
        self.noted_ticks = 0;
        if self.ticks >= Self::STRETCH_TICKS {
            self.before_us = self.current_us.take();
            self.ticks = 0;
        }
    }

    /// There was a pause before the next packet.
    pub fn forget_noted(&mut self) {
        self.noted_us = None;
        self.noted_ticks = 0;
    }

    /// Known after a whole stretch; zero until then.
    pub fn surplus_us(&self) -> u32 {
        match (self.before_us, self.current_us) {
            (Some(before), Some(current)) => before.min(current),
            (Some(before), None) => before,
            (None, _) => 0,
        }
    }

    /// So much has just been taken out of the buffer.
    pub fn lower(&mut self, removed_us: u32) {
        let all = [&mut self.before_us, &mut self.current_us, &mut self.noted_us];
        for least in all.into_iter().flatten() {
            *least = least.saturating_sub(removed_us);
        }
    }

    /// So much has just been added to it.
    pub fn raise(&mut self, added_us: u32) {
        let all = [&mut self.before_us, &mut self.current_us, &mut self.noted_us];
        for least in all.into_iter().flatten() {
            *least = least.saturating_add(added_us);
        }
    }

    pub fn restart(&mut self) {
        *self = LowWater::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_water_is_known_after_a_second_and_is_the_least_of_the_last() {
        let mut low = LowWater::default();
        let note = |low: &mut LowWater, left_us| {
            low.note(left_us);
            low.count_noted();
        };
        for tick in 0..50 {
            assert_eq!(low.surplus_us(), 0);
            note(&mut low, if tick == 30 { 12_000 } else { 20_000 });
        }
        assert_eq!(low.surplus_us(), 12_000);
        low.lower(5_000);
        assert_eq!(low.surplus_us(), 7_000);
        for _ in 0..50 {
            note(&mut low, 9_000);
        }
        assert_eq!(low.surplus_us(), 9_000);
        low.note(1_000);
        low.forget_noted();
        low.count_noted();
        assert_eq!(low.surplus_us(), 9_000);
    }
}
