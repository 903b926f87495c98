//! Recordings of a daemon that is killed, cut off from its object store, or left without a disk: a real process, real
//! sockets and files. What must hold each time: what was heard arrives once, whole, and says itself what it lacks.

mod by_hand;
mod callers;
mod delivered;
mod full;
mod held_up;
mod listeners;
mod outage;
mod rounds;
mod site;
mod uploads;

use std::env;
use std::str::FromStr;

/// A number from the environment, for the long forms of `make torture` and to repeat a run.
fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Chance that can be repeated: the seed is printed, and taken from `MIXMINUS_SEED`.
fn chance(of: &str) -> fastrand::Rng {
    let seed = setting("MIXMINUS_SEED", fastrand::u64(..));
    println!("{of}: MIXMINUS_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
