//! Opens a connection to a server.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("it did not open within {}", crate::model::duration::format(*.0))]
    Timeout(Duration),
    #[error("the name has no address")]
    NoAddress,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its name cannot stand in a certificate: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("HTTP does not begin: {0}")]
    Http(#[from] hyper::Error),
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
    let configs = trust.0.as_ref().ok_or(ConnectError::NoAuthorities)?;
    let config = match alpn {
        Alpn::Any => Arc::clone(&configs.any),
        Alpn::Http1 => Arc::clone(&configs.http1),
    };
    let name = ServerName::try_from(target.host().to_owned())?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    Ok(Opened { io: TokioIo::new(Either::Right(stream)), http2 })
}

/// Tries the addresses of the name one after the other.
async fn dial(target: &TargetUrl) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoAddress;
    for address in tokio::net::lookup_host((target.host(), target.port())).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
