//! One counter for each way that a request can end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::Code;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct CodeCounts([AtomicU64; Code::ALL.len()]);

impl Default for CodeCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Code::ALL.len()])
    }
}

impl CodeCounts {
    pub(super) fn count(&self, code: Code) {
        self.0[usize::from(code as u8)].fetch_add(1, Relaxed);
    }

    /// The counters as they are now, without codes that never happened.
    pub(super) fn seen(&self) -> Vec<(Code, u64)> {
        let counts = Code::ALL.into_iter().zip(&self.0);
        counts.map(|(code, n)| (code, n.load(Relaxed))).filter(|(_, n)| *n > 0).collect()
    }
}
