//! A node that is replaced by another process, while clients ask.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use super::successor::{Heir, hand_over, tell};
use crate::support::{
    End, Node, Pair, Raw, Setup, exchange, guest, last_get, shake_hands, tls_client, wait_for,
};

const MANIFEST: &str = "[task.echo]\ncomponent = \"echo.wasm\"\n\
    [service.echo]\nroute = \"echo.localhost\"\nscale = { min = 1 }\n\
    [task.sleep]\ncomponent = \"sleep.wasm\"\n[service.sleep]\nroute = \"sleep.localhost\"\n";

/// Bytes of a body, which come and go in pieces.
const BODY_BYTES: usize = 256 << 10;

pub(super) fn node_with(setup: Setup) -> Node {
    let node = Node::start_with(setup);
    node.put("echo.wasm", &guest("echo"));
    node.put("sleep.wasm", &guest("sleep"));
    node.apply(MANIFEST);
    node
}

/// What a client asks for, again and again.
#[derive(Clone, Copy)]
enum Kind {
    /// On one connection as long as the server keeps it.
    Kept,
    /// On a connection of its own.
    Short,
    /// A body that is streamed in and out.
    Stream,
    /// A guest that takes its time.
    Slow,
}

pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    pub(super) fn begin(http: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let kinds = [Kind::Kept, Kind::Kept, Kind::Short, Kind::Short, Kind::Stream, Kind::Slow];
        let client = |kind| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let (mut kept, mut failures) = (None, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    if let Err(failure) = ask(http, kind, &mut kept).await {
                        failures.push(failure);
                        kept = None;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = kinds.into_iter().map(client).collect();
        Self { stop, answered, clients }
    }

    /// Completes when so many more were answered.
    pub(super) fn more(&self, count: u64) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_for("answers", || {
            (self.answered.load(Ordering::Relaxed) >= before + count).then_some(())
        });
    }

    /// Every request that failed.
    pub(super) async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("no panic"));
        }
        failures
    }
}

/// Asks once. A connection is kept unless the answer says that it ends.
async fn ask(http: SocketAddr, kind: Kind, kept: &mut Option<Raw>) -> Result<(), String> {
    let mut raw = match kept.take() {
        Some(raw) => raw,
        None => Raw::try_connect(http).await.map_err(|error| format!("connecting: {error}"))?,
    };
    let (head, body) = match kind {
        Kind::Kept | Kind::Short => {
            ("POST /reverse HTTP/1.1\r\nhost: echo.localhost", "abc".into())
        }
        Kind::Stream => ("POST / HTTP/1.1\r\nhost: echo.localhost", "x".repeat(BODY_BYTES)),
        Kind::Slow => ("GET /?ms=1500 HTTP/1.1\r\nhost: sleep.localhost", String::new()),
    };
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    raw.send(head + &body).await;
    let answer = raw.answer().await.ok_or("the connection ended without an answer")?;
    if (answer.status, answer.end) != (200, End::Whole) {
        return Err(format!("{} {:?}: {}", answer.status, answer.end, answer.text()));
    }
    let is_whole = match kind {
        Kind::Slow => answer.text() == "slept 1500 ms\n",
        _ => answer.body.len() == body.len(),
    };
    if !is_whole {
        return Err(format!("{} bytes for {}", answer.body.len(), body.len()));
    }
    if matches!(kind, Kind::Kept | Kind::Stream) && answer.header("connection") != Some("close") {
        *kept = Some(raw);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_refused_and_no_request_lost() {
    let mut node = node_with(Setup::default());
    let (http, api) = (node.http, node.api);
    let traffic = Traffic::begin(http);
    traffic.more(50);
    let mut heirs: Vec<Heir> = Vec::new();
    for _ in 0..3 {
        let before = heirs.last().map_or(node.pid(), Heir::pid);
        heirs.push(hand_over(&node, before));
        traffic.more(50);
        // The API is there, and what it is told is in force.
        node.apply(&MANIFEST.replace("min = 1", &format!("min = {}", heirs.len() + 1)));
    }
    assert_eq!(node.wait_end(), Some(0), "the first process has ended in order");
    for heir in &heirs[..2] {
        wait_for("its successors", || heir.is_gone().then_some(()));
    }
    let failures = traffic.end().await;
    assert!(failures.is_empty(), "{}: {failures:?}\n{}", failures.len(), node.log());
    assert_eq!((node.http, node.api), (http, api), "the addresses are the same");
    assert_eq!(node.describe("echo")["scale"]["min"], 4);
    let last = heirs.pop().expect("a process");
    tell(last.pid(), rustix::process::Signal::TERM);
    wait_for("its end", || last.is_gone().then_some(()));
    assert!(!node.path("ready.json").exists(), "the last process takes its word back");
    assert!(!node.data().join("take-over.sock").exists());
    assert!(std::net::TcpStream::connect(http).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_process_tells_its_clients_to_come_again() {
    let mut node = node_with(Setup::default());
    let mut idle = Raw::connect(node.http).await;
    let ask = "GET / HTTP/1.1\r\nhost: echo.localhost\r\n\r\n";
    idle.send(ask).await;
    assert_eq!(idle.answer().await.expect("an answer").header("connection"), None);
    let _heir = hand_over(&node, node.pid());
    wait_for("the old process lets go", || {
        node.log().contains("another process serves").then_some(())
    });
    idle.send(ask).await;
    let answer = idle.answer().await.expect("an idle connection is not closed at once");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(node.wait_end(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_twice_in_a_row_one_process_takes_over() {
    let mut node = node_with(Setup::default());
    let old = node.pid();
    tell(old, rustix::process::Signal::USR2);
    tell(old, rustix::process::Signal::USR2);
    let heir = Heir::after(&node, old);
    assert_eq!(node.wait_end(), Some(0));
    node.apply(MANIFEST);
    assert_eq!(node.get("echo.localhost", "/").await.0, 200);
    let started = node.log().matches("a new process takes over").count();
    assert_eq!((started, heir.is_gone()), (1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_tls_is_handed_over_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let pair = Pair::for_names(&["env.test"]);
    let (certificate, key) = pair.write(dir.path(), "env");
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let args = ["--tls-listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let mut node = Node::start_with(Setup::with(&args));
    let ready = |node: &Node| -> serde_json::Value {
        let text = std::fs::read_to_string(node.path("ready.json")).expect("ready");
        serde_json::from_str(&text).expect("JSON")
    };
    let https = ready(&node)["https"].clone();
    let _heir = hand_over(&node, node.pid());
    assert_eq!(ready(&node)["https"], https);
    assert_eq!(node.wait_end(), Some(0));
    let address = https.as_str().expect("https").parse().expect("an address");
    let stream = shake_hands(address, "env.test", tls_client(&[&pair], &[])).await;
    let answer = exchange(&mut stream.expect("a handshake"), &last_get("env", "/", "")).await;
    assert!(answer.contains("\r\nwharf-error: no-route\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_are_opened_anew_by_a_process_that_asks_for_them() {
    let mut node = node_with(Setup::default());
    let old = node.http;
    let heir = Heir::start(&node, "127.0.0.2:0", node.pid());
    assert_eq!(node.wait_end(), Some(0));
    let ready = std::fs::read_to_string(node.path("ready.json")).expect("ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let new: SocketAddr = ready["http"].as_str().expect("http").parse().expect("an address");
    assert_eq!(BTreeSet::from([old.ip(), new.ip()]).len(), 2);
    assert!(std::net::TcpStream::connect(old).is_err(), "nobody serves the old one");
    node.http = new;
    assert_eq!(node.get("echo.localhost", "/").await.0, 200);
    drop(heir);
}
