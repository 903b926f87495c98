//! Released ports. Whoever sent to a port may go on for a while after its leg has gone; what he sends must meet nobody
//! else's call. So the sockets of a released port stay open, unheard, until nothing has come to them for the time of rest.
//!
//! A scan of all ports can keep them from rest for ever, but not from use: where no other is left, the port that was
//! released longest ago is taken once it has had that time, quiet or not.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;

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
    /// It has had the time once, and was not quiet.
    disturbed: bool,
}

/// Ports looked at in one go: whoever wants one waits for it.
const LOOKED_AT_MAX: usize = 256;

/// What a resting socket holds is of no account but that it came: the kernel makes of this the least there is.
const BUFFER_BYTES: usize = 1;

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

    /// The free port that was released longest ago, or one that would be free if it were quiet.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        self.look(now);
        self.free.pop_front().or_else(|| {
            let disturbed = self.resting.iter().position(|resting| resting.disturbed)?;
            Some(self.resting.remove(disturbed)?.released.port)
        })
    }

    /// A port that nobody was told of, or whose sockets could not be opened.
    pub fn put_back(&mut self, port: u16) {
        self.free.push_back(port);
    }

    pub fn release(&mut self, released: Released, now: Instant) {
        if self.time.is_zero() {
            self.free.push_back(released.port);
            return;
        }
        for socket in &released.sockets {
            // Where it is refused, more is read later.
            let _ = SockRef::from(&**socket).set_recv_buffer_size(BUFFER_BYTES);
            empty(socket);
        }
        self.resting.push_back(Resting {
            released,
            since: now,
            disturbed: false,
        });
    }

    /// Frees the ports whose time of rest is over; where something has come meanwhile it begins again. Each port is looked
    /// at once in that time, and its sockets hold next to nothing: a flood makes it no dearer.
    pub fn look(&mut self, now: Instant) {
        for _ in 0..LOOKED_AT_MAX {
            let time = self.time;
            let is_due = |resting: &mut Resting| now.saturating_duration_since(resting.since) >= time;
            let Some(Resting { released, .. }) = self.resting.pop_front_if(is_due) else {
                return;
            };
            let strays: u64 = released.sockets.iter().map(|socket| empty(socket)).sum();
            self.strays += strays;
            if strays == 0 {
                self.free.push_back(released.port);
            } else {
                self.resting.push_back(Resting {
                    released,
                    since: now,
                    disturbed: true,
                });
            }
        }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Datagrams found on resting ports: of many that come during one rest, the few that are kept.
    pub fn strays(&self) -> u64 {
        self.strays
    }
}

/// Throws away what waits on a socket, and counts it. What is left over from a full buffer is found the next time.
fn empty(socket: &UdpSocket) -> u64 {
    const DATAGRAMS_MAX: u64 = 64;
    (0..DATAGRAMS_MAX)
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
        let look = |rest: &mut Rest, tenths| {
            rest.look(at(tenths));
            (rest.free(), rest.resting(), rest.strays())
        };
        assert_eq!(look(&mut rest, 10), (0, 1, 1), "somebody still sends");
        assert_eq!(look(&mut rest, 19), (0, 1, 1));
        other.send_to(b"RTCP", to[1]).unwrap();
        other.send_to(b"", to[1]).unwrap();
        assert_eq!(look(&mut rest, 20).1, 1, "RTCP as well");
        assert_eq!(look(&mut rest, 29).1, 1);
        assert_eq!(rest.take(at(30)), Some(7));
        assert_eq!((rest.free(), rest.resting()), (0, 0));
    }

    #[test]
    fn a_port_that_never_gets_quiet_is_used_when_there_is_no_other() {
        let sockets = [socket(), socket()];
        let to = sockets[0].local_addr().unwrap();
        let other = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut rest = Rest::new(VecDeque::from([1]), TIME);
        let start = Instant::now();
        rest.release(Released { port: 7, sockets }, start);
        other.send_to(b"RTP", to).unwrap();
        assert_eq!(rest.take(start + TIME), Some(1), "another is left");
        assert_eq!(
            rest.take(start + TIME),
            Some(7),
            "none is left, and it has rested"
        );
        assert_eq!(rest.take(start + TIME), None);
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
