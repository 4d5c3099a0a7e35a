//! How often requests may come: the generic cell rate algorithm (ITU-T I.371 Annex A), a token
//! bucket whose whole state is one point in time.
//!
//! *Invariant:* of `burst` and `requests` in `per`, never more than `burst + t × requests / per`
//! requests are taken in any time `t`. Arithmetic is in whole nanoseconds and rounds to the side
//! of fewer requests.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model;

/// A rate, ready to be asked. Times are nanoseconds since any fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time in which one token comes back.
    token_ns: u64,
    /// Tokens of a full bucket.
    burst: u32,
}

/// Where a bucket stands after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests that could come at once now.
    pub left: u32,
    /// When it is full again.
    pub full_in: Duration,
    /// When there is a token again, if there was none for this request.
    pub refused_for: Option<Duration>,
}

impl Rate {
    /// The rate that somebody asked for.
    pub fn of(limit: &model::Rate) -> Self {
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
        Self { token_ns: per.div_ceil(limit.requests.max(1).into()), burst: limit.burst.max(1) }
    }

    /// Takes a token of a bucket that is full again at `full_at`, and returns when it is full
    /// again then; if there is none, the time until there is.
    pub fn take(&self, full_at: u64, now: u64) -> Result<u64, u64> {
        let next = full_at.max(now).saturating_add(self.token_ns);
        let latest = now.saturating_add(self.whole_ns());
        if next <= latest { Ok(next) } else { Err(next - latest) }
    }

    /// Gives a token back.
    pub fn give_back(&self, full_at: u64) -> u64 {
        full_at.saturating_sub(self.token_ns)
    }

    /// Where a bucket stands.
    pub fn standing(&self, full_at: u64, now: u64, refused_for_ns: Option<u64>) -> Standing {
        let missing = full_at.saturating_sub(now);
        let left = self.whole_ns().saturating_sub(missing) / self.token_ns.max(1);
        Standing {
            left: u32::try_from(left).unwrap_or(self.burst).min(self.burst),
            full_in: Duration::from_nanos(missing),
            refused_for: refused_for_ns.map(Duration::from_nanos),
        }
    }

    /// Time in which an empty bucket becomes full.
    fn whole_ns(&self) -> u64 {
        self.token_ns.saturating_mul(self.burst.into())
    }
}

/// A bucket for each key, at most so many at once.
///
/// A bucket that is full again is like one that was never used, so those are forgotten to make
/// room. Where none is, keys that are new share one bucket: a flood of keys takes nothing from
/// those that are known, resets nobody, and is itself held to the rate.
#[derive(Debug)]
pub struct Buckets<K> {
    full_at: HashMap<K, u64>,
    most: usize,
    /// The bucket of those that there is no room for.
    strangers: u64,
    /// Before this time none is full again, so that nobody needs to look.
    none_full_before: u64,
}

impl<K: Hash + Eq> Buckets<K> {
    /// No bucket yet, and at most `most`.
    pub fn new(most: usize) -> Self {
        Self { full_at: HashMap::new(), most, strangers: 0, none_full_before: 0 }
    }

    /// Takes a token of the bucket of `key`.
    pub fn take(&mut self, rate: Rate, key: K, now: u64) -> Standing {
        self.make_room(now);
        let is_full = self.full_at.len() >= self.most;
        let bucket = match is_full && !self.full_at.contains_key(&key) {
            true => &mut self.strangers,
            false => self.full_at.entry(key).or_insert(now),
        };
        let taken = rate.take(*bucket, now);
        if let Ok(full_at) = taken {
            *bucket = full_at;
        }
        let full_at = *bucket;
        self.none_full_before = self.none_full_before.min(full_at);
        rate.standing(full_at, now, taken.err())
    }

    /// Gives a token back that was taken in vain.
    pub fn give_back(&mut self, rate: Rate, key: &K) {
        let bucket = self.full_at.get_mut(key).unwrap_or(&mut self.strangers);
        *bucket = rate.give_back(*bucket);
        self.none_full_before = self.none_full_before.min(*bucket);
    }

