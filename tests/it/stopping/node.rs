//! The same with a whole node: what its commands stop.

use std::sync::mpsc;
use std::thread;

use crate::support::{Node, Setup, guest, http_client, wait_for};

/// A service whose requests never end by themselves, each on a task of its own.
fn manifest(drain: &str, env: u32) -> String {
    format!(
        "[task.hang]\ncomponent = \"hang.wasm\"\ntimeout = \"1h\"\nconcurrency = 1\n\
         env = {{ N = {env} }}\n[service.hang]\nroute = \"hang.localhost\"\ndrain = \"{drain}\"\n\
         scale = {{ min = 0, max = 2 }}\n"
    )
}

fn hanging() -> Node {
    let node = Node::start_with(Setup::with(&["--access-log", "stderr"]));
    node.put("hang.wasm", &guest("never-respond"));
    node.apply(&manifest("200ms", 0));
    node
}

/// Asks twice; the statuses and codes come when the requests have ended.
fn ask_twice(node: &Node) -> mpsc::Receiver<(u16, String)> {
    let (told, answers) = mpsc::channel();
    let before = node.describe("hang")["in_flight"].as_u64().expect("a number");
    for _ in 0..2 {
        let (url, told) = (format!("http://{}/hang", node.http), told.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let answer = runtime.expect("a runtime").block_on(async {
                let request = http_client().get(url).header("host", "hang.localhost");
                let response = request.send().await.expect("an answer");
                let code = response.headers()["wharf-error"].to_str().expect("text").to_owned();
                (response.status().as_u16(), code)
            });
            let _ = told.send(answer);
        });
    }
    wait_for("both guests run", || {
        (node.describe("hang")["in_flight"].as_u64() == Some(before + 2)).then_some(())
    });
    answers
}

#[track_caller]
fn are_drained(answers: &mpsc::Receiver<(u16, String)>, count: usize) {
    for _ in 0..count {
        assert_eq!(answers.recv().expect("an answer"), (503, "drained".to_owned()));
    }
}

#[test]
fn a_deployment_and_a_deletion_stop_what_outlives_the_drain() {
    let node = hanging();
    let answers = ask_twice(&node);
    node.apply(&manifest("200ms", 1));
    are_drained(&answers, 2);
    let answers = ask_twice(&node);
    node.wharf(&["delete", "hang"]).ok();
    are_drained(&answers, 2);
    wait_for("the service is gone", || {
        let services = node.wharf(&["services", "-o", "json"]).ok().json();
        services.as_array().expect("a list").is_empty().then_some(())
    });
}

#[test]
fn scale_in_stops_what_outlives_the_drain() {
    let node = hanging();
    assert_eq!(node.describe("hang")["drain"], "200ms");
    let answers = ask_twice(&node);
    node.wharf(&["scale", "hang", "--max", "1"]).ok();
    are_drained(&answers, 1);
    assert_eq!(node.describe("hang")["in_flight"], 1, "the task that stays goes on");
}

#[test]
fn a_longer_drain_is_in_force_without_a_deployment() {
    let node = hanging();
    node.apply(&manifest("1h", 0));
    let answers = ask_twice(&node);
    node.apply(&manifest("1h", 1));
    assert!(answers.try_recv().is_err(), "nobody is stopped yet");
    assert_eq!(node.describe("hang")["in_flight"], 2);
}
