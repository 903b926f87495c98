use super::*;
use crate::control::admission::cost::Kind;

/// A leg takes a tenth of a millisecond, nothing else anything.
fn costs() -> Costs {
    Costs {
        leg: [100_000; Kind::COUNT],
        ..Costs::ASSUMED.scaled(0, 1)
    }
}

fn account(engines: usize, cores: usize) -> Account {
    let limits = Limits {
        engines,
        cores,
        percent: 70,
    };
    Account::new(costs(), limits)
}

fn leg(kind: Kind) -> LegLoad {
    LegLoad {
        encoding: kind.encoding(5),
        encrypted: false,
    }
}

fn room(name: impl std::fmt::Display) -> ConferenceId {
    ConferenceId::parse(&name.to_string()).unwrap()
}

fn call(number: usize) -> CallId {
    CallId::parse(&format!("call-{number}")).unwrap()
}

/// Seats legs in one room for as long as there is room; gives how many, and what binds.
fn fill(account: &mut Account, name: &str, at: (usize, usize), calls: usize) -> (usize, Full) {
    for seated in 0.. {
        match account.fits(&room(name), at, leg(Kind::Pcmu), None) {
            Ok(()) => account.enter(&room(name), at, &call(calls + seated), leg(Kind::Pcmu), None),
            Err(full) => return (seated, full),
        }
    }
    unreachable!("nothing is without bound")
}

#[test]
fn an_engine_takes_legs_up_to_its_share_of_a_tick_and_a_phase_up_to_its_share_of_the_time_to_the_next() {
    // 70 % of 20 ms, where a leg takes 0.1 ms.
    let mut one = account(1, 1);
    assert_eq!(fill(&mut one, "alone", (0, 2), 0), (140, Full::Engine));
    for (neighbour, legs) in [(1, 35), (2, 70), (3, 105)] {
        let mut two = account(1, 1);
        two.enter(&room("next"), (0, neighbour), &call(0), leg(Kind::Pcmu), None);
        assert_eq!(
            fill(&mut two, "large", (0, 0), 1),
            (legs, Full::Phase),
            "the next phase with a room is {neighbour}"
        );
    }
    // A small room goes where it takes no time from a large one: behind it.
    let mut large = account(1, 1);
    for number in 0..60 {
        large.enter(&room("large"), (0, 0), &call(number), leg(Kind::Pcmu), None);
    }
    assert_eq!(
        large.fits(&room("small"), (0, 1), leg(Kind::Pcmu), None),
        Err(Full::Phase)
    );
    assert_eq!(large.place(leg(Kind::Pcmu), None, |_| true), Ok((0, 0)));
}

#[test]
fn engines_beyond_the_cores_there_are_bring_no_more() {
    let mut four = account(4, 2);
    let mut seated = 0;
    let full = loop {
        match four.place(leg(Kind::Pcmu), None, |_| true) {
            Ok(at) => four.enter(&room(seated), at, &call(seated), leg(Kind::Pcmu), None),
            Err(full) => break full,
        }
        seated += 1;
    };
    assert_eq!((seated, full), (280, Full::Machine));
    let legs = |engine: usize| four.used(engine).account.round();
    assert_eq!((0..4).map(legs).collect::<Vec<_>>(), [35.0; 4], "spread evenly");
}

#[test]
fn rooms_go_to_the_engine_with_the_least_to_do_that_has_slots() {
    let mut two = account(2, 2);
    two.enter(&room("a"), (0, 0), &call(1), leg(Kind::Pcmu), None);
    assert_eq!(two.place(leg(Kind::Pcmu), None, |_| true), Ok((1, 0)));
    assert_eq!(two.place(leg(Kind::Pcmu), None, |engine| engine == 0), Ok((0, 1)));
    assert_eq!(two.place(leg(Kind::Pcmu), None, |_| false), Err(Full::Slots));
}

#[test]
fn what_legs_are_measured_to_cost_is_what_counts_where_it_is_more() {
    let mut one = account(1, 1);
    for number in 0..50 {
        one.enter(&room("a"), (0, 0), &call(number), leg(Kind::Pcmu), None);
    }
    // 25 % of a core is promised, and half of one is used.
    (0..60).for_each(|_| one.measured(0, 0.5));
    let used = one.used(0);
    assert!(
        (used.account - 25.0).abs() < 1e-9 && (used.used - 50.0).abs() < 0.1,
        "{used:?}"
    );
    assert_eq!(fill(&mut one, "a", (0, 0), 50), (20, Full::Engine));
    // It is free again at once when legs leave, although the measurement lags behind.
    (0..60).for_each(|number| one.exit(&room("a"), &call(number)));
    assert_eq!(one.fits(&room("a"), (0, 0), leg(Kind::Pcmu), None), Ok(()));
    // Legs that cost less than was thought may come to cost as much.
    (0..60).for_each(|_| one.measured(0, 0.001));
    assert_eq!(one.correction(0), 1.0);
    // What an idle thread takes is not put down to a single leg, nor is anything believed without bound.
    let mut idle = account(1, 1);
    idle.enter(&room("a"), (0, 0), &call(0), leg(Kind::Pcmu), None);
    (0..60).for_each(|_| idle.measured(0, 0.03));
    assert_eq!(idle.correction(0), 1.0);
    (1..20).for_each(|number| idle.enter(&room("a"), (0, 0), &call(number), leg(Kind::Pcmu), None));
    (0..60).for_each(|_| idle.measured(0, 1.0));
    assert_eq!(idle.correction(0), CORRECTION_MAX);
    idle.measured(0, f64::NAN);
    assert!(idle.used(0).used.is_finite());
}

