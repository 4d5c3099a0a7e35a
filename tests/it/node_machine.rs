//! A node and its machine: what it chose, and what happens when something runs out.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::{Node, Raw, Setup, eventually, guest, wait_for};

/// One field of the node's `engine sized` line.
fn sized(node: &Node, field: &str) -> String {
    let log = node.log();
    let line = log.lines().find(|line| line.contains("engine sized"));
    let line = line.unwrap_or_else(|| panic!("nothing says how the engine is sized: {log}"));
    let start = line.find(&format!(" {field}=")).unwrap_or_else(|| panic!("no {field}: {line}"));
    let value = &line[start + field.len() + 2..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
        None => value.split(' ').next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn the_log_says_how_the_engine_is_sized_and_why() {
    let node = Node::start();
    let live = node.node_record()["live"].clone();
    assert_eq!(sized(&node, "slots"), live["slots"].to_string(), "{live}");
    assert_eq!(sized(&node, "slots_because"), live["slots_because"], "{live}");
    assert_eq!(sized(&node, "loaded_components"), live["loaded_max"].to_string(), "{live}");
    let memory = live["memory_max_bytes"].as_u64().map(|bytes| bytes >> 20);
    assert_eq!(sized(&node, "memory_mib").parse().ok(), memory, "{live}");
    assert_eq!(sized(&node, "reset").to_lowercase(), live["reset"], "{live}");
    assert_eq!(sized(&node, "reset_because"), live["reset_because"], "{live}");
    assert!(sized(&node, "wasmtime").starts_with("48."));
    drop(node);
    // 160 GiB of addresses, of which half is for instances of 4 GiB and 64 MiB each.
    let limit = Setup::with(&["--reset", "safe"]).under("-v 167772160");
    let node = Node::start_with(limit);
    assert_eq!(sized(&node, "slots"), "19");
    assert!(sized(&node, "slots_because").contains("ulimit -v"));
    assert_eq!(
        (&*sized(&node, "reset"), &*sized(&node, "reset_because")),
        ("Safe", "it was asked for")
    );
}

/// A figure of the node's memory, in KiB.
fn memory_kib(node: &Node, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("a figure");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_prints_a_gibibyte_leaves_the_node_as_it_was() {
    let node = Node::start();
    node.put("flood.wasm", &guest("flood-stdout"));
    node.put("hello.wasm", &guest("hello"));
    node.apply(
        "[task.flood]\ncomponent = \"flood.wasm\"\nfuel = 1_000_000_000_000\ntimeout = \"10m\"\n\
         [service.flood]\nroute = \"flood.test\"\n\
         [task.hello]\ncomponent = \"hello.wasm\"\n[service.hello]\nroute = \"hello.test\"\n",
    );
    let hello = (200, "Hello from Wharf!\n".to_owned());
    assert_eq!(node.get("hello.test", "/").await, hello);
    let before = memory_kib(&node, "VmRSS");
    let flood = node.get_within(Duration::from_secs(600), "flood.test", "/?mib=1024");
    let neighbour = async {
        for _ in 0..10 {
            assert_eq!(node.get("hello.test", "/").await, hello, "beside the flood");
        }
    };
    let (flooded, ()) = tokio::join!(flood, neighbour);
    assert_eq!(flooded, (200, format!("wrote {} bytes\n", 1_u64 << 30)), "it does not notice");
    let peak = memory_kib(&node, "VmHWM");
    assert!(peak < before + (256 << 10), "{before} KiB before, {peak} KiB at most");
    let log = node.wharf(&["logs", "flood", "--tail", "1000000"]).ok().stdout;
    assert!((1..1 << 20).contains(&log.len()), "{} bytes are kept", log.len());
    assert_eq!(node.get("hello.test", "/").await, hello, "after the flood");
    assert_eq!(node.get("flood.test", "/?mib=1").await.0, 200);
}

fn open_files(node: &Node) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("it runs");
    files.count() as u64
}

/// Lets the running node have this many more files than it has.
fn leave_files(node: &Node, more: u64) {
    let pid = Pid::from_raw(node.pid().cast_signed());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: Some(open_files(node) + more), maximum };
    prlimit(pid, Resource::Nofile, limit).expect("a child's limit can be lowered");
}

async fn ask(raw: &mut Raw, host: &str) -> u16 {
    raw.send(format!("GET /?ms=0 HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
    raw.answer().await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_file_descriptors_goes_on_and_recovers() {
    let mut node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.put("env.wasm", &guest("env"));
    node.put("sleep.wasm", &guest("sleep"));
    node.apply(
        "[task.warm]\ncomponent = \"hello.wasm\"\n[service.warm]\nroute = \"warm.test\"\n\
         scale = { min = 1 }\n\
         [task.sleep]\ncomponent = \"sleep.wasm\"\ntimeout = \"1h\"\n\
         [service.sleep]\nroute = \"sleep.test\"\nscale = { min = 1 }\n\
         [task.cold]\ncomponent = \"env.wasm\"\n[service.cold]\nroute = \"cold.test\"\n",
    );
    // Whatever the deployment loaded is gone.
    node.kill();
    node.start_again();
    let mut held = Raw::connect(node.http).await;
    for service in ["warm.test", "sleep.test"] {
        assert_eq!(ask(&mut held, service).await, 200);
    }
    leave_files(&node, 20);
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::connect(node.http).await;
        // Whoever is idle would be sent away.
        raw.send("GET /?ms=3600000 HTTP/1.1\r\nhost: sleep.test\r\n\r\n").await;
        crowd.push(raw);
    }
    let said = "connections cannot be accepted for now";
    eventually("the node runs out of files", || node.log().contains(said)).await;
    // Who is there already is served; what needs a file is refused, and not for ever.
    assert_eq!(ask(&mut held, "warm.test").await, 200);
    assert_eq!(ask(&mut held, "cold.test").await, 503);
    assert_eq!(ask(&mut held, "warm.test").await, 200);
    drop(crowd);
    for service in ["warm.test", "cold.test"] {
        assert_eq!(node.get(service, "/").await.0, 200, "{}", node.log());
    }
    assert_eq!(ask(&mut held, "cold.test").await, 200);
    // The API accepts again as well, with its own pause.
    wait_for("the API", || node.wharf(&["services"]).code.filter(|code| *code == 0));
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}
