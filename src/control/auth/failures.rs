//! Who has failed to say who asks, how often: bounded, so that what comes from many addresses takes no more memory than
//! what comes from one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::control::allowance::Allowance;

/// An address, and the key that was claimed there where there is such a key.
pub type Name = (IpAddr, Option<Arc<str>>);

/// Names that are remembered; those heard of longest ago are forgotten first, roughly.
pub const NAMES_MAX: usize = 65_536;

pub struct Failures {
    halves: Mutex<Halves>,
    half_max: usize,
}

/// When the young half is full the old one is forgotten and takes its place.
#[derive(Default)]
struct Halves {
    young: HashMap<Name, Allowance>,
    old: HashMap<Name, Allowance>,
}

impl Failures {
    pub fn new(names_max: usize) -> Failures {
        Failures {
            halves: Mutex::default(),
            half_max: names_max / 2,
        }
    }

    /// Whether one failure more is within `per_s`; zero sets no bound.
    pub fn may_try(&self, name: Name, per_s: u32, now: Instant) -> bool {
        if per_s == 0 {
            return true;
        }
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let known = halves.young.get(&name).or_else(|| halves.old.get(&name));
        known.is_none_or(|failures| failures.has(per_s, now))
    }

    pub fn failed(&self, name: Name, per_s: u32, now: Instant) {
        if per_s == 0 {
            return;
        }
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let halves = &mut *halves;
        let known = halves.old.remove(&name);
        if halves.young.len() >= self.half_max && !halves.young.contains_key(&name) {
            halves.old = std::mem::take(&mut halves.young);
        }
        let failures = halves
            .young
            .entry(name)
            .or_insert_with(|| known.unwrap_or_default());
        failures.take(per_s, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(number: u32) -> Name {
        (IpAddr::from(number.to_be_bytes()), None)
    }

    #[test]
    fn an_address_fails_so_often_a_second_and_is_not_remembered_for_good() {
        let failures = Failures::new(100);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(failures.may_try(address(1), 3, start));
            failures.failed(address(1), 3, start);
        }
        assert!(!failures.may_try(address(1), 3, start));
        assert!(failures.may_try((address(1).0, Some("key".into())), 3, start));
        assert!(failures.may_try(address(2), 3, start));
        assert!(failures.may_try(address(1), 3, start + Duration::from_secs(1)));
        for number in 2..10_000 {
            failures.failed(address(number), 3, start);
            let halves = failures.halves.lock().unwrap();
            assert!(halves.young.len() + halves.old.len() <= 100);
        }
        assert!(failures.may_try(address(1), 3, start), "forgotten");
    }
}
