//! What the kernel says of this process, and what we ask of it at the start.

pub mod memory;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::thread;

/// User and system time since the start.
pub fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero rusage is a valid one, and the call writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Zero where /proc is not mounted.
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    // SAFETY: sysconf only reads a constant of the system.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page_bytes).unwrap_or(0)
}

/// Zero where /proc is not mounted.
pub fn open_fds() -> usize {
    // The directory being read is one of them.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

/// Whether so many threads can be had at once, with the stacks that they have by default.
pub fn can_start_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let held = gate.lock();
    thread::scope(|scope| {
        let start = |_| {
            let waits = || drop(gate.lock());
            thread::Builder::new().spawn_scoped(scope, waits).map(drop)
        };
        let started = (0..count).try_for_each(start);
        drop(held);
        started
    })
}

/// Raises the soft limit of file descriptors to the hard one, where that is allowed: a leg takes two.
pub fn raise_fd_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit to write to, then to read from.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// The permissions of a file of secrets, where others than its owner may read it.
///
/// A file of root's may be read by its group: so a daemon that is not root gets secrets that it cannot change, from a
/// Secret that Kubernetes mounts, from systemd, or from /etc.
pub fn exposing_mode(file: &Metadata) -> Option<u32> {
    let mode = file.mode() & 0o777;
    // SAFETY: geteuid takes nothing and cannot fail.
    let daemon = unsafe { libc::geteuid() };
    (mode & !allowed_mode(file.uid(), daemon) != 0).then_some(mode)
}

fn allowed_mode(owner: u32, daemon: u32) -> u32 {
    if owner == 0 && daemon != 0 { 0o640 } else { 0o600 }
}

/// Lets nobody find keys in a core dump: none is written, and no other process of this user may read the memory.
pub fn forbid_core_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is a valid rlimit to read from; PR_SET_DUMPABLE takes one number.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        // A handler that the kernel pipes dumps to heeds no limit, but heeds this.
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// How many file descriptors this process may have open.
pub fn fd_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_but_roots_may_be_read_by_the_daemons_group() {
        assert_eq!(allowed_mode(0, 10_001), 0o640);
        assert_eq!(allowed_mode(10_001, 10_001), 0o600);
        assert_eq!(allowed_mode(10_002, 10_001), 0o600);
        assert_eq!(allowed_mode(0, 0), 0o600);
    }

    #[test]
    fn some_threads_can_be_had() {
        can_start_threads(20).unwrap();
    }

    #[test]
    fn the_process_knows_its_own_size() {
        assert!(resident_bytes() > 100_000);
        assert!(cpu_seconds() > 0.0);
        let before = open_fds();
        let file = fs::File::open("/proc/self/statm").unwrap();
        assert!(open_fds() > before.saturating_sub(8));
        drop(file);
        raise_fd_limit();
        assert!(fd_limit() >= 64);
    }
}
