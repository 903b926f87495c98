//! What the kernel and the allocator leave this process of memory. What cannot be read bounds nothing.
//!
//! Read are the limits of the control groups (version 2: `memory.max`, `memory.high`), `MemAvailable`, the limits of address
//! space and data, and, where the kernel promises no more than it has (`vm.overcommit_memory` 2), what it still promises.
//! Memory that is locked is not in it: it is locked only where no limit is put on that (`driver::realtime`).

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::control::admission::{Bound, Reading};

/// What of a group's memory the kernel gives up for whoever needs it, and what of that it must write to a disk first.
const GIVEN_UP: [&str; 3] = ["active_file", "inactive_file", "slab_reclaimable"];
const WRITTEN_FIRST: [&str; 2] = ["file_dirty", "file_writeback"];

/// The kernel promises no more memory than there is.
const NO_OVERCOMMIT: &str = "2";

/// Where what bounds the process is read.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Of the hierarchy of control groups: what it shows, and where.
    groups: Option<(PathBuf, PathBuf)>,
}

impl Memory {
    pub fn find() -> Memory {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Memory {
            groups: hierarchy(&mounts),
        }
    }

    /// Takes some tens of microseconds.
    pub fn read(&self) -> Reading {
        let proc = |file: &str| fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_default();
        let (machine, process) = (proc("meminfo"), proc("self/status"));
        let limit = |resource, key| Some(limit(resource)?.saturating_sub(kib(&process, key)?));
        let mut reading = Reading {
            unused: unused(),
            ..Reading::default()
        };
        let mut bound = |bound: Bound, left| reading.left[bound as usize] = left;
        bound(Bound::Group, self.left_by_groups(&proc("self/cgroup")));
        bound(Bound::Machine, kib(&machine, "MemAvailable"));
        bound(Bound::AddressSpace, limit(libc::RLIMIT_AS, "VmSize"));
        bound(Bound::Data, limit(libc::RLIMIT_DATA, "VmData"));
        if proc("sys/vm/overcommit_memory").trim() == NO_OVERCOMMIT {
            bound(Bound::Commitment, uncommitted(&machine));
        }
        reading
    }

    /// The least that the group of this process, or one around it, leaves.
    fn left_by_groups(&self, membership: &str) -> Option<u64> {
        let (root, mount) = self.groups.as_ref()?;
        let folders = folders(root, mount, group(membership)?);
        let file = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).ok();
        let left = |folder: PathBuf| {
            let limits = ["memory.max", "memory.high"].map(|name| bytes(&file(&folder, name)?));
            let limit = limits.into_iter().flatten().min()?;
            let taken = bytes(&file(&folder, "memory.current")?)?;
            let given_up = reclaimable(&file(&folder, "memory.stat").unwrap_or_default());
            Some(limit.saturating_sub(taken.saturating_sub(given_up)))
        };
        folders.into_iter().filter_map(left).min()
    }
}

/// Where the hierarchy of version 2 is mounted: the group that is at its top there, and the folder.
fn hierarchy(mounts: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (mount, of) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, folder) = (fields.next()?, fields.next()?);
        of.starts_with("cgroup2 ").then(|| (root.into(), folder.into()))
    })
}

/// The group of the process, from the top of the hierarchy.
fn group(membership: &str) -> Option<&Path> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(group))
}

/// The folder of the group and of those around it, as far as they can be seen.
fn folders(root: &Path, mount: &Path, group: &Path) -> Vec<PathBuf> {
    // What is outside of what the mount shows begins with `..`, or with another name.
    let below = group.strip_prefix(root).ok();
    let is_seen = |below: &&Path| {
        below
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    };
    let below = below.filter(is_seen).unwrap_or(Path::new(""));
    below.ancestors().map(|part| mount.join(part)).collect()
}

/// A number of bytes; `None` for `max`.
fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// What the kernel takes back before it refuses memory to the group: pages of files as they are on disk.
fn reclaimable(stat: &str) -> u64 {
    let sum = |keys: &[&str]| -> u64 {
        let values = stat.lines().filter_map(|line| line.split_once(' '));
        let wanted = values.filter(|(key, _)| keys.contains(key));
        wanted.filter_map(|(_, value)| bytes(value)).sum()
    };
    sum(&GIVEN_UP).saturating_sub(sum(&WRITTEN_FIRST))
}

/// A value of /proc/meminfo or /proc/self/status, in bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// What the kernel has not promised to anybody yet.
fn uncommitted(meminfo: &str) -> Option<u64> {
    Some(kib(meminfo, "CommitLimit")?.saturating_sub(kib(meminfo, "Committed_AS")?))
}

