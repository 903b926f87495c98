//! Who is heard where only so many may be at once: the loudest, and whoever is in does not go for a trifle.
//!
//! A free place is taken at once, by the loudest of those who wait. Where none is free, the loudest who waits must be
//! clearly louder for a while than the quietest who is in; one at a time changes places. Levels are smoothed, so
//! that neither a cough nor the gap between two words decides. No clock, no gain: it says who, the mix does the rest.

/// Whoever came in so lately is only pushed out by somebody 6 dB louder (a ratio of powers): 1 s.
const SETTLED_TICKS: u16 = 50;
const OVER_NEWCOMER: f32 = 3.981;

/// Later by somebody 3 dB louder.
const OVER_SETTLED: f32 = 1.995;

/// For how long somebody must have been that much louder: 160 ms.
const CHALLENGE_TICKS: u8 = 8;

/// Of the difference to the power of a tick, in each tick: a time constant of 150 ms.
const SMOOTHING: f32 = 0.125;

/// −90 dBFS: left to themselves, levels would fade into numbers too small to be calculated with quickly.
const LEVEL_MIN: f32 = 1e-9;

/// What is known from tick to tick of somebody who has something to say; the default for whoever has nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Turn {
    /// Smoothed mean square, zero before the first tick.
    level: f32,
    /// How long it has been in; zero while it waits.
    ticks: u16,
}

impl Turn {
    pub fn is_in(&self) -> bool {
        self.ticks > 0
    }

    fn hear(&mut self, power: f32) {
        // The first tick of all counts in full.
        let share = if self.level == 0.0 { 1.0 } else { SMOOTHING };
        self.level = (self.level + share * (power - self.level)).max(LEVEL_MIN);
    }

    /// What somebody else must exceed to take this place.
    fn defence(&self) -> f32 {
        let margin = if self.ticks < SETTLED_TICKS {
            OVER_NEWCOMER
        } else {
            OVER_SETTLED
        };
        self.level * margin
    }
}

/// Somebody who has something to say in this tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Mean square of the tick, as the others would hear it.
    pub power: f32,
    pub turn: Turn,
}

/// The choice of one room.
#[derive(Debug, Clone, Default)]
pub struct Talkers {
    /// For how many ticks on end somebody who waits has been clearly louder than somebody who is in.
    challenged: u8,
}

impl Talkers {
    /// One tick: says in the candidates' turns who is in, `max` at most. `order` is room to work in, for as many numbers
    /// as there are candidates; its content does not matter.
    pub fn choose(&mut self, max: usize, candidates: &mut [Candidate], order: &mut Vec<u32>) {
        for candidate in &mut *candidates {
            candidate.turn.hear(candidate.power);
        }
        let seated = candidates
            .iter()
            .filter(|candidate| candidate.turn.is_in())
            .count();
        if seated > max {
            // There are fewer places than before.
            let (_, rest) = louder_first(candidates, order, max, Turn::is_in);
            for index in rest {
                candidates[*index as usize].turn.ticks = 0;
            }
        } else if seated < max {
            let (chosen, _) = louder_first(candidates, order, max - seated, |turn| !turn.is_in());
            for index in chosen {
                candidates[*index as usize].turn.ticks = 1;
            }
        }
        if seated < max {
            self.challenged = 0;
        } else {
            self.settle_challenge(candidates);
        }
        for candidate in candidates.iter_mut().filter(|candidate| candidate.turn.is_in()) {
            candidate.turn.ticks = candidate.turn.ticks.saturating_add(1);
        }
    }

    fn settle_challenge(&mut self, candidates: &mut [Candidate]) {
        let (mut weakest, mut loudest) = (None::<usize>, None::<usize>);
        for (index, Candidate { turn, .. }) in candidates.iter().enumerate() {
            // Of equals the first, so that nothing changes where nothing differs.
            if turn.is_in() {
                if weakest.is_none_or(|weakest| turn.defence() < candidates[weakest].turn.defence()) {
                    weakest = Some(index);
                }
            } else if loudest.is_none_or(|loudest| turn.level > candidates[loudest].turn.level) {
                loudest = Some(index);
            }
        }
        let (Some(weakest), Some(loudest)) = (weakest, loudest) else {
            self.challenged = 0;
            return;
        };
        if candidates[loudest].turn.level <= candidates[weakest].turn.defence() {
            self.challenged = 0;
            return;
        }
        self.challenged += 1;
        if self.challenged >= CHALLENGE_TICKS {
            self.challenged = 0;
            candidates[weakest].turn.ticks = 0;
            candidates[loudest].turn.ticks = 1;
        }
    }
}