    /// Forgets what is full again whenever the table would grow, so that all looking together
    /// costs no more than all inserting.
    fn make_room(&mut self, now: u64) {
        let len = self.full_at.len();
        let would_grow = len == self.full_at.capacity() || len >= self.most;
        if len == 0 || !would_grow || now < self.none_full_before {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        self.none_full_before = self.full_at.values().copied().min().unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    fn limit(requests: u32, per_ms: u64, burst: u32) -> model::Rate {
        model::Rate { requests, per: Duration::from_millis(per_ms), burst }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_is_taken_at_once_and_comes_back_at_the_rate() {
        let rate = Rate::of(&limit(10, 1_000, 3));
        let mut buckets = Buckets::new(8);
        let mut take = |ms: u64| buckets.take(rate, "a", ms * MS);
        assert_eq!([0, 0, 0].map(|at| take(at).left), [2, 1, 0]);
        let refused = take(40);
        assert_eq!(refused.refused_for, Some(Duration::from_millis(60)));
        assert_eq!((refused.left, refused.full_in), (0, Duration::from_millis(260)));
        assert_eq!(take(100).refused_for, None);
        assert!(take(199).refused_for.is_some());
        assert_eq!(take(1_000).left, 2, "no more than the burst is saved up");
    }

    #[test]
    fn a_token_that_was_given_back_can_be_taken_again() {
        let rate = Rate::of(&limit(1, 1_000, 1));
        let mut buckets = Buckets::new(8);
        assert_eq!(buckets.take(rate, "a", 5).refused_for, None);
        assert!(buckets.take(rate, "a", 5).refused_for.is_some());
        buckets.give_back(rate, &"a");
        assert_eq!(buckets.take(rate, "a", 5).refused_for, None);
    }

    #[test]
    fn a_flood_of_keys_neither_grows_the_table_nor_resets_the_known() {
        let rate = Rate::of(&limit(1, 1_000, 2));
        let mut buckets = Buckets::new(100);
        assert_eq!((0..2).filter(|_| buckets.take(rate, 0, 0).refused_for.is_none()).count(), 2);
        let taken = (1..100_000).filter(|key| buckets.take(rate, *key, 1).refused_for.is_none());
        // All others that there is room for, and the burst of those that there is none for.
        assert_eq!(taken.count(), 99 + 2);
        assert_eq!(buckets.full_at.len(), 100);
        assert!(buckets.take(rate, 0, 2).refused_for.is_some(), "it has used up its tokens");
        // When the first are full again there is room, and whoever is not is remembered.
        assert_eq!(buckets.take(rate, 200_000, 1_000 * MS + 1).refused_for, None);
        assert_eq!(buckets.full_at.len(), 2);
        assert!(buckets.full_at.contains_key(&0));
    }

    #[test]
    fn keys_that_come_once_do_not_pile_up() {
        let rate = Rate::of(&limit(1_000, 1_000, 1));
        let mut buckets = Buckets::new(1 << 20);
        (0..100_000u64).for_each(|key| {
            buckets.take(rate, key, key * MS);
        });
        assert!(buckets.full_at.capacity() < 64, "{}", buckets.full_at.capacity());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            requests in 1u32..1_000,
            per_ms in 1u64..100_000,
            burst in 1u32..100,
            pauses in prop::collection::vec(0u64..200 * MS, 1..400),
        ) {
            let rate = Rate::of(&limit(requests, per_ms, burst));
            let (mut full_at, mut now) = (0, 7);
            let mut taken_at = Vec::new();
            for pause in pauses {
                now += pause;
                match rate.take(full_at, now) {
                    Ok(next) => {
                        full_at = next;
                        taken_at.push(now);
                    }
                    Err(wait) => {
                        prop_assert!(wait > 0 && rate.take(full_at, now + wait).is_ok());
                        prop_assert!(rate.take(full_at, now + wait - 1).is_err());
                    }
                }
            }
            for (i, from) in taken_at.iter().enumerate() {
                for (j, to) in taken_at.iter().enumerate().skip(i) {
                    let tokens = u128::from(to - from) * u128::from(requests)
                        / (u128::from(per_ms) * u128::from(MS));
                    prop_assert!((j - i + 1) as u128 <= u128::from(burst) + tokens);
                }
            }
        }
    }
}
