//! Floods against a real node: whatever comes, its memory stays what it was, and it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::frames::{
    CONTINUATION, DATA, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WHOLE, field, frame,
};
use crate::support::{Node, Raw, guest};

/// What a flood may cost, all of its connections together.
const MOST_MORE_BYTES: u64 = 20 << 20;
/// Connections of each flood.
const CONNECTIONS: usize = 16;
/// Nothing moves for so long: the node takes no more.
const STUCK: Duration = Duration::from_millis(200);

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.expect("a number") << 10
}

/// Watches how large a process becomes.
struct Watch {
    most: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn begin(pid: u32) -> Self {
        let (most, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (seen, until) = (Arc::clone(&most), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                seen.fetch_max(resident_bytes(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { most, ends, thread: Some(thread) }
    }

    fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().expect("a thread").join().expect("no panic");
        self.most.load(Ordering::Relaxed)
    }
}

/// A request for a host that nobody has: what a guest needs is not what is measured.
fn request(path: &str) -> Vec<u8> {
    let pseudo =
        [(":method", "GET"), (":scheme", "http"), (":authority", "nobody.test"), (":path", path)];
    pseudo.iter().flat_map(|(name, value)| field(name, value)).collect()
}

fn rapid_reset() -> Vec<u8> {
    let streams = (1..20_000_u32).step_by(2);
    let pair = |stream| {
        let headers = frame(HEADERS, WHOLE, stream, &request("/"));
        [headers, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    streams.flat_map(pair).collect()
}

fn continuation() -> Vec<u8> {
    let mut flood = frame(HEADERS, 0, 1, &field(":method", "GET"));
    for n in 0..20_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field("x-fill", &n.to_string())));
    }
    flood
}

/// A field of 3,000 bytes for the table (RFC 7541 §6.2.1), then 8,000 mentions of it.
fn hpack_bomb() -> Vec<u8> {
    let value = "y".repeat(3_000);
    let mut block = request("/");
    block.extend([&[0x40, 6], "x-bomb".as_bytes(), &[0x7f, 0xb9, 0x16], value.as_bytes()].concat());
    block.extend([0xbe; 8_000]);
    frame(HEADERS, WHOLE, 1, &block)
}

/// Streams whose answers nobody takes.
fn shut_windows() -> Vec<u8> {
    let streams = (1..20_000_u32).step_by(2);
    streams.flat_map(|stream| frame(HEADERS, WHOLE, stream, &request("/"))).collect()
}

fn opened(frames: Vec<u8>) -> Vec<u8> {
    // The first window of each stream is empty (RFC 9113 §6.5.2).
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    [PREFACE, &settings, &frames].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flood_makes_a_node_large_or_silent() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.apply(
        "[task.hello]\ncomponent = \"hello.wasm\"\n\
         [service.hello]\nroute = \"hello.test/*\"\nscale = { min = 1 }",
    );
    for _ in 0..50 {
        assert_eq!(node.get("hello.test", "/").await.0, 200);
    }
    let post = frame(HEADERS, 0x4, 1, &request("/"));
    let floods: [(&str, Vec<u8>); 8] = [
        ("rapid reset", opened(rapid_reset())),
        ("continuation", opened(continuation())),
        ("pings", opened(frame(PING, 0, 0, &[7; 8]).repeat(50_000))),
        ("settings", opened(frame(SETTINGS, 0, 0, &[]).repeat(50_000))),
        ("empty data", opened([post, frame(DATA, 0, 1, &[]).repeat(50_000)].concat())),
        ("hpack bomb", opened(hpack_bomb())),
        ("shut windows", opened(shut_windows())),
        ("half a head", b"GET / HTTP/1.1\r\nhost: nobody.test\r\nx-fill: ".to_vec()),
    ];
    // What the first connections of all leave in the allocator is not theirs alone.
    for _ in 0..CONNECTIONS {
        drop(Raw::connect(node.http).await);
    }
    let before = resident_bytes(node.pid());
    for (what, flood) in &floods {
        let watch = Watch::begin(node.pid());
        let senders = (0..CONNECTIONS).map(|_| async {
            let mut raw = Raw::connect_narrow(node.http).await;
            raw.send_until_stuck(flood, STUCK).await;
            raw
        });
        let held = futures_util::future::join_all(senders).await;
        assert_eq!(node.get("hello.test", "/").await.0, 200, "{what}");
        let more = watch.end().saturating_sub(before);
        assert!(more <= MOST_MORE_BYTES, "{what}: {} KiB more", more >> 10);
        eprintln!("{what}: {} KiB more", more >> 10);
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_slow_clients_keep_nobody_waiting() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.apply(
        "[task.hello]\ncomponent = \"hello.wasm\"\n[service.hello]\nroute = \"hello.test/*\"",
    );
    assert_eq!(node.get("hello.test", "/").await.0, 200);
    let before = resident_bytes(node.pid());
    let mut held = Vec::new();
    for n in 0..500 {
        let mut raw = Raw::connect(node.http).await;
        raw.send(match n % 2 {
            0 => "GET / HTTP/1.1\r\nhost: hello.test\r\nx-slow: ",
            _ => "POST / HTTP/1.1\r\nhost: nobody.test\r\ncontent-length: 9\r\n\r\nx",
        })
        .await;
        held.push(raw);
    }
    for _ in 0..20 {
        assert_eq!(node.get("hello.test", "/").await.0, 200);
    }
    let more = resident_bytes(node.pid()).saturating_sub(before);
    assert!(more <= 2 * MOST_MORE_BYTES, "{} KiB more for 500 connections", more >> 10);
    for mut raw in held.into_iter().step_by(50) {
        assert!(raw.is_closed().await, "a head that does not end is not waited for");
    }
}