/// Those of a kind, parted into the `count` loudest (or all, where there are no more) and the others.
fn louder_first<'a>(
    candidates: &[Candidate],
    order: &'a mut Vec<u32>,
    count: usize,
    kind: impl Fn(&Turn) -> bool,
) -> (&'a [u32], &'a [u32]) {
    let level = |index: &u32| candidates[*index as usize].turn.level;
    order.clear();
    order.extend((0..candidates.len() as u32).filter(|index| kind(&candidates[*index as usize].turn)));
    if count < order.len() {
        order.select_nth_unstable_by(count, |a, b| level(b).total_cmp(&level(a)).then(a.cmp(b)));
    }
    order.split_at(count.min(order.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::level::dbfs_to_power;

    /// A room of people who all have something to say; each tick they are given their levels.
    struct Room {
        max: usize,
        talkers: Talkers,
        turns: Vec<Turn>,
        order: Vec<u32>,
        /// Changes of who is in, each leg counted.
        changes: usize,
    }

    impl Room {
        fn new(people: usize, max: usize) -> Room {
            Room {
                max,
                talkers: Talkers::default(),
                turns: vec![Turn::default(); people],
                order: Vec::with_capacity(people),
                changes: 0,
            }
        }

        /// `None` for who has nothing to say.
        fn tick(&mut self, dbfs: &[Option<f32>]) -> Vec<usize> {
            let mut who = Vec::new();
            let mut candidates = Vec::new();
            for (index, dbfs) in dbfs.iter().enumerate() {
                if let Some(dbfs) = dbfs {
                    who.push(index);
                    candidates.push(Candidate {
                        power: dbfs_to_power(*dbfs),
                        turn: self.turns[index],
                    });
                }
            }
            let capacity = self.order.capacity();
            self.talkers.choose(self.max, &mut candidates, &mut self.order);
            assert_eq!(self.order.capacity(), capacity, "a tick does not allocate");
            let mut turns = vec![Turn::default(); self.turns.len()];
            for (index, candidate) in who.iter().zip(&candidates) {
                turns[*index] = candidate.turn;
            }
            let were_in = std::mem::replace(&mut self.turns, turns);
            self.changes += were_in
                .iter()
                .zip(&self.turns)
                .filter(|(before, now)| before.is_in() != now.is_in())
                .count();
            let is_in: Vec<usize> = (0..dbfs.len())
                .filter(|index| self.turns[*index].is_in())
                .collect();
            assert!(is_in.len() <= self.max, "{} of {}", is_in.len(), self.max);
            is_in
        }

        fn hold(&mut self, ticks: usize, dbfs: &[Option<f32>]) -> Vec<usize> {
            (0..ticks).map(|_| self.tick(dbfs)).last().unwrap_or_default()
        }
    }

    fn levels(dbfs: &[f32]) -> Vec<Option<f32>> {
        dbfs.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_loudest_of_those_who_begin_at_once_are_in_with_their_first_tick() {
        for (max, said, is_in) in [
            (1, vec![-30.0, -20.0, -40.0], vec![1]),
            (2, vec![-30.0, -20.0, -40.0], vec![0, 1]),
            (3, vec![-30.0, -20.0, -40.0], vec![0, 1, 2]),
            (9, vec![-30.0, -20.0], vec![0, 1]),
            // Of equals those who sit first.
            (2, vec![-30.0, -30.0, -30.0], vec![0, 1]),
        ] {
            assert_eq!(
                Room::new(said.len(), max).tick(&levels(&said)),
                is_in,
                "{max} of {said:?}"
            );
        }
    }

    #[test]
    fn equals_and_the_slightly_louder_wait_for_ever_and_the_clearly_louder_160_ms() {
        for (ahead_db, ticks_in, waits) in [
            (0.0, 100, None),
            (2.5, 100, None),
            (5.5, 10, Some(40..=50)),
            (7.0, 10, Some(8..=8)),
            (20.0, 0, Some(8..=8)),
            (3.5, 100, Some(8..=8)),
        ] {
            let mut room = Room::new(2, 1);
            room.hold(ticks_in + 1, &[Some(-30.0), None]);
            let both = levels(&[-30.0, -30.0 + ahead_db]);
            let taken = (1..=200).find(|_| room.tick(&both) == [1]);
            assert!(
                match (taken, &waits) {
                    (Some(taken), Some(waits)) => waits.contains(&taken),
                    (taken, waits) => taken.is_none() && waits.is_none(),
                },
                "{ahead_db} dB louder after {ticks_in} ticks: {taken:?}, not {waits:?}"
            );
            assert!(room.changes <= 3, "nobody goes back and forth");
        }
    }

    #[test]
    fn a_place_that_is_given_up_is_taken_in_the_same_tick_by_the_loudest_who_waits() {
        let mut room = Room::new(4, 2);
        assert_eq!(room.hold(20, &levels(&[-20.0, -25.0, -45.0, -40.0])), [0, 1]);
        assert_eq!(
            room.tick(&[Some(-20.0), None, Some(-45.0), Some(-40.0)]),
            [0, 3],
            "mute, hold and leave make no candidate"
        );
    }

    #[test]
    fn neither_a_cough_nor_the_gap_between_two_words_decides() {
        let mut room = Room::new(2, 1);
        room.hold(60, &levels(&[-25.0, -35.0]));
        for _ in 0..20 {
            assert_eq!(room.hold(3, &levels(&[-25.0, -15.0])), [0], "60 ms");
            assert_eq!(room.hold(40, &levels(&[-25.0, -35.0])), [0]);
            assert_eq!(room.hold(9, &levels(&[-60.0, -27.0])), [0], "180 ms");
            assert_eq!(room.hold(40, &levels(&[-25.0, -35.0])), [0]);
        }
        assert_eq!(
            room.hold(25, &levels(&[-60.0, -27.0])),
            [1],
            "half a second is no gap"
        );
    }

    #[test]
    fn with_fewer_places_the_quietest_go_and_with_more_the_next_come() {
        let said = levels(&[-30.0, -20.0, -25.0, -40.0, -35.0]);
        let mut room = Room::new(5, 4);
        assert_eq!(room.hold(10, &said), [0, 1, 2, 4]);
        room.max = 2;
        assert_eq!(room.tick(&said), [1, 2]);
        room.max = 3;
        assert_eq!(room.tick(&said), [0, 1, 2]);
    }

    #[test]
    fn silence_and_what_is_no_number_keep_the_order_there_is() {
        let mut candidates = [f32::NAN, f32::INFINITY, 0.0, -1.0].map(|power| Candidate {
            power,
            turn: Turn::default(),
        });
        let (mut talkers, mut order) = (Talkers::default(), Vec::with_capacity(4));
        for _ in 0..500 {
            talkers.choose(2, &mut candidates, &mut order);
            assert_eq!(
                candidates
                    .iter()
                    .filter(|candidate| candidate.turn.is_in())
                    .count(),
                2
            );
            assert!(candidates.iter().all(|candidate| !candidate.turn.level.is_nan()));
        }
    }

    /// The level of somebody who talks: syllables of 120 to 300 ms that differ by some decibels, with short gaps, and a
    /// pause of half a second now and then.
    struct Speech {
        chance: fastrand::Rng,
        dbfs: f32,
        left: usize,
        now: f32,
    }

    impl Speech {
        fn next(&mut self) -> f32 {
            if self.left == 0 {
                let syllable = self.now < self.dbfs - 15.0;
                (self.left, self.now) = if syllable {
                    let spread = 4.0 * (self.chance.f32() + self.chance.f32() - 1.0);
                    (self.chance.usize(6..15), self.dbfs + spread)
                } else if self.chance.u8(..10) == 0 {
                    (25, self.dbfs - 35.0)
                } else {
                    (self.chance.usize(1..4), self.dbfs - 20.0)
                };
            }
            self.left -= 1;
            self.now
        }
    }

    fn speeches(people: usize, seed: u64) -> Vec<Speech> {
        (0..people as u64)
            .map(|person| Speech {
                chance: fastrand::Rng::with_seed(seed * 1_000 + person),
                dbfs: -26.0,
                left: 0,
                now: -90.0,
            })
            .collect()
    }

    #[test]
    fn in_the_babble_of_ten_equals_few_places_change_hands() {
        for seed in 1..=5 {
            let mut people = speeches(10, seed);
            let mut room = Room::new(10, 3);
            let seconds = 120;
            for _ in 0..50 * seconds {
                let said: Vec<_> = people.iter_mut().map(|person| Some(person.next())).collect();
                room.tick(&said);
            }
            let exchanges = room.changes as f32 / 2.0 / seconds as f32;
            assert!(exchanges < 2.0, "seed {seed}: {exchanges} exchanges a second");
        }
    }

    #[test]
    fn who_raises_his_voice_over_a_babble_is_in_within_300_ms_of_speech() {
        for seed in 1..=20 {
            let mut people = speeches(10, seed);
            let mut room = Room::new(10, 3);
            let mut chance = fastrand::Rng::with_seed(seed);
            for _ in 0..50 {
                let mut is_in = Vec::new();
                for _ in 0..chance.usize(20..200) {
                    is_in = room.tick(
                        &people
                            .iter_mut()
                            .map(|person| Some(person.next()))
                            .collect::<Vec<_>>(),
                    );
                }
                let Some(one) = (0..10).find(|person| !is_in.contains(person)) else {
                    unreachable!("seven of ten wait");
                };
                let taken = (1..=50).find(|_| {
                    let mut said: Vec<_> = people.iter_mut().map(|person| Some(person.next())).collect();
                    said[one] = Some(-14.0);
                    room.tick(&said).contains(&one)
                });
                assert!(
                    taken.is_some_and(|ticks| ticks <= 15),
                    "seed {seed}: {taken:?} ticks"
                );
            }
        }
    }
}
