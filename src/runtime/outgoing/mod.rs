//! What guests send: `wasi:http/outgoing-handler`, to servers that their role names and to
//! services of this node.
//!
//! Every request is looked at anew: by the role, by the limits of the service, and where it leads
//! to a server, by every address that the server's name has. Redirects are followed by nobody
//! here; a guest that follows one sends another request.
//!
//! *Invariant:* what the role does not grant is refused before anything leaves the node, a
//! question to a name server included.
//!
//! *Invariant:* a connection leads to an address that was admitted, and its name is not looked up
//! again for it.
//!
//! *Invariant:* a request is gone when its guest is: its connection is closed, the service that it
//! called is stopped.
//!
//! Start reading at `caller.rs`, then `send.rs` and `call.rs`.

mod texts;
mod failed;
mod outside;
mod resolve;
mod request;
mod body;
mod pool;
mod outlet;
mod connect;
mod caller;
mod send;
mod call;

pub(super) use caller::{Caller, advice_without_role};
pub(super) use connect::MOST_HEAD_BYTES;
pub(super) use texts::{MOST_TEXT_BYTES, TYPES, bound_texts};

pub use failed::Outcome;
pub use outlet::Outlet;
pub use outside::Outside;
pub use resolve::{Resolve, SystemResolver};
