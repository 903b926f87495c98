//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::control::tally::{ConnectionRefusal, Tally};

const PATIENCE: Duration = Duration::from_secs(5);

/// The account of the connections of both faces.
pub struct Connections {
    free: Arc<Semaphore>,
    per_address_max: usize,
    /// How long a connection may wait for another one to end.
    patience: Duration,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    tally: Arc<Tally>,
}

/// Held as long as the connection is open.
pub struct Place {
    connections: Arc<Connections>,
    from: IpAddr,
    _free: OwnedSemaphorePermit,
}

/// One of those from an address.
struct FromAddress<'a> {
    connections: &'a Arc<Connections>,
    from: IpAddr,
    is_kept: bool,
}

impl Connections {
    pub fn new(http: &config::Http, tally: Arc<Tally>) -> Connections {
        Connections {
            free: Arc::new(Semaphore::new(http.connections)),
            per_address_max: http.connections_per_address,
            patience: PATIENCE,
            by_address: Mutex::default(),
            tally,
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A place for a connection from there, once one is free; whoever may have none is told at once, whoever waits in
    /// vain after some seconds.
    pub async fn place(self: &Arc<Connections>, from: IpAddr) -> Result<Place, ConnectionRefusal> {
        let mut of_address = self
            .of_address(network_of(from))
            .ok_or(ConnectionRefusal::PerAddress)?;
        match tokio::time::timeout(self.patience, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(free)) => {
                of_address.is_kept = true;
                Ok(Place {
                    connections: Arc::clone(self),
                    from: of_address.from,
                    _free: free,
                })
            }
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(ConnectionRefusal::Full),
        }
    }

    fn of_address(self: &Arc<Connections>, from: IpAddr) -> Option<FromAddress<'_>> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(from).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(FromAddress {
            connections: self,
            from,
            is_kept: false,
        })
    }

    fn leave(&self, from: IpAddr) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&from);
            }
        }
    }
}

impl Drop for FromAddress<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.connections.leave(self.from);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.leave(self.from);
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

    fn connections(in_all: usize, per_address: usize) -> Arc<Connections> {
        let http = config::Http {
            connections: in_all,
            connections_per_address: per_address,
            ..config::Config::defaults().http
        };
        Arc::new(Connections {
            patience: Duration::ZERO,
            ..Connections::new(&http, Arc::default())
        })
    }

    #[tokio::test]
    async fn one_address_has_its_share_and_the_others_theirs() {
        let connections = connections(3, 2);
        let [one, other, third] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|text| text.parse().unwrap());
        let first = connections.place(one).await.unwrap();
        let second = connections.place(one).await.unwrap();
        assert_eq!(
            connections.place("::ffff:192.0.2.1".parse().unwrap()).await.err(),
            Some(ConnectionRefusal::PerAddress)
        );
        let of_other = connections.place(other).await.unwrap();
        assert_eq!(
            connections.place(third).await.err(),
            Some(ConnectionRefusal::Full)
        );
        drop(first);
        let of_third = connections.place(third).await.unwrap();
        drop((second, of_other, of_third));
        assert!(connections.by_address.lock().unwrap().is_empty());
        assert_eq!(connections.free.available_permits(), 3);
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
