//! How many requests may be sent again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Percent;

/// One retry, in the unit of the account: a request pays in the hundredths of a percent that the
/// budget grants.
const PRICE: u64 = 10_000;
/// Retries that are saved up at most, so that quiet hours do not pay for a storm.
const MOST_SAVED: u64 = 100;
/// Retries that there are before any request: a service that is asked once a minute may have one.
const FIRST: u64 = 10;

/// An account that every request pays into and every retry is paid from. Retries are at most the
/// granted share of all requests, and the ten that there are at first.
#[derive(Debug)]
pub struct RetryBudget {
    saved: AtomicU64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { saved: AtomicU64::new(FIRST * PRICE) }
    }
}

impl RetryBudget {
    /// Pays in for a request.
    pub fn pay_in(&self, share: Percent) {
        let saved = self.saved.load(Ordering::Relaxed);
        // Most requests find the account full. That two of them may see the same sum loses a
        // fraction of a retry.
        let more = (saved + u64::from(share.basis_points())).min(MOST_SAVED * PRICE);
        if more != saved {
            let _ = self.saved.compare_exchange(saved, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Pays for a retry, if there is enough.
    pub fn take(&self) -> bool {
        let take = |saved: u64| saved.checked_sub(PRICE);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn retries_are_a_share_of_the_requests(
            percent in 0u16..=100,
            steps in prop::collection::vec(0u32..50, 1..60),
        ) {
            let (budget, share) = (RetryBudget::default(), Percent::whole(percent));
            let (mut requests, mut retries) = (0u64, 0u64);
            for step in steps {
                (0..step).for_each(|_| budget.pay_in(share));
                requests += u64::from(step);
                while budget.take() {
                    retries += 1;
                }
                prop_assert!(retries <= FIRST + requests * u64::from(percent) / 100);
            }
            prop_assert!(retries >= FIRST);
        }
    }

    #[test]
    fn quiet_hours_do_not_pay_for_a_storm() {
        let budget = RetryBudget::default();
        (0..100_000).for_each(|_| budget.pay_in(Percent::whole(20)));
        assert_eq!((0..1_000).filter(|_| budget.take()).count() as u64, MOST_SAVED);
    }
}
