//! What is asked of the kernel: that media threads run first and never wait for a page, and that what answers runs before
//! ordinary programs.
//!
//! ```text
//! SCHED_FIFO      media: before all below, whatever their weights
//! nice −5         what answers              ┐ shares by weight: three times that of an ordinary thread, and none of
//! nice 0          recordings, the rest      ┘ them is starved
//! ```
//!
//! All of it is granted or not; the daemon works either way, and says which it is.

/// Below the kernel's own real-time threads, above every ordinary one.
const PRIORITY: libc::c_int = 20;

const CAP_IPC_LOCK: u32 = 14;

/// Of a media thread without SCHED_FIFO.
const NICE_OF_MEDIA: libc::c_int = -10;

/// Of a thread that answers.
pub const NICE_OF_CONTROL: libc::c_int = -5;

/// Puts the calling thread under SCHED_FIFO; false where that is not allowed (`--ulimit rtprio=20`). Then it comes at least
/// not after what answers.
pub fn run_first() -> bool {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: `parameters` is valid; 0 names the calling thread.
    let is_granted = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 };
    if !is_granted && !add_nice(NICE_OF_MEDIA) {
        add_nice(NICE_OF_CONTROL);
    }
    is_granted
}

/// Gives the calling thread another weight than it has; those below 0 are heavier, and false where they are not allowed
/// (`--ulimit nice=25`, which is −5). Threads that it starts have it too.
pub fn add_nice(by: libc::c_int) -> bool {
    let nice = nice() + by;
    // SAFETY: no pointers; 0 names the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
}

/// That of the calling thread, −20 to 19; 0 is ordinary.
pub fn nice() -> libc::c_int {
    // SAFETY: no pointers; 0 names the calling thread. It cannot fail for that.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Keeps every page in memory once it was touched; false where that is not allowed (`--ulimit memlock=-1`).
pub fn lock_memory() -> bool {
    if !may_lock_all() {
        return false;
    }
    // SAFETY: no pointers. MCL_ONFAULT: untouched memory is not made resident.
    unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) == 0 }
}

/// Under a finite limit MCL_FUTURE would let a later allocation fail, which is worse than a page fault.
fn may_lock_all() -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to write to.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0;
    let unlimited = known && limit.rlim_cur == libc::RLIM_INFINITY;
    unlimited || (has_capability(CAP_IPC_LOCK) && is_root_of_all())
}

/// Whether the capabilities of this process are the machine's: those of a user namespace lift no limit.
fn is_root_of_all() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    maps_all_users(&map)
}

/// Every user is itself: so it is outside of user namespaces only.
fn maps_all_users(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn has_capability(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_changes_its_own_weight_and_that_of_those_it_starts() {
        let own = nice();
        let other = std::thread::spawn(move || {
            assert!(add_nice(2), "to be lighter is for everybody");
            let started = std::thread::spawn(nice);
            (nice(), started.join().expect("it says what it has"))
        });
        let heard = other.join().expect("it says what it has");
        assert_eq!((heard, nice()), (((own + 2).min(19), (own + 2).min(19)), own));
    }

    #[test]
    fn a_capability_counts_where_every_user_is_itself() {
        assert!(maps_all_users("         0          0 4294967295\n"));
        for map in ["", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n", "0 0 1000\n"] {
            assert!(!maps_all_users(map), "{map}");
        }
    }
}
