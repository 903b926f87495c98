//! How much memory the daemon may still take, and whether a leg or a recording may have some of it.
//!
//! ```text
//! what a bound leaves  |■■■ reserve ■■■|□□□ for legs and recordings □□□|░░ promised since it was read ░░|
//! ```
//!
//! A process that is refused memory ends, and all its calls with it: so who would come too close to that is refused
//! before. Pure: what the kernel and the allocator say is read elsewhere and brought here. What was promised counts until
//! the next reading, which has it.

use std::time::{Duration, Instant};

use super::cost::Kind;

/// A reading is gone by for so long.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Nobody is refused by one that is older than this: who has left may have made room.
const REFUSES_FOR: Duration = Duration::from_millis(100);

/// When so much of the reserve was promised, it is read again, however soon: what was promised is an estimate.
const PROMISED_PART: u64 = 8;

/// Of the reserve, what those who are there may take of it when their codec changes.
const FOR_RESIDENTS_PART: u64 = 2;

/// Of the reserve, what must be left without what the allocator has: that may lie in pieces that nobody can use.
const UNBROKEN_PART: u64 = 4;

/// What ends the daemon when it is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The limits of its control group and of those around it.
    Group,
    /// What the machine has.
    Machine,
    /// `RLIMIT_AS`.
    AddressSpace,
    /// `RLIMIT_DATA`.
    Data,
    /// What the kernel promises to all processes, where it promises no more than it has.
    Commitment,
}

impl Bound {
    pub const COUNT: usize = 5;

    pub const ALL: [Bound; Bound::COUNT] = [
        Bound::Group,
        Bound::Machine,
        Bound::AddressSpace,
        Bound::Data,
        Bound::Commitment,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Bound::Group => "control_group",
            Bound::Machine => "machine",
            Bound::AddressSpace => "address_space",
            Bound::Data => "data",
            Bound::Commitment => "commitment",
        }
    }

    /// Whether memory counts as soon as it is mapped; else when it is touched.
    const fn counts_mapped(self) -> bool {
        matches!(self, Bound::AddressSpace | Bound::Data | Bound::Commitment)
    }
}

/// What was found at one time, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// What may still be taken, by bound; `None`: there is none, or nobody knows.
    pub left: [Option<u64>; Bound::COUNT],
    /// What the allocator has taken and nobody uses.
    pub unused: u64,
}

/// What something takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Of real memory.
    touched: u64,
    /// Of the address space.
    mapped: u64,
}

const KIB: u64 = 1024;

/// What a leg has mapped when it is made, and touches only once it is talked to: of an Opus leg.
pub const TOUCHED_LATER_BY_LEG: u64 = 32 * KIB;

/// The journal's and the file's buffers and the encoder of a recording; and the same of each track beside the mix.
const RECORDING: Need = Need::kib(256, 320);
const TRACK: Need = Need::kib(96, 128);

impl Need {
    const fn kib(touched: u64, mapped: u64) -> Need {
        Need {
            touched: touched * KIB,
            mapped: mapped * KIB,
        }
    }

    /// Of a leg, by what it is sent: measured with 100 legs of each kind that are talked to, and a quarter more.
    pub const fn of_leg(kind: Kind) -> Need {
        match kind {
            Kind::Pcmu | Kind::Pcma => Need::kib(72, 96),
            Kind::G722 => Need::kib(80, 104),
            Kind::G729 | Kind::Ilbc20 | Kind::Ilbc30 => Need::kib(72, 80),
            Kind::L16At8 => Need::kib(72, 128),
            Kind::L16At16 => Need::kib(88, 216),
            Kind::L16At48 => Need::kib(136, 560),
            Kind::OpusAt8 | Kind::OpusAt16 => Need::kib(184, 280),
            Kind::OpusAt48 => Need::kib(256, 344),
        }
    }

    /// Of a recording, with so many tracks beside the mix.
    pub const fn of_recording(tracks: u64) -> Need {
        Need {
            touched: RECORDING.touched + tracks * TRACK.touched,
            mapped: RECORDING.mapped + tracks * TRACK.mapped,
        }
    }

