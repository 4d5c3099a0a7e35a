//! The only reader of time in this crate.
//!
//! Time serves three things: the order in which blobs were last used, the age at which an
//! unreferenced blob or an abandoned upload goes away, and the life of a token. Code that
//! decides on any of these takes `now` as an argument; only its callers come here.

use std::time::SystemTime;

/// The present, by the wall clock: ages are compared with the times of files.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
