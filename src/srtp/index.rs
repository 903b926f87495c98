//! The index of a packet: its sequence number with the roll-over counter above it, 48 bits that never come back, of which
//! 16 are sent (RFC 3711 §3.3.1). And the window that knows which were there (§3.3.2).

/// The last index that a key may protect.
pub const INDEX_MAX: u64 = (1 << 48) - 1;

const CYCLE: u64 = 1 << 16;
const HALF: u16 = 1 << 15;

/// The index that a sequence number stands for, given the highest so far: RFC 3711 appendix A. May exceed [`INDEX_MAX`].
///
/// In the first cycle nothing is taken for a packet of the cycle before, which there was not.
pub const fn estimate(highest: u64, sequence: u16) -> u64 {
    let newest = highest as u16;
    let cycle = highest - newest as u64;
    let is_of_next = newest >= HALF && newest - HALF > sequence;
    let is_of_last = newest < HALF && sequence > newest + HALF;
    if is_of_next {
        cycle + CYCLE + sequence as u64
    } else if is_of_last && cycle > 0 {
        cycle - CYCLE + sequence as u64
    } else {
        cycle + sequence as u64
    }
}

/// Which of the last [`Window::PACKETS`] indices were there; all before them count as if they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit n for the index n below the highest.
    seen: u128,
}

impl Window {
    /// RFC 3711 asks for 64 or more.
    pub const PACKETS: u64 = 128;

    /// Only `index` was there.
    pub const fn starting(index: u64) -> Window {
        Window {
            highest: index,
            seen: 1,
        }
    }

    pub const fn highest(&self) -> u64 {
        self.highest
    }

    #[inline]
    pub const fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(back) => back < Window::PACKETS && self.seen >> back & 1 == 0,
        }
    }

    /// `index` was there, and is fresh.
    #[inline]
    pub const fn note(&mut self, index: u64) {
        debug_assert!(self.is_fresh(index));
        if index > self.highest {
            let forward = index - self.highest;
            self.seen = if forward < Window::PACKETS {
                self.seen << forward | 1
            } else {
                1
            };
            self.highest = index;
        } else {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_cycle_is_meant_except_before_the_first() {
        // Highest, sequence number, expected.
        let cases: [(u64, u16, u64); 18] = [
            (0, 0, 0),
            (0, 1, 1),
            (65_535, 0, 65_536),
            (65_535, 65_534, 65_534),
            (65_535, 32_766, 65_536 + 32_766),
            (65_535, 32_767, 32_767),
            (65_536, 65_535, 65_535),
            (65_536 + 100, 65_000, 65_000),
            (65_536 + 100, 32_868, 65_536 + 32_868),
            (65_536 + 100, 32_869, 32_869),
            (65_536 + 40_000, 7_231, 131_072 + 7_231),
            (65_536 + 40_000, 7_232, 65_536 + 7_232),
            (65_536 + 32_768, 0, 65_536),
            (65_536 + 32_767, 65_535, 131_071),
            // In the first cycle a jump ahead is a loss.
            (100, 65_000, 65_000),
            (100, 32_869, 32_869),
            (INDEX_MAX, 65_535, INDEX_MAX),
            (INDEX_MAX, 0, INDEX_MAX + 1),
        ];
        for (highest, sequence, expected) in cases {
            assert_eq!(estimate(highest, sequence), expected, "{highest} then {sequence}");
        }
    }

    #[test]
    fn a_window_knows_its_packets_to_the_edge() {
        let mut window = Window::starting(1_000);
        assert!(!window.is_fresh(1_000));
        assert!(window.is_fresh(1_001) && window.is_fresh(999));
        assert!(window.is_fresh(1_000 - 127), "the oldest in the window");
        assert!(!window.is_fresh(1_000 - 128), "the first before the window");
        assert!(!window.is_fresh(0));

        window.note(1_000 - 127);
        assert!(!window.is_fresh(1_000 - 127));
        window.note(1_001);
        assert!(!window.is_fresh(1_000) && !window.is_fresh(1_001));
        assert!(!window.is_fresh(1_000 - 127), "pushed out");
        assert!(window.is_fresh(1_001 - 127));
    }

    #[test]
    fn jumps_as_wide_as_the_window_and_wider_keep_it_true() {
        for forward in [1, 2, 63, 64, 126, 127, 128, 129, 1_000, 1 << 40] {
            let mut window = Window::starting(500);
            window.note(499);
            window.note(500 + forward);
            assert_eq!(window.highest(), 500 + forward);
            for back in 0..200 {
                let Some(index) = (500 + forward).checked_sub(back) else {
                    continue;
                };
                let was_there = [499, 500, 500 + forward].contains(&index);
                assert_eq!(
                    window.is_fresh(index),
                    back < 128 && !was_there,
                    "{forward} forward, {back} back"
                );
            }
        }
    }
}
