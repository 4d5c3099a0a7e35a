//! HTTP/2 without TLS, as a client that knows that the server speaks it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::raw::within;

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A connection. Its clones send on the same one.
#[derive(Clone)]
pub struct H2(SendRequest<Body>);

impl H2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let io = TokioIo::new(stream.expect("a connection"));
        let (sender, connection) =
            within("a handshake", handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    /// The response to a GET, as soon as its head is there.
    pub async fn get(&mut self, service: &str, path: &str) -> hyper::Result<Response<Incoming>> {
        self.send("GET", service, path, Empty::new().boxed()).await
    }

    /// The response to a POST of these frames.
    pub async fn post(
        &mut self,
        service: &str,
        path: &str,
        frames: Vec<Frame<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok));
        self.send("POST", service, path, StreamBody::new(frames).boxed()).await
    }

    async fn send(
        &mut self,
        method: &str,
        service: &str,
        path: &str,
        body: Body,
    ) -> hyper::Result<Response<Incoming>> {
        within("the connection takes a request", self.0.ready()).await?;
        let uri = format!("http://{service}.test{path}");
        let request = Request::builder().method(method).uri(uri).body(body).expect("a request");
        within("an answer", self.0.send_request(request)).await
    }
}
