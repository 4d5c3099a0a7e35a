//! What is counted and written down: metrics, access lines, and the output of guests.
//!
//! *Invariant:* nothing here waits. A full buffer drops and counts; the request path never
//! blocks on a log or a scrape.
//!
//! Start reading at [`Exchange`], which follows one request from its head to its last byte.

mod exchange;
mod code_counts;
mod stats;
mod access;
mod unparsed;
mod logs;
mod metrics;
mod lines;

pub use access::{AccessLog, AccessTarget};
pub use exchange::{Exchange, ExchangeStart, TakenBy, Usage};
pub use lines::sanitise;
pub use logs::{LogBook, LogLine, LogSource, Stream};
pub use metrics::{
    NodeGauges, RevisionCounts, RolloutStage, Scrape, ServiceCounts, TargetCounts, TaskGauges,
    render,
};
pub use stats::{HistogramSnapshot, ProbeKind, RevisionStats, ServiceStats, StatsSnapshot};
pub use unparsed::Unparsed;
