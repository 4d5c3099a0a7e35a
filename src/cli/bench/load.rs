//! Load on a node, from threads of its own: every answer is checked.
//!
//! The threads are this process's, so their CPU time is not the node's.

mod client;
mod closed;
mod held;
mod open;
mod visits;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

pub(super) use closed::{Closed, closed};
pub(super) use held::{Held, hold};
pub(super) use open::{Open, open};
pub(super) use visits::{Visit, storm, until_answered, visit};

use super::machine;

/// What is asked for, and what must come back.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The node's load balancer.
    pub(super) address: SocketAddr,
    /// A host for each service that is asked.
    pub(super) hosts: Arc<[HeaderValue]>,
    pub(super) path: &'static str,
    /// The whole body of a right answer; anything if it is not known.
    pub(super) body: Option<Bytes>,
}

/// Which service a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The first.
    First,
    /// Any, each as likely.
    Random,
}

/// Threads that make load: one for four cores, so that the node has the rest.
pub(super) fn threads() -> usize {
    (machine::cores() / 4).max(1)
}

/// How many of so many connections a thread has.
fn share(all: u32, index: usize) -> u32 {
    let (threads, index) = (threads() as u32, index as u32);
    all / threads + u32::from(index < all % threads)
}

/// Does the same on each thread, which is told its number, and waits for all of them.
async fn on_threads<T, F>(
    count: usize,
    job: impl Fn(usize) -> F + Clone + Send + 'static,
) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    let mut answers = Vec::new();
    for index in 0..count {
        let (told, answer) = oneshot::channel();
        let job = job.clone();
        let thread = std::thread::Builder::new().name(format!("bench-load-{index}"));
        let work = move || {
            // Nobody waits any more if the run was given up.
            let _ = told.send(block_on(job(index)));
        };
        thread.spawn(work).context("a thread for the load cannot be started")?;
        answers.push(answer);
    }
    let mut all = Vec::new();
    for answer in answers {
        all.push(answer.await.context("a thread of the load panicked")??);
    }
    Ok(all)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}
