//! What a node does with the answers to probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Node, guest, http_client, wait_for};

/// A node with this task under the name of the service, and its manifest up to the probes.
fn node_with(task: &str) -> Node {
    let node = Node::start();
    node.put("web.wasm", &guest(task));
    node
}

fn manifest(task: &str, service: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"web.wasm\"\n{task}\n\
         [service.web]\nroute = \"web.localhost\"\n{service}\n"
    )
}

/// What the node reports about the newest revision.
fn report(node: &Node) -> serde_json::Value {
    let reports = node.describe("web")["status"].as_array().cloned().expect("a list");
    let newest = reports.into_iter().max_by_key(|one| one["revision"].as_u64());
    newest.expect("a report")
}

fn wait_for_health(node: &Node, health: &str) -> serde_json::Value {
    wait_for(health, || Some(report(node)).filter(|report| report["health"] == health))
}

fn tasks(node: &Node) -> Vec<String> {
    let running = node.describe("web")["running"].as_array().cloned().expect("a list");
    running.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_does_not_start_is_rolled_back_and_nobody_notices() {
    let node = Arc::new(node_with("env"));
    let probe = "health.startup = { path = '/?name=READY', interval = '100ms', failures = 2 }";
    node.apply(&manifest("env = { READY = '1' }", probe));
    assert_eq!(report(&node)["health"], "healthy");
    let done = Arc::new(AtomicBool::new(false));
    let asking = {
        let (node, done) = (Arc::clone(&node), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let expected = (200, "1\n".to_owned());
                assert_eq!(node.get("web.localhost", "/?name=READY").await, expected);
            }
        })
    };
    let trying = Arc::clone(&node);
    let second = manifest("env = { OTHER = '1' }", probe);
    let failed = tokio::task::spawn_blocking(move || trying.try_apply(&second)).await;
    let failed = failed.expect("no panic");
    done.store(true, Ordering::Relaxed);
    asking.await.expect("every request is served by the old revision");
    assert_eq!(failed.code, Some(1), "{}{}", failed.stdout, failed.stderr);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("probe-failed"), "{said}");
    assert!(said.contains("GET /?name=READY answered 404"), "{said}");
    assert_eq!(node.describe("web")["serving"], "web:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_never_answered_ends_by_its_timeout() {
    let node = node_with("never-respond");
    let probe = "health.startup = { path = '/hang', timeout = '100ms', failures = 1 }";
    let failed = node.try_apply(&manifest("", probe));
    assert_eq!(failed.code, Some(1), "{}{}", failed.stdout, failed.stderr);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("GET /hang had no answer within 100ms"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_not_ready_leaves_its_requests_to_the_other() {
    let node = node_with("hello");
    // Answered by `hello` whatever the path is, and by the other while its task has the memory.
    let probe = "scale = { min = 1, max = 1 }\n\
                 health.readiness = { path = '/hold?mib=24', interval = '100ms', failures = 1 }\n";
    let alone = manifest("memory = '64MiB'", probe);
    node.apply(&alone);
    node.put("web.wasm", &guest("grow-memory"));
    node.apply(&alone);
    let both = "traffic = [{ revision = 1, percent = 50 },\n\
                { latest = true, percent = 50, tag = 'new' }]";
    node.apply(&manifest("memory = '64MiB'", &format!("{probe}{both}")));
    let answers = async |count: usize| {
        let mut all = std::collections::BTreeSet::new();
        for _ in 0..count {
            let (status, body) = node.get("web.localhost", "/hold").await;
            assert_eq!(status, 200, "{body}");
            all.insert(body);
        }
        all
    };
    let (old, new) = ("Hello from Wharf!\n".to_owned(), "held 1 MiB for 0 ms\n".to_owned());
    wait_for_health(&node, "healthy");
    assert_eq!(answers(20).await, [old.clone(), new.clone()].into());
    let url = format!("http://{}/hold?mib=48&ms=600000", node.http);
    let holding = tokio::spawn(async move {
        // Refused as long as a probe has the memory: then it is asked for again.
        loop {
            let held = http_client().get(&url).header("host", "new---web.localhost").send().await;
            assert_ne!(held.expect("an answer").status(), 200, "it holds for ten minutes");
        }
    });
    let report = wait_for_health(&node, "unhealthy");
    assert_eq!(report["code"], "probe-failed", "{report}");
    assert_eq!(answers(20).await, [old.clone()].into());
    holding.abort();
    wait_for_health(&node, "healthy");
    assert_eq!(answers(20).await, [old, new].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_which_nothing_is_ready_goes_on_serving() {
    let node = node_with("env");
    let probe = "scale = { min = 1, max = 1 }\n\
                 health.readiness = { path = '/?name=NO', interval = '100ms', failures = 1 }";
    node.apply(&manifest("", probe));
    let report = wait_for_health(&node, "unhealthy");
    assert_eq!((&report["state"], &report["code"]), (&"ready".into(), &"probe-failed".into()));
    assert_eq!(node.get("web.localhost", "/").await.0, 200);
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    assert!(page.contains("unhealthy"), "{page}");
    assert!(page.contains("readiness   GET /?name=NO · interval 100ms · timeout 1s"), "{page}");
    // Without the probe nothing is known, and nothing is wrong.
    node.apply(&manifest("", "scale = { min = 1, max = 1 }"));
    let report = wait_for_health(&node, "unknown");
    assert!(report["code"].is_null(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_are_not_alive_are_replaced() {
    let node = node_with("env");
    let probe = "scale = { min = 2, max = 2 }\n\
                 health.liveness = { path = '/?name=NO', interval = '100ms', delay = '2s' }";
    node.apply(&manifest("", probe));
    let first = tasks(&node);
    let others = wait_for("other tasks", || {
        let now = tasks(&node);
        now.iter().all(|task| !first.contains(task)).then_some(now)
    });
    assert_eq!((first.len(), others.len()), (2, 2));
    assert_eq!(node.get("web.localhost", "/").await.0, 200);
    let report = wait_for_health(&node, "unhealthy");
    assert_eq!(report["code"], "probe-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_probes_sleeps_and_its_probes_are_no_requests() {
    let node = node_with("hello");
    let probe = "{ path = '/', interval = '100ms' }";
    let service = format!(
        "scale = {{ idle = '2s' }}\n\
         health = {{ startup = {probe}, liveness = {probe}, readiness = {probe} }}"
    );
    node.apply(&manifest("", &service));
    for requests in 1..=2 {
        assert_eq!(node.get("web.localhost", "/").await.0, 200);
        wait_for("sleep", || {
            let detail = node.describe("web");
            (detail["tasks"] == 0 && detail["loaded"] == false).then_some(())
        });
        let stats = node.describe("web")["stats"].clone();
        assert_eq!(stats["requests"], requests, "{stats}");
        assert_eq!(report(&node)["health"], "healthy");
        // Time for probes, if there were any.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(node.describe("web")["tasks"], 0);
    }
}
