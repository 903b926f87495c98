//! Sequence numbers and timestamps without their wraps (RFC 3550 A.1): 64 bits that grow for centuries, told from the
//! 16 or 32 on the wire by taking whichever is nearest to the last one seen.
//!
//! Exactly half a cycle away counts as backwards. Counting starts in the middle of the 64 bits, so that going
//! back below the first, as when the first packets came out of order, stays above zero.

/// Where counting starts: a whole number of cycles of either kind.
const START: u64 = 1 << 62;

/// The first sequence number of a stream.
pub const fn first_sequence(next: u16) -> u64 {
    START | next as u64
}

/// The first timestamp of a stream.
pub const fn first_timestamp(next: u32) -> u64 {
    START | next as u64
}

/// The sequence number `next` on the wire, nearest to `last`: from 32,768 before it to 32,767 after it.
pub const fn extend_sequence(last: u64, next: u16) -> u64 {
    let step = next.wrapping_sub(last as u16) as i16;
    last.wrapping_add_signed(step as i64)
}

/// The timestamp `next` on the wire, nearest to `last`: from 2³¹ before it to 2³¹ − 1 after it.
pub const fn extend_timestamp(last: u64, next: u32) -> u64 {
    let step = next.wrapping_sub(last as u32) as i32;
    last.wrapping_add_signed(step as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_sequence_number_is_meant() {
        let cases: [(u16, u16, i64); 12] = [
            (0, 0, 0),
            (0, 1, 1),
            (0, 65_535, -1),
            (65_535, 0, 1),
            (65_535, 65_534, -1),
            (65_534, 3, 5),
            (3, 65_534, -5),
            (100, 100 + 32_767, 32_767),
            (100, 100 + 32_768, -32_768),
            (40_000, 7_231, 32_767),
            (40_000, 7_232, -32_768),
            (1_000, 2_000, 1_000),
        ];
        for (last, next, step) in cases {
            let last = first_sequence(last);
            let extended = extend_sequence(last, next);
            assert_eq!(extended as i64 - last as i64, step, "{last} then {next}");
            assert_eq!(extended as u16, next);
        }
    }

    #[test]
    fn the_nearest_timestamp_is_meant() {
        const HALF: u32 = 1 << 31;
        let cases: [(u32, u32, i64); 9] = [
            (0, 0, 0),
            (0, 160, 160),
            (0, u32::MAX, -1),
            (u32::MAX, 0, 1),
            (u32::MAX - 79, 80, 160),
            (80, u32::MAX - 79, -160),
            (960, 960 + HALF - 1, i64::from(HALF) - 1),
            (960, 960 + HALF, -i64::from(HALF)),
            (3_000_000_000, 3_000_048_000, 48_000),
        ];
        for (last, next, step) in cases {
            let last = first_timestamp(last);
            let extended = extend_timestamp(last, next);
            assert_eq!(extended as i64 - last as i64, step, "{last} then {next}");
            assert_eq!(extended as u32, next);
        }
    }

    #[test]
    fn a_stream_counts_on_through_its_wraps() {
        let first = first_sequence(65_000);
        let mut last = first;
        for packet in 1..=1_000_000u64 {
            last = extend_sequence(last, 65_000u16.wrapping_add(packet as u16));
            assert_eq!(last, first + packet);
        }
        let first = first_timestamp(u32::MAX - 100);
        let mut last = first;
        for packet in 1..=1_000_000u64 {
            let units = packet * 1_000_003;
            last = extend_timestamp(last, (u32::MAX - 100).wrapping_add(units as u32));
            assert_eq!(last, first + units);
        }
    }

    #[test]
    fn a_stream_that_only_goes_backwards_never_falls_below_zero_in_a_year() {
        // 50 packets a second, each half a cycle before the last.
        let last = first_timestamp(0);
        let back = last - extend_timestamp(last, 1 << 31);
        assert_eq!(back, 1 << 31);
        assert!(last / back > 50 * 3_600 * 24 * 365);
    }
}
