//! Where values lie on a line, and which of them are written beside it.

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal steps are equally long.
    Linear { min: f64, max: f64 },
    /// Equal factors are equally long. Both ends are above 0.
    Log { min: f64, max: f64 },
}

impl Scale {
    /// A linear scale whose ends are ticks, for values of which the least and the most are known.
    /// It begins at 0 unless that would squeeze everything into its upper half.
    pub(super) fn linear(least: f64, most: f64) -> Self {
        let most = if most > least { most } else { least + least.abs().max(1.0) };
        let least = if least >= 0.0 && least < most / 2.0 { 0.0 } else { least };
        let mut ends = (least, most);
        // Rounding the ends makes the span longer, and a longer span has longer steps.
        for _ in 0..3 {
            let step = step(ends.1 - ends.0);
            let rounded = |value: f64, round: fn(f64) -> f64| round(value / step) * step;
            ends = (
                rounded(least, |steps| (steps + 1e-9).floor()),
                rounded(most, |steps| (steps - 1e-9).ceil()),
            );
        }
        Self::Linear { min: ends.0, max: ends.1 }
    }

    /// A logarithmic scale whose ends are 1, 2 or 5 times a power of ten.
    pub(super) fn log(least: f64, most: f64) -> Self {
        let least = least.max(f64::MIN_POSITIVE);
        let most = most.max(least * 2.0);
        let all: Vec<f64> = round_numbers(least / 10.0, most * 10.0).collect();
        let min = all.iter().rev().find(|round| **round <= least * (1.0 + 1e-9));
        let max = all.iter().find(|round| **round >= most * (1.0 - 1e-9));
        Self::Log { min: *min.unwrap_or(&least), max: *max.unwrap_or(&most) }
    }

    /// The place of a value: 0 at the beginning, 1 at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear { min, max } => (value - min) / (max - min),
            Self::Log { min, max } => (value.max(min).ln() - min.ln()) / (max.ln() - min.ln()),
        }
    }

    /// The values that are written.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { min, max } => {
                let step = step(max - min);
                let count = ((max - min) / step).round() as u32;
                (0..=count).map(|n| min + step * f64::from(n)).collect()
            }
            Self::Log { min, max } => {
                let all: Vec<f64> = round_numbers(min, max).collect();
                match all.len() {
                    0..=9 => all,
                    _ => all.into_iter().filter(|round| is_power_of_ten(*round)).collect(),
                }
            }
        }
    }
}

/// Some five steps of a round length: 1, 2 or 5 times a power of ten.
fn step(span: f64) -> f64 {
    const WANTED: f64 = 5.0;
    let rough = span / WANTED;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// 1, 2 and 5 times each power of ten from one end to the other.
fn round_numbers(min: f64, max: f64) -> impl Iterator<Item = f64> {
    let powers = min.log10().floor() as i32..=max.log10().ceil() as i32;
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power)));
    all.filter(move |round| *round >= min * (1.0 - 1e-9) && *round <= max * (1.0 + 1e-9))
}

fn is_power_of_ten(value: f64) -> bool {
    let power = value.log10();
    (power - power.round()).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_hold_the_values() {
        for (least, most, ticks) in [
            (3.0, 97.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (0.0, 1.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (21.9, 22.4, vec![21.9, 22.0, 22.1, 22.2, 22.3, 22.4]),
            (0.0, 1_000.0, vec![0.0, 200.0, 400.0, 600.0, 800.0, 1_000.0]),
        ] {
            let found = Scale::linear(least, most).ticks();
            assert_eq!(found.len(), ticks.len(), "{found:?}");
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(found.iter().zip(&ticks).all(near), "{found:?}");
        }
        for (least, most) in [(0.0, 0.0), (5.0, 5.0), (1e-9, 2e-9), (1e12, 3e12)] {
            let ticks = Scale::linear(least, most).ticks();
            assert!((2..=12).contains(&ticks.len()), "{least} to {most}: {ticks:?}");
            assert!(
                ticks[0] <= least && ticks[ticks.len() - 1] >= most * (1.0 - 1e-6),
                "{ticks:?}"
            );
        }
    }

    #[test]
    fn logarithmic_ticks_are_round_and_few() {
        assert_eq!(Scale::log(130.0, 870.0), Scale::Log { min: 100.0, max: 1_000.0 });
        assert_eq!(Scale::log(130.0, 870.0).ticks(), [100.0, 200.0, 500.0, 1_000.0]);
        let wide = Scale::log(1.5, 9e5).ticks();
        assert!(wide.len() <= 7 && wide.contains(&1_000.0), "{wide:?}");
        let place = Scale::log(1.0, 100.0).place(10.0);
        assert!((place - 0.5).abs() < 1e-9, "{place}");
        assert_eq!(Scale::linear(0.0, 10.0).place(5.0), 0.5);
    }
}
