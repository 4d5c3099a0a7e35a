//! A listener for HTTP: accepts connections, bounds them, and lets them finish when the node
//! stops. The load balancer has one, which may take TLS beside cleartext, and so has the API.
//!
//! *Invariant:* nobody keeps a place for ever by doing nothing. Whoever says nothing, sends no
//! whole head, takes nothing of a response or has no stream is told to go, and then made to.
//!
//! Start reading at [`Listener::run`].

mod accept;
mod count;
mod inherited;
mod entrance;
mod proxy_header;
mod connection;
mod answers;
mod taken;
mod streams;
mod io;
mod stream;
mod upgrade;

pub use crate::model::Networks;
pub use accept::Listener;
pub use connection::Refused;
pub use count::Connections;
pub use inherited::{Inherited, Role};
pub use upgrade::AfterUpgrade;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;

/// What a listener grants its clients.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take to open its connection where more than TCP is needed for it.
    pub handshake_timeout: Duration,
    /// How long a client may take for a request's head. An idle connection is closed after it.
    pub head_timeout: Duration,
    /// How long a client may pause within a request's body, or in taking a response. Of a stream
    /// of HTTP/2 that pause is the time for the next 8 KiB, or for what is left.
    pub idle_timeout: Duration,
    /// How long an HTTP/2 connection may have no stream before it is told to go away; the same
    /// time again, and it is closed. Looked at once in that time, so that it may take twice as
    /// long.
    pub http2_idle_timeout: Duration,
    /// How long requests under way are waited for at shutdown.
    pub drain: Duration,
    /// How long a connection without a request may stay when another process goes on with the
    /// sockets. Its next answer closes it, so that no request meets a closing connection.
    pub replaced_idle: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_connections: 8_192,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            http2_idle_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            replaced_idle: Duration::from_secs(10),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Their address.
    pub client: SocketAddr,
    /// How they came.
    pub channel: Channel,
    /// The address without its port, as a field says it: written once, for all requests.
    pub address: HeaderValue,
}

impl Peer {
    /// Who comes from this address.
    pub fn new(client: SocketAddr, channel: Channel) -> Self {
        let address = client.ip().to_canonical().to_string();
        let address = HeaderValue::try_from(address);
        // An address has no byte that a field cannot have.
        let address = address.unwrap_or(HeaderValue::from_static("unknown"));
        Self { client, channel, address }
    }
}

/// How bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Plain HTTP.
    Cleartext,
    /// HTTP inside of TLS.
    Tls,
    /// Plain HTTP where TLS is spoken: by mistake.
    CleartextOnTls,
}

/// What answers the requests of a listener.
pub trait Serve: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Failure>> + Send + Unpin + 'static;

    /// Answers the request, whatever happens.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Told of a response that is given up because its client does not take it.
    fn stalled(_body: &Self::Body) {}

    /// Told of a connection that ended because what came on it was no request.
    fn refused(&self, _peer: &Peer, _refused: Refused) {}
}

/// What a body may fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;
