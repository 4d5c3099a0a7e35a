//! The brain: reads the store, lets the reconciler decide, and carries the plan out.
//!
//! *Invariant:* one pass at a time, and no retries inside one. What it decides from is the whole
//! snapshot: all that was written before the pass began, kept up to date by a watch.
//!
//! Start reading at [`Control::run`].

mod observe;
mod commit;

pub use observe::{Observation, observe, observe_service};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{self, SteadyClock};
use crate::model::Snapshot;
use crate::reconciler::{self, Now, Plan};
use crate::shutdown::Shutdown;
use crate::store::{self, Batch, Consistency, RangeReq, Store, WatchStream, keys};

/// How long a pass waits after a failed one. A store that is away is asked again, not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The control loop of a cluster.
pub struct Control {
    store: Arc<dyn Store>,
}

impl Control {
    /// A loop over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Reconciles at every change until the signal is given.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let Some(result) = shutdown.unless_begun(self.passes()).await else { return };
            if let Err(error) = result {
                tracing::warn!(%error, "reconciling failed; it will be tried again");
                shutdown.unless_begun(tokio::time::sleep(PAUSE_AFTER_FAILURE)).await;
            }
        }
    }

    /// Passes until the store or a watch on it fails.
    async fn passes(&self) -> Result<(), store::Error> {
        commit::begin_stages_anew(&*self.store).await?;
        let mut following = Following::begin(&*self.store).await?;
        let clock = clock_after(&following.seen.snapshot);
        loop {
            following.catch_up().await?;
            let began = clock::now();
            let now_ms = clock.now_ms();
            let now = Now { steady_ms: now_ms, wall_ms: clock::unix_ms() };
            let plan = self.pass(&following.seen, now).await?;
            // A pass looks at everything, and with many services that takes a while. It rests for
            // as long, so that many changes in a row bring few passes and half a core stays free.
            let rested = tokio::time::sleep(began.elapsed());
            tokio::select! {
                woken = following.until_concerned(&plan) => woken?,
                () = until(plan.wake_at_ms(), now_ms) => {}
            }
            tokio::select! {
                failed = following.on() => failed?,
                () = rested => {}
            }
        }
    }

    async fn pass(&self, seen: &Observation, now: Now) -> Result<Plan, store::Error> {
        let plan = reconciler::plan(&seen.snapshot, now);
        let violations = reconciler::check(&seen.snapshot, &plan);
        if !violations.is_empty() {
            // A fault of the planner. What is in force stays, and is better than the plan.
            tracing::error!(?violations, "the plan is not carried out");
        } else if !plan.is_empty() {
            commit::commit(&*self.store, &plan, seen).await?;
        }
        Ok(plan)
    }
}

/// What the store holds, which its watch keeps up to date: to read and decode all of it for every
/// pass would take longer than to decide.
struct Following<'a> {
    store: &'a dyn Store,
    seen: Observation,
    watch: WatchStream,
    /// Whether the watch has ended because it held too much.
    lagged: bool,
}

impl<'a> Following<'a> {
    async fn begin(store: &'a dyn Store) -> Result<Self, store::Error> {
        let seen = observe(store).await?;
        let watch = store.watch(Bytes::new(), seen.revision.next()).await?;
        Ok(Self { store, seen, watch, lagged: false })
    }

    /// Takes up everything that was written before now.
    async fn catch_up(&mut self) -> Result<(), store::Error> {
        let any = RangeReq::prefix(keys::NODES).limit(1);
        let newest = self.store.range(any, Consistency::Linearizable).await?.revision;
        while self.seen.revision < newest {
            self.next().await?;
        }
        Ok(())
    }

    /// Takes up changes until there was one that concerns the plan.
    async fn until_concerned(&mut self, plan: &Plan) -> Result<(), store::Error> {
        while self.next().await?.is_some_and(|batch| !concerns_plans(&batch, plan)) {}
        Ok(())
    }

    /// Takes up changes until the store fails.
    async fn on(&mut self) -> Result<(), store::Error> {
        loop {
            self.next().await?;
        }
    }

    /// Takes up the next change. `None` if there were more than the watch holds, as while a long
    /// plan is carried out: then everything was read anew.
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Batch>, store::Error> {
        if !self.lagged {
            match self.watch.next().await {
                Ok(Some(batch)) => {
                    self.seen.take(&batch);
                    return Ok(Some(batch));
                }
                // The store is closing: there will be no more changes.
                Ok(None) => std::future::pending().await,
                Err(store::Error::Lagged { .. }) => self.lagged = true,
                Err(error) => return Err(error),
            }
        }
        *self = Self::begin(self.store).await?;
        Ok(None)
    }
}

/// A clock that goes on from what an earlier one has written.
fn clock_after(snapshot: &Snapshot) -> SteadyClock {
    let written = snapshot.rollouts.values().map(|rollout| rollout.since_ms).max();
    SteadyClock::start(written.unwrap_or_default())
}

async fn until(due_ms: Option<u64>, now_ms: u64) {
    match due_ms {
        Some(due_ms) => {
            // One more, so that the clock has reached it.
            let ms = due_ms.saturating_sub(now_ms).saturating_add(1);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        None => std::future::pending().await,
    }
}

/// Whether a plan could come out differently. Grants are written because of plans; reports count
/// for deployments that are under way.
fn concerns_plans(batch: &Batch, plan: &Plan) -> bool {
    batch.events.iter().any(|event| {
        let key = &event.kv.key;
        match keys::parse_status(key) {
            Some((_, service)) => plan.is_under_way(&service),
            None => !key.starts_with(keys::GRANTS.as_bytes()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemStore, Op, Txn, WATCH_BATCHES_MAX};

    #[tokio::test]
    async fn whoever_falls_behind_reads_anew_and_goes_on() {
        let store = MemStore::new();
        let mut following = Following::begin(&store).await.expect("read");
        let write = || async {
            let put = Op::put(keys::upstream("u"), "a value");
            store.txn(Txn::of(vec![put])).await.expect("written").revision
        };
        for _ in 0..WATCH_BATCHES_MAX + 2 {
            write().await;
        }
        following.catch_up().await.expect("caught up");
        assert_eq!(following.seen.revision.0, WATCH_BATCHES_MAX as u64 + 2);
        let newest = write().await;
        following.catch_up().await.expect("followed");
        assert_eq!(following.seen.revision, newest);
    }
}
