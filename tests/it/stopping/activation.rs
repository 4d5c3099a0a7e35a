//! Sockets that a service manager has opened, as systemd hands them over.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::Signal;

use super::successor::tell;
use crate::support::{http_client, serve_on, wait_for};

/// `wharf serve` with these sockets as the file descriptors from 3 on.
fn activated(dir: &Path, names: &str, sockets: [&TcpListener; 2]) -> Child {
    let nowhere = "127.0.0.1:1";
    let serve = serve_on(nowhere, nowhere, &dir.join("data"));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec 3<&0 4>&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$@\"");
    shell.arg("sh").arg(serve.get_program()).args(serve.get_args());
    shell.arg("--ready-file").arg(dir.join("ready.json"));
    shell.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    let [first, second] =
        sockets.map(|socket| OwnedFd::from(socket.try_clone().expect("a socket")));
    shell.stdin(first).stdout(second);
    let log = std::fs::File::create(dir.join("node.log")).expect("a log");
    shell.stderr(log).spawn().expect("it starts")
}

fn address(socket: &TcpListener) -> SocketAddr {
    socket.local_addr().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_on_sockets_that_outlive_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let [http, api] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    for names in ["http:api", "api:http"] {
        let sockets = if names == "http:api" { [&http, &api] } else { [&api, &http] };
        // Who comes before there is a node is served by it.
        let url = format!("http://{}/", address(&http));
        let early = tokio::spawn(http_client().get(url).send());
        let mut child = activated(dir.path(), names, sockets);
        let answer = early.await.expect("no panic").expect("an answer");
        assert_eq!(answer.headers()["wharf-error"], "no-route");
        let ready = wait_for("the ready file", || {
            std::fs::read_to_string(dir.path().join("ready.json")).ok()
        });
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        assert_eq!(ready["http"], address(&http).to_string());
        assert_eq!(ready["api"], address(&api).to_string());
        let health = http_client().get(format!("http://{}/readyz", address(&api))).send().await;
        assert_eq!(health.expect("an answer").status(), 200);
        tell(child.id(), Signal::TERM);
        assert_eq!(child.wait().expect("a child").code(), Some(0));
    }
}

#[test]
fn an_api_that_others_reach_must_be_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let [http, api] = ["127.0.0.1:0", "0.0.0.0:0"].map(|at| TcpListener::bind(at).expect("a port"));
    let mut child = activated(dir.path(), "http:api", [&http, &api]);
    assert_eq!(child.wait().expect("a child").code(), Some(1));
    let log = std::fs::read_to_string(dir.path().join("node.log")).expect("a log");
    assert!(log.contains("--allow-remote-api"), "{log}");
}
