//! A server that is not Wharf's, for the load balancer to forward to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::tls::Pair;

type Body = BoxBody<Bytes, std::io::Error>;

/// A server, until it is dropped.
pub struct Origin {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    serving: tokio::task::JoinHandle<()>,
}

/// What a server saw, and how it is told to answer.
#[derive(Default)]
pub struct Seen {
    pub requests: AtomicU64,
    pub probes: AtomicU64,
    pub connections: AtomicU64,
    pub open: AtomicU64,
    /// The status of everything that has no status of its own; 0 for 200.
    pub status: AtomicU32,
    name: String,
}

impl Origin {
    /// Starts a server that answers with its name.
    pub async fn start(name: &str) -> Self {
        Self::start_on(name, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_on(name: &str, address: SocketAddr) -> Self {
        Self::serve(name, address, None).await
    }

    /// The same behind TLS, with these protocols.
    pub async fn start_tls(name: &str, pair: &Pair, protocols: &[&str]) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(pair.server(protocols)));
        Self::serve(name, SocketAddr::from(([127, 0, 0, 1], 0)), Some(acceptor)).await
    }

    async fn serve(name: &str, address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free address");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen { name: name.to_owned(), ..Seen::default() });
        let serving = tokio::spawn(accept(listener, tls, Arc::clone(&seen)));
        Self { address, seen, serving }
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Answers everything with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.seen.status.store(status.into(), Ordering::Relaxed);
    }
}

impl Drop for Origin {
    /// Closes its listener and every connection.
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        seen.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(async move {
            seen.open.fetch_add(1, Ordering::Relaxed);
            match tls {
                None => converse(stream, &seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, &seen).await;
                    }
                }
            }
            seen.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: &Arc<Seen>) {
    let answer = service_fn(|request| {
        let seen = Arc::clone(seen);
        async move { Ok::<_, Infallible>(answer(request, &seen).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
}

fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

async fn answer(request: Request<Incoming>, seen: &Arc<Seen>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/probe" {
        seen.probes.fetch_add(1, Ordering::Relaxed);
    } else {
        seen.requests.fetch_add(1, Ordering::Relaxed);
    }
    let told = seen.status.load(Ordering::Relaxed) as u16;
    let status = StatusCode::from_u16(told).unwrap_or(StatusCode::OK);
    let (kind, value) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let body = match kind {
        "headers" => text(listed(&request)),
        "echo" => request.into_body().map_err(std::io::Error::other).boxed(),
        "size" => {
            let body = request.into_body().collect().await;
            text(body.map_or(0, |body| body.to_bytes().len()).to_string())
        }
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(value.parse().expect("ms"))).await;
            text(seen.name.clone())
        }
        "stream" => streamed(value),
        "break" => broken(),
        "switch" => return switched(request),
        _ => text(seen.name.clone()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("x-origin", seen.name.parse().expect("a value"));
    response
}

fn listed(request: &Request<Incoming>) -> String {
    let fields = request.headers().iter();
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\n", value.to_str().unwrap_or("?"))
    };
    let first = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    first + &fields.map(line).collect::<String>()
}

/// So many pieces, a moment apart, and a trailer.
fn streamed(count: &str) -> Body {
    let count: usize = count.parse().expect("a count");
    let pieces = stream::iter(0..count).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(Frame::data(Bytes::from(format!("piece {n}\n"))))
    });
    let trailer = [("x-sum".parse().expect("a name"), "42".parse().expect("a value"))];
    let last = stream::iter([Ok(Frame::trailers(trailer.into_iter().collect()))]);
    BodyExt::boxed(StreamBody::new(pieces.chain(last)))
}

/// A body that breaks off.
fn broken() -> Body {
    let frames = [Ok(Frame::data(Bytes::from("half"))), Err(std::io::Error::other("broken"))];
    let frames = stream::iter(frames).then(|frame| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        frame
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// Goes on with bytes: each is sent back in capitals.
fn switched(mut request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        return Response::new(text("nothing was asked for"));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.expect("an upgrade"));
        stream.write_all(b"hello ").await.expect("written");
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let shout = buffer[..read].to_ascii_uppercase();
            if stream.write_all(&shout).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, "upgrade".parse().expect("a value"));
    response.headers_mut().insert(UPGRADE, protocol);
    response
}

/// An address where nobody listens.
pub async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
    listener.local_addr().expect("an address")
}

/// Takes connections and closes each after the first bytes, as a server that crashes.
pub async fn crashing() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read_some = async move |stream: &mut TcpStream| {
                let mut buffer = [0; 256];
                let _ = stream.read(&mut buffer).await;
            };
            read_some(&mut stream).await;
        }
    });
    (address, serving)
}

/// Answers the first request of each connection with these bytes, and keeps it open.
pub async fn saying(reply: impl Into<Bytes>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let reply = reply.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if let Ok(1..) = stream.read(&mut buffer).await {
                let _ = stream.write_all(&reply).await;
            }
            held.push(stream);
        }
    });
    (address, serving)
}
