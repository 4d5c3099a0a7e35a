//! What a request meets: its guest, its limits, and the load balancer around it.

use std::time::Duration;

use wharf::model::{ByteSize, Limits};

use crate::support::{Front, ServiceOptions, guest, wat};

fn limits(change: impl FnOnce(&mut Limits)) -> ServiceOptions {
    let mut options = ServiceOptions::default();
    change(&mut options.limits);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_answers() {
    let front = Front::start().await;
    front.deploy("hello", &guest("hello"), ServiceOptions::default()).await;
    let response = front.client().get("hello", "/").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("wharf-cold-start"));
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.text().await.expect("a body"), "Hello from Wharf!\n");
    let warm = front.client().get("hello", "/").send().await.expect("an answer");
    assert!(!warm.headers().contains_key("wharf-cold-start"));
    let lines = front.access_lines(2).await;
    assert_eq!(lines[1]["code"], "ok");
    assert_eq!(lines[1]["service"], "hello");
    assert!(lines[1]["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{}", lines[1]);
    assert!(lines[1]["peak_memory_bytes"].as_u64().is_some_and(|peak| peak > 65_536));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_uses_the_same_fuel() {
    let front = Front::start().await;
    front.deploy("hello", &guest("hello"), ServiceOptions::default()).await;
    let client = front.client();
    for _ in 0..50 {
        let request = client.get("hello", "/").header("x-request-id", "same");
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }
    let lines = front.access_lines(50).await;
    let fuel: std::collections::BTreeSet<_> = lines.iter().map(|l| l["fuel"].as_u64()).collect();
    assert_eq!(fuel.len(), 1, "{fuel:?}");
}

/// Sends a request to a service that fails, and checks how.
async fn fails(
    name: &str,
    wasm: &[u8],
    options: ServiceOptions,
    path: &str,
    code: &str,
    status: u16,
) {
    let front = Front::start().await;
    front.deploy(name, wasm, options).await;
    let response = front.client().get(name, path).send().await.expect("an answer");
    let headers = response.headers().clone();
    let text = response.text().await.expect("a body");
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(problem["code"], code, "{path}: {text}");
    assert_eq!(problem["status"], status, "{text}");
    assert_eq!(headers["wharf-error"], code);
    assert_eq!(headers["content-type"], "application/problem+json");
    let lines = front.access_lines(1).await;
    assert_eq!(lines[0]["code"], code);
    assert_eq!(lines[0]["status"], status);
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_is_the_budget_of_a_request() {
    let options = limits(|limits| limits.fuel = 50_000_000);
    fails("burn", &guest("burn-fuel"), options, "/", "fuel-exhausted", 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_kept_outside_the_guest() {
    let options = limits(|limits| {
        limits.timeout = Duration::from_millis(300);
        limits.fuel = u64::MAX / 2;
    });
    fails("burn", &guest("burn-fuel"), options.clone(), "/", "request-timeout", 504).await;
    fails("sleep", &guest("sleep"), options.clone(), "/", "request-timeout", 504).await;
    fails("hang", &guest("never-respond"), options, "/hang", "request-timeout", 504).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_capped_for_an_instance_and_for_a_task() {
    let small = limits(|limits| limits.instance_memory = ByteSize::mib(16));
    fails("grow", &guest("grow-memory"), small, "/one", "memory-exceeded", 500).await;
    let task = limits(|limits| {
        limits.memory = ByteSize::mib(16);
        limits.instance_memory = ByteSize::mib(16);
    });
    fails("many", &wat("many-memories"), task, "/trap", "memory-exceeded", 500).await;
    let tables = limits(|limits| limits.instance_memory = ByteSize::mib(2));
    fails("tables", &wat("many-tables"), tables, "/trap", "memory-exceeded", 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_before_the_head_leaves_are_proper_errors() {
    let with = ServiceOptions::default;
    let trap = guest("trap");
    fails("trap", &trap, with(), "/", "guest-trapped", 500).await;
    fails("trap", &trap, with(), "/panic", "guest-trapped", 500).await;
    fails("trap", &trap, with(), "/after-head", "guest-trapped", 500).await;
    fails("trap", &trap, with(), "/stack", "guest-trapped", 500).await;
    fails("trap", &trap, with(), "/exit", "guest-exited", 500).await;
    let never = guest("never-respond");
    fails("never", &never, with(), "/", "no-response", 500).await;
    fails("never", &never, with(), "/error", "guest-error", 500).await;
    let half = guest("half-response");
    fails("half", &half, with(), "/short", "response-incomplete", 500).await;
    fails("half", &half, with(), "/trap", "guest-trapped", 500).await;
    fails("half", &half, with(), "/headers?n=1000", "resource-limit", 500).await;
    let handles = guest("leak-handles");
    fails("leak", &handles, with(), "/", "resource-limit", 500).await;
}
