//! The server is killed in the middle of pushes, and started again on what it left.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use registry::Server;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, Served, client, pull, reference, scratch, store, wasm};

/// Names the folder to the process that serves it.
const FOLDER_VARIABLE: &str = "REGISTRY_TEST_FOLDER";

/// How often the server is killed. Each round goes on with the folder of the last.
const ROUNDS: u64 = 5;

/// How many pushes each round acknowledges before the server is killed.
const PUSHES_MIN: u64 = 3;

/// Not a test: the process that [`what_was_acknowledged_survives_a_kill`] kills.
#[tokio::test]
#[ignore = "it is started by another test"]
async fn serve_until_killed() {
    let folder = std::env::var_os(FOLDER_VARIABLE).expect("started by the other test");
    let server = Server::open(folder).expect("the registry opens after a kill");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("\nserving {}", listener.local_addr().expect("an address"));
    axum::serve(listener, server.router()).await.expect("the listener works");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = Arc::new(scratch());
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let (mut child, address) = start(dir.path()).await;
        let client = client();
        let (count, mut counted) = tokio::sync::watch::channel(0);
        let pushes = async {
            for n in 0.. {
                let name = format!("app-{round}:{n}");
                let image = reference(&format!("{address}/{name}"));
                let content = wasm(round * 1000 + n, 200_000);
                let Ok(manifest) = client.push(&image, content, &|_| ()).await else { return };
                acknowledged.push((name, manifest));
                count.send_replace(n + 1);
            }
        };
        let kill = async {
            counted.wait_for(|n| *n >= PUSHES_MIN).await.expect("the pushes go on");
            // It strikes somewhere within a push; where exactly does not matter.
            tokio::time::sleep(Duration::from_millis(3 * round)).await;
            child.kill().await.expect("killed");
        };
        let both = async { tokio::join!(pushes, kill) };
        tokio::time::timeout(PATIENCE, both).await.expect("the pushes end with the server");
    }
    assert!(acknowledged.len() as u64 >= ROUNDS * PUSHES_MIN);
    let served = Served::on(dir).await;
    assert_eq!(served.files(".tmp-"), 0);
    let (store, _dir) = store();
    for (name, manifest) in &acknowledged {
        let artifact = pull(&client(), &served.reference(name), &store).await.expect(name);
        assert_eq!(artifact.manifest, *manifest, "{name}");
    }
    every_tag_is_whole(&served).await;
}

/// What was not acknowledged is there as a whole or not at all.
async fn every_tag_is_whole(served: &Served) {
    let get = async |path: &str| -> Value {
        let response = crate::support::http().get(served.url(path)).send().await.expect("answered");
        response.json().await.expect("JSON")
    };
    let (store, _dir) = store();
    let names = get("_catalog").await;
    for name in names["repositories"].as_array().expect("a list") {
        let name = name.as_str().expect("a name");
        let tags = get(&format!("{name}/tags/list")).await;
        for tag in tags["tags"].as_array().expect("a list") {
            let name = format!("{name}:{}", tag.as_str().expect("a tag"));
            pull(&client(), &served.reference(&name), &store).await.expect(&name);
        }
    }
}

/// Starts this test program again, to serve the folder.
async fn start(folder: &std::path::Path) -> (Child, String) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--exact", "crash::serve_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let find = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(address) = line.strip_prefix("serving ") {
                return address.to_owned();
            }
        }
        panic!("the server did not start");
    };
    let address = tokio::time::timeout(PATIENCE, find).await.expect("the server starts");
    (child, address)
}
