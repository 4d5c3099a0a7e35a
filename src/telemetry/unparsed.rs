//! Counters of what came to the load balancer and reached no service.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::Code;

use super::code_counts::CodeCounts;

/// Connections that the HTTP parser ended, by why it did.
#[derive(Debug, Default)]
pub struct Unparsed {
    /// No HTTP, or against its grammar.
    pub malformed: AtomicU64,
    /// A head that is too large, or has too many fields.
    pub too_large: AtomicU64,
    /// A breach of HTTP/2.
    pub http2: AtomicU64,
    /// Requests that were read and are for no service, by how they ended.
    unrouted: CodeCounts,
}

impl Unparsed {
    /// Counts a request that is for no service.
    pub fn count_unrouted(&self, code: Code) {
        self.unrouted.count(code);
    }

    /// Those that were counted so, without codes that never happened.
    pub(super) fn unrouted(&self) -> Vec<(Code, u64)> {
        self.unrouted.seen()
    }

    /// The counters as they are now, with their names.
    pub(super) fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("malformed", self.malformed.load(Relaxed)),
            ("too-large", self.too_large.load(Relaxed)),
            ("http2", self.http2.load(Relaxed)),
        ]
    }
}
