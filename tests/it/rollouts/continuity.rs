//! No request is lost while revisions come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::support::http_client;

/// Asks again and again, over kept connections and new ones, until it is told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Traffic {
    fn begin(http: std::net::SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |n: usize| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut failures = Vec::new();
                let mut client = http_client();
                while !stop.load(Ordering::Relaxed) {
                    if n.is_multiple_of(2) {
                        client = http_client();
                    }
                    let url = format!("http://{http}/?name=V");
                    match client.get(url).header("host", HOST).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            let body = answer.text().await;
                            failures.extend(body.err().map(|error| error.to_string()));
                        }
                        Ok(answer) => failures.push(format!("{}", answer.status())),
                        Err(error) => failures.push(error.to_string()),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = (0..6).map(client).collect();
        Self { stop, answered, clients }
    }

    /// How many were answered, and every one that was not.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("no panic"));
        }
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_over_deployments_rollbacks_and_scaling() {
    let node = node();
    let scale = "scale = { min = 2, max = 4 }";
    node.apply(&web("0", scale));
    let traffic = Traffic::begin(node.http);
    let strategies = [
        "deploy = { strategy = \"rolling\", min_healthy = 50, max_healthy = 100 }",
        "deploy = { strategy = \"blue-green\", bake = \"300ms\" }",
        "deploy = { strategy = \"all-at-once\" }",
        "deploy = { strategy = \"linear\", percent = 25, step_bake = \"50ms\" }",
        "deploy = { strategy = \"canary\", percent = 10, step_bake = \"200ms\" }",
    ];
    for round in 1..=10 {
        let strategy = strategies[round % strategies.len()];
        let version = round.to_string();
        node.apply(&web(&version, &format!("{scale}\n{strategy}")));
        assert_eq!(versions(&node, HOST, 20).await, only(&version, 20), "{strategy}");
    }
    node.wharf(&["rollout", "undo", "web"]).ok();
    stage(&node, "completed");
    for bounds in [["--min", "0", "--max", "1"], ["--min", "1", "--max", "8"]] {
        node.wharf(&[&["scale", "web"], &bounds[..]].concat()).ok();
    }
    let (answered, failures) = traffic.end().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}\n{}", failures.len(), node.log());
    assert!(answered > 200, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_by_the_revision_that_has_it() {
    let node = node();
    node.apply(&web_of("sleep", "1", ""));
    let url = format!("http://{}/?ms=3000", node.http);
    let slow = http_client().get(url).header("host", HOST).send();
    let slow = tokio::spawn(slow);
    wait_for("the request", || {
        (node.describe("web")["in_flight"].as_u64() == Some(1)).then_some(())
    });
    node.apply(&web("2", ""));
    assert_eq!(versions(&node, HOST, 5).await, only("2", 5), "the new one serves meanwhile");
    let answer = slow.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 200);
}
