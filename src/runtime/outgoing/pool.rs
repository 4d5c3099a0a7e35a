//! Connections of one service that wait for their next request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use crate::clock;
use crate::model::OriginScheme;

/// How long a connection waits for its next request.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// Streams that one connection of HTTP/2 carries at once before another is opened. Servers allow
/// a hundred or more (RFC 9113 §6.5.2).
const MOST_STREAMS: usize = 100;

/// Which server a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) scheme: OriginScheme,
    /// In lower case, without a final dot; an IPv6 address in brackets.
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// The sending half of a connection. The other half ends soon after the last of these.
#[derive(Clone)]
pub(super) struct Alive(Arc<Guard>);

type Guard = oneshot::Sender<()>;

impl Alive {
    /// The guard, and what is told when the last copy of it is gone.
    pub(super) fn new() -> (Self, oneshot::Receiver<()>) {
        let (guard, gone) = oneshot::channel();
        (Self(Arc::new(guard)), gone)
    }
}

/// A connection that can take a request.
pub(super) struct Connection {
    pub(super) key: Arc<Key>,
    /// Where it leads to, which was admitted when it was opened.
    pub(super) address: SocketAddr,
    pub(super) line: Line,
    pub(super) alive: Alive,
    /// Whether it has carried a request, so that the server may just be closing it.
    pub(super) reused: bool,
}

/// How it is spoken on.
pub(super) enum Line {
    Http1(http1::SendRequest<WasiBody>),
    Http2(http2::SendRequest<WasiBody>),
}

impl Connection {
    fn is_closed(&self) -> bool {
        match &self.line {
            Line::Http1(sender) => sender.is_closed(),
            Line::Http2(sender) => sender.is_closed(),
        }
    }

    /// Another handle of the same connection, if many requests can use it at once.
    pub(super) fn another(&self) -> Option<Self> {
        let Line::Http2(sender) = &self.line else { return None };
        Some(Self {
            key: Arc::clone(&self.key),
            address: self.address,
            line: Line::Http2(sender.clone()),
            alive: self.alive.clone(),
            reused: true,
        })
    }

    /// Requests that use it now besides the pool.
    fn users(&self) -> usize {
        Arc::strong_count(&self.alive.0) - 1
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// The one that was used last stands last.
    connections: Vec<(Instant, Connection)>,
    /// Whether somebody comes and looks for those that have waited for too long.
    is_swept: bool,
}

impl Pool {
    /// A connection to this server whose address is admitted.
    pub(super) fn take(
        &self,
        key: &Key,
        admits: impl Fn(SocketAddr) -> bool,
    ) -> Option<Connection> {
        let mut waiting = self.0.lock();
        let all = &mut waiting.connections;
        all.retain(|(_, connection)| !connection.is_closed());
        let at = all.iter().rposition(|(_, one)| {
            *one.key == *key && admits(one.address) && one.users() < MOST_STREAMS
        })?;
        if let Some(another) = all[at].1.another() {
            all[at].0 = clock::now();
            return Some(another);
        }
        let (_, connection) = all.remove(at);
        Some(connection)
    }

    /// Keeps a connection. Whether somebody has to come and look from now on, until
    /// [`Self::sweep`] says that nothing is left.
    pub(super) fn put(&self, connection: Connection) -> bool {
        let mut waiting = self.0.lock();
        waiting.connections.push((clock::now(), Connection { reused: true, ..connection }));
        !std::mem::replace(&mut waiting.is_swept, true)
    }

    /// Closes the one that has waited for the longest time, if any is not in use.
    pub(super) fn close_oldest(&self) {
        let mut waiting = self.0.lock();
        let all = &mut waiting.connections;
        let oldest = all.iter().position(|(_, connection)| connection.users() == 0);
        let closed = oldest.map(|at| all.remove(at));
        drop(waiting);
        drop(closed);
    }

    /// Closes what has waited for too long. Whether any still wait.
    pub(super) fn sweep(&self) -> bool {
        let now = clock::now();
        let mut waiting = self.0.lock();
        let is_old = |since: Instant| now.saturating_duration_since(since) >= LONGEST_IDLE;
        waiting
            .connections
            .retain(|(since, one)| !one.is_closed() && (one.users() > 0 || !is_old(*since)));
        waiting.is_swept = !waiting.connections.is_empty();
        waiting.is_swept
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;
    use tokio::time::Instant;

    use super::super::connect::{Way, connect};
    use super::super::outlet::{Outlet, Room};
    use super::super::outside::Outside;
    use super::super::resolve::SystemResolver;
    use super::*;
    use crate::model::Networks;

    async fn connection(outlet: &Arc<Outlet>, address: SocketAddr) -> Connection {
        let networks: Networks =
            ["127.0.0.0/8".parse::<ipnet::IpNet>().expect("a network")].into_iter().collect();
        let resolver = Arc::new(SystemResolver::default());
        let outside = Arc::new(Outside::new(networks.clone(), resolver, Handle::current()));
        let host = address.ip().to_string().into();
        let key = Key { scheme: OriginScheme::Http, host, port: address.port() };
        let way = Way { key: Arc::new(key), networks, named: false };
        let until = Instant::from_std(clock::now()) + Duration::from_secs(60);
        let Ok(Room::New(place)) = outlet.room(1, until, |_| None).await else {
            panic!("there is room for one");
        };
        connect(outside, way, place, until).await.expect("a connection")
    }

    #[tokio::test]
    async fn a_connection_is_used_again_only_where_it_may_lead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
        let address = listener.local_addr().expect("an address");
        let outlet = Arc::<Outlet>::default();
        let kept = connection(&outlet, address).await;
        let key = Arc::clone(&kept.key);
        assert!(outlet.keep(kept), "somebody has to sweep from now on");
        let pool = &outlet.pool;
        assert!(pool.take(&key, |_| false).is_none(), "another revision may not go there");
        let other = Key { port: 1, ..(*key).clone() };
        assert!(pool.take(&other, |_| true).is_none());
        let taken = pool.take(&key, |to| to == address).expect("the connection");
        assert!(taken.reused);
        assert!(pool.take(&key, |_| true).is_none(), "one request at a time");
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_ends_and_gives_its_place_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
        let address = listener.local_addr().expect("an address");
        let outlet = Arc::<Outlet>::default();
        let kept = connection(&outlet, address).await;
        let (mut server, _) = listener.accept().await.expect("a connection");
        outlet.keep(kept);
        outlet.pool.close_oldest();
        assert_eq!(server.read(&mut [0; 8]).await.expect("an end"), 0);
        // There is room for one again, or this waits for ever.
        drop(connection(&outlet, address).await);
        assert!(!outlet.pool.sweep(), "nothing waits");
    }
}
