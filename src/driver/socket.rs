//! One datagram in, one datagram out, with the kernel's own time of arrival.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// What one datagram may hold: 60 ms of L16 at 48 kHz and its header fit.
pub const DATAGRAM_BYTES_MAX: usize = 8_192;

pub struct Received {
    pub from: SocketAddr,
    /// CLOCK_REALTIME of the arrival, in nanoseconds; `None` where the kernel gave none.
    pub realtime_nanos: Option<i64>,
    pub len: usize,
    /// The datagram was longer than the buffer.
    pub truncated: bool,
}

/// Space for control messages: one timestamp, aligned as the kernel wants it.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

/// Takes one waiting datagram; `WouldBlock` when there is none.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: all-zero bytes are a valid sockaddr_storage and a valid msghdr.
    let (mut address, mut message) = unsafe {
        (
            std::mem::zeroed::<libc::sockaddr_storage>(),
            std::mem::zeroed::<libc::msghdr>(),
        )
    };
    let mut control = ControlBuffer([0; 64]);
    let mut segment = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut segment;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: name, iov and control point to live buffers of the lengths given; the descriptor is open.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Received {
        from: socket_address(&address).ok_or(io::ErrorKind::InvalidData)?,
        realtime_nanos: arrival(&message),
        len: len as usize,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
    })
}

fn arrival(message: &libc::msghdr) -> Option<i64> {
    // SAFETY: the message was filled by recvmsg, so its control messages lie within the control buffer, and a
    // SCM_TIMESTAMPNS message carries a timespec.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
                return Some(stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::ports::{Family, Ports};

    #[test]
    fn a_datagram_comes_with_its_source_and_the_time_of_its_arrival() {
        for (family, bind) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
            let ports = Ports::new(41_100..=41_119, vec![bind.parse().unwrap()], 46, Duration::ZERO);
            let ours = ports.open(family).unwrap();
            let sender = UdpSocket::bind((bind, 0)).unwrap();
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            assert_eq!(
                receive(&ours.rtp, &mut buffer).err().unwrap().kind(),
                io::ErrorKind::WouldBlock
            );
            let before = std::time::SystemTime::now();
            sender.send_to(b"hello", ours.local()).unwrap();
            let received = receive(&ours.rtp, &mut buffer).unwrap();
            assert_eq!(&buffer[..received.len], b"hello");
            assert_eq!(received.from, sender.local_addr().unwrap());
            assert!(!received.truncated);
            let stamp = received.realtime_nanos.unwrap();
            let before = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
            assert!(stamp >= before - 1_000_000 && stamp < before + 5_000_000_000);
        }
    }

    #[test]
    fn a_giant_datagram_is_marked_as_cut() {
        let ports = Ports::new(
            41_120..=41_129,
            vec!["127.0.0.1".parse().unwrap()],
            46,
            Duration::ZERO,
        );
        let ours = ports.open(Family::V4).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&vec![7; 60_000], ours.local()).unwrap();
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        assert!(receive(&ours.rtp, &mut buffer).unwrap().truncated);
        sender.send_to(&[], ours.local()).unwrap();
        assert_eq!(receive(&ours.rtp, &mut buffer).unwrap().len, 0);
    }
}
