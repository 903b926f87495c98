use std::collections::{BTreeMap, BTreeSet};

use super::*;

const LIMITS: Limits = Limits {
    concurrency: 4,
    bytes: 2_000,
    events: 40,
    back_off_min: Duration::from_secs(1),
    back_off_max: Duration::from_secs(300),
    give_up_after: Duration::from_secs(3_600),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn letter(number: u64, room: &str) -> Letter {
    Letter {
        number,
        first: number,
        room: room.into(),
        body: format!("event {number}").into(),
        age: Duration::ZERO,
    }
}

fn plan(has_fallback: bool, rooms: &[&str]) -> Plan {
    let mut plan = Plan::new(LIMITS, has_fallback, 7, &Progress::default());
    for (index, room) in rooms.iter().enumerate() {
        let number = index as u64 + 1;
        assert!(plan.meets(number));
        plan.take(Duration::ZERO, letter(number, room));
    }
    plan
}

const FAILED: Outcome = Outcome::Failed { retry_after: None };

fn numbers(plan: &mut Plan, now: Duration) -> Vec<u64> {
    std::iter::from_fn(|| plan.next(now))
        .map(|post| post.number)
        .collect()
}

#[test]
fn a_rooms_events_go_one_after_another_and_rooms_beside_each_other() {
    let mut plan = plan(false, &["a", "a", "b", "c", "d", "e"]);
    let now = Duration::ZERO;
    assert_eq!(
        numbers(&mut plan, now),
        [1, 3, 4, 5],
        "as many as may be on their way"
    );
    assert_eq!(plan.due(), None);
    assert_eq!(
        plan.came_back(now, 3, Side::Primary, Outcome::Delivered),
        Verdict::Delivered
    );
    assert_eq!(numbers(&mut plan, now), [6]);
    assert_eq!(plan.came_back(now, 1, Side::Primary, FAILED), Verdict::Later);
    assert!(
        numbers(&mut plan, now).is_empty(),
        "the second of the room waits for the first"
    );
    let due = plan.due().unwrap();
    assert!(due >= seconds(1) / 2 && due <= seconds(1), "{due:?}");
    assert_eq!(numbers(&mut plan, due), [1]);
    plan.came_back(due, 1, Side::Primary, Outcome::Delivered);
    assert_eq!(numbers(&mut plan, due), [2]);
}

#[test]
fn the_fallback_has_its_turn_before_an_event_waits_or_dies() {
    let now = Duration::ZERO;
    for (first, second, expected) in [
        (FAILED, Outcome::Delivered, Some(Verdict::Delivered)),
        (Outcome::Refused, Outcome::Delivered, Some(Verdict::Delivered)),
        (FAILED, FAILED, Some(Verdict::Later)),
        (Outcome::Refused, FAILED, Some(Verdict::Later)),
        (FAILED, Outcome::Refused, Some(Verdict::Later)),
        (Outcome::Refused, Outcome::Refused, None),
    ] {
        let mut plan = plan(true, &["a", "a"]);
        assert_eq!(plan.next(now).unwrap().side, Side::Primary);
        let Verdict::Other(post) = plan.came_back(now, 1, Side::Primary, first) else {
            panic!("to the other URL");
        };
        assert_eq!((post.number, post.side), (1, Side::Fallback));
        let verdict = plan.came_back(now, 1, Side::Fallback, second);
        match expected {
            Some(expected) => assert_eq!(verdict, expected),
            None => {
                let Verdict::Dead(dead) = verdict else {
                    panic!("{verdict:?}")
                };
                assert!(dead.refused && dead.rounds == 1 && dead.letter.number == 1);
                assert_eq!(plan.next(now).unwrap().number, 2, "the room goes on");
            }
        }
    }
}

#[test]
fn waits_grow_to_five_minutes_and_end_when_the_event_is_too_old() {
    let mut plan = plan(false, &["a"]);
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    let dead = loop {
        plan.next(now).unwrap();
        match plan.came_back(now, 1, Side::Primary, FAILED) {
            Verdict::Later => {
                let due = plan.due().unwrap();
                waits.push((due - now).as_secs_f64());
                now = due;
            }
            Verdict::Dead(dead) => break dead,
            other => panic!("{other:?}"),
        }
    };
    for (index, wait) in waits.iter().enumerate().take(waits.len() - 1) {
        let most = 2f64.powi(index as i32).min(300.0);
        assert!(*wait >= most / 2.0 && *wait <= most, "{waits:?}");
    }
    assert_eq!(now, LIMITS.give_up_after, "the last try is at the very end");
    assert!(!dead.refused && u64::from(dead.rounds) == waits.len() as u64 + 1);
    assert_eq!((plan.held(), plan.due()), (0, None));
}

#[test]
fn an_event_that_was_old_when_it_was_read_is_tried_once_all_the_same() {
    let mut plan = plan(false, &[]);
    assert!(plan.meets(1));
    let old = Letter {
        age: seconds(100_000),
        ..letter(1, "a")
    };
    plan.take(seconds(5), old);
    assert!(plan.next(seconds(5)).is_some());
    let verdict = plan.came_back(seconds(6), 1, Side::Primary, FAILED);
    assert!(matches!(verdict, Verdict::Dead(_)));
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_from_all_rooms_within_bounds() {
    for (asked, given) in [(20, 20), (100_000, 300)] {
        let mut plan = plan(false, &["a", "b", "b"]);
        let now = Duration::ZERO;
        plan.next(now).unwrap();
        let retry_after = Some(seconds(asked));
        plan.came_back(now, 1, Side::Primary, Outcome::Failed { retry_after });
        assert_eq!(plan.due(), Some(seconds(given)));
        assert!(numbers(&mut plan, seconds(given) - Duration::from_millis(1)).is_empty());
        assert_eq!(numbers(&mut plan, seconds(given)).len(), 2);
    }
}

#[test]
fn what_one_url_asks_for_is_given_to_it_and_not_to_the_other() {
    let asks = Outcome::Failed {
        retry_after: Some(seconds(200)),
    };
    let round = |plan: &mut Plan, now, number, of_primary, of_fallback| {
        let post = plan.next(now).unwrap();
        assert_eq!(post.number, number);
        let of = |side| match side {
            Side::Primary => of_primary,
            Side::Fallback => of_fallback,
        };
        let Verdict::Other(other) = plan.came_back(now, number, post.side, of(post.side)) else {
            panic!("to the other URL");
        };
        assert_eq!(
            plan.came_back(now, number, other.side, of(other.side)),
            Verdict::Later
        );
        post.side
    };
    let rooms = ["a", "b", "c", "d", "e"];
    let mut of_both = plan(true, &rooms);
    let now = Duration::ZERO;
    for number in 1..=3 {
        assert_eq!(round(&mut of_both, now, number, FAILED, asks), Side::Primary);
    }
    assert!(
        of_both.next(now).is_none(),
        "the fallback goes first by now, and has asked"
    );

    let mut of_primary = plan(true, &rooms);
    for number in 1..=2 {
        round(&mut of_primary, now, number, FAILED, FAILED);
    }
    assert_eq!(round(&mut of_primary, now, 3, asks, FAILED), Side::Primary);
    assert_eq!(
        round(&mut of_primary, now, 4, asks, FAILED),
        Side::Fallback,
        "it has not asked for anything"
    );
    let mut first = plan(true, &rooms);
    round(&mut first, now, 1, asks, FAILED);
    assert_eq!(
        first.due(),
        Some(seconds(200)),
        "rooms still begin with the primary"
    );
}

#[test]
fn a_primary_that_fails_again_and_again_is_not_waited_for_with_each_event() {
    let mut plan = plan(true, &["a"; 8]);
    let mut now = Duration::ZERO;
    let mut sides = Vec::new();
    for number in 1..=8 {
        if number == 7 {
            now += PRIMARY_REST;
        }
        let mut side = plan.next(now).unwrap().side;
        sides.push(side);
        if side == Side::Primary && number != 7 {
            let Verdict::Other(other) = plan.came_back(now, number, side, FAILED) else {
                panic!("to the other URL");
            };
            side = other.side;
        }
        assert_eq!(
            plan.came_back(now, number, side, Outcome::Delivered),
            Verdict::Delivered
        );
    }
    use Side::{Fallback as F, Primary as P};
    assert_eq!(sides, [P, P, P, F, F, F, P, P]);
}

#[test]
fn the_first_success_after_an_outage_calls_back_all_who_wait() {
    let rooms: Vec<String> = (0..10).map(|room| room.to_string()).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let mut plan = plan(false, &rooms);
    let mut now = Duration::ZERO;
    let hour = seconds(3_000);
    while now < hour {
        while let Some(post) = plan.next(now) {
            plan.came_back(now, post.number, post.side, FAILED);
        }
        now = plan.due().unwrap();
    }
    let post = plan.next(now).unwrap();
    plan.came_back(now, post.number, post.side, Outcome::Delivered);
    assert_eq!(numbers(&mut plan, now + RETURN).len(), LIMITS.concurrency);
    assert_eq!(plan.waiting.len() + plan.ready.len(), 9 - LIMITS.concurrency);
    assert!(plan.waiting.is_empty(), "all are ready");
}

#[test]
fn nothing_is_read_beyond_the_bounds() {
    let mut plan = plan(false, &["a"; 40]);
    assert!(!plan.wants_more());
    plan.next(Duration::ZERO);
    plan.came_back(Duration::ZERO, 1, Side::Primary, Outcome::Delivered);
    assert!(plan.wants_more());
    assert!(plan.meets(41));
    let large = Letter {
        body: "x".repeat(2_000).into(),
        ..letter(41, "b")
    };
    plan.take(Duration::ZERO, large);
    assert!(!plan.wants_more());
}

#[test]
fn what_was_settled_before_a_restart_is_not_sent_again_and_the_rest_is() {
    let mut first = plan(false, &["a", "b", "a", "c"]);
    let now = Duration::ZERO;
    assert_eq!(numbers(&mut first, now), [1, 2, 4]);
    first.came_back(now, 2, Side::Primary, Outcome::Delivered);
    let progress = first.progress();
    assert_eq!(
        serde_json::to_value(&progress).unwrap().to_string(),
        r#"{"pending":[[1,1],[3,4]],"readTo":4}"#
    );
    let mut second = Plan::new(LIMITS, false, 7, &progress);
    assert_eq!(second.read_after(), 0);
    let met: Vec<u64> = (1..=6).filter(|number| second.meets(*number)).collect();
    assert_eq!(met, [1, 3, 4, 5, 6]);
    assert_eq!(second.read_after(), 6);
}

#[test]
fn what_left_the_log_is_known_with_its_numbers_and_survives_a_restart_as_a_whole() {
    let mut progress = Progress {
        read_to: 10,
        pending: Ranges::from(vec![(3, 4), (8, 8)]),
    };
    for _ in 0..2 {
        let mut plan = Plan::new(LIMITS, false, 7, &progress);
        assert_eq!(plan.read_after(), 2);
        let lost = plan.misses(3, 20).unwrap();
        assert_eq!((lost.first, lost.last), (3, 20));
        assert!(lost.count >= 13, "{lost:?}");
        assert_eq!(plan.misses(3, 20), None);
        assert!(!plan.meets(15));
        let word = Letter {
            first: lost.first,
            ..letter(lost.last, "")
        };
        plan.take(Duration::ZERO, word);
        plan.next(Duration::ZERO).unwrap();
        progress = plan.progress();
        assert_eq!(Vec::from(progress.pending.clone()), [(3, 20)]);
    }
    let mut plan = Plan::new(LIMITS, false, 7, &progress);
    assert_eq!((plan.begins_anew(), plan.read_after()), (18, 0));
    plan.take(Duration::ZERO, letter(0, ""));
    let mut successor = Plan::new(LIMITS, false, 7, &plan.progress());
    assert_eq!(successor.read_after(), 0);
    assert!(successor.owes_letter_0() && !successor.owes_letter_0());
}

/// A log, a receiver, and a courier that may be killed at any moment.
struct World {
    rng: Rng,
    now: Duration,
    has_fallback: bool,
    /// By number; the first is 1.
    log: Vec<(Arc<str>, Duration)>,
    /// Neither received nor dead, of each room.
    unsettled: BTreeMap<Arc<str>, BTreeSet<u64>>,
    /// What the log still has begins here.
    oldest: u64,
    posts: Vec<(Duration, u64, Side, bool)>,
    /// Of each URL: from when to when it does not answer well.
    outages: [Vec<(Duration, Duration)>; 2],
    poison: BTreeSet<u64>,
    plan: Plan,
    kept: Progress,
    received: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    told_lost: Ranges,
    /// Of words of lost events in this life, by their number.
    words: BTreeMap<u64, u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let mut outages = [Vec::new(), Vec::new()];
        for side in &mut outages {
            let mut at = Duration::ZERO;
            for _ in 0..rng.usize(0..4) {
                at += rng_time(&mut rng, 1_200);
                let end = at + rng_time(&mut rng, 12_000);
                side.push((at, end));
                at = end;
            }
        }
        let has_fallback = rng.bool();
        World {
            now: Duration::ZERO,
            has_fallback,
            log: Vec::new(),
            unsettled: BTreeMap::new(),
            oldest: 1,
            posts: Vec::new(),
            outages,
            poison: BTreeSet::new(),
            plan: Plan::new(LIMITS, has_fallback, seed, &Progress::default()),
            kept: Progress::default(),
            received: BTreeSet::new(),
            dead: BTreeSet::new(),
            told_lost: Ranges::default(),
            words: BTreeMap::new(),
            rng,
        }
    }

    fn happen(&mut self) {
        let room: Arc<str> = self.rng.u8(0..6).to_string().into();
        self.log.push((room.clone(), self.now));
        self.unsettled
            .entry(room)
            .or_default()
            .insert(self.log.len() as u64);
        if self.rng.u8(..) < 6 {
            self.poison.insert(self.log.len() as u64);
        }
        // The log is bounded too.
        self.oldest = self.oldest.max((self.log.len() as u64).saturating_sub(120));
    }

    fn read(&mut self) {
        let mut after = self.plan.read_after();
        for _ in 0..self.rng.u8(1..12) {
            if !self.plan.wants_more() || after >= self.log.len() as u64 {
                return;
            }
            if after + 1 < self.oldest {
                if let Some(lost) = self.plan.misses(after + 1, self.oldest - 1) {
                    self.words.insert(lost.last, lost.first);
                    let word = Letter {
                        first: lost.first,
                        ..letter(lost.last, "")
                    };
                    self.plan.take(self.now, word);
                }
                after = self.oldest - 1;
                continue;
            }
            after += 1;
            if self.plan.meets(after) {
                let (room, at) = self.log[after as usize - 1].clone();
                let age = self.now - at;
                self.plan.take(
                    self.now,
                    Letter {
                        room,
                        age,
                        ..letter(after, "")
                    },
                );
            }
        }
        let batch = 12 * 12;
        assert!(self.plan.held <= LIMITS.events + 1 && self.plan.held_bytes <= LIMITS.bytes + batch);
    }

    fn post(&mut self) {
        while let Some(post) = self.plan.next(self.now) {
            self.set_off(&post);
        }
        assert!(self.posts.len() <= LIMITS.concurrency);
    }

    fn set_off(&mut self, post: &Post) {
        assert!(self.has_fallback || post.side == Side::Primary);
        let is_first_of_room = self
            .posts
            .iter()
            .all(|(_, number, ..)| self.room(*number) != self.room(post.number));
        assert!(is_first_of_room, "two of one room at a time");
        let takes = Duration::from_millis(self.rng.u64(1..5_000));
        // Some answers are lost on their way.
        let answers = self.rng.u8(..) > 12;
        self.posts
            .push((self.now + takes, post.number, post.side, answers));
    }

    fn room(&self, number: u64) -> Arc<str> {
        match self.words.contains_key(&number) {
            true => "".into(),
            false => self.log[number as usize - 1].0.clone(),
        }
    }

    fn is_up(&self, side: Side, at: Duration) -> bool {
        let outages = &self.outages[side as usize];
        !outages.iter().any(|(from, to)| (*from..*to).contains(&at))
    }

    fn arrive(&mut self, number: u64) {
        if let Some(first) = self.words.get(&number) {
            self.told_lost.insert(*first, number);
            return;
        }
        if !self.received.insert(number) {
            return;
        }
        let room = self.room(number);
        self.unsettled.entry(room.clone()).or_default().remove(&number);
        let held = |earlier: u64| {
            let lane = self.plan.lanes.get(&room);
            lane.is_some_and(|lane| lane.letters.iter().any(|(letter, _)| letter.number == earlier))
        };
        for earlier in self.unsettled[&room].range(..number) {
            // It left the log before anyone could read it.
            assert!(
                *earlier < self.oldest && !held(*earlier),
                "{number} before {earlier}"
            );
        }
    }

    fn come_back(&mut self, index: usize) {
        let (_, number, side, answers) = self.posts.swap_remove(index);
        let outcome = if !self.is_up(side, self.now) {
            let retry_after = (self.rng.u8(..) < 40).then(|| rng_time(&mut self.rng, 600));
            Outcome::Failed { retry_after }
        } else if self.poison.contains(&number) && !self.words.contains_key(&number) {
            Outcome::Refused
        } else {
            self.arrive(number);
            if answers { Outcome::Delivered } else { FAILED }
        };
        match self.plan.came_back(self.now, number, side, outcome) {
            Verdict::Delivered | Verdict::Later => {}
            Verdict::Other(post) => self.set_off(&post),
            Verdict::Dead(dead) => self.bury(&dead),
        }
    }

    fn bury(&mut self, dead: &Dead) {
        let number = dead.letter.number;
        if let Some(first) = self.words.get(&number) {
            self.told_lost.insert(*first, number);
            return;
        }
        assert_eq!(dead.refused, dead.refused && self.poison.contains(&number));
        let age = self.now - self.log[number as usize - 1].1;
        assert!(dead.refused || age >= LIMITS.give_up_after, "{age:?}");
        self.dead.insert(number);
        self.unsettled
            .entry(self.room(number))
            .or_default()
            .remove(&number);
    }

    fn crash(&mut self) {
        for (_, number, side, _) in std::mem::take(&mut self.posts) {
            if self.rng.bool() && self.is_up(side, self.now) && !self.poison.contains(&number) {
                self.arrive(number);
            }
        }
        let seed = self.rng.u64(..);
        self.words.clear();
        self.plan = Plan::new(LIMITS, self.has_fallback, seed, &self.kept);
    }

    /// One thing of those that can happen next; false when there is none.
    fn step(&mut self, may_fail: bool) -> bool {
        self.read();
        self.post();
        if self.rng.u8(..) < 60 {
            self.kept = self.plan.progress();
        }
        if may_fail && self.rng.u8(..) < 3 {
            self.crash();
            return true;
        }
        let comes_back = (0..self.posts.len()).min_by_key(|index| self.posts[*index].0);
        let back_at = comes_back.map(|index| self.posts[index].0);
        let happens_at = may_fail.then(|| self.now + rng_time(&mut self.rng, 60));
        let Some(next) = [back_at, self.plan.due(), happens_at].into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        if back_at == Some(next) {
            self.come_back(comes_back.unwrap());
        } else if happens_at == Some(next) {
            for _ in 0..self.rng.u8(1..5) {
                self.happen();
            }
        }
        true
    }
}

/// Mostly short, sometimes up to so many seconds.
fn rng_time(rng: &mut Rng, most: u64) -> Duration {
    let share = rng.f64();
    Duration::from_secs(most).mul_f64(share * share * share)
}

#[test]
fn in_ten_thousand_worlds_every_event_arrives_in_its_rooms_order_or_is_told_of() {
    let first = fastrand::u64(..);
    println!("seed {first}");
    let (mut dead, mut lost, mut received) = (0, 0, 0);
    for world in 0..10_000 {
        let mut world = World::new(first.wrapping_add(world));
        for _ in 0..world.rng.u32(20..200) {
            world.step(true);
        }
        for side in &mut world.outages {
            side.retain(|(from, _)| *from < world.now);
        }
        let mut steps = 0;
        while world.step(false) {
            steps += 1;
            assert!(steps < 20_000, "it comes to an end");
        }
        assert_eq!((world.plan.held(), world.plan.on_their_way()), (0, 0));
        for number in 1..=world.log.len() as u64 {
            let is_told = world.told_lost.clone().remove(number);
            let is_settled = world.received.contains(&number) || world.dead.contains(&number);
            assert!(is_told || is_settled, "{number} is gone without a word");
            lost += u64::from(is_told);
        }
        dead += world.dead.len();
        received += world.received.len();
    }
    println!("{received} received, {dead} dead, {lost} lost");
    assert!(received > 10_000 && dead > 1_000 && lost > 1_000);
}
