//! What gives way, and in which order, when engines cannot keep their time although admission has held: something else
//! takes the processor, or legs cost more than was seen so far.
//!
//! One step at a time, down as well as up. The cadence of the mix and the journals of recordings are on no step.

/// How strained the engine is that is worst off, over a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Strain {
    /// Processor time of its thread, in percent of a core.
    pub cpu_percent: f64,
    /// From the beginning of its phases to their end, in percent of the time: what others took meanwhile included.
    pub busy_percent: f64,
    /// Of its phases, those that began later than a phase lasts, in percent.
    pub late_percent: f64,
}

/// The highest level: four things have given way.
pub const LEVEL_MAX: u8 = 4;

/// What gives way at each level, and stays so at those above.
pub const STEPS: [&str; LEVEL_MAX as usize] = [
    "talker events are not told",
    "reports are told less often",
    "Opus is encoded with less effort",
    "the largest rooms hear fewer talkers at once",
];

/// From here on an engine is overloaded, in percent of a core.
const BUSY_PERCENT: f64 = 85.0;

/// Of the phases that began late: a share that is heard.
const LATE_PERCENT: f64 = 1.0;

/// At ease again, so far below either that the next step down does not lead straight back. Late phases are judged over
/// the whole time before a step down: of a second's at most 200, a single stray one is half a percent.
const EASE_BUSY_PERCENT: f64 = 70.0;
const EASE_LATE_PERCENT: f64 = 0.5;

/// An engine that uses less than this of a core would not be helped by doing less.
const WORTH_PERCENT: f64 = 10.0;

/// Seconds on end before a step up, and before a step down.
const UP_AFTER: u32 = 3;
const DOWN_AFTER: usize = 10;

#[derive(Debug, Clone, Default)]
pub struct Ladder {
    level: u8,
    strained: u32,
    /// Seconds on end in which no engine was busy.
    at_ease: usize,
    /// Of each engine, percent of late phases in each of the last seconds; the oldest is overwritten.
    late: Vec<[f64; DOWN_AFTER]>,
    seconds: usize,
}

impl Ladder {
    #[cfg(test)]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// A second has gone by; gives the level from now on.
    pub fn step(&mut self, strains: impl IntoIterator<Item = Strain>) -> u8 {
        let (mut is_strained, mut is_busy) = (false, false);
        let second = self.seconds % DOWN_AFTER;
        self.seconds = self.seconds.wrapping_add(1);
        for (engine, strain) in strains.into_iter().enumerate() {
            if self.late.len() == engine {
                self.late.push([0.0; DOWN_AFTER]);
            }
            let matters = strain.cpu_percent >= WORTH_PERCENT;
            self.late[engine][second] = if matters { strain.late_percent } else { 0.0 };
            is_strained |=
                matters && (strain.busy_percent > BUSY_PERCENT || strain.late_percent > LATE_PERCENT);
            is_busy |= matters && strain.busy_percent >= EASE_BUSY_PERCENT;
        }
        self.strained = if is_strained { self.strained + 1 } else { 0 };
        self.at_ease = if is_busy { 0 } else { self.at_ease + 1 };
        if self.strained >= UP_AFTER {
            self.strained = 0;
            self.level = (self.level + 1).min(LEVEL_MAX);
        } else if self.at_ease >= DOWN_AFTER && self.was_in_time() {
            self.at_ease = 0;
            self.level = self.level.saturating_sub(1);
        }
        self.level
    }

