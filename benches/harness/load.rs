//! Load on a server, from a process of its own: every response is checked.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::cpu::CpuTimes;
use super::process;
use super::stats;

/// The role of the process that makes load.
pub(crate) const ROLE: process::Role = ("load", run);

/// How long connections are warmed up before anything counts.
const WARM_UP: Duration = Duration::from_millis(250);
/// How long a server may still tidy up after its last response, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(20);
/// How long one request may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a request asks for, and what must come back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// The Host field.
    pub(crate) host: String,
    /// The whole body of a right answer, whose status is 200.
    pub(crate) body: String,
}

/// What the process shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    expected: Expected,
    connections: u32,
    window: Duration,
    server: u32,
}

/// What a server did in one window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Right answers.
    pub(crate) responses: u64,
    /// Time that they took.
    pub(crate) elapsed: Duration,
    /// CPU time of the server's process tree meanwhile, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Median time of an answer, in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of it.
    pub(crate) p99_us: f64,
}

impl Measured {
    /// CPU time for each right answer, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.responses as f64
    }

    /// Right answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.responses as f64 / self.elapsed.as_secs_f64()
    }
}

/// Keeps `connections` requests under way for a window, each on a connection that is kept.
///
/// A single wrong answer is an error: what a server that fails costs says nothing.
pub(crate) fn measure(
    expected: &Expected,
    connections: u32,
    window: Duration,
    server: u32,
    core: Option<usize>,
) -> anyhow::Result<Measured> {
    let expected = expected.clone();
    process::ask(ROLE.0, &Task { expected, connections, window, server }, core)
}

fn run() -> anyhow::Result<()> {
    let task: Task = process::read_task()?;
    process::answer(&block_on(load(task))?)
}

/// Runs a client: one thread, so that it stays on its core.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

async fn load(task: Task) -> anyhow::Result<Measured> {
    let expected = Rc::new(task.expected);
    let mut clients = Vec::new();
    for _ in 0..task.connections {
        clients.push(Client::connect(Rc::clone(&expected)).await?);
    }
    let (clients, _) = phase(clients, WARM_UP).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (CpuTimes::of_tree(task.server), Instant::now());
    let (_, times_us) = phase(clients, task.window).await?;
    let elapsed = began.elapsed();
    tokio::time::sleep(SETTLE).await;
    let cpu_ns = CpuTimes::of_tree(task.server).since(&before);
    let times_us = stats::sorted(&times_us);
    Ok(Measured {
        responses: times_us.len() as u64,
        elapsed,
        cpu_ns,
        p50_us: stats::quantile(&times_us, 0.5),
        p99_us: stats::quantile(&times_us, 0.99),
    })
}

/// Lets every client send one request after the other; returns when the last is answered.
async fn phase(clients: Vec<Client>, window: Duration) -> anyhow::Result<(Vec<Client>, Vec<f64>)> {
    let deadline = Instant::now() + window;
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn_local(async move {
            let mut times_us = Vec::new();
            while Instant::now() < deadline {
                let began = Instant::now();
                client.get().await?;
                times_us.push(began.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok((client, times_us))
        });
    }
    let (mut clients, mut all_us) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (client, times_us) = done??;
        clients.push(client);
        all_us.extend(times_us);
    }
    Ok((clients, all_us))
}

/// A connection that is kept.
pub(super) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    expected: Rc<Expected>,
}

impl Client {
    /// Connects; nothing is sent yet.
    pub(super) async fn connect(expected: Rc<Expected>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(expected.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(Self { sender, expected })
    }

    /// Sends a request and checks its answer.
    pub(super) async fn get(&mut self) -> anyhow::Result<Response<()>> {
        let expected = Rc::clone(&self.expected);
        self.get_from(&expected.host).await
    }

    /// The same for another host behind the same address.
    pub(super) async fn get_from(&mut self, host: &str) -> anyhow::Result<Response<()>> {
        let asked = self.exchange(host);
        let (head, body) = tokio::time::timeout(PATIENCE, asked)
            .await
            .with_context(|| format!("no answer after {PATIENCE:?}"))??;
        if head.status() != StatusCode::OK || body != self.expected.body.as_bytes() {
            let text = String::from_utf8_lossy(&body[..body.len().min(500)]);
            bail!("a wrong answer: {} {text:?}", head.status());
        }
        Ok(head)
    }

    async fn exchange(&mut self, host: &str) -> anyhow::Result<(Response<()>, Bytes)> {
        let request = Request::get("/").header(header::HOST, host).body(Empty::new())?;
        self.sender.ready().await?;
        let response: Response<Incoming> = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((Response::from_parts(head, ()), body))
    }
}
