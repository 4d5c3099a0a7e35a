//! Counters of what came to the load balancer and reached no service.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::Code;

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
    unrouted: [AtomicU64; Code::ALL.len()],
}

impl Unparsed {
    /// Counts a request that is for no service.
    pub fn count_unrouted(&self, code: Code) {
        self.unrouted[usize::from(code as u8)].fetch_add(1, Relaxed);
    }

    /// Those that were counted so, without codes that never happened.
    pub(super) fn unrouted(&self) -> Vec<(Code, u64)> {
        let counts = Code::ALL.into_iter().zip(&self.unrouted);
        counts.map(|(code, n)| (code, n.load(Relaxed))).filter(|(_, n)| *n > 0).collect()
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