#[test]
fn load_that_no_leg_can_be_blamed_for_leaves_less_for_legs_until_it_is_over() {
    let mut flooded = account(2, 2);
    flooded.enter(&room("a"), (0, 0), &call(0), leg(Kind::Pcmu), None);
    (0..60).for_each(|_| flooded.measured(0, 0.6));
    assert!((flooded.used(0).used - 58.5).abs() < 0.1, "{:?}", flooded.used(0));
    // Of the 70 %, 12 are left for legs of half a percent each, and rooms go elsewhere.
    assert_eq!(fill(&mut flooded, "a", (0, 0), 1), (23, Full::Engine));
    assert_eq!(flooded.place(leg(Kind::Pcmu), None, |_| true), Ok((1, 0)));
    (0..60).for_each(|_| flooded.measured(0, 0.01));
    assert_eq!(flooded.fits(&room("a"), (0, 0), leg(Kind::Pcmu), None), Ok(()));
}

#[test]
fn a_leg_on_its_way_counts_once_within_an_engine_and_twice_between_two() {
    let mut two = account(2, 2);
    let (a, b, c) = (room("a"), room("b"), room("c"));
    let nanos = |account: &Account, engine: usize| account.engines[engine].nanos();
    two.enter(&a, (0, 0), &call(1), leg(Kind::Pcmu), None);
    two.enter(&b, (0, 1), &call(1), leg(Kind::Pcmu), Some(&a));
    assert_eq!(nanos(&two, 0), 100_000);
    two.exit(&a, &call(1));
    assert_eq!(nanos(&two, 0), 100_000);
    two.enter(&c, (1, 0), &call(1), leg(Kind::Pcmu), Some(&b));
    assert_eq!((nanos(&two, 0), nanos(&two, 1)), (100_000, 100_000));
    two.exit(&b, &call(1));
    assert_eq!((nanos(&two, 0), nanos(&two, 1)), (0, 100_000));
    // A full engine lets a leg go from one of its rooms to another.
    let mut full = account(1, 1);
    assert_eq!(fill(&mut full, "a", (0, 0), 0), (140, Full::Engine));
    let from = call(7);
    assert_eq!(full.fits(&b, (0, 0), leg(Kind::Pcmu), Some((&a, &from))), Ok(()));
    assert_eq!(
        full.place(leg(Kind::Pcmu), Some((&a, &from)), |_| true),
        Ok((0, 0))
    );
}

#[test]
fn what_is_left_is_as_many_as_then_get_in() {
    let mut two = account(2, 2);
    for number in 0..30 {
        two.enter(&room("a"), (0, 0), &call(number), leg(Kind::Pcmu), None);
    }
    let (left, binds) = two.left(leg(Kind::Pcmu), 10, 1_000);
    assert!(binds.is_some());
    let mut seated = 0;
    while let Ok(at) = two.place(leg(Kind::Pcmu), None, |_| true) {
        let room = room(format!("more-{seated}"));
        two.enter(&room, at, &call(1_000 + seated), leg(Kind::Pcmu), None);
        seated += 1;
    }
    assert_eq!(left, seated);
    assert_eq!(account(1, 1).left(leg(Kind::Pcmu), 10, 25), (25, None));
}

