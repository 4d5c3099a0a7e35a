//! Opens a connection to an address that was looked at.
//!
//! *Invariant:* a name is looked up once for each connection, and only addresses of that answer
//! are connected to. Whoever answers otherwise the next time moves nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::model::{Networks, OriginScheme, address_of};
use crate::upstream::{ConnectError, speak_tls};

use super::failed::Failed;
use super::outlet::Place;
use super::outside::{Closed, Outside};
use super::pool::{Alive, Connection, Key, Line};

/// How long a name may take to be looked up.
const LOOKUP_TIME: Duration = Duration::from_secs(2);
/// Header fields of a response.
const MOST_HEADERS: usize = 100;
/// Bytes of a response's head, and of a connection's read buffer.
pub(in crate::runtime) const MOST_HEAD_BYTES: usize = 64 << 10;
/// Bytes of one response that a server may send before the guest reads them.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all responses of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// How often a connection of HTTP/2 is asked whether it is still there, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses any more may take to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// The addresses of a server that a role may be led to.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) key: Arc<Key>,
    /// Those of the role.
    pub(super) networks: Networks,
    /// Whether the role names the very address.
    pub(super) named: bool,
}

impl Way {
    pub(super) fn admits(&self, outside: &Outside, address: SocketAddr) -> bool {
        outside.admit(address, &self.networks, self.named).is_ok()
    }

    /// Looks the name up and keeps the addresses that are open.
    async fn addresses(&self, outside: &Outside) -> Result<Vec<SocketAddr>, Failed> {
        let found = match address_of(&self.key.host) {
            Some(address) => vec![address],
            None => lookup(outside, &self.key.host).await?,
        };
        let mut closed = None;
        let mut open = Vec::new();
        for address in found {
            let address = SocketAddr::new(address.to_canonical(), self.key.port);
            match outside.admit(address, &self.networks, self.named) {
                Ok(()) => open.push(address),
                Err(why) => closed = closed.or(Some((address, why))),
            }
        }
        match (open.is_empty(), closed) {
            (false, _) => Ok(open),
            (true, Some((address, why))) => Err(Failed::prohibited(advice(address, why))),
            (true, None) => Err(Failed::unresolved(&std::io::Error::other("none was found"))),
        }
    }
}

async fn lookup(outside: &Outside, name: &str) -> Result<Vec<IpAddr>, Failed> {
    let found = tokio::time::timeout(LOOKUP_TIME, outside.resolver.resolve(name)).await;
    let found = found.map_err(|_| Failed::lookup_timeout())?;
    found.map_err(|error| Failed::unresolved(&error))
}

fn advice(address: SocketAddr, why: Closed) -> String {
    let ip = address.ip();
    match why {
        Closed::Own => format!("{address} is this node itself, which no task may reach"),
        Closed::Never => format!("{ip} is closed to every task"),
        Closed::Role => format!(
            "{ip} is in a private network: add `networks = [\"{ip}\"]` to the role, if that is \
             meant"
        ),
        Closed::Node => format!(
            "{ip} is in a private network that the node does not allow: its operator starts it \
             with --allow-network {ip}"
        ),
    }
}

/// Opens a connection. It is driven by the threads that carry bytes, and holds its place until it
/// has ended.
pub(super) async fn connect(
    outside: Arc<Outside>,
    way: Way,
    place: Place,
    until: Instant,
) -> Result<Connection, Failed> {
    let addresses = timeout_at(until, way.addresses(&outside)).await;
    let addresses = addresses.map_err(|_| Failed::lookup_timeout())??;
    let opened = async {
        let (stream, address) = dial(&addresses, until).await?;
        let _ = stream.set_nodelay(true);
        let (line, alive) = match way.key.scheme {
            OriginScheme::Http => begin_http1(TokioIo::new(stream), place).await?,
            OriginScheme::Https => begin_tls(&outside, &way.key.host, stream, place).await?,
        };
        Ok(Connection { key: Arc::clone(&way.key), address, line, alive, reused: false })
    };
    timeout_at(until, opened).await.map_err(|_| Failed::connect_timeout())?
}

/// Tries the addresses one after the other. Each has its share of the time that is left, so that
/// one that swallows everything does not take the others' chance.
async fn dial(addresses: &[SocketAddr], until: Instant) -> Result<(TcpStream, SocketAddr), Failed> {
    let mut last = Failed::connect_timeout();
    for (tried, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::from_std(clock::now()));
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match tokio::time::timeout(left / others, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => last = Failed::unreachable(&error),
            Err(_) => last = Failed::connect_timeout(),
        }
    }
    Err(last)
}

async fn begin_tls(
    outside: &Outside,
    host: &str,
    stream: TcpStream,
    place: Place,
) -> Result<(Line, Alive), Failed> {
    let no_trust = || Failed::tls(&std::io::Error::other(ConnectError::NoAuthorities));
    let trust = outside.trust().ok_or_else(no_trust)?;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let (stream, is_http2) = speak_tls(stream, name, trust).await.map_err(|error| match error {
        ConnectError::Io(error) => Failed::tls(&error),
        other => Failed::tls(&std::io::Error::other(other)),
    })?;
    match is_http2 {
        true => begin_http2(TokioIo::new(stream), place).await,
        false => begin_http1(TokioIo::new(stream), place).await,
    }
}

async fn begin_http1<T>(io: TokioIo<T>, place: Place) -> Result<(Line, Alive), Failed>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(MOST_HEADERS).max_buf_size(MOST_HEAD_BYTES);
    let (sender, connection) =
        builder.handshake(io).await.map_err(|error| Failed::broken(&error))?;
    Ok((Line::Http1(sender), drive(connection, place)))
}

async fn begin_http2<T>(io: TokioIo<T>, place: Place) -> Result<(Line, Alive), Failed>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(MOST_HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let (sender, connection) =
        builder.handshake(io).await.map_err(|error| Failed::broken(&error))?;
    Ok((Line::Http2(sender), drive(connection, place)))
}

/// Moves bytes both ways until the connection has ended. Once nobody uses it any more, it has a
/// moment to end by itself: a server that takes nothing keeps no place.
fn drive<C>(connection: C, place: Place) -> Alive
where
    C: Future<Output = Result<(), hyper::Error>> + Send + 'static,
{
    let (alive, gone) = Alive::new();
    tokio::spawn(async move {
        let _place = place;
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = gone => match tokio::time::timeout(GOODBYE_TIME, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection of a guest ended");
        }
    });
    alive
}
