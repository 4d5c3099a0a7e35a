//! Which of several weighted targets takes a request.

use crate::model::Percent;

/// Points that the whole is divided into, as many as [`Percent`] has.
const POINTS: u32 = 10_000;

/// Targets with their shares. Immutable: a change makes a new one.
#[derive(Clone, Debug)]
pub struct Split<T> {
    /// Each target with the point at which its share ends.
    ends: Vec<(u32, T)>,
}

/// The point of a request on a circle of 2^32, by how many came before it: the multiples of the
/// golden ratio are spread evenly (Weyl's equidistribution with the lowest discrepancy, Knuth,
/// TAOCP 3, §6.4).
fn nth_point(n: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b9)
}

/// Whether a request is in this share of all, by how many came before it. Any run of requests
/// has its share, to within a few requests.
pub fn is_in_share(n: u32, share: Percent) -> bool {
    (u64::from(nth_point(n)) * u64::from(POINTS)) >> 32 < share.basis_points().into()
}

impl<T> Split<T> {
    /// Targets without a share are left out. The one that is given last stands first, so that
    /// a share that grows keeps the points that it had: whoever was sent to a new revision by
    /// [`Split::at`] stays there while its share grows.
    pub fn new(shares: impl IntoIterator<Item = (T, Percent)>) -> Self {
        let mut shares: Vec<(T, Percent)> = shares.into_iter().collect();
        shares.reverse();
        let mut end = 0;
        let with_share = shares.into_iter().filter(|(_, share)| *share > Percent::NONE);
        let ends = with_share.map(|(target, share)| {
            end += share.basis_points();
            (end, target)
        });
        Self { ends: ends.collect() }
    }

    /// The same with the targets that are ready, which take the shares of the others as well. Where
    /// none is, all of them are used: whoever fails sometimes is better than nobody.
    pub fn of_ready(
        shares: impl IntoIterator<Item = (T, Percent)>,
        is_ready: impl Fn(&T) -> bool,
    ) -> Self {
        let shares: Vec<_> = shares.into_iter().collect();
        let takes = |(target, share): &(T, Percent)| *share > Percent::NONE && is_ready(target);
        let fail_open = !shares.iter().any(takes);
        Self::new(shares.into_iter().filter(|one| fail_open || takes(one)))
    }

    /// The target when there is only one.
    pub fn only(&self) -> Option<&T> {
        match &self.ends[..] {
            [(_, target)] => Some(target),
            _ => None,
        }
    }

    /// The target of a request, by how many came before it. Any run of requests is split as
    /// stated, to within a few requests.
    pub fn nth(&self, n: u32) -> Option<&T> {
        self.at(nth_point(n))
    }

    /// The target of a point on a circle of 2^32: the same point leads to the same target as long
    /// as the shares stay.
    pub fn at(&self, point: u32) -> Option<&T> {
        let whole = self.ends.last()?.0.min(POINTS);
        let point = u32::try_from((u64::from(point) * u64::from(whole)) >> 32).unwrap_or(0);
        let position = self.ends.partition_point(|(end, _)| *end <= point);
        self.ends.get(position).map(|(_, target)| target)
    }

    /// Every target that has a share.
    pub fn targets(&self) -> impl Iterator<Item = &T> {
        self.ends.iter().map(|(_, target)| target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_target_takes_everything_and_none_nothing() {
        let one = Split::new([("a", Percent::ALL), ("b", Percent::NONE)]);
        assert_eq!(one.only(), Some(&"a"));
        assert_eq!((one.nth(0), one.at(u32::MAX)), (Some(&"a"), Some(&"a")));
        let none = Split::<()>::new([]);
        assert_eq!((none.only(), none.nth(7)), (None, None));
    }

    #[test]
    fn the_stated_split_is_met_in_every_run_of_requests() {
        let split = Split::new([("old", Percent::whole(95)), ("new", Percent::whole(5))]);
        for start in [0, 1_000, u32::MAX - 500] {
            let new = (0..1_000).filter(|n| split.nth(start.wrapping_add(*n)) == Some(&"new"));
            let count = new.count();
            assert!((47..=53).contains(&count), "{count}");
        }
    }

    #[test]
    fn the_others_take_what_one_that_is_not_ready_leaves() {
        let shares = [("a", 20), ("b", 30), ("c", 50), ("spare", 0)];
        let with = |ready: &[&str]| {
            let shares = shares.map(|(target, share)| (target, Percent::whole(share)));
            let split = Split::of_ready(shares, |target| ready.contains(target));
            let count = |of| (0..1_000).filter(|n| split.nth(*n) == Some(&of)).count() / 10;
            ["a", "b", "c", "spare"].map(count)
        };
        assert_eq!(with(&["a", "b", "c", "spare"]), with(&[]));
        assert_eq!(with(&["spare"]), with(&[]));
        assert_eq!(with(&["c"]), [0, 0, 100, 0]);
        let [a, b, c, spare] = with(&["a", "b"]);
        assert!((39..=41).contains(&a) && (59..=61).contains(&b), "{a} {b}");
        assert_eq!((c, spare), (0, 0));
    }

    #[test]
    fn every_run_of_requests_has_its_share() {
        for (points, about) in [(0, 0), (10, 1), (1_000, 100), (10_000, 1_000)] {
            let share = Percent::from_basis_points(points).expect("in bounds");
            for start in [0, 1_000, u32::MAX - 500] {
                let run = (0..1_000).filter(|n| is_in_share(start.wrapping_add(*n), share));
                let count = run.count();
                assert!(count.abs_diff(about) <= 3, "{count} of {share}");
                assert!(points % 10_000 != 0 || count == about, "{count} of {share}");
            }
        }
    }

    proptest! {
        #[test]
        fn whoever_is_on_the_new_revision_stays_while_its_share_grows(
            point: u32,
            before in 0u32..=10_000,
            more in 0u32..=10_000,
        ) {
            let percent = |points| Percent::from_basis_points(points).expect("in bounds");
            let after = (before + more).min(10_000);
            let at = |points: u32| {
                let new = percent(points);
                let split = Split::new([("old", new.rest()), ("new", new)]);
                split.at(point).copied()
            };
            prop_assert!(at(before) != Some("new") || at(after) == Some("new"));
        }
    }
}
