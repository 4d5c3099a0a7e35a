//! Accepts connections as long as there are places for them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shutdown::Shutdown;

use super::connection::Connection;
use super::{Bounds, Serve};

/// How long accepting pauses when the process lacks something, such as file descriptors: time
/// for other connections to be closed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// An address that was taken. Connections queue there until [`Listener::run`] serves them.
pub struct Listener {
    inner: TcpListener,
    bounds: Bounds,
}

impl Listener {
    /// Takes the address.
    pub async fn bind(address: SocketAddr, bounds: Bounds) -> io::Result<Self> {
        Ok(Self { inner: TcpListener::bind(address).await?, bounds })
    }

    /// The address that was taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Serves until the signal is given, then lets requests under way finish.
    pub async fn run<S: Serve>(self, service: Arc<S>, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(self.bounds.max_connections));
        while let Some(place) = shutdown.unless_begun(places.clone().acquire_owned()).await {
            let Ok(place) = place else { break };
            let Some(accepted) = shutdown.unless_begun(self.inner.accept()).await else { break };
            match accepted {
                Ok(accepted) => self.serve(accepted, place, &service, &shutdown),
                Err(error) => pause_after(&error).await,
            }
        }
        self.serve_backlog(&places, &service, &shutdown);
        drop(self.inner);
        let all = u32::try_from(self.bounds.max_connections).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.bounds.drain, places.acquire_many(all)).await;
        if drained.is_err() {
            tracing::warn!(drain_s = self.bounds.drain.as_secs(), "connections were cut off");
        }
    }

    /// Takes what the kernel has connected already: closing the listener would reset it, and with
    /// it requests that clients have sent.
    fn serve_backlog<S: Serve>(
        &self,
        places: &Arc<Semaphore>,
        service: &Arc<S>,
        shutdown: &Shutdown,
    ) {
        while let Ok(place) = Arc::clone(places).try_acquire_owned() {
            let Some(Ok(accepted)) = self.inner.accept().now_or_never() else { return };
            self.serve(accepted, place, service, shutdown);
        }
    }

    fn serve<S: Serve>(
        &self,
        (stream, client): (TcpStream, SocketAddr),
        place: OwnedSemaphorePermit,
        service: &Arc<S>,
        shutdown: &Shutdown,
    ) {
        let _ = stream.set_nodelay(true);
        let service = Arc::clone(service);
        let connection = Connection { stream, client, service, bounds: self.bounds.clone() };
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let _place = place;
            connection.serve(shutdown).await;
        });
    }
}

/// A connection that broke before it was accepted concerns nobody else. Whatever else is wrong,
/// such as a lack of file descriptors or memory, needs time.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "connections cannot be accepted for now");
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    }
}
