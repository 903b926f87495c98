//! The RTP ports: an even port for RTP and the next one for RTCP. The longest released is used first, so a port rests
//! as long as the range allows before somebody else's packets can meet a new leg.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};

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
    #[error("every port of rtp.ports is taken")]
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
    free: Arc<Mutex<VecDeque<u16>>>,
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>, bind: Vec<IpAddr>, dscp: u8) -> Ports {
        let last = *range.end();
        let free = range.filter(|port| port % 2 == 0 && *port < last).collect();
        Ports {
            bind: bind.into(),
            dscp,
            free: Arc::new(Mutex::new(free)),
        }
    }

    /// Pairs of ports that no leg has.
    pub fn free(&self) -> usize {
        self.lock().len()
    }

    /// Two sockets on the port that has rested longest.
    pub fn open(&self, family: Family) -> Result<Sockets, PortsError> {
        let address = *self
            .bind
            .iter()
            .find(|address| Family::of(address) == family)
            .ok_or(PortsError::NoAddress(family))?;
        for _ in 0..BIND_ATTEMPTS_MAX {
            let port = self.lock().pop_front().ok_or(PortsError::NoFreePort)?;
            let lease = Lease {
                port,
                free: Arc::clone(&self.free),
            };
            let pair = bind(SocketAddr::new(address, port), self.dscp)
                .and_then(|rtp| Ok((rtp, bind(SocketAddr::new(address, port + 1), self.dscp)?)));
            match pair {
                Ok((rtp, rtcp)) => {
                    return Ok(Sockets {
                        rtp,
                        rtcp,
                        address,
                        lease,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => drop(lease),
                Err(error) => {
                    return Err(match error.raw_os_error() {
                        Some(libc::EMFILE | libc::ENFILE) => PortsError::NoFileDescriptor,
                        _ => PortsError::Io(error),
                    });
                }
            }
        }
        Err(PortsError::NoFreePort)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u16>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A leg's two sockets. Dropped, they are closed and their ports rest.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    address: IpAddr,
    // Declared last: the ports are free again only after the sockets are closed.
    lease: Lease,
}

impl Sockets {
    /// The RTP address; RTCP is on the next port.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.lease.port)
    }
}

#[derive(Debug)]
struct Lease {
    port: u16,
    free: Arc<Mutex<VecDeque<u16>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(self.port);
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
        let ports = Ports::new(41_000..=41_005, loopback(), 46);
        assert_eq!(ports.free(), 3);
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
        let ports = Ports::new(41_010..=41_011, loopback(), 0);
        let only = ports.open(Family::V4).unwrap();
        assert!(matches!(ports.open(Family::V4), Err(PortsError::NoFreePort)));
        drop(only);
        assert!(ports.open(Family::V4).is_ok());
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let _other = UdpSocket::bind(("127.0.0.1", 41_021)).unwrap();
        let ports = Ports::new(41_020..=41_023, loopback(), 0);
        assert_eq!(ports.open(Family::V4).unwrap().local().port(), 41_022);
    }

    #[test]
    fn a_family_without_an_address_is_a_named_refusal() {
        let ports = Ports::new(41_030..=41_040, loopback(), 0);
        assert!(matches!(
            ports.open(Family::V6),
            Err(PortsError::NoAddress(Family::V6))
        ));
    }
}
