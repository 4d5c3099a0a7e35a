//! Bytes both ways after a response that switched protocols, such as a WebSocket.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::http1::Http1;
use super::server::InFlight;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 16 << 10;

/// The server's half of a connection that left HTTP. It counts as a request in flight.
pub struct Tunnel {
    pub(super) connection: Box<Http1>,
    pub(super) idle: Duration,
    pub(super) closing: CancellationToken,
    pub(super) _in_flight: InFlight,
}

/// Bytes that were passed on.
#[derive(Debug, Default)]
pub struct Passed {
    /// From the client to the server.
    pub up: AtomicU64,
    /// From the server to the client.
    pub down: AtomicU64,
}

impl Passed {
    fn total(&self) -> u64 {
        self.up.load(Ordering::Relaxed).wrapping_add(self.down.load(Ordering::Relaxed))
    }
}

impl Tunnel {
    /// Passes bytes until both sides are done, one breaks, nothing moves for as long as may be, or
    /// the upstream is taken away.
    pub async fn run(self, client: OnUpgrade) -> Passed {
        let Self { connection, idle, closing, _in_flight } = self;
        let passed = Passed::default();
        let both = async {
            let Ok(client) = client.await else { return };
            let (server, first) = connection.into_io().await;
            let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
            let (from_server, to_server) = tokio::io::split(server.into_inner());
            let up = pass(from_client, to_server, &[], &passed.up);
            let down = pass(from_server, to_client, &first, &passed.down);
            let _ = tokio::try_join!(up, down);
        };
        tokio::select! {
            () = both => {}
            () = until_silent(&passed, idle) => {}
            () = closing.cancelled() => {}
        }
        passed
    }
}

async fn pass<R: AsyncRead, W: AsyncWrite>(
    mut from: ReadHalf<R>,
    mut to: WriteHalf<W>,
    first: &[u8],
    count: &AtomicU64,
) -> io::Result<()> {
    to.write_all(first).await?;
    count.fetch_add(first.len() as u64, Ordering::Relaxed);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

async fn until_silent(passed: &Passed, idle: Duration) {
    let mut before = passed.total();
    loop {
        tokio::time::sleep(idle).await;
        let now = passed.total();
        if now == before {
            return;
        }
        before = now;
    }
}
