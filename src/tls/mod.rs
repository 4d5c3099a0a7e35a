//! The certificates of the load balancer: read from files, chosen by the name that a client asks
//! for, and read again when the files change.
//!
//! *Invariant:* all certificates are replaced together or not at all. A file that cannot be used
//! leaves those in force that were.
//!
//! Start reading at [`Certificates`].

mod certificates;
mod watch;
mod chosen;
mod files;

pub use certificates::Certificates;
pub use files::{Error, Sources};
