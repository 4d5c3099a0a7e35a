//! The front door: takes requests from the network, finds their service and carries the answer
//! back.
//!
//! *Invariant:* the proxy never talks to the store, and a request never waits for the control
//! plane. Routes come in as snapshots, tasks from the runtime's table.
//!
//! *Invariant:* what is forwarded is built anew from a parsed request that passed `admit.rs`; no
//! byte of the client's framing reaches a guest.
//!
//! Start reading at [`Proxy`], then `forward.rs`.

mod balancer;
mod edge;
mod forward;
mod admit;
mod mirror;
mod origin;
mod headers;
mod ids;
mod rules;
mod request_body;
mod response_body;
mod forwarded;
mod upstream;
mod failure;

pub use crate::listener::Bounds as ProxyConfig;
pub use balancer::{Proxy, ProxyError, ProxyParts};
pub use edge::{Edge, TlsListen};
