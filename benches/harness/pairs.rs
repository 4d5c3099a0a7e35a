//! Turns: who is measured when, and what is compared with what.

use anyhow::Context;

/// What was measured, by variant, then by round.
pub(crate) struct Rounds<T> {
    measured: Vec<Vec<T>>,
    cost: fn(&T) -> f64,
}

/// Measures every variant once a round: forwards in the first round, backwards in the next, which
/// is ABBA for two. Whatever drifts evenly over the run then weighs equally on every variant.
///
/// `cost` is what variants are compared by.
pub(crate) fn measure<V, T>(
    pairs: u32,
    variants: &[(&str, V)],
    cost: fn(&T) -> f64,
    mut measure: impl FnMut(&V) -> anyhow::Result<T>,
) -> anyhow::Result<Rounds<T>> {
    let mut measured: Vec<Vec<T>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 0..pairs {
        let forwards = 0..variants.len();
        let order: Vec<usize> = match round % 2 {
            0 => forwards.collect(),
            _ => forwards.rev().collect(),
        };
        for i in order {
            let (name, variant) = &variants[i];
            measured[i].push(measure(variant).with_context(|| format!("measuring {name}"))?);
        }
        let last = measured.iter().filter_map(|values| values.last()).map(cost);
        let shown = variants.iter().zip(last).map(|((name, _), cost)| format!("{name} {cost:.2}"));
        let shown: Vec<_> = shown.collect();
        eprintln!("round {} of {pairs}: {}", round + 1, shown.join(", "));
    }
    Ok(Rounds { measured, cost })
}

impl<T> Rounds<T> {
    /// What a variant cost in each round.
    pub(crate) fn costs(&self, variant: usize) -> Vec<f64> {
        self.values(variant, self.cost)
    }

    /// Something else that was measured of it.
    pub(crate) fn values(&self, variant: usize, value: impl Fn(&T) -> f64) -> Vec<f64> {
        self.measured[variant].iter().map(value).collect()
    }

    /// The ratio of the costs of two variants in each round.
    pub(crate) fn ratios(&self, ours: usize, peer: usize) -> Vec<f64> {
        ratios(&self.costs(ours), &self.costs(peer))
    }
}

/// Value by value.
pub(crate) fn ratios(ours: &[f64], peer: &[f64]) -> Vec<f64> {
    ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect()
}
