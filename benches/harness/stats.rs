//! Medians and their intervals.

/// Resamples of a bootstrap: enough for the second digit of a 95 % interval.
const RESAMPLES: usize = 10_000;

/// What is believed of a quantity that was measured several times.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Estimate {
    /// The median.
    pub(crate) median: f64,
    /// Lower end of the median's 95 % interval.
    pub(crate) low: f64,
    /// Upper end of it.
    pub(crate) high: f64,
    /// The least that was measured.
    pub(crate) min: f64,
    /// The most that was measured.
    pub(crate) max: f64,
}

impl Estimate {
    /// Estimates the median by a percentile bootstrap (Efron, 1979). The same values give the same
    /// interval: the generator has a fixed seed.
    ///
    /// NaN throughout if there are no values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let sorted = sorted(values);
        let mut random = SplitMix(0x5eed);
        let mut medians = Vec::with_capacity(RESAMPLES);
        let mut resample = vec![0.0; sorted.len()];
        for _ in 0..RESAMPLES {
            for value in &mut resample {
                *value = sorted[random.below(sorted.len())];
            }
            resample.sort_by(f64::total_cmp);
            medians.push(quantile(&resample, 0.5));
        }
        medians.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            low: quantile(&medians, 0.025),
            high: quantile(&medians, 0.975),
            min: quantile(&sorted, 0.0),
            max: quantile(&sorted, 1.0),
        }
    }
}

/// The values in ascending order.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A quantile of sorted values, interpolated between neighbours; NaN if there are none.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Puts the items into random order (Fisher, Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
