//! What `/metrics` says of services, their revisions and upstreams.

use std::time::Duration;

use crate::support::{Node, guest, http_client, wait_for};

/// Scrapes before something is given up, 20 ms apart.
const LOOKS: usize = 2_000;

async fn scrape(node: &Node) -> String {
    let answer = http_client().get(node.api_url("/metrics")).send().await.expect("an answer");
    answer.text().await.expect("text")
}

/// Scrapes until these series are there, each with its value.
async fn until_seen(node: &Node, wanted: &[&str]) -> String {
    let mut last = (String::new(), String::new());
    for _ in 0..LOOKS {
        let text = scrape(node).await;
        let missing = wanted.iter().find(|series| !text.contains(&format!("\n{series}\n")));
        let Some(missing) = missing else { return text };
        last = ((*missing).to_owned(), text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} did not come: {}", last.0, last.1);
}

fn manifest(version: &str, rest: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"sleep.wasm\"\nconcurrency = 1\nenv = {{ V = \"{version}\" }}\n\
         [service.web]\nroute = \"web.localhost\"\n{rest}\n\
         [service.idle]\ntask = \"web\"\nroute = \"idle.localhost\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_seen_at_work() {
    let node = Node::start();
    node.put("sleep.wasm", &guest("sleep"));
    node.apply(&manifest("1", "scale = { max = 1 }"));
    assert!(!scrape(&node).await.contains("\"web\""), "nobody has asked for it");
    let url = format!("http://{}/?ms=600000", node.http);
    let ask = || {
        let request = http_client().get(&url).header("host", "web.localhost");
        tokio::spawn(async move { request.send().await.map(drop) })
    };
    let (first, second) = (ask(), ask());
    let text = until_seen(
        &node,
        &[
            "wharf_requests_in_flight{service=\"web\"} 1",
            "wharf_requests_waiting{service=\"web\"} 1",
            "wharf_tasks{service=\"web\"} 1",
            "wharf_tasks_desired{service=\"web\"} 1",
            "wharf_rollout_stage{service=\"web\",stage=\"completed\"} 1",
            "wharf_rollout_share{service=\"web\",revision=\"1\"} 1.0",
        ],
    )
    .await;
    let memory = text.lines().find_map(|line| {
        line.strip_prefix("wharf_tasks_memory_bytes{service=\"web\"} ")?.parse::<u64>().ok()
    });
    assert!(memory > Some(0), "{text}");
    assert!(!text.contains("\"idle\""), "nobody has asked for it: {text}");
    first.abort();
    second.abort();
    until_seen(
        &node,
        &[
            "wharf_requests_in_flight{service=\"web\"} 0",
            "wharf_requests_waiting{service=\"web\"} 0",
            "wharf_errors_total{service=\"web\"} 0",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_and_their_deployment_are_told_apart() {
    let node = Node::start();
    node.put("sleep.wasm", &guest("sleep"));
    node.apply(&manifest("1", ""));
    let deploy = "deploy = { strategy = \"canary\", percent = 20, step_bake = \"1h\" }";
    std::fs::write(node.path("wharf.toml"), manifest("2", deploy)).expect("writable");
    node.wharf(&["apply", "-f", "wharf.toml"]).ok();
    wait_for("the canary", || {
        let rollout = node.wharf(&["rollout", "status", "web", "-o", "json"]).ok().json();
        (rollout["stage"] == "shifting").then_some(())
    });
    for _ in 0..50 {
        assert_eq!(node.get("web.localhost", "/?ms=0").await.0, 200);
    }
    let text = until_seen(
        &node,
        &[
            "wharf_rollout_stage{service=\"web\",stage=\"shifting\"} 1",
            "wharf_rollout_share{service=\"web\",revision=\"1\"} 0.8",
            "wharf_rollout_share{service=\"web\",revision=\"2\"} 0.2",
            "wharf_revision_errors_total{service=\"web\",revision=\"2\"} 0",
        ],
    )
    .await;
    assert_eq!(text.matches("wharf_rollout_stage{").count(), 1, "{text}");
    let taken = |revision: u64| {
        let series =
            format!("wharf_revision_requests_total{{service=\"web\",revision=\"{revision}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series)).expect("the series");
        line.parse::<u64>().expect("a number")
    };
    assert!(taken(1) > taken(2) && taken(2) > 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_probes_are_counted_without_any_request() {
    let node = Node::start();
    node.put("env.wasm", &guest("env"));
    let probe = "health.startup = { path = '/?name=NO', interval = '100ms', failures = 2 }";
    let manifest = format!(
        "[task.web]\ncomponent = \"env.wasm\"\n\
         [service.web]\nroute = \"web.localhost\"\n{probe}\n"
    );
    assert_eq!(node.try_apply(&manifest).code, Some(1));
    let series = "wharf_revision_probe_failures_total{service=\"web\",revision=\"1\",\
                  probe=\"startup\"} ";
    let text = scrape(&node).await;
    assert!(text.contains(series), "{text}");
}
