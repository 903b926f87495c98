//! How many connections there may be, in all and from one address, and who has to go where others wait.
//!
//! ```text
//! address counted ─▶ a place that is free, or one kept for this machine ─▶ served
//!                 └▶ among those who wait ─▶ the oldest that nobody is known on gives its place up ─▶ served
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::control::tally::{ConnectionRefusal, Tally};

const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever has not shown by then that it may ask holds its place only as long as nobody waits for one.
const GRACE: Duration = Duration::from_secs(3);

/// The account of the connections of both faces.
pub struct Connections {
    free: Arc<Semaphore>,
    /// For peers that are this machine.
    kept: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    per_address_max: usize,
    /// How long a connection may wait for another one to end.
    patience: Duration,
    grace: Duration,
    account: Mutex<Account>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Account {
    by_address: HashMap<IpAddr, usize>,
    /// Those that nobody is known on, the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    /// The number of the next one.
    next: u64,
}

struct Stranger {
    since: Instant,
    has_to_go: Arc<Notify>,
}

/// A connection that is counted, and has a place or may wait for one.
pub struct Guest {
    from: FromAddress,
    is_here: bool,
    place: Result<OwnedSemaphorePermit, OwnedSemaphorePermit>,
}

/// Held as long as the connection is open.
pub struct Place {
    standing: Standing,
    has_to_go: Arc<Notify>,
    _from: FromAddress,
    _place: OwnedSemaphorePermit,
}

/// Says of a connection that whoever asks on it is known.
#[derive(Clone)]
pub struct Standing {
    connections: Arc<Connections>,
    number: u64,
}

/// One of those from an address.
struct FromAddress {
    connections: Arc<Connections>,
    from: IpAddr,
}

impl Connections {
    pub fn new(http: &config::Http, tally: Arc<Tally>) -> Connections {
        Connections {
            free: Arc::new(Semaphore::new(http.connections)),
            kept: Arc::new(Semaphore::new(config::Http::KEPT)),
            waiting: Arc::new(Semaphore::new(config::Http::WAITING_MAX)),
            per_address_max: http.connections_per_address,
            patience: PATIENCE,
            grace: GRACE,
            account: Mutex::default(),
            tally,
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts a connection from there; `is_here` where that is this machine. Whoever may have no place and may not
    /// wait for one is told at once.
    pub fn come(self: &Arc<Connections>, from: IpAddr, is_here: bool) -> Result<Guest, ConnectionRefusal> {
        let from = self
            .of_address(network_of(from))
            .ok_or(ConnectionRefusal::PerAddress)?;
        let free = || Arc::clone(&self.free).try_acquire_owned().ok();
        let kept = || Arc::clone(&self.kept).try_acquire_owned().ok();
        let place = match free().or_else(|| is_here.then(kept).flatten()) {
            Some(place) => Ok(place),
            None => {
                let waiting = Arc::clone(&self.waiting).try_acquire_owned();
                Err(waiting.map_err(|_| ConnectionRefusal::Full)?)
            }
        };
        Ok(Guest { from, is_here, place })
    }

    fn of_address(self: &Arc<Connections>, from: IpAddr) -> Option<FromAddress> {
        let mut account = self.account();
        let count = account.by_address.entry(from).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(FromAddress {
            connections: Arc::clone(self),
            from,
        })
    }

    /// Asks one stranger to go, as soon as there is one whose grace is over.
    async fn make_room(&self) {
        loop {
            let rest = {
                let mut account = self.account();
                let oldest = account.strangers.first_entry();
                let age = oldest.as_ref().map(|oldest| oldest.get().since.elapsed());
                match (oldest, age) {
                    (Some(oldest), Some(age)) if age >= self.grace => {
                        oldest.remove().has_to_go.notify_one();
                        return;
                    }
                    (_, Some(age)) => self.grace - age,
                    // Whoever takes a place that becomes free may be the next.
                    (_, None) => self.grace,
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Its place, once there is one; whoever waits in vain is told after some seconds.
    pub async fn place(self) -> Result<Place, ConnectionRefusal> {
        let connections = Arc::clone(&self.from.connections);
        let place = match self.place {
            Ok(place) => place,
            Err(_waiting) => {
                let kept = async {
                    match self.is_here {
                        true => Arc::clone(&connections.kept).acquire_owned().await,
                        false => std::future::pending().await,
                    }
                };
                let place = async {
                    tokio::select! {
                        biased;
                        place = Arc::clone(&connections.free).acquire_owned() => place,
                        place = kept => place,
                        // One for each that waits.
                        never = async { connections.make_room().await; std::future::pending().await } => never,
                    }
                };
                match tokio::time::timeout(connections.patience, place).await {
                    Ok(Ok(place)) => place,
                    // The semaphores are never closed.
                    Ok(Err(_)) | Err(_) => return Err(ConnectionRefusal::Full),
                }
            }
        };
        let has_to_go = Arc::new(Notify::new());
        let mut account = connections.account();
        let number = account.next;
        account.next += 1;
        account.strangers.insert(
            number,
            Stranger {
                since: Instant::now(),
                has_to_go: Arc::clone(&has_to_go),
            },
        );
        drop(account);
        Ok(Place {
            standing: Standing { connections, number },
            has_to_go,
            _from: self.from,
            _place: place,
        })
    }
}

impl Place {
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Returns once the connection has to go for another one.
    pub async fn has_to_go(&self) {
        self.has_to_go.notified().await;
    }
}

impl Standing {
    /// From here on nobody takes the place of the connection.
    pub fn is_known(&self) {
        self.connections.account().strangers.remove(&self.number);
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "connection {}", self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.is_known();
    }
}

impl Drop for FromAddress {
    fn drop(&mut self) {
        let mut account = self.connections.account();
        if let Some(count) = account.by_address.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                account.by_address.remove(&self.from);
            }
        }
    }
}

/// Who is counted as one: an IPv4 address, however it is written, or the /64 that one IPv6 host has to itself.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(in_all: usize, per_address: usize) -> Connections {
        let http = config::Http {
            connections: in_all,
            connections_per_address: per_address,
            ..config::Config::defaults().http
        };
        Connections {
            patience: Duration::ZERO,
            ..Connections::new(&http, Arc::default())
        }
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    async fn place(
        connections: &Arc<Connections>,
        from: IpAddr,
        is_here: bool,
    ) -> Result<Place, ConnectionRefusal> {
        connections.come(from, is_here)?.place().await
    }

    #[tokio::test]
    async fn one_address_has_its_share_and_the_others_theirs() {
        let connections = Arc::new(connections(3, 2));
        let [one, other, third] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|text| text.parse().unwrap());
        let first = place(&connections, one, false).await.unwrap();
        let second = place(&connections, one, false).await.unwrap();
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(
            place(&connections, mapped, false).await.err(),
            Some(ConnectionRefusal::PerAddress)
        );
        let of_other = place(&connections, other, false).await.unwrap();
        assert_eq!(
            place(&connections, third, false).await.err(),
            Some(ConnectionRefusal::Full)
        );
        drop(first);
        let of_third = place(&connections, third, false).await.unwrap();
        drop((second, of_other, of_third));
        let account = connections.account();
        assert!(account.by_address.is_empty() && account.strangers.is_empty());
        assert_eq!(connections.free.available_permits(), 3);
        assert_eq!(connections.waiting.available_permits(), config::Http::WAITING_MAX);
    }

    #[tokio::test]
    async fn strangers_cannot_take_what_is_kept_for_this_machine() {
        let connections = Arc::new(connections(2, 100));
        let mut held = Vec::new();
        for number in 1..=2 {
            held.push(place(&connections, address(number), false).await.unwrap());
        }
        let full = Some(ConnectionRefusal::Full);
        assert_eq!(place(&connections, address(3), false).await.err(), full);
        for _ in 0..config::Http::KEPT {
            held.push(place(&connections, address(9), true).await.unwrap());
        }
        assert_eq!(place(&connections, address(9), true).await.err(), full);
    }

    #[tokio::test]
    async fn so_many_wait_and_one_more_is_told_at_once() {
        let connections = Arc::new(connections(1, 100));
        let held = place(&connections, address(1), false).await.unwrap();
        let mut waiting: Vec<Guest> = (0..config::Http::WAITING_MAX)
            .map(|_| connections.come(address(2), false).unwrap())
            .collect();
        let full = Some(ConnectionRefusal::Full);
        assert_eq!(connections.come(address(3), false).err(), full);
        // This machine has places of its own.
        drop(connections.come(address(3), true).unwrap());
        drop((held, waiting.pop()));
        drop(connections.come(address(3), false).unwrap());
    }

    #[tokio::test]
    async fn nobody_gives_its_place_up_in_its_first_seconds() {
        let connections = Arc::new(Connections {
            patience: Duration::from_millis(50),
            grace: Duration::from_secs(600),
            ..connections(1, 100)
        });
        let held = place(&connections, address(1), false).await.unwrap();
        assert_eq!(
            place(&connections, address(2), false).await.err(),
            Some(ConnectionRefusal::Full)
        );
        let goes = tokio::time::timeout(Duration::ZERO, held.has_to_go());
        assert!(goes.await.is_err());
    }

    #[tokio::test]
    async fn whoever_is_not_known_gives_its_place_to_who_waits_the_oldest_first() {
        let connections = Arc::new(Connections {
            patience: Duration::from_secs(60),
            grace: Duration::from_millis(50),
            ..connections(3, 100)
        });
        let known = place(&connections, address(1), false).await.unwrap();
        known.standing().is_known();
        let older = place(&connections, address(1), false).await.unwrap();
        let younger = place(&connections, address(1), false).await.unwrap();
        let coming = connections.come(address(2), false).unwrap();
        let coming = tokio::spawn(coming.place());
        older.has_to_go().await;
        drop(older);
        let second = coming.await.unwrap().unwrap();
        second.standing().is_known();
        let coming = tokio::spawn(connections.come(address(2), false).unwrap().place());
        younger.has_to_go().await;
        drop(younger);
        let third = coming.await.unwrap().unwrap();
        third.standing().is_known();
        // All that have a place are known.
        let waits = tokio::spawn(connections.come(address(3), false).unwrap().place());
        let goes = known.has_to_go();
        let soon = tokio::time::timeout(Duration::from_millis(500), goes);
        assert!(soon.await.is_err() && !waits.is_finished());
    }

    #[test]
    fn an_ipv6_host_is_counted_by_its_network() {
        for (address, network) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(
                network_of(address.parse().unwrap()),
                network.parse::<IpAddr>().unwrap()
            );
        }
    }
}
