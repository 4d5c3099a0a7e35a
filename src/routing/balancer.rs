//! Power of two choices.

/// The position of the less loaded of two that are drawn at random, out of `count`. `None` if
/// there are none.
///
/// Two random candidates keep the fullest within O(log log n) of the mean, where one would leave
/// it at O(log n) (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
pub fn power_of_two(count: usize, random: u64, load: impl Fn(usize) -> u32) -> Option<usize> {
    let (low, high) = (random & 0xffff_ffff, random >> 32);
    match count {
        0 => None,
        1 => Some(0),
        _ => {
            let first = scaled(low, count);
            // Drawn from the others, so that the two differ.
            let second = (first + 1 + scaled(high, count - 1)) % count;
            Some(if load(second) < load(first) { second } else { first })
        }
    }
}

/// Maps 32 random bits onto `0..count` (Lemire, "Fast Random Integer Generation in an Interval",
/// 2019, without its rejection step: the bias is below count / 2^32).
fn scaled(bits: u64, count: usize) -> usize {
    ((bits * count as u64) >> 32) as usize
}

/// What a state grows by between two numbers of [`mix`].
pub const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that looks random, from a state: enough for choosing, without a system call
/// (SplitMix64; Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
pub fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_less_loaded_of_the_two_is_taken() {
        assert_eq!(power_of_two(0, 7, |_| 0), None);
        assert_eq!(power_of_two(1, 7, |_| 9), Some(0));
        let loads = [5, 0];
        for random in [0, u64::MAX, 0x1234_5678_9abc_def0] {
            assert_eq!(power_of_two(2, random, |i| loads[i]), Some(1));
        }
    }

    proptest! {
        #[test]
        fn never_the_fullest_of_several(
            random: u64,
            count in 2usize..100,
            full in 0usize..100,
        ) {
            let full = full % count;
            let picked = power_of_two(count, random, |i| u32::from(i == full));
            prop_assert!(picked.is_some_and(|i| i < count && i != full));
        }
    }
}
