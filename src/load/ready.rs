//! Which of many sockets have something to read: asked of the kernel at once, not of each in turn.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Told of in one call; the others in the next.
const READY_MAX: usize = 128;

pub struct Ready {
    epoll: OwnedFd,
    events: [libc::epoll_event; READY_MAX],
}

impl Ready {
    pub fn new() -> io::Result<Ready> {
        // SAFETY: no pointers; the result is checked before it is used.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Ready {
            // SAFETY: the descriptor was just made and belongs to nobody else.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            events: [libc::epoll_event { events: 0, u64: 0 }; READY_MAX],
        })
    }

    /// Watches a socket until it is closed; `number` is what it is called by.
    pub fn watch(&self, socket: &UdpSocket, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: number as u64,
        };
        // SAFETY: `event` lives through the call; both descriptors are open.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The numbers of some of the sockets that have something; does not wait.
    pub fn take(&mut self) -> impl Iterator<Item = usize> + use<> {
        // SAFETY: the array has room for as many events as the call is told.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                READY_MAX as libc::c_int,
                0,
            )
        };
        let events = self.events;
        (0..usize::try_from(count).unwrap_or(0)).map(move |index| events[index].u64 as usize)
    }
}
