//! Servers that are not Wharf's, and how requests get to them: connections that are kept, the
//! choice of a server, retries, ejections and probes.
//!
//! An HTTP/1.1 connection has no task of its own. Whoever sends a request on it drives it, and the
//! response's body drives it on until the last byte; between requests it lies in the pool and
//! costs a file descriptor. So a request that passes through wakes one task, and no other thread.
//!
//! *Invariant:* a request is sent again only if no server can have seen it, or if it is idempotent
//! and has no body; and only under the budget.
//!
//! *Invariant:* at least half of the servers take requests, however badly they answer, and all of
//! them do while none passes its probes.
//!
//! Start reading at [`UpstreamCell::send`].

mod table;
mod cell;
mod server;
mod pool;
mod connect;
mod http1;
mod send;
mod body;
mod tunnel;
mod probe;

pub use body::{BodyFailed, UpstreamBody};
pub use cell::{ServerView, UpstreamCell};
pub use connect::{ConnectError, Trust, speak_tls};
pub use probe::Prober;
pub use send::{Answer, Outgoing, SendError, Sent};
pub use table::UpstreamTable;
pub use tunnel::Tunnel;
