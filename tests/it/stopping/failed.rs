//! Processes that should take over and do not: the node goes on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use super::hand_over::node_with;
use super::successor::{Heir, hand_over, spawn, tell};
use crate::support::{Node, Setup, serve_on, wait_for};

/// A node whose program is a copy, so that another can be put in its place.
fn node_of_a_copy() -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("wharf");
    std::fs::copy(env!("CARGO_BIN_EXE_wharf"), &program).expect("a copy");
    let args = ["--take-over-wait", "2s"].map(str::to_owned).to_vec();
    let setup = Setup { args, program: Some(program), ..Setup::default() };
    let node = Node::start_as(dir, setup);
    node.put("echo.wasm", &crate::support::guest("echo"));
    node
}

/// Puts another program in the place of the node's.
fn replace(program: &Path, text: &[u8]) {
    let draft = program.with_extension("new");
    std::fs::write(&draft, text).expect("writable");
    std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o755)).expect("mine");
    std::fs::rename(&draft, program).expect("replaced");
}

/// Checks that the node serves, and changes what it is told.
async fn is_well(node: &Node, env: u32) {
    let manifest = format!(
        "[task.echo]\ncomponent = \"echo.wasm\"\nenv = {{ N = {env} }}\n\
         [service.echo]\nroute = \"echo.localhost\"\n"
    );
    node.apply(&manifest);
    assert_eq!(node.get("echo.localhost", "/").await.0, 200);
    assert_eq!(node.describe("echo")["task"], format!("echo:{env}"));
}

fn says(node: &Node, text: &str) {
    wait_for(text, || node.log().contains(text).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_work_changes_nothing() {
    let mut node = node_of_a_copy();
    let (old, program) = (node.pid(), node.path("wharf"));
    is_well(&node, 1).await;
    replace(&program, b"#!/bin/sh\nexit 3\n");
    tell(old, Signal::USR2);
    says(&node, "the new process ended; this one goes on");
    is_well(&node, 2).await;
    replace(&program, b"#!/bin/sh\nexec sleep 3600\n");
    tell(old, Signal::USR2);
    says(&node, "the new process does not take over; this one goes on");
    is_well(&node, 3).await;
    replace(&program, b"this is no program");
    tell(old, Signal::USR2);
    says(&node, "the program does not start");
    is_well(&node, 4).await;
    // And then one that works.
    std::fs::remove_file(&program).expect("removed");
    std::fs::copy(env!("CARGO_BIN_EXE_wharf"), &program).expect("a copy");
    let _heir = hand_over(&node, old);
    is_well(&node, 5).await;
    assert_eq!(node.wait_end(), Some(0));
}

/// A process that has everything but the state, which the node then releases.
fn half_taken(node: &Node) -> (BufReader<UnixStream>, UnixStream) {
    let stream = UnixStream::connect(node.data().join("take-over.sock")).expect("it listens");
    let mut write = stream.try_clone().expect("a socket");
    let mut read = BufReader::new(stream);
    let greeting = line(&mut read);
    assert!(greeting.contains("\"sockets\":[\"http\",\"api\"]"), "{greeting}");
    write.write_all(b"take\n").expect("taken");
    assert_eq!(line(&mut read), "yours\n");
    (read, write)
}

fn line(read: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    read.read_line(&mut line).expect("a line");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_with_the_state_gives_it_back() {
    let node = node_of_a_copy();
    is_well(&node, 1).await;
    let taken = half_taken(&node);
    assert_eq!(node.get("echo.localhost", "/").await.0, 200, "requests are served meanwhile");
    drop(taken);
    is_well(&node, 2).await;
    // One that hangs is told that it is not wanted any more.
    let (mut read, _write) = half_taken(&node);
    assert_eq!(line(&mut read), "no\n");
    is_well(&node, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_lets_go_is_replaced_all_the_same() {
    let mut node = node_with(Setup::default());
    let old = node.pid();
    tell(old, Signal::USR2);
    wait_for("the state is given", || {
        node.log().contains("another process takes over: it is given the state").then_some(())
    });
    node.kill();
    let _heir = Heir::after(&node, old);
    assert_eq!(node.get("echo.localhost", "/").await.0, 200, "{}", node.log());
    assert_eq!(node.describe("echo")["state"], "ready");
}

#[test]
fn a_node_that_is_told_to_stop_while_it_lets_go_stops_at_once() {
    let mut node = node_with(Setup::with(&["--take-over-wait", "1h"]));
    let (mut read, _write) = half_taken(&node);
    assert_eq!(node.stop(), Some(0));
    assert_eq!(line(&mut read), "no\n");
    assert!(!node.path("ready.json").exists(), "it takes its word back");
}

#[test]
fn a_node_that_is_told_to_stop_takes_the_process_along_that_it_has_started() {
    let mut node = node_of_a_copy();
    replace(&node.path("wharf"), b"#!/bin/sh\nexec sleep 3600\n");
    tell(node.pid(), Signal::USR2);
    says(&node, "a new process takes over");
    let log = node.log();
    let pid = log.rsplit_once("pid=").and_then(|(_, rest)| rest.split_whitespace().next());
    let started = format!("/proc/{}", pid.expect("its process"));
    assert!(Path::new(&started).exists());
    assert_eq!(node.stop(), Some(0));
    assert!(!Path::new(&started).exists(), "{started}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_is_not_replaced() {
    let mut node = node_with(Setup::default());
    assert_eq!(node.stop(), Some(0));
    let mut command = serve_on("127.0.0.1:0", "127.0.0.1:0", &node.data());
    command.arg("--take-over").arg("--ready-file").arg(node.path("ready.json"));
    let mut child = spawn(&node, &mut command);
    let _heir = Heir::after(&node, 0);
    says(&node, "there is nothing to take over");
    tell(child.id(), Signal::TERM);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

#[test]
fn a_mistake_in_the_new_arguments_is_found_before_the_node_lets_go() {
    let node = node_with(Setup::default());
    let mut command = serve_on(&node.http.to_string(), &node.api.to_string(), &node.data());
    command.args(["--take-over", "--tls-listen", "127.0.0.1:0", "--tls-cert", "/nowhere.pem"]);
    command.args(["--tls-key", "/nowhere.pem"]);
    let ended = spawn(&node, &mut command).wait().expect("a child");
    assert_eq!(ended.code(), Some(1));
    assert!(!node.log().contains("it is given the state"), "{}", node.log());
}
