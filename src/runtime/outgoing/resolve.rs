//! Finds the addresses of a name.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// Names that are looked up at once. Each takes a thread for as long as the system's resolver
/// takes, however early nobody waits for it any more.
const MOST_LOOKUPS: usize = 64;
/// Addresses of one name that are looked at.
const MOST_ADDRESSES: usize = 32;

/// Finds the addresses of a name. It is asked once for each connection, and what it says is all
/// that the connection may lead to.
pub trait Resolve: Send + Sync {
    /// The addresses of the name, in the order in which they are tried.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LOOKUPS)))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (turns, name) = (Arc::clone(&self.0), name.to_owned());
        async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).take(MOST_ADDRESSES).collect())
            });
            lookup.await.map_err(io::Error::other)?
        }
        .boxed()
    }
}
