//! Requests that arrive by chance, whether or not those before them are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::load::PATIENCE;
use crate::harness::stats::SplitMix;

/// Connections: many times what is under way at once, so that no request waits for one.
const CONNECTIONS: usize = 96;

/// Requests to one service.
pub(crate) struct Arrivals {
    address: SocketAddr,
    host: Arc<str>,
    path: Arc<str>,
    body: Arc<str>,
}

type Connection = SendRequest<Empty<Bytes>>;

impl Arrivals {
    /// Requests to a service that runs `sleep`.
    pub(crate) fn to(address: SocketAddr, service: &str, sleep_ms: u32) -> Self {
        Self {
            address,
            host: format!("{service}.localhost").into(),
            path: format!("/?ms={sleep_ms}").into(),
            body: format!("slept {sleep_ms} ms\n").into(),
        }
    }

    /// Sends `rate` requests a second for a while; returns for each how long after it was due it
    /// was answered, in microseconds. A single wrong answer is an error.
    pub(crate) async fn send(
        &self,
        rate: f64,
        time: Duration,
        seed: u64,
    ) -> anyhow::Result<Vec<f64>> {
        let due = moments(rate, time, seed);
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.connect().await?);
        }
        let began = Instant::now() + Duration::from_millis(5);
        let mut sending = JoinSet::new();
        for (i, connection) in connections.into_iter().enumerate() {
            let mine = due.iter().copied().skip(i).step_by(CONNECTIONS).collect();
            sending.spawn(self.one(connection, began, mine));
        }
        let mut all_us = Vec::with_capacity(due.len());
        while let Some(times_us) = sending.join_next().await {
            all_us.extend(times_us??);
        }
        Ok(all_us)
    }

    /// The requests of one connection.
    fn one(
        &self,
        mut connection: Connection,
        began: Instant,
        due: Vec<Duration>,
    ) -> impl Future<Output = anyhow::Result<Vec<f64>>> + Send + 'static {
        let (host, path, body) =
            (Arc::clone(&self.host), Arc::clone(&self.path), Arc::clone(&self.body));
        async move {
            let mut times_us = Vec::with_capacity(due.len());
            for due in due {
                let due = began + due;
                tokio::time::sleep_until(due.into()).await;
                let asked = ask(&mut connection, &host, &path, &body);
                let asked = tokio::time::timeout(PATIENCE, asked).await;
                asked.with_context(|| format!("no answer after {PATIENCE:?}"))??;
                times_us.push(due.elapsed().as_secs_f64() * 1e6);
            }
            Ok(times_us)
        }
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn ask(
    connection: &mut Connection,
    host: &str,
    path: &str,
    expected: &str,
) -> anyhow::Result<()> {
    connection.ready().await?;
    let request = Request::get(path).header("host", host).body(Empty::new())?;
    let response = connection.send_request(request).await.context("the connection broke")?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200 && body == expected.as_bytes(), "{status}: {body:?}");
    Ok(())
}

/// Moments of a Poisson process.
fn moments(rate: f64, time: Duration, seed: u64) -> Vec<Duration> {
    let mut random = SplitMix(seed);
    let mut at_s = 0.0;
    let mut moments = Vec::new();
    loop {
        // Uniform over (0, 1], of the 53 bits that a double holds.
        let uniform = ((random.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        at_s -= uniform.ln() / rate;
        if at_s >= time.as_secs_f64() {
            return moments;
        }
        moments.push(Duration::from_secs_f64(at_s));
    }
}