/// `None`: unlimited.
fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit to write to.
    let known = unsafe { libc::getrlimit(resource, &raw mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// What the allocator has free. It looks at each free piece, under the locks that those take who allocate.
fn unused() -> u64 {
    // SAFETY: it takes nothing and gives numbers.
    let figures = unsafe { libc::mallinfo2() };
    figures.fordblks as u64
}

/// Where the address space is bounded: one heap for all threads, as each further one reserves 64 MiB of it. To be called
/// before there are threads.
pub fn spare_address_space() {
    if limit(libc::RLIMIT_AS).is_some() {
        // SAFETY: two numbers; what cannot be set stays as it is.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
23 1 254:0 / / rw,relatime - ext4 /dev/root rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn the_group_and_those_around_it_are_found_as_far_as_they_are_shown() {
        let found = |mounts: &str, membership: &str| {
            let (root, mount) = hierarchy(mounts)?;
            let folders = folders(&root, &mount, group(membership)?);
            Some(
                folders
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect::<Vec<_>>(),
            )
        };
        let strings = |folders: &[&str]| Some(folders.iter().map(|folder| (*folder).to_owned()).collect());
        let plain = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let part = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (mounts, membership, expected) in [
            (
                plain,
                "0::/system.slice/mixminus.service\n",
                strings(&[
                    "/sys/fs/cgroup/system.slice/mixminus.service",
                    "/sys/fs/cgroup/system.slice",
                    "/sys/fs/cgroup/",
                ]),
            ),
            // As in a container with groups of its own.
            (plain, "0::/\n", strings(&["/sys/fs/cgroup/"])),
            // Without, where the mount shows a part only.
            (
                part,
                "0::/docker/abc/job\n",
                strings(&["/sys/fs/cgroup/job", "/sys/fs/cgroup/"]),
            ),
            // Outside of what is shown.
            (part, "0::/user.slice\n", strings(&["/sys/fs/cgroup/"])),
            (plain, "0::/../other\n", strings(&["/sys/fs/cgroup/"])),
            (
                MOUNTS,
                "4:memory:/job/1\n0::/job\n",
                strings(&["/sys/fs/cgroup/unified/job", "/sys/fs/cgroup/unified/"]),
            ),
            // Version 1 only, or nothing at all.
            (MOUNTS, "4:memory:/job/1\n", None),
            ("", "0::/\n", None),
            ("garbage - \n - cgroup2 \n1 2 3 - cgroup2 x y\n", "0::/\n", None),
        ] {
            assert_eq!(found(mounts, membership), expected, "{membership}");
        }
    }

    #[test]
    fn pages_of_files_are_given_up_but_for_those_that_must_be_written_first() {
        let stat = "anon 900\nfile 5000\nkernel 10\nfile_mapped 7\nfile_dirty 300\nfile_writeback 50\n\
                    inactive_anon 1\nactive_anon 2\ninactive_file 3000\nactive_file 1500\nunevictable 0\n\
                    slab_reclaimable 40\nslab_unreclaimable 60\nslab 100\n";
        assert_eq!(reclaimable(stat), 3000 + 1500 + 40 - 350);
        assert_eq!(reclaimable(""), 0);
        assert_eq!(reclaimable("active_file\nactive_file x\nfile_dirty 7\n"), 0);
    }

    #[test]
    fn numbers_are_read_and_what_is_none_bounds_nothing() {
        assert_eq!(bytes("268435456\n"), Some(268_435_456));
        assert_eq!(bytes("max\n"), None);
        assert_eq!(bytes(""), None);
        let meminfo = "MemTotal:       24684096 kB\nMemFree:        10902196 kB\nMemAvailable:   19029248 kB\n\
                       CommitLimit:    12342048 kB\nCommitted_AS:     556776 kB\nHugePages_Total:       0\n";
        assert_eq!(kib(meminfo, "MemAvailable"), Some(19_029_248 * 1024));
        assert_eq!(kib(meminfo, "Mem"), None);
        assert_eq!(kib(meminfo, "HugePages_Total"), None);
        assert_eq!(kib(meminfo, "SwapFree"), None);
        assert_eq!(uncommitted(meminfo), Some((12_342_048 - 556_776) * 1024));
        assert_eq!(
            uncommitted("CommitLimit:    7 kB\nCommitted_AS:   9 kB\n"),
            Some(0)
        );
        let status = "Name:\tmixminus\nVmPeak:\t 1036000 kB\nVmSize:\t 1035368 kB\nVmData:\t   77372 kB\n";
        assert_eq!(kib(status, "VmSize"), Some(1_035_368 * 1024));
        assert_eq!(kib(status, "VmData"), Some(77_372 * 1024));
    }

    #[test]
    fn the_tightest_of_a_group_and_those_around_it_counts() {
        let root = std::env::temp_dir().join(format!("mixminus-groups-{}", std::process::id()));
        let write = |folder: &str, files: &[(&str, &str)]| {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        };
        let memory = Memory {
            groups: Some(("/".into(), root.clone())),
        };
        let left = || memory.left_by_groups("0::/outer/inner\n");
        // The top has no limits.
        write("", &[("memory.stat", "anon 7\n")]);
        write(
            "outer/inner",
            &[("memory.max", "max\n"), ("memory.current", "700\n")],
        );
        assert_eq!(left(), None);
        write("outer", &[("memory.max", "1000\n"), ("memory.current", "800\n")]);
        assert_eq!(left(), Some(200));
        write("outer", &[("memory.stat", "inactive_file 300\nfile_dirty 100\n")]);
        assert_eq!(left(), Some(400));
        write("outer/inner", &[("memory.high", "900\n")]);
        assert_eq!(left(), Some(200));
        write("outer/inner", &[("memory.max", "750\n")]);
        assert_eq!(left(), Some(50));
        // More than there may be, as after the limit was lowered.
        write("outer/inner", &[("memory.max", "650\n")]);
        assert_eq!(left(), Some(0));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_machine_has_memory_left_and_what_is_given_back_is_unused_or_gone() {
        let memory = Memory::find();
        let reading = memory.read();
        assert!(reading.left[Bound::Machine as usize].is_some_and(|left| left > 1024 * 1024));
        let pieces: Vec<Vec<u8>> = (0..1_000).map(|_| vec![1; 10_000]).collect();
        let kept: Vec<Vec<u8>> = (0..1_000).map(|_| vec![1; 100]).collect();
        drop(pieces);
        assert!(memory.read().unused > 0);
        drop(kept);
    }
}
