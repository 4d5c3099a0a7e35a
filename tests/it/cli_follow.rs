//! What the command line shows while it happens: lines of a log, bytes of a pull.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::{Node, SlowRegistry, guest, wait_for, wharf_command};

/// A command against the node, with its output in pipes.
fn begin(node: &Node, args: &[&str]) -> Child {
    let mut command = wharf_command();
    command.env("WHARF_API", node.api_url("")).current_dir(node.dir.path()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn node_that_logs() -> Node {
    let node = Node::start();
    node.put("env.wasm", &guest("env"));
    node.apply("[task.env]\ncomponent = \"env.wasm\"\n[service.env]\nroute = \"env.localhost\"\n");
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn many_services_are_waited_for_together_and_each_is_described_alone() {
    let node = Node::start();
    node.put("env.wasm", &guest("env"));
    let service = |n: u32| format!("[service.s{n}]\ntask = \"env\"\nroute = \"s{n}.localhost\"\n");
    let manifest: String = (0..12).map(service).collect();
    node.put("many.toml", format!("[task.env]\ncomponent = \"env.wasm\"\n{manifest}").as_bytes());
    let ran = node.wharf(&["apply", "-f", "many.toml", "--wait", "-o", "json"]).ok();
    let applied = ran.json();
    let services = applied["services"].as_array().expect("services");
    assert_eq!(services.len(), 12);
    assert!(services.iter().all(|one| one["state"] == "ready"), "{applied}");
    let listed = node.wharf(&["services", "-o", "json"]).ok().json();
    for listed in listed.as_array().expect("services") {
        let name = listed["name"].as_str().expect("a name");
        let described = node.wharf(&["describe", name, "-o", "json"]).ok().json();
        assert_eq!(described["state"], listed["state"]);
        assert_eq!(described["serving"], listed["serving"]);
        assert_eq!(described["definition"]["id"], described["task"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_goes_on_until_it_is_interrupted() {
    let node = node_that_logs();
    let mut follower = begin(&node, &["logs", "-f", "env"]);
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    for text in ["first", "second"] {
        assert_eq!(node.get("env.localhost", &format!("/?log={text}")).await.0, 200);
        for stream in ["out", "err"] {
            let line = lines.next().expect("a line").expect("text");
            assert!(line.ends_with(&format!("env/1 {stream} {text}")), "{line}");
        }
    }
    let pid = rustix::process::Pid::from_child(&follower);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a child");
    let ended = wait_for("its end", || follower.try_wait().expect("a child"));
    assert_eq!(ended.code(), Some(0));
    assert!(lines.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_lines_says_why() {
    let node = node_that_logs();
    let said = |source: &str, code: i32, words: &str| {
        let ran = node.wharf(&["logs", source]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{source}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{source}: {}", ran.stderr);
    };
    said("env", 0, "env has printed nothing since the node started");
    said("env/9", 1, "no task of env runs now");
    said("nobody", 1, "there is no service nobody");
    assert_eq!(node.get("env.localhost", "/").await.0, 200);
    said("env/1", 0, "env/1 has printed nothing yet");
    said("env/9", 1, "tasks that run: env/1");
    let following = node.wharf(&["logs", "-f", "env/9"]);
    assert_eq!(following.code, Some(1), "{}", following.stderr);
}

#[test]
fn a_pull_shows_its_bytes() {
    let node = Node::start();
    let wasm = guest("hello");
    let registry = SlowRegistry::start(&wasm);
    let manifest = format!("[task.h]\nimage = \"{}/hello:1\"\n[service.h]\n", registry.address);
    std::fs::write(node.path("wharf.toml"), manifest).expect("writable");
    node.wharf(&["apply", "-f", "wharf.toml"]).ok();
    let apply = begin(&node, &["apply", "-f", "wharf.toml", "--wait"]);
    let pull = wait_for("half of the bytes", || {
        let pull = node.describe("h")["pull"].clone();
        (pull["done_bytes"] == wasm.len() / 2).then_some(pull)
    });
    assert_eq!(pull["total_bytes"], wasm.len());
    let page = node.wharf(&["describe", "h"]).ok().stdout;
    assert!(page.contains(" KiB)\n"), "{page}");
    registry.give_the_rest();
    let applied = apply.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&applied.stderr);
    assert_eq!(applied.status.code(), Some(0), "{told}");
    // No terminal, no live line: one line for the phase, however many chunks it has.
    assert_eq!(told.matches("pulling").count(), 1, "{told}");
    assert!(told.contains("h: ready"), "{told}");
    assert_eq!(node.describe("h")["pull"], serde_json::Value::Null);
}
