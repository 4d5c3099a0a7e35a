//! What happens on a connection before its first request.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::shutdown::Shutdown;

use super::stream::Stream;
use super::{Channel, Networks, Peer, proxy_header};

/// How long a connection that is not open yet may still take for it when the node stops.
const OPENING: Duration = Duration::from_millis(500);

/// What the connections of a socket begin with.
#[derive(Clone, Default)]
pub(super) struct Entrance {
    /// Senders that must begin with a header of the PROXY protocol. To everybody else it is no
    /// request.
    pub(super) announced_by: Arc<Networks>,
    /// Certificates and versions; none where cleartext is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

impl Entrance {
    /// Opens a connection in at most `within`; `None` if its client does not manage.
    pub(super) async fn open(
        self,
        stream: TcpStream,
        client: SocketAddr,
        within: Duration,
        shutdown: &Shutdown,
    ) -> Option<(Stream, Peer)> {
        if self.tls.is_none() && !self.announced_by.contain(client.ip()) {
            return Some((Stream::Cleartext(stream), Peer::new(client, Channel::Cleartext)));
        }
        // On the heap, so that other connections do not carry its room with them.
        let opening = Box::pin(self.announced_and_encrypted(stream, client));
        let mut opening = pin!(tokio::time::timeout(within, opening));
        let opened = match shutdown.unless_begun(opening.as_mut()).await {
            Some(opened) => opened,
            None => tokio::time::timeout(OPENING, opening).await.ok()?,
        };
        match opened {
            Ok(Ok(opened)) => Some(opened),
            Ok(Err(error)) => {
                tracing::debug!(%client, %error, "the connection could not be opened");
                None
            }
            Err(_) => {
                tracing::debug!(%client, "the client is too slow to open its connection");
                None
            }
        }
    }

    async fn announced_and_encrypted(
        self,
        mut stream: TcpStream,
        mut client: SocketAddr,
    ) -> io::Result<(Stream, Peer)> {
        if self.announced_by.contain(client.ip()) {
            client = proxy_header::read(&mut stream).await?.unwrap_or(client);
        }
        let (stream, channel) = match self.tls {
            Some(tls) => encrypted(stream, tls).await?,
            None => (Stream::Cleartext(stream), Channel::Cleartext),
        };
        Ok((stream, Peer::new(client, channel)))
    }
}

/// Shakes hands. Whoever speaks HTTP here is let through to be told that this is the wrong place.
async fn encrypted(stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<(Stream, Channel)> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // Methods begin with a letter, and TLS with 22 (RFC 8446 §5.1).
    if first[0].is_ascii_uppercase() {
        return Ok((Stream::Cleartext(stream), Channel::CleartextOnTls));
    }
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    Ok((Stream::Tls(Box::new(stream)), Channel::Tls))
}
