//! RTCP comes every few seconds, so its sockets hang on one epoll set instead of being asked each tick.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::id::LegId;

/// Legs whose RTCP is taken in one tick; the others wait for the next.
const READY_MAX: usize = 64;

pub struct RtcpPoll {
    epoll: OwnedFd,
    ready: [libc::epoll_event; READY_MAX],
}

impl RtcpPoll {
    pub fn new() -> io::Result<RtcpPoll> {
        // SAFETY: no pointers; the result is checked before it is used.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(RtcpPoll {
            epoll,
            ready: [libc::epoll_event { events: 0, u64: 0 }; READY_MAX],
        })
    }

    /// Adds a leg's RTCP socket. A leg whose socket cannot be watched is heard all the same, without its RTCP.
    pub fn watch(&mut self, leg: LegId, socket: RawFd) {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: u64::from(leg.0),
        };
        // SAFETY: `event` lives through the call; both descriptors are open.
        unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket,
                &raw mut event,
            )
        };
    }

    pub fn forget(&mut self, socket: RawFd) {
        // SAFETY: both descriptors are open; no event is needed to remove one.
        unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                socket,
                std::ptr::null_mut(),
            );
        };
    }

    /// The legs that have RTCP waiting; does not wait itself.
    pub fn ready(&mut self) -> impl Iterator<Item = LegId> + use<> {
        // SAFETY: the array has room for as many events as the call is told.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.ready.as_mut_ptr(),
                READY_MAX as libc::c_int,
                0,
            )
        };
        let ready = self.ready;
        (0..usize::try_from(count).unwrap_or(0)).map(move |index| LegId(ready[index].u64 as u32))
    }
}
