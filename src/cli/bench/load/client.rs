//! One connection that is kept.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Target;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a wrong answer that are repeated.
const SHOWN: usize = 300;
/// The field that says that a task was started for a request.
const COLD_START: &str = "wharf-cold-start";

/// A connection on whose thread it is driven.
pub(super) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    target: Target,
}

impl Client {
    /// Connects; nothing is sent yet.
    pub(super) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await.context("the node is not reached")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is seen by whoever sends on it.
        tokio::task::spawn_local(connection);
        Ok(Self { sender, target: target.clone() })
    }

    /// Asks the service of this number and checks the answer. True if a task was started for it.
    pub(super) async fn get(&mut self, service: usize) -> anyhow::Result<bool> {
        let host = self.target.hosts[service].clone();
        let asked = tokio::time::timeout(PATIENCE, self.exchange(&host));
        let answer = asked.await.unwrap_or_else(|_| bail!("no answer after {PATIENCE:?}"));
        answer.with_context(|| format!("a request for {}", host.to_str().unwrap_or("?")))
    }

    async fn exchange(&mut self, host: &HeaderValue) -> anyhow::Result<bool> {
        let response = self.send(host).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        let is_right = self.target.body.as_ref().is_none_or(|right| *right == body);
        if !head.status.is_success() || !is_right {
            let text = crate::telemetry::sanitise(&body[..body.len().min(SHOWN)]);
            bail!("a wrong answer: {} {text}", head.status);
        }
        Ok(head.headers.contains_key(COLD_START))
    }

    /// Sends a request for a host, and waits for the head of the answer.
    pub(super) async fn send(&mut self, host: &HeaderValue) -> anyhow::Result<Response<Incoming>> {
        let request = Request::get(self.target.path);
        let request = request.header(header::HOST, host).body(Empty::new())?;
        self.sender.ready().await.context("the connection broke")?;
        self.sender.send_request(request).await.context("the connection broke")
    }
}
