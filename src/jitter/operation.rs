//! What a tick is made of, by the name that NetEq gives it.

/// What was decided for a tick. Where it took several, the last in this order names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Nothing arrives: before the first packet, in a pause, long after the last.
    Silence,
    /// The noise of a pause, as its sender describes it, or of a long hole, as the leg's own background was.
    ComfortNoise,
    /// What was sent, as it was sent.
    Normal,
    /// Shortened to lower the delay.
    Accelerate,
    /// Lengthened to raise the delay.
    PreemptiveExpand,
    /// Made up, in part or all of it.
    Expand,
    /// Led over from what was made up to what was sent.
    Merge,
    /// Taken from what a later packet repeats.
    Fec,
}

impl Operation {
    pub const ALL: [Operation; 8] = [
        Operation::Silence,
        Operation::ComfortNoise,
        Operation::Normal,
        Operation::Accelerate,
        Operation::PreemptiveExpand,
        Operation::Expand,
        Operation::Merge,
        Operation::Fec,
    ];

    pub const COUNT: usize = Operation::ALL.len();

    /// In figures.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Silence => "silence",
            Operation::ComfortNoise => "comfort_noise",
            Operation::Normal => "normal",
            Operation::Accelerate => "accelerate",
            Operation::PreemptiveExpand => "preemptive_expand",
            Operation::Expand => "expand",
            Operation::Merge => "merge",
            Operation::Fec => "fec",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_stands_at_its_number() {
        for (number, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, number, "{}", operation.name());
        }
    }
}
