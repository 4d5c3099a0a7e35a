//! Connections of HTTP/1.1 that wait for their next request.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

use super::http1::Http1;

/// How long a connection waits for its next request, as nginx lets its own wait.
const LONGEST_IDLE: Duration = Duration::from_secs(60);
/// Connections that wait at once for one server.
const MOST_IDLE: usize = 256;

/// The youngest is used first, so that those which are not needed grow old.
#[derive(Default)]
pub(super) struct Pool(Mutex<VecDeque<Idle>>);

struct Idle {
    since: Instant,
    connection: Box<Http1>,
}

impl Pool {
    /// A connection that can be used. Those that the server has closed meanwhile are dropped.
    pub(super) async fn take(&self) -> Option<Box<Http1>> {
        loop {
            let mut idle = self.0.lock().pop_back()?.connection;
            if poll_fn(|cx| Poll::Ready(idle.is_usable(cx))).await {
                return Some(idle);
            }
        }
    }

    /// Keeps a connection. Whether it is the only one, so that somebody has to come and look.
    pub(super) fn put(&self, connection: Box<Http1>) -> bool {
        let idle = Idle { since: clock::now(), connection };
        let mut waiting = self.0.lock();
        let surplus = if waiting.len() >= MOST_IDLE { waiting.pop_front() } else { None };
        waiting.push_back(idle);
        let is_only = waiting.len() == 1;
        drop(waiting);
        // Closing takes a system call, which nobody waits for under the lock.
        drop(surplus);
        is_only
    }

    /// Drops what has waited for too long. How many still wait.
    pub(super) fn sweep(&self) -> usize {
        let now = clock::now();
        let mut waiting = self.0.lock();
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= LONGEST_IDLE;
        let old = waiting.iter().take_while(|idle| is_old(idle)).count();
        let old: Vec<Idle> = waiting.drain(..old).collect();
        let left = waiting.len();
        drop(waiting);
        drop(old);
        left
    }

    /// Closes every connection that waits.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }
}
