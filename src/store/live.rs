//! The state that readers and watchers see.
//!
//! *Invariant:* it holds only what is durable. A change enters in [`Live::apply`] and nowhere
//! else, and is published in the same step, so that a watch has neither gap nor duplicate.

use bytes::Bytes;

use super::draft::Changes;
use super::error::{Error, Reason};
use super::limits;
use super::mvcc::{Mvcc, Version};
use super::types::{Consistency, RangeReq, RangeResp, Revision};
use super::watch::{WatchStream, Watchers};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Live {
    state: Mvcc,
    watchers: Watchers,
}

impl Live {
    pub(super) fn new(state: Mvcc) -> Self {
        Self { state, watchers: Watchers::default() }
    }

    pub(super) fn state(&self) -> &Mvcc {
        &self.state
    }

    /// Makes changes visible, and returns the versions that history no longer holds for them.
    pub(super) fn apply(&mut self, changes: Changes) -> Vec<Version> {
        for batch in &changes.batches {
            self.watchers.publish(batch);
        }
        self.state.apply(changes);
        self.compact_overdue()
    }

    /// Drops history beyond its limits.
    pub(super) fn compact_overdue(&mut self) -> Vec<Version> {
        self.state.overdue().map(|before| self.state.compact(before)).unwrap_or_default()
    }

    /// Drops history below a revision.
    ///
    /// # Errors
    /// `FutureRevision`.
    pub(super) fn compact(&mut self, before: Revision) -> Result<Vec<Version>, Error> {
        let newest = self.state.revision();
        if before > newest {
            return Err(Reason::FutureRevision { newest }.into());
        }
        Ok(self.state.compact(before))
    }

    /// Puts a state that was read back in place of this one, and publishes what it has more.
    ///
    /// # Errors
    /// The state, when it has less than was published already.
    pub(super) fn replace(&mut self, state: Mvcc) -> Result<(), Mvcc> {
        let published = self.state.revision();
        if state.revision() < published {
            return Err(state);
        }
        let Ok(news) = state.since(b"", published.next()) else {
            return Err(state);
        };
        for batch in &news {
            self.watchers.publish(batch);
        }
        self.state = state;
        Ok(())
    }

    pub(super) fn range(
        &self,
        req: &RangeReq,
        consistency: Consistency,
    ) -> Result<RangeResp, Error> {
        limits::check_range(req)?;
        if let Consistency::Cached(min) = consistency
            && min > self.state.revision()
        {
            return Err(Reason::FutureRevision { newest: self.state.revision() }.into());
        }
        self.state.range(req)
    }

    pub(super) fn watch(&mut self, prefix: Bytes, from: Revision) -> Result<WatchStream, Error> {
        limits::check_watch(&prefix, from)?;
        let backlog = self.state.since(&prefix, from)?;
        self.watchers.add(prefix, from, backlog)
    }
}
