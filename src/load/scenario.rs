//! Who sits in which room and does what when: the plan of a run, made from its size and a seed before anything starts.

use std::time::Duration;

use super::impair::Impairment;
use super::party::GRID;
use super::probe::Sweep;
use crate::codec::Encoding;
use crate::srtp::Suite;

/// In so many rooms, evenly chosen, bursts are sent and listened for: enough to see every phase of a tick, and few
/// enough that capturing what is heard costs nothing.
const PROBED_ROOMS_MAX: usize = 32;

/// Two sweeps can be told apart, so two talkers of a room can probe.
const PROBING_TALKERS_MAX: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Speaks all the time.
    Talker,
    /// Speaks all the time, with bursts.
    Prober(Sweep),
    /// Sends noise.
    Listener,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub room: usize,
    pub role: Role,
    /// What it hears is kept and searched for bursts.
    pub captures: bool,
    /// When in its packet time it sends, from the epoch of the run on.
    pub offset: Duration,
    /// Where in its track it is at the epoch.
    pub first_packet: usize,
}

/// The whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub encoding: Encoding,
    /// Every leg's, where all are encrypted.
    pub srtp: Option<Suite>,
    /// Of the ways between all parties and the daemon.
    pub impairment: Option<Impairment>,
    /// Whether every room is recorded.
    pub records: bool,
    /// Mutes and unmutes in each second.
    pub commands: Option<u32>,
    pub room_size: usize,
    pub talkers: usize,
    pub places: Vec<Place>,
}

impl Scenario {
    /// `legs` legs in rooms of `room_size` (the last may be smaller), the first `talkers` of each room talking.
    pub fn plan(legs: usize, room_size: usize, talkers: usize, encoding: Encoding, seed: u64) -> Scenario {
        let mut chance = fastrand::Rng::with_seed(seed);
        let rooms = legs.div_ceil(room_size);
        let mut places: Vec<Place> = (0..legs)
            .map(|leg| {
                let (room, seat) = (leg / room_size, leg % room_size);
                let others = room_size.min(legs - room * room_size) - 1;
                let probed = others > 0 && is_probed(room, rooms);
                let role = match seat {
                    _ if seat >= talkers => Role::Listener,
                    0 if probed => Role::Prober(Sweep::Up),
                    1 if probed => Role::Prober(Sweep::Down),
                    _ => Role::Talker,
                };
                // The first who only listens; where all talk, the probers listen to each other.
                let captures = probed
                    && if talkers <= others {
                        seat == talkers
                    } else {
                        seat < PROBING_TALKERS_MAX
                    };
                // Whole seconds of whole packets, so that the two sweeps of a room stay half a period apart.
                let first_packet = chance.usize(0..1_000) * (3_000 / usize::from(encoding.ptime_ms));
                Place {
                    room,
                    role,
                    captures,
                    offset: Duration::ZERO,
                    first_packet,
                }
            })
            .collect();
        spread(
            &mut places,
            Duration::from_millis(u64::from(encoding.ptime_ms)),
            &mut chance,
        );
        Scenario {
            encoding,
            srtp: None,
            impairment: None,
            records: false,
            commands: None,
            room_size,
            talkers,
            places,
        }
    }

    /// For the floor: each leg hears itself, so every one is a room of its own that talks and listens.
    pub fn plan_floor(legs: usize, encoding: Encoding, seed: u64) -> Scenario {
        let mut scenario = Scenario::plan(legs, 1, 1, encoding, seed);
        for (leg, place) in scenario.places.iter_mut().enumerate() {
            if is_probed(leg, legs) {
                place.role = Role::Prober(Sweep::Up);
                place.captures = true;
            }
        }
        let packet_time = Duration::from_millis(u64::from(encoding.ptime_ms));
        spread(
            &mut scenario.places,
            packet_time,
            &mut fastrand::Rng::with_seed(seed),
        );
        scenario
    }

    pub fn rooms(&self) -> usize {
        self.places.last().map_or(0, |place| place.room + 1)
    }
}

/// Evenly chosen among all rooms.
fn is_probed(room: usize, rooms: usize) -> bool {
    let probed = rooms.min(PROBED_ROOMS_MAX);
    room * probed / rooms != (room + 1) * probed / rooms
}

