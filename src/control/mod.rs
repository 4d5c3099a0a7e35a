//! The brain: reads the store, lets the reconciler decide, and carries the plan out.
//!
//! *Invariant:* one pass at a time, and no retries inside one. A watch only wakes it; what it
//! decides from is the whole snapshot.
//!
//! Start reading at [`Control::run`].

mod observe;
mod commit;

pub use observe::{Observation, observe};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{self, SteadyClock};
use crate::model::Snapshot;
use crate::reconciler::{self, Now, Plan};
use crate::shutdown::Shutdown;
use crate::store::{self, Batch, Store, WatchStream, keys};

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
        let mut watch: Option<WatchStream> = None;
        let mut clock: Option<SteadyClock> = None;
        loop {
            if clock.is_none() {
                commit::begin_stages_anew(&*self.store).await?;
            }
            let seen = observe(&*self.store).await?;
            let now_ms = clock.get_or_insert_with(|| clock_after(&seen.snapshot)).now_ms();
            let now = Now { steady_ms: now_ms, wall_ms: clock::unix_ms() };
            let plan = self.pass(&seen, now).await?;
            let watch = match &mut watch {
                Some(watch) => watch,
                None => watch.insert(self.store.watch(Bytes::new(), seen.revision.next()).await?),
            };
            let woken = async {
                while let Some(batch) = watch.next().await? {
                    if batch.revision > seen.revision && concerns_plans(&batch, &plan) {
                        return Ok::<(), store::Error>(());
                    }
                }
                // The store is closing: there will be no more changes.
                std::future::pending().await
            };
            tokio::select! {
                woken = woken => woken?,
                () = until(plan.wake_at_ms(), now_ms) => {}
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
