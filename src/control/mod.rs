//! The brain: reads the store, lets the reconciler decide, and carries the plan out.
//!
//! *Invariant:* one pass at a time, and no retries inside one. A watch only wakes it; what it
//! decides from is the whole snapshot.
//!
//! Start reading at [`Control::run`].

mod observe;
mod commit;

pub use observe::observe;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::reconciler;
use crate::shutdown::Shutdown;
use crate::store::{self, Batch, Revision, Store, WatchStream, keys};

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
        loop {
            let seen = self.pass().await?;
            let watch = match &mut watch {
                Some(watch) => watch,
                None => watch.insert(self.store.watch(Bytes::new(), seen.next()).await?),
            };
            while let Some(batch) = watch.next().await? {
                if batch.revision > seen && concerns_plans(&batch) {
                    break;
                }
            }
        }
    }

    async fn pass(&self) -> Result<Revision, store::Error> {
        let (snapshot, revision) = observe(&*self.store).await?;
        let plan = reconciler::plan(&snapshot);
        let violations = reconciler::check(&snapshot, &plan);
        if !violations.is_empty() {
            // A fault of the planner. What is in force stays, and is better than the plan.
            tracing::error!(?violations, "the plan is not carried out");
        } else if !plan.is_empty() {
            commit::commit(&*self.store, &plan).await?;
        }
        Ok(revision)
    }
}

/// Whether a plan could come out differently: grants and reports are written because of plans.
fn concerns_plans(batch: &Batch) -> bool {
    let own = [keys::GRANTS, keys::STATUS];
    let concerns = |key: &[u8]| !own.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
    batch.events.iter().any(|event| concerns(&event.kv.key))
}