    /// Whether in the last seconds no engine was late often.
    fn was_in_time(&self) -> bool {
        let mean = |late: &[f64; DOWN_AFTER]| late.iter().sum::<f64>() / DOWN_AFTER as f64;
        self.late.iter().all(|late| mean(late) < EASE_LATE_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EASE: Strain = Strain {
        cpu_percent: 40.0,
        busy_percent: 40.0,
        late_percent: 0.0,
    };
    const BUSY: Strain = Strain {
        cpu_percent: 80.0,
        busy_percent: 86.0,
        late_percent: 0.0,
    };
    const LATE: Strain = Strain {
        cpu_percent: 40.0,
        busy_percent: 50.0,
        late_percent: 2.0,
    };
    const BETWEEN: Strain = Strain {
        cpu_percent: 60.0,
        busy_percent: 75.0,
        late_percent: 0.5,
    };

    fn levels(ladder: &mut Ladder, seconds: usize, strain: Strain) -> Vec<u8> {
        (0..seconds).map(|_| ladder.step([EASE, strain])).collect()
    }

    #[test]
    fn each_thing_gives_way_after_three_bad_seconds_and_comes_back_after_ten_good_ones_in_reverse() {
        let mut ladder = Ladder::default();
        assert_eq!(
            levels(&mut ladder, 14, BUSY),
            [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
        );
        assert_eq!(levels(&mut ladder, 10, EASE), [4, 4, 4, 4, 4, 4, 4, 4, 4, 3]);
        assert_eq!(levels(&mut ladder, 30, EASE).last(), Some(&0));
        assert_eq!(levels(&mut ladder, 30, EASE).last(), Some(&0));
    }

    #[test]
    fn late_ticks_count_as_much_as_a_busy_engine_and_what_lies_between_changes_nothing() {
        let mut ladder = Ladder::default();
        assert_eq!(levels(&mut ladder, 3, LATE), [0, 0, 1]);
        assert!(levels(&mut ladder, 100, BETWEEN).iter().all(|level| *level == 1));
        // Two bad seconds and a fair one, nine good ones and a fair one: nothing.
        for _ in 0..20 {
            assert_eq!(levels(&mut ladder, 2, BUSY), [1, 1]);
            levels(&mut ladder, 1, BETWEEN);
            assert!(levels(&mut ladder, 9, EASE).iter().all(|level| *level == 1));
            levels(&mut ladder, 1, BETWEEN);
        }
    }

    #[test]
    fn a_stray_late_phase_every_few_seconds_keeps_nothing_given_up() {
        for every in [2, 3, 7] {
            let mut ladder = Ladder::default();
            assert_eq!(levels(&mut ladder, 14, BUSY).last(), Some(&4));
            let last = (0..60).map(|second| {
                // One of a second's 200.
                let late_percent = if second % every == 0 { 0.5 } else { 0.0 };
                ladder.step([EASE, Strain { late_percent, ..EASE }])
            });
            assert_eq!(last.last(), Some(0), "one in {every} seconds");
        }
        // Where each second has some that are late, it is no stray.
        let mut ladder = Ladder::default();
        assert_eq!(levels(&mut ladder, 3, LATE), [0, 0, 1]);
        let late_percent = 0.75;
        let often = Strain { late_percent, ..EASE };
        assert_eq!(levels(&mut ladder, 60, often).last(), Some(&1));
    }

    #[test]
    fn an_engine_with_next_to_nothing_to_do_gives_nothing_up() {
        let idle = Strain {
            cpu_percent: 5.0,
            busy_percent: 95.0,
            late_percent: 50.0,
        };
        let mut ladder = Ladder::default();
        assert_eq!(levels(&mut ladder, 50, idle).last(), Some(&0));
        assert_eq!((0..50).map(|_| ladder.step([])).last(), Some(0));
    }

    /// Two engines on a processor of which something else takes more and more, and gives it back: what is switched off
    /// lowers what the engines take, and the ladder settles instead of going up and down.
    #[test]
    fn under_a_thief_of_processor_time_the_ladder_climbs_as_far_as_it_must_and_comes_down_again() {
        const SAVED: [f64; 5] = [0.0, 1.0, 2.0, 18.0, 25.0];
        for (stolen, settles) in [
            (0.0, 0..=0),
            (20.0, 0..=0),
            (45.0, 1..=3),
            (60.0, 3..=4),
            (75.0, 4..=4),
        ] {
            let mut ladder = Ladder::default();
            let mut changes = 0;
            for second in 0..600 {
                let stolen = if second < 400 { stolen } else { 0.0 };
                let before = ladder.level();
                let cpu_percent = 60.0 - SAVED[usize::from(before)];
                // What is stolen from a busy thread makes its phases longer; beyond all there is they are late.
                let busy_percent = cpu_percent * 100.0 / f64::max(100.0 - stolen, 1.0);
                let late_percent = if busy_percent > 100.0 { 10.0 } else { 0.0 };
                let strain = Strain {
                    cpu_percent,
                    busy_percent: busy_percent.min(100.0),
                    late_percent,
                };
                let after = ladder.step([strain, strain]);
                assert!(after.abs_diff(before) <= 1, "one step at a time");
                changes += u32::from(after != before);
                if second == 399 {
                    assert!(settles.contains(&after), "{after} with {stolen} % stolen");
                }
            }
            assert_eq!(ladder.level(), 0, "{stolen} % given back");
            assert!(changes <= 8, "{changes} changes with {stolen} % stolen");
        }
    }
}
