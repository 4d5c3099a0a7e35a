//! Requests that are held: each keeps an instance alive until it is let go.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::Client;
use super::{Target, block_on};

/// Requests that are under way. They are given up when this is dropped.
pub(in super::super) struct Held {
    /// Its other end sees when it is gone.
    _hold: watch::Sender<()>,
    failed: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Held {
    /// An error if one of the requests was answered.
    pub(in super::super) fn check(&self) -> anyhow::Result<()> {
        self.failed.lock().take().map_or(Ok(()), Err)
    }
}

/// Sends a request to each of the services, each on a connection of its own, and lets them wait.
pub(in super::super) fn hold(target: &Target, services: Range<usize>) -> anyhow::Result<Held> {
    let (sender, mut let_go) = watch::channel(());
    let failed = Arc::new(Mutex::new(None));
    let (target, told) = (target.clone(), Arc::clone(&failed));
    let work = move || {
        let result = block_on(async {
            tokio::select! {
                // An error: the sender is gone.
                _ = let_go.changed() => Ok(()),
                result = ask(&target, services) => result,
            }
        });
        *told.lock() = result.err();
    };
    let thread = std::thread::Builder::new().name("bench-hold".to_owned());
    thread.spawn(work).context("a thread for the load cannot be started")?;
    Ok(Held { _hold: sender, failed })
}

/// Comes back when one of the requests has ended.
async fn ask(target: &Target, services: Range<usize>) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for service in services {
        let (mut client, host) = (Client::connect(target).await?, target.hosts[service].clone());
        running.spawn_local(async move {
            let response = client.send(&host).await?;
            let host = host.to_str().unwrap_or("?").to_owned();
            anyhow::bail!("a request for {host} was not held: {}", response.status())
        });
    }
    match running.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}
