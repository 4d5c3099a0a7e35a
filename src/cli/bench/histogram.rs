//! Many times in little memory, each to within one percent.

/// Buckets for each power of two: a value is kept to one part in 128.
const STEPS: u64 = 128;
/// Powers of two below a bucket of its own for each value.
const EXACT_BITS: u32 = 7;
/// Powers of two: up to 2^40 ns, which is 18 minutes. What is longer counts as that.
const MOST_BITS: u32 = 40;

/// Times in nanoseconds, in buckets whose width grows with them (the layout of HdrHistogram).
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Histogram {
    /// One without a time.
    pub(super) fn new() -> Self {
        let most = bucket((1 << MOST_BITS) - 1) + 1;
        Self { buckets: vec![0; most], count: 0, max_ns: 0 }
    }

    /// Adds a time.
    pub(super) fn record(&mut self, ns: u64) {
        let index = bucket(ns).min(self.buckets.len() - 1);
        self.buckets[index] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds everything of another one.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many times there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in nanoseconds.
    pub(super) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The time that this share of all does not exceed, in nanoseconds: the upper end of its
    /// bucket. 0 if there are none.
    pub(super) fn quantile(&self, q: f64) -> u64 {
        let wanted = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(index).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

fn bucket(ns: u64) -> usize {
    let bits = u64::BITS - ns.leading_zeros();
    let shift = bits.saturating_sub(EXACT_BITS + 1);
    // Values of one power of two that fall into the same bucket share their first eight bits.
    (u64::from(shift) * STEPS + (ns >> shift)) as usize
}

fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    ((index - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_found_to_within_a_percent() {
        for ns in [0, 1, 127, 128, 255, 256, 257, 1_000, 65_535, 1_000_000, 123_456_789] {
            let end = upper_end(bucket(ns));
            assert!(end >= ns && end - ns <= ns / 100, "{ns} is in the bucket up to {end}");
        }
        for ns in 0..100_000_u64 {
            assert!(bucket(ns + 1) - bucket(ns) <= 1, "{ns}");
        }
    }

    #[test]
    fn quantiles_of_many_are_those_of_the_sorted_list() {
        let mut odd = Histogram::new();
        let mut all = Histogram::new();
        for us in 1..=10_000 {
            let half = if us % 2 == 0 { &mut all } else { &mut odd };
            half.record(us * 1_000);
        }
        all.add(&odd);
        assert_eq!((all.count(), all.max_ns()), (10_000, 10_000_000));
        for (q, us) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)] {
            let found = all.quantile(q) as f64 / 1e3;
            assert!((found / us - 1.0).abs() < 0.01, "{q}: {found} for {us}");
        }
        assert_eq!(Histogram::new().quantile(0.5), 0);
        let mut one = Histogram::new();
        one.record(u64::MAX);
        assert_eq!(one.quantile(0.5), upper_end(one.buckets.len() - 1));
    }
}
