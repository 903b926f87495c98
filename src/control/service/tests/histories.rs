//! Random histories: some clients ask at once for whatever there is to ask, of the service as it is, on engines that are
//! stepped by hand. Each history must be linearisable (`search`) to what the model does, its events must pair (`told`), and
//! after its end nothing may be left: no leg, room, slot, port, turn, or request without an answer.
//!
//! The seed of a history that fails is printed; `MIXMINUS_SEED` plays it again. `MIXMINUS_HISTORIES` is how many there are.

mod house;
mod model;
mod requests;
mod search;
mod told;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use house::{House, Size, descriptors};
use model::{CALLS, ROOMS};
use requests::Request;
use search::{Answered, told_in_order};
use told::Told;

use super::tester;
use crate::control::events::Reader;

/// As many as `make test` plays.
const HISTORIES: u64 = 4_000;

/// Of so many histories one records.
const RECORDED: u64 = 50;

const ROOMY: Size = Size {
    legs: 8,
    rooms: 8,
    commands: 4_096,
};

/// Too little of everything: anything may be refused for it.
const TIGHT: Size = Size {
    legs: 2,
    rooms: 2,
    commands: 3,
};

fn histories() -> u64 {
    let asked = std::env::var("MIXMINUS_HISTORIES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(HISTORIES)
}

/// What a house has to play: seeds, of a kind.
struct Shard {
    name: &'static str,
    seeds: std::ops::Range<u64>,
    size: Size,
    first_port: u16,
}

impl Shard {
    fn play(self) {
        let dir =
            std::env::temp_dir().join(format!("mixminus-histories-{}-{}", std::process::id(), self.name));
        let mut house = House::open(&dir, self.first_port, self.size);
        let mut events = house.service.events().reader(None, Some(0));
        let mut told = Told::default();
        for seed in self.seeds {
            let played = catch_unwind(AssertUnwindSafe(|| {
                one(
                    &mut house,
                    &mut events,
                    &mut told,
                    seed,
                    self.size.legs < ROOMY.legs,
                )
            }));
            if !matches!(played, Ok(Ok(()))) {
                let wrong = played.unwrap_or_else(|_| Err("a panic, told above".to_owned()));
                panic!("MIXMINUS_SEED={seed} {}: {}", self.name, wrong.unwrap_err());
            }
        }
        let ports = self.first_port..self.first_port + 64;
        let mut open = Vec::new();
        // What was recorded last is still being written.
        house.until(|house| {
            house.listen_to_all();
            open = descriptors(ports.clone(), &dir);
            open.is_empty()
        });
        assert_eq!(open, [""; 0], "{}", self.name);
    }
}

/// One history, from nothing to nothing.
fn one(
    house: &mut House,
    events: &mut Reader,
    told: &mut Told,
    seed: u64,
    tight: bool,
) -> Result<(), String> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let records = !tight && seed.is_multiple_of(RECORDED);
    let clients = chance.usize(3..=8);
    let programs: Vec<Vec<Request>> = (0..clients)
        .map(|_| {
            let requests = 0..chance.usize(1..=5);
            requests.map(|_| Request::random(&mut chance, records)).collect()
        })
        .collect();
    let mut answered = house.play(programs, &mut chance);
    // Then one who looks at everything, ends everything, and looks again.
    let rooms = || (0..ROOMS as u8).map(|room| Request::Room { room });
    let audit = [Request::List]
        .into_iter()
        .chain(rooms())
        .chain((0..ROOMS as u8).map(|room| Request::Clear { room }))
        .chain(rooms())
        .chain((0..CALLS as u8).map(|call| Request::Look { call }))
        .chain([Request::List]);
    let mut without_it: Vec<Vec<Request>> = vec![Vec::new(); clients];
    without_it.push(audit.collect());
    answered.extend(house.play(without_it, &mut chance));

    let in_order = told_in_order(&answered, tight);
    if in_order < answered.len() {
        let listed: Vec<String> = answered.iter().map(Answered::to_string).collect();
        return Err(format!(
            "{in_order} of {} can be told in order:\n{}",
            answered.len(),
            listed.join("\n")
        ));
    }
    house.come_to_rest()?;
    hear(events, told)?;
    house.until(|house| {
        house.listen_to_all();
        hear(events, told).is_err() || told.is_over().is_ok() || !records
    });
    told.is_over()
}

/// Follows the events there are.
fn hear(events: &mut Reader, told: &mut Told) -> Result<(), String> {
    loop {
        let mut next = std::pin::pin!(events.next());
        let Poll::Ready(messages) = next.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return Ok(());
        };
        messages.iter().try_for_each(|message| told.hear(message))?;
    }
}

/// Fault row C6.
#[test]
fn random_histories_are_linearisable_and_leave_nothing_behind() {
    let one_alone = std::env::var("MIXMINUS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let half = histories() / 2;
    let seeds = |from: u64, count: u64| match one_alone {
        Some(seed) => seed..seed + 1,
        None => from..from + count,
    };
    let shards = [
        Shard {
            name: "roomy",
            seeds: seeds(1, half + half / 2),
            size: ROOMY,
            first_port: 45_000,
        },
        Shard {
            name: "tight",
            seeds: seeds(1 << 32, half / 2),
            size: TIGHT,
            first_port: 45_100,
        },
    ];
    std::thread::scope(|scope| {
        let playing: Vec<_> = shards.map(|shard| scope.spawn(|| shard.play())).into();
        for shard in playing {
            shard.join().expect("its history is printed above");
        }
    });
}