/// Random joins, leaves, moves, changes of codecs and of rooms against sums made anew each time.
#[test]
fn whatever_legs_do_the_account_is_the_sum_of_those_there_are_never_above_its_bound_by_admission_and_empty_at_last()
 {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let limits = Limits {
            engines: chance.usize(1..4),
            cores: chance.usize(1..4),
            percent: chance.u64(5..100),
        };
        let mut account = Account::new(Costs::ASSUMED.scaled(10, 1), limits);
        // Where each leg sits, and where it comes from as long as it has not left there.
        let mut legs: BTreeMap<CallId, (ConferenceId, Option<ConferenceId>, LegLoad)> = BTreeMap::new();
        let mut rooms: BTreeMap<ConferenceId, (usize, usize)> = BTreeMap::new();
        for step in 0..600 {
            let any = |chance: &mut fastrand::Rng| Kind::ALL[chance.usize(0..Kind::COUNT)];
            let (id, target) = (call(chance.usize(0..60)), room(chance.u8(0..12)));
            let at = rooms.get(&target).copied();
            match (chance.u8(0..10), legs.get(&id).cloned()) {
                (0..5, None) => {
                    let load = leg(any(&mut chance));
                    let found = match at {
                        Some(at) => account.fits(&target, at, load, None).map(|()| at),
                        None => account.place(load, None, |_| true),
                    };
                    if let Ok(at) = found {
                        account.enter(&target, at, &id, load, None);
                        rooms.insert(target.clone(), at);
                        legs.insert(id, (target, None, load));
                        assert_within(&account, step);
                    }
                }
                (0..3, Some((from, None, load))) if from != target => {
                    let leaving = Some((&from, &id));
                    let found = match at {
                        Some(at) => account.fits(&target, at, load, leaving).map(|()| at),
                        None => account.place(load, leaving, |_| true),
                    };
                    if let Ok(at) = found {
                        account.enter(&target, at, &id, load, Some(&from));
                        rooms.insert(target.clone(), at);
                        legs.insert(id, (target, Some(from), load));
                    }
                }
                (3..6, Some((at, Some(from), load))) => {
                    account.exit(&from, &id);
                    legs.insert(id, (at, None, load));
                }
                (6..8, Some((at, from, _))) => {
                    for room in std::iter::once(&at).chain(&from) {
                        account.exit(room, &id);
                    }
                    legs.remove(&id);
                }
                (8, Some((at, from, _))) => {
                    let load = leg(any(&mut chance));
                    for room in std::iter::once(&at).chain(&from) {
                        account.change_leg(room, &id, load);
                    }
                    legs.insert(id, (at, from, load));
                    assert_is_the_sum(&account, step);
                    return_to_bounds(&mut account, &mut legs);
                }
                (9, _) => {
                    let terms = RoomTerms {
                        talkers_max: chance.bool().then(|| chance.u16(1..5)),
                        activity_detection: chance.bool(),
                        recorded: chance.bool(),
                        tracks: chance.bool(),
                    };
                    account.change_room(&target, terms);
                    return_to_bounds(&mut account, &mut legs);
                }
                _ => {}
            }
            rooms.retain(|room, _| {
                let here = |(at, from, _): &(ConferenceId, Option<ConferenceId>, LegLoad)| {
                    at == room || from.as_ref() == Some(room)
                };
                legs.values().any(here)
            });
            assert_is_the_sum(&account, step);
        }
        for (id, (at, from, _)) in &legs {
            for room in std::iter::once(at).chain(from) {
                account.exit(room, id);
            }
        }
        assert!(account.rooms.is_empty());
        for engine in &account.engines {
            assert_eq!(engine.phases, [PhaseAccount::default(); PHASES]);
        }
    }
}

/// What is never refused may exceed every bound; legs leave until nothing does.
fn return_to_bounds(
    account: &mut Account,
    legs: &mut BTreeMap<CallId, (ConferenceId, Option<ConferenceId>, LegLoad)>,
) {
    while !is_within(account) {
        let Some((id, (at, from, _))) = legs.pop_first() else {
            unreachable!("without legs nothing is used");
        };
        for room in std::iter::once(&at).chain(&from) {
            account.exit(room, &id);
        }
    }
}

fn is_within(account: &Account) -> bool {
    (0..account.engines.len()).all(|engine| {
        let phases = account.engines[engine].phases;
        account.holds(engine, &phases).is_ok()
    })
}

fn assert_within(account: &Account, step: usize) {
    let Limits {
        engines,
        cores,
        percent,
    } = account.limits;
    let used: Vec<f64> = (0..engines).map(|engine| account.used(engine).account).collect();
    let total: f64 = used.iter().sum();
    assert!(
        used.iter().all(|used| *used <= percent as f64 + 1e-9)
            && total <= (percent * cores as u64) as f64 + 1e-9,
        "step {step}: {used:?} of {percent} % on {cores} cores"
    );
}

fn assert_is_the_sum(account: &Account, step: usize) {
    for (index, engine) in account.engines.iter().enumerate() {
        for (phase, sums) in engine.phases.iter().enumerate() {
            let here = account
                .rooms
                .values()
                .filter(|room| (room.engine, room.phase) == (index, phase));
            let mut expected = PhaseAccount::default();
            for room in here {
                let mut load = RoomLoad {
                    terms: room.load.terms,
                    legs: Vec::new(),
                };
                room.members.values().for_each(|leg| load.add(*leg));
                expected.nanos += load.cost(&account.costs);
                expected.rooms += 1;
            }
            assert_eq!(*sums, expected, "step {step}: phase {phase} of engine {index}");
        }
    }
}
