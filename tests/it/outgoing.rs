//! What guests send: to servers that their role names, and to services of their node.

mod bounds;
mod calls;
mod node;
mod reach;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use tokio::runtime::Handle;
use wharf::model::{Networks, Role};
use wharf::runtime::{Outside, Resolve, RevisionCell};

use crate::support::{Front, ServiceOptions, eventually, guest};

/// A resolver that says what it was told to, one answer after the other, and the last for ever.
#[derive(Default)]
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn saying(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |texts: &&[&str]| {
            texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>()
        };
        let answers = Mutex::new(answers.iter().map(parse).collect());
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Resolve for Names {
    fn resolve(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock();
        let answer = match answers.len() {
            0 => Err(io::Error::other("no such name")),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().unwrap_or_default()),
        };
        std::future::ready(answer).boxed()
    }
}

/// A front whose guests may be led to this machine, if their role says so, and whose names are
/// these.
async fn front(names: Arc<Names>) -> Front {
    front_allowing(&["127.0.0.0/8"], names).await
}

async fn front_allowing(networks: &[&str], names: Arc<Names>) -> Front {
    let networks: Vec<String> = networks.iter().map(|&network| network.to_owned()).collect();
    let networks = Networks::try_from(networks).expect("networks");
    Front::start_seeing(Outside::new(networks, names, Handle::current())).await
}

/// A service of this name that sends what it is told to, under a role of these keys.
async fn fetcher(front: &Front, name: &str, role: serde_json::Value) -> Arc<RevisionCell> {
    let options = ServiceOptions { role: role_of(role), ..ServiceOptions::default() };
    front.deploy(name, &guest("fetch"), options).await
}

fn role_of(mut keys: serde_json::Value) -> Role {
    keys["name"] = json!("web");
    serde_json::from_value(keys).expect("a role")
}

/// A role that leads to this server, on this machine.
fn role_to(address: SocketAddr) -> serde_json::Value {
    json!({ "outbound": [format!("http://{address}")] })
}

/// The path by which a fetcher is told to send a request, and in which way.
fn via(url: &str, more: &str) -> String {
    let escaped: String = url.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("/?url={escaped}{more}")
}

/// What comes of it: status and text.
async fn fetch(front: &Front, service: &str, url: &str, more: &str) -> (u16, String) {
    let answer = front.client().get(service, &via(url, more)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// Waits until the log of the service says this.
async fn noted(cell: &Arc<RevisionCell>, text: &str) {
    eventually(text, || cell.logs().tail(100).iter().any(|line| line.text.contains(text))).await;
}