/// Gives each leg a moment of its own in the packet time, in random order. The probers' moments are spread evenly
/// among themselves too, so that even a few of them meet the daemon's tick at every phase.
fn spread(places: &mut [Place], packet_time: Duration, chance: &mut fastrand::Rng) {
    let (mut probers, mut others): (Vec<&mut Place>, Vec<&mut Place>) = places
        .iter_mut()
        .partition(|place| matches!(place.role, Role::Prober(_)));
    for group in [&mut probers, &mut others] {
        let mut order: Vec<usize> = (0..group.len()).collect();
        chance.shuffle(&mut order);
        for (&position, place) in order.iter().zip(group.iter_mut()) {
            let share = (position as f64 + chance.f64()) / order.len() as f64;
            let grid = GRID.as_nanos() as f64;
            let steps = (packet_time.as_nanos() as f64 * share / grid).floor();
            place.offset = Duration::from_nanos((steps * grid) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::load::codecs::encoding;

    fn plan(legs: usize, room_size: usize, talkers: usize) -> Scenario {
        Scenario::plan(legs, room_size, talkers, encoding(Codec::Pcmu, 20), 1)
    }

    #[test]
    fn rooms_have_their_talkers_and_the_last_may_be_smaller() {
        let scenario = plan(25, 10, 2);
        assert_eq!(scenario.rooms(), 3);
        for room in 0..3 {
            let places: Vec<&Place> = scenario
                .places
                .iter()
                .filter(|place| place.room == room)
                .collect();
            assert_eq!(places.len(), if room == 2 { 5 } else { 10 });
            let roles: Vec<Role> = places.iter().map(|place| place.role).collect();
            assert_eq!(
                roles[..3],
                [Role::Prober(Sweep::Up), Role::Prober(Sweep::Down), Role::Listener]
            );
            assert_eq!(places.iter().filter(|place| place.captures).count(), 1);
            assert!(places[2].captures);
        }
    }

    #[test]
    fn where_all_talk_the_probers_listen_to_each_other() {
        let scenario = plan(2, 2, 2);
        assert!(
            scenario
                .places
                .iter()
                .all(|place| place.captures && place.role != Role::Listener)
        );
    }

    #[test]
    fn nobody_probes_alone() {
        for place in plan(5, 1, 1).places {
            assert_eq!((place.role, place.captures), (Role::Talker, false));
        }
    }

    #[test]
    fn of_many_rooms_a_few_are_probed() {
        let scenario = plan(2_000, 10, 2);
        let probers = scenario
            .places
            .iter()
            .filter(|place| matches!(place.role, Role::Prober(_)))
            .count();
        assert_eq!(probers, PROBED_ROOMS_MAX * PROBING_TALKERS_MAX);
        let probed: Vec<usize> = scenario
            .places
            .iter()
            .filter(|place| place.captures)
            .map(|place| place.room)
            .collect();
        assert_eq!(probed.len(), PROBED_ROOMS_MAX);
        assert!(probed[0] < 10 && probed[31] > 190, "{probed:?}");
    }

    #[test]
    fn moments_of_sending_fill_the_packet_time_evenly_for_all_and_for_the_probers() {
        let scenario = plan(1_000, 10, 2);
        let probers = |place: &&Place| matches!(place.role, Role::Prober(_));
        let quarter = |place: &Place| place.offset.as_millis() / 5;
        for quarter_ms in 0..4 {
            let all = scenario
                .places
                .iter()
                .filter(|place| quarter(place) == quarter_ms)
                .count();
            assert!((235..=265).contains(&all), "{all}");
            let probing = scenario
                .places
                .iter()
                .filter(probers)
                .filter(|place| quarter(place) == quarter_ms)
                .count();
            assert!((14..=18).contains(&probing), "{probing}");
        }
        assert!(
            scenario
                .places
                .iter()
                .all(|place| place.offset < Duration::from_millis(20))
        );
    }

    #[test]
    fn on_the_floor_each_hears_itself() {
        let scenario = Scenario::plan_floor(100, encoding(Codec::Pcmu, 20), 1);
        let captures = scenario.places.iter().filter(|place| place.captures).count();
        assert_eq!(captures, PROBED_ROOMS_MAX);
        assert_eq!(scenario.rooms(), 100);
    }

    #[test]
    fn the_same_seed_plans_the_same() {
        assert_eq!(plan(50, 10, 2), plan(50, 10, 2));
    }
}
