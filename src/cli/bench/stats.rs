//! Medians and their intervals, quantiles, slopes.

/// Resamples of a bootstrap: enough for the second digit of a 95 % interval.
const RESAMPLES: usize = 10_000;

/// What is believed of a quantity that was measured several times.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// Lower end of the median's 95 % interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// The least that was measured.
    pub min: f64,
    /// The most that was measured.
    pub max: f64,
}

impl Estimate {
    /// Estimates the median by a percentile bootstrap (Efron, 1979). The same values give the same
    /// interval: the generator has a fixed seed.
    ///
    /// NaN throughout if there are no values.
    pub fn of(values: &[f64]) -> Self {
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
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A quantile of sorted values, interpolated between neighbours; NaN if there are none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

/// The slope of the line through points that has the least squares of errors; NaN unless there are
/// two points with different x.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let products = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y));
    let squares = points.iter().map(|(x, _)| (x - mean_x).powi(2));
    products.sum::<f64>() / squares.sum::<f64>()
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub struct SplitMix(
    /// The seed, then what follows from it.
    pub u64,
);

impl SplitMix {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Puts the items into random order (Fisher, Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = sorted(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_interval_of_a_median_holds_it() {
        let values: Vec<f64> = (1..=21).map(f64::from).collect();
        let estimate = Estimate::of(&values);
        assert_eq!((estimate.median, estimate.min, estimate.max), (11.0, 1.0, 21.0));
        assert!(estimate.low < 11.0 && estimate.low > 4.0, "{estimate:?}");
        assert!(estimate.high > 11.0 && estimate.high < 18.0, "{estimate:?}");
        assert_eq!(estimate, Estimate::of(&values), "the same every time");
    }

    #[test]
    fn a_slope_is_that_of_the_line_and_ignores_where_it_begins() {
        let line = [(0.0, 500.0), (10.0, 520.0), (20.0, 540.0)];
        assert_eq!(slope(&line), 2.0);
        assert_eq!(slope(&[(0.0, 0.0), (1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]), 0.8);
        assert!(slope(&[(1.0, 1.0)]).is_nan());
    }
}
