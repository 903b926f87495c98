//! The RTP ports: an even port for RTP and the next one for RTCP. The longest released is used first, and none before
//! it has been quiet for a while (`resting`).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::driver::resting::{Released, Rest};

/// Kernel memory for packets that wait for their tick: a third of a second of the fattest stream.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// How many ports are tried before the range counts as full, when other programs sit on some of them.
const BIND_ATTEMPTS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: &IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    #[error("rtp.bind has no {} address", match .0 { Family::V4 => "IPv4", Family::V6 => "IPv6" })]
    NoAddress(Family),
    #[error("every port of rtp.ports is taken or rests")]
    NoFreePort,
    #[error("the process has no file descriptor left")]
    NoFileDescriptor,
    #[error("a socket could not be made: {0}")]
    Io(#[from] io::Error),
}

/// A range of ports on one address of each family at most.
#[derive(Clone)]
pub struct Ports {
    bind: Arc<[IpAddr]>,
    dscp: u8,
    pool: Arc<Mutex<Rest>>,
}

/// The ports that no leg has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    /// Pairs that may be taken.
    pub free: usize,
    /// Pairs that were released and are not known to be quiet yet.
    pub resting: usize,
    /// Datagrams that have come to resting ports, ever.
    pub strays: u64,
}

impl Ports {
    /// A released port is not used again before it has been quiet for `rest`.
    pub fn new(range: RangeInclusive<u16>, bind: Vec<IpAddr>, dscp: u8, rest: Duration) -> Ports {
        let last = *range.end();
        let free = range.filter(|port| port % 2 == 0 && *port < last).collect();
        Ports {
            bind: bind.into(),
            dscp,
            pool: Arc::new(Mutex::new(Rest::new(free, rest))),
        }
    }

    pub fn unused(&self) -> Unused {
        let mut pool = locked(&self.pool);
        pool.look(Instant::now());
        Unused {
            free: pool.free(),
            resting: pool.resting(),
            strays: pool.strays(),
        }
    }

    /// Two sockets on the port that was released longest ago.
    pub fn open(&self, family: Family) -> Result<Sockets, PortsError> {
        let address = *self
            .bind
            .iter()
            .find(|address| Family::of(address) == family)
            .ok_or(PortsError::NoAddress(family))?;
        for _ in 0..BIND_ATTEMPTS_MAX {
            let port = locked(&self.pool)
                .take(Instant::now())
                .ok_or(PortsError::NoFreePort)?;
            let pair = bind(SocketAddr::new(address, port), self.dscp)
                .and_then(|rtp| Ok((rtp, bind(SocketAddr::new(address, port + 1), self.dscp)?)));
            match pair {
                Ok((rtp, rtcp)) => {
                    return Ok(Sockets {
                        rtp: Arc::new(rtp),
                        rtcp: Arc::new(rtcp),
                        local: SocketAddr::new(address, port),
                        told: false,
                        pool: Arc::clone(&self.pool),
                    });
                }
                Err(error) => {
                    locked(&self.pool).put_back(port);
                    match (error.kind(), error.raw_os_error()) {
                        (io::ErrorKind::AddrInUse, _) => {}
                        (_, Some(libc::EMFILE | libc::ENFILE)) => return Err(PortsError::NoFileDescriptor),
                        _ => return Err(PortsError::Io(error)),
                    }
                }
            }
        }
        Err(PortsError::NoFreePort)
    }
}

fn locked(pool: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A leg's two sockets. Dropped, their ports rest if anybody was told of them.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) rtp: Arc<UdpSocket>,
    pub(crate) rtcp: Arc<UdpSocket>,
    local: SocketAddr,
    /// Somebody may know the port.
    told: bool,
    pool: Arc<Mutex<Rest>>,
}

impl Sockets {
    /// The RTP address; RTCP is on the next port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The port is about to be told to somebody: from now on it rests when it is released.
    pub fn tell(&mut self) {
        self.told = true;
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let port = self.local.port();
        let mut pool = locked(&self.pool);
        if self.told {
            let sockets = [Arc::clone(&self.rtp), Arc::clone(&self.rtcp)];
            pool.release(Released { port, sockets }, Instant::now());
        } else {
            pool.put_back(port);
        }
    }
}

fn bind(address: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let traffic_class = u32::from(dscp) << 2;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(traffic_class)?;
    } else {
        socket.set_tos_v4(traffic_class)?;
    }
    // The kernel may grant less; the socket works all the same.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option value is an int of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Vec<IpAddr> {
        vec![IpAddr::from([127, 0, 0, 1])]
    }

    #[test]
    fn ports_are_even_and_the_longest_released_comes_first() {
        let ports = Ports::new(41_000..=41_005, loopback(), 46, Duration::ZERO);
        assert_eq!(ports.unused().free, 3);
        let first = ports.open(Family::V4).unwrap();
        let second = ports.open(Family::V4).unwrap();
        let (first_port, second_port) = (first.local().port(), second.local().port());
        assert!(first_port % 2 == 0 && second_port % 2 == 0);
        drop(second);
        drop(first);
        let third = ports.open(Family::V4).unwrap();
        assert!(third.local().port() != first_port && third.local().port() != second_port);
        assert_eq!(ports.open(Family::V4).unwrap().local().port(), second_port);
    }

    #[test]
    fn an_empty_range_is_a_named_refusal_and_a_released_port_ends_it() {
        let ports = Ports::new(41_010..=41_011, loopback(), 0, Duration::ZERO);
        let only = ports.open(Family::V4).unwrap();
        assert!(matches!(ports.open(Family::V4), Err(PortsError::NoFreePort)));
        drop(only);
        assert!(ports.open(Family::V4).is_ok());
    }

    #[test]
    fn a_released_port_is_kept_from_new_legs_while_it_rests() {
        let ports = Ports::new(41_050..=41_051, loopback(), 0, Duration::from_secs(3_600));
        drop(ports.open(Family::V4).unwrap());
        assert_eq!(ports.unused().free, 1, "nobody was told of it");
        let mut only = ports.open(Family::V4).unwrap();
        let local = only.local();
        only.tell();
        drop(only);
        let unused = Unused {
            free: 0,
            resting: 1,
            strays: 0,
        };
        assert_eq!(ports.unused(), unused);
        assert!(matches!(ports.open(Family::V4), Err(PortsError::NoFreePort)));
        assert!(UdpSocket::bind(local).is_err(), "its sockets are open");
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let _other = UdpSocket::bind(("127.0.0.1", 41_021)).unwrap();
        let ports = Ports::new(41_020..=41_023, loopback(), 0, Duration::ZERO);
        assert_eq!(ports.open(Family::V4).unwrap().local().port(), 41_022);
    }

    #[test]
    fn a_family_without_an_address_is_a_named_refusal() {
        let ports = Ports::new(41_030..=41_040, loopback(), 0, Duration::ZERO);
        assert!(matches!(
            ports.open(Family::V6),
            Err(PortsError::NoAddress(Family::V6))
        ));
    }
}
