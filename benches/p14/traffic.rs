//! Mixed traffic at a steady rate, every answer of which is checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::harness::load::PATIENCE;

/// How long the most that the machine serves is measured.
const MEASURE: Duration = Duration::from_secs(3);
/// Body of a streamed request.
const STREAM_BYTES: usize = 128 << 10;
/// What a slow request asks for.
const SLOW: &str = "/?ms=2000";

/// What a request is, of each hundred.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Short,
    Stream,
    Slow,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number % 100 {
            0 => Self::Slow,
            1..=4 => Self::Stream,
            5..=14 => Self::Short,
            _ => Self::Kept,
        }
    }
}

/// What all connections share.
struct Shared {
    address: SocketAddr,
    count: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    /// The version that had taken over last.
    version: AtomicU64,
    deploying: AtomicBool,
    stop: AtomicBool,
}

/// Times in microseconds, before deployments and during them.
type Times = (Vec<f64>, Vec<f64>);

/// Traffic that goes on until it is ended.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Times>>,
}

type Connection = SendRequest<Full<Bytes>>;

/// Requests a second that the machine serves when every connection asks at once.
pub(crate) async fn most(address: SocketAddr, connections: u32) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(async move {
            let mut connection = connect(address).await?;
            let mut count = 0u64;
            while began.elapsed() < MEASURE {
                ask(&mut connection, Kind::Kept).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut sum = 0;
    while let Some(count) = workers.join_next().await {
        sum += count??;
    }
    Ok(sum as f64 / began.elapsed().as_secs_f64())
}

impl Traffic {
    /// Begins with `rate` requests a second, spread over the connections.
    pub(crate) async fn begin(address: SocketAddr, rate: f64, connections: u32) -> Self {
        let shared = Arc::new(Shared {
            address,
            count: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_failure: Mutex::new(None),
            version: AtomicU64::new(1),
            deploying: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let pause = Duration::from_secs_f64(f64::from(connections) / rate);
        let workers = (0..connections).map(|_| tokio::spawn(work(Arc::clone(&shared), pause)));
        let workers = workers.collect();
        Self { shared, workers }
    }

    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Relaxed)
    }

    pub(crate) fn first_failure(&self) -> String {
        let first = self.shared.first_failure.lock();
        first.as_ref().map_or(String::new(), |first| format!(", the first: {first}"))
    }

    /// Waits until so many requests were answered.
    pub(crate) fn wait_for(&self, requests: u64) {
        while self.count() < requests {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Says that this version has taken over: no older one may answer a request from now on.
    pub(crate) fn expect_version(&self, version: u64) {
        self.shared.version.store(version, Relaxed);
    }

    pub(crate) fn deploying(&self, deploying: bool) {
        self.shared.deploying.store(deploying, Relaxed);
    }

    /// Ends the traffic; the times before and during deployments.
    pub(crate) async fn end(self) -> Times {
        self.shared.stop.store(true, Relaxed);
        let mut all = (Vec::new(), Vec::new());
        for worker in self.workers {
            let (steady, during) = worker.await.unwrap_or_default();
            all.0.extend(steady);
            all.1.extend(during);
        }
        all
    }
}

async fn work(shared: Arc<Shared>, pause: Duration) -> Times {
    let mut times = (Vec::new(), Vec::new());
    let mut kept: Option<Connection> = None;
    let mut clock = tokio::time::interval(pause);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut slow = JoinSet::new();
    while !shared.stop.load(Relaxed) {
        clock.tick().await;
        let number = shared.count.load(Relaxed) + u64::from(slow.len() as u32);
        let kind = Kind::of(rand::random::<u64>() ^ number);
        if kind == Kind::Slow {
            let shared = Arc::clone(&shared);
            slow.spawn(async move { check(&shared, Kind::Slow, &mut None).await });
            continue;
        }
        let began = Instant::now();
        let mut fresh = None;
        let connection = if kind == Kind::Short { &mut fresh } else { &mut kept };
        check(&shared, kind, connection).await;
        let us = began.elapsed().as_secs_f64() * 1e6;
        match shared.deploying.load(Relaxed) {
            true => times.1.push(us),
            false => times.0.push(us),
        }
    }
    while slow.join_next().await.is_some() {}
    times
}

/// Asks once and counts. A connection that the server has closed since the last answer is made
/// anew: it has not taken the request.
async fn check(shared: &Shared, kind: Kind, connection: &mut Option<Connection>) {
    let version = shared.version.load(Relaxed);
    let result = async {
        let ready = match connection {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            *connection = Some(connect(shared.address).await?);
        }
        let open = connection.as_mut().context("a connection")?;
        let answered = ask(open, kind).await?;
        ensure!(answered >= version, "version {answered} answered after {version} had taken over");
        anyhow::Ok(())
    };
    let result = tokio::time::timeout(PATIENCE, result).await;
    let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")));
    if let Err(error) = result {
        *connection = None;
        shared.failed.fetch_add(1, Relaxed);
        shared.first_failure.lock().get_or_insert_with(|| format!("{error:#}"));
    }
    shared.count.fetch_add(1, Relaxed);
}

async fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The version that answered; the newest there can be where the answer does not say.
async fn ask(connection: &mut Connection, kind: Kind) -> anyhow::Result<u64> {
    let (host, path, body) = match kind {
        Kind::Kept | Kind::Short => ("web", "/?name=V", Bytes::new()),
        Kind::Stream => ("stream", "/", Bytes::from(vec![b's'; STREAM_BYTES])),
        Kind::Slow => ("slow", SLOW, Bytes::new()),
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", format!("{host}.localhost")).body(Full::new(body))?;
    let response = connection.send_request(request).await.context("the connection broke")?;
    let status = response.status();
    let body = response.into_body().collect().await.context("the response broke off")?.to_bytes();
    ensure!(status == 200, "{host} answered {status}");
    match kind {
        Kind::Kept | Kind::Short => Ok(std::str::from_utf8(&body)?.trim().parse()?),
        Kind::Stream => {
            ensure!(body.len() == STREAM_BYTES, "{} bytes came back", body.len());
            Ok(u64::MAX)
        }
        Kind::Slow => Ok(u64::MAX),
    }
}
