//! Opens a connection to a server.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::model::{TargetScheme, TargetUrl};

/// The bytes of a connection, with TLS or without.
pub(super) type Io = TokioIo<Either<TcpStream, TlsStream<TcpStream>>>;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// How long an address may take before the next one is tried beside it: the Connection Attempt
/// Delay that RFC 8305 §5 recommends.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took too long.
    #[error("it did not open within {}", crate::model::duration::format(*.0))]
    Timeout(Duration),
    /// There is nobody to connect to.
    #[error("the name has no address")]
    NoAddress,
    /// The network, or TLS.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It can prove nothing.
    #[error("its name cannot stand in a certificate: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// The connection is open, and of no use.
    #[error("HTTP does not begin: {0}")]
    Http(#[from] hyper::Error),
    /// Nobody could vouch for it.
    #[error("the system has no certificates of authorities")]
    NoAuthorities,
}

impl ConnectError {
    /// Whether the server speaks none of the protocols that it was offered.
    pub(super) fn is_other_protocol(&self) -> bool {
        use rustls::{AlertDescription, Error};
        let Self::Io(error) = self else { return false };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        matches!(inner, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
    }
}

/// Whom to believe that a server is who it says.
#[derive(Clone)]
pub struct Trust(Option<Arc<Configs>>);

/// The same authorities with either offer of protocols.
struct Configs {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// Which protocols a server is offered within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// HTTP/2 and HTTP/1.1.
    Any,
    /// HTTP/1.1, which alone can be left.
    Http1,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trust").field(&self.0.is_some()).finish()
    }
}

impl Trust {
    /// The authorities of these certificates, or those of the system. `None` is returned for text
    /// without a usable certificate.
    pub fn new(ca: Option<&str>) -> Option<Self> {
        let Some(ca) = ca else { return Some(Self(system().clone())) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.ok()?).ok()?;
        }
        (!roots.is_empty()).then(|| Self(Some(configs(roots))))
    }
}

/// Read once: there are some hundred of them.
fn system() -> &'static Option<Arc<Configs>> {
    static SYSTEM: OnceLock<Option<Arc<Configs>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        (!roots.is_empty()).then(|| configs(roots))
    })
}

fn configs(roots: RootCertStore) -> Arc<Configs> {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP1.to_vec()];
    let http1 = Arc::new(config.clone());
    config.alpn_protocols.insert(0, HTTP2.to_vec());
    Arc::new(Configs { any: Arc::new(config), http1 })
}

/// A connection that is open, and whether it speaks HTTP/2.
pub(super) struct Opened {
    pub(super) io: Io,
    pub(super) http2: bool,
}

/// Opens a connection. The name is looked up anew for each, so that a server may move.
pub(super) async fn connect(
    target: &TargetUrl,
    trust: &Trust,
    timeout: Duration,
    alpn: Alpn,
) -> Result<Opened, ConnectError> {
    let opened = tokio::time::timeout(timeout, open(target, trust, alpn)).await;
    opened.map_err(|_| ConnectError::Timeout(timeout))?
}

async fn open(target: &TargetUrl, trust: &Trust, alpn: Alpn) -> Result<Opened, ConnectError> {
    let stream = dial(target).await?;
    let _ = stream.set_nodelay(true);
    if target.scheme() != TargetScheme::Https {
        let http2 = target.scheme() == TargetScheme::H2c && alpn == Alpn::Any;
        return Ok(Opened { io: TokioIo::new(Either::Left(stream)), http2 });
    }
    let (stream, http2) = begin_tls(stream, target.host(), trust, alpn).await?;
    Ok(Opened { io: TokioIo::new(Either::Right(stream)), http2 })
}

/// Speaks TLS on a connection to `host` that somebody else has opened, and says whether the server
/// has chosen HTTP/2.
pub async fn speak_tls(
    stream: TcpStream,
    host: &str,
    trust: &Trust,
) -> Result<(TlsStream<TcpStream>, bool), ConnectError> {
    begin_tls(stream, host, trust, Alpn::Any).await
}

async fn begin_tls(
    stream: TcpStream,
    host: &str,
    trust: &Trust,
    alpn: Alpn,
) -> Result<(TlsStream<TcpStream>, bool), ConnectError> {
    let configs = trust.0.as_ref().ok_or(ConnectError::NoAuthorities)?;
    let config = match alpn {
        Alpn::Any => Arc::clone(&configs.any),
        Alpn::Http1 => Arc::clone(&configs.http1),
    };
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    Ok((stream, http2))
}

/// Tries the addresses of the name.
async fn dial(target: &TargetUrl) -> Result<TcpStream, ConnectError> {
    let found = tokio::net::lookup_host((target.host(), target.port())).await?;
    race(in_turns(found.take(MOST_ADDRESSES).collect())).await
}

/// Connects to the first address that takes the connection. Each has a head start on the next one
/// (RFC 8305 §5): one that swallows everything must not use up the time of the others.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
    let mut left = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = ConnectError::NoAddress;
    loop {
        attempts.extend(left.next().map(TcpStream::connect));
        let head_start = async {
            match left.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(HEAD_START).await,
            }
        };
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error.into(),
                None => return Err(last),
            },
            () = head_start => {}
        }
    }
}

/// Addresses of IPv6 and IPv4 by turns (RFC 8305 §4), in the order of the resolver otherwise.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            return turns;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Only bounds a hang.
    const PATIENCE: Duration = Duration::from_secs(40);

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let all = |texts: &[&str]| texts.iter().map(|text| parse(text)).collect::<Vec<_>>();
        let found = all(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let turns = all(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(in_turns(found), turns);
        assert_eq!(in_turns(all(&["10.0.0.1:1", "[::1]:1"])), all(&["10.0.0.1:1", "[::1]:1"]));
        assert_eq!(in_turns(Vec::new()), []);
    }

    /// An address that swallows what is sent there: nobody accepts, and the queue is full.
    async fn swallowing() -> (TcpListener, Vec<tokio::task::JoinHandle<()>>, SocketAddr) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let mut held = Vec::new();
        for _ in 0..64 {
            let mut knock = Box::pin(TcpStream::connect(address));
            let taken = tokio::time::timeout(Duration::from_millis(300), &mut knock).await;
            let is_full = taken.is_err();
            held.push(tokio::spawn(async move {
                let _stream = match taken {
                    Ok(stream) => stream,
                    Err(_) => knock.await,
                };
                std::future::pending::<()>().await;
            }));
            if is_full {
                return (listener, held, address);
            }
        }
        panic!("the queue of the listener has no end");
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_keep_the_next_one_from_its_turn() {
        let (_listener, held, hole) = swallowing().await;
        let (closed, open) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (closed, open) = (closed.await.expect("a port"), open.await.expect("a port"));
        let refusing = closed.local_addr().expect("an address");
        drop(closed);
        let open = (open.local_addr().expect("an address"), open);
        let won = tokio::time::timeout(PATIENCE, race(vec![hole, refusing, open.0])).await;
        let won = won.expect("in time").expect("a connection");
        assert_eq!(won.peer_addr().expect("an address"), open.0);
        let nobody = race(vec![refusing]).await;
        assert!(matches!(nobody, Err(ConnectError::Io(_))), "{nobody:?}");
        assert!(matches!(race(Vec::new()).await, Err(ConnectError::NoAddress)));
        held.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