    const fn by(self, bound: Bound) -> u64 {
        if bound.counts_mapped() {
            self.mapped
        } else {
            self.touched
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// For a leg or a recording that is not there yet.
    Newcomer,
    /// For one that is: half of the reserve is for those.
    Resident,
}

#[derive(Debug, Clone)]
pub struct MemoryAccount {
    reserve: u64,
    reading: Reading,
    read_at: Option<Instant>,
    /// Since then.
    promised: Need,
    /// Real memory that is mapped and may come to be touched.
    touched_later: u64,
}

impl MemoryAccount {
    /// `reserve`: bytes that are kept for everything else.
    pub fn new(reserve: u64) -> MemoryAccount {
        MemoryAccount {
            reserve,
            reading: Reading::default(),
            read_at: None,
            promised: Need::kib(0, 0),
            touched_later: 0,
        }
    }

    pub fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Whether the reading is not to be gone by any more.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_older(now, READ_EVERY) || self.promised.mapped > self.reserve / PROMISED_PART
    }

    /// Whether it is too old to refuse anybody by it.
    pub fn is_stale(&self, now: Instant) -> bool {
        self.is_older(now, REFUSES_FOR)
    }

    fn is_older(&self, now: Instant, age: Duration) -> bool {
        self.read_at
            .is_none_or(|at| now.saturating_duration_since(at) >= age)
    }

    /// Takes what was found, while so many bytes were mapped that whoever is there may come to touch.
    pub fn read(&mut self, reading: Reading, touched_later: u64, now: Instant) {
        self.reading = reading;
        self.read_at = Some(now);
        self.promised = Need::kib(0, 0);
        self.touched_later = touched_later;
    }

    /// Promises what is needed, where that leaves enough; else says what does not.
    pub fn take(&mut self, need: Need, asker: Asker) -> Result<(), Bound> {
        let reserve = match asker {
            Asker::Newcomer => self.reserve,
            Asker::Resident => self.reserve - self.reserve / FOR_RESIDENTS_PART,
        };
        for bound in Bound::ALL {
            if self
                .free_by(bound, reserve)
                .is_some_and(|free| free < need.by(bound))
            {
                return Err(bound);
            }
        }
        self.promised.touched += need.touched;
        self.promised.mapped += need.mapped;
        Ok(())
    }

    /// Bytes that legs and recordings may still take, and what bounds them; `None` where nothing is known to.
    pub fn free(&self) -> Option<(u64, Bound)> {
        let free = |bound| Some((self.free_by(bound, self.reserve)?, bound));
        Bound::ALL
            .into_iter()
            .filter_map(free)
            .min_by_key(|(bytes, _)| *bytes)
    }

    /// How many times there is room for this; `None`: nothing is known to bound it.
    pub fn times(&self, need: Need) -> Option<u64> {
        let times = |bound: Bound| Some(self.free_by(bound, self.reserve)? / need.by(bound).max(1));
        Bound::ALL.into_iter().filter_map(times).min()
    }

    fn free_by(&self, bound: Bound, reserve: u64) -> Option<u64> {
        let left = self.reading.left[bound as usize]?;
        if left < reserve / UNBROKEN_PART {
            return Some(0);
        }
        let later = if bound.counts_mapped() {
            0
        } else {
            self.touched_later
        };
        let taken = reserve.saturating_add(self.promised.by(bound) + later);
        Some(left.saturating_add(self.reading.unused).saturating_sub(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * KIB;
    const LEG: Need = Need::kib(1024, 2 * 1024);

    fn account(reserve_mib: u64, left_mib: [Option<u64>; Bound::COUNT], unused_mib: u64) -> MemoryAccount {
        let mut account = MemoryAccount::new(reserve_mib * MIB);
        let reading = Reading {
            left: left_mib.map(|left| left.map(|mib| mib * MIB)),
            unused: unused_mib * MIB,
        };
        account.read(reading, 0, Instant::now());
        account
    }

    /// How many get in, at most 1,000, and what refuses the next.
    fn seated(account: &mut MemoryAccount, asker: Asker) -> (u64, Option<Bound>) {
        for legs in 0..1_000 {
            if let Err(bound) = account.take(LEG, asker) {
                return (legs, Some(bound));
            }
        }
        (1_000, None)
    }

    #[test]
    fn so_many_get_in_as_the_tightest_bound_leaves_beside_the_reserve() {
        use Bound::*;
        let none = [None; Bound::COUNT];
        let only = |bound: Bound, mib| {
            let mut left = none;
            left[bound as usize] = Some(mib);
            left
        };
        // Reserve, what each bound leaves, what the allocator has; legs of 1 MiB touched and 2 MiB mapped, what binds.
        let table = [
            (64, none, 0, (1_000, None)),
            (64, only(Group, 84), 0, (20, Some(Group))),
            (64, only(Machine, 84), 0, (20, Some(Machine))),
            (64, only(AddressSpace, 84), 0, (10, Some(AddressSpace))),
            (64, only(Data, 84), 0, (10, Some(Data))),
            (64, only(Commitment, 85), 0, (10, Some(Commitment))),
            (
                64,
                [Some(90), Some(70), Some(500), None, None],
                0,
                (6, Some(Machine)),
            ),
            (
                64,
                [Some(90), None, Some(70), None, None],
                0,
                (3, Some(AddressSpace)),
            ),
            // Nothing but the reserve is left, or not even that.
            (64, only(Group, 64), 0, (0, Some(Group))),
            (64, only(Group, 3), 0, (0, Some(Group))),
            (0, only(Group, 3), 0, (3, Some(Group))),
            (0, only(Group, 0), 0, (0, Some(Group))),
            // What those took who have left, the allocator has.
            (64, only(Group, 60), 24, (20, Some(Group))),
            (64, only(Group, 16), 58, (10, Some(Group))),
            // But not without something in one piece.
            (64, only(Group, 15), 500, (0, Some(Group))),
        ];
        for (reserve, left, unused, expected) in table {
            let mut account = account(reserve, left, unused);
            let free = account.free();
            let times = account.times(LEG);
            assert_eq!(
                seated(&mut account, Asker::Newcomer),
                expected,
                "{reserve} {left:?} {unused}"
            );
            assert_eq!(times.unwrap_or(1_000), expected.0, "{reserve} {left:?} {unused}");
            assert_eq!(free.is_none(), expected.1.is_none());
        }
    }

    #[test]
    fn those_who_are_there_may_go_into_half_of_the_reserve() {
        let left = [Some(64), None, None, None, None];
        let mut account = account(64, left, 0);
        assert_eq!(seated(&mut account, Asker::Newcomer), (0, Some(Bound::Group)));
        assert_eq!(seated(&mut account, Asker::Resident), (32, Some(Bound::Group)));
        assert_eq!(seated(&mut account, Asker::Newcomer), (0, Some(Bound::Group)));
    }

    #[test]
    fn what_was_promised_counts_until_it_is_read_again() {
        let left = [Some(74), None, None, None, None];
        let mut account = account(64, left, 0);
        assert_eq!(account.free(), Some((10 * MIB, Bound::Group)));
        account.take(LEG, Asker::Newcomer).unwrap();
        assert_eq!(account.free(), Some((9 * MIB, Bound::Group)));
        // It took less than was thought.
        let reading = Reading {
            left: [Some(73 * MIB + 512 * KIB), None, None, None, None],
            unused: 0,
        };
        account.read(reading, 0, Instant::now());
        assert_eq!(account.free(), Some((9 * MIB + 512 * KIB, Bound::Group)));
    }

    #[test]
    fn what_those_who_are_there_have_not_touched_yet_is_kept_for_them() {
        let mut account = MemoryAccount::new(64 * MIB);
        let reading = Reading {
            left: [Some(74 * MIB), None, Some(80 * MIB), None, None],
            unused: 0,
        };
        account.read(reading, 4 * MIB, Instant::now());
        assert_eq!(account.free(), Some((6 * MIB, Bound::Group)));
        account.read(reading, 0, Instant::now());
        assert_eq!(account.free(), Some((10 * MIB, Bound::Group)));
    }

    #[test]
    fn it_is_read_again_after_a_second_or_an_eighth_of_the_reserve_and_before_anybody_is_refused() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut account = MemoryAccount::new(64 * MIB);
        assert!(account.is_due(now) && account.is_stale(now));
        account.read(Reading::default(), 0, now);
        assert_eq!([99, 100].map(|ms| account.is_stale(after(ms))), [false, true]);
        assert_eq!([999, 1_000].map(|ms| account.is_due(after(ms))), [false, true]);
        for _ in 0..4 {
            account.take(LEG, Asker::Newcomer).unwrap();
        }
        assert!(!account.is_due(now));
        account.take(LEG, Asker::Newcomer).unwrap();
        assert!(account.is_due(now));
        account.read(Reading::default(), 0, now);
        assert!(!account.is_due(now));
    }

    #[test]
    fn whatever_was_read_nothing_wraps() {
        for bytes in [0, 1, u64::MAX] {
            let mut account = MemoryAccount::new(bytes);
            let reading = Reading {
                left: [Some(u64::MAX); Bound::COUNT],
                unused: u64::MAX,
            };
            account.read(reading, 0, Instant::now());
            let _ = account.take(LEG, Asker::Newcomer);
            assert!(account.free().is_some());
            assert!(account.take(Need::of_recording(5_000), Asker::Resident).is_ok() || bytes == u64::MAX);
        }
    }
}
