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
        let seen = observe(&*self.store).await?;
        let clock = clock_after(&seen.snapshot);
        let watch = self.store.watch(Bytes::new(), seen.revision.next()).await?;
        let mut following = Following { seen, watch };
        loop {
            following.catch_up(&*self.store).await?;
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
struct Following {
    seen: Observation,
    watch: WatchStream,
}

impl Following {
    /// Takes up everything that was written before now.
    async fn catch_up(&mut self, store: &dyn Store) -> Result<(), store::Error> {
        let none = RangeReq::prefix(keys::NODES).limit(1);
        let newest = store.range(none, Consistency::Linearizable).await?.revision;
        while self.seen.revision < newest {
            self.next().await?;
        }
        Ok(())
    }

    /// Takes up changes until there was one that concerns the plan.
    async fn until_concerned(&mut self, plan: &Plan) -> Result<(), store::Error> {
        while !concerns_plans(&self.next().await?, plan) {}
        Ok(())
    }

    /// Takes up changes until the store fails.
    async fn on(&mut self) -> Result<(), store::Error> {
        loop {
            self.next().await?;
        }
    }

    async fn next(&mut self) -> Result<Batch, store::Error> {
        match self.watch.next().await? {
            Some(batch) => {
                self.seen.take(&batch);
                Ok(batch)
            }
            // The store is closing: there will be no more changes.
            None => std::future::pending().await,
        }
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
