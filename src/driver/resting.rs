//! Released ports. Whoever sent to a port may go on for a while after its leg has gone; what he sends must meet nobody
//! else's call. So the sockets of a released port stay open, unheard, until nothing has come to them for the time of rest.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An RTP port, and what listens on it and on the RTCP port above.
#[derive(Debug)]
pub(super) struct Released {
    pub port: u16,
    pub sockets: [Arc<UdpSocket>; 2],
}

#[derive(Debug)]
struct Resting {
    released: Released,
    since: Instant,
}

/// The ports that no leg has.
#[derive(Debug)]
pub(super) struct Rest {
    time: Duration,
    free: VecDeque<u16>,
    /// In the order in which their rest ends.
    resting: VecDeque<Resting>,
    strays: u64,
}

impl Rest {
    pub fn new(free: VecDeque<u16>, time: Duration) -> Rest {
        Rest {
            time,
            free,
            resting: VecDeque::new(),
            strays: 0,
        }
    }

    /// The free port that was released longest ago.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        self.look(now);
        self.free.pop_front()
    }

    /// A port that nobody was told of, or whose sockets could not be opened.
    pub fn put_back(&mut self, port: u16) {
        self.free.push_back(port);
    }

    pub fn release(&mut self, released: Released, now: Instant) {
        if self.time.is_zero() {
            self.free.push_back(released.port);
        } else {
            self.resting.push_back(Resting { released, since: now });
        }
    }

    /// Frees the ports whose time of rest is over; where something has come meanwhile it begins again. Each port is looked
    /// at once in that time, and its sockets hold no more than their buffers: a flood makes it no dearer.
    pub fn look(&mut self, now: Instant) {
        while self
            .resting
            .front()
            .is_some_and(|resting| now.saturating_duration_since(resting.since) >= self.time)
        {
            let Some(Resting { released, .. }) = self.resting.pop_front() else {
                return;
            };
            let strays: u64 = released.sockets.iter().map(|socket| empty(socket)).sum();
            self.strays += strays;
            if strays == 0 {
                self.free.push_back(released.port);
            } else {
                self.resting.push_back(Resting { released, since: now });
            }
        }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Datagrams that came to resting ports.
    pub fn strays(&self) -> u64 {
        self.strays
    }
}

/// Throws away what waits on a socket, and counts it. More than a buffer holds has come since the reading began.
fn empty(socket: &UdpSocket) -> u64 {
    const BUFFER_DATAGRAMS_MAX: u64 = 1_024;
    (0..BUFFER_DATAGRAMS_MAX)
        .take_while(|_| socket.recv_from(&mut [0; 1]).is_ok())
        .count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    fn socket() -> Arc<UdpSocket> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Arc::new(socket)
    }

    #[test]
    fn a_port_rests_until_nobody_has_sent_to_it_for_that_time() {
        let (rtp, rtcp) = (socket(), socket());
        let to = [rtp.local_addr().unwrap(), rtcp.local_addr().unwrap()];
        let other = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut rest = Rest::new(VecDeque::new(), TIME);
        let start = Instant::now();
        rest.release(
            Released {
                port: 7,
                sockets: [rtp, rtcp],
            },
            start,
        );
        let at = |tenths: u32| start + TIME * tenths / 10;
        assert_eq!(rest.take(at(9)), None);
        other.send_to(b"RTP", to[0]).unwrap();
        assert_eq!(rest.take(at(10)), None, "somebody still sends");
        assert_eq!((rest.free(), rest.resting(), rest.strays()), (0, 1, 1));
        assert_eq!(rest.take(at(19)), None);
        other.send_to(b"RTCP", to[1]).unwrap();
        other.send_to(b"", to[1]).unwrap();
        assert_eq!(rest.take(at(20)), None, "RTCP as well");
        assert_eq!(rest.strays(), 3);
        assert_eq!(rest.take(at(29)), None);
        assert_eq!(rest.take(at(30)), Some(7));
        assert_eq!((rest.free(), rest.resting()), (0, 0));
    }

    #[test]
    fn ports_come_back_in_the_order_of_their_release() {
        let mut rest = Rest::new(VecDeque::from([1]), TIME);
        let start = Instant::now();
        for port in [2, 3] {
            let sockets = [socket(), socket()];
            rest.release(Released { port, sockets }, start);
        }
        let taken: Vec<_> = (0..4).map(|_| rest.take(start + TIME)).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn without_a_time_of_rest_a_port_is_free_at_once() {
        let mut rest = Rest::new(VecDeque::new(), Duration::ZERO);
        let sockets = [socket(), socket()];
        rest.release(Released { port: 9, sockets }, Instant::now());
        assert_eq!(rest.take(Instant::now()), Some(9));
    }
}
