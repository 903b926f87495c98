//! The generator's UDP sockets: bound before the leg is asked for, connected to the leg's port, and read with the
//! kernel's own arrival times, so that a late reader does not look like a late sender.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest RTP packet of any of our codecs fits.
const DATAGRAM_BYTES_MAX: usize = 8_192;

/// Datagrams fetched by one system call.
const BATCH: usize = 8;

/// Room for the one control message we ask for: a header and a `timespec`.
const CONTROL_WORDS: usize = 8;

/// Time of day as the kernel stamps arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(u64);

impl WallTime {
    pub fn now() -> WallTime {
        // A clock before 1970 would make the arithmetic below meaningless, not unsafe.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(since.as_nanos() as u64)
    }

    pub const fn from_nanos(nanos: u64) -> WallTime {
        WallTime(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to this; negative when it is earlier still.
    pub const fn nanos_since(self, earlier: WallTime) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }

    pub fn after(self, duration: Duration) -> WallTime {
        WallTime(self.0 + duration.as_nanos() as u64)
    }
}

/// An unconnected, non-blocking socket on a port of the kernel's choice, whose arrivals are stamped.
pub fn bind(address: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
    socket.set_nonblocking(true)?;
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option's value is an int of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// One datagram at a time with its source, as a server that knows nothing yet of its peers must read; the floor that
/// speeds are compared with is made of these calls.
pub struct Envelope {
    datagram: Box<[u8; DATAGRAM_BYTES_MAX]>,
    bytes: usize,
    source: libc::sockaddr_storage,
    source_bytes: libc::socklen_t,
}

impl Envelope {
    pub fn new() -> Envelope {
        Envelope {
            datagram: Box::new([0; DATAGRAM_BYTES_MAX]),
            bytes: 0,
            // SAFETY: all-zero is a valid sockaddr_storage: an unspecified family.
            source: unsafe { mem::zeroed() },
            source_bytes: 0,
        }
    }

    /// Takes the next waiting datagram out of the socket; false when none waits.
    pub fn receive(&mut self, socket: &UdpSocket) -> bool {
        let mut control = [0u64; CONTROL_WORDS];
        let mut vector = libc::iovec {
            iov_base: self.datagram.as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES_MAX,
        };
        // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut self.source).cast();
        header.msg_namelen = mem::size_of_val(&self.source) as libc::socklen_t;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control);
        // SAFETY: the header points at a name, a buffer and a control area of the lengths it names, which outlive the call.
        let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let Ok(bytes) = usize::try_from(bytes) else {
            return false;
        };
        (self.bytes, self.source_bytes) = (bytes, header.msg_namelen);
        true
    }

    /// Sends the last datagram back to where it came from; false when the socket did not take it.
    pub fn send_back(&self, socket: &UdpSocket) -> bool {
        // SAFETY: the datagram and the source are as long as said, which is what the kernel told when it filled them.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                self.datagram.as_ptr().cast(),
                self.bytes,
                libc::MSG_DONTWAIT,
                (&raw const self.source).cast(),
                self.source_bytes,
            )
        };
        sent >= 0
    }
}

impl Default for Envelope {
    fn default() -> Self {
        Envelope::new()
    }
}

/// As many open files as the system lets us have, for a socket a leg.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the kernel to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is what the kernel gave, with the soft limit at the hard one, which is always allowed.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Buffers for one batch of datagrams, made once and lent to every socket in turn.
pub struct Inbox {
    datagrams: Vec<[u8; DATAGRAM_BYTES_MAX]>,
    controls: [[u64; CONTROL_WORDS]; BATCH],
}

impl Inbox {
    pub fn new() -> Inbox {
        Inbox {
            datagrams: vec![[0; DATAGRAM_BYTES_MAX]; BATCH],
            controls: [[0; CONTROL_WORDS]; BATCH],
        }
    }

    /// Hands over every datagram that waits in `socket`, with the time it arrived. Errors of the peer's port (it is
    /// closed once the leg ended) count as nothing there.
    pub fn drain(&mut self, socket: &UdpSocket, mut arrived: impl FnMut(WallTime, &mut [u8])) {
        loop {
            let mut lengths = [(0, None); BATCH];
            let count = self.receive(socket, &mut lengths);
            for (datagram, (bytes, at)) in self.datagrams.iter_mut().zip(&lengths[..count]) {
                arrived(at.unwrap_or_else(WallTime::now), &mut datagram[..*bytes]);
            }
            if count < BATCH {
                return;
            }
        }
    }

    fn receive(&mut self, socket: &UdpSocket, lengths: &mut [(usize, Option<WallTime>); BATCH]) -> usize {
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|n| libc::iovec {
            iov_base: self.datagrams[n].as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES_MAX,
        });
        // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for ((message, vector), control) in messages.iter_mut().zip(&mut vectors).zip(&mut self.controls) {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = mem::size_of_val(control);
        }
        // SAFETY: every header points at a vector, a buffer and a control area of the lengths it names, all of which
        // outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (length, message) in lengths.iter_mut().zip(&messages[..count]) {
            *length = (message.msg_len as usize, stamp(&message.msg_hdr));
        }
        count
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox::new()
    }
}

/// The kernel's arrival time, from the control messages of a received datagram.
fn stamp(header: &libc::msghdr) -> Option<WallTime> {
    // SAFETY: the kernel filled the header, so the control area holds whole messages up to its length.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: `control` is not null, so it points at a message header within the control area.
        let message = unsafe { *control };
        if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the data of this type is one timespec, perhaps not aligned as one.
            let time = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
            return Some(WallTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64));
        }
        // SAFETY: as for the first one.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::*;

    #[test]
    fn arrivals_bear_the_time_they_came_not_the_time_they_were_read() {
        let receiver = bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let sender = bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let to = receiver.local_addr().expect("it is bound");
        let before = WallTime::now();
        for n in 0..20u8 {
            sender.send_to(&[n; 100], to).expect("loopback takes it");
        }
        let after = WallTime::now();
        thread::sleep(Duration::from_millis(30));
        let mut heard = Vec::new();
        Inbox::new().drain(&receiver, |at, datagram| {
            assert!(
                at >= before && at.nanos_since(after) < 5_000_000,
                "stamped {}",
                at.nanos_since(before)
            );
            assert_eq!(datagram.len(), 100);
            heard.push(datagram[0]);
        });
        assert_eq!(heard, (0..20).collect::<Vec<u8>>());
    }

    #[test]
    fn a_datagram_goes_back_to_whoever_sent_it() {
        for address in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ] {
            // A machine without IPv6 has nothing to test here.
            let (Ok(server), Ok(client)) = (bind(address), bind(address)) else {
                continue;
            };
            client
                .send_to(b"hello", server.local_addr().expect("it is bound"))
                .expect("loopback takes it");
            let mut envelope = Envelope::new();
            assert!(envelope.receive(&server));
            assert!(!envelope.receive(&server));
            assert!(envelope.send_back(&server));
            let mut heard = Vec::new();
            Inbox::new().drain(&client, |_, datagram| heard.push(datagram.to_vec()));
            assert_eq!(heard, [b"hello"]);
        }
    }

    #[test]
    fn a_closed_port_at_the_other_end_is_silence() {
        let socket = bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let gone = bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        socket
            .connect(gone.local_addr().expect("it is bound"))
            .expect("loopback has a route");
        drop(gone);
        let _ = socket.send(b"anyone?");
        thread::sleep(Duration::from_millis(5));
        Inbox::new().drain(&socket, |_, _| panic!("nobody answers"));
    }
}
