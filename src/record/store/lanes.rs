//! Who may hold a body in memory: four at once that go as they should, and four more of deliveries whose calls have
//! timed out. A call of the second kind may take hours before it is given up. It holds up its like, not the others;
//! and one bucket has one of them, so that a bucket that is out of reach does not hold up another that is slow.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies in memory at once, in each lane.
const BODIES_MAX: usize = 4;

pub struct Lanes {
    quick: Arc<Semaphore>,
    patient: Arc<Semaphore>,
    /// One place for each bucket with a patient delivery; gone with the last that waits for it.
    of_bucket: Mutex<Vec<(String, Weak<Semaphore>)>>,
}

/// Room for one body, until it is dropped.
pub struct Room {
    _lane: OwnedSemaphorePermit,
    _bucket: Option<OwnedSemaphorePermit>,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes {
            quick: Arc::new(Semaphore::new(BODIES_MAX)),
            patient: Arc::new(Semaphore::new(BODIES_MAX)),
            of_bucket: Mutex::default(),
        }
    }
}

impl Lanes {
    /// In the order of asking. `is_patient`: the call may take far longer than its bytes ask for.
    pub async fn enter(&self, bucket: &str, is_patient: bool) -> Room {
        match is_patient {
            true => {
                // The bucket's own first: what waits for that keeps nobody else out.
                let bucket = take(self.of_bucket(bucket)).await;
                Room {
                    _lane: take(self.patient.clone()).await,
                    _bucket: Some(bucket),
                }
            }
            false => Room {
                _lane: take(self.quick.clone()).await,
                _bucket: None,
            },
        }
    }

    fn of_bucket(&self, bucket: &str) -> Arc<Semaphore> {
        let mut places = self.of_bucket.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(_, place)| place.strong_count() > 0);
        let held = places
            .iter()
            .find(|(of, _)| of == bucket)
            .and_then(|(_, place)| place.upgrade());
        held.unwrap_or_else(|| {
            let place = Arc::new(Semaphore::new(1));
            places.push((bucket.to_owned(), Arc::downgrade(&place)));
            place
        })
    }
}

async fn take(places: Arc<Semaphore>) -> OwnedSemaphorePermit {
    places.acquire_owned().await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    /// `None`: it has to wait.
    fn at_once(lanes: &Lanes, bucket: &str, is_patient: bool) -> Option<Room> {
        let entering = std::pin::pin!(lanes.enter(bucket, is_patient));
        match entering.poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(room) => Some(room),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn calls_that_may_take_hours_hold_up_only_their_like() {
        let lanes = Lanes::default();
        let stuck: Vec<_> = (0..BODIES_MAX)
            .map(|n| at_once(&lanes, &format!("gone-{n}"), true).expect("there is room"))
            .collect();
        assert!(at_once(&lanes, "slow", true).is_none());
        let quick: Vec<_> = (0..BODIES_MAX)
            .map(|_| at_once(&lanes, "calls", false).expect("there is room"))
            .collect();
        assert!(at_once(&lanes, "calls", false).is_none(), "and no more than that");
        drop((stuck, quick));
        assert!(at_once(&lanes, "slow", true).is_some());
        assert!(at_once(&lanes, "calls", false).is_some());
    }

    #[test]
    fn a_bucket_out_of_reach_leaves_room_for_one_that_is_slow() {
        let lanes = Lanes::default();
        let stuck = at_once(&lanes, "gone", true).expect("there is room");
        assert!(at_once(&lanes, "gone", true).is_none());
        let slow = at_once(&lanes, "slow", true).expect("there is room");
        drop((stuck, slow));
        let again = at_once(&lanes, "gone", true).expect("there is room");
        assert_eq!(lanes.of_bucket.lock().unwrap().len(), 1, "others are forgotten");
        drop(again);
    }
}
