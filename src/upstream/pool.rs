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
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    connections: VecDeque<Idle>,
    /// Whether somebody comes and looks for those that have waited for too long.
    is_swept: bool,
}

struct Idle {
    since: Instant,
    connection: Box<Http1>,
}

impl Pool {
    /// A connection that can be used. Those that the server has closed meanwhile are dropped.
    pub(super) async fn take(&self) -> Option<Box<Http1>> {
        loop {
            let mut idle = self.0.lock().connections.pop_back()?.connection;
            if poll_fn(|cx| Poll::Ready(idle.is_usable(cx))).await {
                return Some(idle);
            }
        }
    }

    /// Keeps a connection. Whether somebody has to come and look from now on, until
    /// [`Self::sweep`] says that nothing is left.
    pub(super) fn put(&self, connection: Box<Http1>) -> bool {
        let idle = Idle { since: clock::now(), connection };
        let mut waiting = self.0.lock();
        let is_full = waiting.connections.len() >= MOST_IDLE;
        let surplus = if is_full { waiting.connections.pop_front() } else { None };
        waiting.connections.push_back(idle);
        let was_swept = std::mem::replace(&mut waiting.is_swept, true);
        drop(waiting);
        // Closing takes a system call, which nobody waits for under the lock.
        drop(surplus);
        !was_swept
    }

    /// Drops what has waited for too long. Whether any still wait.
    pub(super) fn sweep(&self) -> bool {
        let now = clock::now();
        let mut waiting = self.0.lock();
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= LONGEST_IDLE;
        let old = waiting.connections.iter().take_while(|idle| is_old(idle)).count();
        let old: Vec<Idle> = waiting.connections.drain(..old).collect();
        waiting.is_swept = !waiting.connections.is_empty();
        let is_swept = waiting.is_swept;
        drop(waiting);
        drop(old);
        is_swept
    }

    /// Closes every connection that waits.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut self.0.lock().connections);
        drop(all);
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;

    use super::*;

    #[tokio::test]
    async fn connections_that_come_and_go_have_one_sweeper() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let io = TokioIo::new(Either::Left(stream));
        let pool = Pool::default();
        let mut connection = Http1::new(io).await.expect("HTTP");
        for round in 0..3 {
            // It becomes ready when it is polled for the first time.
            assert!(poll_fn(|cx| Poll::Ready(connection.is_usable(cx))).await);
            assert_eq!(pool.put(connection), round == 0, "round {round}");
            connection = pool.take().await.expect("the connection");
        }
        assert!(!pool.sweep(), "nothing waits: the sweeper ends");
        assert!(pool.put(connection), "the next one needs another");
        assert!(pool.sweep());
        pool.clear();
        assert!(!pool.sweep());
    }
}
