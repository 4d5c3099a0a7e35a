//! How many connections a listener has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that every clone sees.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicU64>);

impl Connections {
    /// Those that are open now.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Counts one until it is dropped.
    pub(super) fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Relaxed);
        Counted(self.clone())
    }
}

/// A connection that is counted.
pub(super) struct Counted(Connections);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
